//! What `verify` saw before, so that nobody can show it an older world: the newest version of each owner's Trust file and
//! the newest checkpoint of each log.

use carat_log::{Checkpoint, SignedCheckpoint, TlogProof};
use carat_receipt::file::LOG_PROOF;
use carat_receipt::{Digest, ReceiptFile};
use carat_verify::trust::Standing;
use carat_verify::{Appraisal, Outcome, Trust};

use crate::commands::Context;
use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::home::Home;
use crate::output;

const MAX_SEEN: u64 = 1 << 20;

/// Memory of the Trust file and the log that one appraisal is about.
pub(crate) struct Seen {
    home: Option<Home>,
    trust: Option<(String, u64)>,
    trust_version: Option<u64>,
    log: Option<(String, SignedCheckpoint)>,
    checkpoint: Option<SignedCheckpoint>,
}

impl Seen {
    /// Looks up what is remembered. Without a Trust file nothing is: what no key vouches for is not worth remembering.
    pub(crate) fn of(
        context: &Context,
        trust: Option<&Trust>,
        receipt: Option<&ReceiptFile>,
    ) -> Result<Self, Failure> {
        let mut seen = Self {
            home: None,
            trust: None,
            trust_version: None,
            log: None,
            checkpoint: None,
        };
        let Some(trust) = trust.filter(|trust| trust.standing() == Standing::Signed) else {
            return Ok(seen);
        };
        // Where there is no place for a memory, nothing is remembered; the appraisal says so.
        let Ok(home) = context.home() else {
            return Ok(seen);
        };
        let name = format!("seen/trust-{}", trust.content().owner.id());
        seen.trust_version = read(&home, &name)?
            .map(|text| text.trim().parse().map_err(|_| damaged(&home, &name)))
            .transpose()?;
        seen.trust = Some((name, trust.content().version));
        if let Some(signed) = receipt.and_then(|receipt| checkpoint_of(receipt, trust)) {
            let (signed, vkey) = signed;
            // Another Trust file may give another key for the same origin: that is another log.
            let name = format!("seen/log-{}", Digest::sha256(vkey.as_bytes()));
            seen.checkpoint = read(&home, &name)?
                .map(|text| {
                    SignedCheckpoint::parse(text.as_bytes()).map_err(|_| damaged(&home, &name))
                })
                .transpose()?;
            seen.log = Some((name, signed));
        }
        seen.home = Some(home);
        Ok(seen)
    }

    /// Highest version of this owner's Trust file.
    pub(crate) fn trust_version(&self) -> Option<u64> {
        self.trust_version
    }

    /// Newest checkpoint of the receipt's log. It was verified before it was remembered.
    pub(crate) fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref().map(SignedCheckpoint::unverified)
    }

    /// Remembers what was verified. A memory that cannot be written is no reason to withhold a verdict.
    pub(crate) fn remember(&self, appraisal: &Appraisal) {
        // There may be several proofs, and those of unknown logs are not checked.
        let passed = |name: &str| {
            let of_name = appraisal.checks.iter().filter(|check| check.name == name);
            let outcomes: Vec<Outcome> = of_name.map(|check| check.outcome).collect();
            outcomes.contains(&Outcome::Pass) && !outcomes.contains(&Outcome::Fail)
        };
        let Some(home) = &self.home else { return };
        let mut notes = Vec::new();
        if let Some((name, version)) = &self.trust
            && passed("trust_signature")
            && self.trust_version.is_none_or(|seen| seen < *version)
        {
            notes.push((name, format!("{version}\n")));
        }
        if let Some((name, signed)) = &self.log
            && passed("log_inclusion")
            && self
                .checkpoint()
                .is_none_or(|seen| seen.size() < signed.unverified().size())
        {
            notes.push((name, signed.to_text()));
        }
        for (name, text) in notes {
            let written = home.make_dir("seen").and_then(|_| {
                files::write_atomic(&home.path(name), text.as_bytes(), Mode::Private)
            });
            if let Err(failure) = written {
                output::complain(&format!(
                    "carat: not remembered for next time: {}",
                    failure.message
                ));
            }
        }
    }
}

fn read(home: &Home, name: &str) -> Result<Option<String>, Failure> {
    let path = home.path(name);
    if path.exists() {
        files::read_text(&path, "what verify remembers", MAX_SEEN).map(Some)
    } else {
        Ok(None)
    }
}

fn damaged(home: &Home, name: &str) -> Failure {
    let path = home.path(name);
    let message = format!(
        "{} is damaged; restore it from a copy, or remove it and lose what it remembers",
        path.display()
    );
    Failure::new(Exit::Store, message)
}

/// The receipt's first checkpoint of a log in the Trust file. Anybody can put a proof of an unknown log before it.
fn checkpoint_of(receipt: &ReceiptFile, trust: &Trust) -> Option<(SignedCheckpoint, String)> {
    let known = |signed: SignedCheckpoint| {
        let logs = &trust.content().logs;
        let log = logs
            .iter()
            .find(|log| log.key.name().as_str() == signed.unverified().origin())?;
        Some((signed, log.key.to_vkey()?))
    };
    let part = receipt.log.as_ref()?;
    let proofs = part
        .items
        .iter()
        .filter(|item| item.media_type.as_str() == LOG_PROOF);
    proofs
        .filter_map(|item| TlogProof::parse(&item.bytes).ok())
        .map(|proof| proof.checkpoint)
        .find_map(known)
}
