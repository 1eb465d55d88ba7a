//! Rows selected by index.

use super::buffer::Operand;
use super::strided::copy;
use carat_program::Shape;

#[derive(Debug, Clone)]
pub(crate) struct Gather {
    n: usize,
    inner: usize,
    elements: usize,
}

impl Gather {
    pub(crate) fn new(axis: usize, x: &Shape, out: &Shape) -> Self {
        let dims = x.dims();
        Self {
            n: dims[axis],
            inner: dims[axis + 1..].iter().product(),
            elements: out.elements(),
        }
    }

    pub(crate) fn run(&self, x: Operand<'_>, index: Operand<'_>, out: &mut [i32]) {
        for (s, out) in out.chunks_exact_mut(self.elements).enumerate() {
            let (x, index) = (x.sample(s), index.sample(s));
            let blocks = x
                .chunks_exact(self.n * self.inner)
                .zip(out.chunks_exact_mut(index.len() * self.inner));
            for (x, out) in blocks {
                for (&i, out) in index.iter().zip(out.chunks_exact_mut(self.inner)) {
                    // The static rules keep the index inside the axis.
                    copy(out, &x[i as usize * self.inner..][..self.inner]);
                }
            }
        }
    }
}
