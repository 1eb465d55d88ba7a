//! What an issuer says about an upgrade of its receipt: a promise with a time, a refusal with a reason, a promise that was
//! missed. Signed like a receipt, by the same key, so that whoever was promised or refused something can show it.
//!
//! A notice is not evidence: no receipt is worth more or less for it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::cbor::{DecodeError, MapWriter, Reader, Writer};
use crate::claims::{CLAIMS_VERSION, EAT_NONCE, EAT_PROFILE, IAT, ISS, ISSUER_KEY, SUB, VERSION};
use crate::cose::{MAX_HEADER_BYTES, TAG_SIGN1, header, sig_structure};
use crate::file::{LogPart, MAX_LOG_ITEM_BYTES, MAX_LOG_ITEMS, SECTION_LOG, read_log, write_log};
use crate::key::{Signature, SignatureError, SigningKey};
use crate::statement::MAX_TIME;
use crate::{Digest, Label, Nonce, PublicKey, Salt, domain};

/// The EAT profile that a notice follows.
pub const PROFILE: &str = "https://github.com/carat-labs/carat/notice/v1";
/// What the subject of a notice starts with; the receipt_id follows in hexadecimal.
pub const SUBJECT_PREFIX: &str = "carat:receipt:";
/// Largest payload in bytes.
pub const MAX_NOTICE_BYTES: usize = 4096;
/// Largest notice file in bytes.
pub const MAX_NOTICE_FILE_BYTES: usize = 8192 + MAX_LOG_ITEMS * MAX_LOG_ITEM_BYTES;

/// The receipt that it is about.
pub const RECEIPT: i64 = -70101;
/// What is said: 0 promise, 1 refusal, 2 miss.
pub const KIND: i64 = -70102;
/// The rung that is promised.
pub const RUNG: i64 = -70103;
/// Until when the promised evidence will be, or should have been, there.
pub const BY: i64 = -70104;
/// Why an upgrade is refused: stable, for programs.
pub const REASON: i64 = -70105;
/// The same in words.
pub const DETAIL: i64 = -70106;
/// The notice with the promise that was missed.
pub const PROMISE: i64 = -70107;

const WHAT: &str = "notice";
/// What a leaf of a notice ends with; receipts' leaves have 32 or 40 bytes, so no leaf is both.
const LEAF_MISS: u8 = 2;

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The evidence will be there by then.
    Promise {
        /// The rung that it gives, such as `zk`.
        rung: Label,
        /// Unix seconds.
        by: u64,
    },
    /// There will be none.
    Refusal {
        /// Why: stable, for programs.
        reason: Label,
        /// The same in words.
        detail: Label,
    },
    /// What was promised was not there in time.
    Miss {
        /// Until when it was promised, Unix seconds.
        by: u64,
        /// The notice that promised it; absent where the Plan of the receipt itself did.
        promise: Option<Digest>,
    },
}

impl Said {
    /// Its name.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Promise { .. } => "promise",
            Self::Refusal { .. } => "refusal",
            Self::Miss { .. } => "miss",
        }
    }
}

/// A notice before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What its issuer is called.
    pub issuer: Label,
    /// The key that signs it: that of the receipt.
    pub issuer_key: PublicKey,
    /// When it was said, Unix seconds by the issuer's clock.
    pub said_at: u64,
    /// The receipt that it is about.
    pub receipt: Digest,
    /// The nonce of whoever asked.
    pub nonce: Option<Nonce>,
    /// What is said.
    pub said: Said,
}

/// A notice under its issuer's signature, as a tagged `COSE_Sign1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNotice {
    notice: Notice,
    protected: Vec<u8>,
    payload: Vec<u8>,
    signature: Signature,
    id: Digest,
}

fn subject(receipt: &Digest) -> String {
    format!("{SUBJECT_PREFIX}{receipt}")
}

fn wrong(reason: &'static str) -> DecodeError {
    DecodeError::Value { what: WHAT, reason }
}

impl Notice {
    /// The deterministic CBOR of the claims map.
    pub fn to_claims(&self) -> Vec<u8> {
        let (kind, rung, by, reason, detail, promise) = match &self.said {
            Said::Promise { rung, by } => (0, Some(rung), Some(*by), None, None, None),
            Said::Refusal { reason, detail } => (1, None, None, Some(reason), Some(detail), None),
            Said::Miss { by, promise } => (2, None, Some(*by), None, None, *promise),
        };
        let text = |w: &mut Writer, label: &Label| {
            w.text(label.as_str());
        };
        let mut map = MapWriter::new();
        map.put(ISS, |w| text(w, &self.issuer));
        map.put(SUB, |w| {
            w.text(&subject(&self.receipt));
        });
        map.put(IAT, |w| {
            w.uint(self.said_at);
        });
        map.put_some(EAT_NONCE, self.nonce.as_ref(), |w, nonce| {
            w.bytes(nonce.as_bytes());
        });
        map.put(EAT_PROFILE, |w| {
            w.text(PROFILE);
        });
        map.put(CLAIMS_VERSION, |w| {
            w.uint(VERSION);
        });
        map.put(ISSUER_KEY, |w| {
            w.bytes(self.issuer_key.as_bytes());
        });
        map.put(RECEIPT, |w| {
            w.bytes(self.receipt.as_bytes());
        });
        map.put(KIND, |w| {
            w.uint(kind);
        });
        map.put_some(RUNG, rung, text);
        map.put_some(BY, by, |w, by| {
            w.uint(by);
        });
        map.put_some(REASON, reason, text);
        map.put_some(DETAIL, detail, text);
        map.put_some(PROMISE, promise, |w, promise| {
            w.bytes(promise.as_bytes());
        });
        let mut writer = Writer::new();
        map.finish(&mut writer);
        writer.into_bytes()
    }

    /// Reads a claims map; what is unknown, missing or out of place is refused.
    pub fn from_claims(bytes: &[u8]) -> Result<Self, DecodeError> {
        let r = &mut Reader::new(bytes);
        let mut map = r.int_map(WHAT, 14)?;
        let (mut issuer, mut sub, mut said_at, mut nonce) = (None, None, None, None);
        let (mut profile, mut version, mut key, mut receipt) = (None, None, None, None);
        let (mut kind, mut rung, mut by) = (None, None, None);
        let (mut reason, mut detail, mut promise) = (None, None, None);
        while let Some(claim) = map.next_key(r)? {
            match claim {
                ISS => issuer = Some(Label::read(r, WHAT)?),
                SUB => sub = Some(r.text(WHAT, 1, Label::MAX)?),
                IAT => said_at = Some(time(r)?),
                EAT_NONCE => {
                    let bytes = r.bytes(WHAT, 8, 64)?.to_vec();
                    nonce =
                        Some(Nonce::new(bytes).map_err(|_| wrong("a nonce of another length"))?);
                }
                EAT_PROFILE => profile = Some(r.text(WHAT, 1, Label::MAX)?),
                CLAIMS_VERSION => version = Some(r.uint(WHAT)?),
                ISSUER_KEY => key = Some(PublicKey::from_bytes(r.array_of(WHAT)?)),
                RECEIPT => receipt = Some(r.digest(WHAT)?),
                KIND => kind = Some(r.uint(WHAT)?),
                RUNG => rung = Some(Label::read(r, WHAT)?),
                BY => by = Some(time(r)?),
                REASON => reason = Some(Label::read(r, WHAT)?),
                DETAIL => detail = Some(Label::read(r, WHAT)?),
                PROMISE => promise = Some(r.digest(WHAT)?),
                other => return Err(map.unknown(other)),
            }
        }
        let (profile, version) = (
            map.require(EAT_PROFILE, profile)?,
            map.require(CLAIMS_VERSION, version)?,
        );
        let (sub, receipt) = (map.require(SUB, sub)?, map.require(RECEIPT, receipt)?);
        if profile != PROFILE || version != VERSION {
            return Err(wrong("another profile or version"));
        }
        if sub != subject(&receipt) {
            return Err(wrong("its subject is another receipt"));
        }
        let said = match (map.require(KIND, kind)?, rung, by, reason, detail, promise) {
            (0, Some(rung), Some(by), None, None, None) => Said::Promise { rung, by },
            (1, None, None, Some(reason), Some(detail), None) => Said::Refusal { reason, detail },
            (2, None, Some(by), None, None, promise) => Said::Miss { by, promise },
            _ => return Err(wrong("claims that do not go with its kind")),
        };
        let notice = Self {
            issuer: map.require(ISS, issuer)?,
            issuer_key: map.require(ISSUER_KEY, key)?,
            said_at: map.require(IAT, said_at)?,
            receipt,
            nonce,
            said,
        };
        r.finish(WHAT)?;
        Ok(notice)
    }
}

fn time(r: &mut Reader<'_>) -> Result<u64, DecodeError> {
    match r.uint(WHAT)? {
        time if time <= MAX_TIME => Ok(time),
        _ => Err(wrong("a time after the year 9999")),
    }
}

impl SignedNotice {
    /// Signs a notice with the key that it names. `None`: it names another key, or a time after the year 9999.
    pub fn sign(notice: Notice, key: &SigningKey) -> Option<Self> {
        let by = match &notice.said {
            Said::Promise { by, .. } | Said::Miss { by, .. } => *by,
            Said::Refusal { .. } => 0,
        };
        if notice.issuer_key != key.public() || notice.said_at.max(by) > MAX_TIME {
            return None;
        }
        let payload = notice.to_claims();
        let protected = header(
            &notice.issuer_key,
            &notice.issuer,
            &subject(&notice.receipt),
        );
        let to_be_signed = sig_structure(&protected, &payload);
        Some(Self {
            notice,
            protected,
            payload,
            signature: key.sign(&to_be_signed),
            id: Digest::sha256(&to_be_signed),
        })
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.tag(WHAT, TAG_SIGN1)?;
        r.array(WHAT, 4, 4)?;
        let protected = r.bytes(WHAT, 1, MAX_HEADER_BYTES)?;
        if r.map(WHAT, 0)? != 0 {
            return Err(wrong("something outside the signature"));
        }
        let payload = r.bytes(WHAT, 1, MAX_NOTICE_BYTES)?;
        let signature = r.array_of::<64>(WHAT)?;
        let notice = Notice::from_claims(payload)?;
        let expected = header(
            &notice.issuer_key,
            &notice.issuer,
            &subject(&notice.receipt),
        );
        if protected != expected {
            return Err(wrong(
                "a protected header that does not follow from its claims",
            ));
        }
        Ok(Self {
            id: Digest::sha256(&sig_structure(protected, payload)),
            notice,
            protected: protected.to_vec(),
            payload: payload.to_vec(),
            signature,
        })
    }

    fn write(&self, w: &mut Writer) {
        w.tag(TAG_SIGN1)
            .array(4)
            .bytes(&self.protected)
            .map(0)
            .bytes(&self.payload)
            .bytes(&self.signature);
    }

    /// The payload that was signed: the claims map.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The protected header.
    pub fn protected(&self) -> &[u8] {
        &self.protected
    }

    /// What was signed.
    pub fn notice(&self) -> &Notice {
        &self.notice
    }

    /// Its identity: SHA-256 of the `Sig_structure`.
    pub fn id(&self) -> Digest {
        self.id
    }

    /// Verifies the signature under the key that the notice names. Whether that is the receipt's key is another question.
    pub fn verify_signature(&self) -> Result<(), SignatureError> {
        let to_be_signed = sig_structure(&self.protected, &self.payload);
        self.notice
            .issuer_key
            .verify(&to_be_signed, &self.signature)
    }

    /// The leaf of a log that says that the promise was missed: 33 bytes, which no leaf of a receipt has.
    pub fn leaf(&self, blind: &Salt) -> Vec<u8> {
        leaf_of(blind, &self.id)
    }
}

/// The leaf of a missed promise: `Digest::of(LOG_NOTICE, [blind, notice id])`, and the byte 2.
pub fn leaf_of(blind: &Salt, id: &Digest) -> Vec<u8> {
    let blinded = Digest::of(domain::LOG_NOTICE, &[blind.as_bytes(), id.as_bytes()]);
    let mut leaf = blinded.as_bytes().to_vec();
    leaf.push(LEAF_MISS);
    leaf
}

/// Whether a leaf of a log is that of a promise that was missed.
pub fn is_miss(leaf: &[u8]) -> bool {
    leaf.len() == 33 && leaf.last() == Some(&LEAF_MISS)
}

/// A notice as it is kept and passed on (`*.carat-notice`): one CBOR sequence, with what ties it to a log where it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeFile {
    /// The notice.
    pub signed: SignedNotice,
    /// What the log gave, for a promise that was missed.
    pub log: Option<LogPart>,
}

impl NoticeFile {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.signed.write(&mut w);
        if let Some(log) = &self.log {
            w.array(2).uint(SECTION_LOG);
            write_log(&mut w, log);
        }
        w.into_bytes()
    }

    /// Strict decoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_NOTICE_FILE_BYTES {
            return Err(DecodeError::Length {
                what: WHAT,
                len: bytes.len() as u64,
                min: 1,
                max: MAX_NOTICE_FILE_BYTES as u64,
            });
        }
        let r = &mut Reader::new(bytes);
        let signed = SignedNotice::read(r)?;
        let mut log = None;
        if !r.is_empty() {
            r.array(WHAT, 2, 2)?;
            if r.uint(WHAT)? != SECTION_LOG {
                return Err(wrong("a section that this version does not know"));
            }
            log = Some(read_log(r)?);
        }
        r.finish(WHAT)?;
        Ok(Self { signed, log })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::file::{LOG_PROOF, LogItem};

    fn label(text: &str) -> Label {
        Label::new(text).expect("a name")
    }

    fn notices() -> Vec<SignedNotice> {
        let key = SigningKey::from_secret(&[3; 32]);
        let (rung, reason, detail) = (label("zk"), label("erased"), label("it was erased"));
        [
            Said::Promise { rung, by: 70 },
            Said::Refusal { reason, detail },
            Said::Miss {
                by: 70,
                promise: Some(Digest::sha256(b"promise")),
            },
            Said::Miss {
                by: 70,
                promise: None,
            },
        ]
        .map(|said| {
            let notice = Notice {
                issuer: label("issuer"),
                issuer_key: key.public(),
                said_at: 60,
                receipt: Digest::sha256(b"receipt"),
                nonce: Some(Nonce::new(vec![9; 8]).expect("a nonce")),
                said,
            };
            SignedNotice::sign(notice, &key).expect("signs")
        })
        .into()
    }

    #[test]
    fn they_read_back_and_no_changed_byte_passes() {
        for signed in notices() {
            let log = LogPart {
                blind: Salt::from_bytes([4; 32]),
                items: vec![LogItem {
                    media_type: label(LOG_PROOF),
                    bytes: vec![1],
                }],
            };
            for log in [None, Some(log)] {
                let whole = log.is_none();
                let file = NoticeFile {
                    signed: signed.clone(),
                    log,
                };
                let bytes = file.encode();
                assert_eq!(NoticeFile::decode(&bytes).as_ref(), Ok(&file));
                file.signed.verify_signature().expect("verifies");
                let end = file.signed.clone();
                let end = NoticeFile {
                    signed: end,
                    log: None,
                }
                .encode()
                .len();
                for at in 0..end {
                    let mut changed = bytes.clone();
                    changed[at] ^= 1;
                    let passes = NoticeFile::decode(&changed)
                        .is_ok_and(|file| file.signed.verify_signature().is_ok());
                    assert!(!passes, "byte {at}");
                }
                for cut in 0..bytes.len() {
                    let same = !whole && cut == end;
                    assert_eq!(NoticeFile::decode(&bytes[..cut]).is_ok(), same, "{cut}");
                }
            }
        }
    }

    #[test]
    fn a_notice_is_no_receipt_and_a_key_signs_its_own_only() {
        let signed = notices().remove(0);
        let bytes = NoticeFile {
            signed: signed.clone(),
            log: None,
        }
        .encode();
        assert!(crate::SignedStatement::decode(&bytes).is_err());
        let other = SigningKey::from_secret(&[4; 32]);
        assert!(SignedNotice::sign(signed.notice().clone(), &other).is_none());
    }

    #[test]
    fn its_leaf_is_of_its_own_kind() {
        let signed = notices().remove(2);
        let leaf = signed.leaf(&Salt::from_bytes([4; 32]));
        assert!(is_miss(&leaf) && !is_miss(&leaf[..32]));
        assert_ne!(leaf, signed.leaf(&Salt::from_bytes([5; 32])));
    }
}
