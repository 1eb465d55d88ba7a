//! The arithmetic by `ring`: C and assembly. P-256 takes less than half the time, RSA two thirds; P-384, which `ring` does in C, a
//! few per cent less.

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RsaPublicKeyComponents, UnparsedPublicKey,
};

use super::{Algorithm, RsaKey};

/// Point uncompressed, signature of 64 bytes.
pub(super) fn p256(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(message, signature)
        .is_ok()
}

/// Point uncompressed, signature of 96 bytes.
pub(super) fn p384(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
        .verify(message, signature)
        .is_ok()
}

pub(super) fn rsa(
    key: &RsaKey<'_>,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let parameters = match algorithm {
        Algorithm::RsaPkcs1Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        // `ring` takes a salt as long as the hash and no other, as these vendors do.
        Algorithm::RsaPssSha384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::EcdsaSha256 | Algorithm::EcdsaSha384 => return false,
    };
    RsaPublicKeyComponents {
        n: key.modulus,
        e: key.exponent,
    }
    .verify(parameters, message, signature)
    .is_ok()
}
