#!/usr/bin/env python3
"""Checks proofs in the mode that hides with the Python verifier, and that it refuses changed ones.

    python3 tools/python/test_zk.py [FOLDER]

FOLDER holds `.zkproof` files (see verify_proof.py); without it those in tools/python/testdata are used, which
crates/carat-zk/tests/fixtures.rs made: among them must be proofs that hide values and that do not. Also checked are the
pieces: hidden expressions against what they stand for, the proof about equations by a prover that is honest or lies
(zk_prover.py), inputs and outputs against io_commitment.py, and every kind of step and of table with what a simulator
says (zk_simulator.py). Needs Python 3.11 and the package `blake3`. Prints what was checked and ends with status 0, or
with 1.
"""

import pathlib
import random
import sys
import time
from itertools import product
from types import SimpleNamespace
from unittest.mock import patch

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "python"))

import io_commitment  # noqa: E402
from carat_proof import zk  # noqa: E402
from carat_proof.checks import Clear, Padded, Tape  # noqa: E402
from carat_proof.field import ONE, P, ZERO, root_of_unity  # noqa: E402
from carat_proof.graph import Plan  # noqa: E402
from carat_proof.multilinear import eq_table, evaluate, total  # noqa: E402
from carat_proof.program import Program, tagged_hash  # noqa: E402
from carat_proof.transcript import Refused, Source, Transcript  # noqa: E402
from carat_proof.verify import Hidden, Statement, verify  # noqa: E402
from carat_proof.zk_schedules import WITNESS  # noqa: E402
from test_proof import KINDS, TABLES, cbor, element, refused  # noqa: E402
from verify_proof import from_parts, from_zk_parts  # noqa: E402
from zk_prover import Sender, interpolation, toy_prover, toy_verify  # noqa: E402
from zk_simulator import simulate  # noqa: E402

DATA = ROOT / "tools" / "python" / "testdata"
CHANGED = 48  # bytes changed per proof


def flip(data, at=0, bit=0):
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


# Hidden expressions ------------------------------------------------------------


def expressions(chance):
    """Random expressions: what `combine` says of pads and products is what they stand for."""
    for _ in range(20):
        tape, tau = Tape(), element(chance)
        pads = []
        real = []  # (expression, what it stands for)

        def message():
            """A message as it is sent, or a pad as it is."""
            pads.append(element(chance))
            if chance.random() < 0.2:
                return tape.mask(), pads[-1]
            value = element(chance)
            return tape.message(value + pads[-1]), value

        messages = [message() for _ in range(8)]
        for _ in range(6):
            (a, x), (b, y) = chance.choices(messages, k=2)
            real.append((a * b, x * y))
        real += messages
        checks = Padded(None)
        checks.tape = tape
        secrets, weights = [chance.randrange(P) for _ in range(6)], [element(chance) for _ in range(3)]
        values = [total(w * s for w, s in zip(weights, secrets[i:])) for i in (0, 3)]
        real += zip(checks.secret_rows(2, weights), values)
        factors = [chance.randrange(P) for _ in real]
        parts = checks.weighted([e for e, _ in real], factors)
        real.append((parts, total(v * f for (_, v), f in zip(real, factors))))
        for _ in range(40):
            (a, x), (b, y) = chance.choices(real, k=2)
            c, n = element(chance), chance.randrange(P)
            forms = (
                (a + b, x + y),
                (a - b, x - y),
                (c * a + n, c * x + n),
                (n - a * n, n - x * n),
                (c - a, c - x),
                (c + -a, c - x),
                (a - c, x - c),
            )
            real.append(chance.choice(forms))
        real.append((element(chance),) * 2)
        tape.equations = [e for e, _ in real]
        constant, linear, products, of_secrets, last = tape.combine(tau)
        found = constant + total(c * r for c, r in zip(linear, pads, strict=True))
        found = found + total(c * s for c, s in zip(of_secrets, secrets, strict=True))
        found = found + total(c * pads[r] * pads[s] for c, (_, r, s) in zip(products, tape.products, strict=True))
        power, expected = ONE, ZERO
        for _, value in real:
            power = power * tau
            expected = expected + power * value
        assert found == expected and last == power, "a combination of equations"
    hidden = Tape().message(ONE)
    for compare in (lambda: hidden == ZERO, lambda: ZERO == hidden, lambda: ZERO != hidden, lambda: hidden != hidden):
        try:
            compare()
        except TypeError:
            continue
        sys.exit("hidden expressions were compared")
    try:
        (hidden + hidden) * hidden
    except TypeError:
        return
    sys.exit("a product of a sum")


# Equations ---------------------------------------------------------------------


def reason(check, *arguments):
    """Why something is refused, or None."""
    try:
        check(*arguments)
    except Refused as e:
        return str(e)
    return None


def equations(chance):
    proof, same, known = toy_prover(chance)
    assert proof == same, "an honest sum"
    assert reason(toy_verify, proof, known) is None, "an honest prover is refused"
    for _ in range(16):
        refused("a changed proof about equations", toy_verify, flip(proof, chance.randrange(len(proof))), known)
    refused("a proof of another sum", toy_verify, proof, known + 1)
    for lie in ("equation", "product", "factor", "secret", "mask"):
        proof, bent, known = toy_prover(chance, lie)
        assert reason(toy_verify, proof, known) == "an equation does not hold", lie
        assert reason(toy_verify, bent, known) == "the equations are others", lie
    proof, _, known = toy_prover(chance, "degree")
    assert reason(toy_verify, proof, known) == "the rows of pads are no code words", "degree"
    # The values of `lagrange` by what they stand for.
    values = [element(chance) for _ in range(zk.ROW)]
    polynomial = interpolation(values)
    h = root_of_unity(zk.ROW_VARS)
    for i in (0, 1, 77):
        at = zk.geometric(pow(h, i, P), zk.ROW)
        assert zk.weighted(zk.coefficients(polynomial), at) == values[i], "an interpolation"
    z = chance.randrange(P)
    expected = zk.weighted(zk.coefficients(polynomial), zk.geometric(z, zk.ROW))
    assert zk.weighted(zk.coefficients(values), zk.lagrange(z)) == expected, "lagrange"


# Inputs and outputs --------------------------------------------------------------


class Shown(Clear):
    """Checks that are looked at on the spot, of a verifier who may see the secrets."""

    def __init__(self, source, secrets):
        super().__init__(source)
        self.secrets = secrets

    def secret_rows(self, n, weights):
        rows = [self.secrets[i * len(weights) : (i + 1) * len(weights)] for i in range(n)]
        return [self.weighted(weights, row) for row in rows]

    def weighted(self, elements, weights):
        return total(e * w for e, w in zip(elements, weights, strict=True))


def opened(chance, table, root, secrets, show, lies=lambda secrets: None):
    """What the verifier of an opening says, whose sumcheck has been left out: None, or why it refuses. `show` gives the
    leaves at some positions, as the prover sends them; `lies` changes the secrets.
    """
    at = [element(chance) for _ in range(table.vars)]
    a, b = eq_table(at[: zk.IO_ROW_VARS]), eq_table(at[zk.IO_ROW_VARS :])
    secrets = list(secrets)
    lies(secrets)
    honest = Shown(None, secrets)
    fold = honest.secret_rows(zk.IO_COEFFICIENTS, b)
    value = honest.weighted(fold[: len(a)], a)
    claims = [(0, [element(chance) for _ in range(table.sizes[0])], ZERO)]
    left = value * table.weight(*claims[0][:2], at)
    sender = Sender(Transcript("io"))
    sender.transcript.challenge()
    sender.send("table", [value])
    if table.columns > zk.IO_MOST_COMMITTED:
        sender.send("folded", fold)
    sender.work(zk.IO_WORK["proven-100"])
    count = zk.IO_POSITIONS["proven-100"]
    sender.proof += show([sender.transcript.draw_bits(zk.IO_LEVELS) for _ in range(count)])
    source = Source(Transcript("io"), sender.proof)
    with patch.object(zk, "sumcheck", lambda *_: (at, left)):
        return reason(zk.open_io, Shown(source, secrets), "proven-100", table, root, claims)


def inputs_and_outputs(chance):
    """The table and the tree of an io/v1 commitment as the verifier sees them, against io_commitment.py."""
    dims = [(3, 5), (1,), (2, 2, 3), (40,), (7, 6), (1, 1)]
    tensors = []
    for d in dims:
        count = 1
        for n in d:
            count *= n
        tensors.append((d, [chance.randrange(-1000, 1000) for _ in range(count)]))
    shapes = [SimpleNamespace(dims=d) for d in dims]
    program = SimpleNamespace(inputs=shapes[:4], values=shapes, outputs=[4, 5], digest=tagged_hash("program"))
    table = zk.IoTable(program)
    values, columns = io_commitment.lay_out(tensors)
    assert (table.columns, 1 << table.vars) == (columns, len(values)), "the size of a table"
    for tensor, (d, own) in enumerate(tensors):
        point = [element(chance) for _ in range(table.sizes[tensor])]
        found = ZERO
        for at, v in zip(product((ZERO, ONE), repeat=table.vars), values):
            if v:
                found = found + table.weight(tensor, point, list(at)) * v
        assert found == evaluate(d, own, point), "a tensor's place in the table"

    salts = [bytes(32), bytes([1]) * 32]
    root = io_commitment.commit(program.digest, *salts, tensors)
    seed = io_commitment.H("carat/io-seed/v1", *salts)
    rows, leaf_salts = io_commitment.encode(values, seed, columns)
    leaves = []
    for row, salt in zip(rows, leaf_salts):
        leaves.append(tagged_hash("carat/io-leaf/v1", salt, b"".join(v.to_bytes(4, "little") for v in row)))
    levels = [leaves]
    while len(levels[-1]) > 1:
        level = levels[-1]
        levels.append([tagged_hash("carat/io-node/v1", a, b) for a, b in zip(level[::2], level[1::2])])

    def show(positions):
        shown = b"".join(v.to_bytes(4, "little") for i in positions for v in rows[i])
        shown += b"".join(leaf_salts[i] for i in positions)
        known = set(positions)
        for level in levels[:-1]:
            shown += b"".join(level[i] for i in sorted({i ^ 1 for i in known} - known))
            known = {i // 2 for i in known}
        return shown

    # The table as a secret, and its fold as a message.
    random_rows = io_commitment.words(seed)
    secrets = values + [next(random_rows) for _ in values]
    for committed in (3, 1):
        with patch.object(zk, "IO_MOST_COMMITTED", committed):
            assert opened(chance, table, root, secrets, show) is None, "an opening of inputs and outputs"
            for place in (0, len(values) - 1, len(values), len(secrets) - 1):

                def lies(secrets, place=place):
                    secrets[place] = (secrets[place] + 1) % P

                why = opened(chance, table, root, secrets, show, lies)
                assert why == "the fold is not that of the commitment", (committed, place)

    for positions in ([0], [4095, 4095], [5, 4, 2000, 5, 6], [chance.randrange(4096) for _ in range(73)]):
        shown = show(positions)

        def read(shown, root=root, positions=positions):
            source = Source(Transcript("io"), shown)
            found = zk.read_io_leaves(source, table, root, positions)
            source.finish()
            return found

        assert read(shown) == [rows[i] for i in positions], "the leaves of an io/v1 commitment"
        for _ in range(8):
            changed = bytearray(shown)
            changed[chance.randrange(len(shown))] ^= 1 << chance.randrange(8)
            refused("changed leaves of an io/v1 commitment", read, bytes(changed))
        refused("leaves of another io/v1 commitment", read, shown, tagged_hash("other"))
        refused("leaves at other places", read, shown, root, [i ^ 1 for i in positions])
        refused("leaves cut short", read, shown[:-1])
        if positions == [4095, 4095]:
            refused("one leaf in two forms", read, flip(shown, 4 << columns))
    program.inputs = [SimpleNamespace(dims=(1 << 24, 2))]
    refused("more values than io/v1 can hold", zk.IoTable, program)


# Simulated proofs ----------------------------------------------------------------


def constants_given_out():
    """A Program that gives out its input and two constants, which make two polynomials. No step, so no products."""
    named = [[8192], [0, 9], bytes(32)], [[3], [-2, 2], bytes(32)]
    inputs = [["x", 0, [2, 3], [0, 9], [0, []]]]
    outputs = [[name, 0, value, [0, []], []] for name, value in (("a", 1), ("b", 0), ("c", 2))]
    return Program(cbor(["integer/v1", [inputs, list(named), [], outputs]]))


def simulated(chance):
    """What a simulator says of each Program of the tests passes: both profiles, with and without public values."""
    cases = []
    kinds, tables = set(), set()
    for path in sorted(DATA.glob("*.proof")):
        program, _, _, statements, _ = from_parts(path.read_bytes())
        cases.append((program, [(s.inputs, s.outputs) for s in statements]))
        graph = Plan(program, len(statements)).graph
        kinds |= {node.kind for node in graph.nodes}
        tables |= {table.kind for table in graph.tables}
    missing = (KINDS - kinds) | (TABLES - tables)
    if missing:
        sys.exit(f"no Program of the tests uses: {', '.join(sorted(missing))}")
    large, small = ((8192,), [i % 10 for i in range(8192)]), ((3,), [-2, 0, 2])
    values = [((2, 3), [(s * i) % 10 for i in range(6)]) for s in (1, 2, 3)]
    cases.append((constants_given_out(), [([v], [large, v, small]) for v in values]))
    assert len(Plan(cases[-1][0], 3).weights) == 2, "constants in two polynomials"
    for program, statements in cases:
        simulate(chance, program, "proven-120", statements, True)
        simulate(chance, program, "proven-100", statements, False)
    # One with lookups; what the simulator leaves out is what is then refused.
    program, statements = cases[-2]
    why = {
        "scaled": "a denominator of the lookups is zero",
        "sum": "an equation does not hold",
        "witness": "the fold is not that of the committed rows",
        "equations": "the rows of pads are no code words",
    }
    for step, expected in why.items():
        assert reason(simulate, chance, program, "proven-100", statements, True, step) == expected, step
    return len(cases)


# Whole proofs --------------------------------------------------------------------


def replaced(statements, slot, **fields):
    """The statements, with one of them changed."""
    out = list(statements)
    out[slot] = Statement(**{**vars(statements[slot]), **fields})
    return out


def proofs(chance, path):
    """One file and its changed forms; what it hides."""
    program, profile, root, statements, proof, hidden = from_zk_parts(path.read_bytes())

    def check(proof=proof, statements=statements, root=root, profile=profile, hidden=hidden):
        verify(program, profile, root, statements, proof, hidden)

    start = time.process_time()
    check()
    seconds = time.process_time() - start
    places = [len(proof) * i // CHANGED for i in range(CHANGED)] + [len(proof) - 1]
    for place in places:
        refused(f"{path.name} with byte {place} changed", check, flip(proof, place, chance.randrange(8)))
    for cut in (proof + b"\0", proof[:-1], proof[: len(proof) // 2], b""):
        refused(f"{path.name} in another length", check, cut)
    refused(f"{path.name} under another root", check, proof, statements, flip(root))
    other = {"proven-100": "proven-120", "proven-120": "proven-100"}[profile]
    refused(f"{path.name} under another profile", check, proof, statements, root, other)
    refused(f"{path.name} with a statement more", check, proof, [*statements, statements[0]])
    refused(f"{path.name} with no statement", check, proof, [])
    for slot, s in enumerate(statements):
        renamed = replaced(statements, slot, digest=flip(s.digest))
        refused(f"{path.name} for another Statement", check, proof, renamed)
        if hidden.values:
            refused(f"{path.name} for another io/v1 root", check, proof, replaced(statements, slot, io=flip(s.io)))
            refused(f"{path.name} without an io/v1 root", check, proof, replaced(statements, slot, io=None))
            continue
        for side in ("inputs", "outputs"):
            tensors = [(dims, list(values)) for dims, values in getattr(s, side)]
            values = chance.choice(tensors)[1]
            at = chance.randrange(len(values))
            values[at] += -1 if values[at] > 0 else 1
            refused(f"{path.name} with other {side}", check, proof, replaced(statements, slot, **{side: tensors}))
        # Who holds one statement's values needs no other's.
        check(statements=[s if i == slot else Statement(o.digest) for i, o in enumerate(statements)])
    if len(statements) > 1:
        refused(f"{path.name} with its statements in another order", check, proof, statements[::-1])
    # In another mode, or with other parts hidden: whatever the caller knows of the statements.
    shown = [replaced([s], 0, inputs=s.inputs, outputs=s.outputs, io=s.io or bytes(32))[0] for s in statements]
    bare = [replaced([s], 0, inputs=None, outputs=None)[0] for s in shown]
    for flags in [None, *(Hidden(*flags) for flags in product((False, True), repeat=2))]:
        if flags != hidden:
            for told in (statements, shown, bare):
                refused(f"{path.name} as {flags}", check, proof, told, root, profile, flags)
    refused(f"{path.name} with no values", check, proof, [Statement(s.digest) for s in statements])
    print(f"{path.name}: {len(statements)} statements, {len(proof)} bytes verify in {seconds:.2f} s")
    return hidden


def other_modes():
    """Succinct proofs are no proofs that hide."""
    for path in sorted(DATA.glob("steps-*.proof")):
        program, profile, root, statements, proof = from_parts(path.read_bytes())
        refused(
            f"{path.name} as one that hides", verify, program, profile, root, statements, proof, Hidden(False, False)
        )
        named = [Statement(s.digest, io=bytes(32)) for s in statements]
        refused(
            f"{path.name} as one that hides values", verify, program, profile, root, named, proof, Hidden(True, False)
        )


def main():
    files = sorted((pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else DATA).glob("*.zkproof"))
    if not files:
        sys.exit("the fixtures are missing")
    chance = random.Random(1)
    page = (ROOT / "docs" / "protocol-zk.md").read_text().splitlines()
    if [row for row in page if row.startswith("| ") and row[2].isdigit()] != WITNESS.strip().splitlines():
        sys.exit("docs/protocol-zk.md prints other parameters")
    print(f"{len(zk.SCHEDULES)} parameters are those of docs/protocol-zk.md")
    expressions(chance)
    print("hidden expressions are what they stand for")
    equations(chance)
    print("equations that hold can be proven, and no others")
    inputs_and_outputs(chance)
    print("io/v1 commitments are those of io_commitment.py")
    print(f"a simulator passes for {simulated(chance)} Programs")
    hidden = {proofs(chance, path) for path in files}
    if len(sys.argv) == 1 and not {Hidden(v, w) for v, w in ((True, False), (False, True), (True, True))} <= hidden:
        sys.exit("the fixtures do not hide values and weights, alone and together")
    other_modes()
    print(f"{len(files)} proofs that hide hold, and none of their changed forms")


if __name__ == "__main__":
    main()
