//! The ONNX backend node tests under a pinned profile.
//!
//! The same rules for every test, and no test named in the code:
//! - every refusal is decided before the expected outputs are read;
//! - where the engine does not take a model as it is, the operands after the first that are integers, then all after the
//!   first, are bound to the values that the test gives: the engine wants axes, shapes and the like at compile time;
//! - integers and booleans must be equal; real outputs may differ by the suite's own tolerance: 1e-7 and a thousandth of the
//!   expected value; a NaN must be a NaN;
//! - element type and shape must be the expected ones;
//! - the model runs twice, in two processes, and the bits must be the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use carat_nn::conformance::{Outcome, SuiteReport, data_sets, run_suite_with};
use carat_nn::import::{decode_tensor_bits, input_names};
use carat_program::pinned::{Bits, Bound, encode_bits};

use crate::{FloatModel, FloatModelError, Launch, Source, Worker, WorkerError};

/// The suite's relative tolerance.
const RELATIVE: f64 = 1e-3;
/// The suite's absolute tolerance.
const ABSOLUTE: f64 = 1e-7;

/// What the suite shows of an engine.
#[derive(Debug)]
pub struct Conformance {
    /// Outcomes.
    pub suite: SuiteReport,
    /// How many tests that pass needed operands bound.
    pub bound: usize,
    /// How many times a worker process had to be replaced.
    pub replaced: usize,
}

/// Runs every test folder below `dir` in worker processes.
///
/// # Errors
/// When the folder cannot be read or holds no test, and when no worker can be started.
pub fn run(
    dir: &Path,
    launch: &Launch,
    progress: impl FnMut(usize, usize),
) -> std::io::Result<Conformance> {
    let mut runner = Runner {
        first: Worker::new(launch.clone()),
        second: Worker::new(launch.clone()),
        bound: 0,
        replaced: 0,
        unusable: None,
    };
    let suite = run_suite_with(dir, |folder| runner.attempt(folder), progress)?;
    match runner.unusable {
        Some(error) => Err(std::io::Error::other(error)),
        None => Ok(Conformance {
            suite,
            bound: runner.bound,
            replaced: runner.replaced,
        }),
    }
}

struct Runner {
    first: Worker,
    /// Another process, so that nothing of the first run can help the second.
    second: Worker,
    bound: usize,
    replaced: usize,
    /// Why no worker works: nothing was tested.
    unusable: Option<WorkerError>,
}

fn refuse(reason: impl ToString) -> Outcome {
    Outcome::Refused(reason.to_string())
}

impl Runner {
    fn attempt(&mut self, folder: &Path) -> Result<(), Outcome> {
        let onnx = fs::read(folder.join("model.onnx")).map_err(refuse)?;
        let names = input_names(&onnx).map_err(refuse)?;
        let sets = data_sets(folder)?;
        let mut given = Vec::new();
        for set in &sets {
            given.push(inputs_of(set, names.len())?);
        }
        let (model, free) = self.compile(&onnx, &names, &given)?;
        for (set, inputs) in sets.iter().zip(&given) {
            let inputs: Vec<Bits> = free.iter().map(|&i| inputs[i].clone()).collect();
            let outputs = self.run(&model, &inputs)?;
            compare(&model, set, &outputs)?;
        }
        if free.len() < names.len() {
            self.bound += 1;
        }
        Ok(())
    }

    /// The model, and which of the test's inputs are the Program's.
    fn compile(
        &mut self,
        onnx: &[u8],
        names: &[String],
        given: &[Vec<Bits>],
    ) -> Result<(FloatModel, Vec<usize>), Outcome> {
        let first = given
            .first()
            .ok_or_else(|| refuse("the test has no data"))?;
        let shapes: BTreeMap<String, Vec<usize>> = names
            .iter()
            .zip(first)
            .map(|(name, bits)| (name.clone(), bits.dims().to_vec()))
            .collect();
        let all: Vec<usize> = (0..names.len()).collect();
        let integers: Vec<usize> = all
            .iter()
            .copied()
            .filter(|&i| i == 0 || first[i].dtype().is_float())
            .collect();
        let only_first: Vec<usize> = all.iter().copied().take(1).collect();
        let mut ways = vec![all, integers, only_first];
        ways.dedup();
        let mut why = None;
        for free in ways {
            let fixed: Vec<usize> = (0..names.len()).filter(|i| !free.contains(i)).collect();
            if given
                .iter()
                .any(|inputs| fixed.iter().any(|&i| inputs[i] != first[i]))
            {
                continue;
            }
            let source = Source {
                onnx,
                shapes: free
                    .iter()
                    .map(|&i| (names[i].clone(), shapes[&names[i]].clone()))
                    .collect(),
                bound: fixed
                    .iter()
                    .map(|&i| Bound {
                        name: names[i].clone(),
                        value: encode_bits(std::slice::from_ref(&first[i])),
                    })
                    .collect(),
                ..Source::default()
            };
            // One model may be refused when it is examined, another when it is run: both before any answer is known.
            let compiled = FloatModel::compile(&source, &mut self.first);
            let error = match compiled {
                Err(error) => error,
                Ok(model) => {
                    let inputs: Vec<Bits> = free.iter().map(|&i| first[i].clone()).collect();
                    match self.first.run(&model, &inputs) {
                        Ok(_) => return Ok((model, free)),
                        Err(error) => FloatModelError::Worker(error),
                    }
                }
            };
            let outcome = self.refused(error);
            why.get_or_insert(outcome);
        }
        Err(why
            .unwrap_or_else(|| refuse("an operand that would be bound differs between data sets")))
    }

    fn run(&mut self, model: &FloatModel, inputs: &[Bits]) -> Result<Vec<Bits>, Outcome> {
        let once = self.first.run(model, inputs);
        let once = once.map_err(|error| self.refused(FloatModelError::Worker(error)))?;
        let again = self.second.run(model, inputs);
        let again = again.map_err(|error| self.refused(FloatModelError::Worker(error)))?;
        if once != again {
            return Err(Outcome::Fail("two processes gave different bits".into()));
        }
        Ok(once)
    }

    fn refused(&mut self, error: FloatModelError) -> Outcome {
        let text = error.to_string();
        if let FloatModelError::Worker(error) = error {
            match error {
                WorkerError::Refused(_) | WorkerError::Input(_) | WorkerError::Program(_) => {}
                WorkerError::Panicked(_)
                | WorkerError::TookTooLong(_)
                | WorkerError::Memory(_)
                | WorkerError::Died(_) => self.replaced += 1,
                unusable => self.unusable = Some(unusable),
            }
        }
        Outcome::Refused(text)
    }
}

fn inputs_of(set: &Path, count: usize) -> Result<Vec<Bits>, Outcome> {
    (0..count)
        .map(|i| {
            let bytes = fs::read(set.join(format!("input_{i}.pb")))
                .map_err(|_| refuse("an optional input is left out"))?;
            Ok(decode_tensor_bits(&bytes).map_err(refuse)?.1)
        })
        .collect()
}

/// Compares outputs with the expected ones, which are read now and not before.
fn compare(model: &FloatModel, set: &Path, outputs: &[Bits]) -> Result<(), Outcome> {
    for (i, (spec, got)) in model.program.body.outputs.iter().zip(outputs).enumerate() {
        let fail = |text: String| Err(Outcome::Fail(format!("output `{}`: {text}", spec.name)));
        let path: PathBuf = set.join(format!("output_{i}.pb"));
        let bytes = fs::read(&path).map_err(|error| Outcome::Fail(error.to_string()))?;
        let (_, want) = decode_tensor_bits(&bytes)
            .map_err(|error| Outcome::Fail(format!("expected output: {error}")))?;
        if (want.dtype(), want.dims()) != (got.dtype(), got.dims()) {
            return fail(format!(
                "{} {:?} instead of {} {:?}",
                got.dtype().name(),
                got.dims(),
                want.dtype().name(),
                want.dims()
            ));
        }
        if !want.dtype().is_float() {
            if want != *got {
                return fail("other integers".into());
            }
            continue;
        }
        for (at, (v, w)) in got.numbers().into_iter().zip(want.numbers()).enumerate() {
            // Written so that a NaN is close to a NaN only; equal infinities are equal.
            let close = v == w
                || (v.is_nan() && w.is_nan())
                || (v - w).abs() <= ABSOLUTE + RELATIVE * w.abs() && w.is_finite();
            if !close {
                return fail(format!("element {at} is {v} instead of {w}"));
            }
        }
    }
    Ok(())
}
