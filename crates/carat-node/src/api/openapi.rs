//! `GET /v1/openapi.json`: the interface as an OpenAPI 3.1 document, from one table. A test compares the table with the routes.

mod schemas;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

use self::schemas::Described;
use super::{OPENING, RECEIPT, Shared, json_response};
use crate::courier::Endpoint;

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";
/// What a scope is called where none is asked for.
const FREE: &str = "";

/// An address with a method: path, method, scope, status of success, media type of that, what it does.
type Operation = (
    &'static str,
    &'static str,
    &'static str,
    u16,
    &'static str,
    &'static str,
);

#[rustfmt::skip] // a table
const OPERATIONS: &[Operation] = &[
    ("/v1/openapi.json", "get", FREE, 200, JSON, "This document."),
    ("/v1/models", "get", "infer", 200, JSON, "The models that run here (`models`), and those of upstreams as OpenAI lists them (`data`)."),
    ("/v1/models/{name}", "get", "infer", 200, JSON, "A model of an upstream, as OpenAI describes it."),
    ("/v1/chat/completions", "post", "infer", 200, JSON, "Pass a request on to an upstream, as OpenAI has it; with `stream`, as events. The receipt is a courier's."),
    ("/v1/completions", "post", "infer", 200, JSON, "The same for completions."),
    ("/v1/embeddings", "post", "infer", 200, JSON, "The same for embeddings, which are not streamed."),
    ("/v1/models/{name}/infer", "post", "infer", 200, JSON, "Run a model. The receipt is durable before the answer leaves."),
    ("/v1/jobs/{id}", "get", "infer", 200, JSON, "A job, with its answer once it is there."),
    ("/v1/receipts/{id}", "get", "read", 200, RECEIPT, "The receipt file."),
    ("/v1/receipts/{id}/opening", "get", "read", 200, OPENING, "What opens the receipt's commitments."),
    ("/v1/receipts/{id}/opening", "delete", "erase", 204, OPENING, "Erase the opening; the receipt stays valid."),
    ("/v1/receipts/{id}/quote", "get", "read", 200, JSON, "What an upgrade to a proof costs, and how long it takes."),
    ("/v1/receipts/{id}/upgrade", "post", "upgrade", 202, JSON, "Ask for a proof of the same Statement, as a job."),
    ("/v1/admin/stats", "get", "admin", 200, JSON, "What the node holds, of all tenants, counted kind by kind."),
    ("/v1/admin/entries/{index}", "get", "admin", 200, JSON, "The receipt behind an entry of the log and its opening, for audits."),
    ("/log/checkpoint", "get", FREE, 200, "text/plain", "The log's signed checkpoint (C2SP tlog-checkpoint)."),
    ("/log/tile/{path}", "get", FREE, 200, BYTES, "A tile of the log (C2SP tlog-tiles); the path holds slashes."),
    ("/health/live", "get", FREE, 200, JSON, "The process answers."),
    ("/health/ready", "get", FREE, 200, JSON, "It takes requests."),
    ("/metrics", "get", FREE, 200, "application/openmetrics-text", "Metrics."),
    ("/v2", "get", FREE, 200, JSON, "The server, as the Open Inference Protocol has it."),
    ("/v2/health/live", "get", FREE, 200, JSON, "The process answers."),
    ("/v2/health/ready", "get", FREE, 200, JSON, "It takes requests."),
    ("/v2/models/{name}", "get", "infer", 200, JSON, "A model's inputs and outputs."),
    ("/v2/models/{name}/ready", "get", FREE, 200, JSON, "Whether a model is ready."),
    ("/v2/models/{name}/infer", "post", "infer", 200, JSON, "Run a model, as the Open Inference Protocol has it."),
    ("/v2/models/{name}/versions/{version}", "get", "infer", 200, JSON, "As without a version."),
    ("/v2/models/{name}/versions/{version}/ready", "get", FREE, 200, JSON, "As without a version."),
    ("/v2/models/{name}/versions/{version}/infer", "post", "infer", 200, JSON, "As without a version."),
    ("/v1/hub/models", "get", FREE, 200, JSON, "Search: q, owner, task, licence, operators, execution, rung, max_cost_micros, opset_min, opset_max, max_bytes, sort, offset, limit."),
    ("/v1/hub/models/{owner}/{name}", "get", FREE, 200, JSON, "A model of the hub: versions, tags, and the card of the latest."),
    ("/v1/hub/models/{owner}/{name}/versions", "post", "publish", 201, JSON, "Publish a version, whose files were sent before."),
    ("/v1/hub/models/{owner}/{name}/versions/{revision}", "get", FREE, 200, JSON, "The card of a version; by version, tag or digest."),
    ("/v1/hub/models/{owner}/{name}/versions/{revision}", "delete", "publish", 200, JSON, "Take a version down: its name, digest and the reason stay."),
    ("/v1/hub/models/{owner}/{name}/versions/{revision}/manifest", "get", FREE, 200, JSON, "The bytes that the version's digest is over."),
    ("/v1/hub/models/{owner}/{name}/tags/{tag}", "get", FREE, 200, JSON, "Where a tag stands, and stood."),
    ("/v1/hub/models/{owner}/{name}/tags/{tag}", "put", "publish", 200, JSON, "Put a tag at a version."),
    ("/v1/hub/files/missing", "post", "publish", 200, JSON, "Which of these files have to be sent."),
    ("/v1/hub/files/{sha256}", "put", "publish", 201, JSON, "Send a file."),
    ("/api/models", "get", FREE, 200, JSON, "Search, as clients of the Hugging Face hub ask."),
    ("/api/models/{owner}/{name}", "get", FREE, 200, JSON, "The same: a model."),
    ("/api/models/{owner}/{name}/revision/{revision}", "get", FREE, 200, JSON, "The same: a version."),
    ("/api/models/{owner}/{name}/tree/{revision}", "get", FREE, 200, JSON, "The same: its files."),
    ("/api/models/{owner}/{name}/tree/{revision}/{path}", "get", FREE, 200, JSON, "The same: the files of a folder."),
    ("/{owner}/{name}/resolve/{revision}/{path}", "get", FREE, 200, BYTES, "The same: a file, or a range of it."),
];

/// Headers with which a caller asks for something.
const ASKS: &[(&str, &str)] = &[
    (
        "Carat-Nonce",
        "8 to 64 bytes in hexadecimal; the receipt, or the answer to an upgrade, carries them.",
    ),
    ("Carat-Audience", "For whom the receipt is."),
    (
        "Carat-At-Stake",
        "What a wrong answer could cost, such as 50USD.",
    ),
    ("Carat-Impact", "The same in words: low, moderate, high."),
    (
        "Carat-Facts",
        "Facts for the policy, a JSON object with `request` in it.",
    ),
    (
        "Carat-Retain",
        "How long input and output may be kept, such as 12h.",
    ),
];

/// Headers of what may be a job.
const JOBS: &[(&str, &str)] = &[
    (
        "Idempotency-Key",
        "The same request gives the same receipt or job.",
    ),
    ("Carat-Priority", "Of a job: 1, the most urgent, to 9."),
];

pub(super) async fn openapi(State(node): Shared) -> Response {
    let models: Vec<Described> = node
        .models
        .iter()
        .map(|served| Described::of(served))
        .collect();
    json_response(200, &document(&models))
}

/// The document of a server with these models.
fn document(models: &[Described]) -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let (path, method) = (operation.0, operation.1);
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[method] = describe(operation, models);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Carat node",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs models and gives every answer its receipt; docs/node.md of the repository says how.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key (`carat api-key new`). Not asked for where access is open.",
                },
            },
            "schemas": schemas::components(models),
        },
    })
}

/// Whether what is asked at an address is passed on to an upstream.
fn is_courier(path: &str) -> bool {
    Endpoint::ALL.iter().any(|endpoint| endpoint.path() == path)
}

/// Whether an address is the hub's, under its own prefix or as clients of the Hugging Face hub have it.
fn is_hub(path: &str) -> bool {
    ["/v1/hub/", "/api/models", "/{owner}/"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

fn describe(
    &(path, method, scope, status, media, summary): &Operation,
    models: &[Described],
) -> Value {
    let v2 = path.starts_with("/v2");
    let infers = path.ends_with("/infer");
    let mut responses = Map::new();
    schemas::refused(path, method, scope, &mut responses);
    let mut answers = vec![(status, summary)];
    if infers && !v2 {
        answers.push((202, "Accepted as a job."));
    }
    if path.contains("/resolve/") {
        answers.push((206, "A range of the file."));
    }
    for (status, what) in answers {
        let mut response = json!({ "description": what });
        if status != 204 {
            response["content"] = match (media, status) {
                (JSON, 202) => json!({ JSON: { "schema": schemas::reference("Job") } }),
                (JSON, _) => json!({ JSON: { "schema": schemas::answered(path, method) } }),
                _ => content(media),
            };
        }
        if infers && v2 {
            // Where tensors are wanted as bytes.
            response["content"][BYTES] = content(BYTES)[BYTES].clone();
        }
        if is_courier(path) && !path.ends_with("/embeddings") {
            response["content"]["text/event-stream"] = json!({ "schema": { "type": "string" } });
        }
        if status == 200
            && let Some(headers) = schemas::headers(path, method)
        {
            response["headers"] = headers;
        }
        if let Some(links) = schemas::links(path, status) {
            response["links"] = links;
        }
        responses.insert(status.to_string(), response);
    }
    let mut operation = json!({
        "summary": summary,
        "parameters": parameters(path, models),
        "responses": responses,
        "security": if scope == FREE { json!([]) } else { json!([{ "key": [scope] }]) },
    });
    if is_courier(path) {
        let mut content = json!({});
        content[JSON] = json!({ "schema": {
            "type": "object",
            "required": ["model"],
            "properties": { "model": { "type": "string" } },
        } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    if method == "post" && infers {
        let (name, other) = if v2 {
            ("InferenceRequest", BYTES)
        } else {
            ("Ask", "application/x-npy")
        };
        let mut content = content(other);
        content[JSON] = json!({ "schema": schemas::reference(name) });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

fn parameters(path: &str, models: &[Described]) -> Vec<Value> {
    let of = |place: &str, name: &str, what: &str, schema: Value| json!({ "name": name, "in": place, "required": place == "path", "description": what, "schema": schema });
    let mut parameters: Vec<Value> = path
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| of("path", name, "", schemas::in_path(path, name, models)))
        .collect();
    let courier = is_courier(path);
    let infers = path.ends_with("/infer");
    let upgrades = path.ends_with("/upgrade");
    // An upgrade's nonce is carried by the promise or the refusal; nothing can be bought for what is passed on.
    let headers = [
        (infers, ASKS),
        (courier, &ASKS[..2]),
        (upgrades, &ASKS[..1]),
        (infers || upgrades, JOBS),
        (courier, &JOBS[..1]),
    ];
    for (name, what) in headers
        .iter()
        .filter(|(takes, _)| *takes)
        .flat_map(|(_, headers)| *headers)
    {
        parameters.push(of("header", name, what, schemas::asked(name)));
    }
    if path == "/v1/models/{name}/infer" {
        let both = json!({ "type": "string", "enum": ["receipt", "opening", "receipt,opening"] });
        parameters.extend([
            of("query", "inline", "Put into the answer, in base64.", both),
            of(
                "header",
                "Prefer",
                "`respond-async`: as a job.",
                json!({ "type": "string" }),
            ),
        ]);
    }
    parameters
}

fn content(media: &str) -> Value {
    let schema = match media {
        JSON => json!({ "type": "object" }),
        media if media.starts_with("text/") || media.contains("openmetrics") => {
            json!({ "type": "string" })
        }
        _ => json!({ "type": "string", "format": "binary" }),
    };
    let mut content = json!({});
    content[media] = json!({ "schema": schema });
    content
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::access::Scope;

    /// Calls of `route` in a router's source, with a prefix before the paths of each nested router.
    fn routes(source: &str, prefix: &str) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for call in source.split(".route(").skip(1) {
            let Some((path, rest)) = call.split('"').nth(1).zip(call.split("\", ").nth(1)) else {
                panic!("a route without a path: {call:.60}");
            };
            let method: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
            // The wildcard is axum's, OpenAPI has none.
            let path = path.replace("{*", "{");
            let path = format!("{prefix}{}", if path == "/" { "" } else { &path });
            found.insert((path, method));
        }
        found
    }

    /// What is described is routed, and what is routed is described.
    #[test]
    fn every_route_is_described_and_nothing_else() {
        let mut routed = routes(include_str!("mod.rs"), "");
        let v2 = include_str!("v2/mod.rs");
        let (models, rest) = v2
            .split_once("let versions = Router::new()")
            .expect("two nested routers");
        let (versions, rest) = rest.split_once("Router::new()").expect("the router");
        routed.extend(routes(models, "/v2/models/{name}"));
        routed.extend(routes(versions, "/v2/models/{name}/versions/{version}"));
        routed.extend(routes(rest, ""));
        routed.extend(routes(include_str!("hub/mod.rs"), ""));
        let described: BTreeSet<(String, String)> = OPERATIONS
            .iter()
            .map(|operation| (operation.0.to_string(), operation.1.to_string()))
            .collect();
        assert_eq!(described, routed);
        assert_eq!(described.len(), OPERATIONS.len(), "one is listed twice");
        let document = document(&[]);
        for (path, method) in routed {
            assert!(document["paths"][&path][&method].is_object(), "{path}");
        }
        for operation in OPERATIONS {
            let known = |scope: &Scope| scope.as_str() == operation.2;
            assert!(
                operation.2 == FREE || Scope::ALL.iter().any(known),
                "{operation:?}"
            );
        }
    }

    /// Whatever the document refers to is in it.
    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(fields) => {
                    fields
                        .iter()
                        .for_each(|(name, value)| match value.as_str() {
                            Some(text) if name == "$ref" || name == "operationRef" => {
                                found.push(text)
                            }
                            _ => references(value, found),
                        })
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let document = document(&[]);
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 50, "{}", found.len());
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
