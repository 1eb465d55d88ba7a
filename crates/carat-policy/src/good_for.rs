//! The rules inverted: the largest amount that evidence supports, under one set of assumptions. Everything rounds down.
//!
//! From the receipt come only the threshold and the evidence; stake, kappa, gamma, detection, corrupt fraction and epsilon
//! are what the relying party accepts, from its Trust file. An amount is the total that may ride on a Statement over
//! everybody who relies on it; it is deterrence, not insurance.

use crate::fixed;
use crate::money::{Factor, Micros};
use crate::probability::{Fraction, Probability};
use crate::rules;

/// Audits where the gain can be clawed back before settlement (T1, T2): `h S / ((1 - h) gamma)`.
///
/// Only under the atoms `clawback` and `joint-forfeiture`, and only for a relying party that itself acts before
/// settlement.
pub fn audit_clawback(hazard: Probability, stake: Micros, gamma: Factor) -> Micros {
    match hazard.complement().bits() {
        0 if stake == Micros::ZERO => Micros::ZERO,
        0 => Micros::MAX,
        rest => gamma.divides_down(hazard.bits() * u128::from(stake.0) / rest),
    }
}

/// Audits where the gain is kept (T3): `min(kappa S, -S ln(1 - h) / eta) / gamma`. Nothing unless `0 < kappa < 1`.
///
/// `open` is the exposure to the same stake that is open already: it uses up the cap `kappa S`.
pub fn audit_no_clawback(
    hazard: Probability,
    stake: Micros,
    kappa: Fraction,
    gamma: Factor,
    open: Micros,
) -> Micros {
    let Some(eta) = rules::eta(kappa) else {
        return Micros::ZERO;
    };
    let cap = rules::exposure_cap(stake, kappa).minus(open);
    let supported = fixed::neg_ln_complement_down(hazard).map_or(cap, |log| {
        // log < 45 * 2^64, eta >= 2^64: 56 fractional bits leave room for 64 bits of stake.
        let ratio = (log << 56) / eta;
        Micros::clamp((ratio * u128::from(stake.0)) >> 56)
    });
    gamma.divides_down(u128::from(supported.min(cap).0))
}

/// Replay before use by k re-executors drawn at random (T7): `epsilon / (f^k + rho)`. Nothing for no replicas.
pub fn replicas(
    epsilon: Micros,
    corrupt: Fraction,
    shared_fault: Fraction,
    replicas: u32,
) -> Micros {
    if replicas == 0 {
        return Micros::ZERO;
    }
    over(epsilon, rules::t7_residual(corrupt, shared_fault, replicas))
}

/// Replays by k of n auditors whom the relying party named and of whom the *issuer* may have chosen the k:
/// `epsilon / (C(n,k) f^k + rho)`. The union bound over the choices takes away what choosing wins.
pub fn chosen_replicas(
    epsilon: Micros,
    corrupt: Fraction,
    shared_fault: Fraction,
    chosen: u32,
    named: u32,
) -> Micros {
    if chosen == 0 || chosen > named {
        return Micros::ZERO;
    }
    let all = rules::t7_residual(corrupt, Fraction::ZERO, chosen).bits();
    // C(n, k), stopping where the bound says nothing anyway.
    let mut ways = 1_u128;
    for i in 0..u128::from(chosen.min(named - chosen)) {
        ways = ways * (u128::from(named) - i) / (i + 1);
        if ways >= 1 << 62 {
            return Micros::ZERO;
        }
    }
    let choices = all
        .checked_mul(ways)
        .map_or(1 << 64, |bits| bits.min(1 << 64));
    over(
        epsilon,
        Probability::from_bits(choices + shared_fault.up().bits()),
    )
}

/// Loss tolerated without rationality or bond (T4): the value V at which `h = V / (V + K)`.
pub fn loss_cap(hazard: Probability, cap: Micros) -> Micros {
    audit_clawback(hazard, cap, Factor::ONE)
}

/// What is left of an amount when so much of it rides on the Statement already.
pub fn remaining(amount: Micros, relied: Micros) -> Micros {
    amount.minus(relied)
}

/// A composite: the least stake among its edges, if for every upstream receipt the sum of the open edges fits its amount;
/// otherwise nothing. No edges: no bound. Each pair is `(stake of this composite's edge, room)`, where `room` is the
/// upstream amount less all *other* open edges on it.
pub fn composite(own: Micros, edges: impl IntoIterator<Item = (Micros, Micros)>) -> Micros {
    edges.into_iter().fold(own, |least, (stake, room)| {
        if stake <= room {
            least.min(stake)
        } else {
            Micros::ZERO
        }
    })
}

fn over(epsilon: Micros, residual: Probability) -> Micros {
    match residual.bits() {
        0 => Micros::MAX,
        bits => Micros::clamp((u128::from(epsilon.0) << 64) / bits),
    }
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
    fn the_worked_example() {
        // h = 10%, S_eff = 1000 USD: good for 111.11 USD before settlement.
        let h = fraction("0.1").down();
        assert_eq!(
            audit_clawback(h, usd(1000), Factor::ONE),
            Micros(111_111_111)
        );
        // Without clawback at kappa = 0.8: -1000 ln(0.9) / 2.0117974 = 52.371335 (mpmath).
        let amount = audit_no_clawback(h, usd(1000), fraction("0.8"), Factor::ONE, Micros::ZERO);
        assert_eq!(amount, Micros(52_371_335));
    }

    #[test]
    fn the_cap_binds_and_open_exposure_uses_it_up() {
        let sure = fraction("0.999").down();
        let amount =
            |open| audit_no_clawback(sure, usd(1000), fraction("0.8"), Factor::ONE, usd(open));
        assert_eq!(
            (amount(0), amount(300), amount(800), amount(900)),
            (usd(800), usd(500), usd(0), usd(0))
        );
    }

    #[test]
    fn chosen_replayers_are_worth_less_than_drawn_ones() {
        let (f, rho, eps) = (fraction("0.2"), fraction("0.0001"), usd(1));
        let drawn = replicas(eps, f, rho, 3);
        assert_eq!(chosen_replicas(eps, f, rho, 3, 3), drawn);
        assert!(chosen_replicas(eps, f, rho, 3, 10) < drawn);
        // 120 ways to choose 3 of 10 times 0.008 is 0.96.
        assert_eq!(chosen_replicas(eps, f, rho, 3, 10), Micros(1_041_558));
        assert_eq!(chosen_replicas(eps, f, rho, 4, 3), Micros::ZERO);
        assert_eq!(chosen_replicas(eps, f, rho, 0, 3), Micros::ZERO);
        assert_eq!(chosen_replicas(eps, f, rho, 200, 4000), Micros::ZERO);
    }

    #[test]
    fn composites_are_worth_their_weakest_edge_or_nothing() {
        assert_eq!(composite(usd(100), []), usd(100));
        assert_eq!(
            composite(usd(100), [(usd(40), usd(50)), (usd(70), usd(70))]),
            usd(40)
        );
        assert_eq!(composite(usd(100), [(usd(40), usd(39))]), Micros::ZERO);
    }

    prop_compose! {
        fn open_fraction()(n in 1..1_000_000_000_u32) -> Fraction { Fraction::from_billionths(n).unwrap() }
    }

    proptest! {
        /// What the rule asks for is good for what it was asked for: both directions of every pair of formulas.
        #[test]
        fn the_rules_and_their_inverses_agree(v in 0..1_000_000_000_000_000_u64, s in 1..1_000_000_000_000_000_u64, kappa in open_fraction()) {
            let (v, s) = (Micros(v), Micros(s));
            let h = rules::t2_pooled(v, s);
            prop_assert!(audit_clawback(h, s, Factor::ONE) >= v);
            if let Some(h) = rules::t3_no_clawback(v, s, kappa) {
                // Logarithm and exponential lose up to 2^-54 each of S.
                let back = audit_no_clawback(h, s, kappa, Factor::ONE, Micros::ZERO);
                prop_assert!(back.0 + 1 + (s.0 >> 50) >= v.0, "{back:?} {v:?}");
            }
        }

        /// An amount never exceeds what the rule would allow for the same hazard.
        #[test]
        fn no_amount_is_too_large(h in 0..(1_u128 << 64), s in 1..1_000_000_000_000_000_u64, kappa in open_fraction()) {
            let (h, s) = (Probability::from_bits(h), Micros(s));
            let amount = audit_clawback(h, s, Factor::ONE);
            if amount < Micros::MAX {
                prop_assert!(rules::t2_pooled(amount, s) <= h);
            }
            let amount = audit_no_clawback(h, s, kappa, Factor::ONE, Micros::ZERO);
            // S (1 - (1-h)^..) in floats, as an oracle: gain times eta is at most -S ln(1-h).
            let k = f64::from(kappa.billionths()) / 1e9;
            let eta = -libm::log1p(-k) / k;
            let most = -(s.0 as f64) * libm::log1p(-h.to_f64()) / eta;
            prop_assert!(amount.0 as f64 <= most * (1.0 + 1e-9) + 1e-3, "{amount:?} {most}");
            prop_assert!(amount <= rules::exposure_cap(s, kappa));
        }

        #[test]
        fn amounts_are_monotone(h in 0..(1_u128 << 64), more in 0..(1_u128 << 64), s in any::<u64>(), extra in any::<u64>(), kappa in open_fraction(), g in 1..1_000_000_000_u64) {
            let (low, high) = (Probability::from_bits(h.min(more)), Probability::from_bits(h.max(more)));
            let (s, s2) = (Micros(s), Micros(s).plus(Micros(extra)));
            let gamma = Factor::from_millionths(g).unwrap();
            let gamma2 = Factor::from_millionths(g * 2).unwrap();
            prop_assert!(audit_clawback(low, s, gamma) <= audit_clawback(high, s, gamma));
            prop_assert!(audit_clawback(low, s, gamma) <= audit_clawback(low, s2, gamma));
            prop_assert!(audit_clawback(low, s, gamma2) <= audit_clawback(low, s, gamma));
            let t3 = |h, s, g, open| audit_no_clawback(h, s, kappa, g, Micros(open));
            prop_assert!(t3(low, s, gamma, 0) <= t3(high, s, gamma, 0));
            prop_assert!(t3(low, s, gamma, 0) <= t3(low, s2, gamma, 0));
            prop_assert!(t3(low, s, gamma2, 0) <= t3(low, s, gamma, 0));
            prop_assert!(t3(low, s, gamma, extra) <= t3(low, s, gamma, 0));
        }

        #[test]
        fn nothing_at_stake_is_good_for_nothing(h in 0..=(1_u128 << 64), kappa in open_fraction()) {
            let h = Probability::from_bits(h);
            prop_assert_eq!(audit_clawback(h, Micros::ZERO, Factor::ONE), Micros::ZERO);
            prop_assert_eq!(audit_no_clawback(h, Micros::ZERO, kappa, Factor::ONE, Micros::ZERO), Micros::ZERO);
        }
    }
}
