#!/usr/bin/env python3
"""Trains the digits CNN and writes the folder's ONNX model, calibration and held-out data.

    python models/digits/make.py           # write
    python models/digits/make.py --check   # train again and compare with what is there

Data: `sklearn.datasets.load_digits` (ships inside scikit-learn). Seed: SEED below.
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import _common as c  # noqa: E402  (pins the arithmetic: before NumPy)
import numpy as np  # noqa: E402
from onnx import helper  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402

SEED = 20260101
EPOCHS = 60
BATCH = 64
CALIBRATION_SAMPLES = 256


def forward(params, x):
    """Logits of a batch [N,1,8,8] in 0..1, and what the way back needs."""
    w1, b1, w2, b2, w3, b3, w4, b4 = params
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    a1, cols1 = c.conv(padded, w1, b1)
    r1 = np.maximum(a1, 0)
    a2, cols2 = c.conv(r1, w2, b2)
    r2 = np.maximum(a2, 0)
    n, ch = r2.shape[:2]
    windows = r2.reshape(n, ch, 3, 2, 3, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, ch, 3, 3, 4)
    pick = windows.argmax(axis=4)
    pooled = np.take_along_axis(windows, pick[..., None], axis=4)[..., 0]
    flat = pooled.reshape(n, -1)
    a3 = flat @ w3.T + b3
    r3 = np.maximum(a3, 0)
    return r3 @ w4.T + b4, (padded, a1, cols1, r1, a2, cols2, pick, flat, a3, r3)


def backward(params, saved, grad):
    """Gradients of all parameters, given the gradient of the logits."""
    w1, _, w2, _, w3, _, w4, _ = params
    padded, a1, cols1, r1, a2, cols2, pick, flat, a3, r3 = saved
    g_w4, g_b4 = grad.T @ r3, grad.sum(axis=0)
    g3 = (grad @ w4) * (a3 > 0)
    g_w3, g_b3 = g3.T @ flat, g3.sum(axis=0)
    n, ch = a2.shape[:2]
    spread = np.zeros((n, ch, 3, 3, 4), np.float32)
    np.put_along_axis(spread, pick[..., None], (g3 @ w3).reshape(n, ch, 3, 3, 1), axis=4)
    g2 = spread.reshape(n, ch, 3, 3, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(a2.shape) * (a2 > 0)
    g_r1, g_w2, g_b2 = c.conv_grad(g2, cols2, w2, r1.shape)
    _, g_w1, g_b1 = c.conv_grad(g_r1 * (a1 > 0), cols1, w1, padded.shape)
    return [g_w1, g_b1, g_w2, g_b2, g_w3, g_b3, g_w4, g_b4]


def shifted(rng, x):
    """Moves each image by up to one pixel, filling with paper: writers do not centre exactly."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.empty_like(x)
    # Half of the images stay where they are.
    offsets = rng.integers(0, 3, size=(len(x), 2))
    offsets[rng.random(len(x)) < 0.5] = 1
    for i, (dy, dx) in enumerate(offsets):
        out[i] = padded[i, :, dy : dy + 8, dx : dx + 8]
    return out


def train(x, y):
    """Parameters after EPOCHS passes of Adam with a cosine rate."""
    rng = np.random.default_rng(SEED)
    params = [
        c.he_normal(rng, (16, 1, 3, 3), 9), np.zeros(16, np.float32),
        c.he_normal(rng, (32, 16, 3, 3), 144), np.zeros(32, np.float32),
        c.he_normal(rng, (64, 288), 288), np.zeros(64, np.float32),
        c.he_normal(rng, (10, 64), 64), np.zeros(10, np.float32),
    ]  # fmt: skip
    adam = c.Adam(params, decay=0.02)
    steps, total = 0, EPOCHS * (-(-len(x) // BATCH))
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            logits, saved = forward(params, shifted(rng, x[rows]))
            grads = backward(params, saved, c.cross_entropy_grad(logits, y[rows], smoothing=0.05))
            adam.step(grads, 0.001 * (1 + np.cos(np.pi * steps / total)))
            steps += 1
    return params


def export(params):
    """The graph: raw 0..16 pixels in, logits out; the scaling is inside."""
    w1, b1, w2, b2, w3, b3, w4, b4 = params
    weights = {
        "pixel_range": np.float32(16), "conv1.weight": w1, "conv1.bias": b1,
        "conv2.weight": w2, "conv2.bias": b2, "fc1.weight": w3, "fc1.bias": b3,
        "fc2.weight": w4, "fc2.bias": b4,
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Div", ["image", "pixel_range"], ["scaled"], "scale"),
        node("Conv", ["scaled", "conv1.weight", "conv1.bias"], ["conv1_out"], "conv1",
             kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", ["conv1_out"], ["relu1_out"], "relu1"),
        node("Conv", ["relu1_out", "conv2.weight", "conv2.bias"], ["conv2_out"], "conv2",
             kernel_shape=[3, 3]),
        node("Relu", ["conv2_out"], ["relu2_out"], "relu2"),
        node("MaxPool", ["relu2_out"], ["pool_out"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["pool_out"], ["flat"], "flatten", axis=1),
        node("Gemm", ["flat", "fc1.weight", "fc1.bias"], ["fc1_out"], "fc1", transB=1),
        node("Relu", ["fc1_out"], ["relu3_out"], "relu3"),
        node("Gemm", ["relu3_out", "fc2.weight", "fc2.bias"], ["logits"], "fc2", transB=1),
    ]  # fmt: skip
    return c.build_model(
        "digits", nodes, {"image": ["N", 1, 8, 8]}, {"logits": ["N", 10]},
        [c.initializer(k, v) for k, v in weights.items()],
        "Handwritten digits, 8x8 pixels of 0..16.",
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()

    digits = load_digits()
    images = digits.images.astype(np.float32)[:, None, :, :]
    labels = digits.target.astype(np.int64)
    train_rows, test_rows = train_test_split(
        np.arange(len(images)), test_size=360, stratify=labels, random_state=SEED
    )
    params = train(images[train_rows] / np.float32(16), labels[train_rows])
    got = c.write_model(
        HERE, "digits", export(params), images[train_rows[:CALIBRATION_SAMPLES]],
        {"image": images[test_rows]}, labels[test_rows], test_rows, args.check,
    )  # fmt: skip
    assert got >= 0.98, f"held-out accuracy {got} is below the bar of 0.98"


if __name__ == "__main__":
    main()
