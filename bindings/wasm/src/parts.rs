//! How a call's arguments travel: parts, each with its length before it (4 bytes, little-endian). The first is JSON, and
//! names the others by their place, from 0.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::fault::{Fault, Kind};

/// The place of a byte string among the parts after the first.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
pub(crate) struct Part(usize);

/// A call's arguments.
pub(crate) struct Parts<'a> {
    json: &'a [u8],
    others: Vec<&'a [u8]>,
}

impl<'a> Parts<'a> {
    pub(crate) fn split(mut rest: &'a [u8]) -> Result<Self, Fault> {
        let mut all = Vec::new();
        while !rest.is_empty() {
            let cut = || Kind::Internal.because("the arguments of a call are cut short");
            let (length, tail) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
            let length = u32::from_le_bytes(*length) as usize;
            let (part, tail) = tail.split_at_checked(length).ok_or_else(cut)?;
            all.push(part);
            rest = tail;
        }
        let mut parts = all.into_iter();
        Ok(Self {
            json: parts.next().unwrap_or_default(),
            others: parts.collect(),
        })
    }

    /// The first part, as what the call expects. What does not fit is the asker's fault.
    pub(crate) fn asked<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_slice(self.json).map_err(Kind::Usage.of())
    }

    pub(crate) fn bytes(&self, part: Part) -> Result<&'a [u8], Fault> {
        let found = self.others.get(part.0).copied();
        found.ok_or_else(|| Kind::Internal.because("the arguments of a call name a part too many"))
    }

    pub(crate) fn optional(&self, part: Option<Part>) -> Result<Option<&'a [u8]>, Fault> {
        part.map(|part| self.bytes(part)).transpose()
    }
}
