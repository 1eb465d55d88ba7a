//! From a Program to its proof graph.
//!
//! Both sides of a proof derive the graph from the Program and the number of statements alone. Every committed column
//! comes with lookups that leave it no second value; the static no-wrap certificates for that are checked here, and a
//! Program that fails one is refused.

mod index;
mod quotient;
mod register;
mod tables;

pub(crate) use register::register;

use crate::{
    Error,
    graph::{Column, Fill, Graph, Id, Kind, Lookup, Node, Rows, Table},
    layout::AxisMap,
};
use alloc::{collections::BTreeMap, format, string::ToString, vec, vec::Vec};
use carat_program::{HALF, MODULUS, Op, PoolKind, Program, ValueId, Window, shift_round};

/// Largest table that is used in one piece.
const TABLE: i64 = 1 << 16;

/// Most values of a graph. Programs come from strangers: what a verifier derives from one must stay small.
const MAX_NODES: usize = 1 << 17;

/// Most different tables of a graph.
const MAX_TABLES: usize = 1 << 10;

/// Most taps of a window of which the maximum is taken, over all its axes one after the other.
const MAX_TAPS: usize = 1 << 12;

/// A shift result whose range nothing has bounded yet.
struct Pending {
    lo: i64,
    hi: i64,
    bits: u8,
}

struct Builder<'p> {
    program: &'p Program,
    lead: usize,
    graph: Graph,
    /// Graph value of each Program value.
    of: Vec<Id>,
    pending: BTreeMap<Id, Pending>,
}

/// Derives the proof graph for `lead` statements of one Program.
pub(crate) fn lower(program: &Program, lead: usize) -> Result<Graph, Error> {
    let mut b = Builder::new(program, lead);
    for (i, input) in program.inputs.iter().enumerate() {
        let dims = b.led(&input.shape.dims());
        let id = b.column(dims, input.range.lo, input.range.hi, Fill::Input(i));
        b.graph.nodes[id].value = Some(program.input_value(i));
        b.graph.inputs.push(id);
        b.of.push(id);
    }
    b.constants();
    for (i, node) in program.nodes.iter().enumerate() {
        let id = b.step(i).map_err(|e| match e {
            Error::Unsupported(why) => {
                Error::Unsupported(format!("step n{i} ({}) {why}", node.op.name()))
            }
            other => other,
        })?;
        // The static range of the Program is at least as tight as any that was derived on the way.
        let n = &mut b.graph.nodes[id];
        (n.lo, n.hi) = (n.lo.max(node.range.lo), n.hi.min(node.range.hi));
        let value = program.node_value(i);
        n.value.get_or_insert(value);
        b.of.push(id);
        b.limits()?;
    }
    for (id, p) in core::mem::take(&mut b.pending) {
        b.bound(id, &p)?;
        b.limits()?;
    }
    b.graph.outputs = program
        .outputs
        .iter()
        .map(|o| b.of[o.value.index()])
        .collect();
    b.merge_tables();
    b.multiplicities();
    Ok(b.graph)
}

/// Whether `x + half = q 2^bits + r` has one solution with x in its range, q in `q_lo..=q_hi` and r below `2^bits`: the
/// difference of two representations must be smaller than p.
fn certified(x: (i64, i64), q: (i64, i64), bits: u8) -> bool {
    let unit = 1i128 << bits;
    let half = unit / 2;
    let least = i128::from(x.0) + half - i128::from(q.1) * unit - (unit - 1);
    let most = i128::from(x.1) + half - i128::from(q.0) * unit;
    -i128::from(MODULUS) < least && most < i128::from(MODULUS)
}

fn unsupported<T>(why: &str) -> Result<T, Error> {
    Err(Error::Unsupported(why.to_string()))
}

impl<'p> Builder<'p> {
    fn new(program: &'p Program, lead: usize) -> Self {
        Self {
            program,
            lead,
            graph: Graph::default(),
            of: Vec::new(),
            pending: BTreeMap::new(),
        }
    }

    fn constants(&mut self) {
        for (i, c) in self.program.constants.iter().enumerate() {
            let id = self.node(Kind::Constant(i), c.shape.dims(), c.range.lo, c.range.hi);
            self.graph.nodes[id].value = Some(self.program.constant_value(i));
            self.of.push(id);
        }
    }

    /// Refuses Programs whose graph is too large to derive again for each verification.
    fn limits(&self) -> Result<(), Error> {
        let over = |what: &str, found: usize, limit: usize| {
            Err(Error::Unsupported(format!(
                "it needs more than {limit} {what} ({found} so far)"
            )))
        };
        if self.graph.nodes.len() > MAX_NODES {
            return over("intermediate values", self.graph.nodes.len(), MAX_NODES);
        }
        if self.graph.tables.len() > MAX_TABLES {
            return over("lookup tables", self.graph.tables.len(), MAX_TABLES);
        }
        Ok(())
    }

    fn led(&self, dims: &[usize]) -> Vec<usize> {
        [&[self.lead], dims].concat()
    }

    fn node(&mut self, kind: Kind, dims: Vec<usize>, lo: i64, hi: i64) -> Id {
        self.graph.nodes.push(Node {
            kind,
            dims,
            lo,
            hi,
            value: None,
        });
        self.graph.nodes.len() - 1
    }

    fn column(&mut self, dims: Vec<usize>, lo: i64, hi: i64, fill: Fill) -> Id {
        let index = self.graph.columns.len();
        self.graph.columns.push(Column {
            dims: dims.clone(),
            fill,
        });
        let id = self.node(Kind::Column(index), dims, lo, hi);
        self.graph.column_nodes.push(id);
        id
    }

    fn dims(&self, id: Id) -> Vec<usize> {
        self.graph.nodes[id].dims.clone()
    }

    fn range(&self, id: Id) -> (i64, i64) {
        (self.graph.nodes[id].lo, self.graph.nodes[id].hi)
    }

    /// `sum c * x + bias` over operands of one shape.
    fn linear(&mut self, terms: Vec<(i64, Id)>, bias: i64) -> Id {
        let (mut lo, mut hi) = (i128::from(bias), i128::from(bias));
        for &(c, x) in &terms {
            let (a, b) = self.range(x);
            let (a, b) = (i128::from(c) * i128::from(a), i128::from(c) * i128::from(b));
            lo += a.min(b);
            hi += a.max(b);
        }
        let narrow = |v: i128| v.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        let dims = self.dims(terms[0].1);
        self.node(Kind::Linear { terms, bias }, dims, narrow(lo), narrow(hi))
    }

    /// Another shape of the same elements.
    fn reshape(&mut self, x: Id, dims: Vec<usize>) -> Id {
        if self.graph.nodes[x].dims == dims {
            return x;
        }
        let (lo, hi) = self.range(x);
        let value = self.graph.nodes[x].value;
        let id = self.node(Kind::Reshape(x), dims, lo, hi);
        self.graph.nodes[id].value = value;
        id
    }

    fn axes(&mut self, x: Id, maps: Vec<AxisMap>, dims: Vec<usize>, lo: i64, hi: i64) -> Id {
        let from = &self.graph.nodes[x].dims;
        if (0..dims.len()).all(|a| maps[a].is_identity(from[a], dims[a])) {
            return x;
        }
        self.node(Kind::Axes { x, maps }, dims, lo, hi)
    }

    /// A Program value in the shape `[lead, dims..]`, repeated along axes of length one under NumPy's rule.
    fn aligned(&mut self, value: ValueId, dims: &[usize]) -> Id {
        self.placed(value, 0, dims)
    }

    /// As [`Self::aligned`], with `after` further axes of length one behind the value's own.
    fn placed(&mut self, value: ValueId, after: usize, dims: &[usize]) -> Id {
        let id = self.of[value.index()];
        let own = self.dims(id);
        let constant = self.program.constant_index(value).is_some();
        let (lead, rest) = if constant {
            (1, &own[..])
        } else {
            (own[0], &own[1..])
        };
        let mut shape = vec![lead];
        shape.extend(core::iter::repeat_n(1, dims.len() - rest.len() - after));
        shape.extend_from_slice(rest);
        shape.extend(core::iter::repeat_n(1, after));
        let target = self.led(dims);
        let x = self.reshape(id, shape.clone());
        let maps = (0..shape.len())
            .map(|a| AxisMap::affine(i64::from(shape[a] == target[a]), 0))
            .collect();
        let (lo, hi) = self.range(x);
        self.axes(x, maps, target, lo, hi)
    }

    /// A Program value with a leading axis.
    fn operand(&mut self, value: ValueId) -> Id {
        let dims = self
            .program
            .value(value)
            .map_or_else(Vec::new, |v| v.shape.dims());
        self.aligned(value, &dims)
    }

    fn table(&mut self, rows: Rows, len: i64) -> usize {
        self.add_table(rows, vec![len as usize], None)
    }

    /// The elements of a value as a table.
    fn value_table(&mut self, start: i64, value: Id) -> usize {
        let dims = self.dims(value);
        self.add_table(Rows::Value { start }, dims, Some(value))
    }

    fn add_table(&mut self, rows: Rows, dims: Vec<usize>, value: Option<Id>) -> usize {
        let table = Table {
            rows,
            dims,
            multiplicity: usize::MAX,
            value,
        };
        if let Some(i) = self.graph.tables.iter().position(|t| *t == table) {
            return i;
        }
        self.graph.tables.push(table);
        self.graph.tables.len() - 1
    }

    fn lookup(&mut self, table: usize, tuple: Vec<Id>) {
        self.graph.lookups.push(Lookup { table, tuple });
    }

    /// Every element of x is in `0..2^bits`.
    fn ranged(&mut self, x: Id, bits: u8) {
        if bits <= 16 {
            let t = self.table(Rows::Range, 1 << bits);
            self.lookup(t, vec![x]);
        } else {
            // x = high * 2^16 + low
            let dims = self.dims(x);
            let high = self.column(dims, 0, (1 << (bits - 16)) - 1, Fill::High { x, bits: 16 });
            self.ranged(high, bits - 16);
            let low = self.linear(vec![(1, x), (-TABLE, high)], 0);
            self.ranged(low, 16);
        }
    }

    fn shift(&mut self, x: Id, bits: u8) -> Id {
        let (lo, hi) = self.range(x);
        let dims = self.dims(x);
        let (q_lo, q_hi) = (shift_round(lo, bits), shift_round(hi, bits));
        let q = self.column(dims, q_lo, q_hi, Fill::Shift { x, bits });
        let r = self.linear(vec![(1, x), (-(1i64 << bits), q)], 1 << (bits - 1));
        self.ranged(r, bits);
        self.pending.insert(q, Pending { lo, hi, bits });
        q
    }

    /// Bounds a shift result that no table bounds.
    fn bound(&mut self, q: Id, p: &Pending) -> Result<(), Error> {
        let (lo, hi) = self.range(q);
        let n = hi - lo + 1;
        let shifted = self.linear(vec![(1, q)], -lo);
        let bits = (n as u64).next_power_of_two().trailing_zeros().max(1) as u8;
        if certified((p.lo, p.hi), (lo, lo + (1i64 << bits) - 1), p.bits) {
            self.ranged(shifted, bits);
            return Ok(());
        }
        if n <= TABLE {
            let t = self.table(Rows::Range, n);
            self.lookup(t, vec![shifted]);
            return check_certificate((p.lo, p.hi), (lo, hi), p.bits);
        }
        let highs = (n + TABLE - 1) / TABLE;
        if !certified((p.lo, p.hi), (lo, lo + highs * TABLE - 1), p.bits) {
            // Nothing but the exact range leaves one quotient. From both ends: q - lo and hi - q below 2^bits, whose sum
            // is hi - lo without wrapping, since hi - lo + p is more than both together can be (2^bits < 2 n).
            self.ranged(shifted, bits);
            let rest = self.linear(vec![(-1, q)], hi);
            self.ranged(rest, bits);
            return check_certificate((p.lo, p.hi), (lo, hi), p.bits);
        }
        let dims = self.dims(q);
        let high = self.column(
            dims,
            0,
            highs - 1,
            Fill::High {
                x: shifted,
                bits: 16,
            },
        );
        let t = self.table(Rows::Range, highs);
        self.lookup(t, vec![high]);
        let low = self.linear(vec![(1, shifted), (-TABLE, high)], 0);
        self.ranged(low, 16);
        check_certificate((p.lo, p.hi), (lo, lo + highs * TABLE - 1), p.bits)
    }

    /// A lookup of x in a table settles a pending shift, if the table's domain leaves one quotient. If it is too long for
    /// that, the quotient is bounded on its own later.
    fn settle(&mut self, x: Id, domain: (i64, i64)) {
        if let Some(p) = self.pending.get(&x)
            && certified((p.lo, p.hi), domain, p.bits)
        {
            self.pending.remove(&x);
        }
    }

    /// `max(x, 0)`
    fn relu(&mut self, x: Id) -> Result<Id, Error> {
        let (lo, hi) = self.range(x);
        if lo >= 0 {
            return Ok(x);
        }
        if hi <= 0 {
            return Ok(self.linear(vec![(0, x)], 0));
        }
        let dims = self.dims(x);
        if hi - lo < TABLE {
            let rows = Rows::Clamp {
                start: lo,
                lo: 0,
                hi: HALF,
            };
            let table = self.table(rows, hi - lo + 1);
            let y = self.column(dims, 0, hi, Fill::Table { x, table });
            self.lookup(table, vec![x, y]);
            return Ok(y);
        }
        // x = high * 2^16 + low with a signed high limb, whose sign is the sign of x.
        let (first, last) = (lo.div_euclid(TABLE), hi.div_euclid(TABLE));
        if i128::from(hi) - i128::from(first) * 65536 >= i128::from(MODULUS)
            || i128::from(last + 1) * 65536 - i128::from(lo) >= i128::from(MODULUS)
        {
            return unsupported("compares values too wide for an exact comparison modulo p");
        }
        let table = self.table(Rows::Step { start: first }, last - first + 1);
        let high = self.column(dims.clone(), first, last, Fill::High { x, bits: 16 });
        let sign = self.column(dims.clone(), 0, 1, Fill::Table { x: high, table });
        self.lookup(table, vec![high, sign]);
        let low = self.linear(vec![(1, x), (-TABLE, high)], 0);
        self.ranged(low, 16);
        Ok(self.node(Kind::Mul(sign, x), dims, 0, hi))
    }

    fn clamp(&mut self, x: Id, lo: i64, hi: i64) -> Result<Id, Error> {
        let (a, b) = self.range(x);
        if lo <= a && b <= hi {
            return Ok(x);
        }
        if b - a < TABLE {
            let rows = Rows::Clamp { start: a, lo, hi };
            let table = self.table(rows, b - a + 1);
            let dims = self.dims(x);
            let y = self.column(
                dims,
                a.clamp(lo, hi),
                b.clamp(lo, hi),
                Fill::Table { x, table },
            );
            self.lookup(table, vec![x, y]);
            self.settle(x, (a, b));
            return Ok(y);
        }
        let mut terms = vec![(1, x)];
        if b > hi {
            let over = self.linear(vec![(1, x)], -hi);
            terms.push((-1, self.relu(over)?));
        }
        if a < lo {
            let under = self.linear(vec![(-1, x)], lo);
            terms.push((1, self.relu(under)?));
        }
        let y = self.linear(terms, 0);
        let n = &mut self.graph.nodes[y];
        (n.lo, n.hi) = (a.clamp(lo, hi), b.clamp(lo, hi));
        Ok(y)
    }

    fn max(&mut self, a: Id, b: Id) -> Result<Id, Error> {
        let difference = self.linear(vec![(1, a), (-1, b)], 0);
        let above = self.relu(difference)?;
        let y = self.linear(vec![(1, b), (1, above)], 0);
        let ((al, ah), (bl, bh)) = (self.range(a), self.range(b));
        let n = &mut self.graph.nodes[y];
        (n.lo, n.hi) = (al.max(bl), ah.max(bh));
        Ok(y)
    }

    fn tournament(&mut self, mut entries: Vec<Id>) -> Result<Id, Error> {
        while entries.len() > 1 {
            let mut next = Vec::with_capacity(entries.len().div_ceil(2));
            for pair in entries.chunks(2) {
                next.push(match *pair {
                    [a, b] => self.max(a, b)?,
                    _ => pair[0],
                });
            }
            entries = next;
        }
        Ok(entries[0])
    }

    /// Maximum over an axis, by halves.
    fn reduce_max(&mut self, mut x: Id, axis: usize) -> Result<Id, Error> {
        loop {
            let dims = self.dims(x);
            let n = dims[axis];
            if n == 1 {
                return Ok(x);
            }
            let part = |b: &mut Self, start: usize, len: usize| {
                let mut to = dims.clone();
                to[axis] = len;
                let maps = (0..dims.len())
                    .map(|a| AxisMap::affine(1, if a == axis { start as i64 } else { 0 }))
                    .collect();
                let (lo, hi) = b.range(x);
                b.axes(x, maps, to, lo, hi)
            };
            // An odd middle element takes part in both halves.
            let half = n.div_ceil(2);
            let (first, second) = (part(self, 0, half), part(self, n - half, half));
            x = self.max(first, second)?;
        }
    }

    fn pool(&mut self, x: Id, kind: PoolKind, window: &Window, out: &[usize]) -> Result<Id, Error> {
        let lead = out.len() - window.kernel.len();
        let map = |i: usize, tap: Option<usize>| AxisMap {
            step: window.stride[i].into(),
            start: -i64::from(window.before[i])
                + tap.map_or(0, |t| t as i64 * i64::from(window.dilation[i])),
            taps: if tap.is_some() {
                1
            } else {
                window.kernel[i] as usize
            },
            dilation: window.dilation[i].into(),
        };
        let (lo, hi) = self.range(x);
        if kind == PoolKind::Sum {
            let mut maps = vec![AxisMap::identity(); lead];
            maps.extend((0..window.kernel.len()).map(|i| map(i, None)));
            // Tightened to the Program's own range by the caller.
            return Ok(self.axes(x, maps, out.to_vec(), -HALF, HALF));
        }
        let taps = window
            .kernel
            .iter()
            .fold(0usize, |n, &k| n.saturating_add(k as usize));
        if taps > MAX_TAPS {
            return unsupported("takes the maximum of windows longer than 4096");
        }
        // Shifted to start at zero: positions in the padding then never win. One axis after the other.
        let mut y = self.linear(vec![(1, x)], -lo);
        for i in 0..window.kernel.len() {
            let mut to = self.dims(y);
            to[lead + i] = out[lead + i];
            let taps = (0..window.kernel[i] as usize)
                .map(|t| {
                    let maps = (0..to.len())
                        .map(|a| {
                            if a == lead + i {
                                map(i, Some(t))
                            } else {
                                AxisMap::identity()
                            }
                        })
                        .collect();
                    self.axes(y, maps, to.clone(), 0, hi - lo)
                })
                .collect();
            y = self.tournament(taps)?;
        }
        Ok(self.linear(vec![(1, y)], lo))
    }

    fn step(&mut self, index: usize) -> Result<Id, Error> {
        let node = &self.program.nodes[index];
        let out = node.shape.dims();
        let full = self.led(&out);
        let (lo, hi) = (node.range.lo, node.range.hi);
        let inputs = &node.inputs;
        let constant = |v: ValueId| self.program.constant_index(v).is_some();
        Ok(match &node.op {
            Op::Contract { spec, .. } => {
                const LEAD: u8 = u8::MAX;
                if spec.a.iter().chain(&spec.b).any(|&l| l == LEAD) {
                    return unsupported("uses the axis label 255");
                }
                let led = |l: &[u8]| [&[LEAD], l].concat();
                // At most one operand stays without a leading axis.
                let (bare_a, bare_b) = (constant(inputs[0]), constant(inputs[1]));
                let bare_b = bare_b && !bare_a;
                let a = if bare_a {
                    self.of[inputs[0].index()]
                } else {
                    self.operand(inputs[0])
                };
                let b = if bare_b {
                    self.of[inputs[1].index()]
                } else {
                    self.operand(inputs[1])
                };
                let kind = Kind::Contract {
                    a,
                    b,
                    a_labels: if bare_a { spec.a.clone() } else { led(&spec.a) },
                    b_labels: if bare_b { spec.b.clone() } else { led(&spec.b) },
                    out_labels: led(&spec.out),
                };
                self.node(kind, full, lo, hi)
            }
            Op::Conv { geometry, .. } => {
                let x = self.operand(inputs[0]);
                let (xd, g) = (self.dims(x), geometry.groups as usize);
                let w = if constant(inputs[1]) {
                    self.of[inputs[1].index()]
                } else if self.lead == 1 {
                    let w = self.of[inputs[1].index()];
                    let dims = self.dims(w)[1..].to_vec();
                    self.reshape(w, dims)
                } else {
                    return unsupported(
                        "convolves with a kernel that is not constant; prove one statement at a time",
                    );
                };
                let wd = self.dims(w);
                let x = self.reshape(x, [&xd[..2], &[g, xd[2] / g], &xd[3..]].concat());
                let w = self.reshape(w, [&[g, wd[0] / g], &wd[1..]].concat());
                let window = &geometry.window;
                let maps = (0..window.kernel.len())
                    .map(|i| AxisMap {
                        step: window.stride[i].into(),
                        start: -i64::from(window.before[i]),
                        taps: window.kernel[i] as usize,
                        dilation: window.dilation[i].into(),
                    })
                    .collect();
                let grouped = [&full[..2], &[g, full[2] / g], &full[3..]].concat();
                let y = self.node(Kind::Conv { x, w, maps }, grouped, lo, hi);
                self.graph.nodes[y].value = Some(self.program.node_value(index));
                self.reshape(y, full)
            }
            Op::Sum { axes } => {
                let x = self.operand(inputs[0]);
                let axes = axes.iter().map(|&a| usize::from(a) + 1).collect();
                self.node(Kind::Sum { x, axes }, full, lo, hi)
            }
            Op::Linear { coefficients, bias } => {
                let terms = coefficients
                    .iter()
                    .zip(inputs)
                    .map(|(&c, &v)| (c, self.aligned(v, &out)))
                    .collect();
                self.linear(terms, *bias)
            }
            Op::Mul => {
                let (a, b) = (self.aligned(inputs[0], &out), self.aligned(inputs[1], &out));
                self.node(Kind::Mul(a, b), full, lo, hi)
            }
            Op::Shift { bits } => {
                let x = self.operand(inputs[0]);
                self.shift(x, *bits)
            }
            Op::Clamp { lo, hi } => {
                let x = self.operand(inputs[0]);
                // Ends beyond what any value reaches are no ends, and would overflow below.
                self.clamp(x, (*lo).max(-HALF), (*hi).min(HALF))?
            }
            Op::Lut { offset } => {
                let x = self.operand(inputs[0]);
                let Some(c) = self.program.constant_index(inputs[1]) else {
                    return unsupported("has a table that is not a constant");
                };
                let n = self.program.constants[c].shape.elements() as i64;
                let table = self.value_table(*offset, self.of[inputs[1].index()]);
                let y = self.column(full, lo, hi, Fill::Table { x, table });
                self.lookup(table, vec![x, y]);
                self.settle(x, (*offset, *offset + n - 1));
                y
            }
            Op::Max => {
                let (a, b) = (self.aligned(inputs[0], &out), self.aligned(inputs[1], &out));
                self.max(a, b)?
            }
            Op::ReduceMax { axes } => {
                let mut x = self.operand(inputs[0]);
                for &a in axes {
                    x = self.reduce_max(x, usize::from(a) + 1)?;
                }
                self.reshape(x, full)
            }
            Op::Pool { kind, window } => {
                let x = self.operand(inputs[0]);
                self.pool(x, *kind, window, &full)?
            }
            Op::Reshape { .. } => {
                let x = self.operand(inputs[0]);
                self.reshape(x, full)
            }
            Op::Transpose { perm } => {
                let x = self.operand(inputs[0]);
                let perm = core::iter::once(0)
                    .chain(perm.iter().map(|&p| usize::from(p) + 1))
                    .collect();
                self.node(Kind::Permute { x, perm }, full, lo, hi)
            }
            Op::Slice { start, step, .. } => {
                let x = self.operand(inputs[0]);
                let maps = core::iter::once(AxisMap::identity())
                    .chain(
                        start
                            .iter()
                            .zip(step)
                            .map(|(&s, &d)| AxisMap::affine(d.into(), s.into())),
                    )
                    .collect();
                self.axes(x, maps, full, lo, hi)
            }
            Op::Concat { axis } => {
                let mut at = 0i64;
                let mut terms = Vec::with_capacity(inputs.len());
                for &v in inputs {
                    let x = self.operand(v);
                    let maps = (0..full.len())
                        .map(|a| {
                            AxisMap::affine(1, if a == usize::from(*axis) + 1 { -at } else { 0 })
                        })
                        .collect();
                    at += self.dims(x)[usize::from(*axis) + 1] as i64;
                    let (l, h) = self.range(x);
                    terms.push((1, self.axes(x, maps, full.clone(), l.min(0), h.max(0))));
                }
                self.linear(terms, 0)
            }
            Op::Pad { before, value, .. } => {
                let x = self.operand(inputs[0]);
                let x = if *value == 0 {
                    x
                } else {
                    self.linear(vec![(1, x)], -value)
                };
                let maps = core::iter::once(AxisMap::identity())
                    .chain(before.iter().map(|&b| AxisMap::affine(1, -i64::from(b))))
                    .collect();
                let (l, h) = self.range(x);
                let y = self.axes(x, maps, full, l.min(0), h.max(0));
                if *value == 0 {
                    y
                } else {
                    self.linear(vec![(1, y)], *value)
                }
            }
            Op::Broadcast { .. } => self.aligned(inputs[0], &out),
            Op::ArgMax { axis } => {
                let x = self.operand(inputs[0]);
                let y = self.arg_max(x, usize::from(*axis) + 1)?;
                self.reshape(y, full)
            }
            Op::Gather { axis } => {
                let y = self.gather(inputs[0], inputs[1], usize::from(*axis), full);
                let n = &mut self.graph.nodes[y];
                (n.lo, n.hi) = (lo, hi);
                y
            }
            Op::Quotient { bits, rounding } => {
                self.quotient(inputs, *bits, *rounding, full, (lo, hi))?
            }
            Op::InverseSqrt { .. } => {
                return unsupported(
                    "has no proof yet; a receipt for this model can be signed, replayed or attested",
                );
            }
        })
    }
}

fn check_certificate(x: (i64, i64), q: (i64, i64), bits: u8) -> Result<(), Error> {
    if certified(x, q, bits) {
        Ok(())
    } else {
        unsupported("rounds values so wide that a second quotient would exist modulo p")
    }
}
