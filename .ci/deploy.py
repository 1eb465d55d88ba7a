#!/usr/bin/env python3
"""Checks what people deploy with, as far as it can be checked without a container engine and without systemd as process 1.

    deploy.py --carat BINARY

The Dockerfile: what it copies is in the repository and is enough for the build that it runs; its toolchain is new enough; what its
variables and its command say is taken by the binary. The unit: systemd finds no fault in it (where systemd-analyze is installed),
and its commands are taken by the binary.
"""

import argparse
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def fail(message):
    sys.exit(f"deploy: {message}")


def run(args, **more):
    done = subprocess.run([str(arg) for arg in args], capture_output=True, text=True, **more)
    if done.returncode != 0:
        fail(f"{shlex.join(map(str, args))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def instructions(path):
    """(name, arguments) of each instruction of a Dockerfile."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def home_with_key(carat, folder):
    home = folder / "home"
    run([carat, "api-key", "new", "--tenant", "ci", "--data-dir", home])
    return home


def dockerfile(carat, folder):
    steps = instructions(ROOT / "deploy/Dockerfile")
    tracked = run(["git", "-C", ROOT, "ls-files"]).splitlines()
    # A clean directory with what is copied into the image, and nothing else.
    clean = folder / "source"
    stages, copied, environment, entry, command = [], [], {}, [], []
    for name, arguments in steps:
        if name == "FROM":
            image = arguments.split()[0]
            tag = image.partition(":")[2]
            if not tag or tag == "latest":
                fail(f"the image {image} has no version")
            stages.append(image)
        elif name == "COPY":
            *sources, target = [word for word in arguments.split() if not word.startswith("--")]
            if "--from=" in arguments:
                copied.append(target)
                continue
            for source in sources:
                files = [path for path in tracked if path == source or path.startswith(source.rstrip("/") + "/")]
                if not files:
                    fail(f"COPY {source}: the repository has no such file")
                for path in files:
                    (clean / path).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / path, clean / path)
        elif name == "ENV":
            environment.update(pair.split("=", 1) for pair in shlex.split(arguments))
        elif name == "ENTRYPOINT":
            entry = json.loads(arguments)
        elif name == "CMD":
            command = json.loads(arguments)
    if entry != copied:
        fail(f"ENTRYPOINT {entry} is not what is copied, {copied}")
    least = re.search(r'^rust-version = "([\d.]+)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    has = re.fullmatch(r"rust:([\d.]+)-\S+", stages[0])
    number = lambda text: [int(part) for part in text.split(".")]
    if not has or number(has.group(1)) < number(least):
        fail(f"{stages[0]} is older than rust-version = {least}, or says no version")
    # The build takes its lock file, and no source reaches outside of what was copied.
    metadata = json.loads(run(["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"], cwd=clean))
    if not any(target["name"] == "carat" for package in metadata["packages"] for target in package["targets"]):
        fail("no package has a binary carat")
    included = 0
    for path in clean.glob("crates/*/src/**/*.rs"):
        for name in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', path.read_text()):
            included += 1
            if not (path.parent / name).exists() and "#[cfg(test)]" not in path.read_text():
                fail(f"{path.relative_to(clean)} includes {name}, which is not copied")
    # The command with the variables, on paths of this machine. Its listening on all addresses must be taken.
    home = home_with_key(carat, folder)
    at = {"/etc/carat/serve.toml": ROOT / "examples/serve.toml", "/var/lib/carat": home}
    values = {name: str(at.get(value, value)) for name, value in environment.items()}
    args = [at.get(word, word) for word in command]
    # The image speaks plain HTTP on all addresses, and refuses to until whoever runs it says that this is meant.
    plain = {**os.environ, **values}
    if subprocess.run([str(arg) for arg in [carat, *args, "--check"]], env=plain, capture_output=True).returncode == 0:
        fail("the image would send API keys in the clear without being told to")
    meant = {**plain, "CARAT_SERVE_TLS__BEHIND_PROXY": "true"}
    if "CARAT_SERVE_TLS__BEHIND_PROXY=true" not in (ROOT / "deploy/Dockerfile").read_text():
        fail("deploy/Dockerfile does not say how that is said")
    checked = json.loads(run([carat, *args, "--check", "--json"], env=meant))
    if checked["listen"] != environment["CARAT_SERVE_LISTEN"]:
        fail(f"the image listens on {checked['listen']}")
    return f"Dockerfile: {len(metadata['packages'])} crates, {included} included files"


def unit(carat, folder):
    text = (ROOT / "deploy/carat.service").read_text()
    binary = "/usr/local/bin/carat"
    commands = re.findall(r"^ExecStart(?:Pre)?=(.*)$", text, re.M)
    if not commands or any(not command.startswith(f"{binary} ") for command in commands):
        fail(f"the unit starts something other than {binary}")
    home = home_with_key(carat, folder)
    at = {binary: carat, "/etc/carat/serve.toml": ROOT / "examples/serve.toml", "/var/lib/carat": home}
    for command in commands:
        args = [at.get(word, word) for word in shlex.split(command)]
        # The command that serves differs from the one before it by the check alone.
        run(args if "--check" in args else [*args, "--check"])
    if not shutil.which("systemd-analyze"):
        return "unit: not shown to systemd, which is not installed"
    copy = folder / "carat.service"
    copy.write_text(text.replace(binary, str(pathlib.Path(carat).resolve())))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy], capture_output=True, text=True
    )
    # What it says of other units of this machine is not about ours.
    said = [line for line in done.stderr.splitlines() if "carat.service" in line]
    if done.returncode != 0 or said:
        fail("systemd-analyze verify:\n" + "\n".join(said or [done.stderr]))
    # It must be able to say no.
    copy.write_text(copy.read_text().replace("Restart=on-failure", "Restart=whenever"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy], capture_output=True, text=True
    )
    if "carat.service" not in done.stderr:
        fail("systemd-analyze verify finds no fault in a unit that has one")
    return "unit: no fault found by " + run(["systemd-analyze", "--version"]).splitlines()[0].split(" (")[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--carat", required=True, type=pathlib.Path)
    carat = parser.parse_args().carat.resolve()
    said = []
    for check in (dockerfile, unit):
        with tempfile.TemporaryDirectory() as folder:
            said.append(check(carat, pathlib.Path(folder)))
    print("ci: " + "; ".join(said))


main()
