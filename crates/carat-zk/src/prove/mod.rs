//! The prover.

mod ahead;
mod fold;
mod gkr;
mod hiding;
mod join;
mod key;
mod lookups;
mod register;
mod secret;
mod steps;
mod values;

use crate::{
    Error, Instance, Profile, Proof,
    aside::on_pool,
    claims::Claims,
    field::{self, E, F},
    graph::{Id, Kind, Rows, Table},
    hide::{
        self,
        random::{Purpose, Random},
    },
    io,
    key::{Hidden, Mode},
    layout::{self, bits, padded_positions, vars},
    pcs::{ProverData, Use, Whir},
    plan::Plan,
    registration,
    transcript::{Sink, Transcript},
    verify::{TensorClaim, statement},
};
use ahead::{Ahead, Opening};
use carat_program::{Ints, Program, Tensor, Weights};
use carat_receipt::Digest;
use fold::{evaluate, evaluate_each};
use key::place;
use p3_field::PrimeCharacteristicRing;
pub(crate) use values::Values;

#[cfg(test)]
pub(crate) use register::prove_registration;
pub use {key::ProvingKey, register::register, secret::WeightsSecret, values::Run};

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
    /// Joining all claims on the constants, and opening them: what is left of that where another thread did some of it
    /// while the witness was opened.
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

/// Hears about progress, and may stop a proof. It is called from one thread at a time, which need not be the
/// caller's.
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
    fn fits(&self, needed: u64) -> Result<(), Error> {
        if needed > self.memory_limit {
            return Err(Error::Memory {
                needed,
                allowed: self.memory_limit,
            });
        }
        Ok(())
    }

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
    memory(&Plan::new(program, statements)?, Mode::Succinct)
}

/// About how many bytes a registration needs, the commitment to the constants included.
///
/// # Errors
/// [`Error::Unsupported`] for a Program that has none.
pub fn estimate_registration_memory(program: &Program) -> Result<u64, Error> {
    memory(
        &Plan::registration(program)?,
        Mode::Zk(registration::HIDDEN),
    )
}

fn memory(plan: &Plan, mode: Mode) -> Result<u64, Error> {
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
        constants += if mode.hidden().weights {
            hide::weights::Scheme::new(Profile::Proven100, store)?.kept_bytes()
        } else {
            Whir::new(Profile::Proven100, store.vars, Use::Weights)?.kept_bytes()
        };
    }
    Ok(values + 110 * size(plan.witness.vars) + 110 * size(plan.leaves.vars) + constants)
}

/// Proves that a model gave these outputs for these inputs: one proof for all `instances`, each with the run that it
/// came from.
///
/// # Errors
/// [`Error::Unsupported`] for a Program that has no proof, [`Error::Values`] if runs and instances do not fit, or if the key
/// hides constants and was used before, [`Error::Memory`] if it would need more memory than allowed, [`Error::Cancelled`].
pub fn prove(
    program: &Program,
    weights: &Weights,
    key: &ProvingKey,
    instances: &[Instance<'_>],
    runs: &[Run],
    options: &Options<'_>,
) -> Result<Proof, Error> {
    if options.mode.hidden().weights != key.hides() {
        return Err(Error::Values(
            "a proof hides its constants if, and only if, its key does".into(),
        ));
    }
    if instances.len() != runs.len() || instances.is_empty() {
        return Err(Error::Values("one run is needed for each statement".into()));
    }
    for instance in instances {
        instance.check(program)?;
    }
    for run in runs {
        run.check(program)?;
    }
    if options.mode.hidden().values && options.seeds.len() != instances.len() {
        return Err(Error::Values(
            "one seed is needed for each statement".into(),
        ));
    }
    let (plan, needed) = key.last_plan.of(program, instances.len(), options.mode)?;
    options.fits(needed)?;
    key.spend()?;
    // From outside, each parallel loop would wake and wait for another thread.
    on_pool(|| {
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
    let transcript = statement(options.mode, &key.key, instances);
    prove_from(transcript, plan, key, instances, values, options)
}

/// [`prove_with`] after what is public, as the transcript has it.
fn prove_from(
    transcript: Transcript,
    plan: &Plan,
    key: &ProvingKey,
    instances: &[Instance<'_>],
    values: &Values<'_>,
    options: &Options<'_>,
) -> Result<Proof, Error> {
    let columns: Vec<(&[usize], Ints<'_>)> = (plan.graph.columns.iter().zip(values.columns()))
        .map(|(c, values)| (&c.dims[..], values.into()))
        .collect();
    options.begin(Phase::Commit)?;
    let polynomial = place(&plan.witness, &columns, 0..1 << plan.witness.vars);
    #[cfg(test)]
    let polynomial = crate::tests::hooks::committed(polynomial);
    let mut p = Prover {
        key,
        sink: Sink::new(transcript),
        claims: Claims::new(plan.graph.nodes.len()),
        plan,
        values,
        ties: None,
        ahead: Ahead::new(plan),
    };
    if key.data.len() > 1 {
        for data in &key.data {
            p.sink.send_bytes("weights root", &data.root().0);
        }
    }
    if let Some(data) = &key.hidden {
        data.send(&mut p.sink);
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
    ahead: Ahead<'a>,
}

impl<'a> Prover<'a, '_> {
    fn succinct(&mut self, polynomial: Vec<F>, options: &Options<'_>) -> Result<(), Error> {
        let scheme = Whir::new(self.key.key.profile, self.plan.witness.vars, Use::Witness)?;
        let (root, data) = scheme.commit(polynomial)?;
        self.sink.send_bytes("witness", &root.0);
        let constants = rayon::in_place_scope(|scope| {
            let unless_done = self.ahead.abandoned();
            let opened = self.reduce_and_open(&scheme, &data, options, scope)?;
            unless_done.keep();
            Ok::<_, Error>(opened)
        })?;
        if let Some(constants) = constants {
            let opened = self.end_constants(constants)?;
            self.sink.append(&opened);
        }
        Ok(())
    }

    /// Opens the witness, while the opening of the constants may be made beside.
    fn reduce_and_open(
        &mut self,
        scheme: &Whir,
        data: &ProverData,
        options: &Options<'_>,
        scope: &rayon::Scope<'a>,
    ) -> Result<Option<Opening>, Error> {
        self.reduce(options, scope)?;
        let constants = self.begin_constants(scope);
        let point = self.open_witness(data.values());
        let _ = scheme.open(data, &point, &mut self.sink)?;
        if constants.is_some() {
            options.begin(Phase::OpenWeights)?;
            self.ahead.finish();
        }
        Ok(constants)
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
        // Everything that is absorbed before the first pad, and so every reason why challenges could be others.
        let mut context = Vec::new();
        field::write(&self.sink.transcript.clone().derived(2), &mut context);
        let mut random = Random::fresh(&[&context])?;
        if hidden.values {
            self.ties = Some(vec![Vec::new(); instances.len()]);
        }
        let table = hidden.values.then(|| hide::table(self.plan)).transpose()?;
        let (mut edges, mut secrets) = (Vec::new(), Vec::new());
        if let Some(table) = &table {
            for (instance, seed) in instances.iter().zip(options.seeds) {
                let committed = committed(&self.key.key.program, instance, seed)?;
                #[cfg(test)]
                let committed = io::Committed {
                    rows: crate::tests::hooks::rows(committed.rows),
                    ..committed
                };
                secrets.extend_from_slice(hide::io::secrets(table, &committed));
                edges.push(committed);
            }
        }
        let shape = hide::shape(self.plan, profile, hidden)?;
        let pads: Vec<E> = (0..shape.pads()).map(|_| random.e(Purpose::Pad)).collect();
        let (root, equations) = shape.commit(&pads, &secrets, &mut random);
        self.sink.send_bytes("pads", &root.0);
        let scheme = hide::witness::Scheme::new(profile, self.plan.witness.vars);
        let (root, data) = scheme.commit(polynomial, &mut random);
        self.sink.send_bytes("witness", &root.0);
        self.sink.hide(pads);
        rayon::in_place_scope(|scope| {
            let unless_done = self.ahead.abandoned();
            self.reduce(options, scope)?;
            let point = self.open_witness(data.values());
            scheme.open(data, &point, &mut self.sink);
            self.ahead.finish();
            unless_done.keep();
            Ok::<(), Error>(())
        })?;
        match &self.key.hidden {
            Some(data) => self.open_hidden(data, &mut random, options)?,
            None if self.plan.has_constants() => {
                options.begin(Phase::OpenWeights)?;
                self.open_constants()?;
            }
            None => {}
        }
        if let (Some(ties), Some(table)) = (self.ties.take(), &table) {
            for (claims, edges) in ties.iter().zip(&edges) {
                hide::io::prove(profile, edges, table, claims, &mut self.sink);
            }
        }
        let (script, mut pads) = self.sink.unhide();
        pads.fill(E::ZERO);
        let pin = self.key.hidden.as_ref().map(|data| data.pin.clone());
        let tape = hide::retrace(self.plan, profile, hidden, pin, script)?;
        shape.prove(equations, &tape, &mut self.sink);
        Ok(())
    }

    /// From the statements to claims on committed values.
    fn reduce(&mut self, options: &Options<'_>, scope: &rayon::Scope<'a>) -> Result<(), Error> {
        self.edges();
        options.begin(Phase::Lookups)?;
        self.lookups();
        options.begin(Phase::Steps)?;
        self.walk(options, scope)?;
        options.begin(Phase::OpenWitness)
    }

    fn open_constants(&mut self) -> Result<(), Error> {
        let key = self.key;
        let polynomials: Vec<_> = key.data.iter().map(ProverData::values).collect();
        let mut join = self.join(false, &polynomials, None);
        for (i, (store, data)) in self.plan.weights.iter().zip(&key.data).enumerate() {
            let (point, value) = self.open_weights(&mut join, i, data.values());
            self.sink.send_clear("opened", &[value]);
            let whir = Whir::new(key.key.profile, store.vars, Use::Weights)?;
            let _ = self.sink.aside(|sink| whir.open(data, &point, sink))?;
        }
        Ok(())
    }

    fn open_hidden(
        &mut self,
        data: &hide::weights::Data,
        random: &mut Random,
        options: &Options<'_>,
    ) -> Result<(), Error> {
        options.begin(Phase::OpenWeights)?;
        let mut join = self.join(false, &[data.values()], Some(&data.pin));
        let (point, value) = self.open_weights(&mut join, 0, data.values());
        self.sink.send("opened", &[value]);
        let scheme = hide::weights::Scheme::new(self.key.key.profile, &self.plan.weights[0])?;
        scheme.open(data, &point, random, &mut self.sink)
    }

    fn dims(&self, id: Id) -> &[usize] {
        &self.plan.graph.nodes[id].dims
    }

    fn evaluate(&self, id: Id, point: &[E]) -> E {
        evaluate(self.dims(id), self.ints(id), point)
    }

    /// The elements of a value, in the smallest form there is.
    fn ints(&self, id: Id) -> Ints<'_> {
        match self.values.constant(id) {
            Some(constant) => constant.ints(),
            None => Ints::Wide(self.values.get(id)),
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
            let sent = evaluate_each(own, self.values.get(id), &point);
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
