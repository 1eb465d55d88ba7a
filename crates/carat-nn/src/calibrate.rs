//! Ranges of every value over sample inputs.

use crate::graph::{EvalError, Graph, run};
use rayon::prelude::*;

/// Smallest and largest value of each node over the samples; `(0, 0)` for constants.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// One per graph node.
    pub ranges: Vec<(f64, f64)>,
    /// The graph's outputs for each sample: what the integer program is measured against.
    pub outputs: Vec<Vec<Vec<f64>>>,
}

/// Evaluates the graph on each sample. The result does not depend on the number of threads.
///
/// # Errors
/// [`EvalError`] of the first sample (in order) that cannot be evaluated.
pub fn calibrate(graph: &Graph, samples: &[Vec<Vec<f64>>]) -> Result<Calibration, EvalError> {
    let start = || vec![(f64::INFINITY, f64::NEG_INFINITY); graph.nodes.len()];
    let each: Vec<Result<_, EvalError>> = samples
        .par_iter()
        .map(|inputs| {
            let mut ranges = start();
            let outputs = run(graph, inputs, |id, values| {
                let r = &mut ranges[id];
                for &v in values {
                    *r = (r.0.min(v), r.1.max(v));
                }
            })?;
            Ok((ranges, outputs))
        })
        .collect();
    let mut all = Calibration {
        ranges: start(),
        outputs: Vec::with_capacity(samples.len()),
    };
    for sample in each {
        let (ranges, outputs) = sample?;
        for (a, b) in all.ranges.iter_mut().zip(ranges) {
            *a = (a.0.min(b.0), a.1.max(b.1));
        }
        all.outputs.push(outputs);
    }
    for r in &mut all.ranges {
        if r.0 > r.1 {
            *r = (0.0, 0.0);
        }
    }
    Ok(all)
}
