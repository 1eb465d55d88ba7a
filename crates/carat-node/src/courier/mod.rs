//! The courier: answers of upstream services that speak OpenAI's interface, passed on with a receipt that says so.
//!
//! ```text
//! caller -> api::openai -> Ask (what is asked, by bytes) -> Upstream -> exchange -> Passed -> receipt -> keeper -> caller
//! ```
//!
//! Bytes are hashed and passed on as they are: nothing is parsed and written again. The one change is the model's name in the
//! request, where the operator gave it another name. A courier's receipt proves nothing about the model (`docs/courier.md`).

pub mod ask;
pub mod config;
pub mod fault;
pub mod passed;
pub mod sse;
pub mod stream;
pub mod upstream;
pub mod whole;

pub use ask::{Ask, Endpoint};
pub use config::UpstreamEntry;
pub use fault::CourierFault;
pub use upstream::{Couriers, Offer, Upstream};

/// What the line begins with that the courier adds at the end of a stream; the receipt's id follows.
pub const TRAILER: &str = ": carat-receipt ";

/// The comment that ends a stream. Clients of server-sent events ignore comments.
pub fn trailer(receipt: &carat_receipt::Digest) -> String {
    format!("{TRAILER}{receipt}\n\n")
}
