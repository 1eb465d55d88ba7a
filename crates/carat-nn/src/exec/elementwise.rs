//! Elementwise steps with broadcasting, and the elementwise steps that follow them.

use super::buffer::{Operand, Run};
use super::simd::{self, Epilogue, Isa, Term};
use super::strided;
use carat_program::{Rounding, Shape};

/// Elements that are worked on at a time, so that a chain of steps stays in the first-level cache.
const BLOCK: usize = 2048;

#[derive(Debug, Clone)]
pub(crate) enum Head {
    Copy,
    /// Coefficients and bias modulo 2^32.
    Linear {
        coefficients: Vec<i32>,
        bias: i32,
    },
    Mul,
    Max,
    Quotient {
        bits: u8,
        rounding: Rounding,
    },
    InverseSqrt {
        bits: u8,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Elementwise {
    head: Head,
    epilogue: Epilogue,
    elements: usize,
    dims: Vec<usize>,
    /// Per operand.
    strides: Vec<Vec<isize>>,
}

impl Elementwise {
    pub(crate) fn new(head: Head, epilogue: Epilogue, operands: &[&Shape], out: &Shape) -> Self {
        let strides: Vec<Vec<isize>> = operands
            .iter()
            .map(|shape| {
                shape
                    .broadcast_strides(out)
                    .into_iter()
                    .map(|s| s as isize)
                    .collect()
            })
            .collect();
        let lists: Vec<&[isize]> = strides.iter().map(Vec::as_slice).collect();
        let (dims, strides) = strided::merge_lists(&out.dims(), &lists);
        Self {
            head,
            epilogue,
            elements: out.elements(),
            dims,
            strides,
        }
    }

    pub(crate) fn run(&self, run: Run, operands: &[Operand<'_>], out: &mut [i32]) {
        // Operands that all have the result's shape need no walk, and samples may follow one another in one row.
        let flat = self.dims.len() == 1 && self.strides.iter().all(|s| s[0] == 1);
        if flat && operands.iter().all(|x| !x.shared) {
            let start = Start {
                at: &[],
                sample: 0,
                whole: true,
            };
            self.row(run.isa, operands, start, out);
            return;
        }
        for (s, out) in out.chunks_exact_mut(self.elements).enumerate() {
            self.walk(run.isa, operands, s, out);
        }
    }

    fn walk(&self, isa: Isa, operands: &[Operand<'_>], s: usize, out: &mut [i32]) {
        let rank = self.dims.len() - 1;
        let mut index = [0usize; 16];
        let (mut few, mut many);
        let at: &mut [isize] = if operands.len() <= 8 {
            few = [0isize; 8];
            &mut few[..operands.len()]
        } else {
            many = vec![0isize; operands.len()];
            &mut many
        };
        for out in out.chunks_exact_mut(self.dims[rank]) {
            self.row(
                isa,
                operands,
                Start {
                    at,
                    sample: s,
                    whole: false,
                },
                out,
            );
            for axis in (0..rank).rev() {
                index[axis] += 1;
                at.iter_mut()
                    .zip(&self.strides)
                    .for_each(|(at, s)| *at += s[axis]);
                if index[axis] < self.dims[axis] {
                    break;
                }
                let n = self.dims[axis] as isize;
                at.iter_mut()
                    .zip(&self.strides)
                    .for_each(|(at, s)| *at -= s[axis] * n);
                index[axis] = 0;
            }
        }
    }

    fn term<'a>(
        &self,
        operand: &Operand<'a>,
        start: Start<'_>,
        i: usize,
        skip: usize,
        n: usize,
    ) -> Term<'a> {
        let data = if start.whole {
            operand.data
        } else {
            operand.sample(start.sample)
        };
        let at = start.at.get(i).map_or(0, |&at| at as usize);
        if start.whole || self.strides[i][self.dims.len() - 1] == 1 {
            Term::Row(&data[at + skip..at + skip + n])
        } else {
            Term::Same(data[at])
        }
    }

    /// One row along the last merged axis.
    fn row(&self, isa: Isa, operands: &[Operand<'_>], start: Start<'_>, out: &mut [i32]) {
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let n = out.len();
            let term = |i: usize| self.term(&operands[i], start, i, block * BLOCK, n);
            match &self.head {
                Head::Copy => simd::linear_first(isa, out, 1, term(0), 0),
                Head::Linear { coefficients, bias } => {
                    simd::linear_first(isa, out, coefficients[0], term(0), *bias);
                    for (i, &c) in coefficients.iter().enumerate().skip(1) {
                        simd::linear_next(isa, out, c, term(i));
                    }
                }
                Head::Mul => {
                    let (x, y) = (term(0), term(1));
                    simd::binary_mul(isa, out, x, y);
                }
                Head::Max => {
                    let (x, y) = (term(0), term(1));
                    simd::binary_max(isa, out, x, y);
                }
                Head::Quotient { bits, rounding } => {
                    let (x, y) = (term(0), term(1));
                    for (i, o) in out.iter_mut().enumerate() {
                        *o = quotient(x.at(i), y.at(i), *bits, *rounding);
                    }
                }
                Head::InverseSqrt { bits } => {
                    let x = term(0);
                    for (i, o) in out.iter_mut().enumerate() {
                        // The static rules make x positive and bits at most 58.
                        *o = ((1u64 << bits) / x.at(i).max(1) as u64).isqrt() as i32;
                    }
                }
            }
            if !self.epilogue.is_empty() {
                simd::apply(isa, &self.epilogue, out, 0);
            }
        }
    }
}

/// Where the operands of a row start, and for which sample.
#[derive(Debug, Clone, Copy)]
struct Start<'a> {
    at: &'a [isize],
    sample: usize,
    /// The row covers all samples.
    whole: bool,
}

impl Term<'_> {
    fn at(self, i: usize) -> i32 {
        match self {
            Term::Row(x) => x[i],
            Term::Same(x) => x,
        }
    }
}

/// |numerator| < 2^30 and bits <= 30, so twice the scaled numerator stays below 2^62.
fn quotient(numerator: i32, denominator: i32, bits: u8, rounding: Rounding) -> i32 {
    let (scaled, d) = (i64::from(numerator) << bits, i64::from(denominator.max(1)));
    (match rounding {
        Rounding::Floor => scaled.div_euclid(d),
        Rounding::Nearest => (2 * scaled + d).div_euclid(2 * d),
    }) as i32
}
