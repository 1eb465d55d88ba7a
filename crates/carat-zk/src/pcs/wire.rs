//! The bytes of a WHIR opening.
//!
//! Every count but one follows from the parameters. The exception is the number of sibling digests of a pruned
//! multi-opening, which depends on the drawn positions: four bytes, little-endian, with a cap; the tree's own check
//! then requires the exact number.

use super::whir::{Config, Mmcs};
use crate::{
    Error,
    field::{E, E_BYTES, F, F_BYTES},
    transcript::Source,
};
use alloc::vec::Vec;
use p3_commit::Mmcs as MmcsTrait;
use p3_field::PrimeCharacteristicRing;
use p3_merkle_tree::PrunedMerklePaths;
use p3_multilinear_util::poly::Poly;
use p3_symmetric::MerkleCap;
use p3_whir::{
    QueryOpenings, WhirProof, WhirRoundProof,
    pcs::proof::{SharedProofOpening, SumcheckData},
};

type MultiProof = <Mmcs as MmcsTrait<F>>::MultiProof;
type Openings = QueryOpenings<F, E, MultiProof>;
pub(super) type Proof = WhirProof<F, E, Mmcs>;

const DIGEST: usize = 32;
const COUNT: usize = 4;

/// A sumcheck: its rounds, and whether each has a proof of work.
#[derive(Debug, Clone, Copy)]
struct Sumcheck {
    rounds: usize,
    ground: bool,
}

/// A set of opened rows.
#[derive(Debug, Clone, Copy)]
struct Rows {
    queries: usize,
    width: usize,
    /// Levels of the tree.
    levels: usize,
    ground: bool,
}

#[derive(Debug, Clone)]
struct Round {
    samples: usize,
    rows: Rows,
    sumcheck: Sumcheck,
}

/// All counts of an opening.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    samples: usize,
    initial: Sumcheck,
    rounds: Vec<Round>,
    last_values: usize,
    last_rows: Rows,
    last: Sumcheck,
}

impl Shape {
    /// The counts that a configuration fixes.
    pub(super) fn of(config: &Config) -> Self {
        let rows = |domain_size: usize, fold: usize, queries: usize, pow: usize| {
            let leaves = domain_size >> fold;
            Rows {
                // At least as many queries as leaves: every leaf is opened once and nothing is drawn.
                queries: queries.min(leaves),
                width: 1 << fold,
                levels: leaves.ilog2() as usize,
                ground: pow > 0,
            }
        };
        let rounds = config
            .round_parameters()
            .iter()
            .enumerate()
            .map(|(i, r)| Round {
                samples: r.ood_samples,
                rows: rows(
                    r.domain_size,
                    config.round_folding_factor(i),
                    r.num_queries,
                    r.pow_bits,
                ),
                sumcheck: Sumcheck {
                    rounds: config.round_folding_factor(i + 1),
                    ground: r.folding_pow_bits > 0,
                },
            })
            .collect();
        let last = config.final_round_config();
        Self {
            samples: config.commitment_ood_samples(),
            initial: Sumcheck {
                rounds: config.round_folding_factor(0),
                ground: config.starting_folding_pow_bits() > 0,
            },
            rounds,
            last_values: 1 << last.num_variables,
            last_rows: rows(
                last.domain_size,
                last.folding_factor,
                last.num_queries,
                last.pow_bits,
            ),
            last: Sumcheck {
                rounds: config.final_sumcheck_rounds(),
                ground: config.final_folding_pow_bits() > 0,
            },
        }
    }

    /// The most bytes an opening of this shape takes.
    pub(super) fn max_bytes(&self) -> usize {
        let sumcheck = |s: Sumcheck| s.rounds * (2 * E_BYTES + usize::from(s.ground) * F_BYTES);
        let rows = |r: Rows, element: usize| {
            usize::from(r.ground) * F_BYTES
                + r.queries * r.width * element
                + COUNT
                + r.max_siblings() * DIGEST
        };
        let element = |i: usize| if i == 0 { F_BYTES } else { E_BYTES };
        self.samples * E_BYTES
            + sumcheck(self.initial)
            + self
                .rounds
                .iter()
                .enumerate()
                .map(|(i, r)| {
                    DIGEST + r.samples * E_BYTES + rows(r.rows, element(i)) + sumcheck(r.sumcheck)
                })
                .sum::<usize>()
            + self.last_values * E_BYTES
            + rows(self.last_rows, element(self.rounds.len()))
            + sumcheck(self.last)
    }
}

impl Rows {
    /// The most siblings that paths to these rows can need: at each level one per path, and never more than half of
    /// the level's nodes.
    fn max_siblings(self) -> usize {
        (1..=self.levels)
            .map(|level| self.queries.min(1 << (level - 1)))
            .sum()
    }
}

/// Writes an opening.
#[cfg(feature = "prover")]
pub(super) struct Writer(Vec<u8>);

#[cfg(feature = "prover")]
impl Writer {
    pub(super) fn new(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn base(&mut self, values: &[F]) {
        use p3_field::PrimeField32;
        for v in values {
            self.0
                .extend_from_slice(&v.as_canonical_u32().to_le_bytes());
        }
    }

    pub(super) fn elements(&mut self, elements: &[E]) {
        crate::field::write(elements, &mut self.0);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn siblings(&mut self, paths: &MultiProof) {
        let count = paths.sibling_hashes.len() as u32;
        self.bytes(&count.to_le_bytes());
        for digest in &paths.sibling_hashes {
            self.bytes(digest);
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads an opening. Nothing is absorbed: the replay does that.
pub(super) fn decode(shape: &Shape, source: &mut Source<'_>) -> Result<Proof, Error> {
    let initial_ood_answers = source.take_e(shape.samples)?;
    let initial_sumcheck = sumcheck(shape.initial, source)?;
    let mut rounds = Vec::with_capacity(shape.rounds.len());
    for (i, counts) in shape.rounds.iter().enumerate() {
        let commitment = Some(MerkleCap::new(alloc::vec![digest(source)?]));
        let ood_answers = source.take_e(counts.samples)?;
        let (pow_witness, openings) = rows(counts.rows, i == 0, source)?;
        let sumcheck = sumcheck(counts.sumcheck, source)?;
        rounds.push(WhirRoundProof {
            commitment,
            ood_answers,
            pow_witness,
            openings,
            sumcheck,
        });
    }
    let final_poly = Some(Poly::new(source.take_e(shape.last_values)?));
    let (final_pow_witness, final_openings) =
        rows(shape.last_rows, shape.rounds.is_empty(), source)?;
    let final_sumcheck = (shape.last.rounds > 0)
        .then(|| sumcheck(shape.last, source))
        .transpose()?;
    Ok(WhirProof {
        initial_ood_answers,
        initial_sumcheck,
        rounds,
        final_poly,
        final_pow_witness,
        final_openings,
        final_sumcheck,
    })
}

fn digest(source: &mut Source<'_>) -> Result<[u8; DIGEST], Error> {
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(source.take(DIGEST)?);
    Ok(digest)
}

fn witness(ground: bool, source: &mut Source<'_>) -> Result<F, Error> {
    if ground {
        Ok(source.take_f(1)?[0])
    } else {
        Ok(F::ZERO)
    }
}

fn sumcheck(counts: Sumcheck, source: &mut Source<'_>) -> Result<SumcheckData<F, E>, Error> {
    let mut data = SumcheckData::default();
    for _ in 0..counts.rounds {
        let pair = source.take_e(2)?;
        data.polynomial_evaluations.push([pair[0], pair[1]]);
        if counts.ground {
            data.pow_witnesses.push(witness(true, source)?);
        }
    }
    Ok(data)
}

fn rows(counts: Rows, base: bool, source: &mut Source<'_>) -> Result<(F, Openings), Error> {
    let witness = witness(counts.ground, source)?;
    if base {
        let values = source.take_f(counts.queries * counts.width)?;
        let rows = values.chunks_exact(counts.width).map(<[F]>::to_vec);
        Ok((
            witness,
            QueryOpenings::Base(SharedProofOpening {
                rows: rows.collect(),
                proof: siblings(counts, source)?,
            }),
        ))
    } else {
        let values = source.take_e(counts.queries * counts.width)?;
        let rows = values.chunks_exact(counts.width).map(<[E]>::to_vec);
        Ok((
            witness,
            QueryOpenings::Extension(SharedProofOpening {
                rows: rows.collect(),
                proof: siblings(counts, source)?,
            }),
        ))
    }
}

fn siblings(counts: Rows, source: &mut Source<'_>) -> Result<MultiProof, Error> {
    let mut count = [0; COUNT];
    count.copy_from_slice(source.take(COUNT)?);
    let count = u32::from_le_bytes(count) as usize;
    if count > counts.max_siblings() {
        return Err(Error::Check("the length of a Merkle opening"));
    }
    let mut sibling_hashes = Vec::with_capacity(count);
    for _ in 0..count {
        sibling_hashes.push(digest(source)?);
    }
    Ok(PrunedMerklePaths { sibling_hashes })
}
