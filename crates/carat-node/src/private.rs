//! How often the commitment to an input and an output has been used in a proof.
//!
//! Each proof that hides input and output shows some leaves of the Statement's `io/v1` commitment, and the leaves of three
//! proofs are all that may ever be shown of one (`docs/io-commitment.md`). Whoever holds the opening can prove, so no machine
//! can know of every proof; each counts its own, and what it sees in the receipt.

use std::path::Path;

use carat_receipt::evidence::{Body, Evidence};
use carat_receipt::{Digest, ReceiptFile};
use carat_verify::MAX_PRIVATE_PROOFS;

use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::home::Home;

/// Where the counts are, in the data directory: a file for each commitment.
const DIRECTORY: &str = "private-proofs";
/// Largest such file: a number and a digest for each of the few proofs.
const MAX_BYTES: u64 = 4096;

/// No further proof may be made about a commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{MAX_PRIVATE_PROOFS} proofs that hide this input and output were made, and a further one could show parts of them; \
     run the model again with --prove zk --private input, which gives a receipt with a commitment of its own"
)]
pub struct Spent;

/// What is kept of one commitment: a number, and then a line for each proof that is known by its digest and in the number already.
/// One that was begun and lost has no line.
struct Count {
    total: usize,
    known: Vec<Digest>,
}

impl Count {
    fn read(path: &Path) -> Result<Self, Failure> {
        if !path.exists() {
            return Ok(Self {
                total: 0,
                known: Vec::new(),
            });
        }
        let text = files::read_text(path, "a count of private proofs", MAX_BYTES)?;
        let mut lines = text.lines();
        let total = lines.next().and_then(|line| line.trim().parse().ok());
        let known: Result<Vec<Digest>, _> = lines.map(str::parse).collect();
        match (total, known) {
            (Some(total), Ok(known)) => Ok(Self { total, known }),
            _ => {
                let message = format!("{} holds no count of proofs", path.display());
                Err(Failure::new(Exit::Store, message))
            }
        }
    }

    fn write(&self, path: &Path) -> Result<(), Failure> {
        let mut text = format!("{}\n", self.total);
        for digest in &self.known {
            text.push_str(&format!("{digest}\n"));
        }
        files::write_atomic(path, text.as_bytes(), Mode::Private)
    }
}

fn digest_of(evidence: &Evidence) -> Digest {
    Digest::sha256(&evidence.encode())
}

/// Counts one more proof that hides the values under a commitment, before it is made: one that is lost counts too, and so does each
/// in the receipt that was not counted yet. Gives how many there are now.
///
/// # Errors
/// [`Spent`], as a refusal; those of the file.
pub fn count_one(home: &Home, root: &Digest, receipt: &ReceiptFile) -> Result<usize, Failure> {
    let path = home.make_dir(DIRECTORY)?.join(root.to_string());
    let _held = home.hold()?;
    let mut count = Count::read(&path)?;
    let hides = |item: &&Evidence| matches!(&item.body, Body::Proof(body) if body.hides.values);
    for item in receipt.evidence().iter().filter(hides) {
        let digest = digest_of(item);
        if !count.known.contains(&digest) {
            count.known.push(digest);
            count.total += 1;
        }
    }
    count.total += 1;
    if count.total > MAX_PRIVATE_PROOFS {
        return Err(Failure::of(Exit::Refused)(Spent));
    }
    count.write(&path)?;
    Ok(count.total)
}

/// Keeps in mind that a proof, of those that were counted before they were made, is this one: finding it in the receipt later is no
/// further proof. Called before the proof leaves.
///
/// # Errors
/// Those of the file.
pub fn remember(home: &Home, root: &Digest, evidence: &Evidence) -> Result<(), Failure> {
    let path = home.make_dir(DIRECTORY)?.join(root.to_string());
    let _held = home.hold()?;
    let mut count = Count::read(&path)?;
    count.known.push(digest_of(evidence));
    count.write(&path)
}
