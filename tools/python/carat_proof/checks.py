"""Messages and equations, so that every check is written once for both modes.

`Clear` is the succinct mode: a message is an element of E, and an equation is compared. `Padded` is the mode that hides
(docs/protocol-zk.md, section 2): a message is an affine expression in pads, `Hidden`, and equations are collected.
"""

from .field import ONE, ZERO, E
from .program import need


MOST_PADS = 1 << 20


class Clear:
    """Messages as they are."""

    hides = False

    def __init__(self, source):
        self.source = source

    def receive(self, label, n):
        return self.source.receive(label, n)

    def equal(self, left, right, what):
        need(left == right, what)

    def not_zero(self, e, what):
        need(e != ZERO, what)


class Padded:
    """Messages under pads."""

    hides = True

    def __init__(self, source):
        self.source = source
        self.tape = Tape()

    def receive(self, label, n):
        self.room(n)
        return [self.tape.message(sent) for sent in self.source.receive(label, n)]

    def room(self, n):
        need(len(self.tape.pads) + len(self.tape.secrets) + n <= MOST_PADS, "more messages than a proof can hide")

    def secret_rows(self, n, weights):
        """The next secrets are a matrix of n rows, row by row: of each row the sum with these weights."""
        self.room(n * len(weights))
        rows = []
        for _ in range(n):
            row = [self.tape.secret() for _ in weights]
            rows.append(Hidden(self.tape, ZERO, self.tape.step(*zip(row, weights))))
        return rows

    def weighted(self, elements, weights):
        """A sum of elements, each times its weight."""
        known = ZERO
        for e, w in zip(elements, weights, strict=True):
            if e.known != ZERO:
                known = known + e.known * w
        return Hidden(self.tape, known, self.tape.step(*((e.at, w) for e, w in zip(elements, weights))))

    def equal(self, left, right, what):
        # The equation is left - right = 0; its sign is part of the protocol. `what` is not kept: nobody learns more of
        # the equations than whether all hold.
        self.tape.equations.append(left - right)

    def not_zero(self, e, what):
        """The product of a message with one more pad is in the clear."""
        factor = self.tape.mask()
        (scaled,) = self.source.receive("scaled", 1)
        need(scaled != ZERO, what)
        self.equal(e * factor, scaled, what)


class Hidden:
    """An affine expression: `known`, an element of E, plus place `at` of the tape, linear in pads, secrets and products.

    A message also knows the number of its pad, and the sign with which it holds that.
    """

    __slots__ = ("tape", "known", "at", "pad", "sign")

    def __init__(self, tape, known, at, pad=None, sign=0):
        self.tape, self.known, self.at, self.pad, self.sign = tape, known, at, pad, sign

    def __add__(self, other):
        if not isinstance(other, Hidden):
            return Hidden(self.tape, self.known + other, self.at)
        at = self.tape.step((self.at, 1), (other.at, 1))
        return Hidden(self.tape, self.known + other.known, at)

    __radd__ = __add__

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        if not isinstance(other, Hidden):
            return Hidden(self.tape, self.known - other, self.at)
        at = self.tape.step((self.at, 1), (other.at, -1))
        return Hidden(self.tape, self.known - other.known, at)

    def __rsub__(self, other):
        return -self + other

    def __mul__(self, other):
        if isinstance(other, Hidden):
            return self.tape.product(self, other)
        return Hidden(self.tape, self.known * other, self.tape.step((self.at, other)))

    __rmul__ = __mul__

    def __eq__(self, other):
        raise TypeError("what is hidden cannot be compared")

    __hash__ = None


class Tape:
    """How expressions came to be, in order; what an equation asks of pads and secrets is found backwards."""

    def __init__(self):
        self.steps = []  # of each place: the places that it adds up, each with its factor; none of pads, secrets and products
        self.pads = []  # their places
        self.secrets = []  # and those of secrets
        self.products = []  # (place, number of the first pad, of the second)
        self.equations = []  # Hidden, or an element of E where nothing is hidden; to be zero

    def step(self, *terms):
        self.steps.append(terms)
        return len(self.steps) - 1

    def pad(self):
        self.pads.append(self.step())
        return len(self.pads) - 1

    def secret(self):
        """The place of an element of F that is committed to with the pads."""
        self.secrets.append(self.step())
        return self.secrets[-1]

    def message(self, sent):
        """What was sent, less its pad."""
        pad = self.pad()
        return Hidden(self, sent, self.step((self.pads[pad], -1)), pad, -1)

    def mask(self):
        """A pad that is itself the element."""
        pad = self.pad()
        return Hidden(self, ZERO, self.pads[pad], pad, 1)

    def product(self, a, b):
        """(a' + e r)(b' + f s) = a' b' + b' e r + a' f s + e f r s, with signs e and f; r s has a number of its own."""
        if a.pad is None or b.pad is None:
            raise TypeError("only messages are multiplied")
        place = self.step()
        self.products.append((place, a.pad, b.pad))
        at = self.step((a.at, b.known), (b.at, a.known), (place, a.sign * b.sign))
        return Hidden(self, a.known * b.known, at)

    def combine(self, tau):
        """All equations, equation e (from 1) counted tau^e times: (constant, factors of pads, of products, of secrets).

        Also the power that the last equation had.
        """
        factors = [ZERO] * len(self.steps)
        constant, power = ZERO, ONE
        for e in self.equations:
            power = power * tau
            if isinstance(e, E):
                constant = constant + power * e
            else:
                constant = constant + power * e.known
                factors[e.at] = factors[e.at] + power
        # A place comes after those that it adds up.
        for terms, factor in zip(reversed(self.steps), reversed(factors)):
            if terms and factor != ZERO:
                for place, by in terms:
                    factors[place] = factors[place] + factor * by
        places = self.pads, [p for p, _, _ in self.products], self.secrets
        return constant, *([factors[p] for p in part] for part in places), power
