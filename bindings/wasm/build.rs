//! How the module is linked.

fn main() {
    // Room for deep recursion, and an end to what a hostile file can make it take.
    println!("cargo::rustc-link-arg-cdylib=-zstack-size=4194304");
    println!("cargo::rustc-link-arg-cdylib=--max-memory=1073741824");
    println!("cargo::rerun-if-changed=build.rs");
}
