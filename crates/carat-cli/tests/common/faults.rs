//! A clock and a disk that tests can make misbehave, for the real binary.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Sandbox;
use super::server::{Answer, Server};

/// Input/output error, and no space left (Linux).
pub(crate) const EIO: i64 = 5;
pub(crate) const ENOSPC: i64 = 28;

/// What can be made to misbehave; the order is that of `faults.c`.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// Seconds that are added to the wall clock.
    Clock = 0,
    /// Milliseconds before each sync.
    SyncDelay = 1,
    /// The error of syncs.
    SyncError = 2,
    /// The error of writes to files.
    WriteError = 3,
    /// Writes to files by the thread that works on jobs, until one takes the process with it.
    DieInJob = 6,
}

/// The faults of one sandbox.
pub(crate) struct Faults {
    file: File,
    path: PathBuf,
}

impl Faults {
    pub(crate) fn new(sandbox: &Sandbox) -> Self {
        let path = sandbox.path("faults");
        fs::write(&path, [0; 64]).expect("write");
        let file = File::options().read(true).write(true).open(&path);
        let file = file.expect("open");
        Self { file, path }
    }

    pub(crate) fn set(&self, fault: Fault, value: i64) {
        let at = 8 * fault as u64;
        self.file
            .write_all_at(&value.to_ne_bytes(), at)
            .expect("set");
    }

    /// How many syncs, and how many looks at the clock, went through here.
    pub(crate) fn seen(&self) -> (i64, i64) {
        let read = |at| {
            let mut bytes = [0; 8];
            self.file.read_exact_at(&mut bytes, at).expect("read");
            i64::from_ne_bytes(bytes)
        };
        (read(32), read(40))
    }

    /// The variables that put a command under these faults.
    pub(crate) fn variables(&self) -> [(&'static str, OsString); 2] {
        let library = library().as_os_str().to_os_string();
        let path = self.path.clone().into_os_string();
        [("LD_PRELOAD", library), ("CARAT_TEST_FAULTS", path)]
    }

    /// Starts the server of a sandbox under these faults, with the configuration that is there.
    pub(crate) fn again(&self, sandbox: &Sandbox) -> Server {
        let mut command = sandbox.command(&["serve", "--config", "serve.toml"]);
        command.envs(self.variables());
        Server::spawn(&sandbox.path("server.log"), command)
            .unwrap_or_else(|ended| panic!("{ended:?}"))
    }
}

/// The library, built once for each test file with the C compiler that Rust links with.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory").keep();
        let library = dir.join("faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/faults.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .status();
        assert!(built.expect("start cc").success());
        library
    })
}

/// A small file system of its own, in a namespace of its own; it is gone when this is dropped.
pub(crate) struct SmallDisk {
    holder: Child,
    path: PathBuf,
}

impl SmallDisk {
    /// `None`: this system lets nobody make one without rights.
    pub(crate) fn mount(sandbox: &Sandbox, size: &str) -> Option<Self> {
        let at = sandbox.path("small");
        fs::create_dir_all(&at).expect("make");
        let script =
            format!("mount -t tmpfs -o size={size} tmpfs \"$0\" && echo mounted && exec sleep 600");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .arg(&at)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("piped");
        let read = BufReader::new(stdout).read_line(&mut line);
        // Seen from outside by way of the process that lives in it.
        let root = format!("/proc/{}/root", holder.id());
        let path = Path::new(&root).join(at.strip_prefix("/").expect("absolute"));
        let disk = Self { holder, path };
        (read.is_ok() && line == "mounted\n" && disk.path.is_dir()).then_some(disk)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Fills it up to some bytes; dropping the name makes room again.
    pub(crate) fn fill(&self, left: u64) {
        let mut filler = File::create(self.path.join("filler")).expect("create");
        while filler.write_all(&[0x5a; 4096]).is_ok() {}
        let length = filler.metadata().expect("length").len();
        filler.set_len(length - left).expect("cut");
    }

    pub(crate) fn empty(&self) {
        fs::remove_file(self.path.join("filler")).expect("remove");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A request with the sandbox's input.
pub(crate) fn request(sandbox: &Sandbox) -> Value {
    let text = fs::read_to_string(sandbox.path("tumor.json")).expect("read the input");
    let inputs: Value = serde_json::from_str(&text).expect("JSON");
    json!({ "inputs": inputs })
}

/// Asks under a key; an error where the connection broke.
pub(crate) fn ask_with(server: &Server, key: &str, body: &Value) -> std::io::Result<Answer> {
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    let (path, body) = ("/v1/models/tumor/infer", body.to_string());
    Server::try_ask(server.address, "POST", path, &headers, body.as_bytes())
}

/// The receipt under a key.
pub(crate) fn receipt_of(server: &Server, key: &str, body: &Value) -> String {
    let answer = ask_with(server, key, body).expect("an answer").expect(200);
    answer.header("carat-receipt-id").to_string()
}

/// Looks until something is there.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{what} did not come");
}

/// Waits for a job and gives it.
pub(crate) fn finished(server: &Server, job: &str) -> Value {
    until("the job", || {
        let json = server.get(&format!("/v1/jobs/{job}")).expect(200).json();
        (json["state"] != "queued").then_some(json)
    })
}
