//! Compiles a model folder and measures it: `cargo run --example fidelity FOLDER FILE.onnx`.
#![allow(clippy::print_stdout, reason = "a program for people")]
use carat_nn::{
    compile::CompileOptions,
    fidelity,
    model::{CompileRequest, Metadata, compile_model},
};
use std::path::Path;
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let dir = Path::new(&args[1]);
    let onnx = std::fs::read(dir.join(&args[2]))?;
    let metadata = Metadata::parse(&std::fs::read_to_string(dir.join("model.toml"))?)?;
    let calibration = dir.join("calibration");
    let mut options = CompileOptions::default();
    if let Some(bits) = args.get(3) {
        options.weight_bits = bits.parse()?;
        options.widen = false;
    }
    if let Some(bits) = args.get(4) {
        options.index_bits = bits.parse()?;
    }
    let start = std::time::Instant::now();
    let compiled = compile_model(&CompileRequest {
        onnx: &onnx,
        metadata,
        calibration: Some(&calibration),
        options,
        ..Default::default()
    })?;
    println!(
        "compiled in {:?}; digest {}; nodes {}; program bytes {}; file bytes {}; deviation {:?}",
        start.elapsed(),
        compiled.file.program.digest(),
        compiled.file.program.nodes.len(),
        compiled.file.program.encode().len(),
        compiled.file.encode().len(),
        compiled.card.deviation
    );
    if std::env::var_os("NODES").is_some() {
        for (n, s) in compiled
            .file
            .program
            .nodes
            .iter()
            .zip(&compiled.card.scales)
        {
            println!(
                "{:?} {:?} {} {:?} 2^-{} {}",
                n.op, n.inputs, n.shape, n.range, s.exponent, s.origin
            );
        }
    }
    println!(
        "{:#?}",
        fidelity::measure(&compiled.file, &dir.join("data"))?
    );
    Ok(())
}
