//! Processor time, counted by the system, and what running and proving cost here.

use std::time::{Duration, Instant};

use carat_policy::environment::Calibration;
use carat_policy::simulate::rng::Rng;
use carat_receipt::{Digest, Label};
use carat_zk::Profile;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::models::{self, Served};
use crate::exit::{Exit, Failure};
use crate::home;
use crate::prover::{self, Subject};
use crate::tell::Doing;

/// Runs of a measurement of running.
const RUNS: usize = 50;
/// Fewest and most proofs of a measurement of proving.
const PROOFS: std::ops::RangeInclusive<usize> = 3..=20;
/// How long it may take, beyond the fewest.
const PATIENCE: Duration = Duration::from_millis(500);

/// What some work took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// How many times it was done.
    pub count: u64,
    /// Processor time of this process, all threads together, in microseconds.
    pub cpu_micros: u64,
    /// Elapsed time, in microseconds.
    pub wall_micros: u64,
}

impl Spent {
    /// Adds another.
    pub(super) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.cpu_micros += other.cpu_micros;
        self.wall_micros += other.wall_micros;
    }
}

/// Processor time of this process until now. Other processes on the machine do not count.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}

fn micros(time: Duration) -> u64 {
    // Rounded up: what is short was not free.
    u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// Does some work once, and says what it took.
pub(super) fn timed<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, Spent), Failure> {
    let (cpu_before, started) = (cpu(), Instant::now());
    let done = work()?;
    let spent = Spent {
        count: 1,
        cpu_micros: micros(cpu().saturating_sub(cpu_before)),
        wall_micros: micros(started.elapsed()),
    };
    Ok((done, spent))
}

/// What models of one shape cost.
#[derive(Debug, Clone)]
pub(super) struct Costs {
    pub(super) execute: Calibration,
    /// One statement in a proof, with the commitment to the weights; `None`: the prover does not take such models, or not
    /// within the memory.
    pub(super) prove: Option<Calibration>,
    /// So many statements in a proof.
    pub(super) batch: Option<(u64, Calibration)>,
    /// Of those times the mean of the commitment alone, which a prover makes once for each model.
    pub(super) commit_cpu_micros: u64,
}

fn calibration(backend: &str, runs: &[Spent]) -> Result<Calibration, Failure> {
    let mut walls: Vec<u64> = runs.iter().map(|run| run.wall_micros).collect();
    walls.sort_unstable();
    let count = runs.len() as u64;
    let total: u64 = runs.iter().map(|run| run.cpu_micros).sum();
    Ok(Calibration {
        backend: Label::new(format!("cpu/{}/{backend}", std::env::consts::ARCH))
            .map_err(Failure::of(Exit::Internal))?,
        mean_cpu_micros: total.div_ceil(count.max(1)).max(1),
        p50_micros: walls.get(walls.len() / 2).copied().unwrap_or(u64::MAX),
        p99_micros: walls.last().copied().unwrap_or(u64::MAX),
        count,
        measured_at: home::clock()?,
    })
}

/// Measures a model, weights committed to anew for each proof: what the planner takes is rounded up.
pub(super) fn measure(
    served: &mut Served,
    batch: u64,
    profile: Profile,
    memory: u64,
    rng: &mut Rng,
    doing: &dyn Doing,
) -> Result<Costs, Failure> {
    let input = models::random_input(served.model.program(), rng)?;
    // The first run prepares the model and is not counted.
    served.run(&input)?;
    let mut runs = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        runs.push(timed(|| served.run(&input))?.1);
    }
    let mut commitments = Spent::default();
    let mut proofs = |statements: u64| -> Result<Option<Calibration>, Failure> {
        let (mut spent, started) = (Vec::new(), Instant::now());
        while spent.len() < *PROOFS.start()
            || (spent.len() < *PROOFS.end() && started.elapsed() < PATIENCE)
        {
            let mut subjects = Vec::new();
            for i in 0..statements {
                let inputs = models::random_input(served.model.program(), rng)?;
                let outputs = served.run(&inputs)?;
                subjects.push(Subject {
                    statement: Digest::sha256(&i.to_be_bytes()),
                    inputs,
                    outputs,
                });
            }
            served.forget_key();
            let how = prover::How::succinct(profile, memory);
            let proof = timed(|| served.proving(profile).map(drop)).and_then(|((), commitment)| {
                let (model, key, executable) = served.proving(profile)?;
                let (_, mut taken) =
                    timed(|| prover::proof_with(model, key, executable, &subjects, &how, doing))?;
                taken.cpu_micros += commitment.cpu_micros;
                taken.wall_micros += commitment.wall_micros;
                Ok((commitment, taken))
            });
            match proof {
                Ok((commitment, taken)) => {
                    commitments.add(commitment);
                    spent.push(taken);
                }
                Err(failure) if matches!(failure.exit, Exit::Model | Exit::Memory) => {
                    return Ok(None);
                }
                Err(failure) => return Err(failure),
            }
        }
        calibration("all-threads", &spent).map(Some)
    };
    let prove = proofs(1)?;
    let batched = match &prove {
        Some(_) if batch > 1 => proofs(batch)?.map(|batched| (batch, batched)),
        _ => None,
    };
    served.forget_key();
    Ok(Costs {
        commit_cpu_micros: commitments
            .cpu_micros
            .checked_div(commitments.count)
            .unwrap_or_default(),
        execute: calibration("1-thread", &runs)?,
        prove,
        batch: batched,
    })
}
