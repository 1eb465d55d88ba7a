"""Turns NVIDIA's reference integrity manifests (signed XML) into a bundle that Carat's verifier reads.

    python tools/python/nvidia_rim.py check RIM.swidtag... --root rim_root.crt --at UNIXTIME
    python tools/python/nvidia_rim.py bundle RIM.swidtag... --root rim_root.crt --at UNIXTIME --key key.pem -o bundle.cbor
    python tools/python/nvidia_rim.py key key.pem          makes an Ed25519 key and prints its public part

The XML's signature (enveloped XML-DSig) and the chain of its signer up to the pinned root are checked at the stated time.
Only what the signature covers is read. The form of the bundle is in crates/carat-tee/src/nvidia/reference.rs. Needs
signxml and lxml (requirements.txt).
"""

import argparse
import base64
import datetime
import hashlib
import os
import sys

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from lxml import etree
from signxml import SignatureConfiguration, XMLVerifier
from signxml.algorithms import DigestAlgorithm, SignatureMethod

# SHA-256 of the DER of `NVIDIA CoRIM signing Root CA`, valid to 2053.
ROOT = "12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1"
SWID = "{http://standards.iso.org/iso/19770/-2/2015/schema.xsd}"
SIGNATURE = "{http://www.w3.org/2000/09/xmldsig#}"
HASH = "{http://www.w3.org/2001/04/xmlenc#sha384}Hash"
DOMAIN = b"carat/nvidia-reference/v1"
MAX_BYTES = 4 << 20


class Refused(Exception):
    """The manifest is not to be believed, and why."""


def chain_of(root):
    """The certificates in the signature, leaf first."""
    found = []
    for node in root.iter(SIGNATURE + "X509Certificate"):
        found.append(x509.load_der_x509_certificate(base64.b64decode("".join(node.text.split()))))
    if not 1 <= len(found) <= 8:
        raise Refused("the signature carries no chain, or one that is too long")
    by_subject = {cert.subject: cert for cert in found}
    issuers = {cert.issuer for cert in found if cert.issuer != cert.subject}
    leaves = [cert for cert in found if cert.subject not in issuers and cert.issuer != cert.subject]
    if len(leaves) != 1 or len(by_subject) != len(found):
        raise Refused("the certificates do not form one chain")
    chain = leaves
    while chain[-1].issuer != chain[-1].subject:
        if chain[-1].issuer not in by_subject or len(chain) > len(found):
            break
        chain.append(by_subject[chain[-1].issuer])
    return chain


def check_chain(chain, pinned, at):
    if hashlib.sha256(pinned.public_bytes(serialization.Encoding.DER)).hexdigest() != ROOT:
        raise Refused("--root is not NVIDIA's root for reference manifests")
    if chain[-1].subject != chain[-1].issuer:
        chain = [*chain, pinned]
    if chain[-1] != pinned:
        raise Refused("the chain does not end at NVIDIA's root")
    for cert, issuer in zip(chain, chain[1:]):
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        if not constraints.ca or not usage.key_cert_sign:
            raise Refused("a certificate above the signer may not sign certificates")
        cert.verify_directly_issued_by(issuer)
    now = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    for cert in chain:
        if not cert.not_valid_before_utc <= now <= cert.not_valid_after_utc:
            raise Refused(f"a certificate is valid from {cert.not_valid_before_utc} to {cert.not_valid_after_utc} only")
    return int(min(cert.not_valid_after_utc for cert in chain).timestamp())


def manifest(path, pinned, at):
    """What a manifest says, after every check."""
    if os.path.getsize(path) > MAX_BYTES:
        raise Refused("the file is too large")
    with open(path, "rb") as file:
        data = file.read()
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    root = etree.fromstring(data, parser)
    if root.getroottree().docinfo.doctype:
        raise Refused("the file has a document type declaration")
    chain = chain_of(root)
    not_after = check_chain(chain, pinned, at)
    if not isinstance(chain[0].public_key(), ec.EllipticCurvePublicKey) or chain[0].public_key().curve.name != "secp384r1":
        raise Refused("the signer's key is not on P-384")
    config = SignatureConfiguration(
        signature_methods=frozenset({SignatureMethod.ECDSA_SHA384}),
        digest_algorithms=frozenset({DigestAlgorithm.SHA384}),
        verification_time=datetime.datetime.fromtimestamp(at, datetime.timezone.utc),
    )
    # The key is the checked chain's leaf; what follows reads the element that was signed, and nothing beside it.
    verified = XMLVerifier().verify(data, x509_cert=chain[0], expect_config=config)
    signed = verified.signed_xml
    if signed is None or signed.tag != SWID + "SoftwareIdentity":
        raise Refused("the signature does not cover the manifest")
    meta, payload = signed.findall(SWID + "Meta"), signed.findall(SWID + "Payload")
    if len(meta) != 1 or len(payload) != 1:
        raise Refused("there is not exactly one Meta and one Payload")
    values = {}
    for resource in payload[0].findall(SWID + "Resource"):
        if resource.get("type") != "Measurement" or resource.get("active") != "True":
            continue
        index, count = int(resource.get("index")), int(resource.get("alternatives"))
        hashes_ = [bytes.fromhex(resource.get(f"{HASH}{at_}", "")) for at_ in range(count)]
        if index in values or not hashes_ or any(len(value) != int(resource.get("size")) for value in hashes_):
            raise Refused(f"measurement {index} stands there twice, or has values of another size")
        values[index] = hashes_
    if not values:
        raise Refused("no measurement is active")
    version = meta[0].get("colloquialVersion")
    # Versions of a VBIOS have five parts of two digits; drivers' have two or three.
    part = 1 if version.count(".") == 4 else 0
    return {
        1: os.path.basename(path)[:128],
        2: part,
        3: version,
        4: hashlib.sha256(data).digest(),
        5: not_after,
        6: [[index, values[index]] for index in sorted(values)],
    }


def bundle(manifests, at, key):
    payload = cbor2.dumps({1: at, 2: manifests}, canonical=True)
    prefix = len(DOMAIN).to_bytes(8, "big") + DOMAIN + len(payload).to_bytes(8, "big")
    message = hashlib.sha256(prefix + payload).digest()
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return cbor2.dumps([payload, public, key.sign(message)], canonical=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("check", "bundle"):
        command = commands.add_parser(name)
        command.add_argument("rims", nargs="+")
        command.add_argument("--root", required=True)
        command.add_argument("--at", type=int, required=True)
    command.add_argument("--key", required=True)
    command.add_argument("-o", "--out", required=True)
    commands.add_parser("key").add_argument("path")
    args = parser.parse_args()
    if args.command == "key":
        key = Ed25519PrivateKey.generate()
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        descriptor = os.open(args.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
        print(key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex())
        return 0
    with open(args.root, "rb") as file:
        pinned = x509.load_pem_x509_certificate(file.read())
    found = []
    for path in args.rims:
        try:
            found.append(manifest(path, pinned, args.at))
        except Exception as error:  # every failure is a refusal: libraries raise many kinds
            print(f"{path}: REFUSED, {type(error).__name__}: {error}", file=sys.stderr)
            return 1
        said = found[-1]
        print(f"{path}: version {said[3]}, {len(said[6])} active measurements, until {said[5]}")
    if args.command == "bundle":
        with open(args.key, "rb") as file:
            key = serialization.load_pem_private_key(file.read(), None)
        with open(args.out, "wb") as file:
            file.write(bundle(found, args.at, key))
    return 0


if __name__ == "__main__":
    sys.exit(main())
