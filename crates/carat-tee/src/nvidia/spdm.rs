//! The report: an SPDM 1.1 GET_MEASUREMENTS request and the MEASUREMENTS response to it (DMTF DSP0274 sections 10.11.1 and
//! 10.11.2), concatenated, with NVIDIA's opaque data.
//!
//! All lengths are parsed. The signature stands where they end; whoever takes the last 96 bytes verifies something else
//! when bytes follow.

use alloc::vec::Vec;

/// Largest report in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

const REQUEST_BYTES: usize = 37;
const SIGNATURE_BYTES: usize = 96;
const VERSION_1_1: u8 = 0x11;
const GET_MEASUREMENTS: u8 = 0xe0;
const MEASUREMENTS: u8 = 0x60;

/// Types of NVIDIA's opaque data that are read here.
pub mod opaque {
    /// Version of the driver, text.
    pub const DRIVER_VERSION: u16 = 3;
    /// Version of the VBIOS, 8 bytes little-endian, or text.
    pub const VBIOS_VERSION: u16 = 6;
    /// State of NVDEC0: 0x55 off, 0xaa on.
    pub const NVDEC0_STATUS: u16 = 11;
    /// Identity of the board.
    pub const BOARD_ID: u16 = 14;
    /// Chip SKU, text.
    pub const CHIP_SKU: u16 = 15;
    /// Project, text.
    pub const PROJECT: u16 = 17;
    /// Project SKU, text.
    pub const PROJECT_SKU: u16 = 18;
    /// Digest of the firmware, which the signer's certificate names too.
    pub const FWID: u16 = 20;

    /// All of these: none may stand there twice.
    pub(super) const READ: [u16; 8] = [
        DRIVER_VERSION,
        VBIOS_VERSION,
        NVDEC0_STATUS,
        BOARD_ID,
        CHIP_SKU,
        PROJECT,
        PROJECT_SKU,
        FWID,
    ];
}

/// A parsed report; nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report<'a> {
    /// The requester's nonce.
    pub nonce: &'a [u8; 32],
    /// Certificate slot that the requester asked for.
    pub slot: u8,
    /// Measurement blocks, ascending.
    pub blocks: Vec<Block<'a>>,
    /// The device's own nonce.
    pub responder_nonce: &'a [u8],
    /// Opaque data: type and value.
    pub opaque: Vec<(u16, &'a [u8])>,
    /// Everything that is signed.
    pub signed: &'a [u8],
    /// r and s, 48 bytes each.
    pub signature: &'a [u8],
    /// What follows the signature: nobody signed it.
    pub trailing: &'a [u8],
}

/// A measurement block (DSP0274 table 45) in DMTF form (table 46).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// Number, from 1.
    pub index: u8,
    /// What was measured; bit 7 says that the value is no digest.
    pub kind: u8,
    /// The value; 48 bytes where it is a digest.
    pub value: &'a [u8],
}

/// A report cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Too large.
    #[error("the report has {0} bytes; the limit is {MAX_BYTES}")]
    TooLarge(usize),
    /// Ends inside a field.
    #[error("the report ends inside its {0}")]
    Truncated(&'static str),
    /// Another protocol, version or request.
    #[error("the report is not {0}")]
    Unsupported(&'static str),
    /// Contradicts itself.
    #[error("the report's {0}")]
    Content(&'static str),
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], ReportError> {
        let (head, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(ReportError::Truncated(what))?;
        self.0 = rest;
        Ok(head)
    }

    /// A little-endian number of `len` bytes, at most 3.
    fn number(&mut self, len: usize, what: &'static str) -> Result<usize, ReportError> {
        Ok(self
            .take(len, what)?
            .iter()
            .rev()
            .fold(0, |value, &byte| value << 8 | usize::from(byte)))
    }
}

impl<'a> Report<'a> {
    /// Parses a report. Bytes after the signature are kept apart.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ReportError> {
        if bytes.len() > MAX_BYTES {
            return Err(ReportError::TooLarge(bytes.len()));
        }
        let mut cursor = Cursor(bytes);
        let request = cursor.take(REQUEST_BYTES, "request")?;
        // Param1 asks for a signature, Param2 for all measurements.
        if request[..4] != [VERSION_1_1, GET_MEASUREMENTS, 0x01, 0xff] {
            return Err(ReportError::Unsupported(
                "an SPDM 1.1 request for all measurements, signed",
            ));
        }
        let nonce: &[u8; 32] = request[4..36]
            .try_into()
            .map_err(|_| ReportError::Truncated("request"))?;
        let header = cursor.take(5, "response")?;
        if header[..2] != [VERSION_1_1, MEASUREMENTS] {
            return Err(ReportError::Unsupported(
                "an SPDM 1.1 MEASUREMENTS response",
            ));
        }
        let count = usize::from(header[4]);
        let len = cursor.number(3, "measurement record")?;
        let blocks = blocks(cursor.take(len, "measurement record")?, count)?;
        let responder_nonce = cursor.take(32, "responder's nonce")?;
        let len = cursor.number(2, "opaque data")?;
        let opaque = opaque_data(cursor.take(len, "opaque data")?)?;
        let signed = &bytes[..bytes.len() - cursor.0.len()];
        let signature = cursor.take(SIGNATURE_BYTES, "signature")?;
        Ok(Self {
            nonce,
            slot: request[36],
            blocks,
            responder_nonce,
            opaque,
            signed,
            signature,
            trailing: cursor.0,
        })
    }

    /// Opaque data of a type.
    pub fn opaque(&self, kind: u16) -> Option<&'a [u8]> {
        self.opaque
            .iter()
            .find(|(found, _)| *found == kind)
            .map(|(_, value)| *value)
    }

    /// A measurement block by its number.
    pub fn block(&self, index: u8) -> Option<&Block<'a>> {
        self.blocks.iter().find(|block| block.index == index)
    }
}

fn blocks(record: &[u8], count: usize) -> Result<Vec<Block<'_>>, ReportError> {
    const WHAT: &str = "measurement record";
    let mut cursor = Cursor(record);
    let mut found: Vec<Block<'_>> = Vec::new();
    for _ in 0..count {
        let head = cursor.take(2, WHAT)?;
        let (index, specification) = (head[0], head[1]);
        if specification != 1 {
            return Err(ReportError::Content("measurements are not in DMTF form"));
        }
        let size = cursor.number(2, WHAT)?;
        let mut block = Cursor(cursor.take(size, WHAT)?);
        let kind = block.take(1, WHAT)?[0];
        let size = block.number(2, WHAT)?;
        let value = block.take(size, WHAT)?;
        if !block.0.is_empty() {
            return Err(ReportError::Content(
                "measurement blocks have two different lengths",
            ));
        }
        if found.last().is_some_and(|last| last.index >= index) || index == 0 {
            return Err(ReportError::Content(
                "measurement blocks are not numbered in ascending order from 1",
            ));
        }
        found.push(Block { index, kind, value });
    }
    if found.is_empty() {
        return Err(ReportError::Content("measurement record is empty"));
    }
    if cursor.0.is_empty() {
        Ok(found)
    } else {
        Err(ReportError::Content(
            "measurement record is longer than its blocks",
        ))
    }
}

fn opaque_data(bytes: &[u8]) -> Result<Vec<(u16, &[u8])>, ReportError> {
    const WHAT: &str = "opaque data";
    let mut cursor = Cursor(bytes);
    let mut found: Vec<(u16, &[u8])> = Vec::new();
    while !cursor.0.is_empty() {
        let kind = cursor.number(2, WHAT)? as u16;
        let size = cursor.number(2, WHAT)?;
        let value = cursor.take(size, WHAT)?;
        // What is not read here may be repeated: switches list their links so.
        if opaque::READ.contains(&kind) && found.iter().any(|(known, _)| *known == kind) {
            return Err(ReportError::Content("opaque data has a type twice"));
        }
        found.push((kind, value));
    }
    Ok(found)
}
