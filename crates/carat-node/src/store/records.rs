//! What is stored, as bytes. Deterministic CBOR arrays that begin with their version.

use carat_receipt::cbor::{DecodeError, Reader, Writer};
use carat_receipt::file::MAX_FILE_BYTES;
use carat_receipt::{Digest, Salt, SignedStatement};

/// Largest request that a job keeps.
const MAX_JOB_BYTES: usize = 257 << 20;
const MAX_TEXT: usize = 64 * 1024;

/// Names a job: 16 random bytes.
pub type JobId = [u8; 16];

/// A receipt without what is stored elsewhere: Program, evidence, opening and place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRecord {
    /// Whose it is.
    pub tenant: String,
    /// Name under which the model was asked for.
    pub model: String,
    /// Unix seconds.
    pub created: u64,
    /// Blinds its leaf.
    pub blind: Salt,
    /// The signed Statement.
    pub signed: SignedStatement,
}

/// What an idempotency key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Digest of the request.
    pub request: Digest,
    /// Unix seconds.
    pub created: u64,
    /// What the request came to.
    pub target: Target,
}

/// What a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A receipt.
    Receipt(Digest),
    /// A job.
    Job(JobId),
}

/// What a job is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// An answer.
    Infer,
    /// A proof for a receipt that exists.
    Upgrade,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Waiting, or being worked on.
    Queued,
    /// Done; the receipt has what was asked for.
    Done(Digest),
    /// It cannot be done. A problem document (RFC 9457) as JSON says why.
    Failed(String),
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// What is asked for.
    pub kind: JobKind,
    /// Whose it is.
    pub tenant: String,
    /// Unix seconds.
    pub created: u64,
    /// Until when it was promised, Unix seconds; 0: nothing was promised.
    pub deadline: u64,
    /// 0 is the most urgent.
    pub priority: u8,
    /// Its place in the queue.
    pub sequence: u64,
    /// The request, as whoever made the job encodes it.
    pub request: Vec<u8>,
    /// Where it stands.
    pub state: JobState,
}

pub(super) fn start(version: u64, len: usize) -> Writer {
    let mut w = Writer::new();
    w.array(len + 1).uint(version);
    w
}

pub(super) fn open(r: &mut Reader<'_>, what: &'static str, len: usize) -> Result<(), DecodeError> {
    r.array(what, len + 1, len + 1)?;
    match r.uint(what)? {
        1 => Ok(()),
        _ => Err(DecodeError::Value {
            what,
            reason: "a version that this software does not know",
        }),
    }
}

impl ReceiptRecord {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = start(1, 5);
        w.text(&self.tenant)
            .text(&self.model)
            .uint(self.created)
            .bytes(self.blind.as_bytes())
            .bytes(&self.signed.to_bytes());
        w.into_bytes()
    }

    /// Strict decoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "stored receipt";
        let r = &mut Reader::new(bytes);
        open(r, WHAT, 5)?;
        let record = Self {
            tenant: r.text(WHAT, 1, MAX_TEXT)?.to_string(),
            model: r.text(WHAT, 1, MAX_TEXT)?.to_string(),
            created: r.uint(WHAT)?,
            blind: Salt::from_bytes(r.array_of(WHAT)?),
            signed: SignedStatement::decode(r.bytes(WHAT, 1, MAX_FILE_BYTES)?)?,
        };
        r.finish(WHAT)?;
        Ok(record)
    }
}

impl Remembered {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = start(1, 4);
        w.bytes(self.request.as_bytes()).uint(self.created);
        match &self.target {
            Target::Receipt(id) => w.uint(0).bytes(id.as_bytes()),
            Target::Job(id) => w.uint(1).bytes(id),
        };
        w.into_bytes()
    }

    /// Strict decoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "idempotency record";
        let r = &mut Reader::new(bytes);
        open(r, WHAT, 4)?;
        let record = Self {
            request: r.digest(WHAT)?,
            created: r.uint(WHAT)?,
            target: match r.uint(WHAT)? {
                0 => Target::Receipt(r.digest(WHAT)?),
                1 => Target::Job(r.array_of(WHAT)?),
                _ => {
                    return Err(DecodeError::Value {
                        what: WHAT,
                        reason: "an unknown target",
                    });
                }
            },
        };
        r.finish(WHAT)?;
        Ok(record)
    }
}

impl JobRecord {
    /// As it stands once it has ended. The request of an answer is not kept any longer: the receipt's opening has the input.
    #[must_use]
    pub fn ended(self, state: JobState) -> Self {
        let request = match self.kind {
            JobKind::Infer => Vec::new(),
            JobKind::Upgrade => self.request,
        };
        Self {
            request,
            state,
            ..self
        }
    }

    /// The receipt that an upgrade is for; `None` for another job.
    pub fn upgraded(&self) -> Option<Digest> {
        let bytes = <[u8; 32]>::try_from(self.request.as_slice()).ok()?;
        (self.kind == JobKind::Upgrade).then(|| Digest::from_bytes(bytes))
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = start(1, 9);
        w.uint(match self.kind {
            JobKind::Infer => 0,
            JobKind::Upgrade => 1,
        })
        .text(&self.tenant)
        .uint(self.created)
        .uint(self.deadline)
        .uint(self.priority.into())
        .uint(self.sequence)
        .bytes(&self.request);
        match &self.state {
            JobState::Queued => w.uint(0).bytes(&[]),
            JobState::Done(id) => w.uint(1).bytes(id.as_bytes()),
            JobState::Failed(why) => w.uint(2).bytes(why.as_bytes()),
        };
        w.into_bytes()
    }

    /// Strict decoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "job";
        let wrong = |reason| DecodeError::Value { what: WHAT, reason };
        let r = &mut Reader::new(bytes);
        open(r, WHAT, 9)?;
        let record = Self {
            kind: match r.uint(WHAT)? {
                0 => JobKind::Infer,
                1 => JobKind::Upgrade,
                _ => return Err(wrong("an unknown kind")),
            },
            tenant: r.text(WHAT, 1, MAX_TEXT)?.to_string(),
            created: r.uint(WHAT)?,
            deadline: r.uint(WHAT)?,
            priority: u8::try_from(r.uint(WHAT)?).map_err(|_| wrong("a priority above 255"))?,
            sequence: r.uint(WHAT)?,
            request: r.bytes(WHAT, 0, MAX_JOB_BYTES)?.to_vec(),
            state: match r.uint(WHAT)? {
                0 => {
                    r.bytes(WHAT, 0, 0)?;
                    JobState::Queued
                }
                1 => JobState::Done(r.digest(WHAT)?),
                2 => {
                    let text = r.bytes(WHAT, 0, MAX_TEXT)?.to_vec();
                    JobState::Failed(
                        String::from_utf8(text).map_err(|_| wrong("a reason that is no text"))?,
                    )
                }
                _ => return Err(wrong("an unknown state")),
            },
        };
        r.finish(WHAT)?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobRecord {
        JobRecord {
            kind: JobKind::Upgrade,
            tenant: "acme".into(),
            created: 7,
            deadline: 9,
            priority: 3,
            sequence: 11,
            request: vec![1, 2, 3],
            state: JobState::Failed("{}".into()),
        }
    }

    #[test]
    fn records_round_trip_and_every_cut_is_refused() {
        let done = JobRecord {
            state: JobState::Done(Digest::sha256(b"x")),
            ..job()
        };
        for job in [job(), done] {
            let bytes = job.encode();
            assert_eq!(JobRecord::decode(&bytes), Ok(job));
            assert!((0..bytes.len()).all(|cut| JobRecord::decode(&bytes[..cut]).is_err()));
        }
        for target in [Target::Receipt(Digest::sha256(b"x")), Target::Job([4; 16])] {
            let record = Remembered {
                request: Digest::sha256(b"y"),
                created: 5,
                target,
            };
            let bytes = record.encode();
            assert!((0..bytes.len()).all(|cut| Remembered::decode(&bytes[..cut]).is_err()));
            assert_eq!(Remembered::decode(&bytes), Ok(record));
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut bytes = job().encode();
        bytes[1] = 2;
        assert!(JobRecord::decode(&bytes).is_err());
    }
}
