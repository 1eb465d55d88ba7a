"""KoalaBear and its quintic extension, in plain integers."""

P = 2**31 - 2**24 + 1
DEGREE = 5
F_BYTES = 4
E_BYTES = DEGREE * F_BYTES

# A generator of the subgroup of order 2^24.
TWO_ADICITY = 24
GENERATOR_2_24 = 0x6AC49F88

# 2^32 mod p: hashes and transcripts of the polynomial commitment see residues multiplied by this.
MONTGOMERY = 2**32 % P


def root_of_unity(log_order):
    """The generator of the subgroup of order 2^log_order that codewords are written over."""
    return pow(GENERATOR_2_24, 1 << (TWO_ADICITY - log_order), P)


class E:
    """An element of F[X] / (X^5 + X^2 - 1): five coefficients, lowest first."""

    __slots__ = ("c",)

    def __init__(self, c):
        self.c = c

    @staticmethod
    def of(value):
        """An integer as an element."""
        return E((value % P, 0, 0, 0, 0))

    # What is neither an integer nor an element of E (a hidden message, checks.py) has its own arithmetic.

    def __add__(self, other):
        if other.__class__ is not E:
            if not isinstance(other, int):
                return NotImplemented
            c = self.c
            return E(((c[0] + other) % P, *c[1:]))
        return E(tuple([(a + b) % P for a, b in zip(self.c, other.c)]))

    __radd__ = __add__

    def __sub__(self, other):
        if other.__class__ is not E:
            return self + (-other) if isinstance(other, int) else NotImplemented
        return E(tuple([(a - b) % P for a, b in zip(self.c, other.c)]))

    def __rsub__(self, other):
        return E.of(other) - self

    def __neg__(self):
        return E(tuple([-a % P for a in self.c]))

    def __mul__(self, other):
        if other.__class__ is not E:
            if not isinstance(other, int):
                return NotImplemented
            return E(tuple([a * other % P for a in self.c]))
        a0, a1, a2, a3, a4 = self.c
        b0, b1, b2, b3, b4 = other.c
        # The product of degree 8, then X^5 = 1 - X^2, X^6 = X - X^3, X^7 = X^2 - X^4, X^8 = X^3 + X^2 - 1.
        d0 = a0 * b0
        d1 = a0 * b1 + a1 * b0
        d2 = a0 * b2 + a1 * b1 + a2 * b0
        d3 = a0 * b3 + a1 * b2 + a2 * b1 + a3 * b0
        d4 = a0 * b4 + a1 * b3 + a2 * b2 + a3 * b1 + a4 * b0
        d5 = a1 * b4 + a2 * b3 + a3 * b2 + a4 * b1
        d6 = a2 * b4 + a3 * b3 + a4 * b2
        d7 = a3 * b4 + a4 * b3
        d8 = a4 * b4
        return E(
            (
                (d0 + d5 - d8) % P,
                (d1 + d6) % P,
                (d2 - d5 + d7 + d8) % P,
                (d3 - d6 + d8) % P,
                (d4 - d7) % P,
            )
        )

    __rmul__ = __mul__

    def __eq__(self, other):
        return self.c == other.c if other.__class__ is E else NotImplemented

    def __hash__(self):
        return hash(self.c)

    def __repr__(self):
        return f"E{self.c}"


ZERO = E.of(0)
ONE = E.of(1)


def eq(a, b):
    """prod a_i b_i + (1 - a_i)(1 - b_i)."""
    product = ONE
    for x, y in zip(a, b, strict=True):
        product = product * (1 - x - y + x * y * 2)
    return product


def evaluate(values, point):
    """A multilinear polynomial, given by its values (index bits most significant first), at a point."""
    assert len(values) == 1 << len(point)
    values = [E.of(v) if isinstance(v, int) else v for v in values]
    for x in reversed(point):
        values = [low + x * (high - low) for low, high in zip(values[::2], values[1::2])]
    return values[0]


def powers(x, n):
    """(x^(2^(n-1)), ..., x^4, x^2, x): the point at which a multilinear polynomial equals the univariate one at x."""
    point = [x]
    for _ in range(n - 1):
        point.append(point[-1] * point[-1])
    return point[n - 1 :: -1] if n else []


def select(z, point):
    """sum_b z^b eq(b, point) for z in F, where b is read most significant bit first."""
    product = ONE
    for x in reversed(point):
        product = product * (x * (z - 1) + 1)
        z = z * z % P
    return product
