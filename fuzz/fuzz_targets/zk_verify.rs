//! Proofs, and Programs with proofs: the first byte says whether what follows replaces the proof of the shipped file, or
//! is a Program that is asked for its sizes.
#![no_main]

use carat_program::{Program, decode_tensors};
use carat_zk::{Instance, ModelKey, Profile, Proof, pcs::Root, sizes, verify};
use libfuzzer_sys::fuzz_target;

static SHIPPED: &[u8] = include_bytes!("../../crates/carat-zk/tests/data/shipped.proof");

fn parts() -> Option<Vec<&'static [u8]>> {
    let mut rest = SHIPPED;
    let mut out = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (part, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        out.push(part);
        rest = tail;
    }
    Some(out)
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    if kind % 2 == 0 {
        if let Ok(program) = Program::decode(data) {
            let _ = sizes(&program, 1 + usize::from(kind / 2) % 5);
        }
        return;
    }
    let parts = parts().expect("the shipped file");
    let program = Program::decode(parts[0]).expect("its program");
    let key = ModelKey {
        program: program.digest(),
        profile: Profile::Proven100,
        root: Root(parts[2].try_into().expect("its root")),
    };
    let inputs = decode_tensors(parts[3]).expect("its inputs");
    let outputs = decode_tensors(parts[4]).expect("its outputs");
    // The fuzzer's bytes lie over the proof from some place on, so that it reaches what comes after the first checks.
    let mut bytes = parts[5].to_vec();
    let honest = bytes.clone();
    let (place, data) = data.split_at(data.len().min(3));
    let at = place.iter().fold(0usize, |n, &b| n << 8 | usize::from(b)) % (bytes.len() + 1);
    bytes.splice(at..bytes.len().min(at + data.len()), data.iter().copied());
    let result = verify(
        &program,
        &key,
        Profile::Proven100,
        &[Instance::of_values(&inputs, &outputs)],
        &Proof { bytes: bytes.clone() },
    );
    assert_eq!(result.is_ok(), bytes == honest);
});
