//! The process dies in the middle of a proof, or is told to go while it is busy: no job is lost, none is done twice, and one that
//! ends the process every time is given up.
#![cfg(target_os = "linux")]

mod common;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::Sandbox;
use common::faults::{Fault, Faults, ask_with, finished, receipt_of, request};
use common::server::Server;

const OPEN: &str = "access = \"open\"\ncheckpoint_ms = 50";

#[test]
fn proofs_go_on_after_kill_9_and_are_made_once() {
    let sandbox = Sandbox::with_model();
    let faults = Faults::new(&sandbox);
    let more = format!("{OPEN}\n[limits]\nproof_batch = 1\njob_starts = 1000");
    Server::start(&sandbox, &more).kill();
    let mut server = faults.again(&sandbox);
    let body = request(&sandbox);
    let ids: Vec<String> = (0..24)
        .map(|i| receipt_of(&server, &format!("key {i}"), &body))
        .collect();
    // Taking a job and ending it take a sync each, so that some are left when the kills come.
    faults.set(Fault::SyncDelay, 20);
    let upgrade = |id: String| {
        let path = format!("/v1/receipts/{id}/upgrade");
        let job = server.ask("POST", &path, &[], &[]).expect(202).json();
        (job["job_id"].as_str().expect("id").to_string(), id)
    };
    let jobs: Vec<(String, String)> = ids.into_iter().map(upgrade).collect();
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let state = |server: &Server, job: &str| {
        let json = server.get(&format!("/v1/jobs/{job}")).expect(200).json();
        json["state"].as_str().expect("a state").to_string()
    };
    let mut cut = 0;
    for _ in 0..6 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(random % 40_000));
        server.kill();
        server = faults.again(&sandbox);
        cut += usize::from(jobs.iter().any(|(job, _)| state(&server, job) == "queued"));
    }
    assert!(cut > 0, "no kill met a job that waited");
    faults.set(Fault::SyncDelay, 0);
    for (job, id) in &jobs {
        let done = finished(&server, job);
        assert_eq!(
            (&done["state"], &done["receipt_id"]),
            (&"done".into(), &id.as_str().into())
        );
        // There is a proof, so there is nothing to upgrade.
        let again = server.ask("POST", &format!("/v1/receipts/{id}/upgrade"), &[], &[]);
        assert_eq!(again.expect(409).json()["kind"], "proven");
    }
    assert_eq!(server.terminate(), Some(0));
    let stats = sandbox.json(&["stats"], 0);
    assert_eq!(stats["store"]["proven"], 24, "{stats:#}");
    assert_eq!(stats["store"]["upgrades"]["done"], 24, "{stats:#}");
}

#[test]
fn a_job_that_ends_the_process_every_time_is_given_up_and_the_others_are_done() {
    let sandbox = Sandbox::with_model();
    let faults = Faults::new(&sandbox);
    Server::start(&sandbox, &format!("{OPEN}\n[limits]\njob_starts = 2")).kill();
    let server = faults.again(&sandbox);
    let body = request(&sandbox);
    // The first write counts the start of the job, the second would end it: the process dies with the proof.
    faults.set(Fault::DieInJob, 2);
    let first = receipt_of(&server, "first", &body);
    let second = receipt_of(&server, "second", &body);
    let headers = [("idempotency-key", "upgrade 1")];
    let path = format!("/v1/receipts/{first}/upgrade");
    let job = server.ask("POST", &path, &headers, &[]).expect(202).json();
    let job = job["job_id"].as_str().expect("id").to_string();
    assert_eq!(server.ended(), None, "killed by a signal");
    // The second start of the job does the same, also to another job that waits.
    faults.set(Fault::DieInJob, 2);
    let log = sandbox.path("server.log");
    let mut command = sandbox.command(&["serve", "--config", "serve.toml"]);
    command.envs(faults.variables());
    let path = format!("/v1/receipts/{second}/upgrade");
    let other = match Server::spawn(&log, command) {
        Ok(server) => {
            let answer = Server::try_ask(server.address, "POST", &path, &[], &[]);
            assert_eq!(server.ended(), None);
            answer.ok()
        }
        // The job was quicker than the first word of the server.
        Err(ended) => {
            assert_eq!(ended.code, None, "{}", ended.log);
            None
        }
    };
    faults.set(Fault::DieInJob, 0);
    let server = faults.again(&sandbox);
    let failed = finished(&server, &job);
    assert_eq!(failed["state"], "failed", "{failed:#}");
    let why = failed["problem"]["detail"].as_str().expect("a reason");
    assert!(why.contains("limits.job_starts"), "{why}");
    // The server is up, the receipt is what it was, and other proofs are made.
    server.get(&format!("/v1/receipts/{first}")).expect(200);
    // Its answer may have been cut off; then asking again gives a job, or word that there is a proof already.
    let other = other.unwrap_or_else(|| server.ask("POST", &path, &[], &[]));
    match other.status {
        202 => {
            let other = other.json()["job_id"].as_str().expect("id").to_string();
            assert_eq!(finished(&server, &other)["state"], "done");
        }
        _ => assert_eq!(other.expect(409).json()["kind"], "proven"),
    }
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_drain_under_load_finishes_what_was_accepted() {
    let sandbox = Sandbox::with_model();
    let faults = Faults::new(&sandbox);
    Server::start(&sandbox, OPEN).kill();
    let server = faults.again(&sandbox);
    let body = request(&sandbox);
    // So that some are always on their way.
    faults.set(Fault::SyncDelay, 20);
    let later = |i: usize| {
        let key = format!("later {i}");
        let headers = [("prefer", "respond-async"), ("idempotency-key", &key)];
        let job = server.infer(&headers, &body).expect(202).json();
        job["job_id"].as_str().expect("id").to_string()
    };
    let jobs: Vec<String> = (0..10).map(later).collect();
    let next = AtomicU64::new(0);
    let given = Mutex::new(HashMap::new());
    let refused = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let key = format!("key {}", next.fetch_add(1, Ordering::Relaxed));
                    match ask_with(&server, &key, &body) {
                        Ok(answer) if answer.status == 200 => {
                            let id = answer.header("carat-receipt-id").to_string();
                            given.lock().expect("lock").insert(key, id);
                        }
                        // Told to come again, or nobody listens any more.
                        Ok(answer) => {
                            answer.expect(503);
                            refused.fetch_add(1, Ordering::Relaxed);
                            return;
                        }
                        Err(_) => return,
                    }
                }
            });
        }
        while given.lock().expect("lock").len() < 50 {
            std::thread::sleep(Duration::from_millis(5));
        }
        server.tell_to_end();
    });
    assert_eq!(server.ended(), Some(0));
    faults.set(Fault::SyncDelay, 0);
    let server = faults.again(&sandbox);
    for job in &jobs {
        assert_eq!(finished(&server, job)["state"], "done");
    }
    let given = given.into_inner().expect("lock");
    // Whoever was accepted was answered: the log has what callers were given and what jobs made, and nothing else.
    let entries = server.metric("carat_log_entries ");
    assert_eq!(entries, (given.len() + jobs.len()) as u64);
    for (key, id) in &given {
        assert_eq!(&receipt_of(&server, key, &body), id);
    }
    assert_eq!(server.terminate(), Some(0));
}
