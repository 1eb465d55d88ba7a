//! The randomness of a proof that hides something.
//!
//! Each proof takes 32 bytes from the operating system, and never writes them anywhere. They are hashed together with what
//! the proof is about, so that even a machine that hands out the same bytes twice (a virtual machine that was copied while
//! it ran) does not put two different secrets under one pad. Everything is expanded from that key with BLAKE3's output
//! stream, and wiped afterwards.

use crate::{
    Error,
    field::{DEGREE, E, F},
};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, PrimeField32};
use zeroize::Zeroize;

#[cfg(test)]
use crate::tests::hooks;

/// What randomness is for. Only tests look at it: they switch one of them off, and must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Under messages.
    Pad,
    /// Behind rows of the witness.
    WitnessTail,
    /// The row that is added to the fold of the witness.
    WitnessMask,
    /// In leaves of the witness.
    WitnessSalt,
    /// Behind rows of pads.
    PadTail,
    /// Behind rows of secrets.
    SecretTail,
    /// Added to the combination of rows of pads.
    CombinationMask,
    /// Added to the sum of all equations.
    SumMask,
    /// In leaves of pads.
    PadSalt,
    /// Behind rows of constants.
    WeightsTail,
    /// In leaves of constants.
    WeightsSalt,
    /// Constants that the Program does not know.
    WeightsBlind,
    /// Added to the fold of constants.
    WeightsMask,
    /// In leaves of that mask.
    WeightsMaskSalt,
}

/// Bytes that are expanded at once.
const BUFFER: usize = 1 << 14;

/// A stream of uniform elements.
pub(crate) struct Random {
    stream: blake3::OutputReader,
    buffer: Vec<u8>,
    used: usize,
}

impl core::fmt::Debug for Random {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Random(hidden)")
    }
}

impl Random {
    /// Fresh randomness for a proof about `context`.
    pub(crate) fn fresh(context: &[&[u8]]) -> Result<Self, Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| Error::Randomness(e.to_string()))?;
        #[cfg(test)]
        let mut seed = hooks::stage().seed.unwrap_or(seed);
        let random = Self::from_seed("carat/zk/v1 randomness of one proof", &seed, context);
        seed.zeroize();
        Ok(random)
    }

    /// The randomness of a commitment to constants, made from a secret that is kept.
    pub(crate) fn kept(secret: &[u8; 32], context: &[&[u8]]) -> Self {
        Self::from_seed("carat/zk/v1 randomness of hidden weights", secret, context)
    }

    fn from_seed(purpose: &str, seed: &[u8; 32], context: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(purpose);
        hasher.update(seed);
        for part in context {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let stream = hasher.finalize_xof();
        hasher.zeroize();
        Self {
            stream,
            buffer: vec![0; BUFFER],
            used: BUFFER,
        }
    }

    fn word(&mut self) -> u32 {
        if self.used == BUFFER {
            self.stream.fill(&mut self.buffer);
            self.used = 0;
        }
        let bytes = &mut self.buffer[self.used..self.used + 4];
        self.used += 4;
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// The next 64 bits, for what is no element.
    pub(crate) fn number(&mut self) -> u64 {
        u64::from(self.word()) << 32 | u64::from(self.word())
    }

    /// The next element of F: 31-bit words, those beyond the field left out.
    fn f(&mut self) -> F {
        loop {
            let word = self.word() & 0x7fff_ffff;
            if word < F::ORDER_U32 {
                return F::from_u32(word);
            }
        }
    }

    /// The next element of E.
    pub(crate) fn e(&mut self, purpose: Purpose) -> E {
        #[cfg(test)]
        hooks::took(purpose, 1);
        #[cfg(test)]
        if hooks::stage().silent == Some(purpose) {
            return E::ZERO;
        }
        let _ = purpose;
        let coefficients: [F; DEGREE] = core::array::from_fn(|_| self.f());
        E::from_basis_coefficients_fn(|i| coefficients[i])
    }

    /// Fills a slice.
    pub(crate) fn fill(&mut self, purpose: Purpose, out: &mut [F]) {
        #[cfg(test)]
        hooks::took(purpose, out.len());
        #[cfg(test)]
        if hooks::stage().silent == Some(purpose) {
            return out.fill(F::ZERO);
        }
        let _ = purpose;
        out.iter_mut().for_each(|o| *o = self.f());
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        self.stream.zeroize();
        self.buffer.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u8, context: &[&[u8]]) -> Vec<E> {
        let mut random = Random::from_seed("test", &[seed; 32], context);
        (0..4).map(|_| random.e(Purpose::Pad)).collect()
    }

    /// The same bytes of the operating system give other pads for another statement, and however its parts are cut.
    #[test]
    fn a_repeated_seed_is_not_a_repeated_pad() {
        let base = first(1, &[b"one", b"two"]);
        assert_eq!(base, first(1, &[b"one", b"two"]));
        for other in [
            first(2, &[b"one", b"two"]),
            first(1, &[b"onet", b"wo"]),
            first(1, &[b"one"]),
            first(1, &[b"one", b"two", b""]),
        ] {
            assert!(base.iter().zip(&other).all(|(a, b)| a != b));
        }
        let fresh = |_| Random::fresh(&[b"one"]).unwrap().e(Purpose::Pad);
        let drawn: Vec<E> = (0..64).map(fresh).collect();
        for (i, a) in drawn.iter().enumerate() {
            assert!(!drawn[..i].contains(a));
        }
    }

    /// Chi-squared over 64 cells of equal size, and over the lowest six bits: 2^18 draws each.
    #[test]
    fn elements_are_uniform() {
        let mut random = Random::from_seed("test", &[7; 32], &[]);
        let (mut high, mut low) = ([0f64; 64], [0f64; 64]);
        let n = 1u32 << 18;
        for _ in 0..n {
            let v = u64::from(random.f().as_canonical_u32());
            high[(v * 64 / u64::from(F::ORDER_U32)) as usize] += 1.0;
            low[(v % 64) as usize] += 1.0;
        }
        let expected = f64::from(n) / 64.0;
        for cells in [high, low] {
            let chi: f64 = cells
                .iter()
                .map(|c| (c - expected).powi(2) / expected)
                .sum();
            // 63 degrees of freedom: above 120 once in 100,000 times; the stream is fixed.
            assert!(chi < 120.0, "{chi}");
        }
    }
}
