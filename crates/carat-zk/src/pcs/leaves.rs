//! Leaves of a tree of code words, shown at positions that the transcript draws after some work.

use super::{Refused, Root, whir};
use crate::{
    Error,
    field::F,
    transcript::{Challenger, Source},
};
use alloc::{string::ToString, vec::Vec};
use p3_challenger::{CanSampleBits, GrindingChallenger};
use p3_commit::Mmcs as _;
use p3_matrix::Dimensions;
use p3_merkle_tree::PrunedMerklePaths;
use p3_symmetric::MerkleCap;

#[cfg(feature = "prover")]
use crate::transcript::Sink;
#[cfg(feature = "prover")]
use alloc::borrow::Cow;
#[cfg(feature = "prover")]
use core::ops::Range;
#[cfg(feature = "prover")]
use p3_dft::{Radix2DFTSmallBatch, TwoAdicSubgroupDft};
#[cfg(feature = "prover")]
use p3_field::PrimeCharacteristicRing;
#[cfg(feature = "prover")]
use p3_matrix::dense::{RowMajorMatrix, RowMajorMatrixView, RowMajorMatrixViewMut};
#[cfg(feature = "prover")]
use rayon::prelude::*;

const DIGEST: usize = 32;

/// The tree over a matrix: leaf j is row j.
#[cfg(feature = "prover")]
pub(crate) type Tree = <whir::Mmcs as p3_commit::Mmcs<F>>::ProverData<RowMajorMatrix<F>>;

/// Which leaves are shown, and what is asked before they are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leaves {
    /// Elements of a leaf.
    pub(crate) width: usize,
    /// Levels of the tree: it has `2^levels` leaves.
    pub(crate) levels: usize,
    /// Leaves that are shown; repeats count.
    pub(crate) queries: usize,
    /// Bits of proof of work before positions are drawn.
    pub(crate) work: usize,
}

/// Positions, and the leaves at them, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) positions: Vec<usize>,
    pub(crate) elements: Vec<F>,
}

/// The tree over a matrix of `2^levels` rows.
#[cfg(feature = "prover")]
pub(crate) fn commit(matrix: RowMajorMatrix<F>) -> (Root, Tree) {
    let (cap, tree) = whir::mmcs().commit_matrix(matrix);
    (Root(cap.roots()[0]), tree)
}

/// The leaves of a tree.
#[cfg(all(test, feature = "prover"))]
pub(crate) fn matrix(tree: &Tree) -> &RowMajorMatrix<F> {
    whir::mmcs().get_matrices(tree)[0]
}

/// The code words of rows, one in each column of a matrix of `2^levels` places, with `more` columns of zeros behind them. A
/// row is the polynomial with its `length` values as coefficients; `values` gives those of some rows, one after the other.
#[cfg(feature = "prover")]
pub(crate) fn encode<'a>(
    rows: usize,
    length: usize,
    levels: usize,
    more: usize,
    values: impl Fn(Range<usize>) -> Cow<'a, [F]>,
) -> RowMajorMatrix<F> {
    /// Values that are encoded together: the transform holds its matrix twice.
    const TOGETHER: usize = 1 << 19;
    /// Rows that are encoded together at least: a line of the cache.
    const LEAST: usize = 16;
    let dft = Radix2DFTSmallBatch::new(1 << levels);
    let encode = |values: &[F]| {
        // One column of the matrix per row of the polynomial, with the coefficients down the columns.
        let rows = values.len() / length;
        let mut padded = F::zero_vec(rows << levels);
        RowMajorMatrixView::new(values, length).transpose_into(&mut RowMajorMatrixViewMut::new(
            &mut padded[..values.len()],
            rows,
        ));
        dft.dft_batch(RowMajorMatrix::new(padded, rows))
    };
    let some = (TOGETHER / length).clamp(LEAST.min(rows), rows);
    if some == rows && more == 0 {
        return encode(&values(0..rows));
    }
    let width = rows + more;
    let mut all = F::zero_vec(width << levels);
    for first in (0..rows).step_by(some) {
        let last = rows.min(first + some);
        let encoded = encode(&values(first..last));
        all.par_chunks_exact_mut(width)
            .zip(encoded.values.par_chunks_exact(last - first))
            .for_each(|(to, from)| to[first..last].copy_from_slice(from));
    }
    RowMajorMatrix::new(all, width)
}

impl Leaves {
    /// Draws the positions; repeats are kept.
    fn positions(&self, challenger: &mut Challenger) -> Vec<usize> {
        #[cfg(all(test, feature = "prover"))]
        if crate::tests::hooks::stage().challenges.is_some() {
            let word = || crate::tests::hooks::programmed().unwrap_or_default() as usize;
            let drawn: Vec<usize> = (0..self.queries)
                .map(|_| word() % (1 << self.levels))
                .collect();
            crate::tests::hooks::said("positions", || {
                drawn.iter().map(|&p| crate::field::int(p as i64)).collect()
            });
            return drawn;
        }
        (0..self.queries)
            .map(|_| challenger.sample_bits(self.levels))
            .collect()
    }

    fn siblings_limit(&self) -> usize {
        (0..self.levels)
            .map(|level| self.queries.min(1 << level))
            .sum()
    }

    /// The most bytes that [`Leaves::show`] sends.
    pub(crate) fn max_bytes(&self) -> usize {
        let elements = usize::from(self.work > 0) + self.queries * self.width;
        elements * crate::field::F_BYTES + 4 + self.siblings_limit() * DIGEST
    }

    /// Works, draws positions, and shows the leaves at them.
    #[cfg(feature = "prover")]
    pub(crate) fn show(&self, tree: &Tree, sink: &mut Sink) -> Shown {
        let positions = self.draw(sink);
        let elements = self.show_at(&positions, tree, sink);
        Shown {
            positions,
            elements,
        }
    }

    /// Works, and draws positions.
    #[cfg(feature = "prover")]
    pub(crate) fn draw(&self, sink: &mut Sink) -> Vec<usize> {
        if self.work > 0 {
            let witness = sink.transcript.challenger().grind(self.work);
            sink.append_f(&[witness]);
        }
        self.positions(sink.transcript.challenger())
    }

    /// Shows the leaves at some positions. Returns their elements.
    #[cfg(feature = "prover")]
    pub(crate) fn show_at(&self, positions: &[usize], tree: &Tree, sink: &mut Sink) -> Vec<F> {
        let (opened, paths) = whir::mmcs().open_multi_batch(positions, tree);
        let elements: Vec<F> = opened.into_iter().flatten().flatten().collect();
        sink.send_f("pcs columns", &elements);
        let mut siblings = (paths.sibling_hashes.len() as u32).to_le_bytes().to_vec();
        siblings.extend(paths.sibling_hashes.iter().flatten());
        sink.send_bytes("pcs siblings", &siblings);
        elements
    }

    /// Reads the leaves at drawn positions, and checks that they are the tree's.
    pub(crate) fn read(&self, root: &Root, source: &mut Source<'_>) -> Result<Shown, Refused> {
        let positions = self.redraw(source)?;
        let elements = self.read_at(&positions, root, source)?;
        Ok(Shown {
            positions,
            elements,
        })
    }

    /// Checks the work, and draws positions.
    pub(crate) fn redraw(&self, source: &mut Source<'_>) -> Result<Vec<usize>, Refused> {
        if self.work > 0 {
            let witness = source.take_f(1)?[0];
            let challenger = source.transcript.challenger();
            if !challenger.check_witness(self.work, witness) {
                return Err(Refused::Opening("a proof of work is too small".to_string()));
            }
        }
        Ok(self.positions(source.transcript.challenger()))
    }

    /// Reads the leaves at some positions, and checks that they are the tree's. Returns their elements.
    pub(crate) fn read_at(
        &self,
        positions: &[usize],
        root: &Root,
        source: &mut Source<'_>,
    ) -> Result<Vec<F>, Refused> {
        let elements = source.receive_f("pcs columns", self.queries * self.width)?;
        let paths = self.siblings(source)?;
        let opened: Vec<Vec<&[F]>> = elements
            .chunks_exact(self.width)
            .map(|leaf| alloc::vec![leaf])
            .collect();
        let dimensions = [Dimensions {
            width: self.width,
            height: 1 << self.levels,
        }];
        let cap = MerkleCap::new(alloc::vec![root.0]);
        if whir::mmcs()
            .verify_multi_batch(&cap, &dimensions, positions, &opened, &paths)
            .is_err()
        {
            return Err(Refused::Opening(
                "the columns are not leaves of the tree".to_string(),
            ));
        }
        Ok(elements)
    }

    fn siblings(&self, source: &mut Source<'_>) -> Result<PrunedMerklePaths<u8, DIGEST>, Error> {
        let mut count = [0; 4];
        count.copy_from_slice(source.peek(4)?);
        let count = u32::from_le_bytes(count) as usize;
        if count > self.siblings_limit() {
            return Err(Error::Check("the length of a Merkle opening"));
        }
        let bytes = source.receive_bytes("pcs siblings", 4 + count * DIGEST)?;
        let digest = |d: &[u8]| {
            let mut out = [0; DIGEST];
            out.copy_from_slice(d);
            out
        };
        Ok(PrunedMerklePaths {
            sibling_hashes: bytes[4..].chunks_exact(DIGEST).map(digest).collect(),
        })
    }
}
