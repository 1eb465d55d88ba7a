//! Both engines against primitives that NumPy, ONNX Runtime and exact fractions computed
//! (`exec_support/make_vectors.py`).

mod exec_support;

use carat_nn::exec::{ExecError, Executable, Options, Simd, reference};
use carat_program::{Contraction, ConvGeometry, Op, PoolKind, Rounding, Shape, Tensor, Window};
use exec_support::Builder;
use serde_json::Value as Json;
use std::collections::BTreeMap;

fn list<T: TryFrom<i64>>(json: &Json) -> Vec<T> {
    json.as_array()
        .unwrap_or_else(|| panic!("{json} is no list"))
        .iter()
        .map(|v| T::try_from(v.as_i64().unwrap()).ok().unwrap())
        .collect()
}

fn tensor(json: &Json) -> Tensor {
    Tensor::new(
        Shape::new(&list::<usize>(&json["shape"])).unwrap(),
        list(&json["data"]),
    )
    .unwrap()
}

fn window(case: &Json) -> Window {
    let pads: Vec<u32> = list(&case["pads"]);
    let (before, after) = pads.split_at(pads.len() / 2);
    Window {
        kernel: list(&case["kernel"]),
        stride: list(&case["strides"]),
        dilation: list(&case["dilations"]),
        before: before.to_vec(),
        after: after.to_vec(),
    }
}

fn operation(case: &Json) -> Op {
    let int = |key: &str| case[key].as_i64().unwrap();
    match case["op"].as_str().unwrap() {
        "contract" => {
            let (operands, out) = case["spec"].as_str().unwrap().split_once("->").unwrap();
            let (a, b) = operands.split_once(',').unwrap();
            let spec = Contraction {
                a: a.into(),
                b: b.into(),
                out: out.into(),
            };
            Op::Contract { spec, l1: None }
        }
        "conv" => Op::Conv {
            geometry: ConvGeometry {
                window: window(case),
                groups: int("groups") as u32,
            },
            l1: None,
        },
        "pool-max" => Op::Pool {
            kind: PoolKind::Max,
            window: window(case),
        },
        "sum" => Op::Sum {
            axes: list(&case["axes"]),
        },
        "reduce-max" => Op::ReduceMax {
            axes: list(&case["axes"]),
        },
        "arg-max" => Op::ArgMax {
            axis: int("axis") as u8,
        },
        "mul" => Op::Mul,
        "max" => Op::Max,
        "linear" => Op::Linear {
            coefficients: list(&case["coefficients"]),
            bias: int("bias"),
        },
        "shift" => Op::Shift {
            bits: int("bits") as u8,
        },
        "clamp" => Op::Clamp {
            lo: int("lo"),
            hi: int("hi"),
        },
        "lut" => Op::Lut {
            offset: int("offset"),
        },
        "quotient" => {
            let rounding = if case["rounding"] == "floor" {
                Rounding::Floor
            } else {
                Rounding::Nearest
            };
            Op::Quotient {
                bits: int("bits") as u8,
                rounding,
            }
        }
        "inverse-sqrt" => Op::InverseSqrt {
            bits: int("bits") as u8,
        },
        "transpose" => Op::Transpose {
            perm: list(&case["perm"]),
        },
        "slice" => Op::Slice {
            start: list(&case["start"]),
            step: list(&case["step"]),
            len: list(&case["len"]),
        },
        "concat" => Op::Concat {
            axis: int("axis") as u8,
        },
        "pad" => Op::Pad {
            before: list(&case["before"]),
            after: list(&case["after"]),
            value: int("value"),
        },
        "broadcast" => Op::Broadcast {
            shape: Shape::new(&list::<usize>(&case["shape"])).unwrap(),
        },
        "gather" => Op::Gather {
            axis: int("axis") as u8,
        },
        "reshape" => Op::Reshape {
            shape: Shape::new(&list::<usize>(&case["shape"])).unwrap(),
        },
        other => panic!("unknown primitive {other}"),
    }
}

#[test]
fn primitives_agree_with_other_implementations() {
    let cases: Vec<Json> = serde_json::from_str(include_str!("exec_support/vectors.json")).unwrap();
    let mut count = BTreeMap::new();
    for (i, case) in cases.iter().enumerate() {
        let op = operation(case);
        *count.entry(op.name()).or_insert(0) += 1;
        let operands: Vec<Tensor> = case["operands"]
            .as_array()
            .unwrap()
            .iter()
            .map(tensor)
            .collect();
        let expected = tensor(&case["result"]);
        // Every choice of which operands are constants; a table always is one.
        for mask in 0..1u32 << operands.len() {
            if matches!(op, Op::Lut { .. }) && mask & 2 == 0 {
                continue;
            }
            let mut b = Builder::new(0);
            let (mut values, mut inputs) = (vec![], vec![]);
            for (k, x) in operands.iter().enumerate() {
                let dims = x.shape().dims();
                if mask >> k & 1 == 1 {
                    values.push(b.constant(&dims, x.data().to_vec()));
                } else {
                    let (lo, hi) = (
                        x.data().iter().min().unwrap(),
                        x.data().iter().max().unwrap(),
                    );
                    values.push(b.input(&dims, (*lo).into(), (*hi).into()));
                    inputs.push(x.clone());
                }
            }
            let result = b.push(op.clone(), &values);
            let (program, weights) = b.finish(&[result]);
            let place = format!("case {i} ({}), constants {mask:b}", op.name());
            assert_eq!(
                reference::run(&program, &weights, &inputs).unwrap()[0],
                expected,
                "oracle, {place}"
            );
            for simd in [Simd::Scalar, Simd::Avx2, Simd::Avx512, Simd::Auto] {
                match Executable::new(
                    &program,
                    &weights,
                    Options {
                        simd,
                        ..Options::default()
                    },
                ) {
                    Err(ExecError::Simd(_)) => {}
                    executable => {
                        let found = executable.unwrap().run(&inputs).unwrap();
                        assert_eq!(found[0], expected, "{simd:?}, {place}");
                    }
                }
            }
        }
    }
    // `pool-sum` has no counterpart without division in the other implementations.
    assert_eq!(count.len(), 21, "{count:?}");
}
