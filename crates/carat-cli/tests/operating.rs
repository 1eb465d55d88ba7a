//! What an operator sets and sees: budgets, facts, statistics and audits of a server that runs. Through the real binary.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::Sandbox;
use common::server::{Answer, Server};
use serde_json::{Value, json};

const OPEN: &str = "access = \"open\"";

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{what} did not come");
}

fn request(sandbox: &Sandbox) -> Value {
    let text = fs::read_to_string(sandbox.path("tumor.json")).expect("read the input");
    json!({ "inputs": serde_json::from_str::<Value>(&text).expect("JSON") })
}

fn node_file(sandbox: &Sandbox, name: &str, text: &str) {
    fs::create_dir_all(sandbox.path("home/node")).expect("folder");
    fs::write(sandbox.path("home/node").join(name), text).expect("write");
}

/// A price in units, out of a text such as `0.53 USD`.
fn units(text: &Value) -> f64 {
    let text = text.as_str().expect("a price");
    let number = text.strip_suffix(" USD").expect("in USD");
    number.parse().expect("a number")
}

#[test]
fn a_budget_holds_across_kills_and_its_refusal_says_what_is_enough() {
    let sandbox = Sandbox::with_model();
    let environment = "schema = \"carat-environment/v1\"\ncurrency = \"USD\"\n[cpu]\nsecond = 1\nas_of = 1785542400\n";
    node_file(&sandbox, "environment.toml", environment);
    let server = Server::start(&sandbox, OPEN);
    let body = request(&sandbox);
    let plain = server.infer(&[], &body).expect(200);
    let id = plain.header("carat-receipt-id").to_string();
    let quote = server.get(&format!("/v1/receipts/{id}/quote")).expect(200);
    let price = units(&quote.json()["price"]);
    assert!(price > 0.001, "{price}");
    assert_eq!(server.terminate(), Some(0));

    // Room for one proof and a half.
    let most = format!("{:.6}USD", 1.5 * price);
    let server = Server::start(&sandbox, &format!("{OPEN}\n[budget]\nday = \"{most}\""));
    let stake = [("carat-at-stake", "50USD")];
    let bought = server.infer(&stake, &body).expect(200);
    assert_eq!(bought.json()["plan"]["rung"], "zk");
    let refused = |server: &Server| {
        let problem: Answer = server.infer(&stake, &body).expect(422);
        assert!(problem.header("retry-after").parse::<u64>().is_ok());
        problem.json()
    };
    let problem = refused(&server);
    assert_eq!(problem["kind"], "budget");
    let decision = &problem["decision"];
    assert_eq!(decision["budget"]["limit"], "budget.day");
    let (left, asked) = (&decision["budget"]["left"], &decision["budget"]["price"]);
    assert!(units(left) < units(asked), "{decision}");
    assert!((units(asked) - price).abs() < 1e-6, "{decision}");
    // What would be enough is said, and it is not bought in a weaker form instead.
    assert_eq!(decision["refusal"]["sufficient"]["rung"], "zk");
    assert_eq!(decision["refusal"]["sufficient"]["price"], *asked);
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|text| text.contains("budget.day"))
    );
    // An upgrade costs as much, and its refusal is signed.
    let upgrade = format!("/v1/receipts/{id}/upgrade");
    let problem = server.ask("POST", &upgrade, &[], &[]).expect(422).json();
    assert_eq!(problem["kind"], "budget");
    assert!(problem["refusal"].is_string());
    // What costs nothing is served.
    server.infer(&[], &body).expect(200);
    server.kill();
    let server = Server::again(&sandbox);
    assert_eq!(refused(&server)["kind"], "budget");
    let url = format!("http://{}", server.address);
    let stats = sandbox.json(&["stats", "--url", &url], 0);
    let day = &stats["spending"]["day"];
    assert!((units(&day["spent"]) - price).abs() < 1e-6, "{day}");
    assert!((units(&day["left"]) - price / 2.0).abs() < 1e-4, "{day}");
    assert_eq!(
        day["allowed"].as_str().map(|text| text.ends_with(" USD")),
        Some(true)
    );
    let own = &stats["spending"]["tenants"]["local"]["day"]["spent"];
    assert_eq!(own, &day["spent"]);
    let metrics = String::from_utf8(server.get("/metrics").expect(200).body).expect("text");
    for name in [
        "carat_spent{period=\"day\"} ",
        "carat_budget_left{period=\"day\"} ",
    ] {
        assert!(metrics.contains(name), "{name}");
    }
    assert_eq!(server.terminate(), Some(0));
    // Without the server the counts are there as well.
    let text = sandbox.good(&["stats"]).out;
    assert!(text.contains("Spent today"), "{text}");

    // A budget in another currency would mean nothing.
    let euros = format!("{OPEN}\n[budget]\nday = \"5EUR\"");
    let model = "[[model]]\nname = \"tumor\"\npath = \"tumor.carat-model\"\n";
    fs::write(sandbox.path("serve.toml"), format!("{euros}\n{model}")).expect("write");
    let said = sandbox.ends(&["serve", "--config", "serve.toml", "--check"], 2);
    assert!(said.err.contains("budget.day"), "{}", said.err);
}

#[test]
fn answers_that_wait_for_a_proof_get_one_together() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(&sandbox, &format!("{OPEN}\nworkers = 2\nprovers = 1"));
    let body = request(&sandbox);
    // One after another, so that the commitment to the weights is there.
    let stake = [("carat-at-stake", "50USD")];
    server.infer(&stake, &body).expect(200);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..12)
            .map(|_| scope.spawn(|| server.infer(&stake, &body).expect(200)))
            .collect();
        // What needs no proof does not wait behind them.
        server.infer(&[], &body).expect(200);
        asked
            .into_iter()
            .map(|one| one.join().expect("asked"))
            .collect()
    });
    let proofs = server.metric("carat_proofs_total ");
    assert!(proofs < 12, "{proofs} proofs for 13 receipts");
    assert_eq!(server.metric("carat_evidence_total{rung=\"proof\"} "), 13);
    for answer in &answers[..2] {
        let id = answer.header("carat-receipt-id");
        for (path, extension) in [("", "carat"), ("/opening", "carat-open")] {
            let file = server.get(&format!("/v1/receipts/{id}{path}")).expect(200);
            fs::write(sandbox.path(&format!("b.{extension}")), file.body).expect("write");
        }
        let args = [
            "verify",
            "b.carat",
            "--model",
            "tumor.carat-model",
            "--input",
        ];
        sandbox.json(
            &[&args[..], &["tumor.json", "--amount", "50USD"]].concat(),
            0,
        );
    }
    assert_eq!(server.terminate(), Some(0));
    let store = &sandbox.json(&["stats"], 0)["store"];
    assert_eq!(
        (&store["proven"], &store["proofs"]),
        (&json!(13), &json!(proofs))
    );
}

const POLICY: &str = r#"
currency = "USD"
[[consequence]]
name = "europe"
when = 'tenant.region == "eu" && model.group == "health"'
value = '40.0'
timing = "before_settle"
[[consequence]]
name = "others"
when = '!(tenant.region == "eu")'
value = '0.0'
timing = "before_settle"
"#;

#[test]
fn the_operator_states_facts_and_explain_shows_them() {
    let sandbox = Sandbox::with_model();
    node_file(&sandbox, "policy.toml", POLICY);
    let new = |tenant: &str| {
        let json = sandbox.json(&["api-key", "new", "--tenant", tenant], 0);
        format!("Bearer {}", json["key"].as_str().expect("key"))
    };
    let (acme, other) = (new("acme"), new("other"));
    let text = "listen = \"127.0.0.1:0\"\n[[model]]\nname = \"tumor\"\npath = \"tumor.carat-model\"\nfacts = { group = \"health\" }\n[tenants.acme.facts]\nregion = \"eu\"\n[tenants.\"*\".facts]\nregion = \"elsewhere\"\n";
    fs::write(sandbox.path("serve.toml"), text).expect("write");
    let server = Server::again(&sandbox);
    let body = request(&sandbox);
    let rung = |key: &str| {
        let answer = server.infer(&[("authorization", key)], &body).expect(200);
        let rung = answer.json()["plan"]["rung"].as_str().map(str::to_string);
        (answer, rung)
    };
    assert_eq!(rung(&other).1.as_deref(), Some("signature"));
    let (answer, bought) = rung(&acme);
    assert_eq!(bought.as_deref(), Some("zk"));
    let id = answer.header("carat-receipt-id");
    for (path, extension) in [("", "carat"), ("/opening", "carat-open")] {
        let path = format!("/v1/receipts/{id}{path}");
        let file = server.ask("GET", &path, &[("authorization", &acme)], &[]);
        fs::write(
            sandbox.path(&format!("f.{extension}")),
            file.expect(200).body,
        )
        .expect("write");
    }
    let args = ["explain", "f.carat", "--open", "f.carat-open"];
    let shown = sandbox.good(&args).out;
    for part in [
        "\"region\":\"eu\"",
        "\"group\":\"health\"",
        "\"name\":\"acme\"",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    // A caller cannot state them.
    let headers = [
        ("authorization", acme.as_str()),
        ("carat-facts", r#"{"tenant":{"region":"us"}}"#),
    ];
    server.infer(&headers, &body).expect(400);
}

const AUDITED: &str = r#"
schema = "carat-environment/v1"
currency = "USD"
[audits]
independent = 3
power = 1
colluding = 0
predictable = 0
window_seconds = 86400
[bond]
name = "bond-1"
allocated = "1000 USD"
clawback = true
joint_forfeiture = true
"#;

const EVERYTHING: &str = r#"
currency = "USD"
p_min = 1
[[consequence]]
name = "all"
when = 'true'
value = '5.0'
timing = "before_settle"
"#;

#[test]
fn statistics_and_audits_while_the_server_runs() {
    let sandbox = Sandbox::with_model();
    node_file(&sandbox, "environment.toml", AUDITED);
    node_file(&sandbox, "policy.toml", EVERYTHING);
    let key = |scope: &str, name: &str| {
        let args = ["api-key", "new", "--tenant", "acme", "--scope", scope];
        let json = sandbox.json(&args, 0);
        let key = json["key"].as_str().expect("key").to_string();
        fs::write(sandbox.path(name), &key).expect("write");
        format!("Bearer {key}")
    };
    let (caller, _) = (
        key("infer,read,upgrade", "caller.txt"),
        key("admin", "admin.txt"),
    );
    let server = Server::start(&sandbox, "");
    let body = request(&sandbox);
    for _ in 0..3 {
        let answer = server
            .infer(&[("authorization", &caller)], &body)
            .expect(200);
        assert_eq!(answer.json()["plan"]["rung"], "signature+audit");
    }
    let url = format!("http://{}", server.address);
    let stats = sandbox.json(&["stats", "--url", &url, "--api-key-file", "admin.txt"], 0);
    assert_eq!(stats["store"]["inferences"], 3);
    assert_eq!(stats["decisions"]["planned"]["signature+audit"], 3);
    assert_eq!(stats["log_entries"], 3);
    // Only the operator sees that.
    for path in ["/v1/admin/stats", "/v1/admin/entries/0"] {
        server.get(path).expect(401);
        server
            .ask("GET", path, &[("authorization", &caller)], &[])
            .expect(403);
    }
    sandbox.ends(&["stats", "--url", &url, "--api-key-file", "caller.txt"], 2);
    // The store is the server's, which is said; with --url the audit asks it.
    until("a checkpoint", || {
        (server.metric("carat_log_published ") == 3).then_some(())
    });
    let node = sandbox.path("home/node");
    let node = node.to_str().expect("UTF-8");
    let sample = [
        "audit",
        "sample",
        "--data-dir",
        node,
        "--model",
        "tumor.carat-model",
    ];
    let sample = [
        &sample[..],
        &["--beacon", "00112233445566778899aabbccddeeff"],
    ]
    .concat();
    sandbox.ends(&sample, 18);
    let asked = [&sample[..], &["--url", &url, "--api-key-file", "admin.txt"]].concat();
    let found = sandbox.json(&asked, 0);
    assert_eq!((&found["drawn"], &found["clean"]), (&json!(3), &json!(3)));
    assert_eq!(server.terminate(), Some(0));
    let stats = sandbox.json(&["stats"], 0);
    assert_eq!(
        (&stats["audits"]["drawn"], &stats["audits"]["clean"]),
        (&json!(3), &json!(3))
    );
}

#[test]
fn receipts_carry_the_nodes_attestation() {
    let sandbox = Sandbox::with_model();
    let attestation = "[attestation]\nsource = \"simulated\"\nattach = \"all\"";
    let server = Server::start(&sandbox, &format!("{OPEN}\n{attestation}"));
    let answer = server.infer(&[], &request(&sandbox)).expect(200);
    let id = answer.header("carat-receipt-id");
    let file = server.get(&format!("/v1/receipts/{id}")).expect(200);
    fs::write(sandbox.path("t.carat"), file.body).expect("write");
    // Valid, bound to the key that signed, and shown for what it is.
    let appraisal = sandbox.json(&["verify", "t.carat"], 3);
    assert_eq!(appraisal["verdict"], "simulated");
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(sandbox.json(&["stats"], 0)["store"]["attestations"], 1);

    // A node that is to attest and cannot does not start.
    let model = "[[model]]\nname = \"tumor\"\npath = \"tumor.carat-model\"\n";
    for (source, part) in [
        ("source = \"hardware\"", "carat tee doctor"),
        (
            "source = \"command\"\ncommand = [\"/bin/false\"]",
            "/bin/false",
        ),
    ] {
        let text = format!("{OPEN}\n[attestation]\n{source}\n{model}");
        fs::write(sandbox.path("serve.toml"), text).expect("write");
        let said = sandbox.ends(&["serve", "--config", "serve.toml"], 16);
        assert!(said.err.contains(part), "{}", said.err);
    }
}

/// Whatever the policy's reason, a refusal says what would be enough, or what to do.
#[test]
fn every_refusal_says_what_would_be_enough() {
    let sandbox = Sandbox::with_model();
    let policy = |rule: &str| {
        let path = sandbox.path("home/node/policy.toml");
        fs::write(
            sandbox.path("policy.new"),
            format!("currency = \"USD\"\n{rule}"),
        )
        .expect("write");
        fs::rename(sandbox.path("policy.new"), path).expect("rename");
    };
    let rule = |more: &str| {
        format!(
            "[[consequence]]\nname = \"all\"\nwhen = 'true'\ntiming = \"before_settle\"\n{more}\n"
        )
    };
    fs::create_dir_all(sandbox.path("home/node")).expect("folder");
    let covered = |decision: &Value| decision["refusal"]["covered"]["amount"].is_string();
    let sufficient = |decision: &Value| decision["refusal"]["sufficient"]["price"].is_string();
    let reason = |part: &'static str| {
        move |decision: &Value| {
            let reason = decision["refusal"]["reason"].as_str();
            reason.is_some_and(|reason| reason.contains(part))
        }
    };
    let dropped = |decision: &Value| {
        let dropped = decision["refusal"]["dropped"].as_array();
        dropped
            .is_some_and(|all| all.iter().all(|one| one["reason"].is_string()) && !all.is_empty())
    };
    type Says<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
    let cases: Vec<(String, Says<'_>)> = vec![
        (rule("value = '5000000.0'"), Box::new(covered)),
        (
            rule("value = '50.0'\nbudget = 0.000000000001"),
            Box::new(sufficient),
        ),
        (
            rule("value = '50.0'\ndeadline_ms = 0"),
            Box::new(sufficient),
        ),
        (
            "[[consequence]]\nname = \"none\"\nwhen = 'false'\nvalue = 1\n".into(),
            Box::new(reason("state the amount")),
        ),
        (
            rule("value = 'request.amount'"),
            Box::new(reason("request.amount")),
        ),
        (
            format!(
                "{}[[forbid]]\nassumption = \"math\"\nwhen = 'true'\n",
                rule("value = '50.0'")
            ),
            Box::new(dropped),
        ),
    ];
    policy(&cases[0].0);
    let server = Server::start(&sandbox, OPEN);
    let body = request(&sandbox);
    for (text, says) in &cases {
        policy(text);
        until(text, || {
            let problem = server.infer(&[], &body).expect(422).json();
            assert_eq!(problem["kind"], "refused", "{problem}");
            let detail = problem["detail"].as_str().unwrap_or_default();
            (says(&problem["decision"]) && detail.len() > 20).then_some(())
        });
    }
}
