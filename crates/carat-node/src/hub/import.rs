//! Importing folders of ONNX files: every distinct file becomes a version, whether or not it runs here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use carat_hub::card::{Execution, Machine};
use carat_hub::{FileEntry, FilePath, Hub, HubError, Manifest, Publisher, RepoId, Tag, Version};
use carat_receipt::Digest;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::examine::{Order, Subjects, machine, peak_bytes};
use super::worker::{Launch, Worker};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::home;
use crate::model::EXTENSION;

/// How an import is done.
#[derive(Debug, Clone)]
pub struct Options {
    /// Namespace of the models.
    pub owner: String,
    /// Their licence, where it is known.
    pub licence: String,
    /// Processes that examine at the same time.
    pub workers: usize,
    /// Memory that a proof may take; 0: no proofs are made.
    pub proof_bytes: u64,
    /// How workers are started.
    pub launch: Launch,
}

/// What an import did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ImportReport {
    /// ONNX files that were found.
    pub found: usize,
    /// Of these, with the same bytes as another one.
    pub duplicates: usize,
    /// Of these, in the hub already.
    pub known: usize,
    /// Versions that were published now: distinct files.
    pub imported: usize,
    /// Models that they belong to.
    pub models: usize,
    /// Bytes of their ONNX files.
    pub bytes: u64,
    /// Imported, and run here.
    pub runs: usize,
    /// Imported, and every step has a proof.
    pub provable: usize,
    /// Of these, with a proof that was made, verified and measured.
    pub proven: usize,
    /// Imported, and do not run here.
    pub refused: usize,
    /// Reasons, and how many were refused for each.
    pub refusals: BTreeMap<String, usize>,
    /// Files that were not imported, with the reason.
    pub failures: Vec<(PathBuf, String)>,
    /// Elapsed seconds.
    pub seconds: f64,
    /// Most memory of this process, in bytes.
    pub peak_bytes: Option<u64>,
    /// Most memory of a process that examined, in bytes.
    pub worker_peak_bytes: Option<u64>,
    /// Processes that examined.
    pub workers: usize,
    /// Where it was done.
    pub machine: Machine,
    /// Whether it was told to stop before the end.
    pub stopped: bool,
}

/// A file that becomes a version.
struct Item {
    path: PathBuf,
    origin: String,
    digest: Digest,
    repo: RepoId,
    version: Version,
}

/// Imports all ONNX files below folders. `progress(done, all)` is called after each; what it answers `false` to is the last.
pub fn import(
    hub: &Hub,
    dirs: &[PathBuf],
    options: &Options,
    progress: &(dyn Fn(usize, usize) -> bool + Sync),
) -> Result<ImportReport, Failure> {
    let started = Instant::now();
    let mut report = ImportReport {
        machine: machine(),
        workers: options.workers.max(1),
        ..ImportReport::default()
    };
    let mut items = plan(hub, dirs, options, &mut report)?.into_iter();
    let all = items.len();
    let (done, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let items = Mutex::new(&mut items);
    let shared = Mutex::new(&mut report);
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> Result<(), Failure> {
        let mut worker = Worker::new(options.launch.clone());
        while let Some(item) = next() {
            if stop.load(Ordering::Acquire) {
                break;
            }
            let result = one(hub, &item, options, &mut worker);
            let mut report = shared.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(outcome) => outcome.count(&mut report),
                // These are no faults of a file: everything that follows would fail in the same way.
                Err(failure)
                    if matches!(failure.exit, Exit::DiskFull | Exit::Store | Exit::Busy) =>
                {
                    stop.store(true, Ordering::Release);
                    return Err(failure);
                }
                Err(failure) => report.failures.push((item.path, failure.message)),
            }
            drop(report);
            if !progress(done.fetch_add(1, Ordering::AcqRel) + 1, all) {
                stop.store(true, Ordering::Release);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.workers.max(1))
            .map(|_| scope.spawn(work))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| {
                Err(Failure::new(
                    Exit::Internal,
                    "a thread of the import panicked",
                ))
            })
        })
    })?;
    report.stopped = stop.into_inner();
    report.seconds = started.elapsed().as_secs_f64();
    report.peak_bytes = peak_bytes();
    report.failures.sort();
    Ok(report)
}

/// Finds the files, and names what each becomes: in order, so that the names do not depend on who is faster.
fn plan(
    hub: &Hub,
    dirs: &[PathBuf],
    options: &Options,
    report: &mut ImportReport,
) -> Result<Vec<Item>, Failure> {
    let mut seen = BTreeSet::new();
    let mut taken: BTreeMap<RepoId, BTreeSet<String>> = BTreeMap::new();
    let mut items = Vec::new();
    for dir in dirs {
        let mut found = Vec::new();
        walk(dir, &mut found)?;
        found.sort();
        for path in found {
            report.found += 1;
            let limit = hub.limits().file_bytes;
            let digest = match hash(&path, limit) {
                Ok(digest) => digest,
                Err(failure) => {
                    report.failures.push((path, failure.message));
                    continue;
                }
            };
            if !seen.insert(digest) {
                report.duplicates += 1;
                continue;
            }
            if !hub.with_file(&digest)?.is_empty() {
                report.known += 1;
                continue;
            }
            let repo = RepoId::new(&options.owner, &name_of(&path, &digest))?;
            let names = match taken.entry(repo.clone()) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let versions = hub.versions(&repo)?.into_iter();
                    entry.insert(
                        versions
                            .map(|one| one.manifest.version.to_string())
                            .collect(),
                    )
                }
            };
            let number = (names.len() + 1..)
                .map(|number| number.to_string())
                .find(|number| !names.contains(number))
                .unwrap_or_default();
            let version = number.parse()?;
            names.insert(number);
            items.push(Item {
                origin: origin_of(dir, &path),
                path,
                digest,
                repo,
                version,
            });
        }
    }
    report.models = taken.len();
    Ok(items)
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error| files::io_failure("reading", dir, &error);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (kind, path) = (entry.file_type().map_err(failed)?, entry.path());
        if kind.is_dir() {
            walk(&path, found)?;
        } else if kind.is_file()
            && path
                .extension()
                .is_some_and(|extension| extension == "onnx")
        {
            found.push(path);
        }
    }
    Ok(())
}

fn hash(path: &Path, limit: u64) -> Result<Digest, Failure> {
    let mut file: File = files::open_capped(path, "an ONNX file", limit)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = file
            .read(&mut buffer)
            .map_err(|error| files::io_failure("reading", path, &error))?;
        if count == 0 {
            return Ok(Digest::from_bytes(hash.finalize().into()));
        }
        hash.update(&buffer[..count]);
    }
}

/// A name made of the file's, or of its folder's where the file is just called `model`.
fn name_of(path: &Path, digest: &Digest) -> String {
    let stem = |path: &Path| {
        path.file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
    };
    let own = stem(path).unwrap_or_default();
    let name = match (own.as_str(), path.parent().and_then(Path::file_name)) {
        ("model", Some(folder)) => folder.to_string_lossy().into_owned(),
        _ => own,
    };
    let mut plain = String::new();
    for c in name.chars() {
        let c = if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '-'
        };
        // Neither `--` nor `..` may stand in a name.
        if !(c == '-' || c == '.') || !plain.ends_with(c) {
            plain.push(c);
        }
    }
    let edge = |c: char| !c.is_ascii_alphanumeric();
    let plain = plain.trim_matches(edge);
    if plain.is_empty() {
        return format!("model-{}", digest.short());
    }
    if plain.len() > carat_hub::name::MAX_PART {
        let kept = plain[..carat_hub::name::MAX_PART - 13].trim_end_matches(edge);
        return format!("{kept}-{}", &digest.to_string()[..12]);
    }
    plain.to_string()
}

/// Where a file was found, for people: the name of the folder that was given, and the way from there.
fn origin_of(dir: &Path, path: &Path) -> String {
    let way = path.strip_prefix(dir).unwrap_or(path);
    let given = dir
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let text = format!("{}/{}", given.unwrap_or_default(), way.display());
    let plain = text.chars().map(|c| {
        if carat_receipt::label::misleads(c) {
            '?'
        } else {
            c
        }
    });
    plain.take(200).collect()
}

/// What became of one file.
struct Imported {
    bytes: u64,
    execution: Execution,
    provable: bool,
    proven: bool,
    peak: Option<u64>,
}

impl Imported {
    fn count(self, report: &mut ImportReport) {
        report.imported += 1;
        report.bytes += self.bytes;
        report.provable += usize::from(self.provable);
        report.proven += usize::from(self.proven);
        report.worker_peak_bytes = report.worker_peak_bytes.max(self.peak);
        match self.execution {
            Execution::Runs => report.runs += 1,
            Execution::Refused { group, .. } => {
                report.refused += 1;
                *report.refusals.entry(group).or_default() += 1;
            }
            Execution::NoModel => report.refused += 1,
        }
    }
}

/// Examines a file and publishes it with what was found, in one step.
fn one(
    hub: &Hub,
    item: &Item,
    options: &Options,
    worker: &mut Worker,
) -> Result<Imported, Failure> {
    let staged = hub.stage(&item.path)?;
    if staged.digest() != item.digest {
        return Err(Failure::new(
            Exit::Mismatch,
            "the file changed while it was imported",
        ));
    }
    let compiled = hub.scratch()?;
    let folder = item.path.parent();
    let has_data = |folder: &&Path| folder.join("test_data_set_0").is_dir();
    let order = Order {
        subject: Subjects::Onnx(
            item.path.clone(),
            folder.filter(has_data).map(Path::to_path_buf),
        ),
        compile_to: Some(compiled.clone()),
        proof_bytes: options.proof_bytes,
    };
    let report = worker.examine(&order, &|| false)?;
    let file_name = item.path.file_name().unwrap_or_default().to_string_lossy();
    let name: FilePath = file_name
        .parse()
        .or_else(|_: HubError| "model.onnx".parse())?;
    let bytes = staged.size();
    let mut all = vec![(name, staged)];
    if report.compiled {
        let model = hub.stage(&compiled);
        // Gone with the hub's next start in any case.
        let _ = fs::remove_file(&compiled);
        all.push((format!("model.{EXTENSION}").parse()?, model?));
    }
    let entries = all.iter().map(|(path, staged)| FileEntry {
        path: path.clone(),
        size: staged.size(),
        sha256: staged.digest(),
    });
    let mut manifest = Manifest::new(item.repo.clone(), item.version.clone(), entries.collect());
    manifest.about.origin = item.origin.clone();
    manifest.about.licence = options.licence.clone();
    let staged = all.into_iter().map(|(_, staged)| staged).collect();
    let found = report.examination;
    let outcome = Imported {
        bytes,
        execution: found.execution.clone(),
        provable: found.rung("zk").is_some(),
        proven: found.rung("zk").is_some_and(|rung| rung.cost.is_some()),
        peak: found.peak_bytes,
    };
    let now = home::clock()?;
    hub.publish(
        manifest,
        staged,
        &[Tag::latest()],
        &Publisher::Operator,
        Some(found),
        now,
    )?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_gets_a_name_that_is_allowed() {
        let digest = Digest::sha256(b"x");
        let long = "x".repeat(100);
        for (path, want) in [
            ("/n/test_abs/model.onnx", "test_abs"),
            ("/n/a/net.onnx", "net"),
            ("/n/a b--c/model.onnx", "a-b-c"),
            ("/n/..x../model.onnx", "x"),
            ("/n/\u{e9}/model.onnx", "model-"),
            (&format!("/n/{long}/model.onnx"), "xxxx"),
        ] {
            let name = name_of(Path::new(path), &digest);
            assert!(name.starts_with(want), "{name}");
            RepoId::new("acme", &name).expect("allowed");
        }
    }
}
