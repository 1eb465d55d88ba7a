//! Files of the data directory that are damaged, cut, emptied or gone when the server starts: it refuses in words, or it starts and
//! has everything, or says of what it cannot give that it cannot. It never says of a receipt that there is none, never gives
//! another, and never does anything twice.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout)] // what was found

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::Sandbox;
use common::faults::{request, until};
use common::server::{Answer, Server};
use serde_json::Value;

/// More than a full tile of the log.
const RECEIPTS: usize = 300;

/// A data directory in which everything has happened, and what a start must find in it.
struct Past {
    sandbox: Sandbox,
    body: Value,
    bearer: String,
    /// Keys and their receipts.
    given: Vec<(String, String)>,
    erased: String,
    jobs: Vec<String>,
    entries: u64,
}

impl Past {
    fn make() -> Self {
        let sandbox = Sandbox::with_model();
        let json = sandbox.json(
            &[
                "api-key",
                "new",
                "--tenant",
                "acme",
                "--scope",
                "infer,read,upgrade,erase",
            ],
            0,
        );
        let bearer = format!("Bearer {}", json["key"].as_str().expect("key"));
        let node = sandbox.path("home/node");
        fs::write(node.join("name"), "a name\n").expect("write");
        let policy = "currency = \"USD\"\nepsilon = 0.1\nmode = \"enforce\"\n[[consequence]]\nname = \"all\"\nwhen = 'true'\nvalue = '0.0'\ntiming = \"after_use\"\n";
        fs::write(node.join("policy.toml"), policy).expect("write");
        let environment = "schema = \"carat-environment/v1\"\ncurrency = \"USD\"\n";
        fs::write(node.join("environment.toml"), environment).expect("write");
        // Small tables, so that some are on disk.
        let server = Server::start(
            &sandbox,
            "checkpoint_ms = 50\n[limits]\ntable_bytes = 65536",
        );
        let body = request(&sandbox);
        let mut past = Self {
            body,
            bearer,
            given: Vec::new(),
            erased: String::new(),
            jobs: Vec::new(),
            entries: RECEIPTS as u64 + 1,
            sandbox,
        };
        for i in 0..RECEIPTS {
            let key = format!("key {i}");
            let answer = past.infer(&server, &key, false).expect(200);
            let id = answer.header("carat-receipt-id").to_string();
            past.given.push((key, id));
        }
        let path = format!("/v1/receipts/{}/upgrade", past.given[7].1);
        let upgrade = past.ask(&server, "POST", &path).expect(202).json();
        let later = past.infer(&server, "later", true).expect(202).json();
        past.jobs = [&upgrade, &later]
            .map(|job| job["job_id"].as_str().expect("id").to_string())
            .to_vec();
        past.erased = past.given[3].1.clone();
        let path = format!("/v1/receipts/{}/opening", past.erased);
        past.ask(&server, "DELETE", &path).expect(204);
        for job in &past.jobs {
            until("the job", || {
                (past.job(&server, job).json()["state"] == "done").then_some(())
            });
        }
        until("the checkpoint", || {
            (server.metric("carat_log_published ") == past.entries).then_some(())
        });
        // As a power cut leaves it: nothing was closed.
        server.kill();
        past
    }

    fn ask(&self, server: &Server, method: &str, path: &str) -> Answer {
        server.ask(method, path, &[("authorization", &self.bearer)], &[])
    }

    fn job(&self, server: &Server, job: &str) -> Answer {
        self.ask(server, "GET", &format!("/v1/jobs/{job}"))
    }

    fn infer(&self, server: &Server, key: &str, later: bool) -> Answer {
        let mut headers = vec![
            ("authorization", self.bearer.as_str()),
            ("idempotency-key", key),
        ];
        if later {
            headers.push(("prefer", "respond-async"));
        }
        server.infer(&headers, &self.body)
    }

    /// A copy of configuration, model and data directory.
    fn copy(&self, to: &Path) {
        fs::create_dir(to).expect("make");
        for name in ["home", "serve.toml", "tumor.carat-model"] {
            let copied = Command::new("cp")
                .args(["-a", "--sparse=always"])
                .arg(self.sandbox.path(name))
                .arg(to)
                .status();
            assert!(copied.expect("cp").success());
        }
    }

    fn start(&self, at: &Path) -> Result<Server, common::server::Ended> {
        let mut command = self.sandbox.command(&["serve", "--config", "serve.toml"]);
        command.current_dir(at).env("CARAT_HOME", at.join("home"));
        Server::spawn(&at.join("server.log"), command)
    }

    /// Whether a server that started has everything; `false`: it says that it cannot give some of it. Everything else panics.
    fn whole(&self, server: &Server, what: &str, all: bool) -> bool {
        let mut whole = true;
        // An answer, or the server's own fault, said as such.
        let mut given = |answer: Answer, status: u16, name: &str| {
            let own = answer.status >= 500;
            assert!(own || answer.status == status, "{what}: {name}: {answer:?}");
            if own {
                let detail = answer.json()["detail"].as_str().map_or(0, str::len);
                assert!(detail > 20, "{what}: {name}: {answer:?}");
                whole = false;
            }
            !own
        };
        let some = |i: usize| all || !(12..RECEIPTS - 50).contains(&i);
        let some = self.given.iter().enumerate().filter(|(i, _)| some(*i));
        for (_, (key, id)) in some {
            given(
                self.ask(server, "GET", &format!("/v1/receipts/{id}")),
                200,
                id,
            );
            let status = if *id == self.erased { 410 } else { 200 };
            let opening = format!("/v1/receipts/{id}/opening");
            given(self.ask(server, "GET", &opening), status, "opening");
            let again = self.infer(server, key, false);
            if given(again.clone(), status, key) && status == 200 {
                assert_eq!(again.header("carat-receipt-id"), id, "{what}: {key}");
            }
        }
        let path = format!("/v1/receipts/{}/upgrade", self.given[7].1);
        given(self.ask(server, "POST", &path), 409, "the proof");
        for job in &self.jobs {
            let answer = self.job(server, job);
            if given(answer.clone(), 200, "job") {
                assert_eq!(answer.json()["state"], "done", "{what}");
            }
        }
        assert_eq!(server.metric("carat_log_entries "), self.entries, "{what}");
        whole
    }
}

/// All files below a directory.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The kind of a file: its path with names that count left out, but for the keyspaces of the store, which hold different things.
fn kind(path: &str) -> String {
    let part = |(i, part): (usize, &str)| {
        let stem = part.split('.').next().unwrap_or(part);
        let digits = stem.trim_start_matches(['v', 'x']);
        let counts = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let named = path.contains("/keyspaces/") && i == 4;
        if counts && !named {
            let mark = if stem.starts_with('v') { "v#" } else { "#" };
            part.replacen(stem, mark, 1)
        } else {
            part.to_string()
        }
    };
    let parts: Vec<String> = path.split('/').enumerate().map(part).collect();
    parts.join("/")
}

const DAMAGES: [&str; 5] = ["changed", "changed at its start", "cut", "emptied", "gone"];

/// Damage that a start may pass over, with the reason why no receipt hangs on it.
const HARMLESS: [(&str, &str, &str); 8] = [
    (
        "calibration/",
        "changed gone",
        "measured again where it is gone; prices only",
    ),
    (
        "decisions.jsonl",
        "changed cut emptied gone",
        "past decisions, for backtests; read when they are asked for",
    ),
    (
        "environment.toml",
        "gone",
        "nothing is supplied, so less is covered",
    ),
    (
        "policy.toml",
        "gone",
        "no policy of one's own; `policy` in the configuration makes it a must",
    ),
    (
        "name",
        "changed cut gone",
        "what the issuer is called from now on",
    ),
    (
        "log/journal/",
        "cut",
        "everything in it is under a checkpoint",
    ),
    (
        "log/tile/entries/",
        "changed cut emptied gone",
        "leaves for auditors: `carat log audit` finds it, receipts do not need them",
    ),
    ("store/mark", "emptied gone", "as before its first number"),
];

fn damage(path: &Path, how: &str) {
    let mut bytes = fs::read(path).expect("read");
    // Journals are lengthened ahead of what is written.
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    match how {
        "changed" => bytes[end / 2] ^= 0x10,
        "changed at its start" => bytes[0] ^= 1,
        "cut" => bytes.truncate(end / 2),
        "emptied" => bytes.clear(),
        _ => return fs::remove_file(path).expect("remove"),
    }
    fs::write(path, bytes).expect("write");
}

#[test]
fn damage_is_refused_or_said_and_no_receipt_is_silently_lost() {
    let past = Past::make();
    let mut found = Vec::new();
    files(&past.sandbox.path("home/node"), &mut found);
    // The largest of each kind.
    let mut kinds: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for path in found {
        let size = fs::metadata(&path).expect("size").len();
        let name = path.strip_prefix(past.sandbox.path("")).expect("below");
        let name = name.to_str().expect("UTF-8").to_string();
        // Of the lists of tables, the one that is in force.
        let list = name.rsplit_once("/v").is_some_and(|(keyspace, number)| {
            let current = fs::read(past.sandbox.path(keyspace).join("current"));
            let current = current.ok().and_then(|bytes| bytes.first_chunk().copied());
            current.map(|id| u64::from_le_bytes(id).to_string()) != Some(number.to_string())
        });
        let stale = name.contains("/keyspaces/") && list;
        let entry = kinds.entry(kind(&name)).or_default();
        if size > 0 && size >= entry.0 && !stale {
            *entry = (size, name);
        }
    }
    kinds.retain(|_, (size, _)| *size > 0);
    // Keyspaces without tables have nothing on disk but their names.
    let tables: Vec<String> = kinds
        .keys()
        .filter_map(|kind| kind.strip_suffix("/tables/#").map(str::to_string))
        .collect();
    assert!(tables.len() >= 3, "{tables:?}");
    kinds.retain(|kind, _| {
        !kind.contains("/keyspaces/") || tables.iter().any(|of| kind.starts_with(&format!("{of}/")))
    });
    for name in ["serve.toml", "tumor.carat-model"] {
        kinds.insert(name.into(), (1, name.into()));
    }
    // Undamaged, it starts and has everything.
    let at = past.sandbox.path("whole");
    past.copy(&at);
    let server = past.start(&at).expect("starts");
    assert!(past.whole(&server, "undamaged", true));
    server.kill();

    let cases: Vec<(&String, &String, &str)> = kinds
        .iter()
        .flat_map(|(kind, (_, name))| DAMAGES.map(|how| (kind, name, how)))
        // Text has no start that is read in another way than the rest.
        .filter(|(_, name, how)| *how != DAMAGES[1] || name.contains("/store/"))
        .collect();
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some((kind, name, how)) = cases.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let what = format!("{name} {how}");
                    let at = past
                        .sandbox
                        .path(&format!("{} {how}", name.replace('/', "-")));
                    past.copy(&at);
                    damage(&at.join(name), how);
                    let outcome = match past.start(&at) {
                        Ok(server) => {
                            let whole = past.whole(&server, &what, name.contains("/keyspaces/"));
                            server.kill();
                            if whole {
                                "has everything"
                            } else {
                                "says what it cannot give"
                            }
                            .to_string()
                        }
                        Err(ended) => {
                            let words = ended.log.lines().last().unwrap_or_default().to_string();
                            assert!(
                                words.starts_with("carat: ") && words.len() > 40,
                                "{what}: {ended:?}"
                            );
                            assert!(!ended.log.contains("panicked"), "{what}: {ended:?}");
                            let code = ended.code.unwrap_or(-1);
                            assert!([2, 10, 12, 15].contains(&code), "{what}: {ended:?}");
                            eprintln!("{what}: {words}");
                            format!("refused, status {code}")
                        }
                    };
                    fs::remove_dir_all(&at).expect("remove");
                    outcomes
                        .lock()
                        .expect("lock")
                        .insert((kind.to_string(), how.to_string()), outcome);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().expect("lock");
    for ((kind, how), outcome) in &outcomes {
        println!("{kind} | {how} | {outcome}");
        if outcome == "has everything" {
            let kind = kind.trim_start_matches("home/node/");
            let why = HARMLESS.iter().find(|(name, hows, _)| {
                kind.starts_with(name)
                    && how.split(' ').next().is_some_and(|how| hows.contains(how))
            });
            assert!(
                why.is_some(),
                "{kind} {how}: nobody noticed, and no reason is known"
            );
        }
    }
}
