#!/usr/bin/env python3
"""Checks whole proofs with the Python verifier, and that it refuses changed ones.

    python3 tools/python/test_proof.py [FOLDER]

FOLDER holds `.proof` files (see verify_proof.py); without it those in tools/python/testdata and the shipped one of
crates/carat-zk/tests/data are used, and a receipt. Between them they must use every kind of step and of table. The
files steps-*.proof are proofs of Programs of crates/carat-zk/tests/roundtrip.rs; mix.carat was made by `carat run
--prove`, and its constants lie in two polynomials. Needs Python 3.11 and the packages `blake3`, `cbor2` and
`cryptography`. Prints what was checked and ends with status 0, or with 1.
"""

import pathlib
import random
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "python"))

from carat_proof.field import E, P  # noqa: E402
from carat_proof.graph import Plan, Table  # noqa: E402
from carat_proof.multilinear import below, eq_below, eq_index, total, weighted_below  # noqa: E402
from carat_proof.program import Program, shift_round, tagged_hash  # noqa: E402
from carat_proof.transcript import Refused  # noqa: E402
from carat_proof.verify import Statement, table_row, verify  # noqa: E402
from verify_proof import check, from_parts  # noqa: E402

KINDS = {"linear", "ramp", "axes", "reshape", "permute", "sum", "mul", "contract", "conv"}
TABLES = {"range", "step", "clamp", "value"}
CHANGED = 16  # bytes changed per large proof; of a small one, more


def refused(what, check, *arguments):
    try:
        check(*arguments)
    except Refused:
        return
    sys.exit(f"accepted: {what}")


def element(chance):
    return E(tuple(chance.randrange(P) for _ in range(5)))


def closed_forms(chance):
    """Each sum that the verifier has a closed form for, by its definition."""
    for n in range(5):
        a = [element(chance) for _ in range(n)]
        b = [element(chance) for _ in range(n)]
        at = [eq_index(a, i) for i in range(1 << n)]
        for m in range((1 << n) + 1):
            assert below(a, m) == total(at[:m]), "below"
            assert weighted_below(a, m) == total(e * i for i, e in enumerate(at[:m])), "weighted_below"
            assert eq_below(a, b, m) == total(at[i] * eq_index(b, i) for i in range(m)), "eq_below"
        # Tables of full length: past it no row counts.
        for start in range(-20, 20, 3):
            t = [start + i for i in range(1 << n)]
            rows = {
                ("range", ()): [range(1 << n)],
                ("step", (start,)): [t, [int(v >= 0) for v in t]],
                ("clamp", (start, -5, 4)): [t, [min(max(v, -5), 4) for v in t]],
                ("clamp", (start, 0, 0)): [t, [0] * len(t)],
            }
            for (kind, args), columns in rows.items():
                expected = [total(e * (v % P) for e, v in zip(at, column)) for column in columns]
                assert table_row(Table(kind, args, (1 << n,)), a, None) == expected, kind


def cbor(v):
    """Deterministic CBOR of what Programs hold."""
    if isinstance(v, int):
        major, n = (0, v) if v >= 0 else (1, -1 - v)
    else:
        major, n = {bytes: 2, str: 3, list: 4}[type(v)], len(v)
    width = next(w for w in (0, 1, 2, 4, 8) if n < (24 if w == 0 else 1 << 8 * w))
    info = {0: n, 1: 24, 2: 25, 4: 26, 8: 27}[width]
    head = bytes([major << 5 | info]) + (n.to_bytes(width, "big") if width else b"")
    if isinstance(v, int):
        return head
    return head + (v if isinstance(v, bytes) else v.encode() if isinstance(v, str) else b"".join(map(cbor, v)))


def one_step(op, bounds, recorded, dims=(3,)):
    """A Program of one step on one input."""
    inputs = [["x", 0, [3], list(bounds), [0, []]]]
    nodes = [[op, [0], list(dims), list(recorded)]]
    return cbor(["integer/v1", [inputs, [], nodes, [["y", 0, 1, [0, []], []]]]])


def programs():
    """Static rules, on Programs written by hand. Nothing in a Program is taken on its word."""
    shift = [5, [1]]
    good = one_step(shift, (-10, 11), (-5, 6))
    Plan(Program(good), 2)
    refused("another range", Program, one_step(shift, (-10, 11), (-5, 5)))
    refused("another shape", Program, one_step(shift, (-10, 11), (-5, 6), (4,)))
    refused("a shift by 31 bits", Program, one_step([5, [31]], (-10, 11), (0, 0)))
    refused("a product beyond the range", Program, one_step([3, [[1 << 20], 0]], (0, 1 << 11), (0, 1 << 31)))
    refused("a step without a proof", Program, one_step([13, [4]], (1, 9), (1, 4)))
    refused("an unknown step", Program, one_step([21, []], (0, 9), (0, 9)))
    refused("a byte more", Program, good + b"\0")
    refused("another profile", Program, good.replace(b"integer/v1", b"integer/v2"))
    refused("a number in a longer form", Program, good.replace(cbor([-10, 11]), bytes([0x82, 0x29, 0x18, 0x0B])))
    half = (P - 1) // 2
    # A little less: only the exact range of the quotient leaves it unique, so it is bounded from both ends.
    near = half - 1000
    lo, hi = recorded = (shift_round(-near, 9), shift_round(near, 9))
    graph = Plan(Program(one_step([5, [9]], (-near, near), recorded)), 1).graph
    (q,) = graph.shifts
    ends = [node.args for node in graph.nodes if node.kind == "linear" and {x for _, x in node.args[0]} == {q}]
    if ends != [([(1, q)], -lo), ([(-1, q)], hi)]:
        sys.exit("the quotient is not bounded from both ends")
    # (p-1)/2 both ways: a second quotient exists modulo p, whatever bounds the first.
    wide = one_step(shift, (-half, half), (shift_round(-half, 1), shift_round(half, 1)))
    refused("a quotient that is not unique", Plan, Program(wide), 1)


def mutations(name, case, chance):
    program, profile, root, statements, proof = case

    def check(proof=proof, statements=statements, root=root, profile=profile):
        verify(program, profile, root, statements, proof)

    count = CHANGED if len(proof) > 10_000 else min(len(proof), 8 * CHANGED)
    for place in [len(proof) * i // count for i in range(count)]:
        changed = bytearray(proof)
        changed[place] ^= 1 << chance.randrange(8)
        refused(f"{name} with byte {place} changed", check, bytes(changed))
    refused(f"{name} with a byte more", check, proof + b"\0")
    refused(f"{name} without its last byte", check, proof[:-1])
    refused(f"{name} under another root", check, proof, statements, bytes([root[0] ^ 1]) + root[1:])
    other = {"proven-100": "proven-120", "proven-120": "proven-100"}[profile]
    refused(f"{name} under another profile", check, proof, statements, root, other)
    refused(f"{name} with no values", check, proof, [Statement(s.digest) for s in statements])
    refused(f"{name} with a statement more", check, proof, [*statements, statements[0]])
    for slot, s in enumerate(statements):
        # One value of one tensor is another; the digest stays, as a liar's would.
        for side in ("inputs", "outputs"):
            tensors = [(dims, list(values)) for dims, values in getattr(s, side)]
            if not tensors:
                continue
            values = chance.choice(tensors)[1]
            at = chance.randrange(len(values))
            values[at] += -1 if values[at] > 0 else 1
            liar = Statement(s.digest, s.inputs, s.outputs)
            setattr(liar, side, tensors)
            hidden = [Statement(o.digest) for o in statements]
            hidden[slot] = liar
            refused(f"{name} with other {side}", check, proof, hidden)
        hidden = [Statement(o.digest) for o in statements]
        hidden[slot] = Statement(tagged_hash("other", s.digest), s.inputs, s.outputs)
        refused(f"{name} for another Statement", check, proof, hidden)


def receipts(folder):
    """Whole receipts: values from the opening, the Program from the file, other statements by their digests."""
    for path in sorted(folder.glob("*.carat")):
        (found,) = check(str(path), None)
        refused("another model key", check, str(path), bytes(32))
        data, opened = path.read_bytes(), pathlib.Path(f"{path}-open").read_bytes()
        with tempfile.TemporaryDirectory() as name:
            copy = pathlib.Path(name) / "copy.carat"
            copy.write_bytes(data)
            refused("a receipt without its opening", check, str(copy), None)
            beside = pathlib.Path(f"{copy}-open")
            beside.write_bytes(opened)
            check(str(copy), None)
            # A byte in the middle of the file is one of the proof; the signature does not cover evidence.
            copy.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :])
            refused("a receipt with another proof", check, str(copy), None)
            copy.write_bytes(data)
            beside.write_bytes(opened[:-1] + bytes([opened[-1] ^ 1]))
            refused("a receipt with another opening", check, str(copy), None)
        print(f"{path.name}: its proof of {found['proof_bytes']} bytes verifies in {found['seconds']} s")


def main():
    if len(sys.argv) > 1:
        files = sorted(pathlib.Path(sys.argv[1]).glob("*.proof"))
    else:
        shipped = ROOT / "crates" / "carat-zk" / "tests" / "data" / "shipped.proof"
        files = sorted((ROOT / "tools" / "python" / "testdata").glob("*.proof")) + [shipped] * shipped.exists()
        receipts(ROOT / "tools" / "python" / "testdata")
    if not files:
        sys.exit("the fixtures are missing")
    chance = random.Random(1)
    closed_forms(chance)
    print("closed forms are the sums that they stand for")
    programs()
    print("Programs that break a static rule are refused")
    kinds, tables = set(), set()
    for path in files:
        case = from_parts(path.read_bytes())
        program, profile, root, statements, proof = case
        graph = Plan(program, len(statements)).graph
        kinds |= {node.kind for node in graph.nodes}
        tables |= {table.kind for table in graph.tables}
        start = time.process_time()
        verify(*case[:3], statements, proof)
        for slot in range(len(statements)):
            own = [s if i == slot else Statement(s.digest) for i, s in enumerate(statements)]
            verify(*case[:3], own, proof)
        seconds = (time.process_time() - start) / (1 + len(statements))
        mutations(path.stem, case, chance)
        print(f"{path.stem}: {len(statements)} statements, {len(proof)} bytes verify in {seconds:.2f} s")
    missing = (KINDS - kinds) | (TABLES - tables)
    if missing:
        sys.exit(f"no fixture uses: {', '.join(sorted(missing))}")
    print(f"{len(files)} proofs hold, and none of their changed forms")


if __name__ == "__main__":
    main()
