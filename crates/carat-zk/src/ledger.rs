//! The soundness of a proof, term by term, from proven bounds only.
//!
//! Terms of the interactive argument are fractions of the challenge field (Schwartz-Zippel, the sumcheck protocol, the
//! fractional-sum argument, LogUp); terms of the openings come from the commitment. `docs/protocol.md` derives each.

use crate::{
    Error, Profile,
    field::E,
    graph::{Graph, Kind},
    hide,
    key::Mode,
    layout::{bits, reshape_groups, vars},
    pcs::{Security, Use, Whir},
    plan::Plan,
    steps::ContractShape,
};
use alloc::{string::String, vec::Vec};
use carat_program::Program;
use p3_field::Field;

/// One source of error.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// What can go wrong.
    pub name: String,
    /// `-log2` of its probability, all occurrences in this proof together, without proof of work.
    pub bits: f64,
    /// Bits of proof of work that a prover must repeat for every attempt at this term.
    pub grinding: u32,
}

/// Every term, and their union.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    /// The security profile.
    pub profile: Profile,
    /// Terms, in the order of the protocol.
    pub terms: Vec<Term>,
    /// `-log2` of the sum of all terms, with their proof of work.
    pub bits: f64,
}

/// Counts field elements that a bad challenge must avoid.
struct Count(f64);

impl Count {
    fn add(&mut self, n: usize) {
        self.0 += n as f64;
    }

    fn sumcheck(&mut self, rounds: usize, degree: usize) {
        self.add(rounds * degree);
    }

    /// Bits of this many bad elements in the challenge field, charged for each polynomial that the commitment may
    /// still stand for.
    fn bits(&self, candidates: f64) -> f64 {
        // E::bits() is the length of the field's order; one less is a lower bound on its logarithm.
        (E::bits() - 1) as f64
            - candidates
            - if self.0 > 1.0 {
                libm::log2(self.0)
            } else {
                0.0
            }
    }
}

impl Ledger {
    /// The ledger of a proof of `statements` statements of a Program.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a Program that has no proof, or if the sum falls short of the profile.
    pub fn new(
        program: &Program,
        profile: Profile,
        mode: Mode,
        statements: usize,
    ) -> Result<Self, Error> {
        Self::of(&Plan::of(program, statements, mode)?, profile, mode)
    }

    /// The ledger of a proof with this layout.
    pub(crate) fn of(plan: &Plan, profile: Profile, mode: Mode) -> Result<Self, Error> {
        let statements = plan.statements;
        // What else is committed to and opened once: its name, its terms, how often.
        let mut others = Vec::new();
        let mut pads_list = 0.0;
        let witness = match mode {
            Mode::Succinct => Whir::new(profile, plan.witness.vars, Use::Witness)?.security(),
            Mode::Zk(hidden) => {
                let pads = hide::shape(plan, profile, hidden)?.security();
                let candidates = pads.candidates_bits;
                pads_list = candidates;
                others.push(("pads", pads, 1));
                if hidden.values {
                    let table = hide::table(plan)?;
                    let security = hide::io::security(profile, &table, candidates);
                    others.push(("io/v1", security, statements));
                }
                hide::witness::Scheme::new(profile, plan.witness.vars).security(candidates)
            }
        };
        let weights = plan
            .weights
            .iter()
            .map(|store| {
                if mode.hidden().weights {
                    Ok(hide::weights::Scheme::new(profile, store)?.security(pads_list))
                } else {
                    Ok(Whir::new(profile, store.vars, Use::Weights)?.security())
                }
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let graph = &plan.graph;
        let candidates = (others.iter())
            .map(|(_, security, count)| security.candidates_bits * *count as f64)
            .chain(weights.iter().map(|w| w.candidates_bits))
            .fold(witness.candidates_bits, |sum, bits| sum + bits);
        let mut terms = Vec::new();
        let mut term = |name: &str, count: &Count| {
            terms.push(Term {
                name: name.into(),
                bits: count.bits(candidates),
                grinding: 0,
            });
        };

        let mut edges = Count(0.0);
        for &id in graph.inputs.iter().chain(&graph.outputs) {
            edges.add(graph.nodes[id].vars());
        }
        term("inputs and outputs at a random point", &edges);
        if !graph.lookups.is_empty() {
            // Cross-multiplied, a polynomial of total degree at most twice the number of fractions.
            let mut fractions = Count(0.0);
            fractions.add(2 << plan.leaves.vars);
            term("lookups as fractions", &fractions);
            let mut layers = Count(0.0);
            for layer in 0..plan.leaves.vars {
                layers.add(2);
                layers.sumcheck(layer, 3);
            }
            term("sum of fractions", &layers);
        }
        let (steps, merges) = walk(graph);
        term("sumchecks of the steps", &steps);
        term("merging of claims", &merges);
        let mut joins = Count(0.0);
        let claims = claims_bound(graph) + usize::from(mode.hidden().weights);
        for store in core::iter::once(&plan.witness).chain(&plan.weights) {
            joins.add(claims);
            joins.sumcheck(store.vars, 2);
        }
        term("joining of openings", &joins);
        let mut opening = |what: &str, security: &Security, count: usize| {
            for t in &security.terms {
                terms.push(Term {
                    name: alloc::format!("{what}: {}", t.name),
                    bits: t.bits - libm::log2(f64::from(t.count)) - libm::log2(count as f64),
                    grinding: t.grinding,
                });
            }
        };
        opening("witness", &witness, 1);
        if plan.has_constants() {
            for w in &weights {
                opening("weights", w, 1);
            }
        }
        for (what, security, count) in &others {
            opening(what, security, *count);
        }
        let total: f64 = terms
            .iter()
            .map(|t| libm::exp2(-t.bits - f64::from(t.grinding)))
            .sum();
        let bits = -libm::log2(total);
        if bits < f64::from(profile.bits()) {
            return Err(Error::Unsupported(alloc::format!(
                "a proof would have {bits:.1} bits, fewer than the profile {} promises",
                profile.name()
            )));
        }
        Ok(Self {
            profile,
            terms,
            bits,
        })
    }
}

/// At most this many claims are ever made.
fn claims_bound(graph: &Graph) -> usize {
    let operands: usize = graph.nodes.iter().map(|n| operands(&n.kind)).sum();
    let looked_up: usize = graph.lookups.iter().map(|l| l.tuple.len()).sum();
    operands + looked_up + 2 * graph.tables.len() + graph.inputs.len() + graph.outputs.len()
}

fn operands(kind: &Kind) -> usize {
    match kind {
        Kind::Column(_) | Kind::Constant(_) | Kind::Ramp { .. } => 0,
        Kind::Linear { terms, .. } => terms.len(),
        Kind::Axes { .. } | Kind::Reshape(_) | Kind::Permute { .. } | Kind::Sum { .. } => 1,
        Kind::Mul(..) | Kind::Contract { .. } | Kind::Conv { .. } => 2,
    }
}

/// Bad challenges of the steps' own sumchecks, and of the mergings before them.
fn walk(graph: &Graph) -> (Count, Count) {
    let (mut steps, mut merges) = (Count(0.0), Count(0.0));
    merges.add(claims_bound(graph));
    for node in &graph.nodes {
        let dims = |id: usize| &graph.nodes[id].dims[..];
        match &node.kind {
            Kind::Column(_) | Kind::Constant(_) => continue,
            Kind::Linear { .. } | Kind::Ramp { .. } | Kind::Permute { .. } | Kind::Sum { .. } => {}
            Kind::Axes { x, .. } => steps.sumcheck(vars(dims(*x)), 2),
            Kind::Reshape(x) => {
                for g in reshape_groups(dims(*x), &node.dims)
                    .iter()
                    .filter(|g| !g.free)
                {
                    steps.sumcheck(vars(&dims(*x)[g.from.clone()]), 2);
                }
            }
            Kind::Mul(..) => steps.sumcheck(node.vars(), 3),
            Kind::Contract {
                a,
                a_labels,
                b_labels,
                out_labels,
                ..
            } => steps.sumcheck(
                ContractShape::new(dims(*a), a_labels, b_labels, out_labels).vars(),
                3,
            ),
            Kind::Conv { x, w, .. } => {
                let (x, w) = (dims(*x), dims(*w));
                steps.sumcheck(bits(w[0]) + vars(&w[2..]), 3);
                steps.sumcheck(vars(&x[4..]), 2);
            }
        }
        merges.sumcheck(node.vars(), 2);
    }
    (steps, merges)
}
