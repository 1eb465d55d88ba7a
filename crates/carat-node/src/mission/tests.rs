use super::*;
use crate::exit::Exit;
use crate::issue::{Order, sign};
use crate::tell::Silent;

fn options(requests: usize) -> Options {
    Options {
        models: 4,
        requests,
        window: 60,
        seed: 7,
        limit: Duration::from_secs(300),
        stakes: Values::parse("lognormal:3").unwrap(),
        stakes_name: "lognormal:3".into(),
        // So much that all ways of checking are needed, and some requests are worth more than any covers.
        unit: Micros(2_000_000),
        bond: Micros(1_000_000_000),
    }
}

#[test]
fn a_small_mission_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let report = run(&options(120), Vec::new(), dir.path(), &Silent).unwrap();
    assert_eq!((report.considered, report.stopped_early), (120, false));
    let answers: u64 = report.rungs.values().map(|bought| bought.answers).sum();
    let refused: u64 = report
        .refused
        .values()
        .map(|refused| refused.requests)
        .sum();
    assert_eq!(answers + refused, 120);
    assert_eq!(report.receipts, answers);
    assert!(refused > 0, "{report:#?}");
    assert!(
        report
            .refused
            .values()
            .all(|refused| !refused.example.is_empty())
    );
    // Every answer is worth its evidence, from what was signed.
    assert_eq!(report.served_uncovered, Uncovered::default());
    // What was bought as a proof was proven.
    for (rung, bought) in &report.rungs {
        let proofs = if rung.ends_with("zk") {
            bought.answers
        } else {
            0
        };
        assert_eq!(bought.statements, proofs, "{rung}");
        assert_eq!(bought.proofs.cpu_micros > 0, proofs > 0, "{rung}");
    }
    assert!(report.rungs.contains_key("signature+audit"));
    assert!(report.rungs.keys().any(|rung| rung.ends_with("zk")));
    let strategy = |name: &str| {
        let found = report.strategies.iter().find(|s| s.name.starts_with(name));
        found.unwrap_or_else(|| panic!("{name}"))
    };
    let (carat, all) = (strategy("carat"), strategy("prove everything"));
    assert!(carat.measured && !all.measured);
    assert_eq!(carat.not_served, refused);
    let uniform = strategy("uniform").uncovered;
    let signed = strategy("signatures").uncovered;
    assert_eq!(signed.answers, 120);
    assert_eq!(signed.sum_micros, report.at_stake_micros);
    assert_eq!(signed.largest_micros, report.largest_stake_micros);
    assert!(uniform.answers > 0 && uniform.answers < signed.answers);
    // Nothing of it is lost on the way to programs.
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["receipts"], answers);
    assert_eq!(json["strategies"].as_array().map(Vec::len), Some(5));
}

#[test]
fn no_time_no_requests() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        limit: Duration::ZERO,
        ..options(50)
    };
    let report = run(&options, Vec::new(), dir.path(), &Silent).unwrap();
    assert_eq!((report.considered, report.stopped_early), (0, true));
    assert_eq!(report.receipts, 0);
    let refused = run(
        &Options {
            models: 0,
            ..options
        },
        Vec::new(),
        dir.path(),
        &Silent,
    );
    assert_eq!(refused.err().map(|failure| failure.exit), Some(Exit::Usage));
}

/// A replay is no formality: another answer, and another opening, are found.
#[test]
fn replays_find_wrong_answers() {
    let mut rng = Rng::new(3, 9);
    let mut served = Served::new(models::generated(0, 0, &mut rng).unwrap(), 0);
    let input = models::random_input(served.model.program(), &mut rng).unwrap();
    let right = served.run(&input).unwrap();
    let issuer = Issuer {
        key: SigningKey::from_secret(&[9; 32]),
        name: Label::new("issuer").unwrap(),
    };
    let signed = |served: &Served, outputs: &[carat_program::Tensor]| {
        let order = Order {
            model: served.model.identity(),
            input: input.as_slice().into(),
            output: outputs.into(),
            wall_micros: 1,
            audience: None,
            nonce: None,
            planned: None,
            io_commitment: None,
            option_expiry: None,
        };
        sign(order, &issuer, 1000).unwrap()
    };
    let honest = signed(&served, &right);
    window::replay(&mut served, &honest).unwrap();
    let mut values = right[0].data().to_vec();
    values[0] += 1;
    let lie = carat_program::Tensor::new(right[0].shape().clone(), values).unwrap();
    let lied = signed(&served, &[lie]);
    let found = window::replay(&mut served, &lied).unwrap_err();
    assert_eq!(found.exit, Exit::Mismatch);
    let mut swapped = signed(&served, &right);
    swapped.opening = lied.opening;
    let found = window::replay(&mut served, &swapped).unwrap_err();
    assert!(found.message.contains("open"), "{}", found.message);
}

/// What the comparison and the forecast take from the policy is what stands in it.
#[test]
fn the_policy_says_what_the_code_takes_from_it() {
    let policy = Policy::parse(POLICY).unwrap();
    let judged = |kind, micros, urgent| {
        let request = Request {
            model: 0,
            value: Micros(micros),
            kind,
            urgent,
        };
        let judged = policy.judge(&request.facts().unwrap()).unwrap();
        assert_eq!(judged.consequence.value, Micros(micros));
        let deadline = judged.consequence.deadline_micros;
        assert_eq!(deadline.is_some(), request.must_not_wait());
        assert!(deadline.is_none_or(|micros| micros == traffic::PATIENCE_MICROS));
        assert_eq!(
            !judged.consequence.require.is_empty(),
            must_be_proven(&request)
        );
    };
    for kind in [Kind::Settles, Kind::Used, Kind::Final] {
        for micros in [1, 99_999, 100_000, 5_000_000] {
            judged(kind, micros, false);
            judged(kind, micros, true);
        }
    }
}
