//! Programs that follow every static rule and are made to cost their verifier dearly. They are refused by name, before
//! anything large is computed.

mod support;

use carat_program::{ConvGeometry, Op, PoolKind, Program, Range, Rounding, Shape, Window};
use carat_zk::{Error, Hidden, Instance, Ledger, Mode, ModelKey, Proof, pcs::Root, sizes, verify};
use std::time::{Duration, Instant};
use support::{
    PROFILE,
    programs::{Builder, Value},
};

/// The refusal, which must come soon even in a slow build on a busy machine.
fn refusal(program: &Program, statements: usize) -> String {
    let start = Instant::now();
    let error = sizes(program, statements).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(10));
    match error {
        Error::Unsupported(why) => why,
        other => panic!("{other}"),
    }
}

fn one(op: Op, dims: &[usize]) -> Program {
    let mut b = Builder::new(1);
    let x = b.input(dims, -1, 1);
    let y = b.push(op, &[x]);
    b.finish(&[y]).0
}

fn window(kernel: u32, stride: u32) -> Window {
    Window {
        kernel: vec![kernel],
        stride: vec![stride],
        dilation: vec![1],
        before: vec![kernel - 1],
        after: vec![kernel - 1],
    }
}

#[test]
fn huge_windows() {
    for kernel in [1u32 << 13, 1 << 20, 1 << 26] {
        let pool = |kind| Op::Pool {
            kind,
            window: window(kernel, kernel / 4),
        };
        let why = refusal(&one(pool(PoolKind::Max), &[1, 1, 3]), 1);
        assert!(why.contains("windows longer than"), "{why}");
    }
    // As a sum it is one step, whose kernel has every tap of every position.
    let op = Op::Pool {
        kind: PoolKind::Sum,
        window: window(1 << 26, 1 << 20),
    };
    let why = refusal(&one(op, &[1, 1, 3]), 1);
    assert!(why.contains("moves and windows"), "{why}");
    let mut b = Builder::new(1);
    let x = b.input(&[1, 1, 3000], -1, 1);
    let w = b.input(&[1, 1, 1500], -1, 1);
    let geometry = ConvGeometry {
        window: window(1500, 1),
        groups: 1,
    };
    let y = b.push(Op::Conv { geometry, l1: None }, &[x, w]);
    let why = refusal(&b.finish(&[y]).0, 1);
    assert!(why.contains("moves and windows"), "{why}");
}

#[test]
fn unstructured_moves_of_many_elements() {
    let shape = |d: &[usize]| Shape::new(d).unwrap();
    let ops = [
        (
            Op::Reshape {
                shape: shape(&[3, 7, 1 << 18]),
            },
            vec![(1 << 18) * 7, 3],
        ),
        (
            Op::Slice {
                start: vec![1],
                step: vec![1],
                len: vec![(1 << 21) - 1],
            },
            vec![1 << 21],
        ),
        (
            Op::Pad {
                before: vec![1 << 26],
                after: vec![0],
                value: 0,
            },
            vec![3],
        ),
        (
            Op::Broadcast {
                shape: shape(&[1 << 27]),
            },
            vec![1],
        ),
    ];
    for (op, dims) in ops {
        let why = refusal(&one(op, &dims), 1);
        assert!(why.contains("moves and windows"), "{why}");
    }
}

#[test]
fn an_output_that_only_the_verifier_would_have_to_write_out() {
    // Four axes of 97, padded to 128: 2^28 positions from one element.
    let shape = Shape::new(&[97, 97, 97, 97]).unwrap();
    let why = refusal(&one(Op::Broadcast { shape }, &[1]), 1);
    assert!(why.contains("gives out a value"), "{why}");
}

#[test]
fn too_many_of_everything() {
    // More tables than any model has.
    let mut b = Builder::new(1);
    let x = b.input(&[1], 0, 1);
    let ys: Vec<Value> = (0..1500)
        .map(|i| {
            let table = b.constant(&[2], vec![i, -i]);
            b.push(Op::Lut { offset: 0 }, &[x, table])
        })
        .collect();
    let why = refusal(&b.finish(&ys[..1]).0, 1);
    assert!(why.contains("lookup tables"), "{why}");
    // More intermediate values than any model has.
    let mut b = Builder::new(1);
    let x = b.input(&[1, 1 << 12], 0, 1);
    let mut all = Vec::new();
    for _ in 0..6000 {
        all.push(b.push(Op::ReduceMax { axes: vec![1] }, &[x]));
    }
    let why = refusal(&b.finish(&all[..1]).0, 1);
    assert!(why.contains("intermediate values"), "{why}");
    let small = one(Op::Shift { bits: 1 }, &[3]);
    for statements in [0, (1 << 16) + 1, usize::MAX] {
        assert!(refusal(&small, statements).contains("statements"));
    }
}

/// What a verifier keeps of a message under a pad is much more than what a Program pays for it.
#[test]
fn more_messages_than_a_proof_can_hide() {
    let mut b = Builder::new(1);
    let x = b.input(&[1], 0, 1);
    let shape = Shape::new(&[128, 128, 128, 128]).unwrap();
    let mut v = b.push(Op::Broadcast { shape }, &[x]);
    for _ in 0..8000 {
        v = b.push(Op::Mul, &[v, v]);
    }
    let y = b.push(
        Op::Sum {
            axes: vec![0, 1, 2, 3],
        },
        &[v],
    );
    let (program, _) = b.finish(&[y]);
    assert!(Ledger::new(&program, PROFILE, Mode::Succinct, 1).is_ok());
    for values in [false, true] {
        let mode = Mode::Zk(Hidden {
            values,
            weights: false,
        });
        match Ledger::new(&program, PROFILE, mode, 1) {
            Err(Error::Unsupported(why)) => assert!(why.contains("messages"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

/// A Program without constants has no proof that hides them: nothing makes, accepts or prices one that says it does.
#[test]
fn hidden_constants_that_there_are_not() {
    let program = one(Op::Shift { bits: 1 }, &[3]);
    let mode = Mode::Zk(Hidden {
        values: true,
        weights: true,
    });
    let key = ModelKey {
        program: program.digest(),
        profile: PROFILE,
        root: Root([0; 32]),
    };
    let instance = Instance {
        statement: program.digest(),
        values: None,
        io: Some(program.digest()),
    };
    let proof = Proof { bytes: vec![] };
    for error in [
        verify(&program, &key, PROFILE, mode, &[instance], &proof).unwrap_err(),
        Ledger::new(&program, PROFILE, mode, 1).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unsupported(_)), "{error}");
    }
}

/// The verifier is given a Program that nobody has checked.
#[test]
fn a_program_that_breaks_the_rules() {
    let good = one(Op::Shift { bits: 3 }, &[3]);
    let key = |p: &Program| ModelKey {
        program: p.digest(),
        profile: PROFILE,
        root: Root([0; 32]),
    };
    let mut range = good.clone();
    range.nodes[0].range = Range::new(-1, 0);
    let mut bits = good.clone();
    bits.nodes[0].op = Op::Shift { bits: 200 };
    let mut loops = good.clone();
    loops.nodes[0].inputs = vec![loops.node_value(0)];
    let mut beyond = good;
    beyond.outputs[0].value.0 = 1000;
    for program in [range, bits, loops, beyond] {
        let instance = Instance {
            statement: program.digest(),
            values: None,
            io: None,
        };
        let proof = Proof {
            bytes: vec![0; 4096],
        };
        // Without values nothing can be verified; with any, the Program is refused.
        assert!(matches!(
            verify(
                &program,
                &key(&program),
                PROFILE,
                Mode::Succinct,
                &[instance],
                &proof
            ),
            Err(Error::Values(_))
        ));
        assert!(refusal(&program, 1).contains("breaks the rules"));
    }
}

/// Ranges at the ends of what Programs may hold: what has no certificate is refused, and nothing overflows on the way.
#[test]
fn the_widest_quotients_gathers_and_places() {
    const HALF: i64 = carat_program::HALF;
    let ranges = [
        (-HALF, HALF),
        (-HALF, -HALF),
        (0, HALF),
        (-1, 1),
        (HALF - 1, HALF),
        (-40_000, 3),
    ];
    let mut proven = 0;
    for x in ranges {
        for d in [
            (1, 1),
            (1, HALF),
            (HALF, HALF),
            (1, 40_000),
            (65_535, 65_537),
        ] {
            for bits in [0, 1, 14, 30] {
                for rounding in [Rounding::Floor, Rounding::Nearest] {
                    let mut b = Builder::new(1);
                    let (x, d) = (b.input(&[2], x.0, x.1), b.input(&[2], d.0, d.1));
                    let Some(q) = b.try_push(Op::Quotient { bits, rounding }, &[x, d]) else {
                        continue;
                    };
                    let (program, _) = b.finish(&[q]);
                    match sizes(&program, 1) {
                        Ok(_) => proven += 1,
                        Err(Error::Unsupported(_)) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        }
        let mut b = Builder::new(1);
        let v = b.input(&[1, 3, 1, 5], x.0, x.1);
        let index = b.input(&[2, 1, 2, 1], 0, 2);
        let y = b.push(Op::Gather { axis: 1 }, &[v, index]);
        let place = b.push(Op::ArgMax { axis: 3 }, &[v]);
        let (program, _) = b.finish(&[y, place]);
        match sizes(&program, 3) {
            Ok(_) | Err(Error::Unsupported(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert!(proven > 20, "{proven}");
}
