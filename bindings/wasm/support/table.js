// The table of verdicts, conformance/verdicts.json, as questions to this package and as command lines of `carat`.
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

const root = new URL("../../../", import.meta.url);

/** The bytes of a file of the repository. */
export const file = (path) => new Uint8Array(readFileSync(new URL(path, root)));

/** The table. */
export const table = JSON.parse(readFileSync(new URL("conformance/verdicts.json", root), "utf8"));

/** The receipt of a case, with the damage that the case does to it. */
export function receipt(entry) {
  let bytes = file(entry.receipt);
  for (const change of entry.change ?? []) {
    if (change.xor) {
      const [at, bits] = change.xor;
      bytes[at < 0 ? bytes.length + at : at] ^= bits;
    } else if (change.cut !== undefined) {
      bytes = bytes.slice(0, change.cut);
    } else {
      bytes = Uint8Array.from([...bytes, ...Buffer.from(change.append, "hex")]);
    }
  }
  return bytes;
}

const given = ({ file: path, text, values }) =>
  path !== undefined ? file(path) : text !== undefined ? new TextEncoder().encode(text) : values;

/** What a case asks, as `verify` takes it. */
export function question(entry) {
  const asked = { ...entry.ask };
  if (asked.trust) asked.trust = file(asked.trust);
  if (asked.opening) asked.opening = file(asked.opening);
  if (asked.input) asked.input = given(asked.input);
  if (asked.answer) asked.answer = given(asked.answer);
  if (asked.upstream) {
    asked.upstream = asked.upstream.map((one) => ({
      receipt: file(one.receipt),
      ...(one.opening && { opening: file(one.opening) }),
    }));
  }
  if (asked.model) {
    const { program, keys } = asked.model;
    asked.model = { program, keys };
  }
  return asked;
}

/** What the table says of a report. */
export function said(report) {
  const names = (ok) => report.checks.filter((check) => check.ok === ok).map((check) => check.name).join(" ");
  return {
    exit_code: report.exit_code,
    verdict: report.verdict,
    best: report.best,
    good_for: report.good_for.map(({ rung, amount, under }) => ({ rung, amount, under })),
    passed: names(true),
    failed: names(false),
    not_made: names(null),
    ...(report.output && { output: report.output }),
  };
}

const FLAGS = {
  now: "--now",
  trust: "--trust",
  trustOwner: "--trust-owner",
  amount: "--amount",
  nonce: "--nonce",
  audience: "--audience",
  opening: "--open",
  input: "--input",
  answer: "--answer",
  asked: "--asked",
  endpoint: "--endpoint",
  useAt: "--use",
  alreadyRelied: "--already-relied",
  openExposure: "--open-exposure",
};

/** `carat verify --json` on a case: its exit status, and what it printed. */
export class Carat {
  #folder = mkdtempSync(join(tmpdir(), "carat-table-"));

  constructor(binary) {
    this.binary = binary;
  }

  close() {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #write(name, bytes) {
    const path = join(this.#folder, name);
    writeFileSync(path, bytes);
    return path;
  }

  run(args) {
    const ran = spawnSync(this.binary, args, {
      env: { ...process.env, CARAT_HOME: join(this.#folder, "home") },
      maxBuffer: 1 << 28,
    });
    if (ran.error) throw ran.error;
    return { status: ran.status, out: ran.stdout.toString(), err: ran.stderr.toString() };
  }

  verify(bytes, entry) {
    // What it remembers of one receipt is no part of the question about the next.
    rmSync(join(this.#folder, "home", "seen"), { recursive: true, force: true });
    const args = ["verify", this.#write("receipt.carat", bytes), "--json"];
    for (const [name, value] of Object.entries(entry.ask)) {
      if (name === "upstream") {
        value.forEach((one, i) => {
          const path = this.#write(`step-${i}.carat`, file(one.receipt));
          rmSync(`${path}-open`, { force: true });
          if (one.opening) copyFileSync(new URL(one.opening, root), `${path}-open`);
          args.push("--upstream", path);
        });
      } else if (name === "model") {
        args.push("--model", new URL(value.path, root).pathname);
      } else if (name === "openExposure") {
        value.forEach((one) => args.push(FLAGS[name], one));
      } else if (name === "trust" || name === "opening") {
        args.push(FLAGS[name], this.#write(`given-${basename(value)}`, file(value)));
      } else if (name === "input" || name === "answer") {
        const bytes = value.values === undefined ? given(value) : JSON.stringify(value.values);
        const path = value.file ? basename(value.file) : value.text ? `${name}.body` : `${name}.json`;
        args.push(FLAGS[name], this.#write(`given-${path}`, bytes));
      } else {
        args.push(FLAGS[name], String(value));
      }
    }
    return this.run(args);
  }
}
