//! Answers of upstreams, passed on by the node: the bytes, the receipts, and upstreams that misbehave.

mod common;

use std::io::Read as _;
use std::time::{Duration, Instant};

use carat_receipt::courier::Ending;
use carat_receipt::{Digest, Opening, ReceiptFile, Role, Statement};
use carat_verify::stream::Prefix;
use common::Sandbox;
use common::fake::{Act, Asked, Fake, Got, ask, begin, stream_head, whole};
use common::server::Server;
use serde_json::{Value, json};

const KEY: &str = "sk-operators-own-key-0001";
const JSON: (&str, &str) = ("content-type", "application/json");

/// Limits that nothing runs into on a busy machine.
const PATIENT: &str = "head_ms = 30000\nchunk_ms = 30000\ntotal_ms = 60000";
/// Limits for upstreams that hang.
const HASTY: &str = "head_ms = 400\nchunk_ms = 400\ntotal_ms = 2000";

/// A node with models of one upstream, and no model of its own.
fn node(sandbox: &Sandbox, fake: &Fake, limits: &str) -> Server {
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

fn chat(server: &Server, headers: &[(&str, &str)], body: &Value) -> Got {
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

fn question(stream: bool) -> Value {
    json!({ "model": "mini", "stream": stream, "messages": [{ "role": "user", "content": "mini?" }] })
}

fn event(json: &Value) -> Vec<u8> {
    format!("data: {json}\n\n").into_bytes()
}

fn piece(text: &str) -> Vec<u8> {
    event(
        &json!({ "model": "gpt-mini", "choices": [{ "index": 0, "delta": { "content": text } }] }),
    )
}

fn done() -> Vec<u8> {
    b"data: [DONE]\n\n".to_vec()
}

/// Receipt and opening of an answer, as the node gives them.
fn fetch(server: &Server, id: &str) -> (ReceiptFile, Opening) {
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
fn opens(statement: &Statement, opening: &Opening) {
    let claims = statement.optional.courier.as_ref().expect("a courier's");
    let carried = opening.carried.as_ref().expect("opened");
    assert_eq!(opening.input.commitment(Role::Input), statement.input);
    assert_eq!(opening.output.commitment(Role::Output), statement.output);
    assert_eq!(carried.sent.commitment(Role::Sent), claims.sent);
    assert_eq!(carried.received.commitment(Role::Received), claims.received);
}

#[test]
fn an_answer_is_passed_on_as_it_is_and_its_receipt_says_so() {
    // Spaces, order and numbers as no writer of JSON would choose them.
    let answer = br#"{ "usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10},  "model":"gpt-mini-0613","x":1.50, "choices":[ ] }"#;
    let fake = Fake::start(|_| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nset-cookie: a=b\r\nx-secret: inner\r\n\r\n",
            answer.len()
        );
        vec![Act::Write([head.as_bytes(), answer].concat())]
    });
    let sandbox = Sandbox::new();
    let server = node(&sandbox, &fake, PATIENT);
    let asked = br#"{"model" : "mini", "temperature":0.70, "messages":[{"role":"user","content":"\"model\":\"mini\""}]}"#;
    let headers = [
        JSON,
        ("authorization", "Bearer carat_callers_key"),
        ("cookie", "session=1"),
        ("openai-organization", "org-1"),
        ("x-client-request-id", "request-7"),
        ("carat-nonce", "00112233445566778899aabbccddeeff"),
        ("carat-audience", "example.org"),
    ];
    let got = ask(
        server.address,
        "POST",
        "/v1/chat/completions",
        &headers,
        asked,
    )
    .expect(200);
    assert_eq!(got.body, answer, "byte for byte");
    assert_eq!(got.headers["content-type"], "application/json");
    for header in ["set-cookie", "x-secret", "carat-upstream-model"] {
        assert!(!got.headers.contains_key(header), "{header}");
    }
    assert!(got.headers["carat-good-for"].starts_with("none"));

    let seen = fake.asked().remove(0);
    assert_eq!(seen.path, "/v1/chat/completions");
    let expected = String::from_utf8_lossy(asked).replacen("\"mini\"", "\"gpt-mini\"", 1);
    assert_eq!(seen.body, expected.as_bytes());
    assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(seen.headers["accept-encoding"], "identity");
    assert_eq!(seen.headers["x-client-request-id"], "request-7");
    let mut names: Vec<&str> = seen.headers.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "accept-encoding",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "user-agent",
            "x-client-request-id"
        ]
    );

    let (file, opening) = fetch(&server, &got.receipt());
    let statement = file.signed.statement();
    let claims = statement.optional.courier.as_ref().expect("a courier's");
    opens(statement, &opening);
    let carried = opening.carried.as_ref().expect("opened");
    assert_eq!(opening.input.bytes.as_slice(), asked);
    assert_eq!(carried.sent.bytes.as_slice(), seen.body);
    assert_eq!(carried.received.bytes.as_slice(), answer);
    assert_eq!(opening.output.bytes.as_slice(), answer);
    assert_eq!(claims.ending, Ending::Complete);
    assert_eq!(
        claims.reported.as_ref().expect("named").as_str(),
        "gpt-mini-0613"
    );
    assert_eq!(claims.tokens.expect("claimed").total, Some(10));
    assert_eq!(statement.model_name.as_str(), "mini");
    assert!(statement.optional.stream.is_none() && file.program.is_none());

    // The command line verifies it, from files.
    std::fs::write(sandbox.path("r.carat"), file.encode()).expect("write");
    std::fs::write(sandbox.path("r.carat-open"), opening.encode()).expect("write");
    std::fs::write(sandbox.path("asked"), asked).expect("write");
    std::fs::write(sandbox.path("answer"), answer).expect("write");
    let nonce = "00112233445566778899aabbccddeeff";
    sandbox.good(&[
        "trust",
        "new",
        "--name",
        "example.org",
        "--currency",
        "USD",
        "--audience",
        "example.org",
    ]);
    let key = statement.issuer_key.to_string();
    sandbox.good(&["trust", "add", "trust.toml", "issuer", "node", &key]);
    let verify = |more: &[&str], code| {
        let base = [
            "verify",
            "r.carat",
            "--trust",
            "trust.toml",
            "--nonce",
            nonce,
            "--asked",
            "mini",
            "--input",
            "asked",
            "--answer",
            "answer",
        ];
        sandbox.json(&[&base, more].concat(), code)
    };
    let nothing = verify(&[], 4);
    assert!(
        nothing["enough"]
            .to_string()
            .contains("carat trust add FILE upstream up"),
        "{nothing}"
    );
    sandbox.good(&["trust", "add", "trust.toml", "upstream", "up", "5USD"]);
    let other_name = verify(&[], 4);
    assert!(
        other_name["enough"].to_string().contains("gpt-mini-0613"),
        "{other_name}"
    );
    sandbox.good(&[
        "trust",
        "add",
        "trust.toml",
        "upstream",
        "else",
        "1USD",
        "--courier",
        "node",
    ]);
    let text = std::fs::read_to_string(sandbox.path("trust.toml")).expect("read");
    let text = text.replace(
        "cap = \"5 USD\"",
        "cap = \"5 USD\"\nmodels = [\"gpt-mini-0613\"]",
    );
    std::fs::write(sandbox.path("trust.toml"), text).expect("write");
    sandbox.good(&["trust", "sign", "trust.toml"]);
    let good = verify(&["--amount", "5USD"], 0);
    assert_eq!(good["best"], "5 USD", "{good}");
    verify(&["--amount", "6USD"], 4);
    std::fs::write(sandbox.path("answer"), [answer.as_slice(), b" "].concat()).expect("write");
    let invalid = verify(&[], 1);
    assert!(
        invalid["reason"]
            .as_str()
            .expect("text")
            .contains("another answer"),
        "{invalid}"
    );
    let log = std::fs::read_to_string(sandbox.path("server.log")).expect("its log");
    assert!(!log.contains(KEY) && !log.contains("callers_key"), "{log}");
}

#[test]
fn a_stream_is_passed_on_event_by_event_and_every_prefix_can_be_shown() {
    let body = || {
        [
            b": keep-alive\n\n".to_vec(),
            piece("one"),
            b"data: {\"model\":\"gpt-mini\",\r\ndata:  \"choices\":[]}\r\n\r\n".to_vec(),
            event(
                &json!({ "model": "gpt-mini", "choices": [], "usage": { "prompt_tokens": 2, "completion_tokens": 1 } }),
            ),
            done(),
        ]
    };
    let fake = Fake::start(move |_| {
        let mut acts = vec![Act::Write(stream_head())];
        // The network cuts where it likes.
        for byte in body().concat().chunks(7) {
            acts.push(Act::Write(byte.to_vec()));
        }
        acts.push(Act::Write(b"data: after the end\n\n".to_vec()));
        acts
    });
    let sandbox = Sandbox::new();
    let server = node(&sandbox, &fake, PATIENT);
    let got = chat(&server, &[], &question(true)).expect(200);
    assert_eq!(got.headers["content-type"], "text/event-stream");
    let expected = [
        body().concat(),
        format!(": carat-receipt {}\n\n", got.receipt()).into_bytes(),
    ]
    .concat();
    assert_eq!(got.text(), String::from_utf8_lossy(&expected));

    let (file, opening) = fetch(&server, &got.receipt());
    let statement = file.signed.statement();
    opens(statement, &opening);
    let carried = opening.carried.as_ref().expect("opened");
    assert_eq!(opening.output.bytes.as_slice(), body().concat());
    assert_eq!(
        carried.received.bytes, opening.output.bytes,
        "up to its end"
    );
    let lengths: Vec<u64> = body().iter().map(|event| event.len() as u64).collect();
    assert_eq!(carried.chunks.as_deref(), Some(lengths.as_slice()));
    let stream = statement.optional.stream.as_ref().expect("a stream");
    assert!(stream.complete && stream.chunks == 5);
    for count in 0..=5 {
        let prefix = Prefix::of(&opening, count).expect("a prefix");
        prefix.verify(stream).expect("it holds");
        for i in 0..prefix.chunks.len() {
            let mut other = prefix.clone();
            other.chunks[i].1[0] ^= 1;
            other.verify(stream).expect_err("another chunk");
            let mut swapped = prefix.clone();
            swapped.chunks.swap(0, i);
            assert!(i == 0 || swapped.verify(stream).is_err(), "swapped");
        }
    }
}

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
fn a_caller_that_leaves_has_a_receipt_all_the_same() {
    let fake = Fake::start(|_| {
        let mut acts = vec![Act::Write(stream_head()), Act::Write(piece("one"))];
        acts.extend((0..50).flat_map(|_| [Act::Write(piece("more")), Act::Wait(50)]));
        acts
    });
    let sandbox = Sandbox::new();
    let server = node(&sandbox, &fake, PATIENT);
    let body = question(true).to_string();
    let headers = [JSON, ("idempotency-key", "once")];
    let mut stream = begin(
        server.address,
        "POST",
        "/v1/chat/completions",
        &headers,
        body.as_bytes(),
    );
    let mut some = [0; 512];
    stream.read_exact(&mut some).expect("its beginning");
    drop(stream);
    // The same request finds it, once it is there.
    let until = Instant::now() + Duration::from_secs(30);
    let got = ask(
        server.address,
        "POST",
        "/v1/chat/completions",
        &headers,
        body.as_bytes(),
    )
    .expect(200);
    assert!(Instant::now() < until);
    assert_eq!(got.headers["idempotent-replayed"], "true");
    assert_eq!(fake.asked().len(), 1, "it is not asked twice");
    let (file, opening) = fetch(&server, &got.receipt());
    let claims = file.signed.statement().optional.courier.clone();
    assert_eq!(claims.expect("a courier's").ending, Ending::CallerLeft);
    assert!(got.body.starts_with(&opening.output.bytes));
    assert!(
        got.text().contains("was cut when the caller left"),
        "{}",
        got.text()
    );
}

#[test]
fn the_same_request_is_asked_once() {
    let fake = Fake::start(|asked: &Asked| {
        if asked.json()["stream"] == true {
            let all = [stream_head(), piece("one"), done()].concat();
            return vec![Act::Write(all)];
        }
        let json = json!({ "model": "gpt-mini", "choices": [] }).to_string();
        vec![Act::Write(whole(200, "application/json", json.as_bytes()))]
    });
    let sandbox = Sandbox::new();
    let server = node(&sandbox, &fake, PATIENT);
    for stream in [false, true] {
        let key = format!("order {stream}");
        let headers = [("idempotency-key", key.as_str())];
        let first = chat(&server, &headers, &question(stream)).expect(200);
        let again = chat(&server, &headers, &question(stream)).expect(200);
        assert_eq!(again.body, first.body);
        assert_eq!(again.receipt(), first.receipt());
        assert_eq!(again.headers["idempotent-replayed"], "true");
        let other = chat(
            &server,
            &[headers[0], ("carat-nonce", "0011223344556677")],
            &question(stream),
        );
        assert_eq!(other.expect(409).code(), "key-reused");
    }
    assert_eq!(fake.asked().len(), 2);
    // It is there after a restart, from the same store and log as every receipt.
    let id = chat(
        &server,
        &[("idempotency-key", "order true")],
        &question(true),
    )
    .receipt();
    server.kill();
    let server = Server::again(&sandbox);
    fetch(&server, &id);
    let again = chat(
        &server,
        &[("idempotency-key", "order true")],
        &question(true),
    )
    .expect(200);
    assert_eq!(again.receipt(), id);
}

#[test]
fn callers_choose_among_what_the_operator_offers_and_nothing_else() {
    let fake = Fake::start(|asked: &Asked| {
        let named = asked.json()["model"].clone();
        let json = json!({ "model": named, "data": [], "choices": [] }).to_string();
        vec![Act::Write(whole(200, "application/json", json.as_bytes()))]
    });
    let sandbox = Sandbox::new();
    let server = node(&sandbox, &fake, PATIENT);
    let list = ask(server.address, "GET", "/v1/models", &[], &[])
        .expect(200)
        .json();
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], "mini");
    assert_eq!(list["data"][0]["owned_by"], "up");
    let one = ask(server.address, "GET", "/v1/models/org%2Fsame", &[], &[]).expect(200);
    assert_eq!(one.json()["id"], "org/same");
    let none = ask(server.address, "GET", "/v1/models/gpt-mini", &[], &[]).expect(404);
    assert_eq!(none.code(), "model_not_found");
    let at = |path: &str, headers: &[(&str, &str)], body: &str| {
        let all = [&[JSON], headers].concat();
        ask(server.address, "POST", path, &all, body.as_bytes())
    };
    for path in ["/v1/completions", "/v1/embeddings"] {
        let body = r#"{"model":"org/same","input":"x","prompt":"x"}"#;
        let got = at(path, &[], body).expect(200);
        let (file, _) = fetch(&server, &got.receipt());
        let claims = file.signed.statement().optional.courier.clone();
        assert_eq!(claims.expect("a courier's").endpoint.as_str(), path);
    }
    let asked = fake.asked().len();
    let chat = "/v1/chat/completions";
    for (path, headers, body, status, code) in [
        (
            chat,
            [].as_slice(),
            r#"{"model":"http://169.254.169.254/x"}"#,
            404,
            "model_not_found",
        ),
        (chat, &[], r#"{"model":"gpt-mini"}"#, 404, "model_not_found"),
        (chat, &[], r#"{"messages":[]}"#, 400, "bad_request"),
        (chat, &[], "not json", 400, "bad_request"),
        (chat, &[], r#"{"model":"\u006dini"}"#, 400, "bad_request"),
        (chat, &[], r#"{"mode\u006c":"mini"}"#, 400, "bad_request"),
        (
            "/v1/embeddings",
            &[],
            r#"{"model":"mini","stream":true}"#,
            400,
            "bad_request",
        ),
        (
            chat,
            &[("carat-at-stake", "5USD")],
            r#"{"model":"mini"}"#,
            422,
            "refused",
        ),
        (
            chat,
            &[("carat-nonce", "xyz")],
            r#"{"model":"mini"}"#,
            400,
            "bad-request",
        ),
        (
            chat,
            &[("content-encoding", "gzip")],
            r#"{"model":"mini"}"#,
            415,
            "unsupported-encoding",
        ),
    ] {
        let got = at(path, headers, body);
        assert_eq!(
            (got.status, got.code().as_str()),
            (status, code),
            "{body}: {}",
            got.text()
        );
    }
    assert_eq!(fake.asked().len(), asked, "none of it went out");
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

#[test]
fn a_policy_can_refuse_couriers() {
    let fake = Fake::start(|_| {
        let json = json!({ "model": "gpt-mini", "choices": [] }).to_string();
        vec![Act::Write(whole(200, "application/json", json.as_bytes()))]
    });
    let sandbox = Sandbox::new();
    let policy = |value: &str, more: &str| {
        let text = format!(
            "currency = \"USD\"\nepsilon = 0.10\nmode = \"enforce\"\n[[consequence]]\nname = \"chat\"\nwhen = 'model.name == \"mini\"'\nvalue = '{value}'\ntiming = \"after_use\"\n{more}"
        );
        std::fs::write(sandbox.path("policy.toml"), text).expect("write");
    };
    policy("0.0", "");
    node(&sandbox, &fake, PATIENT).kill();
    let config = std::fs::read_to_string(sandbox.path("serve.toml")).expect("read");
    std::fs::write(
        sandbox.path("serve.toml"),
        format!("policy = \"policy.toml\"\n{config}"),
    )
    .expect("write");
    let server = Server::again(&sandbox);
    let got = chat(&server, &[], &question(false)).expect(200);
    let (file, _) = fetch(&server, &got.receipt());
    assert!(file.signed.statement().optional.policy.is_some());
    server.kill();
    let forbid = "[[forbid]]\nassumption = \"upstream:*\"\nwhen = 'true'\n";
    for (value, more, part) in [
        ("5.0", "", "is at stake"),
        ("0.0", forbid, "forbids upstream:*"),
        (
            "0.0",
            "[[require]]\nrung = \"zk\"\nwhen = 'true'\n",
            "requires zk",
        ),
    ] {
        policy(value, more);
        let server = Server::again(&sandbox);
        let got = chat(&server, &[], &question(false)).expect(422);
        assert_eq!(got.code(), "refused");
        assert!(got.text().contains(part), "{}", got.text());
    }
    let mut other = question(false);
    other["model"] = json!("org/same");
    policy("0.0", "");
    let server = Server::again(&sandbox);
    let got = chat(&server, &[], &other).expect(422);
    assert_eq!(got.code(), "refused", "no rule says what is at stake");
    assert_eq!(fake.asked().len(), 1);
}
