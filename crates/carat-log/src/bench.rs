//! Measuring durable appends.

use crate::note::{NoteError, NoteSigner};
use crate::store::{Log, Options, StoreError};
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchOptions {
    /// Number of leaves, at least one.
    pub entries: u64,
    /// Bytes of each leaf, at most [`crate::MAX_LEAF_BYTES`].
    pub leaf_bytes: usize,
    /// Threads that append, at least one.
    pub threads: usize,
    /// Leaves in each call; 1 measures [`Log::append`].
    pub batch: usize,
    /// How often a checkpoint is published meanwhile; `None`: once at the end.
    pub publish_every: Option<Duration>,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            entries: 50_000,
            leaf_bytes: 40,
            threads: 4,
            batch: 64,
            publish_every: Some(Duration::from_secs(1)),
        }
    }
}

/// What was measured. Every counted append was durable when it returned.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BenchReport {
    /// Leaves appended.
    pub entries: u64,
    /// Bytes of each leaf.
    pub leaf_bytes: usize,
    /// Threads that appended.
    pub threads: usize,
    /// Leaves in each call.
    pub batch: usize,
    /// Wall time until the last append returned, in seconds.
    pub append_seconds: f64,
    /// `entries / append_seconds`.
    pub appends_per_second: f64,
    /// Median time of one call, in microseconds.
    pub call_p50_us: f64,
    /// 99th percentile of the time of one call, in microseconds.
    pub call_p99_us: f64,
    /// Checkpoints published, the final one included.
    pub checkpoints: u64,
    /// Time of the final publication, in seconds.
    pub publish_seconds: f64,
    /// Syncs of files and directories, from first append to last publication.
    pub syncs: u64,
    /// `entries / (append_seconds + publish_seconds)`: appended and under a
    /// checkpoint.
    pub published_per_second: f64,
}

/// Why nothing was measured.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The log failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The benchmark's own key; not expected.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A count of zero.
    #[error("entries, threads and batch must be at least 1")]
    Zero,
}

/// Appends to a new log in `dir`, which must be empty and is left in place for
/// whoever wants to audit it. The key is not secret.
///
/// # Errors
/// [`BenchError`]; leaves the directory as it is then.
pub fn bench_appends(dir: &Path, options: &BenchOptions) -> Result<BenchReport, BenchError> {
    let BenchOptions {
        entries,
        leaf_bytes,
        threads,
        batch,
        publish_every,
    } = *options;
    if entries == 0 || threads == 0 || batch == 0 {
        return Err(BenchError::Zero);
    }
    let signer = NoteSigner::new("bench.example/log", &[0; 32])?;
    let log = Log::create(dir, signer, Options::default())?;
    let (syncs, taken, checkpoints) = (log.stats().syncs, AtomicU64::new(0), AtomicU64::new(0));

    let start = Instant::now();
    let mut times = std::thread::scope(|scope| -> Result<Vec<Duration>, StoreError> {
        let writers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| append_all(&log, &taken, options)))
            .collect();
        let publisher = publish_every.map(|every| {
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let (log, checkpoints) = (&log, &checkpoints);
            let thread = scope.spawn(move || {
                while stopped.recv_timeout(every) == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                {
                    log.publish()?;
                    checkpoints.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<(), StoreError>(())
            });
            (stop, thread)
        });
        let mut times = Vec::new();
        for writer in writers {
            times.extend(join(writer)?);
        }
        if let Some((stop, thread)) = publisher {
            drop(stop);
            join(thread)?;
        }
        Ok(times)
    })?;
    let append_seconds = start.elapsed().as_secs_f64();
    let start = Instant::now();
    log.publish()?;
    let publish_seconds = start.elapsed().as_secs_f64();

    times.sort_unstable();
    let percentile = |p: usize| times[(times.len() - 1) * p / 100].as_secs_f64() * 1e6;
    Ok(BenchReport {
        entries,
        leaf_bytes,
        threads,
        batch,
        append_seconds,
        appends_per_second: entries as f64 / append_seconds,
        call_p50_us: percentile(50),
        call_p99_us: percentile(99),
        checkpoints: checkpoints.into_inner() + 1,
        publish_seconds,
        syncs: log.stats().syncs - syncs,
        published_per_second: entries as f64 / (append_seconds + publish_seconds),
    })
}

/// One thread: takes batches until all leaves are taken.
fn append_all(
    log: &Log,
    taken: &AtomicU64,
    options: &BenchOptions,
) -> Result<Vec<Duration>, StoreError> {
    let mut times = Vec::new();
    loop {
        let from = taken.fetch_add(options.batch as u64, Ordering::Relaxed);
        if from >= options.entries {
            return Ok(times);
        }
        let to = options.entries.min(from + options.batch as u64);
        let leaves: Vec<Vec<u8>> = (from..to)
            .map(|i| {
                let mut leaf = vec![0; options.leaf_bytes];
                leaf.iter_mut()
                    .zip(i.to_be_bytes())
                    .for_each(|(to, from)| *to = from);
                leaf
            })
            .collect();
        let start = Instant::now();
        log.append_batch(&leaves)?;
        times.push(start.elapsed());
    }
}

/// A panic of a thread goes on in this one.
fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
