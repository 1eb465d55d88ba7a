//! Models that nobody here made, from packages on PyPI: `tools/python/third_party.py --out DIR` prepares them, and
//! `CARAT_THIRD_PARTY=DIR` makes these tests use them. Without it they say that they were skipped.

use carat_nn::{
    compile::{CompileOptions, Lookups, TABLE_VALUES},
    fidelity::measure,
    model::{CompileRequest, Metadata, compile_model},
};
use std::path::PathBuf;

fn check(name: &str) {
    check_with(name, CompileOptions::default());
}

/// Compiles and measures; the look-ups of the program, unless the model is not there.
fn check_with(name: &str, options: CompileOptions) -> Option<Lookups> {
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
    let metadata = Metadata::parse(&metadata).expect("model.toml");
    let calibration = dir.join("calibration");
    let compiled = compile_model(&CompileRequest {
        onnx: &onnx,
        metadata,
        calibration: Some(&calibration),
        options,
        ..CompileRequest::default()
    })
    .expect("the model compiles");
    let report = measure(&compiled.file, &dir.join("data")).expect("the data fits");
    eprintln!(
        "{name}: {} weight bits, {:?}",
        compiled.card.options.weight_bits, report
    );
    assert!(report.top1_agreement >= 0.99, "{report:?}");
    if let (Some(float), Some(integer)) = (report.float_accuracy, report.integer_accuracy) {
        assert!(float - integer <= 0.005, "{report:?}");
    }
    Some(Lookups::of(&compiled.file.program))
}

/// Compiled for proofs, with the same bars: every shift, clamp and table is one look-up.
fn check_provable(name: &str) {
    if let Some(cost) = check_with(name, CompileOptions::provable()) {
        eprintln!("{name} for proofs: {cost:?}");
        assert!(cost.largest_shift <= TABLE_VALUES, "{cost:?}");
        assert_eq!(cost.wide, 0, "{cost:?}");
    }
}

/// Google's file-type classifier: a one-hot embedding, tanh-GELU, layer norm and softmax written out, a wide convolution.
#[test]
fn magika() {
    check("magika");
}

/// A MobileNetV3: depthwise convolutions, batch normalisation, hard-swish, squeeze-and-excite, softmax.
#[test]
fn textline() {
    check("textline");
}

/// A plain convolutional network on 320 x 320 images.
#[test]
fn orientation() {
    check("orientation");
}

#[test]
fn textline_for_proofs() {
    check_provable("textline");
}

#[test]
fn orientation_for_proofs() {
    check_provable("orientation");
}
