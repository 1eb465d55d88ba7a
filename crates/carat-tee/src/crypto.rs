//! Signatures of vendors: ECDSA on P-256 and P-384, RSA (PKCS #1 v1.5 and PSS). Verification only, so nothing here is
//! secret and variable time is fine. RSA's public operation is a modular power over `crypto-bigint`; the paddings are
//! RFC 8017 sections 8.1.2 and 8.2.2, checked by comparing whole encoded messages.

use alloc::vec::Vec;

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use sha2::{Digest as _, Sha256, Sha384};

/// A public key in a certificate or token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicKey<'a> {
    /// A point on P-256, SEC 1 encoding.
    P256(&'a [u8]),
    /// A point on P-384, SEC 1 encoding.
    P384(&'a [u8]),
    /// RSA, both numbers big-endian without leading zeros.
    Rsa {
        /// The modulus, 2048 to 4096 bits.
        modulus: &'a [u8],
        /// The public exponent, odd, 3 to 2^32.
        exponent: &'a [u8],
    },
}

/// How a signature was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA with SHA-256, on P-256.
    EcdsaSha256,
    /// ECDSA with SHA-384, on P-384.
    EcdsaSha384,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaPkcs1Sha256,
    /// RSASSA-PSS with SHA-384, MGF1 with SHA-384, salt of 48 bytes.
    RsaPssSha384,
}

/// How an ECDSA signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// DER SEQUENCE of two INTEGERs; certificates. For RSA the bytes themselves.
    Der,
    /// Both numbers big-endian in full length; COSE, SPDM, TPM.
    Raw,
}

/// A signature does not verify, or its key or form is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The key is not of the kind that the algorithm needs.
    #[error("the key is not of the kind that the signature algorithm needs")]
    KeyKind,
    /// The key is no valid key, or weaker than allowed.
    #[error(
        "the key is not a valid point, or an RSA key of 2048 to 4096 bits with a small odd exponent"
    )]
    Key,
    /// The signature is not in its form.
    #[error("the signature is not in the form that its algorithm has")]
    Form,
    /// It does not verify.
    #[error("the signature does not verify")]
    Invalid,
}

/// Verifies a signature over a message.
pub fn verify(
    key: PublicKey<'_>,
    algorithm: Algorithm,
    form: Form,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    match (algorithm, key) {
        (Algorithm::EcdsaSha256, PublicKey::P256(point)) => {
            p256(point, &Sha256::digest(message), form, signature)
        }
        (Algorithm::EcdsaSha384, PublicKey::P384(point)) => {
            p384(point, &Sha384::digest(message), form, signature)
        }
        (Algorithm::RsaPkcs1Sha256, PublicKey::Rsa { modulus, exponent }) => {
            let encoded = rsa_public(modulus, exponent, signature)?;
            pkcs1_sha256(&encoded, &Sha256::digest(message))
        }
        (Algorithm::RsaPssSha384, PublicKey::Rsa { modulus, exponent }) => {
            let encoded = rsa_public(modulus, exponent, signature)?;
            pss_sha384(&encoded, modulus, &Sha384::digest(message))
        }
        _ => Err(SignatureError::KeyKind),
    }
}

/// Verifies an ECDSA signature on P-256 over a digest of 32 bytes.
pub fn p256(
    point: &[u8],
    digest: &[u8],
    form: Form,
    signature: &[u8],
) -> Result<(), SignatureError> {
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(|_| SignatureError::Key)?;
    let signature = match form {
        Form::Der => p256::ecdsa::Signature::from_der(signature),
        Form::Raw => p256::ecdsa::Signature::from_slice(signature),
    };
    let signature = signature.map_err(|_| SignatureError::Form)?;
    key.verify_prehash(digest, &signature)
        .map_err(|_| SignatureError::Invalid)
}

/// Verifies an ECDSA signature on P-384 over a digest of 48 bytes.
pub fn p384(
    point: &[u8],
    digest: &[u8],
    form: Form,
    signature: &[u8],
) -> Result<(), SignatureError> {
    let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(|_| SignatureError::Key)?;
    let signature = match form {
        Form::Der => p384::ecdsa::Signature::from_der(signature),
        Form::Raw => p384::ecdsa::Signature::from_slice(signature),
    };
    let signature = signature.map_err(|_| SignatureError::Form)?;
    key.verify_prehash(digest, &signature)
        .map_err(|_| SignatureError::Invalid)
}

/// RSA's public operation: the encoded message, as long as the modulus.
fn rsa_public(
    modulus: &[u8],
    exponent: &[u8],
    signature: &[u8],
) -> Result<Vec<u8>, SignatureError> {
    let exponent = match exponent {
        [first, ..] if *first != 0 && exponent.len() <= 4 => exponent
            .iter()
            .fold(0u64, |value, &byte| value << 8 | u64::from(byte)),
        _ => return Err(SignatureError::Key),
    };
    let strong = (256..=512).contains(&modulus.len()) && modulus[0] & 0x80 != 0;
    if !strong || exponent < 3 || exponent & 1 == 0 {
        return Err(SignatureError::Key);
    }
    if signature.len() != modulus.len() {
        return Err(SignatureError::Form);
    }
    // Both have the same length, so comparing bytes compares numbers.
    if signature >= modulus {
        return Err(SignatureError::Invalid);
    }
    let n = BoxedUint::from_be_slice_vartime(modulus);
    let n: Odd<BoxedUint> = Option::from(Odd::new(n)).ok_or(SignatureError::Key)?;
    let params = BoxedMontyParams::new_vartime(n);
    let base = BoxedMontyForm::new(BoxedUint::from_be_slice_vartime(signature), &params);
    let mut power = base.clone();
    for bit in (0..63 - exponent.leading_zeros()).rev() {
        power = power.square();
        if exponent >> bit & 1 == 1 {
            power = power.mul(&base);
        }
    }
    let bytes = power.retrieve().to_be_bytes();
    // Limbs are 8 bytes; a modulus whose length is no multiple of that leaves zeros in front.
    let (front, encoded) = bytes.split_at(bytes.len() - modulus.len());
    if front.iter().any(|&byte| byte != 0) {
        return Err(SignatureError::Invalid);
    }
    Ok(encoded.to_vec())
}

/// EMSA-PKCS1-v1_5 with SHA-256: the whole encoded message is built and compared.
fn pkcs1_sha256(encoded: &[u8], digest: &[u8]) -> Result<(), SignatureError> {
    const INFO: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    let mut expected = alloc::vec![0xff; encoded.len()];
    let at = encoded.len() - INFO.len() - digest.len();
    expected[..2].copy_from_slice(&[0, 1]);
    expected[at - 1] = 0;
    expected[at..at + INFO.len()].copy_from_slice(&INFO);
    expected[at + INFO.len()..].copy_from_slice(digest);
    if expected == encoded {
        Ok(())
    } else {
        Err(SignatureError::Invalid)
    }
}

/// EMSA-PSS-VERIFY with SHA-384 and a salt of 48 bytes.
fn pss_sha384(encoded: &[u8], modulus: &[u8], digest: &[u8]) -> Result<(), SignatureError> {
    const HASH: usize = 48;
    const SALT: usize = 48;
    // emBits is one less than the modulus, whose top bit is set: the encoded message has one bit fewer and as many bytes.
    debug_assert_eq!(encoded.len(), modulus.len());
    let (body, trailer) = encoded.split_at(encoded.len() - 1);
    let (masked, hash) = body.split_at(body.len() - HASH);
    if trailer != [0xbc] || masked[0] & 0x80 != 0 {
        return Err(SignatureError::Invalid);
    }
    let mut db = masked.to_vec();
    for (counter, chunk) in (0u32..).zip(db.chunks_mut(HASH)) {
        let mask = Sha384::new()
            .chain_update(hash)
            .chain_update(counter.to_be_bytes())
            .finalize();
        chunk
            .iter_mut()
            .zip(mask)
            .for_each(|(byte, mask)| *byte ^= mask);
    }
    db[0] &= 0x7f;
    let (padding, salt) = db.split_at(db.len() - SALT);
    let (zeros, one) = padding.split_at(padding.len() - 1);
    let expected = Sha384::new()
        .chain_update([0; 8])
        .chain_update(digest)
        .chain_update(salt)
        .finalize();
    if zeros.iter().all(|&byte| byte == 0) && one == [1] && expected[..] == *hash {
        Ok(())
    } else {
        Err(SignatureError::Invalid)
    }
}
