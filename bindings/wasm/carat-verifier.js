// The verifier of Carat's receipts, for Node.js and browsers: what `carat verify` does, in WebAssembly. See README.md.
//
// The module next to this file imports nothing: no network, no clock, no randomness, no storage. What is here carries bytes
// in, JSON out, and turns whatever goes wrong into a CaratError.

/** Most bytes that one call takes, all its files together. */
export const MAX_CALL_BYTES = 64 * 1024 * 1024;

/** More than this of its 1 GiB, and it is memory that was missing. */
const MUCH_MEMORY = 512 * 1024 * 1024;

const [VERIFY, DESCRIBE, NOTICE, PROOF] = [0, 1, 2, 3];

/** No answer, and why: `kind` and `exitCode` are those of docs/errors.md. */
export class CaratError extends Error {
  constructor(kind, exitCode, message, options) {
    super(message, options);
    this.name = "CaratError";
    this.kind = kind;
    this.exitCode = exitCode;
  }
}

const usage = (message) => new CaratError("usage", 2, message);

// What the getters of the language say cannot be forged by an object that merely looks like a buffer, and does not fail between
// realms as `instanceof` does.
const getter = (prototype, name) => Object.getOwnPropertyDescriptor(prototype, name).get;
const kindOf = getter(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag);
const sizes = [getter(ArrayBuffer.prototype, "byteLength")];
// Where a page is not isolated, a browser has no shared buffers.
if (typeof SharedArrayBuffer === "function") sizes.push(getter(SharedArrayBuffer.prototype, "byteLength"));

function isBuffer(value) {
  return sizes.some((size) => {
    try {
      return size.call(value) >= 0;
    } catch {
      return false;
    }
  });
}

/** A copy-free view on bytes, or undefined where a value is none, or none any more. */
function view(value) {
  try {
    if (ArrayBuffer.isView(value)) {
      return ["Uint8Array", "Uint8ClampedArray"].includes(kindOf.call(value))
        ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
        : undefined;
    }
    return isBuffer(value) ? new Uint8Array(value) : undefined;
  } catch {
    return undefined; // its buffer was transferred
  }
}

/** The arguments of a call: byte strings apart, everything else as JSON that names them by their place. */
class Arguments {
  #parts = [];
  json = {};

  bytes(name, value) {
    const bytes = view(value);
    if (bytes === undefined) throw usage(`${name}: give the bytes of the file, as a Uint8Array or an ArrayBuffer`);
    return this.#parts.push(bytes) - 1;
  }

  text(name, value) {
    if (typeof value !== "string") throw usage(`${name}: give a text`);
    return value;
  }

  /** A text, or bytes of one. */
  textual(name, value) {
    return this.bytes(name, typeof value === "string" ? new TextEncoder().encode(value) : value);
  }

  encode() {
    let json;
    try {
      json = new TextEncoder().encode(JSON.stringify(this.json));
    } catch (error) {
      throw usage(`the question is no JSON: ${error.message}`);
    }
    const parts = [json, ...this.#parts];
    const length = parts.reduce((sum, part) => sum + 4 + part.length, 0);
    if (length > MAX_CALL_BYTES) {
      throw new CaratError(
        "too-large",
        14,
        `the files of this call have ${length} bytes; at most ${MAX_CALL_BYTES} are taken. Verify larger ones with carat verify`,
      );
    }
    return { parts, length };
  }
}

function hex(name, value) {
  if (typeof value === "string") return value;
  const bytes = view(value);
  if (bytes === undefined) throw usage(`${name}: give hexadecimal digits, or the bytes as a Uint8Array`);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Whole Unix seconds. */
function seconds(name, value) {
  const number = Object.prototype.toString.call(value) === "[object Date]" ? Math.floor(value.getTime() / 1000) : value;
  if (typeof number !== "number" || !Number.isSafeInteger(number) || number < 0) {
    throw usage(`${name}: give whole seconds since 1970, or a Date`);
  }
  return number;
}

function whole(name, value) {
  if (!Number.isSafeInteger(value) || value < 0) throw usage(`${name}: give a whole number`);
  return value;
}

function list(name, value, one) {
  if (!Array.isArray(value)) throw usage(`${name}: give an array`);
  return Array.from(value, (item, i) => one(`${name}[${i}]`, item));
}

/** What a call is asked, gathered. Whatever a strange object throws while it is read is the asker's fault. */
function gather(read) {
  try {
    const call = new Arguments();
    read(call);
    return call.encode();
  } catch (error) {
    if (error instanceof CaratError) throw error;
    throw new CaratError("usage", 2, "the question cannot be read", { cause: error });
  }
}

/** Reads the own fields of a plain object by a table of readers. Anything that is not in the table is refused. */
function fields(name, value, readers) {
  if (value === null || typeof value !== "object" || Array.isArray(value) || view(value) !== undefined) {
    throw usage(`${name}: give an object`);
  }
  const read = {};
  for (const [field, given] of Object.entries(value)) {
    if (!Object.hasOwn(readers, field)) {
      throw usage(`${name} has no field "${field}"; it takes ${Object.keys(readers).join(", ")}`);
    }
    if (given !== undefined && given !== null) read[field] = readers[field](field, given);
  }
  return read;
}

const PIXELS = ["channels", "height", "pixels", "width"];

/** The relying party's own input: bytes of a file or of a request, pixels, or values as such. */
function input(call, name, value) {
  if (view(value) !== undefined) return { bytes: call.bytes(name, value) };
  if (typeof value === "object" && value !== null && Object.keys(value).sort().join() === PIXELS.join()) {
    const { pixels, ...size } = value;
    return {
      pixels: {
        pixels: call.bytes("input.pixels", pixels),
        width: whole("input.width", size.width),
        height: whole("input.height", size.height),
        channels: whole("input.channels", size.channels),
      },
    };
  }
  // JSON would make an object of it, with a name for every number.
  if (ArrayBuffer.isView(value)) throw usage("input: give numbers in plain arrays (Array.from), one for each axis");
  let text;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    throw usage(`input: ${error.message}`);
  }
  if (text === undefined) throw usage("input: give bytes, or numbers in arrays");
  return { json: call.textual(name, text) };
}

function questionFields(call) {
  const bytes = (name, value) => call.bytes(name, value);
  const text = (name, value) => call.text(name, value);
  return {
    now: seconds,
    trust: (name, value) => call.textual(name, value),
    trustOwner: text,
    amount: text,
    nonce: hex,
    audience: text,
    opening: bytes,
    input: (name, value) => input(call, name, value),
    answer: bytes,
    asked: text,
    endpoint: text,
    useAt: text,
    alreadyRelied: text,
    openExposure: (name, value) => list(name, value, text),
    upstream: (name, value) =>
      list(name, value, (name, item) => {
        const read = fields(name, item, { receipt: bytes, opening: bytes });
        if (read.receipt === undefined) throw usage(`${name}: give its receipt`);
        return read;
      }),
    model: (name, value) =>
      fields(name, value, {
        program: text,
        keys: (name, value) => list(name, value, (name, key) => fields(name, key, { profile: text, root: hex })),
      }),
    remembered: (name, value) =>
      fields(name, value, { trustVersion: whole, checkpoint: text }),
  };
}

const clock = () => Math.floor(Date.now() / 1000);

/** A loaded verifier. Made by `load`. Calls do not share anything, and may overlap. */
class Verifier {
  #module;
  #instance = null;

  constructor(module) {
    this.#module = module;
  }

  /** What a receipt is good for: what `carat verify --json` prints. */
  async verify(receipt, question = {}) {
    const asked = gather((call) => {
      const given = fields("the question", question, questionFields(call));
      call.json = { now: clock(), ...given, receipt: call.bytes("receipt", receipt) };
    });
    return this.#call(VERIFY, asked);
  }

  /** What a receipt, an opening, a notice or a Trust file says. Nothing of it is verified. */
  async describe(file) {
    const asked = gather((call) => {
      call.json = { file: call.bytes("file", file) };
    });
    return this.#call(DESCRIBE, asked);
  }

  /** What a notice about an upgrade is worth as a document. */
  async verifyNotice(notice, question) {
    const asked = gather((call) => {
      const given = fields("the question", question, {
        receipt: (name, value) => call.bytes(name, value),
        now: seconds,
        nonce: hex,
        logKey: (name, value) => call.text(name, value),
      });
      if (given.receipt === undefined) throw usage("receipt: give the receipt that the notice is about");
      call.json = { now: clock(), ...given, notice: call.bytes("notice", notice) };
    });
    return this.#call(NOTICE, asked);
  }

  /** Whether a proof without a receipt shows the outputs of a Program. */
  async verifyProof(proof) {
    const asked = gather((call) => {
      const bytes = (name, value) => call.bytes(name, value);
      call.json = fields("the proof", proof, {
        program: bytes,
        profile: (name, value) => call.text(name, value),
        root: bytes,
        inputs: bytes,
        outputs: bytes,
        proof: bytes,
      });
    });
    return this.#call(PROOF, asked);
  }

  async #call(operation, { parts, length }) {
    // Nothing waits between here and the answer, so calls that overlap do not meet in the module's memory.
    const instance = this.#instance ?? (await WebAssembly.instantiate(this.#module, {}));
    this.#instance = null;
    const module = instance.exports;
    let text, failed;
    try {
      const start = module.reserve(length) >>> 0;
      if (start === 0) throw new WebAssembly.RuntimeError("there is no memory for the files of this call");
      const memory = new Uint8Array(module.memory.buffer);
      const header = new DataView(memory.buffer);
      let at = start;
      for (const part of parts) {
        header.setUint32(at, part.length, true);
        memory.set(part, at + 4);
        at += 4 + part.length;
      }
      if (at !== start + length) throw usage("a file changed while it was read");
      failed = module.call(operation) !== 0;
      text = read(module);
      module.forget();
    } catch (error) {
      if (error instanceof CaratError) throw error;
      // A trap. The instance is in an unknown state and is not used again.
      throw stopped(module, error);
    }
    // Memory never shrinks: an instance that has taken much of it is let go.
    if (module.memory.buffer.byteLength <= 2 * MAX_CALL_BYTES) this.#instance = instance;
    const answer = JSON.parse(text);
    if (failed) throw new CaratError(answer.kind, answer.exit_code, answer.message);
    return answer;
  }
}

function read(module) {
  const length = module.answer_length() >>> 0;
  return new TextDecoder().decode(new Uint8Array(module.memory.buffer, module.answer() >>> 0, length));
}

/** Why the module stopped: it took all memory that it may take, or it is wrong. A panic leaves behind what it has to say. */
function stopped(module, cause) {
  let said = "";
  try {
    said = read(module);
  } catch {
    // Then the engine's own words have to do.
  }
  if (said === "" && module.memory.buffer.byteLength > MUCH_MEMORY) {
    const message = "the files of this call take more than the 1 GiB of memory that there is; verify them with carat verify";
    return new CaratError("too-large", 14, message, { cause });
  }
  return new CaratError("internal", 70, `the verifier stopped: ${said || cause.message}`, { cause });
}

/** The compiled module, from wherever it is. */
async function compile(source) {
  const given = await source;
  if (given instanceof WebAssembly.Module) return given;
  const bytes = view(given);
  if (bytes !== undefined) return WebAssembly.compile(bytes);
  if (typeof Response === "function" && given instanceof Response) return compileResponse(given);
  if (!(given instanceof URL) && typeof given !== "string") {
    throw usage("load: give a URL, a Response, the bytes of carat-verifier.wasm, or a WebAssembly.Module");
  }
  const url = new URL(given, import.meta.url);
  if (url.protocol === "file:" && typeof process === "object" && process.versions?.node) {
    const { readFile } = await import("node:fs/promises");
    return WebAssembly.compile(await readFile(url));
  }
  return compileResponse(await fetch(url));
}

async function compileResponse(response) {
  if (!response.ok) throw new CaratError("io", 12, `${response.url}: ${response.status} ${response.statusText}`);
  return WebAssembly.compile(await response.arrayBuffer());
}

/** Loads the verifier. Without a source: `carat-verifier.wasm` beside this file. */
export async function load(source = new URL("carat-verifier.wasm", import.meta.url)) {
  return new Verifier(await compile(source));
}

let shared;

/** The verifier of `carat-verifier.wasm` beside this file, loaded once. A load that failed is tried again. */
function common() {
  shared ??= load().catch((error) => {
    shared = undefined;
    throw error;
  });
  return shared;
}

/** `verify` of the verifier beside this file. */
export const verify = async (receipt, question) => (await common()).verify(receipt, question);
/** `describe` of the verifier beside this file. */
export const describe = async (file) => (await common()).describe(file);
/** `verifyNotice` of the verifier beside this file. */
export const verifyNotice = async (notice, question) => (await common()).verifyNotice(notice, question);
