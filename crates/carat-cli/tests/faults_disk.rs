//! Disks that are full, slow, or fail: what a caller was given is kept, what is not kept was not given, and the server says what is
//! the matter.
#![cfg(target_os = "linux")]

mod common;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use common::Sandbox;
use common::faults::{EIO, ENOSPC, Fault, Faults, SmallDisk, ask_with, receipt_of, request, until};
use common::server::Server;
use serde_json::Value;

const OPEN: &str = "access = \"open\"\ncheckpoint_ms = 50\ndrain_seconds = 1";
/// Exit statuses: `io` and `disk-full`.
const IO: i32 = 12;
const DISK_FULL: i32 = 13;

/// The keys that callers asked with, and the receipts that they were given.
#[derive(Default)]
struct Asked {
    given: HashMap<String, String>,
    refused: Vec<String>,
}

/// Eight callers ask until the server takes no more; what it says then is a refusal in words, or it has gone.
fn ask_until_refused(server: &Server, body: &Value) -> Asked {
    let next = AtomicU64::new(0);
    let asked = Mutex::new(Asked::default());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let key = format!("key {}", next.fetch_add(1, Ordering::Relaxed));
                    let answer = ask_with(server, &key, body);
                    let mut asked = asked.lock().expect("lock");
                    match answer {
                        Ok(answer) if answer.status == 200 => {
                            let id = answer.header("carat-receipt-id").to_string();
                            asked.given.insert(key, id);
                        }
                        Ok(answer) => {
                            assert!([503, 507].contains(&answer.status), "{answer:?}");
                            let detail = answer.json()["detail"].to_string();
                            assert!(detail.len() > 20, "{detail}");
                            return asked.refused.push(key);
                        }
                        Err(_) => return asked.refused.push(key),
                    }
                }
            });
        }
    });
    asked.into_inner().expect("lock")
}

/// Everything that was given is there, everything that was refused can be asked for again, and the log has one entry for each.
fn check(sandbox: &Sandbox, server: Server, asked: Asked, body: &Value, directory: &str) {
    let mut all = HashMap::new();
    for (key, id) in asked.given {
        assert_eq!(receipt_of(&server, &key, body), id, "{key}");
        server.get(&format!("/v1/receipts/{id}")).expect(200);
        all.insert(id, key);
    }
    for key in asked.refused {
        assert_eq!(all.insert(receipt_of(&server, &key, body), key), None);
    }
    assert_eq!(server.metric("carat_log_entries "), all.len() as u64);
    assert_eq!(server.terminate(), Some(0));
    let report = sandbox.json(&["log", "audit", "--data-dir", directory], 0);
    assert_eq!(report["size"], all.len());
}

#[test]
fn a_full_file_system_ends_the_node_and_loses_nothing() {
    let sandbox = Sandbox::with_model();
    let Some(disk) = SmallDisk::mount(&sandbox, "24m") else {
        eprintln!(
            "NOT MADE: this system has no file system for who has no rights (user namespaces are off); the test of failing \
             writes stands in"
        );
        return;
    };
    let start = || {
        let mut command = sandbox.command(&["serve", "--config", "serve.toml"]);
        command.env("CARAT_HOME", disk.path());
        Server::spawn(&sandbox.path("server.log"), command)
    };
    let model = "[[model]]\nname = \"tumor\"\npath = \"tumor.carat-model\"\n";
    let text = format!("listen = \"127.0.0.1:0\"\n{OPEN}\n[limits]\nfree_bytes = 0\n{model}");
    std::fs::write(sandbox.path("serve.toml"), text).expect("write");
    let body = request(&sandbox);
    let server = start().expect("starts");
    receipt_of(&server, "before", &body);
    disk.fill(300 << 10);
    let mut asked = ask_until_refused(&server, &body);
    assert!(asked.given.len() > 10, "{}", asked.given.len());
    assert_eq!(server.ended(), Some(DISK_FULL));
    // Still full: it starts, or says why not.
    match start() {
        Ok(server) => server.kill(),
        Err(ended) => {
            assert_eq!(ended.code, Some(DISK_FULL), "{}", ended.log);
            assert!(ended.log.contains("space"), "{}", ended.log);
        }
    }
    disk.empty();
    let server = start().expect("starts");
    asked.refused.push("before".into());
    let directory = disk.path().join("node");
    let before = receipt_of(&server, "before", &body);
    let directory = directory.to_str().expect("UTF-8");
    asked.refused.pop();
    asked.given.insert("before".into(), before);
    check(&sandbox, server, asked, &body, directory);
}

#[test]
fn a_write_or_sync_that_fails_ends_the_node_and_loses_nothing() {
    for (fault, error, status) in [
        (Fault::SyncError, EIO, IO),
        (Fault::WriteError, EIO, IO),
        (Fault::WriteError, ENOSPC, DISK_FULL),
    ] {
        let sandbox = Sandbox::with_model();
        let faults = Faults::new(&sandbox);
        Server::start(&sandbox, OPEN).kill();
        let server = faults.again(&sandbox);
        let body = request(&sandbox);
        let first = receipt_of(&server, "first", &body);
        assert!(faults.seen().0 > 0, "the server's syncs go through here");
        faults.set(fault, error);
        let mut asked = ask_until_refused(&server, &body);
        assert!(asked.given.is_empty(), "what cannot be kept is not given");
        assert_eq!(server.ended(), Some(status), "error {error}");
        faults.set(fault, 0);
        asked.given.insert("first".into(), first);
        check(&sandbox, faults.again(&sandbox), asked, &body, "home/node");
    }
}

#[test]
fn a_slow_disk_sheds_load_and_loses_nothing() {
    let sandbox = Sandbox::with_model();
    let faults = Faults::new(&sandbox);
    let more = format!("{OPEN}\nworkers = 1\n[limits]\nqueue = 2\nrequest_seconds = 60");
    Server::start(&sandbox, &more).kill();
    let server = faults.again(&sandbox);
    let body = request(&sandbox);
    faults.set(Fault::SyncDelay, 150);
    let answers = Mutex::new(HashMap::new());
    std::thread::scope(|scope| {
        for caller in 0..40 {
            let (server, answers, body) = (&server, &answers, &body);
            scope.spawn(move || {
                let key = format!("key {caller}");
                let answer = ask_with(server, &key, body).expect("an answer");
                answers.lock().expect("lock").insert(key, answer);
            });
        }
        // Meanwhile it is alive and says so.
        for _ in 0..5 {
            server.get("/health/live").expect(200);
            server.get("/health/ready").expect(200);
        }
    });
    let answers = answers.into_inner().expect("lock");
    let (given, refused): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .partition(|(_, answer)| answer.status == 200);
    assert!(!given.is_empty() && !refused.is_empty(), "{}", given.len());
    for (_, answer) in &refused {
        let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
        assert!(seconds >= 1);
        assert_eq!(answer.clone().expect(429).json()["kind"], "overloaded");
    }
    assert_eq!(server.metric("carat_log_entries "), given.len() as u64);
    faults.set(Fault::SyncDelay, 0);
    let id = |answer: &common::server::Answer| answer.header("carat-receipt-id").to_string();
    let asked = Asked {
        given: given
            .iter()
            .map(|(key, it)| (key.clone(), id(it)))
            .collect(),
        refused: refused.into_iter().map(|(key, _)| key).collect(),
    };
    check(&sandbox, server, asked, &body, "home/node");
}

#[test]
fn a_disk_that_hangs_is_said_and_what_was_accepted_is_kept() {
    let sandbox = Sandbox::with_model();
    let faults = Faults::new(&sandbox);
    let more = format!("{OPEN}\n[limits]\nrequest_seconds = 1\nstall_seconds = 1");
    Server::start(&sandbox, &more).kill();
    let server = faults.again(&sandbox);
    let body = request(&sandbox);
    faults.set(Fault::SyncDelay, 3_600_000);
    let slow = ask_with(&server, "slow", &body).expect("an answer");
    assert_eq!(slow.expect(504).json()["kind"], "slow");
    until("the refusal", || {
        (server.get("/health/ready").status == 503).then_some(())
    });
    server.get("/health/live").expect(200);
    let refused = ask_with(&server, "other", &body).expect("an answer");
    let detail = refused.expect(503).json()["detail"].to_string();
    assert!(detail.contains("limits.stall_seconds"), "{detail}");
    // It comes back, and so does the server: the slow request has its receipt.
    faults.set(Fault::SyncDelay, 0);
    until("the disk", || {
        (server.get("/health/ready").status == 200).then_some(())
    });
    let id = receipt_of(&server, "slow", &body);
    assert_eq!(server.metric("carat_log_entries "), 1);

    // It never comes back: the process ends by itself, so that somebody looks and starts it again.
    faults.set(Fault::SyncDelay, 3_600_000);
    ask_with(&server, "late", &body)
        .expect("an answer")
        .expect(504);
    assert_eq!(server.ended(), Some(IO));
    faults.set(Fault::SyncDelay, 0);
    let server = faults.again(&sandbox);
    let late = receipt_of(&server, "late", &body);
    assert_ne!(late, id);
    assert_eq!(receipt_of(&server, "slow", &body), id);
    assert_eq!(server.metric("carat_log_entries "), 2);
    assert_eq!(server.terminate(), Some(0));
}
