fn main() {
    let dir = std::env::args().nth(1).expect("dir");
    let launch =
        carat_float::Launch::find("tract", carat_float::Bounds::default()).expect("worker");
    let t = std::time::Instant::now();
    let found = carat_float::conformance::run(std::path::Path::new(&dir), &launch, |_, _| {})
        .expect("suite");
    for test in &found.suite.tests {
        println!("{} | {} | {:?}", test.name, test.operator, test.outcome);
    }
    println!(
        "{} pass {} refused {} fail, {} bound, {} replaced, {:?}",
        found.suite.pass,
        found.suite.refused,
        found.suite.fail,
        found.bound,
        found.replaced,
        t.elapsed()
    );
}
