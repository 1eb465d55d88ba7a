//! Who is audited: draws by the signed 64-bit thresholds, recomputable by anyone.
