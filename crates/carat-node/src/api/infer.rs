//! `POST /v1/models/{name}/infer`: the answer with its receipt, at once or as a job.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use carat_nn::edge::Values;
use carat_receipt::{Amount, Digest, Label, Nonce};
use serde_json::json;
use tokio::task::block_in_place;

use super::{Shared, body_of, caller, json_response, problem, set, text};
use crate::access::{Caller, Scope};
use crate::answer::{Answer, Inline};
use crate::call::{Asked, Call, Form, Raw, key_name};
use crate::jobs::{self, PRIORITIES, PRIORITY};
use crate::node::{Claim, Key, Node, now};
use crate::problem::Problem;
use crate::store::{JobId, JobKind, Target, With};

/// `GET /v1/models`.
pub(super) async fn models(State(node): Shared, headers: HeaderMap) -> Response {
    if let Err(error) = caller(&node, &headers, Scope::Infer) {
        return problem(error);
    }
    let models: Vec<_> = node
        .models
        .iter()
        .map(|served| {
            json!({
                "name": served.name,
                "version": served.model.version,
                "program": served.model.digest,
                "rungs": if served.proving.is_some() { vec!["signature", "zk"] } else { vec!["signature"] },
            })
        })
        .collect();
    // Two readers, one answer: `models` are those that run here, `object` and `data` are what OpenAI's clients read.
    let offered = super::openai::offered(&node);
    json_response(
        200,
        &json!({ "models": models, "object": "list", "data": offered }),
    )
}

/// What a caller asks for in headers.
pub(super) fn asked(headers: &HeaderMap) -> Result<Asked, Problem> {
    let parsed = |name: &str| text(headers, name);
    let label = parsed("carat-audience")?
        .map(|text| {
            Label::new(text)
                .map_err(|error| Problem::bad_request(format!("Carat-Audience: {error}")))
        })
        .transpose()?;
    let at_stake = parsed("carat-at-stake")?
        .map(|text| {
            text.parse::<Amount>()
                .map_err(|error| Problem::bad_request(format!("Carat-At-Stake: {error}")))
        })
        .transpose()?;
    let facts = parsed("carat-facts")?
        .map(|text| {
            serde_json::from_str(text)
                .map_err(|error| Problem::bad_request(format!("Carat-Facts: {error}")))
        })
        .transpose()?;
    let retain = parsed("carat-retain")?
        .map(|text| {
            text.parse()
                .map_err(|error| Problem::bad_request(format!("Carat-Retain: {error}")))
        })
        .transpose()?;
    Ok(Asked {
        retain,
        nonce: parsed("carat-nonce")?.map(str::to_string),
        audience: label,
        at_stake,
        impact: parsed("carat-impact")?.map(str::to_string),
        facts,
    })
}

/// `?inline=receipt,opening`.
fn inline(query: Option<&str>) -> Result<Inline, Problem> {
    let mut inline = Inline::default();
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let Some(("inline", values)) = pair.split_once('=') else {
            return Err(Problem::bad_request(
                "the only parameter is inline=receipt,opening",
            ));
        };
        for value in values.split([',']).flat_map(|value| value.split("%2C")) {
            match value {
                "receipt" => inline.receipt = true,
                "opening" => inline.opening = true,
                _ => return Err(Problem::bad_request("inline takes receipt and opening")),
            }
        }
    }
    Ok(inline)
}

/// `POST /v1/models/{name}/infer`.
pub(super) async fn infer(
    State(node): Shared,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answered = async {
        let caller = caller(&node, &headers, Scope::Infer)?;
        let inline = inline(query.as_deref())?;
        if inline.receipt || inline.opening {
            caller.needs(Scope::Read)?;
        }
        node.model(&name)?;
        let form = match text(&headers, "content-type")?
            .map(|of| of.split(';').next().unwrap_or(of).trim())
        {
            Some("application/json") => Form::Json,
            Some("application/x-npy" | "application/octet-stream") => Form::Npy,
            _ => {
                return Err(Problem::new(
                    415,
                    "unsupported-media-type",
                    "send application/json, or a NumPy file as application/x-npy",
                ));
            }
        };
        let priority = priority(&headers)?;
        let raw = Raw {
            model: name,
            form,
            asked: asked(&headers)?,
            body: body_of(&node, &headers, body).await?.to_vec(),
        };
        let later = headers.get_all("prefer").iter().any(|value| {
            value
                .to_str()
                .is_ok_and(|value| value.split(',').any(|one| one.trim() == "respond-async"))
        });
        if later {
            return job(&node, &caller, &headers, priority, raw).await;
        }
        let key = match key(&headers, &caller)? {
            Some(key) => Some((key, raw.digest("infer")?)),
            None => None,
        };
        let claim = match claimed(&node, key).await? {
            Found::Known(Target::Receipt(id)) => {
                let (answer, index) = node.answered(&caller.tenant, &id)?;
                return respond(&node, &caller, &answer, index, inline, true);
            }
            Found::Known(Target::Job(id)) => return job_accepted(&node, &caller, &id),
            Found::New(claim) => claim,
        };
        let model = node.model(&raw.model)?.clone();
        let call = Call::read(&caller.tenant, model, raw.form, raw.asked, &raw.body)?;
        let (answer, index) = wait(&node, call, key, claim).await?;
        respond(&node, &caller, &answer, index, inline, false)
    };
    answered.await.unwrap_or_else(problem)
}

/// What is known of a request.
pub(crate) enum Found {
    /// The same request came before.
    Known(Target),
    /// It is new; others with its key wait.
    New(Option<Claim>),
}

/// The idempotency key of a request.
pub(super) fn key(headers: &HeaderMap, caller: &Caller) -> Result<Option<Digest>, Problem> {
    text(headers, "idempotency-key")?
        .map(|key| key_name(&caller.tenant, key))
        .transpose()
}

/// Looks up a key.
pub(crate) async fn claimed(node: &Node, key: Option<(Digest, Digest)>) -> Result<Found, Problem> {
    match key {
        None => Ok(Found::New(None)),
        Some((key, request)) => Ok(match node.claim(key, request).await? {
            Key::Known(target) => Found::Known(target),
            Key::Mine(claim) => Found::New(Some(claim)),
        }),
    }
}

/// Hands a call over and waits for its durable receipt.
pub(crate) async fn wait(
    node: &Node,
    call: Call,
    key: Option<(Digest, Digest)>,
    claim: Option<Claim>,
) -> Result<(Answer, u64), Problem> {
    let patience = Duration::from_secs(node.config.limits.request_seconds);
    let reply = node.accept(call, key, claim)?;
    match tokio::time::timeout(patience, reply).await {
        Ok(Ok(Ok(mut kept))) => {
            kept.answer.keeping.end();
            Ok((kept.answer, kept.index))
        }
        Ok(Ok(Err(problem))) => Err(problem),
        Ok(Err(_)) => Err(Problem::stopping("the server is going down")),
        Err(_) => Err(Problem::new(
            504,
            "slow",
            format!(
                "no answer within limits.request_seconds = {} s; it is made and kept all the same: repeat the request with \
                 the same Idempotency-Key, or ask for a job (Prefer: respond-async)",
                node.config.limits.request_seconds
            ),
        )
        .after(1)),
    }
}

fn respond(
    node: &Node,
    caller: &Caller,
    answer: &Answer,
    index: u64,
    inline: Inline,
    replayed: bool,
) -> Result<Response, Problem> {
    let shown = node.show(&caller.tenant, answer, index, inline, now()?)?;
    let mut response = json_response(200, &shown.json);
    set(&mut response, "carat-receipt-id", &answer.id.to_string());
    set(&mut response, "carat-good-for", &shown.good_for);
    if replayed {
        set(&mut response, "idempotent-replayed", "true");
    }
    Ok(response)
}

/// The nonce of whoever asks for an upgrade, which the promise or the refusal carries.
pub(super) fn nonce(headers: &HeaderMap) -> Result<Option<Nonce>, Problem> {
    text(headers, "carat-nonce")?
        .map(crate::call::nonce)
        .transpose()
}

/// The priority that a caller asks for.
pub(super) fn priority(headers: &HeaderMap) -> Result<u8, Problem> {
    match text(headers, "carat-priority")? {
        None => Ok(PRIORITY),
        Some(text) => text
            .parse()
            .ok()
            .filter(|priority| PRIORITIES.contains(priority))
            .ok_or_else(|| Problem::bad_request("Carat-Priority is 1, the most urgent, to 9")),
    }
}

async fn job(
    node: &Node,
    caller: &Caller,
    headers: &HeaderMap,
    priority: u8,
    raw: Raw,
) -> Result<Response, Problem> {
    let key = match key(headers, caller)? {
        Some(key) => Some((key, raw.digest("job")?)),
        None => None,
    };
    let _claim = match claimed(node, key).await? {
        Found::Known(Target::Job(id)) => return job_accepted(node, caller, &id),
        Found::Known(Target::Receipt(_)) => {
            return Err(Problem::new(
                409,
                "key-reused",
                "that Idempotency-Key was used for another request",
            ));
        }
        Found::New(claim) => claim,
    };
    // What cannot be read is refused now and not later.
    let model = node.model(&raw.model)?.clone();
    Call::read(
        &caller.tenant,
        model,
        raw.form,
        raw.asked.clone(),
        &raw.body,
    )?;
    let request = raw.encode()?;
    let asked = jobs::Asked {
        tenant: &caller.tenant,
        kind: JobKind::Infer,
        priority,
        deadline: 0,
        request,
        key,
    };
    // It waits for the disk.
    let (id, _) = block_in_place(|| node.put_job(&asked, |_| Ok(With::default())))?;
    job_accepted(node, caller, &id)
}

/// 202 with the job's address.
pub(super) fn job_accepted(node: &Node, caller: &Caller, id: &JobId) -> Result<Response, Problem> {
    let job = node.job(&caller.tenant, id)?;
    let mut response = json_response(202, &super::receipts::job_json(node, id, &job)?);
    set(
        &mut response,
        "location",
        &format!("/v1/jobs/{}", hex::encode(id)),
    );
    set(&mut response, "preference-applied", "respond-async");
    Ok(response)
}

/// Inputs that another form of request gave.
pub(super) fn call(
    node: &Node,
    caller: &Caller,
    name: &str,
    inputs: Vec<Values>,
    asked: Asked,
) -> Result<Call, Problem> {
    Call::new(&caller.tenant, node.model(name)?.clone(), inputs, asked)
}
