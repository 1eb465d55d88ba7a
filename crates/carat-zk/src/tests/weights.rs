//! Keys that hide constants: registrations, other constants under one key, and a fold that is committed to.

use super::*;
use crate::{ModelKey, field::E, register, verify_registration};
use hooks::Stage;
use p3_field::{PrimeCharacteristicRing, PrimeField32};
use std::collections::BTreeSet;

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

/// Registers constants whatever they are, and asks the verifier.
fn insisted(program: &Program, weights: &Weights) -> (ProvingKey, Result<(), Error>) {
    let key = hiding_key(program, weights, &secret(), 0).unwrap();
    let plan = Plan::registration(program).unwrap();
    let keep = |_: usize, honest: &[i32]| Some(honest.to_vec());
    let values = Values::new(program, weights, &plan.graph, &[]).forge(&keep);
    let options = Options {
        mode: Mode::Zk(crate::registration::HIDDEN),
        ..Options::default()
    };
    let proof = crate::prove::prove_registration(&plan, &key, &values, &options).unwrap();
    let verdict = verify_registration(program, key.key(), &proof);
    (key, verdict)
}

fn registered(program: &Program, weights: &Weights) -> Result<(ModelKey, Proof), Error> {
    let key = hiding_key(program, weights, &secret(), 0)?;
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
        let (key, verdict) = insisted(&honest.0, &weights);
        refused(verdict);
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
    let values = b.values();
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
        *hiding_key(&program, &weights, &secret, 0).unwrap().key()
    };
    assert_eq!(key(1), key(1));
    assert_ne!(key(1).root, key(2).root);
    let (_, proof) = registered(&program, &weights).unwrap();
    refused(verify_registration(&program, &key(1), &proof));
}

/// A key has many commitments, each for two proofs, and all of them prove under it.
#[test]
fn every_commitment_of_a_key_is_opened_twice() {
    let case = Case::new(network(3), 1);
    case.mode.set(ALL_HIDDEN);
    let (program, weights) = (&case.program, &case.weights);
    let (name, roots) = HidingRoots::new(program, weights, PROFILE, &secret()).unwrap();
    let key = |before| ProvingKey::hiding(program, weights, &name, &secret(), &roots, before);
    let budget = crate::hidden_weights_budget(program, PROFILE).unwrap();
    assert_eq!(budget, 128);
    let opened = |before| key(before).unwrap().hidden.unwrap().pin.opened;
    let order: Vec<_> = (0..budget).map(opened).collect();
    let (first, second) = order.split_at(64);
    for round in [first, second] {
        assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), 64);
        // In no order that the roots have.
        assert_ne!(round, roots.0);
    }
    // Two proofs that open the same one do not say how many were made between them.
    let again = |root| second.iter().position(|other| other == root).unwrap() + 64;
    let distances: BTreeSet<_> = first
        .iter()
        .enumerate()
        .map(|(i, root)| again(root) - i)
        .collect();
    assert!(distances.len() > 8, "{distances:?}");
    assert!(matches!(key(budget), Err(Error::Values(_))));
    // A key is for one proof, whatever it is of.
    let once = key(0).unwrap();
    register(program, weights, &once, &Options::default()).unwrap();
    let again = register(program, weights, &once.clone(), &Options::default());
    assert!(matches!(again, Err(Error::Values(_))));
    // Kept and read again; of another secret, or with one root changed.
    assert_eq!(
        HidingRoots::from_bytes(&roots.to_bytes()),
        Some(roots.clone())
    );
    for cut in [0, 1, 31, 32 * 63, 32 * 64 - 1] {
        let some = HidingRoots::from_bytes(&roots.to_bytes()[..cut]);
        assert_eq!(some, None, "{cut} bytes");
    }
    let mut changed = roots.clone();
    let unused = roots.0.iter().position(|&root| root != first[0]).unwrap();
    changed.0[unused].0[7] ^= 1;
    let strange = ProvingKey::hiding(program, weights, &name, &secret(), &changed, 0);
    assert!(matches!(strange, Err(Error::Values(_))));
    let other = WeightsSecret::from_bytes([6; 32]);
    let strange = ProvingKey::hiding(program, weights, &name, &other, &roots, 0);
    assert!(matches!(strange, Err(Error::Values(_))));
    let instances = case.instances(&case.outputs);
    let values = case.values();
    let options = Options {
        mode: ALL_HIDDEN,
        seeds: &seeds(1),
        ..Options::default()
    };
    let prove = |key: &ProvingKey| {
        let proof = prove_with(case.setup().1, key, &instances, &values, &options).unwrap();
        verify(program, &name, PROFILE, ALL_HIDDEN, &instances, &proof)
    };
    for before in [0, 1, 77, 127] {
        let key = key(before).unwrap();
        assert_eq!(key.key(), &name);
        prove(&key).unwrap();
    }
    // A commitment that is none of the key's: beside the others, or in the place of one.
    let mut honest = key(5).unwrap();
    let mut strange = hiding_key(program, weights, &other, 0).unwrap();
    let own = honest.hidden.take().unwrap();
    let theirs = strange.hidden.take().unwrap();
    for data in own.exchanged(&theirs) {
        let mut key = key(5).unwrap().named(name);
        key.hidden = Some(data);
        refused(prove(&key));
    }
}

/// A fold that is too long to be sent: 2^20 constants.
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
    // The same again from the same randomness, although threads look for proofs of work in it.
    hooks::set(Stage {
        seed: Some([8; 32]),
        ..Stage::default()
    });
    assert!(case.honest().0 == case.honest().0);
    hooks::set(Stage::default());
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

/// Constants at the ends of what a registration tells apart: scalars, ranges of one value or of one sign, of 2^16 values and of
/// one more, as wide as there are; sums that are zero, over no axis, and over different axes of one constant.
fn odd() -> (Program, Weights) {
    let mut b = Builder::new(7);
    let x = b.input(&[4], -1, 1);
    let s = b.input(&[], -1, 1);
    let mut out = Vec::new();
    for data in [
        vec![0; 4],
        vec![-3; 4],
        vec![-5, -1, -2, -5],
        vec![7, 1, 2, 7],
        vec![-32_768, 32_767, 0, 1],
        vec![-32_768, 32_768, 5, -5],
        vec![-40_000, 90_000, 1, -1],
    ] {
        let w = b.constant(&[4], data);
        out.push(b.push(contraction("i,i->"), &[x, w]));
    }
    let w = b.constant(&[4, 3], vec![-2, 1, 0, 3, -4, 0, 1, 1, 1, 0, 0, 2]);
    out.push(b.push(contraction("i,ij->j"), &[x, w]));
    out.push(b.push(contraction("i,ij->ij"), &[x, w]));
    let y = b.push(contraction("i,ij->j"), &[x, w]);
    out.push(b.push(contraction("j,ij->i"), &[y, w]));
    let w = b.constant(&[], vec![-9]);
    out.push(b.push(contraction(",->"), &[s, w]));
    let only = Op::Linear {
        coefficients: vec![1],
        bias: 0,
    };
    let w = b.constant(&[2], vec![-(1 << 28), (1 << 28) - 1]);
    out.push(b.push(only.clone(), &[w]));
    let w = b.constant(&[], vec![11]);
    out.push(b.push(only, &[w]));
    b.finish(&out)
}

#[test]
fn constants_of_every_kind_are_registered() {
    let (program, weights) = odd();
    weights.check(&program).unwrap();
    let (key, proof) = registered(&program, &weights).unwrap();
    verify_registration(&program, &key, &proof).unwrap();
    // Each constant one above and one below its range, and sums that are one too large within the range.
    let mut lies: Vec<(usize, usize, i32)> = vec![(2, 2, -3), (3, 2, 3), (4, 2, 1)];
    lies.extend([(5, 2, 6), (6, 3, -2), (7, 0, -3), (7, 5, 1)]);
    for (c, constant) in program.constants.iter().enumerate() {
        let last = constant.shape.elements() - 1;
        let range = constant.range;
        lies.extend([
            (c, last, range.hi as i32 + 1),
            (c, last, range.lo as i32 - 1),
        ]);
    }
    for (c, at, value) in lies {
        let mut weights = weights.clone();
        let mut data = weights.data[c].wide().into_owned();
        data[at] = value;
        weights.data[c] = data.into();
        let (_, verdict) = insisted(&program, &weights);
        assert!(verdict.is_err(), "constant {c}, element {at}: {value}");
    }
}

/// A tree may be near the code words of two sets of constants. Here its maker even knows which places will be shown. The one
/// that the key's value belongs to is proven; a proof of the other is refused, by nothing but that value.
#[test]
fn a_tree_of_two_polynomials_stands_for_one() {
    let (program, first) = model(|_, _| ());
    let second = model(|v, which| {
        if which == 3 {
            v[4] = (v[4] + 1) % 200;
        }
    });
    let theirs = Case::new((program.clone(), second.1), 1);
    theirs.mode.set(ALL_HIDDEN);
    let mine = hiding_key(&program, &first, &secret(), 0).unwrap();
    let stage = Stage {
        challenges: Some(3),
        ..Stage::default()
    };
    let instances = theirs.instances(&theirs.outputs);
    let graph = &theirs.setup().1.graph;
    let values = Values::new(&program, &theirs.weights, graph, &theirs.runs);
    hooks::set(stage);
    theirs.prove(&instances, &values).unwrap();
    let heard = hooks::heard();
    // The witness's first.
    let shown = (heard.iter().filter(|(label, _)| label == "positions")).nth(1);
    let (_, shown) = shown.expect("places of the constants' tree");
    let shown: Vec<usize> = shown
        .iter()
        .map(|p| p.as_canonical_u32() as usize)
        .collect();
    let hidden = |key: &ProvingKey| key.hidden.clone().expect("a key that hides");
    let (a, b) = (hidden(&mine), hidden(theirs.setup().0));
    for belongs in [true, false] {
        let data = a.grafted(&b, &shown, mine.key(), belongs);
        let name = ModelKey {
            root: data.pin.joint_root(),
            ..*mine.key()
        };
        let mut key = theirs.setup().0.clone();
        key.hidden = Some(data);
        let key = key.named(name);
        let options = Options {
            mode: ALL_HIDDEN,
            seeds: &seeds(1),
            ..Options::default()
        };
        hooks::set(stage);
        let plan = theirs.setup().1;
        let proof = prove_with(plan, &key, &instances, &values, &options).unwrap();
        hooks::set(stage);
        let verdict = verify(&program, &name, PROFILE, ALL_HIDDEN, &instances, &proof);
        hooks::set(Stage::default());
        let expected = if belongs {
            Ok(())
        } else {
            Err(Error::Check("the equations under the pads"))
        };
        assert_eq!(verdict, expected);
    }
}

/// No proof that hides something has the bits of `proven-120`: the field is too small for it. The ledger says so.
#[test]
fn the_ledger_refuses_what_the_field_cannot_give() {
    let (program, _) = model(|_, _| ());
    let stronger = Profile::Proven120;
    for ledger in [
        crate::Ledger::registration(&program, stronger),
        crate::Ledger::new(&program, stronger, ALL_HIDDEN, 1),
        crate::Ledger::new(&program, stronger, VALUES_HIDDEN, 1),
    ] {
        match ledger {
            Err(Error::Unsupported(why)) => assert!(why.contains("proven-120"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}
