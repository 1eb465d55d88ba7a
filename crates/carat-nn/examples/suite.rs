//! Runs the ONNX backend node tests without the command line: `cargo run --release --example suite DIR > report.json`.
#![allow(clippy::print_stdout, reason = "a program for people")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    std::panic::set_hook(Box::new(|_| {}));
    let dir = std::env::args()
        .nth(1)
        .ok_or("give the folder that holds the test folders")?;
    let report = carat_nn::conformance::run_suite(dir.as_ref(), |_, _| {})?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
