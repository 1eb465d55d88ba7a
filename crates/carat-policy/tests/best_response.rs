//! An adversary that searches: it must find no profit against the rules, and must find it against broken variants.
//!
//! The oracle is arithmetic of its own, in floats, over all subsets of simultaneous cheats and by dynamic programming over
//! adaptive ones; only the hazards come from the rules.

use carat_policy::{Fraction, Micros, rules};
use proptest::prelude::*;

const UNIT: f64 = 1e6;

fn fraction(text: &str) -> Fraction {
    text.parse().unwrap()
}

fn micros(value: f64) -> Micros {
    Micros((value * UNIT) as u64)
}

/// The best set of simultaneous cheats, before settlement: `(gains that stay, stake)` for each subset.
fn best_subset(
    gains: &[f64],
    stake: f64,
    hazard: impl Fn(f64) -> f64,
    joint_forfeiture: bool,
) -> f64 {
    let hazards: Vec<f64> = gains.iter().map(|gain| hazard(*gain)).collect();
    let mut best = 0.0_f64;
    for set in 1..1_u32 << gains.len() {
        let chosen = || (0..gains.len()).filter(|i| set >> i & 1 == 1);
        let survive: f64 = chosen().map(|i| 1.0 - hazards[i]).product();
        let kept: f64 = if joint_forfeiture {
            chosen().map(|i| gains[i]).sum::<f64>() * survive
        } else {
            // A conviction forfeits the bond, and each cheat that was not drawn itself keeps its gain.
            chosen().map(|i| gains[i] * (1.0 - hazards[i])).sum()
        };
        best = best.max(kept - stake * (1.0 - survive));
    }
    best
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn t2_no_set_of_cheats_pays(gains in prop::collection::vec(0.001..5000.0_f64, 1..10), stake in 1.0..2000.0_f64) {
        let hazard = |gain| rules::t2_pooled(micros(gain), micros(stake)).to_f64();
        // Gains are rounded to millionths in the rule.
        prop_assert!(best_subset(&gains, stake, hazard, true) <= 1e-5);
    }

    #[test]
    fn t1_one_cheat_does_not_pay_and_less_hazard_would(gain in 0.01..5000.0_f64, stake in 0.01..5000.0_f64) {
        let h = rules::t1_clawback(micros(gain), micros(stake)).to_f64();
        prop_assert!((1.0 - h) * gain - h * stake <= 1e-5);
        prop_assert!((1.0 - 0.99 * h) * gain - 0.99 * h * stake > 0.0);
        if let Some(h) = rules::t1_no_clawback(micros(gain), micros(stake)) {
            prop_assert!(gain - h.to_f64() * stake <= 1e-5);
        } else {
            prop_assert!(gain > stake - 1e-5);
        }
    }
}

#[test]
fn t2_without_joint_forfeiture_fifty_small_cheats_pay() {
    let (stake, gain, n) = (1000.0, 20.0, 50);
    let h = rules::t2_pooled(micros(gain), micros(stake)).to_f64();
    let survive = (1.0 - h).powi(n);
    let kept = f64::from(n) * gain;
    let joint = kept * survive - stake * (1.0 - survive);
    let separate = kept * (1.0 - h) - stake * (1.0 - survive);
    assert!(joint <= 0.0, "{joint}");
    assert!(
        (separate / stake - 0.35).abs() < 0.01,
        "the known figure is 35% of the stake: {separate}"
    );
    // The search finds it by itself in a small game.
    let hazard = |gain| rules::t2_pooled(micros(gain), micros(stake)).to_f64();
    assert!(best_subset(&[200.0; 10], stake, hazard, false) > 0.3 * stake);
    assert!(best_subset(&[200.0; 10], stake, hazard, true) <= 1e-6);
}

/// Best expected profit of an adaptive cheat without clawback, by dynamic programming over (steps left, open exposure).
///
/// At each step it cheats for one of `gains`, if the cap allows, or lets the window resolve. A gain is kept at once; when
/// the window resolves, what is open is caught with its joint hazard and the stake is lost. `log_survival(gain)` is the
/// logarithm of the probability that one cheat survives. Exposure is counted in units of `stake / grid`. Open cheats of
/// different sizes are not told apart: each unit survives as well as the size that survives best, which only helps the cheat.
fn best_adaptive(
    stake: f64,
    cap: f64,
    gains: &[u32],
    grid: u32,
    steps: u32,
    log_survival: impl Fn(f64) -> f64,
) -> f64 {
    let unit = stake / f64::from(grid);
    let most = ((cap / unit) + 1e-9) as usize;
    let best_unit = gains
        .iter()
        .map(|gain| log_survival(f64::from(*gain) * unit) / f64::from(*gain))
        .fold(f64::NEG_INFINITY, f64::max);
    let resolve = |open: usize, after: f64| {
        let survive = (best_unit * open as f64).exp();
        survive * after - stake * (1.0 - survive)
    };
    let mut value: Vec<f64> = (0..=most).map(|open| resolve(open, 0.0)).collect();
    for _ in 0..steps {
        let next = (0..=most)
            .map(|open| {
                let mut best = resolve(open, value[0].max(0.0));
                for gain in gains {
                    let then = open + *gain as usize;
                    if then <= most {
                        best = best.max(f64::from(*gain) * unit + value[then]);
                    }
                }
                best
            })
            .collect();
        value = next;
    }
    value[0]
}

#[test]
fn t3_no_adaptive_cheat_pays() {
    let stake = 1000.0;
    for kappa in ["0.25", "0.5", "0.8", "0.9", "0.95"] {
        let kappa = fraction(kappa);
        let cap = rules::exposure_cap(micros(stake), kappa).0 as f64 / UNIT;
        let log_survival = |gain: f64| {
            let h = rules::t3_no_clawback(micros(gain), micros(stake), kappa)
                .map_or(1.0, |h| h.to_f64());
            (-h).ln_1p()
        };
        let profit = best_adaptive(stake, cap, &[1, 2, 5, 20, 50], 100, 120, log_survival);
        assert!(profit <= 1e-4, "kappa {kappa}: {profit}");
    }
}

#[test]
fn the_naive_rule_and_uniform_audits_are_beaten() {
    let stake = 1000.0;
    // h = G/S with 80% of the stake open: many small cheats earn a quarter of the stake.
    let naive = |gain: f64| (-gain / stake).ln_1p();
    let window = best_adaptive(stake, 800.0, &[1], 100, 80, naive);
    assert!((window / stake - 0.25).abs() < 0.01, "{window}");
    // And window after window, as long as it is not caught, nearly twice that.
    let profit = best_adaptive(stake, 800.0, &[1, 2, 5, 20], 100, 120, naive);
    assert!(profit > 0.4 * stake, "{profit}");
    // One in a hundred, whatever the value: a single large request pays for everything.
    let uniform = |_: f64| (-0.01_f64).ln_1p();
    let profit = best_adaptive(stake, 3000.0, &[10, 50], 100, 60, uniform);
    assert!(profit > 2.0 * stake, "{profit}");
    // The search itself is no better than doing nothing when every cheat is caught.
    let certain = |_: f64| f64::MIN;
    assert_eq!(best_adaptive(stake, 800.0, &[1, 50], 100, 20, certain), 0.0);
}

/// Expected undetected loss before the first detection, against the worst adversary with `steps` requests.
fn worst_loss(values: &[f64], steps: u32, hazard: impl Fn(f64) -> f64) -> f64 {
    let mut worst = 0.0_f64;
    for _ in 0..steps {
        worst = values
            .iter()
            .map(|value| (1.0 - hazard(*value)) * (value + worst))
            .fold(worst, f64::max);
    }
    worst
}

#[test]
fn t4_caps_the_loss_whatever_the_adversary_does() {
    let cap = 500.0;
    let values = [0.01, 1.0, 10.0, 100.0, 499.0, 2000.0, 50_000.0];
    let rule = |value: f64| rules::t4_loss_cap(micros(value), micros(cap)).to_f64();
    let loss = worst_loss(&values, 5000, rule);
    assert!(loss <= cap + 1e-4, "{loss}");
    assert!(loss > 0.98 * cap, "the bound is tight: {loss}");
    // Half the hazard lets twice the cap pass; a uniform percent lets the largest values pass.
    assert!(worst_loss(&values, 5000, |value| rule(value) / 2.0) > 1.5 * cap);
    assert!(worst_loss(&values, 500, |_| 0.01) > 100.0 * cap);
}
