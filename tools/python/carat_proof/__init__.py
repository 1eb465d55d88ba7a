"""A slow, plain verifier of Carat's proofs, written from `docs/protocol.md` and `docs/protocol-whir.md`.

It shares no code with the Rust crates. Pure Python 3.11 and the package `blake3`.
"""
