//! What the parts of an opening observe of themselves before they begin: `docs/protocol-whir.md`, section 3.

use super::Config;
use crate::field::{E, F};
use p3_challenger::{
    CanObserve,
    fs::{DomainSeparator, FieldUnit, Hierarchy, Interaction, InteractionPattern, Kind, Length},
};
use p3_sumcheck::{strategy::Basis, transcript::SumcheckShape};
use p3_whir::WhirShape;

/// A description, as the elements that are observed.
pub(super) type Seed = Vec<F>;

/// The descriptions of all parts of an opening of one size. They cost as much as a small transform, so they are made once.
pub(super) struct Seeds {
    pub(super) sample: Seed,
    pub(super) claim: Seed,
    pub(super) whir: Seed,
    pub(super) batching: Seed,
    /// Of each batch of rounds, the closing one included.
    pub(super) sumchecks: Vec<Seed>,
}

/// Keeps what is observed.
struct Recorder(Vec<F>);

impl CanObserve<F> for Recorder {
    fn observe(&mut self, value: F) {
        self.0.push(value);
    }
}

fn seed(separator: &DomainSeparator<FieldUnit<F>>) -> Seed {
    let mut recorder = Recorder(Vec::new());
    separator.seed(&mut recorder);
    recorder.0
}

/// A part whose label is the layout of the one polynomial, and some integers.
fn layout(n: usize, name: &str, steps: Vec<Interaction>, more: &[usize]) -> Seed {
    let pattern = InteractionPattern::new(steps).expect("steps without nesting are well formed");
    let mut separator = DomainSeparator::new(1, name.as_bytes(), pattern);
    let integer = |v: usize| (v as u64).to_be_bytes();
    separator.instance(&integer(n));
    separator.instance(&[1]).instance(&[0]);
    for v in [1, n, 1].iter().chain(more) {
        separator.instance(&integer(*v));
    }
    seed(&separator)
}

fn step(kind: Kind, label: &'static str, length: Length) -> Interaction {
    Interaction::algebra::<F, E>(Hierarchy::Atomic, kind, label, length)
}

fn sumcheck(rounds: usize, work: usize) -> Seed {
    let shape = SumcheckShape::new(rounds, work, Basis::Evaluation);
    seed(&shape.domain_separator::<F, E>())
}

impl Seeds {
    pub(super) fn new(n: usize, config: &Config) -> Self {
        let samples = config.commitment_ood_samples();
        let (challenge, message) = (Kind::Challenge, Kind::Message);
        let first = (
            config.round_folding_factor(0),
            config.starting_folding_pow_bits(),
        );
        let rounds = config.round_parameters().iter().enumerate();
        let rounds = rounds.map(|(i, r)| (config.round_folding_factor(i + 1), r.folding_pow_bits));
        let last = (
            config.final_sumcheck_rounds(),
            config.final_folding_pow_bits(),
        );
        let batches = core::iter::once(first).chain(rounds).chain([last]);
        Self {
            sample: layout(
                n,
                "p3-sumcheck-layout-ood",
                vec![
                    step(challenge, "virtual_point", Length::Scalar),
                    step(message, "virtual_eval", Length::Scalar),
                ],
                &[],
            ),
            claim: layout(
                n,
                "p3-sumcheck-layout-opening",
                vec![step(message, "current_evals", Length::Fixed(1))],
                &[0, n, 1, 0, 0],
            ),
            whir: seed(&WhirShape::new(config, 1).domain_separator::<F, E>()),
            batching: layout(
                n,
                "p3-sumcheck-layout-batching",
                vec![step(challenge, "batching", Length::Scalar)],
                &[1, samples],
            ),
            sumchecks: batches
                .map(|(rounds, work)| sumcheck(rounds, work))
                .collect(),
        }
    }
}
