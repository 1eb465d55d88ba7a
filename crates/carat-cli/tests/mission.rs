//! `carat bench mission`, through the binary, with few requests.

mod common;

use common::Sandbox;

#[test]
fn a_tiny_mission_with_a_shipped_model() {
    let sandbox = Sandbox::with_model();
    let args = [
        "bench",
        "mission",
        "--model",
        "tumor.carat-model",
        "--models",
        "5",
        "--requests",
        "80",
        "--window",
        "40",
        "--unit",
        "2USD",
        "--seconds-limit",
        "600",
    ];
    let json = sandbox.json(&args, 0);
    let number = |value: &serde_json::Value| value.as_u64().unwrap_or_else(|| panic!("{json}"));
    let sum = |of: &str, field: &str| -> u64 {
        let entries = json[of].as_object().expect("an object");
        entries.values().map(|entry| number(&entry[field])).sum()
    };
    assert_eq!(sum("rungs", "answers"), number(&json["receipts"]));
    assert_eq!(sum("rungs", "answers") + sum("refused", "requests"), 80);
    assert_eq!(json["served_uncovered"]["answers"], 0);
    assert_eq!(json["named_models"][0], "tumor.carat-model");
    assert!(number(&json["peak_rss_bytes"]) > 0);
    assert!(json["machine"]["cpu"].is_string());
    let strategies = json["strategies"].as_array().expect("strategies");
    let measured: Vec<bool> = strategies
        .iter()
        .map(|strategy| strategy["measured"].as_bool().expect("a bool"))
        .collect();
    assert_eq!(measured, [true, false, false, false, true]);
    // The log was made in a directory of its own, which is gone.
    let left = std::fs::read_dir(sandbox.path("home")).expect("home");
    let left: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().contains("mission")),
        "{left:?}"
    );
    let text = sandbox.good(&args).out;
    for said in [
        "prove everything",
        "uniform audits of 25%",
        "signatures only",
        "extrapolated",
        "not covered",
        "What was refused",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let sandbox = Sandbox::new();
    for (args, said) in [
        (["--unit", "1EUR"], "USD"),
        (["--requests", "0"], "requests"),
        (["--stakes", "lognormal:99"], "lognormal"),
        (["--model", "nowhere.carat-model"], "nowhere"),
    ] {
        let ran = sandbox.run(&[["bench", "mission"], args].concat());
        assert_ne!(ran.code, 0, "{args:?}");
        assert!(ran.err.contains(said), "{args:?}: {}", ran.err);
    }
}
