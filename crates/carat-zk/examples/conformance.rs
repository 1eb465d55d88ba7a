//! Proves and verifies every ONNX backend node test that passes: `conformance DIR > report.json`, where DIR holds the
//! test folders. Each test must pass in `carat_nn::conformance`; then its Program either proves and verifies, with the
//! test's own inputs, or is refused by name.
#![allow(clippy::print_stdout, reason = "a program for people")]

use carat_nn::{conformance, exec::reference};
use carat_program::{Program, Tensor, Weights};
use carat_zk::{Error, Instance, Mode, Options, Profile, ProvingKey, Run, prove, verify};
use std::collections::BTreeMap;

/// `Ok` when proven and verified, `Err` with the reason of a refusal.
fn attempt(program: &Program, weights: &Weights, inputs: &[Tensor]) -> Result<(), Error> {
    let profile = Profile::Proven100;
    let fault = |e: &dyn std::fmt::Display| Error::Values(e.to_string());
    let outputs = reference::run(program, weights, inputs).map_err(|e| fault(&e))?;
    let run = Run {
        nodes: reference::trace(program, weights, inputs).map_err(|e| fault(&e))?,
        inputs: inputs.to_vec(),
    };
    let key = ProvingKey::new(program, weights, profile)?;
    let instances = [Instance::of_values(inputs, &outputs)];
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
    )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args()
        .nth(1)
        .ok_or("give the folder that holds the test folders")?;
    std::panic::set_hook(Box::new(|_| {}));
    let mut folders: Vec<_> = std::fs::read_dir(dir)?
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.join("model.onnx").is_file())
        .collect();
    folders.sort();
    let (mut proven, mut failed) = (0usize, Vec::new());
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    for folder in &folders {
        let Ok(cases) = conformance::programs(folder) else {
            continue;
        };
        let name = folder.display().to_string();
        for (program, weights, inputs) in cases {
            match attempt(&program, &weights, &inputs) {
                Ok(()) => proven += 1,
                Err(Error::Unsupported(why)) => {
                    // Without the number of the step.
                    let why = why.split_once('(').map_or(why.as_str(), |(_, w)| w);
                    *refused.entry(why.into()).or_default() += 1;
                }
                Err(other) => failed.push(format!("{name}: {other}")),
            }
        }
    }
    println!("proven {proven}");
    for (why, n) in &refused {
        println!("refused {n}: {why}");
    }
    for f in &failed {
        println!("FAILED {f}");
    }
    if failed.is_empty() && proven > 0 {
        Ok(())
    } else {
        Err("a test that executes does not prove".into())
    }
}
