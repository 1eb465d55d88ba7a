//! `carat bench hub`: how long a search takes.

use std::path::PathBuf;
use std::sync::RwLock;
use std::time::{Duration, Instant};

use carat_hub::search::{Index, Query};
use carat_hub::{Hub, Limits, Record};
use carat_node::hub::examine::{machine, peak_bytes};
use serde_json::json;

use super::super::{Context, Outcome};
use crate::exit::{Exit, Failure};
use crate::home::{self, Home};
use crate::output::{Answer, Progress};
use crate::render::Table;

/// Time searches in an index of many models, made from those of a hub.
///
/// The hub's models are indexed again and again under other names until there are enough. Queries are words of their names,
/// beginnings of words, and conditions, from several threads at once, while another thread keeps replacing entries.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat hub import target/onnx/node --owner onnx\n  carat bench hub --entries 10000 --json"
)]
pub(super) struct Args {
    /// Entries of the index.
    #[arg(long, default_value_t = 10_000)]
    entries: usize,
    /// Seconds of searching.
    #[arg(long, default_value_t = 10.0, value_parser = super::seconds)]
    seconds: f64,
    /// Threads that search.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Searches in a second, of all threads together; times are counted from when each was due. 0: one after the other, as fast
    /// as they go.
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// A data directory whose hub has the models [default: the data directory].
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let home = match args.from {
        Some(dir) => Home::at(dir),
        None => context.home()?,
    };
    let hub: Hub = carat_node::hub::open(&home, Limits::default())?;
    let records: Vec<Record> = hub.all()?.collect::<Result<_, _>>()?;
    if records.is_empty() {
        let message = "the hub has no models to index: carat hub import DIR --owner NAME";
        return Err(Failure::new(Exit::Usage, message));
    }
    let progress = Progress::start("indexing");
    let started = Instant::now();
    let mut index = Index::default();
    for i in 0..args.entries {
        index.put(&named(&records, i)?);
    }
    let indexing = started.elapsed();
    progress.say("searching");
    let index = RwLock::new(index);
    let until = Instant::now() + Duration::from_secs_f64(args.seconds);
    let mut times: Vec<u64> = Vec::new();
    let replaced = std::thread::scope(|scope| -> Result<u64, Failure> {
        let writer = scope.spawn(|| -> Result<u64, Failure> {
            let mut count = 0;
            while Instant::now() < until {
                let record = named(&records, count as usize % args.entries.max(1))?;
                if let Ok(mut index) = index.write() {
                    index.put(&record);
                }
                count += 1;
                // As many as a busy hub publishes.
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(count)
        });
        let threads: Vec<_> = (0..args.threads.max(1))
            .map(|thread| {
                let (index, records) = (&index, &records);
                let pause = match args.rate {
                    0 => Duration::ZERO,
                    rate => Duration::from_secs_f64(args.threads.max(1) as f64 / rate as f64),
                };
                scope.spawn(move || {
                    let mut times = Vec::new();
                    let mut number = thread * 1_000_003;
                    let mut due = Instant::now();
                    while Instant::now() < until {
                        let query = query(records, number);
                        number += 1;
                        due += pause;
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        let one = if pause.is_zero() { Instant::now() } else { due };
                        if let Ok(index) = index.read() {
                            std::hint::black_box(index.search(&query));
                        }
                        times.push(u64::try_from(one.elapsed().as_micros()).unwrap_or(u64::MAX));
                    }
                    times
                })
            })
            .collect();
        let panicked = || Failure::new(Exit::Internal, "a thread of the measurement panicked");
        for thread in threads {
            times.extend(thread.join().map_err(|_| panicked())?);
        }
        writer.join().map_err(|_| panicked())?
    })?;
    drop(progress);
    times.sort_unstable();
    let at = |percent: usize| times[((times.len() * percent).div_ceil(100)).saturating_sub(1)];
    let json = json!({
        "entries": args.entries,
        "made_from": records.len(),
        "index_ms": indexing.as_millis() as u64,
        "seconds": args.seconds,
        "threads": args.threads,
        "rate": args.rate,
        "queries": times.len(),
        "queries_per_second": times.len() as f64 / args.seconds,
        "replaced": replaced,
        "p50_micros": at(50),
        "p95_micros": at(95),
        "p99_micros": at(99),
        "max_micros": times.last(),
        "peak_bytes": peak_bytes(),
        "measured_at": home::clock()?,
        "machine": machine(),
    });
    let mut rows = Table::new(2);
    rows.row([
        "entries",
        &format!("{}, made from {}", args.entries, records.len()),
    ]);
    rows.row([
        "queries",
        &format!("{} by {} threads", times.len(), args.threads),
    ]);
    for (name, micros) in [
        ("median", at(50)),
        ("99th percentile", at(99)),
        ("longest", at(100)),
    ] {
        rows.row([name, &format!("{:.2} ms", micros as f64 / 1000.0)]);
    }
    rows.row(["load at the end", &json["machine"]["load"].to_string()]);
    let text = rows.render("");
    Ok((Answer { text, json }, Exit::Good))
}

/// A record under a name of its own.
fn named(records: &[Record], i: usize) -> Result<Record, Failure> {
    let mut record = records[i % records.len()].clone();
    let round = i / records.len();
    let own: String = record.manifest.repo.name().chars().take(50).collect();
    let name = format!(
        "{}-v{}r{round}",
        own.trim_end_matches(['-', '.', '_']),
        i % records.len()
    );
    record.manifest.repo = carat_hub::RepoId::new(record.manifest.repo.owner(), &name)?;
    record.sequence = i as u64;
    record.manifest.unlisted = false;
    Ok(record)
}

/// One of the queries, by number: the same in every run.
fn query(records: &[Record], number: usize) -> Query {
    // Spreads numbers over records (Knuth's multiplicative method).
    let at = number.wrapping_mul(2_654_435_761) % records.len();
    let name = records[at].manifest.repo.name();
    let words: Vec<&str> = name
        .split(['_', '-', '.'])
        .filter(|word| !word.is_empty())
        .collect();
    let word = |i: usize| words[i % words.len()].to_string();
    let operator = records[at]
        .examination
        .as_ref()
        .and_then(|found| found.facts.operators.keys().next().cloned());
    let base = Query::default();
    match number % 7 {
        0 => Query {
            q: word(number),
            ..base
        },
        1 => Query {
            q: words.join(" "),
            ..base
        },
        2 => Query {
            q: word(number).chars().take(2).collect(),
            ..base
        },
        3 => Query {
            operators: operator,
            rung: Some("zk".into()),
            sort: Some("cost".into()),
            ..base
        },
        4 => Query {
            execution: Some("runs".into()),
            max_cost_micros: Some(5000),
            limit: Some(100),
            ..base
        },
        5 => Query {
            q: "test".into(),
            sort: Some("name".into()),
            offset: 500,
            ..base
        },
        _ => base,
    }
}
