//! `carat prove`: attach a proof to receipts that exist already.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use carat_program::{Program, decode_tensors};
use carat_receipt::file::MAX_FILE_BYTES;
use carat_receipt::{Opening, ReceiptFile, Role};
use carat_zk::{Hidden, Profile};
use serde_json::json;

use super::{Context, Outcome};
use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::model::Model;
use crate::output::{Answer, Progress};
use crate::prover::{self, How, ModeName, Private, Proved, Subject};

/// Prove receipts' answers, and attach the proof to them.
///
/// Anyone who has the opening and the model can do this, at any time after the answer: the run is exact, so its trace is
/// computed again. Several receipts of one model get one proof together, and each of the files gets a copy of it. With
/// --ledger alone nothing is proven: every term of a proof's soundness is printed. A proof in the mode zk shows nothing of what lies
/// between input and output; --private input hides those too, if the receipt has an io/v1 commitment, at most three times for
/// each receipt; --private weights hides the weights, under a key that `carat model key MODEL --private` makes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat prove receipt.carat --model models/digits\n  carat prove a.carat b.carat c.carat --model models/digits --profile proven-120\n  carat prove receipt.carat --open receipt.carat-open --model models/digits -o proven.carat --json\n  carat prove receipt.carat --model models/digits --mode zk --private input\n  carat prove --ledger --model models/digits --batch 64 --json\n  carat prove receipt.carat --ledger"
)]
pub(super) struct Args {
    /// The receipts.
    #[arg(required_unless_present = "ledger")]
    receipts: Vec<PathBuf>,
    /// The model: a compiled file or a folder. Its Program must be the receipts'. With --ledger and a receipt it may be left
    /// out: then nothing is proven.
    #[arg(long, value_name = "MODEL", required_unless_present = "ledger")]
    model: Option<PathBuf>,
    /// The openings of the receipts, in their order [default: the `.carat-open` file beside each].
    #[arg(long, value_name = "FILE", num_args = 1..)]
    open: Vec<PathBuf>,
    /// What the proof lets be seen.
    #[arg(long, value_enum, default_value = "succinct")]
    mode: ModeName,
    /// With --mode zk, what the proof hides besides what lies between input and output, separated by commas.
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    private: Vec<Private>,
    /// Security profile: proven-100 or proven-120.
    #[arg(long, value_name = "PROFILE", default_value = "proven-100", value_parser = prover::profile)]
    profile: Profile,
    /// Memory that the proof may take. A proof that would take more is refused before it starts.
    #[arg(long, value_name = "SIZE", default_value = prover::MEMORY, value_parser = prover::size)]
    memory_limit: u64,
    /// Print every term of the proof's soundness, proof of work apart.
    #[arg(long)]
    ledger: bool,
    /// With --ledger and no receipts: for a proof of this many statements.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    batch: u64,
    /// Where to write the receipt with the proof [default: the receipt itself]. For one receipt only.
    #[arg(short, long, value_name = "OUT.carat")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let how = How {
        mode: prover::mode(args.mode, &args.private)?,
        ..How::succinct(args.profile, args.memory_limit)
    };
    if how.mode.hidden().values && args.receipts.len() > 1 {
        let message = "a proof that hides input and output covers one receipt; prove them one after the other";
        return Err(Failure::new(Exit::Usage, message));
    }
    if args.receipts.len() > carat_receipt::evidence::MAX_PROOF_STATEMENTS {
        let message = format!(
            "one proof covers at most {} receipts",
            carat_receipt::evidence::MAX_PROOF_STATEMENTS
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    if args.output.is_some() && args.receipts.len() != 1 {
        let message = "-o names one file; several receipts are written in place";
        return Err(Failure::new(Exit::Usage, message));
    }
    if !args.open.is_empty() && args.open.len() != args.receipts.len() {
        let message = "give one opening for each receipt, in their order, or none";
        return Err(Failure::new(Exit::Usage, message));
    }
    let receipts = args
        .receipts
        .iter()
        .map(|path| read(path))
        .collect::<Result<Vec<_>, _>>()?;
    let Some(model_path) = &args.model else {
        let (Some(path), Some(receipt)) = (args.receipts.first(), receipts.first()) else {
            let message = "give a model or a receipt, whose Program the ledger is about";
            return Err(Failure::new(Exit::Usage, message));
        };
        return show_ledger(&carried(path, receipt)?, &how, receipts.len());
    };
    let model = Model::load(model_path, context)?;
    if receipts.is_empty() {
        return show_ledger(model.program(), &how, args.batch as usize);
    }
    attach(&args, how, (&model, model_path), receipts, context)
}

/// Proves and writes.
fn attach(
    args: &Args,
    mut how: How,
    (model, model_path): (&Model, &Path),
    mut receipts: Vec<ReceiptFile>,
    context: &Context,
) -> Outcome {
    let (subjects, openings): (Vec<Subject>, Vec<Opening>) = receipts
        .iter()
        .enumerate()
        .map(|(i, receipt)| subject(args, i, receipt, model, model_path))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .unzip();
    for (i, subject) in subjects.iter().enumerate() {
        if subjects[..i]
            .iter()
            .any(|s| s.statement == subject.statement)
        {
            let message = format!("{} is given twice", args.receipts[i].display());
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    let outs: Vec<&PathBuf> = match &args.output {
        Some(out) => vec![out],
        None => args.receipts.iter().collect(),
    };
    for out in &outs {
        files::check_writable(out)?;
    }
    prover::fits(model, subjects.len(), &how)?;
    // Only a proof that hides something is counted, and only then is a data directory needed.
    let counts = how.mode.hidden() != Hidden::default();
    let home = counts.then(|| context.home()).transpose()?;
    let mut left = None;
    if let Some(home) = &home {
        prover::check_weights(&how, model, home)?;
        for (receipt, opening) in receipts.iter().zip(&openings) {
            prover::tie(&mut how, model, receipt, opening, home)?;
        }
        left = prover::hide(&mut how, model, home)?;
    }
    let progress = Progress::start("proving");
    let proved = prover::proof_of(model, &subjects, &how, &progress)?;
    let proved = Proved { left, ..proved };
    if let Some(home) = &home {
        prover::counted(&how, &proved, home)?;
    }
    progress.say("writing");
    let mut staged = Vec::with_capacity(outs.len());
    for ((receipt, evidence), out) in receipts.iter_mut().zip(&proved.evidence).zip(&outs) {
        receipt
            .add_evidence(evidence.clone())
            .map_err(Failure::of(Exit::Usage))?;
        staged.push(files::stage(out, &receipt.encode(), Mode::Shared)?);
    }
    files::place(staged)?;
    drop(progress);

    let names: Vec<String> = outs.iter().map(|out| out.display().to_string()).collect();
    let mut text = format!("Proof: {}\n", proved.line());
    if names.len() == 1 {
        let _ = writeln!(text, "Attached to {}", names[0]);
    } else {
        let _ = writeln!(
            text,
            "One proof of {} statements, {:.2} ms each; attached to {}",
            names.len(),
            prover::millis(proved.proving) / names.len() as f64,
            names.join(", ")
        );
    }
    let _ = writeln!(text, "Model key {}", proved.key.digest());
    if args.ledger {
        let _ = write!(text, "\n{}", prover::ledger_text(&proved.ledger));
    }
    let _ = match how.hiding {
        Some(_) => writeln!(
            text,
            "\nWhoever lists the model key in a Trust file checks it without the model: carat verify {} --trust TRUST --input FILE",
            names[0],
        ),
        None => writeln!(
            text,
            "\nWhoever has the model checks it without running it: carat verify {} --model {} --input FILE",
            names[0],
            model_path.display()
        ),
    };
    let mut json = proved.json();
    json["receipts"] = names
        .iter()
        .zip(&subjects)
        .map(|(path, subject)| json!({ "path": path, "receipt_id": subject.statement }))
        .collect();
    json["program_digest"] = json!(model.digest);
    if args.ledger {
        json["ledger"] = prover::ledger_json(&proved.ledger);
    }
    Ok((Answer { text, json }, Exit::Good))
}

fn read(path: &Path) -> Result<ReceiptFile, Failure> {
    let bytes = files::read_capped(path, "a receipt", MAX_FILE_BYTES as u64)?;
    let invalid = |error: &dyn ToString| {
        Failure::new(
            Exit::Invalid,
            format!("{}: {}", path.display(), error.to_string()),
        )
    };
    let file = ReceiptFile::decode(&bytes).map_err(|error| invalid(&error))?;
    file.signed
        .verify_signature()
        .map_err(|error| invalid(&error))?;
    Ok(file)
}

/// What one receipt says, from its opening, checked against its commitments.
fn subject(
    args: &Args,
    i: usize,
    receipt: &ReceiptFile,
    model: &Model,
    model_path: &Path,
) -> Result<(Subject, Opening), Failure> {
    let path = &args.receipts[i];
    let open_path = args
        .open
        .get(i)
        .cloned()
        .unwrap_or_else(|| files::sibling(path, "carat-open"));
    let opening = super::verify::read_opening(&open_path)?;
    let statement = receipt.signed.statement();
    let fits = opening.receipt_id == receipt.receipt_id()
        && opening.program == statement.program
        && opening.input.commitment(Role::Input) == statement.input
        && opening.output.commitment(Role::Output) == statement.output;
    if !fits {
        let message = format!(
            "{} is not the opening of {}; give the one that was written with it",
            open_path.display(),
            path.display()
        );
        return Err(Failure::new(Exit::Mismatch, message));
    }
    if model.digest != statement.program {
        let message = format!(
            "{} is program {}, {} is about program {}; give the model that the receipt names",
            model_path.display(),
            model.digest,
            path.display(),
            statement.program
        );
        return Err(Failure::new(Exit::Mismatch, message));
    }
    let tensors = |bytes: &[u8], what: &str| {
        decode_tensors(bytes).map_err(|error| {
            let message = format!("the {what} in {}: {error}", open_path.display());
            Failure::new(Exit::Mismatch, message)
        })
    };
    let subject = Subject {
        statement: receipt.receipt_id(),
        inputs: tensors(&opening.input.bytes, "input")?,
        outputs: tensors(&opening.output.bytes, "output")?,
    };
    Ok((subject, opening))
}

/// The Program that a receipt carries.
fn carried(path: &Path, receipt: &ReceiptFile) -> Result<Program, Failure> {
    let refuse = |why: String| {
        Failure::new(
            Exit::Mismatch,
            format!("{}: {why}; give --model", path.display()),
        )
    };
    let bytes = receipt
        .program
        .as_deref()
        .ok_or_else(|| refuse("it carries no Program".into()))?;
    let program = Program::decode(bytes).map_err(|error| refuse(error.to_string()))?;
    if program.digest() != receipt.signed.statement().program {
        return Err(refuse("it carries another Program than it names".into()));
    }
    Ok(program)
}

fn show_ledger(program: &Program, how: &How, statements: usize) -> Outcome {
    let ledger = how.ledger(program, statements)?;
    let memory = carat_zk::estimate_memory(program, statements).map_err(prover::failure)?;
    let digest = program.digest();
    let text = format!(
        "Program {digest}, {statements} statements in one proof, about {} MiB of memory\n\n{}",
        memory >> 20,
        prover::ledger_text(&ledger)
    );
    let mut json = json!({
        "program_digest": digest,
        "mode": how.mode.name(),
        "statements": statements,
        "memory_bytes": memory,
    });
    json["ledger"] = prover::ledger_json(&ledger);
    Ok((Answer { text, json }, Exit::Good))
}
