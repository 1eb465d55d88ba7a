//! The error terms of an opening.

use super::whir::Config;
use alloc::vec::Vec;
use p3_field::Field;
use p3_whir::SecurityAssumption;

/// One source of error of an opening.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// What can go wrong.
    pub name: &'static str,
    /// How often the term occurs in one opening.
    pub count: u32,
    /// `-log2` of the probability of one occurrence, without the proof of work.
    pub bits: f64,
    /// Bits of proof of work that a prover must repeat for every attempt at this term.
    pub grinding: u32,
}

/// What an opening is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Security {
    /// All terms. Empty for the direct form, which has no error besides a collision of the hash.
    pub terms: Vec<Term>,
    /// `log2` of the number of polynomials that a commitment may stand for until it is opened.
    ///
    /// Each challenge that a surrounding argument draws between commitment and opening is charged once for each of
    /// them: subtract this from the bits of those terms.
    pub candidates_bits: f64,
}

impl Security {
    pub(super) fn exact() -> Self {
        Self {
            terms: Vec::new(),
            candidates_bits: 0.0,
        }
    }

    /// `-log2` of the sum of all terms; infinite for the direct form.
    #[must_use]
    pub fn bits(&self) -> f64 {
        let weakest = self
            .terms
            .iter()
            .map(|t| t.bits + f64::from(t.grinding))
            .fold(f64::INFINITY, f64::min);
        if weakest == f64::INFINITY {
            return weakest;
        }
        let sum: f64 = self
            .terms
            .iter()
            .map(|t| f64::from(t.count) * libm::exp2(weakest - t.bits - f64::from(t.grinding)))
            .sum();
        weakest - libm::log2(sum)
    }

    /// The terms of a configuration with one opened point, under the formulas of `p3-security`.
    pub(super) fn of(config: &Config) -> Self {
        let assumption = config.soundness_type;
        // Bits of the field, rounded down.
        let field = crate::field::E::bits() - 1;
        let mut terms = Vec::new();
        let mut term = |name, count: usize, bits, grinding: usize| {
            if count > 0 {
                terms.push(Term {
                    name,
                    count: count as u32,
                    bits,
                    grinding: grinding as u32,
                });
            }
        };
        let claims = 1 + config.commitment_ood_samples();
        if claims > 1 {
            term(
                "combination of claims",
                1,
                config.initial_claims_error(claims),
                0,
            );
        }
        let mut n = config.num_variables();
        let mut rate = config.starting_log_inv_rate;
        let mut samples = config.commitment_ood_samples();
        let mut grinding = config.starting_folding_pow_bits();
        for (i, &folds) in config.folding_schedule().iter().enumerate() {
            if assumption != SecurityAssumption::UniqueDecoding {
                term(
                    "out of domain",
                    1,
                    assumption.ood_error(n, rate, field, samples),
                    0,
                );
            }
            let reserve = f64::from(u8::from(assumption == SecurityAssumption::JohnsonBound));
            term(
                "correlated agreement",
                folds,
                assumption.prox_gaps_error(n, rate, field, 2) - reserve,
                grinding,
            );
            term(
                "fold",
                folds,
                assumption.fold_sumcheck_error(field, n, rate),
                grinding,
            );
            match config.round_parameters().get(i) {
                Some(round) => {
                    term(
                        "queries",
                        1,
                        assumption.queries_error(rate, round.num_queries),
                        round.pow_bits,
                    );
                    term(
                        "combination of queries",
                        1,
                        assumption.queries_combination_error(
                            field,
                            round.num_variables,
                            round.log_inv_rate,
                            round.ood_samples,
                            round.num_queries,
                        ),
                        round.pow_bits,
                    );
                    n = round.num_variables;
                    rate = round.log_inv_rate;
                    samples = round.ood_samples;
                    grinding = round.folding_pow_bits;
                }
                None => {
                    let terminal = config.terminal();
                    term(
                        "queries",
                        1,
                        assumption.queries_error(rate, terminal.num_queries),
                        terminal.pow_bits,
                    );
                }
            }
        }
        term(
            "last sumcheck",
            config.final_sumcheck_rounds(),
            field as f64 - 1.0,
            config.final_folding_pow_bits(),
        );
        Self {
            terms,
            candidates_bits: assumption
                .list_size_bits(config.num_variables(), config.starting_log_inv_rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_VARIABLES, Profile, Schedule, Use, whir::Scheme};

    /// Our list of terms against the library's own sum, which is written separately.
    #[test]
    fn the_sum_is_the_librarys_sum() {
        let mut compared = 0;
        for profile in Profile::ALL {
            for purpose in Use::ALL {
                for n in 0..=MAX_VARIABLES {
                    let Ok(Schedule::Whir(parameters)) = Schedule::new(profile, n, purpose) else {
                        // Other forms have terms of our own, which `tests/pcs.rs` bounds.
                        continue;
                    };
                    let scheme = Scheme::new(n, &parameters).unwrap();
                    let ours = scheme.security();
                    let (bits, candidates) = scheme.reported_security().unwrap();
                    assert!((ours.bits() - bits).abs() < 1e-9, "n = {n}");
                    assert!((ours.candidates_bits - candidates).abs() < 1e-12);
                    compared += 1;
                }
            }
        }
        assert!(compared > 40);
    }
}
