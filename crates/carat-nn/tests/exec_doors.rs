//! What callers meet: input checks, traces and their roots, stacked runs, limits, and threads that share an executable.

mod exec_support;

use carat_nn::exec::{ExecError, Executable, Options, Simd, bench, reference};
use carat_program::{
    Contraction, ConvGeometry, Op, PoolKind, Program, Shape, Tensor, Weights, Window,
};
use exec_support::{Builder, Rng, inputs};

fn tensor(dims: &[usize], data: Vec<i32>) -> Tensor {
    Tensor::new(Shape::new(dims).unwrap(), data).unwrap()
}

fn window(kernel: u32, stride: u32, pad: u32) -> Window {
    Window {
        kernel: vec![kernel; 2],
        stride: vec![stride; 2],
        dilation: vec![1; 2],
        before: vec![pad; 2],
        after: vec![pad; 2],
    }
}

/// A small convolutional classifier: every step that the planner fuses.
fn classifier() -> (Program, Weights) {
    let mut b = Builder::new(7);
    let x = b.input(&[1, 3, 9, 7], 0, 255);
    let w = b.random(&[10, 3, 3, 3], -127, 127);
    let bias = b.random(&[10, 1, 1], -3000, 3000);
    let v = b.push(
        Op::Conv {
            geometry: ConvGeometry {
                window: window(3, 1, 1),
                groups: 1,
            },
            l1: None,
        },
        &[x, w],
    );
    let v = b.push(
        Op::Linear {
            coefficients: vec![1, 1],
            bias: 0,
        },
        &[v, bias],
    );
    let v = b.push(Op::Shift { bits: 9 }, &[v]);
    let v = b.push(Op::Clamp { lo: 0, hi: 127 }, &[v]);
    let v = b.push(
        Op::Pool {
            kind: PoolKind::Max,
            window: window(2, 2, 0),
        },
        &[v],
    );
    let v = b.push(
        Op::Reshape {
            shape: Shape::new(&[1, 120]).unwrap(),
        },
        &[v],
    );
    let w = b.random(&[120, 5], -127, 127);
    let spec = Contraction {
        a: vec![0, 1],
        b: vec![1, 2],
        out: vec![0, 2],
    };
    let v = b.push(Op::Contract { spec, l1: None }, &[v, w]);
    let top = b.push(Op::ArgMax { axis: 1 }, &[v]);
    b.finish(&[v, top])
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    let (program, weights) = classifier();
    let executable = Executable::new(&program, &weights, Options::default()).unwrap();
    assert!(matches!(
        executable.run(&[]),
        Err(ExecError::InputCount {
            expected: 1,
            found: 0,
            ..
        })
    ));
    let turned = tensor(&[1, 3, 7, 9], vec![0; 189]);
    let error = executable.run(std::slice::from_ref(&turned)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "input `x0` has shape [1, 3, 7, 9], but the program takes [1, 3, 9, 7]"
    );
    let mut data = vec![0; 189];
    data[17] = 256;
    let wide = tensor(&[1, 3, 9, 7], data.clone());
    let good = tensor(&[1, 3, 9, 7], vec![255; 189]);
    assert!(matches!(
        executable.run(std::slice::from_ref(&wide)),
        Err(ExecError::InputRange {
            sample: None,
            element: 17,
            value: 256,
            ..
        })
    ));
    let batch = executable.run_batch(&[vec![good.clone()], vec![wide]]);
    assert!(matches!(
        batch,
        Err(ExecError::InputRange {
            sample: Some(1),
            element: 17,
            value: 256,
            ..
        })
    ));
    let stacked = executable.run_stacked(2, &[&[vec![0; 189], data].concat()]);
    assert!(matches!(
        stacked,
        Err(ExecError::InputRange {
            sample: Some(1),
            element: 17,
            value: 256,
            ..
        })
    ));
    assert!(matches!(
        executable.run_stacked(2, &[&[0; 189]]),
        Err(ExecError::InputLength { found: 189, .. })
    ));
    assert!(matches!(
        executable.run_stacked(1, &[]),
        Err(ExecError::InputCount { .. })
    ));
    for reject in [vec![], vec![turned]] {
        assert_eq!(
            reference::run(&program, &weights, &reject).unwrap_err(),
            executable.run(&reject).unwrap_err(),
            "both engines refuse in the same words"
        );
    }
}

#[test]
fn weights_must_be_the_programs_own() {
    let (program, weights) = classifier();
    let new = |w: &Weights| Executable::new(&program, w, Options::default()).map(|_| ());
    let changed = |change: &dyn Fn(&mut Vec<i32>)| {
        let mut changed = weights.clone();
        let mut values = changed.data[0].wide().into_owned();
        change(&mut values);
        changed.data[0] = values.into();
        changed
    };
    assert_eq!(new(&weights), Ok(()));
    let mut missing = weights.clone();
    missing.data.pop();
    assert!(
        matches!(new(&missing), Err(ExecError::Program(_))),
        "a constant is missing"
    );
    let short = changed(&|values| values.truncate(values.len() - 1));
    assert!(
        matches!(new(&short), Err(ExecError::Program(_))),
        "a constant is short"
    );
    let out_of_range = changed(&|values| values[5] = 20_000);
    assert!(
        matches!(new(&out_of_range), Err(ExecError::Program(_))),
        "a weight is out of range"
    );
    // Within its range, but with more weight in one row than the overflow bound allows for.
    let (lo, hi) = (
        program.constants[0].range.lo as i32,
        program.constants[0].range.hi as i32,
    );
    let heavy = changed(&|values| {
        for w in &mut values[..27] {
            *w = if *w < 0 { lo } else { hi };
        }
        values[27..29].copy_from_slice(&[lo, hi]);
    });
    assert!(
        matches!(new(&heavy), Err(ExecError::Program(_))),
        "a weight sum is larger"
    );
}

#[test]
fn batches_of_every_size_and_empty_ones() {
    let (program, weights) = classifier();
    let mut rng = Rng(3);
    let batch: Vec<_> = (0..70).map(|_| inputs(&program, &mut rng)).collect();
    for threads in [1, 2, 3] {
        let options = Options {
            threads,
            parallel_work: 0,
            ..Options::default()
        };
        let executable = Executable::new(&program, &weights, options).unwrap();
        let alone: Vec<_> = batch.iter().map(|x| executable.run(x).unwrap()).collect();
        for n in [0, 1, 2, 5, 63, 64, 65, 70] {
            assert_eq!(
                executable.run_batch(&batch[..n]).unwrap(),
                alone[..n],
                "{n} samples, {threads} threads"
            );
        }
        let stacked: Vec<i32> = batch.iter().flat_map(|x| x[0].data()).copied().collect();
        let outputs = executable.run_stacked(70, &[&stacked]).unwrap();
        for (i, out) in outputs.iter().enumerate() {
            let expected: Vec<i32> = alone.iter().flat_map(|y| y[i].data()).copied().collect();
            assert_eq!(*out, expected);
        }
        assert_eq!(
            executable.run_stacked(0, &[&[]]).unwrap(),
            [Vec::<i32>::new(), vec![]]
        );
    }
}

#[test]
fn many_callers_share_one_executable() {
    let (program, weights) = classifier();
    let executable = Executable::new(
        &program,
        &weights,
        Options {
            parallel_work: 0,
            ..Options::default()
        },
    )
    .unwrap();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (executable, program, weights) = (&executable, &program, &weights);
            scope.spawn(move || {
                let mut rng = Rng(seed);
                for _ in 0..10 {
                    let x = inputs(program, &mut rng);
                    assert_eq!(executable.run(&x), reference::run(program, weights, &x));
                }
            });
        }
    });
}

#[test]
fn trace_root_is_salted_and_binds_every_value() {
    let (program, weights) = classifier();
    let executable = Executable::new(&program, &weights, Options::default()).unwrap();
    let mut rng = Rng(5);
    let x = inputs(&program, &mut rng);
    let trace = executable.trace(&x).unwrap();
    assert_eq!(trace.inputs, x);
    assert_eq!(trace.outputs, executable.run(&x).unwrap());
    let root = trace.root(&[1; 32]);
    assert_eq!(root, trace.root(&[1; 32]));
    assert_ne!(root, trace.root(&[2; 32]));
    for i in 0..trace.nodes.len() {
        let mut other = trace.clone();
        let (shape, mut data) = (
            other.nodes[i].shape().clone(),
            other.nodes[i].data().to_vec(),
        );
        data[0] ^= 1;
        other.nodes[i] = Tensor::new(shape, data).unwrap();
        assert_ne!(root, other.root(&[1; 32]), "node {i}");
    }
    let mut shorter = trace.clone();
    shorter.nodes.pop();
    assert_ne!(root, shorter.root(&[1; 32]));
    let mut moved = trace;
    let first = moved.nodes.remove(0);
    moved.inputs.push(first);
    assert_eq!(
        root,
        moved.root(&[1; 32]),
        "inputs and nodes are one list; the program says where it is cut"
    );
}

#[test]
fn memory_and_instructions_have_limits() {
    let (program, weights) = classifier();
    let options = Options {
        memory_limit: 1000,
        ..Options::default()
    };
    assert!(matches!(
        Executable::new(&program, &weights, options),
        Err(ExecError::Memory { limit: 1000, .. })
    ));
    // A dilation that would need a padded image of 2^31 pixels.
    let mut b = Builder::new(1);
    let x = b.input(&[1, 1, 2], -5, 5);
    let w = b.random(&[1, 1, 2], -5, 5);
    let window = Window {
        kernel: vec![2],
        stride: vec![1 << 31],
        dilation: vec![1 << 31],
        before: vec![1 << 31],
        after: vec![1 << 31],
    };
    let v = b.push(
        Op::Conv {
            geometry: ConvGeometry { window, groups: 1 },
            l1: None,
        },
        &[x, w],
    );
    let (program, weights) = b.finish(&[v]);
    let needed = match Executable::new(&program, &weights, Options::default()) {
        Err(ExecError::Memory { needed, .. }) => needed,
        other => panic!("{other:?}"),
    };
    assert!(needed > 1 << 33, "{needed}");
    if !cfg!(target_arch = "x86_64") {
        let avx2 = Options {
            simd: Simd::Avx2,
            ..Options::default()
        };
        assert_eq!(
            Executable::new(&program, &weights, avx2).unwrap_err(),
            ExecError::Simd("AVX2")
        );
    }
}

#[test]
fn timings_are_of_the_right_batch() {
    let (program, weights) = classifier();
    let executable = Executable::new(
        &program,
        &weights,
        Options {
            threads: 1,
            ..Options::default()
        },
    )
    .unwrap();
    let timing = bench::time(&executable, 3, std::time::Duration::from_millis(5)).unwrap();
    assert_eq!((timing.batch, timing.threads), (3, 1));
    assert!(timing.calls >= 20 && timing.median_us > 0.0 && timing.p99_us >= timing.median_us);
    assert!((timing.per_sample_us * 3.0 - timing.median_us).abs() < 1e-9);
}
