//! Attacks on keys that hide constants: two models under one key, what several proofs under one key say together, and what is
//! charged for it.

use super::*;
use crate::{
    ModelKey,
    field::{DEGREE, E, E_BYTES, F, F_BYTES, read_f},
    hide::{code::element, pin::Pin, random::Purpose, weights::Scheme},
    layout::eq_table,
    prove, register,
    store::Store,
    verify_registration,
};
use hooks::Stage;
use p3_field::{Field, PrimeCharacteristicRing, PrimeField32, TwoAdicField};

/// Bytes of a proof before the root of its pads: the top, the value, the number, the commitment and its path.
const HEAD: usize = 32 + E_BYTES + 4 + 32 + 6 * 32;
const DIGEST: usize = 32;

/// A contraction of three inputs with constants.
fn small(constants: &[i32]) -> (Program, Weights) {
    let mut p = Builder::new(3);
    let x = p.input(&[3], -20, 20);
    let w = p.constant(&[3, constants.len() / 3], constants.to_vec());
    let y = p.push(contraction("i,ij->j"), &[x, w]);
    p.finish(&[y])
}

fn case(constants: &[i32]) -> Case {
    let (program, weights) = small(constants);
    let inputs = tensors(&program, &[&[7, -11, 13]]);
    let case = Case::on((program, weights), vec![inputs]);
    case.mode.set(ALL_HIDDEN);
    case
}

/// The key for its proof number `before`.
fn key(case: &Case, secret: &WeightsSecret, before: u32) -> ProvingKey {
    hiding_key(&case.program, &case.weights, secret, before).unwrap()
}

fn prove_under(case: &Case, key: &ProvingKey) -> Proof {
    let instances = case.instances(&case.outputs);
    let options = Options {
        mode: ALL_HIDDEN,
        seeds: &seeds(instances.len()),
        ..Options::default()
    };
    prove_with(case.setup().1, key, &instances, &case.values(), &options).unwrap()
}

/// A key keeps the layout of its last proof. The next one may be of another number of statements, of another mode, or, by
/// mistake, of another program.
#[test]
fn a_kept_layout_is_used_for_nothing_else() {
    let three = |constants: &[i32]| {
        let (program, weights) = small(constants);
        let input = |i: i32| tensors(&program, &[&[7 - i, -11, 13]]);
        Case::on((program.clone(), weights), (0..3).map(input).collect())
    };
    let (ours, other) = (three(&[1, -2, 3, 4, -5, 6]), three(&[7, 8, 9]));
    let made = |case: &Case, key: &ProvingKey, count: usize, mode: Mode, limit: u64| {
        case.mode.set(mode);
        let instances = &case.instances(&case.outputs)[..count];
        let options = Options {
            memory_limit: limit,
            mode,
            seeds: &seeds(count),
            ..Options::default()
        };
        let (program, weights) = (&case.program, &case.weights);
        let proof = prove(
            program,
            weights,
            key,
            instances,
            &case.runs[..count],
            &options,
        )?;
        let verdict = case.verify(instances, &proof);
        Ok::<_, Error>((proof, verdict))
    };
    let kept = ours.key.clone();
    for (case, count, mode) in [
        (&ours, 2, Mode::Succinct),
        (&ours, 2, Mode::Succinct),
        (&ours, 3, Mode::Succinct),
        (&ours, 3, VALUES_HIDDEN),
        (&ours, 1, Mode::Succinct),
        (&other, 1, Mode::Succinct),
        (&ours, 1, Mode::Succinct),
    ] {
        let with = |key: &ProvingKey| made(case, key, count, mode, u64::MAX);
        match (with(&kept), with(&ours.key.clone())) {
            (Ok((proof, verdict)), Ok((expected, _))) => {
                assert_eq!(verdict.is_ok(), core::ptr::eq(case, &ours));
                // What hides is drawn anew.
                assert!(proof.bytes == expected.bytes || mode != Mode::Succinct);
            }
            (Err(error), Err(expected)) => assert_eq!(error, expected),
            _ => panic!("a kept layout matters"),
        }
        // The layout is kept now, and its need of memory with it.
        let refused = made(case, &kept, count, mode, 1);
        assert!(matches!(refused, Err(Error::Memory { .. })));
    }
}

/// A run has the Program's tensors, or there is no proof.
#[test]
fn a_run_with_other_tensors_is_refused() {
    let (program, weights) = small(&[1, -2, 3, 4, -5, 6]);
    let inputs = tensors(&program, &[&[7, -11, 13]]);
    let case = Case::on((program, weights), vec![inputs]);
    let instances = case.instances(&case.outputs);
    let attempt = |run: Run| {
        let (program, weights) = (&case.program, &case.weights);
        prove(
            program,
            weights,
            &case.key,
            &instances,
            &[run],
            &Options::default(),
        )
    };
    let honest = &case.runs[0];
    assert!(attempt(honest.clone()).is_ok());
    let shorter = |x: &Tensor| {
        let data = x.data()[1..].to_vec();
        Tensor::new(carat_program::Shape::new(&[data.len()]).unwrap(), data).unwrap()
    };
    let mut others = vec![honest.clone(); 4];
    others[0].inputs[0] = shorter(&honest.inputs[0]);
    others[1].nodes[0] = shorter(&honest.nodes[0]);
    others[2].inputs.clear();
    others[3].nodes.clear();
    for run in others {
        assert!(matches!(attempt(run), Err(Error::Values(_))));
    }
}

/// The number of the commitment that a proof opens.
fn number(proof: &Proof) -> u32 {
    let at = 32 + E_BYTES;
    u32::from_le_bytes(proof.bytes[at..at + 4].try_into().unwrap())
}

/// A committer puts a commitment to another model among those of a key, registers the first and proves the second.
#[test]
fn a_key_over_two_models_proves_the_registered_one() {
    let first = case(&[1, -2, 3, 4, -5, 6]);
    let second = case(&[2, -2, 3, 4, -5, 6]);
    // Ranges are the same, so one Program may have both; hashes of constants are no part of a proof.
    let program = &first.program;
    let theirs = Case::on(
        (program.clone(), second.weights.clone()),
        vec![second.runs[0].inputs.clone()],
    );
    theirs.mode.set(ALL_HIDDEN);
    let (one, two) = (secret(), WeightsSecret::from_bytes([6; 32]));
    let make = |weights: &Weights, secret| HidingRoots::new(program, weights, PROFILE, secret);
    let (_, mut roots) = make(&first.weights, &one).unwrap();
    let (_, others) = make(&second.weights, &two).unwrap();
    let foreign = number(&prove_under(&theirs, &key(&theirs, &two, 0))) as usize;
    roots.0[foreign] = others.0[foreign];
    // Its maker names the key as the roots and a model give it.
    let hiding = |case: &Case, secret, before| {
        let honest = key(case, secret, 0).hidden.unwrap();
        let (values, vars) = (honest.values(), honest.pin.point.len());
        let of = (&program.digest(), PROFILE);
        let name = ModelKey {
            program: program.digest(),
            profile: PROFILE,
            root: Pin::of(&roots, 0, of, values, vars).joint_root(),
        };
        ProvingKey::hiding(program, &case.weights, &name, secret, &roots, before)
    };
    // One of the first three opens a commitment to the first model.
    let honest = (0..3).find_map(|before| hiding(&first, &one, before).ok());
    let honest = honest.expect("a commitment of its own");
    let name = *honest.key();
    let proof = register(program, &first.weights, &honest, &Options::default()).unwrap();
    verify_registration(program, &name, &proof).unwrap();
    let verdict = |case: &Case, key: &ProvingKey| {
        let instances = case.instances(&case.outputs);
        let proof = prove_under(case, key);
        verify(program, &name, PROFILE, ALL_HIDDEN, &instances, &proof)
    };
    verdict(&first, &honest).unwrap();
    // The other commitment is the key's, its value is not.
    let other = hiding(&theirs, &two, 0).unwrap();
    assert_ne!(other.key().root, name.root);
    let mut forged = other.named(name);
    let root = Error::Check("the root of the hidden constants");
    assert_eq!(verdict(&theirs, &forged), Err(root));
    let pin = honest.hidden.as_ref().unwrap().pin.value;
    forged.hidden.as_mut().unwrap().pin.value = pin;
    let equations = Error::Check("the equations under the pads");
    assert_eq!(verdict(&theirs, &forged), Err(equations));
}

/// The head of a proof has one form.
#[test]
fn a_commitment_has_one_number_and_one_path() {
    let case = case(&[1, -2, 3, 4, -5, 6]);
    let (honest, _) = case.honest();
    let instances = case.instances(&case.outputs);
    let verdict = |bytes: Vec<u8>| case.verify(&instances, &Proof { bytes });
    for bit in (32 + E_BYTES) * 8..HEAD * 8 {
        let mut bytes = honest.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let refused = Err(Error::Check("the commitment to the hidden constants"));
        assert_eq!(verdict(bytes), refused, "bit {bit}");
    }
    for cut in 0..HEAD {
        assert_eq!(verdict(honest.bytes[..cut].to_vec()), Err(Error::Truncated));
    }
}

/// Roots that were kept may be anything; then there is no key, and no other commitment is opened.
#[test]
fn roots_that_are_not_a_keys_are_refused() {
    let case = case(&[1, -2, 3, 4, -5, 6]);
    let (program, weights) = (&case.program, &case.weights);
    let (name, roots) = HidingRoots::new(program, weights, PROFILE, &secret()).unwrap();
    let with = |bytes: &[u8]| {
        let roots = HidingRoots::from_bytes(bytes)?;
        Some(ProvingKey::hiding(
            program,
            weights,
            &name,
            &secret(),
            &roots,
            3,
        ))
    };
    let whole = roots.to_bytes();
    for roots in [1, 2, 32, 128] {
        let bytes: Vec<u8> = whole.iter().copied().cycle().take(roots * DIGEST).collect();
        assert!(matches!(with(&bytes), Some(Err(Error::Values(_)))));
    }
    assert!(with(&whole[..3 * DIGEST]).is_none() && with(&[]).is_none());
    with(&whole).unwrap().unwrap();
    for at in 0..64 {
        let mut bytes = whole.clone();
        bytes[at * DIGEST] ^= 1;
        assert!(
            matches!(with(&bytes), Some(Err(Error::Values(_)))),
            "root {at}"
        );
    }
}

/// The randomness that the operating system gives may come twice. Proofs of one statement that open two commitments draw other
/// challenges, so they may not have the same pads: else the difference of two messages is that of what is hidden.
#[test]
fn a_repeated_state_is_no_repeated_pad_for_another_commitment() {
    let case = case(&[1, -2, 3, 4, -5, 6]);
    let proofs = [0, 1].map(|before| {
        let key = key(&case, &secret(), before);
        hooks::set(Stage {
            seed: Some([8; 32]),
            ..Stage::default()
        });
        hooks::start(None, None);
        let proof = prove_under(&case, &key);
        let drawn = hooks::finish().into_iter().filter_map(|event| match event {
            Event::Drawn(challenge) => Some(challenge),
            Event::Sent(..) => None,
        });
        hooks::set(Stage::default());
        (proof, drawn.collect::<Vec<E>>())
    });
    assert_ne!(number(&proofs[0].0), number(&proofs[1].0));
    // The first message under a pad: the hidden input at a random point of two coordinates.
    let edge = |(proof, drawn): &(Proof, Vec<E>)| -> (E, E) {
        let at = HEAD + 2 * DIGEST;
        let bytes = proof.bytes[at..at + E_BYTES].chunks_exact(F_BYTES);
        let digits: Vec<F> = bytes
            .map(|b| read_f(b.try_into().unwrap()).unwrap())
            .collect();
        let guess = [7, -11, 13].map(|v: i32| {
            if v < 0 {
                -F::from_i32(-v)
            } else {
                F::from_i32(v)
            }
        });
        let there = eq_table(&drawn[..2]).into_iter().zip(guess);
        (element(|d| digits[d]), there.map(|(e, v)| e * v).sum::<E>())
    };
    let [(a, guessed_a), (b, guessed_b)] = [edge(&proofs[0]), edge(&proofs[1])];
    assert_ne!(
        a - b,
        guessed_a - guessed_b,
        "two proofs confirm a guess of the hidden input"
    );
    let pads = |i: usize| &proofs[i].0.bytes[HEAD..HEAD + DIGEST];
    assert_ne!(pads(0), pads(1), "two proofs have one tree of pads");
}

/// What two proofs show of a row fits any constants, with other tails; a third one gives them away, so whoever has a key makes
/// it anew for each proof.
#[test]
fn two_openings_fit_any_constants_and_three_give_them_away() {
    let case = case(&[1, -2, 3, 4, -5, 6].repeat(25));
    let key = key(&case, &secret(), 0);
    let data = key.hidden.as_ref().unwrap();
    let vars = case.setup().1.weights[0].vars;
    let values = data.values().field(0..1 << vars).into_owned();
    // The row length, the places of a commitment and what a proof shows, for polynomials in nine variables.
    let (message, levels, shown) = (32, 12, 40);
    assert_eq!(vars, 9);
    let generator = F::two_adic_generator(levels);
    let seen = |openings: u64| {
        let mut seen: Vec<(usize, Vec<F>)> = Vec::new();
        for opening in 0..openings {
            hooks::set(Stage {
                challenges: Some(opening + 3),
                ..Stage::default()
            });
            prove_under(&case, &key);
            let heard = hooks::heard();
            hooks::set(Stage::default());
            // After those of the witness.
            let of = |label: &str| {
                heard
                    .iter()
                    .filter(|h| h.0 == label)
                    .nth(1)
                    .unwrap()
                    .1
                    .clone()
            };
            let (positions, leaves) = (of("positions"), of("pcs columns"));
            assert_eq!(positions.len(), shown);
            for (p, leaf) in positions.iter().zip(leaves.chunks(leaves.len() / shown)) {
                let p = p.as_canonical_u32() as usize;
                if !seen.iter().any(|(other, _)| *other == p) {
                    seen.push((p, leaf.to_vec()));
                }
            }
        }
        seen
    };
    let matrix = |seen: &[(usize, Vec<F>)], from: usize, length: usize| -> Vec<Vec<F>> {
        let row = |p: usize| -> Vec<F> {
            let place = generator.exp_u64(p as u64);
            (from..from + length)
                .map(|i| place.exp_u64(i as u64))
                .collect()
        };
        seen.iter().map(|(p, _)| row(*p)).collect()
    };
    // Two: zeros in the place of the constants, and tails that make of them what was shown.
    let two = seen(2);
    let rows = two[0].1.len() - DEGREE;
    assert!(rows > 1);
    let tails = matrix(&two, message, 2 * shown);
    for row in 0..rows {
        let right = two.iter().map(|(_, leaf)| leaf[row]).collect();
        assert!(solved(tails.clone(), right).is_some(), "row {row}");
    }
    // Three.
    let length = message + 2 * shown;
    let three: Vec<_> = seen(3).into_iter().take(length).collect();
    assert_eq!(three.len(), length);
    let all = matrix(&three, 0, length);
    for row in 0..rows {
        let right = three.iter().map(|(_, leaf)| leaf[row]).collect();
        let found = solved(all.clone(), right).expect("one polynomial");
        assert_eq!(found[..message], values[row * message..][..message]);
    }
}

/// Where a fold is committed to, its mask is as long as it, and tails are for all proofs under the only commitment.
#[test]
fn the_mask_of_a_committed_fold_is_as_long_as_it() {
    let case = case(&[1, -2, 3, 4, -5, 6].repeat(25));
    hooks::set(Stage {
        committed: true,
        challenges: Some(3),
        ..Stage::default()
    });
    prove_under(&case, &key(&case, &secret(), 0));
    let (mask, tails) = (Purpose::WeightsMask, Purpose::WeightsTail);
    let (mask, tails) = (hooks::taken(mask), hooks::taken(tails));
    let heard = hooks::heard();
    hooks::set(Stage::default());
    let (message, shown, uses) = (32, 40, 32);
    assert_eq!(mask, message + uses * shown);
    let leaves = heard.iter().filter(|h| h.0 == "pcs columns").nth(1);
    let rows = leaves.unwrap().1.len() / shown - DEGREE;
    // Made for the case, for its roots and for the proof.
    assert_eq!(tails, 4 * rows * uses * shown);
}

/// A solution of linear equations whose rows are independent.
fn solved(mut left: Vec<Vec<F>>, mut right: Vec<F>) -> Option<Vec<F>> {
    let columns = left[0].len();
    let mut pivots = Vec::new();
    for row in 0..left.len() {
        let pivot = (0..columns).find(|&c| !left[row][c].is_zero())?;
        let scale = left[row][pivot].inverse();
        left[row].iter_mut().for_each(|v| *v *= scale);
        right[row] *= scale;
        let (own, value) = (left[row].clone(), right[row]);
        for other in (0..left.len()).filter(|&o| o != row) {
            let factor = left[other][pivot];
            for (v, &o) in left[other].iter_mut().zip(&own) {
                *v -= factor * o;
            }
            right[other] -= factor * value;
        }
        pivots.push(pivot);
    }
    let mut out = F::zero_vec(columns);
    for (pivot, value) in pivots.into_iter().zip(right) {
        out[pivot] = value;
    }
    Some(out)
}

/// Rows of the table in `protocol-weights.md`: n, c, d, work, t for either profile, u, K.
const TABLE: [[usize; 8]; 18] = [
    [3, 3, 12, 12, 37, 47, 2, 64],
    [4, 3, 12, 12, 37, 47, 2, 64],
    [5, 4, 12, 12, 38, 49, 2, 64],
    [7, 4, 12, 12, 38, 49, 2, 64],
    [9, 5, 12, 12, 40, 51, 2, 64],
    [11, 6, 13, 12, 35, 44, 2, 64],
    [12, 7, 13, 12, 39, 49, 2, 64],
    [13, 7, 14, 12, 33, 40, 2, 64],
    [14, 8, 14, 12, 37, 45, 2, 64],
    [15, 8, 14, 12, 37, 45, 2, 64],
    [16, 9, 15, 12, 36, 44, 2, 64],
    [17, 9, 15, 12, 36, 44, 2, 64],
    [18, 10, 15, 12, 43, 52, 2, 64],
    [19, 10, 15, 12, 43, 52, 2, 64],
    [21, 13, 17, 14, 54, 67, 32, 1],
    [23, 14, 17, 14, 72, 90, 32, 1],
    [25, 15, 17, 16, 110, 138, 32, 1],
    [26, 16, 18, 16, 106, 130, 32, 1],
];

/// The terms of section 4 of that page, from its table and nothing else.
#[test]
fn terms_are_those_of_the_page() {
    let field = 154.0;
    let pads = 8.5;
    for row in TABLE {
        let [n, c, d, work, ..] = row;
        let (uses, many) = (row[6], row[7]);
        let store = Store::one(&[vec![1 << (n - 1)], vec![(1 << (n - 1)) - 3]]).unwrap();
        assert_eq!(store.vars, n);
        for (profile, t) in [(Profile::Proven100, row[4]), (Profile::Proven120, row[5])] {
            let scheme = Scheme::new(profile, &store).unwrap();
            assert_eq!(scheme.budget(), uses * many);
            let places = (1u64 << d) as f64;
            let length = ((1 << c) + uses * t) as f64;
            let (rate, sharp) = (length / places, (length - 1.0) / places);
            let list = (10.0 / rate).log2();
            let security = scheme.security(pads);
            assert!((security.candidates_bits - list).abs() < 1e-9, "n = {n}");
            let term = |name: &str| {
                let term = security.terms.iter().find(|t| t.name == name)?;
                Some((term.bits - f64::from(term.count).log2(), term.grinding))
            };
            let is = |name: &str, bits: f64, work: usize| match term(name) {
                Some((got, ground)) => {
                    assert!(
                        (got - bits).abs() < 1e-6,
                        "n = {n}, {name}: {got}, not {bits}"
                    );
                    assert_eq!(ground as usize, work);
                }
                None => panic!("n = {n}: no {name}"),
            };
            let all = 2.0 * (list + (many as f64).log2()) - 1.0;
            is(
                "one polynomial for the key",
                field - all - (n as f64).log2(),
                0,
            );
            let folds = n - c + usize::from(many == 1);
            if folds > 0 {
                let bad = 2.0 * 8.0 * places * 10.5f64.powi(3) / (3.0 * sharp);
                is(
                    "correlated agreement",
                    field - (bad * folds as f64).log2(),
                    0,
                );
            }
            let queries = -(1.05 * rate.sqrt()).log2() * t as f64;
            if many > 1 {
                is("queries", queries - pads, work);
                assert!(term("value under the mask").is_none());
            } else {
                // The fold's list is that of its own commitment.
                let (got, ground) = term("queries").unwrap();
                let fold = queries - got;
                assert!(fold > 0.0 && ground as usize == work, "n = {n}");
                is("value under the mask", field - list - fold - pads, 0);
                assert!(got + work as f64 >= 104.0);
            }
        }
    }
}
