//! `carat trust`: write and check a Trust file.

mod add;
mod show;

use std::path::{Path, PathBuf};

use carat_receipt::{Amount, Currency, Label, SigningKey};
use carat_verify::trust::{Content, Freshness, Standing};
use carat_verify::{Trust, time};
use clap::Subcommand;
use serde_json::json;

use super::verify::read_trust;
use super::{Context, Outcome, parse};
use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::home;
use crate::output::Answer;

/// Write down whose word counts, and for how much.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(NewArgs),
    Add(add::Args),
    Set(SetArgs),
    Sign(SignArgs),
    Check(CheckArgs),
    Show(ShowArgs),
}

/// Make a Trust file that trusts nobody yet, signed by your key.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat trust new --name \"Example Ltd\" --currency USD\n  carat trust new --name me --currency EUR --audience example.org -o my-trust.toml"
)]
struct NewArgs {
    /// What you call yourself.
    #[arg(long, value_parser = parse::<Label>)]
    name: Label,
    /// The one currency of the file, such as USD.
    #[arg(long, value_parser = parse::<Currency>)]
    currency: Currency,
    /// Whom receipts must be made for, if you rely on others' evidence.
    #[arg(long, value_parser = parse::<Label>)]
    audience: Option<Label>,
    /// Where to write it. It must not exist.
    #[arg(short, long, default_value = "trust.toml")]
    output: PathBuf,
    #[command(flatten)]
    now: Now,
}

/// Change the caps, the audience or the age limit; confirm the rest as of now.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat trust set trust.toml --implementation-cap 50000USD\n  carat trust set trust.toml --audience example.org\n  carat trust set trust.toml     confirm it as it is: it counts as new for max_age_days again"
)]
struct SetArgs {
    /// The Trust file.
    file: PathBuf,
    /// The most that may rest on this software being right.
    #[arg(long, value_name = "AMOUNT", value_parser = parse::<Amount>)]
    implementation_cap: Option<Amount>,
    /// Whom receipts must be made for.
    #[arg(long, value_parser = parse::<Label>)]
    audience: Option<Label>,
    /// How long the file may be relied on after it was last confirmed.
    #[arg(long, value_name = "DAYS")]
    max_age_days: Option<u64>,
    #[command(flatten)]
    now: Now,
}

/// Sign a Trust file that you edited by hand. Raises its version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  carat trust sign trust.toml")]
struct SignArgs {
    /// The Trust file.
    file: PathBuf,
    #[command(flatten)]
    now: Now,
}

/// Say whether a Trust file may be relied on now. Exit status 17 if not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  carat trust check trust.toml")]
struct CheckArgs {
    /// The Trust file.
    file: PathBuf,
    #[command(flatten)]
    now: Now,
}

/// Show what a Trust file says.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat trust show trust.toml\n  carat trust show trust.toml --json"
)]
struct ShowArgs {
    /// The Trust file.
    file: PathBuf,
    #[command(flatten)]
    now: Now,
}

#[derive(Debug, clap::Args)]
struct Now {
    /// Take this as the current time (Unix seconds) instead of the machine's clock.
    #[arg(long = "now", value_name = "UNIXTIME")]
    seconds: Option<u64>,
}

impl Now {
    fn get(&self) -> Result<u64, Failure> {
        self.seconds.map_or_else(home::clock, Ok)
    }
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    match args.command {
        Command::New(args) => new(args, context),
        Command::Add(args) => add::run(args, context),
        Command::Set(args) => set(args, context),
        Command::Sign(args) => change(&args.file, &args.now, context, |_| {}),
        Command::Check(args) => check(&args),
        Command::Show(args) => {
            let trust = read_trust(&args.file)?;
            Ok((show::show(&trust, args.now.get()?), Exit::Good))
        }
    }
}

fn new(args: NewArgs, context: &Context) -> Outcome {
    if args.output.exists() {
        let message = format!(
            "{} exists; give another name with -o, or change it with `carat trust set`",
            args.output.display()
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    let (key, _) = context.home()?.key_or_new()?;
    let now = args.now.get()?;
    let mut content = Content::new(args.name, key.public(), args.currency, now);
    content.audience = args.audience;
    let trust = Trust::new(content).map_err(Failure::of(Exit::Trust))?;
    sign_and_write(trust, &key, &args.output, now)
}

fn set(args: SetArgs, context: &Context) -> Outcome {
    let SetArgs {
        file,
        implementation_cap,
        audience,
        max_age_days,
        now,
    } = args;
    change(&file, &now, context, |content| {
        if let Some(cap) = implementation_cap {
            content.implementation_cap = Some(cap);
        }
        if let Some(audience) = audience {
            content.audience = Some(audience);
        }
        if let Some(days) = max_age_days {
            content.max_age_days = days;
        }
    })
}

/// Edits a Trust file with the owner's key, and writes it signed.
fn change(path: &Path, now: &Now, context: &Context, edit: impl FnOnce(&mut Content)) -> Outcome {
    let mut trust = read_trust(path)?;
    let key = context.home()?.key()?;
    let owner = trust.content().owner;
    let key = key.filter(|key| key.public() == owner).ok_or_else(|| {
        let message = format!(
            "{} belongs to key {owner}, which is not the one in your data directory; only its owner can change it",
            path.display()
        );
        Failure::new(Exit::Trust, message)
    })?;
    let now = now.get()?;
    trust
        .edit(now, edit)
        .map_err(|error| Failure::new(Exit::Trust, format!("{}: {error}", path.display())))?;
    sign_and_write(trust, &key, path, now)
}

fn sign_and_write(mut trust: Trust, key: &SigningKey, path: &Path, now: u64) -> Outcome {
    trust.sign(key).map_err(Failure::of(Exit::Trust))?;
    files::write_atomic(path, trust.render().as_bytes(), Mode::Shared)?;
    let Answer { text, json } = show::show(&trust, now);
    let text = format!("Wrote {}\n\n{text}", path.display());
    Ok((Answer { text, json }, Exit::Good))
}

fn check(args: &CheckArgs) -> Outcome {
    let trust = read_trust(&args.file)?;
    let freshness = trust.freshness(args.now.get()?);
    let mut faults = Vec::new();
    match trust.standing() {
        Standing::Signed | Standing::BuiltIn => {}
        Standing::Unsigned => faults.push("it is not signed: carat trust sign FILE".to_string()),
        Standing::Broken => faults.push(
            "it was changed after it was signed: look at the change, then carat trust sign FILE"
                .to_string(),
        ),
    }
    match freshness {
        Freshness::Fresh => {}
        Freshness::Stale { until } => faults.push(format!(
            "it ran out at {}: look through it, then carat trust set FILE confirms it",
            time::to_text(until)
        )),
        Freshness::FromTheFuture => {
            faults.push("it is dated in the future: check this machine's clock".to_string());
        }
    }
    let content = trust.content();
    let mut text = format!(
        "{}: {}, version {}, digest {}\n",
        args.file.display(),
        content.name,
        content.version,
        trust.digest()
    );
    if faults.is_empty() {
        text.push_str("It is signed by its owner and within its age limit.\n");
    }
    for fault in &faults {
        text.push_str(&format!("May not be relied on: {fault}\n"));
    }
    let json = json!({
        "ok": faults.is_empty(),
        "faults": faults,
        "name": content.name,
        "version": content.version,
        "owner": content.owner,
        "digest": trust.digest(),
    });
    let exit = if faults.is_empty() {
        Exit::Good
    } else {
        Exit::Trust
    };
    Ok((Answer { text, json }, exit))
}
