//! Checks at the door: whatever passes lies within what the static rules assumed.

use super::ExecError;
use carat_program::{Op, Program, ProgramError, Range, Tensor, Weights};

/// Checks number, shapes and ranges of one sample's inputs.
pub(crate) fn check(
    program: &Program,
    inputs: &[Tensor],
    sample: Option<usize>,
) -> Result<(), ExecError> {
    if inputs.len() != program.inputs.len() {
        let names: Vec<_> = program.inputs.iter().map(|x| x.name.as_str()).collect();
        return Err(ExecError::InputCount {
            sample,
            expected: program.inputs.len(),
            found: inputs.len(),
            names: names.join(", "),
        });
    }
    for (spec, tensor) in program.inputs.iter().zip(inputs) {
        if *tensor.shape() != spec.shape {
            return Err(ExecError::InputShape {
                sample,
                name: spec.name.clone(),
                expected: spec.shape.clone(),
                found: tensor.shape().clone(),
            });
        }
        if let Some((element, value)) = outside(tensor.data(), spec.range) {
            let (name, range) = (spec.name.clone(), spec.range);
            return Err(ExecError::InputRange {
                sample,
                name,
                element,
                value,
                range,
            });
        }
    }
    Ok(())
}

/// The first value outside a range, with its position.
pub(crate) fn outside(data: &[i32], range: Range) -> Option<(usize, i64)> {
    let (lo, hi) = (saturate(range.lo), saturate(range.hi));
    // Without an early exit, so that the common case compiles to vector code.
    if data.iter().fold(false, |bad, &v| bad | (v < lo) | (v > hi)) {
        let found = data.iter().enumerate().find(|&(_, &v)| v < lo || v > hi);
        return found.map(|(i, &v)| (i, v.into()));
    }
    None
}

/// The nearest 32-bit integer. Comparisons and clamps of 32-bit values against it and against `v` agree.
pub(crate) fn saturate(v: i64) -> i32 {
    v.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

/// Checks everything about the weights that the overflow bounds rest on: lengths, ranges and weight sums. Their hash
/// tree was checked when the model was read ([`carat_program::ModelFile::decode`]); it adds nothing here.
pub(crate) fn check_weights(program: &Program, weights: &Weights) -> Result<(), ProgramError> {
    let wrong = |index, reason: &str| {
        Err(ProgramError::Constant {
            index,
            reason: reason.to_string(),
        })
    };
    if weights.data.len() != program.constants.len() {
        return wrong(
            weights.data.len(),
            "the number of weight tensors differs from the program's",
        );
    }
    for (i, (c, data)) in program.constants.iter().zip(&weights.data).enumerate() {
        if data.len() != c.shape.elements() {
            return wrong(i, "its data has another length than its shape");
        }
        if data.range() != Some(c.range) {
            return wrong(i, "its values do not span the recorded range");
        }
    }
    for (i, node) in program.nodes.iter().enumerate() {
        let (Op::Contract { l1: Some(l1), .. } | Op::Conv { l1: Some(l1), .. }) = &node.op else {
            continue;
        };
        if weights.l1(program, &node.op, &node.inputs) != Some(*l1) {
            return Err(ProgramError::WrongRecord {
                node: i,
                op: node.op.name(),
                what: "a weight sum",
            });
        }
    }
    Ok(())
}
