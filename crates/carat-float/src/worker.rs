//! Whoever waits for a worker process: starts it, asks it, ends it where it takes too long, and starts another one.

use std::io::{self, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use carat_program::pinned::{
    Bits, BitsError, Bound, PinnedProgram, bytes_of, decode_bits, encode_bits,
};
use carat_program::{MAX_MODEL_BYTES, ProgramError};
use thiserror::Error;

use crate::FloatModel;
use crate::profile::{self, Profile};
use crate::protocol::{self, MAX_FRAME, OpenShape, Reply, Request};

/// The environment variable that names the worker program.
pub const WORKER_PATH: &str = "CARAT_FLOAT_WORKER";
/// The worker's file name.
const WORKER_NAME: &str = "carat-float-worker";
/// Most bytes of a worker's error output that are looked at.
const MAX_ERRORS: u64 = 64 << 10;
/// Largest reply that carries no tensors.
const SMALL_REPLY: u64 = 64 << 10;
/// Most bytes of outputs whose shapes are known only when they are there.
const OPEN_OUTPUT: u64 = 256 << 20;

/// What a worker may take for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How long an answer may take.
    pub time: Duration,
    /// Memory, in bytes.
    pub bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(60),
            bytes: 4 << 30,
        }
    }
}

/// Why a float program does not run. No state of the worker outlives one of these but [`WorkerError::Refused`].
#[derive(Debug, Error)]
pub enum WorkerError {
    /// There is no worker program.
    #[error(
        "float models run in the program {WORKER_NAME}, which was not found ({looked}): build it with `cargo build --release` in the folder float, put it beside carat, or name it in {WORKER_PATH}"
    )]
    NoWorker {
        /// Where was looked.
        looked: String,
    },
    /// This release or this machine cannot run the profile.
    #[error("the model is for {profile}: {reason}")]
    Profile {
        /// The profile.
        profile: String,
        /// What is missing.
        reason: String,
    },
    /// The process could not be started.
    #[error("starting {program} failed: {error}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        error: io::Error,
    },
    /// The worker gives other bits than its profile.
    #[error(
        "{program} does not compute what {profile} computes (known answers: {found}); build it as docs/pinned-float.md says"
    )]
    OtherBits {
        /// The program.
        program: String,
        /// The profile.
        profile: &'static str,
        /// The digest of its answers.
        found: String,
    },
    /// The engine refused the model or the input.
    #[error("{0}")]
    Refused(String),
    /// The engine panicked; its process was replaced.
    #[error("the engine gave up on this model: {0}")]
    Panicked(String),
    /// The engine took too long; its process was ended.
    #[error("the engine took longer than {} s and was ended", .0.as_secs_f64())]
    TookTooLong(Duration),
    /// The engine needed too much memory.
    #[error("the engine needed more than {} MiB of memory", .0 >> 20)]
    Memory(u64),
    /// The process ended by itself.
    #[error("the engine ended its process ({0})")]
    Died(String),
    /// The worker said what it must not say.
    #[error("the worker answered out of turn: {0}")]
    Protocol(String),
    /// The program is not valid.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The inputs are not those of the program.
    #[error("{0}")]
    Input(String),
}

/// How to start a worker.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments; those of the bounds are added.
    pub arguments: Vec<String>,
    /// The profile that it must run.
    pub profile: Profile,
    /// The bounds of each request.
    pub bounds: Bounds,
}

impl Launch {
    /// The worker of a profile: named in the environment, or beside this program, or where a checkout builds it.
    ///
    /// # Errors
    /// [`WorkerError::Profile`] where this machine cannot run it, [`WorkerError::NoWorker`] where there is none.
    pub fn find(profile: &str, bounds: Bounds) -> Result<Self, WorkerError> {
        let fail = |reason: &str| WorkerError::Profile {
            profile: profile.to_string(),
            reason: reason.to_string(),
        };
        let known = profile::find(profile)
            .ok_or_else(|| fail("this release runs other ones (carat model compile --help)"))?;
        let named = std::env::var_os(WORKER_PATH).map(PathBuf::from);
        // Who names a worker may have it emulated, on a processor that lacks what the profile needs.
        if named.is_none()
            && let Some(reason) = profile::lacks(&known)
        {
            return Err(fail(reason));
        }
        let candidates: Vec<PathBuf> = match named {
            Some(path) => vec![path],
            None => beside(std::env::current_exe().ok().as_deref()),
        };
        let Some(program) = candidates.iter().find(|path| path.is_file()) else {
            let looked: Vec<String> = candidates
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            return Err(WorkerError::NoWorker {
                looked: looked.join(", "),
            });
        };
        Ok(Self {
            program: program.clone(),
            arguments: Vec::new(),
            profile: known,
            bounds,
        })
    }
}

/// Where the worker may be, seen from a program: beside it, or as a checkout builds both (`target/release`, `target/float`).
fn beside(own: Option<&Path>) -> Vec<PathBuf> {
    let Some(folder) = own.and_then(Path::parent) else {
        return Vec::new();
    };
    let mut places = vec![folder.join(WORKER_NAME)];
    // target/release/carat, and target/release/deps for tests.
    for up in folder.ancestors().skip(1).take(2) {
        places.push(up.join("float/release").join(WORKER_NAME));
    }
    places
}

struct Process {
    child: Child,
    /// Frames for it. A thread of its own writes them: a process that does not read must not hold up whoever asks.
    asks: Sender<Vec<u8>>,
    /// Largest frame that is read from it now.
    limit: Arc<AtomicU64>,
    replies: Receiver<io::Result<Option<Reply>>>,
    errors: ChildStderr,
}

/// Asks one worker process at a time, and replaces one that failed.
pub struct Worker {
    launch: Launch,
    process: Option<Process>,
    /// Whose model the process has loaded.
    loaded: Option<carat_receipt::Digest>,
}

impl Worker {
    /// Starts nothing yet.
    #[must_use]
    pub fn new(launch: Launch) -> Self {
        Self {
            launch,
            process: None,
            loaded: None,
        }
    }

    /// How it is started.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Process number of the worker that waits for the next request.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.child.id())
    }

    /// The Program of an ONNX model. Labels and image mappings are the publisher's to add.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn examine(
        &mut self,
        onnx: &[u8],
        shapes: &[OpenShape],
        bound: &[Bound],
    ) -> Result<PinnedProgram, WorkerError> {
        self.look();
        self.loaded = None;
        let request = Request::Examine {
            onnx: onnx.to_vec(),
            shapes: shapes.to_vec(),
            bound: bound.to_vec(),
        };
        let limit = carat_program::MAX_PROGRAM_BYTES as u64 + 1024;
        match self.ask(&request, limit)? {
            Reply::Interface { program } => {
                let program = PinnedProgram::decode(&program)?;
                let asked = carat_receipt::Digest::sha256(onnx);
                if program.body.source != asked || program.profile != self.launch.profile.name {
                    return Err(self.out_of_turn("a Program of another model"));
                }
                Ok(program)
            }
            other => Err(self.unexpected(other)),
        }
    }

    /// Runs a model on one input. The answer has the types and shapes that the Program states.
    ///
    /// # Errors
    /// [`WorkerError`]; whatever the engine did, the next call is answered again.
    pub fn run(&mut self, model: &FloatModel, inputs: &[Bits]) -> Result<Vec<Bits>, WorkerError> {
        let program = &model.program;
        check_inputs(program, inputs)?;
        self.load(model)?;
        let request = Request::Run {
            inputs: encode_bits(inputs),
        };
        let known = program.body.outputs.iter().map(|output| {
            let dims = output.dims.as_ref()?;
            let dims: Vec<usize> = dims.iter().map(|&n| n as usize).collect();
            bytes_of(output.dtype, &dims).ok()
        });
        let expected: Option<usize> = known.sum();
        let limit = expected.map_or(OPEN_OUTPUT, |bytes| bytes as u64);
        let room = 1024 + 64 * program.body.outputs.len() as u64;
        match self.ask(&request, (limit + room).min(MAX_FRAME))? {
            Reply::Outputs { tensors } => match outputs_of(program, &tensors) {
                Ok(outputs) => Ok(outputs),
                Err(reason) => Err(self.out_of_turn(&reason)),
            },
            other => Err(self.unexpected(other)),
        }
    }

    /// Has the process load a model, where it has not yet.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn load(&mut self, model: &FloatModel) -> Result<(), WorkerError> {
        let program = &model.program;
        if program.profile != self.launch.profile.name {
            return Err(WorkerError::Profile {
                profile: program.profile.clone(),
                reason: format!("this worker runs {}", self.launch.profile.name),
            });
        }
        self.look();
        if self.process.is_some() && self.loaded == Some(model.digest) {
            return Ok(());
        }
        self.loaded = None;
        if model.onnx.len() as u64 > MAX_FRAME.min(MAX_MODEL_BYTES) {
            return Err(WorkerError::Refused("the model is too large".into()));
        }
        let request = Request::Load {
            program: program.encode(),
            onnx: model.onnx.clone(),
        };
        match self.ask(&request, 1024)? {
            Reply::Ready => {
                self.loaded = Some(model.digest);
                Ok(())
            }
            other => Err(self.unexpected(other)),
        }
    }

    /// Forgets a process that ended while it waited: nobody asked it anything, so nobody is told.
    fn look(&mut self) {
        let ended = |process: &mut Process| !matches!(process.child.try_wait(), Ok(None));
        if self.process.as_mut().is_some_and(ended) {
            self.process = None;
            self.loaded = None;
        }
    }

    /// Asks, and waits no longer than the bounds say.
    fn ask(&mut self, request: &Request, limit: u64) -> Result<Reply, WorkerError> {
        let process = match self.process.take() {
            Some(process) => process,
            None => self.start()?,
        };
        // A refusal may be longer than a short answer.
        let limit = limit.max(SMALL_REPLY);
        process.limit.store(limit, Ordering::Relaxed);
        let frame =
            protocol::frame(request).map_err(|error| WorkerError::Refused(error.to_string()))?;
        // Where its pipe is closed, it has ended, and the replies say so.
        let _ = process.asks.send(frame);
        let waited = process.replies.recv_timeout(self.launch.bounds.time);
        self.settle(process, waited)
    }

    /// Keeps a process that answered; ends any other and says how it failed.
    fn settle(
        &mut self,
        process: Process,
        waited: Result<io::Result<Option<Reply>>, RecvTimeoutError>,
    ) -> Result<Reply, WorkerError> {
        match waited {
            Ok(Ok(Some(Reply::Refused { reason }))) => {
                self.process = Some(process);
                Err(WorkerError::Refused(reason))
            }
            Ok(Ok(Some(Reply::Panicked { text }))) => {
                end(process);
                self.loaded = None;
                Err(WorkerError::Panicked(text))
            }
            Ok(Ok(Some(reply))) => {
                self.process = Some(process);
                Ok(reply)
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                end(process);
                self.loaded = None;
                Err(WorkerError::Protocol(error.to_string()))
            }
            Ok(Ok(None) | Err(_)) | Err(RecvTimeoutError::Disconnected) => {
                self.loaded = None;
                Err(self.died(process))
            }
            Err(RecvTimeoutError::Timeout) => {
                end(process);
                self.loaded = None;
                Err(WorkerError::TookTooLong(self.launch.bounds.time))
            }
        }
    }

    /// Starts a process and lets it show that it computes what its profile computes.
    fn start(&mut self) -> Result<Process, WorkerError> {
        let program = self.launch.program.display().to_string();
        let failed = |error| WorkerError::Start {
            program: program.clone(),
            error,
        };
        let missing = || io::Error::other("a process without its pipes");
        let mut command = Command::new(&self.launch.program);
        command
            .args(&self.launch.arguments)
            .args(["--memory", &self.launch.bounds.bytes.to_string()])
            // Keys of the caller are nothing for it, and no variable may choose how it computes.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let limit = Arc::new(AtomicU64::new(SMALL_REPLY));
        let most = Arc::clone(&limit);
        let (send, replies) = channel();
        let (began, begun) = channel();
        // It reads until the process ends, and it starts it: a worker ends with the *thread* that started it, and whoever asks first
        // may be a thread that ends while others ask.
        std::thread::Builder::new()
            .name("carat-float-reader".into())
            .spawn(move || {
                let started = command.spawn().and_then(|mut child| {
                    let out = child.stdout.take().ok_or_else(missing)?;
                    Ok((child, out))
                });
                let (told, out) = match started {
                    Ok((child, out)) => (began.send(Ok(child)), out),
                    Err(error) => {
                        let _ = began.send(Err(error));
                        return;
                    }
                };
                if told.is_err() {
                    return;
                }
                let mut out = BufReader::new(out);
                loop {
                    let reply = protocol::read::<Reply>(&mut out, &|| most.load(Ordering::Relaxed));
                    let last = !matches!(reply, Ok(Some(_)));
                    if send.send(reply).is_err() || last {
                        return;
                    }
                }
            })
            .map_err(failed)?;
        let mut child: Child = begun
            .recv()
            .unwrap_or_else(|_| Err(missing()))
            .map_err(failed)?;
        let mut into = child.stdin.take().ok_or_else(|| failed(missing()))?;
        let errors = child.stderr.take().ok_or_else(|| failed(missing()))?;
        let (asks, frames) = channel::<Vec<u8>>();
        std::thread::Builder::new()
            .name("carat-float-writer".into())
            .spawn(move || {
                for frame in frames {
                    if into.write_all(&frame).and_then(|()| into.flush()).is_err() {
                        return;
                    }
                }
            })
            .map_err(failed)?;
        let process = Process {
            child,
            asks,
            limit,
            replies,
            errors,
        };
        let waited = process.replies.recv_timeout(self.launch.bounds.time);
        match self.settle(process, waited)? {
            Reply::Hello { profile, answers } => {
                let Profile {
                    name,
                    answers: known,
                } = self.launch.profile;
                let Some(process) = self.process.take() else {
                    return Err(WorkerError::Protocol("it greeted and ended".into()));
                };
                if profile == name && answers == known {
                    return Ok(process);
                }
                end(process);
                Err(WorkerError::OtherBits {
                    program,
                    profile: name,
                    found: format!("{}, {}", shown(&profile), shown(&answers)),
                })
            }
            other => Err(self.unexpected(other)),
        }
    }

    /// Ends a process whose answer belongs to no question.
    fn unexpected(&mut self, reply: Reply) -> WorkerError {
        let kind = match reply {
            Reply::Hello { .. } => "a greeting",
            Reply::Interface { .. } => "a Program",
            Reply::Ready => "that it is ready",
            Reply::Outputs { .. } => "outputs",
            Reply::Refused { .. } | Reply::Panicked { .. } => "a refusal",
        };
        self.out_of_turn(kind)
    }

    fn out_of_turn(&mut self, what: &str) -> WorkerError {
        self.loaded = None;
        if let Some(process) = self.process.take() {
            end(process);
        }
        WorkerError::Protocol(what.to_string())
    }

    /// What a process died of.
    fn died(&self, mut process: Process) -> WorkerError {
        // Most have ended already; one that only closed its pipe has not.
        let _ = process.child.kill();
        let status = process.child.wait();
        let mut errors = Vec::new();
        let _ = process.errors.take(MAX_ERRORS).read_to_end(&mut errors);
        let errors = String::from_utf8_lossy(&errors);
        if errors.contains("memory allocation of") {
            return WorkerError::Memory(self.launch.bounds.bytes);
        }
        if errors.contains("overflowed its stack") {
            return WorkerError::Died("it needed more stack than there is".into());
        }
        match status {
            Ok(status) => WorkerError::Died(status.to_string()),
            Err(error) => WorkerError::Died(error.to_string()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            end(process);
        }
    }
}

fn end(mut process: Process) {
    let _ = process.child.kill();
    let _ = process.child.wait();
}

/// A few plain characters of what a worker said.
fn shown(text: &str) -> String {
    text.escape_default().take(80).collect()
}

/// Whether inputs are those that a program takes.
fn check_inputs(program: &PinnedProgram, inputs: &[Bits]) -> Result<(), WorkerError> {
    let specs = &program.body.inputs;
    if specs.len() != inputs.len() {
        return Err(WorkerError::Input(format!(
            "the model takes {} inputs, not {}",
            specs.len(),
            inputs.len()
        )));
    }
    for (spec, tensor) in specs.iter().zip(inputs) {
        if spec.dtype != tensor.dtype() || !same_dims(&spec.dims, tensor.dims()) {
            return Err(WorkerError::Input(format!(
                "input `{}` is {} {:?}, not {} {:?}",
                spec.name,
                spec.dtype.name(),
                spec.dims,
                tensor.dtype().name(),
                tensor.dims()
            )));
        }
    }
    Ok(())
}

fn same_dims(stated: &[u32], found: &[usize]) -> bool {
    stated.iter().map(|&n| n as usize).eq(found.iter().copied())
}

/// The outputs in a reply, where they are those of the program.
fn outputs_of(program: &PinnedProgram, bytes: &[u8]) -> Result<Vec<Bits>, String> {
    let outputs = decode_bits(bytes).map_err(|error: BitsError| error.to_string())?;
    let specs = &program.body.outputs;
    if outputs.len() != specs.len() {
        return Err(format!("{} outputs of {}", outputs.len(), specs.len()));
    }
    for (spec, tensor) in specs.iter().zip(&outputs) {
        let fits = spec.dtype == tensor.dtype()
            && spec
                .dims
                .as_ref()
                .is_none_or(|dims| same_dims(dims, tensor.dims()));
        if !fits {
            return Err(format!(
                "output `{}` of another type or shape than the Program states",
                spec.name
            ));
        }
    }
    Ok(outputs)
}
