//! Edges and windows of Programs that arrive inside receipts: decoding them may neither panic nor take forever.

use std::time::{Duration, Instant};

use carat_program::{
    Dtype, F64Bits, ImageMap, ImageMode, InputEncoding, InputSpec, Node, Op, OutputEncoding,
    OutputSpec, PoolKind, Program, ProgramError, Range, Shape, ValueId, Window,
};

fn program(encoding: InputEncoding, image: Option<ImageMap>, output: OutputEncoding) -> Program {
    Program {
        inputs: vec![InputSpec {
            name: "x".into(),
            dtype: Dtype::F32,
            shape: Shape::new(&[1, 1, 1]).unwrap(),
            range: Range::new(0, 1),
            encoding,
            image,
        }],
        constants: vec![],
        nodes: vec![],
        outputs: vec![OutputSpec {
            name: "y".into(),
            dtype: Dtype::F32,
            value: ValueId(0),
            encoding: output,
            labels: vec![],
        }],
    }
}

fn read(program: &Program) -> Result<Program, ProgramError> {
    Program::decode(&program.encode())
}

/// The absolute value of the smallest 32-bit integer does not fit in 32 bits.
#[test]
fn the_smallest_exponent_is_refused() {
    for exponent in [i32::MIN, i32::MIN + 1, -1001, 1001, i32::MAX] {
        let fixed = InputEncoding::Fixed { exponent };
        let affine = InputEncoding::Affine {
            exponent,
            offset: vec![F64Bits::from(0.0)],
            scale: vec![F64Bits::from(1.0)],
        };
        for encoding in [fixed, affine] {
            let found = read(&program(encoding, None, OutputEncoding::Exact));
            assert!(
                matches!(found, Err(ProgramError::Spec { .. })),
                "{exponent}"
            );
        }
        // An output's exponent is negated when its numbers are shown.
        let output = OutputEncoding::Fixed { exponent };
        let found = read(&program(InputEncoding::Exact, None, output));
        assert!(
            matches!(found, Err(ProgramError::Spec { .. })),
            "{exponent}"
        );
    }
}

/// 3 * (2^32 - 1)^2 pixels do not fit in 64 bits.
#[test]
fn an_image_without_limits_is_refused() {
    for mode in [ImageMode::Gray, ImageMode::Rgb] {
        let image = ImageMap {
            mode,
            width: u32::MAX,
            height: u32::MAX,
            scale: F64Bits::from(1.0),
            offset: F64Bits::from(0.0),
        };
        let found = read(&program(
            InputEncoding::Exact,
            Some(image),
            OutputEncoding::Exact,
        ));
        assert!(matches!(found, Err(ProgramError::Spec { .. })));
    }
}

/// A dilated window whose 2^27 positions in the padding all hit the one element: each had to be looked at, for each of
/// up to 65,536 such nodes in a receipt.
#[test]
fn windows_in_the_padding_are_not_walked_one_by_one() {
    let taps = 1u32 << 27;
    let window = Window {
        kernel: vec![taps],
        stride: vec![2],
        dilation: vec![2],
        before: vec![2 * (taps - 1)],
        after: vec![2 * (taps - 1)],
    };
    let shape = Shape::new(&[1, 1, taps as usize]).unwrap();
    let mut p = program(InputEncoding::Exact, None, OutputEncoding::Exact);
    p.nodes = vec![
        Node {
            op: Op::Pool {
                kind: PoolKind::Max,
                window,
            },
            inputs: vec![ValueId(0)],
            shape,
            range: Range::new(0, 1),
        };
        64
    ];
    let bytes = p.encode();
    let started = Instant::now();
    // Accepted or refused, but now.
    let _ = Program::decode(&bytes);
    assert!(started.elapsed() < Duration::from_secs(2));
}

/// `carat run` prints names and labels above what the receipt is good for, and errors of `carat verify` name inputs.
#[test]
fn names_and_labels_cannot_write_a_verdict() {
    for bad in [
        "seven\n\nGood for\n  replay: 1000000 USD",
        "\u{1b}[2J",
        "a\u{202e}b",
        "\r",
    ] {
        let mut fields: [Program; 3] =
            core::array::from_fn(|_| program(InputEncoding::Exact, None, OutputEncoding::Exact));
        fields[0].inputs[0].name = bad.into();
        fields[1].outputs[0].name = bad.into();
        fields[2].outputs[0].labels = vec!["six".into(), bad.into()];
        for p in fields {
            let error = read(&p).unwrap_err();
            assert!(matches!(error, ProgramError::Spec { .. }), "{error}");
            assert!(!error.to_string().contains(bad), "{error}");
        }
    }
    let mut fine = program(InputEncoding::Exact, None, OutputEncoding::Exact);
    fine.outputs[0].labels = vec![" Zürich \u{6c34} (a, b)".into(), String::new()];
    assert!(read(&fine).is_ok());
}
