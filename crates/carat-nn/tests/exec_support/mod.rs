//! Random valid programs over small shapes that are no powers of two, from a list of numbers alone: the same list gives
//! the same program on every machine.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use carat_program::{
    Constant, ConstantWidth, Contraction, ConvGeometry, Dtype, InputEncoding, InputSpec, Node, Op,
    OutputEncoding, OutputSpec, PoolKind, Program, Range, Rounding, Shape, Tensor, ValueId,
    ValueInfo, Weights, Window, constant_root,
};

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, the same everywhere.
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform enough in `lo..=hi`.
    pub fn range(&mut self, lo: i64, hi: i64) -> i64 {
        lo + ((u128::from(self.next()) * (hi - lo + 1) as u128) >> 64) as i64
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.range(0, n as i64 - 1) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Number of kinds of steps that [`build`] knows: one per primitive.
pub const KINDS: u8 = 21;

/// A program under construction. Inputs and constants are numbered before nodes, so ids are given out only at the end.
#[derive(Debug, Clone)]
pub struct Builder {
    inputs: Vec<(Shape, Range)>,
    constants: Vec<(Shape, Vec<i32>)>,
    nodes: Vec<(Op, Vec<Value>, Shape, Range)>,
    rng: Rng,
    /// Largest tensor; keeps random programs small.
    limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    Input(usize),
    Constant(usize),
    Node(usize),
}

impl Builder {
    pub fn new(seed: u64) -> Self {
        Self {
            inputs: vec![],
            constants: vec![],
            nodes: vec![],
            rng: Rng(seed),
            limit: usize::MAX,
        }
    }

    pub fn input(&mut self, dims: &[usize], lo: i64, hi: i64) -> Value {
        self.inputs
            .push((Shape::new(dims).unwrap(), Range::new(lo, hi)));
        Value::Input(self.inputs.len() - 1)
    }

    pub fn constant(&mut self, dims: &[usize], data: Vec<i32>) -> Value {
        let shape = Shape::new(dims).unwrap();
        assert_eq!(shape.elements(), data.len());
        self.constants.push((shape, data));
        Value::Constant(self.constants.len() - 1)
    }

    /// A constant of random values in `lo..=hi`.
    pub fn random(&mut self, dims: &[usize], lo: i64, hi: i64) -> Value {
        let n = dims.iter().product();
        let data = (0..n).map(|_| self.rng.range(lo, hi) as i32).collect();
        self.constant(dims, data)
    }

    pub fn shape(&self, v: Value) -> &Shape {
        match v {
            Value::Input(i) => &self.inputs[i].0,
            Value::Constant(i) => &self.constants[i].0,
            Value::Node(i) => &self.nodes[i].2,
        }
    }

    fn range(&self, v: Value) -> Range {
        match v {
            Value::Input(i) => self.inputs[i].1,
            Value::Constant(i) => Range::of(&self.constants[i].1).unwrap(),
            Value::Node(i) => self.nodes[i].3,
        }
    }

    /// Adds a node if the static rules accept it.
    pub fn try_push(&mut self, op: Op, operands: &[Value]) -> Option<Value> {
        let key = |v: Value| match v {
            Value::Input(i) => i as u32,
            Value::Constant(i) => 1000 + i as u32,
            Value::Node(i) => 1_000_000 + i as u32,
        };
        let op = self.with_l1(op, operands);
        let infos: Vec<ValueInfo<'_>> = operands
            .iter()
            .map(|&v| ValueInfo {
                id: ValueId(key(v)),
                shape: self.shape(v),
                range: self.range(v),
                constant: matches!(v, Value::Constant(_)),
            })
            .collect();
        let (shape, range) = Program::derive(self.nodes.len(), &op, &infos).ok()?;
        if shape.elements() > self.limit {
            return None;
        }
        self.nodes.push((op, operands.to_vec(), shape, range));
        Some(Value::Node(self.nodes.len() - 1))
    }

    /// As [`Builder::try_push`], for programs that are written by hand.
    pub fn push(&mut self, op: Op, operands: &[Value]) -> Value {
        let shapes: Vec<_> = operands
            .iter()
            .map(|&v| (self.shape(v).clone(), self.range(v)))
            .collect();
        self.try_push(op.clone(), operands)
            .unwrap_or_else(|| panic!("{op:?} refuses {shapes:?}"))
    }

    /// The weight sum for an operation with one constant operand, computed here by brute force.
    fn with_l1(&mut self, op: Op, operands: &[Value]) -> Op {
        let constants = operands
            .iter()
            .filter(|v| matches!(v, Value::Constant(_)))
            .count();
        if constants != 1 || operands.len() != 2 {
            return op;
        }
        let side = usize::from(matches!(operands[1], Value::Constant(_)));
        let Value::Constant(index) = operands[side] else {
            return op;
        };
        let (shape, data) = &self.constants[index];
        let kept: Vec<usize> = match &op {
            Op::Contract { spec, .. } => {
                let labels = if side == 0 { &spec.a } else { &spec.b };
                if labels.len() != shape.rank() {
                    return op;
                }
                (0..labels.len())
                    .filter(|&i| spec.out.contains(&labels[i]))
                    .collect()
            }
            Op::Conv { .. } if side == 1 => vec![0],
            _ => return op,
        };
        let strides = shape.strides();
        let mut sums = std::collections::BTreeMap::new();
        for (flat, v) in data.iter().enumerate() {
            let row: Vec<_> = kept
                .iter()
                .map(|&axis| flat / strides[axis] % shape.dim(axis))
                .collect();
            *sums.entry(row).or_insert(0u64) += u64::from(v.unsigned_abs());
        }
        let l1 = sums.into_values().max();
        match op {
            Op::Contract { spec, .. } => Op::Contract { spec, l1 },
            Op::Conv { geometry, .. } => Op::Conv { geometry, l1 },
            other => other,
        }
    }

    pub fn finish(self, outputs: &[Value]) -> (Program, Weights) {
        let (inputs, constants) = (self.inputs.len(), self.constants.len());
        let id = |v: Value| {
            ValueId(match v {
                Value::Input(i) => i,
                Value::Constant(i) => inputs + i,
                Value::Node(i) => inputs + constants + i,
            } as u32)
        };
        let program = Program {
            inputs: self
                .inputs
                .iter()
                .enumerate()
                .map(|(i, (shape, range))| InputSpec {
                    name: format!("x{i}"),
                    dtype: Dtype::I32,
                    shape: shape.clone(),
                    range: *range,
                    encoding: InputEncoding::Exact,
                    image: None,
                })
                .collect(),
            constants: self
                .constants
                .iter()
                .map(|(shape, data)| {
                    let range = Range::of(data).unwrap();
                    let root = constant_root(&ConstantWidth::of(range).encode(data), None);
                    Constant {
                        shape: shape.clone(),
                        range,
                        root,
                    }
                })
                .collect(),
            outputs: outputs
                .iter()
                .enumerate()
                .map(|(i, &v)| OutputSpec {
                    name: format!("y{i}"),
                    dtype: Dtype::I32,
                    value: id(v),
                    encoding: OutputEncoding::Exact,
                    labels: vec![],
                })
                .collect(),
            nodes: self
                .nodes
                .into_iter()
                .map(|(op, operands, shape, range)| Node {
                    op,
                    inputs: operands.into_iter().map(id).collect(),
                    shape,
                    range,
                })
                .collect(),
        };
        let weights = Weights {
            data: self
                .constants
                .into_iter()
                .map(|(_, data)| data.into())
                .collect(),
            salt: None,
        };
        program
            .validate()
            .expect("every node was accepted one by one");
        weights
            .check(&program)
            .expect("the weights are the program's own");
        (program, weights)
    }

    // ---- random steps ----

    fn values(&self) -> Vec<Value> {
        let inputs = (0..self.inputs.len()).map(Value::Input);
        let nodes = (0..self.nodes.len()).map(Value::Node);
        inputs.chain(nodes).collect()
    }

    /// Any value, the most recent ones more often, so that chains form.
    fn any(&mut self) -> Value {
        let values = self.values();
        let n = values.len();
        if self.rng.chance(60) {
            values[n - 1]
        } else {
            values[self.rng.below(n)]
        }
    }

    fn dims(&mut self, rank: usize) -> Vec<usize> {
        (0..rank)
            .map(|_| {
                [1, 2, 3, 5, 6, 7, 9, 11, 17, 19][self.rng.below(10)].min([19, 19, 19, 11, 7][rank])
            })
            .collect()
    }

    /// Bounds of a kind that kernels distinguish.
    fn bounds(&mut self) -> (i64, i64) {
        match self.rng.below(8) {
            0 => (-128, 127),
            1 => (0, 255),
            2 => (-32768, 32767),
            3 => (-32769, 5),
            4 => (-1_000_000, 1_000_000),
            5 => (-7, -3),
            6 => (1, 100),
            _ => (-3, 3),
        }
    }

    fn narrow(&mut self, v: Value, lo: i64, hi: i64) -> Value {
        let r = self.range(v);
        if lo <= r.lo && r.hi <= hi {
            v
        } else {
            self.push(Op::Clamp { lo, hi }, &[v])
        }
    }

    /// A second operand that broadcasts with `v`: another value, a constant of its shape, or one with axes dropped.
    fn partner(&mut self, v: Value, lo: i64, hi: i64) -> Value {
        let shape = self.shape(v).clone();
        if self.rng.chance(30) {
            let fitting: Vec<_> = self
                .values()
                .into_iter()
                .filter(|&w| self.shape(w).broadcast(&shape).is_some())
                .collect();
            let other = fitting[self.rng.below(fitting.len())];
            return self.narrow(other, lo, hi);
        }
        let mut dims = shape.dims();
        for d in &mut dims {
            if self.rng.chance(35) {
                *d = 1;
            }
        }
        let drop = if self.rng.chance(30) {
            self.rng.below(dims.len() + 1)
        } else {
            0
        };
        self.random(&dims[drop..], lo, hi)
    }

    fn reshaped(&mut self, v: Value, rank: usize) -> Value {
        let n = self.shape(v).elements();
        let mut dims = vec![1; rank];
        let (mut left, mut factor) = (n, 2);
        while left > 1 {
            if left % factor == 0 {
                let axis = self.rng.below(rank);
                dims[axis] *= factor;
                left /= factor;
            } else {
                factor += 1;
            }
        }
        self.push(
            Op::Reshape {
                shape: Shape::new(&dims).unwrap(),
            },
            &[v],
        )
    }

    /// A value `[N, C, spatial...]` with one to three spatial axes.
    fn image(&mut self) -> Value {
        let v = self.any();
        if (3..=5).contains(&self.shape(v).rank()) {
            return v;
        }
        let rank = 3 + self.rng.below(3);
        self.reshaped(v, rank)
    }

    fn window(&mut self, spatial: &[usize], kernel: Option<&[usize]>) -> Window {
        let n = spatial.len();
        let kernel: Vec<u32> = match kernel {
            Some(k) => k.iter().map(|&k| k as u32).collect(),
            None => (0..n)
                .map(|i| 1 + self.rng.below(spatial[i].min(4)) as u32)
                .collect(),
        };
        let plain = self.rng.chance(40);
        let dilation: Vec<u32> = (0..n)
            .map(|_| if plain || self.rng.chance(70) { 1 } else { 2 })
            .collect();
        let pad = |rng: &mut Rng, i: usize| {
            rng.below((dilation[i] * (kernel[i] - 1) + 1).min(4) as usize) as u32
        };
        Window {
            stride: (0..n)
                .map(|_| {
                    if plain {
                        1
                    } else {
                        1 + self.rng.below(3) as u32
                    }
                })
                .collect(),
            before: (0..n).map(|i| pad(&mut self.rng, i)).collect(),
            after: (0..n).map(|i| pad(&mut self.rng, i)).collect(),
            kernel,
            dilation,
        }
    }

    fn contraction(&mut self) -> Option<Value> {
        let a = self.any();
        let (lo, hi) = self.bounds();
        let a = self.narrow(a, lo, hi);
        let rank = self.shape(a).rank();
        let a_labels: Vec<u8> = (0..rank as u8).map(|i| i * 3 + 1).collect();
        let (mut b_labels, mut b_dims, mut out) = (vec![], vec![], vec![]);
        for (axis, &label) in a_labels.iter().enumerate() {
            let n = self.shape(a).dim(axis);
            match self.rng.below(5) {
                0 => out.push(label),
                1 => {
                    out.push(label);
                    b_labels.push(label);
                    b_dims.push(n);
                }
                _ => {
                    b_labels.push(label);
                    b_dims.push(n);
                }
            }
        }
        let extra = self.rng.below(3);
        for i in 0..extra {
            b_labels.push(100 + i as u8);
            b_dims.push(self.dims(1)[0]);
            out.push(100 + i as u8);
        }
        // Shuffle the second operand's axes and the output's.
        for i in (1..b_labels.len()).rev() {
            let j = self.rng.below(i + 1);
            b_labels.swap(i, j);
            b_dims.swap(i, j);
        }
        for i in (1..out.len()).rev() {
            let j = self.rng.below(i + 1);
            out.swap(i, j);
        }
        if b_dims.len() > 8 || b_dims.iter().product::<usize>() > 6000 {
            return None;
        }
        let (lo, hi) = self.bounds();
        let mut b = self.random(&b_dims, lo, hi);
        if self.rng.chance(30) {
            // Two dynamic operands.
            let zero = self.input(&b_dims, lo, hi);
            b = self.push(
                Op::Linear {
                    coefficients: vec![0, 1],
                    bias: 0,
                },
                &[zero, b],
            );
            if self.rng.chance(50) {
                b = zero;
            }
        }
        let (spec, operands) = if self.rng.chance(50) {
            (
                Contraction {
                    a: a_labels,
                    b: b_labels,
                    out,
                },
                [a, b],
            )
        } else {
            (
                Contraction {
                    a: b_labels,
                    b: a_labels,
                    out,
                },
                [b, a],
            )
        };
        let op = Op::Contract { spec, l1: None };
        self.try_push(op.clone(), &operands).or_else(|| {
            let operands = operands.map(|v| match v {
                Value::Constant(i) => {
                    self.constants[i].1.iter_mut().for_each(|w| *w %= 50);
                    v
                }
                v => self.narrow(v, -200, 210),
            });
            self.try_push(op, &operands)
        })
    }

    fn convolution(&mut self) -> Option<Value> {
        let x = self.image();
        let (lo, hi) = self.bounds();
        let x = self.narrow(x, lo, hi);
        let dims = self.shape(x).dims();
        let divisors: Vec<_> = (1..=dims[1])
            .filter(|g| dims[1].is_multiple_of(*g))
            .collect();
        let groups = if self.rng.chance(60) {
            1
        } else {
            divisors[self.rng.below(divisors.len())]
        };
        let most = if self.rng.chance(20) { 12 } else { 4 };
        let m = groups * (1 + self.rng.below(most));
        let mut w_dims = vec![m, dims[1] / groups];
        w_dims.extend(dims[2..].iter().map(|&n| 1 + self.rng.below(n.min(4))));
        if w_dims.iter().product::<usize>() > 6000 {
            return None;
        }
        let window = self.window(&dims[2..], Some(&w_dims[2..]));
        let geometry = ConvGeometry {
            window,
            groups: groups as u32,
        };
        let (lo, hi) = self.bounds();
        let w = if self.rng.chance(85) {
            self.random(&w_dims, lo, hi)
        } else {
            self.input(&w_dims, lo, hi)
        };
        let op = Op::Conv { geometry, l1: None };
        self.try_push(op.clone(), &[x, w]).or_else(|| {
            let x = self.narrow(x, -200, 210);
            let w = match w {
                Value::Constant(i) => {
                    self.constants[i].1.iter_mut().for_each(|w| *w %= 50);
                    w
                }
                w => self.narrow(w, -50, 50),
            };
            self.try_push(op, &[x, w])
        })
    }

    /// Adds one step of a kind (and what it needs before it), if it is possible. Returns the value.
    pub fn step(&mut self, kind: u8, seed: u64) -> Option<Value> {
        self.rng = Rng(seed);
        match kind {
            0 => self.contraction(),
            1 => self.convolution(),
            2 | 9 => {
                let v = self.any();
                let v = self.narrow(v, -100_000, 100_000);
                let rank = self.shape(v).rank();
                let axes: Vec<u8> = (0..rank as u8).filter(|_| self.rng.chance(50)).collect();
                self.try_push(
                    if kind == 2 {
                        Op::Sum { axes }
                    } else {
                        Op::ReduceMax { axes }
                    },
                    &[v],
                )
            }
            3 => {
                let v = self.any();
                let v = self.narrow(v, -10_000_000, 10_000_000);
                let mut operands = vec![v];
                while operands.len() < 4 && self.rng.chance(60) {
                    let w = self.partner(v, -1_000_000, 1_000_000);
                    operands.push(w);
                }
                if self.rng.chance(30) {
                    operands.reverse();
                }
                let coefficients = operands
                    .iter()
                    .map(|_| [1, 1, -1, 3, -7, 16][self.rng.below(6)])
                    .collect();
                let bias = if self.rng.chance(50) {
                    0
                } else {
                    self.rng.range(-100_000, 100_000)
                };
                self.try_push(Op::Linear { coefficients, bias }, &operands)
            }
            4 => {
                let v = self.any();
                let v = self.narrow(v, -32_000, 30_000);
                let w = self.partner(v, -32_000, 32_767);
                let op = if self.rng.chance(20) { [v, v] } else { [v, w] };
                self.try_push(Op::Mul, &op)
            }
            5 => {
                let v = self.any();
                let bits = if self.rng.chance(90) {
                    self.rng.range(1, 12)
                } else {
                    self.rng.range(13, 30)
                };
                self.try_push(Op::Shift { bits: bits as u8 }, &[v])
            }
            6 => {
                let v = self.any();
                let (lo, hi) = self.bounds();
                let wide = if self.rng.chance(10) { i64::MAX } else { hi };
                self.try_push(Op::Clamp { lo, hi: wide }, &[v])
            }
            7 => {
                let v = self.any();
                let (lo, hi) = [(-128, 127), (-700, 900), (3, 60)][self.rng.below(3)];
                let v = self.narrow(v, lo, hi);
                let r = self.range(v);
                let offset = r.lo - self.rng.range(0, 3);
                let entries = (r.hi - offset + 1 + self.rng.range(0, 3)) as usize;
                let (lo, hi) = self.bounds();
                let table = self.random(&[entries], lo, hi);
                self.try_push(Op::Lut { offset }, &[v, table])
            }
            8 => {
                let v = self.any();
                let w = self.partner(v, -100_000, 100_000);
                self.try_push(Op::Max, &[v, w])
            }
            10 => {
                let v = self.any();
                let rank = self.shape(v).rank();
                let axis = if rank == 0 { 0 } else { self.rng.below(rank) } as u8;
                self.try_push(Op::ArgMax { axis }, &[v])
            }
            11 => {
                let x = self.image();
                let x = self.narrow(x, -500_000, 500_000);
                let dims = self.shape(x).dims();
                let window = self.window(&dims[2..], None);
                let kind = if self.rng.chance(50) {
                    PoolKind::Sum
                } else {
                    PoolKind::Max
                };
                self.try_push(Op::Pool { kind, window }, &[x])
            }
            12 => {
                let v = self.any();
                let w = if self.rng.chance(50) {
                    self.partner(v, 1, 5000)
                } else {
                    self.any()
                };
                let (v, w) = (self.narrow(v, -5_000, 50_000), self.narrow(w, 1, 20_000));
                let rounding = if self.rng.chance(50) {
                    Rounding::Floor
                } else {
                    Rounding::Nearest
                };
                let bits = self.rng.range(0, 16) as u8;
                self.try_push(Op::Quotient { bits, rounding }, &[v, w])
            }
            13 => {
                let v = self.any();
                let v = self.narrow(v, 1, carat_program::HALF);
                let bits = self.rng.range(0, 58) as u8;
                self.try_push(Op::InverseSqrt { bits }, &[v])
            }
            14 => {
                let v = self.any();
                let rank = 1 + self.rng.below(5);
                Some(self.reshaped(v, rank))
            }
            15 => {
                let v = self.any();
                let mut perm: Vec<u8> = (0..self.shape(v).rank() as u8).collect();
                for i in (1..perm.len()).rev() {
                    let j = self.rng.below(i + 1);
                    perm.swap(i, j);
                }
                self.try_push(Op::Transpose { perm }, &[v])
            }
            16 => {
                let v = self.any();
                let (mut start, mut step, mut len) = (vec![], vec![], vec![]);
                for n in self.shape(v).dims() {
                    let d = [1i32, 1, 2, 3, -1, -2][self.rng.below(6)];
                    let s = if d > 0 {
                        self.rng.below(n.min(3))
                    } else {
                        n - 1 - self.rng.below(n.min(2))
                    };
                    let room = if d > 0 { n - 1 - s } else { s };
                    let most = room / d.unsigned_abs() as usize + 1;
                    start.push(s as u32);
                    step.push(d);
                    len.push(if self.rng.chance(50) {
                        most
                    } else {
                        1 + self.rng.below(most)
                    } as u32);
                }
                self.try_push(Op::Slice { start, step, len }, &[v])
            }
            17 => {
                let v = self.any();
                let rank = self.shape(v).rank();
                if rank == 0 {
                    return None;
                }
                let axis = self.rng.below(rank);
                let mut operands = vec![v];
                for _ in 0..self.rng.below(3) {
                    let mut dims = self.shape(v).dims();
                    dims[axis] = 1 + self.rng.below(4);
                    let c = self.random(&dims, -20, 30);
                    let again = self.rng.chance(30);
                    operands.push(if again { v } else { c });
                }
                if self.rng.chance(30) {
                    operands.reverse();
                }
                self.try_push(Op::Concat { axis: axis as u8 }, &operands)
            }
            18 => {
                let v = self.any();
                let rank = self.shape(v).rank();
                let mut widths = || (0..rank).map(|_| self.rng.below(3) as u32).collect();
                let (before, after) = (widths(), widths());
                let value = self.rng.range(-10, 10);
                self.try_push(
                    Op::Pad {
                        before,
                        after,
                        value,
                    },
                    &[v],
                )
            }
            19 => {
                let v = self.any();
                let mut dims = self.shape(v).dims();
                for d in &mut dims {
                    if *d == 1 {
                        *d = 1 + self.rng.below(5);
                    }
                }
                let lead = self.rng.below(3).min(8 - dims.len());
                let mut front = self.dims(lead);
                front.extend(dims);
                let shape = Shape::new(&front).ok()?;
                self.try_push(Op::Broadcast { shape }, &[v])
            }
            _ => {
                let v = self.any();
                let rank = self.shape(v).rank();
                if rank == 0 {
                    return None;
                }
                let axis = self.rng.below(rank);
                let n = self.shape(v).dim(axis) as i64;
                let index_rank = self.rng.below(3);
                let dims = self.dims(index_rank);
                let index = if self.rng.chance(60) {
                    self.random(&dims, 0, n - 1)
                } else {
                    self.any()
                };
                let index = if self.rng.chance(90) {
                    index
                } else {
                    self.any()
                };
                let index = if matches!(index, Value::Constant(_)) {
                    index
                } else {
                    self.narrow(index, 0, n - 1)
                };
                self.try_push(Op::Gather { axis: axis as u8 }, &[v, index])
            }
        }
    }
}

/// A program from a seed for its inputs and a list of (kind of step, seed). Steps that are impossible where they stand
/// are left out.
pub fn build(seed: u64, recipe: &[(u8, u64)]) -> (Program, Weights) {
    let mut b = Builder::new(seed);
    b.limit = 6000;
    for _ in 0..1 + b.rng.below(2) {
        let rank = b.rng.below(5);
        let dims = b.dims(rank);
        let (lo, hi) = b.bounds();
        b.input(&dims, lo, hi);
    }
    let mut outputs = vec![];
    for &(kind, seed) in recipe {
        if let Some(v) = b.step(kind % KINDS, seed)
            && b.rng.chance(25)
        {
            outputs.push(v);
        }
    }
    let last = *b.values().last().unwrap();
    outputs.push(last);
    if b.rng.chance(10) {
        outputs.push(Value::Input(0));
    }
    if b.rng.chance(10) && !b.constants.is_empty() {
        outputs.push(Value::Constant(0));
    }
    b.finish(&outputs)
}

/// Inputs for a program: random, all at the lower end, all at the upper end, or alternating between the ends.
pub fn inputs(program: &Program, rng: &mut Rng) -> Vec<Tensor> {
    let style = rng.below(6);
    program
        .inputs
        .iter()
        .map(|x| {
            let Range { lo, hi } = x.range;
            let data = (0..x.shape.elements())
                .map(|_| match style {
                    0 => lo,
                    1 => hi,
                    2 if rng.chance(50) => lo,
                    2 => hi,
                    _ => rng.range(lo, hi),
                } as i32)
                .collect();
            Tensor::new(x.shape.clone(), data).unwrap()
        })
        .collect()
}
