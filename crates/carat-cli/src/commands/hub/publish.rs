//! `carat hub publish`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use carat_hub::{FileEntry, Manifest, Publisher, Tag, Version};
use carat_node::hub::gather::{self, Gathered};
use carat_node::hub::remote;
use carat_node::hub::service::examine_version;
use carat_node::hub::worker::{Bounds, Launch, Worker};
use carat_receipt::Digest;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::super::{Context, Outcome, parse};
use super::{Place, Reference, Where, show};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::home;
use crate::output::{Answer, Progress};
use crate::prover;

/// Publish a version of a model: a folder, or a compiled model.
///
/// Of a folder all files are published but hidden ones, with the compiled model, which is made where there is none. The hub
/// then examines the version: it runs it, proves it, compiles its source again, and measures fidelity where the folder has
/// reference outputs (data/reference.npy).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat hub publish models/digits --as acme/digits@1.0.0\n  carat hub publish models/digits --as acme/digits@1.1.0 --server http://127.0.0.1:8321 --api-key-file key.txt\n  carat hub publish secret.carat-model --as acme/secret@1 --private"
)]
pub(super) struct Args {
    /// A folder with a model, or a compiled model.
    path: PathBuf,
    /// OWNER/NAME@VERSION.
    #[arg(long = "as", value_name = "REFERENCE", value_parser = parse::<Reference>)]
    reference: Reference,
    /// Tags that are put at it.
    #[arg(long = "tag", value_name = "TAG", default_values = ["latest"], value_parser = parse::<Tag>)]
    tags: Vec<Tag>,
    /// Its card is shown, and its files do not leave the hub.
    #[arg(long)]
    private: bool,
    /// Neither search nor lists show it.
    #[arg(long)]
    unlisted: bool,
    /// What it does [default: as model.toml says].
    #[arg(long)]
    description: Option<String>,
    /// SPDX licence expression [default: as model.toml says].
    #[arg(long)]
    licence: Option<String>,
    /// Task, as in image-classification [default: as model.toml says].
    #[arg(long)]
    task: Option<String>,
    /// The public key (PEM) that belongs to model.sig, an OpenSSF Model Signing bundle in the folder.
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
    #[command(flatten)]
    at: Where,
    /// Seconds that examining it may take, in the hub of the data directory; 0: it is not examined.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Memory that examining it may take, in the hub of the data directory.
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = prover::size)]
    memory: u64,
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let version: Version = args
        .reference
        .revision
        .as_deref()
        .ok_or_else(|| Failure::new(Exit::Usage, "name the version: --as OWNER/NAME@VERSION"))?
        .parse()?;
    let gathered = gather::gather(&args.path, context)?;
    let place = args.at.open(context)?;
    let progress = Progress::start(format!("publishing {}", args.path.display()));
    let card = match place {
        Place::Here(hub) => {
            let mut staged = Vec::new();
            let mut entries = Vec::new();
            for (path, at) in &gathered.files {
                let one = hub.stage(at)?;
                entries.push(FileEntry {
                    path: path.clone(),
                    size: one.size(),
                    sha256: one.digest(),
                });
                staged.push(one);
            }
            let manifest = manifest(&args, version, &gathered, entries)?;
            let now = home::clock()?;
            let record = hub.publish(
                manifest,
                staged,
                &args.tags,
                &Publisher::Operator,
                None,
                now,
            )?;
            let record = if args.seconds > 0 && record.examination.is_none() {
                progress.say("examining it");
                let bounds = Bounds {
                    seconds: args.seconds,
                    bytes: args.memory,
                };
                let mut worker = Worker::new(Launch::own(bounds)?);
                let found = examine_version(&hub, &record, &mut worker, args.memory, &|| false)?;
                hub.set_examination(&record.digest, found)?;
                hub.live(&record.manifest.repo, record.manifest.version.as_str())?
            } else {
                record
            };
            json!(hub.card(&record, None)?)
        }
        Place::There(client) => {
            let mut entries = Vec::new();
            for (path, at) in &gathered.files {
                let (size, sha256) = hash(at)?;
                entries.push(FileEntry {
                    path: path.clone(),
                    size,
                    sha256,
                });
            }
            let manifest = manifest(&args, version, &gathered, entries)?;
            remote::publish(&client, &manifest, &gathered.files, &args.tags, &progress)?
        }
    };
    drop(progress);
    let mut text = show::card_text(&card);
    if let Some(reason) = gathered.not_compiled {
        text.push_str(&format!("\nIt does not run here: {reason}\n"));
    }
    Ok((Answer { text, json: card }, Exit::Good))
}

fn manifest(
    args: &Args,
    version: Version,
    gathered: &Gathered,
    entries: Vec<FileEntry>,
) -> Result<Manifest, Failure> {
    let mut manifest = Manifest::new(args.reference.repo.clone(), version, entries);
    manifest.private = args.private;
    manifest.unlisted = args.unlisted;
    manifest.about = gathered.about.clone();
    let about = &mut manifest.about;
    for (field, given) in [
        (&mut about.description, &args.description),
        (&mut about.licence, &args.licence),
        (&mut about.task, &args.task),
    ] {
        if let Some(given) = given {
            *field = given.clone();
        }
    }
    if let Some(path) = &args.signing_key {
        manifest.signing_key = Some(files::read_text(path, "a public key", 4096)?);
    }
    manifest.check()?;
    Ok(manifest)
}

fn hash(path: &Path) -> Result<(u64, Digest), Failure> {
    let io = |error| files::io_failure("reading", path, &error);
    let mut file = File::open(path).map_err(io)?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = file.read(&mut buffer).map_err(io)?;
        if count == 0 {
            return Ok((size, Digest::from_bytes(hash.finalize().into())));
        }
        size += count as u64;
        hash.update(&buffer[..count]);
    }
}
