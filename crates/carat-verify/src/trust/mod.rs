//! The Trust file: what a relying party accepts, signed by its own key.
//!
//! Roots, keys and caps enter an appraisal only from here. The schema is in `docs/trust.md`.

mod check;
mod deterrence;
mod platform;
mod read;
mod write;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use carat_log::VerifierKey;
use carat_receipt::{Amount, Currency, Digest, Label, PublicKey, Signature, SigningKey, domain};

pub(crate) use check::CLOCK_SKEW;
pub use check::{Freshness, Standing};
pub use deterrence::{Audits, DEFAULT_HORIZON_DAYS, MAX_HORIZON_DAYS, Replication};
pub(crate) use platform::policy as platform_policy;
pub use platform::{
    GpuFirmware, GpuReference, MAX_GPU_REFERENCES, Platform, PolicyName, UnknownPolicy,
};

/// Largest Trust file in bytes.
pub const MAX_TRUST_BYTES: usize = 1024 * 1024;
/// Most entries in each list of a Trust file.
pub const MAX_ENTRIES: usize = 4096;

/// A Trust file: its content and the owner's signature over it, if any.
#[derive(Debug, Clone, PartialEq)]
pub struct Trust {
    content: Content,
    /// The canonical text of `content`, kept because the digest and the signature are over it.
    canonical: String,
    digest: Digest,
    signature: Option<Signature>,
    /// Kept because a signature costs more to check than the rest of a simple appraisal.
    standing: Standing,
}

/// What a Trust file says. Change it through [`Trust::edit`], which checks it and raises the version.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// What the relying party calls itself.
    pub name: Label,
    /// The relying party's own key, which signs this file.
    pub owner: PublicKey,
    /// The audience that the relying party is, as receipts name it.
    pub audience: Option<Label>,
    /// The one currency of this file.
    pub currency: Currency,
    /// Raised with every change.
    pub version: u64,
    /// When the content was last confirmed, Unix seconds.
    pub as_of: u64,
    /// How long it may be relied on from then, in days.
    pub max_age_days: u64,
    /// Cap under the assumption `implementation`: that this software is right. Absent: such sets are good for nothing.
    pub implementation_cap: Option<Amount>,
    /// On what terms sampled audits count. Absent: for nothing.
    pub audits: Option<Audits>,
    /// What several replays are worth together. Absent: nothing more than each.
    pub replication: Option<Replication>,
    /// How many witnesses must have cosigned a checkpoint.
    pub witness_quorum: u64,
    /// Organisations whose receipts are known.
    pub issuers: Vec<Issuer>,
    /// Programs that are accepted as the model meant.
    pub models: Vec<Model>,
    /// Logs.
    pub logs: Vec<LogKey>,
    /// Witnesses of logs.
    pub witnesses: Vec<WitnessKey>,
    /// Replayers whose word is accepted.
    pub auditors: Vec<Auditor>,
    /// Bond allocations: what an issuer loses when it is convicted.
    pub bonds: Vec<Bond>,
    /// Trusted execution environments that are accepted.
    pub platforms: Vec<Platform>,
    /// What the firmware of GPUs must measure.
    pub gpu_references: Vec<GpuReference>,
    /// Platforms that are refused, also for receipts that were issued before.
    pub denied_platforms: Vec<DeniedPlatform>,
    /// Upstream services whose answers are accepted from couriers.
    pub upstreams: Vec<Upstream>,
}

/// An organisation that issues receipts.
#[derive(Debug, Clone, PartialEq)]
pub struct Issuer {
    /// Its name; unique in the file.
    pub name: Label,
    /// Its keys.
    pub keys: Vec<IssuerKey>,
}

/// A key of an issuer. Stolen keys backdate: validity alone is the thief's to choose, so a revocation counts from a log
/// index.
#[derive(Debug, Clone, PartialEq)]
pub struct IssuerKey {
    /// The key.
    pub key: PublicKey,
    /// First second at which the key may have signed.
    pub not_before: Option<u64>,
    /// Last second at which the key may have signed.
    pub not_after: Option<u64>,
    /// Set when the key is revoked.
    pub revoked: Option<Revocation>,
}

/// From which index of which log on a key counts for nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Revocation {
    /// Origin of the log.
    pub log: Label,
    /// Receipts at this index and later, and receipts not proved to be in this log, are refused.
    pub from_index: u64,
}

/// An accepted Program.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// What the relying party calls it.
    pub name: Label,
    /// The Program's digest.
    pub program: Digest,
    /// Digests of the keys under which proofs about it count: whoever signs the file says that they hold its weights.
    pub proof_keys: Vec<Digest>,
}

/// A log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogKey {
    /// Its verifier key, C2SP note form.
    pub key: VerifierKey,
    /// Who operates it.
    pub controller: Label,
}

/// A witness.
#[derive(Debug, Clone, PartialEq)]
pub struct WitnessKey {
    /// Its verifier key, C2SP note form, cosignature type.
    pub key: VerifierKey,
    /// Who operates it.
    pub controller: Label,
}

/// A replayer whose word is accepted up to a cap.
#[derive(Debug, Clone, PartialEq)]
pub struct Auditor {
    /// Its name; unique in the file. The assumption is `honest:NAME`.
    pub name: Label,
    /// Its key.
    pub key: PublicKey,
    /// Who operates it. An auditor with an issuer's controller is not independent of that issuer.
    pub controller: Label,
    /// What its word is good for at most.
    pub cap: Amount,
}

/// A bond allocated to the relying party.
#[derive(Debug, Clone, PartialEq)]
pub struct Bond {
    /// The issuer that posted it.
    pub issuer: Label,
    /// How much of it stands for this relying party and for nobody else.
    pub amount: Amount,
    /// Earnings of the issuer that this relying party withholds until audits are resolved.
    pub withheld: Option<Amount>,
    /// When that was confirmed, Unix seconds.
    pub as_of: u64,
    /// Until when it stands, Unix seconds.
    pub expiry: u64,
}

/// A platform that is refused whatever it attests.
#[derive(Debug, Clone, PartialEq)]
pub struct DeniedPlatform {
    /// Vendor, for example `amd`.
    pub vendor: Label,
    /// Chip, model or measurement, in the vendor's terms.
    pub id: Label,
    /// Why.
    pub reason: Label,
}

/// An upstream service whose answers are accepted up to a cap, where a courier passed them on.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its name, as couriers give it; unique in the file. The assumption is `upstream:NAME`.
    pub name: Label,
    /// What its word is good for at most.
    pub cap: Amount,
    /// Names that it may give its model besides the one asked for.
    pub models: Vec<Label>,
    /// Issuers that are accepted as couriers of it; empty: every issuer of the file.
    pub couriers: Vec<Label>,
}

/// A Trust file is not usable. Unless said otherwise its owner is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Larger than the limit.
    #[error("the Trust file has {0} bytes; the limit is {MAX_TRUST_BYTES}")]
    TooLarge(usize),
    /// Not the TOML of a Trust file.
    #[error("the Trust file does not parse: {0}")]
    Syntax(String),
    /// A value is not allowed.
    #[error("Trust file, {place}: {reason}")]
    Value {
        /// Where.
        place: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Another key than the owner's was given to sign.
    #[error(
        "the Trust file belongs to key {owner}, but key {given} was given; sign with the owner's key"
    )]
    WrongKey {
        /// The owner.
        owner: PublicKey,
        /// The key given.
        given: PublicKey,
    },
    /// An edit was dated before the content that it changes.
    #[error("the change is dated before the content that it changes; check this machine's clock")]
    Backwards,
}

impl TrustError {
    pub(crate) fn value(place: impl ToString, reason: impl ToString) -> Self {
        Self::Value {
            place: place.to_string(),
            reason: reason.to_string(),
        }
    }
}

impl Content {
    /// The content of a fresh Trust file: no issuers, no models, no logs. `implementation` is capped at 1,000 units of
    /// the currency, because this software has had no external review; raise the cap explicitly.
    pub fn new(name: Label, owner: PublicKey, currency: Currency, now: u64) -> Self {
        Self {
            name,
            owner,
            audience: None,
            currency,
            version: 1,
            as_of: now,
            max_age_days: 90,
            implementation_cap: Some(Amount::from_micros(1000 * Amount::MICROS, currency)),
            audits: None,
            replication: None,
            witness_quorum: 0,
            issuers: Vec::new(),
            models: Vec::new(),
            logs: Vec::new(),
            witnesses: Vec::new(),
            auditors: Vec::new(),
            bonds: Vec::new(),
            platforms: Vec::new(),
            gpu_references: Vec::new(),
            denied_platforms: Vec::new(),
            upstreams: Vec::new(),
        }
    }
}

impl Trust {
    /// Takes content as an unsigned Trust file.
    pub fn new(content: Content) -> Result<Self, TrustError> {
        check::content(&content)?;
        let canonical = write::canonical(&content);
        let digest = Digest::of(domain::TRUST, &[canonical.as_bytes()]);
        Ok(Self {
            content,
            canonical,
            digest,
            signature: None,
            standing: Standing::Unsigned,
        })
    }

    /// What is relied on where no Trust file was given and your own machine ran the Program again: a cap of 1000 on this
    /// software being right, in the given currency, and nobody's word. It is no file, has no owner, and can never become
    /// a file: it exists only in memory.
    pub fn built_in(currency: Currency, now: u64) -> Result<Self, TrustError> {
        let nobody = SigningKey::from_secret(&[0; 32]).public();
        let name = Label::new("built-in default, no Trust file was given")
            .map_err(|_| TrustError::Backwards)?;
        let mut trust = Self::new(Content::new(name, nobody, currency, now))?;
        trust.standing = Standing::BuiltIn;
        Ok(trust)
    }

    /// The built-in default in the currency of the amount asked about, or in US dollars where none is.
    pub fn built_in_for(asked: Option<&Amount>, now: u64) -> Result<Self, TrustError> {
        let currency = match asked {
            Some(amount) => amount.currency(),
            None => {
                Currency::new("USD").map_err(|e| TrustError::value("the built-in default", e))?
            }
        };
        Self::built_in(currency, now)
    }

    /// Reads the text of a Trust file. A signature that does not hold is no error here: see [`Trust::standing`].
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let (content, signature) = read::parse(text)?;
        let mut trust = Self::new(content)?;
        if let Some(signature) = signature {
            let holds = trust
                .content
                .owner
                .verify(trust.digest.as_bytes(), &signature)
                .is_ok();
            trust.standing = if holds {
                Standing::Signed
            } else {
                Standing::Broken
            };
            trust.signature = Some(signature);
        }
        Ok(trust)
    }

    /// The text of the file. Reading it gives the same Trust, and the text does not depend on how the file was
    /// written before (comments are not kept).
    pub fn render(&self) -> String {
        write::with_signature(&self.canonical, self.signature.as_ref())
    }

    /// What the file says.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Changes the content at a time, raises the version, and drops the signature, which no longer fits.
    pub fn edit(&mut self, now: u64, change: impl FnOnce(&mut Content)) -> Result<(), TrustError> {
        let mut content = self.content.clone();
        change(&mut content);
        if now < self.content.as_of {
            return Err(TrustError::Backwards);
        }
        content.as_of = now;
        content.version = self.content.version.saturating_add(1);
        *self = Self::new(content)?;
        Ok(())
    }

    /// Signs with the owner's key.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), TrustError> {
        let (owner, given) = (self.content.owner, key.public());
        if owner != given {
            return Err(TrustError::WrongKey { owner, given });
        }
        self.signature = Some(key.sign(self.digest.as_bytes()));
        self.standing = Standing::Signed;
        Ok(())
    }

    /// Whether the owner's signature holds.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Names the content: `Digest::of(TRUST, [canonical text])`. This is what is signed and what appraisals print.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The issuer and the entry of a key.
    pub fn issuer_of(&self, key: &PublicKey) -> Option<(&Issuer, &IssuerKey)> {
        self.content
            .issuers
            .iter()
            .find_map(|issuer| Some((issuer, issuer.keys.iter().find(|entry| entry.key == *key)?)))
    }

    /// The auditor with a key.
    pub fn auditor(&self, key: &PublicKey) -> Option<&Auditor> {
        self.content
            .auditors
            .iter()
            .find(|auditor| auditor.key == *key)
    }

    /// The accepted model with a Program.
    pub fn model(&self, program: &Digest) -> Option<&Model> {
        self.content
            .models
            .iter()
            .find(|model| model.program == *program)
    }
}
