use std::vec;
use std::vec::Vec;

use super::*;
use crate::certificate::Alpha;
use crate::hazard::Detection;
use crate::money::Micros;
use crate::probability::Probability;

fn setting(auditing: Auditing, bond: Micros) -> Setting {
    Setting {
        auditing,
        timing: Timing::BeforeSettle,
        bond,
        kappa: "0.8".parse().unwrap(),
        window: 200,
        assumed: Detection::PERFECT,
        joint_forfeiture: true,
    }
}

fn traffic(values: &str, requests: usize) -> Traffic {
    Values::parse(values)
        .unwrap()
        .traffic(values, requests, 7, true)
}

fn three_times(traffic: &Traffic) -> Micros {
    Micros(traffic.v999.0 * 3)
}

fn outcome(traffic: &Traffic, setting: &Setting, agent: Agent) -> Outcome {
    let offers = setting.offers(&traffic.values);
    play(traffic, setting, &offers, &mut agent.player(3), 3)
}

/// The published reference points, within four standard errors of the sample.
#[test]
fn reference_points() {
    for (values, uniform, tiers, matched) in [
        ("lognormal:1", 0.25, 0.072, 0.0237),
        ("lognormal:2", 0.25, 0.029, 0.0044),
        ("lognormal:3", 0.25, 0.016, 0.0017),
        ("pareto:1.5", 0.25, 0.035, 0.0089),
        ("constant", 0.25, 0.25, 0.25),
    ] {
        let traffic = traffic(values, 300_000);
        let point = frontier::point(&traffic, 3.0);
        let near = |found: f64, published: f64, slack: f64| {
            assert!(
                (found / published - 1.0).abs() < slack,
                "{values}: {found} and {published}"
            );
        };
        near(point.uniform, uniform, 1e-9);
        // Published with two to three digits.
        near(point.matched, matched, 0.03);
        near(point.two_tier, tiers, 0.06);
    }
}

#[test]
fn nobody_profits_from_matched_auditing() {
    for values in ["lognormal:2", "pareto:1.5", "constant", "lognormal:3"] {
        let traffic = traffic(values, 20_000);
        for timing in [Timing::BeforeSettle, Timing::AfterUse] {
            let setting = Setting {
                timing,
                ..setting(Auditing::Matched, three_times(&traffic))
            };
            for name in Agent::NAMES {
                let agent = Agent::named(name, 0.2).unwrap();
                // The rules know the share of auditors that collude or copy.
                let mut setting = setting.clone();
                if matches!(agent, Agent::ColludingAuditor(_) | Agent::CopyCatAuditor(_)) {
                    setting.assumed.colluding = "0.2".parse().unwrap();
                }
                let succeeds = agent.breaks().is_some();
                let profit = outcome(&traffic, &setting, agent).profit;
                if succeeds {
                    assert!(
                        profit > 0.0,
                        "{name} breaks an assumption and must succeed: {profit}"
                    );
                } else {
                    assert!(profit <= 1e-9, "{values} {timing:?} {name}: {profit}");
                }
            }
        }
    }
}

#[test]
fn somebody_profits_from_each_broken_variant() {
    let traffic = traffic("lognormal:2", 20_000);
    let bond = three_times(&traffic);
    let best = |setting: &Setting| {
        outcome(&traffic, setting, Agent::BestResponse).profit / (bond.0 as f64 / 1e6)
    };
    let uniform = setting(Auditing::Uniform(Probability::ratio_down(1, 100)), bond);
    assert!(best(&uniform) > 1.0, "uniform 1%: {}", best(&uniform));
    let hunter = outcome(&traffic, &uniform, Agent::ValueHunter).profit;
    assert!(hunter > 0.0, "uniform 1%, value hunter: {hunter}");
    let apart = Setting {
        joint_forfeiture: false,
        ..setting(Auditing::Matched, bond)
    };
    assert!(best(&apart) > 0.1, "no joint forfeiture: {}", best(&apart));
    let naive = Setting {
        timing: Timing::AfterUse,
        ..setting(Auditing::Naive, bond)
    };
    assert!(best(&naive) > 0.1, "naive, no cap: {}", best(&naive));
    assert!(best(&setting(Auditing::None, bond)) > 10.0);
    // Auditors that collude without the rules knowing it.
    let unaware = outcome(
        &traffic,
        &setting(Auditing::Matched, bond),
        Agent::ColludingAuditor(0.3),
    );
    assert!(unaware.profit > 0.0);
    // The learner finds what there is to find.
    assert!(outcome(&traffic, &uniform, Agent::Learning).profit > 0.0);
}

/// Fifty cheats of 2% of the bond each earn 35% of it where forfeiture is not joint.
#[test]
fn fifty_small_cheats() {
    let traffic = Traffic {
        name: "fifty".into(),
        values: vec![Micros(20_000); 50],
        v999: Micros(20_000),
    };
    let mut setting = setting(Auditing::Matched, Micros(1_000_000));
    assert!(outcome(&traffic, &setting, Agent::Lazy).profit < 0.0);
    setting.joint_forfeiture = false;
    let profit = outcome(&traffic, &setting, Agent::Lazy).profit;
    assert!((0.34..0.36).contains(&profit), "{profit}");
}

/// The naive rule loses a quarter of the bond at 80% of exposure.
#[test]
fn naive_rule_loses_a_quarter() {
    let values = vec![Micros(1_000); 800];
    let traffic = Traffic {
        name: "small".into(),
        values,
        v999: Micros(1_000),
    };
    let setting = Setting {
        timing: Timing::AfterUse,
        window: 800,
        ..setting(Auditing::Naive, Micros(1_000_000))
    };
    let profit = outcome(&traffic, &setting, Agent::Lazy).profit;
    assert!((0.24..0.26).contains(&profit), "{profit}");
}

/// Small games by brute force: T2 and T3 leave no set that pays, at any later prospect; each broken variant leaves one.
#[test]
fn exhaustive_search() {
    let mut rng = rng::Rng::new(1, 0);
    let (mut apart, mut naive) = (0, 0);
    for _ in 0..150 {
        let n = 1 + rng.below(10) as usize;
        let bond = Micros(1_000_000);
        let values: Vec<Micros> = (0..n)
            .map(|i| Micros(1 + rng.below(if i % 2 == 0 { 100_000 } else { 900_000 })))
            .collect();
        let traffic = Traffic {
            name: "small".into(),
            values,
            v999: Micros(900_000),
        };
        let best = |setting: &Setting| {
            let offers = setting.offers(&traffic.values);
            let game = play::Game::new(&traffic, setting, &offers, &Agent::Honest.player(1), 1);
            // What is proved cannot be wrong: taken out, a hazard of 1 would only deter.
            let open: Vec<usize> = (0..n).filter(|i| !offers[*i].proved).collect();
            let pick = |from: &[f64]| open.iter().map(|i| from[*i]).collect::<Vec<f64>>();
            let (values, hazards) = (pick(&game.values), pick(&game.hazards));
            let exact = search::exhaustive(setting, 1.0, &values, &hazards, 0.0);
            let found = search::best_set(setting, 1.0, &values, &hazards, 0.0).1;
            assert!(
                found <= exact + 1e-9,
                "the search claims more than there is"
            );
            assert!(
                found >= 0.9 * exact - 1e-9,
                "the search misses much: {found} of {exact}"
            );
            (exact, search::largest_loss(&game.values, &game.hazards))
        };
        let clawback = Setting {
            window: n,
            ..setting(Auditing::Matched, bond)
        };
        let (profit, loss) = best(&clawback);
        assert!(profit < 1e-9, "T2: {profit}");
        assert!(loss <= 1.0 + 1e-9, "T4: {loss}");
        let after = Setting {
            timing: Timing::AfterUse,
            ..clawback.clone()
        };
        assert!(best(&after).0 < 1e-9, "T3");
        let broken = Setting {
            joint_forfeiture: false,
            ..clawback.clone()
        };
        apart += u32::from(best(&broken).0 > 1e-6);
        let broken = Setting {
            auditing: Auditing::Naive,
            ..after
        };
        naive += u32::from(best(&broken).0 > 1e-6);
    }
    assert!(apart > 50 && naive > 50, "{apart}, {naive}");
}

/// Windows chain: dynamic programming over every set of every window finds nothing against the rules, and what the search
/// claims is what its decisions earn.
#[test]
fn dynamic_programming_over_windows() {
    let mut rng = rng::Rng::new(2, 0);
    let mut pays = [0; 4];
    for _ in 0..60 {
        let bond = Micros(1_000_000);
        let values: Vec<Micros> = (0..21).map(|_| Micros(1 + rng.below(300_000))).collect();
        let traffic = Traffic {
            name: "small".into(),
            values,
            v999: Micros(300_000),
        };
        let matched = Setting {
            window: 7,
            ..setting(Auditing::Matched, bond)
        };
        let after = Setting {
            timing: Timing::AfterUse,
            ..matched.clone()
        };
        let best = |setting: &Setting| {
            let offers = setting.offers(&traffic.values);
            let game = play::Game::new(&traffic, setting, &offers, &Agent::Honest.player(1), 1);
            let found = game.evaluate(search::best_response(&game)).profit;
            // What is proved has hazard 1 and gains nothing by being chosen, but after use the sum would count its gain.
            let mut open = game;
            for (value, offer) in open.values.iter_mut().zip(&offers) {
                *value *= f64::from(u8::from(!offer.proved));
            }
            let exact = search::dynamic(&open);
            assert!(found <= exact + 1e-9, "{found} {exact}");
            assert!(found >= 0.8 * exact - 1e-9, "{found} {exact}");
            exact
        };
        assert!(best(&matched) < 1e-9);
        assert!(best(&after) < 1e-9);
        let broken = [
            Setting {
                joint_forfeiture: false,
                ..matched.clone()
            },
            Setting {
                auditing: Auditing::Naive,
                ..after.clone()
            },
            Setting {
                auditing: Auditing::Uniform(Probability::ratio_down(1, 100)),
                ..matched.clone()
            },
            Setting {
                auditing: Auditing::None,
                ..matched
            },
        ];
        for (pays, broken) in pays.iter_mut().zip(&broken) {
            *pays += u32::from(best(broken) > 0.01);
        }
    }
    assert!(pays.iter().all(|times| *times > 50), "{pays:?}");
}

/// T4 is tight: an adversary exists that comes near K, and none exceeds it.
#[test]
fn losses_stay_below_the_bond_and_come_near_it() {
    let traffic = traffic("lognormal:2", 20_000);
    let bond = three_times(&traffic);
    let setting = setting(Auditing::Matched, bond);
    let mut most = 0.0_f64;
    for name in Agent::NAMES {
        let agent = Agent::named(name, 0.0).unwrap();
        if agent.breaks().is_none() {
            let loss = outcome(&traffic, &setting, agent).loss / (bond.0 as f64 / 1e6);
            assert!(loss <= 1.0 + 1e-9, "{name}: {loss}");
            most = most.max(loss);
        }
    }
    assert!(most > 0.98, "{most}");
}

/// The expectation and games with coins agree, within five standard errors.
#[test]
fn coins_agree_with_expectations() {
    let traffic = traffic("lognormal:2", 5_000);
    for (auditing, joint) in [
        (Auditing::Matched, true),
        (Auditing::Matched, false),
        (Auditing::Uniform(Probability::ratio_down(1, 100)), true),
        (Auditing::Uniform(Probability::ratio_down(1, 100)), false),
    ] {
        for timing in [Timing::BeforeSettle, Timing::AfterUse] {
            let mut setting = Setting {
                timing,
                joint_forfeiture: joint,
                ..setting(auditing.clone(), three_times(&traffic))
            };
            setting.window = 50;
            for agent in [Agent::Sneaky, Agent::ValueHunter, Agent::Lazy] {
                let outcome = outcome(&traffic, &setting, agent);
                let sampled = play::sample(&outcome, &setting, 20_000, 9);
                let near = |(mean, error): (f64, f64), exact: f64| {
                    assert!(
                        (mean - exact).abs() < 5.0 * error + 1e-9,
                        "{mean} +- {error}, {exact}"
                    );
                };
                near(sampled.loss, outcome.loss);
                near(sampled.profit, outcome.profit);
            }
        }
    }
}

/// Coins one by one, and the certificate that comes of them: it holds for cheats too.
#[test]
fn served_games_and_their_certificates() {
    let traffic = traffic("lognormal:1", 3_000);
    let setting = setting(Auditing::Matched, three_times(&traffic));
    let offers = setting.offers(&traffic.values);
    let mut player = Agent::Sneaky.player(3);
    let outcome = play(&traffic, &setting, &offers, &mut player, 3);
    let (mut broken, mut caught) = (0, 0);
    for seed in 0..400 {
        let served = play::serve(
            &traffic,
            &setting,
            &offers,
            &outcome.wrong,
            &player,
            Alpha::FIVE_PERCENT,
            seed,
        );
        broken += u32::from(served.wrong > served.certificate.wrong_at_most);
        caught += u32::from(served.convicted);
        assert_eq!(served.certificate.answers, served.answers);
    }
    assert!(broken <= 20, "{broken} of 400");
    let expected = 400.0 * (1.0 - outcome.survival);
    assert!(
        (f64::from(caught) - expected).abs() < 5.0 * 10.0,
        "{caught}, {expected}"
    );
}

#[test]
fn a_seed_gives_the_same_bits() {
    let run = |seed| {
        let traffic = Values::Lognormal(2.0).traffic("x", 5_000, seed, true);
        let setting = setting(Auditing::Matched, three_times(&traffic));
        let offers = setting.offers(&traffic.values);
        let outcome = play(
            &traffic,
            &setting,
            &offers,
            &mut Agent::Learning.player(seed),
            seed,
        );
        (traffic.values, outcome.profit.to_bits(), outcome.wrong)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// Sums that were computed once: another machine that finds other values draws another traffic.
#[test]
fn golden_traffic() {
    let sum = |values: Values| -> u64 {
        let traffic = values.traffic("x", 1000, 42, true);
        traffic
            .values
            .iter()
            .fold(0, |sum, value| sum.rotate_left(5) ^ value.0)
    };
    let found = [sum(Values::Lognormal(2.0)), sum(Values::Pareto(1.5))];
    assert_eq!(
        found,
        [7_274_693_482_998_581_583, 7_286_059_456_516_457_594]
    );
}

#[test]
fn scripts() {
    let text = "# hunts what is large, for a while\n\
                let appetite = 3\n\
                honest when wrong_in_window >= appetite or proved\n\
                cheat when value >= p99 and pending + value < 0.5 * bond\n\
                cheat with 0.01 * min(1, value / mean)\n\
                set appetite = max(appetite - 1, 1) when position == 0\n";
    let traffic = traffic("lognormal:2", 10_000);
    let setting = setting(
        Auditing::Uniform(Probability::ratio_down(1, 100)),
        three_times(&traffic),
    );
    let offers = setting.offers(&traffic.values);
    let mut script = script::Script::parse(text, 1).unwrap();
    let first = play(&traffic, &setting, &offers, &mut script, 1);
    assert!(first.wrong.iter().any(|wrong| *wrong));
    let each = |window: &[bool]| window.iter().filter(|wrong| **wrong).count() <= 3;
    assert!(first.wrong.chunks(200).all(each));
    let again = play(
        &traffic,
        &setting,
        &offers,
        &mut script::Script::parse(text, 1).unwrap(),
        1,
    );
    assert_eq!(first.wrong, again.wrong);
    // The same as the built-in hunter.
    let mut hunter = script::Script::parse("cheat when value >= p99", 1).unwrap();
    let script = play(&traffic, &setting, &offers, &mut hunter, 1);
    assert_eq!(
        script.wrong,
        outcome(&traffic, &setting, Agent::ValueHunter).wrong
    );
    // Precedence, and what is equal to it.
    for (a, b) in [
        ("1 + 2 * 3 == 7", "1"),
        ("not 1 > 2 and 2 > 1", "1"),
        ("-2 * -3 == 6", "1"),
        ("(1 + 2) * 3 == 9 or 0", "1"),
        ("7 % 4 == 3", "1"),
        ("1 < 2 == 1", "1"),
        ("0 / 0 == 0", "0"),
        ("max(abs(-2), sqrt(16)) == floor(4.9)", "1"),
    ] {
        let decides = |condition: &str| {
            let text = std::format!("cheat when {condition}");
            let mut script = script::Script::parse(&text, 1).unwrap();
            play(&traffic, &setting, &offers, &mut script, 1).wrong[0]
        };
        assert_eq!(decides(a), decides(b), "{a}");
    }
}

#[test]
fn scripts_that_are_none() {
    let deep = std::format!("cheat when {}1{}", "(".repeat(100), ")".repeat(100));
    let long = std::format!("cheat when {}1", "1 + ".repeat(100));
    let minus = std::format!("cheat when {}1", "-".repeat(100_000));
    for (text, line, column) in [
        ("", 1, 1),
        ("let x = 1", 1, 1),
        ("cheat when walue > 1", 1, 12),
        ("cheat when value >", 1, 19),
        ("honest\ncheat when value > 1 2", 2, 22),
        ("cheat when (value > 1", 1, 22),
        ("set x = 1", 1, 5),
        ("let value = 1", 1, 5),
        ("steal when value > 1", 1, 1),
        ("cheat when 1.2.3", 1, 12),
        ("cheat when value > 1 \u{a7}", 1, 22),
        ("evade 1.5", 1, 7),
        (&deep, 1, 76),
        (&long, 1, 272),
        (&minus, 1, 1),
    ] {
        let error = script::Script::parse(text, 1).unwrap_err();
        assert_eq!(
            (error.line, error.column),
            (line, column),
            "{text:.40}: {error}"
        );
    }
}

#[test]
fn decisions_from_csv() {
    let traffic = Traffic {
        name: "four".into(),
        values: vec![Micros(1_000_000); 4],
        v999: Micros(1_000_000),
    };
    let setting = setting(Auditing::None, Micros(3_000_000));
    let offers = setting.offers(&traffic.values);
    for text in [
        "0\n1\n0\n1\n",
        "wrong\n0\n1\n0\n1",
        "request,wrong\n3,1\n1,1\n",
        "1,1\n3,1\n",
        "value;cheat\n5;0\n6;1\n7;0\n8;1\n",
        "# mine\ndecision\nright\nwrong\nhonest\ncheat\n",
    ] {
        let mut decisions = script::Decisions::from_csv(text, 1).unwrap();
        let wrong = play(&traffic, &setting, &offers, &mut decisions, 1).wrong;
        assert_eq!(wrong, [false, true, false, true], "{text:?}");
    }
    for (text, line) in [
        ("", 1),
        ("2\n", 1),
        ("wrong\n1\nx\n", 3),
        ("-1,1\n", 1),
        ("a,b\n1,1\n", 1),
    ] {
        assert_eq!(
            script::Decisions::from_csv(text, 1).unwrap_err().line,
            line,
            "{text:?}"
        );
    }
}

#[test]
fn values_from_csv() {
    let given = |text| Values::from_csv(text);
    let expected = Values::Given(vec![Micros(1_500_000), Micros(0), Micros(2_000_000)]);
    for text in [
        "1.5\n0\n2\n",
        "value\n1.5\n0\n2",
        "id,Amount\na,1.5\nb,0\nc,2e0\n",
        "\u{feff}value\r\n1.5\r\n0\r\n2\r\n",
    ] {
        assert_eq!(given(text), Ok(expected.clone()), "{text:?}");
    }
    for text in [
        "",
        "value\n",
        "1\n-2\n",
        "1\nNaN\n",
        "1\n\"x\"\n",
        "0\n0\n",
        "1e13\n",
        "a,b\n1,2\n",
    ] {
        assert!(given(text).is_err(), "{text:?}");
    }
    let few = expected.traffic("x", 10_000, 1, false);
    let share = few.values.iter().filter(|value| value.0 == 0).count();
    assert!((3000..3700).contains(&share), "{share}");
    assert_eq!(
        expected.traffic("x", 3, 1, false).values[2],
        Micros(2_000_000)
    );
    for text in [
        "lognormal",
        "lognormal:0",
        "lognormal:x",
        "pareto:0",
        "constant:1",
        "normal:1",
        "lognormal:inf",
    ] {
        assert!(Values::parse(text).is_err(), "{text}");
    }
}

/// The simulator's own arithmetic against the production rules: a hazard is never below what the formula wants.
#[test]
fn matched_offers_are_the_formula() {
    let traffic = traffic("lognormal:3", 2_000);
    let bond = three_times(&traffic);
    let (s, kappa) = (bond.0 as f64, 0.8_f64);
    let eta = -libm::log(1.0 - kappa) / kappa;
    for timing in [Timing::BeforeSettle, Timing::AfterUse] {
        let setting = Setting {
            timing,
            ..setting(Auditing::Matched, bond)
        };
        for (offer, value) in setting.offers(&traffic.values).iter().zip(&traffic.values) {
            let v = value.0 as f64;
            let wanted = match timing {
                Timing::BeforeSettle => v / (v + s),
                Timing::AfterUse => 1.0 - libm::exp(-eta * v / s),
            };
            let offered = offer.tau.probability().to_f64();
            assert!(
                offer.proved || (offered >= wanted - 1e-15 && offered - wanted < 1e-12),
                "{offered} {wanted}"
            );
        }
    }
}

#[test]
fn the_plot_is_text_that_cannot_be_broken_out_of() {
    let points = frontier::frontier(&traffic("lognormal:2", 20_000));
    assert!(
        points
            .windows(2)
            .all(|pair| pair[1].matched <= pair[0].matched && pair[1].uniform <= pair[0].uniform)
    );
    assert!(
        points
            .iter()
            .all(|p| p.matched <= p.two_tier * 1.000001 && p.two_tier <= p.uniform * 1.000001)
    );
    let svg = plot::svg("</text><script>", &points);
    assert!(!svg.contains("<script>") && !svg.contains("NaN") && !svg.contains("inf"));
    let flat = plot::svg("constant", &frontier::frontier(&traffic("constant", 1_000)));
    assert!(flat.contains("No gain"));
}

proptest::proptest! {
    /// Strangers write these files: any text is read or refused, and what is read can be played.
    #[test]
    fn any_text_is_read_or_refused(text in "(cheat|honest|let x|set x|evade|when|with|value|bond|p99|x|[0-9.]{1,4}|[-+*/%<>=()!,#]| |\n|\\PC){0,40}") {
        if let Ok(mut script) = script::Script::parse(&text, 1) {
            let traffic = traffic("constant", 10);
            let setting = setting(Auditing::Matched, Micros(3_000_000));
            let offers = setting.offers(&traffic.values);
            let outcome = play(&traffic, &setting, &offers, &mut script, 1);
            proptest::prop_assert!(outcome.profit.is_finite());
        }
        let _ = script::Decisions::from_csv(&text, 1);
        let _ = Values::from_csv(&text);
        let _ = Values::parse(&text);
        let _ = Auditing::parse(&text);
    }
}
