#!/usr/bin/env python3
"""Brings the ONNX backend node tests into a folder, one sub-folder a test.

    python tools/python/fetch_onnx_suite.py --version 1.17.0 --out target/onnx
    python tools/python/fetch_onnx_suite.py --installed --out target/onnx-new

The result is `OUT/node/<test>/model.onnx` with `test_data_set_<i>/input_<j>.pb` and
`output_<j>.pb`, the layout that `carat conformance onnx --dir OUT/node` reads.

Releases up to 1.22.0 ship these folders in the wheel: it is downloaded and unpacked.
1.23 ships only the code that makes them: it is run, with the installed `onnx`
(`--installed`) or in a virtual environment of its own (`--version`). Generated
expectations differ from shipped ones in last bits (they come from this machine's libm).
"""

import argparse
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import warnings
import zipfile
from pathlib import Path

SUITE = "onnx/backend/test/data/node/"


def download(version, into):
    """The wheel of that release. Only its data is used, so any platform's wheel will do."""
    targets = [[], ["--only-binary=:all:", "--python-version=3.11", "--platform=manylinux2014_x86_64",
                    "--platform=manylinux_2_17_x86_64", "--platform=manylinux_2_27_x86_64"]]  # fmt: skip
    for target in targets:
        run = subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
             "--only-binary=:all:", f"onnx=={version}", "-d", str(into), *target],
            capture_output=True, text=True,
        )  # fmt: skip
        wheels = sorted(Path(into).glob("onnx-*.whl"))
        if run.returncode == 0 and wheels:
            return wheels[0]
    sys.exit(f"error: could not download onnx {version}:\n{run.stderr.strip()}")


def unpack(wheel, out):
    """Unpacks the node tests of a wheel. Returns the number of tests; 0 if it ships none."""
    tests = set()
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            if not info.filename.startswith(SUITE) or info.is_dir():
                continue
            parts = info.filename[len(SUITE) :].split("/")
            if any(p in ("", "..") for p in parts):
                sys.exit(f"error: {wheel.name} holds an unsafe path: {info.filename}")
            target = out.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink)
            tests.add(parts[0])
    return len(tests)


def encode(value, info):
    """Bytes of one input or output, as the protobuf message that its declared type calls for."""
    from onnx import SparseTensorProto, TensorProto, numpy_helper

    kind = info.type.WhichOneof("value")
    if isinstance(value, (TensorProto, SparseTensorProto)):
        message = value
    elif kind == "sequence_type":
        message = numpy_helper.from_list(value, info.name)
    elif kind == "optional_type":
        message = numpy_helper.from_optional(value, info.name)
    elif kind == "map_type":
        message = numpy_helper.from_dict(value, info.name)
    else:
        message = numpy_helper.from_array(value, info.name)
    return message.SerializeToString()


def generate(out):
    """Runs the test cases of the onnx that this Python imports. Returns (written, left out)."""
    import onnx.backend.test.case.node as node_cases

    # The cases compute log(0) and overflowing casts on purpose.
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    written, left_out = 0, []
    for case in node_cases.collect_testcases(None):
        if case.kind != "node" or case.model is None:
            continue
        if not re.fullmatch(r"[A-Za-z0-9_.+-]+", case.name):
            sys.exit(f"error: a test case has an unusable name: {case.name!r}")
        folder = out / case.name
        try:
            files = {"model.onnx": case.model.SerializeToString()}
            for i, (inputs, outputs) in enumerate(case.data_sets):
                # A trailing optional input has data but no graph input, or the reverse: zip stops there.
                for role, values, infos in (
                    ("input", inputs, case.model.graph.input),
                    ("output", outputs, case.model.graph.output),
                ):
                    for j, (value, info) in enumerate(zip(values, infos)):
                        files[f"test_data_set_{i}/{role}_{j}.pb"] = encode(value, info)
        except Exception as error:  # one odd case must not cost the suite
            left_out.append(f"{case.name}: {type(error).__name__}: {error}")
            continue
        if folder.exists():
            shutil.rmtree(folder)
        for name, blob in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(blob)
        written += 1
    return written, left_out


def generate_with(version, out):
    """Generates the suite of a release in a throw-away virtual environment."""
    with tempfile.TemporaryDirectory(prefix="onnx-suite-") as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", f"onnx=={version}", "numpy", "pillow"],
            check=True,
        )  # fmt: skip
        subprocess.run([python, __file__, "--installed", "--out", str(out)], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--version", help="release of the onnx package, for example 1.17.0")
    source.add_argument("--installed", action="store_true", help="generate from the installed onnx")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets node/")
    args = parser.parse_args()
    node = args.out / "node"

    if args.installed:
        version = importlib.metadata.version("onnx")
        node.mkdir(parents=True, exist_ok=True)
        written, left_out = generate(node)
        for line in left_out:
            print(f"left out {line}", file=sys.stderr)
        print(f"onnx {version}: {written} node tests generated in {node}, {len(left_out)} left out")
        if written == 0:
            sys.exit("error: this onnx has no node test cases")
        return
    if not re.fullmatch(r"[0-9]+(\.[0-9]+){1,3}", args.version):
        sys.exit(f"error: {args.version!r} is not a release number such as 1.17.0")
    with tempfile.TemporaryDirectory(prefix="onnx-wheel-") as folder:
        count = unpack(download(args.version, folder), node)
    if count:
        print(f"onnx {args.version}: {count} node tests unpacked in {node}")
    else:
        generate_with(args.version, args.out)


if __name__ == "__main__":
    main()
