//! Ways to buy evidence. A line knows the price at which it covers a value, and the value that it covers at a price.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use carat_receipt::Label;

use crate::consequence::{Consequence, Timing};
use crate::environment::{Audits, Environment, Prover, Replicas};
use crate::hazard::{Detection, either};
use crate::money::{Micros, Price};
use crate::plan::{Atom, Obstacle, Rule, Rung};
use crate::probability::{Fraction, Probability, Tau};
use crate::{good_for, rules};

/// Most replicas that are combined with audits.
const MAX_COMBINED: u32 = 4;

/// A way to buy evidence for one answer.
pub(super) struct Line<'a> {
    pub(super) rung: Rung,
    pub(super) under: Vec<Atom>,
    pub(super) latency_micros: u64,
    base: Price,
    kind: Kind,
    consequence: &'a Consequence,
    environment: &'a Environment,
}

enum Kind {
    /// Good for nothing.
    Nothing,
    /// One price up to a value.
    Fixed {
        covers: Micros,
        within_secs: Option<u64>,
    },
    /// Replicas: a price each.
    Steps {
        each: Price,
        most: u32,
        corrupt: Fraction,
        shared_fault: Fraction,
    },
    /// Audits with a probability, after `replicas` replays that catch with `before`.
    Audited {
        each: Price,
        mode: Mode,
        detection: Detection,
        replicas: u32,
        before: Probability,
        window_secs: u64,
    },
}

/// Which rule sets the hazard.
#[derive(Clone, Copy)]
pub(super) enum Mode {
    Clawback {
        stake: Micros,
    },
    Pooled {
        stake: Micros,
        kappa: Fraction,
        open: Micros,
    },
    LossCap {
        cap: Micros,
    },
}

/// What a line costs for a value.
pub(super) struct Offer {
    pub(super) price: Price,
    pub(super) tau: Tau,
    pub(super) hazard: Probability,
    pub(super) replicas: u32,
    pub(super) covers: Micros,
    pub(super) rule: Option<Rule>,
    /// The policy's floor set the threshold.
    pub(super) floor: bool,
}

type Built<'a> = Result<Line<'a>, (Rung, Obstacle)>;

/// All lines, in the order of [`Rung::ALL`]; an error says why a rung has none.
pub(super) fn all<'a>(
    consequence: &'a Consequence,
    environment: &'a Environment,
) -> Vec<Built<'a>> {
    let mut lines = Vec::with_capacity(24);
    let builder = Builder {
        consequence,
        environment,
    };
    lines.push(Ok(builder.line(
        Rung::Signature,
        Vec::new(),
        Price::ZERO,
        0,
        Kind::Nothing,
    )));
    builder.audited(Rung::SignatureAudit, &mut lines);
    builder.audited(Rung::TeeAudit, &mut lines);
    for rung in [Rung::BatchedZk, Rung::Zk, Rung::DeferredZk] {
        builder.proof(rung, &mut lines);
    }
    builder.replicas(&mut lines);
    builder.audited(Rung::ReplayAudit, &mut lines);
    lines
}

struct Builder<'a> {
    consequence: &'a Consequence,
    environment: &'a Environment,
}

impl<'a> Builder<'a> {
    fn line(
        &self,
        rung: Rung,
        under: Vec<Atom>,
        base: Price,
        latency_micros: u64,
        kind: Kind,
    ) -> Line<'a> {
        let Self {
            consequence,
            environment,
        } = *self;
        Line {
            rung,
            under,
            latency_micros,
            base,
            kind,
            consequence,
            environment,
        }
    }

    fn audits(&self) -> Result<&'a Audits, Obstacle> {
        match &self.environment.audits {
            None => Err(Obstacle::NoSupply(
                "an auditor: nobody audits here, and a signature alone is good for nothing",
            )),
            Some(audits) if audits.independent == 0 => Err(Obstacle::NoSupply(
                "an independent auditor: an operator that audits itself convinces nobody else",
            )),
            Some(audits) => Ok(audits),
        }
    }

    fn replay_price(&self) -> Result<Price, Obstacle> {
        match &self.environment.execute {
            Some(execute) => Ok(execute.price(self.environment.cpu_second)),
            None => Err(Obstacle::NotCalibrated(
                "running the program: carat calibrate MODEL",
            )),
        }
    }

    fn audited(&self, rung: Rung, lines: &mut Vec<Built<'a>>) {
        if let Err(obstacle) = self.try_audited(rung, lines) {
            lines.push(Err((rung, obstacle)));
        }
    }

    fn try_audited(&self, rung: Rung, lines: &mut Vec<Built<'a>>) -> Result<(), Obstacle> {
        let audits = self.audits()?;
        let each = self.replay_price()?.plus(audits.fee);
        let (mut base, mut latency, mut break_cost) = (Price::ZERO, 0, Micros::ZERO);
        let mut atoms: Vec<Atom> =
            vec!["auditors".into(), "beacon".into(), "implementation".into()];
        if rung == Rung::TeeAudit {
            let enclave = self
                .environment
                .enclave
                .as_ref()
                .filter(|enclave| !enclave.simulated);
            let enclave = enclave.ok_or(Obstacle::NoSupply(
                "an enclave; a simulated one never counts",
            ))?;
            let attest = enclave
                .attest
                .as_ref()
                .ok_or(Obstacle::NotCalibrated("attesting"))?;
            base = attest.price(self.environment.cpu_second);
            latency = attest.p99_micros;
            break_cost = enclave.break_cost;
            atoms.push(Cow::Owned(format!("vendor:{}", enclave.vendor)));
            atoms.push("measured-code".into());
        }
        let modes = self.modes(break_cost);
        if modes.is_empty() {
            return Err(Obstacle::NoSupply(
                "a bond; without one, a loss_cap in the policy",
            ));
        }
        let combined = match rung {
            Rung::ReplayAudit => self.combined(&mut atoms, &mut latency)?,
            _ => vec![(0, Price::ZERO, Probability::ZERO)],
        };
        for (replicas, extra, before) in combined {
            for mode in &modes {
                let mut under = atoms.clone();
                mode.atoms(self.environment, &mut under);
                let kind = Kind::Audited {
                    each,
                    mode: *mode,
                    detection: audits.detection,
                    replicas,
                    before,
                    window_secs: audits.window_secs,
                };
                lines.push(Ok(self.line(rung, under, base.plus(extra), latency, kind)));
            }
        }
        Ok(())
    }

    fn modes(&self, break_cost: Micros) -> Vec<Mode> {
        let bond = self.environment.bond.as_ref();
        let (allocated, withheld, open) = bond
            .map_or((Micros::ZERO, Micros::ZERO, Micros::ZERO), |bond| {
                (bond.allocated, bond.withheld, bond.open)
            });
        let stake = rules::stake(allocated, withheld, break_cost);
        let mut modes = Vec::with_capacity(3);
        let clawback = bond.is_some_and(|bond| bond.clawback && bond.joint_forfeiture);
        if stake > Micros::ZERO {
            if clawback
                && self.consequence.timing == Timing::BeforeSettle
                && !self.consequence.irreversible
            {
                modes.push(Mode::Clawback { stake });
            }
            modes.push(Mode::Pooled {
                stake,
                kappa: self.environment.kappa,
                open,
            });
        }
        if let Some(cap) = self.consequence.loss_cap {
            modes.push(Mode::LossCap { cap });
        }
        modes
    }

    fn replica_supply(&self) -> Result<(&'a Replicas, Price, u64), Obstacle> {
        let supply = self
            .environment
            .replicas
            .as_ref()
            .filter(|supply| supply.available > 0);
        let supply = supply.ok_or(Obstacle::NoSupply(
            "re-executors that are drawn before the answer is used",
        ))?;
        let each = self.replay_price()?.plus(supply.fee);
        // They run side by side.
        let run = self
            .environment
            .execute
            .as_ref()
            .map_or(0, |execute| execute.p99_micros);
        Ok((supply, each, run.saturating_add(supply.round_trip_micros)))
    }

    /// Replicas before an audit: how many, their price, the hazard that they are.
    fn combined(
        &self,
        atoms: &mut Vec<Atom>,
        latency: &mut u64,
    ) -> Result<Vec<(u32, Price, Probability)>, Obstacle> {
        let (supply, each, time) = self.replica_supply()?;
        replica_atoms(supply, atoms);
        *latency = latency.saturating_add(time);
        let most = u32::try_from(supply.available)
            .unwrap_or(u32::MAX)
            .min(MAX_COMBINED);
        let of = |k| {
            let residual = rules::t7_residual(supply.corrupt, supply.shared_fault, k);
            (k, each.times(u64::from(k)), residual.complement())
        };
        Ok((1..=most).map(of).collect())
    }

    fn replicas(&self, lines: &mut Vec<Built<'a>>) {
        lines.push(match self.replica_supply() {
            Err(obstacle) => Err((Rung::Replay, obstacle)),
            Ok((supply, each, time)) => {
                let mut under = vec!["implementation".into()];
                replica_atoms(supply, &mut under);
                let kind = Kind::Steps {
                    each,
                    most: u32::try_from(supply.available)
                        .unwrap_or(u32::MAX)
                        .min(rules::MAX_REPLICAS),
                    corrupt: supply.corrupt,
                    shared_fault: supply.shared_fault,
                };
                Ok(self.line(Rung::Replay, under, Price::ZERO, time, kind))
            }
        });
    }

    fn proof(&self, rung: Rung, lines: &mut Vec<Built<'a>>) {
        let built = match &self.environment.prover {
            None => Err(Obstacle::NoSupply("a prover")),
            Some(prover) => self.try_proof(rung, prover, lines),
        };
        lines.extend(built.err().map(|obstacle| Err((rung, obstacle))));
    }

    fn try_proof(
        &self,
        rung: Rung,
        prover: &Prover,
        lines: &mut Vec<Built<'a>>,
    ) -> Result<(), Obstacle> {
        let cpu_second = self.environment.cpu_second;
        let covers = prover.cap.unwrap_or(Micros::MAX);
        let under = || -> Vec<Atom> { vec!["math".into(), "implementation".into()] };
        if rung == Rung::BatchedZk {
            let batch = prover.batch.as_ref().filter(|batch| batch.size > 0);
            let batch = batch.ok_or(Obstacle::NoSupply("batched proofs"))?;
            let price =
                cpu_second.of_micros_of_time(batch.prove.mean_cpu_micros.div_ceil(batch.size));
            let latency = batch.window_micros.saturating_add(batch.prove.p99_micros);
            let kind = Kind::Fixed {
                covers,
                within_secs: None,
            };
            lines.push(Ok(self.line(rung, under(), price, latency, kind)));
            return Ok(());
        }
        let prove = prover.prove.as_ref();
        let prove = prove.ok_or(Obstacle::NotCalibrated("proving: carat calibrate MODEL"))?;
        let price = prove.price(cpu_second);
        if rung == Rung::Zk {
            let kind = Kind::Fixed {
                covers,
                within_secs: None,
            };
            lines.push(Ok(self.line(rung, under(), price, prove.p99_micros, kind)));
            return Ok(());
        }
        let within = prover
            .deferred_secs
            .ok_or(Obstacle::NoSupply("proofs that are promised for later"))?;
        let bond = self.environment.bond.as_ref();
        let bond = bond.ok_or(Obstacle::NoSupply(
            "a bond that a missing proof would forfeit",
        ))?;
        let mut push = |atoms: [Atom; 3], covers| {
            let mut under = under();
            under.push("availability".into());
            under.extend(atoms.into_iter().filter(|atom| !atom.is_empty()));
            let kind = Kind::Fixed {
                covers,
                within_secs: Some(within),
            };
            lines.push(Ok(self.line(rung, under, price, 0, kind)));
        };
        if bond.clawback
            && self.consequence.timing == Timing::BeforeSettle
            && !self.consequence.irreversible
        {
            // Nothing settles before the proof is there.
            push(["clawback".into(), "".into(), "".into()], covers);
        }
        // A proof that never comes is a conviction: hazard 1, so only the cap on exposure is left (T3).
        let stake = rules::stake(bond.allocated, bond.withheld, Micros::ZERO);
        let cap = rules::exposure_cap(stake, self.environment.kappa).minus(bond.open);
        let capped = covers.min(self.consequence.gamma.divides_down(u128::from(cap.0)));
        push(
            [
                "operator-rational".into(),
                Cow::Owned(format!("bond:{}", bond.name)),
                "exposure-ledger".into(),
            ],
            capped,
        );
        Ok(())
    }
}

fn replica_atoms(supply: &Replicas, atoms: &mut Vec<Atom>) {
    atoms.extend([
        Cow::Owned(format!("honest-fraction>={}", supply.corrupt.complement())),
        "drawn".into(),
        "diversity".into(),
    ]);
}

impl Mode {
    fn atoms(self, environment: &Environment, atoms: &mut Vec<Atom>) {
        let bond = environment.bond.as_ref().map(|bond| &bond.name);
        match self {
            Self::LossCap { .. } => atoms.push("loss-cap".into()),
            Self::Clawback { .. } | Self::Pooled { .. } => {
                atoms.push("operator-rational".into());
                if let Some(bond) = bond {
                    atoms.push(Cow::Owned(format!("bond:{bond}")));
                }
            }
        }
        match self {
            Self::Clawback { .. } => atoms.extend(["clawback".into(), "joint-forfeiture".into()]),
            Self::Pooled { .. } => atoms.push("exposure-ledger".into()),
            Self::LossCap { .. } => {}
        }
    }

    fn rule(self) -> Rule {
        match self {
            Self::Clawback { .. } => Rule::T2,
            Self::Pooled { .. } => Rule::T3,
            Self::LossCap { .. } => Rule::T4,
        }
    }

    /// The same with more bond; `None` where there is no bond in it.
    fn with_more_bond(self, more: Micros) -> Option<Self> {
        match self {
            Self::Clawback { stake } => Some(Self::Clawback {
                stake: stake.plus(more),
            }),
            Self::Pooled { stake, kappa, open } => Some(Self::Pooled {
                stake: stake.plus(more),
                kappa,
                open,
            }),
            Self::LossCap { .. } => None,
        }
    }
}

impl Line<'_> {
    /// Why this line may not be used at all, whatever the value.
    pub(super) fn obstacle(&self) -> Option<Obstacle> {
        let consequence = self.consequence;
        if let Some(demand) = consequence
            .require
            .iter()
            .find(|demand| !self.rung.gives(demand.what))
        {
            return Some(Obstacle::Required {
                level: demand.what,
                by: demand.by.clone(),
            });
        }
        for demand in &consequence.forbid {
            if let Some(atom) = self.under.iter().find(|atom| demand.what.matches(atom)) {
                return Some(Obstacle::Forbidden {
                    atom: atom.clone(),
                    by: demand.by.clone(),
                });
            }
        }
        let deadline = consequence.deadline_micros?;
        let Some(execute) = &self.environment.execute else {
            return Some(Obstacle::NotCalibrated(
                "running the program: carat calibrate MODEL",
            ));
        };
        let micros = execute.p99_micros.saturating_add(self.latency_micros);
        (micros > deadline).then_some(Obstacle::TooSlow { micros, deadline })
    }

    /// What is saved by not running the program at all.
    fn compute_saved(&self) -> Micros {
        let execute = self.environment.execute.as_ref();
        let price = execute.map_or(Price::ZERO, |execute| {
            execute.price(self.environment.cpu_second)
        });
        Micros(price.0.div_ceil(1_000_000))
    }

    /// The largest gain that may be left to evidence after use: kappa * S for what is irreversible and used at once.
    fn after_use_cap(&self) -> Option<Micros> {
        let after_use = match &self.kind {
            Kind::Audited { .. } => true,
            Kind::Fixed { within_secs, .. } => within_secs.is_some(),
            Kind::Nothing | Kind::Steps { .. } => false,
        };
        if !after_use
            || !self.consequence.irreversible
            || self.consequence.timing != Timing::BeforeUse
        {
            return None;
        }
        let bond = self.environment.bond.as_ref();
        let stake = bond.map_or(Micros::ZERO, |bond| bond.allocated.plus(bond.withheld));
        Some(rules::exposure_cap(stake, self.environment.kappa))
    }

    /// What the line costs for a value, or why it does not cover it.
    pub(super) fn offer(&self, value: Micros) -> Result<Offer, Obstacle> {
        let gamma = self.consequence.gamma;
        if let Some(cap) = self.after_use_cap()
            && gamma.times_up(value) > cap
        {
            return Err(Obstacle::PreUseOnly {
                cap,
                gain: gamma.times_up(value),
            });
        }
        let fixed = |price, replicas, covers| Offer {
            price,
            tau: Tau(0),
            hazard: Probability::ZERO,
            replicas,
            covers,
            rule: None,
            floor: false,
        };
        match &self.kind {
            Kind::Nothing if value == Micros::ZERO => Ok(fixed(Price::ZERO, 0, Micros::ZERO)),
            Kind::Nothing => Err(Obstacle::Covers(Micros::ZERO)),
            Kind::Fixed { covers, .. } if *covers < value => Err(Obstacle::Covers(*covers)),
            Kind::Fixed { covers, .. } => Ok(fixed(self.base, 0, *covers)),
            Kind::Steps { each, most, .. } => {
                let k = (1..=*most).find(|k| self.step_covers(*k) >= value);
                let k = k.ok_or_else(|| Obstacle::Covers(self.step_covers(*most)))?;
                Ok(fixed(
                    self.base.plus(each.times(u64::from(k))),
                    k,
                    self.step_covers(k),
                ))
            }
            Kind::Audited { mode, .. } => self.audited(*mode, value),
        }
    }

    fn step_covers(&self, k: u32) -> Micros {
        match &self.kind {
            Kind::Steps {
                corrupt,
                shared_fault,
                ..
            } => good_for::replicas(self.consequence.epsilon, *corrupt, *shared_fault, k),
            _ => Micros::ZERO,
        }
    }

    fn audited(&self, mode: Mode, value: Micros) -> Result<Offer, Obstacle> {
        let Kind::Audited {
            each,
            detection,
            replicas,
            before,
            ..
        } = &self.kind
        else {
            return Err(Obstacle::Covers(Micros::ZERO));
        };
        let gain = rules::gain(value, self.consequence.gamma, self.compute_saved());
        let mut needed = match mode {
            Mode::Clawback { stake } => rules::t2_pooled(gain, stake),
            Mode::LossCap { cap } => rules::t4_loss_cap(value, cap),
            Mode::Pooled { stake, kappa, open } => {
                let left = rules::exposure_cap(stake, kappa).minus(open);
                if gain > left {
                    return Err(Obstacle::Exposure { left, gain });
                }
                rules::t3_no_clawback(gain, stake, kappa)
                    .ok_or(Obstacle::Exposure { left, gain })?
            }
        };
        let floor = Tau(u64::try_from(self.consequence.p_min.up().bits()).unwrap_or(u64::MAX));
        let too_weak = |needed| Obstacle::TooWeak {
            needed,
            ceiling: either(*before, detection.ceiling()),
        };
        // Logarithm and exponential round to the safe side each, so the inverse may fall short of the value by a little;
        // a verifier computes the inverse, so the threshold is raised until it does not.
        let mut step = 1_u128 << 8;
        loop {
            let tau = detection
                .tau_for(after(needed, *before))
                .ok_or(too_weak(needed))?;
            let chosen = tau.max(floor);
            let hazard = either(*before, detection.hazard(chosen));
            let covers = self.audit_covers(mode, hazard);
            if covers >= value {
                return Ok(Offer {
                    price: self.base.plus(each.with_probability(chosen.probability())),
                    tau: chosen,
                    hazard,
                    replicas: *replicas,
                    covers,
                    rule: Some(mode.rule()),
                    floor: tau < floor,
                });
            }
            if step >= 1 << 60 {
                return Err(too_weak(needed));
            }
            needed = Probability::from_bits(needed.bits() + step);
            step <<= 2;
        }
    }

    fn audit_covers(&self, mode: Mode, hazard: Probability) -> Micros {
        let one = crate::Factor::ONE;
        let gain = match mode {
            Mode::LossCap { cap } => return good_for::loss_cap(hazard, cap),
            Mode::Clawback { stake } => good_for::audit_clawback(hazard, stake, one),
            Mode::Pooled { stake, kappa, open } => {
                good_for::audit_no_clawback(hazard, stake, kappa, one, open)
            }
        };
        // Too weak against laziness is too weak.
        if gain < self.compute_saved() {
            return Micros::ZERO;
        }
        self.consequence.gamma.divides_down(u128::from(gain.0))
    }

    /// The largest value that the line covers at a price or less.
    pub(super) fn covers(&self, price: Price) -> Micros {
        let Some(left) = price.0.checked_sub(self.base.0) else {
            return Micros::ZERO;
        };
        let covers = match &self.kind {
            Kind::Nothing => Micros::ZERO,
            Kind::Fixed { covers, .. } => *covers,
            Kind::Steps { each, most, .. } => {
                let k = left
                    .checked_div(each.0)
                    .unwrap_or(u64::MAX)
                    .min(u64::from(*most));
                self.step_covers(u32::try_from(k).unwrap_or(*most))
            }
            Kind::Audited {
                each,
                mode,
                detection,
                before,
                ..
            } => {
                let bits = (u128::from(left) << 64)
                    .checked_div(u128::from(each.0))
                    .unwrap_or(u128::MAX);
                let tau = Tau(u64::try_from(bits).unwrap_or(u64::MAX));
                if tau.probability() < self.consequence.p_min.down() {
                    return Micros::ZERO;
                }
                self.audit_covers(*mode, either(*before, detection.hazard(tau)))
            }
        };
        match self.after_use_cap() {
            Some(cap) => covers.min(self.consequence.gamma.divides_down(u128::from(cap.0))),
            None => covers,
        }
    }

    /// The prices of a line that is paid in steps; one price for a fixed one; none for audits.
    pub(super) fn steps(&self) -> Vec<Price> {
        match &self.kind {
            Kind::Fixed { .. } => vec![self.base],
            Kind::Steps { each, most, .. } => (1..=*most)
                .map(|k| self.base.plus(each.times(u64::from(k))))
                .collect(),
            Kind::Nothing | Kind::Audited { .. } => Vec::new(),
        }
    }

    pub(super) fn is_audited(&self) -> bool {
        matches!(self.kind, Kind::Audited { .. })
    }

    pub(super) fn window_secs(&self) -> Option<u64> {
        match &self.kind {
            Kind::Audited { window_secs, .. } => Some(*window_secs),
            _ => None,
        }
    }

    pub(super) fn proof_within_secs(&self) -> Option<u64> {
        match &self.kind {
            Kind::Fixed { within_secs, .. } => *within_secs,
            _ => None,
        }
    }

    pub(super) fn bond(&self) -> Option<Label> {
        let bonded = self.under.iter().any(|atom| atom.starts_with("bond:"));
        let bond = self.environment.bond.as_ref().filter(|_| bonded);
        bond.map(|bond| bond.name.clone())
    }

    /// The bond that stands behind the line.
    pub(super) fn bond_amount(&self) -> Option<Micros> {
        self.bond()?;
        self.environment.bond.as_ref().map(|bond| bond.allocated)
    }

    /// The threshold if the bond were larger by so much.
    pub(super) fn tau_with_more_bond(&self, value: Micros, more: Micros) -> Option<Tau> {
        match &self.kind {
            Kind::Audited { mode, .. } => self
                .audited(mode.with_more_bond(more)?, value)
                .ok()
                .map(|offer| offer.tau),
            _ => None,
        }
    }
}

/// The hazard that must still come afterwards, if `before` caught already: `1 - (1-h)/(1-before)`, rounded up.
fn after(needed: Probability, before: Probability) -> Probability {
    if before >= needed {
        return Probability::ZERO;
    }
    if before == Probability::ZERO {
        return needed;
    }
    let survive = (needed.complement().bits() << 64) / before.complement().bits();
    Probability::from_bits(survive).complement()
}
