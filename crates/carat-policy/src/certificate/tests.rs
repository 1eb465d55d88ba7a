use std::vec::Vec;

use super::*;

const ALPHA: Alpha = Alpha::FIVE_PERCENT;

/// A small generator of its own (SplitMix64, Steele, Lea and Flood 2014).
struct Coins(u64);

impl Coins {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn falls(&mut self, chance: Probability) -> bool {
        u128::from(self.next()) < chance.bits()
    }
}

fn ledger(hazard: Probability, answers: u64, detections: u64) -> Ledger {
    Ledger {
        classes: [(hazard, answers)].into(),
        detections,
        ..Ledger::default()
    }
}

#[test]
fn golden_vector() {
    let hundredth = Probability::ratio_down(1, 100);
    for (detections, wrong) in [
        (0, 333),
        (1, 764),
        (2, 986),
        (5, 1549),
        (10, 2356),
        (20, 3803),
    ] {
        let bound = ledger(hundredth, 1 << 40, detections).certificate(ALPHA);
        assert_eq!(bound.wrong_at_most, wrong, "after {detections} detections");
    }
    assert_eq!(
        clean_audits_for(ALPHA, Probability::ratio_down(1, 1000)),
        3334
    );
}

/// Answers that cannot be drawn are all taken for wrong; answers that are always drawn hide nothing.
#[test]
fn the_ends_of_the_scale() {
    let none = ledger(Probability::ZERO, 1000, 0).certificate(ALPHA);
    assert_eq!((none.wrong_at_most, none.uncovered), (1000, 1000));
    let all = ledger(Probability::ONE, 1000, 0).certificate(ALPHA);
    assert_eq!(all.wrong_at_most, 0);
    assert_eq!(
        ledger(Probability::ONE, 3, 3)
            .certificate(ALPHA)
            .wrong_at_most,
        3
    );
    assert_eq!(Ledger::new().certificate(ALPHA).wrong_at_most, 0);
    assert!(
        !Ledger::new()
            .certificate(ALPHA)
            .says_fewer_than(Probability::ONE)
    );
}

/// What the bound takes for wrong are the answers that are checked least.
#[test]
fn careless_classes_count_in_full() {
    let mut mixed = Ledger::new();
    for _ in 0..100_000 {
        mixed.serve(Probability::ratio_down(1, 2), 0);
    }
    for _ in 0..250 {
        mixed.serve(Probability::ratio_down(1, 1000), 0);
    }
    let bound = mixed.certificate(ALPHA).wrong_at_most;
    assert!((250..260).contains(&bound), "{bound}");
}

#[test]
fn needed_is_enough_and_not_too_much() {
    let rate = Probability::ratio_down(1, 1000);
    let hundredth = Probability::ratio_down(1, 100);
    let mut ledger = ledger(hundredth, 10_000, 0);
    let Needed::More { answers, audits } = ledger.needed(ALPHA, rate) else {
        panic!("not yet");
    };
    assert!((3230..3245).contains(&audits), "{audits}");
    *ledger.classes.get_mut(&hundredth).unwrap() += answers;
    assert_eq!(ledger.needed(ALPHA, rate), Needed::Nothing);
    assert!(ledger.certificate(ALPHA).says_fewer_than(rate));
    *ledger.classes.get_mut(&hundredth).unwrap() -= answers / 50;
    assert!(!ledger.certificate(ALPHA).says_fewer_than(rate));
    // One answer in a hundred is beyond every draw.
    ledger.classes.insert(Probability::ZERO, 3_000);
    assert_eq!(ledger.needed(ALPHA, rate), Needed::Never);
    assert_eq!(Ledger::new().needed(ALPHA, rate), Needed::Never);
}

/// At equal values the two bounds say the same, up to the rounding of one answer.
#[test]
fn money_agrees_with_counting() {
    for detections in [0, 1, 5, 20] {
        let mut ledger = Ledger::new();
        for _ in 0..20_000 {
            ledger.serve(Probability::ratio_down(1, 100), 7_000_000);
        }
        ledger.detections = detections;
        let bound = ledger.certificate(ALPHA);
        let money = bound.wrong_money_at_most as f64 / 7e6;
        assert!(
            (money - bound.wrong_at_most as f64).abs() <= 1.0,
            "{detections}: {money} and {}",
            bound.wrong_at_most
        );
    }
}

/// With matched hazards V/(V+K) nothing undetected beyond about 3K to 4.1K fits, whatever the traffic (T4 and T5).
#[test]
fn matched_audits_certify_about_three_bonds() {
    let mut coins = Coins(5);
    let mut ledger = Ledger::new();
    const K: u64 = 1_000_000_000;
    for _ in 0..50_000 {
        let value = 1_000_000 + coins.next() % 50_000_000;
        ledger.serve(Probability::ratio_down(value, u128::from(value + K)), value);
    }
    let bonds = ledger.certificate(ALPHA).wrong_money_at_most as f64 / K as f64;
    assert!((3.0..4.1).contains(&bonds), "{bonds}");
}

/// The oracle: every set of a small ledger, by the definition of the mixture.
#[test]
fn no_allowed_set_exceeds_the_bounds() {
    let mut coins = Coins(11);
    for round in 0..300 {
        let n = 1 + round % 12;
        let mut ledger = Ledger::new();
        let answers: Vec<(Probability, u64)> = (0..n)
            .map(|_| {
                let hazard = Probability::from_bits(u128::from(coins.next() >> (coins.next() % 4)));
                (hazard, 1 + coins.next() % 1_000_000)
            })
            .collect();
        answers
            .iter()
            .for_each(|(hazard, value)| ledger.serve(*hazard, *value));
        ledger.detections = coins.next() % 4;
        let bound = ledger.certificate(ALPHA);
        let (mut most, mut money) = (0, 0);
        for set in 0_u32..1 << n {
            let chosen = || (0..n).filter(|i| set >> i & 1 == 1);
            let process: f64 = GRID
                .iter()
                .map(|(theta, weight)| {
                    let product: f64 = chosen()
                        .map(|i| 1.0 - answers[i].0.to_f64() * (1.0 - (-theta).exp()))
                        .product();
                    weight / product * (-theta * ledger.detections as f64).exp()
                })
                .sum();
            if process < 20.0 {
                most = most.max(u64::from(set.count_ones()));
                money = money.max(chosen().map(|i| u128::from(answers[i].1)).sum());
            }
        }
        assert!(bound.wrong_at_most >= most, "{answers:?}");
        assert!(bound.wrong_money_at_most >= money, "{answers:?}");
        assert!(bound.wrong_at_most <= most + 1, "needlessly wide");
    }
}

/// Coverage, counting: 10^4 runs against adversaries that adapt to what was found and stop when the bound is broken.
#[test]
fn coverage_under_optional_stopping() {
    let hazard = Probability::ratio_down(1, 20);
    let bounds: Vec<u64> = (0..200)
        .map(|j| ledger(hazard, 1 << 40, j).certificate(ALPHA).wrong_at_most)
        .collect();
    const RUNS: u64 = 10_000;
    for (name, adapt) in [("stubborn", false), ("adaptive", true)] {
        let mut coins = Coins(2026);
        let mut broken = 0;
        for _ in 0..RUNS {
            let (mut wrong, mut found) = (0_u64, 0_usize);
            for _ in 0..1500 {
                // The adaptive one pauses for a while after a detection: a wrong answer is a coin of its own choosing.
                if adapt
                    && found > 0
                    && wrong < bounds[found] * 9 / 10
                    && coins.next().is_multiple_of(2)
                {
                    continue;
                }
                wrong += 1;
                found += usize::from(coins.falls(hazard));
                if wrong > bounds[found] {
                    broken += 1;
                    break;
                }
            }
        }
        let share = broken as f64 / RUNS as f64;
        assert!(share <= 0.05, "{name}: {share}");
        // The bound is not so wide that nothing could ever break it.
        assert!(share >= 0.02, "{name}: {share}");
    }
}

/// Coverage, by money: hazards and values differ and follow the history; the certificate is asked for after every wrong
/// answer until it breaks.
#[test]
fn coverage_of_money_under_optional_stopping() {
    const RUNS: u64 = 10_000;
    const K: u64 = 100;
    let mut coins = Coins(7);
    let mut broken = 0;
    for _ in 0..RUNS {
        let mut ledger = Ledger::new();
        let mut wrong: u128 = 0;
        let patience = 12 + coins.next() % 12;
        for turn in 0..patience {
            // Larger after each detection, and in between honest answers.
            let value = 20 + 30 * ledger.detections + coins.next() % 100;
            let hazard = Probability::ratio_down(value, u128::from(value + K));
            ledger.serve(hazard, value);
            if turn % 3 == 2 {
                continue;
            }
            wrong += u128::from(value);
            if coins.falls(hazard) {
                ledger.audit(true);
            }
            if wrong > ledger.certificate(ALPHA).wrong_money_at_most {
                broken += 1;
                break;
            }
        }
    }
    let share = broken as f64 / RUNS as f64;
    assert!(share <= 0.05, "{share}");
    assert!(share > 0.001, "nothing can break it: {share}");
}
