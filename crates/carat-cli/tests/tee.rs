//! `carat tee` and `carat run --tee`, through the binary.

mod common;

use std::fs;
use std::path::Path;

use common::Sandbox;
use serde_json::Value;

/// A file of the recorded evidence, which others made; where it is absent the test says so.
fn evidence(path: &str) -> Option<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/evidence")
        .join(path);
    if file.is_file() {
        return Some(file.to_string_lossy().into_owned());
    }
    eprintln!("SKIPPED: evidence/{path} is not there; 1 file not read");
    None
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array()
        .expect("a list")
        .iter()
        .filter_map(|item| item["name"].as_str())
        .collect()
}

#[test]
fn verdicts_and_exit_statuses() {
    let sandbox = Sandbox::new();
    let (Some(valid), Some(debug)) = (
        evidence("nitro/evervault-beta-valid.cbor"),
        evidence("nitro/evervault-beta-debug.cbor"),
    ) else {
        return;
    };
    let at = ["--kind", "nitro", "--at"];
    let accepted = sandbox.json(
        &[&["tee", "verify", &valid], &at[..], &["1665651482"]].concat(),
        0,
    );
    assert_eq!(
        (&accepted["verdict"], &accepted["reason"]),
        (&"accepted".into(), &Value::Null)
    );
    assert_eq!(accepted["claims"]["debug"], false);
    assert_eq!(
        accepted["claims"]["nonce"].as_str().expect("hex").len(),
        512
    );
    assert!(names(&accepted["checks"]).contains(&"signature"));
    assert!(
        !accepted["still_trusted"]
            .as_array()
            .expect("a list")
            .is_empty()
    );
    let nonce = accepted["claims"]["nonce"].as_str().expect("hex");
    sandbox.ends(
        &[
            &["tee", "verify", &valid, "--nonce", nonce],
            &at[..],
            &["1665651482"],
        ]
        .concat(),
        0,
    );

    for (file, policy, time, nonce, reason) in [
        (&debug, "production", "1665582606", None, "debug"),
        (&debug, "strict", "1665582606", None, "debug"),
        (&valid, "strict", "1665737882", None, "stale"),
        (&valid, "strict", "1665650882", None, "future"),
        (
            &valid,
            "strict",
            "1665651482",
            Some("0011223344556677"),
            "nonce-mismatch",
        ),
    ] {
        let mut args = vec![
            "tee", "verify", file, "--kind", "nitro", "--at", time, "--policy", policy,
        ];
        args.extend(nonce.iter().flat_map(|nonce| ["--nonce", nonce]));
        let rejected = sandbox.json(&args, 1);
        assert_eq!(
            (&rejected["verdict"], &rejected["reason"]),
            (&"rejected".into(), &reason.into())
        );
    }
    sandbox.ends(
        &[
            "tee",
            "verify",
            &debug,
            "--kind",
            "nitro",
            "--at",
            "1665582606",
            "--policy",
            "dev",
        ],
        0,
    );
    let text = sandbox.ends(
        &[
            "tee",
            "verify",
            &debug,
            "--kind",
            "nitro",
            "--at",
            "1665582606",
        ],
        1,
    );
    assert!(text.out.starts_with("REJECTED (debug)"), "{}", text.out);

    // Policies from a file; mistakes in what was asked.
    fs::write(
        sandbox.path("policy.toml"),
        "preset = \"strict\"\nmax_age = 10",
    )
    .expect("write");
    let policy = ["--policy", "policy.toml"];
    sandbox.ends(
        &[
            &["tee", "verify", &valid],
            &at[..],
            &["1665651482"],
            &policy[..],
        ]
        .concat(),
        0,
    );
    sandbox.ends(
        &[
            &["tee", "verify", &valid],
            &at[..],
            &["1665651493"],
            &policy[..],
        ]
        .concat(),
        1,
    );
    fs::write(sandbox.path("policy.toml"), "max_ages = 10").expect("write");
    sandbox.ends(
        &[
            &["tee", "verify", &valid],
            &at[..],
            &["1665651482"],
            &policy[..],
        ]
        .concat(),
        2,
    );
    for wrong in [
        &["tee", "verify", &valid, "--kind", "nitro2"][..],
        &["tee", "verify", &valid],
        &["tee", "verify", &valid, "--kind", "nitro", "--nonce", "xyz"],
        &[
            "tee", "verify", &valid, "--kind", "nitro", "--policy", "lenient",
        ],
    ] {
        sandbox.ends(wrong, 2);
    }
}

#[test]
fn text_forms_and_endorsements() {
    let sandbox = Sandbox::new();
    let (Some(report), Some(chain)) = (
        evidence("nvidia/nvsdk-hopperAttestationReport.txt"),
        evidence("nvidia/nvsdk-hopperCertChain.txt"),
    ) else {
        return;
    };
    let accepted = sandbox.json(
        &[
            "tee",
            "verify",
            &report,
            "--kind",
            "nvidia",
            "--at",
            "1735689600",
            "--chain",
            &chain,
        ],
        0,
    );
    assert_eq!(accepted["claims"]["vbios_version"], "96.00.5E.00.01");
    let rejected = sandbox.json(
        &[
            "tee",
            "verify",
            &report,
            "--kind",
            "nvidia",
            "--at",
            "1735689600",
        ],
        1,
    );
    assert_eq!(rejected["reason"], "endorsement-missing");
    let raw = hex::decode(fs::read_to_string(&report).expect("text").trim()).expect("hexadecimal");
    fs::write(sandbox.path("report.bin"), &raw).expect("write");
    sandbox.ends(
        &[
            "tee",
            "verify",
            "report.bin",
            "--kind",
            "nvidia",
            "--at",
            "1735689600",
            "--chain",
            &chain,
        ],
        0,
    );
    // Files that are no evidence are rejected, whatever they are.
    for (name, bytes, reason) in [
        ("empty", vec![], "malformed"),
        ("large", vec![0xff; 70_000], "too-large"),
        ("larger", vec![0xff; 2_000_000], "too-large"),
        ("text", b"hello".to_vec(), "malformed"),
    ] {
        fs::write(sandbox.path(name), bytes).expect("write");
        for kind in ["nitro", "tdx", "sgx", "snp", "nvidia", "azure-snp", "gcp"] {
            let rejected = sandbox.json(
                &["tee", "verify", name, "--kind", kind, "--at", "1735689600"],
                1,
            );
            assert_eq!(rejected["verdict"], "rejected");
            if reason == "too-large" {
                assert_eq!(rejected["reason"], reason, "{kind} {name}");
            }
        }
    }
}

#[test]
fn a_simulated_run_is_simulated_everywhere() {
    let sandbox = Sandbox::with_model();
    let run = sandbox.json(
        &[
            "run",
            "tumor.carat-model",
            "--input",
            "tumor.json",
            "--tee",
            "simulated",
        ],
        0,
    );
    assert_eq!(run["simulated"], true);
    assert_eq!(
        run["rungs"],
        serde_json::json!(["signature", "attestation-simulated"])
    );
    assert!(run["good_for"].to_string().contains("simulated"));
    let verified = sandbox.json(&["verify", "receipt.carat"], 3);
    assert_eq!(
        (&verified["verdict"], &verified["exit_code"]),
        (&"simulated".into(), &3.into())
    );
    assert!(
        verified["receipt"]["evidence"]
            .to_string()
            .contains("attestation (simulated)")
    );
    let text = sandbox.ends(&["verify", "receipt.carat"], 3);
    assert!(text.out.starts_with("SIMULATED"), "{}", text.out);
    // Even one's own replay leaves it a simulation; a later look too.
    let replay = [
        "verify",
        "receipt.carat",
        "--replay",
        "tumor.carat-model",
        "--input",
        "tumor.json",
    ];
    sandbox.ends(&replay, 3);
    sandbox.ends(&["verify", "receipt.carat", "--now", "4000000000"], 3);
    let text = sandbox.ends(
        &[
            "run",
            "tumor.carat-model",
            "--input",
            "tumor.json",
            "--tee",
            "simulated",
            "-o",
            "second.carat",
        ],
        0,
    );
    assert!(text.out.contains("SIMULATED - NOT A TEE"), "{}", text.out);
}

/// Platforms, reference values of GPUs and deny lists get into a Trust file by commands.
#[test]
fn platforms_of_a_trust_file() {
    let sandbox = Sandbox::new();
    sandbox.good(&["trust", "new", "--name", "me", "--currency", "USD"]);
    let measurement = "ab".repeat(32);
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../carat-tee/tests/fixtures/nvidia-96005E0001.cbor")
        .to_string_lossy()
        .into_owned();
    let add = |rest: &[&str]| -> Vec<String> {
        ["trust", "add", "trust.toml"]
            .iter()
            .chain(rest)
            .map(|word| (*word).to_string())
            .collect()
    };
    let ends = |rest: &[&str], status: i32| {
        let args = add(rest);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        sandbox.ends(&args, status)
    };
    let platform = |name: &'static str, kind: &'static str, cap: &'static str| {
        [
            "platform",
            name,
            "--kind",
            kind,
            "--cap",
            cap,
            "--measurement",
        ]
    };
    let first = platform("digits on Genoa", "snp", "5000USD");
    ends(
        &[
            &first[..],
            &[
                &measurement,
                "--product",
                "genoa",
                "--break-cost",
                "2000USD",
            ],
        ]
        .concat(),
        0,
    );
    let second = platform("enclave", "nitro", "500USD");
    ends(
        &[
            &second[..],
            &[&measurement, "--policy", "strict", "--any-gpu-firmware"],
        ]
        .concat(),
        0,
    );
    ends(&["gpu-reference", "H100", &bundle], 0);
    ends(
        &[
            "denied-platform",
            "amd",
            "snp-chip:00ff*",
            "--reason",
            "TEE.fail",
        ],
        0,
    );
    let shown = sandbox.json(&["trust", "show", "trust.toml"], 0);
    assert_eq!(
        shown["platforms"][0],
        format!(
            "digits on Genoa: up to 5000 USD, snp on genoa, policy production, 2000 USD to break, code {measurement}"
        )
    );
    assert!(
        shown["platforms"][1]
            .as_str()
            .expect("text")
            .contains("any firmware")
    );
    assert!(
        shown["gpu_references"][0]
            .as_str()
            .expect("text")
            .starts_with("H100: VBIOS 96.00.5E.00.01, 12 values, until 2025-06-22")
    );
    assert_eq!(shown["denied_platforms"][0], "amd snp-chip:00ff*: TEE.fail");
    sandbox.good(&["trust", "check", "trust.toml"]);
    let text = sandbox.good(&["trust", "show", "trust.toml"]);
    assert!(text.out.contains("Refused platforms"), "{}", text.out);

    // What makes no sense changes nothing.
    let before = fs::read(sandbox.path("trust.toml")).expect("a Trust file");
    let third = platform("third", "snp", "5EUR");
    ends(&[&third[..], &[&measurement]].concat(), 17);
    ends(&[&first[..], &[&measurement]].concat(), 17);
    let gpu = platform("gpu", "nvidia", "5USD");
    let refused = ends(&[&gpu[..], &[&measurement]].concat(), 17);
    assert!(refused.err.contains("the CPU's"), "{}", refused.err);
    let refused = ends(
        &[
            "denied-platform",
            "amb",
            "milan",
            "--reason",
            "typing error",
        ],
        17,
    );
    assert!(refused.err.contains("no vendor amb"), "{}", refused.err);
    ends(&["gpu-reference", "other", "trust.toml"], 17);
    ends(&["gpu-reference", "H100", &bundle], 17);
    let third = platform("third", "snp", "5USD");
    ends(
        &[&third[..], &[&measurement, "--policy", "dev"]].concat(),
        2,
    );
    ends(&[&third[..], &["abc"]].concat(), 2);
    assert_eq!(
        fs::read(sandbox.path("trust.toml")).expect("a Trust file"),
        before
    );
}

#[test]
fn doctor_says_what_is_there() {
    let sandbox = Sandbox::new();
    let root = sandbox.path("root");
    fs::create_dir_all(root.join("dev")).expect("a folder");
    let root = root.to_string_lossy().into_owned();
    assert_eq!(
        sandbox.json(&["tee", "doctor", "--root", &root], 0)["able"],
        false
    );
    fs::write(Path::new(&root).join("dev/nsm"), "").expect("write");
    let found = sandbox.json(&["tee", "doctor", "--root", &root], 0);
    assert_eq!(
        (&found["able"], &found["findings"][0]["what"]),
        (&true.into(), &"nitro".into())
    );
    sandbox.good(&["tee", "doctor"]);
}
