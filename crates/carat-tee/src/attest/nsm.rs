//! The Nitro Security Module: CBOR requests and answers over one ioctl of `/dev/nsm`.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use minicbor::data::Type;
use minicbor::decode::Decoder;
use minicbor::encode::Encoder;

use super::{Ask, AttestError, Attester, Produced};
use crate::Kind;
use crate::nitro::{MAX_PUBLIC_KEY, MAX_USER_DATA};

/// Largest answer of the module.
#[cfg(all(feature = "nsm", target_os = "linux"))]
const MAX_ANSWER: usize = 0x3000;

/// Sends one request to the module; tests fake it.
pub trait NsmDevice {
    /// The answer to a request, both CBOR.
    fn exchange(&self, request: &[u8]) -> Result<Vec<u8>, AttestError>;
}

/// Asks a Nitro Security Module.
#[derive(Debug, Clone)]
pub struct Nitro<D>(pub D);

impl<D: NsmDevice> Attester for Nitro<D> {
    fn kind(&self) -> Kind {
        Kind::Nitro
    }

    fn evidence(&self, ask: &Ask<'_>) -> Result<Produced, AttestError> {
        for (field, len, max) in [
            ("user_data", ask.binding.len(), MAX_USER_DATA),
            ("nonce", ask.nonce.len(), MAX_USER_DATA),
            ("public_key", ask.key.len(), MAX_PUBLIC_KEY),
        ] {
            if len > max {
                return Err(AttestError::TooLong { field, len, max });
            }
        }
        let request = request(ask).map_err(|error| AttestError::Device(error.to_string()))?;
        let evidence = document(&self.0.exchange(&request)?)?;
        Ok(Produced {
            kind: Kind::Nitro,
            evidence,
            certs: Vec::new(),
            chain: Vec::new(),
        })
    }
}

/// `{"Attestation": {"user_data": B, "nonce": nonce, "public_key": key}}`, as AWS's library writes it.
fn request(ask: &Ask<'_>) -> Result<Vec<u8>, minicbor::encode::Error<core::convert::Infallible>> {
    let mut bytes = Vec::new();
    let mut e = Encoder::new(&mut bytes);
    e.map(1)?.str("Attestation")?.map(3)?;
    e.str("user_data")?.bytes(ask.binding)?;
    e.str("nonce")?;
    if ask.nonce.is_empty() {
        e.null()?
    } else {
        e.bytes(ask.nonce)?
    };
    e.str("public_key")?.bytes(ask.key)?;
    Ok(bytes)
}

/// `{"Attestation": {"document": bytes}}` or `{"Error": text}`.
fn document(answer: &[u8]) -> Result<Vec<u8>, AttestError> {
    let odd = |error: minicbor::decode::Error| {
        AttestError::Device(format!("something that is no answer: {error}"))
    };
    let mut d = Decoder::new(answer);
    let read = |d: &mut Decoder<'_>| -> Result<Result<Vec<u8>, String>, minicbor::decode::Error> {
        d.map()?;
        match d.str()? {
            "Attestation" => {
                d.map()?;
                if d.str()? != "document" {
                    return Ok(Err("an attestation without document".into()));
                }
                // Some libraries write bytes as an array of numbers.
                if d.datatype()? == Type::Array {
                    let numbers = d.array_iter::<u8>()?.collect::<Result<Vec<u8>, _>>()?;
                    return Ok(Ok(numbers));
                }
                Ok(Ok(d.bytes()?.to_vec()))
            }
            "Error" => Ok(Err(d.str()?.to_string())),
            other => Ok(Err(format!("an answer of type \"{other}\""))),
        }
    };
    read(&mut d).map_err(odd)?.map_err(AttestError::Device)
}

#[cfg(all(feature = "nsm", target_os = "linux"))]
mod device {
    #![allow(
        unsafe_code,
        reason = "the module is reached by an ioctl, and by nothing else"
    )]

    use std::fs::File;
    use std::io;
    use std::os::fd::{AsFd as _, BorrowedFd};
    use std::path::Path;
    use std::string::ToString;
    use std::vec::Vec;

    use super::{AttestError, MAX_ANSWER, NsmDevice};

    /// `struct nsm_message` of Linux' `include/uapi/linux/nsm.h`: two iovecs.
    #[repr(C)]
    struct Message {
        request: *mut u8,
        request_len: usize,
        answer: *mut u8,
        answer_len: usize,
    }

    /// `_IOWR(0x0A, 0x0, struct nsm_message)`.
    const NSM: rustix::ioctl::Opcode = rustix::ioctl::opcode::read_write::<Message>(0x0a, 0);

    /// `/dev/nsm`.
    #[derive(Debug)]
    pub struct DevNsm(File);

    impl DevNsm {
        /// Opens the device.
        pub fn open(path: &Path) -> Result<Self, AttestError> {
            let file = File::options().read(true).write(true).open(path);
            file.map(Self).map_err(|error| AttestError::Io {
                path: path.display().to_string(),
                error,
            })
        }
    }

    impl NsmDevice for DevNsm {
        fn exchange(&self, request: &[u8]) -> Result<Vec<u8>, AttestError> {
            let mut request = request.to_vec();
            let mut answer = std::vec![0; MAX_ANSWER];
            let mut message = Message {
                request: request.as_mut_ptr(),
                request_len: request.len(),
                answer: answer.as_mut_ptr(),
                answer_len: answer.len(),
            };
            let len = call(self.0.as_fd(), &mut message).map_err(|error| AttestError::Io {
                path: "/dev/nsm".to_string(),
                error,
            })?;
            answer.truncate(len.min(MAX_ANSWER));
            Ok(answer)
        }
    }

    fn call(device: BorrowedFd<'_>, message: &mut Message) -> io::Result<usize> {
        // SAFETY: the opcode is that of `struct nsm_message`, whose layout `Message` has; both buffers live until after the
        // call and have the lengths given, and the driver writes at most `answer_len` bytes and sets it to what it wrote.
        unsafe {
            let update = rustix::ioctl::Updater::<NSM, Message>::new(message);
            rustix::ioctl::ioctl(device, update)?;
        }
        Ok(message.answer_len)
    }
}

#[cfg(all(feature = "nsm", target_os = "linux"))]
pub use device::DevNsm;
