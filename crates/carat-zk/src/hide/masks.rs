//! A mask that is made for one opening: random coefficients, and a tree over their code word.

use super::code::element;
use crate::{
    field::{DEGREE, E, F},
    pcs::leaves::Leaves,
};

#[cfg(feature = "prover")]
use super::{
    code::slices,
    random::{Purpose, Random},
};
#[cfg(feature = "prover")]
use crate::pcs::{
    Root,
    leaves::{self, Tree},
};
#[cfg(feature = "prover")]
use p3_dft::{Radix2DFTSmallBatch, TwoAdicSubgroupDft};
#[cfg(feature = "prover")]
use p3_matrix::dense::RowMajorMatrix;

/// What is shown of a mask: an element of E and a salt at each position.
pub(crate) fn leaves(levels: usize, queries: usize, work: usize) -> Leaves {
    Leaves {
        width: 2 * DEGREE,
        levels,
        queries,
        work,
    }
}

/// The mask at the positions that were shown.
pub(crate) fn shown(elements: &[F]) -> impl Iterator<Item = E> + '_ {
    elements
        .chunks_exact(2 * DEGREE)
        .map(|leaf| element(|d| leaf[d]))
}

/// A mask and its tree.
#[cfg(feature = "prover")]
pub(crate) struct Mask {
    pub(crate) coefficients: Vec<E>,
    pub(crate) tree: Tree,
}

#[cfg(feature = "prover")]
impl Mask {
    /// A mask with `length` coefficients, on a domain of `2^levels` places.
    pub(crate) fn new(
        [elements, salts]: [Purpose; 2],
        length: usize,
        levels: usize,
        random: &mut Random,
    ) -> (Root, Self) {
        let coefficients: Vec<E> = (0..length).map(|_| random.e(elements)).collect();
        let width = 2 * DEGREE;
        let mut matrix = vec![F::default(); width << levels];
        for (row, c) in matrix.chunks_exact_mut(width).zip(&coefficients) {
            row[..DEGREE].copy_from_slice(slices(c));
        }
        // Random at every place, so as well random before the transform.
        for row in matrix.chunks_exact_mut(width) {
            random.fill(salts, &mut row[DEGREE..]);
        }
        let encoded = Radix2DFTSmallBatch::default().dft_batch(RowMajorMatrix::new(matrix, width));
        let (root, tree) = leaves::commit(encoded);
        (root, Self { coefficients, tree })
    }
}
