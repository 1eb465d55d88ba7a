//! A registry of models: what they are made of, what they are called, and what is known about them.
//!
//! ```text
//! blobs       files by their SHA-256, written whole or not at all, checked whenever they are read
//! manifest    the files of one version under their names; its own SHA-256 is the version's digest
//! catalogue   owner/name -> versions, tags with their history, takedowns, what examining a version found
//! search      an index in memory over the newest version of each model that is listed
//! ```
//!
//! A digest never changes what it names, and neither does a version. Tags move, and their history says from where to where. A
//! version that is taken down keeps its name, its digest and the reason; its bytes go.
//!
//! Nothing here runs a model or listens on a socket: `carat-node` examines what is published, serves it over HTTP, and says who
//! may publish.
#![forbid(unsafe_code)]

pub mod blobs;
pub mod card;
pub mod catalogue;
mod check;
mod error;
pub mod manifest;
pub mod name;
pub mod search;
pub mod signing;
pub mod snippet;

pub use blobs::{CHUNK_BYTES, FileReader, Upload};
pub use catalogue::{Hub, Limits, Publisher, Record, TagMove, Tombstone};
pub use check::CheckReport;
pub use error::HubError;
pub use manifest::{About, FileEntry, Manifest};
pub use name::{FilePath, RepoId, Tag, Version};
