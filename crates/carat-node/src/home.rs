//! The data directory: keys, the local log, compiled models.
//!
//! ```text
//! key        the key that signs receipts and Trust files, mode 0600
//! name       what its holder is called in receipts (optional)
//! log.key    the key of the local log, mode 0600
//! log/       the local log
//! models/    models that were compiled on first use
//! private-proofs/   how often inputs and outputs were proven without showing them
//! private-weights/  keys that hide weights: secrets, mode 0600, and how often each was used
//! seen/      the newest Trust version and log checkpoint that `verify` saw
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use carat_log::store::{Log, Options, StoreError};
use carat_log::{NoteSigner, VerifierKey};
use carat_receipt::{Label, SigningKey};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::tell::Tell;

const MAX_SMALL_FILE: u64 = 64 * 1024;
/// How long to wait for another process that holds the log.
const LOG_PATIENCE: Duration = Duration::from_secs(10);

/// Where a data directory is looked for, and who is told how long work in it goes.
pub struct Place {
    /// The directory that was named, if one was.
    pub data_dir: Option<PathBuf>,
    /// Who is told.
    pub tell: &'static dyn Tell,
}

impl Place {
    /// The data directory. Only what needs one fails where there is none.
    pub fn home(&self) -> Result<Home, Failure> {
        Home::find(self.data_dir.clone())
    }
}

/// The data directory. Made when something is first written to it.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// The directory given, else `$CARAT_HOME`, else `carat` in the user's data directory (XDG base directories).
    pub fn find(given: Option<PathBuf>) -> Result<Self, Failure> {
        let from = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let root = given
            .or_else(|| from("CARAT_HOME").map(PathBuf::from))
            .or_else(|| from("XDG_DATA_HOME").map(|dir| Path::new(&dir).join("carat")))
            .or_else(|| from("HOME").map(|dir| Path::new(&dir).join(".local/share/carat")));
        match root {
            Some(root) => Ok(Self { root }),
            None => Err(Failure::new(
                Exit::Usage,
                "there is no place for keys and the log: give --data-dir DIR or set CARAT_HOME",
            )),
        }
    }

    /// A directory that is known.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// A path inside it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the directory, readable by its owner alone.
    pub fn make(&self) -> Result<(), Failure> {
        make_private_dir(&self.root)
    }

    /// Makes a directory inside it.
    pub fn make_dir(&self, name: &str) -> Result<PathBuf, Failure> {
        self.make()?;
        let path = self.path(name);
        make_private_dir(&path)?;
        Ok(path)
    }

    /// The signing key; `None` before it is made.
    pub fn key(&self) -> Result<Option<SigningKey>, Failure> {
        let path = self.path("key");
        if !path.exists() {
            return Ok(None);
        }
        read_key(&path).map(Some)
    }

    /// The signing key, made if there is none. `true`: it was made now.
    pub fn key_or_new(&self) -> Result<(SigningKey, bool), Failure> {
        let _held = self.hold()?;
        match self.key()? {
            Some(key) => Ok((key, false)),
            None => Ok((self.new_key("key")?, true)),
        }
    }

    /// Keeps other processes from making keys, so that two first runs at once agree on one.
    pub fn hold(&self) -> Result<fs::File, Failure> {
        self.make()?;
        let path = self.path("lock");
        let held = fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .and_then(|file| file.lock().map(|()| file));
        held.map_err(|error| files::io_failure("locking", &path, &error))
    }

    /// Makes a key. The caller holds the directory and has checked that there is none.
    pub fn new_key(&self, name: &str) -> Result<SigningKey, Failure> {
        self.make()?;
        let key = SigningKey::generate().map_err(Failure::of(Exit::Io))?;
        let text = key.to_key_file();
        files::write_atomic(&self.path(name), text.as_bytes(), Mode::Private)?;
        Ok(key)
    }

    /// What the holder of the key is called in receipts.
    pub fn issuer_name(&self, key: &SigningKey) -> Result<Label, Failure> {
        let path = self.path("name");
        let text = if path.exists() {
            files::read_text(&path, "a name", MAX_SMALL_FILE)?
                .trim_end_matches('\n')
                .to_string()
        } else {
            // Says nothing about the machine or its user.
            format!("carat-{}", key.public().id().short())
        };
        Label::new(text)
            .map_err(|error| Failure::new(Exit::Store, format!("{}: {error}", path.display())))
    }

    /// The key of the local log; made with the log.
    fn log_signer(&self) -> Result<NoteSigner, Failure> {
        let path = self.path("log.key");
        let held = self.hold()?;
        let key = if path.exists() {
            read_key(&path)?
        } else if self.has_log() {
            let log = self.path("log");
            let message = format!(
                "{} is gone, but the log {} is there; restore the key from a copy",
                path.display(),
                log.display()
            );
            return Err(Failure::new(Exit::Store, message));
        } else {
            self.new_key("log.key")?
        };
        drop(held);
        let seed = seed(&key)?;
        let origin = format!("carat.local/{}", key.public().id().short());
        NoteSigner::new(&origin, &seed).map_err(Failure::of(Exit::Store))
    }

    /// Whether there is a local log.
    pub fn has_log(&self) -> bool {
        self.path("log/checkpoint").exists()
    }

    /// The key that verifies the local log, without opening the log: a damaged one can still be audited.
    pub fn log_verifier(&self) -> Result<VerifierKey, Failure> {
        self.log_signer().map(|signer| signer.verifier())
    }

    /// Opens the local log, or makes it. Waits a while for another process that holds it.
    pub fn log(&self) -> Result<Log, Failure> {
        self.make()?;
        let signer = self.log_signer()?;
        let dir = self.path("log");
        make_private_dir(&dir)?;
        let started = Instant::now();
        loop {
            match Log::open_or_create(&dir, signer.clone(), Options::default()) {
                Err(StoreError::Locked { .. }) if started.elapsed() < LOG_PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                result => return result.map_err(log_failure),
            }
        }
    }
}

/// The failure that goes with an error of the log.
pub fn log_failure(error: StoreError) -> Failure {
    let exit = match &error {
        StoreError::DiskFull { .. } => Exit::DiskFull,
        StoreError::Io { .. } | StoreError::NotALog { .. } => Exit::Io,
        StoreError::Locked { .. } => Exit::Busy,
        StoreError::NotEmpty { .. }
        | StoreError::WrongKey { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Stopped { .. } => Exit::Store,
        StoreError::LeafTooLarge { .. }
        | StoreError::BatchTooLarge { .. }
        | StoreError::Pending { .. }
        | StoreError::UnknownLeaf { .. }
        | StoreError::Tree(_)
        | StoreError::Promise(_) => Exit::Usage,
        _ => Exit::Store,
    };
    Failure::new(exit, error)
}

/// Seconds since 1970-01-01T00:00:00Z by this machine's clock.
pub fn clock() -> Result<u64, Failure> {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|elapsed| elapsed.as_secs())
        .map_err(|_| Failure::new(Exit::Io, "this machine's clock stands before 1970; set it"))
}

/// Makes a directory, and those above it, readable by their owner alone.
pub(crate) fn make_private_dir(path: &Path) -> Result<(), Failure> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder
        .create(path)
        .map_err(|error| files::io_failure("making the directory", path, &error))
}

fn read_key(path: &Path) -> Result<SigningKey, Failure> {
    let damaged = |error: &dyn ToString| {
        Failure::new(
            Exit::Store,
            format!("{}: {}", path.display(), error.to_string()),
        )
    };
    owner_alone(path)?;
    let bytes = Zeroizing::new(files::read_capped(path, "a key file", MAX_SMALL_FILE)?);
    let text = std::str::from_utf8(&bytes).map_err(|error| damaged(&error))?;
    SigningKey::from_key_file(text).map_err(|error| damaged(&error))
}

/// Refuses a secret that others than its owner may read.
pub(crate) fn owner_alone(path: &Path) -> Result<(), Failure> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path)
            .map_err(|error| files::io_failure("reading", path, &error))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            let message = format!(
                "{0}: others may read this key (mode {1:04o}); if nobody did, run `chmod 600 {0}`, else make a new key",
                path.display(),
                mode & 0o7777,
            );
            return Err(Failure::new(Exit::Store, message));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// The 32 secret bytes, which the log's signer is made from. The text of a key file is where a key shows them.
fn seed(key: &SigningKey) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let text = key.to_key_file();
    let mut seed = Zeroizing::new([0; 32]);
    let digits = text.lines().find_map(|line| line.strip_prefix("secret "));
    match digits.map(|digits| hex::decode_to_slice(digits, &mut *seed)) {
        Some(Ok(())) => Ok(seed),
        _ => Err(Failure::new(
            Exit::Internal,
            "a key file does not show its secret",
        )),
    }
}
