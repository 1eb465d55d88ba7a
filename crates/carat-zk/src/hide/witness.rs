//! A commitment to a polynomial that shows nothing of it, opened once.
//!
//! The polynomial is a matrix, as that of constants is (`pcs/rows.rs`): its first variables number the rows. A row gets a
//! random tail and is encoded; one more row, the mask, is random altogether and has elements of E; and each leaf has a salt.
//! To open at (a, b), rows are combined with the weights `eq(a, .)`, times a challenge, and the mask is added: the sum is
//! uniform, so it can be shown. What the mask adds to the value at b is a message under a pad like all others.

use super::{
    code::{Code, evaluate},
    tape::Tape,
};
use crate::{
    Error,
    checks::Checks,
    field::{DEGREE, E, F},
    layout::{dot_eq, scaled_eq},
    pcs::{Profile, Root, Security, leaves::Leaves},
};
use alloc::{string::ToString, vec::Vec};
use p3_field::PrimeCharacteristicRing;

#[cfg(feature = "prover")]
use super::{
    code::slices,
    random::{Purpose, Random},
};
#[cfg(feature = "prover")]
use crate::{
    kernels::compact::{Values, combine_rows},
    pcs::leaves::{self, Tree},
    transcript::Sink,
};
#[cfg(feature = "prover")]
use p3_dft::{Radix2DFTSmallBatch, TwoAdicSubgroupDft};
#[cfg(feature = "prover")]
use p3_matrix::dense::{RowMajorMatrix, RowMajorMatrixView, RowMajorMatrixViewMut};

/// The commitment for one size.
#[derive(Debug)]
pub(crate) struct Scheme {
    code: Code,
    rows: usize,
}

/// What the committer keeps until it opens.
#[cfg(feature = "prover")]
pub(crate) struct Data {
    values: Vec<F>,
    /// Row by row.
    tails: Vec<F>,
    mask: Vec<E>,
    tree: Tree,
}

#[cfg(feature = "prover")]
impl Data {
    /// The committed values.
    pub(crate) fn values(&self) -> Values<'_> {
        Values::Plain(&self.values)
    }
}

impl Scheme {
    /// The scheme for polynomials in `n` variables.
    pub(crate) fn new(profile: Profile, n: usize) -> Self {
        let code = Code::witness(profile, n);
        Self {
            code,
            rows: (1 << n) / code.message,
        }
    }

    fn leaves(&self) -> Leaves {
        Leaves {
            // Rows, the mask, the salt.
            width: self.rows + 2 * DEGREE,
            levels: self.code.levels,
            queries: self.code.tail,
            work: self.code.work,
        }
    }

    /// The error terms of an opening. What the messages in it are depends on which pads are meant, of `2^pads` that their
    /// commitment may stand for.
    pub(crate) fn security(&self, pads: f64) -> Security {
        // One combination for each variable of the rows, and one with the mask.
        let folds = self.rows.ilog2() as usize + 1;
        let candidates = self.code.candidates(self.code.length());
        Security {
            terms: alloc::vec![
                (self.code).agreement("correlated agreement", self.code.length(), folds),
                crate::pcs::Term {
                    name: "value under the mask",
                    count: 1,
                    bits: (super::field_bits() as f64) - candidates - pads,
                    grinding: 0,
                },
                self.code.queries("queries", self.code.length()),
            ],
            candidates_bits: candidates,
        }
    }

    /// Commits to `2^n` values.
    #[cfg(feature = "prover")]
    pub(crate) fn commit(&self, values: Vec<F>, random: &mut Random) -> (Root, Data) {
        let (message, tail, size) = (self.code.message, self.code.tail, self.code.size());
        let width = self.leaves().width;
        let mut tails = F::zero_vec(self.rows * tail);
        random.fill(Purpose::WitnessTail, &mut tails);
        let mask: Vec<E> = (0..self.code.length())
            .map(|_| random.e(Purpose::WitnessMask))
            .collect();
        // Coefficients down the columns, which are rows, mask, salt. A salt is random at every place, so it is as well random
        // before the transform.
        let mut matrix = F::zero_vec(size * width);
        for (from, to, count) in [(&values, 0, message), (&tails, message, tail)] {
            let mut part = F::zero_vec(from.len());
            RowMajorMatrixView::new(from, count)
                .transpose_into(&mut RowMajorMatrixViewMut::new(&mut part, self.rows));
            for (row, part) in part.chunks_exact(self.rows).enumerate() {
                matrix[(to + row) * width..][..self.rows].copy_from_slice(part);
            }
        }
        for (row, m) in matrix.chunks_exact_mut(width).zip(&mask) {
            row[self.rows..self.rows + DEGREE].copy_from_slice(slices(m));
        }
        for row in matrix.chunks_exact_mut(width) {
            random.fill(Purpose::WitnessSalt, &mut row[self.rows + DEGREE..]);
        }
        let encoded = Radix2DFTSmallBatch::default().dft_batch(RowMajorMatrix::new(matrix, width));
        let (root, tree) = leaves::commit(encoded);
        (
            root,
            Data {
                values,
                tails,
                mask,
                tree,
            },
        )
    }

    /// Opens at a point. The value that is opened is none of its business: equations about it are the verifier's.
    #[cfg(feature = "prover")]
    pub(crate) fn open(&self, data: Data, point: &[E], sink: &mut Sink) {
        let columns = self.code.message.ilog2() as usize;
        let (row, column) = point.split_at(point.len() - columns);
        sink.send("mask", &[dot_eq(&data.mask, column)]);
        let beta = sink.transcript.challenge();
        let weights = scaled_eq(row, beta);
        let mut fold = combine_rows(data.values(), 0, self.code.message, &weights).unpack();
        fold.extend((0..self.code.tail).map(|j| {
            let tails = data.tails.iter().skip(j).step_by(self.code.tail);
            weights.iter().zip(tails).map(|(&w, &t)| w * t).sum::<E>()
        }));
        for (f, m) in fold.iter_mut().zip(&data.mask) {
            *f += *m;
        }
        sink.send_clear("fold", &fold);
        sink.aside(|sink| self.leaves().show(&data.tree, sink));
    }

    /// Checks an opening of `value` at a point.
    pub(crate) fn verify(
        &self,
        root: &Root,
        point: &[E],
        value: u32,
        tape: &mut Tape<'_>,
    ) -> Result<(), Error> {
        let columns = self.code.message.ilog2() as usize;
        let (row, column) = point.split_at(point.len() - columns);
        let masked = tape.hear("mask", 1)?[0];
        let beta = tape.challenge();
        let fold = tape.clear("fold", self.code.length())?;
        let at_column = dot_eq(&fold, column);
        let difference = tape.sum(-at_column, &[(E::ONE, masked), (beta, value)]);
        tape.zero(difference, "the opening of the witness")?;
        let Some(source) = tape.source() else {
            return Ok(());
        };
        let refused = |reason: &str| Error::Opening("witness", reason.to_string());
        let shown = (self.leaves().read(root, source)).map_err(|r| r.of("witness"))?;
        let places: Vec<F> = shown
            .positions
            .iter()
            .map(|&p| self.code.place(p))
            .collect();
        let weights = scaled_eq(row, beta);
        let leaves = shown.elements.chunks_exact(self.leaves().width);
        for (at, leaf) in evaluate(&fold, &places).into_iter().zip(leaves) {
            let rows: E = weights.iter().zip(leaf).map(|(&w, &v)| w * v).sum();
            let mask = super::code::element(|d| leaf[self.rows + d]);
            if at != mask + rows {
                return Err(refused("the fold is not that of the committed rows"));
            }
        }
        Ok(())
    }
}
