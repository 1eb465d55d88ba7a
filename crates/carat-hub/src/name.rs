//! Names: of models, versions, tags and files. Whatever is made here is safe as a path and in an address.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::HubError;

/// Longest part of a name, in characters.
pub const MAX_PART: usize = 64;
/// Longest path of a file, in characters.
pub const MAX_PATH: usize = 256;
/// Most folders and the file itself.
const MAX_DEPTH: usize = 12;
/// What the tag `latest` is called by clients that think of branches.
pub const MAIN: &str = "main";
/// The tag that a publication moves unless told otherwise.
pub const LATEST: &str = "latest";

/// First parts of addresses that are not owners.
const RESERVED: &[&str] = &[
    "api", "app", "assets", "audit", "datasets", "docs", "health", "hub", "log", "login",
    "metrics", "models", "new", "resolve", "settings", "spaces", "static", "ui", "v1", "v2", "v3",
    "web",
];

fn refuse(what: &'static str, given: &str, rule: &'static str) -> HubError {
    HubError::Name {
        what,
        given: given.chars().take(2 * MAX_PATH).collect(),
        rule,
    }
}

/// Letters, digits and a few marks, beginning and ending with a letter or digit.
fn part(what: &'static str, text: &str, marks: &str) -> Result<(), HubError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if !(1..=MAX_PART).contains(&text.len()) || !text.chars().all(plain) {
        return Err(refuse(
            what,
            text,
            "1 to 64 ASCII letters, digits, -, _ and .",
        ));
    }
    if !edge(text.chars().next()) || !edge(text.chars().last()) {
        return Err(refuse(
            what,
            text,
            "begins and ends with a letter or a digit",
        ));
    }
    // Clients of the layout that the hub also serves refuse them.
    if text.contains("..") || text.contains("--") {
        return Err(refuse(what, text, "holds neither .. nor --"));
    }
    Ok(())
}

/// `owner/name` of a model.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoId {
    owner: String,
    name: String,
}

impl RepoId {
    /// From its parts.
    pub fn new(owner: &str, name: &str) -> Result<Self, HubError> {
        part("the owner", owner, "-_.")?;
        if RESERVED.contains(&owner.to_ascii_lowercase().as_str()) {
            return Err(refuse(
                "the owner",
                owner,
                "is a word that addresses begin with",
            ));
        }
        part("the model's name", name, "-_.")?;
        if name.ends_with(".git") || name.ends_with(".ipynb") {
            return Err(refuse(
                "the model's name",
                name,
                "does not end in .git or .ipynb",
            ));
        }
        Ok(Self {
            owner: owner.into(),
            name: name.into(),
        })
    }

    /// Whose it is.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Its name there.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for RepoId {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        match text.split_once('/') {
            Some((owner, name)) => Self::new(owner, name),
            None => Err(refuse("the model", text, "is written OWNER/NAME")),
        }
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// What looks like a digest, or the beginning of one that clients call a commit, names content and nothing else.
fn not_a_digest(what: &'static str, text: &str) -> Result<(), HubError> {
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
    if hex && matches!(text.len(), 40 | 64) {
        return Err(refuse(
            what,
            text,
            "is not 40 or 64 hexadecimal digits: those name content",
        ));
    }
    Ok(())
}

/// A version of a model: published once, never changed.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(String);

impl FromStr for Version {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        part("the version", text, "-_.+")?;
        not_a_digest("the version", text)?;
        if text == MAIN || text == LATEST {
            return Err(refuse(
                "the version",
                text,
                "is neither main nor latest: those move",
            ));
        }
        Ok(Self(text.into()))
    }
}

impl Version {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A tag: a name that moves from version to version.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl FromStr for Tag {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        part("the tag", text, "-_.+")?;
        not_a_digest("the tag", text)?;
        if text == MAIN {
            return Err(refuse(
                "the tag",
                text,
                "is not main, which is another word for latest",
            ));
        }
        Ok(Self(text.into()))
    }
}

impl Tag {
    /// The tag that a publication moves.
    pub fn latest() -> Self {
        Self(LATEST.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The path of a file inside a version: relative, with `/`, and nothing that any file system reads in another way.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath(String);

impl FromStr for FilePath {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        const WHAT: &str = "the file name";
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+=@ ()[]{},".contains(c);
        if text.is_empty() || text.len() > MAX_PATH {
            return Err(refuse(WHAT, text, "has 1 to 256 characters"));
        }
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > MAX_DEPTH {
            return Err(refuse(WHAT, text, "has at most 12 parts"));
        }
        for part in parts {
            if part.is_empty() || part.starts_with(['.', ' ']) || part.ends_with(['.', ' ']) {
                return Err(refuse(
                    WHAT,
                    text,
                    "is relative, and no part of it is empty or begins or ends with a dot or a space",
                ));
            }
            if !part.chars().all(plain) {
                return Err(refuse(
                    WHAT,
                    text,
                    "holds ASCII letters, digits, spaces and -_.+=@()[]{}, only",
                ));
            }
            // Windows gives these to devices, with any extension.
            let stem = part
                .split('.')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
            let device = ["con", "prn", "aux", "nul"].contains(&stem.as_str())
                || (stem.len() == 4
                    && (stem.starts_with("com") || stem.starts_with("lpt"))
                    && stem.ends_with(|c: char| c.is_ascii_digit()));
            if device {
                return Err(refuse(WHAT, text, "has no part that names a device"));
            }
        }
        Ok(Self(text.into()))
    }
}

impl FilePath {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_type {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    )*};
}

macro_rules! shown_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

text_type!(RepoId, Version, Tag, FilePath);
shown_as_text!(Version, Tag, FilePath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in [
            "acme",
            "acme/",
            "/x",
            "a/b/c",
            "../x",
            "acme/..",
            "acme/.x",
            "acme/x.",
            "acme/a b",
            "acme/a%2f",
            "v1/x",
            "API/x",
            "acme/x.git",
            "acme/a--b",
            "acme/\u{e9}",
            "acme/x\n",
        ] {
            assert!(bad.parse::<RepoId>().is_err(), "{bad}");
        }
        for good in ["acme/digits", "a/b", "Ac-me_1.0/Digits-1.0.b"] {
            assert_eq!(good.parse::<RepoId>().expect("good").to_string(), good);
        }
        assert!("a".repeat(65).parse::<Version>().is_err());
    }

    #[test]
    fn paths_stay_inside() {
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a/",
            ".ssh/id",
            "a/.b",
            "a\\b",
            "C:x",
            "a:b",
            "a\0b",
            "a\nb",
            "nul",
            "a/COM1.txt",
            "x.",
            "x ",
            "a/b/c/d/e/f/g/h/i/j/k/l/m",
        ] {
            assert!(bad.parse::<FilePath>().is_err(), "{bad:?}");
        }
        for good in [
            "model.onnx",
            "data/image.npy",
            "README.md",
            "a (1)/b+c=d@e.bin",
            "com.txt",
        ] {
            assert_eq!(good.parse::<FilePath>().expect("good").as_str(), good);
        }
    }

    #[test]
    fn tags_and_versions_never_look_like_digests() {
        let (commit, digest) = ("a".repeat(40), "0".repeat(64));
        for text in [commit.as_str(), digest.as_str(), "main", "", "a/b"] {
            assert!(text.parse::<Tag>().is_err(), "{text}");
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
        assert!("latest".parse::<Version>().is_err());
        assert!("latest".parse::<Tag>().is_ok());
        assert!("1.0.0+build.7".parse::<Version>().is_ok());
    }
}
