//! Costs of the polynomial commitment: `cargo bench -p carat-zk --bench pcs [-- SIZE...]`.
//!
//! One line of JSON per profile, use, size and number of threads. Each runs in a process of its own, so that peak memory
//! is its own. `*_cpu_ms` is processor time of the whole process, `*_ms` elapsed time; medians.
#![allow(clippy::print_stdout)] // its output is its purpose

use carat_zk::{
    field::F,
    pcs::{Profile, Use, Whir},
    transcript::{Sink, Source, Transcript},
};
use p3_field::PrimeCharacteristicRing;
use rustix::time::{ClockId, clock_gettime};
use std::{
    process::Command,
    time::{Duration, Instant},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 7] = [12, 14, 16, 18, 20, 22, 24];

/// Elapsed and processor time.
fn timed<T>(work: impl FnOnce() -> T) -> (T, [f64; 2]) {
    let processor = || {
        let t = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
    };
    let (start, cpu) = (Instant::now(), processor());
    let result = work();
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    (result, [ms(start.elapsed()), ms(processor() - cpu)])
}

fn median(runs: &[[f64; 2]], of: usize) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(|r| r[of]).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM"));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

fn measure(profile: Profile, n: usize, purpose: Use) {
    let scheme = Whir::new(profile, n, purpose).expect("a supported size");
    let values: Vec<F> = (0..1_u64 << n)
        .map(F::from_u64)
        .map(|i| i * i * i + i * F::from_u8(5) + F::ONE)
        .collect();
    let runs = match n {
        0..=14 => 21,
        15..=18 => 9,
        19..=22 => 5,
        _ => 3,
    };
    let (mut commits, mut opens, mut verifies) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for run in 0..runs {
        let committed = values.clone();
        let ((root, data), time) = timed(|| scheme.commit(committed).expect("a commitment"));
        commits.push(time);
        let start = || {
            let mut transcript = Transcript::new("bench");
            transcript.bytes("run", &[run]);
            transcript.bytes("root", &root.0);
            transcript
        };
        let mut sink = Sink::new(start());
        let point = sink.transcript.point(n);
        let (value, time) = timed(|| scheme.open(&data, &point, &mut sink).expect("an opening"));
        opens.push(time);
        let proof = sink.finish();
        bytes = proof.len();
        let mut source = Source::new(start(), &proof);
        let point = source.transcript.point(n);
        let (verdict, time) = timed(|| scheme.verify(&root, &point, value, &mut source));
        verdict.expect("an opening that verifies");
        verifies.push(time);
    }
    println!(
        "{{\"profile\":\"{}\",\"use\":\"{}\",\"n\":{n},\"threads\":{},\"commit_cpu_ms\":{:.3},\"open_cpu_ms\":{:.3},\"verify_cpu_ms\":{:.3},\"commit_ms\":{:.3},\"open_ms\":{:.3},\"verify_ms\":{:.3},\"commit_first_cpu_ms\":{:.3},\"bytes\":{bytes},\"peak_mib\":{},\"bits\":{:.1}}}",
        profile.name(),
        purpose.name(),
        rayon::current_num_threads(),
        median(&commits, 1),
        median(&opens, 1),
        median(&verifies, 1),
        median(&commits, 0),
        median(&opens, 0),
        median(&verifies, 0),
        commits[0][1],
        peak_mib(),
        scheme.security().bits().min(999.0),
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    if let Some(["--one", n, purpose, profile]) = arguments
        .first_chunk::<4>()
        .map(|a| a.each_ref().map(String::as_str))
        .as_ref()
        .map(<[&str; 4]>::as_slice)
    {
        let purpose = Use::ALL.into_iter().find(|u| u.name() == *purpose);
        let profile = Profile::named(profile);
        if let (Some(purpose), Some(profile), Ok(n)) = (purpose, profile, n.parse()) {
            measure(profile, n, purpose);
        }
        return;
    }
    let asked: Vec<usize> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    let sizes = if asked.is_empty() {
        SIZES.to_vec()
    } else {
        asked
    };
    let this = std::env::current_exe().expect("this program");
    for profile in Profile::ALL {
        for purpose in Use::ALL {
            for &n in &sizes {
                for threads in ["1", "2"] {
                    let status = Command::new(&this)
                        .args(["--one", &n.to_string(), purpose.name(), profile.name()])
                        .env("RAYON_NUM_THREADS", threads)
                        .status()
                        .expect("this program, again");
                    assert!(status.success());
                }
            }
        }
    }
}
