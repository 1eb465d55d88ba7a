//! `io/v1`: a hiding commitment to the integers of an input and an output, which a later proof can be tied to without
//! showing them.
//!
//! The values lie in a matrix of 256 rows; 256 rows of random numbers stand below it. Each column is the coefficients of a
//! polynomial, evaluated at 4,096 points (rate 1/8); a leaf is one point's row under a salt of its own, and the root is over
//! the leaves. A proof opens a combination of the columns at some of the leaves: as long as at most 256 leaves are ever
//! shown, what they show is uniformly random, whatever the values. `docs/io-commitment.md` is the specification, with the
//! argument and test vectors.

use crate::{
    Error,
    field::{F, int},
    key::Values,
    layout::{bits, padded_positions, vars},
};
use alloc::{format, vec, vec::Vec};
use carat_program::{Program, Tensor};
use carat_receipt::{Digest, Salt};
use p3_dft::{Radix2DFTSmallBatch, TwoAdicSubgroupDft};
use p3_field::{PrimeCharacteristicRing, PrimeField32};
use p3_matrix::{Matrix, dense::RowMajorMatrix};

/// The name of the scheme, as Statements carry it.
pub const SCHEME: &str = "io/v1";
/// Rows of values, and as many of random numbers.
pub const ROWS: usize = 256;
/// Leaves: points at which each column is evaluated.
pub const LEAVES: usize = 4096;
/// Leaves that may ever be shown of one commitment.
pub const MAX_SHOWN: usize = ROWS;
/// Least and most columns, as powers of two.
const COLUMNS: (usize, usize) = (2, 16);

const SEED: &str = "carat/io-seed/v1";
const MASK: &str = "carat/io-mask/v1";
const LEAF_SALT: &str = "carat/io-salt/v1";
const LEAF: &str = "carat/io-leaf/v1";
const NODE: &str = "carat/io-node/v1";
const ROOT: &str = "carat/io/v1";

/// What all random numbers of one commitment come from: 32 secret bytes, used once.
#[derive(Clone)]
pub struct Seed(Digest);

impl core::fmt::Debug for Seed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seed(hidden)")
    }
}

impl Seed {
    /// The seed that goes with a Statement: from the salts of its two other commitments, so that an Opening needs nothing
    /// more than it has.
    #[must_use]
    pub fn from_salts(input: &Salt, output: &Salt) -> Self {
        Self(Digest::of(SEED, &[input.as_bytes(), output.as_bytes()]))
    }
}

/// Commits to the values of a Statement about a Program.
///
/// # Errors
/// [`Error::Values`] if the values do not fit the Program; [`Error::Unsupported`] if there are more than 2^24 of them.
pub fn commit(program: &Program, values: &Values<'_>, seed: &Seed) -> Result<Digest, Error> {
    crate::Instance {
        statement: Digest::from_bytes([0; 32]),
        values: Some(*values),
    }
    .check(program)?;
    let tensors: Vec<&Tensor> = values.inputs.iter().chain(values.outputs).collect();
    root(&program.digest(), &tensors, seed)
}

/// The commitment to tensors, whatever they are.
///
/// # Errors
/// [`Error::Unsupported`] if there are more than 2^24 values.
pub fn root(program: &Digest, tensors: &[&Tensor], seed: &Seed) -> Result<Digest, Error> {
    let dims: Vec<Vec<usize>> = tensors.iter().map(|t| t.shape().dims()).collect();
    let sizes: Vec<usize> = dims.iter().map(|d| vars(d)).collect();
    let (offsets, end) = blocks(&sizes);
    let columns_log = bits(end).saturating_sub(8).max(COLUMNS.0);
    if columns_log > COLUMNS.1 {
        return Err(Error::Unsupported(format!(
            "an io/v1 commitment holds at most 2^{} values, not 2^{}",
            COLUMNS.1 + 8,
            bits(end)
        )));
    }
    let columns = 1 << columns_log;
    // Values row by row, then the random rows, then the rest of the domain.
    let mut matrix = vec![F::ZERO; LEAVES * columns];
    for ((tensor, dims), &at) in tensors.iter().zip(&dims).zip(&offsets) {
        if dims.iter().all(|d| d.is_power_of_two()) {
            for (i, &v) in tensor.data().iter().enumerate() {
                matrix[at + i] = int(v.into());
            }
        } else {
            for (i, &v) in padded_positions(dims).into_iter().zip(tensor.data()) {
                matrix[at + i] = int(v.into());
            }
        }
    }
    random(seed, &mut matrix[ROWS * columns..2 * ROWS * columns]);
    let code = Radix2DFTSmallBatch::<F>::default()
        .dft_batch(RowMajorMatrix::new(matrix, columns))
        .to_row_major_matrix();
    let mut row = Vec::with_capacity(4 * columns);
    let mut level: Vec<Digest> = (0..LEAVES)
        .map(|i| {
            row.clear();
            for v in &code.values[i * columns..(i + 1) * columns] {
                row.extend_from_slice(&v.as_canonical_u32().to_le_bytes());
            }
            let salt = Digest::of(LEAF_SALT, &[seed.0.as_bytes(), &(i as u64).to_be_bytes()]);
            Digest::of(LEAF, &[salt.as_bytes(), &row])
        })
        .collect();
    while level.len() > 1 {
        level = level
            .chunks_exact(2)
            .map(|pair| Digest::of(NODE, &[pair[0].as_bytes(), pair[1].as_bytes()]))
            .collect();
    }
    Ok(Digest::of(
        ROOT,
        &[
            program.as_bytes(),
            &[columns_log as u8],
            level[0].as_bytes(),
        ],
    ))
}

/// Checks that a root is the commitment to these values under this seed.
///
/// # Errors
/// [`Error::Check`] if it is another; those of [`commit`].
pub fn check(
    program: &Program,
    values: &Values<'_>,
    seed: &Seed,
    root: &Digest,
) -> Result<(), Error> {
    if commit(program, values, seed)? == *root {
        Ok(())
    } else {
        Err(Error::Check("the io/v1 commitment to these values"))
    }
}

/// Where each tensor's block of `2^size` positions begins, and where the last one ends: the largest first, equal ones in
/// their order, so that each begins at a multiple of its own size.
fn blocks(sizes: &[usize]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&i| core::cmp::Reverse(sizes[i]));
    let (mut offsets, mut end) = (vec![0; sizes.len()], 0usize);
    for i in order {
        offsets[i] = end;
        // A tensor has fewer than 2^31 elements, and the Program bounds their number.
        end = end.saturating_add(1usize.checked_shl(sizes[i] as u32).unwrap_or(usize::MAX));
    }
    (offsets, end)
}

/// Fills a slice with uniform elements: 31-bit words of a hash stream, those beyond the field left out.
fn random(seed: &Seed, out: &mut [F]) {
    let mut counter = 0u64;
    let mut filled = 0;
    while filled < out.len() {
        let block = Digest::of(MASK, &[seed.0.as_bytes(), &counter.to_be_bytes()]);
        counter += 1;
        for word in block.as_bytes().chunks_exact(4) {
            let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]) & 0x7fff_ffff;
            if word < F::ORDER_U32 && filled < out.len() {
                out[filled] = F::from_u32(word);
                filled += 1;
            }
        }
    }
}
