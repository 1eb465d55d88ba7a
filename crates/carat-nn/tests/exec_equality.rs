//! The fast executor gives the oracle's integers: every vector width, every number of threads, alone and in batches.

mod exec_support;

use carat_nn::exec::{ExecError, Executable, Options, Simd, reference};
use carat_program::{Program, Tensor, Weights};
use exec_support::{KINDS, Rng, build, inputs};
use proptest::prelude::*;

/// All ways to execute that this processor has.
fn all_options() -> Vec<Options> {
    let simd = [Simd::Scalar, Simd::Avx2, Simd::Avx512, Simd::Auto];
    let each = |simd: Simd| {
        let threads: &[usize] = if simd == Simd::Auto { &[1, 2, 3, 4] } else { &[1] };
        // No threshold: small programs must take the parallel paths too.
        threads.iter().map(move |&threads| Options { threads, simd, parallel_work: 0, ..Options::default() })
    };
    simd.into_iter().flat_map(each).collect()
}

fn check(program: &Program, weights: &Weights, rng: &mut Rng) -> Result<(), TestCaseError> {
    let batch: Vec<Vec<Tensor>> = (0..1 + rng.below(5)).map(|_| inputs(program, rng)).collect();
    let expected: Vec<Vec<Tensor>> =
        batch.iter().map(|x| reference::run(program, weights, x)).collect::<Result<_, _>>().unwrap();
    let nodes = reference::trace(program, weights, &batch[0]).unwrap();
    for options in all_options() {
        let executable = match Executable::new(program, weights, options) {
            Err(ExecError::Simd(_)) => continue,
            other => other.unwrap(),
        };
        for (x, y) in batch.iter().zip(&expected) {
            prop_assert_eq!(&executable.run(x).unwrap(), y, "alone, {:?}", options);
        }
        prop_assert_eq!(&executable.run_batch(&batch).unwrap(), &expected, "batch, {:?}", options);
        let trace = executable.trace(&batch[0]).unwrap();
        prop_assert_eq!(&trace.nodes, &nodes, "trace, {:?}", options);
        prop_assert_eq!(&trace.outputs, &expected[0]);
    }
    Ok(())
}

proptest! {
    #[test]
    fn random_programs(seed: u64, recipe in prop::collection::vec((0..KINDS, any::<u64>()), 1..12)) {
        let (program, weights) = build(seed, &recipe);
        check(&program, &weights, &mut Rng(seed ^ 1))?;
    }

    /// Chains that the planner fuses: a contraction or convolution and elementwise steps.
    #[test]
    fn fused_chains(
        seed: u64,
        kinds in prop::collection::vec((prop::sample::select(vec![0u8, 1]), prop::collection::vec(
            (prop::sample::select(vec![3u8, 5, 6, 7, 8, 14, 5, 6]), any::<u64>()), 0..6), any::<u64>()), 1..4),
    ) {
        let recipe: Vec<_> = kinds.into_iter().flat_map(|(head, tail, s)| std::iter::once((head, s)).chain(tail)).collect();
        let (program, weights) = build(seed, &recipe);
        check(&program, &weights, &mut Rng(seed ^ 2))?;
    }
}
