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
        io: None,
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
    Ok(Committed::new(program, tensors, seed)?.root)
}

/// Where the values of a commitment lie: a matrix with [`ROWS`] rows, row after row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// Variables that number the columns.
    pub(crate) columns: usize,
    /// Where each tensor begins, and its variables.
    pub(crate) blocks: Vec<(usize, usize)>,
}

impl Table {
    /// The table for tensors of these shapes.
    pub(crate) fn new<'a>(shapes: impl Iterator<Item = &'a [usize]>) -> Result<Self, Error> {
        let sizes: Vec<usize> = shapes.map(vars).collect();
        let (offsets, end) = blocks(&sizes);
        let columns = bits(end).saturating_sub(8).max(COLUMNS.0);
        if columns > COLUMNS.1 {
            return Err(Error::Unsupported(format!(
                "an io/v1 commitment holds at most 2^{} values, not 2^{}",
                COLUMNS.1 + 8,
                bits(end)
            )));
        }
        Ok(Self {
            columns,
            blocks: offsets.into_iter().zip(sizes).collect(),
        })
    }
}

/// A commitment with everything under it.
#[cfg_attr(
    not(feature = "prover"),
    expect(dead_code, reason = "a checker looks at the root only")
)]
pub(crate) struct Committed {
    pub(crate) root: Digest,
    /// Coefficients of the columns, row by row: values, then random numbers.
    pub(crate) rows: Vec<F>,
    /// The leaves, one after the other.
    pub(crate) code: Vec<F>,
    pub(crate) salts: Vec<Digest>,
    /// The tree, from the leaves up.
    pub(crate) levels: Vec<Vec<Digest>>,
}

impl Committed {
    pub(crate) fn new(program: &Digest, tensors: &[&Tensor], seed: &Seed) -> Result<Self, Error> {
        let dims: Vec<Vec<usize>> = tensors.iter().map(|t| t.shape().dims()).collect();
        let table = Table::new(dims.iter().map(|d| &d[..]))?;
        let columns = 1 << table.columns;
        // Values row by row, then the random rows, then the rest of the domain.
        let mut matrix = vec![F::ZERO; LEAVES * columns];
        for ((tensor, dims), &(at, _)) in tensors.iter().zip(&dims).zip(&table.blocks) {
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
        let rows = matrix[..2 * ROWS * columns].to_vec();
        let code = Radix2DFTSmallBatch::<F>::default()
            .dft_batch(RowMajorMatrix::new(matrix, columns))
            .to_row_major_matrix()
            .values;
        let salts: Vec<Digest> = (0..LEAVES)
            .map(|i| Digest::of(LEAF_SALT, &[seed.0.as_bytes(), &(i as u64).to_be_bytes()]))
            .collect();
        let leaves = salts.iter().zip(code.chunks_exact(columns));
        let mut levels = vec![
            leaves
                .map(|(salt, row)| leaf(salt, row))
                .collect::<Vec<_>>(),
        ];
        while levels[levels.len() - 1].len() > 1 {
            let below = &levels[levels.len() - 1];
            levels.push(below.chunks_exact(2).map(|p| node(&p[0], &p[1])).collect());
        }
        let root = top(program, table.columns, &levels[levels.len() - 1][0]);
        Ok(Self {
            root,
            rows,
            code,
            salts,
            levels,
        })
    }
}

/// A leaf of the tree.
pub(crate) fn leaf(salt: &Digest, row: &[F]) -> Digest {
    let bytes: Vec<u8> = row
        .iter()
        .flat_map(|v| v.as_canonical_u32().to_le_bytes())
        .collect();
    Digest::of(LEAF, &[salt.as_bytes(), &bytes])
}

/// A node of the tree.
pub(crate) fn node(left: &Digest, right: &Digest) -> Digest {
    Digest::of(NODE, &[left.as_bytes(), right.as_bytes()])
}

/// The commitment, from the top of the tree.
pub(crate) fn top(program: &Digest, columns: usize, tree: &Digest) -> Digest {
    Digest::of(
        ROOT,
        &[program.as_bytes(), &[columns as u8], tree.as_bytes()],
    )
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
