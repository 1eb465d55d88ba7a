//! Keys that hide a model's weights: their secrets, their registrations, and how often each was used.
//!
//! Every proof under such a key shows some places of one of its commitments, and so many may be shown ([`hidden_weights_budget`]).
//! The count is on disk before a proof is begun, so that whatever ends the process loses a proof at most, and never makes one
//! too many. A count that could be too low is worse than none, so it is read twice: from the record, which has the secret too
//! and says which file it is, and from a mark beside it. A record that was put back from a copy differs from one of them, and
//! is refused. (A file system or a machine that was put back as a whole, to what it was, does not.)
//!
//! ```text
//! private-weights/PROGRAM-PROFILE/N/record               the secret and the count, mode 0600
//! private-weights/PROGRAM-PROFILE/N/mark                 the count again
//! private-weights/PROGRAM-PROFILE/N/commitments          roots of the commitments; without it they are made again
//! private-weights/PROGRAM-PROFILE/N/NAME.carat-registration
//! ```

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use carat_receipt::{Digest, Label, Registration, evidence};
use carat_zk::pcs::Root;
use carat_zk::{
    Hidden, HidingRoots, Ledger, ModelKey, Options, Profile, ProvingKey, WeightsSecret,
    hidden_weights_budget, register, verify_registration,
};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::home::{self, Home};
use crate::model::Model;
use crate::prover::{self, Hiding};
use crate::tell::Doing;

/// Where they are, in the data directory.
const DIRECTORY: &str = "private-weights";
/// Extension of a registration.
pub const EXTENSION: &str = "carat-registration";
const RECORD: &str = "record";
const MARK: &str = "mark";
const COMMITMENTS: &str = "commitments";
const REGISTRATION: &str = "key.carat-registration";
/// Longest record or mark.
const MAX_FILE: u64 = 4096;
/// First lines of the files.
const RECORD_HEAD: &str = "carat private weights v2";
/// What it was when a key had one commitment, of another form.
const OLD_HEAD: &str = "carat private weights v1\n";
const MARK_HEAD: &str = "carat private weights mark v1";
/// Domain of the checks that end them.
const DOMAIN: &str = "carat/private-weights/v1";

/// Why no proof that hides the weights is made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// There is no registered key.
    #[error(
        "there is no key that hides the weights of program {program} by profile {profile}; make one, and give its registration \
         to those who will check proofs: carat model key MODEL --private --profile {profile}"
    )]
    None {
        /// The program.
        program: Digest,
        /// The profile.
        profile: &'static str,
    },
    /// Every key has been used as often as may be.
    #[error(
        "{budget} proofs were made under each key that hides these weights, the registration included, and a further one could \
         show parts of them; make a new key, and give its registration to those who will check proofs: carat model key MODEL \
         --private --new"
    )]
    Spent {
        /// How many may be made under one.
        budget: u32,
    },
    /// The files of a key are not what was written last.
    #[error(
        "{path}: {why}. How often the key was used is not known, so no proof is made under it; make a new key: carat model key \
         MODEL --private --new"
    )]
    Doubtful {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl From<Unusable> for Failure {
    fn from(error: Unusable) -> Self {
        let exit = match error {
            Unusable::None { .. } => Exit::Usage,
            Unusable::Spent { .. } => Exit::Refused,
            Unusable::Doubtful { .. } => Exit::Store,
        };
        Self::new(exit, error)
    }
}

fn doubtful(path: &Path, why: &'static str) -> Failure {
    let path = path.display().to_string();
    Unusable::Doubtful { path, why }.into()
}

/// A key that hides a model's weights.
#[derive(Debug, Clone)]
pub struct WeightsKey {
    /// The public part, what proofs are checked under, and what makes its commitment hide.
    pub hiding: Hiding,
    /// Proofs that were begun under it, the registration included.
    pub proofs: u32,
    /// How many may be.
    pub budget: u32,
    /// SHA-256 of its registration, once there is one.
    registration: Option<Digest>,
    /// Its files.
    dir: PathBuf,
}

impl WeightsKey {
    /// How many more proofs may be made under it.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.budget.saturating_sub(self.proofs)
    }

    /// The public part.
    #[must_use]
    pub fn key(&self) -> &ModelKey {
        &self.hiding.key
    }

    /// The bytes of its registration.
    ///
    /// # Errors
    /// It is damaged or gone.
    pub fn registration(&self) -> Result<Vec<u8>, Failure> {
        let path = self.dir.join(REGISTRATION);
        let limit = carat_receipt::registration::MAX_REGISTRATION_BYTES as u64;
        let bytes = files::read_capped(&path, "a registration", limit)?;
        if self.registration != Some(Digest::sha256(&bytes)) {
            let message = format!(
                "{} is not the registration that was made; take it from where you keep those that you gave out, or make a new \
                 key: carat model key MODEL --private --new",
                path.display()
            );
            return Err(Failure::new(Exit::Store, message));
        }
        Ok(bytes)
    }

    /// Counts one. The caller holds the directory.
    fn count(&mut self) -> Result<(), Failure> {
        if self.left() == 0 {
            let budget = self.budget;
            return Err(Unusable::Spent { budget }.into());
        }
        self.hiding.before = self.proofs;
        self.proofs = self.proofs.saturating_add(1);
        self.write(&self.dir)
    }

    /// The record as it is written into a file.
    fn record(&self, file: &Metadata) -> Zeroizing<String> {
        let registration = self.registration.map_or("none".into(), |d| d.to_string());
        // As long as it gets, so that the secret does not stay behind where the text was before it grew.
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE as usize));
        text.push_str(&format!(
            "{RECORD_HEAD}\nprogram {}\nprofile {}\nroot {}\nproofs {}\nregistration {registration}\nfile {}\nsecret ",
            self.key().program,
            self.key().profile.name(),
            Digest::from_bytes(self.key().root.0),
            self.proofs,
            number(file),
        ));
        let mut digits = Zeroizing::new([0; 64]);
        // 32 bytes are 64 digits.
        let _ = hex::encode_to_slice(self.hiding.secret.as_bytes(), &mut *digits);
        text.push_str(core::str::from_utf8(&*digits).unwrap_or_default());
        text.push('\n');
        let check = Digest::of(DOMAIN, &[text.as_bytes()]);
        text.push_str(&format!("check {check}\n"));
        text
    }

    /// The mark that goes with so many proofs.
    fn mark(&self, proofs: u32) -> String {
        let key = self.key().digest();
        let text = format!("{MARK_HEAD}\nkey {key}\nproofs {proofs}\n");
        let check = Digest::of(DOMAIN, &[text.as_bytes()]);
        format!("{text}check {check}\n")
    }

    /// Writes record and mark, in this order: a mark alone that is ahead would look as if the record had been put back.
    fn write(&self, dir: &Path) -> Result<(), Failure> {
        let record = |file: &Metadata| Bytes(self.record(file));
        let record = files::stage_knowing(&dir.join(RECORD), Mode::Private, record)?;
        let mark = self.mark(self.proofs);
        let mark = files::stage(&dir.join(MARK), mark.as_bytes(), Mode::Private)?;
        files::place(vec![record, mark])
    }

    /// Reads one, and doubts it.
    fn read(dir: &Path, model: &Model, profile: Profile) -> Result<Self, Failure> {
        let budget = hidden_weights_budget(model.program(), profile).map_err(prover::failure)?;
        let key = Self::load(dir, budget)?;
        if key.key().program != model.digest || key.key().profile != profile {
            let why = "the record is about another program or profile";
            return Err(doubtful(&dir.join(RECORD), why));
        }
        Ok(key)
    }

    /// Reads a record and its mark.
    fn load(dir: &Path, budget: u32) -> Result<Self, Failure> {
        let path = dir.join(RECORD);
        let refuse = |why| Err(doubtful(&path, why));
        if !path.exists() {
            return refuse("the record is gone");
        }
        home::owner_alone(&path)?;
        let bytes = files::read_capped(&path, "a key that hides weights", MAX_FILE)?;
        let bytes = Zeroizing::new(bytes);
        let text = core::str::from_utf8(&bytes).unwrap_or_default();
        if text.starts_with(OLD_HEAD) {
            return refuse(
                "an earlier version made this key, and its commitment has a form that is not used any more",
            );
        }
        let Some(key) = Self::parse(text, dir, budget) else {
            return refuse("the record is cut off or damaged");
        };
        let metadata = fs::metadata(&path).map_err(|e| files::io_failure("reading", &path, &e))?;
        if !text.contains(&format!("\nfile {}\n", number(&metadata))) {
            return refuse("the record is a copy, put back or moved from elsewhere");
        }
        if *key.record(&metadata) != text {
            return refuse("the record is cut off or damaged");
        }
        let path = dir.join(MARK);
        let mark = if path.exists() {
            files::read_capped(&path, "the mark of a key that hides weights", MAX_FILE)?
        } else {
            return Err(doubtful(&path, "the mark is gone"));
        };
        // The count goes into the record first, and every crash between the two leaves the mark further behind.
        let fits = (0..=key.proofs).any(|proofs| mark == key.mark(proofs).as_bytes());
        if !fits {
            let why = "the mark is ahead of the record: the record was put back, or one of the two is damaged";
            return Err(doubtful(&path, why));
        }
        Ok(key)
    }

    /// What the lines say. That they are exactly the lines that would be written is looked at by the caller.
    fn parse(text: &str, dir: &Path, budget: u32) -> Option<Self> {
        let value =
            |name: &str| (text.lines()).find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let digest = |name| value(name)?.parse::<Digest>().ok();
        let profile = Profile::named(value("profile")?)?;
        let mut secret = Zeroizing::new([0; 32]);
        hex::decode_to_slice(value("secret")?, &mut *secret).ok()?;
        let proofs = value("proofs")?.parse().ok()?;
        let registration = match value("registration")? {
            "none" => None,
            digest => Some(digest.parse().ok()?),
        };
        Some(Self {
            hiding: Hiding {
                key: ModelKey {
                    program: digest("program")?,
                    profile,
                    root: Root(*digest("root")?.as_bytes()),
                },
                secret: WeightsSecret::from_bytes(*secret),
                roots: Some(dir.join(COMMITMENTS)),
                before: proofs,
            },
            proofs,
            budget,
            registration,
            dir: dir.to_path_buf(),
        })
    }
}

/// Text that is wiped, as bytes.
struct Bytes(Zeroizing<String>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// What tells a file from a copy of it, where the system says.
fn number(file: &Metadata) -> u64 {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        file.ino()
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        0
    }
}

/// The folder of the keys of one program and profile.
fn place(model: &Model, profile: Profile) -> String {
    format!("{DIRECTORY}/{}-{}", model.digest, profile.name())
}

/// The numbers of the keys in a folder, newest first.
fn numbers(folder: &Path) -> Result<Vec<u32>, Failure> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let failed = |error| files::io_failure("reading", folder, &error);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        // Others are what a process left that was killed while it made a key: no key yet.
        numbers.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    Ok(numbers)
}

/// The newest key of a program and profile, whether it can be used or not.
///
/// # Errors
/// [`Unusable::Doubtful`], those of the files.
pub fn newest(home: &Home, model: &Model, profile: Profile) -> Result<Option<WeightsKey>, Failure> {
    let folder = home.path(&place(model, profile));
    let Some(newest) = numbers(&folder)?.first().copied() else {
        return Ok(None);
    };
    let _held = home.hold()?;
    WeightsKey::read(&folder.join(newest.to_string()), model, profile).map(Some)
}

/// The key that a proof would be made under: the newest that is registered and not used up. Nothing is counted.
///
/// # Errors
/// [`Unusable`], those of the files.
pub fn usable(home: &Home, model: &Model, profile: Profile) -> Result<WeightsKey, Failure> {
    let folder = home.path(&place(model, profile));
    let held = match folder.exists() {
        true => Some(home.hold()?),
        false => None,
    };
    let found = find(&folder, model, profile);
    drop(held);
    found
}

/// As [`usable`]. The caller holds the directory.
fn find(folder: &Path, model: &Model, profile: Profile) -> Result<WeightsKey, Failure> {
    let mut spent = None;
    for n in numbers(folder)? {
        let key = WeightsKey::read(&folder.join(n.to_string()), model, profile)?;
        if key.registration.is_none() {
            continue;
        }
        if key.left() > 0 {
            return Ok(key);
        }
        spent = Some(key.budget);
    }
    let none = Unusable::None {
        program: model.digest,
        profile: profile.name(),
    };
    Err(spent
        .map_or(none, |budget| Unusable::Spent { budget })
        .into())
}

/// Counts one more proof, durably, and gives the key to make it under: a proof that is lost from here on is counted all the
/// same. A proof of several statements is one.
///
/// # Errors
/// [`Unusable`], and those of the files; then nothing may be proven.
pub fn count_one(home: &Home, model: &Model, profile: Profile) -> Result<WeightsKey, Failure> {
    let _held = home.hold()?;
    let mut key = find(&home.path(&place(model, profile)), model, profile)?;
    key.count()?;
    Ok(key)
}

/// The newest key with its registration: made if there is none, or if `new`; its registration made if there is none.
/// `true`: the registration was made now, which is one of the proofs under the key.
///
/// # Errors
/// [`Unusable`], those of the prover, those of the files.
pub fn registered(
    home: &Home,
    model: &Model,
    (profile, memory_limit): (Profile, u64),
    new: bool,
    doing: &dyn Doing,
) -> Result<(WeightsKey, bool), Failure> {
    let there = match new {
        true => None,
        false => newest(home, model, profile)?,
    };
    let there = match there {
        Some(key) if key.registration.is_some() => return Ok((key, false)),
        there => there,
    };
    // What has no proofs, or none within the limits, is refused before anything is made or counted.
    let mode = carat_zk::Mode::Zk(Hidden {
        values: false,
        weights: true,
    });
    Ledger::new(model.program(), profile, mode, 1)
        .and(Ledger::registration(model.program(), profile))
        .map_err(prover::failure)?;
    prover::registered_within(model, memory_limit)?;
    doing.say("committing to the weights");
    let dir = match there {
        Some(key) => key.dir,
        None => make(home, model, profile)?,
    };
    let counted = {
        let _held = home.hold()?;
        let mut key = WeightsKey::read(&dir, model, profile)?;
        key.count()?;
        key
    };
    doing.say("proving what the program says of the weights");
    let proving = counted.hiding.proving_key(model)?;
    let bytes = registration(model, &proving, memory_limit)?;
    let _held = home.hold()?;
    // Somebody may have counted meanwhile, or made a registration.
    let mut key = WeightsKey::read(&dir, model, profile)?;
    if key.registration.is_none() {
        files::write_atomic(&dir.join(REGISTRATION), &bytes, Mode::Private)?;
        key.registration = Some(Digest::sha256(&bytes));
        key.write(&dir)?;
    }
    Ok((key, true))
}

/// Makes a key, whole or not at all, and gives its directory.
fn make(home: &Home, model: &Model, profile: Profile) -> Result<PathBuf, Failure> {
    let budget = hidden_weights_budget(model.program(), profile).map_err(prover::failure)?;
    let secret = WeightsSecret::fresh().map_err(prover::failure)?;
    let (public, roots) = HidingRoots::new(model.program(), &model.file.weights, profile, &secret)
        .map_err(prover::failure)?;
    let folder = home.make_dir(&place(model, profile))?;
    let _held = home.hold()?;
    let number = numbers(&folder)?.first().map_or(1, |n| n.saturating_add(1));
    let dir = folder.join(number.to_string());
    let key = WeightsKey {
        hiding: Hiding {
            key: public,
            secret,
            // Not yet where it will be.
            roots: None,
            before: 0,
        },
        proofs: 0,
        budget,
        registration: None,
        dir: dir.clone(),
    };
    // Left by a process that was killed in the middle of this.
    let temporary = folder.join(".new");
    if temporary.exists() {
        let failed = |error| files::io_failure("removing", &temporary, &error);
        fs::remove_dir_all(&temporary).map_err(failed)?;
    }
    let scratch = files::ScratchDir::new(temporary)?;
    key.write(scratch.path())?;
    let commitments = scratch.path().join(COMMITMENTS);
    files::write_atomic(&commitments, &roots.to_bytes(), Mode::Private)?;
    fs::rename(scratch.path(), &dir).map_err(|error| files::io_failure("writing", &dir, &error))?;
    Ok(dir)
}

/// Proves what the constants under a key keep, and checks that before anybody sees it.
fn registration(
    model: &Model,
    proving: &ProvingKey,
    memory_limit: u64,
) -> Result<Vec<u8>, Failure> {
    let (program, key) = (model.program(), proving.key());
    let options = Options {
        memory_limit,
        ..Options::default()
    };
    let proof =
        register(program, &model.file.weights, proving, &options).map_err(prover::failure)?;
    verify_registration(program, key, &proof).map_err(|error| {
        let message = format!("the registration that was made does not verify: {error}");
        Failure::new(Exit::Internal, message)
    })?;
    let label = |text: &str| Label::new(text).map_err(Failure::of(Exit::Internal));
    let registration = Registration {
        program: program.encode(),
        protocol: label(evidence::ZK_PROTOCOL)?,
        profile: label(key.profile.name())?,
        weights_root: Digest::from_bytes(key.root.0),
        proof: proof.bytes,
    };
    Ok(registration.encode())
}

#[cfg(test)]
mod tests;
