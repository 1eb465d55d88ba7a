//! Couriers: worth what a Trust file says that the upstream's word is worth, for this question and this answer, and nothing else.

mod common;

use carat_receipt::courier::{self, Carried, Courier, Ending, identity};
use carat_receipt::statement::{Optional, Reliance};
use carat_receipt::{
    Digest, Engine, Execution, Nonce, Opened, Opening, ReceiptFile, Role, Salt, SignedStatement,
    SigningKey, Statement,
};
use carat_verify::stream;
use carat_verify::trust::{Content, Revocation, Upstream};
use carat_verify::{Appraisal, CourierAsked, Outcome, Question, Trust, Verdict, appraise};
use common::*;

const ASKED: &[u8] = br#"{"model":"mini","stream":true,"messages":[]}"#;
const SENT: &[u8] = br#"{"model":"gpt-mini","stream":true,"messages":[]}"#;
const CHUNKS: [&[u8]; 3] = [
    b"data: {\"a\":1}\n\n",
    b"data: {\"a\":2}\n\n",
    b"data: [DONE]\n\n",
];
const CHAT: &str = "/v1/chat/completions";

/// What a courier says, before it is signed.
struct Said {
    statement: Statement,
    opening: Opening,
}

fn salt(byte: u8) -> Salt {
    Salt::from_bytes([byte; 32])
}

/// A streamed answer of `gpt-mini` at `up`, complete.
fn said() -> Said {
    let (upstream, model) = (label("up"), label("gpt-mini"));
    let input = Opened::new(salt(1), ASKED.to_vec());
    let output = Opened::new(salt(2), CHUNKS.concat());
    let carried = Carried {
        sent: Opened::new(salt(3), SENT.to_vec()),
        received: Opened::new(salt(4), CHUNKS.concat()),
        chunks: Some(CHUNKS.iter().map(|chunk| chunk.len() as u64).collect()),
    };
    let program = identity(&upstream, &model);
    let statement = Statement {
        program,
        model_name: label("mini"),
        model_version: label(courier::UNVERSIONED),
        execution: Execution::Courier { upstream },
        engine: Engine {
            numerics: label(courier::NUMERICS),
            semantics: 1,
        },
        optional: Optional {
            audience: Some(label("Example Bank")),
            nonce: Some(Nonce::new(NONCE).unwrap()),
            courier: Some(Courier {
                endpoint: label(CHAT),
                reported: Some(model.clone()),
                model,
                sent: Digest::sha256(b"set below"),
                received: Digest::sha256(b"set below"),
                ending: Ending::Complete,
                tokens: None,
            }),
            ..Optional::default()
        },
        ..statement()
    };
    let opening = Opening {
        receipt_id: Digest::sha256(b"set below"),
        program,
        input,
        output,
        facts: None,
        trace_salt: None,
        carried: Some(carried),
    };
    let mut said = Said { statement, opening };
    said.commit();
    said
}

impl Said {
    /// Makes the Statement commit to what the opening holds: a courier can say anything that fits together.
    fn commit(&mut self) {
        let (statement, opening) = (&mut self.statement, &self.opening);
        let carried = opening.carried.as_ref().unwrap();
        statement.input = opening.input.commitment(Role::Input);
        statement.output = opening.output.commitment(Role::Output);
        let claims = statement.optional.courier.as_mut().unwrap();
        claims.sent = carried.sent.commitment(Role::Sent);
        claims.received = carried.received.commitment(Role::Received);
        let complete = claims.ending == Ending::Complete;
        statement.optional.stream = carried.chunks.as_ref().map(|lengths| {
            let chunks = courier::split(&opening.output.bytes, lengths).unwrap();
            stream::stream(&stream::tree(&opening.output.salt, chunks), complete).unwrap()
        });
    }

    fn sign(mut self, key: &SigningKey) -> (ReceiptFile, Opening) {
        self.statement.issuer_key = key.public();
        let signed = SignedStatement::sign(self.statement, key).unwrap();
        self.opening.receipt_id = signed.receipt_id();
        (ReceiptFile::new(signed), self.opening)
    }
}

fn upstream() -> Upstream {
    Upstream {
        name: label("up"),
        cap: amount("5 USD"),
        models: vec![],
        couriers: vec![],
    }
}

fn trusting(change: impl FnOnce(&mut Content)) -> Trust {
    let mut content = content();
    content.upstreams.push(upstream());
    change(&mut content);
    trust_of(content)
}

/// What the relying party asks, with all that a verifying proxy has.
fn asks<'a>(trust: &'a Trust, opening: &'a Opening, answer: &'a [u8]) -> Question<'a> {
    Question {
        now: NOW,
        trust: Some(trust),
        nonce: Some(NONCE),
        amount: Some(amount("5 USD")),
        opening: Some(opening),
        input: Some(ASKED),
        output: Some(answer),
        courier: Some(CourierAsked {
            endpoint: CHAT,
            model: "mini",
        }),
        ..Question::default()
    }
}

fn judge(said: Said, trust: &Trust) -> Appraisal {
    let answer = said.opening.output.bytes.to_vec();
    let (file, opening) = said.sign(&issuer_key());
    appraise(&file, &asks(trust, &opening, &answer)).unwrap()
}

fn changed(change: impl FnOnce(&mut Said)) -> Said {
    let mut said = said();
    change(&mut said);
    said.commit();
    said
}

fn invalid(what: &str, appraisal: &Appraisal, check: &str) {
    assert_eq!(appraisal.verdict, Verdict::Invalid, "{what}");
    assert!(
        appraisal
            .good_for
            .iter()
            .all(|set| set.amount.is_none_or(|amount| amount.is_zero())),
        "{what}"
    );
    let found = appraisal.check(check).map(|check| check.outcome);
    assert_eq!(
        found,
        Some(Outcome::Fail),
        "{what}: {:#?}",
        appraisal.checks
    );
}

fn nothing(what: &str, appraisal: &Appraisal) {
    assert_eq!(
        appraisal.verdict,
        Verdict::Insufficient,
        "{what}: {}",
        appraisal.reason
    );
    assert!(appraisal.best.is_none_or(|best| best.is_zero()), "{what}");
}

#[test]
fn a_couriers_answer_is_worth_the_cap_of_its_upstream() {
    let trust = trusting(|_| {});
    let good = judge(said(), &trust);
    assert_eq!(good.verdict, Verdict::Good, "{:#?}", good.checks);
    assert_eq!(good.best, Some(amount("5 USD")));
    assert_eq!(good.good_for.len(), 1);
    assert_eq!(good.good_for[0].rung, "courier");
    assert_eq!(
        good.good_for[0].under,
        ["honest:Example Issuer", "upstream:up", "input:own"]
    );
    assert!(
        good.not_proven
            .iter()
            .any(|line| line.contains("up gave this answer"))
    );
    // Not for more, and what rides on it already is not there twice.
    let (file, opening) = said().sign(&issuer_key());
    let answer = CHUNKS.concat();
    let more = Question {
        amount: Some(amount("5.01 USD")),
        ..asks(&trust, &opening, &answer)
    };
    assert_eq!(
        appraise(&file, &more).unwrap().verdict,
        Verdict::Insufficient
    );
    let relied = Question {
        relied: Some(amount("2 USD")),
        amount: None,
        ..asks(&trust, &opening, &answer)
    };
    assert_eq!(
        appraise(&file, &relied).unwrap().best,
        Some(amount("3 USD"))
    );
}

/// An answer that was not streamed.
#[test]
fn a_whole_answer_is_worth_the_same() {
    let whole = || {
        changed(|said| {
            let carried = said.opening.carried.as_mut().unwrap();
            carried.chunks = None;
        })
    };
    let trust = trusting(|_| {});
    assert_eq!(judge(whole(), &trust).verdict, Verdict::Good);
    let mut chunks = whole();
    // An opening with chunks for an answer that was none.
    chunks.opening.carried.as_mut().unwrap().chunks = Some(vec![CHUNKS.concat().len() as u64]);
    invalid("chunks of no stream", &judge(chunks, &trust), "stream");
}

#[test]
fn it_is_worth_nothing_without_the_trust_file_saying_so() {
    let cases: [(&str, Trust); 8] = [
        ("no cap", trust()),
        (
            "another upstream",
            trusting(|content| content.upstreams[0].name = label("up2")),
        ),
        (
            "a cap of nothing",
            trusting(|content| content.upstreams[0].cap = amount("0 USD")),
        ),
        (
            "an issuer that nobody knows",
            trusting(|content| content.issuers.clear()),
        ),
        (
            "a courier that is not accepted for it",
            trusting(|content| {
                let mut other = content.issuers[0].clone();
                other.name = label("Other");
                other.keys[0].key = stranger_key().public();
                content.issuers.push(other);
                content.upstreams[0].couriers = vec![label("Other")];
            }),
        ),
        (
            "a key that had run out",
            trusting(|content| content.issuers[0].keys[0].not_after = Some(ISSUED_AT - 1)),
        ),
        (
            "a revoked key",
            trusting(|content| {
                content.issuers[0].keys[0].revoked = Some(Revocation {
                    log: label(ORIGIN),
                    from_index: 0,
                });
            }),
        ),
        (
            "a Trust file that ran out",
            trusting(|content| content.max_age_days = 1),
        ),
    ];
    for (what, trust) in &cases[..7] {
        nothing(what, &judge(said(), trust));
    }
    let (what, trust) = &cases[7];
    let (file, opening) = said().sign(&issuer_key());
    let answer = CHUNKS.concat();
    let late = Question {
        now: NOW + 10 * 86_400,
        ..asks(trust, &opening, &answer)
    };
    nothing(what, &appraise(&file, &late).unwrap());
    let no_trust = Question {
        trust: None,
        amount: None,
        ..asks(trust, &opening, &answer)
    };
    nothing("no Trust file", &appraise(&file, &no_trust).unwrap());
    let named = trusting(|content| content.upstreams[0].couriers = vec![label("Example Issuer")]);
    assert_eq!(
        judge(said(), &named).verdict,
        Verdict::Good,
        "the one that is accepted"
    );
}

/// What a node, or somebody between, could put before a relying party instead of the receipt of its answer.
#[test]
fn another_receipt_does_not_pass_for_this_ones() {
    let trust = trusting(|_| {});
    let answer = CHUNKS.concat();
    let judge_with = |said: Said, change: &dyn Fn(&mut Question<'_>)| {
        let (file, opening) = said.sign(&issuer_key());
        let mut question = asks(&trust, &opening, &answer);
        change(&mut question);
        appraise(&file, &question).unwrap()
    };
    assert_eq!(judge_with(said(), &|_| {}).verdict, Verdict::Good);

    let another_request = changed(|said| {
        said.opening.input = Opened::new(salt(1), ASKED.to_ascii_uppercase());
        said.opening.carried.as_mut().unwrap().sent =
            Opened::new(salt(3), ASKED.to_ascii_uppercase());
    });
    invalid(
        "another request",
        &judge_with(another_request, &|_| {}),
        "input",
    );
    let another_answer = changed(|said| {
        let other = [CHUNKS[0], CHUNKS[0], CHUNKS[2]].concat();
        said.opening.output = Opened::new(salt(2), other.clone());
        said.opening.carried.as_mut().unwrap().received = Opened::new(salt(4), other);
    });
    invalid(
        "another answer",
        &judge_with(another_answer, &|_| {}),
        "output",
    );
    let mut swapped = said();
    let order = [CHUNKS[1], CHUNKS[0], CHUNKS[2]].concat();
    swapped.opening.output = Opened::new(salt(2), order.clone());
    swapped.opening.carried.as_mut().unwrap().received = Opened::new(salt(4), order);
    let stream = swapped.statement.optional.stream.clone();
    swapped.commit();
    invalid("swapped chunks", &judge_with(swapped, &|_| {}), "output");
    // The root of one order and the bytes of another.
    let mut root = changed(|said| {
        let order = [CHUNKS[1], CHUNKS[0], CHUNKS[2]].concat();
        said.opening.output = Opened::new(salt(2), order.clone());
        said.opening.carried.as_mut().unwrap().received = Opened::new(salt(4), order);
    });
    let bytes = root.opening.output.bytes.to_vec();
    root.statement.optional.stream = stream;
    let (file, opening) = root.sign(&issuer_key());
    let appraisal = appraise(&file, &asks(&trust, &opening, &bytes)).unwrap();
    invalid("swapped chunks under the old root", &appraisal, "stream");
    invalid(
        "a replayed nonce",
        &judge_with(said(), &|question| question.nonce = Some(&[7; 16])),
        "nonce",
    );
    let mut no_nonce = said();
    no_nonce.statement.optional.nonce = None;
    invalid("no nonce", &judge_with(no_nonce, &|_| {}), "nonce");
    let other = label("Other Bank");
    let mut for_other = said();
    for_other.statement.optional.audience = Some(other.clone());
    nothing("for somebody else", &judge_with(for_other, &|_| {}));
    let asked = |endpoint, model| CourierAsked { endpoint, model };
    invalid(
        "another interface",
        &judge_with(said(), &|question| {
            question.courier = Some(asked("/v1/completions", "mini"))
        }),
        "courier_asked",
    );
    invalid(
        "another model",
        &judge_with(said(), &|question| {
            question.courier = Some(asked(CHAT, "maxi"))
        }),
        "courier_asked",
    );
    // A receipt of a model that runs at the node, whatever it is worth.
    let local = audited(common::file());
    let local_opening = common::opening(&local);
    let question = Question {
        amount: None,
        input: None,
        output: None,
        ..asks(&trust, &local_opening, &answer)
    };
    assert_eq!(
        appraise(
            &local,
            &Question {
                courier: None,
                ..question
            }
        )
        .unwrap()
        .verdict,
        Verdict::Good
    );
    invalid(
        "a local receipt",
        &appraise(&local, &question).unwrap(),
        "courier_asked",
    );
    // The wrong signer.
    let (file, opening) = said().sign(&stranger_key());
    nothing(
        "a stranger's key",
        &appraise(&file, &asks(&trust, &opening, &answer)).unwrap(),
    );
    // Without the opening nothing ties receipt and answer together.
    let (file, opening) = said().sign(&issuer_key());
    let question = Question {
        opening: None,
        ..asks(&trust, &opening, &answer)
    };
    invalid("no opening", &appraise(&file, &question).unwrap(), "output");
    let vague = Question {
        courier: None,
        ..asks(&trust, &opening, &answer)
    };
    nothing("without what was asked", &appraise(&file, &vague).unwrap());
    // Not even where the Trust file accepts the upstream's model as a model.
    let accepting = trusting(|content| content.models[0].program = file.signed.statement().program);
    let vague = Question {
        courier: None,
        ..asks(&accepting, &opening, &answer)
    };
    nothing(
        "without what was asked of a model",
        &appraise(&file, &vague).unwrap(),
    );
    let blind = Question {
        opening: None,
        input: None,
        output: None,
        ..asks(&trust, &opening, &answer)
    };
    nothing(
        "neither opening nor answer",
        &appraise(&file, &blind).unwrap(),
    );
}

/// A courier that says something against itself.
#[test]
fn what_a_courier_says_against_itself_counts() {
    let trust = trusting(|_| {});
    let cut = |ending| {
        changed(|said| {
            said.statement.optional.courier.as_mut().unwrap().ending = ending;
        })
    };
    for ending in [
        Ending::UpstreamCut,
        Ending::TimedOut,
        Ending::TooLarge,
        Ending::Garbled,
        Ending::OtherModel,
        Ending::CallerLeft,
    ] {
        let appraisal = judge(cut(ending), &trust);
        nothing("a cut stream", &appraisal);
        assert_eq!(appraisal.check("complete").unwrap().outcome, Outcome::Fail);
    }
    let sent_other = changed(|said| {
        let other = br#"{"model":"gpt-mini","stream":true,"messages":[1]}"#;
        said.opening.carried.as_mut().unwrap().sent = Opened::new(salt(3), other.to_vec());
    });
    invalid("sent something else", &judge(sent_other, &trust), "carried");
    let received_other = changed(|said| {
        let other = [CHUNKS[0], CHUNKS[2]].concat();
        said.opening.carried.as_mut().unwrap().received = Opened::new(salt(4), other);
    });
    invalid(
        "received something else",
        &judge(received_other, &trust),
        "carried",
    );
    let more = |ending| {
        changed(|said| {
            let more = [&CHUNKS.concat(), b"held back".as_slice()].concat();
            said.opening.carried.as_mut().unwrap().received = Opened::new(salt(4), more);
            said.statement.optional.courier.as_mut().unwrap().ending = ending;
        })
    };
    invalid(
        "held something back",
        &judge(more(Ending::Complete), &trust),
        "carried",
    );
    nothing(
        "held something back at a cut",
        &judge(more(Ending::TimedOut), &trust),
    );

    let named = |name: Option<&str>| {
        let reported = name.map(label);
        changed(|said| said.statement.optional.courier.as_mut().unwrap().reported = reported)
    };
    nothing("no model named", &judge(named(None), &trust));
    nothing(
        "another model named",
        &judge(named(Some("gpt-nano")), &trust),
    );
    let listed = trusting(|content| content.upstreams[0].models = vec![label("gpt-nano")]);
    assert_eq!(
        judge(named(Some("gpt-nano")), &listed).verdict,
        Verdict::Good
    );
}

/// Evidence that would count for a Program does not count for an upstream's model.
#[test]
fn nothing_else_is_ever_worth_anything() {
    let trust = trusting(|content| content.upstreams.clear());
    let (mut file, opening) = said().sign(&issuer_key());
    let mut replay = replay_body(&file, &auditor_key(), "Example Auditor");
    replay.output = file.signed.statement().output;
    add_replay(&mut file, replay, &auditor_key());
    let answer = CHUNKS.concat();
    let appraisal = appraise(&file, &asks(&trust, &opening, &answer)).unwrap();
    nothing("a replay of a courier's answer", &appraisal);
    assert!(appraisal.good_for.iter().any(|set| set.rung == "replay"));
    // A Program beside it is another receipt's.
    let (mut file, opening) = said().sign(&issuer_key());
    file.program = Some(program().encode());
    let trust = trusting(|_| {});
    let appraisal = appraise(&file, &asks(&trust, &opening, &answer)).unwrap();
    invalid("with a Program", &appraisal, "program");
    // It rests on a receipt that is not given.
    let mut resting = said();
    resting.statement.optional.relies_on.push(Reliance {
        receipt: Digest::sha256(b"up"),
        stake: amount("1USD"),
    });
    nothing("rests on what is not given", &judge(resting, &trust));
    // The old form, that says only that the model ran elsewhere.
    let mut statement = statement();
    statement.execution = Execution::Courier {
        upstream: label("up"),
    };
    let old = file_of(statement);
    let old_opening = common::opening(&old);
    let question = Question {
        amount: None,
        courier: None,
        input: None,
        output: None,
        ..asks(&trust, &old_opening, &answer)
    };
    nothing(
        "without what was carried",
        &appraise(&old, &question).unwrap(),
    );
}

/// Every bit of a courier's receipt and of its opening: a change is noticed, or is a change of nothing that is committed to.
#[test]
fn every_changed_bit_is_noticed() {
    let trust = trusting(|_| {});
    let (file, opening) = said().sign(&issuer_key());
    let answer = CHUNKS.concat();
    let bytes = file.encode();
    for i in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut changed = bytes.clone();
            changed[i] ^= 1 << bit;
            let question = asks(&trust, &opening, &answer);
            let appraisal = carat_verify::appraise_bytes(&changed, &question).unwrap();
            assert_eq!(appraisal.verdict, Verdict::Invalid, "receipt, byte {i}");
        }
    }
    let bytes = opening.encode();
    for i in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut changed = bytes.to_vec();
            changed[i] ^= 1 << bit;
            let Ok(changed) = Opening::decode(&changed) else {
                continue;
            };
            let appraisal = appraise(&file, &asks(&trust, &changed, &answer)).unwrap();
            assert_eq!(appraisal.verdict, Verdict::Invalid, "opening, byte {i}");
        }
    }
}

#[test]
fn the_trust_file_keeps_its_rules_for_upstreams() {
    let full = trusting(|content| {
        content.upstreams[0].models = vec![label("a \"quoted\" name"), label("b\\c")];
        content.upstreams[0].couriers = vec![label("Example Issuer")];
    });
    let read = Trust::parse(&full.render()).unwrap();
    assert_eq!(read, full);
    let refused = |change: &dyn Fn(&mut Content)| {
        let mut content = content();
        content.upstreams.push(upstream());
        change(&mut content);
        Trust::new(content).unwrap_err();
    };
    refused(&|content| content.upstreams.push(upstream()));
    refused(&|content| content.upstreams[0].cap = amount("5 EUR"));
    refused(&|content| content.upstreams[0].couriers = vec![label("Nobody")]);
}

/// The committed receipt, which the Python reader checks too. `CARAT_WRITE_FIXTURES=1` writes it anew.
#[test]
fn the_committed_receipt_is_current() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let (file, opening) = said().sign(&issuer_key());
    let file = logged(file);
    let files = [
        ("courier.carat", file.encode()),
        ("courier.carat-open", opening.encode().to_vec()),
    ];
    for (name, bytes) in files {
        if std::env::var_os("CARAT_WRITE_FIXTURES").is_some() {
            std::fs::write(folder.join(name), &bytes).unwrap();
        }
        let found = std::fs::read(folder.join(name)).unwrap();
        assert!(found == bytes, "{name} is not what this version writes");
    }
    let doc = include_str!("../../../docs/receipt.md");
    assert!(
        doc.contains(&file.receipt_id().to_string()),
        "{}",
        file.receipt_id()
    );
    // Every check that a courier's receipt lists is documented.
    let trust = trusting(|_| {});
    let answer = CHUNKS.concat();
    for check in appraise(&file, &asks(&trust, &opening, &answer))
        .unwrap()
        .checks
    {
        assert!(doc.contains(&format!("`{}`", check.name)), "{}", check.name);
    }
}
