#!/usr/bin/env python3
"""Checks proofs that hide constants, and registrations, with the Python verifier, and that it refuses changed ones.

    python3 tools/python/test_weights.py [FOLDER]

FOLDER holds `.registration` and `.zkproof` files (see verify_proof.py); without it those in tools/python/testdata are
used, which crates/carat-zk/tests/fixtures.rs made. (test_zk.py changes the proofs.) Also checked are the pieces, which
small files do not reach: the parameters against the rule that they follow from, where constants lie, the commitments of a
key and openings of them by a prover that is honest or lies (weights_prover.py, weights_lies.py), the kernel of a committed fold, the graphs
of registrations against graphs written down by hand, and all of it with what a simulator says (weights_simulator.py). Needs Python 3.11 and the package `blake3`. Prints what was checked and ends with status 0, or
with 1.
"""

import pathlib
import random
import sys
import time
from math import log2, sqrt

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "python"))

from carat_proof import weights, whir, zk  # noqa: E402
from carat_proof.field import P, E  # noqa: E402
from carat_proof.graph import TABLE, Plan, bits  # noqa: E402
from carat_proof.multilinear import dot, eq_table, powers, total  # noqa: E402
from carat_proof.program import HALF  # noqa: E402
from carat_proof.registration import RegistrationPlan, verify_registration  # noqa: E402
from carat_proof.verify import Hidden, Statement, verify  # noqa: E402
from carat_proof.weights_schedules import ROWS  # noqa: E402
from test_proof import element, refused  # noqa: E402
from test_zk import flip, reason  # noqa: E402
from verify_proof import from_parts, from_registration_parts, from_zk_parts  # noqa: E402
from weights_lies import ABSENT, FEWER, PINNED, changed_parts, commitments, other_pins  # noqa: E402
from weights_prover import program  # noqa: E402
from weights_simulator import simulate, simulate_registration  # noqa: E402

DATA = ROOT / "tools" / "python" / "testdata"
CHANGED = 96  # bytes changed per registration

# Of the term for queries, lists and work included: of a committed fold the list counts as so many bits.
WANTED = {"proven-100": 104, "proven-120": 125}
COMMITTED = 6


# Parameters --------------------------------------------------------------------


def parameters():
    page = (ROOT / "docs" / "protocol-weights.md").read_text().splitlines()
    if [row for row in page if row.startswith("| ") and row[2].isdigit()] != ROWS.strip().splitlines():
        sys.exit("docs/protocol-weights.md prints other parameters")
    assert {n for _, n in weights.SCHEDULES} == set(range(3, 27)), "a size without parameters"
    for (profile, n), s in weights.SCHEDULES.items():
        # The list of the rows of pads, or that of the commitment to the fold.
        pads = log2(10 * (1 << zk.PAD_LEVELS) / (zk.ROW + zk.PAD_POSITIONS[profile]))
        lists = pads if s.sent else COMMITTED

        def found(t):
            """Bits of so many positions, with tails for as many."""
            rate = ((1 << s.columns) + s.proofs * t) / (1 << s.levels)
            return s.work - t * log2(21 / 20 * sqrt(rate)) - lists

        wanted = WANTED[profile]
        assert found(s.positions) >= wanted, f"{profile} {n}: {found(s.positions)} bits"
        assert all(found(t) < wanted for t in range(1, s.positions)), f"{profile} {n}: fewer positions are enough"
        assert s.columns <= n and s.length < 1 << s.levels, f"{profile} {n}: rows too long"
        assert s.sent == (n < 20) and 1 << s.depth == s.commitments, f"{profile} {n}: the fold"
        assert (s.proofs, s.commitments) == ((2, 64) if s.sent else (32, 1)), f"{profile} {n}: how many proofs"
        if not s.sent:
            inner = whir.SCHEDULES[profile, "fold", bits(s.length) + whir.SLICES]
            # 10 over its rate.
            assert log2(10) + inner.rates[0] <= COMMITTED, f"{profile} {n}: the fold's list"


# Layout ------------------------------------------------------------------------


def layout():
    """Where hidden constants lie, worked out by hand: tensor, offset and variables of each box; n; rows."""
    cases = (
        # One element, then the blind in eight slots, which come first for their size.
        ([()], [(0, 8, 0), (1, 0, 3)], 4, 2),
        # 72 = 64 + 8 rows of 4 are two boxes; 3x1x2x3 has too few slots for more than one.
        ([(3, 1, 2, 3), (72, 4)], [(0, 256, 5), (1, 0, 8), (1, 288, 5), (2, 320, 3)], 9, 11),
        # Of equal size: in order, the blind last. 24 of 32 slots are used.
        ([(5,), (2, 3)], [(0, 0, 3), (1, 8, 3), (2, 16, 3)], 5, 2),
        # Published, these are two polynomials: 8204 exceeds 8192 by little.
        ([(8192,), (3,)], [(0, 0, 13), (1, 8200, 2), (2, 8192, 3)], 14, 33),
        # 2^19 elements and the blind: 65 rows of the 128.
        ([(512, 1024)], [(0, 0, 19), (1, 1 << 19, 3)], 20, 65),
    )
    for constants, expected, n, rows in cases:
        plan = Plan(program([(d, -1, 1) for d in constants]), 1, True)
        (store,) = plan.weights
        found = sorted((b.tensor, b.offset, b.vars) for boxes in store.of.values() for b in boxes)
        assert (found, store.vars) == (expected, n), f"the layout of {constants}"
        assert weights.rows_of(store, weights.SCHEDULES["proven-100", n]) == rows, f"the rows of {constants}"
    refused("constants that fill all positions", Plan, program([((1 << 13, 1 << 13), 0, 0)]), 1, True)


# The kernel of a committed fold --------------------------------------------------


def kernels(chance):
    for columns, size in ((0, 0), (0, 2), (1, 3), (3, 3), (3, 5), (4, 5)):
        for length in {1 << columns, (1 << size) - 1, 1 << size}:
            if not 1 << columns <= length <= 1 << size:
                continue
            b, zeta, x = ([element(chance) for _ in range(n)] for n in (columns, size, size))
            gamma = powers(element(chance), 6)
            places = [chance.randrange(P) for _ in range(4)]
            plain = []
            for i, end in enumerate(eq_table(zeta)):
                # The value is about the first elements: their number's bits before the columns are zero.
                k = eq_table(b)[i] if i < 1 << columns else E.of(0)
                k = k + total(g * pow(z, i, P) for g, z in zip(gamma[1:], places))
                plain.append(k + gamma[5] * end if i >= length else k)
            found = weights.fold_kernel(b, places, length, zeta, gamma, x)
            assert found == dot(plain, eq_table(x)), f"the kernel of {length} elements"


# Registrations -------------------------------------------------------------------


def contract(a, b, out, l1):
    return [0, [[list(a), list(b), list(out)], l1]]


def conv(kernel, l1):
    ones, none = [1] * len(kernel), [0] * len(kernel)
    return [1, [[[list(kernel), ones, ones, none, none], 1], l1]]


def told(plan):
    """A graph in a form to be written by hand."""
    g = plan.graph
    nodes = [(n.kind, *n.args) for n in g.nodes]
    return nodes, [(t.kind, *t.args, *t.dims) for t in g.tables], list(g.lookups)


def graphs():
    """Graphs of registrations, by hand from docs/protocol-weights.md, section 3."""
    # Summed, with both signs, and few values: one lookup shows the range and gives absolute values.
    p = program([((4, 6), -3, 4)], [(contract([0], [0, 1], [1], 10), (0, 1), (6,), (-10, 10))])
    assert told(RegistrationPlan(p)) == (
        [
            ("constant", 0),
            ("column", 0),
            ("linear", [(2, 1), (-1, 0)], 0),
            ("sum", 2, [0]),
            ("linear", [(-1, 3)], 10),
            ("column", 1),
            ("column", 2),
        ],
        [("clamp", -3, 0, HALF, 8), ("range", 16)],
        [(0, (0, 1)), (1, (4,))],
    ), "both signs"
    assert [RegistrationPlan(p).graph.nodes[x].dims for x in (1, 3, 5, 6)] == [(4, 6), (6,), (8,), (16,)]

    # A kernel above zero, and a constant without a sum. Equal tables are one.
    p = program(
        [((2, 1, 3, 3), 1, 5), ((7,), -2, 2)],
        [(conv([3, 3], 40), (0, 1), (1, 2, 3, 3), (-40, 40))],
        [(1, 1, 5, 5)],
    )
    assert told(RegistrationPlan(p)) == (
        [
            ("constant", 0),
            ("constant", 1),
            ("linear", [(1, 0)], -1),
            ("linear", [(1, 0)], 0),
            ("linear", [(1, 1)], 2),
            ("sum", 3, [1, 2, 3]),
            ("linear", [(-1, 5)], 40),
            ("column", 0),
            ("column", 1),
        ],
        [("range", 5), ("range", 64)],
        [(0, (2,)), (0, (4,)), (1, (6,))],
    ), "above zero"

    # Below zero, and nothing is added up.
    p = program([((4,), -7, -1)], [(contract([0], [0], [0], 7), (0, 1), (4,), (-7, 7))])
    assert told(RegistrationPlan(p)) == (
        [
            ("constant", 0),
            ("linear", [(1, 0)], 7),
            ("linear", [(-1, 0)], 0),
            ("linear", [(-1, 2)], 7),
            ("column", 0),
            ("column", 1),
        ],
        [("range", 7), ("range", 8)],
        [(0, (1,)), (1, (3,))],
    ), "below zero"

    # Zero alone: a range of one value, and a sum that is zero.
    p = program([((4,), 0, 0)], [(contract([0], [0], [], 0), (1, 0), (), (0, 0))])
    assert told(RegistrationPlan(p)) == (
        [
            ("constant", 0),
            ("linear", [(1, 0)], 0),
            ("linear", [(1, 0)], 0),
            ("sum", 2, [0]),
            ("linear", [(-1, 3)], 0),
            ("column", 0),
            ("column", 1),
        ],
        [("range", 1), ("range", 2)],
        [(0, (1,)), (1, (4,))],
    ), "zero"

    # 2^16 values fit in a table; one more is shown from both ends, 17 bits each.
    p = program([((3,), 0, (1 << 16) - 1)])
    assert told(RegistrationPlan(p))[1:] == ([("range", 1 << 16)], [(0, (1,))]), "a full table"
    p = program([((3,), 0, 1 << 16)])
    wide = [
        ("linear", [(1, 0)], 0),
        ("column", 0),
        ("linear", [(1, 1), (-(1 << 16), 2)], 0),
        ("linear", [(-1, 0)], 1 << 16),
        ("column", 1),
        ("linear", [(1, 4), (-(1 << 16), 5)], 0),
    ]
    limbs = [("range", 2), ("range", 1 << 16)], [(0, (2,)), (1, (3,)), (0, (5,)), (1, (6,))]
    nodes, *rest = told(RegistrationPlan(p))
    assert (nodes[1:7], tuple(rest)) == (wide, limbs), "one value more"

    # The same at the border of what one lookup shows of a constant that is summed.
    for hi, kinds in ((TABLE - 2, ["clamp", "range"]), (TABLE - 1, ["range", "range", "step", "range"])):
        p = program([((4,), -1, hi)], [(contract([0], [0], [], 3), (0, 1), (), (-3, 3))])
        assert [kind for kind, *_ in told(RegistrationPlan(p))[1]] == kinds, f"a sum of constants in -1..{hi}"

    # As wide, with both signs, and summed: relu with a comparison of limbs. -40000 >> 16 is -1, 40000 >> 16 is 0.
    p = program([((4,), -40000, 40000)], [(contract([0], [0], [], 50000), (0, 1), (), (-50000, 50000))])
    nodes, tables, lookups = told(RegistrationPlan(p))
    assert nodes[7:] == [
        ("column", 2),
        ("column", 3),
        ("linear", [(1, 0), (-(1 << 16), 7)], 0),
        ("mul", 8, 0),
        ("linear", [(2, 10), (-1, 0)], 0),
        ("sum", 11, [0]),
        ("linear", [(-1, 12)], 50000),
        *(("column", i) for i in (4, 5, 6)),
    ], "a wide sum"
    assert tables == [("range", 2), ("range", 1 << 16), ("step", -1, 2)], "a wide sum"
    assert lookups == [*limbs[1], (2, (7, 8)), (1, (9,)), (1, (13,))], "a wide sum"

    # Two steps state a sum of one constant: absolute values once, each sum of its own. Tables are not merged, though the
    # clamp to above zero of the second constant spans the first one's.
    p = program(
        [((4, 6), -3, 4), ((4,), -9, 9)],
        [
            (contract([0], [0, 1], [1], 10), (0, 1), (6,), (-10, 10)),
            (contract([0, 1], [0], [1], 11), (1, 0), (6,), (-11, 11)),
            (contract([0], [0], [], 12), (0, 2), (), (-12, 12)),
        ],
    )
    nodes, tables, lookups = told(RegistrationPlan(p))
    assert nodes[2:12] == [
        ("column", 0),
        ("linear", [(2, 2), (-1, 0)], 0),
        ("column", 1),
        ("linear", [(2, 4), (-1, 1)], 0),
        ("sum", 3, [0]),
        ("linear", [(-1, 6)], 10),
        ("sum", 3, [0]),
        ("linear", [(-1, 8)], 11),
        ("sum", 5, [0]),
        ("linear", [(-1, 10)], 12),
    ], "two sums"
    assert tables == [("clamp", -3, 0, HALF, 8), ("clamp", -9, 0, HALF, 19), ("range", 16)], "two sums"
    assert lookups == [(0, (0, 2)), (1, (1, 4)), (2, (7,)), (2, (9,)), (2, (11,))], "two sums"

    # A constant that is convolved, by a kernel that is computed.
    p = program([((2, 1, 3, 3), -1, 1)], [(conv([2, 2], 9), (1, 0), (2, 3, 2, 2), (-9, 9))], [(3, 1, 2, 2)])
    assert told(RegistrationPlan(p))[0][3] == ("sum", 2, [1, 2, 3]), "an operand of a convolution"

    # Sums and ranges with which p could be reached.
    def sum_of(count, most, l1):
        step = (contract([0], [0], [], l1), (0, 1), (), (-l1, l1))
        return program([((count,), 0, most)], [step], [(count,)])

    RegistrationPlan(sum_of(3, 1 << 20, (1 << 29) - 1))
    refused("a sum of thirty bits", RegistrationPlan, sum_of(3, 1 << 20, 1 << 29))
    # 16383 times 2^17 - 1 and 2^15 are below p, but 2^16 more are not.
    most = (P - (1 << 16)) // 16383
    assert 16383 * most + (1 << 16) < P <= 16383 * (most + 1) + (1 << 16)
    RegistrationPlan(sum_of(16383, most, 1 << 15))
    refused("a sum that could wrap", RegistrationPlan, sum_of(16383, most + 1, 1 << 15))
    RegistrationPlan(program([((3,), 1 - (1 << 28), 1 << 28)]))
    refused("a range of thirty bits", RegistrationPlan, program([((3,), -(1 << 28), 1 << 28)]))
    refused("a registration of nothing", verify_registration, program([]), "proven-100", bytes(32), b"")


# Simulated proofs ----------------------------------------------------------------


def simulated(chance):
    """What a simulator says passes: for the Programs of the tests that have constants, and one with a committed fold."""
    programs, sizes = [], set()
    for path in sorted(DATA.glob("*.proof")):
        found, *_ = from_parts(path.read_bytes())
        if found.constants:
            programs.append(found)
    step = (contract([0], [0, 1], [1], 40), (0, 1), (1024,), (-40, 40))
    programs.append(program([((512, 1024), -1, 1)], [step], [(512,)], [2]))
    # Of constants that share a polynomial.
    programs.append(program([((8192,), 0, 9), ((3,), -2, 2)], outputs=(1, 0, 2)))
    for p in programs:
        sizes.add(Plan(p, 1, True).weights[0].vars)
        for profile in ("proven-100", "proven-120"):
            committed = not weights.SCHEDULES[profile, Plan(p, 1, True).weights[0].vars].sent
            if committed and profile == "proven-120":
                continue
            assert simulate(chance, p, profile, 1 + len(p.inputs)).inner == committed, "the opening of the fold"
            assert simulate_registration(chance, p, profile).inner == committed, "the opening of the fold"
    assert 14 in sizes and 20 in sizes and min(sizes) < 7, "sizes"
    small, large = programs[-1], programs[-2]
    why = {
        "scaled": "a denominator of the lookups is zero",
        "sum": "an equation does not hold",
        "witness": "the fold is not that of the committed rows",
        "equations": "the rows of pads are no code words",
        "pin": PINNED,
        "path": ABSENT,
        "number": FEWER,
    }
    for step, expected in why.items():
        assert reason(simulate_registration, chance, small, "proven-100", step) == expected, step
    for step in ("sum", "equations", "pin", "path", "number"):
        # Its own proofs have no lookups.
        assert reason(simulate, chance, small, "proven-100", 1, step) == why[step], step
    for step in ("weights", "end"):
        expected = "the conditions do not reduce to the fold"
        assert reason(simulate, chance, large, "proven-100", 1, step) == expected, step
    # Without constants there are none to hide.
    assert reason(simulate, chance, program([]), "proven-100", 1) == "a Program without constants has none to hide"
    return len(programs)


# Whole proofs --------------------------------------------------------------------


def hiding(chance, path):
    """A proof about statements whose constants are hidden. (test_zk.py has what is the same for others.)"""
    program, profile, root, statements, proof, hidden = from_zk_parts(path.read_bytes())

    def check(proof=proof, root=root):
        verify(program, profile, root, statements, proof, hidden)

    found, count = changed_parts(chance, path.name, check, proof)
    other_pins(path.name, check, found, proof, root)
    print(f"{path.name}: {count} changes in its parts are refused")


def registrations(chance, path, programs, keys):
    found, profile, root, proof = from_registration_parts(path.read_bytes())

    def check(proof=proof, root=root, profile=profile, program=found):
        verify_registration(program, profile, root, proof)

    start = time.process_time()
    check()
    seconds = time.process_time() - start
    for place in [len(proof) * i // CHANGED for i in range(CHANGED)] + [len(proof) - 1]:
        refused(f"{path.name} with byte {place} changed", check, flip(proof, place, chance.randrange(8)))
    for cut in (proof + b"\0", proof[:-1], proof[: len(proof) // 2], b""):
        refused(f"{path.name} in another length", check, cut)
    for other in {flip(root), *(key for key in keys if key != root)}:
        assert reason(check, proof, other) == PINNED, f"{path.name} under another key"
    other = {"proven-100": "proven-120", "proven-120": "proven-100"}[profile]
    refused(f"{path.name} under another profile", check, proof, root, other)
    refused(f"{path.name} under an unknown profile", check, proof, root, "proven-1")
    for another in programs:
        if another.digest != found.digest:
            refused(f"{path.name} for another Program", check, proof, root, profile, another)
    parts, count = changed_parts(chance, path.name, check, proof)
    other_pins(path.name, check, parts, proof, root)
    print(f"{path.name}: {len(proof)} bytes verify in {seconds:.2f} s; {count} changes in its parts are refused")
    return found, profile, root, proof


def other_kinds(registered, hiding):
    """A registration is no proof about statements, nor the other way round."""
    for program, profile, root, proof in registered:
        values = [Statement(bytes(32), io=bytes(32))]
        refused("a registration as a proof", verify, program, profile, root, values, proof, Hidden(True, True))
        for case in hiding:
            if case[0].digest == program.digest:
                same, profile, root, statements, sent, hidden = case
                refused("a registration as a proof", verify, same, profile, root, statements, proof, hidden)
    for program, profile, root, _, proof, _ in hiding:
        if program.constants:
            refused("a proof as a registration", verify_registration, program, profile, root, proof)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    files = sorted(folder.glob("*.registration"))
    paths = sorted(folder.glob("*.zkproof"))
    proofs = [from_zk_parts(path.read_bytes()) for path in paths]
    if not files or not any(case[5].weights for case in proofs):
        sys.exit("the fixtures are missing")
    chance = random.Random(1)
    parameters()
    print(f"{len(weights.SCHEDULES)} parameters are those of docs/protocol-weights.md, and the least that are enough")
    layout()
    print("constants and the blind lie where they should")
    commitments(chance)
    print("commitments of a key open, each to what the key pins, and lies about them do not")
    kernels(chance)
    print("kernels of committed folds are the sums that they stand for")
    graphs()
    print("graphs of registrations are those written by hand")
    print(f"a simulator passes for {simulated(chance)} Programs and their registrations")
    keys = {(case[0].digest, case[1], case[2]) for case in proofs if case[5].weights}
    programs, roots = [case[0] for case in proofs], [root for _, _, root in keys]
    registered = [registrations(chance, path, programs, roots) for path in files]
    for path, case in zip(paths, proofs, strict=True):
        if case[5].weights and case[0].constants:
            hiding(chance, path)
    if len(sys.argv) == 1 and not any((p.digest, profile, root) in keys for p, profile, root, _ in registered):
        sys.exit("no proof is under a registered key")
    other_kinds(registered, proofs)
    print(f"{len(files)} registrations hold, and none of their changed forms")


if __name__ == "__main__":
    main()
