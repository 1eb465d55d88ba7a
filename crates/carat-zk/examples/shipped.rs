//! Makes the shipped proof that the tests and the WebAssembly verifier check: `shipped FILE.carat-model OUT.proof`. The
//! inputs are drawn by a fixed rule, so the file is the same each time it is made.
#![allow(clippy::print_stdout, reason = "a program for people")]

use carat_nn::exec::reference;
use carat_program::{ModelFile, Tensor, encode_tensors};
use carat_zk::{Instance, Mode, Options, Profile, ProvingKey, Run, prove, verify};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("which model?")?;
    let out = arguments.next().ok_or("which file?")?;
    let model = ModelFile::decode(&std::fs::read(model)?)?;
    let (program, weights) = (&model.program, &model.weights);
    let mut state = 1u64;
    let inputs: Vec<Tensor> = program
        .inputs
        .iter()
        .map(|x| {
            let (lo, hi) = (x.range.lo, x.range.hi);
            let data = (0..x.shape.elements())
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (lo + ((state >> 33) as i64) % (hi - lo + 1)) as i32
                })
                .collect();
            Tensor::new(x.shape.clone(), data)
        })
        .collect::<Result<_, _>>()?;
    let outputs = reference::run(program, weights, &inputs)?;
    let run = Run {
        nodes: reference::trace(program, weights, &inputs)?,
        inputs: inputs.clone(),
    };
    let profile = Profile::Proven100;
    let key = ProvingKey::new(program, weights, profile)?;
    let instances = [Instance::of_values(&inputs, &outputs)];
    let proof = prove(
        program,
        weights,
        &key,
        &instances,
        &[run],
        &Options::default(),
    )?;
    verify(
        program,
        key.key(),
        profile,
        Mode::Succinct,
        &instances,
        &proof,
    )?;
    let mut file = Vec::new();
    for part in [
        &program.encode()[..],
        profile.name().as_bytes(),
        &key.key().root.0,
        &encode_tensors(&inputs),
        &encode_tensors(&outputs),
        &proof.bytes,
    ] {
        file.extend((part.len() as u32).to_le_bytes());
        file.extend(part);
    }
    println!(
        "{} bytes of proof, {} in all",
        proof.bytes.len(),
        file.len()
    );
    std::fs::write(out, file)?;
    Ok(())
}
