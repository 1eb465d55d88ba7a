//! `carat proxy`: only answers that are good for enough.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use carat_node::config::LogFormat;
use carat_node::proxy::{self, Config, Proxy};
use carat_node::serve;
use carat_receipt::commit::MAX_VALUE_BYTES;
use carat_receipt::{Amount, PublicKey};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Context, Outcome, parse};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::output::{self, Answer};
use crate::seen::Seen;

/// Longest file of a key.
const MAX_KEY_FILE: u64 = 4096;

/// Stand between a client and a node, and let only answers through that are good for enough.
///
/// An ordinary client of OpenAI's interface, or of /v1/models/NAME/infer, talks to the proxy on this machine. The proxy chooses a
/// nonce, asks the node, fetches the receipt, and appraises it under your Trust file for this question and this answer before a
/// byte of the answer is passed on; else the client gets an error that says what the answer is good for and what would be enough.
/// So every answer is held back whole: a stream arrives in one piece, at its end. A courier's answer is good for nothing unless
/// your Trust file gives a cap for its upstream.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat proxy --upstream https://node.example --trust trust.toml --min-good-for 5USD\n  carat proxy --upstream http://127.0.0.1:8321 --trust trust.toml --min-good-for 5USD --api-key-file key.txt --keep receipts\n  OPENAI_BASE_URL=http://127.0.0.1:8322/v1 OPENAI_API_KEY=carat_... python3 my_client.py"
)]
pub(super) struct Args {
    /// The node.
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// Your Trust file: whose word counts, and for how much. Read once: start again after a change.
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
    /// The key that the Trust file must be signed by.
    #[arg(long, value_name = "KEY", value_parser = parse::<PublicKey>)]
    trust_owner: Option<PublicKey>,
    /// What every answer must be good for, such as 5USD. Models that run at the node are asked with this at stake, so that the
    /// node buys the evidence.
    #[arg(long, value_name = "AMOUNT", value_parser = parse::<Amount>)]
    min_good_for: Amount,
    /// Where to listen: a loopback address, unless --expose.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8322")]
    listen: SocketAddr,
    /// Let other machines call. They use your key for the node, where you gave one.
    #[arg(long)]
    expose: bool,
    /// A file with the API key for the node [default: the variable CARAT_API_KEY; else the caller's own header is passed on to the
    /// node].
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Authorities of the node's certificate, in PEM [default: those that this system trusts].
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Plain HTTP to a node outside this machine and private networks.
    #[arg(long)]
    plain_http: bool,
    /// Keep receipt and opening of every answer that is passed on in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Largest body of a request, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20)]
    body_bytes: usize,
    /// Largest answer, in bytes; it is held in memory.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20)]
    answer_bytes: usize,
    /// Seconds for an answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Connections at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    connections: usize,
}

/// The key is the first line: `carat api-key new` prints more after it.
fn api_key(path: Option<&Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    let text = match path {
        Some(path) => Zeroizing::new(files::read_text(path, "an API key", MAX_KEY_FILE)?),
        None => match std::env::var("CARAT_API_KEY") {
            Ok(text) => Zeroizing::new(text),
            Err(_) => return Ok(None),
        },
    };
    let key = text.lines().next().unwrap_or("").trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = "the API key is empty, or no key: give what `carat api-key new` printed on its first line";
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(Some(Zeroizing::new(key.to_string())))
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let trust = files::read_trust(&args.trust)?;
    let seen = Seen::of(context, Some(&trust), None)?;
    if let Some(folder) = &args.keep {
        std::fs::create_dir_all(folder)
            .map_err(|error| files::io_failure("making", folder, &error))?;
    }
    if args.body_bytes.max(args.answer_bytes) > MAX_VALUE_BYTES {
        let message = format!(
            "an opening holds at most {MAX_VALUE_BYTES} bytes: give less to --body-bytes and --answer-bytes"
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    let proxy = Proxy::new(Config {
        node: args.upstream,
        ca_file: args.ca_file,
        plain_http: args.plain_http,
        api_key: api_key(args.api_key_file.as_deref())?,
        trust_version: seen.trust_version(),
        trust,
        trust_owner: args.trust_owner,
        min_good_for: args.min_good_for,
        listen: args.listen,
        expose: args.expose,
        keep: args.keep,
        body_bytes: args.body_bytes,
        answer_bytes: args.answer_bytes,
        patience: Duration::from_secs(args.seconds),
        connections: args.connections,
    })?;
    serve::start_logging(LogFormat::Text);
    proxy::listen(proxy, |address| {
        // Nobody need listen to this.
        let _ = output::print(&format!("listening on http://{address}"));
    })?;
    let answer = Answer {
        text: "ended\n".to_string(),
        json: json!({ "ended": true }),
    };
    Ok((answer, Exit::Good))
}
