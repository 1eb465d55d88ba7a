// Types of the verifier of Carat's receipts. What the fields mean: docs/receipt.md and docs/trust.md of Carat.

/** Bytes of a file. */
export type Bytes = Uint8Array | Uint8ClampedArray | ArrayBuffer;

/** Most bytes that one call takes, all its files together: 64 MiB. */
export const MAX_CALL_BYTES: number;

/** Rows of docs/errors.md. */
export type FaultKind =
  | "invalid"
  | "usage"
  | "bad-input"
  | "io"
  | "too-large"
  | "trust-refused"
  | "mismatch"
  | "internal";

/** No answer, and why. A receipt that is no good is an answer, and no error. */
export class CaratError extends Error {
  readonly kind: FaultKind;
  /** The exit status that `carat` would have ended with. */
  readonly exitCode: number;
  constructor(kind: FaultKind, exitCode: number, message: string, options?: { cause?: unknown });
}

/** Numbers of a model's input: an array, or arrays by name. */
export type Values = number | boolean | readonly Values[] | { readonly [name: string]: Values };

/** An image: rows of interleaved 8-bit channels, 1 grey, 3 RGB or 4 RGBA. */
export interface Pixels {
  width: number;
  height: number;
  channels: 1 | 3 | 4;
  pixels: Bytes;
}

/** Who asks, when, and what for. What is given must match; what is not given is listed as not checked. */
export interface Question {
  /** Unix seconds, or a Date. Without it: the clock of this machine. */
  now?: number | Date;
  /** Your Trust file, TOML. */
  trust?: string | Bytes;
  /** The key that it must be signed by. */
  trustOwner?: string;
  /** What should ride on the answer, such as "500USD". */
  amount?: string;
  /** The nonce that you gave, in hexadecimal or as bytes. */
  nonce?: string | Bytes;
  /** Who you are, as the receipt should name you. */
  audience?: string;
  /** The .carat-open file. */
  opening?: Bytes;
  /**
   * What you asked about. For a courier's receipt the body of your request, byte for byte. Else a .json or .npy file, the
   * values as such, or an image.
   */
  input?: Bytes | Values | Pixels;
  /** The answer that you were given, byte for byte, where a courier passed it on. */
  answer?: Bytes;
  /** The model that you asked an upstream for, through a courier. */
  asked?: string;
  /** The interface that you asked. Without it: "/v1/chat/completions". */
  endpoint?: string;
  /** When you act on the answer. Without it: "after-use". */
  useAt?: "after-use" | "before-settle";
  /** What rides on this receipt already. */
  alreadyRelied?: string;
  /** What you have open on other receipts: "AMOUNT" of this issuer, "ISSUER=AMOUNT" of another. */
  openExposure?: readonly string[];
  /** The receipts that this one rests on. */
  upstream?: readonly { receipt: Bytes; opening?: Bytes }[];
  /** The model that you mean, and the keys that you computed from its weights (`carat model key`). */
  model?: { program: string; keys?: readonly { profile: string; root: string | Bytes }[] };
  /** What you saw before, so that nobody can show you an older world. */
  remembered?: { trustVersion?: number; checkpoint?: string };
}

/** A check: `null` where it could not be made. */
export interface Check {
  name: string;
  ok: boolean | null;
  reason: string;
}

/** An amount under assumptions. */
export interface AssumptionSet {
  rung: string;
  amount: string | null;
  under: string[];
  reason: string;
}

/** What `carat verify --json` prints. */
export interface Report {
  verdict: "good" | "invalid" | "simulated" | "insufficient";
  reason: string;
  /** 0 good, 1 invalid, 3 simulated, 4 insufficient. */
  exit_code: 0 | 1 | 3 | 4;
  asked: string | null;
  best: string | null;
  good_for: AssumptionSet[];
  checks: Check[];
  weakest_step: string;
  not_proven: string[];
  enough: string[];
  receipt: {
    receipt_id: string;
    issuer: string;
    issuer_key: string;
    key_id: string;
    known_as: string | null;
    model_name: string;
    model_version: string;
    program: string;
    issued_at: string;
    execution: string;
    audience: string | null;
    evidence: string[];
  } | null;
  trust: { name: string; version: number; digest: string } | null;
  /** The answer, where the opening was given and fits. */
  output?: { name: string; shape: number[]; values: (number | null)[]; label?: { index: number; name: string } }[];
}

/** What a notice is worth as a document. */
export interface NoticeReport {
  genuine: boolean;
  kind: "promise" | "refusal" | "miss";
  standing: "promised" | "proof-attached" | "overdue" | "refused" | "missed";
  notice_id: string;
  receipt_id: string;
  issuer: string;
  said_at: number;
  by: number | null;
  reason: string | null;
  detail: string | null;
  checks: Check[];
}

/** A time, as a number and as text. */
export interface Time {
  unix: number;
  text: string;
}

/** What a file says. Nothing of it is verified. */
export type Description = { bytes: number } & (
  | {
      what: "receipt";
      receipt_id: string;
      key_id: string;
      /** The claims by name; an absent claim is absent. */
      statement: { issuer: string; issued_at: Time; program: string } & Record<string, unknown>;
      transparency_receipts: number;
      evidence: ({ kind: "signature" | "replay" | "attestation" | "proof" | "unknown" } & Record<string, unknown>)[];
      program: Record<string, unknown> | null;
      log: { items: Record<string, unknown>[] } | null;
    }
  | ({ what: "opening"; receipt_id: string; program: string; input_bytes: number; output_bytes: number } & Record<string, unknown>)
  | ({ what: "notice"; notice_id: string; kind: string; receipt_id: string; said_at: Time } & Record<string, unknown>)
  | ({ what: "trust"; name: string; owner: string; version: number; signature: "holds" | "broken" | "absent"; text: string } & Record<
      string,
      unknown
    >)
);

/** A loaded verifier. Calls may overlap. All of them fail with a CaratError. */
export interface Verifier {
  /** What a receipt is good for. Bytes that are no receipt are "invalid", not an error. */
  verify(receipt: Bytes, question?: Question): Promise<Report>;
  /** What a receipt, an opening, a notice or a Trust file says, not verified. */
  describe(file: Bytes): Promise<Description>;
  /** What a notice about an upgrade is worth as a document. */
  verifyNotice(
    notice: Bytes,
    question: { receipt: Bytes; now?: number | Date; nonce?: string | Bytes; logKey?: string },
  ): Promise<NoticeReport>;
  /** Whether a proof without a receipt shows the outputs of a Program. */
  verifyProof(proof: {
    program: Bytes;
    profile: string;
    root: Bytes;
    inputs: Bytes;
    outputs: Bytes;
    proof: Bytes;
  }): Promise<{ ok: boolean; reason: string }>;
}

/** Where carat-verifier.wasm is. */
export type Source = string | URL | Response | Bytes | WebAssembly.Module;

/** Loads the verifier. Without a source: carat-verifier.wasm beside this file. */
export function load(source?: Source | Promise<Source>): Promise<Verifier>;

/** `Verifier.verify` of carat-verifier.wasm beside this file, loaded once. */
export const verify: Verifier["verify"];
/** `Verifier.describe` of the same. */
export const describe: Verifier["describe"];
/** `Verifier.verifyNotice` of the same. */
export const verifyNotice: Verifier["verifyNotice"];
