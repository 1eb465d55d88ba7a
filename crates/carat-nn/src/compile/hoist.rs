//! Moves rounding and clamps towards the producer, over everything that they commute with.
//!
//! Lowering narrows a value where its consumer needs it narrow: after ReLU, pooling and flattening, all of which then
//! work on wide accumulators. A proof pays for every element of a shift, clamp, table or maximum, and most for wide
//! ones; a shift, its clamp and its table on one element are a single look-up. So a finished program is rewritten:
//!
//! - `shift(clamp(x, lo, hi)) = clamp(shift(x), shift(lo), shift(hi))`, because rounding is monotone;
//! - shift and clamp commute with maxima (pool, reduce, elementwise), reshape, transpose, slice, pad, broadcast and
//!   concatenation; a table commutes with those that only move elements;
//! - `clamp(clamp(x))` is one clamp; a clamp that its operand's static range makes the identity is none.
//!
//! A step moves only when *everything* that uses the value wants the same step. All results that remain are the same
//! integers with the same static ranges: interval bounds of monotone functions commute too.

use super::{ScaleNote, lookups::is_wide};
use carat_program::{Node, Op, PoolKind, Program, ProgramError, Range, ValueId, shift_round};

/// Rewrites a program; `notes` has one entry per node, before and after.
///
/// The outputs are the same integers for every input, and keep their ranges and shapes. Constants stay as they are.
///
/// # Errors
/// None for a valid program; a [`ProgramError`] of the rules that derive ranges otherwise.
pub fn hoist(
    program: Program,
    notes: Vec<ScaleNote>,
) -> Result<(Program, Vec<ScaleNote>), ProgramError> {
    let mut state = (program, notes);
    for kind in [Kind::Shift, Kind::Clamp, Kind::Lut] {
        state = move_steps(&state.0, &state.1, kind)?;
        if kind == Kind::Clamp {
            state = merge_clamps(&state.0, &state.1)?;
        }
    }
    sweep(&state.0, &state.1)
}

/// The kind of step that a pass moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shift,
    Clamp,
    Lut,
}

impl Kind {
    fn is(self, op: &Op) -> bool {
        matches!(
            (self, op),
            (Kind::Shift, Op::Shift { .. })
                | (Kind::Clamp, Op::Clamp { .. })
                | (Kind::Lut, Op::Lut { .. })
        )
    }
}

/// A step that all users of a value want.
#[derive(Debug, Clone, Copy)]
struct Demand {
    /// A node of the step's kind: its operation, its table and its note are what moves.
    leaf: usize,
    /// Elements on which the step is computed now, or would be for other reasons.
    elements: usize,
    /// Whether an operation lies between the value and the step.
    through: bool,
}

/// Decides for each value whether a step moves to it, from the outputs back.
struct Demands<'a> {
    program: &'a Program,
    kind: Kind,
    /// For each value.
    demands: Vec<Option<Demand>>,
}

impl<'a> Demands<'a> {
    fn new(program: &'a Program, kind: Kind) -> Self {
        let n = program.value_count();
        let first = n - program.nodes.len();
        // What the users seen so far want; `Some(None)` when they disagree.
        let mut wanted: Vec<Option<Option<Demand>>> = vec![None; n];
        for out in &program.outputs {
            wanted[out.value.index()] = Some(None);
        }
        let mut this = Self {
            program,
            kind,
            demands: vec![None; n],
        };
        for i in (0..program.nodes.len()).rev() {
            this.settle(first + i, wanted[first + i]);
            let node = &program.nodes[i];
            for (place, x) in node.inputs.iter().enumerate() {
                let demand = this.through(i, place);
                let slot = &mut wanted[x.index()];
                *slot = Some(match *slot {
                    None => demand,
                    Some(other) => this.agree(other, demand),
                });
            }
        }
        for (v, wanted) in wanted.into_iter().enumerate().take(first) {
            this.settle(v, wanted);
        }
        this
    }

    /// Records what all users of a value want, unless computing it there would be more work.
    fn settle(&mut self, v: usize, wanted: Option<Option<Demand>>) {
        let id = ValueId(v as u32);
        self.demands[v] = wanted.flatten().filter(|d| {
            self.program
                .value(id)
                .is_some_and(|x| !x.constant && d.elements >= x.shape.elements())
        });
    }

    /// The step of a node of this kind.
    fn step(&self, leaf: usize) -> (&'a Op, &'a [ValueId]) {
        let node = &self.program.nodes[leaf];
        (&node.op, &node.inputs[1..])
    }

    fn agree(&self, a: Option<Demand>, b: Option<Demand>) -> Option<Demand> {
        let (a, b) = (a?, b?);
        (self.step(a.leaf) == self.step(b.leaf)).then_some(Demand {
            leaf: a.leaf,
            elements: a.elements.saturating_add(b.elements),
            through: a.through || b.through,
        })
    }

    /// What node `i` wants of its operand number `place`.
    fn through(&self, i: usize, place: usize) -> Option<Demand> {
        let (program, node) = (self.program, &self.program.nodes[i]);
        let id = node.inputs[place];
        let x = program.value(id)?;
        if self.kind.is(&node.op) {
            return (place == 0).then_some(Demand {
                leaf: i,
                elements: node.shape.elements(),
                through: false,
            });
        }
        let own = self.demands[program.node_value(i).index()]?;
        let at = |elements| {
            Some(Demand {
                elements,
                through: true,
                ..own
            })
        };
        let moves = matches!(
            node.op,
            Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Broadcast { .. }
        );
        if moves {
            return at(own.elements);
        }
        if self.kind == Kind::Lut {
            return None;
        }
        match &node.op {
            Op::Pad { .. } => at(own.elements),
            Op::Clamp { .. } if self.kind == Kind::Shift => {
                // The clamp is paid for at this place anyway, and the two become one look-up.
                at(own.elements.max(x.shape.elements()))
            }
            Op::ReduceMax { .. }
            | Op::Pool {
                kind: PoolKind::Max,
                ..
            } => {
                // Narrow maxima are worth more steps before them, where the operand is wide or is rounded or clamped
                // there anyway.
                let worth = match self.kind {
                    Kind::Shift => is_wide(x.range) || self.made_by(id, false),
                    _ => self.made_by(id, true),
                };
                at(if worth {
                    own.elements.max(x.shape.elements())
                } else {
                    own.elements
                })
            }
            Op::Max | Op::Concat { .. } => {
                let dynamic = |v: &ValueId| program.value(*v).is_some_and(|v| !v.constant);
                let grows = node.op == Op::Max
                    && match self.kind {
                        Kind::Shift => !is_wide(x.range),
                        _ => !node.inputs.iter().all(|&v| self.made_by(v, true)),
                    };
                if !node.inputs.iter().all(dynamic) || grows {
                    return None;
                }
                at(x.shape.elements())
            }
            _ => None,
        }
    }

    /// Whether a value comes from a clamp (or a shift, if asked), through reshapes and transposes.
    fn made_by(&self, mut id: ValueId, or_shift: bool) -> bool {
        let first = self.program.value_count() - self.program.nodes.len();
        loop {
            let Some(i) = id.index().checked_sub(first) else {
                return false;
            };
            let node = &self.program.nodes[i];
            match node.op {
                Op::Clamp { .. } => return true,
                Op::Shift { .. } => return or_shift,
                Op::Reshape { .. } | Op::Transpose { .. } => id = node.inputs[0],
                _ => return false,
            }
        }
    }
}

/// Rebuilds a program node by node.
struct Rebuild {
    new: Program,
    notes: Vec<ScaleNote>,
    /// Where each old value is now.
    now: Vec<ValueId>,
}

impl Rebuild {
    fn new(old: &Program) -> Self {
        Self {
            new: Program {
                nodes: Vec::with_capacity(old.nodes.len()),
                ..old.clone()
            },
            notes: Vec::new(),
            now: (0..old.value_count() as u32).map(ValueId).collect(),
        }
    }

    fn push(
        &mut self,
        op: Op,
        inputs: Vec<ValueId>,
        note: ScaleNote,
    ) -> Result<ValueId, ProgramError> {
        let index = self.new.nodes.len();
        let undefined = |value: &ValueId| ProgramError::UndefinedValue {
            node: index,
            value: value.0,
        };
        let operands = inputs
            .iter()
            .map(|id| self.new.value(*id).ok_or_else(|| undefined(id)))
            .collect::<Result<Vec<_>, _>>()?;
        let (shape, range) = Program::derive(index, &op, &operands)?;
        self.new.nodes.push(Node {
            op,
            inputs,
            shape,
            range,
        });
        self.notes.push(note);
        Ok(self.new.node_value(index))
    }

    fn inputs(&self, node: &Node) -> Vec<ValueId> {
        node.inputs.iter().map(|x| self.now[x.index()]).collect()
    }

    fn finish(mut self) -> (Program, Vec<ScaleNote>) {
        for out in &mut self.new.outputs {
            out.value = self.now[out.value.index()];
        }
        (self.new, self.notes)
    }
}

/// `op` with its constants replaced by what `step` makes of them; `range` is that of the operand before the step.
fn rewritten(op: &Op, step: &Op, range: Range) -> Op {
    let apply = |v: i64| match *step {
        Op::Shift { bits } => shift_round(v, bits),
        Op::Clamp { lo, hi } => v.clamp(lo, hi),
        _ => v,
    };
    match op {
        // Bounds outside the operand's range would overflow, and mean the same as its ends.
        Op::Clamp { lo, hi } => Op::Clamp {
            lo: apply(range.lo.clamp(*lo, *hi)),
            hi: apply(range.hi.clamp(*lo, *hi)),
        },
        Op::Pad {
            before,
            after,
            value,
        } => Op::Pad {
            before: before.clone(),
            after: after.clone(),
            value: apply(*value),
        },
        other => other.clone(),
    }
}

/// Moves all steps of one kind as far towards their producers as they go.
fn move_steps(
    program: &Program,
    notes: &[ScaleNote],
    kind: Kind,
) -> Result<(Program, Vec<ScaleNote>), ProgramError> {
    let demands = Demands::new(program, kind);
    let mut re = Rebuild::new(program);
    // Values that are already what the step makes of them.
    let mut done = vec![false; program.value_count()];
    // Applies the step that a value's users want right where the value is made.
    let apply = |re: &mut Rebuild, v: usize| -> Result<bool, ProgramError> {
        let Some(demand) = demands.demands[v].filter(|d| d.through) else {
            return Ok(false);
        };
        let (step, table) = demands.step(demand.leaf);
        let inputs = [&[re.now[v]], table].concat();
        re.now[v] = re.push(step.clone(), inputs, notes[demand.leaf].clone())?;
        Ok(true)
    };
    for (v, done) in done.iter_mut().enumerate().take(program.inputs.len()) {
        *done = apply(&mut re, v)?;
    }
    for (i, node) in program.nodes.iter().enumerate() {
        let v = program.node_value(i).index();
        let mut inputs = re.inputs(node);
        if kind.is(&node.op) {
            let x = node.inputs[0].index();
            re.now[v] = if done[x] {
                re.now[x]
            } else {
                re.push(node.op.clone(), inputs, notes[i].clone())?
            };
            done[v] = apply(&mut re, v)?;
            continue;
        }
        // Either every operand takes part, or none does: one that others use too gets a step of its own.
        let part = (0..node.inputs.len()).find_map(|place| demands.through(i, place));
        let Some(demand) =
            part.filter(|_| node.inputs.len() > 1 || node.inputs.iter().all(|x| done[x.index()]))
        else {
            re.now[v] = re.push(node.op.clone(), inputs, notes[i].clone())?;
            done[v] = apply(&mut re, v)?;
            continue;
        };
        let (step, table) = demands.step(demand.leaf);
        let note = &notes[demand.leaf];
        for (x, now) in node.inputs.iter().zip(&mut inputs) {
            if !done[x.index()] {
                // Others use this operand as it is.
                let inputs = [&[*now], table].concat();
                *now = re.push(step.clone(), inputs, note.clone())?;
            }
        }
        let range = program
            .value(node.inputs[0])
            .map_or(node.range, |x| x.range);
        let here = ScaleNote {
            origin: notes[i].origin.clone(),
            exponent: note.exponent,
        };
        re.now[v] = re.push(rewritten(&node.op, step, range), inputs, here)?;
        done[v] = true;
    }
    Ok(re.finish())
}

/// Joins clamps of clamps and leaves out those that change nothing.
fn merge_clamps(
    program: &Program,
    notes: &[ScaleNote],
) -> Result<(Program, Vec<ScaleNote>), ProgramError> {
    let mut uses = vec![0usize; program.value_count()];
    let used = program.nodes.iter().flat_map(|n| &n.inputs);
    for v in used.chain(program.outputs.iter().map(|o| &o.value)) {
        uses[v.index()] += 1;
    }
    let mut re = Rebuild::new(program);
    // Whether a value is a clamp that is used once.
    let mut alone = vec![false; program.value_count()];
    for (i, node) in program.nodes.iter().enumerate() {
        let v = program.node_value(i).index();
        let mut inputs = re.inputs(node);
        let Op::Clamp { mut lo, mut hi } = node.op else {
            re.now[v] = re.push(node.op.clone(), inputs, notes[i].clone())?;
            continue;
        };
        let x = node.inputs[0].index();
        let operand = inputs[0];
        if let Some(range) = re.new.value(operand).map(|x| x.range)
            && lo <= range.lo
            && range.hi <= hi
        {
            re.now[v] = operand;
            alone[v] = alone[x] && uses[x] == 1 && uses[v] == 1;
            continue;
        }
        let first = re.new.value_count() - re.new.nodes.len();
        let inner = operand.index().checked_sub(first);
        if let Some(Node {
            op: Op::Clamp { lo: a, hi: b },
            inputs: beneath,
            ..
        }) = inner.map(|i| &re.new.nodes[i])
            && alone[x]
        {
            (lo, hi) = ((*a).clamp(lo, hi), (*b).clamp(lo, hi));
            inputs = beneath.clone();
        }
        re.now[v] = re.push(Op::Clamp { lo, hi }, inputs, notes[i].clone())?;
        alone[v] = uses[v] == 1;
    }
    Ok(re.finish())
}

/// Leaves out nodes that no output needs.
fn sweep(
    program: &Program,
    notes: &[ScaleNote],
) -> Result<(Program, Vec<ScaleNote>), ProgramError> {
    let mut needed = vec![false; program.value_count()];
    for out in &program.outputs {
        needed[out.value.index()] = true;
    }
    for (i, node) in program.nodes.iter().enumerate().rev() {
        if needed[program.node_value(i).index()] {
            node.inputs.iter().for_each(|x| needed[x.index()] = true);
        }
    }
    let mut re = Rebuild::new(program);
    for (i, node) in program.nodes.iter().enumerate() {
        let v = program.node_value(i).index();
        if needed[v] {
            let inputs = re.inputs(node);
            re.now[v] = re.push(node.op.clone(), inputs, notes[i].clone())?;
        }
    }
    Ok(re.finish())
}
