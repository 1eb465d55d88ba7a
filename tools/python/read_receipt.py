#!/usr/bin/env python3
"""A second reader of Carat receipts, written from docs/receipt.md, docs/receipt.cddl and docs/binding.md.

It shares no code with the Rust implementation: CBOR by cbor2 (and its own deterministic encoder), Ed25519 by
cryptography, SHA-256 by hashlib. It says whether a receipt is in order; what it is worth is for `carat verify` and your
Trust file.

    python3 tools/python/read_receipt.py FILE.carat [FILE.carat ...] [--opening FILE.carat-open] [--log-key VKEY]

An opening beside the receipt (FILE.carat-open) is used without being asked for. Prints one JSON object per file.
Exit status: 0 every check that could be made holds, 1 a check fails, 2 usage.
"""

import argparse
import base64
import hashlib
import io
import json
import os
import sys

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PROFILE = "https://github.com/carat-labs/carat/receipt/v1"
CONTENT_TYPE = "application/eat-ucs+cbor"
SIGN1 = b"\xd2"  # tag 18
MAX_FILE = 128 * 1024 * 1024


class Refused(Exception):
    """The bytes are not what they should be."""


def need(condition, reason):
    if not condition:
        raise Refused(reason)


# ---- deterministic CBOR -------------------------------------------------------------------------------------------


def head(major, argument):
    if argument < 24:
        return bytes([major << 5 | argument])
    for info, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * width):
            return bytes([major << 5 | info]) + argument.to_bytes(width, "big")
    raise Refused("an integer beyond 64 bits")


def encode(value):
    """RFC 8949 section 4.2.1, for the types that receipts use."""
    if value is True or value is False:
        return bytes([0xF5 if value else 0xF4])
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        text = value.encode()
        return head(3, len(text)) + text
    if isinstance(value, (list, tuple)):
        return head(4, len(value)) + b"".join(encode(item) for item in value)
    if isinstance(value, dict):
        pairs = sorted((encode(key), encode(item)) for key, item in value.items())
        return head(5, len(pairs)) + b"".join(key + item for key, item in pairs)
    if isinstance(value, cbor2.CBORTag):
        return head(6, value.tag) + encode(value.value)
    raise Refused(f"a value of type {type(value).__name__} does not belong into a receipt")


def items(data):
    """The items of a CBOR sequence, each refused unless it is its own deterministic encoding."""
    stream = io.BytesIO(data)
    found = []
    while stream.tell() < len(data):
        start = stream.tell()
        # cbor2 makes what is inside a tag immutable; the one tag that receipts use is read here instead.
        signed = data[start : start + 1] == SIGN1
        stream.seek(start + signed)
        try:
            item = cbor2.CBORDecoder(stream).decode()
            item = cbor2.CBORTag(18, item) if signed else item
        except Exception as error:  # cbor2 raises many kinds; each means the same here
            raise Refused(f"not CBOR at byte {start}: {error}") from error
        need(encode(item) == data[start : stream.tell()], f"not deterministic CBOR in the item at byte {start}")
        found.append(item)
    return found


def item(data):
    found = items(data)
    need(len(found) == 1, "one CBOR item was expected")
    return found[0]


# ---- hashes and signatures ----------------------------------------------------------------------------------------


def sha256(data):
    return hashlib.sha256(data).digest()


def tagged_hash(domain, *parts):
    data = b"".join(len(part).to_bytes(8, "big") + part for part in (domain.encode(), *parts))
    return sha256(data)


def verifies(key, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return True
    except (InvalidSignature, ValueError):
        return False


# ---- shapes (docs/receipt.cddl) -----------------------------------------------------------------------------------


def sized(minimum, maximum=None):
    return lambda v: isinstance(v, bytes) and minimum <= len(v) <= (maximum or minimum)


def uint(v):
    return isinstance(v, int) and not isinstance(v, bool) and v >= 0


def label(v):
    return isinstance(v, str) and 1 <= len(v.encode()) <= 256 and v == v.strip() and v.isprintable()


def fixed(*shapes):
    return lambda v: isinstance(v, list) and len(v) == len(shapes) and all(s(x) for s, x in zip(shapes, v))


def many(shape, minimum, maximum):
    return lambda v: isinstance(v, list) and minimum <= len(v) <= maximum and all(shape(x) for x in v)


def mapping(required, optional=None):
    known = {**required, **(optional or {})}
    return lambda v: (
        isinstance(v, dict)
        and all(key in v for key in required)
        and all(type(key) is int and key in known and known[key](x) for key, x in v.items())
    )


def parameter(v):
    if isinstance(v, (str, bytes)):
        return len(v.encode() if isinstance(v, str) else v) <= 4096
    return isinstance(v, (bool, int))


def equal(expected):
    return lambda v: type(v) is type(expected) and v == expected


DIGEST = sized(32)
ENGINE = fixed(label, uint)
AMOUNT = fixed(lambda v: isinstance(v, str) and len(v) == 3 and v.isascii() and v.isupper() and v.isalpha(), uint)
TIME = lambda v: uint(v) and v <= 253402300799  # noqa: E731
COURIER = mapping(
    {1: label, 2: label, 4: DIGEST, 5: DIGEST, 6: lambda v: uint(v) and v <= 6},
    {3: label, 7: lambda v: mapping({}, {n: uint for n in range(1, 4)})(v) and len(v) > 0},
)
CLAIMS = mapping(
    {
        1: label,
        2: lambda v: isinstance(v, str),
        6: TIME,
        7: sized(16),
        265: equal(PROFILE),
        -70001: equal(1),
        -70002: sized(32),
        -70003: lambda v: uint(v) and v <= 2,
        -70004: DIGEST,
        -70005: label,
        -70006: label,
        -70008: lambda v: v == [0] or fixed(equal(1), label)(v),
        -70009: ENGINE,
        -70010: DIGEST,
        -70011: DIGEST,
        -70012: lambda v: isinstance(v, dict) and len(v) <= 64 and all(label(k) and parameter(x) for k, x in v.items()),
    },
    {
        3: label,
        10: sized(8, 64),
        -70007: DIGEST,
        -70013: sized(32),
        -70014: lambda v: mapping({}, {n: uint for n in range(1, 6)})(v) and len(v) > 0,
        -70015: fixed(label, DIGEST),
        -70016: DIGEST,
        -70017: mapping({1: label, 2: uint, 3: lambda v: uint(v) and v <= 3}, {4: uint, 5: label, 6: uint, 7: TIME}),
        -70018: DIGEST,
        -70019: DIGEST,
        -70020: DIGEST,
        -70021: label,
        -70022: TIME,
        -70023: many(fixed(DIGEST, AMOUNT), 1, 64),
        -70024: DIGEST,
        -70025: fixed(DIGEST, uint, lambda v: isinstance(v, bool)),
        -70026: COURIER,
    },
)
COSIGNATURE = mapping({1: sized(32), 2: label, 3: uint})
REPLAY = mapping({1: sized(32), 2: label, 3: uint, 4: DIGEST, 5: DIGEST, 6: ENGINE, 7: label}, {8: DIGEST})
BYTES64K = sized(1, 65536)
LOG_TYPES = ("text/vnd.carat.log-promise", "text/vnd.c2sp.tlog-proof")
PROOF = fixed(label, label, label, DIGEST, many(DIGEST, 1, 1024), uint, sized(1, 32 * 1024 * 1024))
HIDES = lambda v: many(uint, 1, 2)(v) and v in ([1], [2], [1, 2])
EVIDENCE = {
    1: fixed(sized(1, 4096), sized(64)),
    2: fixed(sized(1, 4096), sized(64)),
    3: fixed(label, BYTES64K, many(fixed(label, BYTES64K), 0, 16)),
    4: lambda v: isinstance(v, list) and PROOF(v[:7]) and (len(v) == 7 or (len(v) == 8 and HIDES(v[7]))),
}
LOG_PART = fixed(sized(32), many(fixed(lambda v: v in LOG_TYPES, BYTES64K), 0, 16))
OPENED = fixed(sized(32), lambda v: isinstance(v, bytes))
OPENING = mapping(
    {0: equal("carat/opening/v1"), 1: DIGEST, 2: DIGEST, 3: OPENED, 4: OPENED},
    {5: OPENED, 6: sized(32), 7: many(uint, 0, 1 << 20), 8: OPENED, 9: OPENED},
)


# ---- the log (RFC 9162, C2SP) -------------------------------------------------------------------------------------


def tree_root(leaves):
    """RFC 9162 section 2.1.1."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0])
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + tree_root(leaves[:middle]) + tree_root(leaves[middle:]))


def root_from_path(leaf_hash, index, size, path):
    """RFC 9162 section 2.1.3.2."""
    need(index < size, "the index lies outside the tree")
    node, last, root = index, size - 1, leaf_hash
    for sibling in path:
        need(last > 0, "the path is too long")
        if node & 1 or node == last:
            root = sha256(b"\x01" + sibling + root)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            root = sha256(b"\x01" + root + sibling)
        node, last = node >> 1, last >> 1
    need(last == 0, "the path is too short")
    return root


def note(text):
    """A signed note: the signed text, and (name, key id, signature) of each line."""
    body, separator, lines = text.rpartition("\n\n")
    need(separator and lines.endswith("\n"), "not a signed note")
    signatures = []
    for line in lines.splitlines():
        mark, name, blob = (line.split(" ") + ["", ""])[:3]
        need(mark == "\u2014", "not a signature line")
        blob = base64.b64decode(blob, validate=True)
        signatures.append((name, blob[:4], blob[4:]))
    return body + "\n", signatures


def note_verifies(text, log_key, kind=None):
    """Whether the log signed. `kind` is the type (and domain) of its key for other notes than checkpoints."""
    name, _, encoded = log_key.split("+", 2)
    blob = base64.b64decode(encoded, validate=True)
    need(blob[:1] == b"\x01" and len(blob) == 33, "the log key is not an Ed25519 verifier key")
    key_id = sha256(name.encode() + b"\n" + (kind or b"\x01") + blob[1:])[:4]
    body, signatures = note(text)
    lines = [signature for line_name, line_id, signature in signatures if (line_name, line_id) == (name, key_id)]
    return bool(lines) and all(verifies(blob[1:], signature, body.encode()) for signature in lines)


# ---- a receipt file -----------------------------------------------------------------------------------------------


class Reader:
    def __init__(self, log_key=None):
        self.log_key = log_key
        self.checks = []

    def check(self, name, ok, reason):
        self.checks.append({"name": name, "ok": ok, "reason": reason})
        return ok

    def read(self, data, opening=None):
        need(len(data) <= MAX_FILE, "the file is larger than a receipt may be")
        receipt, *sections = items(data)
        claims, receipt_id = self.statement(receipt)
        self.check("encoding", True, "deterministic CBOR")
        last, seen = 0, []
        for section in sections:
            need(isinstance(section, list) and len(section) == 2, "a section is a pair")
            number, body = section
            need(type(number) is int and number in (1, 2, 3), "a section that this reader does not know")
            need(number > last or number == last == 1, "sections are repeated or out of order")
            last = number
            if number == 1:
                need(body not in seen and len(seen) < 64, "evidence is repeated, or there is too much")
                seen.append(body)
                self.evidence(len(seen) - 1, body, receipt_id, claims)
            elif number == 2:
                need(sized(1, 16 * 1024 * 1024)(body), "the Program is not a byte string of the right size")
                need(-70026 not in claims, "a courier's receipt carries no Program")
                same = tagged_hash("carat/program/v1", body) == claims[-70004]
                self.check("program", same, "the Program in the file is the one named" if same else "another Program")
            else:
                self.log(body, receipt_id, claims)
        if opening is None:
            self.check("opening", None, "no opening was given")
        else:
            self.opening(opening, receipt_id, claims)
        return {
            "receipt_id": receipt_id.hex(),
            "ok": all(check["ok"] is not False for check in self.checks),
            "issuer": claims[1],
            "issuer_key": "ed25519:" + claims[-70002].hex(),
            "program": claims[-70004].hex(),
            "model": f"{claims[-70005]} {claims[-70006]}",
            "issued_at": claims[6],
            "checks": self.checks,
        }

    def statement(self, receipt):
        need(isinstance(receipt, cbor2.CBORTag) and receipt.tag == 18, "not a tagged COSE_Sign1")
        parts = receipt.value
        need(isinstance(parts, list) and len(parts) == 4, "not a COSE_Sign1")
        protected, unprotected, payload, signature = parts
        need(isinstance(protected, bytes) and isinstance(payload, bytes) and sized(64)(signature), "not a COSE_Sign1")
        need(len(payload) <= 65536, "the Statement is too large")
        need(isinstance(unprotected, dict) and set(unprotected) <= {394}, "an unknown unprotected parameter")
        for receipts in unprotected.values():
            need(many(sized(1, 16384), 1, 8)(receipts), "COSE receipts of the wrong shape")
        claims = item(payload)
        need(CLAIMS(claims), "the claims do not fit the schema")
        subject = f"carat:{'upstream' if -70026 in claims else 'program'}:" + claims[-70004].hex()
        need(claims[2] == subject, "sub does not name the program, or the upstream's model")
        if -70026 in claims:
            self.courier(claims)
        need(-70022 not in claims or claims[-70022] >= claims[6], "the option expires before the receipt is issued")
        planned = {-70019, -70020, -70021} & set(claims)
        need(not planned or -70017 in claims, "claims of a planner without a Plan")
        edges = [edge[0] for edge in claims.get(-70023, [])]
        need(len(edges) == len(set(edges)), "relies_on names a receipt twice")
        header = {1: -19, 3: CONTENT_TYPE, 4: sha256(claims[-70002]), 15: {1: claims[1], 2: subject}}
        need(protected == encode(header), "the protected header does not fit the claims")
        signed = encode(["Signature1", protected, b"", payload])
        ok = verifies(claims[-70002], signature, signed)
        self.check("signature", ok, "the key in the Statement signed it" if ok else "the signature does not verify")
        return claims, sha256(signed)

    def courier(self, claims):
        """The rules between a courier's claims and the others."""
        said = claims[-70026]
        need(claims[-70008] != [0], "a courier's claims, and the execution is local")
        identity = tagged_hash("carat/upstream-model/v1", claims[-70008][1].encode(), said[2].encode())
        need(claims[-70004] == identity, "the digest is not that of the upstream's model")
        complete = claims[-70025][2] if -70025 in claims else True
        need(complete == (said[6] == 0), "the ending contradicts the stream")
        need(not {-70015, -70016, -70022} & set(claims), "a courier's claims beside claims that rest on a Program")

    def evidence(self, number, body, receipt_id, claims):
        need(isinstance(body, list) and len(body) == 3, "evidence is [kind, D, body]")
        kind, about, content = body
        need(type(kind) is int and kind in EVIDENCE and EVIDENCE[kind](content), "evidence of an unknown kind or shape")
        need(about == receipt_id, "evidence is about another receipt")
        name = f"evidence.{number}." + {1: "signature", 2: "replay", 3: "attestation", 4: "proof"}[kind]
        if kind == 4:
            need(content[4].count(receipt_id) == 1 and len(set(content[4])) == len(content[4]), "the proof's Statements")
            self.check(name, None, f"not checked by this reader; {self.hidden(content)}")
            return
        if kind == 3:
            self.check(name, None, "not checked by this reader")
            return
        encoded, signature = content
        said = item(encoded)
        need((COSIGNATURE if kind == 1 else REPLAY)(said), "the evidence does not fit the schema")
        domain = "carat/evidence/signature/v1" if kind == 1 else "carat/evidence/replay/v1"
        ok = verifies(said[1], signature, tagged_hash(domain, receipt_id, encoded))
        if not ok:
            self.check(name, False, "the signature does not verify")
        elif kind == 2 and said[4] != claims[-70004]:
            self.check(name, False, f"{said[2]} ran another program")
        elif kind == 2 and said[5] != claims[-70011]:
            self.check(name, False, f"{said[2]} got another output")
        else:
            self.check(name, True, f"signed by {said[2]}, key {said[1].hex()}")

    def hidden(self, proof):
        """The rules between a proof's mode and what it hides, and what its maker says that it hides."""
        protocol, mode, statements, hides = proof[0], proof[1], proof[4], proof[7] if len(proof) == 8 else []
        need(protocol != "carat/zk/v1" or mode in ("succinct", "zk"), "a mode that the protocol does not have")
        need(not hides or mode != "succinct", "a succinct proof hides nothing")
        need(1 not in hides or len(statements) == 1, "a proof that hides input and output covers one Statement")
        names = [{1: "input and output", 2: "weights"}[code] for code in hides]
        return f"mode {mode}" + (f", said to hide {' and '.join(names)}" if names else "")

    def log(self, body, receipt_id, claims):
        need(LOG_PART(body), "the log part does not fit the schema")
        blind, entries = body
        leaf = tagged_hash("carat/log-leaf/v1", blind, receipt_id)
        if -70017 in claims:
            leaf += claims[-70017][2].to_bytes(8, "big")
        leaf_hash = sha256(b"\x00" + leaf)
        for media_type, data in entries:
            name = "log_promise" if media_type == LOG_TYPES[0] else "log_inclusion"
            try:
                text = data.decode()
                ok, reason = (self.promise if name == "log_promise" else self.proof)(text, leaf_hash)
            except (Refused, ValueError) as error:
                ok, reason = False, str(error)
            self.check(name, ok, reason)

    def promise(self, text, leaf_hash):
        body, _ = note(text)
        lines = body.splitlines()
        need(len(lines) == 6 and lines[0] == "carat/log-promise/v1", "not a log promise")
        need(lines[3] == "leaf " + base64.b64encode(leaf_hash).decode(), "the promise is about another leaf")
        if self.log_key is None:
            return None, "about this receipt; give --log-key to check who signed"
        ok = note_verifies(text, self.log_key, b"\xffcarat/log-promise/v1")
        return ok, "signed by the log" if ok else "not signed by this log"

    def proof(self, text, leaf_hash):
        front, _, checkpoint = text.partition("\n\n")
        lines = front.split("\n")
        need(lines[0] == "c2sp.org/tlog-proof@v1", "not a tlog-proof")
        if lines[1].startswith("extra "):
            del lines[1]
        need(lines[1].startswith("index ") and lines[1][6:].isdecimal(), "no index")
        path = [base64.b64decode(line, validate=True) for line in lines[2:]]
        need(all(len(node) == 32 for node in path), "a path line is no hash")
        body, _ = note(checkpoint)
        origin, size, root = body.splitlines()[:3]
        need(size.isdecimal(), "the checkpoint has no size")
        found = root_from_path(leaf_hash, int(lines[1][6:]), int(size), path)
        need(base64.b64encode(found).decode() == root, "the path does not lead to the checkpoint")
        if self.log_key is None:
            return None, f"leads to a checkpoint of {origin}; give --log-key to check who signed"
        ok = note_verifies(checkpoint, self.log_key)
        return ok, f"in the checkpoint of size {size} of {origin}" if ok else "not signed by this log"

    def opening(self, data, receipt_id, claims):
        opened = item(data)
        need(OPENING(opened), "the opening does not fit the schema")
        wrong = []
        if opened[1] != receipt_id:
            wrong.append("it is for another receipt")
        if opened[2] != claims[-70004]:
            wrong.append("it names another program")
        need((8 in opened) == (9 in opened) and (7 not in opened or 8 in opened), "what was carried is opened in part")
        expected = {3: (b"input", claims[-70010]), 4: (b"output", claims[-70011]), 5: (b"facts", claims.get(-70019))}
        carried = claims.get(-70026, {})
        expected |= {8: (b"sent", carried.get(4)), 9: (b"received", carried.get(5))}
        if carried and 8 not in opened:
            wrong.append("it does not open what was carried")
        for key, (role, committed) in expected.items():
            if key in opened and tagged_hash("carat/commit/v1", role, *opened[key]) != committed:
                wrong.append(f"its {role.decode()} is not the one committed to")
        self.check("opening", not wrong, "; ".join(wrong) or "input and output are the ones committed to")
        if 7 in opened and not wrong:
            self.stream(opened, claims)

    def stream(self, opened, claims):
        """The chunks of the output, against the root in the Statement."""
        salt, output = opened[4]
        leaves, at = [], 0
        for index, length in enumerate(opened[7]):
            chunk = output[at : at + length]
            at += length
            chunk_salt = tagged_hash("carat/stream-salt/v1", salt, index.to_bytes(8, "big"))
            leaves.append(tagged_hash("carat/stream-chunk/v1", chunk_salt, chunk))
        stream = claims.get(-70025)
        same = stream is not None and 0 not in opened[7] and at == len(output)
        same = same and stream[:2] == [tree_root(leaves), len(leaves)]
        self.check("stream", same, "the chunks are the ones committed to" if same else "other chunks than the stream's")


def read_file(path, opening, log_key):
    reader = Reader(log_key)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
        beside = opening or (path + "-open" if os.path.exists(path + "-open") else None)
        opened = None
        if beside:
            with open(beside, "rb") as file:
                opened = file.read()
        result = reader.read(data, opened)
    except (Refused, RecursionError, TypeError, ValueError, LookupError) as error:
        # Whatever stops the reader, the bytes are not a receipt.
        reader.check("encoding", False, str(error))
        result = {"ok": False, "checks": reader.checks}
    return {"file": path, **result}


def main():
    parser = argparse.ArgumentParser(description="Check Carat receipts with a second implementation.")
    parser.add_argument("files", nargs="+", metavar="FILE.carat")
    parser.add_argument("--opening", help="opening of the one receipt given")
    parser.add_argument("--log-key", metavar="VKEY", help="verifier key of the log, NAME+ID+BASE64")
    arguments = parser.parse_args()
    if arguments.opening and len(arguments.files) > 1:
        parser.error("--opening goes with one receipt")
    good = True
    for path in arguments.files:
        try:
            result = read_file(path, arguments.opening, arguments.log_key)
        except OSError as error:
            parser.error(str(error))
        good = good and result["ok"]
        print(json.dumps(result, indent=2, ensure_ascii=False))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
