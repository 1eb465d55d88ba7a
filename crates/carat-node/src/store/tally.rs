//! What is in a store, counted one by one: kinds of evidence are different things and are never added up.

use std::collections::{BTreeMap, BTreeSet};

use carat_receipt::evidence::{Body, Evidence};
use carat_receipt::{Digest, SignedStatement};
use serde::{Deserialize, Serialize};

use super::records::{JobKind, JobRecord, JobState, ReceiptRecord};
use super::seal::Kind;
use super::{Store, StoreFault};

/// Jobs of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jobs {
    /// Waiting, or being worked on.
    pub waiting: u64,
    /// Of those, the ones whose promised time is over.
    pub overdue: u64,
    /// Done.
    pub done: u64,
    /// It could not be done; the job says why.
    pub failed: u64,
}

/// What is in a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Answers with a receipt: each ran a model once.
    pub inferences: u64,
    /// Answers of upstreams that were passed on with a receipt: nothing ran here.
    pub carried: u64,
    /// By the rung that their Statements promise; `none`: no plan was signed.
    pub by_rung: BTreeMap<String, u64>,
    /// By model, as it was asked for.
    pub by_model: BTreeMap<String, u64>,
    /// By tenant.
    pub by_tenant: BTreeMap<String, u64>,
    /// Receipts whose place in the log is noted.
    pub in_log: u64,
    /// Receipts whose inputs and outputs are kept; the others' were erased.
    pub openings: u64,
    /// Proofs. One over several receipts is one.
    pub proofs: u64,
    /// Receipts that a proof covers.
    pub proven: u64,
    /// Replays that came as evidence: somebody ran it again and signed.
    pub replays: u64,
    /// Attestations of machines.
    pub attestations: u64,
    /// Further signatures on Statements.
    pub cosignatures: u64,
    /// Evidence of a kind that this software stores and does not know by name.
    pub other_evidence: u64,
    /// Jobs that asked for an answer.
    pub jobs: Jobs,
    /// Jobs that ask for a proof of an older receipt.
    pub upgrades: Jobs,
    /// Promises that were signed: upgrades that were accepted with a time.
    pub promises: u64,
    /// Promises that were missed; each is an entry of the log.
    pub missed: u64,
}

impl Store {
    /// Counts everything. `now`, in Unix seconds, decides which promises are overdue.
    ///
    /// # Errors
    /// What cannot be read is an error: a count over a damaged store says nothing.
    pub fn tally(&self, now: u64) -> Result<Tally, StoreFault> {
        let mut tally = Tally::default();
        for entry in self.receipts.iter() {
            let (key, bytes) = entry.into_inner().map_err(self.of())?;
            let bytes = self.unshut(Kind::Receipt, &key, bytes)?;
            let record = ReceiptRecord::decode(&bytes).map_err(StoreFault::decode(&self.path))?;
            if record.signed.statement().optional.courier.is_some() {
                tally.carried += 1;
            } else {
                tally.inferences += 1;
                count(&mut tally.by_rung, rung(&record.signed));
            }
            count(&mut tally.by_model, record.model);
            count(&mut tally.by_tenant, record.tenant);
        }
        let logged;
        (tally.promises, tally.missed, logged) = self.count_notices()?;
        tally.in_log = self.keys_of(&self.places)?.saturating_sub(logged);
        tally.openings = self.keys_of(&self.openings)?;
        let (mut proofs, mut proven) = (BTreeSet::new(), BTreeSet::new());
        for entry in self.evidence.iter() {
            let (key, bytes) = entry.into_inner().map_err(self.of())?;
            let bytes = self.unshut(Kind::Evidence, &key, bytes)?;
            let evidence = Evidence::decode(&bytes).map_err(StoreFault::decode(&self.path))?;
            match evidence.body {
                Body::Signature(_) => tally.cosignatures += 1,
                Body::Replay(_) => tally.replays += 1,
                Body::Attestation(_) => tally.attestations += 1,
                Body::Proof(proof) => {
                    proofs.insert(*Digest::sha256(&proof.proof).as_bytes());
                    proven.insert(*evidence.statement.as_bytes());
                }
                _ => tally.other_evidence += 1,
            }
        }
        (tally.proofs, tally.proven) = (proofs.len() as u64, proven.len() as u64);
        for entry in self.jobs.iter() {
            let (key, bytes) = entry.into_inner().map_err(self.of())?;
            let bytes = self.unshut(Kind::Job, &key, bytes)?;
            let job = JobRecord::decode(&bytes).map_err(StoreFault::decode(&self.path))?;
            let jobs = match job.kind {
                JobKind::Infer => &mut tally.jobs,
                JobKind::Upgrade => &mut tally.upgrades,
            };
            match job.state {
                JobState::Queued => {
                    jobs.waiting += 1;
                    jobs.overdue += u64::from(job.deadline != 0 && job.deadline < now);
                }
                JobState::Done(_) => jobs.done += 1,
                JobState::Failed(_) => jobs.failed += 1,
            }
        }
        Ok(tally)
    }

    fn keys_of(&self, keyspace: &fjall::Keyspace) -> Result<u64, StoreFault> {
        let mut count = 0;
        for entry in keyspace.iter() {
            entry.key().map_err(self.of())?;
            count += 1;
        }
        Ok(count)
    }
}

fn rung(signed: &SignedStatement) -> String {
    let plan = signed.statement().optional.plan.as_ref();
    plan.map_or_else(|| "none".into(), |plan| plan.rung.to_string())
}

fn count(counts: &mut BTreeMap<String, u64>, name: String) {
    *counts.entry(name).or_default() += 1;
}
