//! Inputs as people have them: raw bytes, hexadecimal or base64 text, PEM or DER.
