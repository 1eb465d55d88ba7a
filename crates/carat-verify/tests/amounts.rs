//! Amounts that follow from rules. Each test shows a way to get more than an answer is worth, and that it fails.

mod common;

use carat_policy::{Detection, Micros, good_for};
use carat_receipt::evidence::Replay;
use carat_receipt::statement::{Plan, Reliance, Timing};
use carat_receipt::{Amount, Evidence, ReceiptFile, SignedStatement, SigningKey, Statement};
use carat_verify::trust::{Auditor, Audits, Bond, Content, Issuer, IssuerKey, Replication};
use carat_verify::{Appraisal, Question, Trust, Upstream, UseAt, Verdict};
use common::*;
use proptest::prelude::*;

/// Audited with ten percent.
const TAU: u64 = u64::MAX / 10;

fn planned(tau: u64) -> Statement {
    let mut statement = statement();
    statement.optional.plan = Some(Plan {
        rung: label("signature+audit"),
        tau,
        // What the issuer says about timing is not what selects the formula.
        timing: Timing::BeforeSettle,
        window: Some(86_400),
        bond: Some(label("bond-1")),
        replicas: None,
        proof_deadline: None,
    });
    statement
}

/// A receipt with an audit threshold, in the log.
fn drawn() -> ReceiptFile {
    logged(file_of(planned(TAU)))
}

/// Accepts audits: a bond of 1000, honest auditors, kappa 0.8, clawback.
fn accepting() -> Content {
    let mut content = content();
    content.implementation_cap = Some(amount("100000 USD"));
    content.audits = Some(Audits {
        detection: Detection::PERFECT,
        gamma: "1".parse().unwrap(),
        kappa: "0.8".parse().unwrap(),
        clawback: true,
        joint_forfeiture: true,
        horizon_days: None,
    });
    content.bonds.push(Bond {
        issuer: label("Example Issuer"),
        amount: amount("1000 USD"),
        withheld: None,
        as_of: ISSUED_AT - 100,
        expiry: ISSUED_AT + 30 * 86_400,
    });
    content
}

fn set<'a>(appraisal: &'a Appraisal, rung: &str) -> &'a carat_verify::AssumptionSet {
    appraisal
        .good_for
        .iter()
        .find(|set| set.rung == rung)
        .unwrap_or_else(|| panic!("{rung} in {:#?}", appraisal.good_for))
}

fn audit(
    file: &ReceiptFile,
    content: Content,
    change: impl FnOnce(&mut Question<'_>),
) -> (Amount, String) {
    let trust = trust_of(content);
    let mut question = ask(&trust);
    change(&mut question);
    let appraisal = carat_verify::appraise(file, &question).unwrap();
    let set = set(&appraisal, "audit");
    (set.amount.unwrap(), set.reason.clone())
}

fn nothing(file: &ReceiptFile, content: Content, why: &str) {
    let (amount, reason) = audit(file, content, |_| {});
    assert!(
        amount.is_zero() && reason.contains(why),
        "{amount}: {reason}"
    );
}

#[test]
fn sampled_audits_are_worth_what_the_rules_say() {
    // h = 10%, S = 1000: 52.37 at once, 111.11 before settlement.
    let (at_once, _) = audit(&drawn(), accepting(), |_| {});
    assert_eq!(at_once, amount("52.371335 USD"));
    let (before, _) = audit(&drawn(), accepting(), |question| {
        question.use_at = UseAt::BeforeSettle
    });
    assert_eq!(before, amount("111.111111 USD"));
}

#[test]
fn the_relying_partys_own_timing_selects_the_formula() {
    // The Plan says before settlement; whoever acts at once does not get its amount.
    let trust = trust_of(accepting());
    let appraisal = run(&drawn(), &ask(&trust));
    let set = set(&appraisal, "audit");
    assert!(
        set.under.contains(&"exposure-ledger".to_string())
            && !set.under.contains(&"clawback".to_string())
    );
    assert_eq!(set.amount, Some(amount("52.371335 USD")));
    // And whoever waits gets it only where gains can be taken back together.
    for broken in [
        |audits: &mut Audits| audits.clawback = false,
        |audits: &mut Audits| audits.joint_forfeiture = false,
    ] {
        let mut content = accepting();
        broken(content.audits.as_mut().unwrap());
        let (waits, _) = audit(&drawn(), content, |question| {
            question.use_at = UseAt::BeforeSettle
        });
        assert_eq!(waits, amount("52.371335 USD"));
    }
}

#[test]
fn nothing_without_what_makes_an_audit_happen() {
    nothing(
        &drawn(),
        Content {
            audits: None,
            ..accepting()
        },
        "no [audits]",
    );
    nothing(
        &drawn(),
        Content {
            bonds: vec![],
            ..accepting()
        },
        "no bond of Example Issuer",
    );
    nothing(
        &drawn(),
        Content {
            auditors: vec![],
            ..accepting()
        },
        "self-audit",
    );
    nothing(
        &drawn(),
        Content {
            implementation_cap: None,
            ..accepting()
        },
        "no cap for `implementation`",
    );
    // Not in a witnessed checkpoint: nothing draws it yet.
    nothing(&file_of(planned(TAU)), accepting(), "pending");
    nothing(
        &drawn(),
        Content {
            witness_quorum: 0,
            ..accepting()
        },
        "no witness that the issuer does not control",
    );
    // A threshold of nothing is no set at all.
    let trust = trust_of(accepting());
    assert!(
        run(&logged(file_of(planned(0))), &ask(&trust))
            .good_for
            .iter()
            .all(|set| set.rung != "audit")
    );
}

#[test]
fn an_operator_that_audits_or_witnesses_itself_is_worth_nothing() {
    let mut content = accepting();
    content.auditors[0].controller = label("Example Issuer");
    nothing(&drawn(), content, "self-audit");
    let mut content = accepting();
    content.witnesses[0].controller = label("Example Issuer");
    nothing(
        &drawn(),
        content,
        "no witness that the issuer does not control",
    );
}

#[test]
fn a_bond_counts_once_fresh_and_long_enough() {
    // Two allocations of one issuer may be one: they do not add up.
    let mut content = accepting();
    let more = Bond {
        amount: amount("400 USD"),
        ..content.bonds[0].clone()
    };
    content.bonds.push(more);
    assert_eq!(audit(&drawn(), content, |_| {}).0, amount("52.371335 USD"));
    // Another issuer's bond is not this one's.
    let mut content = accepting();
    content.bonds[0].issuer = label("Somebody Else");
    nothing(&drawn(), content, "no bond of Example Issuer");
    // It runs out before the audit is over.
    let mut content = accepting();
    content.bonds[0].expiry = ISSUED_AT + 80_000;
    nothing(
        &drawn(),
        content,
        "no bond of Example Issuer in the Trust file stands until",
    );
    let mut content = accepting();
    content.bonds[0].as_of = ISSUED_AT + 86_400;
    nothing(&drawn(), content, "after this answer was given");
    // The issuer does not choose how long that is: a short window, or none, is no shorter than the Trust file's horizon.
    for window in [None, Some(0), Some(86_400)] {
        let mut statement = planned(TAU);
        statement.optional.plan.as_mut().unwrap().window = window;
        let file = logged(file_of(statement));
        let mut content = accepting();
        // Counted from when witnesses saw it.
        content.bonds[0].expiry = ISSUED_AT + 30 + 7 * 86_400 - 1;
        nothing(
            &file,
            content.clone(),
            "no bond of Example Issuer in the Trust file stands until",
        );
        content.bonds[0].expiry += 1;
        assert!(!audit(&file, content.clone(), |_| {}).0.is_zero());
        content.audits.as_mut().unwrap().horizon_days = Some(8);
        nothing(
            &file,
            content,
            "no bond of Example Issuer in the Trust file stands until",
        );
    }
    // Earnings withheld add to it.
    let mut content = accepting();
    content.bonds[0].withheld = Some(amount("1000 USD"));
    assert_eq!(audit(&drawn(), content, |_| {}).0, amount("104.742670 USD"));
}

/// An issuer that dates its answer back, so that the audit seems to be over when its bond runs out.
#[test]
fn an_earlier_date_does_not_shorten_the_audit() {
    let mut statement = planned(TAU);
    statement.issued_at = ISSUED_AT - 30 * 86_400;
    let backdated = logged(file_of(statement));
    let mut content = accepting();
    content.issuers[0].keys[0].not_before = None;
    content.bonds[0].as_of = ISSUED_AT - 60 * 86_400;
    content.bonds[0].expiry = NOW + 60;
    nothing(
        &backdated,
        content.clone(),
        "no bond of Example Issuer in the Trust file stands until",
    );
    content.bonds[0].expiry = ISSUED_AT + 30 + 7 * 86_400;
    assert_eq!(
        audit(&backdated, content, |_| {}).0,
        amount("52.371335 USD")
    );
}

/// An issuer that waits for the draw and then posts a bond for the wrong answers that nobody will look at.
#[test]
fn a_bond_that_comes_after_the_answer_is_worth_nothing() {
    let bonded = |file: &ReceiptFile, as_of: u64| {
        let mut content = accepting();
        content.bonds[0].as_of = as_of;
        audit(file, content, |_| {})
    };
    assert_eq!(bonded(&drawn(), ISSUED_AT).0, amount("52.371335 USD"));
    // Before the question is asked, and yet too late.
    for late in [1, 60, 3600] {
        let (none, reason) = bonded(&drawn(), ISSUED_AT + late);
        assert!(none.is_zero(), "{none}");
        assert!(reason.contains("after this answer was given"), "{reason}");
    }
    // A later date on the Statement does not help: the witnesses saw it before.
    let mut statement = planned(TAU);
    statement.issued_at = ISSUED_AT + 240;
    let postdated = logged(file_of(statement));
    let (none, reason) = bonded(&postdated, ISSUED_AT + 200);
    assert!(none.is_zero(), "{none}");
    assert!(reason.contains("after this answer was given"), "{reason}");
    // A larger one that came later does not replace the one that stood.
    let mut content = accepting();
    let more = Bond {
        amount: amount("9000 USD"),
        as_of: ISSUED_AT + 60,
        ..content.bonds[0].clone()
    };
    content.bonds.push(more);
    assert_eq!(audit(&drawn(), content, |_| {}).0, amount("52.371335 USD"));
}

#[test]
fn a_certain_audit_is_worth_no_more_than_kappa_times_the_bond() {
    // One bond, many gains: h near 1 would be worth any amount if nothing capped what is open.
    let sure = logged(file_of(planned(u64::MAX)));
    assert_eq!(audit(&sure, accepting(), |_| {}).0, amount("800 USD"));
    // What is open on other receipts of this issuer uses the cap up.
    let open = |open: &str| {
        audit(&sure, accepting(), |question| {
            question.open_exposure = Some(amount(open))
        })
        .0
    };
    assert_eq!(open("300 USD"), amount("500 USD"));
    assert_eq!(open("800 USD"), amount("0 USD"));
    // Where gains can be leveraged, less rides on it.
    let mut content = accepting();
    content.audits.as_mut().unwrap().gamma = "2".parse().unwrap();
    let (leveraged, _) = audit(&sure, content, |question| {
        question.open_exposure = Some(amount("100 USD"))
    });
    assert_eq!(leveraged, amount("300 USD"));
    // Before settlement the software itself is the limit.
    let (settled, _) = audit(&sure, accepting(), |question| {
        question.use_at = UseAt::BeforeSettle
    });
    assert_eq!(settled, amount("100000 USD"));
}

#[test]
fn only_the_audience_has_an_amount_and_only_once() {
    // Shown to somebody else, the same receipt is worth nothing: two relying parties would count one bond twice.
    let mut content = accepting();
    content.audience = Some(label("Other Bank"));
    nothing(
        &drawn(),
        content,
        "the receipt is for Example Bank, you are Other Bank",
    );
    let mut statement = planned(TAU);
    statement.optional.audience = None;
    let open_to_all = logged(file_of(statement));
    let trust = trust_of(accepting());
    let mut question = ask(&trust);
    question.audience = None;
    question.nonce = None;
    let appraisal = run(&open_to_all, &question);
    assert_eq!(set(&appraisal, "audit").amount, Some(amount("0 USD")));
    // And the audience itself does not rest on it twice.
    let (left, reason) = audit(&drawn(), accepting(), |question| {
        question.relied = Some(amount("40 USD"))
    });
    assert_eq!(left, amount("12.371335 USD"));
    assert!(
        reason.contains("40 USD of 52.371335 USD rides on this receipt already"),
        "{reason}"
    );
    let trust = trust_of(accepting());
    let question = Question {
        relied: Some(amount("40 USD")),
        amount: Some(amount("20 USD")),
        ..ask(&trust)
    };
    assert_eq!(run(&drawn(), &question).verdict, Verdict::Insufficient);
}

#[test]
fn amounts_in_another_currency_are_refused() {
    let trust = trust_of(accepting());
    let eur = Some(amount("1 EUR"));
    for question in [
        Question {
            relied: eur,
            ..ask(&trust)
        },
        Question {
            open_exposure: eur,
            ..ask(&trust)
        },
    ] {
        assert!(carat_verify::appraise(&drawn(), &question).is_err());
    }
}

fn replay_by(file: &mut ReceiptFile, key: &SigningKey, name: &str) {
    let body: Replay = replay_body(file, key, name);
    let evidence = Evidence::replay(file.receipt_id(), body, key).unwrap();
    file.add_evidence(evidence).unwrap();
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_secret(&[n; 32])
}

/// Auditors 100, 101, ... of as many controllers, of which the first `agree` replayed.
fn replicated(named: u8, agree: u8, controller: impl Fn(u8) -> String) -> (ReceiptFile, Content) {
    let mut file = file();
    let mut content = accepting();
    content.auditors = (0..named)
        .map(|n| Auditor {
            name: label(&format!("Auditor {n}")),
            key: key(100 + n).public(),
            controller: label(&controller(n)),
            cap: amount("1 USD"),
        })
        .collect();
    content.replication = Some(Replication {
        corrupt: "0.2".parse().unwrap(),
        shared_fault: "0.0001".parse().unwrap(),
        epsilon: amount("1 USD"),
    });
    for n in 0..agree {
        replay_by(&mut file, &key(100 + n), &format!("Auditor {n}"));
    }
    (file, content)
}

#[test]
fn several_replays_are_worth_more_and_choosing_them_is_not() {
    let worth = |named, agree| {
        let (file, content) = replicated(named, agree, |n| format!("Company {n}"));
        let trust = trust_of(content);
        set(&run(&file, &ask(&trust)), "replicas").amount.unwrap()
    };
    // All three of three: 1/(0.008 + 0.0001). Three of ten may be the issuer's three: 1/(120 * 0.008 + 0.0001).
    assert_eq!(worth(3, 3), amount("123.456790 USD"));
    assert_eq!(worth(10, 3), amount("1.041558 USD"));
    assert_eq!(worth(10, 10), amount("9989.770475 USD"));
    assert!(worth(10, 10).micros() > worth(4, 4).micros());
}

/// An issuer that calls itself like an auditor does not make the auditors fewer that it may have chosen from.
#[test]
fn a_borrowed_name_does_not_shrink_the_choice() {
    let (file, content) = replicated(10, 3, |n| format!("Company {n}"));
    let mut statement = file.signed.statement().clone();
    statement.issuer = label("Company 9");
    let mut borrowed = file_of(statement);
    for n in 0..3 {
        replay_by(&mut borrowed, &key(100 + n), &format!("Auditor {n}"));
    }
    let trust = trust_of(content);
    assert_eq!(
        set(&run(&borrowed, &ask(&trust)), "replicas").amount,
        Some(amount("1.041558 USD"))
    );
}

#[test]
fn one_organisation_with_many_keys_is_one_replica() {
    let (file, content) = replicated(3, 3, |_| "One Company".into());
    let trust = trust_of(content);
    // 1/(0.2 + 0.0001).
    assert_eq!(
        set(&run(&file, &ask(&trust)), "replicas").amount,
        Some(amount("4.997501 USD"))
    );
}

#[test]
fn a_contradiction_outweighs_every_agreement() {
    let (mut file, content) = replicated(4, 3, |n| format!("Company {n}"));
    let mut body = replay_body(&file, &key(103), "Auditor 3");
    body.output = carat_receipt::Digest::sha256(b"something else");
    let evidence = Evidence::replay(file.receipt_id(), body, &key(103)).unwrap();
    file.add_evidence(evidence).unwrap();
    let trust = trust_of(content);
    assert_eq!(
        set(&run(&file, &ask(&trust)), "replicas").amount,
        Some(amount("0 USD"))
    );
}

// Composites.

/// A receipt for the composer "Example Issuer", good for 52.37 to it.
fn step(n: u8) -> ReceiptFile {
    let mut statement = planned(TAU);
    statement.random = [n; 16];
    statement.optional.audience = Some(label("Example Composer"));
    logged(file_of(statement))
}

/// By "Example Composer", for "Example Bank", resting on steps with stakes. Worth 52.37 by itself.
fn composite(edges: &[(&ReceiptFile, &str)]) -> ReceiptFile {
    let mut statement = planned(TAU);
    statement.issuer = label("Example Composer");
    statement.issuer_key = key(90).public();
    statement.random = [99; 16];
    statement.optional.relies_on = edges
        .iter()
        .map(|(file, stake)| Reliance {
            receipt: file.receipt_id(),
            stake: amount(stake),
        })
        .collect();
    let mut file = ReceiptFile::new(SignedStatement::sign(statement, &key(90)).unwrap());
    file.program = Some(program().encode());
    logged(file)
}

fn composing() -> Content {
    let mut content = accepting();
    content.issuers.push(Issuer {
        name: label("Example Composer"),
        keys: vec![IssuerKey {
            key: key(90).public(),
            not_before: None,
            not_after: None,
            revoked: None,
        }],
    });
    let bond = Bond {
        issuer: label("Example Composer"),
        ..content.bonds[0].clone()
    };
    content.bonds.push(bond);
    content
}

fn up(file: &ReceiptFile) -> Upstream<'_> {
    Upstream {
        file,
        opening: None,
        own_replay: None,
        open_edges: None,
    }
}

fn composed(file: &ReceiptFile, content: Content, upstream: &[Upstream<'_>]) -> (Amount, String) {
    let trust = trust_of(content);
    let question = Question {
        upstream,
        ..ask(&trust)
    };
    let appraisal = carat_verify::appraise(file, &question).unwrap();
    let set = set(&appraisal, "audit");
    (set.amount.unwrap(), set.reason.clone())
}

#[test]
fn a_composite_is_worth_its_weakest_edge() {
    let (a, b) = (step(1), step(2));
    let file = composite(&[(&a, "30 USD"), (&b, "20 USD")]);
    let (worth, reason) = composed(&file, composing(), &[up(&a), up(&b)]);
    assert_eq!(worth, amount("20 USD"), "{reason}");
    // A stake above what the composite itself is worth changes nothing.
    let file = composite(&[(&a, "52.371335 USD")]);
    assert_eq!(
        composed(&file, composing(), &[up(&a)]).0,
        amount("52.371335 USD")
    );
}

/// What is open against the issuer of a step uses up that issuer's bond, not the composer's.
#[test]
fn exposure_to_the_issuer_of_a_step_counts_against_the_step() {
    let step = step(1);
    let file = composite(&[(&step, "40 USD")]);
    let upstream = [up(&step)];
    let with = |open: &[(carat_receipt::Label, Amount)], plain: Option<Amount>| {
        let trust = trust_of(composing());
        let question = Question {
            upstream: &upstream,
            open_exposures: open,
            open_exposure: plain,
            ..ask(&trust)
        };
        carat_verify::appraise(&file, &question)
            .map(|appraisal| set(&appraisal, "audit").amount.unwrap())
    };
    let open = |name: &str, text: &str| (label(name), amount(text));
    assert_eq!(with(&[], None), Ok(amount("40 USD")));
    // kappa S is 800: 755 open leaves 45, which the stake of 40 fits; 765 leaves 35, which it does not.
    assert_eq!(
        with(&[open("Example Issuer", "755 USD")], None),
        Ok(amount("40 USD"))
    );
    assert_eq!(
        with(&[open("Example Issuer", "765 USD")], None),
        Ok(amount("0 USD"))
    );
    // They add up, and do not touch the composer's own bond.
    let twice = [
        open("Example Issuer", "755 USD"),
        open("Example Issuer", "10 USD"),
    ];
    assert_eq!(with(&twice, None), Ok(amount("0 USD")));
    let composer = [open("Example Composer", "700 USD")];
    assert_eq!(with(&composer, None), Ok(amount("40 USD")));
    assert_eq!(
        with(&composer, Some(amount("70 USD"))),
        Ok(amount("30 USD"))
    );
    assert!(matches!(
        with(&[open("Example Isuer", "1 USD")], None),
        Err(carat_verify::QuestionError::Issuer(_))
    ));
    assert!(with(&[open("Example Issuer", "1 EUR")], None).is_err());
}

#[test]
fn the_stakes_on_a_step_have_to_fit_it() {
    let a = step(1);
    // More than the step is worth.
    let greedy = composite(&[(&a, "60 USD")]);
    let (worth, reason) = composed(&greedy, composing(), &[up(&a)]);
    assert!(
        worth.is_zero() && reason.contains("more than it is good for"),
        "{reason}"
    );
    // Twice within one pipeline: A directly, and A again through B. 30 + 30 does not fit 52.37.
    let mut middle = planned(TAU);
    middle.random = [50; 16];
    middle.issuer = label("Example Composer");
    middle.issuer_key = key(90).public();
    middle.optional.audience = Some(label("Example Composer"));
    middle.optional.relies_on = vec![Reliance {
        receipt: a.receipt_id(),
        stake: amount("30 USD"),
    }];
    let mut b = ReceiptFile::new(SignedStatement::sign(middle, &key(90)).unwrap());
    b.program = Some(program().encode());
    let b = logged(b);
    let laundered = composite(&[(&a, "30 USD"), (&b, "30 USD")]);
    let (worth, reason) = composed(&laundered, composing(), &[up(&a), up(&b)]);
    assert!(worth.is_zero(), "{worth}: {reason}");
    let honest = composite(&[(&a, "20 USD"), (&b, "30 USD")]);
    assert_eq!(
        composed(&honest, composing(), &[up(&a), up(&b)]).0,
        amount("20 USD")
    );
    // Edges of composites that the relying party knows of besides.
    let file = composite(&[(&a, "20 USD")]);
    let known = Upstream {
        open_edges: Some(amount("32.4 USD")),
        ..up(&a)
    };
    assert!(composed(&file, composing(), &[known]).0.is_zero());
    let known = Upstream {
        open_edges: Some(amount("32 USD")),
        ..up(&a)
    };
    assert_eq!(composed(&file, composing(), &[known]).0, amount("20 USD"));
}

#[test]
fn a_step_that_is_missing_foreign_or_worthless_takes_everything() {
    let a = step(1);
    let file = composite(&[(&a, "20 USD")]);
    let zero = |content: Content, upstream: &[Upstream<'_>], why: &str| {
        let (worth, reason) = composed(&file, content, upstream);
        assert!(worth.is_zero() && reason.contains(why), "{worth}: {reason}");
    };
    zero(composing(), &[], "which was not given");
    zero(composing(), &[up(&step(2))], "which was not given");
    // The composer is unknown.
    let mut content = composing();
    content.issuers.pop();
    zero(
        content,
        &[up(&a)],
        "its own issuer is not in the Trust file",
    );
    // The step was made for somebody else: that somebody sums its own reliance on it.
    let mut statement = planned(TAU);
    statement.optional.audience = Some(label("Example Bank"));
    let foreign = logged(file_of(statement));
    let file = composite(&[(&foreign, "20 USD")]);
    let (worth, reason) = composed(&file, composing(), &[up(&foreign)]);
    assert!(
        worth.is_zero() && reason.contains("good for nothing"),
        "{reason}"
    );
    // In another currency.
    let file = composite(&[(&a, "20 EUR")]);
    assert!(
        composed(&file, composing(), &[up(&a)])
            .1
            .contains("is in EUR")
    );
    // Altered.
    let mut broken = a.clone();
    broken.program = Some(vec![0]);
    let file = composite(&[(&a, "20 USD")]);
    assert!(
        composed(&file, composing(), &[up(&broken)])
            .1
            .contains("invalid")
    );
}

#[test]
fn long_chains_end() {
    // Thirty receipts, each resting on all before it: a naive walk would make 2^29 appraisals.
    let mut files: Vec<ReceiptFile> = vec![step(0)];
    for n in 1..30_u8 {
        let mut statement = planned(TAU);
        statement.random = [n; 16];
        statement.issuer = label("Example Composer");
        statement.issuer_key = key(90).public();
        statement.optional.audience = Some(label("Example Composer"));
        statement.optional.relies_on = files
            .iter()
            .map(|file| Reliance {
                receipt: file.receipt_id(),
                stake: amount("0.01 USD"),
            })
            .collect();
        let mut file = ReceiptFile::new(SignedStatement::sign(statement, &key(90)).unwrap());
        file.program = Some(program().encode());
        files.push(logged(file));
    }
    let upstream: Vec<Upstream<'_>> = files.iter().map(up).collect();
    let trust = trust_of(composing());
    let question = Question {
        upstream: &upstream,
        ..ask(&trust)
    };
    let appraisal = carat_verify::appraise(files.last().unwrap(), &question).unwrap();
    assert_eq!(set(&appraisal, "audit").amount, Some(amount("0 USD")));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// The appraisal is the rule, and more of anything that deters never lowers it.
    #[test]
    fn the_appraisal_is_the_rule(tau in 1..u64::MAX, bond in 0..1_000_000_000_u64, open in 0..100_000_000_u64, wait: bool) {
        let file = logged(file_of(planned(tau)));
        let content = |bond| {
            let mut content = accepting();
            content.bonds[0].amount = Amount::from_micros(bond, "USD".parse().unwrap());
            content
        };
        let worth = |bond| audit(&file, content(bond), |question| {
            question.use_at = if wait { UseAt::BeforeSettle } else { UseAt::AfterUse };
            question.open_exposure = Some(Amount::from_micros(open, "USD".parse().unwrap()));
        }).0.micros();
        let hazard = Detection::PERFECT.hazard(carat_policy::Tau(tau));
        let gamma = "1".parse().unwrap();
        let rule = if wait {
            good_for::audit_clawback(hazard, Micros(bond), gamma)
        } else {
            good_for::audit_no_clawback(hazard, Micros(bond), "0.8".parse().unwrap(), gamma, Micros(open))
        };
        prop_assert_eq!(worth(bond), rule.0.min(100_000_000_000));
        prop_assert!(worth(bond * 2) >= worth(bond));
    }
}

#[test]
fn the_trust_file_is_where_the_parameters_come_from() {
    // The same receipt under two Trust files: only the relying party's own words change the amount.
    let trust = trust_of(accepting());
    let text = trust.render();
    for line in ["[audits]", "kappa = \"0.8\"", "clawback = true"] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(Trust::parse(&text).unwrap(), trust);
    // Numbers are read as decimals, exactly.
    let unsigned = text
        .split("\n[signature]")
        .next()
        .unwrap()
        .replace("kappa = \"0.8\"", "kappa = 0.8");
    assert_eq!(Trust::parse(&unsigned).unwrap().digest(), trust.digest());
    for bad in [
        "kappa = \"1\"",
        "kappa = 0",
        "kappa = \"1.5\"",
        "kappa = \"x\"",
    ] {
        assert!(
            Trust::parse(&text.replace("kappa = \"0.8\"", bad)).is_err(),
            "{bad}"
        );
    }
}
