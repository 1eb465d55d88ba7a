//! The graph of a registration: that a Program's constants, whatever they are, are what its bounds rest on.
//!
//! Nothing is computed from them. Each element is kept in its constant's range by a lookup, and where a step states a sum of
//! absolute weights, each sum is kept below it. So all that a graph of the Program takes for granted of its constants is
//! shown, and its certificates hold for constants that nobody has seen.

use super::{Builder, TABLE, unsupported};
use crate::{
    Error,
    graph::{Graph, Id, Kind, Rows},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};
use carat_program::{MODULUS, Op, Program};

/// Widest range, in bits, of a constant or of a sum.
const WIDEST: u8 = 29;

/// Derives the graph.
pub(crate) fn register(program: &Program) -> Result<Graph, Error> {
    let mut b = Builder::new(program, 1);
    b.constants();
    let first = program.inputs.len();
    let sums = sums(program);
    // Not looked for in the list once for each constant: there may be as many of either as a Program has steps.
    let summed: BTreeSet<usize> = sums.iter().map(|s| s.constant).collect();
    // Each constant's absolute values, once, where they are summed.
    let mut absolute: BTreeMap<usize, Id> = BTreeMap::new();
    for (index, constant) in program.constants.iter().enumerate() {
        let x = b.of[program.constant_value(index).index() - first];
        let (lo, hi) = (constant.range.lo, constant.range.hi);
        let summed = summed.contains(&index);
        // One lookup of a value and what is left of it above zero shows its range too.
        let both = summed && lo < 0 && hi > 0 && hi - lo < TABLE;
        let at = |e: Error| match e {
            Error::Unsupported(why) => Error::Unsupported(format!("constant c{index} {why}")),
            other => other,
        };
        if !both {
            b.exactly(x, lo, hi).map_err(at)?;
        }
        if summed {
            let terms = if lo >= 0 {
                [(1, x)].into()
            } else if hi <= 0 {
                [(-1, x)].into()
            } else {
                let above = b.relu(x).map_err(at)?;
                [(2, above), (-1, x)].to_vec()
            };
            let y = b.linear(terms, 0);
            let most = lo.unsigned_abs().max(hi.unsigned_abs()) as i64;
            (b.graph.nodes[y].lo, b.graph.nodes[y].hi) = (0, most);
            absolute.insert(index, y);
        }
        b.limits()?;
    }
    for sum in sums {
        if let Some(&y) = absolute.get(&sum.constant) {
            b.at_most(y, &sum).map_err(|e| match e {
                Error::Unsupported(why) => {
                    Error::Unsupported(format!("the weight sum of step n{} {why}", sum.node))
                }
                other => other,
            })?;
            b.limits()?;
        }
    }
    // Tables stay as they are: together, two would let more through than either.
    b.multiplicities();
    Ok(b.graph)
}

/// What a step says of the sums of a constant's absolute values.
struct Sum {
    node: usize,
    constant: usize,
    /// The axes that are summed over.
    axes: Vec<usize>,
    most: u64,
}

/// The sums that a Program states ([`carat_program::Weights::l1`]).
fn sums(program: &Program) -> Vec<Sum> {
    let mut out = Vec::new();
    for (node, step) in program.nodes.iter().enumerate() {
        let (Op::Contract { l1, .. } | Op::Conv { l1, .. }) = &step.op else {
            continue;
        };
        let &Some(most) = l1 else { continue };
        let constants = step.inputs.iter().map(|&v| program.constant_index(v));
        for (side, constant) in constants.enumerate() {
            let Some(constant) = constant else { continue };
            let rank = program.constants[constant].shape.dims().len();
            let axes = match &step.op {
                Op::Contract { spec, .. } => {
                    let labels = if side == 0 { &spec.a } else { &spec.b };
                    (0..rank)
                        .filter(|&a| !spec.out.contains(&labels[a]))
                        .collect()
                }
                _ => (1..rank).collect(),
            };
            out.push(Sum {
                node,
                constant,
                axes,
                most,
            });
        }
    }
    out
}

impl Builder<'_> {
    /// Keeps every element of x in `lo..=hi`.
    fn exactly(&mut self, x: Id, lo: i64, hi: i64) -> Result<(), Error> {
        let n = hi - lo + 1;
        let from = self.linear([(1, x)].into(), -lo);
        if n <= TABLE {
            let table = self.table(Rows::Range, n);
            self.lookup(table, [from].into());
            return Ok(());
        }
        // From both ends: two numbers below 2^w do not add up to hi - lo + p.
        let bits = (64 - (n - 1).leading_zeros()) as u8;
        if bits > WIDEST {
            return unsupported("has a range too wide to be shown modulo p");
        }
        self.ranged(from, bits);
        let to = self.linear([(-1, x)].into(), hi);
        self.ranged(to, bits);
        Ok(())
    }

    /// Keeps sums over axes of what lies in `0..=hi` of y's range at most at a bound.
    fn at_most(&mut self, y: Id, sum: &Sum) -> Result<(), Error> {
        let dims = self.dims(y);
        let count: i128 = sum.axes.iter().map(|&a| dims[a] as i128).product();
        let most = count * i128::from(self.range(y).1);
        let bits = (64 - sum.most.leading_zeros()).max(1) as u8;
        // What is left below the bound is negative if the bound is passed, and must not look like a small number then.
        if bits > WIDEST || most + (1i128 << bits) >= i128::from(MODULUS) {
            return unsupported("is too large to be shown modulo p");
        }
        let x = if sum.axes.is_empty() {
            y
        } else {
            let kept = (0..dims.len()).filter(|a| !sum.axes.contains(a));
            let kept = kept.map(|a| dims[a]).collect();
            let axes = sum.axes.clone();
            self.node(Kind::Sum { x: y, axes }, kept, 0, most as i64)
        };
        let left = self.linear([(-1, x)].into(), sum.most as i64);
        self.ranged(left, bits);
        Ok(())
    }
}
