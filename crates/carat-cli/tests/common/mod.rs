//! Each test gets a fresh directory, a fresh data directory, and the real binary.
#![allow(dead_code)] // each test file uses some of it

pub(crate) mod courier;
pub(crate) mod fake;
#[cfg(target_os = "linux")]
pub(crate) mod faults;
pub(crate) mod server;
pub(crate) mod weights;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A directory to work in.
pub(crate) struct Sandbox {
    dir: tempfile::TempDir,
}

/// What a command printed and how it ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Sandbox {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// With a small model, `tumor.carat-model`, and an input for it, `tumor.json`.
    pub(crate) fn with_model() -> Self {
        let sandbox = Self::new();
        fs::copy(model(), sandbox.path("tumor.carat-model")).expect("copy the model");
        fs::copy(repo("examples/tumor.json"), sandbox.path("tumor.json")).expect("copy the input");
        sandbox
    }

    /// With a receipt of that model, `receipt.carat`.
    pub(crate) fn with_receipt() -> Self {
        let sandbox = Self::with_model();
        sandbox.good(&["run", "tumor.carat-model", "--input", "tumor.json"]);
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The command, to be changed further.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_carat"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("CARAT_HOME", self.path("home"))
            .stdin(Stdio::null());
        command
    }

    /// Runs it. Whatever happens, it does not panic.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().expect("start carat"), args)
    }

    /// Runs it and expects status 0.
    pub(crate) fn good(&self, args: &[&str]) -> Ran {
        self.ends(args, 0)
    }

    /// Runs it and expects a status.
    pub(crate) fn ends(&self, args: &[&str], code: i32) -> Ran {
        let ran = self.run(args);
        assert_eq!(
            ran.code, code,
            "carat {args:?}\n--- stdout\n{}\n--- stderr\n{}",
            ran.out, ran.err
        );
        ran
    }

    /// Runs it with `--json` and a status, and reads what it printed.
    pub(crate) fn json(&self, args: &[&str], code: i32) -> Value {
        let ran = self.ends(&[args, &["--json"]].concat(), code);
        serde_json::from_str(&ran.out).expect("JSON on standard output")
    }

    /// Names in the directory, the data directory left out.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path())
            .expect("read the directory")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .filter(|name| name != "home")
            .collect();
        names.sort();
        names
    }
}

impl Ran {
    pub(crate) fn from(output: Output, args: &[&str]) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let ran = Self {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        };
        for word in [
            "panicked",
            "RUST_BACKTRACE",
            "stack overflow",
            "fault of carat",
        ] {
            assert!(!ran.err.contains(word), "carat {args:?}: {}", ran.err);
        }
        ran
    }
}

/// A path in the repository.
pub(crate) fn repo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name)
}

/// `models/tumor`, compiled once for each test file.
pub(crate) fn model() -> &'static Path {
    static MODEL: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    MODEL.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory").keep();
        let out = dir.join("tumor.carat-model");
        let status = Command::new(env!("CARGO_BIN_EXE_carat"))
            .args(["model", "compile"])
            .arg(repo("models/tumor"))
            .arg("-o")
            .arg(&out)
            .stdout(Stdio::null())
            .status()
            .expect("start carat");
        assert!(status.success());
        out
    })
}
