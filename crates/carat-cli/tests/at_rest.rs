//! What a server keeps on its disk, for how long, and what it takes to read it: encryption at rest and retention, through the
//! real binary.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use common::Sandbox;
use common::server::Server;
use serde_json::{Value, json};

const OPEN: &str = "access = \"open\"";
const SEALED: &str = "access = \"open\"\n[storage]\nencryption_key_file = \"store.key\"\n";
/// In the facts of a request; nothing else has it.
const MARK: &str = "a-fact-that-stands-nowhere-else";

fn key(sandbox: &Sandbox, name: &str, digits: char) {
    let path = sandbox.path(name);
    let text: String = std::iter::repeat_n(digits, 64).collect();
    fs::write(&path, text + "\n").expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
}

fn body(sandbox: &Sandbox) -> Value {
    let text = fs::read_to_string(sandbox.path("tumor.json")).expect("read the input");
    let inputs: Value = serde_json::from_str(&text).expect("JSON");
    json!({ "inputs": inputs, "facts": { "request": { "note": MARK } } })
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{what} did not come");
}

/// Whether bytes stand in any file below a directory.
fn on_disk(dir: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(dir).expect("a directory").any(|found| {
        let path = found.expect("an entry").path();
        if path.is_dir() {
            return on_disk(&path, bytes);
        }
        let file = fs::read(&path).expect("a file");
        // Journals are made with room, which is zeros.
        let end = file
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        file[..end].windows(bytes.len()).any(|part| part == bytes)
    })
}

/// Pieces of what a request leaves behind: of its opening, of a job's body, of its facts as text and as a decision's digits.
fn pieces(server: &Server, id: &str, body: &Value) -> Vec<Vec<u8>> {
    let opening = server
        .get(&format!("/v1/receipts/{id}/opening"))
        .expect(200)
        .body;
    // Somewhere in the first salt, in the input, in what follows it, and near the end.
    let mut found: Vec<Vec<u8>> = [
        100,
        opening.len() / 3,
        opening.len() / 2,
        opening.len() - 60,
    ]
    .iter()
    .map(|at| opening[*at..at + 24].to_vec())
    .collect();
    let body = body.to_string().into_bytes();
    found.push(body[40..80].to_vec());
    found.push(MARK.into());
    found.push(hex::encode(MARK).into_bytes());
    found
}

/// Asks once at once and once as a job; gives the receipt of the first, once both are done.
fn ask(server: &Server, body: &Value) -> String {
    let id = server
        .infer(&[], body)
        .expect(200)
        .header("carat-receipt-id")
        .to_string();
    let job = server
        .infer(
            &[("prefer", "respond-async"), ("idempotency-key", MARK)],
            body,
        )
        .expect(202);
    let job = job.header("location").to_string();
    until("the job", || {
        (server.get(&job).expect(200).json()["state"] == "done").then_some(())
    });
    id
}

#[test]
fn nothing_that_a_caller_sent_lies_in_the_clear() {
    let sandbox = Sandbox::with_model();
    let body = body(&sandbox);
    // The check finds what is there: without a key it is.
    let server = Server::start(&sandbox, OPEN);
    let id = ask(&server, &body);
    let in_the_clear = pieces(&server, &id, &body);
    let home = sandbox.path("home/node");
    for (i, piece) in in_the_clear.iter().enumerate() {
        assert!(
            piece == MARK.as_bytes() || on_disk(&home, piece),
            "piece {i}"
        );
    }
    assert_eq!(server.terminate(), Some(0));
    // Turned on: what was there is rewritten and readable, and so is what comes.
    key(&sandbox, "store.key", '1');
    let server = Server::start(&sandbox, SEALED);
    let after = pieces(&server, &ask(&server, &body), &body);
    assert_eq!(
        pieces(&server, &id, &body),
        in_the_clear,
        "the same opening"
    );
    server.kill();
    for (i, piece) in in_the_clear.iter().chain(&after).enumerate() {
        assert!(!on_disk(&home, piece), "piece {i}");
    }
    assert!(!on_disk(&home, &[0x11; 32]), "nor does the key");
    let log = fs::read_to_string(sandbox.path("server.log")).expect("the log");
    assert!(log.contains("encrypted anew") && !log.contains(MARK));

    // After the crash everything is there, and other commands want the key.
    let server = Server::again(&sandbox);
    assert_eq!(pieces(&server, &id, &body), in_the_clear);
    // The job with the key that was known before the rewrite was the same job.
    assert_eq!(server.metric("carat_log_entries "), 3);
    assert_eq!(server.terminate(), Some(0));
    let refused = sandbox.ends(&["stats"], 2);
    assert!(refused.err.contains("--store-key"), "{}", refused.err);
    let with = ["--store-key", "store.key"];
    let stats = sandbox.json(&[&["stats"][..], &with].concat(), 0);
    assert_eq!(stats["store"]["inferences"], 3);
    fs::write(
        sandbox.path("policy.toml"),
        sandbox.good(&["policy", "default"]).out,
    )
    .expect("write");
    let backtest = ["policy", "backtest", "policy.toml", "--log", "home/node"];
    sandbox.ends(&backtest, 2);
    let tried = sandbox.json(&[&backtest[..], &with].concat(), 0);
    assert_eq!(
        (&tried["requests"], &tried["left_out"]),
        (&json!(3), &json!(0))
    );
}

#[test]
fn a_server_starts_with_its_key_alone_and_keys_can_be_changed() {
    let sandbox = Sandbox::with_model();
    let body = body(&sandbox);
    key(&sandbox, "store.key", '1');
    key(&sandbox, "new.key", '2');
    let server = Server::start(&sandbox, SEALED);
    let id = ask(&server, &body);
    let before = pieces(&server, &id, &body);
    assert_eq!(server.terminate(), Some(0));
    let model = "[[model]]\nname = \"tumor\"\npath = \"tumor.carat-model\"\n";
    let configure = |more: &str| {
        let text = format!("listen = \"127.0.0.1:0\"\n{more}\n{model}");
        fs::write(sandbox.path("serve.toml"), text).expect("write");
    };
    let serve = ["serve", "--config", "serve.toml"];
    let new = SEALED.replace("store.key", "new.key");
    for wrong in [OPEN.to_string(), new.clone()] {
        configure(&wrong);
        let refused = sandbox.ends(&serve, 2);
        assert!(refused.err.contains("storage."), "{}", refused.err);
    }
    // Files that are no keys, or that everybody may read.
    configure(SEALED);
    for (text, mode, why) in [
        ("11", 0o600, "openssl rand -hex 32"),
        (&"1".repeat(64), 0o644, "chmod o="),
    ] {
        fs::write(sandbox.path("store.key"), text).expect("write");
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(sandbox.path("store.key"), mode).expect("chmod");
        let refused = sandbox.ends(&[&serve[..], &["--check"]].concat(), 2);
        assert!(refused.err.contains(why), "{}", refused.err);
    }
    key(&sandbox, "store.key", '1');
    // The new key seals, the old one opens what it sealed.
    let both = format!("{new}previous_key_files = [\"store.key\"]\n");
    configure(&both);
    let server = Server::again(&sandbox);
    assert_eq!(pieces(&server, &id, &body), before);
    assert_eq!(server.terminate(), Some(0));
    configure(&new);
    sandbox.ends(&serve, 2);
    // Written anew once, the old one is not needed any more. (The port is taken, so it ends after that.)
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = port.local_addr().expect("an address").to_string();
    configure(&both);
    let ran = sandbox
        .command(&[&serve[..], &["--reseal"]].concat())
        .env("CARAT_SERVE_LISTEN", taken)
        .output()
        .expect("ran");
    assert_eq!(ran.status.code(), Some(12));
    configure(&new);
    let server = Server::again(&sandbox);
    assert_eq!(pieces(&server, &id, &body), before);
}

#[test]
fn openings_end_with_their_time_and_receipts_stay_valid() {
    let sandbox = Sandbox::with_model();
    let more = format!("{OPEN}\n[retention]\nopenings = \"1h\"\ndecisions = \"1h\"\n");
    let server = Server::start(&sandbox, &more);
    let mut body = body(&sandbox);
    body.as_object_mut().expect("an object").remove("facts");
    let get = |id: &str, what: &str| server.get(&format!("/v1/receipts/{id}{what}"));
    let id = |answer: common::server::Answer| answer.header("carat-receipt-id").to_string();
    let kept = id(server.infer(&[], &body).expect(200));
    let too_long = server.infer(&[("carat-retain", "2h")], &body).expect(400);
    assert!(
        too_long.json()["detail"]
            .as_str()
            .is_some_and(|text| text.contains("1h"))
    );
    server.infer(&[("carat-retain", "soon")], &body).expect(400);
    let json = [("content-type", "application/json"), ("carat-retain", "1s")];
    let path = "/v1/models/tumor/infer?inline=opening";
    let answer = server
        .ask("POST", path, &json, body.to_string().as_bytes())
        .expect(200);
    let opening = answer.json()["opening"].as_str().map(str::to_string);
    fs::write(sandbox.path("opening.b64"), opening.expect("the opening")).expect("write");
    let short = id(answer);
    body["retain"] = json!("1s");
    let in_body = id(server.infer(&[], &body).expect(200));
    for id in [&short, &in_body] {
        let gone = until("its end", || {
            let answer = get(id, "/opening");
            (answer.status != 200).then_some(answer)
        });
        let gone = gone.expect(410).json();
        assert_eq!(gone["kind"], "erased");
        assert!(
            gone["detail"]
                .as_str()
                .is_some_and(|text| text.contains("the time")),
            "{gone}"
        );
    }
    assert_eq!(server.metric("carat_openings_expired_total "), 2);
    get(&kept, "/opening").expect(200);
    get(&kept, "/quote").expect(200);
    // No upgrade any more, and it says why.
    get(&short, "/quote").expect(410);
    let upgrade = format!("/v1/receipts/{short}/upgrade");
    server.ask("POST", &upgrade, &[], &[]).expect(410);
    // The receipt is there and as good as before.
    let receipt = get(&short, "").expect(200).body;
    fs::write(sandbox.path("t.carat"), receipt).expect("write");
    // Whoever kept their own opening replays it as before.
    let decoded = std::process::Command::new("base64")
        .args(["-d", "opening.b64"])
        .current_dir(sandbox.path(""))
        .output()
        .expect("base64");
    fs::write(sandbox.path("t.carat-open"), decoded.stdout).expect("write");
    let replay = ["--replay", "tumor.carat-model", "--input", "tumor.json"];
    sandbox.good(&[&["verify", "t.carat"][..], &replay].concat());
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn audits_need_openings_for_as_long_as_they_take() {
    let sandbox = Sandbox::with_model();
    fs::create_dir_all(sandbox.path("home/node")).expect("make");
    let environment = r#"schema = "carat-environment/v1"
currency = "USD"
[audits]
independent = 3
power = 1
colluding = 0.05
predictable = 0
window_seconds = 3600
[bond]
name = "bond-1"
allocated = "1000 USD"
clawback = true
joint_forfeiture = true
"#;
    fs::write(sandbox.path("home/node/environment.toml"), environment).expect("write");
    let policy = "currency = \"USD\"\nepsilon = 0.1\nmode = \"enforce\"\n[[consequence]]\nname = \"all\"\nwhen = 'true'\nvalue = '500.0'\ntiming = \"before_settle\"\n";
    fs::write(sandbox.path("home/node/policy.toml"), policy).expect("write");
    let text = |kept: &str| {
        format!(
            "{OPEN}\n[retention]\nopenings = \"{kept}\"\n[[model]]\nname = \"tumor\"\npath = \"tumor.carat-model\"\n"
        )
    };
    fs::write(sandbox.path("serve.toml"), text("59m")).expect("write");
    let refused = sandbox.ends(&["serve", "--config", "serve.toml", "--check"], 2);
    assert!(refused.err.contains("window_seconds"), "{}", refused.err);
    let server = Server::start(
        &sandbox,
        &format!("{OPEN}\n[retention]\nopenings = \"1h\"\n"),
    );
    let mut body = body(&sandbox);
    body.as_object_mut().expect("an object").remove("facts");
    let plan = server.infer(&[], &body).expect(200).json()["plan"].clone();
    assert_eq!(plan["rung"], "signature+audit");
    let refused = server.infer(&[("carat-retain", "59m")], &body).expect(422);
    assert_eq!(refused.json()["kind"], "bad-retention");
}
