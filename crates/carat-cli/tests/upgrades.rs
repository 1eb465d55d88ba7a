//! Promises, refusals and misses of a server, and proofs that are promised with the answer: through the real binary.

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use carat_node::home::Home;
use carat_node::store::{JobKind, JobRecord, JobState, NoticeRecord, Store, StoreOptions, With};
use carat_receipt::{Digest, Label, Notice, ReceiptFile, Said, SignedNotice};
use common::Sandbox;
use common::server::Server;
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

/// Asks for an answer and keeps its receipt and opening under a name.
fn answer(sandbox: &Sandbox, server: &Server, name: &str, headers: &[(&str, &str)]) -> String {
    let id = server.infer(headers, &request(sandbox)).expect(200);
    let id = id.header("carat-receipt-id").to_string();
    fetch(sandbox, server, &id, name);
    id
}

fn fetch(sandbox: &Sandbox, server: &Server, id: &str, name: &str) {
    for (path, extension) in [("", "carat"), ("/opening", "carat-open")] {
        let answer = server.get(&format!("/v1/receipts/{id}{path}"));
        if answer.status == 200 {
            fs::write(sandbox.path(&format!("{name}.{extension}")), answer.body).expect("write");
        }
    }
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address)
}

fn proofs(path: &Path) -> usize {
    let file = ReceiptFile::decode(&fs::read(path).expect("read")).expect("a receipt");
    let kind = |item: &&carat_receipt::Evidence| item.body.kind();
    file.evidence()
        .iter()
        .filter(|item| kind(item) == carat_receipt::evidence::Kind::Proof)
        .count()
}

#[test]
fn a_refusal_is_signed_and_can_be_shown() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(
        &sandbox,
        &format!("{OPEN}\n[tenants.\"*\"]\nupgrades_per_day = 1"),
    );
    let erased = answer(&sandbox, &server, "erased", &[]);
    answer(&sandbox, &server, "first", &[]);
    answer(&sandbox, &server, "second", &[]);
    server
        .ask(
            "DELETE",
            &format!("/v1/receipts/{erased}/opening"),
            &[],
            &[],
        )
        .expect(204);
    let url = url(&server);
    let nonce = "00112233445566778899aabbccddeeff";
    let upgrade = |name: &str, code: i32| {
        let args = ["upgrade", name, "--server", &url, "--nonce", nonce];
        sandbox.ends(&args, code).err
    };
    let said = upgrade("erased.carat", 21);
    assert!(said.contains("erased.refusal.carat-notice"), "{said}");
    let check = |receipt: &str, notice: &str, nonce: &str, code: i32| {
        let args = ["upgrade", receipt, "--check", notice, "--nonce", nonce];
        sandbox.json(&args, code)
    };
    let report = check("erased.carat", "erased.refusal.carat-notice", nonce, 0);
    assert_eq!(
        (&report["genuine"], &report["kind"], &report["reason"]),
        (&json!(true), &json!("refusal"), &json!("erased"))
    );
    // The quota: one was asked for, the next is refused, and that is signed too.
    upgrade("first.carat", 0);
    let said = upgrade("second.carat", 21);
    assert!(said.contains("upgrades_per_day"), "{said}");
    assert_eq!(server.metric("carat_upgrades_refused_total "), 2);
    server.kill();
    // The count is no memory of the process.
    let server = Server::again(&sandbox);
    let asked = server.ask(
        "POST",
        &format!("/v1/receipts/{}/upgrade", id_of(&sandbox, "second.carat")),
        &[],
        &[],
    );
    let problem = asked.expect(429);
    assert!(problem.header("retry-after").parse::<u64>().is_ok());
    assert_eq!(problem.json()["kind"], "quota");
    assert!(problem.json()["refusal"].is_string());
    // What is nobody's receipt is refused without a signature.
    let nobody = format!("/v1/receipts/{}/upgrade", "0".repeat(64));
    let problem = server.ask("POST", &nobody, &[], &[]).expect(404).json();
    assert_eq!(problem["refusal"], Value::Null);

    // Whoever shows another notice, receipt or nonce, or a changed one, shows nothing.
    let refusal = "second.refusal.carat-notice";
    check("second.carat", refusal, nonce, 0);
    check("first.carat", refusal, nonce, 1);
    check("second.carat", refusal, "ffffffffffffffff", 1);
    let mut bytes = fs::read(sandbox.path(refusal)).expect("read");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(sandbox.path("changed.carat-notice"), bytes).expect("write");
    check("second.carat", "changed.carat-notice", nonce, 1);
    sandbox.ends(&["upgrade", "second.carat", "--check", "second.carat"], 1);
}

fn id_of(sandbox: &Sandbox, name: &str) -> String {
    let bytes = fs::read(sandbox.path(name)).expect("read");
    let file = ReceiptFile::decode(&bytes).expect("a receipt");
    file.receipt_id().to_string()
}

#[test]
fn a_promise_is_signed_and_belongs_to_the_job() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(&sandbox, OPEN);
    let id = answer(&sandbox, &server, "a", &[]);
    let path = format!("/v1/receipts/{id}/upgrade");
    let nonce = "0011223344556677";
    let headers = [("carat-nonce", nonce), ("idempotency-key", "one")];
    let accepted = server.ask("POST", &path, &headers, &[]).expect(202).json();
    let by = accepted["promised_by"].as_u64().expect("a time");
    let keep = |name: &str, text: &Value| {
        let text = text.as_str().expect("a notice");
        let bytes = carat_node::call::from_base64(text).expect("base64");
        fs::write(sandbox.path(name), bytes).expect("write");
    };
    keep("a.promise.carat-notice", &accepted["notices"]["promise"]);
    let args = ["upgrade", "a.carat", "--check", "a.promise.carat-notice"];
    let report = sandbox.json(&[&args[..], &["--nonce", nonce]].concat(), 0);
    assert_eq!(
        (&report["kind"], &report["by"], &report["standing"]),
        (&json!("promise"), &json!(by), &json!("promised"))
    );
    // The same request again: the same job and the same promise. Another nonce is another request.
    let again = server.ask("POST", &path, &headers, &[]).expect(202).json();
    assert_eq!(again["job_id"], accepted["job_id"]);
    assert_eq!(again["notices"]["promise"], accepted["notices"]["promise"]);
    let other = [("carat-nonce", "8899aabbccddeeff"), headers[1]];
    server.ask("POST", &path, &other, &[]).expect(409);
    let job = format!("/v1/jobs/{}", accepted["job_id"].as_str().expect("a job"));
    until("the proof", || {
        (server.get(&job).expect(200).json()["state"] == "done").then_some(())
    });
    assert_eq!(server.get(&job).json()["notices"]["miss"], Value::Null);
    fetch(&sandbox, &server, &id, "a");
    let report = sandbox.json(&args, 0);
    assert_eq!(report["standing"], "proof-attached");
    assert_eq!(server.metric("carat_upgrade_deadlines_missed_total "), 0);
}

/// A job whose promised time is over is put into the store of a server that is down, as a kill in the middle leaves one.
fn overdue(sandbox: &Sandbox, receipt: &str) -> String {
    let home = Home::at(sandbox.path("home/node"));
    let key = home.key().expect("reads").expect("a key");
    let record = receipt.parse::<Digest>().expect("an id");
    let store = Store::open(&home.path("store"), StoreOptions::default()).expect("opens");
    let by = 1_700_000_000;
    let notice = Notice {
        issuer: home.issuer_name(&key).expect("a name"),
        issuer_key: key.public(),
        said_at: by - 60,
        receipt: record,
        nonce: None,
        said: Said::Promise {
            rung: Label::new("zk").expect("a name"),
            by,
        },
    };
    let id = [7; 16];
    let job = JobRecord {
        kind: JobKind::Upgrade,
        tenant: "local".into(),
        created: by - 60,
        deadline: by,
        priority: 5,
        sequence: store.next(),
        request: record.as_bytes().to_vec(),
        state: JobState::Queued,
    };
    let promise = NoticeRecord {
        job: id,
        blind: None,
        signed: SignedNotice::sign(notice, &key).expect("signs"),
    };
    let with = With {
        promise: Some(promise),
        ..With::default()
    };
    store.put_job(&id, &job, &with).expect("written");
    hex::encode(id)
}

#[test]
fn a_missed_promise_is_in_the_log_and_the_proof_comes_all_the_same() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(&sandbox, OPEN);
    let id = answer(&sandbox, &server, "late", &[]);
    assert_eq!(server.metric("carat_log_entries "), 1);
    assert_eq!(server.terminate(), Some(0));
    let job = format!("/v1/jobs/{}", overdue(&sandbox, &id));
    let shown = sandbox.json(&["log", "show", "--data-dir", "home/node"], 0);
    let key = shown["verifier_key"].as_str().expect("a key");

    let server = Server::again(&sandbox);
    let done = until("the proof", || {
        let json = server.get(&job).expect(200).json();
        (json["state"] == "done").then_some(json)
    });
    assert_eq!(server.metric("carat_upgrade_deadlines_missed_total "), 1);
    assert_eq!(server.metric("carat_log_entries "), 2);
    fetch(&sandbox, &server, &id, "late");
    assert_eq!(proofs(&sandbox.path("late.carat")), 1);
    // The miss is signed, and the log has it: first its promise to include it, then the proof.
    let miss = |json: &Value| {
        let text = json["notices"]["miss"].as_str().expect("a miss");
        let bytes = carat_node::call::from_base64(text).expect("base64");
        fs::write(sandbox.path("late.miss.carat-notice"), bytes).expect("write");
    };
    miss(&done);
    let args = ["upgrade", "late.carat", "--check", "late.miss.carat-notice"];
    let args = [&args[..], &["--log-key", key]].concat();
    let report = sandbox.json(&args, 0);
    assert_eq!(
        (&report["kind"], &report["standing"]),
        (&json!("miss"), &json!("missed"))
    );
    until("its inclusion", || {
        miss(&server.get(&job).json());
        let report = sandbox.json(&args, 0);
        let log = report["checks"].as_array().expect("checks");
        let log = log.iter().find(|check| check["name"] == "log")?;
        let text = log["reason"].as_str()?;
        (text == "entry 1 of the log").then_some(())
    });
    // Another log does not have it.
    let signer = carat_log::NoteSigner::new("log.example/other", &[1; 32]).expect("a name");
    let other = signer.verifier().to_vkey().expect("a key");
    sandbox.json(&[&args[..4], &["--log-key", &other]].concat(), 1);
    // After a kill and a start nothing is doubled.
    server.kill();
    let server = Server::again(&sandbox);
    server.get("/health/ready").expect(200);
    until("a tick", || {
        (server.metric("carat_log_published ") == 2).then_some(())
    });
    assert_eq!(server.metric("carat_log_entries "), 2);
    assert_eq!(server.metric("carat_upgrade_deadlines_missed_total "), 0);
    assert_eq!(server.terminate(), Some(0));
    let stats = sandbox.json(&["stats"], 0);
    assert_eq!(
        (&stats["store"]["promises"], &stats["store"]["missed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(stats["store"]["in_log"], 1);
    assert_eq!(stats["log_entries"], 2);
}

#[test]
fn refusing_later_does_not_keep_a_promise() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(&sandbox, OPEN);
    let id = answer(&sandbox, &server, "gone", &[]);
    assert_eq!(server.terminate(), Some(0));
    let job = format!("/v1/jobs/{}", overdue(&sandbox, &id));
    // The model is withdrawn: another one is served under its name.
    sandbox.good(&["model", "compile", &digits(), "-o", "tumor.carat-model"]);
    let server = Server::again(&sandbox);
    let failed = until("the refusal", || {
        let json = server.get(&job).expect(200).json();
        (json["state"] == "failed").then_some(json)
    });
    assert_eq!(failed["problem"]["kind"], "model-gone");
    assert!(failed["problem"]["refusal"].is_string());
    assert!(failed["notices"]["miss"].is_string());
    assert_eq!(server.metric("carat_upgrade_deadlines_missed_total "), 1);
}

fn digits() -> String {
    let path = common::repo("models/digits");
    path.to_str().expect("UTF-8").to_string()
}

const ENVIRONMENT: &str = r#"
schema = "carat-environment/v1"
currency = "USD"
[bond]
name = "bond-1"
allocated = "1000 USD"
clawback = true
joint_forfeiture = true
[prover]
deferred_seconds = 3600
"#;

const POLICY: &str = r#"
currency = "USD"
[[consequence]]
name = "all"
when = 'true'
value = '40.0'
timing = "before_settle"
deadline_ms = 2000
"#;

#[test]
fn a_proof_that_is_promised_with_the_answer_comes_also_after_a_kill() {
    let sandbox = Sandbox::with_model();
    // A first start measures; as if proofs took ten seconds, they cannot come with the answer.
    assert_eq!(Server::start(&sandbox, OPEN).terminate(), Some(0));
    let records = fs::read_dir(sandbox.path("home/node/calibration")).expect("records");
    for path in records.map(|entry| entry.expect("a record").path()) {
        if path.to_string_lossy().ends_with(".prove.json") {
            let text = fs::read_to_string(&path).expect("read");
            let mut record: Value = serde_json::from_str(&text).expect("JSON");
            record["p99_micros"] = json!(10_000_000);
            fs::write(&path, record.to_string()).expect("write");
        }
    }
    fs::write(sandbox.path("home/node/environment.toml"), ENVIRONMENT).expect("write");
    fs::write(sandbox.path("home/node/policy.toml"), POLICY).expect("write");
    let server = Server::again(&sandbox);
    let body = request(&sandbox);
    let mut ids = Vec::new();
    for _ in 0..6 {
        let answer = server.infer(&[], &body).expect(200);
        let json = answer.json();
        assert_eq!(json["plan"]["rung"], "deferred-zk", "{json}");
        let by = json["plan"]["proof_by"].as_u64().expect("a time");
        if json["plan"]["proof_pending"] == true {
            let good_for = answer.header("carat-good-for");
            assert!(
                good_for.ends_with(&format!("pending=?1; proof-by={by}")),
                "{good_for}"
            );
        }
        ids.push(answer.header("carat-receipt-id").to_string());
    }
    server.kill();
    let server = Server::again(&sandbox);
    for id in &ids {
        until("the proof", || {
            fetch(&sandbox, &server, id, "d");
            (proofs(&sandbox.path("d.carat")) == 1).then_some(())
        });
        let args = ["verify", "d.carat", "--model", "tumor.carat-model"];
        let args = [&args[..], &["--input", "tumor.json", "--amount", "40USD"]].concat();
        sandbox.json(&args, 0);
    }
    assert_eq!(server.metric("carat_upgrade_deadlines_missed_total "), 0);
    until("no job", || {
        (server.metric("carat_jobs_waiting ") == 0).then_some(())
    });
    assert_eq!(server.terminate(), Some(0));
    let stats = sandbox.json(&["stats"], 0);
    let store = &stats["store"];
    assert_eq!(store["by_rung"]["deferred-zk"], 6);
    assert_eq!(
        (&store["proven"], &store["upgrades"]["done"]),
        (&json!(6), &json!(6))
    );
}
