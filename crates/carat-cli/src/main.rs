//! `carat`: run a model, get a receipt for the answer, verify and replay receipts.
//!
//! This file wires; each command is a module of [`commands`]. What a receipt is worth is decided in `carat-verify` and
//! nowhere here.
#![forbid(unsafe_code)]

mod commands;
mod output;
mod prover;
mod render;
mod seen;

// What a server does as well stands in carat-node; these are its modules.
use carat_node::{exit, files, home, model, planning, supply};

use std::panic;
use std::process::ExitCode;
use std::sync::Mutex;

use exit::{Exit, Failure};

/// Keeps freed memory for a while: a proof allocates the same large vectors again and again, and page faults would cost
/// more than its arithmetic.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where a panic of any thread is kept until it is known whether somebody catches it.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Models are graphs that others made: deep ones are walked recursively by the parser.
const STACK_BYTES: usize = 256 << 20;

fn main() -> ExitCode {
    panic::set_hook(Box::new(|info| {
        if let Ok(mut place) = PANIC.lock() {
            *place = Some(info.to_string());
        }
    }));
    // Without the handler an interrupt still ends the process; it only leaves a hidden temporary file.
    let _ = ctrlc::set_handler(|| {
        // A server finishes what it accepted; told twice, it ends at once.
        if carat_node::serve::interrupt() {
            return;
        }
        let _no_more_renames = files::abandon();
        output::complain("carat: interrupted; nothing was left under a final name");
        std::process::exit(Exit::Interrupted.code().into());
    });
    let command = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(commands::main)
        .map(std::thread::JoinHandle::join);
    match command {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(_)) => {
            let what = PANIC.lock().ok().and_then(|mut place| place.take());
            let what = what.unwrap_or_else(|| "no details".to_string());
            report(&Failure::new(
                Exit::Internal,
                format!(
                    "a fault of carat, please report it: {}",
                    what.replace('\n', " ")
                ),
            ))
        }
        Err(error) => report(&Failure::new(
            Exit::Io,
            format!("the system gave no thread to work in: {error}"),
        )),
    }
}

fn report(failure: &Failure) -> ExitCode {
    output::complain(&format!("carat: {}", failure.message));
    failure.exit.into()
}
