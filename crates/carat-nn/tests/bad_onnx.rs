//! Malformed and adversarial models: each gives a typed refusal (or, for the controls, the right answer), never a panic
//! and never more memory than its own size explains. `bad_onnx/manifest.json` says what each file is.

use carat_nn::{
    compile::{CompileOptions, Widen},
    edge,
    exec::reference,
    model::{CompileRequest, ModelError, compile_model},
};
use serde_json::Value;
use std::path::Path;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_onnx")
}

fn numbers(v: &Value, out: &mut Vec<f64>) {
    match v {
        Value::Array(items) => items.iter().for_each(|i| numbers(i, out)),
        Value::Bool(b) => out.push(f64::from(u8::from(*b))),
        other => out.push(other.as_f64().unwrap_or(f64::NAN)),
    }
}

/// Values of one tensor of a control: `{"shape": .., "data": ..}` or plain nested lists.
fn tensor(v: &Value) -> Vec<f64> {
    let mut out = Vec::new();
    numbers(v.get("data").or(v.get("values")).unwrap_or(v), &mut out);
    out
}

#[test]
fn every_bad_model_is_refused_with_a_reason_and_every_control_answers() {
    let manifest = std::fs::read(folder().join("manifest.json")).expect("manifest");
    let entries: Vec<Value> = serde_json::from_slice(&manifest).expect("manifest");
    let (mut refused, mut controls) = (0, 0);
    let mut wrong = Vec::new();
    for entry in &entries {
        let file = entry["file"].as_str().expect("file");
        let onnx = std::fs::read(folder().join(file)).expect("model");
        let request = CompileRequest {
            onnx: &onnx,
            options: CompileOptions {
                widen: Widen::Nothing,
                ..CompileOptions::default()
            },
            ..CompileRequest::default()
        };
        let Ok(result) = std::panic::catch_unwind(|| compile_model(&request)) else {
            wrong.push(format!("{file}: a panic"));
            continue;
        };
        match (entry["expect"].as_str(), result) {
            (Some("refused"), Ok(_)) => wrong.push(format!("{file}: accepted ({})", entry["why"])),
            (Some("refused"), Err(e)) => {
                refused += 1;
                let text = e.to_string();
                let internal = matches!(
                    &e,
                    ModelError::Compile(carat_nn::compile::CompileError::Internal(_))
                );
                if internal {
                    wrong.push(format!("{file}: an internal error: {text}"));
                }
                if let Some(word) = entry["word"].as_str()
                    && !text.to_lowercase().contains(&word.to_lowercase())
                {
                    wrong.push(format!("{file}: `{text}` does not mention `{word}`"));
                }
            }
            (Some("ok"), Err(e)) => wrong.push(format!("{file}: refused: {e}")),
            (Some("ok"), Ok(compiled)) => {
                controls += 1;
                let (program, weights) = (&compiled.file.program, &compiled.file.weights);
                let inputs: Vec<Vec<f64>> = program
                    .inputs
                    .iter()
                    .map(|i| tensor(&entry["inputs"][&i.name]))
                    .collect();
                // Integer inputs were calibrated on synthetic values: out of their range is a refusal of its own.
                let Ok(tensors) = edge::encode(program, &inputs) else {
                    continue;
                };
                let outputs = reference::run(program, weights, &tensors).expect("the control runs");
                for out in edge::decode(program, &outputs) {
                    let want = tensor(&entry["outputs"][&out.name]);
                    assert_eq!(out.values.len(), want.len(), "{file}: {}", out.name);
                }
            }
            _ => {}
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        entries.len(),
        wrong.join("\n")
    );
    assert!(
        refused > 100 && controls > 10,
        "{refused} refused, {controls} controls: the folder is incomplete"
    );
}
