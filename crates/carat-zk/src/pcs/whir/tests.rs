//! Our prover against the library's.

use super::*;
use crate::{
    pcs::{Profile, Schedule, Use},
    transcript::Transcript,
};
use p3_commit::MultilinearPcs;
use p3_field::PrimeCharacteristicRing;
use p3_matrix::dense::RowMajorMatrix;
use p3_sumcheck::layout::{Layout as _, PrefixProver, Table};

fn values(n: usize) -> Vec<F> {
    let mut state = 11u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        F::from_u32((state >> 34) as u32)
    };
    (0..1 << n).map(|_| next()).collect()
}

/// What the library makes of the same polynomial at the same point: root, value, proof.
fn library(scheme: &Scheme, n: usize, transcript: &mut Transcript) -> (Root, E, wire::Proof) {
    let table = Table::new(RowMajorMatrix::new(values(n), 1 << n));
    let folding = scheme.config().round_folding_factor(0);
    let witness = PrefixProver::<F, E>::new_witness(vec![table], folding);
    let mut lost = Transcript::new("");
    let (cap, data) =
        <Pcs as MultilinearPcs<E, Challenger>>::commit(&scheme.pcs, witness, lost.challenger())
            .unwrap();
    let point = Point::new(transcript.point(n));
    let proof = (scheme.pcs)
        .open_at(data, &scheme.protocol, &[point], transcript.challenger())
        .unwrap();
    (
        Root(cap.roots()[0]),
        proof.evals[0].current()[0],
        proof.whir,
    )
}

/// All that a proof holds, as text: the library's proofs cannot be compared.
fn text(proof: &wire::Proof) -> String {
    let rounds = proof.rounds.iter().map(|r| {
        let messages = (&r.commitment, &r.ood_answers, r.pow_witness);
        format!("{messages:?} {:?} {:?}", r.openings, r.sumcheck)
    });
    let last = (&proof.final_poly, proof.final_pow_witness);
    format!(
        "{:?} {:?} {:?} {last:?} {:?} {:?}",
        proof.initial_ood_answers,
        proof.initial_sumcheck,
        rounds.collect::<Vec<_>>(),
        proof.final_openings,
        proof.final_sumcheck
    )
}

/// For every row of the table up to 2^20 (`proven-120`: 2^17), a commitment and an opening are the library's, and what the
/// transcript gives afterwards as well.
#[test]
fn openings_are_what_the_library_makes() {
    for profile in Profile::ALL {
        for purpose in [Use::Witness, Use::Fold] {
            for n in 14..=if profile == Profile::Proven100 {
                20
            } else {
                17
            } {
                let Schedule::Whir(parameters) = Schedule::new(profile, n, purpose).unwrap() else {
                    panic!("{n} variables have no proximity proof");
                };
                let scheme = Scheme::new(n, &parameters).unwrap();
                let mut theirs = Transcript::new("test");
                let mut sink = Sink::new(theirs.clone());
                let (root, value, proof) = library(&scheme, n, &mut theirs);
                let (own, data) = scheme.commit(values(n));
                assert_eq!(own, root);
                let point = sink.transcript.point(n);
                assert_eq!(scheme.open(&data, &point, &mut sink), value);
                assert_eq!(
                    sink.transcript.clone().challenge(),
                    theirs.challenge(),
                    "{} {} {n}",
                    profile.name(),
                    purpose.name()
                );
                let bytes = sink.finish();
                let mut source = Source::new(Transcript::new("test"), &bytes);
                let shape = wire::Shape::of(scheme.config());
                let own = wire::decode(&shape, &mut source).unwrap();
                source.finish().unwrap();
                assert_eq!(text(&own), text(&proof));
            }
        }
    }
}
