//! Where another plan wins: from the inverses of the lines, not by trial.

use alloc::vec::Vec;

use super::lines::{Line, Offer};
use crate::consequence::Consequence;
use crate::money::{Micros, Price};
use crate::plan::{Obstacle, Rung, SwitchPoint};

/// Halvings of an interval of values, where two lines that both audit cross.
const HALVINGS: u32 = 20;

pub(super) fn points(
    consequence: &Consequence,
    budget: Price,
    usable: &[Line<'_>],
    best_at: usize,
    best: &Offer,
    slow: &[(Line<'_>, Obstacle)],
) -> Vec<SwitchPoint> {
    let mut points = Vec::new();
    let line = &usable[best_at];
    if line.rung == Rung::Signature {
        return points;
    }
    let value = consequence.value;
    points.extend(above(line, usable, value, budget));
    // Below: what is cheaper for smaller values.
    let below = usable
        .iter()
        .filter(|other| other.rung != line.rung && other.is_audited() && !line.is_audited())
        .map(|other| (other.covers(best.price), other.rung))
        .filter(|(covered, _)| *covered > Micros::ZERO && *covered < value)
        .fold(None, |most: Option<(Micros, Rung)>, next| match most {
            Some(most) if most.0 >= next.0 => Some(most),
            _ => Some(next),
        });
    points.extend(below.map(|(value, rung)| SwitchPoint::UpTo { value, rung }));
    if let Some(bond) = line.bond_allocated()
        && let Some(tau) = line.tau_with_more_bond(value, bond)
        && tau < best.tau
    {
        points.push(SwitchPoint::WithBond {
            bond: bond.plus(bond),
            tau,
        });
    }
    let faster = slow.iter().filter_map(|(other, obstacle)| match obstacle {
        Obstacle::TooSlow { micros, .. } => {
            let offer = other
                .offer(value)
                .ok()
                .filter(|offer| offer.price < best.price)?;
            Some(SwitchPoint::WithDeadline {
                micros: *micros,
                rung: other.rung,
                price: offer.price,
            })
        }
        _ => None,
    });
    points.extend(faster.take(1));
    points
}

/// The smallest value above which another rung is cheaper, or the only one left.
///
/// Lines take over from each other one after the other; those of one rung (with other replicas, under another rule) are
/// passed over.
fn above(
    first: &Line<'_>,
    usable: &[Line<'_>],
    value: Micros,
    budget: Price,
) -> Option<SwitchPoint> {
    let (mut line, mut from) = (first, value);
    for _ in 0..usable.len() {
        let limit = line.covers(budget);
        let end = usable
            .iter()
            .filter(|other| !core::ptr::eq(*other, line) && other.rung != Rung::Signature)
            .filter_map(|other| {
                let reach = other.covers(budget);
                (reach > from)
                    .then(|| crossing(line, other, from, limit, reach))
                    .flatten()
            })
            .min()
            .unwrap_or(limit);
        if end == Micros::MAX {
            return None;
        }
        let beyond = end.plus(Micros(1));
        let best = usable
            .iter()
            .filter_map(|other| Some((other, other.offer(beyond).ok()?)))
            .filter(|(_, offer)| offer.price <= budget)
            .min_by_key(|(_, offer)| offer.price);
        match best {
            Some((next, _)) if next.rung == first.rung => (line, from) = (next, beyond),
            Some((next, offer)) => {
                return Some(SwitchPoint::Above {
                    value: end,
                    rung: Some(next.rung),
                    price: Some(offer.price),
                });
            }
            None => {
                return Some(SwitchPoint::Above {
                    value: end,
                    rung: None,
                    price: None,
                });
            }
        }
    }
    None
}

/// The largest value from `value` on up to which `line` is at most as dear as `other`; `None` if `other` never takes over.
/// Where both audit, it is found by halving, so it may lie below the true point by a millionth of the interval.
fn crossing(
    line: &Line<'_>,
    other: &Line<'_>,
    value: Micros,
    limit: Micros,
    reach: Micros,
) -> Option<Micros> {
    let steps = other.steps();
    if !steps.is_empty() {
        // At each price of the other: up to where this one is not dearer.
        let cheaper = steps.into_iter().find_map(|price| {
            let ours = line.covers(price).min(limit).max(value);
            (other.covers(price) > ours).then_some(ours)
        });
        return cheaper;
    }
    if line.is_audited() {
        // Both audit: both prices grow. Search between here and where one of them ends.
        let dearer = |v: Micros| match (line.offer(v), other.offer(v)) {
            (Ok(ours), Ok(theirs)) => theirs.price < ours.price,
            (Err(_), Ok(_)) => true,
            _ => false,
        };
        let (mut low, mut high) = (value, limit.plus(Micros(1)).min(reach));
        if !dearer(high) {
            return None;
        }
        for _ in 0..HALVINGS {
            let middle = Micros(low.0 + (high.0 - low.0) / 2);
            if dearer(middle) {
                high = middle
            } else {
                low = middle
            }
        }
        return Some(low);
    }
    // This one is paid in steps and the other audits: it takes over where a step ends and the next is dearer than it.
    let own = line.steps();
    for (at, price) in own.iter().enumerate() {
        let end = line.covers(*price).min(limit);
        if end < value {
            continue;
        }
        let next_price = own.get(at + 1).copied().filter(|_| end < limit);
        let theirs = other
            .offer(end.plus(Micros(1)))
            .ok()
            .map(|offer| offer.price);
        match (theirs, next_price) {
            (Some(theirs), Some(ours)) if theirs < ours => return Some(end),
            (Some(_), None) if reach > end => return Some(end),
            _ => {}
        }
    }
    None
}

impl Line<'_> {
    fn bond_allocated(&self) -> Option<Micros> {
        self.bond_amount().filter(|bond| *bond > Micros::ZERO)
    }
}
