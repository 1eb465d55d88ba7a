//! Float models through the real binary and the real engine: run, receipt, verify, replay, conformance.
//!
//! Ignored where `cargo test` is run without more, since the worker is built apart:
//!
//! ```text
//! (cd float && cargo build --release) && cargo test --workspace --release --test float -- --ignored
//! ```

mod common;

use std::fs;

use carat_node::issue::{self, Issuer, Order};
use carat_node::model::{AnyModel, Tensors};
use carat_program::pinned::Bits;
use carat_receipt::{Label, ReceiptFile, SigningKey};
use common::{Sandbox, repo};

/// The image of a seven, and `models/digits` under the float profile.
fn with_float() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::copy(repo("examples/seven.png"), sandbox.path("seven.png")).expect("copy the input");
    let folder = repo("models/digits");
    let folder = folder.to_str().expect("a path of text");
    sandbox.good(&[
        "model",
        "compile",
        folder,
        "--profile",
        "tract",
        "-o",
        "d.carat-model",
    ]);
    sandbox
}

#[test]
#[ignore = "needs the worker"]
fn a_float_model_runs_and_its_receipt_verifies_and_replays() {
    let sandbox = with_float();
    let profile = carat_float::profile::X86_64_V3.name;
    let shown = sandbox.json(&["model", "inspect", "d.carat-model"], 0);
    assert_eq!(shown["profile"], profile);
    assert_eq!(shown["inputs"][0]["dtype"], "float32");

    let run = sandbox.json(&["run", "d.carat-model", "--input", "seven.png"], 0);
    assert_eq!(run["output"][0]["label"]["name"], "seven");
    assert_eq!(run["program_digest"], shown["program_digest"]);
    assert_eq!(run["rungs"], serde_json::json!(["signature"]));
    let file = fs::read(sandbox.path("receipt.carat")).expect("the receipt");
    let file = ReceiptFile::decode(&file).expect("a receipt");
    assert_eq!(file.signed.statement().engine.numerics.as_str(), profile);

    let replay = ["--replay", "d.carat-model", "--input", "seven.png"];
    let verdict = sandbox.json(&[&["verify", "receipt.carat"][..], &replay].concat(), 0);
    assert_eq!(verdict["output"], run["output"]);
    // Another's replay, attached.
    let args = [
        "replay",
        "receipt.carat",
        "--model",
        "d.carat-model",
        "--data-dir",
        "auditor",
    ];
    assert_eq!(sandbox.json(&args, 0)["agrees"], true);
    sandbox.json(&[&["verify", "receipt.carat"][..], &replay].concat(), 0);
    // The integer program of the same model is another program.
    let folder = repo("models/digits");
    let folder = folder.to_str().expect("a path of text");
    let args = [
        "verify",
        "receipt.carat",
        "--replay",
        folder,
        "--input",
        "seven.png",
    ];
    sandbox.ends(&args, 1);
    // No proofs, no integer measurements.
    for args in [
        &["run", "d.carat-model", "--input", "seven.png", "--prove"][..],
        &["prove", "receipt.carat", "--model", "d.carat-model"],
        &["model", "key", "d.carat-model"],
    ] {
        let ran = sandbox.ends(args, 10);
        assert!(ran.err.contains("integer"), "{}", ran.err);
    }
}

/// A receipt for an answer whose last bit is another one.
#[test]
#[ignore = "needs the worker"]
fn one_other_bit_in_the_answer_fails_the_replay() {
    let sandbox = with_float();
    let bytes = fs::read(sandbox.path("d.carat-model")).expect("the model");
    let model = AnyModel::decode(&bytes, sandbox.path("d.carat-model")).expect("a model");
    let inputs = model
        .program()
        .read_input(&sandbox.path("seven.png"))
        .expect("an input");
    let Tensors::Bits(right) = model.answer(&inputs).expect("an answer") else {
        panic!("a float model");
    };
    let mut data = right[0].data().to_vec();
    data[0] ^= 1;
    let wrong = Bits::new(right[0].dtype(), right[0].dims(), data).expect("fits");
    for (name, outputs, verdict, replay) in [("lie", vec![wrong], 1, 20), ("truth", right, 0, 0)] {
        let outputs = Tensors::Bits(outputs);
        let order = Order {
            model: model.identity().expect("an identity"),
            input: (&inputs).into(),
            output: (&outputs).into(),
            wall_micros: 1,
            audience: None,
            nonce: None,
            planned: None,
            io_commitment: None,
            option_expiry: None,
        };
        let issuer = Issuer {
            key: SigningKey::from_secret(&[7; 32]),
            name: Label::new("liar").expect("a name"),
        };
        let signed = issue::sign(order, &issuer, 1_700_000_000).expect("signed");
        let mut file = ReceiptFile::new(signed.signed);
        file.program = Some(model.program().encode());
        let path = format!("{name}.carat");
        fs::write(sandbox.path(&path), file.encode()).expect("written");
        fs::write(
            sandbox.path(&format!("{path}-open")),
            signed.opening.encode(),
        )
        .expect("written");
        let args = [
            "verify",
            &path,
            "--replay",
            "d.carat-model",
            "--input",
            "seven.png",
        ];
        let ran = sandbox.ends(&args, verdict);
        assert_eq!(
            verdict == 1,
            ran.out.contains("computes another output"),
            "{}",
            ran.out
        );
        sandbox.ends(&["replay", &path, "--model", "d.carat-model"], replay);
    }
}
