//! `carat model key`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use carat_nn::model::{CompileMetadata, Purpose};
use carat_receipt::Digest;
use carat_zk::{Profile, ProvingKey};
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde_json::json;

use super::super::{Context, Outcome};
use super::compile::{beside, purpose};
use crate::exit::Exit;
use crate::model::Model;
use crate::model::source::{self, Sources};
use crate::output::{Answer, Progress};
use crate::prover;
use crate::render::Table;

/// Compute the key that proofs about a model are checked under.
///
/// The key names the program and a commitment to its weights. Whoever has the model can compute it, so nobody's word is
/// needed; an ONNX file or a folder is compiled first (an ONNX file that the model.toml beside it names, as its folder
/// would be). A Trust file can list it
/// (`proof_keys`), for those who will not have the model.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat model key models/digits\n  carat model key models/digits/digits.onnx --calibration models/digits/calibration --profile proven-120 --json\n  carat model key digits.carat-model --json"
)]
pub(in super::super) struct Args {
    /// An ONNX file, a compiled model, or a folder.
    model: PathBuf,
    /// Security profile: proven-100 or proven-120.
    #[arg(long, value_name = "PROFILE", default_value = "proven-100", value_parser = prover::profile)]
    profile: Profile,
    /// For an ONNX file: the folder of sample inputs.
    #[arg(long, value_name = "DIR")]
    calibration: Option<PathBuf>,
    /// For an ONNX file: what the program is mainly for, `run` or `proof` [default: what model.toml says, else run].
    #[arg(long = "for", value_name = "PURPOSE", value_parser = PossibleValuesParser::new(["run", "proof"]).map(purpose))]
    purpose: Option<Purpose>,
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let progress = Progress::start(format!("reading {}", args.model.display()));
    let onnx = args.model.extension().is_some_and(|e| e == "onnx");
    let file = if onnx {
        progress.say(format!("compiling {}", args.model.display()));
        let sources = Sources {
            onnx: args.model.clone(),
            calibration: args.calibration.clone().or_else(|| near(&args.model)),
            metadata: beside(&args.model)?,
        };
        let choices = CompileMetadata {
            purpose: args.purpose,
            ..CompileMetadata::default()
        };
        source::compile(&sources, BTreeMap::new(), choices)?.file
    } else {
        Model::load(&args.model, context)?.file
    };
    progress.say("committing to the weights");
    let started = Instant::now();
    let key =
        ProvingKey::new(&file.program, &file.weights, args.profile).map_err(prover::failure)?;
    let setup = started.elapsed();
    drop(progress);
    let key = key.key();
    let (program, root, digest) = (key.program, Digest::from_bytes(key.root.0), key.digest());
    let mut rows = Table::new(2);
    rows.row(["Program", &program.to_string()]);
    rows.row(["Profile", args.profile.name()]);
    rows.row(["Weights root", &root.to_string()]);
    rows.row(["Model key", &digest.to_string()]);
    rows.row([
        "Computed",
        &format!("from the weights, in {:.1} ms", prover::millis(setup)),
    ]);
    let text = format!(
        "{}\nTo vouch for it in a Trust file: carat trust add trust.toml model NAME {program} --proof-key {digest}\n",
        rows.render("")
    );
    let json = json!({
        "program_digest": program,
        "profile": args.profile.name(),
        "weights_root": root,
        "model_key": digest,
        "setup_ms": prover::millis(setup),
    });
    Ok((Answer { text, json }, Exit::Good))
}

/// The calibration folder beside an ONNX file, as `model.toml` or habit has it.
fn near(onnx: &Path) -> Option<PathBuf> {
    let folder = onnx.parent().filter(|parent| *parent != Path::new(""));
    let sources = source::in_folder(folder.unwrap_or(Path::new("."))).ok()?;
    (sources.onnx.file_name() == onnx.file_name())
        .then_some(sources.calibration)
        .flatten()
}
