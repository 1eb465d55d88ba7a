//! Proofs that were made once and must verify for ever, here and in `tools/python/test_proof.py`.

mod support;

use carat_program::{Op, Program, Rounding, Tensor, Weights, decode_tensors, encode_tensors};
use carat_zk::{Instance, Mode, ModelKey, Proof, pcs::Root, verify};
use std::path::PathBuf;
use support::{
    PROFILE,
    programs::{Builder, Rng},
    proven,
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

/// `CARAT_WRITE_FIXTURES=1` makes them anew, which is right only when the protocol has changed on purpose.
#[test]
fn proofs_that_were_made_once() {
    for (name, program, weights, count) in fixtures() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../../tools/python/testdata")
            .join(name);
        if std::env::var_os("CARAT_WRITE_FIXTURES").is_some() {
            let made = proven(&program, &weights, count, &mut Rng(4)).unwrap();
            let mut parts = vec![
                made.program.encode(),
                PROFILE.name().as_bytes().to_vec(),
                made.key.root.0.to_vec(),
            ];
            for (x, y) in made.inputs.iter().zip(&made.outputs) {
                parts.extend([encode_tensors(x), encode_tensors(y)]);
            }
            parts.push(made.proof.bytes);
            let file: Vec<u8> = parts
                .iter()
                .flat_map(|p| [&(p.len() as u32).to_le_bytes()[..], p].concat())
                .collect();
            std::fs::write(&path, file).unwrap();
        }
        let file = std::fs::read(&path).unwrap();
        let (mut rest, mut parts) = (&file[..], Vec::new());
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (part, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
            parts.push(part);
            rest = tail;
        }
        // The Program is still the one that the generator gives, and its proof still holds.
        assert_eq!(Program::decode(parts[0]).unwrap(), program, "{name}");
        let key = ModelKey {
            program: program.digest(),
            profile: PROFILE,
            root: Root(parts[2].try_into().unwrap()),
        };
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
            bytes: parts[parts.len() - 1].to_vec(),
        };
        verify(&program, &key, PROFILE, Mode::Succinct, &instances, &proof).unwrap();
    }
}
