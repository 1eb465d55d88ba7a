//! `carat help` and `carat completions`.

use clap::Command;
use clap_complete::Shell;

use super::Outcome;
use crate::exit::{self, Exit, Failure};
use crate::output::Answer;

/// Explain a command, or the exit statuses.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  carat help run\n  carat help trust add\n  carat help errors")]
pub(super) struct Args {
    /// A command, or `errors`.
    #[arg(value_name = "TOPIC")]
    topic: Vec<String>,
    /// Print the page docs/errors.md.
    #[arg(long, hide = true)]
    markdown: bool,
}

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat completions bash > ~/.local/share/bash-completion/completions/carat\n  carat completions zsh > ~/.zfunc/_carat\n  carat completions fish > ~/.config/fish/completions/carat.fish"
)]
pub(super) struct CompletionArgs {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(args: Args, root: &mut Command) -> Outcome {
    let text = match args.topic.as_slice() {
        [topic] if topic == "errors" => {
            if args.markdown {
                exit::table_markdown()
            } else {
                exit::table_text()
            }
        }
        path => {
            root.build();
            let mut command = &mut *root;
            for name in path {
                command = command.find_subcommand_mut(name).ok_or_else(|| {
                    let message = format!(
                        "there is no help on `{}`; `carat help` lists the commands",
                        path.join(" ")
                    );
                    Failure::new(Exit::Usage, message)
                })?;
            }
            command.render_long_help().to_string()
        }
    };
    let json = serde_json::json!({ "help": text });
    Ok((Answer { text, json }, Exit::Good))
}

pub(super) fn completions(args: CompletionArgs, root: &mut Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, root, "carat", &mut script);
    let text = String::from_utf8_lossy(&script).into_owned();
    let json = serde_json::json!({ "script": text });
    Ok((Answer { text, json }, Exit::Good))
}
