//! The largest money that wrong answers can have carried.
//!
//! Which answers were wrong is unknown, so the bound is over all sets that the process allows: maximise `sum v_i x_i` over
//! `x_i` in `[0, 1]` subject to `ln sum_theta exp(a_theta + sum_i c_theta,i x_i) <= ln(1/alpha)`. For any distribution `q` over
//! the grid, Gibbs' inequality gives `sum_theta q_theta (a_theta + sum c_theta,i x_i) + H(q) <= ln(1/alpha)`: one linear
//! constraint, whose knapsack is solved by taking answers in the order of value per step. Every `q` gives a valid bound; the
//! best `q` is the mixture's own at the solution, which a few rounds approach. The smallest bound found counts.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{Alpha, GRID, Logs, after, mixture, start, steps};
use crate::probability::Probability;

const ROUNDS: usize = 8;

/// In the unit of `valued`.
pub(super) fn at_most(valued: &[(Probability, u64)], detections: u64, alpha: Alpha) -> u128 {
    let total: u128 = valued.iter().map(|(_, value)| u128::from(*value)).sum();
    let logs = start(detections);
    let limit = alpha.limit();
    let steps: Vec<Logs> = valued.iter().map(|(hazard, _)| steps(*hazard)).collect();
    // The mixture before any wrong answer is the first guess.
    let mut weights = softmax(&logs);
    let mut best = total;
    for round in 0..ROUNDS {
        let entropy: f64 = weights
            .iter()
            .filter(|weight| **weight > 0.0)
            .map(|weight| -weight * libm::log(*weight))
            .sum();
        let room = limit - entropy - dot(&weights, &logs);
        let (bound, at) = knapsack(valued, &steps, &weights, room, &logs);
        // Above 2^53 a float is no longer exact; one part in 2^40 covers the rounding of sums of a million terms.
        let bound = libm::ceil(bound * (1.0 + 1e-12)) as u128;
        best = best.min(bound);
        let next = softmax(&at);
        let moved: f64 = weights.iter().zip(&next).map(|(a, b)| (a - b).abs()).sum();
        for (weight, next) in weights.iter_mut().zip(&next) {
            // Whole steps come near, half steps then stay there.
            *weight = if round < ROUNDS / 2 {
                *next
            } else {
                (*weight + next) / 2.0
            };
        }
        if moved < 1e-6 {
            break;
        }
    }
    best
}

/// The most value within `room`, and the logarithms after taking it.
fn knapsack(
    valued: &[(Probability, u64)],
    steps: &[Logs],
    weights: &Logs,
    room: f64,
    logs: &Logs,
) -> (f64, Logs) {
    let mut order: Vec<(f64, usize)> = steps
        .iter()
        .enumerate()
        .map(|(i, step)| (valued[i].1 as f64 / dot(weights, step), i))
        .collect();
    // No NaN: values are positive, and a step of 0 gives infinity.
    order.sort_by(|a, b| {
        b.0.partial_cmp(&a.0)
            .unwrap_or(Ordering::Equal)
            .then(a.1.cmp(&b.1))
    });
    let (mut room, mut taken, mut at) = (room.max(0.0), 0.0, *logs);
    for (_, i) in order {
        let step = dot(weights, &steps[i]);
        let share = if step <= room { 1.0 } else { room / step };
        taken += valued[i].1 as f64 * share;
        at = after(&at, &steps[i], share);
        room -= step * share;
        if share < 1.0 {
            break;
        }
    }
    (taken, at)
}

fn softmax(logs: &Logs) -> Logs {
    let total = mixture(logs);
    logs.map(|log| libm::exp(log - total))
}

fn dot(weights: &Logs, logs: &Logs) -> f64 {
    let mut sum = 0.0;
    for i in 0..GRID.len() {
        sum += weights[i] * logs[i];
    }
    sum
}
