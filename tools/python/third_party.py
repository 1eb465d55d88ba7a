#!/usr/bin/env python3
"""Prepares real third-party models, published on PyPI, for `carat model compile`.

    python tools/python/third_party.py --out target/third-party [--only magika]

Each model gets the layout of `models/`: `<name>.onnx`, `calibration/<input>.npy`,
`data/<input>.npy`, `data/reference.npy` and `reference.json` (ONNX Runtime on the float
model), `data/labels.npy` where the truth is known, `model.toml`.

- `magika`: Google's file-type classifier, from the installed package `magika`. Inputs:
  real files of this Python installation through the package's own feature extraction.
- `textline`: upright or upside-down text line (a MobileNetV3), from `rapidocr-onnxruntime`.
- `orientation`: rotation of a page (a plain CNN), from `occular-deskew`.
  The last two are downloaded as wheels, for their dependencies are not needed here.
  Inputs: real text (the documentation and sources that ship with Python), typeset.

Nothing of these packages is part of this repository; their licences are their own.
"""

import argparse
import hashlib
import importlib.metadata
import json
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from PIL import Image, ImageDraw, ImageFont

SEED = 20260103


def by_digest(items):
    """A fixed, arbitrary order that does not depend on the file system's."""
    return sorted(items, key=lambda item: hashlib.sha256(str(item[0]).encode()).digest())


def from_wheel(package, version, member):
    """Bytes of one file of a wheel."""
    with tempfile.TemporaryDirectory(prefix="carat-wheel-") as folder:
        run = subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
             "--only-binary=:all:", f"{package}=={version}", "-d", folder],
            capture_output=True, text=True,
        )  # fmt: skip
        if run.returncode != 0:
            sys.exit(f"error: could not download {package} {version}:\n{run.stderr.strip()}")
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(member)


def declare_input(blob, dims):
    """The model with its one input declared as `dims`; nothing else is touched."""
    model = onnx.load_from_string(blob)
    initializers = {i.name for i in model.graph.initializer}
    (graph_input,) = [i for i in model.graph.input if i.name not in initializers]
    shape = graph_input.type.tensor_type.shape
    del shape.dim[:]
    for dim in dims:
        if isinstance(dim, str):
            shape.dim.add().dim_param = dim
        else:
            shape.dim.add().dim_value = dim
    return model.SerializeToString(deterministic=True)


def run_float(blob, name, samples):
    """First output of ONNX Runtime, a sample at a time, stacked."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(blob, options, providers=["CPUExecutionProvider"])
    output = session.get_outputs()[0].name
    rows = [session.run([output], {name: samples[i : i + 1]})[0] for i in range(len(samples))]
    return output, np.concatenate(rows)


def magika_files():
    """Real files, many types: (relative path, path), at most eight of each file extension."""
    roots = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")]
    found = {}
    for root in map(Path, roots):
        for path in root.rglob("*"):
            # Byte code holds paths and times of this machine.
            if not path.is_file() or path.is_symlink() or "__pycache__" in path.parts:
                continue
            if 64 <= path.stat().st_size <= 4_000_000:
                kind = path.suffix.lower() if path.suffix else path.name
                found.setdefault(kind, []).append((path.relative_to(root).as_posix(), path))
    chosen = []
    for kind in sorted(found):
        chosen += by_digest(found[kind])[:8]
    return by_digest(chosen)


def magika():
    """The samples of the file-type classifier: int32 byte values, 256 is padding."""
    import magika as package
    from magika.types import Seekable

    folder = Path(package.__file__).parent / "models" / "standard_v3_3"
    config = json.loads((folder / "config.min.json").read_text())
    rows = []
    for _, path in magika_files():
        with open(path, "rb") as stream:
            features = package.Magika._extract_features_from_seekable(
                Seekable(stream), config["beg_size"], config["mid_size"], config["end_size"],
                config["padding_token"], config["block_size"], config["use_inputs_at_offsets"],
            )  # fmt: skip
        row = np.array(features.beg + features.end, np.int32)
        # magika itself answers for such short files without asking the model.
        if row[config["min_file_size_for_dl"] - 1] != config["padding_token"]:
            rows.append(row)
    rows = np.unique(np.stack(rows), axis=0)
    rows = rows[np.random.default_rng(SEED).permutation(len(rows))]
    count = min(len(rows) // 2, 200)
    return {
        "blob": (folder / "model.onnx").read_bytes(),
        "version": importlib.metadata.version("magika"),
        "package": "magika",
        "licence": "Apache-2.0",
        "task": "file-type-classification",
        "description": "Magika: the type of a file from its first and last kilobyte.",
        "input": "bytes",
        "labels": config["target_labels_space"],
        "calibration": rows[:count],
        "held_out": rows[count : 2 * count],
        "truth": None,
    }


def text_lines():
    """Real lines of prose and code: the documentation and sources of Python's own library."""
    root = Path(sysconfig.get_path("stdlib"))
    lines = []
    for _, path in by_digest([(p.name, p) for p in root.glob("*.py")]):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            line = line.strip()
            if 8 <= len(line) <= 60 and line.isascii() and any(ch.isalpha() for ch in line):
                lines.append(line)
    return lines


def typeset(rng, lines, size, spacing=8, margin=6):
    """Grey picture [H,W] of the lines, with the tones and the noise of a scan."""
    font = ImageFont.load_default(size)
    paper, ink = int(rng.integers(170, 256)), int(rng.integers(0, 90))
    width = max(int(font.getlength(line)) for line in lines) + 2 * margin
    height = len(lines) * (size + spacing) + 2 * margin
    picture = Image.new("L", (width, height), paper)
    draw = ImageDraw.Draw(picture)
    for i, line in enumerate(lines):
        draw.text((margin, margin + i * (size + spacing)), line, font=font, fill=ink)
    noisy = np.asarray(picture, np.float32) + rng.normal(0, rng.uniform(0, 8), (height, width))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def textline():
    """Samples of the text-line classifier: rapidocr's preprocessing, half of them upside down."""
    rng = np.random.default_rng(SEED)
    lines = text_lines()
    samples, truth = [], []
    for i in range(400):
        # The model looks at a strip four times as wide as high: short lines are its food.
        line = lines[int(rng.integers(len(lines)))][: int(rng.integers(6, 16))].strip()
        picture = Image.fromarray(typeset(rng, [line], int(rng.integers(18, 48)), spacing=4, margin=3))
        if i % 2:
            picture = picture.transpose(Image.Transpose.ROTATE_180)
        width = min(192, -(-48 * picture.width // picture.height))
        grey = np.asarray(picture.resize((width, 48), Image.Resampling.BILINEAR), np.float32)
        sample = np.zeros((3, 48, 192), np.float32)
        sample[:, :, :width] = (grey / 255 - 0.5) / 0.5
        samples.append(sample)
        truth.append(i % 2)
    samples, truth = np.stack(samples), np.array(truth, np.int64)
    blob = from_wheel(
        "rapidocr-onnxruntime", "1.4.4", "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"
    )
    return {
        "blob": declare_input(blob, ["N", 3, 48, 192]),
        "version": "1.4.4",
        "package": "rapidocr-onnxruntime",
        "licence": "Apache-2.0",
        "task": "image-classification",
        "description": "PP-OCR mobile v2.0 angle classifier: is a line of text upside down?",
        "input": "x",
        "labels": ["0", "180"],
        "calibration": samples[:200],
        "held_out": samples[200:],
        "truth": truth[200:],
    }


def orientation():
    """Samples of the page classifier: its own letterbox and normalisation, all four rotations."""
    rng = np.random.default_rng(SEED)
    lines = text_lines()
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
    std = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
    samples, truth = [], []
    for i in range(96):
        start, count = int(rng.integers(len(lines) - 40)), int(rng.integers(12, 32))
        picture = Image.fromarray(typeset(rng, lines[start : start + count], int(rng.integers(14, 26)), margin=30))
        picture = picture.rotate(-90 * (i % 4), expand=True)  # clockwise, as the labels count
        scale = 320 / max(picture.size)
        size = tuple(max(1, round(side * scale)) for side in picture.size)
        canvas = Image.new("L", (320, 320), 255)
        canvas.paste(picture.resize(size, Image.Resampling.BILINEAR), ((320 - size[0]) // 2, (320 - size[1]) // 2))
        grey = np.asarray(canvas, np.float32) / 255
        samples.append(((grey[None] - mean) / std).astype(np.float32))
        truth.append(i % 4)
    samples, truth = np.stack(samples), np.array(truth, np.int64)
    return {
        "blob": from_wheel("occular-deskew", "0.5.0", "occular_deskew/weights/orientation_orinet_fp32.onnx"),
        "version": "0.5.0",
        "package": "occular-deskew",
        "licence": "unstated",
        "task": "image-classification",
        "description": "OriNet: by how many quarter turns is a page rotated clockwise?",
        "input": "x",
        "labels": ["0", "90", "180", "270"],
        "calibration": samples[:48],
        "held_out": samples[48:],
        "truth": truth[48:],
    }


MODELS = {"magika": magika, "textline": textline, "orientation": orientation}

# What the pinned packages ship; another digest means another model than the one that was tested.
SHA256 = {
    "magika": "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
    "textline": "f9fe4043c362f79d6f1e7f288ced59d97debed5b4534a3105c8c8baa9fe5644c",
    "orientation": "a11876926688aaccccd3010174b14f20f2ffc4b153c0940c7059dd1633f1e7da",
}


def write(out, name, m):
    """Writes one model's folder and prints what it holds."""
    digest = hashlib.sha256(m["blob"]).hexdigest()
    if digest != SHA256[name]:
        sys.exit(f"error: {name}.onnx has sha256 {digest}, expected {SHA256[name]}: install {m['package']} as pinned")
    folder = out / name
    for sub in ("calibration", "data"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.onnx").write_bytes(m["blob"])
    np.save(folder / "calibration" / f"{m['input']}.npy", m["calibration"])
    np.save(folder / "data" / f"{m['input']}.npy", m["held_out"])
    output, reference = run_float(m["blob"], m["input"], m["held_out"])
    np.save(folder / "data" / "reference.npy", reference)
    answers = reference.argmax(axis=1)
    facts = {
        "engine": f"onnxruntime {ort.__version__}",
        "provider": "CPUExecutionProvider",
        "model": f"{name}.onnx",
        "model_sha256": digest,
        "input": f"{m['input']}.npy",
        "output": output,
        "dtype": str(reference.dtype),
        "samples": len(reference),
        "distinct_answers": len(set(answers.tolist())),
    }
    if m["truth"] is not None:
        np.save(folder / "data" / "labels.npy", m["truth"])
        facts["correct"] = int((answers == m["truth"]).sum())
        facts["accuracy"] = round(facts["correct"] / len(answers), 6)
    (folder / "data" / "reference.json").write_text(json.dumps(facts, indent=1) + "\n")
    quoted = json.dumps  # a JSON string is a TOML basic string
    (folder / "model.toml").write_text(
        f"name = {quoted(name)}\nversion = {quoted(m['version'])}\nlicence = {quoted(m['licence'])}\n"
        f"task = {quoted(m['task'])}\ndescription = {quoted(m['description'])}\n"
        f'source = "{name}.onnx"\ncalibration = "calibration"\ndata = "data"\n'
        f"output = {quoted(output)}\nlabels = {quoted(m['labels'])}\n\n"
        f'[input.{m["input"]}]\nkind = "tensor"\n'
    )
    score = f", {facts['correct']} right" if m["truth"] is not None else ""
    print(
        f"{name}: {m['package']} {m['version']}, {m['input']} {list(m['calibration'].shape)} {m['calibration'].dtype} "
        f"to calibrate, {len(reference)} held out, {facts['distinct_answers']} distinct answers{score} -> {folder}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("target/third-party"), help="default: %(default)s")
    parser.add_argument("--only", choices=sorted(MODELS), action="append", help="may be repeated")
    args = parser.parse_args()
    for name in args.only or MODELS:
        write(args.out, name, MODELS[name]())


if __name__ == "__main__":
    main()
