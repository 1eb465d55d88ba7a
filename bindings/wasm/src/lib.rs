//! The verifier behind a few functions of numbers, for `carat-verifier.js`.
//!
//! The host asks for a buffer ([`reserve`]), writes the arguments of a call into it (`parts`), calls, and reads the answer:
//! JSON in UTF-8. Nothing here reads a clock, a file, a socket or randomness; the module imports nothing.

mod describe;
mod fault;
mod parts;
mod proof;
mod question;

use std::sync::{Mutex, Once};

use zeroize::Zeroize;

pub use fault::{Fault, Kind};
use parts::Parts;

/// Most bytes of the arguments of one call.
pub const MAX_CALL_BYTES: usize = 64 << 20;

// Arguments hold openings, and answers what they opened: nothing of it is left behind.
static ASKED: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static HOOK: Once = Once::new();

/// A buffer of so many bytes for the arguments of the next call. Null if that is more than [`MAX_CALL_BYTES`], or more than
/// there is.
#[unsafe(no_mangle)]
pub extern "C" fn reserve(length: usize) -> *mut u8 {
    let Ok(mut asked) = ASKED.lock() else {
        return core::ptr::null_mut();
    };
    asked.zeroize();
    *asked = Vec::new();
    if length > MAX_CALL_BYTES || asked.try_reserve_exact(length).is_err() {
        return core::ptr::null_mut();
    }
    asked.resize(length, 0);
    asked.as_mut_ptr()
}

/// Makes a call with the arguments in the buffer: 0 verify, 1 describe, 2 judge a notice, 3 verify a proof alone. Returns 0 if
/// the answer is what was asked for, 1 if it is a [`Fault`].
#[unsafe(no_mangle)]
pub extern "C" fn call(operation: u32) -> u32 {
    // A panic ends the instance. What it says is left where the answer would be.
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| put(panic.to_string().into_bytes())));
    });
    let mut asked = match ASKED.lock() {
        Ok(mut asked) => core::mem::take(&mut *asked),
        Err(_) => return 1,
    };
    put(Vec::new());
    let answer = answer_to(operation, &asked);
    asked.zeroize();
    let failed = u32::from(answer.is_err());
    put(match answer {
        Ok(json) => json,
        Err(fault) => serde_json::to_vec(&fault).unwrap_or_default(),
    });
    failed
}

/// Where the answer of the last call is.
#[unsafe(no_mangle)]
pub extern "C" fn answer() -> *const u8 {
    ANSWER
        .lock()
        .map_or(core::ptr::null(), |answer| answer.as_ptr())
}

/// How many bytes it has.
#[unsafe(no_mangle)]
pub extern "C" fn answer_length() -> usize {
    ANSWER.lock().map_or(0, |answer| answer.len())
}

/// Forgets the answer.
#[unsafe(no_mangle)]
pub extern "C" fn forget() {
    put(Vec::new());
}

fn put(bytes: Vec<u8>) {
    if let Ok(mut answer) = ANSWER.lock() {
        answer.zeroize();
        *answer = bytes;
    }
}

/// The answer to a call, as JSON.
fn answer_to(operation: u32, asked: &[u8]) -> Result<Vec<u8>, Fault> {
    let parts = Parts::split(asked)?;
    let json = match operation {
        0 => serde_json::to_vec(&question::verify(&parts)?),
        1 => serde_json::to_vec(&describe::describe(&parts)?),
        2 => serde_json::to_vec(&question::verify_notice(&parts)?),
        3 => serde_json::to_vec(&proof::verify(&parts)?),
        other => return Err(Kind::Internal.because(format!("there is no call {other}"))),
    };
    json.map_err(Kind::Internal.of())
}
