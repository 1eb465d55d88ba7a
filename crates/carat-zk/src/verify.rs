//! The verifier.

use crate::{
    Error, Instance, Profile, Proof,
    checks::Checks,
    claims::{Claims, ValueClaim},
    field::{E, int},
    gkr,
    graph::{Id, Kind},
    hide::{self, pin::Pin},
    key::{Hidden, Mode, ModelKey},
    layout::{
        self, AxisMap, dot_eq, eq, eq_index, eq_table, ramp, reshape_groups, reshape_kernel, split,
        valid, vars,
    },
    pcs::{Root, Use, Whir},
    plan::{Packing, Plan, row_vars},
    steps::{ContractShape, fingerprint, permuted, powers, row, summed},
    store::Store,
    sumcheck,
    transcript::{Source, Transcript},
};
use alloc::{vec, vec::Vec};
use carat_program::Program;
use carat_receipt::Digest;
use p3_field::PrimeCharacteristicRing;

/// Checks that a proof shows: the model behind `key` gave, for each of the statements, the outputs from the inputs that
/// its commitments hold. `instances` lists every statement that the proof covers, in its order; the values of at least
/// one must be known, or, where the mode hides them, the `io/v1` commitment of each: then values are not looked at, and
/// whoever holds some checks them against the commitment ([`crate::io::check`]). What is *not* checked here: that `key` is the model that the relying party means, that each
/// statement's commitments open to the values given, and that the argument has the profile's bits ([`crate::Ledger`]).
///
/// A key that nobody on the relying party's side computed, or has a computed one's word for, makes all of this void: what
/// its root stands for may be nothing at all (`docs/protocol-whir.md`, section 9).
///
/// # Errors
/// [`Error`] says what is wrong with the proof, or why the Program has none.
pub fn verify(
    program: &Program,
    key: &ModelKey,
    profile: Profile,
    mode: Mode,
    instances: &[Instance<'_>],
    proof: &Proof,
) -> Result<(), Error> {
    if !mode.hidden().values && !instances.iter().any(|i| i.values.is_some()) {
        return Err(Error::Values("no statement's values were given".into()));
    }
    for instance in instances {
        instance.check(program)?;
    }
    if key.program != program.digest() || key.profile != profile {
        return Err(Error::Check("the key's program and profile"));
    }
    let plan = Plan::of(program, instances.len(), mode)?;
    match mode {
        Mode::Succinct => succinct(&plan, key, instances, proof),
        Mode::Zk(hidden) => hide::verify(&plan, key, hidden, instances, proof),
    }
}

fn succinct(
    plan: &Plan,
    key: &ModelKey,
    instances: &[Instance<'_>],
    proof: &Proof,
) -> Result<(), Error> {
    let profile = key.profile;
    let witness = Whir::new(profile, plan.witness.vars, Use::Witness)?;
    let source = Source::new(statement(Mode::Succinct, key, instances), &proof.bytes);
    let mut v = Verifier::new(source, plan);
    let roots = weights_roots(&mut v.checks, plan, key)?;
    let root = read_root(&mut v.checks, "witness")?;
    v.reduce(instances)?;
    // Every claim is there: neither opening depends on the other.
    let constants = v.checks.transcript.fork("constants");
    let (point, value) = v.open_witness()?;
    witness.verify(&root, &point, value, &mut v.checks)?;
    if plan.has_constants() {
        v.checks.transcript = constants;
        let join = v.join(plan.weights.len(), false, None)?;
        for (i, (store, root)) in plan.weights.iter().zip(&roots).enumerate() {
            let (point, value) = v.open_weights(&join, i)?;
            Whir::new(profile, store.vars, Use::Weights)?.verify(
                root,
                &point,
                value,
                &mut v.checks,
            )?;
        }
    }
    v.done()?;
    v.checks.finish()
}

/// Everything public, absorbed before the first message.
pub(crate) fn statement(mode: Mode, key: &ModelKey, instances: &[Instance<'_>]) -> Transcript {
    let mut t = match mode {
        Mode::Succinct => Transcript::new("carat/zk/v1 succinct"),
        Mode::Zk(Hidden { values, weights }) => {
            let mut t = Transcript::new("carat/zk/v1 zk");
            t.bytes("hidden", &[values.into(), weights.into()]);
            t
        }
    };
    t.bytes("profile", key.profile.name().as_bytes());
    t.bytes("program", key.program.as_bytes());
    t.bytes("weights", &key.root.0);
    t.bytes("statements", &(instances.len() as u64).to_le_bytes());
    for instance in instances {
        t.bytes("statement", instance.statement.as_bytes());
        if let Some(root) = instance.io.filter(|_| mode.hidden().values) {
            t.bytes("io", root.as_bytes());
        }
    }
    t
}

/// The next message, a root.
pub(crate) fn read_root(source: &mut Source<'_>, label: &str) -> Result<Root, Error> {
    let bytes = source.receive_bytes(label, 32)?;
    Ok(Root(bytes.try_into().map_err(|_| Error::Truncated)?))
}

/// The roots of the constants' polynomials: the key's own, or two that it is the digest of.
pub(crate) fn weights_roots(
    source: &mut Source<'_>,
    plan: &Plan,
    key: &ModelKey,
) -> Result<Vec<Root>, Error> {
    if plan.weights.len() == 1 {
        return Ok(vec![key.root]);
    }
    let roots = (0..plan.weights.len())
        .map(|_| read_root(source, "weights root"))
        .collect::<Result<Vec<_>, _>>()?;
    check(joint_root(&roots) == key.root, "the roots of the constants")?;
    Ok(roots)
}

/// The verifier's part of the argument around the openings.
pub(crate) struct Verifier<'a, C: Checks> {
    pub(crate) checks: C,
    pub(crate) claims: Claims<C::V>,
    pub(crate) plan: &'a Plan,
    /// Where values are hidden: the claims on each statement's inputs and outputs.
    pub(crate) ties: Option<Vec<Vec<TensorClaim<C::V>>>>,
}

/// A claim on an input or an output of one statement: which of them all, the point, the value.
pub(crate) type TensorClaim<V> = (usize, Vec<E>, V);

impl<'a, C: Checks> Verifier<'a, C> {
    pub(crate) fn new(checks: C, plan: &'a Plan) -> Self {
        Self {
            checks,
            claims: Claims::new(plan.graph.nodes.len()),
            plan,
            ties: None,
        }
    }

    /// Values are hidden: what is said of them is kept, for the statements' commitments to answer.
    pub(crate) fn keep_ties(&mut self) {
        self.ties = Some(vec![Vec::new(); self.plan.statements]);
    }

    fn dims(&self, id: Id) -> &[usize] {
        &self.plan.graph.nodes[id].dims
    }

    /// From the statements to claims on committed values.
    pub(crate) fn reduce(&mut self, instances: &[Instance<'_>]) -> Result<(), Error> {
        self.edges(instances)?;
        self.lookups()?;
        self.walk()
    }

    /// Each claim is settled once. One that is left over would be one that nobody has checked.
    pub(crate) fn done(&self) -> Result<(), Error> {
        check(self.claims.is_empty(), "that every claim is settled")
    }

    /// Inputs and outputs: the committed tensors agree at a random point with the values that the verifier holds.
    fn edges(&mut self, instances: &[Instance<'_>]) -> Result<(), Error> {
        let ids: Vec<(Id, bool, usize)> = (self.plan.graph.inputs.iter().enumerate())
            .map(|(i, &id)| (id, false, i))
            .chain(
                self.plan
                    .graph
                    .outputs
                    .iter()
                    .enumerate()
                    .map(|(i, &id)| (id, true, i)),
            )
            .collect();
        for (tensor, (id, output, index)) in ids.into_iter().enumerate() {
            let dims = self.dims(id).to_vec();
            // A constant given out has no leading axis.
            let leading = !matches!(self.plan.graph.nodes[id].kind, Kind::Constant(_));
            let (slots, own) = if leading {
                (dims[0], &dims[1..])
            } else {
                (1, &dims[..])
            };
            let point = self.checks.point(vars(own));
            if self.ties.is_some() {
                let sent = self.checks.hear("edge", slots)?;
                let ties = self.ties.iter_mut().flatten().enumerate();
                for (slot, claims) in ties {
                    let value = sent[if leading { slot } else { 0 }];
                    claims.push((tensor, point.clone(), value));
                }
                let lead = if leading {
                    self.checks.point(layout::bits(slots))
                } else {
                    vec![]
                };
                let terms: Vec<_> = eq_table(&lead).into_iter().zip(sent).collect();
                let value = self.checks.sum(E::ZERO, &terms);
                self.claims.push(id, [lead, point].concat(), value);
                continue;
            }
            let sent = self.checks.clear("edge", slots)?;
            for (slot, instance) in instances.iter().enumerate() {
                let Some(values) = &instance.values else {
                    continue;
                };
                let tensor = if output {
                    &values.outputs[index]
                } else {
                    &values.inputs[index]
                };
                if layout::evaluate(own, tensor.data(), &point)
                    != sent[if leading { slot } else { 0 }]
                {
                    return Err(Error::Check(if output {
                        "the output"
                    } else {
                        "the input"
                    }));
                }
            }
            let lead = if leading {
                self.checks.point(layout::bits(slots))
            } else {
                vec![]
            };
            let value = self.checks.known(dot_eq(&sent, &lead));
            self.claims.push(id, [lead, point].concat(), value);
        }
        Ok(())
    }

    fn lookups(&mut self) -> Result<(), Error> {
        let (plan, graph) = (self.plan, &self.plan.graph);
        if graph.lookups.is_empty() {
            return Ok(());
        }
        let mix = self.checks.challenge();
        let alpha = self.checks.challenge();
        let leaf = gkr::verify(&mut self.checks, plan.leaves.vars)?;
        // Both polynomials of the leaves, from what is looked up and what tables hold.
        let (mut numerator, mut numerators) = (E::ZERO, Vec::new());
        let (mut denominator, mut denominators) = (E::ZERO, Vec::new());
        let mut covered = E::ZERO;
        for (i, lookup) in graph.lookups.iter().enumerate() {
            let block = plan.leaves.blocks[i];
            let (prefix, own) = plan.leaves.cut(block, &leaf.point);
            let weight = eq_index(prefix, Packing::prefix(block));
            let values = self.checks.hear("looked up", lookup.tuple.len())?;
            for (&id, &value) in lookup.tuple.iter().zip(&values) {
                self.claims.push(id, own.to_vec(), value);
            }
            numerator += weight * valid(self.dims(lookup.tuple[0]), own);
            denominator += weight * (alpha - fingerprint(&[E::ZERO], lookup.table, mix));
            let factors = [E::ONE, mix];
            denominators.extend(values.iter().zip(factors).map(|(&v, f)| (-weight * f, v)));
            covered += weight;
        }
        for (i, table) in graph.tables.iter().enumerate() {
            let block = plan.leaves.blocks[graph.lookups.len() + i];
            let (prefix, own) = plan.leaves.cut(block, &leaf.point);
            let weight = eq_index(prefix, Packing::prefix(block));
            let multiplicity = self.checks.hear("multiplicity", 1)?[0];
            self.claims.push(
                graph.column_nodes[table.multiplicity],
                own.to_vec(),
                multiplicity,
            );
            numerators.push((-weight, multiplicity));
            if let Some(id) = table.value {
                let value = self.checks.hear("table", 1)?[0];
                self.claims.push(id, own.to_vec(), value);
                denominators.push((-weight * mix, value));
            }
            denominator += weight * (alpha - fingerprint(&row(table, own), i, mix));
            covered += weight;
        }
        // What no block covers is 0/1.
        denominator += E::ONE - covered;
        numerators.push((-E::ONE, leaf.numerator));
        denominators.push((-E::ONE, leaf.denominator));
        for (constant, terms) in [(numerator, numerators), (denominator, denominators)] {
            let difference = self.checks.sum(constant, &terms);
            self.checks
                .zero(difference, "the lookup argument's leaves")?;
        }
        Ok(())
    }

    /// Settles the claims on every value, from the last to the first; what remains are claims on committed ones.
    fn walk(&mut self) -> Result<(), Error> {
        for id in (0..self.plan.graph.nodes.len()).rev() {
            let node = &self.plan.graph.nodes[id];
            if matches!(node.kind, Kind::Column(_) | Kind::Constant(_)) {
                continue;
            }
            let mut claims = self.claims.take(id);
            let claim = match claims.len() {
                0 => continue,
                1 => claims.remove(0),
                _ => self.merge(&claims)?,
            };
            self.settle(id, &claim)?;
        }
        Ok(())
    }

    /// Several claims on one value become one.
    fn merge(&mut self, claims: &[ValueClaim<C::V>]) -> Result<ValueClaim<C::V>, Error> {
        let gamma = self.checks.challenge();
        let powers = powers(gamma, claims.len());
        let terms: Vec<_> = powers
            .iter()
            .copied()
            .zip(claims.iter().map(|c| c.value))
            .collect();
        let sum = self.checks.sum(E::ZERO, &terms);
        let (point, left) = sumcheck::verify(&mut self.checks, claims[0].point.len(), 2, sum)?;
        let value = self.checks.hear("merged", 1)?[0];
        let kernel: E = claims
            .iter()
            .zip(&powers)
            .map(|(c, &g)| eq(&c.point, &point) * g)
            .sum();
        self.checks
            .equal(left, kernel, value, "the merging of claims")?;
        Ok(ValueClaim { point, value })
    }

    fn settle(&mut self, id: Id, claim: &ValueClaim<C::V>) -> Result<(), Error> {
        let plan = self.plan;
        let node = &plan.graph.nodes[id];
        let (point, value) = (&claim.point, claim.value);
        match &node.kind {
            Kind::Column(_) | Kind::Constant(_) => unreachable!("committed values are opened"),
            Kind::Linear { terms, bias } => {
                let sent = self.checks.hear("terms", terms.len())?;
                let mut sum = vec![(-E::ONE, value)];
                for (&(c, x), &v) in terms.iter().zip(&sent) {
                    sum.push((E::from(int(c)), v));
                    self.claims.push(x, point.clone(), v);
                }
                let bias = valid(&node.dims, point) * int(*bias);
                let difference = self.checks.sum(bias, &sum);
                self.checks.zero(difference, "a linear combination")
            }
            Kind::Ramp { steps } => {
                let place = ramp(&node.dims, steps, point);
                let difference = self.checks.sum(-place, &[(E::ONE, value)]);
                self.checks.zero(difference, "a place")
            }
            Kind::Axes { x, maps } => self.axes(*x, maps, &node.dims, point, value),
            Kind::Reshape(x) => self.reshape(*x, &node.dims, point, value),
            Kind::Permute { x, perm } => {
                self.claims
                    .push(*x, permuted(&node.dims, perm, point), value);
                Ok(())
            }
            Kind::Sum { x, axes } => {
                let (point, scale) = summed(self.dims(*x), axes, point);
                let value = self.checks.sum(E::ZERO, &[(scale, value)]);
                self.claims.push(*x, point, value);
                Ok(())
            }
            Kind::Mul(a, b) => {
                let (at, left) = sumcheck::verify(&mut self.checks, point.len(), 3, value)?;
                let sent = self.checks.hear("factors", 2)?;
                let product = self.checks.product(sent[0], sent[1]);
                self.checks
                    .equal(left, eq(point, &at), product, "a product")?;
                self.claims.push(*a, at.clone(), sent[0]);
                self.claims.push(*b, at, sent[1]);
                Ok(())
            }
            Kind::Contract {
                a,
                b,
                a_labels,
                b_labels,
                out_labels,
            } => {
                let shape = ContractShape::new(self.dims(*a), a_labels, b_labels, out_labels);
                let degree = if shape.batched() { 3 } else { 2 };
                let (at, left) = sumcheck::verify(&mut self.checks, shape.vars(), degree, value)?;
                let sent = self.checks.hear("operands", 2)?;
                let (pa, pb) = (
                    shape.operand(a_labels, self.dims(*a), out_labels, &node.dims, point, &at),
                    shape.operand(b_labels, self.dims(*b), out_labels, &node.dims, point, &at),
                );
                let weight = shape.batch_eq(out_labels, &node.dims, point, &at);
                let product = self.checks.product(sent[0], sent[1]);
                self.checks.equal(left, weight, product, "a contraction")?;
                self.claims.push(*a, pa, sent[0]);
                self.claims.push(*b, pb, sent[1]);
                Ok(())
            }
            Kind::Conv { x, w, maps } => self.conv(*x, *w, maps, &node.dims, point, value),
        }
    }

    fn axes(
        &mut self,
        x: Id,
        maps: &[AxisMap],
        to: &[usize],
        point: &[E],
        value: C::V,
    ) -> Result<(), Error> {
        let from = self.dims(x).to_vec();
        let out = split(to, point);
        let moved = |a: usize| !maps[a].is_identity(from[a], to[a]);
        let rounds = (0..from.len())
            .filter(|&a| moved(a))
            .map(|a| layout::bits(from[a]))
            .sum();
        let (at, left) = sumcheck::verify(&mut self.checks, rounds, 2, value)?;
        let sent = self.checks.hear("mapped", 1)?[0];
        let (mut kernel, mut next, mut used) = (E::ONE, Vec::new(), 0);
        for a in 0..from.len() {
            if !moved(a) {
                next.extend_from_slice(out[a]);
                continue;
            }
            let part = &at[used..used + layout::bits(from[a])];
            used += part.len();
            let k = maps[a].kernel(
                from[a],
                to[a],
                &eq_table(out[a]),
                &vec![E::ONE; maps[a].taps],
            );
            kernel *= dot_eq(&k, part);
            next.extend_from_slice(part);
        }
        self.checks.equal(left, kernel, sent, "a move along axes")?;
        self.claims.push(x, next, sent);
        Ok(())
    }

    fn reshape(&mut self, x: Id, to: &[usize], point: &[E], value: C::V) -> Result<(), Error> {
        let from = self.dims(x).to_vec();
        let groups = reshape_groups(&from, to);
        let out = split(to, point);
        let rounds: usize = groups
            .iter()
            .filter(|g| !g.free)
            .map(|g| vars(&from[g.from.clone()]))
            .sum();
        if rounds == 0 {
            self.claims.push(x, point.to_vec(), value);
            return Ok(());
        }
        let (at, left) = sumcheck::verify(&mut self.checks, rounds, 2, value)?;
        let sent = self.checks.hear("reshaped", 1)?[0];
        let (mut kernel, mut next, mut used) = (E::ONE, Vec::new(), 0);
        for g in groups {
            let out_part = out[g.to.clone()].concat();
            if g.free {
                next.extend(out_part);
                continue;
            }
            let dims = &from[g.from.clone()];
            let part = &at[used..used + vars(dims)];
            used += part.len();
            kernel *= reshape_kernel(dims, part, &to[g.to.clone()], &out_part);
            next.extend_from_slice(part);
        }
        self.checks.equal(left, kernel, sent, "a reshape")?;
        self.claims.push(x, next, sent);
        Ok(())
    }

    fn conv(
        &mut self,
        x: Id,
        w: Id,
        maps: &[AxisMap],
        to: &[usize],
        point: &[E],
        value: C::V,
    ) -> Result<(), Error> {
        let (xd, wd) = (self.dims(x).to_vec(), self.dims(w).to_vec());
        let out = split(to, point);
        let grouped = wd[0] > 1;
        // First over group, channel and taps.
        let inner: Vec<usize> = core::iter::once(wd[0])
            .chain(wd[2..].iter().copied())
            .collect();
        let (at, left) = sumcheck::verify(
            &mut self.checks,
            vars(&inner),
            if grouped { 3 } else { 2 },
            value,
        )?;
        let sent = self.checks.hear("kernel and window", 2)?;
        let parts = split(&inner, &at);
        let product = self.checks.product(sent[0], sent[1]);
        self.checks
            .equal(left, eq(out[2], parts[0]), product, "a convolution")?;
        self.claims.push(
            w,
            [parts[0], out[3], &parts[1..].concat()].concat(),
            sent[0],
        );
        // Then over positions.
        let spatial = &xd[4..];
        let (at, left) = sumcheck::verify(&mut self.checks, vars(spatial), 2, sent[1])?;
        let sent = self.checks.hear("window", 1)?[0];
        let positions = split(spatial, &at);
        let mut kernel = E::ONE;
        for (a, map) in maps.iter().enumerate() {
            let k = map.kernel(
                spatial[a],
                to[4 + a],
                &eq_table(out[4 + a]),
                &eq_table(parts[2 + a]),
            );
            kernel *= dot_eq(&k, positions[a]);
        }
        self.checks
            .equal(left, kernel, sent, "the windows of a convolution")?;
        self.claims
            .push(x, [out[0], out[1], parts[0], parts[1], &at].concat(), sent);
        Ok(())
    }

    /// Takes all claims on a commitment, and cuts their combination into one part per polynomial.
    pub(crate) fn join(
        &mut self,
        polynomials: usize,
        witness: bool,
        pin: Option<&Pin>,
    ) -> Result<Join<C::V>, Error> {
        let claims = self.claims.committed(&self.plan.graph, witness);
        let gamma = self.checks.challenge();
        let mut powers = powers(gamma, claims.len() + usize::from(pin.is_some()));
        // Last, what the key itself says of its polynomial.
        let pin = pin.and_then(|pin| Some((powers.pop()?, pin)));
        let known = pin.map_or(E::ZERO, |(power, pin)| power * pin.value);
        let values = claims.iter().map(|(_, _, c)| c.value);
        let mut sum: Vec<_> = powers.iter().copied().zip(values).collect();
        let mut parts = self.checks.hear("parts", polynomials - 1)?;
        sum.extend(parts.iter().map(|&part| (-E::ONE, part)));
        parts.insert(0, self.checks.sum(known, &sum));
        Ok(Join {
            claims,
            powers,
            parts,
            pin: pin.map(|(power, pin)| (power, pin.point.clone())),
        })
    }

    /// The claims on the witness become one claim.
    pub(crate) fn open_witness(&mut self) -> Result<(Vec<E>, C::V), Error> {
        let join = self.join(1, true, None)?;
        let (at, left) =
            sumcheck::verify(&mut self.checks, self.plan.witness.vars, 2, join.parts[0])?;
        let value = self.checks.hear("opened", 1)?[0];
        let kernel = self.kernel(&self.plan.witness, &join, &at);
        self.checks
            .equal(left, kernel, value, "the joining of openings")?;
        Ok((at, value))
    }

    /// The claims on one polynomial of constants become one claim, with a value that everybody may know.
    pub(crate) fn open_weights(
        &mut self,
        join: &Join<C::V>,
        part: usize,
    ) -> Result<(Vec<E>, E), Error> {
        let (at, left) = self.lead_weights(join, part)?;
        let value = self.checks.clear("opened", 1)?[0];
        let known = self.checks.known(value);
        self.end_weights(join, part, &at, left, known)?;
        Ok((at, value))
    }

    /// The claims on hidden constants become one claim.
    pub(crate) fn open_hidden_weights(
        &mut self,
        join: &Join<C::V>,
    ) -> Result<(Vec<E>, C::V), Error> {
        let (at, left) = self.lead_weights(join, 0)?;
        let value = self.checks.hear("opened", 1)?[0];
        self.end_weights(join, 0, &at, left, value)?;
        Ok((at, value))
    }

    fn lead_weights(&mut self, join: &Join<C::V>, part: usize) -> Result<(Vec<E>, C::V), Error> {
        let vars = self.plan.weights[part].vars;
        let (at, left) = sumcheck::verify(&mut self.checks, vars, 2, join.parts[part])?;
        // Positions within a row come first, then rows.
        let (column, row) = at.split_at(row_vars(vars));
        Ok(([row, column].concat(), left))
    }

    fn end_weights(
        &mut self,
        join: &Join<C::V>,
        part: usize,
        at: &[E],
        left: C::V,
        value: C::V,
    ) -> Result<(), Error> {
        let kernel = self.kernel(&self.plan.weights[part], join, at);
        self.checks
            .equal(left, kernel, value, "the joining of openings")
    }

    /// What a polynomial's value at a point counts for the claims on it.
    fn kernel(&self, store: &Store, join: &Join<C::V>, at: &[E]) -> E {
        let pin = join.pin.as_ref();
        let mut kernel = pin.map_or(E::ZERO, |(power, point)| *power * eq(point, at));
        for ((index, id, c), &g) in join.claims.iter().zip(&join.powers) {
            for piece in store.of_tensor(*index) {
                kernel += g * piece.kernel(self.dims(*id), &c.point, store.vars, at);
            }
        }
        kernel
    }
}

/// The claims on one commitment, the powers of a challenge that combine them, and the combination's part in each of the
/// commitment's polynomials.
pub(crate) struct Join<V> {
    claims: Vec<(usize, Id, ValueClaim<V>)>,
    powers: Vec<E>,
    parts: Vec<V>,
    /// What is said of the polynomial as a whole, at a point.
    pin: Option<(E, Vec<E>)>,
}

/// One root for several polynomials.
pub(crate) fn joint_root(roots: &[Root]) -> Root {
    match roots {
        [one] => *one,
        many => {
            let parts: Vec<&[u8]> = many.iter().map(|r| &r.0[..]).collect();
            Root(*Digest::of("carat/zk-weights/v1", &parts).as_bytes())
        }
    }
}

fn check(holds: bool, what: &'static str) -> Result<(), Error> {
    if holds {
        Ok(())
    } else {
        Err(Error::Check(what))
    }
}
