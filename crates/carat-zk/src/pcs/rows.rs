//! The form for constants: rows of a matrix, each encoded, opened at the point's own row coordinates.
//!
//! The polynomial is a matrix: its first variables number the rows, the others the positions of a row. Each row is
//! encoded with a Reed-Solomon code, and the leaves of the tree are the columns of the encoded matrix. To open at
//! (a, b), the rows are combined with the weights `eq(a, .)`; the combination, the *fold*, is a polynomial in the
//! variables of b whose value at b is the claimed one. The verifier draws positions and compares the code word of the
//! fold with the same combination of the opened columns.
//!
//! The fold takes the coordinates that the claim already has, not fresh ones, so one pass over the constants is all that an
//! opening costs. That is sound because the rows *are* code words: whoever relies on the root has computed it from the
//! constants, or takes the word of somebody who has. Two code words of length N with k coefficients agree in fewer than k
//! places, so a false fold is missed with probability below `(k/N)^queries`. `docs/protocol-whir.md`, section 8.

use super::{
    Refused, Root, Security, Term, Whir,
    leaves::{Leaves, Shown},
};
use crate::{
    Error,
    field::{DEGREE, E, F},
    layout::{dot_eq, eq, eq_table},
    steps::powers,
    sumcheck,
    transcript::Source,
};
use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};
use p3_field::{BasedVectorSpace, Field, PrimeCharacteristicRing, TwoAdicField};

#[cfg(feature = "prover")]
use super::leaves;
#[cfg(feature = "prover")]
use crate::{
    kernels::{
        Vector,
        compact::{Compact, Values, combine_rows},
        dot, eq_vector, product,
    },
    transcript::Sink,
};
#[cfg(feature = "prover")]
use p3_dft::{Radix2DFTSmallBatch, TwoAdicSubgroupDft};
#[cfg(feature = "prover")]
use p3_matrix::dense::{RowMajorMatrix, RowMajorMatrixView, RowMajorMatrixViewMut};
#[cfg(feature = "prover")]
use rayon::prelude::*;

const DIGEST: usize = 32;

/// Variables that number the coefficients of an element of E, in a committed fold.
const SLICES: usize = 3;

/// The integers of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Variables that number the rows.
    pub rows: usize,
    /// A row of `2^k` values has a code word of `2^(k + rate)`.
    pub rate: usize,
    /// Columns that are opened.
    pub queries: usize,
    /// Bits of proof of work before positions are drawn.
    pub work: usize,
    /// Whether the fold is shown, rather than committed.
    pub shown: bool,
}

/// The form for one size.
#[derive(Debug)]
pub(super) struct Scheme {
    parameters: Parameters,
    /// Variables of a row.
    columns: usize,
    /// How the fold is committed, unless it is shown.
    fold: Option<Box<Whir>>,
}

/// What the committer keeps.
#[cfg(feature = "prover")]
#[derive(Clone)]
pub(super) struct Data {
    values: alloc::sync::Arc<Compact>,
    tree: alloc::sync::Arc<leaves::Tree>,
}

#[cfg(feature = "prover")]
impl core::fmt::Debug for Data {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Data").finish_non_exhaustive()
    }
}

#[cfg(feature = "prover")]
impl Data {
    pub(super) fn values(&self) -> Values<'_> {
        Values::Compact(&self.values)
    }
}

/// A condition that a committed fold must meet: its value at a place of the code, or at the claim's own point.
struct Condition {
    x: F,
    value: E,
}

impl Scheme {
    pub(super) fn new(n: usize, parameters: Parameters, fold: Option<Whir>) -> Self {
        Self {
            parameters,
            columns: n - parameters.rows,
            fold: fold.map(Box::new),
        }
    }

    /// Variables of the polynomial that a committed fold becomes.
    pub(super) fn fold_variables(n: usize, parameters: &Parameters) -> usize {
        n - parameters.rows + SLICES
    }

    /// What is shown of the tree.
    fn leaves(&self) -> Leaves {
        Leaves {
            width: 1 << self.parameters.rows,
            levels: self.levels(),
            queries: self.parameters.queries,
            work: self.parameters.work,
        }
    }

    /// Levels of the tree.
    fn levels(&self) -> usize {
        self.columns + self.parameters.rate
    }

    /// The derived integers, as the columns of the table in `docs/protocol-whir.md` from "rows" on.
    pub(super) fn describe(&self) -> String {
        let p = &self.parameters;
        let fold = match &self.fold {
            None => "shown".to_string(),
            Some(fold) => fold.variables().to_string(),
        };
        [
            p.rows.to_string(),
            p.rate.to_string(),
            p.queries.to_string(),
            p.work.to_string(),
            fold,
        ]
        .join(" | ")
    }

    pub(super) fn security(&self) -> Security {
        let mut terms = Vec::new();
        // Each polynomial that the commitment to a fold may still stand for has its own chance.
        let inner = self.fold.as_ref().map(|w| w.security());
        let candidates = inner.as_ref().map_or(0.0, |s| s.candidates_bits);
        terms.push(Term {
            name: "columns",
            count: 1,
            bits: (self.parameters.queries * self.parameters.rate) as f64 - candidates,
            grinding: self.parameters.work as u32,
        });
        if let Some(inner) = inner {
            // Combining the conditions, two for each round of the sumcheck, and the slices at a random point.
            let bad = self.parameters.queries + 1 + 2 * self.columns + SLICES;
            terms.push(Term {
                name: "conditions on the fold",
                count: 1,
                bits: (E::bits() - 1) as f64 - libm::log2(bad as f64) - candidates,
                grinding: 0,
            });
            terms.extend(inner.terms);
        }
        Security {
            terms,
            candidates_bits: 0.0,
        }
    }

    /// Bytes that a committer keeps: values, code words and tree.
    #[cfg(feature = "prover")]
    pub(super) fn kept_bytes(&self) -> u64 {
        // As if no value were a byte.
        let values = (crate::field::F_BYTES as u64) << (self.columns + self.parameters.rows);
        values + (values << self.parameters.rate) + ((2 * DIGEST as u64) << self.levels())
    }

    pub(super) fn max_opening_bytes(&self) -> usize {
        let element = crate::field::E_BYTES;
        self.leaves().max_bytes()
            + match &self.fold {
                None => element << self.columns,
                Some(fold) => {
                    DIGEST + (2 * self.columns + (1 << SLICES)) * element + fold.max_opening_bytes()
                }
            }
    }

    /// The place of the code at a position.
    fn place(&self, position: usize) -> F {
        F::two_adic_generator(self.levels()).exp_u64(position as u64)
    }

    #[cfg(feature = "prover")]
    pub(super) fn commit(&self, compact: Compact) -> (Root, Data) {
        let (root, tree) = leaves::commit(self.encode(Values::Compact(&compact)));
        let data = Data {
            values: alloc::sync::Arc::new(compact),
            tree: alloc::sync::Arc::new(tree),
        };
        (root, data)
    }

    /// The code words of all rows, one in each column of the matrix.
    #[cfg(feature = "prover")]
    fn encode(&self, values: Values<'_>) -> RowMajorMatrix<F> {
        /// Values that are encoded together: the transform holds its matrix twice.
        const TOGETHER: usize = 1 << 19;
        /// Rows that are encoded together at least: a line of the cache.
        const LEAST: usize = 16;
        let (rows, width) = (1 << self.parameters.rows, 1 << self.columns);
        let dft = Radix2DFTSmallBatch::new(width << self.parameters.rate);
        let encode = |values: &[F]| {
            // One column of the matrix per row of the polynomial, with the coefficients down the columns.
            let rows = values.len() / width;
            let mut padded = F::zero_vec(values.len() << self.parameters.rate);
            RowMajorMatrixView::new(values, width).transpose_into(&mut RowMajorMatrixViewMut::new(
                &mut padded[..values.len()],
                rows,
            ));
            dft.dft_batch(RowMajorMatrix::new(padded, rows))
        };
        let some = (TOGETHER / width).clamp(LEAST.min(rows), rows);
        if some == rows {
            return encode(&values.field(0..rows * width));
        }
        let mut all = F::zero_vec((rows * width) << self.parameters.rate);
        for first in (0..rows).step_by(some) {
            let encoded = encode(&values.field(first * width..(first + some) * width));
            all.par_chunks_exact_mut(rows)
                .zip(encoded.values.par_chunks_exact(some))
                .for_each(|(to, from)| to[first..][..some].copy_from_slice(from));
        }
        RowMajorMatrix::new(all, rows)
    }

    #[cfg(feature = "prover")]
    pub(super) fn open(&self, data: &Data, point: &[E], sink: &mut Sink) -> Result<E, Error> {
        let (row, column) = point.split_at(self.parameters.rows);
        let fold = combine_rows(data.values(), 0, 1 << self.columns, &eq_table(row));
        let value = dot(&fold, &eq_vector(column, E::ONE));
        sink.transcript.elements("pcs value", &[value]);
        let committed = match &self.fold {
            None => {
                sink.send("pcs fold", &fold.unpack());
                None
            }
            Some(inner) => {
                let (root, data) = inner.commit(fold.coefficients(1 << inner.variables()))?;
                sink.send_bytes("pcs fold root", &root.0);
                Some((inner, data))
            }
        };
        let shown = self.leaves().show(&data.tree, sink);
        let Some((inner, data)) = committed else {
            return Ok(value);
        };
        let weights = eq_table(row);
        let conditions = self.conditions(&shown, &weights);
        let gamma = sink.transcript.challenge();
        let claim = combined(value, &conditions, gamma);
        let kernel = kernel(column, &conditions, gamma);
        let (at, _, _) = product(sink, claim, fold, kernel);
        // Slices past the last coefficient are zero.
        let slices = data.values().field(0..DEGREE << self.columns);
        let mut at_slices: Vec<E> = slices
            .par_chunks_exact(1 << self.columns)
            .map(|slice| crate::kernels::evaluate_base(slice, &at))
            .collect();
        at_slices.resize(1 << SLICES, E::ZERO);
        sink.send("pcs slices", &at_slices);
        let slice = sink.transcript.point(SLICES);
        let _ = inner.open_last(data, &[slice, at].concat(), sink)?;
        Ok(value)
    }

    pub(super) fn verify(
        &self,
        root: &Root,
        point: &[E],
        value: E,
        source: &mut Source<'_>,
    ) -> Result<(), Refused> {
        let (row, column) = point.split_at(self.parameters.rows);
        source.transcript.elements("pcs value", &[value]);
        enum Fold<'a> {
            Shown(Vec<E>),
            Committed(&'a Whir, Root),
        }
        let fold = match &self.fold {
            None => Fold::Shown(source.receive("pcs fold", 1 << self.columns)?),
            Some(inner) => {
                let mut root = [0; DIGEST];
                root.copy_from_slice(source.receive_bytes("pcs fold root", DIGEST)?);
                Fold::Committed(inner, Root(root))
            }
        };
        let wrong = |what: &str| Err(Refused::Opening(what.to_string()));
        let shown = self.leaves().read(root, source)?;
        let conditions = self.conditions(&shown, &eq_table(row));
        match fold {
            Fold::Shown(fold) => {
                if dot_eq(&fold, column) != value {
                    return wrong("the fold does not give the claimed value");
                }
                for c in &conditions {
                    let at = fold.iter().rev().fold(E::ZERO, |sum, &u| sum * c.x + u);
                    if at != c.value {
                        return wrong("the fold is not that of the committed rows");
                    }
                }
                Ok(())
            }
            Fold::Committed(inner, root) => {
                let gamma = source.transcript.challenge();
                let claim = combined(value, &conditions, gamma);
                let (at, left) = sumcheck::verify(source, self.columns, 2, claim)?;
                let sent = source.receive("pcs slices", 1 << SLICES)?;
                let mut weight = eq(column, &at);
                for (c, g) in conditions
                    .iter()
                    .zip(powers(gamma, conditions.len() + 1).iter().skip(1))
                {
                    weight += *g * tensor_power(c.x, &at);
                }
                if left != weight * join(&sent) {
                    return wrong("the conditions do not reduce to the fold");
                }
                let slice = source.transcript.point(SLICES);
                let value = dot_eq(&sent, &slice);
                inner
                    .verify(&root, &[slice, at].concat(), value, source)
                    .map_err(Refused::from)
            }
        }
    }

    /// What the opened columns say of the fold's code word.
    fn conditions(&self, shown: &Shown, weights: &[E]) -> Vec<Condition> {
        let columns = shown.elements.chunks_exact(weights.len());
        (shown.positions.iter())
            .zip(columns)
            .map(|(&position, column)| Condition {
                x: self.place(position),
                value: weights.iter().zip(column).map(|(&w, &v)| w * v).sum(),
            })
            .collect()
    }
}

/// The element whose coefficients are these: `sum X^d slice_d`. Slices past the last coefficient do not count.
fn join(slices: &[E]) -> E {
    slices
        .iter()
        .take(DEGREE)
        .enumerate()
        .map(|(d, &s)| s * E::from_basis_coefficients_fn(|i| F::from_bool(i == d)))
        .sum()
}

/// The claim and all conditions in one: `value + sum gamma^(i + 1) condition_i`.
fn combined(value: E, conditions: &[Condition], gamma: E) -> E {
    let powers = powers(gamma, conditions.len() + 1);
    value
        + conditions
            .iter()
            .zip(&powers[1..])
            .map(|(c, &g)| g * c.value)
            .sum::<E>()
}

/// The polynomial with the value `x^i` at index i, at a point.
fn tensor_power(x: F, at: &[E]) -> E {
    let mut power = x;
    let mut product = E::ONE;
    for &r in at.iter().rev() {
        product *= r * (power - F::ONE) + F::ONE;
        power = power.square();
    }
    product
}

/// `eq(column, .)` plus the powers of each condition's place, combined as [`combined`] does.
#[cfg(feature = "prover")]
fn kernel(column: &[E], conditions: &[Condition], gamma: E) -> Vector {
    let mut out = eq_vector(column, E::ONE);
    let powers = powers(gamma, conditions.len() + 1);
    let places: Vec<F> = conditions.iter().map(|c| c.x).collect();
    crate::kernels::add_powers(&mut out, &places, &powers[1..]);
    out
}

#[cfg(all(test, feature = "prover"))]
mod tests;
