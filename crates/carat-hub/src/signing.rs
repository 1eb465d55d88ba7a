//! OpenSSF Model Signing: a Sigstore bundle whose DSSE envelope holds an in-toto statement over a model's files.
//!
//! Checked offline: that the files of the version are those of the statement, and that the statement was signed by a key that
//! the publisher names, or by the key of a certificate in the bundle, with its chain. Who holds the key is not checked here; a
//! reader who knows gives the key, or the root, that must have signed.
//!
//! Formats: Sigstore bundle v0.3, DSSE v1, in-toto statement v1, `https://model_signing/signature/v1.0`.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding as _};
use carat_receipt::Digest;
use carat_tee::crypto::{self, Algorithm, Form, PublicKey};
use carat_tee::x509::{Certificate, MAX_CHAIN, links, public_key};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::HubError;
use crate::manifest::{FileEntry, SIGNATURE_FILE};

/// Largest bundle, in bytes.
pub const MAX_BUNDLE_BYTES: usize = 4 << 20;
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
/// subjectAltName, as DER content.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// What became of a signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// There is none.
    #[default]
    Absent,
    /// The signature holds, and the files are those that were signed.
    Verified,
    /// The files are those of the statement; whether it was signed could not be checked.
    Unchecked,
}

/// What was checked about a signature, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SignatureReport {
    /// The result.
    pub state: State,
    /// `key`, `certificate` or `sigstore`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// SHA-256 of the signing key (DER of its SubjectPublicKeyInfo).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_sha256: Option<Digest>,
    /// Whom the certificate names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// SHA-256 of the last certificate of the chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_sha256: Option<Digest>,
    /// Files that the statement names.
    pub covered: usize,
    /// Files of the version that it does not name, besides the bundle itself.
    pub uncovered: Vec<String>,
    /// What holds.
    pub checked: Vec<String>,
    /// What was not checked.
    pub not_checked: Vec<String>,
}

/// What a reader who knows the signer demands.
#[derive(Debug, Clone, Default)]
pub struct Demand {
    /// The public key, PEM.
    pub key: Option<String>,
    /// Certificates, PEM, one of which must have issued the chain or be its end.
    pub roots: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Option<KeyHint>,
    x509_certificate_chain: Option<Chain>,
    certificate: Option<Raw>,
    #[serde(default)]
    tlog_entries: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct KeyHint {
    #[serde(default)]
    hint: String,
}

#[derive(Deserialize)]
struct Chain {
    certificates: Vec<Raw>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    raw_bytes: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Sig>,
}

#[derive(Deserialize)]
struct Sig {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Predicate {
    serialization: Serialization,
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Serialization {
    method: String,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    algorithm: String,
    digest: String,
}

fn refuse<T>(text: impl ToString) -> Result<T, HubError> {
    Err(HubError::Signature(text.to_string()))
}

fn base64(what: &str, text: &str) -> Result<Vec<u8>, HubError> {
    Base64::decode_vec(text).or_else(|_| refuse(format!("{what} is not base64")))
}

/// The blocks of a kind in a PEM text, as DER.
fn pem(text: &str, label: &str) -> Result<Vec<Vec<u8>>, HubError> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mut found = Vec::new();
    for block in text.split(&begin).skip(1) {
        let Some((body, _)) = block.split_once(&end) else {
            return refuse(format!("a PEM block of {label} does not end"));
        };
        let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        found.push(base64("a PEM block", &body)?);
    }
    if found.is_empty() {
        return refuse(format!("there is no PEM block of {label}"));
    }
    Ok(found)
}

/// DSSE's pre-authentication encoding of the payload.
fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

/// Verifies a bundle over the files of a version. `named` is the key that the publisher names.
///
/// # Errors
/// [`HubError::Signature`] where anything that could be checked does not hold, and where a demand is not met.
pub fn verify(
    bundle: &[u8],
    files: &[FileEntry],
    named: Option<&str>,
    demand: &Demand,
) -> Result<SignatureReport, HubError> {
    if bundle.len() > MAX_BUNDLE_BYTES {
        return refuse(format!(
            "it has {} bytes; {MAX_BUNDLE_BYTES} are read",
            bundle.len()
        ));
    }
    let bundle: Bundle = match serde_json::from_slice(bundle) {
        Ok(bundle) => bundle,
        Err(error) => return refuse(format!("this is no Sigstore bundle of a model: {error}")),
    };
    if !bundle
        .media_type
        .starts_with("application/vnd.dev.sigstore.bundle")
    {
        return refuse("its media type is not that of a Sigstore bundle");
    }
    let envelope = &bundle.dsse_envelope;
    if envelope.payload_type != PAYLOAD_TYPE {
        return refuse(format!("its payload is not {PAYLOAD_TYPE}"));
    }
    let [signature] = &envelope.signatures[..] else {
        return refuse("it holds no signature, or several");
    };
    let payload = base64("the payload", &envelope.payload)?;
    let signature = base64("the signature", &signature.sig)?;
    let mut report = SignatureReport::default();
    compare(&payload, files, &mut report)?;
    let message = pae(PAYLOAD_TYPE, &payload);
    let material = &bundle.verification_material;
    let chain = match (&material.x509_certificate_chain, &material.certificate) {
        (Some(chain), None) => chain.certificates.iter().collect(),
        (None, Some(one)) => vec![one],
        (None, None) => Vec::new(),
        (Some(_), Some(_)) => return refuse("it holds two kinds of certificates"),
    };
    if chain.is_empty() {
        let hint = material.public_key.as_ref().map(|key| key.hint.as_str());
        by_key(&message, &signature, hint, named, demand, &mut report)?;
    } else {
        let chain = chain
            .iter()
            .map(|raw| base64("a certificate", &raw.raw_bytes))
            .collect::<Result<Vec<_>, _>>()?;
        let keyless = material.certificate.is_some();
        report.method = Some(if keyless { "sigstore" } else { "certificate" }.into());
        by_certificate(&message, &signature, &chain, demand, &mut report)?;
    }
    if !material.tlog_entries.is_empty() {
        report
            .not_checked
            .push("the signature's entry in a transparency log: it is not looked up".into());
    }
    Ok(report)
}

/// Whether the files are those of the statement.
fn compare(
    payload: &[u8],
    files: &[FileEntry],
    report: &mut SignatureReport,
) -> Result<(), HubError> {
    let statement: Statement = match serde_json::from_slice(payload) {
        Ok(statement) => statement,
        Err(error) => return refuse(format!("its statement cannot be read: {error}")),
    };
    if statement.kind != STATEMENT_TYPE || statement.predicate_type != PREDICATE_TYPE {
        return refuse(format!(
            "its statement is a {}, not {PREDICATE_TYPE}",
            statement.predicate_type
        ));
    }
    let Predicate {
        serialization,
        resources,
    } = statement.predicate;
    if serialization.method != "files" {
        return refuse(format!(
            "it hashes by {:?}; only whole files are compared here",
            serialization.method
        ));
    }
    let mut root = Sha256::new();
    let mut names: Vec<&str> = Vec::with_capacity(resources.len());
    for resource in &resources {
        let Resource {
            name,
            algorithm,
            digest,
        } = resource;
        if algorithm != "sha256" {
            return refuse(format!("it hashes {name:?} by {algorithm}, not by sha256"));
        }
        let Ok(digest) = digest.parse::<Digest>() else {
            return refuse(format!("the digest of {name:?} cannot be read"));
        };
        root.update(digest.as_bytes());
        match files.iter().find(|file| file.path.as_str() == name) {
            None => return refuse(format!("it covers {name:?}, which is not published")),
            Some(file) if file.sha256 != digest => {
                return refuse(format!(
                    "{name} is another file than the one that was signed"
                ));
            }
            Some(_) => names.push(name),
        }
    }
    let root = Digest::from_bytes(root.finalize().into()).to_string();
    let [subject] = &statement.subject[..] else {
        return refuse("its statement has no subject, or several");
    };
    if subject.digest.get("sha256") != Some(&root) {
        return refuse("the digest of its subject is not that of its list of files");
    }
    report.covered = names.len();
    report.uncovered = files
        .iter()
        .map(|file| file.path.as_str())
        .filter(|path| *path != SIGNATURE_FILE && !names.contains(path))
        .map(ToString::to_string)
        .collect();
    report
        .checked
        .push(format!("{} files are those of the statement", names.len()));
    Ok(())
}

fn algorithm(key: &PublicKey<'_>) -> Result<Algorithm, HubError> {
    match key {
        PublicKey::P256(_) => Ok(Algorithm::EcdsaSha256),
        PublicKey::P384(_) => Ok(Algorithm::EcdsaSha384),
        PublicKey::Rsa { .. } => refuse("the signing key is not on P-256 or P-384"),
    }
}

fn holds(key: PublicKey<'_>, message: &[u8], signature: &[u8]) -> Result<(), HubError> {
    crypto::verify(key, algorithm(&key)?, Form::Der, message, signature).or_else(|error| {
        refuse(format!(
            "it was not made by that key over these files: {error}"
        ))
    })
}

fn by_key(
    message: &[u8],
    signature: &[u8],
    hint: Option<&str>,
    named: Option<&str>,
    demand: &Demand,
    report: &mut SignatureReport,
) -> Result<(), HubError> {
    report.method = Some("key".into());
    if demand.roots.is_some() {
        return refuse("it was made with a bare key; no certificate says whose");
    }
    let demanded = demand.key.as_deref();
    let Some(text) = demanded.or(named) else {
        report.state = State::Unchecked;
        report.not_checked.push(
            "the signature: its key is neither in it nor named by the publisher; give the key"
                .into(),
        );
        return Ok(());
    };
    let blocks = pem(text, "PUBLIC KEY")?;
    let [spki] = &blocks[..] else {
        return refuse("give one public key");
    };
    let key = public_key(spki).or_else(refuse)?;
    // The hint is over the PEM text that the signer's software writes, which is made again here.
    let encoded = Base64::encode_string(spki);
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    let written = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        lines.join("\n")
    );
    if hint.is_some_and(|hint| {
        !hint.is_empty() && hint != Digest::sha256(written.as_bytes()).to_string()
    }) {
        return refuse("it names another key than the one given");
    }
    holds(key, message, signature)?;
    report.state = State::Verified;
    report.key_sha256 = Some(Digest::sha256(spki));
    report.checked.push(match demanded {
        Some(_) => "signed by the key that was demanded".into(),
        None => "signed by the key that the publisher names".into(),
    });
    if demanded.is_none() {
        report
            .not_checked
            .push("whose key signed the files: compare it with one you know".into());
    }
    Ok(())
}

fn by_certificate(
    message: &[u8],
    signature: &[u8],
    chain: &[Vec<u8>],
    demand: &Demand,
    report: &mut SignatureReport,
) -> Result<(), HubError> {
    if chain.len() > MAX_CHAIN {
        return refuse(format!("it holds {} certificates", chain.len()));
    }
    let mut parsed = Vec::with_capacity(chain.len() + 1);
    for der in chain {
        parsed.push(Certificate::parse(der).or_else(refuse)?);
    }
    let leaf = parsed[0].clone();
    if !leaf.may_sign_data() {
        return refuse("its certificate is not for signing data");
    }
    holds(leaf.key, message, signature)?;
    let roots = match &demand.roots {
        Some(text) => pem(text, "CERTIFICATE")?,
        None => Vec::new(),
    };
    if demand.roots.is_some() {
        let last = chain.len() - 1;
        let within = roots.iter().any(|root| *root == chain[last]);
        if !within {
            let mut found = None;
            for root in &roots {
                let root = Certificate::parse(root).or_else(refuse)?;
                if parsed[last].issuer == root.subject && parsed[last].signed_by(root.key).is_ok() {
                    found = Some(root);
                }
            }
            match found {
                Some(root) => parsed.push(root),
                None => return refuse("its chain ends at no certificate that was demanded"),
            }
        }
    }
    links(&parsed, &[SUBJECT_ALT_NAME]).or_else(refuse)?;
    // As of the first second of the signing certificate: when the signature was made is not known.
    let at = leaf.not_before;
    if parsed
        .iter()
        .any(|one| at < one.not_before || at > one.not_after)
    {
        return refuse("its certificates were not all valid when the signing one began to be");
    }
    if demand.key.is_some() {
        let demanded = pem(demand.key.as_deref().unwrap_or_default(), "PUBLIC KEY")?;
        if !demanded.iter().any(|spki| spki == leaf.spki) {
            return refuse("it was made by another key than the one demanded");
        }
    }
    report.state = State::Verified;
    report.key_sha256 = Some(Digest::sha256(leaf.spki));
    report.signer = signer(&leaf);
    report.root_sha256 = parsed.last().map(|root| Digest::from_bytes(root.digest()));
    report.checked.push(format!(
        "signed by the key of its certificate; {} certificates, each issued by the next",
        parsed.len()
    ));
    if roots.is_empty() {
        report.not_checked.push(
            "who issued the signing certificate: its root is not one that this hub knows; compare it with one you know".into(),
        );
    } else {
        report
            .checked
            .push("the chain ends at a root that was demanded".into());
    }
    report
        .not_checked
        .push("when the files were signed, and whether the certificate was revoked".into());
    Ok(())
}

/// Whom a certificate names: an address or identifier among its alternative names, else its common name.
fn signer(leaf: &Certificate<'_>) -> Option<String> {
    use carat_tee::der::{Reader, tag};
    let names = leaf.extension(SUBJECT_ALT_NAME).and_then(|extension| {
        let mut list = Reader::new(Reader::new(extension.value).expect(tag::SEQUENCE).ok()?);
        // rfc822Name, dNSName, uniformResourceIdentifier.
        while let Ok(name) = list.any() {
            if [0x81, 0x82, 0x86].contains(&name.tag) {
                return std::str::from_utf8(name.value)
                    .ok()
                    .map(ToString::to_string);
            }
        }
        None
    });
    let plain = |name: &String| !name.contains(carat_receipt::label::misleads);
    names.or_else(|| leaf.common_name()).filter(plain)
}
