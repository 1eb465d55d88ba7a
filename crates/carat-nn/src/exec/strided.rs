//! Index arithmetic: merging axes, walking strides, copying between layouts.

/// Drops axes of length one and merges neighbours that every stride list walks as one. Returns the merged lengths (at
/// least one axis) and stride lists.
pub(crate) fn merge<const N: usize>(
    dims: &[usize],
    strides: [&[isize]; N],
) -> (Vec<usize>, [Vec<isize>; N]) {
    let lists: Vec<&[isize]> = strides.to_vec();
    let (dims, lists) = merge_lists(dims, &lists);
    let mut lists = lists.into_iter();
    (
        dims,
        std::array::from_fn(|_| lists.next().unwrap_or_default()),
    )
}

/// As [`merge`], for any number of lists.
pub(crate) fn merge_lists(dims: &[usize], strides: &[&[isize]]) -> (Vec<usize>, Vec<Vec<isize>>) {
    let mut out_dims: Vec<usize> = vec![];
    let mut out: Vec<Vec<isize>> = vec![vec![]; strides.len()];
    for (axis, &n) in dims.iter().enumerate() {
        if n == 1 {
            continue;
        }
        let joins = !out_dims.is_empty()
            && strides
                .iter()
                .zip(&out)
                .all(|(s, o)| o.last().is_some_and(|&last| last == s[axis] * n as isize));
        if joins {
            if let Some(d) = out_dims.last_mut() {
                *d *= n;
            }
            out.iter_mut().zip(strides).for_each(|(o, s)| {
                if let Some(last) = o.last_mut() {
                    *last = s[axis];
                }
            });
        } else {
            out_dims.push(n);
            out.iter_mut()
                .zip(strides)
                .for_each(|(o, s)| o.push(s[axis]));
        }
    }
    if out_dims.is_empty() {
        out_dims.push(1);
        out.iter_mut().for_each(|o| o.push(0));
    }
    (out_dims, out)
}

/// Row-major strides.
pub(crate) fn strides_of(dims: &[usize]) -> Vec<isize> {
    let mut strides = vec![1isize; dims.len()];
    for axis in (0..dims.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * dims[axis + 1] as isize;
    }
    strides
}

/// Offsets of all indices over axes given as (length, stride), in row-major order.
pub(crate) fn offsets(axes: &[(usize, usize)]) -> Vec<u32> {
    let mut out = vec![0usize];
    for &(n, stride) in axes {
        out = out
            .iter()
            .flat_map(|&base| (0..n).map(move |i| base + i * stride))
            .collect();
    }
    out.into_iter().map(|v| v as u32).collect()
}

/// Walks all indices of `dims` but the last axis, giving the offsets of `N` stride lists.
pub(crate) fn outer<const N: usize>(
    dims: &[usize],
    strides: &[Vec<isize>; N],
    mut f: impl FnMut([isize; N]),
) {
    let rank = dims.len() - 1;
    let mut index = [0usize; 16];
    let mut at = [0isize; N];
    loop {
        f(at);
        let mut axis = rank;
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            for (at, s) in at.iter_mut().zip(strides) {
                *at += s[axis];
            }
            if index[axis] < dims[axis] {
                break;
            }
            for (at, s) in at.iter_mut().zip(strides) {
                *at -= s[axis] * dims[axis] as isize;
            }
            index[axis] = 0;
        }
    }
}

/// A copy from one layout to another.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    dims: Vec<usize>,
    strides: [Vec<isize>; 2],
    from: isize,
    to: isize,
}

impl Copy {
    /// Copies elements of `dims`: from `from + index . source` to `to + index . target`.
    pub(crate) fn new(
        dims: &[usize],
        source: &[isize],
        target: &[isize],
        from: isize,
        to: isize,
    ) -> Self {
        let (dims, strides) = merge(dims, [source, target]);
        Self {
            dims,
            strides,
            from,
            to,
        }
    }

    pub(crate) fn run(&self, source: &[i32], target: &mut [i32]) {
        let n = self.dims[self.dims.len() - 1];
        let step = |list: &[isize]| list[list.len() - 1];
        let (s, t) = (step(&self.strides[0]), step(&self.strides[1]));
        outer(&self.dims, &self.strides, |[i, j]| {
            let (i, j) = ((i + self.from) as usize, (j + self.to) as usize);
            match (s, t) {
                (1, 1) => copy(&mut target[j..j + n], &source[i..i + n]),
                (0, 1) => target[j..j + n].fill(source[i]),
                _ => {
                    let (mut i, mut j) = (i as isize, j as isize);
                    for _ in 0..n {
                        target[j as usize] = source[i as usize];
                        i += s;
                        j += t;
                    }
                }
            }
        });
    }
}

/// `copy_from_slice` without the call for the short rows that dominate small tensors.
#[inline(always)]
pub(crate) fn copy(to: &mut [i32], from: &[i32]) {
    if to.len() > 64 {
        to.copy_from_slice(from);
        return;
    }
    let (to8, to1) = to.as_chunks_mut::<8>();
    let (from8, from1) = from.as_chunks::<8>();
    to8.iter_mut().zip(from8).for_each(|(t, f)| *t = *f);
    to1.iter_mut().zip(from1).for_each(|(t, f)| *t = *f);
}
