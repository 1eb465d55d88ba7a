//! Moving shifts and clamps towards their producers changes no output: on random programs, against the reference
//! executor; and on the shapes that it is for, it moves what it should.

mod exec_support;

use carat_nn::{
    compile::{Lookups, ScaleNote, hoist},
    exec::{Executable, Options, reference},
};
use carat_program::{
    Contraction, ConvGeometry, Op, PoolKind, Program, Shape, Tensor, Weights, Window,
};
use exec_support::{Builder, KINDS, Rng, Value, build, inputs};
use proptest::prelude::*;

fn notes(program: &Program) -> Vec<ScaleNote> {
    let note = |i: usize| ScaleNote {
        origin: format!("n{i}"),
        exponent: 0,
    };
    (0..program.nodes.len()).map(note).collect()
}

fn hoisted(program: &Program) -> Program {
    let (after, kept) = hoist(program.clone(), notes(program)).expect("a valid program");
    assert_eq!(kept.len(), after.nodes.len());
    after
}

/// Both programs give the same integers, and outputs keep shape and range.
fn same(program: &Program, weights: &Weights, rng: &mut Rng) -> Result<Program, TestCaseError> {
    let after = hoisted(program);
    prop_assert_eq!(after.validate(), Ok(()));
    weights.check(&after).expect("the constants stay");
    for (old, new) in program.outputs.iter().zip(&after.outputs) {
        let (a, b) = (program.value(old.value), after.value(new.value));
        let (a, b) = (a.expect("defined"), b.expect("defined"));
        prop_assert_eq!((a.shape, a.range), (b.shape, b.range));
    }
    let batch: Vec<Vec<Tensor>> = (0..4).map(|_| inputs(program, rng)).collect();
    let fast = Executable::new(&after, weights, Options::default()).unwrap();
    for x in &batch {
        let expected = reference::run(program, weights, x).unwrap();
        prop_assert_eq!(&reference::run(&after, weights, x).unwrap(), &expected);
        prop_assert_eq!(&fast.run(x).unwrap(), &expected);
    }
    Ok(after)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_program(seed: u64, recipe in prop::collection::vec((0..KINDS, any::<u64>()), 1..12)) {
        let (program, weights) = build(seed, &recipe);
        same(&program, &weights, &mut Rng(seed ^ 1))?;
    }

    /// Only what moves and what it moves over.
    #[test]
    fn chains(seed: u64, recipe in prop::collection::vec((prop::sample::select(
        vec![3u8, 5, 5, 5, 6, 6, 6, 7, 8, 9, 11, 11, 14, 15, 16, 17, 18, 19]), any::<u64>()), 2..14)) {
        let (program, weights) = build(seed, &recipe);
        let after = same(&program, &weights, &mut Rng(seed ^ 2))?;
        // A second time there is nothing to merge; moving again changes no answer either.
        same(&after, &weights, &mut Rng(seed ^ 3))?;
    }

    /// As the compiler writes them: a wide product, ReLU, pooling, flattening, rounding.
    #[test]
    fn networks(seed: u64, layers in prop::collection::vec((any::<u64>(), prop::collection::vec((prop::sample::select(
        vec![6u8, 11, 14, 15, 16, 9, 18, 19]), any::<u64>()), 0..5), any::<u64>(), any::<u64>()), 1..4)) {
        let recipe: Vec<_> = layers.into_iter().flat_map(|(head, middle, shift, clamp)| {
            std::iter::once((1, head)).chain(middle).chain([(5, shift), (6, clamp)])
        }).collect();
        let (program, weights) = build(seed, &recipe);
        same(&program, &weights, &mut Rng(seed ^ 4))?;
    }
}

fn names(program: &Program) -> Vec<&'static str> {
    program.nodes.iter().map(|n| n.op.name()).collect()
}

fn pool() -> Op {
    let two = vec![2, 2];
    let window = Window {
        kernel: two.clone(),
        stride: two,
        dilation: vec![1, 1],
        before: vec![0, 0],
        after: vec![0, 0],
    };
    Op::Pool {
        kind: PoolKind::Max,
        window,
    }
}

/// A convolution with bias on `[1, 3, 8, 8]`: `[1, 5, 6, 6]` wide accumulators.
fn accumulators(b: &mut Builder) -> Value {
    let x = b.input(&[1, 3, 8, 8], -32767, 32767);
    let (w, bias) = (
        b.random(&[5, 3, 3, 3], -127, 127),
        b.random(&[1, 5, 1, 1], -90_000, 90_000),
    );
    let window = Window {
        kernel: vec![3, 3],
        stride: vec![1, 1],
        dilation: vec![1, 1],
        before: vec![0, 0],
        after: vec![0, 0],
    };
    let geometry = ConvGeometry { window, groups: 1 };
    let v = b.push(Op::Conv { geometry, l1: None }, &[x, w]);
    let coefficients = vec![1, 1];
    b.push(
        Op::Linear {
            coefficients,
            bias: 7,
        },
        &[v, bias],
    )
}

fn shape(dims: &[usize]) -> Op {
    Op::Reshape {
        shape: Shape::new(dims).unwrap(),
    }
}

const RELU: Op = Op::Clamp { lo: 0, hi: 1 << 28 };
const TO_16_BITS: Op = Op::Clamp {
    lo: -32767,
    hi: 32767,
};

fn check(b: Builder, outputs: &[Value]) -> Program {
    let (program, weights) = b.finish(outputs);
    same(&program, &weights, &mut Rng(5)).expect("the same answers")
}

#[test]
fn relu_and_rounding_meet_before_the_pool() {
    let mut b = Builder::new(1);
    let v = accumulators(&mut b);
    let v = b.push(RELU, &[v]);
    let v = b.push(pool(), &[v]);
    let v = b.push(shape(&[1, 45]), &[v]);
    let v = b.push(Op::Shift { bits: 13 }, &[v]);
    let v = b.push(TO_16_BITS, &[v]);
    let w = b.random(&[45, 4], -9, 9);
    let spec = Contraction {
        a: vec![0, 1],
        b: vec![1, 2],
        out: vec![0, 2],
    };
    let v = b.push(Op::Contract { spec, l1: None }, &[v, w]);
    let after = check(b, &[v]);
    assert_eq!(
        names(&after),
        [
            "conv", "linear", "shift", "clamp", "pool-max", "reshape", "contract"
        ]
    );
    let Op::Clamp { lo, hi } = after.nodes[3].op else {
        panic!("{after:?}")
    };
    assert_eq!((lo, hi > 0), (0, true));
    let cost = Lookups::of(&after);
    assert_eq!((cost.shift, cost.clamp, cost.max), (180, 180, 180));
    assert_eq!((cost.single + cost.wide, cost.lut), (180, 0));
}

#[test]
fn a_value_that_others_use_wide_stays() {
    let mut b = Builder::new(1);
    let v = accumulators(&mut b);
    let relu = b.push(RELU, &[v]);
    let v = b.push(pool(), &[relu]);
    let v = b.push(Op::Shift { bits: 13 }, &[v]);
    let after = check(b, &[v, relu]);
    assert_eq!(
        names(&after),
        ["conv", "linear", "clamp", "pool-max", "shift"]
    );
}

#[test]
fn two_users_that_want_the_same_share_it() {
    let mut b = Builder::new(1);
    let v = accumulators(&mut b);
    let relu = b.push(RELU, &[v]);
    let p = b.push(pool(), &[relu]);
    let p = b.push(Op::Shift { bits: 13 }, &[p]);
    let r = b.push(shape(&[5, 36]), &[relu]);
    let r = b.push(Op::Shift { bits: 13 }, &[r]);
    let after = check(b, &[p, r]);
    assert_eq!(
        names(&after),
        ["conv", "linear", "shift", "clamp", "pool-max", "reshape"]
    );
}

#[test]
fn users_that_want_different_widths_do_not() {
    let mut b = Builder::new(1);
    let v = accumulators(&mut b);
    let relu = b.push(RELU, &[v]);
    let p = b.push(Op::Shift { bits: 12 }, &[relu]);
    let r = b.push(shape(&[5, 36]), &[relu]);
    let r = b.push(Op::Shift { bits: 13 }, &[r]);
    let after = check(b, &[p, r]);
    assert_eq!(
        names(&after),
        ["conv", "linear", "clamp", "shift", "reshape", "shift"]
    );
}

#[test]
fn rounding_does_not_move_where_it_would_be_more_work() {
    // A slice keeps a quarter: rounding everything first would round four times as much.
    let mut b = Builder::new(1);
    let v = accumulators(&mut b);
    let slice = Op::Slice {
        start: vec![0, 0, 0, 0],
        step: vec![1, 1, 2, 2],
        len: vec![1, 5, 3, 3],
    };
    let v = b.push(slice, &[v]);
    let v = b.push(Op::Shift { bits: 13 }, &[v]);
    assert_eq!(names(&check(b, &[v])), ["conv", "linear", "slice", "shift"]);
    // A broadcast repeats: rounding before it is less.
    let mut b = Builder::new(1);
    let v = accumulators(&mut b);
    let to = Op::Broadcast {
        shape: Shape::new(&[4, 5, 6, 6]).unwrap(),
    };
    let v = b.push(to, &[v]);
    let v = b.push(Op::Shift { bits: 13 }, &[v]);
    assert_eq!(
        names(&check(b, &[v])),
        ["conv", "linear", "shift", "broadcast"]
    );
    // A pool of narrow values is left alone.
    let mut b = Builder::new(1);
    let x = b.input(&[1, 1, 6, 6], -300, 300);
    let v = b.push(pool(), &[x]);
    let v = b.push(Op::Shift { bits: 2 }, &[v]);
    let v = b.push(Op::Clamp { lo: 0, hi: 9 }, &[v]);
    assert_eq!(names(&check(b, &[v])), ["pool-max", "shift", "clamp"]);
}

#[test]
fn clamps_merge_and_vanish() {
    let mut b = Builder::new(1);
    let x = b.input(&[7], -300, 300);
    let v = b.push(Op::Clamp { lo: -200, hi: 90 }, &[x]);
    let v = b.push(Op::Clamp { lo: -50, hi: 250 }, &[v]);
    let v = b.push(Op::Clamp { lo: -50, hi: 90 }, &[v]);
    let v = b.push(Op::Clamp { lo: -300, hi: 300 }, &[v]);
    let after = check(b, &[v]);
    assert_eq!(names(&after), ["clamp"]);
    assert_eq!(after.nodes[0].op, Op::Clamp { lo: -50, hi: 90 });
    // Disjoint intervals leave one value.
    let mut b = Builder::new(1);
    let x = b.input(&[7], -300, 300);
    let v = b.push(Op::Clamp { lo: 100, hi: 200 }, &[x]);
    let v = b.push(
        Op::Clamp {
            lo: i64::MIN,
            hi: -5,
        },
        &[v],
    );
    let after = check(b, &[v]);
    assert_eq!(after.nodes[0].op, Op::Clamp { lo: -5, hi: -5 });
}

#[test]
fn bounds_far_outside_do_not_overflow() {
    let mut b = Builder::new(1);
    let x = b.input(&[7], -300, 300);
    let v = b.push(
        Op::Clamp {
            lo: i64::MIN,
            hi: i64::MAX,
        },
        &[x],
    );
    let v = b.push(Op::Shift { bits: 30 }, &[v]);
    assert_eq!(names(&check(b, &[v])), ["shift"]);
}

#[test]
fn both_sides_of_a_wide_maximum_are_rounded() {
    let mut b = Builder::new(1);
    let (x, y) = (accumulators(&mut b), accumulators(&mut b));
    let v = b.push(Op::Max, &[x, y]);
    let v = b.push(Op::Shift { bits: 13 }, &[v]);
    let after = check(b, &[v]);
    assert_eq!(
        names(&after),
        ["conv", "linear", "shift", "conv", "linear", "shift", "max"]
    );
}

#[test]
fn a_table_joins_its_shift_over_a_reshape() {
    let mut b = Builder::new(1);
    let x = b.input(&[6, 6], -30_000, 30_000);
    let v = b.push(Op::Shift { bits: 8 }, &[x]);
    let v = b.push(shape(&[36]), &[v]);
    let v = b.push(Op::Clamp { lo: -100, hi: 100 }, &[v]);
    let table = b.random(&[201], -9, 9);
    let v = b.push(Op::Lut { offset: -100 }, &[v, table]);
    let after = check(b, &[v]);
    assert_eq!(names(&after), ["shift", "clamp", "lut", "reshape"]);
    let cost = Lookups::of(&after);
    assert_eq!((cost.single, cost.wide), (36, 0));
    assert_eq!(cost.largest_shift, 2 * 117 + 1);
}
