// What an appraisal says, as elements. Everything that came out of a file is put in as text.

export function element(name, given = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (key === "class") made.className = value;
    else made.setAttribute(key, value);
  }
  made.append(...inside.filter((part) => part !== null && part !== undefined));
  return made;
}

// What is invisible or turns the direction of reading is shown as what it is.
const MISLEADING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
export const plain = (text) => String(text).replace(MISLEADING, "\ufffd");

const table = (title, head, rows) =>
  element(
    "div", { class: "scroll", role: "region", "aria-label": title, tabindex: "0" },
    element(
      "table", {},
      element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...rows.map(([first, ...rest]) =>
        element("tr", {}, element("th", { scope: "row" }, first), ...rest.map((cell) => element("td", {}, cell))))),
    ),
  );

const list = (title, items, kind = "ul") =>
  items.length ? [element("h2", {}, title), element(kind, {}, ...items.map((item) => element("li", {}, plain(item))))] : [];

const facts = (pairs) =>
  element("dl", { class: "facts" }, ...pairs.filter(([, value]) => value).map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value instanceof Node ? value : plain(value)))));

const VERDICTS = {
  good: ["good", "Good"],
  invalid: ["bad", "Not valid"],
  simulated: ["warn", "Simulated hardware"],
  insufficient: ["warn", "Not enough"],
};

const sentence = (text) => plain(text).replace(/^./u, (first) => first.toUpperCase());

function headline(report) {
  const [look, word] = VERDICTS[report.verdict] ?? ["bad", "Unknown verdict"];
  // The amount first; without a Trust file there is no currency to name one in.
  const amount = report.verdict === "good" && report.best ? report.best : word;
  const box = element("div", { class: `verdict ${look}`, role: "status" },
    element("p", { class: "amount" }, plain(amount)),
    element("p", {}, sentence(report.reason)));
  if (report.verdict !== "invalid" && !report.trust) {
    box.append(element("p", { class: "small" }, "No Trust file was given, so no amount can be named: add yours."));
  }
  return box;
}

const MARKS = new Map([[true, ["yes", "✓", "holds"]], [false, ["no", "✕", "does not hold"]]]);

function check(one) {
  const [look, mark, word] = MARKS.get(one.ok) ?? ["open", "–", "could not be checked"];
  return element("li", {},
    element("span", { class: `mark ${look}`, role: "img", "aria-label": word }, mark),
    element("p", {}, element("strong", {}, plain(one.name)), ` ${plain(one.reason)}`));
}

// What does not hold first, then what holds; what could not be made is counted, and a press away.
function checks(all) {
  const made = all.filter((one) => one.ok !== null).sort((a, b) => a.ok - b.ok);
  const open = all.filter((one) => one.ok === null);
  const parts = [element("ul", { class: "check" }, ...made.map(check))];
  if (open.length) {
    parts.push(element("details", {}, element("summary", {}, `${open.length} could not be made, and why`),
      element("ul", { class: "check" }, ...open.map(check))));
  }
  return parts;
}

export function reportOf(report) {
  const made = [headline(report)];
  for (const output of report.output ?? []) {
    const label = output.label ? [` ${plain(output.label.name)} (class ${output.label.index})`] : [` ${output.values.slice(0, 16).join(", ")}`];
    made.push(element("p", {}, element("strong", {}, "Answer in the opening:"), ...label));
  }
  if (report.good_for.length && report.verdict !== "invalid") {
    made.push(element("h2", {}, "Good for"));
    made.push(table("Amounts and what they rest on", ["Evidence", "Amount", "Rests on", "Why"], report.good_for.map((set) =>
      [plain(set.rung), plain(set.amount ?? "no amount").replaceAll(" ", "\u00a0"), plain(set.under.join(", ")), plain(set.reason)])));
    made.push(element("p", { class: "small quiet" }, "The rows are alternatives: their amounts do not add up."));
    made.push(element("p", {}, element("strong", {}, "Weakest step: "), plain(report.weakest_step)));
  }
  made.push(...list("What would be enough", report.enough), ...list("Not proven, whatever the amount", report.not_proven));
  made.push(element("h2", {}, "Checks"), ...checks(report.checks));
  if (report.receipt) {
    const said = report.receipt;
    made.push(element("h2", {}, "What the receipt says"), facts([
      ["Receipt", element("code", { class: "long" }, plain(said.receipt_id))],
      ["Issuer", `${said.issuer}${said.known_as ? `, known to the Trust file as ${said.known_as}` : ", not in a Trust file that was given"}`],
      ["Key", element("code", { class: "long" }, plain(said.issuer_key))],
      ["Model", `${said.model_name} ${said.model_version}`],
      ["Program", element("code", { class: "long" }, plain(said.program))],
      ["Issued", said.issued_at],
      ["For", said.audience],
      ["Evidence", (said.evidence ?? []).join(", ")],
    ]));
  }
  if (report.trust) {
    made.push(element("p", { class: "small quiet" }, `Under the Trust file of ${plain(report.trust.name)}, version ${report.trust.version}.`));
  }
  made.push(element("details", {}, element("summary", {}, "The report as JSON, as carat verify --json prints it"),
    element("pre", { class: "code", id: "json", tabindex: "0" }, JSON.stringify(report, null, 2))));
  return made;
}

export function failureOf(error) {
  return element("div", { class: "verdict bad", role: "alert" },
    element("p", { class: "amount" }, "Cannot be read"),
    element("p", {}, plain(error?.message ?? error)),
    error?.kind ? element("p", { class: "small quiet" }, "Kind ", element("code", {}, plain(error.kind)), ".") : null);
}
