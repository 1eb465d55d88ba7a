//! Steps that select by index, and the index of a maximum.

use super::{Builder, unsupported};
use crate::{
    Error,
    graph::{Fill, Id, Kind},
    layout::bits,
};
use alloc::{vec, vec::Vec};
use carat_program::{HALF, ValueId};

impl Builder<'_> {
    /// Where an element comes from, as a position in the padded shape of the value that it is taken from, is a known
    /// place plus a multiple of the index: a lookup in that value has one row there.
    pub(super) fn gather(
        &mut self,
        value: ValueId,
        index: ValueId,
        axis: usize,
        full: Vec<usize>,
    ) -> Id {
        let bare = self.program.constant_index(value).is_some();
        let x = if bare {
            self.of[value.index()]
        } else {
            self.operand(value)
        };
        let dims = self.dims(x);
        // One step along an axis of x, in positions.
        let mut strides = vec![1i64; dims.len()];
        for a in (1..dims.len()).rev() {
            strides[a - 1] = strides[a] << bits(dims[a]);
        }
        let axis = if bare { axis } else { axis + 1 };
        let after = dims.len() - axis - 1;
        let own = full.len() + 1 - dims.len() - usize::from(bare);
        let mut steps = vec![0; usize::from(bare)];
        steps.extend_from_slice(&strides[..axis]);
        steps.extend(core::iter::repeat_n(0, own));
        steps.extend_from_slice(&strides[axis + 1..]);
        let last = (steps.iter().zip(&full))
            .map(|(&s, &d)| s * (d as i64 - 1))
            .sum();
        let index = self.placed(index, after, &full[1..]);
        let ramp = self.node(Kind::Ramp { steps }, full.clone(), 0, last);
        let at = self.linear(vec![(strides[axis], index), (1, ramp)], 0);
        let (lo, hi) = self.range(x);
        let table = self.value_table(0, x);
        let y = self.column(full, lo, hi, Fill::Table { x: at, table });
        self.lookup(table, vec![at, y]);
        y
    }

    /// The index of the maximum along an axis, which keeps length one. `2^k x + 2^k - 1 - i` has its maximum at the
    /// lowest index of the largest x; its last k bits tell which.
    pub(super) fn arg_max(&mut self, x: Id, axis: usize) -> Result<Id, Error> {
        let dims = self.dims(x);
        let n = dims[axis];
        if n == 1 {
            return Ok(self.linear(vec![(0, x)], 0));
        }
        let k = bits(n) as u8;
        let unit = 1i64 << k;
        let (lo, hi) = self.range(x);
        if i128::from(lo) * i128::from(unit) < i128::from(-HALF)
            || i128::from(hi) * i128::from(unit) + i128::from(unit) > i128::from(HALF)
        {
            return unsupported("looks for the place of a maximum among values too wide for it");
        }
        let mut steps = vec![0; dims.len()];
        steps[axis] = 1;
        let place = self.node(Kind::Ramp { steps }, dims, 0, n as i64 - 1);
        let tagged = self.linear(vec![(unit, x), (-1, place)], unit - 1);
        let most = self.reduce_max(tagged, axis)?;
        // Rounded down: the rule rounds to the nearest.
        let moved = self.linear(vec![(1, most)], -unit / 2);
        let x = self.shift(moved, k);
        Ok(self.linear(vec![(unit, x), (-1, most)], unit - 1))
    }
}
