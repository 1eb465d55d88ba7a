// The table of verdicts in a browser, under the policy of the page: the same module, the same answers.
import { load } from "./carat-verifier.js";

const bytes = async (path) => new Uint8Array(await (await fetch(`/repo/${path}`)).arrayBuffer());
const given = ({ file, text, values }) => (file ? bytes(file) : (text && new TextEncoder().encode(text)) || values);

async function run() {
  const carat = await load();
  const { cases } = await (await fetch("/repo/conformance/verdicts.json")).json();
  let agree = 0;
  for (const { name, receipt, change, ask, expect } of cases) {
    if (change) continue;
    const { model, upstream, ...asked } = ask;
    for (const field of ["trust", "opening"]) if (asked[field]) asked[field] = await bytes(asked[field]);
    for (const field of ["input", "answer"]) if (asked[field]) asked[field] = await given(asked[field]);
    if (model) asked.model = { program: model.program, keys: model.keys };
    if (upstream) {
      asked.upstream = await Promise.all(
        upstream.map(async (one) => ({
          receipt: await bytes(one.receipt),
          ...(one.opening && { opening: await bytes(one.opening) }),
        })),
      );
    }
    const found = await carat.verify(await bytes(receipt), asked).then(
      (report) => [report.exit_code, report.best],
      (error) => [error.exitCode, error.kind],
    );
    const wanted = [expect.exit_code, expect.error ?? expect.best];
    if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`${name}: ${found}, not ${wanted}`);
    agree++;
  }
  return `${agree} cases agree`;
}

// The test waits for what is posted; a person reads the page.
const said = await run().catch((error) => `FAILED: ${error.stack ?? error}`);
document.getElementById("said").textContent = said;
await fetch("/said", { method: "POST", body: said });
