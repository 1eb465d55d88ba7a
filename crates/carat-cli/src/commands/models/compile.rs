//! `carat model compile`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use carat_float::profile::Profile as FloatProfile;
use carat_nn::compile::Lookups;
use carat_nn::model::{CompileMetadata, Purpose};
use carat_receipt::Digest;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde_json::json;

use super::super::Outcome;
use super::inspect::{lookups, primitives, widths};
use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::model::source::{self, Sources};
use crate::output::{Answer, Progress};
use crate::render::{self, Table};

/// Compile an ONNX model to an exact integer program, or take it as it is under a pinned float profile.
///
/// The same ONNX file, metadata, calibration inputs and options give the same program digest on every machine.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat model compile models/digits/digits.onnx --calibration models/digits/calibration -o digits.carat-model\n  carat model compile models/digits -o digits.carat-model\n  carat model compile net.onnx --calibration samples --shape image=1,3,224,224 -o net.carat-model --json\n  carat model compile models/digits --for proof -o digits.carat-model\n  carat model compile models/digits --profile tract -o digits-float.carat-model"
)]
pub(in super::super) struct Args {
    /// The ONNX file, or a folder with model.toml.
    source: PathBuf,
    /// Folder of sample inputs: INPUT.npy with samples along the first axis, or ONNX test data. Without it, made-up inputs
    /// give the scales, and the model card warns of that.
    #[arg(long, value_name = "DIR")]
    calibration: Option<PathBuf>,
    /// Name, version, labels and image mapping [default: the model.toml beside the ONNX file, if it names that file].
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// Shape of an input that the model leaves open, such as image=1,3,224,224.
    #[arg(long, value_name = "INPUT=DIMS", value_parser = shape)]
    shape: Vec<(String, Vec<usize>)>,
    /// What the program is mainly for: `run` keeps activations as wide as bounds allow, `proof` as narrow as the answers on
    /// the calibration inputs allow, for cheap proofs [default: what model.toml says, else run].
    #[arg(long = "for", value_name = "PURPOSE", value_parser = PossibleValuesParser::new(["run", "proof"]).map(purpose))]
    purpose: Option<Purpose>,
    /// Do not compile to integers: run the model in floating point, by an engine whose every choice is pinned. `tract` is the
    /// current profile, tract/0.23.9/x86-64-v3. Answers can be replayed bit for bit, and not proven.
    #[arg(long, value_name = "PROFILE", value_parser = super::super::float_profile, conflicts_with_all = ["calibration", "purpose", "weight_bits", "activation_bits"])]
    profile: Option<FloatProfile>,
    /// Bits of a weight, sign included.
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(2..=16))]
    weight_bits: Option<u8>,
    /// Bits of an activation beside its sign.
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(2..=15))]
    activation_bits: Option<u8>,
    /// Where to write the compiled model.
    #[arg(short, long, value_name = "OUT.carat-model")]
    output: PathBuf,
}

fn shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let wrong = || "a shape is written like image=1,3,224,224".to_string();
    let (name, dims) = text.split_once('=').ok_or_else(wrong)?;
    let dims: Result<Vec<usize>, _> = dims.split(',').map(|dim| dim.trim().parse()).collect();
    match dims {
        Ok(dims) if !name.is_empty() && !dims.contains(&0) => Ok((name.to_string(), dims)),
        _ => Err(wrong()),
    }
}

pub(super) fn purpose(name: String) -> Purpose {
    match name.as_str() {
        "proof" => Purpose::Proof,
        _ => Purpose::Run,
    }
}

pub(super) fn run(args: Args) -> Outcome {
    files::check_writable(&args.output)?;
    let sources = sources(&args)?;
    if let Some(profile) = args.profile {
        return float(args, &sources, &profile);
    }
    let choices = CompileMetadata {
        purpose: args.purpose,
        weight_bits: args.weight_bits,
        activation_bits: args.activation_bits,
    };
    let shapes: BTreeMap<String, Vec<usize>> = args.shape.into_iter().collect();
    let started = Instant::now();
    let progress = Progress::start(format!("compiling {}", sources.onnx.display()));
    let compiled = source::compile(&sources, shapes, choices)?;
    files::write_atomic(&args.output, &compiled.file.encode(), Mode::Shared)?;
    drop(progress);

    let (program, card) = (&compiled.file.program, &compiled.card);
    let digest = program.digest();
    let counts = primitives(program);
    let mut rows = head(&args.output, started, &digest);
    rows.row([
        "Source",
        &format!(
            "{} (SHA-256 {})",
            sources.onnx.display(),
            card.source_sha256
        ),
    ]);
    rows.row(["Parameters", &card.parameters.to_string()]);
    let list: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    rows.row([
        "Primitives",
        &format!("{}: {}", program.nodes.len(), list.join(", ")),
    ]);
    rows.row(["Widths", &widths(card)]);
    rows.row(["Look-ups", &lookups(&Lookups::of(program))]);
    rows.row([
        "Calibration",
        &format!("{} {}", card.calibration.samples, card.calibration.source),
    ]);
    let deviation: Vec<String> = program
        .outputs
        .iter()
        .zip(&card.deviation)
        .map(|(output, units)| {
            format!("{} at most {units:.1} units of the last place", output.name)
        })
        .collect();
    rows.row([
        "Deviation",
        &format!("on calibration inputs: {}", deviation.join(", ")),
    ]);
    let mut text = rows.render("");
    render::list(&mut text, "Warnings", &card.warnings);
    let json = json!({
        "program_digest": digest,
        "parameters": card.parameters,
        "primitives": counts,
        "nodes": program.nodes.len(),
        "lookups": Lookups::of(program),
        "options": card.options,
        "agreement": card.agreement,
        "path": args.output,
        "source_sha256": card.source_sha256,
        "operators": card.operators,
        "calibration": card.calibration,
        "deviation": card.deviation,
        "warnings": card.warnings,
    });
    Ok((Answer { text, json }, Exit::Good))
}

/// Takes a model as it is, under a float profile.
fn float(args: Args, sources: &Sources, profile: &FloatProfile) -> Outcome {
    let started = Instant::now();
    let progress = Progress::start(format!("preparing {}", sources.onnx.display()));
    let shapes: BTreeMap<String, Vec<usize>> = args.shape.into_iter().collect();
    let model = source::compile_float(sources, shapes, profile)?;
    files::write_atomic(&args.output, &model.encode(), Mode::Shared)?;
    drop(progress);
    let mut rows = head(&args.output, started, &model.digest);
    rows.row(["Profile", &model.program.profile]);
    rows.row([
        "Source",
        &format!(
            "{} (SHA-256 {})",
            sources.onnx.display(),
            model.program.body.source
        ),
    ]);
    rows.row(["Evidence", FLOAT_EVIDENCE]);
    let json = json!({
        "program_digest": model.digest,
        "profile": model.program.profile,
        "path": args.output,
        "source_sha256": model.program.body.source,
    });
    Ok((
        Answer {
            text: rows.render(""),
            json,
        },
        Exit::Good,
    ))
}

/// What answers of a float model can be given, for people.
pub(super) const FLOAT_EVIDENCE: &str =
    "signature, replay, attested hardware; no proofs (they exist for integer/v1)";

fn sources(args: &Args) -> Result<Sources, Failure> {
    let mut sources = if args.source.is_dir() {
        source::in_folder(&args.source)?
    } else {
        Sources {
            onnx: args.source.clone(),
            calibration: None,
            metadata: beside(&args.source)?,
        }
    };
    if let Some(dir) = &args.calibration {
        if !dir.is_dir() {
            let message = format!(
                "{} is no folder; give the folder of sample inputs",
                dir.display()
            );
            return Err(Failure::new(Exit::Io, message));
        }
        sources.calibration = Some(dir.clone());
    }
    if let Some(path) = &args.metadata {
        sources.metadata = Some(source::read_metadata(path)?);
    }
    Ok(sources)
}

/// The `model.toml` beside an ONNX file, if it is about that file.
pub(super) fn beside(onnx: &Path) -> Result<Option<String>, Failure> {
    let folder = onnx.parent().filter(|parent| *parent != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    if !folder.join("model.toml").is_file() {
        return Ok(None);
    }
    let sources = source::in_folder(folder)?;
    Ok(sources
        .metadata
        .filter(|_| sources.onnx.file_name() == onnx.file_name()))
}

/// The first rows of what is said: where the model is, how long it took, what it is called.
fn head(output: &Path, started: Instant, program: &Digest) -> Table {
    let mut rows = Table::new(2);
    let took = started.elapsed().as_secs_f64();
    rows.row(["Compiled", &format!("{} in {took:.1} s", output.display())]);
    rows.row(["Program", &program.to_string()]);
    rows
}
