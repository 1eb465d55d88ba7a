//! `carat serve`: the node on a socket.

use std::path::PathBuf;

use carat_node::config::Config;
use carat_node::node::{Parts, Prepared, Start, home_of};
use carat_node::serve;
use serde_json::json;

use super::{Context, Outcome};
use crate::exit::{Exit, Failure};
use crate::home;
use crate::output::{self, Answer};

/// Serve models over HTTP: every answer with its receipt.
///
/// Runs until it is told to end (Ctrl-C, SIGTERM); then it takes no new requests, finishes what it accepted, and ends with
/// status 0. Its keys, log and store are in the folder `node` of the data directory.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat serve --config serve.toml --check\n  carat serve --config serve.toml\n  CARAT_SERVE_LISTEN=127.0.0.1:9000 carat serve --config serve.toml"
)]
pub(super) struct Args {
    /// The configuration; docs/operations.md has its keys.
    #[arg(long, value_name = "FILE", default_value = "serve.toml")]
    config: PathBuf,
    /// Check configuration, keys, certificate, models, policy and Trust file, and end. Disturbs no server that runs.
    #[arg(long)]
    check: bool,
    /// Start although the log has entries of receipts that the store does not know: another command wrote them.
    #[arg(long)]
    accept_foreign_entries: bool,
    /// Write the store anew with storage.encryption_key_file before listening; afterwards no earlier key is needed.
    #[arg(long)]
    reseal: bool,
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let home = context.home()?;
    let config = Config::load(&args.config)?;
    serve::start_logging(config.log);
    let parts = Parts::read(config.clone(), &home)?;
    if args.check {
        return Ok((checked(&config, &parts), Exit::Good));
    }
    if args.reseal && !parts.encrypts() {
        let message =
            "--reseal encrypts the store anew, and there is no storage.encryption_key_file";
        return Err(Failure::new(Exit::Usage, message));
    }
    let start = Start {
        accept_foreign: args.accept_foreign_entries,
        reseal: args.reseal,
    };
    let prepared = Prepared::open(parts, start)?;
    let recovered = prepared.recovered;
    let scheme = if config.tls.files().is_some() {
        "https"
    } else {
        "http"
    };
    serve::serve(prepared, &config, |address| {
        // For whoever started it with port 0. Nobody need listen to this.
        let _ = output::print(&format!("listening on {scheme}://{address}"));
    })?;
    let json = json!({
        "recovered": { "found": recovered.found, "logged": recovered.logged },
        "directory": home_of(&home).root(),
    });
    let text = "ended; everything that was accepted is kept\n".to_string();
    Ok((Answer { text, json }, Exit::Good))
}

fn checked(config: &Config, parts: &Parts) -> Answer {
    let rules = parts.rules();
    let models: Vec<_> = parts
        .models()
        .iter()
        .map(|served| {
            json!({
                "name": served.name,
                "program": served.model.digest,
                "provable": served.proving.is_some(),
            })
        })
        .collect();
    let mut rows = crate::render::Table::new(2);
    rows.row(["Listen", &config.listen.to_string()]);
    let tls = match parts.tls() {
        Some(tls) => {
            let now = home::clock().unwrap_or(0);
            let days = tls.not_after().saturating_sub(now) / 86_400;
            format!("certificate in force for {days} more days, with its key")
        }
        None if config.listen.ip().is_loopback() => "none; this machine alone reaches it".into(),
        None => "none; a proxy in front speaks it (tls.behind_proxy)".into(),
    };
    rows.row(["TLS", &tls]);
    for served in parts.models() {
        let proofs = if served.proving.is_some() {
            "proofs are offered"
        } else {
            "no proofs"
        };
        rows.row([
            "Model",
            &format!("{}: program {}, {proofs}", served.name, served.model.digest),
        ]);
    }
    let upstreams: Vec<_> = parts
        .couriers()
        .offers()
        .map(|(upstream, offer)| json!({ "name": offer.name, "upstream": upstream.name, "as": offer.upstream_name }))
        .collect();
    for (upstream, offer) in parts.couriers().offers() {
        let (name, other) = (&offer.name, &offer.upstream_name);
        rows.row([
            "Courier",
            &format!("{name}: passed on from {} ({other})", upstream.name),
        ]);
    }
    let policy = if rules.own {
        format!("{}, mode {:?}", rules.policy.digest(), rules.policy.mode)
    } else {
        "none of your own; requests that state something are judged by the one that ships".into()
    };
    rows.row(["Policy", &policy]);
    let sealed = if parts.encrypts() {
        "encrypted"
    } else {
        "in the clear"
    };
    let kept = config.retention.openings.map_or_else(
        || "until somebody erases them".to_string(),
        |kept| format!("for {kept}"),
    );
    rows.row(["Store", &format!("{sealed}; inputs are kept {kept}")]);
    let keys = match parts.keys() {
        Some(count) => format!("{count} API keys"),
        None => "open to everybody on this machine".to_string(),
    };
    rows.row(["Access", &keys]);
    Answer {
        text: format!("The configuration is good.\n{}", rows.render("  ")),
        json: json!({
            "ok": true,
            "listen": config.listen,
            "tls": parts.tls().map(|tls| json!({ "not_after": tls.not_after() })),
            "models": models,
            "upstreams": upstreams,
            "policy": rules.own.then(|| rules.policy.digest()),
            "api_keys": parts.keys(),
            "encrypted": parts.encrypts(),
            "retention": config.retention,
        }),
    }
}
