//! Answers of upstreams, on the same way to the disk and the log as those of models that run here.

use std::time::Instant;

use carat_receipt::Digest;
use tokio::sync::oneshot;
use tokio::task::block_in_place;

use super::{Node, now};
use crate::courier::passed::Passed;
use crate::keeper::Draft;
use crate::problem::Problem;
use crate::store::{Entry, ReceiptRecord, Remembered, Target};

impl Node {
    /// Signs what was passed on and makes its receipt durable. `key` is an idempotency key with the digest of its request.
    pub(crate) async fn keep_passed(
        &self,
        passed: Passed<'_>,
        tenant: &str,
        model: &str,
        key: Option<(Digest, Digest)>,
        accepted: Instant,
    ) -> Result<Digest, Problem> {
        let created = now()?;
        let signed = passed.sign(&self.issuer, created)?;
        let id = signed.signed.receipt_id();
        let entry = Entry {
            id,
            record: ReceiptRecord {
                tenant: tenant.to_string(),
                model: model.to_string(),
                created,
                blind: signed.blind,
                signed: signed.signed,
            },
            opening: signed.opening.encode(),
            evidence: Vec::new(),
            key: key.map(|(key, request)| {
                let target = Target::Receipt(id);
                let remembered = Remembered {
                    request,
                    created,
                    target,
                };
                (key, remembered)
            }),
            job: None,
        };
        let (reply, kept) = oneshot::channel();
        let draft = Draft {
            entry,
            leaf: signed.leaf,
            accepted,
            done: Box::new(move |index| {
                let _ = reply.send(index);
            }),
        };
        // It waits where the disk is slow.
        block_in_place(|| self.keeper.keep(draft));
        match kept.await {
            Ok(index) => index.map(|_| id),
            Err(_) => Err(Problem::stopping("the server is going down")),
        }
    }
}
