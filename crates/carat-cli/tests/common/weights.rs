//! Keys that hide a model's weights, proofs under them, and what `verify` says of those.

use std::fs;
use std::path::Path;

use carat_node::home::Home;
use carat_node::model::Model;
use carat_node::prover::{Hiding, How, Subject};
use carat_program::decode_tensors;
use carat_receipt::evidence::{Body, Proof};
use carat_receipt::{Evidence, Opening, ReceiptFile};
use carat_zk::{Hidden, Mode, Profile};
use serde_json::Value;

use super::Sandbox;

pub(crate) const MODEL: &str = "tumor.carat-model";
pub(crate) const RUN: [&str; 4] = ["run", MODEL, "--input", "tumor.json"];
pub(crate) const WEIGHTS: [&str; 4] = ["--prove", "zk", "--private", "weights"];
pub(crate) const BOTH: [&str; 4] = ["--prove", "zk", "--private", "input,weights"];
/// Proves the receipt that is there.
pub(crate) const PROVE: [&str; 8] = [
    "prove",
    "receipt.carat",
    "--model",
    MODEL,
    "--mode",
    "zk",
    "--private",
    "weights",
];
pub(crate) const KEY: [&str; 4] = ["model", "key", MODEL, "--private"];
pub(crate) const FILE: &str = "tumor.carat-registration";
pub(crate) const OPEN: [&str; 2] = ["--open", "receipt.carat-open"];
pub(crate) const PROFILE: Profile = Profile::Proven100;

/// A model and a key that hides its weights, and what was said of the key.
pub(crate) fn keyed() -> (Sandbox, Value) {
    let sandbox = Sandbox::with_model();
    let key = sandbox.json(&KEY, 0);
    (sandbox, key)
}

/// A Trust file that lists what is in a registration.
pub(crate) fn trusting(sandbox: &Sandbox) -> [&'static str; 2] {
    sandbox.good(&["trust", "new", "--name", "me", "--currency", "USD"]);
    sandbox.good(&["trust", "add", "trust.toml", "registration", "tumor", FILE]);
    ["--trust", "trust.toml"]
}

pub(crate) fn check(json: &Value, name: &str) -> Value {
    let checks = json["checks"].as_array().expect("checks");
    let found = checks.iter().find(|c| c["name"] == name);
    found.unwrap_or_else(|| panic!("no check {name} in {json:#}"))["ok"].clone()
}

pub(crate) fn proof_set(json: &Value) -> Value {
    let sets = json["good_for"].as_array().expect("good_for");
    let found = sets.iter().find(|set| set["rung"] == "proof");
    found.cloned().expect("a set `proof`")
}

pub(crate) fn says(list: &Value, what: &str) -> bool {
    let items = list.as_array().expect("a list");
    items
        .iter()
        .any(|item| item.as_str().is_some_and(|item| item.contains(what)))
}

pub(crate) fn read(sandbox: &Sandbox, name: &str) -> ReceiptFile {
    ReceiptFile::decode(&fs::read(sandbox.path(name)).expect(name)).expect(name)
}

pub(crate) fn body(file: &ReceiptFile, n: usize) -> Proof {
    match &file.evidence()[n].body {
        Body::Proof(body) => body.clone(),
        other => panic!("a proof, not {other:?}"),
    }
}

/// What `verify` says of a receipt with these proofs that lies beside nothing.
pub(crate) fn judged(sandbox: &Sandbox, proofs: &[Proof], more: &[&str], code: i32) -> Value {
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

pub(crate) fn model(sandbox: &Sandbox) -> Model {
    Model::read(&sandbox.path(MODEL)).expect("the model")
}

pub(crate) fn home(sandbox: &Sandbox) -> Home {
    Home::at(sandbox.path("home"))
}

/// What the receipt in a folder says, from its opening.
pub(crate) fn subject(folder: &Path) -> Subject {
    let bytes = fs::read(folder.join("receipt.carat-open")).expect("an opening");
    let opening = Opening::decode(&bytes).expect("an opening");
    Subject {
        statement: opening.receipt_id,
        inputs: decode_tensors(&opening.input.bytes).expect("tensors"),
        outputs: decode_tensors(&opening.output.bytes).expect("tensors"),
    }
}

pub(crate) fn hiding(hiding: Hiding) -> How {
    How {
        mode: Mode::Zk(Hidden {
            values: false,
            weights: true,
        }),
        hiding: Some(hiding),
        ..How::succinct(PROFILE, 8 << 30)
    }
}
