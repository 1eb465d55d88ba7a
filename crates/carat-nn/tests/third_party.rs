//! Models that nobody here made, from packages on PyPI: `tools/python/third_party.py --out DIR` prepares them, and
//! `CARAT_THIRD_PARTY=DIR` makes these tests use them. Without it they say that they were skipped.

use carat_nn::{
    fidelity::measure,
    model::{CompileRequest, Metadata, compile_model},
};
use std::path::PathBuf;

fn check(name: &str) {
    let Some(dir) = std::env::var_os("CARAT_THIRD_PARTY")
        .map(|d| PathBuf::from(d).join(name))
        .filter(|d| d.is_dir())
    else {
        eprintln!(
            "SKIPPED: {name} (set CARAT_THIRD_PARTY to the folder that tools/python/third_party.py made)"
        );
        return;
    };
    let onnx = std::fs::read(dir.join(format!("{name}.onnx"))).expect("the ONNX file");
    let metadata = std::fs::read_to_string(dir.join("model.toml")).expect("model.toml");
    let metadata = Metadata::parse(&metadata).expect("model.toml");
    let calibration = dir.join("calibration");
    let compiled = compile_model(&CompileRequest {
        onnx: &onnx,
        metadata,
        calibration: Some(&calibration),
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
