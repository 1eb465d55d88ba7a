//! How long an inference takes.

use super::{ExecError, Executable};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Times of repeated calls with one batch size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    /// Samples per call.
    pub batch: usize,
    /// Threads at most.
    pub threads: usize,
    /// Instruction set in use.
    pub instructions: &'static str,
    /// Calls that were timed.
    pub calls: usize,
    /// Median time of a call, in microseconds.
    pub median_us: f64,
    /// 99th percentile of the time of a call, in microseconds.
    pub p99_us: f64,
    /// Median divided by the batch size, in microseconds.
    pub per_sample_us: f64,
}

/// Times an executable on made-up inputs within their ranges, for about `budget` after a warm-up of at most 0.3 s.
///
/// A call is [`Executable::run_stacked`]: checks of the inputs included, encoding of floats excluded.
///
/// # Errors
/// As [`Executable::run_stacked`].
pub fn time(executable: &Executable, batch: usize, budget: Duration) -> Result<Timing, ExecError> {
    let inputs = made_up(executable, batch);
    let slices: Vec<&[i32]> = inputs.iter().map(Vec::as_slice).collect();
    let warm = Instant::now();
    while warm.elapsed() < budget.min(Duration::from_millis(300)) {
        executable.run_stacked(batch, &slices)?;
    }
    let mut times: Vec<Duration> = vec![];
    let start = Instant::now();
    while start.elapsed() < budget || times.len() < 20 {
        let call = Instant::now();
        std::hint::black_box(executable.run_stacked(batch, std::hint::black_box(&slices))?);
        times.push(call.elapsed());
    }
    times.sort_unstable();
    let at = |percent: usize| {
        times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e6
    };
    Ok(Timing {
        batch,
        threads: executable.threads(),
        instructions: executable.instructions(),
        calls: times.len(),
        median_us: at(50),
        p99_us: at(99),
        per_sample_us: at(50) / batch.max(1) as f64,
    })
}

/// Values that wander over each input's range; the same on every machine.
fn made_up(executable: &Executable, batch: usize) -> Vec<Vec<i32>> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |lo: i64, hi: i64| {
        // Knuth's MMIX generator; the high bits are good enough for made-up data.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (lo + ((state >> 33) % (hi - lo + 1) as u64) as i64) as i32
    };
    let inputs = &executable.program().inputs;
    inputs
        .iter()
        .map(|x| {
            (0..batch * x.shape.elements())
                .map(|_| next(x.range.lo, x.range.hi))
                .collect()
        })
        .collect()
}
