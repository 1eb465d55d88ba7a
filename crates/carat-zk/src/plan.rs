//! Where everything lies: blocks of the two commitments and of the lookup argument.

use crate::{
    Error,
    graph::{Graph, Kind, Node},
    hide,
    key::Mode,
    layout::{AxisMap, bits, reshape_groups, vars},
    lower::{lower, register},
    store::Store,
};
use alloc::{format, vec, vec::Vec};
use carat_program::Program;
use p3_field::PrimeField32;

/// Most variables of a commitment or of the lookup argument: the two-adicity of the field bounds the code.
const MAX_VARS: usize = 26;

/// Most statements of one proof.
const MAX_STATEMENTS: usize = 1 << 16;

/// Most entries of kernels that a verifier evaluates one by one, over a whole proof: about 50 ms of work.
const MAX_KERNEL: usize = 1 << 20;

/// Most variables of a value that is given out: the verifier evaluates it itself.
const MAX_OUTPUT_VARS: usize = 24;

/// A block of `2^vars` positions that starts at a multiple of its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) offset: usize,
    pub(crate) vars: usize,
}

impl Block {
    /// The positions.
    #[cfg(feature = "prover")]
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
    pub(crate) fn of(sizes: &[usize]) -> Result<Self, Error> {
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
            // Here, not after the loop: a `usize` may have 32 bits.
            if offset > 1 << MAX_VARS {
                return Err(too_large(MAX_VARS + 1));
            }
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
        "it needs 2^{vars} or more committed or looked-up values; at most 2^{MAX_VARS} are possible in one proof"
    ))
}

/// The layout of a proof: what both sides derive from the Program and the number of statements.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// How many statements a proof covers.
    pub(crate) statements: usize,
    pub(crate) graph: Graph,
    /// Columns in the witness commitment.
    pub(crate) witness: Store,
    /// Constants in the weights commitment: one polynomial, or a large and a small one.
    pub(crate) weights: Vec<Store>,
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
        weights_vars: plan.weights[0].vars,
        looked_up: graph
            .lookups
            .iter()
            .map(|l| elements(&graph.nodes[l.tuple[0]].dims))
            .sum(),
        table_rows: graph.tables.iter().map(|t| elements(&t.dims)).sum(),
        leaf_vars: plan.leaves.vars,
    })
}

impl Plan {
    /// Whether anything is committed besides the witness.
    pub(crate) fn has_constants(&self) -> bool {
        self.weights.iter().any(|store| !store.pieces.is_empty())
    }

    /// The layout of a proof of so many statements in a mode.
    pub(crate) fn of(program: &Program, lead: usize, mode: Mode) -> Result<Self, Error> {
        let plan = Self::new(program, lead)?;
        if mode.hidden().weights {
            plan.hide_weights(program)
        } else {
            Ok(plan)
        }
    }

    /// The layout of the registration of a commitment that hides a Program's constants.
    pub(crate) fn registration(program: &Program) -> Result<Self, Error> {
        valid(program)?;
        Self::around(program, 1, register(program)?)?.hide_weights(program)
    }

    /// The same, with the constants under a commitment that hides them.
    fn hide_weights(self, program: &Program) -> Result<Self, Error> {
        Ok(Self {
            weights: vec![hide::weights::store(program)?],
            ..self
        })
    }

    pub(crate) fn new(program: &Program, lead: usize) -> Result<Self, Error> {
        if !(1..=MAX_STATEMENTS).contains(&lead) {
            return Err(Error::Unsupported(format!(
                "a proof covers 1 to {MAX_STATEMENTS} statements, not {lead}"
            )));
        }
        valid(program)?;
        Self::around(program, lead, lower(program, lead)?)
    }

    fn around(program: &Program, lead: usize, graph: Graph) -> Result<Self, Error> {
        limits(&graph)?;
        let columns: Vec<Vec<usize>> = graph.columns.iter().map(|c| c.dims.clone()).collect();
        let leaves: Vec<usize> = graph
            .lookups
            .iter()
            .map(|l| graph.nodes[l.tuple[0]].vars())
            .chain(graph.tables.iter().map(|t| vars(&t.dims)))
            .collect();
        let witness = Store::one(&columns)?;
        let leaves = Packing::of(&leaves)?;
        // A multiplicity must not wrap: fewer lookups than p.
        debug_assert!(1u64 << MAX_VARS < u64::from(<crate::field::F as PrimeField32>::ORDER_U32));
        Ok(Self {
            statements: lead,
            weights: weights_stores(program)?,
            graph,
            witness,
            leaves,
        })
    }
}

/// What follows rests on the static rules, and a Program may have been built by hand.
fn valid(program: &Program) -> Result<(), Error> {
    program
        .validate()
        .map_err(|e| Error::Unsupported(format!("it breaks the rules of Programs: {e}")))
}

/// Refuses what would cost a verifier too much. Every other part of its work is linear in what it is given: the Program,
/// the values and the proof.
fn limits(graph: &Graph) -> Result<(), Error> {
    let kernel = graph.nodes.iter().fold(0usize, |n, node| {
        n.saturating_add(kernel_entries(graph, node))
    });
    if kernel > MAX_KERNEL {
        return Err(Error::Unsupported(format!(
            "checking its moves and windows takes {kernel} steps; at most {MAX_KERNEL} are possible in one proof"
        )));
    }
    match graph.outputs.iter().map(|&id| graph.nodes[id].vars()).max() {
        Some(vars) if vars > MAX_OUTPUT_VARS => Err(Error::Unsupported(format!(
            "it gives out a value in {vars} variables; at most {MAX_OUTPUT_VARS} are possible"
        ))),
        _ => Ok(()),
    }
}

/// Entries of the tables that the verifier goes through to settle a claim on a value.
fn kernel_entries(graph: &Graph, node: &Node) -> usize {
    let sum = |parts: &mut dyn Iterator<Item = usize>| parts.fold(0, usize::saturating_add);
    let axis = |map: &AxisMap, from: usize, to: usize| {
        to.saturating_mul(map.taps)
            .saturating_add(from)
            .saturating_add(1 << bits(to))
    };
    match &node.kind {
        Kind::Axes { x, maps } => {
            let from = &graph.nodes[*x].dims;
            sum(&mut (0..maps.len())
                .filter(|&a| !maps[a].is_identity(from[a], node.dims[a]))
                .map(|a| axis(&maps[a], from[a], node.dims[a])))
        }
        Kind::Conv { x, maps, .. } => {
            let from = &graph.nodes[*x].dims;
            sum(&mut (0..maps.len()).map(|a| axis(&maps[a], from[4 + a], node.dims[4 + a])))
        }
        Kind::Reshape(x) => {
            let from = &graph.nodes[*x].dims;
            sum(&mut reshape_groups(from, &node.dims)
                .iter()
                .filter(|g| !g.free)
                .map(|g| {
                    let of = |dims: &[usize]| dims.iter().fold(1usize, |n, &d| n.saturating_mul(d));
                    of(&from[g.from.clone()]).saturating_add(of(&node.dims[g.to.clone()]))
                }))
        }
        _ => 0,
    }
}

/// Where the constants of a Program lie in its weights commitment. Does not depend on anything else.
pub(crate) fn weights_stores(program: &Program) -> Result<Vec<Store>, Error> {
    let dims: Vec<Vec<usize>> = program.constants.iter().map(|c| c.shape.dims()).collect();
    Store::split(&dims)
}

/// Variables of the position within a row, when the claims on a polynomial in `vars` variables are joined over rows.
pub(crate) fn row_vars(vars: usize) -> usize {
    vars.div_ceil(2)
}
