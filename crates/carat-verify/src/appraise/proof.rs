//! Proof evidence: verified here, under a key that somebody other than the receipt's issuer vouches for.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use carat_program::{Program, decode_tensors};
use carat_receipt::Amount;
use carat_receipt::evidence::{Body, Proof};
use carat_zk::pcs::Root;
use carat_zk::{Instance, Ledger, Mode, ModelKey, Profile, Values};

use super::Work;
use crate::appraisal::{AssumptionSet, Outcome};

/// The protocol that this version verifies.
pub(crate) const PROTOCOL: &str = "carat/zk/v1";
/// Its mode: sound and short, and nothing is hidden beyond what its size hides.
pub(crate) const MODE: &str = "succinct";

/// A proof that verified.
pub(super) struct Proven {
    /// Who says that its commitment holds the model's weights.
    key: Vouched,
    /// Statements that it covers.
    statements: usize,
    /// Bits of soundness, rounded down.
    bits: u64,
}

/// Who says that a commitment root holds the weights of a Program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vouched {
    /// The relying party computed it from the model.
    Recomputed,
    /// The Trust file lists the key.
    Trust,
    /// Nobody but whoever made the proof.
    Publisher,
}

impl Work<'_> {
    /// Verifies a proof. One that does not hold makes the file invalid: nobody attaches one by accident.
    pub(super) fn proof(&mut self, name: String, body: &Proof) {
        let known = body.protocol.as_str() == PROTOCOL && body.mode.as_str() == MODE;
        let profile = Profile::ALL
            .into_iter()
            .find(|p| p.name() == body.profile.as_str());
        let (true, Some(profile)) = (known, profile) else {
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
        let own = (self.question.model_keys.iter())
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
        let opened = self
            .checks
            .iter()
            .any(|c| c.name == "opening" && c.outcome == Outcome::Pass);
        let Some(opening) = self.question.opening.filter(|_| opened) else {
            let reason = "checking a proof of this mode needs the opening (the .carat-open file): input and output";
            self.not_made(name, reason);
            return;
        };
        let (Ok(inputs), Ok(outputs)) = (
            decode_tensors(&opening.input.bytes),
            decode_tensors(&opening.output.bytes),
        ) else {
            self.refuse(name, "the values in the opening are no tensors");
            return;
        };
        let id = self.receipt_id;
        let instances: Vec<Instance<'_>> = (body.statements.iter())
            .map(|&statement| Instance {
                statement,
                values: (statement == id).then_some(Values {
                    inputs: &inputs,
                    outputs: &outputs,
                }),
                io: None,
            })
            .collect();
        let ledger = match Ledger::new(&program, profile, instances.len()) {
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
        if let Err(error) =
            carat_zk::verify(&program, &key, profile, Mode::Succinct, &instances, &proof)
        {
            return self.refuse(name, error.to_string());
        }
        let slot = body.slot(&id).map_or(0, |slot| slot + 1);
        let place = format!("statement {slot} of {} in the proof", instances.len());
        let digest = key.digest();
        let shown = |who: &str| {
            format!(
                "the program gives this output for this input: {bits} bits, {place}; under model key {}, {who}",
                digest.short()
            )
        };
        let reason = match vouched {
            Vouched::Recomputed => shown("which you recomputed from the model"),
            Vouched::Trust => shown("which the Trust file vouches for"),
            // The bits rest on a commitment that somebody has computed from weights.
            Vouched::Publisher => format!(
                "it fits this input and output, {place}, but shows nothing by itself: nobody vouches for its model key \
                 {} but its maker",
                digest.short()
            ),
        };
        self.pass(name, reason);
        self.proofs.push(Proven {
            key: vouched,
            statements: instances.len(),
            bits,
        });
    }

    /// A Statement's hiding commitment to input and output holds what its salted hashes hold.
    pub(super) fn io_commitment(&mut self) {
        let Some(io) = &self.file.signed.statement().optional.io_commitment else {
            return;
        };
        const NAME: &str = "io_commitment";
        if io.scheme.as_str() != carat_zk::io::SCHEME {
            let reason = format!(
                "made by the scheme {}, which this version does not know",
                io.scheme
            );
            return self.not_made(NAME, reason);
        }
        let opened = self
            .checks
            .iter()
            .any(|c| c.name == "opening" && c.outcome == Outcome::Pass);
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
    fn proof_program(&self) -> Option<Program> {
        let program = Program::decode(self.file.program.as_deref()?).ok()?;
        (program.digest() == self.file.signed.statement().program).then_some(program)
    }

    /// The assumption sets of the proofs that verified.
    pub(super) fn proof_sets(&self, zero: Option<Amount>) -> Vec<AssumptionSet> {
        let mut sets = Vec::new();
        let mut seen: Vec<Vouched> = Vec::new();
        for proof in &self.proofs {
            if seen.contains(&proof.key) {
                continue;
            }
            seen.push(proof.key);
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
        let block = self
            .block()
            .or_else(|| missing("model_accepted"))
            .or_else(|| missing("question_matched"))
            .or_else(|| missing("time"))
            .or_else(stale)
            .or_else(|| self.contradicted());
        if let Some(block) = block {
            return (zero, block);
        }
        if proof.key == Vouched::Publisher {
            let reason = "nobody but its maker vouches that the proof's key holds this model's weights: give the model \
                          (--model), or list the key in the Trust file";
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
                     this statement{others}",
                    proof.bits
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

    /// Whether a proof shows that the Program gives this output.
    pub(super) fn is_proven(&self) -> bool {
        self.proofs.iter().any(|p| p.key != Vouched::Publisher)
    }
}
