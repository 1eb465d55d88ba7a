//! Google Cloud Confidential Space: the PKI token.
//!
//! A compact JWS (RFC 7515) with RS256 and the signer's chain in `x5c`, whose root is pinned. The claims are an EAT
//! (RFC 9711) as Google profiles it. Tokens of the other form, which need Google's rotating keys, are refused: they cannot be
//! verified offline.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use carat_receipt::Digest;
use serde_json::{Map, Value as Json};

use crate::anchors::{Anchors, GOOGLE_CONFIDENTIAL_SPACE, GOOGLE_CONFIDENTIAL_SPACE_DER};
use crate::crypto::{self, Algorithm, Form};
use crate::x509::{self, Certificate};
use crate::{
    Attested, Checks, Facts, Kind, PlatformId, Reason, Rejected, Request, Value, Verifier, binding,
};

/// Largest token in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

const ISSUER: &str = "https://confidentialcomputing.googleapis.com";
const NOT_DEBUGGABLE: &str = "disabled-since-boot";
const SOFTWARE: &str = "CONFIDENTIAL_SPACE";

/// Verifies Confidential Space PKI tokens.
#[derive(Debug)]
pub struct Gcp;

/// A token taken apart; nothing of it is verified.
#[derive(Debug, Clone)]
pub struct Token<'a> {
    /// What is signed: header, a dot, claims.
    pub signed: &'a [u8],
    /// The JOSE header.
    pub header: Map<String, Json>,
    /// The claims.
    pub claims: Map<String, Json>,
    /// The signature.
    pub signature: Vec<u8>,
    /// The certificates of `x5c`, leaf first, DER.
    pub x5c: Vec<Vec<u8>>,
}

impl<'a> Token<'a> {
    /// Takes a token apart. Line ends around it are skipped.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let bytes = bytes.trim_ascii();
        let text = core::str::from_utf8(bytes).map_err(|_| "the token is not text")?;
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("the token has not three parts".into());
        };
        let signed = &bytes[..header.len() + 1 + claims.len()];
        let header = object(header, "header")?;
        let claims = object(claims, "claims")?;
        let signature = Base64UrlUnpadded::decode_vec(signature)
            .map_err(|_| "the signature is not base64url")?;
        let x5c = match header.get("x5c") {
            None => Vec::new(),
            Some(Json::Array(list)) if list.len() <= x509::MAX_CHAIN => list
                .iter()
                .map(|item| item.as_str().and_then(|text| Base64::decode_vec(text).ok()))
                .collect::<Option<_>>()
                .ok_or("x5c holds something else than base64")?,
            Some(_) => return Err("x5c is no list, or has too many certificates".into()),
        };
        Ok(Self {
            signed,
            header,
            claims,
            signature,
            x5c,
        })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Json::as_str)
    }

    fn time(&self, name: &str) -> Option<u64> {
        self.claims.get(name).and_then(Json::as_u64)
    }

    fn at(&self, path: &[&str]) -> Option<&Json> {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(self.claims.get(*first)?, |value, name| value.get(name))
    }
}

fn object(part: &str, what: &str) -> Result<Map<String, Json>, String> {
    let bytes =
        Base64UrlUnpadded::decode_vec(part).map_err(|_| format!("the {what} is not base64url"))?;
    match serde_json::from_slice(&bytes) {
        Ok(Json::Object(map)) => Ok(map),
        _ => Err(format!("the {what} is not a JSON object")),
    }
}

/// A text, or a list of texts.
fn texts(value: Option<&Json>) -> Vec<&str> {
    match value {
        Some(Json::String(text)) => alloc::vec![text.as_str()],
        Some(Json::Array(list)) => list.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

impl Verifier for Gcp {
    const KIND: Kind = Kind::Gcp;

    fn verify(request: &Request<'_>) -> Result<Attested, Rejected> {
        verify_with(request, Anchors::Vendor)
    }
}

pub(crate) fn verify_with(
    request: &Request<'_>,
    anchors: Anchors<'_>,
) -> Result<Attested, Rejected> {
    let mut checks = Checks::new(Kind::Gcp);
    if request.evidence.len() > MAX_BYTES {
        let reason = format!("{} bytes; the limit is {MAX_BYTES}", request.evidence.len());
        return Err(checks.stop(Reason::TooLarge, "format", reason));
    }
    let token = match Token::parse(request.evidence) {
        Ok(token) => token,
        Err(reason) => return Err(checks.stop(Reason::Malformed, "format", reason)),
    };
    checks.pass("format", "a compact JWS");
    for (name, value) in &token.claims {
        checks.claim(name, json(value));
    }
    if token.header.get("alg").and_then(Json::as_str) != Some("RS256")
        || token.header.contains_key("crit")
    {
        return Err(checks.stop(
            Reason::Algorithm,
            "algorithm",
            "the token is not RS256, or has critical headers",
        ));
    }
    checks.pass("algorithm", "RS256");
    if token.x5c.is_empty() {
        let reason = "the token carries no chain (x5c), so nobody can say offline who signed it; ask for a PKI token";
        return Err(checks.stop(Reason::EndorsementMissing, "certificates", reason));
    }
    let parsed = token
        .x5c
        .iter()
        .map(|der| Certificate::parse(der))
        .collect::<Result<Vec<_>, _>>();
    let mut chain = match parsed {
        Ok(chain) => chain,
        Err(error) => {
            return Err(checks.stop(Reason::Malformed, "certificates", error.to_string()));
        }
    };
    // RFC 7515 section 4.1.6 leaves it open whether the root stands there.
    let complete = chain.last().is_some_and(|last| last.issuer == last.subject);
    if !complete && matches!(anchors, Anchors::Vendor) {
        chain.extend(Certificate::parse(GOOGLE_CONFIDENTIAL_SPACE_DER));
    }
    let Some(leaf) = chain.first() else {
        return Err(checks.stop(
            Reason::EndorsementMissing,
            "certificates",
            "the chain is empty",
        ));
    };
    let verified = crypto::verify(
        leaf.key,
        Algorithm::RsaPkcs1Sha256,
        Form::Raw,
        token.signed,
        &token.signature,
    );
    if let Err(error) = verified {
        return Err(checks.stop(Reason::Signature, "signature", error.to_string()));
    }
    checks.require(
        leaf.may_sign_data(),
        Reason::Signature,
        "signature",
        "signed by the chain's leaf",
        || "the certificate may not sign data".into(),
    );
    anchors.check(&mut checks, &chain, &[GOOGLE_CONFIDENTIAL_SPACE]);
    let lifetime = lifetime(&mut checks, &token, request);
    let valid_until = x509::dates(&mut checks, &chain, request.now);
    let debug = token.text("dbgstat") != Some(NOT_DEBUGGABLE);
    checks.debug(request.policy, debug, "dbgstat is not disabled-since-boot");
    software(&mut checks, &token, request, debug);
    audience(&mut checks, &token, request);
    nonce(&mut checks, &token, request);
    let image = token
        .at(&["submods", "container", "image_digest"])
        .and_then(Json::as_str)
        .unwrap_or_default();
    let measurement = binding::measurement(Kind::Gcp, &[image.as_bytes()]);
    checks.measurement(request.policy, &measurement);
    let platforms = platforms(&token);
    checks.platforms(request.policy, &platforms);

    let still_trusted = alloc::vec![
        "Google, which checks the hardware's evidence itself and signs what it found: no chip vendor's signature is in the token".to_string(),
        "Google's launcher and image, which measure the container".to_string(),
        "the container with this digest: it must make the key inside and do what it says".to_string(),
        "that Google revoked none of the certificates: its revocation lists are not consulted".to_string(),
    ];
    let facts = Facts {
        debug,
        platforms,
        product: token.text("hwmodel").map(str::to_ascii_lowercase),
        measurement,
        signed_region: Digest::sha256(token.signed),
        bound: texts(token.claims.get("eat_nonce")).join("").into_bytes(),
        made_at: token.time("iat"),
        valid_until: Some(valid_until.min(lifetime)),
    };
    checks.conclude(facts, still_trusted)
}

/// `nbf <= now < exp`, no tolerance (RFC 7519 section 4.1.4), and an age limit from `iat`. Returns the last good second.
fn lifetime(checks: &mut Checks, token: &Token<'_>, request: &Request<'_>) -> u64 {
    let (Some(iat), Some(exp)) = (token.time("iat"), token.time("exp")) else {
        checks.fail(Reason::Malformed, "lifetime", "the token has no iat or exp");
        return 0;
    };
    let nbf = token.time("nbf").unwrap_or(iat);
    let now = request.now;
    if now >= exp {
        checks.fail(
            Reason::TokenExpired,
            "lifetime",
            format!("the token expired at {exp}; it is {now}"),
        );
    } else if now < nbf {
        checks.fail(
            Reason::Future,
            "lifetime",
            format!("the token is valid from {nbf}; it is {now}"),
        );
    } else {
        checks.pass("lifetime", format!("valid from {nbf} until before {exp}"));
    }
    crate::nitro::freshness(checks, request, iat);
    exp.saturating_sub(1)
        .min(iat.saturating_add(request.policy.max_age))
}

fn software(checks: &mut Checks, token: &Token<'_>, request: &Request<'_>, debug: bool) {
    let policy = &request.policy.gcp;
    checks.require(
        token.text("iss") == Some(ISSUER),
        Reason::Software,
        "issuer",
        "issued by Confidential Space",
        || "the token names another issuer".into(),
    );
    checks.require(
        token.text("swname") == Some(SOFTWARE),
        Reason::Software,
        "software",
        "a Confidential Space image",
        || "swname is not CONFIDENTIAL_SPACE".into(),
    );
    let model = token.text("hwmodel").unwrap_or("none");
    checks.require(
        policy.hwmodels.iter().any(|known| known == model),
        Reason::ProductDenied,
        "hardware",
        format!("hardware model {model}"),
        || format!("hardware model {model} is not one that the policy accepts"),
    );
    let secure_boot = token.claims.get("secboot").and_then(Json::as_bool);
    checks.require(
        secure_boot == Some(true),
        Reason::PlatformInfo,
        "secure_boot",
        "booted securely",
        || "secboot is not true".into(),
    );
    if debug && request.policy.allow_debug {
        checks.not_made("support", "images for debugging have no support attribute");
    } else if policy.support_attribute.is_empty() {
        checks.not_made("support", "the policy demands no support attribute");
    } else {
        let attributes = texts(token.at(&["submods", "confidential_space", "support_attributes"]));
        checks.require(
            attributes.contains(&policy.support_attribute.as_str()),
            Reason::Software,
            "support",
            format!("the image is {}", policy.support_attribute),
            || format!("the image is not {}", policy.support_attribute),
        );
    }
    let image = token
        .at(&["submods", "container", "image_digest"])
        .and_then(Json::as_str);
    match image {
        None => checks.fail(
            Reason::Measurement,
            "image",
            "the token names no image digest",
        ),
        Some(_) if policy.image_digests.is_empty() => {
            checks.not_made(
                "image",
                "the policy names no image digests: any container is accepted",
            );
        }
        Some(image) => checks.require(
            policy
                .image_digests
                .iter()
                .any(|known| known.eq_ignore_ascii_case(image)),
            Reason::Measurement,
            "image",
            "the policy names this image",
            || format!("image {image} is not one that the policy names"),
        ),
    }
}

fn audience(checks: &mut Checks, token: &Token<'_>, request: &Request<'_>) {
    let policy = &request.policy.gcp;
    if policy.audiences.is_empty() {
        return checks.not_made(
            "audience",
            "the policy names no audience: the token may have been made for somebody else",
        );
    }
    let found = texts(token.claims.get("aud"));
    checks.require(
        found
            .iter()
            .any(|audience| policy.audiences.iter().any(|known| known == audience)),
        Reason::Audience,
        "audience",
        "the token is for an audience that the policy names",
        || format!("the token is for {}", found.join(", ")),
    );
}

/// A nonce stands in the token as text: in hexadecimal, base64 or as it is. `B` has 64 bytes and a nonce at most 74
/// characters, so the halves of `B` stand there as two nonces in hexadecimal.
fn nonce(checks: &mut Checks, token: &Token<'_>, request: &Request<'_>) {
    let found = texts(token.claims.get("eat_nonce"));
    let says = |nonce: &[u8]| {
        let hex = hex::encode(nonce);
        found.iter().any(|text| {
            text.as_bytes() == nonce
                || text.eq_ignore_ascii_case(&hex)
                || *text == Base64::encode_string(nonce)
                || text.trim_end_matches('=') == Base64UrlUnpadded::encode_string(nonce)
        })
    };
    match request.nonce {
        None => checks.no_nonce(request),
        Some(_) if found.is_empty() => {
            checks.fail(
                Reason::NonceMissing,
                "nonce",
                "a nonce was given and the token has none",
            );
        }
        Some(nonce) => checks.require(
            says(nonce),
            Reason::NonceMismatch,
            "nonce",
            "the token answers the nonce given",
            || {
                format!(
                    "the token answers {}, given was {}",
                    found.join(", "),
                    hex::encode(nonce)
                )
            },
        ),
    }
    let whole = request.binding.filter(|binding| {
        let (first, second) = binding.value.split_at(binding.value.len() / 2);
        binding.value.len() == 64 && found == [hex::encode(first), hex::encode(second)]
    });
    checks.bound(request, whole.map(|binding| binding.value));
}

fn platforms(token: &Token<'_>) -> Vec<PlatformId> {
    let instance = token
        .at(&["submods", "gce", "instance_id"])
        .and_then(Json::as_str);
    let project = token
        .at(&["submods", "gce", "project_id"])
        .and_then(Json::as_str);
    let named = [("gce-instance", instance), ("gce-project", project)];
    named
        .into_iter()
        .filter_map(|(space, value)| {
            PlatformId::new(format!("{space}:{}", value?.to_ascii_lowercase())).ok()
        })
        .collect()
}

fn json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Text("null".into()),
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => number
            .as_i64()
            .map_or_else(|| Value::Text(number.to_string()), Value::Int),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(list) => Value::List(list.iter().map(json).collect()),
        Json::Object(map) => Value::Map(
            map.iter()
                .map(|(name, value)| (name.clone(), json(value)))
                .collect(),
        ),
    }
}
