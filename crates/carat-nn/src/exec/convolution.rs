//! Convolutions as matrix products over a virtual im2col, and depthwise convolutions row by row.
//!
//! A sample's channels are copied into a zero-padded image of words (two channels a word, or one where 16 bits do not
//! suffice). With stride 1, the window positions of all outputs lie at consecutive words for each tap, so the matrix
//! kernel reads the image itself through a table of tap offsets: nothing is copied. The price is columns that belong to
//! no output (where a window would run over the image's edge); they are computed and dropped. Other strides, and images
//! so small that too many columns would be dropped, copy the windows into panels first.

use super::buffer::{Buffer, Operand, Packed, Run, Scratch};
use super::matrix::{Known, is_short};
use super::simd::{self, Epilogue, Geometry, Isa, Job, LANES, Offsets, Sink};
use super::strided::{merge, offsets, outer, strides_of};
use carat_program::{ConvGeometry, Shape};
use rayon::prelude::*;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(crate) struct Convolution {
    wide: bool,
    images: usize,
    groups: usize,
    /// Channels of a group on either side, and words that hold one pixel of a group's input channels.
    channels: usize,
    out_channels: usize,
    units: usize,
    taps: usize,
    /// Pixels of the input and of the padded image.
    in_plane: usize,
    plane: usize,
    /// Where rows of pixels start in both, and their length.
    image_rows: Vec<(u32, u32)>,
    image_row: usize,
    /// Output pixels.
    pixels: usize,
    offsets: Offsets,
    weights: Option<Arc<Buffer>>,
    kind: Kind,
    epilogue: Epilogue,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Panels are read from the image. `runs` maps columns to pixels.
    Direct {
        columns: usize,
        runs: Vec<Pixels>,
        first: Vec<u32>,
    },
    /// Window starts of all pixels: panels are gathered.
    Gather {
        starts: Vec<u32>,
        image_offsets: Vec<u32>,
    },
    /// One input channel a group: no summation over channels.
    Depthwise {
        bases: Vec<u32>,
        taps: Vec<u32>,
        stride: usize,
    },
}

/// Consecutive columns of the product that are consecutive pixels.
#[derive(Debug, Clone, Copy)]
struct Pixels {
    column: usize,
    pixel: usize,
    len: usize,
}

impl Convolution {
    pub(crate) fn new(
        geometry: &ConvGeometry,
        x: Known<'_>,
        w: Known<'_>,
        out: &Shape,
        isa: Isa,
        earlier: &Packed,
    ) -> Self {
        let window = &geometry.window;
        let n = window.kernel.len();
        let groups = geometry.groups as usize;
        let spatial = x.shape.dims()[2..].to_vec();
        let out_spatial = out.dims()[2..].to_vec();
        let to_usize = |list: &[u32]| list.iter().map(|&v| v as usize).collect::<Vec<_>>();
        let (kernel, stride, dilation) = (
            to_usize(&window.kernel),
            to_usize(&window.stride),
            to_usize(&window.dilation),
        );
        let before = to_usize(&window.before);
        let padded: Vec<_> = (0..n)
            .map(|i| spatial[i] + before[i] + window.after[i] as usize)
            .collect();
        let steps: Vec<usize> = strides_of(&padded).iter().map(|&s| s as usize).collect();
        let plane: usize = padded.iter().product();
        let (channels, out_channels) = (x.shape.dim(1) / groups, w.shape.dim(0) / groups);
        let wide = !(is_short(x.range) && is_short(w.range));
        let taps: usize = kernel.iter().product();
        let tap_offsets = offsets(
            &(0..n)
                .map(|i| (kernel[i], dilation[i] * steps[i]))
                .collect::<Vec<_>>(),
        );
        let pixels: usize = out_spatial.iter().product();
        let depthwise = channels == 1 && out_channels < 4 && groups > 1;
        let units = if wide || depthwise {
            channels
        } else {
            channels.div_ceil(2)
        };
        let image_offsets: Vec<u32> = (0..units)
            .flat_map(|u| tap_offsets.iter().map(move |&t| (u * plane) as u32 + t))
            .collect();
        let starts = |axes: usize| {
            offsets(
                &(0..axes)
                    .map(|i| (out_spatial[i], stride[i] * steps[i]))
                    .collect::<Vec<_>>(),
            )
        };
        // Columns from the first output's window to the last one's.
        let columns = (0..n)
            .map(|i| (out_spatial[i] - 1) * steps[i])
            .sum::<usize>()
            + 1;
        let cost = |columns: usize| columns.div_ceil(LANES);
        let kind = if depthwise {
            Kind::Depthwise {
                bases: starts(n - 1),
                taps: tap_offsets,
                stride: stride[n - 1],
            }
        } else if stride.iter().all(|&s| s == 1) && 5 * cost(columns) <= 8 * cost(pixels) {
            let len = out_spatial[n - 1];
            let runs: Vec<Pixels> = starts(n - 1)
                .iter()
                .enumerate()
                .map(|(i, &column)| Pixels {
                    column: column as usize,
                    pixel: i * len,
                    len,
                })
                .collect();
            let runs = join(runs);
            let first = (0..cost(columns))
                .map(|p| runs.partition_point(|r| r.column + r.len <= p * LANES) as u32)
                .collect();
            Kind::Direct {
                columns,
                runs,
                first,
            }
        } else {
            Kind::Gather {
                starts: starts(n),
                image_offsets: image_offsets.clone(),
            }
        };
        let table = match &kind {
            Kind::Gather { .. } => (0..units * taps).map(|k| (k * LANES) as u32).collect(),
            _ => image_offsets,
        };
        let (row_dims, row_strides) =
            merge(&spatial, [&strides_of(&spatial), &strides_of(&padded)]);
        let origin: usize = (0..n).map(|i| before[i] * steps[i]).sum();
        let (mut image_rows, image_row) = (vec![], row_dims[row_dims.len() - 1]);
        outer(&row_dims, &row_strides, |[from, to]| {
            image_rows.push((from as u32, to as u32 + origin as u32))
        });
        let mut this = Self {
            wide: wide || depthwise,
            images: x.shape.dim(0),
            groups,
            channels,
            out_channels,
            units,
            taps,
            in_plane: spatial.iter().product(),
            plane,
            image_rows,
            image_row,
            pixels,
            offsets: Offsets::new(table),
            weights: None,
            kind,
            epilogue: Epilogue::default(),
        };
        if let Some(data) = w.data {
            this.weights = Some(earlier[0].clone().unwrap_or_else(|| {
                let mut packed = Buffer::default();
                this.pack_weights(isa, &data.wide(), packed.sized(this.packed_len()));
                packed.into()
            }));
        }
        this
    }

    /// The packed kernel, for another plan of the same program.
    pub(crate) fn packed(&self) -> Packed {
        [self.weights.clone(), None]
    }

    /// Whether an operand is a constant, which is packed: its kernel may be.
    pub(crate) fn holds(&self, operand: usize) -> bool {
        operand == 1 && self.weights.is_some()
    }

    /// Words that one group's padded image and windows can take at most, saturated.
    pub(crate) fn packed_words(geometry: &ConvGeometry, x: &Shape, w: &Shape, out: &Shape) -> u64 {
        let window = &geometry.window;
        let image = (0..window.kernel.len()).fold(w.dim(1) as u64, |words, i| {
            let padded =
                x.dim(i + 2) as u64 + u64::from(window.before[i]) + u64::from(window.after[i]);
            words.saturating_mul(padded)
        });
        let depth: u64 = w.dims()[1..].iter().map(|&n| n as u64).product();
        let pixels: usize = out.dims()[2..].iter().product();
        let windows = depth.saturating_mul(pixels.next_multiple_of(LANES) as u64);
        image
            .saturating_add(windows)
            .saturating_add(w.elements() as u64)
    }

    pub(crate) fn set_epilogue(&mut self, epilogue: Epilogue) {
        self.epilogue = epilogue;
    }

    /// Multiply-adds for one sample.
    pub(crate) fn work(&self) -> usize {
        self.images * self.groups * self.out_channels * self.channels * self.taps * self.pixels
    }

    fn packed_len(&self) -> usize {
        self.groups * self.out_channels * self.units * self.taps
    }

    /// `to[m][unit][tap]`: words of two channels' weights, or of one.
    fn pack_weights(&self, isa: Isa, w: &[i32], to: &mut [i32]) {
        let rows = w.chunks_exact(self.channels * self.taps);
        for (w, to) in rows.zip(to.chunks_exact_mut(self.units * self.taps)) {
            if self.wide {
                to.copy_from_slice(w);
                continue;
            }
            for (pair, to) in w.chunks(2 * self.taps).zip(to.chunks_exact_mut(self.taps)) {
                let (low, high) = pair.split_at(self.taps);
                simd::pair_rows(isa, to, low, Some(high).filter(|h| !h.is_empty()));
            }
        }
    }

    pub(crate) fn run(
        &self,
        run: Run,
        operands: &[Operand<'_>],
        scratch: &mut Scratch,
        out: &mut [i32],
    ) {
        let [x, w] = operands else { return };
        let Scratch {
            a: weights,
            b: image,
            c: panels,
            ..
        } = scratch;
        let plane = self.plane;
        // The last panel of the last tap may read on behind the image.
        let image = image.sized(self.units * plane + 4 * LANES);
        image.fill(0);
        let gathered = match &self.kind {
            Kind::Gather { starts, .. } => {
                panels.sized(starts.len().div_ceil(LANES) * LANES * self.units * self.taps)
            }
            _ => &mut [],
        };
        let in_plane = self.in_plane;
        let (in_group, out_group) = (self.channels * in_plane, self.out_channels * self.pixels);
        let parallel = run.spreads(self.work() / (self.images * self.groups));
        for (i, out) in out.chunks_exact_mut(out_group).enumerate() {
            let (s, rest) = (
                i / (self.images * self.groups),
                i % (self.images * self.groups),
            );
            let group = rest % self.groups;
            let packed: &[i32] = match &self.weights {
                Some(packed) => packed.as_slice(),
                None => {
                    if rest == 0 {
                        self.pack_weights(run.isa, w.sample(s), weights.sized(self.packed_len()));
                    }
                    weights.as_slice()
                }
            };
            let rows = self.out_channels * self.units * self.taps;
            let packed = &packed[group * rows..][..rows];
            let geometry = Geometry {
                rows: &self.image_rows,
                row: self.image_row,
                from: in_plane,
                to: plane,
                pairs: !self.wide,
            };
            simd::pack_image(
                run.isa,
                &x.sample(s)[rest * in_group..][..in_group],
                image,
                self.units,
                geometry,
            );
            self.group(run.isa, group, packed, image, gathered, out, parallel);
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the operands of one product and its place"
    )]
    fn group(
        &self,
        isa: Isa,
        group: usize,
        weights: &[i32],
        image: &[i32],
        gathered: &mut [i32],
        out: &mut [i32],
        parallel: bool,
    ) {
        let whole = [Pixels {
            column: 0,
            pixel: 0,
            len: self.pixels,
        }];
        let (b, panel_stride, columns, runs, first): (&[i32], _, _, &[Pixels], &[u32]) =
            match &self.kind {
                Kind::Depthwise {
                    bases,
                    taps,
                    stride,
                } => {
                    let rows = out
                        .chunks_exact_mut(self.pixels)
                        .zip(weights.chunks_exact(self.taps));
                    for (m, (out, w)) in rows.enumerate() {
                        simd::depthwise_plane(isa, out, image, bases, taps, w, *stride);
                        simd::apply(isa, &self.epilogue, out, group * self.out_channels + m);
                    }
                    return;
                }
                Kind::Direct {
                    columns,
                    runs,
                    first,
                } => (image, LANES, *columns, runs, first),
                Kind::Gather {
                    starts,
                    image_offsets,
                } => {
                    let depth = image_offsets.len();
                    for (starts, to) in starts
                        .chunks(LANES)
                        .zip(gathered.chunks_exact_mut(depth * LANES))
                    {
                        for (to, &tap) in to.chunks_exact_mut(LANES).zip(image_offsets) {
                            let image = &image[tap as usize..];
                            to.iter_mut()
                                .zip(starts)
                                .for_each(|(to, &at)| *to = image[at as usize]);
                        }
                    }
                    (gathered, depth * LANES, self.pixels, &whole, &[])
                }
            };
        let job = Job {
            wide: self.wide,
            a: weights,
            a_stride: self.units * self.taps,
            rows: self.out_channels,
            b,
            offsets: &self.offsets,
            panel_stride,
            panels: columns.div_ceil(LANES),
        };
        let pixels = self.pixels;
        let sink = |to, row: usize| Planes {
            to,
            pixels,
            row: group * self.out_channels + row,
            runs,
            first,
            epilogue: &self.epilogue,
        };
        if parallel && self.out_channels > 8 {
            let rows = self
                .out_channels
                .div_ceil(rayon::current_num_threads() * 2)
                .next_multiple_of(8);
            out.par_chunks_mut(rows * pixels)
                .enumerate()
                .for_each(|(i, to)| {
                    let part = Job {
                        a: &job.a[i * rows * job.a_stride..],
                        rows: to.len() / pixels,
                        ..job
                    };
                    simd::gemm(isa, &part, &mut sink(to, i * rows));
                });
        } else {
            simd::gemm(isa, &job, &mut sink(out, 0));
        }
    }
}

/// Joins runs that follow one another on both sides.
fn join(runs: Vec<Pixels>) -> Vec<Pixels> {
    let mut out: Vec<Pixels> = vec![];
    for r in runs {
        match out.last_mut() {
            Some(last)
                if last.column + last.len == r.column && last.pixel + last.len == r.pixel =>
            {
                last.len += r.len
            }
            _ => out.push(r),
        }
    }
    out
}

/// Writes tiles to output planes, dropping columns that are no pixels.
struct Planes<'a> {
    to: &'a mut [i32],
    pixels: usize,
    /// Channel of the first row.
    row: usize,
    runs: &'a [Pixels],
    /// First run that reaches into each panel; empty: the first.
    first: &'a [u32],
    epilogue: &'a Epilogue,
}

impl Sink for Planes<'_> {
    #[inline(always)]
    fn tile(&mut self, row: usize, column: usize, panels: usize, values: &mut [[i32; LANES]]) {
        self.epilogue.tile(values, panels, self.row + row, 0);
        let width = panels * LANES;
        let (end, rows) = (column + width, values.len() / panels);
        let planes = &mut self.to[row * self.pixels..][..rows * self.pixels];
        let first = self.first.get(column / LANES).map_or(0, |&f| f as usize);
        for run in &self.runs[first..] {
            if run.column >= end {
                break;
            }
            let (from, until) = (run.column.max(column), (run.column + run.len).min(end));
            let (at, n) = (run.pixel + from - run.column, until - from);
            let rows = planes
                .chunks_exact_mut(self.pixels)
                .zip(values.as_flattened().chunks_exact(width));
            if n <= 8 && at + 8 <= self.pixels && from - column + 8 <= width {
                for (to, row) in rows {
                    copy_eight(&mut to[at..], &row[from - column..]);
                }
            } else {
                for (to, row) in rows {
                    copy_over(&mut to[at..], &row[from - column..], n);
                }
            }
        }
    }
}

#[inline(always)]
fn copy_eight(to: &mut [i32], from: &[i32]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<8>(), from.first_chunk::<8>()) {
        *to = *from;
    }
}

/// Copies the first `n` elements, and where there is room some more: whole vectors are faster than odd lengths. What is
/// overwritten beyond belongs to later pixels, which are written later.
#[inline(always)]
fn copy_over(to: &mut [i32], from: &[i32], n: usize) {
    let mut done = 0;
    while done < n {
        match (
            to[done..].first_chunk_mut::<8>(),
            from[done..].first_chunk::<8>(),
        ) {
            (Some(to), Some(from)) => *to = *from,
            _ => {
                to[done..n]
                    .iter_mut()
                    .zip(&from[done..n])
                    .for_each(|(t, f)| *t = *f);
                return;
            }
        }
        done += 8;
    }
}
