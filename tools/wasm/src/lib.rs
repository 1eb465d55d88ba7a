//! The verifier of proofs behind four functions of numbers. The host pushes a file in words, asks, and reads why.
//!
//! The file: for each of program, profile name, root of the constants, inputs, outputs and proof, its length (4 bytes,
//! little-endian) and its bytes. Such a file is made by the example `shipped` of `carat-zk`.

use carat_program::{Program, decode_tensors};
use carat_zk::{Instance, Mode, ModelKey, Profile, Proof, pcs::Root, verify};
use std::sync::Mutex;

static FILE: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static REASON: Mutex<String> = Mutex::new(String::new());

/// Forgets the file.
#[unsafe(no_mangle)]
pub extern "C" fn clear() {
    if let Ok(mut file) = FILE.lock() {
        file.clear();
    }
}

/// Adds four bytes to the file, lowest first. What is beyond the end of the last part may be anything.
#[unsafe(no_mangle)]
pub extern "C" fn push(word: u32) {
    if let Ok(mut file) = FILE.lock() {
        file.extend_from_slice(&word.to_le_bytes());
    }
}

/// Verifies the file: 0 if its proof shows its outputs, 1 if not.
#[unsafe(no_mangle)]
pub extern "C" fn check() -> u32 {
    let result = FILE
        .lock()
        .map_err(|e| e.to_string())
        .and_then(|file| read(&file));
    let failed = u32::from(result.is_err());
    if let Ok(mut reason) = REASON.lock() {
        *reason = result.err().unwrap_or_default();
    }
    failed
}

/// Byte `at` of the reason of the last refusal; 0 after its end.
#[unsafe(no_mangle)]
pub extern "C" fn reason(at: usize) -> u32 {
    REASON
        .lock()
        .ok()
        .and_then(|r| r.as_bytes().get(at).copied())
        .unwrap_or(0)
        .into()
}

fn read(file: &[u8]) -> Result<(), String> {
    let mut rest = file;
    let mut part = || -> Result<&[u8], String> {
        let (length, tail) = rest.split_first_chunk::<4>().ok_or("cut short")?;
        let length = u32::from_le_bytes(*length) as usize;
        let (part, tail) = tail.split_at_checked(length).ok_or("cut short")?;
        rest = tail;
        Ok(part)
    };
    let (program, profile, root) = (part()?, part()?, part()?);
    let (inputs, outputs, proof) = (part()?, part()?, part()?);
    let program = Program::decode(program).map_err(|e| e.to_string())?;
    let profile = Profile::ALL
        .into_iter()
        .find(|p| p.name().as_bytes() == profile)
        .ok_or("no such profile")?;
    let key = ModelKey {
        program: program.digest(),
        profile,
        root: Root(root.try_into().map_err(|_| "a root has 32 bytes")?),
    };
    let inputs = decode_tensors(inputs).map_err(|e| e.to_string())?;
    let outputs = decode_tensors(outputs).map_err(|e| e.to_string())?;
    let instances = [Instance::of_values(&inputs, &outputs)];
    let proof = Proof {
        bytes: proof.to_vec(),
    };
    verify(&program, &key, profile, Mode::Succinct, &instances, &proof).map_err(|e| e.to_string())
}
