//! Writes the DER of certificates.

use alloc::vec::Vec;

use p384::ecdsa::signature::hazmat::PrehashSigner as _;
use p384::ecdsa::{Signature, SigningKey};
use sha2::{Digest as _, Sha256, Sha384};

use crate::der::tag;
use crate::x509::oid;

/// A value with its identifier and length.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = alloc::vec![tag];
    match len {
        0..0x80 => out.push(len as u8),
        0x80..0x100 => out.extend([0x81, len as u8]),
        _ => out.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    tlv(tag::BIT_STRING, &[&[0], bytes])
}

/// A Name of one common name.
pub(super) fn name(text: &str) -> Vec<u8> {
    let attribute = tlv(
        tag::SEQUENCE,
        &[
            &tlv(tag::OID, &[oid::COMMON_NAME]),
            &tlv(tag::UTF8_STRING, &[text.as_bytes()]),
        ],
    );
    tlv(tag::SEQUENCE, &[&tlv(tag::SET, &[&attribute])])
}

/// What a certificate says.
pub(super) struct Spec<'a> {
    /// DER of the subject's Name.
    pub(super) subject: &'a [u8],
    /// The subject's key.
    pub(super) key: &'a SigningKey,
    /// DER of the issuer's Name.
    pub(super) issuer: &'a [u8],
    /// The key that signs.
    pub(super) signer: &'a SigningKey,
    /// May it sign certificates?
    pub(super) ca: bool,
    /// UTCTime texts.
    pub(super) validity: (&'a str, &'a str),
    /// Whether to mark it as simulated; tests leave the mark away.
    pub(super) marked: bool,
}

/// Builds and signs a certificate (P-384, SHA-384).
pub(super) fn certificate(spec: &Spec<'_>) -> Option<Vec<u8>> {
    let oid_tlv = |content: &[u8]| tlv(tag::OID, &[content]);
    let algorithm = tlv(tag::SEQUENCE, &[&oid_tlv(oid::ECDSA_SHA384)]);
    let point = spec.key.verifying_key().to_sec1_point(false);
    let spki = tlv(
        tag::SEQUENCE,
        &[
            &tlv(
                tag::SEQUENCE,
                &[&oid_tlv(oid::EC_PUBLIC_KEY), &oid_tlv(oid::P384)],
            ),
            &bits(point.as_bytes()),
        ],
    );
    let critical = |oid: &[u8], value: &[u8]| {
        tlv(
            tag::SEQUENCE,
            &[
                &oid_tlv(oid),
                &[tag::BOOLEAN, 1, 0xff],
                &tlv(tag::OCTET_STRING, &[value]),
            ],
        )
    };
    let constraints = if spec.ca {
        tlv(tag::SEQUENCE, &[&[tag::BOOLEAN, 1, 0xff]])
    } else {
        tlv(tag::SEQUENCE, &[])
    };
    // keyCertSign, or digitalSignature.
    let usage: &[u8] = if spec.ca {
        &[tag::BIT_STRING, 2, 2, 0x04]
    } else {
        &[tag::BIT_STRING, 2, 7, 0x80]
    };
    let mut extensions = critical(oid::BASIC_CONSTRAINTS, &constraints);
    extensions.extend(critical(oid::KEY_USAGE, usage));
    if spec.marked {
        extensions.extend(critical(oid::SIMULATED, &[tag::NULL, 0]));
    }
    let extensions = tlv(tag::context(3), &[&tlv(tag::SEQUENCE, &[&extensions])]);
    let (from, until) = spec.validity;
    let validity = tlv(
        tag::SEQUENCE,
        &[
            &tlv(tag::GENERALIZED_TIME, &[from.as_bytes()]),
            &tlv(tag::GENERALIZED_TIME, &[until.as_bytes()]),
        ],
    );
    // Positive and of 16 bytes: the first bit is cleared and another set.
    let mut serial = Sha256::digest(&spki)[..16].to_vec();
    serial[0] = serial[0] & 0x7f | 0x40;
    let tbs = tlv(
        tag::SEQUENCE,
        &[
            &tlv(tag::context(0), &[&[tag::INTEGER, 1, 2]]),
            &tlv(tag::INTEGER, &[&serial]),
            &algorithm,
            spec.issuer,
            &validity,
            spec.subject,
            &spki,
            &extensions,
        ],
    );
    let signature: Signature = spec.signer.sign_prehash(&Sha384::digest(&tbs)).ok()?;
    Some(tlv(
        tag::SEQUENCE,
        &[&tbs, &algorithm, &bits(signature.to_der().as_bytes())],
    ))
}

/// A time as GeneralizedTime text. Seconds up to the year 9999.
pub(super) fn time_text(seconds: u64) -> alloc::string::String {
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let rest = seconds % 86_400;
    alloc::format!(
        "{year:04}{month:02}{day:02}{:02}{:02}{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}
