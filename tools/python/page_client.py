#!/usr/bin/env python3
"""The web page of a node in headless Chromium, by keyboard, on a phone, without JavaScript, and with the network watched.

    page_client.py CARAT --chromium PATH [--verifier FOLDER] [--screenshots FOLDER]

Starts two servers of its own with CARAT (the folder of the binary): one with open access, the models that ship and a hub, one that
asks for keys. Every request of every page is recorded: none may go anywhere but to the server that is looked at, and the inspector
may send nothing at all. Its verdicts are compared with `carat verify --json`, field by field. Without --verifier the inspector is
only looked at, and the last line says so. The interpreter needs the package `playwright`; its own browsers are not used.
"""

import argparse
import contextlib
import difflib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DESKTOP = {"width": 1200, "height": 860}
PHONE = {"width": 360, "height": 740}
#: What the answer is asked for with.
AUDIENCE, NONCE = "example.org", "00112233445566778899aabbccddeeff"
#: Pages that everybody sees.
PUBLIC = ["/", "/models", "/models/acme/digits", "/run", "/run/digits", "/run/tumor", "/inspect", "/log", "/spend", "/sign-in"]


class Node:
    """`carat serve` with a directory of its own."""

    def __init__(self, carat, work, name, text, verifier):
        self.carat, self.home = carat, work / name
        if verifier:
            text += f'[page]\nverifier = "{verifier}"\n'
        for model in ("digits", "tumor"):
            text += f'[[model]]\nname = "{model}"\npath = "{ROOT}/models/{model}"\n'
        self.config = work / f"{name}.toml"
        self.config.write_text('listen = "127.0.0.1:0"\n' + text)

    def run(self, *arguments, status=0):
        command = [self.carat / "carat", *arguments, "--data-dir", self.home]
        ran = subprocess.run(command, cwd=self.config.parent, capture_output=True, text=True)
        assert ran.returncode == status, (arguments, ran.returncode, ran.stdout, ran.stderr)
        return ran.stdout

    def __enter__(self):
        command = [self.carat / "carat", "serve", "--config", self.config, "--data-dir", self.home]
        log = open(self.config.with_suffix(".log"), "w")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline().strip()
        assert line.startswith("listening on "), line
        self.url = line.removeprefix("listening on ")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)


class Watched:
    """A browser's context whose requests, messages and faults are recorded."""

    def __init__(self, browser, url, viewport, **options):
        self.url = url
        self.context = browser.new_context(viewport=viewport, base_url=url, **options)
        self.page = self.context.new_page()
        self.requests, self.wrong = [], []
        self.page.on("request", lambda r: self.requests.append((r.method, r.url, r.post_data_buffer or b"")))
        self.page.on("console", lambda m: m.type in ("error", "warning") and self.wrong.append(m.text))
        self.page.on("pageerror", lambda e: self.wrong.append(str(e)))

    def done(self, expected=()):
        for method, url, _ in self.requests:
            assert url.startswith((self.url + "/", "data:")), f"{method} {url}"
        wrong = [text for text in self.wrong if not any(part in text for part in expected)]
        assert not wrong, wrong
        self.context.close()


@contextlib.contextmanager
def watched(browser, url, viewport=DESKTOP, expected=(), **options):
    one = Watched(browser, url, viewport, **options)
    yield one
    one.done(expected)


def until(page, expression, argument=None, seconds=20):
    """Asks again and again: Playwright's own waiting evaluates text, which the pages' policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression, argument):
        assert time.monotonic() < end, f"did not come: {expression}"
        page.wait_for_timeout(50)


def no_overflow(page, what):
    """Nothing makes the page wider than the screen; what is wider scrolls by itself."""
    wide = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1], f"{what} is {wide[0]} pixels wide on a screen of {wide[1]}"


def accessible(page, what):
    """Names, labels, headings in order: what a screen reader needs first."""
    faults = page.evaluate(
        """() => {
          const faults = [];
          for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea"))
            if (!field.labels?.length && !field.getAttribute("aria-label")) faults.push("no label: " + field.outerHTML.slice(0, 90));
          for (const one of document.querySelectorAll("a, button"))
            if (!one.textContent.trim() && !one.getAttribute("aria-label")) faults.push("no name: " + one.outerHTML.slice(0, 90));
          for (const one of document.querySelectorAll("img:not([alt]), svg:not([aria-label]), [role=img]:not([aria-label])"))
            faults.push("no text: " + one.outerHTML.slice(0, 90));
          const ids = [...document.querySelectorAll("[id]")].map(one => one.id);
          for (const id of ids) if (ids.filter(other => other === id).length > 1) faults.push("two of id " + id);
          for (const one of document.querySelectorAll("[aria-describedby]"))
            if (!document.getElementById(one.getAttribute("aria-describedby"))) faults.push("described by nothing: " + one.id);
          let level = 0;
          for (const head of document.querySelectorAll("h1, h2, h3")) {
            const next = Number(head.tagName[1]);
            if (next > level + 1) faults.push("a heading is left out before: " + head.textContent);
            level = next;
          }
          if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
          if (!document.documentElement.lang) faults.push("no language");
          return faults;
        }"""
    )
    assert not faults, (what, faults)


#: Contrast of text against what is behind it, as WCAG 2 defines it: at least 4.5, or 3 for large text.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const colour = text => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
  const light = ([r, g, b]) => { const part = v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
    return .2126 * part(r) + .7152 * part(g) + .0722 * part(b); };
  const behind = one => { const layers = [];
    for (let at = one; at; at = at.parentElement) { const c = colour(getComputedStyle(at).backgroundColor); layers.push(c); if (c[3] === 1) break; }
    return layers.reverse().reduce((under, c) => c.slice(0, 3).map((v, i) => v * c[3] + under[i] * (1 - c[3])), [255, 255, 255]); };
  const faults = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const one = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !one.checkVisibility() || one.closest("noscript, :disabled, svg, .skip")) continue;
    const style = getComputedStyle(one), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const [a, b] = [light(colour(style.color)), light(behind(one))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < (large ? 3 : 4.5)) faults.push(ratio.toFixed(2) + " " + one.className + ": " + walk.currentNode.textContent.trim().slice(0, 40));
  }
  return faults;
}"""


def tab_to(page, selector, limit=120):
    """Presses Tab until the focus is on the element, and checks that it can be seen."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement?.matches(selector)", selector):
            style = page.evaluate("() => { const s = getComputedStyle(document.activeElement); return [s.outlineStyle, parseFloat(s.outlineWidth)] }")
            assert style[0] != "none" and style[1] >= 2, f"the focus on {selector} cannot be seen: {style}"
            return
    raise AssertionError(f"{selector} cannot be reached by the keyboard on {page.url}")


def search_and_run(browser, node, shots):
    """From the first page to a receipt, by keyboard alone."""
    with watched(browser, node.url) as seen:
        page = seen.page
        page.goto("/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"
        page.goto("/")
        tab_to(page, "nav a[href='/models']")
        page.keyboard.press("Enter")
        page.wait_for_url("**/models")
        tab_to(page, "#q")
        page.keyboard.type("handwr")
        page.keyboard.press("Enter")
        page.wait_for_url("**/models?q=handwr*")
        assert page.locator(".cards .card").count() == 1
        shots(page, "search")
        tab_to(page, "a[href='/models/acme/digits']")
        page.keyboard.press("Enter")
        page.wait_for_url("**/models/acme/digits")
        assert "What nobody checked" in page.content()
        card = json.load(urllib.request.urlopen(node.url + "/v1/hub/models/acme/digits"))["card"]
        assert card["examination"]["facts"]["program"] in page.content()
        shots(page, "card")
        tab_to(page, "a[href='/run/digits']")
        page.keyboard.press("Enter")
        page.wait_for_url("**/run/digits")
        tab_to(page, "#file")
        page.set_input_files("#file", ROOT / "examples/seven.png")
        tab_to(page, "#at_stake")
        page.keyboard.type("30 USD")
        tab_to(page, "summary")
        page.keyboard.press("Enter")
        for field, text in (("#audience", AUDIENCE), ("#nonce", NONCE)):
            tab_to(page, field)
            page.keyboard.type(text)
        tab_to(page, "button[formaction]")
        page.keyboard.press("Enter")
        page.wait_for_url("**/run/digits/plan")
        assert "a proof together with the answer" in page.locator("#plan").inner_text()
        assert "V = 30 USD <= good for" in page.locator("#plan").inner_text()
        shots(page, "plan")
        # The image stands in the form as numbers now, and the amount as it was typed.
        assert len(page.input_value("#input-0").split()) == 64 and page.input_value("#at_stake") == "30 USD"
        tab_to(page, "form.run button.first")
        page.keyboard.press("Enter")
        page.wait_for_url("**/receipts/*")
        assert page.locator("h1").inner_text() == "seven"
        shots(page, "answer")
        with page.expect_download() as saving:
            tab_to(page, "a[href$='/file']")
            page.keyboard.press("Enter")
        receipt = node.config.parent / "page.carat"
        shutil.copy(saving.value.path(), receipt)
        own = page.url.rsplit("/", 1)[1]
    return receipt, own


def read_report(page):
    page.wait_for_selector("#json", state="attached")
    return json.loads(page.locator("#json").text_content())


def verdict_of(node, *arguments):
    """What `carat verify --json` says, whatever its status; in a directory of its own, where nothing is remembered."""
    with tempfile.TemporaryDirectory() as home:
        command = [node.carat / "carat", "verify", *arguments, "--json", "--data-dir", home]
        ran = subprocess.run(command, capture_output=True, text=True)
    return json.loads(ran.stdout)


def inspect(browser, node, receipt, own, shots):
    """The inspector against `carat verify --json`, with every request looked at."""
    work = node.config.parent
    trust = work / "trust.toml"
    if not trust.exists():
        node.run("trust", "new", "--name", "me", "--currency", "USD", "-o", trust)
    fixtures = ROOT / "crates/carat-verify/tests/fixtures"
    # Apart from its opening, which `carat verify` would find beside it.
    shipped, opening = work / "everything.carat", fixtures / "everything.carat-open"
    shutil.copy(fixtures / "everything.carat", shipped)
    changed = work / "changed.carat"
    bytes_ = bytearray(shipped.read_bytes())
    bytes_[len(bytes_) // 3] ^= 1
    changed.write_bytes(bytes_)
    with watched(browser, node.url) as seen:
        page = seen.page
        page.goto("/inspect")
        # The browser holds the page to it: nothing can be connected to, whoever tries.
        refused = page.evaluate("fetch('/').then(() => 'reached', () => 'refused')")
        assert refused == "refused", refused
        assert any("Content Security Policy" in text for text in seen.wrong)
        seen.wrong.clear()
        seen.requests.clear()
        page.set_input_files("#receipt", shipped)
        page.wait_for_selector("#result .verdict")
        report = read_report(page)
        assert_same(report, verdict_of(node, shipped))
        # The icon is asked for when the browser finds the time.
        names = [url.rsplit("/", 1)[1] for _, url, _ in seen.requests if not url.endswith("/mark.svg")]
        assert sorted(names) == ["carat-verifier-module.js", "carat-verifier.js"], names
        # From here on nothing is loaded either.
        seen.requests.clear()
        page.set_input_files("#receipt", [trust, opening])
        until(page, "() => document.querySelectorAll('#files li').length === 3 && document.querySelector('#result').ariaBusy !== 'true'")
        page.click("#question summary")
        page.fill("#amount", "5 USD")
        before = page.locator("#json").text_content()
        tab_to(page, "#again")
        page.keyboard.press("Enter")
        until(page, "before => { const now = document.querySelector('#json')?.textContent; return now && now !== before }", before)
        report = read_report(page)
        assert_same(report, verdict_of(node, shipped, "--trust", trust, "--open", opening, "--amount", "5USD"))
        shots(page, "inspector-question")
        page.goto("/inspect")
        seen.requests.clear()
        page.set_input_files("#receipt", changed)
        page.wait_for_selector("#result .verdict")
        report = read_report(page)
        assert report["verdict"] == "invalid", report
        assert_same(report, verdict_of(node, changed))
        assert "Not valid" in page.locator(".verdict .amount").inner_text()
        shots(page, "inspector-changed")
        assert all(method == "GET" and not body for method, _, body in seen.requests), seen.requests
        # Dropped anywhere; under a Trust file that knows issuer and model, the amount stands first.
        page.goto("/inspect")
        drop_files(page, [receipt])
        page.wait_for_selector("#result .verdict")
        report = read_report(page)
        card = json.load(urllib.request.urlopen(node.url + "/v1/hub/models/acme/digits"))["card"]["examination"]
        (zk,) = (rung for rung in card["rungs"] if rung["name"] == "zk")
        node.run("trust", "add", trust, "issuer", "The node", report["receipt"]["issuer_key"])
        node.run("trust", "add", trust, "model", "digits", card["facts"]["program"], "--proof-key", zk["model_key"])
        opening = work / "answer.carat-open"
        opening.write_bytes(urllib.request.urlopen(f"{node.url}/v1/receipts/{own}/opening").read())
        page.goto("/inspect")
        page.click("#question summary")
        for field, text in (("#nonce", NONCE), ("#audience", AUDIENCE), ("#amount", "30 USD")):
            page.fill(field, text)
        drop_files(page, [receipt, opening, trust])
        page.wait_for_selector("#result .verdict")
        until(page, "() => document.querySelectorAll('#files li').length === 3")
        report = read_report(page)
        asked = ["--trust", trust, "--open", opening, "--nonce", NONCE, "--audience", AUDIENCE, "--amount", "30USD"]
        assert_same(report, verdict_of(node, receipt, *asked))
        assert report["verdict"] == "good" and page.locator(".verdict .amount").inner_text() == report["best"], report
        shots(page, "inspector-good")
        # A receipt of this server stands in the page already.
        page.goto(f"/inspect/{own}")
        page.wait_for_selector("#result .verdict")
        report = read_report(page)
        assert report["receipt"]["receipt_id"] == own and report["output"][0]["label"]["name"] == "seven", report
        shots(page, "inspector")
        assert all(method == "GET" and not body for method, _, body in seen.requests), seen.requests


def assert_same(report, other):
    """Equal in everything, but for the moment that each was asked at. (JavaScript writes 3.0 as 3: numbers are compared as such.)"""

    def plain(one):
        text = re.sub(r"as of \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "as of now", json.dumps(one))
        return json.dumps(json.loads(text, parse_int=float), indent=1, sort_keys=True)

    ours, theirs = plain(report), plain(other)
    assert ours == theirs, "\n".join(difflib.unified_diff(theirs.splitlines(), ours.splitlines(), "carat verify", "the page", n=1))


def drop_files(page, paths):
    files = [(path.name, list(path.read_bytes())) for path in paths]
    page.evaluate(
        """files => {
          const held = new DataTransfer();
          for (const [name, bytes] of files) held.items.add(new File([new Uint8Array(bytes)], name));
          document.getElementById("drop").dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: held }));
        }""",
        files,
    )


def everywhere(browser, node, own, shots):
    """Every page: on a phone and a desktop, in light and dark, with names, labels and contrast."""
    pages = [*PUBLIC, f"/receipts/{own}", "/log?entry=0", "/log?since=1", "/models?q=zebra", "/models/acme/none"]
    missing = ("status of 404",)
    for viewport, size, shown in ((PHONE, "phone", "dark"), (DESKTOP, "desktop", "light")):
        with watched(browser, node.url, viewport, expected=missing) as seen:
            for path in pages:
                seen.page.goto(path)
                no_overflow(seen.page, f"{path} on a {size}")
                accessible(seen.page, path)
                for scheme in ("light", "dark"):
                    seen.page.emulate_media(color_scheme=scheme)
                    thin = seen.page.evaluate(CONTRAST)
                    assert not thin, (path, scheme, thin)
                    if scheme == shown:
                        shots(seen.page, f"{size}-{scheme}-{path}")


def without_scripts(browser, node, shots):
    """A search, a run and its receipt without JavaScript; the plot then loads itself again."""
    with watched(browser, node.url, PHONE, java_script_enabled=False) as seen:
        page = seen.page
        page.goto("/models?q=cell")
        page.click("a[href='/models/acme/tumor']")
        page.click("a[href='/run/tumor']")
        page.fill("#at_stake", "40USD")
        page.click("button[formaction]")
        page.wait_for_url("**/plan")
        page.click("form.run button.first")
        page.wait_for_url("**/receipts/*")
        assert page.locator("h1").inner_text() in ("benign", "malignant")
        shots(page, "phone-no-scripts")
        page.goto("/inspect")
        assert "needs JavaScript" in page.inner_text("main") or "no verifier" in page.inner_text("main")
        page.goto("/spend")
        assert page.locator("noscript meta[http-equiv=refresh], meta[http-equiv=refresh]").count() == 1
        assert page.locator("svg[role=img]").count() >= 1


def live_plot(browser, node, shots):
    """The plot follows what happens, without the page being loaded again."""
    with watched(browser, node.url) as seen:
        page = seen.page
        page.goto("/spend")
        before = page.locator("#live .verdict").inner_text()
        body = json.dumps({"inputs": json.loads((ROOT / "examples/tumor.json").read_text()), "at_stake": "25USD"}).encode()
        for _ in range(2):
            request = urllib.request.Request(node.url + "/v1/models/tumor/infer", body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request).read()
        until(page, "before => document.querySelector('#live .verdict').innerText !== before", before)
        shots(page, "spend")


def with_keys(browser, node, key, shots):
    """Signing in and out; the key is nowhere in what the browser keeps."""
    with watched(browser, node.url, expected=("status of 401",)) as seen:
        page = seen.page
        page.goto("/run/tumor")
        page.click("text=Sign in to run it")
        page.fill("#key", "carat_wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("[role=alert]")
        page.fill("#key", key)
        page.keyboard.press("Enter")
        page.wait_for_url("**/run/tumor")
        (cookie,) = seen.context.cookies()
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and key not in cookie["value"], cookie
        assert page.evaluate("document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)") == "{}{}"
        page.click("form.run button.first")
        page.wait_for_url("**/receipts/*")
        place = page.url
        page.goto("/sign-in")
        shots(page, "sign-in")
        page.click("text=Sign out")
        page.wait_for_url(node.url + "/")
        page.goto(place)
        assert page.locator("h1").inner_text() == "A key is needed"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("carat", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--chromium", required=True)
    parser.add_argument("--verifier", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--screenshots", type=pathlib.Path)
    arguments = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="page-client-"))
    if arguments.screenshots:
        arguments.screenshots.mkdir(parents=True, exist_ok=True)

    def shots(page, name):
        if arguments.screenshots:
            plain = "".join(c if c.isalnum() or c in "-." else "_" for c in name)
            page.screenshot(path=arguments.screenshots / f"{plain}.png", full_page=True)

    started = time.monotonic()
    hub = "[hub]\n"
    open_node = Node(arguments.carat, work, "open", 'access = "open"\n' + hub, arguments.verifier)
    keys_node = Node(arguments.carat, work, "keys", "", None)
    for model in ("digits", "tumor"):
        open_node.run("hub", "publish", ROOT / "models" / model, "--as", f"acme/{model}@1.0.0")
    key = keys_node.run("api-key", "new", "--tenant", "acme", "--scope", "infer,read").splitlines()[0]
    try:
        with open_node, keys_node, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox"])
            receipt, own = search_and_run(browser, open_node, shots)
            if arguments.verifier:
                inspect(browser, open_node, receipt, own, shots)
            without_scripts(browser, open_node, shots)
            live_plot(browser, open_node, shots)
            with_keys(browser, keys_node, key, shots)
            everywhere(browser, open_node, own, shots)
            browser.close()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    verified = "verdicts equal carat verify's, nothing uploaded" if arguments.verifier else "NO VERIFIER: the inspector was not used"
    print(f"ci: {len(PUBLIC) + 5} pages, phone and desktop, light and dark; by keyboard; {verified}; {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
