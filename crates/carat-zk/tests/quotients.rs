//! Quotients: every width, both roundings, one product and two; and what is too wide.

mod support;

use carat_program::{Op, Rounding, Shape, Tensor};
use carat_zk::Error;
use support::{
    programs::{Builder, Rng},
    proven, proven_on,
};

const ROUNDINGS: [Rounding; 2] = [Rounding::Floor, Rounding::Nearest];

#[test]
fn of_every_width() {
    for rounding in ROUNDINGS {
        for (bits, x, d) in [
            (0, (-9, 9), (1, 4)),
            (0, (0, 0), (1, 1)),
            (0, (-5, 7), (3, 3)),
            (0, (-400_000_000, 400_000_000), (1, 1)),
            (0, (-1_000_000, 1_000_000), (1, 100)),
            (1, (-100_000, 100_000), (1000, 70_000)),
            (3, (40, 90), (90_000, 100_000)),
            (14, (0, 16_383), (16_384, 200_000)),
            (14, (-16_383, 16_383), (1, 32_767)),
            (14, (-16_383, 16_383), (13_813, 21_429)),
            (26, (-1, 3), (1, 9000)),
            (28, (-1, 0), (5, 7)),
        ] {
            let mut b = Builder::new(3);
            let x = b.input(&[2, 3], x.0, x.1);
            let d = b.input(&[3], d.0, d.1);
            let op = Op::Quotient { bits, rounding };
            let q = b.push(op, &[x, d]);
            let (program, weights) = b.finish(&[q]);
            let mut rng = Rng(7);
            for count in [1, 3] {
                proven(&program, &weights, count, &mut rng)
                    .unwrap_or_else(|e| panic!("{bits} {rounding:?} {e}"))
                    .accept(&mut rng)
                    .unwrap_or_else(|e| panic!("{bits} {rounding:?} {e}"));
            }
        }
    }
}

#[test]
fn both_sides_of_every_boundary() {
    // x / 4 at and next to each half.
    let mut b = Builder::new(3);
    let x = b.input(&[17], -8, 8);
    let d = b.constant(&[], vec![4]);
    let outputs = ROUNDINGS.map(|rounding| b.push(Op::Quotient { bits: 0, rounding }, &[x, d]));
    let (program, weights) = b.finish(&outputs);
    let x = Tensor::new(Shape::new(&[17]).unwrap(), (-8..=8).collect()).unwrap();
    let proven = proven_on(&program, &weights, vec![vec![x]]).unwrap();
    assert_eq!(
        proven.outputs[0][0].data(),
        [-2, -2, -2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2]
    );
    assert_eq!(
        proven.outputs[0][1].data(),
        [-2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    );
    proven.accept(&mut Rng(1)).unwrap();
}

#[test]
fn what_is_too_wide_is_refused() {
    for d in [(1, 1_000_000_000), (1, 10_000_000)] {
        let mut b = Builder::new(3);
        let x = b.input(&[2], -30_000, 30_000);
        let d = b.input(&[2], d.0, d.1);
        let op = Op::Quotient {
            bits: 15,
            rounding: Rounding::Nearest,
        };
        let q = b.push(op, &[x, d]);
        let (program, weights) = b.finish(&[q]);
        let refusal = proven(&program, &weights, 1, &mut Rng(1));
        assert!(
            matches!(&refusal, Err(Error::Unsupported(why)) if why.contains("too wide")),
            "{refusal:?}"
        );
    }
}
