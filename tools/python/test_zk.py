#!/usr/bin/env python3
"""Checks proofs in the mode that hides with the Python verifier, and that it refuses changed ones.

    python3 tools/python/test_zk.py [FOLDER]

FOLDER holds `.zkproof` files (see verify_proof.py); without it those in tools/python/testdata are used, which
crates/carat-zk/tests/fixtures.rs made: among them must be proofs that hide values and that do not. Also checked are the pieces: hidden expressions against
what they stand for, the proof about equations (docs/protocol-zk.md, section 6) by a prover written here, honest and
lying, and inputs and outputs against io_commitment.py. Needs Python 3.11 and the package `blake3`. Prints what was
checked and ends with status 0, or with 1.
"""

import copy
import pathlib
import random
import sys
import time
from itertools import product
from types import SimpleNamespace

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "python"))

import io_commitment  # noqa: E402
from blake3 import blake3  # noqa: E402
from carat_proof import whir, zk  # noqa: E402
from carat_proof.checks import Padded, Tape  # noqa: E402
from carat_proof.field import DEGREE, ONE, P, ZERO, root_of_unity  # noqa: E402
from carat_proof.multilinear import evaluate, total  # noqa: E402
from carat_proof.program import tagged_hash  # noqa: E402
from carat_proof.transcript import Refused, Source, Transcript  # noqa: E402
from carat_proof.verify import Hidden, Statement, verify  # noqa: E402
from carat_proof.zk_schedules import WITNESS  # noqa: E402
from test_proof import element, refused  # noqa: E402
from verify_proof import from_parts, from_zk_parts  # noqa: E402

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
        constant, linear, products, last = tape.combine(tau)
        found = constant + total(c * r for c, r in zip(linear, pads, strict=True))
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


# Section 6, from the other side --------------------------------------------------


def poly_mul(a, b):
    out = [ZERO] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        if x != ZERO:
            for j, y in enumerate(b):
                out[i + j] = out[i + j] + x * y
    return out


def poly_add(a, b):
    if len(a) < len(b):
        a, b = b, a
    return [x + y for x, y in zip(a, b)] + a[len(b) :]


def interpolation(values):
    """Coefficients of the polynomial of degree below 128 with these values on H."""
    n = zk.ROW
    inverse = pow(root_of_unity(zk.ROW_VARS), -1, P)
    lists = zk.coefficients(values)
    return [zk.weighted(lists, zk.geometric(pow(inverse, k, P), n)) * pow(n, -1, P) for k in range(n)]


def code_words(polynomials):
    """Of each place the coefficients, in F, of what the polynomials are there."""
    n = 1 << zk.PAD_LEVELS
    shifts = zk.geometric(zk.SHIFT, n)
    columns = []
    for polynomial in polynomials:
        for column in zk.coefficients(polynomial):
            column = [c * s % P for c, s in zip(column, shifts)]
            columns.append(io_commitment.evaluate(column + [0] * (n - len(column))))
    return [list(row) for row in zip(*columns)]


class Tree:
    """The tree of docs/protocol-whir.md, section 6."""

    def __init__(self, rows):
        self.rows = rows
        self.levels = [[whir.leaf(row) for row in rows]]
        while len(self.levels[-1]) > 1:
            level = self.levels[-1]
            self.levels.append([blake3(a + b).digest() for a, b in zip(level[::2], level[1::2])])
        self.root = self.levels[-1][0]

    def siblings(self, positions):
        known, out = set(positions), []
        for level in self.levels[:-1]:
            out += [level[i] for i in sorted({i ^ 1 for i in known} - known)]
            known = {i // 2 for i in known}
        return out


class Sender:
    """The proving end of a transcript."""

    def __init__(self, transcript):
        self.transcript = transcript
        self.proof = b""

    def send(self, label, elements):
        self.send_bytes(label, b"".join(c.to_bytes(4, "little") for e in elements for c in e.c))

    def send_bytes(self, label, data):
        self.transcript.bytes(label, data)
        self.proof += data

    def work(self, bits):
        for witness in range(P):
            trial = copy.deepcopy(self.transcript)
            try:
                trial.check_work(bits, witness)
            except Refused:
                continue
            self.transcript.check_work(bits, witness)
            self.proof += witness.to_bytes(4, "little")
            return

    def open(self, tree, bits, levels, count):
        self.work(bits)
        positions = [self.transcript.draw_bits(levels) for _ in range(count)]
        self.send_bytes("pcs columns", b"".join(v.to_bytes(4, "little") for p in positions for v in tree.rows[p]))
        siblings = tree.siblings(positions)
        self.send_bytes("pcs siblings", len(siblings).to_bytes(4, "little") + b"".join(siblings))


MESSAGES = 150


def toy_checks(checks, known):
    """Some messages and equations about them, over more than one row of pads."""
    (first,) = checks.receive("first", 1)
    checks.not_zero(first, "the first message is zero")
    sent = checks.receive("messages", MESSAGES)
    for a, b, c in zip(sent[::3], sent[1::3], sent[2::3]):
        checks.equal(a * b, c, "a product")
    checks.equal(total(sent), known + first * known, "a sum")


def toy_prover(chance, lie=None):
    """Two proofs for `toy_checks`, and the element that is known there. `lie` names what the prover does wrong.

    Of the second proof, `sum` is changed so that it adds up to what the equations ask for; the first one has the sum that is
    made as the page says. Without a lie they are the same.
    """
    t = zk.PAD_POSITIONS["proven-100"]
    first, scale, known = element(chance), element(chance), element(chance)
    messages = []
    for _ in range(MESSAGES // 3 - 1):
        a, b = element(chance), element(chance)
        messages += [a, b, a * b]
    # The last three, x, y and x y, add up to what is missing: y (1 + x) is that less x.
    missing = known + first * known - total(messages)
    x = element(chance)
    y = (missing - x) * inverse(x + 1)
    messages += [x, y, x * y]
    pads = [element(chance), scale, *(element(chance) for _ in messages)]
    pairs = [(0, 1)] + [(2 + i, 3 + i) for i in range(0, MESSAGES, 3)]
    factors = [[pads[pair[side]] for pair in pairs] for side in range(2)]
    products = [a * b for a, b in zip(*factors)]
    if lie == "equation":
        messages[0] = messages[0] + 1
    if lie == "product":
        # Two products in `messages` are wrong, and those of their pads fit: all equations hold, but for x y = z.
        for i, by in ((2, 1), (5, -1)):
            messages[i] = messages[i] + by
            products[1 + i // 3] = products[1 + i // 3] + by
    if lie == "factor":
        # The same with products that are those of their factors, which are no pads.
        for i, by in ((2, 1), (5, -1)):
            k = 1 + i // 3
            messages[i] = messages[i] + by
            factors[0][k] = factors[0][k] + inverse(factors[1][k]) * by
            products[k] = factors[0][k] * factors[1][k]

    # The rows, their polynomials and the masks.
    rows = []
    for part in (pads, *factors, products):
        for values in zk.rows_of(part):
            tail = [element(chance) for _ in range(t)]
            # The values on H, and (X^128 - 1) times the tail.
            rows.append(poly_add(interpolation(values), poly_add([-e for e in tail], [ZERO] * zk.ROW + tail)))
    mask = [element(chance) for _ in range(zk.ROW + t)]
    sum_mask = [element(chance) for _ in range(3 * zk.ROW + 2 * t - 2)]
    sum_mask[0] = -total(sum_mask[zk.ROW :: zk.ROW])
    if lie == "mask":
        sum_mask[0] = sum_mask[0] + 1
    if lie == "degree":
        # Plus (X^128 - 1) X^t: a row with the same values on H, of too many coefficients.
        rows[0] = [*rows[0][:t], rows[0][t] - 1, *rows[0][t + 1 :], ONE]
    tree = Tree([row + [chance.randrange(P) for _ in range(zk.SALT)] for row in code_words([*rows, mask, sum_mask])])

    sender = Sender(Transcript("toy"))
    sender.send_bytes("pads", tree.root)
    sender.send("first", [first + pads[0]])
    sender.send("scaled", [first * scale])
    sender.send("messages", [m + r for m, r in zip(messages, pads[2:])])
    # The equations, as the verifier has them: from the messages alone.
    checks = Padded(Source(Transcript("toy"), sender.proof[32:]))
    toy_checks(checks, known)
    tau, rho = sender.transcript.challenge(), sender.transcript.challenge()
    constant, linear, of_products, power = checks.tape.combine(tau)
    of_factors = [[], []]
    for pair in pairs:
        for side, pad in enumerate(pair):
            power = power * tau
            of_factors[side].append(power)
            linear[pad] = linear[pad] - power
    curved = []
    for _ in pairs:
        power = power * tau
        curved.append(power)
    combination, power = mask, ONE
    for row in rows:
        power = power * rho
        combination = poly_add(combination, [power * e for e in row])
    summed = sum_mask
    asked = [row for part in (linear, *of_factors, of_products) for row in zk.rows_of(part)]
    for c, w in zip(asked, rows, strict=True):
        summed = poly_add(summed, poly_mul(interpolation(c), w))
    # The 51 products are one row.
    (p,) = zk.rows_of(curved)
    x, y, z = rows[-3:]
    summed = poly_add(summed, poly_mul(interpolation(p), poly_add(poly_mul(x, y), [-e for e in z])))
    off = total(summed[:: zk.ROW]) + constant * pow(zk.ROW, -1, P)
    proofs = []
    for sums in (summed, [summed[0] - off, *summed[1:]]):
        end = copy.deepcopy(sender)
        end.send("combination", combination[: zk.ROW + t])
        end.send("sum", sums[: 3 * zk.ROW + 2 * t - 2])
        end.open(tree, zk.PAD_WORK, zk.PAD_LEVELS, t)
        proofs.append(end.proof)
    return *proofs, known


def inverse(e):
    """Of an element of E: its power |E| - 2."""
    out, n = ONE, P**DEGREE - 2
    while n:
        out = out * e if n & 1 else out
        e, n = e * e, n >> 1
    return out


def toy_verify(proof, known):
    source = Source(Transcript("toy"), proof)
    root = source.receive_bytes("pads", 32)
    checks = Padded(source)
    toy_checks(checks, known)
    zk.check_equations(checks, "proven-100", root)
    source.finish()


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
    for lie in ("equation", "product", "factor", "mask"):
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
    for positions in ([0], [4095, 4095], [5, 4, 2000, 5, 6], [chance.randrange(4096) for _ in range(66)]):
        shown = b"".join(v.to_bytes(4, "little") for i in positions for v in rows[i])
        shown += b"".join(leaf_salts[i] for i in positions)
        known = set(positions)
        for level in levels[:-1]:
            shown += b"".join(level[i] for i in sorted({i ^ 1 for i in known} - known))
            known = {i // 2 for i in known}

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
    hidden = {proofs(chance, path) for path in files}
    if len(sys.argv) == 1 and {h.values for h in hidden} != {False, True}:
        sys.exit("no fixture hides values, or none shows them")
    other_modes()
    print(f"{len(files)} proofs that hide hold, and none of their changed forms")


if __name__ == "__main__":
    main()
