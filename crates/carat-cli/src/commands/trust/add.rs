//! `carat trust add`.

use std::path::{Path, PathBuf};

use carat_log::VerifierKey;
use carat_receipt::{Amount, Digest, Label, PublicKey};
use carat_tee::Kind;
use carat_verify::trust::{
    Auditor, Content, Issuer, IssuerKey, LogKey, Model, Upstream, WitnessKey,
};
use carat_verify::trust::{DeniedPlatform, GpuFirmware, GpuReference, Platform, PolicyName};
use clap::Subcommand;

use super::{Context, Now, Outcome, change, parse};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::model;
use crate::prover;

/// Add an issuer, a model, a key that hides a model's weights, a log, a witness, an auditor, an upstream, a platform, reference values of GPUs, or a platform that
/// you refuse.
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
    /// A key that hides a model's weights, after its registration was checked. Which weights it hides is its publisher's word,
    /// and for you the key is the model: take the file from the publisher itself.
    #[command(
        after_help = "Example:\n  carat trust add trust.toml registration digits digits.carat-registration"
    )]
    Registration {
        /// What you call the model.
        #[arg(value_parser = parse::<Label>)]
        name: Label,
        /// The registration that its publisher gave you (`carat model key MODEL --private`).
        registration: PathBuf,
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
    /// An upstream service whose answers you accept from couriers, up to a cap: its word, and the courier's that it gave it.
    #[command(
        after_help = "Examples:\n  carat trust add trust.toml upstream openai 5USD\n  carat trust add trust.toml upstream openai 5USD --model gpt-4o-2024-08-06 --courier \"Example Ltd\""
    )]
    Upstream {
        /// Its name, as couriers' receipts give it; the assumption is `upstream:NAME`.
        #[arg(value_parser = parse::<Label>)]
        name: Label,
        /// What its word is good for at most.
        #[arg(value_parser = parse::<Amount>)]
        cap: Amount,
        /// A name that it may give its model besides the one asked for, such as a dated one. May be given several times.
        #[arg(long, value_name = "NAME", value_parser = parse::<Label>)]
        model: Vec<Label>,
        /// An issuer of this file that you accept as a courier of it [default: every issuer of this file]. May be given several
        /// times.
        #[arg(long, value_name = "ISSUER", value_parser = parse::<Label>)]
        courier: Vec<Label>,
    },
    /// Measured code on a kind of hardware that you accept, up to a cap. `carat tee verify` prints the measurement; read the code
    /// that it measures before you add it.
    #[command(
        after_help = "Examples:\n  carat trust add trust.toml platform \"digits on Genoa\" --kind snp --product genoa --cap 5000USD --measurement 99283af7aac83d9f0b72a92fc932fc205f0ff2eb6ade417b2c509580236bab46\n  carat trust add trust.toml platform enclave --kind nitro --cap 500USD --break-cost 2000USD --measurement 99283af7aac83d9f0b72a92fc932fc205f0ff2eb6ade417b2c509580236bab46"
    )]
    Platform {
        /// What you call it; the assumption is `measured-code:NAME`.
        #[arg(value_parser = parse::<Label>)]
        name: Label,
        /// Kind of evidence: nitro, tdx, sgx, snp, azure-snp or gcp.
        #[arg(long, value_parser = parse::<Kind>)]
        kind: Kind,
        /// The claim `measurement` of its evidence.
        #[arg(long, value_name = "DIGEST", value_parser = parse::<Digest>)]
        measurement: Digest,
        /// What its evidence is good for at most.
        #[arg(long, value_parser = parse::<Amount>)]
        cap: Amount,
        /// Only this product, such as genoa.
        #[arg(long, value_parser = parse::<Label>)]
        product: Option<Label>,
        /// The policy that the evidence must pass: production, or strict, which accepts EPYC Milan.
        #[arg(long, default_value = "production", value_parser = parse::<PolicyName>)]
        policy: PolicyName,
        /// What it costs to break one such machine; counts beside a bond where answers are audited.
        #[arg(long, value_name = "AMOUNT", value_parser = parse::<Amount>)]
        break_cost: Option<Amount>,
        /// Accept GPUs with any firmware of NVIDIA's, not only what a `gpu-reference` of this file says.
        #[arg(long)]
        any_gpu_firmware: bool,
    },
    /// What the firmware of a GPU must measure: a bundle that you made of NVIDIA's manifests (`docs/tee.md`).
    #[command(
        after_help = "Example:\n  carat trust add trust.toml gpu-reference \"H100 96.00.5E.00.01\" bundle.cbor"
    )]
    GpuReference {
        /// What you call it.
        #[arg(value_parser = parse::<Label>)]
        name: Label,
        /// The bundle, raw, hexadecimal or base64.
        bundle: PathBuf,
    },
    /// A machine, product or measurement that you refuse, in receipts of any date.
    #[command(
        after_help = "Examples:\n  carat trust add trust.toml denied-platform amd snp-chip:3ac3fe21* --reason \"TEE.fail\"\n  carat trust add trust.toml denied-platform amd milan --reason \"chip keys can be extracted\"\n  carat trust add trust.toml denied-platform intel tdx-ppid:811dca2a26b952e85bb6448b097ba4fd --reason stolen"
    )]
    DeniedPlatform {
        /// Whose hardware: aws, intel, amd, nvidia, microsoft or google.
        #[arg(value_parser = parse::<Label>)]
        vendor: Label,
        /// The machine as `carat tee verify` names it (a `*` at the end matches any ending), a product, or a measurement.
        #[arg(value_parser = parse::<Label>)]
        id: Label,
        /// Why; the appraisal of a receipt says it.
        #[arg(long, value_parser = parse::<Label>)]
        reason: Label,
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
        Entry::Registration { name, registration } => {
            let key = prover::read_registration(&registration)?.key;
            Box::new(move |content| {
                let there = (content.models.iter())
                    .any(|m| m.program == key.program && m.proof_keys.contains(&key.digest()));
                if !there {
                    add_model(content, name, key.program, vec![key.digest()]);
                }
            })
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
        Entry::Upstream {
            name,
            cap,
            model: models,
            courier: couriers,
        } => Box::new(move |content| {
            content.upstreams.push(Upstream {
                name,
                cap,
                models,
                couriers,
            });
        }),
        Entry::Platform {
            name,
            kind,
            measurement,
            cap,
            product,
            policy,
            break_cost,
            any_gpu_firmware,
        } => Box::new(move |content| {
            content.platforms.push(Platform {
                name,
                kind,
                measurement,
                product,
                policy,
                gpu_firmware: if any_gpu_firmware {
                    GpuFirmware::Any
                } else {
                    GpuFirmware::Reference
                },
                cap,
                break_cost,
            });
        }),
        Entry::GpuReference { name, bundle } => {
            let bundle = read_bundle(&bundle)?;
            Box::new(move |content| content.gpu_references.push(GpuReference { name, bundle }))
        }
        Entry::DeniedPlatform { vendor, id, reason } => Box::new(move |content| {
            content
                .denied_platforms
                .push(DeniedPlatform { vendor, id, reason });
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

/// The bytes of a bundle. Whether it is one says the Trust file's own check.
fn read_bundle(path: &Path) -> Result<Vec<u8>, Failure> {
    let limit = carat_tee::input::MAX_TEXT_BYTES as u64;
    let bytes = files::read_capped(path, "reference values", limit)?;
    carat_tee::input::decode(&bytes)
        .map(|bytes| bytes.into_owned())
        .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))
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
    Ok(model::AnyModel::load(path, context)?.digest)
}
