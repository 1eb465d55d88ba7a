//! One round of a sumcheck to the next in a single pass: binding a variable, and summing over pairs of the next one.
//!
//! A loop that does both at once runs out of registers. Here a stretch is bound and then summed while it is in the
//! cache, so that each round reads memory once, and asks the other threads once.

use super::{P, vector::fold_slice};
use crate::{field::E, share};
use p3_field::PrimeCharacteristicRing;

/// Elements of a stretch: four quarters of each vector fit the second-level cache.
const STRETCH: usize = 1 << 5;

/// Stretches that are worth asking another thread.
const TASK: usize = 2;

/// The same stretch of all four quarters of a vector.
struct Quarters<'a> {
    /// Index bits 00 and 01: they take the result.
    low: [&'a mut [P]; 2],
    /// Index bits 10 and 11.
    high: [&'a [P]; 2],
}

/// A stretch of all vectors, and both halves of a stretch of what they are summed with.
type Task<'a, const K: usize> = ([Quarters<'a>; K], Option<(&'a mut [P], &'a [P])>);

fn quarters(v: &mut [P]) -> impl Iterator<Item = Quarters<'_>> {
    let (low, high) = v.split_at_mut(v.len() / 2);
    let (a, b) = low.split_at_mut(low.len() / 2);
    let (c, d) = high.split_at(b.len());
    let low = a.chunks_mut(STRETCH).zip(b.chunks_mut(STRETCH));
    let high = c.chunks(STRETCH).zip(d.chunks(STRETCH));
    low.zip(high).map(|((a, b), (c, d))| Quarters {
        low: [a, b],
        high: [c, d],
    })
}

/// Binds the first variable of each vector to r and gives the sum over the pairs of the next variable,
/// `term(rest, values at zero, values at one)`. `rest`, half as long as the vectors and over the variables after the bound
/// one, loses its first variable by summing; it is one where there is none. `None`, and nothing done, for vectors too
/// short to have pairs of whole registers afterwards.
pub(super) fn fold_and_sum<const K: usize>(
    mut vectors: [&mut Vec<P>; K],
    mut rest: Option<&mut Vec<P>>,
    r: E,
    term: impl Fn(P, [P; K], [P; K]) -> (P, P) + Sync,
) -> Option<(P, P)> {
    let len = vectors[0].len();
    if len < 4 {
        return None;
    }
    let zero = || (P::ZERO, P::ZERO);
    let add = |(a, b): (P, P), (c, d)| (a + c, b + d);
    let run = |(parts, rest): &mut Task<'_, K>| {
        for part in &mut *parts {
            for (low, high) in part.low.iter_mut().zip(part.high) {
                fold_slice(low, high, r);
            }
        }
        let at = |rest: P, i: usize| {
            let value = |side: usize| core::array::from_fn(|k| parts[k].low[side][i]);
            term(rest, value(0), value(1))
        };
        let Some((low, high)) = rest else {
            let all = 0..parts[0].low[0].len();
            return all.map(|i| at(P::ONE, i)).fold(zero(), add);
        };
        let rest = low.iter_mut().zip(*high).map(|(low, &high)| {
            *low += high;
            *low
        });
        let sums = rest.enumerate().map(|(i, rest)| at(rest, i));
        sums.fold(zero(), add)
    };
    let mut parts = vectors.each_mut().map(|v| quarters(v));
    let mut rests = rest.as_mut().map(|v| {
        let (low, high) = v.split_at_mut(len / 4);
        low.chunks_mut(STRETCH).zip(high.chunks(STRETCH))
    });
    let mut tasks: Vec<Task<'_, K>> = (0..(len / 4).div_ceil(STRETCH))
        .map(|_| {
            let next = |p: &mut _| Iterator::next(p).expect("vectors have one length");
            let parts = parts.each_mut().map(next);
            (parts, rests.as_mut().and_then(Iterator::next))
        })
        .collect();
    let some = |tasks: &mut [Task<'_, K>]| tasks.iter_mut().map(run).fold(zero(), add);
    let sums = share::sum(&mut tasks[..], TASK, &some, &add);
    drop(tasks);
    drop(parts);
    for v in vectors {
        v.truncate(len / 2);
    }
    if let Some(rest) = rest {
        rest.truncate(len / 4);
    }
    Some(sums)
}
