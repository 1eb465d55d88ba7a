//! What a receipt is good for, case by case.

mod common;

use carat_receipt::statement::Reliance;
use carat_receipt::{Digest, Execution, ReceiptFile, Salt};
use carat_verify::trust::{Issuer, IssuerKey, Revocation};
use carat_verify::{
    Appraisal, Outcome, Question, QuestionError, Remembered, Trust, Verdict, appraise,
    appraise_bytes,
};
use common::*;

fn outcome(appraisal: &Appraisal, name: &str) -> Outcome {
    appraisal
        .check(name)
        .unwrap_or_else(|| panic!("no check {name}: {:#?}", appraisal.checks))
        .outcome
}

fn reason<'a>(appraisal: &'a Appraisal, name: &str) -> &'a str {
    &appraisal.check(name).unwrap().reason
}

#[test]
fn without_a_trust_file_nothing_vouches() {
    let appraisal = run(
        &file(),
        &Question {
            now: NOW,
            ..Question::default()
        },
    );
    assert_eq!(appraisal.verdict, Verdict::Insufficient);
    assert_eq!(appraisal.exit_code, 4);
    assert!(
        appraisal
            .reason
            .contains(&issuer_key().public().to_string())
    );
    assert!(appraisal.reason.contains("nothing vouches"));
    assert_eq!(appraisal.best, None);
    assert_eq!(outcome(&appraisal, "signature"), Outcome::Pass);
    assert_eq!(outcome(&appraisal, "issuer"), Outcome::NotMade);
    assert!(appraisal.trust.is_none());
}

#[test]
fn a_signature_alone_is_good_for_nothing() {
    let trust = trust();
    let appraisal = run(&file(), &ask(&trust));
    assert_eq!(appraisal.verdict, Verdict::Insufficient);
    assert_eq!(appraisal.best, Some(amount("0USD")));
    assert_eq!(
        set_amount(&appraisal, "signature").as_deref(),
        Some("0 USD")
    );
    assert!(appraisal.good_for[0].reason.contains("signature alone"));
    assert_eq!(appraisal.trust.as_ref().unwrap().digest, trust.digest());
    for name in [
        "encoding",
        "signature",
        "program",
        "time",
        "execution",
        "relies_on",
        "trust_file",
        "trust_signature",
        "trust_fresh",
        "issuer",
        "issuer_key",
        "issuer_revocation",
        "model_accepted",
        "nonce",
        "audience",
        "question_matched",
    ] {
        assert_eq!(outcome(&appraisal, name), Outcome::Pass, "{name}");
    }
    for name in [
        "trust_version",
        "log_promise",
        "log_inclusion",
        "log_witnesses",
        "log_consistency",
        "opening",
        "input",
        "own_replay",
    ] {
        assert_eq!(outcome(&appraisal, name), Outcome::NotMade, "{name}");
    }
    assert!(
        appraisal
            .enough
            .iter()
            .any(|line| line.contains("--replay") && line.contains("1000 USD"))
    );
    assert!(
        appraisal
            .enough
            .iter()
            .any(|line| line.contains("Example Auditor") && line.contains("500 USD"))
    );
    // Zero is not "good for zero".
    let zero = run(
        &file(),
        &Question {
            amount: Some(amount("0USD")),
            ..ask(&trust)
        },
    );
    assert_eq!(zero.verdict, Verdict::Insufficient);
}

#[test]
fn first_hand_replay() {
    let (trust, file) = (trust(), file());
    let (opening, input, output) = (opening(&file), input(), output());
    let question = Question {
        nonce: None,
        opening: Some(&opening),
        own_replay: Some(own(&input, &output)),
        ..ask(&trust)
    };
    let appraisal = run(&file, &question);
    assert_eq!(appraisal.verdict, Verdict::Good, "{appraisal:#?}");
    assert_eq!(
        set_amount(&appraisal, "first-hand").as_deref(),
        Some("1000 USD")
    );
    assert_eq!(
        appraisal.good_for[1].under,
        ["own-machine", "implementation", "input:own"]
    );
    assert!(appraisal.weakest_step.contains("implementation"));
    assert!(appraisal.enough.is_empty());

    let enough = run(
        &file,
        &Question {
            amount: Some(amount("1000USD")),
            ..question
        },
    );
    assert_eq!(enough.exit_code, 0);
    let more = run(
        &file,
        &Question {
            amount: Some(amount("1000.000001USD")),
            ..question
        },
    );
    assert_eq!(more.exit_code, 4);
    assert!(more.reason.contains("1000 USD"));

    // It rests on nobody's key: a stale Trust file, an unknown issuer and an unlisted model change nothing.
    let stale = run(
        &file,
        &Question {
            now: NOW + 400 * 86_400,
            ..question
        },
    );
    assert_eq!(stale.verdict, Verdict::Good);
    assert_eq!(outcome(&stale, "trust_fresh"), Outcome::Fail);
    let mut bare = content();
    (bare.issuers, bare.models) = (vec![], vec![]);
    let bare = trust_of(bare);
    let bare = run(
        &file,
        &Question {
            trust: Some(&bare),
            ..question
        },
    );
    assert_eq!(set_amount(&bare, "first-hand").as_deref(), Some("1000 USD"));

    // Without a cap, without a Trust file: matched, and good for nothing.
    let mut uncapped = content();
    uncapped.implementation_cap = None;
    let uncapped = trust_of(uncapped);
    let uncapped = run(
        &file,
        &Question {
            trust: Some(&uncapped),
            ..question
        },
    );
    assert_eq!(
        set_amount(&uncapped, "first-hand").as_deref(),
        Some("0 USD")
    );
    let untrusted = run(
        &file,
        &Question {
            trust: None,
            ..question
        },
    );
    assert_eq!(untrusted.exit_code, 4);
    assert_eq!(outcome(&untrusted, "own_replay"), Outcome::Pass);
    assert_eq!(untrusted.best, None);
}

#[test]
fn first_hand_replay_that_does_not_match() {
    let (trust, file) = (trust(), file());
    let (opening, input, output) = (opening(&file), input(), output());
    let other = tensor([0; 4]);
    let question = |input, output| Question {
        nonce: None,
        opening: Some(&opening),
        own_replay: Some(own(input, output)),
        ..ask(&trust)
    };
    let wrong_output = run(&file, &question(&input, &other));
    assert_eq!(wrong_output.exit_code, 1);
    assert!(reason(&wrong_output, "own_replay").contains("another output"));
    let wrong_input = run(&file, &question(&other, &output));
    assert_eq!(wrong_input.exit_code, 1);
    let mut wrong_program = question(&input, &output);
    wrong_program.own_replay.as_mut().unwrap().program = Digest::sha256(b"other");
    let wrong_program = run(&file, &wrong_program);
    assert_eq!(wrong_program.exit_code, 1);
    assert_eq!(outcome(&wrong_program, "model_accepted"), Outcome::Fail);
    let closed = run(
        &file,
        &Question {
            opening: None,
            ..question(&input, &output)
        },
    );
    assert_eq!(closed.exit_code, 4);
    assert_eq!(outcome(&closed, "own_replay"), Outcome::NotMade);
    assert_eq!(set_amount(&closed, "first-hand").as_deref(), Some("0 USD"));
}

#[test]
fn replay_by_an_auditor() {
    let trust = trust();
    let appraisal = run(&audited(file()), &ask(&trust));
    assert_eq!(appraisal.verdict, Verdict::Good, "{appraisal:#?}");
    assert_eq!(set_amount(&appraisal, "replay").as_deref(), Some("500 USD"));
    let set = appraisal
        .good_for
        .iter()
        .find(|set| set.rung == "replay")
        .unwrap();
    assert_eq!(
        set.under,
        ["honest:Example Auditor", "implementation", "input:issuer"]
    );

    // With the input opened, the input is the relying party's own.
    let file = audited(file());
    let (opening, input) = (opening(&file), input());
    let opened = run(
        &file,
        &Question {
            nonce: None,
            opening: Some(&opening),
            input: Some(&input),
            ..ask(&trust)
        },
    );
    let set = opened
        .good_for
        .iter()
        .find(|set| set.rung == "replay")
        .unwrap();
    assert_eq!(set.under[2], "input:own");
    assert_eq!(set.amount, Some(amount("500USD")));

    // The cap for `implementation` bounds every set that assumes it.
    let mut low = content();
    low.implementation_cap = Some(amount("100 USD"));
    let low = trust_of(low);
    assert_eq!(
        set_amount(&run(&file, &ask(&low)), "replay").as_deref(),
        Some("100 USD")
    );

    // Two replays by one auditor count once.
    let mut twice = file.clone();
    let mut body = replay_body(&twice, &auditor_key(), "Example Auditor");
    body.replayed_at += 1;
    add_replay(&mut twice, body, &auditor_key());
    let twice = run(&twice, &ask(&trust));
    assert_eq!(
        twice
            .good_for
            .iter()
            .filter(|set| set.rung == "replay")
            .count(),
        1
    );
}

/// Each row takes away one thing that a replay by an auditor needs.
#[test]
fn replay_needs_everything() {
    let trust = trust();
    let zero = |name: &str, appraisal: Appraisal| {
        assert_ne!(appraisal.verdict, Verdict::Good, "{name}");
        assert!(
            set_amount(&appraisal, "replay").is_none_or(|amount| amount == "0 USD"),
            "{name}: {appraisal:#?}"
        );
    };
    let file = audited(file());
    zero(
        "no nonce and no input",
        run(
            &file,
            &Question {
                nonce: None,
                ..ask(&trust)
            },
        ),
    );
    zero(
        "stale trust",
        run(
            &file,
            &Question {
                now: NOW + 90 * 86_400,
                ..ask(&trust)
            },
        ),
    );
    zero(
        "trust from the future",
        run(
            &file,
            &Question {
                now: ISSUED_AT - 2 * 86_400,
                ..ask(&trust)
            },
        ),
    );
    zero(
        "receipt from the future",
        run(
            &file,
            &Question {
                now: ISSUED_AT - 3600,
                ..ask(&trust)
            },
        ),
    );
    let with = |change: fn(&mut carat_verify::trust::Content)| {
        let mut content = content();
        change(&mut content);
        trust_of(content)
    };
    zero(
        "model not accepted",
        run(&file, &ask(&with(|content| content.models.clear()))),
    );
    zero(
        "no audience",
        run(&file, &ask(&with(|content| content.audience = None))),
    );
    zero(
        "another audience",
        run(
            &file,
            &ask(&with(|content| {
                content.audience = Some(label("Other Bank"))
            })),
        ),
    );
    zero(
        "auditor not named",
        run(&file, &ask(&with(|content| content.auditors.clear()))),
    );
    zero(
        "no cap",
        run(
            &file,
            &ask(&with(|content| content.implementation_cap = None)),
        ),
    );
    zero(
        "auditor run by the issuer",
        run(
            &file,
            &ask(&with(|content| {
                content.auditors[0].controller = label("Example Issuer")
            })),
        ),
    );
    // The same where the Trust file knows the issuer under another name than it gives itself.
    zero(
        "auditor run by the issuer under its name in the Trust file",
        run(
            &file,
            &ask(&with(|content| {
                content.issuers[0].name = label("Issuer Holdings");
                content.auditors[0].controller = label("Issuer Holdings");
            })),
        ),
    );
    zero(
        "revised",
        run(&file, &ask(&with(|content| content.as_of = NOW + 301))),
    );

    let mut statement = statement();
    statement.optional.audience = None;
    zero(
        "receipt for nobody",
        run(&audited(file_of(statement.clone())), &ask(&trust)),
    );
    statement.optional.audience = Some(label("Example Bank"));
    statement.execution = Execution::Courier {
        upstream: label("up.example"),
    };
    let courier = run(&audited(file_of(statement.clone())), &ask(&trust));
    assert_eq!(courier.good_for[0].rung, "courier");
    zero("courier", courier);
    statement.execution = Execution::Local;
    statement.optional.relies_on.push(Reliance {
        receipt: Digest::sha256(b"up"),
        stake: amount("1USD"),
    });
    let composite = run(&audited(file_of(statement)), &ask(&trust));
    assert!(
        composite
            .weakest_step
            .contains(&Digest::sha256(b"up").to_string())
    );
    zero("composite", composite);
}

/// A replay that is signed, but not by somebody who counts, or not about this run.
#[test]
fn replays_that_do_not_count() {
    let trust = trust();
    let with = |key: &carat_receipt::SigningKey,
                change: fn(&mut carat_receipt::evidence::Replay)|
     -> ReceiptFile {
        let mut file = file();
        let mut body = replay_body(&file, key, "Example Auditor");
        change(&mut body);
        add_replay(&mut file, body, key);
        file
    };
    let cases: [(&str, ReceiptFile, Outcome); 7] = [
        (
            "the issuer's own key",
            with(&issuer_key(), |_| {}),
            Outcome::Pass,
        ),
        (
            "a stranger under the auditor's name",
            with(&stranger_key(), |_| {}),
            Outcome::Pass,
        ),
        (
            "another program",
            with(&auditor_key(), |body| body.program = Digest::sha256(b"x")),
            Outcome::Fail,
        ),
        (
            "another engine",
            with(&auditor_key(), |body| body.engine.semantics = 2),
            Outcome::Fail,
        ),
        (
            "another output",
            with(&auditor_key(), |body| body.output = Digest::sha256(b"x")),
            Outcome::Fail,
        ),
        (
            "before the receipt",
            with(&auditor_key(), |body| body.replayed_at = 0),
            Outcome::Fail,
        ),
        (
            "in the future",
            with(&auditor_key(), |body| body.replayed_at = u64::MAX),
            Outcome::Fail,
        ),
    ];
    for (name, file, expected) in cases {
        let appraisal = run(&file, &ask(&trust));
        assert_eq!(outcome(&appraisal, "evidence.0.replay"), expected, "{name}");
        assert_eq!(appraisal.verdict, Verdict::Insufficient, "{name}");
        assert_eq!(set_amount(&appraisal, "replay"), None, "{name}");
    }

    // Another key of the issuer's organisation is the issuer.
    let mut content = content();
    content.issuers[0].keys.push(IssuerKey {
        key: stranger_key().public(),
        not_before: None,
        not_after: None,
        revoked: None,
    });
    let content = trust_of(content);
    let appraisal = run(&with(&stranger_key(), |_| {}), &ask(&content));
    assert!(reason(&appraisal, "evidence.0.replay").contains("issuer ran its own program"));
}

#[test]
fn a_trusted_contradiction_outweighs_agreement() {
    let mut content = content();
    let second = carat_receipt::SigningKey::from_secret(&[9; 32]);
    let mut other = content.auditors[0].clone();
    (other.name, other.key) = (label("Second Auditor"), second.public());
    content.auditors.push(other);
    let trust = trust_of(content);

    let contradicted_by = |key: &carat_receipt::SigningKey, traced: bool| {
        let mut file = audited(file());
        let mut body = replay_body(&file, key, "Somebody");
        if traced {
            body.trace_root = Some(Digest::sha256(b"t"));
        } else {
            body.output = Digest::sha256(b"x");
        }
        add_replay(&mut file, body, key);
        run(&file, &ask(&trust))
    };
    let trusted = contradicted_by(&second, false);
    assert_eq!(set_amount(&trusted, "replay").as_deref(), Some("0 USD"));
    assert!(
        trusted
            .good_for
            .iter()
            .any(|set| set.reason.contains("got something else"))
    );
    // A stranger's contradiction is shown and costs nothing: otherwise anybody could void a receipt.
    let stranger = contradicted_by(&stranger_key(), false);
    assert_eq!(set_amount(&stranger, "replay").as_deref(), Some("500 USD"));
    assert_eq!(outcome(&stranger, "evidence.1.replay"), Outcome::Fail);
    // A trace root where the Statement has none contradicts nothing.
    assert_eq!(
        set_amount(&contradicted_by(&second, true), "replay").as_deref(),
        Some("500 USD")
    );
}

#[test]
fn a_trust_file_that_may_not_be_used() {
    let file = audited(file());
    let (opening, input, output) = (opening(&file), input(), output());
    let zero = |name: &str, trust: &Trust, change: fn(&mut Question<'_>)| {
        let mut question = Question {
            opening: Some(&opening),
            own_replay: Some(own(&input, &output)),
            ..ask(trust)
        };
        change(&mut question);
        let appraisal = run(&file, &question);
        assert_eq!(appraisal.exit_code, 4, "{name}");
        assert_eq!(appraisal.best, None, "{name}");
    };
    let unsigned = Trust::new(content()).unwrap();
    zero("unsigned", &unsigned, |_| {});
    let broken = trust().render().replace("1000 USD", "9000 USD");
    zero(
        "changed after signing",
        &Trust::parse(&broken).unwrap(),
        |_| {},
    );
    zero("another owner", &trust(), |question| {
        question.trust_owner = Some(stranger_key().public())
    });
    zero("rolled back", &trust(), |question| {
        question.remembered.trust_version = Some(2)
    });
    let good = run(
        &file,
        &Question {
            trust_owner: Some(owner_key().public()),
            ..ask(&trust())
        },
    );
    assert_eq!(good.verdict, Verdict::Good);
}

#[test]
fn answers_to_other_questions() {
    let trust = trust();
    let (file, bank, other) = (audited(file()), label("Example Bank"), label("Other Bank"));
    let invalid = |question: &Question<'_>, check: &str| {
        let appraisal = run(&file, question);
        assert_eq!(appraisal.exit_code, 1, "{check}");
        assert_eq!(outcome(&appraisal, check), Outcome::Fail);
    };
    invalid(
        &Question {
            nonce: Some(&[0; 16]),
            ..ask(&trust)
        },
        "nonce",
    );
    invalid(
        &Question {
            nonce: Some(b""),
            ..ask(&trust)
        },
        "nonce",
    );
    invalid(
        &Question {
            audience: Some(&other),
            ..ask(&trust)
        },
        "audience",
    );
    invalid(
        &Question {
            model: Some(Digest::sha256(b"x")),
            ..ask(&trust)
        },
        "model_accepted",
    );
    let mut strange = opening(&file);
    strange.receipt_id = Digest::sha256(b"x");
    invalid(
        &Question {
            opening: Some(&strange),
            ..ask(&trust)
        },
        "opening",
    );
    let mut salted = opening(&file);
    salted.output.salt = Salt::from_bytes([0; 32]);
    invalid(
        &Question {
            opening: Some(&salted),
            ..ask(&trust)
        },
        "opening",
    );
    let (opening, input) = (opening(&file), tensor([9; 4]));
    invalid(
        &Question {
            opening: Some(&opening),
            input: Some(&input),
            ..ask(&trust)
        },
        "input",
    );
    let fine = Question {
        audience: Some(&bank),
        model: Some(program().digest()),
        opening: Some(&opening),
        ..ask(&trust)
    };
    assert_eq!(run(&file, &fine).verdict, Verdict::Good);
    // Naming the model oneself makes up for a Trust file that does not.
    let mut content = content();
    content.models.clear();
    let content = trust_of(content);
    assert_eq!(
        run(
            &file,
            &Question {
                trust: Some(&content),
                ..fine
            }
        )
        .verdict,
        Verdict::Good
    );
}

#[test]
fn currencies_do_not_mix() {
    let trust = trust();
    let error = appraise(
        &file(),
        &Question {
            amount: Some(amount("5EUR")),
            ..ask(&trust)
        },
    )
    .unwrap_err();
    assert!(matches!(error, QuestionError::Currency { .. }));
}

#[test]
fn bytes_that_are_no_receipt() {
    for bytes in [&b""[..], b"{}", &[0xd2], &[0x81; 100_000]] {
        let appraisal = appraise_bytes(bytes, &Question::default()).unwrap();
        assert_eq!(appraisal.exit_code, 1);
        assert_eq!(outcome(&appraisal, "encoding"), Outcome::Fail);
    }
}

#[test]
fn a_program_that_is_not_the_one_named() {
    let trust = trust();
    let mut other = program();
    other.outputs[0].name = "z".into();
    let mut file = audited(file());
    file.program = Some(other.encode());
    let swapped = run(&file, &ask(&trust));
    assert_eq!(swapped.exit_code, 1);
    assert!(reason(&swapped, "program").contains(&other.digest().to_string()));
    file.program = Some(vec![0xff]);
    assert_eq!(run(&file, &ask(&trust)).exit_code, 1);
    file.program = None;
    let without = run(&file, &ask(&trust));
    assert_eq!(outcome(&without, "program"), Outcome::NotMade);
}

/// The profile is part of the Program and of the Statement; a receipt in which they differ is about nothing.
#[test]
fn numerics_that_are_not_the_programs() {
    use carat_program::pinned::{PinnedBody, PinnedOutput, PinnedProgram};
    let trust = trust();
    let profile = "tract/0.23.9/x86-64-v3";
    let pinned = PinnedProgram {
        profile: profile.into(),
        body: PinnedBody {
            source: carat_receipt::Digest::sha256(b"a model"),
            inputs: vec![],
            bound: vec![],
            outputs: vec![PinnedOutput {
                name: "y".into(),
                dtype: carat_program::Dtype::F32,
                dims: None,
                labels: vec![],
            }],
        },
    };
    for (numerics, program, digest, good) in [
        ("integer/v1", program().encode(), program().digest(), true),
        (profile, program().encode(), program().digest(), false),
        (profile, pinned.encode(), pinned.digest(), true),
        ("integer/v1", pinned.encode(), pinned.digest(), false),
        (
            "tract/0.23.8/x86-64-v3",
            pinned.encode(),
            pinned.digest(),
            false,
        ),
    ] {
        let mut said = statement();
        said.engine.numerics = label(numerics);
        said.program = digest;
        let mut file = file_of(said);
        file.program = Some(program);
        let appraisal = run(&file, &ask(&trust));
        let expected = if good { Outcome::Pass } else { Outcome::Fail };
        assert_eq!(outcome(&appraisal, "program"), expected, "{numerics}");
        assert_eq!(appraisal.exit_code == 1, !good, "{numerics}");
        let tested = |text: &String| text.contains("the same bits under");
        assert_eq!(
            appraisal.not_proven.iter().any(tested),
            numerics != "integer/v1"
        );
    }
}

#[test]
fn the_log() {
    let trust = trust();
    let file = logged(audited(file()));
    let appraisal = run(&file, &ask(&trust));
    for name in ["log_promise", "log_inclusion", "log_witnesses"] {
        assert_eq!(
            outcome(&appraisal, name),
            Outcome::Pass,
            "{name}: {}",
            reason(&appraisal, name)
        );
    }
    assert!(reason(&appraisal, "log_promise").contains("ask for the proof"));
    assert_eq!(outcome(&appraisal, "log_consistency"), Outcome::NotMade);

    // A log that is not in the Trust file: not verified, but still about this receipt.
    let mut content = content();
    (content.logs, content.witnesses, content.witness_quorum) = (vec![], vec![], 0);
    let unknown = trust_of(content);
    let appraisal = run(&file, &ask(&unknown));
    assert_eq!(outcome(&appraisal, "log_inclusion"), Outcome::NotMade);
    let mut other = file.clone();
    other.log.as_mut().unwrap().blind = Salt::from_bytes([0; 32]);
    for trust in [&trust, &unknown] {
        assert_eq!(run(&other, &ask(trust)).exit_code, 1);
    }
    let mut foreign = common::logged(common::file_of({
        let mut statement = common::statement();
        statement.random = [0; 16];
        statement
    }));
    std::mem::swap(&mut foreign.log, &mut other.log);
    assert_eq!(run(&foreign, &ask(&trust)).exit_code, 1);

    // Without enough witnesses, or with a witness that the log's operator runs.
    let with = |change: fn(&mut carat_verify::trust::Content)| {
        let mut content = common::content();
        change(&mut content);
        let trust = trust_of(content);
        outcome(&run(&file, &ask(&trust)), "log_witnesses")
    };
    assert_eq!(
        with(|content| content.witnesses[0].controller = label("Log Operator")),
        Outcome::Fail
    );
    assert_eq!(with(|content| content.witness_quorum = 0), Outcome::Pass);
}

#[test]
fn the_remembered_checkpoint() {
    use carat_log::MemoryTree;
    let trust = trust();
    let file = logged(file());
    let blind = Salt::from_bytes([0x44; 32]);
    let leaf = carat_receipt::leaf(&blind, &file.receipt_id(), None);
    let honest = MemoryTree::from_leaves([b"a".as_slice(), b"b", &leaf, b"c", b"d", b"e"]);
    let forked = MemoryTree::from_leaves([b"a".as_slice(), b"x", &leaf, b"c", b"d", b"e"]);
    let checkpoint = |tree: &MemoryTree, size| {
        carat_log::Checkpoint::new(ORIGIN, size, tree.root(size).unwrap()).unwrap()
    };
    let with = |old: &carat_log::Checkpoint, proof: Option<&carat_log::ConsistencyProof>| {
        let remembered = Remembered {
            checkpoint: Some(old),
            consistency: proof,
            ..Remembered::default()
        };
        let appraisal = run(
            &file,
            &Question {
                remembered,
                ..ask(&trust)
            },
        );
        (outcome(&appraisal, "log_consistency"), appraisal.exit_code)
    };
    assert_eq!(with(&checkpoint(&honest, 5), None), (Outcome::Pass, 4));
    assert_eq!(with(&checkpoint(&forked, 5), None), (Outcome::Fail, 1));
    assert_eq!(with(&checkpoint(&honest, 3), None), (Outcome::NotMade, 4));
    let proof = honest.prove_consistency(3, 5).unwrap();
    assert_eq!(
        with(&checkpoint(&honest, 3), Some(&proof)),
        (Outcome::Pass, 4)
    );
    assert_eq!(
        with(&checkpoint(&forked, 3), Some(&proof)),
        (Outcome::Fail, 1)
    );
    // The receipt's checkpoint may be the older one.
    let proof = honest.prove_consistency(5, 6).unwrap();
    assert_eq!(
        with(&checkpoint(&honest, 6), Some(&proof)),
        (Outcome::Pass, 4)
    );
    assert_eq!(
        with(&checkpoint(&forked, 6), Some(&proof)),
        (Outcome::Fail, 1)
    );
}

#[test]
fn revoked_keys_backdate() {
    let revoked_from = |from_index: u64| {
        let mut content = content();
        content.issuers[0].keys[0].revoked = Some(Revocation {
            log: label(ORIGIN),
            from_index,
        });
        trust_of(content)
    };
    let check = |file: &ReceiptFile, from| {
        outcome(&run(file, &ask(&revoked_from(from))), "issuer_revocation")
    };
    assert_eq!(check(&logged(file()), LEAF_INDEX + 1), Outcome::Pass);
    assert_eq!(check(&logged(file()), LEAF_INDEX), Outcome::Fail);
    // Not logged: a thief could have dated it back.
    assert_eq!(check(&file(), u64::MAX / 4), Outcome::Fail);
    // In a checkpoint that no witness saw, the log could have made room for it afterwards.
    let mut content = common::content();
    content.issuers[0].keys[0].revoked = Some(Revocation {
        log: label(ORIGIN),
        from_index: LEAF_INDEX + 1,
    });
    content.witnesses[0].key = carat_log::NoteSigner::new("other.example", &[78; 32])
        .unwrap()
        .verifier()
        .with_kind(carat_log::KeyKind::CosignatureV1);
    let unwitnessed = trust_of(content);
    assert_eq!(
        outcome(
            &run(&logged(file()), &ask(&unwitnessed)),
            "issuer_revocation"
        ),
        Outcome::Fail
    );
    // Logged by somebody who is not the named log.
    let mut content = common::content();
    content.issuers[0].keys[0].revoked = Some(Revocation {
        log: label(ORIGIN),
        from_index: 9,
    });
    content.logs[0].key = carat_log::NoteSigner::new(ORIGIN, &[77; 32])
        .unwrap()
        .verifier();
    let other_key = trust_of(content);
    let appraisal = run(&logged(file()), &ask(&other_key));
    assert_eq!(appraisal.exit_code, 1);
    assert_eq!(outcome(&appraisal, "issuer_revocation"), Outcome::Fail);
}

#[test]
fn issuers_and_their_keys() {
    let with = |change: fn(&mut carat_verify::trust::Content), check: &str| {
        let mut content = content();
        change(&mut content);
        let trust = trust_of(content);
        outcome(&run(&file(), &ask(&trust)), check)
    };
    assert_eq!(
        with(|content| content.issuers.clear(), "issuer"),
        Outcome::Fail
    );
    assert_eq!(
        with(
            |content| content.issuers[0].keys[0].not_after = Some(ISSUED_AT - 1),
            "issuer_key"
        ),
        Outcome::Fail
    );
    assert_eq!(
        with(
            |content| content.issuers[0].keys[0].not_before = Some(ISSUED_AT + 1),
            "issuer_key"
        ),
        Outcome::Fail
    );
    // A key that calls itself by a known issuer's name is known by its entry only.
    let mut content = content();
    content.issuers[0].keys[0].key = stranger_key().public();
    content.issuers.push(Issuer {
        name: label("Somebody Else"),
        keys: vec![IssuerKey {
            key: issuer_key().public(),
            not_before: None,
            not_after: None,
            revoked: None,
        }],
    });
    let trust = trust_of(content);
    let appraisal = run(&file(), &ask(&trust));
    assert_eq!(
        appraisal.receipt.unwrap().known_as,
        Some(label("Somebody Else"))
    );
    assert_eq!(appraisal.good_for[0].under, ["honest:Somebody Else"]);
}

#[test]
fn unknown_rungs_add_nothing() {
    let trust = trust();
    let appraisal = run(&everything(), &ask(&trust));
    assert_eq!(
        set_amount(&appraisal, "attestation").as_deref(),
        Some("0 USD")
    );
    assert_eq!(set_amount(&appraisal, "proof").as_deref(), Some("0 USD"));
    assert_eq!(
        outcome(&appraisal, "evidence.2.attestation"),
        Outcome::NotMade
    );
    assert_eq!(outcome(&appraisal, "evidence.3.proof"), Outcome::NotMade);
    assert_eq!(appraisal.best, Some(amount("500USD")));
}

#[test]
fn json() {
    let trust = trust();
    let value = serde_json::to_value(run(&everything(), &ask(&trust))).unwrap();
    assert_eq!(value["verdict"], "good");
    assert_eq!(value["exit_code"], 0);
    assert_eq!(value["best"], "500 USD");
    assert_eq!(value["good_for"][1]["amount"], "500 USD");
    assert_eq!(value["good_for"][1]["under"][0], "honest:Example Auditor");
    assert!(value["not_proven"].as_array().unwrap().len() >= 4);
    let checks = value["checks"].as_array().unwrap();
    let ok = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap()["ok"].clone();
    assert_eq!(ok("signature"), true);
    assert_eq!(ok("own_replay"), serde_json::Value::Null);
    assert_eq!(value["trust"]["digest"], trust.digest().to_string());
    assert_eq!(
        value["receipt"]["evidence"],
        serde_json::json!(["signature", "replay", "signature", "attestation", "proof"])
    );
}
