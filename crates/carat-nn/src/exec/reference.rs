//! The plain interpreter: one function per primitive, written from the documentation of [`Op`] and from nothing else.
//!
//! This is the oracle that the fast executor is tested against. It works in 64-bit integers (128-bit where a term of a
//! linear combination could leave them), visits one element at a time, and checks every value against the range that
//! the static rules derived for it. It shares no code with the fast paths.

use super::{ExecError, input};
use carat_program::{
    Contraction, ConvGeometry, Ints, Op, PoolKind, Program, Rounding, Shape, Tensor, ValueId,
    Weights, Window,
};

/// A tensor while it is computed.
#[derive(Debug, Clone)]
struct Value {
    dims: Vec<usize>,
    data: Vec<i64>,
}

/// Runs a program on one sample and returns its outputs.
///
/// # Errors
/// [`ExecError::Program`] if program or weights break a rule, the `Input...` variants for inputs that do not fit, and
/// [`ExecError::RangeBroken`] if a value leaves its proven range, which would be a bug.
pub fn run(
    program: &Program,
    weights: &Weights,
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, ExecError> {
    let values = evaluate(program, weights, inputs)?;
    Ok(program
        .outputs
        .iter()
        .map(|out| tensor(&values[out.value.index()]))
        .collect())
}

/// Runs a program on one sample and returns every node's result, in program order.
///
/// # Errors
/// As [`run`].
pub fn trace(
    program: &Program,
    weights: &Weights,
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, ExecError> {
    let values = evaluate(program, weights, inputs)?;
    Ok(values[program.inputs.len() + program.constants.len()..]
        .iter()
        .map(tensor)
        .collect())
}

fn evaluate(
    program: &Program,
    weights: &Weights,
    inputs: &[Tensor],
) -> Result<Vec<Value>, ExecError> {
    program.validate()?;
    input::check_weights(program, weights)?;
    input::check(program, inputs, None)?;
    let wide = |shape: &Shape, data: Ints<'_>| Value {
        dims: shape.dims(),
        data: data.iter().map(i64::from).collect(),
    };
    let mut values = Vec::with_capacity(program.value_count());
    values.extend(inputs.iter().map(|x| wide(x.shape(), x.data().into())));
    values.extend(
        program
            .constants
            .iter()
            .zip(&weights.data)
            .map(|(c, data)| wide(&c.shape, data.ints())),
    );
    for (i, node) in program.nodes.iter().enumerate() {
        let operands: Vec<&Value> = node
            .inputs
            .iter()
            .map(|id: &ValueId| &values[id.index()])
            .collect();
        let result = apply(&node.op, &operands, node.shape.dims());
        if let Some(&value) = result.data.iter().find(|&&v| !node.range.contains(v)) {
            return Err(ExecError::RangeBroken {
                node: i,
                op: node.op.name(),
                value,
                range: node.range,
            });
        }
        values.push(result);
    }
    Ok(values)
}

fn tensor(value: &Value) -> Tensor {
    let data = value.data.iter().map(|&v| v as i32).collect();
    // Shape and values were checked against the program's records.
    Shape::new(&value.dims)
        .ok()
        .and_then(|shape| Tensor::new(shape, data).ok())
        .expect("a validated value")
}

fn apply(op: &Op, x: &[&Value], dims: Vec<usize>) -> Value {
    match op {
        Op::Contract { spec, .. } => contract(spec, x[0], x[1], dims),
        Op::Conv { geometry, .. } => conv(geometry, x[0], x[1], dims),
        Op::Sum { axes } => reduce(x[0], axes, dims, |values| values.sum()),
        Op::Linear { coefficients, bias } => linear(coefficients, *bias, x, dims),
        Op::Mul => elementwise(dims, |at| x[0].broadcast(at) * x[1].broadcast(at)),
        Op::Shift { bits } => elementwise(dims, |at| (x[0].get(at) + (1 << (bits - 1))) >> bits),
        Op::Clamp { lo, hi } => elementwise(dims, |at| x[0].get(at).max(*lo).min(*hi)),
        Op::Lut { offset } => elementwise(dims, |at| x[1].data[(x[0].get(at) - offset) as usize]),
        Op::Max => elementwise(dims, |at| x[0].broadcast(at).max(x[1].broadcast(at))),
        Op::ReduceMax { axes } => {
            reduce(x[0], axes, dims, |values| values.fold(i64::MIN, i64::max))
        }
        Op::ArgMax { axis } => arg_max(x[0], (*axis).into(), dims),
        Op::Pool { kind, window } => pool(*kind, window, x[0], dims),
        Op::Quotient { bits, rounding } => elementwise(dims, |at| {
            quotient(x[0].broadcast(at), x[1].broadcast(at), *bits, *rounding)
        }),
        Op::InverseSqrt { bits } => elementwise(dims, |at| inverse_sqrt(x[0].get(at), *bits)),
        Op::Reshape { .. } => Value {
            dims,
            data: x[0].data.clone(),
        },
        Op::Transpose { perm } => transpose(perm, x[0], dims),
        Op::Slice { start, step, .. } => elementwise(dims, |at| {
            let source: Vec<_> = (0..at.len())
                .map(|i| (i64::from(start[i]) + i64::from(step[i]) * at[i] as i64) as usize)
                .collect();
            x[0].get(&source)
        }),
        Op::Concat { axis } => concat((*axis).into(), x, dims),
        Op::Pad { before, value, .. } => elementwise(dims, |at| {
            let source: Option<Vec<_>> = (0..at.len())
                .map(|i| at[i].checked_sub(before[i] as usize))
                .collect();
            source
                .filter(|s| s.iter().zip(&x[0].dims).all(|(i, n)| i < n))
                .map_or(*value, |s| x[0].get(&s))
        }),
        Op::Broadcast { .. } => elementwise(dims, |at| x[0].broadcast(at)),
        Op::Gather { axis } => gather((*axis).into(), x[0], x[1], dims),
    }
}

impl Value {
    fn get(&self, at: &[usize]) -> i64 {
        self.data[at
            .iter()
            .zip(&self.dims)
            .fold(0, |offset, (i, n)| offset * n + i)]
    }

    /// The element that NumPy's broadcasting puts at an index of the (not smaller) result.
    fn broadcast(&self, at: &[usize]) -> i64 {
        let own = &at[at.len() - self.dims.len()..];
        let own: Vec<_> = own
            .iter()
            .zip(&self.dims)
            .map(|(&i, &n)| if n == 1 { 0 } else { i })
            .collect();
        self.get(&own)
    }
}

/// All indices of a shape in row-major order.
fn indices(dims: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let dims = dims.to_vec();
    (0..dims.iter().product()).map(move |mut flat: usize| {
        let mut at = vec![0; dims.len()];
        for axis in (0..dims.len()).rev() {
            at[axis] = flat % dims[axis];
            flat /= dims[axis];
        }
        at
    })
}

fn elementwise(dims: Vec<usize>, f: impl Fn(&[usize]) -> i64) -> Value {
    let data = indices(&dims).map(|at| f(&at)).collect();
    Value { dims, data }
}

fn contract(spec: &Contraction, a: &Value, b: &Value, dims: Vec<usize>) -> Value {
    let summed: Vec<u8> = spec
        .a
        .iter()
        .copied()
        .filter(|l| !spec.out.contains(l))
        .collect();
    let depth: Vec<usize> = summed
        .iter()
        .map(|l| a.dims[spec.a.iter().position(|m| m == l).expect("its own label")])
        .collect();
    elementwise(dims, |at| {
        indices(&depth)
            .map(|k| {
                let place = |label: &u8| match spec.out.iter().position(|l| l == label) {
                    Some(i) => at[i],
                    None => {
                        k[summed
                            .iter()
                            .position(|l| l == label)
                            .expect("kept or summed")]
                    }
                };
                let at_a: Vec<_> = spec.a.iter().map(place).collect();
                let at_b: Vec<_> = spec.b.iter().map(place).collect();
                a.get(&at_a) * b.get(&at_b)
            })
            .sum()
    })
}

/// Where a window's tap lands on each spatial axis, or `None` if it lands in the padding.
fn tap(
    window: &Window,
    position: &[usize],
    tap: &[usize],
    spatial: &[usize],
) -> Option<Vec<usize>> {
    (0..spatial.len())
        .map(|i| {
            let at = position[i] as i64 * i64::from(window.stride[i]) - i64::from(window.before[i])
                + tap[i] as i64 * i64::from(window.dilation[i]);
            usize::try_from(at).ok().filter(|&at| at < spatial[i])
        })
        .collect()
}

fn conv(geometry: &ConvGeometry, x: &Value, w: &Value, dims: Vec<usize>) -> Value {
    let groups = geometry.groups as usize;
    let (per_group, out_per_group) = (x.dims[1] / groups, w.dims[0] / groups);
    elementwise(dims, |at| {
        let (n, m) = (at[0], at[1]);
        let group = m / out_per_group;
        indices(&w.dims[1..])
            .map(|k| {
                let Some(place) = tap(&geometry.window, &at[2..], &k[1..], &x.dims[2..]) else {
                    return 0;
                };
                let from = [&[n, group * per_group + k[0]], place.as_slice()].concat();
                let weight = [&[m], k.as_slice()].concat();
                x.get(&from) * w.get(&weight)
            })
            .sum()
    })
}

fn pool(kind: PoolKind, window: &Window, x: &Value, dims: Vec<usize>) -> Value {
    let kernel: Vec<_> = window.kernel.iter().map(|&k| k as usize).collect();
    elementwise(dims, |at| {
        let taps = indices(&kernel).filter_map(|k| tap(window, &at[2..], &k, &x.dims[2..]));
        let values = taps.map(|place| x.get(&[&at[..2], place.as_slice()].concat()));
        match kind {
            PoolKind::Sum => values.sum(),
            PoolKind::Max => values.max().expect("validation refuses empty windows"),
        }
    })
}

fn reduce(
    x: &Value,
    axes: &[u8],
    dims: Vec<usize>,
    f: impl Fn(&mut dyn Iterator<Item = i64>) -> i64,
) -> Value {
    let lengths: Vec<_> = axes.iter().map(|&a| x.dims[usize::from(a)]).collect();
    elementwise(dims, |at| {
        f(&mut indices(&lengths).map(|r| {
            let (mut kept, mut gone) = (at.iter(), r.iter());
            let full: Vec<_> = (0..x.dims.len())
                .map(|axis| {
                    if axes.contains(&(axis as u8)) {
                        gone.next()
                    } else {
                        kept.next()
                    }
                })
                .map(|i| *i.expect("one index per axis"))
                .collect();
            x.get(&full)
        }))
    })
}

fn arg_max(x: &Value, axis: usize, dims: Vec<usize>) -> Value {
    elementwise(dims, |at| {
        let value = |i: usize| x.get(&[&at[..axis], &[i], &at[axis..]].concat());
        let mut best = 0;
        for i in 1..x.dims[axis] {
            if value(i) > value(best) {
                best = i;
            }
        }
        best as i64
    })
}

fn linear(coefficients: &[i64], bias: i64, x: &[&Value], dims: Vec<usize>) -> Value {
    elementwise(dims, |at| {
        let terms = coefficients
            .iter()
            .zip(x)
            .map(|(&c, v)| i128::from(c) * i128::from(v.broadcast(at)));
        // The range check that follows would catch a sum that does not fit.
        i64::try_from(i128::from(bias) + terms.sum::<i128>()).unwrap_or(i64::MAX)
    })
}

fn quotient(numerator: i64, denominator: i64, bits: u8, rounding: Rounding) -> i64 {
    let scaled = i128::from(numerator) << bits;
    let d = i128::from(denominator);
    let floor = match rounding {
        Rounding::Floor => scaled.div_euclid(d),
        // floor(scaled / d + 1/2)
        Rounding::Nearest => (2 * scaled + d).div_euclid(2 * d),
    };
    floor as i64
}

fn inverse_sqrt(x: i64, bits: u8) -> i64 {
    // Bisection on the definition: the largest r with r*r*x <= 2^bits.
    let fits = |r: i64| i128::from(r) * i128::from(r) * i128::from(x) <= 1i128 << bits;
    let (mut low, mut high) = (0i64, 1i64 << 30);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

fn transpose(perm: &[u8], x: &Value, dims: Vec<usize>) -> Value {
    elementwise(dims, |at| {
        let mut source = vec![0; at.len()];
        for (i, &p) in perm.iter().enumerate() {
            source[usize::from(p)] = at[i];
        }
        x.get(&source)
    })
}

fn concat(axis: usize, x: &[&Value], dims: Vec<usize>) -> Value {
    elementwise(dims, |at| {
        let mut at = at.to_vec();
        for operand in x {
            if at[axis] < operand.dims[axis] {
                return operand.get(&at);
            }
            at[axis] -= operand.dims[axis];
        }
        unreachable!("the result is as long as its operands together")
    })
}

fn gather(axis: usize, x: &Value, index: &Value, dims: Vec<usize>) -> Value {
    let rank = index.dims.len();
    elementwise(dims, |at| {
        let row = index.get(&at[axis..axis + rank]) as usize;
        x.get(&[&at[..axis], &[row], &at[axis + rank..]].concat())
    })
}
