//! The arithmetic in Rust. RSA's public operation is a modular power over `crypto-bigint`; the paddings are RFC 8017
//! sections 8.1.2 and 8.2.2, checked by comparing whole encoded messages.

use alloc::vec::Vec;

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use sha2::{Digest as _, Sha256, Sha384};

use super::{Algorithm, RsaKey};

pub(super) fn p256(
    key: &p256::ecdsa::VerifyingKey,
    message: &[u8],
    signature: &p256::ecdsa::Signature,
) -> bool {
    key.verify_prehash(&Sha256::digest(message), signature)
        .is_ok()
}

pub(super) fn p384(
    key: &p384::ecdsa::VerifyingKey,
    message: &[u8],
    signature: &p384::ecdsa::Signature,
) -> bool {
    key.verify_prehash(&Sha384::digest(message), signature)
        .is_ok()
}

/// Verifies a signature that is as long as the modulus.
pub(super) fn rsa(
    key: &RsaKey<'_>,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Some(encoded) = public_operation(key, signature) else {
        return false;
    };
    match algorithm {
        Algorithm::RsaPkcs1Sha256 => pkcs1_sha256(&encoded, &Sha256::digest(message)),
        Algorithm::RsaPssSha384 => pss_sha384(&encoded, &Sha384::digest(message)),
        Algorithm::EcdsaSha256 | Algorithm::EcdsaSha384 => false,
    }
}

/// RSA's public operation: the encoded message, as long as the modulus.
fn public_operation(key: &RsaKey<'_>, signature: &[u8]) -> Option<Vec<u8>> {
    let RsaKey { modulus, exponent } = *key;
    // Both have the same length, so comparing bytes compares numbers.
    if signature >= modulus {
        return None;
    }
    let exponent = exponent
        .iter()
        .fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    let n = BoxedUint::from_be_slice_vartime(modulus);
    let n: Odd<BoxedUint> = Option::from(Odd::new(n))?;
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
    front
        .iter()
        .all(|&byte| byte == 0)
        .then(|| encoded.to_vec())
}

/// EMSA-PKCS1-v1_5 with SHA-256: the whole encoded message is built and compared.
fn pkcs1_sha256(encoded: &[u8], digest: &[u8]) -> bool {
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
    expected == encoded
}

/// EMSA-PSS-VERIFY with SHA-384 and a salt of 48 bytes.
fn pss_sha384(encoded: &[u8], digest: &[u8]) -> bool {
    const HASH: usize = 48;
    const SALT: usize = 48;
    // emBits is one less than the modulus, whose top bit is set: the encoded message has one bit fewer and as many bytes.
    let (body, trailer) = encoded.split_at(encoded.len() - 1);
    let (masked, hash) = body.split_at(body.len() - HASH);
    if trailer != [0xbc] || masked[0] & 0x80 != 0 {
        return false;
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
    zeros.iter().all(|&byte| byte == 0) && one == [1] && expected[..] == *hash
}
