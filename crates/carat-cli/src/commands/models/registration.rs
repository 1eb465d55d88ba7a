//! `carat model key --private` and `--check`: keys that hide the weights, and their registrations.

use std::path::{Path, PathBuf};

use carat_node::private_weights::{self, EXTENSION};
use carat_receipt::Digest;
use carat_verify::Registered;
use carat_zk::{Ledger, ModelKey};
use serde_json::{Value, json};

use super::super::{Context, Outcome};
use super::key::Args;
use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::model::Model;
use crate::output::{Answer, Progress};
use crate::prover;
use crate::render::{self, Table};

/// What a registration shows.
const SHOWS: &str = "the constants under the key are in the ranges, and their sums within the bounds, that the program states";
/// What it does not.
const NOT_SHOWN: [&str; 2] = [
    "which weights they are: nothing ties the key to the hashes of the weights in the program, so for whoever lists the key, \
     the key is the model, on its publisher's word",
    "that the model is right, or good for anything",
];

/// Makes a key that hides the weights, or finds it, and writes its registration.
pub(super) fn make(args: &Args, model: &Path, context: &Context) -> Outcome {
    if model.extension().is_some_and(|e| e == "onnx") {
        let message = "a key that hides the weights is for a compiled model or a folder; compile it first: carat model compile";
        return Err(Failure::new(Exit::Usage, message));
    }
    let out = match &args.output {
        Some(out) => out.clone(),
        None => beside_here(model)?,
    };
    files::check_writable(&out)?;
    let home = context.home()?;
    let progress = Progress::start(format!("reading {}", model.display()));
    let loaded = Model::load(model, context)?;
    let (key, made) = private_weights::registered(
        &home,
        &loaded,
        (args.profile, args.memory_limit),
        args.new,
        &progress,
    )?;
    files::write_atomic(&out, &key.registration()?, Mode::Shared)?;
    drop(progress);
    let ledger = Ledger::registration(loaded.program(), args.profile).map_err(prover::failure)?;
    let (mut rows, mut json) = shown(key.key(), ledger.bits as u64);
    let made_now = if made { "made now" } else { "made before" };
    rows.row([
        "Registration",
        &format!("{}  (share it), {made_now}", out.display()),
    ]);
    rows.row([
        "Proofs",
        &format!(
            "{} of {} begun under this key, the registration included; {} left",
            key.proofs,
            key.budget,
            key.left()
        ),
    ]);
    let mut text = format!(
        "{}\nWhoever is to check proofs without the weights gets the registration from you, and lists the key: carat trust add \
         trust.toml registration NAME {}\n",
        rows.render(""),
        out.display()
    );
    if key.left() == 0 {
        text.push_str(&format!(
            "\nNo further proof can be made under it. For another key: carat model key {} --private --new\n",
            model.display()
        ));
    }
    json["registration_path"] = json!(out);
    json["made"] = json!(made);
    json["proofs"] = json!(key.proofs);
    json["budget"] = json!(key.budget);
    json["left"] = json!(key.left());
    Ok((Answer { text, json }, Exit::Good))
}

/// `NAME.carat-registration` in the working directory, by the model's name.
fn beside_here(model: &Path) -> Result<PathBuf, Failure> {
    let whole = model.canonicalize();
    let whole = whole.map_err(|error| files::io_failure("reading", model, &error))?;
    let stem = match whole.is_dir() {
        true => whole.file_name(),
        false => whole.file_stem(),
    };
    let stem = stem.ok_or_else(|| {
        let message = "the model has no name to call its registration by; give one with -o";
        Failure::new(Exit::Usage, message)
    })?;
    let mut name = stem.to_os_string();
    name.push(".");
    name.push(EXTENSION);
    Ok(PathBuf::from(name))
}

/// Checks somebody's registration.
pub(super) fn check(path: &Path) -> Outcome {
    let progress = Progress::start(format!("checking {}", path.display()));
    let Registered { key, bits, program } = prover::read_registration(path)?;
    drop(progress);
    let (mut rows, mut json) = shown(&key, bits);
    let elements: usize = program.constants.iter().map(|c| c.shape.elements()).sum();
    rows.row(["Weights", &format!("{elements}, hidden")]);
    let mut text = format!("{}: it holds.\n\n{}", path.display(), rows.render(""));
    render::list(&mut text, "Shown", &[SHOWS.to_string()]);
    render::list(&mut text, "Not shown", &NOT_SHOWN.map(String::from));
    text.push_str(&format!(
        "\nTo vouch for the key in a Trust file: carat trust add trust.toml registration NAME {}\n",
        path.display()
    ));
    json["holds"] = json!(true);
    json["parameters"] = json!(elements);
    json["shown"] = json!([SHOWS]);
    json["not_shown"] = json!(NOT_SHOWN);
    Ok((Answer { text, json }, Exit::Good))
}

/// What is said of a key either way.
fn shown(key: &ModelKey, bits: u64) -> (Table, Value) {
    let root = Digest::from_bytes(key.root.0);
    let mut rows = Table::new(2);
    rows.row(["Program", &key.program.to_string()]);
    rows.row([
        "Profile",
        &format!("{}, {bits} bits for the registration", key.profile.name()),
    ]);
    rows.row(["Weights root", &format!("{root}, which hides the weights")]);
    rows.row(["Model key", &key.digest().to_string()]);
    let json = json!({
        "program_digest": key.program,
        "profile": key.profile.name(),
        "bits": bits,
        "weights_hidden": true,
        "weights_root": root,
        "model_key": key.digest(),
    });
    (rows, json)
}
