//! The receipt file (`*.carat`): one CBOR sequence (RFC 8742), safe to share.

use alloc::vec::Vec;

use crate::cbor::{DecodeError, Reader, Writer};
use crate::evidence::Evidence;
use crate::{Digest, Label, Salt, SignedStatement};

/// Largest receipt file in bytes.
pub const MAX_FILE_BYTES: usize = 128 * 1024 * 1024;
/// Most items of Evidence.
pub const MAX_EVIDENCE: usize = 64;
/// Largest weightless Program in bytes.
pub const MAX_PROGRAM_BYTES: usize = 16 * 1024 * 1024;
/// Most log items (promises, inclusion proofs, checkpoints).
pub const MAX_LOG_ITEMS: usize = 16;
/// Largest log item in bytes.
pub const MAX_LOG_ITEM_BYTES: usize = 64 * 1024;

/// Media type of a log's inclusion promise, as `carat-log` writes it.
pub const LOG_PROMISE: &str = "text/vnd.carat.log-promise";
/// Media type of an inclusion proof with its checkpoint (C2SP tlog-proof).
pub const LOG_PROOF: &str = "text/vnd.c2sp.tlog-proof";

const WHAT: &str = "receipt file";
const SECTION_EVIDENCE: u64 = 1;
const SECTION_PROGRAM: u64 = 2;
pub(crate) const SECTION_LOG: u64 = 3;

/// A receipt with all that travels with it. Adding to the file never changes the Statement or its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptFile {
    /// The signed Statement.
    pub signed: SignedStatement,
    /// Evidence, in the order in which it was added.
    evidence: Vec<Evidence>,
    /// The weightless Program, as `carat-program` encodes it. Outside the signature: its digest must be the
    /// Statement's.
    pub program: Option<Vec<u8>>,
    /// What the log gave.
    pub log: Option<LogPart>,
}

/// What ties a receipt to a log: the blind of its leaf, and what the log promised or proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPart {
    /// Blinds the leaf; see [`crate::leaf`].
    pub blind: Salt,
    /// Promises, inclusion proofs, checkpoints.
    pub items: Vec<LogItem>,
}

/// Typed bytes from a log, as `carat-log` encodes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogItem {
    /// What the bytes are: [`LOG_PROMISE`] or [`LOG_PROOF`].
    pub media_type: Label,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Evidence cannot be added to a receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// It speaks about another receipt.
    #[error(
        "the evidence is about receipt {found}, this is receipt {receipt}; attach it to the receipt it is about"
    )]
    OtherStatement {
        /// The receipt at hand.
        receipt: Digest,
        /// The one that the evidence names.
        found: Digest,
    },
    /// The same item is there already.
    #[error("the receipt holds this item of evidence already")]
    Duplicate,
    /// No room.
    #[error("a receipt holds at most {MAX_EVIDENCE} items of evidence")]
    Full,
}

impl ReceiptFile {
    /// A file with a signed Statement and nothing else.
    pub fn new(signed: SignedStatement) -> Self {
        Self {
            signed,
            evidence: Vec::new(),
            program: None,
            log: None,
        }
    }

    /// The receipt's identity, D.
    pub fn receipt_id(&self) -> Digest {
        self.signed.receipt_id()
    }

    /// The Evidence, in the order in which it was added.
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// Adds Evidence about this receipt. Whether it verifies is for the appraisal to say.
    pub fn add_evidence(&mut self, evidence: Evidence) -> Result<(), AddError> {
        let receipt = self.receipt_id();
        if evidence.statement != receipt {
            return Err(AddError::OtherStatement {
                receipt,
                found: evidence.statement,
            });
        }
        if self.evidence.contains(&evidence) {
            return Err(AddError::Duplicate);
        }
        if self.evidence.len() >= MAX_EVIDENCE {
            return Err(AddError::Full);
        }
        self.evidence.push(evidence);
        Ok(())
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.raw(&self.signed.to_bytes());
        for evidence in &self.evidence {
            w.array(2).uint(SECTION_EVIDENCE);
            evidence.write(&mut w);
        }
        if let Some(program) = &self.program {
            w.array(2).uint(SECTION_PROGRAM).bytes(program);
        }
        if let Some(log) = &self.log {
            w.array(2).uint(SECTION_LOG);
            write_log(&mut w, log);
        }
        w.into_bytes()
    }

    /// Strict decoding. Sections come in ascending order; Evidence may repeat as a section, the others not. Evidence
    /// about another receipt is refused here already.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_FILE_BYTES {
            let (len, max) = (bytes.len() as u64, MAX_FILE_BYTES as u64);
            return Err(DecodeError::Length {
                what: WHAT,
                len,
                min: 1,
                max,
            });
        }
        let r = &mut Reader::new(bytes);
        let mut file = Self::new(SignedStatement::read(r)?);
        let mut last = 0;
        while !r.is_empty() {
            let at = r.position();
            r.array(WHAT, 2, 2)?;
            let section = r.uint(WHAT)?;
            if section < last || (section == last && section != SECTION_EVIDENCE) {
                let rule = "sections are repeated or out of order";
                return Err(DecodeError::NotDeterministic {
                    what: WHAT,
                    rule,
                    at,
                });
            }
            last = section;
            match section {
                SECTION_EVIDENCE => {
                    let evidence = Evidence::read(r)?;
                    file.add_evidence(evidence)
                        .map_err(|error| DecodeError::Value {
                            what: "evidence",
                            reason: match error {
                                AddError::OtherStatement { .. } => "it is about another receipt",
                                AddError::Duplicate => "an item is there twice",
                                AddError::Full => "there are too many items",
                            },
                        })?;
                }
                SECTION_PROGRAM => {
                    file.program = Some(r.bytes("program", 1, MAX_PROGRAM_BYTES)?.to_vec())
                }
                SECTION_LOG => file.log = Some(read_log(r)?),
                _ => {
                    return Err(DecodeError::Value {
                        what: WHAT,
                        reason: "a section that this version does not know",
                    });
                }
            }
        }
        Ok(file)
    }
}

pub(crate) fn write_log(w: &mut Writer, log: &LogPart) {
    w.array(2)
        .bytes(log.blind.as_bytes())
        .array(log.items.len());
    for item in &log.items {
        w.array(2).text(item.media_type.as_str()).bytes(&item.bytes);
    }
}

pub(crate) fn read_log(r: &mut Reader<'_>) -> Result<LogPart, DecodeError> {
    const WHAT: &str = "log part";
    r.array(WHAT, 2, 2)?;
    let blind = Salt::from_bytes(r.array_of(WHAT)?);
    let mut items = Vec::new();
    for _ in 0..r.array(WHAT, 0, MAX_LOG_ITEMS)? {
        r.array(WHAT, 2, 2)?;
        let media_type = Label::read(r, WHAT)?;
        if ![LOG_PROMISE, LOG_PROOF].contains(&media_type.as_str()) {
            return Err(DecodeError::Value {
                what: WHAT,
                reason: "an item of a type that this version does not know",
            });
        }
        items.push(LogItem {
            media_type,
            bytes: r.bytes(WHAT, 1, MAX_LOG_ITEM_BYTES)?.to_vec(),
        });
    }
    Ok(LogPart { blind, items })
}
