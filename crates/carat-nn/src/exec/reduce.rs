//! Reductions along axes, and sliding windows that reduce.

use super::buffer::{Operand, Run, Scratch};
use super::simd::{self, Isa, Windows};
use super::strided::{merge, outer, strides_of};
use carat_program::{PoolKind, Shape, Window};

/// What is accumulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fold {
    Sum,
    Max,
}

impl Fold {
    fn identity(self) -> i32 {
        match self {
            Fold::Sum => 0,
            Fold::Max => i32::MIN,
        }
    }

    fn join(self, a: i32, b: i32) -> i32 {
        match self {
            Fold::Sum => a.wrapping_add(b),
            Fold::Max => a.max(b),
        }
    }

    fn row(self, isa: Isa, x: &[i32]) -> i32 {
        match self {
            Fold::Sum => simd::fold_sum(isa, x),
            Fold::Max => simd::fold_max(isa, x),
        }
    }

    fn rows(self, isa: Isa, out: &mut [i32], x: &[i32]) {
        match self {
            Fold::Sum => simd::fold_rows_sum(isa, out, x),
            Fold::Max => simd::fold_rows_max(isa, out, x),
        }
    }
}

/// A reduction over some axes.
#[derive(Debug, Clone)]
pub(crate) struct Reduce {
    fold: Fold,
    dims: Vec<usize>,
    /// Of the operand and of the result (zero along reduced axes).
    strides: [Vec<isize>; 2],
    elements: usize,
}

impl Reduce {
    pub(crate) fn new(fold: Fold, axes: &[u8], x: &Shape) -> Self {
        let dims = x.dims();
        let kept: Vec<usize> = dims
            .iter()
            .enumerate()
            .map(|(i, &n)| if axes.contains(&(i as u8)) { 1 } else { n })
            .collect();
        let mut to = strides_of(&kept);
        axes.iter().for_each(|&a| to[usize::from(a)] = 0);
        let (dims, strides) = merge(&dims, [&strides_of(&dims), &to]);
        Self {
            fold,
            dims,
            strides,
            elements: kept.iter().product(),
        }
    }

    pub(crate) fn run(&self, run: Run, x: Operand<'_>, out: &mut [i32]) {
        let last = self.dims.len() - 1;
        let n = self.dims[last];
        for (s, out) in out.chunks_exact_mut(self.elements).enumerate() {
            let x = x.sample(s);
            out.fill(self.fold.identity());
            outer(&self.dims, &self.strides, |[from, to]| {
                let (row, to) = (&x[from as usize..][..n], to as usize);
                if self.strides[1][last] == 0 {
                    out[to] = self.fold.join(out[to], self.fold.row(run.isa, row));
                } else {
                    self.fold.rows(run.isa, &mut out[to..to + n], row);
                }
            });
        }
    }
}

/// Index of the first maximum along an axis.
#[derive(Debug, Clone)]
pub(crate) struct ArgMax {
    n: usize,
    inner: usize,
    elements: usize,
}

impl ArgMax {
    pub(crate) fn new(axis: usize, x: &Shape) -> Self {
        let dims = x.dims();
        Self {
            n: dims[axis],
            inner: dims[axis + 1..].iter().product(),
            elements: x.elements() / dims[axis],
        }
    }

    pub(crate) fn run(&self, x: Operand<'_>, out: &mut [i32]) {
        for (s, out) in out.chunks_exact_mut(self.elements).enumerate() {
            let blocks = x.sample(s).chunks_exact(self.n * self.inner);
            for (x, out) in blocks.zip(out.chunks_exact_mut(self.inner)) {
                for (i, out) in out.iter_mut().enumerate() {
                    let mut best = 0;
                    for k in 1..self.n {
                        if x[k * self.inner + i] > x[best * self.inner + i] {
                            best = k;
                        }
                    }
                    *out = best as i32;
                }
            }
        }
    }
}

/// Pooling, one spatial axis after the other: sums and maxima over a box are sums and maxima of sums and maxima.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    fold: Fold,
    passes: Vec<Pass>,
}

#[derive(Debug, Clone)]
struct Pass {
    outer: usize,
    n: usize,
    inner: usize,
    /// First tap inside the operand, and number of taps inside, for each position.
    taps: Vec<(u32, u32)>,
    dilation: usize,
    /// Where no window reaches into padding: a plain loop.
    regular: Option<Windows>,
}

impl Pool {
    pub(crate) fn new(kind: PoolKind, window: &Window, x: &Shape, out: &Shape) -> Self {
        let mut dims = x.dims();
        let mut passes = vec![];
        for axis in 2..dims.len() {
            let i = axis - 2;
            let (k, d) = (u64::from(window.kernel[i]), u64::from(window.dilation[i]));
            let (stride, before) = (u64::from(window.stride[i]), u64::from(window.before[i]));
            let n = dims[axis] as u64;
            let taps: Vec<(u32, u32)> = (0..out.dim(axis) as u64)
                .map(|p| {
                    // Taps t with 0 <= p*stride + t*d - before < n and t < k.
                    let at = p * stride;
                    let first = before.saturating_sub(at).div_ceil(d);
                    let end = (n + before).saturating_sub(at).div_ceil(d).min(k);
                    let count = end.saturating_sub(first);
                    if count == 0 {
                        (0, 0)
                    } else {
                        ((at + first * d - before) as u32, count as u32)
                    }
                })
                .collect();
            let full = taps
                .iter()
                .enumerate()
                .all(|(p, t)| *t == ((p as u64 * stride) as u32, k as u32));
            let inner = dims[axis + 1..].iter().product();
            let (stride, dilation) = (stride as usize, d as usize);
            let windows = Windows {
                n: dims[axis],
                inner,
                positions: taps.len(),
                count: k as usize,
                stride,
                dilation,
            };
            passes.push(Pass {
                outer: dims[..axis].iter().product(),
                n: dims[axis],
                inner,
                taps,
                dilation,
                regular: full.then_some(windows),
            });
            dims[axis] = out.dim(axis);
        }
        let fold = if kind == PoolKind::Sum {
            Fold::Sum
        } else {
            Fold::Max
        };
        Self { fold, passes }
    }

    pub(crate) fn run(&self, run: Run, x: Operand<'_>, scratch: &mut Scratch, out: &mut [i32]) {
        let each = out.len() / run.samples;
        for (s, out) in out.chunks_exact_mut(each).enumerate() {
            let (mut now, mut next) = (&mut scratch.c, &mut scratch.d);
            let last = self.passes.len() - 1;
            for (i, pass) in self.passes.iter().enumerate() {
                let from = if i == 0 { x.sample(s) } else { now.as_slice() };
                let to = if i == last {
                    &mut *out
                } else {
                    next.sized(pass.outer * pass.taps.len() * pass.inner)
                };
                pass.run(run.isa, self.fold, from, to);
                std::mem::swap(&mut now, &mut next);
            }
        }
    }
}

impl Pass {
    fn run(&self, isa: Isa, fold: Fold, x: &[i32], out: &mut [i32]) {
        if let Some(windows) = self.regular {
            return match fold {
                Fold::Sum => simd::pool_sum(isa, x, out, windows),
                Fold::Max => simd::pool_max(isa, x, out, windows),
            };
        }
        let planes = x
            .chunks_exact(self.n * self.inner)
            .zip(out.chunks_exact_mut(self.taps.len() * self.inner));
        for (x, out) in planes {
            for (&(start, count), out) in self.taps.iter().zip(out.chunks_exact_mut(self.inner)) {
                if self.inner == 1 {
                    let taps = (0..count as usize).map(|t| x[start as usize + t * self.dilation]);
                    out[0] = taps.fold(fold.identity(), |a, b| fold.join(a, b));
                    continue;
                }
                out.fill(fold.identity());
                for t in 0..count as usize {
                    let row = &x[(start as usize + t * self.dilation) * self.inner..][..self.inner];
                    fold.rows(isa, out, row);
                }
            }
        }
    }
}
