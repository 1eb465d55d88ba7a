//! The server through the real binary: what callers see.

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::Sandbox;
use common::server::{Answer, Server};
use serde_json::{Value, json};

const OPEN: &str = "access = \"open\"";

fn inputs(sandbox: &Sandbox) -> Value {
    let text = fs::read_to_string(sandbox.path("tumor.json")).expect("read the input");
    serde_json::from_str(&text).expect("JSON")
}

fn request(sandbox: &Sandbox) -> Value {
    json!({ "inputs": inputs(sandbox) })
}

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

/// Waits for a job and gives it.
fn finished(server: &Server, job: &str) -> Value {
    until("the job", || {
        let json = server.get(&format!("/v1/jobs/{job}")).expect(200).json();
        (json["state"] != "queued").then_some(json)
    })
}

/// Fetches receipt and opening under the names `NAME.carat` and `NAME.carat-open`.
fn fetch(sandbox: &Sandbox, server: &Server, id: &str, name: &str) {
    for (path, extension) in [("", "carat"), ("/opening", "carat-open")] {
        let answer = server.get(&format!("/v1/receipts/{id}{path}")).expect(200);
        fs::write(sandbox.path(&format!("{name}.{extension}")), answer.body).expect("write");
    }
}

#[test]
fn an_answer_verifies_and_can_be_upgraded() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(&sandbox, OPEN);
    let nonce = "00112233445566778899aabbccddeeff";
    let mut body = request(&sandbox);
    body["nonce"] = json!(nonce);
    let answer = server
        .infer(&[("carat-audience", "example.org")], &body)
        .expect(200);
    let id = answer.header("carat-receipt-id").to_string();
    let json = answer.json();
    assert_eq!(json["receipt_id"], id);
    assert_eq!(json["outputs"][0]["label"]["name"], "benign");
    // There is no Trust file, so there is no amount; and no checkpoint yet, or just one.
    assert!(
        answer
            .header("carat-good-for")
            .starts_with("none; pending=?")
    );

    fetch(&sandbox, &server, &id, "t");
    let question = ["--nonce", nonce, "--audience", "example.org"];
    let replay = ["--replay", "tumor.carat-model", "--input", "tumor.json"];
    let args = [&["verify", "t.carat"][..], &replay, &question].concat();
    let appraisal = sandbox.json(&args, 0);
    assert_eq!(appraisal["receipt"]["receipt_id"], id);
    // Another's nonce is another question.
    let args = [
        &["verify", "t.carat"][..],
        &replay,
        &["--nonce", "ffffffffffffffff"],
    ]
    .concat();
    sandbox.ends(&args, 1);

    let url = format!("http://{}", server.address);
    let quote = sandbox.json(&["upgrade", "t.carat", "--server", &url, "--quote"], 0);
    assert_eq!(quote["rung"], "zk");
    let proven = sandbox.json(&["upgrade", "t.carat", "--server", &url], 0);
    assert_eq!(
        (&proven["receipt_id"], &proven["proofs"]),
        (&json!(id), &json!(1))
    );
    let model = [
        "--model",
        "tumor.carat-model",
        "--input",
        "tumor.json",
        "--open",
        "t.carat-open",
    ];
    let args = [
        &["verify", "t.carat", "--amount", "900USD"][..],
        &model,
        &question,
    ]
    .concat();
    let appraisal = sandbox.json(&args, 0);
    let rungs: Vec<&Value> = appraisal["good_for"]
        .as_array()
        .expect("sets")
        .iter()
        .filter(|set| set["rung"] == "proof")
        .collect();
    assert_eq!(rungs.len(), 1);
    // A second time there is nothing to do, and nothing is doubled.
    let again = sandbox.json(&["upgrade", "t.carat", "--server", &url], 0);
    assert_eq!(again["proofs"], 1);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn amounts_are_told_under_the_operators_trust_file() {
    let sandbox = Sandbox::with_model();
    sandbox.good(&[
        "trust",
        "new",
        "--name",
        "us",
        "--currency",
        "USD",
        "-o",
        "trust.toml",
    ]);
    let server = Server::start(&sandbox, &format!("{OPEN}\ntrust = \"trust.toml\""));
    let answer = server.infer(&[], &request(&sandbox)).expect(200);
    assert!(
        answer
            .header("carat-good-for")
            .starts_with("0 USD; pending=?"),
        "{answer:?}"
    );
    let json = answer.json();
    assert_eq!(json["good_for"]["trust"]["name"], "us");
    assert_eq!(json["good_for"]["sets"][0]["rung"], "signature");
}

#[test]
fn the_same_request_gives_the_same_receipt() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(&sandbox, OPEN);
    let body = request(&sandbox);
    let key = [("idempotency-key", "one")];
    let mut ids: Vec<String> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| server.infer(&key, &body).expect(200)))
            .collect();
        let id = |answer: Answer| answer.header("carat-receipt-id").to_string();
        asked
            .into_iter()
            .map(|one| id(one.join().expect("asked")))
            .collect()
    });
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1, "eight at once, one receipt");
    assert_eq!(server.metric("carat_receipts_total "), 1);
    for (headers, change) in [
        (vec![key[0], ("carat-nonce", "0011223344556677")], None),
        (vec![key[0]], Some(json!({ "impact": "low" }))),
    ] {
        let mut other = body.clone();
        for (name, value) in change
            .iter()
            .flat_map(|more| more.as_object().expect("object"))
        {
            other[name] = value.clone();
        }
        let refused = server.infer(&headers, &other).expect(409);
        assert_eq!(refused.json()["kind"], "key-reused");
    }
    server.kill();
    let server = Server::again(&sandbox);
    let answer = server.infer(&key, &body).expect(200);
    assert_eq!(answer.header("carat-receipt-id"), ids[0]);
    assert_eq!(answer.header("idempotent-replayed"), "true");
    let fresh = server
        .infer(&[("idempotency-key", "two")], &body)
        .expect(200);
    assert_ne!(fresh.header("carat-receipt-id"), ids[0]);
    assert_eq!(server.metric("carat_log_entries "), 2);
}

#[test]
fn tenants_see_nothing_of_each_other() {
    let sandbox = Sandbox::with_model();
    let new = |args: &[&str]| {
        let json = sandbox.json(&[&["api-key", "new"], args].concat(), 0);
        format!("Bearer {}", json["key"].as_str().expect("key"))
    };
    let acme = new(&["--tenant", "acme", "--scope", "infer,read,upgrade,erase"]);
    let other = new(&["--tenant", "other"]);
    let reader = new(&["--tenant", "acme", "--scope", "read"]);
    let server = Server::start(&sandbox, "");
    let body = request(&sandbox);
    server.infer(&[], &body).expect(401);
    server
        .infer(&[("authorization", &reader)], &body)
        .expect(403);
    let of = |key: &str, name: &str| {
        let headers = [("authorization", key), ("idempotency-key", name)];
        let answer = server.infer(&headers, &body).expect(200);
        answer.header("carat-receipt-id").to_string()
    };
    let id = of(&acme, "k");
    assert_ne!(of(&other, "k"), id, "keys of two tenants do not meet");
    let ask = |method: &str, key: &str, path: &str| {
        let path = format!("/v1/receipts/{id}{path}");
        server
            .ask(method, &path, &[("authorization", key)], &[])
            .status
    };
    for path in ["", "/opening", "/quote"] {
        assert_eq!(ask("GET", &reader, path), 200, "{path}");
        assert_eq!(ask("GET", &other, path), 404, "{path}");
    }
    assert_eq!(ask("POST", &other, "/upgrade"), 404);
    assert_eq!(ask("POST", &reader, "/upgrade"), 403);
    assert_eq!(ask("DELETE", &reader, "/opening"), 403);
    assert_eq!(ask("DELETE", &acme, "/opening"), 204);
    assert_eq!(ask("GET", &acme, "/opening"), 410);
    assert_eq!(ask("GET", &acme, ""), 200, "the receipt stays");

    let id_of_key = &reader["Bearer carat_".len()..][..8];
    sandbox.good(&["api-key", "revoke", id_of_key]);
    until("the revocation", || {
        (ask("GET", &reader, "") == 401).then_some(())
    });
    // No secret reached the log.
    let log = fs::read_to_string(sandbox.path("server.log")).expect("log");
    for key in [&acme, &other, &reader] {
        assert!(!log.contains(&key["Bearer carat_".len() + 9..]));
    }
}

#[test]
fn the_policy_in_force_is_the_file_that_can_be_used() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(&sandbox, OPEN);
    let body = request(&sandbox);
    let refused = server
        .infer(&[("carat-at-stake", "100000000USD")], &body)
        .expect(422)
        .json();
    assert_eq!(refused["kind"], "refused");
    // It says what would be covered.
    assert_eq!(refused["decision"]["refusal"]["covered"]["rung"], "zk");
    let bought = server
        .infer(&[("carat-at-stake", "50USD")], &body)
        .expect(200);
    assert_eq!(bought.json()["plan"]["rung"], "zk");
    assert_eq!(
        server.infer(&[], &body).expect(200).json()["plan"],
        Value::Null
    );

    // The proof came with the answer.
    let id = bought.header("carat-receipt-id").to_string();
    fetch(&sandbox, &server, &id, "p");
    let args = [
        "verify",
        "p.carat",
        "--model",
        "tumor.carat-model",
        "--input",
        "tumor.json",
    ];
    sandbox.json(
        &[&args[..], &["--open", "p.carat-open", "--amount", "50USD"]].concat(),
        0,
    );

    let policy = |value: &str, mode: &str| {
        let text = format!(
            "currency = \"USD\"\nepsilon = 0.1\nmode = \"{mode}\"\n[[consequence]]\nname = \"all\"\nwhen = 'true'\nvalue = '{value}'\ntiming = \"before_settle\"\n"
        );
        let path = sandbox.path("home/node/policy.toml");
        fs::write(sandbox.path("policy.new"), text).expect("write");
        fs::rename(sandbox.path("policy.new"), path).expect("rename");
    };
    let status = || server.infer(&[], &body).status;
    policy("100000000.0", "enforce");
    until("the new policy", || (status() == 422).then_some(()));
    // What cannot be used changes nothing.
    policy("no such (", "enforce");
    until("the refusal of the file", || {
        (server.metric("carat_policy_refreshes_refused_total ") > 0).then_some(())
    });
    assert_eq!(status(), 422);
    // Shadow: served as if there were no policy, and the difference is recorded.
    policy("100000000.0", "shadow");
    until("the shadow", || (status() == 200).then_some(()));
    assert_eq!(server.infer(&[], &body).json()["plan"], Value::Null);
    let past = fs::read_to_string(sandbox.path("home/node/decisions.jsonl")).expect("decisions");
    let last: Value = serde_json::from_str(past.lines().last().expect("a line")).expect("JSON");
    assert_eq!(
        (&last["served"], &last["rung"]),
        (&json!(true), &Value::Null)
    );
}

#[test]
fn the_open_inference_protocol_in_json_and_bytes() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(&sandbox, OPEN);
    assert_eq!(server.get("/v2/health/ready").status, 200);
    assert_eq!(server.get("/v2").expect(200).json()["name"], "carat");
    let about = server.get("/v2/models/tumor").expect(200).json();
    let version = about["versions"][0]
        .as_str()
        .expect("a version")
        .to_string();
    let input = &about["inputs"][0];
    let features = &inputs(&sandbox)["features"][0];
    let post = |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        server.ask("POST", &format!("/v2/models/tumor{path}"), headers, body)
    };
    let tensor =
        json!({ "name": input["name"], "shape": [1, 30], "datatype": "FP64", "data": features });
    let body = json!({ "id": "7", "inputs": [tensor], "parameters": { "carat_nonce": "0011223344556677" } });
    let json = post("/infer", &[], body.to_string().as_bytes()).expect(200);
    let first = json.json();
    assert_eq!(
        (&first["id"], &first["model_name"]),
        (&json!("7"), &json!("tumor"))
    );
    assert_eq!(
        first["parameters"]["carat_receipt_id"],
        json.header("carat-receipt-id")
    );

    let numbers = features.as_array().expect("numbers");
    let bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|n| n.as_f64().expect("number").to_le_bytes())
        .collect();
    let tensor = json!({
        "name": input["name"], "shape": [1, 30], "datatype": "FP64",
        "parameters": { "binary_data_size": bytes.len() },
    });
    let head =
        json!({ "inputs": [tensor], "parameters": { "binary_data_output": true } }).to_string();
    let length = head.len().to_string();
    let header = ("inference-header-content-length", length.as_str());
    let body = [head.as_bytes(), &bytes].concat();
    let answer = post(&format!("/versions/{version}/infer"), &[header], &body).expect(200);
    let cut: usize = answer
        .header("inference-header-content-length")
        .parse()
        .expect("a number");
    let values: Vec<f64> = answer.body[cut..]
        .as_chunks::<8>()
        .0
        .iter()
        .map(|eight| f64::from_le_bytes(*eight))
        .collect();
    assert_eq!(
        json!(values),
        first["outputs"][0]["data"],
        "the same answer in both forms"
    );

    post("/versions/none/infer", &[header], &body).expect(404);
    let error = post("/infer", &[header], &body[..body.len() - 1])
        .expect(400)
        .json();
    assert!(
        error["error"]
            .as_str()
            .is_some_and(|text| text.contains("body ends")),
        "{error}"
    );
    post("/infer", &[header], &[body.as_slice(), b"x"].concat()).expect(400);
    post(
        "/infer",
        &[("inference-header-content-length", "999999")],
        &body,
    )
    .expect(400);
}

#[test]
fn what_cannot_be_served_is_refused_in_words() {
    let sandbox = Sandbox::with_model();
    let more =
        format!("{OPEN}\n[limits]\nbody_bytes = 2000\nrequests_per_second = 1000\nburst = 1000");
    let server = Server::start(&sandbox, &more);
    let body = request(&sandbox).to_string();
    let json = ("content-type", "application/json");
    let post = |headers: &[(&str, &str)], body: &str| {
        server.ask("POST", "/v1/models/tumor/infer", headers, body.as_bytes())
    };
    let cases: Vec<(Answer, u16, &str)> = vec![
        (post(&[json], "{"), 400, "bad-request"),
        (
            post(&[json], "{\"inputs\":[[1,2]],\"x\":1}"),
            400,
            "bad-request",
        ),
        (post(&[json], "{\"inputs\":[[1,2]]}"), 422, "bad-input"),
        (post(&[json], &"[".repeat(1900)), 400, "bad-request"),
        (post(&[json], &" ".repeat(2001)), 413, "too-large"),
        (
            post(&[json, ("content-encoding", "gzip")], &body),
            415,
            "unsupported-encoding",
        ),
        (post(&[], &body), 415, "unsupported-media-type"),
        (
            post(&[json, ("carat-nonce", "zz")], &body),
            400,
            "bad-request",
        ),
        (
            post(&[json, ("carat-at-stake", "much")], &body),
            400,
            "bad-request",
        ),
        (
            post(&[json, ("carat-at-stake", "5EUR")], &body),
            400,
            "bad-request",
        ),
        (
            post(
                &[json, ("carat-facts", r#"{"tenant":{"region":"x"}}"#)],
                &body,
            ),
            400,
            "bad-request",
        ),
        (
            post(&[json, ("carat-facts", r#"{"at_stake":1}"#)], &body),
            400,
            "bad-request",
        ),
        (
            post(&[json, ("carat-impact", "huge")], &body),
            400,
            "bad-request",
        ),
        (
            post(&[("content-type", "application/x-npy")], "\u{93}NUMPY"),
            422,
            "bad-input",
        ),
        (server.get("/v1/receipts/../../key"), 404, "not-found"),
        (server.get("/v1/receipts/00"), 404, "not-found"),
        (server.get("/v1/jobs/00"), 404, "not-found"),
        (server.get("/log/tile/..%2f..%2fkey"), 404, "not-found"),
        (
            server.ask(
                "POST",
                "/v1/models/..%2ftumor/infer",
                &[json],
                body.as_bytes(),
            ),
            404,
            "not-found",
        ),
        (
            server.ask("PUT", "/v1/models", &[], &[]),
            405,
            "method-not-allowed",
        ),
    ];
    for (i, (answer, status, kind)) in cases.into_iter().enumerate() {
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "case {i}"
        );
        let json = answer.expect(status).json();
        assert_eq!(json["kind"], *kind, "case {i}");
        assert!(
            json["detail"].as_str().is_some_and(|text| text.len() > 10),
            "case {i}"
        );
    }
    assert_eq!(
        server.metric("carat_log_entries "),
        0,
        "nothing of it was accepted"
    );
    post(&[json], &body).expect(200);
}

#[test]
fn overload_is_said_at_once_and_nothing_accepted_is_lost() {
    let sandbox = Sandbox::with_model();
    let more = format!(
        "{OPEN}\nworkers = 1\n[limits]\nqueue = 1\njobs = 3\nrequests_per_second = 5\nburst = 20"
    );
    let server = Server::start(&sandbox, &more);
    let body = request(&sandbox);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..40)
            .map(|_| scope.spawn(|| server.infer(&[], &body)))
            .collect();
        asked
            .into_iter()
            .map(|one| one.join().expect("asked"))
            .collect()
    });
    let (accepted, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 200);
    assert!(!accepted.is_empty() && !refused.is_empty());
    for answer in refused {
        let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
        assert!(seconds >= 1);
        assert_eq!(answer.expect(429).json()["kind"], "overloaded");
    }
    assert_eq!(server.metric("carat_log_entries "), accepted.len() as u64);
    assert!(server.metric("carat_overloads_total ") > 0);
}

#[test]
fn jobs_go_on_after_a_restart() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(&sandbox, OPEN);
    let body = request(&sandbox);
    let answer = server.infer(&[], &body).expect(200);
    let receipt = answer.header("carat-receipt-id").to_string();
    let later = |i: usize| {
        let key = format!("job {i}");
        let headers = [("prefer", "respond-async"), ("idempotency-key", &key)];
        let answer = server.infer(&headers, &body).expect(202);
        assert!(answer.header("location").starts_with("/v1/jobs/"));
        answer.json()["job_id"].as_str().expect("id").to_string()
    };
    let mut jobs: Vec<String> = (0..20).map(later).collect();
    let upgrade = server.ask("POST", &format!("/v1/receipts/{receipt}/upgrade"), &[], &[]);
    jobs.push(
        upgrade.expect(202).json()["job_id"]
            .as_str()
            .expect("id")
            .to_string(),
    );
    server.kill();
    let server = Server::again(&sandbox);
    let mut receipts: Vec<String> = jobs
        .iter()
        .map(|job| {
            let done = finished(&server, job);
            assert_eq!(done["state"], "done", "{done:#}");
            done["receipt_id"].as_str().expect("receipt").to_string()
        })
        .collect();
    assert_eq!(
        receipts.pop(),
        Some(receipt.clone()),
        "the upgraded one is the same receipt"
    );
    receipts.sort();
    receipts.dedup();
    assert_eq!(receipts.len(), 20);
    assert_eq!(server.metric("carat_log_entries "), 21);
    // The same request again is the same job.
    let headers = [("prefer", "respond-async"), ("idempotency-key", "job 3")];
    assert_eq!(
        server.infer(&headers, &body).expect(202).json()["job_id"],
        jobs[3]
    );
    // What cannot be done is said, and does not hold up the others.
    fetch(&sandbox, &server, &receipt, "u");
    let file = fs::read(sandbox.path("u.carat")).expect("receipt");
    assert!(file.len() > 20_000, "with its proof");
}

#[test]
fn an_auditor_finds_what_the_server_answered() {
    let sandbox = Sandbox::with_model();
    fs::create_dir_all(sandbox.path("home/node")).expect("make");
    let environment = r#"schema = "carat-environment/v1"
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
    fs::write(sandbox.path("home/node/environment.toml"), environment).expect("write");
    let policy = r#"currency = "USD"
epsilon = 0.1
mode = "enforce"
[[consequence]]
name = "all"
when = 'true'
value = '500.0'
timing = "before_settle"
"#;
    fs::write(sandbox.path("home/node/policy.toml"), policy).expect("write");
    let server = Server::start(&sandbox, OPEN);
    let body = request(&sandbox);
    // About a third of them is drawn.
    for _ in 0..40 {
        let plan = &server.infer(&[], &body).expect(200).json()["plan"];
        assert_eq!(plan["rung"], "signature+audit");
    }
    assert_eq!(server.terminate(), Some(0));
    let beacon = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let args = [
        "audit",
        "sample",
        "--beacon",
        beacon,
        "--data-dir",
        "home/node",
    ];
    let report = sandbox.json(&[&args[..], &["--model", "tumor.carat-model"]].concat(), 0);
    let count = |name: &str| {
        report[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name} in {report:#}"))
    };
    assert!(count("drawn") > 0, "{report:#}");
    assert_eq!(count("clean"), count("drawn"), "{report:#}");
}

#[test]
fn slow_callers_hold_nothing_for_long() {
    let sandbox = Sandbox::with_model();
    let more = format!("{OPEN}\n[limits]\nconnections = 2\nheader_seconds = 1");
    let server = Server::start(&sandbox, &more);
    // Both places are taken by callers that never finish their head.
    let slow: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).expect("connects");
            stream
                .write_all(b"GET /health/live HTTP/1.1\r\nhost: ")
                .expect("sent");
            stream
        })
        .collect();
    server.get("/health/live").expect(200);
    for mut stream in slow {
        let mut rest = Vec::new();
        // Closed, with or without a word.
        let _ = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
    }
    // An idle connection does not hold up the end.
    let _idle = TcpStream::connect(server.address).expect("connects");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_full_disk_is_refused_before_it_is_full() {
    let sandbox = Sandbox::with_model();
    let more = format!("{OPEN}\n[limits]\nfree_bytes = 9000000000000000000");
    let server = Server::start(&sandbox, &more);
    let answer = server.infer(&[], &request(&sandbox)).expect(507);
    assert!(
        answer.json()["detail"]
            .as_str()
            .is_some_and(|text| text.contains("free_bytes"))
    );
    server.get("/health/live").expect(200);
    server.get("/health/ready").expect(507);
}

#[test]
fn a_server_starts_only_with_what_it_can_stand_by() {
    let sandbox = Sandbox::with_model();
    let model = "[[model]]\nname = \"tumor\"\npath = \"tumor.carat-model\"\n";
    let check = |text: &str, code: i32| {
        fs::write(sandbox.path("serve.toml"), text).expect("write");
        sandbox
            .ends(&["serve", "--config", "serve.toml", "--check"], code)
            .err
    };
    assert!(check(model, 2).contains("carat api-key new"));
    let open = format!("{OPEN}\nlisten = \"0.0.0.0:1\"\n{model}");
    assert!(check(&open, 2).contains("anybody"));
    assert!(check(&format!("nonsense = 1\n{model}"), 2).contains("nonsense"));
    let policy = format!("{OPEN}\npolicy = \"none.toml\"\n{model}");
    assert!(check(&policy, 12).contains("none.toml"));
    check(&format!("{OPEN}\n{model}"), 0);

    // Damage is found at the start and nothing is changed.
    let server = Server::start(&sandbox, OPEN);
    server.infer(&[], &request(&sandbox)).expect(200);
    let second = sandbox.ends(&["serve", "--config", "serve.toml"], 18);
    assert!(second.err.contains("another process"), "{}", second.err);
    assert_eq!(server.terminate(), Some(0));
    // The log of another day: the store knows an entry that is not there.
    fs::rename(sandbox.path("home/node/log"), sandbox.path("log.kept")).expect("rename");
    let ran = sandbox.ends(&["serve", "--config", "serve.toml"], 15);
    assert!(ran.err.contains("do not belong together"), "{}", ran.err);
    fs::remove_dir_all(sandbox.path("home/node/log")).expect("remove");
    fs::rename(sandbox.path("log.kept"), sandbox.path("home/node/log")).expect("rename");
    let server = Server::again(&sandbox);
    assert_eq!(server.metric("carat_log_entries "), 1);
    assert_eq!(server.terminate(), Some(0));

    // A damaged byte in what the store kept of the receipt: it is missed, because the log has its entry.
    let journal = fs::read_dir(sandbox.path("home/node/store"))
        .expect("the store")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|of| of == "jnl"))
        .expect("a journal");
    let mut bytes = fs::read(&journal).expect("read");
    let statement = b"integer/v1";
    let at = bytes
        .windows(statement.len())
        .position(|window| window == statement)
        .expect("the receipt's Statement");
    bytes[at] ^= 1;
    fs::write(&journal, bytes).expect("write");
    let ran = sandbox.ends(&["serve", "--config", "serve.toml"], 15);
    assert!(ran.err.contains("restore"), "{}", ran.err);
}
