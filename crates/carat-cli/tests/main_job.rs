//! The main job through the real binary: run, verify, replay.

mod common;

use std::fs;

use common::{Sandbox, repo};
use serde_json::Value;

fn text<'a>(json: &'a Value, pointer: &str) -> &'a str {
    json.pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{pointer} in {json:#}"))
}

#[test]
fn run_gives_an_answer_and_a_receipt() {
    let sandbox = Sandbox::with_model();
    let json = sandbox.json(
        &[
            "run",
            "tumor.carat-model",
            "--input",
            "tumor.json",
            "-o",
            "t.carat",
        ],
        0,
    );
    assert_eq!(text(&json, "/output/0/label/name"), "benign");
    assert_eq!(text(&json, "/receipt_path"), "t.carat");
    assert_eq!(json["rungs"], serde_json::json!(["signature"]));
    assert_eq!(text(&json, "/good_for/0/rung"), "signature");
    assert_eq!(text(&json, "/receipt_id").len(), 64);
    let inspected = sandbox.json(&["model", "inspect", "tumor.carat-model"], 0);
    assert_eq!(json["program_digest"], inspected["program_digest"]);
    assert_eq!(
        sandbox.names(),
        ["t.carat", "t.carat-open", "tumor.carat-model", "tumor.json"]
    );
}

#[cfg(unix)]
#[test]
fn secrets_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::with_receipt();
    for name in ["receipt.carat-open", "home/key", "home/log.key"] {
        let mode = fs::metadata(sandbox.path(name))
            .expect(name)
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    fs::set_permissions(sandbox.path("home/key"), fs::Permissions::from_mode(0o644))
        .expect("chmod");
    let ran = sandbox.ends(&["run", "tumor.carat-model", "--input", "tumor.json"], 15);
    assert!(ran.err.contains("chmod 600"), "{}", ran.err);
}

#[test]
fn people_see_all_that_matters() {
    let sandbox = Sandbox::with_model();
    let ran = sandbox.good(&["run", "tumor.carat-model", "--input", "tumor.json"]);
    for words in [
        "Answer: benign",
        "receipt.carat ",
        "Evidence",
        "Good for",
        "under honest:",
        "Not proven",
        "Next",
        "carat verify receipt.carat --replay tumor.carat-model --input tumor.json",
    ] {
        assert!(ran.out.contains(words), "{words}\n{}", ran.out);
    }
}

#[test]
fn receipts_are_not_replaced_unless_asked() {
    let sandbox = Sandbox::with_receipt();
    let first = fs::read(sandbox.path("receipt.carat")).expect("the receipt");
    let json = sandbox.json(&["run", "tumor.carat-model", "--input", "tumor.json"], 0);
    assert_eq!(text(&json, "/receipt_path"), "receipt-2.carat");
    assert_eq!(
        fs::read(sandbox.path("receipt.carat")).expect("the receipt"),
        first
    );
    sandbox.good(&[
        "run",
        "tumor.carat-model",
        "--input",
        "tumor.json",
        "-o",
        "receipt.carat",
    ]);
    assert_ne!(
        fs::read(sandbox.path("receipt.carat")).expect("the receipt"),
        first
    );
}

#[test]
fn a_receipt_alone_is_good_for_nothing() {
    let sandbox = Sandbox::with_receipt();
    let json = sandbox.json(&["verify", "receipt.carat"], 4);
    assert_eq!(text(&json, "/verdict"), "insufficient");
    assert!(text(&json, "/reason").contains("nothing vouches for it"));
    for check in json["checks"].as_array().expect("checks") {
        assert!(check["name"].is_string() && check["reason"].is_string());
        assert!(check["ok"].is_boolean() || check["ok"].is_null());
    }
    assert!(
        !json["not_proven"]
            .as_array()
            .expect("not_proven")
            .is_empty()
    );
}

#[test]
fn first_hand_replay_is_good_up_to_the_implementation_cap() {
    let sandbox = Sandbox::with_receipt();
    sandbox.good(&["trust", "new", "--name", "me", "--currency", "USD"]);
    let ask = |amount: &str, code: i32| {
        sandbox.json(
            &[
                "verify",
                "receipt.carat",
                "--trust",
                "trust.toml",
                "--amount",
                amount,
                "--replay",
                "tumor.carat-model",
                "--input",
                "tumor.json",
            ],
            code,
        )
    };
    let good = ask("1000USD", 0);
    let set = &good["good_for"][1];
    assert_eq!(text(set, "/rung"), "first-hand");
    assert_eq!(text(set, "/amount"), "1000 USD");
    assert_eq!(
        set["under"],
        serde_json::json!(["own-machine", "implementation", "input:own"])
    );
    let more = ask("1000.01USD", 4);
    assert!(!more["enough"].as_array().expect("enough").is_empty());
    sandbox.good(&[
        "trust",
        "set",
        "trust.toml",
        "--implementation-cap",
        "50000USD",
    ]);
    ask("50000USD", 0);
    // Another currency is a mistake of the asker.
    ask("1EUR", 2);
}

/// Without a Trust file your own machine is still a reason: the default Trust file gives the cap, and trusts nobody.
#[test]
fn first_hand_replay_without_a_trust_file_rests_on_the_default_cap() {
    let sandbox = Sandbox::with_receipt();
    let ask = |rest: &[&str], code: i32| {
        let mut args = vec!["verify", "receipt.carat"];
        args.extend(rest);
        sandbox.json(&args, code)
    };
    let replay = ["--replay", "tumor.carat-model", "--input", "tumor.json"];
    let good = ask(&replay, 0);
    assert_eq!(text(&good["good_for"][0], "/amount"), "0 USD");
    assert_eq!(text(&good["good_for"][1], "/amount"), "1000 USD");
    assert_eq!(
        text(&good, "/trust/name"),
        "built-in default, no Trust file was given"
    );
    let unsigned = good["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .find(|c| c["name"] == "trust_signature");
    assert!(unsigned.expect("the check")["ok"].is_null());
    ask(&[&replay[..], &["--amount", "1001USD"]].concat(), 4);
    ask(&[&replay[..], &["--amount", "500EUR"]].concat(), 0);
    // Without a replay there is no default: nothing vouches for the receipt.
    let nothing = ask(&[], 4);
    assert!(nothing["trust"].is_null());
}

#[test]
fn another_input_than_the_receipts_is_no_match() {
    let sandbox = Sandbox::with_receipt();
    let json = fs::read_to_string(sandbox.path("tumor.json")).expect("the input");
    let mut json: Value = serde_json::from_str(&json).expect("JSON");
    json["features"][0][0] = serde_json::json!(99.0);
    fs::write(sandbox.path("other.json"), json.to_string()).expect("write");
    sandbox.ends(
        &[
            "verify",
            "receipt.carat",
            "--replay",
            "tumor.carat-model",
            "--input",
            "other.json",
        ],
        1,
    );
    sandbox.ends(&["verify", "receipt.carat", "--input", "other.json"], 1);
}

#[test]
fn nonce_and_audience_must_be_the_callers() {
    let sandbox = Sandbox::with_model();
    let nonce = "00112233445566778899aabbccddeeff";
    sandbox.good(&[
        "run",
        "tumor.carat-model",
        "--input",
        "tumor.json",
        "-o",
        "n.carat",
        "--nonce",
        nonce,
        "--audience",
        "example.org",
    ]);
    let check = |nonce: &str, audience: &str| {
        let args = [
            "verify",
            "n.carat",
            "--nonce",
            nonce,
            "--audience",
            audience,
        ];
        sandbox.run(&args).code
    };
    assert_eq!(check(nonce, "example.org"), 4);
    assert_eq!(check("ff112233445566778899aabbccddeeff", "example.org"), 1);
    assert_eq!(check(nonce, "example.com"), 1);
    assert_eq!(check("0011", "example.org"), 2);
}

#[test]
fn an_auditors_replay_counts_up_to_its_cap() {
    let sandbox = Sandbox::with_model();
    sandbox.good(&[
        "run",
        "tumor.carat-model",
        "--input",
        "tumor.json",
        "-o",
        "r.carat",
        "--audience",
        "me.example",
    ]);
    let replay = |home: &str| {
        sandbox.json(
            &[
                "replay",
                "r.carat",
                "--model",
                "tumor.carat-model",
                "--data-dir",
                home,
            ],
            0,
        )
    };
    let auditor = replay("auditor");
    assert_eq!(auditor["agrees"], true);
    let key = text(&auditor, "/replayer/public_key");
    let issuer = text(&sandbox.json(&["keys", "show"], 0), "/public_key").to_string();
    let trust = |args: &[&str]| {
        sandbox.good(
            &[
                &["trust", args[0], "t.toml"],
                &args[1..],
                &["--data-dir", "relying"],
            ]
            .concat(),
        )
    };
    sandbox.good(&[
        "trust",
        "new",
        "--name",
        "R",
        "--currency",
        "USD",
        "--audience",
        "me.example",
        "-o",
        "t.toml",
        "--data-dir",
        "relying",
    ]);
    trust(&["add", "issuer", "Clinic", &issuer]);
    trust(&["add", "model", "tumor", "tumor.carat-model"]);
    trust(&[
        "add",
        "auditor",
        "Audit Ltd",
        key,
        "--controller",
        "Audit Ltd",
        "--cap",
        "300USD",
    ]);
    let verify = |amount: &str, code| {
        sandbox.json(
            &[
                "verify",
                "r.carat",
                "--trust",
                "t.toml",
                "--amount",
                amount,
                "--input",
                "tumor.json",
                "--data-dir",
                "relying",
            ],
            code,
        )
    };
    let good = verify("300USD", 0);
    assert_eq!(text(&good, "/good_for/1/rung"), "replay");
    assert_eq!(text(&good, "/good_for/1/under/0"), "honest:Audit Ltd");
    verify("301USD", 4);

    // The issuer's own replay is no second opinion.
    let own = replay("home");
    assert_eq!(own["replayer"]["is_issuer"], true);
}

#[test]
fn a_wrong_answer_is_found_by_replay() {
    // Another model's program under the same receipt is a mismatch, not a contradiction.
    let sandbox = Sandbox::with_receipt();
    sandbox.good(&[
        "model",
        "compile",
        repo("models/tumor").to_str().expect("UTF-8"),
        "--weight-bits",
        "6",
        "-o",
        "other.carat-model",
    ]);
    sandbox.ends(
        &["replay", "receipt.carat", "--model", "other.carat-model"],
        20,
    );
    sandbox.ends(
        &[
            "verify",
            "receipt.carat",
            "--replay",
            "other.carat-model",
            "--input",
            "tumor.json",
        ],
        1,
    );
}

#[test]
fn a_folder_is_compiled_once() {
    let sandbox = Sandbox::new();
    let (folder, input) = (repo("models/tumor"), repo("examples/tumor.json"));
    let args = [
        "run",
        folder.to_str().expect("UTF-8"),
        "--input",
        input.to_str().expect("UTF-8"),
    ];
    assert!(sandbox.good(&args).err.contains("compiled"));
    assert_eq!(sandbox.good(&args).err, "");
    let models = fs::read_dir(sandbox.path("home/models"))
        .expect("the cache")
        .count();
    assert_eq!(models, 1);
}

#[test]
fn compiling_is_deterministic_and_finds_the_metadata() {
    let sandbox = Sandbox::new();
    let folder = repo("models/tumor");
    let onnx = folder.join("tumor.onnx");
    let calibration = folder.join("calibration");
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_string();
    let one = sandbox.json(
        &["model", "compile", &path(&folder), "-o", "1.carat-model"],
        0,
    );
    let two = sandbox.json(
        &[
            "model",
            "compile",
            &path(&onnx),
            "--calibration",
            &path(&calibration),
            "-o",
            "2.carat-model",
        ],
        0,
    );
    for key in ["program_digest", "parameters", "primitives"] {
        assert!(!one[key].is_null());
        assert_eq!(one[key], two[key], "{key}");
    }
    let read = |name: &str| fs::read(sandbox.path(name)).expect("the model");
    assert!(read("1.carat-model") == read("2.carat-model"));
}

#[test]
fn fidelity_is_measured_against_the_shipped_reference() {
    let sandbox = Sandbox::with_model();
    let data = repo("models/tumor/data");
    let json = sandbox.json(
        &[
            "model",
            "fidelity",
            "tumor.carat-model",
            "--data",
            data.to_str().expect("UTF-8"),
        ],
        0,
    );
    assert!(
        json["top1_agreement"].as_f64().expect("a number") >= 0.99,
        "{json:#}"
    );
}

#[test]
fn the_log_holds_every_receipt() {
    let sandbox = Sandbox::with_receipt();
    sandbox.good(&["run", "tumor.carat-model", "--input", "tumor.json"]);
    let checkpoint = sandbox.good(&["log", "show", "--checkpoint"]).out;
    fs::write(sandbox.path("remembered"), checkpoint).expect("write");
    sandbox.good(&["run", "tumor.carat-model", "--input", "tumor.json"]);
    let shown = sandbox.json(&["log", "show"], 0);
    assert_eq!(shown["entries"], 3);
    let proof = sandbox.json(&["log", "proof", "receipt-2.carat"], 0);
    assert_eq!(proof["index"], 1);
    let audit = sandbox.json(&["log", "audit", "--previous", "remembered"], 0);
    assert_eq!(audit["ok"], true);
    assert_eq!(audit["consistent_with_previous"], true);
    // A changed entry is found.
    let bundle = sandbox.path("home/log/tile/entries/000.p/3");
    let mut bytes = fs::read(&bundle).expect("the entries");
    bytes[10] ^= 1;
    fs::write(&bundle, bytes).expect("write");
    let audit = sandbox.json(&["log", "audit"], 19);
    assert_eq!(audit["ok"], false);
}

#[test]
fn a_trusted_log_shows_its_proof() {
    let sandbox = Sandbox::with_receipt();
    let key = sandbox.good(&["log", "show", "--key"]).out;
    sandbox.good(&["trust", "new", "--name", "me", "--currency", "USD"]);
    sandbox.good(&[
        "trust",
        "add",
        "trust.toml",
        "log",
        key.trim(),
        "--controller",
        "me",
    ]);
    let json = sandbox.json(&["verify", "receipt.carat", "--trust", "trust.toml"], 4);
    let check = |json: &Value, name: &str| {
        let checks = json["checks"].as_array().expect("checks").clone();
        checks
            .into_iter()
            .find(|check| check["name"] == name)
            .expect("the check")["ok"]
            .clone()
    };
    assert_eq!(check(&json, "log_inclusion"), true);
    // The second time, the version and the checkpoint are remembered.
    assert!(check(&json, "trust_version").is_null());
    let again = sandbox.json(&["verify", "receipt.carat", "--trust", "trust.toml"], 4);
    assert_eq!(check(&again, "trust_version"), true);
    assert_eq!(check(&again, "log_consistency"), true);
}

#[test]
fn nothing_at_stake_needs_no_plan() {
    let sandbox = Sandbox::with_model();
    let run = ["run", "tumor.carat-model", "--input", "tumor.json"];
    sandbox.good(&[&run[..], &["--at-stake", "0USD"]].concat());
}
