//! The node: runs models for callers, gives every answer its receipt, and keeps both.
//!
//! The first half is what the command line does as well, from the same code: the data directory ([`home`]), models on disk
//! ([`model`]), what is supplied here ([`supply`]), decisions ([`planned`], [`planning`]), signing ([`issue`]) and proofs
//! ([`prover`], [`private`], [`private_weights`]).
//!
//! The second half is the server: [`serve`](mod@serve) listens, [`api`] speaks HTTP, `page` shows the same to people, [`node`] takes a request from its arrival to its durable
//! receipt, [`keeper`] makes receipts durable in groups, [`store`] holds them, [`jobs`] does later what need not be done now.
//!
//! [`mission`] measures what it is all for: what checking costs when it follows consequence, against the alternatives.
//!
//! What a receipt is worth is decided in `carat-verify` and nowhere here.
#![forbid(unsafe_code)]

pub mod access;
pub mod answer;
pub mod api;
pub mod attesting;
pub mod audits;
pub mod call;
pub mod census;
pub mod client;
pub mod clock;
pub mod config;
pub mod connect;
pub mod courier;
pub mod exit;
pub mod facts;
pub mod files;
pub mod home;
pub mod hub;
pub mod issue;
pub mod jobs;
pub mod keeper;
pub mod load;
pub mod metrics;
pub mod mission;
pub mod model;
pub mod node;
pub mod notices;
pub mod outbound;
mod page;
pub mod period;
pub mod planned;
pub mod planning;
pub mod private;
pub mod private_weights;
pub mod problem;
mod proofs;
pub mod prover;
pub mod proxy;
pub mod queue;
pub mod rules;
pub mod serve;
pub mod served;
pub mod spending;
pub mod store;
pub mod supply;
pub mod tell;
pub mod tls;
pub mod trace;
pub mod upgrades;
