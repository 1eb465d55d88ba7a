//! A TPM's quote: `TPMS_ATTEST` (Trusted Computing Group, "TPM 2.0 Library Specification", part 2, section 10.12.12).

use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

/// Number of PCRs in a bank.
pub const PCRS: usize = 24;

const MAGIC: u32 = 0xff54_4347;
const ST_ATTEST_QUOTE: u16 = 0x8018;
const ALG_SHA256: u16 = 0x000b;
const ALG_RSASSA: u16 = 0x0014;

/// A quote, as slices of its bytes. Nothing of it is verified.
#[derive(Debug, Clone)]
pub struct TpmQuote<'a> {
    /// What whoever asked gave: the nonce.
    pub extra_data: &'a [u8],
    /// How often the TPM was reset.
    pub reset_count: u32,
    /// How often it was restarted since.
    pub restart_count: u32,
    /// Bits of the PCRs that the digest is over, three bytes, PCR 0 in the lowest bit of the first.
    pub selection: &'a [u8],
    /// SHA-256 over the values of the selected PCRs.
    pub pcr_digest: &'a [u8],
}

/// Bytes are no quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the TPM's quote: {0}")]
pub struct TpmError(pub &'static str);

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], TpmError> {
        let (start, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(TpmError("it ends too early"))?;
        self.0 = rest;
        Ok(start)
    }

    fn u16(&mut self) -> Result<u16, TpmError> {
        self.take(2)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, TpmError> {
        self.take(4)
            .map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn sized(&mut self) -> Result<&'a [u8], TpmError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    fn finish(&self) -> Result<(), TpmError> {
        match self.0 {
            [] => Ok(()),
            _ => Err(TpmError("bytes follow it")),
        }
    }
}

impl<'a> TpmQuote<'a> {
    /// Reads a quote that fills `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TpmError> {
        let mut cursor = Cursor(bytes);
        if cursor.u32()? != MAGIC {
            return Err(TpmError("it was not made inside a TPM: no TPM_GENERATED"));
        }
        if cursor.u16()? != ST_ATTEST_QUOTE {
            return Err(TpmError("it attests something else than PCRs"));
        }
        cursor.sized()?;
        let extra_data = cursor.sized()?;
        cursor.take(8)?;
        let (reset_count, restart_count) = (cursor.u32()?, cursor.u32()?);
        // TPMI_YES_NO, then the firmware's version.
        cursor.take(1 + 8)?;
        if cursor.u32()? != 1 {
            return Err(TpmError("it does not select PCRs of exactly one bank"));
        }
        if cursor.u16()? != ALG_SHA256 {
            return Err(TpmError("it selects PCRs of another bank than SHA-256"));
        }
        let size = usize::from(cursor.take(1)?[0]);
        if size != PCRS / 8 {
            return Err(TpmError("it does not select among 24 PCRs"));
        }
        let selection = cursor.take(size)?;
        let pcr_digest = cursor.sized()?;
        cursor.finish()?;
        Ok(Self {
            extra_data,
            reset_count,
            restart_count,
            selection,
            pcr_digest,
        })
    }

    /// Whether a PCR is selected.
    pub fn selects(&self, pcr: usize) -> bool {
        self.selection
            .get(pcr / 8)
            .is_some_and(|byte| byte >> (pcr % 8) & 1 == 1)
    }

    /// The numbers of the selected PCRs.
    pub fn selected(&self) -> Vec<usize> {
        (0..PCRS).filter(|pcr| self.selects(*pcr)).collect()
    }

    /// The values of the selected PCRs among those given (all 24, or only the selected ones), if they have the quote's
    /// digest.
    pub fn values<'v>(&self, given: &'v [[u8; 32]]) -> Option<Vec<(usize, &'v [u8; 32])>> {
        let selected = self.selected();
        let values: Vec<_> = if given.len() == selected.len() {
            selected.into_iter().zip(given).collect()
        } else if given.len() == PCRS {
            selected.into_iter().map(|pcr| (pcr, &given[pcr])).collect()
        } else {
            return None;
        };
        let mut hash = Sha256::new();
        for (_, value) in &values {
            hash.update(value);
        }
        (hash.finalize()[..] == *self.pcr_digest).then_some(values)
    }
}

/// The bytes of an RSASSA signature with SHA-256: bare, or as `TPMT_SIGNATURE`.
pub fn rsassa(signature: &[u8]) -> Result<&[u8], TpmError> {
    let mut cursor = Cursor(signature);
    let framed = cursor.u16()? == ALG_RSASSA && cursor.u16()? == ALG_SHA256;
    if !framed || signature.len() == 256 {
        return Ok(signature);
    }
    let bare = cursor.sized()?;
    cursor.finish()?;
    Ok(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quote(selection: [u8; 3], digest: &[u8]) -> Vec<u8> {
        let mut bytes = hex::decode("ff5443478018").unwrap();
        bytes.extend([0, 2, 9, 9, 0, 3, 1, 2, 3]);
        bytes.extend([0; 8]);
        bytes.extend([0, 0, 0, 7, 0, 0, 0, 8, 1]);
        bytes.extend([0; 8]);
        bytes.extend([0, 0, 0, 1, 0, 0x0b, 3]);
        bytes.extend(selection);
        bytes.extend([0, 32]);
        bytes.extend(digest);
        bytes
    }

    #[test]
    fn selected_values_must_have_the_digest() {
        let values: Vec<[u8; 32]> = (0..24).map(|pcr| [pcr; 32]).collect();
        let digest = Sha256::new()
            .chain_update([0; 32])
            .chain_update([9; 32])
            .finalize();
        let bytes = quote([1, 2, 0], &digest);
        let parsed = TpmQuote::parse(&bytes).unwrap();
        assert_eq!(parsed.extra_data, [1, 2, 3]);
        assert_eq!((parsed.reset_count, parsed.restart_count), (7, 8));
        assert_eq!(parsed.selected(), [0, 9]);
        assert_eq!(
            parsed.values(&values).unwrap(),
            [(0, &[0; 32]), (9, &[9; 32])]
        );
        assert!(parsed.values(&[[0; 32], [9; 32]]).is_some());
        assert!(parsed.values(&[[9; 32], [0; 32]]).is_none());
        assert!(parsed.values(&[[0; 32]]).is_none());
        assert!(parsed.values(&[]).is_none());
    }

    #[test]
    fn refuses_other_structures() {
        let good = quote([1, 0, 0], &[0; 32]);
        assert!(TpmQuote::parse(&good).is_ok());
        for len in 0..good.len() {
            assert!(TpmQuote::parse(&good[..len]).is_err(), "{len}");
        }
        let mut long = good.clone();
        long.push(0);
        assert!(TpmQuote::parse(&long).is_err());
        for at in [0, 5] {
            let mut other = good.clone();
            other[at] ^= 1;
            assert!(TpmQuote::parse(&other).is_err(), "{at}");
        }
    }

    #[test]
    fn signatures_bare_or_framed() {
        assert_eq!(rsassa(&[7; 256]).unwrap(), [7; 256]);
        let mut framed = alloc::vec![0, 0x14, 0, 0x0b, 1, 0];
        framed.extend([7; 256]);
        assert_eq!(rsassa(&framed).unwrap(), [7; 256]);
        framed.push(0);
        assert!(rsassa(&framed).is_err());
        assert!(rsassa(&[]).is_err());
    }
}
