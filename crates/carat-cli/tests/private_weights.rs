//! Proofs that hide the weights through the real binary: under a key that was registered and listed, and refused where anything
//! about them was made up.

mod common;

use std::fs;

use carat_node::exit::Exit;
use carat_node::home::Place;
use carat_node::model::Model;
use carat_node::prover::{Hiding, Subject, proof_of};
use carat_node::{private_weights, tell::Silent};
use carat_receipt::evidence::{Body, Hides, Proof};
use carat_receipt::{Digest, Label, Registration};
use carat_zk::{HidingRoots, Options, Profile, ProvingKey, WeightsSecret, register};
use common::weights::{
    BOTH, FILE, KEY, MODEL, OPEN, PROFILE, RUN, WEIGHTS, body, check, hiding, home, judged, keyed,
    model, proof_set, read, says, subject, trusting,
};
use common::{Sandbox, repo};
use serde_json::json;

#[test]
fn a_key_is_made_once_and_its_registration_checked_by_anybody() {
    let (sandbox, key) = keyed();
    assert_eq!(key["made"], true);
    assert_eq!(key["weights_hidden"], true);
    assert_eq!(key["proofs"], 1);
    assert_eq!(key["registration_path"], FILE);
    let budget = key["budget"].as_u64().expect("a budget");
    assert_eq!(budget, 128);
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
    let mut data = other.file.weights.data[0].wide().into_owned();
    let at = (1..data.len())
        .find(|&i| data[i] != data[0])
        .expect("another number");
    data.swap(0, at);
    other.file.weights.data[0] = data.into();
    let secret = WeightsSecret::fresh().expect("random");
    let (program, weights) = (&other.file.program, &other.file.weights);
    let (public, roots) = HidingRoots::new(program, weights, PROFILE, &secret).expect("a key");
    let forged = ProvingKey::hiding(program, weights, &public, &secret, &roots, 0).expect("a key");
    assert_eq!(forged.key(), &public);
    let said = subject(&sandbox.path(""));
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
            ..subject(&sandbox.path(""))
        };
        let key = Hiding {
            key: *forged.key(),
            secret: secret.clone(),
            roots: None,
            before: 1,
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
        &Place {
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
}
