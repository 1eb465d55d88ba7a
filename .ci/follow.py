#!/usr/bin/env python3
"""Follows a page literally: runs every command of its `sh` blocks, in order, in one shell.

    follow.py PAGE --carat DIR

A line that starts with `$ ` is a command; lines that follow it up to the next command are what the page says it prints.
Each such line must appear in the output, in this order; `...` in it stands for anything. A comment
`# exit status N` at the end of a command says how it ends (0 without one).

The commands run in a copy of the checkout's tracked files, with DIR first in PATH and a fresh data directory.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading


def commands(page):
    """(command, expected exit status, expected lines) of every sh block."""
    for block in re.findall(r"^```sh\n(.*?)^```$", page, re.M | re.S):
        current = None
        for line in block.splitlines():
            if line.startswith("$ "):
                if current:
                    yield current
                text, status = line[2:], 0
                found = re.search(r"\s+# exit status (\d+)$", text)
                if found:
                    text, status = text[: found.start()], int(found.group(1))
                current = (text, status, [])
            elif current and line.strip():
                current[2].append(line.strip())
        if current:
            yield current


def matches(expected, output):
    """Whether the lines appear in order."""
    position = 0
    for line in expected:
        pattern = ".*".join(re.escape(part.strip()) for part in line.split("..."))
        found = next((i for i in range(position, len(output)) if re.search(pattern, output[i])), None)
        if found is None:
            return line
        position = found + 1
    return None


class Shell:
    """One bash, so that variables and background processes last from command to command; all of it ends with this."""

    def __init__(self, folder, environment):
        self.output = folder.parent / "output"
        self.bash = subprocess.Popen(
            ["bash"], cwd=folder, env=environment, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self.bash.pid, signal.SIGKILL)
        self.bash.wait()

    def run(self, command):
        """Exit status and output."""
        patience = threading.Timer(300, lambda: os.killpg(self.bash.pid, signal.SIGKILL))
        patience.start()
        self.bash.stdin.write(f"{{ {command}\n}} >'{self.output}' 2>&1 </dev/null\necho $?\n")
        self.bash.stdin.flush()
        status = self.bash.stdout.readline().strip()
        patience.cancel()
        printed = self.output.read_text() if self.output.exists() else ""
        return int(status) if status else None, printed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("--carat", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "carat"
        for name in subprocess.check_output(["git", "ls-files", "-z"], cwd=root, text=True).split("\0"):
            if name and name.split("/")[0] in ("models", "examples"):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / name, copy / name)
        environment = dict(os.environ)
        environment["PATH"] = f"{arguments.carat.resolve()}:{environment['PATH']}"
        environment["CARAT_HOME"] = str(pathlib.Path(folder) / "home")
        environment["HOME"] = folder
        count = 0
        with Shell(copy, environment) as shell:
            for command, status, expected in commands(arguments.page.read_text()):
                # What a reader of a checkout types with cargo is the same binary.
                command = re.sub(r"cargo run --release --bin carat -- ", "carat ", command)
                ended, printed = shell.run(command)
                print(f"$ {command}\n{printed}")
                if ended != status:
                    sys.exit(f"`{command}` ended with {ended}, the page says {status}")
                missing = matches(expected, printed.splitlines())
                if missing is not None:
                    sys.exit(f"`{command}` did not print {missing!r}")
                count += 1
    if count == 0:
        sys.exit("the page holds no command")
    print(f"ci: {count} commands")


if __name__ == "__main__":
    main()
