//! What a Trust file says, for people and programs.

use carat_receipt::Label;
use carat_tee::nvidia::reference::{Bundle, Part};
use carat_verify::trust::{Freshness, GpuFirmware, GpuReference, Platform, Standing, Upstream};
use carat_verify::{Trust, time};
use serde_json::json;

use crate::output::Answer;
use crate::render::{self, Table};

pub(super) fn show(trust: &Trust, now: u64) -> Answer {
    let content = trust.content();
    let standing = match trust.standing() {
        Standing::BuiltIn => "built in, no file",
        Standing::Signed => "signed by its owner",
        Standing::Unsigned => "not signed",
        Standing::Broken => "changed after it was signed",
    };
    let freshness = match trust.freshness(now) {
        Freshness::Fresh => "within its age limit".to_string(),
        Freshness::Stale { until } => format!("ran out at {}", time::to_text(until)),
        Freshness::FromTheFuture => "dated in the future".to_string(),
    };
    let cap = content.implementation_cap.map(|cap| cap.to_string());
    let mut rows = Table::new(2);
    rows.row(["Name", content.name.as_str()]);
    rows.row(["Owner", &content.owner.to_string()]);
    if let Some(audience) = &content.audience {
        rows.row(["Audience", audience.as_str()]);
    }
    rows.row([
        "Version",
        &format!("{}, {standing}, {freshness}", content.version),
    ]);
    rows.row([
        "As of",
        &format!(
            "{}, for {} days",
            time::to_text(content.as_of),
            content.max_age_days
        ),
    ]);
    rows.row(["Digest", &trust.digest().to_string()]);
    rows.row([
        "Cap",
        &match &cap {
            Some(cap) => format!("{cap} for `implementation`: that this software is right"),
            None => "none for `implementation`: nothing may rest on this software".to_string(),
        },
    ]);
    let mut text = rows.render("");
    let issuers: Vec<String> = content
        .issuers
        .iter()
        .flat_map(|issuer| issuer.keys.iter().map(move |key| (issuer, key)))
        .map(|(issuer, key)| {
            let revoked = match &key.revoked {
                Some(revoked) => format!(
                    ", revoked from index {} of {}",
                    revoked.from_index, revoked.log
                ),
                None => String::new(),
            };
            format!("{}: {}{revoked}", issuer.name, key.key)
        })
        .collect();
    let models: Vec<String> = content
        .models
        .iter()
        .map(|model| {
            let keys: String = (model.proof_keys.iter())
                .map(|key| format!(", proofs under key {key}"))
                .collect();
            format!("{}: program {}{keys}", model.name, model.program)
        })
        .collect();
    let keys = |name: &str, controller: &str| format!("{name}, operated by {controller}");
    let logs: Vec<String> = content
        .logs
        .iter()
        .map(|log| keys(log.key.name().as_str(), log.controller.as_str()))
        .collect();
    let witnesses: Vec<String> = content
        .witnesses
        .iter()
        .map(|witness| keys(witness.key.name().as_str(), witness.controller.as_str()))
        .collect();
    let auditors: Vec<String> = content
        .auditors
        .iter()
        .map(|auditor| {
            format!(
                "{}: up to {}, operated by {}, {}",
                auditor.name, auditor.cap, auditor.controller, auditor.key
            )
        })
        .collect();
    let platforms: Vec<String> = content.platforms.iter().map(platform).collect();
    let references: Vec<String> = content.gpu_references.iter().flat_map(reference).collect();
    let denied: Vec<String> = content
        .denied_platforms
        .iter()
        .map(|denied| format!("{} {}: {}", denied.vendor, denied.id, denied.reason))
        .collect();
    let upstreams: Vec<String> = content.upstreams.iter().map(upstream).collect();
    let lists = [
        ("Issuers", &issuers),
        ("Models", &models),
        ("Logs", &logs),
        ("Witnesses", &witnesses),
        ("Auditors", &auditors),
        ("Platforms", &platforms),
        ("Firmware of GPUs", &references),
        ("Refused platforms", &denied),
        ("Upstreams", &upstreams),
    ];
    for (head, items) in lists {
        render::list(&mut text, head, items);
    }
    let json = json!({
        "name": content.name,
        "owner": content.owner,
        "audience": content.audience,
        "currency": content.currency,
        "version": content.version,
        "as_of": time::to_text(content.as_of),
        "max_age_days": content.max_age_days,
        "digest": trust.digest(),
        "standing": standing,
        "freshness": freshness,
        "implementation_cap": content.implementation_cap,
        "witness_quorum": content.witness_quorum,
        "issuers": issuers,
        "models": models,
        "logs": logs,
        "witnesses": witnesses,
        "auditors": auditors,
        "platforms": platforms,
        "gpu_references": references,
        "denied_platforms": denied,
        "upstreams": upstreams,
    });
    Answer { text, json }
}

fn upstream(upstream: &Upstream) -> String {
    let named = |what: &str, names: &[Label]| match names {
        [] => String::new(),
        names => {
            let names: Vec<&str> = names.iter().map(Label::as_str).collect();
            format!(", {what} {}", names.join(", "))
        }
    };
    format!(
        "{}: up to {}{}{}",
        upstream.name,
        upstream.cap,
        named("also naming its models", &upstream.models),
        named("only from", &upstream.couriers),
    )
}

fn platform(platform: &Platform) -> String {
    let product = platform.product.as_ref();
    let product = product.map_or(String::new(), |product| format!(" on {product}"));
    let gpus = match platform.gpu_firmware {
        GpuFirmware::Reference => "",
        GpuFirmware::Any => ", any firmware of GPUs",
    };
    let broken = platform.break_cost;
    let broken = broken.map_or(String::new(), |cost| format!(", {cost} to break"));
    format!(
        "{}: up to {}, {}{product}, policy {}{gpus}{broken}, code {}",
        platform.name,
        platform.cap,
        platform.kind,
        platform.policy.as_str(),
        platform.measurement
    )
}

/// A line for each manifest of a bundle.
fn reference(reference: &GpuReference) -> Vec<String> {
    // The file was checked when it was read.
    let manifests = Bundle::decode(&reference.bundle).map_or(Vec::new(), |bundle| bundle.manifests);
    manifests
        .iter()
        .map(|manifest| {
            let part = match manifest.part {
                Part::Driver => "driver",
                Part::Vbios => "VBIOS",
            };
            format!(
                "{}: {part} {}, {} values, until {}",
                reference.name,
                manifest.version,
                manifest.values.len(),
                time::to_text(manifest.not_after)
            )
        })
        .collect()
}
