//! The real engine. Ignored where `cargo test` is run without more, since its worker is built apart:
//!
//! ```text
//! (cd float && cargo build --release) && cargo test --workspace --release --test engine -- --ignored
//! ```

#![cfg(unix)]
#![allow(clippy::print_stdout)] // what became of each hostile file is for whoever asks to see it

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use carat_float::profile::X86_64_V3;
use carat_float::{Bounds, FloatModel, FloatModelError, Launch, Source, Worker, WorkerError};
use carat_nn::edge::{bits_of, read_array};
use carat_nn::model::{Metadata, split_samples};
use carat_program::pinned::{Bits, encode_bits};
use carat_receipt::Digest;

fn repo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name)
}

fn launch(seconds: u64) -> Launch {
    let bounds = Bounds {
        time: Duration::from_secs(seconds),
        bytes: 2 << 30,
    };
    Launch::find("tract", bounds).expect("the worker: cargo build --release in the folder float")
}

/// A shipped model and the first held-out samples of it.
fn shipped(name: &str, worker: &mut Worker) -> (FloatModel, Vec<Vec<Bits>>) {
    let folder = repo("models").join(name);
    let onnx = fs::read(folder.join(format!("{name}.onnx"))).expect("the model");
    let text = fs::read_to_string(folder.join("model.toml")).expect("metadata");
    let source = Source {
        onnx: &onnx,
        metadata: Metadata::parse(&text).expect("metadata"),
        ..Source::default()
    };
    let model = FloatModel::compile(&source, worker).expect("it compiles");
    let [input] = &model.program.body.inputs[..] else {
        panic!("one input");
    };
    let file = folder.join("data").join(format!("{}.npy", input.name));
    let values = read_array(&file).expect("held-out samples");
    let dims: Vec<usize> = input.dims.iter().map(|&n| n as usize).collect();
    let samples = split_samples(&values, &dims).expect("samples");
    let inputs = samples
        .into_iter()
        .take(40)
        .map(|data| {
            let values = carat_nn::edge::Values {
                dims: dims.clone(),
                data,
            };
            bits_of(&model.program.body.inputs, &[values]).expect("fits")
        })
        .collect();
    (model, inputs)
}

/// The digest of all answers of a shipped model, by a worker.
fn answers(launch: &Launch, name: &str) -> Digest {
    let worker = &mut Worker::new(launch.clone());
    let (model, inputs) = shipped(name, worker);
    let mut all = model.digest.as_bytes().to_vec();
    for input in &inputs {
        all.extend(encode_bits(&worker.run(&model, input).expect("an answer")));
    }
    Digest::sha256(&all)
}

/// The same model under processors of two makers and three generations, emulated, and this one: the same bits.
#[test]
#[ignore = "needs the worker and qemu-x86_64"]
fn emulated_processors_give_the_same_bits() {
    let native = launch(120);
    let folder = tempfile::tempdir().expect("a folder");
    let here: BTreeMap<&str, Digest> = ["digits", "tumor"]
        .map(|name| (name, answers(&native, name)))
        .into();
    for cpu in ["Haswell", "EPYC", "Skylake-Server"] {
        let wrapper = folder.path().join(cpu);
        let script = format!(
            "#!/bin/sh\nexec /usr/bin/qemu-x86_64 -cpu {cpu} '{}' \"$@\" 2>/dev/null\n",
            native.program.display()
        );
        fs::write(&wrapper, script).expect("written");
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("executable");
        // The emulator takes memory of its own, and time.
        let mut emulated = native.clone();
        emulated.program = wrapper;
        emulated.bounds = Bounds {
            time: Duration::from_secs(300),
            bytes: 8 << 30,
        };
        for (name, expected) in &here {
            assert_eq!(answers(&emulated, name), *expected, "{name} under {cpu}");
        }
    }
}

/// A processor without what the profile needs does not give other bits: it gives none.
#[test]
#[ignore = "needs the worker and qemu-x86_64"]
fn an_older_processor_gives_no_answer() {
    let native = launch(60);
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new("qemu-x86_64")
        .current_dir(folder.path())
        .args(["-cpu", "Nehalem"])
        .arg(&native.program)
        .args(["--memory", "8000000000"])
        .output()
        .expect("qemu-x86_64");
    assert!(!output.status.success());
    assert!(output.stdout.is_empty(), "not even a greeting");
}

/// The system ends a worker with the thread that started it: that must not be whoever asked first.
#[test]
#[ignore = "needs the worker"]
fn a_worker_outlives_the_thread_that_asked_first() {
    let asked = std::thread::spawn(|| {
        let mut worker = Worker::new(launch(60));
        let (model, inputs) = shipped("tumor", &mut worker);
        (worker, model, inputs)
    });
    let (mut worker, model, inputs) = asked.join().expect("no panic");
    // The end of a thread is seen by who joins it a little before its children see it.
    std::thread::sleep(Duration::from_millis(200));
    let first = worker.process_id();
    worker.run(&model, &inputs[0]).expect("an answer");
    assert_eq!(worker.process_id(), first);
}

/// Files that others made to do harm: whatever the engine does with one, the next is answered.
#[test]
#[ignore = "needs the worker"]
fn hostile_models_end_workers_and_nothing_else() {
    let worker = &mut Worker::new(launch(10));
    let (good, inputs) = shipped("tumor", worker);
    let before = worker.run(&good, &inputs[0]).expect("an answer");
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    let mut files: Vec<PathBuf> = fs::read_dir(repo("crates/carat-nn/tests/bad_onnx"))
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "onnx"))
        .collect();
    files.sort();
    assert!(files.len() > 150, "the corpus is there: {}", files.len());
    for path in &files {
        let onnx = fs::read(path).expect("read");
        let source = Source {
            onnx: &onnx,
            ..Source::default()
        };
        let end = match FloatModel::compile(&source, worker) {
            Ok(_) => "taken",
            Err(FloatModelError::Worker(error)) => match error {
                WorkerError::Refused(_) => "refused",
                WorkerError::Panicked(_) => "panicked",
                WorkerError::TookTooLong(_) => "took too long",
                WorkerError::Memory(_) => "too much memory",
                WorkerError::Died(_) => "died",
                other => panic!("{}: {other:?}", path.display()),
            },
            Err(other) => panic!("{}: {other:?}", path.display()),
        };
        if !matches!(end, "refused") {
            println!("{}: {end}", path.file_name().unwrap_or_default().display());
        }
        *ends.entry(end).or_default() += 1;
    }
    println!("{} files: {ends:?}", files.len());
    assert_eq!(worker.run(&good, &inputs[0]).expect("an answer"), before);
}

/// ONNX Runtime's own answers on held-out samples, which nobody here wrote.
#[test]
#[ignore = "needs the worker"]
fn answers_are_those_of_onnx_runtime() {
    for name in ["digits", "tumor"] {
        let worker = &mut Worker::new(launch(60));
        let (model, inputs) = shipped(name, worker);
        let reference = read_array(&repo("models").join(name).join("data/reference.npy"));
        let reference = reference.expect("ONNX Runtime's answers");
        let classes = reference.data.len() / reference.dims[0];
        for (input, expected) in inputs.iter().zip(reference.data.chunks(classes)) {
            let outputs = worker.run(&model, input).expect("an answer");
            for (got, want) in outputs[0].numbers().into_iter().zip(expected) {
                assert!(
                    (got - want).abs() <= 1e-4 * (1.0 + want.abs()),
                    "{name}: {got} for {want}"
                );
            }
        }
    }
}

/// The digest of a Program is the same wherever it is made, and names profile and model.
#[test]
#[ignore = "needs the worker"]
fn digests_are_pinned() {
    let worker = &mut Worker::new(launch(60));
    let digests = ["digits", "tumor"].map(|name| shipped(name, worker).0.digest.to_string());
    let expected = [
        "de8922c88b83e07ecdfd48edb32e9632c07d4d9747c30d044d3529895e4fcda1",
        "bf75ccc1edb8d9ca7f55da7f2fc2af454a0d980345a1cc8c8d2377fff4721332",
    ];
    assert_eq!(digests, expected, "under {}", X86_64_V3.name);
}
