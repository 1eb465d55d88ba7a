//! Proofs in zero knowledge through the real binary: handed over without the opening and with it, told apart from succinct
//! ones whatever their label says, and counted.

mod common;

use std::fs;
use std::path::Path;

use carat_node::model::{Model, canonical};
use carat_node::prover::{How, Subject, Tie, proof_of};
use carat_node::tell::Silent;
use carat_program::{Tensor, decode_tensors};
use carat_receipt::evidence::{Body, Hides, Proof};
use carat_receipt::statement::IoCommitment;
use carat_receipt::{
    Evidence, Label, Opened, Opening, ReceiptFile, Role, SignedStatement, SigningKey, Statement,
};
use carat_verify::{Outcome, Question, Verdict, appraise_bytes};
use carat_zk::io::Seed;
use carat_zk::{Hidden, Mode, Profile, Values};
use common::{Sandbox, repo};
use serde_json::{Value, json};

const MODEL: &str = "tumor.carat-model";
const RUN: [&str; 4] = ["run", MODEL, "--input", "tumor.json"];
const PRIVATE: [&str; 4] = ["--prove", "zk", "--private", "input"];
const NONCE: &str = "00112233445566778899aabbccddeeff";
const ZK: Hides = Hides {
    values: false,
    weights: false,
};
const ZK_VALUES: Hides = Hides {
    values: true,
    weights: false,
};

fn run(sandbox: &Sandbox, more: &[&str]) -> Value {
    sandbox.json(&[&RUN[..], more].concat(), 0)
}

/// A receipt with a proof that hides input and output.
fn private() -> (Sandbox, Value) {
    let sandbox = Sandbox::with_model();
    let json = run(&sandbox, &PRIVATE);
    (sandbox, json)
}

/// The receipt at a place where there is no opening beside it.
fn handed_over(sandbox: &Sandbox) -> &'static str {
    fs::create_dir_all(sandbox.path("theirs")).expect("a directory");
    fs::copy(
        sandbox.path("receipt.carat"),
        sandbox.path("theirs/receipt.carat"),
    )
    .expect("copy");
    "theirs/receipt.carat"
}

fn check(json: &Value, name: &str) -> Value {
    let checks = json["checks"].as_array().expect("checks");
    let found = checks.iter().find(|c| c["name"] == name);
    found.unwrap_or_else(|| panic!("no check {name} in {json:#}"))["ok"].clone()
}

fn proof_set(json: &Value) -> Value {
    let sets = json["good_for"].as_array().expect("good_for");
    let found = sets.iter().find(|set| set["rung"] == "proof");
    found.cloned().expect("a set `proof`")
}

fn says(list: &Value, what: &str) -> bool {
    let items = list.as_array().expect("a list");
    items
        .iter()
        .any(|item| item.as_str().is_some_and(|item| item.contains(what)))
}

fn read(sandbox: &Sandbox, name: &str) -> ReceiptFile {
    ReceiptFile::decode(&fs::read(sandbox.path(name)).expect(name)).expect(name)
}

fn opening(sandbox: &Sandbox, name: &str) -> Opening {
    Opening::decode(&fs::read(sandbox.path(name)).expect(name)).expect(name)
}

fn body(file: &ReceiptFile, n: usize) -> Proof {
    match &file.evidence()[n].body {
        Body::Proof(body) => body.clone(),
        other => panic!("a proof, not {other:?}"),
    }
}

fn label(text: &str) -> Label {
    Label::new(text).expect("a label")
}

/// A receipt with this one proof.
fn with(file: &ReceiptFile, body: Proof) -> ReceiptFile {
    let mut changed = ReceiptFile::new(file.signed.clone());
    changed.program.clone_from(&file.program);
    let statement = file.receipt_id();
    let body = Body::Proof(body);
    changed
        .add_evidence(Evidence { statement, body })
        .expect("added");
    changed
}

/// What `verify` says about a receipt that lies beside nothing.
fn judged(sandbox: &Sandbox, file: &ReceiptFile, more: &[&str], code: i32) -> Value {
    fs::create_dir_all(sandbox.path("judged")).expect("a directory");
    fs::write(sandbox.path("judged/r.carat"), file.encode()).expect("write");
    sandbox.json(&[&["verify", "judged/r.carat"], more].concat(), code)
}

const OPEN: [&str; 2] = ["--open", "receipt.carat-open"];

#[test]
fn without_the_opening_it_says_what_was_proven_and_about_what() {
    let sandbox = Sandbox::with_model();
    let asked = ["--nonce", NONCE, "--audience", "example.org"];
    let ran = run(&sandbox, &[&PRIVATE[..], &asked].concat());
    let proof = &ran["proof"];
    assert_eq!(proof["mode"], "zk");
    assert_eq!(proof["values_hidden"], true);
    assert_eq!(proof["weights_hidden"], false);
    assert!(proof["bits"].as_u64().expect("bits") >= 100);

    let theirs = handed_over(&sandbox);
    let verify = [&["verify", theirs, "--model", MODEL][..], &asked].concat();
    let json = sandbox.json(&verify, 4);
    // It holds, it is the model's and it answers the question; still there is no answer to rely on.
    assert_eq!(check(&json, "evidence.0.proof"), true);
    assert_eq!(check(&json, "question_matched"), true);
    assert_eq!(check(&json, "opening"), Value::Null);
    assert_eq!(check(&json, "io_commitment"), Value::Null);
    let set = proof_set(&json);
    assert_eq!(set["amount"], "0 USD");
    let reason = set["reason"].as_str().expect("a reason");
    assert!(reason.contains("you have not seen them"), "{reason}");
    assert!(says(&json["not_proven"], "what the answer is"));
    assert!(says(&json["not_proven"], "salted hashes"));
    assert!(!says(&json["not_proven"], "was run at all"));
    assert!(says(&json["enough"], "the opening"));
    assert_eq!(json.get("output"), None);
    assert_eq!(
        json["privacy"]["hidden"],
        json!(["intermediate values", "input and output"])
    );
    for shown in [
        "shapes",
        "hashes of the weights",
        "sizes of input and output",
        "how long",
    ] {
        assert!(says(&json["privacy"]["shown"], shown), "{shown}");
    }
    let text = sandbox.ends(&verify, 4).out;
    assert!(
        text.starts_with("NOT ENOUGH: valid, and proven of values that you have not seen"),
        "{text}"
    );
    for line in [
        "Hidden from whoever has the receipt and not the opening\n  - intermediate values\n  - input and output\n",
        "Shown all the same\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    // Nobody vouches for the key: not even that.
    let json = sandbox.json(&[&["verify", theirs], &asked[..]].concat(), 4);
    assert!(
        proof_set(&json)["under"]
            .as_array()
            .expect("under")
            .contains(&json!("publisher"))
    );
    assert!(says(&json["not_proven"], "was run at all"));
}

#[test]
fn with_the_opening_it_is_worth_what_any_proof_is() {
    let (sandbox, ran) = private();
    assert_eq!(
        ran["privacy"]["hidden"],
        json!(["intermediate values", "input and output"])
    );
    let verify = [
        "verify",
        "receipt.carat",
        "--model",
        MODEL,
        "--input",
        "tumor.json",
    ];
    let json = sandbox.json(&verify, 0);
    assert_eq!(check(&json, "evidence.0.proof"), true);
    assert_eq!(check(&json, "io_commitment"), true);
    let set = proof_set(&json);
    assert_eq!(set["amount"], "1000 USD");
    assert_eq!(set["under"], json!(["math", "implementation", "input:own"]));
    assert!(!says(&json["not_proven"], "what the answer is"));
    assert!(json["output"].is_array());
    // Another model than the one that was asked for.
    let digits = repo("models/digits");
    let other = ["--model", digits.to_str().expect("UTF-8")];
    let theirs = handed_over(&sandbox);
    sandbox.json(&[&["verify", theirs][..], &other].concat(), 1);
}

#[test]
fn without_private_values_the_opening_is_needed() {
    let sandbox = Sandbox::with_model();
    let ran = run(&sandbox, &["--prove", "zk"]);
    assert_eq!(ran["proof"]["values_hidden"], false);
    assert_eq!(ran["privacy"]["hidden"], json!(["intermediate values"]));
    let json = sandbox.json(&["verify", "receipt.carat", "--model", MODEL], 4);
    assert_eq!(check(&json, "evidence.0.proof"), true);
    assert_eq!(json["privacy"]["hidden"], json!(["intermediate values"]));
    let theirs = handed_over(&sandbox);
    let json = sandbox.json(&["verify", theirs, "--model", MODEL], 4);
    assert_eq!(check(&json, "evidence.0.proof"), Value::Null);
    assert_eq!(json.get("privacy"), None);
    // And without a mode a proof is what it always was: nothing is said of hiding.
    let ran = run(&sandbox, &["--prove", "-o", "plain.carat"]);
    assert_eq!(ran["proof"]["mode"], "succinct");
    assert_eq!(ran["privacy"], Value::Null);
    assert_eq!(
        body(&read(&sandbox, "plain.carat"), 0).mode.as_str(),
        "succinct"
    );
}

#[test]
fn what_one_proof_shows_is_not_hidden_by_another() {
    let (sandbox, _) = private();
    sandbox.good(&["prove", "receipt.carat", "--model", MODEL, "--mode", "zk"]);
    let theirs = handed_over(&sandbox);
    let verify = ["verify", theirs, "--model", MODEL];
    // The second proof cannot be checked without the opening: it may be anything.
    let json = sandbox.json(&verify, 4);
    assert_eq!(check(&json, "evidence.0.proof"), true);
    assert_eq!(check(&json, "evidence.1.proof"), Value::Null);
    assert_eq!(json["privacy"]["hidden"], json!([]));
    assert!(says(&json["privacy"]["shown"], "by its label only"));
    // With it, it holds, and hides what it says.
    let json = sandbox.json(&["verify", "receipt.carat", "--model", MODEL], 4);
    assert_eq!(check(&json, "evidence.1.proof"), true);
    assert_eq!(json["privacy"]["hidden"], json!(["intermediate values"]));
    sandbox.good(&["prove", "receipt.carat", "--model", MODEL]);
    handed_over(&sandbox);
    let json = sandbox.json(&verify, 4);
    assert_eq!(json["privacy"]["hidden"], json!([]));
    assert!(says(
        &json["privacy"]["shown"],
        "another proof in this file"
    ));
    assert!(
        sandbox
            .ends(&verify, 4)
            .out
            .contains("not the opening\n  - nothing\n")
    );
}

#[test]
fn three_private_proofs_and_no_more() {
    let sandbox = Sandbox::with_model();
    run(&sandbox, &["--io-commitment"]);
    let prove = [
        "prove",
        "receipt.carat",
        "--model",
        MODEL,
        "--mode",
        "zk",
        "--private",
        "input",
    ];
    // Elsewhere, so that the receipt itself does not say how many there are.
    for out in ["a.carat", "b.carat"] {
        let json = sandbox.json(&[&prove[..], &["-o", out]].concat(), 0);
        assert_eq!(json["mode"], "zk");
        assert_eq!(json["values_hidden"], true);
        sandbox.json(&["verify", out, "--model", MODEL, OPEN[0], OPEN[1]], 4);
    }
    sandbox.good(&prove);
    let refused = sandbox.json(&prove, 21);
    let message = refused["error"]["message"].as_str().expect("a message");
    assert!(message.contains("3 proofs"), "{message}");
    // On another machine the count starts again, except for what the receipt holds.
    let elsewhere = ["--data-dir", "elsewhere"];
    sandbox.good(&[&prove[..], &elsewhere].concat());
    sandbox.good(&[&prove[..], &elsewhere].concat());
    sandbox.ends(&[&prove[..], &elsewhere].concat(), 21);
    let theirs = handed_over(&sandbox);
    let json = sandbox.json(&["verify", theirs, "--model", MODEL], 4);
    assert_eq!(
        json["privacy"]["hidden"],
        json!(["intermediate values", "input and output"])
    );
    // Four in one file: then nobody says that input and output are hidden.
    let mut four = read(&sandbox, "receipt.carat");
    for item in read(&sandbox, "a.carat").evidence() {
        four.add_evidence(item.clone()).expect("added");
    }
    let json = judged(&sandbox, &four, &["--model", MODEL], 4);
    assert_eq!(json["privacy"]["hidden"], json!(["intermediate values"]));
    assert!(says(&json["privacy"]["shown"], "only 3 may be"));
}

#[test]
fn many_receipts_in_one_proof_that_hides_what_lies_between() {
    let sandbox = Sandbox::with_model();
    for name in ["a.carat", "b.carat"] {
        run(&sandbox, &["-o", name, "--io-commitment"]);
    }
    let prove = [
        "prove", "a.carat", "b.carat", "--model", MODEL, "--mode", "zk",
    ];
    sandbox.ends(&[&prove[..], &["--private", "input"]].concat(), 2);
    assert_eq!(sandbox.json(&prove, 0)["statements"], 2);
    for name in ["a.carat", "b.carat"] {
        let json = sandbox.json(
            &["verify", name, "--input", "tumor.json", "--model", MODEL],
            0,
        );
        assert_eq!(check(&json, "evidence.0.proof"), true);
        assert_eq!(json["privacy"]["hidden"], json!(["intermediate values"]));
    }
}

#[test]
fn a_label_does_not_make_a_proof() {
    let sandbox = Sandbox::with_model();
    run(&sandbox, &PRIVATE);
    for (mode, out) in [("zk", "zk.carat"), ("succinct", "succinct.carat")] {
        sandbox.good(&[
            "prove",
            "receipt.carat",
            "--model",
            MODEL,
            "--mode",
            mode,
            "-o",
            out,
        ]);
    }
    let file = read(&sandbox, "receipt.carat");
    let values = body(&file, 0);
    let zk = body(&read(&sandbox, "zk.carat"), 1);
    let succinct = body(&read(&sandbox, "succinct.carat"), 1);
    assert_eq!(
        (values.hides, zk.hides, zk.mode.as_str()),
        (ZK_VALUES, ZK, "zk")
    );
    for body in [&values, &zk, &succinct] {
        let json = judged(&sandbox, &with(&file, body.clone()), &OPEN, 4);
        assert_eq!(check(&json, "evidence.0.proof"), true);
    }
    let relabelled = |body: &Proof, mode: &str, hides: Hides| {
        let body = Proof {
            mode: label(mode),
            hides,
            ..body.clone()
        };
        with(&file, body)
    };
    for (what, forged) in [
        ("zk as succinct", relabelled(&zk, "succinct", ZK)),
        ("values as succinct", relabelled(&values, "succinct", ZK)),
        ("succinct as zk", relabelled(&succinct, "zk", ZK)),
        ("succinct as values", relabelled(&succinct, "zk", ZK_VALUES)),
        ("values as zk", relabelled(&values, "zk", ZK)),
        ("zk as values", relabelled(&zk, "zk", ZK_VALUES)),
    ] {
        for more in [&["--model", MODEL][..], &[]] {
            let json = judged(&sandbox, &forged, &[more, &OPEN].concat(), 1);
            assert_eq!(check(&json, "evidence.0.proof"), false, "{what}");
            assert_eq!(json.get("privacy"), None, "{what}");
        }
    }
    // Those that say they need no opening are refused without one.
    for body in [&succinct, &zk] {
        let json = judged(&sandbox, &relabelled(body, "zk", ZK_VALUES), &[], 1);
        assert_eq!(check(&json, "evidence.0.proof"), false);
    }
    // Nor is it a proof that hides the weights, with the model's own key or without.
    for values in [false, true] {
        let weights = Hides {
            values,
            weights: true,
        };
        let from = if values { &self::body(&file, 0) } else { &zk };
        for more in [&["--model", MODEL][..], &[]] {
            let forged = relabelled(from, "zk", weights);
            let json = judged(&sandbox, &forged, &[more, &OPEN].concat(), 1);
            assert_eq!(check(&json, "evidence.0.proof"), false);
            assert_eq!(json.get("privacy"), None);
        }
    }
    // A mode that there is none of, and a succinct proof that says it hides something, are not even read.
    for (mode, hides) in [("zk2", ZK), ("succinct", ZK_VALUES)] {
        let json = judged(&sandbox, &relabelled(&values, mode, hides), &[], 1);
        assert_eq!(check(&json, "encoding"), false);
    }
}

#[test]
fn a_private_proof_is_about_one_commitment() {
    let (sandbox, _) = private();
    let file = read(&sandbox, "receipt.carat");
    let values = body(&file, 0);
    for (more, why) in [
        (&[][..], "no io/v1 commitment"),
        (&["--io-commitment"], "the proof is wrong"),
    ] {
        let out = ["-o", "other.carat"];
        run(&sandbox, &[more, &out].concat());
        let other = read(&sandbox, "other.carat");
        let moved = Proof {
            statements: vec![other.receipt_id()],
            ..values.clone()
        };
        for more in [&[][..], &["--open", "other.carat-open"]] {
            let json = judged(&sandbox, &with(&other, moved.clone()), more, 1);
            assert_eq!(check(&json, "evidence.0.proof"), false);
            let reason = json["reason"].as_str().expect("a reason");
            assert!(reason.contains(why), "{reason}");
        }
    }
    // Of another scheme there is nothing that a proof of this protocol could be about.
    let mut statement = file.signed.statement().clone();
    let key = SigningKey::from_secret(&[7; 32]);
    statement.issuer_key = key.public();
    if let Some(io) = &mut statement.optional.io_commitment {
        io.scheme = label("io/v2");
    }
    let mut other =
        ReceiptFile::new(SignedStatement::sign(statement, &key).expect("the key it names"));
    other.program.clone_from(&file.program);
    let moved = Proof {
        statements: vec![other.receipt_id()],
        ..values
    };
    let json = judged(&sandbox, &with(&other, moved), &[], 1);
    assert_eq!(check(&json, "evidence.0.proof"), false);
}

/// The proof is about the commitment, and the salted hashes hold another answer: whoever has not seen it is told that
/// nothing is known about the answer, and whoever has seen it finds out.
#[test]
fn another_answer_beside_a_proof_about_the_right_one() {
    let (sandbox, _) = private();
    let model = Model::read(&sandbox.path(MODEL)).expect("the model");
    let honest = opening(&sandbox, "receipt.carat-open");
    let inputs = decode_tensors(&honest.input.bytes).expect("tensors");
    let outputs = decode_tensors(&honest.output.bytes).expect("tensors");
    let lie: Vec<Tensor> = outputs
        .iter()
        .map(|y| {
            let data = y.data().iter().map(|v| v - 1).collect();
            Tensor::new(y.shape().clone(), data).expect("a tensor")
        })
        .collect();
    let lied = Opened::new(honest.output.salt.clone(), canonical(&lie));
    let key = SigningKey::from_secret(&[7; 32]);
    let seed = Seed::from_salts(&honest.input.salt, &honest.output.salt);
    let values = Values {
        inputs: &inputs,
        outputs: &outputs,
    };
    let root = carat_zk::io::commit(model.program(), &values, &seed).expect("a commitment");
    let statement = Statement {
        issuer_key: key.public(),
        output: lied.commitment(Role::Output),
        ..read(&sandbox, "receipt.carat").signed.statement().clone()
    };
    assert_eq!(
        statement.optional.io_commitment,
        Some(IoCommitment {
            scheme: label("io/v1"),
            root
        })
    );
    let signed = SignedStatement::sign(statement, &key).expect("the key it names");
    let statement = signed.receipt_id();
    let mut file = ReceiptFile::new(signed);
    file.program = Some(model.program().encode());
    let hidden = Hidden {
        values: true,
        weights: false,
    };
    let how = How {
        mode: Mode::Zk(hidden),
        ties: vec![Tie { root, seed }],
        ..How::succinct(Profile::Proven100, 8 << 30)
    };
    let subject = Subject {
        statement,
        inputs,
        outputs,
    };
    let proved = proof_of(&model, &[subject], &how, &Silent).expect("a proof");
    file.add_evidence(proved.evidence[0].clone())
        .expect("added");
    let told = Opening {
        receipt_id: statement,
        output: lied,
        ..honest
    };
    fs::write(sandbox.path("lie.carat-open"), told.encode()).expect("write");

    let json = judged(&sandbox, &file, &["--model", MODEL], 4);
    assert_eq!(check(&json, "evidence.0.proof"), true);
    assert_eq!(proof_set(&json)["amount"], "0 USD");
    assert!(says(&json["not_proven"], "salted hashes"));
    let open = ["--open", "lie.carat-open", "--model", MODEL];
    let json = judged(&sandbox, &file, &open, 1);
    assert_eq!(check(&json, "opening"), true);
    assert_eq!(check(&json, "io_commitment"), false);
    assert_eq!(check(&json, "evidence.0.proof"), false);
    assert_eq!(json.get("privacy"), None);
}

/// Every byte of the evidence around the proof, and some inside it, without the opening.
#[test]
fn a_changed_private_proof_is_refused() {
    let (sandbox, _) = private();
    let file = read(&sandbox, "receipt.carat");
    let file = with(&file, body(&file, 0));
    let model = Model::read(&sandbox.path(MODEL)).expect("the model");
    let key = carat_zk::ProvingKey::new(model.program(), &model.file.weights, Profile::Proven100)
        .expect("a key");
    let keys = [*key.key()];
    let now = file.signed.statement().issued_at;
    let question = Question {
        now,
        model: Some(model.digest),
        model_keys: &keys,
        ..Question::default()
    };
    let bytes = file.encode();
    let item = file.evidence()[0].encode();
    let proof = body(&file, 0).proof;
    let find = |part: &[u8]| {
        let mut found = bytes.windows(part.len()).enumerate();
        found.find(|(_, w)| *w == part).expect("there").0
    };
    let (start, inside) = (find(&item), find(&proof));
    let (end, after) = (start + item.len(), inside + proof.len());
    assert_eq!(after + 2, end);
    let outcome = |bytes: &[u8]| {
        let appraisal = appraise_bytes(bytes, &question).expect("a question");
        let outcome = appraisal.check("evidence.0.proof").map(|c| c.outcome);
        (appraisal.verdict, outcome)
    };
    assert_eq!(outcome(&bytes).1, Some(Outcome::Pass));
    let step = proof.len() / 40;
    let within = (inside..after).step_by(step).chain([inside, after - 1]);
    let mut unknown = 0;
    for at in (start..inside).chain(after..end).chain(within) {
        for bit in [0, 1, 2, 5, 7] {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let (verdict, outcome) = outcome(&changed);
            // A protocol or profile of another name is one that is not known, and adds nothing.
            if verdict != Verdict::Invalid {
                assert_eq!(outcome, Some(Outcome::NotMade), "byte {at} bit {bit}");
                assert!(at < inside, "byte {at} bit {bit}");
                unknown += 1;
            }
        }
    }
    assert!(unknown > 0);
    assert_eq!(outcome(&bytes[..start]).1, None);
}

#[test]
fn what_cannot_be_asked_for() {
    let sandbox = Sandbox::with_receipt();
    let receipt = ["prove", "receipt.carat", "--model", MODEL];
    let before = sandbox.names();
    for (args, code) in [
        ([&RUN[..], &["--private", "input"]].concat(), 2),
        ([&RUN[..], &["--prove", "--private", "input"]].concat(), 2),
        ([&RUN[..], &["--prove", "zz"]].concat(), 2),
        (
            [&RUN[..], &["--prove", "zk", "--private", "everything"]].concat(),
            2,
        ),
        ([&receipt[..], &["--private", "input"]].concat(), 2),
        // It has no commitment that a private proof could be about.
        (
            [&receipt[..], &["--mode", "zk", "--private", "values"]].concat(),
            20,
        ),
        // There is no key that hides the weights.
        (
            [&RUN[..], &["--prove", "zk", "--private", "input,weights"]].concat(),
            2,
        ),
        (
            [&receipt[..], &["--mode", "zk", "--private", "weights"]].concat(),
            2,
        ),
    ] {
        let ran = sandbox.ends(&args, code);
        assert!(
            ran.err.contains("private") || ran.err.contains("--prove") || ran.err.contains("io/v1"),
            "{}",
            ran.err
        );
    }
    assert_eq!(sandbox.names(), before);
    assert!(!Path::new(&sandbox.path("home/private-proofs")).exists());
    // The ledger of the mode is printed without any proof.
    let json = sandbox.json(&["prove", "receipt.carat", "--ledger", "--mode", "zk"], 0);
    assert_eq!(json["mode"], "zk");
}

#[test]
fn measurements_say_the_mode() {
    let sandbox = Sandbox::with_model();
    let bench = ["bench", "prove", "--model", MODEL, "--mode", "zk"];
    for (private, values, weights) in [
        (&[][..], false, false),
        (&["--private", "input"], true, false),
        (&["--private", "weights"], false, true),
        (&["--private", "input,weights"], true, true),
    ] {
        let json = sandbox.json(&[&bench[..], private].concat(), 0);
        let row = &json["rows"][0];
        assert_eq!(row["mode"], "zk");
        assert_eq!(row["values_hidden"], values);
        assert_eq!(row["weights_hidden"], weights);
        assert_eq!(row["registration_ms"].is_number(), weights);
        assert!(row["proof_bytes"].as_u64() > Some(0));
    }
    // The key of a measurement is thrown away.
    assert!(!Path::new(&sandbox.path("home/private-weights")).exists());
}
