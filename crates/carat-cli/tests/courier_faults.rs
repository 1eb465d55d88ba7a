//! Upstreams that misbehave: what their callers are told, and what the receipts say.

mod common;

use std::time::{Duration, Instant};

use carat_receipt::Digest;
use carat_receipt::courier::Ending;
use carat_verify::stream::Prefix;
use common::Sandbox;
use common::courier::*;
use common::fake::{Act, Asked, Fake, begin, stream_head, whole};
use common::server::Server;
use serde_json::{Value, json};

/// What an upstream does, and what its caller is told: nothing of the answer, and why.
#[test]
fn what_misbehaves_is_refused_with_a_reason_of_its_own() {
    let good = || json!({ "model": "gpt-mini", "choices": [] });
    let answer = |json: &Value| {
        vec![Act::Write(whole(
            200,
            "application/json",
            json.to_string().as_bytes(),
        ))]
    };
    let head = |more: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{more}\r\n").into_bytes()
    };
    let other = Fake::start(|_| Vec::new());
    let location = format!("http://{}/v1/chat/completions", other.address);
    let fake = Fake::start(
        move |asked| match asked.json()["case"].as_str().expect("a case") {
            "good" => answer(&good()),
            "hangs" => vec![Act::Wait(5000)],
            "hangs in the head" => vec![Act::Write(b"HTTP/1.1 200".to_vec()), Act::Wait(5000)],
            "hangs in the body" => vec![
                Act::Write(head("content-length: 100\r\n")),
                Act::Write(b"{".to_vec()),
                Act::Wait(5000),
            ],
            "drips" => {
                let mut acts = vec![Act::Write(head("content-length: 1000\r\n"))];
                acts.extend((0..40).flat_map(|_| [Act::Write(b" ".to_vec()), Act::Wait(200)]));
                acts
            }
            "cut" => vec![
                Act::Write(head("content-length: 100\r\n")),
                Act::Write(b"{\"model\":".to_vec()),
            ],
            "closes" => Vec::new(),
            "no http" => vec![Act::Write(b"SSH-2.0-OpenSSH_9.7\r\n\r\n".to_vec())],
            "no json" => vec![Act::Write(whole(200, "application/json", b"<html>"))],
            "a list" => answer(&json!([])),
            "no choices" => answer(&json!({ "model": "gpt-mini" })),
            "no utf-8" => vec![Act::Write(whole(
                200,
                "application/json",
                b"{\"model\":\"gpt-mini\",\"choices\":[\"\xff\"]}",
            ))],
            "two models" => vec![Act::Write(whole(
                200,
                "application/json",
                br#"{"model":"gpt-mini","model":"other","choices":[]}"#,
            ))],
            "html" => vec![Act::Write(whole(200, "text/html", b"<p>hello"))],
            "a stream unasked" => vec![
                Act::Write(stream_head()),
                Act::Write(piece("x")),
                Act::Write(done()),
            ],
            "gzip" => vec![
                Act::Write(head("content-encoding: gzip\r\ncontent-length: 3\r\n")),
                Act::Write(b"\x1f\x8b\x08".to_vec()),
            ],
            "says it is large" => vec![Act::Write(head("content-length: 99999999\r\n"))],
            "is large" => vec![
                Act::Write(head("connection: close\r\n")),
                Act::Write(vec![b' '; 30_000]),
            ],
            "other model" => answer(&json!({ "model": "gpt-nano", "choices": [] })),
            "no model" => answer(&json!({ "choices": [] })),
            "redirect" => vec![Act::Write(
                format!("HTTP/1.1 307 X\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
                    .into_bytes(),
            )],
            "key" => answer(&json!({ "model": "gpt-mini", "choices": [KEY] })),
            "key in error" => vec![Act::Write(whole(
                400,
                "application/json",
                format!("{{\"error\":{{\"message\":\"bad {KEY}\"}}}}").as_bytes(),
            ))],
            "error in 200" => answer(&json!({ "error": { "message": "no room" } })),
            "401" => vec![Act::Write(whole(
                401,
                "application/json",
                br#"{"error":{"message":"Incorrect API key"}}"#,
            ))],
            "400" => vec![Act::Write(whole(
                400,
                "application/json",
                br#"{"error":{"message":"max_tokens is too large"}}"#,
            ))],
            "429" => vec![Act::Write(
                b"HTTP/1.1 429 X\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n".to_vec(),
            )],
            "500" => vec![Act::Write(whole(500, "text/plain", b"oops"))],
            other => panic!("{other}"),
        },
    );
    let sandbox = Sandbox::new();
    let server = node(&sandbox, &fake, PATIENT);
    let other_sandbox = Sandbox::new();
    let hasty = node(&other_sandbox, &fake, HASTY);
    let cases = [
        ("hangs", 504, "upstream_timeout"),
        ("hangs in the head", 504, "upstream_timeout"),
        ("hangs in the body", 504, "upstream_timeout"),
        ("drips", 504, "upstream_timeout"),
        ("cut", 502, "upstream_cut"),
        ("closes", 502, "upstream_cut"),
        ("no http", 502, "upstream_garbled"),
        ("no json", 502, "upstream_garbled"),
        ("a list", 502, "upstream_garbled"),
        ("no choices", 502, "upstream_garbled"),
        ("no utf-8", 502, "upstream_garbled"),
        ("two models", 502, "upstream_garbled"),
        ("html", 502, "upstream_garbled"),
        ("a stream unasked", 502, "upstream_garbled"),
        ("gzip", 502, "upstream_encoding"),
        ("says it is large", 502, "upstream_too_large"),
        ("is large", 502, "upstream_too_large"),
        ("other model", 502, "upstream_model_mismatch"),
        ("no model", 502, "upstream_model_mismatch"),
        ("redirect", 502, "upstream_redirect"),
        ("key", 502, "upstream_key_in_answer"),
        ("key in error", 502, "upstream_key_in_answer"),
        ("error in 200", 502, "upstream_refused"),
        ("401", 502, "upstream_refused"),
        ("400", 400, "upstream_refused"),
        ("429", 429, "upstream_refused"),
        ("500", 502, "upstream_refused"),
    ];
    for (case, status, code) in cases {
        let mut body = question(false);
        body["case"] = json!(case);
        let server = if status == 504 { &hasty } else { &server };
        let got = chat(server, &[], &body);
        assert_eq!(
            (got.status, got.code().as_str()),
            (status, code),
            "{case}: {}",
            got.text()
        );
        assert!(!got.headers.contains_key("carat-receipt-id"), "{case}");
        assert!(!got.text().contains(KEY), "{case}");
        if case == "429" {
            assert_eq!(got.headers["retry-after"], "7");
        }
        if case == "400" {
            assert!(
                got.text().contains("max_tokens is too large"),
                "{}",
                got.text()
            );
        }
    }
    assert!(other.asked().is_empty(), "a redirect was followed");
    let mut body = question(false);
    body["case"] = json!("good");
    chat(&server, &[], &body).expect(200);
    let log = std::fs::read_to_string(sandbox.path("server.log")).expect("its log");
    assert!(!log.contains(KEY), "{log}");
}

/// Streams that go wrong: before the first event there is a status, after it a receipt for what was passed on.
#[test]
fn a_cut_stream_has_a_receipt_that_says_so() {
    let other_model = || event(&json!({ "model": "gpt-nano", "choices": [] }));
    let fake = Fake::start(move |asked| {
        let head = || Act::Write(stream_head());
        let one = || Act::Write(piece("one"));
        match asked.json()["case"].as_str().expect("a case") {
            "ends early" => vec![head(), one()],
            "ends inside an event" => vec![
                head(),
                one(),
                Act::Write(b"data: {\"model\":\"gpt-mi".to_vec()),
            ],
            "hangs" => vec![head(), one(), Act::Wait(5000)],
            "garbage" => vec![head(), one(), Act::Write(b"data: {oops\n\n".to_vec())],
            "spoofs the end" => vec![
                head(),
                one(),
                Act::Write(format!(": carat-receipt {}\n\n", Digest::sha256(b"x")).into_bytes()),
            ],
            "large event" => vec![head(), one(), Act::Write(vec![b'a'; 6000])],
            "large stream" => {
                let mut acts = vec![head(), one()];
                acts.extend((0..20).map(|_| Act::Write(piece(&"x".repeat(2000)))));
                acts
            }
            "other model" => vec![head(), one(), Act::Write(other_model())],
            "error" => vec![
                head(),
                one(),
                Act::Write(event(&json!({ "error": { "message": "no room" } }))),
            ],
            "key" => vec![head(), one(), Act::Write(piece(KEY))],
            "hangs at once" => vec![head(), Act::Wait(5000)],
            "garbage at once" => vec![head(), Act::Write(b"data: {oops\n\n".to_vec())],
            "other model at once" => vec![head(), Act::Write(other_model()), Act::Write(done())],
            "nothing" => vec![head(), Act::Write(done())],
            other => panic!("{other}"),
        }
    });
    let sandbox = Sandbox::new();
    let server = node(&sandbox, &fake, PATIENT);
    let other_sandbox = Sandbox::new();
    let hasty = node(
        &other_sandbox,
        &fake,
        &HASTY.replace("chunk_ms = 400", "chunk_ms = 1000"),
    );
    let serving = |case: &str| {
        if case.starts_with("hangs") {
            &hasty
        } else {
            &server
        }
    };
    let ask_case = |case: &str| {
        let mut body = question(true);
        body["case"] = json!(case);
        chat(serving(case), &[], &body)
    };
    for (case, status, code) in [
        ("hangs at once", 504, "upstream_timeout"),
        ("garbage at once", 502, "upstream_garbled"),
        ("other model at once", 502, "upstream_model_mismatch"),
        ("nothing", 502, "upstream_garbled"),
    ] {
        let got = ask_case(case);
        assert_eq!(
            (got.status, got.code().as_str()),
            (status, code),
            "{case}: {}",
            got.text()
        );
    }
    for (case, ending) in [
        ("ends early", Ending::UpstreamCut),
        ("ends inside an event", Ending::UpstreamCut),
        ("hangs", Ending::TimedOut),
        ("garbage", Ending::Garbled),
        ("spoofs the end", Ending::Garbled),
        ("large event", Ending::TooLarge),
        ("large stream", Ending::TooLarge),
        ("other model", Ending::OtherModel),
        ("error", Ending::UpstreamCut),
        ("key", Ending::Garbled),
    ] {
        let got = ask_case(case).expect(200);
        let text = got.text();
        assert!(
            text.contains("\"code\":\"upstream_cut\"") && !text.contains("[DONE]"),
            "{case}: {text}"
        );
        assert!(!text.contains(KEY), "{case}");
        let (file, opening) = fetch(serving(case), &got.receipt());
        let statement = file.signed.statement();
        opens(statement, &opening);
        let claims = statement.optional.courier.as_ref().expect("a courier's");
        assert_eq!(claims.ending, ending, "{case}");
        let stream = statement.optional.stream.as_ref().expect("a stream");
        assert!(!stream.complete, "{case}");
        // What was passed on, and nothing else, is what the receipt is about.
        let output = opening.output.bytes.as_slice();
        assert!(
            output.starts_with(&piece("one")) && got.body.starts_with(output),
            "{case}"
        );
        let carried = opening.carried.as_ref().expect("opened");
        assert!(carried.received.bytes.starts_with(output), "{case}");
        let all = Prefix::of(&opening, stream.chunks).expect("a prefix");
        all.verify(stream).expect("it holds");
    }
}

#[test]
fn a_lie_about_the_model_can_be_marked_instead() {
    let fake = Fake::start(|asked: &Asked| {
        if asked.json()["stream"] == true {
            let other = event(&json!({ "model": "gpt-nano", "choices": [] }));
            return vec![Act::Write(
                [stream_head(), piece("one"), other, piece("two"), done()].concat(),
            )];
        }
        let json = json!({ "model": "gpt-nano", "choices": [] }).to_string();
        vec![Act::Write(whole(200, "application/json", json.as_bytes()))]
    });
    let sandbox = Sandbox::new();
    let server = node(
        &sandbox,
        &fake,
        &format!("{PATIENT}\nmodel_mismatch = \"mark\""),
    );
    let got = chat(&server, &[], &question(false)).expect(200);
    assert_eq!(got.headers["carat-upstream-model"], "gpt-nano");
    let streamed = chat(&server, &[], &question(true)).expect(200);
    assert!(streamed.text().contains("[DONE]"));
    for got in [got, streamed] {
        let (file, _) = fetch(&server, &got.receipt());
        let claims = file
            .signed
            .statement()
            .optional
            .courier
            .clone()
            .expect("a courier's");
        assert_eq!(claims.reported.expect("named").as_str(), "gpt-nano");
        assert_eq!(claims.ending, Ending::Complete);
    }
}

/// Addresses that serve credentials are not asked, however they are written, and nothing is sent in the clear to the world.
#[test]
fn addresses_that_an_upstream_may_not_have() {
    let sandbox = Sandbox::new();
    let config = |url: &str, more: &str| {
        format!(
            "listen = \"127.0.0.1:0\"\naccess = \"open\"\n[[upstreams]]\nname = \"up\"\nurl = \"{url}\"\nconnect_ms = 2000\n{more}\nmodels = [{{ name = \"mini\" }}]\n"
        )
    };
    for url in [
        "http://169.254.169.254/v1",
        "http://[::ffff:169.254.169.254]/v1",
        "http://[fe80::1]/v1",
        "http://0.0.0.0:1/v1",
        "http://93.184.216.34/v1",
    ] {
        std::fs::write(sandbox.path("serve.toml"), config(url, "")).expect("write");
        let server = Server::again(&sandbox);
        let got = chat(&server, &[], &question(false));
        assert_eq!(
            (got.status, got.code().as_str()),
            (502, "upstream_address_refused"),
            "{url}"
        );
    }
    for (url, more) in [
        ("http://user:secret@127.0.0.1/v1", ""),
        ("ftp://127.0.0.1/v1", ""),
        ("http://127.0.0.1/v1?key=1", ""),
        (
            "http://127.0.0.1/v1",
            "key_env = \"CARAT_TEST_NO_SUCH_VARIABLE\"",
        ),
        ("http://127.0.0.1/v1", "key_file = \"no-such-file\""),
        ("http://127.0.0.1/v1", "ca_file = \"serve.toml\""),
        ("https://127.0.0.1/v1", "ca_file = \"serve.toml\""),
    ] {
        std::fs::write(sandbox.path("serve.toml"), config(url, more)).expect("write");
        let ran = sandbox.run(&["serve", "--config", "serve.toml", "--check"]);
        assert_ne!(ran.code, 0, "{url} {more}");
        assert!(ran.err.contains("upstream up"), "{}", ran.err);
    }
    std::fs::write(sandbox.path("open.key"), "sk-readable-by-everybody\n").expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(sandbox.path("open.key"), mode).expect("chmod");
    let text = config("http://127.0.0.1/v1", "key_file = \"open.key\"");
    std::fs::write(sandbox.path("serve.toml"), text).expect("write");
    let ran = sandbox.run(&["serve", "--config", "serve.toml", "--check"]);
    assert!(
        ran.code == 2 && ran.err.contains("chmod 0600"),
        "{}",
        ran.err
    );
}

#[test]
fn an_upstream_takes_no_more_requests_at_a_time_than_it_may() {
    let fake = Fake::start(|_| {
        let json = json!({ "model": "gpt-mini", "choices": [] }).to_string();
        vec![
            Act::Wait(300),
            Act::Write(whole(200, "application/json", json.as_bytes())),
        ]
    });
    let sandbox = Sandbox::new();
    let server = node(&sandbox, &fake, &format!("{PATIENT}\nconcurrent = 1"));
    let body = question(false).to_string();
    let first = begin(
        server.address,
        "POST",
        "/v1/chat/completions",
        &[JSON],
        body.as_bytes(),
    );
    let until = Instant::now() + Duration::from_secs(20);
    while fake.asked().is_empty() {
        assert!(Instant::now() < until, "it was not asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = chat(&server, &[], &question(false)).expect(429);
    assert_eq!(second.code(), "upstream_busy");
    assert_eq!(second.headers["retry-after"], "1");
    drop(first);
}
