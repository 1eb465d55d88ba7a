//! The fuzz targets' checks (`fuzz/checks`) on a stable compiler, without libFuzzer: over their corpora, and over inputs that a
//! seeded mutator makes of them. `CARAT_FUZZ_RUNS` says how many of those each target gets.
//!
//! It does not see which code an input reaches; `docs/tee-attacks.md` tells how to run the targets under libFuzzer.

use std::fs;
use std::path::Path;
use std::thread;

#[path = "../../../fuzz/checks/tee_azure.rs"]
mod tee_azure;
#[path = "../../../fuzz/checks/tee_gcp.rs"]
mod tee_gcp;
#[path = "../../../fuzz/checks/tee_input.rs"]
mod tee_input;
#[path = "../../../fuzz/checks/tee_intel.rs"]
mod tee_intel;
#[path = "../../../fuzz/checks/tee_nitro.rs"]
mod tee_nitro;
#[path = "../../../fuzz/checks/tee_nvidia.rs"]
mod tee_nvidia;
#[path = "../../../fuzz/checks/tee_package.rs"]
mod tee_package;
#[path = "../../../fuzz/checks/tee_policy.rs"]
mod tee_policy;
#[path = "../../../fuzz/checks/tee_snp.rs"]
mod tee_snp;
#[path = "../../../fuzz/checks/tee_x509.rs"]
mod tee_x509;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 10] = [
    ("tee_azure", tee_azure::check),
    ("tee_gcp", tee_gcp::check),
    ("tee_input", tee_input::check),
    ("tee_intel", tee_intel::check),
    ("tee_nitro", tee_nitro::check),
    ("tee_nvidia", tee_nvidia::check),
    ("tee_package", tee_package::check),
    ("tee_policy", tee_policy::check),
    ("tee_snp", tee_snp::check),
    ("tee_x509", tee_x509::check),
];

/// Inputs for each target where `CARAT_FUZZ_RUNS` does not say otherwise.
const RUNS: u64 = 2_000;
/// Mutated inputs grow no larger.
const MAX_BYTES: usize = 64 * 1024;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): the same inputs in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not zero.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A range of at most `most` bytes inside `len`.
    fn range(&mut self, len: usize, most: usize) -> core::ops::Range<usize> {
        let start = self.below(len + 1);
        let end = (start + 1 + self.below(most)).min(len);
        start..end
    }
}

/// Bytes that parsers stumble over: ends of ranges, signs, heads of DER, CBOR and JSON.
const INTERESTING: [u8; 24] = [
    0x00, 0x01, 0x02, 0x10, 0x1f, 0x20, 0x22, 0x2c, 0x2e, 0x30, 0x5b, 0x5f, 0x7b, 0x7f, 0x80, 0x81,
    0x82, 0x84, 0x9f, 0xa0, 0xbf, 0xd8, 0xfe, 0xff,
];

fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut data = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let len = data.len();
        match random.below(10) {
            0..=2 if len > 0 => data[random.below(len)] ^= 1 << random.below(8),
            3 if len > 0 => data[random.below(len)] = INTERESTING[random.below(INTERESTING.len())],
            4 => {
                let range = random.range(len, 64);
                data.drain(range);
            }
            5 => {
                let part = data[random.range(len, 256)].to_vec();
                let at = random.below(len + 1);
                data.splice(at..at, part);
            }
            6 => data.truncate(random.below(len + 1)),
            // A number of two, three or four bytes, small or huge: most are lengths.
            7 if len >= 4 => {
                let at = random.below(len - 3);
                let huge = random.next() as u32;
                let value = if random.below(2) == 0 {
                    huge
                } else {
                    huge >> 22
                };
                let bytes = if random.below(2) == 0 {
                    value.to_le_bytes()
                } else {
                    value.to_be_bytes()
                };
                let width = 2 + random.below(3);
                data[at..at + width].copy_from_slice(&bytes[..width]);
            }
            // The start of one and the end of another.
            8 => {
                let other = &seeds[random.below(seeds.len())];
                let (at, from) = (random.below(len + 1), random.below(other.len() + 1));
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
            _ => {
                let at = random.below(len + 1);
                let fresh = (0..=random.below(8)).map(|_| random.next() as u8);
                let fresh: Vec<u8> = fresh.collect();
                data.splice(at..at, fresh);
            }
        }
        data.truncate(MAX_BYTES);
    }
    data
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    // The order in which a directory is read is nobody's promise.
    files.sort();
    files
        .iter()
        .map(|file| fs::read(file).expect("a seed"))
        .collect()
}

/// Where a check panics, the input is in the message: hexadecimal, to become a seed.
fn hunt((name, check): Target, runs: u64, seed: u64) {
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "{name} has no corpus");
    for data in &seeds {
        check(data);
    }
    let mut random = Random(seed);
    for _ in 0..runs {
        let data = mutate(&mut random, &seeds);
        if std::panic::catch_unwind(|| check(&data)).is_err() {
            let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("{name} does not hold for {hex}");
        }
    }
}

#[test]
fn row_27_mutated_inputs() {
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    };
    let (runs, seed) = (
        number("CARAT_FUZZ_RUNS", RUNS),
        number("CARAT_FUZZ_SEED", 1),
    );
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for worker in 0..workers {
            scope.spawn(move || {
                for target in TARGETS.iter().skip(worker).step_by(workers) {
                    hunt(*target, runs, seed);
                }
            });
        }
    });
}
