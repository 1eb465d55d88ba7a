//! Elementwise steps applied to a tile of accumulators before it leaves the cache.

use super::{LANES, multiversion};

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
pub(crate) enum Step {
    /// `x * scale + bias`.
    Affine { scale: i32, bias: i32 },
    /// `x * scale + addend`.
    Add {
        scale: i32,
        addends: Vec<i32>,
        along: Along,
    },
    /// `(x + 2^(bits-1)) >> bits`.
    Shift { bits: u32 },
    /// `min(max(x, lo), hi)`.
    Clamp { lo: i32, hi: i32 },
    /// `table[x - offset]`.
    Lut { offset: i32, table: Vec<i32> },
}

/// Steps merged into as few passes as possible.
#[derive(Debug, Clone, Default)]
pub(crate) struct Epilogue(Vec<Pass>);

#[derive(Debug, Clone)]
enum Pass {
    /// `min(max((x * scale + addend) >> bits, lo), hi)`; the addend holds the rounding half as well.
    Scale {
        scale: i32,
        addend: Addend,
        bits: u32,
        lo: i32,
        hi: i32,
    },
    /// `table[x - offset]`. The index is kept inside the table here too: tiles have columns that nobody reads.
    Lut { offset: i32, table: Vec<i32> },
}

#[derive(Debug, Clone)]
enum Addend {
    Same(i32),
    /// One per row; repeated where there are more rows.
    Rows(Vec<i32>),
    /// One per column, padded to whole panels.
    Columns(Vec<i32>),
}

impl Epilogue {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        let mut passes: Vec<Pass> = vec![];
        // How far the last pass is filled: 1 it scales and adds, 2 it shifts, 3 it clamps.
        let mut filled = 4;
        for step in steps {
            let stage = match step {
                Step::Affine { .. } | Step::Add { .. } => 1,
                Step::Shift { .. } => 2,
                Step::Clamp { .. } => 3,
                Step::Lut { offset, table } => {
                    passes.push(Pass::Lut { offset, table });
                    filled = 4;
                    continue;
                }
            };
            if stage <= filled {
                passes.push(Pass::Scale {
                    scale: 1,
                    addend: Addend::Same(0),
                    bits: 0,
                    lo: i32::MIN,
                    hi: i32::MAX,
                });
            }
            filled = stage;
            let Some(Pass::Scale {
                scale: to_scale,
                addend,
                bits: to_bits,
                lo: to_lo,
                hi: to_hi,
            }) = passes.last_mut()
            else {
                continue;
            };
            match step {
                Step::Affine { scale, bias } => (*to_scale, *addend) = (scale, Addend::Same(bias)),
                Step::Add {
                    scale,
                    addends,
                    along: Along::Rows,
                } => {
                    (*to_scale, *addend) = (scale, Addend::Rows(addends));
                }
                Step::Add {
                    scale,
                    mut addends,
                    along: Along::Columns,
                } => {
                    addends.resize(addends.len().next_multiple_of(LANES), 0);
                    (*to_scale, *addend) = (scale, Addend::Columns(addends));
                }
                Step::Shift { bits } => {
                    // |x| < 2^30 and bits <= 30, so adding the half stays below 2^31.
                    let half = 1i32 << (bits - 1);
                    match addend {
                        Addend::Same(v) => *v = v.wrapping_add(half),
                        Addend::Rows(list) | Addend::Columns(list) => {
                            list.iter_mut().for_each(|v| *v = v.wrapping_add(half));
                        }
                    }
                    *to_bits = bits;
                }
                Step::Clamp { lo, hi } => (*to_lo, *to_hi) = (lo, hi),
                Step::Lut { .. } => {}
            }
        }
        Self(passes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies the steps to a tile that begins at a given row, and at a column that begins a panel.
    #[inline(always)]
    pub(crate) fn tile(&self, x: &mut [[i32; LANES]], panels: usize, row: usize, column: usize) {
        for pass in &self.0 {
            match pass {
                Pass::Scale {
                    scale,
                    addend,
                    bits,
                    lo,
                    hi,
                } => {
                    let finish = |v: i32| (v >> bits).max(*lo).min(*hi);
                    let same = |x: &mut [i32], add: i32| {
                        if *scale == 1 {
                            x.iter_mut().for_each(|v| *v = finish(v.wrapping_add(add)));
                        } else {
                            x.iter_mut().for_each(|v| {
                                *v = finish(v.wrapping_mul(*scale).wrapping_add(add))
                            });
                        }
                    };
                    match addend {
                        Addend::Same(add) => same(x.as_flattened_mut(), *add),
                        Addend::Rows(list) => {
                            // Samples may be stacked as further rows.
                            let addends = list.iter().cycle().skip(row % list.len());
                            for (x, add) in x.chunks_exact_mut(panels).zip(addends) {
                                same(x.as_flattened_mut(), *add);
                            }
                        }
                        Addend::Columns(list) => {
                            let list = &list[column..column + panels * LANES];
                            for x in x.chunks_exact_mut(panels) {
                                let pairs = x.as_flattened_mut().iter_mut().zip(list);
                                if *scale == 1 {
                                    pairs.for_each(|(v, add)| *v = finish(v.wrapping_add(*add)));
                                } else {
                                    pairs.for_each(|(v, add)| {
                                        *v = finish(v.wrapping_mul(*scale).wrapping_add(*add))
                                    });
                                }
                            }
                        }
                    }
                }
                Pass::Lut { offset, table } => {
                    let last = table.len() - 1;
                    for v in x.as_flattened_mut() {
                        *v = table[(v.wrapping_sub(*offset) as u32 as usize).min(last)];
                    }
                }
            }
        }
    }
}

multiversion! {
    /// Applies steps to a row of any length, whose addends do not vary along it.
    fn apply(epilogue: &Epilogue, x: &mut [i32], row: usize) {
        let (whole, rest) = x.as_chunks_mut::<LANES>();
        let panels = whole.len();
        if panels > 0 {
            epilogue.tile(whole, panels, row, 0);
        }
        if !rest.is_empty() {
            let mut last = [[0; LANES]];
            last[0][..rest.len()].copy_from_slice(rest);
            epilogue.tile(&mut last, 1, row, 0);
            rest.copy_from_slice(&last[0][..rest.len()]);
        }
    }
}
