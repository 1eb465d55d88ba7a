//! What evidence inside a receipt must speak about: `docs/binding.md`.

use alloc::vec::Vec;

use carat_receipt::cbor::{MapWriter, Writer};
use carat_receipt::{Digest, PublicKey, domain};
use sha2::{Digest as _, Sha512};

use crate::Kind;

/// Domain of [`measurement`].
pub const MEASUREMENT: &str = "carat/tee-measurement/v1";

/// `B0`: the key made inside, the verifier's or epoch's nonce, and the configuration, in one value of 64 bytes.
pub fn bind0(key: &PublicKey, nonce: &[u8], configuration: &Digest) -> [u8; 64] {
    let mut map = MapWriter::new();
    map.put(1, |w| {
        w.bytes(key.as_bytes());
    });
    map.put(2, |w| {
        w.bytes(nonce);
    });
    map.put(3, |w| {
        w.bytes(configuration.as_bytes());
    });
    let mut writer = Writer::new();
    map.finish(&mut writer);
    Sha512::new()
        .chain_update(domain::TEE_BIND0)
        .chain_update(writer.into_bytes())
        .finalize()
        .into()
}

/// The nonce that GPU evidence must answer.
pub fn gpu_nonce(bind0: &[u8; 64]) -> [u8; 32] {
    use sha2::Sha256;
    Sha256::new()
        .chain_update(domain::TEE_GPU)
        .chain_update(bind0)
        .finalize()
        .into()
}

/// `B`: what goes into the CPU's report. GPU evidence is named by the SHA-256 of each item, in order.
pub fn bind(bind0: &[u8; 64], gpu_evidence: &[Digest]) -> [u8; 64] {
    let mut hash = Sha512::new()
        .chain_update(domain::TEE_BIND)
        .chain_update(bind0);
    for digest in gpu_evidence {
        hash.update(digest.as_bytes());
    }
    hash.finalize().into()
}

/// One digest over the measurements that name the code: what policies and Trust files list.
pub fn measurement(kind: Kind, parts: &[&[u8]]) -> Digest {
    let mut all: Vec<&[u8]> = alloc::vec![kind.as_str().as_bytes()];
    all.extend_from_slice(parts);
    Digest::of(MEASUREMENT, &all)
}
