//! Code words: polynomials given by their coefficients, evaluated at all places of a subgroup.

use super::dft;
use crate::{field::F, share};
use p3_dft::TwoAdicSubgroupDft;
use p3_matrix::dense::RowMajorMatrix;
use rayon::prelude::*;

/// Elements that one task clears or transposes.
const TASK: usize = 1 << 14;

/// Columns that are read side by side: what they give of a row fills a line of the cache.
const LINE: usize = 16;

/// The code word of each column, at rate `2^-rate`: columns of one length, a power of two.
pub(super) fn encode(columns: &[&[F]], rate: usize) -> RowMajorMatrix<F> {
    dft().dft_batch(message(columns, rate))
}

/// The columns side by side, over zeros. All threads write them: memory that nobody has touched is slow to touch.
fn message(columns: &[&[F]], rate: usize) -> RowMajorMatrix<F> {
    let (width, height) = (columns.len(), columns[0].len());
    let all = (0..(width * height) << rate).into_par_iter();
    let mut out: Vec<F> = all.with_min_len(TASK).map(|_| F::default()).collect();
    let rows = (TASK / width).clamp(1, height);
    let transpose = |part: usize, out: &mut [F]| {
        for (group, columns) in columns.chunks(LINE).enumerate() {
            let columns: Vec<&[F]> = (columns.iter())
                .map(|c| &c[part * rows..][..out.len() / width])
                .collect();
            for (i, row) in out.chunks_exact_mut(width).enumerate() {
                for (o, column) in row[group * LINE..].iter_mut().zip(&columns) {
                    *o = column[i];
                }
            }
        }
    };
    let mut parts: Vec<&mut [F]> = out[..width * height].chunks_mut(rows * width).collect();
    share::each((0..parts.len(), &mut parts[..]), 1, &|(range, parts)| {
        range
            .zip(parts)
            .for_each(|(part, out)| transpose(part, out));
    });
    RowMajorMatrix::new(out, width)
}
