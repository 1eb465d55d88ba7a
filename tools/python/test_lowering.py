#!/usr/bin/env python3
"""Small models of the proof graph: every solution of all lookups modulo p is the honest one.

    python3 tools/python/test_lowering.py [SEED]

Steps that commit to something are lowered as for proofs, but modulo 127 and with limbs of four bits, where everything can
be tried: p is a little less than half of the largest product of two limbs, as it is for KoalaBear. For random ranges
whose certificates hold and random values in them, all columns are searched for all assignments that pass the lookups.
There must be exactly one, with the right result. A shift without its certificate must have a second one, or the search
would see nothing. Needs Python 3.11 and the package `blake3` (which the other modules import). Ends with status 0, or 1.
"""

import pathlib
import random
import sys
from collections import Counter
from math import prod

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from carat_proof import graph  # noqa: E402
from carat_proof.program import shift_round  # noqa: E402
from carat_proof.transcript import Refused  # noqa: E402

P = 127
HALF = 63
WANTED = 250  # models
SEARCHED = 3  # inputs of each


def small():
    """The lowering modulo 127."""
    graph.P, graph.HALF, graph.LIMB, graph.TABLE, graph.WIDEST = P, HALF, 4, 16, 6


class Quotient:
    def __init__(self, bits, rounding):
        self.bits = bits
        self.rounding = rounding

    def of(self, x, d):
        x <<= self.bits
        return x // d if self.rounding == 0 else (2 * x + d) // (2 * d)


class Inputs:
    """A Program with nothing in it but inputs."""

    inputs, constants = (), ()

    def constant_index(self, _):
        return None


def indices(dims, flat):
    out = []
    for d in reversed(dims):
        out.append(flat % d)
        flat //= d
    return out[::-1]


def flat_index(dims, at):
    out = 0
    for d, i in zip(dims, at):
        out = out * d + i
    return out


class Search:
    """All assignments of the columns that pass the lookups."""

    def __init__(self, g, given):
        self.g = g
        self.columns = {(x, i): v % P for x, values in given.items() for i, v in enumerate(values)}
        self.free = [(x, i) for x in g.columns if x not in given for i in range(prod(g.nodes[x].dims))]

    def value(self, x, i, known):
        """An element, None where it depends on what is not assigned yet."""
        if (x, i) not in known:
            known[x, i] = self.evaluate(self.g.nodes[x], x, i, known)
        return known[x, i]

    def evaluate(self, node, x, i, known):
        if node.kind == "column":
            return self.columns.get((x, i))
        if node.kind == "ramp":
            return sum(s * j for s, j in zip(node.args[0], indices(node.dims, i))) % P
        if node.kind == "axes":
            y, maps = node.args
            dims = self.g.nodes[y].dims
            at = [m.step * j + m.start for m, j in zip(maps, indices(node.dims, i))]
            return self.value(y, flat_index(dims, at), known)
        if node.kind == "reshape":
            return self.value(node.args[0], i, known)
        terms, bias = node.args if node.kind == "linear" else ([(1, y) for y in node.args], 0)
        parts = [(c, 0 if c == 0 else self.value(y, i, known)) for c, y in terms]
        if any(v is None for _, v in parts):
            return None
        if node.kind == "linear":
            return (bias + sum(c * v for c, v in parts)) % P
        return parts[0][1] * parts[1][1] % P

    def passes(self):
        known = {}
        for t, values in self.g.lookups:
            for i in range(prod(self.g.nodes[values[0]].dims)):
                row = [self.value(x, i, known) for x in values]
                if row[0] is not None and not self.holds(self.g.tables[t], row, known):
                    return False
        return True

    def holds(self, table, row, known):
        start = table.args[0] if table.args else 0
        at = (row[0] - start) % P
        if table.kind == "value":
            where = []
            for d in reversed(table.dims):
                where.append(at & ((1 << graph.bits(d)) - 1))
                at >>= graph.bits(d)
            if at or any(i >= d for i, d in zip(where[::-1], table.dims)):
                return False
            second = self.value(table.value, flat_index(table.dims, where[::-1]), known)
        elif at >= table.length:
            return False
        elif table.kind == "range":
            return True
        elif table.kind == "step":
            second = int(at + start >= 0)
        else:
            second = min(max(at + start, table.args[1]), table.args[2]) % P
        return None in (row[1], second) or row[1] == second

    def results(self, y):
        """The results of at most two solutions."""
        if not self.passes():
            return []
        if len(self.columns) == self.total():
            return [[self.value(y, i, {}) for i in range(prod(self.g.nodes[y].dims))]]
        place, found = self.free[len(self.columns) - self.given()], []
        for v in range(P):
            self.columns[place] = v
            found += self.results(y)
            if len(found) > 1:
                break
        del self.columns[place]
        return found

    def total(self):
        return sum(prod(self.g.nodes[x].dims) for x in self.g.columns)

    def given(self):
        return self.total() - len(self.free)


def model(kind, chance):
    """The graph, the inputs (column to range), the result, and what it should be."""
    b = graph.Builder(Inputs(), 1)
    width = chance.choice([1, 2, 3, 5, 8, 12, 20, 40, 63])
    lo = chance.choice([-width, -(width // 2), 0, 1, -HALF])
    hi = min(lo + chance.choice([width, 2 * width, 3]), HALF)
    n = chance.choice([1, 2, 2, 3, 4]) if kind == "arg-max" else 1
    x = b.column((1, n), lo, hi)
    if kind == "arg-max":
        y, inputs = b.arg_max(x, 1), [x]
        b.tighten(y, 0, n - 1)
        expected = lambda v: [v.index(max(v))]  # noqa: E731
    elif kind == "gather":
        n = chance.choice([2, 3, 5])
        b = graph.Builder(Inputs(), 1)
        x, at = b.column((1, n, 2), lo, hi), b.column((1, 2), 0, n - 1)
        b.of, inputs = [x, at], [x, at]
        y = b.gather(x, 1, 1, (1, 2, 2))
        expected = lambda v, at: [v[2 * i + j] for i in at for j in (0, 1)]  # noqa: E731
    elif kind == "quotient":
        least = chance.randint(1, 20)
        d = b.column((1, 1), least, min(HALF, least + chance.choice([0, 2, 9])))
        op = Quotient(chance.randrange(4), chance.randrange(2))
        ends = [op.of(v, w) for v in (lo, hi) for w in b.range(d)] + [0] * (lo <= 0 <= hi)
        graph.need(-HALF <= min(ends) <= max(ends) <= HALF, "not exact")
        y, inputs = b.quotient(x, d, op, (1, 1), (min(ends), max(ends))), [x, d]
        if shift := chance.randrange(3):
            y = b.shift(y, shift)
            expected = lambda v, w: [shift_round(op.of(v[0], w[0]), shift)]  # noqa: E731
        else:
            expected = lambda v, w: [op.of(v[0], w[0])]  # noqa: E731
    elif kind == "clamp":
        shift, end = chance.choice([1, 2, 3, 5]), chance.choice([0, 1, 3, 9])
        y, inputs = b.clamped(b.shift(x, shift), -end, end), [x]
        expected = lambda v: [min(max(shift_round(v[0], shift), -end), end)]  # noqa: E731
    else:
        other = b.column((1, 1), max(lo - 5, -HALF), hi)
        y, inputs = b.max(x, other), [x, other]
        expected = lambda v, w: [max(v[0], w[0])]  # noqa: E731
    for q in sorted(b.pending):
        b.bound(q, *b.pending[q])
    b.merge_tables()
    return b.graph, {x: b.range(x) for x in inputs}, y, expected


def counts(chance, wanted):
    """How many models of each kind were searched, and of which kinds one had another solution."""
    seen, wrong, done = Counter(), Counter(), 0
    while done < wanted:
        kind = chance.choice(["arg-max", "gather", "quotient", "quotient", "clamp", "max"])
        try:
            g, inputs, y, expected = model(kind, chance)
        except Refused:
            continue
        for _ in range(SEARCHED):
            values = {
                x: [chance.choice([*r, chance.randint(*r)]) for _ in range(prod(g.nodes[x].dims))]
                for x, r in inputs.items()
            }
            honest = [v % P for v in expected(*values.values())]
            if Search(g, values).results(y) != [honest]:
                wrong[kind] += 1
        seen[kind] += 1
        done += 1
    return seen, wrong


def uncertified(shift):
    """The results of a shift over the whole range, which has a second quotient modulo p."""
    b = graph.Builder(Inputs(), 1)
    x = b.column((1, 1), -HALF, HALF)
    y = b.shift(x, shift)
    b.bound(y, *b.pending[y])
    return Search(b.graph, {x: [-HALF]}).results(y)


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    small()
    seen, wrong = counts(random.Random(seed), WANTED)
    if wrong:
        sys.exit(f"another solution exists: {dict(wrong)}")
    print(f"one solution each: {dict(sorted(seen.items()))}")
    graph.certified = lambda *_: True
    if all(len(uncertified(shift)) == 1 for shift in range(1, 6)):
        sys.exit("the search finds no second solution where there is one")


if __name__ == "__main__":
    main()
