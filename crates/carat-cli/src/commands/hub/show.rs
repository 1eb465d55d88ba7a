//! `carat hub show`.

use serde_json::{Value, json};

use super::super::{Context, Outcome, parse};
use super::{Place, Reference, Signer, Where, bytes, micros, plain, pull};
use crate::exit::Exit;
use crate::output::Answer;
use crate::render::Table;
use carat_node::hub::remote::address;

/// Show a model: its card, what its receipts can rest on and cost, how to call it, and what nobody checked.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat hub show acme/digits\n  carat hub show acme/digits@1.0.0 --signing-key acme.pub\n  carat hub show acme/digits --server http://127.0.0.1:8321 --json"
)]
pub(super) struct Args {
    /// OWNER/NAME, or OWNER/NAME@ and a version, tag or digest.
    #[arg(value_parser = parse::<Reference>)]
    model: Reference,
    #[command(flatten)]
    at: Where,
    #[command(flatten)]
    signer: Signer,
}

pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let Reference { repo, .. } = &args.model;
    let revision = args.model.revision();
    let place = args.at.open(context)?;
    let mut card = match &place {
        Place::Here(hub) => {
            let record = hub.resolve(repo, revision)?;
            json!(hub.card(&record, None)?)
        }
        Place::There(client) => client
            .get(&address(repo, &format!("/versions/{revision}")))?
            .good()?
            .json()?,
    };
    if args.signer.demands() {
        card["signature"] = json!(pull::signature(
            &place,
            repo,
            revision,
            &args.signer.demand()?
        )?);
    }
    let text = card_text(&card);
    Ok((Answer { text, json: card }, Exit::Good))
}

fn share(value: &Value) -> String {
    format!("{:.2}%", 100.0 * value.as_f64().unwrap_or_default())
}

fn ports(list: &Value) -> String {
    let shown = list.as_array().into_iter().flatten().map(|port| {
        let shape: Vec<String> = port["shape"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|length| {
                length
                    .as_u64()
                    .map_or("?".to_string(), |length| length.to_string())
            })
            .collect();
        format!(
            "{}: {} [{}]",
            plain(&port["name"]),
            plain(&port["dtype"]),
            shape.join(", ")
        )
    });
    shown.collect::<Vec<_>>().join("; ")
}

/// A card for people.
pub(super) fn card_text(card: &Value) -> String {
    let mut rows = Table::new(2);
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            rows.row([name, value]);
        }
    };
    let found = &card["examination"];
    let facts = &found["facts"];
    row("Description", plain(&card["about"]["description"]));
    row("Task", plain(&card["about"]["task"]));
    row("Licence", plain(&card["about"]["licence"]));
    row("Origin", plain(&card["about"]["origin"]));
    row("Digest", plain(&card["digest"]));
    let tags: Vec<&str> = card["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    row("Tags", &tags.join(", "));
    let files = card["files"].as_array().map(Vec::len);
    let files = files.map_or("private: they do not leave the hub".to_string(), |count| {
        format!("{count}")
    });
    row(
        "Files",
        &format!(
            "{files}; {}",
            bytes(card["size"].as_u64().unwrap_or_default())
        ),
    );
    if let Some(gone) = card["tombstone"].as_object() {
        row(
            "TAKEN DOWN",
            &format!(
                "at {} (Unix seconds): {}",
                gone["at"],
                plain(&gone["reason"])
            ),
        );
    }
    let runs = match plain(&found["execution"]["status"]) {
        "runs" => "yes, as an exact integer program".to_string(),
        "refused" => format!("no: {}", plain(&found["execution"]["reason"])),
        "no-model" => "no: its files hold no model that is read here".to_string(),
        _ => "not examined yet".to_string(),
    };
    row("Runs here", &runs);
    row("Program", plain(&facts["program"]));
    row("Inputs", &ports(&facts["inputs"]));
    row("Outputs", &ports(&facts["outputs"]));
    if let Some(opset) = facts["opset"].as_i64() {
        row("Opset", &opset.to_string());
    }
    let operators: Vec<String> = facts["operators"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, count)| format!("{name} x{count}"))
        .collect();
    row("Operators", &operators.join(", "));
    let fidelity = &found["fidelity"];
    if fidelity.is_object() {
        let text = format!(
            "top-1 agreement {} with {} on {} samples; largest error {:.6}",
            share(&fidelity["top1_agreement"]),
            fidelity["reference"]
                .as_str()
                .unwrap_or("reference outputs"),
            fidelity["samples"],
            fidelity["max_abs_error"].as_f64().unwrap_or_default()
        );
        row("Fidelity", &text);
    }
    match found["reproduced"].as_bool() {
        Some(true) => row("Source", "compiled again here: the same program"),
        Some(false) => row("Source", "compiled again here: ANOTHER program"),
        None => {}
    }
    let signature = &card["signature"];
    let signed = match plain(&signature["state"]) {
        "verified" => format!(
            "verified; {} files, key {}{}",
            signature["covered"],
            plain(&signature["key_sha256"]),
            signature["signer"]
                .as_str()
                .map_or(String::new(), |name| format!(", certificate names {name}"))
        ),
        "unchecked" => "present; its key is not known here".to_string(),
        _ => "none".to_string(),
    };
    row("Signature", &signed);
    let mut text = format!(
        "{}@{}{}\n\n{}",
        plain(&card["repo"]),
        plain(&card["version"]),
        if card["unlisted"] == true {
            " (not listed)"
        } else {
            ""
        },
        rows.render("  ")
    );
    rungs(found, &mut text);
    for warning in found["warnings"].as_array().into_iter().flatten() {
        text.push_str(&format!("\nNote: {}\n", plain(warning)));
    }
    let snippets = &card["snippets"];
    if snippets.is_object() {
        text.push_str(&format!(
            "\nCall it ({})\n\n{}\n\n{}",
            plain(&snippets["needs"]),
            plain(&snippets["curl"]),
            plain(&snippets["python"])
        ));
    }
    text.push_str("\nNot verified\n");
    for line in card["not_verified"].as_array().into_iter().flatten() {
        text.push_str(&format!("  - {}\n", plain(line)));
    }
    text
}

fn rungs(found: &Value, text: &mut String) {
    let list = found["rungs"].as_array().filter(|list| !list.is_empty());
    let Some(list) = list else {
        return;
    };
    let mut rows = Table::new(4);
    rows.row(["receipts can rest on", "", "median", "99th percentile"]);
    for rung in list {
        let cost = &rung["cost"];
        let time = |name: &str| {
            cost[name]
                .as_u64()
                .map_or("not measured".to_string(), micros)
        };
        let available = rung["available"] == true;
        let more = cost["proof_bytes"].as_u64().map_or(String::new(), |size| {
            format!(
                "; {}, verified in {}, set up once in {}",
                bytes(size),
                micros(cost["verify_micros"].as_u64().unwrap_or_default()),
                micros(cost["setup_micros"].as_u64().unwrap_or_default())
            )
        });
        let note = format!(
            "{}{}{more}",
            if available { "" } else { "NO: " },
            plain(&rung["note"])
        );
        let (median, high) = if available {
            (time("p50_micros"), time("p99_micros"))
        } else {
            (String::new(), String::new())
        };
        rows.row([plain(&rung["name"]), &note, &median, &high]);
    }
    let machine = &found["machine"];
    text.push_str(&format!(
        "\n{}  measured at {} (Unix seconds) on {} x {} ({}), load {}\n",
        rows.render("  "),
        found["at"],
        machine["processors"],
        plain(&machine["cpu"]),
        plain(&machine["platform"]),
        machine["load"]
            .as_f64()
            .map_or("unknown".to_string(), |load| load.to_string()),
    ));
}
