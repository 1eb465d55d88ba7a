//! The prover of WHIR: `docs/protocol-whir.md`, sections 3 to 5.
//!
//! The library's prover makes the same bytes, and tests hold this one to that. This one is ours because most of its work is
//! the work of our sumchecks, and because small openings consist of stretches that are too short for threads to share one
//! by one.

use super::{Config, encode::encode, seeds::Seed, seeds::Seeds, wire::Writer};
use crate::{
    aside::give_way,
    field::{DEGREE, E, F},
    kernels::{
        Vector, add_powers, add_scaled, combine_base, dot, dot_base, eq_vector, product_rounds,
    },
    layout::{dot_eq, eq, eq_table},
    pcs::{
        Root,
        leaves::{self, Tree},
        whir::mmcs,
    },
    share,
    transcript::Challenger,
};
use p3_challenger::{CanObserve, CanSample, CanSampleBits, FieldChallenger, GrindingChallenger};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, TwoAdicField};
use p3_symmetric::Hash;
use rayon::Scope;
use std::sync::{Arc, OnceLock};

/// What the committer keeps.
pub(in crate::pcs) struct Data {
    pub(in crate::pcs) evaluations: Vec<F>,
    tree: Arc<Tree>,
}

impl core::fmt::Debug for Data {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Data").finish_non_exhaustive()
    }
}

/// Commits to a polynomial: leaves are the places of a code, in a leaf a value for each of `2^folding` parts.
pub(super) fn commit(evaluations: Vec<F>, folding: usize, rate: usize) -> (Root, Data) {
    let columns: Vec<&[F]> = (evaluations.chunks(evaluations.len() >> folding)).collect();
    let (root, tree) = leaves::commit(encode(&columns, rate));
    let tree = Arc::new(tree);
    (root, Data { evaluations, tree })
}

/// Commits to a folded polynomial in the same way. A leaf has all coefficients of its elements.
fn commit_folded(f: &Vector, folding: usize, rate: usize) -> (Root, Tree) {
    let len = f.len();
    // All first coefficients, all second ones, ...
    let coefficients = f.coefficients(DEGREE * len);
    let height = len >> folding;
    let column = |i: usize| &coefficients[(i % DEGREE) * len + (i / DEGREE) * height..][..height];
    let columns: Vec<&[F]> = (0..DEGREE << folding).map(column).collect();
    leaves::commit(encode(&columns, rate))
}

/// `(y^(2^(n-1)), ..., y^2, y)`
fn expand(y: E, n: usize) -> Vec<E> {
    let mut point: Vec<E> = core::iter::successors(Some(y), |y| Some(y.square()))
        .take(n)
        .collect();
    point.reverse();
    point
}

/// A claim on the committed polynomial, `value` at `point`, as a claim on its parts.
struct Claim {
    /// Coordinates that number the parts.
    part: Vec<E>,
    /// `eq` of the other coordinates.
    kernel: Vector,
    /// The value of each part at the other coordinates.
    parts: Vec<E>,
    value: E,
}

impl Claim {
    fn new(evaluations: &[F], point: &[E], folding: usize) -> Self {
        let (part, rest) = point.split_at(folding);
        let kernel = eq_vector(rest, E::ONE);
        let parts = dot_base(evaluations, &kernel);
        Self {
            value: dot_eq(&parts, part),
            part: part.to_vec(),
            kernel,
            parts,
        }
    }
}

/// The inner transcript, and what is sent in it.
struct Channel<'a, 'scope> {
    challenger: &'a mut Challenger,
    out: Writer,
    shown: Vec<Shown>,
    scope: &'a Scope<'scope>,
}

/// What is shown of a tree: how many bytes come before it, and where it will be. No challenge depends on it, so a thread that
/// is idle looks it up.
type Shown = (usize, Arc<OnceLock<Vec<u8>>>);

impl Channel<'_, '_> {
    fn seed(&mut self, seed: &Seed) {
        self.challenger.observe_slice(seed);
    }

    fn draw(&mut self) -> E {
        give_way();
        self.challenger.sample()
    }

    fn send(&mut self, elements: &[E]) {
        self.challenger.observe_algebra_slice(elements);
        self.out.elements(elements);
    }

    fn root(&mut self, root: &Root) {
        self.challenger.observe(Hash::from(root.0));
        self.out.bytes(&root.0);
    }

    /// A proof of work, and what it is.
    fn work(&mut self, bits: usize) {
        if bits > 0 {
            let witness = self.challenger.grind(bits);
            self.out.base(&[witness]);
        }
    }

    /// Works, and draws positions at which a tree is shown.
    fn positions(
        &mut self,
        tree: &Arc<Tree>,
        levels: usize,
        queries: usize,
        work: usize,
    ) -> Vec<usize> {
        self.work(work);
        // With as many queries as leaves, all are shown and nothing is drawn.
        let positions: Vec<usize> = if queries < 1 << levels {
            (0..queries)
                .map(|_| self.challenger.sample_bits(levels))
                .collect()
        } else {
            (0..1 << levels).collect()
        };
        let bytes = Arc::default();
        self.shown.push((self.out.len(), Arc::clone(&bytes)));
        let (tree, at) = (Arc::clone(tree), positions.clone());
        self.scope.spawn(move |_| {
            let _ = bytes.set(shown(&tree, &at));
        });
        positions
    }

    /// A batch of rounds on the sum of several sums of products. Returns the challenges, and the claim left.
    fn sumcheck(
        &mut self,
        seed: &Seed,
        rounds: usize,
        work: usize,
        claim: E,
        pairs: &mut [(Vector, Vector)],
    ) -> (Vec<E>, E) {
        if rounds == 0 {
            return (Vec::new(), claim);
        }
        self.seed(seed);
        product_rounds(rounds, claim, pairs, |[zero, one, two]| {
            // The leading coefficient takes the place of the value at two.
            self.send(&[zero, (two - one - one + zero).halve()]);
            self.work(work);
            self.draw()
        })
    }
}

/// What is sent, with what is shown of trees in its places.
fn joined(sent: &[u8], shown: Vec<Shown>, capacity: usize) -> Vec<u8> {
    let (mut out, mut from) = (Vec::with_capacity(capacity), 0);
    for (at, bytes) in shown {
        out.extend_from_slice(&sent[from..at]);
        out.extend_from_slice(bytes.get().expect("looked up within the scope"));
        from = at;
    }
    out.extend_from_slice(&sent[from..]);
    out
}

/// The rows of a tree at some positions, and the paths from there to the root.
fn shown(tree: &Tree, positions: &[usize]) -> Vec<u8> {
    let (rows, paths) = p3_commit::Mmcs::open_multi_batch(&mmcs(), positions, tree);
    let mut out = Writer::new(0);
    rows.iter().flatten().for_each(|row| out.base(row));
    out.siblings(&paths);
    out.finish()
}

/// The value of a leaf as a polynomial in the variables that number its elements.
fn leaf_at(row: &[F], first: bool, table: &[E]) -> E {
    if first {
        return row.iter().zip(table).map(|(&v, &e)| e * v).sum();
    }
    let element = |c: &[F]| E::from_basis_coefficients_fn(|d| c[d]);
    let elements = row.chunks_exact(DEGREE).map(element);
    elements.zip(table).map(|(v, &e)| v * e).sum()
}

/// Opens a committed polynomial at a point. Returns the bytes of the opening, and the value.
pub(super) fn open(
    config: &Config,
    seeds: &Seeds,
    data: &Data,
    point: &[E],
    challenger: &mut Challenger,
    capacity: usize,
) -> (Vec<u8>, E) {
    let (sent, shown, value) = rayon::in_place_scope(|scope| {
        let channel = Channel {
            challenger,
            out: Writer::new(0),
            shown: Vec::new(),
            scope,
        };
        rounds(config, seeds, data, point, channel)
    });
    (joined(&sent, shown, capacity), value)
}

/// All of an opening but what is shown of trees, with the places of that, and the value.
fn rounds(
    config: &Config,
    seeds: &Seeds,
    data: &Data,
    point: &[E],
    mut channel: Channel<'_, '_>,
) -> (Vec<u8>, Vec<Shown>, E) {
    let n = point.len();
    let mut folding = config.round_folding_factor(0);
    let values = &data.evaluations[..];
    let mut claims = Vec::new();
    for _ in 0..config.commitment_ood_samples() {
        channel.seed(&seeds.sample);
        let y = channel.draw();
        let claim = Claim::new(values, &expand(y, n), folding);
        channel.send(&[claim.value]);
        claims.push(claim);
    }
    channel.seed(&seeds.claim);
    claims.insert(0, Claim::new(values, point, folding));
    let value = claims[0].value;
    // The surrounding protocol has sent it.
    channel.challenger.observe_algebra_element(value);
    channel.seed(&seeds.whir);
    channel.seed(&seeds.batching);
    let a = channel.draw();
    let scales: Vec<E> = crate::steps::powers(a, claims.len());
    let sum = claims.iter().zip(&scales).map(|(c, &s)| c.value * s).sum();
    let mut pairs: Vec<(Vector, Vector)> = (claims.iter_mut().zip(&scales))
        .map(|(c, &s)| {
            let parts = core::mem::take(&mut c.parts);
            (Vector::new(parts), eq_vector(&c.part, s))
        })
        .collect();
    let (mut r, mut sum) = channel.sumcheck(
        &seeds.sumchecks[0],
        folding,
        config.starting_folding_pow_bits(),
        sum,
        &mut pairs,
    );

    // The folded polynomial, and what it is multiplied with.
    let f = combine_base(values, values.len() >> folding, &eq_table(&r));
    let mut kernel = Vector::zero(f.len());
    for (claim, s) in claims.iter().zip(scales) {
        add_scaled(&mut kernel, &claim.kernel, s * eq(&claim.part, &r));
    }
    drop(claims);
    let mut pair = [(f, kernel)];

    let mut tree = Arc::clone(&data.tree);
    for (i, round) in config.round_parameters().iter().enumerate() {
        let (f, kernel) = &mut pair[0];
        let next = config.round_folding_factor(i + 1);
        let (root, committed) = commit_folded(f, next, round.log_inv_rate);
        channel.root(&root);
        let mut samples = Vec::new();
        for _ in 0..round.ood_samples {
            let y = channel.draw();
            let sample = eq_vector(&expand(y, f.len().ilog2() as usize), E::ONE);
            let value = dot(f, &sample);
            channel.send(&[value]);
            samples.push((sample, value));
        }
        let levels = (round.domain_size >> folding).ilog2() as usize;
        let positions = channel.positions(&tree, levels, round.num_queries, round.pow_bits);
        let leaves = p3_commit::Mmcs::get_matrices(&mmcs(), &tree)[0];
        let table = eq_table(&r);
        let mut at = E::zero_vec(positions.len());
        share::each((&positions[..], &mut at[..]), 1 << 4, &|(positions, at)| {
            for (&p, at) in positions.iter().zip(at) {
                let leaf = &leaves.values[p * leaves.width..][..leaves.width];
                *at = leaf_at(leaf, i == 0, &table);
            }
        });
        let a = channel.draw();
        let mut scale = a;
        for (sample, value) in samples {
            add_scaled(kernel, &sample, scale);
            sum += scale * value;
            scale *= a;
        }
        let scales: Vec<E> = core::iter::successors(Some(scale), |&s| Some(s * a))
            .take(positions.len())
            .collect();
        sum += at.iter().zip(&scales).map(|(&v, &s)| v * s).sum::<E>();
        let generator = F::two_adic_generator(levels);
        let places: Vec<F> = positions
            .iter()
            .map(|&p| generator.exp_u64(p as u64))
            .collect();
        add_powers(kernel, &places, &scales);
        tree = Arc::new(committed);
        folding = next;
        (r, sum) = channel.sumcheck(
            &seeds.sumchecks[i + 1],
            next,
            round.folding_pow_bits,
            sum,
            &mut pair,
        );
    }

    channel.send(&pair[0].0.unpack());
    let last = config.final_round_config();
    let levels = (last.domain_size >> folding).ilog2() as usize;
    channel.positions(&tree, levels, last.num_queries, last.pow_bits);
    let _ = channel.sumcheck(
        &seeds.sumchecks[config.round_parameters().len() + 1],
        config.final_sumcheck_rounds(),
        config.final_folding_pow_bits(),
        sum,
        &mut pair,
    );
    let shown = channel.shown;
    share::wait_awake(|| shown.iter().all(|(_, bytes)| bytes.get().is_some()));
    (channel.out.finish(), shown, value)
}
