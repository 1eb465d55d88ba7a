#!/usr/bin/env python3
"""Second implementation of the io/v1 commitment, written from docs/io-commitment.md. Standard library only.

    io_commitment.py                         # recompute the test vectors
    io_commitment.py PROGRAM-DIGEST IN-SALT OUT-SALT TENSOR...   # TENSOR: 2x3:1,2,3,4,5,6
"""
import hashlib
import sys

P = 2**31 - 2**24 + 1
GENERATOR = 3          # of the multiplicative group
ROWS, LEAVES = 256, 4096


def H(domain, *parts):
    h = hashlib.sha256()
    for part in (domain.encode(), *parts):
        h.update(len(part).to_bytes(8, "big") + part)
    return h.digest()


def bits(n):
    return (n - 1).bit_length()


def tree(level, domain):
    while len(level) > 1:
        level = [H(domain, a, b) for a, b in zip(level[::2], level[1::2])]
    return level[0]


def evaluate(column):
    """The values at w^0, w^1, ... of the polynomial with these coefficients: recursive, radix two."""
    if not any(column[1:]):
        return column[:1] * len(column)
    even, odd = evaluate(column[::2]), evaluate(column[1::2])
    w = pow(GENERATOR, (P - 1) // len(column), P)
    half, x, low, high = len(even), 1, [], []
    for i in range(half):
        t = x * odd[i] % P
        low.append((even[i] + t) % P)
        high.append((even[i] - t) % P)
        x = x * w % P
    return low + high


def words(seed):
    counter = 0
    while True:
        block = H("carat/io-mask/v1", seed, counter.to_bytes(8, "big"))
        counter += 1
        for i in range(0, 32, 4):
            word = int.from_bytes(block[i : i + 4], "little") & 0x7FFFFFFF
            if word < P:
                yield word


def lay_out(tensors):
    """The table of values, and the logarithm of its columns. tensors: (dims, values) of all inputs, then all outputs."""
    sizes = [sum(bits(d) for d in dims) for dims, _ in tensors]
    offsets, end = {}, 0
    for i in sorted(range(len(tensors)), key=lambda i: -sizes[i]):
        offsets[i] = end
        end += 1 << sizes[i]
    log_columns = max(bits(end) - 8, 2)
    table = [0] * (ROWS << log_columns)
    for i, (dims, values) in enumerate(tensors):
        for flat, value in enumerate(values):
            position, stride = 0, 1
            for d in reversed(dims):
                flat, index = divmod(flat, d)
                position += index * stride
                stride <<= bits(d)
            table[offsets[i] + position] = value % P
    return table, log_columns


def encode(table, seed, log_columns):
    """The rows of the code, and their salts."""
    columns = 1 << log_columns
    stream = words(seed)
    table = table + [next(stream) for _ in range(ROWS * columns)]
    code = [evaluate(table[c::columns] + [0] * (LEAVES - 2 * ROWS)) for c in range(columns)]
    rows = [[column[i] for column in code] for i in range(LEAVES)]
    return rows, [H("carat/io-salt/v1", seed, i.to_bytes(8, "big")) for i in range(LEAVES)]


def commit(program, input_salt, output_salt, tensors):
    """The root over these tensors: (dims, values) of all inputs, then all outputs."""
    seed = H("carat/io-seed/v1", input_salt, output_salt)
    table, log_columns = lay_out(tensors)
    leaves = []
    for row, salt in zip(*encode(table, seed, log_columns)):
        leaves.append(H("carat/io-leaf/v1", salt, b"".join(v.to_bytes(4, "little") for v in row)))
    return H("carat/io/v1", program, bytes([log_columns]), tree(leaves, "carat/io-node/v1"))


if __name__ == "__main__":
    if len(sys.argv) > 4:
        program, salt_in, salt_out = (bytes.fromhex(arg) for arg in sys.argv[1:4])
        tensors = []
        for arg in sys.argv[4:]:
            shape, values = arg.split(":")
            dims = [int(d) for d in shape.split("x")] if shape else []
            tensors.append((dims, [int(v) for v in values.split(",")]))
        print(commit(program, salt_in, salt_out, tensors).hex())
    else:
        program = hashlib.sha256(b"program").digest()
        salt_in, salt_out = bytes(range(32)), bytes(range(32, 64))
        small = [([1, 3], [1, -2, 3]), ([1, 2], [-2114, 2114])]
        large = [([1, 3, 20, 20], [(7 * i) % 255 - 127 for i in range(1200)]), ([1, 10], list(range(-5, 5)))]
        for name, tensors in (("small", small), ("large", large)):
            print(name, commit(program, salt_in, salt_out, tensors).hex())
