//! Files: read with a limit, written whole or not at all.
//!
//! A file is written under a temporary name in the same directory, synced, and renamed. The names of temporary files are
//! kept, so that an interrupt removes them; the same lock is held over the renames, so that an interrupt never falls
//! between two of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use carat_verify::Trust;
use carat_verify::trust::MAX_TRUST_BYTES;

use crate::exit::{Exit, Failure};

/// Temporary files of this process. Whoever holds the lock keeps interrupts out.
static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn temporary() -> MutexGuard<'static, Vec<PathBuf>> {
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes all temporary files of this process and keeps the lock: nothing is renamed any more. For interrupts.
pub fn abandon() -> impl Drop {
    let guard = temporary();
    for path in guard.iter() {
        let _ = if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
    }
    guard
}

/// A new directory that is removed when this is dropped, or on an interrupt.
pub struct ScratchDir(PathBuf);

impl ScratchDir {
    /// Takes a path where nothing is yet.
    pub fn new(path: PathBuf) -> Result<Self, Failure> {
        fs::create_dir(&path).map_err(|error| io_failure("making the directory", &path, &error))?;
        temporary().push(path.clone());
        Ok(Self(path))
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        temporary().retain(|path| *path != self.0);
    }
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Whoever the system's defaults allow.
    Shared,
    /// The owner alone.
    Private,
}

/// A file that is complete on disk and not yet under its name.
pub struct Staged {
    temporary: PathBuf,
    path: PathBuf,
}

/// Turns a system error into a sentence.
pub fn io_failure(action: &str, path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Failure::new(
                Exit::DiskFull,
                format!(
                    "no space left while {action} {path}: free space there and run the command again"
                ),
            )
        }
        io::ErrorKind::NotFound => Failure::new(
            Exit::Io,
            format!("{action} {path} failed: there is no such file or directory; check the path"),
        ),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Failure::new(
            Exit::Io,
            format!(
                "{action} {path} failed: not permitted; choose another place or change the permissions"
            ),
        ),
        _ => Failure::new(Exit::Io, format!("{action} {path} failed: {error}")),
    }
}

/// Opens a regular file for reading after comparing its size with a limit.
pub fn open_capped(path: &Path, what: &str, limit: u64) -> Result<File, Failure> {
    // Looked at before opening: opening a named pipe would wait for its other end.
    let metadata = fs::metadata(path).map_err(|error| io_failure("reading", path, &error))?;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() {
            "a directory"
        } else {
            "no regular file"
        };
        return Err(Failure::new(
            Exit::Io,
            format!("{} is {kind}; give {what}", path.display()),
        ));
    }
    if metadata.len() > limit {
        return Err(Failure::new(
            Exit::TooLarge,
            format!(
                "{} has {} bytes; the limit for {what} is {limit}; it was not read",
                path.display(),
                metadata.len()
            ),
        ));
    }
    File::open(path).map_err(|error| io_failure("reading", path, &error))
}

/// Reads a whole regular file of at most `limit` bytes.
pub fn read_capped(path: &Path, what: &str, limit: u64) -> Result<Vec<u8>, Failure> {
    let file = open_capped(path, what, limit)?;
    let mut bytes = Vec::new();
    // The file may grow while it is read.
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| io_failure("reading", path, &error))?;
    if bytes.len() as u64 > limit {
        return Err(Failure::new(
            Exit::TooLarge,
            format!(
                "{} grew beyond the limit for {what}, {limit} bytes",
                path.display()
            ),
        ));
    }
    Ok(bytes)
}

/// Refuses a secret that everybody on the machine may read. Its group may: a service's key often belongs to a group.
pub fn refuse_public(path: &Path) -> Result<(), Failure> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path)
            .map_err(|error| io_failure("reading", path, &error))?
            .permissions()
            .mode();
        if mode & 0o007 != 0 {
            let message = format!(
                "{}: everybody on this machine may read this key (mode {:04o}); if nobody did, run `chmod o= {0}`, else make a \
                 new one",
                path.display(),
                mode & 0o7777
            );
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Reads a text file of at most `limit` bytes.
pub fn read_text(path: &Path, what: &str, limit: u64) -> Result<String, Failure> {
    let bytes = read_capped(path, what, limit)?;
    String::from_utf8(bytes).map_err(|_| {
        Failure::new(
            Exit::Input,
            format!("{} is not UTF-8 text; give {what}", path.display()),
        )
    })
}

/// Reads a Trust file.
pub fn read_trust(path: &Path) -> Result<Trust, Failure> {
    let bytes = read_capped(path, "a Trust file", MAX_TRUST_BYTES as u64)?;
    let refused = |error: &dyn ToString| {
        Failure::new(
            Exit::Trust,
            format!("{}: {}", path.display(), error.to_string()),
        )
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| refused(&error))?;
    Trust::parse(text).map_err(|error| refused(&error))
}

/// Checks that a file could be written there, before any work is done for it.
pub fn check_writable(path: &Path) -> Result<(), Failure> {
    stage(path, b"", Mode::Private).map(drop)
}

/// Writes and syncs a file beside its final name.
pub fn stage(path: &Path, bytes: &[u8], mode: Mode) -> Result<Staged, Failure> {
    stage_knowing(path, mode, |_| bytes)
}

/// As [`stage`], with bytes that may name the file that they stand in.
pub(crate) fn stage_knowing<B: AsRef<[u8]>>(
    path: &Path,
    mode: Mode,
    bytes: impl FnOnce(&fs::Metadata) -> B,
) -> Result<Staged, Failure> {
    let Some(name) = path.file_name() else {
        return Err(Failure::new(
            Exit::Usage,
            format!("{} does not name a file", path.display()),
        ));
    };
    if path.is_dir() {
        return Err(Failure::new(
            Exit::Io,
            format!("{} is a directory; give the name of a file", path.display()),
        ));
    }
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|_| Failure::new(Exit::Io, "the operating system gave no randomness"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", hex::encode(random)));
    let staged = Staged {
        temporary: path.with_file_name(hidden),
        path: path.to_path_buf(),
    };
    temporary().push(staged.temporary.clone());
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if mode == Mode::Private {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        #[cfg(not(unix))]
        let _ = mode;
        let mut file = options.open(&staged.temporary)?;
        let metadata = file.metadata()?;
        file.write_all(bytes(&metadata).as_ref())?;
        file.sync_all()
    };
    write().map_err(|error| io_failure("writing", path, &error))?;
    Ok(staged)
}

/// Renames staged files to their names, in order, and syncs the directories.
pub fn place(files: Vec<Staged>) -> Result<(), Failure> {
    let guard = temporary();
    let mut result = Ok(());
    for file in &files {
        result = result.and_then(|()| {
            fs::rename(&file.temporary, &file.path)
                .and_then(|()| sync_directory(&file.path))
                .map_err(|error| io_failure("writing", &file.path, &error))
        });
    }
    // `Staged` takes the lock when it is dropped.
    drop(guard);
    result
}

/// Writes a file whole or not at all.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: Mode) -> Result<(), Failure> {
    place(vec![stage(path, bytes, mode)?])
}

fn sync_directory(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already when the file was placed.
        let _ = fs::remove_file(&self.temporary);
        temporary().retain(|path| *path != self.temporary);
    }
}

/// `path` with another last extension.
pub fn sibling(path: &Path, extension: &str) -> PathBuf {
    path.with_extension(extension)
}
