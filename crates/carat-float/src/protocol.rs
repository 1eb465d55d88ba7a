//! What is said over the pipes of a worker: frames of a length and as many bytes of CBOR.
//!
//! A worker says [`Reply::Hello`] once, then answers each [`Request`] by one [`Reply`]. It is trusted with nothing: what it
//! answers is checked against the Program by whoever asked.

use std::io::{self, Read, Write};

use carat_program::pinned::Bound;
use minicbor::{Decode, Encode};

/// Largest frame: a model and its input, or the output (2 GiB, protobuf's own limit, and room around it).
pub const MAX_FRAME: u64 = (2 << 30) + (1 << 20);

/// What a worker is asked.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// What would the Program of this ONNX model be? The answer is [`Reply::Interface`].
    #[n(0)]
    Examine {
        /// The ONNX file.
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        onnx: Vec<u8>,
        /// Shapes of inputs that the model leaves open.
        #[n(1)]
        shapes: Vec<OpenShape>,
        /// Inputs that get a fixed value.
        #[n(2)]
        bound: Vec<Bound>,
    },
    /// Prepare this Program for running; it takes the place of the one before. The answer is [`Reply::Ready`].
    #[n(1)]
    Load {
        /// `PinnedProgram::encode`.
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        program: Vec<u8>,
        /// Its ONNX file.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        onnx: Vec<u8>,
    },
    /// Run what was loaded. The answer is [`Reply::Outputs`].
    #[n(2)]
    Run {
        /// `encode_bits` of the inputs.
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        inputs: Vec<u8>,
    },
}

/// The shape of an input that a model leaves open.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct OpenShape {
    /// Name of the input.
    #[n(0)]
    pub name: String,
    /// Axis lengths.
    #[n(1)]
    pub dims: Vec<u32>,
}

/// What a worker answers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// Said first, unasked.
    #[n(0)]
    Hello {
        /// The profile.
        #[n(0)]
        profile: String,
        /// SHA-256, in hexadecimal, over the bits that it computed just now for questions with known answers.
        #[n(1)]
        answers: String,
    },
    /// The Program of a model: `PinnedProgram::encode`, without labels and image mappings.
    #[n(1)]
    Interface {
        /// The bytes.
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        program: Vec<u8>,
    },
    /// The Program can be run.
    #[n(2)]
    Ready,
    /// What it gave: `encode_bits` of the outputs.
    #[n(3)]
    Outputs {
        /// The bytes.
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        tensors: Vec<u8>,
    },
    /// The model, or this input, is refused.
    #[n(4)]
    Refused {
        /// Why.
        #[n(0)]
        reason: String,
    },
    /// The engine panicked; the worker ends.
    #[n(5)]
    Panicked {
        /// What it said.
        #[n(0)]
        text: String,
    },
}

/// The frame of a message.
///
/// # Errors
/// A message that is too long.
pub fn frame<T: Encode<()>>(message: &T) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    minicbor::encode(message, &mut frame).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len() - 4)
        .ok()
        .filter(|&n| u64::from(n) <= MAX_FRAME)
        .ok_or_else(|| io::Error::other("a message is too long for a frame"))?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// Writes one frame.
///
/// # Errors
/// Those of the pipe, and a message that is too long.
pub fn write<T: Encode<()>>(out: &mut impl Write, message: &T) -> io::Result<()> {
    out.write_all(&frame(message)?)?;
    out.flush()
}

/// Reads one frame of at most `limit()` bytes, asked when its length is there; `None` at the end of the pipe. Memory grows
/// with what arrives, not with what a length claims.
///
/// # Errors
/// Those of the pipe, and a frame that is too long, cut short, or no message.
pub fn read<T: for<'b> Decode<'b, ()>>(
    from: &mut impl Read,
    limit: &dyn Fn() -> u64,
) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read(&mut length)? {
        0 => return Ok(None),
        found => from.read_exact(&mut length[found..])?,
    }
    let length = u64::from(u32::from_le_bytes(length));
    let limit = limit();
    if length > limit {
        let message = format!("a frame of {length} bytes, where at most {limit} are read");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    minicbor::decode(&bytes)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

/// Limits the memory of this process to what it has and `bytes` more, turns core dumps off, and has it end with whoever
/// started it. A worker calls it first.
///
/// # Errors
/// Those of the system.
#[cfg(target_os = "linux")]
pub fn confine(bytes: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
    // What is reserved and never touched, such as stacks, is there already.
    let status = std::fs::read_to_string("/proc/self/status")?;
    let own = status
        .lines()
        .find_map(|line| line.strip_prefix("VmData:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or_default();
    let limit = |most| Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(
        Resource::Data,
        limit(bytes.saturating_add(own.saturating_mul(1024))),
    )?;
    setrlimit(Resource::Core, limit(0))?;
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Nothing is limited on this system.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn confine(_: u64) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_were_written() {
        let mut pipe = Vec::new();
        let first = Request::Run {
            inputs: vec![1, 2, 3],
        };
        let second = Reply::Refused {
            reason: "no".into(),
        };
        write(&mut pipe, &first).expect("written");
        write(&mut pipe, &second).expect("written");
        let mut from = pipe.as_slice();
        assert_eq!(read(&mut from, &|| 100).expect("read"), Some(first));
        assert_eq!(read(&mut from, &|| 100).expect("read"), Some(second));
        assert_eq!(read::<Reply>(&mut from, &|| 100).expect("the end"), None);
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        let mut pipe = Vec::new();
        write(&mut pipe, &Reply::Ready).expect("written");
        // Too long, claimed and not there, cut within the length, no CBOR, another message.
        let mut long = u32::MAX.to_le_bytes().to_vec();
        long.push(0);
        for bad in [
            &long[..],
            &[200, 0, 0, 0, 1],
            &[1, 0],
            &[1, 0, 0, 0, 0xff],
            &[1, 0, 0, 0, 0x80],
        ] {
            assert!(read::<Reply>(&mut &bad[..], &|| 100).is_err(), "{bad:?}");
        }
        assert!(read::<Reply>(&mut pipe.as_slice(), &|| 1).is_err());
    }
}
