//! How often the commitment to an input and an output has been used in a proof.
//!
//! Each proof that hides input and output shows some leaves of the Statement's `io/v1` commitment, and the leaves of three
//! proofs are all that may ever be shown of one (`docs/io-commitment.md`). Whoever holds the opening can prove, so no machine
//! can know of every proof; each counts its own, and on top of them those of others that it sees in the receipt.

use std::path::Path;

use carat_receipt::evidence::Body;
use carat_receipt::{Digest, ReceiptFile};
use carat_verify::MAX_PRIVATE_PROOFS;

use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::home::Home;

/// Where the counts are, in the data directory: a file for each commitment.
const DIRECTORY: &str = "private-proofs";

/// Longest of these files.
const MAX_FILE: u64 = 4096;

/// No further proof may be made about a commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{MAX_PRIVATE_PROOFS} proofs that hide this input and output were made, and a further one could show parts of them; \
     run the model again with --prove zk --private input, which gives a receipt with a commitment of its own"
)]
pub struct Spent;

/// Counts one more proof that hides the values under a commitment, before it is made: one that is lost counts too.
/// Gives how many there are now. Proofs in the receipt that were not made here ([`made`]) come on top of those that were.
///
/// # Errors
/// [`Spent`], as a refusal; those of the file.
pub fn count_one(home: &Home, root: &Digest, receipt: &ReceiptFile) -> Result<usize, Failure> {
    let path = home.make_dir(DIRECTORY)?.join(root.to_string());
    let _held = home.hold()?;
    let mut count = Count::read(&path)?;
    for item in receipt.evidence() {
        if let Body::Proof(body) = &item.body
            && body.hides.values
        {
            let proof = Digest::sha256(&body.proof);
            if !count.known.contains(&proof) {
                count.proofs = count.proofs.saturating_add(1);
                count.known.push(proof);
            }
        }
    }
    count.proofs = count.proofs.saturating_add(1);
    if count.proofs > MAX_PRIVATE_PROOFS {
        return Err(Failure::of(Exit::Refused)(Spent));
    }
    count.write(&path)?;
    Ok(count.proofs)
}

/// Remembers which proof came of what [`count_one`] counted, so that it is not counted again where it is seen in a receipt.
///
/// # Errors
/// Those of the file.
pub fn made(home: &Home, root: &Digest, proof: &[u8]) -> Result<(), Failure> {
    let path = home.make_dir(DIRECTORY)?.join(root.to_string());
    let _held = home.hold()?;
    let mut count = Count::read(&path)?;
    count.known.push(Digest::sha256(proof));
    count.write(&path)
}

/// What is known of the proofs about one commitment: in a file, a line each.
#[derive(Default)]
struct Count {
    /// How many there are.
    proofs: usize,
    /// SHA-256 of those of them that are known.
    known: Vec<Digest>,
}

impl Count {
    fn read(path: &Path) -> Result<Self, Failure> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = files::read_text(path, "a count of private proofs", MAX_FILE)?;
        let wrong = || {
            let message = format!("{} holds no count of proofs", path.display());
            Failure::new(Exit::Store, message)
        };
        let mut lines = text.lines();
        let proofs = lines.next().unwrap_or_default().parse();
        let known = lines.map(|line| line.parse().map_err(|_| wrong()));
        Ok(Self {
            proofs: proofs.map_err(|_| wrong())?,
            known: known.collect::<Result<_, _>>()?,
        })
    }

    fn write(&self, path: &Path) -> Result<(), Failure> {
        let mut text = format!("{}\n", self.proofs);
        for proof in &self.known {
            text.push_str(&format!("{proof}\n"));
        }
        files::write_atomic(path, text.as_bytes(), Mode::Private)
    }
}
