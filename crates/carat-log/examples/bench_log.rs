//! Prints one measurement as JSON: `cargo run --release -p carat-log --example
//! bench_log -- DIR [ENTRIES [LEAF_BYTES [THREADS [BATCH]]]]`. DIR must be
//! empty, and on the disk that is to be measured.
#![allow(clippy::print_stdout)] // printing is its purpose

use carat_log::bench::{BenchOptions, bench_appends};
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("give an empty directory")?);
    let mut number = |default: usize| args.next().map_or(Ok(default), |text| text.parse());
    let defaults = BenchOptions::default();
    let options = BenchOptions {
        entries: number(defaults.entries as usize)? as u64,
        leaf_bytes: number(defaults.leaf_bytes)?,
        threads: number(defaults.threads)?,
        batch: number(defaults.batch)?,
        ..defaults
    };
    println!(
        "{}",
        serde_json::to_string_pretty(&bench_appends(&dir, &options)?)?
    );
    Ok(())
}
