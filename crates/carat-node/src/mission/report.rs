//! What the mission came to. What was measured and what is extrapolated are told apart.

use std::collections::{BTreeMap, BTreeSet};

use carat_policy::plan::Obstacle;
use carat_policy::{Micros, Plan, Price, Rung, explain};
use carat_receipt::Currency;
use serde::Serialize;

use super::traffic::{PATIENCE_MICROS, Request};
use super::{BATCH, Mission, Options, PROOF_CAP, Spent, Uncovered, Uniform, quarter};
use crate::exit::{Exit, Failure};
use crate::planned::Planned;

/// What was bought on one rung.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Bought {
    /// Answers whose plan this was.
    pub answers: u64,
    /// What the planner expected them to cost, in million-millionths of a unit.
    pub expected_picos: u64,
    /// Audits that were drawn, and made by running again.
    pub replays: Spent,
    /// Proofs that were made and verified, commitments to weights among it.
    pub proofs: Spent,
    /// Statements in those proofs.
    pub statements: u64,
    /// Bytes of those proofs.
    pub proof_bytes: u64,
    /// Processor time for replays and proofs, in microseconds.
    pub cpu_micros: u64,
    /// That time at the stated price, in million-millionths of a unit.
    pub cost_picos: u64,
    /// The assumptions that their amounts rest on.
    pub under: BTreeSet<String>,
}

/// What every way of checking has beside checking: measured, and not part of what is compared.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Overhead {
    /// Policy and planner.
    pub planning: Spent,
    /// The models themselves.
    pub running: Spent,
    /// Commitments and signatures.
    pub signing: Spent,
    /// The log.
    pub log: Spent,
    /// Inclusion proofs and receipt files.
    pub receipts: Spent,
}

/// Requests that were refused for one reason.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Refused {
    /// How many.
    pub requests: u64,
    /// What rode on them, in millionths.
    pub value_micros: u64,
    /// Why the strongest rung would not do, for the first of them.
    pub example: String,
}

/// A way of checking, on the requests that were considered.
#[derive(Debug, Clone, Serialize)]
pub struct Strategy {
    /// Its name.
    pub name: String,
    /// Whether its time was measured here, or extrapolated.
    pub measured: bool,
    /// What the time rests on.
    pub basis: String,
    /// Processor time for checking, in microseconds.
    pub cpu_micros: u64,
    /// That time at the stated price, in million-millionths of a unit.
    pub cost_picos: u64,
    /// Answers that are not covered.
    pub uncovered: Uncovered,
    /// Requests that it does not serve: refused, too late, or a model that the prover does not take.
    pub not_served: u64,
    /// What the coverage rests on.
    pub under: BTreeSet<String>,
}

/// What the mission came to.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Models.
    pub models: u64,
    /// Models that were asked for.
    pub models_asked: u64,
    /// Shapes that were measured, and so many runs and proofs for it.
    pub calibrated: Calibrated,
    /// Requests that were to be made.
    pub requests: u64,
    /// Requests that were considered; fewer if the time was over.
    pub considered: u64,
    /// The time was over first.
    pub stopped_early: bool,
    /// Requests in a window.
    pub window: u64,
    /// The seed.
    pub seed: u64,
    /// What the stakes were drawn from.
    pub stakes: String,
    /// All that rode on the considered requests, in millionths.
    pub at_stake_micros: u64,
    /// The largest of it.
    pub largest_stake_micros: u64,
    /// The bond, in millionths.
    pub bond_micros: u64,
    /// The most that a proof covers, in millionths.
    pub proof_cap_micros: u64,
    /// The currency.
    pub currency: Currency,
    /// Price of a CPU second, in million-millionths of a unit; stated, not measured.
    pub cpu_second_picos: u64,
    /// When it was stated, Unix seconds.
    pub cpu_second_as_of: u64,
    /// What was bought, by rung.
    pub rungs: BTreeMap<String, Bought>,
    /// What was refused, by reason.
    pub refused: BTreeMap<String, Refused>,
    /// Receipts that were made and read back, their signature and place in the log checked.
    pub receipts: u64,
    /// Bytes of them.
    pub receipt_bytes: u64,
    /// What the served answers rest on less than they are worth, from what was signed. None, unless the planner is wrong.
    pub served_uncovered: Uncovered,
    /// What there is beside checking.
    pub overhead: Overhead,
    /// Statements that were proven for each second of proving.
    pub proven_per_second: f64,
    /// Carat, and the others.
    pub strategies: Vec<Strategy>,
    /// Time for models and measurements.
    pub calibration_wall_micros: u64,
    /// Time for the windows.
    pub serving_wall_micros: u64,
    #[serde(skip)]
    asked: BTreeSet<usize>,
}

/// How much was measured before the first request.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Calibrated {
    /// Shapes of models.
    pub shapes: u64,
    /// Runs.
    pub runs: u64,
    /// Proofs of one statement.
    pub proofs: u64,
    /// Proofs of several.
    pub shared_proofs: u64,
}

impl Report {
    pub(super) fn new(options: &Options, mission: &Mission<'_>) -> Self {
        let costs = || mission.costs.iter().flatten();
        let calibrated = Calibrated {
            shapes: costs().count() as u64,
            runs: costs().map(|costs| costs.execute.count).sum(),
            proofs: costs()
                .filter_map(|costs| costs.prove.as_ref())
                .map(|prove| prove.count)
                .sum(),
            shared_proofs: costs()
                .filter_map(|costs| costs.batch.as_ref())
                .map(|(_, prove)| prove.count)
                .sum(),
        };
        Self {
            models: options.models as u64,
            models_asked: 0,
            calibrated,
            requests: options.requests as u64,
            considered: 0,
            stopped_early: false,
            window: options.window as u64,
            seed: options.seed,
            stakes: options.stakes_name.clone(),
            at_stake_micros: 0,
            largest_stake_micros: 0,
            bond_micros: options.bond.0,
            proof_cap_micros: PROOF_CAP.0,
            currency: mission.policy.currency,
            cpu_second_picos: mission.cpu_second.0.0,
            cpu_second_as_of: mission.cpu_second.1,
            rungs: BTreeMap::new(),
            refused: BTreeMap::new(),
            receipts: 0,
            receipt_bytes: 0,
            served_uncovered: Uncovered::default(),
            overhead: Overhead::default(),
            proven_per_second: 0.0,
            strategies: Vec::new(),
            calibration_wall_micros: 0,
            serving_wall_micros: 0,
            asked: BTreeSet::new(),
        }
    }

    pub(super) fn consider(&mut self, request: &Request) {
        self.considered += 1;
        self.asked.insert(request.model);
        self.models_asked = self.asked.len() as u64;
        self.at_stake_micros = self.at_stake_micros.saturating_add(request.value.0);
        self.largest_stake_micros = self.largest_stake_micros.max(request.value.0);
    }

    fn bought(&mut self, rung: Rung) -> &mut Bought {
        self.rungs.entry(rung.as_str().into()).or_default()
    }

    pub(super) fn planned(&mut self, plan: &Plan) {
        let bought = self.bought(plan.rung);
        bought.answers += 1;
        bought.expected_picos = bought.expected_picos.saturating_add(plan.price.0);
        bought
            .under
            .extend(plan.under.iter().map(ToString::to_string));
    }

    pub(super) fn replayed(&mut self, rung: Rung, spent: Spent) {
        self.bought(rung).replays.add(spent);
    }

    pub(super) fn proved(&mut self, rung: Rung, statements: u64, bytes: usize, spent: Spent) {
        let bought = self.bought(rung);
        bought.proofs.add(spent);
        bought.statements += statements;
        bought.proof_bytes += bytes as u64;
    }

    pub(super) fn refuse(&mut self, request: &Request, planned: &Planned) -> Result<(), Failure> {
        let Some(refusal) = planned.refusal() else {
            // The policy here judges every request of the traffic.
            let why = planned.refused().map(|failure| failure.message.clone());
            return Err(Failure::new(
                Exit::Internal,
                why.unwrap_or_else(|| "a request was neither planned nor refused".into()),
            ));
        };
        let strongest = refusal.dropped.iter().find(|(rung, _)| *rung == Rung::Zk);
        let reason = match strongest.map(|(_, obstacle)| obstacle) {
            Some(Obstacle::TooSlow { .. }) => "a proof takes longer than the caller waits",
            Some(Obstacle::Covers(_)) => "more rides on it than a proof covers",
            Some(Obstacle::NoSupply(_)) => "the prover does not take the model",
            _ => "another",
        };
        let entry = self.refused.entry(reason.into()).or_default();
        entry.requests += 1;
        entry.value_micros = entry.value_micros.saturating_add(request.value.0);
        if entry.example.is_empty() {
            entry.example = strongest
                .map(|(rung, obstacle)| {
                    let why = explain::obstacle(obstacle, self.currency);
                    format!("{}: {why}", rung.as_str())
                })
                .unwrap_or_default();
        }
        Ok(())
    }

    /// Sums up, and says what the others would cost and leave.
    pub(super) fn compare(&mut self, mission: &Mission<'_>, requests: &[Request], window: usize) {
        let price = |micros| Price(self.cpu_second_picos).of_micros_of_time(micros).0;
        let (mut statements, mut proving) = (0_u64, 0_u64);
        for bought in self.rungs.values_mut() {
            bought.cpu_micros = bought.replays.cpu_micros + bought.proofs.cpu_micros;
            bought.cost_picos = price(bought.cpu_micros);
            statements += bought.statements;
            proving += bought.proofs.wall_micros;
        }
        if proving > 0 {
            self.proven_per_second = statements as f64 * 1e6 / proving as f64;
        }
        let considered = usize::try_from(self.considered).unwrap_or(usize::MAX);
        let requests = &requests[..considered.min(requests.len())];
        let carat = Strategy {
            name: "carat".into(),
            measured: true,
            basis: format!("{} answers, all of it done", self.receipts),
            cpu_micros: self.rungs.values().map(|bought| bought.cpu_micros).sum(),
            cost_picos: 0,
            uncovered: self.served_uncovered,
            not_served: self.refused.values().map(|refused| refused.requests).sum(),
            under: self
                .rungs
                .values()
                .flat_map(|bought| bought.under.clone())
                .collect(),
        };
        let mut strategies = vec![
            carat,
            self.prove_everything(mission, requests, 1),
            self.prove_everything(mission, requests, BATCH),
            self.uniform(mission, requests, window),
            self.signatures(requests),
        ];
        for strategy in &mut strategies {
            strategy.cost_picos = price(strategy.cpu_micros);
        }
        self.strategies = strategies;
    }

    /// A proof for every answer, or for so many of a model.
    fn prove_everything(
        &self,
        mission: &Mission<'_>,
        requests: &[Request],
        batch: u64,
    ) -> Strategy {
        let mut asked: BTreeMap<usize, u64> = BTreeMap::new();
        let (mut uncovered, mut not_served) = (Uncovered::default(), 0);
        for request in requests {
            let prove = mission.costs(request.model).ok();
            let prove = prove.and_then(|costs| costs.prove.as_ref());
            let Some(prove) = prove else {
                not_served += 1;
                continue;
            };
            if request.must_not_wait() && prove.p99_micros > PATIENCE_MICROS {
                not_served += 1;
                continue;
            }
            *asked.entry(request.model).or_default() += 1;
            uncovered.weigh(request.value, PROOF_CAP);
        }
        let cpu_micros = asked.iter().map(|(model, count)| {
            let costs = mission.costs(*model).ok();
            let one = costs.and_then(|costs| costs.prove.as_ref());
            // Weights are committed to once for each model.
            let commit = costs.map_or(0, |costs| costs.commit_cpu_micros);
            let proof = |measured: u64| measured.saturating_sub(commit);
            let one = one.map_or(0, |prove| proof(prove.mean_cpu_micros));
            commit
                + match costs.and_then(|costs| costs.batch.as_ref()) {
                    Some((size, shared)) if batch > 1 => {
                        (count / size) * proof(shared.mean_cpu_micros) + (count % size) * one
                    }
                    _ => count * one,
                }
        });
        let (name, sample) = match batch {
            1 => (
                "prove everything".to_string(),
                format!("{} proofs", self.calibrated.proofs),
            ),
            n => (
                format!("prove everything, {n} of a model in a proof"),
                format!("{} proofs of {n}", self.calibrated.shared_proofs),
            ),
        };
        Strategy {
            name,
            measured: false,
            basis: format!("{sample} on {} shapes", self.calibrated.shapes),
            cpu_micros: cpu_micros.sum(),
            cost_picos: 0,
            uncovered,
            not_served,
            under: ["math", "implementation"].map(String::from).into(),
        }
    }

    /// One answer in four is run again, whatever it is worth.
    fn uniform(&self, mission: &Mission<'_>, requests: &[Request], window: usize) -> Strategy {
        let mut uniform = Uniform::new(&mission.backing, quarter());
        let mut cpu_micros = 0;
        for window in requests.chunks(window) {
            for request in window {
                uniform.weigh(request.kind, request.value);
                let costs = mission.costs(request.model).ok();
                cpu_micros += costs.map_or(0, |costs| costs.execute.mean_cpu_micros);
            }
            uniform.settle();
        }
        let audits = self
            .rungs
            .get(Rung::SignatureAudit.as_str())
            .map(|bought| bought.under.clone())
            .unwrap_or_default();
        Strategy {
            name: "uniform audits of 25%".into(),
            measured: false,
            basis: format!(
                "{} runs on {} shapes",
                self.calibrated.runs, self.calibrated.shapes
            ),
            cpu_micros: cpu_micros / 4,
            cost_picos: 0,
            uncovered: uniform.uncovered,
            not_served: 0,
            under: audits,
        }
    }

    fn signatures(&self, requests: &[Request]) -> Strategy {
        let mut uncovered = Uncovered::default();
        requests
            .iter()
            .for_each(|request| uncovered.weigh(request.value, Micros::ZERO));
        Strategy {
            name: "signatures only".into(),
            measured: true,
            basis: "nothing is checked".into(),
            cpu_micros: 0,
            cost_picos: 0,
            uncovered,
            not_served: 0,
            under: BTreeSet::new(),
        }
    }
}
