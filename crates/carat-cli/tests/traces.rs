//! Traces, as a collector gets them: OTLP over HTTP as JSON. The collector here is a socket that keeps what is posted to it.

mod common;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::Sandbox;
use common::server::Server;
use serde_json::{Value, json};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Answers every POST with 200 and keeps its document.
struct Collector {
    address: SocketAddr,
    posts: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let posts = Arc::new(Mutex::new(Vec::new()));
        let kept = posts.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                std::thread::spawn(move || while read(&stream, &kept).is_some() {});
            }
        });
        Self { address, posts }
    }

    fn spans(&self) -> Vec<Value> {
        let posts = self.posts.lock().expect("posts");
        let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
        posts
            .iter()
            .flat_map(|post| all(&post["resourceSpans"]))
            .flat_map(|resource| all(&resource["scopeSpans"]))
            .flat_map(|scope| all(&scope["spans"]))
            .collect()
    }

    /// The spans, once there are as many that something holds for.
    fn wait(&self, count: usize, holds: impl Fn(&Value) -> bool) -> Vec<Value> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let found: Vec<Value> = self.spans().into_iter().filter(&holds).collect();
            if found.len() >= count {
                return found;
            }
            assert!(
                Instant::now() < end,
                "{count} spans did not come: {found:#?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn read(mut stream: &TcpStream, kept: &Mutex<Vec<Value>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        lines.push(line.trim().to_ascii_lowercase());
    }
    assert_eq!(lines[0], "post /v1/traces http/1.1");
    assert!(lines.contains(&"content-type: application/json".to_string()));
    let length = lines
        .iter()
        .find_map(|line| line.strip_prefix("content-length: "))?
        .parse()
        .ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let document = serde_json::from_slice(&body).expect("JSON");
    kept.lock().expect("posts").push(document);
    stream
        .write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        )
        .ok()
}

fn body(sandbox: &Sandbox) -> Value {
    let text = fs::read_to_string(sandbox.path("tumor.json")).expect("read the input");
    json!({ "inputs": serde_json::from_str::<Value>(&text).expect("JSON") })
}

fn attributes(span: &Value) -> HashMap<String, String> {
    let all = span["attributes"].as_array().expect("attributes");
    all.iter()
        .map(|attribute| {
            let value = attribute["value"].as_object().expect("a value");
            let (kind, value) = value.iter().next().expect("one value");
            // OTLP in JSON: 64-bit integers are text.
            assert!(["stringValue", "intValue", "boolValue"].contains(&kind.as_str()));
            let text = value.as_str().map_or(value.to_string(), str::to_string);
            (attribute["key"].as_str().expect("a key").to_string(), text)
        })
        .collect()
}

/// Everything that OTLP's JSON form asks of a span.
fn well_formed(span: &Value) {
    let hex = |name: &str, digits: usize| {
        let text = span[name].as_str().expect(name);
        assert!(
            text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit()),
            "{span:#}"
        );
        assert!(text.bytes().any(|b| b != b'0'));
    };
    hex("traceId", 32);
    hex("spanId", 16);
    let time = |name: &str| {
        span[name]
            .as_str()
            .expect(name)
            .parse::<u64>()
            .expect("nanoseconds")
    };
    let (start, end) = (time("startTimeUnixNano"), time("endTimeUnixNano"));
    assert!(start > 1_600_000_000_000_000_000 && end >= start);
    assert!((1..=5).contains(&span["kind"].as_u64().expect("a kind")));
    assert!(span["status"].is_object());
    attributes(span);
}

#[test]
fn a_callers_trace_goes_on_here_and_holds_nothing_secret() {
    let sandbox = Sandbox::with_model();
    let key = sandbox.json(
        &[
            "api-key",
            "new",
            "--tenant",
            "acme",
            "--scope",
            "infer,read,upgrade",
        ],
        0,
    );
    let key = key["key"].as_str().expect("a key").to_string();
    let authorization = format!("Bearer {key}");
    let collector = Collector::start();
    let more = format!(
        "[traces]\nendpoint = \"http://{}\"\nservice = \"node-7\"",
        collector.address
    );
    let server = Server::start(&sandbox, &more);
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let mut asked = body(&sandbox);
    asked["nonce"] = json!("00112233445566778899");
    asked["facts"] = json!({ "request": { "note": "a-fact-of-the-caller" } });
    let headers = [
        ("authorization", authorization.as_str()),
        ("traceparent", parent.as_str()),
        ("carat-at-stake", "50USD"),
        ("idempotency-key", "order-of-a-customer"),
    ];
    let answer = server.infer(&headers, &asked).expect(200);
    let id = answer.header("carat-receipt-id").to_string();
    let of_caller = |span: &Value| span["traceId"] == TRACE;
    let spans = collector.wait(7, of_caller);
    spans.iter().for_each(well_formed);
    let named = |name: &str| {
        spans
            .iter()
            .find(|span| span["name"] == name)
            .unwrap_or_else(|| panic!("no span {name} in {spans:#?}"))
    };
    let root = named("POST /v1/models/{name}/infer");
    assert_eq!(root["parentSpanId"], CALLER);
    assert_eq!(root["kind"], 2);
    let about = attributes(root);
    assert_eq!(about["http.request.method"], "POST");
    assert_eq!(about["http.route"], "/v1/models/{name}/infer");
    assert_eq!(about["http.response.status_code"], "200");
    for name in ["wait", "plan", "inference tumor", "sign", "prove", "keep"] {
        assert_eq!(named(name)["parentSpanId"], root["spanId"], "{name}");
    }
    assert_eq!(attributes(named("plan"))["carat.rung"], "zk");
    let about = attributes(named("inference tumor"));
    assert_eq!(about["gen_ai.operation.name"], "inference");
    assert_eq!(about["gen_ai.request.model"], "tumor");
    let ids: HashSet<&str> = spans
        .iter()
        .filter_map(|span| span["spanId"].as_str())
        .collect();
    assert_eq!(ids.len(), spans.len());

    // A caller that does not sample is not traced; one without a trace is, in a trace of its own; health is never.
    let unsampled = format!("00-{}-{CALLER}-00", "1".repeat(32));
    let headers = [
        ("authorization", authorization.as_str()),
        ("traceparent", &unsampled),
    ];
    server.infer(&headers, &asked).expect(200);
    server.get("/health/ready").expect(200);
    // What fails says so, without words.
    server
        .ask("GET", &format!("/v1/receipts/{id}"), &[], &[])
        .expect(401);
    server.get("/an-address-that-is-none").expect(404);
    let none = collector.wait(1, |span| span["name"] == "GET");
    assert_eq!(attributes(&none[0]).get("http.route"), None);
    let read = collector.wait(1, |span| span["name"] == "GET /v1/receipts/{id}");
    well_formed(&read[0]);
    assert_ne!(read[0]["traceId"], TRACE);
    assert_eq!(read[0].get("parentSpanId"), None);
    assert_eq!(attributes(&read[0])["http.response.status_code"], "401");
    assert_eq!(server.terminate(), Some(0));
    let all = serde_json::to_string(&*collector.posts.lock().expect("posts")).expect("text");
    assert!(all.contains("\"service.name\",\"value\":{\"stringValue\":\"node-7\"}"));
    for secret in [
        &key[..],
        &key[key.len() - 20..],
        "acme",
        "a-fact-of-the-caller",
        "00112233445566778899",
        "order-of-a-customer",
        &id,
        &"1".repeat(32),
        "/health",
        "an-address-that-is-none",
    ] {
        assert!(!all.contains(secret), "{secret} is in the spans");
    }
    // Nor any number of the input.
    for number in asked["inputs"]["features"][0]
        .as_array()
        .expect("numbers")
        .iter()
        .take(5)
    {
        assert!(
            !all.contains(&format!("{number}")) || number.to_string().len() < 4,
            "{number}"
        );
    }
}

#[test]
fn a_collector_that_is_dead_or_silent_holds_up_nothing() {
    // One that takes connections and never answers, and one that is not there.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let gone = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    for address in [silent.local_addr().expect("an address"), gone] {
        let sandbox = Sandbox::with_model();
        let more = format!(
            "access = \"open\"\n[traces]\nendpoint = \"http://{address}/v1/traces\"\nqueue = 4"
        );
        let server = Server::start(&sandbox, &more);
        let body = body(&sandbox);
        for _ in 0..20 {
            server.infer(&[], &body).expect(200);
        }
        let end = Instant::now() + Duration::from_secs(60);
        while server.metric("carat_trace_spans_dropped_total ") == 0 {
            assert!(Instant::now() < end, "nothing was dropped");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(server.metric("carat_trace_spans_exported_total "), 0);
        assert_eq!(server.terminate(), Some(0));
    }
}

#[test]
fn an_endpoint_that_cannot_be_one_is_refused_at_the_start() {
    let sandbox = Sandbox::with_model();
    for endpoint in [
        "collector:4318",
        "ftp://collector",
        "http://user:word@collector",
    ] {
        let text = format!(
            "access = \"open\"\n[traces]\nendpoint = \"{endpoint}\"\n[[model]]\nname = \"tumor\"\npath = \"tumor.carat-model\"\n"
        );
        fs::write(sandbox.path("serve.toml"), text).expect("write");
        let refused = sandbox.ends(&["serve", "--config", "serve.toml", "--check"], 2);
        assert!(refused.err.contains("traces.endpoint"), "{}", refused.err);
    }
}
