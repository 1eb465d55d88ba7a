"""Constants that stay hidden: what pins their polynomial, and its opening. Section numbers are those of
docs/protocol-weights.md.
"""

from dataclasses import dataclass

from . import whir, zk
from .field import DEGREE, P, E, eq, root_of_unity, select
from .graph import bits
from .multilinear import dot, eq_below, eq_table, powers
from .program import need, tagged_hash
from .transcript import Transcript
from .weights_schedules import ROWS

PIN_DOMAIN = "carat/zk/v1 hidden weights"
ROOT_DOMAIN = "carat/zk-hidden-weights/v1"
NODE_DOMAIN = "carat/zk-hidden-weights/v1 node"


# 1. The commitment -------------------------------------------------------------


@dataclass
class Matrix:
    columns: int  # variables of a row
    levels: int
    work: int
    positions: int
    proofs: int  # that may open one commitment
    commitments: int  # a power of two
    sent: bool  # the fold, under pads; else it is committed to

    @property
    def length(self):
        """Coefficients of a row's code word, its tail included."""
        return (1 << self.columns) + self.proofs * self.positions

    @property
    def depth(self):
        """Levels of the tree over the roots of the commitments."""
        return self.commitments.bit_length() - 1


def _schedules():
    table = {}
    for line in ROWS.strip().splitlines():
        sizes, *cells, fold = (cell.strip() for cell in line.strip("| ").split("|"))
        columns, levels, work, *positions, proofs, commitments = map(int, cells)
        sizes = [int(n) for n in sizes.replace(",", " to ").split(" to ")]
        for n in range(sizes[0], sizes[-1] + 1):
            for profile, t in zip(("proven-100", "proven-120"), positions, strict=True):
                table[profile, n] = Matrix(columns, levels, work, t, proofs, commitments, fold == "sent")
    return table


SCHEDULES = _schedules()


def rows_of(store, matrix):
    """How many rows there are: those after the last box are zero."""
    used = max(box.offset + (1 << box.vars) for boxes in store.of.values() for box in boxes)
    return -(-used >> matrix.columns)


@dataclass
class Pin:
    """What the key says of the polynomial: its value at a point that follows from all commitments. And the root of the
    commitment that this proof opens.
    """

    root: bytes
    point: list
    value: E


def read_pin(source, profile, program, plan, key):
    """Step 1 of section 2."""
    need(program.constants, "a Program without constants has none to hide")
    (store,) = plan.weights
    top = source.receive_bytes("weights root", 32)
    (value,) = source.receive("weights value", 1)
    told = b"".join(c.to_bytes(4, "little") for c in value.c)
    need(tagged_hash(ROOT_DOMAIN, top, told) == key, "the constants are pinned otherwise")
    root = read_commitment(source, SCHEDULES[profile, store.vars], top)
    t = Transcript(PIN_DOMAIN)
    t.bytes("profile", profile.encode())
    t.bytes("program", program.digest)
    t.bytes("weights root", top)
    return Pin(root, t.point(store.vars), value)


def read_commitment(source, matrix, top):
    """The root of the commitment that the proof opens, one of those under the top."""
    if matrix.commitments == 1:
        return top
    number = int.from_bytes(source.receive_bytes("weights commitment", 4), "little")
    need(number < matrix.commitments, "the key has fewer commitments")
    root = source.receive_bytes("weights commitment root", 32)
    path = source.receive_bytes("weights path", 32 * matrix.depth)
    node = root
    for level in range(matrix.depth):
        pair = node, path[32 * level : 32 * level + 32]
        node = tagged_hash(NODE_DOMAIN, *(pair[::-1] if number >> level & 1 else pair))
    need(node == top, "the commitment is not one of the key's")
    return root


# 2. The opening ----------------------------------------------------------------


def open_weights(checks, profile, store, root, point, value):
    """Steps 4 and 5: the committed polynomial has this value, which is hidden, at this point."""
    s = SCHEDULES[profile, store.vars]
    rows = rows_of(store, s)
    a, b = point[: store.vars - s.columns], point[store.vars - s.columns :]
    factors = zk.coefficients(eq_table(a)[:rows])
    opening = open_sent if s.sent else open_committed
    opening(checks, profile, s, root, factors, b, value)


def open_sent(checks, profile, s, root, factors, b, value):
    fold = checks.receive("weights fold", s.length)
    own = checks.weighted(fold[: 1 << s.columns], eq_table(b))
    checks.equal(own, value, "the opening of the weights")
    positions, combined = read_rows(checks.source, root, s, factors)
    for z, expected in zip(places(s, positions), combined, strict=True):
        word = checks.weighted(fold, zk.geometric(z, s.length))
        checks.equal(word, expected, "the fold is not that of the committed constants")


def open_committed(checks, profile, s, root, factors, b, value):
    source, transcript = checks.source, checks.source.transcript
    mask_root = source.receive_bytes("weights mask", 32)
    (mask,) = checks.receive("mask", 1)
    beta = transcript.challenge()
    fold_root = source.receive_bytes("fold root", 32)
    (folded,) = source.receive("fold value", 1)
    checks.equal(mask + value * beta, folded, "the opening of the weights")

    # What each place says of the fold's code word.
    positions, combined = read_rows(source, root, s, factors)
    masks = whir.read_leaves(source, mask_root, s.levels, positions, DEGREE + zk.SALT)
    expected = [masked + beta * own for (masked, _), own in zip(map(zk.elements, masks), combined, strict=True)]
    zeta = transcript.point(bits(s.length))
    gamma = powers(transcript.challenge(), s.positions + 2)
    claim = folded + dot(expected, gamma[1:])
    at = places(s, positions)

    def kernel(x):
        return fold_kernel(b, at, s.length, zeta, gamma, x)

    whir.reduce_fold(source, profile, fold_root, len(zeta), claim, kernel)


def read_rows(source, root, s, factors):
    """The positions, and what the rows there come to, each counted with its factor."""
    rows = len(factors[0])
    positions, leaves = whir.read_columns(source, root, s.levels, s.positions, s.work, rows + zk.SALT)
    return positions, [zk.weighted(factors, leaf[:rows]) for leaf in leaves]


def places(s, positions):
    generator = root_of_unity(s.levels)
    return [pow(generator, position, P) for position in positions]


def fold_kernel(b, places, length, zeta, gamma, x):
    """K at x: the fold's value at b, its code word at the places, and that it ends after `length` elements."""
    head = len(x) - len(b)
    value = eq([0] * head + b, x)
    words = dot([select(z, x) for z in places], gamma[1:])
    return value + words + gamma[len(places) + 1] * (eq(zeta, x) - eq_below(zeta, x, length))
