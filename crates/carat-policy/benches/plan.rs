//! How long a plan takes. Bar: a median under 50 microseconds, where everything is supplied.

use carat_policy::consequence::Timing;
use carat_policy::environment::{Audits, Batch, Bond, Calibration, Enclave, Prover, Replicas};
use carat_policy::{Consequence, Detection, Environment, Micros, Price, plan};
use carat_receipt::{Currency, Label};
use criterion::{Criterion, criterion_group, criterion_main};

fn everything() -> Environment {
    let label = |text| Label::new(text).expect("a label");
    let measured = |cpu| Calibration {
        backend: label("cpu/bench"),
        mean_cpu_micros: cpu,
        p50_micros: cpu,
        p99_micros: 2 * cpu,
        count: 100,
        measured_at: 1,
    };
    let usd = Currency::new("USD").expect("a currency");
    Environment {
        execute: Some(measured(200_000)),
        audits: Some(Audits {
            independent: 3,
            fee: Price(1000),
            detection: Detection::PERFECT,
            window_secs: 3600,
        }),
        bond: Some(Bond {
            name: label("bond-1"),
            allocated: Micros(1_000_000_000),
            withheld: Micros(1_000_000),
            open: Micros(5_000_000),
            clawback: true,
            joint_forfeiture: true,
        }),
        replicas: Some(Replicas {
            available: 16,
            fee: Price(1000),
            corrupt: "0.2".parse().expect("a fraction"),
            shared_fault: "0.000001".parse().expect("a fraction"),
            round_trip_micros: 50_000,
        }),
        prover: Some(Prover {
            prove: Some(measured(5_000_000)),
            cap: None,
            deferred_secs: Some(3600),
            batch: Some(Batch {
                size: 16,
                window_micros: 1_000_000,
                prove: measured(20_000_000),
            }),
        }),
        enclave: Some(Enclave {
            vendor: label("amd"),
            break_cost: Micros(1_000_000_000),
            simulated: false,
            attest: Some(measured(500)),
        }),
        ..Environment::bare(usd, Price(13_000_000), 1)
    }
}

fn plans(c: &mut Criterion) {
    let environment = everything();
    for (name, value, timing) in [
        ("fraud score, 5, before settlement", 5, Timing::BeforeSettle),
        ("loan step, 400, after use", 400, Timing::AfterUse),
        ("liquidation, 50000, before use", 50_000, Timing::BeforeUse),
    ] {
        let mut consequence =
            Consequence::new(environment.currency, Micros(value * 1_000_000), timing);
        consequence.epsilon = Micros(100_000);
        consequence.irreversible = timing == Timing::BeforeUse;
        c.bench_function(name, |b| {
            b.iter(|| plan(std::hint::black_box(&consequence), &environment))
        });
    }
}

criterion_group!(benches, plans);
criterion_main!(benches);
