//! The store: receipts, openings, idempotency keys and jobs, in one embedded key-value database.
//!
//! Groups are written with one sync. A group goes in before its leaves go into the log, and where its receipts stand in the log
//! is written after; [`Store::pending`] says which groups were between the two when the process ended. `docs/operations.md`
//! has the order of all writes and what a crash leaves behind each.

mod charges;
mod erase;
mod fault;
mod guard;
mod notices;
mod records;
mod rewrite;
pub mod seal;
mod sealed;
mod tally;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use carat_receipt::{Digest, Evidence, LogPart, Opening, ReceiptFile};
use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, OwnedWriteBatch, PersistMode,
};
use zeroize::Zeroizing;

pub use charges::Charge;
pub use erase::{Erased, Reason};
pub use fault::StoreFault;
use guard::{Journals, Mark};
pub use notices::NoticeRecord;
pub use records::{JobId, JobKind, JobRecord, JobState, ReceiptRecord, Remembered, Target};
use seal::{Keys, Kind};
pub use tally::{Jobs, Tally};

/// The schema that this software writes.
pub const SCHEMA: u32 = 2;
/// Most receipts in one group.
pub const MAX_GROUP: usize = 1024;
/// Values longer than this are kept beside the tables, so that compaction does not copy them.
const LARGE_VALUE: u32 = 4096;

/// Name in `meta` of the number of the last synced batch.
const LAST: &str = "last-batch";

/// How a store is opened: how much memory it takes, beside the indices of its tables, and the keys that seal it.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Cache of blocks that were read, in bytes.
    pub cache_bytes: u64,
    /// What each table keeps in memory before it is written out, in bytes. Fixed when a store is made.
    pub table_bytes: u64,
    /// The keys of an encrypted store.
    pub keys: Option<Arc<Keys>>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 32 << 20,
            table_bytes: 4 << 20,
            keys: None,
        }
    }
}

/// A receipt that goes in, with all that goes in together with it.
#[derive(Debug)]
pub struct Entry {
    /// Its identity.
    pub id: Digest,
    /// The receipt.
    pub record: ReceiptRecord,
    /// What opens it.
    pub opening: Zeroizing<Vec<u8>>,
    /// Evidence beyond the signature.
    pub evidence: Vec<Evidence>,
    /// The idempotency key of the request, hashed.
    pub key: Option<(Digest, Remembered)>,
    /// The job that it answers, as it stands now.
    pub job: Option<(JobId, JobRecord)>,
    /// Unix seconds after which the opening is erased, where the caller asked for that.
    pub ends: Option<u64>,
    /// The job that brings evidence which its plan promised for later.
    pub promised: Option<(JobId, JobRecord)>,
    /// What its plan costs.
    pub charge: Option<Charge>,
}

/// What is written together with a job that is accepted.
#[derive(Debug, Default)]
pub struct With {
    /// The idempotency key of the request, hashed.
    pub key: Option<(Digest, Remembered)>,
    /// The promise that was made.
    pub promise: Option<NoticeRecord>,
    /// What it costs.
    pub charge: Option<Charge>,
}

/// The database. All methods take `&self` and may be called from many threads.
pub struct Store {
    path: PathBuf,
    seal: Option<Arc<Keys>>,
    db: Database,
    meta: Keyspace,
    programs: Keyspace,
    receipts: Keyspace,
    evidence: Keyspace,
    openings: Keyspace,
    opening_ages: Keyspace,
    opening_ends: Keyspace,
    erased: Keyspace,
    places: Keyspace,
    leaves: Keyspace,
    keys: Keyspace,
    key_ages: Keyspace,
    jobs: Keyspace,
    queue: Keyspace,
    starts: Keyspace,
    pending: Keyspace,
    notices: Keyspace,
    job_notices: Keyspace,
    charges: Keyspace,
    sequence: AtomicU64,
    mark: Mutex<Mark>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.path.display())
    }
}

fn be(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn aged(created: u64, key: &Digest) -> Vec<u8> {
    [created.to_be_bytes().as_slice(), key.as_bytes()].concat()
}

fn queued(job: &JobRecord) -> [u8; 9] {
    let mut key = [0; 9];
    key[0] = job.priority;
    key[1..].copy_from_slice(&job.sequence.to_be_bytes());
    key
}

impl Store {
    /// Opens the store in a directory, or makes it there; brings an older schema up to date.
    ///
    /// # Errors
    /// [`StoreFault::Key`]: it is encrypted with a key that was not given. [`StoreFault::InTheClear`]: keys were given, and it
    /// is not encrypted.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Self, StoreFault> {
        let of = |error| StoreFault::of(path, error);
        let io = |error| StoreFault::io(path, error);
        if let Some(what) = guard::keyspaces(path).map_err(io)? {
            return Err(StoreFault::damaged(path, what));
        }
        let journals = Journals::look(path).map_err(io)?;
        let db = Database::builder(path)
            .cache_size(options.cache_bytes)
            // With more, the first hands merges on to the others and spins while they are busy (fjall 3.1: `worker_tick`).
            .worker_threads(1)
            .open()
            .map_err(of)?;
        let mark = Mark::open(path).map_err(io)?;
        let plain = || KeyspaceCreateOptions::default().max_memtable_size(options.table_bytes);
        let large = || {
            let separation = KvSeparationOptions::default().separation_threshold(LARGE_VALUE);
            plain().with_kv_separation(Some(separation))
        };
        let small = |name: &str| db.keyspace(name, plain).map_err(of);
        let store = Self {
            meta: small("meta")?,
            programs: db.keyspace("programs", large).map_err(of)?,
            receipts: small("receipts")?,
            evidence: db.keyspace("evidence", large).map_err(of)?,
            openings: db.keyspace("openings", large).map_err(of)?,
            opening_ages: small("opening-ages")?,
            opening_ends: small("opening-ends")?,
            erased: small("erased")?,
            places: small("places")?,
            leaves: small("leaves")?,
            keys: small("keys")?,
            key_ages: small("key-ages")?,
            jobs: db.keyspace("jobs", large).map_err(of)?,
            queue: small("queue")?,
            starts: small("starts")?,
            pending: small("pending")?,
            notices: small("notices")?,
            job_notices: small("job-notices")?,
            charges: small("charges")?,
            sequence: AtomicU64::new(0),
            mark: Mutex::new(mark),
            path: path.to_path_buf(),
            seal: options.keys.clone(),
            db,
        };
        store.check_keys()?;
        store.migrate()?;
        if let Some(what) = journals.damage().map_err(io)? {
            return Err(store.damaged(what));
        }
        store.check_mark()?;
        let last = [&store.pending, &store.queue]
            .into_iter()
            .filter_map(|keyspace| keyspace.last_key_value())
            .map(|entry| entry.key().map_err(of))
            .collect::<Result<Vec<_>, _>>()?;
        // Jobs of all priorities count, not only those of the last.
        let mut next = last
            .iter()
            .filter_map(|key| be(&key[key.len().saturating_sub(8)..]))
            .fold(0, |next, at| next.max(at + 1));
        for job in store.waiting()? {
            next = next.max(job.1.sequence + 1);
        }
        store.sequence.store(next, Ordering::Relaxed);
        Ok(store)
    }

    /// Brings an older schema up to date, each in a step of its own.
    fn migrate(&self) -> Result<(), StoreFault> {
        match self.get(&self.meta, b"schema")? {
            Some(bytes) => {
                let found = <[u8; 4]>::try_from(&*bytes).map(u32::from_be_bytes);
                match found {
                    Ok(SCHEMA) => Ok(()),
                    Ok(1) => self.migrate_1(),
                    Ok(found) if found > SCHEMA || found == 0 => Err(StoreFault::Schema {
                        path: self.path.clone(),
                        found,
                        known: SCHEMA,
                    }),
                    _ => Err(self.damaged("its schema version cannot be read")),
                }
            }
            None => {
                // Receipts without a schema are not a new store.
                if !self.receipts.is_empty().map_err(self.of())? {
                    return Err(self.damaged("it holds receipts and no schema version"));
                }
                let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
                batch.insert(&self.meta, "schema", SCHEMA.to_be_bytes());
                batch.commit().map_err(self.of())
            }
        }
    }

    /// From 1: when openings were made is noted, and jobs that ended keep no request.
    fn migrate_1(&self) -> Result<(), StoreFault> {
        self.note_ages()?;
        for entry in self.jobs.iter() {
            let (id, bytes) = entry.into_inner().map_err(self.of())?;
            let job = JobRecord::decode(&self.unshut(Kind::Job, &id, bytes)?)
                .map_err(StoreFault::decode(&self.path))?;
            if job.state != JobState::Queued {
                let state = job.state.clone();
                let job = self.shut(Kind::Job, &id, &job.ended(state).encode())?;
                self.jobs.insert(id, job).map_err(self.of())?;
            }
        }
        self.sync()?;
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.meta, "schema", SCHEMA.to_be_bytes());
        batch.commit().map_err(self.of())
    }

    /// Whether every batch that was synced is there.
    fn check_mark(&self) -> Result<(), StoreFault> {
        let bytes = self.get(&self.meta, LAST.as_bytes())?;
        let found = bytes.map_or(Some(0), |bytes| be(&bytes));
        let found = found.ok_or_else(|| self.damaged("the number of its last batch"))?;
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        if found < mark.number() {
            return Err(self.damaged(format!(
                "the last {} of {} batches that were synced are not there",
                mark.number() - found,
                mark.number()
            )));
        }
        mark.set(found);
        Ok(())
    }

    /// Writes a batch with a sync, and notes that it was.
    fn commit(&self, mut batch: OwnedWriteBatch) -> Result<(), StoreFault> {
        // The engine writes one batch at a time as well; so that numbers and batches come in one order.
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        let number = mark.number() + 1;
        batch.insert(&self.meta, LAST, number.to_be_bytes());
        let batch = batch.durability(Some(PersistMode::SyncData));
        batch.commit().map_err(self.of())?;
        mark.set(number);
        Ok(())
    }

    fn of(&self) -> impl Fn(fjall::Error) -> StoreFault + '_ {
        |error| StoreFault::of(&self.path, error)
    }

    fn damaged(&self, what: impl ToString) -> StoreFault {
        StoreFault::damaged(&self.path, what)
    }

    fn get(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<fjall::Slice>, StoreFault> {
        keyspace.get(key).map_err(self.of())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next number of a group or a job; later ones are larger, also after a restart.
    pub fn next(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes receipts with one sync, and notes that their leaves are not in the log yet. Returns the group's number.
    pub fn put_group(&self, entries: &[Entry]) -> Result<u64, StoreFault> {
        let group = self.next();
        let mut ids = Vec::with_capacity(32 * entries.len());
        let mut batch = self.db.batch();
        for entry in entries {
            let id = entry.id.as_bytes().as_slice();
            ids.extend_from_slice(id);
            let record = self.shut(Kind::Receipt, id, &entry.record.encode())?;
            batch.insert(&self.receipts, id, record);
            let opening = self.shut(Kind::Opening, id, &entry.opening)?;
            batch.insert(&self.openings, id, opening);
            batch.insert(
                &self.opening_ages,
                aged(entry.record.created, &entry.id),
                [],
            );
            if let Some(ends) = entry.ends {
                batch.insert(&self.opening_ends, aged(ends, &entry.id), []);
            }
            for (i, evidence) in entry.evidence.iter().enumerate() {
                let key = [id, &(i as u64).to_be_bytes()].concat();
                let evidence = self.shut(Kind::Evidence, &key, &evidence.encode())?;
                batch.insert(&self.evidence, key, evidence);
            }
            if let Some((key, remembered)) = &entry.key {
                self.put_key(&mut batch, key, remembered)?;
            }
            if let Some((id, job)) = &entry.job {
                batch.insert(
                    &self.jobs,
                    id.as_slice(),
                    self.shut(Kind::Job, id, &job.encode())?,
                );
                batch.remove(&self.queue, queued(job));
                batch.remove(&self.starts, id.as_slice());
            }
            if let Some((id, job)) = &entry.promised {
                let record = self.shut(Kind::Job, id, &job.encode())?;
                batch.insert(&self.jobs, id.as_slice(), record);
                batch.insert(&self.queue, queued(job), id.as_slice());
            }
            if let Some(charge) = &entry.charge {
                self.add_charge(&mut batch, charge);
            }
        }
        batch.insert(&self.pending, group.to_be_bytes(), ids);
        self.commit(batch)?;
        Ok(group)
    }

    fn put_key(
        &self,
        batch: &mut fjall::OwnedWriteBatch,
        key: &Digest,
        remembered: &Remembered,
    ) -> Result<(), StoreFault> {
        let name = key.as_bytes().as_slice();
        let value = self.shut(Kind::Idempotency, name, &remembered.encode())?;
        batch.insert(&self.keys, name, value);
        batch.insert(&self.key_ages, aged(remembered.created, key), []);
        Ok(())
    }

    /// Notes where receipts stand in the log, and that their groups are done. Not synced: what is lost is found in the log again.
    pub fn put_places(
        &self,
        places: impl Iterator<Item = (Digest, u64)>,
        groups: &[u64],
    ) -> Result<(), StoreFault> {
        let mut batch = self.db.batch().durability(Some(PersistMode::Buffer));
        for (id, index) in places {
            batch.insert(&self.places, id.as_bytes().as_slice(), index.to_be_bytes());
            batch.insert(&self.leaves, index.to_be_bytes(), id.as_bytes().as_slice());
        }
        for group in groups {
            batch.remove(&self.pending, group.to_be_bytes());
        }
        batch.commit().map_err(self.of())
    }

    /// Groups that may not be in the log, with the receipts of each.
    pub fn pending(&self) -> Result<Vec<(u64, Vec<Digest>)>, StoreFault> {
        let mut found = Vec::new();
        for entry in self.pending.iter() {
            let (key, ids) = entry.into_inner().map_err(self.of())?;
            let group = be(&key).ok_or_else(|| self.damaged("a group's number"))?;
            let (ids, rest) = ids.as_chunks::<32>();
            if !rest.is_empty() {
                return Err(self.damaged("the list of a group is cut off"));
            }
            found.push((
                group,
                ids.iter().map(|id| Digest::from_bytes(*id)).collect(),
            ));
        }
        Ok(found)
    }

    /// The last entry of the log whose receipt is noted.
    pub fn last_place(&self) -> Result<Option<(u64, Digest)>, StoreFault> {
        let Some(entry) = self.leaves.last_key_value() else {
            return Ok(None);
        };
        let (index, id) = entry.into_inner().map_err(self.of())?;
        match (be(&index), <[u8; 32]>::try_from(&*id)) {
            (Some(index), Ok(id)) => Ok(Some((index, Digest::from_bytes(id)))),
            _ => Err(self.damaged("a place in the log cannot be read")),
        }
    }

    /// The receipt of a log entry.
    pub fn receipt_at(&self, index: u64) -> Result<Option<Digest>, StoreFault> {
        let id = self.get(&self.leaves, &index.to_be_bytes())?;
        id.map(|id| {
            <[u8; 32]>::try_from(&*id)
                .map(Digest::from_bytes)
                .map_err(|_| self.damaged("a place in the log cannot be read"))
        })
        .transpose()
    }

    /// A receipt.
    pub fn receipt(&self, id: &Digest) -> Result<Option<ReceiptRecord>, StoreFault> {
        let Some(bytes) = self.read(&self.receipts, Kind::Receipt, id.as_bytes())? else {
            return Ok(None);
        };
        let record = ReceiptRecord::decode(&bytes).map_err(StoreFault::decode(&self.path))?;
        if record.signed.receipt_id() != *id {
            return Err(self.damaged(format!("receipt {id} is stored under another name")));
        }
        Ok(Some(record))
    }

    /// Where a receipt stands in the log.
    pub fn place(&self, id: &Digest) -> Result<Option<u64>, StoreFault> {
        let bytes = self.get(&self.places, id.as_bytes())?;
        bytes
            .map(|bytes| be(&bytes).ok_or_else(|| self.damaged("a place in the log")))
            .transpose()
    }

    /// The evidence of a receipt, in the order in which it came.
    pub fn evidence(&self, id: &Digest) -> Result<Vec<Evidence>, StoreFault> {
        let mut found = Vec::new();
        for entry in self.evidence.prefix(id.as_bytes()) {
            let (key, bytes) = entry.into_inner().map_err(self.of())?;
            let bytes = self.unshut(Kind::Evidence, &key, bytes)?;
            found.push(Evidence::decode(&bytes).map_err(StoreFault::decode(&self.path))?);
        }
        Ok(found)
    }

    /// The file of a receipt, without what the log gives for it.
    pub fn file(&self, record: ReceiptRecord) -> Result<ReceiptFile, StoreFault> {
        let program = record.signed.statement().program;
        let id = record.signed.receipt_id();
        let mut file = ReceiptFile::new(record.signed);
        // A courier ran none.
        if file.signed.statement().optional.courier.is_none() {
            file.program = Some(
                self.program(&program)?
                    .ok_or_else(|| self.damaged(format!("the Program {program} is not there")))?,
            );
        }
        file.log = Some(LogPart {
            blind: record.blind,
            items: Vec::new(),
        });
        for evidence in self.evidence(&id)? {
            file.add_evidence(evidence)
                .map_err(|error| self.damaged(error))?;
        }
        Ok(file)
    }

    /// What opens a receipt; `None` where there is none, or it was erased.
    pub fn opening(&self, id: &Digest) -> Result<Option<Opening>, StoreFault> {
        let bytes = self.read(&self.openings, Kind::Opening, id.as_bytes())?;
        bytes
            .map(|bytes| Opening::decode(&bytes).map_err(StoreFault::decode(&self.path)))
            .transpose()
    }

    /// Keeps a Program once for all its receipts.
    pub fn put_program(&self, digest: &Digest, program: &[u8]) -> Result<(), StoreFault> {
        if self.get(&self.programs, digest.as_bytes())?.is_some() {
            return Ok(());
        }
        let mut batch = self.db.batch();
        batch.insert(&self.programs, digest.as_bytes().as_slice(), program);
        self.commit(batch)
    }

    /// A Program.
    pub fn program(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreFault> {
        Ok(self
            .get(&self.programs, digest.as_bytes())?
            .map(|bytes| bytes.to_vec()))
    }

    /// What an idempotency key, hashed, stands for.
    pub fn remembered(&self, key: &Digest) -> Result<Option<Remembered>, StoreFault> {
        let bytes = self.read(&self.keys, Kind::Idempotency, key.as_bytes())?;
        bytes
            .map(|bytes| Remembered::decode(&bytes).map_err(StoreFault::decode(&self.path)))
            .transpose()
    }

    /// Forgets keys that were used before a time, at most `most` of them; says how many.
    pub fn forget_keys(&self, before: u64, most: usize) -> Result<usize, StoreFault> {
        let mut batch = self.db.batch().durability(Some(PersistMode::Buffer));
        let mut count = 0;
        for entry in self
            .key_ages
            .range(..before.to_be_bytes().to_vec())
            .take(most)
        {
            let aged = entry.key().map_err(self.of())?;
            let (created, key) = aged
                .split_at_checked(8)
                .ok_or_else(|| self.damaged("the age of a key"))?;
            // A key that was used again since then stands for something younger.
            let known = self.read(&self.keys, Kind::Idempotency, key)?;
            let known = known.map(|bytes| Remembered::decode(&bytes)).transpose();
            let known = known.map_err(StoreFault::decode(&self.path))?;
            if known.is_some_and(|known| known.created.to_be_bytes() == created) {
                batch.remove(&self.keys, key);
            }
            batch.remove(&self.key_ages, aged);
            count += 1;
        }
        if count > 0 {
            batch.commit().map_err(self.of())?;
        }
        Ok(count)
    }

    /// Accepts a job: when this returns it is durable.
    pub fn put_job(&self, id: &JobId, job: &JobRecord, with: &With) -> Result<(), StoreFault> {
        let mut batch = self.db.batch();
        let record = self.shut(Kind::Job, id, &job.encode())?;
        batch.insert(&self.jobs, id.as_slice(), record);
        batch.insert(&self.queue, queued(job), id.as_slice());
        if let Some((key, remembered)) = &with.key {
            self.put_key(&mut batch, key, remembered)?;
        }
        if let Some(promise) = &with.promise {
            self.add_notice(&mut batch, promise);
        }
        if let Some(charge) = &with.charge {
            self.add_charge(&mut batch, charge);
        }
        self.commit(batch)
    }

    /// Ends a job without a new receipt: it failed, or evidence was added to receipts that exist.
    pub fn end_job(
        &self,
        id: &JobId,
        job: &JobRecord,
        evidence: Option<&Evidence>,
    ) -> Result<(), StoreFault> {
        let mut batch = self.db.batch();
        if let Some(evidence) = evidence {
            let receipt = evidence.statement;
            let count = self.evidence.prefix(receipt.as_bytes()).count() as u64;
            let key = [receipt.as_bytes().as_slice(), &count.to_be_bytes()].concat();
            let evidence = self.shut(Kind::Evidence, &key, &evidence.encode())?;
            batch.insert(&self.evidence, key, evidence);
        }
        batch.insert(
            &self.jobs,
            id.as_slice(),
            self.shut(Kind::Job, id, &job.encode())?,
        );
        batch.remove(&self.queue, queued(job));
        batch.remove(&self.starts, id.as_slice());
        self.commit(batch)
    }

    /// Counts a start of a job, and says how many there were. Survives the process, which is what ends a job that is started
    /// again and again; not synced, since the power has nothing to do with the job.
    pub fn start_job(&self, id: &JobId) -> Result<u32, StoreFault> {
        let starts = self.starts(id)?.saturating_add(1);
        let mut batch = self.db.batch().durability(Some(PersistMode::Buffer));
        batch.insert(&self.starts, id.as_slice(), starts.to_be_bytes());
        batch.commit().map_err(self.of())?;
        Ok(starts)
    }

    /// How often a job that did not end was started.
    pub fn starts(&self, id: &JobId) -> Result<u32, StoreFault> {
        let bytes = self.get(&self.starts, id)?;
        let starts = bytes.map_or(Some(0), |bytes| {
            bytes[..].try_into().ok().map(u32::from_be_bytes)
        });
        starts.ok_or_else(|| self.damaged("the number of a job's starts"))
    }

    /// A job.
    pub fn job(&self, id: &JobId) -> Result<Option<JobRecord>, StoreFault> {
        let bytes = self.read(&self.jobs, Kind::Job, id)?;
        bytes
            .map(|bytes| JobRecord::decode(&bytes).map_err(StoreFault::decode(&self.path)))
            .transpose()
    }

    /// The jobs that wait, the most urgent first.
    pub fn waiting(&self) -> Result<Vec<(JobId, JobRecord)>, StoreFault> {
        let mut found = Vec::new();
        for entry in self.queue.iter() {
            let id = entry.value().map_err(self.of())?;
            let id = JobId::try_from(&*id).map_err(|_| self.damaged("a place in the queue"))?;
            let job = self
                .job(&id)?
                .ok_or_else(|| self.damaged("the queue names a job that is not there"))?;
            found.push((id, job));
        }
        Ok(found)
    }

    /// About how many receipts there are.
    pub fn receipts(&self) -> u64 {
        self.receipts.approximate_len() as u64
    }

    /// Syncs everything that was written.
    pub fn sync(&self) -> Result<(), StoreFault> {
        self.db.persist(PersistMode::SyncAll).map_err(self.of())
    }
}

#[cfg(test)]
mod sealed_tests;
#[cfg(test)]
pub(crate) mod tests;
