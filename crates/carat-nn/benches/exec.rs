//! Kernels on synthetic shapes. Run with `cargo bench -p carat-nn --bench exec`.

#[path = "../tests/exec_support/mod.rs"]
mod exec_support;

use carat_nn::exec::{Executable, Options, Simd};
use carat_program::{Contraction, ConvGeometry, Op, Program, Weights, Window};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use exec_support::{Builder, Rng, Value, inputs};

fn requantise(b: &mut Builder, v: Value) -> Value {
    let v = b.push(Op::Shift { bits: 10 }, &[v]);
    b.push(Op::Clamp { lo: -127, hi: 127 }, &[v])
}

/// `x [1, 1024] * w [1024, 1024]`, then shift and clamp.
fn dense() -> (Program, Weights) {
    let mut b = Builder::new(1);
    let x = b.input(&[1, 1024], -127, 127);
    let w = b.random(&[1024, 1024], -127, 127);
    let spec = Contraction {
        a: vec![0, 1],
        b: vec![1, 2],
        out: vec![0, 2],
    };
    let v = b.push(Op::Contract { spec, l1: None }, &[x, w]);
    let v = requantise(&mut b, v);
    b.finish(&[v])
}

/// 3x3 convolution of `[1, channels, 32, 32]` to 64 channels, then shift and clamp.
fn conv(channels: usize, groups: u32) -> (Program, Weights) {
    let mut b = Builder::new(1);
    let x = b.input(&[1, channels, 32, 32], -127, 127);
    let w = b.random(&[64, channels / groups as usize, 3, 3], -127, 127);
    let (one, two) = (vec![1, 1], vec![3, 3]);
    let window = Window {
        kernel: two,
        stride: one.clone(),
        dilation: one.clone(),
        before: one.clone(),
        after: one,
    };
    let v = b.push(
        Op::Conv {
            geometry: ConvGeometry { window, groups },
            l1: None,
        },
        &[x, w],
    );
    let v = requantise(&mut b, v);
    b.finish(&[v])
}

fn kernels(c: &mut Criterion) {
    let cases = [
        ("dense-1024x1024", dense(), 1024 * 1024),
        ("conv3x3-3x32x32-64", conv(3, 1), 64 * 3 * 9 * 1024),
        ("conv3x3-64x32x32-64", conv(64, 1), 64 * 64 * 9 * 1024),
        ("depthwise3x3-64x32x32", conv(64, 64), 64 * 9 * 1024),
    ];
    for (name, (program, weights), multiply_adds) in cases {
        for batch in [1usize, 64] {
            let mut group = c.benchmark_group(format!("{name}/batch-{batch}"));
            group
                .throughput(Throughput::Elements((multiply_adds * batch) as u64))
                .sample_size(20);
            for (simd, threads) in [
                (Simd::Scalar, 1),
                (Simd::Avx2, 1),
                (Simd::Avx512, 1),
                (Simd::Auto, 1),
                (Simd::Auto, 0),
            ] {
                let options = Options {
                    threads,
                    simd,
                    ..Options::default()
                };
                // What this processor lacks is left out.
                let Ok(executable) = Executable::new(&program, &weights, options) else {
                    continue;
                };
                let mut rng = Rng(9);
                let x: Vec<i32> = (0..batch)
                    .flat_map(|_| inputs(&program, &mut rng)[0].data().to_vec())
                    .collect();
                let label = format!(
                    "{simd:?}-{}-{}threads",
                    executable.instructions(),
                    executable.threads()
                );
                group.bench_function(label, |b| {
                    b.iter(|| executable.run_stacked(batch, &[&x]).unwrap())
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
