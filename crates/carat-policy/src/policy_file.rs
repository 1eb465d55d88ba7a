//! The policy file: TOML with CEL expressions.
