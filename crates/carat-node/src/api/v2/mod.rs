//! The Open Inference Protocol, version 2 (KServe), with the binary tensor data extension, as Triton's clients speak it.
//!
//! Receipt and worth stand in the answer's `parameters` and in the same headers as elsewhere; what a caller asks for stands in
//! the request's `parameters` (`carat_nonce`, `carat_audience`, `carat_at_stake`, `carat_impact`, `carat_retain`) or
//! in headers.

mod tensors;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use carat_nn::edge::Values;
use carat_receipt::Digest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::infer::{Found, asked, call, claimed, key, wait};
use super::{Shared, body_of, bytes_response, caller, json_response, retry_after, set, text};
use crate::access::Scope;
use crate::answer::{Answer, Inline};
use crate::call::{Asked, Form, Raw};
use crate::model::Computation;
use crate::node::{Node, now};
use crate::problem::Problem;
use crate::served::Served;
use crate::store::Target;

/// The header that says where JSON ends and tensors begin.
const JSON_LENGTH: &str = "inference-header-content-length";
/// Most tensors in one request.
const MAX_TENSORS: usize = 256;

pub(super) fn router() -> Router<Arc<Node>> {
    let models = Router::new()
        .route("/", get(model))
        .route("/ready", get(model_ready))
        .route("/infer", post(infer));
    let versions = Router::new()
        .route("/", get(version))
        .route("/ready", get(version_ready))
        .route("/infer", post(version_infer));
    Router::new()
        .route("/v2", get(server))
        .route("/v2/health/live", get(super::live))
        .route("/v2/health/ready", get(super::ready))
        .nest("/v2/models/{name}", models)
        .nest("/v2/models/{name}/versions/{version}", versions)
}

/// Errors as the protocol has them; the kind is ours.
fn refused(problem: Problem) -> Response {
    let mut json = json!({ "error": problem.detail, "kind": problem.kind });
    if let Some(decision) = &problem.extra {
        json["decision"] = Value::clone(decision);
    }
    let mut response = json_response(problem.status, &json);
    retry_after(&mut response, &problem);
    response
}

async fn server() -> Response {
    json_response(
        200,
        &json!({
            "name": "carat",
            "version": env!("CARGO_PKG_VERSION"),
            "extensions": ["binary_tensor_data"],
        }),
    )
}

/// The model of a name and, where one is given, a version.
fn find<'a>(node: &'a Node, name: &str, version: Option<&str>) -> Result<&'a Arc<Served>, Problem> {
    let served = node.model(name)?;
    match version {
        Some(version) if served.model.version.as_str() != version => {
            Err(Problem::not_found("version of the model"))
        }
        _ => Ok(served),
    }
}

async fn model(State(node): Shared, Path(name): Path<String>, headers: HeaderMap) -> Response {
    metadata(&node, &name, None, &headers)
}

async fn version(
    State(node): Shared,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    metadata(&node, &name, Some(&version), &headers)
}

fn metadata(node: &Node, name: &str, version: Option<&str>, headers: &HeaderMap) -> Response {
    let found = caller(node, headers, Scope::Infer).and_then(|_| find(node, name, version));
    let served = match found {
        Ok(served) => served,
        Err(error) => return refused(error),
    };
    let program = served.model.program();
    let inputs: Vec<_> = program
        .inputs()
        .iter()
        .map(|input| {
            json!({
                "name": input.name,
                "datatype": tensors::datatype(input.dtype),
                "shape": input.dims,
            })
        })
        .collect();
    // A length that depends on the input is -1, as the protocol says.
    let outputs: Vec<_> = program
        .outputs()
        .iter()
        .map(|output| {
            json!({
                "name": output.name,
                "datatype": tensors::answer_datatype(output.dtype),
                "shape": output.dims.as_ref().map_or(json!([-1]), |dims| json!(dims)),
            })
        })
        .collect();
    json_response(
        200,
        &json!({
            "name": served.name,
            "versions": [served.model.version],
            "platform": match program {
                Computation::Integer(_) => "carat_integer",
                Computation::Pinned(_) => "carat_float",
            },
            "inputs": inputs,
            "outputs": outputs,
        }),
    )
}

async fn model_ready(State(node): Shared, Path(name): Path<String>) -> Response {
    readiness(&node, &name, None)
}

async fn version_ready(
    State(node): Shared,
    Path((name, version)): Path<(String, String)>,
) -> Response {
    readiness(&node, &name, Some(&version))
}

fn readiness(node: &Node, name: &str, version: Option<&str>) -> Response {
    match node.ready().and_then(|()| find(node, name, version)) {
        Ok(served) => json_response(200, &json!({ "name": served.name, "ready": true })),
        Err(error) => refused(error),
    }
}

/// The JSON part of a request. Fields of extensions that are not spoken here are refused by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    id: Option<String>,
    inputs: Vec<tensors::Input>,
    #[serde(default)]
    outputs: Vec<Output>,
    #[serde(default)]
    parameters: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: BTreeMap<String, Value>,
}

async fn infer(
    State(node): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&node, &name, None, &headers, body)
        .await
        .unwrap_or_else(refused)
}

async fn version_infer(
    State(node): Shared,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&node, &name, Some(&version), &headers, body)
        .await
        .unwrap_or_else(refused)
}

async fn answer(
    node: &Node,
    name: &str,
    version: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = caller(node, headers, Scope::Infer)?;
    let served = find(node, name, version)?.clone();
    let body = body_of(node, headers, body).await?;
    let length = match text(headers, JSON_LENGTH)? {
        None => body.len(),
        Some(length) => length
            .parse()
            .ok()
            .filter(|length| *length <= body.len())
            .ok_or_else(|| {
                Problem::bad_request(
                    "Inference-Header-Content-Length is not a length within the body",
                )
            })?,
    };
    let asked = asked(headers)?;
    let key = match key(headers, &caller)? {
        None => None,
        Some(key) => {
            let raw = Raw {
                model: name.to_string(),
                form: Form::Json,
                asked: asked.clone(),
                body: body.to_vec(),
            };
            Some((key, raw.digest(&format!("v2/{length}"))?))
        }
    };
    let (head, tensors) = body.split_at(length);
    let request: Request = serde_json::from_slice(head)
        .map_err(|error| Problem::bad_request(format!("the request: {error}")))?;
    let wanted = Wanted::read(&request, served.model.program())?;
    let asked = join(asked, &request.parameters)?;
    let inputs = inputs(served.model.program(), &request.inputs, tensors)?;
    let claim = match claimed(node, key).await? {
        Found::Known(Target::Receipt(id)) => {
            let (answer, index) = node.answered(&caller.tenant, &id)?;
            let mut response = respond(node, &caller.tenant, &request, &wanted, &answer, index)?;
            set(&mut response, "idempotent-replayed", "true");
            return Ok(response);
        }
        Found::Known(Target::Job(_)) => {
            return Err(Problem::new(
                409,
                "key-reused",
                "that Idempotency-Key was used for another request",
            ));
        }
        Found::New(claim) => claim,
    };
    let call = call(node, &caller, name, inputs, asked)?;
    let (answer, index) = wait(node, call, key, claim).await?;
    respond(node, &caller.tenant, &request, &wanted, &answer, index)
}

/// What the request's parameters ask for, beside what headers say.
fn join(mut asked: Asked, parameters: &BTreeMap<String, Value>) -> Result<Asked, Problem> {
    for (name, value) in parameters {
        let twice =
            || Problem::bad_request(format!("{name} is given in a header too; give it once"));
        let text = || {
            value
                .as_str()
                .ok_or_else(|| Problem::bad_request(format!("the parameter {name} is no text")))
        };
        let bad =
            |error: &dyn ToString| Problem::bad_request(format!("{name}: {}", error.to_string()));
        let given = match name.as_str() {
            "carat_nonce" => asked.nonce.replace(text()?.to_string()).is_some(),
            "carat_impact" => asked.impact.replace(text()?.to_string()).is_some(),
            "carat_audience" => {
                let label = carat_receipt::Label::new(text()?).map_err(|error| bad(&error))?;
                asked.audience.replace(label).is_some()
            }
            "carat_at_stake" => {
                let amount = text()?
                    .parse()
                    .map_err(|error: carat_receipt::AmountError| bad(&error))?;
                asked.at_stake.replace(amount).is_some()
            }
            "carat_retain" => {
                let retain = text()?.parse().map_err(|error: String| bad(&error))?;
                asked.retain.replace(retain).is_some()
            }
            "binary_data_output" => false,
            _ => {
                return Err(Problem::bad_request(format!(
                    "the parameter {name} is not known here"
                )));
            }
        };
        if given {
            return Err(twice());
        }
    }
    Ok(asked)
}

/// The inputs of a program, in its order.
fn inputs(
    program: Computation<'_>,
    given: &[tensors::Input],
    mut binary: &[u8],
) -> Result<Vec<Values>, Problem> {
    if given.len() > MAX_TENSORS {
        return Err(Problem::bad_request(format!(
            "at most {MAX_TENSORS} inputs"
        )));
    }
    let specs = program.inputs();
    let mut found = BTreeMap::new();
    for input in given {
        if specs.iter().all(|spec| spec.name != input.name) {
            return Err(Problem::bad_request(format!(
                "the model has no input {:?}",
                input.name
            )));
        }
        let values = input
            .values(&mut binary)
            .map_err(|error| Problem::bad_request(format!("input {:?}: {error}", input.name)))?;
        if found.insert(input.name.as_str(), values).is_some() {
            return Err(Problem::bad_request(format!(
                "the input {:?} is given twice",
                input.name
            )));
        }
    }
    if !binary.is_empty() {
        return Err(Problem::bad_request(format!(
            "{} bytes after the last tensor",
            binary.len()
        )));
    }
    specs
        .iter()
        .map(|spec| {
            found.remove(spec.name.as_str()).ok_or_else(|| {
                Problem::bad_request(format!("the input {:?} is missing", spec.name))
            })
        })
        .collect()
}

/// Which outputs are wanted, and in which form.
struct Wanted(Vec<(usize, bool)>);

impl Wanted {
    fn read(request: &Request, program: Computation<'_>) -> Result<Self, Problem> {
        let flag = |parameters: &BTreeMap<String, Value>, name: &str| match parameters.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(Problem::bad_request(format!(
                "the parameter {name} is true or false"
            ))),
        };
        let all = flag(&request.parameters, "binary_data_output")?.unwrap_or(false);
        let specs = program.outputs();
        if request.outputs.is_empty() {
            return Ok(Self((0..specs.len()).map(|i| (i, all)).collect()));
        }
        if request.outputs.len() > MAX_TENSORS {
            return Err(Problem::bad_request(format!(
                "at most {MAX_TENSORS} outputs"
            )));
        }
        let mut wanted = Vec::new();
        for output in &request.outputs {
            let place = specs
                .iter()
                .position(|spec| spec.name == output.name)
                .ok_or_else(|| {
                    Problem::bad_request(format!("the model has no output {:?}", output.name))
                })?;
            if let Some(other) = output.parameters.keys().find(|name| *name != "binary_data") {
                return Err(Problem::bad_request(format!(
                    "output {:?}: the parameter {other} is not known here",
                    output.name
                )));
            }
            wanted.push((
                place,
                flag(&output.parameters, "binary_data")?.unwrap_or(all),
            ));
        }
        Ok(Self(wanted))
    }
}

fn respond(
    node: &Node,
    tenant: &str,
    request: &Request,
    wanted: &Wanted,
    answer: &Answer,
    index: u64,
) -> Result<Response, Problem> {
    let shown = node.show(tenant, answer, index, Inline::default(), now()?)?;
    let specs = answer.model.model.program().outputs();
    let mut binary = Vec::new();
    let mut outputs = Vec::new();
    for (place, as_bytes) in &wanted.0 {
        let (Some(spec), Some(values)) = (specs.get(*place), answer.outputs.get(*place)) else {
            continue;
        };
        outputs.push(tensors::output(spec.dtype, values, *as_bytes, &mut binary));
    }
    let id: Digest = answer.id;
    let mut json = json!({
        "model_name": answer.model.name,
        "model_version": answer.signed.statement().model_version,
        "outputs": outputs,
        "parameters": {
            "carat_receipt_id": id,
            "carat_good_for": shown.good_for,
        },
    });
    if let Some(request_id) = &request.id {
        json["id"] = json!(request_id);
    }
    let mut bytes = json.to_string().into_bytes();
    let length = bytes.len();
    let media_type = if binary.is_empty() {
        "application/json"
    } else {
        "application/octet-stream"
    };
    let has_binary = !binary.is_empty();
    bytes.append(&mut binary);
    let mut response = bytes_response(200, media_type, bytes);
    if has_binary {
        set(&mut response, JSON_LENGTH, &length.to_string());
    }
    set(&mut response, "carat-receipt-id", &id.to_string());
    set(&mut response, "carat-good-for", &shown.good_for);
    Ok(response)
}
