"""A slow, plain verifier of Carat's proofs, written from `docs/protocol-whir.md` and the pages it belongs to.

It shares no code with the Rust crates. Pure Python 3.11 and the package `blake3`.
"""
