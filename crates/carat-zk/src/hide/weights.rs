//! A commitment to a model's constants that shows nothing of them.
//!
//! It has the form of the witness's (`witness.rs`), and lives longer: rows get random tails for as many places as all proofs
//! that open it may show of it together. How a proof shows what rows add up to (their fold) depends on the size:
//!
//! - Up to 2^19 constants it is sent under pads, and its values at the places that are shown are equations like all others. A
//!   key has 64 such commitments, each for two proofs ([`super::pin`]), so that tails and folds are short.
//! - Beyond, it is committed to, under a mask that is made anew for each proof and has a tree of its own; so that commitment
//!   need not hide. A key has one commitment.

mod opening;

use super::code::Code;
use crate::{
    Error,
    field::DEGREE,
    pcs::{Profile, Security, Term, fold::Fold, leaves::Leaves},
    store::Store,
};
use alloc::{vec, vec::Vec};
use carat_program::Program;

#[cfg(feature = "prover")]
use super::random::{Purpose, Random};
#[cfg(feature = "prover")]
use crate::{
    field::F,
    kernels::compact::{Compact, Values},
    pcs::{
        Root,
        leaves::{self, Tree},
    },
};
#[cfg(feature = "prover")]
pub(crate) use opening::Data;
#[cfg(feature = "prover")]
use p3_field::PrimeCharacteristicRing;
#[cfg(feature = "prover")]
use p3_matrix::dense::RowMajorMatrix;
#[cfg(feature = "prover")]
use std::borrow::Cow;

/// Constants besides the Program's: as many random elements of F as an element of E has coefficients.
pub(crate) const BLIND: usize = DEGREE;

/// From so many variables on a fold is committed to rather than sent.
const COMMITTED: usize = 20;

/// Leaves that one proof shows, by number of variables of the polynomial: the fewest with which the queries' term has 104 and
/// 125 bits for each way of reading the pads, and 110 and 131 where the fold is committed, work included. A test derives them
/// anew.
const QUERIES: [[u8; 27]; 2] = [
    [
        37, 37, 37, 37, 37, 38, 38, 38, 40, 40, 35, 35, 39, 33, 37, 37, 36, 36, 43, 43, 54, 54, 72,
        72, 110, 110, 106,
    ],
    [
        47, 47, 47, 47, 47, 49, 49, 49, 51, 51, 44, 44, 49, 40, 45, 45, 44, 44, 52, 52, 67, 67, 90,
        90, 138, 138, 130,
    ],
];

/// Where constants lie in a hiding commitment: one polynomial, however many they are.
pub(crate) fn store(program: &Program) -> Result<Store, Error> {
    if program.constants.is_empty() {
        return Err(Error::Unsupported("it has no weights to hide".into()));
    }
    let constants = program.constants.iter().map(|c| c.shape.dims());
    let dims: Vec<Vec<usize>> = constants.chain([vec![BLIND]]).collect();
    Store::one(&dims)
}

/// Whether the fold of a polynomial in `n` variables is committed to.
fn is_committed(n: usize) -> bool {
    #[cfg(test)]
    if crate::tests::hooks::stage().committed {
        return true;
    }
    n >= COMMITTED
}

/// `log2` of how many commitments a key for a polynomial in `n` variables has, and how many proofs may open each.
pub(crate) fn commitments(n: usize) -> (usize, usize) {
    if is_committed(n) { (0, 32) } else { (6, 2) }
}

/// The commitments for one size.
#[derive(Debug)]
pub(crate) struct Scheme {
    code: Code,
    queries: usize,
    /// Variables of the polynomial.
    vars: usize,
    /// Rows that hold constants; the others are zero, and not in the tree.
    rows: usize,
    /// A key has `2^commitments` of them.
    commitments: usize,
    /// Proofs that may open one commitment.
    uses: usize,
    /// How a fold is committed to, unless it is sent.
    fold: Option<Fold>,
}

impl Scheme {
    /// The scheme for the constants of a store.
    pub(crate) fn new(profile: Profile, store: &Store) -> Result<Self, Error> {
        let n = store.vars;
        let Some(&queries) = QUERIES[profile as usize].get(n) else {
            return Err(Error::Unsupported(
                "it has more weights than one hiding commitment holds".into(),
            ));
        };
        let (columns, levels, work) = match n {
            ..=4 => (n.min(3), 12, 12),
            5..=7 => (4, 12, 12),
            8..=9 => (5, 12, 12),
            10..=11 => (6, 13, 12),
            12 => (7, 13, 12),
            13 => (7, 14, 12),
            14..=15 => (8, 14, 12),
            16..=17 => (9, 15, 12),
            18..=19 => (10, 15, 12),
            20..=21 => (13, 17, 14),
            22..=23 => (14, 17, 14),
            24..=25 => (15, 17, 16),
            _ => (16, 18, 16),
        };
        let (commitments, uses) = commitments(n);
        let queries = usize::from(queries);
        let code = Code {
            message: 1 << columns,
            tail: uses * queries,
            levels,
            work,
        };
        let fold = is_committed(n).then(|| {
            let variables = code.length().next_power_of_two().ilog2() as usize;
            Fold::new(profile, variables)
        });
        Ok(Self {
            code,
            queries,
            vars: n,
            rows: store.used().div_ceil(code.message),
            commitments,
            uses,
            fold: fold.transpose()?,
        })
    }

    /// `log2` of how many commitments a key has.
    #[cfg(feature = "prover")]
    pub(crate) fn commitments(&self) -> usize {
        self.commitments
    }

    /// How many proofs may be made under one key.
    pub(crate) fn budget(&self) -> usize {
        self.uses << self.commitments
    }

    /// Variables of a row.
    fn columns(&self) -> usize {
        self.code.message.ilog2() as usize
    }

    fn leaves(&self) -> Leaves {
        Leaves {
            // Rows, the salt.
            width: self.rows + DEGREE,
            levels: self.code.levels,
            queries: self.queries,
            work: self.code.work,
        }
    }

    /// The error terms of an opening. What the messages in it are depends on which pads are meant, of `2^pads` that their
    /// commitment may stand for.
    pub(crate) fn security(&self, pads: f64) -> Security {
        let field = super::field_bits() as f64;
        let candidates = self.code.candidates(self.code.length());
        // Any two of the lists of all commitments.
        let all = candidates + self.commitments as f64;
        let mut terms = vec![Term {
            name: "one polynomial for the key",
            count: 1,
            bits: field - (2.0 * all - 1.0) - libm::log2(self.vars.max(1) as f64),
            grinding: 0,
        }];
        let shown = Code {
            tail: self.queries,
            ..self.code
        };
        let mut queries = shown.queries("queries", self.code.length());
        // One combination for each variable of the rows.
        let mut folds = self.vars - self.columns();
        let mut committed = Vec::new();
        if let Some(fold) = &self.fold {
            // And one with the mask. Two conditions beside the places: the value, and that nothing lies beyond the end.
            folds += 1;
            let fold = fold.security(self.queries + 2, 1);
            committed.push(Term {
                name: "value under the mask",
                count: 1,
                bits: field - candidates - fold.candidates_bits - pads,
                grinding: 0,
            });
            queries.bits -= fold.candidates_bits;
            committed.extend(fold.terms);
        } else {
            // The fold is fixed with the pads, and places are drawn after that for each way of reading them.
            queries.bits -= pads;
        }
        let agreement = (self.code).agreement("correlated agreement", self.code.length(), folds);
        terms.extend((folds > 0).then_some(agreement));
        terms.push(queries);
        terms.extend(committed);
        Security {
            terms,
            candidates_bits: candidates,
        }
    }
}

#[cfg(feature = "prover")]
impl Scheme {
    /// The integers that say how rows are encoded: under others, one secret must not stand behind the same constants.
    pub(crate) fn shape(&self) -> [u8; 32] {
        let mut out = [0; 32];
        let shape = [
            self.code.message,
            self.code.tail,
            self.code.levels,
            self.commitments,
        ];
        for (out, v) in out.chunks_exact_mut(8).zip(shape) {
            out.copy_from_slice(&(v as u64).to_le_bytes());
        }
        out
    }

    /// Bytes that a committer keeps: values, tails, code words and tree.
    pub(crate) fn kept_bytes(&self) -> u64 {
        let element = crate::field::F_BYTES as u64;
        let word = (self.code.length() + self.code.size()) as u64;
        element * (word * self.rows as u64 + (DEGREE * self.code.size()) as u64)
            + (64 << self.code.levels)
    }

    /// Elements from one tail to the next: tails are combined a register at a time.
    fn stride(&self) -> usize {
        self.code.tail.next_multiple_of(32)
    }

    /// Makes one of the commitments.
    pub(crate) fn commit(&self, compact: &Compact, random: &mut Random) -> (Root, Tree, Vec<F>) {
        let (message, tail, length) = (self.code.message, self.code.tail, self.code.length());
        let stride = self.stride();
        let mut tails = F::zero_vec(self.rows * stride);
        for own in tails.chunks_exact_mut(stride) {
            random.fill(Purpose::WeightsTail, &mut own[..tail]);
        }
        let words = |rows: core::ops::Range<usize>| {
            let values = Values::Compact(compact).field(rows.start * message..rows.end * message);
            let mut out = Vec::with_capacity(rows.len() * length);
            for (row, values) in rows.zip(values.chunks_exact(message)) {
                out.extend_from_slice(values);
                out.extend_from_slice(&tails[row * stride..][..tail]);
            }
            Cow::Owned(out)
        };
        let mut matrix: RowMajorMatrix<F> =
            leaves::encode(self.rows, length, self.code.levels, DEGREE, words);
        for leaf in matrix.values.chunks_exact_mut(self.rows + DEGREE) {
            random.fill(Purpose::WeightsSalt, &mut leaf[self.rows..]);
        }
        let (root, tree) = leaves::commit(matrix);
        (root, tree, tails)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_the_fewest_that_are_enough() {
        for (profile, wanted) in [(Profile::Proven100, 104.0), (Profile::Proven120, 125.0)] {
            let pads = Code::pads(profile);
            let pads = pads.candidates(pads.length());
            for n in 3..QUERIES[0].len() {
                let store = Store::one(&[vec![1 << (n - 1)], vec![(1 << (n - 1)) - 3]]).unwrap();
                assert_eq!(store.vars, n);
                let scheme = Scheme::new(profile, &store).unwrap();
                let wanted = wanted + if scheme.fold.is_some() { 6.0 } else { pads };
                let bits = |queries: usize| {
                    let code = Code {
                        tail: scheme.uses * queries,
                        ..scheme.code
                    };
                    let shown = Code {
                        tail: queries,
                        ..code
                    };
                    let term = shown.queries("", code.length());
                    term.bits + f64::from(term.grinding)
                };
                assert!(bits(scheme.queries) >= wanted, "n = {n}");
                assert!(bits(scheme.queries - 1) < wanted, "n = {n}");
                assert!(scheme.code.length() < scheme.code.size());
                // A committed fold is at most twice as long as what is committed to.
                assert!(scheme.fold.is_none() || scheme.code.tail <= scheme.code.message);
            }
        }
    }
}
