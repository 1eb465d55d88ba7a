//! What the relying party asks of a receipt.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use carat_log::{Checkpoint, ConsistencyProof};
use carat_receipt::{
    Amount, AmountError, Digest, Label, LabelError, Opening, PublicKey, ReceiptFile,
};

use carat_zk::ModelKey;

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
    /// Bytes of the answer that the relying party was given, as the output commitment covers them.
    pub output: Option<&'a [u8]>,
    /// What the relying party asked an upstream for through a courier. A receipt that is not about that is invalid.
    pub courier: Option<CourierAsked<'a>>,
    /// Digest of the Program that the relying party means, where it names one itself.
    pub model: Option<Digest>,
    /// Keys for proofs that the relying party computed itself from the weights of that model, one for each profile.
    pub model_keys: &'a [ModelKey],
    /// What the relying party's own machine computed.
    pub own_replay: Option<OwnReplay<'a>>,
    /// What the relying party remembers from earlier.
    pub remembered: Remembered<'a>,
    /// When the relying party itself acts on the answer. Its own timing selects the formula, never the Plan.
    pub use_at: UseAt,
    /// What rides on this Statement already: the amount asked comes on top of it.
    pub relied: Option<Amount>,
    /// What the relying party has open on *other* Statements of the same issuer, whose audits are not resolved yet.
    pub open_exposure: Option<Amount>,
    /// The same for issuers by their names in the Trust file: of this receipt, or of one that it rests on.
    pub open_exposures: &'a [(Label, Amount)],
    /// The receipts that this one rests on, and further ones that those rest on.
    pub upstream: &'a [Upstream<'a>],
}

/// What was asked of an upstream, through a courier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CourierAsked<'a> {
    /// The interface, such as `/v1/chat/completions`.
    pub endpoint: &'a str,
    /// The model, by the courier's name for it.
    pub model: &'a str,
}

/// When a relying party acts on an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UseAt {
    /// At once: what a cheat gains stays with it.
    #[default]
    AfterUse,
    /// It waits: nothing is final before the audits are resolved, and gains are taken back.
    BeforeSettle,
}

/// A receipt that another one rests on.
#[derive(Debug, Clone, Copy)]
pub struct Upstream<'a> {
    /// The receipt.
    pub file: &'a ReceiptFile,
    /// Its opening, where the relying party may see it.
    pub opening: Option<&'a Opening>,
    /// What the relying party's own machine computed for it.
    pub own_replay: Option<OwnReplay<'a>>,
    /// Stakes of open edges on it in composites that are not given here.
    pub open_edges: Option<Amount>,
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

/// What a relying party has open elsewhere, as it says it: amounts, each perhaps with an issuer's name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenExposure {
    /// For [`Question::open_exposure`]: the sum of all amounts without a name.
    pub own: Option<Amount>,
    /// For [`Question::open_exposures`].
    pub by_issuer: Vec<(Label, Amount)>,
}

impl OpenExposure {
    /// One entry: an amount, perhaps after a name and `=`.
    ///
    /// # Errors
    /// What is wrong with the name or the amount, in words.
    pub fn parse_entry(text: &str) -> Result<(Option<Label>, Amount), String> {
        let (name, amount) = match text.rsplit_once('=') {
            Some((name, amount)) => (Some(name), amount),
            None => (None, text),
        };
        let name = name.map(str::parse).transpose();
        let name = name.map_err(|error: LabelError| error.to_string())?;
        let amount = amount.parse();
        Ok((name, amount.map_err(|e: AmountError| e.to_string())?))
    }

    /// Gathers entries; those without a name add up.
    ///
    /// # Errors
    /// Amounts without a name in different currencies, or beyond the largest amount.
    pub fn gather(
        entries: impl IntoIterator<Item = (Option<Label>, Amount)>,
    ) -> Result<Self, AmountError> {
        let mut all = Self::default();
        for (issuer, amount) in entries {
            match issuer {
                Some(issuer) => all.by_issuer.push((issuer, amount)),
                None => {
                    let before = all.own.unwrap_or(Amount::zero(amount.currency()));
                    all.own = Some(before.checked_add(&amount)?);
                }
            }
        }
        Ok(all)
    }
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
    /// What is open against an issuer was stated, and the Trust file knows none of that name.
    #[error(
        "the Trust file names no issuer {0}, against whom something was said to be open; use a name that stands there"
    )]
    Issuer(Label),
}
