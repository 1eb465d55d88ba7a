#!/usr/bin/env python3
"""Checks the openings in crates/carat-zk/tests/data/pcs with the Python verifier, and that it refuses changed ones.

    python3 tools/python/test_whir.py

Needs Python 3.11 and the package `blake3`. Prints what was checked and ends with status 0, or with 1.
"""

import pathlib
import random
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "python"))

from carat_proof import whir  # noqa: E402
from carat_proof.field import E, P, evaluate  # noqa: E402
from carat_proof.transcript import Refused, Source, Transcript  # noqa: E402
from carat_proof.whir_schedules import ROWS, WEIGHTS  # noqa: E402

FIXTURES = ROOT / "crates" / "carat-zk" / "tests" / "data" / "pcs"


class Fixture:
    def __init__(self, path):
        self.name = path.stem
        fields = dict(line.split(" ", 1) for line in path.read_text().splitlines())
        self.profile = fields["profile"]
        self.use = fields["use"]
        self.n = int(fields["n"])
        self.root = bytes.fromhex(fields["root"])
        self.value = E(tuple(int(v) for v in fields["value"].split()))
        self.proof = path.with_suffix(".proof").read_bytes()

    def verify(self, proof=None, root=None, value=None, domain="carat/zk/pcs-fixture", profile=None, shift=0):
        root = self.root if root is None else root
        transcript = Transcript(domain)
        transcript.bytes("root", root)
        source = Source(transcript, self.proof if proof is None else proof)
        point = transcript.point(self.n)
        if shift:
            point[-1] = point[-1] + shift
        whir.verify(
            source,
            profile or self.profile,
            self.use,
            self.n,
            root,
            point,
            self.value if value is None else value,
        )
        source.finish()
        return point


def refused(check, what):
    try:
        check()
    except Refused:
        return
    sys.exit(f"accepted: {what}")


def main():
    fixtures = [Fixture(path) for path in sorted(FIXTURES.glob("*.txt"))]
    if len(fixtures) < 5:
        sys.exit("the fixtures are missing")
    chance = random.Random(1)
    changed = 0
    for f in fixtures:
        start = time.process_time()
        point = f.verify()
        seconds = time.process_time() - start
        print(f"{f.name}: {len(f.proof)} bytes verify in {seconds:.2f} s")
        if f.n <= 14:
            # The polynomial of the fixtures, by its definition.
            values = [(i**3 + 5 * i + 1) % P for i in range(1 << f.n)]
            if evaluate(values, point) != f.value:
                sys.exit(f"{f.name}: the value is not that of the polynomial")

        refused(lambda: f.verify(value=f.value + 1), "another value")
        refused(lambda: f.verify(root=bytes([f.root[0] ^ 1]) + f.root[1:]), "another root")
        refused(lambda: f.verify(shift=1), "another point")
        refused(lambda: f.verify(proof=f.proof + b"\0"), "a byte after the end")
        for n in (0, 1, len(f.proof) // 2, len(f.proof) - 1):
            refused(lambda: f.verify(proof=f.proof[:n]), "a proof cut short")
        if f.n > whir.MAX_DIRECT:
            refused(lambda: f.verify(domain="other"), "another transcript")
            other = {"proven-100": "proven-120", "proven-120": "proven-100"}[f.profile]
            refused(lambda: f.verify(profile=other), "another profile")
        # Every byte of the small ones; bytes at even distances and at random places of the long ones.
        many = 60
        if len(f.proof) <= 64:
            places = list(range(len(f.proof)))
        else:
            places = [len(f.proof) * i // many for i in range(many)]
            places += [chance.randrange(len(f.proof)) for _ in range(many)]
        for place in places:
            proof = bytearray(f.proof)
            proof[place] ^= 1 << chance.randrange(8)
            refused(lambda: f.verify(proof=bytes(proof)), f"{f.name} with byte {place} changed")
            changed += 1
    print(f"{changed} changed openings are refused")

    page = (ROOT / "docs" / "protocol-whir.md").read_text().splitlines()
    printed = [row for row in page if row.startswith("| proven-")]
    if printed != [row for row in (ROWS + WEIGHTS).splitlines() if row]:
        sys.exit("docs/protocol-whir.md prints other schedules")
    print(f"{len(whir.SCHEDULES) + len(whir.WEIGHTS_SCHEDULES)} schedules are those of docs/protocol-whir.md")


if __name__ == "__main__":
    main()
