//! What a proof that hides shows: the same whatever it hides.
//!
//! Challenges and positions are programmed, so that all that is left to chance is the prover's own randomness. Then every
//! element of a message and of a shown leaf must be uniform, or a function of what is public.

use super::*;
use crate::{
    field::{DEGREE, E, E_BYTES, F},
    hidden_weights_budget,
    hide::random::Purpose,
};
use hooks::Stage;
use p3_field::{PrimeCharacteristicRing, PrimeField32};
use std::collections::BTreeSet;

/// Challenges of all proofs of this file.
const CHALLENGES: u64 = 3;
/// Cells that the field is cut into.
const CELLS: usize = 8;

/// Every randomness that is left out in turn.
const ALL: [Purpose; 14] = [
    Purpose::Pad,
    Purpose::WitnessTail,
    Purpose::WitnessMask,
    Purpose::WitnessSalt,
    Purpose::PadTail,
    Purpose::SecretTail,
    Purpose::CombinationMask,
    Purpose::SumMask,
    Purpose::PadSalt,
    Purpose::WeightsTail,
    Purpose::WeightsSalt,
    Purpose::WeightsBlind,
    Purpose::WeightsMask,
    Purpose::WeightsMaskSalt,
];

/// A product of two inputs, a contraction with constants, and a lookup.
fn case(a: &[i32], b: &[i32], constants: &[i32]) -> Case {
    let mut p = Builder::new(3);
    let x = p.input(&[3], -20, 20);
    let y = p.input(&[3], -20, 20);
    let w = p.constant(&[3, constants.len() / 3], constants.to_vec());
    let v = p.push(Op::Mul, &[x, y]);
    let v = p.push(contraction("i,ij->j"), &[v, w]);
    let z = p.push(Op::Clamp { lo: -30, hi: 30 }, &[v]);
    let (program, weights) = p.finish(&[z]);
    let inputs = tensors(&program, &[a, b]);
    let case = Case::on((program, weights), vec![inputs]);
    case.mode.set(ALL_HIDDEN);
    case
}

/// Constants of which nothing is to be seen.
const CONSTANTS: [i32; 6] = [1, -2, 3, 4, -5, 6];

/// As many inputs as make the fold of their commitment a message instead of its table a secret.
fn large(from: i32) -> Case {
    let mut p = Builder::new(3);
    let x = p.input(&[1025], -20, 20);
    let w = p.random(&[1025, 1], -2, 2);
    let v = p.push(contraction("i,ij->j"), &[x, w]);
    let (program, weights) = p.finish(&[v]);
    let values: Vec<i32> = (0..1025).map(|i| from * i % 21).collect();
    let inputs = tensors(&program, &[&values]);
    let case = Case::on((program, weights), vec![inputs]);
    case.mode.set(ALL_HIDDEN);
    assert_eq!(crate::hide::table(&case.plan).unwrap().columns, 4);
    case
}

/// A proof with programmed challenges under a key of its own, and what was said in it.
fn said(case: &Case, seed: u64, stage: Stage) -> (Proof, Vec<(String, Vec<F>)>) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let instances = case.instances(&case.outputs);
    let values = case.values();
    hooks::set(Stage {
        challenges: Some(CHALLENGES),
        seed: Some(bytes),
        few: true,
        ..stage
    });
    let secret = WeightsSecret::from_bytes(bytes);
    let key = hiding_key(&case.program, &case.weights, &secret, 0).unwrap();
    let options = Options {
        mode: ALL_HIDDEN,
        seeds: &seeds(instances.len()),
        ..Options::default()
    };
    let proof = prove_with(case.setup().1, &key, &instances, &values, &options).unwrap();
    let mut heard = hooks::heard();
    heard.push(("behind blind".into(), behind_blind(case, &key)));
    hooks::set(Stage::default());
    (proof, heard)
}

/// Messages whose elements are not under pads.
const CLEAR: [&str; 9] = [
    "behind blind",
    "weights value",
    "scaled",
    "fold",
    "combination",
    "sum",
    "pcs columns",
    "io leaves",
    "positions",
];

/// The key's value at its point, less what the Program's constants make of it: zero, but for the random constants.
fn behind_blind(case: &Case, key: &ProvingKey) -> Vec<F> {
    let data = key.hidden.as_ref().expect("a key that hides");
    let store = &case.setup().1.weights[0];
    let mut values = data.values().field(0..1 << store.vars).into_owned();
    for slot in store.slots_of(case.program.constants.len()) {
        values[slot] = F::ZERO;
    }
    let at = crate::layout::eq_table(&data.pin.point);
    let own: E = at.iter().zip(values).map(|(&e, v)| e * v).sum();
    crate::hide::code::slices(&(data.pin.value - own)).to_vec()
}

/// Elements of a row of pads at the shown places, less what the messages under these pads make of them: what is left
/// is minus what the messages themselves would be there, unless the row has a random part.
fn behind_pads(case: &Case, heard: &[(String, Vec<F>)]) -> Vec<F> {
    let Mode::Zk(hidden) = case.mode.get() else {
        panic!("nothing is hidden");
    };
    let shape = crate::hide::shape(case.setup().1, PROFILE, hidden).unwrap();
    let mut padded = Vec::new();
    for (label, elements) in heard {
        if CLEAR.contains(&&label[..]) {
            continue;
        }
        // The first of each element's coefficients is enough.
        padded.extend(elements.iter().step_by(DEGREE).copied());
        if label == "root denominator" {
            // The pad that hides nothing lies among the products.
            assert!(shape.pad_slot(padded.len()) < 3 * 128);
            padded.push(F::ZERO);
        }
    }
    assert_eq!(padded.len(), shape.pads());
    // The first row without products.
    let slots: Vec<usize> = (0..padded.len()).map(|pad| shape.pad_slot(pad)).collect();
    let products = heard.iter().any(|(label, _)| label == "root denominator");
    let number = if products { 3 } else { 0 };
    let mut row = [F::ZERO; 128];
    for (&slot, &element) in slots.iter().zip(&padded) {
        if slot / 128 == number {
            row[slot % 128] = element;
        }
    }
    let last = |wanted: &str| heard.iter().rfind(|(label, _)| label == wanted);
    let (Some((_, positions)), Some((_, leaves))) = (last("positions"), last("pcs columns")) else {
        panic!("no leaves were shown");
    };
    let width = leaves.len() / positions.len();
    (positions.iter().zip(leaves.chunks_exact(width)))
        .map(|(position, leaf)| {
            let place = shape.place(position.as_canonical_u32() as usize);
            let seen = row.iter().zip(shape.lagrange(place));
            leaf[number * DEGREE] - seen.map(|(&m, l)| m * l).sum::<F>()
        })
        .collect()
}

/// The statistics of many proofs: for each element its chi-squared over [`CELLS`] cells, and for each the same of its
/// difference to the one before, which two elements under one pad would give away. Leaves of `io/v1` are left out: they come
/// from the Statement's own commitment, which is the same in all of these proofs.
fn statistics(case: &Case, proofs: u64, stage: Stage) -> Vec<(String, f64)> {
    let mut names: Vec<String> = Vec::new();
    let mut cells: Vec<[u32; CELLS]> = Vec::new();
    for seed in 0..proofs {
        let (_, heard) = said(case, seed, stage);
        // The shape of the equations is that of a fold under pads.
        let behind = match stage.committed {
            true => Vec::new(),
            false => behind_pads(case, &heard),
        };
        let mut at = 0;
        let all = (heard.iter().enumerate())
            .filter(|(_, (label, _))| label != "io leaves" && label != "positions")
            .map(|(message, (label, elements))| (message, &label[..], elements))
            .chain([(heard.len(), "behind pads", &behind)]);
        for (message, label, elements) in all {
            let mut before = F::ZERO;
            for (i, &e) in elements.iter().enumerate() {
                for value in [e, e - before] {
                    if seed == 0 {
                        names.push(format!("{message} {label} {i}"));
                        cells.push([0; CELLS]);
                    }
                    let cell = u64::from(value.as_canonical_u32()) * CELLS as u64;
                    cells[at][(cell / u64::from(F::ORDER_U32)) as usize] += 1;
                    at += 1;
                }
                before = e;
            }
        }
        assert_eq!(at, cells.len(), "proofs of one shape");
    }
    let expected = proofs as f64 / CELLS as f64;
    let chi = |cells: [u32; CELLS]| -> f64 {
        let off = |&c: &u32| (f64::from(c) - expected).powi(2) / expected;
        cells.iter().map(off).sum()
    };
    names.into_iter().zip(cells.into_iter().map(chi)).collect()
}

/// Seven degrees of freedom: a uniform element is above this once in 10^12 times.
const LIMIT: f64 = 75.0;

#[test]
fn every_element_is_uniform_whatever_is_hidden() {
    for case in [
        case(&[1, 2, 3], &[4, 5, 6], &CONSTANTS),
        case(&[0, 0, 0], &[0, 0, 0], &CONSTANTS),
        case(&[-20, 19, 7], &[20, -20, 1], &[0, -5, 6, 0, 0, 0]),
        large(0),
        large(1),
    ] {
        let all = statistics(&case, 160, Stage::default());
        assert!(all.len() > 10_000, "{}", all.len());
        for (name, chi) in &all {
            assert!(*chi < LIMIT, "{name}: {chi}");
        }
        // All together: the mean of chi-squared is 7, its deviation sqrt(14). Elements depend on each other a little (folds
        // on leaves), so the band is wide.
        let mean = all.iter().map(|(_, chi)| chi).sum::<f64>() / all.len() as f64;
        assert!((mean - 7.0).abs() < 0.5, "{mean}");
    }
}

/// With any one source of randomness left out, some element is not uniform any more.
#[test]
fn a_missing_mask_is_seen() {
    let small = case(&[1, 2, 3], &[4, 5, 6], &CONSTANTS);
    // More than a row: of the only one, the random constants that the Program does not know would hide each place alone.
    let two_rows = case(&[1, 2, 3], &[4, 5, 6], &CONSTANTS.repeat(25));
    // A fold that is committed to is uniform, and what is shown of it has zeros where it was made longer.
    let committed = Stage {
        committed: true,
        ..Stage::default()
    };
    let skewed = |case: &Case, stage| -> BTreeSet<String> {
        let all = statistics(case, 40, stage).into_iter();
        all.filter(|(_, chi)| *chi > LIMIT)
            .map(|(name, _)| name)
            .collect()
    };
    let zeros = skewed(&small, committed);
    for purpose in ALL {
        let (case, stage) = match purpose {
            Purpose::WeightsTail => (&two_rows, Stage::default()),
            Purpose::WeightsMask | Purpose::WeightsMaskSalt => (&small, committed),
            _ => (&small, Stage::default()),
        };
        let stage = Stage {
            silent: Some(purpose),
            ..stage
        };
        let seen = skewed(case, stage);
        let seen = seen
            .iter()
            .filter(|name| !stage.committed || !zeros.contains(*name));
        assert!(
            seen.count() > 0,
            "{purpose:?} is missing, and nothing shows it"
        );
    }
    // Each element of a fold that is sent is under a pad.
    let stage = Stage {
        silent: Some(Purpose::Pad),
        ..Stage::default()
    };
    let all = statistics(&large(1), 40, stage);
    let folds = (all.iter()).filter(|(name, chi)| name.contains(" folded ") && *chi > LIMIT);
    assert!(folds.count() >= 2 * 512 * DEGREE - DEGREE);
}

/// What the statistics cannot see, since they look at one element at a time: that each mask has as many elements as what it
/// hides, each row as many random ones as places that are shown of it, and each message a pad of its own.
#[test]
fn masks_are_as_long_as_what_they_hide() {
    let case = case(&[1, 2, 3], &[4, 5, 6], &CONSTANTS);
    let instances = case.instances(&case.outputs);
    let values = case.values();
    hooks::set(Stage {
        challenges: Some(CHALLENGES),
        ..Stage::default()
    });
    // The key is made now, so that what it takes is seen.
    let fresh = Case::on(
        (case.program.clone(), case.weights.clone()),
        vec![case.runs[0].inputs.clone()],
    );
    fresh.mode.set(ALL_HIDDEN);
    fresh.prove(&instances, &values).unwrap();
    let heard = hooks::heard();
    let lengths = |wanted: &str| -> Vec<usize> {
        (heard.iter().filter(|(label, _)| label == wanted))
            .map(|(_, elements)| elements.len())
            .collect()
    };
    let masks = |purpose| hooks::taken(purpose) * DEGREE;
    // That of constants is under pads.
    assert_eq!(lengths("fold"), [masks(Purpose::WitnessMask)]);
    // The commitment that is opened is made twice, the first time with all the others for their roots.
    let blind = hooks::taken(Purpose::WeightsBlind) / 2;
    assert_eq!(lengths("weights value"), [blind]);
    assert_eq!(lengths("combination"), [masks(Purpose::CombinationMask)]);
    assert_eq!(lengths("sum"), [masks(Purpose::SumMask)]);
    let padded: usize = (heard.iter())
        .filter(|(label, _)| !CLEAR.contains(&&label[..]))
        .map(|(_, elements)| elements.len())
        .sum();
    // One more hides nothing.
    assert_eq!(padded + DEGREE, masks(Purpose::Pad));
    // Leaves of the witness (rows, mask, salt), of the constants (rows, salt), of the commitment to inputs and outputs, and of
    // the pads (rows of elements of E, rows of secrets, two masks, salt).
    let (columns, positions) = (lengths("pcs columns"), lengths("positions"));
    assert_eq!((columns.len(), positions.len()), (3, 4));
    let witness = columns[0] / positions[0] - 2 * DEGREE;
    assert_eq!(hooks::taken(Purpose::WitnessTail), witness * positions[0]);
    // For the two proofs that may open each commitment.
    let weights = columns[1] / positions[1] - DEGREE;
    let budget = hidden_weights_budget(&case.program, PROFILE).unwrap() as usize;
    let tails = hooks::taken(Purpose::WeightsTail);
    assert_eq!(tails, weights * positions[1] * (budget + 2));
    // Four columns of 512 secrets.
    let secrets = 4 * 512 / 128;
    assert_eq!(hooks::taken(Purpose::SecretTail), secrets * positions[3]);
    let pads = columns[2] / positions[3] - 3 * DEGREE - secrets;
    assert_eq!(masks(Purpose::PadTail), pads * positions[3]);
    // Three proofs about one commitment show at most as many leaves as it has random rows.
    assert!(3 * positions[2] <= io::MAX_SHOWN);
    hooks::set(Stage::default());
}

/// Leaves under one root are all different, and no leaf or root is ever seen twice.
#[test]
fn nothing_is_repeated() {
    let case = case(&[1, 2, 3], &[4, 5, 6], &CONSTANTS);
    let instances = case.instances(&case.outputs);
    let values = case.values();
    // The operating system's randomness this time.
    let proofs: Vec<Proof> = (0..24)
        .map(|_| case.prove(&instances, &values).unwrap())
        .collect();
    let mut seen = BTreeSet::new();
    for proof in &proofs {
        case.verify(&instances, proof).unwrap();
        // After the key's root and value, and the commitment with its path: both roots, and the first elements under pads.
        let key = 32 + E_BYTES + 4 + 32 + 6 * 32;
        for piece in proof.bytes[key..key + 640].chunks_exact(16) {
            assert!(seen.insert(piece.to_vec()), "a part of a proof came twice");
        }
    }
}

/// A machine that is set back, and makes a proof again with the randomness that it had, makes the same proof: no mask meets a
/// second challenge, and no row is shown at more places. (Searches here are short, and mostly end alike whoever wins: that the
/// smallest is taken is shown in `chain.rs`.)
#[test]
fn a_repeated_state_repeats_the_proof() {
    let case = case(&[1, 2, 3], &[4, 5, 6], &CONSTANTS);
    let instances = case.instances(&case.outputs);
    let values = case.values();
    hooks::set(Stage {
        seed: Some([8; 32]),
        ..Stage::default()
    });
    let plan = Plan::registration(&case.program).unwrap();
    let held = Values::new(&case.program, &case.weights, &plan.graph, &[]);
    let options = Options {
        mode: Mode::Zk(crate::registration::HIDDEN),
        ..Options::default()
    };
    let both = || {
        let key = case.setup().0;
        let registration = crate::prove::prove_registration(&plan, key, &held, &options);
        (
            case.prove(&instances, &values).unwrap(),
            registration.unwrap(),
        )
    };
    let first = both();
    for _ in 0..6 {
        assert!(both() == first, "one state, two proofs");
    }
    hooks::set(Stage::default());
}

/// The simulator: a prover that proves garbage instead of what it was given, and chooses challenges before it commits. Its
/// transcript passes; without the choice it does not. (The leaves of the `io/v1` commitment alone are the honest ones: that
/// they are uniform is a property of the commitment, `docs/io-commitment.md`.)
#[test]
fn garbage_is_simulated() {
    let small = || case(&[1, 2, 3], &[4, 5, 6], &CONSTANTS);
    simulated(&small(), None, false);
    simulated(&large(1), None, false);
    simulated(&small(), None, true);
    // A key over other constants than those that gave the outputs.
    let ones = |constants: &[i32]| case(&[1; 3], &[1; 3], constants);
    let honest = ones(&CONSTANTS);
    let other = ones(&CONSTANTS.map(|c| if c == 1 { 2 } else { c }));
    for committed in [false, true] {
        let inputs = honest.runs[0].inputs.clone();
        let model = (honest.program.clone(), other.weights.clone());
        let garbage = Case::on(model, vec![inputs]);
        garbage.mode.set(ALL_HIDDEN);
        assert_ne!(garbage.outputs, honest.outputs);
        simulated(&garbage, Some(&honest.outputs), committed);
    }
}

fn simulated(honest: &Case, outputs: Option<&[Vec<Tensor>]>, committed: bool) {
    // Before the key is made.
    hooks::set(Stage {
        committed,
        ..Stage::default()
    });
    let garbage = |c: usize, honest: &[i32]| {
        let noise = |i: usize| (i as i32 * 7919 + c as i32 * 104_729) % 1_000_003;
        Some((0..honest.len()).map(noise).collect())
    };
    let values = honest.values().forge(&garbage);
    let instances = honest.instances(outputs.unwrap_or(&honest.outputs));
    let stage = |offset| Stage {
        challenges: Some(CHALLENGES),
        seed: Some([9; 32]),
        offset,
        committed,
        ..Stage::default()
    };
    let simulate = |offset| {
        hooks::set(stage(offset));
        let proof = honest.prove(&instances, &values).unwrap();
        let heard = hooks::heard();
        let missing = hooks::missing();
        hooks::set(stage(None));
        let verdict = honest.verify(&instances, &proof);
        hooks::set(Stage::default());
        (verdict, heard, missing)
    };
    // Without the choice, the equations do not hold, and nothing else is wrong.
    let (verdict, first, missing) = simulate(None);
    assert_eq!(
        verdict,
        Err(Error::Check("the equations under the pads")),
        "garbage passes"
    );
    // With it, the sum's mask makes up for what they lack.
    let (verdict, second, left) = simulate(Some(missing));
    assert_eq!(verdict, Ok(()), "the simulator fails");
    assert_eq!(left, E::ZERO);
    // Only the sum is another one.
    for ((label, a), (_, b)) in first.iter().zip(&second) {
        if label != "sum" && label != "pcs columns" {
            assert_eq!(a, b, "{label}");
        }
    }
    let sum = |heard: &[(String, Vec<F>)]| heard.iter().rfind(|m| m.0 == "sum").unwrap().1.clone();
    let (a, b) = (sum(&first), sum(&second));
    let changed: Vec<usize> = (0..a.len()).filter(|&i| a[i] != b[i]).collect();
    assert!(changed.iter().all(|&i| i < DEGREE) && !changed.is_empty());
}
