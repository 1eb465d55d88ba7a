//! The hub over HTTP: models, versions, tags and search under `/v1/hub`, and the same files where clients of the Hugging Face
//! hub look for them ([`layout`]). Reading is for everybody; publishing asks for a key with the scope `publish`.

mod files;
mod layout;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use carat_hub::card::Card;
use carat_hub::search::Query;
use carat_hub::{HubError, Manifest, Publisher, Record, RepoId, Tag, Version};
use carat_receipt::Digest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Shared, body_of, bytes_response, caller, json_response, problem, text};
use crate::access::Scope;
use crate::hub::service::Service;
use crate::node::{Node, now};
use crate::problem::Problem;

/// Most files that are asked about at once.
const MAX_ASKED: usize = carat_hub::manifest::MAX_FILES;

/// The routes.
#[rustfmt::skip] // a table, one line each: the OpenAPI document is compared with it
pub(super) fn router() -> Router<Arc<Node>> {
    Router::new()
        .route("/v1/hub/models", get(search))
        .route("/v1/hub/models/{owner}/{name}", get(model))
        .route("/v1/hub/models/{owner}/{name}/versions", post(publish))
        .route("/v1/hub/models/{owner}/{name}/versions/{revision}", get(version))
        .route("/v1/hub/models/{owner}/{name}/versions/{revision}", delete(take_down))
        .route("/v1/hub/models/{owner}/{name}/versions/{revision}/manifest", get(manifest))
        .route("/v1/hub/models/{owner}/{name}/tags/{tag}", get(tag))
        .route("/v1/hub/models/{owner}/{name}/tags/{tag}", put(move_tag))
        .route("/v1/hub/files/missing", post(missing))
        .route("/v1/hub/files/{sha256}", put(files::upload))
        .route("/api/models", get(layout::models))
        .route("/api/models/{owner}/{name}", get(layout::model))
        .route("/api/models/{owner}/{name}/revision/{revision}", get(layout::revision))
        .route("/api/models/{owner}/{name}/tree/{revision}", get(layout::tree))
        .route("/api/models/{owner}/{name}/tree/{revision}/{*path}", get(layout::subtree))
        .route("/{owner}/{name}/resolve/{revision}/{*path}", get(files::resolve))
}

/// The hub of this server.
pub(crate) fn service(node: &Node) -> Result<Arc<Service>, Problem> {
    node.hub.clone().ok_or_else(|| {
        Problem::new(
            404,
            "no-hub",
            "this server has no hub: its operator adds [hub] to the configuration",
        )
    })
}

/// Runs what reads or writes a disk beside the threads that serve connections.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(Problem::new(
            500,
            "internal",
            "a fault of the server; please report it with the request, if you can",
        ))
    })
}

/// An answer, or a problem document.
fn answer(result: Result<Response, Problem>) -> Response {
    result.unwrap_or_else(problem)
}

pub(crate) fn repo(owner: &str, name: &str) -> Result<RepoId, Problem> {
    Ok(RepoId::new(owner, name)?)
}

/// The pairs of a query.
pub(crate) fn pairs(query: Option<&str>) -> Result<HashMap<String, String>, Problem> {
    let mut found = HashMap::new();
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (unescaped(name)?, unescaped(value)?);
        if found.insert(name.clone(), value).is_some() {
            return Err(Problem::bad_request(format!("{name} is given twice")));
        }
    }
    Ok(found)
}

/// A part of a query without its escapes.
fn unescaped(text: &str) -> Result<String, Problem> {
    let bad = || Problem::bad_request("the query has an escape that is none");
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next().ok_or_else(bad)?, bytes.next().ok_or_else(bad)?];
                let digits = std::str::from_utf8(&digits).map_err(|_| bad())?;
                u8::from_str_radix(digits, 16).map_err(|_| bad())?
            }
            other => other,
        });
    }
    String::from_utf8(out).map_err(|_| bad())
}

/// A search, from the pairs of a query.
pub(crate) fn query(pairs: HashMap<String, String>) -> Result<Query, Problem> {
    let mut query = Query::default();
    for (name, value) in pairs {
        fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, Problem> {
            value
                .parse()
                .map_err(|_| Problem::bad_request(format!("{name} is a whole number")))
        }
        let (text, n) = (value.clone(), value.as_str());
        match name.as_str() {
            "q" if value.chars().count() > carat_hub::search::MAX_QUERY => {
                let most = carat_hub::search::MAX_QUERY;
                return Err(Problem::bad_request(format!(
                    "q has more than {most} characters"
                )));
            }
            "q" => query.q = text,
            "owner" => query.owner = Some(text),
            "task" => query.task = Some(text),
            "licence" => query.licence = Some(text),
            "operators" => query.operators = Some(text),
            "execution" => query.execution = Some(text),
            "rung" => query.rung = Some(text),
            "sort" => query.sort = Some(text),
            "max_cost_micros" => query.max_cost_micros = Some(number(&name, n)?),
            "opset_min" => query.opset_min = Some(number(&name, n)?),
            "opset_max" => query.opset_max = Some(number(&name, n)?),
            "max_bytes" => query.max_bytes = Some(number(&name, n)?),
            "offset" => query.offset = number(&name, n)?,
            "limit" => query.limit = Some(number(&name, n)?),
            _ => {
                return Err(Problem::bad_request(format!(
                    "a search has no parameter {name:?}"
                )));
            }
        }
    }
    Ok(query)
}

async fn search(State(node): Shared, RawQuery(asked): RawQuery) -> Response {
    let found = async {
        let service = service(&node)?;
        let query = query(pairs(asked.as_deref())?)?;
        let found = blocking(move || Ok(service.hub.search(&query))).await?;
        Ok(json_response(200, &json!(found)))
    };
    answer(found.await)
}

/// The card of a version, with the way to call it here if it is served here.
pub(crate) fn card(
    node: &Node,
    service: &Service,
    record: &Record,
    headers: &HeaderMap,
) -> Result<Card, Problem> {
    let plain = |host: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        !host.is_empty() && host.len() < 256 && host.chars().all(plain)
    };
    let host = text(headers, "host")?.filter(plain);
    let address = host.map_or_else(
        || format!("http://{}", node.config.listen),
        |host| format!("http://{host}"),
    );
    let program = record
        .examination
        .as_ref()
        .and_then(|found| found.facts.program);
    let served = node
        .models
        .iter()
        .find(|served| Some(served.model.digest) == program);
    let served = served.map(|served| (address.as_str(), served.name.as_str()));
    Ok(service.hub.card(record, served)?)
}

/// What `latest` names, where it can be shown; else the newest version.
pub(crate) fn latest(service: &Service, repo: &RepoId, newest: &Record) -> Record {
    service
        .hub
        .live(repo, carat_hub::name::LATEST)
        .unwrap_or_else(|_| newest.clone())
}

async fn model(
    State(node): Shared,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    answer(
        blocking(move || {
            let service = service(&node)?;
            let repo = repo(&owner, &name)?;
            let versions = service.hub.versions(&repo)?;
            let Some(newest) = versions.last() else {
                return Err(Problem::not_found("model"));
            };
            let list: Vec<Value> = versions
                .iter()
                .map(|one| {
                    json!({
                        "version": one.manifest.version,
                        "digest": one.digest,
                        "published": one.published,
                        "size": one.manifest.size(),
                        "private": one.manifest.private,
                        "tombstone": one.tombstone,
                    })
                })
                .collect();
            let shown = latest(&service, &repo, newest);
            let json = json!({
                "repo": repo,
                "versions": list,
                "tags": service.hub.tags(&repo)?,
                "card": card(&node, &service, &shown, &headers)?,
            });
            Ok(json_response(200, &json))
        })
        .await,
    )
}

type VersionPath = Path<(String, String, String)>;

async fn version(
    State(node): Shared,
    Path((owner, name, revision)): VersionPath,
    headers: HeaderMap,
) -> Response {
    answer(
        blocking(move || {
            let service = service(&node)?;
            let record = service.hub.resolve(&repo(&owner, &name)?, &revision)?;
            let card = card(&node, &service, &record, &headers)?;
            Ok(json_response(200, &json!(card)))
        })
        .await,
    )
}

async fn manifest(State(node): Shared, Path((owner, name, revision)): VersionPath) -> Response {
    answer(
        blocking(move || {
            let service = service(&node)?;
            let record = service.hub.live(&repo(&owner, &name)?, &revision)?;
            if record.manifest.private {
                return Err(HubError::Private(record.manifest.title()).into());
            }
            Ok(bytes_response(
                200,
                "application/json",
                record.manifest.encode(),
            ))
        })
        .await,
    )
}

/// A caller with the scope `publish`, and its name as a publisher.
fn publisher(node: &Node, headers: &HeaderMap) -> Result<Publisher, Problem> {
    let caller = caller(node, headers, Scope::Publish)?;
    node.ready()?;
    Ok(Publisher::Tenant(caller.tenant))
}

/// A JSON body.
async fn json_of<T: DeserializeOwned>(
    node: &Node,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    let bytes = body_of(node, headers, body).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request(format!("the body: {error}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publication {
    manifest: Manifest,
    #[serde(default)]
    tags: Vec<Tag>,
}

async fn publish(
    State(node): Shared,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let published =
        async {
            let by = publisher(&node, &headers)?;
            let service = service(&node)?;
            let repo = repo(&owner, &name)?;
            let Publication { manifest, tags } = json_of(&node, &headers, body).await?;
            if manifest.repo != repo {
                return Err(Problem::bad_request(format!(
                    "the manifest is that of {}, not of {repo}",
                    manifest.repo
                )));
            }
            if tags.len() > 16 {
                return Err(Problem::bad_request(
                    "at most 16 tags are put at a version at once",
                ));
            }
            blocking(move || {
            let record = service.hub.publish(manifest, Vec::new(), &tags, &by, None, now()?)?;
            service.published();
            tracing::info!(version = record.manifest.title(), digest = %record.digest, "published");
            Ok(json_response(201, &json!(service.hub.card(&record, None)?)))
        })
        .await
        };
    answer(published.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    reason: String,
}

async fn take_down(
    State(node): Shared,
    Path((owner, name, revision)): VersionPath,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let done = async {
        let by = publisher(&node, &headers)?;
        let service = service(&node)?;
        let (repo, version) = (repo(&owner, &name)?, revision.parse::<Version>()?);
        let Reason { reason } = json_of(&node, &headers, body).await?;
        blocking(move || {
            let record = service
                .hub
                .take_down(&repo, &version, &reason, &by, now()?)?;
            tracing::info!(version = record.manifest.title(), "taken down");
            Ok(json_response(200, &json!(service.hub.card(&record, None)?)))
        })
        .await
    };
    answer(done.await)
}

async fn tag(State(node): Shared, Path((owner, name, tag)): VersionPath) -> Response {
    answer(
        blocking(move || {
            let service = service(&node)?;
            let (repo, tag) = (repo(&owner, &name)?, tag.parse::<Tag>()?);
            let history = service.hub.history(&repo, &tag)?;
            let Some(standing) = history.last() else {
                return Err(Problem::not_found("tag"));
            };
            Ok(json_response(
                200,
                &json!({ "standing": standing, "history": history }),
            ))
        })
        .await,
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    revision: String,
}

async fn move_tag(
    State(node): Shared,
    Path((owner, name, tag)): VersionPath,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let moved = async {
        let by = publisher(&node, &headers)?;
        let service = service(&node)?;
        let (repo, tag) = (repo(&owner, &name)?, tag.parse::<Tag>()?);
        let Move { revision } = json_of(&node, &headers, body).await?;
        blocking(move || {
            let standing = service.hub.move_tag(&repo, &tag, &revision, &by, now()?)?;
            Ok(json_response(200, &json!(standing)))
        })
        .await
    };
    answer(moved.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    sha256: Vec<Digest>,
}

async fn missing(State(node): Shared, headers: HeaderMap, body: Body) -> Response {
    let found = async {
        let by = publisher(&node, &headers)?;
        let service = service(&node)?;
        let Asked { sha256 } = json_of(&node, &headers, body).await?;
        if sha256.len() > MAX_ASKED {
            return Err(Problem::bad_request(format!(
                "at most {MAX_ASKED} files are asked about at once"
            )));
        }
        blocking(move || {
            let missing = service.hub.missing(&by, &sha256)?;
            Ok(json_response(200, &json!({ "missing": missing })))
        })
        .await
    };
    answer(found.await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_strictly() {
        let read = |text: &str| pairs(Some(text)).and_then(query);
        let good = read("q=two+words%21&rung=zk&max_cost_micros=5000&limit=3").expect("good");
        assert_eq!(
            (good.q.as_str(), good.max_cost_micros, good.limit),
            ("two words!", Some(5000), Some(3))
        );
        for bad in [
            "q=%zz",
            "q=%f",
            "q=%ff",
            "limit=x",
            "nonsense=1",
            "q=a&q=b",
            &format!("q={}", "x".repeat(300)),
        ] {
            assert_eq!(read(bad).expect_err(bad).status, 400);
        }
    }
}
