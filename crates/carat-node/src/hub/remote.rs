//! A hub behind a server: publishing to it, and pulling from it. Nothing that arrives is believed: digests are computed again.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use carat_hub::manifest::{MAX_MANIFEST_BYTES, commit};
use carat_hub::{FilePath, Manifest, RepoId, Tag};
use carat_receipt::Digest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::client::{Client, Sent};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::tell::Doing;

/// What a character of a path becomes in an address.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The address of a model below the server's.
pub fn address(repo: &RepoId, rest: &str) -> String {
    format!("/v1/hub/models/{repo}{}", escaped(rest))
}

/// Publishes a version: the files that the server lacks, then the manifest.
pub fn publish(
    client: &Client,
    manifest: &Manifest,
    places: &[(FilePath, PathBuf)],
    tags: &[Tag],
    doing: &dyn Doing,
) -> Result<Value, Failure> {
    let digests: Vec<Digest> = manifest.files.iter().map(|file| file.sha256).collect();
    let asked = client
        .send(
            "POST",
            "/v1/hub/files/missing",
            Sent::Json(&json!({ "sha256": digests })),
        )?
        .good()?;
    let missing: Vec<Digest> = serde_json::from_value(asked.json()?["missing"].clone())
        .map_err(|error| Failure::new(Exit::Io, format!("the server's answer: {error}")))?;
    for file in manifest
        .files
        .iter()
        .filter(|file| missing.contains(&file.sha256))
    {
        let place = places
            .iter()
            .find(|(path, _)| *path == file.path)
            .map(|(_, place)| place);
        let place = place.ok_or_else(|| Failure::new(Exit::Internal, "a file without a place"))?;
        doing.say(&format!("sending {}", file.path));
        client
            .send(
                "PUT",
                &format!("/v1/hub/files/{}", file.sha256),
                Sent::File(place),
            )?
            .good()?;
    }
    doing.say("publishing");
    let body = json!({ "manifest": manifest, "tags": tags });
    client
        .send(
            "POST",
            &address(&manifest.repo, "/versions"),
            Sent::Json(&body),
        )?
        .good()?
        .json()
}

/// The manifest of a version, whose digest is what the revision says, where it says one.
pub fn manifest(client: &Client, repo: &RepoId, revision: &str) -> Result<Manifest, Failure> {
    let reply = client
        .get(&address(repo, &format!("/versions/{revision}/manifest")))?
        .good()?;
    if reply.body.len() > MAX_MANIFEST_BYTES {
        return Err(Failure::new(
            Exit::TooLarge,
            "the server's manifest is too large",
        ));
    }
    let manifest = Manifest::parse(&reply.body)?;
    let digest = manifest.digest();
    let pinned =
        matches!(revision.len(), 40 | 64) && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = manifest.repo == *repo
        && (!pinned || digest.to_string() == revision || commit(&digest) == revision);
    if !fits {
        let message = format!(
            "the server's manifest is that of {} with the digest {digest}; it is not what was asked for",
            manifest.title()
        );
        return Err(Failure::new(Exit::Mismatch, message));
    }
    Ok(manifest)
}

/// Fetches the files of a version into a folder that is empty; each is compared with the manifest.
pub fn fetch(
    client: &Client,
    manifest: &Manifest,
    folder: &Path,
    doing: &dyn Doing,
) -> Result<(), Failure> {
    let commit = commit(&manifest.digest());
    for file in &manifest.files {
        doing.say(&format!("fetching {}", file.path));
        let path = folder.join(file.path.as_str());
        let io = |error: std::io::Error| files::io_failure("writing", &path, &error);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(io)?;
        }
        let mut out = File::create_new(&path).map_err(io)?;
        let (mut hash, mut size) = (Sha256::new(), 0u64);
        let address = format!(
            "/{}/resolve/{commit}/{}",
            manifest.repo,
            escaped(file.path.as_str())
        );
        client.download(&address, &mut |bytes| {
            size += bytes.len() as u64;
            if size > file.size {
                return Err(Failure::new(
                    Exit::Mismatch,
                    format!("{} is larger than its manifest says", file.path),
                ));
            }
            hash.update(bytes);
            out.write_all(bytes)
                .map_err(|error| files::io_failure("writing", &path, &error))
        })?;
        let found = Digest::from_bytes(hash.finalize().into());
        if found != file.sha256 {
            let message = format!(
                "{} arrived with the digest {found}, not {}; nothing was kept",
                file.path, file.sha256
            );
            return Err(Failure::new(Exit::Mismatch, message));
        }
        out.sync_all()
            .map_err(|error| files::io_failure("writing", &path, &error))?;
    }
    Ok(())
}
