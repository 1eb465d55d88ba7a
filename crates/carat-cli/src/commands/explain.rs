//! `carat explain`: what a receipt says, and the decision behind it, made again.

use std::fmt::Write as _;
use std::path::PathBuf;

use carat_policy::decision::Decision;
use carat_policy::{PLANNER, explain};
use carat_receipt::file::MAX_FILE_BYTES;
use carat_receipt::{ReceiptFile, Role};
use serde_json::json;

use super::{Context, Outcome};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::output::Answer;
use crate::planning;
use crate::render;

/// Explain a receipt: what was bought and why. With the opening the decision is made again and must be the same.
///
/// The Statement carries the plan, the digests of policy and environment, and a salted commitment to the facts; the opening
/// carries all three. Without it the plan can be read but not made again. Exit status 20 where it comes out differently.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat explain receipt.carat\n  carat explain receipt.carat --open receipt.carat-open --json"
)]
pub(super) struct Args {
    /// The receipt.
    file: PathBuf,
    /// The opening of the receipt.
    #[arg(long, value_name = "FILE")]
    open: Option<PathBuf>,
}

pub(super) fn run(args: Args, _: &Context) -> Outcome {
    let bytes = files::read_capped(&args.file, "a receipt", MAX_FILE_BYTES as u64)?;
    let invalid = |error: &dyn ToString| {
        Failure::new(
            Exit::Invalid,
            format!("{}: {}", args.file.display(), error.to_string()),
        )
    };
    let file = ReceiptFile::decode(&bytes).map_err(|error| invalid(&error))?;
    file.signed
        .verify_signature()
        .map_err(|error| invalid(&error))?;
    let statement = file.signed.statement();
    let optional = &statement.optional;
    let mut out = format!(
        "Receipt {}\n{} {}, issued by {}\n",
        file.receipt_id(),
        statement.model_name,
        statement.model_version,
        statement.issuer
    );
    let Some(plan) = &optional.plan else {
        out.push_str("\nNo plan: nobody asked a planner, so nothing was bought beside the signature. It is good for nothing by itself.\n");
        let json = json!({ "receipt_id": file.receipt_id(), "plan": null, "replay": "no plan" });
        return Ok((Answer { text: out, json }, Exit::Good));
    };
    let tau = carat_policy::Tau(plan.tau);
    let _ = writeln!(
        out,
        "\nPlan: {}, audited with p = {}, timing {}",
        plan.rung,
        explain::percent(tau.probability()),
        carat_policy::consequence::timing_name(plan.timing)
    );
    let said = json!({
        "rung": plan.rung,
        "tau": plan.tau,
        "timing": carat_policy::consequence::timing_name(plan.timing),
        "window_seconds": plan.window,
        "bond": plan.bond,
        "replicas": plan.replicas,
        "proof_deadline": plan.proof_deadline,
    });
    let mut json = json!({
        "receipt_id": file.receipt_id(),
        "plan": said,
        "planner": optional.planner,
        "policy_digest": optional.policy,
        "environment_digest": optional.environment,
    });
    let opening = args
        .open
        .as_deref()
        .map(super::verify::read_opening)
        .transpose()?;
    let Some(facts) = opening.as_ref().and_then(|opening| opening.facts.as_ref()) else {
        let why = match opening {
            None => {
                "the facts, the policy and the environment are in the opening: give --open FILE"
            }
            Some(_) => "the opening holds no facts",
        };
        let _ = writeln!(out, "Decision: not replayable from here; {why}");
        json["replay"] = json!("not replayable from here");
        return Ok((Answer { text: out, json }, Exit::Good));
    };
    let mismatch = |message: String| Failure::new(Exit::Mismatch, message);
    let fits = opening
        .as_ref()
        .is_some_and(|opening| opening.receipt_id == file.receipt_id());
    if !fits || Some(facts.commitment(Role::Facts)) != optional.facts {
        return Err(mismatch("the opening does not fit: it belongs to another receipt, or its facts are not the ones committed to".into()));
    }
    let decision = Decision::decode(&facts.bytes)
        .map_err(|error| mismatch(format!("the facts in the opening: {error}")))?;
    if Some(decision.policy_digest()) != optional.policy
        || Some(decision.environment_digest()) != optional.environment
    {
        return Err(mismatch(
            "the Statement names another policy or environment than the opening holds".into(),
        ));
    }
    if optional.planner.as_ref().map(carat_receipt::Label::as_str) != Some(PLANNER) {
        let made_by = optional
            .planner
            .as_ref()
            .map_or("an unnamed planner", carat_receipt::Label::as_str);
        let _ = writeln!(
            out,
            "Decision: not replayable from here; it was made by {made_by}, this software has {PLANNER}"
        );
        json["replay"] = json!("not replayable from here");
        return Ok((Answer { text: out, json }, Exit::Good));
    }
    let decided = decision.make().map_err(planning::failure)?;
    let again = match &decided.plan {
        Ok(plan) => plan.to_statement(statement.issued_at).ok(),
        Err(_) => None,
    };
    let same = again.as_ref() == Some(plan);
    json["replay"] = json!(if same { "same" } else { "different" });
    json["decision"] = planning::json(&decision, &decided);
    json["facts"] = serde_json::from_str(&decision.facts).unwrap_or_default();
    let _ = writeln!(
        out,
        "Decision: made again from the opening, {}\n",
        if same {
            "the same plan, bit for bit"
        } else {
            "and it comes out DIFFERENTLY: the plan in the receipt is not what its policy gives"
        }
    );
    for line in planning::text(&decided) {
        let _ = writeln!(out, "{line}");
    }
    // What callers and the operator stated, on one line.
    let _ = writeln!(out, "Facts: {}", render::plain(&decision.facts));
    render::list(&mut out, "Because", &decided.judged.because);
    Ok((
        Answer { text: out, json },
        if same { Exit::Good } else { Exit::Mismatch },
    ))
}
