//! Proofs that answers leave with. A worker hands an answer over that lacks nothing but its proof, and goes on with the next
//! request; those of one model that wait together get one proof.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use carat_program::Tensor;
use carat_receipt::{Digest, Evidence};
use tokio::sync::oneshot;

use crate::answer::Answer;
use crate::keeper::Kept;
use crate::node::{Node, draft};
use crate::problem::Problem;
use crate::prover::{self, How, Subject};
use crate::served::{PROFILE, Served};
use crate::store::Entry;
use crate::tell::Silent;
use crate::trace::{self, Context};

/// What a proof is about: a receipt, its input and its output.
pub(crate) type Proven = (Digest, Vec<Tensor>, Vec<Tensor>);

/// An answer that is signed.
pub(crate) struct Made {
    /// What goes into the store.
    pub(crate) entry: Entry,
    /// What goes into the log.
    pub(crate) leaf: Vec<u8>,
    /// What the caller gets.
    pub(crate) answer: Answer,
    /// What is proven before it leaves, where its plan is a proof.
    pub(crate) prove: Option<Proven>,
}

/// An answer on its way, with whoever waits for it.
pub(crate) struct Leaving {
    /// The answer.
    pub(crate) made: Made,
    /// When its request was accepted.
    pub(crate) accepted: Instant,
    /// Where it goes.
    pub(crate) reply: oneshot::Sender<Result<Kept<Answer>, Problem>>,
    /// The span that it is worked under.
    pub(crate) trace: Option<Context>,
}

/// How many proofs are made at a time: each takes memory, and all processors that are free.
#[derive(Debug)]
pub(crate) struct Provers {
    free: Mutex<usize>,
    freed: Condvar,
}

/// The place of one proof; given back when dropped.
struct Place<'a>(&'a Provers);

impl Provers {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            free: Mutex::new(count.max(1)),
            freed: Condvar::new(),
        }
    }

    fn place(&self) -> Place<'_> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = self
                .freed
                .wait(free)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Place(self)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

impl Node {
    /// Sends an answer on: to the disk, or first to a prover.
    pub(crate) fn send_on(&self, leaving: Leaving) {
        if leaving.made.prove.is_none() {
            return self.hand_over(leaving);
        }
        if let Err(leaving) = self.unproven().push(leaving) {
            let problem = Problem::stopping("the server is going down");
            let _ = leaving.reply.send(Err(problem));
        }
    }

    /// Hands an answer to the disk.
    fn hand_over(&self, leaving: Leaving) {
        let Leaving {
            mut made,
            accepted,
            reply,
            trace,
        } = leaving;
        made.answer.keeping = trace::within(trace, || self.span("keep"));
        self.keeper()
            .keep(draft(made.entry, made.leaf, made.answer, accepted, reply));
    }

    /// A prover's life.
    pub(crate) fn prove_answers(&self) {
        let most = self.config.limits.proof_batch;
        let like = |a: &Leaving, b: &Leaving| {
            a.made.answer.model.model.digest == b.made.answer.model.model.digest
        };
        while let Some(batch) = self.unproven().take_like(most, like) {
            let Some(served) = batch
                .first()
                .map(|leaving| leaving.made.answer.model.clone())
            else {
                continue;
            };
            let together = (1..=batch.len())
                .rev()
                .find(|count| self.fits(&served, *count))
                .unwrap_or(1);
            let mut rest = batch.into_iter();
            loop {
                let mut chunk: Vec<Leaving> = rest.by_ref().take(together).collect();
                if chunk.is_empty() {
                    break;
                }
                let statements: Vec<Proven> = chunk
                    .iter_mut()
                    .filter_map(|leaving| leaving.made.prove.take())
                    .collect();
                // A proof of several is in the trace of the first.
                let trace = chunk.first().and_then(|leaving| leaving.trace);
                let proved = trace::within(trace, || self.prove_all(&served, &statements));
                for (mut leaving, proved) in chunk.into_iter().zip(proved) {
                    match proved {
                        Ok(evidence) => {
                            leaving.made.entry.evidence.push(evidence);
                            self.hand_over(leaving);
                        }
                        Err(problem) => {
                            let _ = leaving.reply.send(Err(problem));
                        }
                    }
                }
            }
        }
    }

    /// How proofs are made here.
    fn how(&self) -> How {
        How::succinct(PROFILE, self.config.limits.proof_bytes)
    }

    /// Whether so many statements of a model fit under one proof within the limits.
    pub(crate) fn fits(&self, served: &Served, statements: usize) -> bool {
        // One that does not fit is refused by the prover, in its words.
        statements <= 1
            || served
                .model
                .integer()
                .is_ok_and(|model| prover::fits(model, statements, &self.how()).is_ok())
    }

    /// Proves statements of one model: together, or each alone where together fails, so that one that cannot be proven takes no
    /// other with it. As many results as statements, in their order.
    pub(crate) fn prove_all(
        &self,
        served: &Arc<Served>,
        statements: &[Proven],
    ) -> Vec<Result<Evidence, Problem>> {
        match self.prove(served, statements) {
            Ok(evidence) => evidence.into_iter().map(Ok).collect(),
            Err(problem) if statements.len() <= 1 => vec![Err(problem)],
            Err(problem) => {
                tracing::warn!(
                    model = served.name,
                    error = problem.detail,
                    "proving alone what could not be proven together"
                );
                statements
                    .chunks(1)
                    .map(|one| {
                        let proved = self.prove(served, one)?;
                        proved.into_iter().next().ok_or_else(|| {
                            Problem::new(500, "internal", "a proof without evidence")
                        })
                    })
                    .collect()
            }
        }
    }

    /// Makes one proof of Statements about one model. A panic ends this proof and nothing else.
    fn prove(&self, served: &Served, statements: &[Proven]) -> Result<Vec<Evidence>, Problem> {
        let subjects: Vec<Subject> = statements
            .iter()
            .map(|(statement, inputs, outputs)| Subject {
                statement: *statement,
                inputs: inputs.clone(),
                outputs: outputs.clone(),
            })
            .collect();
        let mut span = self.span("prove");
        span.set("carat.proof.receipts", subjects.len() as u64);
        let _place = self.provers().place();
        let proving = || {
            #[cfg(test)]
            assert!(
                !self.panics.swap(false, std::sync::atomic::Ordering::AcqRel),
                "as a fault of ours would"
            );
            let (model, executable) = served.provable()?;
            prover::proof_with(
                model,
                served.key()?,
                executable,
                &subjects,
                &self.how(),
                &Silent,
            )
        };
        let proved = catch_unwind(AssertUnwindSafe(proving)).unwrap_or_else(|_| {
            tracing::error!(model = served.name, "a fault of carat: a proof panicked");
            Err(crate::exit::Failure::new(
                crate::exit::Exit::Internal,
                "a fault of the server in a proof",
            ))
        })?;
        span.set("carat.proof.bits", proved.ledger.bits as u64);
        span.end();
        self.metrics.proof();
        for _ in &proved.evidence {
            self.metrics.evidence("proof");
        }
        Ok(proved.evidence)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_proofs_at_a_time_than_there_are_places() {
        let provers = Provers::new(2);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _place = provers.place();
                        let at_once = now.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(at_once, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
        assert_eq!(*provers.free.lock().expect("free"), 2);
    }
}
