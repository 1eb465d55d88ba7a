//! The hub through the binary: on its own folder, and behind a server.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::server::Server;
use common::{Sandbox, repo};
use serde_json::{Value, json};

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no {path} in {value:#}"))
}

/// `models/tumor`, copied.
fn tumor(sandbox: &Sandbox) -> PathBuf {
    let to = sandbox.path("model");
    copy(&repo("models/tumor"), &to);
    to
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

fn key(sandbox: &Sandbox, tenant: &str, scopes: &str) -> String {
    let json = sandbox.json(
        &["api-key", "new", "--tenant", tenant, "--scope", scopes],
        0,
    );
    text(&json, "/key").to_string()
}

/// The card of a version once the server has examined it.
fn examined(server: &Server, path: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let card = server.get(path).expect(200).json();
        if card["examination"].is_object() {
            return card;
        }
        assert!(Instant::now() < until, "not examined: {card:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Everything on a card is measured or computed by the hub; and the folder that comes out is the one that went in.
#[test]
fn a_model_is_published_examined_found_and_pulled() {
    let sandbox = Sandbox::new();
    let folder = tumor(&sandbox);
    let card = sandbox.json(&["hub", "publish", "model", "--as", "acme/tumor@1.0.0"], 0);
    assert_eq!(text(&card, "/examination/execution/status"), "runs");
    assert_eq!(card["examination"]["reproduced"], true);
    assert_eq!(card["tags"], json!(["latest"]));
    assert_eq!(
        card["examination"]["facts"]["inputs"],
        json!([{ "name": "features", "dtype": "float32", "shape": [1, 30] }])
    );
    let fidelity = &card["examination"]["fidelity"];
    assert!(
        fidelity["top1_agreement"].as_f64().expect("measured") > 0.98,
        "{fidelity}"
    );
    let rungs = card["examination"]["rungs"].as_array().expect("rungs");
    let names: Vec<&str> = rungs.iter().map(|rung| text(rung, "/name")).collect();
    assert_eq!(names, ["signature", "replay", "tee", "zk"]);
    assert!(rungs[0]["cost"]["p50_micros"].as_u64().expect("measured") > 0);
    assert!(rungs[2]["cost"].is_null(), "no hardware was measured here");
    assert!(rungs[3]["cost"]["proof_bytes"].as_u64().expect("proven") > 1000);
    assert_eq!(text(&rungs[3], "/model_key").len(), 64);
    let program = sandbox.json(&["model", "inspect", "model"], 0);
    assert_eq!(
        text(&card, "/examination/facts/program"),
        text(&program, "/program_digest")
    );
    let found = sandbox.json(
        &[
            "hub",
            "search",
            "tumor",
            "--rung",
            "zk",
            "--operator",
            "Gemm",
        ],
        0,
    );
    assert_eq!(text(&found, "/hits/0/repo"), "acme/tumor");
    assert_eq!(
        sandbox.json(&["hub", "search", "tumor", "--operator", "LSTM"], 0)["total"],
        0
    );
    let shown = sandbox.good(&["hub", "show", "acme/tumor"]).out;
    for words in [
        "compiled again here: the same program",
        "top-1 agreement",
        "Not verified",
        "curl -s",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let pulled = sandbox.json(&["hub", "pull", "acme/tumor", "-o", "out"], 0);
    assert_eq!(text(&pulled, "/digest"), text(&card, "/digest"));
    for file in pulled["files"].as_array().expect("files") {
        let path = text(file, "/path");
        if let Ok(published) = fs::read(folder.join(path)) {
            assert_eq!(
                fs::read(sandbox.path("out").join(path)).expect(path),
                published,
                "{path}"
            );
        }
    }
    // What was pulled runs as it is.
    fs::copy(repo("examples/tumor.json"), sandbox.path("tumor.json")).expect("copied");
    sandbox.good(&["run", "out", "--input", "tumor.json"]);
    assert!(
        sandbox
            .ends(&["hub", "pull", "acme/tumor", "-o", "out"], 12)
            .err
            .contains("there already")
    );
    // Versions do not change, and a version that is taken down says why.
    fs::write(folder.join("README.md"), "changed").expect("written");
    let again = [
        "hub",
        "publish",
        "model",
        "--as",
        "acme/tumor@1.0.0",
        "--seconds",
        "0",
    ];
    assert!(
        sandbox
            .ends(&again, 2)
            .err
            .contains("versions never change")
    );
    sandbox.good(&[
        "hub",
        "tombstone",
        "acme/tumor@1.0.0",
        "--reason",
        "wrong labels",
    ]);
    assert!(
        sandbox
            .ends(&["hub", "pull", "acme/tumor@1.0.0", "-o", "gone"], 26)
            .err
            .contains("wrong labels")
    );
    let shown = sandbox.json(&["hub", "show", "acme/tumor@1.0.0"], 0);
    assert_eq!(
        (text(&shown, "/digest"), text(&shown, "/tombstone/reason")),
        (text(&card, "/digest"), "wrong labels")
    );
    sandbox.good(&["hub", "check"]);
    assert!(
        !sandbox
            .names()
            .iter()
            .any(|name| name.contains("tmp") || name == "gone")
    );
}

/// Through a server: publishing asks for the scope and stays in the tenant's namespace, and the snippets of the card work.
#[test]
fn a_server_takes_versions_from_their_owners_and_its_snippets_work() {
    let sandbox = Sandbox::with_model();
    tumor(&sandbox);
    let (reader, writer) = (
        key(&sandbox, "acme", "infer,read"),
        key(&sandbox, "acme", "publish,infer"),
    );
    let mallory = key(&sandbox, "mallory", "publish");
    let server = Server::start(&sandbox, "[hub]");
    let url = format!("http://{}", server.address);
    let publish = |key: &str, reference: &str| {
        let mut command = sandbox.command(&[
            "hub", "publish", "model", "--as", reference, "--server", &url, "--json",
        ]);
        command.env("CARAT_API_KEY", key);
        common::Ran::from(command.output().expect("carat"), &["hub", "publish"])
    };
    assert!(
        publish(&reader, "acme/tumor@1")
            .err
            .contains("lacks the scope publish")
    );
    assert!(
        publish("carat_nonsense", "acme/tumor@1")
            .err
            .contains("401")
    );
    assert!(
        publish(&mallory, "acme/tumor@1")
            .err
            .contains("not mallory's")
    );
    let published = publish(&writer, "acme/tumor@1");
    assert_eq!(published.code, 0, "{}", published.err);
    let card = examined(&server, "/v1/hub/models/acme/tumor/versions/main");
    assert_eq!(text(&card, "/examination/execution/status"), "runs");
    // It is served, under the name of the configuration; the snippets know, and name the address that was asked.
    let card = sandbox.json(&["hub", "show", "acme/tumor", "--server", &url], 0);
    assert_eq!(card["snippets"]["served"], true);
    let curl = Command::new("bash")
        .args(["-c", text(&card, "/snippets/curl")])
        .env("CARAT_API_KEY", &reader)
        .output();
    let curl = curl.expect("bash with curl");
    let answer: Value =
        serde_json::from_slice(&curl.stdout).unwrap_or_else(|error| panic!("{error}: {curl:?}"));
    assert_eq!(text(&answer, "/receipt_id").len(), 64, "{answer}");
    let python = Command::new("python3")
        .args(["-c", text(&card, "/snippets/python")])
        .env("CARAT_API_KEY", &reader)
        .output();
    let python = python.expect("python3");
    assert!(python.status.success(), "{python:?}");
    // Reading is for everybody; the client compares what it gets.
    let pull = |reference: &str, out: &str, code: i32| {
        sandbox.ends(
            &["hub", "pull", reference, "-o", out, "--server", &url],
            code,
        )
    };
    pull("acme/tumor", "out", 0);
    pull(
        &format!("acme/tumor@{}", text(&card, "/digest")),
        "pinned",
        0,
    );
    assert!(pull("acme/absent", "none", 2).err.contains("no model"));
    let asked = sandbox.json(
        &["hub", "search", "tumor", "--rung", "zk", "--server", &url],
        0,
    );
    assert_eq!(asked["total"], 1);
    let answer = server.get("/acme/tumor/resolve/main/README.md").expect(200);
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("content-disposition"), "attachment");
    let etag = answer.header("etag").to_string();
    let cached = server.ask(
        "GET",
        "/acme/tumor/resolve/main/README.md",
        &[("if-none-match", &etag)],
        &[],
    );
    assert_eq!((cached.status, cached.body.len()), (304, 0));
    for path in [
        "../key",
        "..%2f..%2fkey",
        "%2e%2e/key",
        "/etc/passwd",
        "README.md/..",
    ] {
        let answer = server.get(&format!("/acme/tumor/resolve/main/{path}"));
        assert_eq!(answer.status, 404, "{path}");
    }
    // Taken down: 410, with the reason, for every client.
    let body = json!({ "reason": "a test" }).to_string();
    let path = "/v1/hub/models/acme/tumor/versions/1";
    let by = |key: &str| {
        server.ask(
            "DELETE",
            path,
            &[("authorization", &format!("Bearer {key}"))],
            body.as_bytes(),
        )
    };
    assert_eq!(by(&mallory).status, 403);
    assert_eq!(by(&reader).status, 403);
    by(&writer).expect(200);
    let gone = server.get("/acme/tumor/resolve/1/README.md").expect(410);
    assert!(gone.header("x-error-message").contains("a test"));
    assert!(pull("acme/tumor@1", "late", 26).err.contains("a test"));
    assert_eq!(server.terminate(), Some(0));
}

/// Lengths, digests and limits of uploads are checked, and what breaks off leaves nothing.
#[test]
fn uploads_are_bounded_and_checked() {
    let sandbox = Sandbox::with_model();
    let writer = format!("Bearer {}", key(&sandbox, "acme", "publish"));
    let server = Server::start(&sandbox, "[hub]\nfile_bytes = 1000\nexamine_seconds = 0");
    let put = |bytes: &[u8], digest: &str| {
        server.ask(
            "PUT",
            &format!("/v1/hub/files/{digest}"),
            &[("authorization", &writer)],
            bytes,
        )
    };
    let digest = |bytes: &[u8]| carat_receipt::Digest::sha256(bytes).to_string();
    let large = vec![7; 1001];
    assert!(
        put(&large, &digest(&large)).expect(413).json()["detail"]
            .as_str()
            .expect("text")
            .contains("hub.file_bytes")
    );
    assert_eq!(
        text(&put(b"one", &digest(b"two")).expect(422).json(), "/kind"),
        "digest-mismatch"
    );
    put(b"one", "../../x").expect(404);
    put(b"one", "nonsense").expect(400);
    put(b"one", &digest(b"one")).expect(201);
    server
        .ask("PUT", &format!("/v1/hub/files/{}", digest(b"x")), &[], b"x")
        .expect(401);
    // A body that breaks off.
    {
        use std::io::Write as _;
        let mut stream = std::net::TcpStream::connect(server.address).expect("connected");
        let head = format!(
            "PUT /v1/hub/files/{} HTTP/1.1\r\nhost: localhost\r\nauthorization: {writer}\r\ncontent-length: 500\r\n\r\nhalf",
            digest(b"half")
        );
        stream.write_all(head.as_bytes()).expect("sent");
    }
    let incoming = || {
        fs::read_dir(sandbox.path("home/hub/incoming"))
            .expect("a folder")
            .count()
    };
    let until = Instant::now() + Duration::from_secs(30);
    while incoming() > 0 {
        assert!(
            Instant::now() < until,
            "an upload that broke off is still there"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let post = |manifest: Value| {
        let body = json!({ "manifest": manifest }).to_string();
        let headers = [
            ("authorization", writer.as_str()),
            ("content-type", "application/json"),
        ];
        server.ask(
            "POST",
            "/v1/hub/models/acme/m/versions",
            &headers,
            body.as_bytes(),
        )
    };
    let manifest = |path: &str, sha256: &str| json!({ "schema": "carat-hub-manifest/v1", "repo": "acme/m", "version": "1", "files": [{ "path": path, "size": 3, "sha256": sha256 }] });
    for path in ["../x", "/x", "a/../x", ".x", "a\\b"] {
        assert_eq!(post(manifest(path, &digest(b"one"))).status, 400, "{path}");
    }
    assert_eq!(
        text(
            &post(manifest("m.bin", &digest(b"two"))).expect(422).json(),
            "/kind"
        ),
        "missing-file"
    );
    post(manifest("m.bin", &digest(b"one"))).expect(201);
    assert_eq!(
        server.get("/acme/m/resolve/1/m.bin").expect(200).body,
        b"one"
    );
    // A file that rots on the server's disk is not given out as a whole one.
    let name = digest(b"one");
    let blob = sandbox.path(&format!("home/hub/blobs/{}/{name}", &name[..2]));
    fs::write(&blob, b"onE").expect("changed");
    let broken = Server::try_ask(server.address, "GET", "/acme/m/resolve/1/m.bin", &[], &[]);
    assert!(broken.is_err() || broken.is_ok_and(|answer| answer.status >= 500));
}

/// Weights never leave: not by pull, not by any address, not by their digest; the card is there, and the model runs here.
#[test]
fn a_private_model_shows_its_card_and_keeps_its_files() {
    let sandbox = Sandbox::with_model();
    tumor(&sandbox);
    let args = [
        "hub",
        "publish",
        "model",
        "--as",
        "acme/secret@1",
        "--private",
    ];
    let card = sandbox.json(&args, 0);
    assert_eq!(text(&card, "/examination/execution/status"), "runs");
    assert!(card["files"].is_null());
    assert_eq!(text(&card, "/examination/facts/program").len(), 64);
    assert!(
        sandbox
            .ends(&["hub", "pull", "acme/secret", "-o", "out"], 26)
            .err
            .contains("private")
    );
    sandbox.json(
        &[
            "hub",
            "publish",
            "model",
            "--as",
            "acme/hidden@1",
            "--private",
            "--unlisted",
            "--seconds",
            "0",
        ],
        0,
    );
    let server = Server::start(&sandbox, "access = \"open\"\n[hub]\nexamine_seconds = 0");
    let url = format!("http://{}", server.address);
    assert!(
        sandbox
            .ends(
                &["hub", "pull", "acme/secret", "-o", "out", "--server", &url],
                26
            )
            .err
            .contains("private")
    );
    for path in ["README.md", "tumor.onnx", "tumor.carat-model", "model.toml"] {
        let answer = server
            .get(&format!("/acme/secret/resolve/main/{path}"))
            .expect(403);
        assert_eq!(answer.header("x-error-code"), "GatedRepo");
    }
    server.get("/api/models/acme/secret/tree/main").expect(403);
    server
        .get("/v1/hub/models/acme/secret/versions/1/manifest")
        .expect(403);
    let info = server.get("/api/models/acme/secret").expect(200).json();
    assert_eq!(
        (&info["private"], &info["siblings"]),
        (&json!(true), &json!([]))
    );
    let listed = server.get("/v1/hub/models").expect(200).json();
    let names: Vec<&str> = listed["hits"]
        .as_array()
        .expect("hits")
        .iter()
        .map(|hit| text(hit, "/repo"))
        .collect();
    assert_eq!(names, ["acme/secret"]);
    // Nothing that is answered holds a digest of a file.
    let weights =
        carat_receipt::Digest::sha256(&fs::read(sandbox.path("model/tumor.onnx")).expect("read"))
            .to_string();
    for path in [
        "/v1/hub/models/acme/secret",
        "/v1/hub/models/acme/secret/versions/1",
        "/api/models/acme/secret",
        "/v1/hub/models",
    ] {
        let body = String::from_utf8(server.get(path).expect(200).body).expect("text");
        assert!(!body.contains(&weights), "{path}");
    }
}

/// A folder that the official package signed.
#[test]
fn signatures_are_checked_when_published_and_when_pulled() {
    let sandbox = Sandbox::new();
    let fixtures = repo("crates/carat-hub/tests/fixtures/signing");
    let name = |file: &str| fixtures.join(file).to_str().expect("UTF-8").to_string();
    let (public, other, root) = (name("p256.pub"), name("p384.pub"), name("root.pem"));
    let lay = |folder: &str, signature: &str| {
        copy(&fixtures.join("model"), &sandbox.path(folder));
        fs::copy(
            fixtures.join(signature),
            sandbox.path(folder).join("model.sig"),
        )
        .expect("copied");
    };
    lay("signed", "p256.sig");
    let card = sandbox.json(
        &[
            "hub",
            "publish",
            "signed",
            "--as",
            "acme/signed@1",
            "--signing-key",
            &public,
        ],
        0,
    );
    assert_eq!(text(&card, "/signature/state"), "verified");
    assert_eq!(text(&card, "/examination/execution/status"), "no-model");
    sandbox.good(&[
        "hub",
        "pull",
        "acme/signed",
        "-o",
        "a",
        "--signing-key",
        &public,
    ]);
    assert!(
        sandbox
            .ends(
                &[
                    "hub",
                    "pull",
                    "acme/signed",
                    "-o",
                    "b",
                    "--signing-key",
                    &other
                ],
                1
            )
            .err
            .contains("another key")
    );
    sandbox.ends(&["hub", "show", "acme/signed", "--signing-root", &root], 1);
    assert!(!sandbox.path("b").exists());
    // A file that was changed after it was signed is not published.
    fs::write(sandbox.path("signed/README.md"), "another text\n").expect("written");
    let changed = [
        "hub",
        "publish",
        "signed",
        "--as",
        "acme/signed@2",
        "--signing-key",
        &public,
    ];
    assert!(sandbox.ends(&changed, 1).err.contains("README.md"));
    lay("chain", "certificate.sig");
    let card = sandbox.json(&["hub", "publish", "chain", "--as", "acme/chain@1"], 0);
    assert_eq!(text(&card, "/signature/signer"), "signer@example.org");
    let not: Vec<&str> = card["not_verified"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        not.iter().any(|line| line.contains("who issued")),
        "{not:?}"
    );
    sandbox.good(&[
        "hub",
        "pull",
        "acme/chain",
        "-o",
        "c",
        "--signing-root",
        &root,
    ]);
    copy(&fixtures.join("model"), &sandbox.path("plain"));
    sandbox.good(&["hub", "publish", "plain", "--as", "acme/plain@1"]);
    sandbox.ends(
        &[
            "hub",
            "pull",
            "acme/plain",
            "-o",
            "d",
            "--signing-key",
            &public,
        ],
        1,
    );
}

/// Four folders of models: a good one, the same again, one that is refused, one that is no model. Then a bound that is too
/// small for anything.
#[test]
fn an_import_keeps_what_runs_and_what_does_not_and_goes_on() {
    let sandbox = Sandbox::new();
    for folder in ["a/one", "a/two", "b/broken"] {
        fs::create_dir_all(sandbox.path(folder)).expect("a folder");
    }
    let onnx = repo("models/tumor/tumor.onnx");
    fs::copy(&onnx, sandbox.path("a/one/model.onnx")).expect("copied");
    fs::copy(&onnx, sandbox.path("a/two/model.onnx")).expect("copied");
    fs::write(sandbox.path("b/broken/model.onnx"), b"\x08\x07no model").expect("written");
    fs::write(sandbox.path("b/unknown.onnx"), unknown_operator()).expect("written");
    let import = |more: &[&str]| {
        sandbox.json(
            &[
                &[
                    "hub",
                    "import",
                    "a",
                    "b",
                    "--owner",
                    "test",
                    "--licence",
                    "MIT",
                ],
                more,
            ]
            .concat(),
            0,
        )
    };
    let report = import(&[]);
    let count = |name: &str| {
        report[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name} in {report:#}"))
    };
    assert_eq!(
        (count("found"), count("duplicates"), count("imported")),
        (4, 1, 3)
    );
    assert_eq!(
        (count("runs"), count("proven"), count("refused")),
        (1, 1, 2)
    );
    assert_eq!(
        report["refusals"]["operator Frobnicate is not supported"], 1,
        "{report:#}"
    );
    assert_eq!(
        report["refusals"]["not a readable ONNX model"], 1,
        "{report:#}"
    );
    assert!(count("worker_peak_bytes") > 0 && count("peak_bytes") > 0);
    // A second run finds everything known.
    let again = import(&[]);
    assert_eq!(
        (&again["known"], &again["imported"]),
        (&json!(3), &json!(0))
    );
    let shown = sandbox.json(&["hub", "show", "test/unknown"], 0);
    assert!(text(&shown, "/examination/execution/reason").contains("Frobnicate"));
    assert_eq!(
        shown["examination"]["facts"]["operators"],
        json!({ "Frobnicate": 1 })
    );
    // The file is there all the same.
    sandbox.good(&["hub", "pull", "test/unknown", "-o", "out"]);
    assert_eq!(
        fs::read(sandbox.path("out/unknown.onnx")).expect("pulled"),
        unknown_operator()
    );
    assert_eq!(
        sandbox.json(
            &["hub", "search", "--execution", "runs", "--operator", "Gemm"],
            0
        )["total"],
        1
    );
    sandbox.good(&["hub", "check"]);
    // More memory than it may take: its own examination ends, and nothing else.
    fs::create_dir_all(sandbox.path("c")).expect("a folder");
    fs::write(sandbox.path("c/large.onnx"), large_constant()).expect("written");
    let report = sandbox.json(
        &["hub", "import", "c", "--owner", "test", "--memory", "64MiB"],
        0,
    );
    assert_eq!(
        (&report["imported"], &report["refused"]),
        (&json!(1), &json!(1))
    );
    let reasons = report["refusals"].as_object().expect("reasons");
    assert!(
        reasons.keys().all(|reason| reason.contains("memory")),
        "{reasons:?}"
    );
}

/// A field of a protobuf message that has a length.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 127 {
        out.push(length as u8 | 128);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

/// onnx.proto: a model of one node from x: float[1] to y, with an initializer.
fn one_node(operator: &str, inputs: &[&str], initializer: &[u8]) -> Vec<u8> {
    let shape = field(2, &field(1, &[0x08, 1]));
    let kind = field(2, &field(1, &[&[0x08, 1][..], &shape].concat()));
    let info = |name: &str| [field(1, name.as_bytes()), kind.clone()].concat();
    let inputs = inputs.iter().flat_map(|name| field(1, name.as_bytes()));
    let mut node: Vec<u8> = inputs.collect();
    node.extend([field(2, b"y"), field(4, operator.as_bytes())].concat());
    let mut graph = field(1, &node);
    if !initializer.is_empty() {
        graph.extend(field(5, initializer));
    }
    graph.extend([field(11, &info("x")), field(12, &info("y"))].concat());
    [&[0x08, 8][..], &field(7, &graph), &field(8, &[0x10, 17])].concat()
}

/// A model whose operator nobody has.
fn unknown_operator() -> Vec<u8> {
    one_node("Frobnicate", &["x"], &[])
}

/// A model with ten million weights.
fn large_constant() -> Vec<u8> {
    let weights = vec![0; 40_000_000];
    let dims = [0x08, 0x80, 0xad, 0xe2, 0x04];
    let tensor = [&dims[..], &[0x10, 1], &field(8, b"w"), &field(9, &weights)].concat();
    one_node("Add", &["x", "w"], &tensor)
}

/// Killed in the middle again and again: whatever can be seen is whole, and the rest is imported by the next run.
#[test]
fn a_killed_import_leaves_whole_versions_only() {
    let sandbox = Sandbox::new();
    let model = fs::read(repo("models/tumor/tumor.onnx")).expect("read");
    fs::create_dir_all(sandbox.path("many")).expect("a folder");
    for i in 0..24u8 {
        // A field that nobody knows makes each file another one.
        let bytes = [&model[..], &[0xfa, 0x3e, 1, i]].concat();
        fs::write(sandbox.path(&format!("many/m{i}.onnx")), bytes).expect("written");
    }
    let args = ["hub", "import", "many", "--owner", "test", "--no-proofs"];
    let mut before = 0;
    for round in 1..=3 {
        let mut child = sandbox
            .command(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("carat");
        std::thread::sleep(Duration::from_millis(40 * round));
        child.kill().expect("SIGKILL");
        child.wait().expect("reaped");
        let check = sandbox.json(&["hub", "check"], 0);
        assert_eq!(check["faults"], json!([]));
        let versions = check["versions"].as_u64().expect("a count");
        // Each with its ONNX file and its compiled model.
        assert!(versions >= before);
        assert_eq!(check["files"].as_u64(), Some(2 * versions));
        before = versions;
    }
    let report = sandbox.json(&args, 0);
    assert_eq!(report["imported"].as_u64().expect("a count") + before, 24);
    assert_eq!(sandbox.json(&["hub", "check"], 0)["versions"], 24);
}
