//! Receipts, openings, jobs, quotes and upgrades.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use carat_receipt::Digest;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::infer::{Found, claimed, job_accepted, key, nonce, priority};
use super::{OPENING, RECEIPT, Shared, bytes_response, caller, json_response, problem, set};
use crate::access::Scope;
use crate::node::{Node, now};
use crate::problem::Problem;
use crate::store::{JobId, JobKind, JobRecord, JobState, Target};

fn receipt_id(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|_| Problem::not_found("receipt"))
}

/// `GET /v1/receipts/{id}`: the receipt file.
pub(super) async fn receipt(
    State(node): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answered = || {
        let caller = caller(&node, &headers, Scope::Read)?;
        let id = receipt_id(&id)?;
        let file = node.receipt_file(node.record(&caller.tenant, &id)?, now()?)?;
        let mut response = bytes_response(200, RECEIPT, file.encode());
        set(&mut response, "carat-receipt-id", &id.to_string());
        Ok(response)
    };
    answered().unwrap_or_else(problem)
}

/// `GET /v1/receipts/{id}/opening`: the opening, for the receipt's tenant.
pub(super) async fn opening(
    State(node): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answered = || {
        let caller = caller(&node, &headers, Scope::Read)?;
        let id = receipt_id(&id)?;
        node.record(&caller.tenant, &id)?;
        let bytes = node.opening(&id)?.encode();
        Ok(bytes_response(200, OPENING, bytes.to_vec()))
    };
    answered().unwrap_or_else(problem)
}

/// `DELETE /v1/receipts/{id}/opening`: erases it.
pub(super) async fn erase(
    State(node): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answered = || {
        let caller = caller(&node, &headers, Scope::Erase)?;
        let id = receipt_id(&id)?;
        node.record(&caller.tenant, &id)?;
        block_in_place(|| node.erase(&id))?;
        Ok(bytes_response(204, OPENING, Vec::new()))
    };
    answered().unwrap_or_else(problem)
}

/// `GET /v1/receipts/{id}/quote`: what an upgrade would cost.
pub(super) async fn quote(
    State(node): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answered = || {
        let caller = caller(&node, &headers, Scope::Read)?;
        let quote = node.quote(&caller.tenant, &receipt_id(&id)?)?;
        Ok(json_response(200, &quote.json()))
    };
    answered().unwrap_or_else(problem)
}

/// `POST /v1/receipts/{id}/upgrade`: a proof of the same Statement, as a job.
pub(super) async fn upgrade(
    State(node): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answered = async {
        let caller = caller(&node, &headers, Scope::Upgrade)?;
        let id = receipt_id(&id)?;
        let nonce = nonce(&headers)?;
        let asked = nonce.as_ref().map_or(&[][..], |nonce| nonce.as_bytes());
        let key = key(&headers, &caller)?.map(|key| {
            let request = Digest::of("carat/upgrade-request/v1", &[id.as_bytes(), asked]);
            (key, request)
        });
        let _claim = match claimed(&node, key).await? {
            Found::Known(Target::Job(job)) => return job_accepted(&node, &caller, &job),
            Found::Known(Target::Receipt(_)) => {
                return Err(Problem::new(
                    409,
                    "key-reused",
                    "that Idempotency-Key was used for another request",
                ));
            }
            Found::New(claim) => claim,
        };
        let priority = priority(&headers)?;
        node.ready()?;
        // Another tenant's receipt does not exist, and nothing is signed about what does not.
        node.record(&caller.tenant, &id)?;
        // It waits for the disk.
        let job = block_in_place(|| node.accept_upgrade(&caller.tenant, id, priority, nonce, key))?;
        job_accepted(&node, &caller, &job)
    };
    answered.await.unwrap_or_else(problem)
}

/// `GET /v1/jobs/{id}`.
pub(super) async fn job(
    State(node): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answered = || {
        let caller = caller(&node, &headers, Scope::Infer)?;
        let mut job_id: JobId = [0; 16];
        hex::decode_to_slice(&id, &mut job_id).map_err(|_| Problem::not_found("job"))?;
        let job = node.job(&caller.tenant, &job_id)?;
        job_response(&node, &caller.tenant, &job_id, &job)
    };
    answered().unwrap_or_else(problem)
}

fn job_response(
    node: &Node,
    tenant: &str,
    id: &JobId,
    job: &JobRecord,
) -> Result<Response, Problem> {
    let mut json = job_json(node, id, job)?;
    let JobState::Done(receipt) = &job.state else {
        return Ok(json_response(200, &json));
    };
    let mut good_for = None;
    match job.kind {
        JobKind::Upgrade => {
            let pending = node.pending_of(tenant, receipt)?;
            good_for = Some(node.good_for(tenant, receipt, now()?)?.header(pending));
        }
        JobKind::Infer => match node.answered(tenant, receipt) {
            Ok((answer, index)) => {
                let shown = node.show(tenant, &answer, index, Default::default(), now()?)?;
                json["answer"] = shown.json;
                good_for = Some(shown.good_for);
            }
            // The receipt stays where the opening was erased, or the model is not served any more.
            Err(problem) if problem.status == 410 => {}
            Err(problem) => return Err(problem),
        },
    }
    let mut response = json_response(200, &json);
    set(&mut response, "carat-receipt-id", &receipt.to_string());
    if let Some(good_for) = good_for {
        set(&mut response, "carat-good-for", &good_for);
    }
    Ok(response)
}

/// A job, for callers.
pub(super) fn job_json(node: &Node, id: &JobId, job: &JobRecord) -> Result<Value, Problem> {
    let (state, receipt, failure) = match &job.state {
        JobState::Queued => ("queued", None, None),
        JobState::Done(receipt) => ("done", Some(receipt), None),
        JobState::Failed(why) => ("failed", None, serde_json::from_str::<Value>(why).ok()),
    };
    let mut json = json!({
        "job_id": hex::encode(id),
        "kind": match job.kind { JobKind::Infer => "infer", JobKind::Upgrade => "upgrade" },
        "state": state,
        "created": job.created,
        "promised_by": (job.deadline > 0).then_some(job.deadline),
        "priority": job.priority,
        "receipt_id": receipt,
        "problem": failure,
    });
    if job.kind == JobKind::Upgrade {
        json["notices"] = node.notices_of(id)?;
    }
    Ok(json)
}
