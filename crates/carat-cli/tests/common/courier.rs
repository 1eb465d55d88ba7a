//! A node in front of a fake upstream, and what its callers ask and get.

use carat_receipt::{Opening, ReceiptFile, Role, Statement};
use serde_json::{Value, json};

use super::Sandbox;
use super::fake::{Fake, Got, ask};
use super::server::Server;

pub(crate) const KEY: &str = "sk-operators-own-key-0001";
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

/// Limits that nothing runs into on a busy machine.
pub(crate) const PATIENT: &str = "head_ms = 30000\nchunk_ms = 30000\ntotal_ms = 60000";
/// Limits for upstreams that hang.
pub(crate) const HASTY: &str = "head_ms = 400\nchunk_ms = 400\ntotal_ms = 2000";

/// A node with models of one upstream, and no model of its own.
pub(crate) fn node(sandbox: &Sandbox, fake: &Fake, limits: &str) -> Server {
    std::fs::write(sandbox.path("upstream.key"), format!("{KEY}\n")).expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(sandbox.path("upstream.key"), mode).expect("chmod");
    let text = format!(
        "listen = \"127.0.0.1:0\"\naccess = \"open\"\n[[upstreams]]\nname = \"up\"\nurl = \"http://{}/v1\"\nkey_file = \"upstream.key\"\n\
         answer_bytes = 20000\nevent_bytes = 4000\n{limits}\n\
         models = [{{ name = \"mini\", upstream_name = \"gpt-mini\", answers_as = [\"gpt-mini-0613\"] }}, {{ name = \"org/same\" }}]\n",
        fake.address
    );
    std::fs::write(sandbox.path("serve.toml"), text).expect("write");
    Server::again(sandbox)
}

pub(crate) fn chat(server: &Server, headers: &[(&str, &str)], body: &Value) -> Got {
    let all = [&[JSON], headers].concat();
    let body = body.to_string();
    ask(
        server.address,
        "POST",
        "/v1/chat/completions",
        &all,
        body.as_bytes(),
    )
}

pub(crate) fn question(stream: bool) -> Value {
    json!({ "model": "mini", "stream": stream, "messages": [{ "role": "user", "content": "mini?" }] })
}

pub(crate) fn event(json: &Value) -> Vec<u8> {
    format!("data: {json}\n\n").into_bytes()
}

pub(crate) fn piece(text: &str) -> Vec<u8> {
    event(
        &json!({ "model": "gpt-mini", "choices": [{ "index": 0, "delta": { "content": text } }] }),
    )
}

pub(crate) fn done() -> Vec<u8> {
    b"data: [DONE]\n\n".to_vec()
}

/// Receipt and opening of an answer, as the node gives them.
pub(crate) fn fetch(server: &Server, id: &str) -> (ReceiptFile, Opening) {
    let path = format!("/v1/receipts/{id}");
    let receipt = ask(server.address, "GET", &path, &[], &[]).expect(200);
    let opening = ask(server.address, "GET", &format!("{path}/opening"), &[], &[]).expect(200);
    let file = ReceiptFile::decode(&receipt.body).expect("a receipt");
    assert_eq!(file.receipt_id().to_string(), id);
    assert!(file.log.is_some(), "it is in the log");
    file.signed.verify_signature().expect("signed");
    (file, Opening::decode(&opening.body).expect("an opening"))
}

/// The opening opens everything that the Statement commits to.
pub(crate) fn opens(statement: &Statement, opening: &Opening) {
    let claims = statement.optional.courier.as_ref().expect("a courier's");
    let carried = opening.carried.as_ref().expect("opened");
    assert_eq!(opening.input.commitment(Role::Input), statement.input);
    assert_eq!(opening.output.commitment(Role::Output), statement.output);
    assert_eq!(carried.sent.commitment(Role::Sent), claims.sent);
    assert_eq!(carried.received.commitment(Role::Received), claims.received);
}
