//! `carat upgrade`: ask the server that issued a receipt for a proof of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use carat_node::client::Client;
use carat_receipt::ReceiptFile;
use carat_receipt::evidence::Kind;
use carat_receipt::file::MAX_FILE_BYTES;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Context, Outcome};
use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::output::{Answer, Progress};

const MAX_KEY_FILE: u64 = 4096;
/// How often a job is asked about.
const PAUSE: Duration = Duration::from_millis(250);

/// Ask a server for stronger evidence: a proof of the same Statement.
///
/// The Statement and its identity do not change; the receipt only becomes good for more. Whoever has the opening and the model
/// can also prove it without the server: carat prove.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat upgrade receipt.carat --server http://127.0.0.1:8321 --quote\n  CARAT_API_KEY=carat_... carat upgrade receipt.carat --server http://127.0.0.1:8321\n  carat upgrade receipt.carat --server https://node.example --ca ca.pem --api-key-file key.txt -o proven.carat --json"
)]
pub(super) struct Args {
    /// The receipt.
    receipt: PathBuf,
    /// The server: https://HOST:PORT, or http://HOST:PORT.
    #[arg(long, value_name = "URL")]
    server: String,
    /// Authorities that may have issued the server's certificate, in PEM [default: those that this system trusts].
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A file with the API key [default: the variable CARAT_API_KEY].
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Say what it would cost and how long it would take, and end.
    #[arg(long)]
    quote: bool,
    /// Seconds to wait for the proof.
    #[arg(long, default_value_t = 300)]
    wait: u64,
    /// Where to write the receipt with the proof [default: the receipt itself].
    #[arg(short, long, value_name = "OUT.carat")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: Args, _: &Context) -> Outcome {
    let bytes = files::read_capped(&args.receipt, "a receipt", MAX_FILE_BYTES as u64)?;
    let own = decode(&bytes, &args.receipt.display().to_string())?;
    let id = own.receipt_id();
    let client = Client::new(&args.server, api_key(&args)?, args.ca.as_deref())?;
    if args.quote {
        let quote = client.get(&format!("/v1/receipts/{id}/quote"))?.good()?;
        let json = quote.json()?;
        let text = format!(
            "A proof costs {} and takes about {} s; it is promised within {} s.\n",
            json["price"].as_str().unwrap_or("an unknown price"),
            json["estimated_seconds"],
            json["promised_within_seconds"]
        );
        return Ok((Answer { text, json }, Exit::Good));
    }
    let out = args.output.as_ref().unwrap_or(&args.receipt);
    files::check_writable(out)?;
    let progress = Progress::start("asking for the proof");
    let asked = client.post(&format!("/v1/receipts/{id}/upgrade"))?;
    // A receipt that has a proof there already is what was asked for.
    let proven = asked.status == 409 && asked.json().is_ok_and(|json| json["kind"] == "proven");
    if !proven {
        wait(&args, &client, &asked.good()?.json()?, &progress)?;
    }
    let fetched = client.get(&format!("/v1/receipts/{id}"))?.good()?;
    let file = decode(&fetched.body, "the server's receipt")?;
    let has_proof = |file: &ReceiptFile| {
        file.evidence()
            .iter()
            .filter(|item| item.body.kind() == Kind::Proof)
            .count()
    };
    if file.receipt_id() != id || has_proof(&file) == 0 {
        let message =
            "the server gave another receipt, or one without a proof; nothing was written";
        return Err(Failure::new(Exit::Mismatch, message));
    }
    // What the own file has and the server's lacks, such as an auditor's replay, stays.
    let mut joined = own;
    joined.log = file.log.clone();
    for evidence in file.evidence() {
        if !joined.evidence().contains(evidence) {
            joined
                .add_evidence(evidence.clone())
                .map_err(Failure::of(Exit::Usage))?;
        }
    }
    files::write_atomic(out, &joined.encode(), Mode::Shared)?;
    drop(progress);
    let text = format!(
        "Proof attached to {}\nThe server is not believed: carat verify {0} --model MODEL --input FILE checks it\n",
        out.display()
    );
    let json = json!({ "receipt_id": id, "receipt_path": out, "proofs": has_proof(&joined) });
    Ok((Answer { text, json }, Exit::Good))
}

fn decode(bytes: &[u8], what: &str) -> Result<ReceiptFile, Failure> {
    let invalid = |error: &dyn ToString| {
        Failure::new(Exit::Invalid, format!("{what}: {}", error.to_string()))
    };
    let file = ReceiptFile::decode(bytes).map_err(|error| invalid(&error))?;
    file.signed
        .verify_signature()
        .map_err(|error| invalid(&error))?;
    Ok(file)
}

fn api_key(args: &Args) -> Result<Option<Zeroizing<String>>, Failure> {
    if let Some(path) = &args.api_key_file {
        let text = Zeroizing::new(files::read_text(path, "an API key", MAX_KEY_FILE)?);
        return Ok(Some(Zeroizing::new(text.trim().to_string())));
    }
    Ok(std::env::var("CARAT_API_KEY").ok().map(Zeroizing::new))
}

fn wait(
    args: &Args,
    client: &Client,
    job: &serde_json::Value,
    progress: &Progress,
) -> Result<(), Failure> {
    let id = job["job_id"]
        .as_str()
        .filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .ok_or_else(|| Failure::new(Exit::Io, "the server named no job"))?;
    let until = Instant::now() + Duration::from_secs(args.wait);
    loop {
        let job = client.get(&format!("/v1/jobs/{id}"))?.good()?.json()?;
        match job["state"].as_str() {
            Some("done") => return Ok(()),
            Some("failed") => {
                let why = job["problem"]["detail"]
                    .as_str()
                    .unwrap_or("it gave no reason");
                return Err(Failure::new(
                    Exit::Refused,
                    format!("the server could not prove it: {why}"),
                ));
            }
            _ if Instant::now() >= until => {
                let message = format!(
                    "no proof within --wait {} s; job {id} goes on: run the command again later",
                    args.wait
                );
                return Err(Failure::new(Exit::Busy, message));
            }
            _ => {
                progress.say(format!("waiting for job {id}"));
                std::thread::sleep(PAUSE);
            }
        }
    }
}
