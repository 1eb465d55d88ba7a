//! `carat replay`: run a receipt's Program again and attach what came out, under the replayer's own key.

use std::fmt::Write as _;
use std::path::PathBuf;

use carat_receipt::evidence::Replay;
use carat_receipt::file::MAX_FILE_BYTES;
use carat_receipt::{Evidence, Label, ReceiptFile, Role, commit};
use serde_json::json;

use super::{Context, Outcome};
use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::home;
use crate::model::AnyModel;
use crate::output::{Answer, Progress};

/// Run a receipt's Program again and attach the result to the receipt, under your own key.
///
/// The input and the salts come from the opening. Whether your replay is worth anything to somebody is for their Trust
/// file to say: it names auditors and their keys. A replay that gives another answer is attached too, with --contradict: it
/// shows that the receipt or the replay is wrong.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat replay receipt.carat --model models/digits\n  carat replay receipt.carat --model models/digits --data-dir ~/auditor -o audited.carat"
)]
pub(super) struct Args {
    /// The receipt.
    file: PathBuf,
    /// The model: a compiled file or a folder. Its Program must be the receipt's.
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// The opening of the receipt [default: the `.carat-open` file beside it].
    #[arg(long, value_name = "FILE")]
    open: Option<PathBuf>,
    /// Where to write the receipt with the replay [default: the receipt itself].
    #[arg(short, long, value_name = "OUT.carat")]
    output: Option<PathBuf>,
    /// Attach the replay even if it contradicts the receipt.
    #[arg(long)]
    contradict: bool,
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let out = args.output.as_ref().unwrap_or(&args.file);
    let bytes = files::read_capped(&args.file, "a receipt", MAX_FILE_BYTES as u64)?;
    let invalid = |error: &dyn ToString| {
        Failure::new(
            Exit::Invalid,
            format!("{}: {}", args.file.display(), error.to_string()),
        )
    };
    let mut file = ReceiptFile::decode(&bytes).map_err(|error| invalid(&error))?;
    file.signed
        .verify_signature()
        .map_err(|error| invalid(&error))?;
    let open_path = args
        .open
        .clone()
        .unwrap_or_else(|| files::sibling(&args.file, "carat-open"));
    let opening = super::verify::read_opening(&open_path)?;
    let statement = file.signed.statement().clone();
    let receipt_id = file.receipt_id();
    let fits = opening.receipt_id == receipt_id
        && opening.program == statement.program
        && opening.input.commitment(Role::Input) == statement.input;
    if !fits {
        let message = format!(
            "{} is not the opening of {}; give the one that was written with it",
            open_path.display(),
            args.file.display()
        );
        return Err(Failure::new(Exit::Mismatch, message));
    }
    files::check_writable(out)?;

    let home = context.home()?;
    let model = AnyModel::load(&args.model, context)?;
    if model.digest != statement.program {
        let message = format!(
            "{} is program {}, the receipt is about program {}; give the model that the receipt names",
            args.model.display(),
            model.digest,
            statement.program
        );
        return Err(Failure::new(Exit::Mismatch, message));
    }
    let inputs = model
        .program()
        .decode(&opening.input.bytes)
        .map_err(|error| {
            let message = format!("the input in {}: {error}", open_path.display());
            Failure::new(Exit::Mismatch, message)
        })?;
    let progress = Progress::start("running the model on this machine");
    let outputs = model.answer(&inputs)?;
    drop(progress);
    let output = commit(Role::Output, &opening.output.salt, &outputs.canonical());
    let agrees = output == statement.output;
    if !agrees && !args.contradict {
        let message = "this machine computes another answer than the receipt says: the receipt is wrong, or this machine \
                       is; nothing was attached; --contradict attaches your answer's commitment under your key";
        return Err(Failure::new(Exit::Mismatch, message));
    }

    let (key, _) = home.key_or_new()?;
    let own = key.public() == statement.issuer_key;
    let software = concat!("carat ", env!("CARGO_PKG_VERSION"));
    let body = Replay {
        key: key.public(),
        name: home.issuer_name(&key)?,
        program: model.digest,
        output,
        replayed_at: home::clock()?,
        engine: model.engine()?,
        software: Label::new(software).map_err(Failure::of(Exit::Internal))?,
        trace_root: None,
    };
    let name = body.name.clone();
    let evidence = Evidence::replay(receipt_id, body, &key).map_err(Failure::of(Exit::Internal))?;
    file.add_evidence(evidence)
        .map_err(Failure::of(Exit::Usage))?;
    files::write_atomic(out, &file.encode(), Mode::Shared)?;

    let mut text = format!(
        "{}: this machine computes {}.\n",
        if agrees {
            "Same answer"
        } else {
            "CONTRADICTION"
        },
        if agrees {
            "exactly the output that the receipt commits to"
        } else {
            "another output than the receipt commits to"
        }
    );
    let _ = writeln!(
        text,
        "Attached a replay by \"{name}\", key {}, to {}",
        key.public(),
        out.display()
    );
    if own {
        text.push_str(
            "\nThat is the issuer's own key: nobody counts a replay by the issuer as independent. Use another --data-dir.\n",
        );
    } else {
        let _ = writeln!(
            text,
            "\nWhoever accepts your word writes your key into a Trust file:\n  carat trust add trust.toml auditor \"{name}\" {} --controller \"{name}\" --cap 100USD",
            key.public()
        );
    }
    let json = json!({
        "agrees": agrees,
        "receipt_path": out,
        "receipt_id": receipt_id,
        "program_digest": model.digest,
        "replayer": { "name": name, "public_key": key.public(), "is_issuer": own },
    });
    Ok((Answer { text, json }, Exit::Good))
}
