//! Models on disk: a compiled file, a folder that holds one, or a folder that is compiled on first use.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use carat_nn::edge;
use carat_nn::exec::{ExecError, Executable, Options};
use carat_program::{MAX_MODEL_BYTES, ModelFile, ModelFileError, Program, Tensor, encode_tensors};
use carat_receipt::{Digest, Label};

use crate::exit::{Exit, Failure};
use crate::files;
use crate::home::Place;
use crate::issue::{self, Identity};

mod any;
pub mod source;

pub(crate) use any::other_kind;
pub use any::{
    AnyModel, Computation, Described, Kind, Pinned, Tensors, float_failure, runner, worker_failure,
};
pub use source::onnx_in;

/// Extension of compiled models.
pub const EXTENSION: &str = "carat-model";
/// Largest input file, in bytes: what an Opening can hold, with room for text formats.
const MAX_INPUT_FILE: u64 = 1 << 30;

/// A compiled model that was read and checked.
pub struct Model {
    /// Program, weights, card.
    pub file: ModelFile,
    /// Digest of the Program.
    pub digest: Digest,
    /// Name, for people.
    pub name: Label,
    /// Version, for people.
    pub version: Label,
    /// Where it was read from.
    pub path: PathBuf,
}

impl Model {
    /// Finds, compiles where needed, reads and checks a model.
    pub fn load(path: &Path, place: &Place) -> Result<Self, Failure> {
        if path.is_dir() {
            return match compiled_in(path)? {
                Some(file) => Self::read(&file),
                None => source::cached(path, place),
            };
        }
        if path
            .extension()
            .is_some_and(|extension| extension == "onnx")
        {
            let message = format!(
                "{} is an ONNX file; compile it first: carat model compile {0} --calibration DIR -o OUT.{EXTENSION}",
                path.display()
            );
            return Err(Failure::new(Exit::Usage, message));
        }
        Self::read(path)
    }

    /// Reads a compiled model.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let refused = |error: ModelFileError| {
            Failure::new(Exit::Model, format!("{}: {error}", path.display()))
        };
        // The first bytes say whether it is a model at all, before gigabytes of something else are read.
        let head = read_head(path)?;
        if carat_float::is_float_model(&head) {
            let message = format!(
                "{} is a float model, and this needs an integer program: compile the model without --profile",
                path.display()
            );
            return Err(Failure::new(Exit::Model, message));
        }
        if let Err(error @ ModelFileError::Magic) = ModelFile::decode(&head) {
            return Err(refused(error));
        }
        let bytes = files::read_capped(path, "a compiled model", MAX_MODEL_BYTES)?;
        let file = ModelFile::decode(&bytes).map_err(refused)?;
        Ok(Self::new(file, path.to_path_buf()))
    }

    /// A model that is in memory; the path is where it was read from, or what it is called.
    pub(crate) fn new(file: ModelFile, path: PathBuf) -> Self {
        let (name, version) = label_of(&file.card, &path);
        Self {
            digest: file.program.digest(),
            name,
            version,
            file,
            path,
        }
    }

    /// The Program.
    pub fn program(&self) -> &Program {
        &self.file.program
    }

    /// Digest of the model card, as receipts name it; `None` where there is no card.
    pub fn card_digest(&self) -> Option<Digest> {
        (!self.file.card.is_empty()).then(|| Digest::sha256(self.file.card.as_bytes()))
    }

    /// What Statements say of it.
    pub fn identity(&self) -> Identity<'_> {
        Identity {
            program: self.digest,
            name: &self.name,
            version: &self.version,
            card: self.card_digest(),
            engine: issue::engine(),
        }
    }

    /// Prepares the Program for running.
    pub fn executable(&self, threads: usize) -> Result<Executable, Failure> {
        let options = Options {
            threads,
            ..Options::default()
        };
        Executable::new(self.program(), &self.file.weights, options).map_err(exec_failure)
    }

    /// Runs one input.
    pub fn answer(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Failure> {
        self.executable(0)?.run(inputs).map_err(exec_failure)
    }
}

/// Reads an input file by a function whose errors get the file's name.
fn input_file<T>(
    path: &Path,
    read: impl FnOnce() -> Result<T, edge::EdgeError>,
) -> Result<T, Failure> {
    // The reader opens the file itself; this refuses directories, pipes and files that are too large first.
    files::open_capped(path, "an input file", MAX_INPUT_FILE)?;
    read().map_err(|error| {
        let text = error.to_string();
        let shown = path.display().to_string();
        let text = if text.contains(&shown) {
            text
        } else {
            format!("{shown}: {text}")
        };
        Failure::new(Exit::Input, text)
    })
}

/// The first bytes of a model's file.
fn read_head(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut head = Vec::new();
    files::open_capped(path, "a compiled model", MAX_MODEL_BYTES)?
        .take(64)
        .read_to_end(&mut head)
        .map_err(|error| files::io_failure("reading", path, &error))?;
    Ok(head)
}

/// Name and version by a card, or the file's name where the card has none. A card is text that a publisher wrote: what is no
/// name is replaced, not trusted.
fn label_of(card: &str, path: &Path) -> (Label, Label) {
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    let card: serde_json::Value = serde_json::from_str(card).unwrap_or_default();
    let field = |name: &str| {
        let value = card.get("metadata").and_then(|about| about.get(name));
        value
            .and_then(|value| value.as_str())
            .filter(|text| !text.is_empty())
    };
    let label = |text: Option<&str>, otherwise: &str| {
        text.and_then(|text| Label::new(text).ok())
            .unwrap_or_else(|| plain_label(otherwise))
    };
    let name = label(field("name"), stem.as_deref().unwrap_or_default());
    (name, label(field("version"), "unversioned"))
}

/// An input of zeros, or of the value nearest to zero that the Program takes.
pub fn zeros(program: &Program) -> Result<Vec<Tensor>, Failure> {
    let tensor = |input: &carat_program::InputSpec| {
        let value = 0.clamp(input.range.lo, input.range.hi);
        let value = i32::try_from(value).unwrap_or_default();
        Tensor::new(input.shape.clone(), vec![value; input.shape.elements()])
            .map_err(Failure::of(Exit::Internal))
    };
    program.inputs.iter().map(tensor).collect()
}

/// The bytes that commitments are made over.
pub fn canonical(tensors: &[Tensor]) -> Vec<u8> {
    encode_tensors(tensors)
}

/// The failure that goes with an error of the executor.
pub fn exec_failure(error: ExecError) -> Failure {
    let exit = match &error {
        ExecError::Program(_) | ExecError::Memory { .. } => Exit::Model,
        ExecError::InputCount { .. }
        | ExecError::InputShape { .. }
        | ExecError::InputLength { .. }
        | ExecError::InputRange { .. } => Exit::Input,
        ExecError::Simd(_) => Exit::Usage,
        ExecError::Threads { .. } => Exit::Io,
        ExecError::RangeBroken { .. } => Exit::Internal,
        _ => Exit::Internal,
    };
    Failure::new(exit, error)
}

/// A name made of the plain characters of a text.
fn plain_label(text: &str) -> Label {
    let plain = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let text: String = text.chars().filter(plain).take(100).collect();
    let text = if text.is_empty() { "unnamed" } else { &text };
    #[allow(clippy::expect_used)] // one to a hundred plain characters are always a name
    Label::new(text).expect("plain characters are a name")
}

/// The one compiled model of a folder. Several are a question that only the user can answer.
fn compiled_in(folder: &Path) -> Result<Option<PathBuf>, Failure> {
    let failed = |error| files::io_failure("reading", folder, &error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == EXTENSION)
        {
            found.push(path);
        }
    }
    found.sort();
    match found.len() {
        0 => Ok(None),
        1 => Ok(found.pop()),
        count => {
            let message = format!(
                "{} holds {count} compiled models; name one of them, such as {}",
                folder.display(),
                found[0].display()
            );
            Err(Failure::new(Exit::Usage, message))
        }
    }
}
