// What nobody should give, and what happens then: a CaratError with a sentence, and a verifier that goes on working.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { inflateSync } from "node:zlib";

import * as byName from "@carat/verifier";

import * as whole from "../dist/carat-verifier.js";
import { CaratError, MAX_CALL_BYTES, load } from "../dist/carat-verifier.js";
import { file, question, table } from "../support/table.js";

const wasm = readFileSync(new URL("../dist/carat-verifier.wasm", import.meta.url));
const carat = await load();
const entry = table.cases.find((one) => one.name === "replay");
const replay = file(entry.receipt);
const good = () => carat.verify(replay, question(entry));

const refuses = (call, kind, message) =>
  assert.rejects(call, (error) => {
    assert.ok(error instanceof CaratError, String(error));
    assert.equal(error.kind, kind, error.message);
    assert.match(error.message, message);
    return true;
  });

test("the module asks its host for nothing", () => {
  assert.deepEqual(WebAssembly.Module.imports(new WebAssembly.Module(wasm)), []);
});

test("every way to load it", async () => {
  const path = new URL("../dist/carat-verifier.wasm", import.meta.url);
  const copy = wasm.buffer.slice(wasm.byteOffset, wasm.byteOffset + wasm.length);
  const response = () => new Response(wasm, { headers: { "content-type": "application/wasm" } });
  const sources = [path, path.href, wasm, copy, new WebAssembly.Module(wasm), response(), Promise.resolve(response())];
  for (const source of sources) {
    const verifier = await load(source);
    assert.equal((await verifier.verify(replay, question(entry))).best, "500 USD");
  }
  await refuses(load(7), "usage", /URL/);
  await refuses(load(new Response("", { status: 404 })), "io", /404/);
  await assert.rejects(load(new Uint8Array(4)), WebAssembly.CompileError);
  assert.equal((await whole.verify(replay, question(entry))).best, "500 USD");
  assert.equal((await whole.describe(replay)).what, "receipt");
});

test("objects that throw when they are looked at", async () => {
  const fail = () => {
    throw new Error("mine");
  };
  const trap = new Proxy({}, { get: fail, ownKeys: fail, getPrototypeOf: fail });
  for (const field of ["now", "trust", "input", "model", "upstream", "remembered", "openExposure"]) {
    await refuses(carat.verify(replay, { [field]: trap }), "usage", /./);
  }
  await refuses(carat.verify(replay, trap), "usage", /cannot be read/);
  await refuses(carat.verify(trap), "usage", /./);
  await refuses(carat.verify(replay, { get now() { return fail(); } }), "usage", /cannot be read/);
  await refuses(carat.verify(replay, { input: { toJSON: fail } }), "usage", /input/);
});

test("bytes that are no bytes", async () => {
  for (const bytes of [undefined, null, "text", 7, [1, 2], {}, { length: 3, 0: 1 }, new Float64Array(4), new DataView(new ArrayBuffer(8))]) {
    await refuses(carat.verify(bytes), "usage", /receipt: give the bytes/);
    await refuses(carat.describe(bytes), "usage", /file: give the bytes/);
  }
  await refuses(carat.verify(replay, { opening: "text" }), "usage", /opening/);
  // What only pretends to be a view.
  const fake = Object.create(Uint8Array.prototype, { length: { value: 1e9 } });
  const tagged = { [Symbol.toStringTag]: "ArrayBuffer", byteLength: 1e9 };
  for (const bytes of [fake, tagged]) await refuses(carat.verify(bytes), "usage", /receipt/);
});

test("bytes in other clothes", async () => {
  const expected = await good();
  const padded = new Uint8Array(replay.length + 10);
  padded.set(replay, 5);
  const shared = new Uint8Array(new SharedArrayBuffer(replay.length));
  shared.set(replay);
  for (const bytes of [replay.slice().buffer, padded.subarray(5, -5), Buffer.from(replay), new Uint8ClampedArray(replay), shared]) {
    assert.deepEqual(await carat.verify(bytes, question(entry)), expected);
  }
});

test("times", async () => {
  for (const now of [NaN, Infinity, -1, 1.5, 2 ** 53, "2026", true, [], {}, new Date(NaN), 10n]) {
    await refuses(carat.verify(replay, { ...question(entry), now }), "usage", /now/);
  }
  const date = new Date(entry.ask.now * 1000 + 999);
  assert.deepEqual(await carat.verify(replay, { ...question(entry), now: date }), await good());
  for (const now of [0, 253402300799, Number.MAX_SAFE_INTEGER]) {
    assert.equal((await carat.verify(replay, { ...question(entry), now })).exit_code, 4);
  }
  // Without a time, the clock of this machine.
  const { now, ...untimed } = question(entry);
  assert.equal((await carat.verify(replay, untimed)).exit_code, 4);
});

test("questions that are none", async () => {
  for (const asked of [null, 7, "now", [], replay, () => 1]) {
    await refuses(carat.verify(replay, asked), "usage", /give an object/);
  }
  await refuses(carat.verify(replay, { tust: "" }), "usage", /no field "tust".*trust/);
  await refuses(carat.verify(replay, { receipt: replay }), "usage", /no field "receipt"/);
  await refuses(carat.verify(replay, { amount: 500 }), "usage", /amount: give a text/);
  await refuses(carat.verify(replay, { useAt: "whenever" }), "usage", /after-use/);
  await refuses(carat.verify(replay, { nonce: "xyz" }), "usage", /hexadecimal/);
  await refuses(carat.verify(replay, { nonce: new Uint8Array(65) }), "usage", /8 to 64 bytes/);
  await refuses(carat.verify(replay, { openExposure: "5USD" }), "usage", /array/);
  await refuses(carat.verify(replay, { upstream: [{}] }), "usage", /upstream\[0\]: give its receipt/);
  await refuses(carat.verify(replay, { model: { program: "12" } }), "usage", /model.program/);
  await refuses(carat.verify(replay, { trustOwner: entry.ask.nonce }), "usage", /trust/);
  await refuses(carat.verify(replay, { endpoint: "/v1/x" }), "usage", /asked/);
  const program = "0".repeat(64);
  await refuses(carat.verify(replay, { asked: "m", model: { program } }), "usage", /one of them/);
  await refuses(carat.verify(replay, { model: { program, keys: [{ profile: "p", root: program }] } }), "usage", /profile/);
  await refuses(carat.verifyNotice(replay, {}), "usage", /receipt/);
  await refuses(carat.verifyNotice(replay, { receipt: replay }), "invalid", /notice/);
  const loop = [];
  loop.push(loop);
  await refuses(carat.verify(replay, { input: loop }), "usage", /input/);
  await refuses(carat.verify(replay, { input: () => 1 }), "usage", /input/);
  await refuses(carat.verify(replay, { input: [10n] }), "usage", /input/);
  await refuses(carat.verify(replay, { input: new Float64Array(4) }), "usage", /plain arrays/);
});

test("inputs in every form", async () => {
  const asked = { trust: question(entry).trust, now: entry.ask.now, opening: file(`${entry.receipt}-open`) };
  const npy = (shape, bytes) => {
    const header = `{'descr': '|i1', 'fortran_order': False, 'shape': ${shape}, }\n`;
    return Uint8Array.from([0x93, ...Buffer.from("NUMPY"), 1, 0, header.length, 0, ...Buffer.from(header), ...bytes]);
  };
  const matched = (report) => report.checks.find((check) => check.name === "question_matched").ok;
  for (const input of [[1, -2, 3, 4], { x: [1, -2, 3, 4] }, Buffer.from("[1, -2, 3.0, 4]"), npy("(4,)", [1, 254, 3, 4])]) {
    assert.equal(matched(await carat.verify(replay, { ...asked, input })), true);
  }
  for (const input of [[1, -2, 3, 4.5], [1, -2, 3, NaN], [[1, -2], [3, 4]], { y: [1, -2, 3, 4] }, {}, [], "seven", 7, npy("(2, 2)", [1, 254, 3, 4]), npy("(4,)", [1]), new Uint8Array(0), file("examples/seven.png")]) {
    await refuses(carat.verify(replay, { ...asked, input }), "bad-input", /^input: /);
  }
  // An image as its file has it, and as pixels.
  const digits = { now: 1796080000, opening: file("conformance/receipts/digits.carat-open") };
  const receipt = file("conformance/receipts/digits.carat");
  const image = await carat.verify(receipt, { ...digits, input: pixels(file("examples/seven.png")) });
  assert.equal(image.checks.find((check) => check.name === "input").ok, true);
  assert.equal(image.output[0].label.name, "seven");
  const { width, height, channels } = pixels(file("examples/seven.png"));
  const black = { width, height, channels, pixels: new Uint8Array(width * height * channels) };
  assert.equal((await carat.verify(receipt, { ...digits, input: black })).verdict, "invalid");
  for (const wrong of [{ width: 1 }, { channels: 5 }, { pixels: new Uint8Array(3) }, { height: 2 ** 40 }, { width: -1 }]) {
    const asked = carat.verify(receipt, { ...digits, input: { ...black, ...wrong } });
    await assert.rejects(asked, { name: "CaratError" });
  }
});

/** The pixels of a grey PNG of 8 bits without interlacing: what a page would get from a canvas. */
function pixels(png) {
  const view = new DataView(png.buffer);
  let [width, height, data] = [0, 0, []];
  for (let at = 8; at < png.length; at += 12 + view.getUint32(at)) {
    const kind = Buffer.from(png.subarray(at + 4, at + 8)).toString();
    const body = png.subarray(at + 8, at + 8 + view.getUint32(at));
    if (kind === "IHDR") {
      [width, height] = [view.getUint32(at + 8), view.getUint32(at + 12)];
      assert.deepEqual([...body.subarray(8)], [8, 0, 0, 0, 0], "8-bit grey");
    }
    if (kind === "IDAT") data.push(body);
  }
  const rows = inflateSync(Buffer.concat(data));
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (width + 1)];
    for (let x = 0; x < width; x++) {
      const [left, up, corner] = [x && out[y * width + x - 1], y && out[(y - 1) * width + x], x && y && out[(y - 1) * width + x - 1]];
      const p = left + up - corner;
      const [a, b, c] = [Math.abs(p - left), Math.abs(p - up), Math.abs(p - corner)];
      const paeth = a <= b && a <= c ? left : b <= c ? up : corner;
      out[y * width + x] = rows[y * (width + 1) + 1 + x] + [0, left, up, (left + up) >> 1, paeth][filter];
    }
  }
  return { width, height, channels: 1, pixels: out };
}

test("objects that reach for prototypes", async () => {
  const evil = JSON.parse('{"__proto__": {"amount": "1USD"}, "now": 5}');
  await refuses(carat.verify(replay, evil), "usage", /__proto__/);
  for (const name of ["constructor", "toString", "hasOwnProperty"]) {
    await refuses(carat.verify(replay, { [name]: "1USD" }), "usage", /no field/);
  }
  await refuses(carat.verify(replay, { model: JSON.parse('{"__proto__": 1, "program": "00"}') }), "usage", /__proto__/);
  // What stands on a prototype is not part of the question.
  const inherited = Object.assign(Object.create({ nonce: "00".repeat(16) }), question(entry));
  assert.deepEqual(await carat.verify(replay, inherited), await good());
  Object.prototype.audience = "Other Bank";
  try {
    assert.equal((await good()).best, "500 USD");
  } finally {
    delete Object.prototype.audience;
  }
  await refuses(
    carat.verify(replay, { opening: file(`${entry.receipt}-open`), input: JSON.parse('{"__proto__": [1, 2, 3, 4]}') }),
    "bad-input",
    /no input `__proto__`/,
  );
});

test("too much", async () => {
  const big = new Uint8Array(MAX_CALL_BYTES);
  await refuses(carat.verify(big), "too-large", /at most 67108864/);
  await refuses(carat.verify(replay, { opening: big }), "too-large", /carat verify/);
  await refuses(carat.describe(big), "too-large", /67108864/);
  // As much as goes: zeros are no receipt.
  const most = big.subarray(0, MAX_CALL_BYTES - 1000);
  assert.equal((await carat.verify(most)).exit_code, 1);
  // A Trust file beyond its own limit.
  await refuses(carat.verify(replay, { trust: "#".repeat(2 << 20) }), "trust-refused", /limit/);
  await refuses(carat.verify(replay, { trust: new Uint8Array([0xff, 0xfe]) }), "trust-refused", /utf-8/);
  const deep = "[".repeat(100_000);
  await refuses(carat.verify(replay, { trust: `a = ${deep}` }), "trust-refused", /./);
  const nested = new TextEncoder().encode(deep);
  await refuses(
    carat.verify(replay, { opening: file(`${entry.receipt}-open`), input: nested }),
    "bad-input",
    /recursion|nested/,
  );
  // What takes more memory than the module may have, although it is short enough.
  const numbers = Buffer.from(`[${"1,".repeat(15 << 20)}1]`);
  await refuses(carat.verify(replay, { input: numbers }), "too-large", /memory/);
  assert.equal((await good()).best, "500 USD");
});

test("headers that claim more than there is", async () => {
  const heads = ["d2845b00000002540be400", "d28459ffff", "d2849b7fffffffffffffff", "9b00000002540be400", "bb00000002540be400", "5b7fffffffffffffff", "a1005bffffffffffffffff", "d284".repeat(5000), "81".repeat(100_000)];
  for (const head of heads) {
    const bytes = Buffer.from(head, "hex");
    assert.equal((await carat.verify(bytes)).verdict, "invalid");
    await refuses(carat.describe(bytes), "invalid", /./);
    await refuses(carat.verify(replay, { opening: bytes }), "mismatch", /opening/);
    await refuses(carat.verifyNotice(bytes, { receipt: replay }), "invalid", /notice/);
  }
  await refuses(carat.describe(new Uint8Array(0)), "invalid", /empty/);
});

test("again, after errors, and at once", async () => {
  const expected = await good();
  for (let i = 0; i < 20; i++) {
    await carat.verify(replay, { amount: "x" }).catch(() => {});
    assert.deepEqual(await good(), expected);
  }
  const mixed = Array.from({ length: 60 }, (_, i) => {
    if (i % 3 === 0) return carat.verify(replay, { amount: "x" }).catch((error) => error.kind);
    if (i % 3 === 1) return carat.describe(replay).then((said) => said.receipt_id);
    return good();
  });
  const answers = await Promise.all(mixed);
  answers.forEach((answer, i) => {
    assert.deepEqual(answer, i % 3 === 0 ? "usage" : i % 3 === 1 ? expected.receipt.receipt_id : expected);
  });
});

test("a buffer that changes under the call", async () => {
  const mine = replay.slice();
  const asked = carat.verify(mine, question(entry));
  mine.fill(0);
  // The first call of a verifier waits for its instance: what it sees is the old bytes or the new, and it is one receipt.
  const report = await asked;
  assert.ok(["good", "invalid"].includes(report.verdict));
  const gone = replay.slice().buffer;
  structuredClone(gone, { transfer: [gone] });
  await refuses(carat.verify(gone), "usage", /receipt/);
});

test("a verifier whose instance stops goes on with another", async () => {
  // A module of the same shape whose call traps: what the package does then, without a fault of the real one.
  const bytes = trapping();
  const broken = await load(bytes);
  for (let i = 0; i < 3; i++) await refuses(broken.verify(replay), "internal", /stopped/);
  assert.equal((await good()).best, "500 USD");
});

/** (module (memory (export "memory") 1) reserve -> 8, call -> unreachable, answer -> 0, answer_length -> 0, forget) */
function trapping() {
  const name = (text) => [text.length, ...Buffer.from(text)];
  const section = (id, body) => [id, body.length, ...body];
  const types = [3, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 0, 1, 0x7f, 0x60, 0, 0];
  const exported = [["memory", 2, 0], ["reserve", 0, 0], ["call", 0, 1], ["answer", 0, 2], ["answer_length", 0, 3], ["forget", 0, 4]];
  const code = [[0x41, 8], [0x00], [0x41, 0], [0x41, 0], []].map((body) => [body.length + 2, 0, ...body, 0x0b]);
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, types),
    ...section(3, [5, 0, 0, 1, 1, 2]),
    ...section(5, [1, 0, 1]),
    ...section(7, [exported.length, ...exported.flatMap(([text, kind, index]) => [...name(text), kind, index])]),
    ...section(10, [code.length, ...code.flat()]),
  ]);
}

test("what files say", async () => {
  for (const one of table.cases) {
    if (one.change || !one.receipt.endsWith(".carat")) continue;
    const said = await carat.describe(file(one.receipt));
    assert.equal(said.what, "receipt");
    assert.equal(said.bytes, file(one.receipt).length);
    if (one.expect.verdict) {
      const report = await carat.verify(file(one.receipt), { now: 1767229200 });
      assert.equal(said.receipt_id, report.receipt.receipt_id);
      assert.equal(said.statement.issuer, report.receipt.issuer);
      assert.equal(said.statement.issued_at.text, report.receipt.issued_at);
      assert.equal(said.evidence.length + 1, report.receipt.evidence.length);
    }
  }
  const everything = file("crates/carat-verify/tests/fixtures/everything.carat");
  const said = await carat.describe(everything);
  assert.deepEqual(said.evidence.map((item) => item.kind), ["replay", "signature", "attestation", "proof"]);
  assert.equal(said.statement.plan.tau, String(2n ** 60n));
  assert.equal(said.log.items[1].size, 5);
  assert.deepEqual(said.program.operations, { linear: 1 });
  const opening = await carat.describe(file("crates/carat-verify/tests/fixtures/everything.carat-open"));
  assert.equal(opening.what, "opening");
  assert.equal(opening.receipt_id, said.receipt_id);
  assert.ok(!JSON.stringify(opening).includes("11".repeat(32)), "no salts");
  for (const { notice } of table.notices) {
    assert.equal((await carat.describe(file(notice))).what, "notice");
  }
  const trust = await carat.describe(file("crates/carat-verify/tests/fixtures/trust.toml"));
  assert.equal(trust.what, "trust");
  assert.equal(trust.signature, "holds");
  assert.equal(trust.name, "Example Bank");
  assert.equal((await carat.describe(file("conformance/trust/changed.toml"))).signature, "broken");
  assert.equal((await carat.describe(file("conformance/trust/unsigned.toml"))).signature, "absent");
  for (const path of ["README.md", "examples/seven.png"]) {
    await refuses(carat.describe(file(path)), "invalid", /neither/);
  }
});

test("what was remembered", async () => {
  const asked = question(entry);
  const rolledBack = await carat.verify(replay, { ...asked, remembered: { trustVersion: 99 } });
  assert.equal(rolledBack.best, null);
  assert.match(rolledBack.checks.find((check) => check.name === "trust_version").reason, /99/);
  assert.deepEqual(await carat.verify(replay, { ...asked, remembered: {} }), await good());
  await refuses(carat.verify(replay, { ...asked, remembered: { checkpoint: "x" } }), "usage", /checkpoint/);
  // A checkpoint of the same size and another root: the log shows two histories.
  const logged = file("conformance/receipts/logged.carat");
  const { checkpoint } = (await carat.describe(logged)).log.items[1];
  const inclusion = async (remembered) => {
    const { checks } = await carat.verify(logged, { ...asked, remembered });
    return checks.filter((check) => check.name.startsWith("log_") && check.ok === false).length;
  };
  assert.equal(await inclusion({ checkpoint }), 0);
  const [origin, size, , ...rest] = checkpoint.split("\n");
  const forked = [origin, size, Buffer.alloc(32, 7).toString("base64"), ...rest].join("\n");
  assert.ok((await inclusion({ checkpoint: forked })) > 0);
});

test("the package by its name", () => assert.equal(byName, whole));

test("the types name what the module has", () => {
  const types = readFileSync(new URL("../dist/carat-verifier.d.ts", import.meta.url), "utf8");
  const declared = [...types.matchAll(/^export (?:const|class|function) (\w+)/gm)].map((found) => found[1]);
  assert.deepEqual(declared.sort(), Object.keys(whole).sort());
  // Every field that a question takes, and no other.
  const [, body] = /export interface Question \{([\s\S]*?)\n\}/.exec(types);
  const fields = [...body.matchAll(/^ {2}(\w+)\?:/gm)].map((found) => found[1]);
  return assert.rejects(carat.verify(replay, { "": 1 }), (error) => {
    assert.deepEqual(fields.sort(), error.message.split("it takes ")[1].split(", ").sort());
    return true;
  });
});
