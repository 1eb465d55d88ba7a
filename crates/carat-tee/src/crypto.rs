//! Signatures of vendors: ECDSA on P-256 and P-384, RSA.
