"""The proof that hidden constants are such as a Program takes for granted: docs/protocol-weights.md, section 3."""

from math import prod

from .checks import Padded
from .field import P
from .graph import TABLE, WIDEST, Builder, Plan, bits
from .program import HALF, need
from .transcript import Source, Transcript
from .verify import PROFILES, Hidden, Verifier, argue

DOMAIN = "carat/zk/v1 registration"


def verify_registration(program, profile, root, proof):
    """Refuses the proof (`Refused`), or returns: the constants that `root` pins lie in the Program's ranges, and under
    the sums of absolute values that its steps state.
    """
    need(profile in PROFILES, "an unknown profile")
    need(program.constants, "a Program without constants has nothing to register")
    plan = RegistrationPlan(program)
    t = Transcript(DOMAIN)
    t.bytes("profile", profile.encode())
    t.bytes("program", program.digest)
    t.bytes("weights", root)
    argue(Verifier(plan, Padded(Source(t, proof))), program, profile, root, [], Hidden(False, True))


class RegistrationPlan(Plan):
    """The plan of a proof about constants alone: no inputs, no outputs, no leading axis."""

    def __init__(self, program):
        self.lay_out(program, Registration(program).finish(), True)


class Registration(Builder):
    """The graph."""

    def __init__(self, program):
        super().__init__(program, 1)
        for i, v in enumerate(program.constants):
            self.of.append(self.node("constant", (i,), v.dims, v.lo, v.hi))
        # (constant, the axes that its absolute values are added up along, the most that they come to)
        self.sums = []
        for node in program.nodes:
            if getattr(node.op, "l1", None) is None:
                continue
            for side, value in enumerate(node.inputs):
                i = program.constant_index(value)
                if i is not None:
                    self.sums.append((i, summed_axes(node.op, side, program.constants[i].dims), node.op.l1))

    def finish(self):
        summed = {i for i, _, _ in self.sums}
        absolute = {}
        for i, x in enumerate(self.of):
            absolute[i] = self.bounded(x, i in summed)
            self.limits()
        for i, axes, most in self.sums:
            self.added_up(absolute[i], self.program.constants[i], axes, most)
            self.limits()
        for table in self.graph.tables:
            table.multiplicity = self.column(table.dims, 0, HALF)
        return self.graph

    def bounded(self, x, summed):
        """Shows that a constant lies in its range; its absolute values, if they are asked for."""
        lo, hi = self.range(x)
        span = hi - lo
        if summed and lo < 0 < hi and span < TABLE:
            above = self.column(self.dims(x), 0, hi)
            self.lookup(self.table("clamp", (lo, 0, HALF), span + 1), x, above)
            return self.linear([(2, above), (-1, x)], 0)
        self.exactly(x, lo, hi)
        if not summed:
            return None
        if lo >= 0:
            return self.linear([(1, x)], 0)
        if hi <= 0:
            return self.linear([(-1, x)], 0)
        return self.linear([(2, self.relu(x)), (-1, x)], 0)

    def exactly(self, x, lo, hi):
        span = hi - lo
        low = self.linear([(1, x)], -lo)
        if span < TABLE:
            self.lookup(self.table("range", (), span + 1), low)
            return
        width = bits(span + 1)
        need(width < WIDEST, "constants of a range too wide to be shown exactly")
        self.ranged(low, width)
        self.ranged(self.linear([(-1, x)], hi), width)

    def added_up(self, absolute, constant, axes, most):
        width = max(bits(most + 1), 1)
        need(width < WIDEST, "a sum of weights too large to be shown")
        count = prod(constant.dims[a] for a in axes)
        need(count * max(-constant.lo, constant.hi) + (1 << width) < P, "a sum of weights that could wrap modulo p")
        if axes:
            lo, hi = self.range(absolute)
            dims = [d for a, d in enumerate(self.dims(absolute)) if a not in axes]
            absolute = self.node("sum", (absolute, axes), dims, count * lo, count * hi)
        self.ranged(self.linear([(-1, absolute)], most), width)


def summed_axes(op, side, dims):
    """The axes of a constant that do not select an output."""
    if op.name == "conv":
        return list(range(1, len(dims)))
    labels = op.a if side == 0 else op.b
    return [a for a, label in enumerate(labels) if label not in op.out]
