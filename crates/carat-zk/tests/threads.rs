//! A proof is the same on any number of threads, also beside others, and one that is stopped leaves nothing behind.

mod support;

use carat_program::{Contraction, Op, Program, Weights};
use carat_receipt::Salt;
use carat_zk::{
    Error, Hidden, Instance, Mode, Observer, Options, Phase, ProvingKey, Values, io, on_pool, prove,
};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use support::{
    PROFILE,
    programs::{Builder, Rng, inputs},
    run,
};

/// Layers whose constants fill rows, so that their sums are begun ahead.
fn network() -> (Program, Weights) {
    let mut b = Builder::new(31);
    let mut x = b.input(&[3, 48], -100, 90);
    for (columns, rows) in [(48, 96), (96, 96), (96, 20)] {
        let w = b.random(&[columns, rows], -60, 60);
        let spec = Contraction {
            a: "ij".into(),
            b: "jk".into(),
            out: "ik".into(),
        };
        let y = b.push(Op::Contract { spec, l1: None }, &[x, w]);
        let y = b.push(Op::Shift { bits: 12 }, &[y]);
        x = b.push(Op::Clamp { lo: 0, hi: 90 }, &[y]);
    }
    b.finish(&[x])
}

/// Stops a proof when a phase begins.
struct Until(Phase, AtomicBool);

impl Observer for Until {
    fn begin(&self, phase: Phase) {
        self.1.fetch_or(phase == self.0, Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.1.load(Relaxed)
    }
}

#[test]
fn a_proof_that_is_stopped_leaves_the_threads_to_others() {
    let (program, weights) = network();
    let key = ProvingKey::new(&program, &weights, PROFILE).unwrap();
    let x = inputs(&program, &mut Rng(6));
    let (run, y) = run(&program, &weights, &x);
    let salt = Salt::from_bytes([7; 32]);
    let seeds = [io::Seed::from_salts(&salt, &salt)];
    let values = Values {
        inputs: &x,
        outputs: &y,
    };
    let hidden = Mode::Zk(Hidden {
        values: true,
        weights: false,
    });
    let make = |mode: Mode, observer: Option<&dyn Observer>| {
        let options = Options {
            observer,
            mode,
            seeds: &seeds,
            ..Options::default()
        };
        let mut instance = Instance::of_values(&x, &y);
        if mode == hidden {
            instance.io = Some(io::commit(&program, &values, &seeds[0]).unwrap());
        }
        let run = std::slice::from_ref(&run);
        prove(&program, &weights, &key, &[instance], run, &options)
    };
    let expected = make(Mode::Succinct, None).unwrap();
    for threads in 1..=3 {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        for (phase, mode) in Phase::ALL
            .into_iter()
            .flat_map(|p| [(p, Mode::Succinct), (p, hidden)])
        {
            let until = Until(phase, AtomicBool::new(false));
            let stopped = pool.install(|| make(mode, Some(&until)));
            assert!(
                matches!(stopped, Err(Error::Cancelled)),
                "{phase:?}: {stopped:?}"
            );
            let next = pool.install(|| make(Mode::Succinct, None));
            assert_eq!(next.unwrap(), expected);
        }
        assert!(pool.install(|| make(hidden, None)).is_ok());
    }
}

#[test]
fn the_same_bytes_on_any_number_of_threads() {
    let (program, weights) = network();
    let key = ProvingKey::new(&program, &weights, PROFILE).unwrap();
    let mut rng = Rng(5);
    let (runs, values): (Vec<_>, Vec<_>) = (0..4)
        .map(|_| {
            let x = inputs(&program, &mut rng);
            let (run, y) = run(&program, &weights, &x);
            (run, (x, y))
        })
        .unzip();
    let instances: Vec<Instance<'_>> = values
        .iter()
        .map(|(x, y)| Instance::of_values(x, y))
        .collect();
    let make = || {
        let options = Options::default();
        prove(&program, &weights, &key, &instances, &runs, &options).unwrap()
    };
    let expected = make();
    for threads in 1..=5 {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        for _ in 0..8 {
            assert_eq!(pool.install(make), expected, "{threads} threads");
        }
        // Several at once, some of them within others' threads.
        pool.in_place_scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|_| assert_eq!(make(), expected, "one of several"));
                scope.spawn(|_| assert_eq!(on_pool(make), expected, "one of several"));
            }
        });
        // From threads that are not the pool's.
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(make(), expected, "from elsewhere"));
            }
        });
    }
}
