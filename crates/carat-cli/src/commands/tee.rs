//! `carat tee`: evidence of trusted execution environments. The verdict is `carat-tee`'s; this reads files and prints.

use std::path::{Path, PathBuf};

use carat_tee::input::{self, InputError, MAX_TEXT_BYTES};
use carat_tee::{
    Attested, Check, Checks, Claims, Endorsements, Kind, Outcome as CheckOutcome, Policy, Reason,
    Rejected, Request, Value,
};
use serde_json::json;

use super::{Context, Outcome, parse};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::home;
use crate::output::Answer;
use crate::render::{self, Table};

/// Evidence of trusted execution environments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Verify(Box<VerifyArgs>),
    Doctor(DoctorArgs),
}

/// Verify a vendor's attestation evidence, offline.
///
/// Prints what the evidence says, each check, and what must still be believed. Files may be raw, hexadecimal or base64;
/// certificates PEM or DER. Exit status: 0 accepted, 1 rejected (the reason code says why), 2 usage, 3 made by a simulator.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat tee verify nitro.cbor --kind nitro --at 1766668537\n  carat tee verify quote.bin --kind tdx --collateral collateral.json --nonce 00112233445566778899aabbccddeeff\n  carat tee verify report.bin --kind snp --cert vcek.der --policy strict --json\n  carat tee verify gpu.txt --kind nvidia --chain chain.pem --policy my-policy.toml"
)]
struct VerifyArgs {
    /// The evidence.
    file: PathBuf,
    /// What it is: nitro, tdx, sgx, snp, nvidia, azure-snp or gcp.
    #[arg(long, value_parser = parse::<Kind>)]
    kind: Kind,
    /// The time to verify at (Unix seconds) [default: the machine's clock].
    #[arg(long, value_name = "UNIXTIME")]
    at: Option<u64>,
    /// TDX, SGX: the vendor's collateral. NVIDIA: a bundle of reference values.
    #[arg(long, value_name = "FILE")]
    collateral: Option<PathBuf>,
    /// A certificate for the evidence's own key, such as a VCEK. Can be given several times.
    #[arg(long, value_name = "FILE")]
    cert: Vec<PathBuf>,
    /// The certificates above.
    #[arg(long, value_name = "FILE")]
    chain: Option<PathBuf>,
    /// The nonce that the evidence must answer, in hexadecimal.
    #[arg(long, value_name = "HEX", value_parser = nonce)]
    nonce: Option<super::Hex>,
    /// strict, production, dev, or a policy file.
    #[arg(long, default_value = "production", value_name = "POLICY")]
    policy: String,
}

/// Say what this machine could attest, and why not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  carat tee doctor\n  carat tee doctor --json")]
struct DoctorArgs {
    /// The root of the file system to look in.
    #[arg(long, hide = true, default_value = "/")]
    root: PathBuf,
}

fn nonce(text: &str) -> Result<super::Hex, String> {
    match hex::decode(text.strip_prefix("0x").unwrap_or(text)) {
        Ok(bytes) if (1..=512).contains(&bytes.len()) => Ok(super::Hex(bytes)),
        _ => Err("a nonce is 1 to 512 bytes in hexadecimal".to_string()),
    }
}

pub(super) fn run(args: Args, _context: &Context) -> Outcome {
    match args.command {
        Command::Verify(args) => verify(&args),
        Command::Doctor(args) => Ok(doctor(&args)),
    }
}

fn verify(args: &VerifyArgs) -> Outcome {
    let policy = policy(&args.policy)?;
    let now = match args.at {
        Some(at) => at,
        None => home::clock()?,
    };
    let file = read(&args.file)?;
    let collateral = args.collateral.as_deref().map(read).transpose()?;
    let certs = args
        .cert
        .iter()
        .map(|path| read(path))
        .collect::<Result<Vec<_>, _>>()?;
    let chain = args.chain.as_deref().map(read).transpose()?;
    // From here on a bad file is a bad piece of evidence, not a mistake of whoever asks.
    let files = Files {
        evidence: file,
        collateral,
        certs,
        chain,
    };
    let verdict = judge(args, &policy, now, &files);
    Ok(show(args.kind, &policy, now, verdict))
}

/// What was read, or why it is too much.
struct Files {
    evidence: Result<Vec<u8>, InputError>,
    collateral: Option<Result<Vec<u8>, InputError>>,
    certs: Vec<Result<Vec<u8>, InputError>>,
    chain: Option<Result<Vec<u8>, InputError>>,
}

enum Verdict {
    Accepted(Attested),
    Simulated(Attested, Rejected),
    Rejected(Rejected),
}

fn judge(args: &VerifyArgs, policy: &Policy, now: u64, files: &Files) -> Verdict {
    let kind = args.kind;
    let gathered = (|| -> Result<_, (&'static str, InputError)> {
        let certificates = |file: &Result<Vec<u8>, InputError>| {
            let parsed = file
                .as_deref()
                .map_err(Clone::clone)
                .and_then(input::certificates);
            parsed.map_err(|error| ("certificates", error))
        };
        let evidence = files.evidence.as_deref().map_err(Clone::clone);
        let file = evidence
            .and_then(|bytes| input::file(kind, bytes))
            .map_err(|error| ("format", error))?;
        let collateral = match &files.collateral {
            None => None,
            Some(file) => {
                let bytes = file.as_deref().map_err(Clone::clone);
                let decoded = bytes.and_then(|bytes| input::collateral(kind, bytes));
                Some(decoded.map_err(|error| ("collateral", error))?)
            }
        };
        let mut given = Vec::new();
        for file in &files.certs {
            given.extend(certificates(file)?);
        }
        // What was given on the command line is used instead of what came in the file.
        let chain = match &files.chain {
            Some(file) => certificates(file)?,
            None if given.is_empty() => file.chain,
            None => Vec::new(),
        };
        Ok((file.evidence, collateral, given, chain))
    })();
    let (evidence, collateral, certs, chain) = match gathered {
        Ok(gathered) => gathered,
        Err((name, error)) => {
            let code = match error {
                InputError::TooLarge(_) | InputError::TooMany => Reason::TooLarge,
                _ => Reason::Malformed,
            };
            return Verdict::Rejected(Checks::new(kind).stop(code, name, error.to_string()));
        }
    };
    let request = Request {
        evidence: &evidence,
        endorsements: Endorsements {
            collateral: collateral.as_deref(),
            certs: &certs,
            chain: &chain,
        },
        policy,
        now,
        nonce: args.nonce.as_ref().map(|nonce| nonce.0.as_slice()),
        binding: None,
    };
    match carat_tee::verify(kind, &request) {
        Ok(hardware) => Verdict::Accepted((*hardware).clone()),
        Err(rejected) => match carat_tee::verify_simulated(kind, &request) {
            Ok(simulated) => Verdict::Simulated((*simulated).clone(), rejected),
            Err(_) => Verdict::Rejected(rejected),
        },
    }
}

fn show(kind: Kind, policy: &Policy, now: u64, verdict: Verdict) -> (Answer, Exit) {
    let (word, exit, reason, message, claims, checks, still_trusted): (
        _,
        _,
        Option<Reason>,
        _,
        _,
        _,
        Vec<String>,
    ) = match &verdict {
        Verdict::Accepted(attested) => {
            let message = format!(
                "{kind} evidence of real hardware, under the policy {}",
                policy.name
            );
            (
                "accepted",
                Exit::Good,
                None,
                message,
                attested.claims(),
                attested.checks(),
                attested.still_trusted().to_vec(),
            )
        }
        Verdict::Simulated(attested, rejected) => (
            "simulated",
            Exit::Simulated,
            Some(Reason::SimulatedEvidence),
            format!(
                "made by a simulator; as hardware it is refused: {}",
                rejected.message
            ),
            attested.claims(),
            attested.checks(),
            vec!["everything: no hardware vouches for anything here".to_string()],
        ),
        Verdict::Rejected(rejected) => (
            "rejected",
            Exit::Invalid,
            Some(rejected.reason),
            rejected.message.clone(),
            &rejected.claims,
            rejected.checks.as_slice(),
            Vec::new(),
        ),
    };
    let code = reason.map(Reason::code);
    let mut text = match code {
        Some(code) => format!(
            "{} ({code}): {}\n",
            word.to_uppercase(),
            render::plain(&message)
        ),
        None => format!("{}: {}\n", word.to_uppercase(), render::plain(&message)),
    };
    text.push_str("\nClaims\n");
    let mut rows = Table::new(2);
    for (name, value) in claims.iter() {
        claim_rows(&mut rows, name, value);
    }
    text.push_str(&rows.render("  "));
    text.push_str("\nChecks\n");
    text.push_str(&check_rows(checks));
    render::list(&mut text, "Still trusted", &still_trusted);
    let json = json!({
        "verdict": word,
        "reason": code,
        "message": message,
        "kind": kind,
        "policy": policy.name,
        "at": now,
        "claims": claims,
        "checks": checks,
        "still_trusted": still_trusted,
    });
    (Answer { text, json }, exit)
}

fn check_rows(checks: &[Check]) -> String {
    let mut rows = Table::new(3);
    for check in checks {
        let mark = match check.outcome {
            CheckOutcome::Pass => "pass",
            CheckOutcome::Fail => "FAIL",
            CheckOutcome::NotMade => "not made",
        };
        rows.row([mark, check.name, &check.reason]);
    }
    rows.render("  ")
}

/// Longest value that is shown whole.
const SHOWN: usize = 160;

fn claim_rows(rows: &mut Table, name: &str, value: &Value) {
    let text = match value {
        Value::Map(claims) => return nested(rows, name, claims),
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => hex::encode(bytes),
        Value::Int(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::List(_) => serde_json::to_string(value).unwrap_or_default(),
    };
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    rows.row([name, &short]);
}

fn nested(rows: &mut Table, name: &str, claims: &Claims) {
    for (inner, value) in claims.iter() {
        claim_rows(rows, &format!("{name}.{inner}"), value);
    }
}

/// A file of evidence. One that is far too large is refused as evidence, so that the verdict says so.
fn read(path: &Path) -> Result<Result<Vec<u8>, InputError>, Failure> {
    match files::read_capped(path, "evidence", 4 * MAX_TEXT_BYTES as u64) {
        Err(failure) if failure.exit == Exit::TooLarge => {
            let len = path.metadata().map_or(u64::MAX, |metadata| metadata.len());
            Ok(Err(InputError::TooLarge(
                usize::try_from(len).unwrap_or(usize::MAX),
            )))
        }
        other => other.map(Ok),
    }
}

fn policy(given: &str) -> Result<Policy, Failure> {
    if let Ok(preset) = Policy::preset(given) {
        return Ok(preset);
    }
    let path = Path::new(given);
    if !path.exists() {
        let message = format!(
            "--policy {given}: there is no such preset or file; give strict, production, dev or a policy file"
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    let text = files::read_text(path, "a policy", carat_tee::policy::MAX_POLICY_BYTES as u64)?;
    Policy::from_toml(&text).map_err(|error| Failure::new(Exit::Usage, format!("{given}: {error}")))
}

fn doctor(args: &DoctorArgs) -> (Answer, Exit) {
    let findings = carat_tee::attest::doctor(&args.root);
    let able = findings.iter().any(|finding| finding.able);
    let mut text = if able {
        "This machine could attest:\n".to_string()
    } else {
        "This machine cannot attest: no trusted execution environment was found.\n".to_string()
    };
    let mut rows = Table::new(3);
    for finding in &findings {
        rows.row([
            if finding.able { "yes" } else { "no" },
            finding.what,
            &finding.why,
        ]);
    }
    text.push_str(&rows.render("  "));
    let json = json!({ "able": able, "findings": findings });
    (Answer { text, json }, Exit::Good)
}
