//! Answers of upstreams, on the same way to the disk and the log as those of models that run here.

use std::time::Instant;

use carat_policy::Micros;
use carat_policy::cel::Value;
use carat_policy::facts::Facts;
use carat_policy::policy_file::{Mode, Policy};
use carat_receipt::courier::{UNVERSIONED, identity};
use carat_receipt::{Digest, Label};
use tokio::sync::oneshot;
use tokio::task::block_in_place;

use super::{Node, now};
use crate::courier::passed::Passed;
use crate::courier::{Offer, Upstream};
use crate::keeper::Draft;
use crate::problem::Problem;
use crate::store::{Entry, ReceiptRecord, Remembered, Target};

impl Node {
    /// What the operator's policy says about an answer of an upstream; the digest of the policy that let it pass. A courier's answer
    /// covers nothing, so it is served where nothing is at stake, nothing is required, and neither upstream nor courier is forbidden.
    ///
    /// # Errors
    /// 422 with the rule, where the policy is enforced.
    pub(crate) fn permit_courier(
        &self,
        tenant: &str,
        upstream: &Upstream,
        offer: &Offer,
    ) -> Result<Option<Digest>, Problem> {
        let rules = self.rules.now();
        if !rules.own {
            return Ok(None);
        }
        let program = identity(&upstream.name, &offer.upstream_name);
        let mut facts = Facts::new();
        for (path, value) in [
            (["tenant", "name"], tenant.to_string()),
            (["model", "name"], offer.name.to_string()),
            (["model", "version"], UNVERSIONED.to_string()),
            (["model", "program"], program.to_string()),
        ] {
            facts.set(&path, Value::Text(value));
        }
        let policy = &rules.policy;
        if let Some(why) = self.courier_refused(policy, &facts, &upstream.name) {
            let detail = format!(
                "the policy does not let answers of {} pass: {why}",
                upstream.name
            );
            if policy.mode == Mode::Enforce {
                self.metrics.refusal();
                return Err(Problem::new(422, "refused", detail));
            }
            tracing::warn!(mode = ?policy.mode, "served although {detail}");
        }
        Ok(Some(policy.digest()))
    }

    fn courier_refused(&self, policy: &Policy, facts: &Facts, upstream: &Label) -> Option<String> {
        let consequence = match policy.judge(facts) {
            Ok(judged) => judged.consequence,
            Err(unjudged) => return Some(unjudged.to_string()),
        };
        let atoms = [
            format!("upstream:{upstream}"),
            format!("honest:{}", self.issuer.name),
        ];
        if let Some(forbid) = consequence
            .forbid
            .iter()
            .find(|forbid| atoms.iter().any(|atom| forbid.what.matches(atom)))
        {
            return Some(format!("{} forbids {}", forbid.by, forbid.what.as_str()));
        }
        if let Some(require) = consequence.require.first() {
            return Some(format!("{} requires {}", require.by, require.what.as_str()));
        }
        (consequence.value > Micros::ZERO).then(|| {
            let value = consequence.value.in_currency(policy.currency);
            format!("{value} is at stake, and a courier's answer covers nothing")
        })
    }

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
            ends: None,
            promised: None,
            charge: None,
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
