//! `appraise`: the only function that decides what a receipt is good for.
//!
//! Two kinds of failure are kept apart. *Invalid*: the receipt is altered, contradicts itself, or answers another
//! question than the one put; then every amount is zero and the verdict says so. *Blocked*: the receipt is in order, but
//! something that an amount needs is missing; the amount is zero and its reason names what is missing.

mod amounts;
mod attestation;
mod courier;
mod evidence;
mod log;
mod origin;
mod privacy;
mod proof;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::Cell;

use carat_receipt::{Amount, Digest, Execution, Label, ReceiptFile};

use crate::amounts::{Edge, Place};
use crate::appraisal::{Appraisal, Check, Outcome, Summary, TrustUsed};
use crate::question::{Question, QuestionError};
use crate::{Trust, time};

pub(crate) use attestation::BreakCost;
pub use privacy::MAX_PRIVATE_PROOFS;

/// Appraises the bytes of a receipt file. Bytes that are no receipt give an invalid Appraisal, not an error.
pub fn appraise_bytes(bytes: &[u8], question: &Question<'_>) -> Result<Appraisal, QuestionError> {
    match ReceiptFile::decode(bytes) {
        Ok(file) => appraise(&file, question),
        Err(error) => Ok(Appraisal::unreadable(error, question.amount)),
    }
}

/// Appraises a receipt.
///
/// # Errors
/// Only if the question makes no sense, such as an amount in another currency than the Trust file's.
pub fn appraise(file: &ReceiptFile, question: &Question<'_>) -> Result<Appraisal, QuestionError> {
    if let (Some(amount), Some(trust)) = (question.amount, question.trust) {
        let (asked, trust) = (amount.currency(), trust.content().currency);
        if asked != trust {
            return Err(QuestionError::Currency { asked, trust });
        }
    }
    if let Some(trust) = question.trust {
        let content = trust.content();
        let stranger = |name: &Label| content.issuers.iter().all(|issuer| issuer.name != *name);
        if let Some((name, _)) = question
            .open_exposures
            .iter()
            .find(|(name, _)| stranger(name))
        {
            return Err(QuestionError::Issuer(name.clone()));
        }
        let trust = content.currency;
        let amounts = [question.relied, question.open_exposure];
        let named = question.open_exposures.iter().map(|(_, amount)| amount);
        if let Some(other) = amounts
            .iter()
            .flatten()
            .chain(named)
            .find(|amount| amount.currency() != trust)
        {
            return Err(QuestionError::Currency {
                asked: other.currency(),
                trust,
            });
        }
    }
    let spent = Cell::new(0);
    Ok(appraise_within(file, question, Place::root(file, &spent)))
}

/// Appraises a receipt at its place among those that a question is about. Currencies were checked.
pub(crate) fn appraise_within(
    file: &ReceiptFile,
    question: &Question<'_>,
    place: Place<'_>,
) -> Appraisal {
    let mut work = Work::new(file, question, place);
    work.form();
    work.trust_file();
    work.issuer_and_log();
    work.relies_on();
    work.question();
    work.output();
    work.courier();
    work.evidence();
    work.own_replay();
    work.conclude()
}

/// The state of one appraisal.
pub(crate) struct Work<'a> {
    pub(crate) file: &'a ReceiptFile,
    pub(crate) question: &'a Question<'a>,
    /// Where this appraisal stands among those of one question.
    pub(crate) place: Place<'a>,
    /// The receipts that this one rests on, appraised.
    pub(crate) edges: Vec<Edge>,
    /// It is in a checkpoint that enough witnesses cosigned.
    pub(crate) included: bool,
    pub(crate) receipt_id: Digest,
    checks: Vec<Check>,
    /// Reasons why the receipt is invalid.
    invalid: Vec<String>,
    /// Reasons why every amount is zero.
    pub(crate) blocks_all: Vec<String>,
    /// Why a courier's receipt supports nothing but the set `courier`.
    pub(crate) carries: Option<String>,
    /// Reasons why that set is worth nothing.
    courier_blocks: Vec<String>,
    /// The opening fits the receipt.
    opened: bool,
    /// Reasons why amounts that rest on others than the relying party are zero.
    pub(crate) blocks_others: Vec<String>,
    /// The Trust file, if it may be used at all.
    pub(crate) trust: Option<&'a Trust>,
    /// Own replay that matched.
    replayed: bool,
    /// Auditors whose replay counts: name, cap.
    pub(crate) audited: Vec<(&'a carat_receipt::Label, Amount)>,
    /// Hardware that vouches for the Statement's key.
    attested: Vec<attestation::Accepted<'a>>,
    /// A simulator's evidence is attached.
    simulated: bool,
    /// By when enough witnesses had seen the receipt, if they say so.
    pub(crate) witnessed_at: Option<u64>,
    /// Proofs that verified.
    proofs: Vec<proof::Proven>,
    /// Where the input came from: `own` or `issuer`.
    pub(crate) input_from: &'static str,
}

impl<'a> Work<'a> {
    fn new(file: &'a ReceiptFile, question: &'a Question<'a>, place: Place<'a>) -> Self {
        Self {
            file,
            question,
            place,
            edges: Vec::new(),
            included: false,
            receipt_id: file.receipt_id(),
            checks: Vec::with_capacity(32),
            invalid: Vec::new(),
            blocks_all: Vec::new(),
            carries: None,
            courier_blocks: Vec::new(),
            opened: false,
            blocks_others: Vec::new(),
            trust: None,
            replayed: false,
            audited: Vec::new(),
            attested: Vec::new(),
            simulated: false,
            witnessed_at: None,
            proofs: Vec::new(),
            input_from: "issuer",
        }
    }

    fn note(&mut self, name: impl Into<String>, outcome: Outcome, reason: impl Into<String>) {
        self.checks.push(Check {
            name: name.into(),
            outcome,
            reason: reason.into(),
        });
    }

    pub(crate) fn pass(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        self.note(name, Outcome::Pass, reason);
    }

    pub(crate) fn not_made(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        self.note(name, Outcome::NotMade, reason);
    }

    pub(crate) fn fail(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        self.note(name, Outcome::Fail, reason);
    }

    /// A failure that makes the receipt invalid.
    fn refuse(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        let reason = reason.into();
        self.invalid.push(reason.clone());
        self.fail(name, reason);
    }

    /// The receipt itself: signature, Program, time, execution, upstream receipts.
    fn form(&mut self) {
        let signed = &self.file.signed;
        let statement = signed.statement();
        self.pass(
            "encoding",
            "deterministic CBOR, every section within its limits",
        );
        match signed.verify_signature() {
            Ok(()) => self.pass("signature", format!("signed by {}", statement.issuer_key)),
            Err(error) => self.refuse("signature", format!("{error}: the receipt was altered")),
        }
        self.program();
        if statement.issued_at > self.question.now.saturating_add(crate::trust::CLOCK_SKEW) {
            let reason = format!(
                "issued at {}, which is in the future",
                time::to_text(statement.issued_at)
            );
            self.blocks_others.push(reason.clone());
            self.fail("time", reason);
        } else {
            self.pass(
                "time",
                format!(
                    "issued at {} by the issuer's own clock",
                    time::to_text(statement.issued_at)
                ),
            );
        }
        match &statement.execution {
            Execution::Local => self.pass(
                "execution",
                "the issuer says that it ran the program itself",
            ),
            Execution::Courier { upstream } => {
                let reason =
                    format!("the model ran at {upstream}; passing an answer on is not execution");
                self.carries = Some(reason.clone());
                self.fail("execution", reason);
            }
        }
        let transparency = signed.transparency_receipts().len();
        if transparency > 0 {
            self.not_made(
                "transparency",
                format!("{transparency} COSE receipts; not appraised by this version"),
            );
        }
    }

    fn program(&mut self) {
        let statement = self.file.signed.statement();
        if statement.optional.courier.is_some() {
            match self.file.program {
                None => self.pass("program", "the issuer ran none, and the file carries none"),
                Some(_) => self.refuse(
                    "program",
                    "the file carries a Program, and the Statement is about an upstream's model",
                ),
            }
            return;
        }
        let expected = statement.program;
        let Some(bytes) = &self.file.program else {
            self.not_made("program", "the file does not carry the weightless Program");
            return;
        };
        match carat_program::AnyProgram::decode(bytes) {
            // The Program names the numerics that it means; a Statement that ran it under others is about something else.
            Ok(program)
                if program.digest() == expected
                    && program.profile() != statement.engine.numerics.as_str() =>
            {
                self.refuse(
                    "program",
                    format!(
                        "the Program is for {}, the Statement says that it ran under {}",
                        program.profile(),
                        statement.engine.numerics
                    ),
                );
            }
            Ok(program) if program.digest() == expected => {
                self.pass(
                    "program",
                    format!(
                        "the Program in the file is the one named: {}",
                        expected.short()
                    ),
                );
            }
            Ok(program) => self.refuse(
                "program",
                format!(
                    "the file carries Program {}, the Statement names {expected}",
                    program.digest()
                ),
            ),
            Err(error) => self.refuse(
                "program",
                format!("the Program in the file is not valid: {error}"),
            ),
        }
    }

    /// Nonce, audience, opening, input; then whether the receipt answers the relying party's question.
    fn question(&mut self) {
        let nonce = self.nonce();
        let audience = self.audience();
        let opened = self.opening();
        self.opened = opened;
        let input = self.input(opened);
        if input {
            self.input_from = "own";
            self.pass("question_matched", "the input is the one that you gave");
        } else if self.place.composer.is_some() {
            self.input_from = "named";
            self.pass(
                "question_matched",
                "the receipt that rests on this one names it",
            );
        } else if nonce && audience {
            self.pass(
                "question_matched",
                "the nonce is yours and the receipt is for you",
            );
        } else {
            let reason = "nothing shows that this receipt answers your question: give the input and its opening, or \
                          your nonce and audience";
            self.blocks_others.push(reason.into());
            self.not_made("question_matched", reason);
        }
    }

    fn nonce(&mut self) -> bool {
        let claimed = self.file.signed.statement().optional.nonce.as_ref();
        match (self.question.nonce, claimed) {
            (Some(asked), Some(claimed)) if asked == claimed.as_bytes() => {
                self.pass("nonce", "the receipt carries your nonce");
                return true;
            }
            (Some(_), Some(_)) => self.refuse(
                "nonce",
                "the receipt carries another nonce: it answers another question",
            ),
            (Some(_), None) => self.refuse(
                "nonce",
                "the receipt carries no nonce: it does not answer yours",
            ),
            (None, Some(_)) => self.not_made(
                "nonce",
                "the receipt carries a nonce; you gave none to compare",
            ),
            (None, None) => self.not_made("nonce", "neither you nor the receipt gave a nonce"),
        }
        false
    }

    fn audience(&mut self) -> bool {
        let claimed = self.file.signed.statement().optional.audience.as_ref();
        if let Some(composer) = self.composer() {
            // A receipt that another rests on was made for whoever composed that one, and it sums its own reliance.
            return match claimed {
                Some(claimed) if composer.as_ref() == Ok(claimed) => {
                    self.pass(
                        "audience",
                        format!("the receipt is for {claimed}, which rests on it"),
                    );
                    true
                }
                _ => {
                    let reason = "the receipt that rests on this one is by somebody whom it was not made for";
                    self.blocks_others.push(reason.into());
                    self.fail("audience", reason);
                    false
                }
            };
        }
        let from_trust = self
            .trust
            .and_then(|trust| trust.content().audience.as_ref());
        match (self.question.audience.or(from_trust), claimed) {
            (Some(asked), Some(claimed)) if asked == claimed => {
                self.pass("audience", format!("the receipt is for {claimed}"));
                return true;
            }
            (Some(asked), claimed) => {
                let claimed = claimed.map_or("nobody in particular".to_string(), |claimed| {
                    format!("{claimed}")
                });
                let reason = format!("the receipt is for {claimed}, you are {asked}");
                if self.question.audience.is_some() {
                    self.refuse("audience", reason);
                } else {
                    self.blocks_others.push(reason.clone());
                    self.fail("audience", reason);
                }
            }
            (None, claimed) => {
                let reason = match claimed {
                    Some(claimed) => {
                        format!("the receipt is for {claimed}; you did not say who you are")
                    }
                    None => "neither you nor the receipt named an audience".into(),
                };
                self.blocks_others.push(reason.clone());
                self.not_made("audience", reason);
            }
        }
        false
    }

    fn opening(&mut self) -> bool {
        let Some(opening) = self.question.opening else {
            self.not_made(
                "opening",
                "no opening was given; the commitments stay closed",
            );
            return false;
        };
        let statement = self.file.signed.statement();
        let facts = opening
            .facts
            .as_ref()
            .map(|facts| facts.commitment(carat_receipt::Role::Facts));
        let carried = opening.carried.as_ref().map(|carried| {
            (
                carried.sent.commitment(carat_receipt::Role::Sent),
                carried.received.commitment(carat_receipt::Role::Received),
            )
        });
        let claimed =
            (statement.optional.courier.as_ref()).map(|courier| (courier.sent, courier.received));
        let wrong = [
            (
                opening.receipt_id != self.receipt_id,
                "it belongs to another receipt",
            ),
            (
                opening.program != statement.program,
                "it names another Program",
            ),
            (
                opening.input.commitment(carat_receipt::Role::Input) != statement.input,
                "its input is not the one committed to",
            ),
            (
                opening.output.commitment(carat_receipt::Role::Output) != statement.output,
                "its output is not the one committed to",
            ),
            (
                facts.is_some() && facts != statement.optional.facts,
                "its facts are not the ones committed to",
            ),
            (
                carried != claimed,
                "what it says was carried is not what was committed to",
            ),
        ];
        match wrong.iter().find(|(wrong, _)| *wrong) {
            Some((_, reason)) => {
                self.refuse("opening", format!("the opening does not fit: {reason}"));
                false
            }
            None => {
                self.pass("opening", "input and output are the ones committed to");
                true
            }
        }
    }

    fn input(&mut self, opened: bool) -> bool {
        let Some(input) = self
            .question
            .input
            .or(self.question.own_replay.map(|replay| replay.input))
        else {
            self.not_made("input", "you gave no input to compare");
            return false;
        };
        match self.question.opening {
            Some(opening) if opened => {
                if *opening.input.bytes == input {
                    self.pass("input", "the receipt is about the input that you gave");
                    return true;
                }
                self.refuse(
                    "input",
                    "the receipt is about another input than the one that you gave",
                );
            }
            Some(_) => self.not_made("input", "the opening does not fit"),
            None => self.not_made(
                "input",
                "comparing inputs needs the opening (the .carat-open file), which holds the salt",
            ),
        }
        false
    }

    /// What the relying party's own machine computed.
    fn own_replay(&mut self) {
        let Some(replay) = self.question.own_replay else {
            self.not_made("own_replay", "you did not run the program yourself");
            return;
        };
        let statement = self.file.signed.statement();
        if replay.program != statement.program {
            let reason = format!(
                "you ran program {}, the receipt is about {}",
                replay.program, statement.program
            );
            self.refuse("own_replay", reason);
            return;
        }
        let Some(opening) = self.question.opening else {
            let reason = "comparing your result needs the opening (the .carat-open file), which holds the salts";
            self.not_made("own_replay", reason);
            return;
        };
        let input = carat_receipt::commit(
            carat_receipt::Role::Input,
            &opening.input.salt,
            replay.input,
        );
        let output = carat_receipt::commit(
            carat_receipt::Role::Output,
            &opening.output.salt,
            replay.output,
        );
        if input != statement.input {
            self.refuse(
                "own_replay",
                "you ran the program on another input than the receipt's",
            );
        } else if output != statement.output {
            let pinned =
                carat_program::pinned::is_pinned_profile(statement.engine.numerics.as_str());
            let reason = if pinned {
                "your machine computes another output: the receipt is wrong, or one of the two machines does not compute as the profile says"
            } else {
                "your machine computes another output: the receipt is wrong"
            };
            self.refuse("own_replay", reason);
        } else {
            self.replayed = true;
            self.pass("own_replay", "your machine computes the same output");
        }
    }

    fn summary(&self) -> Summary {
        let signed = &self.file.signed;
        let statement = signed.statement();
        let known = self
            .trust
            .and_then(|trust| trust.issuer_of(&statement.issuer_key));
        Summary {
            receipt_id: self.receipt_id,
            issuer: statement.issuer.clone(),
            issuer_key: statement.issuer_key,
            key_id: signed.key_id(),
            known_as: known.map(|(issuer, _)| issuer.name.clone()),
            model_name: statement.model_name.clone(),
            model_version: statement.model_version.clone(),
            program: statement.program,
            issued_at: time::to_text(statement.issued_at),
            execution: match &statement.execution {
                Execution::Local => "local".into(),
                Execution::Courier { upstream } => format!("courier({upstream})"),
            },
            audience: statement.optional.audience.clone(),
            evidence: core::iter::once("signature")
                .chain(
                    self.file
                        .evidence()
                        .iter()
                        .map(|item| attestation::shown(&item.body)),
                )
                .collect(),
        }
    }

    fn trust_used(&self) -> Option<TrustUsed> {
        let trust = self.question.trust?;
        let content = trust.content();
        Some(TrustUsed {
            name: content.name.clone(),
            version: content.version,
            digest: trust.digest(),
        })
    }
}
