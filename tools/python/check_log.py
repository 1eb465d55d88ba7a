#!/usr/bin/env python3
"""Checks a log directory, or an offline proof, without any code of Carat.

Written from the C2SP specifications (signed-note, tlog-checkpoint, tlog-tiles,
tlog-cosignature, tlog-proof) and RFC 6962. Needs Python 3.9 or later and the
package `cryptography`, for Ed25519 and nothing else.

    check_log.py DIR VKEY [--previous CHECKPOINT] [--witness VKEY ...]
    check_log.py --proof FILE --leaf-hex HEX VKEY [--witness VKEY ...]

Prints what was checked and ends with status 0; or prints what is wrong and
ends with 1; or with 2 for wrong usage, 3 when `cryptography` is missing.
"""

import argparse
import base64
import binascii
import hashlib
import os
import re
import sys

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    print("check_log.py needs the Python package 'cryptography'", file=sys.stderr)
    sys.exit(3)


class Bad(Exception):
    """Something is wrong with the log."""


# RFC 6962, section 2.1 -----------------------------------------------------


def leaf_hash(leaf):
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_hash(hashes):
    """MTH over leaf hashes, by the recursion of the RFC made iterative: a stack
    of complete subtrees, merged from the right at the end."""
    stack = []
    for count, item in enumerate(hashes, start=1):
        while count % 2 == 0:
            item = node_hash(stack.pop(), item)
            count //= 2
        stack.append(item)
    if not stack:
        return hashlib.sha256(b"").digest()
    root = stack.pop()
    while stack:
        root = node_hash(stack.pop(), root)
    return root


def root_from_path(index, size, leaf, path):
    """The root that an audit path of RFC 6962 section 2.1.1 leads to."""
    if index >= size:
        raise Bad("index %d is not in a tree of %d" % (index, size))

    def walk(index, size, path):
        if size == 1:
            if path:
                raise Bad("the path is too long")
            return leaf
        if not path:
            raise Bad("the path is too short")
        k = 1 << (size - 1).bit_length() - 1
        if index < k:
            return node_hash(walk(index, k, path[:-1]), path[-1])
        return node_hash(path[-1], walk(index - k, size - k, path[:-1]))

    return walk(index, size, path)


# signed-note ---------------------------------------------------------------


def unbase64(text, what):
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Bad("%s is not base64" % what)
    if base64.b64encode(data).decode() != text:
        raise Bad("%s is not canonical base64" % what)
    return data


class Key:
    """A verifier key: NAME+HEXID+BASE64(type || 32 bytes)."""

    def __init__(self, vkey):
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise Bad("not a verifier key: %r" % vkey)
        self.name, key_id, encoded = parts
        material = unbase64(encoded, "the key")
        self.kind, public = material[0], material[1:]
        if self.kind not in (1, 4) or len(public) != 32:
            raise Bad("not an Ed25519 verifier key: %r" % vkey)
        digest = hashlib.sha256(self.name.encode() + b"\n" + material).digest()
        self.id = digest[:4]
        if self.id.hex() != key_id:
            raise Bad("the id of the verifier key does not fit: %r" % vkey)
        self.key = Ed25519PublicKey.from_public_bytes(public)

    def check(self, message, signature):
        try:
            self.key.verify(signature, message)
        except InvalidSignature:
            raise Bad("the signature of %s is wrong" % self.name)


class Note:
    def __init__(self, data):
        try:
            note = data.decode("utf-8")
        except UnicodeDecodeError:
            raise Bad("the note is not UTF-8")
        if any(ord(c) < 32 and c != "\n" for c in note):
            raise Bad("the note has control characters")
        text, separator, lines = note.rpartition("\n\n")
        if not separator or not lines.endswith("\n"):
            raise Bad("the note has no signatures")
        self.text = text + "\n"
        self.signatures = []
        for line in lines[:-1].split("\n"):
            match = re.fullmatch("\u2014 ([^\\s+]+) ([A-Za-z0-9+/=]+)", line)
            if not match:
                raise Bad("not a signature line: %r" % line)
            blob = unbase64(match.group(2), "a signature")
            self.signatures.append((match.group(1), blob[:4], blob[4:]))

    def by(self, key):
        return [sig for name, key_id, sig in self.signatures if (name, key_id) == (key.name, key.id)]


class Checkpoint:
    def __init__(self, data):
        self.note = Note(data)
        lines = self.note.text[:-1].split("\n")
        if len(lines) < 3 or not all(lines):
            raise Bad("the checkpoint has not three lines")
        self.origin, size, root = lines[:3]
        if not re.fullmatch("0|[1-9][0-9]*", size) or int(size) >= 1 << 64:
            raise Bad("the checkpoint has no tree size")
        self.size = int(size)
        self.root = unbase64(root, "the root")
        if len(self.root) != 32:
            raise Bad("the root has not 32 bytes")

    def verify(self, key):
        """The log's own signature; the key's name must be the origin."""
        if key.kind != 1:
            raise Bad("the log's key must be of type 0x01")
        if self.origin != key.name:
            raise Bad("the checkpoint is of %r, the key of %r" % (self.origin, key.name))
        signatures = self.note.by(key)
        if not signatures:
            raise Bad("the checkpoint is not signed by the given key")
        for signature in signatures:
            key.check(self.note.text.encode(), signature)

    def cosigned(self, key):
        """The time of a witness's cosignature (cosignature/v1)."""
        if key.kind != 4:
            raise Bad("a witness key must be of type 0x04")
        signatures = self.note.by(key)
        if not signatures:
            raise Bad("the checkpoint is not cosigned by %s" % key.name)
        for signature in signatures:
            if len(signature) != 72:
                raise Bad("the cosignature of %s has not 72 bytes" % key.name)
            time = int.from_bytes(signature[:8], "big")
            message = "cosignature/v1\ntime %d\n%s" % (time, self.note.text)
            key.check(message.encode(), signature[8:])
        return time


# tlog-tiles ----------------------------------------------------------------


def tile_name(number):
    digits = "%03d" % (number % 1000)
    number //= 1000
    while number:
        digits = "x%03d/%s" % (number % 1000, digits)
        number //= 1000
    return digits


class Tiles:
    def __init__(self, root):
        self.root = root
        self.files = 0

    def read(self, kind, number, width):
        """A tile or bundle; the full one where the partial one is gone."""
        full = "tile/%s/%s" % (kind, tile_name(number))
        names = [full] if width == 256 else ["%s.p/%d" % (full, width), full]
        for name in names:
            try:
                with open(os.path.join(self.root, *name.split("/")), "rb") as file:
                    data = file.read()
            except FileNotFoundError:
                continue
            self.files += 1
            return name, data
        raise Bad("%s is missing" % names[0])

    def entries(self, size):
        for number in range((size + 255) // 256):
            width = min(256, size - 256 * number)
            name, data = self.read("entries", number, width)
            found, at = [], 0
            while at < len(data):
                length = int.from_bytes(data[at : at + 2], "big")
                if at + 2 + length > len(data):
                    raise Bad("%s is cut off" % name)
                found.append(data[at + 2 : at + 2 + length])
                at += 2 + length
            if len(found) != width and len(found) != 256:
                raise Bad("%s holds %d entries instead of %d" % (name, len(found), width))
            yield from found[:width]

    def check_level(self, level, hashes):
        """Compares the tiles of a level; returns the hashes of the next."""
        above = []
        for start in range(0, len(hashes), 256):
            tile = hashes[start : start + 256]
            name, data = self.read(level, start // 256, len(tile))
            want = b"".join(tile)
            if data != want and not (len(data) == 8192 and data.startswith(want)):
                raise Bad("%s does not follow from the entries" % name)
            if len(tile) == 256:
                above.append(tree_hash(tile))
        return above


def check_directory(args, key, witnesses):
    with open(os.path.join(args.directory, "checkpoint"), "rb") as file:
        checkpoint = Checkpoint(file.read())
    checkpoint.verify(key)
    print("checkpoint: %s, %d entries, signature good" % (checkpoint.origin, checkpoint.size))
    for witness in witnesses:
        print("cosigned by %s at %d" % (witness.name, checkpoint.cosigned(witness)))
    tiles = Tiles(args.directory)
    hashes = [leaf_hash(entry) for entry in tiles.entries(checkpoint.size)]
    if tree_hash(hashes) != checkpoint.root:
        raise Bad("the entries give root %s" % base64.b64encode(tree_hash(hashes)).decode())
    print("root: %s, recomputed from the entries" % base64.b64encode(checkpoint.root).decode())
    level, row = 0, hashes
    while row:
        row = tiles.check_level(level, row)
        level += 1
    print("files: %d tiles and bundles on %d levels" % (tiles.files, level))
    if args.previous:
        with open(args.previous, "rb") as file:
            previous = Checkpoint(file.read())
        previous.verify(key)
        if previous.size > checkpoint.size:
            raise Bad("the log has shrunk: %d entries before, %d now" % (previous.size, checkpoint.size))
        if tree_hash(hashes[: previous.size]) != previous.root:
            raise Bad("history was rewritten: the first %d entries had another root" % previous.size)
        print("consistent with the checkpoint of %d entries" % previous.size)


# tlog-proof ----------------------------------------------------------------


def check_proof(args, key, witnesses):
    with open(args.proof, "rb") as file:
        head, separator, rest = file.read().partition(b"\n\n")
    lines = head.decode("utf-8", "replace").split("\n")
    if not separator or lines[0] != "c2sp.org/tlog-proof@v1":
        raise Bad("not a tlog-proof")
    lines = lines[1:]
    if lines and lines[0].startswith("extra "):
        unbase64(lines[0][6:], "the extra data")
        lines = lines[1:]
    match = re.fullmatch("index (0|[1-9][0-9]*)", lines[0] if lines else "")
    if not match:
        raise Bad("the proof has no index")
    path = [unbase64(line, "a path line") for line in lines[1:]]
    if any(len(item) != 32 for item in path):
        raise Bad("a path line has not 32 bytes")
    checkpoint = Checkpoint(rest)
    checkpoint.verify(key)
    for witness in witnesses:
        print("cosigned by %s at %d" % (witness.name, checkpoint.cosigned(witness)))
    try:
        leaf = bytes.fromhex(args.leaf_hex)
    except ValueError:
        raise Bad("--leaf-hex is not hexadecimal")
    index = int(match.group(1))
    if root_from_path(index, checkpoint.size, leaf_hash(leaf), path) != checkpoint.root:
        raise Bad("the path does not lead from the leaf to the root")
    print("entry %d is in the tree of %d entries of %s" % (index, checkpoint.size, checkpoint.origin))


def main():
    parser = argparse.ArgumentParser(description="Checks a log directory or proof in the formats of C2SP.")
    parser.add_argument("directory", nargs="?", help="directory with checkpoint and tile/")
    parser.add_argument("vkey", help="verifier key of the log: NAME+HEXID+BASE64")
    parser.add_argument("--previous", help="file with a checkpoint remembered from before")
    parser.add_argument("--witness", action="append", default=[], help="verifier key of a witness that must have cosigned")
    parser.add_argument("--proof", help="check this tlog-proof instead of a directory")
    parser.add_argument("--leaf-hex", help="with --proof: the leaf, hexadecimal")
    args = parser.parse_args()
    if bool(args.proof) == bool(args.directory) or bool(args.proof) != bool(args.leaf_hex is not None):
        parser.error("give either DIR, or --proof with --leaf-hex")
    try:
        key, witnesses = Key(args.vkey), [Key(vkey) for vkey in args.witness]
        (check_proof if args.proof else check_directory)(args, key, witnesses)
    except (Bad, OSError) as error:
        print("WRONG: %s" % error)
        return 1
    print("good")
    return 0


if __name__ == "__main__":
    sys.exit(main())
