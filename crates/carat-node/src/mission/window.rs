//! One window: decide, run, sign, log, prove, draw, replay, and check every receipt as a reader would.

use std::collections::BTreeMap;
use std::time::Instant;

use carat_policy::draw::{Contribution, Epoch, Seed, tau_of_leaf};
use carat_policy::{Micros, Rung};
use carat_program::{Tensor, decode_tensors};
use carat_receipt::{Evidence, ReceiptFile, Role, Salt};

use super::costs::{Spent, timed};
use super::report::Report;
use super::traffic::{Kind, Request};
use super::{BATCH, Mission, PROOF_CAP, models, now};
use crate::exit::{Exit, Failure};
use crate::home::log_failure;
use crate::issue::{self, Order, Signed};
use crate::model;
use crate::planned::{self, Planned};
use crate::prover::{self, Subject};

/// An answer of this window.
pub(super) struct Item {
    request: Request,
    rung: Rung,
    signed: Signed,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    /// Exposure that was open before it.
    open: Micros,
    proof: Option<Evidence>,
}

impl Mission<'_> {
    /// Serves requests until the time is over; gives how many were taken.
    pub(super) fn window(
        &mut self,
        requests: &[Request],
        report: &mut Report,
        until: Instant,
    ) -> Result<usize, Failure> {
        let mut items = Vec::with_capacity(requests.len());
        let (mut open, mut taken) = (Micros::ZERO, 0);
        for request in requests {
            if Instant::now() >= until {
                break;
            }
            taken += 1;
            report.consider(request);
            if let Some(item) = self.serve(*request, open, report)? {
                if item.rung == Rung::SignatureAudit && request.kind != Kind::Settles {
                    open = open.plus(request.value);
                }
                items.push(item);
            }
        }
        let first = self.log.len();
        let leaves: Vec<&[u8]> = items.iter().map(|item| &*item.signed.leaf).collect();
        let (_, spent) = timed(|| self.log.append_batch(&leaves).map_err(log_failure))?;
        report.overhead.log.add(spent);
        self.prove(&mut items, report)?;
        let (checkpoint, spent) = timed(|| self.log.publish().map_err(log_failure))?;
        report.overhead.log.add(spent);
        // Whoever audits would choose this; here nobody else is there.
        let beacon = Salt::generate().map_err(Failure::of(Exit::Io))?;
        if !items.is_empty() {
            let checkpoint = checkpoint
                .verify(&self.log.verifier())
                .map_err(Failure::of(Exit::Store))?;
            let root = *checkpoint.root().as_bytes();
            let epoch = Epoch {
                origin: checkpoint.origin(),
                first,
                size: checkpoint.size(),
                root: &root,
            };
            let beacon = Contribution::Chosen(beacon.as_bytes().to_vec());
            let seed = Seed::new(&epoch, &[beacon]).map_err(Failure::of(Exit::Internal))?;
            for (index, item) in (first..).zip(&items) {
                let tau = tau_of_leaf(&item.signed.leaf);
                if tau.is_some_and(|tau| seed.selects(index, tau)) {
                    let served = &mut self.served[item.request.model];
                    let ((), spent) = timed(|| replay(served, &item.signed))?;
                    report.replayed(item.rung, spent);
                }
            }
        }
        for (index, item) in (first..).zip(items) {
            self.finish(index, item, report)?;
        }
        Ok(taken)
    }

    /// Decides, runs, signs. `None`: refused.
    fn serve(
        &mut self,
        request: Request,
        open: Micros,
        report: &mut Report,
    ) -> Result<Option<Item>, Failure> {
        let environment = self.environment(request.model, open)?;
        let (planned, spent) = timed(|| {
            let mut facts = request.facts()?;
            let model = &self.served[request.model].model;
            planned::complete(&mut facts, &model.identity(), None, &self.policy)?;
            Ok(planned::weigh(&self.policy, &facts, &environment))
        })?;
        report.overhead.planning.add(spent);
        let Some(plan) = planned.plan() else {
            report.refuse(&request, &planned)?;
            return Ok(None);
        };
        report.planned(plan);
        let rung = plan.rung;
        let served = &mut self.served[request.model];
        let inputs = models::random_input(served.model.program(), &mut self.inputs)?;
        let (outputs, spent) = timed(|| served.run(&inputs))?;
        report.overhead.running.add(spent);
        let (signed, signing) = timed(|| self.sign(&request, &inputs, &outputs, spent, &planned))?;
        report.overhead.signing.add(signing);
        Ok(Some(Item {
            request,
            rung,
            signed,
            inputs,
            outputs,
            open,
            proof: None,
        }))
    }

    fn sign(
        &self,
        request: &Request,
        inputs: &[Tensor],
        outputs: &[Tensor],
        run: Spent,
        planned: &Planned,
    ) -> Result<Signed, Failure> {
        let order = Order {
            model: self.served[request.model].model.identity(),
            input: inputs.into(),
            output: outputs.into(),
            wall_micros: run.wall_micros,
            audience: None,
            nonce: None,
            planned: Some(planned),
            io_commitment: None,
            option_expiry: None,
        };
        issue::sign(order, &self.issuer, now()?)
    }

    /// Proves what plans bought as proofs, those that share one together by model.
    fn prove(&mut self, items: &mut [Item], report: &mut Report) -> Result<(), Failure> {
        let mut shared: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut groups: Vec<(Rung, Vec<usize>)> = Vec::new();
        for (i, item) in items.iter().enumerate() {
            match item.rung {
                Rung::Zk => groups.push((Rung::Zk, vec![i])),
                Rung::BatchedZk => shared.entry(item.request.model).or_default().push(i),
                _ => {}
            }
        }
        for group in shared.into_values() {
            let chunks = group.chunks(BATCH as usize);
            groups.extend(chunks.map(|chunk| (Rung::BatchedZk, chunk.to_vec())));
        }
        for (rung, group) in groups {
            let subjects: Vec<Subject> = group
                .iter()
                .map(|i| Subject {
                    statement: items[*i].signed.signed.receipt_id(),
                    inputs: items[*i].inputs.clone(),
                    outputs: items[*i].outputs.clone(),
                })
                .collect();
            let (profile, doing) = (self.profile, self.doing);
            let how = prover::How::succinct(profile, self.memory);
            let served = &mut self.served[items[group[0]].request.model];
            let (proved, spent) = timed(|| {
                let (model, key, executable) = served.proving(profile)?;
                prover::proof_with(model, key, executable, &subjects, &how, doing)
            })?;
            report.proved(rung, group.len() as u64, proved.bytes, spent);
            for (i, evidence) in group.iter().zip(proved.evidence) {
                items[*i].proof = Some(evidence);
            }
        }
        Ok(())
    }

    /// Makes the receipt, reads it back as anyone would, and weighs what it is good for from what was signed.
    fn finish(&self, index: u64, item: Item, report: &mut Report) -> Result<(), Failure> {
        let program = self.served[item.request.model].model.program().encode();
        let (bytes, spent) = timed(|| {
            let Signed { signed, blind, .. } = item.signed;
            let mut file = issue::receipt(signed, program, &blind, &self.log, index, now()?)?;
            if let Some(evidence) = item.proof {
                file.add_evidence(evidence)
                    .map_err(Failure::of(Exit::Internal))?;
            }
            Ok(file.encode())
        })?;
        report.overhead.receipts.add(spent);
        report.receipt_bytes += bytes.len() as u64;
        let read = ReceiptFile::decode(&bytes).map_err(Failure::of(Exit::Internal))?;
        read.signed
            .verify_signature()
            .map_err(Failure::of(Exit::Internal))?;
        let good_for = match &read.signed.statement().optional.plan {
            Some(plan) if plan.tau > 0 => {
                let tau = carat_policy::Tau(plan.tau);
                self.backing.audited(item.request.kind, tau, item.open)
            }
            // Proofs were verified before they became evidence.
            Some(_) if !read.evidence().is_empty() => PROOF_CAP,
            _ => Micros::ZERO,
        };
        report.receipts += 1;
        report.served_uncovered.weigh(item.request.value, good_for);
        Ok(())
    }
}

/// What an auditor does: opens the commitments of the signed Statement, runs the input again, compares.
pub(super) fn replay(served: &mut models::Served, signed: &Signed) -> Result<(), Failure> {
    let (statement, opening) = (signed.signed.statement(), &signed.opening);
    let id = signed.signed.receipt_id();
    let wrong = |why: &str| {
        let message = format!("an audit found receipt {id} wrong: {why}");
        Err(Failure::new(Exit::Mismatch, message))
    };
    if opening.input.commitment(Role::Input) != statement.input
        || opening.output.commitment(Role::Output) != statement.output
    {
        return wrong("its opening does not open it");
    }
    let inputs = decode_tensors(&opening.input.bytes).map_err(Failure::of(Exit::Mismatch))?;
    let outputs = served.run(&inputs)?;
    if model::canonical(&outputs) != *opening.output.bytes {
        return wrong("running its model again gives another answer");
    }
    Ok(())
}
