//! `carat bench serve`: a server in a process of its own, on this machine, under load.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use carat_node::load::{self, LoadOptions, LoadReport};
use serde_json::json;

use super::{Context, Outcome, machine};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::model::Model;
use crate::output::{Answer, Progress};

/// How long the server may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time a server: starts one on 127.0.0.1 in a process of its own, with a new data directory, and loads it.
///
/// Every request gets a receipt that is in the store and in the log, both synced, before it is answered.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat bench serve --seconds 10 --json\n  carat bench serve --seconds 600 --receipts 1000000 --json\n  carat bench serve --model models/tumor --connections 16 --dir /srv/disk-to-measure/new-folder"
)]
pub(super) struct Args {
    /// A compiled model or a folder.
    #[arg(long, default_value = "models/digits")]
    model: PathBuf,
    /// How long to send requests.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=load::MAX_SECONDS))]
    seconds: u64,
    /// Connections, each of which waits for its answer before it asks again.
    #[arg(long, default_value_t = 32, value_parser = connections)]
    connections: usize,
    /// End after so many receipts, before the time is over. The server's memory is told at each tenth of them.
    #[arg(long, value_parser = clap::value_parser!(u64).range(10..=10_000_000))]
    receipts: Option<u64>,
    /// A new directory on the disk to measure; it is removed afterwards [default: in the data directory].
    #[arg(long)]
    dir: Option<PathBuf>,
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=load::MAX_CONNECTIONS).contains(&count) => Ok(count),
        _ => Err(format!("give 1 to {} connections", load::MAX_CONNECTIONS)),
    }
}

/// The server's process; killed if it is still there when this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the system counted of a process, in bytes: `VmHWM`, the largest resident set since its start, or `VmRSS`, the one now.
fn resident(process: u32, what: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    let kib = line.strip_prefix(':')?.trim().strip_suffix("kB")?;
    Some(kib.trim().parse::<u64>().ok()? * 1024)
}

/// Runs the load, and notes the server's memory at each tenth of the receipts.
fn watched(
    options: &LoadOptions,
    server: &Server,
) -> Result<(LoadReport, Vec<(u64, u64)>), Failure> {
    let (count, over) = (Arc::new(AtomicU64::new(0)), AtomicBool::new(false));
    let (process, step) = (server.0.id(), options.receipts.map(|most| most / 10));
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = Vec::new();
            let Some(step) = step else { return seen };
            while !over.load(Ordering::Acquire) {
                let now = count.load(Ordering::Relaxed);
                if now >= step * (seen.len() as u64 + 1)
                    && let Some(bytes) = resident(process, "VmRSS")
                {
                    seen.push((now, bytes));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            seen
        });
        let report = load::run(options, &count);
        over.store(true, Ordering::Release);
        let seen = watcher.join().unwrap_or_default();
        Ok((report?, seen))
    })
}

impl Server {
    /// Tells it to end, and waits until it has.
    fn finish(mut self) -> Result<(), Failure> {
        let failed = |what: String| Failure::new(Exit::CheckFailed, what);
        let told = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status();
        if !told.is_ok_and(|status| status.success()) {
            return Err(failed("the server could not be told to end".into()));
        }
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.0.try_wait() {
                if status.success() {
                    return Ok(());
                }
                return Err(failed(format!("the server ended with {status}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(failed(format!(
            "the server did not end within {} s",
            PATIENCE.as_secs()
        )))
    }
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let model = Model::load(&args.model, context)?;
    let dir = super::scratch(args.dir, "bench-serve", context)?;
    let path = std::fs::canonicalize(&model.path)
        .map_err(|error| files::io_failure("reading", &model.path, &error))?;
    let config = dir.path().join("serve.toml");
    let text = toml::to_string(&json!({
        "listen": "127.0.0.1:0",
        "access": "open",
        "model": [{ "name": "model", "path": path }],
    }))
    .map_err(Failure::of(Exit::Internal))?;
    files::write_atomic(&config, text.as_bytes(), files::Mode::Private)?;

    let progress = Progress::start("starting the server");
    let own = std::env::current_exe()
        .map_err(|error| files::io_failure("finding", "this program".as_ref(), &error))?;
    let mut child = Command::new(&own)
        .arg("serve")
        .args(["--config".as_ref(), config.as_os_str()])
        .args(["--data-dir".as_ref(), dir.path().join("home").as_os_str()])
        .env("CARAT_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| files::io_failure("starting", &own, &error))?;
    let stdout = child.stdout.take();
    let server = Server(child);
    let address = listening(stdout)?;

    progress.say(format!("{} s of requests", args.seconds));
    let options = LoadOptions {
        address,
        path: "/v1/models/model/infer".into(),
        body: body(&model)?,
        time: Duration::from_secs(args.seconds),
        connections: args.connections,
        receipts: args.receipts,
    };
    let (report, memory) = watched(&options, &server)?;
    let peak = resident(server.0.id(), "VmHWM");
    server.finish()?;
    drop(progress);

    let per_second = report.receipts as f64 / report.elapsed.as_secs_f64();
    let millis = |percent| f64::from(report.percentile(percent)) / 1000.0;
    let machine = machine();
    let json = json!({
        "model": model.name,
        "receipts_per_second": (per_second * 10.0).round() / 10.0,
        "p50_ms": millis(50),
        "p99_ms": millis(99),
        "errors": report.errors,
        "refused_429": report.refused,
        "receipts": report.receipts,
        "seconds": report.elapsed.as_secs_f64(),
        "connections": args.connections,
        "peak_rss_bytes": peak,
        "rss": memory.iter().map(|(receipts, bytes)| json!({ "receipts": receipts, "bytes": bytes })).collect::<Vec<_>>(),
        "machine": machine.1,
    });
    let mut text = format!(
        "{}\n{per_second:.0} receipts per second for {:.1} s over {} connections: {} receipts, {} errors, {} times 429\n\
         One request: median {:.1} ms, 99th percentile {:.1} ms. Peak memory of the server: {}\n",
        machine.0,
        report.elapsed.as_secs_f64(),
        args.connections,
        report.receipts,
        report.errors,
        report.refused,
        millis(50),
        millis(99),
        peak.map_or("unknown".into(), |bytes| format!("{} MiB", bytes >> 20)),
    );
    for (receipts, bytes) in &memory {
        let _ = writeln!(text, "At {receipts} receipts: {} MiB", bytes >> 20);
    }
    let exit = if report.errors == 0 && report.receipts > 0 {
        Exit::Good
    } else {
        Exit::CheckFailed
    };
    Ok((Answer { text, json }, exit))
}

/// The address that the server prints.
fn listening(stdout: Option<std::process::ChildStdout>) -> Result<SocketAddr, Failure> {
    let mut line = String::new();
    if let Some(stdout) = stdout {
        let _ = BufReader::new(stdout).read_line(&mut line);
    }
    line.trim()
        .strip_prefix("listening on http://")
        .and_then(|address| address.parse().ok())
        .ok_or_else(|| {
            Failure::new(
                Exit::CheckFailed,
                "the server did not start; its message is above",
            )
        })
}

/// A request with an input of zeros.
fn body(model: &Model) -> Result<Vec<u8>, Failure> {
    fn nested(dims: &[usize]) -> serde_json::Value {
        match dims {
            [] => json!(0),
            [first, rest @ ..] => vec![nested(rest); *first].into(),
        }
    }
    let inputs: serde_json::Map<String, serde_json::Value> = model
        .program()
        .inputs
        .iter()
        .map(|input| (input.name.clone(), nested(&input.shape.dims())))
        .collect();
    serde_json::to_vec(&json!({ "inputs": inputs })).map_err(Failure::of(Exit::Internal))
}
