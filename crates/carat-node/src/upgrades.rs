//! Upgrades: what a proof of an older receipt would cost, the promise of one, and making it. Upgrades of one model that wait
//! together get one proof.

use std::sync::{Arc, PoisonError};

use carat_policy::Price;
use carat_policy::environment::Calibration;
use carat_program::decode_tensors;
use carat_receipt::{Currency, Digest, Nonce, Role};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::jobs::{Asked, is_later};
use crate::node::{Node, now};
use crate::problem::Problem;
use crate::proofs::Proven;
use crate::served::Served;
use crate::spending;
use crate::store::{JobId, JobKind, JobRecord, With};

/// The kind of the problem that a receipt needs no upgrade.
const PROVEN: &str = "proven";
/// Seconds that a promise allows beyond twice the estimate.
const SLACK: u64 = 60;

/// What an upgrade would cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// The price.
    pub price: Price,
    /// Its currency.
    pub currency: Currency,
    /// Seconds until it is there, most likely.
    pub seconds: u64,
    /// Seconds within which it is promised.
    pub within: u64,
}

impl Quote {
    /// For callers.
    pub fn json(&self) -> Value {
        json!({
            "rung": "zk",
            "price": self.price.show(self.currency).to_string(),
            "estimated_seconds": self.seconds,
            "promised_within_seconds": self.within,
        })
    }
}

impl Node {
    /// Accepts an upgrade with a signed promise, or says why not. The receipt is the tenant's.
    pub(crate) fn accept_upgrade(
        &self,
        tenant: &str,
        receipt: Digest,
        priority: u8,
        nonce: Option<Nonce>,
        key: Option<(Digest, Digest)>,
    ) -> Result<JobId, Problem> {
        let accepted = || {
            let accepting = self.jobs.accepting.lock();
            let _one = accepting.unwrap_or_else(PoisonError::into_inner);
            let now = now()?;
            let quote = self.quote(tenant, &receipt)?;
            self.spending.upgrades(tenant, now)?;
            let reserved = self
                .spending
                .reserve(tenant, quote.price, true, now)
                .map_err(|over| {
                    let wait = over.resets_at.saturating_sub(now);
                    Problem::new(422, "budget", over.text()).after(wait)
                })?;
            let deadline = now.saturating_add(quote.within);
            let asked = Asked {
                tenant,
                kind: JobKind::Upgrade,
                priority,
                deadline,
                request: receipt.as_bytes().to_vec(),
                key,
            };
            let (id, _) = self.put_job(&asked, |id| {
                Ok(With {
                    promise: Some(self.promise(id, receipt, nonce.clone(), deadline)?),
                    charge: reserved.on(spending::of_job(&id)),
                    ..With::default()
                })
            })?;
            Ok(id)
        };
        accepted().map_err(|problem| self.refuse_upgrade(receipt, nonce.clone(), problem))
    }

    /// What is proven for a job.
    fn subject(&self, tenant: &str, receipt: &Digest) -> Result<(Arc<Served>, Proven), Problem> {
        let served = self.provable(tenant, receipt)?.clone();
        let opening = self.opening(receipt)?;
        let record = self.record(tenant, receipt)?;
        let statement = record.signed.statement();
        let own = opening.input.commitment(Role::Input) == statement.input
            && opening.output.commitment(Role::Output) == statement.output;
        if !own {
            return Err(Failure::new(Exit::Store, "the opening is not the receipt's").into());
        }
        let tensors = |bytes: &[u8]| decode_tensors(bytes).map_err(Failure::of(Exit::Store));
        let (inputs, outputs) = (
            tensors(&opening.input.bytes)?,
            tensors(&opening.output.bytes)?,
        );
        Ok((served, (*receipt, inputs, outputs)))
    }

    /// Proves for the most urgent upgrade, and for those of the same model that wait with it, in one proof.
    pub(crate) fn run_upgrades(&self) -> Result<(), Problem> {
        // What waited for a start, or for a proof before, may be late already.
        self.look_for_misses(now()?)?;
        let mut chosen: Vec<(JobId, JobRecord, Digest)> = Vec::new();
        let mut statements: Vec<Proven> = Vec::new();
        let mut model: Option<Arc<Served>> = None;
        for id in self.jobs.all() {
            if chosen.len() >= self.config.limits.proof_batch {
                break;
            }
            let Some(job) = self.store.job(&id)? else {
                continue;
            };
            if job.kind != JobKind::Upgrade {
                continue;
            }
            let receipt = job
                .upgraded()
                .ok_or_else(|| Failure::new(Exit::Store, "a job names no receipt"))?;
            match self.subject(&job.tenant, &receipt) {
                // Another job was for the same receipt.
                Err(problem) if problem.kind == PROVEN => self.end(&id, job, receipt, None)?,
                // One that cannot be done now is looked at when it is the most urgent, and does not hold up those before it.
                Err(problem) if !chosen.is_empty() && is_later(&problem) => {}
                Err(problem) => self.fail_or_set_aside(&id, job, &problem),
                Ok((served, subject)) => {
                    let first = model.get_or_insert_with(|| served.clone());
                    let other = first.model.digest != served.model.digest
                        || statements.iter().any(|(id, ..)| *id == receipt);
                    if other || !self.fits(&served, statements.len() + 1) {
                        continue;
                    }
                    // One that was started before may be what ended the process: alone it does no harm to others.
                    let again = self.store.starts(&id)? > 0;
                    if again && !chosen.is_empty() {
                        continue;
                    }
                    match self.started(&id) {
                        Err(problem) => self.fail_or_set_aside(&id, job, &problem),
                        Ok(()) => {
                            statements.push(subject);
                            chosen.push((id, job, receipt));
                        }
                    }
                    if again {
                        break;
                    }
                }
            }
        }
        let Some(served) = model.filter(|_| !chosen.is_empty()) else {
            return Ok(());
        };
        let proved = self.prove_all(&served, &statements);
        for ((id, job, receipt), evidence) in chosen.into_iter().zip(proved) {
            match evidence {
                Err(problem) => self.fail_or_set_aside(&id, job, &problem),
                Ok(evidence) => {
                    let now = now()?;
                    if job.deadline != 0 && now > job.deadline {
                        self.miss(&id, &job, now)?;
                    }
                    self.end(&id, job, receipt, Some(&evidence))?;
                }
            }
        }
        Ok(())
    }

    /// The model of a receipt that an upgrade may be asked for.
    ///
    /// # Errors
    /// Why it may not.
    fn provable(&self, tenant: &str, id: &Digest) -> Result<&Arc<Served>, Problem> {
        let record = self.record(tenant, id)?;
        let statement = record.signed.statement();
        if statement.optional.courier.is_some() {
            let detail =
                "the answer was passed on from an upstream: nothing ran here that could be proven";
            return Err(Problem::new(422, "unprovable", detail));
        }
        let served = self
            .models
            .iter()
            .find(|served| served.model.digest == statement.program)
            .ok_or_else(|| {
                Problem::new(
                    410,
                    "model-gone",
                    "the receipt's model is not served any more",
                )
            })?;
        if self.is_proven(id)? {
            return Err(Problem::new(409, PROVEN, "the receipt has a proof already"));
        }
        Ok(served)
    }

    /// What an upgrade would cost now.
    pub fn quote(&self, tenant: &str, id: &Digest) -> Result<Quote, Problem> {
        let served = self.provable(tenant, id)?;
        if let Err(failure) = served.model.integer() {
            return Err(Problem::new(422, "unprovable", failure.message));
        }
        let proving = served.proving.as_ref().ok_or_else(|| {
            Problem::new(
                422,
                "unprovable",
                "the prover does not take the receipt's model, or not within limits.proof_bytes",
            )
        })?;
        let record = self.record(tenant, id)?;
        let expiry = record.signed.statement().optional.option_expiry;
        if expiry.is_none_or(|expiry| now().is_ok_and(|now| now > expiry)) {
            return Err(Problem::new(
                410,
                "expired",
                "no upgrade of this receipt was offered, or the time for it is over; with its opening and the model anyone \
                 can prove it: carat prove",
            ));
        }
        self.opening(id)?;
        let rules = self.rules.now();
        let price = rules
            .environment(&served.model.digest)
            .map(|environment| Calibration::from(proving.clone()).price(environment.cpu_second))
            .ok_or_else(|| Failure::new(Exit::Internal, "a model without an environment"))?;
        let waiting = self.jobs.len() as u64 + 1;
        let seconds = proving
            .p99_micros
            .saturating_mul(waiting)
            .div_ceil(1_000_000);
        Ok(Quote {
            price,
            currency: rules.policy.currency,
            seconds,
            within: seconds.saturating_mul(2).saturating_add(SLACK),
        })
    }
}
