//! Carat receipts: what was computed, by whom, and what supports it.
//!
//! A [`Statement`] says that a Program on an input gave an output; [`SignedStatement`] is that Statement under its
//! issuer's signature, and its `receipt_id` is what all [`Evidence`] speaks about. [`ReceiptFile`] is what people pass
//! around; [`Opening`] holds the salts and values that the receipt only commits to.
//!
//! This crate knows formats and nothing about worth: whether a key, a model or a log is to be believed is decided by
//! `carat-verify` from a Trust file. It is `no_std + alloc`; the feature `std` adds what needs the operating system's
//! randomness.
//!
//! The formats are specified in `docs/receipt.md`, `docs/receipt.cddl` and `docs/binding.md`.
#![forbid(unsafe_code)]
#![no_std]

extern crate alloc;

pub mod air;
pub mod amount;
pub mod cbor;
pub mod claims;
pub mod commit;
pub mod cose;
pub mod courier;
pub mod digest;
pub mod domain;
pub mod evidence;
pub mod file;
pub mod key;
pub mod label;
mod leaf;
pub mod notice;
pub mod registration;
pub mod statement;

pub use amount::{Amount, AmountError, Currency};
pub use cbor::DecodeError;
pub use commit::{Opened, Opening, Role, Salt, commit};
pub use cose::SignedStatement;
pub use digest::{Digest, DigestError};
pub use evidence::Evidence;
pub use file::{LogItem, LogPart, ReceiptFile};
pub use key::{KeyError, KeyId, PublicKey, Signature, SignatureError, SigningKey};
pub use label::{Label, LabelError};
pub use leaf::leaf;
pub use notice::{Notice, NoticeFile, Said, SignedNotice};
pub use registration::Registration;
pub use statement::{
    Engine, Execution, Nonce, Parameter, Parameters, Plan, Statement, StatementError,
};
