#!/usr/bin/env python3
"""Time ONNX Runtime on a model: the yardstick for `carat bench run`.

usage: bench_onnxruntime.py MODEL.onnx [--batch N] [--threads T] [--seconds S]

Prints one line of JSON with the median and 99th percentile of a call in microseconds. The session is warmed up, runs
sequentially (inter-op threads 1) with T intra-op threads, and reads random inputs of the model's own shapes whose first
axis, where it is symbolic or 1, is the batch. Needs the packages `onnxruntime` and `numpy`.
"""

import argparse
import json
import sys
import time

import numpy as np
import onnxruntime as ort

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


def feed(session, batch):
    """Random inputs; symbolic axes other than the first become 1."""
    rng = np.random.default_rng(0)
    feeds = {}
    for x in session.get_inputs():
        shape = [d if isinstance(d, int) else 1 for d in x.shape]
        if shape and (not isinstance(x.shape[0], int)):
            shape[0] = batch
        elif batch != 1:
            sys.exit(f"input `{x.name}` has a fixed first axis; export the model with a symbolic batch axis")
        dtype = DTYPES.get(x.type)
        if dtype is None:
            sys.exit(f"input `{x.name}` has type {x.type}, which this script cannot make up")
        feeds[x.name] = (rng.random(shape) * 2).astype(dtype)
    return feeds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    args = parser.parse_args()

    options = ort.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])

    # Bound inputs and outputs: the call itself, without the wrapper's copies.
    binding = session.io_binding()
    for name, value in feed(session, args.batch).items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(value))
    for out in session.get_outputs():
        binding.bind_output(out.name)

    until = time.perf_counter() + min(0.3, args.seconds)
    while time.perf_counter() < until:
        session.run_with_iobinding(binding)
    samples = []
    until = time.perf_counter() + args.seconds
    while time.perf_counter() < until or len(samples) < 20:
        start = time.perf_counter_ns()
        session.run_with_iobinding(binding)
        samples.append((time.perf_counter_ns() - start) / 1000)
    samples.sort()
    print(
        json.dumps(
            {
                "engine": "onnxruntime",
                "version": ort.__version__,
                "batch": args.batch,
                "threads": args.threads,
                "calls": len(samples),
                "median_us": samples[len(samples) // 2],
                "p99_us": samples[min(len(samples) - 1, len(samples) * 99 // 100)],
                "per_sample_us": samples[len(samples) // 2] / args.batch,
            }
        )
    )


if __name__ == "__main__":
    main()
