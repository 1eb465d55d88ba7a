//! Text for people, made from the same data as the JSON. Nothing is decided here.

use std::fmt::Write as _;

use carat_verify::{Appraisal, AssumptionSet, Outcome};

mod table;

pub(crate) use table::{Table, plain};

/// Everything that an appraisal says.
pub(crate) fn appraisal(appraisal: &Appraisal) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}: {}", verdict(appraisal), appraisal.reason);
    if let Some(receipt) = &appraisal.receipt {
        text.push('\n');
        let known = match &receipt.known_as {
            Some(name) => format!("known to the Trust file as {name}"),
            None => "not in a Trust file that was given".to_string(),
        };
        let mut rows = Table::new(2);
        rows.row(["Receipt", &receipt.receipt_id.to_string()]);
        rows.row(["Issuer", &format!("{} ({known})", receipt.issuer)]);
        rows.row(["Key", &receipt.issuer_key.to_string()]);
        rows.row([
            "Model",
            &format!("{} {}", receipt.model_name, receipt.model_version),
        ]);
        rows.row(["Program", &receipt.program.to_string()]);
        rows.row(["Issued", &receipt.issued_at]);
        rows.row(["Ran", &receipt.execution]);
        if let Some(audience) = &receipt.audience {
            rows.row(["For", audience.as_str()]);
        }
        rows.row(["Evidence", &receipt.evidence.join(", ")]);
        text.push_str(&rows.render(""));
    }
    if let Some(trust) = &appraisal.trust {
        let _ = writeln!(
            text,
            "Trust file  {}, version {}, digest {}",
            trust.name, trust.version, trust.digest
        );
    }
    if !appraisal.good_for.is_empty() {
        text.push_str("\nGood for\n");
        text.push_str(&good_for(&appraisal.good_for));
        let _ = writeln!(text, "\nWeakest step\n  {}", appraisal.weakest_step);
    }
    text.push_str("\nChecks\n");
    let mut checks = Table::new(3);
    for check in &appraisal.checks {
        checks.row([mark(check.outcome), &check.name, &check.reason]);
    }
    text.push_str(&checks.render("  "));
    privacy(&mut text, appraisal);
    list(&mut text, "Not proven", &appraisal.not_proven);
    list(&mut text, "What would be enough", &appraisal.enough);
    text
}

/// Amounts with their assumptions.
pub(crate) fn good_for(sets: &[AssumptionSet]) -> String {
    let mut text = String::new();
    for set in sets {
        let amount = match &set.amount {
            Some(amount) => amount.to_string(),
            None => "no amount (there is no Trust file to take a currency from)".to_string(),
        };
        let under = if set.under.is_empty() {
            String::new()
        } else {
            format!(", under {}", set.under.join(" + "))
        };
        let _ = writeln!(text, "  {}: {amount}{under}", set.rung);
        let _ = writeln!(text, "      {}", set.reason);
    }
    text
}

/// What stayed hidden, where a proof in zero knowledge holds.
pub(crate) fn privacy(text: &mut String, appraisal: &Appraisal) {
    let Some(privacy) = &appraisal.privacy else {
        return;
    };
    let nothing = ["nothing".to_string()];
    let hidden = match &privacy.hidden[..] {
        [] => &nothing,
        hidden => hidden,
    };
    list(
        text,
        "Hidden from whoever has the receipt and not the opening",
        hidden,
    );
    list(text, "Shown all the same", &privacy.shown);
}

/// A headed list; nothing for an empty one.
pub(crate) fn list(text: &mut String, head: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{head}");
    for item in items {
        let _ = writeln!(text, "  - {}", plain(item));
    }
}

fn verdict(appraisal: &Appraisal) -> &'static str {
    use carat_verify::Verdict;
    match appraisal.verdict {
        Verdict::Good => "GOOD",
        Verdict::Invalid => "INVALID",
        Verdict::Simulated => "SIMULATED",
        Verdict::Insufficient => "NOT ENOUGH",
        _ => "UNKNOWN VERDICT",
    }
}

fn mark(outcome: Outcome) -> &'static str {
    outcome.as_str()
}
