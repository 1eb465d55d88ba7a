//! The catalogue: versions, tags, takedowns. Everything that belongs together goes in with one synced write, after the files
//! are whole and synced under their names; so whatever can be seen is complete, whenever the process ends.

mod changes;
mod reads;
mod records;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use carat_receipt::Digest;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use records::Pending;
pub use records::{Limits, Publisher, Record, TagMove, Tombstone};

use crate::blobs::{Folder, Sealed, Stored, Upload};
use crate::card::Examination;
use crate::manifest::{Manifest, SIGNATURE_FILE};
use crate::name::{RepoId, Tag, Version};
use crate::search::Index;
use crate::signing::{self, Demand, MAX_BUNDLE_BYTES, SignatureReport};
use crate::{CHUNK_BYTES, HubError};

/// The schema that this software writes.
const SCHEMA: u32 = 1;
/// Seconds for which a file that is in no version is kept.
const PENDING_SECONDS: u64 = 86_400;

/// A hub in a folder. All methods take `&self` and may be called from many threads.
pub struct Hub {
    root: PathBuf,
    folder: Folder,
    limits: Limits,
    db: Database,
    meta: Keyspace,
    versions: Keyspace,
    digests: Keyspace,
    tags: Keyspace,
    moves: Keyspace,
    blobs: Keyspace,
    refs: Keyspace,
    pending: Keyspace,
    writer: Mutex<Writer>,
    index: RwLock<Index>,
}

/// What only one may change at a time.
struct Writer {
    sequence: u64,
    /// Bytes of live versions by namespace.
    used: BTreeMap<String, u64>,
    /// Bytes that wait by tenant.
    waiting: BTreeMap<String, u64>,
    collected: u64,
}

/// A whole file, synced, that becomes visible with the version that names it.
#[derive(Debug)]
pub struct Staged(Sealed);

impl Staged {
    /// SHA-256 of its bytes.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.0.stored.size
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hub({})", self.root.display())
    }
}

/// Keys are texts with zero bytes between them; no name holds one.
fn key(parts: &[&str]) -> Vec<u8> {
    parts.join("\0").into_bytes()
}

fn version_key(repo: &RepoId, version: &Version) -> Vec<u8> {
    key(&[&repo.to_string(), version.as_str()])
}

fn reference(blob: &Digest, version: &[u8]) -> Vec<u8> {
    [blob.as_bytes().as_slice(), version].concat()
}

/// The tables.
const SPACES: [&str; 8] = [
    "meta", "versions", "digests", "tags", "moves", "blobs", "refs", "pending",
];

fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(8 << 20)
}

fn database(path: &Path) -> fjall::Result<Database> {
    Database::builder(path).worker_threads(1).open()
}

/// Makes an empty catalogue aside and gives it its name when it is whole: the engine cannot open one whose making was cut off.
fn create(root: &Path, path: &Path) -> Result<(), HubError> {
    let of = HubError::engine(root);
    let aside = crate::blobs::aside(root)?;
    let make = || -> Result<(), HubError> {
        let db = database(&aside).map_err(&of)?;
        for name in SPACES {
            db.keyspace(name, options).map_err(&of)?;
        }
        let meta = db.keyspace("meta", options).map_err(&of)?;
        let mut batch = db.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&meta, "schema", SCHEMA.to_be_bytes());
        batch.commit().map_err(&of)
    };
    let made = make().and_then(|()| {
        std::fs::rename(&aside, path).map_err(HubError::io("making the catalogue", path))?;
        crate::blobs::sync_dir(root)
    });
    match made {
        // Another process was faster: its catalogue is opened instead.
        Err(_) if path.exists() => Ok(()),
        other => other,
    }
}

impl Hub {
    /// Opens the hub in a folder, or makes it there. `now` in Unix seconds.
    pub fn open(root: &Path, limits: Limits, now: u64) -> Result<Self, HubError> {
        std::fs::create_dir_all(root).map_err(HubError::io("making the directory", root))?;
        let path = root.join("catalogue");
        if !path.exists() {
            create(root, &path)?;
        }
        let of = HubError::engine(root);
        // The lock of the database comes first: nothing is cleared away under a hub that runs.
        let db = database(&path).map_err(&of)?;
        let space = |name: &str| db.keyspace(name, options).map_err(&of);
        let hub = Self {
            folder: Folder::open(root)?,
            limits,
            meta: space("meta")?,
            versions: space("versions")?,
            digests: space("digests")?,
            tags: space("tags")?,
            moves: space("moves")?,
            blobs: space("blobs")?,
            refs: space("refs")?,
            pending: space("pending")?,
            writer: Mutex::new(Writer {
                sequence: 0,
                used: BTreeMap::new(),
                waiting: BTreeMap::new(),
                collected: now,
            }),
            index: RwLock::default(),
            root: root.to_path_buf(),
            db,
        };
        hub.migrate()?;
        hub.load()?;
        hub.collect(&mut hub.writer(), now)?;
        Ok(hub)
    }

    fn migrate(&self) -> Result<(), HubError> {
        match self.meta.get("schema").map_err(self.of())? {
            Some(found) if *found == SCHEMA.to_be_bytes() => Ok(()),
            Some(found) => Err(self.damaged(format!(
                "its schema is {}, this software knows {SCHEMA}: use the release that wrote it, or a newer one",
                hex::encode(&found)
            ))),
            None if !self.versions.is_empty().map_err(self.of())? => {
                Err(self.damaged("it holds versions and no schema"))
            }
            None => {
                let mut batch = self.batch();
                batch.insert(&self.meta, "schema", SCHEMA.to_be_bytes());
                batch.commit().map_err(self.of())
            }
        }
    }

    /// Reads what is kept in memory.
    fn load(&self) -> Result<(), HubError> {
        let mut writer = self.writer();
        let mut newest: BTreeMap<RepoId, Record> = BTreeMap::new();
        for record in self.all()? {
            let record = record?;
            writer.sequence = writer.sequence.max(record.sequence + 1);
            if record.tombstone.is_none() {
                let owner = record.manifest.repo.owner().to_string();
                let used = writer.used.entry(owner).or_default();
                *used = used.saturating_add(record.manifest.size());
            }
            let shown = record.tombstone.is_none() && !record.manifest.unlisted;
            let newer = newest
                .get(&record.manifest.repo)
                .is_none_or(|known| known.sequence < record.sequence);
            if shown && newer {
                newest.insert(record.manifest.repo.clone(), record);
            }
        }
        for entry in self.moves.iter() {
            let found: TagMove = self.decode(&entry.value().map_err(self.of())?)?;
            writer.sequence = writer.sequence.max(found.sequence + 1);
        }
        for entry in self.pending.iter() {
            let (name, value) = entry.into_inner().map_err(self.of())?;
            let pending: Pending = self.decode(&value)?;
            let tenant = name.split(|byte| *byte == 0).next().unwrap_or_default();
            let tenant = String::from_utf8_lossy(tenant).into_owned();
            *writer.waiting.entry(tenant).or_default() += pending.size;
        }
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        newest.values().for_each(|record| index.put(record));
        Ok(())
    }

    /// Removes files that no version names: what was left of publications that did not end, and uploads of long ago.
    fn collect(&self, writer: &mut Writer, now: u64) -> Result<(), HubError> {
        writer.collected = now;
        let mut batch = self.batch();
        for entry in self.pending.iter() {
            let (name, value) = entry.into_inner().map_err(self.of())?;
            let pending: Pending = self.decode(&value)?;
            if now.saturating_sub(pending.at) > PENDING_SECONDS {
                batch.remove(&self.pending, name.clone());
                let tenant = name.split(|byte| *byte == 0).next().unwrap_or_default();
                let tenant = String::from_utf8_lossy(tenant).into_owned();
                let waiting = writer.waiting.entry(tenant).or_default();
                *waiting = waiting.saturating_sub(pending.size);
            }
        }
        batch.commit().map_err(self.of())?;
        let mut kept = BTreeSet::new();
        for entry in self.refs.iter() {
            kept.extend(entry.key().map_err(self.of())?.first_chunk::<32>().copied());
        }
        for entry in self.pending.iter() {
            kept.extend(entry.key().map_err(self.of())?.last_chunk::<32>().copied());
        }
        let mut batch = self.batch();
        for digest in self.folder.list()? {
            if !kept.contains(digest.as_bytes()) {
                self.folder.remove(&digest)?;
                batch.remove(&self.blobs, digest.as_bytes().as_slice());
            }
        }
        batch.commit().map_err(self.of())
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn batch(&self) -> OwnedWriteBatch {
        self.db.batch().durability(Some(PersistMode::SyncAll))
    }

    fn of(&self) -> impl Fn(fjall::Error) -> HubError + '_ {
        HubError::engine(&self.root)
    }

    fn damaged(&self, what: impl ToString) -> HubError {
        HubError::Store {
            path: self.root.clone(),
            what: what.to_string(),
        }
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, HubError> {
        serde_json::from_slice(bytes).map_err(|error| self.damaged(error))
    }

    fn encode(&self, value: &impl Serialize) -> Result<Vec<u8>, HubError> {
        serde_json::to_vec(value).map_err(|error| self.damaged(error))
    }

    /// Its limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Begins a file; its bytes go to disk as they arrive.
    pub fn begin_upload(&self, now: u64) -> Result<Upload, HubError> {
        let mut writer = self.writer();
        if now.saturating_sub(writer.collected) > 3600 {
            self.collect(&mut writer, now)?;
        }
        drop(writer);
        self.folder.begin(self.limits.file_bytes)
    }

    /// Ends a file. It waits, for a day at most, for a version of this publisher that names it.
    pub fn finish_upload(
        &self,
        upload: Upload,
        expected: &Digest,
        by: &Publisher,
        now: u64,
    ) -> Result<(), HubError> {
        let sealed = upload.seal()?;
        if sealed.digest != *expected {
            return Err(HubError::Mismatch {
                expected: *expected,
                found: sealed.digest,
            });
        }
        let size = sealed.stored.size;
        let mut writer = self.writer();
        let waiting = writer.waiting.get(by.name()).copied().unwrap_or_default();
        self.quota(&writer, by.name(), waiting.saturating_add(size))?;
        self.folder.place(&sealed)?;
        let name = self.pending_key(by, expected);
        let known = self.pending.contains_key(&name).map_err(self.of())?;
        let mut batch = self.batch();
        batch.insert(
            &self.blobs,
            expected.as_bytes().as_slice(),
            sealed.stored.encode(),
        );
        batch.insert(
            &self.pending,
            name,
            self.encode(&Pending { at: now, size })?,
        );
        batch.commit().map_err(self.of())?;
        if !known {
            *writer.waiting.entry(by.name().into()).or_default() += size;
        }
        Ok(())
    }

    /// Stages a file of this machine for [`Hub::publish`].
    pub fn stage(&self, path: &Path) -> Result<Staged, HubError> {
        let mut file = std::fs::File::open(path).map_err(HubError::io("reading", path))?;
        let mut upload = self.folder.begin(self.limits.file_bytes)?;
        let mut buffer = vec![0; CHUNK_BYTES.min(256 << 10)];
        loop {
            let count = file
                .read(&mut buffer)
                .map_err(HubError::io("reading", path))?;
            if count == 0 {
                return upload.seal().map(Staged);
            }
            upload.write(&buffer[..count])?;
        }
    }

    /// A path for a file or folder that does not outlast this process.
    pub fn scratch(&self) -> Result<PathBuf, HubError> {
        self.folder.scratch()
    }

    fn pending_key(&self, by: &Publisher, digest: &Digest) -> Vec<u8> {
        [by.name().as_bytes(), &[0], digest.as_bytes()].concat()
    }

    fn quota(&self, writer: &Writer, owner: &str, more: u64) -> Result<(), HubError> {
        let used = writer.used.get(owner).copied().unwrap_or_default();
        let bytes = used.saturating_add(more);
        if bytes > self.limits.tenant_bytes {
            return Err(HubError::TooLarge {
                what: format!("the namespace {owner} with this"),
                bytes,
                limit: self.limits.tenant_bytes,
                key: "hub.tenant_bytes",
            });
        }
        Ok(())
    }

    /// Whether a publisher may name a file in a version: it sent the file, or everybody can read it here. That a private file
    /// is here is told to nobody, and naming its digest does not bring it out.
    fn may_name(&self, by: &Publisher, digest: &Digest) -> Result<bool, HubError> {
        if !self
            .blobs
            .contains_key(digest.as_bytes())
            .map_err(self.of())?
        {
            return Ok(false);
        }
        let sent = self.pending.contains_key(self.pending_key(by, digest));
        if *by == Publisher::Operator || sent.map_err(self.of())? {
            return Ok(true);
        }
        for entry in self.refs.prefix(digest.as_bytes()) {
            if *entry.value().map_err(self.of())? == [1] {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Which of these files a publisher has to send.
    pub fn missing(&self, by: &Publisher, digests: &[Digest]) -> Result<Vec<Digest>, HubError> {
        let mut missing = Vec::new();
        for digest in digests {
            if !self.may_name(by, digest)? {
                missing.push(*digest);
            }
        }
        Ok(missing)
    }

    /// Publishes a version and puts tags at it. When this returns it is durable; before, nothing of it can be seen. The same
    /// manifest again changes nothing but tags.
    pub fn publish(
        &self,
        manifest: Manifest,
        staged: Vec<Staged>,
        tags: &[Tag],
        by: &Publisher,
        examination: Option<Examination>,
        now: u64,
    ) -> Result<Record, HubError> {
        manifest.check()?;
        by.owns(&manifest.repo)?;
        let size = manifest.size();
        if size > self.limits.version_bytes {
            return Err(HubError::TooLarge {
                what: manifest.title(),
                bytes: size,
                limit: self.limits.version_bytes,
                key: "hub.version_bytes",
            });
        }
        let digest = manifest.digest();
        let name = version_key(&manifest.repo, &manifest.version);
        let mut writer = self.writer();
        if let Some(known) = self.version(&manifest.repo, &manifest.version)? {
            let title = known.manifest.title();
            if let Some(gone) = known.tombstone {
                return Err(HubError::Gone {
                    name: title,
                    at: gone.at,
                    reason: gone.reason,
                });
            }
            if known.digest != digest {
                return Err(HubError::Exists {
                    name: title,
                    digest: known.digest,
                });
            }
            let mut batch = self.batch();
            for tag in tags {
                self.put_tag(&mut batch, &mut writer, &known, tag, by, now)?;
            }
            batch.commit().map_err(self.of())?;
            return Ok(known);
        }
        let as_tag: Result<Tag, _> = manifest.version.as_str().parse();
        if let Ok(tag) = as_tag
            && self.tag(&manifest.repo, &tag)?.is_some()
        {
            return Err(HubError::Name {
                what: "the version",
                given: tag.to_string(),
                rule: "is a tag of this model already; the two are one namespace",
            });
        }
        self.quota(&writer, manifest.repo.owner(), size)?;
        for file in &manifest.files {
            let here = staged.iter().find(|one| one.digest() == file.sha256);
            let known = match here {
                Some(one) => Some(one.size()),
                None if self.may_name(by, &file.sha256)? => {
                    self.stored(&file.sha256)?.map(|stored| stored.size)
                }
                None => None,
            };
            match known {
                Some(size) if size == file.size => {}
                Some(size) => {
                    return Err(HubError::Manifest(format!(
                        "{} has {size} bytes, not {}",
                        file.path, file.size
                    )));
                }
                None => {
                    return Err(HubError::Missing {
                        path: file.path.to_string(),
                        digest: file.sha256,
                    });
                }
            }
        }
        let mut batch = self.batch();
        for one in &staged {
            self.folder.place(&one.0)?;
            let digest = one.0.digest;
            batch.insert(
                &self.blobs,
                digest.as_bytes().as_slice(),
                one.0.stored.encode(),
            );
        }
        let staged: BTreeMap<Digest, &Stored> = staged
            .iter()
            .map(|one| (one.0.digest, &one.0.stored))
            .collect();
        let signature = self.signature(&manifest, &staged)?;
        let record = Record {
            digest,
            published: now,
            sequence: writer.sequence,
            by: by.name().into(),
            signature,
            tombstone: None,
            examination,
            manifest,
        };
        writer.sequence += 1;
        let public = u8::from(!record.manifest.private);
        let mut freed = 0u64;
        for file in &record.manifest.files {
            batch.insert(&self.refs, reference(&file.sha256, &name), [public]);
            let pending = self.pending_key(by, &file.sha256);
            if let Some(bytes) = self.pending.get(&pending).map_err(self.of())? {
                freed = freed.saturating_add(self.decode::<Pending>(&bytes)?.size);
                batch.remove(&self.pending, pending);
            }
        }
        batch.insert(&self.versions, name.clone(), self.encode(&record)?);
        batch.insert(&self.digests, digest.as_bytes().as_slice(), name);
        for tag in tags {
            self.put_tag(&mut batch, &mut writer, &record, tag, by, now)?;
        }
        batch.commit().map_err(self.of())?;
        let owner = record.manifest.repo.owner().to_string();
        *writer.used.entry(owner).or_default() += size;
        let waiting = writer.waiting.entry(by.name().into()).or_default();
        *waiting = waiting.saturating_sub(freed);
        if !record.manifest.unlisted {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            index.put(&record);
        }
        Ok(record)
    }

    /// What is known of the signature of a version that is being published. One that does not hold refuses it.
    fn signature(
        &self,
        manifest: &Manifest,
        staged: &BTreeMap<Digest, &Stored>,
    ) -> Result<SignatureReport, HubError> {
        let Some(file) = manifest.file(SIGNATURE_FILE) else {
            return Ok(SignatureReport::default());
        };
        if file.size > MAX_BUNDLE_BYTES as u64 {
            return Err(HubError::Signature(format!("it has {} bytes", file.size)));
        }
        let stored = match staged.get(&file.sha256) {
            Some(stored) => Some(Stored::clone(stored)),
            None => self.stored(&file.sha256)?,
        };
        let stored = stored.ok_or_else(|| self.damaged("a file without a record"))?;
        let bytes = self.folder.read(&file.sha256, stored)?.read_all()?;
        let named = manifest.signing_key.as_deref();
        signing::verify(&bytes, &manifest.files, named, &Demand::default())
    }

    /// Checks the signature of a version under what a reader demands.
    pub fn check_signature(
        &self,
        record: &Record,
        demand: &Demand,
    ) -> Result<SignatureReport, HubError> {
        let manifest = &record.manifest;
        if manifest.file(SIGNATURE_FILE).is_none() {
            return Err(HubError::Signature("there is none".into()));
        }
        let bytes = self.open_inside(record, SIGNATURE_FILE)?.read_all()?;
        let named = manifest.signing_key.as_deref();
        signing::verify(&bytes, &manifest.files, named, demand)
    }
}
