"""Reading a Program: its encoding, and the static rules that proofs rest on.

Every shape and every range that the Program records is derived again here; `docs/protocol.md`, section 2, says how it is
encoded. Operations that no proof covers are refused by name.
"""

import hashlib
from math import prod

from .field import P
from .transcript import Refused

HALF = (P - 1) // 2
PROFILE = "integer/v1"
MAX_RANK = 8
MAX_ELEMENTS = 1 << 28
MAX_COUNT = 1 << 16
MAX_EDGES = 256
MAX_PROGRAM_BYTES = 16 << 20
MAX_DILATED_STARTS = 256
I64 = (-(1 << 63), (1 << 63) - 1)


def need(condition, reason):
    if not condition:
        raise Refused(reason)


def tagged_hash(domain, *parts):
    """SHA-256 over the domain and the parts, each after its length in eight bytes, big-endian."""
    h = hashlib.sha256()
    for part in (domain.encode(), *parts):
        h.update(len(part).to_bytes(8, "big") + part)
    return h.digest()


def narrow(v):
    return min(max(v, I64[0]), I64[1])


def clamp(v, lo, hi):
    return min(max(v, lo), hi)


def shift_round(x, bits):
    """floor((x + 2^(bits-1)) / 2^bits)."""
    return (x + (1 << (bits - 1))) >> bits


# CBOR ------------------------------------------------------------------------


class Reader:
    """Deterministic CBOR of the kinds that Programs use: integers, bytes, texts, arrays, null. Anything else is refused."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, n):
        need(n <= len(self.data) - self.at, "the Program is cut short")
        self.at += n
        return self.data[self.at - n : self.at]

    def item(self, depth=0):
        need(depth < 16, "the Program is nested too deeply")
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if first == 0xF6:
            return None
        if info < 24:
            value = info
        else:
            need(info < 28, "the Program has a length or a number of unknown form")
            width = 1 << (info - 24)
            value = int.from_bytes(self.take(width), "big")
            need(value >= (24 if width == 1 else 1 << (4 * width)), "a number of the Program is not in its shortest form")
        if major == 0:
            return value
        if major == 1:
            return -1 - value
        if major == 2:
            return self.take(value)
        if major == 3:
            try:
                return self.take(value).decode("utf-8")
            except UnicodeDecodeError as e:
                raise Refused("a text of the Program is not UTF-8") from e
        if major == 4:
            need(value <= len(self.data) - self.at, "the Program is cut short")
            return [self.item(depth + 1) for _ in range(value)]
        raise Refused("the Program holds something that Programs do not")


def array(v, n, what):
    need(isinstance(v, list) and len(v) == n, f"{what} has another form")
    return v


def integer(v, lo, hi, what):
    need(type(v) is int and lo <= v <= hi, f"{what} is no number in its range")
    return v


def numbers(v, lo, hi, what):
    need(isinstance(v, list), f"{what} is no list")
    return [integer(x, lo, hi, what) for x in v]


def u8s(v, what):
    return numbers(v, 0, 255, what)


def u32s(v, what):
    return numbers(v, 0, (1 << 32) - 1, what)


def shape(dims):
    """Checks the limits of shapes."""
    need(len(dims) <= MAX_RANK, "a shape has too many axes")
    need(all(d > 0 for d in dims), "a shape has an axis of length zero")
    need(prod(dims) <= MAX_ELEMENTS, "a shape has too many elements")
    return tuple(dims)


def read_shape(v):
    return shape(u32s(v, "a shape"))


def read_range(v):
    lo, hi = array(v, 2, "a range")
    return (integer(lo, *I64, "a range"), integer(hi, *I64, "a range"))


class Window:
    def __init__(self, v):
        fields = [u32s(x, "a window") for x in array(v, 5, "a window")]
        self.kernel, self.stride, self.dilation, self.before, self.after = fields
        need(len({len(f) for f in fields}) == 1, "a window has fields of different lengths")


def optional_sum(fields, n):
    """The last field, a sum of absolute weights, which is left out where there is none."""
    need(len(fields) in (n, n + 1), "an operation has another number of fields")
    return integer(fields[n], 0, (1 << 64) - 1, "a weight sum") if len(fields) > n and fields[n] is not None else None


# Number, name, and how each field is read. Contract and conv stand apart for their optional field.
OPS = {
    2: ("sum", [("axes", lambda v: u8s(v, "axes"))]),
    3: (
        "linear",
        [
            ("coefficients", lambda v: numbers(v, *I64, "coefficients")),
            ("bias", lambda v: integer(v, *I64, "a bias")),
        ],
    ),
    4: ("mul", []),
    5: ("shift", [("bits", lambda v: integer(v, 0, 255, "a shift"))]),
    6: ("clamp", [("lo", lambda v: integer(v, *I64, "a clamp")), ("hi", lambda v: integer(v, *I64, "a clamp"))]),
    7: ("lut", [("offset", lambda v: integer(v, *I64, "an offset"))]),
    8: ("max", []),
    9: ("reduce-max", [("axes", lambda v: u8s(v, "axes"))]),
    10: ("arg-max", [("axis", lambda v: integer(v, 0, 255, "an axis"))]),
    11: ("pool", [("kind", lambda v: integer(v, 0, 1, "a pool")), ("window", Window)]),
    12: (
        "quotient",
        [
            ("bits", lambda v: integer(v, 0, 255, "a quotient")),
            ("rounding", lambda v: integer(v, 0, 1, "a quotient")),
        ],
    ),
    14: ("reshape", [("shape", read_shape)]),
    15: ("transpose", [("perm", lambda v: u8s(v, "a permutation"))]),
    16: (
        "slice",
        [
            ("start", lambda v: u32s(v, "a slice")),
            ("step", lambda v: numbers(v, -(1 << 31), (1 << 31) - 1, "a slice")),
            ("len", lambda v: u32s(v, "a slice")),
        ],
    ),
    17: ("concat", [("axis", lambda v: integer(v, 0, 255, "an axis"))]),
    18: (
        "pad",
        [
            ("before", lambda v: u32s(v, "a pad")),
            ("after", lambda v: u32s(v, "a pad")),
            ("value", lambda v: integer(v, *I64, "a pad")),
        ],
    ),
    19: ("broadcast", [("shape", read_shape)]),
    20: ("gather", [("axis", lambda v: integer(v, 0, 255, "an axis"))]),
}
WITHOUT_PROOF = {13: "inverse-sqrt"}


class Op:
    def __init__(self, v):
        number, fields = array(v, 2, "an operation")
        need(type(number) is int and isinstance(fields, list), "an operation has another form")
        if number == 0:
            self.name = "contract"
            self.l1 = optional_sum(fields, 1)
            self.a, self.b, self.out = (u8s(x, "labels") for x in array(fields[0], 3, "a contraction"))
        elif number == 1:
            self.name = "conv"
            self.l1 = optional_sum(fields, 1)
            window, groups = array(fields[0], 2, "a convolution")
            self.window = Window(window)
            self.groups = integer(groups, 0, (1 << 32) - 1, "groups")
        else:
            need(number not in WITHOUT_PROOF, f"{WITHOUT_PROOF.get(number)} has no proof yet")
            need(number in OPS, "an unknown operation")
            self.name, form = OPS[number]
            for (field, read), value in zip(form, array(fields, len(form), self.name)):
                setattr(self, field, read(value))


class Value:
    """Shape and range of an input, a constant or a result."""

    def __init__(self, dims, bounds, constant=False):
        self.dims = dims
        self.lo, self.hi = bounds
        self.constant = constant

    def valid(self):
        return -HALF <= self.lo <= self.hi <= HALF


class Node:
    def __init__(self, v):
        op, inputs, dims, bounds = array(v, 4, "a node")
        self.op = Op(op)
        self.inputs = u32s(inputs, "operands")
        need(len(self.inputs) <= MAX_COUNT, "a node has too many operands")
        self.value = Value(read_shape(dims), read_range(bounds))


class Program:
    """A Program whose static rules hold."""

    def __init__(self, data):
        need(len(data) <= MAX_PROGRAM_BYTES, "the Program is too large")
        reader = Reader(data)
        profile, body = array(reader.item(), 2, "the Program")
        need(reader.at == len(data), "bytes follow the Program")
        need(profile == PROFILE, "the numerics profile is another")
        inputs, constants, nodes, outputs = array(body, 4, "the Program")
        for part, most in ((inputs, MAX_EDGES), (constants, MAX_COUNT), (nodes, MAX_COUNT), (outputs, MAX_EDGES)):
            need(isinstance(part, list) and len(part) <= most, "the Program has too many of something")
        self.digest = tagged_hash("carat/program/v1", data)
        # What edges mean outside (names, types, encodings) is not the proof's concern; the digest covers it. The image
        # mapping is the last field of an input and may be absent.
        self.inputs = []
        for v in inputs:
            need(isinstance(v, list) and len(v) in (5, 6), "an input has another form")
            self.inputs.append(Value(read_shape(v[2]), read_range(v[3])))
        self.constants = []
        for v in constants:
            dims, bounds, root = array(v, 3, "a constant")
            need(isinstance(root, bytes) and len(root) == 32, "a constant has no root")
            self.constants.append(Value(read_shape(dims), read_range(bounds), constant=True))
        need(all(v.valid() for v in self.inputs + self.constants), "a range is empty or too wide")
        self.nodes = [Node(v) for v in nodes]
        self.values = self.inputs + self.constants
        for i, node in enumerate(self.nodes):
            need(all(v < len(self.values) for v in node.inputs), f"node {i} reads what is not defined yet")
            operands = [self.values[v] for v in node.inputs]
            try:
                dims = derive_shape(node.op, operands)
                bounds = derive_range(node.op, operands, node.inputs)
            except Refused as e:
                raise Refused(f"node {i} ({node.op.name}): {e}") from e
            need(dims == node.value.dims, f"node {i} records another shape")
            need(bounds == (node.value.lo, node.value.hi), f"node {i} records another range")
            need(node.value.valid(), f"node {i} could leave the exact range")
            self.values.append(node.value)
        self.outputs = []
        for v in outputs:
            at = integer(array(v, 5, "an output")[2], 0, len(self.values) - 1, "an output")
            self.outputs.append(at)

    def constant_index(self, value):
        index = value - len(self.inputs)
        return index if 0 <= index < len(self.constants) else None


# Shapes ----------------------------------------------------------------------


def broadcast(a, b):
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    need(all(m == n or 1 in (m, n) for m, n in zip(a, b)), "shapes do not broadcast")
    return shape([max(m, n) for m, n in zip(a, b)])


def positions(w, spatial):
    """How many places a window has along each spatial axis."""
    out = []
    for k, s, d, before, after, n in zip(w.kernel, w.stride, w.dilation, w.before, w.after, spatial, strict=True):
        need(k and s and d, "a kernel, stride or dilation of zero")
        extent = d * (k - 1) + 1
        need(before < extent and after < extent, "padding as wide as the kernel")
        need(n + before + after >= extent, "a kernel larger than its padded operand")
        out.append((n + before + after - extent) // s + 1)
    return out


def misses(w, i, n):
    """Whether some window along an axis of length n has all taps in the padding."""
    stride, dilation, before = w.stride[i], w.dilation[i], w.before[i]
    if dilation <= n:
        return False
    extent = dilation * (w.kernel[i] - 1) + 1
    last = (n + before + w.after[i] - extent) // stride
    starts = min(-(-before // stride), last + 1)
    if starts > MAX_DILATED_STARTS:
        return True
    gaps = [(before - p * stride) % dilation for p in range(starts)]
    return any(g != 0 and dilation - g >= n for g in gaps)


def kept(x, axes):
    need(axes and all(a < b for a, b in zip(axes, axes[1:])) and axes[-1] < len(x), "axes that are not there")
    return shape([d for a, d in enumerate(x) if a not in axes])


def derive_shape(op, operands):
    count = {"contract": 2, "conv": 2, "mul": 2, "lut": 2, "max": 2, "quotient": 2, "gather": 2}.get(op.name, 1)
    if op.name == "linear":
        count = len(op.coefficients)
    elif op.name == "concat":
        count = len(operands)
    need(len(operands) == count > 0, "another number of operands")
    x = operands[0].dims
    if op.name == "contract":
        return contract_shape(op, x, operands[1].dims)
    if op.name in ("conv", "pool"):
        need(len(x) >= 3 and len(op.window.kernel) == len(x) - 2, "another number of spatial axes")
    if op.name == "conv":
        w, g = operands[1].dims, op.groups
        need(len(w) == len(x) and list(w[2:]) == op.window.kernel, "the kernel differs from its weights")
        need(g and x[1] % g == 0 and w[0] % g == 0 and w[1] == x[1] // g, "groups that do not fit")
        return shape([x[0], w[0], *positions(op.window, x[2:])])
    if op.name == "pool":
        dims = [*x[:2], *positions(op.window, x[2:])]
        shape(op.window.kernel)
        if op.kind == 1:
            need(not any(misses(op.window, i, n) for i, n in enumerate(x[2:])), "a window that holds no element")
        return shape(dims)
    if op.name in ("sum", "reduce-max"):
        return kept(x, op.axes)
    if op.name == "arg-max":
        return kept(x, [op.axis])
    if op.name == "gather":
        need(op.axis < len(x), "an axis that is not there")
        return shape([*x[: op.axis], *operands[1].dims, *x[op.axis + 1 :]])
    if op.name in ("linear", "mul", "max", "quotient"):
        for v in operands[1:]:
            x = broadcast(x, v.dims)
        return x
    if op.name in ("shift", "clamp"):
        return x
    if op.name == "lut":
        table = operands[1]
        need(table.constant and len(table.dims) == 1 and table.dims[0] <= 1 << 16, "a table of another form")
        return x
    if op.name == "reshape":
        need(prod(op.shape) == prod(x), "another number of elements")
        return op.shape
    if op.name == "transpose":
        need(sorted(op.perm) == list(range(len(x))), "no permutation of the axes")
        return shape([x[p] for p in op.perm])
    if op.name == "slice":
        need(len(op.start) == len(op.step) == len(op.len) == len(x), "another number of axes")
        for s, d, n, dim in zip(op.start, op.step, op.len, x):
            need(d != 0 and n != 0 and s < dim and 0 <= s + d * (n - 1) < dim, "a slice that leaves an axis")
        return shape(op.len)
    if op.name == "concat":
        need(op.axis < len(x), "an axis that is not there")
        dims = list(x)
        for v in operands[1:]:
            need(len(v.dims) == len(x), "operands that do not join")
            need(all(a == op.axis or m == n for a, (m, n) in enumerate(zip(x, v.dims))), "operands that do not join")
            dims[op.axis] += v.dims[op.axis]
        return shape(dims)
    if op.name == "pad":
        need(len(op.before) == len(op.after) == len(x), "another number of axes")
        return shape([b + d + a for b, d, a in zip(op.before, x, op.after)])
    if op.name == "broadcast":
        need(broadcast(x, op.shape) == op.shape, "a shape that cannot be reached")
        return op.shape
    raise Refused(f"not covered by the reference verifier yet: {op.name}")


def contract_shape(op, a, b):
    need(len(op.a) == len(a) and len(op.b) == len(b), "labels for other axes")
    for labels in (op.a, op.b, op.out):
        need(len(set(labels)) == len(labels), "a label twice in one tensor")
    length = dict(zip(op.a, a))
    for label, d in zip(op.b, b):
        need(length.setdefault(label, d) == d, "one axis with two lengths")
    for label in length:
        need((label in op.a and label in op.b) or label in op.out, "a sum over an axis of one operand only")
    need(all(label in length for label in op.out), "an output axis that no operand has")
    return shape([length[label] for label in op.out])


# Ranges ----------------------------------------------------------------------


def union(a, b):
    return (min(a[0], b[0]), max(a[1], b[1]))


def scale(r, c):
    ends = (narrow(r[0] * c), narrow(r[1] * c))
    return (min(ends), max(ends))


def times(a, b):
    products = [narrow(x * y) for x in a for y in b]
    return (min(products), max(products))


def divided(n, d, op):
    scaled = n << op.bits
    return scaled // d if op.rounding == 0 else (2 * scaled + d) // (2 * d)


def bounds_of(v):
    return (v.lo, v.hi)


def product_sum(a, b, depth, l1):
    if l1 is not None:
        need(a.constant != b.constant, "a weight sum without exactly one constant operand")
        need(l1 <= I64[1], "a weight sum that is absurd")
        x = b if a.constant else a
        most = narrow(l1 * max(abs(x.lo), abs(x.hi)))
        return (-most, most)
    return union(scale(times(bounds_of(a), bounds_of(b)), min(depth, I64[1])), (0, 0))


def derive_range(op, operands, ids):
    x = bounds_of(operands[0])
    if op.name == "contract":
        depth = prod(d for label, d in zip(op.a, operands[0].dims) if label not in op.out)
        return product_sum(*operands, depth, op.l1)
    if op.name == "conv":
        return product_sum(*operands, prod(operands[1].dims[1:]), op.l1)
    if op.name == "sum":
        return scale(x, prod(operands[0].dims[a] for a in op.axes))
    if op.name == "linear":
        lo = hi = op.bias
        for c, v in zip(op.coefficients, operands):
            lo += min(c * v.lo, c * v.hi)
            hi += max(c * v.lo, c * v.hi)
        return (narrow(lo), narrow(hi))
    if op.name == "mul":
        if ids[0] == ids[1]:
            square = times(x, x)
            return (0, square[1]) if x[0] <= 0 <= x[1] else square
        return times(x, bounds_of(operands[1]))
    if op.name == "shift":
        need(1 <= op.bits <= 30, "a shift by another number of bits than 1 to 30")
        return (shift_round(x[0], op.bits), shift_round(x[1], op.bits))
    if op.name == "clamp":
        need(op.lo <= op.hi, "a clamp to an empty interval")
        return (clamp(x[0], op.lo, op.hi), clamp(x[1], op.lo, op.hi))
    if op.name == "lut":
        last = narrow(op.offset + operands[1].dims[0] - 1)
        need(op.offset <= x[0] and x[1] <= last, "an index that leaves the table")
        return bounds_of(operands[1])
    if op.name == "max":
        y = operands[1]
        return (max(x[0], y.lo), max(x[1], y.hi))
    if op.name == "arg-max":
        return (0, operands[0].dims[op.axis] - 1)
    if op.name == "quotient":
        d = operands[1]
        need(op.bits <= 30, "a quotient with more than 30 fraction bits")
        need(d.lo >= 1, "a divisor that is not positive")
        ends = [divided(n, m, op) for n in x for m in (d.lo, d.hi)]
        return union((min(ends), max(ends)), (0, 0) if x[0] <= 0 <= x[1] else (ends[0], ends[0]))
    if op.name == "gather":
        index = operands[1]
        need(0 <= index.lo and index.hi < operands[0].dims[op.axis], "an index that leaves the axis")
        return x
    if op.name == "pool" and op.kind == 0:
        full = narrow(prod(op.window.kernel))
        r = scale(x, full)
        pads = any(op.window.before) or any(op.window.after)
        return union(union(r, x), (0, 0)) if pads else r
    if op.name == "concat":
        for v in operands[1:]:
            x = union(x, bounds_of(v))
        return x
    if op.name == "pad":
        return union(x, (op.value, op.value))
    return x


# Tensors ---------------------------------------------------------------------

MAGIC = b"caratT1\0"


def read_tensors(data):
    """[(dims, values)] from the bytes that commitments are made over (docs/receipt.md)."""
    need(data[:8] == MAGIC, "not an encoding of tensors")
    at = 8

    def words(n, signed=False):
        nonlocal at
        need(4 * n <= len(data) - at, "the tensors are cut short")
        at += 4 * n
        return [int.from_bytes(data[i : i + 4], "little", signed=signed) for i in range(at - 4 * n, at, 4)]

    tensors = []
    for _ in range(words(1)[0]):
        rank = words(1)[0]
        need(rank <= MAX_RANK, "a shape has too many axes")
        dims = shape(words(rank))
        values = words(prod(dims), signed=True)
        need(all(abs(v) <= HALF for v in values), "a value outside the exact range")
        tensors.append((dims, values))
    need(at == len(data), "bytes follow the tensors")
    return tensors
