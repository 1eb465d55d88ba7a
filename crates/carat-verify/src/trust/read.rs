//! From the text of a Trust file to its content.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use carat_log::VerifierKey;
use carat_policy::{Detection, Factor, Fraction};
use carat_receipt::{Amount, Currency, Digest, Label, PublicKey, Signature};
use serde::Deserialize;
use toml::value::Datetime;

use super::{
    Auditor, Audits, Bond, Content, DeniedPlatform, Issuer, IssuerKey, LogKey, MAX_TRUST_BYTES,
    Model, Replication, Revocation, TrustError, Upstream, WitnessKey,
};
use crate::time;

/// The value of `schema` in files that this version reads.
pub(super) const SCHEMA: &str = "carat-trust/v1";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    name: Label,
    owner: PublicKey,
    audience: Option<Label>,
    currency: Currency,
    version: u64,
    as_of: Datetime,
    max_age_days: u64,
    witness_quorum: Option<u64>,
    #[serde(default)]
    caps: Caps,
    audits: Option<FileAudits>,
    replication: Option<FileReplication>,
    #[serde(default)]
    issuer: Vec<FileIssuer>,
    #[serde(default)]
    model: Vec<FileModel>,
    #[serde(default)]
    log: Vec<FileNoteKey>,
    #[serde(default)]
    witness: Vec<FileNoteKey>,
    #[serde(default)]
    auditor: Vec<FileAuditor>,
    #[serde(default)]
    bond: Vec<FileBond>,
    #[serde(default)]
    platform: Vec<super::platform::FilePlatform>,
    #[serde(default)]
    gpu_reference: Vec<super::platform::FileGpuReference>,
    #[serde(default)]
    denied_platform: Vec<FileDenied>,
    #[serde(default)]
    upstream: Vec<FileUpstream>,
    signature: Option<FileSignature>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Caps {
    implementation: Option<Amount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAudits {
    power: Fraction,
    colluding: Fraction,
    predictable: Fraction,
    gamma: Factor,
    kappa: Fraction,
    clawback: bool,
    joint_forfeiture: bool,
    horizon_days: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileReplication {
    corrupt: Fraction,
    shared_fault: Fraction,
    epsilon: Amount,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileIssuer {
    name: Label,
    #[serde(default)]
    key: Vec<FileIssuerKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileIssuerKey {
    public: PublicKey,
    not_before: Option<Datetime>,
    not_after: Option<Datetime>,
    revoked_from_log_index: Option<u64>,
    revoked_in_log: Option<Label>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileModel {
    name: Label,
    program: Digest,
    #[serde(default)]
    proof_keys: Vec<Digest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileNoteKey {
    key: String,
    controller: Label,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAuditor {
    name: Label,
    key: PublicKey,
    controller: Label,
    cap: Amount,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileBond {
    issuer: Label,
    amount: Amount,
    withheld: Option<Amount>,
    as_of: Datetime,
    expiry: Datetime,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileDenied {
    vendor: Label,
    id: Label,
    reason: Label,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileUpstream {
    name: Label,
    cap: Amount,
    #[serde(default)]
    models: Vec<Label>,
    #[serde(default)]
    couriers: Vec<Label>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSignature {
    ed25519: String,
}

/// Reads a Trust file. The rules that span entries are checked by the caller.
pub(super) fn parse(text: &str) -> Result<(Content, Option<Signature>), TrustError> {
    if text.len() > MAX_TRUST_BYTES {
        return Err(TrustError::TooLarge(text.len()));
    }
    let file: File = toml::from_str(text).map_err(|error| {
        let before = error
            .span()
            .and_then(|span| text.as_bytes().get(..span.start));
        let place = before.map(|before| {
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            format!("line {line}: ")
        });
        TrustError::Syntax(format!("{}{}", place.unwrap_or_default(), error.message()))
    })?;
    if file.schema != SCHEMA {
        return Err(TrustError::value(
            "schema",
            format!("this software reads {SCHEMA:?} only"),
        ));
    }
    let signature = file
        .signature
        .map(|signature| read_signature(&signature.ed25519))
        .transpose()?;
    let content = Content {
        name: file.name,
        owner: file.owner,
        audience: file.audience,
        currency: file.currency,
        version: file.version,
        as_of: seconds("as_of", &file.as_of)?,
        max_age_days: file.max_age_days,
        implementation_cap: file.caps.implementation,
        audits: file.audits.map(|audits| Audits {
            detection: Detection {
                power: audits.power,
                colluding: audits.colluding,
                predictable: audits.predictable,
            },
            gamma: audits.gamma,
            kappa: audits.kappa,
            clawback: audits.clawback,
            joint_forfeiture: audits.joint_forfeiture,
            horizon_days: audits.horizon_days,
        }),
        replication: file.replication.map(|replication| Replication {
            corrupt: replication.corrupt,
            shared_fault: replication.shared_fault,
            epsilon: replication.epsilon,
        }),
        witness_quorum: file.witness_quorum.unwrap_or(0),
        issuers: collect(file.issuer, issuer)?,
        models: collect(file.model, |model| {
            Ok(Model {
                name: model.name,
                program: model.program,
                proof_keys: model.proof_keys,
            })
        })?,
        logs: collect(file.log, |log| {
            Ok(LogKey {
                key: note_key("log", &log.key)?,
                controller: log.controller,
            })
        })?,
        witnesses: collect(file.witness, |witness| {
            Ok(WitnessKey {
                key: note_key("witness", &witness.key)?,
                controller: witness.controller,
            })
        })?,
        auditors: collect(file.auditor, |auditor| {
            let FileAuditor {
                name,
                key,
                controller,
                cap,
            } = auditor;
            Ok(Auditor {
                name,
                key,
                controller,
                cap,
            })
        })?,
        bonds: collect(file.bond, |bond| {
            Ok(Bond {
                issuer: bond.issuer,
                amount: bond.amount,
                withheld: bond.withheld,
                as_of: seconds("bond.as_of", &bond.as_of)?,
                expiry: seconds("bond.expiry", &bond.expiry)?,
            })
        })?,
        platforms: collect(file.platform, super::platform::read)?,
        gpu_references: collect(file.gpu_reference, super::platform::read_reference)?,
        denied_platforms: collect(file.denied_platform, |denied| {
            let FileDenied { vendor, id, reason } = denied;
            Ok(DeniedPlatform { vendor, id, reason })
        })?,
        upstreams: collect(file.upstream, |upstream| {
            let FileUpstream {
                name,
                cap,
                models,
                couriers,
            } = upstream;
            Ok(Upstream {
                name,
                cap,
                models,
                couriers,
            })
        })?,
    };
    Ok((content, signature))
}

fn collect<T, U>(
    entries: Vec<T>,
    read: impl FnMut(T) -> Result<U, TrustError>,
) -> Result<Vec<U>, TrustError> {
    entries.into_iter().map(read).collect()
}

fn seconds(place: &str, value: &Datetime) -> Result<u64, TrustError> {
    time::from_toml(value).ok_or_else(|| {
        TrustError::value(
            place,
            "give a time in UTC with whole seconds, like 2026-01-31T00:00:00Z",
        )
    })
}

fn issuer(issuer: FileIssuer) -> Result<Issuer, TrustError> {
    let keys = collect(issuer.key, |key| {
        let place = "issuer.key";
        let revoked = match (key.revoked_in_log, key.revoked_from_log_index) {
            (Some(log), Some(from_index)) => Some(Revocation { log, from_index }),
            (None, None) => None,
            _ => {
                let reason = "give revoked_in_log and revoked_from_log_index together";
                return Err(TrustError::value(place, reason));
            }
        };
        Ok(IssuerKey {
            key: key.public,
            not_before: key
                .not_before
                .as_ref()
                .map(|time| seconds(place, time))
                .transpose()?,
            not_after: key
                .not_after
                .as_ref()
                .map(|time| seconds(place, time))
                .transpose()?,
            revoked,
        })
    })?;
    Ok(Issuer {
        name: issuer.name,
        keys,
    })
}

fn note_key(place: &str, text: &str) -> Result<VerifierKey, TrustError> {
    VerifierKey::from_vkey(text).map_err(|error| TrustError::value(place, error))
}

fn read_signature(text: &str) -> Result<Signature, TrustError> {
    let mut signature = [0; 64];
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    match hex::decode_to_slice(text, &mut signature) {
        Ok(()) if lower => Ok(signature),
        _ => Err(TrustError::value(
            "signature.ed25519",
            "128 lowercase hexadecimal digits are expected",
        )),
    }
}
