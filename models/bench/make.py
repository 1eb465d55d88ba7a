#!/usr/bin/env python3
"""Makes the benchmark networks: public shapes, seeded random weights, inputs uniform in [-1, 1].

    python models/bench/make.py                        # all, into target/bench-models
    python models/bench/make.py mlp-784 lenet5         # some
    python models/bench/make.py --check                # compare what is there with manifest.json
    python models/bench/make.py --reference            # and ONNX Runtime's answers, where it is installed

Nothing here was trained and nothing here can classify anything: these files measure speed. Every number comes from a
counter-based generator that is spelled out below, in arithmetic that is exact everywhere, so the files are the same
bytes on every machine and with every NumPy; `manifest.json` pins their SHA-256. NumPy and onnx are all it takes.
"""

import argparse
import hashlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

HERE = Path(__file__).resolve().parent
MANIFEST = HERE / "manifest.json"
OPSET = 17
IR_VERSION = 8
CALIBRATION = 32
HELD_OUT = 64


class Uniform:
    """SplitMix64 (Steele, Lea, Flood 2014) on a counter: number `i` of stream `seed` is mix(seed + (i + 1) * golden)."""

    GOLDEN = 0x9E3779B97F4A7C15

    def __init__(self, name):
        self.seed = int.from_bytes(hashlib.sha256(f"carat bench {name}".encode()).digest()[:8], "little")
        self.at = 0

    def draw(self, shape, bound):
        """float32 values in [-bound, bound): 24 random bits each, scaled in binary64 and rounded once."""
        n = int(np.prod(shape))
        z = np.arange(self.at + 1, self.at + n + 1, dtype=np.uint64) * np.uint64(self.GOLDEN)
        z += np.uint64(self.seed)
        self.at += n
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        unit = (z >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0
        return (unit * bound).astype(np.float32).reshape(shape)


class Net:
    """A chain of layers under construction. Shapes are those of one sample, without the batch axis."""

    def __init__(self, name, shape):
        self.name, self.input_shape, self.shape = name, shape, shape
        self.numbers = Uniform(name)
        self.nodes, self.weights, self.at = [], [], "input"
        self.macs = 0

    def _weights(self, name, shape, fan_in):
        # He's bound keeps the variance through ReLUs; biases as small as one term of the sum.
        bound = math.sqrt((6.0 if len(shape) > 1 else 1.0) / fan_in)
        data = self.numbers.draw(shape, bound)
        raw = np.ascontiguousarray(data.astype("<f4")).tobytes()
        self.weights.append(helper.make_tensor(name, TensorProto.FLOAT, shape, raw, raw=True))
        return name

    def _node(self, op, inputs, **attributes):
        name = f"{op.lower()}{sum(n.op_type == op for n in self.nodes) + 1}"
        self.nodes.append(helper.make_node(op, [self.at, *inputs], [f"{name}_out"], name, **attributes))
        self.at = f"{name}_out"
        return self

    def conv(self, channels, kernel, pad=0):
        c, h, w = self.shape
        i, fan_in = sum(n.op_type == "Conv" for n in self.nodes) + 1, c * kernel * kernel
        names = [
            self._weights(f"conv{i}.weight", [channels, c, kernel, kernel], fan_in),
            self._weights(f"conv{i}.bias", [channels], fan_in),
        ]
        self.shape = (channels, h + 2 * pad - kernel + 1, w + 2 * pad - kernel + 1)
        self.macs += fan_in * int(np.prod(self.shape))
        return self._node("Conv", names, kernel_shape=[kernel, kernel], pads=[pad] * 4)

    def relu(self):
        return self._node("Relu", [])

    def pool(self):
        c, h, w = self.shape
        self.shape = (c, h // 2, w // 2)
        return self._node("MaxPool", [], kernel_shape=[2, 2], strides=[2, 2])

    def flatten(self):
        self.shape = (int(np.prod(self.shape)),)
        return self._node("Flatten", [], axis=1)

    def dense(self, width):
        (k,) = self.shape
        i = sum(n.op_type == "Gemm" for n in self.nodes) + 1
        names = [self._weights(f"fc{i}.weight", [width, k], k), self._weights(f"fc{i}.bias", [width], k)]
        self.shape = (width,)
        self.macs += k * width
        return self._node("Gemm", names, transB=1)

    def mlp(self, *widths):
        """Dense layers with a ReLU between."""
        for i, width in enumerate(widths):
            if i > 0:
                self.relu()
            self.dense(width)
        return self

    def model(self):
        nodes = list(self.nodes)
        nodes[-1].output[0] = "output"
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes, self.name,
            [value("input", TensorProto.FLOAT, ["N", *self.input_shape])],
            [value("output", TensorProto.FLOAT, ["N", *self.shape])],
            initializer=self.weights,
            doc_string="Benchmark shape with seeded random weights; answers nothing.",
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="carat-models")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)

    @property
    def parameters(self):
        return sum(int(np.prod(w.dims)) for w in self.weights)


def vgg16():
    net = Net("vgg16-cifar", (3, 32, 32))
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            net.conv(width, 3, pad=1).relu()
        net.pool()
    return net.flatten().mlp(512, 512, 10)


# name: (network, parameters, multiply-adds, samples to calibrate on)
MODELS = {
    "mlp-784": (lambda: Net("mlp-784", (784,)).mlp(128, 64, 10), 109_386, 109_184, CALIBRATION),
    "lenet5": (
        lambda: Net("lenet5", (1, 28, 28)).conv(6, 5, pad=2).relu().pool().conv(16, 5).relu().pool()
        .flatten().mlp(120, 84, 10),
        61_706, 416_520, CALIBRATION,
    ),
    "cnn-264k": (
        lambda: Net("cnn-264k", (3, 32, 32)).conv(12, 5).relu().pool().conv(33, 5).relu().pool()
        .flatten().mlp(251, 175, 10),
        264_031, 1_948_350, CALIBRATION,
    ),
    "dense-4m": (lambda: Net("dense-4m", (1024,)).mlp(1024, 1024, 1024, 1024), 4_198_400, 4_194_304, CALIBRATION),
    "vgg16-cifar": (vgg16, 15_245_130, 313_725_952, 8),
}  # fmt: skip

METADATA = """\
# Made by models/bench/make.py: seeded random weights in a public shape, for measuring speed. Answers nothing.
name = "{name}"
version = "1.0.0"
licence = "CC0-1.0"
description = "Benchmark shape with seeded random weights; not trained."
task = "benchmark"
source = "{name}.onnx"
calibration = "calibration"
data = "data"
output = "output"

[input.input]
kind = "tensor"

# Stated, so that no sample decides what is measured.
[compile]
for = "proof"
weight_bits = 8
activation_bits = 8
"""


def files(name):
    """The files of a model, by path inside its folder."""
    make, parameters, macs, samples = MODELS[name]
    net = make()
    yield f"{name}.onnx", net.model()
    assert (net.parameters, net.macs) == (parameters, macs), f"{name}: {net.parameters} parameters, {net.macs} MACs"
    for folder, count in (("calibration", samples), ("data", HELD_OUT)):
        numbers = Uniform(f"{name} {folder}").draw((count, *net.input_shape), 1.0)
        yield f"{folder}/input.npy", npy(numbers)
    yield "model.toml", METADATA.format(name=name).encode()


def npy(array):
    """The NumPy file format, version 1.0, for little-endian float32: spelled out, because its header may change."""
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {tuple(map(int, array.shape))!r}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + array.astype("<f4").tobytes()


def reference(folder, name):
    """ONNX Runtime's answers to the held-out inputs: what fidelity is measured against."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    blob = (folder / f"{name}.onnx").read_bytes()
    session = ort.InferenceSession(blob, options, providers=["CPUExecutionProvider"])
    inputs = np.load(folder / "data/input.npy")
    (answers,) = session.run(["output"], {"input": inputs})
    np.save(folder / "data/reference.npy", answers)
    facts = {
        "engine": f"onnxruntime {ort.__version__}", "provider": "CPUExecutionProvider", "model": f"{name}.onnx",
        "model_sha256": hashlib.sha256(blob).hexdigest(), "input": "input.npy", "output": "output",
        "dtype": "float32", "samples": len(inputs),
    }  # fmt: skip
    (folder / "data/reference.json").write_text(json.dumps(facts, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"any of {', '.join(MODELS)} [default: all]")
    parser.add_argument("--out", type=Path, default=HERE.parent.parent / "target/bench-models")
    parser.add_argument("--check", action="store_true", help="compare the files in place with the manifest; write nothing")
    parser.add_argument("--reference", action="store_true", help="write ONNX Runtime's answers as data/reference.npy")
    parser.add_argument("--pin", action="store_true", help="write the digests of what is made now to manifest.json")
    args = parser.parse_args()
    unknown = set(args.models) - set(MODELS)
    if unknown:
        parser.error(f"no such model: {', '.join(sorted(unknown))}")

    pinned = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    wrong = []
    for name in args.models or MODELS:
        folder = args.out / name
        if args.check:
            found = {path: digest_of(folder / path) for path in pinned.get(name, {"(not pinned)": ""})}
        else:
            found = {}
            for path, blob in files(name):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(blob)
                found[path] = hashlib.sha256(blob).hexdigest()
        if args.pin:
            pinned[name] = found
        bad = [path for path, digest in found.items() if pinned.get(name, {}).get(path) != digest]
        wrong += [f"{name}/{path}" for path in bad]
        if args.reference and not args.check:
            reference(folder, name)
        print(f"{name}: {len(found) - len(bad)} of {len(found)} files as pinned, in {folder}")
    if args.pin:
        MANIFEST.write_text(json.dumps({n: pinned[n] for n in MODELS if n in pinned}, indent=1) + "\n")
    if wrong:
        sys.exit("not what manifest.json pins: " + ", ".join(wrong))


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


if __name__ == "__main__":
    main()
