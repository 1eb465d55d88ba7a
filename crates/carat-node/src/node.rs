//! The node: what a request goes through between its arrival and its durable receipt.
//!
//! ```text
//! caller -> Gate -> Call -> queue -> worker: decide, run, sign, prove -> Keeper: store, log -> caller
//! ```

mod deciding;
mod passed;
mod retention;
mod upkeep;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use carat_log::store::Log;
use carat_policy::Rung;
use carat_receipt::Digest;
use carat_verify::Trust;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::access::{self, ApiKey, Gate, KEYS_FILE};
use crate::answer::Answer;
use crate::attesting::Attesting;
use crate::call::Call;
use crate::clock::Clock;
use crate::config::{Access, Config};
use crate::courier::Couriers;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::home::{self, Home, Place, log_failure};
use crate::hub::service::Service;
use crate::hub::worker::{Bounds, Launch};
use crate::issue::{self, Issuer, Order};
use crate::jobs::{self, Jobs};
use crate::keeper::{self, Draft, Keeper, Kept, Recovered, dead, named};
use crate::metrics::{Levels, Metrics};
use crate::model::{self, Kind, Tensors};
use crate::page;
use crate::period::Period;
use crate::planned::Planned;
use crate::planning;
use crate::problem::Problem;
use crate::proofs::{Leaving, Made, Provers};
use crate::queue::{Queue, Refused};
use crate::rules::{InForce, Rules};
use crate::served::{self, Served};
use crate::spending::Spending;
use crate::store::seal::Keys;
use crate::store::{
    Entry, JobId, JobKind, JobRecord, JobState, ReceiptRecord, Remembered, Store, StoreOptions,
    Target,
};
use crate::tell::Silent;
use crate::tls::Certificates;
use crate::trace::{self, Endpoint, Span, Tracer};

pub(crate) use deciding::Weighed;

const DAY: u64 = 86_400;
/// How many times `limits.stall_seconds` a write may hang before the process ends.
const GIVE_UP: u32 = 10;

/// Where an answer goes.
pub type Reply = oneshot::Receiver<Result<Kept<Answer>, Problem>>;

/// A request on its way to a worker.
struct Work {
    call: Call,
    key: Option<(Digest, Digest)>,
    claim: Option<Claim>,
    accepted: Instant,
    reply: oneshot::Sender<Result<Kept<Answer>, Problem>>,
    /// What it is traced under, and the time that it waits.
    trace: Option<trace::Context>,
    waiting: Span,
}

/// The one place where a tenant's idempotency key is being worked on. Whoever comes second waits until it is dropped.
pub(crate) struct Claim {
    claims: Arc<Claims>,
    key: Digest,
    /// Dropped with the claim, which wakes whoever waits.
    _done: watch::Sender<()>,
}

type Claims = Mutex<HashMap<Digest, watch::Receiver<()>>>;

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}

/// What is known of an idempotency key.
pub(crate) enum Key {
    /// Nothing: the caller has it now.
    Mine(Claim),
    /// The same request came before.
    Known(Target),
}

/// The node.
pub struct Node {
    /// Its configuration.
    pub config: Config,
    /// The models that are served.
    pub models: Vec<Arc<Served>>,
    /// The policy in force.
    pub rules: InForce,
    /// The Trust file that amounts are told under.
    pub trust: Option<Trust>,
    /// Who may call.
    pub gate: Gate,
    /// The certificate in force, where TLS is spoken.
    pub tls: Option<Arc<Certificates>>,
    /// The upstreams that answers are passed on from.
    pub couriers: Couriers,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Jobs that wait.
    pub jobs: Arc<Jobs>,
    /// What was spent, against what may be.
    pub spending: Spending,
    /// Attestation evidence for the key that signs.
    pub attesting: Attesting,
    /// Where spans go, where they go anywhere.
    pub tracer: Option<Arc<Tracer>>,
    /// The hub, where the server has one.
    pub hub: Option<Arc<Service>>,
    /// What the web page keeps.
    pub(crate) page: page::State,
    pub(crate) home: Home,
    pub(crate) store: Arc<Store>,
    pub(crate) log: Arc<Log>,
    /// What expires is judged by it.
    pub(crate) clock: Clock,
    store_keys: Option<Arc<Keys>>,
    issuer: Issuer,
    works: Queue<Work>,
    keeper: Keeper,
    claims: Arc<Claims>,
    /// Held by whoever counts the store.
    pub(crate) counting: Arc<Semaphore>,
    /// Answers that lack nothing but their proof.
    unproven: Queue<Leaving>,
    provers: Provers,
    draining: AtomicBool,
    ending: AtomicBool,
    disk_full: AtomicBool,
    /// A write hangs for so long that its thread is given up.
    hung: AtomicBool,
    /// The next proof panics.
    #[cfg(test)]
    pub(crate) panics: AtomicBool,
    fault: OnceLock<Failure>,
}

/// Everything that is checked before a server listens.
pub struct Prepared {
    node: Node,
    /// What was found in the store.
    pub recovered: Recovered,
}

/// What is asked for at one start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Start {
    /// Entries of the log may be of receipts that the store does not know.
    pub accept_foreign: bool,
    /// The store is written anew with the key that seals now, whatever it was sealed with.
    pub reseal: bool,
}

/// A node whose threads run.
pub struct Running {
    /// The node.
    pub node: Arc<Node>,
    workers: Vec<JoinHandle<()>>,
    provers: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
}

/// The server's directory inside a data directory: its keys, its log and its store are its own.
pub fn home_of(home: &Home) -> Home {
    Home::at(home.path("node"))
}

/// What a server reads before it opens its store: checking it disturbs no server that runs.
pub struct Parts {
    config: Config,
    home: Home,
    trust: Option<Trust>,
    keys: Option<Vec<ApiKey>>,
    tls: Option<Arc<Certificates>>,
    store_keys: Option<Arc<Keys>>,
    collector: Option<Endpoint>,
    models: Vec<Arc<Served>>,
    rules: InForce,
    couriers: Couriers,
    /// Opened here where models come from it, else with the store.
    hub: Option<Arc<Service>>,
    /// The verifier that the web page hands to browsers.
    verifier: Option<page::Verifier>,
}

impl Parts {
    /// Reads and checks keys, models, policy, environment and Trust file.
    pub fn read(config: Config, home: &Home) -> Result<Self, Failure> {
        let home = home_of(home);
        let place = Place {
            data_dir: Some(home.root().to_path_buf()),
            tell: &Silent,
        };
        home.make()?;
        let trust = config.trust.as_deref().map(files::read_trust).transpose()?;
        let keys = match config.access {
            Access::Open => None,
            Access::Keys => {
                let path = home.path(KEYS_FILE);
                let keys = access::read_keys(&path)?;
                if keys.is_empty() {
                    let message = format!(
                        "{} has no keys, so nobody could call: make one with carat api-key new, or set access = \"open\"",
                        path.display()
                    );
                    return Err(Failure::new(Exit::Usage, message));
                }
                Some(keys)
            }
        };
        let tls = match config.tls.files() {
            Some((certificate, key)) => Some(Arc::new(Certificates::load(
                certificate,
                key,
                home::clock()?,
            )?)),
            None => None,
        };
        let store_keys = config.storage.keys()?;
        let collector = Endpoint::read(&config.traces)?;
        let couriers = Couriers::prepare(&config.upstreams)?;
        let from_hub = config.model.iter().any(|entry| entry.in_hub().is_some());
        let hub = match from_hub {
            true => open_hub(&config, &home)?,
            false => None,
        };
        let models = served::load(&config, &home, &place, hub.as_deref())?;
        let kept = config.retention.openings.map(Period::seconds);
        let rules = InForce::load(&home, config.policy.as_deref(), kept, &models)?;
        config.budgets().check(rules.now().policy.currency)?;
        config.attestation.policy()?;
        let verifier = match config.page.enabled {
            true => page::Verifier::find(config.page.verifier.as_deref())?,
            false => None,
        };
        Ok(Self {
            config,
            home,
            trust,
            keys,
            tls,
            store_keys,
            collector,
            models,
            rules,
            couriers,
            hub,
            verifier,
        })
    }

    /// The upstreams.
    pub fn couriers(&self) -> &Couriers {
        &self.couriers
    }

    /// The models.
    pub fn models(&self) -> &[Arc<Served>] {
        &self.models
    }

    /// The policy in force.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.now()
    }

    /// The certificate, where TLS is spoken.
    pub fn tls(&self) -> Option<&Certificates> {
        self.tls.as_deref()
    }

    /// Whether what callers send is encrypted at rest.
    pub fn encrypts(&self) -> bool {
        self.store_keys.is_some()
    }

    /// How many API keys there are; `None` where access is open.
    pub fn keys(&self) -> Option<usize> {
        self.keys.as_ref().map(Vec::len)
    }
}

/// The hub of the configuration, which lies beside the server's directory, so that commands find it when the server is down.
fn open_hub(config: &Config, home: &Home) -> Result<Option<Arc<Service>>, Failure> {
    let Some(hub) = &config.hub else {
        return Ok(None);
    };
    let limits = carat_hub::Limits {
        file_bytes: hub.file_bytes,
        version_bytes: hub.version_bytes,
        tenant_bytes: hub.tenant_bytes,
    };
    let bounds = Bounds {
        seconds: hub.examine_seconds,
        bytes: hub.examine_bytes,
    };
    let launch = (bounds.seconds > 0)
        .then(|| Launch::own(bounds))
        .transpose()?;
    let proof_bytes = config.limits.proof_bytes.min(bounds.bytes);
    let data = home.root().parent().unwrap_or(home.root());
    let hub = crate::hub::open(&Home::at(data.to_path_buf()), limits)?;
    Ok(Some(Arc::new(Service::new(hub, launch, proof_bytes))))
}

impl Prepared {
    /// Opens store and log in the server's directory, and brings them together.
    pub fn open(parts: Parts, start: Start) -> Result<Self, Failure> {
        let Parts {
            config,
            home,
            trust,
            keys,
            tls,
            store_keys,
            collector,
            models,
            rules,
            couriers,
            hub,
            verifier,
        } = parts;
        // The lock of the store first: a second server ends here, before it waits for the log.
        home.make()?;
        let options = StoreOptions {
            cache_bytes: config.limits.cache_bytes,
            table_bytes: config.limits.table_bytes,
            keys: store_keys.clone(),
        };
        let (store, rewritten) =
            Store::open_or_rewrite(&home.path("store"), &options, start.reseal)?;
        let store = Arc::new(store);
        if home.key()?.is_none() && store.last_place()?.is_some() {
            let message = format!(
                "{} is gone, but the store has receipts that it signed; restore the key from a copy",
                home.path("key").display()
            );
            return Err(Failure::new(Exit::Store, message));
        }
        planning::settle(&home, store_keys.as_deref(), rewritten.is_some())?;
        if let (Some(records), Some(keys)) = (rewritten, &store_keys) {
            let key = hex::encode(keys.current());
            tracing::info!(records, key, "the store was encrypted anew");
        }
        let (key, _) = home.key_or_new()?;
        let issuer = Issuer {
            name: home.issuer_name(&key)?,
            key,
        };
        let now = home::clock()?;
        let attesting = Attesting::start(config.attestation.clone(), issuer.key.public(), now)?;
        let log = Arc::new(home.log()?);
        let recovered = keeper::recover(&store, &log, start.accept_foreign)?;
        for served in &models {
            store.put_program(&served.model.digest, &served.model.program().encode())?;
        }
        let jobs = Arc::new(Jobs::load(&store)?);
        let currency = rules.now().policy.currency;
        let spending = Spending::load(config.budgets(), currency, &store, home::clock()?)?;
        let hub = match hub {
            None => open_hub(&config, &home)?,
            there => there,
        };
        let limits = &config.limits;
        let metrics = Arc::new(Metrics::default());
        let tracer = collector
            .map(|endpoint| Tracer::start(endpoint, &config.traces, metrics.clone()))
            .transpose()?;
        let counted = metrics.clone();
        let promised = jobs.clone();
        let kept: keeper::OnKept = Box::new(move |taken, job| {
            counted.receipt(taken);
            // It is in the store now, so it may be worked on.
            if let Some((id, job)) = job {
                promised.add(*id, job);
            }
        });
        let keeper = Keeper::start(store.clone(), log.clone(), limits.queue, kept)?;
        let node = Node {
            gate: Gate::new(keys, limits.requests_per_second, limits.burst),
            works: Queue::new(limits.queue),
            metrics,
            claims: Arc::default(),
            counting: Arc::new(Semaphore::new(1)),
            attesting,
            unproven: Queue::new(limits.queue),
            provers: Provers::new(config.provers),
            spending,
            draining: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            disk_full: AtomicBool::new(false),
            hung: AtomicBool::new(false),
            #[cfg(test)]
            panics: AtomicBool::new(false),
            fault: OnceLock::new(),
            keeper,
            config,
            tls,
            tracer,
            store_keys,
            models,
            rules,
            couriers,
            trust,
            jobs,
            hub,
            page: page::State::new(verifier)?,
            home,
            store,
            log,
            clock: Clock::start()?,
            issuer,
        };
        node.look_at_dates()?;
        node.look_at_disk();
        Ok(Self { node, recovered })
    }

    /// Starts the threads.
    pub fn start(self) -> Result<Running, Failure> {
        let node = Arc::new(self.node);
        let count = match node.config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let mut workers = Vec::new();
        for i in 0..count {
            workers.push(watched(&node, format!("carat-work-{i}"), Node::work)?);
        }
        let mut provers = Vec::new();
        for i in 0..node.config.provers {
            provers.push(watched(
                &node,
                format!("carat-prove-{i}"),
                Node::prove_answers,
            )?);
        }
        workers.push(watched(&node, "carat-jobs".into(), Node::run_jobs)?);
        let mut others = vec![
            watched(&node, "carat-tick".into(), Node::tick)?,
            watched(&node, "carat-checkpoint".into(), Node::publish)?,
        ];
        if let Some(hub) = node.hub.clone() {
            // Not watched: what a tenant published must not be able to take the node down at every start.
            others.push(named("carat-hub", move || hub.examine())?);
        }
        if node.attesting.has_source() {
            others.push(watched(&node, "carat-attest".into(), Node::attest)?);
        }
        Ok(Running {
            node,
            workers,
            provers,
            others,
        })
    }
}

/// A thread of the node. One that dies takes the node down, so that whoever watches the process starts it again: a server that
/// takes requests and has nobody who works on them would be worse.
fn watched(node: &Arc<Node>, name: String, work: fn(&Node)) -> Result<JoinHandle<()>, Failure> {
    let (node, own) = (node.clone(), name.clone());
    named(&name, move || {
        if catch_unwind(AssertUnwindSafe(|| work(&node))).is_err() {
            node.go_down(dead(&own));
        }
    })
}

impl Running {
    /// Finishes what was accepted, makes a last checkpoint and stops the threads.
    pub fn finish(self) -> Result<(), Failure> {
        self.node.drain();
        self.node.works.close();
        self.node.jobs.close();
        if self.node.hung.load(Ordering::Acquire) {
            // Threads that wait for the disk are not waited for: the process ends, and the next start looks at what is there.
            return self.node.fault().map_or(Ok(()), |fault| {
                Err(Failure::new(fault.exit, &fault.message))
            });
        }
        let join = |thread: JoinHandle<()>| {
            thread
                .join()
                .map_err(|_| Failure::new(Exit::Internal, "a thread of the server panicked"))
        };
        self.workers.into_iter().try_for_each(join)?;
        // Workers and jobs wait for provers, so provers end after them.
        self.node.unproven.close();
        self.provers.into_iter().try_for_each(join)?;
        self.node.ending.store(true, Ordering::Release);
        if let Some(hub) = &self.node.hub {
            hub.stop();
        }
        self.others.into_iter().try_for_each(join)?;
        self.node.keeper.finish()?;
        if let Some(tracer) = &self.node.tracer {
            tracer.finish();
        }
        if let Some(fault) = self.node.fault() {
            return Err(Failure::new(fault.exit, &fault.message));
        }
        self.node.log.publish().map_err(log_failure)?;
        self.node.store.sync()?;
        Ok(())
    }
}

impl Node {
    /// Takes no new requests.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Why nothing is written any more, if that is so.
    pub fn fault(&self) -> Option<&Failure> {
        let known = self.fault.get().or_else(|| self.keeper.fault());
        if known.is_some() || self.keeper.stalled() < self.stall() * GIVE_UP {
            return known;
        }
        self.hung.store(true, Ordering::Release);
        Some(self.fault.get_or_init(|| {
            let message = format!(
                "the disk took no write for {GIVE_UP} times limits.stall_seconds = {}; check it, and start the server again",
                self.config.limits.stall_seconds
            );
            Failure::new(Exit::Io, message)
        }))
    }

    /// Takes the node down.
    fn go_down(&self, failure: Failure) {
        tracing::error!(error = failure.message, "the node goes down");
        let _ = self.fault.set(failure);
    }

    fn stall(&self) -> Duration {
        Duration::from_secs(self.config.limits.stall_seconds)
    }

    /// Unix seconds that expiry is judged by; says so where the clock jumped.
    pub(crate) fn expiry(&self) -> Result<u64, Failure> {
        let seen = self.clock.look()?;
        if seen.jumped != 0 {
            self.metrics.clock_jump();
            tracing::warn!(
                seconds = seen.jumped,
                "the clock jumped: receipts are dated by it; nothing expires by a jump forward within the next hour"
            );
        }
        Ok(seen.expiry)
    }

    /// Refuses where nothing new can be accepted.
    pub fn ready(&self) -> Result<(), Problem> {
        if let Some(fault) = self.fault() {
            return Err(Problem::stopping(&fault.message));
        }
        if self.draining.load(Ordering::Acquire) {
            return Err(Problem::stopping("the server is going down"));
        }
        if self.keeper.stalled() > self.stall() {
            let detail = format!(
                "the disk has not taken a write for limits.stall_seconds = {} s; nothing is accepted until it does",
                self.config.limits.stall_seconds
            );
            return Err(Problem::stopping(detail));
        }
        if self.disk_full.load(Ordering::Acquire) {
            let detail = format!(
                "less than limits.free_bytes = {} bytes are free on the server's disk; nothing is accepted until there is room",
                self.config.limits.free_bytes
            );
            return Err(Problem::new(507, "disk-full", detail).after(30));
        }
        Ok(())
    }

    /// The model of a name.
    pub fn model(&self, name: &str) -> Result<&Arc<Served>, Problem> {
        self.models
            .iter()
            .find(|served| served.name == name)
            .ok_or_else(|| Problem::not_found("model"))
    }

    /// Erases what opens a receipt.
    pub(crate) fn erase(&self, id: &Digest) -> Result<(), Problem> {
        self.ready()?;
        Ok(self.store.erase_opening(id, now()?)?)
    }

    /// What is measured when somebody asks.
    pub fn levels(&self) -> Levels {
        let stats = self.log.stats();
        Levels {
            queue: self.works.len() as u64,
            keeping: self.keeper.waiting() as u64,
            jobs: self.jobs.len() as u64,
            entries: stats.entries,
            published: stats.published,
            certificate_not_after: self.tls.as_ref().map_or(0, |tls| tls.not_after()),
            spending: self.spending.totals(home::clock().unwrap_or_default()),
        }
    }

    /// Finds out what an idempotency key stands for, waiting for whoever works on it.
    ///
    /// # Errors
    /// 409 where the key stands for another request.
    pub(crate) async fn claim(&self, key: Digest, request: Digest) -> Result<Key, Problem> {
        loop {
            let other = {
                let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
                match claims.get(&key) {
                    Some(other) => other.clone(),
                    None => {
                        let known = self.store.remembered(&key)?;
                        let oldest = self
                            .expiry()?
                            .saturating_sub(self.config.idempotency_hours.saturating_mul(3600));
                        match known.filter(|known| known.created >= oldest) {
                            Some(known) if known.request == request => {
                                return Ok(Key::Known(known.target));
                            }
                            Some(_) => {
                                let detail = format!(
                                    "that Idempotency-Key was used for another request; keys are remembered for {} hours",
                                    self.config.idempotency_hours
                                );
                                return Err(Problem::new(409, "key-reused", detail));
                            }
                            None => {
                                let (done, waiting) = watch::channel(());
                                claims.insert(key, waiting);
                                return Ok(Key::Mine(Claim {
                                    claims: self.claims.clone(),
                                    key,
                                    _done: done,
                                }));
                            }
                        }
                    }
                }
            };
            let mut other = other;
            // Ends with an error when the claim is dropped, which is what is waited for.
            while other.changed().await.is_ok() {}
        }
    }

    /// Accepts a request, or says at once that it is not accepted.
    pub(crate) fn accept(
        &self,
        call: Call,
        key: Option<(Digest, Digest)>,
        claim: Option<Claim>,
    ) -> Result<Reply, Problem> {
        self.ready()?;
        let (reply, answer) = oneshot::channel();
        let work = Work {
            call,
            key,
            claim,
            accepted: Instant::now(),
            reply,
            trace: trace::current(),
            waiting: self.span("wait"),
        };
        match self.works.try_push(work) {
            Ok(()) => Ok(answer),
            Err(Refused::Full(_)) => {
                let what = format!("limits.queue = {} requests wait", self.config.limits.queue);
                Err(Problem::overloaded(&what, 1))
            }
            Err(Refused::Closed(_)) => Err(Problem::stopping("the server is going down")),
        }
    }

    /// A worker's life.
    fn work(&self) {
        while let Some(works) = self.works.take(1) {
            for work in works {
                let Work {
                    call,
                    key,
                    claim,
                    accepted,
                    reply,
                    trace,
                    mut waiting,
                } = work;
                waiting.end();
                match trace::within(trace, || self.answer(call, key, claim, None)) {
                    Ok(made) => self.send_on(Leaving {
                        made,
                        accepted,
                        reply,
                        trace,
                    }),
                    Err(problem) => {
                        let _ = reply.send(Err(problem));
                    }
                }
            }
        }
    }

    /// Answers a job, and waits until its receipt is durable.
    pub(crate) fn answer_job(&self, call: Call, job: (JobId, JobRecord)) -> Result<(), Problem> {
        let made = self.answer(call, None, None, Some(job))?;
        let (reply, answered) = oneshot::channel();
        self.send_on(Leaving {
            made,
            accepted: Instant::now(),
            reply,
            trace: trace::current(),
        });
        let mut kept = answered
            .blocking_recv()
            .unwrap_or_else(|_| Err(Problem::stopping("the server is going down")))?;
        kept.answer.keeping.end();
        Ok(())
    }

    /// A span below the one that is worked under now.
    pub(crate) fn span(&self, name: impl Into<String>) -> Span {
        match &self.tracer {
            Some(tracer) => tracer.span(name),
            None => Span::none(),
        }
    }

    /// Decides, runs and signs. A panic ends this request and nothing else.
    pub(crate) fn answer(
        &self,
        call: Call,
        key: Option<(Digest, Digest)>,
        claim: Option<Claim>,
        job: Option<(JobId, JobRecord)>,
    ) -> Result<Made, Problem> {
        let name = call.model.name.clone();
        let made = AssertUnwindSafe(|| self.make(call, key, claim, job));
        catch_unwind(made).unwrap_or_else(|_| {
            tracing::error!(model = name, "a fault of carat: a request panicked");
            Err(Problem::new(
                500,
                "internal",
                "a fault of the server; please report it with the request, if you can",
            ))
        })
    }

    fn make(
        &self,
        call: Call,
        key: Option<(Digest, Digest)>,
        claim: Option<Claim>,
        job: Option<(JobId, JobRecord)>,
    ) -> Result<Made, Problem> {
        let served = call.model.clone();
        let program = served.model.program();
        let inputs = program
            .encode_values(&call.inputs)
            .map_err(|error| Problem::new(422, "bad-input", error))?;
        // What is bought is decided before the answer is known.
        let (planned, reserved) = self.planned(&call)?.unzip();
        let kept = self.kept_for(call.retain, planned.as_ref())?;
        let deferred = planned
            .as_ref()
            .is_some_and(|planned| planned.buys(Rung::DeferredZk));
        if deferred {
            self.room_for_job(&call.tenant)?;
        }
        let started = Instant::now();
        let mut span = self.span(format!("inference {}", served.name));
        if span.context().is_some() {
            span.set("gen_ai.operation.name", "inference");
            span.set("gen_ai.provider.name", "carat");
            span.set("gen_ai.request.model", served.name.as_str());
            span.set("carat.model.version", served.model.version.to_string());
            span.set("carat.program", served.model.digest.to_string());
        }
        let outputs = served.run(&inputs).map_err(|failure| {
            match (&served.model.kind, failure.exit) {
                // The engine of a float model refused this input, or failed on it: a matter of the model, not of the server.
                (Kind::Pinned(_), Exit::Model) => {
                    tracing::warn!(model = served.name, "no answer: {}", failure.message);
                    Problem::new(422, "model-failed", failure.message)
                }
                _ => failure.into(),
            }
        })?;
        span.end();
        let wall_micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let now = now()?;
        // What is not there any more cannot be proven.
        let offered = self.config.upgrade_days.saturating_mul(DAY);
        let offered = kept.map_or(offered, |kept| kept.min(offered));
        let mut span = self.span("sign");
        let order = Order {
            model: served.model.identity()?,
            input: (&inputs).into(),
            output: (&outputs).into(),
            wall_micros,
            audience: call.audience,
            nonce: call.nonce,
            planned: planned.as_ref(),
            io_commitment: None,
            option_expiry: (offered > 0 && served.proving.is_some())
                .then(|| now.saturating_add(offered)),
        };
        let signed = issue::sign(order, &self.issuer, now)?;
        span.end();
        let id = signed.signed.receipt_id();
        let attests = self.attesting.on_all()
            || planned
                .as_ref()
                .is_some_and(|planned| planned.buys(Rung::TeeAudit));
        let attested = if attests {
            let evidence = self.attesting.evidence(id);
            if evidence.is_none() {
                let detail = "this node's attestation ran out and could not be renewed; nothing was signed away, try again";
                return Err(Problem::stopping(detail));
            }
            self.metrics.evidence("attestation");
            evidence
        } else {
            None
        };
        let plan = signed.signed.statement().optional.plan.as_ref();
        let due = plan.and_then(|plan| plan.proof_deadline);
        let promised = match due {
            Some(deadline) if deferred => Some(self.new_job(&jobs::Asked {
                tenant: &call.tenant,
                kind: JobKind::Upgrade,
                priority: jobs::PRIORITY,
                deadline,
                request: id.as_bytes().to_vec(),
                key: None,
            })?),
            _ => None,
        };
        let proves = planned.as_ref().is_some_and(Planned::proves);
        if let Some(planned) = &planned {
            self.remember(planned, Some(&id), now)?;
        }
        let remembered = key.map(|(key, request)| {
            let remembered = Remembered {
                request,
                created: now,
                target: Target::Receipt(id),
            };
            (key, remembered)
        });
        let entry = Entry {
            id,
            record: ReceiptRecord {
                tenant: call.tenant,
                model: served.name.clone(),
                created: now,
                blind: signed.blind,
                signed: signed.signed.clone(),
            },
            opening: signed.opening.encode(),
            evidence: attested.into_iter().collect(),
            key: remembered,
            job: job.map(|(job_id, job)| (job_id, job.ended(JobState::Done(id)))),
            ends: call
                .retain
                .map(|retain| now.saturating_add(retain.seconds())),
            promised,
            charge: reserved.and_then(|reserved| reserved.on(*id.as_bytes())),
        };
        let answer = Answer {
            id,
            outputs: program.show(&outputs).ok_or_else(model::other_kind)?,
            model: served.clone(),
            signed: signed.signed,
            keeping: Span::none(),
            _claim: claim,
        };
        let prove = match (proves, inputs, outputs) {
            (true, Tensors::Integers(inputs), Tensors::Integers(outputs)) => {
                Some((id, inputs, outputs))
            }
            _ => None,
        };
        Ok(Made {
            entry,
            leaf: signed.leaf,
            answer,
            prove,
        })
    }

    /// The keys of the store, where it is encrypted.
    pub(crate) fn store_keys(&self) -> Option<&Keys> {
        self.store_keys.as_deref()
    }

    pub(crate) fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    pub(crate) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    pub(crate) fn unproven(&self) -> &Queue<Leaving> {
        &self.unproven
    }

    pub(crate) fn provers(&self) -> &Provers {
        &self.provers
    }
}

/// A receipt on its way, whose answer goes to whoever waits once it is durable.
pub(crate) fn draft(
    entry: Entry,
    leaf: Vec<u8>,
    answer: Answer,
    accepted: Instant,
    reply: oneshot::Sender<Result<Kept<Answer>, Problem>>,
) -> Draft {
    Draft {
        entry,
        leaf,
        accepted,
        done: Box::new(move |index| {
            let _ = reply.send(index.map(|index| Kept { index, answer }));
        }),
    }
}

/// Unix seconds by this machine's clock.
pub(crate) fn now() -> Result<u64, Problem> {
    home::clock().map_err(Problem::from)
}

#[cfg(test)]
mod tests;
