//! The only door to a verdict: what a Carat receipt is good for, under which assumptions, for whoever asks.
//!
//! [`appraise`] is a pure function of a receipt, a [`Question`] and the relying party's [`Trust`] file. It reads no
//! clock, no files and no network, and nothing else in Carat decides whether a receipt is good. What each check means
//! and how amounts follow is in `docs/receipt.md` and `docs/trust.md`.
//!
//! ```
//! use carat_verify::{Question, Verdict, appraise_bytes};
//!
//! let appraisal = appraise_bytes(b"not a receipt", &Question::default())?;
//! assert_eq!(appraisal.verdict, Verdict::Invalid);
//! assert_eq!(appraisal.exit_code, 1);
//! # Ok::<(), carat_verify::QuestionError>(())
//! ```
#![forbid(unsafe_code)]
#![no_std]

extern crate alloc;

mod amounts;
mod appraisal;
mod appraise;
mod notice;
mod question;
mod registration;
mod report;
pub mod stream;
pub mod time;
pub mod trust;

pub use appraisal::{
    Appraisal, AssumptionSet, Check, Outcome, Privacy, Summary, TrustUsed, Verdict,
};
pub use appraise::{MAX_PRIVATE_PROOFS, appraise, appraise_bytes};
pub use carat_zk::ModelKey;
pub use notice::{NoticeQuestion, NoticeReport, Standing, judge_notice};
pub use question::{
    CourierAsked, OpenExposure, OwnReplay, Question, QuestionError, Remembered, Upstream, UseAt,
};
pub use registration::{Registered, RegistrationError, check_registration};
pub use report::{Report, carried_program};
pub use trust::{Trust, TrustError};
