//! Records of audits: which entries of a log were drawn, and what running them again found. `carat audit` makes them; whoever
//! shows them reads them here, where each is checked against the log.

pub mod leaves;
pub mod record;

pub use leaves::Entries;
pub use record::{Audited, Finding, Record, Records};
