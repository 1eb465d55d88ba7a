//! `carat api-key`: who may call the server.

use carat_node::access::{self, ApiKey, KEYS_FILE, Scope};
use carat_node::node::home_of;
use carat_receipt::Label;
use clap::Subcommand;
use serde_json::json;

use super::{Context, Outcome, parse};
use crate::exit::{Exit, Failure};
use crate::home;
use crate::output::Answer;
use crate::render::Table;

/// Make, list and revoke the API keys of the server.
///
/// Only hashes are kept. A server that runs takes a change over within a second or two.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(NewArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Make a key. It is shown once.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat api-key new --tenant acme\n  carat api-key new --tenant acme --scope read --days 90 --json"
)]
struct NewArgs {
    /// Whose key it is. Tenants see nothing of each other.
    #[arg(long, value_name = "NAME", value_parser = parse::<Label>)]
    tenant: Label,
    /// What it allows: infer, read, upgrade, erase; publish, in the tenant's namespace of the hub; admin, for the operator, sees all
    /// tenants.
    #[arg(long, value_delimiter = ',', default_values = ["infer", "read", "upgrade"], value_parser = parse::<Scope>)]
    scope: Vec<Scope>,
    /// Days after which it is refused [default: never].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    days: Option<u64>,
}

/// List the keys.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  carat api-key list\n  carat api-key list --json")]
struct ListArgs {}

/// Refuse a key from now on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  carat api-key revoke 1a2b3c4d")]
struct RevokeArgs {
    /// The eight digits that name it.
    id: String,
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let home = home_of(&context.home()?);
    let _held = home.hold()?;
    let path = home.path(KEYS_FILE);
    let mut keys = access::read_keys(&path)?;
    match args.command {
        Command::New(args) => {
            let expires = args
                .days
                .map(|days| home::clock().map(|now| now.saturating_add(days * 86_400)))
                .transpose()?;
            let (key, text) = access::new_key(args.tenant, args.scope, expires)?;
            keys.push(key.clone());
            access::write_keys(&path, &keys)?;
            let mut json = shown(&key);
            json["key"] = json!(text.as_str());
            let text = format!(
                "{}\nKey {} of {}. It is not shown again: Authorization: Bearer KEY\n",
                text.as_str(),
                key.id,
                key.tenant
            );
            Ok((Answer { text, json }, Exit::Good))
        }
        Command::List(ListArgs {}) => {
            let mut rows = Table::new(3);
            rows.row(["key", "tenant", "scopes"]);
            for key in &keys {
                let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
                rows.row([key.id.as_str(), key.tenant.as_str(), &scopes.join(", ")]);
            }
            let json = json!({ "keys": keys.iter().map(shown).collect::<Vec<_>>() });
            let text = rows.render("");
            Ok((Answer { text, json }, Exit::Good))
        }
        Command::Revoke(args) => {
            let before = keys.len();
            keys.retain(|key| key.id != args.id);
            if keys.len() == before {
                let message = format!("{} has no key {:?}", path.display(), args.id);
                return Err(Failure::new(Exit::Usage, message));
            }
            access::write_keys(&path, &keys)?;
            let text = format!("Key {} is refused from now on.\n", args.id);
            let json = json!({ "revoked": args.id });
            Ok((Answer { text, json }, Exit::Good))
        }
    }
}

fn shown(key: &ApiKey) -> serde_json::Value {
    json!({
        "id": key.id,
        "tenant": key.tenant,
        "scopes": key.scopes,
        "expires": key.expires,
    })
}
