//! Selection by index, constant or computed, and the place of a maximum: round trips.

mod support;

use carat_program::{Op, Program, Shape, Tensor, Weights};
use carat_zk::{Error, Instance};
use support::{
    programs::{Builder, Rng},
    proven, proven_on,
};

fn counts(program: &Program, weights: &Weights, counts: &[usize]) {
    let mut rng = Rng(7);
    for &count in counts {
        proven(program, weights, count, &mut rng)
            .unwrap_or_else(|e| panic!("{count} statements: {e}"))
            .accept(&mut rng)
            .unwrap_or_else(|e| panic!("{count} statements: {e}"));
    }
}

/// Along every axis, by indices of every rank, from constants and from values.
#[test]
fn gathers_in_every_form() {
    let shapes: [&[usize]; 5] = [&[7], &[5, 3], &[3, 5, 7], &[1, 6], &[4, 2, 8]];
    let indices: [&[usize]; 5] = [&[], &[1], &[5], &[2, 3], &[4, 1]];
    for dims in shapes {
        for (i, own) in indices.into_iter().enumerate() {
            for axis in 0..dims.len() {
                let n = dims[axis] as i64;
                // Constant or not: the value, the index; not both constant in every shape.
                for form in [(i + axis) % 4, (i + axis + 1) % 4] {
                    let mut b = Builder::new(3);
                    let x = if form & 1 == 1 {
                        b.random(dims, -900, 900)
                    } else {
                        b.input(dims, -900, 900)
                    };
                    let index = if form & 2 == 2 {
                        b.random(own, 0, n - 1)
                    } else {
                        b.input(own, 0, n - 1)
                    };
                    let y = b.push(Op::Gather { axis: axis as u8 }, &[x, index]);
                    let (program, weights) = b.finish(&[y]);
                    counts(&program, &weights, &[1, 3]);
                }
            }
        }
    }
}

/// A table of words, looked up by a computed index; one value gathered from twice; the result used further.
#[test]
fn gathers_in_a_network() {
    let mut b = Builder::new(9);
    let x = b.input(&[6], -900, 900);
    let s = b.push(Op::Shift { bits: 5 }, &[x]);
    let index = b.push(Op::Clamp { lo: 0, hi: 10 }, &[s]);
    let words = b.random(&[11, 3], -128, 127);
    let rows = b.push(Op::Gather { axis: 0 }, &[words, index]);
    let order = b.constant(&[4], vec![2, 2, 0, 1]);
    let columns = b.push(Op::Gather { axis: 1 }, &[rows, order]);
    let again = b.push(Op::Gather { axis: 0 }, &[rows, order]);
    let z = b.push(Op::Shift { bits: 2 }, &[columns]);
    let (program, weights) = b.finish(&[z, again]);
    counts(&program, &weights, &[1, 2, 5]);
}

#[test]
fn places_of_maxima() {
    for (dims, axis) in [
        (&[5][..], 0u8),
        (&[1], 0),
        (&[2, 3], 0),
        (&[3, 5, 7], 1),
        (&[3, 5, 7], 2),
        (&[4, 8], 1),
        (&[2, 33], 1),
    ] {
        for (lo, hi) in [(-2, 1), (-128, 127), (-40_000, 90_000), (5, 5), (3, 9)] {
            let mut b = Builder::new(3);
            let x = b.input(dims, lo, hi);
            let y = b.push(Op::ArgMax { axis }, &[x]);
            let (program, weights) = b.finish(&[y]);
            counts(&program, &weights, &[1, 3]);
        }
    }
    let mut b = Builder::new(3);
    let x = b.random(&[2, 6], -9, 9);
    let y = b.push(Op::ArgMax { axis: 1 }, &[x]);
    let (program, weights) = b.finish(&[y]);
    counts(&program, &weights, &[1, 2]);
}

/// The rule on ties is part of the Program: a verifier that is told the other place refuses.
#[test]
fn of_equal_maxima_the_first() {
    let mut b = Builder::new(3);
    let x = b.input(&[5], -9, 9);
    let y = b.push(Op::ArgMax { axis: 0 }, &[x]);
    let (program, weights) = b.finish(&[y]);
    let shape = Shape::new(&[5]).unwrap();
    let x = vec![Tensor::new(shape, vec![3, 9, -2, 9, 9]).unwrap()];
    let proven = proven_on(&program, &weights, vec![x.clone()]).unwrap();
    assert_eq!(proven.outputs[0][0].data(), [1]);
    for place in [0, 2, 3, 4] {
        let other = vec![Tensor::new(proven.outputs[0][0].shape().clone(), vec![place]).unwrap()];
        let instances = [Instance::of_values(&x, &other)];
        let refusal = proven.verify(&instances);
        assert!(matches!(refusal, Err(Error::Check(_))), "{refusal:?}");
    }
}

#[test]
fn a_place_among_values_too_wide_is_refused() {
    let mut b = Builder::new(3);
    let x = b.input(&[1000], -(1 << 20), 1 << 20);
    let y = b.push(Op::ArgMax { axis: 0 }, &[x]);
    let (program, weights) = b.finish(&[y]);
    let refusal = proven(&program, &weights, 1, &mut Rng(1));
    assert!(
        matches!(&refusal, Err(Error::Unsupported(why)) if why.contains("too wide")),
        "{refusal:?}"
    );
}
