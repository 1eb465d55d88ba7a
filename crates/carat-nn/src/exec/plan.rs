//! From a program to steps over reusable buffers: what can be fused, packed and decided once is.

use super::buffer::Packed;
use super::constants::Constants;
use super::convolution::Convolution;
use super::elementwise::{Elementwise, Head};
use super::gather::Gather;
use super::input::saturate;
use super::matrix::{Known, Matrix, TileAxes};
use super::reduce::{ArgMax, Fold, Pool, Reduce};
use super::simd::{Along, Epilogue, Isa, Step as After};
use super::step::{Kernel, Place, Step};
use super::strided::{Copy, offsets, strides_of};
use carat_program::{Op, Program, ValueId};

/// A prepared program.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// Elements per sample of each slot.
    pub(crate) slots: Vec<usize>,
    /// Where each input goes; `None` for one that nothing uses.
    pub(crate) inputs: Vec<Option<usize>>,
    /// Where the value of each id is at the end; meaningful for outputs, and for all values of an unfused plan.
    pub(crate) places: Vec<Option<Place>>,
    /// Multiply-adds and elements touched for one sample: a rough measure of time.
    pub(crate) work: usize,
    /// The packed constants of each node.
    packed: Vec<Packed>,
}

/// Working memory that preparing and running a program takes, before anything is allocated. Saturated.
pub(crate) fn bytes_needed(program: &Program) -> u64 {
    let words = program.nodes.iter().fold(0u64, |sum, node| {
        let shape = |i: usize| {
            node.inputs
                .get(i)
                .and_then(|&id| program.value(id))
                .map(|v| v.shape)
        };
        let packed = match (&node.op, shape(0), shape(1)) {
            (Op::Contract { spec, .. }, Some(a), Some(b)) => Matrix::packed_words(spec, a, b),
            (Op::Conv { geometry, .. }, Some(x), Some(w)) => {
                Convolution::packed_words(geometry, x, w, &node.shape)
            }
            _ => 0,
        };
        sum.saturating_add(packed)
            .saturating_add(node.shape.elements() as u64)
    });
    let inputs: u64 = program
        .inputs
        .iter()
        .map(|x| x.shape.elements() as u64)
        .sum();
    words.saturating_add(inputs).saturating_mul(4)
}

struct Planner<'a> {
    program: &'a Program,
    constants: &'a Constants,
    isa: Isa,
    packed: Vec<Packed>,
    /// The value whose elements a value shares (through reshapes).
    root: Vec<ValueId>,
    /// How often each value is used, by nodes and outputs, and the last node that uses it.
    uses: Vec<usize>,
    consumer: Vec<usize>,
    fused: Vec<bool>,
}

impl Plan {
    /// Prepares a validated program. Without `fuse`, each node's result is kept in a slot of its own.
    /// Constants that an `earlier` plan has packed are shared with it.
    pub(crate) fn new(
        program: &Program,
        constants: &Constants,
        isa: Isa,
        fuse: bool,
        earlier: Option<&Self>,
    ) -> Self {
        let mut planner = Planner::new(program, constants, isa);
        if let Some(earlier) = earlier {
            planner.packed.clone_from(&earlier.packed);
        }
        let mut drafts: Vec<(Kernel, Vec<ValueId>, ValueId)> = vec![];
        let mut work = 0usize;
        for (i, node) in program.nodes.iter().enumerate() {
            if planner.fused[i] || matches!(node.op, Op::Reshape { .. }) {
                continue;
            }
            let mut result = program.node_value(i);
            let kernel = planner.lower(i, fuse, &mut result);
            work += match &kernel {
                Kernel::Matrix(m) => m.work() / 8,
                Kernel::Convolution(c) => c.work() / 8,
                _ => 0,
            } + node.shape.elements();
            let operands = planner.operands(i);
            drafts.push((kernel, operands, planner.root[result.index()]));
        }
        planner.allocate(drafts, fuse, work)
    }
}

impl<'a> Planner<'a> {
    fn new(program: &'a Program, constants: &'a Constants, isa: Isa) -> Self {
        let n = program.value_count();
        let mut this = Self {
            program,
            constants,
            isa,
            packed: vec![Packed::default(); program.nodes.len()],
            root: (0..n as u32).map(ValueId).collect(),
            uses: vec![0; n],
            consumer: vec![usize::MAX; n],
            fused: vec![false; program.nodes.len()],
        };
        for (i, node) in program.nodes.iter().enumerate() {
            if let (Op::Reshape { .. }, [x]) = (&node.op, node.inputs.as_slice()) {
                this.root[program.node_value(i).index()] = this.root[x.index()];
            }
            for x in &node.inputs {
                this.uses[x.index()] += 1;
                this.consumer[x.index()] = i;
            }
        }
        for out in &program.outputs {
            // Twice: an output is never fused away.
            this.uses[out.value.index()] += 2;
        }
        this
    }

    fn known(&self, id: ValueId) -> Known<'a> {
        let data = self
            .program
            .constant_index(id)
            .map(|c| self.constants.elements(c));
        match self.program.value(id) {
            Some(v) => Known {
                shape: v.shape,
                range: v.range,
                data,
            },
            None => unreachable!("validated programs define what they use"),
        }
    }

    /// The operands that a step reads (a table has moved into the epilogue).
    fn operands(&self, node: usize) -> Vec<ValueId> {
        let node = &self.program.nodes[node];
        let list = if matches!(node.op, Op::Lut { .. }) {
            &node.inputs[..1]
        } else {
            &node.inputs[..]
        };
        list.iter().map(|id| self.root[id.index()]).collect()
    }

    fn lower(&mut self, i: usize, fuse: bool, result: &mut ValueId) -> Kernel {
        let node = &self.program.nodes[i];
        let x = self.known(node.inputs[0]);
        let out = &node.shape;
        let second = || self.known(node.inputs[1]);
        match &node.op {
            Op::Contract { spec, .. } => {
                let mut matrix = Matrix::new(spec, x, second(), out, self.isa, &self.packed[i]);
                self.packed[i] = matrix.packed();
                let mut axes = Matrix::axes(spec);
                if matrix.swapped() {
                    std::mem::swap(&mut axes.rows, &mut axes.columns);
                }
                matrix.set_epilogue(Epilogue::new(self.fuse(result, vec![], &axes, fuse)));
                Kernel::Matrix(Box::new(matrix))
            }
            Op::Conv { geometry, .. } => {
                let mut convolution =
                    Convolution::new(geometry, x, second(), out, self.isa, &self.packed[i]);
                self.packed[i] = convolution.packed();
                let axes = TileAxes {
                    rows: vec![1],
                    columns: vec![],
                };
                convolution.set_epilogue(Epilogue::new(self.fuse(result, vec![], &axes, fuse)));
                Kernel::Convolution(Box::new(convolution))
            }
            Op::Sum { axes } => Kernel::Reduce(Reduce::new(Fold::Sum, axes, x.shape)),
            Op::ReduceMax { axes } => Kernel::Reduce(Reduce::new(Fold::Max, axes, x.shape)),
            Op::ArgMax { axis } => Kernel::ArgMax(ArgMax::new((*axis).into(), x.shape)),
            Op::Pool { kind, window } => Kernel::Pool(Pool::new(*kind, window, x.shape, out)),
            Op::Linear { coefficients, bias } => {
                // Modulo 2^32, as all arithmetic here.
                let coefficients = coefficients.iter().map(|&c| c as i32).collect();
                self.elementwise(
                    i,
                    Head::Linear {
                        coefficients,
                        bias: *bias as i32,
                    },
                    None,
                    fuse,
                    result,
                )
            }
            Op::Mul => self.elementwise(i, Head::Mul, None, fuse, result),
            Op::Max => self.elementwise(i, Head::Max, None, fuse, result),
            Op::Quotient { bits, rounding } => self.elementwise(
                i,
                Head::Quotient {
                    bits: *bits,
                    rounding: *rounding,
                },
                None,
                fuse,
                result,
            ),
            Op::InverseSqrt { bits } => {
                self.elementwise(i, Head::InverseSqrt { bits: *bits }, None, fuse, result)
            }
            Op::Shift { .. } | Op::Clamp { .. } | Op::Lut { .. } => {
                let first = self.unary(i);
                self.elementwise(i, Head::Copy, first, fuse, result)
            }
            Op::Reshape { .. } => unreachable!("reshapes take no step"),
            Op::Transpose { perm } => {
                let own = strides_of(&x.shape.dims());
                let source: Vec<_> = perm.iter().map(|&p| own[usize::from(p)]).collect();
                Kernel::Copy(Copy::new(
                    &out.dims(),
                    &source,
                    &strides_of(&out.dims()),
                    0,
                    0,
                ))
            }
            Op::Slice { start, step, .. } => {
                let own = strides_of(&x.shape.dims());
                let from = start.iter().zip(&own).map(|(&s, d)| s as isize * d).sum();
                let source: Vec<_> = step
                    .iter()
                    .zip(&own)
                    .map(|(&s, d)| s as isize * d)
                    .collect();
                Kernel::Copy(Copy::new(
                    &out.dims(),
                    &source,
                    &strides_of(&out.dims()),
                    from,
                    0,
                ))
            }
            Op::Broadcast { .. } => {
                let source: Vec<_> = x
                    .shape
                    .broadcast_strides(out)
                    .iter()
                    .map(|&s| s as isize)
                    .collect();
                Kernel::Copy(Copy::new(
                    &out.dims(),
                    &source,
                    &strides_of(&out.dims()),
                    0,
                    0,
                ))
            }
            Op::Concat { axis } => {
                let (axis, target) = (usize::from(*axis), strides_of(&out.dims()));
                let mut at = 0;
                let copies = node.inputs.iter().map(|&id| {
                    let dims = self.known(id).shape.dims();
                    let to = at * target[axis];
                    at += dims[axis] as isize;
                    Copy::new(&dims, &strides_of(&dims), &target, 0, to)
                });
                Kernel::Assemble {
                    copies: copies.collect(),
                    border: None,
                }
            }
            Op::Pad { before, value, .. } => {
                let target = strides_of(&out.dims());
                let to = before
                    .iter()
                    .zip(&target)
                    .map(|(&b, d)| b as isize * d)
                    .sum();
                let dims = x.shape.dims();
                let copy = Copy::new(&dims, &strides_of(&dims), &target, 0, to);
                Kernel::Assemble {
                    copies: vec![copy],
                    border: Some(*value as i32),
                }
            }
            Op::Gather { axis } => Kernel::Gather(Gather::new((*axis).into(), x.shape, out)),
        }
    }

    fn elementwise(
        &mut self,
        i: usize,
        head: Head,
        first: Option<After>,
        fuse: bool,
        result: &mut ValueId,
    ) -> Kernel {
        let steps = self.fuse(
            result,
            first.into_iter().collect(),
            &TileAxes::default(),
            fuse,
        );
        let node = &self.program.nodes[i];
        let count = if matches!(node.op, Op::Lut { .. }) {
            1
        } else {
            node.inputs.len()
        };
        let shapes: Vec<_> = node.inputs[..count]
            .iter()
            .map(|&id| self.known(id).shape)
            .collect();
        Kernel::Elementwise(Elementwise::new(
            head,
            Epilogue::new(steps),
            &shapes,
            &node.shape,
        ))
    }

    /// A node with one operand that is no constant, as an elementwise step.
    fn unary(&self, i: usize) -> Option<After> {
        let node = &self.program.nodes[i];
        Some(match &node.op {
            Op::Shift { bits } => After::Shift {
                bits: (*bits).into(),
            },
            Op::Clamp { lo, hi } => After::Clamp {
                lo: saturate(*lo),
                hi: saturate(*hi),
            },
            Op::Lut { offset } => {
                let table = self.program.constant_index(node.inputs[1])?;
                let table = self.constants.elements(table).wide().into_owned();
                After::Lut {
                    offset: i32::try_from(*offset).ok()?,
                    table,
                }
            }
            Op::Linear { coefficients, bias } if node.inputs.len() == 1 => After::Affine {
                scale: coefficients[0] as i32,
                bias: *bias as i32,
            },
            _ => return None,
        })
    }

    /// Collects the elementwise steps that follow a value and that nothing else depends on. Moves `result` to the
    /// value that the last of them defines.
    fn fuse(
        &mut self,
        result: &mut ValueId,
        mut steps: Vec<After>,
        axes: &TileAxes,
        on: bool,
    ) -> Vec<After> {
        let (mut reshaped, mut pending) = (false, vec![]);
        let mut at = *result;
        while on && self.uses[at.index()] == 1 {
            let i = self.consumer[at.index()];
            let node = &self.program.nodes[i];
            pending.push(i);
            if matches!(node.op, Op::Reshape { .. }) {
                reshaped = true;
                at = self.program.node_value(i);
                continue;
            }
            let step = self.unary(i).or_else(|| {
                if reshaped {
                    None
                } else {
                    self.with_constant(i, at, axes)
                }
            });
            let Some(step) = step else { break };
            steps.push(step);
            at = self.program.node_value(i);
            // Reshapes on the way become part of the step too.
            for i in pending.drain(..) {
                self.fused[i] = true;
                self.root[self.program.node_value(i).index()] = self.program.node_value(i);
            }
            *result = at;
        }
        steps
    }

    /// `at` combined with a constant that varies along rows or columns only, as an elementwise step.
    fn with_constant(&self, i: usize, at: ValueId, axes: &TileAxes) -> Option<After> {
        let node = &self.program.nodes[i];
        let &[a, b] = node.inputs.as_slice() else {
            return None;
        };
        let (side, constant) = if a == at { (0, b) } else { (1, a) };
        let index = self.program.constant_index(constant)?;
        if !matches!(node.op, Op::Max | Op::Linear { .. }) {
            return None;
        }
        let data = self.constants.elements(index).wide();
        let (own, other) = (self.known(at).shape, self.known(constant).shape);
        if *own != node.shape {
            return None;
        }
        match &node.op {
            Op::Max if data.len() == 1 => Some(After::Clamp {
                lo: data[0],
                hi: i32::MAX,
            }),
            Op::Linear { coefficients, bias } => {
                let (scale, factor, bias) = (
                    coefficients[side] as i32,
                    coefficients[1 - side] as i32,
                    *bias as i32,
                );
                let addend = |v: i32| v.wrapping_mul(factor).wrapping_add(bias);
                if data.len() == 1 {
                    return Some(After::Affine {
                        scale,
                        bias: addend(data[0]),
                    });
                }
                let strides = other.broadcast_strides(own);
                let within = |list: &[usize]| {
                    (0..strides.len()).all(|axis| strides[axis] == 0 || list.contains(&axis))
                };
                let (along, list) = if within(&axes.columns) {
                    (Along::Columns, &axes.columns)
                } else if within(&axes.rows) {
                    (Along::Rows, &axes.rows)
                } else {
                    return None;
                };
                let places = offsets(
                    &list
                        .iter()
                        .map(|&axis| (own.dim(axis), strides[axis]))
                        .collect::<Vec<_>>(),
                );
                let addends = places.iter().map(|&at| addend(data[at as usize])).collect();
                Some(After::Add {
                    scale,
                    addends,
                    along,
                })
            }
            _ => None,
        }
    }

    fn allocate(
        &self,
        drafts: Vec<(Kernel, Vec<ValueId>, ValueId)>,
        reuse: bool,
        work: usize,
    ) -> Plan {
        let program = self.program;
        let n = program.value_count();
        let mut last = vec![0usize; n];
        for (step, (_, operands, _)) in drafts.iter().enumerate() {
            operands.iter().for_each(|id| last[id.index()] = step);
        }
        program
            .outputs
            .iter()
            .for_each(|out| last[self.root[out.value.index()].index()] = usize::MAX);
        let mut places: Vec<Option<Place>> = vec![None; n];
        let mut slots: Vec<usize> = vec![];
        let mut free: Vec<usize> = vec![];
        let take = |slots: &mut Vec<usize>, free: &mut Vec<usize>, elements: usize| {
            // The smallest free slot that suffices, or else the largest, which then grows.
            let best = (0..free.len()).min_by_key(|&i| {
                let size = slots[free[i]];
                if size >= elements {
                    (0, size)
                } else {
                    (1, usize::MAX - size)
                }
            });
            match best.filter(|_| reuse) {
                Some(i) => {
                    let slot = free.swap_remove(i);
                    slots[slot] = slots[slot].max(elements);
                    slot
                }
                None => {
                    slots.push(elements);
                    slots.len() - 1
                }
            }
        };
        for c in 0..program.constants.len() {
            places[program.constant_value(c).index()] = Some(Place::Constant(c));
        }
        let mut inputs = vec![];
        for (i, x) in program.inputs.iter().enumerate() {
            let id = program.input_value(i).index();
            let used = !reuse
                || last[id] > 0
                || drafts
                    .first()
                    .is_some_and(|d| d.1.iter().any(|o| o.index() == id));
            let slot = used.then(|| take(&mut slots, &mut free, x.shape.elements()));
            places[id] = slot.map(Place::Slot);
            inputs.push(slot);
        }
        let mut steps = vec![];
        for (i, (kernel, ids, result)) in drafts.into_iter().enumerate() {
            let elements = self.known(result).shape.elements();
            let slot = take(&mut slots, &mut free, elements);
            let operands = ids
                .iter()
                .enumerate()
                .filter_map(|(k, id)| {
                    let place = match places[id.index()]? {
                        _ if kernel.holds(k) => Place::Packed,
                        place => place,
                    };
                    Some((place, self.known(*id).shape.elements()))
                })
                .collect::<Vec<_>>();
            for (k, id) in ids.iter().enumerate() {
                if let Some(Place::Slot(slot)) = places[id.index()]
                    && last[id.index()] == i
                    && !ids[..k].contains(id)
                {
                    free.push(slot);
                }
            }
            // A result that nothing reads gives its place back at once.
            if last[result.index()] <= i {
                free.push(slot);
            }
            places[result.index()] = Some(Place::Slot(slot));
            steps.push(Step {
                kernel,
                operands,
                slot,
                elements,
            });
        }
        let by_root = (0..n).map(|i| places[self.root[i].index()]).collect();
        Plan {
            steps,
            slots,
            inputs,
            places: by_root,
            work,
            packed: self.packed.clone(),
        }
    }
}
