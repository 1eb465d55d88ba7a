"""A committer and prover of docs/protocol-weights.md for the opening alone, sections 1 and 2: honest, or lying.

With what it says the Python verifier is tried in test_weights.py: the opening of a commitment whose fold is sent, as a
verifier sees it who looks at messages and equations on the spot (`Shown`), and what pins the commitments.
"""

import io_commitment
from carat_proof import weights, zk
from carat_proof.checks import Clear
from carat_proof.field import P
from carat_proof.multilinear import eq_table, total
from carat_proof.program import Program, tagged_hash
from carat_proof.transcript import Source, Transcript
from test_proof import cbor
from zk_prover import Sender, Tree


def program(constants, nodes=(), inputs=((4,),), outputs=(0,)):
    """A Program with these constants, (dims, lo, hi), and steps, (op, operands, dims, range). Inputs are in 0..1."""
    told = [[f"x{i}", 0, list(d), [0, 1], [0, []]] for i, d in enumerate(inputs)]
    named = [[list(d), [lo, hi], bytes(32)] for d, lo, hi in constants]
    steps = [[op, list(v), list(d), list(r)] for op, v, d, r in nodes]
    given = [[f"y{i}", 0, v, [0, []], []] for i, v in enumerate(outputs)]
    return Program(cbor(["integer/v1", [told, named, steps, given]]))


class Shown(Clear):
    """Checks that are looked at on the spot, of a verifier who may see what is hidden."""

    def weighted(self, elements, factors):
        return total(e * f for e, f in zip(elements, factors, strict=True))


class Commitment:
    """A tree over the code words of rows, their tails, and salts. Rows are values of the polynomial, in order."""

    def __init__(self, chance, matrix, values, rows):
        self.matrix = matrix
        width = 1 << matrix.columns
        self.rows = [values[i * width : (i + 1) * width] for i in range(rows)]
        tails = matrix.proofs * matrix.positions
        self.rows = [row + [chance.randrange(P) for _ in range(tails)] for row in self.rows]
        free = [0] * ((1 << matrix.levels) - matrix.length)
        words = [io_commitment.evaluate(row + free) for row in self.rows]
        salts = [[chance.randrange(P) for _ in words[0]] for _ in range(zk.SALT)]
        self.tree = Tree(list(map(list, zip(*words, *salts))))

    def fold(self, a):
        """Each position of the rows, tails included, combined with the rows' factors."""
        factors = zk.coefficients(a[: len(self.rows)])
        return [zk.weighted(factors, column) for column in zip(*self.rows)]


class Key:
    """The commitments of a key: those of `made` have their numbers, of the others there are no more than roots."""

    def __init__(self, chance, program, profile, plan, made):
        self.program, self.profile, self.plan = program, profile, plan
        (self.store,) = plan.weights
        self.matrix = weights.SCHEDULES[profile, self.store.vars]
        count = self.matrix.commitments
        roots = [made[k].tree.root if k in made else chance.randbytes(32) for k in range(count)]
        self.levels = [roots]
        while len(self.levels[-1]) > 1:
            level = self.levels[-1]
            pairs = zip(level[::2], level[1::2])
            self.levels.append([tagged_hash("carat/zk-hidden-weights/v1 node", *pair) for pair in pairs])
        self.top = self.levels[-1][0]
        t = Transcript("carat/zk/v1 hidden weights")
        t.bytes("profile", profile.encode())
        t.bytes("program", program.digest)
        t.bytes("weights root", self.top)
        self.point = t.point(self.store.vars)

    def pinned(self, value):
        """The key if the polynomial has this value at the point."""
        self.value = value
        return tagged_hash("carat/zk-hidden-weights/v1", self.top, encoded([value]))

    def begin(self, number):
        """The messages of step 1, in parts."""
        parts = [self.top, encoded([self.value])]
        if self.matrix.commitments > 1:
            siblings = [level[number >> i ^ 1] for i, level in enumerate(self.levels[:-1])]
            parts += [number.to_bytes(4, "little"), self.levels[0][number], b"".join(siblings)]
        return parts


def encoded(elements):
    return b"".join(c.to_bytes(4, "little") for e in elements for c in e.c)


def value_at(values, point):
    """The value at a point of the multilinear polynomial with these values, the others zero."""
    return zk.weighted(zk.coefficients(eq_table(point)[: len(values)]), values)


def read_pin(key, root, parts):
    """What the verifier takes from step 1, of which all must be read."""
    source = Source(Transcript("pin"), b"".join(parts))
    pin = weights.read_pin(source, key.profile, key.program, key.plan, root)
    source.finish()
    return pin


def open_at(key, commitment, point, value, lies=lambda fold: None, shown=None):
    """The verifier on an opening of the commitment. `lies` changes the fold that is sent, and `shown` is the commitment whose
    leaves are sent, if it is another.
    """
    s, store = key.matrix, key.store
    fold = commitment.fold(eq_table(point[: store.vars - s.columns]))
    lies(fold)
    sender = Sender(Transcript("opening"))
    sender.send("weights fold", fold)
    sender.open((shown or commitment).tree, s.work, s.levels, s.positions)
    source = Source(Transcript("opening"), sender.proof)
    weights.open_weights(Shown(source), key.profile, store, commitment.tree.root, point, value)
    source.finish()
