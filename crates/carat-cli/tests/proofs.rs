//! Proofs through the real binary: made at once or later, alone or in batches, verified under keys that the right people
//! vouch for.

mod common;

use std::fs;

use carat_receipt::evidence::Body;
use carat_receipt::{Evidence, ReceiptFile};
use common::{Sandbox, repo};
use serde_json::Value;

const MODEL: &str = "tumor.carat-model";

fn check<'a>(json: &'a Value, name: &str) -> &'a Value {
    let checks = json["checks"].as_array().expect("checks");
    &checks
        .iter()
        .find(|c| c["name"] == name)
        .unwrap_or_else(|| panic!("no check {name} in {json:#}"))["ok"]
}

fn proof_set(json: &Value) -> Value {
    let sets = json["good_for"].as_array().expect("good_for");
    let found = sets.iter().find(|set| set["rung"] == "proof");
    found.cloned().unwrap_or_default()
}

fn read(sandbox: &Sandbox, name: &str) -> ReceiptFile {
    ReceiptFile::decode(&fs::read(sandbox.path(name)).expect(name)).expect(name)
}

fn proven() -> (Sandbox, Value) {
    let sandbox = Sandbox::with_model();
    let json = sandbox.json(&["run", MODEL, "--input", "tumor.json", "--prove"], 0);
    (sandbox, json)
}

#[test]
fn a_proof_at_once_is_good_up_to_the_cap_whoever_issued_it() {
    let (sandbox, run) = proven();
    assert_eq!(run["rungs"], serde_json::json!(["signature", "proof"]));
    assert!(run["proof"]["bits"].as_u64().expect("bits") >= 100);
    let verify = ["verify", "receipt.carat", "--input", "tumor.json"];
    // The model's key was computed here: nobody's word is needed.
    let json = sandbox.json(&[&verify[..], &["--model", MODEL]].concat(), 0);
    assert_eq!(*check(&json, "evidence.0.proof"), true);
    let set = proof_set(&json);
    assert_eq!(set["amount"], "1000 USD");
    assert_eq!(
        set["under"],
        serde_json::json!(["math", "implementation", "input:own"])
    );
    assert!(check(&json, "own_replay").is_null());
    sandbox.json(
        &[&verify[..], &["--model", MODEL, "--amount", "1001USD"]].concat(),
        4,
    );
    // Another input than the one asked about.
    let mut other: Value =
        serde_json::from_slice(&fs::read(sandbox.path("tumor.json")).expect("input"))
            .expect("JSON");
    other["features"][0][0] = serde_json::json!(30.0);
    fs::write(sandbox.path("other.json"), other.to_string()).expect("write");
    sandbox.json(
        &[
            "verify",
            "receipt.carat",
            "--input",
            "other.json",
            "--model",
            MODEL,
        ],
        1,
    );
}

#[test]
fn a_key_that_only_its_maker_states_is_worth_nothing() {
    let (sandbox, _) = proven();
    sandbox.good(&["trust", "new", "--name", "me", "--currency", "USD"]);
    sandbox.good(&["trust", "add", "trust.toml", "model", "tumor", MODEL]);
    let verify = [
        "verify",
        "receipt.carat",
        "--input",
        "tumor.json",
        "--trust",
        "trust.toml",
    ];
    let json = sandbox.json(&verify, 4);
    assert_eq!(*check(&json, "evidence.0.proof"), true);
    let set = proof_set(&json);
    assert_eq!(set["amount"], "0 USD");
    assert!(
        set["under"]
            .as_array()
            .expect("under")
            .contains(&"publisher".into())
    );
    // Vouched for in the Trust file, it is worth the cap.
    let key = sandbox.json(&["model", "key", MODEL], 0)["model_key"].clone();
    let add = [
        "trust",
        "add",
        "trust.toml",
        "model",
        "tumor",
        MODEL,
        "--proof-key",
    ];
    sandbox.good(&[&add[..], &[key.as_str().expect("a digest")]].concat());
    let json = sandbox.json(&verify, 0);
    let set = proof_set(&json);
    assert_eq!(set["amount"], "1000 USD");
    assert_eq!(
        set["under"],
        serde_json::json!(["math", "implementation", "input:own"])
    );
    // A key of another profile is another key.
    let strong = sandbox.json(&["model", "key", MODEL, "--profile", "proven-120"], 0);
    assert_ne!(strong["model_key"], key);
    // Without the opening nothing is shown of the values, and nothing is checked.
    fs::rename(sandbox.path("receipt.carat-open"), sandbox.path("away")).expect("rename");
    let json = sandbox.json(&["verify", "receipt.carat", "--trust", "trust.toml"], 4);
    assert!(check(&json, "evidence.0.proof").is_null());
}

#[test]
fn a_proof_can_come_later_and_from_anybody() {
    let sandbox = Sandbox::with_receipt();
    let before = read(&sandbox, "receipt.carat");
    let elsewhere = ["--data-dir", "elsewhere"];
    let prove = [
        "prove",
        "receipt.carat",
        "--model",
        MODEL,
        "--profile",
        "proven-120",
        "--ledger",
    ];
    let json = sandbox.json(&[&prove[..], &elsewhere].concat(), 0);
    assert!(json["bits"].as_u64().expect("bits") >= 120);
    assert_eq!(
        read(&sandbox, "receipt.carat").receipt_id(),
        before.receipt_id()
    );
    let ledger = &json["ledger"];
    assert!(ledger["bits"].as_f64().expect("bits") >= 120.0);
    assert!(!ledger["terms"].as_array().expect("terms").is_empty());
    let verify = [
        "verify",
        "receipt.carat",
        "--input",
        "tumor.json",
        "--model",
        MODEL,
    ];
    assert_eq!(*check(&sandbox.json(&verify, 0), "evidence.0.proof"), true);
    // A second proof of the same is another item; the same set.
    sandbox.good(&["prove", "receipt.carat", "--model", MODEL]);
    let json = sandbox.json(&verify, 0);
    assert_eq!(*check(&json, "evidence.1.proof"), true);
}

#[test]
fn one_proof_for_many_receipts_is_in_each() {
    let sandbox = Sandbox::with_model();
    for name in ["a.carat", "b.carat", "c.carat"] {
        sandbox.good(&["run", MODEL, "--input", "tumor.json", "-o", name]);
    }
    let json = sandbox.json(
        &["prove", "a.carat", "b.carat", "c.carat", "--model", MODEL],
        0,
    );
    assert_eq!(json["statements"], 3);
    for name in ["a.carat", "b.carat", "c.carat"] {
        let verify = ["verify", name, "--input", "tumor.json", "--model", MODEL];
        assert_eq!(
            *check(&sandbox.json(&verify, 0), "evidence.0.proof"),
            true,
            "{name}"
        );
    }
    // The copy of one receipt is no evidence about another, whose values it does not show.
    let (a, mut b) = (read(&sandbox, "a.carat"), read(&sandbox, "b.carat"));
    sandbox.good(&["run", MODEL, "--input", "tumor.json", "-o", "d.carat"]);
    let mut d = read(&sandbox, "d.carat");
    let Body::Proof(body) = a.evidence()[0].body.clone() else {
        panic!("a proof")
    };
    let moved = Evidence {
        statement: d.receipt_id(),
        body: Body::Proof(body.clone()),
    };
    assert!(
        Evidence::decode(&moved.encode()).is_err(),
        "d is not listed"
    );
    let mut listed = body.clone();
    listed.statements[1] = d.receipt_id();
    d.add_evidence(Evidence {
        statement: d.receipt_id(),
        body: Body::Proof(listed),
    })
    .expect("added");
    fs::write(sandbox.path("d.carat"), d.encode()).expect("write");
    let verify = [
        "verify",
        "d.carat",
        "--input",
        "tumor.json",
        "--model",
        MODEL,
    ];
    assert_eq!(*check(&sandbox.json(&verify, 1), "evidence.0.proof"), false);
    // Nor is the order anybody's to choose.
    let mut swapped = body;
    swapped.statements.swap(0, 2);
    b.add_evidence(Evidence {
        statement: b.receipt_id(),
        body: Body::Proof(swapped),
    })
    .expect("added");
    fs::write(sandbox.path("b.carat"), b.encode()).expect("write");
    let verify = [
        "verify",
        "b.carat",
        "--input",
        "tumor.json",
        "--model",
        MODEL,
    ];
    assert_eq!(*check(&sandbox.json(&verify, 1), "evidence.1.proof"), false);
}

/// Every field of the evidence, and bytes all over the proof.
#[test]
fn a_changed_proof_is_refused() {
    let (sandbox, _) = proven();
    let file = read(&sandbox, "receipt.carat");
    let Body::Proof(body) = &file.evidence()[0].body else {
        panic!("a proof")
    };
    let mut variants = vec![];
    let len = body.proof.len();
    for at in [0, 31, 32, 40, len / 3, len / 2, len - 40, len - 1] {
        let mut changed = body.clone();
        changed.proof[at] ^= 1;
        variants.push((format!("byte {at}"), changed));
    }
    let mut changed = body.clone();
    changed.proof.push(0);
    variants.push(("longer".into(), changed));
    let mut changed = body.clone();
    changed.proof.pop();
    variants.push(("shorter".into(), changed));
    let mut changed = body.clone();
    changed.bits += 1;
    variants.push(("bits".into(), changed));
    let mut changed = body.clone();
    changed.weights_root = file.receipt_id();
    variants.push(("root".into(), changed));
    let mut changed = body.clone();
    changed.profile = carat_receipt::Label::new("proven-120").expect("a label");
    variants.push(("profile".into(), changed));
    for (what, changed) in variants {
        let mut bad = ReceiptFile::new(file.signed.clone());
        bad.program.clone_from(&file.program);
        let body = Body::Proof(changed);
        bad.add_evidence(Evidence {
            statement: file.receipt_id(),
            body,
        })
        .expect("added");
        fs::write(sandbox.path("bad.carat"), bad.encode()).expect("write");
        let open = ["--open", "receipt.carat-open"];
        let verify = [
            "verify",
            "bad.carat",
            "--input",
            "tumor.json",
            "--model",
            MODEL,
        ];
        let json = sandbox.json(&[&verify[..], &open].concat(), 1);
        assert_eq!(*check(&json, "evidence.0.proof"), false, "{what}");
        // Whether or not anybody vouches for the key.
        sandbox.json(&[&["verify", "bad.carat"], &open[..]].concat(), 1);
    }
}

#[test]
fn the_key_of_a_model_is_the_same_from_its_source() {
    let sandbox = Sandbox::new();
    let onnx = repo("models/tumor/tumor.onnx");
    let onnx = onnx.to_str().expect("UTF-8");
    let folder = repo("models/tumor");
    let folder = folder.to_str().expect("UTF-8");
    let from_onnx = sandbox.json(&["model", "key", onnx], 0);
    let from_folder = sandbox.json(&["model", "key", folder], 0);
    for name in ["program_digest", "weights_root", "model_key"] {
        assert_eq!(from_onnx[name], from_folder[name], "{name}");
        assert_eq!(from_onnx[name].as_str().expect(name).len(), 64);
    }
    fs::copy(common::model(), sandbox.path(MODEL)).expect("copy");
    let compiled = sandbox.json(&["model", "key", MODEL], 0);
    assert_eq!(compiled["model_key"], from_onnx["model_key"]);
    assert!(
        sandbox
            .good(&["model", "key", MODEL])
            .out
            .contains("Model key")
    );
}

#[test]
fn limits_and_mistakes() {
    let sandbox = Sandbox::with_receipt();
    let run = ["run", MODEL, "--input", "tumor.json", "--prove"];
    let small = ["--memory-limit", "1KiB"];
    let json = sandbox.json(&[&run[..], &small].concat(), 22);
    assert_eq!(json["error"]["kind"], "needs-memory");
    let names = sandbox.names();
    sandbox.ends(
        &[&["prove", "receipt.carat", "--model", MODEL], &small[..]].concat(),
        22,
    );
    assert_eq!(sandbox.names(), names);
    for args in [
        &["prove"][..],
        &["prove", "receipt.carat"],
        &["prove", "receipt.carat", "receipt.carat", "--model", MODEL],
        &["prove", "--ledger"],
        &[
            "prove",
            "receipt.carat",
            "--model",
            MODEL,
            "--profile",
            "conjectured-128",
        ],
        &[
            "prove",
            "receipt.carat",
            "--model",
            MODEL,
            "--memory-limit",
            "much",
        ],
    ] {
        sandbox.ends(args, 2);
    }
    sandbox.good(&["run", MODEL, "--input", "tumor.json", "-o", "other.carat"]);
    let foreign = [
        "prove",
        "receipt.carat",
        "--model",
        MODEL,
        "--open",
        "other.carat-open",
    ];
    sandbox.ends(&foreign, 20);
    // The ledger alone needs a receipt's Program and nothing else.
    let json = sandbox.json(&["prove", "receipt.carat", "--ledger"], 0);
    let terms = json["ledger"]["terms"].as_array().expect("terms").len();
    assert!(terms >= 5);
    let batch = ["prove", "--ledger", "--model", MODEL, "--batch", "64"];
    let many = sandbox.json(&batch, 0);
    assert!(many["memory_bytes"].as_u64() > json["memory_bytes"].as_u64());
    assert!(sandbox.good(&batch).out.contains("proof of work"));
}

#[test]
fn a_hiding_commitment_to_the_values_is_checked_against_the_opening() {
    let sandbox = Sandbox::with_model();
    sandbox.good(&["run", MODEL, "--input", "tumor.json", "--io-commitment"]);
    let json = sandbox.json(&["verify", "receipt.carat"], 4);
    assert_eq!(*check(&json, "io_commitment"), true);
    fs::rename(sandbox.path("receipt.carat-open"), sandbox.path("away")).expect("rename");
    let json = sandbox.json(&["verify", "receipt.carat"], 4);
    assert!(check(&json, "io_commitment").is_null());
}

#[test]
fn measurements_have_every_column() {
    let sandbox = Sandbox::with_model();
    let json = sandbox.json(
        &[
            "bench",
            "prove",
            "--model",
            MODEL,
            "--threads",
            "1",
            "--batch",
            "1,3",
        ],
        0,
    );
    let rows = json["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!(row["name"], "tumor");
        for name in [
            "parameters",
            "prove_ms",
            "verify_ms",
            "proof_bytes",
            "peak_rss_bytes",
            "setup_ms",
            "bits",
            "threads",
            "prove_cold_ms",
            "per_receipt_ms",
            "proofs_per_second",
        ] {
            assert!(
                row[name].as_f64().is_some_and(|v| v > 0.0),
                "{name} in {row:#}"
            );
        }
        // So small a model runs in less than some clocks can tell.
        assert!(row["infer_ms"].as_f64().is_some_and(|v| v >= 0.0));
        assert_eq!(row["mode"], "succinct");
        assert_eq!(row["weights_hidden"], false);
        assert!(
            row["phases"]
                .as_object()
                .is_some_and(|phases| phases.len() >= 5)
        );
        let (least, most) = (
            row["prove_ms_range"][0].as_f64(),
            row["prove_ms_range"][1].as_f64(),
        );
        assert!(least <= row["prove_ms"].as_f64() && row["prove_ms"].as_f64() <= most);
    }
    assert_eq!(rows[1]["statements"], 3);
    let ran = sandbox.ends(&["bench", "prove", "--model", "lenet5"], 12);
    assert!(ran.err.contains("models/bench/make.py"), "{}", ran.err);
}
