//! One regression test for each soundness bug that another prover for machine learning has published and that could
//! occur here.

use super::*;
use crate::{
    Mode,
    field::E,
    graph::{Kind, Rows},
    pcs::Root,
};
use carat_program::{MODULUS, Shape};
use carat_receipt::Digest;
use p3_field::PrimeCharacteristicRing;

/// `a + b` of two committed values, whose claims then meet in one opening.
fn sum_of_two() -> Case {
    let mut b = Builder::new(1);
    let x = b.input(&[3], -9, 9);
    let y = b.input(&[3], -9, 9);
    let op = Op::Linear {
        coefficients: vec![1, 1],
        bias: 0,
    };
    let z = b.push(op, &[x, y]);
    Case::new(b.finish(&[z]), 1)
}

fn message(case: &Case, wanted: &str) -> usize {
    let (_, events) = case.honest();
    events
        .iter()
        .filter_map(|e| match e {
            Event::Sent(label, _) => Some(label.as_str()),
            Event::Drawn(_) => None,
        })
        .position(|label| label == wanted)
        .expect("such a message")
}

/// Jolt Atlas #177: two maps of claims, and different checks read different ones. Here the claims that a step leaves are
/// the ones that are opened: values that only add up are not enough.
#[test]
fn two_claim_maps() {
    let case = sum_of_two();
    let d = E::from_u32(77);
    let lie = Lie {
        message: message(&case, "terms"),
        at: 0,
        by: d,
        also: Some((1, -d)),
    };
    let (proof, _) = case.lie(lie);
    // The local check of the sum holds; the opening of both claims does not.
    assert_eq!(
        case.verify(&case.instances(&case.outputs), &proof),
        Err(Error::Check("the joining of openings"))
    );
}

/// Jolt Atlas #288: a batch of openings reduced so that errors cancel. The two errors of `two_claim_maps` sum to zero at
/// one point; so do they here with any fixed coefficients that are equal.
#[test]
fn batch_opening_reduction() {
    let case = sum_of_two();
    let terms = message(&case, "terms");
    for by in [1u32, 2, 1 << 30] {
        let d = E::from_u32(by);
        for (at, also) in [(0, 1), (1, 0)] {
            let (proof, _) = case.lie(Lie {
                message: terms,
                at,
                by: d,
                also: Some((also, -d)),
            });
            refused(case.verify(&case.instances(&case.outputs), &proof));
        }
    }
}

/// Two Programs that differ in one weight.
fn near_models(change: impl Fn(&mut Vec<i32>, usize)) -> [(Program, Weights); 2] {
    let make = |other: bool| {
        let mut b = Builder::new(1);
        let x = b.input(&[1, 5], -9, 9);
        let mut data = [
            (0..15).map(|i| i - 7).collect::<Vec<i32>>(),
            vec![5, -6, 7],
            (0..200).map(|i| i * i % 17).collect(),
        ];
        if other {
            data.iter_mut().enumerate().for_each(|(i, d)| change(d, i));
        }
        let [w, bias, table] = data;
        let w = b.constant(&[5, 3], w);
        let bias = b.constant(&[3], bias);
        let table = b.constant(&[200], table);
        let v = b.push(contraction("ij,jk->ik"), &[x, w]);
        let op = Op::Linear {
            coefficients: vec![1, 1],
            bias: 0,
        };
        let v = b.push(op, &[v, bias]);
        let v = b.push(Op::Clamp { lo: -100, hi: 99 }, &[v]);
        let y = b.push(Op::Lut { offset: -100 }, &[v, table]);
        b.finish(&[y])
    };
    [make(false), make(true)]
}

/// Jolt Atlas #244: the opening of the weights is not bound to the model. One weight, one bias or one table entry is
/// another one: nothing that model B can say passes for model A, whichever part of A's key it uses.
#[test]
fn weights_opening_unbound() {
    for part in 0..3 {
        let [a, b] = near_models(|d, i| {
            if i == part {
                // Keeps range and weight sum, so that both models could have one Program but for its hash trees.
                d.swap(0, 1);
            }
        });
        let (a, b) = (Case::new(a, 1), Case::new(b, 1));
        let (proof, _) = b.honest();
        // B's proof under A's name, in every mixture.
        let instances = b.instances(&b.outputs);
        for program in [&a.program, &b.program] {
            for key in [a.key.key(), b.key.key()] {
                let mut mixed = *key;
                for program_digest in [a.key.key().program, b.key.key().program] {
                    mixed.program = program_digest;
                    let honest = program == &b.program && mixed == *b.key.key();
                    let result =
                        verify(program, &mixed, PROFILE, Mode::Succinct, &instances, &proof);
                    assert_eq!(result.is_ok(), honest, "{part}: {result:?}");
                }
            }
        }
        // A prover who names A and computes with B's weights, committed as A's or as B's. The claimed outputs are B's.
        let values = Values::new(&a.program, &b.weights, &a.plan.graph, &b.runs);
        for key in [a.key.clone(), b.key.clone().named(*a.key.key())] {
            let proof =
                prove_with(&a.plan, &key, &instances, &values, &Options::default()).unwrap();
            let result = verify(
                &a.program,
                a.key.key(),
                PROFILE,
                Mode::Succinct,
                &instances,
                &proof,
            );
            refused(result);
        }
    }
}

/// Jolt Atlas #230 and #247: public inputs are not part of the transcript.
#[test]
fn public_inputs_not_absorbed() {
    let case = sum_of_two();
    let (proof, honest) = case.honest();
    // Another statement around the same values.
    let mut instances = case.instances(&case.outputs);
    instances[0].statement = Digest::from_bytes([7; 32]);
    refused(case.verify(&instances, &proof));
    // The same statement around other values.
    let other = vec![Tensor::new(case.outputs[0][0].shape().clone(), vec![1, 2, 3]).unwrap()];
    let mut instances = case.instances(&case.outputs);
    instances[0].values = Some(Edges {
        inputs: &case.runs[0].inputs,
        outputs: &other,
    });
    refused(case.verify(&instances, &proof));
    // Other values under their own statement: not one challenge is the same.
    hooks::start(None, None);
    refused(case.verify(&[Instance::of_values(&case.runs[0].inputs, &other)], &proof));
    let seen = hooks::finish();
    assert!(!seen.is_empty() && seen.iter().all(|e| !honest.contains(e)));
}

/// JSTprove: a signed division whose quotient or remainder nothing bounds. Every quotient that the lookups allow, tried
/// one by one.
#[test]
fn unranged_signed_division() {
    let mut checked = 0;
    for bits in [1u8, 2, 5, 8, 12, 14, 15, 16] {
        for (lo, hi) in [
            (-300i64, 299),
            (-70_000, 5),
            (-200_000_000, 300_000_000),
            (-1_000_000_000, -900_000_000),
        ] {
            let (program, _) = step(Op::Shift { bits }, &[3], lo, hi);
            let graph = Plan::new(&program, 1).unwrap().graph;
            let q = graph.column_nodes[graph
                .columns
                .iter()
                .position(|c| matches!(c.fill, Fill::Shift { .. }))
                .unwrap()];
            // The lookup that bounds the quotient, where it is one: of q + bias in 0..len.
            let bound = graph.lookups.iter().find_map(|l| {
                let Kind::Linear { terms, bias } = &graph.nodes[l.tuple[0]].kind else {
                    return None;
                };
                let table = &graph.tables[l.table];
                (*terms == [(1, q)] && table.rows == Rows::Range)
                    .then_some((-bias, table.len() as i64 - bias))
            });
            let Some((first, end)) = bound else { continue };
            for x in [lo, hi, 0i64.clamp(lo, hi), (lo + hi) / 2, lo + 1] {
                let solutions = (first..end)
                    .filter(|q| {
                        let r = (x + (1 << (bits - 1)) - (q << bits)).rem_euclid(MODULUS);
                        r < 1 << bits
                    })
                    .count();
                assert_eq!(solutions, 1, "{x} >> {bits} with q in {first}..{end}");
                checked += 1;
            }
        }
    }
    assert!(checked > 50, "only {checked}");
    // And a prover who tries, on negative numbers.
    let (program, weights) = step(Op::Shift { bits: 8 }, &[3], -70_000, 5);
    let x = tensors(&program, &[&[-69_999, -1, -128]]);
    let case = Case::on((program, weights), vec![x]);
    for at in 0..3 {
        for by in [1, -1, (MODULUS >> 8) as i32, -((MODULUS >> 8) as i32)] {
            refused(case.forge_fill(|f| matches!(f, Fill::Shift { .. }), |q| q[at] += by));
        }
    }
}

/// JSTprove: a second valid encoding of the same proof. See `lies` for every byte; here the classical ways.
#[test]
fn malleability() {
    let case = sum_of_two();
    let (proof, _) = case.honest();
    let (again, _) = case.honest();
    assert_eq!(
        proof, again,
        "a proof is a function of the statement and the witness"
    );
    let instances = case.instances(&case.outputs);
    for at in (32..proof.bytes.len()).step_by(4) {
        let field = u32::from_le_bytes(proof.bytes[at..at + 4].try_into().unwrap());
        let mut bytes = proof.bytes.clone();
        bytes[at..at + 4].copy_from_slice(&(field + MODULUS as u32).to_le_bytes());
        refused_any(case.verify(&instances, &Proof { bytes }));
    }
    let longer = [&proof.bytes[..], &[0]].concat();
    assert_eq!(
        case.verify(&instances, &Proof { bytes: longer }),
        Err(Error::Trailing)
    );
}

#[track_caller]
fn refused_any(result: Result<(), Error>) {
    assert!(result.is_err());
}

/// Jolt #490: the verifier takes shapes or counts from the proof. Here a proof has none, and one for another number of
/// statements or for another shape of the same elements is no proof.
#[test]
fn layout_from_the_proof() {
    let make = |dims: &[usize]| step(Op::Shift { bits: 3 }, dims, -100, 100);
    let case = Case::new(make(&[2, 6]), 1);
    let (proof, _) = case.honest();
    let data = case.runs[0].inputs[0].data().to_vec();
    let result = case.outputs[0][0].data().to_vec();
    for dims in [vec![6, 2], vec![12], vec![2, 2, 3], vec![3, 4]] {
        let (program, weights) = make(&dims);
        let other = Case::on(
            (program, weights),
            vec![vec![
                Tensor::new(Shape::new(&dims).unwrap(), data.clone()).unwrap(),
            ]],
        );
        assert_eq!(other.outputs[0][0].data(), result);
        let mut key = *other.key.key();
        refused_any(verify(
            &other.program,
            &key,
            PROFILE,
            Mode::Succinct,
            &other.instances(&other.outputs),
            &proof,
        ));
        key.root = Root([0; 32]);
        refused_any(verify(
            &other.program,
            &key,
            PROFILE,
            Mode::Succinct,
            &other.instances(&other.outputs),
            &proof,
        ));
    }
    // One statement as two, two as one.
    let once = case.instances(&case.outputs);
    let twice = [once[0], once[0]];
    refused_any(case.verify(&twice, &proof));
    let two = Case::new(make(&[2, 6]), 2);
    let (proof, _) = two.honest();
    let both = two.instances(&two.outputs);
    two.verify(&both, &proof).unwrap();
    refused_any(two.verify(&both[..1], &proof));
    refused_any(two.verify(&both[1..], &proof));
    refused_any(two.verify(&[both[1], both[0]], &proof));
}

/// Jolt #981: the claims of a sumcheck are not part of the transcript, so they can be chosen after the challenges that
/// should have depended on them. `frozen` tries every message; here the ends of each kind of sumcheck, by name.
#[test]
fn sumcheck_claims_not_in_the_transcript() {
    // So many that the witness is not opened by showing it.
    let case = Case::new(network(9), 16);
    let (proof, honest) = case.honest();
    for label in [
        "edge",
        "halves",
        "looked up",
        "multiplicity",
        "merged",
        "terms",
        "factors",
        "operands",
        "kernel and window",
        "window",
        "mapped",
        "reshaped",
        "opened",
        "root denominator",
        "round",
    ] {
        let (mut index, mut last) = (0, None);
        for e in &honest {
            if let Event::Sent(l, _) = e {
                if l == label {
                    last.get_or_insert(index);
                }
                index += 1;
            }
        }
        let Some(message) = last else {
            assert!(
                ["mapped", "reshaped"].contains(&label),
                "no message `{label}`"
            );
            continue;
        };
        let (other, lied) = case.lie(Lie {
            message,
            at: 0,
            by: E::ONE,
            also: None,
        });
        if label == "opened" {
            // The opening that follows draws its own challenges, and all that it shows depends on them.
            let differ = (proof.bytes.iter().zip(&other.bytes)).filter(|(a, b)| a != b);
            assert!(differ.count() > 10_000, "{label}");
            continue;
        }
        let mut seen = 0;
        let after = |events: &[Event]| -> Vec<Event> {
            seen = 0;
            events
                .iter()
                .filter(|e| {
                    seen += usize::from(matches!(e, Event::Sent(..)));
                    seen > message && matches!(e, Event::Drawn(_))
                })
                .cloned()
                .collect()
        };
        let mut after = after;
        let (a, b) = (after(&honest), after(&lied));
        assert!(
            !a.is_empty() && a.iter().zip(&b).all(|(a, b)| a != b),
            "{label}"
        );
    }
}

/// Jolt Atlas #328: the mean of n elements divides by n rounded up to a power of two.
#[test]
fn padded_divisor() {
    // floor((x0 + .. + x4) * 13107 / 2^16 + 1/2): the mean of five elements.
    let mut b = Builder::new(1);
    let x = b.input(&[5], 0, 1000);
    let s = b.push(Op::Sum { axes: vec![0] }, &[x]);
    let op = Op::Linear {
        coefficients: vec![13_107],
        bias: 0,
    };
    let m = b.push(op, &[s]);
    let y = b.push(Op::Shift { bits: 16 }, &[m]);
    let (program, weights) = b.finish(&[y]);
    let x = tensors(&program, &[&[1000, 1000, 1000, 1000, 1000]]);
    let case = Case::on((program, weights), vec![x]);
    assert_eq!(case.outputs[0][0].data(), [1000]);
    let (proof, _) = case.honest();
    for wrong in [625, 999, 1001] {
        refused(case.forge_fill(|f| matches!(f, Fill::Shift { .. }), |q| q[0] = wrong));
        let outputs = vec![Tensor::new(Shape::scalar(), vec![wrong]).unwrap()];
        refused_any(case.verify(
            &[Instance::of_values(&case.runs[0].inputs, &outputs)],
            &proof,
        ));
    }
}

/// VerInf: a bracket that is meant to pin a value down holds for any value. Every range check here is a lookup, and a
/// lookup refuses the values next to its table on both sides, whatever the multiplicities.
#[test]
fn vacuous_bracket() {
    for bits in [3u8, 8, 17, 25] {
        let (program, weights) = step(Op::Shift { bits }, &[2], -500_000_000, 500_000_000);
        let unit = 1i64 << bits;
        // The remainder at the low and at the high end.
        let x = tensors(&program, &[&[(-unit / 2) as i32, (unit / 2 - 1) as i32]]);
        let case = Case::on((program, weights), vec![x]);
        assert_eq!(case.outputs[0][0].data(), [0, 0]);
        case.forge(&|_, _| None).unwrap();
        for (at, by) in [(0, 1), (0, -1), (1, 1), (1, -1)] {
            refused(case.forge_fill(|f| matches!(f, Fill::Shift { .. }), |q| q[at] += by));
        }
    }
}
