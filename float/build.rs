//! The worker's bits depend on what it is compiled for, so it is compiled for x86-64-v3 only.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MMTEST_FEATURE");
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let has = |name: &str| features.split(',').any(|feature| feature == name);
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let needed = ["avx2", "fma", "f16c", "bmi1", "bmi2", "lzcnt", "movbe"];
    if arch != "x86_64" || !needed.iter().all(|name| has(name)) || has("avx512f") {
        println!(
            "cargo::error=this program is built for x86-64-v3: run cargo in the folder float, whose .cargo/config.toml says so, or set RUSTFLAGS=\"-C target-cpu=x86-64-v3\""
        );
    }
    if std::env::var("MMTEST_FEATURE").as_deref() != Ok("fma,avx2") {
        println!(
            "cargo::error=MMTEST_FEATURE must be \"fma,avx2\": run cargo in the folder float, whose .cargo/config.toml sets it"
        );
    }
}
