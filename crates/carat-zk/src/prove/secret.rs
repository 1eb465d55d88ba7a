//! What makes the commitment to a model's constants hide them.

use crate::Error;
use zeroize::Zeroize;

/// 32 bytes from which everything random in the commitments of a key that hides constants is expanded. Whoever has them, and
/// the model, can make the commitments again; whoever has them and a guess of the constants can check the guess.
///
/// One secret is for one model and one profile. Each proof under it shows some places of a commitment, so there may be
/// [`crate::hidden_weights_budget`] proofs with one secret, the registration included, and no more: whoever keeps it keeps
/// count, on disk, before a proof is made.
#[derive(Clone)]
pub struct WeightsSecret([u8; 32]);

impl core::fmt::Debug for WeightsSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("WeightsSecret(hidden)")
    }
}

impl WeightsSecret {
    /// A new secret, from the operating system.
    ///
    /// # Errors
    /// [`Error::Randomness`] if the system gives none.
    pub fn fresh() -> Result<Self, Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|e| Error::Randomness(e.to_string()))?;
        let secret = Self(bytes);
        bytes.zeroize();
        Ok(secret)
    }

    /// A secret that was kept.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be kept where nobody else reads.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for WeightsSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
