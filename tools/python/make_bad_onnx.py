#!/usr/bin/env python3
"""Makes malformed and adversarial ONNX files, and odd but valid ones as a control.

    python tools/python/make_bad_onnx.py [--out crates/carat-nn/tests/bad_onnx]
    python tools/python/make_bad_onnx.py --large DIR   # two that are too big to commit

`manifest.json` lists each file: `file`, `expect`, `word`, `why`, and for `ok` the sample
`inputs` with ONNX Runtime's `outputs`. `expect` is

- `refused`: the importer must return an error, and its message should contain `word`
  (case ignored): the node, tensor, operator or property that is at fault;
- `ok`: a valid model, it must compile;
- `either`: the format or a sensible importer may allow it or not.

For all of them: no panic, no abort, no hang, no file opened but the model itself, and no
more memory than a small model needs. Several files of a few hundred bytes ask for terabytes.
"""

import argparse
import json
import random
import struct
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
DEFAULT_OUT = HERE.parent.parent / "crates" / "carat-nn" / "tests" / "bad_onnx"
F, I64 = TensorProto.FLOAT, TensorProto.INT64
OPSET = 17

cases = []


def case(name, blob, expect, word="", why=""):
    """Registers a file. `blob` is bytes or a ModelProto."""
    if isinstance(blob, ModelProto):
        blob = blob.SerializeToString()
    cases.append({"file": f"{name}.onnx", "blob": blob, "expect": expect, "word": word, "why": why})


def value(name, shape, dtype=F):
    return helper.make_tensor_value_info(name, dtype, shape)


def const(name, array, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(array, dtype), name)


def ints(name, array):
    return const(name, array, np.int64)


def model(nodes, inits=(), x=(1, 4), y=(1, 4), opset=OPSET, inputs=None, outputs=None, **graph_args):
    """A model from `pixels`, of shape `x`, to `scores`, of shape `y`; not checked."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        inputs if inputs is not None else [value("pixels", x)],
        outputs if outputs is not None else [value("scores", y)],
        initializer=list(inits),
        **graph_args,
    )
    m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    m.ir_version = 8
    return m


def node(op, inputs, outputs=("scores",), name=None, **attrs):
    return helper.make_node(op, list(inputs), list(outputs), name or f"the_{op}".lower(), **attrs)


def op_case(name, op, extra, expect, why, x=(1, 4), y=(1, 4), **attrs):
    """One operator on `pixels` and constants. A refusal must name the operator (or the node: its name holds it)."""
    nodes = [node(op, ["pixels", *[t.name for t in extra]], **attrs)]
    case(name, model(nodes, extra, x=x, y=y), expect, op if expect == "refused" else "", why)


def rng_array(*shape):
    return np.random.default_rng(1).normal(0, 0.5, shape).astype(np.float32)


def mlp():
    """Gemm, Relu, Gemm: the valid model that the truncations start from."""
    return model(
        [
            node("Gemm", ["pixels", "w1", "b1"], ["h"], "first"),
            node("Relu", ["h"], ["r"], "relu"),
            node("Gemm", ["r", "w2", "b2"], ["scores"], "second"),
        ],
        [const("w1", rng_array(4, 16)), const("b1", rng_array(16)),
         const("w2", rng_array(16, 3)), const("b2", rng_array(3))],
        y=(1, 3),
    )  # fmt: skip


def field(number, body):
    """A length-delimited protobuf field, encoded by hand: the library refuses to build some of these files."""

    def varint(n):
        out = bytearray()
        while n > 0x7F:
            out.append(n & 0x7F | 0x80)
            n >>= 7
        return bytes([*out, n])

    return varint(number << 3 | 2) + varint(len(body)) + body


def nested_if(depth):
    """NodeProto of `y = If(cond)` whose branches hold `depth - 1` more of it."""
    # GraphProto: node = 1, name = 2, output = 12. NodeProto: input = 1, output = 2, op_type = 4, attribute = 5.
    # AttributeProto: name = 1, g = 6, type = 20 (GRAPH = 5).
    output = field(12, value("scores", (1, 4)).SerializeToString())
    inner = field(1, b"pixels") + field(2, b"scores") + field(4, b"Relu")
    leaf = field(1, inner) + field(2, b"leaf") + output

    def branch(name, graph):
        return field(5, field(1, name) + field(6, graph) + b"\xa0\x01\x05")

    for _ in range(depth):
        graph = field(1, inner) + field(2, b"branch") + output
        inner = field(1, b"cond") + field(2, b"scores") + field(4, b"If") + branch(b"then_branch", graph) + branch(b"else_branch", leaf)
    return inner


def files():
    """Things that are no ONNX model at all."""
    blob = mlp().SerializeToString()
    case("empty", b"", "refused", "empty", "zero bytes decode as an empty message in protobuf")
    for name, length in [
        ("first_byte", 1), ("ten_bytes", 10), ("in_weights", len(blob) // 2),
        ("late", len(blob) * 9 // 10), ("last_byte", len(blob) - 1),
    ]:  # fmt: skip
        case(f"truncated_{name}", blob[:length], "refused", "ONNX", f"{length} of {len(blob)} bytes")
    rand = random.Random(7)
    case("random_bytes", rand.randbytes(1024), "refused", "ONNX", "1 KiB of noise")
    case("text", b"this is not a model\n" * 8, "refused", "ONNX", "plain text")
    case("png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(64), "refused", "ONNX", "another file format")
    damaged = bytearray(blob)
    for _ in range(24):
        damaged[rand.randrange(len(damaged))] ^= 1 << rand.randrange(8)
    case("bit_flips", bytes(damaged), "either", "", "24 flipped bits anywhere")
    # Field 7 (graph), length 2^63 - 1, then nothing.
    case("huge_length", b"\x08\x08\x3a" + b"\xff" * 8 + b"\x7f", "refused", "ONNX", "a field that claims 8 EiB")
    case("endless_varint", b"\x08" + b"\xff" * 64, "refused", "ONNX", "a number that does not end")


def structure():
    """Models whose graph is not a graph."""
    m = mlp()
    m.ClearField("graph")
    case("no_graph", m, "refused", "graph", "a model without a graph")
    m = mlp()
    m.ClearField("opset_import")
    case("no_opset_import", m, "refused", "opset", "the format requires at least one opset")
    for version in (0, -1, 999):
        m = mlp()
        m.opset_import[0].version = version
        case(f"opset_{version}".replace("-", "minus_"), m, "refused", "opset", f"opset {version}")
    m = mlp()
    m.opset_import.append(helper.make_opsetid("", 13))
    case("opset_twice", m, "either", "", "two versions of one domain")
    m = mlp()
    m.ir_version = 99
    case("ir_version_99", m, "either", "", "made by a later release of the format")

    case("unknown_operator", model([node("Frobnicate", ["pixels"])]), "refused", "Frobnicate", "no such operator")
    m = model([node("Relu", ["pixels"], domain="com.example.nowhere")])
    case("unknown_domain", m, "refused", "com.example.nowhere", "an operator of a domain that is not imported")
    m = model([node("FusedThing", ["pixels"], domain="com.example.nowhere")])
    m.opset_import.append(helper.make_opsetid("com.example.nowhere", 1))
    case("custom_domain", m, "refused", "FusedThing", "a custom operator, domain imported")
    case("empty_op_type", model([node("", ["pixels"], name="nameless")]), "refused", "nameless", "operator \"\"")

    case("no_nodes", model([]), "refused", "scores", "output without a producer, no nodes")
    case("no_outputs", model([node("Relu", ["pixels"])], outputs=[]), "refused", "output", "nothing is asked for")
    case(
        "no_inputs",
        model([node("Relu", ["c"])], [const("c", rng_array(1, 4))], inputs=[]),
        "either", "", "a constant function",
    )  # fmt: skip
    cyclic = [node("Add", ["pixels", "b"], ["a"], "one"), node("Relu", ["a"], ["b"], "two"), node("Neg", ["b"])]
    case("cycle", model(cyclic), "refused", "", "a needs b needs a")
    case("self_loop", model([node("Add", ["pixels", "scores"])]), "refused", "the_add", "a node that feeds itself")
    case("undefined_input", model([node("Add", ["pixels", "ghost"])]), "refused", "ghost", "nothing produces ghost")
    case("undefined_output", model([node("Relu", ["pixels"], ["z"])]), "refused", "scores", "nothing produces the output")
    case(
        "unsorted_nodes",
        model([node("Neg", ["h"]), node("Relu", ["pixels"], ["h"])]),
        "either", "", "valid as a graph, but the format asks for topological order",
    )  # fmt: skip
    case("duplicate_producer", model([node("Relu", ["pixels"]), node("Neg", ["pixels"], name="again")]),
         "refused", "scores", "two nodes produce scores")  # fmt: skip
    case("duplicate_initializer", model([node("Add", ["pixels", "kernel"])], [const("kernel", [1.0] * 4), const("kernel", [2.0] * 4)]),
         "refused", "kernel", "two tensors of one name: which one is meant?")  # fmt: skip
    case("duplicate_input", model([node("Relu", ["pixels"])], inputs=[value("pixels", (1, 4)), value("pixels", (1, 5))]),
         "refused", "pixels", "two inputs of one name")  # fmt: skip
    case("duplicate_output", model([node("Relu", ["pixels"])], outputs=[value("scores", (1, 4)), value("scores", (1, 4))]),
         "either", "", "one tensor asked for twice")  # fmt: skip
    case("initializer_shadowed", model([node("Relu", ["pixels"], ["kernel"], "shadow"), node("Neg", ["kernel"])], [const("kernel", rng_array(1, 4))]),
         "refused", "kernel", "a node produces what is already a constant")  # fmt: skip
    case("duplicate_node_name", model([node("Relu", ["pixels"], ["h"], "same"), node("Neg", ["h"], name="same")]),
         "either", "", "node names need not be unique in older exporters")  # fmt: skip
    case("node_without_outputs", model([node("Relu", ["pixels"], [], "sink"), node("Neg", ["pixels"])]), "either", "", "computes nothing")
    case("too_few_inputs", model([node("Add", ["pixels"])]), "refused", "Add", "Add of one tensor")
    case("too_many_inputs", model([node("Relu", ["pixels", "pixels", "pixels"])]), "either", "", "Relu of three tensors")
    case("missing_attribute", model([node("Concat", ["pixels", "pixels"])], y=(2, 4)), "refused", "Concat", "Concat needs its axis")
    case("missing_cast_type", model([node("Cast", ["pixels"])]), "refused", "Cast", "Cast to what?")
    wrong = node("Conv", ["pixels", "kernel"])
    wrong.attribute.append(AttributeProto(name="strides", type=AttributeProto.STRING, s=b"one by one"))
    case("attribute_of_wrong_type", model([wrong], [const("kernel", rng_array(1, 1, 1, 1))], x=(1, 1, 4, 4), y=(1, 1, 4, 4)),
         "refused", "Conv", "strides are a string")  # fmt: skip
    case("output_shape_lie", model([node("Relu", ["pixels"])], y=(1, 5)), "either", "", "declares [1,5], computes [1,4]")
    case("output_type_lie", model([node("Relu", ["pixels"])], outputs=[value("scores", (1, 4), I64)]),
         "either", "", "declares int64, computes float32")  # fmt: skip

    recursive = helper.make_function(
        "com.example.fn", "Forever", ["a"], ["b"],
        [helper.make_node("Forever", ["a"], ["b"], domain="com.example.fn")],
        [helper.make_opsetid("", OPSET), helper.make_opsetid("com.example.fn", 1)],
    )  # fmt: skip
    m = model([node("Forever", ["pixels"], domain="com.example.fn")])
    m.opset_import.append(helper.make_opsetid("com.example.fn", 1))
    m.functions.append(recursive)
    case("recursive_function", m, "refused", "Forever", "a model-local function that calls itself")

    for depth, word in ((20, "If"), (400, "")):
        m = model(
            [node("ReduceSum", ["pixels"], ["s"], "sum", keepdims=0), node("Cast", ["s"], ["cond"], "truth", to=TensorProto.BOOL)]
        )
        blob = m.SerializeToString()
        # Protobuf merges repeated occurrences of a message: this adds a node to the graph.
        blob += field(7, field(1, nested_if(depth)))
        case(f"nested_if_{depth}", blob, "refused", word, f"{depth} branches inside one another, on a condition from the input")
    body = helper.make_graph(
        [helper.make_node("Identity", ["go_in"], ["go_out"]), helper.make_node("Neg", ["v_in"], ["v_out"])],
        "body",
        [value("i", [], I64), value("go_in", [], TensorProto.BOOL), value("v_in", (1, 4))],
        [value("go_out", [], TensorProto.BOOL), value("v_out", (1, 4))],
    )
    case(
        "endless_loop",
        model([node("Loop", ["trips", "go", "pixels"], body=body)], [ints("trips", 2**62), const("go", True, np.bool_)]),
        "refused", "Loop", "2^62 rounds",
    )  # fmt: skip


def shapes():
    """Inputs that no machine can hold, or that no program can be made for."""
    relu = [node("Relu", ["pixels"])]
    case("huge_dim", model(relu, x=(1, 2**40), y=(1, 2**40)), "refused", "pixels", "4 TiB of input")
    case("dim_product_overflow", model(relu, x=(2**32, 2**32), y=(2**32, 2**32)), "refused", "pixels", "2^64 elements wrap to 0")
    case("dim_product_overflow_small", model(relu, x=(2**33, 2**31, 3), y=(2**33, 2**31, 3)), "refused", "pixels", "the byte count wraps")
    case("dim_max", model(relu, x=(2**63 - 1,), y=(2**63 - 1,)), "refused", "pixels", "INT64_MAX")
    case("negative_dim", model(relu, x=(-3, 4), y=(-3, 4)), "refused", "pixels", "a dimension of -3")
    case("zero_size_axis", model(relu, x=(1, 0, 4), y=(1, 0, 4)), "refused", "pixels", "no elements: nothing to compute or commit to")
    case("zero_size_weight", model([node("MatMul", ["pixels", "kernel"])], [const("kernel", np.zeros((4, 0)))], y=(1, 0)), "refused", "kernel", "a product with no columns")
    case("zero_size_contraction", model([node("MatMul", ["pixels", "kernel"])], [const("kernel", np.zeros((0, 3)))], x=(1, 0), y=(1, 3)),
         "refused", "pixels", "a sum over no terms")  # fmt: skip
    case("rank_65", model(relu, x=(1,) * 65, y=(1,) * 65), "refused", "rank", "65 axes")
    case("rank_0", model(relu, x=(), y=()), "either", "", "a scalar input")
    case("open_dims", model(relu, x=("batch", "length"), y=("batch", "length")), "refused", "length", "two open dimensions, one of them not the batch")
    case("no_shape", model(relu, inputs=[value("pixels", None)]), "refused", "pixels", "an input of unknown rank")
    m = model(relu)
    m.graph.input[0].ClearField("type")
    case("no_type", m, "refused", "pixels", "an input without a type")
    for name, dtype in (("string", TensorProto.STRING), ("complex64", TensorProto.COMPLEX64), ("undefined", 0), ("unknown", 99)):
        m = model([node("Identity", ["pixels"])])
        m.graph.input[0].type.tensor_type.elem_type = dtype
        m.graph.output[0].type.tensor_type.elem_type = dtype
        case(f"input_{name}", m, "refused", "pixels", f"an input of element type {dtype}")
    m = model([node("Identity", ["pixels"])], inputs=[helper.make_tensor_sequence_value_info("pixels", F, (1, 4))])
    case("input_sequence", m, "refused", "pixels", "a sequence of tensors as input")


def weights():
    """Constants that lie, or that no integer program can hold."""
    add = [node("Add", ["pixels", "weight"])]
    for name, bad in (("nan", np.nan), ("inf", np.inf), ("minus_inf", -np.inf)):
        case(f"weight_{name}", model(add, [const("weight", [1, 2, bad, 4])]), "refused", "weight", "a weight that is no number")
    gemm = [node("Gemm", ["pixels", "weight"])]
    w = rng_array(4, 4)
    w[1, 2] = np.nan
    case("gemm_weight_nan", model(gemm, [const("weight", w)]), "refused", "weight", "one NaN among 16 weights")
    case("weight_float_max", model(gemm, [const("weight", np.full((4, 4), 3.4e38))]), "either", "", "finite, but every sum overflows float32")
    case("weight_denormal", model(gemm, [const("weight", np.full((4, 4), 1e-42))]), "either", "", "a scale that float32 can hardly express")
    case("weight_wide_range", model(gemm, [const("weight", [[1e-30] * 4, [1e30] * 4, [1.0] * 4, [0.0] * 4])]),
         "either", "", "60 orders of magnitude in one tensor")  # fmt: skip

    def claims(name, dims, data, expect, word, why, kind="raw_data", dtype=F):
        t = TensorProto(name="weight", data_type=dtype, dims=dims)
        if kind == "raw_data" and data is not None:
            t.raw_data = data
        elif data is not None:
            getattr(t, kind).extend(data)
        case(name, model(add, [t]), expect, word, why)

    claims("claims_2gib_no_data", [2**29], None, "refused", "weight", "2 GiB claimed, nothing there")
    claims("claims_2gib_16_bytes", [2**29], bytes(16), "refused", "weight", "2 GiB claimed, 16 bytes there")
    claims("claims_16eib", [2**31, 2**31], bytes(16), "refused", "weight", "2^62 elements, whose bytes wrap to 0")
    claims("claims_wrapping", [2**32, 2**32], b"", "refused", "weight", "2^64 elements wrap to 0, and 0 bytes are there")
    claims("data_too_short", [4], bytes(12), "refused", "weight", "three of four numbers")
    claims("data_too_long", [4], bytes(20), "refused", "weight", "five numbers for four")
    claims("data_ragged", [4], bytes(15), "refused", "weight", "15 bytes of float32")
    claims("float_data_too_short", [4], [1.0, 2.0], "refused", "weight", "two of four numbers", kind="float_data")
    claims("no_data", [4], None, "refused", "weight", "no data field at all")
    claims("weight_negative_dim", [-4], bytes(16), "refused", "weight", "a dimension of -4")
    claims("weight_undefined_type", [4], bytes(16), "refused", "weight", "element type 0", dtype=0)
    claims("weight_unknown_type", [4], bytes(16), "refused", "weight", "element type 99", dtype=99)
    claims("weight_wrong_field", [4], [1, 2, 3, 4], "refused", "weight", "float32 in int64_data", kind="int64_data")
    t = TensorProto(name="weight", data_type=F, dims=[4], raw_data=struct.pack("<4f", 1, 2, 3, 4))
    t.float_data.extend([5.0, 6.0, 7.0, 8.0])
    case("data_twice", model(add, [t]), "either", "", "raw and typed data that disagree")

    strings = helper.make_tensor("weight", TensorProto.STRING, [4], [b"a", b"b", b"c", b"d"])
    case("weight_string", model(add, [strings]), "refused", "weight", "strings in arithmetic")
    for name, dtype, raw in (
        ("float16", TensorProto.FLOAT16, np.arange(4, dtype=np.float16).tobytes()),
        ("bfloat16", TensorProto.BFLOAT16, struct.pack("<4H", 0x3F80, 0x4000, 0x4040, 0x4080)),
        ("double", TensorProto.DOUBLE, np.arange(4, dtype=np.float64).tobytes()),
        ("float8", TensorProto.FLOAT8E4M3FN, bytes([0x38, 0x40, 0x44, 0x48])),
        ("int4", TensorProto.INT4, bytes([0x21, 0x43])),
        ("complex64", TensorProto.COMPLEX64, bytes(32)),
    ):
        m = model([node("Add", ["pixels", "weight"])], [TensorProto(name="weight", data_type=dtype, dims=[4], raw_data=raw)])
        m.graph.input[0].type.tensor_type.elem_type = dtype
        m.graph.output[0].type.tensor_type.elem_type = dtype
        expect = "either" if name in ("float16", "bfloat16", "double") else "refused"
        case(f"weight_{name}", m, expect, "" if expect == "either" else "weight", f"{name} input, weight and output")
    mixed = [TensorProto(name="weight", data_type=TensorProto.DOUBLE, dims=[4], raw_data=np.ones(4).tobytes())]
    case("mixed_types", model(add, mixed), "refused", "Add", "float32 plus float64 has no meaning in ONNX")

    sparse = helper.make_sparse_tensor(const("weight", [1.5]), ints("indices", [2]), [4])
    case("sparse_initializer", model(add, sparse_initializer=[sparse]), "refused", "weight", "a sparse weight")
    sparse = helper.make_sparse_tensor(const("weight", [1.5]), ints("indices", [2**40]), [4])
    case("sparse_out_of_range", model(add, sparse_initializer=[sparse]), "refused", "weight", "an index far outside")

    def external(name, why, **entries):
        t = TensorProto(name="weight", data_type=F, dims=[4], data_location=TensorProto.EXTERNAL)
        for key, val in entries.items():
            t.external_data.add(key=key, value=val)
        case(name, model(add, [t]), "refused", "weight", why)

    external("external_traversal", "a path out of the model's folder", location="../../etc/passwd")
    external("external_deep_traversal", "a long path out of the model's folder", location="a/../" + "../" * 20 + "etc/passwd")
    external("external_absolute", "an absolute path", location="/etc/passwd")
    external("external_device", "a file that never ends", location="/dev/zero", length="16")
    external("external_missing", "a file that is not there", location="weights.bin")
    external("external_itself", "the model file as its own weights", location="external_itself.onnx", length="16")
    external("external_huge_offset", "an offset that overflows", location="external_huge_offset.onnx", offset=str(2**64 - 8), length="16")
    external("external_negative", "a negative offset", location="external_negative.onnx", offset="-16", length="16")
    external("external_nowhere", "external, but no location")


def operators():
    """Operators whose attributes or constants make no sense, or ask for terabytes."""
    op_case("reshape_mismatch", "Reshape", [ints("shape", [3, 5])], "refused", "4 elements into 15", y=(3, 5))
    op_case("reshape_two_unknown", "Reshape", [ints("shape", [-1, -1])], "refused", "two inferred dimensions")
    op_case("reshape_negative", "Reshape", [ints("shape", [-7, 4])], "refused", "a dimension of -7")
    op_case("reshape_overflow", "Reshape", [ints("shape", [2**32, 2**32])], "refused", "2^64 elements wrap to 0", y=(2**32, 2**32))
    op_case("reshape_zero_copy_beyond", "Reshape", [ints("shape", [1, 4, 0])], "refused", "0 copies an axis that is not there")

    image, kernel = (1, 1, 6, 6), const("kernel", rng_array(1, 1, 3, 3))

    def conv(name, why, w=kernel, expect="refused", y=(1, 1, 4, 4), **attrs):
        op_case(name, "Conv", [w], expect, why, x=image, y=y, **attrs)

    conv("conv_zero_stride", "a window that does not move", strides=[0, 0])
    conv("conv_negative_stride", "a window that moves backwards", strides=[-1, -1])
    conv("conv_zero_dilation", "all taps on one pixel", dilations=[0, 0])
    conv("conv_huge_kernel", "kernel_shape is not that of the weights", kernel_shape=[2**31, 2**31])
    conv("conv_huge_dilation", "a window wider than the image", dilations=[2**40, 2**40])
    conv("conv_kernel_exceeds_input", "a window of 9 on 6 pixels", w=const("kernel", rng_array(1, 1, 9, 9)))
    conv("conv_negative_pads", "padding of -1", pads=[-1, -1, -1, -1], y=(1, 1, 2, 2))
    conv("conv_huge_pads", "an image of 2^80 pixels", pads=[2**40] * 4, y=(1, 1, 2**41, 2**41))
    conv("conv_overflowing_pads", "a sum that wraps", pads=[2**63 - 1] * 4)
    conv("conv_group_0", "no groups", group=0)
    conv("conv_group_7", "seven groups of one channel", group=7)
    conv("conv_channels", "three channels of weights on one of data", w=const("kernel", rng_array(1, 3, 3, 3)))
    conv("conv_short_strides", "one stride for two axes", strides=[1])
    conv("conv_weight_rank_1", "a vector as kernel", w=const("kernel", rng_array(3)))
    conv("conv_auto_pad", "a padding mode that does not exist", auto_pad="SOMEHOW")
    op_case("pool_zero_kernel", "MaxPool", [], "refused", "a window of no pixels", x=image, y=(1, 1, 7, 7), kernel_shape=[0, 0])
    op_case("pool_pads_exceed_kernel", "MaxPool", [], "refused", "windows of padding alone have no maximum",
            x=image, y=(1, 1, 15, 15), kernel_shape=[2, 2], pads=[5, 5, 5, 5])  # fmt: skip
    op_case("average_pool_huge", "AveragePool", [], "refused", "a window of 2^80 pixels", x=image, y=(1, 1, 1, 1),
            kernel_shape=[2**40, 2**40])  # fmt: skip

    op_case("gather_out_of_range", "Gather", [ints("at", [0, 4])], "refused", "element 4 of 4", y=(1, 2), axis=1)
    op_case("gather_far_out", "Gather", [ints("at", [-(2**63)])], "refused", "element INT64_MIN", y=(1, 1), axis=1)
    op_case("gather_axis", "Gather", [ints("at", [0])], "refused", "axis 9 of 2", axis=9)
    table = model([node("Gather", ["table", "pixels"])], [const("table", rng_array(5, 3))], inputs=[value("pixels", (2,), I64)], y=(2, 3))
    case("gather_by_input", table, "either", "", "the range of the index is known only at run time")
    op_case("divide_by_zero", "Div", [const("zero", 0.0)], "refused", "a constant divisor of 0")
    op_case("divide_by_some_zero", "Div", [const("divisor", [1, 2, 0, 4])], "refused", "one constant divisor of 0 among four")
    case("integer_divide_by_zero", model([node("Div", ["pixels", "zero"])], [ints("zero", 0)],
         inputs=[value("pixels", (1, 4), I64)], outputs=[value("scores", (1, 4), I64)]), "refused", "Div", "an integer divided by 0")  # fmt: skip
    case("integer_mod_zero", model([node("Mod", ["pixels", "zero"])], [ints("zero", 0)],
         inputs=[value("pixels", (1, 4), I64)], outputs=[value("scores", (1, 4), I64)]), "refused", "Mod", "the remainder by 0")  # fmt: skip
    case("integer_overflow", model([node("Mul", ["pixels", "big"])], [ints("big", 2**62)],
         inputs=[value("pixels", (1, 4), I64)], outputs=[value("scores", (1, 4), I64)]), "refused", "Mul", "int64 products that wrap")  # fmt: skip
    op_case("matmul_mismatch", "MatMul", [const("kernel", rng_array(5, 3))], "refused", "4 columns times 5 rows", y=(1, 3))
    op_case("broadcast_mismatch", "Add", [const("kernel", rng_array(3))], "refused", "4 plus 3")
    op_case("broadcast_huge", "Add", [const("kernel", np.zeros((1,) * 40))], "either", "a rank of 40", y=(1,) * 39 + (4,))
    op_case("concat_mismatch", "Concat", [const("kernel", rng_array(2, 5))], "refused", "rows of 4 and of 5", y=(3, 4), axis=0)
    op_case("concat_axis", "Concat", [const("kernel", rng_array(1, 4))], "refused", "axis -9 of 2", axis=-9)
    op_case("transpose_not_a_permutation", "Transpose", [], "refused", "axis 0 twice", perm=[0, 0])
    op_case("transpose_out_of_range", "Transpose", [], "refused", "axis 5 of 2", perm=[0, 5])
    slices = [ints("starts", [0]), ints("ends", [4]), ints("axes", [1])]
    op_case("slice_step_0", "Slice", [*slices, ints("steps", [0])], "refused", "a step of 0")
    op_case("slice_step_min", "Slice", [*slices, ints("steps", [-(2**63)])], "either", "a step whose negative does not exist", y=(1, 1))
    op_case("slice_lengths", "Slice", [ints("starts", [0, 0]), ints("ends", [4])], "refused", "two starts, one end")
    op_case("slice_axis", "Slice", [ints("starts", [0]), ints("ends", [4]), ints("axes", [7])], "refused", "axis 7 of 2")
    op_case("squeeze_wide_axis", "Squeeze", [ints("axes", [1])], "refused", "an axis of 4 cannot go", y=(1,))
    op_case("unsqueeze_twice", "Unsqueeze", [ints("axes", [0, 0])], "refused", "one new axis twice", y=(1, 1, 1, 4))
    op_case("softmax_axis", "Softmax", [], "refused", "axis 7 of 2", axis=7)
    op_case("flatten_axis", "Flatten", [], "refused", "axis 99 of 2", axis=99)
    op_case("cast_to_string", "Cast", [], "refused", "numbers as text", to=TensorProto.STRING)
    op_case("cast_to_unknown", "Cast", [], "refused", "element type 99", to=99)
    split = model([node("Split", ["pixels", "parts"], ["scores", "z"])], [ints("parts", [3, 3])], outputs=[value("scores", (1, 3)), value("z", (1, 3))])
    case("split_sum", split, "refused", "Split", "3 and 3 of 4")
    op_case("clip_crossed", "Clip", [const("low", 2.0), const("high", 1.0)], "either", "a minimum above the maximum")
    op_case("clip_nan", "Clip", [const("low_of_Clip", np.nan), const("high", 1.0)], "refused", "a bound that is no number")
    op_case("gemm_alpha_nan", "Gemm", [const("kernel", rng_array(4, 4))], "refused", "a factor that is no number", alpha=float("nan"))
    op_case("leaky_relu_inf", "LeakyRelu", [], "refused", "an infinite slope", alpha=float("inf"))
    channels = [const(n, v) for n, v in (("scale", [1.0]), ("bias", [0.0]), ("mean", [0.0]), ("variance", [-1.0]))]
    op_case("batch_norm_negative_variance", "BatchNormalization", channels, "refused", "the root of -1", x=image, y=image)
    op_case("random_normal", "RandomNormalLike", [], "refused", "noise without a seed cannot be replayed")
    op_case("training_dropout", "Dropout", [const("ratio", 0.5), const("training", True, np.bool_)], "refused", "noise that cannot be replayed")

    # Small files whose constants alone decide the size of a result: folding them eagerly asks for terabytes.
    def filled(name, shape, why):
        nodes = [node("ConstantOfShape", ["shape"], ["c"], "fill"), node("ReduceMax", ["c"], ["m"], "shrink", keepdims=0), node("Add", ["pixels", "m"])]
        case(name, model(nodes, [ints("shape", shape)]), "refused", "fill", why)

    filled("constant_of_shape_huge", [2**40], "4 TiB of zeros, reduced to one number")
    filled("constant_of_shape_wrapping", [2**32, 2**32, 3], "3 * 2^64 elements")
    filled("constant_of_shape_negative", [-5], "-5 zeros")

    def folded(name, op, inputs, inits, why, word=None):
        nodes = [node(op, inputs, ["c"], "grow"), node("ReduceMax", ["c"], ["m"], "shrink", keepdims=0), node("Add", ["pixels", "m"])]
        case(name, model(nodes, inits), "refused", word or "grow", why)

    one = const("one", [[1.0]])
    folded("expand_huge", "Expand", ["one", "shape"], [one, ints("shape", [2**20, 2**21])], "8 TiB of ones")
    folded("tile_huge", "Tile", ["one", "times"], [one, ints("times", [2**20, 2**21])], "8 TiB of ones")
    folded("tile_negative", "Tile", ["one", "times"], [one, ints("times", [-1, 1])], "-1 copies")
    folded("range_huge", "Range", ["from", "to", "by"], [const("from", 0.0), const("to", 1e12), const("by", 1.0)], "4 TB of numbers")
    folded("range_step_0", "Range", ["from", "to", "by"], [const("from", 0.0), const("to", 8.0), const("by", 0.0)], "numbers without end")
    folded("pad_huge", "Pad", ["one", "pads"], [one, ints("pads", [2**20, 0, 0, 2**21])], "8 TiB of padding")
    folded("resize_huge", "Resize", ["one", "", "scales"], [one, const("scales", [1e6, 2e6])], "8 TB of one pixel")
    folded("one_hot_huge", "OneHot", ["at", "depth", "values"], [ints("at", [[0]]), ints("depth", 2**40), const("values", [0.0, 1.0])], "2^40 classes")
    op_case("expand_input_huge", "Expand", [ints("shape", [2**30, 4])], "refused", "the input 2^30 times", y=(2**30, 4))
    doubling, last = [], "pixels"
    for i in range(48):
        doubling.append(node("Concat", [last, last], [f"d{i}"], f"double_{i}", axis=1))
        last = f"d{i}"
    doubling.append(node("ReduceMax", [last], name="shrink", axes=[1], keepdims=1))
    case("doubling", model(doubling, y=(1, 1)), "refused", "double", "48 doublings: 4 PiB from 16 bytes")


def controls():
    """Valid models that look strange. All must compile."""
    case("ok_mlp", mlp(), "ok", why="the model that the truncations start from")
    m = mlp()
    for t in m.graph.initializer:
        m.graph.input.append(value(t.name, list(t.dims)))
    case("ok_initializers_as_inputs", m, "ok", why="as IR version 3 required")
    m = mlp()
    m.graph.initializer.append(const("unused", rng_array(7)))
    m.graph.node.insert(1, node("Neg", ["h"], ["dead_end"], "dead"))
    case("ok_dead_code", m, "ok", why="an unused weight and a node that nobody asks for")
    m = mlp()
    m.opset_import.append(helper.make_opsetid("com.example.unused", 3))
    m.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    m.doc_string = "pixels" * 500
    m.metadata_props.add(key="author", value="\u00e9\u4e2d\u6587 \U0001f600")
    case("ok_unused_domains", m, "ok", why="domains imported but not used, metadata in Unicode")
    m = mlp()
    for n in m.graph.node:
        n.ClearField("name")
    case("ok_nameless_nodes", m, "ok", why="names of nodes are optional")
    case(
        "ok_strange_names",
        model(
            [node("Mul", ["pixels", "a b/c:0"], ["\u03c3"], "///"), node("Add", ["\u03c3", "kernel" * 300], ["scores"], "../../up")],
            [const("a b/c:0", [1.0, -2.0, 0.5, 3.0]), const("kernel" * 300, [0.5])],
        ),
        "ok", why="names are any text",
    )  # fmt: skip
    case("ok_same_tensor_twice", model([node("Add", ["pixels", "pixels"])]), "ok", why="pixels + pixels")
    case("ok_identity", model([node("Identity", ["pixels"])]), "ok", why="nothing is computed")
    case("ok_all_zero_weights", model([node("Gemm", ["pixels", "kernel", "b"])], [const("kernel", np.zeros((4, 4))), const("b", [1.0, -1.0, 0.5, 0.0])]),
         "ok", why="a layer whose scale would be zero")  # fmt: skip
    case("ok_one_weight", model([node("Mul", ["pixels", "kernel"])], [const("kernel", 0.37)]), "ok", why="a scalar weight")
    clip = model([helper.make_node("Clip", ["pixels", "", "high"], ["scores"])], [const("high", 0.5)])
    case("ok_left_out_input", clip, "ok", why="an optional input left out by an empty name")
    typed = TensorProto(name="kernel", data_type=F, dims=[4])
    typed.float_data.extend([1.0, -0.0, 0.25, -3.0])
    case("ok_float_data", model([node("Mul", ["pixels", "kernel"])], [typed]), "ok", why="typed data instead of raw, and a negative zero")
    constant = model([node("Constant", [], ["kernel"], value=const("", [[2.0], [0.5], [1.0], [-1.0]])), node("MatMul", ["pixels", "kernel"])], y=(1, 1))
    case("ok_constant_node", constant, "ok", why="a weight as a Constant node")
    two = model([node("Relu", ["pixels"]), node("Neg", ["pixels"], ["z"])], outputs=[value("z", (1, 4)), value("scores", (1, 4))])
    case("ok_two_outputs", two, "ok", why="outputs in another order than the nodes")
    loose = model([node("Relu", ["pixels"])], y=("rows", None))
    case("ok_output_of_open_shape", loose, "ok", why="the graph declares less about its output than follows from the input")
    deep, last = [], "pixels"
    for i in range(64):
        deep.append(helper.make_node("Neg", [last], [f"n{i}"]))
        last = f"n{i}"
    deep.append(helper.make_node("Relu", [last], ["scores"]))
    case("ok_long_chain", model(deep), "ok", why="64 negations")
    case("ok_opset_13", model([node("Relu", ["pixels"])], opset=13), "ok", why="an older opset")
    rank = model([node("Add", ["pixels", "kernel"])], [const("kernel", rng_array(1, 2, 1, 2, 1, 2))], x=(1, 2, 1, 2, 1, 2), y=(1, 2, 1, 2, 1, 2))
    case("ok_rank_6", rank, "ok", why="six axes")


def compact_chain(count):
    """A chain of `count` Neg nodes in as few bytes as protobuf allows (message fields by hand)."""

    def name(i):
        return np.base_repr(i, 36).lower().encode()

    graph = bytearray()
    for i in range(count):
        source = b"pixels" if i == 0 else b"_" + name(i)
        target = b"scores" if i == count - 1 else b"_" + name(i + 1)
        # NodeProto: input = 1, output = 2, op_type = 4.
        graph += field(1, field(1, source) + field(2, target) + field(4, b"Neg"))
    m = model([])
    m.graph.MergeFromString(bytes(graph))
    return m


def add_samples():
    """Sample inputs and ONNX Runtime's outputs for the controls."""
    rng = np.random.default_rng(3)
    ort.set_default_logger_severity(3)
    for c in cases:
        if c["expect"] != "ok":
            continue
        m = onnx.load_from_string(c["blob"])
        onnx.checker.check_model(m)
        weights_ = {t.name for t in m.graph.initializer}
        feeds = {}
        for i in m.graph.input:
            if i.name not in weights_:
                shape = [d.dim_value for d in i.type.tensor_type.shape.dim]
                feeds[i.name] = np.round(rng.uniform(-1, 1, shape) * 64).astype(np.float32) / 64
        session = ort.InferenceSession(c["blob"], providers=["CPUExecutionProvider"])
        names = [o.name for o in m.graph.output]
        outputs = session.run(names, feeds)
        c["inputs"] = {k: v.tolist() for k, v in feeds.items()}
        c["outputs"] = {k: v.astype(np.float64).round(7).tolist() for k, v in zip(names, outputs, strict=True)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    parser.add_argument("--large", type=Path, metavar="DIR", help="write chain_100k.onnx and weight_100mb.onnx there instead")
    args = parser.parse_args()

    if args.large:
        args.large.mkdir(parents=True, exist_ok=True)
        (args.large / "chain_100k.onnx").write_bytes(compact_chain(100_000).SerializeToString())
        big = model([node("Add", ["pixels", "kernel"])], [const("kernel", np.zeros((25_000_000,)))], x=(25_000_000,), y=(25_000_000,))
        (args.large / "weight_100mb.onnx").write_bytes(big.SerializeToString())
        print(f"2 files in {args.large}")
        return

    for build in (files, structure, shapes, weights, operators, controls):
        build()
    case("chain_4000", compact_chain(4000), "either", "", "4000 nodes deep: recursion over the graph would overflow the stack")
    names = [c["file"] for c in cases]
    assert len(set(names)) == len(names), "two cases share a name"
    add_samples()
    args.out.mkdir(parents=True, exist_ok=True)
    for stale in args.out.glob("*.onnx"):
        stale.unlink()
    manifest = []
    for c in cases:
        (args.out / c["file"]).write_bytes(c.pop("blob"))
        if not c["word"]:
            del c["word"]
        manifest.append(c)
    lines = ",\n".join(" " + json.dumps(c) for c in manifest)
    (args.out / "manifest.json").write_text(f"[\n{lines}\n]\n")
    total = sum(p.stat().st_size for p in args.out.iterdir())
    counts = {e: sum(c["expect"] == e for c in manifest) for e in ("refused", "either", "ok")}
    print(f"{len(manifest)} files, {total} bytes in {args.out}: {counts}")
    assert total < 300_000


if __name__ == "__main__":
    main()
