//! Evidence: something that supports exactly one Statement, named by its `receipt_id`.

use alloc::vec::Vec;

use crate::cbor::{DecodeError, MapWriter, Reader, Writer};
use crate::key::{Signature, SignatureError, SigningKey};
use crate::statement::Engine;
use crate::{Digest, Label, PublicKey, domain};

/// Largest signed body of `Signature` and `Replay` evidence, in bytes.
pub const MAX_SIGNED_BODY_BYTES: usize = 4096;
/// Largest attestation (evidence, or one endorsement), in bytes.
pub const MAX_ATTESTATION_BYTES: usize = 64 * 1024;
/// Most endorsements of one attestation.
pub const MAX_ENDORSEMENTS: usize = 16;
/// Largest proof in bytes.
pub const MAX_PROOF_BYTES: usize = 32 * 1024 * 1024;
/// Most Statements that one proof covers.
pub const MAX_PROOF_STATEMENTS: usize = 1024;
/// The proof protocol whose modes are closed: another mode of it is refused.
pub const ZK_PROTOCOL: &str = "carat/zk/v1";
/// Its mode that is short, and hides nothing.
pub const SUCCINCT: &str = "succinct";
/// Its mode that shows nothing of what lies between input and output, nor of what [`Hides`] names.
pub const ZK: &str = "zk";

const WHAT: &str = "evidence";

/// One item of Evidence. `statement` is the receipt_id that it speaks about; nothing else is supported by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The receipt_id that the item supports.
    pub statement: Digest,
    /// What it says.
    pub body: Body,
}

/// Kinds of Evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Another key signs the Statement too.
    Signature,
    /// Somebody ran the Program again.
    Replay,
    /// A trusted execution environment vouches for the key or the run.
    Attestation,
    /// A proof.
    Proof,
}

/// The content of an item, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// Another key signs the Statement too.
    Signature(Signed<Cosignature>),
    /// Somebody ran the Program again.
    Replay(Signed<Replay>),
    /// Typed attestation evidence, opaque here.
    Attestation(Attestation),
    /// A proof, whose bytes are opaque here.
    Proof(Proof),
}

/// A body with the signature of the key that it names, over `Digest::of(domain, [receipt_id, body])`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<T> {
    body: T,
    signature: Signature,
}

/// What a cosigner says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// The cosigner's key.
    pub key: PublicKey,
    /// What the cosigner calls itself.
    pub name: Label,
    /// When, in Unix seconds by the cosigner's clock.
    pub signed_at: u64,
}

/// What somebody says who ran the Program again on the opened input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The replayer's key.
    pub key: PublicKey,
    /// What the replayer calls itself.
    pub name: Label,
    /// The Program that it ran.
    pub program: Digest,
    /// Commitment to the output that it computed, under the output salt of the Opening. If it differs from the
    /// Statement's, the replay contradicts the Statement.
    pub output: Digest,
    /// When it ran, in Unix seconds by the replayer's clock.
    pub replayed_at: u64,
    /// The engine that it ran.
    pub engine: Engine,
    /// Software and version that it ran.
    pub software: Label,
    /// The salted trace root that it computed, where it was asked to reveal one.
    pub trace_root: Option<Digest>,
}

/// Evidence of a trusted execution environment with what is needed to check it offline, in the manner of a RATS
/// Conceptual Message Wrapper (typed bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// Media type of the evidence.
    pub media_type: Label,
    /// The evidence.
    pub evidence: Vec<u8>,
    /// Collateral: media type and bytes.
    pub endorsements: Vec<(Label, Vec<u8>)>,
}

/// A proof that a Program gave an output, for this Statement and perhaps for others in one go.
///
/// Everything but `proof` is a claim that lets a reader see what it would take to check the proof. The verifier derives
/// shapes and security from the Program and the profile, and takes keys from the relying party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The proof protocol and its version, such as `carat/zk/v1`.
    pub protocol: Label,
    /// What the proof hides: of [`ZK_PROTOCOL`], [`SUCCINCT`] (nothing beyond its size) or [`ZK`]; of another protocol,
    /// whatever it calls its modes.
    pub mode: Label,
    /// What it hides besides what lies between input and output: nothing in a succinct proof.
    pub hides: Hides,
    /// The named security profile, such as `proven-100`.
    pub profile: Label,
    /// Commitment root of the ModelKey that the proof was made under.
    pub weights_root: Digest,
    /// Every Statement that the proof covers, in the proof's order: 1 to [`MAX_PROOF_STATEMENTS`], each once, the one
    /// that this evidence is about among them.
    pub statements: Vec<Digest>,
    /// Bits of soundness of the whole argument that the prover states, rounded down.
    pub bits: u64,
    /// The proof.
    pub proof: Vec<u8>,
}

/// What a proof hides from whoever checks it, besides what lies between input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hides {
    /// Input and output, which are tied to the Statement's `io_commitment`. Such a proof covers one Statement: whoever
    /// checks it has no other's commitment.
    pub values: bool,
    /// The weights.
    pub weights: bool,
}

impl Hides {
    /// Whether it names nothing. Then evidence is written without it, as before there were proofs that hide.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        !self.values && !self.weights
    }

    /// The codes, ascending.
    fn codes(self) -> impl Iterator<Item = u64> {
        [(self.values, 1), (self.weights, 2)]
            .into_iter()
            .filter_map(|(is, code)| is.then_some(code))
    }

    fn write(self, w: &mut Writer) {
        w.array(self.codes().count());
        for code in self.codes() {
            w.uint(code);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "what a proof hides";
        let refuse = |reason| Err(DecodeError::Value { what: WHAT, reason });
        let (mut hides, mut last) = (Self::default(), 0);
        for _ in 0..r.array(WHAT, 1, 2)? {
            let code = r.uint(WHAT)?;
            if code <= last {
                return refuse("the codes are not in ascending order");
            }
            last = code;
            match code {
                1 => hides.values = true,
                2 => hides.weights = true,
                _ => return refuse("a code that this version does not know"),
            }
        }
        Ok(hides)
    }
}

impl Proof {
    /// The place of a Statement in the proof.
    pub fn slot(&self, statement: &Digest) -> Option<usize> {
        self.statements.iter().position(|d| d == statement)
    }

    fn write(&self, w: &mut Writer) {
        w.array(if self.hides.is_nothing() { 7 } else { 8 })
            .text(self.protocol.as_str())
            .text(self.mode.as_str())
            .text(self.profile.as_str())
            .bytes(self.weights_root.as_bytes())
            .array(self.statements.len());
        for statement in &self.statements {
            w.bytes(statement.as_bytes());
        }
        w.uint(self.bits).bytes(&self.proof);
        if !self.hides.is_nothing() {
            self.hides.write(w);
        }
    }

    fn read(r: &mut Reader<'_>, about: &Digest) -> Result<Self, DecodeError> {
        const WHAT: &str = "proof evidence";
        let refuse = |reason| Err(DecodeError::Value { what: WHAT, reason });
        let fields = r.array(WHAT, 7, 8)?;
        let protocol = Label::read(r, WHAT)?;
        let mode = Label::read(r, WHAT)?;
        if protocol.as_str() == ZK_PROTOCOL && ![SUCCINCT, ZK].contains(&mode.as_str()) {
            return refuse("a mode that the protocol does not have");
        }
        let profile = Label::read(r, WHAT)?;
        let weights_root = r.digest(WHAT)?;
        let mut statements = Vec::new();
        for _ in 0..r.array(WHAT, 1, MAX_PROOF_STATEMENTS)? {
            statements.push(r.digest(WHAT)?);
        }
        let mut sorted = statements.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return refuse("a Statement is listed twice");
        }
        if sorted.binary_search(about).is_err() {
            return refuse("the Statement that it is about is not listed");
        }
        let bits = r.uint(WHAT)?;
        let proof = r.bytes(WHAT, 1, MAX_PROOF_BYTES)?.to_vec();
        let hides = match fields {
            8 => Hides::read(r)?,
            _ => Hides::default(),
        };
        if !hides.is_nothing() && mode.as_str() == SUCCINCT {
            return refuse("a succinct proof hides nothing");
        }
        if hides.values && statements.len() > 1 {
            return refuse("a proof that hides input and output covers one Statement");
        }
        Ok(Self {
            protocol,
            mode,
            hides,
            profile,
            weights_root,
            statements,
            bits,
            proof,
        })
    }
}

/// A body that is signed by the key that it names.
pub trait SignedBody: Sized {
    /// Domain-separation string of the signature.
    const DOMAIN: &'static str;
    /// The key that signs.
    fn key(&self) -> PublicKey;
    /// Deterministic CBOR of the body.
    fn encode(&self) -> Vec<u8>;
    /// Strict decoding.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError>;
}

/// The key that should sign Evidence is not the one that its body names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the evidence names key {named}, but key {given} was asked to sign it")]
pub struct WrongKey {
    /// The key in the body.
    pub named: PublicKey,
    /// The key that was given.
    pub given: PublicKey,
}

impl<T: SignedBody> Signed<T> {
    /// Signs a body that speaks about a receipt.
    pub fn sign(body: T, receipt_id: &Digest, key: &SigningKey) -> Result<Self, WrongKey> {
        let (named, given) = (body.key(), key.public());
        if named != given {
            return Err(WrongKey { named, given });
        }
        let signature = key.sign(message::<T>(receipt_id, &body.encode()).as_bytes());
        Ok(Self { body, signature })
    }

    /// What is said.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// Verifies that the named key said this about this receipt.
    pub fn verify(&self, receipt_id: &Digest) -> Result<(), SignatureError> {
        let message = message::<T>(receipt_id, &self.body.encode());
        self.body.key().verify(message.as_bytes(), &self.signature)
    }

    fn write(&self, w: &mut Writer) {
        w.array(2).bytes(&self.body.encode()).bytes(&self.signature);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array(WHAT, 2, 2)?;
        let body = T::decode(r.bytes(WHAT, 1, MAX_SIGNED_BODY_BYTES)?)?;
        Ok(Self {
            body,
            signature: r.array_of(WHAT)?,
        })
    }
}

fn message<T: SignedBody>(receipt_id: &Digest, body: &[u8]) -> Digest {
    Digest::of(T::DOMAIN, &[receipt_id.as_bytes(), body])
}

impl SignedBody for Cosignature {
    const DOMAIN: &'static str = domain::EVIDENCE_SIGNATURE;

    fn key(&self) -> PublicKey {
        self.key
    }

    fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.put(1, |w| {
            w.bytes(self.key.as_bytes());
        });
        map.put(2, |w| {
            w.text(self.name.as_str());
        });
        map.put(3, |w| {
            w.uint(self.signed_at);
        });
        let mut w = Writer::new();
        map.finish(&mut w);
        w.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "signature evidence";
        let r = &mut Reader::new(bytes);
        let mut map = r.int_map(WHAT, 3)?;
        let (mut key, mut name, mut signed_at) = (None, None, None);
        while let Some(k) = map.next_key(r)? {
            match k {
                1 => key = Some(PublicKey::from_bytes(r.array_of(WHAT)?)),
                2 => name = Some(Label::read(r, WHAT)?),
                3 => signed_at = Some(r.uint(WHAT)?),
                other => return Err(map.unknown(other)),
            }
        }
        r.finish(WHAT)?;
        Ok(Self {
            key: map.require(1, key)?,
            name: map.require(2, name)?,
            signed_at: map.require(3, signed_at)?,
        })
    }
}

impl SignedBody for Replay {
    const DOMAIN: &'static str = domain::EVIDENCE_REPLAY;

    fn key(&self) -> PublicKey {
        self.key
    }

    fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.put(1, |w| {
            w.bytes(self.key.as_bytes());
        });
        map.put(2, |w| {
            w.text(self.name.as_str());
        });
        map.put(3, |w| {
            w.uint(self.replayed_at);
        });
        map.put(4, |w| {
            w.bytes(self.program.as_bytes());
        });
        map.put(5, |w| {
            w.bytes(self.output.as_bytes());
        });
        map.put(6, |w| self.engine.write(w));
        map.put(7, |w| {
            w.text(self.software.as_str());
        });
        map.put_some(8, self.trace_root, |w, root| {
            w.bytes(root.as_bytes());
        });
        let mut w = Writer::new();
        map.finish(&mut w);
        w.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "replay evidence";
        let r = &mut Reader::new(bytes);
        let mut map = r.int_map(WHAT, 8)?;
        let (mut key, mut name, mut replayed_at, mut program) = (None, None, None, None);
        let (mut output, mut engine, mut software, mut trace_root) = (None, None, None, None);
        while let Some(k) = map.next_key(r)? {
            match k {
                1 => key = Some(PublicKey::from_bytes(r.array_of(WHAT)?)),
                2 => name = Some(Label::read(r, WHAT)?),
                3 => replayed_at = Some(r.uint(WHAT)?),
                4 => program = Some(r.digest(WHAT)?),
                5 => output = Some(r.digest(WHAT)?),
                6 => engine = Some(Engine::read(r)?),
                7 => software = Some(Label::read(r, WHAT)?),
                8 => trace_root = Some(r.digest(WHAT)?),
                other => return Err(map.unknown(other)),
            }
        }
        r.finish(WHAT)?;
        Ok(Self {
            key: map.require(1, key)?,
            name: map.require(2, name)?,
            replayed_at: map.require(3, replayed_at)?,
            program: map.require(4, program)?,
            output: map.require(5, output)?,
            engine: map.require(6, engine)?,
            software: map.require(7, software)?,
            trace_root,
        })
    }
}

impl Body {
    /// The kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Signature(_) => Kind::Signature,
            Self::Replay(_) => Kind::Replay,
            Self::Attestation(_) => Kind::Attestation,
            Self::Proof(_) => Kind::Proof,
        }
    }
}

impl Kind {
    /// The kind's name, as appraisals print it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Replay => "replay",
            Self::Attestation => "attestation",
            Self::Proof => "proof",
        }
    }

    const fn code(self) -> u64 {
        match self {
            Self::Signature => 1,
            Self::Replay => 2,
            Self::Attestation => 3,
            Self::Proof => 4,
        }
    }
}

impl Evidence {
    /// A cosignature over a receipt.
    pub fn cosign(
        receipt_id: Digest,
        body: Cosignature,
        key: &SigningKey,
    ) -> Result<Self, WrongKey> {
        let signed = Signed::sign(body, &receipt_id, key)?;
        Ok(Self {
            statement: receipt_id,
            body: Body::Signature(signed),
        })
    }

    /// A replay of a receipt.
    pub fn replay(receipt_id: Digest, body: Replay, key: &SigningKey) -> Result<Self, WrongKey> {
        let signed = Signed::sign(body, &receipt_id, key)?;
        Ok(Self {
            statement: receipt_id,
            body: Body::Replay(signed),
        })
    }

    /// Deterministic CBOR: `[kind, receipt_id, body]`.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.write(&mut w);
        w.into_bytes()
    }

    /// Strict decoding of an item that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let evidence = Self::read(&mut r)?;
        r.finish(WHAT)?;
        Ok(evidence)
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.array(3)
            .uint(self.body.kind().code())
            .bytes(self.statement.as_bytes());
        match &self.body {
            Body::Signature(signed) => signed.write(w),
            Body::Replay(signed) => signed.write(w),
            Body::Attestation(attestation) => {
                w.array(3)
                    .text(attestation.media_type.as_str())
                    .bytes(&attestation.evidence);
                w.array(attestation.endorsements.len());
                for (media_type, bytes) in &attestation.endorsements {
                    w.array(2).text(media_type.as_str()).bytes(bytes);
                }
            }
            Body::Proof(proof) => proof.write(w),
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array(WHAT, 3, 3)?;
        let kind = r.uint(WHAT)?;
        let statement = r.digest(WHAT)?;
        let body = match kind {
            1 => Body::Signature(Signed::read(r)?),
            2 => Body::Replay(Signed::read(r)?),
            3 => Body::Attestation(read_attestation(r)?),
            4 => Body::Proof(Proof::read(r, &statement)?),
            _ => {
                return Err(DecodeError::Value {
                    what: WHAT,
                    reason: "a kind that this version does not know",
                });
            }
        };
        Ok(Self { statement, body })
    }
}

fn read_attestation(r: &mut Reader<'_>) -> Result<Attestation, DecodeError> {
    const WHAT: &str = "attestation evidence";
    r.array(WHAT, 3, 3)?;
    let media_type = Label::read(r, WHAT)?;
    let evidence = r.bytes(WHAT, 1, MAX_ATTESTATION_BYTES)?.to_vec();
    let mut endorsements = Vec::new();
    for _ in 0..r.array(WHAT, 0, MAX_ENDORSEMENTS)? {
        r.array(WHAT, 2, 2)?;
        let media_type = Label::read(r, WHAT)?;
        endorsements.push((
            media_type,
            r.bytes(WHAT, 1, MAX_ATTESTATION_BYTES)?.to_vec(),
        ));
    }
    Ok(Attestation {
        media_type,
        evidence,
        endorsements,
    })
}
