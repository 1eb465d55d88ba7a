//! `carat upgrade`: ask the server that issued a receipt for a proof of it, and check what it said about that.

mod notice;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use carat_log::VerifierKey;
use carat_node::client::Client;
use carat_receipt::ReceiptFile;
use carat_receipt::evidence::Kind;
use carat_receipt::file::MAX_FILE_BYTES;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Context, Outcome, hex_bytes};
use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::output::{Answer, Progress};

const MAX_KEY_FILE: u64 = 4096;
/// How often a job is asked about.
const PAUSE: Duration = Duration::from_millis(250);

/// Ask a server for stronger evidence: a proof of the same Statement.
///
/// The Statement and its identity do not change; the receipt only becomes good for more. Whoever has the opening and the model
/// can also prove it without the server: carat prove. A server that refuses, or that accepts and does not deliver, says so under
/// the key that issued the receipt; what it said is kept beside the receipt, and --check verifies it offline.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat upgrade receipt.carat --server http://127.0.0.1:8321 --quote\n  CARAT_API_KEY=carat_... carat upgrade receipt.carat --server http://127.0.0.1:8321\n  carat upgrade receipt.carat --server https://node.example --ca ca.pem --api-key-file key.txt -o proven.carat --json\n  carat upgrade receipt.carat --check receipt.refusal.carat-notice"
)]
pub(super) struct Args {
    /// The receipt.
    receipt: PathBuf,
    /// The server: https://HOST:PORT, or http://HOST:PORT.
    #[arg(long, value_name = "URL", required_unless_present = "check")]
    server: Option<String>,
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
    /// The nonce that the server's promise or refusal shall carry, 8 to 64 bytes in hexadecimal [default: 16 random bytes]; with
    /// --check, the one that it must carry.
    #[arg(long, value_name = "HEX", value_parser = hex_bytes)]
    nonce: Option<super::Hex>,
    /// Check a promise, a refusal or a miss of the server instead: it must be about the receipt and signed by the key that
    /// issued the receipt. Exit status 1 if it is not.
    #[arg(long, value_name = "NOTICE", conflicts_with_all = ["server", "quote", "output"])]
    check: Option<PathBuf>,
    /// With --check: the key of the issuer's log, to check that a miss is in it (carat log show --key).
    #[arg(long, value_name = "VKEY", requires = "check", value_parser = log_key)]
    log_key: Option<VerifierKey>,
}

fn log_key(text: &str) -> Result<VerifierKey, String> {
    VerifierKey::from_vkey(text).map_err(|error| error.to_string())
}

pub(super) fn run(args: Args, _: &Context) -> Outcome {
    let bytes = files::read_capped(&args.receipt, "a receipt", MAX_FILE_BYTES as u64)?;
    let own = decode(&bytes, &args.receipt.display().to_string())?;
    if let Some(path) = &args.check {
        let nonce = args.nonce.as_ref().map(|nonce| nonce.0.as_slice());
        return notice::check(path, &own, nonce, args.log_key.as_ref());
    }
    let server = args.server.as_deref().unwrap_or_default();
    let id = own.receipt_id();
    let client = Client::new(
        server,
        api_key(args.api_key_file.as_deref())?,
        args.ca.as_deref(),
    )?;
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
    let nonce = match &args.nonce {
        Some(nonce) => nonce.0.clone(),
        None => carat_receipt::commit::random_id()
            .map_err(Failure::of(Exit::Io))?
            .to_vec(),
    };
    let told = notice::Told {
        receipt: &args.receipt,
        own: &own,
        nonce: &nonce,
    };
    let asked = client.post_with(
        &format!("/v1/receipts/{id}/upgrade"),
        &[("carat-nonce", &hex::encode(&nonce))],
    )?;
    // A receipt that has a proof there already is what was asked for.
    let proven = asked.status == 409 && asked.json().is_ok_and(|json| json["kind"] == "proven");
    if !proven {
        if let Some(refusal) = asked.json().ok().and_then(|json| told.refused(&json)) {
            return Err(refusal);
        }
        wait(&args, &client, &asked.good()?.json()?, &told, &progress)?;
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

/// The key to call a server with: from a file, or from the variable `CARAT_API_KEY`.
pub(super) fn api_key(file: Option<&Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    if let Some(path) = file {
        let text = Zeroizing::new(files::read_text(path, "an API key", MAX_KEY_FILE)?);
        // What `api-key new` printed has more lines.
        let first = text.lines().next().unwrap_or_default();
        return Ok(Some(Zeroizing::new(first.trim().to_string())));
    }
    Ok(std::env::var("CARAT_API_KEY").ok().map(Zeroizing::new))
}

fn wait(
    args: &Args,
    client: &Client,
    job: &serde_json::Value,
    told: &notice::Told<'_>,
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
                if let Some(refusal) = told.refused(&job["problem"]) {
                    return Err(refusal);
                }
                let why = job["problem"]["detail"]
                    .as_str()
                    .unwrap_or("it gave no reason");
                return Err(Failure::new(
                    Exit::Refused,
                    format!("the server could not prove it: {why}"),
                ));
            }
            _ if Instant::now() >= until => {
                let kept = told.promised(&job)?;
                let message = format!(
                    "no proof within --wait {} s; job {id} goes on: run the command again later{kept}",
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
