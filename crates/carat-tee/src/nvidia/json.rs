//! NVIDIA evidence as its tools write it: JSON with the report and the chain side by side.
//!
//! * `{"evidence": BASE64, "certificate": BASE64, ...}`, alone, in a list, or in `evidence_list` (attestation SDK, NRAS);
//! * a collection of conceptual message wrappers, `{"__cmwc_t": ..., "gpu_0": {"evidence": [TYPE, BASE64URL],
//!   "certificate": [TYPE, BASE64URL]}}` (attestation SDK since 2026).
//!
//! The certificates are PEM. Everything else in it is not read: nobody signed it.

use alloc::string::ToString;
use alloc::vec::Vec;

use serde_json::Value;

use crate::input::{self, InputError};

/// How deep the objects with the evidence may stand.
const MAX_DEPTH: usize = 4;

/// Whether a text is such JSON, rather than hexadecimal or base64.
pub(crate) fn looks_like_it(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// The report and the chain of the one GPU that it holds.
pub(crate) fn parse(json: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>), InputError> {
    let json: Value =
        serde_json::from_slice(json).map_err(|error| InputError::Json(error.to_string()))?;
    let mut found = Vec::new();
    collect(&json, MAX_DEPTH, &mut found);
    let (evidence, certificate) = match found[..] {
        [one] => one,
        [] => {
            let reason = "no object has both \"evidence\" and \"certificate\"";
            return Err(InputError::Json(reason.to_string()));
        }
        _ => return Err(InputError::Several(found.len())),
    };
    let report = input::decode(evidence.as_bytes())?.into_owned();
    Ok((report, input::certificates(certificate.as_bytes())?))
}

fn collect<'j>(json: &'j Value, depth: usize, found: &mut Vec<(&'j str, &'j str)>) {
    let Some(below) = depth.checked_sub(1) else {
        return;
    };
    match json {
        Value::Array(list) => list.iter().for_each(|item| collect(item, below, found)),
        Value::Object(map) => {
            let field = |name: &str| map.get(name).and_then(bytes);
            match (field("evidence"), field("certificate")) {
                (Some(evidence), Some(certificate)) => found.push((evidence, certificate)),
                _ => map.values().for_each(|value| collect(value, below, found)),
            }
        }
        _ => {}
    }
}

/// A text, or the text of a wrapper: `[TYPE, TEXT]`.
fn bytes(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(pair) => match &pair[..] {
            [Value::String(_), Value::String(text)] => Some(text),
            _ => None,
        },
        _ => None,
    }
}
