//! `kill -9` in the middle of appends: what was acknowledged is there.
//!
//! The test runs itself as a child, which appends from several threads while
//! publishing, and writes each acknowledgement to a pipe. The parent kills it
//! at a random moment and opens the log.
#![cfg(all(feature = "store", unix))]
#![allow(clippy::print_stdout)] // the pipe to the parent, and the count

use carat_log::NoteSigner;
use carat_log::store::{Log, Options, audit};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CHILD: &str = "CARAT_LOG_KILL_DIR";
const ROUND: &str = "CARAT_LOG_KILL_ROUND";
const ROUNDS: u64 = 200;

fn signer() -> NoteSigner {
    NoteSigner::new("log.example/kill", &[1; 32]).expect("good name")
}

fn options() -> Options {
    // Small limits, so that the child is also killed while it publishes,
    // starts segments and removes old ones.
    let mut options = Options::default();
    options.max_pending_entries = 700;
    options.segment_bytes = 8 << 10;
    options
}

fn leaf(round: u64, thread: u64, i: u64) -> Vec<u8> {
    let mut leaf = format!("{round}-{thread}-{i}-").into_bytes();
    leaf.extend(vec![b'x'; (i * 37 % 300) as usize]);
    leaf
}

/// Not a test of its own: the child's part.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD) else {
        return;
    };
    let round: u64 = std::env::var(ROUND)
        .expect("set by the parent")
        .parse()
        .expect("a number");
    let log = Log::open_or_create(&PathBuf::from(dir), signer(), options()).expect("opens");
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let log = &log;
            scope.spawn(move || {
                let mut i = 0;
                loop {
                    let leaves: Vec<_> = (0..1 + thread * 3)
                        .map(|k| leaf(round, thread, i + k))
                        .collect();
                    let range = log.append_batch(&leaves).expect("appends");
                    // Only now, and in one write, which a pipe does not tear.
                    let line = format!("ack {} {thread} {i} {}\n", range.start, leaves.len());
                    std::io::stdout()
                        .write_all(line.as_bytes())
                        .expect("parent reads");
                    i += leaves.len() as u64;
                }
            });
        }
        scope.spawn(|| {
            loop {
                log.publish().expect("publishes");
                std::thread::sleep(Duration::from_millis(round % 7));
            }
        });
    });
}

#[test]
fn kill_9_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().expect("temporary directory");
    // Index to leaf, over all rounds: the log only grows.
    let mut acknowledged: HashMap<u64, Vec<u8>> = HashMap::new();
    let (mut random, mut empty_rounds) = (0x9e37_79b9_7f4a_7c15u64, 0);
    let mut previous = None;
    for round in 0..ROUNDS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let before = acknowledged.len();
        let fresh = run_and_kill(dir.path(), round, Duration::from_micros(random % 25_000));
        for (index, leaf) in fresh {
            assert_eq!(
                acknowledged.insert(index, leaf),
                None,
                "index {index} was given twice"
            );
        }
        empty_rounds += u64::from(acknowledged.len() == before);

        let log = Log::open_or_create(dir.path(), signer(), options())
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        // All of this round and a part of the older ones; everything at the end.
        for (index, leaf) in &acknowledged {
            if round + 1 == ROUNDS || index + 2000 > log.len() {
                assert_eq!(
                    &log.leaf(*index)
                        .unwrap_or_else(|e| panic!("round {round}: {e}")),
                    leaf
                );
            }
        }
        if round % 20 == 19 {
            let signed = log.publish().expect("publishes");
            let report = audit(dir.path(), &log.verifier(), previous.as_ref()).expect("audits");
            assert!(report.ok, "round {round}: {report:#?}");
            assert_eq!(report.size, log.len());
            previous = Some(signed);
        }
    }
    println!(
        "{ROUNDS} rounds: {} entries acknowledged and there, {empty_rounds} rounds killed before the first",
        acknowledged.len()
    );
    assert!(
        empty_rounds < ROUNDS / 4,
        "{empty_rounds} rounds tested nothing"
    );
}

/// Runs the child until `extra` after its first acknowledgement (or not even
/// that long, for a slow one), kills it, and returns what it acknowledged.
fn run_and_kill(dir: &Path, round: u64, extra: Duration) -> Vec<(u64, Vec<u8>)> {
    let mut child = Command::new(std::env::current_exe().expect("own path"))
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let (sender, lines) = std::sync::mpsc::channel();
    let mut pipe = BufReader::new(child.stdout.take().expect("piped"));
    let reader = std::thread::spawn(move || {
        let mut line = String::new();
        // A last line without its end was not finished: not acknowledged.
        while pipe.read_line(&mut line).is_ok_and(|count| count > 0) && line.ends_with('\n') {
            let _ = sender.send(std::mem::take(&mut line));
        }
    });
    let patience = Instant::now() + Duration::from_secs(20);
    let mut seen = Vec::new();
    // In one round of eight the kill comes at any time, also while opening.
    let early = round % 8 == 7;
    while !early && Instant::now() < patience {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) if line.starts_with("ack ") => {
                seen.push(line);
                break;
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                panic!("round {round}: the child ended")
            }
            _ => {}
        }
    }
    std::thread::sleep(extra);
    child.kill().expect("SIGKILL");
    child.wait().expect("reaped");
    reader.join().expect("reader");
    seen.extend(lines.try_iter().filter(|line| line.starts_with("ack ")));
    let mut acknowledged = Vec::new();
    for line in seen {
        let fields: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .map(|n| n.parse().expect("a number"))
            .collect();
        let [start, thread, i, count] = fields[..] else {
            panic!("round {round}: {line:?}")
        };
        acknowledged.extend((0..count).map(|k| (start + k, leaf(round, thread, i + k))));
    }
    acknowledged
}
