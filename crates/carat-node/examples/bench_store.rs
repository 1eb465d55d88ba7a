//! How store and log behave as they grow: `cargo run --release -p carat-node --example bench_store -- DIR [RECEIPTS]`.
//!
//! Writes receipts in groups of 64 as the server does (store, then log, each synced, then their places), and prints a line of JSON
//! for each hundred thousand: receipts per second, times of look-ups at random, of inclusion proofs and of a checkpoint, memory.
#![allow(clippy::print_stdout)] // its output

use std::path::PathBuf;
use std::time::Instant;

use carat_log::NoteSigner;
use carat_log::store::{Log, Options};
use carat_node::store::{Entry, ReceiptRecord, Store, StoreOptions};
use carat_receipt::statement::{Clock, Optional};
use carat_receipt::{
    Digest, Engine, Execution, Label, Parameters, Salt, SignedStatement, SigningKey, Statement,
};

const GROUP: u64 = 64;
const STEP: u64 = 100_000;
const LOOKUPS: u64 = 2000;

type Failed = Box<dyn std::error::Error>;

fn record() -> Result<ReceiptRecord, Failed> {
    let key = SigningKey::from_secret(&[9; 32]);
    let statement = Statement {
        issuer: Label::new("carat-0123456789ab")?,
        issuer_key: key.public(),
        issued_at: 1000,
        clock: Clock::System,
        random: [7; 16],
        program: Digest::sha256(b"program"),
        model_name: Label::new("digits")?,
        model_version: Label::new("1.0.0")?,
        execution: Execution::Local,
        engine: Engine {
            numerics: Label::new("integer/v1")?,
            semantics: 1,
        },
        input: Digest::sha256(b"input"),
        output: Digest::sha256(b"output"),
        parameters: Parameters::default(),
        optional: Optional::default(),
    };
    Ok(ReceiptRecord {
        tenant: "acme".into(),
        model: "digits".into(),
        created: 1000,
        blind: Salt::from_bytes([7; 32]),
        signed: SignedStatement::sign(statement, &key)?,
    })
}

/// The name of the i-th receipt: spread like the real ones.
fn name(i: u64) -> Digest {
    Digest::sha256(&i.to_be_bytes())
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

/// Median and 99th percentile of some times in microseconds.
fn percentiles(mut micros: Vec<u128>) -> (u128, u128) {
    micros.sort_unstable();
    let at = |percent: usize| micros[(micros.len() * percent / 100).min(micros.len() - 1)];
    (at(50), at(99))
}

fn main() -> Result<(), Failed> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("give a new directory")?);
    let count: u64 = args.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let store = Store::open(&dir.join("store"), StoreOptions::default())?;
    let log = Log::create(
        &dir.join("log"),
        NoteSigner::new("log.example/bench", &[1; 32])?,
        Options::default(),
    )?;
    let record = record()?;
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut started = Instant::now();
    let mut next = 0;
    while next < count {
        let ids: Vec<Digest> = (next..next + GROUP).map(name).collect();
        let entries: Vec<Entry> = ids
            .iter()
            .map(|id| Entry {
                id: *id,
                record: record.clone(),
                opening: vec![0x5a; 700].into(),
                evidence: Vec::new(),
                key: None,
                job: None,
                ends: None,
                promised: None,
                charge: None,
            })
            .collect();
        let group = store.put_group(&entries)?;
        let range = log.append_batch(&ids.iter().map(|id| *id.as_bytes()).collect::<Vec<_>>())?;
        store.put_places(ids.into_iter().zip(range), &[group])?;
        let before = next;
        next += GROUP;
        if before / STEP == next / STEP {
            continue;
        }
        let per_second = STEP as f64 / started.elapsed().as_secs_f64();
        let publishing = Instant::now();
        log.publish()?;
        let publish_ms = publishing.elapsed().as_millis();
        let (mut looked, mut proved) = (Vec::new(), Vec::new());
        for _ in 0..LOOKUPS {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = Instant::now();
            let place = store
                .place(&name(random % next))?
                .ok_or("a receipt is lost")?;
            looked.push(at.elapsed().as_micros());
            assert_eq!(place, random % next);
            let at = Instant::now();
            log.tlog_proof(place)?;
            proved.push(at.elapsed().as_micros());
        }
        let (looked, proved) = (percentiles(looked), percentiles(proved));
        println!(
            "{{\"receipts\": {next}, \"per_second\": {per_second:.0}, \"lookup_us\": [{}, {}], \"proof_us\": [{}, {}], \"publish_ms\": {publish_ms}, \"rss_bytes\": {}}}",
            looked.0,
            looked.1,
            proved.0,
            proved.1,
            resident()
        );
        started = Instant::now();
    }
    drop((store, log));
    let opening = Instant::now();
    let store = Store::open(&dir.join("store"), StoreOptions::default())?;
    let last = store.last_place()?.ok_or("nothing there")?;
    println!(
        "{{\"reopened_ms\": {}, \"entries\": {}}}",
        opening.elapsed().as_millis(),
        last.0 + 1
    );
    Ok(())
}
