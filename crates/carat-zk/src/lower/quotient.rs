//! Quotients by a value.

use super::{Builder, unsupported};
use crate::{
    Error,
    graph::{Fill, Id, Kind},
};
use alloc::{vec, vec::Vec};
use carat_program::{MODULUS, Rounding, ValueId};

const P: i128 = MODULUS as i128;

/// Widest range that one or two limbs show without wrapping.
const WIDEST: usize = 30;

type Span = (i128, i128);

/// Products of two ranges.
fn times(a: Span, b: Span) -> Span {
    let ends = [a.0 * b.0, a.0 * b.1, a.1 * b.0, a.1 * b.1];
    ends.iter()
        .fold((ends[0], ends[0]), |(lo, hi), &v| (lo.min(v), hi.max(v)))
}

/// Bits that hold `0..=hi - lo`.
fn width((lo, hi): Span) -> usize {
    // Not in `usize`, which may have 32 bits.
    (i128::BITS - (hi - lo).leading_zeros()).max(1) as usize
}

/// How a value is kept in a range.
#[derive(Clone, Copy)]
enum Check {
    /// From the lower end, to the next power of two.
    Low,
    /// From both ends: exactly.
    Both,
}

impl Check {
    /// The values that it lets through, where it is possible.
    fn admits(self, (lo, hi): Span) -> Option<Span> {
        let w = width((lo, hi));
        match self {
            Self::Low => (w <= WIDEST).then(|| (lo, lo + (1 << w) - 1)),
            // Two numbers below 2^w do not add up to hi - lo + p.
            Self::Both => (w < WIDEST).then_some((lo, hi)),
        }
    }
}

/// `u = n - m * product`, where `0 <= u < m d` tells the quotient: with u known modulo p only, the largest and the least
/// difference of it from what it should be must be smaller than p.
struct Remainder {
    n: Span,
    /// `m d`
    divisor: i128,
}

impl Remainder {
    fn unique(&self, product: Span) -> bool {
        self.n.1 - product.0 < P && self.divisor - 1 - (self.n.0 - product.1) < P
    }
}

impl Builder<'_> {
    /// `q` with `0 <= u < m d`, `u = m 2^bits x + (m - 1) d - m q d`; m is 1 to round down, and 2 to the nearest.
    pub(super) fn quotient(
        &mut self,
        inputs: &[ValueId],
        fraction: u8,
        rounding: Rounding,
        full: Vec<usize>,
        (lo, hi): (i64, i64),
    ) -> Result<Id, Error> {
        let [x, d] = [0, 1].map(|i| self.aligned(inputs[i], &full[1..]));
        let m = match rounding {
            Rounding::Floor => 1i64,
            Rounding::Nearest => 2,
        };
        let scale = m << fraction;
        let span = |b: &Self, id: Id| {
            let (lo, hi) = b.range(id);
            (i128::from(lo), i128::from(hi))
        };
        let (xs, ds) = (span(self, x), span(self, d));
        let (wide, unit) = (i128::from(m), i128::from(scale));
        let remainder = Remainder {
            n: (
                unit * xs.0 + (wide - 1) * ds.0,
                unit * xs.1 + (wide - 1) * ds.1,
            ),
            divisor: wide * ds.1,
        };
        let own = (i128::from(lo), i128::from(hi));
        let fill = Fill::Quotient {
            x,
            d,
            bits: fraction,
            rounding,
        };
        let q = self.column(full.clone(), lo, hi, fill);
        let whole = vec![(scale, x), (m - 1, d)];
        let scaled = |product: Span| (wide * product.0, wide * product.1);

        let checks = [Check::Low, Check::Both];
        let one = checks.into_iter().find(|check| {
            check
                .admits(own)
                .is_some_and(|q| remainder.unique(scaled(times(q, ds))))
        });
        let u = if let Some(check) = one {
            self.between(q, own, check);
            let product = self.product(q, d);
            self.linear([whole, vec![(-m, product)]].concat(), 0)
        } else {
            // q = 2^k h + l, and h d on its own is known to be small.
            let parts = |k: u8| {
                let low = ((1i128 << k) - 1) * ds.1;
                let least = (remainder.n.0 - remainder.divisor).div_euclid(wide) - low;
                let most = remainder.n.1.div_euclid(wide);
                ((own.0 >> k, own.1 >> k), (least >> k, (most >> k) + 1))
            };
            let certified = |k: u8, check: Check| {
                let (high, part) = parts(k);
                let (Some(high), Some(part)) = (check.admits(high), check.admits(part)) else {
                    return false;
                };
                let free = times(high, ds);
                let low = ((1i128 << k) - 1) * ds.1;
                free.1 - part.0 < P
                    && part.1 - free.0 < P
                    && remainder.unique(scaled((part.0 << k, (part.1 << k) + low)))
            };
            let Some((check, k)) = checks
                .into_iter()
                .flat_map(|check| (1..=16u8).rev().map(move |k| (check, k)))
                .find(|&(check, k)| certified(k, check))
            else {
                return unsupported("divides values too wide for an exact quotient modulo p");
            };
            let (high, part) = parts(k);
            let unit = 1i64 << k;
            let fill = Fill::High { x: q, bits: k };
            let h = self.column(full, high.0 as i64, high.1 as i64, fill);
            self.between(h, high, check);
            let l = self.linear(vec![(1, q), (-unit, h)], 0);
            (self.graph.nodes[l].lo, self.graph.nodes[l].hi) = (0, unit - 1);
            self.ranged(l, k);
            let upper = self.product(h, d);
            (self.graph.nodes[upper].lo, self.graph.nodes[upper].hi) =
                (part.0 as i64, part.1 as i64);
            self.between(upper, part, check);
            let lower = self.product(l, d);
            let products = vec![(-m * unit, upper), (-m, lower)];
            self.linear([whole, products].concat(), 0)
        };
        // u and m d - 1 - u, both below 2^w, add up to less than p: neither has wrapped.
        let bound = (0, remainder.divisor - 1);
        if width(bound) >= WIDEST {
            return unsupported("divides by values too wide for an exact quotient modulo p");
        }
        let w = width(bound) as u8;
        let rest = self.linear(vec![(m, d), (-1, u)], -1);
        for side in [u, rest] {
            (self.graph.nodes[side].lo, self.graph.nodes[side].hi) = (0, bound.1 as i64);
            self.ranged(side, w);
        }
        Ok(q)
    }

    /// Keeps a value in a range.
    fn between(&mut self, x: Id, (lo, hi): Span, check: Check) {
        let w = width((lo, hi)) as u8;
        let from = self.linear(vec![(1, x)], -lo as i64);
        self.ranged(from, w);
        if matches!(check, Check::Both) {
            let to = self.linear(vec![(-1, x)], hi as i64);
            self.ranged(to, w);
        }
    }

    fn product(&mut self, a: Id, b: Id) -> Id {
        let range = |id: Id| {
            let (lo, hi) = self.range(id);
            (i128::from(lo), i128::from(hi))
        };
        let (lo, hi) = times(range(a), range(b));
        let narrow = |v: i128| v.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        let dims = self.dims(a);
        self.node(Kind::Mul(a, b), dims, narrow(lo), narrow(hi))
    }
}
