"""Constants that stay hidden: what pins their polynomial, and its opening. Section numbers are those of
docs/protocol-weights.md.
"""

from dataclasses import dataclass

from . import whir, zk
from .field import DEGREE, ONE, P, E, eq, root_of_unity, select
from .graph import bits
from .multilinear import dot, eq_below, eq_table, powers
from .program import need, tagged_hash
from .transcript import Transcript
from .weights_schedules import ROWS

PIN_DOMAIN = "carat/zk/v1 hidden weights"
ROOT_DOMAIN = "carat/zk-hidden-weights/v1"
PROOFS = 32  # that one commitment may be opened in


# 1. The commitment -------------------------------------------------------------


@dataclass
class Matrix:
    columns: int  # variables of a row
    levels: int
    work: int
    positions: int
    shown: bool

    @property
    def length(self):
        """Coefficients of a row's code word, its tail included."""
        return (1 << self.columns) + PROOFS * self.positions


def _schedules():
    table = {}
    for line in ROWS.strip().splitlines():
        sizes, columns, levels, work, *positions, fold = (cell.strip() for cell in line.strip("| ").split("|"))
        sizes = [int(n) for n in sizes.replace(",", " to ").split(" to ")]
        for n in range(sizes[0], sizes[-1] + 1):
            for profile, t in zip(("proven-100", "proven-120"), positions, strict=True):
                table[profile, n] = Matrix(int(columns), int(levels), int(work), int(t), fold == "shown")
    return table


SCHEDULES = _schedules()


def rows_of(store, matrix):
    """How many rows there are: those after the last box are zero."""
    used = max(box.offset + (1 << box.vars) for boxes in store.of.values() for box in boxes)
    return -(-used >> matrix.columns)


@dataclass
class Pin:
    """What the key says of the polynomial: its tree, and its value at a point that follows from that."""

    root: bytes
    point: list
    value: E


def read_pin(source, profile, program, plan, key):
    """Step 1 of section 2."""
    need(program.constants, "a Program without constants has none to hide")
    root = source.receive_bytes("weights root", 32)
    (value,) = source.receive("weights value", 1)
    told = b"".join(c.to_bytes(4, "little") for c in value.c)
    need(tagged_hash(ROOT_DOMAIN, root, told) == key, "the constants are pinned otherwise")
    t = Transcript(PIN_DOMAIN)
    t.bytes("profile", profile.encode())
    t.bytes("program", program.digest)
    t.bytes("weights root", root)
    (store,) = plan.weights
    return Pin(root, t.point(store.vars), value)


# 2. The opening ----------------------------------------------------------------


def open_weights(checks, profile, store, root, point, value):
    """Step 4: the committed polynomial has this value, which is hidden, at this point."""
    source, transcript = checks.source, checks.source.transcript
    s = SCHEDULES[profile, store.vars]
    rows = rows_of(store, s)
    a, b = point[: store.vars - s.columns], point[store.vars - s.columns :]
    mask_root = source.receive_bytes("weights mask", 32)
    (mask,) = checks.receive("mask", 1)
    beta = transcript.challenge()
    if s.shown:
        fold = source.receive("fold", s.length)
        folded = dot(fold, eq_table(b))
    else:
        fold_root = source.receive_bytes("fold root", 32)
        (folded,) = source.receive("fold value", 1)
    checks.equal(mask + value * beta, folded, "the opening of the weights")

    # What each place says of the fold's code word.
    positions, leaves = whir.read_columns(source, root, s.levels, s.positions, s.work, rows + zk.SALT)
    masks = whir.read_leaves(source, mask_root, s.levels, positions, DEGREE + zk.SALT)
    generator, factors = root_of_unity(s.levels), zk.coefficients(eq_table(a)[:rows])
    conditions = []
    for position, leaf, (masked, _) in zip(positions, leaves, map(zk.elements, masks), strict=True):
        conditions.append((pow(generator, position, P), masked + beta * zk.weighted(factors, leaf[:rows])))
    if s.shown:
        fold = zk.coefficients(fold)
        for z, expected in conditions:
            at_place = zk.weighted(fold, zk.geometric(z, s.length))
            need(at_place == expected, "the fold is not that of the committed constants")
        return
    zeta = transcript.point(bits(s.length))
    gamma = powers(transcript.challenge(), s.positions + 2)
    claim = folded + dot([expected for _, expected in conditions], gamma[1:])
    places = [z for z, _ in conditions]

    def kernel(x):
        return fold_kernel(b, places, s.length, zeta, gamma, x)

    whir.reduce_fold(source, profile, fold_root, len(zeta), claim, kernel)


def fold_kernel(b, places, length, zeta, gamma, x):
    """K at x: the fold's value at b, its code word at the places, and that it ends after `length` elements."""
    head = len(x) - len(b)
    value = eq([0] * head + b, x)
    words = dot([select(z, x) for z in places], gamma[1:])
    return value + words + gamma[len(places) + 1] * (eq(zeta, x) - eq_below(zeta, x, length))
