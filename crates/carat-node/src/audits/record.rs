//! What an auditor writes down: one file for each epoch, signed, in the auditor's own data directory.
//!
//! The draw is on disk before the first replay, with every outcome "unanswered". So nobody can stop half-way and draw
//! again, and an interrupted audit counts against the log until it is finished. An unanswered audit can be answered later;
//! nothing else ever changes.

use std::fs::File;
use std::path::{Path, PathBuf};

use carat_log::{SignedCheckpoint, VerifierKey};
use carat_policy::draw::{Contribution, Epoch, Seed, tau_of_leaf};
use carat_receipt::{Digest, Label, PublicKey, SigningKey};
use serde::{Deserialize, Serialize};

use super::leaves::Entries;
use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::home::Home;

const SCHEMA: &str = "carat-audit-record/v1";
/// Domain of a record's signature: `Digest::of(RECORD, [the record as compact JSON without its signature])`.
const RECORD: &str = "carat/audit-record/v1";
const MAX_RECORD_BYTES: u64 = 256 << 20;

/// What one audit found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The replay gave the committed answer.
    Clean,
    /// The replay gave another answer.
    Wrong,
    /// Nobody opened it, or nobody could run it. Counts as wrong until it is answered.
    Unanswered,
}

/// One entry that was drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audited {
    /// Index in the log.
    pub index: u64,
    /// What was found.
    pub finding: Finding,
    /// Why it is unanswered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The receipt, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt_id: Option<Digest>,
    /// The Replay evidence, as receipts carry it, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<String>,
}

/// Randomness that went into the draw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Randomness {
    /// `chosen` is the only kind of this version; the places of beacons and verifiable random functions are here.
    kind: String,
    hex: String,
}

/// The audit of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    schema: String,
    log_key: String,
    /// The signed checkpoint that the epoch ends at.
    checkpoint: String,
    /// First entry of the epoch.
    pub first: u64,
    randomness: Vec<Randomness>,
    /// Who audited.
    pub auditor: Label,
    auditor_key: PublicKey,
    /// Whether the log's operator is known to be the auditor.
    pub own_log: bool,
    /// Digest of the draw before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Digest>,
    /// Everything that was drawn, in order.
    pub audited: Vec<Audited>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    signature: String,
}

/// Where the records of a log are, and what is in them.
pub struct Records {
    dir: PathBuf,
    /// In order; each begins where the one before ended.
    pub all: Vec<Record>,
}

/// The directory of a data directory where the records of a log are, by the log's key.
pub fn place(home: &Home, key: &VerifierKey) -> PathBuf {
    home.path(&name(key))
}

/// Makes that directory.
pub fn make_place(home: &Home, key: &VerifierKey) -> Result<PathBuf, Failure> {
    home.make_dir(&name(key))
}

fn name(key: &VerifierKey) -> String {
    let vkey = key.to_vkey().unwrap_or_default();
    format!("audits/{}", Digest::sha256(vkey.as_bytes()).short())
}

fn damaged(path: &Path, what: impl std::fmt::Display) -> Failure {
    Failure::new(
        Exit::Store,
        format!("{}: {what}; restore it from a copy", path.display()),
    )
}

impl Record {
    /// Entries under the checkpoint that the epoch ends at.
    pub fn size(&self) -> u64 {
        SignedCheckpoint::parse(self.checkpoint.as_bytes())
            .map_or(0, |signed| signed.unverified().size())
    }

    /// Draws, and writes the draw down. Nothing is replayed yet.
    pub fn draw(
        entries: &Entries,
        log_key: &VerifierKey,
        records: &Records,
        beacon: &[u8],
        auditor: (Label, &SigningKey),
        own_log: bool,
    ) -> Result<Self, Failure> {
        let mut record = Self {
            schema: SCHEMA.to_string(),
            log_key: log_key.to_vkey().unwrap_or_default(),
            checkpoint: entries.checkpoint.to_text(),
            first: records.next(),
            randomness: vec![Randomness {
                kind: Contribution::Chosen(Vec::new()).kind().to_string(),
                hex: hex::encode(beacon),
            }],
            auditor: auditor.0,
            auditor_key: auditor.1.public(),
            own_log,
            previous: records.all.last().map(Self::draw_digest),
            audited: Vec::new(),
            signature: String::new(),
        };
        record.audited = record
            .drawn(entries)
            .map_err(|error| Failure::new(Exit::Usage, error))?
            .into_iter()
            .map(|index| Audited {
                index,
                finding: Finding::Unanswered,
                reason: Some("not replayed yet".to_string()),
                receipt_id: None,
                replay: None,
            })
            .collect();
        Ok(record)
    }

    /// What the thresholds in the log and the randomness select.
    fn drawn(&self, entries: &Entries) -> Result<Vec<u64>, String> {
        let signed = SignedCheckpoint::parse(self.checkpoint.as_bytes())
            .map_err(|error| error.to_string())?;
        let checkpoint = signed.unverified();
        let mut contributions = Vec::new();
        for randomness in &self.randomness {
            let bytes = hex::decode(&randomness.hex).map_err(|error| error.to_string())?;
            contributions.push(match randomness.kind.as_str() {
                "chosen" => Contribution::Chosen(bytes),
                other => return Err(format!("randomness of the unknown kind {other}")),
            });
        }
        if contributions.is_empty() {
            return Err("a draw without randomness".to_string());
        }
        let root = checkpoint.root();
        let epoch = Epoch {
            origin: checkpoint.origin(),
            first: self.first,
            size: checkpoint.size(),
            root: root.as_bytes(),
        };
        let seed = Seed::new(&epoch, &contributions).map_err(|error| error.to_string())?;
        Ok((self.first..checkpoint.size())
            .zip(entries.leaves.iter().skip(self.first as usize))
            .filter(|(index, leaf)| tau_of_leaf(leaf).is_some_and(|tau| seed.selects(*index, tau)))
            .map(|(index, _)| index)
            .collect())
    }

    /// What the next record names: all but the findings, which may still be completed.
    fn draw_digest(&self) -> Digest {
        Self {
            audited: Vec::new(),
            ..self.clone()
        }
        .digest()
    }

    /// What is signed.
    fn digest(&self) -> Digest {
        let unsigned = Self {
            signature: String::new(),
            ..self.clone()
        };
        // A record of numbers and texts always has a JSON form.
        let text = serde_json::to_vec(&unsigned).unwrap_or_default();
        Digest::of(RECORD, &[&text])
    }

    fn check(&self, entries: &Entries, log_key: &VerifierKey) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("its schema is not {SCHEMA}"));
        }
        if Some(&self.log_key) != log_key.to_vkey().as_ref() {
            return Err("it is about another log".to_string());
        }
        let signature = hex::decode(&self.signature).ok();
        let signature = signature.and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
        let signed = signature.is_some_and(|signature| {
            self.auditor_key
                .verify(self.digest().as_bytes(), &signature)
                .is_ok()
        });
        if !signed {
            return Err("its auditor's key did not sign it as it is: it was changed".to_string());
        }
        let checkpoint = SignedCheckpoint::parse(self.checkpoint.as_bytes())
            .map_err(|error| error.to_string())?;
        checkpoint
            .verify(log_key)
            .map_err(|error| error.to_string())?;
        let checkpoint = checkpoint.unverified();
        if entries.root(checkpoint.size()) != Some(checkpoint.root()) {
            return Err("the log no longer begins with what was audited: history was rewritten, or this is an older copy of the log".to_string());
        }
        let drawn = self.drawn(entries)?;
        if !drawn
            .iter()
            .eq(self.audited.iter().map(|audited| &audited.index))
        {
            return Err("it does not list exactly what its draw selects".to_string());
        }
        Ok(())
    }
}

impl Records {
    /// Reads the records of a log. Each must be signed, follow the one before, and hold what its own draw selects.
    pub fn read(dir: &Path, entries: &Entries, log_key: &VerifierKey) -> Result<Self, Failure> {
        let mut records = Self {
            dir: dir.to_path_buf(),
            all: Vec::new(),
        };
        loop {
            let path = records.path(records.next());
            if !path.exists() {
                return records.without_strays();
            }
            let bytes = files::read_capped(&path, "a record of audits", MAX_RECORD_BYTES)?;
            let record: Record =
                serde_json::from_slice(&bytes).map_err(|error| damaged(&path, error))?;
            record
                .check(entries, log_key)
                .map_err(|what| damaged(&path, what))?;
            let follows = record.first == records.next()
                && record.previous == records.all.last().map(Record::draw_digest);
            if !follows {
                return Err(damaged(&path, "it does not follow the record before it"));
            }
            records.all.push(record);
        }
    }

    /// Keeps other audits out until it is dropped.
    pub fn hold(&self) -> Result<File, Failure> {
        let path = self.dir.join("lock");
        let held = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .and_then(|file| file.lock().map(|()| file));
        held.map_err(|error| files::io_failure("locking", &path, &error))
    }

    /// What is there now.
    pub fn read_again(&self, entries: &Entries, log_key: &VerifierKey) -> Result<Self, Failure> {
        Self::read(&self.dir, entries, log_key)
    }

    /// A gap hides audits.
    fn without_strays(self) -> Result<Self, Failure> {
        let Ok(listing) = std::fs::read_dir(&self.dir) else {
            return Ok(self);
        };
        let names = listing.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let records = names.filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        });
        let count = records.count();
        if count == self.all.len() {
            return Ok(self);
        }
        let what = format!(
            "{count} records are there and {} of them follow each other: one is missing",
            self.all.len()
        );
        Err(damaged(&self.dir, what))
    }

    /// The first entry that was not drawn from yet.
    pub fn next(&self) -> u64 {
        self.all.last().map_or(0, Record::size)
    }

    fn path(&self, first: u64) -> PathBuf {
        self.dir.join(format!("{first:012}.json"))
    }

    /// Signs a record and writes it, whole or not at all; durable when this returns.
    pub fn write(&self, record: &mut Record, key: &SigningKey) -> Result<(), Failure> {
        if key.public() != record.auditor_key {
            let message = "these records were made with another key; give the --data-dir of whoever made them, or other --records";
            return Err(Failure::new(Exit::Mismatch, message));
        }
        record.signature = hex::encode(key.sign(record.digest().as_bytes()));
        let text = serde_json::to_vec(record).map_err(Failure::of(Exit::Internal))?;
        files::write_atomic(&self.path(record.first), &text, Mode::Private)
    }
}
