//! The hash chain under the transcript.
//!
//! It is the library's but for one thing: a proof of work is the smallest that there is, not the first that some thread finds.
//! Then a proof is a function of what is proven and of the randomness that hides it. A machine that is set back, and makes a
//! proof again with the same randomness, makes the same proof; with another proof of work, the challenges after it would be
//! others, and two folds under one mask would give away what is under it.

use alloc::vec::Vec;
use p3_blake3::Blake3;
use p3_challenger::{ByteGrindingChallenger, CanObserve, CanSample, HashChallenger};

/// BLAKE3 over everything absorbed since the last draw, chained.
#[derive(Clone, Debug)]
pub struct Chain(HashChallenger<u8, Blake3, 32>);

impl Chain {
    pub(crate) fn new() -> Self {
        Self(HashChallenger::new(Vec::new(), Blake3 {}))
    }
}

impl CanObserve<u8> for Chain {
    fn observe(&mut self, value: u8) {
        self.0.observe(value);
    }

    fn observe_slice(&mut self, values: &[u8]) {
        self.0.observe_slice(values);
    }
}

impl CanSample<u8> for Chain {
    fn sample(&mut self) -> u8 {
        self.0.sample()
    }
}

impl ByteGrindingChallenger for Chain {
    /// The smallest candidate that passes.
    fn find_witness<const W: usize, const S: usize>(
        &self,
        candidates: u64,
        encode: impl Fn(u64) -> [u8; W] + Sync,
        accepts: impl Fn([u8; S]) -> bool + Sync,
    ) -> Option<u64> {
        /// Candidates that all threads look at before any that come later, at most. The first blocks are short: most proofs
        /// of work are small, and what a thread finds far out is of no use while there may be a smaller one.
        const BLOCK: u64 = 1 << 14;
        let (mut first, mut block) = (0, 1 << 9);
        while first < candidates {
            let some = |len| {
                let encode = |i| encode(first + i);
                self.0.find_witness::<W, S>(len, encode, &accepts)
            };
            let len = block.min(candidates - first);
            if let Some(mut found) = some(len) {
                // Some thread's first: there may be smaller ones.
                while let Some(smaller) = some(found) {
                    found = smaller;
                }
                return Some(first + found);
            }
            first += len;
            block = (2 * block).min(BLOCK);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_is_found() {
        let mut chain = Chain::new();
        chain.observe_slice(b"before");
        let encode = |c: u64| (c as u32).to_le_bytes();
        // The second one lies beyond the first blocks, the third nowhere.
        for (mask, candidates) in [(0xff, 1 << 31), (0xf_ffff, 1 << 31), (0xff_ffff, 1 << 10)] {
            let accepts = |bytes: [u8; 4]| u32::from_le_bytes(bytes) & mask == 0;
            let expected = (0..candidates).find(|&c| {
                let mut chain = chain.clone();
                chain.observe_slice(&encode(c));
                accepts(chain.sample_array())
            });
            assert_eq!(chain.find_witness(candidates, encode, accepts), expected);
        }
    }
}
