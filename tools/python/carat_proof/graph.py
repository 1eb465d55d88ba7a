"""The proof graph: what both sides derive from a Program and the number of statements (docs/protocol.md, 3 and 4).

`lower` rewrites the Program; `Plan` adds where everything lies. Nothing here looks at a proof.
"""

from dataclasses import dataclass, field, replace
from math import prod

from .field import P
from .program import HALF, I64, clamp, need, shift_round
from .transcript import Refused

LIMB = 16
TABLE = 1 << LIMB
MAX_NODES = 1 << 17
MAX_TABLES = 1 << 10
MAX_TAPS = 1 << 12
MAX_VARS = 26
MAX_STATEMENTS = 1 << 16
MAX_KERNEL = 1 << 20
MAX_OUTPUT_VARS = 24
MAX_BOXES = 64
LEAST_BOX = 1 << 8
LEAD = 255
WIDEST = 30
BLIND = (5,)


def bits(n):
    """The least b with 2^b >= n."""
    return (n - 1).bit_length()


def variables(dims):
    return sum(bits(d) for d in dims)


# Parts of the graph ----------------------------------------------------------


@dataclass(frozen=True)
class AxisMap:
    """One axis of the result reads i = step * j + start + t * dilation of the operand, for each tap t."""

    step: int = 1
    start: int = 0
    taps: int = 1
    dilation: int = 1

    def copies(self, source, to):
        return source == to and (self.step, self.start, self.taps) == (1, 0, 1)

    def reads(self, to, source):
        """(j, t, i) for every position j and tap t that lie on the operand's axis."""
        for j in range(to):
            for t in range(self.taps):
                i = self.step * j + self.start + t * self.dilation
                if 0 <= i < source:
                    yield j, t, i


@dataclass
class Node:
    """kind is the name of the rule; args are its operands and parameters, in the order of `Builder`."""

    kind: str
    args: tuple
    dims: tuple
    lo: int
    hi: int


@dataclass
class Table:
    kind: str  # range, step, clamp, value
    args: tuple  # step: (start,); clamp: (start, lo, hi); value: (start,)
    dims: tuple  # of its multiplicities: one axis, or those of its value
    value: int | None = None  # that it holds
    multiplicity: int | None = None  # value of the column

    @property
    def length(self):
        """Rows of a table in closed form."""
        return self.dims[0]


@dataclass
class Graph:
    nodes: list = field(default_factory=list)
    columns: list = field(default_factory=list)  # value of each column
    shifts: dict = field(default_factory=dict)  # column's value -> (operand, bits)
    tables: list = field(default_factory=list)
    lookups: list = field(default_factory=list)  # (table, tuple of values)
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)


def certified(x, q, shift):
    """Whether x + half = q 2^shift + r has one solution for x and q in these ranges: no two differ by p."""
    unit = 1 << shift
    least = x[0] + unit // 2 - q[1] * unit - (unit - 1)
    most = x[1] + unit // 2 - q[0] * unit
    return -P < least and most < P


# Lowering --------------------------------------------------------------------


class Builder:
    def __init__(self, program, lead):
        self.program = program
        self.lead = lead
        self.graph = Graph()
        self.of = []  # value of the graph for each value of the Program
        self.pending = {}  # shift results that nothing has bounded yet: (range of the operand, bits)

    def node(self, kind, args, dims, lo, hi):
        self.graph.nodes.append(Node(kind, args, tuple(dims), lo, hi))
        return len(self.graph.nodes) - 1

    def column(self, dims, lo, hi):
        value = self.node("column", (len(self.graph.columns),), dims, lo, hi)
        self.graph.columns.append(value)
        return value

    def dims(self, x):
        return self.graph.nodes[x].dims

    def range(self, x):
        n = self.graph.nodes[x]
        return (n.lo, n.hi)

    def linear(self, terms, bias):
        lo = hi = bias
        for c, x in terms:
            ends = [c * v for v in self.range(x)]
            lo += min(ends)
            hi += max(ends)
        return self.node("linear", (terms, bias), self.dims(terms[0][1]), clamp(lo, *I64), clamp(hi, *I64))

    def reshape(self, x, dims):
        if self.dims(x) == tuple(dims):
            return x
        return self.node("reshape", (x,), dims, *self.range(x))

    def axes(self, x, maps, dims, lo, hi):
        source = self.dims(x)
        if all(m.copies(source[a], dims[a]) for a, m in enumerate(maps)):
            return x
        return self.node("axes", (x, maps), dims, lo, hi)

    def aligned(self, v, dims):
        """A Program value as [lead, dims...], repeated along axes of length one."""
        return self.placed(v, 0, dims)

    def placed(self, v, after, dims):
        """As `aligned`, with that many axes of length one behind the value's own."""
        x = self.of[v]
        own = self.dims(x)
        lead, rest = (1, own) if self.program.constant_index(v) is not None else (own[0], own[1:])
        shape = (lead, *(1,) * (len(dims) - len(rest) - after), *rest, *(1,) * after)
        target = (self.lead, *dims)
        x = self.reshape(x, shape)
        maps = [AxisMap(step=int(m == n)) for m, n in zip(shape, target)]
        return self.axes(x, maps, target, *self.range(x))

    def operand(self, v):
        return self.aligned(v, self.program.values[v].dims)

    def table(self, kind, args, length):
        return self.add_table(Table(kind, args, (length,)))

    def value_table(self, start, x):
        return self.add_table(Table("value", (start,), self.dims(x), x))

    def add_table(self, table):
        if table in self.graph.tables:
            return self.graph.tables.index(table)
        self.graph.tables.append(table)
        return len(self.graph.tables) - 1

    def lookup(self, table, *values):
        self.graph.lookups.append((table, values))

    def ranged(self, x, n):
        """x is in 0..2^n."""
        if n <= LIMB:
            self.lookup(self.table("range", (), 1 << n), x)
            return
        high = self.column(self.dims(x), 0, (1 << (n - LIMB)) - 1)
        self.ranged(high, n - LIMB)
        self.ranged(self.linear([(1, x), (-TABLE, high)], 0), LIMB)

    def shift(self, x, n):
        r = self.range(x)
        q = self.column(self.dims(x), shift_round(r[0], n), shift_round(r[1], n))
        self.graph.shifts[q] = (x, n)
        self.ranged(self.linear([(1, x), (-(1 << n), q)], 1 << (n - 1)), n)
        self.pending[q] = (r, n)
        return q

    def bound(self, q, r, n):
        """Bounds a shift result on its own."""
        lo, hi = self.range(q)
        count = hi - lo + 1
        shifted = self.linear([(1, q)], -lo)
        width = max(bits(count), 1)
        if certified(r, (lo, lo + (1 << width) - 1), n):
            self.ranged(shifted, width)
            return
        highs = -(-count // TABLE)
        if count <= TABLE:
            self.lookup(self.table("range", (), count), shifted)
            top = hi
        elif not certified(r, (lo, lo + highs * TABLE - 1), n):
            # Only the exact range will do. q - lo and hi - q are both below 2^width, and their sum hi - lo + p would be
            # more than both can be: so neither is negative.
            self.ranged(shifted, width)
            self.ranged(self.linear([(-1, q)], hi), width)
            top = hi
        else:
            high = self.column(self.dims(q), 0, highs - 1)
            self.lookup(self.table("range", (), highs), high)
            self.ranged(self.linear([(1, shifted), (-TABLE, high)], 0), LIMB)
            top = lo + highs * TABLE - 1
        need(certified(r, (lo, top), n), "a shift has a second quotient modulo p")

    def settle(self, x, domain):
        if x in self.pending and certified(self.pending[x][0], domain, self.pending[x][1]):
            del self.pending[x]

    def relu(self, x):
        lo, hi = self.range(x)
        dims = self.dims(x)
        if lo >= 0:
            return x
        if hi <= 0:
            return self.linear([(0, x)], 0)
        if hi - lo < TABLE:
            table = self.table("clamp", (lo, 0, HALF), hi - lo + 1)
            y = self.column(dims, 0, hi)
            self.lookup(table, x, y)
            return y
        first, last = lo // TABLE, hi // TABLE
        need(hi - first * TABLE < P and (last + 1) * TABLE - lo < P, "a comparison too wide to be exact modulo p")
        table = self.table("step", (first,), last - first + 1)
        high = self.column(dims, first, last)
        sign = self.column(dims, 0, 1)
        self.lookup(table, high, sign)
        self.ranged(self.linear([(1, x), (-TABLE, high)], 0), LIMB)
        return self.node("mul", (sign, x), dims, 0, hi)

    def clamped(self, x, lo, hi):
        a, b = self.range(x)
        if lo <= a and b <= hi:
            return x
        if b - a < TABLE:
            table = self.table("clamp", (a, lo, hi), b - a + 1)
            y = self.column(self.dims(x), clamp(a, lo, hi), clamp(b, lo, hi))
            self.lookup(table, x, y)
            self.settle(x, (a, b))
            return y
        terms = [(1, x)]
        if b > hi:
            terms.append((-1, self.relu(self.linear([(1, x)], -hi))))
        if a < lo:
            terms.append((1, self.relu(self.linear([(-1, x)], lo))))
        y = self.linear(terms, 0)
        self.tighten(y, clamp(a, lo, hi), clamp(b, lo, hi))
        return y

    def tighten(self, x, lo, hi):
        self.graph.nodes[x].lo, self.graph.nodes[x].hi = lo, hi

    def max(self, a, b):
        above = self.relu(self.linear([(1, a), (-1, b)], 0))
        y = self.linear([(1, b), (1, above)], 0)
        (al, ah), (bl, bh) = self.range(a), self.range(b)
        self.tighten(y, max(al, bl), max(ah, bh))
        return y

    def tournament(self, entries):
        """Neighbours meet; one without a neighbour waits."""
        while len(entries) > 1:
            pairs = [entries[i : i + 2] for i in range(0, len(entries), 2)]
            entries = [self.max(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
        return entries[0]

    def reduce_max(self, x, axis):
        """By halves; an odd middle element takes part in both."""
        while self.dims(x)[axis] > 1:
            dims = list(self.dims(x))
            n = dims[axis]
            half = (n + 1) // 2
            dims[axis] = half
            parts = []
            for start in (0, n - half):
                maps = [AxisMap(start=start if a == axis else 0) for a in range(len(dims))]
                parts.append(self.axes(x, maps, tuple(dims), *self.range(x)))
            x = self.max(*parts)
        return x

    def gather(self, x, index, axis, full):
        """y at an element is x at the position that is a known place plus a multiple of the index."""
        dims = self.dims(x)
        strides = [1 << variables(dims[a + 1 :]) for a in range(len(dims))]
        before, after = strides[:axis], strides[axis + 1 :]
        if self.graph.nodes[x].kind == "constant":
            before = [0, *before]
        steps = before + [0] * (len(full) - len(before) - len(after)) + after
        index = self.placed(index, len(after), full[1:])
        ramp = self.node("ramp", (steps,), full, 0, sum(s * (d - 1) for s, d in zip(steps, full)))
        at = self.linear([(strides[axis], index), (1, ramp)], 0)
        table = self.value_table(0, x)
        y = self.column(full, *self.range(x))
        self.lookup(table, at, y)
        return y

    def arg_max(self, x, axis):
        """The maximum of 2^k x + 2^k - 1 - i says in its last k bits where it was: at the lowest i on ties."""
        dims = self.dims(x)
        n = dims[axis]
        if n == 1:
            return self.linear([(0, x)], 0)
        k = bits(n)
        lo, hi = self.range(x)
        need(-HALF <= lo << k and (hi << k) + (1 << k) <= HALF, "the place of a maximum among values too wide for it")
        place = self.node("ramp", ([int(a == axis) for a in range(len(dims))],), dims, 0, n - 1)
        most = self.reduce_max(self.linear([(1 << k, x), (-1, place)], (1 << k) - 1), axis)
        q = self.shift(self.linear([(1, most)], -(1 << k - 1)), k)
        return self.linear([(1 << k, q), (-1, most)], (1 << k) - 1)

    def quotient(self, x, d, op, full, own):
        """u = m 2^bits x + (m - 1) d - m q d lies in 0..m d; m is 1 to round down, and 2 to the nearest."""
        m = 1 + op.rounding
        scale = m << op.bits
        (xl, xh), (dl, dh) = self.range(x), self.range(d)
        n = (scale * xl + (m - 1) * dl, scale * xh + (m - 1) * dh)
        q = self.column(full, *own)

        def unique(lo, hi):
            """With m q d in this range, u modulo p is u."""
            return n[1] - m * lo < P and m * dh - 1 - (n[0] - m * hi) < P

        def admitted(span, both):
            """What the range check lets through; None where there is none."""
            w = span_bits(span)
            if both:
                return span if w < WIDEST else None
            return (span[0], span[0] + (1 << w) - 1) if w <= WIDEST else None

        def times(span):
            ends = [a * b for a in span for b in (dl, dh)]
            return (min(ends), max(ends))

        def parts(k):
            """Ranges of the high limb of q, and of its product with d."""
            least = (n[0] - m * dh) // m - ((1 << k) - 1) * dh
            return ((own[0] >> k, own[1] >> k), (least >> k, (n[1] // m >> k) + 1))

        def certified_limbs(k, both):
            high, part = (admitted(s, both) for s in parts(k))
            if high is None or part is None:
                return False
            lo, hi = times(high)
            exact = hi - part[0] < P and part[1] - lo < P
            return exact and unique(part[0] << k, (part[1] << k) + ((1 << k) - 1) * dh)

        whole = [(scale, x), (m - 1, d)]
        for both in (False, True):
            span = admitted(own, both)
            if span and unique(*times(span)):
                self.between(q, own, both)
                u = self.linear([*whole, (-m, self.product(q, d))], 0)
                break
        else:
            found = [(b, k) for b in (False, True) for k in range(LIMB, 0, -1) if certified_limbs(k, b)]
            need(found, "a quotient of values too wide to be exact modulo p")
            both, k = found[0]
            high, part = parts(k)
            h = self.column(full, *high)
            self.between(h, high, both)
            low = self.linear([(1, q), (-(1 << k), h)], 0)
            self.tighten(low, 0, (1 << k) - 1)
            self.ranged(low, k)
            upper = self.product(h, d)
            self.tighten(upper, *part)
            self.between(upper, part, both)
            lower = self.product(low, d)
            u = self.linear([*whole, (-(m << k), upper), (-m, lower)], 0)
        w = span_bits((0, m * dh - 1))
        need(w < WIDEST, "a quotient by values too wide to be exact modulo p")
        rest = self.linear([(m, d), (-1, u)], -1)
        for side in (u, rest):
            self.tighten(side, 0, m * dh - 1)
            self.ranged(side, w)
        return q

    def between(self, x, span, both):
        w = span_bits(span)
        self.ranged(self.linear([(1, x)], -span[0]), w)
        if both:
            self.ranged(self.linear([(-1, x)], span[1]), w)

    def product(self, a, b):
        ends = [clamp(x * y, *I64) for x in self.range(a) for y in self.range(b)]
        return self.node("mul", (a, b), self.dims(a), min(ends), max(ends))

    def pool(self, x, op, out):
        w = op.window
        lead = len(out) - len(w.kernel)
        lo, hi = self.range(x)
        if op.kind == 0:
            return self.axes(x, [AxisMap()] * lead + window_maps(w), out, -HALF, HALF)
        need(sum(w.kernel) <= MAX_TAPS, "the maximum of windows longer than 4096")
        y = self.linear([(1, x)], -lo)
        for i in range(len(w.kernel)):
            to = list(self.dims(y))
            to[lead + i] = out[lead + i]
            taps = []
            for t in range(w.kernel[i]):
                maps = [AxisMap()] * len(to)
                maps[lead + i] = AxisMap(w.stride[i], t * w.dilation[i] - w.before[i], 1, w.dilation[i])
                taps.append(self.axes(y, maps, tuple(to), 0, hi - lo))
            y = self.tournament(taps)
        return self.linear([(1, y)], lo)

    def step(self, node):
        op, inputs, out = node.op, node.inputs, node.value.dims
        full = (self.lead, *out)
        lo, hi = node.value.lo, node.value.hi
        constant = [self.program.constant_index(v) for v in inputs]
        if op.name == "contract":
            need(LEAD not in op.a + op.b, "the axis label 255")
            # At most one operand stays without a leading axis.
            bare_a = constant[0] is not None
            bare_b = constant[1] is not None and not bare_a
            a = self.of[inputs[0]] if bare_a else self.operand(inputs[0])
            b = self.of[inputs[1]] if bare_b else self.operand(inputs[1])
            labels = (op.a if bare_a else [LEAD, *op.a], op.b if bare_b else [LEAD, *op.b], [LEAD, *op.out])
            return self.node("contract", (a, b, *labels), full, lo, hi)
        if op.name == "conv":
            x = self.operand(inputs[0])
            xd, g = self.dims(x), op.groups
            w = self.of[inputs[1]]
            if constant[1] is None:
                need(self.lead == 1, "a convolution with a kernel that is not constant, over several statements")
                w = self.reshape(w, self.dims(w)[1:])
            wd = self.dims(w)
            x = self.reshape(x, (*xd[:2], g, xd[2] // g, *xd[3:]))
            w = self.reshape(w, (g, wd[0] // g, *wd[1:]))
            grouped = (*full[:2], g, full[2] // g, *full[3:])
            y = self.node("conv", (x, w, window_maps(op.window)), grouped, lo, hi)
            return self.reshape(y, full)
        if op.name == "linear":
            return self.linear([(c, self.aligned(v, out)) for c, v in zip(op.coefficients, inputs)], op.bias)
        if op.name in ("mul", "max"):
            a, b = (self.aligned(v, out) for v in inputs)
            return self.max(a, b) if op.name == "max" else self.node("mul", (a, b), full, lo, hi)
        if op.name == "quotient":
            x, d = (self.aligned(v, out) for v in inputs)
            return self.quotient(x, d, op, full, (lo, hi))
        if op.name == "concat":
            at, axis, terms = 0, op.axis + 1, []
            for v in inputs:
                x = self.operand(v)
                maps = [AxisMap(start=-at if a == axis else 0) for a in range(len(full))]
                at += self.dims(x)[axis]
                low, high = self.range(x)
                terms.append((1, self.axes(x, maps, full, min(low, 0), max(high, 0))))
            return self.linear(terms, 0)
        if op.name == "broadcast":
            return self.aligned(inputs[0], out)
        if op.name == "gather":
            x = self.of[inputs[0]] if constant[0] is not None else self.operand(inputs[0])
            return self.gather(x, inputs[1], op.axis + (constant[0] is None), full)
        x = self.operand(inputs[0])
        if op.name == "sum":
            return self.node("sum", (x, [a + 1 for a in op.axes]), full, lo, hi)
        if op.name == "shift":
            return self.shift(x, op.bits)
        if op.name == "clamp":
            return self.clamped(x, max(op.lo, -HALF), min(op.hi, HALF))
        if op.name == "lut":
            length = prod(self.program.constants[constant[1]].dims)
            table = self.value_table(op.offset, self.of[inputs[1]])
            y = self.column(full, lo, hi)
            self.lookup(table, x, y)
            self.settle(x, (op.offset, op.offset + length - 1))
            return y
        if op.name == "arg-max":
            return self.reshape(self.arg_max(x, op.axis + 1), full)
        if op.name == "reduce-max":
            for a in op.axes:
                x = self.reduce_max(x, a + 1)
            return self.reshape(x, full)
        if op.name == "pool":
            return self.pool(x, op, full)
        if op.name == "reshape":
            return self.reshape(x, full)
        if op.name == "transpose":
            return self.node("permute", (x, [0] + [p + 1 for p in op.perm]), full, lo, hi)
        if op.name == "slice":
            maps = [AxisMap()] + [AxisMap(step=d, start=s) for s, d in zip(op.start, op.step)]
            return self.axes(x, maps, full, lo, hi)
        if op.name == "pad":
            x = x if op.value == 0 else self.linear([(1, x)], -op.value)
            low, high = self.range(x)
            maps = [AxisMap()] + [AxisMap(start=-b) for b in op.before]
            y = self.axes(x, maps, full, min(low, 0), max(high, 0))
            return y if op.value == 0 else self.linear([(1, y)], op.value)
        raise Refused(f"not covered by the reference verifier yet: {op.name}")

    def merge_tables(self):
        """Clamp tables with the same ends become one, unless a certificate would be lost: then all stay."""
        g = self.graph
        tables, target = [], []
        for table in g.tables:
            joined = None
            if table.kind == "clamp":
                start, *ends = table.args
                for i, t in enumerate(tables):
                    if t.kind == "clamp" and list(t.args[1:]) == ends:
                        first = min(t.args[0], start)
                        end = max(t.args[0] + t.length, start + table.length)
                        if end - first <= TABLE:
                            joined = i
                            tables[i] = Table("clamp", (first, *ends), (end - first,))
                            break
            if joined is None:
                joined = len(tables)
                tables.append(replace(table))
            target.append(joined)
        for t, values in g.lookups:
            table = tables[target[t]]
            if table.kind == "clamp" and values[0] in g.shifts:
                x, n = g.shifts[values[0]]
                if not certified(self.range(x), (table.args[0], table.args[0] + table.length - 1), n):
                    return
        g.tables = tables
        g.lookups = [(target[t], values) for t, values in g.lookups]

    def limits(self):
        need(len(self.graph.nodes) <= MAX_NODES, "too many intermediate values")
        need(len(self.graph.tables) <= MAX_TABLES, "too many lookup tables")


def span_bits(span):
    """Bits that hold 0..=hi - lo."""
    return max(bits(span[1] - span[0] + 1), 1)


def window_maps(w):
    return [AxisMap(s, -b, k, d) for s, b, k, d in zip(w.stride, w.before, w.kernel, w.dilation)]


def lower(program, lead):
    b = Builder(program, lead)
    for v in program.inputs:
        x = b.column((lead, *v.dims), v.lo, v.hi)
        b.graph.inputs.append(x)
        b.of.append(x)
    for i, v in enumerate(program.constants):
        b.of.append(b.node("constant", (i,), v.dims, v.lo, v.hi))
    for node in program.nodes:
        x = b.step(node)
        lo, hi = b.range(x)
        b.tighten(x, max(lo, node.value.lo), min(hi, node.value.hi))
        b.of.append(x)
        b.limits()
    for q in sorted(b.pending):
        b.bound(q, *b.pending[q])
        b.limits()
    b.graph.outputs = [b.of[v] for v in program.outputs]
    b.merge_tables()
    for table in b.graph.tables:
        table.multiplicity = b.column(table.dims, 0, HALF)
    return b.graph


# Layout ----------------------------------------------------------------------


def pack(sizes):
    """Offsets of blocks of 2^size positions, largest first, and the logarithm of the space."""
    offsets, end = [0] * len(sizes), 0
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        offsets[i] = end
        end += 1 << sizes[i]
        need(end <= 1 << MAX_VARS, "too many committed or looked-up values")
    return offsets, bits(max(end, 1))


@dataclass
class Side:
    start: int
    vars: int
    length: int


@dataclass
class Box:
    tensor: int
    sides: list
    vars: int
    offset: int = 0


def digits(n):
    """An axis by its binary digits, longest stretch first."""
    out, start = [], 0
    for v in reversed(range(n.bit_length())):
        if n >> v & 1:
            out.append(Side(start, v, 1 << v))
            start += 1 << v
    return out


def cut(tensors):
    """The boxes of all tensors, tensor after tensor, those of one in row-major order."""
    out = []
    for tensor, dims in enumerate(tensors):
        axes = [digits(d) for d in dims]
        most = clamp((1 << variables(dims)) // LEAST_BOX, 1, MAX_BOXES)
        while prod(len(a) for a in axes) > most:
            longest = max(len(a) for a in axes)
            axis = [a for a in axes if len(a) == longest][-1]
            last, before = axis.pop(), axis.pop()
            length = before.length + last.length
            axis.append(Side(before.start, bits(length), length))
        boxes = [[]]
        for axis in axes:
            boxes = [[*b, s] for b in boxes for s in axis]
        out += [Box(tensor, sides, sum(s.vars for s in sides)) for sides in boxes]
    return out


class Store:
    """The boxes of one polynomial."""

    def __init__(self, boxes):
        offsets, self.vars = pack([b.vars for b in boxes])
        self.of = {}
        for box, offset in zip(boxes, offsets):
            box.offset = offset
            self.of.setdefault(box.tensor, []).append(box)


def split_store(tensors):
    boxes = cut(tensors)
    total = max(sum(1 << b.vars for b in boxes), 1)
    floor = total.bit_length() - 1
    over = total - (1 << floor)
    if floor < 13 or over == 0 or over > 1 << (floor - 3):
        return [Store(boxes)]
    first, second, filled = [], [], 0
    for box in sorted(boxes, key=lambda b: -b.vars):
        filled += 1 << box.vars
        (first if filled <= 1 << floor else second).append(box)
    return [Store(first), Store(second)]


def reshape_groups(source, to):
    """The smallest groups of axes with equal numbers of elements: ((i0, i1), (j0, j1), free)."""
    groups, i, j = [], 0, 0
    while i < len(source) or j < len(to):
        i0, j0, a, b = i, j, 1, 1
        if i < len(source) and (j >= len(to) or source[i] == 1):
            a, i = source[i], i + 1
        elif j < len(to) and (i >= len(source) or to[j] == 1):
            b, j = to[j], j + 1
        else:
            a, b, i, j = source[i], to[j], i + 1, j + 1
        while a != b:
            if a < b:
                a, i = a * source[i], i + 1
            else:
                b, j = b * to[j], j + 1

        def exact(dims):
            return all(d & (d - 1) == 0 for d in [d for d in dims if d != 1][1:])

        groups.append(((i0, i), (j0, j), exact(source[i0:i]) and exact(to[j0:j])))
    return groups


class Plan:
    """Everything that both sides derive."""

    def __init__(self, program, lead, hides_weights=False):
        need(1 <= lead <= MAX_STATEMENTS, "too few or too many statements")
        self.lay_out(program, lower(program, lead), hides_weights)

    def lay_out(self, program, graph, hides_weights):
        self.graph = g = graph
        need(sum(self.kernel_entries(n) for n in g.nodes) <= MAX_KERNEL, "moves and windows that take too many steps")
        need(all(variables(g.nodes[x].dims) <= MAX_OUTPUT_VARS for x in g.outputs), "an output in too many variables")
        self.witness = Store(cut([g.nodes[x].dims for x in g.columns]))
        constants = [c.dims for c in program.constants]
        # Hidden constants are one polynomial, with the blind after them (docs/protocol-weights.md, section 1).
        self.weights = [Store(cut([*constants, BLIND]))] if hides_weights else split_store(constants)
        self.leaf_sizes = [variables(g.nodes[values[0]].dims) for _, values in g.lookups]
        self.leaf_sizes += [variables(t.dims) for t in g.tables]
        self.leaf_offsets, self.leaf_vars = pack(self.leaf_sizes)

    def kernel_entries(self, node):
        def axis(m, source, to):
            return to * m.taps + source + (1 << bits(to))

        nodes = self.graph.nodes
        if node.kind == "axes":
            source, maps = nodes[node.args[0]].dims, node.args[1]
            return sum(axis(m, s, t) for m, s, t in zip(maps, source, node.dims) if not m.copies(s, t))
        if node.kind == "conv":
            return sum(axis(m, s, t) for m, s, t in zip(node.args[2], nodes[node.args[0]].dims[4:], node.dims[4:]))
        if node.kind == "reshape":
            source = nodes[node.args[0]].dims
            groups = reshape_groups(source, node.dims)
            return sum(prod(source[f[0] : f[1]]) + prod(node.dims[t[0] : t[1]]) for f, t, free in groups if not free)
        return 0
