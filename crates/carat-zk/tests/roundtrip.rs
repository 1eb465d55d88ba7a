//! What the executor computes, proves and verifies: every primitive by hand, then random programs. No shape here is a
//! power of two unless that is the point.

mod support;

use carat_program::{Contraction, ConvGeometry, Op, PoolKind, Program, Shape, Weights, Window};
use carat_zk::Error;
use proptest::prelude::*;
use support::{
    programs::{Builder, Rng, Value, build},
    proven,
};

/// Proves and verifies 1, 2, 3 and 5 statements.
fn all_counts(program: &Program, weights: &Weights) {
    for count in [1, 2, 3, 5] {
        counts(program, weights, &[count]);
    }
}

fn counts(program: &Program, weights: &Weights, counts: &[usize]) {
    let mut rng = Rng(7);
    for &count in counts {
        proven(program, weights, count, &mut rng)
            .unwrap_or_else(|e| panic!("{count} statements: {e}"))
            .accept(&mut rng)
            .unwrap_or_else(|e| panic!("{count} statements: {e}"));
    }
}

/// A program of one step.
fn one(op: Op, operands: impl FnOnce(&mut Builder) -> Vec<Value>) -> (Program, Weights) {
    let mut b = Builder::new(3);
    let operands = operands(&mut b);
    let y = b.push(op, &operands);
    b.finish(&[y])
}

fn contraction(spec: &str) -> Op {
    let (operands, out) = spec.split_once("->").unwrap();
    let (a, b) = operands.split_once(',').unwrap();
    Op::Contract {
        spec: Contraction {
            a: a.into(),
            b: b.into(),
            out: out.into(),
        },
        l1: None,
    }
}

#[test]
fn contractions_in_every_form() {
    let cases: &[(&str, &[usize], &[usize])] = &[
        ("ij,jk->ik", &[3, 5], &[5, 7]),
        ("ij,jk->ki", &[3, 5], &[5, 7]),
        ("ij,kj->ik", &[1, 6], &[3, 6]),
        ("bij,bjk->bik", &[3, 5, 2], &[3, 2, 6]),
        ("bij,bjk->kbi", &[3, 5, 2], &[3, 2, 6]),
        ("bij,jk->bik", &[3, 5, 2], &[2, 6]),
        ("ij,ij->ij", &[3, 5], &[3, 5]),
        ("ij,ji->ij", &[3, 5], &[5, 3]),
        ("ij,ij->", &[3, 5], &[3, 5]),
        ("i,j->ij", &[3], &[5]),
        ("i,i->", &[9], &[9]),
        ("i,->i", &[5], &[]),
        (",->", &[], &[]),
        ("ij,->ji", &[3, 5], &[]),
        ("abc,cda->bd", &[3, 2, 5], &[5, 6, 3]),
        ("abcd,cdab->abcd", &[3, 2, 5, 1], &[5, 1, 3, 2]),
    ];
    for &(spec, a, b) in cases {
        for constant in 0..4 {
            let (program, weights) = one(contraction(spec), |x| {
                let mut operand = |dims: &[usize], constant: bool| {
                    if constant {
                        x.random(dims, -90, 100)
                    } else {
                        x.input(dims, -300, 200)
                    }
                };
                vec![operand(a, constant & 1 == 1), operand(b, constant & 2 == 2)]
            });
            if program.inputs.is_empty() {
                // A program without inputs still has an output to prove.
                counts(&program, &weights, &[1, 3]);
                continue;
            }
            counts(&program, &weights, &[1, 3]);
        }
    }
    let (program, weights) = one(contraction("ij,jk->ik"), |x| {
        let a = x.input(&[6, 5], -100, 90);
        vec![a, x.random(&[5, 11], -100, 100)]
    });
    all_counts(&program, &weights);
}

#[test]
fn a_value_times_itself() {
    let (program, weights) = one(contraction("ij,kj->ik"), |x| {
        let a = x.input(&[3, 5], -100, 90);
        vec![a, a]
    });
    counts(&program, &weights, &[1, 3]);
    let (program, weights) = one(Op::Mul, |x| {
        let a = x.input(&[3, 5], -100, 90);
        vec![a, a]
    });
    counts(&program, &weights, &[1, 3]);
}

fn window(k: &[u32], stride: &[u32], dilation: &[u32], before: &[u32], after: &[u32]) -> Window {
    Window {
        kernel: k.into(),
        stride: stride.into(),
        dilation: dilation.into(),
        before: before.into(),
        after: after.into(),
    }
}

#[test]
fn convolutions_in_every_form() {
    let w = window;
    // Shape of x, output channels, groups, window.
    let cases: &[(&[usize], usize, u32, Window)] = &[
        (
            &[1, 3, 7, 6],
            5,
            1,
            w(&[3, 3], &[1, 1], &[1, 1], &[1, 1], &[1, 1]),
        ),
        (
            &[2, 3, 7, 6],
            5,
            1,
            w(&[3, 2], &[2, 3], &[1, 1], &[1, 0], &[0, 1]),
        ),
        (
            &[1, 3, 9, 9],
            2,
            1,
            w(&[3, 3], &[1, 2], &[2, 3], &[2, 1], &[1, 2]),
        ),
        (
            &[1, 6, 5, 5],
            9,
            3,
            w(&[2, 3], &[1, 1], &[1, 1], &[0, 1], &[1, 1]),
        ),
        (
            &[3, 5, 6, 5],
            5,
            5,
            w(&[3, 3], &[1, 1], &[1, 1], &[1, 1], &[1, 1]),
        ),
        (
            &[1, 3, 6, 5],
            6,
            3,
            w(&[3, 3], &[2, 2], &[1, 1], &[1, 1], &[1, 1]),
        ),
        (
            &[1, 4, 5, 5],
            4,
            2,
            w(&[1, 1], &[1, 1], &[1, 1], &[0, 0], &[0, 0]),
        ),
        (
            &[1, 3, 5, 5],
            7,
            1,
            w(&[5, 5], &[1, 1], &[1, 1], &[0, 0], &[0, 0]),
        ),
        (&[2, 3, 11], 5, 1, w(&[4], &[3], &[2], &[3], &[2])),
        (&[1, 1, 1], 1, 1, w(&[1], &[1], &[1], &[0], &[0])),
        (
            &[1, 2, 3, 5, 4],
            3,
            1,
            w(&[2, 3, 2], &[1, 2, 1], &[1, 1, 2], &[1, 0, 1], &[0, 2, 0]),
        ),
        (
            &[1, 2, 3, 5, 4],
            4,
            2,
            w(&[2, 3, 2], &[1, 2, 1], &[1, 1, 2], &[1, 0, 1], &[0, 2, 0]),
        ),
    ];
    for (i, (x, m, groups, window)) in cases.iter().enumerate() {
        let mut kernel = vec![*m, x[1] / *groups as usize];
        kernel.extend(window.kernel.iter().map(|&k| k as usize));
        let op = Op::Conv {
            geometry: ConvGeometry {
                window: window.clone(),
                groups: *groups,
            },
            l1: None,
        };
        let (program, weights) = one(op.clone(), |b| {
            let x = b.input(x, -128, 127);
            vec![x, b.random(&kernel, -128, 127)]
        });
        counts(
            &program,
            &weights,
            if i < 4 { &[1, 2, 3, 5] } else { &[1, 3] },
        );
        // A kernel that is an input: one statement at a time, and the refusal of more says so.
        let (program, weights) = one(op, |b| {
            let x = b.input(x, -128, 127);
            vec![x, b.input(&kernel, -128, 127)]
        });
        counts(&program, &weights, &[1]);
        let refused = proven(&program, &weights, 2, &mut Rng(1)).unwrap_err();
        assert!(
            matches!(&refused, Error::Unsupported(why) if why.contains("one statement at a time"))
        );
    }
}

#[test]
fn linear_and_products_broadcast() {
    let shapes: &[&[&[usize]]] = &[
        &[&[3, 5], &[3, 5]],
        &[&[3, 5], &[5]],
        &[&[3, 1], &[1, 5]],
        &[&[1], &[3, 5]],
        &[&[], &[3, 5]],
        &[&[3, 5], &[]],
        &[&[2, 1, 5], &[3, 1], &[1, 1, 1], &[]],
        &[&[6]],
        &[&[]],
    ];
    for dims in shapes {
        for constants in 0..1u32 << dims.len() {
            let mut b = Builder::new(constants.into());
            let operands: Vec<Value> = dims
                .iter()
                .enumerate()
                .map(|(i, d)| {
                    if constants >> i & 1 == 1 {
                        b.random(d, -1000, 999)
                    } else {
                        b.input(d, -1000, 999)
                    }
                })
                .collect();
            let coefficients = [7i64, -3, 1, 100_000][..dims.len()].to_vec();
            let y = b.push(
                Op::Linear {
                    coefficients,
                    bias: -12_345,
                },
                &operands,
            );
            let mut outputs = vec![y];
            if let [x, y, ..] = operands[..] {
                outputs.push(b.push(Op::Mul, &[x, y]));
                outputs.push(b.push(Op::Max, &[x, y]));
            }
            let (program, weights) = b.finish(&outputs);
            counts(&program, &weights, &[1, 3]);
        }
    }
}

#[test]
fn coefficients_of_any_size_and_no_bias() {
    for (coefficients, bias) in [
        (vec![0], 0),
        (vec![0], 7),
        (vec![1_065_353_216], 0),
        (vec![-1_065_353_216], 0),
        (vec![i64::MAX], 0),
    ] {
        let (program, weights) = one(Op::Linear { coefficients, bias }, |b| {
            let x = b.input(&[3], 0, 1);
            // A coefficient may be anything where the range of its operand is zero.
            vec![if bias == 0 {
                b.push(Op::Clamp { lo: 0, hi: 0 }, &[x])
            } else {
                x
            }]
        });
        counts(&program, &weights, &[1, 2]);
    }
    let (program, weights) = one(
        Op::Linear {
            coefficients: vec![1_065_353_216],
            bias: 0,
        },
        |b| vec![b.input(&[3], -1, 1)],
    );
    counts(&program, &weights, &[1, 2]);
}

#[test]
fn shifts_by_every_width() {
    for bits in 1..=30u8 {
        // Up to half the range for one bit: see `a_quotient_that_is_not_unique_is_refused`.
        for reach in [3i64, 70_000, 500_000_000] {
            let (program, weights) = one(Op::Shift { bits }, |b| {
                vec![b.input(&[5], -reach, reach - 1)]
            });
            counts(&program, &weights, &[1, 3]);
        }
    }
}

/// At the very ends of the range a shift by few bits has two quotients modulo p; that is refused by name, and what has
/// one is proven.
#[test]
fn a_quotient_that_is_not_unique_is_refused() {
    let half = carat_program::HALF;
    let mut refused = 0;
    for bits in 1..=30u8 {
        let (program, weights) = one(Op::Shift { bits }, |b| vec![b.input(&[5], -half, half)]);
        match proven(&program, &weights, 1, &mut Rng(1)) {
            Ok(proven) => proven.accept(&mut Rng(2)).unwrap(),
            Err(Error::Unsupported(why)) => {
                assert!(why.contains("second quotient"), "{why}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0, "the whole range has two quotients for one bit");
}

#[test]
fn clamps_narrow_and_wide() {
    for (lo, hi) in [
        (-300, 200),
        (-100_000, 100_000),
        (-400_000_000, 400_000_000),
        (-7, 70_000),
    ] {
        for (a, b) in [
            (-128, 127),
            (0, i64::MAX),
            (i64::MIN, 0),
            (-1, -1),
            (5, 5),
            (-99_999, 99_999),
            (500_000_000, 600_000_000),
        ] {
            let (program, weights) =
                one(Op::Clamp { lo: a, hi: b }, |x| vec![x.input(&[7], lo, hi)]);
            counts(&program, &weights, &[1, 3]);
        }
    }
}

#[test]
fn tables_at_any_offset() {
    for (lo, hi, offset, more) in [
        (-128, 127, -128, 0),
        (-3, 9, -5, 4),
        (100, 170, 100, 0),
        (-32_768, 32_767, -32_768, 0),
        (7, 7, 7, 0),
    ] {
        let entries = (hi - offset + 1 + more) as usize;
        let (program, weights) = one(Op::Lut { offset }, |b| {
            let x = b.input(&[3, 7], lo, hi);
            vec![x, b.random(&[entries], -1_000_000, 1_000_000)]
        });
        counts(&program, &weights, &[1, 3]);
    }
    // After a shift the table bounds the quotient, unless it is so long that it could not.
    for (bits, entries) in [(8u8, 900usize), (16, 60_000), (20, 60_000)] {
        let mut b = Builder::new(1);
        let x = b.input(&[5], -100_000, 100_000);
        let q = b.push(Op::Shift { bits }, &[x]);
        let table = b.random(&[entries], -128, 127);
        let y = b.push(Op::Lut { offset: -400 }, &[q, table]);
        let (program, weights) = b.finish(&[y]);
        counts(&program, &weights, &[1, 3]);
    }
}

#[test]
fn maxima() {
    let (program, weights) = one(Op::ReduceMax { axes: vec![0, 2] }, |b| {
        vec![b.input(&[3, 5, 7], -50, 60)]
    });
    counts(&program, &weights, &[1, 3]);
    let (program, weights) = one(Op::ReduceMax { axes: vec![1] }, |b| {
        vec![b.input(&[2, 11], -500_000, 400_000)]
    });
    counts(&program, &weights, &[1, 2, 5]);
    let (program, weights) = one(Op::ReduceMax { axes: vec![0, 1] }, |b| {
        vec![b.input(&[1, 6], -500, 400)]
    });
    counts(&program, &weights, &[1, 2]);
    let (program, weights) = one(Op::ReduceMax { axes: vec![0] }, |b| {
        vec![b.random(&[6], -500, 400)]
    });
    counts(&program, &weights, &[1, 2]);
}

#[test]
fn pools() {
    let w = window;
    let cases: &[(&[usize], Window)] = &[
        (
            &[1, 3, 7, 6],
            w(&[2, 2], &[2, 2], &[1, 1], &[0, 0], &[0, 0]),
        ),
        (
            &[2, 1, 7, 6],
            w(&[3, 3], &[2, 2], &[1, 1], &[1, 1], &[1, 1]),
        ),
        (
            &[1, 2, 9, 5],
            w(&[3, 2], &[1, 3], &[2, 3], &[2, 1], &[3, 1]),
        ),
        (&[1, 3, 5], w(&[5], &[1], &[1], &[0], &[0])),
        (
            &[1, 2, 3, 5, 4],
            w(&[2, 3, 2], &[1, 2, 1], &[1, 1, 2], &[1, 0, 1], &[0, 2, 0]),
        ),
        (
            &[1, 2, 3, 3],
            w(&[1, 1], &[1, 1], &[1, 1], &[0, 0], &[0, 0]),
        ),
    ];
    for (x, window) in cases {
        for kind in [PoolKind::Sum, PoolKind::Max] {
            for (lo, hi) in [(-128, 127), (-100, -3), (-400_000, 300_000)] {
                let op = Op::Pool {
                    kind,
                    window: window.clone(),
                };
                let (program, weights) = one(op, |b| vec![b.input(x, lo, hi)]);
                counts(&program, &weights, &[1, 3]);
            }
        }
    }
}

#[test]
fn layout_operators() {
    let shape = |d: &[usize]| Shape::new(d).unwrap();
    let reshapes: &[(&[usize], &[usize])] = &[
        (&[3, 5, 7], &[105]),
        (&[105], &[7, 5, 3]),
        (&[3, 5, 7], &[5, 21]),
        (&[6, 4, 5], &[3, 8, 5]),
        (&[6, 10], &[4, 15]),
        (&[1, 3, 1, 5], &[3, 5, 1, 1]),
        (&[12, 5], &[3, 4, 5]),
        (&[3, 4], &[6, 2]),
        (&[16, 5, 5], &[400]),
        (&[1], &[]),
        (&[], &[1, 1]),
        (&[7, 1, 9], &[1, 63]),
        (&[2, 3, 5, 2], &[10, 6]),
    ];
    for (from, to) in reshapes {
        for constant in [false, true] {
            let (program, weights) = one(Op::Reshape { shape: shape(to) }, |b| {
                vec![if constant {
                    b.random(from, -9, 9)
                } else {
                    b.input(from, -9, 9)
                }]
            });
            counts(&program, &weights, &[1, 2, 3]);
        }
    }
    let others = [
        Op::Transpose {
            perm: vec![2, 0, 1],
        },
        Op::Transpose {
            perm: vec![0, 1, 2],
        },
        Op::Slice {
            start: vec![2, 0, 6],
            step: vec![-1, 2, -3],
            len: vec![3, 3, 2],
        },
        Op::Slice {
            start: vec![0, 0, 0],
            step: vec![1, 1, 1],
            len: vec![3, 5, 7],
        },
        Op::Slice {
            start: vec![1, 4, 3],
            step: vec![i32::MAX, i32::MIN, 1],
            len: vec![1, 1, 1],
        },
        Op::Pad {
            before: vec![1, 0, 2],
            after: vec![0, 3, 1],
            value: 0,
        },
        Op::Pad {
            before: vec![1, 0, 2],
            after: vec![0, 3, 1],
            value: -700,
        },
        Op::Pad {
            before: vec![0, 0, 0],
            after: vec![0, 0, 0],
            value: 700,
        },
        Op::Broadcast {
            shape: shape(&[2, 3, 5, 7]),
        },
        Op::Sum { axes: vec![1] },
        Op::Sum {
            axes: vec![0, 1, 2],
        },
        Op::Sum { axes: vec![0, 2] },
    ];
    for op in others {
        for constant in [false, true] {
            let (program, weights) = one(op.clone(), |b| {
                vec![if constant {
                    b.random(&[3, 5, 7], -900, 900)
                } else {
                    b.input(&[3, 5, 7], -900, 900)
                }]
            });
            counts(&program, &weights, &[1, 2, 3]);
        }
    }
    let (program, weights) = one(
        Op::Broadcast {
            shape: shape(&[3, 5, 7]),
        },
        |b| vec![b.input(&[5, 1], -9, 9)],
    );
    counts(&program, &weights, &[1, 3]);
    let (program, weights) = one(Op::Broadcast { shape: shape(&[3]) }, |b| {
        vec![b.input(&[], -9, 9)]
    });
    counts(&program, &weights, &[1, 3]);
}

#[test]
fn concatenations() {
    for axis in 0..3u8 {
        let mut b = Builder::new(1);
        let dims = |n: usize| {
            let mut d = vec![3, 5, 2];
            d[usize::from(axis)] = n;
            d
        };
        let x = b.input(&dims(3), -128, -100);
        let y = b.input(&dims(1), 5, 7);
        let c = b.random(&dims(6), -1000, 1000);
        let v = b.push(Op::Concat { axis }, &[x, c, y, x]);
        let only = b.push(Op::Concat { axis }, &[x]);
        let (program, weights) = b.finish(&[v, only]);
        counts(&program, &weights, &[1, 2, 3]);
    }
}

/// What is given out: an input as it is, a constant as it is, one value twice, and nothing computed at all.
#[test]
fn every_kind_of_output() {
    let mut b = Builder::new(1);
    let x = b.input(&[3, 5], -128, 127);
    let unused = b.input(&[7], -5, 5);
    let c = b.random(&[3], -9, 9);
    let other = b.random(&[], -9, 9);
    let s = b.push(Op::Shift { bits: 3 }, &[x]);
    let twice = b.push(Op::Mul, &[s, s]);
    let sum = b.push(
        Op::Linear {
            coefficients: vec![1, 2, -1],
            bias: 1,
        },
        &[s, s, twice],
    );
    let _dead = b.push(Op::Shift { bits: 9 }, &[twice]);
    for outputs in [
        vec![x],
        vec![c],
        vec![other],
        vec![unused, c, x, c, x],
        vec![s, s],
        vec![sum, s, twice, sum, x, c],
    ] {
        let (program, weights) = b.clone().finish(&outputs);
        all_counts(&program, &weights);
    }
}

#[test]
fn small_networks() {
    for seed in 0..3u64 {
        let mut b = Builder::new(seed);
        let x = b.input(&[1, 1, 11, 9], -128, 127);
        let w = b.random(&[5, 1, 3, 3], -128, 127);
        let two = vec![1; 2];
        let geometry = ConvGeometry {
            window: window(&[3, 3], &two, &two, &[1, 1], &[1, 1]),
            groups: 1,
        };
        let v = b.push(Op::Conv { geometry, l1: None }, &[x, w]);
        let bias = b.random(&[5, 1, 1], -3000, 3000);
        let v = b.push(
            Op::Linear {
                coefficients: vec![1, 1],
                bias: 0,
            },
            &[v, bias],
        );
        let v = b.push(Op::Shift { bits: 7 }, &[v]);
        let v = b.push(Op::Clamp { lo: 0, hi: 127 }, &[v]);
        let op = Op::Pool {
            kind: PoolKind::Max,
            window: window(&[2, 2], &[2, 2], &two, &[0, 0], &[0, 0]),
        };
        let v = b.push(op, &[v]);
        let shape = Shape::new(&[1, 100]).unwrap();
        let v = b.push(Op::Reshape { shape }, &[v]);
        let w = b.random(&[100, 10], -128, 127);
        let v = b.push(contraction("ij,jk->ik"), &[v, w]);
        let (program, weights) = b.finish(&[v]);
        all_counts(&program, &weights);
    }
}

/// The kinds of [`build`] that have a proof.
const PROVABLE: [u8; 20] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs(
        seed: u64,
        count in prop::sample::select(vec![1usize, 2, 3, 5]),
        recipe in prop::collection::vec((prop::sample::select(PROVABLE.to_vec()), any::<u64>()), 1..10),
    ) {
        let (program, weights) = build(seed, &recipe);
        let mut rng = Rng(seed ^ 1);
        match proven(&program, &weights, count, &mut rng) {
            Ok(proven) => prop_assert_eq!(proven.accept(&mut rng), Ok(())),
            Err(Error::Unsupported(why)) => {
                // The only refusals: what is too wide for one field, and kernels that are inputs of several statements.
                let known = why.contains("too wide") || why.contains("so wide") || why.contains("one statement at a time");
                prop_assert!(known, "{}", why);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}
