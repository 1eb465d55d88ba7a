//! The parts of the OpenAPI document that say what is in parameters, bodies and answers, and with which status a request can be
//! refused. `.ci/run openapi` holds the server to them.

use serde_json::{Map, Value, json};

use super::{FREE, JSON, is_courier, is_hub};
use crate::api::PROBLEM;
use crate::jobs::PRIORITIES;
use crate::served::Served;

/// A model, as the document names it.
pub(super) struct Described {
    name: String,
    version: String,
    inputs: Value,
    example: Value,
}

impl Described {
    pub(super) fn of(served: &Served) -> Self {
        let specs = served.model.program().inputs();
        let (mut properties, mut example) = (Map::new(), Map::new());
        for input in &specs {
            let dims = input.dims.clone().unwrap_or_default();
            properties.insert(input.name.clone(), nested(&dims));
            example.insert(input.name.clone(), zeros(&dims));
        }
        let names: Vec<&String> = specs.iter().map(|input| &input.name).collect();
        Self {
            name: served.name.clone(),
            version: served.model.version.to_string(),
            inputs: json!({
                "title": format!("of {}", served.name),
                "type": "object",
                "required": names,
                "additionalProperties": false,
                "properties": properties,
            }),
            example: json!({ "inputs": example }),
        }
    }
}

/// Arrays of a shape.
fn nested(dims: &[usize]) -> Value {
    dims.iter().rev().fold(
        json!({ "type": "number", "minimum": -1e6, "maximum": 1e6 }),
        |items, axis| json!({ "type": "array", "minItems": axis, "maxItems": axis, "items": items }),
    )
}

fn zeros(dims: &[usize]) -> Value {
    match dims {
        [] => json!(0),
        [first, rest @ ..] => vec![zeros(rest); *first].into(),
    }
}

/// A parameter in the path.
pub(super) fn in_path(path: &str, name: &str, models: &[Described]) -> Value {
    let served = |of: fn(&Described) -> &String| match models {
        [] => json!({ "type": "string" }),
        _ => json!({ "type": "string", "enum": distinct(models.iter().map(of)) }),
    };
    let word = json!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._+-]{0,100}$" });
    match name {
        // Of an upstream, or of the hub.
        "name" if path == "/v1/models/{name}" => json!({ "type": "string" }),
        "name" | "owner" | "revision" | "tag" if is_hub(path) => word,
        "sha256" => hexadecimal(32),
        "path" if is_hub(path) => json!({ "type": "string", "minLength": 1, "maxLength": 255 }),
        "name" => served(|model| &model.name),
        "version" => served(|model| &model.version),
        "path" => json!({
            "type": "string",
            "pattern": r"^(entries|[0-9]{1,2})/(x[0-9]{3}/){0,6}[0-9]{3}(\.p/[0-9]{1,3})?$",
        }),
        "id" if path.starts_with("/v1/jobs") => hexadecimal(16),
        "id" if path.starts_with("/v1/receipts") => hexadecimal(32),
        _ => json!({ "type": "string" }),
    }
}

fn distinct<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let mut texts: Vec<&String> = texts.collect();
    texts.sort();
    texts.dedup();
    texts
}

fn hexadecimal(bytes: usize) -> Value {
    json!({ "type": "string", "pattern": format!("^[0-9a-f]{{{}}}$", 2 * bytes) })
}

/// What a header, or the field of the same name, holds.
pub(super) fn asked(name: &str) -> Value {
    match name {
        "Carat-Nonce" => json!({ "type": "string", "pattern": "^([0-9a-fA-F]{2}){8,64}$" }),
        "Carat-Audience" => json!({ "type": "string", "minLength": 1, "maxLength": 256 }),
        "Carat-At-Stake" => json!({
            "type": "string",
            "pattern": r"^[0-9]{1,12}(\.[0-9]{1,6})? ?[A-Z]{3,}$",
            "examples": ["0.01USD"],
        }),
        "Carat-Impact" => json!({
            "type": "string",
            "enum": carat_policy::policy_file::IMPACTS,
        }),
        "Carat-Facts" => {
            json!({ "type": "string", "contentMediaType": JSON, "examples": ["{\"request\":{}}"] })
        }
        "Idempotency-Key" => json!({ "type": "string", "minLength": 1, "maxLength": 255 }),
        "Carat-Priority" => json!({
            "type": "integer",
            "minimum": PRIORITIES.start(),
            "maximum": PRIORITIES.end(),
        }),
        _ => json!({ "type": "string" }),
    }
}

/// The body of a request for an answer, in the node's own form.
fn ask(models: &[Described]) -> Value {
    // Without names: the only input, as nested arrays of any form that has the right number of elements.
    let bare = json!({ "title": "the only input", "type": ["array", "number", "boolean"] });
    let inputs: Vec<&Value> = models.iter().map(|model| &model.inputs).collect();
    let inputs = match inputs.as_slice() {
        [] => json!({ "description": "Values of the model's inputs." }),
        inputs => {
            let any: Vec<&Value> = inputs.iter().copied().chain([&bare]).collect();
            json!({ "description": "Values of the model's inputs.", "anyOf": any })
        }
    };
    let field = |name: &str| {
        let mut schema = asked(name);
        schema["type"] = json!(["string", "null"]);
        // A list of values would have to hold null as well.
        if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            values.push(Value::Null);
        }
        schema
    };
    json!({
        "type": "object",
        "required": ["inputs"],
        "additionalProperties": false,
        "properties": {
            "inputs": inputs,
            "nonce": field("Carat-Nonce"),
            "audience": field("Carat-Audience"),
            "at_stake": field("Carat-At-Stake"),
            "impact": field("Carat-Impact"),
            "facts": {
                "type": ["object", "null"],
                "additionalProperties": false,
                "properties": { "request": { "type": "object" } },
            },
        },
        "examples": models.iter().map(|model| &model.example).collect::<Vec<_>>(),
    })
}

/// The schemas that others refer to.
pub(super) fn components(models: &[Described]) -> Value {
    let text = json!({ "type": "string" });
    let count = json!({ "type": "integer", "minimum": 0 });
    let maybe = |kind: &str| json!({ "type": [kind, "null"] });
    let object = |required: &[&str], properties: Value| json!({ "type": "object", "required": required, "properties": properties });
    let tensors = json!({
        "type": "array",
        "items": object(&["name", "datatype", "shape"], json!({
            "name": text,
            "datatype": text,
            "shape": { "type": "array", "items": count },
            "data": { "type": "array" },
            "parameters": { "type": "object" },
        })),
    });
    let problem = object(
        &["type", "status", "kind", "detail"],
        json!({
            "type": text,
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "kind": { "type": "string", "description": "Stable." },
            "detail": { "type": "string", "minLength": 10, "description": "Says what to do." },
            "decision": { "type": "object", "description": "Of a refusal: what would be sufficient, and what is covered." },
        }),
    );
    let answer = object(
        &["receipt_id", "model", "outputs", "good_for", "log", "links"],
        json!({
            "receipt_id": hexadecimal(32),
            "model": object(&["name", "version", "program"], json!({ "name": text, "version": text, "program": hexadecimal(32) })),
            "outputs": { "type": "array", "minItems": 1, "items": object(&["name", "shape", "values"], json!({
                "name": text,
                "shape": { "type": "array", "items": count },
                "values": { "type": "array", "items": { "type": "number" } },
                "label": object(&["index", "name"], json!({ "index": count, "name": text })),
            })) },
            "good_for": maybe("object"),
            "log": object(&["index", "pending"], json!({ "index": count, "pending": { "type": "boolean" } })),
            "links": { "type": "object" },
            "plan": { "type": "object" },
            "receipt": { "type": "string", "contentEncoding": "base64" },
            "opening": { "type": "string", "contentEncoding": "base64" },
        }),
    );
    let job = object(
        &["job_id", "kind", "state", "created", "priority"],
        json!({
            "job_id": hexadecimal(16),
            "kind": text,
            "state": text,
            "created": count,
            "promised_by": maybe("integer"),
            "priority": { "type": "integer" },
            "receipt_id": maybe("string"),
            "problem": maybe("object"),
            "answer": { "$ref": "#/components/schemas/Answer" },
        }),
    );
    json!({
        "Problem": problem,
        "Ask": ask(models),
        "Answer": answer,
        "Job": job,
        "Models": object(&["models", "object", "data"], json!({
            "object": text,
            "data": { "type": "array", "items": { "$ref": "#/components/schemas/OfferedModel" } },
            "models": { "type": "array", "items": object(&["name", "version", "program", "rungs"], json!({
                "name": text, "version": text, "program": hexadecimal(32), "rungs": { "type": "array", "items": text },
            })) },
        })),
        "OfferedModel": object(&["id", "object", "created", "owned_by"], json!({
            "id": text, "object": text, "created": count, "owned_by": text,
        })),
        "OpenAIError": object(&["error"], json!({
            "error": object(&["message", "type", "code"], json!({ "message": text, "type": text, "param": maybe("string"), "code": text })),
        })),
        "Quote": object(&["rung", "price"], json!({
            "rung": text, "price": text, "estimated_seconds": count, "promised_within_seconds": count,
        })),
        "InferenceRequest": closed(object(&["inputs"], json!({
            "id": maybe("string"),
            "inputs": { "type": "array", "items": object(&["name", "shape", "datatype"], json!({
                "name": text,
                "shape": { "type": "array", "items": count },
                "datatype": text,
                "data": { "type": "array" },
                "parameters": { "type": "object" },
            })) },
            "outputs": { "type": "array", "items": object(&["name"], json!({ "name": text, "parameters": { "type": "object" } })) },
            "parameters": { "type": "object" },
        }))),
        "InferenceResponse": object(&["model_name", "model_version", "outputs", "parameters"], json!({
            "id": text, "model_name": text, "model_version": text, "outputs": tensors, "parameters": { "type": "object" },
        })),
        "ModelMetadata": object(&["name", "versions", "platform", "inputs", "outputs"], json!({
            "name": text,
            "versions": { "type": "array", "items": text },
            "platform": text,
            "inputs": tensors,
            "outputs": tensors,
        })),
        "InferenceError": object(&["error", "kind"], json!({ "error": text, "kind": text, "decision": { "type": "object" } })),
    })
}

/// With no other fields.
fn closed(mut object: Value) -> Value {
    object["additionalProperties"] = json!(false);
    object
}

/// What an answer with JSON holds.
pub(super) fn answered(path: &str, method: &str) -> Value {
    let name = match (path, method) {
        ("/v1/models", _) => "Models",
        ("/v1/models/{name}", _) => "OfferedModel",
        ("/v1/models/{name}/infer", _) => "Answer",
        ("/v1/jobs/{id}", _) | ("/v1/receipts/{id}/upgrade", "post") => "Job",
        ("/v1/receipts/{id}/quote", _) => "Quote",
        _ if path.starts_with("/v2/models") && path.ends_with("/infer") => "InferenceResponse",
        _ if path.starts_with("/v2/models") && path.ends_with('}') => "ModelMetadata",
        _ if path == "/api/models" || path.contains("/tree/") => {
            return json!({ "type": "array", "items": { "type": "object" } });
        }
        _ => return json!({ "type": "object" }),
    };
    reference(name)
}

pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The statuses with which a request can be refused. An address that is not named here may give all that any gives.
fn refusals(path: &str, method: &str, scope: &str) -> Vec<u16> {
    let mut found: Vec<u16> = Vec::new();
    if is_hub(path) {
        // All that the hub refuses by; 404 where the server has none.
        found.extend([400, 403, 404, 410]);
        if scope != FREE {
            found.extend([408, 409, 413, 415, 422, 507]);
        }
    }
    if scope != FREE {
        // A header twice; no key; another scope; a rate; a clock or a store that cannot be used.
        found.extend([400, 401, 403, 429, 503]);
    }
    if path.contains('{') {
        found.push(404);
    }
    found.extend::<&[u16]>(match (path, method) {
        _ if path.contains("/resolve/") => &[304, 416],
        _ if is_courier(path) => &[404, 408, 409, 410, 413, 415, 422, 502, 504, 507],
        ("/v1/models/{name}", _) => &[],
        _ if path.ends_with("/infer") => &[408, 409, 410, 413, 415, 422, 504, 507],
        ("/v1/receipts/{id}/opening", "get") => &[410],
        ("/v1/receipts/{id}/opening", "delete") => &[507],
        ("/v1/receipts/{id}/quote", _) => &[409, 410, 422],
        ("/v1/receipts/{id}/upgrade", "post") => &[409, 410, 422, 507],
        _ if path.ends_with("/ready") => &[503, 507],
        _ if scope == FREE
            || is_hub(path)
            || ["/v1/models", "/v1/jobs/{id}", "/v1/receipts/{id}"].contains(&path) =>
        {
            &[]
        }
        _ if path.starts_with("/v2") => &[],
        _ => &[404, 408, 409, 410, 413, 415, 422, 504, 507],
    });
    found.sort_unstable();
    found.dedup();
    found
}

/// All answers of an address but its own: refusals, and what a fault of the server looks like.
pub(super) fn refused(path: &str, method: &str, scope: &str, responses: &mut Map<String, Value>) {
    let openai = is_courier(path) || path == "/v1/models/{name}";
    let (media, name) = if path.starts_with("/v2/models") {
        (JSON, "InferenceError")
    } else if openai {
        (JSON, "OpenAIError")
    } else {
        (PROBLEM, "Problem")
    };
    for status in refusals(path, method, scope) {
        let mut response = json!({ "description": meaning(status) });
        if ![304, 416].contains(&status) {
            response["content"][media] = json!({ "schema": reference(name) });
        }
        if status == 429 {
            response["headers"] = json!({ "Retry-After": {
                // An upstream that refuses need not say when.
                "required": !is_courier(path),
                "description": "Seconds.",
                "schema": { "type": "integer", "minimum": 1 },
            } });
        }
        responses.insert(status.to_string(), response);
    }
}

const fn meaning(status: u16) -> &'static str {
    match status {
        304 => "The caller has the file.",
        400 => "The request cannot be read.",
        401 => "The API key is not valid.",
        403 => "The API key lacks the scope.",
        404 => "There is no such thing, or it is another tenant's.",
        408 => "The body did not arrive in time.",
        409 => "The idempotency key stands for another request, or there is a proof already.",
        410 => "It was erased, its time is over, or its model is not served any more.",
        413 => "The body is too large.",
        415 => "The body is of a kind that is not taken.",
        416 => "The file ends before the range.",
        422 => "The input does not fit the model, or the policy refuses.",
        429 => "A limit, which is named; nothing was accepted.",
        502 => "The upstream gave no answer that can be passed on.",
        503 => "The server goes down, or cannot write.",
        504 => "It takes longer than the caller may wait; the receipt is made all the same.",
        507 => "The disk is nearly full.",
        _ => "Refused.",
    }
}

/// The headers of an answer with a receipt.
pub(super) fn headers(path: &str, method: &str) -> Option<Value> {
    let receipt =
        json!({ "required": true, "description": "The receipt.", "schema": hexadecimal(32) });
    match (path, method) {
        _ if path.ends_with("/infer") => Some(json!({
            "Carat-Receipt-Id": receipt,
            "Carat-Good-For": {
                "required": true,
                "description": "What the receipt is good for under the server's Trust file, or none; and whether no checkpoint covers it yet.",
                "schema": { "type": "string", "pattern": r"^(none|[0-9.]+ [A-Z]+); pending=\?[01]$" },
            },
        })),
        ("/v1/receipts/{id}", "get") => Some(json!({ "Carat-Receipt-Id": receipt })),
        _ if is_courier(path) => {
            // The id of a stream's receipt stands at its end.
            let mut receipt = receipt;
            receipt["required"] = json!(path.ends_with("/embeddings"));
            Some(json!({ "Carat-Receipt-Id": receipt }))
        }
        _ => None,
    }
}

/// Where an answer's identifiers lead.
pub(super) fn links(path: &str, status: u16) -> Option<Value> {
    let to = |path: &str, method: &str, id: &str| {
        let place = path.replace('~', "~0").replace('/', "~1");
        json!({
            "operationRef": format!("#/paths/{place}/{method}"),
            "parameters": { "id": id },
        })
    };
    match (path, status) {
        ("/v1/models/{name}/infer", 200) => {
            let id = "$response.body#/receipt_id";
            Some(json!({
                "receipt": to("/v1/receipts/{id}", "get", id),
                "opening": to("/v1/receipts/{id}/opening", "get", id),
                "erase": to("/v1/receipts/{id}/opening", "delete", id),
                "quote": to("/v1/receipts/{id}/quote", "get", id),
                "upgrade": to("/v1/receipts/{id}/upgrade", "post", id),
            }))
        }
        ("/v1/models/{name}/infer" | "/v1/receipts/{id}/upgrade", 202) => {
            Some(json!({ "job": to("/v1/jobs/{id}", "get", "$response.body#/job_id") }))
        }
        _ => None,
    }
}
