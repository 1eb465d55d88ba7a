//! What the proofs of a receipt keep from whoever has the receipt and not its opening.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use carat_receipt::evidence::{Body, Proof};
use carat_zk::{Mode, Profile};

use super::Work;
use super::proof::mode;
use crate::appraisal::Privacy;

/// Most proofs about one `io/v1` commitment whose leaves, taken together, still show nothing (`docs/io-commitment.md`).
pub const MAX_PRIVATE_PROOFS: usize = 3;

impl Work<'_> {
    /// What stayed hidden, where a proof in zero knowledge verified. The file counts as a whole: what one of its proofs shows
    /// is not hidden, whatever another one hides. A proof that was not checked is of a mode by its label alone, so nothing
    /// between input and output is said to be hidden beside one.
    pub(super) fn privacy(&self) -> Option<Privacy> {
        if !(self.proofs.iter()).any(|proof| matches!(proof.mode, Mode::Zk(_))) {
            return None;
        }
        let bodies: Vec<&Proof> = (self.file.evidence().iter())
            .filter_map(|item| match &item.body {
                Body::Proof(body) => Some(body),
                _ => None,
            })
            .collect();
        let modes: Vec<Option<Mode>> = bodies.iter().map(|body| mode(body)).collect();
        let zk = |mode: &Option<Mode>| matches!(mode, Some(Mode::Zk(_)));
        let private = |mode: &Option<Mode>| mode.is_some_and(|mode| mode.hidden().values);
        let checked = modes.len() == self.proofs.len();
        let between = modes.iter().all(zk) && checked;
        let count = modes.iter().filter(|mode| private(mode)).count();
        let values = modes.iter().all(private) && checked && count <= MAX_PRIVATE_PROOFS;

        let mut hidden = Vec::new();
        let mut shown: Vec<String> = Vec::new();
        if between {
            hidden.push("intermediate values".to_string());
        } else if modes.iter().all(zk) {
            shown.push(
                "perhaps functions of everything between input and output: another proof in this file, which was not checked, is \
                 in zero knowledge by its label only"
                    .into(),
            );
        } else {
            shown.push(
                "functions of everything between input and output: another proof in this file is not in zero knowledge".into(),
            );
        }
        if values {
            hidden.push("input and output".to_string());
        } else if count > MAX_PRIVATE_PROOFS {
            shown.push(format!(
                "parts of input and output: {count} proofs are tied to one io/v1 commitment, and only {MAX_PRIVATE_PROOFS} may be"
            ));
        } else {
            shown.push(
                "input and output, as far as a proof that is checked against them shows of them"
                    .into(),
            );
        }
        let of_weights = |mode: &Option<Mode>| mode.is_some_and(|mode| mode.hidden().weights);
        let weights = checked && modes.iter().all(of_weights);
        match self.overspent(&bodies) {
            Some((count, budget)) if weights => shown.push(format!(
                "parts of the weights: {count} proofs are under one key that hides them, and only {budget} may ever be made"
            )),
            None if weights => hidden.push("the weights".to_string()),
            _ if modes.iter().any(of_weights) => shown.push(
                "functions of the weights: another proof in this file does not hide them, or was not checked".into(),
            ),
            _ => shown.push("functions of the weights: they are committed to, not hidden".into()),
        }
        if self.file.program.is_some() {
            shown.push(
                "the program without its weights: its steps, all shapes and ranges, and plain hashes of the weights, by which a \
                 guess of them can be confirmed"
                    .into(),
            );
        }
        shown.push("the sizes of input and output, which follow from the program".into());
        let usage = self.file.signed.statement().optional.usage.as_ref();
        if usage.is_some_and(|usage| usage.wall_micros.is_some()) {
            shown.push("how long the run took, as the issuer states it".into());
        }
        shown.push("the model, the issuer and the time that the Statement names".into());
        Some(Privacy { hidden, shown })
    }

    /// Where one key that hides weights has more proofs in this file than may ever be made under it: how many, and how many
    /// may. The registration counts as one.
    fn overspent(&self, bodies: &[&Proof]) -> Option<(usize, u32)> {
        let program = self.proof_program()?;
        let hides = |body: &Proof| mode(body).is_some_and(|mode| mode.hidden().weights);
        bodies.iter().filter(|body| hides(body)).find_map(|body| {
            let profile = Profile::named(body.profile.as_str())?;
            let budget = carat_zk::hidden_weights_budget(&program, profile).ok()?;
            let same = |other: &&&Proof| hides(other) && other.weights_root == body.weights_root;
            let count = bodies.iter().filter(same).count() + 1;
            (count > budget as usize).then_some((count, budget))
        })
    }
}
