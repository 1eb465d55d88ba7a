//! Text that people read: help, errors, appraisals. A changed answer shows up in review.

mod common;

use std::fs;

use common::{Sandbox, repo};

#[test]
fn the_page_of_errors_is_the_one_in_the_code() {
    let text = Sandbox::new().good(&["help", "errors", "--markdown"]).out;
    let page = fs::read_to_string(repo("docs/errors.md")).unwrap_or_default();
    assert!(
        text == page,
        "docs/errors.md is stale: carat help errors --markdown > docs/errors.md"
    );
}

#[test]
fn help() {
    let sandbox = Sandbox::new();
    insta::assert_snapshot!("help", sandbox.good(&["help"]).out);
    insta::assert_snapshot!("help_run", sandbox.good(&["help", "run"]).out);
    insta::assert_snapshot!("help_verify", sandbox.good(&["help", "verify"]).out);
    assert_eq!(
        sandbox.good(&["run", "--help"]).out,
        sandbox.good(&["help", "run"]).out
    );
    sandbox.ends(&["help", "nothing"], 2);
}

#[test]
fn completions() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sandbox.good(&["completions", shell]).out;
        for word in ["fidelity", "data-dir", "conformance"] {
            assert!(script.contains(word), "{shell} does not complete {word}");
        }
    }
}

#[test]
fn usage() {
    let sandbox = Sandbox::new();
    for args in [
        &[][..],
        &["fly"],
        &["run"],
        &["run", "m", "--input", "i", "--at-stake", "20usd"],
        &["verify", "r", "--replay", "m"],
        &["verify", "r", "--nonce", "xyz"],
    ] {
        sandbox.ends(args, 2);
    }
}

/// Appraisals of the fixtures of `carat-verify` at a fixed time.
#[test]
fn appraisals() {
    let sandbox = Sandbox::new();
    let fixture = |name: &str| {
        repo("crates/carat-verify/tests/fixtures")
            .join(name)
            .to_str()
            .expect("UTF-8")
            .to_string()
    };
    let trust = fixture("trust.toml");
    let verify = |name: &str, more: &[&str]| {
        let file = fixture(name);
        let args = [&["verify", &file, "--now", "1767312000"], more].concat();
        sandbox.run(&args).out
    };
    insta::assert_snapshot!("verify_alone", verify("signature.carat", &[]));
    insta::assert_snapshot!(
        "verify_with_trust",
        verify("replay.carat", &["--trust", &trust])
    );
    insta::assert_snapshot!(
        "verify_everything",
        verify("everything.carat", &["--trust", &trust, "--amount", "5USD"])
    );
}
