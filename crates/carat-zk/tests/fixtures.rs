//! Proofs that were made once and must verify for ever, here and in `tools/python/test_proof.py`.

mod support;

use carat_program::{
    Contraction, ConvGeometry, Op, Program, Rounding, Shape, Tensor, Weights, Window,
    decode_tensors, encode_tensors,
};
use carat_receipt::Digest;
use carat_zk::{
    Hidden, Instance, Mode, ModelKey, Options, Proof, Values, io, pcs::Root, register, verify,
    verify_registration,
};
use std::path::PathBuf;
use support::{
    HIDDEN, PROFILE, Proven, hiding_keys,
    programs::{Builder, Rng, inputs},
    proven, proven_in, seed,
};

/// Between them every form of these steps.
fn fixtures() -> Vec<(&'static str, Program, Weights, usize)> {
    let mut b = Builder::new(21);
    let x = b.input(&[3, 5], -200, 200);
    let order = b.constant(&[2, 2], vec![4, 0, 3, 3]);
    let y = b.push(Op::Gather { axis: 1 }, &[x, order]);
    let place = b.push(Op::ArgMax { axis: 0 }, &[x]);
    let (gathers, w) = b.finish(&[y, place]);
    let mut b = Builder::new(22);
    let x = b.input(&[2, 3], -40_000, 40_000);
    let index = b.push(Op::ArgMax { axis: 1 }, &[x]);
    let words = b.random(&[3, 5], -90, 90);
    let rows = b.push(Op::Gather { axis: 0 }, &[words, index]);
    let y = b.push(Op::Shift { bits: 3 }, &[rows]);
    let again = b.push(Op::Gather { axis: 1 }, &[x, index]);
    let (words, v) = b.finish(&[y, again]);
    // One product, exact from both ends or not, and two; both roundings.
    let mut b = Builder::new(23);
    let x = b.input(&[3], -500, 900);
    let far = b.input(&[3], -16_383, 16_383);
    let d = b.input(&[3], 1, 16_383);
    let near = b.input(&[], 13_813, 21_429);
    let counts = b.constant(&[3], vec![4, 6, 9]);
    let mut push = |bits, rounding, x, d| b.push(Op::Quotient { bits, rounding }, &[x, d]);
    let outputs = [
        push(0, Rounding::Floor, x, counts),
        push(3, Rounding::Nearest, x, counts),
        push(14, Rounding::Floor, far, d),
        push(14, Rounding::Nearest, far, near),
    ];
    let (quotients, u) = b.finish(&outputs);
    vec![
        ("steps-17.proof", gathers, w, 2),
        ("steps-18.proof", words, v, 1),
        ("steps-19.proof", quotients, u, 2),
    ]
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tools/python/testdata")
        .join(name)
}

/// `CARAT_WRITE_FIXTURES=1` makes them anew, which is right only when the protocol has changed on purpose.
fn written_anew() -> bool {
    std::env::var_os("CARAT_WRITE_FIXTURES").is_some()
}

/// A file of parts, each after its length.
fn write(name: &str, parts: &[Vec<u8>]) {
    let file: Vec<u8> = parts
        .iter()
        .flat_map(|p| [&(p.len() as u32).to_le_bytes()[..], p].concat())
        .collect();
    std::fs::write(path(name), file).unwrap();
}

fn read(name: &str) -> Vec<Vec<u8>> {
    let file = std::fs::read(path(name)).unwrap();
    let (mut rest, mut parts) = (&file[..], Vec::new());
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (part, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        parts.push(part.to_vec());
        rest = tail;
    }
    parts
}

/// Program, profile, root.
fn head(made: &Proven) -> Vec<Vec<u8>> {
    vec![
        made.program.encode(),
        PROFILE.name().as_bytes().to_vec(),
        made.key.root.0.to_vec(),
    ]
}

fn key(program: &Program, root: &[u8]) -> ModelKey {
    ModelKey {
        program: program.digest(),
        profile: PROFILE,
        root: Root(root.try_into().unwrap()),
    }
}

#[test]
fn proofs_that_were_made_once() {
    for (name, program, weights, count) in fixtures() {
        if written_anew() {
            let made = proven(&program, &weights, count, &mut Rng(4)).unwrap();
            let mut parts = head(&made);
            for (x, y) in made.inputs.iter().zip(&made.outputs) {
                parts.extend([encode_tensors(x), encode_tensors(y)]);
            }
            parts.push(made.proof.bytes);
            write(name, &parts);
        }
        let parts = read(name);
        // The Program is still the one that the generator gives, and its proof still holds.
        assert_eq!(Program::decode(&parts[0]).unwrap(), program, "{name}");
        let values: Vec<Vec<Tensor>> = parts[3..parts.len() - 1]
            .iter()
            .map(|p| decode_tensors(p).unwrap())
            .collect();
        let instances: Vec<Instance<'_>> = values
            .chunks(2)
            .map(|pair| Instance::of_values(&pair[0], &pair[1]))
            .collect();
        assert_eq!(instances.len(), count, "{name}");
        let proof = Proof {
            bytes: parts[parts.len() - 1].clone(),
        };
        let key = key(&program, &parts[2]);
        verify(&program, &key, PROFILE, Mode::Succinct, &instances, &proof).unwrap();
    }
}

/// As above, with a part for what is hidden, and for each statement its digest before its values, or before the `io/v1`
/// commitment to them.
#[test]
fn hidden_proofs_that_were_made_once() {
    let [shown, values, weights, all] = HIDDEN;
    let cases = fixtures().into_iter().map(|(_, p, w, n)| (p, w, n));
    let cases: Vec<_> = cases.chain(networks()).collect();
    for (name, which, hidden) in [
        ("steps-17.zkproof", 0, values),
        ("steps-19.zkproof", 2, shown),
        ("network.zkproof", 3, values),
        ("long.zkproof", 4, values),
        ("steps-18.zkproof", 1, weights),
        ("network-all.zkproof", 3, all),
    ] {
        let (program, weights, count) = &cases[which];
        if written_anew() {
            let mut rng = Rng(4);
            let inputs = (0..*count).map(|_| inputs(program, &mut rng)).collect();
            let made = proven_in(program, weights, inputs, &[hidden]).unwrap();
            let mut parts = head(&made);
            parts.push(vec![hidden.values.into(), hidden.weights.into()]);
            for (slot, instance) in made.instances().iter().enumerate() {
                parts.push(instance.statement.as_bytes().to_vec());
                let told = instance.values.unwrap();
                if hidden.values {
                    let root = io::commit(program, &told, &seed(slot)).unwrap();
                    parts.push(root.as_bytes().to_vec());
                } else {
                    parts.extend([encode_tensors(told.inputs), encode_tensors(told.outputs)]);
                }
            }
            let (_, key, proof) = &made.hidden[0];
            // Of the key that the proof is under.
            parts[2] = key.root.0.to_vec();
            parts.push(proof.bytes.clone());
            write(name, &parts);
        }
        let parts = read(name);
        assert_eq!(Program::decode(&parts[0]).unwrap(), *program, "{name}");
        let digest = |p: &[u8]| Digest::from_bytes(p.try_into().unwrap());
        let told = &parts[4..parts.len() - 1];
        let values: Vec<Vec<Tensor>> = told
            .iter()
            .map(|p| decode_tensors(p).unwrap_or_default())
            .collect();
        let each = if hidden.values { 2 } else { 3 };
        let instances: Vec<Instance<'_>> = (0..told.len() / each)
            .map(|i| Instance {
                statement: digest(&told[each * i]),
                values: (!hidden.values).then(|| Values {
                    inputs: &values[each * i + 1],
                    outputs: &values[each * i + 2],
                }),
                io: hidden.values.then(|| digest(&told[each * i + 1])),
            })
            .collect();
        assert_eq!(instances.len(), *count, "{name}");
        let key = key(program, &parts[2]);
        let proof = Proof {
            bytes: parts[parts.len() - 1].clone(),
        };
        let mode = Mode::Zk(hidden);
        verify(program, &key, PROFILE, mode, &instances, &proof).unwrap();
        // Under another name, or for other commitments, it is nothing.
        for other in [
            Mode::Succinct,
            Mode::Zk(Hidden {
                values: !hidden.values,
                ..hidden
            }),
            Mode::Zk(Hidden {
                weights: !hidden.weights,
                ..hidden
            }),
        ] {
            assert!(verify(program, &key, PROFILE, other, &instances, &proof).is_err());
        }
        let mut wrong = instances.clone();
        wrong[0].statement = digest(&[7; 32]);
        assert!(verify(program, &key, PROFILE, mode, &wrong, &proof).is_err());
        if hidden.values {
            wrong = instances.clone();
            wrong[0].io = Some(digest(&[7; 32]));
            assert!(verify(program, &key, PROFILE, mode, &wrong, &proof).is_err());
        }
    }
}

/// A convolution, its rectifier, and a layer behind it; and a layer with so many inputs that the fold of their commitment is a
/// message.
fn networks() -> Vec<(Program, Weights, usize)> {
    let mut b = Builder::new(24);
    let x = b.input(&[1, 1, 5, 6], -60, 60);
    let w = b.random(&[3, 1, 2, 3], -50, 50);
    let window = Window {
        kernel: vec![2, 3],
        stride: vec![1, 1],
        dilation: vec![1, 1],
        before: vec![0, 1],
        after: vec![0, 1],
    };
    let y = b.push(
        Op::Conv {
            geometry: ConvGeometry { window, groups: 1 },
            l1: None,
        },
        &[x, w],
    );
    let y = b.push(Op::Shift { bits: 7 }, &[y]);
    let y = b.push(Op::Clamp { lo: 0, hi: 90 }, &[y]);
    let flat = b.push(
        Op::Reshape {
            shape: Shape::new(&[1, 72]).unwrap(),
        },
        &[y],
    );
    let v = b.random(&[72, 4], -20, 20);
    let out = b.push(
        Op::Contract {
            spec: Contraction {
                a: vec![0, 1],
                b: vec![1, 2],
                out: vec![0, 2],
            },
            l1: None,
        },
        &[flat, v],
    );
    let (program, weights) = b.finish(&[out]);
    let mut b = Builder::new(25);
    let x = b.input(&[1025], -20, 20);
    let w = b.random(&[1025, 3], -20, 20);
    let spec = Contraction {
        a: vec![0],
        b: vec![0, 1],
        out: vec![1],
    };
    let y = b.push(Op::Contract { spec, l1: None }, &[x, w]);
    let y = b.push(Op::Shift { bits: 9 }, &[y]);
    let (long, v) = b.finish(&[y]);
    vec![(program, weights, 1), (long, v, 2)]
}

/// Parts: the Program, the profile, the ModelKey's root, the proof.
#[test]
fn a_registration_that_was_made_once() {
    let (program, weights, _) = networks().swap_remove(0);
    let name = "network.registration";
    if written_anew() {
        let key = hiding_keys(&program, &weights).unwrap()(7).unwrap();
        let proof = register(&program, &weights, &key, &Options::default()).unwrap();
        let root = key.key().root.0.to_vec();
        let profile = PROFILE.name().as_bytes().to_vec();
        write(name, &[program.encode(), profile, root, proof.bytes]);
    }
    let parts = read(name);
    assert_eq!(Program::decode(&parts[0]).unwrap(), program);
    let key = key(&program, &parts[2]);
    let proof = Proof {
        bytes: parts[3].clone(),
    };
    verify_registration(&program, &key, &proof).unwrap();
}
