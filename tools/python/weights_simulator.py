"""The simulator of zk_simulator.py for proofs that hide constants too, and for registrations (docs/protocol-weights.md,
section 5).

What it says of a fold that is committed to, it says honestly of a random fold: that commitment hides nothing, since the
fold is uniform. Its opening is left out.
"""

from unittest.mock import patch

import zk_simulator
from carat_proof import registration, weights, whir, zk
from carat_proof import verify as verifier
from carat_proof.field import DEGREE, P, ZERO, E, root_of_unity
from carat_proof.graph import Plan, bits
from carat_proof.multilinear import dot, eq_table
from carat_proof.multilinear import powers as powers_of
from carat_proof.program import tagged_hash
from carat_proof.verify import Hidden, Statement


class Simulator(zk_simulator.Simulator):
    """`forgets` may also be "pin": the key is another; "path": the opened commitment is not under it; "number": nor has
    it so many; "weights": what masks show of a committed fold does not fit; or "end": that fold is longer than it may be.
    """

    def __init__(self, chance, program, profile, forgets=None):
        super().__init__(chance, [], forgets)
        self.opening = None
        self.pinned = zk.elements(self.numbers(DEGREE))
        # Of the key's commitments one, and digests of others: none is of anything.
        self.commitment = node = chance.randbytes(32)
        self.path = b""
        if program.constants:
            self.schedule = weights.SCHEDULES[profile, Plan(program, 1, True).weights[0].vars]
            self.number = chance.randrange(self.schedule.commitments)
            for level in range(self.schedule.depth):
                other = chance.randbytes(32)
                self.path += other
                pair = (other, node) if self.number & 1 << level else (node, other)
                node = tagged_hash(weights.NODE_DOMAIN, *pair)
        self.roots = [node]
        self.fold = None  # a committed one, from when it is asked about
        self.factors = None  # the fold and its kernel, as far as variables are bound
        self.inner = 0  # openings of commitments to folds

    def key(self):
        (value,) = self.pinned
        if self.forgets == "pin":
            value = value + 1
        return tagged_hash(weights.ROOT_DOMAIN, self.roots[0], b"".join(c.to_bytes(4, "little") for c in value.c))

    def receive_bytes(self, label, n):
        if label == "weights commitment":
            number = self.number + (self.schedule.commitments if self.forgets == "number" else 0)
            return number.to_bytes(n, "little")
        if label == "weights commitment root":
            return self.chance.randbytes(32) if self.forgets == "path" else self.commitment
        if label == "weights path":
            return self.path
        return super().receive_bytes(label, n)

    def receive(self, label, n):
        if label == "weights value":
            return self.pinned
        if self.opening == "weights" and label == "fold value":
            size = self.schedule.length + (self.forgets == "end")
            self.said["fold"] = zk.elements(self.numbers(size * DEGREE))
            return [dot(self.said["fold"], eq_table(self.column))]
        if self.fold is not None and label == "round":
            return self.round()
        if self.fold is not None and label == "pcs slices":
            return self.slices()
        return super().receive(label, n)

    # The opening of the constants: rows are uniform. What they say of a fold that is sent is an equation, whatever it is;
    # of a committed one the mask's entries follow.

    def open_weights(self, checks, profile, store, root, point, value):
        self.opening = "weights"
        assert root == self.commitment, "another commitment is opened"
        self.row = eq_table(point[: store.vars - self.schedule.columns])
        self.column = point[store.vars - self.schedule.columns :]
        REAL(checks, profile, store, root, point, value)
        self.opening = self.fold = None

    def read_columns(self, source, root, levels, queries, work, width):
        if self.opening != "weights":
            return super().read_columns(source, root, levels, queries, work, width)
        self.beta = self.transcript.drawn[-1]  # where there are masks
        positions = [self.transcript.draw_bits(levels) for _ in range(queries)]
        self.leaves = {p: self.numbers(width) for p in positions}
        return positions, [self.leaves[p] for p in positions]

    def read_leaves(self, source, root, levels, positions, width):
        assert width == DEGREE + zk.SALT
        rows = zk.coefficients(self.row)
        entries = {}
        for p, leaf in self.leaves.items():
            z = pow(root_of_unity(levels), p, P)
            own = leaf[: -zk.SALT]
            fold = self.fold_at(z)
            if self.forgets == "weights":
                fold = fold + 1
            entries[p] = [*(fold - self.beta * zk.weighted(rows, own)).c, *self.numbers(zk.SALT)]
        self.places = [pow(root_of_unity(levels), p, P) for p in positions]
        self.fold = self.said["fold"]
        return [entries[p] for p in positions]

    # A committed fold: the sumcheck, from sums over all its elements.

    def begin(self):
        size = 1 << bits(self.schedule.length)
        *_, gamma = self.transcript.drawn
        ends = eq_table(self.transcript.drawn[-1 - bits(size) : -1])
        gammas = powers_of(gamma, len(self.places) + 2)
        lists = zk.coefficients(gammas[1:-1])
        kernel, at = [], [1] * len(self.places)
        for x in range(size):
            kernel.append(zk.weighted(lists, at))
            at = [a * z % P for a, z in zip(at, self.places)]
        for x, e in enumerate(eq_table(self.column)):
            kernel[x] = kernel[x] + e
        for x in range(self.schedule.length, size):
            kernel[x] = kernel[x] + gammas[-1] * ends[x]
        fold = self.fold + [ZERO] * (size - len(self.fold))
        self.factors = [fold, kernel]
        self.fold_slices = [[E.of(e.c[d]) for e in fold] for d in range(DEGREE)]
        self.fold_slices += [[E.of(v) for v in self.numbers(size)] for _ in range((1 << whir.SLICES) - DEGREE)]

    def bind(self, tables):
        """The challenge since the last message takes the place of the first variable."""
        r = self.transcript.drawn[-1]
        halves = [(t[: len(t) // 2], t[len(t) // 2 :]) for t in tables]
        return [[a + r * (b - a) for a, b in zip(*pair)] for pair in halves]

    def round(self):
        if self.factors is None:
            self.begin()
        else:
            self.factors = self.bind(self.factors)
            self.fold_slices = self.bind(self.fold_slices)
        f, k = self.factors
        n = len(f) // 2
        at_two = ZERO
        for a, b, c, d in zip(f, f[n:], k, k[n:]):
            at_two = at_two + (b * 2 - a) * (d * 2 - c)
        return [dot(f[:n], k), at_two]

    def slices(self):
        self.fold_slices = self.bind(self.fold_slices)
        self.last = [s for (s,) in self.fold_slices]
        return self.last

    def open_fold(self, source, profile, use, n, root, point, value):
        """In place of the commitment to a fold: what it is asked to show is true."""
        assert (use, n) == ("fold", len(point)) and (profile, use, n) in whir.SCHEDULES
        assert value == dot(self.last, eq_table(point[: whir.SLICES])), "the slices"
        self.inner += 1


REAL = weights.open_weights


def run(simulator, check, *arguments):
    with (
        zk_simulator.patched(simulator),
        patch.object(registration, "Source", lambda transcript, proof: simulator),
        patch.object(whir, "read_leaves", simulator.read_leaves),
        patch.object(whir, "verify", simulator.open_fold),
        patch.object(weights, "open_weights", simulator.open_weights),
    ):
        check(*arguments)
    return simulator


def simulate(chance, program, profile, count, forgets=None):
    """A proof about so many statements that hides everything."""
    simulator = Simulator(chance, program, profile, forgets)
    told = [Statement(chance.randbytes(32), io=chance.randbytes(32)) for _ in range(count)]
    return run(simulator, verifier.verify, program, profile, simulator.key(), told, b"", Hidden(True, True))


def simulate_registration(chance, program, profile, forgets=None):
    simulator = Simulator(chance, program, profile, forgets)
    return run(simulator, registration.verify_registration, program, profile, simulator.key(), b"")
