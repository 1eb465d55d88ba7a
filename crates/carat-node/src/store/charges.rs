//! What was spent: one record for each thing that was bought, so that writing it twice is writing it once.

use carat_policy::Price;
use carat_receipt::Currency;
use carat_receipt::cbor::{DecodeError, Reader};
use fjall::PersistMode;

use super::records::{open, start};
use super::{Store, StoreFault};

/// Something that was bought for a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// When, in days since 1970-01-01 (UTC).
    pub day: u32,
    /// What for: a receipt_id, or the id of a job and zeros.
    pub what: [u8; 32],
    /// Whose.
    pub tenant: String,
    /// The policy's currency then.
    pub currency: Currency,
    /// What it costs.
    pub price: Price,
    /// It is an upgrade that was asked for.
    pub upgrade: bool,
}

impl Charge {
    fn key(&self) -> Vec<u8> {
        key(self.day, &self.what)
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = start(1, 4);
        w.text(&self.tenant)
            .text(self.currency.as_str())
            .uint(self.price.0)
            .bool(self.upgrade);
        w.into_bytes()
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "stored charge";
        let wrong = |reason| DecodeError::Value { what: WHAT, reason };
        let (day, what) = key
            .split_first_chunk::<4>()
            .ok_or(wrong("a name that is cut off"))?;
        let r = &mut Reader::new(bytes);
        open(r, WHAT, 4)?;
        let charge = Self {
            day: u32::from_be_bytes(*day),
            what: what
                .try_into()
                .map_err(|_| wrong("a name that is cut off"))?,
            tenant: r.text(WHAT, 1, 1024)?.to_string(),
            currency: Currency::new(r.text(WHAT, 3, 3)?)
                .map_err(|_| wrong("a currency is three capital letters"))?,
            price: Price(r.uint(WHAT)?),
            upgrade: r.bool(WHAT)?,
        };
        r.finish(WHAT)?;
        Ok(charge)
    }
}

fn key(day: u32, what: &[u8; 32]) -> Vec<u8> {
    [day.to_be_bytes().as_slice(), what].concat()
}

impl Store {
    /// Adds a charge to what is written together.
    pub(super) fn add_charge(&self, batch: &mut fjall::OwnedWriteBatch, charge: &Charge) {
        batch.insert(&self.charges, charge.key(), charge.encode());
    }

    /// Keeps a charge by itself.
    pub fn put_charge(&self, charge: &Charge) -> Result<(), StoreFault> {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        self.add_charge(&mut batch, charge);
        batch.commit().map_err(self.of())
    }

    /// The charges from a day on.
    pub fn charges(&self, from: u32, mut each: impl FnMut(Charge)) -> Result<(), StoreFault> {
        for entry in self.charges.range(from.to_be_bytes().to_vec()..) {
            let (key, bytes) = entry.into_inner().map_err(self.of())?;
            each(Charge::decode(&key, &bytes).map_err(StoreFault::decode(&self.path))?);
        }
        Ok(())
    }

    /// Takes a charge back, and gives it: what it was for did not come.
    pub fn take_charge(&self, day: u32, what: &[u8; 32]) -> Result<Option<Charge>, StoreFault> {
        let key = key(day, what);
        let Some(bytes) = self.get(&self.charges, &key)? else {
            return Ok(None);
        };
        let charge = Charge::decode(&key, &bytes).map_err(StoreFault::decode(&self.path))?;
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        batch.remove(&self.charges, key);
        batch.commit().map_err(self.of())?;
        Ok(Some(charge))
    }

    /// Forgets charges of days before one, at most `most` of them.
    pub fn forget_charges(&self, before: u32, most: usize) -> Result<(), StoreFault> {
        let mut batch = self.db.batch().durability(Some(PersistMode::Buffer));
        let mut any = false;
        let old = self.charges.range(..before.to_be_bytes().to_vec());
        for entry in old.take(most) {
            batch.remove(&self.charges, entry.key().map_err(self.of())?);
            any = true;
        }
        if any {
            batch.commit().map_err(self.of())?;
        }
        Ok(())
    }
}
