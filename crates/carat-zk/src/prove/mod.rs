//! The prover.

mod fold;
mod gkr;
mod join;
mod lookups;
mod values;

use crate::kernels::{Vector, eq_products, eq_vector, product, product_base, triple};
use crate::{
    Error, Instance, Profile, Proof,
    claims::{Claims, ValueClaim},
    field::{E, F, int},
    graph::{Id, Kind, Rows, Table},
    hide::{
        self,
        random::{Purpose, Random},
    },
    io,
    key::{Hidden, Mode, ModelKey},
    layout::{
        self, AxisMap, bits, eq_table, flat_eq, padded_positions, reshape_groups, split, valid,
        vars,
    },
    pcs::{ProverData, Root, Use, Whir},
    plan::{Plan, weights_stores},
    store::{Piece, Store},
    transcript::Sink,
    verify::{ContractShape, TensorClaim, joint_root, permuted, powers, statement, summed},
};
use carat_program::{Program, Tensor, Weights};
use carat_receipt::Digest;
use core::ops::Range;
use fold::{Axis, Ints, evaluate, fold, pad};
use lookups::padded;
use p3_field::{Field, PrimeCharacteristicRing};
use rayon::prelude::*;
pub(crate) use values::Values;

pub use values::Run;

/// What the prover of one model keeps: the commitment to the constants. Made once, used for every proof.
#[derive(Debug, Clone)]
pub struct ProvingKey {
    key: ModelKey,
    data: Vec<ProverData>,
    /// The constants whose elements are all bytes, as bytes: a quarter of what steps have to read.
    bytes: Vec<Option<Vec<i8>>>,
}

impl ProvingKey {
    /// Commits to a model's constants. That they are the Program's is not looked at again: `weights` must have passed
    /// [`Weights::check`], above all where a relying party makes the key that it checks proofs under.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a Program that has no proof.
    pub fn new(program: &Program, weights: &Weights, profile: Profile) -> Result<Self, Error> {
        let dims: Vec<Vec<usize>> = program.constants.iter().map(|c| c.shape.dims()).collect();
        let tensors: Vec<(&[usize], &[i32])> = dims
            .iter()
            .zip(&weights.data)
            .map(|(d, v)| (&d[..], &v[..]))
            .collect();
        let mut data = Vec::new();
        for store in &weights_stores(program)? {
            let whir = Whir::new(profile, store.vars, Use::Weights)?;
            // So much at once that no box is cut: the whole, as field elements, would be four times what is kept of it.
            let part = PLACED.max(store.largest()).min(1 << store.vars);
            let values = |range| place(store, &tensors, range);
            data.push(whir.commit_parts(part, values)?.1);
        }
        let roots: Vec<Root> = data.iter().map(ProverData::root).collect();
        Ok(Self {
            key: ModelKey {
                program: program.digest(),
                profile,
                root: joint_root(&roots),
            },
            data,
            bytes: weights.data.iter().map(|v| bytes(v)).collect(),
        })
    }

    /// The public part.
    #[must_use]
    pub fn key(&self) -> &ModelKey {
        &self.key
    }

    /// The commitment of this key under the name of another, as a dishonest prover of the tests has it.
    #[cfg(test)]
    pub(crate) fn named(mut self, key: ModelKey) -> Self {
        self.key = key;
        self
    }
}

/// Constants that are placed at once.
const PLACED: usize = 1 << 21;

/// The elements as bytes, if all of them are.
fn bytes(values: &[i32]) -> Option<Vec<i8>> {
    values.iter().map(|&v| i8::try_from(v).ok()).collect()
}

/// A part of the prover's work, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Filling the witness columns.
    Witness,
    /// Committing to them.
    Commit,
    /// The lookup argument.
    Lookups,
    /// Sumchecks over the steps of the Program.
    Steps,
    /// Joining all claims on the witness, and opening it.
    OpenWitness,
    /// Joining all claims on the constants, and opening them.
    OpenWeights,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 6] = [
        Self::Witness,
        Self::Commit,
        Self::Lookups,
        Self::Steps,
        Self::OpenWitness,
        Self::OpenWeights,
    ];

    /// A short name for reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Witness => "witness",
            Self::Commit => "commit",
            Self::Lookups => "lookups",
            Self::Steps => "steps",
            Self::OpenWitness => "open witness",
            Self::OpenWeights => "open weights",
        }
    }
}

/// Hears about progress, and may stop a proof. It is called from one thread at a time, but not from the caller's.
pub trait Observer: Sync {
    /// A phase begins.
    fn begin(&self, phase: Phase);

    /// Whether to stop. Asked between steps.
    fn cancelled(&self) -> bool {
        false
    }
}

/// How to prove.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// A proof that would need more bytes is refused before it starts.
    pub memory_limit: u64,
    /// Who hears about progress.
    pub observer: Option<&'a dyn Observer>,
    /// What the proof lets be seen.
    pub mode: Mode,
    /// Where inputs and outputs are hidden: what each statement's `io/v1` commitment was made from.
    pub seeds: &'a [io::Seed],
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            memory_limit: 16 << 30,
            observer: None,
            mode: Mode::Succinct,
            seeds: &[],
        }
    }
}

impl Options<'_> {
    fn begin(&self, phase: Phase) -> Result<(), Error> {
        if let Some(o) = self.observer {
            o.begin(phase);
        }
        self.check()
    }

    fn check(&self) -> Result<(), Error> {
        if self.observer.is_some_and(Observer::cancelled) {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}

/// About how many bytes a proof of `statements` statements needs, the commitment to the constants included.
///
/// # Errors
/// [`Error::Unsupported`] for a Program that has no proof.
pub fn estimate_memory(program: &Program, statements: usize) -> Result<u64, Error> {
    memory(&Plan::new(program, statements)?)
}

fn memory(plan: &Plan) -> Result<u64, Error> {
    let size = |vars: usize| 1u64 << vars;
    // Values of the graph; then per committed value the value, its codeword and tree, the kernel and the folded halves;
    // per leaf both sides of the whole tree.
    let values: u64 = plan
        .graph
        .nodes
        .iter()
        .map(|n| 4 * n.dims.iter().product::<usize>() as u64)
        .sum();
    let mut constants = 0;
    for store in &plan.weights {
        // No profile changes what is kept.
        constants += Whir::new(Profile::Proven100, store.vars, Use::Weights)?.kept_bytes();
        // As bytes, a second time.
        constants += size(store.vars);
    }
    Ok(values + 110 * size(plan.witness.vars) + 110 * size(plan.leaves.vars) + constants)
}

/// A stretch of the polynomial of a store, which cuts no box: each tensor's elements in its boxes.
fn place(store: &Store, tensors: &[(&[usize], &[i32])], range: Range<usize>) -> Vec<F> {
    let mut out = F::zero_vec(range.len());
    // Boxes do not overlap, so each has a stretch of its own.
    let within = |piece: &&Piece| range.contains(&piece.block.offset);
    let mut pieces: Vec<&Piece> = store.pieces.iter().filter(within).collect();
    pieces.sort_by_key(|piece| piece.block.offset);
    let (mut rest, mut at) = (&mut out[..], range.start);
    let mut parts = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let range = piece.block.range();
        let (own, after) = core::mem::take(&mut rest)[range.start - at..].split_at_mut(range.len());
        parts.push((piece, own));
        (rest, at) = (after, range.end);
    }
    let parts = parts.into_par_iter().with_max_len(1);
    parts.for_each(|(piece, out)| {
        let (dims, data) = tensors[piece.tensor];
        place_box(piece, dims, data, out);
    });
    out
}

fn place_box(piece: &Piece, dims: &[usize], data: &[i32], out: &mut [F]) {
    /// Elements that one task converts.
    const RUN: usize = 1 << 14;
    let put = |out: &mut [F], data: &[i32]| {
        for (o, &v) in out.iter_mut().zip(data) {
            *o = F::from_i32(v);
        }
    };
    let lengths = piece.dims();
    if lengths == dims && piece.is_full() {
        out.par_chunks_mut(RUN)
            .zip(data.par_chunks(RUN))
            .for_each(|(out, data)| put(out, data));
        return;
    }
    // Row-major over the box: where each row lies in the tensor, and in the box.
    let (Some(&width), Some(&side)) = (lengths.last(), piece.sides.last()) else {
        out[0] = F::from_i32(data[0]);
        return;
    };
    let outer = lengths.len() - 1;
    let starts: Vec<usize> = piece.sides.iter().map(|s| s.start).collect();
    let slots = padded_positions(&lengths[..outer]);
    for (row, &slot) in slots.iter().enumerate() {
        let at = layout::unflatten(&lengths[..outer], row);
        let from = at
            .iter()
            .zip(&starts)
            .zip(dims)
            .fold(0, |f, ((i, s), d)| f * d + i + s)
            * dims[outer]
            + side.start;
        let to = slot << side.vars;
        put(&mut out[to..to + width], &data[from..]);
    }
}

/// Proves that a model gave these outputs for these inputs: one proof for all `instances`, each with the run that it
/// came from.
///
/// # Errors
/// [`Error::Unsupported`] for a Program that has no proof, [`Error::Values`] if runs and instances do not fit,
/// [`Error::Memory`] if it would need more memory than allowed, [`Error::Cancelled`].
pub fn prove(
    program: &Program,
    weights: &Weights,
    key: &ProvingKey,
    instances: &[Instance<'_>],
    runs: &[Run],
    options: &Options<'_>,
) -> Result<Proof, Error> {
    options.mode.check()?;
    if instances.len() != runs.len() || instances.is_empty() {
        return Err(Error::Values("one run is needed for each statement".into()));
    }
    for instance in instances {
        instance.check(program)?;
    }
    if matches!(options.mode, Mode::Zk(Hidden { values: true, .. }))
        && options.seeds.len() != instances.len()
    {
        return Err(Error::Values(
            "one seed is needed for each statement".into(),
        ));
    }
    let plan = Plan::new(program, instances.len())?;
    let needed = memory(&plan)?;
    if needed > options.memory_limit {
        return Err(Error::Memory {
            needed,
            allowed: options.memory_limit,
        });
    }
    // On one of the pool's own threads: from outside, each parallel loop would wake and wait for another thread.
    rayon::scope(|_| {
        options.begin(Phase::Witness)?;
        let values = Values::new(program, weights, &plan.graph, runs);
        values.check()?;
        prove_with(&plan, key, instances, &values, options)
    })
}

pub(crate) fn prove_with(
    plan: &Plan,
    key: &ProvingKey,
    instances: &[Instance<'_>],
    values: &Values<'_>,
    options: &Options<'_>,
) -> Result<Proof, Error> {
    let columns: Vec<(&[usize], &[i32])> = (plan.graph.columns.iter().zip(values.columns()))
        .map(|(c, values)| (&c.dims[..], values))
        .collect();
    options.begin(Phase::Commit)?;
    let polynomial = place(&plan.witness, &columns, 0..1 << plan.witness.vars);
    #[cfg(test)]
    let polynomial = crate::tests::hooks::committed(polynomial);
    let mut p = Prover {
        key,
        sink: Sink::new(statement(options.mode, &key.key, instances)),
        claims: Claims::new(plan.graph.nodes.len()),
        plan,
        values,
        ties: None,
    };
    if key.data.len() > 1 {
        for data in &key.data {
            p.sink.send_bytes("weights root", &data.root().0);
        }
    }
    match options.mode {
        Mode::Succinct => p.succinct(polynomial, options)?,
        Mode::Zk(hidden) => p.hiding(polynomial, hidden, instances, options)?,
    }
    debug_assert!(p.claims.is_empty());
    Ok(Proof {
        bytes: p.sink.finish(),
    })
}

struct Prover<'a, 'd> {
    key: &'a ProvingKey,
    sink: Sink,
    claims: Claims,
    plan: &'a Plan,
    values: &'a Values<'d>,
    /// Where values are hidden: the claims on each statement's inputs and outputs.
    ties: Option<Vec<Vec<TensorClaim<E>>>>,
}

impl Prover<'_, '_> {
    fn succinct(&mut self, polynomial: Vec<F>, options: &Options<'_>) -> Result<(), Error> {
        let scheme = Whir::new(self.key.key.profile, self.plan.witness.vars, Use::Witness)?;
        let (root, data) = scheme.commit(polynomial)?;
        self.sink.send_bytes("witness", &root.0);
        self.reduce(options)?;
        let point = self.open_witness(data.values());
        let _ = scheme.open_last(data, &point, &mut self.sink)?;
        self.open_constants(options)
    }

    /// The same argument, with every message under a pad, and a proof that what is under the pads passes all checks.
    fn hiding(
        &mut self,
        polynomial: Vec<F>,
        hidden: Hidden,
        instances: &[Instance<'_>],
        options: &Options<'_>,
    ) -> Result<(), Error> {
        let profile = self.key.key.profile;
        let key = self.key.key.digest();
        let flags = [hidden.values, hidden.weights].map(u8::from);
        let mut context: Vec<&[u8]> = vec![key.as_bytes(), &flags];
        context.extend(instances.iter().map(|i| &i.statement.as_bytes()[..]));
        let mut random = Random::fresh(&context)?;
        if hidden.values {
            self.ties = Some(vec![Vec::new(); instances.len()]);
        }
        let shape = hide::shape(self.plan, profile, hidden)?;
        let pads: Vec<E> = (0..shape.pads()).map(|_| random.e(Purpose::Pad)).collect();
        let (root, equations) = shape.commit(&pads, &mut random);
        self.sink.send_bytes("pads", &root.0);
        let scheme = hide::witness::Scheme::new(profile, self.plan.witness.vars);
        let (root, data) = scheme.commit(polynomial, &mut random);
        self.sink.send_bytes("witness", &root.0);
        self.sink.hide(pads);
        self.reduce(options)?;
        let point = self.open_witness(data.values());
        scheme.open(data, &point, &mut self.sink);
        self.open_constants(options)?;
        if let Some(ties) = self.ties.take() {
            let table = hide::table(self.plan)?;
            for ((claims, instance), seed) in ties.iter().zip(instances).zip(options.seeds) {
                let committed = committed(&self.key.key.program, instance, seed)?;
                hide::io::prove(
                    profile,
                    &committed,
                    &table,
                    claims,
                    &mut random,
                    &mut self.sink,
                );
            }
        }
        let (script, mut pads) = self.sink.unhide();
        pads.fill(E::ZERO);
        let tape = hide::retrace(self.plan, profile, hidden, script)?;
        shape.prove(equations, &tape, &mut self.sink);
        Ok(())
    }

    /// From the statements to claims on committed values.
    fn reduce(&mut self, options: &Options<'_>) -> Result<(), Error> {
        self.edges();
        options.begin(Phase::Lookups)?;
        self.lookups();
        options.begin(Phase::Steps)?;
        self.walk(options)?;
        options.begin(Phase::OpenWitness)
    }

    fn open_constants(&mut self, options: &Options<'_>) -> Result<(), Error> {
        if !self.plan.has_constants() {
            return Ok(());
        }
        options.begin(Phase::OpenWeights)?;
        let key = self.key;
        let polynomials: Vec<_> = key.data.iter().map(ProverData::values).collect();
        let mut join = self.join(false, &polynomials);
        for (i, (store, data)) in self.plan.weights.iter().zip(&key.data).enumerate() {
            let point = self.open_weights(&mut join, i, data.values());
            let whir = Whir::new(key.key.profile, store.vars, Use::Weights)?;
            let _ = self.sink.aside(|sink| whir.open(data, &point, sink))?;
        }
        Ok(())
    }

    fn dims(&self, id: Id) -> &[usize] {
        &self.plan.graph.nodes[id].dims
    }

    fn evaluate(&self, id: Id, point: &[E]) -> E {
        evaluate(self.dims(id), self.ints(id), point)
    }

    /// The elements of a value, in the smallest form there is.
    fn ints(&self, id: Id) -> Ints<'_> {
        match self.values.constant(id).map(|c| &self.key.bytes[c]) {
            Some(Some(bytes)) => Ints::Bytes(bytes),
            _ => Ints::Wide(self.values.get(id)),
        }
    }

    fn edges(&mut self) {
        let graph = &self.plan.graph;
        let ids: Vec<Id> = graph.inputs.iter().chain(&graph.outputs).copied().collect();
        for (tensor, id) in ids.into_iter().enumerate() {
            let dims = self.dims(id).to_vec();
            let leading = !matches!(graph.nodes[id].kind, Kind::Constant(_));
            let (slots, own) = if leading {
                (dims[0], &dims[1..])
            } else {
                (1, &dims[..])
            };
            let point = self.sink.transcript.point(vars(own));
            let data = self.values.get(id);
            let size: usize = own.iter().product();
            let sent: Vec<E> = data
                .chunks(size)
                .map(|d| evaluate(own, Ints::Wide(d), &point))
                .collect();
            if let Some(ties) = &mut self.ties {
                self.sink.send("edge", &sent);
                for (slot, claims) in ties.iter_mut().enumerate() {
                    let value = sent[if leading { slot } else { 0 }];
                    claims.push((tensor, point.clone(), value));
                }
            } else {
                self.sink.send_clear("edge", &sent);
            }
            let lead = if leading {
                self.sink.transcript.point(bits(slots))
            } else {
                vec![]
            };
            let value = layout::dot_eq(&sent, &lead);
            self.claims.push(id, [lead, point].concat(), value);
        }
    }

    fn walk(&mut self, options: &Options<'_>) -> Result<(), Error> {
        for id in (0..self.plan.graph.nodes.len()).rev() {
            options.check()?;
            let node = &self.plan.graph.nodes[id];
            if matches!(node.kind, Kind::Column(_) | Kind::Constant(_)) {
                continue;
            }
            let mut claims = self.claims.take(id);
            let claim = match claims.len() {
                0 => continue,
                1 => claims.remove(0),
                _ => self.merge(id, &claims),
            };
            self.settle(id, &claim);
        }
        Ok(())
    }

    fn merge(&mut self, id: Id, claims: &[ValueClaim]) -> ValueClaim {
        let gamma = self.sink.transcript.challenge();
        let powers = powers(gamma, claims.len());
        let sum = claims.iter().zip(&powers).map(|(c, &g)| c.value * g).sum();
        let positions = positions(self.dims(id));
        let size = 1 << vars(self.dims(id));
        let elements = self.values.get(id);
        let kernel = || {
            let mut kernels: Vec<Vector> = claims
                .par_iter()
                .zip(&powers)
                .map(|(c, &g)| eq_vector(&c.point, g))
                .collect();
            let mut sum = kernels.swap_remove(0);
            kernels
                .iter()
                .for_each(|k| crate::kernels::add(&mut sum, k));
            sum
        };
        let (values, kernel) = rayon::join(|| padded(elements, positions.as_deref(), size), kernel);
        let (point, value) = product_base(&mut self.sink, sum, &values, kernel);
        self.sink.send("merged", &[value]);
        ValueClaim { point, value }
    }

    fn settle(&mut self, id: Id, claim: &ValueClaim) {
        let plan = self.plan;
        let node = &plan.graph.nodes[id];
        let (point, value) = (&claim.point, claim.value);
        match &node.kind {
            Kind::Column(_) | Kind::Constant(_) => unreachable!("committed values are opened"),
            Kind::Linear { terms, bias } => {
                // The last one follows from the claim, unless its factor is zero.
                let last = terms.last().map(|&(c, _)| int(c).try_inverse());
                let known = terms.len() - usize::from(matches!(last, Some(Some(_))));
                let at = |&(_, x): &(i64, Id)| self.evaluate(x, point);
                let mut sent: Vec<E> = terms[..known].par_iter().map(at).collect();
                if let Some(Some(inverse)) = last {
                    let known = terms.iter().zip(&sent).map(|(&(c, _), &v)| v * int(c));
                    let bias = valid(&node.dims, point) * int(*bias);
                    sent.push((value - bias - known.sum::<E>()) * inverse);
                }
                self.sink.send("terms", &sent);
                for (&(_, x), &v) in terms.iter().zip(&sent) {
                    self.claims.push(x, point.clone(), v);
                }
            }
            // The verifier knows it.
            Kind::Ramp { .. } => {}
            Kind::Axes { x, maps } => self.axes(*x, maps, &node.dims, point, value),
            Kind::Reshape(x) => self.reshape(*x, &node.dims, point, value),
            Kind::Permute { x, perm } => {
                self.claims
                    .push(*x, permuted(&node.dims, perm, point), value)
            }
            Kind::Sum { x, axes } => {
                let (point, scale) = summed(self.dims(*x), axes, point);
                self.claims.push(*x, point, value * scale);
            }
            Kind::Mul(a, b) => {
                let whole = |id: Id| {
                    let keep = vec![Axis::Keep; self.dims(id).len()];
                    Vector::new(fold(self.dims(id), self.ints(id), &keep))
                };
                let factors = vec![[whole(*a), whole(*b)]];
                let (at, ends) = eq_products(&mut self.sink, value, point, factors);
                self.sink.send("factors", &ends[0]);
                self.claims.push(*a, at.clone(), ends[0][0]);
                self.claims.push(*b, at, ends[0][1]);
            }
            Kind::Contract {
                a,
                b,
                a_labels,
                b_labels,
                out_labels,
            } => {
                let shape = ContractShape::new(self.dims(*a), a_labels, b_labels, out_labels);
                let out = split(&node.dims, point);
                // Each operand with its own axes bound, and its shared axes in the common order.
                let operand = |id: Id, labels: &[u8]| -> Vec<E> {
                    let axes: Vec<Axis<'_>> = labels
                        .iter()
                        .map(|l| match out_labels.iter().position(|o| o == l) {
                            Some(i) if !shape.shared.iter().any(|(s, _)| s == l) => {
                                Axis::Bind(out[i])
                            }
                            _ => Axis::Keep,
                        })
                        .collect();
                    let folded = fold(self.dims(id), self.ints(id), &axes);
                    let kept: Vec<(u8, usize)> = labels
                        .iter()
                        .zip(self.dims(id))
                        .filter(|(l, _)| shape.shared.iter().any(|(s, _)| s == *l))
                        .map(|(&l, &d)| (l, d))
                        .collect();
                    reorder(folded, &kept, &shape.shared)
                };
                let (va, vb) = rayon::join(|| operand(*a, a_labels), || operand(*b, b_labels));
                let (at, ea, eb) = if shape.batched() {
                    let batch: Vec<&[E]> = shape.shared[..shape.batch]
                        .iter()
                        .map(|(l, _)| {
                            out_labels
                                .iter()
                                .position(|o| o == l)
                                .map_or(&[][..], |i| out[i])
                        })
                        .collect();
                    let inner = vars(&shape.dims()[shape.batch..]);
                    let weights = eq_table(&batch.concat())
                        .into_iter()
                        .flat_map(|e| core::iter::repeat_n(e, 1 << inner))
                        .collect();
                    triple(&mut self.sink, value, weights, va, vb)
                } else {
                    product(&mut self.sink, value, Vector::new(va), Vector::new(vb))
                };
                self.sink.send("operands", &[ea, eb]);
                let pa = shape.operand(a_labels, self.dims(*a), out_labels, &node.dims, point, &at);
                let pb = shape.operand(b_labels, self.dims(*b), out_labels, &node.dims, point, &at);
                self.claims.push(*a, pa, ea);
                self.claims.push(*b, pb, eb);
            }
            Kind::Conv { x, w, maps } => self.conv(*x, *w, maps, &node.dims, point, value),
        }
    }

    fn axes(&mut self, x: Id, maps: &[AxisMap], to: &[usize], point: &[E], value: E) {
        let from = self.dims(x).to_vec();
        let out = split(to, point);
        let moved = |a: usize| !maps[a].is_identity(from[a], to[a]);
        let axes: Vec<Axis<'_>> = (0..from.len())
            .map(|a| {
                if moved(a) {
                    Axis::Keep
                } else {
                    Axis::Bind(out[a])
                }
            })
            .collect();
        let values = fold(&from, self.ints(x), &axes);
        let mut kernel = vec![E::ONE];
        for a in (0..from.len()).filter(|&a| moved(a)) {
            let mut k = maps[a].kernel(
                from[a],
                to[a],
                &eq_table(out[a]),
                &vec![E::ONE; maps[a].taps],
            );
            k.resize(1 << bits(from[a]), E::ZERO);
            kernel = tensor(&kernel, &k);
        }
        let (at, sent, _) = product(
            &mut self.sink,
            value,
            Vector::new(values),
            Vector::new(kernel),
        );
        self.sink.send("mapped", &[sent]);
        let (mut next, mut used) = (Vec::new(), 0);
        for a in 0..from.len() {
            if moved(a) {
                next.extend_from_slice(&at[used..used + bits(from[a])]);
                used += bits(from[a]);
            } else {
                next.extend_from_slice(out[a]);
            }
        }
        self.claims.push(x, next, sent);
    }

    fn reshape(&mut self, x: Id, to: &[usize], point: &[E], value: E) {
        let from = self.dims(x).to_vec();
        let groups = reshape_groups(&from, to);
        let out = split(to, point);
        if groups
            .iter()
            .all(|g| g.free || vars(&from[g.from.clone()]) == 0)
        {
            self.claims.push(x, point.to_vec(), value);
            return;
        }
        let mut kernel = vec![E::ONE];
        let mut bound: Vec<(Vec<usize>, Vec<E>)> = Vec::new();
        let mut axes = Vec::new();
        for g in &groups {
            let part = out[g.to.clone()].concat();
            let dims = &from[g.from.clone()];
            if g.free {
                bound.push((dims.to_vec(), part));
            } else {
                let flat = flat_eq(&to[g.to.clone()], &part);
                kernel = tensor(&kernel, &pad(dims, flat));
            }
        }
        let mut free = bound.iter();
        for g in &groups {
            if g.free {
                let (dims, part) = free.next().expect("one entry per free group");
                axes.extend(split(dims, part).into_iter().map(Axis::Bind));
            } else {
                axes.extend(g.from.clone().map(|_| Axis::Keep));
            }
        }
        let values = fold(&from, self.ints(x), &axes);
        let (at, sent, _) = product(
            &mut self.sink,
            value,
            Vector::new(values),
            Vector::new(kernel),
        );
        self.sink.send("reshaped", &[sent]);
        let (mut next, mut used, mut free) = (Vec::new(), 0, bound.iter());
        for g in &groups {
            if g.free {
                next.extend_from_slice(&free.next().expect("one entry per free group").1);
            } else {
                let n = vars(&from[g.from.clone()]);
                next.extend_from_slice(&at[used..used + n]);
                used += n;
            }
        }
        self.claims.push(x, next, sent);
    }

    fn conv(&mut self, x: Id, w: Id, maps: &[AxisMap], to: &[usize], point: &[E], value: E) {
        let (xd, wd) = (self.dims(x).to_vec(), self.dims(w).to_vec());
        let out = split(to, point);
        let inner: Vec<usize> = core::iter::once(wd[0])
            .chain(wd[2..].iter().copied())
            .collect();
        // The kernel with its output channels bound, and the window sums of the input for each tap.
        let mut weight_axes = vec![Axis::Keep, Axis::Bind(out[3])];
        weight_axes.extend(wd[2..].iter().map(|_| Axis::Keep));
        let mut axes = vec![
            Axis::Bind(out[0]),
            Axis::Bind(out[1]),
            Axis::Keep,
            Axis::Keep,
        ];
        for (a, map) in maps.iter().enumerate() {
            let eq = eq_table(out[4 + a]);
            let taps = (0..map.taps)
                .map(|t| {
                    let only: Vec<E> = (0..map.taps)
                        .map(|s| if s == t { E::ONE } else { E::ZERO })
                        .collect();
                    map.kernel(xd[4 + a], to[4 + a], &eq, &only)
                })
                .collect();
            axes.push(Axis::Map(taps));
        }
        let (kernels, image) = (self.ints(w), self.ints(x));
        let (weights, windows) = rayon::join(
            || fold(&wd, kernels, &weight_axes),
            || fold(&xd, image, &axes),
        );
        let (at, ew, ex) = if wd[0] > 1 {
            let rest = vars(&inner[1..]);
            let eq = eq_table(out[2])
                .into_iter()
                .flat_map(|e| core::iter::repeat_n(e, 1 << rest))
                .collect();
            triple(&mut self.sink, value, eq, weights, windows)
        } else {
            product(
                &mut self.sink,
                value,
                Vector::new(weights),
                Vector::new(windows),
            )
        };
        self.sink.send("kernel and window", &[ew, ex]);
        let parts = split(&inner, &at);
        self.claims
            .push(w, [parts[0], out[3], &parts[1..].concat()].concat(), ew);
        // Over positions, with everything else bound.
        let mut axes = vec![
            Axis::Bind(out[0]),
            Axis::Bind(out[1]),
            Axis::Bind(parts[0]),
            Axis::Bind(parts[1]),
        ];
        axes.extend(maps.iter().map(|_| Axis::Keep));
        let image = fold(&xd, self.ints(x), &axes);
        let mut kernel = vec![E::ONE];
        for (a, map) in maps.iter().enumerate() {
            let mut k = map.kernel(
                xd[4 + a],
                to[4 + a],
                &eq_table(out[4 + a]),
                &eq_table(parts[2 + a]),
            );
            k.resize(1 << bits(xd[4 + a]), E::ZERO);
            kernel = tensor(&kernel, &k);
        }
        let (at, sent, _) = product(&mut self.sink, ex, Vector::new(image), Vector::new(kernel));
        self.sink.send("window", &[sent]);
        self.claims
            .push(x, [out[0], out[1], parts[0], parts[1], &at].concat(), sent);
    }
}

/// The values of a statement under its commitment.
fn committed(
    program: &Digest,
    instance: &Instance<'_>,
    seed: &io::Seed,
) -> Result<io::Committed, Error> {
    let missing = |what: &str| Error::Values(format!("a statement to be hidden has no {what}"));
    let values = instance.values.ok_or_else(|| missing("values"))?;
    let root = instance.io.ok_or_else(|| missing("io/v1 commitment"))?;
    let tensors: Vec<&Tensor> = values.inputs.iter().chain(values.outputs).collect();
    let committed = io::Committed::new(program, &tensors, seed)?;
    if committed.root != root {
        return Err(Error::Values(
            "a statement's io/v1 commitment is not that of its values and salts".into(),
        ));
    }
    Ok(committed)
}

/// Padded positions of a tensor's elements, or `None` where there is no padding.
fn positions(dims: &[usize]) -> Option<Vec<usize>> {
    if dims.iter().all(|d| d.is_power_of_two()) {
        None
    } else {
        Some(padded_positions(dims))
    }
}

/// Entry t of a table; beyond its length, what its polynomial gives there. What a table of values holds is not here.
fn entry(table: &Table, t: usize) -> [i64; 2] {
    let i = t as i64;
    match table.rows {
        Rows::Range => [i, 0],
        Rows::Step { start } => [i + start, i64::from(i + start >= 0)],
        Rows::Clamp { start, lo, hi } => [i + start, (i + start).clamp(lo, hi)],
        Rows::Value { start } => [i + start, 0],
    }
}

fn tensor(a: &[E], b: &[E]) -> Vec<E> {
    a.iter()
        .flat_map(|&x| b.iter().map(move |&y| x * y))
        .collect()
}

/// Moves padded axes into another order.
fn reorder(values: Vec<E>, have: &[(u8, usize)], want: &[(u8, usize)]) -> Vec<E> {
    if have == want {
        return values;
    }
    let sizes: Vec<usize> = have.iter().map(|&(_, d)| 1 << bits(d)).collect();
    let mut strides = vec![1usize; have.len()];
    for a in (0..have.len().saturating_sub(1)).rev() {
        strides[a] = strides[a + 1] * sizes[a + 1];
    }
    let order: Vec<(usize, usize)> = want
        .iter()
        .filter_map(|w| have.iter().position(|h| h == w))
        .map(|i| (sizes[i], strides[i]))
        .collect();
    let mut positions = vec![0usize];
    for (size, stride) in order {
        positions = positions
            .iter()
            .flat_map(|&p| (0..size).map(move |i| p + i * stride))
            .collect();
    }
    positions.into_iter().map(|p| values[p]).collect()
}
