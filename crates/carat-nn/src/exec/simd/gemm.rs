//! The one matrix kernel: rows of packed words times panels of packed words.
//!
//! A *word* is an `i32` that holds either two 16-bit values (`wide == false`: two steps of the summation at once) or one
//! 32-bit value (`wide == true`). With words `a[r][k]` and `b[k][c]`, where `b[k][c]` lies at
//! `offsets[k] + c/16 * panel_stride + c%16`, it computes `acc[r][c] = sum over k of a[r][k] . b[k][c]`. The table of
//! offsets is what makes a convolution a matrix product without copying its windows.

use super::{Isa, Level};

/// Columns of a panel.
pub(crate) const LANES: usize = 16;
const MAX_TILE: usize = 8 * 4 * LANES;
/// Room for the largest tile.
pub(super) type Tile = [i32; MAX_TILE];

/// Offsets of the summation steps in the right operand, with their maximum: what bounds checks need.
#[derive(Debug, Clone)]
pub(crate) struct Offsets {
    each: Vec<u32>,
    max: usize,
}

impl Offsets {
    pub(crate) fn new(each: Vec<u32>) -> Self {
        let max = each.iter().copied().max().unwrap_or(0) as usize;
        Self { each, max }
    }

    pub(crate) fn len(&self) -> usize {
        self.each.len()
    }
}

/// One matrix product.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a> {
    /// Words hold one 32-bit value instead of two 16-bit values.
    pub(crate) wide: bool,
    /// Left operand: `rows` rows, `a_stride` words apart.
    pub(crate) a: &'a [i32],
    pub(crate) a_stride: usize,
    pub(crate) rows: usize,
    /// Right operand: `panels` panels of [`LANES`] columns, `panel_stride` words apart.
    pub(crate) b: &'a [i32],
    pub(crate) offsets: &'a Offsets,
    pub(crate) panel_stride: usize,
    pub(crate) panels: usize,
}

/// Takes finished tiles.
pub(crate) trait Sink {
    /// A tile of the product: rows from `row` on, columns from `column` on, `panels` panels wide. May be overwritten.
    fn tile(&mut self, row: usize, column: usize, panels: usize, values: &mut [[i32; LANES]]);
}

/// What the kernels read; the bounds were checked by [`gemm`].
#[derive(Clone, Copy)]
pub(super) struct Args {
    pub(super) a: *const i32,
    pub(super) a_stride: usize,
    pub(super) b: *const i32,
    pub(super) offsets: *const u32,
    pub(super) depth: usize,
    pub(super) panel_stride: usize,
}

impl Args {
    /// Where a row of the left operand starts. Wrapping, because the release profile checks every other addition: that
    /// the row lies inside the operand was checked once, by [`gemm`].
    #[inline(always)]
    pub(super) fn row(self, r: usize) -> *const i32 {
        self.a.wrapping_add(r.wrapping_mul(self.a_stride))
    }
}

/// An instruction set's kernels.
pub(super) trait Kernel {
    /// Most rows of a tile, and most panels for a given number of rows.
    const MAX_ROWS: usize;
    fn max_panels(rows: usize) -> usize;
    /// Computes a tile of `R` rows and `P` panels into `out`, row-major.
    ///
    /// # Safety
    /// The processor has the instruction set. `a` has `depth` words in each of `R` rows; `b` has [`LANES`] words at
    /// each offset in each of `P` panels; `offsets` has `depth` entries.
    unsafe fn tile<const R: usize, const P: usize, const WIDE: bool>(args: Args, out: &mut Tile);
}

struct Scalar;

impl Kernel for Scalar {
    const MAX_ROWS: usize = 4;

    fn max_panels(_: usize) -> usize {
        1
    }

    #[inline(always)]
    unsafe fn tile<const R: usize, const P: usize, const WIDE: bool>(args: Args, out: &mut Tile) {
        let mut acc = [[[0i32; LANES]; P]; R];
        for k in 0..args.depth {
            // SAFETY: the caller vouches for `depth` offsets.
            let offset = unsafe { *args.offsets.add(k) } as usize;
            for p in 0..P {
                // SAFETY: the caller vouches for LANES words at each offset in each panel.
                let b = unsafe {
                    *args
                        .b
                        .add(offset)
                        .add(p.wrapping_mul(args.panel_stride))
                        .cast::<[i32; LANES]>()
                };
                for (r, acc) in acc.iter_mut().enumerate() {
                    // SAFETY: the caller vouches for `depth` words in each row.
                    let a = unsafe { *args.row(r).add(k) };
                    for (acc, b) in acc[p].iter_mut().zip(b) {
                        *acc = acc.wrapping_add(if WIDE { a.wrapping_mul(b) } else { dot(a, b) });
                    }
                }
            }
        }
        for (out, acc) in out.chunks_exact_mut(LANES).zip(acc.as_flattened()) {
            out.copy_from_slice(acc);
        }
    }
}

/// The dot product of two pairs of 16-bit values, modulo 2^32.
#[inline(always)]
fn dot(a: i32, b: i32) -> i32 {
    let low = i32::from(a as i16).wrapping_mul(i32::from(b as i16));
    low.wrapping_add((a >> 16).wrapping_mul(b >> 16))
}

/// Computes a matrix product tile by tile. Panics if the operands are shorter than the job says, before any is read.
pub(crate) fn gemm<S: Sink>(isa: Isa, job: &Job<'_>, sink: &mut S) {
    let depth = job.offsets.len();
    if job.rows == 0 || job.panels == 0 {
        return;
    }
    assert!(
        job.a_stride * (job.rows - 1) + depth <= job.a.len(),
        "the left operand is too short"
    );
    let last = job.offsets.max + job.panel_stride * (job.panels - 1);
    assert!(
        last + LANES <= job.b.len(),
        "the right operand is too short"
    );
    // SAFETY (all): the asserts above cover every tile of the product, and an `Isa` of a level exists only on
    // processors that have its instructions.
    match isa.0 {
        // SAFETY: as above.
        Level::Scalar => unsafe { drive::<Scalar, S>(job, sink) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { with_avx2(job, sink) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512 => unsafe { with_avx512(job, sink) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512Vnni => unsafe { with_avx512_vnni(job, sink) },
    }
}

// The driver is compiled once per instruction set so that the sink's loops are vectorised for it as well.

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn with_avx2<S: Sink>(job: &Job<'_>, sink: &mut S) {
    // SAFETY: the same contract.
    unsafe { drive::<super::x86::Avx2, S>(job, sink) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn with_avx512<S: Sink>(job: &Job<'_>, sink: &mut S) {
    // SAFETY: the same contract.
    unsafe { drive::<super::x86::Avx512, S>(job, sink) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn with_avx512_vnni<S: Sink>(job: &Job<'_>, sink: &mut S) {
    // SAFETY: the same contract.
    unsafe { drive::<super::x86::Avx512Vnni, S>(job, sink) }
}

/// # Safety
/// The processor has the kernel's instruction set, and the operands are as long as the job says.
#[inline(always)]
unsafe fn drive<K: Kernel, S: Sink>(job: &Job<'_>, sink: &mut S) {
    let most = K::max_panels(job.rows);
    // Equal blocks of panels: 5 = 3 + 2 rather than 4 + 1.
    let block = job.panels.div_ceil(job.panels.div_ceil(most));
    let mut tile = [0i32; MAX_TILE];
    let mut panel = 0;
    while panel < job.panels {
        let panels = block.min(job.panels - panel);
        let mut row = 0;
        while row < job.rows {
            let left = job.rows - row;
            let rows = match left {
                8.. if K::MAX_ROWS >= 8 => 8,
                4.. => 4,
                2.. => 2,
                _ => 1,
            };
            let args = Args {
                a: job.a[row * job.a_stride..].as_ptr(),
                a_stride: job.a_stride,
                b: job.b[panel * job.panel_stride..].as_ptr(),
                offsets: job.offsets.each.as_ptr(),
                depth: job.offsets.len(),
                panel_stride: job.panel_stride,
            };
            // SAFETY: the tile lies inside the product.
            unsafe {
                if job.wide {
                    tile_of::<K, true>(rows, panels, args, &mut tile);
                } else {
                    tile_of::<K, false>(rows, panels, args, &mut tile);
                }
            }
            let filled = &mut tile.as_chunks_mut::<LANES>().0[..rows * panels];
            sink.tile(row, panel * LANES, panels, filled);
            row += rows;
        }
        panel += panels;
    }
}

/// # Safety
/// As [`Kernel::tile`].
#[inline(always)]
unsafe fn tile_of<K: Kernel, const WIDE: bool>(
    rows: usize,
    panels: usize,
    args: Args,
    out: &mut Tile,
) {
    // SAFETY: the caller's contract.
    unsafe {
        match (rows, panels) {
            (8, 1) => K::tile::<8, 1, WIDE>(args, out),
            (8, 2) => K::tile::<8, 2, WIDE>(args, out),
            (8, 3) => K::tile::<8, 3, WIDE>(args, out),
            (4, 1) => K::tile::<4, 1, WIDE>(args, out),
            (4, 2) => K::tile::<4, 2, WIDE>(args, out),
            (4, 3) => K::tile::<4, 3, WIDE>(args, out),
            (4, 4) => K::tile::<4, 4, WIDE>(args, out),
            (2, 1) => K::tile::<2, 1, WIDE>(args, out),
            (2, 2) => K::tile::<2, 2, WIDE>(args, out),
            (2, 3) => K::tile::<2, 3, WIDE>(args, out),
            (2, 4) => K::tile::<2, 4, WIDE>(args, out),
            (1, 1) => K::tile::<1, 1, WIDE>(args, out),
            (1, 2) => K::tile::<1, 2, WIDE>(args, out),
            (1, 3) => K::tile::<1, 3, WIDE>(args, out),
            (1, 4) => K::tile::<1, 4, WIDE>(args, out),
            other => unreachable!("no kernel for a tile of {other:?}"),
        }
    }
}
