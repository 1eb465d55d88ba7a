//! `carat hub pull`.

use std::path::PathBuf;

use carat_hub::manifest::SIGNATURE_FILE;
use carat_hub::signing::{self, Demand, MAX_BUNDLE_BYTES, SignatureReport};
use carat_hub::{HubError, Manifest, RepoId};
use carat_node::hub::remote;
use serde_json::json;

use super::super::{Context, Outcome, parse};
use super::{Place, Reference, Signer, Where};
use crate::exit::{Exit, Failure};
use crate::files::{self, ScratchDir};
use crate::output::{Answer, Progress};

/// Fetch the files of a version into a new folder. Every file is compared with the manifest, the manifest with its digest.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat hub pull acme/digits -o digits\n  carat hub pull acme/digits@1.0.0 --server http://127.0.0.1:8321 -o digits\n  carat hub pull acme/digits --signing-key acme.pub -o digits\n  carat run digits --input examples/seven.png"
)]
pub(super) struct Args {
    /// OWNER/NAME, or OWNER/NAME@ and a version, tag or digest.
    #[arg(value_parser = parse::<Reference>)]
    model: Reference,
    /// The new folder [default: the model's name].
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    at: Where,
    #[command(flatten)]
    signer: Signer,
}

pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let Reference { repo, .. } = &args.model;
    let out = args.output.clone().unwrap_or_else(|| repo.name().into());
    if out.exists() {
        let message = format!(
            "{} is there already; name another folder with -o",
            out.display()
        );
        return Err(Failure::new(Exit::Io, message));
    }
    let demand = args.signer.demand()?;
    let place = args.at.open(context)?;
    let progress = Progress::start(format!("fetching {repo}"));
    let manifest = manifest(&place, repo, args.model.revision())?;
    // Signatures before bytes: what must be signed and is not is not even fetched.
    let signature = match manifest.file(SIGNATURE_FILE) {
        None if args.signer.demands() => {
            return Err(HubError::Signature("there is none".into()).into());
        }
        None => SignatureReport::default(),
        Some(_) => signature(&place, repo, &manifest.digest().to_string(), &demand)?,
    };
    let name = out
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let scratch =
        ScratchDir::new(out.with_file_name(format!(".{name}.{}.tmp", std::process::id())))?;
    match &place {
        Place::Here(hub) => {
            let record = hub.live(repo, &manifest.digest().to_string())?;
            if record.manifest.private {
                return Err(HubError::Private(record.manifest.title()).into());
            }
            hub.lay_out(&record, scratch.path())?;
        }
        Place::There(client) => remote::fetch(client, &manifest, scratch.path(), &progress)?,
    }
    std::fs::rename(scratch.path(), &out)
        .map_err(|error| files::io_failure("writing", &out, &error))?;
    drop(progress);
    let text = format!(
        "{} is in {}: {} files, digest {}\n{}",
        manifest.title(),
        out.display(),
        manifest.files.len(),
        manifest.digest(),
        match signature.state {
            signing::State::Verified =>
                format!("Signature verified: {}\n", signature.checked.join("; ")),
            signing::State::Unchecked =>
                "Its signature was not checked: the key is not known; give --signing-key\n".into(),
            signing::State::Absent => "The files are not signed.\n".into(),
        }
    );
    let json = json!({
        "repo": repo,
        "version": manifest.version,
        "digest": manifest.digest(),
        "files": manifest.files,
        "folder": out,
        "signature": signature,
    });
    Ok((Answer { text, json }, Exit::Good))
}

fn manifest(place: &Place, repo: &RepoId, revision: &str) -> Result<Manifest, Failure> {
    match place {
        Place::Here(hub) => {
            let record = hub.live(repo, revision)?;
            if record.manifest.private {
                return Err(HubError::Private(record.manifest.title()).into());
            }
            Ok(record.manifest)
        }
        Place::There(client) => remote::manifest(client, repo, revision),
    }
}

/// Checks the signature of a version on this machine.
pub(super) fn signature(
    place: &Place,
    repo: &RepoId,
    revision: &str,
    demand: &Demand,
) -> Result<SignatureReport, Failure> {
    match place {
        Place::Here(hub) => Ok(hub.check_signature(&hub.live(repo, revision)?, demand)?),
        Place::There(client) => {
            let manifest = remote::manifest(client, repo, revision)?;
            if manifest.file(SIGNATURE_FILE).is_none() {
                return Err(HubError::Signature("there is none".into()).into());
            }
            let mut bundle = Vec::new();
            let commit = carat_hub::manifest::commit(&manifest.digest());
            client.download(
                &format!("/{repo}/resolve/{commit}/{SIGNATURE_FILE}"),
                &mut |bytes| {
                    bundle.extend_from_slice(bytes);
                    if bundle.len() > MAX_BUNDLE_BYTES {
                        return Err(Failure::new(Exit::TooLarge, "the signature is too large"));
                    }
                    Ok(())
                },
            )?;
            let named = manifest.signing_key.as_deref();
            Ok(signing::verify(&bundle, &manifest.files, named, demand)?)
        }
    }
}
