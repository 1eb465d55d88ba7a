//! A wall clock that jumps by hours and days, either way: it dates receipts, and that is all that it does.
#![cfg(target_os = "linux")]

mod common;

use std::process::Command;

use common::Sandbox;
use common::faults::{Fault, Faults, ask_with, finished, receipt_of, request, until};
use common::server::Server;
use serde_json::Value;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

#[test]
fn jumps_of_the_clock_change_dates_and_nothing_else() {
    let sandbox = Sandbox::with_model();
    let faults = Faults::new(&sandbox);
    let open = "access = \"open\"\ncheckpoint_ms = 50";
    Server::start(&sandbox, open).kill();
    let server = faults.again(&sandbox);
    let body = request(&sandbox);
    let mut keys: Vec<(String, String)> = Vec::new();
    let mut ask = |server: &Server, key: &str| {
        let answer = ask_with(server, key, &body).expect("an answer").expect(200);
        let id = answer.header("carat-receipt-id").to_string();
        // The log goes on where it was, whatever the clock says.
        assert_eq!(answer.json()["log"]["index"], keys.len() as u64, "{key}");
        keys.push((key.to_string(), id.clone()));
        id
    };
    let first = ask(&server, "steady");
    assert!(faults.seen().1 > 0, "the server's clock goes through here");

    for (jump, name) in [(2 * DAY, "forwards"), (-10 * HOUR, "backwards")] {
        faults.set(Fault::Clock, jump);
        // Keys are remembered for a day; one that is a second old is not forgotten because the clock was set.
        assert_eq!(receipt_of(&server, "steady", &body), first, "{name}");
        let id = ask(&server, name);
        // Its date is the clock's.
        let issued = issued_at(&sandbox, &server, &id);
        let off = issued - real_time() - jump;
        assert!((-120..=120).contains(&off), "{name}: off by {off} s");
        // Upgrades are promised and kept by the same clock.
        let upgrade = server.ask("POST", &format!("/v1/receipts/{id}/upgrade"), &[], &[]);
        let job = upgrade.expect(202).json();
        let promised = job["promised_by"].as_i64().expect("a time") - issued;
        assert!((1..HOUR).contains(&promised), "{name}: {promised} s");
        let job = job["job_id"].as_str().expect("id").to_string();
        assert_eq!(finished(&server, &job)["state"], "done", "{name}");
        // The look that notices the jump is made with each key and each second.
        let jumps = if jump > 0 { 1 } else { 2 };
        until("the note of the jump", || {
            (server.metric("carat_clock_jumps_total ") == jumps).then_some(())
        });
    }
    assert_eq!(server.metric("carat_upgrade_deadlines_missed_total "), 0);

    // A clock before 1970 dates nothing: refused in words, and the server goes on.
    faults.set(Fault::Clock, -60 * 365 * DAY);
    let refused = ask_with(&server, "early", &body).expect("an answer");
    let detail = refused.expect(503).json()["detail"].to_string();
    assert!(detail.contains("1970"), "{detail}");
    server.get("/health/live").expect(200);
    faults.set(Fault::Clock, -10 * HOUR);
    ask(&server, "early");
    assert_eq!(server.terminate(), Some(0));

    // A start ten hours behind the newest receipt says so, and keeps everything.
    faults.set(Fault::Clock, -20 * HOUR);
    let server = faults.again(&sandbox);
    let log = std::fs::read_to_string(sandbox.path("server.log")).expect("log");
    assert!(log.contains("dated after this machine's clock"), "{log}");
    assert!(log.contains("the clock jumped"), "{log}");
    ask(&server, "late");
    for (key, id) in &keys {
        assert_eq!(&receipt_of(&server, key, &body), id);
    }
    assert_eq!(server.metric("carat_log_entries "), keys.len() as u64);
    assert_eq!(server.terminate(), Some(0));
    let report = sandbox.json(&["log", "audit", "--data-dir", "home/node"], 0);
    assert_eq!(report["size"], keys.len());
}

fn real_time() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    since.expect("after 1970").as_secs() as i64
}

/// When a receipt says that it was issued. It verifies, at that time.
fn issued_at(sandbox: &Sandbox, server: &Server, id: &str) -> i64 {
    let file = server.get(&format!("/v1/receipts/{id}")).expect(200).body;
    std::fs::write(sandbox.path("r.carat"), file).expect("write");
    let now = (real_time() + 3 * DAY).to_string();
    let args = ["verify", "r.carat", "--now", &now];
    let appraisal: Value = sandbox.json(&args, 4);
    let issued = appraisal["receipt"]["issued_at"].as_str().expect("a date");
    let date = Command::new("date")
        .args(["-u", "+%s", "-d", issued])
        .output();
    let seconds = String::from_utf8(date.expect("date").stdout).expect("text");
    seconds.trim().parse().expect("a number")
}

#[test]
fn rates_and_keys_with_an_end_under_jumps() {
    let sandbox = Sandbox::with_model();
    let faults = Faults::new(&sandbox);
    let new = |args: &[&str]| {
        let json = sandbox.json(&[&["api-key", "new", "--tenant"], args].concat(), 0);
        format!("Bearer {}", json["key"].as_str().expect("key"))
    };
    let (short, long) = (new(&["acme", "--days", "1"]), new(&["other"]));
    Server::start(&sandbox, "[limits]\nrequests_per_second = 1\nburst = 3").kill();
    let server = faults.again(&sandbox);
    let status = |key: &str| {
        let headers = [("authorization", key)];
        server.ask("GET", "/v1/models", &headers, &[]).status
    };
    // A rate is counted by the clock that does not jump.
    let spend = || while status(&long) == 200 {};
    spend();
    for jump in [10 * HOUR, -10 * HOUR] {
        faults.set(Fault::Clock, jump);
        // Under way of a second or two for a loaded machine, not the thousands that the jump would earn.
        let granted = (0..30).filter(|_| status(&long) == 200).count();
        assert!(granted < 10, "{granted} after a jump of {jump} s");
        until("the next second", || (status(&long) == 200).then_some(()));
    }
    // A key that ends does so by the wall clock, which is what it says.
    faults.set(Fault::Clock, 0);
    assert_eq!(status(&short), 200);
    faults.set(Fault::Clock, 2 * DAY);
    assert_eq!(status(&short), 401);
    faults.set(Fault::Clock, 0);
    until("the key", || (status(&short) == 200).then_some(()));
    assert_eq!(server.terminate(), Some(0));
}
