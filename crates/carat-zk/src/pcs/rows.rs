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
    Profile, Refused, Root, Security, Term,
    fold::{Conditions, Fold},
    leaves::{Leaves, Shown},
};
use crate::{
    Error,
    field::{E, F},
    layout::{dot_eq, eq_table},
    transcript::Source,
};
use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use p3_field::{PrimeCharacteristicRing, TwoAdicField};

#[cfg(feature = "prover")]
use super::leaves;
#[cfg(feature = "prover")]
use crate::{
    kernels::{
        compact::{Compact, Values, combine_rows},
        dot, eq_vector,
    },
    transcript::Sink,
};
#[cfg(feature = "prover")]
use core::ops::Range;

const DIGEST: usize = 32;

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
    fold: Option<Fold>,
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

impl Scheme {
    pub(super) fn new(profile: Profile, n: usize, parameters: Parameters) -> Result<Self, Error> {
        let columns = n - parameters.rows;
        let fold = (!parameters.shown).then(|| Fold::new(profile, columns));
        Ok(Self {
            parameters,
            columns,
            fold: fold.transpose()?,
        })
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
            Some(fold) => fold.committed_variables().to_string(),
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
        let fold = (self.fold.as_ref()).map(|fold| fold.security(self.parameters.queries + 1, 0));
        let candidates = fold.as_ref().map_or(0.0, |s| s.candidates_bits);
        terms.push(Term {
            name: "columns",
            count: 1,
            bits: (self.parameters.queries * self.parameters.rate) as f64 - candidates,
            grinding: self.parameters.work as u32,
        });
        terms.extend(fold.into_iter().flat_map(|fold| fold.terms));
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
                Some(fold) => DIGEST + fold.max_bytes(),
            }
    }

    /// The place of the code at a position.
    fn place(&self, position: usize) -> F {
        F::two_adic_generator(self.levels()).exp_u64(position as u64)
    }

    #[cfg(feature = "prover")]
    pub(super) fn commit(&self, compact: Compact) -> (Root, Data) {
        let (root, tree) = self.encode(Values::Compact(&compact));
        let data = Data {
            values: alloc::sync::Arc::new(compact),
            tree: alloc::sync::Arc::new(tree),
        };
        (root, data)
    }

    #[cfg(feature = "prover")]
    fn encode(&self, values: Values<'_>) -> (Root, leaves::Tree) {
        let (rows, width) = (1 << self.parameters.rows, 1 << self.columns);
        let some = |rows: Range<usize>| values.field(rows.start * width..rows.end * width);
        leaves::commit(leaves::encode(rows, width, self.levels(), 0, some))
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
                let (root, data) = inner.commit(&fold)?;
                sink.send_bytes("pcs fold root", &root.0);
                Some((inner, data))
            }
        };
        let shown = self.leaves().show(&data.tree, sink);
        let Some((inner, data)) = committed else {
            return Ok(value);
        };
        let conditions = Conditions {
            claim: (column.to_vec(), value),
            places: self.conditions(&shown, &eq_table(row)),
            ends: None,
        };
        inner.prove(fold, data, &conditions, sink)?;
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
        enum Sent<'a> {
            Shown(Vec<E>),
            Committed(&'a Fold, Root),
        }
        let fold = match &self.fold {
            None => Sent::Shown(source.receive("pcs fold", 1 << self.columns)?),
            Some(inner) => {
                let mut root = [0; DIGEST];
                root.copy_from_slice(source.receive_bytes("pcs fold root", DIGEST)?);
                Sent::Committed(inner, Root(root))
            }
        };
        let wrong = |what: &str| Err(Refused::Opening(what.to_string()));
        let shown = self.leaves().read(root, source)?;
        let places = self.conditions(&shown, &eq_table(row));
        match fold {
            Sent::Shown(fold) => {
                if dot_eq(&fold, column) != value {
                    return wrong("the fold does not give the claimed value");
                }
                for &(place, value) in &places {
                    let at = fold.iter().rev().fold(E::ZERO, |sum, &u| sum * place + u);
                    if at != value {
                        return wrong("the fold is not that of the committed rows");
                    }
                }
                Ok(())
            }
            Sent::Committed(inner, root) => {
                let conditions = Conditions {
                    claim: (column.to_vec(), value),
                    places,
                    ends: None,
                };
                inner.verify(&root, &conditions, source)
            }
        }
    }

    /// What the opened columns say of the fold's code word: its values at places.
    fn conditions(&self, shown: &Shown, weights: &[E]) -> Vec<(F, E)> {
        let columns = shown.elements.chunks_exact(weights.len());
        (shown.positions.iter())
            .zip(columns)
            .map(|(&position, column)| {
                let value = weights.iter().zip(column).map(|(&w, &v)| w * v).sum();
                (self.place(position), value)
            })
            .collect()
    }
}

#[cfg(all(test, feature = "prover"))]
mod tests;
