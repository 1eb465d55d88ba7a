//! Proofs that hide the weights through the real binary: under a key that was registered and listed, counted whatever happens
//! to the process, and refused where anything about them was made up.

mod common;

use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use carat_node::exit::Exit;
use carat_node::home::Home;
use carat_node::model::Model;
use carat_node::prover::{self, Hiding, How, Subject, proof_of};
use carat_node::{private_weights, tell::Silent};
use carat_program::decode_tensors;
use carat_receipt::evidence::{Body, Hides, Proof};
use carat_receipt::{Digest, Evidence, Label, Opening, ReceiptFile, Registration};
use carat_zk::{Hidden, Mode, Options, Profile, ProvingKey, WeightsSecret, register};
use common::{Sandbox, repo};
use serde_json::{Value, json};

const MODEL: &str = "tumor.carat-model";
const RUN: [&str; 4] = ["run", MODEL, "--input", "tumor.json"];
const WEIGHTS: [&str; 4] = ["--prove", "zk", "--private", "weights"];
const BOTH: [&str; 4] = ["--prove", "zk", "--private", "input,weights"];
const KEY: [&str; 4] = ["model", "key", MODEL, "--private"];
const FILE: &str = "tumor.carat-registration";
const OPEN: [&str; 2] = ["--open", "receipt.carat-open"];
const PROFILE: Profile = Profile::Proven100;

/// A model and a key that hides its weights, and what was said of the key.
fn keyed() -> (Sandbox, Value) {
    let sandbox = Sandbox::with_model();
    let key = sandbox.json(&KEY, 0);
    (sandbox, key)
}

/// A Trust file that lists what is in a registration.
fn trusting(sandbox: &Sandbox) -> [&'static str; 2] {
    sandbox.good(&["trust", "new", "--name", "me", "--currency", "USD"]);
    sandbox.good(&["trust", "add", "trust.toml", "registration", "tumor", FILE]);
    ["--trust", "trust.toml"]
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

fn body(file: &ReceiptFile, n: usize) -> Proof {
    match &file.evidence()[n].body {
        Body::Proof(body) => body.clone(),
        other => panic!("a proof, not {other:?}"),
    }
}

/// What `verify` says of a receipt with these proofs that lies beside nothing.
fn judged(sandbox: &Sandbox, proofs: &[Proof], more: &[&str], code: i32) -> Value {
    let file = read(sandbox, "receipt.carat");
    let mut changed = ReceiptFile::new(file.signed.clone());
    changed.program.clone_from(&file.program);
    for proof in proofs {
        let item = Evidence {
            statement: file.receipt_id(),
            body: Body::Proof(proof.clone()),
        };
        changed.add_evidence(item).expect("added");
    }
    fs::create_dir_all(sandbox.path("judged")).expect("a directory");
    fs::write(sandbox.path("judged/r.carat"), changed.encode()).expect("write");
    sandbox.json(&[&["verify", "judged/r.carat"], more].concat(), code)
}

fn model(sandbox: &Sandbox) -> Model {
    Model::read(&sandbox.path(MODEL)).expect("the model")
}

fn home(sandbox: &Sandbox) -> Home {
    Home::at(sandbox.path("home"))
}

/// What the receipt says, from its opening.
fn subject(sandbox: &Sandbox) -> Subject {
    let bytes = fs::read(sandbox.path("receipt.carat-open")).expect("an opening");
    let opening = Opening::decode(&bytes).expect("an opening");
    Subject {
        statement: opening.receipt_id,
        inputs: decode_tensors(&opening.input.bytes).expect("tensors"),
        outputs: decode_tensors(&opening.output.bytes).expect("tensors"),
    }
}

fn hiding(hiding: Hiding) -> How {
    How {
        mode: Mode::Zk(Hidden {
            values: false,
            weights: true,
        }),
        hiding: Some(hiding),
        ..How::succinct(PROFILE, 8 << 30)
    }
}

#[test]
fn a_key_is_made_once_and_its_registration_checked_by_anybody() {
    let (sandbox, key) = keyed();
    assert_eq!(key["made"], true);
    assert_eq!(key["weights_hidden"], true);
    assert_eq!(key["proofs"], 1);
    assert_eq!(key["registration_path"], FILE);
    let budget = key["budget"].as_u64().expect("a budget");
    assert!((16..=64).contains(&budget));
    assert_eq!(key["left"], budget - 1);
    // Not the key that comes of the weights alone.
    let public = sandbox.json(&["model", "key", MODEL], 0);
    assert_eq!(public["program_digest"], key["program_digest"]);
    assert_ne!(public["model_key"], key["model_key"]);

    // Asked again, nothing is proven, and the file is the same.
    let bytes = fs::read(sandbox.path(FILE)).expect("the registration");
    fs::remove_file(sandbox.path(FILE)).expect("removed");
    let again = sandbox.json(&KEY, 0);
    assert_eq!(again["made"], false);
    assert_eq!(again["model_key"], key["model_key"]);
    assert_eq!(again["proofs"], 1);
    assert_eq!(fs::read(sandbox.path(FILE)).expect("again"), bytes);

    // Whoever has nothing but the file.
    let theirs = Sandbox::new();
    fs::write(theirs.path(FILE), &bytes).expect("write");
    let checked = theirs.json(&["model", "key", "--check", FILE], 0);
    for name in [
        "model_key",
        "program_digest",
        "weights_root",
        "bits",
        "profile",
    ] {
        assert_eq!(checked[name], key[name], "{name}");
    }
    assert!(checked["bits"].as_u64() >= Some(100));
    assert!(says(&checked["not_shown"], "which weights they are"));
    assert!(!theirs.path("home").exists());
    let text = theirs.good(&["model", "key", "--check", FILE]).out;
    assert!(
        text.contains("carat trust add trust.toml registration NAME"),
        "{text}"
    );

    // Another one is another secret, and both are there.
    let new = sandbox.json(
        &[&KEY[..], &["--new", "-o", "new.carat-registration"]].concat(),
        0,
    );
    assert_eq!(new["made"], true);
    assert_ne!(new["model_key"], key["model_key"]);
    assert_eq!(sandbox.json(&KEY, 0)["model_key"], new["model_key"]);
    // A profile has keys of its own.
    let failure = private_weights::usable(&home(&sandbox), &model(&sandbox), Profile::Proven120);
    assert_eq!(failure.expect_err("none").exit, Exit::Usage);
}

#[test]
fn without_the_model_it_is_worth_what_the_listed_key_is() {
    let (sandbox, key) = keyed();
    let ran = sandbox.json(&[&RUN[..], &BOTH].concat(), 0);
    let proof = &ran["proof"];
    assert_eq!(proof["weights_hidden"], true);
    assert_eq!(proof["values_hidden"], true);
    assert_eq!(proof["model_key"], key["model_key"]);
    assert_eq!(proof["left"], key["left"].as_u64().expect("left") - 1);
    assert_eq!(
        ran["privacy"]["hidden"],
        json!(["intermediate values", "input and output", "the weights"])
    );
    let verify = ["verify", "receipt.carat", "--input", "tumor.json"];
    // Nobody vouches: nothing, and the model itself does not help.
    sandbox.good(&[
        "trust",
        "new",
        "--name",
        "me",
        "--currency",
        "USD",
        "-o",
        "none.toml",
    ]);
    sandbox.good(&["trust", "add", "none.toml", "model", "tumor", MODEL]);
    for more in [
        &["--trust", "none.toml"][..],
        &["--trust", "none.toml", "--model", MODEL],
        &["--model", MODEL],
    ] {
        let json = sandbox.json(&[&verify[..], more].concat(), 4);
        assert_eq!(check(&json, "evidence.0.proof"), true);
        let set = proof_set(&json);
        assert_eq!(set["amount"], "0 USD");
        assert!(
            set["under"]
                .as_array()
                .expect("under")
                .contains(&json!("publisher"))
        );
        let reason = set["reason"].as_str().expect("a reason");
        assert!(reason.contains("carat trust add"), "{reason}");
        assert!(says(&json["not_proven"], "was run at all"));
    }
    // Listed by its registration, which has the program too.
    let trust = trusting(&sandbox);
    let json = sandbox.json(&[&verify[..], &trust].concat(), 0);
    assert_eq!(check(&json, "evidence.0.proof"), true);
    let set = proof_set(&json);
    assert_eq!(set["amount"], "1000 USD");
    assert_eq!(set["under"], json!(["math", "implementation", "input:own"]));
    let reason = set["reason"].as_str().expect("a reason");
    assert!(reason.contains("publisher's word"), "{reason}");
    assert!(says(
        &json["not_proven"],
        "those whose hashes the program holds"
    ));
    assert!(says(
        &json["privacy"]["shown"],
        "plain hashes of the weights"
    ));
    assert!(!says(&json["privacy"]["shown"], "functions of the weights"));
    // Whoever has the receipt alone learns that it is proven, and not what.
    fs::create_dir(sandbox.path("theirs")).expect("a directory");
    fs::copy(
        sandbox.path("receipt.carat"),
        sandbox.path("theirs/r.carat"),
    )
    .expect("copy");
    let json = sandbox.json(&[&["verify", "theirs/r.carat"], &trust[..]].concat(), 4);
    assert_eq!(check(&json, "evidence.0.proof"), true);
    assert_eq!(
        json["privacy"]["hidden"],
        json!(["intermediate values", "input and output", "the weights"])
    );
    // Listed twice is listed once.
    sandbox.good(&["trust", "add", "trust.toml", "registration", "tumor", FILE]);
    let shown = sandbox.json(&["trust", "show", "trust.toml"], 0);
    assert_eq!(
        shown
            .to_string()
            .matches(key["model_key"].as_str().expect("key"))
            .count(),
        1
    );
}

#[test]
fn many_receipts_in_one_proof_are_one_use() {
    let (sandbox, key) = keyed();
    let trust = trusting(&sandbox);
    for name in ["a.carat", "b.carat"] {
        sandbox.good(&[&RUN[..], &["-o", name]].concat());
    }
    let prove = [
        "prove", "a.carat", "b.carat", "--model", MODEL, "--mode", "zk",
    ];
    let proved = sandbox.json(&[&prove[..], &["--private", "weights"]].concat(), 0);
    assert_eq!(proved["statements"], 2);
    assert_eq!(proved["left"], key["left"].as_u64().expect("left") - 1);
    for name in ["a.carat", "b.carat"] {
        let verify = ["verify", name, "--input", "tumor.json"];
        let json = sandbox.json(&[&verify[..], &trust].concat(), 0);
        assert_eq!(proof_set(&json)["amount"], "1000 USD");
        assert_eq!(
            json["privacy"]["hidden"],
            json!(["intermediate values", "the weights"])
        );
    }
}

#[test]
fn what_one_proof_shows_of_the_weights_is_not_hidden_by_another() {
    let (sandbox, _) = keyed();
    let trust = trusting(&sandbox);
    sandbox.good(&[&RUN[..], &WEIGHTS].concat());
    sandbox.good(&["prove", "receipt.carat", "--model", MODEL, "--mode", "zk"]);
    let file = read(&sandbox, "receipt.carat");
    let both = [body(&file, 0), body(&file, 1)];
    let more = [&OPEN[..], &trust].concat();
    let json = judged(&sandbox, &both[..1], &more, 4);
    assert!(says(&json["privacy"]["hidden"], "the weights"));
    let json = judged(&sandbox, &both, &more, 4);
    assert_eq!(check(&json, "evidence.0.proof"), true);
    assert_eq!(check(&json, "evidence.1.proof"), true);
    assert_eq!(json["privacy"]["hidden"], json!(["intermediate values"]));
    assert!(says(&json["privacy"]["shown"], "functions of the weights"));
    // Without the opening neither was checked.
    let json = judged(&sandbox, &both, &trust, 4);
    assert_eq!(json.get("privacy"), None);
}

#[test]
fn what_is_made_up_is_refused() {
    let (sandbox, key) = keyed();
    let trust = trusting(&sandbox);
    sandbox.good(&[&RUN[..], &WEIGHTS].concat());
    let honest = body(&read(&sandbox, "receipt.carat"), 0);
    let more = [&OPEN[..], &trust].concat();
    let json = judged(&sandbox, std::slice::from_ref(&honest), &more, 4);
    assert_eq!(check(&json, "evidence.0.proof"), true);

    // Other weights, in the same ranges and with the same sums: two numbers of a row change places.
    let mut other = model(&sandbox);
    let data = Arc::make_mut(&mut other.file.weights.data[0]);
    let at = (1..data.len())
        .find(|&i| data[i] != data[0])
        .expect("another number");
    data.swap(0, at);
    let secret = WeightsSecret::fresh().expect("random");
    let (program, weights) = (&other.file.program, &other.file.weights);
    let forged = ProvingKey::hiding(program, weights, PROFILE, &secret).expect("a key");
    let said = subject(&sandbox);
    let outputs = other.answer(&said.inputs).expect("an answer");
    // They register as well as any: the program's hashes are not looked at.
    let registration = register(program, weights, &forged, &Options::default()).expect("proven");
    let file = Registration {
        program: program.encode(),
        protocol: Label::new("carat/zk/v1").expect("a label"),
        profile: Label::new(PROFILE.name()).expect("a label"),
        weights_root: Digest::from_bytes(forged.key().root.0),
        proof: registration.bytes,
    };
    fs::write(sandbox.path("forged.carat-registration"), file.encode()).expect("write");
    let checked = sandbox.json(&["model", "key", "--check", "forged.carat-registration"], 0);
    assert_eq!(checked["program_digest"], key["program_digest"]);
    // What they prove is another key's, and that one is listed by nobody.
    let made = |outputs| {
        let subject = Subject {
            outputs,
            ..subject(&sandbox)
        };
        let key = Hiding {
            key: *forged.key(),
            secret: secret.clone(),
        };
        let proved = proof_of(&other, &[subject], &hiding(key), &Silent).expect("a proof");
        match &proved.evidence[0].body {
            Body::Proof(body) => body.clone(),
            other => panic!("a proof, not {other:?}"),
        }
    };
    let proof = made(outputs.clone());
    if outputs == said.outputs {
        let json = judged(&sandbox, std::slice::from_ref(&proof), &more, 4);
        assert_eq!(proof_set(&json)["amount"], "0 USD");
    } else {
        let json = judged(&sandbox, std::slice::from_ref(&proof), &more, 1);
        assert_eq!(check(&json, "evidence.0.proof"), false);
    }
    // Under the listed key it is no proof.
    let renamed = Proof {
        weights_root: honest.weights_root,
        ..proof
    };
    let json = judged(&sandbox, &[renamed], &more, 1);
    assert_eq!(check(&json, "evidence.0.proof"), false);
    // The honest proof under the other key, another label, other bits, a changed byte.
    let mut changed = honest.clone();
    let middle = changed.proof.len() / 2;
    changed.proof[middle] ^= 1;
    let hides = |values, weights| Proof {
        hides: Hides { values, weights },
        ..honest.clone()
    };
    for forged in [
        Proof {
            weights_root: file.weights_root,
            ..honest.clone()
        },
        Proof {
            bits: honest.bits + 1,
            ..honest.clone()
        },
        hides(false, false),
        changed,
    ] {
        let json = judged(&sandbox, &[forged], &more, 1);
        assert_eq!(check(&json, "evidence.0.proof"), false);
        assert_eq!(json.get("privacy"), None);
    }
}

#[test]
fn a_registration_that_does_not_hold_lists_nothing() {
    let (sandbox, _) = keyed();
    sandbox.good(&["trust", "new", "--name", "me", "--currency", "USD"]);
    let before = fs::read(sandbox.path("trust.toml")).expect("the Trust file");
    let bytes = fs::read(sandbox.path(FILE)).expect("the registration");
    let good = Registration::decode(&bytes).expect("a registration");
    let digits = Model::load(
        &repo("models/digits"),
        &carat_node::home::Place {
            data_dir: Some(sandbox.path("home")),
            tell: &Silent,
        },
    )
    .expect("a model");
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let with = |change: &dyn Fn(&mut Registration)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed.encode()
    };
    for (what, bytes) in [
        ("cut off", bytes[..bytes.len() - 1].to_vec()),
        ("lengthened", [&bytes[..], &[0]].concat()),
        ("changed", damaged),
        ("empty", Vec::new()),
        (
            "another program",
            with(&|r| r.program = digits.program().encode()),
        ),
        ("no program", with(&|r| r.program = vec![1, 2, 3])),
        (
            "another root",
            with(&|r| r.weights_root = Digest::sha256(b"x")),
        ),
        (
            "another profile",
            with(&|r| r.profile = Label::new("proven-120").expect("a label")),
        ),
        (
            "no profile",
            with(&|r| r.profile = Label::new("proven-1").expect("a label")),
        ),
        ("no proof", with(&|r| r.proof = vec![0; r.proof.len()])),
    ] {
        fs::write(sandbox.path("bad"), bytes).expect("write");
        for args in [
            &["model", "key", "--check", "bad"][..],
            &["trust", "add", "trust.toml", "registration", "tumor", "bad"],
        ] {
            let json = sandbox.json(args, 1);
            let message = json["error"]["message"].as_str().expect("a message");
            assert!(message.starts_with("bad: "), "{what}: {message}");
        }
        let after = fs::read(sandbox.path("trust.toml")).expect("the Trust file");
        assert_eq!(after, before, "{what}");
    }
    // A receipt is none.
    sandbox.good(&RUN);
    sandbox.ends(&["model", "key", "--check", "receipt.carat"], 1);
    sandbox.ends(&["model", "key", "--check", "nothing"], 12);
}

#[test]
fn a_key_is_used_up_and_another_goes_on() {
    let (sandbox, key) = keyed();
    sandbox.good(&RUN);
    let (model, home) = (model(&sandbox), home(&sandbox));
    let left = key["left"].as_u64().expect("left");
    for n in 1..left {
        let key = private_weights::count_one(&home, &model, PROFILE).expect("counted");
        assert_eq!(u64::from(key.left()), left - n);
    }
    let prove = [
        "prove",
        "receipt.carat",
        "--model",
        MODEL,
        "--mode",
        "zk",
        "--private",
        "weights",
    ];
    assert_eq!(sandbox.json(&prove, 0)["left"], 0);
    let names = sandbox.names();
    for args in [&prove[..], &[&RUN[..], &WEIGHTS].concat()] {
        let refused = sandbox.json(args, 21);
        let message = refused["error"]["message"].as_str().expect("a message");
        assert!(message.contains("--private --new"), "{message}");
    }
    assert_eq!(sandbox.names(), names);
    assert_eq!(sandbox.json(&KEY, 0)["left"], 0);
    assert!(sandbox.good(&KEY).out.contains("--private --new"));
    let new = sandbox.json(&[&KEY[..], &["--new"]].concat(), 0);
    assert_eq!(sandbox.json(&prove, 0)["model_key"], new["model_key"]);
}

#[test]
fn a_damaged_or_restored_record_is_refused() {
    let (sandbox, key) = keyed();
    sandbox.good(&RUN);
    let prove = [
        "prove",
        "receipt.carat",
        "--model",
        MODEL,
        "--mode",
        "zk",
        "--private",
        "weights",
    ];
    let record = files(&sandbox)
        .into_iter()
        .find(|path| path.ends_with("record"));
    let record = record.expect("a record");
    let older = fs::read(&record).expect("a record");
    sandbox.good(&prove);
    let whole = fs::read(&record).expect("a record");
    let mut changed = whole.clone();
    changed[60] ^= 1;
    for bytes in [
        &older,
        &whole[..whole.len() / 2].to_vec(),
        &changed,
        &Vec::new(),
    ] {
        fs::write(&record, bytes).expect("write");
        for args in [&prove[..], &KEY] {
            let refused = sandbox.json(args, 15);
            let message = refused["error"]["message"].as_str().expect("a message");
            assert!(message.contains("--private --new"), "{message}");
        }
    }
    fs::write(&record, &whole).expect("write");
    sandbox.good(&prove);
    // The whole directory put back from a copy, and a key that goes on.
    let copied = Command::new("cp")
        .arg("-a")
        .arg(sandbox.path("home"))
        .arg(sandbox.path("copy"))
        .status();
    assert!(copied.expect("cp").success());
    fs::remove_dir_all(sandbox.path("home")).expect("removed");
    fs::rename(sandbox.path("copy"), sandbox.path("home")).expect("put back");
    let refused = sandbox.json(&prove, 15);
    let message = refused["error"]["message"].as_str().expect("a message");
    assert!(message.contains("a copy"), "{message}");
    let new = sandbox.json(&[&KEY[..], &["--new"]].concat(), 0);
    assert_ne!(new["model_key"], key["model_key"]);
    assert_eq!(sandbox.json(&prove, 0)["model_key"], new["model_key"]);
}

/// Files below `private-weights`.
fn files(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![sandbox.path("home/private-weights")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files
}

/// How many proofs the record of the newest key says were begun.
fn counted(sandbox: &Sandbox) -> u32 {
    let key = private_weights::newest(&home(sandbox), &model(sandbox), PROFILE);
    key.expect("a record in good order").expect("a key").proofs
}

#[test]
fn the_count_is_never_below_what_came_out_whenever_the_process_is_killed() {
    let (sandbox, _) = keyed();
    sandbox.good(&RUN);
    let prove = [
        "prove",
        "receipt.carat",
        "--model",
        MODEL,
        "--mode",
        "zk",
        "--private",
        "weights",
    ];
    let started = Instant::now();
    sandbox.good(&[&prove[..], &["-o", "0.carat"]].concat());
    let whole = started.elapsed();
    let (mut out, mut killed) = (2, 0);
    const ROUNDS: u32 = 14;
    for round in 1..=ROUNDS {
        let name = format!("{round}.carat");
        let before = counted(&sandbox);
        let mut child = sandbox
            .command(&[&prove[..], &["-o", &name]].concat())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("start carat");
        std::thread::sleep(whole * round / ROUNDS);
        child.kill().expect("killed");
        killed += u32::from(!child.wait().expect("ended").success());
        out += u32::from(sandbox.path(&name).exists());
        let after = counted(&sandbox);
        assert!(after >= out, "{after} counted, {out} came out");
        assert!((before..=before + 1).contains(&after));
    }
    assert!(killed > 0, "no kill met a process");
    // It goes on, from the count that is there.
    let before = counted(&sandbox);
    sandbox.good(&[&prove[..], &["-o", "last.carat"]].concat());
    assert_eq!(counted(&sandbox), before + 1);
    // The registration, too, is counted before it is made.
    let sandbox = Sandbox::with_model();
    let mut child = sandbox
        .command(&[&KEY[..], &["-o", "k"]].concat())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("start carat");
    let patience = Instant::now() + Duration::from_secs(60);
    let there = || {
        let key = private_weights::newest(&home(&sandbox), &model(&sandbox), PROFILE);
        key.expect("in good order").map(|key| key.proofs)
    };
    while there().unwrap_or_default() == 0 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    child.wait().expect("ended");
    let counted = there().expect("a key");
    assert_eq!(counted, 1);
    // Another try is another proof, unless the first got to its end.
    let key = sandbox.json(&[&KEY[..], &["-o", "k"]].concat(), 0);
    let made = key["made"] == true;
    assert_eq!(key["proofs"], if made { 2 } else { 1 });
    sandbox.good(&["model", "key", "--check", "k"]);
}

const CHILD: &str = "CARAT_TEST_PRIVATE_WEIGHTS_CHILD";

/// Not a test of its own: what another one starts, and kills once its proof is there and nothing has been written of it.
#[test]
fn a_prover_to_be_killed() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let folder = Path::new(&folder);
    let model = Model::read(&folder.join(MODEL)).expect("the model");
    let home = Home::at(folder.join("home"));
    let bytes = fs::read(folder.join("receipt.carat-open")).expect("an opening");
    let opening = Opening::decode(&bytes).expect("an opening");
    let subject = Subject {
        statement: opening.receipt_id,
        inputs: decode_tensors(&opening.input.bytes).expect("tensors"),
        outputs: decode_tensors(&opening.output.bytes).expect("tensors"),
    };
    let key = private_weights::count_one(&home, &model, PROFILE).expect("counted");
    let proved = proof_of(&model, &[subject], &hiding(key.hiding), &Silent).expect("a proof");
    fs::write(folder.join("seen.tmp"), proved.evidence[0].encode()).expect("write");
    fs::rename(folder.join("seen.tmp"), folder.join("seen")).expect("rename");
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_proof_after_a_crash_shares_no_randomness_with_the_one_before() {
    let (sandbox, key) = keyed();
    sandbox.good(&RUN);
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "a_prover_to_be_killed"])
        .env(CHILD, sandbox.path(""))
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("start the prover");
    let patience = Instant::now() + Duration::from_secs(120);
    while !sandbox.path("seen").exists() && Instant::now() < patience {
        assert_eq!(
            child.try_wait().expect("its state"),
            None,
            "it ended by itself"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(counted(&sandbox), 2);
    let bytes = fs::read(sandbox.path("seen")).expect("a proof");
    let Body::Proof(first) = Evidence::decode(&bytes).expect("evidence").body else {
        panic!("a proof")
    };
    // After the restart: about the same receipt, under the same key.
    let prove = [
        "prove",
        "receipt.carat",
        "--model",
        MODEL,
        "--mode",
        "zk",
        "--private",
        "weights",
    ];
    let json = sandbox.json(&prove, 0);
    assert_eq!(json["model_key"], key["model_key"]);
    assert_eq!(counted(&sandbox), 3);
    let second = body(&read(&sandbox, "receipt.carat"), 0);
    assert_eq!(first.weights_root, second.weights_root);
    // Both hold.
    let trust = trusting(&sandbox);
    let json = judged(
        &sandbox,
        &[first.clone(), second.clone()],
        &[&OPEN[..], &trust].concat(),
        4,
    );
    assert_eq!(check(&json, "evidence.0.proof"), true);
    assert_eq!(check(&json, "evidence.1.proof"), true);
    // What both say of the key: its root, and one value. Then nothing, up to the one part where both show places of the same
    // commitment: siblings in its tree, and a leaf where both drew the same place. Behind it again nothing.
    let stretches = shared(&first.proof, &second.proof);
    let (head, tree) = stretches.split_first().expect("the key");
    assert_eq!(*head, 0..32 + ELEMENT, "{stretches:?}");
    let (from, to) = match tree {
        [] => (0, 0),
        [one] => (one.start, one.end),
        [first, .., last] => (first.start, last.end),
    };
    let whole = first.proof.len();
    assert!(to - from <= whole / 8, "{stretches:?} of {whole}");
    assert!(
        to == 0 || (whole / 4..3 * whole / 4).contains(&from),
        "{stretches:?} of {whole}"
    );
    // It is the comparison that would see it.
    let same = shared(&first.proof, &first.proof);
    assert_eq!(same, std::slice::from_ref(&(0..whole)));
}

/// Bytes of an element of the challenge field.
const ELEMENT: usize = 20;

/// Stretches of a proof that stand anywhere in another one, at least as long as an element.
fn shared(first: &[u8], second: &[u8]) -> Vec<Range<usize>> {
    let there: HashSet<&[u8]> = second.windows(ELEMENT).collect();
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for (at, window) in first.windows(ELEMENT).enumerate() {
        if !there.contains(window) {
            continue;
        }
        match stretches.last_mut() {
            Some(last) if at < last.end => last.end = at + ELEMENT,
            _ => stretches.push(at..at + ELEMENT),
        }
    }
    stretches
}

#[test]
fn what_cannot_be_asked_for() {
    let sandbox = Sandbox::with_receipt();
    let before = sandbox.names();
    let receipt = ["prove", "receipt.carat", "--model", MODEL, "--mode", "zk"];
    for args in [
        &[&RUN[..], &WEIGHTS].concat()[..],
        &[&receipt[..], &["--private", "weights"]].concat(),
    ] {
        let json = sandbox.json(args, 2);
        let message = json["error"]["message"].as_str().expect("a message");
        assert!(
            message.contains("carat model key MODEL --private"),
            "{message}"
        );
    }
    for args in [
        &["model", "key"][..],
        &["model", "key", MODEL, "--new"],
        &["model", "key", MODEL, "-o", "x"],
        &["model", "key", MODEL, "--check", "x"],
        &["model", "key", "--check", "x", "--private"],
    ] {
        sandbox.ends(args, 2);
    }
    let onnx = repo("models/digits/digits.onnx");
    let onnx = onnx.to_str().expect("UTF-8");
    sandbox.ends(&["model", "key", onnx, "--private"], 2);
    sandbox.ends(&[&KEY[..], &["--memory-limit", "1MiB"]].concat(), 22);
    assert_eq!(sandbox.names(), before);
    assert!(!sandbox.path("home/private-weights").exists());
    // The ledger of the mode needs no key.
    let ledger = [
        "prove",
        "receipt.carat",
        "--ledger",
        "--mode",
        "zk",
        "--private",
        "weights",
    ];
    assert!(sandbox.json(&ledger, 0)["ledger"]["bits"].as_f64() >= Some(100.0));
    // Of another model's key nothing is used.
    let failure = private_weights::usable(&home(&sandbox), &model(&sandbox), PROFILE);
    assert_eq!(failure.expect_err("none").exit, Exit::Usage);
    assert!(prover::profile("proven-100").is_ok());
}
