//! Jobs: answers and proofs that are asked for now and fetched later. They are in the store before they are accepted, and a
//! restart goes on with them.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use carat_receipt::{Digest, Evidence};

use crate::call::{Call, Raw};
use crate::exit::{Exit, Failure};
use crate::node::{Node, now};
use crate::problem::Problem;
use crate::spending;
use crate::store::{
    JobId, JobKind, JobRecord, JobState, Remembered, Store, StoreFault, Target, With,
};
use crate::trace::{self, Span};

/// The most urgent and the least urgent priority that a caller may ask for.
pub const PRIORITIES: std::ops::RangeInclusive<u8> = 1..=9;
/// The priority of whoever asks for none.
pub const PRIORITY: u8 = 5;

/// The jobs that wait, by urgency and then by age.
#[derive(Debug)]
pub struct Jobs {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    /// Held while an upgrade is accepted, so that two at once do not pass one limit.
    pub(crate) accepting: Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: BTreeMap<(u8, u64), Waits>,
    closed: bool,
}

/// A job that waits, or is being worked on.
#[derive(Debug)]
struct Waits {
    id: JobId,
    tenant: String,
    /// Until when it was promised; 0: nothing was promised.
    deadline: u64,
    /// The promise was missed, and the log says so.
    missed: bool,
}

impl Jobs {
    /// The jobs of a store.
    pub fn load(store: &Store) -> Result<Self, StoreFault> {
        let mut jobs = BTreeMap::new();
        for (id, job) in store.waiting()? {
            let missed = store.notice_of(&id, "miss")?.is_some();
            let waits = Waits {
                missed,
                ..Waits::of(id, &job)
            };
            jobs.insert((job.priority, job.sequence), waits);
        }
        Ok(Self {
            waiting: Mutex::new(Waiting {
                jobs,
                closed: false,
            }),
            filled: Condvar::new(),
            accepting: Mutex::new(()),
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

    /// A job that is in the store already, and waits from now on.
    pub fn add(&self, id: JobId, job: &JobRecord) {
        let place = (job.priority, job.sequence);
        self.lock().jobs.insert(place, Waits::of(id, job));
        self.filled.notify_one();
    }

    /// The most urgent job; waits for one. It stays in the queue until [`Jobs::done`].
    fn first(&self) -> Option<JobId> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            if let Some(waits) = waiting.jobs.values().next() {
                return Some(waits.id);
            }
            waiting = self
                .filled
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// All of them, the most urgent first.
    pub(crate) fn all(&self) -> Vec<JobId> {
        self.lock().jobs.values().map(|waits| waits.id).collect()
    }

    /// Those whose promised time is over, and of which the log does not say so yet.
    pub(crate) fn overdue(&self, now: u64) -> Vec<JobId> {
        let over = |waits: &&Waits| waits.deadline != 0 && waits.deadline < now && !waits.missed;
        let waiting = self.lock();
        waiting
            .jobs
            .values()
            .filter(over)
            .map(|waits| waits.id)
            .collect()
    }

    /// The log says that its promise was missed.
    pub(crate) fn missed(&self, id: &JobId) {
        let mut waiting = self.lock();
        let found = waiting.jobs.values_mut().find(|waits| waits.id == *id);
        if let Some(waits) = found {
            waits.missed = true;
        }
    }

    fn done(&self, id: &JobId) {
        self.lock().jobs.retain(|_, waits| waits.id != *id);
    }
}

/// The receipts that accepted upgrades wait for.
pub fn wanted(jobs: &Jobs, store: &Store) -> Result<HashSet<Digest>, StoreFault> {
    let mut found = HashSet::new();
    for id in jobs.all() {
        let job = store.job(&id)?;
        found.extend(job.and_then(|job| job.upgraded()));
    }
    Ok(found)
}

impl Waits {
    fn of(id: JobId, job: &JobRecord) -> Self {
        Self {
            id,
            tenant: job.tenant.clone(),
            deadline: job.deadline,
            missed: false,
        }
    }
}

/// A job that is asked for.
pub(crate) struct Asked<'a> {
    /// Who asks.
    pub(crate) tenant: &'a str,
    /// What for.
    pub(crate) kind: JobKind,
    /// How urgent.
    pub(crate) priority: u8,
    /// Until when it is promised, Unix seconds; 0: nothing is promised.
    pub(crate) deadline: u64,
    /// The request.
    pub(crate) request: Vec<u8>,
    /// What the request's idempotency key will stand for, and the digest of the request.
    pub(crate) key: Option<(Digest, Digest)>,
}

/// Whether a job can be done later, though not now.
pub(crate) fn is_later(problem: &Problem) -> bool {
    [503, 507].contains(&problem.status)
}

impl Node {
    /// Refuses where no more jobs of a tenant can wait.
    pub(crate) fn room_for_job(&self, tenant: &str) -> Result<(), Problem> {
        self.room(&self.jobs.lock(), tenant)
    }

    fn room(&self, waiting: &Waiting, tenant: &str) -> Result<(), Problem> {
        let limits = &self.config.limits;
        if waiting.closed {
            return Err(Problem::stopping("the server is going down"));
        }
        if waiting.jobs.len() >= limits.jobs {
            let what = format!("limits.jobs = {} jobs wait", limits.jobs);
            return Err(Problem::overloaded(&what, 10));
        }
        let own = waiting.jobs.values();
        if own.filter(|waits| waits.tenant == tenant).count() >= limits.jobs_per_tenant {
            let what = format!(
                "limits.jobs_per_tenant = {} jobs of one tenant wait",
                limits.jobs_per_tenant
            );
            return Err(Problem::overloaded(&what, 10));
        }
        Ok(())
    }

    /// A job that is not accepted yet.
    pub(crate) fn new_job(&self, asked: &Asked<'_>) -> Result<(JobId, JobRecord), Problem> {
        let id: JobId = carat_receipt::commit::random_id().map_err(Failure::of(Exit::Io))?;
        let job = JobRecord {
            kind: asked.kind,
            tenant: asked.tenant.to_string(),
            created: now()?,
            deadline: asked.deadline,
            priority: asked.priority,
            sequence: self.store.next(),
            request: asked.request.clone(),
            state: JobState::Queued,
        };
        Ok((id, job))
    }

    /// Accepts a job: it is durable when this returns. `with` says what is written with it.
    pub(crate) fn put_job(
        &self,
        asked: &Asked<'_>,
        with: impl FnOnce(JobId) -> Result<With, Problem>,
    ) -> Result<(JobId, JobRecord), Problem> {
        self.ready()?;
        let mut waiting = self.jobs.lock();
        self.room(&waiting, asked.tenant)?;
        let (id, job) = self.new_job(asked)?;
        let mut with = with(id)?;
        with.key = asked.key.map(|(key, request)| {
            let remembered = Remembered {
                request,
                created: job.created,
                target: Target::Job(id),
            };
            (key, remembered)
        });
        self.store.put_job(&id, &job, &with)?;
        let place = (job.priority, job.sequence);
        waiting.jobs.insert(place, Waits::of(id, &job));
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
                self.set_aside(&id, &problem);
            }
        }
    }

    /// What failed for a reason of the server stays in the store for the next start.
    fn set_aside(&self, id: &JobId, problem: &Problem) {
        tracing::error!(
            job = hex::encode(id),
            error = problem.detail,
            "a job could not be ended; it is tried again at the next start"
        );
        self.jobs.done(id);
    }

    /// As [`Node::fail`]; where that cannot be done, only this job waits for the next start, and no other.
    pub(crate) fn fail_or_set_aside(&self, id: &JobId, job: JobRecord, problem: &Problem) {
        if let Err(problem) = self.fail(id, job, problem) {
            self.set_aside(id, &problem);
        }
    }

    fn run_job(&self, id: &JobId) -> Result<(), Problem> {
        let job = self
            .store
            .job(id)?
            .ok_or_else(|| Problem::not_found("job"))?;
        let name = match job.kind {
            JobKind::Infer => "job infer",
            JobKind::Upgrade => "job upgrade",
        };
        let mut span = self
            .tracer
            .as_ref()
            .map_or_else(Span::none, |tracer| tracer.job(name));
        let ran = trace::within(span.context(), || match job.kind {
            JobKind::Infer => self.run_infer(id, job),
            JobKind::Upgrade => self.run_upgrades(),
        });
        if let Err(problem) = &ran {
            span.fail(problem.kind);
        }
        ran
    }

    fn run_infer(&self, id: &JobId, job: JobRecord) -> Result<(), Problem> {
        let answered = self
            .started(id)
            .and_then(|()| Ok(Raw::decode(&job.request).map_err(Failure::of(Exit::Store))?))
            .and_then(|raw| {
                let model = self.model(&raw.model)?.clone();
                Call::read(&job.tenant, model, raw.form, raw.asked, &raw.body)
            })
            .and_then(|call| self.answer_job(call, (*id, job.clone())));
        match answered {
            Ok(()) => {
                self.jobs.done(id);
                Ok(())
            }
            Err(problem) => self.fail(id, job, &problem),
        }
    }

    /// Counts a start of a job. One whose starts all ended with the process is given up, so that it does not end it for ever.
    pub(crate) fn started(&self, id: &JobId) -> Result<(), Problem> {
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
    pub(crate) fn fail(
        &self,
        id: &JobId,
        job: JobRecord,
        problem: &Problem,
    ) -> Result<(), Problem> {
        if is_later(problem) {
            return Err(problem.clone());
        }
        let mut problem = problem.clone();
        if let Some(receipt) = job.upgraded() {
            let promise = self.store.notice_of(id, "promise")?;
            let nonce = promise.and_then(|promise| promise.signed.notice().nonce.clone());
            problem = self.refuse_upgrade(receipt, nonce, problem);
            // A promise is not kept by refusing later, unless the caller took away what it takes.
            if problem.kind != "erased" {
                self.miss(id, &job, now()?)?;
            }
            self.refund(id, &job, &receipt)?;
        }
        let state = JobState::Failed(problem.json().to_string());
        let ended = job.ended(state);
        self.store.end_job(id, &ended, None)?;
        self.jobs.done(id);
        Ok(())
    }

    /// Gives back what an upgrade was to cost, whether it was asked for or promised with the answer.
    fn refund(&self, id: &JobId, job: &JobRecord, receipt: &Digest) -> Result<(), Problem> {
        let day = spending::day(job.created);
        for what in [spending::of_job(id), *receipt.as_bytes()] {
            if let Some(charge) = self.store.take_charge(day, &what)? {
                self.spending.give_back(&charge);
                break;
            }
        }
        Ok(())
    }

    /// Ends a job whose receipt has what was asked for.
    pub(crate) fn end(
        &self,
        id: &JobId,
        job: JobRecord,
        receipt: Digest,
        evidence: Option<&Evidence>,
    ) -> Result<(), Problem> {
        let state = JobState::Done(receipt);
        let ended = job.ended(state);
        self.store.end_job(id, &ended, evidence)?;
        self.jobs.done(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    #[test]
    fn an_accepted_upgrade_wants_its_opening_until_it_ends() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(dir.path(), StoreOptions::default()).expect("opens");
        let receipt = Digest::sha256(b"receipt");
        let job = |kind, request: &[u8]| JobRecord {
            kind,
            tenant: "acme".into(),
            created: 1,
            deadline: 0,
            priority: 5,
            sequence: store.next(),
            request: request.to_vec(),
            state: JobState::Queued,
        };
        let upgrade = job(JobKind::Upgrade, receipt.as_bytes());
        store
            .put_job(&[1; 16], &upgrade, &With::default())
            .expect("accepted");
        // An answer's request may have 32 bytes too, and wants no opening.
        let infer = job(JobKind::Infer, &[7; 32]);
        store
            .put_job(&[2; 16], &infer, &With::default())
            .expect("accepted");
        let jobs = Jobs::load(&store).expect("read");
        assert_eq!(
            wanted(&jobs, &store).expect("read"),
            HashSet::from([receipt])
        );
        jobs.done(&[1; 16]);
        assert_eq!(wanted(&jobs, &store).expect("read"), HashSet::new());
    }
}
