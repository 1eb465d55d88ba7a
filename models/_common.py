"""What the model scripts share: a reproducible NumPy, training steps, export and checks.

Import this module before NumPy. Training is chaotic: one differing bit in one
product changes every weight after a few hundred steps. So the arithmetic is
pinned here, before NumPy is loaded: one BLAS thread, one BLAS kernel family that
every x86-64 server since 2013 has, and NumPy's own loops without the vector
extensions that differ between machines. With the package versions of
`tools/python/requirements.txt` the same script then gives the same bytes.
"""

import os

_PINNED = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
}
os.environ.update(_PINNED)

import hashlib  # noqa: E402
import json  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402

# NumPy warns about every disabled feature that this CPU does not have anyway.
warnings.filterwarnings("ignore", category=ImportWarning)

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

OPSET = 17
IR_VERSION = 8


class Adam:
    """Adam (Kingma and Ba, 2015) with decoupled weight decay, in float32."""

    def __init__(self, params, decay=0.0):
        self.params = params
        self.decay = decay
        self.first = [np.zeros_like(p) for p in params]
        self.second = [np.zeros_like(p) for p in params]
        self.step_count = 0

    def step(self, grads, rate):
        """Moves each parameter in place along its gradient."""
        self.step_count += 1
        bias1 = 1.0 - 0.9**self.step_count
        bias2 = 1.0 - 0.999**self.step_count
        for p, g, m, v in zip(self.params, grads, self.first, self.second, strict=True):
            m += np.float32(0.1) * (g - m)
            v += np.float32(0.001) * (g * g - v)
            update = (m / np.float32(bias1)) / (np.sqrt(v / np.float32(bias2)) + np.float32(1e-8))
            p -= np.float32(rate) * update
            if p.ndim > 1:  # biases are not decayed
                p *= np.float32(1.0 - rate * self.decay)


def he_normal(rng, shape, fan_in):
    """Initial weights for a layer that a ReLU follows."""
    return (rng.standard_normal(shape) * np.sqrt(2.0 / fan_in)).astype(np.float32)


def cross_entropy_grad(logits, labels, smoothing=0.0):
    """Gradient of the mean cross-entropy with respect to the logits [N, classes]."""
    n, classes = logits.shape
    shifted = logits - logits.max(axis=1, keepdims=True)
    exp = np.exp(shifted)
    probs = exp / exp.sum(axis=1, keepdims=True)
    target = np.full_like(probs, smoothing / classes)
    target[np.arange(n), labels] += np.float32(1.0 - smoothing)
    return ((probs - target) / np.float32(n)).astype(np.float32)


def patches(x, k):
    """[N,C,H,W] -> [N, H-k+1, W-k+1, C*k*k]: the rows that a k x k convolution multiplies."""
    w = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(2, 3))
    n, c, h, wd = w.shape[:4]
    return np.ascontiguousarray(w.transpose(0, 2, 3, 1, 4, 5)).reshape(n, h, wd, c * k * k)


def conv(x, weight, bias):
    """Valid convolution. Returns the output [N,O,H',W'] and the patches for the way back."""
    cols = patches(x, weight.shape[2])
    out = cols @ weight.reshape(weight.shape[0], -1).T + bias
    return np.ascontiguousarray(out.transpose(0, 3, 1, 2)), cols


def conv_grad(grad, cols, weight, in_shape):
    """Gradients of a valid convolution: input, weight, bias."""
    out_channels, in_channels, k, _ = weight.shape
    rows = grad.transpose(0, 2, 3, 1).reshape(-1, out_channels)
    grad_weight = (rows.T @ cols.reshape(rows.shape[0], -1)).reshape(weight.shape)
    grad_bias = rows.sum(axis=0)
    grad_cols = (rows @ weight.reshape(out_channels, -1)).reshape(*cols.shape[:3], in_channels, k, k)
    grad_in = np.zeros(in_shape, np.float32)
    h, w = grad.shape[2:]
    for dy in range(k):
        for dx in range(k):
            grad_in[:, :, dy : dy + h, dx : dx + w] += grad_cols[..., dy, dx].transpose(0, 3, 1, 2)
    return grad_in, grad_weight, grad_bias


def initializer(name, array):
    """A float32 weight tensor of the graph."""
    return numpy_helper.from_array(np.asarray(array, np.float32, order="C"), name)


def build_model(name, nodes, inputs, outputs, initializers, doc):
    """A checked ONNX model. `inputs` and `outputs` map names to shapes; "N" is the batch."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        initializer=initializers,
        doc_string=doc,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="carat-models"
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def run_reference(model_bytes, inputs):
    """Outputs of ONNX Runtime's CPU provider on one thread, by name."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def accuracy(logits, labels):
    """Share of rows whose largest logit is the label, in [0, 1]."""
    return float((logits.argmax(axis=1) == labels).mean())


def write_model(folder, name, model, calibration, held_out, labels, rows, check):
    """Writes `<name>.onnx`, `calibration/` and `data/`; returns the reference accuracy.

    With `check` nothing is written: the files in place must be what this run made
    (byte for byte; the reference within 1e-4, for ONNX Runtime picks its kernels by CPU).
    """
    folder = Path(folder)
    blob = model.SerializeToString(deterministic=True)
    (input_name,) = held_out
    reference = run_reference(blob, held_out)
    ((output_name, logits),) = reference.items()
    facts = {
        "engine": f"onnxruntime {ort.__version__}",
        "provider": "CPUExecutionProvider",
        "model": f"{name}.onnx",
        "model_sha256": hashlib.sha256(blob).hexdigest(),
        "input": f"{input_name}.npy",
        "output": output_name,
        "dtype": "float32",
        "samples": int(labels.shape[0]),
        "correct": int((logits.argmax(axis=1) == labels).sum()),
        "accuracy": round(accuracy(logits, labels), 6),
        "dataset_rows": [int(r) for r in rows],
    }
    arrays = {
        folder / "calibration" / f"{input_name}.npy": calibration,
        folder / "data" / f"{input_name}.npy": held_out[input_name],
        folder / "data" / "labels.npy": labels.astype(np.int64),
    }
    reference_path = folder / "data" / "reference.npy"
    facts_path = folder / "data" / "reference.json"
    if check:
        assert (folder / f"{name}.onnx").read_bytes() == blob, f"{name}.onnx differs from this run's"
        for path, array in arrays.items():
            assert np.array_equal(np.load(path), array), f"{path} differs from this run's"
        assert np.allclose(np.load(reference_path), logits, rtol=0, atol=1e-4), "reference differs"
    else:
        (folder / f"{name}.onnx").write_bytes(blob)
        for path, array in arrays.items():
            path.parent.mkdir(exist_ok=True)
            np.save(path, np.ascontiguousarray(array))
        np.save(reference_path, logits)
        facts_path.write_text(json.dumps(facts, indent=1).replace("\n  ", " ").replace("\n ]", " ]") + "\n")
    params = sum(int(np.prod(i.dims)) for i in model.graph.initializer)
    print(
        f"{name}: {params} parameters, {facts['correct']} of {facts['samples']} held-out samples "
        f"right ({100 * facts['accuracy']:.2f} %), sha256 {facts['model_sha256']}"
    )
    return facts["accuracy"]
