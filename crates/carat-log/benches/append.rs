//! Durable appends, and the proofs of a log of 100,000 entries.
#![allow(missing_docs)] // criterion's macros

use carat_log::bench::{BenchOptions, bench_appends};
use carat_log::{MemoryTree, leaf_hash};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;

fn appends(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    for (threads, batch) in [(1, 1), (4, 1), (4, 64)] {
        let entries = if batch == 1 { 500 } else { 20_000 };
        let options = BenchOptions {
            entries,
            threads,
            batch,
            ..BenchOptions::default()
        };
        group.throughput(Throughput::Elements(entries));
        group.bench_function(format!("{threads} threads, batches of {batch}"), |b| {
            b.iter_custom(|rounds| {
                (0..rounds)
                    .map(|_| {
                        let dir = tempfile::tempdir().expect("temporary directory");
                        let report = bench_appends(dir.path(), &options).expect("measures");
                        Duration::from_secs_f64(report.append_seconds)
                    })
                    .sum()
            });
        });
    }
    group.finish();
}

fn proofs(c: &mut Criterion) {
    let mut tree = MemoryTree::new();
    (0..100_000u64).for_each(|i| tree.push(leaf_hash(&i.to_be_bytes())));
    let root = tree.root(100_000).expect("in range");
    let proof = tree.prove_inclusion(77_777, 100_000).expect("in range");
    let leaf = leaf_hash(&77_777u64.to_be_bytes());
    c.bench_function("verify inclusion in 100,000", |b| {
        b.iter(|| proof.verify_root(leaf, root))
    });
}

criterion_group!(benches, appends, proofs);
criterion_main!(benches);
