#!/usr/bin/env python3
"""A second verifier of Carat's proofs in plain Python: docs/protocol.md, docs/protocol-whir.md, docs/protocol-zk.md and
docs/protocol-weights.md.

It shares no code with the Rust implementation.

    python3 tools/python/verify_proof.py FILE.carat [...] [--model-key HEX]
    python3 tools/python/verify_proof.py FILE.proof [...]
    python3 tools/python/verify_proof.py FILE.zkproof [...]
    python3 tools/python/verify_proof.py FILE.registration [...]

A receipt needs its opening beside it (FILE.carat-open) and carries the Program. A `.proof` file is one of the tests: parts, each
after its length in four bytes (little-endian): Program, profile, weights root, input and output of each statement,
proof. A `.zkproof` file holds a proof in the mode that hides: Program, profile, weights root, two bytes (1 or 0: values
and weights are hidden), then for each statement its digest and its input and output, or, where values are hidden, its
digest and its `io/v1` root; proof. A `.registration` file: Program, profile, weights root, proof; it says of hidden
constants what a proof about them takes for granted.

Not checked here: which model the weights root stands for (compare the model key that is printed with your own, from
`carat model key`, or give it with --model-key; under a key that nobody computed from weights a proof shows nothing);
the bits of soundness, which follow from the profile and the Program; and what the receipt is worth. Needs Python 3.11
and the package `blake3`; for receipts also `cbor2` and `cryptography`. Prints one JSON object per file. Exit status: 0
every proof holds, 1 one does not, 2 usage.
"""

import argparse
import json
import sys
import time

from carat_proof.program import Program, need, read_tensors, tagged_hash
from carat_proof.registration import verify_registration
from carat_proof.transcript import Refused
from carat_proof.verify import Hidden, Statement, model_key, verify

PROTOCOL, MODE = "carat/zk/v1", "succinct"


def parts(data):
    """The parts of a file of the tests."""
    found, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        need(len(data) - at >= 4 + length, "the file is cut short")
        found.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def from_parts(data):
    """(Program, profile, weights root, statements, proof), the statements named by their values, of a `.proof` file."""
    found = parts(data)
    need(len(found) >= 6 and len(found) % 2 == 0, "the file has another number of parts")
    program, profile, root, *values, proof = found
    statements = []
    for x, y in zip(values[::2], values[1::2]):
        statements.append(Statement(tagged_hash("carat/zk-values/v1", x, y), read_tensors(x), read_tensors(y)))
    return Program(program), profile.decode("ascii", "replace"), root, statements, proof


def from_zk_parts(data):
    """The same of a `.zkproof` file, and what is hidden."""
    found = parts(data)
    need(len(found) >= 5 and found[3] in (b"\0\0", b"\1\0", b"\0\1", b"\1\1"), "the file has other parts")
    program, profile, root, flags, *told, proof = found
    hidden = Hidden(*map(bool, flags))
    each = 2 if hidden.values else 3
    need(told and len(told) % each == 0, "the file has another number of parts")
    statements = []
    for i in range(0, len(told), each):
        if hidden.values:
            statements.append(Statement(told[i], io=told[i + 1]))
        else:
            statements.append(Statement(told[i], *map(read_tensors, told[i + 1 : i + 3])))
    return Program(program), profile.decode("ascii", "replace"), root, statements, proof, hidden


def from_registration_parts(data):
    """(Program, profile, weights root, proof) of a `.registration` file."""
    found = parts(data)
    need(len(found) == 4, "the file has another number of parts")
    program, profile, root, proof = found
    return Program(program), profile.decode("ascii", "replace"), root, proof


def from_receipt(path, data):
    """The same for each proof in a receipt, whose signature and opening are checked too."""
    import read_receipt

    try:
        with open(path + "-open", "rb") as file:
            opened = file.read()
    except FileNotFoundError as e:
        raise Refused(f"the opening {path}-open is missing: without values there is nothing to prove") from e
    reader = read_receipt.Reader()
    try:
        said = reader.read(data, opened)
        wrong = [f"{c['name']}: {c['reason']}" for c in reader.checks if c["ok"] is False]
        need(not wrong, "; ".join(wrong))
        opening = read_receipt.item(opened)
        sections = read_receipt.items(data)[1:]
    except read_receipt.Refused as e:
        raise Refused(str(e)) from e
    # The reader has checked that the Program and both openings are those of the Statement.
    programs = [body for number, body in sections if number == 2]
    need(programs, "the receipt does not carry its Program")
    program = Program(programs[0])
    need(program.digest.hex() == said["program"], "the Program is another")
    inputs, outputs = read_tensors(opening[3][1]), read_tensors(opening[4][1])
    own = bytes.fromhex(said["receipt_id"])
    proofs = [body[2] for number, body in sections if number == 1 and body[0] == 4]
    need(proofs, "the receipt holds no proof")
    for protocol, mode, profile, root, digests, _bits, proof, *_hides in proofs:
        need((protocol, mode) == (PROTOCOL, MODE), f"a proof of another protocol: {protocol} {mode}")
        need(digests.count(own) == 1, "the proof does not cover this receipt")
        statements = [Statement(d, inputs, outputs) if d == own else Statement(d) for d in digests]
        yield program, profile, root, statements, proof


def check(path, expected):
    with open(path, "rb") as file:
        data = file.read()
    if path.endswith(".registration"):
        program, profile, root, proof = from_registration_parts(data)
        start = time.process_time()
        verify_registration(program, profile, root, proof)
        return [entry(program, profile, root, proof, expected, start, mode="registration")]
    if path.endswith(".zkproof"):
        cases = [from_zk_parts(data)]
    else:
        cases = [from_parts(data)] if path.endswith(".proof") else from_receipt(path, data)
    found = []
    for program, profile, root, statements, proof, *hidden in cases:
        start = time.process_time()
        verify(program, profile, root, statements, proof, *hidden)
        said = {
            "mode": "zk" if hidden else "succinct",
            "values_hidden": any(h.values for h in hidden),
            "weights_hidden": any(h.weights for h in hidden),
            "statements": len(statements),
        }
        found.append(entry(program, profile, root, proof, expected, start, **said))
    return found


def entry(program, profile, root, proof, expected, start, **said):
    """What is said of one proof that holds."""
    key = model_key(program, profile, root)
    need(expected in (None, key), "the proof is about another model key")
    return {
        "program": program.digest.hex(),
        "profile": profile,
        "model_key": key.hex(),
        "model_key_expected": expected is not None,
        **said,
        "proof_bytes": len(proof),
        "seconds": round(time.process_time() - start, 3),
    }


def main():
    parser = argparse.ArgumentParser(description="Check Carat's proofs with a second implementation.")
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--model-key", metavar="HEX", type=bytes.fromhex, help="the key that the proofs must be about")
    arguments = parser.parse_args()
    good = True
    for path in arguments.files:
        try:
            result = {"file": path, "ok": True, "proofs": check(path, arguments.model_key)}
        except Refused as e:
            good, result = False, {"file": path, "ok": False, "reason": str(e)}
        except OSError as e:
            parser.error(str(e))
        print(json.dumps(result, indent=2, ensure_ascii=False))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
