//! The verifying proxy, with a node that is honest and somebody between the two who is not.

mod common;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use carat_receipt::{Opening, ReceiptFile, SignedStatement, SigningKey};
use common::Sandbox;
use common::fake::{Act, Asked, Fake, Got, ask, stream_head, whole};
use common::server::Server;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");
const CHAT: &str = "/v1/chat/completions";

/// What somebody does with a request on its way to the node.
type Meddling = Box<dyn Fn(&Asked, SocketAddr) -> Got + Send>;

/// A proxy in a process of its own. Killed when dropped.
struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    fn start(sandbox: &Sandbox, node: SocketAddr, more: &[&str]) -> Self {
        let node = format!("http://{node}");
        let base = [
            "proxy",
            "--upstream",
            &node,
            "--trust",
            "trust.toml",
            "--listen",
            "127.0.0.1:0",
        ];
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(sandbox.path("proxy.log"))
            .expect("a file for its log");
        let mut child = sandbox
            .command(&[&base, more].concat())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("start carat proxy");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out)
            .read_line(&mut line)
            .expect("its address");
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| {
            let log = std::fs::read_to_string(sandbox.path("proxy.log"));
            panic!("{line:?}\n{}", log.unwrap_or_default())
        });
        Self { child, address }
    }

    fn ask(&self, path: &str, body: &Value) -> Got {
        ask(
            self.address,
            "POST",
            path,
            &[JSON],
            body.to_string().as_bytes(),
        )
    }
}

/// Passes a request on to the node as it is.
fn pass(asked: &Asked, node: SocketAddr) -> Got {
    let skipped = ["host", "connection", "content-length"];
    let headers: Vec<(&str, &str)> = asked
        .headers
        .iter()
        .filter(|(name, _)| !skipped.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    ask(node, &asked.method, &asked.path, &headers, &asked.body)
}

struct World {
    sandbox: Sandbox,
    _upstream: Fake,
    node: Server,
    between: Fake,
    meddling: Arc<Mutex<Meddling>>,
}

fn event(json: &Value) -> Vec<u8> {
    format!("data: {json}\n\n").into_bytes()
}

/// An upstream, a node in front of it with a model of its own, somebody between, and a Trust file.
fn world() -> World {
    let sandbox = Sandbox::with_model();
    let upstream = Fake::start(|asked: &Asked| {
        let asked = asked.json();
        let named = asked["model"].clone();
        if asked["stream"] == true {
            let mut all = stream_head();
            for word in ["one ", "two ", "three"] {
                all.extend(event(&json!({ "model": named, "choices": [{ "index": 0, "delta": { "content": word } }] })));
            }
            if asked["cut"] != true {
                all.extend(b"data: [DONE]\n\n");
            }
            return vec![Act::Write(all)];
        }
        let text = asked["messages"][0]["content"].clone();
        let json =
            json!({ "model": named, "choices": [{ "message": { "content": text } }], "data": [] });
        vec![Act::Write(whole(
            200,
            "application/json",
            json.to_string().as_bytes(),
        ))]
    });
    let config = format!(
        "access = \"open\"\n[[upstreams]]\nname = \"up\"\nurl = \"http://{}/v1\"\nmodels = [{{ name = \"mini\", upstream_name = \"gpt-mini\" }}, {{ name = \"maxi\" }}]\n",
        upstream.address
    );
    let node = Server::start(&sandbox, &config);
    let meddling: Arc<Mutex<Meddling>> = Arc::new(Mutex::new(Box::new(pass)));
    let (now, address) = (meddling.clone(), node.address);
    let between = Fake::start(move |asked| {
        let got = now.lock().expect("lock")(asked, address);
        let mut head = format!(
            "HTTP/1.1 {} X\r\ncontent-length: {}\r\n",
            got.status,
            got.body.len()
        );
        for name in ["content-type", "carat-receipt-id"] {
            if let Some(value) = got.headers.get(name) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str("\r\n");
        vec![Act::Write([head.as_bytes(), got.body.as_slice()].concat())]
    });
    let got = ask(
        node.address,
        "POST",
        CHAT,
        &[JSON],
        question(false).to_string().as_bytes(),
    )
    .expect(200);
    let receipt = ask(
        node.address,
        "GET",
        &format!("/v1/receipts/{}", got.receipt()),
        &[],
        &[],
    );
    let file = ReceiptFile::decode(&receipt.expect(200).body).expect("a receipt");
    let key = file.signed.statement().issuer_key.to_string();
    sandbox.good(&[
        "trust",
        "new",
        "--name",
        "me",
        "--currency",
        "USD",
        "--audience",
        "me",
    ]);
    sandbox.good(&["trust", "add", "trust.toml", "issuer", "node", &key]);
    World {
        sandbox,
        _upstream: upstream,
        node,
        between,
        meddling,
    }
}

impl World {
    fn meddle(&self, how: impl Fn(&Asked, SocketAddr) -> Got + Send + 'static) {
        *self.meddling.lock().expect("lock") = Box::new(how);
    }

    fn trust(&self, args: &[&str]) {
        self.sandbox
            .good(&[&["trust", "add", "trust.toml"], args].concat());
    }

    fn proxy(&self, more: &[&str]) -> Proxy {
        Proxy::start(&self.sandbox, self.between.address, more)
    }
}

fn question(stream: bool) -> Value {
    json!({ "model": "mini", "stream": stream, "messages": [{ "role": "user", "content": "hello" }] })
}

fn is_answer(asked: &Asked) -> bool {
    asked.method == "POST"
}

/// A refusal that lets nothing of the answer through.
fn withheld(what: &str, got: &Got, status: u16, code: &str) {
    assert_eq!(
        (got.status, got.code().as_str()),
        (status, code),
        "{what}: {}",
        got.text()
    );
    assert!(
        !got.text().contains("choices") && !got.text().contains("two "),
        "{what}"
    );
    assert!(!got.headers.contains_key("carat-receipt-id"), "{what}");
}

#[test]
fn only_what_is_good_for_enough_comes_through() {
    let world = world();
    // A courier is worth nothing until the Trust file says otherwise.
    let proxy = world.proxy(&["--min-good-for", "5USD"]);
    let got = proxy.ask(CHAT, &question(false));
    withheld("no cap", &got, 422, "not_good_enough");
    let error = &got.json()["error"];
    assert_eq!(error["carat"]["good_for"], "0 USD");
    assert!(
        error["message"]
            .as_str()
            .expect("text")
            .contains("carat trust add FILE upstream up"),
        "{error}"
    );
    assert_eq!(got.headers["x-should-retry"], "false");
    drop(proxy);

    world.trust(&["upstream", "up", "5USD"]);
    let proxy = world.proxy(&["--min-good-for", "5USD", "--keep", "kept"]);
    for stream in [false, true] {
        let got = proxy.ask(CHAT, &question(stream)).expect(200);
        assert_eq!(got.headers["carat-good-for"], "5 USD");
        let text = got.text();
        assert!(
            text.contains(if stream { "[DONE]" } else { "hello" }),
            "{text}"
        );
        // What was kept verifies again, without the proxy.
        let path = format!("kept/{}.carat", got.receipt());
        let end = text.find(": carat-receipt").unwrap_or(text.len());
        std::fs::write(world.sandbox.path("answer"), &text[..end]).expect("write");
        std::fs::write(world.sandbox.path("asked"), question(stream).to_string()).expect("write");
        let receipt = ReceiptFile::decode(&std::fs::read(world.sandbox.path(&path)).expect("kept"))
            .expect("a receipt");
        let nonce = receipt
            .signed
            .statement()
            .optional
            .nonce
            .clone()
            .expect("a nonce");
        let nonce: String = nonce
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        world.sandbox.good(&[
            "verify",
            &path,
            "--trust",
            "trust.toml",
            "--asked",
            "mini",
            "--input",
            "asked",
            "--answer",
            "answer",
            "--nonce",
            &nonce,
            "--amount",
            "5USD",
        ]);
    }
    let embeddings = json!({ "model": "mini", "input": "x" });
    proxy.ask("/v1/embeddings", &embeddings).expect(200);
    // A stream that the upstream cut has a receipt, and is not good for anything.
    let mut cut = question(true);
    cut["cut"] = json!(true);
    let got = proxy.ask(CHAT, &cut);
    withheld("cut by the upstream", &got, 502, "receipt_invalid");
    // Errors of the node are told in its words.
    let unknown = proxy.ask(CHAT, &json!({ "model": "nobody", "messages": [] }));
    assert_eq!(unknown.status, 404);
    assert!(
        unknown.text().contains("the node answered 404"),
        "{}",
        unknown.text()
    );
    let list = ask(proxy.address, "GET", "/v1/models", &[], &[])
        .expect(200)
        .json();
    assert_eq!(list["data"][0]["id"], "mini");
    drop(proxy);

    let proxy = world.proxy(&["--min-good-for", "5.01USD"]);
    withheld(
        "more than the cap",
        &proxy.ask(CHAT, &question(true)),
        422,
        "not_good_enough",
    );
}

/// Every forgery of the threat model, by somebody who sits between proxy and node and can change whatever passes.
#[test]
fn nothing_forged_comes_through() {
    let world = world();
    world.trust(&["upstream", "up", "5USD"]);
    let proxy = world.proxy(&["--min-good-for", "5USD"]);
    proxy.ask(CHAT, &question(true)).expect(200);

    let change = |from: &'static str, to: &'static str| {
        move |asked: &Asked, node: SocketAddr| {
            let mut got = pass(asked, node);
            if is_answer(asked) {
                got.body = got.text().replace(from, to).into_bytes();
            }
            got
        }
    };
    world.meddle(change("hello", "hullo"));
    withheld(
        "another answer",
        &proxy.ask(CHAT, &question(false)),
        502,
        "receipt_invalid",
    );
    world.meddle(change("two ", "too "));
    withheld(
        "another chunk",
        &proxy.ask(CHAT, &question(true)),
        502,
        "receipt_invalid",
    );
    world.meddle(|asked, node| {
        let mut got = pass(asked, node);
        if is_answer(asked) {
            let text = got.text();
            let mut events: Vec<&str> = text.split_inclusive("\n\n").collect();
            events.swap(0, 1);
            got.body = events.concat().into_bytes();
        }
        got
    });
    withheld(
        "swapped chunks",
        &proxy.ask(CHAT, &question(true)),
        502,
        "receipt_invalid",
    );
    world.meddle(|asked, node| {
        let mut got = pass(asked, node);
        if is_answer(asked) {
            let text = got.text();
            let events: Vec<&str> = text.split_inclusive("\n\n").collect();
            got.body = [&events[..1], &events[2..]].concat().concat().into_bytes();
        }
        got
    });
    withheld(
        "a chunk left out",
        &proxy.ask(CHAT, &question(true)),
        502,
        "receipt_invalid",
    );
    world.meddle(|asked, node| {
        let mut got = pass(asked, node);
        if is_answer(asked) {
            let half = got.body.len() / 2;
            got.body.truncate(half);
        }
        got
    });
    withheld(
        "a stream cut on its way",
        &proxy.ask(CHAT, &question(true)),
        502,
        "receipt_unreadable",
    );
    withheld(
        "an answer cut on its way",
        &proxy.ask(CHAT, &question(false)),
        502,
        "receipt_invalid",
    );

    world.meddle(|asked, node| {
        let mut asked = asked.clone();
        let text = String::from_utf8_lossy(&asked.body).replace("hello", "give me the choices");
        asked.body = text.into_bytes();
        pass(&asked, node)
    });
    let got = proxy.ask(CHAT, &question(true));
    withheld("another request", &got, 502, "receipt_invalid");
    assert!(got.text().contains("another input"), "{}", got.text());
    world.meddle(|asked, node| {
        let mut asked = asked.clone();
        let text = String::from_utf8_lossy(&asked.body).replace("mini", "maxi");
        asked.body = text.into_bytes();
        pass(&asked, node)
    });
    withheld(
        "another model",
        &proxy.ask(CHAT, &question(true)),
        502,
        "receipt_invalid",
    );
    world.meddle(|asked, node| {
        let mut asked = asked.clone();
        asked.headers.insert("carat-nonce".into(), "00".repeat(32));
        pass(&asked, node)
    });
    withheld(
        "another nonce",
        &proxy.ask(CHAT, &question(true)),
        502,
        "receipt_invalid",
    );
    // Everything that the node said to an earlier request of the same words.
    let earlier: Arc<Mutex<Option<Got>>> = Arc::default();
    let kept = earlier.clone();
    world.meddle(move |asked, node| {
        if !is_answer(asked) {
            return pass(asked, node);
        }
        let mut kept = kept.lock().expect("lock");
        kept.get_or_insert_with(|| pass(asked, node)).clone()
    });
    proxy.ask(CHAT, &question(false)).expect(200);
    let replayed = proxy.ask(CHAT, &question(false));
    withheld("a replay", &replayed, 502, "receipt_invalid");
    assert!(
        replayed.text().contains("another nonce"),
        "{}",
        replayed.text()
    );
    assert!(earlier.lock().expect("lock").is_some());
    world.meddle(|asked, node| {
        let mut asked = asked.clone();
        asked
            .headers
            .insert("carat-audience".into(), "somebody else".into());
        pass(&asked, node)
    });
    withheld(
        "for somebody else",
        &proxy.ask(CHAT, &question(true)),
        502,
        "receipt_invalid",
    );

    // The same Statement under another key, with the opening that goes with it.
    world.meddle(|asked, node| {
        let mut got = pass(asked, node);
        if is_answer(asked) || !asked.path.starts_with("/v1/receipts/") {
            return got;
        }
        let path = asked.path.trim_end_matches("/opening");
        let own = ReceiptFile::decode(&ask(node, "GET", path, &[], &[]).body).expect("a receipt");
        let thief = SigningKey::from_secret(&[9; 32]);
        let mut statement = own.signed.statement().clone();
        statement.issuer_key = thief.public();
        let forged = ReceiptFile::new(SignedStatement::sign(statement, &thief).expect("signed"));
        got.body = if asked.path.ends_with("/opening") {
            let mut opening = Opening::decode(&got.body).expect("an opening");
            opening.receipt_id = forged.receipt_id();
            opening.encode().to_vec()
        } else {
            forged.encode()
        };
        got
    });
    withheld(
        "another signer",
        &proxy.ask(CHAT, &question(true)),
        422,
        "not_good_enough",
    );
    for (what, bytes) in [("no receipt", &b""[..]), ("garbage", b"garbage")] {
        world.meddle(move |asked, node| {
            let mut got = pass(asked, node);
            if asked.path.starts_with("/v1/receipts/") && !asked.path.ends_with("/opening") {
                got.body = bytes.to_vec();
            }
            got
        });
        withheld(
            what,
            &proxy.ask(CHAT, &question(true)),
            502,
            "receipt_invalid",
        );
    }
    world.meddle(|asked, node| {
        let mut got = pass(asked, node);
        got.headers.remove("carat-receipt-id");
        got
    });
    withheld(
        "no name of a receipt",
        &proxy.ask(CHAT, &question(false)),
        502,
        "receipt_unreadable",
    );
    // A receipt of a model that runs at the node, for another question than any of an upstream.
    let inputs = std::fs::read_to_string(world.sandbox.path("tumor.json")).expect("read");
    let inputs: Value = serde_json::from_str(&inputs).expect("JSON");
    world.meddle(move |asked, node| {
        if !is_answer(asked) {
            return pass(asked, node);
        }
        let nonce = asked.headers["carat-nonce"].as_str();
        let headers = [JSON, ("carat-nonce", nonce), ("carat-audience", "me")];
        let body = json!({ "inputs": inputs }).to_string();
        ask(
            node,
            "POST",
            "/v1/models/tumor/infer",
            &headers,
            body.as_bytes(),
        )
    });
    withheld(
        "a local receipt",
        &proxy.ask(CHAT, &question(false)),
        502,
        "receipt_invalid",
    );
    world.meddle(pass);
    proxy.ask(CHAT, &question(true)).expect(200);
}

#[test]
fn a_model_of_the_node_comes_through_with_its_proof() {
    let world = world();
    let key = world
        .sandbox
        .json(&["model", "key", "tumor.carat-model"], 0);
    let key = key["model_key"].as_str().expect("a key").to_string();
    world.trust(&["model", "tumor", "tumor.carat-model", "--proof-key", &key]);
    let other = "11".repeat(32);
    world.trust(&["model", "other", &other]);
    let proxy = world.proxy(&["--min-good-for", "30USD"]);
    let inputs = std::fs::read_to_string(world.sandbox.path("tumor.json")).expect("read");
    let inputs: Value = serde_json::from_str(&inputs).expect("JSON");
    let path = "/v1/models/tumor/infer";
    let body = json!({ "inputs": inputs });
    let got = proxy.ask(path, &body).expect(200);
    let json = got.json();
    assert_eq!(json["good_for"]["verdict"], "good");
    assert!(json["outputs"].to_string().contains("benign"), "{json}");
    let node = ask(
        world.node.address,
        "POST",
        path,
        &[JSON],
        body.to_string().as_bytes(),
    )
    .expect(200);
    assert_eq!(json["outputs"], node.json()["outputs"]);

    // What the node writes is not what the caller gets.
    world.meddle(|asked, node| {
        let mut got = pass(asked, node);
        if is_answer(asked) {
            got.body = got.text().replace("benign", "malignant").into_bytes();
        }
        got
    });
    let got = proxy.ask(path, &body).expect(200);
    assert_eq!(got.json()["outputs"], json["outputs"]);
    // Another model than the one that is meant, although it is accepted too.
    world.meddle(|asked, node| {
        let mut asked = asked.clone();
        asked.path = asked.path.replace("/other/", "/tumor/");
        pass(&asked, node)
    });
    withheld(
        "another model",
        &proxy.ask("/v1/models/other/infer", &body),
        502,
        "receipt_invalid",
    );
    let unnamed = proxy.ask("/v1/models/unknown/infer", &body);
    assert_eq!(
        (unnamed.status, unnamed.code().as_str()),
        (400, "bad_request")
    );
    // Without the proof.
    world.meddle(|asked, node| {
        let mut asked = asked.clone();
        asked.headers.remove("carat-at-stake");
        pass(&asked, node)
    });
    let unproven = proxy.ask(path, &body);
    withheld("a signature alone", &unproven, 422, "not_good_enough");
    // Another question.
    world.meddle(|asked, node| {
        let mut asked = asked.clone();
        if is_answer(&asked) {
            let mut json = asked.json();
            json["inputs"]["features"][0][0] = json!(0.5);
            asked.body = json.to_string().into_bytes();
        }
        pass(&asked, node)
    });
    withheld(
        "another question",
        &proxy.ask(path, &body),
        502,
        "receipt_invalid",
    );
    world.meddle(pass);
    let mut own = body.clone();
    own["nonce"] = json!("0011223344556677");
    assert_eq!(proxy.ask(path, &own).expect(400).code(), "bad_request");
}

#[test]
fn it_is_for_programs_on_this_machine() {
    let world = world();
    world.trust(&["upstream", "up", "5USD"]);
    let refused = |more: &[&str], code, part: &str| {
        let base = [
            "proxy",
            "--upstream",
            "http://127.0.0.1:1",
            "--trust",
            "trust.toml",
        ];
        let ran = world.sandbox.run(&[&base, more].concat());
        assert!(
            ran.code == code && ran.err.contains(part),
            "{more:?}: {} {}",
            ran.code,
            ran.err
        );
    };
    refused(
        &["--min-good-for", "5USD", "--listen", "0.0.0.0:0"],
        2,
        "--expose",
    );
    refused(&["--min-good-for", "5EUR"], 2, "EUR");
    refused(
        &["--min-good-for", "5USD", "--connections", "0"],
        2,
        "--connections",
    );
    let proxy = world.proxy(&["--min-good-for", "5USD"]);
    let body = question(false).to_string();
    let with = |headers: &[(&str, &str)]| {
        ask(
            proxy.address,
            "POST",
            CHAT,
            &[&[JSON], headers].concat(),
            body.as_bytes(),
        )
    };
    let asked = world.between.asked().len();
    for headers in [
        &[("host", "evil.example")][..],
        &[("host", "127.0.0.1.evil.example")],
        &[("origin", "https://evil.example")],
        &[("origin", "http://127.0.0.1")],
    ] {
        let got = with(headers);
        assert_eq!(
            (got.status, got.code().as_str()),
            (403, "stranger"),
            "{headers:?}"
        );
    }
    assert_eq!(world.between.asked().len(), asked, "none of it went out");
    for host in ["localhost:8322", "127.0.0.1", "[::1]:9"] {
        with(&[("host", host)]).expect(200);
    }
    drop(proxy);
    // A node that is not there, and one that is none.
    let gone = Proxy::start(
        &world.sandbox,
        "127.0.0.1:1".parse().expect("an address"),
        &["--min-good-for", "5USD"],
    );
    assert_eq!(
        gone.ask(CHAT, &question(false)).expect(502).code(),
        "node_unreachable"
    );
    let answer = json!({ "model": "mini", "choices": [] }).to_string();
    let other = Fake::start(move |_| {
        vec![Act::Write(whole(
            200,
            "application/json",
            answer.as_bytes(),
        ))]
    });
    let none = Proxy::start(&world.sandbox, other.address, &["--min-good-for", "5USD"]);
    withheld(
        "no Carat node",
        &none.ask(CHAT, &question(false)),
        502,
        "receipt_unreadable",
    );
    // A Trust file that was changed after it was signed is no Trust file.
    let text = std::fs::read_to_string(world.sandbox.path("trust.toml")).expect("read");
    std::fs::write(
        world.sandbox.path("trust.toml"),
        text.replace("5 USD", "6 USD"),
    )
    .expect("write");
    let broken = world.proxy(&["--min-good-for", "5USD"]);
    withheld(
        "a broken Trust file",
        &broken.ask(CHAT, &question(false)),
        422,
        "not_good_enough",
    );
}
