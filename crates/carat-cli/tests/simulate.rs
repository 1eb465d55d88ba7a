//! `carat simulate`, through the binary.

mod common;

use std::fs;

use common::Sandbox;
use serde_json::Value;

fn number(json: &Value, field: &str) -> f64 {
    json[field]
        .as_f64()
        .unwrap_or_else(|| panic!("{field} in {json}"))
}

/// The published points: matched auditing at the guarantee of a uniform 25%.
#[test]
fn reference_points() {
    let sandbox = Sandbox::new();
    for (values, rate) in [
        ("lognormal:1", 0.0237),
        ("lognormal:2", 0.0044),
        ("lognormal:3", 0.0017),
        ("pareto:1.5", 0.0089),
        ("constant", 0.25),
    ] {
        let json = sandbox.json(
            &[
                "simulate",
                "--values",
                values,
                "--auditing",
                "matched",
                "--requests",
                "200000",
                "--seed",
                "5",
            ],
            0,
        );
        let found = number(&json, "audit_rate");
        assert!((found / rate - 1.0).abs() < 0.04, "{values}: {found}");
        assert!(number(&json, "adversary_profit_over_bond") < 1e-9);
        assert!(number(&json, "realised_loss_over_k") <= 1.0 + 1e-9);
        assert!((number(&json["same_guarantee"], "uniform") - 0.25).abs() < 1e-9);
    }
    let flat = sandbox.good(&["simulate", "--values", "constant", "--requests", "1000"]);
    assert!(flat.out.contains("no gain"), "{}", flat.out);
}

#[test]
fn the_output_is_complete_and_repeatable() {
    let sandbox = Sandbox::new();
    let args = [
        "simulate",
        "--requests",
        "5000",
        "--seed",
        "3",
        "--adversary",
        "sneaky",
    ];
    let json = sandbox.json(&args, 0);
    for field in [
        "audit_rate",
        "spend",
        "adversary_profit",
        "realised_loss_over_k",
    ] {
        number(&json, field);
    }
    assert!(json["certificate"]["wrong_at_most"].is_u64());
    assert_eq!(json, sandbox.json(&args, 0));
    assert_ne!(
        json,
        sandbox.json(
            &[
                "simulate",
                "--requests",
                "5000",
                "--seed",
                "4",
                "--adversary",
                "sneaky"
            ],
            0
        )
    );
}

#[test]
fn all_adversaries_and_the_plot() {
    let sandbox = Sandbox::new();
    let json = sandbox.json(
        &[
            "simulate",
            "--requests",
            "4000",
            "--adversary",
            "all",
            "--svg",
            "spend.svg",
        ],
        0,
    );
    let agents = json["agents"].as_array().unwrap();
    assert_eq!(agents.len(), 12);
    for agent in agents {
        let broken = !agent["assumption_broken"].is_null();
        assert_eq!(number(agent, "adversary_profit") > 1e-6, broken, "{agent}");
    }
    let svg = fs::read_to_string(sandbox.path("spend.svg")).unwrap();
    assert!(
        svg.starts_with("<svg")
            && svg.ends_with("</svg>\n")
            && svg.matches("<polyline").count() == 3
    );
    assert_eq!(json["frontier"].as_array().unwrap().len(), 13);
}

#[test]
fn broken_rules_pay() {
    let sandbox = Sandbox::new();
    for args in [
        &["--auditing", "uniform:0.01"][..],
        &["--auditing", "uniform:0.01", "--adversary", "value-hunter"],
        &["--auditing", "none"],
        &["--auditing", "naive", "--timing", "after-use"],
        &["--no-joint-forfeiture"],
        &["--adversary", "colluding-auditor", "--assume-evasion", "0"],
    ] {
        let json = sandbox.json(&[&["simulate", "--requests", "20000"], args].concat(), 0);
        assert!(number(&json, "adversary_profit") > 0.0, "{args:?}: {json}");
        let fixed = sandbox.json(&["simulate", "--requests", "20000"], 0);
        assert!(number(&fixed, "adversary_profit") <= 1e-9);
    }
}

#[test]
fn strangers_bring_values_and_adversaries() {
    let sandbox = Sandbox::new();
    fs::write(
        sandbox.path("mine.csv"),
        "value,wrong\n5,0\n1000,1\n7,0\n2000.5,1\n",
    )
    .unwrap();
    fs::write(
        sandbox.path("thief.txt"),
        "cheat when value > 10 * median\n",
    )
    .unwrap();
    let with = |adversary| {
        sandbox.json(
            &[
                "simulate",
                "--values",
                "csv:mine.csv",
                "--auditing",
                "none",
                "--adversary",
                adversary,
            ],
            0,
        )
    };
    let (csv, script) = (with("mine.csv"), with("thief.txt"));
    assert_eq!(csv["requests"], 4);
    assert!((number(&csv, "adversary_profit") - 3000.5).abs() < 1e-9);
    assert_eq!(csv["adversary_profit"], script["adversary_profit"]);
    assert_eq!(csv["served"]["wrong"], 2);

    fs::write(sandbox.path("bad.txt"), "cheat when\n  walue > 1\n").unwrap();
    let ran = sandbox.ends(&["simulate", "--adversary", "bad.txt"], 11);
    assert!(ran.err.contains("line 1, column 11"), "{}", ran.err);
    fs::write(sandbox.path("bad.csv"), "value\n1\n-3\n").unwrap();
    let ran = sandbox.ends(&["simulate", "--values", "csv:bad.csv"], 11);
    assert!(ran.err.contains("line 3"), "{}", ran.err);
    // Nothing is left out in silence: neither a value in another notation, nor the one request that is worth something.
    for (text, why) in [
        ("$5\n6\n", "line 1"),
        ("value\n", "no values"),
        (&format!("5\n{}", "0\n".repeat(2000)), "99.9th percentile"),
    ] {
        fs::write(sandbox.path("bad.csv"), text).unwrap();
        let ran = sandbox.ends(&["simulate", "--values", "csv:bad.csv"], 11);
        assert!(ran.err.contains(why), "{}", ran.err);
    }
    sandbox.json(
        &[
            "simulate",
            "--values",
            "csv:bad.csv",
            "--uncapped",
            "--bond",
            "20",
        ],
        0,
    );
    sandbox.ends(&["simulate", "--adversary", "nobody"], 2);
    sandbox.ends(&["simulate", "--values", "normal:1"], 2);
    sandbox.ends(&["simulate", "--auditing", "uniform:1.5"], 2);
    sandbox.ends(&["simulate", "--requests", "0"], 2);
    sandbox.ends(&["simulate", "--values", "csv:gone.csv"], 12);
}
