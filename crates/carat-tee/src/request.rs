//! What a verifier is asked.

use crate::Policy;

/// A question about evidence. Everything a verdict depends on is in here.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The evidence: raw bytes of the format. [`crate::input::decode`] makes them from text.
    pub evidence: &'a [u8],
    /// What the vendor says about the machine.
    pub endorsements: Endorsements<'a>,
    /// What is accepted.
    pub policy: &'a Policy,
    /// The time, Unix seconds. Nothing here has a clock.
    pub now: u64,
    /// The nonce that the verifier gave, where it gave one. Compared with the field that the format has for it.
    pub nonce: Option<&'a [u8]>,
    /// What the evidence must be bound to, where it belongs to a receipt.
    pub binding: Option<Binding<'a>>,
}

/// Endorsements, already decoded: certificates are single DER certificates.
#[derive(Debug, Clone, Copy, Default)]
pub struct Endorsements<'a> {
    /// Vendor's collateral: for TDX and SGX the JSON of `QuoteCollateralV3`; for NVIDIA the bundle of reference values.
    pub collateral: Option<&'a [u8]>,
    /// Certificates for the evidence's own key (VCEK, VLEK), DER.
    pub certs: &'a [alloc::vec::Vec<u8>],
    /// The chain above, DER, in any order that the format documents; for NVIDIA leaf first.
    pub chain: &'a [alloc::vec::Vec<u8>],
}

/// What evidence is bound to; see `docs/binding.md`.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// `B`, or for GPU evidence the GPU nonce: 64 or 32 bytes.
    pub value: &'a [u8],
    /// The public key made inside, raw Ed25519; formats that have a field for it must carry it there.
    pub key: &'a [u8; 32],
}
