"""Multilinear functions: what a verifier evaluates by itself (docs/protocol.md, section 1)."""

from .field import ONE, ZERO, E, eq
from .graph import bits


def split(dims, point):
    """A point cut into one part per axis."""
    parts, at = [], 0
    for d in dims:
        parts.append(point[at : at + bits(d)])
        at += bits(d)
    assert at == len(point)
    return parts


def eq_table(point):
    """eq(point, x) for every index x."""
    table = [ONE]
    for r in point:
        # Later variables are less significant: each entry splits in place.
        table = [half for v in table for high in [v * r] for half in (v - high, high)]
    return table


def bit_at(n, length, i):
    return n >> (length - 1 - i) & 1


def eq_index(point, index):
    product = ONE
    for i, r in enumerate(point):
        product = product * (r if bit_at(index, len(point), i) else 1 - r)
    return product


def total(elements):
    out = ZERO
    for e in elements:
        out = out + e
    return out


def below(point, n):
    """The sum of eq(point, i) over i < n."""
    if n >= 1 << len(point):
        return ONE
    out, prefix = ZERO, ONE
    for i, r in enumerate(point):
        if bit_at(n, len(point), i):
            out = out + prefix * (1 - r)
            prefix = prefix * r
        else:
            prefix = prefix * (1 - r)
    return out


def weighted_below(point, n):
    """The sum of i eq(point, i) over i < n: over each stretch of indices that share the bits above one bit of n."""
    length = len(point)
    # identity[k]: the same over all values of the last k variables.
    identity = [ZERO]
    for k in range(1, length + 1):
        identity.append(identity[-1] + point[length - k] * (1 << (k - 1)))
    if n >= 1 << length:
        return identity[length]
    out, prefix, start = ZERO, ONE, 0
    for i, r in enumerate(point):
        if bit_at(n, length, i):
            rest = length - 1 - i
            out = out + prefix * (1 - r) * (identity[rest] + start)
            prefix = prefix * r
            start += 1 << rest
        else:
            prefix = prefix * (1 - r)
    return out


def eq_below(a, b, n):
    """The sum of eq(a, i) eq(b, i) over i < n."""
    length = len(a)
    if n >= 1 << length:
        return eq(a, b)
    out, prefix = ZERO, ONE
    for i in range(length):
        zero = (1 - a[i]) * (1 - b[i])
        if bit_at(n, length, i):
            out = out + prefix * zero * eq(a[i + 1 :], b[i + 1 :])
            prefix = prefix * a[i] * b[i]
        else:
            prefix = prefix * zero
    return out


def valid(dims, point):
    """One on a tensor's elements, zero on its padding."""
    product = ONE
    for d, part in zip(dims, split(dims, point)):
        product = product * below(part, d)
    return product


def evaluate(dims, values, point):
    """The value at a point of the tensor with these row-major elements."""
    values = [E.of(v) for v in values]
    for d, part in reversed(list(zip(dims, split(dims, point)))):
        weights = eq_table(part)
        values = [dot(values[i : i + d], weights) for i in range(0, len(values), d)]
    return values[0]


def dot(values, weights):
    """The sum of the products; the longer of the two is cut."""
    out = ZERO
    for v, w in zip(values, weights):
        out = out + v * w
    return out


def dot_eq(values, point):
    return dot(values, eq_table(point))


def flat_eq(dims, point):
    """eq(point, index of the element) for each element in row-major order."""
    out = [ONE]
    for d, part in zip(dims, split(dims, point)):
        table = eq_table(part)[:d]
        out = [v * t for v in out for t in table]
    return out


def axis_kernel(m, source, to, out, taps):
    """Per position of the operand's axis: the sum over what reads it of out[j] taps[t]."""
    kernel = [ZERO] * source
    for j, t, i in m.reads(to, source):
        kernel[i] = kernel[i] + out[j] * taps[t]
    return kernel


def powers(g, n):
    out = [ONE]
    for _ in range(n - 1):
        out.append(out[-1] * g)
    return out[:n]


def concat(parts):
    return [x for part in parts for x in part]
