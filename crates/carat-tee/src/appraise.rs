//! Checks that reports of CPUs share: what the hardware signed for its guest, and measurements that a policy lists.

use alloc::format;
use alloc::string::String;

use crate::{Checks, Reason, Request};

/// Compares the guest's own field of a report (report data) with the nonce and the binding that were asked for.
///
/// A nonce must fill the field, or start it with zeros after it: nothing else may stand beside it, since it would be
/// signed as well and nobody would have looked at it. A binding must fill the field.
pub(crate) fn guest_field(checks: &mut Checks, request: &Request<'_>, field: &[u8]) {
    let len = request.nonce.map_or(field.len(), <[u8]>::len);
    let found = match field.split_at_checked(len) {
        _ if zero(field) => None,
        Some((start, rest)) if zero(rest) && len > 0 => Some(start),
        _ => Some(field),
    };
    checks.nonce(request, found);
    checks.bound(request, Some(field));
}

/// Compares a measurement with a list of hexadecimal values in the policy. An empty list asks for nothing.
pub(crate) fn expected_hex(
    checks: &mut Checks,
    name: &'static str,
    expected: &[String],
    found: &[u8],
) {
    if expected.is_empty() {
        return;
    }
    let found = hex::encode(found);
    checks.require(
        expected
            .iter()
            .any(|value| value.trim().eq_ignore_ascii_case(&found)),
        Reason::Measurement,
        name,
        "the policy names it",
        || format!("{found} is not among the values that the policy names"),
    );
}

/// Whether all bytes are zero.
pub(crate) fn zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}
