//! From checks to amounts to a verdict.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use carat_program::pinned::is_pinned_profile;
use carat_receipt::evidence::Kind;
use carat_receipt::{Amount, Execution};

use super::Work;
use crate::appraisal::{Appraisal, AssumptionSet, Verdict};
use crate::trust::Trust;

impl Work<'_> {
    pub(super) fn conclude(self) -> Appraisal {
        let currency = self.trust.map(|trust| trust.content().currency);
        let zero = currency.map(Amount::zero);
        let mut good_for = self.sets(zero);
        self.settle(&mut good_for);
        // All amounts are in the Trust file's currency: the file is refused otherwise.
        let best = good_for
            .iter()
            .filter_map(|set| set.amount)
            .max_by_key(Amount::micros);
        let (verdict, reason) = self.verdict(best);
        Appraisal {
            verdict,
            reason,
            exit_code: verdict.exit_code(),
            asked: self.question.amount,
            best,
            weakest_step: self.weakest_step(&good_for, best),
            not_proven: self.not_proven(),
            enough: self.enough(verdict),
            receipt: Some(self.summary()),
            trust: self.trust_used(),
            privacy: self.privacy(),
            good_for,
            checks: self.checks,
        }
    }

    fn sets(&self, zero: Option<Amount>) -> Vec<AssumptionSet> {
        let set = |rung: &str, amount, under: Vec<String>, reason: String| AssumptionSet {
            rung: rung.to_string(),
            amount,
            under,
            reason,
        };
        let statement = self.file.signed.statement();
        let issuer = self
            .trust
            .and_then(|trust| trust.issuer_of(&statement.issuer_key))
            .map_or(&statement.issuer, |(issuer, _)| &issuer.name);
        let mut sets = vec![match &statement.execution {
            Execution::Local => set(
                "signature",
                zero,
                vec![format!("honest:{issuer}")],
                "a signature alone is good for nothing: it costs its author nothing to sign a wrong answer".into(),
            ),
            Execution::Courier { upstream } => self.courier_set(zero, upstream),
        }];
        if self.question.own_replay.is_some() {
            let (amount, reason) = self.first_hand(zero);
            let under = ["own-machine", "implementation", "input:own"];
            sets.push(set(
                "first-hand",
                amount,
                under.iter().map(ToString::to_string).collect(),
                reason,
            ));
        }
        for (name, cap) in &self.audited {
            let (amount, reason) = self.audit(zero, *cap);
            let under = vec![
                format!("honest:{name}"),
                "implementation".into(),
                format!("input:{}", self.input_from),
            ];
            sets.push(set("replay", amount, under, reason));
        }
        sets.extend(self.sets_by_rule(zero));
        sets.extend(self.attestation_sets(zero));
        sets.extend(self.proof_sets(zero));
        for kind in [Kind::Proof] {
            if self
                .file
                .evidence()
                .iter()
                .any(|item| item.body.kind() == kind)
                && !sets.iter().any(|set| set.rung == kind.as_str())
            {
                let reason = "not appraised by this version".into();
                sets.push(set(kind.as_str(), zero, vec![], reason));
            }
        }
        sets
    }

    /// What stands in the way of every amount but a courier's own.
    pub(crate) fn block(&self) -> Option<String> {
        if !self.invalid.is_empty() {
            return Some("the receipt is invalid".into());
        }
        (self.blocks_all.first().cloned()).or_else(|| self.carries.clone())
    }

    pub(super) fn implementation_cap(&self) -> Option<Amount> {
        self.trust
            .map(Trust::content)
            .and_then(|content| content.implementation_cap)
    }

    fn first_hand(&self, zero: Option<Amount>) -> (Option<Amount>, String) {
        if let Some(block) = self.block() {
            return (zero, block);
        }
        if !self.replayed {
            return (
                zero,
                "your own replay was not compared: see the check own_replay".into(),
            );
        }
        match self.implementation_cap() {
            Some(cap) => (
                Some(cap),
                "the Trust file's cap for `implementation`: that this software is right".into(),
            ),
            None => (
                zero,
                "the Trust file gives no cap for `implementation`".into(),
            ),
        }
    }

    fn audit(&self, zero: Option<Amount>, cap: Amount) -> (Option<Amount>, String) {
        if let Some(block) = self.block().or_else(|| self.blocks_others.first().cloned()) {
            return (zero, block);
        }
        match self.implementation_cap() {
            None => (
                zero,
                "the Trust file gives no cap for `implementation`".into(),
            ),
            Some(implementation) if implementation.micros() < cap.micros() => (
                Some(implementation),
                "the Trust file's cap for `implementation`, which is below the auditor's".into(),
            ),
            Some(_) => (Some(cap), "the Trust file's cap for this auditor".into()),
        }
    }

    fn verdict(&self, best: Option<Amount>) -> (Verdict, String) {
        if let Some(reason) = self.invalid.first() {
            return (Verdict::Invalid, reason.clone());
        }
        if self.simulated {
            let reason = "valid, but attested by simulated hardware: use it for tests only";
            return (Verdict::Simulated, reason.into());
        }
        let statement = self.file.signed.statement();
        let Some(best) = best else {
            let reason = format!(
                "valid; signed by key {} of \"{}\", and nothing vouches for it",
                statement.issuer_key, statement.issuer
            );
            return (Verdict::Insufficient, reason);
        };
        match self.question.amount {
            // A receipt that is good for nothing is not good for zero: nothing vouches for it.
            Some(asked) if !best.is_zero() && best.micros() >= asked.micros() => {
                (Verdict::Good, format!("good for {asked}: up to {best}"))
            }
            Some(asked) if !best.is_zero() => (
                Verdict::Insufficient,
                format!("valid, but good for {best} and not for {asked}"),
            ),
            None if !best.is_zero() => (Verdict::Good, format!("good for {best}")),
            _ if self.is_unseen() && self.is_proven() => {
                let reason = format!(
                    "valid, and proven of values that you have not seen: good for {best} before the opening shows them"
                );
                (Verdict::Insufficient, reason)
            }
            _ => (
                Verdict::Insufficient,
                format!("valid, but good for {best}: nothing vouches for it"),
            ),
        }
    }

    fn weakest_step(&self, sets: &[AssumptionSet], best: Option<Amount>) -> String {
        let statement = self.file.signed.statement();
        if let Some(edge) = self.weakest_edge() {
            return edge;
        }
        if let Some(edge) = statement.optional.relies_on.first() {
            return format!(
                "the receipt {} that this one rests on, which was not appraised",
                edge.receipt
            );
        }
        match best
            .filter(|best| !best.is_zero())
            .and_then(|best| sets.iter().find(|set| set.amount == Some(best)))
        {
            Some(set) => format!("{}: {}", set.rung, set.reason),
            None => "the issuer's word".into(),
        }
    }

    fn not_proven(&self) -> Vec<String> {
        let statement = self.file.signed.statement();
        let mut list: Vec<String> = Vec::new();
        if !self.replayed && !self.is_proven() {
            list.push("that the program was run at all: this rests on what others say".into());
        }
        if !self.replayed && self.is_of_hidden_weights() {
            list.push(
                "that the hidden weights under the proof's key are those whose hashes the program holds: for you the key is the \
                 model, and which weights it hides is its publisher's word"
                    .into(),
            );
        }
        if self.is_unseen() {
            list.push(
                "what the answer is: input and output stayed hidden, and an answer that you were told is tied to nothing here"
                    .into(),
            );
            list.push(
                "that the io/v1 commitment, which the proof is about, holds the values of the salted hashes: whoever has the \
                 opening can check that"
                    .into(),
            );
        }
        if let Execution::Courier { upstream } = &statement.execution {
            list.push(format!(
                "that {upstream} gave this answer, or was asked: that is the issuer's word"
            ));
            list.push(format!("that {upstream} ran this model, or any"));
        }
        if is_pinned_profile(statement.engine.numerics.as_str()) {
            list.push(format!(
                "that every machine computes the same bits under {}: that is tested, and not so by construction",
                statement.engine.numerics
            ));
        }
        list.extend(
            [
                "that the model is right, safe, or faithful to the float model that it was compiled from",
                "that the input is true, or where it came from",
                "when it was computed: the time is the issuer's own claim",
                "that anybody pays if the answer is wrong: amounts are deterrence, not insurance",
            ]
            .map(String::from),
        );
        list
    }

    /// What would be enough for the amount asked, or for more than now.
    fn enough(&self, verdict: Verdict) -> Vec<String> {
        if verdict == Verdict::Good {
            return Vec::new();
        }
        if !self.invalid.is_empty() {
            return vec!["an undamaged receipt that answers your question".into()];
        }
        let mut list = Vec::new();
        if self.is_unseen() {
            list.push(
                "the opening, which says what the answer is and ties the proof to it: the same again with --open FILE.carat-open"
                    .into(),
            );
        }
        if self.trust.is_none() {
            list.push("a Trust file of yours, signed by your key: carat trust new".into());
        }
        if let Execution::Courier { upstream } = &self.file.signed.statement().execution {
            list.extend(self.courier_enough(upstream));
        } else if self.blocks_all.is_empty() || self.trust.is_none() {
            if !self.replayed {
                let worth = match self.implementation_cap() {
                    Some(cap) => format!("good for up to {cap}"),
                    None => "good for up to the Trust file's cap for `implementation`".into(),
                };
                list.push(format!(
                    "your own replay, with the opening: carat verify FILE --replay MODEL --input FILE ({worth})"
                ));
            } else if let Some(cap) = self.implementation_cap() {
                list.push(format!(
                    "a higher cap for `implementation` in the Trust file, which is now {cap}"
                ));
            }
            let auditors = self
                .trust
                .map_or(&[][..], |trust| &trust.content().auditors);
            list.extend(
                auditors
                    .iter()
                    .filter(|auditor| !self.audited.iter().any(|(name, _)| **name == auditor.name))
                    .map(|auditor| {
                        format!(
                            "a replay by the auditor {}: up to {}",
                            auditor.name, auditor.cap
                        )
                    }),
            );
            list.extend(
                self.blocks_others
                    .iter()
                    .map(|block| format!("to resolve: {block}")),
            );
        } else {
            list.extend(
                self.blocks_all
                    .iter()
                    .map(|block| format!("to resolve: {block}")),
            );
        }
        list
    }
}
