//! Working memory: allocated once, aligned to cache lines, reused by every run.

/// Alignment in elements: one cache line.
const LINE: usize = 64 / size_of::<i32>();

/// A growable block of integers that starts at a cache line.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    memory: Vec<i32>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// Sets the length. The content is arbitrary afterwards.
    pub(crate) fn resize(&mut self, len: usize) {
        if self.memory.len() < self.start + len {
            self.memory = vec![0; len + LINE];
            // `align_offset` may give up (it does under Miri); then the block is merely slower.
            self.start = Some(self.memory.as_ptr().align_offset(64))
                .filter(|&n| n < LINE)
                .unwrap_or(0);
        }
        self.len = len;
    }

    /// The block after setting its length.
    pub(crate) fn sized(&mut self, len: usize) -> &mut [i32] {
        self.resize(len);
        &mut self.memory[self.start..self.start + len]
    }

    pub(crate) fn as_slice(&self) -> &[i32] {
        &self.memory[self.start..self.start + self.len]
    }
}

/// Constants of one node that are packed already: those of a matrix's rows and panels, or of a convolution's kernel. How
/// they are packed depends on the node alone, so every plan of a program may share them.
pub(crate) type Packed = [Option<std::sync::Arc<Buffer>>; 2];

/// Temporary blocks that steps share.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Packed left operand.
    pub(crate) a: Buffer,
    /// Packed right operand.
    pub(crate) b: Buffer,
    /// Windows of a strided convolution; passes of a pooling.
    pub(crate) c: Buffer,
    /// Results before they are permuted.
    pub(crate) d: Buffer,
}

/// What steps need to know about a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) isa: super::simd::Isa,
    /// Samples that are computed together, one after the other in every value.
    pub(crate) samples: usize,
    /// Multiply-adds from which on a step spreads over threads; `None`: it never does.
    pub(crate) parallel: Option<usize>,
}

impl Run {
    /// Whether a step with this many multiply-adds spreads over threads.
    pub(crate) fn spreads(&self, work: usize) -> bool {
        self.parallel.is_some_and(|least| work >= least)
    }
}

/// An operand of a step: all samples' elements, or one copy for all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) data: &'a [i32],
    /// Elements of one sample.
    pub(crate) len: usize,
    /// Whether all samples share one copy.
    pub(crate) shared: bool,
}

impl<'a> Operand<'a> {
    pub(crate) fn sample(&self, s: usize) -> &'a [i32] {
        let start = if self.shared { 0 } else { s * self.len };
        &self.data[start..start + self.len]
    }
}
