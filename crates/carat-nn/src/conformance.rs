//! The ONNX backend node tests as a conformance suite.
//!
//! For each test: import, compile on the test's own inputs, execute, compare. Rules, the same for every test:
//! - every refusal is decided before the expected outputs are read;
//! - an operand that an operator needs at compile time (axes, shapes, scales) is bound to the value that the test gives;
//! - integers and booleans must be equal; real outputs may differ by two units of the output's last place, where a unit
//!   is never coarser than a 4096th of the largest value that the model itself gives on the inputs;
//! - element type and shape must be the expected ones.

use crate::{
    compile::{CompileOptions, CompiledGraph, Prepared, output_unit, prepare},
    edge,
    exec::{Executable, Options, reference},
    graph::Array,
    import::{ImportError, ImportOptions, decode_tensor_file, import},
};
use carat_program::{OutputEncoding, Program, Tensor, Weights};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "reason", rename_all = "lowercase")]
pub enum Outcome {
    /// All outputs as expected.
    Pass,
    /// Not attempted, with the reason.
    Refused(String),
    /// A wrong answer.
    Fail(String),
}

/// One test.
#[derive(Debug, Clone, Serialize)]
pub struct TestResult {
    /// Folder name.
    pub name: String,
    /// Operator of a model with one node, `(several)` otherwise.
    pub operator: String,
    /// Outcome.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Numbers for one operator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Passed.
    pub pass: usize,
    /// Refused.
    pub refused: usize,
    /// Failed.
    pub fail: usize,
    /// Reasons of refusals and how often each was given, with names and numbers as in their first occurrence.
    pub reasons: BTreeMap<String, usize>,
}

/// The whole suite.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SuiteReport {
    /// Passed.
    pub pass: usize,
    /// Refused.
    pub refused: usize,
    /// Failed.
    pub fail: usize,
    /// By operator.
    pub by_operator: BTreeMap<String, Counts>,
    /// Every test, by name.
    pub tests: Vec<TestResult>,
}

/// Runs every test folder (one that holds `model.onnx`) below `dir`, in order of name. `progress(done, all)` is called
/// after each.
///
/// # Errors
/// When the folder cannot be read or holds no test.
pub fn run_suite(dir: &Path, progress: impl FnMut(usize, usize)) -> std::io::Result<SuiteReport> {
    run_suite_with(dir, attempt, progress)
}

/// [`run_suite`] for another engine: `attempt` makes one test.
///
/// # Errors
/// When the folder cannot be read or holds no test.
pub fn run_suite_with(
    dir: &Path,
    mut attempt: impl FnMut(&Path) -> Result<(), Outcome>,
    mut progress: impl FnMut(usize, usize),
) -> std::io::Result<SuiteReport> {
    let mut folders: Vec<PathBuf> = fs::read_dir(dir)?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()?;
    folders.retain(|p| p.join("model.onnx").is_file());
    folders.sort();
    if folders.is_empty() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::NotFound,
            format!(
                "{} holds no folder with a model.onnx; give the `node` folder of the ONNX backend tests",
                dir.display()
            ),
        ));
    }
    let mut report = SuiteReport::default();
    for (done, folder) in folders.iter().enumerate() {
        let result = judge(folder, &mut attempt);
        let counts = report
            .by_operator
            .entry(result.operator.clone())
            .or_default();
        match &result.outcome {
            Outcome::Pass => {
                report.pass += 1;
                counts.pass += 1;
            }
            Outcome::Refused(reason) => {
                report.refused += 1;
                counts.refused += 1;
                *counts.reasons.entry(reason.clone()).or_default() += 1;
            }
            Outcome::Fail(_) => {
                report.fail += 1;
                counts.fail += 1;
            }
        }
        report.tests.push(result);
        progress(done + 1, folders.len());
    }
    Ok(report)
}

/// Runs one test folder. A panic anywhere below is caught and counted as a refusal that says so.
#[must_use]
pub fn run_test(folder: &Path) -> TestResult {
    judge(folder, &mut attempt)
}

fn judge(folder: &Path, attempt: &mut dyn FnMut(&Path) -> Result<(), Outcome>) -> TestResult {
    let name = folder
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let operator = fs::read(folder.join("model.onnx"))
        .ok()
        .and_then(|bytes| crate::import::only_operator(&bytes))
        .unwrap_or_else(|| "(several)".into());
    let outcome = match catch_unwind(AssertUnwindSafe(|| attempt(folder))) {
        Ok(Ok(())) => Outcome::Pass,
        Ok(Err(outcome)) => outcome,
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
                .unwrap_or_default();
            Outcome::Refused(format!("a dependency gave up: {text}"))
        }
    };
    TestResult {
        name,
        operator,
        outcome,
    }
}

fn refuse(reason: impl ToString) -> Outcome {
    Outcome::Refused(reason.to_string())
}

/// The programs and inputs of a test that passes, one per data set: for checks that go further than execution.
///
/// # Errors
/// The outcome of a test that does not pass.
pub fn programs(folder: &Path) -> Result<Vec<(Program, Weights, Vec<Tensor>)>, Outcome> {
    match run_test(folder).outcome {
        Outcome::Pass => {}
        other => return Err(other),
    }
    let (_, prepared, compiled) = compile(folder)?;
    prepared
        .samples()
        .iter()
        .map(|inputs| {
            let tensors = edge::encode(&compiled.program, inputs).map_err(refuse)?;
            Ok((compiled.program.clone(), compiled.weights.clone(), tensors))
        })
        .collect()
}

fn attempt(folder: &Path) -> Result<(), Outcome> {
    let (sets, prepared, compiled) = compile(folder)?;
    let (program, weights) = (&compiled.program, &compiled.weights);
    let executable = Executable::new(program, weights, Options::default()).map_err(refuse)?;
    for ((set, inputs), model) in sets
        .iter()
        .zip(prepared.samples())
        .zip(prepared.reference())
    {
        let tensors = edge::encode(program, inputs).map_err(refuse)?;
        let outputs = reference::run(program, weights, &tensors).map_err(refuse)?;
        let fast = executable
            .run(&tensors)
            .map_err(|e| Outcome::Fail(format!("the executor refused its own program: {e}")))?;
        if fast != outputs {
            return Err(Outcome::Fail(
                "the fast executor and the reference disagree".into(),
            ));
        }
        for (i, (spec, got)) in program.outputs.iter().zip(&outputs).enumerate() {
            let bytes = fs::read(set.join(format!("output_{i}.pb"))).map_err(refuse)?;
            let want = decode_tensor_file(&bytes)
                .map_err(|e| Outcome::Fail(format!("expected output: {e}")))?
                .1;
            let fail = |text: String| Err(Outcome::Fail(format!("output `{}`: {text}", spec.name)));
            if want.dtype != spec.dtype || want.dims != got.shape().dims() {
                return fail(format!(
                    "{} {:?} instead of {} {:?}",
                    spec.dtype.name(),
                    got.shape(),
                    want.dtype.name(),
                    want.dims
                ));
            }
            let exponent = match spec.encoding {
                OutputEncoding::Exact => 0,
                OutputEncoding::Fixed { exponent } => exponent,
            };
            let largest = model[i].iter().fold(0.0f64, |m, v| m.max(v.abs()));
            let tolerance = if spec.dtype.is_float() {
                2.0 * output_unit(&spec.encoding, largest)
            } else {
                0.0
            };
            for (at, (&q, &w)) in got.data().iter().zip(&want.data).enumerate() {
                let v = libm::ldexp(q.into(), -exponent);
                // Written so that NaN fails.
                let close = (v - w).abs() <= tolerance;
                if !close {
                    return fail(format!(
                        "element {at} is {v} instead of {w} (allowed: ±{tolerance})"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The folders of a test's data, in order.
///
/// # Errors
/// A refusal where the folder cannot be read.
pub fn data_sets(folder: &Path) -> Result<Vec<PathBuf>, Outcome> {
    let mut sets: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(refuse)?
        .filter_map(|e| e.ok().map(|e| e.path()))
        .filter(|p| {
            p.is_dir()
                && p.file_name()
                    .is_some_and(|n| n.to_string_lossy().starts_with("test_data_set_"))
        })
        .collect();
    sets.sort();
    Ok(sets)
}

/// The data sets of a test, and its model prepared and compiled on their inputs.
fn compile(folder: &Path) -> Result<(Vec<PathBuf>, Prepared, CompiledGraph), Outcome> {
    let bytes = fs::read(folder.join("model.onnx")).map_err(refuse)?;
    let names = crate::import::input_names(&bytes).map_err(refuse)?;
    let sets = data_sets(folder)?;
    let mut given: Vec<Vec<Array>> = Vec::new();
    for set in &sets {
        let mut arrays = Vec::new();
        for i in 0..names.len() {
            let bytes = fs::read(set.join(format!("input_{i}.pb")))
                .map_err(|_| refuse("an optional input is left out"))?;
            arrays.push(decode_tensor_file(&bytes).map_err(refuse)?.1);
        }
        given.push(arrays);
    }
    let first = given
        .first()
        .ok_or_else(|| refuse("the test has no data"))?;
    let mut options = ImportOptions::default();
    for (name, array) in names.iter().zip(first) {
        options.shapes.insert(name.clone(), array.dims.clone());
    }
    // Bind what an operator needs at compile time, one operand after the other.
    let imported = loop {
        match import(&bytes, &options) {
            Ok(imported) => break imported,
            Err(ImportError::NotConstant { node, op, value }) => {
                let at = names
                    .iter()
                    .position(|n| *n == value)
                    .filter(|_| !options.bind.contains_key(&value));
                let Some(at) = at else {
                    return Err(refuse(ImportError::NotConstant { node, op, value }));
                };
                if given.iter().any(|g| g[at] != first[at]) {
                    return Err(refuse(
                        "an operand needed at compile time differs between data sets",
                    ));
                }
                options.bind.insert(value, first[at].clone());
            }
            Err(e) => return Err(refuse(e)),
        }
    };
    let free: Vec<usize> = (0..names.len())
        .filter(|&i| !options.bind.contains_key(&names[i]))
        .collect();
    for (input, &i) in imported.graph.inputs.iter().zip(&free) {
        let declared = imported.graph.nodes[input.node].dtype;
        if given.iter().any(|g| g[i].dtype != declared) {
            return Err(refuse(format!(
                "the test gives `{}` another element type than its model declares",
                input.name
            )));
        }
    }
    let samples: Vec<Vec<Vec<f64>>> = given
        .iter()
        .map(|g| free.iter().map(|&i| g[i].data.clone()).collect())
        .collect();
    let prepared = prepare(imported.graph, samples).map_err(refuse)?;
    let compiled = prepared
        .compile(&CompileOptions::precise())
        .map_err(refuse)?;
    Ok((sets, prepared, compiled))
}
