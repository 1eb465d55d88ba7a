//! Proof evidence: verified here, under a key that somebody other than the receipt's issuer vouches for.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use carat_program::{Program, Tensor, decode_tensors};
use carat_receipt::evidence::{Body, Proof, SUCCINCT, ZK, ZK_PROTOCOL};
use carat_receipt::{Amount, Digest};
use carat_zk::pcs::Root;
use carat_zk::{Hidden, Instance, Ledger, Mode, ModelKey, Profile, Values};

use super::Work;
use crate::appraisal::{AssumptionSet, Outcome};

/// A proof that verified.
pub(super) struct Proven {
    /// Who says that its commitment holds the model's weights.
    key: Vouched,
    /// Statements that it covers.
    statements: usize,
    /// Bits of soundness, rounded down.
    bits: u64,
    /// What it lets be seen.
    pub(super) mode: Mode,
    /// The relying party has the input and output that it is about.
    seen: bool,
}

/// Who says that a commitment root holds the weights of a Program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vouched {
    /// The relying party computed it from the model.
    Recomputed,
    /// The Trust file lists the key. Of one that hides the weights its owner has checked the registration, and takes the
    /// publisher's word for which weights they are.
    Trust,
    /// Nobody but whoever made the proof.
    Publisher,
}

/// The mode that evidence names, of the protocol that this version verifies.
pub(super) fn mode(body: &Proof) -> Option<Mode> {
    if body.protocol.as_str() != ZK_PROTOCOL {
        return None;
    }
    let (values, weights) = (body.hides.values, body.hides.weights);
    match body.mode.as_str() {
        SUCCINCT if body.hides.is_nothing() => Some(Mode::Succinct),
        ZK => Some(Mode::Zk(Hidden { values, weights })),
        _ => None,
    }
}

/// The check of a Statement's commitment to input and output.
const IO_COMMITMENT: &str = "io_commitment";

/// What a proof is checked against besides the model.
enum About {
    /// Input and output, from the opening.
    Values(Vec<Tensor>, Vec<Tensor>),
    /// Those under the Statement's `io/v1` commitment; `true` where an opening was compared with it.
    Committed(Digest, bool),
}

impl Work<'_> {
    /// Verifies a proof. One that does not hold makes the file invalid: nobody attaches one by accident.
    pub(super) fn proof(&mut self, name: String, body: &Proof) {
        let profile = Profile::named(body.profile.as_str());
        let (Some(mode), Some(profile)) = (mode(body), profile) else {
            let reason = format!(
                "a proof by {}, mode {}, profile {}, which this version does not verify: it adds nothing",
                body.protocol, body.mode, body.profile
            );
            self.not_made(name, reason);
            return;
        };
        let statement = self.file.signed.statement();
        let key = ModelKey {
            program: statement.program,
            profile,
            root: Root(*body.weights_root.as_bytes()),
        };
        // What was computed from the model is a commitment that hides nothing: of one that hides it says nothing.
        let own = (self.question.model_keys.iter())
            .filter(|_| !mode.hidden().weights)
            .find(|own| own.profile == profile && own.program == key.program);
        let vouched = match own {
            Some(own) if own.root == key.root => Vouched::Recomputed,
            Some(_) => {
                let reason =
                    "the proof is about other weights than those of the model that you gave";
                self.refuse(name, reason);
                return;
            }
            None if self.listed(&key) => Vouched::Trust,
            None => Vouched::Publisher,
        };
        let Some(program) = self.proof_program() else {
            let reason =
                "checking a proof needs the Program, which the file does not carry in good order";
            self.not_made(name, reason);
            return;
        };
        let id = self.receipt_id;
        // A proof that hides values covers one Statement: of another the commitment is not known here. Decoding refuses
        // this; the verdict does not rest on that.
        if mode.hidden().values && body.statements != [id] {
            let reason =
                "a proof that hides input and output must be about this receipt and no other";
            return self.refuse(name, reason);
        }
        let about = match self.about(mode) {
            Ok(about) => about,
            Err((Outcome::Fail, reason)) => return self.refuse(name, reason),
            Err((_, reason)) => return self.not_made(name, reason),
        };
        let instances: Vec<Instance<'_>> = (body.statements.iter())
            .map(|&statement| {
                let mut instance = Instance {
                    statement,
                    values: None,
                    io: None,
                };
                match &about {
                    About::Values(inputs, outputs) if statement == id => {
                        instance.values = Some(Values { inputs, outputs });
                    }
                    About::Values(..) => {}
                    About::Committed(root, _) => instance.io = Some(*root),
                }
                instance
            })
            .collect();
        let ledger = match Ledger::new(&program, profile, mode, instances.len()) {
            Ok(ledger) => ledger,
            Err(error) => return self.refuse(name, error.to_string()),
        };
        let bits = ledger.bits as u64;
        if body.bits != bits {
            let reason = format!(
                "the proof states {} bits of soundness; its argument has {bits}",
                body.bits
            );
            return self.refuse(name, reason);
        }
        let proof = carat_zk::Proof {
            bytes: body.proof.clone(),
        };
        if let Err(error) = carat_zk::verify(&program, &key, profile, mode, &instances, &proof) {
            return self.refuse(name, error.to_string());
        }
        let proven = Proven {
            key: vouched,
            statements: instances.len(),
            bits,
            mode,
            seen: !matches!(about, About::Committed(_, false)),
        };
        let slot = body.slot(&id).map_or(0, |slot| slot + 1);
        self.pass(name, proven.shows(&key.digest(), slot));
        self.proofs.push(proven);
    }

    /// What a proof of a mode is to be checked against, or why it cannot be.
    fn about(&self, mode: Mode) -> Result<About, (Outcome, &'static str)> {
        if mode.hidden().values {
            let optional = &self.file.signed.statement().optional;
            let tied = (optional.io_commitment.as_ref())
                .filter(|io| io.scheme.as_str() == carat_zk::io::SCHEME);
            let Some(io) = tied else {
                let reason = "a proof that hides input and output, and the Statement has no io/v1 commitment that would \
                              say which";
                return Err((Outcome::Fail, reason));
            };
            return match self.outcome(IO_COMMITMENT) {
                Some(Outcome::Fail) => {
                    let reason = "the io/v1 commitment that the proof is about holds other values than the opening";
                    Err((Outcome::Fail, reason))
                }
                outcome => Ok(About::Committed(io.root, outcome == Some(Outcome::Pass))),
            };
        }
        let opened = self.outcome("opening") == Some(Outcome::Pass);
        let Some(opening) = self.question.opening.filter(|_| opened) else {
            let reason = "checking a proof of this mode needs the opening (the .carat-open file): input and output";
            return Err((Outcome::NotMade, reason));
        };
        match (
            decode_tensors(&opening.input.bytes),
            decode_tensors(&opening.output.bytes),
        ) {
            (Ok(inputs), Ok(outputs)) => Ok(About::Values(inputs, outputs)),
            _ => Err((Outcome::Fail, "the values in the opening are no tensors")),
        }
    }

    /// The outcome of an earlier check.
    fn outcome(&self, name: &str) -> Option<Outcome> {
        (self.checks.iter())
            .find(|check| check.name == name)
            .map(|check| check.outcome)
    }

    /// A Statement's hiding commitment to input and output holds what its salted hashes hold.
    pub(super) fn io_commitment(&mut self) {
        let Some(io) = &self.file.signed.statement().optional.io_commitment else {
            return;
        };
        const NAME: &str = IO_COMMITMENT;
        if io.scheme.as_str() != carat_zk::io::SCHEME {
            let reason = format!(
                "made by the scheme {}, which this version does not know",
                io.scheme
            );
            return self.not_made(NAME, reason);
        }
        let opened = self.outcome("opening") == Some(Outcome::Pass);
        let (Some(opening), Some(program)) = (
            self.question.opening.filter(|_| opened),
            self.proof_program(),
        ) else {
            return self.not_made(NAME, "comparing it needs the opening and the Program");
        };
        let (Ok(inputs), Ok(outputs)) = (
            decode_tensors(&opening.input.bytes),
            decode_tensors(&opening.output.bytes),
        ) else {
            return self.refuse(NAME, "the values in the opening are no tensors");
        };
        let seed = carat_zk::io::Seed::from_salts(&opening.input.salt, &opening.output.salt);
        let values = Values {
            inputs: &inputs,
            outputs: &outputs,
        };
        match carat_zk::io::check(&program, &values, &seed, &io.root) {
            Ok(()) => self.pass(NAME, "it holds the input and output of the opening"),
            Err(error) => self.refuse(NAME, error.to_string()),
        }
    }

    /// Whether the Trust file lists a key beside the model that it accepts.
    fn listed(&self, key: &ModelKey) -> bool {
        self.trust
            .and_then(|trust| trust.model(&key.program))
            .is_some_and(|model| model.proof_keys.contains(&key.digest()))
    }

    /// The Program of the file, where it is the one that the Statement names.
    pub(super) fn proof_program(&self) -> Option<Program> {
        let program = Program::decode(self.file.program.as_deref()?).ok()?;
        (program.digest() == self.file.signed.statement().program).then_some(program)
    }

    /// The assumption sets of the proofs that verified.
    pub(super) fn proof_sets(&self, zero: Option<Amount>) -> Vec<AssumptionSet> {
        let mut sets = Vec::new();
        let mut listed: Vec<(Vouched, bool, bool)> = Vec::new();
        for proof in &self.proofs {
            let kind = (proof.key, proof.seen, proof.mode.hidden().weights);
            if listed.contains(&kind) {
                continue;
            }
            listed.push(kind);
            let (amount, reason) = self.proof_amount(zero, proof);
            let mut under = vec!["math".to_string(), "implementation".to_string()];
            if proof.key == Vouched::Publisher {
                under.push("publisher".into());
            }
            under.push(format!("input:{}", self.input_from));
            sets.push(AssumptionSet {
                rung: "proof".into(),
                amount,
                under,
                reason,
            });
        }
        sets
    }

    /// A proof rests on nobody's word, so neither the audience nor the issuer's key matter; what it is about does.
    fn proof_amount(&self, zero: Option<Amount>, proof: &Proven) -> (Option<Amount>, String) {
        let missing = |name: &str| {
            (self.checks.iter())
                .find(|check| check.name == name && check.outcome != Outcome::Pass)
                .map(|check| check.reason.clone())
        };
        let stale = || {
            self.question
                .model
                .is_none()
                .then(|| missing("trust_fresh"))
                .flatten()
        };
        let unseen = || {
            (!proof.seen).then(|| {
                "the proof is about the input and output under the receipt's io/v1 commitment, and you have not seen them: \
                 before the opening is there, no answer that you were told is tied to it"
                    .to_string()
            })
        };
        let block = self
            .block()
            .or_else(unseen)
            .or_else(|| missing("model_accepted"))
            .or_else(|| missing("question_matched"))
            .or_else(|| missing("time"))
            .or_else(stale)
            .or_else(|| self.contradicted());
        if let Some(block) = block {
            return (zero, block);
        }
        let hides = proof.mode.hidden().weights;
        if proof.key == Vouched::Publisher {
            let reason = if hides {
                "nobody but its maker vouches for the proof's key, which hides the weights, so that the model does not help: \
                 check the key's registration, and list it in the Trust file (carat trust add FILE registration NAME \
                 KEY.carat-registration)"
            } else {
                "nobody but its maker vouches that the proof's key holds this model's weights: give the model (--model), or \
                 list the key in the Trust file"
            };
            return (zero, reason.into());
        }
        match self.implementation_cap() {
            Some(cap) => {
                let others = match proof.statements {
                    1 => String::new(),
                    n => format!(" and {} other statements", n - 1),
                };
                let reason = format!(
                    "the Trust file's cap for `implementation`: that this software is right; a proof of {} bits covers \
                     this statement{others}{}",
                    proof.bits,
                    if hides {
                        "; that the hidden weights under its key are the model that you mean is its publisher's word, which \
                         the Trust file takes"
                    } else {
                        ""
                    }
                );
                (Some(cap), reason)
            }
            None => (
                zero,
                "the Trust file gives no cap for `implementation`".into(),
            ),
        }
    }

    /// A named auditor's other result beside a proof: one of the two is a fault, and which one is not for us to say.
    fn contradicted(&self) -> Option<String> {
        let statement = self.file.signed.statement();
        let trust = self.trust?;
        self.file.evidence().iter().find_map(|item| {
            let Body::Replay(signed) = &item.body else {
                return None;
            };
            let body = signed.body();
            let other = body.program == statement.program
                && body.engine == statement.engine
                && body.output != statement.output;
            let auditor = trust.auditor(&body.key).filter(|_| other)?;
            Some(format!(
                "the auditor {} got something else; settle that with a replay of your own",
                auditor.name
            ))
        })
    }

    /// Whether a proof shows that the Program gives the output that the Statement commits to.
    pub(super) fn is_proven(&self) -> bool {
        self.proofs.iter().any(|p| p.key != Vouched::Publisher)
    }

    /// Whether what is proven rests on a key that hides the weights, and on no other.
    pub(super) fn is_of_hidden_weights(&self) -> bool {
        let mut vouched = (self.proofs.iter())
            .filter(|proof| proof.key != Vouched::Publisher)
            .peekable();
        vouched.peek().is_some() && vouched.all(|proof| proof.mode.hidden().weights)
    }

    /// Whether there are proofs, and all of them are about values that the relying party has not seen.
    pub(super) fn is_unseen(&self) -> bool {
        !self.proofs.is_empty() && self.proofs.iter().all(|proof| !proof.seen)
    }
}

impl Proven {
    /// What it shows, in a sentence.
    fn shows(&self, key: &Digest, slot: usize) -> String {
        let place = format!("statement {slot} of {} in the proof", self.statements);
        let bits = self.bits;
        let about = match (self.mode, self.seen) {
            (Mode::Succinct, _) => "the program gives this output for this input",
            (Mode::Zk(_), true) => {
                "in zero knowledge, the program gives this output for this input"
            }
            (Mode::Zk(_), false) => {
                "in zero knowledge, the program gives the output under the receipt's io/v1 commitment for the input under \
                 it; both stayed hidden, so this is about no answer that you were told"
            }
        };
        let hides = if self.mode.hidden().weights {
            "which hides the weights, and which "
        } else {
            "which "
        };
        let shown = |who: &str| {
            format!(
                "{about}: {bits} bits, {place}; under model key {}, {hides}{who}",
                key.short()
            )
        };
        match self.key {
            Vouched::Recomputed => shown("you recomputed from the model"),
            Vouched::Trust => shown("the Trust file vouches for"),
            // The bits rest on a commitment that somebody has computed from weights.
            Vouched::Publisher => {
                let fits = if self.seen {
                    "this input and output"
                } else {
                    "the receipt's io/v1 commitment"
                };
                format!(
                    "it fits {fits}, {place}, but shows nothing by itself: nobody vouches for its model key {} but its \
                     maker",
                    key.short()
                )
            }
        }
    }
}
