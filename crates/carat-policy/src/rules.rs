//! The rules T1 to T4, T7 and T8: each a small function with its assumptions and source. T5 is in [`crate::certificate`].
//!
//! All quantities: `gain` G, what a cheat earns by one wrong answer, `max(gamma * V, compute saved)`; `stake` S_eff, what
//! conviction takes from it: bond allocated to this exposure, earnings withheld, and the marginal cost of breaking an
//! enclave, `S + R + B`. Required hazards are rounded up. The proofs are short and stand beside each rule; each rule is
//! also tested by exhaustive search for a profitable cheat (`tests/best_response.rs`).
//!
//! Sources of the pieces: inspection games with an inspector who commits first (Avenhaus, von Stengel, Zamir,
//! "Inspection games", Handbook of Game Theory III, 2002); maximal fines (Becker, "Crime and Punishment", JPE 1968);
//! "Proof of Sampling" (arXiv 2405.00295), which is T1 without clawback with G = compute saved; betting martingales
//! (Ville 1939). The combination and the proofs are Carat's own.

use crate::fixed;
use crate::money::{Factor, Micros};
use crate::probability::{Fraction, Probability};

/// G, what one wrong answer earns a cheat: the part of the loss that can be extracted, or the compute that was saved.
pub fn gain(value: Micros, gamma: Factor, compute_saved: Micros) -> Micros {
    gamma.times_up(value).max(compute_saved)
}

/// S_eff = S + R + B. `break_cost` is counted once for each machine and window, by the caller.
pub fn stake(bond: Micros, withheld: Micros, break_cost: Micros) -> Micros {
    bond.plus(withheld).plus(break_cost)
}

/// **T1, clawback**: one request; the gain is taken back when the cheat is caught. Cheating does not pay iff
/// `h >= G / (G + S)`.
///
/// Proof: the cheat earns `(1-h) G - h S`, which is at most 0 iff `h (G + S) >= G`. Assumes a rational operator, an
/// enforceable bond, and settlement after the audit.
pub fn t1_clawback(gain: Micros, stake: Micros) -> Probability {
    if gain == Micros::ZERO {
        return Probability::ZERO;
    }
    Probability::ratio_up(gain.0, u128::from(gain.0) + u128::from(stake.0))
}

/// **T1, no clawback**: one request; the gain is kept even when the cheat is caught. Cheating does not pay iff
/// `h >= G / S`; `None` where G is above S, because then no hazard is enough.
///
/// Proof: the cheat earns `G - h S`. One request alone: for several at a time see [`t3_no_clawback`].
pub fn t1_no_clawback(gain: Micros, stake: Micros) -> Option<Probability> {
    match gain {
        Micros::ZERO => Some(Probability::ZERO),
        gain if gain <= stake => Some(Probability::ratio_up(gain.0, u128::from(stake.0))),
        _ => None,
    }
}

/// **T2, pooling with clawback**: `h_i = G_i / (G_i + S)` makes every set of simultaneous cheats unprofitable, if one
/// conviction forfeits the bond *and every gain that is still pending*.
///
/// Proof: all of a set C survive with probability `prod S/(S+G_i) = 1/prod(1+G_i/S) <= S/(S+G_C)`; then the cheat earns
/// `(G_C + S) * survival - S <= 0`. Without joint forfeiture it fails: fifty cheats of 2% of S earn 35% of S.
pub fn t2_pooled(gain: Micros, stake: Micros) -> Probability {
    t1_clawback(gain, stake)
}

/// eta = -ln(1-kappa)/kappa, rounded up, in units of 2^-64: the price of pooling without clawback. `None` unless
/// `0 < kappa < 1`.
pub fn eta(kappa: Fraction) -> Option<u128> {
    if kappa == Fraction::ZERO || kappa == Fraction::ONE {
        return None;
    }
    let log = fixed::neg_ln_complement_up(kappa.up())?;
    // log < 21 * 2^64, so the shift stays below 2^128 at 58 bits; the other six are lost upwards.
    Some((log << 58).div_ceil(kappa.down().bits()) << 6)
}

/// The most that may be open at a time without clawback: `kappa * S`, rounded down (T3).
pub fn exposure_cap(stake: Micros, kappa: Fraction) -> Micros {
    Micros::clamp(u128::from(stake.0) * u128::from(kappa.billionths()) / 1_000_000_000)
}

/// **T3, pooling without clawback**: with the gains of all requests whose audits are not resolved at most `kappa * S`,
/// `h_i = 1 - exp(-eta G_i / S)` lets no adaptive policy profit. `None` where G alone is above the cap.
///
/// Proof: open exposure E' survives with probability `exp(-eta E'/S)`; the bond's expected loss less the gain is
/// `f(E') = S (1 - exp(-eta E'/S)) - E'`, which is concave with `f(0) = f(kappa S) = 0`, so it is nowhere negative
/// between. Windows chain by induction. Assumes a rational operator, an enforceable bond, a truthful ledger of exposure.
/// The naive `h = G/S` loses a quarter of S at kappa = 0.8.
pub fn t3_no_clawback(gain: Micros, stake: Micros, kappa: Fraction) -> Option<Probability> {
    if gain == Micros::ZERO {
        return Some(Probability::ZERO);
    }
    if gain > exposure_cap(stake, kappa) {
        return None;
    }
    // gain <= kappa * stake < stake, so the ratio is below 2^64 units; eta < 22 * 2^64 for nine places of kappa.
    let ratio = (u128::from(gain.0) << 64).div_ceil(u128::from(stake.0));
    Some(fixed::one_minus_exp_neg_up(ratio_times(ratio, eta(kappa)?)))
}

/// `a * b` for numbers in units of 2^-64, rounded up, with `a <= 2^64` and `b < 2^69`.
fn ratio_times(a: u128, b: u128) -> u128 {
    let (high, low) = (b >> 64, b & u128::from(u64::MAX));
    // a * 2^64 * high / 2^64 + a * low / 2^64; a * low <= 2^128 - 2^64.
    a * high + (a * low).div_ceil(1 << 64)
}

/// **T4, a cap on losses without rationality and without a bond**: with `h = V / (V + K)` the expected total of wrong
/// value that passes before the first detection is at most K, whatever the adversary does.
///
/// Proof: "loss so far + K while not yet caught" is a martingale: with probability 1-h the loss grows by V, with h the
/// term K goes, and `(1-h) V = h K`. Assumes that detection ends it (removal), and a coin that the adversary cannot see.
pub fn t4_loss_cap(value: Micros, cap: Micros) -> Probability {
    t1_clawback(value, cap)
}

/// **T7, residual risk of replication before use**: a wrong answer is released with probability at most `f^k + rho`,
/// rounded up, if k re-executors are drawn at random, each is corrupt with probability at most `f`, and a fault that all
/// share (kernel, compiler, model file) has probability at most `rho`.
///
/// One dissent stops the release, so one honest of k is enough.
pub fn t7_residual(corrupt: Fraction, shared_fault: Fraction, replicas: u32) -> Probability {
    let corrupt = corrupt.up();
    let mut all = Probability::ONE;
    for _ in 0..replicas.min(64) {
        all = all.mul_up(corrupt);
    }
    Probability::from_bits(all.bits() + shared_fault.up().bits())
}

/// Most replicas that the rules consider: more never helps, because a shared fault is not drawn again.
pub const MAX_REPLICAS: u32 = 16;

/// T7 solved for k: the fewest replicas (1 to [`MAX_REPLICAS`]) whose expected loss `V (f^k + rho)` is at most `epsilon`.
pub fn t7_replicas(
    value: Micros,
    epsilon: Micros,
    corrupt: Fraction,
    shared_fault: Fraction,
) -> Option<u32> {
    (1..=MAX_REPLICAS)
        .find(|k| crate::good_for::replicas(epsilon, corrupt, shared_fault, *k) >= value)
}

/// **T8, false accusations bound the punishment**: an honest node stays only while the expected loss to false
/// convictions is at most the share `nu` of its margin, that is while `phi <= nu * margin * d / (eta * V)`. Rounded down.
///
/// Proof: it is audited with p = eta V / (d S) and convicted falsely with phi, so it loses `p phi S = eta V phi / d` for
/// each request. At real values the bound is far below what any empirical threshold can show (three in n for no fault in
/// n trials): only exact replay, a sound bound, a proof, or failure to answer may convict.
pub fn t8_false_accusations(
    margin: Micros,
    nu: Fraction,
    power: Fraction,
    kappa: Fraction,
    value: Micros,
) -> Option<Probability> {
    let eta = eta(kappa)?;
    if value == Micros::ZERO {
        return Some(Probability::ONE);
    }
    let share = nu.down().mul_down(power.down());
    // share * margin / V, then / eta.
    let ratio = share.bits().saturating_mul(u128::from(margin.0)) / u128::from(value.0);
    if ratio >= 1 << 71 {
        return Some(Probability::ONE);
    }
    Some(Probability::from_bits(
        (ratio << 56) / (eta >> 8).saturating_add(1),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fraction(text: &str) -> Fraction {
        text.parse().unwrap()
    }

    fn usd(units: u64) -> Micros {
        Micros(units * 1_000_000)
    }

    #[test]
    fn eta_matches_published_values() {
        // -ln(1-k)/k to 15 digits (mpmath).
        for (kappa, expected) in [
            ("0.25", 1.150728289807124),
            ("0.5", 1.386294361119891),
            ("0.8", 2.011797390542625),
            ("0.9", 2.558427881104495),
            ("0.95", 3.153402393214709),
        ] {
            let eta = eta(fraction(kappa)).unwrap() as f64 / 18_446_744_073_709_551_616.0;
            assert!(
                eta >= expected - 1e-15 && eta - expected < 1e-13,
                "{kappa}: {eta}"
            );
        }
        assert_eq!(eta(Fraction::ZERO), None);
        assert_eq!(eta(Fraction::ONE), None);
        assert!(eta(fraction("0.000000001")).is_some() && eta(fraction("0.999999999")).is_some());
    }

    #[test]
    fn examples() {
        // 400 USD at stake against a bond of 1000 USD, before settlement: 28.6%.
        let h = t2_pooled(usd(400), usd(1000)).to_f64();
        assert!((h - 400.0 / 1400.0).abs() < 1e-15);
        // 5 USD: half a percent.
        assert!((t1_clawback(usd(5), usd(1000)).to_f64() - 5.0 / 1005.0).abs() < 1e-15);
        assert_eq!(t1_no_clawback(usd(1001), usd(1000)), None);
        assert_eq!(t1_no_clawback(usd(1000), usd(1000)), Some(Probability::ONE));
        assert_eq!(t1_no_clawback(usd(0), usd(0)), Some(Probability::ZERO));
        assert_eq!(t1_clawback(usd(1), usd(0)), Probability::ONE);
        assert_eq!(t3_no_clawback(usd(801), usd(1000), fraction("0.8")), None);
        let whole = t3_no_clawback(usd(800), usd(1000), fraction("0.8"))
            .unwrap()
            .to_f64();
        assert!(
            (whole - 0.8).abs() < 1e-12,
            "the whole cap at once: h = kappa, got {whole}"
        );
    }

    #[test]
    fn replicas_grow_with_the_logarithm_of_value() {
        // f = 0.2, epsilon = 0.10 USD: k = ceil(ln(V/epsilon)/ln 5).
        let k = |units| t7_replicas(usd(units), Micros(100_000), fraction("0.2"), Fraction::ZERO);
        assert_eq!((k(10), k(1000), k(100_000)), (Some(3), Some(6), Some(9)));
        // A shared fault is a floor that no number of replicas goes under.
        assert_eq!(
            t7_replicas(
                usd(1000),
                Micros(100_000),
                fraction("0.2"),
                fraction("0.001")
            ),
            None
        );
    }

    #[test]
    fn false_accusations() {
        // margin 0.0005, nu = 1%, d = 1, kappa = 0.5: V = 1 -> 3.6e-6, 100 -> 3.6e-8, 10,000 -> 3.6e-10.
        for (units, expected) in [(1, 3.6067e-6), (100, 3.6067e-8), (10_000, 3.6067e-10)] {
            let phi = t8_false_accusations(
                Micros(500),
                fraction("0.01"),
                Fraction::ONE,
                fraction("0.5"),
                usd(units),
            );
            let phi = phi.unwrap().to_f64();
            assert!((phi / expected - 1.0).abs() < 1e-4, "{units}: {phi}");
        }
    }

    prop_compose! {
        fn open_fraction()(n in 1..1_000_000_000_u32) -> Fraction { Fraction::from_billionths(n).unwrap() }
    }

    proptest! {
        #[test]
        fn hazards_grow_with_gain_and_fall_with_stake(g in any::<u64>(), s in any::<u64>(), more in any::<u64>(), kappa in open_fraction()) {
            let (g, s) = (Micros(g), Micros(s));
            let (g2, s2) = (g.plus(Micros(more)), s.plus(Micros(more)));
            prop_assert!(t1_clawback(g2, s) >= t1_clawback(g, s));
            prop_assert!(t1_clawback(g, s2) <= t1_clawback(g, s));
            let least = |g, s| t3_no_clawback(g, s, kappa).unwrap_or(Probability::ONE);
            prop_assert!(least(g2, s) >= least(g, s));
            prop_assert!(least(g, s2) <= least(g, s));
            let single = |g, s| t1_no_clawback(g, s).unwrap_or(Probability::ONE);
            prop_assert!(single(g2, s) >= single(g, s));
            prop_assert!(single(g, s2) <= single(g, s));
        }

        #[test]
        fn pooling_needs_more_than_one_request(g in any::<u64>(), s in any::<u64>(), kappa in open_fraction()) {
            if let Some(h) = t3_no_clawback(Micros(g), Micros(s), kappa) {
                prop_assert!(h >= t1_no_clawback(Micros(g), Micros(s)).unwrap());
            }
        }

        #[test]
        fn t1_deters_and_no_less_does(g in 1..u64::MAX, s in any::<u64>()) {
            // h (G + S) >= G in exact arithmetic, and one unit of 2^-64 less is not enough. Kept below 2^62 so that the
            // products fit.
            let (g, s) = (g >> 2, s >> 2);
            prop_assume!(g > 0 && s > 0);
            let h = t1_clawback(Micros(g), Micros(s)).bits();
            let total = u128::from(g) + u128::from(s);
            prop_assert!(h * total >= u128::from(g) << 64);
            prop_assert!((h - 1) * total < u128::from(g) << 64);
        }
    }
}
