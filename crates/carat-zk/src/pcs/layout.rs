//! The library's layout of a single polynomial, whose message all threads write.
//!
//! The library's own takes one thread to clear the code word's memory and to transpose the message; everything else, and
//! every byte of a proof, is its.

use crate::field::{E, F};
use alloc::vec::Vec;
use p3_challenger::{FieldChallenger, GrindingChallenger};
use p3_commit::{Encoder, Mmcs};
use p3_matrix::dense::{DenseMatrix, RowMajorMatrix};
use p3_multilinear_util::point::Point;
use p3_sumcheck::{
    OpeningEvals, OpeningRequest, SumcheckData,
    layout::{Layout, LayoutStrategy, PrefixProver, StackedClaims, Table, Witness},
    strategy::SumcheckProver,
};
use rayon::prelude::*;

/// Elements that one task clears or transposes.
const TASK: usize = 1 << 14;

/// Columns that are read side by side: what they give of a row fills a line of the cache.
const LINE: usize = 16;

/// One polynomial, its first variables folded first.
#[derive(Debug, Clone)]
pub(super) struct Single(PrefixProver<F, E>);

/// The message of a code word and its padding: the polynomial as a matrix whose columns are numbered by the first
/// `folding` variables, over zeros.
fn padded(values: &[F], folding: usize, rate: usize) -> RowMajorMatrix<F> {
    let (width, height) = (1usize << folding, values.len() >> folding);
    let all = (0..values.len() << rate).into_par_iter();
    let mut out: Vec<F> = all.with_min_len(TASK).map(|_| F::default()).collect();
    let rows = (TASK >> folding).clamp(1, height);
    (out[..values.len()].par_chunks_mut(rows * width).enumerate()).for_each(|(part, out)| {
        for first in (0..width).step_by(LINE) {
            let columns = values[first * height..].chunks_exact(height).take(LINE);
            let columns: Vec<&[F]> = columns.map(|c| &c[part * rows..][..rows]).collect();
            for (i, row) in out.chunks_exact_mut(width).enumerate() {
                for (o, column) in row[first..].iter_mut().zip(&columns) {
                    *o = column[i];
                }
            }
        }
    });
    RowMajorMatrix::new(out, width)
}

impl Layout<F, E> for Single {
    fn from_witness(witness: Witness<F>) -> Self {
        Self(PrefixProver::from_witness(witness))
    }

    fn new_witness(tables: Vec<Table<F>>, folding: usize) -> Witness<F> {
        <PrefixProver<F, E> as Layout<F, E>>::new_witness(tables, folding)
    }

    fn write_message(witness: &Witness<F>, folding: usize, message: &mut [F]) {
        <PrefixProver<F, E> as Layout<F, E>>::write_message(witness, folding, message);
    }

    fn claims(&self) -> &StackedClaims<F, E> {
        self.0.claims()
    }

    fn commit<C, M>(
        encoder: &C,
        mmcs: &M,
        witness: Witness<F>,
        folding: usize,
        rate: usize,
    ) -> (Self, M::Commitment, M::ProverData<DenseMatrix<F>>)
    where
        C: Encoder<F>,
        M: Mmcs<F>,
    {
        let own = Self::from_witness(witness);
        // One column is the whole polynomial.
        let message = match own.table(0).column(0).as_dense() {
            Some(values) => padded(values, folding, rate),
            None => unreachable!("the column was given as field elements"),
        };
        let (root, data) = mmcs.commit_matrix(encoder.encode_batch_padded(message, rate));
        (own, root, data)
    }

    fn strategy() -> LayoutStrategy {
        <PrefixProver<F, E> as Layout<F, E>>::strategy()
    }

    fn record_opening(
        &mut self,
        table: usize,
        batch: &OpeningRequest,
        point: &Point<E>,
    ) -> OpeningEvals<E> {
        self.0.record_opening(table, batch, point)
    }

    fn record_opening_known(
        &mut self,
        table: usize,
        batch: &OpeningRequest,
        point: &Point<E>,
        evals: &OpeningEvals<E>,
    ) {
        self.0.record_opening_known(table, batch, point, evals);
    }

    fn record_virtual(&mut self, point: &Point<E>) -> E {
        self.0.record_virtual(point)
    }

    fn into_sumcheck<C>(
        self,
        data: &mut SumcheckData<F, E>,
        pow_bits: usize,
        challenger: &mut C,
    ) -> (SumcheckProver<F, E>, Point<E>)
    where
        C: FieldChallenger<F> + GrindingChallenger<Witness = F>,
    {
        self.0.into_sumcheck(data, pow_bits, challenger)
    }
}
