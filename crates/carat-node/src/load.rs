//! A load generator for a server on this machine. It takes loopback addresses only, and its limits are fixed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::exit::{Exit, Failure};

/// Most connections.
pub const MAX_CONNECTIONS: usize = 512;
/// Longest measurement.
pub const MAX_SECONDS: u64 = 600;
/// Largest answer that is read.
const MAX_ANSWER: usize = 16 << 20;

/// What is sent, and for how long.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Where the server listens; a loopback address.
    pub address: SocketAddr,
    /// The path that is posted to.
    pub path: String,
    /// The body, JSON.
    pub body: Vec<u8>,
    /// For how long.
    pub time: Duration,
    /// Connections, each of which waits for its answer before it asks again.
    pub connections: usize,
    /// Receipts after which no more is asked for.
    pub receipts: Option<u64>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadReport {
    /// Answers with a receipt.
    pub receipts: u64,
    /// Answers of another kind than a receipt or 429, and connections that failed.
    pub errors: u64,
    /// Answers with 429.
    pub refused: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Latencies of the receipts in microseconds, sorted.
    pub micros: Vec<u32>,
}

impl LoadReport {
    /// A percentile of the latencies in microseconds; 0 where there is no answer.
    pub fn percentile(&self, percent: usize) -> u32 {
        let place = (self.micros.len() * percent)
            .div_ceil(100)
            .saturating_sub(1);
        self.micros.get(place).copied().unwrap_or(0)
    }

    fn and(mut self, other: Self) -> Self {
        self.receipts += other.receipts;
        self.errors += other.errors;
        self.refused += other.refused;
        self.micros.extend(other.micros);
        self
    }
}

/// Sends requests until the time is over, or there are as many receipts as are asked for. `count` has the receipts so far, for
/// whoever watches from another thread.
pub fn run(options: &LoadOptions, count: &Arc<AtomicU64>) -> Result<LoadReport, Failure> {
    let usage = |message: String| Err(Failure::new(Exit::Usage, message));
    if !options.address.ip().is_loopback() {
        return usage(format!(
            "{} is no loopback address; load is sent to this machine only",
            options.address
        ));
    }
    if !(1..=MAX_CONNECTIONS).contains(&options.connections) {
        return usage(format!("1 to {MAX_CONNECTIONS} connections"));
    }
    if options.time > Duration::from_secs(MAX_SECONDS) {
        return usage(format!("at most {MAX_SECONDS} seconds"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Io, error))?;
    let started = Instant::now();
    let until = started + options.time;
    let reports = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..options.connections {
            tasks.spawn(connection(options.clone(), until, count.clone()));
        }
        tasks.join_all().await
    });
    let mut report = reports
        .into_iter()
        .fold(LoadReport::default(), LoadReport::and);
    report.elapsed = started.elapsed();
    report.micros.sort_unstable();
    Ok(report)
}

/// One connection's part; a broken connection is counted and made again.
async fn connection(options: LoadOptions, until: Instant, count: Arc<AtomicU64>) -> LoadReport {
    let mut report = LoadReport::default();
    let body = Bytes::from(options.body.clone());
    let goes_on = || {
        let enough = |most| count.load(Ordering::Relaxed) >= most;
        Instant::now() < until && !options.receipts.is_some_and(enough)
    };
    while goes_on() {
        if exchange(&options, &body, &goes_on, &count, &mut report)
            .await
            .is_err()
        {
            report.errors += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    report
}

async fn exchange(
    options: &LoadOptions,
    body: &Bytes,
    goes_on: &(dyn Fn() -> bool + Sync),
    count: &AtomicU64,
    report: &mut LoadReport,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(options.address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    while goes_on() {
        let request = Request::post(&options.path)
            .header("host", options.address.to_string())
            .header("content-type", "application/json")
            .body(Full::new(body.clone()))?;
        let started = Instant::now();
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let has_receipt = answer.headers().contains_key("carat-receipt-id");
        Limited::new(answer.into_body(), MAX_ANSWER)
            .collect()
            .await?;
        match status.as_u16() {
            200 if has_receipt => {
                report.receipts += 1;
                count.fetch_add(1, Ordering::Relaxed);
                let micros = u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX);
                report.micros.push(micros);
            }
            429 => {
                report.refused += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            _ => report.errors += 1,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loaded_and_only_so_much() {
        let options = |address: &str, connections, seconds| LoadOptions {
            address: address.parse().expect("an address"),
            path: "/".into(),
            body: Vec::new(),
            time: Duration::from_secs(seconds),
            connections,
            receipts: None,
        };
        for options in [
            options("192.0.2.1:80", 1, 1),
            options("127.0.0.1:1", 0, 1),
            options("127.0.0.1:1", MAX_CONNECTIONS + 1, 1),
            options("127.0.0.1:1", 1, MAX_SECONDS + 1),
        ] {
            assert_eq!(
                run(&options, &Arc::default()).expect_err("refused").exit,
                Exit::Usage
            );
        }
    }

    #[test]
    fn percentiles_are_of_what_came_back() {
        let report = LoadReport {
            micros: (1..=200).collect(),
            ..LoadReport::default()
        };
        assert_eq!((report.percentile(50), report.percentile(99)), (100, 198));
        assert_eq!(LoadReport::default().percentile(99), 0);
    }
}
