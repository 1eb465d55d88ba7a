//! The table of verdicts, `conformance/verdicts.json`, through the real binary. The verifiers in other languages read the same
//! table; `conformance/README.md` says what stands in it.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::{Ran, Sandbox, repo};
use serde_json::{Value, json};

fn table() -> Value {
    let text = fs::read_to_string(repo("conformance/verdicts.json")).expect("the table");
    serde_json::from_str(&text).expect("JSON")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} in {value}"))
}

fn file(path: &str) -> Vec<u8> {
    fs::read(repo(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The receipt of a case, with the damage that the case does to it.
fn receipt(case: &Value) -> Vec<u8> {
    let mut bytes = file(text(case, "receipt"));
    for change in list(case, "change") {
        if let Some(xor) = change["xor"].as_array() {
            let (at, bits) = (xor[0].as_i64().expect("a place"), xor[1].as_u64());
            let at = at.rem_euclid(bytes.len() as i64) as usize;
            bytes[at] ^= u8::try_from(bits.expect("bits")).expect("a byte");
        } else if let Some(length) = change["cut"].as_u64() {
            bytes.truncate(length as usize);
        } else {
            bytes.extend(hex::decode(text(change, "append")).expect("hexadecimal"));
        }
    }
    bytes
}

/// The command line of a case. Files are copied, so that nothing is found beside them that the case does not give.
struct Line<'a> {
    sandbox: &'a Sandbox,
    args: Vec<String>,
}

impl Line<'_> {
    fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.sandbox.path(name), bytes).expect("write");
        name.to_string()
    }

    fn give(&mut self, flag: &str, value: impl Into<String>) {
        self.args.extend([flag.to_string(), value.into()]);
    }

    /// A file of the repository, or what stands in the table itself.
    fn given(&mut self, flag: &str, name: &str, value: &Value) {
        let file_name = if let Some(path) = value["file"].as_str() {
            let name = Path::new(path).file_name().expect("a name");
            self.write(&format!("given-{}", name.to_string_lossy()), &file(path))
        } else if let Some(content) = value["text"].as_str() {
            self.write(&format!("{name}.body"), content.as_bytes())
        } else {
            let values = value["values"].to_string();
            self.write(&format!("{name}.json"), values.as_bytes())
        };
        self.give(flag, file_name);
    }

    fn asks(&mut self, ask: &Value) {
        for (name, value) in ask.as_object().expect("an object") {
            let word = || value.as_str().expect("a text").to_string();
            match name.as_str() {
                "now" => self.give("--now", value.to_string()),
                "trust" => {
                    let name = self.write("trust.toml", &file(&word()));
                    self.give("--trust", name);
                }
                "opening" => {
                    let name = self.write("given.carat-open", &file(&word()));
                    self.give("--open", name);
                }
                "input" => self.given("--input", "input", value),
                "answer" => self.given("--answer", "answer", value),
                "trustOwner" => self.give("--trust-owner", word()),
                "amount" => self.give("--amount", word()),
                "nonce" => self.give("--nonce", word()),
                "audience" => self.give("--audience", word()),
                "asked" => self.give("--asked", word()),
                "endpoint" => self.give("--endpoint", word()),
                "useAt" => self.give("--use", word()),
                "alreadyRelied" => self.give("--already-relied", word()),
                "openExposure" => {
                    for one in list(ask, "openExposure") {
                        self.give("--open-exposure", one.as_str().expect("a text"));
                    }
                }
                "upstream" => {
                    for (number, one) in list(ask, "upstream").iter().enumerate() {
                        let name = format!("step-{number}.carat");
                        self.write(&name, &file(text(one, "receipt")));
                        if let Some(opening) = one["opening"].as_str() {
                            self.write(&format!("{name}-open"), &file(opening));
                        }
                        self.give("--upstream", name);
                    }
                }
                "model" => {
                    let path = repo(text(value, "path"));
                    self.give("--model", path.to_string_lossy());
                }
                other => panic!("the table asks with {other}, which this test does not know"),
            }
        }
    }
}

fn verify(case: &Value) -> Ran {
    let sandbox = Sandbox::new();
    let mut line = Line {
        sandbox: &sandbox,
        args: vec!["verify".into(), "receipt.carat".into(), "--json".into()],
    };
    line.write("receipt.carat", &receipt(case));
    line.asks(&case["ask"]);
    let args: Vec<&str> = line.args.iter().map(String::as_str).collect();
    sandbox.run(&args)
}

/// The same with every number as a float: JSON writes 3.0 as 3 in some languages.
fn floats(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.into_iter().map(floats).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            fields.map(|(name, value)| (name, floats(value))).collect()
        }
        other => other,
    }
}

/// What the table says of a report.
fn said(report: &Value) -> Value {
    let with = |ok: &Value| {
        let checks = list(report, "checks").iter();
        let of = checks.filter(|check| check["ok"] == *ok);
        let names: Vec<&str> = of.map(|check| text(check, "name")).collect();
        names.join(" ")
    };
    let sets = list(report, "good_for")
        .iter()
        .map(|set| json!({ "rung": set["rung"], "amount": set["amount"], "under": set["under"] }));
    let mut said = json!({
        "exit_code": report["exit_code"],
        "verdict": report["verdict"],
        "best": report["best"],
        "good_for": sets.collect::<Vec<_>>(),
        "passed": with(&json!(true)),
        "failed": with(&json!(false)),
        "not_made": with(&Value::Null),
    });
    if let Some(output) = report.get("output") {
        said["output"] = output.clone();
    }
    said
}

#[test]
fn verdicts() {
    let table = table();
    let cases = list(&table, "cases");
    assert!(cases.len() >= 80, "{} cases", cases.len());
    let mut names = BTreeSet::new();
    for case in cases {
        let name = text(case, "name");
        assert!(names.insert(name), "{name} is there twice");
        let expect = &case["expect"];
        let ran = verify(case);
        assert_eq!(
            json!(ran.code),
            expect["exit_code"],
            "{name}: {}{}",
            ran.out,
            ran.err
        );
        if expect.get("error").is_some() {
            continue;
        }
        let report: Value = serde_json::from_str(&ran.out).expect("JSON on standard output");
        assert_eq!(
            floats(said(&report)),
            floats(expect.clone()),
            "{name}: {}: {report:#}",
            text(case, "about")
        );
    }
}

#[test]
fn notices() {
    let table = table();
    let notices = list(&table, "notices");
    assert!(notices.len() >= 9);
    for case in notices {
        let sandbox = Sandbox::new();
        let notice = file(text(case, "notice"));
        fs::write(sandbox.path("notice"), notice).expect("write");
        fs::write(sandbox.path("receipt.carat"), file(text(case, "receipt"))).expect("write");
        let mut args = vec!["upgrade", "receipt.carat", "--check", "notice", "--json"];
        if let Some(nonce) = case["ask"]["nonce"].as_str() {
            args.extend(["--nonce", nonce]);
        }
        let ran = sandbox.run(&args);
        let expect = &case["expect"];
        let name = text(case, "name");
        assert_eq!(json!(ran.code), expect["exit_code"], "{name}: {}", ran.err);
        let report: Value = serde_json::from_str(&ran.out).expect("JSON on standard output");
        assert_eq!(report["genuine"], expect["genuine"], "{name}");
        assert_eq!(report["standing"], expect["standing"], "{name}");
    }
}

/// Every receipt, opening, notice and Trust file that ships stands in the table.
#[test]
fn the_table_is_complete() {
    let text = fs::read_to_string(repo("conformance/verdicts.json")).expect("the table");
    let mut shipped = Vec::new();
    for folder in ["conformance", "crates", "docs", "examples", "models"] {
        collect(&repo(folder), &mut shipped);
    }
    assert!(shipped.len() > 40, "{shipped:?}");
    let root = repo("");
    for path in shipped {
        let path = path.strip_prefix(&root).expect("inside the repository");
        let path = path.to_string_lossy();
        assert!(
            text.contains(&format!("\"{path}\"")),
            "{path} is not in conformance/verdicts.json"
        );
    }
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let kind = path.extension().and_then(|end| end.to_str()).unwrap_or("");
        if path.is_dir() {
            collect(&path, into);
        } else if ["carat", "carat-open", "carat-notice"].contains(&kind)
            || (kind == "toml" && folder.ends_with("trust"))
        {
            into.push(path);
        }
    }
}
