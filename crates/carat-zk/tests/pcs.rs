//! The polynomial commitment: what opens, opens; everything else is refused.
#![cfg(feature = "prover")]

use carat_zk::{
    Error,
    field::{E, F},
    pcs::{MAX_VARIABLES, Profile, Root, Use, Whir},
    transcript::{Sink, Source, Transcript},
};
use p3_field::PrimeCharacteristicRing;

/// Some values, from a plain generator.
fn values(n: usize, seed: u64) -> Vec<F> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..1_usize << n)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            F::from_u32((state >> 33) as u32)
        })
        .collect()
}

/// The value of a polynomial by the definition: the sum over the cube of value times Lagrange factor.
fn naive(values: &[F], point: &[E]) -> E {
    let n = point.len();
    values
        .iter()
        .enumerate()
        .map(|(index, value)| {
            let factor: E = point
                .iter()
                .enumerate()
                .map(|(i, x)| {
                    if index >> (n - 1 - i) & 1 == 1 {
                        *x
                    } else {
                        E::ONE - *x
                    }
                })
                .product();
            factor * *value
        })
        .sum()
}

struct Opened {
    scheme: Whir,
    root: Root,
    point: Vec<E>,
    value: E,
    proof: Vec<u8>,
}

fn transcript(root: &Root) -> Transcript {
    let mut transcript = Transcript::new("test of the polynomial commitment");
    transcript.bytes("root", &root.0);
    transcript
}

fn open(profile: Profile, n: usize, purpose: Use) -> Opened {
    let scheme = Whir::new(profile, n, purpose).unwrap();
    let (root, data) = scheme.commit(values(n, n as u64 + 7)).unwrap();
    let mut sink = Sink::new(transcript(&root));
    let point = sink.transcript.point(n);
    let value = scheme.open(&data, &point, &mut sink).unwrap();
    Opened {
        scheme,
        root,
        point,
        value,
        proof: sink.finish(),
    }
}

impl Opened {
    fn verify(&self, root: &Root, point: &[E], value: E, proof: &[u8]) -> Result<(), Error> {
        let mut source = Source::new(transcript(root), proof);
        source.transcript.point(self.point.len());
        self.scheme.verify(root, point, value, &mut source)?;
        source.finish()
    }
}

#[test]
fn what_was_committed_opens() {
    for n in 0..=18 {
        for purpose in Use::ALL {
            let opened = open(Profile::Proven100, n, purpose);
            if n <= 14 {
                let expected = naive(&values(n, n as u64 + 7), &opened.point);
                assert_eq!(opened.value, expected, "n = {n}");
            }
            opened
                .verify(&opened.root, &opened.point, opened.value, &opened.proof)
                .unwrap();
            assert!(opened.proof.len() <= opened.scheme.max_opening_bytes());
        }
    }
}

#[test]
fn every_size_and_profile_reaches_its_bits() {
    for profile in Profile::ALL {
        for purpose in Use::ALL {
            for n in 0..=MAX_VARIABLES {
                let scheme = Whir::new(profile, n, purpose).unwrap();
                let security = scheme.security();
                assert!(
                    security.bits() >= f64::from(profile.opening_bits()),
                    "{profile:?} {purpose:?} n = {n}: {} bits",
                    security.bits()
                );
                // Proof of work is an addition, never the bulk of a term.
                assert!(security.terms.iter().all(|t| t.grinding <= 18));
                assert!(security.candidates_bits <= 7.0);
            }
            assert!(matches!(
                Whir::new(profile, MAX_VARIABLES + 1, purpose),
                Err(Error::Unsupported(_))
            ));
        }
    }
}

#[test]
fn openings_are_as_short_as_planned() {
    for (n, kib) in [
        (13, 32),
        (14, 36),
        (16, 66),
        (18, 96),
        (20, 130),
        (22, 140),
        (24, 160),
    ] {
        for purpose in [Use::Witness, Use::Weights] {
            let scheme = Whir::new(Profile::Proven100, n, purpose).unwrap();
            // The most that siblings can take, which is above what is usual.
            let most = scheme.max_opening_bytes();
            assert!(
                most <= kib * 1024 * 3 / 2,
                "{purpose:?} n = {n}: {most} bytes"
            );
        }
    }
}

#[test]
fn another_value_point_root_or_transcript_is_refused() {
    for (n, purpose) in [
        (1, Use::Witness),
        (9, Use::Witness),
        (14, Use::Witness),
        (15, Use::Witness),
        (16, Use::Weights),
        (21, Use::Weights),
    ] {
        let opened = open(Profile::Proven100, n, purpose);
        let wrong = opened.value + E::ONE;
        assert!(matches!(
            opened.verify(&opened.root, &opened.point, wrong, &opened.proof),
            Err(Error::Opening(what, _)) if what == purpose.name()
        ));
        for i in 0..n {
            let mut point = opened.point.clone();
            point[i] += E::ONE;
            assert!(
                opened
                    .verify(&opened.root, &point, opened.value, &opened.proof)
                    .is_err()
            );
        }
        for byte in [0, 31] {
            let mut root = opened.root;
            root.0[byte] ^= 1;
            assert!(
                opened
                    .verify(&root, &opened.point, opened.value, &opened.proof)
                    .is_err()
            );
        }
        // The point must be of the right size.
        for point in [
            &opened.point[1..],
            &[opened.point.clone(), vec![E::ONE]].concat(),
        ] {
            assert!(matches!(
                opened.verify(&opened.root, point, opened.value, &opened.proof),
                Err(Error::Values(_))
            ));
        }
    }
    // A proof belongs to what was absorbed before it. (The direct form shows everything, so it may stand anywhere.)
    let opened = open(Profile::Proven100, 14, Use::Witness);
    let mut source = Source::new(Transcript::new("another transcript"), &opened.proof);
    assert!(
        opened
            .scheme
            .verify(&opened.root, &opened.point, opened.value, &mut source)
            .is_err()
    );
}

#[test]
fn a_proof_belongs_to_one_profile_and_use() {
    let opened = open(Profile::Proven100, 14, Use::Witness);
    for profile in Profile::ALL {
        for purpose in Use::ALL {
            let scheme = Whir::new(profile, 14, purpose).unwrap();
            let mut source = Source::new(transcript(&opened.root), &opened.proof);
            source.transcript.point(14);
            let verdict = scheme
                .verify(&opened.root, &opened.point, opened.value, &mut source)
                .and_then(|()| source.finish());
            assert_eq!(
                verdict.is_ok(),
                profile == Profile::Proven100 && purpose == Use::Witness
            );
        }
    }
}

#[test]
fn one_commitment_opens_often() {
    for n in [5, 14] {
        let scheme = Whir::new(Profile::Proven100, n, Use::Weights).unwrap();
        let committed = values(n, 3);
        let (root, data) = scheme.commit(committed.clone()).unwrap();
        assert_eq!(data.root(), root);
        assert_eq!(data.evaluations(), committed);
        let mut sink = Sink::new(transcript(&root));
        let mut claims = Vec::new();
        for _ in 0..3 {
            let point = sink.transcript.point(n);
            let value = scheme.open(&data, &point, &mut sink).unwrap();
            assert_eq!(value, naive(&committed, &point));
            claims.push(value);
        }
        let proof = sink.finish();
        let mut source = Source::new(transcript(&root), &proof);
        for value in claims {
            let point = source.transcript.point(n);
            scheme.verify(&root, &point, value, &mut source).unwrap();
        }
        source.finish().unwrap();
    }
}

#[test]
fn points_on_the_cube_give_the_values() {
    for n in [3, 14] {
        let scheme = Whir::new(Profile::Proven100, n, Use::Witness).unwrap();
        let committed = values(n, 11);
        let (root, data) = scheme.commit(committed.clone()).unwrap();
        for index in [0, 1, (1 << n) - 1, 5] {
            let point: Vec<E> = (0..n)
                .map(|i| E::from_bool(index >> (n - 1 - i) & 1 == 1))
                .collect();
            let mut sink = Sink::new(transcript(&root));
            let value = scheme.open(&data, &point, &mut sink).unwrap();
            assert_eq!(value, E::from(committed[index]));
        }
    }
}

#[test]
fn values_of_another_size_are_not_committed() {
    let scheme = Whir::new(Profile::Proven100, 4, Use::Witness).unwrap();
    assert!(matches!(scheme.commit(values(3, 1)), Err(Error::Values(_))));
    let (_, data) = scheme.commit(values(4, 1)).unwrap();
    let other = Whir::new(Profile::Proven100, 5, Use::Witness).unwrap();
    let mut sink = Sink::new(Transcript::new("x"));
    assert!(matches!(
        other.open(&data, &[E::ONE; 5], &mut sink),
        Err(Error::Values(_))
    ));
}

/// Refuses every changed proof, with the work spread over a few threads.
fn refuse_all(opened: &Opened, changes: usize, change: impl Fn(usize, &mut Vec<u8>) + Sync) {
    let threads = 4;
    std::thread::scope(|scope| {
        for first in 0..threads {
            let change = &change;
            scope.spawn(move || {
                for i in (first..changes).step_by(threads) {
                    let mut proof = opened.proof.clone();
                    change(i, &mut proof);
                    let verdict = opened.verify(&opened.root, &opened.point, opened.value, &proof);
                    assert!(verdict.is_err(), "change {i} is accepted");
                }
            });
        }
    });
}

#[test]
fn every_byte_counts() {
    // Every value of every byte, for a small polynomial.
    let opened = open(Profile::Proven100, 3, Use::Witness);
    refuse_all(&opened, opened.proof.len() * 255, |i, proof| {
        proof[i / 255] ^= (i % 255) as u8 + 1;
    });
    // Every byte of a proximity proof, one bit each.
    for purpose in Use::ALL {
        let opened = open(Profile::Proven100, 14, purpose);
        refuse_all(&opened, opened.proof.len(), |i, proof| {
            proof[i] ^= 1 << (i % 8);
        });
    }
    // Of the large form for constants, a part.
    let opened = open(Profile::Proven100, 21, Use::Weights);
    refuse_all(&opened, opened.proof.len() / 397, |i, proof| {
        proof[i * 397] ^= 1 << (i % 8);
    });
}

#[test]
fn a_value_has_one_encoding() {
    // The residue plus p is the same element and must still be refused.
    let p = 2_130_706_433_u32;
    for (n, purpose) in [(3, Use::Witness), (14, Use::Witness), (14, Use::Weights)] {
        let opened = open(Profile::Proven100, n, purpose);
        let mut tried = 0;
        for at in (0..opened.proof.len() - 3).step_by(4) {
            let mut proof = opened.proof.clone();
            let word: [u8; 4] = proof[at..at + 4].try_into().unwrap();
            let Some(shifted) = u32::from_le_bytes(word).checked_add(p) else {
                continue;
            };
            proof[at..at + 4].copy_from_slice(&shifted.to_le_bytes());
            assert!(
                opened
                    .verify(&opened.root, &opened.point, opened.value, &proof)
                    .is_err()
            );
            tried += 1;
        }
        assert!(tried > 4);
    }
}

#[test]
fn neither_short_nor_long() {
    for (n, purpose) in [(3, Use::Witness), (14, Use::Witness), (14, Use::Weights)] {
        let opened = open(Profile::Proven100, n, purpose);
        refuse_all(&opened, opened.proof.len(), |i, proof| proof.truncate(i));
        let mut proof = opened.proof.clone();
        proof.push(0);
        assert_eq!(
            opened.verify(&opened.root, &opened.point, opened.value, &proof),
            Err(Error::Trailing)
        );
    }
}

#[test]
fn rubbish_is_refused_without_a_panic() {
    let opened = open(Profile::Proven100, 14, Use::Witness);
    let another = open(Profile::Proven100, 14, Use::Weights);
    let mut state = 1_u64;
    let mut next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for round in 0..2_000 {
        let mut proof = opened.proof.clone();
        match round % 5 {
            // Bytes from a generator, below p where they are elements.
            0 => {
                for word in proof.chunks_exact_mut(4) {
                    word.copy_from_slice(&(next() as u32 >> 1).to_le_bytes());
                }
            }
            1 => proof.fill(0),
            2 => proof.fill(next() as u8),
            // The tail of a proof for something else.
            3 => {
                let at = next() % proof.len();
                proof.truncate(at);
                proof.extend_from_slice(&another.proof[at.min(another.proof.len())..]);
            }
            // A stretch moved.
            _ => {
                let at = next() % proof.len();
                proof.rotate_left(at);
            }
        }
        if proof == opened.proof {
            continue;
        }
        assert!(
            opened
                .verify(&opened.root, &opened.point, opened.value, &proof)
                .is_err()
        );
    }
}
