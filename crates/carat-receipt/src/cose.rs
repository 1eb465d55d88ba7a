//! A Statement signed as a tagged `COSE_Sign1` (RFC 9052), and its identity.

use alloc::vec::Vec;

use crate::cbor::{DecodeError, MapWriter, Reader, Writer};
use crate::claims::subject;
use crate::key::{KeyId, Signature, SignatureError, SigningKey};
use crate::statement::{Statement, StatementError};
use crate::{Digest, Label, PublicKey};

/// COSE algorithm number of Ed25519 (RFC 9864).
pub const ALG_ED25519: i64 = -19;
/// Content type of the payload: an unsigned CWT claims set (RFC 9782).
pub const CONTENT_TYPE: &str = "application/eat-ucs+cbor";
/// Largest payload (claims map) in bytes.
pub const MAX_STATEMENT_BYTES: usize = 64 * 1024;
/// Largest protected header in bytes.
pub const MAX_HEADER_BYTES: usize = 1024;
/// Most COSE Receipts (RFC 9942) in the unprotected header.
pub const MAX_TRANSPARENCY_RECEIPTS: usize = 8;
/// Largest COSE Receipt in bytes.
pub const MAX_TRANSPARENCY_RECEIPT_BYTES: usize = 16 * 1024;

pub(crate) const TAG_SIGN1: u64 = 18;
const HEADER_ALG: i64 = 1;
const HEADER_CONTENT_TYPE: i64 = 3;
const HEADER_KID: i64 = 4;
const HEADER_CWT_CLAIMS: i64 = 15;
const HEADER_RECEIPTS: i64 = 394;
const WHAT: &str = "receipt";
const PROTECTED: &str = "protected header";

/// A signed Statement. Decoding checks the form; [`SignedStatement::verify_signature`] checks the signature.
///
/// The key id in the header and the key in the Statement agree, and so do the issuer and the subject in both places:
/// decoding refuses anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedStatement {
    statement: Statement,
    protected: Vec<u8>,
    payload: Vec<u8>,
    signature: Signature,
    receipt_id: Digest,
    /// COSE Receipts of transparency services, opaque and outside the signature.
    transparency: Vec<Vec<u8>>,
}

impl SignedStatement {
    /// Signs a Statement with the key that it names.
    pub fn sign(statement: Statement, key: &SigningKey) -> Result<Self, StatementError> {
        if statement.issuer_key != key.public() {
            return Err(StatementError::WrongKey);
        }
        statement.check()?;
        let payload = statement.to_claims();
        let protected = protected_header(&statement);
        let to_be_signed = sig_structure(&protected, &payload);
        Ok(Self {
            statement,
            protected,
            payload,
            signature: key.sign(&to_be_signed),
            receipt_id: Digest::sha256(&to_be_signed),
            transparency: Vec::new(),
        })
    }

    /// Reads a signed Statement that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let signed = Self::read(&mut reader)?;
        reader.finish(WHAT)?;
        Ok(signed)
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.tag(WHAT, TAG_SIGN1)?;
        r.array(WHAT, 4, 4)?;
        let protected = r.bytes(PROTECTED, 1, MAX_HEADER_BYTES)?;
        let transparency = read_unprotected(r)?;
        let payload = r.bytes("payload", 1, MAX_STATEMENT_BYTES)?;
        let signature = r.array_of::<64>("signature")?;
        let statement = Statement::from_claims(payload)?;
        // The header is a function of the Statement, so comparing bytes checks every field of it at once: algorithm,
        // content type, key id, issuer, subject, and that there is nothing else (no `crit`, no unknown parameter).
        if protected != protected_header(&statement) {
            return Err(explain_header(protected, &statement));
        }
        let receipt_id = Digest::sha256(&sig_structure(protected, payload));
        Ok(Self {
            statement,
            protected: protected.to_vec(),
            payload: payload.to_vec(),
            signature,
            receipt_id,
            transparency,
        })
    }

    /// The bytes of the tagged `COSE_Sign1`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.tag(TAG_SIGN1).array(4).bytes(&self.protected);
        let mut unprotected = MapWriter::new();
        let receipts = Some(&self.transparency).filter(|receipts| !receipts.is_empty());
        unprotected.put_some(HEADER_RECEIPTS, receipts, |w, receipts| {
            w.array(receipts.len());
            for receipt in receipts {
                w.bytes(receipt);
            }
        });
        unprotected.finish(&mut w);
        w.bytes(&self.payload).bytes(&self.signature);
        w.into_bytes()
    }

    /// Verifies the signature under the key that the Statement names. That the key is worth anything is another
    /// question, which only a Trust file answers.
    pub fn verify_signature(&self) -> Result<(), SignatureError> {
        let to_be_signed = sig_structure(&self.protected, &self.payload);
        self.statement
            .issuer_key
            .verify(&to_be_signed, &self.signature)
    }

    /// What was signed.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The receipt's identity: SHA-256 of the `Sig_structure`. It does not change with the signature's bytes, the
    /// unprotected header or the evidence.
    pub fn receipt_id(&self) -> Digest {
        self.receipt_id
    }

    /// The name of the key that signed.
    pub fn key_id(&self) -> KeyId {
        self.statement.issuer_key.id()
    }

    /// The bytes that the signature covers (RFC 9052 section 4.4).
    pub fn sig_structure(&self) -> Vec<u8> {
        sig_structure(&self.protected, &self.payload)
    }

    /// COSE Receipts (RFC 9942) of transparency services. They are outside the signature, and this version does not
    /// appraise them.
    pub fn transparency_receipts(&self) -> &[Vec<u8>] {
        &self.transparency
    }

    /// Adds a COSE Receipt to the unprotected header. False if there is no room or it is too large or empty.
    pub fn add_transparency_receipt(&mut self, receipt: Vec<u8>) -> bool {
        let fits = self.transparency.len() < MAX_TRANSPARENCY_RECEIPTS
            && (1..=MAX_TRANSPARENCY_RECEIPT_BYTES).contains(&receipt.len());
        if fits {
            self.transparency.push(receipt);
        }
        fits
    }
}

fn protected_header(statement: &Statement) -> Vec<u8> {
    header(
        &statement.issuer_key,
        &statement.issuer,
        &subject(&statement.program, statement.optional.courier.is_some()),
    )
}

/// The protected header of what an issuer signs: it follows from the payload.
pub(crate) fn header(key: &PublicKey, issuer: &Label, subject: &str) -> Vec<u8> {
    let mut map = MapWriter::new();
    map.put(HEADER_ALG, |w| {
        w.int(ALG_ED25519);
    });
    map.put(HEADER_CONTENT_TYPE, |w| {
        w.text(CONTENT_TYPE);
    });
    map.put(HEADER_KID, |w| {
        w.bytes(key.id().as_bytes());
    });
    map.put(HEADER_CWT_CLAIMS, |w| {
        let mut claims = MapWriter::new();
        claims.put(crate::claims::ISS, |w| {
            w.text(issuer.as_str());
        });
        claims.put(crate::claims::SUB, |w| {
            w.text(subject);
        });
        claims.finish(w);
    });
    let mut writer = Writer::new();
    map.finish(&mut writer);
    writer.into_bytes()
}

/// RFC 9052 section 4.4, with empty external data.
pub(crate) fn sig_structure(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut w = Writer::new();
    w.array(4)
        .text("Signature1")
        .bytes(protected)
        .bytes(&[])
        .bytes(payload);
    w.into_bytes()
}

fn read_unprotected(r: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, DecodeError> {
    let mut receipts = Vec::new();
    let mut map = r.int_map("unprotected header", 1)?;
    while let Some(key) = map.next_key(r)? {
        if key != HEADER_RECEIPTS {
            return Err(map.unknown(key));
        }
        for _ in 0..r.array("COSE receipts", 1, MAX_TRANSPARENCY_RECEIPTS)? {
            receipts.push(
                r.bytes("COSE receipt", 1, MAX_TRANSPARENCY_RECEIPT_BYTES)?
                    .to_vec(),
            );
        }
    }
    Ok(receipts)
}

/// Finds the first thing in a protected header that is not as it must be.
fn explain_header(protected: &[u8], statement: &Statement) -> DecodeError {
    let value = |reason| DecodeError::Value {
        what: PROTECTED,
        reason,
    };
    let walk = || -> Result<(), DecodeError> {
        let r = &mut Reader::new(protected);
        let mut map = r.int_map(PROTECTED, 8)?;
        while let Some(key) = map.next_key(r)? {
            match key {
                HEADER_ALG if r.int("alg")? != ALG_ED25519 => {
                    return Err(value("the algorithm is not Ed25519 (-19)"));
                }
                HEADER_CONTENT_TYPE if r.text("content type", 0, 256)? != CONTENT_TYPE => {
                    return Err(value("another content type"));
                }
                HEADER_KID if r.bytes("kid", 0, 64)? != statement.issuer_key.id().as_bytes() => {
                    return Err(value("the key id is not that of the key in the Statement"));
                }
                HEADER_ALG | HEADER_CONTENT_TYPE | HEADER_KID => {}
                HEADER_CWT_CLAIMS => {
                    let mut claims = r.int_map(PROTECTED, 2)?;
                    while let Some(key) = claims.next_key(r)? {
                        let same = match key {
                            crate::claims::ISS => {
                                r.text("issuer", 0, 1024)? == statement.issuer.as_str()
                            }
                            crate::claims::SUB => {
                                r.text("subject", 0, 1024)?
                                    == subject(
                                        &statement.program,
                                        statement.optional.courier.is_some(),
                                    )
                            }
                            other => return Err(claims.unknown(other)),
                        };
                        if !same {
                            return Err(value("issuer or subject differ from the Statement's"));
                        }
                    }
                }
                other => return Err(map.unknown(other)),
            }
        }
        Ok(())
    };
    // Every parameter that is there is right, so one is not there.
    walk().err().unwrap_or(value("a parameter is missing"))
}
