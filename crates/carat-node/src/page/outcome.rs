//! Plans with their explanations, answers, and what a receipt is good for, from the same JSON that the interface gives.

use maud::{Markup, html};
use serde_json::Value;

use super::frame::{facts, name, plain, table};
use super::models::shape;

/// Most numbers of an output that are listed.
const MAX_NUMBERS: usize = 64;

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value[field].as_str()
}

fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

/// What is bought, for people.
pub(super) fn bought(rung: &str) -> &str {
    match rung {
        "signature" => "a signature and nothing more",
        "signature+audit" => "a signature, and an audit by lot",
        "tee+audit" => "an attested machine, and an audit by lot",
        "replay" => "replays by others before the answer is used",
        "replay+audit" => "replays before use, and an audit by lot",
        "deferred-zk" => "a proof that comes later",
        "zk" => "a proof together with the answer",
        "batched-zk" => "a proof that the answer shares with others",
        other => other,
    }
}

/// A chance in percent, with as many places as it takes to tell it from nothing.
pub(super) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        0.0 => "0%".into(),
        1.0.. => format!("{percent:.1}%"),
        0.001.. => format!("{percent:.3}%"),
        _ => format!("{percent:.2e}%"),
    }
}

/// The plan or the refusal of a decision.
pub(super) fn decision(json: &Value) -> Markup {
    html! {
        @if json["plan"].is_object() { (plan(json)) } @else { (refusal(json)) }
        @let explanation = items(json, "explanation");
        @if !explanation.is_empty() {
            details open[json["plan"].is_object()] {
                summary { "In the planner's words" }
                ul.words { @for line in explanation.iter().filter_map(Value::as_str) { li { (plain(line)) } } }
            }
        }
        @let because = items(json, "because");
        @if !because.is_empty() {
            details {
                summary { "What the policy says is at stake, and why" }
                ul.words { @for line in because.iter().filter_map(Value::as_str) { li { (plain(line)) } } }
            }
        }
        p.small.quiet {
            @if let Some(planner) = text(json, "planner") { "Planner " code { (plain(planner)) } ", " }
            "policy " @if let Some(digest) = text(json, "policy_digest") { (super::frame::digest(digest)) } "."
        }
    }
}

fn plan(json: &Value) -> Markup {
    let plan = &json["plan"];
    let rung = text(plan, "rung").unwrap_or_default();
    let good_for = text(&json["good_for"], "amount").unwrap_or("nothing");
    let chance = plan["audit_probability"]
        .as_f64()
        .filter(|chance| *chance > 0.0);
    let under = items(&json["good_for"], "under");
    html! {
        div.verdict {
            @if rung == "signature" {
                p.amount { "Nothing at stake" }
                p { "A signature is enough, and is good for nothing by itself." }
            } @else {
                p.amount { (plain(good_for)) }
                p { "is what this evidence covers at most: " strong { (bought(rung)) } " is bought"
                    @if let Some(chance) = chance { ", drawn with a chance of " strong { (percent(chance)) } }
                    ", for " strong { (plain(text(plan, "price").unwrap_or("0"))) } ". "
                    strong { (plain(text(json, "value").unwrap_or("0"))) } " are at stake." }
            }
        }
        (facts(&[
            ("Rests on", (!under.is_empty()).then(|| html! {
                @for (i, atom) in under.iter().filter_map(Value::as_str).enumerate() { @if i > 0 { ", " } code { (plain(atom)) } } })),
            ("Takes", plan["latency_micros"].as_u64().filter(|micros| *micros > 0).map(|micros| html! { (super::frame::micros(micros)) " longer, 99 times of 100" })),
            ("Consequence", text(plan, "timing").map(|timing| html! { (plain(&timing.replace('_', " "))) })),
            ("Bond", text(plan, "bond").map(name)),
            ("Replays", plan["replicas"].as_u64().filter(|count| *count > 0).map(|count| html! { (count) })),
            ("Proof within", plan["proof_within_seconds"].as_u64().map(|seconds| html! { (seconds) " s" })),
            ("Decided by", text(&json["binding"], "text").map(|text| html! { (plain(text)) })),
        ]))
        (others(json, items(json, "dropped")))
    }
}

fn refusal(json: &Value) -> Markup {
    let refusal = &json["refusal"];
    html! {
        div.verdict.bad {
            p.amount { "Refused" }
            @if let Some(reason) = text(refusal, "reason") { p { (plain(reason)) } }
            @if let Some(value) = text(refusal, "value") {
                p { "Nothing that is supplied here covers " strong { (plain(value)) } "."
                    @if let Some(covered) = text(&refusal["covered"], "amount") {
                        " Up to " strong { (plain(covered)) } " would be covered by "
                        (bought(text(&refusal["covered"], "rung").unwrap_or_default())) "." } }
            }
            @if let Some(limit) = text(&json["budget"], "limit") {
                p { "The limit " code { (plain(limit)) } " has " (plain(text(&json["budget"], "left").unwrap_or("nothing"))) " left." }
            }
        }
        (others(refusal, items(refusal, "dropped")))
    }
}

/// What was not taken: sufficient and dearer, or kept out.
fn others(json: &Value, dropped: &[Value]) -> Markup {
    let runner_up = ["runner_up", "sufficient"]
        .into_iter()
        .map(|field| &json[field])
        .find(|other| other.is_object());
    html! {
        @if runner_up.is_some() || !dropped.is_empty() {
            h3 { "What was not taken, and why" }
            (table("What was not taken, and why", &["Evidence", "Reason"], html! {
                @if let Some(other) = runner_up {
                    tr { th scope="row" { (bought(text(other, "rung").unwrap_or_default())) }
                        td { "sufficient too, for " (plain(text(other, "price").unwrap_or_default())) } }
                }
                @for other in dropped {
                    tr { th scope="row" { (bought(text(other, "rung").unwrap_or_default())) }
                        td { (name(text(other, "reason").unwrap_or_default())) } }
                }
            }))
        }
    }
}

/// What a receipt is good for, the amount first.
pub(super) fn good_for(json: &Value) -> Markup {
    let sets = items(json, "sets");
    html! {
        @if json.is_null() {
            div.verdict {
                p.amount { "No amount" }
                p { "This server has no Trust file, so it names no amount. Ask under yours: inspect the receipt, or "
                    code { "carat verify" } "." }
            }
        } @else {
            @let good = json["verdict"] == "good";
            div .verdict .good[good] .warn[!good] {
                p.amount { (plain(text(json, "amount").unwrap_or("No amount"))) }
                p { @if good { "is what the receipt is good for now" } @else { "The receipt is valid, and nothing vouches for it" }
                    " under the Trust file of this server. It is the server's own word: what it is good for to you is for your Trust file to say." }
            }
            @if !sets.is_empty() {
                (table("Amounts and what they rest on", &["Evidence", "Amount", "Rests on", "Why"], html! {
                    @for set in sets {
                        tr {
                            th scope="row" { (plain(text(set, "rung").unwrap_or_default())) }
                            td.number { (plain(text(set, "amount").unwrap_or("none"))) }
                            td { @for (i, atom) in items(set, "under").iter().filter_map(Value::as_str).enumerate() { @if i > 0 { ", " } code { (plain(atom)) } } }
                            td { (name(text(set, "reason").unwrap_or_default())) }
                        }
                    }
                }))
            }
        }
    }
}

/// Outputs of a model.
pub(super) fn outputs(json: &Value) -> Markup {
    html! {
        @for output in json.as_array().into_iter().flatten() {
            @let values: Vec<f64> = items(output, "values").iter().filter_map(Value::as_f64).collect();
            @let lengths = items(output, "shape").iter().map(Value::as_u64);
            h2 { "Output " code { (plain(text(output, "name").unwrap_or_default())) } " " span.quiet { (shape(lengths)) } }
            @if let Some(label) = text(&output["label"], "name") {
                p { "Class " (output["label"]["index"].as_u64().unwrap_or_default()) ": " strong { (name(label)) } "." }
            }
            (numbers(&values, output["label"]["index"].as_u64()))
        }
    }
}

fn numbers(values: &[f64], best: Option<u64>) -> Markup {
    html! {
        ol.numbers start="0" {
            @for (i, value) in values.iter().take(MAX_NUMBERS).enumerate() {
                li .best[best == Some(i as u64)] { (value) }
            }
        }
        @if values.len() > MAX_NUMBERS { p.quiet { (values.len() - MAX_NUMBERS) " more are in the opening." } }
    }
}

/// The class that an answer names, or that there is an answer.
pub(super) fn headline(json: &Value) -> String {
    json.as_array()
        .into_iter()
        .flatten()
        .find_map(|output| text(&output["label"], "name"))
        .unwrap_or("Answer")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_chances_are_told_from_none() {
        assert_eq!(percent(0.0), "0%");
        assert_eq!(percent(0.25), "25.0%");
        assert_eq!(percent(0.005), "0.500%");
        assert_eq!(percent(2e-7), "2.00e-5%");
    }
}
