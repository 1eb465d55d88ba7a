//! How often the commitment to an input and an output has been used in a proof.
//!
//! Each proof that hides input and output shows some leaves of the Statement's `io/v1` commitment, and the leaves of three
//! proofs are all that may ever be shown of one (`docs/io-commitment.md`). Whoever holds the opening can prove, so no machine
//! can know of every proof; each counts its own, and what it sees in the receipt.

use carat_receipt::evidence::Body;
use carat_receipt::{Digest, ReceiptFile};
use carat_verify::MAX_PRIVATE_PROOFS;

use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::home::Home;

/// Where the counts are, in the data directory: a file for each commitment.
const DIRECTORY: &str = "private-proofs";

/// No further proof may be made about a commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{MAX_PRIVATE_PROOFS} proofs that hide this input and output were made, and a further one could show parts of them; \
     run the model again with --prove zk --private input, which gives a receipt with a commitment of its own"
)]
pub struct Spent;

/// Counts one more proof that hides the values under a commitment, before it is made: one that is lost counts too.
/// Gives how many there are now.
///
/// # Errors
/// [`Spent`], as a refusal; those of the file.
pub fn count_one(home: &Home, root: &Digest, receipt: &ReceiptFile) -> Result<usize, Failure> {
    let directory = home.make_dir(DIRECTORY)?;
    let path = directory.join(root.to_string());
    let _held = home.hold()?;
    let counted = if path.exists() {
        let text = files::read_text(&path, "a count of private proofs", 32)?;
        text.trim().parse::<usize>().map_err(|_| {
            let message = format!("{} holds no number", path.display());
            Failure::new(Exit::Store, message)
        })?
    } else {
        0
    };
    let attached = receipt
        .evidence()
        .iter()
        .filter(|item| matches!(&item.body, Body::Proof(body) if body.hides.values))
        .count();
    let now = counted.max(attached) + 1;
    if now > MAX_PRIVATE_PROOFS {
        return Err(Failure::of(Exit::Refused)(Spent));
    }
    files::write_atomic(&path, format!("{now}\n").as_bytes(), Mode::Private)?;
    Ok(now)
}
