"""The verifier of whole proofs, in both modes: `verify`. Section numbers are those of docs/protocol.md."""

from dataclasses import dataclass

from . import weights, whir, zk
from .checks import Clear, Padded
from .field import ONE, P, ZERO, E, eq
from .graph import Plan, bits, reshape_groups, variables
from .multilinear import (
    axis_kernel,
    below,
    concat,
    dot,
    dot_eq,
    eq_below,
    eq_index,
    eq_table,
    evaluate,
    flat_eq,
    powers,
    split,
    total,
    valid,
    weighted_below,
)
from .program import need, tagged_hash
from .sumcheck import sumcheck
from .transcript import Refused, Source, Transcript

DOMAIN = "carat/zk/v1 succinct"
PROFILES = ("proven-100", "proven-120")
HALF = pow(2, -1, P)


@dataclass
class Statement:
    """One statement that a proof covers: its digest, and its values where they are known.

    `inputs` and `outputs` are lists of (dims, values), in the Program's order. `io` is the root of its `io/v1`
    commitment, for a proof that hides values.
    """

    digest: bytes
    inputs: list | None = None
    outputs: list | None = None
    io: bytes | None = None


@dataclass(frozen=True)
class Hidden:
    """What a proof in the mode that hides keeps to itself, besides everything between input and output."""

    values: bool
    weights: bool


def model_key(program, profile, root):
    """The digest that names a model for proofs (docs/proving.md)."""
    return tagged_hash("carat/model-key/v1", program.digest, profile.encode(), root)


# The verifier ----------------------------------------------------------------


def verify(program, profile, root, statements, proof, hidden=None):
    """Refuses the proof (`Refused`), or returns: the weights behind `root` gave each statement's outputs from its inputs.

    The root must have been computed from the weights, by the caller or by somebody whose word the caller takes. `hidden`
    says that the proof is one of the mode that hides (docs/protocol-zk.md), and what. If it hides values, the statements
    are about those under their `io/v1` commitments. If it hides weights (docs/protocol-weights.md), the weights are those
    that the root pins, and a registration (registration.py) must have shown that they are such as the Program says.
    """
    need(profile in PROFILES, "an unknown profile")
    hides_values = hidden is not None and hidden.values
    if hides_values:
        need(all(s.inputs is None and s.outputs is None for s in statements), "values that a proof hides were given")
        need(all(s.io is not None for s in statements), "a statement without an io/v1 commitment")
    else:
        need(any(s.inputs is not None for s in statements), "no statement's values were given")
    for s in statements:
        if s.inputs is not None:
            check_values(program, s)
    plan = Plan(program, len(statements), hidden is not None and hidden.weights)
    # 2. Everything public, before the first message.
    t = Transcript(DOMAIN if hidden is None else zk.DOMAIN)
    if hidden is not None:
        t.bytes("hidden", bytes([hidden.values, hidden.weights]))
    t.bytes("profile", profile.encode())
    t.bytes("program", program.digest)
    t.bytes("weights", root)
    t.bytes("statements", len(statements).to_bytes(8, "little"))
    for s in statements:
        t.bytes("statement", s.digest)
        if hides_values:
            t.bytes("io", s.io)
    source = Source(t, proof)
    v = Verifier(plan, Clear(source) if hidden is None else Padded(source))
    argue(v, program, profile, root, statements, hidden)


def argue(v, program, profile, root, statements, hidden):
    """All messages."""
    plan, source = v.plan, v.checks.source
    hides_values = hidden is not None and hidden.values
    if hidden is not None and hidden.weights:
        v.pin = weights.read_pin(source, profile, program, plan, root)
        roots = [v.pin.root]
    else:
        roots = v.weights_roots(root)
    if hidden is not None:
        pads = source.receive_bytes("pads", 32)
    witness = source.receive_bytes("witness", 32)
    v.edges(statements, hides_values)
    v.lookups()
    v.walk()
    # In the mode that hides, what follows both openings depends on both.
    constants = source.transcript if hidden is not None else source.transcript.fork("constants")
    v.open_all("column", [plan.witness], [witness], profile, "witness")
    if program.constants:
        source.transcript = constants
        v.open_all("constant", plan.weights, roots, profile, "weights")
    need(not any(v.claims), "a claim is left over")
    if hides_values:
        table = zk.IoTable(program)
        for s, claims in zip(statements, v.edge_claims, strict=True):
            zk.open_io(v.checks, profile, table, s.io, claims)
    if hidden is not None:
        zk.check_equations(v.checks, profile, pads)
    source.finish()


def check_values(program, s):
    need(len(s.inputs) == len(program.inputs) and len(s.outputs) == len(program.outputs), "another number of tensors")
    for v, (dims, values) in zip(program.inputs, s.inputs):
        need(tuple(dims) == v.dims, "an input of another shape")
        need(all(v.lo <= x <= v.hi for x in values), "an input outside its range")
    for at, (dims, _) in zip(program.outputs, s.outputs):
        need(tuple(dims) == program.values[at].dims, "an output of another shape")


class Verifier:
    def __init__(self, plan, checks):
        self.plan = plan
        self.graph = plan.graph
        self.nodes = plan.graph.nodes
        self.checks = checks
        self.source = checks.source
        self.claims = [[] for _ in self.nodes]  # of each value: (point, element)
        self.pin = None  # where constants are hidden: what is known of their polynomial
        self.edge_claims = []  # of each statement, where its values are hidden: (tensor, point, element)

    def claim(self, x, point, value):
        assert len(point) == variables(self.nodes[x].dims)
        self.claims[x].append((point, value))

    def take(self, x):
        taken, self.claims[x] = self.claims[x], []
        return taken

    def weights_roots(self, root):
        if len(self.plan.weights) == 1:
            return [root]
        roots = [self.source.receive_bytes("weights root", 32) for _ in self.plan.weights]
        need(tagged_hash("carat/zk-weights/v1", *roots) == root, "the roots of the constants are others")
        return roots

    # 5.3 Edges

    def edges(self, statements, hidden):
        t = self.source.transcript
        self.edge_claims = [[] for _ in statements]
        edges = [(x, "inputs", i) for i, x in enumerate(self.graph.inputs)]
        edges += [(x, "outputs", i) for i, x in enumerate(self.graph.outputs)]
        for tensor, (x, side, index) in enumerate(edges):
            dims = self.nodes[x].dims
            leading = self.nodes[x].kind != "constant"
            slots, own = (dims[0], dims[1:]) if leading else (1, dims)
            point = t.point(variables(own))
            # Public values are sent in the clear in both modes.
            sent = (self.checks if hidden else self.source).receive("edge", slots)
            for slot, s in enumerate(statements):
                element = sent[slot if leading else 0]
                if hidden:
                    self.edge_claims[slot].append((tensor, point, element))
                elif s.inputs is not None:
                    values = getattr(s, side)[index][1]
                    need(evaluate(own, values, point) == element, f"the {side} are others")
            lead = t.point(bits(slots)) if leading else []
            self.claim(x, lead + point, dot_eq(sent, lead))

    # 5.4 Lookups

    def fractions(self):
        """The sum over all leaves is zero, and no denominator is: reduced to both polynomials at one point."""
        checks, t = self.checks, self.source.transcript
        (denominator,) = checks.receive("root denominator", 1)
        checks.not_zero(denominator, "a denominator of the lookups is zero")
        point, numerator = [], ZERO
        for layer in range(self.plan.leaf_vars):
            mu = t.challenge()
            at, left = sumcheck(checks, layer, 3, numerator + mu * denominator)
            n0, n1, d0, d1 = checks.receive("halves", 4)
            right = eq(point, at) * (n0 * d1 + n1 * d0 + mu * (d0 * d1))
            checks.equal(left, right, "a layer of the lookup argument")
            r = t.challenge()
            numerator = n0 + r * (n1 - n0)
            denominator = d0 + r * (d1 - d0)
            point = [r, *at]
        return point, numerator, denominator

    def lookups(self):
        plan, graph, checks = self.plan, self.graph, self.checks
        if not graph.lookups:
            return
        mix = self.source.transcript.challenge()
        alpha = self.source.transcript.challenge()
        point, numerator, denominator = self.fractions()
        # What no block covers is 0/1: one, less every block's weight, is taken off below.
        leaves, under = ZERO, ONE

        def block(i):
            """The weight of a block at the point, and the block's own part of the point."""
            prefix = plan.leaf_vars - plan.leaf_sizes[i]
            return eq_index(point[:prefix], plan.leaf_offsets[i] >> plan.leaf_sizes[i]), point[prefix:]

        def fingerprint(values, table):
            second = values[1] if len(values) > 1 else ZERO
            return values[0] + mix * (second + mix * (table + 1))

        for i, (table, values) in enumerate(graph.lookups):
            weight, own = block(i)
            sent = checks.receive("looked up", len(values))
            for x, value in zip(values, sent):
                self.claim(x, own, value)
            leaves = leaves + weight * valid(self.nodes[values[0]].dims, own)
            under = under + weight * (alpha - fingerprint(sent, table)) - weight
        for i, table in enumerate(graph.tables):
            weight, own = block(len(graph.lookups) + i)
            (multiplicity,) = checks.receive("multiplicity", 1)
            self.claim(table.multiplicity, own, multiplicity)
            held = None
            if table.value is not None:
                (held,) = checks.receive("table", 1)
                self.claim(table.value, own, held)
            leaves = leaves - weight * multiplicity
            under = under + weight * (alpha - fingerprint(table_row(table, own, held), i)) - weight
        checks.equal(leaves, numerator, "the numerators of the lookup argument")
        checks.equal(under, denominator, "the denominators of the lookup argument")

    # 5.5 Walk

    def walk(self):
        for x in reversed(range(len(self.nodes))):
            if self.nodes[x].kind in ("column", "constant"):
                continue
            claims = self.take(x)
            if claims:
                point, value = claims[0] if len(claims) == 1 else self.merge(claims)
                getattr(self, self.nodes[x].kind)(self.nodes[x], point, value)

    def merge(self, claims):
        gamma = powers(self.source.transcript.challenge(), len(claims))
        claim = dot([value for _, value in claims], gamma)
        at, left = sumcheck(self.checks, len(claims[0][0]), 2, claim)
        (value,) = self.checks.receive("merged", 1)
        self.checks.equal(left, dot([eq(point, at) for point, _ in claims], gamma) * value, "the merging of claims")
        return at, value

    def linear(self, node, point, value):
        terms, bias = node.args
        sent = self.checks.receive("terms", len(terms))
        out = valid(node.dims, point) * (bias % P)
        for (c, x), v in zip(terms, sent):
            out = out + v * (c % P)
            self.claim(x, point, v)
        self.checks.equal(out, value, "a linear combination")

    def ramp(self, node, point, value):
        (steps,) = node.args
        parts, out = split(node.dims, point), ZERO
        for a, step in enumerate(steps):
            term = weighted_below(parts[a], node.dims[a]) * (step % P)
            for b, d in enumerate(node.dims):
                if b != a:
                    term = term * below(parts[b], d)
            out = out + term
        self.checks.equal(value, out, "a place")

    def axes(self, node, point, value):
        x, maps = node.args
        source, out = self.nodes[x].dims, split(node.dims, point)
        moved = [not m.copies(s, t) for m, s, t in zip(maps, source, node.dims)]
        at, left = sumcheck(self.checks, sum(bits(s) for s, m in zip(source, moved) if m), 2, value)
        (sent,) = self.checks.receive("mapped", 1)
        kernel, operand, used = ONE, [], 0
        for a, m in enumerate(maps):
            if not moved[a]:
                operand += out[a]
                continue
            part = at[used : used + bits(source[a])]
            used += len(part)
            kernel = kernel * dot_eq(axis_kernel(m, source[a], node.dims[a], eq_table(out[a]), [ONE] * m.taps), part)
            operand += part
        self.checks.equal(left, kernel * sent, "a move along axes")
        self.claim(x, operand, sent)

    def reshape(self, node, point, value):
        (x,) = node.args
        source, out = self.nodes[x].dims, split(node.dims, point)
        groups = reshape_groups(source, node.dims)
        rounds = sum(variables(source[i0:i1]) for (i0, i1), _, free in groups if not free)
        if rounds == 0:
            # Also where a group is not free but has no variables: then it is one element.
            self.claim(x, point, value)
            return
        at, left = sumcheck(self.checks, rounds, 2, value)
        (sent,) = self.checks.receive("reshaped", 1)
        kernel, operand, used = ONE, [], 0
        for (i0, i1), (j0, j1), free in groups:
            own = concat(out[j0:j1])
            if free:
                operand += own
                continue
            dims = source[i0:i1]
            part = at[used : used + variables(dims)]
            used += len(part)
            kernel = kernel * dot(flat_eq(dims, part), flat_eq(node.dims[j0:j1], own))
            operand += part
        self.checks.equal(left, kernel * sent, "a reshape")
        self.claim(x, operand, sent)

    def permute(self, node, point, value):
        x, perm = node.args
        operand = [[]] * len(perm)
        for part, p in zip(split(node.dims, point), perm):
            operand[p] = part
        self.claim(x, concat(operand), value)

    def sum(self, node, point, value):
        x, axes = node.args
        operand, used, scale = [], 0, 1
        for a, d in enumerate(self.nodes[x].dims):
            n = bits(d)
            if a in axes:
                operand += [E.of(HALF)] * n
                scale = scale * pow(HALF, n, P) % P
            else:
                operand += point[used : used + n]
                used += n
        # The sum over a cube is 2^n times the value in its middle.
        self.claim(x, operand, value * scale)

    def mul(self, node, point, value):
        at, left = sumcheck(self.checks, len(point), 3, value)
        sent = self.checks.receive("factors", 2)
        self.checks.equal(left, eq(point, at) * (sent[0] * sent[1]), "a product")
        for x, v in zip(node.args, sent):
            self.claim(x, at, v)

    def contract(self, node, point, value):
        a, b, a_labels, b_labels, out_labels = node.args
        lengths = dict(zip(a_labels, self.nodes[a].dims))
        both = [label for label in a_labels if label in b_labels]
        batch = [label for label in both if label in out_labels]
        shared = batch + [label for label in both if label not in out_labels]
        dims = [lengths[label] for label in shared]
        degree = 3 if any(lengths[label] > 1 for label in batch) else 2
        at, left = sumcheck(self.checks, variables(dims), degree, value)
        sent = self.checks.receive("operands", 2)
        inner = dict(zip(shared, split(dims, at)))
        outer = dict(zip(out_labels, split(node.dims, point)))
        weight = ONE
        for label in batch:
            weight = weight * eq(outer[label], inner[label])
        self.checks.equal(left, weight * (sent[0] * sent[1]), "a contraction")
        for x, labels, v in ((a, a_labels, sent[0]), (b, b_labels, sent[1])):
            self.claim(x, concat(inner[n] if n in inner else outer[n] for n in labels), v)

    def conv(self, node, point, value):
        x, w, maps = node.args
        xd, wd = self.nodes[x].dims, self.nodes[w].dims
        out = split(node.dims, point)  # lead, n, group, M, spatial
        # Over group, channel and taps first, then over positions.
        dims = [wd[0], *wd[2:]]
        at, left = sumcheck(self.checks, variables(dims), 3 if wd[0] > 1 else 2, value)
        weight, window = self.checks.receive("kernel and window", 2)
        group, channel, *taps = split(dims, at)
        self.checks.equal(left, eq(out[2], group) * (weight * window), "a convolution")
        self.claim(w, concat([group, out[3], channel, *taps]), weight)
        spatial = xd[4:]
        at, left = sumcheck(self.checks, variables(spatial), 2, window)
        (sent,) = self.checks.receive("window", 1)
        kernel = ONE
        for a, (m, part) in enumerate(zip(maps, split(spatial, at))):
            along = axis_kernel(m, spatial[a], node.dims[4 + a], eq_table(out[4 + a]), eq_table(taps[a]))
            kernel = kernel * dot_eq(along, part)
        self.checks.equal(left, kernel * sent, "the windows of a convolution")
        self.claim(x, concat([out[0], out[1], group, channel, at]), sent)

    # 5.6 Openings

    def open_all(self, kind, stores, roots, profile, use):
        claims = []
        for x, node in enumerate(self.nodes):
            if node.kind == kind:
                claims += [(x, point, value) for point, value in self.take(x)]
        pin = self.pin if use == "weights" else None
        gamma = powers(self.source.transcript.challenge(), len(claims) + (pin is not None))
        joined = dot([value for _, _, value in claims], gamma)
        if pin:
            joined = joined + gamma[-1] * pin.value
        parts = self.checks.receive("parts", len(stores) - 1)
        parts = [joined - total(parts), *parts]
        for store, root, part in zip(stores, roots, parts):
            at, left = sumcheck(self.checks, store.vars, 2, part)
            # Where constants are not hidden, it is public what they are.
            public = use == "weights" and not pin
            (value,) = (self.source if public else self.checks).receive("opened", 1)
            if use == "weights":
                # Positions within a row come first, then rows.
                row = (store.vars + 1) // 2
                at = at[row:] + at[:row]
            kernel = gamma[-1] * eq(pin.point, at) if pin else ZERO
            for (x, point, _), g in zip(claims, gamma):
                node = self.nodes[x]
                for box in store.of.get(node.args[0], []):
                    kernel = kernel + g * box_kernel(box, node.dims, point, store.vars, at)
            self.checks.equal(left, kernel * value, "the joining of openings")
            if store.vars > whir.MAX_VARIABLES:
                raise Refused("a commitment of a size without parameters")
            if pin:
                weights.open_weights(self.checks, profile, store, root, at, value)
            elif use == "witness" and self.checks.hides:
                zk.open_witness(self.checks, profile, store.vars, root, at, value)
            else:
                whir.verify(self.source, profile, use, store.vars, root, at, value)


def box_kernel(box, dims, point, space, at):
    """What a claim on a tensor asks of one of its boxes, at a point of the whole polynomial."""
    prefix, within = at[: space - box.vars], at[space - box.vars :]
    kernel, used = eq_index(prefix, box.offset >> box.vars), 0
    for side, part in zip(box.sides, split(dims, point)):
        head = len(part) - side.vars
        kernel = kernel * eq_index(part[:head], side.start >> side.vars)
        kernel = kernel * eq_below(part[head:], within[used : used + side.vars], side.length)
        used += side.vars
    return kernel


def table_row(table, point, held):
    """The tuple of a table at a point; past its length a closed form goes on by the same rule, where no multiplicity is.

    A value is zero there.
    """
    everywhere = 1 << len(point)
    start = table.args[0] if table.args else 0
    index = weighted_below(point, everywhere) + start
    if table.kind == "range":
        return [index]
    if table.kind == "value":
        return [index, held]
    if table.kind == "step":
        return [index, 1 - below(point, min(max(-start, 0), everywhere))]
    _, lo, hi = table.args
    first = min(max(lo - start, 0), everywhere)
    end = min(max(hi - start + 1, first), everywhere)
    a, b = below(point, first), below(point, end)
    inside = weighted_below(point, end) - weighted_below(point, first) + (b - a) * (start % P)
    return [index, a * (lo % P) + inside + (1 - b) * (hi % P)]
