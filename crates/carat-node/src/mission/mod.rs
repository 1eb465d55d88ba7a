//! The thesis, measured: many models, many requests with heavy-tailed stakes, the planner with costs that were measured
//! here, real runs, receipts, proofs and replays; and what other ways of checking would cost and leave uncovered.
//!
//! Time goes by in windows. In each, requests are decided, run, signed and put into a log; then what was promised together
//! with the answers is proven (plans that share a proof share one with the others of their model in the window); then a
//! checkpoint is published, the draw is made, and what is drawn is run again and compared. Exposure that T3 counts as open
//! is open until the end of the window.
//!
//! Auditors and bond are stated, not there: replays are made by this process.

mod costs;
mod cover;
mod models;
mod report;
mod traffic;
mod window;

use std::path::Path;
use std::time::{Duration, Instant};

use carat_log::NoteSigner;
use carat_log::store::Log;
use carat_policy::environment::{Audits, Batch, Bond, Environment, Prover};
use carat_policy::policy_file::Policy;
use carat_policy::simulate::rng::Rng;
use carat_policy::simulate::values::Values;
use carat_policy::{Detection, Fraction, Micros, Price};
use carat_receipt::{Label, SigningKey};
use carat_zk::Profile;

use crate::exit::{Exit, Failure};
use crate::home::{self, log_failure};
use crate::issue::Issuer;
use crate::model::Model;
use crate::tell::Doing;
use crate::{prover, supply};

use costs::Costs;
use cover::{Backing, Uniform};
use models::Served;
use traffic::{Kind, Request};

pub use costs::Spent;
pub use cover::Uncovered;
pub use report::{Bought, Overhead, Refused, Report, Strategy};

/// The policy of the mission.
pub const POLICY: &str = include_str!("policy.toml");
/// Most models.
pub const MAX_MODELS: usize = 100_000;
/// Most requests.
pub const MAX_REQUESTS: usize = 1_000_000;
/// How many statements of a model share a proof, where a window is expected to bring as many.
pub const BATCH: u64 = 4;
/// For how long a batch is collected: a window of requests comes within a second.
const BATCH_MICROS: u64 = 1_000_000;
/// What relying parties rest on this software being right: the default of Trust files.
const PROOF_CAP: Micros = Micros(1_000_000_000);
/// Stream of the seed for weights and inputs.
const WEIGHTS: u64 = 4;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many models, those that are given among them.
    pub models: usize,
    /// How many requests.
    pub requests: usize,
    /// How many of them make a window.
    pub window: usize,
    /// Seed of models, inputs, stakes and kinds.
    pub seed: u64,
    /// After so long no further request is taken; what was taken is finished.
    pub limit: Duration,
    /// What rides on the answers, in units of `unit`.
    pub stakes: Values,
    /// What that is called.
    pub stakes_name: String,
    /// The unit of the stakes.
    pub unit: Micros,
    /// The bond.
    pub bond: Micros,
}

/// Everything that a window needs.
struct Mission<'a> {
    policy: Policy,
    issuer: Issuer,
    log: Log,
    served: Vec<Served>,
    costs: Vec<Option<Costs>>,
    /// Of each model: whether enough proofs are expected for it in a window to share them.
    shares: Vec<bool>,
    backing: Backing,
    cpu_second: (Price, u64),
    profile: Profile,
    memory: u64,
    inputs: Rng,
    doing: &'a dyn Doing,
}

/// Runs the mission. `dir` is a directory for its log.
///
/// # Errors
/// What keeps models from running, proofs from verifying or the log from being written. A replay that finds another answer
/// is an error as well.
pub fn run(
    options: &Options,
    given: Vec<Model>,
    dir: &Path,
    doing: &dyn Doing,
) -> Result<Report, Failure> {
    check(options, given.len())?;
    let started = Instant::now();
    let mut rng = Rng::new(options.seed, WEIGHTS);
    doing.say("making models");
    let named = given.len();
    let served = serve(options, given, &mut rng)?;
    let requests = traffic::requests(
        options.models,
        named,
        options.requests,
        &options.stakes,
        options.unit,
        options.seed,
    );
    let key = SigningKey::generate().map_err(Failure::of(Exit::Io))?;
    let signer = NoteSigner::new("carat.local/mission", &[7; 32]).map_err(Failure::of(Exit::Io))?;
    let log = Log::create(
        &dir.join("log"),
        signer,
        carat_log::store::Options::default(),
    )
    .map_err(log_failure)?;
    let (shares, window) = (shares(options, &requests), options.window);
    let mut mission = Mission {
        policy: Policy::parse(POLICY).map_err(Failure::of(Exit::Internal))?,
        issuer: Issuer {
            key,
            name: Label::new("carat-mission").map_err(Failure::of(Exit::Internal))?,
        },
        log,
        costs: Vec::new(),
        served,
        shares,
        backing: backing(options.bond)?,
        cpu_second: (supply::CPU_SECOND, supply::CPU_SECOND_AS_OF),
        profile: Profile::ALL[0],
        memory: prover::size(prover::MEMORY).map_err(Failure::of(Exit::Internal))?,
        inputs: rng,
        doing,
    };
    mission.calibrate(&requests)?;
    let mut report = Report::new(options, &mission);
    report.calibration_wall_micros = elapsed(started);
    let serving = Instant::now();
    let windows = requests.len().div_ceil(window);
    for (i, requests) in requests.chunks(window).enumerate() {
        doing.say(&format!("window {} of {windows}", i + 1));
        let taken = mission.window(requests, &mut report, started + options.limit)?;
        if taken < requests.len() {
            report.stopped_early = true;
            break;
        }
    }
    report.serving_wall_micros = elapsed(serving);
    report.compare(&mission, &requests, window);
    Ok(report)
}

fn elapsed(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn check(options: &Options, given: usize) -> Result<(), Failure> {
    let refuse = |what: String| Err(Failure::new(Exit::Usage, what));
    if options.models < given.max(1) || options.models > MAX_MODELS {
        return refuse(format!(
            "give {} to {MAX_MODELS} models: {given} are named",
            given.max(1)
        ));
    }
    if options.requests == 0 || options.requests > MAX_REQUESTS || options.window == 0 {
        return refuse(format!(
            "give 1 to {MAX_REQUESTS} requests, in windows of at least one"
        ));
    }
    Ok(())
}

fn serve(options: &Options, given: Vec<Model>, rng: &mut Rng) -> Result<Vec<Served>, Failure> {
    let own = models::SHAPES.len();
    let mut served: Vec<Served> = given
        .into_iter()
        .enumerate()
        .map(|(i, model)| Served::new(model, own + i))
        .collect();
    for number in served.len()..options.models {
        let shape = number % own;
        served.push(Served::new(models::generated(number, shape, rng)?, shape));
    }
    Ok(served)
}

/// Whether a request must be proven, whatever else would cover it.
fn must_be_proven(request: &Request) -> bool {
    request.kind == Kind::Final && request.value >= Micros(100_000)
}

/// The forecast that an operator has: how often each model is asked for, and which share of all answers must be proven.
fn shares(options: &Options, requests: &[Request]) -> Vec<bool> {
    let mut asked = vec![0_u64; options.models];
    requests
        .iter()
        .for_each(|request| asked[request.model] += 1);
    let all = requests.len() as u64;
    let proven = requests.iter().filter(|r| must_be_proven(r)).count() as u64;
    let window = options.window.min(requests.len()) as u64;
    let expected = |asked: u64| {
        u128::from(asked) * u128::from(proven) * u128::from(window)
            >= u128::from(BATCH) * u128::from(all) * u128::from(all)
    };
    asked.into_iter().map(expected).collect()
}

fn backing(bond: Micros) -> Result<Backing, Failure> {
    let fraction = |text: &str| {
        text.parse::<Fraction>()
            .map_err(Failure::of(Exit::Internal))
    };
    Ok(Backing {
        bond: Bond {
            name: Label::new("bond-1").map_err(Failure::of(Exit::Internal))?,
            allocated: bond,
            withheld: Micros::ZERO,
            open: Micros::ZERO,
            clawback: true,
            joint_forfeiture: true,
        },
        kappa: fraction("0.8")?,
        detection: Detection {
            power: Fraction::ONE,
            colluding: fraction("0.05")?,
            predictable: Fraction::ZERO,
        },
    })
}

impl Mission<'_> {
    /// Measures each shape that is asked for, on the first model that has it.
    fn calibrate(&mut self, requests: &[Request]) -> Result<(), Failure> {
        let shapes = self.served.iter().map(|served| served.shape).max();
        self.costs = vec![None; shapes.map_or(0, |most| most + 1)];
        for request in requests {
            let shape = self.served[request.model].shape;
            if self.costs[shape].is_some() {
                continue;
            }
            let served = &mut self.served[request.model];
            self.doing.say(&format!("measuring {}", served.model.name));
            let costs = costs::measure(
                served,
                BATCH,
                self.profile,
                self.memory,
                &mut self.inputs,
                self.doing,
            )?;
            self.costs[shape] = Some(costs);
        }
        Ok(())
    }

    /// What was measured for a model.
    fn costs(&self, model: usize) -> Result<&Costs, Failure> {
        self.costs[self.served[model].shape]
            .as_ref()
            .ok_or_else(|| Failure::new(Exit::Internal, "a model was asked for and not measured"))
    }

    /// What is supplied for a model, with so much exposure open.
    fn environment(&self, model: usize, open: Micros) -> Result<Environment, Failure> {
        let costs = self.costs(model)?;
        let mut environment =
            Environment::bare(self.policy.currency, self.cpu_second.0, self.cpu_second.1);
        environment.execute = Some(costs.execute.clone());
        environment.kappa = self.backing.kappa;
        environment.audits = Some(Audits {
            independent: 3,
            fee: Price::ZERO,
            detection: self.backing.detection,
            window_secs: 86_400,
        });
        environment.bond = Some(Bond {
            open,
            ..self.backing.bond.clone()
        });
        let batch = costs.batch.as_ref().filter(|_| self.shares[model]);
        environment.prover = costs.prove.as_ref().map(|prove| Prover {
            prove: Some(prove.clone()),
            cap: Some(PROOF_CAP),
            deferred_secs: None,
            batch: batch.map(|(size, prove)| Batch {
                size: *size,
                window_micros: BATCH_MICROS,
                prove: prove.clone(),
            }),
        });
        Ok(environment)
    }
}

/// The chance of a uniform audit, for comparison.
fn quarter() -> carat_policy::Tau {
    carat_policy::Tau(1 << 62)
}

fn now() -> Result<u64, Failure> {
    home::clock()
}

#[cfg(test)]
mod tests;
