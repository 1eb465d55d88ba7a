//! `carat keys`.

use std::fmt::Write as _;

use carat_receipt::{Label, SigningKey};
use clap::Subcommand;
use serde_json::json;

use super::{Context, Outcome, parse};
use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::home::Home;
use crate::output::Answer;

/// Show or make the key that signs your receipts and Trust files.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Keys,
}

#[derive(Debug, Subcommand)]
enum Keys {
    /// Print the public key, its name and where it is kept.
    #[command(after_help = "Examples:\n  carat keys show\n  carat keys show --json")]
    Show,
    /// Make the key now, with a name. `carat run` makes one without a name when there is none.
    #[command(after_help = "Example:\n  carat keys new --name \"Example Ltd\"")]
    New {
        /// What receipts call you. A claim: a relying party goes by the key.
        #[arg(long, value_parser = parse::<Label>)]
        name: Option<Label>,
    },
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let home = context.home()?;
    let key = match args.command {
        Keys::Show => home.key()?.ok_or_else(|| {
            let message = format!(
                "there is no key in {} yet; `carat keys new` makes one, and so does the first `carat run`",
                home.root().display()
            );
            Failure::new(Exit::Io, message)
        })?,
        Keys::New { name } => {
            let _held = home.hold()?;
            if home.path("key").exists() {
                let message = format!(
                    "{} exists and receipts may rest on it; move it away first if you want another, and keep it",
                    home.path("key").display()
                );
                return Err(Failure::new(Exit::Usage, message));
            }
            if let Some(name) = name {
                let line = format!("{name}\n");
                files::write_atomic(&home.path("name"), line.as_bytes(), Mode::Shared)?;
            }
            home.new_key("key")?
        }
    };
    show(&home, &key)
}

fn show(home: &Home, key: &SigningKey) -> Outcome {
    let public = key.public();
    let name = home.issuer_name(key)?;
    let path = home.path("key");
    let mut text = String::new();
    let _ = writeln!(text, "Name        {name}");
    let _ = writeln!(text, "Public key  {public}");
    let _ = writeln!(text, "Key id      {}", public.id());
    let _ = writeln!(
        text,
        "Kept in     {} (secret; do not share)",
        path.display()
    );
    let _ = writeln!(
        text,
        "\nGive the public key to those who should accept your receipts; they write it into their Trust file:\n  carat trust add trust.toml issuer \"{name}\" {public}"
    );
    let json = json!({ "name": name, "public_key": public, "key_id": public.id(), "path": path });
    Ok((Answer { text, json }, Exit::Good))
}
