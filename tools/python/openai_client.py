#!/usr/bin/env python3
"""OpenAI's own client, unmodified, against `carat serve` in front of an upstream, and through `carat proxy`.

    openai_client.py CARAT

CARAT is the binary. The upstream is a server in this script, behind TLS with an authority made here; the node passes its answers on,
and the proxy lets only those through whose receipts are good for enough. Ends with 0 only if all of it worked.
"""

import argparse
import datetime
import hashlib
import http.server
import ipaddress
import json
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.request

import openai
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

KEY = "sk-upstream-key-of-the-operator"
WORDS = ["Seven", " is", " a", " prime", "."]


class Upstream(http.server.BaseHTTPRequestHandler):
    """A small service that speaks the interface. What it was asked is kept."""

    protocol_version = "HTTP/1.1"
    asked = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(body)
        self.asked.append((self.path, dict(self.headers), body))
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return self.answer(401, {"error": {"message": "Incorrect API key provided", "type": "invalid_request_error"}})
        model = asked["model"]
        usage = {"prompt_tokens": 5, "completion_tokens": len(WORDS), "total_tokens": 5 + len(WORDS)}
        if model == "limited":
            return self.answer(429, {"error": {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit"}})
        if model == "liar":
            model = "something-smaller"
        base = {"id": "x-1", "created": 1, "model": model}
        if self.path == "/v1/embeddings":
            data = [{"object": "embedding", "index": i, "embedding": [0.5, -0.25]} for i, _ in enumerate(asked["input"])]
            return self.answer(200, {**base, "object": "list", "data": data, "usage": usage})
        chat = self.path == "/v1/chat/completions"
        kind = "chat.completion" if chat else "text_completion"
        if not asked.get("stream"):
            text = "".join(WORDS)
            choice = {"index": 0, "finish_reason": "stop"}
            choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            return self.answer(200, {**base, "object": kind, "choices": [choice], "usage": usage})
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for word in WORDS:
            choice = {"index": 0, "finish_reason": None}
            choice |= {"delta": {"content": word}} if chat else {"text": word}
            self.event({**base, "object": kind + ".chunk", "choices": [choice]})
            if model == "breaks":
                return None
        self.event({**base, "object": kind + ".chunk", "choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")
        return None

    def event(self, value):
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def certificate(folder):
    """An authority that is a server's certificate too, for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "upstream of a test")])
    now = datetime.datetime.now(datetime.timezone.utc)

    def build(subject, issuer, public, signer, authority):
        builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number(), now, now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return builder.sign(signer, hashes.SHA256())

    authority = build(name, name, key.public_key(), key, True)
    server_key = ec.generate_private_key(ec.SECP256R1())
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server of a test")])
    server = build(server_name, name, server_key.public_key(), key, False)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(authority.public_bytes(pem))
    # Of the same name, and another key.
    other_key = ec.generate_private_key(ec.SECP256R1())
    other = build(name, name, other_key.public_key(), other_key, True)
    (folder / "other.pem").write_bytes(other.public_bytes(pem))
    private = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + server.public_bytes(pem))


def upstream(folder):
    certificate(folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "server.pem")
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


class Process:
    """A server of the binary, and the address that it prints."""

    def __init__(self, command, environment, folder):
        self.log = open(folder / "log", "ab")
        self.process = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=self.log)
        self.address = self.process.stdout.readline().decode().strip().removeprefix("listening on ")
        assert self.address.startswith("http://"), (folder / "log").read_text()

    def end(self):
        self.process.terminate()
        assert self.process.wait(60) == 0


def refused(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected")


def client(address, key, retries=0):
    return openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=retries)


def answers(api, streams_have_an_end=True):
    """What every user of the client does."""
    names = [model.id for model in api.models.list()]
    assert {"prime", "liar", "breaks", "limited"} <= set(names), names
    assert api.models.retrieve("prime").owned_by == "fake"
    messages = [{"role": "user", "content": "Is seven a prime? \u2713"}]
    whole = api.chat.completions.create(model="prime", messages=messages, temperature=0.7)
    assert whole.choices[0].message.content == "".join(WORDS) and whole.usage.total_tokens == 10
    stream = api.chat.completions.create(model="prime", messages=messages, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content for chunk in chunks if chunk.choices) == "".join(WORDS)
    assert chunks[-1].usage.completion_tokens == len(WORDS)
    assert api.completions.create(model="prime", prompt="Seven").choices[0].text == "".join(WORDS)
    pieces = api.completions.create(model="prime", prompt="Seven", stream=True)
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == "".join(WORDS)
    vectors = api.embeddings.create(model="prime", input=["a", "b"], encoding_format="float")
    assert [item.embedding for item in vectors.data] == [[0.5, -0.25]] * 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("carat", type=pathlib.Path)
    carat = str(parser.parse_args().carat.resolve())
    folder = pathlib.Path(tempfile.mkdtemp())
    port = upstream(folder)
    environment = {**os.environ, "CARAT_HOME": str(folder / "home"), "UPSTREAM_KEY": KEY}
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "CARAT_API_KEY"):
        environment.pop(name, None)

    def run(*args):
        return subprocess.run([carat, *args], env=environment, cwd=folder, check=True, capture_output=True).stdout.decode()

    (folder / "serve.toml").write_text(
        f"""listen = "127.0.0.1:0"
[[upstreams]]
name = "fake"
url = "https://127.0.0.1:{port}/v1"
key_env = "UPSTREAM_KEY"
ca_file = "ca.pem"
models = [{{ name = "prime", upstream_name = "prime-1" }}, {{ name = "liar" }}, {{ name = "breaks" }}, {{ name = "limited" }}]

[[upstreams]]
name = "not who it says"
url = "https://127.0.0.1:{port}/v1"
key_env = "UPSTREAM_KEY"
ca_file = "other.pem"
models = [{{ name = "stranger" }}]
"""
    )
    key = run("api-key", "new", "--tenant", "acme", "--scope", "infer,read").splitlines()[0]
    node = Process([carat, "serve", "--config", "serve.toml"], environment, folder)
    api = client(node.address, key)
    answers(api)

    # Bytes, and the receipt's hashes of them, as the client sees them.
    raw = api.chat.completions.with_raw_response.create(model="prime", messages=[{"role": "user", "content": "x"}])
    receipt_id = raw.headers["carat-receipt-id"]
    path, headers, sent = Upstream.asked[-1]
    assert path == "/v1/chat/completions" and key not in str(headers) and b'"prime-1"' in sent
    assert not [name for name in headers if name.lower().startswith(("x-stainless", "openai"))], headers

    def get(suffix):
        request = urllib.request.Request(f"{node.address}/v1/receipts/{receipt_id}{suffix}", headers={"Authorization": f"Bearer {key}"})
        with urllib.request.urlopen(request) as response:
            return response.read()

    for suffix, name in (("", "r.carat"), ("/opening", "r.carat-open")):
        (folder / name).write_bytes(get(suffix))
    reader = pathlib.Path(__file__).with_name("read_receipt.py")
    read = json.loads(subprocess.run([sys.executable, reader, folder / "r.carat"], check=True, capture_output=True).stdout)
    assert read["ok"] and any(check["name"] == "opening" and check["ok"] for check in read["checks"]), read
    digest = hashlib.sha256(raw.content).hexdigest()
    opening = (folder / "r.carat-open").read_bytes()
    assert raw.content in opening and sent in opening, digest

    # Errors become the client's own kinds.
    assert "wrong" not in str(refused(openai.AuthenticationError, lambda: client(node.address, "carat_wrong_key").models.list()))
    refused(openai.AuthenticationError, lambda: client(node.address, "carat_wrong").chat.completions.create(model="prime", messages=[]))
    missing = refused(openai.NotFoundError, lambda: api.chat.completions.create(model="nobody", messages=[]))
    assert missing.code == "model_not_found", missing
    assert refused(openai.RateLimitError, lambda: api.chat.completions.create(model="limited", messages=[])).code == "upstream_refused"
    before = len(Upstream.asked)
    stranger = refused(openai.InternalServerError, lambda: api.chat.completions.create(model="stranger", messages=[]))
    assert stranger.code == "upstream_unreachable" and len(Upstream.asked) == before, "its certificate is another's"
    retrying = client(node.address, key, retries=2)
    lie = refused(openai.InternalServerError, lambda: retrying.chat.completions.create(model="liar", messages=[]))
    assert lie.code == "upstream_model_mismatch" and len(Upstream.asked) == before + 1, "a lie is not asked for again"
    cut = refused(openai.APIError, lambda: list(api.chat.completions.create(model="breaks", messages=[], stream=True)))
    assert cut.code == "upstream_cut", cut

    # The same program through the proxy, with the Trust file of whoever runs it.
    run("trust", "new", "--name", "me", "--currency", "USD", "--audience", "me")
    run("trust", "add", "trust.toml", "issuer", "node", read["issuer_key"])
    run("trust", "add", "trust.toml", "upstream", "fake", "5USD")
    command = [carat, "proxy", "--upstream", node.address, "--trust", "trust.toml", "--listen", "127.0.0.1:0", "--min-good-for"]
    proxy = Process([*command, "5USD"], environment, folder)
    through = client(proxy.address, key)
    answers(through)
    refused(openai.APIStatusError, lambda: list(through.chat.completions.create(model="breaks", messages=[], stream=True)))
    refused(openai.NotFoundError, lambda: through.chat.completions.create(model="nobody", messages=[]))
    refused(openai.AuthenticationError, lambda: client(proxy.address, "carat_wrong").chat.completions.create(model="prime", messages=[]))
    proxy.end()
    proxy = Process([*command, "6USD"], environment, folder)
    short = refused(openai.UnprocessableEntityError, lambda: client(proxy.address, key, 2).chat.completions.create(model="prime", messages=[]))
    assert short.code == "not_good_enough" and short.body["carat"]["good_for"] == "5 USD", short.body
    proxy.end()
    node.end()
    log = (folder / "log").read_text()
    assert KEY not in log and key not in log
    print(f"ci: openai {openai.__version__}: chat, completions, embeddings, streams, errors; directly and through the proxy")
    return 0


if __name__ == "__main__":
    sys.exit(main())
