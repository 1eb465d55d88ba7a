//! The hub of a server: what is published is examined later, one version after the other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use carat_hub::card::Examination;
use carat_hub::name::LATEST;
use carat_hub::{Hub, Record};
use carat_receipt::Digest;

use super::examine::{Order, Subjects};
use super::worker::{Launch, Worker};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::model::{AnyModel, EXTENSION};

/// Examines a version, in a process of its own.
pub fn examine_version(
    hub: &Hub,
    record: &Record,
    worker: &mut Worker,
    proof_bytes: u64,
    stop: &dyn Fn() -> bool,
) -> Result<Examination, Failure> {
    let folder = hub.scratch()?;
    fs::create_dir(&folder)
        .map_err(|error| files::io_failure("making the directory", &folder, &error))?;
    let report = hub
        .lay_out(record, &folder)
        .map_err(Failure::from)
        .and_then(|()| {
            let order = Order {
                subject: Subjects::Folder(folder.clone()),
                compile_to: None,
                proof_bytes,
            };
            worker.examine(&order, stop)
        });
    // Gone with the hub's next start in any case.
    let _ = fs::remove_dir_all(&folder);
    Ok(report?.examination)
}

/// What the thread that examines is told.
#[derive(Default)]
struct Told {
    more: bool,
    stop: bool,
}

/// A hub that is served.
pub struct Service {
    /// The hub.
    pub hub: Hub,
    /// How workers are started; `None`: nothing is examined here.
    launch: Option<Launch>,
    proof_bytes: u64,
    told: Mutex<Told>,
    wake: Condvar,
}

impl Service {
    /// A hub, and how its versions are examined.
    pub fn new(hub: Hub, launch: Option<Launch>, proof_bytes: u64) -> Self {
        Self {
            hub,
            launch,
            proof_bytes,
            told: Mutex::new(Told {
                more: true,
                stop: false,
            }),
            wake: Condvar::new(),
        }
    }

    /// The compiled model of a version, for running here; those of private versions too.
    pub fn model(&self, reference: &str) -> Result<AnyModel, Failure> {
        let (repo, revision) = reference.split_once('@').unwrap_or((reference, LATEST));
        let record = self.hub.live(&repo.parse()?, revision)?;
        let title = record.manifest.title();
        let refused = |why: &dyn ToString| {
            Failure::new(Exit::Model, format!("hub:{title}: {}", why.to_string()))
        };
        let compiled = record.manifest.files.iter().find(|file| {
            let path = Path::new(file.path.as_str());
            path.extension()
                .is_some_and(|extension| extension == EXTENSION)
        });
        let Some(file) = compiled else {
            return Err(refused(&format!(
                "it holds no compiled model (.{EXTENSION}): publish it with one"
            )));
        };
        let bytes = self
            .hub
            .open_inside(&record, file.path.as_str())?
            .read_all()?;
        AnyModel::decode(&bytes, title.clone().into()).map_err(|error| refused(&error))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was published.
    pub fn published(&self) {
        self.told().more = true;
        self.wake.notify_all();
    }

    /// Ends the thread that examines; the version that it is at is examined after the next start.
    pub fn stop(&self) {
        self.told().stop = true;
        self.wake.notify_all();
    }

    /// The life of the thread that examines.
    pub fn examine(&self) {
        let Some(launch) = &self.launch else {
            return;
        };
        let mut worker = Worker::new(launch.clone());
        // What could not be examined is tried again after the next start.
        let mut failed: BTreeSet<Digest> = BTreeSet::new();
        loop {
            let mut told = self.told();
            while !told.more && !told.stop {
                told = self.wake.wait(told).unwrap_or_else(PoisonError::into_inner);
            }
            if told.stop {
                return;
            }
            told.more = false;
            drop(told);
            let list = match self.hub.unexamined() {
                Ok(list) => list,
                Err(error) => {
                    tracing::error!(%error, "the hub's catalogue cannot be read");
                    continue;
                }
            };
            for digest in list
                .into_iter()
                .filter(|digest| !failed.contains(digest))
                .collect::<Vec<_>>()
            {
                if self.told().stop {
                    return;
                }
                if let Err(failure) = self.one(&digest, &mut worker)
                    && failure.exit != Exit::Interrupted
                {
                    tracing::error!(%digest, "a version was not examined: {}", failure.message);
                    failed.insert(digest);
                }
            }
        }
    }

    fn one(&self, digest: &Digest, worker: &mut Worker) -> Result<(), Failure> {
        let Some(record) = self.hub.by_digest(digest)? else {
            return Ok(());
        };
        if record.tombstone.is_some() {
            return Ok(());
        }
        let found = examine_version(&self.hub, &record, worker, self.proof_bytes, &|| {
            self.told().stop
        })?;
        tracing::info!(
            version = record.manifest.title(),
            micros = found.micros,
            "examined"
        );
        Ok(self.hub.set_examination(digest, found)?)
    }
}
