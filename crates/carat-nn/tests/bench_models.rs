//! The benchmark shapes of `models/bench`, compiled for proofs: `python models/bench/make.py --reference` makes them, and
//! `CARAT_BENCH_MODELS=target/bench-models` makes these tests use them. Without it they say that they were skipped.

use carat_nn::{
    compile::{Lookups, TABLE_VALUES},
    fidelity::measure,
    model::{CompileRequest, Metadata, compile_model},
};
use carat_receipt::Digest;
use std::path::{Path, PathBuf};

/// Name, program digest, elements of a shift with its clamp, comparisons of maxima.
const MODELS: [(&str, &str, u64, u64); 5] = [
    (
        "mlp-784",
        "bed333fd93cbf84b00ea3a9664dddaaa0736a3ba887fc31790f9e703785117ce",
        192,
        0,
    ),
    (
        "lenet5",
        "307aabcab44186c4bcabb09e840a9340c6b194f68c39a4a590586acfa42e9f21",
        6_508,
        6_304,
    ),
    (
        "cnn-264k",
        "3704ad0bdefe03d3600fa51c2cb5808d1222f4c668c83f5bb42013c28d76759f",
        13_134,
        12_708,
    ),
    (
        "dense-4m",
        "a43aff4de1febc1a1df5a5a6337dedc99bdef082ee185309fc7349162364bdef",
        3_072,
        0,
    ),
    (
        "vgg16-cifar",
        "ec62ef796cb131b82cd5296c3efee3138a8d9bdd5ae027de3a106b81a154f9c7",
        277_504,
        124_928,
    ),
];

fn manifest() -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/bench/manifest.json");
    serde_json::from_slice(&std::fs::read(path).expect("the manifest")).expect("JSON")
}

/// The list here and the list that the script makes are the same.
#[test]
fn the_manifest_names_these_models() {
    let manifest = manifest();
    // The order of an object's keys is the file's or the alphabet's, as other crates of the build choose.
    let mut named: Vec<_> = manifest.as_object().expect("an object").keys().collect();
    named.sort_unstable();
    let mut ours: Vec<_> = MODELS.iter().map(|m| m.0).collect();
    ours.sort_unstable();
    assert_eq!(named, ours);
}

#[test]
fn they_compile_to_cheap_programs() {
    let Some(root) = std::env::var_os("CARAT_BENCH_MODELS").map(PathBuf::from) else {
        eprintln!(
            "SKIPPED: set CARAT_BENCH_MODELS to the folder that models/bench/make.py --reference made"
        );
        return;
    };
    let manifest = manifest();
    for (name, digest, single, max) in MODELS {
        let dir = root.join(name);
        for (file, pinned) in manifest[name].as_object().expect("files") {
            let bytes = std::fs::read(dir.join(file)).expect("a file of the manifest");
            let found = Digest::sha256(&bytes).to_string();
            assert_eq!(Some(&*found), pinned.as_str(), "{name}/{file}");
        }
        let onnx = std::fs::read(dir.join(format!("{name}.onnx"))).expect("the ONNX file");
        let metadata = std::fs::read_to_string(dir.join("model.toml")).expect("model.toml");
        let metadata = Metadata::parse(&metadata).expect("model.toml");
        let options = metadata.compile.options().expect("[compile]");
        let calibration = dir.join("calibration");
        let started = std::time::Instant::now();
        let compiled = compile_model(&CompileRequest {
            onnx: &onnx,
            metadata,
            calibration: Some(&calibration),
            options,
            ..CompileRequest::default()
        })
        .expect("the model compiles");
        let seconds = started.elapsed().as_secs_f64();
        let program = &compiled.file.program;
        assert_eq!(program.digest().to_string(), digest, "{name}");
        let cost = Lookups::of(program);
        assert_eq!(
            (cost.single, cost.wide, cost.max),
            (single, 0, max),
            "{name}: {cost:?}"
        );
        assert_eq!(
            (cost.shift, cost.clamp),
            (single, single),
            "{name}: {cost:?}"
        );
        assert!(cost.largest_shift <= TABLE_VALUES, "{name}: {cost:?}");
        assert!(cost.largest_max <= 256, "{name}: {cost:?}");
        let report = measure(&compiled.file, &dir.join("data")).expect("the data fits");
        eprintln!("{name}: compiled in {seconds:.1} s, {report:?}");
        // Random weights leave many near ties; what must hold is that the outputs are the model's.
        assert!(report.min_cosine >= 0.999, "{name}: {report:?}");
        assert!(report.top1_agreement >= 0.95, "{name}: {report:?}");
    }
}

/// A program of the default profile does cost more: the counts can tell.
#[test]
fn the_counts_can_tell() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/digits");
    let onnx = std::fs::read(dir.join("digits.onnx")).expect("the ONNX file");
    let calibration = dir.join("calibration");
    let cost = |compile: carat_nn::model::CompileMetadata| {
        let compiled = compile_model(&CompileRequest {
            onnx: &onnx,
            calibration: Some(&calibration),
            options: compile.options().expect("options"),
            ..CompileRequest::default()
        });
        Lookups::of(&compiled.expect("the model compiles").file.program)
    };
    let wide = cost(carat_nn::model::CompileMetadata::default());
    let narrow = cost(carat_nn::model::CompileMetadata {
        purpose: Some(carat_nn::model::Purpose::Proof),
        ..Default::default()
    });
    assert_eq!((wide.single, wide.wide), (0, 2250), "{wide:?}");
    assert_eq!((narrow.single, narrow.wide), (2240, 0), "{narrow:?}");
    assert!(wide.largest_shift > TABLE_VALUES && narrow.largest_shift <= TABLE_VALUES);
    assert!(narrow.largest_max <= 256, "{narrow:?}");
}
