//! The manifest: what one version consists of. Its SHA-256 is the version's digest, so a digest names every byte.

use carat_receipt::Digest;
use serde::{Deserialize, Serialize};

use crate::HubError;
use crate::name::{FilePath, RepoId, Version};

/// Schema of manifests.
pub const SCHEMA: &str = "carat-hub-manifest/v1";
/// Most files of a version.
pub const MAX_FILES: usize = 2000;
/// Largest manifest, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 1 << 20;
/// Longest description, in characters.
const MAX_TEXT: usize = 4000;
/// Longest other text.
const MAX_SHORT: usize = 200;
/// Largest public key.
const MAX_KEY: usize = 4096;
/// Name of an OpenSSF Model Signing bundle.
pub const SIGNATURE_FILE: &str = "model.sig";

/// A file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Where it stands.
    pub path: FilePath,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// The publisher's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct About {
    /// What it does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// SPDX licence expression.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub licence: String,
    /// Task, as in `image-classification`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub task: String,
    /// Where it comes from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub origin: String,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// The model.
    pub repo: RepoId,
    /// The version.
    pub version: Version,
    /// Files never leave the hub.
    #[serde(default)]
    pub private: bool,
    /// Neither search nor lists show it.
    #[serde(default)]
    pub unlisted: bool,
    /// The publisher's words.
    #[serde(default)]
    pub about: About,
    /// The public key that the publisher says signed [`SIGNATURE_FILE`], PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<String>,
    /// The files, by path.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// A manifest of files, in order of their paths.
    pub fn new(repo: RepoId, version: Version, mut files: Vec<FileEntry>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self {
            schema: SCHEMA.into(),
            repo,
            version,
            private: false,
            unlisted: false,
            about: About::default(),
            signing_key: None,
            files,
        }
    }

    /// Reads what a publisher sent.
    pub fn parse(bytes: &[u8]) -> Result<Self, HubError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(HubError::TooLarge {
                what: "the manifest".into(),
                bytes: bytes.len() as u64,
                limit: MAX_MANIFEST_BYTES as u64,
                key: "this software",
            });
        }
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|e| HubError::Manifest(e.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The rules that span fields.
    pub fn check(&self) -> Result<(), HubError> {
        let refuse = |text: String| Err(HubError::Manifest(text));
        if self.schema != SCHEMA {
            return refuse(format!("this software reads schema {SCHEMA} only"));
        }
        if self.files.is_empty() || self.files.len() > MAX_FILES {
            return refuse(format!(
                "it names {} files; 1 to {MAX_FILES} are possible",
                self.files.len()
            ));
        }
        let About {
            description,
            licence,
            task,
            origin,
        } = &self.about;
        for (name, text, most) in [
            ("description", description, MAX_TEXT),
            ("licence", licence, MAX_SHORT),
            ("task", task, MAX_SHORT),
            ("origin", origin, MAX_SHORT),
        ] {
            if text.chars().count() > most {
                return refuse(format!("{name} has more than {most} characters"));
            }
            let odd = |c: char| c != '\n' && carat_receipt::label::misleads(c);
            if text.contains(odd) {
                return refuse(format!(
                    "{name} holds a character that does not show what it is"
                ));
            }
        }
        if self.signing_key.as_ref().is_some_and(|k| k.len() > MAX_KEY) {
            return refuse(format!("signing_key has more than {MAX_KEY} characters"));
        }
        let mut folded: Vec<String> = Vec::with_capacity(self.files.len());
        let mut total = 0u64;
        for pair in self.files.windows(2) {
            if pair[0].path >= pair[1].path {
                return refuse(format!("the files are not in order at {}", pair[1].path));
            }
        }
        for file in &self.files {
            folded.push(file.path.as_str().to_ascii_lowercase());
            match total.checked_add(file.size) {
                Some(sum) => total = sum,
                None => return refuse("the sizes are impossible".into()),
            }
        }
        // On a disk that folds case two such files would be one, and a file cannot be a folder.
        folded.sort();
        for pair in folded.windows(2) {
            if pair[0] == pair[1] {
                return refuse(format!("two files are named {} but for case", pair[1]));
            }
        }
        for path in &folded {
            let mut at = path.as_str();
            while let Some((folder, _)) = at.rsplit_once('/') {
                if folded.binary_search_by(|p| p.as_str().cmp(folder)).is_ok() {
                    return refuse(format!("{folder} is a file and a folder"));
                }
                at = folder;
            }
        }
        Ok(())
    }

    /// The one encoding: what the digest is over.
    pub fn encode(&self) -> Vec<u8> {
        // A struct of strings, numbers and lists always becomes JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The version's digest.
    pub fn digest(&self) -> Digest {
        Digest::sha256(&self.encode())
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// The file at a path.
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        self.files
            .binary_search_by(|file| file.path.as_str().cmp(path))
            .ok()
            .map(|at| &self.files[at])
    }

    /// `owner/name@version`.
    pub fn title(&self) -> String {
        format!("{}@{}", self.repo, self.version)
    }
}

/// What clients that know Git call a version: the first 40 digits of its digest.
pub fn commit(digest: &Digest) -> String {
    let mut text = digest.to_string();
    text.truncate(40);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(paths: &[&str]) -> Manifest {
        let files = paths
            .iter()
            .map(|path| FileEntry {
                path: path.parse().expect("a path"),
                size: 1,
                sha256: Digest::sha256(path.as_bytes()),
            })
            .collect();
        Manifest::new(
            "acme/x".parse().expect("a name"),
            "1".parse().expect("a version"),
            files,
        )
    }

    #[test]
    fn what_is_read_is_what_was_written_and_the_digest_names_it() {
        let one = manifest(&["b/c", "a"]);
        assert_eq!(Manifest::parse(&one.encode()).expect("read"), one);
        let mut other = one.clone();
        other.files[0].size += 1;
        assert_ne!(one.digest(), other.digest());
        assert_eq!(commit(&one.digest()).len(), 40);
        assert!(one.file("a").is_some() && one.file("b").is_none());
    }

    #[test]
    fn files_that_cannot_stand_side_by_side_are_refused() {
        for paths in [
            &["a", "A"][..],
            &["a", "a"],
            &["a", "a/b"],
            &["A", "a/b"],
            &["a/b/c", "a/b", "a.x"],
            &[],
        ] {
            assert!(manifest(paths).check().is_err(), "{paths:?}");
        }
        assert!(manifest(&["a", "a.b", "b/a"]).check().is_ok());
        let text = String::from_utf8(manifest(&["a"]).encode()).expect("text");
        for (from, to) in [
            ("\"a\"", "\"../a\""),
            ("hub-manifest/v1", "hub-manifest/v2"),
            ("\"private\":false", "\"private\":false,\"more\":1"),
        ] {
            assert!(text.contains(from));
            assert!(
                Manifest::parse(text.replace(from, to).as_bytes()).is_err(),
                "{to}"
            );
        }
        let mut odd = manifest(&["a"]);
        odd.about.licence = "MIT\u{202e}".into();
        assert!(odd.check().is_err());
    }
}
