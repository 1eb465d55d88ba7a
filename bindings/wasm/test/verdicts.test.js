// The table of verdicts, and the same receipts damaged at random: what the package says is what `carat verify` says.
// The binary is $CARAT; without it those tests say that they were not made.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, test } from "node:test";

import { CaratError, load } from "../dist/carat-verifier.js";
import { Carat, file, question, receipt, said, table } from "../support/table.js";

const carat = await load();
const binary = process.env.CARAT;
const skip = binary && existsSync(binary) ? false : "set CARAT to the binary to compare with";
const line = skip ? null : new Carat(binary);
after(() => line?.close());

test("every case of the table", async (t) => {
  assert.ok(table.cases.length >= 80);
  for (const entry of table.cases) {
    await t.test(entry.name, async () => {
      const asked = carat.verify(receipt(entry), question(entry));
      if (entry.expect.error) {
        const { error: kind, exit_code: exitCode } = entry.expect;
        await assert.rejects(asked, { name: "CaratError", kind, exitCode });
      } else {
        assert.deepEqual(said(await asked), entry.expect, entry.about);
      }
    });
  }
});

test("every notice of the table", async () => {
  assert.ok(table.notices.length >= 9);
  for (const { name, notice, receipt, ask, expect } of table.notices) {
    const report = await carat.verifyNotice(file(notice), { receipt: file(receipt), ...ask });
    assert.deepEqual({ genuine: report.genuine, standing: report.standing }, { genuine: expect.genuine, standing: expect.standing }, name);
  }
});

/** What both say of bytes, in full. */
async function compare(bytes, entry, what) {
  const ran = line.verify(bytes, entry);
  let report;
  try {
    report = await carat.verify(bytes, question(entry));
  } catch (error) {
    assert.ok(error instanceof CaratError, `${what}: ${error.stack}`);
    assert.equal(error.exitCode, ran.status, `${what}: ${error.message} and ${ran.err}`);
    return "refused";
  }
  assert.equal(ran.status, report.exit_code, `${what}: ${report.reason} and ${ran.out}${ran.err}`);
  assert.deepEqual(report, JSON.parse(ran.out), what);
  return report.verdict;
}

test("every case of the table, word for word as carat verify", { skip }, async () => {
  for (const entry of table.cases) await compare(receipt(entry), entry, entry.name);
});

/** Numbers that look random and are the same in every run (SplitMix64: Steele, Lea and Flood, 2014). */
function* random(state) {
  const word = (n) => BigInt.asUintN(64, n);
  for (;;) {
    state = word(state + 0x9e3779b97f4a7c15n);
    let z = word((state ^ (state >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = word((z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    yield Number((z ^ (z >> 31n)) >> 20n);
  }
}

const RUNS = Number(process.env.CARAT_MUTATIONS ?? 400);

test(`${RUNS} damaged receipts, word for word as carat verify`, { skip }, async (t) => {
  const numbers = random(7n);
  const below = (end) => numbers.next().value % end;
  const whole = table.cases.filter((entry) => !entry.change && !entry.expect.error && entry.receipt.endsWith(".carat"));
  const verdicts = {};
  for (let run = 0; run < RUNS; run++) {
    const entry = whole[run % whole.length];
    let bytes = file(entry.receipt);
    const how = [];
    for (let i = 0; i <= below(3); i++) {
      const at = below(bytes.length);
      switch (below(8)) {
        case 0:
          bytes = bytes.slice(0, at);
          how.push(`cut at ${at}`);
          break;
        case 1: {
          const end = Math.min(bytes.length, at + 1 + below(40));
          bytes = Uint8Array.from([...bytes.subarray(0, end), ...bytes.subarray(at)]);
          how.push(`${at}..${end} twice`);
          break;
        }
        case 2:
          bytes[at] = below(256);
          how.push(`${bytes[at]} at ${at}`);
          break;
        default: {
          const bit = below(8);
          bytes[at] ^= 1 << bit;
          how.push(`bit ${bit} of ${at}`);
        }
      }
      if (bytes.length === 0) break;
    }
    const verdict = await compare(bytes, entry, `${entry.name}: ${how.join(", ")}`);
    verdicts[verdict] = (verdicts[verdict] ?? 0) + 1;
  }
  t.diagnostic(JSON.stringify(verdicts));
  // Damage is seen, and some of it is where nothing rests on it: a comparison of refusals alone would show little.
  assert.ok(verdicts.invalid > RUNS / 4, JSON.stringify(verdicts));
  assert.ok(RUNS < 100 || Object.keys(verdicts).length > 1, JSON.stringify(verdicts));
});
