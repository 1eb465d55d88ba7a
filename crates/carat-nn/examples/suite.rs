//! Runs the ONNX backend node tests: `cargo run --example suite DIR`.
#![allow(clippy::print_stdout, reason = "a program for people")]
fn main() -> std::io::Result<()> {
    std::panic::set_hook(Box::new(|_| {}));
    let dir = std::env::args().nth(1).unwrap_or_default();
    let r = carat_nn::conformance::run_suite(dir.as_ref(), |_, _| {})?;
    for t in &r.tests {
        println!("{} {} {:?}", t.name, t.operator, t.outcome);
    }
    println!("pass {} refused {} fail {}", r.pass, r.refused, r.fail);
    Ok(())
}
