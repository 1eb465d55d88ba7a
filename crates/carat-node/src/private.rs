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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use carat_receipt::Label;
    use carat_receipt::evidence::{Evidence, Hides, Proof, ZK, ZK_PROTOCOL};

    fn receipt(proofs: u8) -> ReceiptFile {
        let bytes = include_bytes!("../../carat-verify/tests/fixtures/signature.carat");
        let mut file = ReceiptFile::decode(bytes).unwrap();
        let statement = file.receipt_id();
        for i in 0..proofs {
            let body = Body::Proof(Proof {
                protocol: Label::new(ZK_PROTOCOL).unwrap(),
                mode: Label::new(ZK).unwrap(),
                hides: Hides {
                    values: true,
                    weights: false,
                },
                profile: Label::new("proven-100").unwrap(),
                weights_root: statement,
                statements: vec![statement],
                bits: 100,
                proof: vec![i],
            });
            file.add_evidence(Evidence { statement, body }).unwrap();
        }
        file
    }

    #[test]
    fn three_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        let (one, other) = (Digest::sha256(b"one"), Digest::sha256(b"other"));
        for n in 1..=MAX_PRIVATE_PROOFS {
            assert_eq!(count_one(&home, &one, &receipt(0)).unwrap(), n);
        }
        let refused = count_one(&home, &one, &receipt(0)).unwrap_err();
        assert_eq!(refused.exit, Exit::Refused);
        assert_eq!(refused.message, Spent.to_string());
        // Each commitment has its own count, and what is in the receipt already counts, wherever it was made.
        assert_eq!(count_one(&home, &other, &receipt(2)).unwrap(), 3);
        assert_eq!(
            count_one(&home, &Digest::sha256(b"third"), &receipt(3))
                .unwrap_err()
                .exit,
            Exit::Refused
        );
        // A count that cannot be read is not taken for none.
        std::fs::write(home.path(DIRECTORY).join(one.to_string()), "x").unwrap();
        assert_eq!(
            count_one(&home, &one, &receipt(0)).unwrap_err().exit,
            Exit::Store
        );
    }
}
