//! The planner: worked examples, monotonicity, purity, switch points by trial.

use carat_policy::consequence::{AtomPattern, Demand, Timing};
use carat_policy::environment::{Audits, Bond, Calibration, Enclave, Prover, Replicas};
use carat_policy::plan::{Binding, Level, Obstacle, Rule, SwitchPoint};
use carat_policy::{
    Consequence, Detection, Environment, Factor, Fraction, Micros, Price, Rung, Tau, explain, plan,
};
use carat_receipt::{Currency, Label};
use proptest::prelude::*;

fn usd() -> Currency {
    Currency::new("USD").unwrap()
}

fn units(units: u64) -> Micros {
    Micros(units * 1_000_000)
}

fn fraction(text: &str) -> Fraction {
    text.parse().unwrap()
}

fn calibration(cpu_micros: u64) -> Calibration {
    Calibration {
        backend: Label::new("cpu/test").unwrap(),
        mean_cpu_micros: cpu_micros,
        p50_micros: cpu_micros,
        p99_micros: cpu_micros,
        count: 100,
        measured_at: 1,
    }
}

/// Bond 1000, kappa 0.8, f = 0.2; a replay costs 0.0002 and a proof 0.05 and three seconds.
fn environment() -> Environment {
    let mut prove = calibration(50_000_000);
    prove.p99_micros = 3_000_000;
    Environment {
        execute: Some(Calibration {
            p99_micros: 2_000,
            ..calibration(200_000)
        }),
        audits: Some(Audits {
            independent: 3,
            fee: Price::ZERO,
            detection: Detection::PERFECT,
            window_secs: 3600,
        }),
        bond: Some(Bond {
            name: Label::new("bond-1").unwrap(),
            allocated: units(1000),
            withheld: Micros::ZERO,
            open: Micros::ZERO,
            clawback: true,
            joint_forfeiture: true,
        }),
        replicas: Some(Replicas {
            available: 16,
            fee: Price::ZERO,
            corrupt: fraction("0.2"),
            shared_fault: Fraction::ZERO,
            round_trip_micros: 50_000,
        }),
        prover: Some(Prover {
            prove: Some(prove),
            cap: None,
            deferred_secs: None,
            batch: None,
        }),
        ..Environment::bare(usd(), "0.001".parse().unwrap(), 1)
    }
}

fn consequence(value: Micros, timing: Timing) -> Consequence {
    Consequence {
        epsilon: Micros(100_000),
        ..Consequence::new(usd(), value, timing)
    }
}

fn forbid(pattern: &str) -> Demand<AtomPattern> {
    Demand {
        what: AtomPattern::new(Label::new(pattern).unwrap()),
        by: "a rule".into(),
    }
}

/// What a tenant may still spend refuses a plan that costs more, says what would be enough and what is covered, and never
/// changes the plan that is taken.
#[test]
fn what_may_be_spent_refuses_and_never_downgrades() {
    let loan = consequence(units(400), Timing::BeforeSettle);
    let free = plan(&loan, &environment()).unwrap();
    let limited = |left: Price| {
        let environment = Environment {
            spendable: Some(left),
            ..environment()
        };
        plan(&loan, &environment)
    };
    let same = limited(free.price).unwrap();
    assert_eq!(
        (same.rung, same.tau, same.price),
        (free.rung, free.tau, free.price)
    );
    let refused = limited(Price(free.price.0 - 1)).unwrap_err();
    let sufficient = refused.sufficient.unwrap();
    assert_eq!((sufficient.rung, sufficient.price), (free.rung, free.price));
    let (covered, rung) = refused.covered.unwrap();
    assert_eq!(rung, Rung::SignatureAudit);
    assert!(covered > units(300) && covered < units(400), "{covered:?}");
    // What is said to be covered is bought for what is left.
    let smaller = consequence(covered, Timing::BeforeSettle);
    let environment = Environment {
        spendable: Some(Price(free.price.0 - 1)),
        ..environment()
    };
    assert!(plan(&smaller, &environment).is_ok());
    assert!(limited(Price::ZERO).is_err());
}

#[test]
fn decision_regions() {
    let environment = environment();
    // A title summary: the floor, 0.1%, 2e-7.
    let mut chat = consequence(Micros(1000), Timing::AfterUse);
    chat.p_min = fraction("0.001");
    let bought = plan(&chat, &environment).unwrap();
    assert_eq!(
        (bought.rung, &bought.binding),
        (Rung::SignatureAudit, &Binding::Floor)
    );
    assert_eq!(bought.price, Price(200_001), "2e-7, rounded up");

    // A fraud score, 5 before settlement: half a percent, 1e-6.
    let bought = plan(&consequence(units(5), Timing::BeforeSettle), &environment).unwrap();
    assert_eq!(
        (bought.rung, &bought.binding),
        (Rung::SignatureAudit, &Binding::Rule(Rule::T2))
    );
    assert!((bought.hazard.to_f64() - 5.0 / 1005.0).abs() < 1e-12);
    assert_eq!(bought.price, Price(995_025));

    // A loan, 400 before settlement: 28.6%, 5.7e-5.
    let bought = plan(&consequence(units(400), Timing::BeforeSettle), &environment).unwrap();
    assert!((bought.hazard.to_f64() - 0.285_714).abs() < 1e-6);
    assert_eq!(bought.price, Price(57_142_858));
    assert_eq!(bought.runner_up.as_ref().unwrap().rung, Rung::ReplayAudit);

    // A liquidation, 50,000, irreversible, before use: nine replicas for 0.0018, or the proof where the honest fraction may
    // not be assumed. Sampling is kept out because G > kappa * S.
    let mut liquidation = consequence(units(50_000), Timing::BeforeUse);
    liquidation.irreversible = true;
    let bought = plan(&liquidation, &environment).unwrap();
    assert_eq!(
        (bought.rung, bought.replicas, bought.price),
        (Rung::Replay, 9, Price(1_800_000_000))
    );
    assert!(
        matches!(&bought.binding, Binding::Instead(Rung::SignatureAudit, Obstacle::PreUseOnly { cap, .. }) if *cap == units(800))
    );
    assert_eq!(bought.runner_up.as_ref().unwrap().rung, Rung::Zk);
    liquidation.forbid.push(forbid("honest-fraction*"));
    let bought = plan(&liquidation, &environment).unwrap();
    assert_eq!(
        (bought.rung, bought.price),
        (Rung::Zk, Price(50_000_000_000))
    );
}

#[test]
fn the_explanation_can_be_checked() {
    let mut environment = environment();
    environment.replicas = None;
    let mut thirty = consequence(units(30), Timing::BeforeSettle);
    thirty.p_min = fraction("0.1");
    let bought = plan(&thirty, &environment).unwrap();
    let text = explain::plan(&bought, &thirty, &environment).join("\n");
    assert!(text.contains("V = 30 USD <= good for 111.111111 USD under {auditors, beacon, implementation, operator-rational, bond:bond-1, clawback, joint-forfeiture}"), "{text}");
    assert!(
        text.contains("the policy's floor on audits, p_min = 0.1"),
        "{text}"
    );
    assert!(
        text.contains("runner-up: zk would cost 0.05 USD, 2499x more"),
        "{text}"
    );
}

#[test]
fn without_supply_there_is_no_plan() {
    let bare = Environment::bare(usd(), Price(13_000_000), 1);
    let refusal = plan(&consequence(units(1), Timing::AfterUse), &bare).unwrap_err();
    assert_eq!((refusal.covered, refusal.sufficient), (None, None));
    assert!(
        refusal
            .dropped
            .contains(&(Rung::Signature, Obstacle::Covers(Micros::ZERO)))
    );
    // Nothing at stake needs nothing.
    assert_eq!(
        plan(&consequence(Micros::ZERO, Timing::AfterUse), &bare)
            .unwrap()
            .rung,
        Rung::Signature
    );
}

#[test]
fn an_operator_that_audits_itself_supplies_nothing() {
    let mut environment = environment();
    environment.audits.as_mut().unwrap().independent = 0;
    environment.replicas = None;
    environment.prover = None;
    let refusal = plan(&consequence(units(1), Timing::AfterUse), &environment).unwrap_err();
    assert!(matches!(
        refusal
            .dropped
            .iter()
            .find(|(rung, _)| *rung == Rung::SignatureAudit),
        Some((_, Obstacle::NoSupply(_)))
    ));
}

#[test]
fn a_simulated_enclave_never_counts() {
    let mut environment = environment();
    environment.bond = None;
    environment.replicas = None;
    environment.prover = None;
    let enclave = Enclave {
        vendor: Label::new("amd").unwrap(),
        break_cost: units(1000),
        simulated: false,
        attest: Some(calibration(100)),
    };
    environment.enclave = Some(enclave.clone());
    let ten = consequence(units(10), Timing::AfterUse);
    let bought = plan(&ten, &environment).unwrap();
    assert_eq!(bought.rung, Rung::TeeAudit);
    assert!(
        bought.tau > Tau(0),
        "an enclave alone is a finite budget: it is audited"
    );
    environment.enclave = Some(Enclave {
        simulated: true,
        ..enclave
    });
    assert!(plan(&ten, &environment).is_err());
}

#[test]
fn what_was_never_measured_is_refused() {
    let mut environment = environment();
    environment.execute = None;
    environment.prover.as_mut().unwrap().prove = None;
    let refusal = plan(&consequence(units(10), Timing::AfterUse), &environment).unwrap_err();
    assert!(
        refusal
            .dropped
            .iter()
            .filter(|(_, why)| matches!(why, Obstacle::NotCalibrated(_)))
            .count()
            >= 4,
        "{refusal:?}"
    );
}

#[test]
fn a_refusal_says_what_would_be_enough_and_what_is_covered() {
    let environment = environment();
    let mut request = consequence(units(50_000), Timing::BeforeUse);
    request.irreversible = true;
    request.forbid.push(forbid("honest-fraction*"));
    request.budget = Some("0.01".parse().unwrap());
    let refusal = plan(&request, &environment).unwrap_err();
    let sufficient = refusal.sufficient.unwrap();
    assert_eq!(
        (sufficient.rung, sufficient.price),
        (Rung::Zk, Price(50_000_000_000))
    );
    // The budget still covers what sampling covers: up to kappa * S.
    let (covered, rung) = refusal.covered.unwrap();
    assert_eq!((covered, rung), (units(800), Rung::SignatureAudit));
    request.value = covered;
    assert_eq!(
        plan(&request, &environment).unwrap().rung,
        Rung::SignatureAudit
    );
    request.value = covered.plus(Micros(1));
    assert!(plan(&request, &environment).is_err());
}

#[test]
fn requirements_and_deadlines() {
    let environment = environment();
    let mut request = consequence(units(5), Timing::BeforeSettle);
    request.require.push(Demand {
        what: Level::Zk,
        by: "the rule".into(),
    });
    let bought = plan(&request, &environment).unwrap();
    assert_eq!(bought.rung, Rung::Zk);
    assert!(matches!(
        &bought.binding,
        Binding::Instead(
            Rung::SignatureAudit,
            Obstacle::Required {
                level: Level::Zk,
                ..
            }
        )
    ));
    request.deadline_micros = Some(1_000_000);
    let refusal = plan(&request, &environment).unwrap_err();
    assert_eq!(refusal.sufficient.unwrap().rung, Rung::Zk);
    assert!(refusal.dropped.iter().any(|(rung, why)| *rung == Rung::Zk
        && matches!(
            why,
            Obstacle::TooSlow {
                micros: 3_002_000,
                ..
            }
        )));
}

#[test]
fn stolen_compute_is_a_gain_too() {
    // A bond of one millionth does not deter saving 0.0002 of compute, whatever the value.
    let mut environment = environment();
    environment.replicas = None;
    environment.prover = None;
    environment.bond.as_mut().unwrap().allocated = Micros(1);
    assert!(plan(&consequence(Micros(1), Timing::AfterUse), &environment).is_err());
}

#[test]
fn a_loss_cap_needs_no_bond() {
    let mut environment = environment();
    environment.bond = None;
    environment.replicas = None;
    environment.prover = None;
    let mut request = consequence(units(10), Timing::AfterUse);
    assert!(plan(&request, &environment).is_err());
    request.loss_cap = Some(units(90));
    let bought = plan(&request, &environment).unwrap();
    assert_eq!(bought.binding, Binding::Rule(Rule::T4));
    assert!((bought.hazard.to_f64() - 0.1).abs() < 1e-12);
    assert!(
        bought
            .under
            .iter()
            .all(|atom| !atom.starts_with("bond") && atom != "operator-rational")
    );
}

#[test]
fn environments_round_trip_and_every_cut_is_refused() {
    let mut full = environment();
    full.enclave = Some(Enclave {
        vendor: Label::new("amd").unwrap(),
        break_cost: units(1000),
        simulated: true,
        attest: Some(calibration(3)),
    });
    let limited = Environment {
        spendable: Some(Price(7)),
        ..environment()
    };
    for environment in [
        environment(),
        full,
        limited,
        Environment::bare(usd(), Price(1), 0),
    ] {
        let bytes = environment.encode();
        assert_eq!(Environment::decode(&bytes).unwrap(), environment);
        for cut in 0..bytes.len() {
            assert!(Environment::decode(&bytes[..cut]).is_err());
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            if let Ok(other) = Environment::decode(&changed) {
                assert_eq!(other.encode(), changed);
            }
        }
    }
}

prop_compose! {
    fn any_fraction()(n in 0..=1_000_000_000_u32) -> Fraction { Fraction::from_billionths(n).unwrap() }
}

fn any_timing() -> impl Strategy<Value = Timing> {
    prop_oneof![
        Just(Timing::BeforeUse),
        Just(Timing::BeforeSettle),
        Just(Timing::AfterUse),
        Just(Timing::Deferred)
    ]
}

prop_compose! {
    fn any_consequence()(
        value in 0..1_000_000_000_000_u64, timing in any_timing(), irreversible: bool, epsilon in 0..1_000_000_u64,
        p_min in prop_oneof![Just(Fraction::ZERO), any_fraction()], gamma in 1..10_000_000_u64,
        deadline in prop::option::of(0..10_000_000_u64), loss_cap in prop::option::of(0..1_000_000_000_u64),
        zk: bool, forbidden in prop::option::of(prop::sample::select(vec!["bond:*", "clawback", "beacon", "math", "vendor:*", "exposure-ledger"])),
    ) -> Consequence {
        let mut consequence = Consequence::new(usd(), Micros(value), timing);
        consequence.irreversible = irreversible;
        consequence.epsilon = Micros(epsilon);
        consequence.p_min = p_min;
        consequence.gamma = Factor::from_millionths(gamma).unwrap();
        consequence.deadline_micros = deadline;
        consequence.loss_cap = loss_cap.map(Micros);
        if zk && value % 7 == 0 {
            consequence.require.push(Demand { what: Level::Zk, by: "a rule".into() });
        }
        consequence.forbid.extend(forbidden.map(forbid));
        consequence
    }
}

prop_compose! {
    fn any_environment()(
        bond in prop::option::of((0..1_000_000_000_000_u64, 0..1_000_000_000_u64, 0..1_000_000_000_u64, any::<bool>(), any::<bool>())),
        audits in prop::option::of((0..3_u64, 0..1_000_000_000_u64, any_fraction(), any_fraction())),
        replicas in prop::option::of((0..20_u64, any_fraction(), any_fraction())),
        prover in prop::option::of((any::<bool>(), prop::option::of(0..10_000_000_000_u64), prop::option::of(0..100_u64))),
        enclave in prop::option::of((0..10_000_000_000_u64, any::<bool>())),
        execute in prop::option::of(1..1_000_000_u64), kappa in any_fraction(),
    ) -> Environment {
        let mut e = Environment::bare(usd(), "0.001".parse().unwrap(), 1);
        e.kappa = kappa;
        e.execute = execute.map(calibration);
        e.bond = bond.map(|(s, r, open, clawback, joint)| Bond {
            name: Label::new("b").unwrap(), allocated: Micros(s), withheld: Micros(r), open: Micros(open), clawback, joint_forfeiture: joint,
        });
        e.audits = audits.map(|(independent, fee, power, colluding)| Audits {
            independent, fee: Price(fee), detection: Detection { power, colluding, predictable: Fraction::ZERO }, window_secs: 60,
        });
        e.replicas = replicas.map(|(available, corrupt, shared_fault)| Replicas {
            available, fee: Price(1000), corrupt, shared_fault, round_trip_micros: 1000,
        });
        e.prover = prover.map(|(measured, cap, deferred)| Prover {
            prove: measured.then(|| calibration(50_000_000)), cap: cap.map(Micros), deferred_secs: deferred, batch: None,
        });
        e.enclave = enclave.map(|(b, simulated)| Enclave {
            vendor: Label::new("amd").unwrap(), break_cost: Micros(b), simulated, attest: Some(calibration(500)),
        });
        e
    }
}

/// No plan counts as dearer than every plan.
fn cost(c: &Consequence, e: &Environment) -> u64 {
    plan(c, e).map_or(u64::MAX, |plan| plan.price.0)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn a_plan_covers_its_value_and_is_the_same_again(c in any_consequence(), e in any_environment()) {
        let first = plan(&c, &e);
        prop_assert_eq!(&first, &plan(&c, &e));
        if let Ok(bought) = first {
            prop_assert!(bought.good_for >= c.value);
            prop_assert!(bought.runner_up.as_ref().is_none_or(|other| other.price >= bought.price && other.rung != bought.rung));
            prop_assert!(c.require.iter().all(|demand| bought.rung.gives(demand.what)));
            prop_assert!(!c.forbid.iter().any(|demand| bought.under.iter().any(|atom| demand.what.matches(atom))));
            let _ = explain::plan(&bought, &c, &e);
        } else if let Err(refusal) = first {
            let _ = explain::refusal(&refusal, usd());
            if let Some((covered, _)) = refusal.covered {
                prop_assert!(covered < c.value || c.value == Micros::ZERO, "{:?}", refusal);
            }
        }
    }

    #[test]
    fn cost_grows_with_value(c in any_consequence(), e in any_environment(), more in 0..1_000_000_000_000_u64) {
        let dearer = Consequence { value: c.value.plus(Micros(more)), ..c.clone() };
        prop_assert!(cost(&dearer, &e) >= cost(&c, &e));
    }

    #[test]
    fn cost_falls_with_bond_deadline_and_budget(c in any_consequence(), e in any_environment(), more in 0..1_000_000_000_000_u64) {
        let mut richer = e.clone();
        if let Some(bond) = &mut richer.bond {
            bond.allocated = bond.allocated.plus(Micros(more));
        }
        // Up to the thresholds that are raised so that the inverse reaches the value: 2^-40 of the price.
        let before = cost(&c, &e);
        prop_assert!(cost(&c, &richer) <= before.saturating_add(before >> 40).saturating_add(1));
        let looser = Consequence { deadline_micros: c.deadline_micros.map(|d| d + more), ..c.clone() };
        prop_assert!(cost(&looser, &e) <= before);
        let none = Consequence { deadline_micros: None, ..c.clone() };
        prop_assert!(cost(&none, &e) <= before);
    }

    #[test]
    fn forbidding_and_requiring_never_cheapen(c in any_consequence(), e in any_environment(), pattern in prop::sample::select(vec!["beacon", "bond:*", "math", "*", "vendor:amd", "drawn", "clawback"])) {
        let before = cost(&c, &e);
        let mut stricter = c.clone();
        stricter.forbid.push(forbid(pattern));
        prop_assert!(cost(&stricter, &e) >= before);
        for level in Level::ALL {
            let mut stricter = c.clone();
            stricter.require.push(Demand { what: level, by: String::new() });
            prop_assert!(cost(&stricter, &e) >= before);
        }
        let mut later = c.clone();
        later.timing = Timing::BeforeSettle;
        later.irreversible = false;
        prop_assert!(cost(&later, &e) <= before.saturating_add(before >> 40).saturating_add(1));
    }

    #[test]
    fn switch_points_hold_when_tried(c in any_consequence(), e in any_environment()) {
        let Ok(bought) = plan(&c, &e) else { return Ok(()) };
        for point in &bought.switch_points {
            match point {
                SwitchPoint::Above { value, rung, .. } => {
                    let at = plan(&Consequence { value: *value, ..c.clone() }, &e);
                    prop_assert!(at.is_ok(), "up to {value:?} the plan holds: {bought:?}");
                    let between = plan(&Consequence { value: Micros(c.value.0 + (value.0.max(c.value.0) - c.value.0) / 2), ..c.clone() }, &e);
                    prop_assert_eq!(between.map(|plan| plan.rung), Ok(bought.rung), "{:?}", bought);
                    // Where two lines that audit cross, the point is found to a millionth.
                    let beyond = [Micros(1), Micros(1 + value.0 / 1000)]
                        .map(|more| plan(&Consequence { value: value.plus(more), ..c.clone() }, &e));
                    prop_assert!(
                        match rung {
                            None => beyond.iter().all(Result::is_err),
                            Some(_) => beyond.iter().flatten().any(|beyond| beyond.rung != bought.rung),
                        },
                        "{:?} {:?}", bought, beyond
                    );
                }
                SwitchPoint::UpTo { value, rung } => {
                    let at = plan(&Consequence { value: *value, ..c.clone() }, &e);
                    prop_assert!(at.is_ok_and(|at| at.price <= bought.price), "{rung:?}");
                }
                SwitchPoint::WithBond { tau, .. } => prop_assert!(*tau < bought.tau),
                SwitchPoint::WithDeadline { micros, rung, price } => {
                    let later = plan(&Consequence { deadline_micros: Some(*micros), ..c.clone() }, &e).unwrap();
                    prop_assert!(later.price <= *price, "{rung:?}");
                }
            }
        }
    }
}
