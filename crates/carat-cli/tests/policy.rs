//! Policies, plans and decisions through the real binary.

mod common;

use std::fs;

use common::Sandbox;
use serde_json::{Value, json};

const POLICY: &str = r#"currency = "USD"
epsilon  = 0.10
mode     = "enforce"

[[consequence]]
name = "payout"
when = 'request.route == "/agent/pay"'
value = 'request.action.amount'
timing = "before_use"
irreversible = true

[[consequence]]
name = "scoring"
when = 'model.group == "fraud"'
value = '5.0'
timing = "before_settle"

[[require]]
rung = "zk"
when = 'request.action.amount > 10000.0'

[[forbid]]
assumption = "vendor:*"
when = 'tenant.region == "air-gapped"'
"#;

const AUDITS: &str = r#"schema = "carat-environment/v1"
currency = "USD"

[audits]
independent = 3
power = 1
colluding = 0.05
predictable = 0
window_seconds = 3600

[bond]
name = "bond-1"
allocated = "1000 USD"
clawback = true
joint_forfeiture = true
"#;

const CALIBRATED: &str = r#"
[prover]
cap = "100000 USD"

[calibration.execute]
backend = "cpu"
mean_cpu_micros = 10000
p50_micros = 10000
p99_micros = 20000
count = 50
measured_at = 1785542400

[calibration.prove]
backend = "cpu"
mean_cpu_micros = 25000000
p50_micros = 25000000
p99_micros = 30000000
count = 5
measured_at = 1785542400
"#;

fn facts(route: &str, amount: &str, group: &str) -> String {
    json!({ "request": { "route": route, "action": { "amount": amount } }, "model": { "group": group }, "tenant": { "region": "eu" } }).to_string()
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_model();
    let write = |name: &str, text: &str| fs::write(sandbox.path(name), text).expect("write");
    write("policy.toml", POLICY);
    write("audits.toml", AUDITS);
    write("all.toml", &format!("{AUDITS}{CALIBRATED}"));
    write("pay.json", &facts("/agent/pay", "30", "chat"));
    write("large.json", &facts("/agent/pay", "20000.50", "chat"));
    write("score.json", &facts("/score", "0", "fraud"));
    write("chat.json", &facts("/chat", "0", "chat"));
    sandbox
}

fn text<'a>(json: &'a Value, pointer: &str) -> &'a str {
    json.pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{pointer} in {json:#}"))
}

#[test]
fn check_says_where() {
    let sandbox = sandbox();
    let ok = sandbox.good(&["policy", "check", "policy.toml"]);
    assert!(
        ok.out.contains("line 8") && ok.out.contains("no bound"),
        "{}",
        ok.out
    );
    fs::write(
        sandbox.path("bad.toml"),
        POLICY.replace("== \"/agent/pay\"", "= \"/agent/pay\""),
    )
    .expect("write");
    let bad = sandbox.ends(&["policy", "check", "bad.toml"], 1);
    assert!(
        bad.out.contains("bad.toml: line 7, column 23: error"),
        "{}",
        bad.out
    );
    let json = sandbox.json(&["policy", "check", "bad.toml"], 1);
    assert_eq!(
        (&json["ok"], &json["findings"][0]["line"]),
        (&json!(false), &json!(7))
    );
    sandbox.ends(&["policy", "check", "no.toml"], 12);
    // The one that ships is in order, and is a start for one's own.
    let shipped = sandbox.good(&["policy", "default"]).out;
    fs::write(sandbox.path("own.toml"), &shipped).expect("write");
    assert_eq!(
        sandbox.json(&["policy", "check", "own.toml"], 0)["findings"],
        json!([])
    );
    let read = sandbox.good(&["policy", "explain", "own.toml"]).out;
    assert!(read.contains("request.impact"), "{read}");
}

/// What always applies counts when the check asks whether anything here is sufficient.
#[test]
fn a_policy_that_nothing_can_satisfy_is_noticed() {
    let sandbox = sandbox();
    let rule = "currency = \"USD\"\n[[consequence]]\nname = \"a\"\nwhen = 'true'\nvalue = '5.0'\n";
    let policy = |more: &str| {
        fs::write(sandbox.path("p.toml"), format!("{rule}{more}")).expect("write");
        let args = [
            "policy",
            "check",
            "p.toml",
            "--environment",
            "environment.toml",
        ];
        sandbox.json(&args, 0)["findings"].clone()
    };
    let zk = "[[require]]\nrung = \"zk\"\nwhen = 'true'\n";
    let math = "[[forbid]]\nassumption = \"math\"\nwhen = 'true'\n";
    fs::write(
        sandbox.path("environment.toml"),
        format!("{AUDITS}{CALIBRATED}"),
    )
    .expect("write");
    assert_eq!(policy(zk), json!([]));
    let found = policy(&format!("{zk}{math}"));
    assert_eq!(found[0]["line"], 4, "{found}");
    assert!(
        found[0]["message"]
            .as_str()
            .is_some_and(|m| m.contains("nothing here is sufficient")),
        "{found}"
    );
    // A condition that reads facts may not hold.
    let sometimes = math.replace("'true'", "'tenant.region == \"eu\"'");
    assert_eq!(policy(&format!("{zk}{sometimes}")), json!([]));
}

/// Whatever is refused, the JSON has a `refusal`.
#[test]
fn a_request_that_no_rule_judges_is_a_refusal() {
    let sandbox = sandbox();
    for (facts, why) in [
        (facts("/other", "30", "x"), "no rule"),
        (facts("/agent/pay", "-5", "x"), "no amount of money"),
        (facts("/agent/pay", "30 USD", "x"), "is a text"),
    ] {
        fs::write(sandbox.path("facts.json"), facts).expect("write");
        let args = ["plan", "--policy", "policy.toml", "--facts", "facts.json"];
        let json = sandbox.json(&args, 21);
        assert!(json["plan"].is_null(), "{json}");
        assert!(text(&json, "/refusal/reason").contains(why), "{json}");
    }
}

#[test]
fn plan_buys_or_refuses() {
    let sandbox = sandbox();
    let with = |facts: &str, environment: &str, code| {
        sandbox.json(
            &[
                "plan",
                "--policy",
                "policy.toml",
                "--facts",
                facts,
                "--environment",
                environment,
            ],
            code,
        )
    };
    let score = with("score.json", "all.toml", 0);
    assert_eq!(text(&score, "/plan/rung"), "signature+audit");
    assert_eq!(text(&score, "/binding/kind"), "T2");
    assert_eq!(text(&score, "/runner_up/rung"), "zk");
    let p = score["plan"]["audit_probability"]
        .as_f64()
        .expect("a number");
    assert!((p - 5.0 / 1005.0 / 0.95).abs() < 1e-9, "{p}");
    assert_eq!(text(&score, "/good_for/amount"), "5 USD");
    assert!(
        text(&score, "/switch_points/0/text").contains("zk starts paying above"),
        "{score:#}"
    );
    // Required by the policy, and the amount is exact.
    let large = with("large.json", "all.toml", 0);
    assert_eq!(
        (text(&large, "/plan/rung"), text(&large, "/value")),
        ("zk", "20000.50 USD")
    );
    // Nobody audits here.
    fs::write(
        sandbox.path("bare.toml"),
        "schema = \"carat-environment/v1\"\ncurrency = \"USD\"\n",
    )
    .expect("write");
    let refused = with("score.json", "bare.toml", 21);
    assert!(
        refused.get("plan").is_none() && refused["refusal"]["covered"].is_null(),
        "{refused:#}"
    );
    assert!(
        refused["refusal"]["dropped"]
            .to_string()
            .contains("a signature alone is good for nothing")
    );
    // No rule says what is at stake.
    let ran = sandbox.ends(
        &["plan", "--policy", "policy.toml", "--facts", "chat.json"],
        21,
    );
    assert!(
        ran.err
            .contains("no rule of the policy says what is at stake"),
        "{}",
        ran.err
    );
    // Currencies do not mix; a policy that does not parse says where.
    sandbox.ends(
        &[
            "plan",
            "--policy",
            "policy.toml",
            "--facts",
            "score.json",
            "--at-stake",
            "5EUR",
        ],
        2,
    );
    fs::write(sandbox.path("bad.toml"), "currency = \"USD\"\nx = 1\n").expect("write");
    let ran = sandbox.ends(&["plan", "--policy", "bad.toml"], 2);
    assert!(ran.err.contains("line 2, column 1"), "{}", ran.err);
}

const RUN: [&str; 4] = ["run", "tumor.carat-model", "--input", "tumor.json"];

#[test]
fn a_fresh_machine_proves_what_it_may_and_refuses_the_rest() {
    let sandbox = sandbox();
    // Nobody audits here, and this software being right is worth 1,000 at most.
    let ran = sandbox.json(&[&RUN[..], &["--at-stake", "20USD"]].concat(), 0);
    assert_eq!(text(&ran, "/decision/plan/rung"), "zk");
    assert!(ran["rungs"].to_string().contains("proof"), "{ran:#}");
    assert_eq!(
        text(
            &sandbox.json(
                &["explain", "receipt.carat", "--open", "receipt.carat-open"],
                0
            ),
            "/replay"
        ),
        "same"
    );
    let before = sandbox.names();
    for more in [&["--at-stake", "50000USD"][..], &["--impact", "high"]] {
        let ran = sandbox.ends(&[&RUN[..], more].concat(), 21);
        for words in [
            "nothing that is supplied here covers",
            "nobody audits here",
            "up to 1000 USD, by zk",
        ] {
            assert!(ran.err.contains(words), "{words}: {}", ran.err);
        }
        assert_eq!(
            text(&sandbox.json(&[&RUN[..], more].concat(), 21), "/error/kind"),
            "refused"
        );
    }
    assert_eq!(sandbox.names(), before, "nothing was written");
}

#[test]
fn the_receipt_carries_the_plan_and_the_opening_the_decision() {
    let sandbox = sandbox();
    let args = [
        "--policy",
        "policy.toml",
        "--facts",
        "score.json",
        "--environment",
        "audits.toml",
    ];
    let ran = sandbox.json(&[&RUN[..], &args].concat(), 0);
    assert_eq!(text(&ran, "/decision/plan/rung"), "signature+audit");
    let without = sandbox.json(&["explain", "receipt.carat"], 0);
    assert_eq!(text(&without, "/replay"), "not replayable from here");
    assert_eq!(without["plan"]["tau"], ran["decision"]["plan"]["tau"]);
    let open = ["explain", "receipt.carat", "--open", "receipt.carat-open"];
    let with = sandbox.json(&open, 0);
    assert_eq!(text(&with, "/replay"), "same");
    assert_eq!(with["decision"]["plan"], ran["decision"]["plan"]);
    assert_eq!(with["policy_digest"], ran["decision"]["policy_digest"]);
    assert_eq!(text(&with, "/facts/model/name"), text(&ran, "/model/name"));
    let words = sandbox.good(&open).out;
    assert!(
        words.contains("the same plan, bit for bit")
            && words.contains("V = 5 USD <= good for 5 USD under {"),
        "{words}"
    );
    // Another receipt's opening.
    sandbox.good(&[&RUN[..], &args, &["-o", "other.carat"]].concat());
    sandbox.ends(
        &["explain", "receipt.carat", "--open", "other.carat-open"],
        20,
    );
    // The log knows the threshold, and verify still holds everything together.
    let verified = sandbox.json(
        &[
            "verify",
            "receipt.carat",
            "--replay",
            "tumor.carat-model",
            "--input",
            "tumor.json",
        ],
        0,
    );
    assert!(
        verified["good_for"].to_string().contains("\"audit\""),
        "{verified:#}"
    );
}

#[test]
fn a_stated_amount_overrides_values_and_nothing_else() {
    let sandbox = sandbox();
    let plan = |more: &[&str]| {
        sandbox.json(
            &[
                &[
                    "plan",
                    "--policy",
                    "policy.toml",
                    "--facts",
                    "score.json",
                    "--environment",
                    "all.toml",
                ],
                more,
            ]
            .concat(),
            0,
        )
    };
    let more = plan(&["--at-stake", "400USD"]);
    assert_eq!(
        (text(&more, "/value"), text(&more, "/plan/timing")),
        ("400 USD", "before_settle")
    );
    assert!(
        plan(&["--at-stake", "1USD"])["because"]
            .to_string()
            .contains("overrides the 5 USD of the rules")
    );
}

#[test]
fn modes() {
    let sandbox = sandbox();
    for (mode, says) in [("warn", true), ("shadow", false)] {
        let name = format!("{mode}.toml");
        fs::write(sandbox.path(&name), POLICY.replace("enforce", mode)).expect("write");
        let args = ["--policy", &name, "--facts", "large.json", "-o", "r.carat"];
        let ran = sandbox.good(&[&RUN[..], &args].concat());
        assert_eq!(ran.err.contains("mode warn"), says, "{}", ran.err);
        assert!(sandbox.json(&["explain", "r.carat"], 0)["plan"].is_null());
    }
    // In shadow mode a plan that could be bought is recorded and not carried out.
    let args = [
        "--policy",
        "shadow.toml",
        "--facts",
        "score.json",
        "--environment",
        "audits.toml",
        "-o",
        "s.carat",
    ];
    let ran = sandbox.good(&[&RUN[..], &args].concat());
    assert!(ran.out.contains("mode shadow"), "{}", ran.out);
    assert!(sandbox.json(&["explain", "s.carat"], 0)["plan"].is_null());
}

#[test]
fn backtests_decide_past_requests_again() {
    let sandbox = sandbox();
    let args = [
        "--policy",
        "policy.toml",
        "--environment",
        "audits.toml",
        "-o",
        "r.carat",
    ];
    for _ in 0..3 {
        sandbox.good(&[&RUN[..], &args, &["--facts", "score.json"]].concat());
    }
    // 20,000 needs a proof, which is worth 1,000.
    sandbox.ends(&[&RUN[..], &args, &["--facts", "large.json"]].concat(), 21);
    // The same policy changes nothing: a backtest is replanning.
    let same = sandbox.json(&["policy", "backtest", "policy.toml"], 0);
    assert_eq!(
        (&same["requests"], &same["left_out"], &same["changed"]),
        (&json!(4), &json!(0), &json!([]))
    );
    assert_eq!(same["before"], same["after"]);
    assert_eq!(
        (&same["after"]["served"], &same["after"]["refused"]),
        (&json!(3), &json!(1))
    );
    // A hundred times the value: dearer, and the old plans did not cover it.
    fs::write(sandbox.path("new.toml"), POLICY.replace("'5.0'", "'500.0'")).expect("write");
    let home = sandbox.path("home/log");
    let new = sandbox.json(
        &[
            "policy",
            "backtest",
            "new.toml",
            "--log",
            home.to_str().expect("UTF-8"),
        ],
        0,
    );
    assert_eq!(new["changed"].as_array().expect("a list").len(), 3);
    assert_eq!(text(&new, "/before/worst_case_loss"), "495 USD");
    assert_eq!(text(&new, "/after/worst_case_loss"), "0 USD");
    assert!(new["after"]["audit_rate"].as_f64() > new["before"]["audit_rate"].as_f64());
    sandbox.ends(&["policy", "backtest", "new.toml", "--log", "."], 2);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(sandbox.path("home/decisions.jsonl"))
            .expect("decisions")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "facts are nobody else's business");
    }
}

#[test]
fn calibration_is_made_on_the_first_run_and_on_demand() {
    let sandbox = sandbox();
    let records = || fs::read_dir(sandbox.path("home/calibration")).map_or(0, Iterator::count);
    assert_eq!(records(), 0);
    sandbox.good(&RUN);
    assert_eq!(records(), 1);
    let measured = sandbox.json(&["calibrate", "tumor.carat-model"], 0);
    let record = &measured["records"][0];
    assert!(
        record["count"].as_u64() >= Some(3) && record["mean_cpu_micros"].as_u64() > Some(0),
        "{record}"
    );
    assert!(record["p50_micros"].as_u64() <= record["p99_micros"].as_u64());
    assert_eq!(measured["records"][1]["method"], "prove");
    assert_eq!(records(), 2);
}
