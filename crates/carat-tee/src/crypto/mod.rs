//! Signatures of vendors: ECDSA on P-256 and P-384, RSA (PKCS #1 v1.5 and PSS). Verification only, so nothing here is
//! secret and variable time is fine.
//!
//! Keys and signatures are read here, once, whoever does the arithmetic afterwards: [`Backend::Rust`] everywhere, or
//! `ring` where the feature of that name is on. So what is well formed never depends on the backend, and the last step,
//! whether the equation holds, is compared over Wycheproof's vectors and changed samples in `tests/backends.rs`.

#[cfg(feature = "ring")]
mod native;
mod rust;

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

/// Who does the arithmetic. The verdict is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Rust alone; also in WebAssembly.
    Rust,
    /// The crate `ring`, with C and assembly: native builds.
    #[cfg(feature = "ring")]
    Ring,
}

impl Backend {
    /// All backends of this build.
    pub const ALL: &'static [Self] = &[
        Self::Rust,
        #[cfg(feature = "ring")]
        Self::Ring,
    ];
    /// What [`verify`] uses: the fastest.
    #[cfg(feature = "ring")]
    pub const DEFAULT: Self = Self::Ring;
    /// What [`verify`] uses.
    #[cfg(not(feature = "ring"))]
    pub const DEFAULT: Self = Self::Rust;
}

/// Verifies a signature over a message.
pub fn verify(
    key: PublicKey<'_>,
    algorithm: Algorithm,
    form: Form,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    verify_by(Backend::DEFAULT, key, algorithm, form, message, signature)
}

/// [`verify`] with the arithmetic of this backend.
pub fn verify_by(
    backend: Backend,
    key: PublicKey<'_>,
    algorithm: Algorithm,
    form: Form,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let holds = match (algorithm, key) {
        (Algorithm::EcdsaSha256, PublicKey::P256(point)) => {
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(uncompressed(point)?)
                .map_err(|_| SignatureError::Key)?;
            let signature = match form {
                Form::Der => p256::ecdsa::Signature::from_der(signature),
                Form::Raw => p256::ecdsa::Signature::from_slice(signature),
            };
            let signature = signature.map_err(|_| SignatureError::Form)?;
            match backend {
                Backend::Rust => rust::p256(&key, message, &signature),
                #[cfg(feature = "ring")]
                Backend::Ring => native::p256(point, message, &signature.to_bytes()),
            }
        }
        (Algorithm::EcdsaSha384, PublicKey::P384(point)) => {
            let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(uncompressed(point)?)
                .map_err(|_| SignatureError::Key)?;
            let signature = match form {
                Form::Der => p384::ecdsa::Signature::from_der(signature),
                Form::Raw => p384::ecdsa::Signature::from_slice(signature),
            };
            let signature = signature.map_err(|_| SignatureError::Form)?;
            match backend {
                Backend::Rust => rust::p384(&key, message, &signature),
                #[cfg(feature = "ring")]
                Backend::Ring => native::p384(point, message, &signature.to_bytes()),
            }
        }
        (
            Algorithm::RsaPkcs1Sha256 | Algorithm::RsaPssSha384,
            PublicKey::Rsa { modulus, exponent },
        ) => {
            let key = RsaKey::new(modulus, exponent)?;
            if signature.len() != modulus.len() {
                return Err(SignatureError::Form);
            }
            match backend {
                Backend::Rust => rust::rsa(&key, algorithm, message, signature),
                #[cfg(feature = "ring")]
                Backend::Ring => native::rsa(&key, algorithm, message, signature),
            }
        }
        _ => return Err(SignatureError::KeyKind),
    };
    if holds {
        Ok(())
    } else {
        Err(SignatureError::Invalid)
    }
}

/// Vendors write both coordinates (SEC 1 section 2.3.3); a point in another form is none of theirs.
fn uncompressed(point: &[u8]) -> Result<&[u8], SignatureError> {
    match point.first() {
        Some(4) => Ok(point),
        _ => Err(SignatureError::Key),
    }
}

/// A key that is strong enough: 2048 to 4096 bits, odd, with an odd exponent from 3 to 2^32.
struct RsaKey<'a> {
    modulus: &'a [u8],
    exponent: &'a [u8],
}

impl<'a> RsaKey<'a> {
    fn new(modulus: &'a [u8], exponent: &'a [u8]) -> Result<Self, SignatureError> {
        let modulus_fits = match modulus {
            [first, .., last] => {
                (256..=512).contains(&modulus.len()) && first & 0x80 != 0 && last & 1 == 1
            }
            _ => false,
        };
        let exponent_fits = match exponent {
            [1] => false,
            [first, .., last] => exponent.len() <= 4 && *first != 0 && last & 1 == 1,
            [only] => only & 1 == 1,
            [] => false,
        };
        if modulus_fits && exponent_fits {
            Ok(Self { modulus, exponent })
        } else {
            Err(SignatureError::Key)
        }
    }
}
