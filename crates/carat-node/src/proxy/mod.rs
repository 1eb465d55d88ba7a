//! The verifying proxy: an ordinary client talks to it on this machine, and gets an answer of a node only after its receipt was
//! appraised under the user's own Trust file; else an error that says what the answer is good for and what would be enough.
//!
//! It holds a whole answer back until then, streams too. What is passed on is what the receipt commits to, byte for byte; what a node
//! says of itself (amounts, links) is not.

mod check;
mod fault;
mod infer;
mod openai;
mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use carat_receipt::{Amount, Label, PublicKey};
use carat_verify::Trust;
use zeroize::Zeroizing;

use crate::access::is_own_name;
use crate::exit::{Exit, Failure};
use crate::outbound::{Destination, Limits, Permits};

pub use serve::{listen, router};

/// How long a connection to the node may take to open.
const CONNECT: Duration = Duration::from_secs(10);

/// What a proxy needs to know.
pub struct Config {
    /// The node: `http://HOST:PORT` or `https://...`.
    pub node: String,
    /// Authorities of its certificate, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Plain HTTP outside this machine and private networks is meant.
    pub plain_http: bool,
    /// API key for the node. Without one, the caller's own header is passed to the node.
    pub api_key: Option<Zeroizing<String>>,
    /// Whose word counts, and for how much.
    pub trust: Trust,
    /// The key that the Trust file must be signed by.
    pub trust_owner: Option<PublicKey>,
    /// Highest version of this owner's Trust file seen before.
    pub trust_version: Option<u64>,
    /// What every answer must be good for.
    pub min_good_for: Amount,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Other machines may call.
    pub expose: bool,
    /// Folder for the receipts of what was passed on.
    pub keep: Option<PathBuf>,
    /// Largest body of a request.
    pub body_bytes: usize,
    /// Largest answer; it is held whole.
    pub answer_bytes: usize,
    /// Time for an answer.
    pub patience: Duration,
    /// Connections at a time.
    pub connections: usize,
}

/// A proxy that may start.
pub struct Proxy {
    node: Destination,
    limits: Limits,
    audience: Label,
    config: Config,
}

impl Proxy {
    /// Checks a configuration.
    ///
    /// # Errors
    /// [`Exit::Usage`], or [`Exit::Trust`] where no answer could ever be good enough.
    pub fn new(config: Config) -> Result<Self, Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let content = config.trust.content();
        if config.min_good_for.currency() != content.currency {
            return Err(usage(format!(
                "--min-good-for is in {}, the Trust file in {}; ask in {}",
                config.min_good_for.currency(),
                content.currency,
                content.currency
            )));
        }
        let Some(audience) = content.audience.clone() else {
            let message = "the Trust file names no audience, and amounts that rest on others are for an audience alone: set `audience` in it to what \
                           receipts for you shall name, and sign it again";
            return Err(Failure::new(Exit::Trust, message));
        };
        if !config.expose && !config.listen.ip().is_loopback() {
            return Err(usage(format!(
                "{} can be reached from other machines, which would use your key and your Trust file: listen on 127.0.0.1, or say --expose",
                config.listen
            )));
        }
        for (name, value) in [
            ("--body-bytes", config.body_bytes),
            ("--answer-bytes", config.answer_bytes),
            ("--connections", config.connections),
        ] {
            if value == 0 {
                return Err(usage(format!("{name} is at least 1")));
            }
        }
        let permits = Permits {
            addresses: &[],
            plain_http: config.plain_http,
            authorities: config.ca_file.as_deref(),
        };
        let limits = Limits {
            connect: CONNECT,
            head: config.patience,
            chunk: config.patience,
            total: config.patience,
            bytes: config.answer_bytes,
        };
        Ok(Self {
            node: Destination::new(&config.node, &permits)?,
            limits,
            audience,
            config,
        })
    }

    /// Whether a header `Host` names this machine, where only this machine may ask.
    fn is_own_name(&self, host: &str) -> bool {
        self.config.expose || is_own_name(host)
    }
}
