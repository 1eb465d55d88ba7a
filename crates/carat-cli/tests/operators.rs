//! What operators and integrators look at: `carat stats`, and the interface's description of itself.

mod common;

use common::Sandbox;
use common::server::Server;
use serde_json::{Value, json};

#[test]
fn a_server_and_an_audit_are_counted_kind_by_kind() {
    let sandbox = Sandbox::with_model();
    sandbox.ends(&["stats"], 12);
    let text = std::fs::read_to_string(sandbox.path("tumor.json")).expect("the input");
    let inputs: Value = serde_json::from_str(&text).expect("JSON");
    let body = json!({ "inputs": inputs });
    let mut large = body.clone();
    large["at_stake"] = json!("900000USD");

    let server = Server::start(&sandbox, "access = \"open\"");
    let mut ids = Vec::new();
    for _ in 0..3 {
        let answer = server.infer(&[], &body).expect(200);
        ids.push(answer.header("carat-receipt-id").to_string());
    }
    // More rides on it than anything here covers.
    let refused = server.infer(&[], &large);
    assert_eq!(refused.status, 422, "{:?}", refused);
    let receipt = server.get(&format!("/v1/receipts/{}", ids[0])).expect(200);
    std::fs::write(sandbox.path("t.carat"), receipt.body).expect("write");
    let url = format!("http://{}", server.address);
    sandbox.good(&["upgrade", "t.carat", "--server", &url]);
    // The store belongs to the server while it runs.
    let busy = sandbox.run(&["stats"]);
    assert_ne!(busy.code, 0, "{}", busy.out);
    assert_eq!(server.terminate(), Some(0));

    let found = sandbox.json(&["stats"], 0);
    let store = &found["store"];
    assert_eq!(store["inferences"], 3);
    assert_eq!(store["in_log"], 3);
    assert_eq!(store["openings"], 3);
    assert_eq!(store["by_model"], json!({ "tumor": 3 }));
    assert_eq!((&store["proofs"], &store["proven"]), (&json!(1), &json!(1)));
    assert_eq!(store["replays"], 0);
    assert_eq!(store["attestations"], 0);
    assert_eq!(store["upgrades"]["done"], 1);
    assert_eq!(store["upgrades"]["waiting"], 0);
    assert_eq!(store["jobs"]["done"], 0);
    assert_eq!(found["log_entries"], 3);
    assert_eq!(found["decisions"]["refusals"], 1);
    assert_eq!(found["audits"]["draws"], 0);

    // Nothing that was signed promises an audit, so nothing is drawn; the draw counts.
    let beacon = "5f".repeat(16);
    let node = sandbox.path("home/node");
    let node = node.to_str().expect("UTF-8");
    sandbox.good(&["audit", "sample", "--beacon", &beacon, "--data-dir", node]);
    let found = sandbox.json(&["stats"], 0);
    assert_eq!(found["audits"]["draws"], 1);
    assert_eq!(found["audits"]["drawn"], 0);
    let text = sandbox.good(&["stats"]).out;
    for said in [
        "Inferences",
        "covering 1 receipts",
        "Refusals",
        "different things",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn without_a_server_there_is_no_store() {
    let sandbox = Sandbox::with_receipt();
    let found = sandbox.json(&["stats"], 0);
    assert!(found["store"].is_null());
    assert_eq!(found["log_entries"], 1);
    assert_eq!(found["decisions"]["refusals"], 0);
}

/// The document is there without a key, and no address that it describes is unknown to the server.
#[test]
fn the_interface_describes_itself() {
    let sandbox = Sandbox::with_model();
    sandbox.good(&["api-key", "new", "--tenant", "acme"]);
    let server = Server::start(&sandbox, "access = \"keys\"");
    let document = server.get("/v1/openapi.json").expect(200).json();
    let paths = document["paths"].as_object().expect("paths");
    let id = "0".repeat(64);
    for (path, methods) in paths {
        let address = path
            .replace("{name}", "tumor")
            .replace("{version}", "1")
            .replace("{id}", &id)
            .replace("{path}", "0/000");
        for (method, operation) in methods.as_object().expect("methods") {
            let answer = server.ask(&method.to_uppercase(), &address, &[], b"");
            let free = operation["security"].as_array().is_some_and(Vec::is_empty);
            // Whatever asks for a scope asks for a key first.
            if free {
                assert_ne!(answer.status, 401, "{method} {path}");
                assert_ne!(answer.status, 405, "{method} {path}");
            } else {
                assert_eq!(answer.status, 401, "{method} {path}");
            }
        }
    }
}
