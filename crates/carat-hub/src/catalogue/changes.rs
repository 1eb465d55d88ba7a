//! What changes after a publication: tags, takedowns, what examining found.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use carat_receipt::Digest;
use fjall::OwnedWriteBatch;

use super::{Hub, Publisher, Record, TagMove, Tombstone, Writer, key, reference, version_key};
use crate::HubError;
use crate::card::Examination;
use crate::name::{RepoId, Tag, Version};

/// Longest reason for a takedown, in characters.
const MAX_REASON: usize = 1000;

impl Hub {
    pub(super) fn put_tag(
        &self,
        batch: &mut OwnedWriteBatch,
        writer: &mut Writer,
        record: &Record,
        tag: &Tag,
        by: &Publisher,
        now: u64,
    ) -> Result<(), HubError> {
        let repo = &record.manifest.repo;
        let standing = self.tag(repo, tag)?;
        if standing.is_some_and(|standing| standing.digest == record.digest) {
            return Ok(());
        }
        let as_version: Result<Version, _> = tag.as_str().parse();
        if let Ok(version) = as_version
            && (self.version(repo, &version)?.is_some() || version == record.manifest.version)
        {
            return Err(HubError::Name {
                what: "the tag",
                given: tag.to_string(),
                rule: "is a version of this model already; versions do not move",
            });
        }
        let moved = TagMove {
            tag: tag.clone(),
            version: record.manifest.version.clone(),
            digest: record.digest,
            at: now,
            by: by.name().into(),
            sequence: writer.sequence,
        };
        writer.sequence += 1;
        let name = key(&[&repo.to_string(), tag.as_str()]);
        let past = [&name[..], &[0], &moved.sequence.to_be_bytes()].concat();
        let bytes = self.encode(&moved)?;
        batch.insert(&self.tags, name, bytes.clone());
        batch.insert(&self.moves, past, bytes);
        Ok(())
    }

    /// Puts a tag at a version.
    pub fn move_tag(
        &self,
        repo: &RepoId,
        tag: &Tag,
        revision: &str,
        by: &Publisher,
        now: u64,
    ) -> Result<TagMove, HubError> {
        by.owns(repo)?;
        let mut writer = self.writer();
        let record = self.live(repo, revision)?;
        let mut batch = self.batch();
        self.put_tag(&mut batch, &mut writer, &record, tag, by, now)?;
        batch.commit().map_err(self.of())?;
        self.tag(repo, tag)?
            .ok_or_else(|| self.damaged("a tag that was written is not there"))
    }

    /// Takes a version down: its bytes go, its name, its digest and the reason stay.
    pub fn take_down(
        &self,
        repo: &RepoId,
        version: &Version,
        reason: &str,
        by: &Publisher,
        now: u64,
    ) -> Result<Record, HubError> {
        by.owns(repo)?;
        let plain = |c: char| c == '\n' || !carat_receipt::label::misleads(c);
        if reason.is_empty() || reason.chars().count() > MAX_REASON || !reason.chars().all(plain) {
            return Err(HubError::Name {
                what: "the reason",
                given: reason.into(),
                rule: "has 1 to 1000 characters that show what they are",
            });
        }
        let mut writer = self.writer();
        let mut record = self.live(repo, version.as_str())?;
        if record.manifest.version != *version {
            return Err(HubError::none("version", format!("{repo}@{version}")));
        }
        let name = version_key(repo, version);
        record.tombstone = Some(Tombstone {
            reason: reason.into(),
            at: now,
            by: by.name().into(),
        });
        let mut batch = self.batch();
        batch.insert(&self.versions, name.clone(), self.encode(&record)?);
        let mut orphans = BTreeSet::new();
        for file in &record.manifest.files {
            batch.remove(&self.refs, reference(&file.sha256, &name));
            if !self.is_kept(&file.sha256, &name)? {
                batch.remove(&self.blobs, file.sha256.as_bytes().as_slice());
                orphans.insert(file.sha256);
            }
        }
        batch.commit().map_err(self.of())?;
        // What a crash leaves here is removed by the next start.
        for digest in orphans {
            self.folder.remove(&digest)?;
        }
        let used = writer.used.entry(repo.owner().into()).or_default();
        *used = used.saturating_sub(record.manifest.size());
        self.show_newest(repo)?;
        Ok(record)
    }

    /// Whether a file is in another version than this one, or waits for one.
    fn is_kept(&self, digest: &Digest, version: &[u8]) -> Result<bool, HubError> {
        for entry in self.refs.prefix(digest.as_bytes()) {
            if entry.key().map_err(self.of())?[32..] != *version {
                return Ok(true);
            }
        }
        for entry in self.pending.iter() {
            if entry.key().map_err(self.of())?.ends_with(digest.as_bytes()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes what examining a version found.
    pub fn set_examination(&self, digest: &Digest, found: Examination) -> Result<(), HubError> {
        let _one = self.writer();
        let Some(mut record) = self.by_digest(digest)? else {
            return Err(HubError::none("version", digest));
        };
        record.examination = Some(found);
        let name = version_key(&record.manifest.repo, &record.manifest.version);
        let mut batch = self.batch();
        batch.insert(&self.versions, name, self.encode(&record)?);
        batch.commit().map_err(self.of())?;
        self.show_newest(&record.manifest.repo)
    }

    /// Brings the index up to date for a model.
    fn show_newest(&self, repo: &RepoId) -> Result<(), HubError> {
        let shown = self
            .versions(repo)?
            .into_iter()
            .filter(|record| record.tombstone.is_none() && !record.manifest.unlisted)
            .max_by_key(|record| record.sequence);
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        match shown {
            Some(record) => index.put(&record),
            None => index.remove(repo),
        }
        Ok(())
    }
}
