//! The models of this repository: pinned digests, the same on any number of threads, and fidelity above the bars.

use carat_nn::{
    fidelity::{FidelityReport, measure},
    model::{CompileRequest, Compiled, Metadata, compile_model},
};
use carat_program::{ConstantWidth, constant_root};
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../models")
        .join(name)
}

fn compile(name: &str) -> Compiled {
    let dir = folder(name);
    let onnx = std::fs::read(dir.join(format!("{name}.onnx"))).expect("the ONNX file");
    let metadata = std::fs::read_to_string(dir.join("model.toml")).expect("model.toml");
    let metadata = Metadata::parse(&metadata).expect("model.toml");
    let options = metadata.compile.options().expect("[compile]");
    let calibration = dir.join("calibration");
    compile_model(&CompileRequest {
        onnx: &onnx,
        metadata,
        calibration: Some(&calibration),
        options,
        ..CompileRequest::default()
    })
    .expect("the model compiles")
}

/// A digest changes only when the format or the compiler changes on purpose: old receipts name old digests.
#[test]
fn digests_are_pinned() {
    for (name, digest) in [
        (
            "digits",
            "b42dc892f7fb595bdddcb94954b93047a63ae47ba3152e4d811845a38a5114c6",
        ),
        (
            "tumor",
            "8e4b6c7ee4f1b067029354a9fc79ffff623019791e8baa115ac3a8bb9eacc3db",
        ),
    ] {
        assert_eq!(
            compile(name).file.program.digest().to_string(),
            digest,
            "{name}"
        );
    }
}

#[test]
fn compilation_does_not_depend_on_threads() {
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        pool.install(|| compile("digits").file.encode())
    };
    let one = with(1);
    for threads in [2, 3, 8] {
        assert!(with(threads) == one, "{threads} threads gave another file");
    }
}

fn above_the_bars(name: &str, report: &FidelityReport) {
    assert!(report.samples >= 100, "{name}: {report:?}");
    assert!(report.top1_agreement >= 0.99, "{name}: {report:?}");
    let drop = report.float_accuracy.expect("labels") - report.integer_accuracy.expect("labels");
    assert!(drop <= 0.005, "{name}: {report:?}");
}

#[test]
fn fidelity_is_above_the_bars_on_held_out_samples() {
    for name in ["digits", "tumor"] {
        let report =
            measure(&compile(name).file, &folder(name).join("data")).expect("the data fits");
        above_the_bars(name, &report);
    }
}

/// The measurement must be able to fail: a program whose largest matrix has its sign flipped is noticed.
#[test]
fn fidelity_notices_a_damaged_model() {
    let mut file = compile("tumor").file;
    let weights = &mut file.weights.data;
    let largest = (0..weights.len())
        .max_by_key(|&i| weights[i].len())
        .expect("weights");
    let flipped: Vec<i32> = weights[largest].iter().map(|w| -w).collect();
    weights[largest] = flipped.into();
    let constant = &mut file.program.constants[largest];
    constant.range = weights[largest].range().expect("weights");
    constant.root = constant_root(
        &ConstantWidth::of(constant.range).encode(&weights[largest]),
        None,
    );
    let report = measure(&file, &folder("tumor").join("data")).expect("the data fits");
    assert!(report.top1_agreement < 0.9, "{report:?}");
}
