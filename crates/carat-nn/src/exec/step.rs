//! One step of a prepared program.

use super::buffer::{Buffer, Operand, Run, Scratch};
use super::constants::Constants;
use super::convolution::Convolution;
use super::elementwise::Elementwise;
use super::gather::Gather;
use super::matrix::Matrix;
use super::reduce::{ArgMax, Pool, Reduce};
use super::strided::Copy;

/// Where a value lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Slot(usize),
    Constant(usize),
    /// In the kernel that reads it.
    Packed,
}

#[derive(Debug)]
pub(crate) enum Kernel {
    Matrix(Box<Matrix>),
    Convolution(Box<Convolution>),
    Elementwise(Elementwise),
    Reduce(Reduce),
    ArgMax(ArgMax),
    Pool(Pool),
    Copy(Copy),
    /// One copy per operand, over a border of one value where there is one.
    Assemble {
        copies: Vec<Copy>,
        border: Option<i32>,
    },
    Gather(Gather),
}

impl Kernel {
    /// Whether it holds this operand itself.
    pub(crate) fn holds(&self, operand: usize) -> bool {
        match self {
            Self::Matrix(m) => m.holds(operand),
            Self::Convolution(c) => c.holds(operand),
            _ => false,
        }
    }
}

/// One step: a kernel, where its operands are (with their elements per sample), and where its result goes.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) kernel: Kernel,
    pub(crate) operands: Vec<(Place, usize)>,
    pub(crate) slot: usize,
    pub(crate) elements: usize,
}

impl Step {
    /// Computes the step for all samples of a run.
    pub(crate) fn run(
        &self,
        run: Run,
        slots: &mut [Buffer],
        constants: &Constants,
        scratch: &mut Scratch,
    ) {
        let mut target = std::mem::take(&mut slots[self.slot]);
        let out = target.sized(self.elements * run.samples);
        let operand = |&(place, len): &(Place, usize)| match place {
            Place::Slot(i) => Operand {
                data: &slots[i].as_slice()[..len * run.samples],
                len,
                shared: false,
            },
            Place::Constant(c) => Operand {
                data: constants.wide(c),
                len,
                shared: true,
            },
            Place::Packed => Operand {
                data: &[],
                len,
                shared: true,
            },
        };
        // Most steps have one or two operands: no allocation for those.
        let (few, many);
        let operands: &[Operand<'_>] = match self.operands.as_slice() {
            [x] => {
                few = [
                    operand(x),
                    Operand {
                        data: &[],
                        len: 0,
                        shared: true,
                    },
                ];
                &few[..1]
            }
            [x, y] => {
                few = [operand(x), operand(y)];
                &few
            }
            all => {
                many = all.iter().map(operand).collect::<Vec<_>>();
                &many
            }
        };
        match &self.kernel {
            Kernel::Matrix(m) => m.run(run, operands, scratch, out),
            Kernel::Convolution(c) => c.run(run, operands, scratch, out),
            Kernel::Elementwise(e) => e.run(run, operands, out),
            Kernel::Reduce(r) => r.run(run, operands[0], out),
            Kernel::ArgMax(a) => a.run(operands[0], out),
            Kernel::Pool(p) => p.run(run, operands[0], scratch, out),
            Kernel::Copy(copy) => {
                for (s, out) in out.chunks_exact_mut(self.elements).enumerate() {
                    copy.run(operands[0].sample(s), out);
                }
            }
            Kernel::Assemble { copies, border } => {
                for (s, out) in out.chunks_exact_mut(self.elements).enumerate() {
                    border.iter().for_each(|&v| out.fill(v));
                    copies
                        .iter()
                        .zip(operands)
                        .for_each(|(copy, x)| copy.run(x.sample(s), out));
                }
            }
            Kernel::Gather(g) => g.run(operands[0], operands[1], out),
        }
        slots[self.slot] = target;
    }
}
