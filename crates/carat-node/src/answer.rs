//! Answers as callers get them: the same whether they were made now, by a job, or for an earlier request with the same key.

use std::sync::Arc;

use carat_nn::edge::OutputValues;
use carat_receipt::{Digest, Opening, ReceiptFile, Role, SignedStatement};
use carat_verify::{Appraisal, CourierAsked, Question};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::issue;
use crate::node::{Claim, Node};
use crate::problem::Problem;
use crate::served::Served;
use crate::store::{Reason, ReceiptRecord};
use crate::trace::Span;

/// An answer whose receipt is durable.
pub struct Answer {
    /// Its receipt.
    pub id: Digest,
    /// What ran.
    pub model: Arc<Served>,
    /// The Statement.
    pub signed: SignedStatement,
    /// What the model answered.
    pub outputs: Vec<OutputValues>,
    /// The time from the signature until the receipt is durable.
    pub(crate) keeping: Span,
    /// Keeps others with the same idempotency key waiting.
    pub(crate) _claim: Option<Claim>,
}

/// What a receipt is good for, as `carat-verify` says under the server's Trust file.
pub enum GoodFor {
    /// There is no Trust file, so there is no amount.
    NoTrust,
    /// The appraisal.
    Appraised(Box<Appraisal>),
}

impl GoodFor {
    /// The header `Carat-Good-For`: the amount, or `none`, whether anything is still to come, and until when a promised proof
    /// is.
    pub fn header(&self, pending: Pending) -> String {
        let amount = match self {
            Self::NoTrust => "none".to_string(),
            Self::Appraised(appraisal) => appraisal
                .best
                .map_or_else(|| "none".to_string(), |amount| amount.to_string()),
        };
        let any = pending.checkpoint || pending.proof_by.is_some();
        let by = pending
            .proof_by
            .map_or_else(String::new, |by| format!("; proof-by={by}"));
        format!("{amount}; pending={}{by}", if any { "?1" } else { "?0" })
    }

    fn json(&self) -> Value {
        match self {
            Self::NoTrust => Value::Null,
            Self::Appraised(appraisal) => json!({
                "amount": appraisal.best,
                "verdict": appraisal.verdict,
                "trust": appraisal.trust,
                "sets": appraisal.good_for,
            }),
        }
    }
}

/// What a receipt still waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// No checkpoint of the log covers it yet.
    pub checkpoint: bool,
    /// Its plan promised a proof until then, Unix seconds, and it has none yet.
    pub proof_by: Option<u64>,
}

/// An answer, ready to be sent.
pub struct Shown {
    /// The header `Carat-Good-For`.
    pub good_for: String,
    /// The body.
    pub json: Value,
}

/// What a caller wants inside the answer instead of fetching it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inline {
    /// The receipt file.
    pub receipt: bool,
    /// The opening.
    pub opening: bool,
}

impl Node {
    /// A receipt of a tenant. Another tenant's is not told apart from one that does not exist.
    pub fn record(&self, tenant: &str, id: &Digest) -> Result<ReceiptRecord, Problem> {
        match self.store.receipt(id)? {
            Some(record) if record.tenant == tenant => Ok(record),
            _ => Err(Problem::not_found("receipt")),
        }
    }

    /// Where a receipt stands in the log. One that is not there yet is not shown to anybody.
    fn place(&self, id: &Digest) -> Result<u64, Problem> {
        self.store.place(id)?.ok_or_else(|| {
            Problem::stopping("the receipt is not in the log yet; it is shown once it is")
        })
    }

    /// What a receipt at a place of the log still waits for.
    fn pending(&self, signed: &SignedStatement, index: u64) -> Result<Pending, Problem> {
        let plan = signed.statement().optional.plan.as_ref();
        let proof_by = match plan.and_then(|plan| plan.proof_deadline) {
            Some(by) if !self.is_proven(&signed.receipt_id())? => Some(by),
            _ => None,
        };
        Ok(Pending {
            checkpoint: index >= self.log.stats().published,
            proof_by,
        })
    }

    /// Whether a receipt has a proof.
    pub(crate) fn is_proven(&self, id: &Digest) -> Result<bool, Problem> {
        let evidence = self.store.evidence(id)?;
        Ok(evidence
            .iter()
            .any(|item| item.body.kind() == carat_receipt::evidence::Kind::Proof))
    }

    /// What a receipt of a tenant still waits for.
    pub(crate) fn pending_of(&self, tenant: &str, id: &Digest) -> Result<Pending, Problem> {
        self.pending(&self.record(tenant, id)?.signed, self.place(id)?)
    }

    /// The receipt file, with what the log gives for it now.
    pub fn receipt_file(&self, record: ReceiptRecord, now: u64) -> Result<ReceiptFile, Problem> {
        let index = self.place(&record.signed.receipt_id())?;
        let mut file = self.store.file(record)?;
        if let Some(part) = &mut file.log {
            let leaf = issue::leaf_of(&file.signed, &part.blind);
            part.items
                .push(issue::log_item(&self.log, &leaf, index, now)?);
        }
        Ok(file)
    }

    /// What opens a receipt of a tenant.
    pub fn opening(&self, id: &Digest) -> Result<Opening, Problem> {
        if let Some(opening) = self.store.opening(id)? {
            return Ok(opening);
        }
        let why = match self.store.erased(id)? {
            Some(erased) if erased.reason == Reason::Retention => format!(
                "the time for which its opening was kept was over, and it was erased at {} (Unix seconds)",
                erased.at
            ),
            Some(erased) => format!(
                "its opening was erased by request at {} (Unix seconds)",
                erased.at
            ),
            None => "its opening was erased".to_string(),
        };
        Err(Problem::new(
            410,
            "erased",
            format!("{why}; the receipt is still valid, but nothing more can be made from it here"),
        ))
    }

    /// An answer that was given before, from what is stored.
    pub fn answered(&self, tenant: &str, id: &Digest) -> Result<(Answer, u64), Problem> {
        let record = self.record(tenant, id)?;
        let index = self.place(id)?;
        let opening = self.opening(id)?;
        let program = record.signed.statement().program;
        let model = self
            .models
            .iter()
            .find(|served| served.model.digest == program)
            .cloned()
            .ok_or_else(|| {
                Problem::new(
                    410,
                    "model-gone",
                    format!("the model of that receipt, program {program}, is not served any more; the receipt itself is at /v1/receipts/{id}"),
                )
            })?;
        let fits = opening.output.commitment(Role::Output) == record.signed.statement().output;
        let program = model.model.program();
        let outputs = program
            .decode(&opening.output.bytes)
            .map_err(Failure::of(Exit::Store))?;
        let outputs = program
            .show(&outputs)
            .filter(|_| fits)
            .ok_or_else(|| Failure::new(Exit::Store, "the opening is not the receipt's"))?;
        let answer = Answer {
            id: *id,
            model,
            signed: record.signed,
            outputs,
            keeping: Span::none(),
            _claim: None,
        };
        Ok((answer, index))
    }

    /// What a receipt is good for under the server's Trust file, to whom it names.
    pub fn good_for(&self, tenant: &str, id: &Digest, now: u64) -> Result<GoodFor, Problem> {
        let Some(trust) = &self.trust else {
            return Ok(GoodFor::NoTrust);
        };
        let file = self.receipt_file(self.record(tenant, id)?, now)?;
        let opening = self.store.opening(id)?;
        let optional = &file.signed.statement().optional;
        let question = Question {
            now,
            trust: Some(trust),
            nonce: optional.nonce.as_ref().map(|nonce| nonce.as_bytes()),
            audience: optional.audience.as_ref(),
            opening: opening.as_ref(),
            courier: optional.courier.as_ref().map(|claims| CourierAsked {
                endpoint: claims.endpoint.as_str(),
                model: file.signed.statement().model_name.as_str(),
            }),
            ..Question::default()
        };
        let appraisal =
            carat_verify::appraise(&file, &question).map_err(Failure::of(Exit::Trust))?;
        Ok(GoodFor::Appraised(Box::new(appraisal)))
    }

    /// What the caller is sent.
    pub fn show(
        &self,
        tenant: &str,
        answer: &Answer,
        index: u64,
        inline: Inline,
        now: u64,
    ) -> Result<Shown, Problem> {
        let id = answer.id;
        let pending = self.pending(&answer.signed, index)?;
        let good_for = self.good_for(tenant, &id, now)?;
        let statement = answer.signed.statement();
        let mut json = json!({
            "receipt_id": id,
            "model": {
                "name": answer.model.name,
                "version": statement.model_version,
                "program": statement.program,
            },
            "outputs": answer.outputs,
            "good_for": good_for.json(),
            "log": { "index": index, "pending": pending.checkpoint },
            "links": {
                "receipt": format!("/v1/receipts/{id}"),
                "opening": format!("/v1/receipts/{id}/opening"),
            },
        });
        if let Some(plan) = &statement.optional.plan {
            json["plan"] = json!({
                "rung": plan.rung,
                "tau": plan.tau,
                "policy": statement.optional.policy,
            });
            if let Some(by) = plan.proof_deadline {
                json["plan"]["proof_by"] = json!(by);
                json["plan"]["proof_pending"] = json!(pending.proof_by.is_some());
            }
        }
        if inline.receipt {
            let file = self.receipt_file(self.record(tenant, &id)?, now)?;
            json["receipt"] = json!(crate::call::base64(&file.encode()));
        }
        if inline.opening {
            json["opening"] = json!(crate::call::base64(&self.opening(&id)?.encode()));
        }
        Ok(Shown {
            good_for: good_for.header(pending),
            json,
        })
    }
}
