//! From an ONNX file and calibration inputs to a compiled model.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use carat_float::{Bounds, FloatModel, Launch, Worker};
use carat_nn::import::MAX_ONNX_BYTES;
use carat_nn::model::{
    CompileMetadata, CompileRequest, Compiled, Metadata, ModelError, compile_model,
};
use carat_receipt::Digest;
use serde::Deserialize;

use super::{EXTENSION, Model, float_failure, worker_failure};
use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::home::Place;

const MAX_METADATA: u64 = 1 << 20;
const MAX_SAMPLES_FILE: u64 = 1 << 30;
/// Domain of the names of cached compilations.
const CACHE_DOMAIN: &str = "carat/model-cache/v1";

/// The sources of a model, found on disk.
pub struct Sources {
    /// The ONNX file.
    pub onnx: PathBuf,
    /// The folder of calibration inputs, if any.
    pub calibration: Option<PathBuf>,
    /// The text of `model.toml`, if any.
    pub metadata: Option<String>,
}

/// Where a model folder keeps things, as its `model.toml` says.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Layout {
    source: Option<PathBuf>,
    calibration: Option<PathBuf>,
}

/// Finds the sources in a folder with a `model.toml`, or with exactly one ONNX file.
pub fn in_folder(folder: &Path) -> Result<Sources, Failure> {
    let toml = folder.join("model.toml");
    let metadata = if toml.exists() {
        Some(read_metadata(&toml)?)
    } else {
        None
    };
    let layout: Layout = match &metadata {
        Some(text) => toml::from_str(text).map_err(|error| {
            Failure::new(
                Exit::Model,
                format!("{}: {}", toml.display(), error.message()),
            )
        })?,
        None => Layout::default(),
    };
    let onnx = match layout.source {
        Some(source) => inside(folder, &source)?,
        None => only_onnx(folder)?,
    };
    let calibration = inside(
        folder,
        layout
            .calibration
            .as_deref()
            .unwrap_or("calibration".as_ref()),
    )?;
    let calibration = calibration.is_dir().then_some(calibration);
    Ok(Sources {
        onnx,
        calibration,
        metadata,
    })
}

/// Reads a `model.toml`.
pub fn read_metadata(path: &Path) -> Result<String, Failure> {
    files::read_text(path, "model metadata (model.toml)", MAX_METADATA)
}

/// The ONNX file of a model's folder.
pub fn onnx_in(folder: &Path) -> Result<PathBuf, Failure> {
    if folder.is_dir() {
        return in_folder(folder).map(|sources| sources.onnx);
    }
    let message = format!(
        "{} is no folder with an ONNX file; give it with --onnx",
        folder.display()
    );
    Err(Failure::new(Exit::Usage, message))
}

/// Compiles sources. What `choices` leaves open is up to `model.toml`.
pub fn compile(
    sources: &Sources,
    shapes: BTreeMap<String, Vec<usize>>,
    choices: CompileMetadata,
) -> Result<Compiled, Failure> {
    let onnx = files::read_capped(&sources.onnx, "an ONNX file", MAX_ONNX_BYTES)?;
    if let Some(dir) = &sources.calibration {
        check_samples(dir)?;
    }
    let refused = |error: ModelError| {
        let exit = match &error {
            ModelError::Import(_) | ModelError::Compile(_) | ModelError::Metadata(_) => Exit::Model,
            ModelError::Edge(_) | ModelError::Samples(_) => Exit::Input,
        };
        Failure::new(exit, format!("{}: {error}", sources.onnx.display()))
    };
    let mut metadata = metadata(sources).map_err(refused)?;
    metadata.compile = choices.or(metadata.compile);
    let options = metadata.compile.options().map_err(refused)?;
    let request = CompileRequest {
        onnx: &onnx,
        metadata,
        calibration: sources.calibration.as_deref(),
        shapes,
        options,
    };
    compile_model(&request).map_err(refused)
}

/// Takes a model as it is, under a float profile.
pub fn compile_float(
    sources: &Sources,
    shapes: BTreeMap<String, Vec<usize>>,
    profile: &carat_float::profile::Profile,
) -> Result<FloatModel, Failure> {
    let onnx = files::read_capped(&sources.onnx, "an ONNX file", MAX_ONNX_BYTES)?;
    let source = carat_float::Source {
        onnx: &onnx,
        metadata: metadata(sources).map_err(|error| {
            Failure::new(Exit::Model, format!("{}: {error}", sources.onnx.display()))
        })?,
        shapes,
        bound: Vec::new(),
    };
    let launch = Launch::find(profile.name, Bounds::default()).map_err(worker_failure)?;
    FloatModel::compile(&source, &mut Worker::new(launch)).map_err(|error| {
        let failure = float_failure(error);
        let message = format!("{}: {}", sources.onnx.display(), failure.message);
        Failure::new(failure.exit, message)
    })
}

/// What `model.toml` says, with a name in any case.
fn metadata(sources: &Sources) -> Result<Metadata, ModelError> {
    let mut metadata = match &sources.metadata {
        Some(text) => Metadata::parse(text)?,
        None => Metadata::default(),
    };
    if metadata.name.is_empty() {
        let stem = sources.onnx.file_stem().unwrap_or_default();
        metadata.name = stem.to_string_lossy().into_owned();
    }
    Ok(metadata)
}

/// The compiled model of a folder, compiled now unless the same sources were compiled before.
pub fn cached(folder: &Path, place: &Place) -> Result<Model, Failure> {
    let home = place.home()?;
    let sources = in_folder(folder)?;
    let key = fingerprint(&sources)?;
    let path = home.path("models").join(format!("{key}.{EXTENSION}"));
    if path.exists() {
        return Model::read(&path);
    }
    home.make_dir("models")?;
    let started = std::time::Instant::now();
    let progress = place
        .tell
        .begin(format!("compiling {} (first use)", folder.display()));
    let compiled = compile(&sources, BTreeMap::new(), CompileMetadata::default())?;
    files::write_atomic(&path, &compiled.file.encode(), Mode::Shared)?;
    drop(progress);
    place.tell.note(&format!(
        "carat: compiled {} in {:.1} s; kept as {}",
        folder.display(),
        started.elapsed().as_secs_f64(),
        path.display()
    ));
    Ok(Model::new(compiled.file, path))
}

/// Names sources by their content, so that a changed source is compiled again.
fn fingerprint(sources: &Sources) -> Result<Digest, Failure> {
    let onnx = files::read_capped(&sources.onnx, "an ONNX file", MAX_ONNX_BYTES)?;
    let metadata = sources.metadata.as_deref().unwrap_or_default();
    let mut samples = Vec::new();
    if let Some(dir) = &sources.calibration {
        for path in check_samples(dir)? {
            let bytes = files::read_capped(&path, "calibration inputs", MAX_SAMPLES_FILE)?;
            let name = path.strip_prefix(dir).unwrap_or(&path);
            let name = name.to_string_lossy().into_owned();
            samples.push(Digest::of(CACHE_DOMAIN, &[name.as_bytes(), &bytes]));
        }
    }
    // Another build may compile the same sources to another program: what was kept belongs to this build.
    let build = std::env::current_exe()
        .and_then(fs::read)
        .map_err(|error| files::io_failure("reading", "this program".as_ref(), &error))?;
    let mut parts: Vec<&[u8]> = vec![&build, metadata.as_bytes(), &onnx];
    parts.extend(samples.iter().map(|digest| digest.as_bytes().as_slice()));
    Ok(Digest::of(CACHE_DOMAIN, &parts))
}

/// The files of a calibration folder in order, each within its limit.
fn check_samples(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| files::io_failure("reading", dir, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            // ONNX test data: one level of folders.
            for entry in fs::read_dir(&path).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                if path.is_file() {
                    found.push(path);
                }
            }
        } else {
            found.push(path);
        }
    }
    found.sort();
    for path in &found {
        files::open_capped(path, "calibration inputs", MAX_SAMPLES_FILE)?;
    }
    Ok(found)
}

/// A path of `model.toml`, which may not lead out of its folder.
fn inside(folder: &Path, path: &Path) -> Result<PathBuf, Failure> {
    let plain = path
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if plain {
        return Ok(folder.join(path));
    }
    let message = format!(
        "{}: model.toml names {}, which lies outside the folder; keep a model's files together",
        folder.display(),
        path.display()
    );
    Err(Failure::new(Exit::Model, message))
}

fn only_onnx(folder: &Path) -> Result<PathBuf, Failure> {
    let failed = |error| files::io_failure("reading", folder, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "onnx")
        {
            found.push(path);
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(path), true) => Ok(path),
        (none_or_many, _) => {
            let count = if none_or_many.is_some() {
                "several"
            } else {
                "no"
            };
            let message = format!(
                "{} holds {count} ONNX files and no model.toml that names one; give a compiled model (.{EXTENSION}), or a \
                 folder with model.toml",
                folder.display()
            );
            Err(Failure::new(Exit::Model, message))
        }
    }
}
