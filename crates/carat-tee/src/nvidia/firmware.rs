//! What the signer's certificate says about the firmware that holds its key (TCG, "DICE Attestation Architecture",
//! section 6, "Evidence"): digests, and the state it was in.
//!
//! Hopper's has a CompositeDeviceID of earlier DICE documents, which has no state; Blackwell's has a DiceTcbInfo, under
//! TCG's object identifier or under one that NVIDIA put below it.

use alloc::vec::Vec;

use super::spdm::{Report, opaque};
use crate::der::{DerError, Reader, tag};
use crate::x509::Certificate;
use crate::{Checks, Reason, Request};

/// 2.23.133.5.4.1 and 2.23.133.5.4.1.1.
const TCB_INFO: [&[u8]; 2] = [
    &[0x67, 0x81, 0x05, 0x05, 0x04, 0x01],
    &[0x67, 0x81, 0x05, 0x05, 0x04, 0x01, 0x01],
];
/// Bits of the first byte of OperationalFlags, whose bit 0 is the highest.
const NOT_SECURE: u8 = 0x40;
const RECOVERY: u8 = 0x20;
const DEBUG: u8 = 0x10;

#[derive(Debug, PartialEq, Eq)]
struct TcbInfo<'a> {
    /// Digests of the firmware, one for each layer.
    digests: Vec<&'a [u8]>,
    /// The first byte of the flags, if there are flags.
    flags: Option<u8>,
}

/// Checks the state of the firmware, and that report and certificate name the same. Returns whether it can be debugged.
pub(super) fn check(
    checks: &mut Checks,
    request: &Request<'_>,
    report: &Report<'_>,
    leaf: &Certificate<'_>,
) -> bool {
    let extension = TCB_INFO.iter().find_map(|oid| leaf.extension(oid));
    let info = extension.map(|extension| TcbInfo::parse(extension.value));
    if let Some(Err(error)) = info {
        checks.fail(
            Reason::Malformed,
            "firmware",
            alloc::format!("what the signer's certificate says about the firmware: {error}"),
        );
        return true;
    }
    let info = info.and_then(Result::ok);
    let debug = state(checks, request, info.as_ref().and_then(|info| info.flags));
    let Some(reported) = report.opaque(opaque::FWID) else {
        checks.not_made("firmware", "the report names no firmware digest");
        return debug;
    };
    // Layers that are not there are certified as zeros, which name no firmware.
    let named = reported.iter().any(|&byte| byte != 0);
    let holds = named && info.is_some_and(|info| info.digests.contains(&reported));
    checks.require(
        holds,
        Reason::TcbMismatch,
        "firmware",
        "the report and the signer's certificate name the same firmware",
        || "the report names other firmware than the signer's certificate".into(),
    );
    debug
}

fn state(checks: &mut Checks, request: &Request<'_>, flags: Option<u8>) -> bool {
    let Some(flags) = flags else {
        checks.not_made(
            "debug",
            "the signer's certificate does not say whether the firmware can be debugged",
        );
        return false;
    };
    let debug = flags & DEBUG != 0;
    checks.debug(
        request.policy,
        debug,
        "NVIDIA's certificate says that the firmware can be debugged",
    );
    checks.require(
        flags & (NOT_SECURE | RECOVERY) == 0 || (debug && request.policy.allow_debug),
        Reason::PlatformInfo,
        "firmware_state",
        "neither in recovery nor insecure",
        || "NVIDIA's certificate says that the firmware is in recovery, or not secure".into(),
    );
    debug
}

impl<'a> TcbInfo<'a> {
    fn parse(value: &'a [u8]) -> Result<Self, DerError> {
        let mut outer = Reader::new(value);
        let mut info = outer.sequence()?;
        outer.finish()?;
        let (mut digests, mut flags) = (Vec::new(), None);
        // CompositeDeviceID: version, the device's key, one digest.
        if info.optional(tag::INTEGER)?.is_some() {
            info.sequence()?;
            digests.push(fwid(&mut info)?);
            info.finish()?;
            return Ok(Self { digests, flags });
        }
        // DiceTcbInfo: every field is optional and has a number of its own.
        while !info.is_empty() {
            let field = info.any()?;
            match field.tag {
                // [6] fwids
                0xa6 => {
                    let mut list = Reader::new(field.value);
                    while !list.is_empty() {
                        digests.push(fwid(&mut list)?);
                    }
                }
                // [7] flags: a byte that counts unused bits, then the bits.
                0x87 => match field.value {
                    [0..=7, first, ..] => flags = Some(*first),
                    [0] => flags = Some(0),
                    _ => return Err(DerError::Value("bit string")),
                },
                _ => {}
            }
        }
        Ok(Self { digests, flags })
    }
}

/// SEQUENCE of the hash's object identifier and the digest.
fn fwid<'a>(list: &mut Reader<'a>) -> Result<&'a [u8], DerError> {
    let mut fwid = list.sequence()?;
    fwid.expect(tag::OID)?;
    let digest = fwid.expect(tag::OCTET_STRING)?;
    fwid.finish()?;
    Ok(digest)
}
