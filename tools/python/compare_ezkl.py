#!/usr/bin/env python3
"""EZKL and Carat side by side: the same ONNX files, the same machine, one go, one table.

    python tools/python/compare_ezkl.py                               # mlp-784; a minute or two, all of it EZKL's
    python tools/python/compare_ezkl.py --models mlp-784,lenet5       # LeNet-5 asks EZKL for 11 GiB and many minutes
    python tools/python/compare_ezkl.py --carat target/release/carat --json result.json --markdown result.md

EZKL's wheel comes from PyPI into a virtual environment in the work folder (or give --python, an interpreter that has what
PINS lists). EZKL serves this comparison and nothing else; nothing of it is part of this repository.

Models are names of `models/bench` (made when they are missing) or folders with one ONNX file, `calibration/` and `data/`.
Every step of EZKL, and Carat, runs in a child process of its own with bounds on its time (--timeout) and its address space
(--memory-gib). A step that fails or goes out of bounds ends that row, which then says where and why; the rest goes on.

Set-up is what makes the keys: EZKL's `setup`, Carat's commitment to the weights. The universal reference string that EZKL
needs besides is generated on this machine, so no network is used; whoever generates it this way can forge proofs,
so this serves measurements only, and its time is listed apart. EZKL's times are of the call inside the process, with the files that it
reads and writes and without the interpreter's start; its witness is apart. Carat's are those of `carat bench prove`: proving
includes running the model, and files are read before. Exit status 1 if Carat's side fails, 0 otherwise.
"""

import argparse
import json
import os
import platform
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS = ["ezkl==23.0.5", "numpy==2.4.6", "onnx==1.17.0", "onnxruntime==1.31.1"]
# EZKL's names for: the input is hidden, the output is public, the weights are constants of the circuit and so of its keys.
VISIBILITY = {"input": "private", "output": "public", "param": "fixed"}
GIB = 1 << 30


class StepFailed(Exception):
    """A step ended without a result; the text says which and why."""


# ---- What a child does: one step, in the interpreter that has the packages ----


def samples(folder, kind, count):
    """The first `count` samples of each input of the model's folder, in the model's order of inputs."""
    import numpy as np
    import onnx

    graph = onnx.load(str(onnx_file(folder))).graph
    constants = {x.name for x in graph.initializer}
    names = [x.name for x in graph.input if x.name not in constants]
    arrays = [np.load(Path(folder) / kind / f"{name}.npy")[:count].astype(np.float32) for name in names]
    axes = {d.dim_param for x in graph.input for d in x.type.tensor_type.shape.dim if d.HasField("dim_param")}
    return names, arrays, sorted(axes)


def step_inputs(folder, work, count, calibration):
    """Held-out samples with ONNX Runtime's answers, in the files that each system reads."""
    import numpy as np
    import onnxruntime as ort

    work = Path(work)
    names, arrays, _ = samples(folder, "data", count)
    session = ort.InferenceSession(str(onnx_file(folder)), providers=["CPUExecutionProvider"])
    outputs = [session.run(None, {n: a[i : i + 1] for n, a in zip(names, arrays)})[0] for i in range(len(arrays[0]))]
    (work / "data").mkdir(parents=True, exist_ok=True)
    for name, array in zip(names, arrays):
        np.save(work / "data" / f"{name}.npy", array)
    np.save(work / "data/reference.npy", np.concatenate(outputs))
    (work / "data/reference.json").write_text(json.dumps({"engine": f"onnxruntime {ort.__version__}"}))
    for i in range(len(arrays[0])):
        rows = {"input_data": [a[i].ravel().tolist() for a in arrays]}
        (work / f"input-{i}.json").write_text(json.dumps(rows))
    _, arrays, _ = samples(folder, "calibration", calibration)
    (work / "calibration.json").write_text(json.dumps({"input_data": [a.ravel().tolist() for a in arrays]}))
    return {"reference": [o.ravel().tolist() for o in outputs], "engine": f"onnxruntime {ort.__version__}"}


def step_settings(folder, work):
    import ezkl

    args = ezkl.PyRunArgs()
    for what, how in VISIBILITY.items():
        setattr(args, f"{what}_visibility", how)
    args.variables = [(axis, 1) for axis in samples(folder, "data", 1)[2]]
    ok = timed(ezkl.gen_settings, str(onnx_file(folder)), f"{work}/settings.json", args)
    return {**ok, "ezkl": ezkl.__version__}


def step_calibrate(folder, work):
    import ezkl

    ok = timed(ezkl.calibrate_settings, f"{work}/calibration.json", str(onnx_file(folder)), f"{work}/settings.json", "resources")
    run = json.loads(Path(work, "settings.json").read_text())["run_args"]
    return {**ok, **{k: run[k] for k in ("logrows", "input_scale", "param_scale", "num_inner_cols")}}


def step_compile(folder, work):
    import ezkl

    return timed(ezkl.compile_circuit, str(onnx_file(folder)), f"{work}/circuit.ezkl", f"{work}/settings.json")


def step_reference_string(path, logrows):
    import ezkl

    # Written aside: a step that is stopped must not leave half a file for the next run to reuse.
    took = timed(ezkl.gen_srs, f"{path}.part", logrows, returns=None)
    os.replace(f"{path}.part", path)
    return took


def step_setup(work, srs):
    import ezkl

    took = timed(ezkl.setup, f"{work}/circuit.ezkl", f"{work}/verify.key", f"{work}/prove.key", srs)
    return {**took, "proving_key_bytes": os.path.getsize(f"{work}/prove.key"), "verifying_key_bytes": os.path.getsize(f"{work}/verify.key")}


def step_witness(work, count):
    """The circuit's own answers to all samples. The witness of sample 0 is the one that is proven."""
    import ezkl

    answers, seconds = [], []
    for i in range(count):
        out = f"{work}/witness-{i}.json"
        took = timed(ezkl.gen_witness, f"{work}/input-{i}.json", f"{work}/circuit.ezkl", out, returns=dict)
        seconds.append(took["seconds"])
        answers.append([float(x) for x in json.loads(Path(out).read_text())["pretty_elements"]["rescaled_outputs"][0]])
    return {"seconds": statistics.median(seconds), "answers": answers}


def step_prove(work, srs):
    import ezkl

    proof = f"{work}/proof.json"
    took = timed(ezkl.prove, f"{work}/witness-0.json", f"{work}/circuit.ezkl", f"{work}/prove.key", proof, srs, returns=dict)
    body = json.loads(Path(proof).read_text())["proof"]
    return {**took, "proof_bytes": len(bytes.fromhex(body.removeprefix("0x")) if isinstance(body, str) else bytes(body))}


def step_verify(work, srs):
    import ezkl

    return timed(ezkl.verify, f"{work}/proof.json", f"{work}/settings.json", f"{work}/verify.key", srs)


def timed(call, *args, returns=True):
    """Seconds of one call, and a failure unless it returned what success looks like (`True`, `None` or a dictionary)."""
    start, cpu = time.perf_counter(), time.process_time()
    result = call(*args)
    took = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    if not (isinstance(result, dict) if returns is dict else result is returns):
        sys.exit(f"{call.__name__} returned {result!r}")
    return took


def child(name, arguments, result):
    answer = globals()[f"step_{name}"](**arguments)
    # The high-water mark of this process's memory alone, without its parent's.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    answer["peak_rss_bytes"] = int(peak[1]) * 1024 if peak else None
    Path(result).write_text(json.dumps(answer))


# ---- What the parent does: bounds, order, table ----


def onnx_file(folder):
    found = sorted(Path(folder).glob("*.onnx"))
    if len(found) != 1:
        sys.exit(f"error: {folder} has {len(found)} ONNX files; give a folder with exactly one")
    return found[0]


def bounded(command, args, what, environment):
    """Runs a command within the bounds. Returns its standard output; raises StepFailed with a sentence."""
    limit = int(args.memory_gib * GIB)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True, env={**os.environ, **environment},
            start_new_session=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        )  # fmt: skip
        try:
            process.wait(args.timeout)
        except subprocess.TimeoutExpired:
            raise StepFailed(f"{what}: over the time bound of {args.timeout:g} s") from None
        finally:
            if process.poll() is None:  # too late, or interrupted: the whole group goes
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        out.seek(0)
        err.seek(0)
        text, errors = out.read(), err.read()
    if process.returncode == 0:
        return text
    starved = re.search(r"memory allocation of \d+ bytes failed|MemoryError|[Cc]annot allocate memory|bad_alloc", errors + text)
    if starved:
        raise StepFailed(f"{what}: over the memory bound of {args.memory_gib:g} GiB ({starved[0]})")
    if process.returncode < 0:
        raise StepFailed(f"{what}: ended by {signal.Signals(-process.returncode).name}")
    lines = [line.strip() for line in (errors or text).splitlines() if line.strip()]
    said = next((line for line in lines if line.lower().startswith("error")), lines[-1] if lines else "no message")
    raise StepFailed(f"{what}: exit status {process.returncode}: {said[:300]}")


def step(name, args, what, **arguments):
    """One step in the interpreter that has the packages."""
    with tempfile.TemporaryDirectory(prefix="carat-compare-") as folder:
        result = Path(folder) / "result.json"
        call = json.dumps({"name": name, "arguments": {k: str(v) if isinstance(v, Path) else v for k, v in arguments.items()}})
        environment = {"RAYON_NUM_THREADS": str(args.threads), "OMP_NUM_THREADS": str(args.threads)}
        bounded([str(args.python), __file__, "--child", call, "--result", str(result)], args, what, environment)
        return json.loads(result.read_text())


def repeated(times):
    return {"median": statistics.median(times), "min": min(times), "max": max(times), "runs": len(times)}


def fidelity(answers, reference):
    """Largest error and how often the largest output is the same one, against ONNX Runtime's floats."""
    pairs = list(zip(answers, reference, strict=True))
    same = sum(a.index(max(a)) == r.index(max(r)) for a, r in pairs)
    error = max(abs(x - y) for a, r in pairs for x, y in zip(a, r, strict=True))
    return {"max_abs_error": error, "same_argmax": same, "samples": len(pairs)}


def ezkl_row(folder, work, args, reference):
    """All of EZKL, step by step. The row keeps what was measured before a failure."""
    row = {"system": "EZKL", "steps": {}, "threads": args.threads, "visibility": VISIBILITY}

    def go(name, **arguments):
        say(f"  EZKL {name}")
        row["steps"][name] = step(name, args, name, **arguments)
        return row["steps"][name]

    try:
        row["version"] = go("settings", folder=folder, work=work)["ezkl"]
        logrows = go("calibrate", folder=folder, work=work)["logrows"]
        go("compile", folder=folder, work=work)
        srs = args.work / f"2^{logrows}.srs"
        if not srs.exists():
            go("reference_string", path=srs, logrows=logrows)
        made = go("setup", work=work, srs=srs)
        row.update(setup_ms=made["seconds"] * 1e3, setup_peak_rss_bytes=made["peak_rss_bytes"], proving_key_bytes=made["proving_key_bytes"])
        answers = go("witness", work=work, count=len(reference)).pop("answers")
        row["fidelity"] = fidelity(answers, reference)
        proofs = [go("prove", work=work, srs=srs) for _ in range(args.runs)]
        row.update(
            prove_ms=repeated([p["seconds"] * 1e3 for p in proofs]),
            prove_cpu_ms=statistics.median(p["cpu_seconds"] * 1e3 for p in proofs),
            proof_bytes=proofs[-1]["proof_bytes"],
            peak_rss_bytes=max(p["peak_rss_bytes"] for p in proofs),
        )
        row["verify_ms"] = repeated([go("verify", work=work, srs=srs)["seconds"] * 1e3 for _ in range(5)])
    except StepFailed as failure:
        row["failed"] = str(failure)
    return row


def carat_row(name, folder, work, args, reference):
    row = {"system": "Carat", "threads": args.threads}
    environment = {"CARAT_HOME": str(work / "carat-home")}
    compiled = work / f"{name}.carat-model"

    def carat(what, *words):
        say(f"  Carat {what}")
        text = bounded([str(args.carat), *map(str, words)], args, what, environment)
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            raise StepFailed(f"{what}: printed no JSON") from None

    try:
        row["version"] = bounded([str(args.carat), "--version"], args, "version", environment).strip()
        start = time.perf_counter()
        carat("compile", "model", "compile", folder, "--for", "proof", "-o", compiled, "--json")
        row["compile_ms"] = (time.perf_counter() - start) * 1e3
        close = carat("fidelity", "model", "fidelity", compiled, "--data", work / "data", "--json")
        row["fidelity"] = {
            "max_abs_error": close["max_abs_error"],
            "same_argmax": round(close["top1_agreement"] * close["samples"]),
            "samples": close["samples"],
        }
        if close["samples"] != len(reference):
            raise StepFailed(f"fidelity: looked at {close['samples']} samples of {len(reference)}")
        bench = carat("prove", "bench", "prove", "--model", compiled, "--threads", args.threads, "--json")
        row["bench"] = bench
        (measured,) = bench["rows"]
        for key in ("prove_ms", "verify_ms"):
            low, high = measured[f"{key}_range"]
            row[key] = {"median": measured[key], "min": low, "max": high, "runs": measured["runs"]}
        for key in ("prove_cold_ms", "setup_ms", "infer_ms", "proof_bytes", "peak_rss_bytes", "bits", "mode", "weights_hidden"):
            row[key] = measured[key]
        row["simd"] = bench["simd"]
    except (StepFailed, KeyError) as failure:
        row["failed"] = str(failure) if isinstance(failure, StepFailed) else f"bench prove: no {failure} in its answer"
    return row


def machine():
    def first(path, pattern):
        found = re.search(pattern, Path(path).read_text())
        return found[1] if found else None

    return {
        "processor": first("/proc/cpuinfo", r"model name\s*:\s*(.*)"),
        "processors": len(os.sched_getaffinity(0)),
        "memory_bytes": int(first("/proc/meminfo", r"MemTotal:\s+(\d+)") or 0) * 1024,
        "avx512": "avx512f" in (first("/proc/cpuinfo", r"flags\s*:\s*(.*)") or "").split(),
        "system": f"{platform.system()} {platform.release()}",
    }


def duration(ms):
    if isinstance(ms, dict):
        text = duration(ms["median"])
        return text if ms["min"] == ms["max"] else f"{text} ({duration(ms['min'])} to {duration(ms['max'])})"
    return f"{ms:.2f} ms" if ms < 10 else f"{ms:.1f} ms" if ms < 1000 else f"{ms / 1e3:.1f} s"


def size(n):
    return f"{n:,} B" if n < 100_000 else f"{n / 1e3:.0f} kB" if n < 1e6 else f"{n / 1e6:.0f} MB" if n < 1e9 else f"{n / 1e9:.1f} GB"


HEAD = ["model", "system", "prove", "verify", "proof", "peak memory", "set-up", "max error", "same arg-max"]


def cells(name, row):
    close = row.get("fidelity")

    def show(key, how):
        return how(row[key]) if row.get(key) is not None else "-"

    return [
        name, row["system"], show("prove_ms", duration), show("verify_ms", duration), show("proof_bytes", size),
        show("peak_rss_bytes", size), show("setup_ms", duration),
        f"{close['max_abs_error']:.1e}" if close else "-", f"{close['same_argmax']}/{close['samples']}" if close else "-",
    ]  # fmt: skip


def notes(name, row):
    """Sentences below the table: why a row has holes, and what its figures leave out."""
    if row.get("failed"):
        yield f"{name}, {row['system']}: not finished. {row['failed']}"
    if row["system"] == "EZKL":
        steps = row["steps"]
        if "compile" not in steps:
            return
        apart = [f"{n.replace('_', ' ')} {duration(steps[n]['seconds'] * 1e3)}" for n in ("calibrate", "compile", "reference_string", "witness") if n in steps]
        if "setup" in steps and "reference_string" not in steps:
            apart.append("reference string at hand from an earlier run")
        text = f"{name}, EZKL {row.get('version', '')}: besides, {', '.join(apart)}"
        c = steps["calibrate"]
        text += f"; 2^{c['logrows']} rows, scales {c['input_scale']} and {c['param_scale']}"
        if "proving_key_bytes" in row:
            text += f"; proving key {size(row['proving_key_bytes'])}, set-up peak memory {size(row['setup_peak_rss_bytes'])}"
        if "prove_cpu_ms" in row:
            text += f"; proving took {duration(row['prove_cpu_ms'])} of processor time"
        yield text
    elif "compile_ms" in row:
        text = f"{name}, {row['version'].replace('carat', 'Carat')}: besides, compile {duration(row['compile_ms'])}"
        if "bits" in row:
            text += f"; {row['bits']} bits of proven soundness, mode {row['mode']}, weights {'hidden' if row['weights_hidden'] else 'not hidden'}"
        if "simd" in row:
            text += f"; first proof of a process {duration(row['prove_cold_ms'])}, plain inference {duration(row['infer_ms'])}"
            text += f"; this build uses {row['simd']}"
        yield text


def table(result, markdown):
    rows = [cells(m["model"], row) for m in result["models"] for row in m["rows"]]
    there = result["machine"]
    head = (
        f"{there['processor']}, {there['processors']} processors, {size(there['memory_bytes'])}, "
        f"{'AVX-512' if there['avx512'] else 'no AVX-512'}, {there['system']}; {result['threads']} threads each"
    )
    load = f"load average {result['load'][0]:.1f} before, {result['load'][1]:.1f} after; {result['date']}"
    said = [text for m in result["models"] for row in m["rows"] for text in notes(m["model"], row)]
    if markdown:
        lines = [f"{head}; {load}.", "", "| " + " | ".join(HEAD) + " |", "|---|---|" + "---:|" * 7]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([*lines, "", *(f"- {text}" for text in said)]) + "\n"
    widths = [max(map(len, column)) for column in zip(HEAD, *rows)]
    lines = [head, load, ""] + ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in [HEAD, *rows]]
    return "\n".join([*lines, "", *said]) + "\n"


def say(text):
    print(text, file=sys.stderr, flush=True)


def interpreter(args):
    """The given interpreter, or a virtual environment with exactly PINS, made once."""
    if args.python:
        return args.python
    venv = args.work / "venv"
    stamp = venv / "pins"
    if not stamp.exists() or stamp.read_text() != "\n".join(PINS):
        say("installing " + ", ".join(PINS))
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        subprocess.run(
            [str(venv / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary=:all:", *PINS],
            check=True,
        )
        stamp.write_text("\n".join(PINS))
    return venv / "bin/python"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="mlp-784", help="names of models/bench or folders, with commas [default: mlp-784]")
    parser.add_argument("--carat", type=Path, default=ROOT / "target/release/carat", help="the binary [default: target/release/carat]")
    parser.add_argument("--python", type=Path, help="an interpreter with " + ", ".join(PINS) + " [default: a new virtual environment]")
    parser.add_argument("--work", type=Path, default=ROOT / "target/compare-ezkl", help="folder for everything made here")
    parser.add_argument("--bench-models", type=Path, default=ROOT / "target/bench-models", help="where models/bench/make.py put its models")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads for each [default: all processors]")
    parser.add_argument("--runs", type=int, default=3, help="EZKL proofs per model; Carat's bench decides for itself [default: 3]")
    parser.add_argument("--samples", type=int, default=10, help="held-out samples for fidelity [default: 10]")
    parser.add_argument("--calibration-samples", type=int, default=2, help="samples that EZKL calibrates on [default: 2]")
    parser.add_argument("--timeout", type=float, default=1200, help="seconds that any one step may take [default: 1200]")
    parser.add_argument("--memory-gib", type=float, default=12, help="address space of any one step in GiB [default: 12]")
    parser.add_argument("--only", choices=["ezkl", "carat"], help="measure one of the two")
    parser.add_argument("--keep", action="store_true", help="keep keys, circuits and proofs (EZKL's keys are gigabytes)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured ('-': to standard output, instead of the table)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown ('-' as above)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(**json.loads(args.child), result=args.result)
    if min(args.runs, args.samples, args.calibration_samples, args.threads) < 1 or min(args.timeout, args.memory_gib) <= 0:
        parser.error("counts and bounds are positive")
    if args.only != "ezkl" and not os.access(args.carat, os.X_OK):
        parser.error(f"no binary at {args.carat}: `cargo build --release --bin carat`, or give --carat")

    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    args.python = interpreter(args)
    result = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()), "machine": machine(), "threads": args.threads,
        "bounds": {"seconds": args.timeout, "gib": args.memory_gib}, "pins": PINS, "ezkl_visibility": VISIBILITY, "models": [],
    }  # fmt: skip
    before = os.getloadavg()[0]
    for given in args.models.split(","):
        folder = Path(given) if "/" in given else args.bench_models / given
        if not folder.is_dir() and "/" not in given:
            make = [str(args.python), str(ROOT / "models/bench/make.py"), "--out", str(args.bench_models), given]
            subprocess.run(make, check=True, stdout=sys.stderr)
        name = folder.name
        work = args.work / name
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        say(name)
        try:
            made = step("inputs", args, "inputs", folder=folder, work=work, count=args.samples, calibration=args.calibration_samples)
        except StepFailed as failure:
            sys.exit(f"error: {name}: {failure}")
        rows = []
        if args.only != "carat":
            rows.append(ezkl_row(folder, work, args, made["reference"]))
        if args.only != "ezkl":
            rows.append(carat_row(name, folder, work, args, made["reference"]))
        result["models"].append({"model": name, "reference": made["engine"], "rows": rows})
        if not args.keep:
            shutil.rmtree(work)
    result["load"] = [before, os.getloadavg()[0]]

    texts = [(args.json, json.dumps(result, indent=1) + "\n"), (args.markdown, table(result, markdown=True))]
    for path, text in texts:
        if path == Path("-"):
            print(text, end="")
        elif path:
            path.write_text(text)
    if Path("-") not in (args.json, args.markdown):
        print(table(result, markdown=False), end="")
    failed = [m["model"] for m in result["models"] for row in m["rows"] if row["system"] == "Carat" and row.get("failed")]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
