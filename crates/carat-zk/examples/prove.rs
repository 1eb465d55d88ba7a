//! Proves one run of a compiled model on random inputs and prints times: `prove FILE.carat-model [statements [times]]`.
//! For measurements that are reported, use `carat bench prove`.
#![allow(clippy::print_stdout)]

use carat_nn::exec::{Executable, Options};
use carat_program::{ModelFile, Tensor};
use carat_zk::{
    Instance, Ledger, Mode, Observer, Options as ProveOptions, Phase, Profile, ProvingKey, Run,
    prove, verify,
};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Keeps memory that is freed: page faults would cost more than the arithmetic.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Processor time of this process.
fn cpu() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(t.tv_sec.unsigned_abs(), t.tv_nsec as u32)
}

/// What the system says of this process's memory, in MiB: held now, and at most so far.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mebi = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kibi = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibi.map_or("?".into(), |kibi| (kibi / 1024).to_string())
    };
    format!("memory {} MiB, at most {}", mebi("VmRSS:"), mebi("VmHWM:"))
}

/// When each phase began: time on the clock, and processor time of all threads.
struct Clock(Mutex<Vec<(Phase, Instant, Duration)>>);

impl Observer for Clock {
    fn begin(&self, phase: Phase) {
        self.0
            .lock()
            .expect("one thread at a time")
            .push((phase, Instant::now(), cpu()));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("which model?")?;
    let count: usize = std::env::args().nth(2).map_or(Ok(1), |s| s.parse())?;
    let times: usize = std::env::args().nth(3).map_or(Ok(5), |s| s.parse())?;
    let model = ModelFile::decode(&std::fs::read(path)?)?;
    let program = &model.program;
    let mut state = 1u64;
    let mut random = move |lo: i64, hi: i64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (lo + ((state >> 33) as i64) % (hi - lo + 1)) as i32
    };
    println!("read; {}", memory());
    let executable = Executable::new(program, &model.weights, Options::default())?;
    let mut runs = Vec::new();
    let mut edges = Vec::new();
    for _ in 0..count {
        let inputs: Vec<Tensor> = program
            .inputs
            .iter()
            .map(|x| {
                let data = (0..x.shape.elements())
                    .map(|_| random(x.range.lo, x.range.hi))
                    .collect();
                Tensor::new(x.shape.clone(), data)
            })
            .collect::<Result<_, _>>()?;
        let trace = executable.trace(&inputs)?;
        edges.push((trace.inputs.clone(), trace.outputs.clone()));
        runs.push(Run {
            inputs: trace.inputs,
            nodes: trace.nodes,
        });
    }
    println!("{:?}; {}", carat_zk::sizes(program, count)?, memory());
    let start = Instant::now();
    let key = ProvingKey::new(program, &model.weights, Profile::Proven100)?;
    println!("setup  {:?}; {}", start.elapsed(), memory());
    let instances: Vec<Instance<'_>> = edges
        .iter()
        .map(|(x, y)| Instance::of_values(x, y))
        .collect();
    for mode in (0..times).flat_map(|_| [Mode::Succinct, Mode::Zk(carat_zk::Hidden::default())]) {
        let clock = Clock(Mutex::new(Vec::new()));
        let start = Instant::now();
        let proof = prove(
            program,
            &model.weights,
            &key,
            &instances,
            &runs,
            &ProveOptions {
                observer: Some(&clock),
                mode,
                ..ProveOptions::default()
            },
        )?;
        let proving = start.elapsed();
        let end = cpu();
        let verifying = Instant::now();
        verify(
            program,
            key.key(),
            Profile::Proven100,
            mode,
            &instances,
            &proof,
        )?;
        println!(
            "{}: prove {proving:?}  verify {:?}  {} bytes; {}",
            mode.name(),
            verifying.elapsed(),
            proof.bytes.len(),
            memory(),
        );
        let mut marks = clock.0.into_inner()?;
        marks.push((Phase::Witness, start + proving, end));
        for w in marks.windows(2) {
            print!(
                "  {} {:.1?} ({:.1?})",
                w[0].0.name(),
                w[1].1 - w[0].1,
                w[1].2 - w[0].2
            );
        }
        println!("  (and processor time of all threads)");
    }
    println!(
        "{:.1} bits",
        Ledger::new(program, Profile::Proven100, Mode::Succinct, count)?.bits
    );
    Ok(())
}
