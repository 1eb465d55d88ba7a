#!/usr/bin/env python3
"""Trains the tumor MLP and writes the folder's ONNX model, calibration and held-out data.

    python models/tumor/make.py           # write
    python models/tumor/make.py --check   # train again and compare with what is there

Data: `sklearn.datasets.load_breast_cancer` (ships inside scikit-learn). Seed: SEED below.
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import _common as c  # noqa: E402  (pins the arithmetic: before NumPy)
import numpy as np  # noqa: E402
from onnx import helper  # noqa: E402
from sklearn.datasets import load_breast_cancer  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402

SEED = 20260102
EPOCHS = 200
BATCH = 32
CALIBRATION_SAMPLES = 256
WIDTHS = [30, 32, 16, 2]


def forward(params, x):
    """Logits of standardised rows [N,30], and the activations for the way back."""
    saved = [x]
    for i in range(0, len(params), 2):
        x = x @ params[i].T + params[i + 1]
        if i + 2 < len(params):
            x = np.maximum(x, 0)
            saved.append(x)
    return x, saved


def backward(params, saved, grad):
    """Gradients of all parameters, given the gradient of the logits."""
    grads = [None] * len(params)
    for i in range(len(params) - 2, -1, -2):
        below = saved[i // 2]
        grads[i], grads[i + 1] = grad.T @ below, grad.sum(axis=0)
        grad = (grad @ params[i]) * (below > 0)
    return grads


def train(x, y):
    """Parameters after EPOCHS passes of Adam with a cosine rate."""
    rng = np.random.default_rng(SEED)
    params = []
    for fan_in, fan_out in zip(WIDTHS, WIDTHS[1:]):
        params += [c.he_normal(rng, (fan_out, fan_in), fan_in), np.zeros(fan_out, np.float32)]
    adam = c.Adam(params, decay=5.0)
    steps, total = 0, EPOCHS * (-(-len(x) // BATCH))
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            logits, saved = forward(params, x[rows])
            adam.step(
                backward(params, saved, c.cross_entropy_grad(logits, y[rows], smoothing=0.05)),
                0.001 * (1 + np.cos(np.pi * steps / total)),
            )
            steps += 1
    return params


def export(params, mean, std):
    """The graph: raw measurements in, logits out; the standardisation is its first two nodes."""
    node = helper.make_node
    weights = {"mean": mean, "std": std}
    nodes = [
        node("Sub", ["features", "mean"], ["centred"], "centre"),
        node("Div", ["centred", "std"], ["x0"], "scale"),
    ]
    layers = len(params) // 2
    for i in range(layers):
        last = i == layers - 1
        weights[f"fc{i + 1}.weight"], weights[f"fc{i + 1}.bias"] = params[2 * i], params[2 * i + 1]
        out = "logits" if last else f"fc{i + 1}_out"
        nodes.append(
            node("Gemm", [f"x{i}", f"fc{i + 1}.weight", f"fc{i + 1}.bias"], [out], f"fc{i + 1}", transB=1)
        )
        if not last:
            nodes.append(node("Relu", [out], [f"x{i + 1}"], f"relu{i + 1}"))
    return c.build_model(
        "tumor", nodes, {"features": ["N", WIDTHS[0]]}, {"logits": ["N", WIDTHS[-1]]},
        [c.initializer(k, v) for k, v in weights.items()],
        "Benign or malignant, from 30 measurements of cell nuclei.",
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()

    cancer = load_breast_cancer()
    features = cancer.data.astype(np.float32)
    labels = cancer.target.astype(np.int64)  # 0 malignant, 1 benign
    train_rows, test_rows = train_test_split(
        np.arange(len(features)), test_size=171, stratify=labels, random_state=SEED
    )
    mean = features[train_rows].mean(axis=0, dtype=np.float64).astype(np.float32)
    std = features[train_rows].std(axis=0, dtype=np.float64).astype(np.float32)
    params = train((features[train_rows] - mean) / std, labels[train_rows])
    got = c.write_model(
        HERE, "tumor", export(params, mean, std), features[train_rows[:CALIBRATION_SAMPLES]],
        {"features": features[test_rows]}, labels[test_rows], test_rows, args.check,
    )  # fmt: skip
    assert got >= 0.96, f"held-out accuracy {got} is below the bar of 0.96"


if __name__ == "__main__":
    main()
