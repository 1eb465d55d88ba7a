//! Lies in messages, told in time for every later challenge to depend on them, and changes to the bytes of a finished
//! proof. All of them are refused.

use super::*;
use crate::field::{E, F_BYTES};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};

fn element(seed: u64) -> E {
    let mut rng = Rng(seed);
    E::from_basis_coefficients_fn(|_| crate::field::int(rng.range(1, 1 << 30)))
}

/// One lie in each message; with `all`, one for each element.
fn every_lie(case: &Case, all: bool) {
    for mode in case.modes() {
        case.mode.set(mode);
        // Long messages of the mode that hides have elements that are all alike.
        let sampled = mode != Mode::Succinct;
        lies(case, if all { 1 } else { usize::MAX }, sampled);
    }
    case.mode.set(Mode::Succinct);
}

fn lies(case: &Case, step: usize, sampled: bool) {
    let (_, events) = case.honest();
    let instances = case.instances(&case.outputs);
    let messages = events.iter().filter_map(|e| match e {
        Event::Sent(label, len) => Some((label.clone(), *len)),
        Event::Drawn(_) => None,
    });
    let mut told = 0;
    for (message, (label, len)) in messages.enumerate() {
        let step = if sampled {
            step.max(len / 8).max(1)
        } else {
            step
        };
        for at in (0..len).step_by(step) {
            let by = if at % 2 == 0 {
                E::ONE
            } else {
                element(message as u64)
            };
            let (proof, _) = case.lie(Lie {
                message,
                at,
                by,
                also: None,
            });
            // How many siblings there are depends on the positions, which are others in each proof that hides: this one may
            // have been too short for its lie.
            if !hooks::told() {
                assert!(label.ends_with("siblings"), "{label}");
                continue;
            }
            match case.verify(&instances, &proof) {
                Err(Error::Check(_) | Error::Opening(..)) => told += 1,
                // One more sibling than there is, at the end.
                Err(Error::Truncated) if label == "pcs siblings" && at < 4 => told += 1,
                other => panic!("message {message} (`{label}`) element {at}: {other:?}"),
            }
        }
    }
    assert!(told > 50, "only {told} lies were told");
}

#[test]
fn every_lie_of_a_clamp() {
    every_lie(
        &Case::new(step(Op::Clamp { lo: -3, hi: 5 }, &[3], -20, 19), 1),
        true,
    );
}

#[test]
fn every_message_of_a_network() {
    every_lie(&Case::new(network(2), 2), false);
}

#[test]
fn every_lie_of_the_other_steps() {
    let mut b = Builder::new(1);
    let x = b.input(&[3, 5], -9, 9);
    let y = b.input(&[2, 3, 5], -9, 9);
    let c = b.push(contraction("ij,bij->bi"), &[x, y]);
    let d = b.push(contraction("ij,bij->bij"), &[x, y]);
    let s = b.push(Op::Sum { axes: vec![1] }, &[d]);
    let t = b.push(Op::Transpose { perm: vec![1, 0] }, &[c]);
    let shape = carat_program::Shape::new(&[5, 2, 3]).unwrap();
    let r = b.push(Op::Reshape { shape }, &[d]);
    let slice = Op::Slice {
        start: vec![4, 0, 2],
        step: vec![-2, 1, -1],
        len: vec![3, 2, 2],
    };
    let r = b.push(slice, &[r]);
    let pad = Op::Pad {
        before: vec![0, 1, 0],
        after: vec![0, 0, 2],
        value: 3,
    };
    let r = b.push(pad, &[r]);
    every_lie(&Case::new(b.finish(&[s, t, r]), 2), true);
}

/// One element of each message, for the steps that select, find a place, and divide.
#[test]
fn every_message_of_a_choice() {
    let mut b = Builder::new(1);
    let x = b.input(&[3], -3, 4);
    let place = b.push(Op::ArgMax { axis: 0 }, &[x]);
    let taken = b.push(Op::Gather { axis: 0 }, &[x, place]);
    let d = b.input(&[], 2, 5);
    let op = Op::Quotient {
        bits: 0,
        rounding: Rounding::Nearest,
    };
    let q = b.push(op, &[x, d]);
    every_lie(&Case::new(b.finish(&[place, taken, q]), 1), false);
}

/// Verifies changed bytes.
fn altered(case: &Case, bytes: Vec<u8>) -> Result<(), Error> {
    case.verify(&case.instances(&case.outputs), &Proof { bytes })
}

#[test]
fn every_field_of_a_proof() {
    let case = Case::new(step(Op::Clamp { lo: -3, hi: 5 }, &[3], -20, 19), 1);
    let (proof, _) = case.honest();
    assert!(proof.bytes.len().is_multiple_of(F_BYTES));
    for at in (0..proof.bytes.len()).step_by(F_BYTES) {
        let field = u32::from_le_bytes(proof.bytes[at..at + 4].try_into().unwrap());
        let p = carat_program::MODULUS as u32;
        // Another value; the same value with p added; no value at all; zero.
        for other in [
            if field.wrapping_add(1) == p {
                0
            } else {
                field.wrapping_add(1)
            },
            field.wrapping_add(p),
            u32::MAX,
            0,
        ] {
            if other == field {
                continue;
            }
            let mut bytes = proof.bytes.clone();
            bytes[at..at + 4].copy_from_slice(&other.to_le_bytes());
            assert!(
                altered(&case, bytes).is_err(),
                "field at byte {at}: {field} -> {other}"
            );
        }
    }
}

/// The same where everything is hidden.
#[test]
fn every_field_of_a_proof_that_hides() {
    let case = Case::new(step(Op::Clamp { lo: -3, hi: 5 }, &[3], -20, 19), 1);
    case.mode.set(VALUES_HIDDEN);
    let (proof, _) = case.honest();
    for at in (0..proof.bytes.len()).step_by(F_BYTES) {
        let mut bytes = proof.bytes.clone();
        bytes[at] ^= 1 << (at / F_BYTES % 8);
        assert!(altered(&case, bytes).is_err(), "field at byte {at}");
    }
    for n in (0..proof.bytes.len()).step_by(997) {
        assert!(altered(&case, proof.bytes[..n].to_vec()).is_err());
    }
    let longer = [&proof.bytes[..], &[0]].concat();
    assert_eq!(altered(&case, longer), Err(Error::Trailing));
}

#[test]
fn every_byte_of_a_proof() {
    let case = Case::new(step(Op::Shift { bits: 3 }, &[3], -20, 19), 1);
    let (proof, _) = case.honest();
    for at in 0..proof.bytes.len() {
        let mut bytes = proof.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(altered(&case, bytes).is_err(), "byte {at}");
    }
}

#[test]
fn cuts_additions_and_other_orders() {
    let case = Case::new(network(2), 1);
    let (proof, _) = case.honest();
    let bytes = &proof.bytes;
    for n in (0..bytes.len())
        .step_by(97)
        .chain(bytes.len() - 5..bytes.len())
    {
        assert!(altered(&case, bytes[..n].to_vec()).is_err(), "cut to {n}");
    }
    for more in [vec![0], vec![0; 4], bytes.clone()] {
        let longer = [&bytes[..], &more].concat();
        assert_eq!(altered(&case, longer), Err(Error::Trailing));
    }
    // Two neighbouring elements exchanged, and one left out or sent twice.
    for at in (32..bytes.len() - 40).step_by(20).step_by(7) {
        let (a, b) = (&bytes[at..at + 20], &bytes[at + 20..at + 40]);
        if a != b {
            let swapped = [&bytes[..at], b, a, &bytes[at + 40..]].concat();
            assert!(altered(&case, swapped).is_err(), "exchanged at {at}");
            let left_out = [&bytes[..at], &bytes[at + 20..]].concat();
            assert!(altered(&case, left_out).is_err(), "left out at {at}");
            let twice = [&bytes[..at + 20], &bytes[at..]].concat();
            assert!(altered(&case, twice).is_err(), "twice at {at}");
        }
    }
    // Random bytes of any length.
    let mut rng = Rng(3);
    for n in [0, 31, 32, 52, 1000, bytes.len()] {
        let noise = (0..n).map(|_| rng.next() as u8).collect();
        assert!(altered(&case, noise).is_err());
    }
}

/// A proof with proximity proofs in it: its fields, sampled.
#[test]
fn fields_of_a_large_proof() {
    let mut b = Builder::new(1);
    let x = b.input(&[70, 65], -128, 127);
    let w = b.random(&[65, 70], -128, 127);
    let v = b.push(contraction("ij,jk->ik"), &[x, w]);
    let v = b.push(Op::Shift { bits: 9 }, &[v]);
    let y = b.push(Op::Clamp { lo: -128, hi: 127 }, &[v]);
    let case = Case::new(b.finish(&[y]), 1);
    let (proof, _) = case.honest();
    for at in (0..proof.bytes.len()).step_by(F_BYTES * 211) {
        let mut bytes = proof.bytes.clone();
        bytes[at] ^= 1;
        assert!(altered(&case, bytes).is_err(), "byte {at}");
    }
}

/// Constants in two polynomials: their roots, the part of each, and both openings.
#[test]
fn every_message_of_constants_in_two_polynomials() {
    let mut b = Builder::new(1);
    let x = b.input(&[128], -3, 3);
    let w = b.random(&[128, 64], -3, 3);
    let bias = b.random(&[64], -9, 9);
    let v = b.push(contraction("i,ij->j"), &[x, w]);
    let linear = Op::Linear {
        coefficients: vec![1, 1],
        bias: 0,
    };
    let v = b.push(linear, &[v, bias]);
    let y = b.push(Op::Clamp { lo: -5, hi: 5 }, &[v]);
    let case = Case::new(b.finish(&[y]), 1);
    assert_eq!(case.plan.weights.len(), 2);
    every_lie(&case, false);
    // Roots exchanged are another key's.
    let (proof, _) = case.honest();
    let mut bytes = proof.bytes;
    bytes[..64].rotate_left(32);
    refused(altered(&case, bytes));
}
