//! Keys that hide constants: registrations, other constants under one key, and a fold that is committed to.

use super::*;
use crate::{ModelKey, field::E, register, verify_registration};
use p3_field::PrimeCharacteristicRing;

/// A contraction with a stated sum of weights, a bias that is no byte, a table, and a kernel of a convolution.
fn model(change: impl Fn(&mut Vec<i32>, usize)) -> (Program, Weights) {
    let mut b = Builder::new(3);
    let mut next = 0;
    let mut constant = |b: &mut Builder, dims: &[usize], lo: i32, hi: i32| {
        let mut rng = Rng(next as u64 + 1);
        let n = dims.iter().product();
        let mut data: Vec<i32> = (0..n)
            .map(|_| rng.range(lo.into(), hi.into()) as i32)
            .collect();
        // The ends of the range, so that it is the same whatever else changes.
        (data[0], data[1]) = (lo, hi);
        change(&mut data, next);
        next += 1;
        b.constant(dims, data)
    };
    let x = b.input(&[1, 2, 5, 4], -100, 90);
    let kernel = constant(&mut b, &[3, 2, 2, 3], -128, 127);
    let geometry = ConvGeometry {
        window: window(&[2, 3], 1),
        groups: 1,
    };
    let l1 = Some(1100);
    let v = b.push(Op::Conv { geometry, l1 }, &[x, kernel]);
    let bias = constant(&mut b, &[3, 1, 1], -90_000, 80_000);
    let linear = Op::Linear {
        coefficients: vec![1, 1],
        bias: 0,
    };
    let v = b.push(linear, &[v, bias]);
    let v = b.push(Op::Shift { bits: 10 }, &[v]);
    let v = b.push(Op::Clamp { lo: -128, hi: 127 }, &[v]);
    let table = constant(&mut b, &[256], -5, 120);
    let v = b.push(Op::Lut { offset: -128 }, &[v, table]);
    let w = constant(&mut b, &[3, 7], 0, 200);
    let spec = Contraction {
        a: "bcij".into(),
        b: "cd".into(),
        out: "bdij".into(),
    };
    let y = b.push(
        Op::Contract {
            spec,
            l1: Some(500),
        },
        &[v, w],
    );
    b.finish(&[y])
}

fn keyed((program, weights): &(Program, Weights)) -> ProvingKey {
    ProvingKey::hiding(program, weights, PROFILE, &secret()).unwrap()
}

fn registered(program: &Program, weights: &Weights) -> Result<(ModelKey, Proof), Error> {
    let key = ProvingKey::hiding(program, weights, PROFILE, &secret())?;
    let proof = register(program, weights, &key, &Options::default())?;
    Ok((*key.key(), proof))
}

#[test]
fn a_registration_shows_what_bounds_rest_on() {
    let honest = model(|_, _| ());
    let (key, proof) = registered(&honest.0, &honest.1).unwrap();
    verify_registration(&honest.0, &key, &proof).unwrap();
    assert!(
        crate::Ledger::registration(&honest.0, PROFILE)
            .unwrap()
            .bits
            > 100.0
    );
    // Under another key, and for another Program.
    let other = ModelKey {
        root: crate::pcs::Root([7; 32]),
        ..key
    };
    refused(verify_registration(&honest.0, &other, &proof));
    let another = network(2).0;
    refused(verify_registration(&another, &key, &proof));
    // Cut, longer, and changed.
    for n in (0..proof.bytes.len()).step_by(4099) {
        let bytes = proof.bytes[..n].to_vec();
        assert!(verify_registration(&honest.0, &key, &Proof { bytes }).is_err());
    }
    let mut rng = Rng(9);
    for _ in 0..60 {
        let mut bytes = proof.bytes.clone();
        let at = rng.below(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
        assert!(
            verify_registration(&honest.0, &key, &Proof { bytes }).is_err(),
            "byte {at}"
        );
    }
}

/// Constants outside their ranges, or whose sums are too large, cannot be registered as the honest prover does it; and a prover
/// that fills the columns as it likes is refused.
#[test]
fn constants_that_break_a_bound_are_not_registered() {
    let honest = model(|_, _| ());
    type Lie<'a> = (&'a str, usize, &'a dyn Fn(&mut Vec<i32>));
    let lies: [Lie<'_>; 8] = [
        ("a kernel's element above its range", 0, &|v| v[5] = 128),
        ("below it", 0, &|v| v[5] = -129),
        ("a sum of absolute values", 0, &|v| v[..12].fill(-128)),
        ("a bias above its range", 1, &|v| v[2] = 80_001),
        ("and below", 1, &|v| v[2] = -90_001),
        ("an entry of a table", 2, &|v| v[9] = 121),
        ("a weight below zero", 3, &|v| v[6] = -1),
        ("a sum of weights", 3, &|v| v.fill(200)),
    ];
    for (what, which, change) in lies {
        let (_, mut weights) = honest.clone();
        let mut data = weights.data[which].wide().into_owned();
        change(&mut data);
        weights.data[which] = data.into();
        let key = keyed(&(honest.0.clone(), weights.clone()));
        let plan = Plan::registration(&honest.0).unwrap();
        let keep = |_: usize, honest: &[i32]| Some(honest.to_vec());
        let values = Values::new(&honest.0, &weights, &plan.graph, &[]).forge(&keep);
        let options = Options {
            mode: Mode::Zk(crate::registration::HIDDEN),
            ..Options::default()
        };
        let proof = crate::prove::prove_registration(&plan, &key, &values, &options).unwrap();
        refused(verify_registration(&honest.0, key.key(), &proof));
        let honestly = register(&honest.0, &weights, &key, &Options::default());
        assert!(honestly.is_err(), "{what}");
    }
}

/// One key is for one set of constants, whichever way another one is brought in.
#[test]
fn other_constants_under_a_key_are_refused() {
    let honest = model(|_, _| ());
    let other = model(|v, which| {
        if which == 3 {
            v[4] += 1;
        }
    });
    let (a, b) = (Case::new(honest, 1), Case::new(other, 1));
    for case in [&a, &b] {
        case.mode.set(ALL_HIDDEN);
    }
    let (mine, theirs) = (a.setup().0.clone(), b.setup().0.clone());
    assert_ne!(mine.key().root, theirs.key().root);
    let instances = b.instances(&b.outputs);
    let (proof, _) = b.honest();
    // Named by the other key; proven with the other's constants under the first one's name.
    let key = ModelKey {
        program: b.program.digest(),
        ..*mine.key()
    };
    refused(verify(
        &b.program, &key, PROFILE, ALL_HIDDEN, &instances, &proof,
    ));
    let values = Values::new(&b.program, &b.weights, &b.setup().1.graph, &b.runs);
    let options = Options {
        mode: ALL_HIDDEN,
        seeds: &seeds(1),
        ..Options::default()
    };
    let forged = prove_with(
        b.setup().1,
        &theirs.named(key),
        &instances,
        &values,
        &options,
    )
    .unwrap();
    refused(verify(
        &b.program, &key, PROFILE, ALL_HIDDEN, &instances, &forged,
    ));
}

/// Two secrets hide the same constants under different keys, and a proof of one is none of the other.
#[test]
fn a_proof_is_for_one_secret() {
    let (program, weights) = model(|_, _| ());
    let key = |byte| {
        let secret = WeightsSecret::from_bytes([byte; 32]);
        *ProvingKey::hiding(&program, &weights, PROFILE, &secret)
            .unwrap()
            .key()
    };
    assert_eq!(key(1), key(1));
    assert_ne!(key(1).root, key(2).root);
    let (_, proof) = registered(&program, &weights).unwrap();
    refused(verify_registration(&program, &key(1), &proof));
}

/// A fold that is too long to be shown: 2^20 constants.
#[test]
fn a_fold_that_is_committed_to() {
    let mut b = Builder::new(3);
    let x = b.input(&[1000], -128, 127);
    let w = b.random(&[1000, 1040], -128, 127);
    let v = b.push(contraction("i,ij->j"), &[x, w]);
    let v = b.push(Op::Shift { bits: 12 }, &[v]);
    let y = b.push(Op::Clamp { lo: -128, hi: 127 }, &[v]);
    let case = Case::new(b.finish(&[y]), 1);
    case.mode.set(ALL_HIDDEN);
    let (proof, events) = case.honest();
    let instances = case.instances(&case.outputs);
    let sent = |wanted: &str| {
        let messages = events.iter().filter(|e| matches!(e, Event::Sent(..)));
        let at = messages
            .enumerate()
            .find(|(_, e)| matches!(e, Event::Sent(l, _) if l == wanted));
        at.unwrap_or_else(|| panic!("no {wanted}")).0
    };
    for label in [
        "weights root",
        "weights value",
        "weights mask",
        "fold root",
        "fold value",
        "pcs slices",
    ] {
        let lie = Lie {
            message: sent(label),
            at: 0,
            by: E::ONE,
            also: None,
        };
        let (lied, _) = case.lie(lie);
        assert!(hooks::told());
        refused(case.verify(&instances, &lied));
    }
    let mut rng = Rng(3);
    for _ in 0..40 {
        let mut bytes = proof.bytes.clone();
        let at = rng.below(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
        assert!(
            case.verify(&instances, &Proof { bytes }).is_err(),
            "byte {at}"
        );
    }
}
