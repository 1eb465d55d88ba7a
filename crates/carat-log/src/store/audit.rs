//! Auditing a log directory: everything is recomputed from the entries.

use super::disk::Disk;
use super::error::StoreError;
use super::journal;
use super::layout::{self, CHECKPOINT, Kind, TILE};
use super::publish::Builder;
use crate::checkpoint::SignedCheckpoint;
use crate::evidence::find_equivocation;
use crate::hash::leaf_hash;
use crate::note::VerifierKey;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Something that is wrong, with the file and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file, relative to the log's directory.
    pub path: PathBuf,
    /// What is wrong.
    pub what: String,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditReport {
    /// Whether nothing is wrong. A log without fault has no findings and no
    /// equivocation.
    pub ok: bool,
    /// Identity of the log, by its checkpoint.
    pub origin: String,
    /// Number of entries under the checkpoint.
    pub size: u64,
    /// Root in the checkpoint, base64.
    pub root: String,
    /// Root recomputed from the entry bundles, base64; absent when entries are
    /// missing or damaged.
    pub recomputed_root: Option<String>,
    /// Whether the log's key verifies the checkpoint.
    pub signature_ok: bool,
    /// Entries whose hash was recomputed.
    pub entries_checked: u64,
    /// Files of tiles and bundles that were compared, byte for byte.
    pub files_checked: u64,
    /// Durable entries that no checkpoint covers yet; absent when the directory
    /// has no journal, as in a published copy.
    pub pending_entries: Option<u64>,
    /// Size of the remembered checkpoint, if one was given.
    pub previous_size: Option<u64>,
    /// Whether the log extends the remembered checkpoint: the root over its
    /// first `previous_size` entries, recomputed, is the remembered one.
    pub consistent_with_previous: Option<bool>,
    /// Two checkpoints of one size with different roots, as text to show.
    pub equivocation: Option<String>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

struct Auditor {
    disk: Disk,
    findings: Vec<Finding>,
}

/// Recomputes every tile and the root from the entry bundles of the log in
/// `dir`, and checks the signature of its checkpoint with `log`.
///
/// With `previous`, a checkpoint that was remembered from before, it also
/// checks that the log still begins with that tree, and reports equivocation.
///
/// Reads only, needs no lock, and works on a copy of the published files
/// (without the journal) as well. While the log is being written it audits the
/// checkpoint that it found first.
///
/// # Errors
/// [`StoreError::NotALog`] and the disk's. Everything that is wrong with the
/// log itself is in the report.
pub fn audit(
    dir: &Path,
    log: &VerifierKey,
    previous: Option<&SignedCheckpoint>,
) -> Result<AuditReport, StoreError> {
    let mut auditor = Auditor {
        disk: Disk::new(dir),
        findings: Vec::new(),
    };
    let bytes = match auditor.disk.read(Path::new(CHECKPOINT)) {
        Err(error) if error.is_not_found() => {
            return Err(StoreError::NotALog {
                path: dir.to_path_buf(),
            });
        }
        bytes => bytes?,
    };
    let mut report = AuditReport {
        ok: false,
        origin: String::new(),
        size: 0,
        root: String::new(),
        recomputed_root: None,
        signature_ok: false,
        entries_checked: 0,
        files_checked: 0,
        pending_entries: None,
        previous_size: previous.map(|signed| signed.unverified().size()),
        consistent_with_previous: None,
        equivocation: None,
        findings: Vec::new(),
    };
    match SignedCheckpoint::parse(&bytes) {
        Err(error) => auditor.find(Path::new(CHECKPOINT), error.to_string()),
        Ok(signed) => auditor.run(&mut report, &signed, log, previous)?,
    }
    report.findings = auditor.findings;
    report.ok = report.findings.is_empty() && report.equivocation.is_none();
    Ok(report)
}

impl Auditor {
    fn find(&mut self, path: &Path, what: impl Into<String>) {
        self.findings.push(Finding {
            path: path.to_path_buf(),
            what: what.into(),
        });
    }

    fn run(
        &mut self,
        report: &mut AuditReport,
        signed: &SignedCheckpoint,
        log: &VerifierKey,
        previous: Option<&SignedCheckpoint>,
    ) -> Result<(), StoreError> {
        let checkpoint = signed.unverified();
        report.origin = checkpoint.origin().to_owned();
        report.size = checkpoint.size();
        report.root = checkpoint.root().to_base64();
        match signed.verify(log) {
            Ok(_) => report.signature_ok = true,
            Err(error) => self.find(Path::new(CHECKPOINT), error.to_string()),
        }
        // Roots that the entries must give at certain sizes.
        let mut wanted = BTreeMap::new();
        wanted.insert(checkpoint.size(), None);
        if let Some(previous) = previous {
            self.compare_previous(report, signed, log, previous);
            if previous.unverified().size() <= checkpoint.size() {
                wanted.insert(previous.unverified().size(), None);
            }
        }
        self.recompute(report, checkpoint.size(), &mut wanted)?;

        if let Some(Some(root)) = wanted.get(&checkpoint.size()) {
            report.recomputed_root = Some(crate::Hash::to_base64(root));
            if *root != checkpoint.root() {
                let what = format!("its root is {}, its entries give {root}", checkpoint.root());
                self.find(Path::new(CHECKPOINT), what);
            }
        }
        if let Some(previous) = previous.map(SignedCheckpoint::unverified)
            && let Some(Some(root)) = wanted.get(&previous.size())
        {
            let same = *root == previous.root();
            // A remembered checkpoint that was no good is no measure.
            report.consistent_with_previous =
                report.consistent_with_previous.map(|usable| usable && same);
            if report.consistent_with_previous == Some(false) {
                let what = format!(
                    "history was rewritten: the remembered checkpoint of {} entries has root {}, the entries now give {root}",
                    previous.size(),
                    previous.root()
                );
                self.find(Path::new(CHECKPOINT), what);
            }
        }
        self.count_pending(report, checkpoint.origin(), checkpoint.size())
    }

    fn compare_previous(
        &mut self,
        report: &mut AuditReport,
        signed: &SignedCheckpoint,
        log: &VerifierKey,
        previous: &SignedCheckpoint,
    ) {
        if let Err(error) = previous.verify(log) {
            self.find(
                Path::new(CHECKPOINT),
                format!("the remembered checkpoint is no evidence: {error}"),
            );
            return;
        }
        report.consistent_with_previous = Some(true);
        let (now, before) = (signed.unverified().size(), previous.unverified().size());
        if before > now {
            report.consistent_with_previous = Some(false);
            let what = format!(
                "the log has shrunk: {before} entries were signed before, now there are {now}"
            );
            self.find(Path::new(CHECKPOINT), what);
        }
        if report.signature_ok
            && let Ok(Some(equivocation)) = find_equivocation(previous, signed, log)
        {
            report.equivocation = Some(equivocation.to_string());
        }
    }

    /// Rebuilds the tree entry by entry and compares each file it should have.
    fn recompute(
        &mut self,
        report: &mut AuditReport,
        size: u64,
        wanted: &mut BTreeMap<u64, Option<crate::Hash>>,
    ) -> Result<(), StoreError> {
        let mut builder = Builder::default();
        if let Some(root) = wanted.get_mut(&0) {
            *root = Some(builder.edge().root());
        }
        let (full, partial) = Kind::Entries.widths(size);
        for number in 0..full + u64::from(partial > 0) {
            let width = if number < full {
                TILE as usize
            } else {
                partial
            };
            let Some((path, bytes)) = self.read_prefix(Kind::Entries, number, width)? else {
                return Ok(());
            };
            let leaves = layout::read_bundle(&bytes).filter(|leaves| {
                // A full bundle may stand in for a partial one, nothing else.
                leaves.len() == width || leaves.len() == TILE as usize
            });
            let Some(leaves) = leaves else {
                self.find(&path, format!("the bundle does not hold {width} entries"));
                return Ok(());
            };
            for leaf in &leaves[..width] {
                builder.push(leaf, leaf_hash(leaf));
                report.entries_checked += 1;
                if let Some(root) = wanted.get_mut(&builder.edge().size) {
                    *root = Some(builder.edge().root());
                }
            }
            report.files_checked += 1;
            for (path, hashes) in builder.take_full() {
                self.compare(report, &path, &hashes)?;
            }
        }
        for (level, hashes) in (0u8..).zip(&builder.edge().levels) {
            if hashes.is_empty() {
                continue;
            }
            let (number, _) = Kind::Hashes(level).widths(size);
            let want = layout::write_hashes(hashes);
            if let Some((path, bytes)) =
                self.read_prefix(Kind::Hashes(level), number, hashes.len())?
            {
                report.files_checked += 1;
                let full = bytes.len() == 32 * TILE as usize;
                if bytes != want && !(full && bytes.starts_with(&want)) {
                    self.find(&path, "the hashes do not follow from the entries");
                }
            }
        }
        Ok(())
    }

    /// A tile of that width, or the full one where the partial is gone.
    fn read_prefix(
        &mut self,
        kind: Kind,
        number: u64,
        width: usize,
    ) -> Result<Option<(PathBuf, Vec<u8>)>, StoreError> {
        for path in [kind.path(number, width), kind.full(number)] {
            match self.disk.read(&path) {
                Err(error) if error.is_not_found() => {}
                bytes => return Ok(Some((path, bytes?))),
            }
        }
        self.find(&kind.path(number, width), "the file is missing");
        Ok(None)
    }

    fn compare(
        &mut self,
        report: &mut AuditReport,
        path: &Path,
        want: &[u8],
    ) -> Result<(), StoreError> {
        match self.disk.read(path) {
            Err(error) if error.is_not_found() => self.find(path, "the file is missing"),
            bytes => {
                report.files_checked += 1;
                if bytes? != want {
                    self.find(path, "the hashes do not follow from the entries");
                }
            }
        }
        Ok(())
    }

    fn count_pending(
        &mut self,
        report: &mut AuditReport,
        origin: &str,
        size: u64,
    ) -> Result<(), StoreError> {
        if !self.disk.path(Path::new(journal::JOURNAL)).exists() {
            return Ok(());
        }
        match journal::recover(&self.disk, origin, size) {
            Ok(entries) => report.pending_entries = Some(entries.len() as u64),
            Err(StoreError::Corrupt { path, what }) => {
                let root = self.disk.path(Path::new(""));
                self.find(path.strip_prefix(&root).unwrap_or(&path), what);
            }
            // A writer may remove a segment between our listing and reading.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
