//! `GET /v1/openapi.json`: the interface as an OpenAPI 3.1 document, from one table. A test compares the table with the routes.

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{OPENING, PROBLEM, RECEIPT, json_response};

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
    ("/v1/models", "get", "infer", 200, JSON, "Names, versions and programs of the models."),
    ("/v1/models/{name}/infer", "post", "infer", 200, JSON, "Run a model. The receipt is durable before the answer leaves."),
    ("/v1/jobs/{id}", "get", "infer", 200, JSON, "A job, with its answer once it is there."),
    ("/v1/receipts/{id}", "get", "read", 200, RECEIPT, "The receipt file."),
    ("/v1/receipts/{id}/opening", "get", "read", 200, OPENING, "What opens the receipt's commitments."),
    ("/v1/receipts/{id}/opening", "delete", "erase", 204, OPENING, "Erase the opening; the receipt stays valid."),
    ("/v1/receipts/{id}/quote", "get", "read", 200, JSON, "What an upgrade to a proof costs, and how long it takes."),
    ("/v1/receipts/{id}/upgrade", "post", "upgrade", 202, JSON, "Ask for a proof of the same Statement, as a job."),
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
        "8 to 64 bytes in hexadecimal; the receipt carries them.",
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
];

/// Headers of what may be a job.
const JOBS: &[(&str, &str)] = &[
    (
        "Idempotency-Key",
        "The same request gives the same receipt or job.",
    ),
    ("Carat-Priority", "Of a job: 1, the most urgent, to 9."),
];

pub(super) async fn openapi() -> Response {
    json_response(200, &document())
}

/// The document.
fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let (path, method) = (operation.0, operation.1);
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[method] = describe(operation);
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
            "schemas": {
                "Problem": {
                    "type": "object",
                    "required": ["type", "status", "kind", "detail"],
                    "properties": {
                        "type": { "type": "string" },
                        "status": { "type": "integer" },
                        "kind": { "type": "string", "description": "Stable." },
                        "detail": { "type": "string", "description": "Says what to do." },
                        "decision": { "type": "object", "description": "Of a refusal: what would be sufficient, and what is covered." },
                    },
                },
                "Ask": {
                    "type": "object",
                    "required": ["inputs"],
                    "additionalProperties": false,
                    "properties": {
                        "inputs": { "description": "Values of the model's inputs." },
                        "nonce": { "type": "string" },
                        "audience": { "type": "string" },
                        "at_stake": { "type": "string" },
                        "impact": { "type": "string" },
                        "facts": { "type": "object" },
                    },
                },
            },
        },
    })
}

fn describe(&(path, method, scope, status, media, summary): &Operation) -> Value {
    let v2 = path.starts_with("/v2");
    let mut responses = json!({});
    responses[status.to_string()] = match status {
        204 => json!({ "description": "Done." }),
        _ => json!({ "description": summary, "content": content(media) }),
    };
    responses["default"] = if v2 {
        json!({ "description": "An error, as the protocol has it.", "content": content(JSON) })
    } else {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        let mut content = json!({});
        content[PROBLEM] = json!({ "schema": schema });
        json!({ "description": "A problem document (RFC 9457).", "content": content })
    };
    let mut parameters: Vec<Value> = path
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        })
        .collect();
    let infers = path.ends_with("/infer");
    let headers = [(infers, ASKS), (infers || path.ends_with("/upgrade"), JOBS)];
    for (name, what) in headers
        .iter()
        .filter(|(takes, _)| *takes)
        .flat_map(|(_, headers)| *headers)
    {
        parameters.push(
            json!({ "name": name, "in": "header", "description": what, "schema": { "type": "string" } }),
        );
    }
    let mut operation = json!({
        "summary": summary,
        "parameters": parameters,
        "responses": responses,
        "security": if scope == FREE { json!([]) } else { json!([{ "key": [scope] }]) },
    });
    if infers && !v2 {
        operation["parameters"].as_array_mut().into_iter().for_each(|parameters| {
            parameters.push(json!({ "name": "inline", "in": "query", "description": "`receipt`, `opening`, or both with a comma: put into the answer, in base64.", "schema": { "type": "string" } }));
            parameters.push(json!({ "name": "Prefer", "in": "header", "description": "`respond-async`: as a job.", "schema": { "type": "string" } }));
        });
        operation["responses"]["202"] =
            json!({ "description": "Accepted as a job.", "content": content(JSON) });
    }
    if method == "post" && infers {
        let ask = if v2 {
            json!({ "type": "object", "required": ["inputs"] })
        } else {
            json!({ "$ref": "#/components/schemas/Ask" })
        };
        let mut content = json!({});
        content[JSON] = json!({ "schema": ask });
        let other = if v2 { BYTES } else { "application/x-npy" };
        content[other] = json!({ "schema": { "type": "string", "format": "binary" } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
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
        let document = document();
        for (path, method) in routed {
            assert!(document["paths"][&path][&method].is_object(), "{path}");
        }
    }
}
