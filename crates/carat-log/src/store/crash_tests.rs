//! Power cuts, simulated: `kill -9` cannot show a missing sync, because the
//! kernel's memory survives it. Here every step that the log takes on the file
//! system is recorded, the recording is cut at every step, and only what was
//! synced by then is sure to be there. The rest is lost, kept or torn.

use super::disk::{Disk, Step};
use super::log::{Log, Options, take_lock};
use super::{StoreError, audit};
use crate::{NoteSigner, SignedCheckpoint};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

fn signer() -> NoteSigner {
    NoteSigner::new("log.example/crash", &[1; 32]).expect("good name")
}

fn options() -> Options {
    Options {
        max_pending_entries: 40,
        segment_bytes: 600,
        ..Options::default()
    }
}

fn leaf(i: u64) -> Vec<u8> {
    format!("leaf {i} {}", "x".repeat((i * 7 % 40) as usize)).into_bytes()
}

/// A disk that records, and does not wait for the real one.
fn disk(dir: &Path) -> Disk {
    let disk = Disk::new(dir);
    disk.pretend_sync.store(true, Ordering::SeqCst);
    disk
}

fn open(dir: &Path) -> Result<Log, StoreError> {
    let disk = disk(dir);
    let held = take_lock(&disk)?;
    if dir.join("checkpoint").exists() {
        Log::open_in(disk, held, signer(), options())
    } else {
        Log::create_in(disk, held, signer(), options())
    }
}

/// What callers were told: so many entries durable, such a checkpoint signed.
#[derive(Clone, Copy, Default)]
struct Told {
    acknowledged: u64,
    published: u64,
}

/// Appends in uneven batches up to `count` entries in all and publishes now
/// and then, past a full tile, segment changes and forced publications.
fn work(
    log: &Log,
    from: u64,
    count: u64,
    mut told: impl FnMut(&Log, Told),
) -> Result<(), StoreError> {
    let mut now = Told {
        acknowledged: from,
        published: log.checkpoint().unverified().size(),
    };
    for i in 0.. {
        if now.acknowledged >= count {
            break;
        }
        let batch = [1, 5, 30, 2, 19][i % 5].min(count - now.acknowledged);
        let leaves: Vec<_> = (now.acknowledged..now.acknowledged + batch)
            .map(leaf)
            .collect();
        now.acknowledged = log.append_batch(&leaves)?.end;
        told(log, now);
        if i % 3 == 2 {
            now.published = log.publish()?.unverified().size();
            told(log, now);
        }
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum Node {
    Dir,
    File(usize),
}

/// Contents as last synced, and the writes since then.
#[derive(Clone, Debug, Default)]
struct Inode {
    synced: Vec<u8>,
    since: Vec<Step>,
}

/// Names as last synced, the changes since then, and both together.
#[derive(Clone, Debug, Default)]
struct Dir {
    synced: BTreeMap<String, Node>,
    since: Vec<(String, Option<Node>)>,
    now: BTreeMap<String, Node>,
}

/// A file system that forgets whatever was not synced.
#[derive(Clone, Debug, Default)]
struct Simulation {
    inodes: Vec<Inode>,
    dirs: BTreeMap<PathBuf, Dir>,
}

fn split(path: &Path) -> (PathBuf, String) {
    let name = path
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    (path.parent().expect("a parent").to_path_buf(), name)
}

fn apply(bytes: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write { at, bytes: new, .. } => {
            let end = *at as usize + new.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*at as usize..end].copy_from_slice(new);
        }
        Step::Truncate { len, .. } => bytes.resize(*len as usize, 0),
        _ => unreachable!("only writes change contents"),
    }
}

impl Simulation {
    fn new() -> Self {
        let mut new = Self::default();
        new.dirs.insert(PathBuf::new(), Dir::default());
        new
    }

    /// Everything in a real directory, as if synced.
    fn from_dir(root: &Path) -> Self {
        fn walk(sim: &mut Simulation, root: &Path, at: &Path) {
            let mut dir = Dir::default();
            for entry in fs::read_dir(root.join(at)).expect("lists") {
                let name = entry
                    .expect("entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned();
                let path = at.join(&name);
                let node = if root.join(&path).is_dir() {
                    walk(sim, root, &path);
                    Node::Dir
                } else {
                    let synced = fs::read(root.join(&path)).expect("reads");
                    sim.inodes.push(Inode {
                        synced,
                        since: Vec::new(),
                    });
                    Node::File(sim.inodes.len() - 1)
                };
                dir.now.insert(name.clone(), node.clone());
                dir.synced.insert(name, node);
            }
            sim.dirs.insert(at.to_path_buf(), dir);
        }
        let mut sim = Self::new();
        walk(&mut sim, root, Path::new(""));
        sim
    }

    fn set(&mut self, path: &Path, node: Option<Node>) {
        let (parent, name) = split(path);
        let dir = self.dirs.get_mut(&parent).expect("the directory exists");
        match node.clone() {
            Some(node) => dir.now.insert(name.clone(), node),
            None => dir.now.remove(&name),
        };
        dir.since.push((name, node));
    }

    fn inode(&mut self, path: &Path) -> &mut Inode {
        let (parent, name) = split(path);
        match self.dirs[&parent].now.get(&name) {
            Some(Node::File(at)) => &mut self.inodes[*at],
            other => panic!("{}: {other:?}", path.display()),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::MakeDir(path) => {
                self.set(path, Some(Node::Dir));
                self.dirs.insert(path.clone(), Dir::default());
            }
            Step::Create(path) => {
                self.inodes.push(Inode::default());
                self.set(path, Some(Node::File(self.inodes.len() - 1)));
            }
            Step::Write { path, .. } | Step::Truncate { path, .. } => {
                self.inode(path).since.push(step.clone());
            }
            Step::SyncFile(path) => {
                let inode = self.inode(path);
                for write in std::mem::take(&mut inode.since) {
                    apply(&mut inode.synced, &write);
                }
            }
            Step::SyncDir(path) => {
                let dir = self.dirs.get_mut(path).expect("the directory exists");
                dir.since.clear();
                dir.synced = dir.now.clone();
            }
            Step::Rename { from, to } => {
                let (parent, name) = split(from);
                let node = self.dirs[&parent].now.get(&name).cloned();
                self.set(to, node);
                self.set(from, None);
            }
            Step::Remove(path) => self.set(path, None),
        }
    }

    /// The power goes. `keep(n)` says how many of `n` unsynced changes of a
    /// file or directory reached the disk; the next write is then torn.
    fn cut(&self, into: &Path, keep: &mut impl FnMut(usize) -> usize) {
        self.cut_dir(Path::new(""), into, keep);
    }

    fn cut_dir(&self, at: &Path, into: &Path, keep: &mut impl FnMut(usize) -> usize) {
        fs::create_dir_all(into).expect("makes");
        let dir = &self.dirs[at];
        let mut names = dir.synced.clone();
        for (name, node) in &dir.since[..keep(dir.since.len())] {
            match node {
                Some(node) => names.insert(name.clone(), node.clone()),
                None => names.remove(name),
            };
        }
        for (name, node) in names {
            match node {
                Node::Dir => self.cut_dir(&at.join(&name), &into.join(&name), keep),
                Node::File(inode) => {
                    let inode = &self.inodes[inode];
                    let mut bytes = inode.synced.clone();
                    let kept = keep(inode.since.len());
                    inode.since[..kept]
                        .iter()
                        .for_each(|write| apply(&mut bytes, write));
                    if let Some(Step::Write {
                        path,
                        at,
                        bytes: next,
                    }) = inode.since.get(kept)
                    {
                        let torn = next[..keep(next.len())].to_vec();
                        apply(
                            &mut bytes,
                            &Step::Write {
                                path: path.clone(),
                                at: *at,
                                bytes: torn,
                            },
                        );
                    }
                    fs::write(into.join(name), bytes).expect("writes");
                }
            }
        }
    }
}

/// A small generator: the test must be the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % (n as u64 + 1)) as usize
    }
}

/// The log in `dir` after a cut holds all that callers were told, holds
/// nothing that nobody sent, and goes on.
fn check(dir: &Path, told: Told, before: Option<&SignedCheckpoint>, context: &str) -> Vec<Step> {
    let log = open(dir).unwrap_or_else(|error| panic!("{context}: {error}"));
    let recovery = log.disk().trace.lock().expect("no panic").clone();
    let len = log.len();
    assert!(
        len >= told.acknowledged,
        "{context}: {} acknowledged, {len} there",
        told.acknowledged
    );
    let published = log.checkpoint().unverified().size();
    assert!(
        published >= told.published,
        "{context}: {} published, {published} there",
        told.published
    );
    // The audit below reads every entry; here all of the last ones, and some.
    for index in (0..len).filter(|index| index + 60 > len || index % 32 == 0) {
        let found = log
            .leaf(index)
            .unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(found, leaf(index), "{context}: entry {index}");
    }
    log.append(&leaf(len))
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    log.publish()
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    let report = audit(dir, &log.verifier(), before).expect("audits");
    assert!(report.ok, "{context}: {report:#?}");
    assert_eq!(
        (report.size, report.pending_entries),
        (len + 1, Some(0)),
        "{context}"
    );
    recovery
}

#[test]
fn power_cut_at_every_step_loses_nothing_acknowledged() {
    let scratch = tempfile::tempdir().expect("temporary directory");
    let mut steps: Vec<Step> = Vec::new();
    // After how many steps callers were told what.
    let mut told: Vec<(usize, Told, SignedCheckpoint)> = Vec::new();
    for count in [110, 280] {
        // Opened twice, so that recovery is part of the recording.
        let log = open(&scratch.path().join("log")).unwrap_or_else(|_| {
            fs::create_dir(scratch.path().join("log")).expect("makes");
            open(&scratch.path().join("log")).expect("creates")
        });
        let base = steps.len();
        work(&log, log.len(), count, |log, now| {
            let at = base + log.disk().trace.lock().expect("no panic").len();
            told.push((at, now, log.checkpoint()));
        })
        .expect("nothing fails here");
        steps.extend(log.disk().trace.lock().expect("no panic").clone());
    }
    assert!(steps.len() > 200, "only {} steps", steps.len());

    let mut sim = Simulation::new();
    let mut random = Random(0x5851_f42d_4c95_7f2d);
    for cut in 0..=steps.len() {
        if cut > 0 {
            sim.step(&steps[cut - 1]);
        }
        let known = told.iter().take_while(|(at, ..)| *at <= cut).last();
        let now = known.map_or(Told::default(), |(_, now, _)| *now);
        let before = known.map(|(.., signed)| signed);
        for mode in 0..3 {
            // The worst case at every step, the others at some.
            if cut % [1, 10, 3][mode] != 0 {
                continue;
            }
            let dir = scratch.path().join(format!("cut-{cut}-{mode}"));
            sim.cut(&dir, &mut |n| match mode {
                0 => 0,
                1 => n,
                _ => random.below(n),
            });
            let context = format!("cut after step {cut}, mode {mode}");
            let image = (cut % 24 == 0 && mode == 2).then(|| Simulation::from_dir(&dir));
            let recovery = check(&dir, now, before, &context);
            fs::remove_dir_all(&dir).expect("removes");
            // The power also goes while the log recovers.
            let Some(mut image) = image else { continue };
            for (again, step) in recovery.iter().enumerate() {
                image.step(step);
                let dir = scratch.path().join(format!("cut-{cut}-{mode}-{again}"));
                image.cut(&dir, &mut |n| {
                    if again % 2 == 0 { 0 } else { random.below(n) }
                });
                check(
                    &dir,
                    now,
                    before,
                    &format!("{context}, again at step {again} of recovery"),
                );
                fs::remove_dir_all(&dir).expect("removes");
            }
        }
    }
}

/// Each step fails once. The caller gets an error; the log then either goes on
/// or says that it stopped; what it acknowledged is there after reopening.
#[test]
fn an_error_at_every_step_is_survived() {
    let mut stopped = 0;
    for allowed in 0.. {
        let scratch = tempfile::tempdir().expect("temporary directory");
        let log = open(scratch.path()).expect("creates");
        log.disk().steps_left.store(allowed, Ordering::SeqCst);
        let mut acknowledged = BTreeMap::new();
        let mut last = Told::default();
        let outcome = work(&log, 0, 120, |_, now| {
            acknowledged.extend((last.acknowledged..now.acknowledged).map(|i| (i, leaf(i))));
            last = now;
        });
        log.disk().steps_left.store(u64::MAX, Ordering::SeqCst);
        for attempt in 0..3u8 {
            let extra = vec![attempt; 5];
            match log.append(&extra) {
                Ok(index) => assert_eq!(
                    acknowledged.insert(index, extra),
                    None,
                    "an index given twice"
                ),
                Err(StoreError::Stopped { .. }) => stopped += 1,
                Err(error) => panic!("step {allowed}: {error}"),
            }
        }
        if log.publish().is_ok() {
            let report = audit(scratch.path(), &log.verifier(), None).expect("audits");
            assert!(report.ok, "step {allowed}: {report:#?}");
        }
        drop(log);
        let log = open(scratch.path()).unwrap_or_else(|error| panic!("step {allowed}: {error}"));
        for (index, leaf) in &acknowledged {
            assert_eq!(
                &log.leaf(*index).expect("acknowledged"),
                leaf,
                "step {allowed}"
            );
        }
        if outcome.is_ok() {
            assert!(allowed > 50, "only {allowed} steps");
            break;
        }
    }
    assert!(stopped > 0, "no failed sync ever stopped the log");
}
