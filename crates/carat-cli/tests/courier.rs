//! Answers of upstreams, passed on by the node: the bytes, and what the receipts say.

mod common;

use std::io::Read as _;
use std::time::{Duration, Instant};

use carat_receipt::courier::Ending;
use carat_verify::stream::Prefix;
use common::Sandbox;
use common::courier::*;
use common::fake::{Act, Asked, Fake, ask, begin, stream_head, whole};
use common::server::Server;
use serde_json::json;

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
