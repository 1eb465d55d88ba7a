"""The simulator of docs/protocol-zk.md, section 8, against the Python verifier.

It knows nothing but what is public, and chooses the challenges. What it says passes all checks, whatever the Program: so
no check tells anything about what is hidden. It also takes the verifier through each kind of step with hidden messages.
"""

from contextlib import contextmanager
from unittest.mock import patch

from carat_proof import verify as verifier
from carat_proof import whir, zk
from carat_proof.field import DEGREE, ONE, P, ZERO, root_of_unity
from carat_proof.graph import Plan
from carat_proof.multilinear import eq_table, evaluate, total
from carat_proof.program import tagged_hash
from carat_proof.transcript import Source
from carat_proof.verify import Hidden, Statement
from test_proof import element


class Challenges:
    """A transcript that hashes nothing: a random oracle that answers what it likes."""

    def __init__(self, chance):
        self.chance = chance
        self.drawn = []

    def bytes(self, label, data):
        pass

    def elements(self, label, elements):
        pass

    def check_work(self, bits, witness):
        pass

    def draw_bits(self, bits):
        return self.chance.getrandbits(bits)

    def challenge(self):
        self.drawn.append(element(self.chance))
        return self.drawn[-1]

    def point(self, n):
        return [self.challenge() for _ in range(n)]


class Simulator(Source):
    """A proof that comes to be while it is read. `forgets` names a step that the simulator leaves out."""

    def __init__(self, chance, edges, forgets=None):
        super().__init__(Challenges(chance), b"")
        self.chance = chance
        self.edges = edges  # of public values, in order: the tensors of all statements
        self.forgets = forgets
        self.said = {}
        self.masks = None  # of the opening at hand: (place, the other numbers of the leaf) -> the masks' entries
        self.roots = []

    def numbers(self, n):
        return [self.chance.randrange(P) for _ in range(n)]

    def receive(self, label, n):
        said = zk.elements(self.numbers(n * DEGREE))
        if label == "edge" and self.edges:
            tensors = self.edges.pop(0)
            variables = sum((d - 1).bit_length() for d in tensors[0][0])
            point = self.transcript.drawn[len(self.transcript.drawn) - variables :]
            said = [evaluate(dims, values, point) for dims, values in tensors]
        if label == "scaled" and self.forgets == "scaled":
            said = [ZERO]
        if label == "sum" and self.forgets != "sum":
            # The one coefficient that the equations determine.
            said[0] = -self.equations.constant * pow(zk.ROW, -1, P) - total(said[zk.ROW :: zk.ROW])
        self.said[label] = said
        return said

    def receive_bytes(self, label, n):
        if label == "weights root":
            return self.roots.pop(0)
        return self.chance.randbytes(n)

    def take_f(self, n):
        return self.numbers(n)

    def finish(self):
        assert not self.edges, "an edge is left over"

    # What the verifier reads in an opening, in place of its own functions.

    def read_columns(self, source, root, levels, queries, work, width):
        masks = 2 if self.opening == "equations" else 1
        own = width - zk.SALT - masks * DEGREE
        positions = [self.transcript.draw_bits(levels) for _ in range(queries)]
        leaves = {}
        for position in positions:
            z = pow(root_of_unity(levels), position, P)
            leaf = self.numbers(own)
            if self.forgets == self.opening:
                entries = zk.elements(self.numbers(masks * DEGREE))
            else:
                entries = self.masks(position, z, leaf)
            leaves[position] = leaf + [c for e in entries for c in e.c] + self.numbers(zk.SALT)
        return positions, [leaves[p] for p in positions]

    def fold_at(self, z):
        fold = self.said["fold"]
        return zk.weighted(zk.coefficients(fold), zk.geometric(z, len(fold)))

    def open_witness(self, checks, profile, n, root, point, value):
        self.opening = "witness"
        weights = zk.coefficients(eq_table(point[: n - min(n, n // 2 + 2)]))

        def masks(position, z, leaf):
            beta = self.transcript.drawn[-1]
            return [self.fold_at(z) - beta * zk.weighted(weights, leaf)]

        self.masks = masks
        REAL["open_witness"](checks, profile, n, root, point, value)

    def read_io_leaves(self, source, table, root, positions):
        leaves = {p: self.numbers(1 << table.columns) for p in positions}
        return [leaves[p] for p in positions]

    def make_equations(self, tape, tau):
        self.equations = REAL["Equations"](tape, tau)
        return self.equations

    def check_equations(self, checks, profile, root):
        self.opening = "equations"

        def masks(position, z, leaf):
            z = z * zk.SHIFT % P
            rows, rho = self.equations.rows(leaf), self.transcript.drawn[-1]
            combination, summed = self.said["combination"], self.said["sum"]
            rest, power = ZERO, ONE
            for row in rows:
                power = power * rho
                rest = rest + power * row
            combined = zk.weighted(zk.coefficients(combination), zk.geometric(z, len(combination)))
            total_sum = zk.weighted(zk.coefficients(summed), zk.geometric(z, len(summed)))
            return [combined - rest, total_sum - self.equations.at(zk.lagrange(z), rows)]

        self.masks = masks
        REAL["check_equations"](checks, profile, root)


REAL = {name: getattr(zk, name) for name in ("open_witness", "check_equations", "Equations")}


@contextmanager
def patched(simulator):
    """The verifier reads what the simulator says."""
    with (
        patch.object(verifier, "Source", lambda transcript, proof: simulator),
        patch.object(whir, "read_columns", simulator.read_columns),
        # Of public constants: an honest opening, which is not simulated.
        patch.object(whir, "verify", lambda *_: None),
        patch.object(zk, "open_witness", simulator.open_witness),
        patch.object(zk, "read_io_leaves", simulator.read_io_leaves),
        patch.object(zk, "Equations", simulator.make_equations),
        patch.object(zk, "check_equations", simulator.check_equations),
    ):
        yield


def simulate(chance, program, profile, statements, hides_values, forgets=None):
    """Runs the verifier on what the simulator says. `statements` are (inputs, outputs), looked at where they are public."""
    edges = []
    if not hides_values:
        for side in range(2):
            edges += [list(tensors) for tensors in zip(*(s[side] for s in statements))]
        # A constant that is given out is one tensor.
        outputs = len(program.outputs)
        for at, value in enumerate(program.outputs):
            if program.constant_index(value) is not None:
                i = len(edges) - outputs + at
                edges[i] = edges[i][:1]
    told = []
    for x, y in statements:
        name = chance.randbytes(32)
        told.append(Statement(name, io=chance.randbytes(32)) if hides_values else Statement(name, x, y))
    simulator = Simulator(chance, edges, forgets)
    plan = Plan(program, len(statements))
    roots = [chance.randbytes(32) for _ in plan.weights]
    root = roots[0] if len(roots) == 1 else tagged_hash("carat/zk-weights/v1", *roots)
    simulator.roots = roots
    with patched(simulator):
        verifier.verify(program, profile, root, told, b"", Hidden(hides_values, False))
