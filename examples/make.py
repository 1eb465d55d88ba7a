#!/usr/bin/env python3
"""Writes the example inputs of this folder from the models' held-out data.

    python examples/make.py
"""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import onnxruntime as ort

HERE = Path(__file__).resolve().parent
MODELS = HERE.parent / "models"
SEVEN = 7  # row of models/digits/data/image.npy
TUMOR = 2  # row of models/tumor/data/features.npy


def png_gray8(pixels):
    """An 8-bit greyscale PNG of a [H,W] uint8 array (PNG third edition, sections 11.2.1 and 11.2.3)."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # filter type 0 on each row
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


def decimals(array):
    """Nested lists with the shortest decimals that read back to the same float32 values."""
    lists = np.vectorize(lambda v: float(str(np.float32(v))), otypes=[np.float64])(array)
    assert np.array_equal(lists.astype(np.float32), array)
    return lists.tolist()


def answer(name, inputs):
    """Index of the float model's largest logit."""
    session = ort.InferenceSession(MODELS / name / f"{name}.onnx", providers=["CPUExecutionProvider"])
    return int(session.run(None, inputs)[0][0].argmax())


def main():
    image = np.load(MODELS / "digits/data/image.npy")[SEVEN, 0]
    label = np.load(MODELS / "digits/data/labels.npy")[SEVEN]
    pixels = np.rint(image.astype(np.float64) * 255 / 16).astype(np.uint8)
    # What the PNG means to the model: the mapping of models/digits/model.toml.
    tensor = (16.0 * pixels.astype(np.float64) / 255).astype(np.float32)[None, None]
    assert label == 7 and answer("digits", {"image": tensor}) == 7
    (HERE / "seven.png").write_bytes(png_gray8(pixels))
    np.save(HERE / "seven.npy", tensor)
    (HERE / "seven.json").write_text(json.dumps({"image": decimals(tensor)}) + "\n")

    features = np.load(MODELS / "tumor/data/features.npy")[TUMOR : TUMOR + 1]
    label = np.load(MODELS / "tumor/data/labels.npy")[TUMOR]
    got = answer("tumor", {"features": features})
    assert got == label
    (HERE / "tumor.json").write_text(json.dumps({"features": decimals(features)}) + "\n")
    print(f"seven: row {SEVEN}; tumor: row {TUMOR}, answer {('malignant', 'benign')[got]}")


if __name__ == "__main__":
    main()
