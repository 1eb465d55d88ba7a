//! Forged witnesses, for every primitive that commits to something. The prover follows the protocol on them, with
//! multiplicities that match wherever they can, and claims the outputs that follow.

use super::*;
use carat_program::{MODULUS, Shape};
use std::sync::atomic::{AtomicBool, Ordering};

/// `v + by` modulo p, as the integer of smallest absolute value.
fn moved(v: i32, by: i32) -> i32 {
    crate::field::signed(crate::field::int(i64::from(v) + i64::from(by))) as i32
}

/// Every committed element of small programs, off by one, by a unit of the shift, by what wraps around, and at the ends.
fn off_by_anything(case: &Case, what: &str) {
    let columns = &case.plan.graph.columns;
    let mut tried = 0;
    for (index, column) in columns.iter().enumerate() {
        if matches!(column.fill, Fill::Input(_) | Fill::Multiplicity(_)) {
            continue;
        }
        let n: usize = column.dims.iter().product();
        let bits = match column.fill {
            Fill::Shift { bits, .. } | Fill::High { bits, .. } => bits,
            Fill::Table { .. } | Fill::Quotient { .. } => 16,
            Fill::Input(_) | Fill::Multiplicity(_) => unreachable!("skipped"),
        };
        let wrap = (MODULUS >> bits) as i32;
        for at in [0, n - 1] {
            for by in [
                1,
                -1,
                2,
                1 << 16,
                -(1 << 16),
                wrap,
                -wrap,
                wrap + 1,
                128,
                -256,
            ] {
                let result = case.forge(&|c, honest| {
                    (c == index).then(|| {
                        let mut v = honest.to_vec();
                        v[at] = moved(v[at], by);
                        v
                    })
                });
                assert!(
                    matches!(result, Err(Error::Check(_) | Error::Opening(..))),
                    "{what}: {:?} at {at} by {by}: {result:?}",
                    column.fill
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 0, "{what} commits to nothing");
}

#[test]
fn every_committed_element_has_one_value() {
    for bits in [1u8, 8, 16, 17, 30] {
        for reach in [100, 400_000_000] {
            let case = Case::new(step(Op::Shift { bits }, &[3], -reach, reach - 1), 1);
            off_by_anything(&case, "shift");
        }
    }
    for (lo, hi, reach) in [
        (-128, 127, 300),
        (0, 1_000_000, 100_000),
        (-70_000, 70_000, 100_000),
        (0, 127, 400_000_000),
    ] {
        let case = Case::new(step(Op::Clamp { lo, hi }, &[3], -reach, reach), 1);
        off_by_anything(&case, "clamp");
    }
    for reach in [100, 100_000, 500_000_000] {
        let case = Case::new(
            step(Op::ReduceMax { axes: vec![0] }, &[5], -reach, reach),
            1,
        );
        off_by_anything(&case, "reduce-max");
        let op = Op::Pool {
            kind: PoolKind::Max,
            window: window(&[2, 3], 1),
        };
        let case = Case::new(step(op, &[1, 1, 3, 3], -reach, reach), 1);
        off_by_anything(&case, "pool");
    }
    off_by_anything(&Case::new(network(1), 2), "network");
}

#[test]
fn an_off_by_one_remainder() {
    // The remainder at either end of its range: the next quotient has it just outside.
    let (program, weights) = step(Op::Shift { bits: 4 }, &[2], -1000, 1000);
    let x = tensors(&program, &[&[7, 8]]);
    let case = Case::on((program, weights), vec![x]);
    assert_eq!(case.outputs[0][0].data(), [0, 1]);
    case.forge(&|_, _| None).unwrap();
    for (at, by) in [(0, 1), (1, -1)] {
        refused(case.forge_fill(|f| matches!(f, Fill::Shift { .. }), |q| q[at] += by));
    }
}

#[test]
fn a_tie_broken_the_other_way() {
    // 2.5 rounds to 3, -2.5 to -2.
    let (program, weights) = step(Op::Shift { bits: 1 }, &[2], -9, 9);
    let x = tensors(&program, &[&[5, -5]]);
    let case = Case::on((program, weights), vec![x]);
    assert_eq!(case.outputs[0][0].data(), [3, -2]);
    for at in 0..2 {
        refused(case.forge_fill(|f| matches!(f, Fill::Shift { .. }), |q| q[at] -= 1));
    }
}

#[test]
fn a_wrapped_quotient() {
    // p = 127 * 2^24 + 1, so q - floor(p / 2^s) leaves a remainder that is one less: only the bound on q refuses it.
    for bits in [1u8, 4, 8, 14, 15, 16, 17, 20, 24] {
        let wrap = (MODULUS >> bits) as i32;
        for reach in [200i64, 100_000, 500_000_000, 1_000_000_000] {
            let (program, weights) = step(Op::Shift { bits }, &[3], -reach, reach);
            let x = tensors(&program, &[&[reach as i32, -(reach as i32), 77]]);
            let case = Case::on((program, weights), vec![x]);
            for wrap in [wrap, -wrap] {
                for at in 0..3 {
                    refused(case.forge_fill(
                        |f| matches!(f, Fill::Shift { .. }),
                        |q| q[at] = moved(q[at], wrap),
                    ));
                }
            }
        }
    }
}

#[test]
fn a_wrapped_quotient_into_a_table() {
    // A table of 2^16 entries behind a shift by 16 has room for both quotients.
    let mut b = Builder::new(1);
    let x = b.input(&[3], -100_000_000, 100_000_000);
    let q = b.push(Op::Shift { bits: 16 }, &[x]);
    let table = b.random(&[65_536], -128, 127);
    let y = b.push(Op::Lut { offset: -32_768 }, &[q, table]);
    let case = Case::new(b.finish(&[y]), 1);
    for wrap in [32_512, -32_512, 32_513, -32_511] {
        for at in 0..3 {
            refused(case.forge_fill(
                |f| matches!(f, Fill::Shift { .. }),
                |q| q[at] = moved(q[at], wrap),
            ));
        }
    }
}

#[test]
fn the_wrong_side_of_a_saturation() {
    for reach in [1000i64, 300_000] {
        let (program, weights) = step(Op::Clamp { lo: -128, hi: 127 }, &[4], -reach, reach);
        let x = tensors(&program, &[&[900, -900, 127, -128]]);
        let case = Case::on((program, weights), vec![x]);
        assert_eq!(case.outputs[0][0].data(), [127, -128, 127, -128]);
        let last = case
            .plan
            .graph
            .columns
            .iter()
            .filter(|c| matches!(c.fill, Fill::Table { .. }))
            .count();
        for nth in 0..last {
            for at in 0..4 {
                for to in [-128, 127, 0, 1, 900, -900] {
                    let index = case
                        .plan
                        .graph
                        .columns
                        .iter()
                        .enumerate()
                        .filter(|(_, c)| matches!(c.fill, Fill::Table { .. }))
                        .nth(nth)
                        .unwrap()
                        .0;
                    let changed = AtomicBool::new(false);
                    let result = case.forge(&|c, honest| {
                        (c == index).then(|| {
                            let mut v = honest.to_vec();
                            changed.store(v[at] != to, Ordering::Relaxed);
                            v[at] = to;
                            v
                        })
                    });
                    if changed.load(Ordering::Relaxed) {
                        refused(result);
                    } else {
                        result.unwrap();
                    }
                }
            }
        }
    }
}

/// Sign and high limb of a wide comparison, changed together so that the table of signs is content.
#[test]
fn a_wrong_sign_with_a_limb_to_match() {
    let (program, weights) = step(
        Op::Clamp {
            lo: 0,
            hi: i64::MAX,
        },
        &[3],
        -400_000,
        400_000,
    );
    let x = tensors(&program, &[&[-5, 5, -300_000]]);
    let case = Case::on((program, weights), vec![x]);
    for at in 0..3 {
        for high in [-1i32, 0, 1, -4, 4] {
            let result = case.forge(&|c, honest| {
                let mut v = honest.to_vec();
                match case.plan.graph.columns[c].fill {
                    Fill::High { .. } if v[at] != high => v[at] = high,
                    // The table then gives the sign that matches the forged limb by itself.
                    _ => return None,
                }
                Some(v)
            });
            let honest = [0, -1, 4][at];
            if honest == high {
                result.unwrap();
            } else {
                refused(result);
            }
        }
    }
}

#[test]
fn swapped_rows() {
    // The multiset of every column stays as it is, so a lookup that does not tie rows together would be content.
    let case = Case::new(network(3), 2);
    for (index, column) in case.plan.graph.columns.iter().enumerate() {
        if matches!(column.fill, Fill::Input(_)) {
            continue;
        }
        let swapped = AtomicBool::new(false);
        let result = case.forge(&|c, honest| {
            (c == index).then(|| {
                let mut v = honest.to_vec();
                if let Some(other) = v.iter().position(|&x| x != v[0]) {
                    v.swap(0, other);
                    swapped.store(true, Ordering::Relaxed);
                }
                v
            })
        });
        if swapped.load(Ordering::Relaxed) {
            refused(result);
        } else {
            result.unwrap();
        }
    }
}

#[test]
fn statements_of_one_proof_do_not_mix() {
    // The two halves of a column exchanged: each statement would get the other's values.
    let case = Case::new(network(3), 2);
    for (index, column) in case.plan.graph.columns.iter().enumerate() {
        if matches!(column.fill, Fill::Multiplicity(_)) {
            continue;
        }
        let same = AtomicBool::new(false);
        let result = case.forge(&|c, honest| {
            (c == index).then(|| {
                let (a, b) = honest.split_at(honest.len() / 2);
                same.store(a == b, Ordering::Relaxed);
                [b, a].concat()
            })
        });
        if !same.load(Ordering::Relaxed) {
            refused(result);
        }
    }
}

#[test]
fn wrong_multiplicities() {
    let case = Case::new(network(4), 1);
    for (index, column) in case.plan.graph.columns.iter().enumerate() {
        if !matches!(column.fill, Fill::Multiplicity(_)) {
            continue;
        }
        let n: usize = column.dims.iter().product();
        for at in [0, n / 2, n - 1] {
            for by in [1, -1] {
                refused(case.forge(&|c, honest| {
                    (c == index).then(|| {
                        let mut v = honest.to_vec();
                        v[at] += by;
                        v
                    })
                }));
            }
        }
        // The right number of looked-up entries, but others.
        refused(case.forge(&|c, honest| {
            (c == index).then(|| {
                let mut v = honest.to_vec();
                let from = v.iter().position(|&m| m > 0).unwrap_or(0);
                v[from] -= 1;
                v[(from + 1) % n] += 1;
                v
            })
        }));
    }
}

#[test]
fn a_wrong_value_of_a_table() {
    let mut b = Builder::new(1);
    let x = b.input(&[5], 0, 9);
    let table = b.constant(&[10], vec![3, 1, 4, 1, 5, 9, 2, 6, 5, 3]);
    let y = b.push(Op::Lut { offset: 0 }, &[x, table]);
    let (program, weights) = b.finish(&[y]);
    let x = tensors(&program, &[&[0, 5, 5, 9, 2]]);
    let case = Case::on((program, weights), vec![x]);
    let table = |f: &Fill| matches!(f, Fill::Table { .. });
    // Any other entry of the table, and values that it does not hold.
    for at in 0..5 {
        for to in [0, 1, 2, 6, 7, 100, -3] {
            refused(case.forge_fill(table, |y| y[at] = to));
        }
    }
    // An index outside the table, with the input to match, is refused before any proof: the range of the input is the
    // verifier's to check.
    let mut outside = case.instances(&case.outputs);
    let (proof, _) = case.honest();
    let ten =
        vec![Tensor::new(case.program.inputs[0].shape.clone(), vec![10, 5, 5, 9, 2]).unwrap()];
    outside[0].values = Some(Edges {
        inputs: &ten,
        outputs: &case.outputs[0],
    });
    assert!(matches!(
        case.verify(&outside, &proof),
        Err(Error::Values(_))
    ));
}

/// An input of another statement may be anything at all, since this verifier does not see it: its own statement stays
/// what it is.
#[test]
fn another_statement_out_of_range_changes_nothing_here() {
    let case = Case::new(network(6), 2);
    let input = |f: &Fill| matches!(f, Fill::Input(0));
    // Its slot is the second: the first slot is honest, and the whole is refused, because the lookups of the second fail.
    refused(case.forge_fill(input, |x| {
        let n = x.len();
        x[n - 1] = 1_000_000_000;
    }));
}

/// Whatever lies in the padding of a committed polynomial: it is no part of any tensor, so the statement that is shown
/// stays the true one, and no other can be shown with its help.
#[test]
fn tampered_padding() {
    let case = Case::new(network(5), 3);
    let used: Vec<bool> = {
        let mut used = vec![false; 1 << case.plan.witness.vars];
        hooks::start(None, None);
        // Where elements lie, is where the polynomial changes when all columns are set to one value.
        let mark = |value: i32| {
            let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
            let keep = seen.clone();
            hooks::start(
                None,
                Some(Box::new(move |p| *keep.borrow_mut() = p.to_vec())),
            );
            let _ = case.forge(&|_, honest| Some(vec![value; honest.len()]));
            hooks::finish();
            seen.take()
        };
        for (u, (a, b)) in used.iter_mut().zip(mark(1).into_iter().zip(mark(2))) {
            *u = a != b;
        }
        used
    };
    assert!(used.iter().any(|u| *u) && used.iter().any(|u| !*u));
    let garbage = move |p: &mut [crate::field::F]| {
        for (i, (v, &u)) in p.iter_mut().zip(&used).enumerate() {
            if !u {
                *v = crate::field::int(1 + i as i64 * 7919);
            }
        }
    };
    type Spoil = Box<dyn Fn(&mut [crate::field::F])>;
    let spoil = || -> Option<Spoil> { Some(Box::new(garbage.clone())) };
    // The true statement: a proof with garbage in the padding says nothing false, accepted or not.
    hooks::start(None, spoil());
    let honest = case.forge(&|_, _| None);
    hooks::finish();
    assert!(!matches!(
        honest,
        Err(Error::Unsupported(_) | Error::Values(_))
    ));
    // A false one is refused with it as without it.
    for (index, column) in case.plan.graph.columns.iter().enumerate() {
        if matches!(column.fill, Fill::Input(_)) {
            continue;
        }
        hooks::start(None, spoil());
        let result = case.forge(&|c, honest| {
            (c == index).then(|| {
                let mut v = honest.to_vec();
                v[0] += 1;
                v
            })
        });
        hooks::finish();
        refused(result);
    }
}

/// The committed input is not the one of the statement.
#[test]
fn another_input() {
    let case = Case::new(network(7), 1);
    let (_, _) = case.honest();
    refused(case.forge_fill(
        |f| matches!(f, Fill::Input(0)),
        |x| x[0] = if x[0] > 0 { x[0] - 1 } else { x[0] + 1 },
    ));
}

/// A gather gives what lies at the index: not the neighbour, not another row, not what the padding holds.
#[test]
fn a_gather_of_something_else() {
    let mut b = Builder::new(4);
    let x = b.input(&[3, 5], -90, 90);
    let index = b.constant(&[2], vec![4, 1]);
    let y = b.push(Op::Gather { axis: 1 }, &[x, index]);
    let (program, weights) = b.finish(&[y]);
    let data: Vec<i32> = (1..16).collect();
    let x = tensors(&program, &[&data]);
    let case = Case::on((program, weights), vec![x]);
    assert_eq!(case.outputs[0][0].data(), [5, 2, 10, 7, 15, 12]);
    let taken = |f: &Fill| matches!(f, Fill::Table { .. });
    case.forge(&|_, _| None).unwrap();
    for at in 0..6 {
        let honest = case.outputs[0][0].data()[at];
        for to in (0..17).filter(|&v| v != honest) {
            refused(case.forge_fill(taken, |y| y[at] = to));
        }
    }
    // Rows swapped as a whole are other rows, too.
    refused(case.forge_fill(taken, |y| y.swap(0, 2)));
    refused(case.forge_fill(taken, |y| y.swap(0, 1)));
    off_by_anything(&case, "gather");
    let mut b = Builder::new(4);
    let x = b.input(&[2], 0, 2);
    let words = b.random(&[3, 3], -90, 90);
    let y = b.push(Op::Gather { axis: 0 }, &[words, x]);
    off_by_anything(&Case::new(b.finish(&[y]), 2), "gather of words");
}

/// Multiplicities that pretend uses of other rows.
#[test]
fn a_gather_counted_otherwise() {
    let mut b = Builder::new(4);
    let x = b.input(&[3, 3], -90, 90);
    let index = b.constant(&[2], vec![2, 0]);
    let y = b.push(Op::Gather { axis: 1 }, &[x, index]);
    let case = Case::new(b.finish(&[y]), 1);
    let counts = |f: &Fill| matches!(f, Fill::Multiplicity(_));
    for at in 0..9 {
        refused(case.forge_fill(counts, |m| m[at] += 1));
        refused(case.forge_fill(counts, |m| m[at] -= 1));
    }
}

/// Of equal maxima the first: the last place, the middle one, and one that is no maximum, each with a quotient to match.
#[test]
fn another_place_of_the_maximum() {
    let (program, weights) = step(Op::ArgMax { axis: 0 }, &[5], -9, 9);
    let x = tensors(&program, &[&[3, 7, -2, 7, 7]]);
    let case = Case::on((program, weights), vec![x]);
    assert_eq!(case.outputs[0][0].data(), [1]);
    case.forge(&|_, _| None).unwrap();
    let columns = &case.plan.graph.columns;
    let mut tried = 0;
    for (index, column) in columns.iter().enumerate() {
        if !matches!(column.fill, Fill::Table { .. } | Fill::Shift { .. }) {
            continue;
        }
        // The tagged values are 8 x + 7 - i: by two or three less, another of the equal ones wins.
        for by in [-1, -2, -3, -8, 1, 2, 3, 8, 16] {
            let n: usize = column.dims.iter().product();
            for at in 0..n {
                refused(case.forge(&|c, honest| {
                    (c == index).then(|| {
                        let mut v = honest.to_vec();
                        v[at] += by;
                        v
                    })
                }));
                tried += 1;
            }
        }
    }
    assert!(tried > 50, "{tried}");
    for reach in [1, 100, 100_000] {
        let case = Case::new(step(Op::ArgMax { axis: 1 }, &[2, 3], -reach, reach), 1);
        off_by_anything(&case, "arg-max");
    }
}

/// The neighbours of a quotient, what wraps around in each of its products, and limbs that add up to another one.
#[test]
fn another_quotient() {
    let quotient = |bits, rounding, x: (i64, i64), d: (i64, i64)| {
        let mut b = Builder::new(5);
        let x = b.input(&[2], x.0, x.1);
        let d = b.input(&[2], d.0, d.1);
        let q = b.push(Op::Quotient { bits, rounding }, &[x, d]);
        Case::new(b.finish(&[q]), 1)
    };
    let mut limbs = 0;
    for rounding in [Rounding::Floor, Rounding::Nearest] {
        for (bits, x, d) in [
            (0, (-90, 90), (1, 9)),
            (2, (-400_000, 400_000), (3, 60)),
            (14, (-16_383, 16_383), (1, 16_383)),
            (14, (-16_383, 16_383), (13_813, 21_429)),
        ] {
            let case = quotient(bits, rounding, x, d);
            case.forge(&|_, _| None).unwrap();
            let columns = &case.plan.graph.columns;
            let quotient = |id: usize| {
                matches!(&case.plan.graph.nodes[id].kind, crate::graph::Kind::Column(c)
                    if matches!(columns[*c].fill, Fill::Quotient { .. }))
            };
            limbs += columns
                .iter()
                .filter(|c| matches!(c.fill, Fill::High { x, .. } if quotient(x)))
                .count();
            off_by_anything(&case, "quotient");
            // p is a multiple of no small divisor: what solves the identity modulo p is d^-1 times a shifted remainder.
            let run = &case.runs[0];
            let (honest, d) = (case.outputs[0][0].data(), run.inputs[1].data());
            for at in 0..2 {
                for by in -3..=3i64 {
                    let inverse = inverse(i64::from(d[at]));
                    let other = crate::field::signed(crate::field::int(
                        (i128::from(honest[at]) + i128::from(by) * i128::from(inverse))
                            .rem_euclid(i128::from(MODULUS)) as i64,
                    )) as i32;
                    if other == honest[at] {
                        continue;
                    }
                    refused(
                        case.forge_fill(|f| matches!(f, Fill::Quotient { .. }), |q| q[at] = other),
                    );
                }
            }
        }
    }
    // A quarter of the cases needs two products.
    assert_eq!(limbs, 2);
}

/// That hidden inputs lie in the Program's ranges is no part of a proof: nobody sees them. A commitment to others can be proven
/// about, but no opening of it is accepted.
#[test]
fn hidden_inputs_outside_their_ranges() {
    let op = Op::Linear {
        coefficients: vec![2],
        bias: 0,
    };
    let case = Case::new(step(op, &[3], -20, 20), 1);
    let forged = |_: usize, _: &[i32]| Some(vec![1000, -7, 20]);
    let values = case.values();
    let values = values.forge(&forged);
    let tensor = |data: &[i32]| Tensor::new(Shape::new(&[3]).unwrap(), data.to_vec()).unwrap();
    let (x, y) = ([tensor(&[1000, -7, 20])], [tensor(&[2000, -14, 40])]);
    let (edges, seed) = (
        Edges {
            inputs: &x,
            outputs: &y,
        },
        seeds(1).remove(0),
    );
    let root = io::root(&case.program.digest(), &[&x[0], &y[0]], &seed).unwrap();
    let instance = Instance {
        statement: root,
        values: Some(edges),
        io: Some(root),
    };
    case.mode.set(VALUES_HIDDEN);
    let proof = case.prove(&[instance], &values).unwrap();
    let seen = Instance {
        values: None,
        ..instance
    };
    assert_eq!(case.verify(&[seen], &proof), Ok(()));
    let opened = io::check(&case.program, &edges, &seed, &root);
    assert!(matches!(opened, Err(Error::Values(_))), "{opened:?}");
}

/// A proof about other values than those under the commitment, or about other random rows: it is refused for the leaves that
/// are shown, and for nothing else. In a small table the prover committed to the others with its pads; of a large one it
/// sends their fold.
#[test]
fn another_table_than_the_commitments() {
    let op = || Op::Linear {
        coefficients: vec![2],
        bias: 0,
    };
    for (count, columns) in [(3usize, 2), (1025, 4)] {
        let (program, weights) = step(op(), &[count], -20, 20);
        let honest: Vec<i32> = (0..count as i32).map(|i| i % 7).collect();
        let inputs = tensors(&program, &[&honest]);
        let case = Case::on((program, weights), vec![inputs]);
        case.mode.set(VALUES_HIDDEN);
        let table = crate::hide::table(&case.plan).unwrap();
        assert_eq!(table.columns, columns);
        let instances = case.instances(&case.outputs);
        let columns = 1usize << columns;
        // What the prover says of its input and its table.
        let verdict = |x: &[i32], rows: hooks::Spoil| {
            let forged = |_: usize, _: &[i32]| Some(x.to_vec());
            let values = case.values();
            hooks::spoil_rows(Some(rows));
            let proof = case.prove(&instances, &values.forge(&forged)).unwrap();
            hooks::spoil_rows(None);
            case.verify(&instances, &proof)
        };
        assert_eq!(verdict(&honest, Box::new(|_| {})), Ok(()));
        let refused = Err(Error::Check("the equations under the pads"));
        let mut other = honest.clone();
        other[1] += 1;
        let tensor = |data: &[i32]| Tensor::new(Shape::new(&[count]).unwrap(), data.to_vec());
        let doubled: Vec<i32> = other.iter().map(|v| 2 * v).collect();
        let (x, y) = (tensor(&other).unwrap(), tensor(&doubled).unwrap());
        let seed = seeds(1).remove(0);
        let others = io::Committed::new(&case.program.digest(), &[&x, &y], &seed).unwrap();
        let whole: hooks::Spoil = Box::new(move |rows| rows.copy_from_slice(&others.rows));
        assert_eq!(verdict(&other, whole), refused);
        for row in [256, 511] {
            let one: hooks::Spoil =
                Box::new(move |rows| rows[(row + 1) * columns - 1] += crate::field::int(1));
            assert_eq!(verdict(&honest, one), refused, "row {row}");
        }
        // Where no value lies.
        let padding: hooks::Spoil =
            Box::new(move |rows| rows[256 * columns - 1] += crate::field::int(1));
        assert_eq!(verdict(&honest, padding), refused);
    }
}

/// `1 / d` modulo p.
fn inverse(d: i64) -> i64 {
    let p = i128::from(MODULUS);
    let (mut power, mut base, mut exponent) = (1i128, i128::from(d), MODULUS as u64 - 2);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = power * base % p;
        }
        (base, exponent) = (base * base % p, exponent >> 1);
    }
    power as i64
}
