//! A model of either kind: an exact integer program, or a float program under a pinned engine.
//!
//! What a request needs of a model is the same for both: how files and JSON become its input, what it answers, how the answer
//! is shown, and the bytes that receipts commit to. What only integer programs have - proofs - is asked for by
//! [`AnyModel::integer`], which says why a float model has none.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use carat_float::{
    Bounds, FloatModel, FloatModelError, Launch, Worker, WorkerError, is_float_model,
};
use carat_nn::edge::{self, EdgeError, OutputValues, ValueError, Values};
use carat_program::pinned::{Bits, PinnedProgram, bytes_of, decode_bits, encode_bits};
use carat_program::{
    AnyProgram, Dtype, INTEGER_PROFILE, ImageMap, MAX_MODEL_BYTES, ModelFile, Program, Tensor,
    decode_tensors, encode_tensors,
};
use carat_receipt::{Digest, Engine, Label};

use super::{Model, exec_failure, label_of, read_head};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::home::Place;
use crate::issue::{self, Identity};

/// The input or the output of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tensors {
    /// Of an integer program.
    Integers(Vec<Tensor>),
    /// Of a float program.
    Bits(Vec<Bits>),
}

impl Tensors {
    /// The bytes that commitments are made over.
    pub fn canonical(&self) -> Vec<u8> {
        match self {
            Self::Integers(tensors) => encode_tensors(tensors),
            Self::Bits(tensors) => encode_bits(tensors),
        }
    }

    /// Elements in all of them.
    pub fn elements(&self) -> u64 {
        match self {
            Self::Integers(tensors) => tensors.iter().map(|t| t.data().len() as u64).sum(),
            Self::Bits(tensors) => tensors.iter().map(|t| t.elements() as u64).sum(),
        }
    }

    /// The integers.
    pub fn integers(&self) -> Result<&[Tensor], Failure> {
        match self {
            Self::Integers(tensors) => Ok(tensors),
            Self::Bits(_) => Err(Failure::new(Exit::Model, NO_PROOF)),
        }
    }
}

const NO_PROOF: &str = "float programs cannot be proven, only replayed: proofs exist for integer/v1; compile the model without --profile";

/// A weightless program of either kind.
#[derive(Debug, Clone, Copy)]
pub enum Computation<'a> {
    /// An integer program.
    Integer(&'a Program),
    /// A float program.
    Pinned(&'a PinnedProgram),
}

/// An input or output, as it is described to callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its axis lengths; `None` where they depend on the input.
    pub dims: Option<Vec<usize>>,
    /// How an image becomes its values, where it is an input that takes one.
    pub image: Option<ImageMap>,
}

impl Described {
    /// Axis lengths, none where they depend on the input.
    #[must_use]
    pub fn axes(&self) -> &[usize] {
        self.dims.as_deref().unwrap_or_default()
    }

    /// How many elements it has.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.axes().iter().fold(1, |n, &d| n.saturating_mul(d))
    }
}

fn dims_of(dims: &[u32]) -> Vec<usize> {
    dims.iter().map(|&n| n as usize).collect()
}

impl<'a> Computation<'a> {
    /// Of a program that was decoded.
    pub fn of(program: &'a AnyProgram) -> Self {
        match program {
            AnyProgram::Integer(program) => Self::Integer(program),
            AnyProgram::Pinned(program) => Self::Pinned(program),
        }
    }

    /// The canonical bytes, as receipts carry them.
    pub fn encode(self) -> Vec<u8> {
        match self {
            Self::Integer(program) => program.encode(),
            Self::Pinned(program) => program.encode(),
        }
    }

    /// The numerics profile.
    pub fn profile(self) -> &'a str {
        match self {
            Self::Integer(_) => INTEGER_PROFILE,
            Self::Pinned(program) => &program.profile,
        }
    }

    /// Its inputs.
    pub fn inputs(self) -> Vec<Described> {
        match self {
            Self::Integer(program) => (program.inputs.iter())
                .map(|input| Described {
                    name: input.name.clone(),
                    dtype: input.dtype,
                    dims: Some(input.shape.dims()),
                    image: input.image.clone(),
                })
                .collect(),
            Self::Pinned(program) => (program.body.inputs.iter())
                .map(|input| Described {
                    name: input.name.clone(),
                    dtype: input.dtype,
                    dims: Some(dims_of(&input.dims)),
                    image: input.image.clone(),
                })
                .collect(),
        }
    }

    /// Its outputs.
    pub fn outputs(self) -> Vec<Described> {
        match self {
            Self::Integer(program) => (program.outputs.iter())
                .map(|output| Described {
                    name: output.name.clone(),
                    dtype: output.dtype,
                    dims: program.value(output.value).map(|value| value.shape.dims()),
                    image: None,
                })
                .collect(),
            Self::Pinned(program) => (program.body.outputs.iter())
                .map(|output| Described {
                    name: output.name.clone(),
                    dtype: output.dtype,
                    dims: output.dims.as_deref().map(dims_of),
                    image: None,
                })
                .collect(),
        }
    }

    /// Arrays by the names in a JSON value, or the only one.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn values_from_json(self, json: &serde_json::Value) -> Result<Vec<Values>, String> {
        match self {
            Self::Integer(program) => edge::inputs_from_json(&program.inputs, json),
            Self::Pinned(program) => edge::inputs_from_json(&program.body.inputs, json),
        }
    }

    /// Arrays from the bytes of an input file; its name says how it is read, and stands in errors.
    ///
    /// # Errors
    /// [`EdgeError`].
    pub fn values_from_file(self, name: &Path, bytes: &[u8]) -> Result<Vec<Values>, EdgeError> {
        match self {
            Self::Integer(program) => edge::inputs_from_file(&program.inputs, name, bytes),
            Self::Pinned(program) => edge::inputs_from_file(&program.body.inputs, name, bytes),
        }
    }

    /// Arrays as the program's input.
    ///
    /// # Errors
    /// [`ValueError`].
    pub fn encode_values(self, values: &[Values]) -> Result<Tensors, ValueError> {
        match self {
            Self::Integer(program) => edge::encode_values(program, values).map(Tensors::Integers),
            Self::Pinned(program) => edge::bits_of(&program.body.inputs, values).map(Tensors::Bits),
        }
    }

    /// Reads an input file.
    pub fn read_input(self, path: &Path) -> Result<Tensors, Failure> {
        super::input_file(path, || {
            let values = match self {
                Self::Integer(program) => edge::read_input_file(&program.inputs, path),
                Self::Pinned(program) => edge::read_input_file(&program.body.inputs, path),
            };
            Ok(self.encode_values(&values?)?)
        })
    }

    /// An input of zeros, or of the values nearest to zero that the program takes.
    pub fn zeros(self) -> Result<Tensors, Failure> {
        match self {
            Self::Integer(program) => super::zeros(program).map(Tensors::Integers),
            Self::Pinned(program) => {
                let zeros = program.body.inputs.iter().map(|input| {
                    let dims = dims_of(&input.dims);
                    let bytes = bytes_of(input.dtype, &dims)?;
                    Bits::new(input.dtype, &dims, vec![0; bytes])
                });
                let zeros: Result<Vec<Bits>, _> = zeros.collect();
                zeros.map(Tensors::Bits).map_err(Failure::of(Exit::Model))
            }
        }
    }

    /// Reads canonical bytes, such as an opening holds.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn decode(self, bytes: &[u8]) -> Result<Tensors, String> {
        match self {
            Self::Integer(_) => decode_tensors(bytes)
                .map(Tensors::Integers)
                .map_err(|error| error.to_string()),
            Self::Pinned(_) => decode_bits(bytes)
                .map(Tensors::Bits)
                .map_err(|error| error.to_string()),
        }
    }

    /// Outputs for people; `None` where they are not this program's.
    pub fn show(self, outputs: &Tensors) -> Option<Vec<OutputValues>> {
        match (self, outputs) {
            (Self::Integer(program), Tensors::Integers(outputs))
                if outputs.len() == program.outputs.len() =>
            {
                Some(edge::decode(program, outputs))
            }
            (Self::Pinned(program), Tensors::Bits(outputs))
                if outputs.len() == program.body.outputs.len() =>
            {
                Some(edge::show_bits(program, outputs))
            }
            _ => None,
        }
    }
}

/// A float model, and the worker processes that run it.
pub struct Pinned {
    /// Program, ONNX file, card.
    pub file: FloatModel,
    /// What a run may take.
    pub bounds: Bounds,
    /// Workers that wait. There are as many as ran at the same time.
    workers: Mutex<Vec<Worker>>,
}

impl Pinned {
    /// Starts nothing yet.
    pub fn new(file: FloatModel) -> Self {
        Self {
            file,
            bounds: Bounds::default(),
            workers: Mutex::default(),
        }
    }

    /// Runs one input in a worker that waits, or a new one.
    pub fn run(&self, inputs: &[Bits]) -> Result<Vec<Bits>, Failure> {
        let waiting = self.waiting().pop();
        let mut worker = match waiting {
            Some(worker) => worker,
            None => {
                let launch = Launch::find(&self.file.program.profile, self.bounds);
                Worker::new(launch.map_err(worker_failure)?)
            }
        };
        let outputs = worker.run(&self.file, inputs);
        // A worker that failed starts a new process by itself.
        self.waiting().push(worker);
        outputs.map_err(worker_failure)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The failure that goes with an error of a worker.
pub fn worker_failure(error: WorkerError) -> Failure {
    let exit = match &error {
        WorkerError::Input(_) => Exit::Input,
        WorkerError::NoWorker { .. } | WorkerError::Start { .. } => Exit::Io,
        _ => Exit::Model,
    };
    Failure::new(exit, error)
}

/// The failure that goes with a float model that cannot be made or read.
pub fn float_failure(error: FloatModelError) -> Failure {
    match error {
        FloatModelError::Worker(error) => worker_failure(error),
        other => Failure::new(Exit::Model, other),
    }
}

/// What a model computes with.
pub enum Kind {
    /// An integer program and its weights.
    Integer(Box<Model>),
    /// A float program and its workers.
    Pinned(Box<Pinned>),
}

/// A model of either kind.
pub struct AnyModel {
    /// Digest of its Program.
    pub digest: Digest,
    /// Name, for people.
    pub name: Label,
    /// Version, for people.
    pub version: Label,
    /// Where it was read from, or what it is called.
    pub path: PathBuf,
    /// What it computes with.
    pub kind: Kind,
}

impl From<Model> for AnyModel {
    fn from(model: Model) -> Self {
        Self {
            digest: model.digest,
            name: model.name.clone(),
            version: model.version.clone(),
            path: model.path.clone(),
            kind: Kind::Integer(Box::new(model)),
        }
    }
}

impl AnyModel {
    /// A float model.
    pub fn pinned(file: FloatModel, path: PathBuf) -> Self {
        let (name, version) = label_of(&file.card, &path);
        Self {
            digest: file.digest,
            name,
            version,
            path,
            kind: Kind::Pinned(Box::new(Pinned::new(file))),
        }
    }

    /// Finds, compiles where needed, reads and checks a model.
    pub fn load(path: &Path, place: &Place) -> Result<Self, Failure> {
        let file = match path.is_dir() {
            true => super::compiled_in(path)?,
            false => Some(path.to_path_buf()),
        };
        match file {
            Some(file) if file.is_file() && is_float_model(&read_head(&file)?) => {
                let bytes = files::read_capped(&file, "a compiled model", MAX_MODEL_BYTES)?;
                let model = FloatModel::decode(&bytes).map_err(|error| {
                    Failure::new(Exit::Model, format!("{}: {error}", file.display()))
                })?;
                Ok(Self::pinned(model, file))
            }
            _ => Model::load(path, place).map(Self::from),
        }
    }

    /// A model of either kind from the bytes of its file.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn decode(bytes: &[u8], path: PathBuf) -> Result<Self, String> {
        if is_float_model(bytes) {
            return FloatModel::decode(bytes)
                .map(|file| Self::pinned(file, path))
                .map_err(|error| error.to_string());
        }
        ModelFile::decode(bytes)
            .map(|file| Model::new(file, path).into())
            .map_err(|error| error.to_string())
    }

    /// The integer model.
    ///
    /// # Errors
    /// A sentence that says why a float model has no proofs.
    pub fn integer(&self) -> Result<&Model, Failure> {
        match &self.kind {
            Kind::Integer(model) => Ok(model),
            Kind::Pinned(_) => Err(Failure::new(
                Exit::Model,
                format!("{}: {NO_PROOF}", self.path.display()),
            )),
        }
    }

    /// The integer model, taken out.
    ///
    /// # Errors
    /// As [`AnyModel::integer`].
    pub fn into_integer(self) -> Result<Model, Failure> {
        self.integer()?;
        match self.kind {
            Kind::Integer(model) => Ok(*model),
            Kind::Pinned(_) => Err(Failure::new(Exit::Model, NO_PROOF)),
        }
    }

    /// Its weightless program.
    pub fn program(&self) -> Computation<'_> {
        match &self.kind {
            Kind::Integer(model) => Computation::Integer(model.program()),
            Kind::Pinned(pinned) => Computation::Pinned(&pinned.file.program),
        }
    }

    /// The model card: JSON text.
    pub fn card(&self) -> &str {
        match &self.kind {
            Kind::Integer(model) => &model.file.card,
            Kind::Pinned(pinned) => &pinned.file.card,
        }
    }

    /// The engine, as Statements and replays name it.
    pub fn engine(&self) -> Result<Engine, Failure> {
        match &self.kind {
            Kind::Integer(_) => Ok(issue::engine()),
            Kind::Pinned(pinned) => Ok(Engine {
                numerics: Label::new(&pinned.file.program.profile)
                    .map_err(Failure::of(Exit::Model))?,
                semantics: issue::SEMANTICS,
            }),
        }
    }

    /// What Statements say of it.
    pub fn identity(&self) -> Result<Identity<'_>, Failure> {
        let card = self.card();
        Ok(Identity {
            program: self.digest,
            name: &self.name,
            version: &self.version,
            card: (!card.is_empty()).then(|| Digest::sha256(card.as_bytes())),
            engine: self.engine()?,
        })
    }

    /// Runs one input.
    pub fn answer(&self, inputs: &Tensors) -> Result<Tensors, Failure> {
        match (&self.kind, inputs) {
            (Kind::Integer(model), Tensors::Integers(inputs)) => {
                model.answer(inputs).map(Tensors::Integers)
            }
            (Kind::Pinned(pinned), Tensors::Bits(inputs)) => pinned.run(inputs).map(Tensors::Bits),
            _ => Err(other_kind()),
        }
    }
}

/// Input of one kind for a program of the other.
pub(crate) fn other_kind() -> Failure {
    Failure::new(
        Exit::Mismatch,
        "the input is not of the numerics that the program computes with",
    )
}

/// One input many times, for measuring: an integer program is prepared once, on one thread.
pub fn runner<'a>(
    model: &'a AnyModel,
    inputs: &'a Tensors,
) -> Result<Box<dyn Fn() -> Result<(), Failure> + 'a>, Failure> {
    match (&model.kind, inputs) {
        (Kind::Integer(model), Tensors::Integers(inputs)) => {
            let executable = model.executable(1)?;
            Ok(Box::new(move || {
                executable.run(inputs).map(drop).map_err(exec_failure)
            }))
        }
        (Kind::Pinned(pinned), Tensors::Bits(inputs)) => {
            // Starting a process and preparing the model are not part of a run.
            pinned.run(inputs)?;
            Ok(Box::new(move || pinned.run(inputs).map(drop)))
        }
        _ => Err(other_kind()),
    }
}
