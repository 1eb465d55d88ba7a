//! What a server says about an upgrade: kept beside the receipt, checked offline.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use carat_log::VerifierKey;
use carat_node::call::from_base64;
use carat_receipt::notice::MAX_NOTICE_FILE_BYTES;
use carat_receipt::statement::MAX_TIME;
use carat_receipt::{NoticeFile, ReceiptFile};
use carat_verify::time::to_text;
use carat_verify::{NoticeQuestion, NoticeReport, Outcome as CheckOutcome, Standing, judge_notice};
use serde_json::Value;

use crate::commands::Outcome;
use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::home;
use crate::output::Answer;
use crate::render::{self, Table};

/// What a server is told about, and by whom.
pub(super) struct Told<'a> {
    /// The file of the receipt.
    pub(super) receipt: &'a Path,
    /// The receipt.
    pub(super) own: &'a ReceiptFile,
    /// The nonce that was sent.
    pub(super) nonce: &'a [u8],
}

impl Told<'_> {
    /// Keeps the signed refusal of a problem document; the failure that says so. `None`: it has none.
    pub(super) fn refused(&self, problem: &Value) -> Option<Failure> {
        let text = problem["refusal"].as_str()?;
        let detail = problem["detail"].as_str().unwrap_or("it gave no reason");
        let kept = self.keep(text, "refusal");
        let kept = kept.unwrap_or_else(|failure| failure.message);
        let message = format!("the server refused: {}; {kept}", render::plain(detail));
        Some(Failure::new(Exit::Refused, message))
    }

    /// Keeps the promise of a job that goes on, and the miss where it is late: where they are, for the message.
    pub(super) fn promised(&self, job: &Value) -> Result<String, Failure> {
        let mut kept = String::new();
        for kind in ["promise", "miss"] {
            if let Some(text) = job["notices"][kind].as_str() {
                let _ = write!(kept, "; {}", self.keep(text, kind)?);
            }
        }
        Ok(kept)
    }

    fn keep(&self, text: &str, kind: &str) -> Result<String, Failure> {
        let file = from_base64(text).and_then(|bytes| NoticeFile::decode(&bytes).ok());
        let Some(file) = file else {
            return Ok(format!("its {kind} cannot be read and was not kept"));
        };
        let question = NoticeQuestion {
            receipt: self.own,
            now: home::clock()?,
            nonce: Some(self.nonce),
            log: None,
        };
        // Somebody else may have asked first; then the promise carries that nonce, and is a promise all the same.
        let own = judge_notice(&file, &question);
        let other = judge_notice(
            &file,
            &NoticeQuestion {
                nonce: None,
                ..question
            },
        );
        let said_to_others = kind != "refusal" && other.genuine;
        if !own.genuine && !said_to_others {
            return Ok(format!(
                "its {kind} is not signed by the key that issued the receipt, or answers another request, and was not kept"
            ));
        }
        let path: PathBuf = files::sibling(self.receipt, &format!("{kind}.carat-notice"));
        files::write_atomic(&path, &file.encode(), Mode::Shared)?;
        Ok(format!("its signed {kind} is in {}", path.display()))
    }
}

/// `carat upgrade --check`.
pub(super) fn check(
    path: &Path,
    receipt: &ReceiptFile,
    nonce: Option<&[u8]>,
    log: Option<&VerifierKey>,
) -> Outcome {
    let bytes = files::read_capped(path, "a notice", MAX_NOTICE_FILE_BYTES as u64)?;
    let file = NoticeFile::decode(&bytes)
        .map_err(|error| Failure::new(Exit::Invalid, format!("{}: {error}", path.display())))?;
    let question = NoticeQuestion {
        receipt,
        now: home::clock()?,
        nonce,
        log,
    };
    let report = judge_notice(&file, &question);
    let json = serde_json::to_value(&report).map_err(Failure::of(Exit::Internal))?;
    let exit = if report.genuine {
        Exit::Good
    } else {
        Exit::Invalid
    };
    let text = text(&report);
    Ok((Answer { text, json }, exit))
}

fn text(report: &NoticeReport) -> String {
    let time = |seconds: u64| to_text(seconds.min(MAX_TIME));
    let by = report.by.map(time).unwrap_or_default();
    let said = match report.standing {
        Standing::Promised => format!("a proof is promised by {by}"),
        Standing::ProofAttached => {
            format!(
                "a proof was promised by {by}; the receipt has one, and carat verify says whether it is good"
            )
        }
        Standing::Overdue => {
            format!("a proof was promised by {by}; the time is over, and this receipt has none")
        }
        Standing::Refused => format!(
            "a proof is refused: {} ({})",
            report.detail.as_deref().unwrap_or_default(),
            report.reason.as_deref().unwrap_or_default()
        ),
        Standing::Missed => format!("a proof was promised by {by} and was not there"),
    };
    let mut text = format!(
        "{}: {said}\n\n",
        if report.genuine {
            "GENUINE"
        } else {
            "NOT GENUINE"
        }
    );
    let mut rows = Table::new(2);
    rows.row(["Said by", &report.issuer]);
    rows.row(["Said at", &time(report.said_at)]);
    rows.row(["Receipt", &report.receipt_id.to_string()]);
    text.push_str(&rows.render("  "));
    let mut rows = Table::new(3);
    for check in &report.checks {
        let mark = match check.outcome {
            CheckOutcome::Pass => "pass",
            CheckOutcome::Fail => "FAIL",
            CheckOutcome::NotMade => "not made",
        };
        rows.row([mark, &check.name, &check.reason]);
    }
    let _ = write!(text, "\nChecks\n{}", rows.render("  "));
    text
}
