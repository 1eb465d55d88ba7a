//! Checking a whole hub: every version against its digest, every file against its own.

use carat_receipt::Digest;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{Hub, HubError};

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Versions that are there, those taken down among them.
    pub versions: usize,
    /// Of these, taken down.
    pub taken_down: usize,
    /// Files that versions name.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong.
    pub faults: Vec<String>,
}

impl Hub {
    /// Reads everything and compares it. `progress(done, all)` is called after each file.
    pub fn check(&self, mut progress: impl FnMut(usize, usize)) -> Result<CheckReport, HubError> {
        let mut report = CheckReport::default();
        for record in self.all()? {
            let record = record?;
            report.versions += 1;
            report.taken_down += usize::from(record.tombstone.is_some());
            let title = record.manifest.title();
            if record.manifest.digest() != record.digest {
                report
                    .faults
                    .push(format!("{title}: its manifest has another digest"));
            }
            if self
                .by_digest(&record.digest)?
                .is_none_or(|found| found.sequence != record.sequence)
            {
                report
                    .faults
                    .push(format!("{title}: its digest does not lead to it"));
            }
            for standing in self.tags(&record.manifest.repo)? {
                if self.by_digest(&standing.digest)?.is_none() {
                    report.faults.push(format!(
                        "{}: tag {} leads nowhere",
                        record.manifest.repo, standing.tag
                    ));
                }
            }
        }
        let named = self.named()?;
        let all = named.len();
        for (done, (digest, title)) in named.iter().enumerate() {
            match self.hash(digest) {
                Ok((size, found)) if found == *digest => report.bytes += size,
                Ok((_, found)) => report
                    .faults
                    .push(format!("{title}: its bytes have the digest {found}")),
                Err(error) => report.faults.push(format!("{title}: {error}")),
            }
            report.files += 1;
            progress(done + 1, all);
        }
        Ok(report)
    }

    fn hash(&self, digest: &Digest) -> Result<(u64, Digest), HubError> {
        let mut reader = self.read_blob(digest)?;
        let mut hash = Sha256::new();
        while let Some(piece) = reader.next_piece()? {
            hash.update(&piece);
        }
        Ok((reader.size(), Digest::from_bytes(hash.finalize().into())))
    }
}
