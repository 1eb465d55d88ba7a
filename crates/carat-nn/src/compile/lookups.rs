//! What a program costs a prover: elements that are committed and looked up.

use carat_program::{Op, PoolKind, Program, Range, ValueId};
use serde::Serialize;

/// Most values that one look-up table holds: a wider shift or clamp is proven in parts.
pub const TABLE_VALUES: i64 = 1 << 16;

/// Whether more values than one look-up table holds lie in a range.
pub(super) fn is_wide(range: Range) -> bool {
    range.hi - range.lo >= TABLE_VALUES
}

/// Elements of a program by what they cost in a proof. Contractions, sums and layout are not in it: they cost almost
/// nothing there.
///
/// A shift, the clamp after it and the table after that are one look-up where nothing else uses the values between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Lookups {
    /// Elements of all shifts.
    pub shift: u64,
    /// Elements of all clamps.
    pub clamp: u64,
    /// Elements of all tables' results.
    pub lut: u64,
    /// Comparisons of all maxima: one per element that enters one (for windows, per element of each window).
    pub max: u64,
    /// Elements of quotients and inverse square roots.
    pub quotient: u64,
    /// Elements of chains of shift, clamp and table that are one look-up each.
    pub single: u64,
    /// Elements of chains that start with more values than one table holds, and are several look-ups each.
    pub wide: u64,
    /// Most values that the result of a shift can take over its static range; 0 without a shift.
    pub largest_shift: i64,
    /// Most values that an operand of a maximum can take; 0 without a maximum.
    pub largest_max: i64,
}

impl Lookups {
    /// Counts the elements of a validated program.
    #[must_use]
    pub fn of(program: &Program) -> Self {
        let mut found = Self::default();
        let mut uses = vec![0usize; program.value_count()];
        let used = program.nodes.iter().flat_map(|n| &n.inputs);
        for v in used.chain(program.outputs.iter().map(|o| &o.value)) {
            uses[v.index()] += 1;
        }
        let first = program.value_count() - program.nodes.len();
        // Place in a chain: shift, clamp, table.
        let stage = |op: &Op| match op {
            Op::Shift { .. } => 1,
            Op::Clamp { .. } => 2,
            Op::Lut { .. } => 3,
            _ => 0,
        };
        let values = |r: Range| r.hi - r.lo + 1;
        let operand = |v: ValueId| program.value(v).map_or(Range::new(0, 0), |x| x.range);
        for node in &program.nodes {
            let elements = node.shape.elements() as u64;
            let entering = node.inputs.first().and_then(|&x| program.value(x));
            let entering = entering.map_or(0, |x| x.shape.elements() as u64);
            let compared = match &node.op {
                Op::Shift { .. } => {
                    found.shift += elements;
                    found.largest_shift = found.largest_shift.max(values(node.range));
                    0
                }
                Op::Clamp { .. } => {
                    found.clamp += elements;
                    0
                }
                Op::Lut { .. } => {
                    found.lut += elements;
                    0
                }
                Op::Quotient { .. } | Op::InverseSqrt { .. } => {
                    found.quotient += elements;
                    0
                }
                Op::Pool {
                    kind: PoolKind::Max,
                    window,
                } => window
                    .kernel
                    .iter()
                    .fold(elements, |n, &k| n.saturating_mul(k.into())),
                Op::Max => 2 * elements,
                Op::ReduceMax { .. } | Op::ArgMax { .. } => entering,
                _ => 0,
            };
            if compared > 0 {
                found.max = found.max.saturating_add(compared);
                let widest = node.inputs.iter().map(|&x| values(operand(x)));
                found.largest_max = found.largest_max.max(widest.max().unwrap_or(0));
            }
            let own = stage(&node.op);
            let before = node.inputs.first().and_then(|x| {
                let i = x.index().checked_sub(first)?;
                (uses[x.index()] == 1).then(|| stage(&program.nodes[i].op))
            });
            if own == 0 || before.is_some_and(|b| b > 0 && b < own) {
                continue;
            }
            // A table's index fits a table by the program's own rules.
            let wide = match node.op {
                Op::Shift { .. } => is_wide(node.range),
                Op::Clamp { .. } => is_wide(operand(node.inputs[0])),
                _ => false,
            };
            if wide {
                found.wide += elements;
            } else {
                found.single += elements;
            }
        }
        found
    }
}
