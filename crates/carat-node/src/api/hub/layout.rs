//! The addresses and answers that clients of the Hugging Face hub expect; an unmodified `huggingface_hub` is the test
//! (`tools/python/hub_client.py`). What they call a commit is the beginning of a version's digest, a branch is a tag.

use std::collections::BTreeSet;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use carat_hub::manifest::commit;
use carat_hub::name::MAIN;
use carat_hub::search::Query;
use carat_hub::{FileEntry, HubError, Record};
use serde_json::{Value, json};

use super::{VersionPath, answer, blocking, pairs, service};
use crate::api::{Shared, json_response, problem, set};
use crate::node::Node;
use crate::problem::Problem;

/// A refusal, with the headers that clients look at.
pub(super) fn refused(error: HubError, commit: Option<&str>) -> Response {
    let code = match &error {
        HubError::NotFound { what: "model", .. } => Some("RepoNotFound"),
        HubError::NotFound {
            what: "version", ..
        } => Some("RevisionNotFound"),
        HubError::NotFound { .. } => Some("EntryNotFound"),
        // A name that cannot be one is nobody's.
        HubError::Name { .. } => Some("RepoNotFound"),
        HubError::Private(_) => Some("GatedRepo"),
        _ => None,
    };
    let mut found = Problem::from(error);
    if code == Some("RepoNotFound") {
        found.status = 404;
    }
    let message: String = found
        .detail
        .chars()
        .filter(|c| c.is_ascii() && !c.is_ascii_control())
        .collect();
    let mut response = problem(found);
    if let Some(code) = code {
        set(&mut response, "x-error-code", code);
    }
    set(&mut response, "x-error-message", &message);
    if let Some(commit) = commit {
        set(&mut response, "x-repo-commit", commit);
    }
    response
}

/// Answers with JSON about a version.
async fn of_version(
    node: std::sync::Arc<Node>,
    (owner, name, revision): (String, String, String),
    make: impl FnOnce(&Record) -> Result<Value, HubError> + Send + 'static,
) -> Response {
    let made = blocking(move || {
        let service = service(&node)?;
        let found = carat_hub::RepoId::new(&owner, &name)
            .and_then(|repo| service.hub.live(&repo, &revision))
            .and_then(|record| make(&record));
        Ok(found)
    });
    match made.await {
        Ok(Ok(json)) => json_response(200, &json),
        Ok(Err(error)) => refused(error, None),
        Err(error) => problem(error),
    }
}

pub(super) async fn models(State(node): Shared, RawQuery(asked): RawQuery) -> Response {
    let found = blocking(move || {
        let service = service(&node)?;
        let mut pairs = pairs(asked.as_deref())?;
        let query = Query {
            q: pairs
                .remove("search")
                .unwrap_or_default()
                .chars()
                .take(carat_hub::search::MAX_QUERY)
                .collect(),
            owner: pairs.remove("author"),
            task: pairs.remove("pipeline_tag"),
            limit: pairs
                .remove("limit")
                .and_then(|limit| limit.parse().ok())
                .or(Some(100)),
            ..Query::default()
        };
        let hits = service.hub.search(&query).hits;
        let list: Vec<Value> = hits
            .iter()
            .map(|hit| {
                json!({
                    "id": hit.repo,
                    "modelId": hit.repo,
                    "author": hit.repo.owner(),
                    "sha": commit(&hit.digest),
                    "lastModified": timestamp(hit.published),
                    "private": hit.private,
                    "tags": tags(&hit.licence),
                    "pipeline_tag": (!hit.task.is_empty()).then_some(&hit.task),
                })
            })
            .collect();
        Ok(json_response(200, &json!(list)))
    });
    answer(found.await)
}

fn tags(licence: &str) -> Vec<String> {
    let mut tags = vec!["onnx".to_string()];
    if !licence.is_empty() {
        tags.push(format!("license:{}", licence.to_ascii_lowercase()));
    }
    tags
}

fn large(file: &FileEntry) -> Value {
    json!({ "oid": file.sha256, "sha256": file.sha256, "size": file.size, "pointerSize": 134 })
}

fn info(record: &Record) -> Value {
    let manifest = &record.manifest;
    let facts = record.examination.as_ref().map(|found| &found.facts.about);
    let or = |own: &String, other: Option<&String>| match other {
        Some(other) if own.is_empty() => other.clone(),
        _ => own.clone(),
    };
    let licence = or(&manifest.about.licence, facts.map(|about| &about.licence));
    let task = or(&manifest.about.task, facts.map(|about| &about.task));
    let files = if manifest.private {
        &[][..]
    } else {
        &manifest.files[..]
    };
    let siblings: Vec<Value> = files
        .iter()
        .map(|file| {
            json!({
                "rfilename": file.path,
                "size": file.size,
                "blobId": commit(&file.sha256),
                "lfs": large(file),
            })
        })
        .collect();
    json!({
        "id": manifest.repo,
        "modelId": manifest.repo,
        "author": manifest.repo.owner(),
        "sha": commit(&record.digest),
        "lastModified": timestamp(record.published),
        "createdAt": timestamp(record.published),
        "private": manifest.private,
        "gated": false,
        "disabled": false,
        "tags": tags(&licence),
        "pipeline_tag": (!task.is_empty()).then_some(task),
        "cardData": { "license": licence.to_ascii_lowercase() },
        "siblings": siblings,
        "usedStorage": manifest.size(),
    })
}

pub(super) async fn model(
    State(node): Shared,
    Path((owner, name)): Path<(String, String)>,
) -> Response {
    of_version(node, (owner, name, MAIN.into()), |record| Ok(info(record))).await
}

pub(super) async fn revision(State(node): Shared, Path(path): VersionPath) -> Response {
    of_version(node, path, |record| Ok(info(record))).await
}

fn list(record: &Record, folder: &str, recursive: bool) -> Result<Value, HubError> {
    if record.manifest.private {
        return Err(HubError::Private(record.manifest.title()));
    }
    let prefix = if folder.is_empty() {
        String::new()
    } else {
        format!("{}/", folder.trim_end_matches('/'))
    };
    let mut folders = BTreeSet::new();
    let mut entries = Vec::new();
    for file in &record.manifest.files {
        let Some(rest) = file.path.as_str().strip_prefix(prefix.as_str()) else {
            continue;
        };
        let mut at = prefix.len();
        for part in rest.split_inclusive('/').filter(|part| part.ends_with('/')) {
            at += part.len();
            folders.insert(&file.path.as_str()[..at - 1]);
            if !recursive {
                break;
            }
        }
        if recursive || !rest.contains('/') {
            entries.push(json!({
                "type": "file",
                "path": file.path,
                "size": file.size,
                "oid": commit(&file.sha256),
                "lfs": large(file),
            }));
        }
    }
    if entries.is_empty() && folders.is_empty() {
        return Err(HubError::NotFound {
            what: "folder",
            name: format!("{folder} in {}", record.manifest.title()),
        });
    }
    let folders = folders.into_iter().map(|path| {
        let oid = commit(&carat_receipt::Digest::sha256(path.as_bytes()));
        json!({ "type": "directory", "path": path, "size": 0, "oid": oid })
    });
    Ok(folders.chain(entries).collect())
}

fn recursive(query: Option<&str>) -> bool {
    pairs(query).is_ok_and(|pairs| {
        pairs
            .get("recursive")
            .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true"))
    })
}

pub(super) async fn tree(
    State(node): Shared,
    Path(path): VersionPath,
    RawQuery(asked): RawQuery,
) -> Response {
    let recursive = recursive(asked.as_deref());
    of_version(node, path, move |record| list(record, "", recursive)).await
}

pub(super) async fn subtree(
    State(node): Shared,
    Path((owner, name, revision, folder)): Path<(String, String, String, String)>,
    RawQuery(asked): RawQuery,
) -> Response {
    let recursive = recursive(asked.as_deref());
    of_version(node, (owner, name, revision), move |record| {
        list(record, &folder, recursive)
    })
    .await
}

/// Unix seconds as RFC 3339 has them.
fn timestamp(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Civil from days, by Howard Hinnant: years begin in March, so that the leap day is the last.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
}

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn dates() {
        for (seconds, want) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200, "2024-03-01T00:00:00.000Z"),
            (4_102_444_799, "2099-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(timestamp(seconds), want);
        }
    }
}
