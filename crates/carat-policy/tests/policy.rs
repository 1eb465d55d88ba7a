//! The policy file: the example of the documentation, errors with their place, facts, strictest wins.
#![cfg(feature = "file")]

use carat_policy::cel::{Expression, Outcome, Type, Types, Value};
use carat_policy::consequence::{Timing, strictness};
use carat_policy::decision::Decision;
use carat_policy::facts::Facts;
use carat_policy::plan::Level;
use carat_policy::policy_file::{DEFAULT_POLICY, Policy, Severity};
use carat_policy::{Environment, Micros, Price, plan};
use carat_receipt::Currency;
use proptest::prelude::*;

const EXAMPLE: &str = r#"currency = "USD"
epsilon  = 0.10                # tolerated expected loss per request
mode     = "enforce"           # enforce | warn | shadow

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

fn units(units: u64) -> Micros {
    Micros(units * 1_000_000)
}

fn judge(policy: &str, facts: &str) -> Result<carat_policy::policy_file::Judged, String> {
    let policy = Policy::parse(policy).map_err(|error| error.to_string())?;
    policy
        .judge(&Facts::from_json(facts).map_err(|error| error.to_string())?)
        .map_err(|error| error.to_string())
}

#[test]
fn the_example_of_the_documentation() {
    let all = r#"{"request":{"route":"/agent/pay","action":{"amount":30}},"model":{"group":"chat"},"tenant":{"region":"eu"}}"#;
    let judged = judge(EXAMPLE, all).unwrap();
    assert_eq!(
        (judged.consequence.value, judged.consequence.timing),
        (units(30), Timing::BeforeUse)
    );
    assert!(
        judged.consequence.irreversible
            && judged.consequence.require.is_empty()
            && judged.consequence.forbid.is_empty()
    );
    assert_eq!(judged.consequence.epsilon, Micros(100_000));

    let large = all
        .replace("30", "\"10000.01\"")
        .replace("eu", "air-gapped")
        .replace("chat", "fraud");
    let judged = judge(EXAMPLE, &large).unwrap();
    assert_eq!(judged.consequence.value, Micros(10_000_010_000));
    assert_eq!(judged.consequence.require[0].what, Level::Zk);
    assert!(judged.consequence.forbid[0].what.matches("vendor:intel"));
    assert_eq!(judged.because.len(), 4);

    let policy = Policy::parse(EXAMPLE).unwrap();
    let facts: Vec<(String, String)> = policy
        .facts()
        .map(|(fact, of)| (fact, of.to_string()))
        .collect();
    let expected = [
        ("model.group", "text"),
        ("request.action.amount", "number"),
        ("request.route", "text"),
        ("tenant.region", "text"),
    ];
    assert_eq!(
        facts,
        expected.map(|(fact, of)| (fact.to_string(), of.to_string()))
    );
    // It can be used as it is; two things about it are worth knowing.
    let findings = policy.check(None);
    assert!(
        findings
            .iter()
            .all(|finding| finding.severity < Severity::Error)
    );
    assert!(
        findings
            .iter()
            .any(|finding| finding.line == 8 && finding.message.contains("no bound")),
        "{findings:?}"
    );
}

#[test]
fn a_missing_fact_never_lowers_a_demand() {
    // Without the amount nobody can say that it is at most 10,000: the requirement holds.
    let facts =
        r#"{"request":{"route":"/score"},"model":{"group":"fraud"},"tenant":{"region":"eu"}}"#;
    let judged = judge(EXAMPLE, facts).unwrap();
    assert_eq!(judged.consequence.require.len(), 1);
    assert!(
        judged
            .because
            .iter()
            .any(|line| line.contains("the fact request.action.amount is missing")),
        "{:?}",
        judged.because
    );
    // A value that cannot be computed is refused, unless the amount is stated.
    let pay =
        r#"{"request":{"route":"/agent/pay"},"model":{"group":"fraud"},"tenant":{"region":"eu"}}"#;
    let error = judge(EXAMPLE, pay).unwrap_err();
    assert!(
        error.contains("line 8, payout") && error.contains("request.action.amount is missing"),
        "{error}"
    );
    let stated = pay.replacen('{', r#"{"at_stake":"7.5","#, 1);
    assert_eq!(
        judge(EXAMPLE, &stated).unwrap().consequence.value,
        Micros(7_500_000)
    );
    // Who wants the other reading says so.
    let lenient = format!("absent_facts = \"no-match\"\n{EXAMPLE}");
    assert!(
        judge(&lenient, facts)
            .unwrap()
            .consequence
            .require
            .is_empty()
    );
    assert!(judge(EXAMPLE, "{}").unwrap_err().contains("missing"));
    assert!(
        judge(&lenient, "{}")
            .unwrap_err()
            .contains("no rule of the policy")
    );
}

#[test]
fn facts_of_another_type_are_refused() {
    let facts = r#"{"request":{"route":7,"action":{"amount":30}},"model":{"group":"x"},"tenant":{"region":"eu"}}"#;
    assert!(
        judge(EXAMPLE, facts)
            .unwrap_err()
            .contains("request.route is used as a text, but the fact given is a number")
    );
    let facts = r#"{"request":{"route":"/agent/pay","action":{"amount":-1}},"model":{"group":"x"},"tenant":{"region":"eu"}}"#;
    assert!(judge(EXAMPLE, facts).unwrap_err().contains("negative"));
    for bad in [
        "[]",
        "{",
        r#"{"user":{}}"#,
        r#"{"request":3}"#,
        r#"{"at_stake":-1}"#,
        r#"{"at_stake":true}"#,
        r#"{"request":{"a":[[1]]}}"#,
        r#"{"request":{"a":12345678901234567890.5}}"#,
        r#"{"request":{"a":1e300}}"#,
    ] {
        assert!(Facts::from_json(bad).is_err(), "{bad}");
    }
    let deep = format!(
        "{{\"request\":{}1{}}}",
        "{\"a\":".repeat(40),
        "}".repeat(40)
    );
    assert!(Facts::from_json(&deep).is_err());
}

#[test]
fn errors_point_at_line_and_column() {
    for (text, line, column, says) in [
        ("currency = \"USD\"\nbogus = 1\n", 2, 1, "unknown field"),
        ("currency = \"usd\"\n", 1, 12, "three capital letters"),
        (
            "currency = \"USD\"\nmode = \"strict\"",
            2,
            8,
            "enforce, warn or shadow",
        ),
        ("currency = \"USD\"\nepsilon = -1", 2, 11, "negative"),
        (
            "currency = \"USD\"\nepsilon = \"1 EUR\"",
            2,
            11,
            "no amount",
        ),
        ("currency = \"USD\"\np_min = 1.5", 2, 9, "between 0 and 1"),
        (
            "currency = \"USD\"\n[[consequence]]\nname = \"a\"\nwhen = 'request.x = 1'\nvalue = 1",
            4,
            19,
            "equality is written ==",
        ),
        (
            "currency = \"USD\"\n[[consequence]]\nname = \"a\"\nwhen = 'requst.x == 1'\nvalue = 1",
            4,
            9,
            "there is no requst",
        ),
        (
            "currency = \"USD\"\n[[consequence]]\nname = \"a\"\nwhen = 'request.x'\nvalue = 'request.x'",
            5,
            10,
            "request.x is a bool elsewhere and a number here",
        ),
        (
            "currency = \"USD\"\n[[consequence]]\nname = \"a\"\nwhen = '1 + 2'\nvalue = 1",
            4,
            11,
            "a bool is expected here, this is a number",
        ),
        (
            "currency = \"USD\"\n[[consequence]]\nname = \"a\"\nwhen = '\"é\" == 1'\nvalue = 1",
            4,
            16,
            "a text is expected here, this is a number",
        ),
        (
            "currency = \"USD\"\n[[consequence]]\nname = \"a\"\nwhen = 'request.x.matches(\"a\")'\nvalue = 1",
            4,
            19,
            "matches() is not part of the subset",
        ),
        (
            "currency = \"USD\"\n[[consequence]]\nname = \"a\"\nwhen = 'true'\n",
            3,
            8,
            "neither value nor impact",
        ),
        (
            "currency = \"USD\"\n[[consequence]]\nname = \"a\"\nwhen = 'true'\nimpact = \"low\"",
            5,
            10,
            "under [impact]",
        ),
        (
            "currency = \"USD\"\n[[require]]\nrung = \"proof\"\nwhen = 'true'",
            3,
            8,
            "there is no rung",
        ),
        (
            "currency = \"USD\"\n[[forbid]]\nassumption = \"a*b\"\nwhen = 'true'",
            3,
            14,
            "at the end only",
        ),
        (
            "currency = \"USD\"\n[[consequence]]\nname = \"a\"\nwhen = 'true'\nvalue = 1\n[[consequence]]\nname = \"a\"\nwhen = 'true'\nvalue = 1",
            7,
            8,
            "twice",
        ),
        (
            "currency = \"USD\"\n[facts]\nroute = \"text\"",
            3,
            1,
            "a fact is like",
        ),
        (
            "currency = \"USD\"\n[facts]\n\"request.x\" = \"float\"",
            3,
            15,
            "a type is",
        ),
        ("currency = ", 1, 12, ""),
    ] {
        let error = Policy::parse(text).unwrap_err();
        assert_eq!(
            (error.line, error.column),
            (line, column),
            "{text}\n{error}"
        );
        assert!(error.message.contains(says), "{text}\n{error}");
    }
}

#[test]
fn suspicious_policies() {
    let text = r#"currency = "USD"
[[consequence]]
name = "never"
when = 'request.route == "a" && request.route == "b"'
value = 1
[[consequence]]
name = "never either"
when = 'request.n > 10 && request.n < 5'
value = 2
[[consequence]]
name = "small"
when = 'request.n > 1'
value = 3
[[consequence]]
name = "all"
when = 'true'
value = 5
[[consequence]]
name = "negative"
when = 'request.n == 0'
value = '1 - 2'
[[forbid]]
assumption = "beacon"
when = 'false'
"#;
    let policy = Policy::parse(text).unwrap();
    let findings: Vec<String> = policy.check(None).iter().map(ToString::to_string).collect();
    for says in [
        "line 4, column 9: warning: never can never apply: request.route would have to be \"a\" and \"b\"",
        "line 8, column 9: warning: never either can never apply",
        "line 12, column 9: warning: small never binds: all always applies",
        "line 21, column 10: error: the value of negative is no amount",
        "line 24, column 9: warning: forbid[1] can never apply: its condition is always false",
    ] {
        assert!(
            findings.iter().any(|finding| finding.starts_with(says)),
            "{says}\n{findings:#?}"
        );
    }
    assert!(
        !findings
            .iter()
            .any(|finding| finding.contains("no consequence"))
    );
    // With an environment: what nothing here covers.
    let bare = Environment::bare(Currency::new("USD").unwrap(), Price(1), 1);
    assert!(policy.check(Some(&bare)).iter().any(|finding| {
        finding
            .message
            .contains("nothing here is sufficient for all")
    }));
}

#[test]
fn the_default_policy() {
    let policy = Policy::parse(DEFAULT_POLICY).unwrap();
    let findings = policy.check(None);
    assert!(findings.is_empty(), "{findings:?}");
    let value = |facts: &str| judge(DEFAULT_POLICY, facts).unwrap().consequence;
    assert_eq!(value("{}").value, Micros::ZERO);
    assert_eq!(value(r#"{"request":{"impact":"low"}}"#).value, units(1));
    let moderate = value(r#"{"request":{"impact":"moderate"}}"#);
    assert_eq!(
        (moderate.value, moderate.timing),
        (units(50), Timing::AfterUse)
    );
    for level in ["high", "hihg"] {
        let high = value(&format!(r#"{{"request":{{"impact":"{level}"}}}}"#));
        assert_eq!(
            (high.value, high.timing, high.irreversible),
            (units(5000), Timing::BeforeUse, true)
        );
    }
    let stated = value(r#"{"at_stake":30}"#);
    assert_eq!((stated.value, stated.timing), (units(30), Timing::AfterUse));
}

fn eval(text: &str, facts: &str) -> Outcome {
    let expression =
        Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error} at {}", error.at));
    let mut types = Types::default();
    let of = if text.starts_with("number:") {
        Type::Number
    } else {
        Type::Bool
    };
    types
        .check(&expression, &of)
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    expression.evaluate(&Facts::from_json(facts).unwrap().value(), &types)
}

/// Expressions that mean the same in CEL (values from the language definition, cel-spec).
#[test]
fn expressions_mean_what_cel_says() {
    let facts = r#"{"request":{"n":3,"s":"héllo","l":["a","b"],"f":false,"deep":{"x-y":1}}}"#;
    for text in [
        "true",
        "!false",
        "1 + 2 * 3 == 7",
        "(1 + 2) * 3 == 9",
        "10 - 3 - 2 == 5",
        "-2 - -2 == 0",
        "- 3 < 2",
        "1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3 && 1 != 2",
        "true || false && false",
        "!(true && false)",
        "request.n == 3",
        "request[\"n\"] == 3",
        "request.deep[\"x-y\"] == 1",
        "request.s == 'h\u{e9}llo'",
        "request.s.startsWith('h\u{e9}')",
        "request.s.endsWith(\"llo\")",
        "request.s.contains('\u{e9}l')",
        "size(request.s) == 5",
        "request.s.size() == 5",
        "size(request.l) == 2",
        "'a' in request.l",
        "!('c' in request.l)",
        "2 in [1, 2, 3]",
        "!(2 in [])",
        "request.n in [-3, 3]",
        "has(request.n) && !has(request.m)",
        "has(request.deep)",
        "request.f ? false : true",
        "request.n > 2 ? request.n < 4 : false",
        "true || request.missing == 1",
        "request.missing == 1 || true",
        "!(false && request.missing)",
        "!(request.missing && false)",
        "\"it's\" == 'it\\'s'",
        "'a\\\\b' != 'a/b'",
    ] {
        assert_eq!(
            eval(text, facts),
            Outcome::Value(Value::Bool(true)),
            "{text}"
        );
    }
    for text in [
        "request.missing == 1",
        "request.missing && true",
        "false || request.missing",
        "!request.missing",
        "request.n + request.missing > 1",
    ] {
        assert!(matches!(eval(text, facts), Outcome::Absent(_)), "{text}");
    }
    // Where CEL has floats, this has decimals.
    assert_eq!(
        eval("0.1 + 0.2 == 0.3", facts),
        Outcome::Value(Value::Bool(true))
    );
    assert_eq!(
        eval("0.000000001 * 0.5 == 0.000000001", facts),
        Outcome::Value(Value::Bool(true)),
        "rounded up"
    );
    assert_eq!(
        eval("-0.000000001 * 0.5 == 0", facts),
        Outcome::Value(Value::Bool(true)),
        "rounded up"
    );
    assert!(matches!(
        eval("999999999999999999 * 999999999999999999 > 1", facts),
        Outcome::Error(_)
    ));
}

#[test]
fn what_is_not_in_the_subset_is_refused() {
    let nested = format!("{}true{}", "(".repeat(40), ")".repeat(40));
    let chain = vec!["1"; 300].join("+");
    let long = " ".repeat(5000);
    for text in [
        "",
        " ",
        "1 +",
        "(",
        ")",
        ".",
        "/",
        "1 / 2",
        "5 % 2",
        "request.x =~ 'a'",
        "request",
        "[1][0]",
        "1.5e3 > 1",
        "0x10 == 16",
        "1u == 1",
        "b'abc' == 'x'",
        "r'a' == 'a'",
        "'a",
        "'a\nb' == 'c'",
        "\"\"\"a\"\"\" == 'a'",
        "'\\x41' == 'A'",
        "{'a': 1}",
        "request.l.exists(x, x == 1)",
        "size()",
        "has(1)",
        "has(request)",
        "foo(1)",
        "user.name == 'x'",
        "true true",
        "true && ",
        "1 == 1 ? true",
        "[[1]] == [[1]]",
        "request.1",
        "&& true",
        "true & false",
        "null == null",
        "type(1) == int",
        "request.x.y.z(",
        "!",
        "-",
        "true ? : false",
        "0.0000000001 > 0",
        "in in in",
        nested.as_str(),
        chain.as_str(),
        long.as_str(),
    ] {
        let refused = match Expression::parse(text) {
            Err(error) => error.at <= text.len() && !error.message.is_empty(),
            Ok(expression) => Types::default().check(&expression, &Type::Bool).is_err(),
        };
        assert!(refused, "{text}");
    }
}

#[test]
fn decisions_round_trip() {
    let facts = Facts::from_json(r#"{"request":{"route":"/x","q":"a\"\\\n\u0001é"},"model":{"group":"fraud"},"tenant":{"region":"eu"},"at_stake":12.5}"#).unwrap();
    assert_eq!(Facts::from_json(&facts.canonical()).unwrap(), facts);
    let bare = Environment::bare(Currency::new("USD").unwrap(), Price(13_000_000), 1);
    let decision = Decision::new(EXAMPLE, &facts, &bare);
    let bytes = decision.encode();
    let again = Decision::decode(&bytes).unwrap();
    assert_eq!(again, decision);
    assert_eq!(again.make(), decision.make());
    assert_eq!(again.environment_digest(), bare.digest());
    assert_eq!(
        again.policy_digest(),
        Policy::parse(EXAMPLE).unwrap().digest()
    );
    for cut in 0..bytes.len() {
        assert!(Decision::decode(&bytes[..cut]).is_err());
    }
}

/// A policy as data, so that rules can be added and taken away.
#[derive(Debug, Clone)]
struct Rules(Vec<String>);

impl Rules {
    fn text(&self) -> String {
        format!(
            "currency = \"USD\"\n[impact]\nlow=1\nmoderate=50\nhigh=5000\n{}",
            self.0.join("\n")
        )
    }
}

fn condition() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("true".to_string()),
        Just("request.route == \"/pay\"".to_string()),
        (0..100_u32).prop_map(|n| format!("request.amount > {n}.5")),
        (0..100_u32).prop_map(|n| format!("request.amount <= {n} || tenant.region == \"eu\"")),
        Just("has(request.missing) && request.missing".to_string()),
        Just("request.absent == 3".to_string()),
    ]
}

fn rule() -> impl Strategy<Value = String> {
    let timing = prop::sample::select(vec!["before_use", "before_settle", "after_use", "deferred"]);
    let value = prop_oneof![
        (0..1000_u32).prop_map(|n| format!("value = {n}")),
        Just("value = 'request.amount * 2'".to_string()),
        prop::sample::select(vec!["impact = \"low\"", "impact = \"high\""]).prop_map(String::from),
    ];
    let extra = prop_oneof![
        Just(String::new()),
        (1..10_000_u32).prop_map(|n| format!("deadline_ms = {n}")),
        (1..10_000_u32).prop_map(|n| format!("budget = {n}.25")),
        Just("irreversible = true".to_string()),
    ];
    let consequence = (condition(), value, timing, extra, any::<u64>()).prop_map(|(when, value, timing, extra, id)| {
        format!("[[consequence]]\nname = \"r{id}\"\nwhen = '{when}'\n{value}\ntiming = \"{timing}\"\n{extra}\n")
    });
    let require = (
        condition(),
        prop::sample::select(vec!["audit", "replay", "zk"]),
    )
        .prop_map(|(when, rung)| format!("[[require]]\nrung = \"{rung}\"\nwhen = '{when}'\n"));
    let forbid = (
        condition(),
        prop::sample::select(vec!["beacon", "bond:*", "math"]),
    )
        .prop_map(|(when, atom)| format!("[[forbid]]\nassumption = \"{atom}\"\nwhen = '{when}'\n"));
    prop_oneof![3 => consequence, 1 => require, 1 => forbid]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    /// No rule lowers what the others demand: with one more rule, every part of the consequence is at least as strict, and
    /// no plan is cheaper.
    #[test]
    fn strictest_wins(rules in prop::collection::vec(rule(), 1..6), more in rule(), at in any::<prop::sample::Index>(), amount in 0..200_u32, bond in 0..2000_u64) {
        let mut with = rules.clone();
        with.insert(at.index(rules.len() + 1), more);
        let facts = Facts::from_json(&format!(r#"{{"request":{{"route":"/pay","amount":{amount}}},"tenant":{{"region":"us"}}}}"#)).unwrap();
        let judge = |rules: Vec<String>| Policy::parse(&Rules(rules).text()).unwrap().judge(&facts);
        let (before, after) = (judge(rules), judge(with));
        // A rule that no fact reaches refuses less; nothing else changes from judged to unjudged.
        if let (Ok(before), Ok(after)) = (before, after) {
            let (before, after) = (before.consequence, after.consequence);
            prop_assert!(after.value >= before.value);
            prop_assert!(strictness(after.timing) >= strictness(before.timing));
            prop_assert!(after.irreversible || !before.irreversible);
            prop_assert!(after.deadline_micros.unwrap_or(u64::MAX) <= before.deadline_micros.unwrap_or(u64::MAX));
            prop_assert!(after.budget.unwrap_or(Price(u64::MAX)) <= before.budget.unwrap_or(Price(u64::MAX)));
            for demand in &before.require {
                prop_assert!(after.require.iter().any(|other| other.what == demand.what));
            }
            for demand in &before.forbid {
                prop_assert!(after.forbid.iter().any(|other| other.what == demand.what));
            }
            let environment = supply(bond);
            let cost = |consequence| plan(consequence, &environment).map_or(u64::MAX, |plan| plan.price.0);
            let cheapest = cost(&before);
            prop_assert!(cost(&after).saturating_add((cheapest >> 40) + 1) >= cheapest);
        }
    }

    #[test]
    fn nothing_panics(text in "\\PC{0,200}", facts in "\\PC{0,100}") {
        let _ = Expression::parse(&text);
        let _ = Policy::parse(&text);
        let _ = Policy::parse(&format!("currency = \"USD\"\n[[consequence]]\nname = \"a\"\nvalue = 1\nwhen = '{text}'"));
        let _ = Facts::from_json(&facts);
    }

    #[test]
    fn tokens_in_any_order_do_not_panic(tokens in prop::collection::vec(prop::sample::select(vec![
        "request", ".", "x", "(", ")", "[", "]", "&&", "||", "!", "-", "+", "*", "<", "==", "in", "has", "size", "'a'", "1", "0.5", "true", "?", ":", ",", "startsWith",
    ]), 0..40)) {
        let text = tokens.join(" ");
        if let Ok(expression) = Expression::parse(&text) {
            let mut types = Types::default();
            if types.check(&expression, &Type::Bool).is_ok() {
                let facts = Facts::from_json(r#"{"request":{"x":1}}"#).unwrap().value();
                // A checked expression gives a truth value, misses a fact, or meets a fact of another type.
                prop_assert!(!matches!(expression.evaluate(&facts, &types), Outcome::Value(Value::Number(_) | Value::Text(_))));
            }
        }
    }
}

fn supply(bond: u64) -> Environment {
    use carat_policy::environment::{Audits, Bond, Calibration, Prover, Replicas};
    use carat_policy::{Detection, Fraction};
    use carat_receipt::Label;
    let measured = |cpu| Calibration {
        backend: Label::new("t").unwrap(),
        mean_cpu_micros: cpu,
        p50_micros: cpu,
        p99_micros: cpu,
        count: 9,
        measured_at: 1,
    };
    Environment {
        execute: Some(measured(1000)),
        audits: Some(Audits {
            independent: 1,
            fee: Price::ZERO,
            detection: Detection::PERFECT,
            window_secs: 60,
        }),
        bond: Some(Bond {
            name: Label::new("b").unwrap(),
            allocated: units(bond),
            withheld: Micros::ZERO,
            open: Micros::ZERO,
            clawback: true,
            joint_forfeiture: true,
        }),
        replicas: Some(Replicas {
            available: 9,
            fee: Price(5),
            corrupt: "0.2".parse().unwrap(),
            shared_fault: Fraction::ZERO,
            round_trip_micros: 5,
        }),
        prover: Some(Prover {
            prove: Some(measured(3_000_000)),
            cap: Some(units(100_000)),
            deferred_secs: None,
            batch: None,
        }),
        ..Environment::bare(Currency::new("USD").unwrap(), Price(13_000_000), 1)
    }
}
