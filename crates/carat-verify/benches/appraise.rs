//! How long an appraisal takes. The budget of a signature-only receipt is 200 microseconds; no test asserts a time.
#![allow(
    missing_docs,
    reason = "criterion's macros write undocumented functions"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;

use carat_verify::appraise_bytes;
use common::{ask, audited, everything, file, trust};
use criterion::{Criterion, criterion_group, criterion_main};

fn appraisals(c: &mut Criterion) {
    let trust = trust();
    let question = ask(&trust);
    let untrusted = carat_verify::Question {
        trust: None,
        ..question
    };
    let signature = file().encode();
    let replayed = audited(file()).encode();
    let everything = everything().encode();
    c.bench_function("signature only, no Trust file", |b| {
        b.iter(|| appraise_bytes(black_box(&signature), &untrusted))
    });
    c.bench_function("signature only, Trust file", |b| {
        b.iter(|| appraise_bytes(black_box(&signature), &question))
    });
    c.bench_function("signature and replay, Trust file", |b| {
        b.iter(|| appraise_bytes(black_box(&replayed), &question))
    });
    c.bench_function("everything and log, Trust file", |b| {
        b.iter(|| appraise_bytes(black_box(&everything), &question))
    });
}

criterion_group!(benches, appraisals);
criterion_main!(benches);
