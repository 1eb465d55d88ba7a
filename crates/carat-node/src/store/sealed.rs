//! What the store seals, and with which keys.

use std::ops::Deref;

use fjall::{Keyspace, PersistMode};
use zeroize::Zeroizing;

use super::seal::{KeyId, Kind};
use super::{Store, StoreFault};

/// Before the ids of the keys that sealed something in it.
const KEY_PREFIX: &[u8] = b"key/";
/// What is sealed to recognise a key by.
const CHECK: &[u8] = b"carat";

/// A stored value in the clear.
pub(super) enum Plain {
    Stored(fjall::Slice),
    Opened(Zeroizing<Vec<u8>>),
}

impl Deref for Plain {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Stored(bytes) => bytes,
            Self::Opened(bytes) => bytes,
        }
    }
}

impl Store {
    /// The tables whose values are sealed where there is a key, and as what.
    pub(super) fn sealed(&self) -> [(&Keyspace, Kind); 5] {
        [
            (&self.receipts, Kind::Receipt),
            (&self.evidence, Kind::Evidence),
            (&self.openings, Kind::Opening),
            (&self.jobs, Kind::Job),
            (&self.keys, Kind::Idempotency),
        ]
    }

    /// The other tables, but for `meta`, which is a store's own: programs, signed
    /// notices, what was spent, and names and numbers.
    pub(super) fn unsealed(&self) -> [&Keyspace; 13] {
        [
            &self.programs,
            &self.places,
            &self.leaves,
            &self.key_ages,
            &self.queue,
            &self.pending,
            &self.opening_ages,
            &self.opening_ends,
            &self.erased,
            &self.notices,
            &self.job_notices,
            &self.charges,
            &self.starts,
        ]
    }

    /// Refuses keys that are not the store's, before anything is read with them. A new key is noted.
    pub(super) fn check_keys(&self) -> Result<(), StoreFault> {
        let mut found = Vec::new();
        for entry in self.meta.prefix(KEY_PREFIX) {
            let (name, check) = entry.into_inner().map_err(self.of())?;
            let id = KeyId::try_from(&name[KEY_PREFIX.len()..])
                .map_err(|_| self.damaged("the name of a key"))?;
            let given = match &self.seal {
                Some(keys) if keys.has(&id) => {
                    let text = keys.open(Kind::Check, &id, &check);
                    if text.as_ref().map(|text| text.as_slice()) != Ok(CHECK) {
                        return Err(self.damaged("the note of a key does not open with it"));
                    }
                    found.push(id);
                    continue;
                }
                Some(keys) => format!("{keys:?} was given"),
                None => "no key was given".to_string(),
            };
            return Err(StoreFault::Key {
                path: self.path.clone(),
                wanted: hex::encode(id),
                given,
            });
        }
        let Some(keys) = &self.seal else {
            return Ok(());
        };
        if found.is_empty() {
            for (keyspace, _) in self.sealed() {
                if !keyspace.is_empty().map_err(self.of())? {
                    return Err(StoreFault::InTheClear {
                        path: self.path.clone(),
                    });
                }
            }
        }
        let current = keys.current();
        if found.contains(&current) {
            return Ok(());
        }
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        let check = self.shut(Kind::Check, &current, CHECK)?;
        batch.insert(&self.meta, [KEY_PREFIX, current.as_slice()].concat(), check);
        batch.commit().map_err(self.of())
    }

    /// A value as it is stored.
    pub(super) fn shut(&self, kind: Kind, id: &[u8], plain: &[u8]) -> Result<Vec<u8>, StoreFault> {
        match &self.seal {
            None => Ok(plain.to_vec()),
            Some(keys) => keys
                .seal(kind, id, plain)
                .map_err(|fault| StoreFault::io(&self.path, std::io::Error::other(fault))),
        }
    }

    /// A stored value in the clear.
    pub(super) fn unshut(
        &self,
        kind: Kind,
        id: &[u8],
        stored: fjall::Slice,
    ) -> Result<Plain, StoreFault> {
        match &self.seal {
            None => Ok(Plain::Stored(stored)),
            Some(keys) => keys
                .open(kind, id, &stored)
                .map(Plain::Opened)
                .map_err(|fault| self.damaged(fault)),
        }
    }

    /// A value of a table that is sealed, in the clear.
    pub(super) fn read(
        &self,
        keyspace: &Keyspace,
        kind: Kind,
        key: &[u8],
    ) -> Result<Option<Plain>, StoreFault> {
        self.get(keyspace, key)?
            .map(|bytes| self.unshut(kind, key, bytes))
            .transpose()
    }
}
