//! Loops over contiguous rows, compiled once per instruction set. Plain code: the compiler vectorises it.

use super::multiversion;

/// An operand of an elementwise step along a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Term<'a> {
    /// One value per element.
    Row(&'a [i32]),
    /// One value for all.
    Same(i32),
}

/// Which rows of a plane of pixels go where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry<'a> {
    /// Starts in the plane that is read and in the padded plane.
    pub(crate) rows: &'a [(u32, u32)],
    /// Length of each row.
    pub(crate) row: usize,
    /// Pixels of the plane that is read.
    pub(crate) from: usize,
    /// Pixels of the padded plane.
    pub(crate) to: usize,
    /// Two channels a word.
    pub(crate) pairs: bool,
}

/// Sliding windows along one axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    /// Length of the axis and of everything behind it.
    pub(crate) n: usize,
    pub(crate) inner: usize,
    pub(crate) positions: usize,
    pub(crate) count: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
}

impl Windows {
    #[inline(always)]
    fn pool(self, x: &[i32], out: &mut [i32], join: impl Fn(i32, i32) -> i32) {
        let Self {
            mut n,
            inner,
            mut positions,
            count,
            stride,
            dilation,
        } = self;
        if n == positions * stride {
            // Windows go on seamlessly from one block to the next: one long block.
            (n, positions) = (x.len() / inner, out.len() / inner);
        }
        let blocks = x
            .chunks_exact(n * inner)
            .zip(out.chunks_exact_mut(positions * inner));
        for (x, out) in blocks {
            if inner == 1 && count == 2 && stride == 2 && dilation == 1 {
                out.iter_mut()
                    .zip(x.as_chunks::<2>().0)
                    .for_each(|(o, [a, b])| *o = join(*a, *b));
            } else if inner == 1 {
                for (p, out) in out.iter_mut().enumerate() {
                    let window = &x[p * stride..];
                    *out = (1..count).fold(window[0], |v, t| join(v, window[t * dilation]));
                }
            } else if inner < 8 {
                // Whole vectors: what a row writes beyond its end belongs to the next row, which is written next.
                for p in 0..positions {
                    let row = |t: usize| &x[(p * stride + t * dilation) * inner..];
                    let to = &mut out[p * inner..];
                    match (
                        to.first_chunk_mut::<8>(),
                        row(count - 1).first_chunk::<8>(),
                        row(0).first_chunk::<8>(),
                    ) {
                        (Some(to), Some(_), Some(first)) => {
                            let mut v = *first;
                            for t in 1..count {
                                let Some(x) = row(t).first_chunk::<8>() else {
                                    break;
                                };
                                for i in 0..8 {
                                    v[i] = join(v[i], x[i]);
                                }
                            }
                            *to = v;
                        }
                        _ => {
                            for (i, to) in to[..inner].iter_mut().enumerate() {
                                *to = (1..count).fold(row(0)[i], |v, t| join(v, row(t)[i]));
                            }
                        }
                    }
                }
            } else {
                for (p, out) in out.chunks_exact_mut(inner).enumerate() {
                    let row = |t: usize| &x[(p * stride + t * dilation) * inner..][..inner];
                    if count == 1 {
                        out.copy_from_slice(row(0));
                        continue;
                    }
                    out.iter_mut()
                        .zip(row(0))
                        .zip(row(1))
                        .for_each(|((o, a), b)| *o = join(*a, *b));
                    (2..count).for_each(|t| {
                        out.iter_mut()
                            .zip(row(t))
                            .for_each(|(o, v)| *o = join(*o, *v))
                    });
                }
            }
        }
    }
}

multiversion! {
    /// `out = c * x + bias`.
    fn linear_first(out: &mut [i32], c: i32, x: Term<'_>, bias: i32) {
        match x {
            Term::Row(x) if c == 1 => out.iter_mut().zip(x).for_each(|(o, x)| *o = x.wrapping_add(bias)),
            Term::Row(x) => out.iter_mut().zip(x).for_each(|(o, x)| *o = x.wrapping_mul(c).wrapping_add(bias)),
            Term::Same(x) => out.fill(x.wrapping_mul(c).wrapping_add(bias)),
        }
    }

    /// `out += c * x`.
    fn linear_next(out: &mut [i32], c: i32, x: Term<'_>) {
        match x {
            Term::Row(x) if c == 1 => out.iter_mut().zip(x).for_each(|(o, x)| *o = o.wrapping_add(*x)),
            Term::Row(x) => out.iter_mut().zip(x).for_each(|(o, x)| *o = o.wrapping_add(x.wrapping_mul(c))),
            Term::Same(x) => {
                let add = x.wrapping_mul(c);
                out.iter_mut().for_each(|o| *o = o.wrapping_add(add));
            }
        }
    }

    /// `out = x * y`.
    fn binary_mul(out: &mut [i32], x: Term<'_>, y: Term<'_>) {
        match (x, y) {
            (Term::Row(x), Term::Row(y)) => {
                out.iter_mut().zip(x).zip(y).for_each(|((o, x), y)| *o = x.wrapping_mul(*y));
            }
            (Term::Row(x), Term::Same(c)) | (Term::Same(c), Term::Row(x)) => {
                out.iter_mut().zip(x).for_each(|(o, x)| *o = x.wrapping_mul(c));
            }
            (Term::Same(x), Term::Same(y)) => out.fill(x.wrapping_mul(y)),
        }
    }

    /// `out = max(x, y)`.
    fn binary_max(out: &mut [i32], x: Term<'_>, y: Term<'_>) {
        match (x, y) {
            (Term::Row(x), Term::Row(y)) => out.iter_mut().zip(x).zip(y).for_each(|((o, x), y)| *o = *x.max(y)),
            (Term::Row(x), Term::Same(c)) | (Term::Same(c), Term::Row(x)) => {
                out.iter_mut().zip(x).for_each(|(o, x)| *o = (*x).max(c));
            }
            (Term::Same(x), Term::Same(y)) => out.fill(x.max(y)),
        }
    }

    /// Words of two 16-bit values each, one from `low` and one from `high` (zero where that row is missing).
    fn pair_rows(out: &mut [i32], low: &[i32], high: Option<&[i32]>) {
        match high {
            Some(high) => {
                out.iter_mut().zip(low).zip(high).for_each(|((o, l), h)| *o = (l & 0xffff) | (h << 16));
            }
            None => out.iter_mut().zip(low).for_each(|(o, l)| *o = l & 0xffff),
        }
    }

    /// Words of two consecutive 16-bit values each; an odd last one is paired with zero.
    fn pair_up(out: &mut [i32], x: &[i32]) {
        let (pairs, rest) = x.as_chunks::<2>();
        out.iter_mut().zip(pairs).for_each(|(o, [l, h])| *o = (l & 0xffff) | (h << 16));
        if let ([last], Some(o)) = (rest, out.get_mut(pairs.len())) {
            *o = last & 0xffff;
        }
    }

    /// Sum of a row, modulo 2^32.
    fn fold_sum(x: &[i32]) -> i32 {
        x.iter().fold(0, |sum, v| sum.wrapping_add(*v))
    }

    /// Maximum of a row.
    fn fold_max(x: &[i32]) -> i32 {
        x.iter().fold(i32::MIN, |max, v| max.max(*v))
    }

    /// `out += x`.
    fn fold_rows_sum(out: &mut [i32], x: &[i32]) {
        out.iter_mut().zip(x).for_each(|(o, x)| *o = o.wrapping_add(*x));
    }

    /// `out = max(out, x)`.
    fn fold_rows_max(out: &mut [i32], x: &[i32]) {
        out.iter_mut().zip(x).for_each(|(o, x)| *o = (*o).max(*x));
    }

    /// Copies a group's channels into padded planes of words; the padding is left alone.
    fn pack_image(x: &[i32], image: &mut [i32], units: usize, geometry: Geometry<'_>) {
        let Geometry { rows, row, from, to, pairs } = geometry;
        for (unit, image) in image.chunks_exact_mut(to).take(units).enumerate() {
            let channel = if pairs { 2 * unit } else { unit };
            let (low, high) = x[channel * from..].split_at(from);
            for &(a, b) in rows {
                let image = &mut image[b as usize..][..row];
                let low = &low[a as usize..][..row];
                if !pairs {
                    image.iter_mut().zip(low).for_each(|(o, l)| *o = *l);
                } else if high.is_empty() {
                    image.iter_mut().zip(low).for_each(|(o, l)| *o = l & 0xffff);
                } else {
                    let high = &high[a as usize..][..row];
                    image.iter_mut().zip(low).zip(high).for_each(|((o, l), h)| *o = (l & 0xffff) | (h << 16));
                }
            }
        }
    }

    /// Maximum over windows that all lie inside: output `p` of each block joins `x[p*stride + t*dilation]`.
    fn pool_max(x: &[i32], out: &mut [i32], w: Windows) {
        w.pool(x, out, i32::max);
    }

    /// Sum over windows that all lie inside, modulo 2^32.
    fn pool_sum(x: &[i32], out: &mut [i32], w: Windows) {
        w.pool(x, out, i32::wrapping_add);
    }

    /// One channel of a depthwise convolution: output row `i` sums `weights[t] * image[bases[i] + taps[t] + stride*x]`.
    fn depthwise_plane(out: &mut [i32], image: &[i32], bases: &[u32], taps: &[u32], weights: &[i32], stride: usize) {
        let width = out.len() / bases.len();
        for (row, base) in out.chunks_exact_mut(width).zip(bases) {
            row.fill(0);
            for (tap, w) in taps.iter().zip(weights) {
                let from = &image[(base + tap) as usize..];
                if stride == 1 {
                    row.iter_mut().zip(from).for_each(|(o, x)| *o = o.wrapping_add(x.wrapping_mul(*w)));
                } else {
                    let from = from.iter().step_by(stride);
                    row.iter_mut().zip(from).for_each(|(o, x)| *o = o.wrapping_add(x.wrapping_mul(*w)));
                }
            }
        }
    }
}
