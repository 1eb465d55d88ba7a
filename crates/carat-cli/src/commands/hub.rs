//! `carat hub`: publish, find, show, fetch and take down models.

mod import;
mod publish;
mod pull;
mod show;

use std::path::PathBuf;
use std::str::FromStr;

use carat_hub::search::Query;
use carat_hub::signing::Demand;
use carat_hub::{Hub, Limits, Publisher, RepoId, Tag, Version};
use carat_node::client::{Client, Sent};
use carat_node::hub::remote::address;
use carat_node::hub::worker;
use clap::Subcommand;
use serde_json::{Value, json};

use super::upgrade::api_key;
use super::{Context, Outcome, parse};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::home;
use crate::output::{Answer, Progress};
use crate::prover;
use crate::render::Table;

/// Publish, find, show, fetch and take down models.
///
/// Without --server this is about the hub in the data directory, which `carat serve` serves where its configuration has `[hub]`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Publish(publish::Args),
    Search(SearchArgs),
    Show(show::Args),
    Pull(pull::Args),
    Tag(TagArgs),
    Tombstone(TombstoneArgs),
    Import(import::Args),
    Check(CheckArgs),
    #[command(hide = true)]
    Worker(WorkerArgs),
}

/// Where the hub is.
#[derive(Debug, clap::Args)]
struct Where {
    /// A server with a hub: https://HOST:PORT, or http://HOST:PORT [default: the hub in the data directory].
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// A file with the API key [default: the variable CARAT_API_KEY].
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Authorities that may have issued the server's certificate, in PEM [default: those that this system trusts].
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,
}

/// A hub.
enum Place {
    Here(Box<Hub>),
    There(Client),
}

impl Where {
    fn open(&self, context: &Context) -> Result<Place, Failure> {
        let Some(server) = &self.server else {
            return Ok(Place::Here(Box::new(here(context)?)));
        };
        let key = api_key(self.api_key_file.as_deref())?;
        Client::new(server, key, self.ca.as_deref()).map(Place::There)
    }
}

fn here(context: &Context) -> Result<Hub, Failure> {
    carat_node::hub::open(&context.home()?, Limits::default())
}

/// OWNER/NAME@REVISION.
#[derive(Debug, Clone)]
struct Reference {
    repo: RepoId,
    revision: Option<String>,
}

impl Reference {
    fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(carat_hub::name::LATEST)
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (repo, revision) = match text.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (text, None),
        };
        // Whatever it is, it is a version, a tag or a digest, and safe in an address.
        if let Some(revision) = revision
            && revision.parse::<Tag>().is_err()
            && !(matches!(revision.len(), 40 | 64)
                && revision.bytes().all(|b| b.is_ascii_hexdigit()))
            && revision != carat_hub::name::MAIN
        {
            return Err(format!("{revision:?} is no version, tag or digest"));
        }
        Ok(Self {
            repo: repo
                .parse()
                .map_err(|error: carat_hub::HubError| error.to_string())?,
            revision: revision.map(ToString::to_string),
        })
    }
}

/// Who must have signed.
#[derive(Debug, clap::Args)]
struct Signer {
    /// The public key that must have signed the files (PEM).
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
    /// Certificates, one of which must be the root of the signer's (PEM).
    #[arg(long, value_name = "FILE")]
    signing_root: Option<PathBuf>,
}

impl Signer {
    fn demand(&self) -> Result<Demand, Failure> {
        let read = |path: &Option<PathBuf>, what| {
            path.as_ref()
                .map(|path| files::read_text(path, what, 1 << 20))
                .transpose()
        };
        Ok(Demand {
            key: read(&self.signing_key, "a public key")?,
            roots: read(&self.signing_root, "certificates")?,
        })
    }

    fn demands(&self) -> bool {
        self.signing_key.is_some() || self.signing_root.is_some()
    }
}

/// Search the newest versions of all models that are listed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat hub search digits\n  carat hub search --operator Conv,Relu --rung zk --max-cost-ms 50 --sort cost\n  carat hub search --execution refused --json"
)]
struct SearchArgs {
    /// Words: all must occur, each as a word or as its beginning.
    words: Vec<String>,
    #[command(flatten)]
    at: Where,
    /// Namespace.
    #[arg(long)]
    owner: Option<String>,
    /// Task, as in image-classification.
    #[arg(long)]
    task: Option<String>,
    /// Licence.
    #[arg(long)]
    licence: Option<String>,
    /// Operators that are all used, with commas between them.
    #[arg(long, value_name = "OPERATORS")]
    operator: Option<String>,
    /// Whether it runs here: runs, refused, no-model or pending.
    #[arg(long)]
    execution: Option<String>,
    /// What receipts can rest on: signature, replay, tee or zk.
    #[arg(long)]
    rung: Option<String>,
    /// Median cost of that rung (of zk where none is named), at most, in milliseconds.
    #[arg(long, value_name = "MS")]
    max_cost_ms: Option<u64>,
    /// Lowest version of the default operator set.
    #[arg(long)]
    opset_min: Option<i64>,
    /// Highest version of the default operator set.
    #[arg(long)]
    opset_max: Option<i64>,
    /// Most bytes of all files.
    #[arg(long, value_name = "SIZE", value_parser = prover::size)]
    max_size: Option<u64>,
    /// relevance, newest, name, size or cost.
    #[arg(long)]
    sort: Option<String>,
    /// Results to leave out.
    #[arg(long, default_value_t = 0)]
    offset: usize,
    /// Results to give, at most 100.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

/// Put a tag at a version, or show where it stands and stood.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat hub tag acme/digits stable 1.0.0\n  carat hub tag acme/digits stable"
)]
struct TagArgs {
    /// OWNER/NAME.
    #[arg(value_parser = parse::<RepoId>)]
    model: RepoId,
    /// The tag.
    #[arg(value_parser = parse::<Tag>)]
    tag: Tag,
    /// Version, tag or digest that it is put at.
    revision: Option<String>,
    #[command(flatten)]
    at: Where,
}

/// Take a version down: its bytes go; its name, its digest, the reason and the date stay.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat hub tombstone acme/digits@1.0.0 --reason 'trained on data without a licence'"
)]
struct TombstoneArgs {
    /// OWNER/NAME@VERSION.
    #[arg(value_parser = parse::<Reference>)]
    version: Reference,
    /// Why, for whoever asks for it.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    at: Where,
}

/// Read everything in the hub of the data directory and compare it with its digests. Exit status 19 where something is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  carat hub check --json")]
struct CheckArgs {}

/// Examine models for another process, from standard input to standard output.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  carat hub worker --memory 1073741824")]
struct WorkerArgs {
    /// Memory that it may take, in bytes.
    #[arg(long)]
    memory: u64,
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    match args.command {
        Command::Publish(args) => publish::run(args, context),
        Command::Search(args) => search(args, context),
        Command::Show(args) => show::run(&args, context),
        Command::Pull(args) => pull::run(&args, context),
        Command::Tag(args) => tag(args, context),
        Command::Tombstone(args) => tombstone(args, context),
        Command::Import(args) => import::run(args, context),
        Command::Check(CheckArgs {}) => check(context),
        Command::Worker(args) => {
            worker::serve(args.memory)?;
            let (text, json) = (String::new(), json!({}));
            Ok((Answer { text, json }, Exit::Good))
        }
    }
}

fn search(args: SearchArgs, context: &Context) -> Outcome {
    let query = Query {
        q: args.words.join(" "),
        owner: args.owner,
        task: args.task,
        licence: args.licence,
        operators: args.operator,
        execution: args.execution,
        rung: args.rung,
        max_cost_micros: args.max_cost_ms.map(|ms| ms.saturating_mul(1000)),
        opset_min: args.opset_min,
        opset_max: args.opset_max,
        max_bytes: args.max_size,
        sort: args.sort,
        offset: args.offset,
        limit: Some(args.limit),
    };
    let json = match args.at.open(context)? {
        Place::Here(hub) => json!(hub.search(&query)),
        Place::There(client) => client.get(&address_of(&query))?.good()?.json()?,
    };
    let mut rows = Table::new(5);
    rows.row(["model", "runs", "receipts can rest on", "one proof", "size"]);
    for hit in json["hits"].as_array().into_iter().flatten() {
        let rungs: Vec<&str> = hit["rungs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let proof = hit["cost_micros"]["zk"].as_u64();
        rows.row([
            &format!("{}@{}", plain(&hit["repo"]), plain(&hit["version"])),
            plain(&hit["execution"]),
            &rungs.join(", "),
            &proof.map_or(String::new(), micros),
            &bytes(hit["size"].as_u64().unwrap_or_default()),
        ]);
    }
    let total = json["total"].as_u64().unwrap_or_default();
    let text = format!("{}\n{total} found\n", rows.render(""));
    Ok((Answer { text, json }, Exit::Good))
}

/// The address of a search.
fn address_of(query: &Query) -> String {
    let pairs = json!(query);
    let mut text = String::from("/v1/hub/models?");
    for (name, value) in pairs.as_object().into_iter().flatten() {
        let value = match value {
            Value::Null => continue,
            Value::String(value) if value.is_empty() => continue,
            Value::String(value) => value.clone(),
            other => other.to_string(),
        };
        let escaped: String = value
            .bytes()
            .map(|byte| match byte {
                byte if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) => {
                    char::from(byte).to_string()
                }
                byte => format!("%{byte:02X}"),
            })
            .collect();
        text.push_str(&format!("{name}={escaped}&"));
    }
    text.pop();
    text
}

fn tag(args: TagArgs, context: &Context) -> Outcome {
    let path = format!("/tags/{}", args.tag);
    let json = match (args.at.open(context)?, &args.revision) {
        (Place::Here(hub), revision) => {
            if let Some(revision) = revision {
                hub.move_tag(
                    &args.model,
                    &args.tag,
                    revision,
                    &Publisher::Operator,
                    home::clock()?,
                )?;
            }
            let history = hub.history(&args.model, &args.tag)?;
            if history.is_empty() {
                let message = format!("there is no tag {} of {}", args.tag, args.model);
                return Err(Failure::new(Exit::Usage, message));
            }
            json!({ "standing": history.last(), "history": history })
        }
        (Place::There(client), revision) => {
            if let Some(revision) = revision {
                let body = json!({ "revision": revision });
                client
                    .send("PUT", &address(&args.model, &path), Sent::Json(&body))?
                    .good()?;
            }
            client.get(&address(&args.model, &path))?.good()?.json()?
        }
    };
    let mut rows = Table::new(4);
    rows.row(["version", "digest", "since (Unix seconds)", "by"]);
    for step in json["history"].as_array().into_iter().flatten() {
        rows.row([
            plain(&step["version"]),
            plain(&step["digest"]),
            &step["at"].to_string(),
            plain(&step["by"]),
        ]);
    }
    let text = format!("{} {}\n{}", args.model, args.tag, rows.render("  "));
    Ok((Answer { text, json }, Exit::Good))
}

fn tombstone(args: TombstoneArgs, context: &Context) -> Outcome {
    let version: Version = args
        .version
        .revision
        .as_deref()
        .ok_or_else(|| Failure::new(Exit::Usage, "name the version: OWNER/NAME@VERSION"))?
        .parse()?;
    let repo = &args.version.repo;
    let json = match args.at.open(context)? {
        Place::Here(hub) => {
            let record = hub.take_down(
                repo,
                &version,
                &args.reason,
                &Publisher::Operator,
                home::clock()?,
            )?;
            json!(hub.card(&record, None)?)
        }
        Place::There(client) => {
            let body = json!({ "reason": args.reason });
            let path = address(repo, &format!("/versions/{version}"));
            client
                .send("DELETE", &path, Sent::Json(&body))?
                .good()?
                .json()?
        }
    };
    let text = format!(
        "{repo}@{version} is taken down; its digest {} and the reason stay.\n",
        plain(&json["digest"])
    );
    Ok((Answer { text, json }, Exit::Good))
}

fn check(context: &Context) -> Outcome {
    let hub = here(context)?;
    let progress = Progress::bar("reading", 0);
    let report = hub.check(|done, all| progress.at(done, all))?;
    drop(progress);
    let mut text = format!(
        "{} versions, {} of them taken down; {} files, {}\n",
        report.versions,
        report.taken_down,
        report.files,
        bytes(report.bytes)
    );
    report
        .faults
        .iter()
        .for_each(|fault| text.push_str(&format!("FAULT: {fault}\n")));
    let exit = if report.faults.is_empty() {
        Exit::Good
    } else {
        Exit::CheckFailed
    };
    let json = serde_json::to_value(&report).map_err(Failure::of(Exit::Internal))?;
    Ok((Answer { text, json }, exit))
}

/// The text of a JSON string.
fn plain(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A size for people.
fn bytes(count: u64) -> String {
    match count {
        0..=9_999 => format!("{count} B"),
        10_000..=9_999_999 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

/// A time for people.
fn micros(count: u64) -> String {
    match count {
        0..=9_999 => format!("{count} µs"),
        _ => format!("{:.1} ms", count as f64 / 1000.0),
    }
}
