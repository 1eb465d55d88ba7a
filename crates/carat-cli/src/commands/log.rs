//! `carat log`: the local log, and audits of any log directory.

use std::fmt::Write as _;
use std::path::PathBuf;

use carat_log::store::audit;
use carat_log::{Hash, SignedCheckpoint, VerifierKey, leaf_hash};
use carat_receipt::file::MAX_FILE_BYTES;
use carat_receipt::{ReceiptFile, leaf};
use clap::Subcommand;
use serde_json::json;

use super::{Context, Outcome};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::home::{Home, log_failure};
use crate::output::{Answer, Progress};
use crate::render::Table;

/// Show, prove and audit the log that receipts are appended to.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the local log: its key, its size, its last checkpoint.
    #[command(
        after_help = "Examples:\n  carat log show\n  carat log show --key      the verifier key alone, for a Trust file"
    )]
    Show {
        /// Print the verifier key alone.
        #[arg(long)]
        key: bool,
        /// Print the checkpoint alone, to remember it for a later audit.
        #[arg(long, conflicts_with = "key")]
        checkpoint: bool,
    },
    /// Print the inclusion proof of an entry of the local log (C2SP tlog-proof).
    #[command(after_help = "Examples:\n  carat log proof receipt.carat\n  carat log proof 17")]
    Proof {
        /// A receipt, or the index of an entry.
        entry: String,
    },
    /// Recompute a log from its entries and check everything. Exit status 19 if something is wrong.
    #[command(
        after_help = "Examples:\n  carat log audit\n  carat log audit /srv/log --key \"log.example/receipts+f2d0b1a9+AZ...\" --previous remembered-checkpoint"
    )]
    Audit {
        /// Directory of the log [default: the local log].
        dir: Option<PathBuf>,
        /// The log's verifier key [default: the local log's].
        #[arg(long, value_name = "VKEY")]
        key: Option<String>,
        /// A checkpoint that you remembered: the log must still begin with it.
        #[arg(long, value_name = "FILE")]
        previous: Option<PathBuf>,
    },
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let home = context.home()?;
    match args.command {
        Command::Show { key, checkpoint } => show(&home, key, checkpoint),
        Command::Proof { entry } => proof(&home, &entry),
        Command::Audit { dir, key, previous } => run_audit(&home, dir, key, previous),
    }
}

fn local(home: &Home) -> Result<carat_log::store::Log, Failure> {
    check_exists(home)?;
    home.log()
}

fn check_exists(home: &Home) -> Result<(), Failure> {
    if !home.has_log() {
        let message = format!(
            "there is no log in {} yet; the first `carat run` makes it",
            home.root().display()
        );
        return Err(Failure::new(Exit::Io, message));
    }
    Ok(())
}

fn vkey_text(key: &VerifierKey) -> String {
    // Only promise keys have no text form.
    key.to_vkey().unwrap_or_default()
}

fn show(home: &Home, key_only: bool, checkpoint_only: bool) -> Outcome {
    let log = local(home)?;
    let vkey = vkey_text(&log.verifier());
    let signed = log.checkpoint();
    let checkpoint = signed.unverified();
    let json = json!({
        "origin": checkpoint.origin(),
        "verifier_key": vkey,
        "entries": log.len(),
        "published": checkpoint.size(),
        "root": checkpoint.root().to_base64(),
        "checkpoint": signed.to_text(),
        "path": home.path("log"),
    });
    let text = if key_only {
        vkey
    } else if checkpoint_only {
        signed.to_text()
    } else {
        let mut rows = Table::new(2);
        rows.row(["Origin", checkpoint.origin()]);
        rows.row(["Key", &vkey]);
        rows.row([
            "Entries",
            &format!(
                "{}, {} of them under the checkpoint",
                log.len(),
                checkpoint.size()
            ),
        ]);
        rows.row(["Kept in", &home.path("log").display().to_string()]);
        format!("{}\n{}", rows.render(""), signed.to_text())
    };
    Ok((Answer { text, json }, Exit::Good))
}

fn proof(home: &Home, entry: &str) -> Outcome {
    let log = local(home)?;
    let index = match entry.parse::<u64>() {
        Ok(index) => index,
        Err(_) => log.index_of(leaf_of(entry)?).map_err(log_failure)?,
    };
    if index >= log.checkpoint().unverified().size() {
        log.publish().map_err(log_failure)?;
    }
    let proof = log.tlog_proof(index).map_err(log_failure)?;
    let text = proof.to_text();
    let json = json!({ "index": index, "proof": text });
    Ok((Answer { text, json }, Exit::Good))
}

/// Hash of the leaf of a receipt file.
fn leaf_of(path: &str) -> Result<Hash, Failure> {
    let bytes = files::read_capped(path.as_ref(), "a receipt", MAX_FILE_BYTES as u64)?;
    let file = ReceiptFile::decode(&bytes)
        .map_err(|error| Failure::new(Exit::Invalid, format!("{path}: {error}")))?;
    let Some(part) = &file.log else {
        let message = format!("{path} carries nothing from a log, so its leaf cannot be found");
        return Err(Failure::new(Exit::Mismatch, message));
    };
    let plan = file.signed.statement().optional.plan.as_ref();
    let leaf = leaf(&part.blind, &file.receipt_id(), plan.map(|plan| plan.tau));
    Ok(leaf_hash(&leaf))
}

fn run_audit(
    home: &Home,
    dir: Option<PathBuf>,
    key: Option<String>,
    previous: Option<PathBuf>,
) -> Outcome {
    let key = match (&key, &dir) {
        (Some(text), _) => VerifierKey::from_vkey(text).map_err(Failure::of(Exit::Usage))?,
        (None, None) => {
            check_exists(home)?;
            home.log_verifier()?
        }
        (None, Some(_)) => {
            let message = "an audit of another log needs its key: give --key VKEY, which its operator publishes";
            return Err(Failure::new(Exit::Usage, message));
        }
    };
    let previous = previous
        .map(|path| {
            let bytes = files::read_capped(&path, "a checkpoint", 1 << 20)?;
            SignedCheckpoint::parse(&bytes)
                .map_err(|error| Failure::new(Exit::Input, format!("{}: {error}", path.display())))
        })
        .transpose()?;
    let dir = dir.unwrap_or_else(|| home.path("log"));
    let progress = Progress::start(format!("auditing {}", dir.display()));
    let report = audit(&dir, &key, previous.as_ref()).map_err(log_failure)?;
    drop(progress);
    let mut text = format!(
        "{}: {}\n",
        dir.display(),
        if report.ok {
            "nothing is wrong"
        } else {
            "SOMETHING IS WRONG"
        }
    );
    let mut rows = Table::new(2);
    rows.row(["Origin", &report.origin]);
    rows.row(["Entries", &report.size.to_string()]);
    rows.row(["Root", &report.root]);
    rows.row([
        "Recomputed",
        report.recomputed_root.as_deref().unwrap_or("impossible"),
    ]);
    rows.row([
        "Signature",
        if report.signature_ok {
            "by the given key"
        } else {
            "NOT by the given key"
        },
    ]);
    rows.row(["Files compared", &report.files_checked.to_string()]);
    if let Some(pending) = report.pending_entries {
        rows.row([
            "Pending",
            &format!("{pending} entries under no checkpoint yet"),
        ]);
    }
    if let Some(consistent) = report.consistent_with_previous {
        rows.row([
            "Remembered",
            if consistent {
                "the log still begins with the remembered checkpoint"
            } else {
                "THE LOG NO LONGER BEGINS WITH THE REMEMBERED CHECKPOINT"
            },
        ]);
    }
    text.push_str(&rows.render(""));
    for finding in &report.findings {
        let _ = writeln!(text, "  - {}: {}", finding.path.display(), finding.what);
    }
    if let Some(equivocation) = &report.equivocation {
        let _ = write!(text, "\n{equivocation}");
    }
    let json = serde_json::to_value(&report).map_err(Failure::of(Exit::Internal))?;
    let exit = if report.ok {
        Exit::Good
    } else {
        Exit::CheckFailed
    };
    Ok((Answer { text, json }, exit))
}
