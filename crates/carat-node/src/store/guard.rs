//! Notices what the engine drops without a word.
//!
//! The engine reads its journals up to the first record that makes no sense and cuts them there. That is right for a write that
//! a crash tore; but damage in the middle of a journal looks the same to it, and what was acknowledged after the damage would
//! be gone: receipts are missed by the log, jobs, erasures and evidence by nobody. And where it does not find the file that says
//! what a keyspace holds, it makes an empty one. So we look:
//!
//! - Only the last journal can have a torn end. Another that loses bytes is damaged ([`Journals`]).
//! - Each synced batch is numbered, in the store and, after its sync, in a file beside it. A store that opens with a smaller
//!   number than the file says has lost batches that were synced ([`Mark`]).
//! - A keyspace that has tables has the file that lists them, and none is missing between others ([`keyspaces`]).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use carat_receipt::Digest;
use xxhash_rust::xxh3::xxh3_128;

/// Name of the file in the store's directory.
const MARK: &str = "mark";
/// Domain of its check.
const DOMAIN: &str = "carat/store-mark/v1";
/// Length of the file: a number and its check.
const MARK_BYTES: usize = 16;

/// The engine's journals as they were before it opened them.
pub(super) struct Journals(Vec<Journal>);

struct Journal {
    path: PathBuf,
    file: File,
    /// Where the last byte that is not zero ends. Journals are lengthened ahead of what is written.
    end: u64,
}

impl Journals {
    /// Looks at the journals of a store that is about to be opened.
    pub(super) fn look(dir: &Path) -> io::Result<Self> {
        let mut journals = Vec::new();
        for name in names(dir)? {
            let path = dir.join(name);
            if path.extension().is_some_and(|extension| extension == "jnl") {
                let file = File::open(&path)?;
                let end = written(&file)?;
                journals.push(Journal { path, file, end });
            }
        }
        // By number: the engine's names are numbers without leading zeros.
        journals.sort_by_key(|journal| {
            let stem = journal.path.file_stem().and_then(|stem| stem.to_str());
            stem.and_then(|stem| stem.parse::<u64>().ok())
        });
        Ok(Self(journals))
    }

    /// What is wrong, once the engine has opened them.
    pub(super) fn damage(&self) -> io::Result<Option<String>> {
        let Some((_, sealed)) = self.0.split_last() else {
            return Ok(None);
        };
        for journal in sealed {
            // By the open file: the engine may have removed the name already.
            let kept = journal.file.metadata()?.len();
            if kept < journal.end {
                return Ok(Some(format!(
                    "{} can be read up to byte {kept} of {}",
                    journal.path.display(),
                    journal.end
                )));
            }
        }
        Ok(None)
    }
}

/// Where the last byte that is not zero ends.
fn written(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; 64 << 10];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.read_exact_at(part, start)?;
        if let Some(last) = part.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// What is wrong with the keyspaces of a store that is about to be opened.
pub(super) fn keyspaces(dir: &Path) -> io::Result<Option<String>> {
    let dir = dir.join("keyspaces");
    let mut numbers = Vec::new();
    for name in names(&dir)? {
        let Ok(number) = name.parse::<u64>() else {
            continue;
        };
        numbers.push(number);
        let keyspace = dir.join(&name);
        let holds = !names(&keyspace.join("tables"))?.is_empty()
            || !names(&keyspace.join("blobs"))?.is_empty();
        match std::fs::read(keyspace.join("current")) {
            Ok(current) if lists(&keyspace, &current)? => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && !holds => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {
                let keyspace = keyspace.display();
                return Ok(Some(format!(
                    "the list of tables of {keyspace} is damaged or gone"
                )));
            }
        }
    }
    numbers.sort_unstable();
    let missing = (0..).zip(&numbers).find(|(want, found)| want != *found);
    Ok(missing.map(|(want, _)| format!("{} is gone", dir.join(want.to_string()).display())))
}

/// Whether the file `current` of a keyspace names a list of tables that is what it was when it was written: the engine writes its
/// number, its XXH3 and how that was computed, and reads the number.
fn lists(keyspace: &Path, current: &[u8]) -> io::Result<bool> {
    let Some((number, rest)) = current.split_first_chunk::<8>() else {
        return Ok(false);
    };
    let Some((check, [0])) = rest.split_first_chunk::<16>() else {
        return Ok(false);
    };
    let list = keyspace.join(format!("v{}", u64::from_le_bytes(*number)));
    match std::fs::read(list) {
        Ok(bytes) => Ok(xxh3_128(&bytes) == u128::from_le_bytes(*check)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Names in a directory; none where it does not exist.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// The number of the last batch that was synced, beside the store.
pub(super) struct Mark {
    file: File,
    number: u64,
}

impl Mark {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// The system's, and [`io::ErrorKind::InvalidData`] where the file cannot be read.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(dir.join(MARK))?;
        // A file that the power cut off before it had its first number.
        if file.metadata()?.len() == 0 {
            return Ok(Self { file, number: 0 });
        }
        let mut bytes = [0; MARK_BYTES];
        let whole = file.metadata()?.len() == MARK_BYTES as u64;
        if whole {
            file.read_exact_at(&mut bytes, 0)?;
        }
        let (number, _) = bytes.split_at(8);
        let number = u64::from_be_bytes(number.try_into().unwrap_or_default());
        if !whole || bytes != encode(number) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} cannot be read", dir.join(MARK).display()),
            ));
        }
        Ok(Self { file, number })
    }

    /// The number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Notes a batch, after its sync. Not synced itself: a number that is too small with the power cut says nothing wrong.
    pub(super) fn set(&mut self, number: u64) {
        self.number = number;
        if let Err(error) = self.file.write_all_at(&encode(number), 0) {
            tracing::warn!(%error, "the number of the last batch was not noted; damage may go unnoticed");
        }
    }
}

fn encode(number: u64) -> [u8; MARK_BYTES] {
    let number = number.to_be_bytes();
    let check = Digest::of(DOMAIN, &[&number]);
    let mut bytes = [0; MARK_BYTES];
    bytes[..8].copy_from_slice(&number);
    bytes[8..].copy_from_slice(&check.as_bytes()[..8]);
    bytes
}
