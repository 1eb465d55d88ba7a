"""What a verifier of proofs that hide constants must refuse: lies about a key's commitments, by the prover of
weights_prover.py, and changes in whole proofs. test_weights.py runs them.
"""

from unittest.mock import patch

from carat_proof import registration, weights
from carat_proof import verify as verifier
from carat_proof.field import P
from carat_proof.graph import Plan
from carat_proof.multilinear import eq_table
from carat_proof.program import tagged_hash
from carat_proof.transcript import Source
from test_proof import element, refused
from test_zk import flip, reason
from weights_prover import Commitment, Key, open_at, program, read_pin, value_at

# The commitments of a key ---------------------------------------------------------

PINNED, ABSENT, FEWER = (
    "the constants are pinned otherwise",
    "the commitment is not one of the key's",
    "the key has fewer commitments",
)
SHORT, LONG = "the proof is cut short", "the proof has bytes after its end"
VALUE, FOLD = "the opening of the weights", "the fold is not that of the committed constants"


def commitments(chance):
    """Keys and openings by an honest prover, and lies."""
    for dims, profile, n in (((5,), "proven-100", 4), ((9, 11), "proven-120", 9), ((20, 50), "proven-100", 10)):
        p = program([(dims, -1, 1)])
        plan = Plan(p, 1, True)
        (store,) = plan.weights
        assert store.vars == n, f"a constant of shape {dims} in {store.vars} variables"
        s = weights.SCHEDULES[profile, n]
        rows = weights.rows_of(store, s)
        values, others = ([chance.randrange(P) for _ in range(rows << s.columns)] for _ in range(2))
        numbers = chance.sample(range(s.commitments), 3)
        made = {k: Commitment(chance, s, values, rows) for k in numbers[:2]}
        made[numbers[2]] = Commitment(chance, s, others, rows)
        key = Key(chance, p, profile, plan, made)
        y = value_at(values, key.point)
        root = key.pinned(y)
        point = [element(chance) for _ in range(n)]
        for k in numbers:
            assert read_pin(key, root, key.begin(k)) == weights.Pin(made[k].tree.root, key.point, y), "a commitment"
        for k in numbers[:2]:
            # Of both the value is the same, at the key's point and elsewhere; their tails are not, and so no folds.
            open_at(key, made[k], key.point, y)
            open_at(key, made[k], point, value_at(values, point))
        pins(chance, key, root, numbers)
        openings(chance, key, [made[k] for k in numbers], values, others, point, y)


def pins(chance, key, root, numbers):
    """What step 1 refuses."""
    k, two, _ = numbers
    parts = key.begin(k)
    depth = key.matrix.depth

    def why(at=None, by=None, key=key, root=root):
        changed = [by if i == at else part for i, part in enumerate(parts)]
        return reason(read_pin, key, root, changed)

    assert why() is None
    for at in (0, 1):
        assert why(at, flip(parts[at], 4 * chance.randrange(5))) == PINNED, at
    assert why(root=flip(root)) == PINNED
    for bit in range(depth):
        assert why(2, (k ^ 1 << bit).to_bytes(4, "little")) == ABSENT, "another number"
        assert why(4, flip(parts[4], 32 * bit + chance.randrange(32))) == ABSENT, "another sibling"
    for number in (k + key.matrix.commitments, key.matrix.commitments, k | 1 << 31):
        assert why(2, number.to_bytes(4, "little")) == FEWER, number
    assert why(3, flip(parts[3], chance.randrange(32))) == ABSENT
    assert why(3, key.begin(two)[3]) == ABSENT, "another commitment's root"
    assert why(4, key.begin(two)[4]) == ABSENT, "another commitment's path"
    siblings = [parts[4][32 * i : 32 * i + 32] for i in range(depth)]
    assert why(4, b"".join(siblings[::-1])) == ABSENT, "a path from the top"
    for cut in (b"", parts[4][:-1], parts[4][:-32]):
        assert why(4, cut) == SHORT
    assert why(4, parts[4] + bytes(32)) == LONG
    # A node is no top of a tree that is smaller, nor a leaf of one that is larger.
    node = tagged_hash(weights.NODE_DOMAIN, *((siblings[0], parts[3]) if k & 1 else (parts[3], siblings[0])))
    inner = [*parts[:2], (k >> 1).to_bytes(4, "little"), node, b"".join(siblings[1:])]
    assert reason(read_pin, key, root, inner) == SHORT
    small = tagged_hash(weights.ROOT_DOMAIN, parts[3], parts[1])
    assert reason(read_pin, key, small, [parts[3], parts[1]]) == SHORT, "one commitment in place of a tree"
    # Where there is one, its root is the top, and nothing follows.
    p = program([((512, 1024), -1, 1)])
    alone = Key(chance, p, key.profile, Plan(p, 1, True), {})
    root = alone.pinned(element(chance))
    (leaf,) = alone.levels[0]
    assert read_pin(alone, root, alone.begin(0)) == weights.Pin(leaf, alone.point, alone.value)
    assert reason(read_pin, alone, root, [*alone.begin(0), bytes(4)]) == LONG
    # The point is another for another tree, Program or profile.
    points = [key.point, alone.point[: len(key.point)]]
    for profile in ("proven-100", "proven-120"):
        again = Key(chance, key.program, profile, key.plan, {})
        again.pinned(key.value)
        points.append(again.point)
    for p in (key.program, program([((4,), 0, 1)])):
        with patch.object(key, "program", p):
            points.append(read_pin(key, key.pinned(key.value), parts).point)
    assert points[0] == points[4], "the same point for the same key"
    assert len({tuple(e.c for e in point) for point in points}) == len(points) - 1, "points of other keys"


def openings(chance, key, made, values, others, point, y):
    """What an opening of a sent fold refuses."""
    one, two, other = made
    s, value = key.matrix, value_at(values, point)
    width = 1 << s.columns
    b = eq_table(point[len(point) - s.columns :])
    by = element(chance)

    def at(i, fold):
        fold[i] = fold[i] + by

    def why(*arguments):
        return reason(open_at, key, *arguments)

    def honest(fold):
        pass

    assert why(one, point, value + 1) == VALUE
    for i in (0, width - 1):
        assert why(one, point, value, lambda fold, i=i: at(i, fold)) == VALUE, i
        # A fold that has the value that is claimed.
        assert why(one, point, value + by * b[i], lambda fold, i=i: at(i, fold)) == FOLD, i
    for i in (width, s.length - 1):
        assert why(one, point, value, lambda fold, i=i: at(i, fold)) == FOLD, i

    def elsewhere(fold):
        fold[:] = two.fold(eq_table(point[: len(point) - s.columns]))

    # The other commitment's fold has the value, too; its leaves and its tree are others.
    assert why(one, point, value, elsewhere) == FOLD
    assert why(one, point, value, honest, two) == "the rows are not leaves of the tree"
    # A commitment to other constants: not the value that the key has.
    assert why(other, point, value_at(others, point)) is None
    assert why(other, key.point, y) == VALUE
    assert why(other, point, value, elsewhere) == FOLD


# Whole proofs --------------------------------------------------------------------


class Recorder(Source):
    """A proof that notes where its parts are: (label, first byte, end)."""

    def __init__(self, transcript, proof):
        super().__init__(transcript, proof)
        self.parts = []
        self.inside = False

    def noted(self, label, read, *arguments):
        start, inside = self.at, self.inside
        self.inside = True
        found = read(*arguments)
        self.inside = inside
        if not inside and self.at > start:
            self.parts.append((label, start, self.at))
        return found

    def receive(self, label, n):
        return self.noted(label, super().receive, label, n)

    def receive_bytes(self, label, n):
        return self.noted(label, super().receive_bytes, label, n)

    def take_f(self, n):
        return self.noted("leaves" if n > 1 else "work", super().take_f, n)


BEGINNING = {
    "weights root": 32,
    "weights value": 20,
    "weights commitment": 4,
    "weights commitment root": 32,
    "weights path": 6 * 32,
}
# What a change of a proof's beginning is refused for; more where the number is out of range, or the value no element.
REFUSED = {
    "weights root": {PINNED},
    "weights value": {PINNED, "a value is not in canonical form"},
    "weights commitment": {ABSENT, FEWER},
    "weights commitment root": {ABSENT},
    "weights path": {ABSENT},
}


def changed_parts(chance, name, check, proof):
    """Changes in every kind of message, and in all of the beginning, of a proof that hides constants."""
    recorders = []

    def record(transcript, proof):
        recorders.append(Recorder(transcript, proof))
        return recorders[-1]

    with patch.object(verifier, "Source", record), patch.object(registration, "Source", record):
        check()
    (recorder,) = recorders
    at, found = 0, {}
    for label, start, end in recorder.parts:
        assert start == at, f"{name}: what is before {label}?"
        at = end
        found.setdefault(label, []).append((start, end))
    assert at == len(proof)
    assert [(label, end - start) for label, start, end in recorder.parts[:5]] == list(BEGINNING.items()), name
    count = 0
    for label, places in found.items():
        for start, end in {places[0], places[-1]}:
            for place in {start, end - 1, chance.randrange(start, end)}:
                changed = flip(proof, place, chance.randrange(8))
                why = reason(check, changed)
                assert why in REFUSED.get(label, {why}) - {None}, f"{name}: byte {place}, in {label}: {why}"
                count += 1
    return found, count


def repinned(found, proof, **parts):
    """The proof with other parts in its beginning, and the key that fits them."""
    told = {label: proof[start:end] for label in BEGINNING for start, end in found[label]}
    told |= {label.replace("_", " "): part for label, part in parts.items()}
    number, node, path = (told[label] for label in list(BEGINNING)[2:])
    for level in range(len(path) // 32):
        pair = node, path[32 * level : 32 * level + 32]
        node = tagged_hash(weights.NODE_DOMAIN, *(pair[::-1] if number[0] >> level & 1 else pair))
    told["weights root"] = node
    key = tagged_hash(weights.ROOT_DOMAIN, node, told["weights value"])
    return b"".join(told.values()) + proof[sum(BEGINNING.values()) :], key


def other_pins(name, check, found, proof, root):
    """Under a key that fits what the proof begins with, another commitment, number, path or value does not help."""
    assert repinned(found, proof) == (proof, root), f"{name}: the key"
    told = {label: proof[start:end] for label in BEGINNING for start, end in found[label]}
    number, path = told["weights commitment"], told["weights path"]
    count = 0
    for parts in (
        {"weights_value": flip(told["weights value"])},
        {"weights_commitment": flip(number)},
        {"weights_commitment_root": flip(told["weights commitment root"])},
        {"weights_path": flip(path)},
        {"weights_path": path[32:]},
        {"weights_path": path + bytes(32)},
        {"weights_path": b""},
    ):
        changed, key = repinned(found, proof, **parts)
        assert key != root
        refused(f"{name} with another pin: {parts.keys()}", check, changed, key)
        refused(f"{name} with another pin: {parts.keys()}", check, changed)
        refused(f"{name} under the key of another pin: {parts.keys()}", check, proof, key)
        count += 1
    for size in (0, len(path) - 32, len(path) - 1):
        end = sum(BEGINNING.values()) - len(path) + size
        cut = proof[:end] + proof[sum(BEGINNING.values()) :]
        assert reason(check, cut) == ABSENT, f"{name} with a path of {size} bytes"
    end = sum(BEGINNING.values())
    refused(f"{name} with a longer path", check, proof[:end] + bytes(32) + proof[end:])
