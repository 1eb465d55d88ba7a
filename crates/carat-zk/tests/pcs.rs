//! The polynomial commitment: what opens, opens; everything else is refused.
#![cfg(feature = "prover")]

use carat_zk::{
    Error,
    field::{E, F},
    pcs::{Profile, Root, Use, Whir},
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
