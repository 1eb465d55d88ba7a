//! A served float model whose engine hangs, aborts, or ends: the request gets an error, the server goes on.
#![cfg(unix)]

mod common;

use std::fs;

use carat_float::stand_in;
use common::Sandbox;
use common::server::Server;
use serde_json::{Value, json};

/// A server with the model `tumor` and a float model `one` that a shell script runs: it hangs while the file `hang` is there,
/// and so on.
fn start(sandbox: &Sandbox) -> Server {
    let before = "if [ -e hang ]; then exec sleep 60; fi\nif [ -e abort ]; then kill -ABRT $$; fi\nif [ -e exit ]; then exit 3; fi\nif [ -e nonsense ]; then printf 'nonsense'; exec sleep 60; fi";
    let folder = sandbox.path("stand-in");
    fs::create_dir(&folder).expect("a folder");
    let worker = stand_in::write(&folder, &stand_in::answer(2.5), before).expect("written");
    fs::write(sandbox.path("one.carat-model"), stand_in::model().encode()).expect("written");
    let text = "listen = \"127.0.0.1:0\"\naccess = \"open\"\n[limits]\nfloat_seconds = 2\n[[model]]\nname = \"tumor\"\npath = \"tumor.carat-model\"\n[[model]]\nname = \"one\"\npath = \"one.carat-model\"\n";
    fs::write(sandbox.path("serve.toml"), text).expect("written");
    let mut command = sandbox.command(&["serve", "--config", "serve.toml"]);
    command.env("CARAT_FLOAT_WORKER", worker);
    Server::spawn(&sandbox.path("server.log"), command).unwrap_or_else(|ended| panic!("{ended:?}"))
}

fn ask(server: &Server, model: &str, inputs: &Value) -> common::server::Answer {
    let body = json!({ "inputs": inputs }).to_string();
    let path = format!("/v1/models/{model}/infer");
    server.ask(
        "POST",
        &path,
        &[("content-type", "application/json")],
        body.as_bytes(),
    )
}

#[test]
fn whatever_the_engine_does_the_server_goes_on() {
    let sandbox = Sandbox::with_model();
    let server = start(&sandbox);
    let one = json!({ "x": [0.0] });
    let text = fs::read_to_string(sandbox.path("tumor.json")).expect("read the input");
    let tumor: Value = serde_json::from_str(&text).expect("JSON");
    for (marker, words) in [
        ("hang", "took longer than 2 s"),
        ("abort", "ended its process"),
        ("exit", "ended its process"),
        ("nonsense", "answered out of turn"),
    ] {
        let good = ask(&server, "one", &one).expect(200).json();
        assert_eq!(good["outputs"][0]["values"], json!([2.5]), "{good}");
        let place = sandbox.path("stand-in").join(marker);
        fs::write(&place, "").expect("written");
        let failed = ask(&server, "one", &one).expect(422).json();
        let detail = failed["detail"].as_str().expect("a detail");
        assert!(detail.contains(words), "{marker}: {detail}");
        assert!(
            failed["type"]
                .as_str()
                .is_some_and(|kind| kind.ends_with("model-failed")),
            "{failed}"
        );
        // Other models answer meanwhile.
        ask(&server, "tumor", &tumor).expect(200);
        fs::remove_file(&place).expect("removed");
    }
    let last = ask(&server, "one", &one).expect(200).json();

    // The receipt names the profile; a proof of it is refused, with the reason.
    let id = last["receipt_id"].as_str().expect("an id");
    let receipt = server.get(&format!("/v1/receipts/{id}")).expect(200);
    let file = carat_receipt::ReceiptFile::decode(&receipt.body).expect("a receipt");
    let engine = &file.signed.statement().engine;
    assert_eq!(
        engine.numerics.as_str(),
        carat_float::profile::X86_64_V3.name
    );
    let quote = server
        .get(&format!("/v1/receipts/{id}/quote"))
        .expect(422)
        .json();
    let detail = quote["detail"].as_str().expect("a detail");
    assert!(detail.contains("proofs exist for integer/v1"), "{detail}");
    let described = server.get("/v2/models/one").expect(200).json();
    assert_eq!(described["platform"], "carat_float");
    assert_eq!(described["inputs"][0]["datatype"], "FP32");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_float_model_is_not_proven_and_says_why() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("one.carat-model"), stand_in::model().encode()).expect("written");
    fs::write(sandbox.path("x.json"), "[0]").expect("written");
    let folder = sandbox.path("stand-in");
    fs::create_dir(&folder).expect("a folder");
    let worker = stand_in::write(&folder, &stand_in::answer(2.5), "").expect("written");
    let run = |more: &[&str]| {
        let args = [&["run", "one.carat-model", "--input", "x.json"][..], more].concat();
        let output = sandbox
            .command(&args)
            .env("CARAT_FLOAT_WORKER", &worker)
            .output();
        common::Ran::from(output.expect("start carat"), &args)
    };
    for flag in ["--prove", "--io-commitment"] {
        let ran = run(&[flag]);
        assert_eq!(ran.code, 10, "{}", ran.err);
        assert!(
            ran.err.contains("proofs exist for integer/v1"),
            "{}",
            ran.err
        );
    }
    let ran = run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    // Without a worker: where it was looked for, and how to get one.
    let args = ["run", "one.carat-model", "--input", "x.json"];
    let mut command = sandbox.command(&args);
    let output = command
        .env("CARAT_FLOAT_WORKER", "/nowhere/worker")
        .output();
    let ran = common::Ran::from(output.expect("start carat"), &args);
    assert_eq!(ran.code, 12, "{}", ran.err);
    assert!(ran.err.contains("/nowhere/worker"), "{}", ran.err);
}
