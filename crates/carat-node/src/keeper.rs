//! Makes receipts durable in groups: into the store, then into the log, then to whoever waits. Two threads, so that the log
//! writes one group while the store writes the next.
//!
//! Nobody sees a receipt before both are synced. After a fault nothing more is written until the server starts again: what the
//! disk holds is found out by [`recover`], which completes what was between the two.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use carat_log::store::Log;
use carat_receipt::Digest;

use crate::exit::{Exit, Failure};
use crate::home::log_failure;
use crate::issue::leaf_of;
use crate::problem::Problem;
use crate::queue::Queue;
use crate::store::{Entry, JobId, JobRecord, MAX_GROUP, NoticeRecord, Store, StoreFault};

/// Bytes of openings and evidence after which a group is closed.
const MAX_GROUP_BYTES: usize = 32 << 20;
/// Most groups between store and log.
const MAX_GROUPS: usize = 4;

/// What is told once a receipt is durable, with its entry of the log, or why it is not.
pub type Done = Box<dyn FnOnce(Result<u64, Problem>) + Send>;

/// A receipt on its way.
pub struct Draft {
    /// What goes into the store.
    pub entry: Entry,
    /// What goes into the log.
    pub leaf: Vec<u8>,
    /// When its request was accepted.
    pub accepted: Instant,
    /// Called once both are durable, or cannot be.
    pub done: Done,
}

/// A receipt that is durable.
#[derive(Debug)]
pub struct Kept<A> {
    /// Its entry of the log.
    pub index: u64,
    /// The answer.
    pub answer: A,
}

/// What is called for each receipt that became durable, with the time since its request was accepted and the job that its plan
/// promised.
pub type OnKept = Box<dyn Fn(Duration, Option<&(JobId, JobRecord)>) + Send>;

struct Group {
    number: u64,
    drafts: Vec<Draft>,
}

/// The two threads.
pub struct Keeper {
    drafts: Arc<Queue<Draft>>,
    fault: Arc<OnceLock<Failure>>,
    /// Whoever appends to the log and notes the places holds this, so that places are noted in the order of the log: a start
    /// looks for what is not noted behind the last one that is.
    appending: Arc<Mutex<()>>,
    /// Of the store and of the log.
    writes: [Arc<Write>; 2],
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Since when a thread is writing.
#[derive(Debug, Default)]
struct Write(Mutex<Option<Instant>>);

impl Write {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn during<T>(&self, write: impl FnOnce() -> T) -> T {
        self.set(Some(Instant::now()));
        let done = write();
        self.set(None);
        done
    }

    fn elapsed(&self) -> Duration {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// Why the node goes down when one of its threads died.
pub(crate) fn dead(thread: &str) -> Failure {
    Failure::new(
        Exit::Internal,
        format!(
            "a fault of carat: the thread {thread} panicked; start the server again, which loses nothing that was answered"
        ),
    )
}

impl Keeper {
    /// Starts them.
    pub fn start(
        store: Arc<Store>,
        log: Arc<Log>,
        capacity: usize,
        kept: OnKept,
    ) -> Result<Self, Failure> {
        let drafts = Arc::new(Queue::new(capacity));
        let groups = Arc::new(Queue::new(MAX_GROUPS));
        let fault = Arc::new(OnceLock::new());
        let appending = Arc::new(Mutex::new(()));
        let writes: [Arc<Write>; 2] = Default::default();
        let mut threads = Vec::new();
        {
            let (drafts, groups, fault) = (drafts.clone(), groups.clone(), fault.clone());
            let (store, write) = (store.clone(), writes[0].clone());
            threads.push(named("carat-store", move || {
                let work = || {
                    while let Some(taken) = drafts.take(MAX_GROUP) {
                        for part in parts(taken) {
                            write.during(|| write_store(&store, &groups, &fault, part));
                        }
                    }
                };
                // Whoever waits for this thread is told.
                if catch_unwind(AssertUnwindSafe(work)).is_err() {
                    let failure = fault.get_or_init(|| dead("carat-store"));
                    drafts.close();
                    while let Some(taken) = drafts.take(MAX_GROUP) {
                        refuse(taken, failure);
                    }
                    write.set(None);
                }
                groups.close();
            })?);
        }
        {
            let (fault, write) = (fault.clone(), writes[1].clone());
            let appending = appending.clone();
            threads.push(named("carat-log", move || {
                let work = || {
                    while let Some(taken) = groups.take(MAX_GROUPS) {
                        let _alone = appending.lock().unwrap_or_else(PoisonError::into_inner);
                        write.during(|| write_log(&store, &log, &fault, &kept, taken));
                    }
                };
                if catch_unwind(AssertUnwindSafe(work)).is_err() {
                    let failure = fault.get_or_init(|| dead("carat-log"));
                    groups.close();
                    while let Some(taken) = groups.take(MAX_GROUPS) {
                        let drafts = taken.into_iter().flat_map(|group| group.drafts);
                        refuse(drafts.collect(), failure);
                    }
                    write.set(None);
                }
            })?);
        }
        Ok(Self {
            drafts,
            fault,
            appending,
            writes,
            threads: Mutex::new(threads),
        })
    }

    /// Hands a receipt over, waiting while there is no room.
    pub fn keep(&self, draft: Draft) {
        if let Err(draft) = self.drafts.push(draft) {
            (draft.done)(Err(Problem::stopping("the server is going down")));
        }
    }

    /// Makes a promise that was missed durable and appends it to the log, unless its job has one already. `true`: it was new.
    pub fn keep_miss(
        &self,
        store: &Store,
        log: &Log,
        miss: &NoticeRecord,
    ) -> Result<bool, Failure> {
        let _alone = self
            .appending
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(fault) = self.fault.get() {
            return Err(Failure::new(fault.exit, &fault.message));
        }
        if store.notice_of(&miss.job, "miss")?.is_some() {
            return Ok(false);
        }
        let leaf = miss
            .leaf()
            .ok_or_else(|| Failure::new(Exit::Internal, "a notice for the log without a blind"))?;
        let written = store
            .put_miss(miss)
            .map_err(Failure::from)
            .and_then(|group| {
                let range = log.append_batch(&[&leaf]).map_err(log_failure)?;
                let places = std::iter::once(miss.signed.id()).zip(range);
                store.put_places(places, &[group])?;
                Ok(true)
            });
        if let Err(failure) = &written {
            // What the disk holds is found out at the next start, as for receipts.
            let _ = self.fault.set(Failure::new(failure.exit, &failure.message));
        }
        written
    }

    /// Why nothing is written any more.
    pub fn fault(&self) -> Option<&Failure> {
        self.fault.get()
    }

    /// For how long the write that takes longest has been going on.
    pub fn stalled(&self) -> Duration {
        let times = self.writes.iter().map(|write| write.elapsed());
        times.max().unwrap_or_default()
    }

    /// Receipts on their way.
    pub fn waiting(&self) -> usize {
        self.drafts.len()
    }

    /// Takes no more receipts, and waits until those on their way are kept.
    pub fn finish(&self) -> Result<(), Failure> {
        self.drafts.close();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                return Err(Failure::new(
                    Exit::Internal,
                    "a thread of the store panicked",
                ));
            }
        }
        match self.fault.get() {
            Some(fault) => Err(Failure::new(fault.exit, &fault.message)),
            None => Ok(()),
        }
    }
}

/// A thread with a name.
pub(crate) fn named(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Failure> {
    std::thread::Builder::new()
        .name(name.to_string())
        .spawn(work)
        .map_err(|error| Failure::new(Exit::Io, format!("the system gave no thread: {error}")))
}

/// Cuts what was taken where a group would become too large.
fn parts(taken: Vec<Draft>) -> Vec<Vec<Draft>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for draft in taken {
        if bytes > MAX_GROUP_BYTES {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += draft.entry.opening.len();
        if let Some(part) = parts.last_mut() {
            part.push(draft);
        }
    }
    parts
}

fn refuse(drafts: Vec<Draft>, fault: &Failure) {
    let problem = Problem::from(Failure::new(fault.exit, &fault.message));
    for draft in drafts {
        (draft.done)(Err(problem.clone()));
    }
}

fn write_store(
    store: &Store,
    groups: &Queue<Group>,
    fault: &OnceLock<Failure>,
    drafts: Vec<Draft>,
) {
    if let Some(fault) = fault.get() {
        return refuse(drafts, fault);
    }
    let (entries, rest): (Vec<Entry>, Vec<_>) = drafts
        .into_iter()
        .map(|draft| {
            let rest = (draft.leaf, draft.accepted, draft.done);
            (draft.entry, rest)
        })
        .unzip();
    let written = store.put_group(&entries);
    let drafts: Vec<Draft> = entries
        .into_iter()
        .zip(rest)
        .map(|(entry, (leaf, accepted, done))| Draft {
            entry,
            leaf,
            accepted,
            done,
        })
        .collect();
    match written {
        Ok(number) => {
            if let Err(group) = groups.push(Group { number, drafts }) {
                refuse(
                    group.drafts,
                    &Failure::new(Exit::Internal, "the log's thread ended early"),
                );
            }
        }
        Err(error) => {
            let failure = Failure::from(error);
            tracing::error!(error = %failure.message, "the store cannot be written");
            let failure = fault.get_or_init(|| failure);
            refuse(drafts, failure);
        }
    }
}

fn write_log(
    store: &Store,
    log: &Log,
    fault: &OnceLock<Failure>,
    kept: &OnKept,
    groups: Vec<Group>,
) {
    let drafts = || groups.iter().flat_map(|group| &group.drafts);
    let leaves: Vec<&[u8]> = drafts().map(|draft| draft.leaf.as_slice()).collect();
    let numbers: Vec<u64> = groups.iter().map(|group| group.number).collect();
    let written = if let Some(fault) = fault.get() {
        Err(Failure::new(fault.exit, &fault.message))
    } else {
        log.append_batch(&leaves)
            .map_err(log_failure)
            .and_then(|range| {
                let places = drafts().map(|draft| draft.entry.id).zip(range.clone());
                store.put_places(places, &numbers)?;
                Ok(range)
            })
    };
    let drafts = groups.into_iter().flat_map(|group| group.drafts);
    match written {
        Ok(range) => {
            for (draft, index) in drafts.zip(range) {
                kept(draft.accepted.elapsed(), draft.entry.promised.as_ref());
                // Whoever asked may have gone; the receipt is kept all the same.
                (draft.done)(Ok(index));
            }
        }
        Err(failure) => {
            tracing::error!(error = %failure.message, "the log cannot be written");
            refuse(drafts.collect(), fault.get_or_init(|| failure));
        }
    }
}

/// What was found at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Receipts whose place in the log was found again.
    pub found: u64,
    /// Receipts that went into the log now.
    pub logged: u64,
    /// Entries of the log that are of no receipt here.
    pub foreign: u64,
}

/// The leaf of a receipt, or of a promise that was missed.
fn stored_leaf(store: &Store, id: &Digest) -> Result<Option<Vec<u8>>, StoreFault> {
    if let Some(record) = store.receipt(id)? {
        return Ok(Some(leaf_of(&record.signed, &record.blind)));
    }
    Ok(store.notice(id)?.and_then(|notice| notice.leaf()))
}

/// Brings store and log together after a crash: every stored receipt has one entry in the log, and its place is noted.
///
/// # Errors
/// [`Exit::Store`] where the two do not belong together: the log is shorter than the store says, or it has entries of receipts
/// that the store does not know. `accept_foreign` lets the latter pass.
pub fn recover(store: &Store, log: &Log, accept_foreign: bool) -> Result<Recovered, Failure> {
    let damaged = |what: String| {
        Failure::new(
            Exit::Store,
            format!(
                "{what}: store and log of {} do not belong together; restore both from one copy",
                store.path().display()
            ),
        )
    };
    let from = match store.last_place()? {
        None => 0,
        Some((index, _)) if index >= log.len() => {
            return Err(damaged(format!(
                "the log has {} entries and entry {index} is noted",
                log.len()
            )));
        }
        Some((index, id)) => {
            let leaf = stored_leaf(store, &id)?
                .ok_or_else(|| damaged(format!("receipt {id} is noted and not there")))?;
            if log.leaf(index).map_err(log_failure)? != leaf {
                return Err(damaged(format!("entry {index} is another receipt's")));
            }
            index + 1
        }
    };
    let pending = store.pending()?;
    let mut leaves: HashMap<Vec<u8>, Digest> = HashMap::new();
    let mut order = Vec::new();
    for id in pending.iter().flat_map(|(_, ids)| ids) {
        if store.place(id)?.is_some() {
            continue;
        }
        let leaf = stored_leaf(store, id)?
            .ok_or_else(|| damaged(format!("receipt {id} is pending and not there")))?;
        leaves.insert(leaf.clone(), *id);
        order.push(leaf);
    }
    let mut places = Vec::new();
    let mut recovered = Recovered::default();
    for index in from..log.len() {
        match leaves.remove(&log.leaf(index).map_err(log_failure)?) {
            Some(id) => {
                places.push((id, index));
                recovered.found += 1;
            }
            None => recovered.foreign += 1,
        }
    }
    if recovered.foreign > 0 && !accept_foreign {
        return Err(damaged(format!(
            "{} entries of the log from {from} on are of receipts that the store does not know (if another command wrote them \
             into this log, start once with --accept-foreign-entries)",
            recovered.foreign
        )));
    }
    for chunk in order.chunks(MAX_GROUP) {
        let missing: Vec<&Vec<u8>> = chunk
            .iter()
            .filter(|leaf| leaves.contains_key(*leaf))
            .collect();
        let range = log.append_batch(&missing).map_err(log_failure)?;
        for (leaf, index) in missing.iter().zip(range) {
            if let Some(id) = leaves.remove(*leaf) {
                places.push((id, index));
                recovered.logged += 1;
            }
        }
    }
    let groups: Vec<u64> = pending.iter().map(|(group, _)| *group).collect();
    store.put_places(places.into_iter(), &groups)?;
    store.sync()?;
    Ok(recovered)
}

#[cfg(test)]
mod tests {
    use carat_log::NoteSigner;
    use carat_log::store::Options;
    use tokio::sync::oneshot;

    use super::*;
    use crate::store::StoreOptions;
    use crate::store::tests::entry;

    /// A thread that dies is a fault that is said, and nobody waits for it for ever.
    #[test]
    fn a_thread_that_dies_takes_nobody_with_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(&dir.path().join("store"), StoreOptions::default());
        let signer = NoteSigner::new("log.example/keeper", &[1; 32]).expect("good name");
        let log = Log::create(&dir.path().join("log"), signer, Options::default());
        let (store, log) = (Arc::new(store.expect("store")), Arc::new(log.expect("log")));
        let dies: OnKept = Box::new(|_, _| panic!("as a fault of ours would"));
        let keeper = Keeper::start(store.clone(), log.clone(), 4, dies).expect("starts");
        let replies: Vec<_> = (0..20)
            .map(|i| {
                let (reply, answer) = oneshot::channel::<Result<u64, Problem>>();
                let entry = entry(i);
                let leaf = leaf_of(&entry.record.signed, &entry.record.blind);
                keeper.keep(Draft {
                    entry,
                    leaf,
                    accepted: Instant::now(),
                    done: Box::new(move |index| {
                        let _ = reply.send(index);
                    }),
                });
                answer
            })
            .collect();
        for reply in replies {
            // Refused, or the sender is gone: an answer in either case, and never a receipt.
            assert!(!matches!(reply.blocking_recv(), Ok(Ok(_))));
        }
        let fault = keeper.fault().expect("a fault");
        assert_eq!(fault.exit, Exit::Internal);
        assert!(fault.message.contains("carat-log"), "{}", fault.message);
        assert!(keeper.finish().is_err());
        // What reached the disk before is completed by the next start.
        drop(keeper);
        recover(&store, &log, false).expect("recovers");
        assert!(store.pending().expect("read").is_empty());
    }

    #[test]
    fn a_write_that_goes_on_is_seen() {
        let write = Write::default();
        assert_eq!(write.elapsed(), Duration::ZERO);
        let during = write.during(|| {
            std::thread::sleep(Duration::from_millis(2));
            write.elapsed()
        });
        assert!(during > Duration::ZERO);
        assert_eq!(write.elapsed(), Duration::ZERO);
    }
}
