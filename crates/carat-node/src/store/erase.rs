//! Erasing openings: when somebody asks for it, and when their time is over. Receipts stay, and stay valid.

use std::collections::HashSet;

use carat_receipt::Digest;
use fjall::{Keyspace, PersistMode};

use super::{Store, StoreFault, aged, be};

/// Why an opening was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The tenant asked for it.
    Asked,
    /// The time for which openings are kept was over.
    Retention,
}

/// That an opening was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Why.
    pub reason: Reason,
    /// Unix seconds.
    pub at: u64,
}

impl Erased {
    pub(super) fn encode(self) -> [u8; 9] {
        let mut bytes = [0; 9];
        bytes[0] = match self.reason {
            Reason::Asked => 0,
            Reason::Retention => 1,
        };
        bytes[1..].copy_from_slice(&self.at.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (reason, at) = bytes.split_first()?;
        Some(Self {
            reason: match reason {
                0 => Reason::Asked,
                1 => Reason::Retention,
                _ => return None,
            },
            at: be(at)?,
        })
    }
}

impl Store {
    /// Erases what opens a receipt because somebody asked for it. Nobody can replay or prove it from here any more.
    pub fn erase_opening(&self, id: &Digest, at: u64) -> Result<(), StoreFault> {
        if self.get(&self.openings, id.as_bytes())?.is_none() {
            return Ok(());
        }
        let erased = Erased {
            reason: Reason::Asked,
            at,
        };
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        let id = id.as_bytes().as_slice();
        batch.remove(&self.openings, id);
        batch.insert(&self.erased, id, erased.encode());
        batch.commit().map_err(self.of())
    }

    /// When and why an opening was erased; `None` where it was not, or by software that did not note it.
    pub fn erased(&self, id: &Digest) -> Result<Option<Erased>, StoreFault> {
        let bytes = self.get(&self.erased, id.as_bytes())?;
        bytes
            .map(|bytes| Erased::decode(&bytes).ok_or_else(|| self.damaged("a note of an erasure")))
            .transpose()
    }

    /// Whether an opening may be due. `before`: openings of receipts that were made before it are; `now`: so are those whose
    /// callers asked for a time that is over. Both in Unix seconds.
    pub fn is_due(&self, before: Option<u64>, now: u64) -> Result<bool, StoreFault> {
        let first = |keyspace: &Keyspace| {
            let entry = keyspace.first_key_value();
            let key = entry
                .map(|entry| entry.key().map_err(self.of()))
                .transpose()?;
            Ok::<_, StoreFault>(key.and_then(|key| be(key.get(..8)?)))
        };
        let old = first(&self.opening_ages)?;
        let ended = first(&self.opening_ends)?;
        Ok(
            before.is_some_and(|before| old.is_some_and(|at| at < before))
                || ended.is_some_and(|at| at < now),
        )
    }

    /// Erases openings that are due, at most `most` of them, and none of `needed`; says how many.
    pub fn erase_due(
        &self,
        before: Option<u64>,
        now: u64,
        needed: &HashSet<Digest>,
        most: usize,
    ) -> Result<usize, StoreFault> {
        let erased = Erased {
            reason: Reason::Retention,
            at: now,
        };
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        let (mut gone, mut passed) = (HashSet::new(), 0);
        let ends = [
            (&self.opening_ends, Some(now)),
            (&self.opening_ages, before),
        ];
        for (index, until) in ends {
            let Some(until) = until else { continue };
            for entry in index.range(..until.to_be_bytes().to_vec()) {
                if passed >= most {
                    break;
                }
                let key = entry.key().map_err(self.of())?;
                let id = key
                    .get(8..)
                    .and_then(|id| <[u8; 32]>::try_from(id).ok())
                    .ok_or_else(|| self.damaged("the age of an opening"))?;
                if needed.contains(&Digest::from_bytes(id)) {
                    continue;
                }
                batch.remove(index, key);
                passed += 1;
                // One that was erased before leaves its age behind, and keeps its reason.
                if self.get(&self.openings, &id)?.is_some() && gone.insert(id) {
                    batch.remove(&self.openings, id.as_slice());
                    batch.insert(&self.erased, id.as_slice(), erased.encode());
                }
            }
        }
        if passed > 0 {
            batch.commit().map_err(self.of())?;
        }
        Ok(gone.len())
    }

    /// Notes when openings were made that have no note of it: those of schema 1.
    pub(super) fn note_ages(&self) -> Result<(), StoreFault> {
        let mut batch = self.db.batch().durability(Some(PersistMode::Buffer));
        let mut held = 0;
        for entry in self.openings.iter() {
            let key = entry.key().map_err(self.of())?;
            let id = <[u8; 32]>::try_from(&*key).map_err(|_| self.damaged("an opening's name"))?;
            let id = Digest::from_bytes(id);
            let Some(record) = self.receipt(&id)? else {
                continue;
            };
            batch.insert(&self.opening_ages, aged(record.created, &id), []);
            held += 1;
            if held == 1000 {
                batch.commit().map_err(self.of())?;
                (batch, held) = (self.db.batch().durability(Some(PersistMode::Buffer)), 0);
            }
        }
        batch.commit().map_err(self.of())
    }
}
