//! Jobs: answers and proofs that are asked for now and fetched later. They are in the store before they are accepted, and a
//! restart goes on with them.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use carat_policy::environment::Calibration;
use carat_program::{Tensor, decode_tensors};
use carat_receipt::evidence::Kind;
use carat_receipt::{Digest, Evidence, Role};
use serde_json::{Value, json};

use crate::call::{Call, Raw};
use crate::exit::{Exit, Failure};
use crate::node::{Node, now};
use crate::problem::Problem;
use crate::served::PROFILE;
use crate::store::{JobId, JobKind, JobRecord, JobState, Remembered, Store, StoreFault, Target};

/// The most urgent and the least urgent priority that a caller may ask for.
pub const PRIORITIES: std::ops::RangeInclusive<u8> = 1..=9;
/// The kind of the problem that a receipt needs no upgrade.
const PROVEN: &str = "proven";
/// Seconds that a promise allows beyond twice the estimate.
const SLACK: u64 = 60;

/// The jobs that wait, by urgency and then by age.
#[derive(Debug)]
pub struct Jobs {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: BTreeMap<(u8, u64), (JobId, String)>,
    closed: bool,
}

impl Jobs {
    /// The jobs of a store.
    pub fn load(store: &Store) -> Result<Self, StoreFault> {
        let jobs = store
            .waiting()?
            .into_iter()
            .map(|(id, job)| ((job.priority, job.sequence), (id, job.tenant)))
            .collect();
        Ok(Self {
            waiting: Mutex::new(Waiting {
                jobs,
                closed: false,
            }),
            filled: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// No more jobs are started. Those that wait stay in the store.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// The most urgent job; waits for one. It stays in the queue until [`Jobs::done`].
    fn first(&self) -> Option<JobId> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            if let Some((id, _)) = waiting.jobs.values().next() {
                return Some(*id);
            }
            waiting = self
                .filled
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn all(&self) -> Vec<JobId> {
        self.lock().jobs.values().map(|(id, _)| *id).collect()
    }

    fn done(&self, job: &JobRecord) {
        self.lock().jobs.remove(&(job.priority, job.sequence));
    }
}

/// What an upgrade would cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// In words, with its currency.
    pub price: String,
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
            "price": self.price,
            "estimated_seconds": self.seconds,
            "promised_within_seconds": self.within,
        })
    }
}

/// Whether a job can be done later, though not now.
fn is_later(problem: &Problem) -> bool {
    [503, 507].contains(&problem.status)
}

impl Node {
    /// Accepts a job: it is durable when this returns. `key` is what the request's idempotency key will stand for.
    pub(crate) fn put_job(
        &self,
        tenant: &str,
        kind: JobKind,
        priority: u8,
        deadline: u64,
        request: Vec<u8>,
        key: Option<(Digest, Digest)>,
    ) -> Result<(JobId, JobRecord), Problem> {
        self.ready()?;
        let limits = &self.config.limits;
        let mut waiting = self.jobs.lock();
        if waiting.closed {
            return Err(Problem::stopping("the server is going down"));
        }
        if waiting.jobs.len() >= limits.jobs {
            let what = format!("limits.jobs = {} jobs wait", limits.jobs);
            return Err(Problem::overloaded(&what, 10));
        }
        let own = waiting.jobs.values().filter(|(_, of)| of == tenant).count();
        if own >= limits.jobs_per_tenant {
            let what = format!(
                "limits.jobs_per_tenant = {} jobs of one tenant wait",
                limits.jobs_per_tenant
            );
            return Err(Problem::overloaded(&what, 10));
        }
        let id: JobId = carat_receipt::commit::random_id().map_err(Failure::of(Exit::Io))?;
        let job = JobRecord {
            kind,
            tenant: tenant.to_string(),
            created: now()?,
            deadline,
            priority,
            sequence: self.store.next(),
            request,
            state: JobState::Queued,
        };
        let remembered = key.map(|(key, request)| {
            let remembered = Remembered {
                request,
                created: job.created,
                target: Target::Job(id),
            };
            (key, remembered)
        });
        self.store.put_job(&id, &job, remembered)?;
        waiting
            .jobs
            .insert((priority, job.sequence), (id, tenant.to_string()));
        self.jobs.filled.notify_one();
        Ok((id, job))
    }

    /// A job of a tenant. It is done once its receipt is in the log too, which is a moment after the store says so.
    pub fn job(&self, tenant: &str, id: &JobId) -> Result<JobRecord, Problem> {
        let job = match self.store.job(id)? {
            Some(job) if job.tenant == tenant => job,
            _ => return Err(Problem::not_found("job")),
        };
        match &job.state {
            JobState::Done(receipt) if self.store.place(receipt)?.is_none() => Ok(JobRecord {
                state: JobState::Queued,
                ..job
            }),
            _ => Ok(job),
        }
    }

    /// Works on jobs until the end.
    pub(crate) fn run_jobs(&self) {
        while let Some(id) = self.jobs.first() {
            let result = self.run_job(&id);
            if let Err(problem) = result {
                // What failed for a reason of the server stays in the store for the next start.
                tracing::error!(
                    job = hex::encode(id),
                    error = problem.detail,
                    "a job could not be ended; it is tried again at the next start"
                );
                if let Ok(Some(job)) = self.store.job(&id) {
                    self.jobs.done(&job);
                }
            }
        }
    }

    fn run_job(&self, id: &JobId) -> Result<(), Problem> {
        let job = self
            .store
            .job(id)?
            .ok_or_else(|| Problem::not_found("job"))?;
        match job.kind {
            JobKind::Infer => self.run_infer(id, job),
            JobKind::Upgrade => self.run_upgrades(),
        }
    }

    fn run_infer(&self, id: &JobId, job: JobRecord) -> Result<(), Problem> {
        let answered = self
            .started(id)
            .and_then(|()| Ok(Raw::decode(&job.request).map_err(Failure::of(Exit::Store))?))
            .and_then(|raw| {
                let model = self.model(&raw.model)?.clone();
                Call::read(&job.tenant, model, raw.form, raw.asked, &raw.body)
            })
            .and_then(|call| self.answer(call, None, None, Some((*id, job.clone()))));
        match answered {
            Ok((entry, leaf, answer)) => {
                self.keep(entry, leaf, answer)?;
                self.jobs.done(&job);
                Ok(())
            }
            Err(problem) => self.fail(id, job, &problem),
        }
    }

    /// Counts a start of a job. One whose starts all ended with the process is given up, so that it does not end it for ever.
    fn started(&self, id: &JobId) -> Result<(), Problem> {
        let most = self.config.limits.job_starts;
        if self.store.start_job(id)? > most {
            let detail = format!(
                "the server ended {most} times (limits.job_starts) while it worked on this job, and does not start it again; \
                 please report it with the request, if you can"
            );
            return Err(Problem::new(500, "internal", detail));
        }
        Ok(())
    }

    /// Ends a job that cannot be done. One that only cannot be done now is an error.
    fn fail(&self, id: &JobId, job: JobRecord, problem: &Problem) -> Result<(), Problem> {
        if is_later(problem) {
            return Err(problem.clone());
        }
        let state = JobState::Failed(problem.json().to_string());
        let ended = JobRecord { state, ..job };
        self.store.end_job(id, &ended, None)?;
        self.jobs.done(&ended);
        Ok(())
    }

    /// Ends a job whose receipt has what was asked for.
    fn end(
        &self,
        id: &JobId,
        job: JobRecord,
        receipt: Digest,
        evidence: Option<&Evidence>,
    ) -> Result<(), Problem> {
        let state = JobState::Done(receipt);
        let ended = JobRecord { state, ..job };
        self.store.end_job(id, &ended, evidence)?;
        self.jobs.done(&ended);
        Ok(())
    }

    /// Proves for the most urgent upgrade, and for those of the same model that wait with it, in one proof.
    fn run_upgrades(&self) -> Result<(), Problem> {
        let mut chosen: Vec<(JobId, JobRecord, Digest)> = Vec::new();
        let mut statements: Vec<(Digest, Vec<Tensor>, Vec<Tensor>)> = Vec::new();
        let mut model = None;
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
            let receipt = match <[u8; 32]>::try_from(job.request.as_slice()) {
                Ok(bytes) => Digest::from_bytes(bytes),
                Err(_) => return Err(Failure::new(Exit::Store, "a job names no receipt").into()),
            };
            let subject = self.provable(&job.tenant, &receipt).and_then(|served| {
                let opening = self.opening(&receipt)?;
                let record = self.record(&job.tenant, &receipt)?;
                let statement = record.signed.statement();
                let own = opening.input.commitment(Role::Input) == statement.input
                    && opening.output.commitment(Role::Output) == statement.output;
                if !own {
                    return Err(
                        Failure::new(Exit::Store, "the opening is not the receipt's").into(),
                    );
                }
                let tensors =
                    |bytes: &[u8]| decode_tensors(bytes).map_err(Failure::of(Exit::Store));
                Ok((
                    served.clone(),
                    (
                        receipt,
                        tensors(&opening.input.bytes)?,
                        tensors(&opening.output.bytes)?,
                    ),
                ))
            });
            match subject {
                // Another job was for the same receipt.
                Err(problem) if problem.kind == PROVEN => self.end(&id, job, receipt, None)?,
                // One that cannot be done now is looked at when it is the most urgent, and does not hold up those before it.
                Err(problem) if !chosen.is_empty() && is_later(&problem) => {}
                Err(problem) => self.fail(&id, job, &problem)?,
                Ok((served, subject)) => {
                    let first = model.get_or_insert_with(|| served.clone());
                    let other = first.model.digest != served.model.digest
                        || statements.iter().any(|(id, ..)| *id == receipt);
                    let fits = crate::prover::fits(
                        &served.model,
                        statements.len() + 1,
                        PROFILE,
                        self.config.limits.proof_bytes,
                    );
                    if other || (!statements.is_empty() && fits.is_err()) {
                        continue;
                    }
                    // One that was started before may be what ended the process: alone it does no harm to others.
                    let again = self.store.starts(&id)? > 0;
                    if again && !chosen.is_empty() {
                        continue;
                    }
                    match self.started(&id) {
                        Err(problem) => self.fail(&id, job, &problem)?,
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
        let proved = catch_unwind(AssertUnwindSafe(|| self.prove(&served, &statements)));
        let proved = proved.unwrap_or_else(|_| {
            tracing::error!(model = served.name, "a fault of carat: a proof panicked");
            Err(Problem::new(
                500,
                "internal",
                "a fault of the server in a proof",
            ))
        });
        match proved {
            Ok(evidence) => {
                for ((id, job, receipt), evidence) in chosen.into_iter().zip(evidence) {
                    if now()? > job.deadline {
                        self.metrics.missed();
                        tracing::warn!(job = hex::encode(id), %receipt, deadline = job.deadline, "an upgrade came later than promised");
                    }
                    self.end(&id, job, receipt, Some(&evidence))?;
                }
                Ok(())
            }
            Err(problem) => chosen
                .into_iter()
                .try_for_each(|(id, job, _)| self.fail(&id, job, &problem)),
        }
    }

    /// The model of a receipt that an upgrade may be asked for.
    ///
    /// # Errors
    /// Why it may not.
    fn provable(
        &self,
        tenant: &str,
        id: &Digest,
    ) -> Result<&std::sync::Arc<crate::served::Served>, Problem> {
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
        if self
            .store
            .evidence(id)?
            .iter()
            .any(|item| item.body.kind() == Kind::Proof)
        {
            return Err(Problem::new(409, PROVEN, "the receipt has a proof already"));
        }
        Ok(served)
    }

    /// What an upgrade would cost now.
    pub fn quote(&self, tenant: &str, id: &Digest) -> Result<Quote, Problem> {
        let served = self.provable(tenant, id)?;
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
            .map(|environment| {
                let calibration = Calibration::from(proving.clone());
                let price = calibration.price(environment.cpu_second);
                price.show(rules.policy.currency).to_string()
            })
            .ok_or_else(|| Failure::new(Exit::Internal, "a model without an environment"))?;
        let waiting = self.jobs.len() as u64 + 1;
        let seconds = proving
            .p99_micros
            .saturating_mul(waiting)
            .div_ceil(1_000_000);
        Ok(Quote {
            price,
            seconds,
            within: seconds.saturating_mul(2).saturating_add(SLACK),
        })
    }
}
