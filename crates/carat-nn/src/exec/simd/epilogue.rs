//! Elementwise steps applied to a tile of accumulators before it leaves the cache.

use super::multiversion;

/// Along which axis of a tile a vector of addends runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Along {
    /// One addend per row.
    Rows,
    /// One addend per column.
    Columns,
}

/// One elementwise step. All arithmetic is modulo 2^32 (see the module above).
#[derive(Debug, Clone)]
pub(crate) enum Epilogue {
    /// `x * scale + bias`.
    Affine { scale: i32, bias: i32 },
    /// `x * scale + addend`.
    Add { scale: i32, addends: Vec<i32>, along: Along },
    /// `(x + 2^(bits-1)) >> bits`.
    Shift { bits: u32 },
    /// `min(max(x, lo), hi)`.
    Clamp { lo: i32, hi: i32 },
    /// `table[x - offset]`. The index is kept inside the table here too: tiles have columns that nobody reads.
    Lut { offset: i32, table: Vec<i32> },
}

/// Applies steps to one row of a tile whose first element has the given row and column.
#[inline(always)]
pub(crate) fn row(steps: &[Epilogue], x: &mut [i32], row: usize, column: usize) {
    for step in steps {
        match step {
            Epilogue::Affine { scale: 1, bias } => x.iter_mut().for_each(|v| *v = v.wrapping_add(*bias)),
            Epilogue::Affine { scale, bias } => {
                x.iter_mut().for_each(|v| *v = v.wrapping_mul(*scale).wrapping_add(*bias));
            }
            Epilogue::Add { scale, addends, along: Along::Rows } => {
                let addend = addends[row % addends.len()];
                x.iter_mut().for_each(|v| *v = v.wrapping_mul(*scale).wrapping_add(addend));
            }
            Epilogue::Add { scale, addends, along: Along::Columns } => {
                for (v, addend) in x.iter_mut().zip(&addends[column..]) {
                    *v = v.wrapping_mul(*scale).wrapping_add(*addend);
                }
            }
            Epilogue::Shift { bits } => {
                let half = 1i32 << (bits - 1);
                x.iter_mut().for_each(|v| *v = v.wrapping_add(half) >> bits);
            }
            Epilogue::Clamp { lo, hi } => x.iter_mut().for_each(|v| *v = (*v).max(*lo).min(*hi)),
            Epilogue::Lut { offset, table } => {
                let last = table.len() - 1;
                x.iter_mut().for_each(|v| *v = table[(v.wrapping_sub(*offset) as u32 as usize).min(last)]);
            }
        }
    }
}

multiversion! {
    /// Applies steps to a row, as [`row`] does.
    fn apply(steps: &[Epilogue], x: &mut [i32], at_row: usize, column: usize) {
        row(steps, x, at_row, column);
    }
}
