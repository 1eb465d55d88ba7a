"""The Fiat-Shamir transcript, and the reading end of a proof."""

import copy

from blake3 import blake3

from .field import DEGREE, E, E_BYTES, F_BYTES, MONTGOMERY, P


class Refused(Exception):
    """The proof is wrong."""


class Transcript:
    """A hash chain over bytes: absorbing appends to a buffer, drawing hashes it."""

    def __init__(self, domain):
        self.pending = bytearray()
        self.ready = bytearray()
        self.bytes("protocol", domain.encode())

    def fork(self, part):
        """A transcript that goes on by itself from here."""
        fork = copy.deepcopy(self)
        fork.bytes("part", part.encode())
        return fork

    # The chain ---------------------------------------------------------------

    def absorb(self, data):
        """Appends to the buffer; what was drawn but not used is dropped."""
        if data:
            self.ready.clear()
            self.pending += data

    def draw_byte(self):
        """The last unused byte of the last digest; when there is none, the digest of the buffer becomes both."""
        if not self.ready:
            digest = blake3(bytes(self.pending)).digest()
            self.pending = bytearray(digest)
            self.ready = bytearray(digest)
        return self.ready.pop()

    def draw_u32(self):
        return int.from_bytes(bytes(self.draw_byte() for _ in range(4)), "little")

    # Framed messages, as Carat's own protocols send them ---------------------

    def bytes(self, label, data):
        label = label.encode()
        self.absorb(bytes([len(label)]) + label + len(data).to_bytes(8, "little") + data)

    def elements(self, label, elements):
        self.bytes(label, b"".join(c.to_bytes(F_BYTES, "little") for e in elements for c in e.c))

    def challenge(self):
        """A uniform element of E: each coefficient is the first of the words drawn that is below p without its top bit."""
        coefficients = []
        while len(coefficients) < DEGREE:
            word = self.draw_u32() & 0x7FFFFFFF
            if word < P:
                coefficients.append(word)
        return E(tuple(coefficients))

    def point(self, n):
        return [self.challenge() for _ in range(n)]

    # Unframed messages, as the polynomial commitment sends them --------------

    def observe_f(self, value):
        """A base field element, in Montgomery form."""
        self.absorb((value * MONTGOMERY % P).to_bytes(F_BYTES, "little"))

    def observe(self, element):
        for c in element.c:
            self.observe_f(c)

    def draw_bits(self, bits):
        return self.draw_u32() & ((1 << bits) - 1)

    def check_work(self, bits, witness):
        """Whether the witness of a proof of work is good. Nothing happens at zero bits."""
        if bits == 0:
            return
        self.draw_byte()
        self.observe_f(witness)
        if self.draw_bits(bits) != 0:
            raise Refused("a proof of work is too small")


class Source:
    """The verifier's end of a proof."""

    def __init__(self, transcript, proof):
        self.transcript = transcript
        self.proof = proof
        self.at = 0

    def take(self, n):
        if n > len(self.proof) - self.at:
            raise Refused("the proof is cut short")
        data = self.proof[self.at : self.at + n]
        self.at += n
        return data

    def take_f(self, n):
        data = self.take(n * F_BYTES)
        values = [int.from_bytes(data[i : i + F_BYTES], "little") for i in range(0, len(data), F_BYTES)]
        if any(v >= P for v in values):
            raise Refused("a value is not in canonical form")
        return values

    def take_e(self, n):
        flat = self.take_f(n * DEGREE)
        return [E(tuple(flat[i : i + DEGREE])) for i in range(0, len(flat), DEGREE)]

    def receive(self, label, n):
        elements = self.take_e(n)
        self.transcript.elements(label, elements)
        return elements

    def receive_bytes(self, label, n):
        data = self.take(n)
        self.transcript.bytes(label, data)
        return data

    def finish(self):
        if self.at != len(self.proof):
            raise Refused("the proof has bytes after its end")


assert E_BYTES == 20
