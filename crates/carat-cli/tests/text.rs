//! Text that people read: help, errors, appraisals. A changed answer shows up in review.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

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

/// `docs/threat-model.md` names a test for each threat: `FILE::TEST`.
#[test]
fn threats_name_tests_that_exist() {
    fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut files = Vec::new();
    sources(&repo("crates"), &mut files);
    let page = fs::read_to_string(repo("docs/threat-model.md")).expect("the page");
    let mut named = 0;
    for (file, test) in page.split('`').filter_map(|word| word.split_once("::")) {
        let marked = format!("fn {test}(");
        let exists = files
            .iter()
            .filter(|path| path.file_stem().is_some_and(|stem| stem == file))
            .any(|path| {
                let text = fs::read_to_string(path).expect("a source");
                text.find(&marked).is_some_and(|at| {
                    let before = &text[..at];
                    before.trim_end().ends_with(']') && before.contains("#[test]")
                })
            });
        assert!(
            exists,
            "docs/threat-model.md names {file}::{test}, which is no test"
        );
        named += 1;
    }
    assert!(named > 30, "{named}");
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
