"""The polynomial commitment: `verify` reads and checks one opening. Section numbers are those of docs/protocol-whir.md."""

from blake3 import blake3

from .field import DEGREE, ONE, P, ZERO, E, MONTGOMERY, eq, evaluate, powers, root_of_unity, select
from .keccak import keccak256
from .multilinear import dot
from .transcript import Refused
from .whir_schedules import ROWS, WEIGHTS

DIRECT_DOMAIN = b"carat/zk/direct/v1"
MAX_DIRECT = 13
MAX_VARIABLES = 27


# 2. Parameters ---------------------------------------------------------------


class Schedule:
    """A row of the table: all integers of one size."""

    def __init__(self, n, rates, folds, samples, fold_work, queries, query_work, last, level, budget):
        self.n = n
        self.rates = rates
        self.folds = folds
        self.samples = samples
        self.fold_work = fold_work
        self.queries = queries
        self.query_work = query_work
        self.last = last
        self.level = level
        self.budget = budget
        # Variables of each committed polynomial, and the logarithm of the leaves of its tree.
        self.variables = [n - sum(folds[:i]) for i in range(len(folds))]
        self.leaves = [m + r - k for m, r, k in zip(self.variables, rates, folds)]
        assert self.variables[-1] - folds[-1] == last


def _numbers(text):
    return [int(v) for v in text.split()]


def _schedules():
    table = {}
    for row in ROWS.split("\n"):
        if row:
            profile, use, n, *lists, last, level, budget = (cell.strip() for cell in row.strip("| ").split("|"))
            table[profile, use, int(n)] = Schedule(int(n), *map(_numbers, lists), int(last), int(level), int(budget))
    return table


SCHEDULES = _schedules()


class MatrixSchedule:
    """A row of the table of section 8."""

    def __init__(self, n, rows, rate, queries, work, fold):
        self.rows = int(rows)
        self.columns = n - self.rows
        self.levels = self.columns + int(rate)
        self.queries = int(queries)
        self.work = int(work)
        self.shown = fold == "shown"


def _weights():
    table = {}
    for row in WEIGHTS.split("\n"):
        if row:
            profile, _, n, *cells = (cell.strip() for cell in row.strip("| ").split("|"))
            table[profile, int(n)] = MatrixSchedule(int(n), *cells)
    return table


WEIGHTS_SCHEDULES = _weights()


# 3. Seeds --------------------------------------------------------------------

F_TYPE = f"Algebra({P}^1;{keccak256(b'p3-scalar-basis-v1').hex()})"
E_TYPE = f"Algebra({P}^{DEGREE};{keccak256(b'p3-power-basis-v1:X^5+X^2-1').hex()})"


def step(kind, label, length, of, hierarchy="Atomic"):
    return (hierarchy, f"{hierarchy} {kind} {len(label)} {label} {length} {of}")


def bracket(label):
    return [step("Protocol", label, "None", "Marker", h) for h in ("Begin", "End")]


def work_step(label, bits):
    return [step("Pow", label, f"Fixed({bits})", F_TYPE)] if bits else []


def u64(value):
    return value.to_bytes(8, "big")


def seed(transcript, version, name, steps, label):
    """Absorbs what a part of the protocol is: its name, its steps, and the chunks of its label."""
    width = len(str(max(len(steps) - 1, 0)))
    text = f"Plonky3 Fiat-Shamir Transcript ({len(steps)} interactions)\n"
    for position, (hierarchy, line) in enumerate(steps):
        # Only a Begin is ever followed by its End, so nothing stands inside and nothing is indented.
        text += f"{position:0{width}} {line}\n"
    label = b"".join(len(chunk).to_bytes(4, "big") + chunk for chunk in label)
    data = bytes([version]) + name + bytes(62 - len(name)) + bytes([len(name)])
    data += keccak256(text.encode()) + len(label).to_bytes(4, "big") + label + b"\x80"
    transcript.observe_f(len(data))
    for i in range(0, len(data), 3):
        transcript.observe_f(int.from_bytes(data[i : i + 3], "little"))


def layout_label(n):
    """One table of one column in n variables, first variable folded first."""
    return [u64(n), b"\x01", b"\x00", u64(1), u64(n), u64(1)]


def whir_steps(s):
    steps = bracket("initial_fold")
    for i in range(1, len(s.folds)):
        steps.append(step("Message", "commitment", "Scalar", "Opaque"))
        for _ in range(s.samples[i]):
            steps.append(step("Challenge", "ood_point", "Scalar", E_TYPE))
            steps.append(step("Message", "ood_answer", "Scalar", E_TYPE))
        steps += work_step("query_pow", s.query_work[i - 1])
        steps += index_step("query_indices", s, i - 1)
        steps.append(step("Challenge", "round_batching", "Scalar", E_TYPE))
        steps += bracket("round_fold")
    steps.append(step("Message", "final_poly", f"Fixed({1 << s.last})", E_TYPE))
    steps += work_step("final_query_pow", s.query_work[-1])
    steps += index_step("final_query_indices", s, len(s.folds) - 1)
    return steps + (bracket("final_fold") if s.last else [])


def index_step(label, s, i):
    if s.queries[i] >= 1 << s.leaves[i]:
        return []
    return [step("Challenge", label, f"Fixed({s.queries[i]})", f"UniformBits({s.leaves[i]})")]


def whir_label(s):
    label = [u64(v) for v in (s.n, s.samples[0], 1, 1 << s.folds[0], s.level, s.budget, s.rates[0], 1)]
    label += [u64(2), u64(len(s.folds)), *map(u64, s.folds)]
    label += [u64(s.folds[0]), u64(s.fold_work[0]), u64(s.last), u64(0), u64(len(s.folds) - 1)]
    for i in range(1, len(s.folds)):
        label += [u64(s.rates[i]), u64(s.folds[i]), u64(s.fold_work[i])]
    return label


# 5. Reading ------------------------------------------------------------------


class Sumcheck:
    def __init__(self, source, rounds, work):
        self.work = work
        self.rounds = []
        for _ in range(rounds):
            at_zero, leading = source.take_e(2)
            self.rounds.append((at_zero, leading, source.take_f(1)[0] if work else None))


class Rows:
    """Opened rows of one tree, and the siblings of their paths."""

    def __init__(self, source, s, i):
        count = min(s.queries[i], 1 << s.leaves[i])
        width = 1 << s.folds[i]
        self.witness = source.take_f(1)[0] if s.query_work[i] else 0
        values = source.take_f(count * width) if i == 0 else source.take_e(count * width)
        self.rows = [values[j : j + width] for j in range(0, len(values), width)]
        siblings = int.from_bytes(source.take(4), "little")
        if siblings > sum(min(count, 1 << level) for level in range(s.leaves[i])):
            raise Refused("more siblings than paths can have")
        self.siblings = [source.take(32) for _ in range(siblings)]


class Opening:
    def __init__(self, source, s):
        self.samples = source.take_e(s.samples[0])
        self.initial = Sumcheck(source, s.folds[0], s.fold_work[0])
        self.rounds = []
        for i in range(1, len(s.folds)):
            root = source.take(32)
            samples = source.take_e(s.samples[i])
            rows = Rows(source, s, i - 1)
            self.rounds.append((root, samples, rows, Sumcheck(source, s.folds[i], s.fold_work[i])))
        self.values = source.take_e(1 << s.last)
        self.rows = Rows(source, s, len(s.folds) - 1)
        self.last = Sumcheck(source, s.last, 0) if s.last else None


# 6. Trees --------------------------------------------------------------------


def leaf(row):
    flat = [v for e in row for v in (e.c if isinstance(e, E) else (e,))]
    return blake3(b"".join((v * MONTGOMERY % P).to_bytes(4, "little") for v in flat)).digest()


def check_tree(root, levels, indices, opened):
    """The rows are the leaves at these indices of the tree with this root."""
    nodes = {}
    for index, row in zip(indices, opened.rows, strict=True):
        digest = leaf(row)
        if nodes.setdefault(index, digest) != digest:
            raise Refused("one position is opened with two rows")
    siblings = iter(opened.siblings)
    for _ in range(levels):
        parents = {}
        for parent in sorted({index // 2 for index in nodes}):
            pair = []
            for child in (2 * parent, 2 * parent + 1):
                digest = nodes.get(child)
                if digest is None:
                    digest = next(siblings, None)
                if digest is None:
                    raise Refused("a path lacks a sibling")
                pair.append(digest)
            parents[parent] = blake3(pair[0] + pair[1]).digest()
        nodes = parents
    if next(siblings, None) is not None:
        raise Refused("a path has a sibling too many")
    if nodes != {0: root}:
        raise Refused("the rows are not leaves of the tree")


# 4. The checks ---------------------------------------------------------------


def replay_sumcheck(transcript, sumcheck, claim):
    """Reduces the claim over one batch of rounds; returns it with the challenges."""
    steps = []
    for _ in sumcheck.rounds:
        steps.append(step("Message", "round_poly", "Fixed(2)", E_TYPE))
        steps += work_step("round_pow", sumcheck.work)
        steps.append(step("Challenge", "round_challenge", "Scalar", E_TYPE))
    seed(transcript, 1, b"p3-sumcheck-quadratic", steps, [b"\x00"])
    challenges = []
    for at_zero, leading, witness in sumcheck.rounds:
        transcript.observe(at_zero)
        transcript.observe(leading)
        transcript.check_work(sumcheck.work, witness)
        r = transcript.challenge()
        at_one = claim - at_zero
        claim = at_zero * (1 - r) + at_one * r + leading * r * (r - 1)
        challenges.append(r)
    return claim, challenges


def draw_indices(transcript, s, i):
    if s.queries[i] >= 1 << s.leaves[i]:
        return list(range(1 << s.leaves[i]))
    return [transcript.draw_bits(s.leaves[i]) for _ in range(s.queries[i])]


def folded(opened, challenges):
    return [evaluate(row, challenges) for row in opened.rows]


def verify(source, profile, use, n, root, point, value):
    """Reads one opening and checks that the committed polynomial has this value at this point."""
    transcript = source.transcript
    transcript.bytes("pcs", bytes([n]) + profile.encode() + b"/" + use.encode())
    transcript.bytes("pcs root", root)
    transcript.elements("pcs point", point)
    if n <= MAX_DIRECT:
        return verify_direct(source, n, root, point, value)
    if use == "weights":
        return verify_rows(source, profile, n, root, point, value)
    s = SCHEDULES[profile, use, n]
    opening = Opening(source, s)

    # 4.1 Claims: the opened point, and random points that fix the polynomial.
    claims = [(point, value)]
    for answer in opening.samples:
        seed(
            transcript,
            1,
            b"p3-sumcheck-layout-ood",
            [step("Challenge", "virtual_point", "Scalar", E_TYPE), step("Message", "virtual_eval", "Scalar", E_TYPE)],
            layout_label(n),
        )
        at = powers(transcript.challenge(), n)
        transcript.observe(answer)
        claims.append((at, answer))
    seed(
        transcript,
        1,
        b"p3-sumcheck-layout-opening",
        [step("Message", "current_evals", "Fixed(1)", E_TYPE)],
        layout_label(n) + [u64(0), u64(n), u64(1), u64(0), u64(0)],
    )
    transcript.observe(value)
    seed(transcript, 3, b"p3-whir", whir_steps(s), whir_label(s))
    seed(
        transcript,
        1,
        b"p3-sumcheck-layout-batching",
        [step("Challenge", "batching", "Scalar", E_TYPE)],
        layout_label(n) + [u64(1), u64(len(opening.samples))],
    )
    batching = transcript.challenge()
    # Each constraint: its variables, and a function from the last challenges to its weight there.
    constraints = []
    claim, power = ZERO, ONE
    for at, answer in claims:
        claim = claim + power * answer
        constraints.append((n, power, lambda x, at=at: eq(at, x)))
        power = power * batching

    # 4.2 The first fold.
    claim, challenges = replay_sumcheck(transcript, opening.initial, claim)
    folds = [challenges]

    # 4.3 Rounds: commit the folded polynomial again, query the one before, fold on.
    for i, (next_root, samples, rows, sumcheck) in enumerate(opening.rounds):
        m = s.variables[i + 1]
        transcript.absorb(next_root)
        fresh = []
        for answer in samples:
            at = powers(transcript.challenge(), m)
            transcript.observe(answer)
            fresh.append((answer, lambda x, at=at: eq(at, x)))
        transcript.check_work(s.query_work[i], rows.witness)
        indices = draw_indices(transcript, s, i)
        check_tree(root, s.leaves[i], indices, rows)
        generator = root_of_unity(s.leaves[i])
        for index, answer in zip(indices, folded(rows, folds[i]), strict=True):
            z = pow(generator, index, P)
            fresh.append((answer, lambda x, z=z: select(z, x)))
        batching = transcript.challenge()
        power = batching
        for answer, weight in fresh:
            claim = claim + power * answer
            constraints.append((m, power, weight))
            power = power * batching
        claim, challenges = replay_sumcheck(transcript, sumcheck, claim)
        folds.append(challenges)
        root = next_root

    # 4.4 The rest in the clear, and the last queries against it.
    i = len(s.folds) - 1
    for e in opening.values:
        transcript.observe(e)
    transcript.check_work(s.query_work[i], opening.rows.witness)
    indices = draw_indices(transcript, s, i)
    check_tree(root, s.leaves[i], indices, opening.rows)
    generator = root_of_unity(s.leaves[i])
    for index, answer in zip(indices, folded(opening.rows, folds[i]), strict=True):
        z = pow(generator, index, P)
        total = ZERO
        for e in reversed(opening.values):
            total = total * z + e
        if total != answer:
            raise Refused("a folded row is not on the last polynomial")
    if opening.last:
        claim, challenges = replay_sumcheck(transcript, opening.last, claim)
        folds.append(challenges)
    else:
        folds.append([])

    # 4.5 The end of the sumcheck.
    x = [r for challenges in folds for r in challenges]
    weight = ZERO
    for m, power, at in constraints:
        weight = weight + power * at(x[n - m :])
    if claim != weight * evaluate(opening.values, folds[-1]):
        raise Refused("the claims do not reduce to the last polynomial")


def verify_direct(source, n, root, point, value):
    """7. All values, shown."""
    at = source.at
    values = source.take_f(1 << n)
    if blake3(DIRECT_DOMAIN + bytes([n]) + source.proof[at : source.at]).digest() != root:
        raise Refused("the values are not those of the root")
    source.transcript.elements("pcs value", [value])
    if evaluate(values, point) != value:
        raise Refused("the values do not give the claimed value")


# 8. The form for constants ---------------------------------------------------

SLICES = 3


class Opened:
    """Columns of the matrix and the siblings of their paths, as `check_tree` takes them."""

    def __init__(self, rows, siblings):
        self.rows = rows
        self.siblings = siblings


def draw_positions(source, levels, queries, work):
    """Step 3: the positions that work and transcript choose."""
    transcript = source.transcript
    if work:
        transcript.check_work(work, source.take_f(1)[0])
    return [transcript.draw_bits(levels) for _ in range(queries)]


def read_columns(source, root, levels, queries, work, width):
    """Steps 3 and 4: the positions, and the leaves there."""
    positions = draw_positions(source, levels, queries, work)
    return positions, read_leaves(source, root, levels, positions, width)


def read_leaves(source, root, levels, positions, width):
    """Step 4: the leaves at these positions, repeats included."""
    transcript, queries = source.transcript, len(positions)
    at = source.at
    flat = source.take_f(queries * width)
    transcript.bytes("pcs columns", source.proof[at : source.at])
    count = int.from_bytes(source.proof[source.at : source.at + 4], "little")
    if count > sum(min(queries, 1 << level) for level in range(levels)):
        raise Refused("more siblings than paths can have")
    siblings = source.receive_bytes("pcs siblings", 4 + 32 * count)[4:]
    columns = [flat[i : i + width] for i in range(0, len(flat), width)]
    digests = [siblings[i : i + 32] for i in range(0, len(siblings), 32)]
    check_tree(root, levels, positions, Opened(columns, digests))
    return columns


def verify_rows(source, profile, n, root, point, value):
    transcript = source.transcript
    s = WEIGHTS_SCHEDULES[profile, n]
    row, column = point[: s.rows], point[s.rows :]
    transcript.elements("pcs value", [value])
    if s.shown:
        fold = source.receive("pcs fold", 1 << s.columns)
    else:
        fold_root = source.receive_bytes("pcs fold root", 32)
    positions, columns = read_columns(source, root, s.levels, s.queries, s.work, 1 << s.rows)

    # What each column says of the fold's code word.
    generator = root_of_unity(s.levels)
    conditions = [(pow(generator, j, P), evaluate(c, row)) for j, c in zip(positions, columns, strict=True)]
    if s.shown:
        if evaluate(fold, column) != value:
            raise Refused("the fold does not give the claimed value")
        for x, expected in conditions:
            total = ZERO
            for e in reversed(fold):
                total = total * x + e
            if total != expected:
                raise Refused("the fold is not that of the committed rows")
        return
    gamma = transcript.challenge()
    claim, power = value, ONE
    weights = [(ONE, lambda x: eq(column, x))]
    for x, expected in conditions:
        power = power * gamma
        claim = claim + power * expected
        weights.append((power, lambda at, x=x: select(x, at)))

    def kernel(z):
        return dot([at(z) for _, at in weights], [power for power, _ in weights])

    reduce_fold(source, profile, fold_root, s.columns, claim, kernel)


def reduce_fold(source, profile, root, variables, claim, kernel):
    """Step 5: the committed fold, times the kernel (a function of the last point), adds up to the claim."""
    transcript, z = source.transcript, []
    for _ in range(variables):
        at_zero, at_two = source.receive("round", 2)
        r = transcript.challenge()
        at_one = claim - at_zero
        # Through the values at 0, 1 and 2.
        half = pow(2, -1, P)
        claim = at_zero * ((r - 1) * (r - 2) * half) - at_one * (r * (r - 2)) + at_two * (r * (r - 1) * half)
        z.append(r)
    slices = source.receive("pcs slices", 1 << SLICES)
    joined = dot(slices[:DEGREE], [E(tuple(int(i == d) for i in range(DEGREE))) for d in range(DEGREE)])
    if claim != kernel(z) * joined:
        raise Refused("the conditions do not reduce to the fold")
    tau = transcript.point(SLICES)
    verify(source, profile, "fold", variables + SLICES, root, tau + z, evaluate(slices, tau))
