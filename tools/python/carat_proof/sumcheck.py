"""The verifier of a sumcheck (docs/protocol.md, section 5), for messages in the clear and for hidden ones."""

from .field import ONE, P, ZERO


def interpolate(values, x):
    """The value at x of the polynomial with these values at 0, 1, 2, ..."""
    n = len(values)
    out = ZERO
    for i in range(n):
        top, bottom = ONE, 1
        for j in range(n):
            if j != i:
                top = top * (x - j)
                bottom = bottom * (i - j) % P
        out = out + values[i] * (top * pow(bottom, -1, P))
    return out


def sumcheck(checks, rounds, degree, claim):
    """The point, and what is left of the claim there."""
    point = []
    for _ in range(rounds):
        sent = checks.receive("round", degree)
        r = checks.source.transcript.challenge()
        claim = interpolate([sent[0], claim - sent[0], *sent[1:]], r)
        point.append(r)
    return point, claim
