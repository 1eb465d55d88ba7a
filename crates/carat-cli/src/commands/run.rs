//! `carat run`: the main job.

mod planned;
mod tee;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use carat_nn::edge::OutputValues;
use carat_node::issue::{self, Issuer, Order};
use carat_node::planned::Planned;
use carat_receipt::evidence::Kind;
use carat_receipt::{Amount, Label, Nonce, Opening, ReceiptFile, SigningKey};
use carat_verify::{Appraisal, Question};
use serde_json::json;

use super::{Context, Outcome, parse};
use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::home::{self, Home};
use crate::model::{AnyModel, Tensors};
use crate::output::{Answer, Progress};
use crate::prover;
use crate::render;

/// Run a model on an input and give the answer a receipt.
///
/// Writes OUT.carat, which is safe to share, and OUT.carat-open, which holds the values and salts and is not. The receipt
/// is in the local log and both files are on disk before anything is printed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat run models/digits --input examples/seven.png\n  carat run models/digits --input examples/seven.png --at-stake 30USD\n  carat run models/tumor --input examples/tumor.json -o tumor.carat --json\n  carat run models/digits --input examples/seven.png --prove\n  carat run models/digits --input examples/seven.png --prove zk --private input\n  carat run digits.carat-model --input seven.npy --nonce 00112233445566778899aabbccddeeff --audience example.org"
)]
pub(super) struct Args {
    /// A compiled model, or a folder with one, or a folder with model.toml, ONNX file and calibration inputs.
    model: PathBuf,
    /// The input: .npy, .json, or .png where the model says how an image becomes numbers.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// What a wrong answer could cost, such as 20USD. It overrides the values of the policy's rules; where nothing that is
    /// supplied here covers it, the run is refused.
    #[arg(long, value_name = "AMOUNT", value_parser = parse::<Amount>)]
    at_stake: Option<Amount>,
    /// What a wrong answer could cost, for people who cannot name a number.
    #[arg(long, value_enum, value_name = "LEVEL", conflicts_with = "at_stake")]
    impact: Option<Impact>,
    /// The policy [default: policy.toml in the data directory; with --at-stake, --impact or --facts else the one that ships].
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The facts of the request for the policy, as JSON.
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// What is supplied here, instead of environment.toml in the data directory.
    #[arg(long, value_name = "FILE")]
    environment: Option<PathBuf>,
    #[command(flatten)]
    proving: prover::RunArgs,
    /// Attach evidence of a trusted execution environment about the key that signs.
    #[arg(long, value_enum)]
    tee: Option<tee::Tee>,
    /// Where to write the receipt; an existing file is replaced [default: receipt.carat, or the first free
    /// receipt-N.carat].
    #[arg(short, long, value_name = "OUT.carat")]
    output: Option<PathBuf>,
    /// The caller's nonce, in hexadecimal: 8 to 64 bytes.
    #[arg(long, value_name = "HEX", value_parser = super::hex_bytes)]
    nonce: Option<super::Hex>,
    /// Whom the receipt is for.
    #[arg(long, value_name = "NAME", value_parser = parse::<Label>)]
    audience: Option<Label>,
    /// Your Trust file, to say what the receipt is good for to you.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
}

/// How bad a wrong answer would be.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Impact {
    /// Annoying.
    Low,
    /// Costs somebody an hour or a purchase.
    Moderate,
    /// A contract, a payout, a decision about a person.
    High,
}

impl Impact {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Moderate => "moderate",
            Self::High => "high",
        }
    }
}

pub(super) fn run(mut args: Args, context: &Context) -> Outcome {
    let (path, open_path) = output_paths(args.output.as_deref())?;
    let trust = args
        .trust
        .as_deref()
        .map(super::verify::read_trust)
        .transpose()?;
    // Fail on an unwritable place before any work is done.
    files::check_writable(&path)?;
    let home = context.home()?;
    let model = AnyModel::load(&args.model, context)?;
    args.proving.check(&model, &home)?;
    let inputs = model.program().read_input(&args.input)?;
    // What is bought is decided before the answer is known.
    let planned = planned::decide(&args, &home, &model, &inputs)?;
    if planned.as_ref().is_some_and(Planned::proves) {
        args.proving.buy();
        args.proving.check(&model, &home)?;
    }
    let progress = Progress::start(format!("running {}", model.name));
    let started = Instant::now();
    let outputs = model.answer(&inputs)?;
    let wall_micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (key, new_key) = home.key_or_new()?;

    progress.say("writing the receipt");
    let run = Run {
        inputs: &inputs,
        outputs: &outputs,
        wall_micros,
        planned: planned.as_ref(),
    };
    let mut issued = issue(&args, &home, &model, key, &run)?;
    let proved = args.proving.prove(
        &model,
        &mut issued.file,
        &issued.opening,
        (&inputs, &outputs),
        &home,
        &progress,
    )?;
    super::audit::served::keep(&home, &issued.file, &issued.opening, &model.path)?;
    let staged_open = files::stage(&open_path, &issued.opening.encode(), Mode::Private)?;
    let staged = files::stage(&path, &issued.file.encode(), Mode::Shared)?;
    // The opening first: a receipt whose opening is lost could never be replayed.
    files::place(vec![staged_open, staged])?;
    drop(progress);
    if let Some(planned) = &planned {
        planned.remember(&home, Some(&issued.file.receipt_id()))?;
    }

    let input = inputs.canonical();
    let question = Question {
        now: issued.file.signed.statement().issued_at,
        trust: trust.as_ref(),
        nonce: args.nonce.as_ref().map(|nonce| nonce.0.as_slice()),
        audience: args.audience.as_ref(),
        opening: Some(&issued.opening),
        input: Some(&input),
        model: Some(model.digest),
        model_keys: proved
            .as_ref()
            .map_or(&[], |proved| std::slice::from_ref(&proved.key)),
        ..Question::default()
    };
    let appraisal =
        carat_verify::appraise(&issued.file, &question).map_err(Failure::of(Exit::Usage))?;
    let answer = model.program().show(&outputs);
    let answer = answer
        .ok_or_else(|| Failure::new(Exit::Internal, "the answer is not one of the program"))?;
    let shown = Shown {
        args: &args,
        home: &home,
        model: &model,
        issued: &issued,
        answer: &answer,
        appraisal: &appraisal,
        path: &path,
        open_path: &open_path,
        new_key,
        planned: planned.as_ref(),
        proved: proved.as_ref(),
    };
    Ok((shown.answer(), Exit::Good))
}

/// Where the receipt and its opening go.
fn output_paths(given: Option<&Path>) -> Result<(PathBuf, PathBuf), Failure> {
    let with_open = |path: PathBuf| {
        let open = files::sibling(&path, "carat-open");
        (path, open)
    };
    if let Some(path) = given {
        if path
            .extension()
            .is_some_and(|extension| extension == "carat-open")
        {
            let message =
                "the receipt cannot be named .carat-open: that is the name of its opening";
            return Err(Failure::new(Exit::Usage, message));
        }
        return Ok(with_open(path.to_path_buf()));
    }
    // Receipts are not replaced unless asked: the opening exists nowhere else.
    let names = std::iter::once("receipt.carat".to_string())
        .chain((2..100_000).map(|n| format!("receipt-{n}.carat")));
    names
        .map(|name| with_open(PathBuf::from(name)))
        .find(|(path, open)| !path.exists() && !open.exists())
        .ok_or_else(|| Failure::new(Exit::Usage, "no free name is left here; give one with -o"))
}

/// What a run gave, and under which plan.
struct Run<'a> {
    inputs: &'a Tensors,
    outputs: &'a Tensors,
    wall_micros: u64,
    planned: Option<&'a Planned>,
}

struct Issued {
    file: ReceiptFile,
    opening: Opening,
    log_index: u64,
    log_origin: String,
}

/// Signs the Statement and appends its leaf to the local log. When this returns, the log entry is durable.
fn issue(
    args: &Args,
    home: &Home,
    model: &AnyModel,
    key: SigningKey,
    run: &Run<'_>,
) -> Result<Issued, Failure> {
    let nonce = args
        .nonce
        .as_ref()
        .map(|nonce| Nonce::new(nonce.0.clone()))
        .transpose()
        .map_err(Failure::of(Exit::Usage))?;
    let order = Order {
        model: model.identity()?,
        input: run.inputs.into(),
        output: run.outputs.into(),
        wall_micros: run.wall_micros,
        audience: args.audience.clone(),
        nonce,
        planned: run.planned,
        io_commitment: args
            .proving
            .io_commitment(model, (run.inputs, run.outputs))?,
        option_expiry: None,
    };
    let issuer = Issuer {
        name: home.issuer_name(&key)?,
        key,
    };
    let issued = issue::sign(order, &issuer, home::clock()?)?;

    let log = home.log()?;
    let log_index = log.append(&issued.leaf).map_err(home::log_failure)?;
    log.publish().map_err(home::log_failure)?;
    let program = model.program().encode();
    let mut file = issue::receipt(
        issued.signed,
        program,
        &issued.blind,
        &log,
        log_index,
        home::clock()?,
    )?;
    if let Some(tee) = args.tee {
        tee::attach(tee, &mut file, &issuer.key)?;
    }
    Ok(Issued {
        file,
        opening: issued.opening,
        log_index,
        log_origin: log.verifier().name().to_string(),
    })
}

/// What is printed, gathered.
struct Shown<'a> {
    args: &'a Args,
    home: &'a Home,
    model: &'a AnyModel,
    issued: &'a Issued,
    answer: &'a [OutputValues],
    appraisal: &'a Appraisal,
    path: &'a Path,
    open_path: &'a Path,
    new_key: bool,
    planned: Option<&'a Planned>,
    proved: Option<&'a prover::Proved>,
}

impl Shown<'_> {
    fn answer(&self) -> Answer {
        let receipt_id = self.issued.file.receipt_id();
        let rungs: Vec<&str> = std::iter::once(Kind::Signature.as_str())
            .chain(
                self.issued
                    .file
                    .evidence()
                    .iter()
                    .map(|item| match self.args.tee {
                        Some(tee::Tee::Simulated) => "attestation-simulated",
                        _ => item.body.kind().as_str(),
                    }),
            )
            .collect();
        let json = json!({
            "output": self.answer,
            "receipt_path": self.path,
            "opening_path": self.open_path,
            "receipt_id": receipt_id,
            "program_digest": self.model.digest,
            "model": { "name": self.model.name, "version": self.model.version, "path": self.model.path },
            "rungs": rungs,
            "simulated": self.args.tee == Some(tee::Tee::Simulated),
            "proof": self.proved.map(prover::Proved::json),
            "good_for": self.appraisal.good_for,
            "privacy": self.appraisal.privacy,
            "not_proven": self.appraisal.not_proven,
            "enough": self.appraisal.enough,
            "log": { "origin": self.issued.log_origin, "index": self.issued.log_index },
            "decision": self.planned.map(Planned::json),
        });
        Answer {
            text: self.text(),
            json,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for output in self.answer {
            text.push_str(&answer_line(output));
        }
        let (path, open) = (self.path.display(), self.open_path.display());
        let mut rows = render::Table::new(2);
        rows.row(["Receipt", &format!("{path}  (share it)")]);
        rows.row([
            "Opening",
            &format!("{open}  (input, output and salts: keep it)"),
        ]);
        rows.row(["Receipt id", &self.issued.file.receipt_id().to_string()]);
        rows.row([
            "Model",
            &format!(
                "{} {}, program {}",
                self.model.name, self.model.version, self.model.digest
            ),
        ]);
        let key = self.issued.file.signed.statement().issuer_key;
        let made = if self.new_key {
            format!("; made now, in {}", self.home.path("key").display())
        } else {
            String::new()
        };
        rows.row([
            "Evidence",
            &format!("signature by {key}{made}{}", tee::shown(self.args.tee)),
        ]);
        if let Some(proved) = self.proved {
            rows.row(["Proof", &proved.line()]);
        }
        rows.row([
            "Log",
            &format!(
                "entry {} of your own log {}, with inclusion proof",
                self.issued.log_index, self.issued.log_origin
            ),
        ]);
        let _ = write!(text, "\n{}", rows.render(""));
        if let Some(planned) = self.planned {
            render::list(&mut text, "Plan", &planned.text());
        }
        let _ = write!(
            text,
            "\nGood for (to whoever holds the receipt and the opening)\n{}",
            render::good_for(&self.appraisal.good_for)
        );
        render::privacy(&mut text, self.appraisal);
        render::list(&mut text, "Not proven", &self.appraisal.not_proven);
        let mut next = vec![format!(
            "run it again yourself and compare: carat verify {path} --replay {} --input {}",
            self.args.model.display(),
            self.args.input.display()
        )];
        if self.args.trust.is_none() {
            next.push(
                "to get an amount, write down whom and what you trust: carat trust new --name YOU --currency USD"
                    .to_string(),
            );
        }
        render::list(&mut text, "Next", &next);
        text
    }
}

/// The answer as people read it: the class, or the numbers.
pub(super) fn answer_line(output: &OutputValues) -> String {
    const SHOWN: usize = 12;
    let numbers: Vec<String> = output
        .values
        .iter()
        .take(SHOWN)
        .map(|value| {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        })
        .collect();
    let more = match output.values.len().saturating_sub(SHOWN) {
        0 => String::new(),
        rest => format!(", and {rest} more"),
    };
    let numbers = format!("{} = [{}{more}]", output.name, numbers.join(", "));
    match &output.label {
        Some(label) => format!(
            "Answer: {} (class {})\n        {numbers}\n",
            label.name, label.index
        ),
        None => format!("Answer: {numbers}\n"),
    }
}
