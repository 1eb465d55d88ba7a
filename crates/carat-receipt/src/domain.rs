//! Every domain-separation string that a Carat receipt uses, in one place.
//!
//! A hash or a signature without its domain could be presented in another role. Changing a string here changes what
//! the bytes mean, so it is a breaking change of the format: `docs/binding.md` has a test vector for each row.

/// Salted commitment to the canonical bytes of an input, an output or the request facts.
pub const COMMIT: &str = "carat/commit/v1";
/// Blinded log leaf: hides which receipt a leaf of a public log belongs to.
pub const LOG_LEAF: &str = "carat/log-leaf/v1";
/// Blinded log leaf of a notice: a promise that was missed.
pub const LOG_NOTICE: &str = "carat/log-notice/v1";
/// Message that a cosigner signs in `Signature` evidence.
pub const EVIDENCE_SIGNATURE: &str = "carat/evidence/signature/v1";
/// Message that a replayer signs in `Replay` evidence.
pub const EVIDENCE_REPLAY: &str = "carat/evidence/replay/v1";
/// Content of a Trust file, as its owner signs it and as appraisals name it.
pub const TRUST: &str = "carat/trust/v1";
/// Names the model of an upstream service, where a courier passed its answer on.
pub const UPSTREAM_MODEL: &str = "carat/upstream-model/v1";
/// Salt of a chunk of a streamed output, from the output's salt.
pub const STREAM_SALT: &str = "carat/stream-salt/v1";
/// Leaf of the Merkle tree (RFC 9162) over the chunks of a streamed output.
pub const STREAM_CHUNK: &str = "carat/stream-chunk/v1";

/// First binding of an attested key: `SHA-512(TEE_BIND0 || dCBOR{key, nonce, configuration digest})`.
/// Not length-prefixed: the string and the construction are those of the attestation design.
pub const TEE_BIND0: &str = "carat/bind0/v1";
/// Nonce given to a GPU: `SHA-256(TEE_GPU || B0)`.
pub const TEE_GPU: &str = "carat/gpu/v1";
/// Binding in the CPU report: `SHA-512(TEE_BIND || B0 || GPU evidence digests)`.
pub const TEE_BIND: &str = "carat/bind/v1";
