//! Where everything lies: blocks of the two commitments and of the lookup argument.

use crate::{
    Error,
    graph::Graph,
    layout::{bits, vars},
    lower::lower,
};
use alloc::{format, vec, vec::Vec};
use carat_program::Program;
use p3_field::PrimeField32;

/// Most variables of a commitment or of the lookup argument: the two-adicity of the field bounds the code.
const MAX_VARS: usize = 26;

/// A block of `2^vars` positions that starts at a multiple of its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) offset: usize,
    pub(crate) vars: usize,
}

impl Block {
    /// The positions.
    pub(crate) fn range(self) -> core::ops::Range<usize> {
        self.offset..self.offset + (1 << self.vars)
    }
}

/// Blocks side by side, largest first, in a space of `2^vars` positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packing {
    pub(crate) blocks: Vec<Block>,
    pub(crate) vars: usize,
}

impl Packing {
    fn of(sizes: &[usize]) -> Result<Self, Error> {
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.sort_by_key(|&i| core::cmp::Reverse(sizes[i]));
        let mut blocks = vec![Block { offset: 0, vars: 0 }; sizes.len()];
        let mut offset = 0usize;
        for i in order {
            if sizes[i] > MAX_VARS {
                return Err(too_large(sizes[i]));
            }
            blocks[i] = Block {
                offset,
                vars: sizes[i],
            };
            offset += 1 << sizes[i];
        }
        let vars = bits(offset.max(1));
        if vars > MAX_VARS {
            return Err(too_large(vars));
        }
        Ok(Self { blocks, vars })
    }

    /// A point of the whole space cut for a block: the prefix's coordinates, and the block's own.
    pub(crate) fn cut<'a, T>(&self, block: Block, point: &'a [T]) -> (&'a [T], &'a [T]) {
        point.split_at(self.vars - block.vars)
    }

    /// The index of a block among blocks of its size.
    pub(crate) fn prefix(block: Block) -> usize {
        block.offset >> block.vars
    }
}

fn too_large(vars: usize) -> Error {
    Error::Unsupported(format!(
        "it needs 2^{vars} committed or looked-up values; at most 2^{MAX_VARS} are possible in one proof"
    ))
}

/// The layout of a proof: what both sides derive from the Program and the number of statements.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) graph: Graph,
    /// Columns in the witness commitment.
    pub(crate) witness: Packing,
    /// Constants in the weights commitment.
    pub(crate) weights: Packing,
    /// Lookups, then tables, in the lookup argument.
    pub(crate) leaves: Packing,
}

/// How large a proof is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Committed witness values, and the variables of their polynomial.
    pub committed: usize,
    /// Variables of the witness polynomial.
    pub witness_vars: usize,
    /// Variables of the polynomial of all constants.
    pub weights_vars: usize,
    /// Looked-up tuples.
    pub looked_up: usize,
    /// Rows of all tables.
    pub table_rows: usize,
    /// Variables of the lookup argument.
    pub leaf_vars: usize,
}

/// The sizes of a proof of `statements` statements.
///
/// # Errors
/// [`Error::Unsupported`] for a Program that has no proof.
pub fn sizes(program: &Program, statements: usize) -> Result<Sizes, Error> {
    let plan = Plan::new(program, statements)?;
    let graph = &plan.graph;
    let elements = |dims: &[usize]| dims.iter().product::<usize>();
    Ok(Sizes {
        committed: graph.columns.iter().map(|c| elements(&c.dims)).sum(),
        witness_vars: plan.witness.vars,
        weights_vars: plan.weights.vars,
        looked_up: graph
            .lookups
            .iter()
            .map(|l| elements(&graph.nodes[l.tuple[0]].dims))
            .sum(),
        table_rows: graph.tables.iter().map(|t| t.len).sum(),
        leaf_vars: plan.leaves.vars,
    })
}

impl Plan {
    pub(crate) fn new(program: &Program, lead: usize) -> Result<Self, Error> {
        let graph = lower(program, lead)?;
        let columns: Vec<usize> = graph.columns.iter().map(|c| vars(&c.dims)).collect();
        let leaves: Vec<usize> = graph
            .lookups
            .iter()
            .map(|l| graph.nodes[l.tuple[0]].vars())
            .chain(graph.tables.iter().map(|t| bits(t.len)))
            .collect();
        let witness = Packing::of(&columns)?;
        let leaves = Packing::of(&leaves)?;
        // A multiplicity must not wrap: fewer lookups than p.
        debug_assert!(1u64 << MAX_VARS < u64::from(<crate::field::F as PrimeField32>::ORDER_U32));
        Ok(Self {
            weights: weights_packing(program)?,
            graph,
            witness,
            leaves,
        })
    }
}

/// Where the constants of a Program lie in its weights commitment. Does not depend on anything else.
pub(crate) fn weights_packing(program: &Program) -> Result<Packing, Error> {
    let sizes: Vec<usize> = program
        .constants
        .iter()
        .map(|c| vars(&c.shape.dims()))
        .collect();
    Packing::of(&sizes)
}

/// Variables of the position within a row, when the claims on a polynomial in `vars` variables are joined over rows.
pub(crate) fn row_vars(vars: usize) -> usize {
    vars.div_ceil(2)
}
