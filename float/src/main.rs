//! `carat-float-worker`: runs float models for carat, with every choice of the engine pinned.
//!
//! It speaks `carat_float::protocol` over standard input and output, and is started by carat, not by people. What is pinned,
//! and how, is in docs/pinned-float.md.

mod answers;
mod engine;
mod limits;
mod math;
mod tensors;
mod wrong;

use std::io::{self, BufReader, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;

use carat_float::profile::X86_64_V3;
use carat_float::protocol::{self, MAX_FRAME, Reply, Request};

use crate::engine::Runnable;

/// Models are graphs that others made: deep ones are walked recursively.
const STACK_BYTES: usize = 256 << 20;
/// Most characters of a reason.
const MAX_REASON: usize = 4000;

/// What the engine may choose at run time, chosen here. Read once by the engine, at its first call.
const PINS: [(&str, &str); 5] = [
    // Kernels for AVX2 and FMA, whatever else there is.
    (
        "TRACT_CPU_ISA",
        "+avx,+avx2,+fma,+f16c,-avx512f,-avx512vnni,-avx512fp16,-avxvnni,-amx-int8,-amx-bf16",
    ),
    // One cost model for all makers of processors.
    ("TRACT_X86_KIND", "other"),
    ("TRACT_LLC_BYTES", "8M"),
    ("TRACT_AMX_BF16", "false"),
    ("TRACT_AVX512_FMA_UNITS", "1"),
];

/// What the engine said when it panicked.
static PANIC: Mutex<String> = Mutex::new(String::new());

fn main() -> ExitCode {
    // Whoever starts the worker does not choose how it computes.
    let inherited: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    for name in inherited {
        // SAFETY: no thread was started yet.
        unsafe { std::env::remove_var(name) };
    }
    for (name, value) in PINS {
        // SAFETY: no thread was started yet.
        unsafe { std::env::set_var(name, value) };
    }
    std::panic::set_hook(Box::new(|info| {
        if let Ok(mut place) = PANIC.lock() {
            *place = info.to_string();
        }
    }));
    let worker = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(run)
        .map(std::thread::JoinHandle::join);
    match worker {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        Ok(Ok(Err(error))) => {
            let _ = writeln!(io::stderr(), "carat-float-worker: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::FAILURE,
    }
}

fn memory() -> io::Result<u64> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = match arguments.as_slice() {
        [flag, number] if flag == "--memory" => number.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| {
        io::Error::other(
            "this program is started by carat, with --memory BYTES; it is not for people",
        )
    })
}

fn run() -> io::Result<()> {
    protocol::confine(memory()?)?;
    let mut from = BufReader::new(io::stdin().lock());
    let mut out = io::stdout().lock();
    let hello = Reply::Hello {
        profile: X86_64_V3.name.to_string(),
        answers: answers::digest().map_err(io::Error::other)?,
    };
    protocol::write(&mut out, &hello)?;
    let mut loaded: Option<Runnable> = None;
    while let Some(request) = protocol::read::<Request>(&mut from, &|| MAX_FRAME)? {
        let answered = catch_unwind(AssertUnwindSafe(|| answer(request, &mut loaded)));
        let (reply, go_on) = match answered {
            Ok(Ok(reply)) => (reply, true),
            Ok(Err(reason)) => (
                Reply::Refused {
                    reason: cut(reason),
                },
                true,
            ),
            // What a panic leaves behind is not computed with.
            Err(_) => {
                let text = PANIC.lock().map(|text| text.clone()).unwrap_or_default();
                (Reply::Panicked { text: cut(text) }, false)
            }
        };
        protocol::write(&mut out, &reply)?;
        if !go_on {
            return Err(io::Error::other("the engine panicked"));
        }
    }
    Ok(())
}

fn answer(request: Request, loaded: &mut Option<Runnable>) -> Result<Reply, String> {
    match request {
        Request::Examine {
            onnx,
            shapes,
            bound,
        } => {
            *loaded = None;
            let program = engine::examine(&onnx, &shapes, &bound, X86_64_V3.name)?;
            let program = program.encode();
            Ok(Reply::Interface { program })
        }
        Request::Load { program, onnx } => {
            // The one before goes first, so that two never need memory.
            *loaded = None;
            *loaded = Some(Runnable::load(&program, &onnx, X86_64_V3.name)?);
            Ok(Reply::Ready)
        }
        Request::Run { inputs } => {
            let runnable = loaded.as_ref().ok_or("no model was loaded")?;
            let tensors = runnable.run(&inputs)?;
            Ok(Reply::Outputs { tensors })
        }
    }
}

/// A reason in one line, not longer than is read.
fn cut(text: String) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_REASON).collect()
}
