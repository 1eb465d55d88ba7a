//! The shipped proof verifies. If the protocol was changed on purpose, make it again, from the shipped model `digits` as
//! `carat model compile` gives it: `cargo run -p carat-zk --example shipped FILE.carat-model
//! crates/carat-zk/tests/data/shipped.proof`.

use carat_program::{Program, Tensor, decode_tensors};
use carat_zk::{Instance, Mode, ModelKey, Profile, Proof, pcs::Root, verify};

#[test]
fn the_shipped_proof() {
    let file = include_bytes!("data/shipped.proof");
    assert!(file.len() < 200_000);
    let mut rest = &file[..];
    let mut part = || {
        let (length, tail) = rest.split_first_chunk::<4>().unwrap();
        let (part, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        rest = tail;
        part
    };
    let program = Program::decode(part()).unwrap();
    assert_eq!(part(), Profile::Proven100.name().as_bytes());
    let key = ModelKey {
        program: program.digest(),
        profile: Profile::Proven100,
        root: Root(part().try_into().unwrap()),
    };
    let (inputs, outputs) = (
        decode_tensors(part()).unwrap(),
        decode_tensors(part()).unwrap(),
    );
    let proof = Proof {
        bytes: part().to_vec(),
    };
    let check = |outputs: &[Tensor]| {
        let instances = [Instance::of_values(&inputs, outputs)];
        verify(
            &program,
            &key,
            Profile::Proven100,
            Mode::Succinct,
            &instances,
            &proof,
        )
    };
    check(&outputs).unwrap();
    let mut data = outputs[0].data().to_vec();
    data[0] ^= 1;
    assert!(check(&[Tensor::new(outputs[0].shape().clone(), data).unwrap()]).is_err());
}
