//! Any bytes as a program: decoding ends in an error or in a program that re-encodes to the same bytes, and what
//! decodes can be prepared and run within small limits, or is refused with a reason.
#![no_main]

use carat_nn::exec::{Executable, Options, reference};
use carat_program::{Program, Tensor, Weights};
use libfuzzer_sys::fuzz_target;

/// Elements of all values, and products of all sums, that one run may cost.
const BUDGET: u64 = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    let Ok(program) = Program::decode(bytes) else {
        return;
    };
    assert_eq!(
        program.encode(),
        bytes,
        "a decoded program re-encodes to its bytes"
    );
    let small = |n: usize| (n as u64) < BUDGET;
    let values =
        (0..program.value_count() as u32).filter_map(|i| program.value(carat_program::ValueId(i)));
    let shapes: Vec<usize> = values.map(|v| v.shape.elements()).collect();
    let work: u64 = program
        .nodes
        .iter()
        .map(|node| {
            let operands = node.inputs.iter().map(|id| shapes[id.index()] as u64);
            operands.fold(node.shape.elements() as u64, u64::saturating_mul)
        })
        .fold(0, u64::saturating_add);
    if !shapes.iter().all(|&n| small(n)) || !small(shapes.iter().sum()) || work > BUDGET * 16 {
        return;
    }
    // Constants that span the range that the program records. Where a recorded weight sum differs, preparing refuses.
    let data = program.constants.iter().map(|c| {
        let mut data = vec![c.range.lo as i32; c.shape.elements()];
        if let Some(last) = data.last_mut() {
            *last = c.range.hi as i32;
        }
        data.into()
    });
    let weights = Weights {
        data: data.collect(),
        salt: None,
    };
    let options = Options {
        threads: 1,
        memory_limit: 1 << 26,
        ..Options::default()
    };
    let Ok(executable) = Executable::new(&program, &weights, options) else {
        return;
    };
    for end in [
        |r: carat_program::Range| r.lo,
        |r: carat_program::Range| r.hi,
    ] {
        let inputs: Option<Vec<Tensor>> = program
            .inputs
            .iter()
            .map(|x| {
                Tensor::new(
                    x.shape.clone(),
                    vec![end(x.range) as i32; x.shape.elements()],
                )
                .ok()
            })
            .collect();
        let Some(inputs) = inputs else { return };
        let expected = reference::run(&program, &weights, &inputs)
            .expect("the oracle runs what can be prepared");
        assert_eq!(
            executable.run(&inputs).expect("and so does the executor"),
            expected
        );
    }
});
