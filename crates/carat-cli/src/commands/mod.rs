//! The commands. The definitions here give the parser, `--help` and the shell completions.

mod api_key;
mod audit;
mod bench;
mod calibrate;
mod certificate;
mod conformance;
mod explain;
mod help;
mod hub;
mod keys;
mod log;
mod models;
mod plan;
mod policy;
mod prove;
mod proxy;
mod replay;
mod run;
mod serve;
mod simulate;
mod stats;
mod tee;
mod trust;
mod upgrade;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use carat_node::store::StoreOptions;
use carat_node::store::seal::Keys;
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::exit::{Exit, Failure};
use crate::output::{self, Answer};

/// Run a model, give the answer a receipt, and let anyone check it.
#[derive(Debug, Parser)]
#[command(
    name = "carat",
    version,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "Start here:\n  carat run models/digits --input examples/seven.png\n  carat help errors     what each exit status means"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print JSON on standard output instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// Directory of keys, the local log and compiled models [default: $CARAT_HOME, else carat in the user's data
    /// directory].
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Serve(serve::Args),
    Proxy(proxy::Args),
    Upgrade(upgrade::Args),
    ApiKey(api_key::Args),
    Verify(verify::Args),
    Prove(prove::Args),
    Replay(replay::Args),
    Explain(explain::Args),
    Plan(plan::Args),
    Policy(policy::Args),
    Calibrate(calibrate::Args),
    Model(models::Args),
    Hub(hub::Args),
    Trust(trust::Args),
    Log(log::Args),
    Tee(tee::Args),
    Stats(stats::Args),
    Keys(keys::Args),
    Simulate(simulate::Args),
    Audit(audit::Args),
    Certificate(certificate::Args),
    Conformance(conformance::Args),
    Bench(bench::Args),
    Completions(help::CompletionArgs),
    Help(help::Args),
}

/// What every command gets besides its own arguments.
pub(crate) use carat_node::home::Place as Context;

/// What a command gives back: its answer, and how it ends. A verdict other than good is an answer, not a failure.
pub(crate) type Outcome = Result<(Answer, Exit), Failure>;

/// Parses the command line, runs the command, prints.
pub(crate) fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output with status 0, mistakes to standard error with status 2.
            let code = error.exit_code();
            let text = error.render();
            if code == 0 {
                return printed(output::print(&text.to_string()), Exit::Good);
            }
            output::complain(text.to_string().trim_end());
            return Exit::Usage;
        }
    };
    let json = cli.json;
    let context = Context {
        data_dir: cli.data_dir,
        tell: &output::Terminal,
    };
    match dispatch(cli.command, &context) {
        Ok((answer, exit)) => {
            let text = if json {
                format!("{:#}", answer.json)
            } else {
                answer.text
            };
            printed(output::print(&text), exit)
        }
        Err(failure) => {
            if json {
                // The message below is there in any case.
                let _ = output::print(&format!("{:#}", failure.to_json()));
            }
            output::complain(&format!("carat: {}", failure.message));
            failure.exit
        }
    }
}

fn printed(result: std::io::Result<()>, exit: Exit) -> Exit {
    match result {
        Ok(()) => exit,
        Err(error) => {
            let failure =
                crate::files::io_failure("writing to", "standard output".as_ref(), &error);
            output::complain(&format!("carat: {}", failure.message));
            failure.exit
        }
    }
}

fn dispatch(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Run(args) => run::run(args, context),
        Command::Serve(args) => serve::run(args, context),
        Command::Proxy(args) => proxy::run(args, context),
        Command::Upgrade(args) => upgrade::run(args, context),
        Command::ApiKey(args) => api_key::run(args, context),
        Command::Verify(args) => verify::run(args, context),
        Command::Prove(args) => prove::run(args, context),
        Command::Replay(args) => replay::run(args, context),
        Command::Explain(args) => explain::run(args, context),
        Command::Plan(args) => plan::run(args, context),
        Command::Policy(args) => policy::run(args, context),
        Command::Calibrate(args) => calibrate::run(args, context),
        Command::Model(args) => models::run(args, context),
        Command::Hub(args) => hub::run(args, context),
        Command::Trust(args) => trust::run(args, context),
        Command::Log(args) => log::run(args, context),
        Command::Tee(args) => tee::run(args, context),
        Command::Stats(args) => stats::run(args, context),
        Command::Keys(args) => keys::run(args, context),
        Command::Audit(args) => audit::run(args, context),
        Command::Certificate(args) => certificate::run(args, context),
        Command::Simulate(args) => simulate::run(args, context),
        Command::Conformance(args) => conformance::run(args),
        Command::Bench(args) => bench::run(args, context),
        Command::Completions(args) => help::completions(args, &mut Cli::command()),
        Command::Help(args) => help::run(args, &mut Cli::command()),
    }
}

/// Parses an argument with the type's own parser, so that its sentence is the one that people see.
fn parse<T>(text: &str) -> Result<T, String>
where
    T: std::str::FromStr,
    T::Err: ToString,
{
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// Keys of a server's encrypted store, for commands that read it.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreKeys {
    /// The key of the server's encrypted store; may be given again for keys before it.
    #[arg(long, value_name = "FILE")]
    store_key: Vec<PathBuf>,
}

impl StoreKeys {
    /// The keys, where any were given.
    fn read(&self) -> Result<Option<Arc<Keys>>, Failure> {
        let Some((current, previous)) = self.store_key.split_first() else {
            return Ok(None);
        };
        Keys::read(current, previous).map(|keys| Some(Arc::new(keys)))
    }

    /// How the store is opened with them.
    pub(crate) fn options(&self) -> Result<StoreOptions, Failure> {
        Ok(StoreOptions {
            keys: self.read()?,
            ..StoreOptions::default()
        })
    }
}

/// Bytes given in hexadecimal.
#[derive(Debug, Clone)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

fn hex_bytes(text: &str) -> Result<Hex, String> {
    match hex::decode(text) {
        Ok(bytes) if (8..=64).contains(&bytes.len()) => Ok(Hex(bytes)),
        _ => Err("a nonce is 8 to 64 bytes in hexadecimal: 16 to 128 digits".to_string()),
    }
}

/// The float profile of a name; `tract` is the current one.
fn float_profile(name: &str) -> Result<carat_float::profile::Profile, String> {
    carat_float::profile::find(name).ok_or_else(|| {
        let known: Vec<&str> = carat_float::profile::PROFILES
            .iter()
            .map(|profile| profile.name)
            .collect();
        format!(
            "the profiles of this release are tract and {}",
            known.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_an_example() {
        fn walk(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} says nothing");
            let leaf = command.get_subcommands().next().is_none();
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(!leaf || help.contains("carat "), "{path} has no example");
            command.get_subcommands().for_each(|sub| walk(sub, &path));
        }
        Cli::command()
            .get_subcommands()
            .for_each(|c| walk(c, "carat"));
    }
}
