//! Every challenge depends on everything before it: change one thing, and every challenge after it is another one while
//! those before it stay.

use super::*;
use crate::{
    Mode,
    field::E,
    key::ModelKey,
    pcs::Root,
    transcript::{Source, Transcript},
    verify::statement,
};
use carat_receipt::Digest;
use p3_field::PrimeCharacteristicRing;

#[test]
fn challenges_depend_on_the_statement() {
    let digest = |n: u8| Digest::from_bytes([n; 32]);
    let instance = |n: u8| Instance {
        statement: digest(n),
        values: None,
        io: None,
    };
    let key = ModelKey {
        program: digest(1),
        profile: Profile::Proven100,
        root: Root([2; 32]),
    };
    let first = |key: &ModelKey, instances: &[Instance<'_>]| {
        statement(Mode::Succinct, key, instances).challenge()
    };
    let two = [instance(3), instance(4)];
    let mut all = vec![first(&key, &two), first(&key, &two[..1])];
    for other in [
        ModelKey {
            program: digest(9),
            ..key
        },
        ModelKey {
            profile: Profile::Proven120,
            ..key
        },
        ModelKey {
            root: Root([9; 32]),
            ..key
        },
    ] {
        all.push(first(&other, &two));
    }
    // Every statement, their number and their order.
    for list in [vec![3, 9], vec![9, 4], vec![4, 3], vec![3, 4, 4], vec![]] {
        let list: Vec<Instance<'_>> = list.into_iter().map(instance).collect();
        all.push(first(&key, &list));
    }
    all.push(Transcript::new("carat/zk/v1 succinct").challenge());
    all.push(Transcript::new("carat/zk/v2 succinct").challenge());
    for i in 0..all.len() {
        for j in 0..i {
            assert_ne!(all[i], all[j], "{i} and {j}");
        }
    }
}

#[test]
fn challenges_depend_on_every_message() {
    let case = Case::new(network(8), 2);
    let (_, honest) = case.honest();
    let messages = honest
        .iter()
        .filter(|e| matches!(e, Event::Sent(..)))
        .count();
    assert!(messages > 100);
    // The openings begin with what they join: first the witness's, then that of the constants, which goes on from the same
    // state as it.
    let sent = honest.iter().filter_map(|e| match e {
        Event::Sent(label, _) => Some(label),
        Event::Drawn(_) => None,
    });
    let joins: Vec<usize> = (sent.enumerate())
        .filter(|(_, label)| *label == "parts")
        .map(|(i, _)| i)
        .collect();
    let [witness, constants] = joins[..] else {
        panic!("two openings, not {}", joins.len())
    };
    for message in 0..messages {
        let lie = Lie {
            message,
            at: 0,
            by: E::ONE,
            also: None,
        };
        let (_, lied) = case.lie(lie);
        assert_eq!(honest.len(), lied.len());
        let (mut seen, mut empty) = (0, false);
        for (i, (a, b)) in honest.iter().zip(&lied).enumerate() {
            match (a, b) {
                (Event::Sent(_, len), Event::Sent(..)) => {
                    empty |= seen == message && *len == 0;
                    seen += 1;
                }
                (Event::Drawn(a), Event::Drawn(b)) => {
                    // What joins the claims on constants is drawn before `parts` is sent.
                    let next = honest[i..].iter().find(|e| matches!(e, Event::Sent(..)));
                    let joins = matches!(next, Some(Event::Sent(label, _)) if label == "parts");
                    let of_constants = seen > constants || seen == constants && joins;
                    let beside = (witness..constants).contains(&message) && of_constants;
                    // A message without elements cannot be changed.
                    if seen <= message || empty || beside {
                        assert_eq!(a, b, "a challenge before message {message}, or beside it");
                    } else {
                        assert_ne!(a, b, "a challenge does not depend on message {message}");
                    }
                }
                _ => panic!("another order of messages"),
            }
        }
    }
}

/// Each label and each length is part of what is absorbed, so no message can pass for two.
#[test]
fn framing_has_no_two_readings() {
    let drawn = |messages: &[(&str, &[u8])]| {
        let mut t = Transcript::new("x");
        for (label, data) in messages {
            t.bytes(label, data);
        }
        t.challenge()
    };
    let all = [
        drawn(&[("a", b"bc")]),
        drawn(&[("ab", b"c")]),
        drawn(&[("a", b"b"), ("", b"c")]),
        drawn(&[("a", b"b"), ("c", b"")]),
        drawn(&[("a", b"bc"), ("", b"")]),
        drawn(&[]),
    ];
    for i in 0..all.len() {
        for j in 0..i {
            assert_ne!(all[i], all[j], "{i} and {j}");
        }
    }
}

/// What the verifier draws is what the prover drew, and reading is absorbing.
#[test]
fn reading_is_absorbing() {
    let case = Case::new(network(8), 1);
    let (proof, events) = case.honest();
    let instances = case.instances(&case.outputs);
    hooks::start(None, None);
    case.verify(&instances, &proof).unwrap();
    let verifier: Vec<Event> = hooks::finish();
    let drawn: Vec<Event> = events
        .into_iter()
        .filter(|e| matches!(e, Event::Drawn(_)))
        .collect();
    assert_eq!(verifier, drawn);
    let mut source = Source::new(Transcript::new("x"), &[1; 40]);
    let before = source.transcript.clone().challenge();
    let _ = source.receive("e", 1).unwrap();
    assert_ne!(before, source.transcript.challenge());
}
