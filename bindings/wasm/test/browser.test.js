// The package in a browser without a window, served under a strict policy. The browser is $CHROMIUM, or one on the path; without
// one this test says that it was not made.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const names = [process.env.CHROMIUM, "chromium", "chromium-browser", "google-chrome"].filter(Boolean);
const browser = names.find((name) => spawnSync(name, ["--version"]).status === 0);
const skip = browser ? false : "there is no Chromium here (Debian: apt-get install chromium)";

const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'";
const TYPES = { html: "text/html", js: "text/javascript", wasm: "application/wasm", json: "application/json" };

/** The page of support/, the package, and files of the repository, on a port of this machine. */
function serve(said) {
  const places = [
    [/^\/repo\/(.+)$/, new URL("../../../", import.meta.url)],
    [/^\/(carat-verifier\.(?:js|wasm))$/, new URL("../dist/", import.meta.url)],
    [/^\/(page\.(?:html|js))$/, new URL("../support/", import.meta.url)],
  ];
  return createServer((request, response) => {
    if (request.method === "POST" && request.url === "/said") {
      const parts = [];
      request.on("data", (part) => parts.push(part));
      request.on("end", () => {
        response.end();
        said(Buffer.concat(parts).toString());
      });
      return;
    }
    for (const [pattern, folder] of places) {
      const found = pattern.exec(request.url);
      if (!found) continue;
      try {
        const body = readFileSync(new URL(found[1], folder));
        const type = TYPES[found[1].split(".").at(-1)] ?? "application/octet-stream";
        response.writeHead(200, { "content-type": type, "content-security-policy": POLICY });
        return response.end(body);
      } catch {
        break;
      }
    }
    response.writeHead(404).end();
  });
}

test("the table of verdicts in a browser", { skip, timeout: 120_000 }, async (t) => {
  const profile = mkdtempSync(join(tmpdir(), "carat-browser-"));
  let hears;
  const heard = new Promise((resolve) => (hears = resolve));
  const server = serve(hears);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const page = `http://127.0.0.1:${server.address().port}/page.html`;
  const options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", `--user-data-dir=${profile}`];
  const running = spawn(browser, [...options, "--remote-debugging-port=0", page], { stdio: "ignore", detached: true });
  const gone = new Promise((resolve) => running.on("exit", resolve));
  try {
    const said = await Promise.race([heard, gone.then((code) => `the browser ended with ${code} and said nothing`)]);
    assert.match(said, /^\d+ cases agree$/);
    t.diagnostic(said);
  } finally {
    // With its helper processes, which would go on writing into the folder.
    try {
      process.kill(-running.pid, "SIGKILL");
    } catch {
      // It ended by itself.
    }
    await gone;
    server.close();
    server.closeAllConnections();
    rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 });
  }
});
