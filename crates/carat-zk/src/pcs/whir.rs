//! The proximity proof of `p3-whir` behind our interface.

use super::{Profile, Refused, Root, Security, Use, wire};
use crate::{
    Error,
    field::{E, F},
    transcript::{Challenger, Source},
};
use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec,
    vec::Vec,
};
use p3_blake3::Blake3;
use p3_dft::Radix2DFTSmallBatch;
use p3_merkle_tree::MerkleTreeMmcs;
use p3_multilinear_util::point::Point;
use p3_sumcheck::{OpeningBatch, OpeningProtocol, PrescribedPointPcs, TableShape, TableSpec};
use p3_symmetric::{CompressionFunctionFromHasher, MerkleCap, SerializingHasher};
use p3_whir::{ProtocolParameters, WhirConfig, WhirProver};

#[cfg(feature = "prover")]
mod encode;
#[cfg(feature = "prover")]
mod prove;
#[cfg(feature = "prover")]
mod seeds;
#[cfg(all(test, feature = "prover"))]
mod tests;

#[cfg(feature = "prover")]
use crate::transcript::Sink;
#[cfg(feature = "prover")]
pub(super) use prove::Data;

/// Leaves are the bytes of a row, nodes the bytes of two digests.
pub(super) type Mmcs = MerkleTreeMmcs<
    F,
    u8,
    SerializingHasher<Blake3>,
    CompressionFunctionFromHasher<Blake3, 2, 32>,
    2,
    32,
>;
type Pcs = WhirProver<
    E,
    F,
    Radix2DFTSmallBatch<F>,
    Mmcs,
    Challenger,
    p3_sumcheck::layout::PrefixProver<F, E>,
>;

/// The derived parameters.
pub(super) type Config = WhirConfig<E, F, Challenger>;
pub(super) fn mmcs() -> Mmcs {
    Mmcs::new(
        SerializingHasher::new(Blake3),
        CompressionFunctionFromHasher::new(Blake3),
        0,
    )
}

/// The transform. Provers share its tables of roots: making them takes as long as the transform of a small polynomial.
fn dft() -> Radix2DFTSmallBatch<F> {
    #[cfg(feature = "prover")]
    {
        static SHARED: std::sync::LazyLock<Radix2DFTSmallBatch<F>> =
            std::sync::LazyLock::new(Radix2DFTSmallBatch::default);
        SHARED.clone()
    }
    #[cfg(not(feature = "prover"))]
    Radix2DFTSmallBatch::default()
}

/// WHIR for one size.
pub(super) struct Scheme {
    pcs: Pcs,
    protocol: OpeningProtocol,
    #[cfg(feature = "prover")]
    seeds: seeds::Seeds,
}

impl core::fmt::Debug for Scheme {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Scheme")
            .field("parameters", self.config().params())
            .finish_non_exhaustive()
    }
}

impl Scheme {
    /// The scheme of a size. A prover keeps each that it has used: to derive one takes as long as a small transform.
    pub(super) fn shared(
        profile: Profile,
        n: usize,
        purpose: Use,
        parameters: &ProtocolParameters,
    ) -> Result<Arc<Self>, Error> {
        #[cfg(feature = "prover")]
        {
            use std::{collections::BTreeMap, sync::Mutex, sync::PoisonError};
            static KEPT: Mutex<BTreeMap<(Profile, usize, Use), Arc<Scheme>>> =
                Mutex::new(BTreeMap::new());
            let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (profile, n, purpose);
            if let Some(scheme) = kept.get(&key) {
                return Ok(Arc::clone(scheme));
            }
            let scheme = Arc::new(Self::new(n, parameters)?);
            kept.insert(key, Arc::clone(&scheme));
            Ok(scheme)
        }
        #[cfg(not(feature = "prover"))]
        {
            let _ = (profile, purpose);
            Self::new(n, parameters).map(Arc::new)
        }
    }

    pub(super) fn new(n: usize, parameters: &ProtocolParameters) -> Result<Self, Error> {
        // One opened point; the library adds the out-of-domain claims.
        let config = Config::new_with_initial_claims(n, parameters.clone(), 1)
            .map_err(|e| Error::Unsupported(format!("a commitment to 2^{n} values: {e}")))?;
        let protocol = OpeningProtocol::new(vec![TableSpec::new(
            TableShape::new(n, 1),
            vec![OpeningBatch::new(vec![0], vec![])],
        )]);
        Ok(Self {
            #[cfg(feature = "prover")]
            seeds: seeds::Seeds::new(n, &config),
            pcs: Pcs::new(config, dft(), mmcs()),
            protocol,
        })
    }

    pub(super) fn config(&self) -> &Config {
        &self.pcs
    }

    pub(super) fn security(&self) -> Security {
        Security::of(self.config())
    }

    /// The derived integers, as the columns of the table in `docs/protocol-whir.md` from "rate" on.
    pub(super) fn describe(&self) -> String {
        let config = self.config();
        let rounds = config.round_parameters();
        let last = config.terminal();
        let list = |values: &mut dyn Iterator<Item = usize>| {
            values.map(|v| v.to_string()).collect::<Vec<_>>().join(" ")
        };
        [
            list(
                &mut core::iter::once(config.starting_log_inv_rate)
                    .chain(rounds.iter().map(|r| r.log_inv_rate)),
            ),
            list(&mut config.folding_schedule().iter().copied()),
            list(
                &mut core::iter::once(config.commitment_ood_samples())
                    .chain(rounds.iter().map(|r| r.ood_samples)),
            ),
            list(
                &mut core::iter::once(config.starting_folding_pow_bits())
                    .chain(rounds.iter().map(|r| r.folding_pow_bits)),
            ),
            list(
                &mut rounds
                    .iter()
                    .map(|r| r.num_queries)
                    .chain(core::iter::once(last.num_queries)),
            ),
            list(
                &mut rounds
                    .iter()
                    .map(|r| r.pow_bits)
                    .chain(core::iter::once(last.pow_bits)),
            ),
            config.final_sumcheck_rounds().to_string(),
            config.security_level.to_string(),
            config.pow_bits.to_string(),
        ]
        .join(" | ")
    }

    /// What the library says of its own configuration: bits of an opening, and `log2` of the candidates.
    #[cfg(test)]
    pub(super) fn reported_security(&self) -> Option<(f64, f64)> {
        let report = self.pcs.prescribed_security(&self.protocol)?;
        Some((report.error().bits(), report.log2_max_candidates))
    }

    pub(super) fn max_opening_bytes(&self) -> usize {
        wire::Shape::of(self.config()).max_bytes()
    }

    #[cfg(feature = "prover")]
    pub(super) fn commit(&self, evaluations: Vec<F>) -> (Root, Data) {
        let config = self.config();
        prove::commit(
            evaluations,
            config.round_folding_factor(0),
            config.starting_log_inv_rate,
        )
    }

    #[cfg(feature = "prover")]
    pub(super) fn open(&self, data: &Data, point: &[E], sink: &mut Sink) -> E {
        let (bytes, value) = prove::open(
            self.config(),
            &self.seeds,
            data,
            point,
            sink.transcript.challenger(),
            self.max_opening_bytes(),
        );
        sink.append(&bytes);
        value
    }

    pub(super) fn verify(
        &self,
        root: &Root,
        point: &[E],
        value: E,
        source: &mut Source<'_>,
    ) -> Result<(), Refused> {
        let whir = wire::decode(&wire::Shape::of(self.config()), source)?;
        let proof = p3_whir::PcsProof {
            whir,
            evals: vec![OpeningBatch::new(vec![value], vec![])],
        };
        self.pcs
            .verify_at(
                &MerkleCap::new(vec![root.0]),
                &proof,
                &self.protocol,
                &[Point::new(point.to_vec())],
                source.transcript.challenger(),
            )
            .map(|_| ())
            .map_err(|e| Refused::Opening(e.to_string()))
    }
}
