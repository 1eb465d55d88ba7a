// Runs the WebAssembly verifier on the shipped proof, and on the same proof with one bit changed at a time.
//   node tools/wasm/verify.mjs [MODULE.wasm] [FILE]
// Ends with 0 if the proof is accepted in under 50 ms (best of 15, so that a busy machine does not decide; the median is
// printed too) and every change is refused.
import { readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";

const here = new URL(".", import.meta.url);
const target = process.env.CARGO_TARGET_DIR ?? new URL("target", here).pathname;
const [
  module = `${target}/wasm32-unknown-unknown/release/carat_wasm.wasm`,
  path = new URL("../../crates/carat-zk/tests/data/shipped.proof", here),
] = process.argv.slice(2);
const LIMIT_MS = 50;

const { instance } = await WebAssembly.instantiate(readFileSync(module), {});
const { clear, push, check, reason } = instance.exports;
const file = readFileSync(path);

function verify(bytes) {
  clear();
  for (let at = 0; at < bytes.length; at += 4) {
    let word = 0;
    for (let i = 0; i < 4; i++) word |= (bytes[at + i] ?? 0) << (8 * i);
    push(word);
  }
  if (check() === 0) return null;
  const text = [];
  for (let at = 0, byte; (byte = reason(at)) !== 0; at++) text.push(byte);
  return Buffer.from(text).toString("utf8");
}

const fail = (why) => {
  console.error(`wasm: ${why}`);
  process.exit(1);
};
const refused = verify(file);
if (refused !== null) fail(`the shipped proof is refused: ${refused}`);
const times = [];
for (let i = 0; i < 15; i++) {
  const start = performance.now();
  verify(file);
  times.push(performance.now() - start);
}
times.sort((a, b) => a - b);
const median = times[7];

// The last part is the proof: change one bit in each of 40 places of it.
let at = 0;
for (let part = 0; part < 5; part++) at += 4 + file.readUInt32LE(at);
const [start, length] = [at + 4, file.readUInt32LE(at)];
let changed = 0;
for (let i = 0; i < 40; i++) {
  const bytes = Buffer.from(file);
  bytes[start + Math.floor((length * i) / 40)] ^= 1 << i % 8;
  if (verify(bytes) === null) fail(`change ${i} of the proof is accepted`);
  changed++;
}
const cut = Buffer.from(file.subarray(0, file.length - 1));
if (verify(cut) === null) fail("a proof cut short is accepted");
console.log(
  `ci: ${length} bytes of proof verified in ${times[0].toFixed(1)} ms (best of 15, median ${median.toFixed(1)}), ${changed} changes refused, Node.js ${process.version}`,
);
if (times[0] >= LIMIT_MS) fail(`${times[0].toFixed(1)} ms is not under ${LIMIT_MS} ms`);
