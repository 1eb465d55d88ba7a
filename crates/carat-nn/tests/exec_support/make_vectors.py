#!/usr/bin/env python3
"""Writes exec_vectors.json: primitives computed by NumPy, ONNX Runtime and exact fractions, not by Carat.

usage: make_vectors.py > exec_vectors.json        (needs numpy, onnx, onnxruntime)
"""

import json
import math
from fractions import Fraction

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

rng = np.random.default_rng(20)
cases = []


def ints(shape, lo=-128, hi=127):
    return rng.integers(lo, hi, size=shape, endpoint=True, dtype=np.int64)


def case(op, operands, result, **parameters):
    pack = lambda a: {"shape": list(np.shape(a)), "data": [int(v) for v in np.ravel(a)]}
    cases.append({"op": op, "operands": [pack(a) for a in operands], "result": pack(result), **parameters})


def onnx(op, feeds, out_type, **attributes):
    types = {np.dtype("uint8"): TensorProto.UINT8, np.dtype("int8"): TensorProto.INT8, np.dtype("float64"): TensorProto.DOUBLE}
    inputs = [helper.make_tensor_value_info(k, types[v.dtype], v.shape) for k, v in feeds.items()]
    node = helper.make_node(op, list(feeds), ["y"], **attributes)
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", out_type, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)[0]


for spec, a, b in [
    ("ij,jk->ik", (5, 7), (7, 19)),
    ("bij,bkj->bik", (3, 5, 6), (3, 17, 6)),
    ("bhid,bhjd->bihj", (2, 3, 5, 4), (2, 3, 7, 4)),
    ("ij,ik->kj", (9, 5), (9, 3)),
    ("ij,kl->iljk", (3, 4), (5, 2)),
    ("bi,bi->b", (6, 33), (6, 33)),
    ("i,ij->j", (11,), (11, 40)),
    ("ij,ij->", (5, 9), (5, 9)),
]:
    x, y = ints(a), ints(b, -2000, 2000)
    case("contract", [x, y], np.einsum(spec, x, y), spec=spec)

for c, m, groups, kernel, strides, pads, dilations, spatial in [
    (3, 20, 1, [3, 3], [1, 1], [1, 1, 1, 1], [1, 1], [9, 7]),
    (4, 6, 2, [3, 2], [2, 1], [0, 1, 1, 0], [1, 2], [8, 9]),
    (5, 5, 5, [3, 3], [1, 1], [1, 0, 1, 2], [1, 1], [7, 6]),
    (6, 12, 6, [5], [3], [4, 1], [2], [20]),
    (2, 9, 1, [2, 2, 2], [1, 2, 1], [1, 0, 1, 0, 1, 0], [1, 1, 1], [4, 5, 6]),
    (7, 33, 1, [1, 1], [1, 1], [0, 0, 0, 0], [1, 1], [5, 5]),
]:
    x = rng.integers(0, 255, size=[2, c, *spatial], endpoint=True, dtype=np.uint8)
    w = rng.integers(-128, 127, size=[m, c // groups, *kernel], endpoint=True, dtype=np.int8)
    y = onnx("ConvInteger", {"x": x, "w": w}, TensorProto.INT32, group=groups, strides=strides, pads=pads,
             dilations=dilations, kernel_shape=kernel)
    case("conv", [x, w], y, groups=groups, strides=strides, pads=pads, dilations=dilations, kernel=kernel)

for kernel, strides, pads, dilations, spatial in [
    ([2, 2], [2, 2], [0, 0, 0, 0], [1, 1], [6, 8]),
    ([3, 3], [2, 1], [1, 1, 1, 1], [1, 1], [7, 9]),
    ([3], [1], [1, 1], [2], [11]),
    ([3, 2], [1, 3], [0, 1, 2, 0], [1, 1], [5, 8]),
]:
    x = ints([2, 3, *spatial], -1000, 1000)
    common = {"kernel_shape": kernel, "strides": strides, "pads": pads}
    y = onnx("MaxPool", {"x": x.astype(np.float64)}, TensorProto.DOUBLE, dilations=dilations, **common)
    case("pool-max", [x], y, kernel=kernel, strides=strides, pads=pads, dilations=dilations)

x = ints((4, 5, 6), -1000, 1000)
case("sum", [x], x.sum((0, 2)), axes=[0, 2])
case("sum", [x], x.sum((1,)), axes=[1])
case("reduce-max", [x], x.max((0, 1)), axes=[0, 1])
case("reduce-max", [x], x.max((2,)), axes=[2])
ties = ints((4, 5, 6), 0, 2)
for axis in range(3):
    case("arg-max", [ties], ties.argmax(axis), axis=axis)
a, b = ints((3, 1, 5), -30000, 30000), ints((4, 1), -30000, 30000)
case("mul", [a, b], a * b)
case("max", [a, b], np.maximum(a, b))
case("linear", [a, b, a], 3 * a - 7 * b + a + 11, coefficients=[3, -7, 1], bias=11)
wide = np.concatenate([ints(60, -(2**29), 2**29), [-(2**29), 2**29, -3, -2, -1, 0, 1, 2, 3]])
for bits in [1, 2, 7, 29, 30]:
    case("shift", [wide], [math.floor(Fraction(int(v), 2**bits) + Fraction(1, 2)) for v in wide], bits=bits)
case("clamp", [wide], np.clip(wide, -5, 1000), lo=-5, hi=1000)
table = ints(300, -9999, 9999)
x = ints((3, 7), -150, 149)
case("lut", [x, table], table[x + 150], offset=-150)
n, d = ints(50, -20000, 20000), ints(50, 1, 700)
n[:8], d[:8] = [-3, -2, -1, 0, 1, 2, 3, 5], [2, 4, 2, 1, 2, 4, 2, 2]
for bits in [0, 1, 14]:
    scaled = [Fraction(int(p) * 2**bits, int(q)) for p, q in zip(n, d)]
    case("quotient", [n, d], [math.floor(v) for v in scaled], bits=bits, rounding="floor")
    case("quotient", [n, d], [math.floor(v + Fraction(1, 2)) for v in scaled], bits=bits, rounding="nearest")
v = np.concatenate([ints(40, 1, 2**30 - 2**24), [1, 2, 3, 4, 2**20, 2**29]])
for bits in [0, 13, 30, 58]:
    case("inverse-sqrt", [v], [math.isqrt(2**bits // int(x)) for x in v], bits=bits)
x = ints((2, 3, 4, 5))
case("transpose", [x], x.transpose(2, 0, 3, 1), perm=[2, 0, 3, 1])
case("slice", [x], x[:, 2::-1, 1:4:2, 4:0:-2], start=[0, 2, 1, 4], step=[1, -1, 2, -2], len=[2, 3, 2, 2])
case("concat", [x, x[:, :, :1], x], np.concatenate([x, x[:, :, :1], x], 2), axis=2)
case("pad", [x[0]], np.pad(x[0], [(1, 0), (0, 2), (3, 1)], constant_values=-4), before=[1, 0, 3], after=[0, 2, 1], value=-4)
case("broadcast", [x[:1, :, :1]], np.broadcast_to(x[:1, :, :1], (6, 2, 3, 4, 5)), shape=[6, 2, 3, 4, 5])
index = ints((3, 2), 0, 3)
case("gather", [x, index], np.take(x, index, axis=2), axis=2)
case("reshape", [x], x.reshape(6, 20), shape=[6, 20])
print("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]")
