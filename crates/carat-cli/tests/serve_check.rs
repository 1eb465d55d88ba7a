//! What is checked before a server starts, and what the environment changes.

mod common;

use common::Sandbox;
use common::server::Server;
use serde_json::json;

const CHECK: [&str; 5] = ["serve", "--config", "serve.toml", "--check", "--json"];

#[test]
fn the_environment_overrides_the_file_and_a_check_disturbs_nobody() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(&sandbox, "access = \"open\"");
    let before = std::fs::read(sandbox.path("serve.toml")).expect("read");
    let check = |variables: &[(&str, &str)]| {
        let mut command = sandbox.command(&CHECK);
        let output = command.envs(variables.iter().copied()).output();
        common::Ran::from(output.expect("start carat"), &CHECK)
    };
    let good = |variables: &[(&str, &str)]| {
        let ran = check(variables);
        assert_eq!(ran.code, 0, "{}", ran.err);
        serde_json::from_str::<serde_json::Value>(&ran.out).expect("JSON")
    };
    let plain = good(&[]);
    assert_eq!(plain["listen"], "127.0.0.1:0");
    assert_eq!(plain["api_keys"], json!(null));
    assert_eq!(plain["models"][0]["name"], "tumor");
    let other = good(&[
        ("CARAT_SERVE_LISTEN", "127.0.0.1:9000"),
        ("CARAT_SERVE_LIMITS__QUEUE", "7"),
        ("CARAT_SERVE_LOG", "json"),
    ]);
    assert_eq!(other["listen"], "127.0.0.1:9000");
    // What is wrong is refused by the name of its variable, or of its key.
    for (name, value, says) in [
        ("CARAT_SERVE_LIMITS__QUEUE", "0", "limits.queue"),
        ("CARAT_SERVE_LIMITS__QUEUE", "many", "CARAT_SERVE_"),
        ("CARAT_SERVE_NONSENSE", "1", "nonsense"),
        ("CARAT_SERVE_LISTEN", "0.0.0.0:80", "anybody"),
        ("CARAT_SERVE_POLICY", "none.toml", "none.toml"),
    ] {
        let ran = check(&[(name, value)]);
        assert!([2, 12].contains(&ran.code), "{name}: {}", ran.err);
        assert!(ran.err.contains(says), "{name}={value}: {}", ran.err);
    }
    // The server that runs meanwhile has noticed nothing, and nothing was written.
    server.get("/health/ready").expect(200);
    assert_eq!(
        std::fs::read(sandbox.path("serve.toml")).expect("read"),
        before
    );
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_signing_key_that_is_gone_is_not_replaced() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(&sandbox, "access = \"open\"");
    let text = std::fs::read_to_string(sandbox.path("tumor.json")).expect("read");
    let inputs: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    server.infer(&[], &json!({ "inputs": inputs })).expect(200);
    assert_eq!(server.terminate(), Some(0));
    let (key, kept) = (sandbox.path("home/node/key"), sandbox.path("key.kept"));
    std::fs::rename(&key, &kept).expect("rename");
    let ran = sandbox.ends(&["serve", "--config", "serve.toml"], 15);
    assert!(ran.err.contains("restore the key"), "{}", ran.err);
    assert!(!key.exists(), "no other key was made");
    std::fs::rename(&kept, &key).expect("rename");
    let server = Server::again(&sandbox);
    assert_eq!(server.metric("carat_log_entries "), 1);
    assert_eq!(server.terminate(), Some(0));
}
