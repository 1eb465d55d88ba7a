//! For the operator, while the server runs: what it holds, and what an audit needs. Scope `admin`, which sees all tenants.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::{Shared, caller, json_response, problem};
use crate::access::Scope;
use crate::call::base64;
use crate::exit::{Exit, Failure};
use crate::problem::Problem;

/// `GET /v1/admin/stats`: everything is counted anew, so it takes a moment; one at a time.
pub(super) async fn stats(State(node): Shared, headers: HeaderMap) -> Response {
    let answered = async {
        caller(&node, &headers, Scope::Admin)?;
        let Ok(alone) = node.counting.clone().try_acquire_owned() else {
            return Err(Problem::overloaded("somebody is counting already", 5));
        };
        let counting = node.clone();
        let census = spawn_blocking(move || {
            let _alone = alone;
            counting.census()
        });
        let census = census.await.map_err(Failure::of(Exit::Internal))??;
        let json = serde_json::to_value(census).map_err(Failure::of(Exit::Internal))?;
        Ok(json_response(200, &json))
    };
    answered.await.unwrap_or_else(problem)
}

/// `GET /v1/admin/entries/{index}`: the receipt behind an entry of the log and what opens it, for audits.
pub(super) async fn entry(
    State(node): Shared,
    Path(index): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answered = || {
        caller(&node, &headers, Scope::Admin)?;
        let missing = || Problem::not_found("receipt behind an entry");
        let index: u64 = index.parse().map_err(|_| missing())?;
        let id = node.store.receipt_at(index)?.ok_or_else(missing)?;
        let record = node.store.receipt(&id)?.ok_or_else(missing)?;
        let file = node.store.file(record)?;
        let opening = node.store.opening(&id)?;
        let json = json!({
            "index": index,
            "receipt_id": id,
            "receipt": base64(&file.encode()),
            "opening": opening.map(|opening| base64(&opening.encode())),
        });
        Ok(json_response(200, &json))
    };
    answered().unwrap_or_else(problem)
}
