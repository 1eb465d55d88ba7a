//! Contractions: any index notation becomes matrix products of packed operands.

use super::buffer::{Buffer, Operand, Packed, Run, Scratch};
use super::simd::{self, Epilogue, Isa, Job, LANES, Offsets, Sink};
use super::strided::{copy, offsets};
use carat_program::{Contraction, Elements, Range, Shape};
use rayon::prelude::*;

/// How one operand's elements are found: `batches[i] + rows[r] + steps[k]`.
#[derive(Debug, Clone)]
struct Side {
    batches: Vec<u32>,
    rows: Vec<u32>,
    steps: Vec<u32>,
    /// Consecutive steps are neighbours in memory; consecutive rows are.
    steps_contiguous: bool,
    rows_contiguous: bool,
    /// Packed at preparation, where the operand is a constant.
    packed: Option<std::sync::Arc<Buffer>>,
}

/// A contraction as `batch` products of `rows x depth` with `depth x columns`.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    wide: bool,
    swapped: bool,
    batch: usize,
    rows: usize,
    columns: usize,
    depth: usize,
    words: usize,
    a: Side,
    b: Side,
    offsets: Offsets,
    /// Places of the result's batches, rows and columns, unless it is contiguous in that order.
    scatter: Option<[Vec<u32>; 3]>,
    epilogue: Epilogue,
}

/// The axes of the result that rows and columns stand for, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct TileAxes {
    pub(crate) rows: Vec<usize>,
    pub(crate) columns: Vec<usize>,
}

/// Whether all values of a range are 16-bit.
pub(crate) fn is_short(range: Range) -> bool {
    range.lo >= i16::MIN.into() && range.hi <= i16::MAX.into()
}

/// What is known of an operand at preparation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) shape: &'a Shape,
    pub(crate) range: Range,
    pub(crate) data: Option<&'a Elements>,
}

impl Matrix {
    pub(crate) fn new(
        spec: &Contraction,
        a: Known<'_>,
        b: Known<'_>,
        out: &Shape,
        isa: Isa,
        earlier: &Packed,
    ) -> Self {
        let only = |mine: &[u8], other: &[u8]| -> Vec<u8> {
            spec.out
                .iter()
                .copied()
                .filter(|l| mine.contains(l) && !other.contains(l))
                .collect()
        };
        let swapped = match spec.out.last() {
            Some(l) if spec.a.contains(l) && spec.b.contains(l) => {
                // The columns are strided either way: let the longer side fill the lanes.
                length(&only(&spec.a, &spec.b), &spec.a, a.shape)
                    > length(&only(&spec.b, &spec.a), &spec.b, b.shape)
            }
            Some(l) => spec.a.contains(l),
            None => false,
        };
        let (la, lb, a, b) = if swapped {
            (&spec.b, &spec.a, b, a)
        } else {
            (&spec.a, &spec.b, a, b)
        };
        let [earlier_rows, earlier_panels] = earlier.clone();
        let batch: Vec<u8> = spec
            .out
            .iter()
            .copied()
            .filter(|l| la.contains(l) && lb.contains(l))
            .collect();
        let (rows, columns) = (only(la, lb), only(lb, la));
        let steps: Vec<u8> = la
            .iter()
            .copied()
            .filter(|l| !spec.out.contains(l))
            .collect();
        let table = |labels: &[u8], of: &[u8], shape: &Shape| {
            let strides = shape.strides();
            let axes: Vec<_> = labels
                .iter()
                .filter_map(|l| of.iter().position(|m| m == l))
                .map(|axis| (shape.dim(axis), strides[axis]))
                .collect();
            offsets(&axes)
        };
        let side = |labels: &[u8], kept: &[u8], x: Known<'_>| {
            let (rows, steps) = (table(kept, labels, x.shape), table(&steps, labels, x.shape));
            Side {
                batches: table(&batch, labels, x.shape),
                steps_contiguous: contiguous(&steps),
                rows_contiguous: contiguous(&rows),
                rows,
                steps,
                packed: None,
            }
        };
        let (mut a_side, mut b_side) = (side(la, &rows, a), side(lb, &columns, b));
        let wide = !(is_short(a.range) && is_short(b.range));
        let depth = a_side.steps.len();
        let words = if wide { depth } else { depth.div_ceil(2) };
        let places = [&batch, &rows, &columns].map(|labels| table(labels, &spec.out, out));
        let direct = places.iter().rev().try_fold(1usize, |unit, list| {
            let ok = list
                .iter()
                .enumerate()
                .all(|(i, &at)| at as usize == i * unit);
            ok.then_some(unit * list.len())
        });
        let (n_rows, n_columns) = (a_side.rows.len(), b_side.rows.len());
        if let Some(data) = a.data {
            let pack = || {
                let data = data.wide();
                let mut packed = Buffer::default();
                let each = n_rows * words;
                let to = packed.sized(each * a_side.batches.len());
                for (&base, to) in a_side.batches.iter().zip(to.chunks_exact_mut(each)) {
                    a_side.pack_rows(isa, wide, words, &data[base as usize..], to);
                }
                packed.into()
            };
            a_side.packed = Some(earlier_rows.unwrap_or_else(pack));
        }
        if let Some(data) = b.data {
            let pack = || {
                let data = data.wide();
                let mut packed = Buffer::default();
                let each = n_columns.div_ceil(LANES) * LANES * words;
                let to = packed.sized(each * b_side.batches.len());
                for (&base, to) in b_side.batches.iter().zip(to.chunks_exact_mut(each)) {
                    b_side.pack_panels(isa, wide, words, &data[base as usize..], to);
                }
                packed.into()
            };
            b_side.packed = Some(earlier_panels.unwrap_or_else(pack));
        }
        Self {
            wide,
            swapped,
            batch: places[0].len(),
            rows: n_rows,
            columns: n_columns,
            depth,
            words,
            a: a_side,
            b: b_side,
            offsets: Offsets::new((0..words).map(|k| (k * LANES) as u32).collect()),
            scatter: if direct.is_some() { None } else { Some(places) },
            epilogue: Epilogue::default(),
        }
    }

    /// Words that the packed operands of one sample can take at most.
    pub(crate) fn packed_words(spec: &Contraction, a: &Shape, b: &Shape) -> u64 {
        // Panels round the lane axis, whichever it is, up to whole panels; odd depths round up to pairs.
        let padded = |labels: &[u8], shape: &Shape| {
            let lanes = length(&spec.out, labels, shape).max(1)
                / length(&batch_labels(spec), labels, shape).max(1);
            (shape.elements() / lanes) as u64 * (lanes.next_multiple_of(LANES) as u64)
        };
        padded(&spec.a, a) + padded(&spec.b, b)
    }

    pub(crate) fn axes(spec: &Contraction) -> TileAxes {
        let only = |mine: &[u8], other: &[u8]| -> Vec<usize> {
            (0..spec.out.len())
                .filter(|&i| mine.contains(&spec.out[i]) && !other.contains(&spec.out[i]))
                .collect()
        };
        let (a, b) = (only(&spec.a, &spec.b), only(&spec.b, &spec.a));
        TileAxes {
            rows: a,
            columns: b,
        }
    }

    /// The packed constants, for another plan of the same program.
    pub(crate) fn packed(&self) -> Packed {
        [self.a.packed.clone(), self.b.packed.clone()]
    }

    /// Whether an operand is a constant, which is packed.
    pub(crate) fn holds(&self, operand: usize) -> bool {
        let side = if (operand == 0) == self.swapped {
            &self.b
        } else {
            &self.a
        };
        side.packed.is_some()
    }

    /// Whether rows stand for the second operand's axes.
    pub(crate) fn swapped(&self) -> bool {
        self.swapped
    }

    pub(crate) fn set_epilogue(&mut self, epilogue: Epilogue) {
        self.epilogue = epilogue;
    }

    /// Multiply-adds for one sample.
    pub(crate) fn work(&self) -> usize {
        self.batch * self.rows * self.columns * self.depth
    }

    pub(crate) fn run(
        &self,
        run: Run,
        operands: &[Operand<'_>],
        scratch: &mut Scratch,
        out: &mut [i32],
    ) {
        let [x, y] = operands else { return };
        let (x, y) = if self.swapped { (y, x) } else { (x, y) };
        let Scratch {
            a: pack_a,
            b: pack_b,
            d: result,
            ..
        } = scratch;
        let each = self.batch * self.rows * self.columns;
        let target = match &self.scatter {
            None => &mut *out,
            Some(_) => result.sized(each * run.samples),
        };
        let panel_stride = self.words * LANES;
        let panels = self.columns.div_ceil(LANES);
        let parallel = run.spreads(self.work() * run.samples);
        match (&self.b.packed, self.batch) {
            // Samples are further rows of one product.
            (Some(packed), 1) if !x.shared => {
                let rows = self.rows * run.samples;
                let a: &[i32] =
                    if self.wide && self.a.steps_contiguous && self.a.is_row_major(self.depth) {
                        x.data
                    } else {
                        let pack = pack_a.sized(rows * self.words);
                        for (s, to) in pack.chunks_exact_mut(self.rows * self.words).enumerate() {
                            self.a
                                .pack_rows(run.isa, self.wide, self.words, x.sample(s), to);
                        }
                        pack
                    };
                self.multiply(
                    run.isa,
                    &self.job(a, rows, packed.as_slice()),
                    target,
                    parallel,
                );
            }
            _ => {
                for (i, to) in target
                    .chunks_exact_mut(self.rows * self.columns)
                    .enumerate()
                {
                    let (s, i) = (i / self.batch, i % self.batch);
                    let a: &[i32] = match &self.a.packed {
                        Some(packed) => &packed.as_slice()[i * self.rows * self.words..],
                        None => {
                            let pack = pack_a.sized(self.rows * self.words);
                            let from = &x.sample(s)[self.a.batches[i] as usize..];
                            self.a.pack_rows(run.isa, self.wide, self.words, from, pack);
                            pack
                        }
                    };
                    let b: &[i32] = match &self.b.packed {
                        Some(packed) => &packed.as_slice()[i * panels * panel_stride..],
                        None => {
                            let pack = pack_b.sized(panels * panel_stride);
                            let from = &y.sample(s)[self.b.batches[i] as usize..];
                            self.b
                                .pack_panels(run.isa, self.wide, self.words, from, pack);
                            pack
                        }
                    };
                    self.multiply(run.isa, &self.job(a, self.rows, b), to, parallel);
                }
            }
        }
        if let Some([batches, rows, columns]) = &self.scatter {
            let from = result.as_slice();
            for (from, to) in from.chunks_exact(each).zip(out.chunks_exact_mut(each)) {
                let mut from = from.chunks_exact(self.columns);
                for &i in batches {
                    for (&r, from) in rows.iter().zip(&mut from) {
                        for (&c, v) in columns.iter().zip(from) {
                            to[(i + r + c) as usize] = *v;
                        }
                    }
                }
            }
        }
    }

    fn job<'a>(&'a self, a: &'a [i32], rows: usize, b: &'a [i32]) -> Job<'a> {
        Job {
            wide: self.wide,
            a,
            a_stride: self.words,
            rows,
            b,
            offsets: &self.offsets,
            panel_stride: self.words * LANES,
            panels: self.columns.div_ceil(LANES),
        }
    }

    /// One product into a contiguous result, over threads by rows, or by columns where there are few rows.
    fn multiply(&self, isa: Isa, job: &Job<'_>, to: &mut [i32], parallel: bool) {
        let columns = self.columns;
        let sink = |to, row, column| Dense {
            to,
            columns,
            row,
            column,
            epilogue: &self.epilogue,
        };
        if !parallel {
            simd::gemm(isa, job, &mut sink(to, 0, 0));
        } else if job.rows >= 32 {
            let rows = job
                .rows
                .div_ceil(rayon::current_num_threads() * 2)
                .next_multiple_of(8);
            to.par_chunks_mut(rows * columns)
                .enumerate()
                .for_each(|(i, to)| {
                    let part = Job {
                        a: &job.a[i * rows * job.a_stride..],
                        rows: to.len() / columns,
                        ..*job
                    };
                    simd::gemm(isa, &part, &mut sink(to, i * rows, 0));
                });
        } else if job.rows == 1 {
            let panels = job
                .panels
                .div_ceil(rayon::current_num_threads())
                .next_multiple_of(4);
            to.par_chunks_mut(panels * LANES)
                .enumerate()
                .for_each(|(i, to)| {
                    let part = Job {
                        b: &job.b[i * panels * job.panel_stride..],
                        panels: to.len().div_ceil(LANES),
                        ..*job
                    };
                    simd::gemm(isa, &part, &mut sink(to, 0, i * panels * LANES));
                });
        } else {
            to.par_chunks_mut(columns).enumerate().for_each(|(i, to)| {
                let part = Job {
                    a: &job.a[i * job.a_stride..],
                    rows: 1,
                    ..*job
                };
                simd::gemm(isa, &part, &mut sink(to, i, 0));
            });
        }
    }
}

fn length(labels: &[u8], of: &[u8], shape: &Shape) -> usize {
    labels
        .iter()
        .filter_map(|l| of.iter().position(|m| m == l))
        .map(|axis| shape.dim(axis))
        .product()
}

fn batch_labels(spec: &Contraction) -> Vec<u8> {
    spec.out
        .iter()
        .copied()
        .filter(|l| spec.a.contains(l) && spec.b.contains(l))
        .collect()
}

fn contiguous(table: &[u32]) -> bool {
    table.iter().enumerate().all(|(i, &at)| at as usize == i)
}

impl Side {
    fn is_row_major(&self, depth: usize) -> bool {
        self.rows
            .iter()
            .enumerate()
            .all(|(i, &at)| at as usize == i * depth)
    }

    /// `to[r][word]`: each row's summation steps, one after the other.
    fn pack_rows(&self, isa: Isa, wide: bool, words: usize, from: &[i32], to: &mut [i32]) {
        for (&row, to) in self.rows.iter().zip(to.chunks_exact_mut(words)) {
            let from = &from[row as usize..];
            match (wide, self.steps_contiguous) {
                (false, true) => simd::pair_up(isa, to, &from[..self.steps.len()]),
                (true, true) => copy(to, &from[..words]),
                (true, false) => to
                    .iter_mut()
                    .zip(&self.steps)
                    .for_each(|(t, &k)| *t = from[k as usize]),
                (false, false) => {
                    for (t, k) in to.iter_mut().zip(self.steps.chunks(2)) {
                        let high = k.get(1).map_or(0, |&k| from[k as usize] << 16);
                        *t = from[k[0] as usize] & 0xffff | high;
                    }
                }
            }
        }
    }

    /// `to[panel][word][lane]`, where this side's rows are the lanes; lanes beyond the last row are zero.
    fn pack_panels(&self, isa: Isa, wide: bool, words: usize, from: &[i32], to: &mut [i32]) {
        for (p, (to, rows)) in to
            .chunks_exact_mut(words * LANES)
            .zip(self.rows.chunks(LANES))
            .enumerate()
        {
            let n = rows.len();
            for (k, to) in to.chunks_exact_mut(LANES).enumerate() {
                to[n..].fill(0);
                let to = &mut to[..n];
                let step = |k: usize| self.steps.get(k).map(|&at| &from[at as usize..]);
                let (low, high) = if wide {
                    (step(k), None)
                } else {
                    (step(2 * k), step(2 * k + 1))
                };
                let Some(low) = low else { continue };
                if self.rows_contiguous {
                    let lanes = p * LANES..p * LANES + n;
                    if wide {
                        copy(to, &low[lanes]);
                    } else {
                        simd::pair_rows(isa, to, &low[lanes.clone()], high.map(|h| &h[lanes]));
                    }
                } else {
                    for (t, &r) in to.iter_mut().zip(rows) {
                        let v = low[r as usize];
                        *t = if wide {
                            v
                        } else {
                            v & 0xffff | high.map_or(0, |h| h[r as usize] << 16)
                        };
                    }
                }
            }
        }
    }
}

/// Writes tiles to a contiguous matrix, or to a run of columns of its only row.
struct Dense<'a> {
    to: &'a mut [i32],
    columns: usize,
    /// Position of `to` within the product.
    row: usize,
    column: usize,
    epilogue: &'a Epilogue,
}

impl Sink for Dense<'_> {
    #[inline(always)]
    fn tile(&mut self, row: usize, column: usize, panels: usize, values: &mut [[i32; LANES]]) {
        self.epilogue
            .tile(values, panels, self.row + row, self.column + column);
        let n = (panels * LANES).min(self.columns - self.column - column);
        // Only the part of a single row may begin at a later column.
        let mut start = if self.column > 0 {
            column
        } else {
            row * self.columns + column
        };
        for values in values.chunks_exact(panels) {
            copy(&mut self.to[start..start + n], &values.as_flattened()[..n]);
            start += self.columns;
        }
    }
}
