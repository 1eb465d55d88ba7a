//! The search for the best cheat: against rules that hold it must find none that pays.

use std::vec;
use std::vec::Vec;

use super::auditing::{Setting, Timing};
use super::play::Game;

/// What a set of wrong answers in one window earns, when `future` is what an uncaught adversary still expects afterwards.
pub fn worth(
    setting: &Setting,
    bond: f64,
    chosen: impl Iterator<Item = (f64, f64)>,
    future: f64,
) -> f64 {
    let (mut survival, mut gains, mut each) = (1.0, 0.0, 0.0);
    for (gain, hazard) in chosen {
        survival *= 1.0 - hazard;
        gains += gain;
        each += gain * (1.0 - hazard);
    }
    total(setting, bond, survival, gains, each, future)
}

fn total(setting: &Setting, bond: f64, survival: f64, gains: f64, each: f64, future: f64) -> f64 {
    let loses = (1.0 - survival) * bond;
    match (setting.timing, setting.joint_forfeiture) {
        (Timing::BeforeSettle, true) => survival * (gains + future) - loses,
        (Timing::BeforeSettle, false) => each + survival * future - loses,
        (Timing::AfterUse, _) => gains + survival * future - loses,
    }
}

/// The best response over all windows, backwards: in each, sets are tried in three orders of "gain for risk", every prefix
/// of each order. Near the best, not proved to be it; [`exhaustive`] is, for small windows.
pub fn best_response(game: &Game<'_>) -> Vec<bool> {
    let size = game.setting.window;
    let mut wrong = vec![false; game.values.len()];
    let mut future = 0.0;
    for (index, values) in game.values.chunks(size).enumerate().rev() {
        let first = index * size;
        let hazards = &game.hazards[first..first + values.len()];
        let (set, worth) = best_set(game.setting, game.facts.bond, values, hazards, future);
        for i in set {
            wrong[first + i] = true;
        }
        future = worth;
    }
    wrong
}

/// The best set found in one window, and what it is worth; the empty one if none beats `future`.
pub fn best_set(
    setting: &Setting,
    bond: f64,
    values: &[f64],
    hazards: &[f64],
    future: f64,
) -> (Vec<usize>, f64) {
    let candidates: Vec<usize> = (0..values.len())
        .filter(|i| hazards[*i] < 1.0 && values[*i] > 0.0)
        .collect();
    let mut best = (Vec::new(), future);
    let orders: [fn(f64, f64) -> f64; 3] = [
        |gain, hazard| gain * (1.0 - hazard) / hazard,
        |gain, hazard| gain / -libm::log1p(-hazard),
        |gain, hazard| gain * (1.0 - hazard) / -libm::log1p(-hazard),
    ];
    for order in orders {
        let mut keyed: Vec<(f64, usize)> = candidates
            .iter()
            .map(|i| (order(values[*i], hazards[*i]), *i))
            .collect();
        keyed.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let (mut survival, mut gains, mut each) = (1.0, 0.0, 0.0);
        let (mut most, mut length) = (best.1, 0);
        for (n, (_, i)) in keyed.iter().enumerate() {
            survival *= 1.0 - hazards[*i];
            gains += values[*i];
            each += values[*i] * (1.0 - hazards[*i]);
            let worth = total(setting, bond, survival, gains, each, future);
            // A difference within rounding is no profit.
            if worth > most + 1e-12 * bond {
                (most, length) = (worth, n + 1);
            }
        }
        if length > 0 {
            best = (keyed[..length].iter().map(|(_, i)| *i).collect(), most);
        }
    }
    best
}

/// The best set of at most 20 requests, by trying all.
pub fn exhaustive(
    setting: &Setting,
    bond: f64,
    values: &[f64],
    hazards: &[f64],
    future: f64,
) -> f64 {
    let n = values.len().min(20);
    (0_u32..1 << n)
        .map(|set| {
            let chosen = (0..n).filter(|i| set >> i & 1 == 1);
            worth(
                setting,
                bond,
                chosen.map(|i| (values[i], hazards[i])),
                future,
            )
        })
        .fold(future, f64::max)
}

/// The exact best response over windows of at most 20 requests: dynamic programming backwards, every set of each window.
pub fn dynamic(game: &Game<'_>) -> f64 {
    let size = game.setting.window;
    let windows = game
        .values
        .chunks(size)
        .zip(game.hazards.chunks(size))
        .rev();
    windows.fold(0.0, |future, (values, hazards)| {
        exhaustive(game.setting, game.facts.bond, values, hazards, future)
    })
}

/// Dynamic programming for T4: the largest expected loss before the first detection, whatever is chosen.
pub fn largest_loss(values: &[f64], hazards: &[f64]) -> f64 {
    let pairs = values.iter().zip(hazards).rev();
    pairs.fold(0.0, |future, (value, hazard)| {
        f64::max(future, (1.0 - hazard) * (value + future))
    })
}
