//! Roots. Vendors' are pinned by digest and their certificates are part of the crate; the simulator's is whatever its run
//! made, and gives nothing but [`crate::Simulated`].

use crate::x509::{self, Certificate};
use crate::{Checks, Reason};

/// DER SHA-256 of `aws.nitro-enclaves`, root G1, to 2049.
pub const AWS_NITRO: [u8; 32] =
    digest("641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b");
/// DER SHA-256 of `NVIDIA Device Identity CA`, to 9999.
pub const NVIDIA_DEVICE: [u8; 32] =
    digest("102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48");
/// DER SHA-256 of `Confidential Space Root CA`, to 2034.
pub const GOOGLE_CONFIDENTIAL_SPACE: [u8; 32] =
    digest("148b293821bb0c6a317f413c8ba475814091cb22d49b9e3c94198db8e8f86c39");

/// The pinned certificates, to complete chains that leave the root out.
pub(crate) const NVIDIA_DEVICE_DER: &[u8] = include_bytes!("../roots/nvidia-device-identity.der");
pub(crate) const GOOGLE_CONFIDENTIAL_SPACE_DER: &[u8] =
    include_bytes!("../roots/google-confidential-space.der");

/// Whose word counts in one verification.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchors<'a> {
    /// The vendor's pinned roots.
    Vendor,
    /// The root of one run of the simulator. Every certificate must say that it is simulated.
    Simulated(&'a [u8; 32]),
}

impl Anchors<'_> {
    /// Checks a chain (leaf first, root last) without dates.
    pub(crate) fn check(
        &self,
        checks: &mut Checks,
        chain: &[Certificate<'_>],
        vendor: &[[u8; 32]],
    ) {
        match self {
            Self::Vendor => x509::check_links(checks, chain, vendor, &[]),
            Self::Simulated(root) => {
                let marked = chain.iter().all(|certificate| {
                    certificate
                        .extension(x509::oid::SIMULATED)
                        .is_some_and(|extension| extension.critical)
                });
                checks.require(
                    marked,
                    Reason::Chain,
                    "simulated",
                    "every certificate says that it is simulated",
                    || "a certificate of the chain does not say that it is simulated".into(),
                );
                x509::check_links(
                    checks,
                    chain,
                    core::slice::from_ref(*root),
                    &[x509::oid::SIMULATED],
                );
            }
        }
    }
}

/// A digest from its hexadecimal form, when the crate is compiled.
pub(crate) const fn digest(hex: &str) -> [u8; 32] {
    const fn nibble(digit: u8) -> u8 {
        match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => panic!("not a hexadecimal digit"),
        }
    }
    let hex = hex.as_bytes();
    assert!(hex.len() == 64);
    let mut bytes = [0; 32];
    let mut at = 0;
    while at < 32 {
        bytes[at] = nibble(hex[2 * at]) << 4 | nibble(hex[2 * at + 1]);
        at += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The embedded certificates are the pinned ones.
    #[test]
    fn roots_are_the_pinned_ones() {
        for (der, pinned) in [
            (
                include_bytes!("../roots/aws-nitro-enclaves-g1.der").as_slice(),
                AWS_NITRO,
            ),
            (NVIDIA_DEVICE_DER, NVIDIA_DEVICE),
            (GOOGLE_CONFIDENTIAL_SPACE_DER, GOOGLE_CONFIDENTIAL_SPACE),
        ] {
            let root = Certificate::parse(der).unwrap();
            assert_eq!(root.digest(), pinned);
            // Self-signed: the parser and the signature check agree with the vendor's tools.
            root.signed_by(root.key).unwrap();
        }
    }
}
