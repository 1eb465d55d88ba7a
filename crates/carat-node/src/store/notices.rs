//! Notices about upgrades: what was promised, and what was missed.

use carat_receipt::cbor::{DecodeError, Reader};
use carat_receipt::notice::MAX_NOTICE_FILE_BYTES;
use carat_receipt::{Digest, NoticeFile, Said, Salt, SignedNotice};
use fjall::PersistMode;

use super::records::{JobId, open, start};
use super::{Store, StoreFault};

/// A notice as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeRecord {
    /// The job that it is about.
    pub job: JobId,
    /// Blinds its leaf, where it goes into the log: a promise that was missed does.
    pub blind: Option<Salt>,
    /// The notice.
    pub signed: SignedNotice,
}

impl NoticeRecord {
    fn encode(&self) -> Vec<u8> {
        let file = NoticeFile {
            signed: self.signed.clone(),
            log: None,
        };
        let mut w = start(1, 3);
        w.bytes(&self.job)
            .bytes(self.blind.as_ref().map_or(&[], |blind| blind.as_bytes()))
            .bytes(&file.encode());
        w.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "stored notice";
        let r = &mut Reader::new(bytes);
        open(r, WHAT, 3)?;
        let job = r.array_of(WHAT)?;
        let blind = r.bytes(WHAT, 0, 32)?;
        let blind = match <[u8; 32]>::try_from(blind) {
            Ok(bytes) => Some(Salt::from_bytes(bytes)),
            Err(_) if blind.is_empty() => None,
            Err(_) => {
                return Err(DecodeError::Value {
                    what: WHAT,
                    reason: "a blind of another length",
                });
            }
        };
        let signed = NoticeFile::decode(r.bytes(WHAT, 1, MAX_NOTICE_FILE_BYTES)?)?.signed;
        r.finish(WHAT)?;
        Ok(Self { job, blind, signed })
    }

    /// The leaf of the log that it has or gets.
    pub fn leaf(&self) -> Option<Vec<u8>> {
        Some(self.signed.leaf(self.blind.as_ref()?))
    }

    /// Where it stands beside the job.
    fn place(&self) -> Vec<u8> {
        place(&self.job, self.signed.notice().said.kind())
    }
}

/// `promise` or `miss` of a job: there is one of each.
fn place(job: &JobId, kind: &str) -> Vec<u8> {
    [job.as_slice(), kind.as_bytes()].concat()
}

impl Store {
    /// Adds a notice to what is written together.
    pub(super) fn add_notice(&self, batch: &mut fjall::OwnedWriteBatch, notice: &NoticeRecord) {
        let id = notice.signed.id();
        batch.insert(&self.notices, id.as_bytes().as_slice(), notice.encode());
        batch.insert(&self.job_notices, notice.place(), id.as_bytes().as_slice());
    }

    /// Keeps a promise that was missed, and notes that it is not in the log yet. Returns the number of that note.
    pub fn put_miss(&self, notice: &NoticeRecord) -> Result<u64, StoreFault> {
        let group = self.next();
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        self.add_notice(&mut batch, notice);
        let id = notice.signed.id();
        batch.insert(&self.pending, group.to_be_bytes(), id.as_bytes().as_slice());
        batch.commit().map_err(self.of())?;
        Ok(group)
    }

    /// A notice by its identity.
    pub fn notice(&self, id: &Digest) -> Result<Option<NoticeRecord>, StoreFault> {
        let bytes = self.get(&self.notices, id.as_bytes())?;
        bytes
            .map(|bytes| NoticeRecord::decode(&bytes).map_err(StoreFault::decode(&self.path)))
            .transpose()
    }

    /// The notice of a job: its `promise`, or the `miss` of it.
    pub fn notice_of(&self, job: &JobId, kind: &str) -> Result<Option<NoticeRecord>, StoreFault> {
        let Some(id) = self.get(&self.job_notices, &place(job, kind))? else {
            return Ok(None);
        };
        let id = <[u8; 32]>::try_from(&*id).map_err(|_| self.damaged("the name of a notice"))?;
        self.notice(&Digest::from_bytes(id))?
            .ok_or_else(|| self.damaged("a notice is named and not there"))
            .map(Some)
    }

    /// Promises that were made and that were missed, and how many of the latter are in the log.
    pub(super) fn count_notices(&self) -> Result<(u64, u64, u64), StoreFault> {
        let (mut promised, mut missed, mut logged) = (0, 0, 0);
        for entry in self.notices.iter() {
            let (id, bytes) = entry.into_inner().map_err(self.of())?;
            let record = NoticeRecord::decode(&bytes).map_err(StoreFault::decode(&self.path))?;
            match record.signed.notice().said {
                Said::Miss { .. } => {
                    missed += 1;
                    logged += u64::from(self.get(&self.places, &id)?.is_some());
                }
                Said::Promise { .. } => promised += 1,
                Said::Refusal { .. } => {}
            }
        }
        Ok((promised, missed, logged))
    }
}
