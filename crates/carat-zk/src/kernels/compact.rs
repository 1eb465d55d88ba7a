//! A committed polynomial kept as bytes where its values are bytes, as weights are: a quarter of the memory to hold and to
//! read, and products in 32 bits.

use super::{P, Vector, WIDTH};
use crate::field::{DEGREE, E, F, int, signed};
use p3_field::{BasedVectorSpace, Field, PackedValue, PrimeCharacteristicRing};
use rayon::prelude::*;
use std::borrow::Cow;

type Packed = <F as Field>::Packing;

/// Consecutive values that are all bytes, or all field elements.
const STRETCH: usize = 1 << 9;

/// Where a stretch lies.
#[derive(Debug, Clone, Copy)]
enum Place {
    Bytes(usize),
    Wide(usize),
}

/// The values of a polynomial.
#[derive(Debug)]
pub(crate) struct Compact {
    bytes: Vec<i8>,
    wide: Vec<F>,
    places: Vec<Place>,
    stretch: usize,
}

/// Values next to each other.
#[derive(Debug, Clone, Copy)]
enum Run<'a> {
    Bytes(&'a [i8]),
    Wide(&'a [F]),
}

fn byte(v: F) -> Option<i8> {
    i8::try_from(signed(v)).ok()
}

/// The values of a stretch as bytes, if all of them are.
fn narrow(values: &[F]) -> Option<[i8; STRETCH]> {
    let mut out = [0; STRETCH];
    for (o, &v) in out.iter_mut().zip(values) {
        *o = byte(v)?;
    }
    Some(out)
}

impl Compact {
    /// Of `2^n` values.
    pub(crate) fn new(values: &[F]) -> Self {
        Self::of_parts(values.len(), [values])
    }

    /// Of `2^n` values, given in parts whose lengths are powers of two.
    pub(crate) fn of_parts(len: usize, parts: impl IntoIterator<Item: AsRef<[F]>>) -> Self {
        let mut out = Self {
            bytes: Vec::with_capacity(len),
            wide: Vec::new(),
            places: Vec::with_capacity(len / STRETCH.min(len)),
            stretch: STRETCH.min(len),
        };
        for part in parts {
            let part = part.as_ref();
            let bytes: Vec<_> = part.par_chunks(out.stretch).map(narrow).collect();
            for (values, bytes) in part.chunks(out.stretch).zip(bytes) {
                if let Some(bytes) = bytes {
                    out.places.push(Place::Bytes(out.bytes.len()));
                    out.bytes.extend_from_slice(&bytes[..values.len()]);
                } else {
                    out.places.push(Place::Wide(out.wide.len()));
                    out.wide.extend_from_slice(values);
                }
            }
        }
        out.bytes.shrink_to_fit();
        out.wide.shrink_to_fit();
        out
    }

    /// Bytes that are kept.
    #[cfg(test)]
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.wide.len() * size_of::<F>()
    }
}

/// A polynomial to read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Values<'a> {
    Plain(&'a [F]),
    Compact(&'a Compact),
}

impl<'a> Values<'a> {
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Plain(values) => values.len(),
            Self::Compact(c) => c.places.len() * c.stretch,
        }
    }

    /// The values `from .. from + len`, which lie in one stretch.
    fn run(self, from: usize, len: usize) -> Run<'a> {
        match self {
            Self::Plain(values) => Run::Wide(&values[from..from + len]),
            Self::Compact(c) => {
                let (stretch, within) = (from / c.stretch, from % c.stretch);
                match c.places[stretch] {
                    Place::Bytes(at) => Run::Bytes(&c.bytes[at + within..][..len]),
                    Place::Wide(at) => Run::Wide(&c.wide[at + within..][..len]),
                }
            }
        }
    }

    /// Some of the values, as field elements.
    pub(crate) fn field(self, range: core::ops::Range<usize>) -> Cow<'a, [F]> {
        let c = match self {
            Self::Plain(values) => return Cow::Borrowed(&values[range]),
            Self::Compact(c) => c,
        };
        let mut out = Vec::with_capacity(range.len());
        let mut at = range.start;
        while at < range.end {
            let len = (c.stretch - at % c.stretch).min(range.end - at);
            match self.run(at, len) {
                Run::Bytes(bytes) => out.extend(bytes.iter().map(|&b| F::from_i8(b))),
                Run::Wide(values) => out.extend_from_slice(values),
            }
            at += len;
        }
        Cow::Owned(out)
    }
}

/// An element in halves of its coefficients: all low halves, all high ones, so that `sum (low + 2^16 high) X^d` is the
/// element. A low half is at most 2^15, a high one 2^14.
pub(crate) type Halves = [i16; 2 * DEGREE];

pub(crate) fn halves(e: &E) -> Halves {
    let coefficients: &[F] = e.as_basis_coefficients_slice();
    let mut out = [0; 2 * DEGREE];
    for (d, &c) in coefficients.iter().enumerate() {
        // Of absolute value below 2^30, so both conversions keep the value.
        let c = signed(c) as i32;
        out[d] = c as i16;
        out[DEGREE + d] = ((c - i32::from(out[d])) >> 16) as i16;
    }
    out
}

/// The coefficient with these halves.
pub(crate) fn whole(low: i64, high: i64) -> i64 {
    low + (high << 16)
}

/// Columns that are summed together: their sums stay in the first-level cache.
pub(crate) const TILE: usize = 256;

/// Rows that are summed together: their factors stay in registers.
pub(crate) const ROWS: usize = 4;

/// Rows whose products fit 32 bits: a byte times a half is at most 2^22.
const MOST: usize = 1 << 8;

/// Sums of rows of bytes, each with a factor.
pub(crate) struct Sums {
    sums: [[i32; TILE]; 2 * DEGREE],
    full: [[i64; TILE]; DEGREE],
    rows: usize,
    width: usize,
}

impl Sums {
    /// For rows of `width` bytes, at most [`TILE`].
    pub(crate) fn new(width: usize) -> Self {
        Self {
            sums: [[0; TILE]; 2 * DEGREE],
            full: [[0; TILE]; DEGREE],
            rows: 0,
            width,
        }
    }

    /// Adds one to [`ROWS`] rows, each with its factor.
    pub(crate) fn add_some(&mut self, rows: &[(&[i8], &Halves)]) {
        const NOTHING: Halves = [0; 2 * DEGREE];
        // For rows that lack, zero times the last.
        let row = |i: usize| rows[i.min(rows.len() - 1)].0;
        let factor = |i: usize| rows.get(i).map_or(&NOTHING, |r| r.1);
        self.add(core::array::from_fn(row), core::array::from_fn(factor));
    }

    /// `+= sum_i factors[i] * rows[i]`
    fn add(&mut self, rows: [&[i8]; ROWS], factors: [&Halves; ROWS]) {
        if self.rows == MOST {
            self.carry();
        }
        self.rows += ROWS;
        let [a, b, c, d] = rows.map(|r| &r[..self.width]);
        for (half, sums) in self.sums.iter_mut().enumerate() {
            let l = factors.map(|f| i32::from(f[half]));
            for ((((s, &a), &b), &c), &d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                // Cannot overflow (see `MOST`); checked arithmetic would not become vector instructions.
                let product = |v: i8, l: i32| i32::from(v).wrapping_mul(l);
                let low = product(a, l[0]).wrapping_add(product(b, l[1]));
                let high = product(c, l[2]).wrapping_add(product(d, l[3]));
                *s = s.wrapping_add(low.wrapping_add(high));
            }
        }
    }

    fn carry(&mut self) {
        let (low, high) = self.sums.split_at_mut(DEGREE);
        for ((full, low), high) in self.full.iter_mut().zip(low).zip(high) {
            for ((f, l), h) in full.iter_mut().zip(low).zip(high) {
                *f += whole(i64::from(*l), i64::from(*h));
                (*l, *h) = (0, 0);
            }
        }
        self.rows = 0;
    }

    /// The d-th coefficients, by column.
    pub(crate) fn finish(mut self) -> [[F; TILE]; DEGREE] {
        self.carry();
        self.full.map(|sums| {
            // One pass for what becomes vector instructions, one for what does not.
            sums.map(congruent).map(F::from_u32)
        })
    }
}

/// A small integer with the same residue: `2^31 = 2^24 - 1` modulo p.
fn congruent(mut v: i64) -> u32 {
    const BITS: u32 = 31;
    const P: i64 = carat_program::MODULUS;
    const { assert!((1 << BITS) - P == (1 << 24) - 1) };
    // Each step takes seven bits off; what is left lies between -2^28 and 2^31 + 2^28.
    for _ in 0..5 {
        let high = v >> BITS;
        v = (v & ((1 << BITS) - 1)) + (high << 24) - high;
    }
    (v + (v >> 63 & P)) as u32
}

/// The element with these coefficients.
pub(crate) fn element(coefficients: [i64; DEGREE]) -> E {
    E::from_basis_coefficients_fn(|d| int(coefficients[d]))
}

/// `out[k] = sum_i weights[i] * values[from + i * width + k]`: a combination of rows.
pub(crate) fn combine_rows(values: Values<'_>, from: usize, width: usize, weights: &[E]) -> Vector {
    RowSums::new(values, from, width, weights).by_all()
}

/// [`combine_rows`], by all threads or by one.
pub(crate) struct RowSums<'a> {
    values: Values<'a>,
    from: usize,
    width: usize,
    weights: &'a [E],
    factors: Vec<Halves>,
}

impl<'a> RowSums<'a> {
    pub(crate) fn new(values: Values<'a>, from: usize, width: usize, weights: &'a [E]) -> Self {
        Self {
            values,
            from,
            width,
            weights,
            factors: weights.iter().map(halves).collect(),
        }
    }

    pub(crate) fn by_all(&self) -> Vector {
        if self.width < 2 * WIDTH {
            return self.short();
        }
        let mut out = P::zero_vec(self.width / WIDTH);
        let tiles = out.par_chunks_mut(TILE / WIDTH).enumerate();
        tiles.for_each(|(t, out)| self.tile(t, out));
        Vector::Packed(out)
    }

    /// By this thread, which does something else between tiles.
    pub(crate) fn by_one(&self, between: impl Fn()) -> Vector {
        if self.width < 2 * WIDTH {
            return self.short();
        }
        let mut out = P::zero_vec(self.width / WIDTH);
        for (t, out) in out.chunks_mut(TILE / WIDTH).enumerate() {
            self.tile(t, out);
            between();
        }
        Vector::Packed(out)
    }

    fn short(&self) -> Vector {
        let mut out = vec![E::ZERO; self.width];
        let range = self.from..self.from + self.weights.len() * self.width;
        let rows = self.values.field(range);
        for (row, &w) in rows.chunks_exact(self.width).zip(self.weights) {
            for (o, &v) in out.iter_mut().zip(row) {
                *o += w * v;
            }
        }
        Vector::Plain(out)
    }

    /// The sums of at most [`TILE`] columns.
    fn tile(&self, t: usize, out: &mut [P]) {
        let columns = out.len() * WIDTH;
        let mut sums = Sums::new(columns);
        let mut rows: Vec<(&[i8], &Halves)> = Vec::with_capacity(ROWS);
        let (mut wide, mut scales) = (Vec::new(), Vec::new());
        for (i, (factor, &weight)) in self.factors.iter().zip(self.weights).enumerate() {
            let at = self.from + i * self.width + t * TILE;
            match self.values.run(at, columns) {
                Run::Bytes(row) => {
                    rows.push((row, factor));
                    if rows.len() == ROWS {
                        sums.add_some(&rows);
                        rows.clear();
                    }
                }
                Run::Wide(row) => {
                    wide.push(row);
                    scales.push(weight);
                }
            }
        }
        if !rows.is_empty() {
            sums.add_some(&rows);
        }
        let sums = sums.finish();
        for (k, o) in out.iter_mut().enumerate() {
            *o = P::from_basis_coefficients_fn(|d| {
                *Packed::from_slice(&sums[d][k * WIDTH..][..WIDTH])
            });
        }
        combine_wide(out, &wide, &scales);
    }
}

/// Bytes whose products with halves, summed, fit 32 bits.
pub(crate) const SPAN: usize = 1 << 8;

/// Products of field elements that are summed before they are reduced.
const BATCH: usize = 8;

/// `out[k] += sum_i weights[i] * rows[i][k]`
pub(super) fn combine_wide(out: &mut [P], rows: &[&[F]], weights: &[E]) {
    for (rows, weights) in rows.chunks(BATCH).zip(weights.chunks(BATCH)) {
        let rows: [&[Packed]; BATCH] =
            core::array::from_fn(|i| Packed::pack_slice(rows[i.min(rows.len() - 1)]));
        let factors: [[Packed; BATCH]; DEGREE] = core::array::from_fn(|d| {
            core::array::from_fn(|i| {
                weights.get(i).map_or(Packed::ZERO, |w| {
                    let c: &[F] = w.as_basis_coefficients_slice();
                    Packed::from(c[d])
                })
            })
        });
        for (k, o) in out.iter_mut().enumerate() {
            let column: [Packed; BATCH] = core::array::from_fn(|i| rows[i][k]);
            *o += P::from_basis_coefficients_fn(|d| Packed::dot_product(&factors[d], &column));
        }
    }
}

/// `out[i] = sum_k values[i * width + k] * weights[k]`, `weights` being one row long.
pub(crate) fn dot_rows(values: Values<'_>, weights: &[E]) -> Vec<E> {
    let width = weights.len();
    if width < SPAN {
        let dot = |row: &[F]| row.iter().zip(weights).map(|(&v, &w)| w * v).sum();
        let plain = values.field(0..values.len());
        return plain.chunks_exact(width).map(dot).collect();
    }
    let mut factors: [Vec<i16>; 2 * DEGREE] = core::array::from_fn(|_| Vec::with_capacity(width));
    let mut scales: [Vec<F>; DEGREE] = core::array::from_fn(|_| Vec::with_capacity(width));
    for w in weights {
        for (f, h) in factors.iter_mut().zip(halves(w)) {
            f.push(h);
        }
        let coefficients: &[F] = w.as_basis_coefficients_slice();
        for (s, &c) in scales.iter_mut().zip(coefficients) {
            s.push(c);
        }
    }
    let mut out = E::zero_vec(values.len() / width);
    out.par_chunks_mut(ROWS)
        .with_min_len(((1 << 13) / (ROWS * width)).max(1))
        .enumerate()
        .for_each(|(first, out)| {
            let mut sums = [[0i64; 2 * DEGREE]; ROWS];
            for at in (0..width).step_by(SPAN) {
                let mut bytes = [[0i16; SPAN]; ROWS];
                for (i, o) in out.iter_mut().enumerate() {
                    match values.run((first * ROWS + i) * width + at, SPAN) {
                        Run::Bytes(row) => {
                            for (b, &v) in bytes[i].iter_mut().zip(row) {
                                *b = v.into();
                            }
                        }
                        Run::Wide(row) => *o += dot_wide(row, scales.each_ref().map(|s| &s[at..])),
                    }
                }
                for (d, f) in factors.iter().enumerate() {
                    let dots = dot_bytes(&bytes, &f[at..][..SPAN]);
                    for (s, dot) in sums.iter_mut().zip(dots) {
                        s[d] += i64::from(dot);
                    }
                }
            }
            for (o, s) in out.iter_mut().zip(sums) {
                *o += element(core::array::from_fn(|d| whole(s[d], s[DEGREE + d])));
            }
        });
    out
}

/// Dot products of rows of bytes with halves. `SPAN` products fit 32 bits.
fn dot_bytes(rows: &[[i16; SPAN]; ROWS], factors: &[i16]) -> [i32; ROWS] {
    let [a, b, c, d] = rows;
    let mut sums = [0i32; ROWS];
    for ((((&f, &a), &b), &c), &d) in factors.iter().zip(a).zip(b).zip(c).zip(d) {
        for (s, v) in sums.iter_mut().zip([a, b, c, d]) {
            *s = s.wrapping_add(i32::from(v).wrapping_mul(i32::from(f)));
        }
    }
    sums
}

fn dot_wide(row: &[F], weights: [&[F]; DEGREE]) -> E {
    let row = Packed::pack_slice(row).as_chunks::<BATCH>().0;
    E::from_basis_coefficients_fn(|d: usize| -> F {
        let weights = Packed::pack_slice(&weights[d][..row.len() * BATCH * WIDTH]);
        let products = row.iter().zip(weights.as_chunks::<BATCH>().0);
        let sum: Packed = products.map(|(v, w)| Packed::dot_product(v, w)).sum();
        sum.as_slice().iter().copied().sum::<F>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(count: usize) -> Vec<E> {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            F::from_u32(state >> 1)
        };
        (0..count)
            .map(|_| E::from_basis_coefficients_fn(|_| next()))
            .collect()
    }

    /// The largest bytes, with wide stretches between them where asked for.
    fn values(count: usize, wide: bool) -> Vec<F> {
        (0..count)
            .map(|i| match i % 5 {
                _ if wide && i / 700 % 3 == 1 => F::from_u32(i as u32 * 40_503 % 2_130_706_433),
                0 => F::from_i8(i8::MIN),
                1 => F::from_i8(i8::MAX),
                2 => F::from_i8(-1),
                _ => F::from_i8((i % 256) as u8 as i8),
            })
            .collect()
    }

    #[test]
    fn sums_of_rows_are_what_the_field_says() {
        for (rows, width) in [
            (1, 8),
            (3, 64),
            (5, 256),
            (16, 512),
            (7, 2048),
            (1024usize, 64usize),
        ] {
            for wide in [false, true] {
                let count = (rows * width).next_power_of_two();
                let plain = values(count, wide);
                let compact = Compact::new(&plain);
                let polynomial = Values::Compact(&compact);
                assert_eq!(polynomial.field(0..count), plain);
                let weights = elements(rows);
                let expected: Vec<E> = (0..width)
                    .map(|k| (0..rows).map(|i| weights[i] * plain[i * width + k]).sum())
                    .collect();
                for values in [polynomial, Values::Plain(&plain)] {
                    let sums = RowSums::new(values, 0, width, &weights);
                    assert_eq!(sums.by_all().unpack(), expected);
                    assert_eq!(sums.by_one(|| ()).unpack(), expected);
                }
                let weights = elements(width.next_power_of_two());
                let expected: Vec<E> = (plain.chunks(weights.len()))
                    .map(|row| row.iter().zip(&weights).map(|(&v, &w)| w * v).sum())
                    .collect();
                for values in [polynomial, Values::Plain(&plain)] {
                    assert_eq!(dot_rows(values, &weights), expected);
                }
            }
        }
    }

    #[test]
    fn bytes_are_kept_as_bytes() {
        let bytes = Compact::new(&values(1 << 14, false));
        assert_eq!(bytes.size(), 1 << 14);
        let mixed = Compact::new(&values(1 << 14, true));
        assert!(mixed.size() > 1 << 14 && mixed.size() < 4 << 14);
    }

    #[test]
    fn congruent_integers() {
        let mut v = 1i64;
        for step in 0..400i64 {
            v = v.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step);
            for v in [
                v,
                v >> 17,
                v >> 33,
                -step,
                step << 31,
                i64::MAX - step,
                i64::MIN + step,
            ] {
                assert_eq!(F::from_u32(congruent(v)), int(v));
            }
        }
    }

    #[test]
    fn halves_give_the_element_back() {
        for e in elements(100) {
            let h = halves(&e);
            let back = core::array::from_fn(|d| whole(h[d].into(), h[DEGREE + d].into()));
            assert_eq!(element(back), e);
        }
    }
}
