//! Reading the catalogue.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;

use carat_receipt::Digest;

use super::{Hub, Record, TagMove, key, version_key};
use crate::HubError;
use crate::blobs::{FileReader, Stored};
use crate::card::Card;
use crate::name::{LATEST, MAIN, RepoId, Tag, Version};
use crate::search::{Found, Query};

impl Hub {
    /// Every version, in order of names.
    pub fn all(&self) -> Result<impl Iterator<Item = Result<Record, HubError>> + '_, HubError> {
        Ok(self.versions.iter().map(|entry| {
            let bytes = entry.value().map_err(self.of())?;
            self.decode(&bytes)
        }))
    }

    /// A version by its name.
    pub fn version(&self, repo: &RepoId, version: &Version) -> Result<Option<Record>, HubError> {
        let bytes = self
            .versions
            .get(version_key(repo, version))
            .map_err(self.of())?;
        bytes.map(|bytes| self.decode(&bytes)).transpose()
    }

    /// A version by its digest.
    pub fn by_digest(&self, digest: &Digest) -> Result<Option<Record>, HubError> {
        let Some(name) = self.digests.get(digest.as_bytes()).map_err(self.of())? else {
            return Ok(None);
        };
        let bytes = self.versions.get(&*name).map_err(self.of())?;
        bytes.map(|bytes| self.decode(&bytes)).transpose()
    }

    /// The versions of a model, in order of publication.
    pub fn versions(&self, repo: &RepoId) -> Result<Vec<Record>, HubError> {
        let prefix = key(&[&repo.to_string(), ""]);
        let mut found = Vec::new();
        for entry in self.versions.prefix(prefix) {
            found.push(self.decode::<Record>(&entry.value().map_err(self.of())?)?);
        }
        found.sort_by_key(|record| record.sequence);
        Ok(found)
    }

    /// Where a tag stands.
    pub fn tag(&self, repo: &RepoId, tag: &Tag) -> Result<Option<TagMove>, HubError> {
        let name = key(&[&repo.to_string(), tag.as_str()]);
        let bytes = self.tags.get(name).map_err(self.of())?;
        bytes.map(|bytes| self.decode(&bytes)).transpose()
    }

    /// The tags of a model.
    pub fn tags(&self, repo: &RepoId) -> Result<Vec<TagMove>, HubError> {
        let prefix = key(&[&repo.to_string(), ""]);
        let mut found = Vec::new();
        for entry in self.tags.prefix(prefix) {
            found.push(self.decode(&entry.value().map_err(self.of())?)?);
        }
        Ok(found)
    }

    /// Where a tag stood, oldest first; the last is where it stands.
    pub fn history(&self, repo: &RepoId, tag: &Tag) -> Result<Vec<TagMove>, HubError> {
        let prefix = key(&[&repo.to_string(), tag.as_str(), ""]);
        let mut found = Vec::new();
        for entry in self.moves.prefix(prefix) {
            found.push(self.decode(&entry.value().map_err(self.of())?)?);
        }
        Ok(found)
    }

    /// The version that a text names: a digest, its first 40 digits, a tag, `main` (which is `latest`), or a version.
    pub fn resolve(&self, repo: &RepoId, revision: &str) -> Result<Record, HubError> {
        let hex = revision
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex && matches!(revision.len(), 40 | 64) {
            let prefix = hex::decode(revision).unwrap_or_default();
            let mut names = self.digests.prefix(&prefix);
            if let Some(entry) = names.next() {
                let (digest, _) = entry.into_inner().map_err(self.of())?;
                let digest = Digest::try_from(&*digest).map_err(|error| self.damaged(error))?;
                if let Some(record) = self.by_digest(&digest)?
                    && record.manifest.repo == *repo
                {
                    return Ok(record);
                }
            }
        } else {
            let tag = if revision == MAIN { LATEST } else { revision };
            if let Ok(tag) = tag.parse()
                && let Some(standing) = self.tag(repo, &tag)?
                && let Some(record) = self.by_digest(&standing.digest)?
            {
                return Ok(record);
            }
            if let Ok(version) = revision.parse()
                && let Some(record) = self.version(repo, &version)?
            {
                return Ok(record);
            }
        }
        let what = match self.versions(repo)?.is_empty() {
            true => HubError::none("model", repo),
            false => HubError::none("version", format!("{repo}@{revision}")),
        };
        Err(what)
    }

    /// As [`Hub::resolve`], refusing what was taken down.
    pub fn live(&self, repo: &RepoId, revision: &str) -> Result<Record, HubError> {
        let record = self.resolve(repo, revision)?;
        match &record.tombstone {
            None => Ok(record),
            Some(gone) => Err(HubError::Gone {
                name: record.manifest.title(),
                at: gone.at,
                reason: gone.reason.clone(),
            }),
        }
    }

    pub(super) fn stored(&self, digest: &Digest) -> Result<Option<Stored>, HubError> {
        let bytes = self.blobs.get(digest.as_bytes()).map_err(self.of())?;
        bytes
            .map(|bytes| Stored::decode(&bytes).ok_or_else(|| self.damaged("the record of a file")))
            .transpose()
    }

    /// A file of a version, for whoever asks. Private ones are refused to everybody.
    pub fn open_file(&self, record: &Record, path: &str) -> Result<FileReader, HubError> {
        if record.manifest.private {
            return Err(HubError::Private(record.manifest.title()));
        }
        self.open_inside(record, path)
    }

    /// A file of a version, for this machine's own use: what is read here must not be sent to anybody.
    pub fn open_inside(&self, record: &Record, path: &str) -> Result<FileReader, HubError> {
        let title = || record.manifest.title();
        if let Some(gone) = &record.tombstone {
            return Err(HubError::Gone {
                name: title(),
                at: gone.at,
                reason: gone.reason.clone(),
            });
        }
        let Some(file) = record.manifest.file(path) else {
            return Err(HubError::none("file", format!("{path} in {}", title())));
        };
        let Some(stored) = self.stored(&file.sha256)? else {
            return Err(HubError::Damaged {
                digest: file.sha256,
                what: "the catalogue does not know it".into(),
            });
        };
        self.folder.read(&file.sha256, stored)
    }

    /// Writes the files of a version under their names into a folder, which is new or empty; each is checked on the way.
    pub fn lay_out(&self, record: &Record, folder: &Path) -> Result<(), HubError> {
        use std::io::Write as _;
        for file in &record.manifest.files {
            let mut reader = self.open_inside(record, file.path.as_str())?;
            // The name was checked when it was parsed: it leads nowhere else.
            let path = folder.join(file.path.as_str());
            let parent = path.parent().unwrap_or(folder);
            std::fs::create_dir_all(parent)
                .map_err(HubError::io("making the directory", parent))?;
            let mut out =
                std::fs::File::create_new(&path).map_err(HubError::io("writing", &path))?;
            while let Some(piece) = reader.next_piece()? {
                out.write_all(&piece)
                    .map_err(HubError::io("writing", &path))?;
            }
        }
        Ok(())
    }

    /// Versions with a file of this digest, private ones left out.
    pub fn with_file(&self, digest: &Digest) -> Result<Vec<(RepoId, Version)>, HubError> {
        let mut found = Vec::new();
        for entry in self.refs.prefix(digest.as_bytes()) {
            let (name, public) = entry.into_inner().map_err(self.of())?;
            if *public != [1] {
                continue;
            }
            let name = String::from_utf8_lossy(&name[32..]).into_owned();
            let (repo, version) = name.split_once('\0').unwrap_or_default();
            if let (Ok(repo), Ok(version)) = (repo.parse(), version.parse()) {
                found.push((repo, version));
            }
        }
        Ok(found)
    }

    /// Versions that were not examined yet.
    pub fn unexamined(&self) -> Result<Vec<Digest>, HubError> {
        let mut found = Vec::new();
        for record in self.all()? {
            let record = record?;
            if record.examination.is_none() && record.tombstone.is_none() {
                found.push(record.digest);
            }
        }
        Ok(found)
    }

    /// The card of a version. `served`: address and name under which a node serves its program.
    pub fn card(&self, record: &Record, served: Option<(&str, &str)>) -> Result<Card, HubError> {
        let tags = self.tags(&record.manifest.repo)?;
        let own = tags
            .into_iter()
            .filter(|standing| standing.digest == record.digest)
            .map(|standing| standing.tag)
            .collect();
        Ok(Card::new(record, own, served))
    }

    /// Searches the newest versions of all models that are listed.
    pub fn search(&self, query: &Query) -> Found {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.search(query)
    }

    /// How many models are listed.
    pub fn listed(&self) -> usize {
        self.index
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Every file that versions name, with one version that does.
    pub(crate) fn named(&self) -> Result<BTreeMap<Digest, String>, HubError> {
        let mut found = BTreeMap::new();
        for record in self.all()? {
            let record = record?;
            if record.tombstone.is_none() {
                for file in &record.manifest.files {
                    let title = format!("{} {}", record.manifest.title(), file.path);
                    found.entry(file.sha256).or_insert(title);
                }
            }
        }
        Ok(found)
    }

    pub(crate) fn read_blob(&self, digest: &Digest) -> Result<FileReader, HubError> {
        match self.stored(digest)? {
            Some(stored) => self.folder.read(digest, stored),
            None => Err(HubError::Damaged {
                digest: *digest,
                what: "the catalogue does not know it".into(),
            }),
        }
    }
}
