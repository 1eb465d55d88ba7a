//! `kill -9` under load: every answer that a caller got is there, each key has one receipt, and each receipt one entry of the log.
//!
//! A few rounds in the ordinary run; `CARAT_KILL_ROUNDS=50 cargo test --release -p carat-cli --test serve_kill` for more.
#![allow(clippy::print_stdout)] // the count

mod common;

use std::collections::HashMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::Sandbox;
use common::server::Server;
use serde_json::{Value, json};

const ROUNDS: &str = "CARAT_KILL_ROUNDS";
const CALLERS: usize = 8;

#[test]
fn kill_9_under_load_loses_and_doubles_nothing() {
    let rounds: u64 = std::env::var(ROUNDS).map_or(3, |rounds| rounds.parse().expect("a number"));
    let sandbox = Sandbox::with_model();
    let text = fs::read_to_string(sandbox.path("tumor.json")).expect("read the input");
    let inputs: Value = serde_json::from_str(&text).expect("JSON");
    let body = json!({ "inputs": inputs }).to_string();
    let mut server = Server::start(&sandbox, "access = \"open\"\ncheckpoint_ms = 50");
    // Keys with the receipts that callers were shown.
    let mut shown: HashMap<String, String> = HashMap::new();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let (mut keys, mut cut, mut completed) = (0u64, 0, 0);
    for round in 0..rounds {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let next = AtomicU64::new(keys);
        let over = AtomicBool::new(false);
        let (acknowledged, unanswered) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let address = server.address;
        std::thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let key = format!("key {}", next.fetch_add(1, Ordering::Relaxed));
                        match ask(address, &key, &body) {
                            Some(id) => acknowledged.lock().expect("lock").push((key, id)),
                            // Nobody answers any more.
                            None => return unanswered.lock().expect("lock").push(key),
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_micros(random % 300_000));
            server.kill();
            over.store(true, Ordering::Relaxed);
        });
        keys = next.into_inner();
        let unanswered = unanswered.into_inner().expect("lock");
        let fresh = acknowledged.into_inner().expect("lock");
        cut += unanswered.len();

        server = Server::again(&sandbox);
        let before = server.metric("carat_log_entries ");
        let answered = (shown.len() + fresh.len()) as u64;
        assert!(
            before >= answered,
            "round {round}: {before} entries, {answered} answers"
        );
        // What was accepted and not answered was completed by the start; the others are new.
        completed += before - answered;
        for (key, id) in fresh {
            assert_eq!(
                ask(server.address, &key, &body).as_ref(),
                Some(&id),
                "round {round}"
            );
            assert_eq!(shown.insert(key, id), None);
        }
        for key in unanswered {
            let id = ask(server.address, &key, &body).expect("an answer");
            assert_eq!(shown.insert(key, id), None);
        }
        assert_eq!(shown.len() as u64, keys);
        assert_eq!(
            server.metric("carat_log_entries "),
            keys,
            "round {round}: one entry for each key"
        );
    }
    let mut receipts: Vec<&String> = shown.values().collect();
    receipts.sort();
    receipts.dedup();
    assert_eq!(receipts.len(), shown.len(), "no two keys share a receipt");
    // Every receipt comes with a proof that it is in the log.
    for id in receipts.iter().take(500) {
        server.get(&format!("/v1/receipts/{id}")).expect(200);
    }
    assert_eq!(server.terminate(), Some(0));
    let report = sandbox.json(&["log", "audit", "--data-dir", "home/node"], 0);
    assert_eq!(report["size"], keys);
    println!(
        "{rounds} rounds: {keys} keys, {cut} requests cut off, {completed} of them completed by the next start"
    );
}

/// Asks until there is an answer or the connection breaks.
fn ask(address: std::net::SocketAddr, key: &str, body: &str) -> Option<String> {
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    loop {
        let answer = Server::try_ask(
            address,
            "POST",
            "/v1/models/tumor/infer",
            &headers,
            body.as_bytes(),
        )
        .ok()?;
        match answer.status {
            200 => return Some(answer.header("carat-receipt-id").to_string()),
            429 => std::thread::sleep(Duration::from_millis(5)),
            _ => panic!("{answer:?}"),
        }
    }
}
