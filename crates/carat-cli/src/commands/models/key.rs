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
use super::registration;
use crate::exit::{Exit, Failure};
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
///
/// With --private the key hides the weights: it comes of a secret that stays in the data directory, and a registration says,
/// without showing them, that they are within the program's bounds. A few dozen proofs can be made under one such key, which
/// is counted; asked again, the command says how many are left. With --check a registration is checked.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat model key models/digits\n  carat model key models/digits/digits.onnx --calibration models/digits/calibration --profile proven-120 --json\n  carat model key digits.carat-model --json\n  carat model key models/digits --private -o digits.carat-registration\n  carat model key --check digits.carat-registration"
)]
pub(in super::super) struct Args {
    /// An ONNX file, a compiled model, or a folder.
    #[arg(required_unless_present = "check")]
    model: Option<PathBuf>,
    /// Security profile: proven-100 or proven-120.
    #[arg(long, value_name = "PROFILE", default_value = "proven-100", value_parser = prover::profile)]
    pub(super) profile: Profile,
    /// Make a key that hides the weights, or find it, and write its registration.
    #[arg(long, conflicts_with_all = ["check", "calibration", "purpose"])]
    private: bool,
    /// With --private, make another key although there is one. The old one is used where the new one is used up.
    #[arg(long, requires = "private")]
    pub(super) new: bool,
    /// With --private, where to write the registration [default: the model's name with .carat-registration, here].
    #[arg(short, long, value_name = "FILE", requires = "private")]
    pub(super) output: Option<PathBuf>,
    /// With --private, memory that the registration may take.
    #[arg(long, value_name = "SIZE", default_value = prover::MEMORY, value_parser = prover::size)]
    pub(super) memory_limit: u64,
    /// Check the registration of somebody's key. Exit status 1 if it does not hold.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "calibration", "purpose"])]
    check: Option<PathBuf>,
    /// For an ONNX file: the folder of sample inputs.
    #[arg(long, value_name = "DIR")]
    calibration: Option<PathBuf>,
    /// For an ONNX file: what the program is mainly for, `run` or `proof` [default: what model.toml says, else run].
    #[arg(long = "for", value_name = "PURPOSE", value_parser = PossibleValuesParser::new(["run", "proof"]).map(purpose))]
    purpose: Option<Purpose>,
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    match (&args.check, &args.model) {
        (Some(file), _) => registration::check(file),
        (None, Some(model)) if args.private => registration::make(&args, model, context),
        (None, Some(model)) => public(&args, model, context),
        (None, None) => Err(Failure::new(Exit::Usage, "give a model")),
    }
}

/// The key that anybody computes.
fn public(args: &Args, model: &Path, context: &Context) -> Outcome {
    let progress = Progress::start(format!("reading {}", model.display()));
    let onnx = model.extension().is_some_and(|e| e == "onnx");
    let file = if onnx {
        progress.say(format!("compiling {}", model.display()));
        let sources = Sources {
            onnx: model.to_path_buf(),
            calibration: args.calibration.clone().or_else(|| near(model)),
            metadata: beside(model)?,
        };
        let choices = CompileMetadata {
            purpose: args.purpose,
            ..CompileMetadata::default()
        };
        source::compile(&sources, BTreeMap::new(), choices)?.file
    } else {
        Model::load(model, context)?.file
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
