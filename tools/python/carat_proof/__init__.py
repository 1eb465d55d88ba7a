"""A slow, plain verifier of Carat's proofs, written from `docs/protocol.md`, `docs/protocol-whir.md` and
`docs/protocol-zk.md`.

It shares no code with the Rust crates. Sections 10 and 11 of the page, and `program.py` and `graph.py` with them, were
written by reading those crates: there it finds slips, not misunderstandings. Pure Python 3.11 and the package `blake3`.
"""
