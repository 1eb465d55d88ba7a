//! The matrix kernel for AVX2 and AVX-512.

use super::gemm::{Args, Kernel, LANES, Tile};
use std::arch::x86_64::*;

pub(super) struct Avx2;
pub(super) struct Avx512;
pub(super) struct Avx512Vnni;

impl Kernel for Avx2 {
    const MAX_ROWS: usize = 4;

    // A panel is two registers; eight accumulators, two panels' words and one broadcast fill the sixteen.
    fn max_panels(rows: usize) -> usize {
        match rows {
            0..2 => 4,
            2..4 => 2,
            _ => 1,
        }
    }

    #[inline(always)]
    unsafe fn tile<const R: usize, const P: usize, const WIDE: bool>(args: Args, out: &mut Tile) {
        // SAFETY: the same contract.
        unsafe { avx2::<R, P, WIDE>(args, out) }
    }
}

impl Kernel for Avx512 {
    const MAX_ROWS: usize = 8;

    // Of 32 registers, at most 24 are accumulators.
    fn max_panels(rows: usize) -> usize {
        if rows >= 8 { 3 } else { 4 }
    }

    #[inline(always)]
    unsafe fn tile<const R: usize, const P: usize, const WIDE: bool>(args: Args, out: &mut Tile) {
        // SAFETY: the same contract.
        unsafe { avx512::<R, P, WIDE>(args, out) }
    }
}

impl Kernel for Avx512Vnni {
    const MAX_ROWS: usize = Avx512::MAX_ROWS;

    fn max_panels(rows: usize) -> usize {
        Avx512::max_panels(rows)
    }

    #[inline(always)]
    unsafe fn tile<const R: usize, const P: usize, const WIDE: bool>(args: Args, out: &mut Tile) {
        // SAFETY: the same contract.
        unsafe { avx512_vnni::<R, P, WIDE>(args, out) }
    }
}

/// # Safety
/// As [`Kernel::tile`].
#[target_feature(enable = "avx2")]
unsafe fn avx2<const R: usize, const P: usize, const WIDE: bool>(args: Args, out: &mut Tile) {
    let mut acc = [[[_mm256_setzero_si256(); 2]; P]; R];
    for k in 0..args.depth {
        // SAFETY: the caller vouches for `depth` offsets.
        let b = unsafe { args.b.add(*args.offsets.add(k) as usize) };
        for p in 0..P {
            // SAFETY: the caller vouches for LANES words at each offset in each panel; the loads need no alignment.
            let (b0, b1) = unsafe {
                let b = b.add(p.wrapping_mul(args.panel_stride));
                (
                    _mm256_loadu_si256(b.cast()),
                    _mm256_loadu_si256(b.add(8).cast()),
                )
            };
            for (r, acc) in acc.iter_mut().enumerate() {
                // SAFETY: the caller vouches for `depth` words in each row.
                let a = _mm256_set1_epi32(unsafe { *args.row(r).add(k) });
                if WIDE {
                    acc[p][0] = _mm256_add_epi32(acc[p][0], _mm256_mullo_epi32(a, b0));
                    acc[p][1] = _mm256_add_epi32(acc[p][1], _mm256_mullo_epi32(a, b1));
                } else {
                    acc[p][0] = _mm256_add_epi32(acc[p][0], _mm256_madd_epi16(a, b0));
                    acc[p][1] = _mm256_add_epi32(acc[p][1], _mm256_madd_epi16(a, b1));
                }
            }
        }
    }
    for (to, acc) in out.chunks_exact_mut(LANES).zip(acc.as_flattened()) {
        // SAFETY: `to` has LANES = 2 * 8 elements.
        unsafe {
            _mm256_storeu_si256(to.as_mut_ptr().cast(), acc[0]);
            _mm256_storeu_si256(to.as_mut_ptr().add(8).cast(), acc[1]);
        }
    }
}

macro_rules! avx512_tile {
    ($name:ident, $features:literal, $accumulate:expr) => {
        /// # Safety
        /// As [`Kernel::tile`].
        #[target_feature(enable = $features)]
        unsafe fn $name<const R: usize, const P: usize, const WIDE: bool>(args: Args, out: &mut Tile) {
            let zero = _mm512_setzero_si512();
            let mut acc = [[zero; P]; R];
            // A macro, not a closure: the accumulators must stay in registers.
            macro_rules! step {
                ($acc:ident, $k:expr) => {
                    // SAFETY: the caller vouches for `depth` offsets.
                    let b = unsafe { args.b.add(*args.offsets.add($k) as usize) };
                    let mut panel = [zero; P];
                    for p in 0..P {
                        // SAFETY: the caller vouches for LANES words at each offset in each panel; no alignment needed.
                        panel[p] = unsafe { _mm512_loadu_si512(b.add(p.wrapping_mul(args.panel_stride)).cast()) };
                    }
                    for r in 0..R {
                        // SAFETY: the caller vouches for `depth` words in each row.
                        let a = _mm512_set1_epi32(unsafe { *args.row(r).add($k) });
                        for p in 0..P {
                            $acc[r][p] = if WIDE {
                                _mm512_add_epi32($acc[r][p], _mm512_mullo_epi32(a, panel[p]))
                            } else {
                                $accumulate($acc[r][p], a, panel[p])
                            };
                        }
                    }
                };
            }
            if R * P <= 8 {
                // Small tiles have too few accumulators to hide the latency of one: they get two sets, even and odd k.
                let mut odd = [[zero; P]; R];
                for k in 0..args.depth / 2 {
                    step!(acc, 2 * k);
                    step!(odd, 2 * k + 1);
                }
                if args.depth % 2 == 1 {
                    step!(acc, args.depth - 1);
                }
                for r in 0..R {
                    for p in 0..P {
                        acc[r][p] = _mm512_add_epi32(acc[r][p], odd[r][p]);
                    }
                }
            } else {
                for k in 0..args.depth {
                    step!(acc, k);
                }
            }
            for (to, acc) in out.chunks_exact_mut(LANES).zip(acc.as_flattened()) {
                // SAFETY: `to` has LANES = 16 elements.
                unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), *acc) };
            }
        }
    };
}

avx512_tile!(
    avx512,
    "avx2,avx512f,avx512bw,avx512dq,avx512vl",
    |acc, a, b| _mm512_add_epi32(acc, _mm512_madd_epi16(a, b))
);
avx512_tile!(
    avx512_vnni,
    "avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
    |acc, a, b| dpwssd(acc, a, b)
);

/// `vpdpwssd`: adds the two products of each lane's 16-bit pairs to the lane, modulo 2^32.
///
/// Written as assembly because the compiler turns the intrinsic back into a multiplication and an addition, which halves
/// the speed of the kernel.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dpwssd(mut acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the instruction exists wherever this function may be called; it reads and writes registers only.
    unsafe {
        std::arch::asm!(
            "vpdpwssd {acc}, {a}, {b}",
            acc = inout(zmm_reg) acc,
            a = in(zmm_reg) a,
            b = in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    acc
}
