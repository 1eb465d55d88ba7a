//! configfs-tsm: the kernel's common interface for TDX and SEV-SNP guests (Linux `Documentation/ABI/testing/configfs-tsm`).
//!
//! Make a directory, write 64 bytes into `inblob`, read `outblob`. `generation` counts writes: if it moved by anything but
//! one, somebody else wrote in between, and the report may be theirs.

use std::borrow::ToOwned;
use std::format;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::vec::Vec;

use super::{Ask, AttestError, Attester, Produced};
use crate::Kind;

/// Tries before giving up when others interfere.
const TRIES: usize = 5;
/// Largest file that is read from the kernel.
const MAX_BLOB: usize = 64 * 1024;

/// The four calls that are made; tests fake them.
pub trait FileSystem {
    /// mkdir(2).
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Reads a file whole.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Writes a file in one write(2).
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// rmdir(2).
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct StdFiles;

impl FileSystem for StdFiles {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // Attributes of configfs exist and take one write; creating or truncating them is not possible.
        use std::io::Write as _;
        fs::OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(bytes)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }
}

/// Asks configfs-tsm.
#[derive(Debug, Clone)]
pub struct ConfigFs<F> {
    files: F,
    folder: PathBuf,
    name: String,
    kind: Kind,
}

impl<F: FileSystem> ConfigFs<F> {
    /// Opens the interface at `folder` (`/sys/kernel/config/tsm/report`) and asks which provider it has. `name` names the
    /// entry, which must be this process's own.
    pub fn open(files: F, folder: &Path, name: &str) -> Result<Self, AttestError> {
        let mut this = Self {
            files,
            folder: folder.to_path_buf(),
            name: name.to_owned(),
            kind: Kind::Tdx,
        };
        let entry = this.enter()?;
        let provider = this.read(&entry, "provider");
        this.leave(&entry);
        this.kind = kind_of(&provider?)?;
        Ok(this)
    }

    fn enter(&self) -> Result<PathBuf, AttestError> {
        let entry = self.folder.join(&self.name);
        match self.files.create_dir(&entry) {
            Ok(()) => Ok(entry),
            // A process of ours was killed here before.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(entry),
            Err(error) => Err(AttestError::Io {
                path: entry.display().to_string(),
                error,
            }),
        }
    }

    fn leave(&self, entry: &Path) {
        // The entry holds nothing; one that stays is used again.
        let _ = self.files.remove_dir(entry);
    }

    fn read(&self, entry: &Path, file: &str) -> Result<Vec<u8>, AttestError> {
        let path = entry.join(file);
        for _ in 0..TRIES {
            match self.files.read(&path) {
                Ok(bytes) if bytes.len() <= MAX_BLOB => return Ok(bytes),
                Ok(bytes) => {
                    return Err(AttestError::TooLong {
                        field: "the kernel's file",
                        len: bytes.len(),
                        max: MAX_BLOB,
                    });
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => {
                    return Err(AttestError::Io {
                        path: path.display().to_string(),
                        error,
                    });
                }
            }
        }
        Err(AttestError::Busy(TRIES))
    }

    fn generation(&self, entry: &Path) -> Result<u64, AttestError> {
        let bytes = self.read(entry, "generation")?;
        let text = String::from_utf8_lossy(&bytes);
        text.trim()
            .parse()
            .map_err(|_| AttestError::Device(format!("generation is \"{}\"", text.trim())))
    }

    fn once(&self, entry: &Path, binding: &[u8; 64]) -> Result<Option<Produced>, AttestError> {
        let kind = kind_of(&self.read(entry, "provider")?)?;
        let before = self.generation(entry)?;
        let path = entry.join("inblob");
        match self.files.write(&path, binding) {
            Ok(()) => {}
            Err(error) if is_transient(&error) => return Ok(None),
            Err(error) => {
                return Err(AttestError::Io {
                    path: path.display().to_string(),
                    error,
                });
            }
        }
        let evidence = self.read(entry, "outblob")?;
        // TDX has none.
        let table = self.read(entry, "auxblob").unwrap_or_default();
        if self.generation(entry)? != before.wrapping_add(1) {
            return Ok(None);
        }
        let (certs, chain) = if kind == Kind::Snp {
            cert_table(&table)
        } else {
            Default::default()
        };
        Ok(Some(Produced {
            kind,
            evidence,
            certs,
            chain,
        }))
    }
}

/// EBUSY, EINTR, EAGAIN.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ResourceBusy | io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

fn kind_of(provider: &[u8]) -> Result<Kind, AttestError> {
    match String::from_utf8_lossy(provider).trim() {
        "tdx_guest" => Ok(Kind::Tdx),
        "sev_guest" => Ok(Kind::Snp),
        other => Err(AttestError::Provider(other.to_string())),
    }
}

impl<F: FileSystem> Attester for ConfigFs<F> {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn evidence(&self, ask: &Ask<'_>) -> Result<Produced, AttestError> {
        let entry = self.enter()?;
        let mut result = Err(AttestError::Busy(TRIES));
        for _ in 0..TRIES {
            match self.once(&entry, ask.binding) {
                Ok(None) => {}
                Ok(Some(produced)) => {
                    result = Ok(produced);
                    break;
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.leave(&entry);
        result
    }
}

/// The host's certificates (AMD GHCB specification section 4.1.8.1): entries of GUID, offset and length, ended by zeros.
/// Anything odd in it is left out: the verifier says what is missing.
fn cert_table(table: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    const LEAVES: [&str; 2] = [
        "63da758de6644564adc5f4b93be8accd",
        "a8074bc2a25a483eaae639c045a0b8a1",
    ];
    const ABOVE: [&str; 3] = [
        "4ab7b379bbac4fe4a02f05aef327c782",
        "c0b406a4a803495297433fb6014cd0ae",
        "a8074bc2a25a483eaae639c045a0b8a2",
    ];
    let (mut certs, mut chain) = (Vec::new(), Vec::new());
    for entry in table.chunks_exact(24).take(16) {
        let (guid, place) = entry.split_at(16);
        let number = |at: usize| {
            place[at..at + 4]
                .iter()
                .rev()
                .fold(0usize, |value, &byte| value << 8 | usize::from(byte))
        };
        let (offset, len) = (number(0), number(4));
        if guid.iter().all(|&byte| byte == 0) && len == 0 {
            break;
        }
        let Some(der) = offset
            .checked_add(len)
            .and_then(|end| table.get(offset..end))
        else {
            continue;
        };
        // Hosts write GUIDs in the order of RFC 4122 or with the first three fields swapped.
        let mut swapped = guid.to_vec();
        swapped[..4].reverse();
        swapped[4..6].reverse();
        swapped[6..8].reverse();
        let names = [hex::encode(guid), hex::encode(&swapped)];
        if names.iter().any(|name| LEAVES.contains(&name.as_str())) {
            certs.push(der.to_vec());
        } else if names.iter().any(|name| ABOVE.contains(&name.as_str())) {
            chain.push(der.to_vec());
        }
    }
    (certs, chain)
}
