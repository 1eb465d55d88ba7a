//! Every way in which `carat` can end: one table, from which the exit status, `carat help errors` and `docs/errors.md`
//! are made.

use std::fmt::Write as _;
use std::process::ExitCode;

/// How a command ended. The numbers are an interface: scripts depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Good,
    /// A receipt is invalid.
    Invalid,
    /// The command line makes no sense.
    Usage,
    /// A receipt rests on simulated hardware.
    Simulated,
    /// A receipt is valid and not enough.
    Insufficient,
    /// A model was refused.
    Model,
    /// An input does not fit the model.
    Input,
    /// The operating system refused a file.
    Io,
    /// No space left.
    DiskFull,
    /// A file is larger than the limit for its kind.
    TooLarge,
    /// A key, log or cache in the data directory is damaged.
    Store,
    /// Asked for something that this version does not have.
    NotAvailable,
    /// A Trust file cannot be used.
    Trust,
    /// Another process holds what this one needs.
    Busy,
    /// A measurement or an audit found a fault.
    CheckFailed,
    /// An opening does not fit, or a replay contradicts a receipt.
    Mismatch,
    /// Nothing that is supplied covers what is at stake.
    Refused,
    /// A proof would need more memory than allowed.
    Memory,
    /// A version of a hub was taken down, or does not leave it.
    Withheld,
    /// A fault of Carat itself.
    Internal,
    /// Ctrl-C, or a request to terminate.
    Interrupted,
}

/// One row of the table.
pub struct Row {
    /// The case.
    pub exit: Exit,
    /// Exit status.
    pub code: u8,
    /// Name in JSON.
    pub kind: &'static str,
    /// When it happens.
    pub when: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

const fn row(
    exit: Exit,
    code: u8,
    kind: &'static str,
    when: &'static str,
    remedy: &'static str,
) -> Row {
    Row {
        exit,
        code,
        kind,
        when,
        remedy,
    }
}

/// The table, in the order of the codes. Codes 0 to 4 of `carat verify` are fixed by the receipt's specification.
#[rustfmt::skip] // one row, one line
pub const TABLE: &[Row] = &[
    row(Exit::Good, 0, "good", "The command did what was asked. `verify`: the receipt is good for the amount asked, or, without an amount, for something.", "Nothing."),
    row(Exit::Invalid, 1, "invalid", "`verify`: the receipt is malformed, altered, contradicted by your own replay, or the answer to another question. `tee verify`: the evidence is rejected; the reason code says why. `policy check`: the policy has an error. `model key --check`, `trust add registration`: the registration is malformed or does not hold.", "Do not rely on it. Ask its issuer for an undamaged receipt that carries your nonce and names you."),
    row(Exit::Usage, 2, "usage", "The command line makes no sense: an unknown option, a missing argument, a malformed amount, an amount in another currency than the Trust file's.", "Read the message and `carat help COMMAND`."),
    row(Exit::Simulated, 3, "simulated", "`verify`: valid, but its attestation comes from simulated hardware. `tee verify`: the evidence was made by a simulator.", "Use it for tests only."),
    row(Exit::Insufficient, 4, "insufficient", "`verify`: valid, but not enough for the amount, or nothing vouches for it.", "The output says what would be enough: a Trust file, your own replay, an auditor's replay, a higher cap."),
    row(Exit::Model, 10, "model-refused", "A model cannot be imported or compiled, or a compiled model is damaged.", "The message names the node, the operator or the section. Change the model, or compile it again from its source."),
    row(Exit::Input, 11, "bad-input", "An input file does not fit the model: wrong shape, type, size or format, or a value that has no number (NaN).", "`carat model inspect MODEL` prints what the model takes."),
    row(Exit::Io, 12, "io", "A file is missing, cannot be read or cannot be written. Nothing was left under the final name.", "Check the path and its permissions."),
    row(Exit::DiskFull, 13, "disk-full", "No space is left. Nothing was left under the final name; what was acknowledged before is safe.", "Free space, then run the command again."),
    row(Exit::TooLarge, 14, "too-large", "A file is larger than the limit for its kind. It was not read.", "Check that it is the file you mean; the message names the limit."),
    row(Exit::Store, 15, "damaged-store", "A key, the log or another file of the data directory is damaged or does not belong together.", "Change nothing; restore the directory from a copy. `carat log audit` says what is wrong with a log. A key that hides weights is not restored: make a new one (`carat model key MODEL --private --new`)."),
    row(Exit::NotAvailable, 16, "not-available", "The command line asks for something that this version does not have yet.", "Leave the option away; the message says what works today."),
    row(Exit::Trust, 17, "trust-refused", "A Trust file does not parse, breaks a rule, is unsigned, was changed after signing, is out of date or belongs to another key.", "`carat trust check FILE` says which; edit the file and `carat trust sign FILE`."),
    row(Exit::Busy, 18, "busy", "Another process holds the log of the data directory.", "Wait for it to end, or use another `--data-dir`."),
    row(Exit::CheckFailed, 19, "check-failed", "A measurement, a conformance run or an audit ended and found a fault, or a bar was missed.", "The output lists each finding."),
    row(Exit::Mismatch, 20, "mismatch", "Files that must belong together do not: an opening of another receipt, a model of another program, or a replay that gives another answer than the receipt says.", "Give the files that belong to this receipt. If they are the right ones, the receipt is wrong: keep both."),
    row(Exit::Refused, 21, "refused", "`run`, `plan`: nothing that is supplied here covers what is at stake, or the policy does not say what is. Nothing was run. `prove`: input and output of the receipt were proven without showing them as often as they may be, or a key that hides the weights is used up.", "The message says what would be sufficient and what is covered: state less, supply auditors and a bond in environment.toml, or change the policy. For a further private proof, run the model again, or make a new key."),
    row(Exit::Memory, 22, "needs-memory", "A proof would need more memory than `--memory-limit` allows. It was not started.", "Allow more, or prove fewer receipts at once; the message gives the estimate."),
    row(Exit::Withheld, 26, "withheld", "`hub`: the version was taken down, or it is private, so that its files do not leave the hub.", "The message has the reason and the date, or says that it is private. Choose another version."),
    row(Exit::Internal, 70, "internal", "A fault of Carat itself.", "Please report it with the message and, if you can, the file."),
    row(Exit::Interrupted, 130, "interrupted", "Ctrl-C or a request to terminate. No partial file was left.", "Run the command again."),
];

impl Exit {
    fn row(self) -> &'static Row {
        // A test checks that every case has a row.
        TABLE
            .iter()
            .find(|row| row.exit == self)
            .unwrap_or(&TABLE[0])
    }

    /// Exit status.
    pub fn code(self) -> u8 {
        self.row().code
    }

    /// The case with an exit status that an Appraisal gives.
    pub fn from_verdict(code: u8) -> Self {
        TABLE
            .iter()
            .find(|row| row.code == code)
            .map_or(Self::Internal, |row| row.exit)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// A command that did not do what was asked, with a sentence for people.
#[derive(Debug)]
pub struct Failure {
    /// How it ends.
    pub exit: Exit,
    /// What happened and what to do.
    pub message: String,
}

impl Failure {
    /// A failure with its message.
    pub fn new(exit: Exit, message: impl ToString) -> Self {
        Self {
            exit,
            message: message.to_string(),
        }
    }

    /// For `map_err`: the error's own sentence.
    pub fn of<E: ToString>(exit: Exit) -> impl FnOnce(E) -> Self {
        move |error| Self::new(exit, error)
    }

    /// What `--json` prints.
    pub fn to_json(&self) -> serde_json::Value {
        let row = self.exit.row();
        let mut json = serde_json::json!({
            "error": { "code": row.code, "kind": row.kind, "message": self.message, "remedy": row.remedy },
        });
        // A request that no plan was made for: whoever reads plans looks for the reason there.
        if self.exit == Exit::Refused {
            json["refusal"] = serde_json::json!({ "reason": self.message });
        }
        json
    }
}

/// The table as plain text, for `carat help errors`.
pub fn table_text() -> String {
    let mut text = String::from(
        "Exit statuses of carat. `--json` prints the same as {\"error\": {code, kind, message, remedy}}.\n",
    );
    for row in TABLE {
        let _ = write!(
            text,
            "\n{:>3}  {}\n     {}\n     {}\n",
            row.code, row.kind, row.when, row.remedy
        );
    }
    text
}

/// The table as the page `docs/errors.md`.
pub fn table_markdown() -> String {
    let mut text = String::from(
        "# Exit statuses and errors\n\n\
         Made from `crates/carat-node/src/exit.rs` by `carat help errors --markdown`; a test fails when this page is stale.\n\n\
         Errors are one sentence on standard error that says what happened and what to do. With `--json`, standard output holds\n\
         `{\"error\": {\"code\", \"kind\", \"message\", \"remedy\"}}`. No command leaves a partial file under a final name.\n\n\
         | code | kind | when | what to do |\n|---|---|---|---|\n",
    );
    for row in TABLE {
        let _ = writeln!(
            text,
            "| {} | `{}` | {} | {} |",
            row.code, row.kind, row.when, row.remedy
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_one_row_and_one_code() {
        use Exit::*;
        let all = [
            Good,
            Invalid,
            Usage,
            Simulated,
            Insufficient,
            Model,
            Input,
            Io,
            DiskFull,
            TooLarge,
            Store,
            NotAvailable,
            Trust,
            Busy,
            CheckFailed,
            Mismatch,
            Refused,
            Memory,
            Withheld,
            Internal,
            Interrupted,
        ];
        assert_eq!(all.len(), TABLE.len());
        for exit in all {
            assert_eq!(TABLE.iter().filter(|row| row.exit == exit).count(), 1);
            assert_eq!(
                TABLE.iter().filter(|row| row.code == exit.code()).count(),
                1
            );
        }
        assert!(TABLE.is_sorted_by_key(|row| row.code));
    }

    #[test]
    fn verdicts_and_the_table_agree() {
        for (verdict, exit) in [
            (carat_verify::Verdict::Good, Exit::Good),
            (carat_verify::Verdict::Invalid, Exit::Invalid),
            (carat_verify::Verdict::Simulated, Exit::Simulated),
            (carat_verify::Verdict::Insufficient, Exit::Insufficient),
        ] {
            assert_eq!(verdict.exit_code(), exit.code());
            assert_eq!(Exit::from_verdict(verdict.exit_code()), exit);
        }
    }
}
