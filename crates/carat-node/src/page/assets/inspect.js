// The inspector: reads files that were chosen or dropped, and verifies them with the module that this server handed out. The
// page may not connect to anything: its policy says `connect-src 'none'`.
import { element, failureOf, plain, reportOf } from "./report.js";

const at = (id) => document.getElementById(id);
const drop = at("drop");
const held = { receipt: null, opening: null, trust: null };
const NAMES = { receipt: "Receipt", opening: "Opening", trust: "Trust file" };
const MOST = 64 * 1024 * 1024;

// Loaded when it is first needed: it is large.
let loading;
const verifier = () => {
  loading ??= Promise.all([import("./carat-verifier.js"), import("./carat-verifier-module.js")])
    .then(([loader, module]) => loader.load(bytesOf(module.default)))
    .catch((error) => { loading = undefined; throw error; });
  return loading;
};

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

const kindOf = (name) => {
  if (name.endsWith(".carat-open")) return "opening";
  if (name.endsWith(".toml")) return "trust";
  return "receipt";
};

function show() {
  const rows = Object.entries(held).filter(([, file]) => file).map(([kind, file]) => {
    const remove = element("button", { type: "button" }, "Remove");
    remove.setAttribute("aria-label", `Remove the ${NAMES[kind].toLowerCase()}`);
    remove.addEventListener("click", () => { held[kind] = null; show(); at("receipt").focus(); verify(); });
    return element("li", {}, element("strong", {}, `${NAMES[kind]}:`), element("span", {}, plain(file.name)), remove);
  });
  at("files").replaceChildren(...rows);
  at("again").disabled = !held.receipt;
}

async function take(files) {
  for (const file of files) {
    if (file.size > MOST) {
      at("result").replaceChildren(failureOf({ message: `${file.name} has more than 64 MiB`, kind: "too-large" }));
      return;
    }
    const bytes = new Uint8Array(await file.arrayBuffer());
    held[kindOf(file.name)] = { name: file.name, bytes };
  }
  show();
  await verify();
}

function question() {
  const asked = {};
  if (held.opening) asked.opening = held.opening.bytes;
  if (held.trust) asked.trust = held.trust.bytes;
  for (const [field, name] of [["amount", "amount"], ["nonce", "nonce"], ["audience", "audience"], ["owner", "trustOwner"]]) {
    const text = at(field).value.trim();
    if (text) asked[name] = field === "amount" ? text.replace(/\s+/g, "") : text;
  }
  return asked;
}

let round = 0;
async function verify() {
  const mine = ++round;
  const result = at("result");
  if (!held.receipt) { result.replaceChildren(); return; }
  result.setAttribute("aria-busy", "true");
  if (!loading) result.replaceChildren(element("p", { class: "quiet" }, "Loading the verifier…"));
  let shown;
  try {
    const carat = await verifier();
    shown = reportOf(await carat.verify(held.receipt.bytes, question()));
  } catch (error) {
    shown = [failureOf(error)];
  }
  // A later question overtook this one.
  if (mine !== round) return;
  result.replaceChildren(...shown);
  result.removeAttribute("aria-busy");
}

at("tool").hidden = false;
at("receipt").addEventListener("change", (event) => take([...event.target.files]));
at("again").addEventListener("click", verify);
for (const field of ["amount", "nonce", "audience", "owner"]) {
  at(field).addEventListener("keydown", (event) => { if (event.key === "Enter") verify(); });
}
// Anywhere on the page: whoever misses the box must not leave the page for the file.
for (const kind of ["dragover", "dragenter"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take([...(event.dataTransfer?.files ?? [])]);
});

if (drop.dataset.receipt) {
  const name = drop.dataset.name.slice(0, 12);
  held.receipt = { name: `${name}.carat`, bytes: bytesOf(drop.dataset.receipt) };
  if (drop.dataset.opening) held.opening = { name: `${name}.carat-open`, bytes: bytesOf(drop.dataset.opening) };
  show();
  verify();
}
