//! What the public log keeps of a receipt: a blinded identity, and the audit threshold where there is a Plan.

use alloc::vec::Vec;

use crate::{Digest, Salt, domain};

/// The bytes of a log leaf: `Digest::of(LOG_LEAF, [blind, receipt_id])`, and 8 bytes of tau, big-endian, if the
/// Statement has a Plan. 32 or 40 bytes, and no metadata: whoever has the receipt file finds its leaf, nobody else
/// links a leaf to a receipt.
pub fn leaf(blind: &Salt, receipt_id: &Digest, tau: Option<u64>) -> Vec<u8> {
    let blinded = Digest::of(domain::LOG_LEAF, &[blind.as_bytes(), receipt_id.as_bytes()]);
    let mut leaf = blinded.as_bytes().to_vec();
    if let Some(tau) = tau {
        leaf.extend(tau.to_be_bytes());
    }
    leaf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tau_is_readable_and_the_receipt_is_not() {
        let blind = Salt::from_bytes([5; 32]);
        let id = Digest::sha256(b"receipt");
        let plain = leaf(&blind, &id, None);
        let planned = leaf(&blind, &id, Some(0x0102));
        assert_eq!(plain.len(), 32);
        assert_eq!(planned[..32], plain);
        assert_eq!(planned[32..], [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_ne!(plain, leaf(&Salt::from_bytes([6; 32]), &id, None));
    }
}
