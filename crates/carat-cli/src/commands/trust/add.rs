//! `carat trust add`.

use std::path::{Path, PathBuf};

use carat_log::VerifierKey;
use carat_receipt::{Amount, Digest, Label, PublicKey};
use carat_verify::trust::{Auditor, Content, Issuer, IssuerKey, LogKey, Model, WitnessKey};
use clap::Subcommand;

use super::{Context, Now, Outcome, change, parse};
use crate::exit::{Exit, Failure};
use crate::model;

/// Add an issuer, a model, a log, a witness or an auditor.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The Trust file.
    file: PathBuf,
    #[command(subcommand)]
    entry: Entry,
    #[command(flatten)]
    now: Now,
}

#[derive(Debug, Subcommand)]
enum Entry {
    /// A key that issues receipts. Ask its holder for it; a receipt's own claim is no reason to add it.
    #[command(
        after_help = "Example:\n  carat trust add trust.toml issuer \"Example Ltd\" ed25519:3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
    )]
    Issuer {
        /// The organisation. A second key for a name that is there is added to it.
        #[arg(value_parser = parse::<Label>)]
        name: Label,
        /// Its public key.
        #[arg(value_parser = parse::<PublicKey>)]
        key: PublicKey,
    },
    /// A program that you accept as the model that you mean.
    #[command(
        after_help = "Examples:\n  carat trust add trust.toml model digits models/digits\n  carat trust add trust.toml model digits 1f0c6d7f2d1a0f5c8bfbe2c25a4c1e5f5d8a9a43a3a2c0f3f6f3c8b0f5c9f1aa"
    )]
    Model {
        /// What you call it.
        #[arg(value_parser = parse::<Label>)]
        name: Label,
        /// Its program digest, or the model itself, whose digest is computed here.
        model: String,
        /// A model key (`carat model key`) that proofs about it may be checked under: you computed it from the weights, or
        /// you take somebody's word for it. For a program that is there already the keys are added.
        #[arg(long, value_name = "DIGEST", value_parser = parse::<Digest>)]
        proof_key: Vec<Digest>,
    },
    /// A log.
    #[command(
        after_help = "Example:\n  carat trust add trust.toml log \"$(carat log show --key)\" --controller me"
    )]
    Log {
        /// Its verifier key, in C2SP note form.
        #[arg(value_parser = vkey)]
        key: VerifierKey,
        /// Who operates it.
        #[arg(long, value_parser = parse::<Label>)]
        controller: Label,
    },
    /// A witness of logs.
    #[command(
        after_help = "Example:\n  carat trust add trust.toml witness witness.example/w1+d0d1b2c3+BOVg... --controller \"Witness Ltd\""
    )]
    Witness {
        /// Its verifier key, in C2SP note form.
        #[arg(value_parser = vkey)]
        key: VerifierKey,
        /// Who operates it.
        #[arg(long, value_parser = parse::<Label>)]
        controller: Label,
    },
    /// Somebody whose replays you accept, up to a cap.
    #[command(
        after_help = "Example:\n  carat trust add trust.toml auditor \"Audit Ltd\" ed25519:3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29 --controller \"Audit Ltd\" --cap 500USD"
    )]
    Auditor {
        /// Its name.
        #[arg(value_parser = parse::<Label>)]
        name: Label,
        /// Its public key.
        #[arg(value_parser = parse::<PublicKey>)]
        key: PublicKey,
        /// Who operates it. An auditor that its issuer operates is not independent.
        #[arg(long, value_parser = parse::<Label>)]
        controller: Label,
        /// What its word is good for at most.
        #[arg(long, value_parser = parse::<Amount>)]
        cap: Amount,
    },
}

fn vkey(text: &str) -> Result<VerifierKey, String> {
    VerifierKey::from_vkey(text).map_err(|error| error.to_string())
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let edit: Box<dyn FnOnce(&mut Content)> = match args.entry {
        Entry::Issuer { name, key } => Box::new(move |content| add_issuer(content, name, key)),
        Entry::Model {
            name,
            model,
            proof_key,
        } => {
            let program = program_digest(&model, context)?;
            Box::new(move |content| add_model(content, name, program, proof_key))
        }
        Entry::Log { key, controller } => {
            Box::new(move |content| content.logs.push(LogKey { key, controller }))
        }
        Entry::Witness { key, controller } => {
            Box::new(move |content| content.witnesses.push(WitnessKey { key, controller }))
        }
        Entry::Auditor {
            name,
            key,
            controller,
            cap,
        } => Box::new(move |content| {
            content.auditors.push(Auditor {
                name,
                key,
                controller,
                cap,
            });
        }),
    };
    change(&args.file, &args.now, context, edit)
}

fn add_issuer(content: &mut Content, name: Label, key: PublicKey) {
    let key = IssuerKey {
        key,
        not_before: None,
        not_after: None,
        revoked: None,
    };
    match content
        .issuers
        .iter_mut()
        .find(|issuer| issuer.name == name)
    {
        Some(issuer) => issuer.keys.push(key),
        None => content.issuers.push(Issuer {
            name,
            keys: vec![key],
        }),
    }
}

fn add_model(content: &mut Content, name: Label, program: Digest, mut proof_keys: Vec<Digest>) {
    let there = content
        .models
        .iter_mut()
        .find(|model| model.name == name && model.program == program);
    match there {
        Some(model) if !proof_keys.is_empty() => model.proof_keys.append(&mut proof_keys),
        _ => content.models.push(Model {
            name,
            program,
            proof_keys,
        }),
    }
}

/// A digest as given, or that of the model given.
fn program_digest(text: &str, context: &Context) -> Result<Digest, Failure> {
    if let Ok(digest) = text.parse() {
        return Ok(digest);
    }
    let path = Path::new(text);
    if !path.exists() {
        let message = format!(
            "{text} is neither a program digest (64 hexadecimal digits) nor a model on this machine"
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(model::Model::load(path, context)?.digest)
}
