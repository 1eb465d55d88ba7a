"""A prover of docs/protocol-zk.md, section 6, for a handful of equations: honest, or lying in one of several ways.

With what it proves the Python verifier is tried in test_zk.py.
"""

import copy

import io_commitment
from blake3 import blake3
from carat_proof import whir, zk
from carat_proof.checks import Padded
from carat_proof.field import DEGREE, ONE, P, ZERO, root_of_unity
from carat_proof.multilinear import total
from carat_proof.transcript import Refused, Source, Transcript
from test_proof import element


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
SECRETS = 140


def toy_checks(checks, known):
    """Some messages and equations about them, over more than one row of pads."""
    (first,) = checks.receive("first", 1)
    checks.not_zero(first, "the first message is zero")
    sent = checks.receive("messages", MESSAGES)
    for a, b, c in zip(sent[::3], sent[1::3], sent[2::3]):
        checks.equal(a * b, c, "a product")
    checks.equal(total(sent), known + first * known, "a sum")
    rows = checks.secret_rows(SECRETS // 2, [ONE, ONE * 2])
    checks.equal(checks.weighted(rows, range(SECRETS // 2)), ZERO, "a sum of secrets")


def toy_prover(chance, lie=None):
    """Two proofs for `toy_checks`, and the element that is known there. `lie` names what the prover does wrong.

    Of the second proof, `sum` is changed so that it adds up to what the equations ask for; the first one has the sum that
    is made as the page says. Without a lie they are the same.
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
    # Row k of two secrets counts k times, the second of them twice: the first of row 1 makes the sum zero.
    secrets = [chance.randrange(P) for _ in range(SECRETS)]
    secrets[2] = -sum(k * (secrets[2 * k] + 2 * secrets[2 * k + 1]) for k in range(SECRETS // 2) if k != 1) % P
    secrets[2] = (secrets[2] - 2 * secrets[3]) % P
    if lie == "secret":
        secrets[9] = (secrets[9] + 1) % P
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
    arranged = zk.arrange(pads, *factors, products)
    wide = len(arranged)
    for values in arranged + zk.rows_of([ONE * s for s in secrets]):
        number = element if len(rows) < wide else lambda chance: ONE * chance.randrange(P)
        tail = [number(chance) for _ in range(t)]
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
    leaves = []
    for word in code_words([*rows, mask, sum_mask]):
        narrow = word[wide * DEGREE : len(rows) * DEGREE : DEGREE]
        salt = [chance.randrange(P) for _ in range(zk.SALT)]
        leaves.append(word[: wide * DEGREE] + narrow + word[len(rows) * DEGREE :] + salt)
    tree = Tree(leaves)

    sender = Sender(Transcript("toy"))
    sender.send_bytes("pads", tree.root)
    sender.send("first", [first + pads[0]])
    sender.send("scaled", [first * scale])
    sender.send("messages", [m + r for m, r in zip(messages, pads[2:])])
    # The equations, as the verifier has them: from the messages alone.
    checks = Padded(Source(Transcript("toy"), sender.proof[32:]))
    toy_checks(checks, known)
    tau, rho = sender.transcript.challenge(), sender.transcript.challenge()
    constant, linear, of_products, of_secrets, power = checks.tape.combine(tau)
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
    asked = zk.arrange(linear, *of_factors, of_products) + zk.rows_of(of_secrets)
    for c, w in zip(asked, rows, strict=True):
        summed = poly_add(summed, poly_mul(interpolation(c), w))
    # The 51 products are one row.
    (p,) = zk.rows_of(curved)
    x, y, z = rows[:3]
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
