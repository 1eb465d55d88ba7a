//! Why evidence is rejected: one stable code for each reason.

use core::fmt;

use serde::{Serialize, Serializer};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+) => {
        /// Why evidence was rejected. The codes are stable: scripts may compare them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc,)+),)+
                }
            }
        }
    };
}

reasons! {
    /// The bytes are not evidence of this kind, or not in the one form that is accepted.
    Malformed = "malformed",
    /// An item is larger than its limit.
    TooLarge = "too-large",
    /// A version or type of the format that is not supported.
    Unsupported = "unsupported",
    /// The evidence asks for another algorithm than its format allows.
    Algorithm = "algorithm",
    /// Bytes that nobody signed are not zero.
    Padding = "padding",
    /// The evidence's own signature does not verify.
    Signature = "signature",
    /// The certificate chain does not end at the vendor's pinned root.
    WrongRoot = "wrong-root",
    /// A certificate of the chain is not signed by the next one, or may not sign.
    Chain = "chain",
    /// A certificate has expired.
    CertificateExpired = "certificate-expired",
    /// A certificate is not yet valid.
    CertificateNotYetValid = "certificate-not-yet-valid",
    /// A certificate was revoked.
    Revoked = "revoked",
    /// A certificate, chain or other endorsement that verification needs was not given.
    EndorsementMissing = "endorsement-missing",
    /// The evidence was made in debug mode: whoever runs the machine can read and change its memory.
    Debug = "debug",
    /// The evidence is older than the policy allows.
    Stale = "stale",
    /// The evidence is dated later than now.
    Future = "future",
    /// The token has expired.
    TokenExpired = "token-expired",
    /// A nonce was asked for and the evidence has none.
    NonceMissing = "nonce-missing",
    /// The evidence answers another nonce.
    NonceMismatch = "nonce-mismatch",
    /// The evidence does not speak about the key that it is given for.
    BindingMismatch = "binding-mismatch",
    /// A measurement is not among those that the policy expects.
    Measurement = "measurement",
    /// The policy refuses this machine by name.
    PlatformDenied = "platform-denied",
    /// The policy names the machines that it accepts, and this is none of them.
    PlatformNotAllowed = "platform-not-allowed",
    /// The policy refuses this product.
    ProductDenied = "product-denied",
    /// The endorsement is for another product than the evidence.
    ProductMismatch = "product-mismatch",
    /// The endorsement is for another chip than the evidence.
    ChipMismatch = "chip-mismatch",
    /// The endorsement is for another firmware level than the evidence.
    TcbMismatch = "tcb-mismatch",
    /// The firmware level is below the policy's minimum.
    TcbMinimum = "tcb-minimum",
    /// The vendor says that the firmware level is out of date.
    TcbOutOfDate = "tcb-out-of-date",
    /// The vendor's status for the firmware level is not one that the policy accepts.
    TcbStatus = "tcb-status",
    /// The vendor has revoked the firmware level.
    TcbRevoked = "tcb-revoked",
    /// An advisory that the policy refuses applies.
    AdvisoryDenied = "advisory-denied",
    /// The vendor's collateral was not given.
    CollateralMissing = "collateral-missing",
    /// The vendor's collateral has expired.
    CollateralExpired = "collateral-expired",
    /// The vendor's collateral is not yet valid.
    CollateralNotYetValid = "collateral-not-yet-valid",
    /// The vendor's collateral does not verify, or is for another platform.
    CollateralInvalid = "collateral-invalid",
    /// The vendor's collateral is older than the policy's minimum.
    CollateralTooOld = "collateral-too-old",
    /// The privilege level of the guest is not one that the policy accepts.
    Vmpl = "vmpl",
    /// The guest's or enclave's launch policy allows what the policy refuses.
    GuestPolicy = "guest-policy",
    /// The platform lacks a protection that the policy demands.
    PlatformInfo = "platform-info",
    /// The evidence is for another audience.
    Audience = "audience",
    /// The software that the evidence names is not what the policy accepts.
    Software = "software",
    /// Reference values that the policy demands were not given.
    ReferenceMissing = "reference-missing",
    /// The reference values do not verify, have run out, or are for other firmware.
    ReferenceInvalid = "reference-invalid",
    /// The same part is counted twice.
    Duplicate = "duplicate",
    /// The evidence was made by a simulator.
    SimulatedEvidence = "simulated",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}
