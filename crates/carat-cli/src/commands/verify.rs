//! `carat verify`: what a receipt is good for. The verdict is `carat_verify::appraise`'s; this gathers the question.

use std::path::{Path, PathBuf};

use carat_receipt::commit::{MAX_OPENING_BYTES, MAX_VALUE_BYTES};
use carat_receipt::file::MAX_FILE_BYTES;
use carat_receipt::{Amount, Label, Opening, PublicKey, ReceiptFile};
use carat_verify::{
    CourierAsked, OpenExposure, OwnReplay, Question, Remembered, Report, Trust, Upstream, UseAt,
    carried_program,
};

use super::run::answer_line;
use super::{Context, Outcome, parse};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::home;
use crate::model::{AnyModel, Computation};
use crate::output::{Answer, Progress};
use crate::prover;
use crate::render;
use crate::seen::Seen;

/// Say what a receipt is good for, offline.
///
/// Every check is listed, also those that could not be made. Exit status: 0 good for the amount asked, 1 invalid, 3 valid
/// but simulated hardware, 4 valid but not enough or nothing vouches for it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat verify receipt.carat\n  carat verify receipt.carat --trust trust.toml --amount 500USD\n  carat verify receipt.carat --trust trust.toml --replay models/digits --input examples/seven.png\n  carat verify receipt.carat --model models/digits --input examples/seven.png\n  carat verify receipt.carat --nonce 00112233445566778899aabbccddeeff --audience example.org --json"
)]
pub(super) struct Args {
    /// The receipt.
    file: PathBuf,
    /// Your Trust file: whose word counts, and for how much.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// The key that the Trust file must be signed by.
    #[arg(long, value_name = "KEY", requires = "trust", value_parser = parse::<PublicKey>)]
    trust_owner: Option<PublicKey>,
    /// What should ride on the answer, such as 500USD.
    #[arg(long, value_parser = parse::<Amount>)]
    amount: Option<Amount>,
    /// The nonce that you gave when you asked, in hexadecimal.
    #[arg(long, value_name = "HEX", value_parser = super::hex_bytes)]
    nonce: Option<super::Hex>,
    /// Who you are, as the receipt should name you.
    #[arg(long, value_name = "NAME", value_parser = parse::<Label>)]
    audience: Option<Label>,
    /// The input that you asked about; for a courier's receipt the body of your request, byte for byte.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// The answer that you were given, byte for byte, where a courier passed it on. Of a stream, without what follows the line
    /// that begins with `: carat-receipt`, and without that line.
    #[arg(long, value_name = "FILE")]
    answer: Option<PathBuf>,
    /// The model that you asked an upstream for, through a courier.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["replay", "model"])]
    asked: Option<String>,
    /// The interface that you asked, with --asked.
    #[arg(long, value_name = "PATH", default_value = "/v1/chat/completions")]
    endpoint: String,
    /// The opening of the receipt [default: the `.carat-open` file beside it, where there is one].
    #[arg(long, value_name = "FILE")]
    open: Option<PathBuf>,
    /// Run this model on the input, on this machine, and compare.
    #[arg(long, value_name = "MODEL", requires = "input")]
    replay: Option<PathBuf>,
    /// When you act on the answer: at once, or before settlement, waiting for the audits so that gains can be taken back.
    #[arg(
        long = "use",
        value_enum,
        value_name = "WHEN",
        default_value = "after-use"
    )]
    use_at: UseWhen,
    /// What rides on this receipt already; the amount asked comes on top.
    #[arg(long, value_name = "AMOUNT", value_parser = parse::<Amount>)]
    already_relied: Option<Amount>,
    /// What you have open on other receipts of this issuer, whose audits are not resolved yet; ISSUER=AMOUNT for an issuer of
    /// the Trust file, such as one that this receipt rests on. May be given several times; amounts add up.
    #[arg(long, value_name = "[ISSUER=]AMOUNT", value_parser = OpenExposure::parse_entry)]
    open_exposure: Vec<(Option<Label>, Amount)>,
    /// A receipt that this one rests on; give it once for each. Its opening is taken from beside it.
    #[arg(long, value_name = "FILE")]
    upstream: Vec<PathBuf>,
    /// The model that you mean. It is not run: its digest, and the key that proofs are checked under, are computed here.
    #[arg(long, value_name = "MODEL", conflicts_with = "replay")]
    model: Option<PathBuf>,
    /// Take this as the current time (Unix seconds) instead of the machine's clock.
    #[arg(long, value_name = "UNIXTIME")]
    now: Option<u64>,
}

/// When a relying party acts on an answer.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum UseWhen {
    /// At once: what a cheat gains stays with it.
    AfterUse,
    /// Nothing is final before the audits are resolved.
    BeforeSettle,
}

/// Reads a receipt that another one rests on, and its opening where there is one.
fn read_upstream(path: &Path) -> Result<(ReceiptFile, Option<Opening>), Failure> {
    let bytes = files::read_capped(path, "a receipt", MAX_FILE_BYTES as u64)?;
    let file = ReceiptFile::decode(&bytes)
        .map_err(|error| Failure::new(Exit::Invalid, format!("{}: {error}", path.display())))?;
    let beside = files::sibling(path, "carat-open");
    let opening = if beside.is_file() {
        Some(read_opening(&beside)?)
    } else {
        None
    };
    Ok((file, opening))
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let bytes = files::read_capped(&args.file, "a receipt", MAX_FILE_BYTES as u64)?;
    // Bytes that are no receipt are for the appraisal to judge; without one there is nothing to gather.
    let receipt = ReceiptFile::decode(&bytes).ok();
    let trust = args.trust.as_deref().map(read_trust).transpose()?;
    let opening = match &args.open {
        Some(path) => Some(read_opening(path)?),
        None => {
            let beside = files::sibling(&args.file, "carat-open");
            if beside.is_file() {
                Some(read_opening(&beside)?)
            } else {
                None
            }
        }
    };
    let model = match args.replay.as_ref().or(args.model.as_ref()) {
        Some(path) => Some(AnyModel::load(path, context)?),
        None => None,
    };
    let answer = match &args.answer {
        Some(path) => Some(files::read_capped(
            path,
            "an answer",
            MAX_VALUE_BYTES as u64,
        )?),
        None => None,
    };
    let (input, output) = match (&args.input, &receipt) {
        (Some(path), Some(receipt)) if is_courier(receipt) => {
            let bytes = files::read_capped(path, "a request", MAX_VALUE_BYTES as u64)?;
            (Some(bytes), None)
        }
        (Some(path), Some(receipt)) => {
            first_hand(path, receipt, model.as_ref(), args.replay.is_some())?
        }
        _ => (None, None),
    };
    let model_keys = match (&model, &receipt) {
        (Some(model), Some(receipt)) => match model.integer() {
            Ok(model) => prover::keys_for(model, receipt, context.tell)?,
            // A proof of a float program cannot be: there is no key that one would hold under.
            Err(_) => Vec::new(),
        },
        _ => Vec::new(),
    };
    let now = match args.now {
        Some(now) => now,
        None => home::clock()?,
    };
    let seen = Seen::of(context, trust.as_ref(), receipt.as_ref())?;
    // Your own machine is a reason to rely on an answer even where nobody is trusted, whether it runs the model again or
    // checks a proof under a key that it computed: then the built-in default gives the cap, and nothing else.
    let default = match (&trust, &model) {
        (None, Some(_)) => Some(
            Trust::built_in_for(args.amount.as_ref(), now).map_err(Failure::of(Exit::Internal))?,
        ),
        _ => None,
    };
    let own_replay = match (&model, &input, &output) {
        (Some(model), Some(input), Some(output)) => Some(OwnReplay {
            program: model.digest,
            input,
            output,
        }),
        _ => None,
    };
    let rests_on = args
        .upstream
        .iter()
        .map(|path| read_upstream(path))
        .collect::<Result<Vec<_>, _>>()?;
    let upstream: Vec<Upstream<'_>> = rests_on
        .iter()
        .map(|(file, opening)| Upstream {
            file,
            opening: opening.as_ref(),
            own_replay: None,
            open_edges: None,
        })
        .collect();
    let exposure = OpenExposure::gather(args.open_exposure).map_err(Failure::of(Exit::Usage))?;
    let question = Question {
        now,
        use_at: match args.use_at {
            UseWhen::AfterUse => UseAt::AfterUse,
            UseWhen::BeforeSettle => UseAt::BeforeSettle,
        },
        relied: args.already_relied,
        open_exposure: exposure.own,
        open_exposures: &exposure.by_issuer,
        upstream: &upstream,
        trust: trust.as_ref().or(default.as_ref()),
        trust_owner: args.trust_owner,
        nonce: args.nonce.as_ref().map(|nonce| nonce.0.as_slice()),
        audience: args.audience.as_ref(),
        amount: args.amount,
        opening: opening.as_ref(),
        input: input.as_deref(),
        output: answer.as_deref(),
        courier: args.asked.as_deref().map(|model| CourierAsked {
            endpoint: &args.endpoint,
            model,
        }),
        model: model.as_ref().map(|model| model.digest),
        model_keys: &model_keys,
        own_replay,
        remembered: Remembered {
            trust_version: seen.trust_version(),
            checkpoint: seen.checkpoint(),
            consistency: None,
        },
    };
    let appraisal =
        carat_verify::appraise_bytes(&bytes, &question).map_err(Failure::of(Exit::Usage))?;
    seen.remember(&appraisal);
    let mut text = render::appraisal(&appraisal);
    let exit = Exit::from_verdict(appraisal.exit_code);
    let report = Report::new(appraisal, receipt.as_ref(), opening.as_ref());
    if let Some(outputs) = &report.output {
        let lines: String = outputs.iter().map(answer_line).collect();
        let head = text.find('\n').map_or(text.len(), |at| at + 1);
        text.insert_str(head, &format!("\n{lines}"));
    }
    let json = serde_json::to_value(&report).map_err(Failure::of(Exit::Internal))?;
    Ok((Answer { text, json }, exit))
}

/// Whether the receipt is about an answer that a courier passed on, and so about bytes and not about tensors.
fn is_courier(receipt: &ReceiptFile) -> bool {
    receipt.signed.statement().optional.courier.is_some()
}

type Bytes = Option<Vec<u8>>;

/// Canonical bytes of the input that the relying party has, and of the output that its own machine computes.
fn first_hand(
    path: &Path,
    receipt: &ReceiptFile,
    model: Option<&AnyModel>,
    replay: bool,
) -> Result<(Bytes, Bytes), Failure> {
    if let Some(model) = model
        && replay
    {
        let tensors = model.program().read_input(path)?;
        let _progress = Progress::start("running the model on this machine");
        let output = model.answer(&tensors)?;
        return Ok((Some(tensors.canonical()), Some(output.canonical())));
    }
    // The Program says how a file becomes integers.
    let tensors = match (carried_program(receipt), &receipt.program, model) {
        (Some(program), _, _) => Computation::of(&program).read_input(path)?,
        // Invalid in any case: the appraisal says why.
        (None, Some(_), _) => return Ok((None, None)),
        (None, None, Some(model)) => model.program().read_input(path)?,
        (None, None, None) => {
            let message = "the receipt carries no Program, which says how an input file is read; give --replay MODEL";
            return Err(Failure::new(Exit::Mismatch, message));
        }
    };
    Ok((Some(tensors.canonical()), None))
}

pub(super) use carat_node::files::read_trust;

/// Reads an opening.
pub(super) fn read_opening(path: &Path) -> Result<Opening, Failure> {
    let bytes = files::read_capped(path, "an opening", MAX_OPENING_BYTES as u64)?;
    let bytes = zeroize::Zeroizing::new(bytes);
    Opening::decode(&bytes)
        .map_err(|error| Failure::new(Exit::Mismatch, format!("{}: {error}", path.display())))
}
