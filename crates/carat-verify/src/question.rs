//! What the relying party asks of a receipt.

use carat_log::{Checkpoint, ConsistencyProof};
use carat_receipt::{Amount, Digest, Label, Opening, PublicKey};

use crate::Trust;

/// A question about a receipt: who asks, when, and what for. Everything optional that is given must match; what is not
/// given is listed as not checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Question<'a> {
    /// The time, Unix seconds. The verifier has no clock.
    pub now: u64,
    /// The relying party's Trust file.
    pub trust: Option<&'a Trust>,
    /// The relying party's own key, where it is known apart from the Trust file.
    pub trust_owner: Option<PublicKey>,
    /// The nonce that the relying party issued.
    pub nonce: Option<&'a [u8]>,
    /// The audience that the relying party is; otherwise the Trust file's.
    pub audience: Option<&'a Label>,
    /// The amount that should ride on the answer.
    pub amount: Option<Amount>,
    /// Salts and values, where the relying party may see them.
    pub opening: Option<&'a Opening>,
    /// Canonical bytes of the input that the relying party asked about.
    pub input: Option<&'a [u8]>,
    /// Digest of the Program that the relying party means, where it names one itself.
    pub model: Option<Digest>,
    /// What the relying party's own machine computed.
    pub own_replay: Option<OwnReplay<'a>>,
    /// What the relying party remembers from earlier.
    pub remembered: Remembered<'a>,
}

/// The result of running the Program on the relying party's own machine.
#[derive(Debug, Clone, Copy)]
pub struct OwnReplay<'a> {
    /// Digest of the Program that ran, recomputed from the model that the relying party has.
    pub program: Digest,
    /// Canonical bytes of the input.
    pub input: &'a [u8],
    /// Canonical bytes of the output.
    pub output: &'a [u8],
}

/// State that a verifier keeps between appraisals, so that nobody can show it an older world.
#[derive(Debug, Clone, Copy, Default)]
pub struct Remembered<'a> {
    /// Highest version of this owner's Trust file seen.
    pub trust_version: Option<u64>,
    /// Last checkpoint seen of the log that the receipt is in.
    pub checkpoint: Option<&'a Checkpoint>,
    /// Proof that connects the remembered checkpoint and the receipt's.
    pub consistency: Option<&'a ConsistencyProof>,
}

/// A question that cannot be answered. The asker is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuestionError {
    /// The amount is in another currency than the Trust file.
    #[error("the amount is in {asked}, the Trust file in {trust}; ask in {trust}")]
    Currency {
        /// Currency of the amount asked about.
        asked: carat_receipt::Currency,
        /// Currency of the Trust file.
        trust: carat_receipt::Currency,
    },
}
