//! The canonical text of a Trust file. It is what the owner signs, so it depends on the content alone: fixed order of
//! tables and keys, one spelling of every value. It does not use a TOML library's printer, whose choices may change.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;

use carat_receipt::Signature;

use super::read::SCHEMA;
use super::{Content, IssuerKey};
use crate::time;

pub(super) struct Text(String);

impl Text {
    pub(super) fn table(&mut self, head: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "\n{head}\n");
    }

    fn raw(&mut self, key: &str, value: impl ToString) {
        let _ = writeln!(self.0, "{key} = {}", value.to_string());
    }

    pub(super) fn text(&mut self, key: &str, value: impl ToString) {
        self.raw(key, quoted(&value));
    }

    fn list(&mut self, key: &str, values: &[impl ToString]) {
        let quoted: Vec<String> = values.iter().map(quoted).collect();
        self.raw(key, format!("[{}]", quoted.join(", ")));
    }

    fn time(&mut self, key: &str, seconds: u64) {
        self.raw(key, time::to_text(seconds));
    }
}

/// A basic string (TOML 1.0). Names hold no control characters, so two escapes are enough for them; everything else that is
/// written is plain ASCII.
fn quoted(value: &impl ToString) -> String {
    let escaped = value.to_string().replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// The text without signature.
pub(super) fn canonical(content: &Content) -> String {
    let mut t = Text(String::new());
    t.text("schema", SCHEMA);
    t.text("name", &content.name);
    t.text("owner", content.owner);
    if let Some(audience) = &content.audience {
        t.text("audience", audience);
    }
    t.text("currency", content.currency);
    t.raw("version", content.version);
    t.time("as_of", content.as_of);
    t.raw("max_age_days", content.max_age_days);
    t.raw("witness_quorum", content.witness_quorum);
    if let Some(cap) = content.implementation_cap {
        t.table("[caps]");
        t.text("implementation", cap);
    }
    if let Some(audits) = &content.audits {
        t.table("[audits]");
        t.text("power", audits.detection.power);
        t.text("colluding", audits.detection.colluding);
        t.text("predictable", audits.detection.predictable);
        t.text("gamma", audits.gamma);
        t.text("kappa", audits.kappa);
        t.raw("clawback", audits.clawback);
        t.raw("joint_forfeiture", audits.joint_forfeiture);
        if let Some(days) = audits.horizon_days {
            t.raw("horizon_days", days);
        }
    }
    if let Some(replication) = &content.replication {
        t.table("[replication]");
        t.text("corrupt", replication.corrupt);
        t.text("shared_fault", replication.shared_fault);
        t.text("epsilon", replication.epsilon);
    }
    for issuer in &content.issuers {
        t.table("[[issuer]]");
        t.text("name", &issuer.name);
        for key in &issuer.keys {
            t.table("[[issuer.key]]");
            issuer_key(&mut t, key);
        }
    }
    for model in &content.models {
        t.table("[[model]]");
        t.text("name", &model.name);
        t.text("program", model.program);
        if !model.proof_keys.is_empty() {
            t.list("proof_keys", &model.proof_keys);
        }
    }
    let logs = content
        .logs
        .iter()
        .map(|log| ("[[log]]", &log.key, &log.controller));
    let witnesses = content
        .witnesses
        .iter()
        .map(|witness| ("[[witness]]", &witness.key, &witness.controller));
    for (head, key, controller) in logs.chain(witnesses) {
        t.table(head);
        // Only promise keys have no text, and none of them gets past the checks.
        t.text("key", key.to_vkey().unwrap_or_default());
        t.text("controller", controller);
    }
    for auditor in &content.auditors {
        t.table("[[auditor]]");
        t.text("name", &auditor.name);
        t.text("key", auditor.key);
        t.text("controller", &auditor.controller);
        t.text("cap", auditor.cap);
    }
    for bond in &content.bonds {
        t.table("[[bond]]");
        t.text("issuer", &bond.issuer);
        t.text("amount", bond.amount);
        if let Some(withheld) = bond.withheld {
            t.text("withheld", withheld);
        }
        t.time("as_of", bond.as_of);
        t.time("expiry", bond.expiry);
    }
    super::platform::write(&mut t, content);
    for denied in &content.denied_platforms {
        t.table("[[denied_platform]]");
        t.text("vendor", &denied.vendor);
        t.text("id", &denied.id);
        t.text("reason", &denied.reason);
    }
    for upstream in &content.upstreams {
        t.table("[[upstream]]");
        t.text("name", &upstream.name);
        t.text("cap", upstream.cap);
        for (key, names) in [
            ("models", &upstream.models),
            ("couriers", &upstream.couriers),
        ] {
            if !names.is_empty() {
                t.list(key, names);
            }
        }
    }
    t.0
}

fn issuer_key(t: &mut Text, key: &IssuerKey) {
    t.text("public", key.key);
    if let Some(time) = key.not_before {
        t.time("not_before", time);
    }
    if let Some(time) = key.not_after {
        t.time("not_after", time);
    }
    if let Some(revoked) = &key.revoked {
        t.raw("revoked_from_log_index", revoked.from_index);
        t.text("revoked_in_log", &revoked.log);
    }
}

/// The text of the file.
pub(super) fn with_signature(canonical: &str, signature: Option<&Signature>) -> String {
    let mut t = Text(String::from(canonical));
    if let Some(signature) = signature {
        t.table("[signature]");
        t.text("ed25519", hex::encode(signature));
    }
    t.0
}
