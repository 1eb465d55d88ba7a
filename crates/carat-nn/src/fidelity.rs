//! How close the integer program is to the float model: measured against outputs that ONNX Runtime gave.

use crate::{
    edge::{self, EdgeError, Values, read_array},
    exec::{ExecError, Executable, Options},
    model::split_samples,
};
use carat_program::ModelFile;
use serde::Serialize;
use std::path::Path;
use thiserror::Error;

/// Why fidelity cannot be measured.
#[derive(Debug, Error)]
pub enum FidelityError {
    /// A file is refused.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// The program does not run.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The data does not fit.
    #[error("{0}")]
    Data(String),
}

/// The measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FidelityReport {
    /// Samples measured.
    pub samples: usize,
    /// Whose outputs are the reference (`reference.json`), where stated.
    pub reference: Option<String>,
    /// Share of samples with the same largest output as the reference.
    pub top1_agreement: f64,
    /// Largest absolute difference.
    pub max_abs_error: f64,
    /// Mean absolute difference.
    pub mean_abs_error: f64,
    /// Smallest cosine between outputs of a sample.
    pub min_cosine: f64,
    /// Accuracy of the reference, with labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub float_accuracy: Option<f64>,
    /// Accuracy of the integer program, with labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integer_accuracy: Option<f64>,
    /// Samples on which the answers differ (at most 20 are listed).
    pub disagreements: Vec<usize>,
}

/// Measures a model on a folder: `<input>.npy`, `reference.npy`, and `labels.npy` where there are any.
///
/// # Errors
/// [`FidelityError`].
pub fn measure(model: &ModelFile, dir: &Path) -> Result<FidelityReport, FidelityError> {
    let program = &model.program;
    let inputs: Vec<_> = program
        .inputs
        .iter()
        .map(|i| (i.name.clone(), i.shape.dims(), i.dtype.is_float()))
        .collect();
    let mut columns = Vec::new();
    for (name, dims, _) in &inputs {
        let path = dir.join(format!("{name}.npy"));
        columns.push(
            split_samples(&read_array(&path)?, dims)
                .map_err(|e| FidelityError::Data(format!("{}: {e}", path.display())))?,
        );
    }
    let out = program
        .outputs
        .first()
        .ok_or_else(|| FidelityError::Data("the model has no output".into()))?;
    let shape = program
        .value(out.value)
        .map(|v| v.shape.dims())
        .unwrap_or_default();
    let reference: Values = read_array(&dir.join("reference.npy"))?;
    let reference = split_samples(&reference, &shape)
        .map_err(|e| FidelityError::Data(format!("reference.npy {e}")))?;
    let labels = match read_array(&dir.join("labels.npy")) {
        Ok(v) => Some(v.data),
        Err(EdgeError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(e.into()),
    };
    let count = columns[0].len();
    if columns.iter().any(|c| c.len() != count)
        || reference.len() != count
        || labels.as_ref().is_some_and(|l| l.len() != count)
    {
        return Err(FidelityError::Data(
            "inputs, reference and labels have different numbers of samples".into(),
        ));
    }
    let executable = Executable::new(program, &model.weights, Options::default())?;
    let mut report = FidelityReport {
        samples: count,
        reference: reference_name(dir),
        top1_agreement: 0.0,
        max_abs_error: 0.0,
        mean_abs_error: 0.0,
        min_cosine: 1.0,
        float_accuracy: None,
        integer_accuracy: None,
        disagreements: Vec::new(),
    };
    let (mut same, mut elements, mut correct) = (0usize, 0usize, (0usize, 0usize));
    for i in 0..count {
        let sample: Vec<Vec<f64>> = columns.iter().map(|c| c[i].clone()).collect();
        let tensors = edge::encode(program, &sample).map_err(EdgeError::from)?;
        let outputs = executable.run(&tensors)?;
        let got = edge::decode(program, &outputs).swap_remove(0).values;
        let want = &reference[i];
        let (mut dot, mut a, mut b) = (0.0, 0.0, 0.0);
        for (g, w) in got.iter().zip(want) {
            let d = (g - w).abs();
            report.max_abs_error = report.max_abs_error.max(d);
            report.mean_abs_error += d;
            (dot, a, b) = (dot + g * w, a + g * g, b + w * w);
        }
        elements += got.len();
        if a > 0.0 && b > 0.0 {
            report.min_cosine = report.min_cosine.min(dot / libm::sqrt(a * b));
        }
        let (g, w) = (edge::arg_max(&got), edge::arg_max(want));
        if g == w {
            same += 1;
        } else if report.disagreements.len() < 20 {
            report.disagreements.push(i);
        }
        if let Some(labels) = &labels {
            correct.0 += usize::from(w as f64 == labels[i]);
            correct.1 += usize::from(g as f64 == labels[i]);
        }
    }
    report.top1_agreement = same as f64 / count as f64;
    report.mean_abs_error /= elements.max(1) as f64;
    if labels.is_some() {
        report.float_accuracy = Some(correct.0 as f64 / count as f64);
        report.integer_accuracy = Some(correct.1 as f64 / count as f64);
    }
    Ok(report)
}

fn reference_name(dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(dir.join("reference.json")).ok()?;
    let json: serde_json::Value = serde_json::from_str(&text).ok()?;
    json.get("engine")?.as_str().map(ToString::to_string)
}
