//! Programs whose bounds or windows only look harmless.

use carat_program::{
    Op, PoolKind, Program, ProgramError, Range, Shape, ValueId, ValueInfo, Window,
};

fn derive(op: &Op, operands: &[(&Shape, Range)]) -> Result<(Shape, Range), ProgramError> {
    let infos: Vec<_> = operands
        .iter()
        .enumerate()
        .map(|(i, (shape, range))| ValueInfo {
            id: ValueId(i as u32),
            shape,
            range: *range,
            constant: false,
        })
        .collect();
    Program::derive(0, op, &infos)
}

/// 4 * (2^63 - 1) - (2^63 - 1) is far out of range; saturated one by one, the two terms would cancel.
#[test]
fn saturated_terms_do_not_cancel() {
    let shape = Shape::new(&[2]).unwrap();
    let op = Op::Linear {
        coefficients: vec![i64::MAX, -i64::MAX],
        bias: 0,
    };
    let found = derive(
        &op,
        &[(&shape, Range::new(4, 4)), (&shape, Range::new(1, 1))],
    );
    assert!(
        matches!(
            found,
            Err(ProgramError::Overflow {
                bound: i64::MAX,
                ..
            })
        ),
        "{found:?}"
    );
    // Honest cancellation of large terms is allowed: only the result has to fit.
    let found = derive(
        &op,
        &[(&shape, Range::new(4, 4)), (&shape, Range::new(4, 4))],
    );
    assert_eq!(found, Ok((shape, Range::new(0, 0))));
}

fn pool(n: usize, kind: PoolKind, window: [u32; 5]) -> Result<(Shape, Range), ProgramError> {
    let [kernel, stride, dilation, before, after] = window.map(|v| vec![v]);
    let op = Op::Pool {
        kind,
        window: Window {
            kernel,
            stride,
            dilation,
            before,
            after,
        },
    };
    derive(
        &op,
        &[(&Shape::new(&[1, 1, n]).unwrap(), Range::new(-1, 1))],
    )
}

/// Two taps three apart, over one element with padding: some windows step over it.
#[test]
fn a_maximum_over_nothing_is_refused() {
    assert!(matches!(
        pool(1, PoolKind::Max, [2, 1, 3, 2, 1]),
        Err(ProgramError::Operand { .. })
    ));
    // The sum of nothing is zero.
    assert!(pool(1, PoolKind::Sum, [2, 1, 3, 2, 1]).is_ok());
    // Taps at -3 and 0: every window holds the element.
    assert!(pool(1, PoolKind::Max, [2, 1, 3, 3, 0]).is_ok());
    // Brute force over small windows.
    for n in 1..4u32 {
        for (k, s, d) in
            (1..4).flat_map(|k| (1..4).flat_map(move |s| (1..4).map(move |d| (k, s, d))))
        {
            let extent = d * (k - 1) + 1;
            for (before, after) in (0..extent).flat_map(|b| (0..extent).map(move |a| (b, a))) {
                let Some(room) = (n + before + after).checked_sub(extent) else {
                    continue;
                };
                let holds =
                    |p: u32| (0..k).any(|t| (before..before + n).contains(&(p * s + t * d)));
                let expected = (0..=room / s).all(holds);
                let found = pool(n as usize, PoolKind::Max, [k, s, d, before, after]);
                assert_eq!(found.is_ok(), expected, "{n} {k} {s} {d} {before} {after}");
            }
        }
    }
}

/// Three axes of 2^32 - 1 taps each would overflow the product of the kernel's lengths.
#[test]
fn a_kernel_without_limits_is_refused() {
    let huge = vec![u32::MAX; 3];
    let one = vec![1; 3];
    let window = Window {
        kernel: huge,
        stride: one.clone(),
        dilation: one,
        before: vec![u32::MAX - 1; 3],
        after: vec![0; 3],
    };
    let shape = Shape::new(&[1, 1, 1, 1, 1]).unwrap();
    let found = derive(
        &Op::Pool {
            kind: PoolKind::Sum,
            window,
        },
        &[(&shape, Range::new(0, 1))],
    );
    assert!(
        matches!(found, Err(ProgramError::Operand { .. })),
        "{found:?}"
    );
}
