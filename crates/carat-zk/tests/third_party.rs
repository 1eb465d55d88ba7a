//! Networks that nobody here made, proven and verified: `tools/python/third_party.py --out DIR` prepares them, and
//! `CARAT_THIRD_PARTY=DIR` makes these tests use them. Without it they say that they were skipped. Peak memory is that of
//! the process: for a figure of one model, run its test alone.

use carat_nn::{
    compile::CompileOptions,
    edge,
    exec::{Executable, Options as Execution},
    model::{CompileRequest, Metadata, compile_model},
};
use carat_program::{ModelFile, Tensor};
use carat_zk::{Error, Instance, Mode, Options, Profile, ProvingKey, Run, prove, verify};
use std::{path::PathBuf, time::Instant};

/// More than either network needs, and what a small machine has.
const MEMORY: u64 = 6 << 30;

/// The model compiled for proofs, and its folder; `None` where there is none.
fn compiled(name: &str) -> Option<(ModelFile, PathBuf)> {
    let Some(dir) = std::env::var_os("CARAT_THIRD_PARTY")
        .map(|d| PathBuf::from(d).join(name))
        .filter(|d| d.is_dir())
    else {
        eprintln!(
            "SKIPPED: {name} (set CARAT_THIRD_PARTY to the folder that tools/python/third_party.py made)"
        );
        return None;
    };
    let onnx = std::fs::read(dir.join(format!("{name}.onnx"))).expect("the ONNX file");
    let metadata = std::fs::read_to_string(dir.join("model.toml")).expect("model.toml");
    let compiled = compile_model(&CompileRequest {
        onnx: &onnx,
        metadata: Metadata::parse(&metadata).expect("model.toml"),
        calibration: Some(&dir.join("calibration")),
        options: CompileOptions::provable(),
        ..CompileRequest::default()
    })
    .expect("the model compiles");
    Some((compiled.file, dir))
}

/// The first elements of a file of samples.
fn first(path: PathBuf, n: usize) -> Vec<f64> {
    let all = edge::read_array(&path).expect("the file of samples").data;
    all[..n].to_vec()
}

fn peak_mib() -> String {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|s| {
            let line = s.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
            let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
            Some(format!("{} MiB", kib / 1024))
        })
        .unwrap_or_else(|| "unknown".into())
}

/// Runs the first held-out sample, which no calibration saw, and proves what came out.
fn check(name: &str) {
    let Some((file, dir)) = compiled(name) else {
        return;
    };
    let (program, weights) = (&file.program, &file.weights);
    let spec = &program.inputs[0];
    let sample = first(
        dir.join(format!("data/{}.npy", spec.name)),
        spec.shape.elements(),
    );
    let inputs = edge::encode(program, &[sample]).expect("the sample fits");
    let executable = Executable::new(program, weights, Execution::default()).unwrap();
    let trace = executable.trace(&inputs).unwrap();
    let outputs = executable.run(&inputs).unwrap();
    let answer =
        |values: &[f64]| (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]));
    let got = &edge::decode(program, &outputs)[0].values;
    let reference = first(dir.join("data/reference.npy"), got.len());
    assert_eq!(answer(got), answer(&reference), "not ONNX Runtime's answer");

    let profile = Profile::Proven100;
    let start = Instant::now();
    let key = ProvingKey::new(program, weights, profile).unwrap();
    let commit = start.elapsed();
    let run = Run {
        inputs: trace.inputs,
        nodes: trace.nodes,
    };
    let instances = [Instance::of_values(&inputs, &outputs)];
    let options = Options {
        memory_limit: MEMORY,
        ..Options::default()
    };
    let start = Instant::now();
    let proof = prove(program, weights, &key, &instances, &[run], &options).unwrap();
    let proving = start.elapsed();
    let start = Instant::now();
    verify(
        program,
        key.key(),
        profile,
        Mode::Succinct,
        &instances,
        &proof,
    )
    .unwrap();
    let verifying = start.elapsed();
    eprintln!(
        "PROVEN {name}: weights {commit:.0?}, prove {proving:.0?}, verify {verifying:.1?}, {} bytes, peak memory {}",
        proof.bytes.len(),
        peak_mib(),
    );

    // Any other answer, and the same for another input.
    let mut data = outputs[0].data().to_vec();
    data[0] += if data[0] > 0 { -1 } else { 1 };
    let other = [Tensor::new(outputs[0].shape().clone(), data).unwrap()];
    let instances = [Instance::of_values(&inputs, &other)];
    let refused = |result| matches!(result, Err(Error::Check(_)));
    assert!(refused(verify(
        program,
        key.key(),
        profile,
        Mode::Succinct,
        &instances,
        &proof
    )));
    let mut data = inputs[0].data().to_vec();
    data[0] += if data[0] > 0 { -1 } else { 1 };
    let other = [Tensor::new(inputs[0].shape().clone(), data).unwrap()];
    let instances = [Instance::of_values(&other, &outputs)];
    assert!(refused(verify(
        program,
        key.key(),
        profile,
        Mode::Succinct,
        &instances,
        &proof
    )));
}

/// A MobileNetV3: depthwise convolutions, hard-swish, squeeze-and-excite, and a softmax with its quotient.
#[test]
fn textline() {
    check("textline");
}

/// A plain convolutional network on 320 x 320 images.
#[test]
fn orientation() {
    check("orientation");
}
