"""What the mode that hides has of its own: the witness's commitment, `io/v1` commitments, and the proof that the
equations hold. Section numbers are those of docs/protocol-zk.md.
"""

from dataclasses import dataclass
from operator import mul

from . import whir
from .field import DEGREE, F_BYTES, ONE, P, ZERO, E, eq, root_of_unity
from .graph import pack, variables
from .multilinear import dot, eq_index, eq_table, total
from .program import need, tagged_hash
from .sumcheck import sumcheck
from .transcript import Refused
from .zk_schedules import WITNESS

DOMAIN = "carat/zk/v1 zk"

SALT = 5  # elements of F in a salt of the trees of this page

# 5. Inputs and outputs: of io/v1, and of its openings.
IO_ROW_VARS, IO_COEFFICIENTS, IO_LEVELS, IO_MOST_COLUMN_VARS = 8, 512, 12, 16
IO_WORK = {"proven-100": 10, "proven-120": 14}
IO_POSITIONS = {"proven-100": 73, "proven-120": 85}
IO_MOST_COMMITTED = 3  # variables of the columns of a table that is committed to with the pads

# 6. The equations.
ROW_VARS = 7
ROW = 1 << ROW_VARS
PAD_LEVELS, PAD_WORK, SHIFT = 13, 10, 3
PAD_POSITIONS = {"proven-100": 48, "proven-120": 60}


# Arithmetic on many numbers at once --------------------------------------------


def coefficients(elements):
    """Elements of E as five lists of numbers, for `weighted`."""
    return [[e.c[k] for e in elements] for k in range(DEGREE)]


def weighted(lists, numbers):
    """The sum of the elements, each times its number in F."""
    return E(tuple([sum(map(mul, column, numbers)) % P for column in lists]))


def geometric(z, n):
    """1, z, .., z^(n-1)."""
    out = [1]
    for _ in range(n - 1):
        out.append(out[-1] * z % P)
    return out


def elements(flat):
    return [E(tuple(flat[i : i + DEGREE])) for i in range(0, len(flat), DEGREE)]


# 4. The witness ----------------------------------------------------------------


@dataclass
class Matrix:
    levels: int
    work: int
    positions: int


def _schedules():
    table = {}
    for row in WITNESS.split("\n"):
        if row:
            n, levels, work, *positions = (int(cell) for cell in row.strip("| ").split("|"))
            for profile, t in zip(("proven-100", "proven-120"), positions, strict=True):
                table[profile, n] = Matrix(levels, work, t)
    return table


SCHEDULES = _schedules()


def open_witness(checks, profile, n, root, point, value):
    """The committed polynomial has this value, which is hidden, at this point."""
    source, transcript = checks.source, checks.source.transcript
    s = SCHEDULES[profile, n]
    columns = min(n, n // 2 + 2)
    rows, length = n - columns, 1 << columns
    a, b = point[:rows], point[rows:]
    (mask,) = checks.receive("mask", 1)
    beta = transcript.challenge()
    fold = source.receive("fold", length + s.positions)
    checks.equal(mask + value * beta, dot(fold, eq_table(b)), "the fold does not give the value")
    positions, leaves = whir.read_columns(source, root, s.levels, s.positions, s.work, (1 << rows) + DEGREE + SALT)
    generator = root_of_unity(s.levels)
    weights, fold = coefficients(eq_table(a)), coefficients(fold)
    for position, leaf in zip(positions, leaves):
        own, (masked, _) = leaf[: 1 << rows], elements(leaf[1 << rows :])
        z = pow(generator, position, P)
        if weighted(fold, geometric(z, length + s.positions)) != masked + beta * weighted(weights, own):
            raise Refused("the fold is not that of the committed rows")


# 5. Inputs and outputs ---------------------------------------------------------


class IoTable:
    """Where the tensors of a Program lie under an `io/v1` root (docs/io-commitment.md)."""

    def __init__(self, program):
        dims = [v.dims for v in program.inputs] + [program.values[x].dims for x in program.outputs]
        self.sizes = [variables(d) for d in dims]
        self.offsets, space = pack(self.sizes)
        self.columns = max(space - IO_ROW_VARS, 2)
        need(self.columns <= IO_MOST_COLUMN_VARS, "more values than an io/v1 commitment can hold")
        self.vars = IO_ROW_VARS + self.columns
        self.program = program.digest

    def weight(self, tensor, point, at):
        """What a claim on a tensor at a point asks of the table at another."""
        prefix = self.vars - self.sizes[tensor]
        place = eq_index(at[:prefix], self.offsets[tensor] >> self.sizes[tensor])
        return place * eq(at[prefix:], point)


def open_io(checks, profile, table, root, claims):
    """The claims, (tensor, point, hidden value), are right about the values under the root."""
    source, transcript = checks.source, checks.source.transcript
    gamma, power, claim = transcript.challenge(), ONE, ZERO
    powers = []
    for _, _, value in claims:
        powers.append(power)
        claim = claim + value * power
        power = power * gamma
    at, left = sumcheck(checks, table.vars, 2, claim)
    (value,) = checks.receive("table", 1)
    kernel = total(g * table.weight(tensor, point, at) for (tensor, point, _), g in zip(claims, powers))
    checks.equal(left, value * kernel, "the joining of claims on inputs and outputs")

    a, b = at[:IO_ROW_VARS], at[IO_ROW_VARS:]
    weights = eq_table(b)
    if table.columns <= IO_MOST_COMMITTED:
        fold = checks.secret_rows(IO_COEFFICIENTS, weights)
    else:
        fold = checks.receive("folded", IO_COEFFICIENTS)
    own = checks.weighted(fold[: 1 << IO_ROW_VARS], eq_table(a))
    checks.equal(value, own, "the fold does not give the value")
    positions = whir.draw_positions(source, IO_LEVELS, IO_POSITIONS[profile], IO_WORK[profile])
    leaves = read_io_leaves(source, table, root, positions)
    generator, weights = root_of_unity(IO_LEVELS), coefficients(weights)
    for position, leaf in zip(positions, leaves):
        word = checks.weighted(fold, geometric(pow(generator, position, P), IO_COEFFICIENTS))
        checks.equal(word, weighted(weights, leaf), "the fold is not that of the commitment")


def read_io_leaves(source, table, root, positions):
    """Step 4: the leaves at these positions, which are those of the root."""
    width = 1 << table.columns
    at = source.at
    flat = source.take_f(len(positions) * width)
    source.transcript.bytes("io leaves", source.proof[at : source.at])
    salts = source.receive_bytes("io salts", 32 * len(positions))
    leaves, nodes = [], {}
    for i, position in enumerate(positions):
        leaf = flat[i * width : (i + 1) * width]
        row = b"".join(v.to_bytes(F_BYTES, "little") for v in leaf)
        digest = tagged_hash("carat/io-leaf/v1", salts[32 * i : 32 * i + 32], row)
        need(nodes.setdefault(position, digest) == digest, "one position is opened with two rows")
        leaves.append(leaf)
    for _ in range(IO_LEVELS):
        missing = sorted({i ^ 1 for i in nodes} - nodes.keys())
        digests = source.receive_bytes("io siblings", 32 * len(missing))
        nodes.update((i, digests[32 * k : 32 * k + 32]) for k, i in enumerate(missing))
        nodes = {i: tagged_hash("carat/io-node/v1", nodes[2 * i], nodes[2 * i + 1]) for i in {i // 2 for i in nodes}}
    top = tagged_hash("carat/io/v1", table.program, bytes([table.columns]), nodes[0])
    need(top == root, "the leaves are not those of the io/v1 commitment")
    return leaves


# 6. The equations --------------------------------------------------------------


def rows_of(values):
    """Rows of 128, what is left over filled with zero."""
    values = values + [ZERO] * (-len(values) % ROW)
    return [values[i : i + ROW] for i in range(0, len(values), ROW)]


def arrange(pads, x, y, z):
    """The rows of elements of E: products under their factors, and pads from where the last of them end."""
    rows = []
    for k in range(0, len(z), ROW):
        rows += [part[k : k + ROW] for part in (x, y, z)]
    at = 0
    for row in rows[-3:]:
        free = ROW - len(row)
        row += pads[at : at + free]
        at += free
    return [row + [ZERO] * (ROW - len(row)) for row in rows] + rows_of(pads[at:])


class Equations:
    """Step 2: what all equations together, combined by the powers of tau, ask of the rows."""

    def __init__(self, tape, tau):
        self.constant, pads, products, secrets, power = tape.combine(tau)
        factors = [[], []]
        for _, *pair in tape.products:
            for side, pad in enumerate(pair):
                power = power * tau
                factors[side].append(power)
                pads[pad] = pads[pad] - power
        curved = []
        for _ in products:
            power = power * tau
            curved.append(power)
        wide = arrange(pads, *factors, products)
        self.wide = len(wide)
        # Of each row the factors of its elements; of each block of products theirs.
        self.linear = [coefficients(row) for row in wide + rows_of(secrets)]
        self.products = [coefficients(row) for row in rows_of(curved)]

    def rows(self, leaf):
        """What the rows are where a leaf begins with these numbers."""
        wide = self.wide * DEGREE
        return elements(leaf[:wide]) + [ONE * v for v in leaf[wide:]]

    def at(self, basis, rows):
        """Step 3's polynomial but for S: at a place where the polynomials that are one on one element of H and zero on
        the others have the values `basis`, and the rows the values `rows`.
        """
        out = total(row * weighted(c, basis) for c, row in zip(self.linear, rows, strict=True))
        for k, p in enumerate(self.products):
            x, y, z = rows[3 * k : 3 * k + 3]
            out = out + weighted(p, basis) * (x * y - z)
        return out


def lagrange(z):
    """At a place z outside H: for each element of H, in order, the polynomial that is one there and zero on the rest."""
    h = root_of_unity(ROW_VARS)
    top = (pow(z, ROW, P) - 1) * pow(ROW, -1, P) % P
    return [top * x * pow(z - x, -1, P) % P for x in geometric(h, ROW)]


def check_equations(checks, profile, root):
    """The pads under the root make every equation hold."""
    source, transcript = checks.source, checks.source.transcript
    t = PAD_POSITIONS[profile]
    tau, rho = transcript.challenge(), transcript.challenge()
    equations = Equations(checks.tape, tau)
    own = equations.wide * DEGREE + len(equations.linear) - equations.wide
    combination = source.receive("combination", ROW + t)
    summed = source.receive("sum", 3 * ROW + 2 * t - 2)
    need(total(summed[::ROW]) * ROW == -equations.constant, "an equation does not hold")
    width = own + 2 * DEGREE + SALT
    positions, leaves = whir.read_columns(source, root, PAD_LEVELS, t, PAD_WORK, width)
    generator = root_of_unity(PAD_LEVELS)
    combination, summed = coefficients(combination), coefficients(summed)
    for position, leaf in zip(positions, leaves):
        rows = equations.rows(leaf[:own])
        masked, masked_sum, _ = elements(leaf[own:])
        z = SHIFT * pow(generator, position, P) % P
        expected, power = masked, ONE
        for row in rows:
            power = power * rho
            expected = expected + power * row
        need(weighted(combination, geometric(z, ROW + t)) == expected, "the rows of pads are no code words")
        expected = masked_sum + equations.at(lagrange(z), rows)
        need(weighted(summed, geometric(z, 3 * ROW + 2 * t - 2)) == expected, "the equations are others")
