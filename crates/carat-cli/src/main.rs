//! carat
fn main() {}
