//! The fast executor gives the oracle's integers: every vector width, every number of threads, alone and in batches.

mod exec_support;

use carat_nn::exec::{ExecError, Executable, Options, Simd, reference};
use carat_program::{Contraction, ConvGeometry, Op, Program, Shape, Tensor, Weights, Window};
use exec_support::{Builder, KINDS, Rng, Value, build, inputs};
use proptest::prelude::*;

/// All ways to execute that this processor has.
fn all_options() -> Vec<Options> {
    let simd = [Simd::Scalar, Simd::Avx2, Simd::Avx512, Simd::Auto];
    let each = |simd: Simd| {
        let threads: &[usize] = if simd == Simd::Auto {
            &[1, 2, 3, 4]
        } else {
            &[1]
        };
        // No threshold: small programs must take the parallel paths too.
        threads.iter().map(move |&threads| Options {
            threads,
            simd,
            parallel_work: 0,
            ..Options::default()
        })
    };
    simd.into_iter().flat_map(each).collect()
}

fn check(program: &Program, weights: &Weights, rng: &mut Rng) -> Result<(), TestCaseError> {
    let batch: Vec<Vec<Tensor>> = (0..1 + rng.below(5))
        .map(|_| inputs(program, rng))
        .collect();
    let expected: Vec<Vec<Tensor>> = batch
        .iter()
        .map(|x| reference::run(program, weights, x))
        .collect::<Result<_, _>>()
        .unwrap();
    let nodes = reference::trace(program, weights, &batch[0]).unwrap();
    for options in all_options() {
        let executable = match Executable::new(program, weights, options) {
            Err(ExecError::Simd(_)) => continue,
            other => other.unwrap(),
        };
        for (x, y) in batch.iter().zip(&expected) {
            prop_assert_eq!(&executable.run(x).unwrap(), y, "alone, {:?}", options);
        }
        prop_assert_eq!(
            &executable.run_batch(&batch).unwrap(),
            &expected,
            "batch, {:?}",
            options
        );
        let trace = executable.trace(&batch[0]).unwrap();
        prop_assert_eq!(&trace.nodes, &nodes, "trace, {:?}", options);
        prop_assert_eq!(&trace.outputs, &expected[0]);
        let all: Vec<&[Tensor]> = batch.iter().map(Vec::as_slice).collect();
        let each: Vec<_> = batch.iter().map(|x| executable.trace(x).unwrap()).collect();
        let traces = executable.trace_batch(&all).unwrap();
        prop_assert_eq!(traces, each, "traces, {:?}", options);
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

/// A constant added along any set of axes of a contraction or convolution, which the planner moves into the kernel
/// where it can.
#[test]
fn addends_along_any_axes() {
    let products: [(&str, &[usize], &[usize]); 6] = [
        ("ij,jk->ik", &[5, 7], &[7, 19]),
        ("ij,jk->ki", &[5, 7], &[7, 19]),
        ("bij,bjk->bik", &[2, 3, 6], &[2, 6, 18]),
        ("hij,jk->hik", &[2, 3, 6], &[6, 5]),
        ("ij,hjk->hik", &[9, 6], &[2, 6, 17]),
        ("ai,ib->ba", &[3, 4], &[4, 6]),
    ];
    for (spec, a_dims, b_dims) in products {
        let (operands, out) = spec.split_once("->").unwrap();
        let (a, b) = operands.split_once(',').unwrap();
        for subset in 0..1u32 << out.len() {
            for constants in 0..4u32 {
                let mut builder = Builder::new(subset.into());
                let mut operand = |dims: &[usize], constant: bool| {
                    if constant {
                        builder.random(dims, -100, 100)
                    } else {
                        builder.input(dims, -300, 200)
                    }
                };
                let (x, y) = (
                    operand(a_dims, constants & 1 == 1),
                    operand(b_dims, constants & 2 == 2),
                );
                let spec = Contraction {
                    a: a.into(),
                    b: b.into(),
                    out: out.into(),
                };
                let v = builder.push(Op::Contract { spec, l1: None }, &[x, y]);
                finish(builder, v, subset);
            }
        }
    }
    for (groups, m) in [(1, 9), (4, 4), (2, 6)] {
        for subset in 0..1u32 << 4 {
            let mut builder = Builder::new(subset.into());
            let x = builder.input(&[2, 4, 5, 6], 0, 300);
            let w = builder.random(&[m, 4 / groups, 2, 3], -100, 100);
            let two = vec![1; 2];
            let window = Window {
                kernel: vec![2, 3],
                stride: two.clone(),
                dilation: two.clone(),
                before: two.clone(),
                after: two,
            };
            let geometry = ConvGeometry {
                window,
                groups: groups as u32,
            };
            let v = builder.push(Op::Conv { geometry, l1: None }, &[x, w]);
            finish(builder, v, subset);
        }
    }

    fn finish(b: Builder, v: Value, subset: u32) {
        // Through a reshape that moves the axes, an addend belongs elsewhere.
        let mut turned = b.shape(v).dims();
        turned.reverse();
        let shape = Shape::new(&turned).unwrap();
        let mut other = b.clone();
        let v2 = other.push(Op::Reshape { shape }, &[v]);
        tail(b, v, subset);
        tail(other, v2, subset);
    }

    /// `3 - 2 * constant + value`, rounded: with the constant on either side.
    fn tail(mut b: Builder, v: Value, subset: u32) {
        let dims: Vec<usize> = b
            .shape(v)
            .dims()
            .iter()
            .enumerate()
            .map(|(i, &n)| if subset >> i & 1 == 1 { n } else { 1 })
            .collect();
        let addend = b.random(&dims, -9000, 9000);
        let (coefficients, operands) = if subset.is_multiple_of(2) {
            (vec![1, -2], [v, addend])
        } else {
            (vec![-2, 1], [addend, v])
        };
        let v = b.push(
            Op::Linear {
                coefficients,
                bias: 3,
            },
            &operands,
        );
        let v = b.push(Op::Shift { bits: 3 }, &[v]);
        let again = b.push(Op::Clamp { lo: -700, hi: 900 }, &[v]);
        let (program, weights) = b.finish(&[again]);
        check(&program, &weights, &mut Rng(subset.into())).unwrap();
    }
}
