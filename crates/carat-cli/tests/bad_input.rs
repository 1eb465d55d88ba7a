//! Bad input and bad luck: a clear error, its own exit status, no panic, nothing under the final name.

mod common;

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Ran, Sandbox, repo};

/// A PNG of 68 bytes that claims 2^20 x 2^20 pixels of four bytes.
const CLAIMS_A_TERAPIXEL: &[u8] = b"\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x10\x00\x00\x00\x10\x00\x00\x08\x06\x00\x00\x00\x4b\x28\xa0\xc5\x00\x00\x00\x0b\x49\x44\x41\x54\x78\x9c\x63\x60\x40\x05\x00\x00\x10\x00\x01\x39\xbd\x8f\x65\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";

#[test]
fn inputs_that_do_not_fit() {
    let sandbox = Sandbox::with_model();
    let cases: [(&str, &[u8], &str); 11] = [
        ("short.json", b"[[1, 2, 3]]", "shape"),
        ("ragged.json", b"[[1, 2], [3]]", "different lengths"),
        ("text.json", b"[[\"a\"]]", "numbers"),
        ("broken.json", b"[[1, 2", "broken.json"),
        (
            "other.json",
            b"{\"features\": [[1]], \"more\": [1]}",
            "more",
        ),
        ("missing.json", b"{}", "features"),
        ("null.json", b"[[null]]", "numbers"),
        ("cut.npy", b"\x93NUMPY\x01", "cut.npy"),
        ("image.png", b"\x89PNG\r\n\x1a\n", "image.png"),
        ("table.csv", b"1,2,3", ".csv"),
        ("bomb.png", CLAIMS_A_TERAPIXEL, "bomb.png"),
    ];
    for (name, bytes, word) in cases {
        fs::write(sandbox.path(name), bytes).expect("write");
        let ran = sandbox.ends(
            &[
                "run",
                "tumor.carat-model",
                "--input",
                name,
                "-o",
                "out.carat",
            ],
            11,
        );
        assert!(ran.err.contains(word), "{name}: {}", ran.err);
        assert!(!sandbox.path("out.carat").exists() && !sandbox.path("out.carat-open").exists());
        fs::remove_file(sandbox.path(name)).expect("remove");
    }
    // NaN has no place among integers: 30 float32 values, the first of them NaN.
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 30), }\n";
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    npy.extend((header.len() as u16).to_le_bytes());
    npy.extend(header.as_bytes());
    npy.extend(f32::NAN.to_le_bytes());
    npy.extend([0; 29 * 4]);
    fs::write(sandbox.path("nan.npy"), npy).expect("write");
    let ran = sandbox.ends(&["run", "tumor.carat-model", "--input", "nan.npy"], 11);
    assert!(ran.err.contains("NaN"), "{}", ran.err);
    assert_eq!(
        sandbox.names(),
        ["nan.npy", "tumor.carat-model", "tumor.json"]
    );
}

#[test]
fn an_image_of_another_size_is_refused() {
    let sandbox = Sandbox::with_model();
    let image = repo("examples/seven.png");
    let ran = sandbox.ends(
        &[
            "run",
            "tumor.carat-model",
            "--input",
            image.to_str().expect("UTF-8"),
        ],
        11,
    );
    assert!(ran.err.contains("image"), "{}", ran.err);
}

#[test]
fn models_that_are_none() {
    let sandbox = Sandbox::with_model();
    let good = fs::read(sandbox.path("tumor.carat-model")).expect("the model");
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("text", b"not a model".to_vec()),
        ("cut", good[..good.len() / 2].to_vec()),
        ("flipped", flipped),
        ("longer", [good, vec![0]].concat()),
    ] {
        fs::write(sandbox.path("bad.carat-model"), bytes).expect("write");
        let ran = sandbox.ends(
            &[
                "run",
                "bad.carat-model",
                "--input",
                "tumor.json",
                "-o",
                "o.carat",
            ],
            10,
        );
        assert!(ran.err.contains("bad.carat-model"), "{name}: {}", ran.err);
        assert!(!sandbox.path("o.carat").exists());
    }
    sandbox.ends(&["run", "nothing-here", "--input", "tumor.json"], 12);
    fs::create_dir(sandbox.path("empty-folder")).expect("mkdir");
    sandbox.ends(&["run", "empty-folder", "--input", "tumor.json"], 10);
}

#[test]
fn a_model_folder_may_not_lead_outside() {
    let sandbox = Sandbox::with_model();
    fs::create_dir(sandbox.path("evil")).expect("mkdir");
    for source in ["../tumor.carat-model", "/etc/passwd", "a/../../x"] {
        fs::write(
            sandbox.path("evil/model.toml"),
            format!("source = {source:?}\n"),
        )
        .expect("write");
        let ran = sandbox.ends(&["run", "evil", "--input", "tumor.json"], 10);
        assert!(ran.err.contains("outside"), "{}", ran.err);
    }
}

#[test]
fn onnx_files_that_are_none() {
    let sandbox = Sandbox::new();
    for (name, bytes) in [
        ("empty.onnx", &b""[..]),
        ("junk.onnx", &[0xff; 100]),
        ("text.onnx", b"hello"),
    ] {
        fs::write(sandbox.path(name), bytes).expect("write");
        sandbox.ends(&["model", "compile", name, "-o", "out.carat-model"], 10);
        assert!(!sandbox.path("out.carat-model").exists());
    }
}

/// The malformed and adversarial ONNX files of `carat-nn`, through the binary.
#[test]
fn adversarial_onnx_files() {
    let folder = repo("crates/carat-nn/tests/bad_onnx");
    let manifest = fs::read_to_string(folder.join("manifest.json")).expect("the manifest");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let sandbox = Sandbox::new();
    let mut refused = 0;
    for entry in manifest.as_array().expect("a list") {
        let file = entry["file"].as_str().expect("a name");
        let path = folder.join(file);
        let path = path.to_str().expect("UTF-8");
        let ran = sandbox.run(&["model", "compile", path, "-o", "out.carat-model"]);
        // Which of them must be refused, and with which words, is tested in carat-nn.
        let expected: &[i32] = if entry["expect"] == "ok" {
            &[0]
        } else {
            &[0, 10]
        };
        assert!(
            expected.contains(&ran.code),
            "{file}: {} {}",
            ran.code,
            ran.err
        );
        if ran.code == 0 {
            fs::remove_file(sandbox.path("out.carat-model")).expect("the model");
        } else {
            refused += 1;
        }
        assert!(
            sandbox.names().is_empty(),
            "{file} left {:?}",
            sandbox.names()
        );
    }
    assert!(
        refused > 100,
        "only {refused} refusals: is the manifest complete?"
    );
}

#[test]
fn receipts_that_are_altered() {
    let sandbox = Sandbox::with_receipt();
    let good = fs::read(sandbox.path("receipt.carat")).expect("the receipt");
    let open = fs::read(sandbox.path("receipt.carat-open")).expect("the opening");
    // Every seventh byte here; every byte and bit in the tests of carat-verify.
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(sandbox.path("bad.carat"), bad).expect("write");
        let ran = sandbox.run(&["verify", "bad.carat"]);
        // The log part is outside the signature: without a Trust file nobody knows its key, but its hashes must fit.
        assert!(
            [1, 4].contains(&ran.code),
            "byte {at}: {} {}",
            ran.code,
            ran.err
        );
        if at < 400 {
            assert_eq!(ran.code, 1, "byte {at}");
        }
    }
    for len in [0, 1, 100, good.len() - 1] {
        fs::write(sandbox.path("bad.carat"), &good[..len]).expect("write");
        sandbox.ends(&["verify", "bad.carat"], 1);
        sandbox.ends(&["replay", "bad.carat", "--model", "tumor.carat-model"], 1);
    }
    fs::write(sandbox.path("cut.carat-open"), &open[..open.len() / 2]).expect("write");
    sandbox.ends(&["verify", "receipt.carat", "--open", "cut.carat-open"], 20);
    // The opening of another receipt.
    sandbox.good(&[
        "run",
        "tumor.carat-model",
        "--input",
        "tumor.json",
        "-o",
        "b.carat",
    ]);
    sandbox.ends(&["verify", "receipt.carat", "--open", "b.carat-open"], 1);
    sandbox.ends(
        &[
            "replay",
            "receipt.carat",
            "--model",
            "tumor.carat-model",
            "--open",
            "b.carat-open",
        ],
        20,
    );
}

#[test]
fn huge_files_are_not_read() {
    let sandbox = Sandbox::with_receipt();
    for name in [
        "huge.carat",
        "huge.json",
        "huge.onnx",
        "huge.carat-model",
        "huge.toml",
        "huge.carat-open",
    ] {
        let file = File::create(sandbox.path(name)).expect("create");
        file.set_len(10 << 30).expect("a sparse file");
    }
    let started = Instant::now();
    for args in [
        &["verify", "huge.carat"][..],
        &["replay", "huge.carat", "--model", "tumor.carat-model"],
        &["run", "tumor.carat-model", "--input", "huge.json"],
        &["run", "huge.carat-model", "--input", "tumor.json"],
        &["model", "inspect", "huge.carat-model"],
        &["model", "compile", "huge.onnx", "-o", "x.carat-model"],
        &["verify", "receipt.carat", "--trust", "huge.toml"],
        &["verify", "receipt.carat", "--open", "huge.carat-open"],
        &["trust", "check", "huge.toml"],
    ] {
        let ran = sandbox.ends(args, 14);
        assert!(ran.err.contains("limit"), "{}", ran.err);
    }
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn things_that_are_no_files() {
    let sandbox = Sandbox::with_receipt();
    fs::create_dir(sandbox.path("folder")).expect("mkdir");
    sandbox.ends(&["verify", "folder"], 12);
    sandbox.ends(&["verify", "absent.carat"], 12);
    sandbox.ends(&["verify", "receipt.carat", "--trust", "absent.toml"], 12);
    sandbox.ends(&["run", "tumor.carat-model", "--input", "folder"], 12);
    sandbox.ends(&["run", "tumor.carat-model", "--input", "absent.json"], 12);
    sandbox.ends(
        &[
            "run",
            "tumor.carat-model",
            "--input",
            "tumor.json",
            "-o",
            "folder",
        ],
        12,
    );
    // A device that never ends.
    #[cfg(unix)]
    sandbox.ends(&["verify", "/dev/zero"], 12);
}

#[test]
fn places_that_cannot_be_written() {
    let sandbox = Sandbox::with_model();
    // A directory below a file is no place for anybody, root included.
    let out = "tumor.json/receipt.carat";
    sandbox.ends(
        &[
            "run",
            "tumor.carat-model",
            "--input",
            "tumor.json",
            "-o",
            out,
        ],
        12,
    );
    sandbox.ends(
        &[
            "run",
            "tumor.carat-model",
            "--input",
            "tumor.json",
            "-o",
            "absent/r.carat",
        ],
        12,
    );
    let home = ["--data-dir", "tumor.json/home"];
    sandbox.ends(
        &[
            &["run", "tumor.carat-model", "--input", "tumor.json"][..],
            &home,
        ]
        .concat(),
        12,
    );
    sandbox.ends(
        &[
            "model",
            "compile",
            repo("models/tumor").to_str().expect("UTF-8"),
            "-o",
            "absent/m.carat-model",
        ],
        12,
    );
    assert_eq!(sandbox.names(), ["tumor.carat-model", "tumor.json"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::create_dir(sandbox.path("locked")).expect("mkdir");
        let set =
            |mode| fs::set_permissions(sandbox.path("locked"), fs::Permissions::from_mode(mode));
        set(0o555).expect("chmod");
        if File::create(sandbox.path("locked/probe")).is_err() {
            let ran = sandbox.ends(
                &[
                    "run",
                    "tumor.carat-model",
                    "--input",
                    "tumor.json",
                    "-o",
                    "locked/r.carat",
                ],
                12,
            );
            assert!(ran.err.contains("not permitted"), "{}", ran.err);
        } else {
            eprintln!(
                "SKIPPED: this user may write everywhere; the case of permissions was not tried"
            );
        }
        set(0o755).expect("chmod");
    }
}

/// A small file system of its own, where this user may mount one.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    let sandbox = Sandbox::with_model();
    let disk = sandbox.path("disk");
    fs::create_dir(&disk).expect("mkdir");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&disk)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("SKIPPED: this user may not mount a file system; a full disk was not tried");
        return;
    }
    let unmount = || Command::new("umount").arg(&disk).status().expect("umount");
    let result = std::panic::catch_unwind(|| {
        let mut filler = File::create(disk.join("filler")).expect("create");
        while filler.write_all(&[0; 1024]).is_ok() {}
        drop(filler);
        let run = ["run", "tumor.carat-model", "--input", "tumor.json"];
        let ran = sandbox.ends(&[&run[..], &["-o", "disk/r.carat"]].concat(), 13);
        assert!(ran.err.contains("no space left"), "{}", ran.err);
        sandbox.ends(
            &[&run[..], &["-o", "o.carat", "--data-dir", "disk/home"]].concat(),
            13,
        );
        let folder = repo("models/tumor");
        let compile = [
            "model",
            "compile",
            folder.to_str().expect("UTF-8"),
            "-o",
            "disk/m.carat-model",
        ];
        sandbox.ends(&compile, 13);
        sandbox.ends(
            &[
                "trust",
                "new",
                "--name",
                "x",
                "--currency",
                "USD",
                "-o",
                "disk/t.toml",
            ],
            13,
        );
        let mut left: Vec<_> = fs::read_dir(&disk)
            .expect("read")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .filter(|name| name != "home")
            .collect();
        left.sort();
        assert_eq!(left, ["filler"]);
        assert!(!sandbox.path("o.carat").exists());
        // Space again: it works, with the key and the log that may be there half made.
        fs::remove_file(disk.join("filler")).expect("remove");
        sandbox.good(&[&run[..], &["-o", "disk/r.carat", "--data-dir", "disk/home"]].concat());
    });
    unmount();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// Starts a command, sends it a signal after a while, and waits for its end.
#[cfg(unix)]
fn interrupt(sandbox: &Sandbox, args: &[&str], signal: &str, after: Duration) -> Ran {
    let child = sandbox
        .command(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start carat");
    std::thread::sleep(after);
    let pid = child.id().to_string();
    // It may have ended already: the sender complains, and what it left is looked at all the same.
    let _ = Command::new("kill")
        .args(["-s", signal, &pid])
        .stderr(Stdio::null())
        .status()
        .expect("kill");
    Ran::from(child.wait_with_output().expect("the end"), args)
}

#[cfg(unix)]
#[test]
fn interrupts_end_long_commands() {
    let sandbox = Sandbox::with_receipt();
    let before = sandbox.names();
    // Somebody else holds the log, so that `run` waits.
    let log = File::open(sandbox.path("home/log/lock")).expect("the log's lock");
    log.lock().expect("lock");
    let cases: [&[&str]; 3] = [
        &[
            "run",
            "tumor.carat-model",
            "--input",
            "tumor.json",
            "-o",
            "out.carat",
        ],
        &["bench", "log", "--dir", "bench", "--entries", "100000000"],
        &["bench", "run", "tumor.carat-model", "--seconds", "30"],
    ];
    for args in cases {
        for signal in ["INT", "TERM"] {
            let ran = interrupt(&sandbox, args, signal, Duration::from_millis(500));
            assert_eq!(ran.code, 130, "{args:?} {} {}", ran.out, ran.err);
            assert!(ran.err.contains("interrupted"), "{}", ran.err);
            // Other threads may have been writing into the folder while it was removed.
            let _ = fs::remove_dir_all(sandbox.path("bench"));
            assert_eq!(sandbox.names(), before, "{args:?}");
        }
    }
}

/// At whatever moment it falls, an interrupt leaves whole files or none.
#[cfg(unix)]
#[test]
fn interrupts_leave_no_partial_file() {
    let sandbox = Sandbox::with_model();
    let folder = repo("models/tumor");
    let compile = [
        "model",
        "compile",
        folder.to_str().expect("UTF-8"),
        "-o",
        "out.carat-model",
    ];
    let run = [
        "run",
        "tumor.carat-model",
        "--input",
        "tumor.json",
        "-o",
        "out.carat",
    ];
    let mut interrupted = 0;
    for millis in 0..40 {
        for args in [&compile[..], &run[..]] {
            let ran = interrupt(&sandbox, args, "INT", Duration::from_millis(millis));
            // Before the handler is there, the system ends the process: no exit status.
            assert!(
                [0, 130, -1].contains(&ran.code),
                "{args:?} {} {}",
                ran.code,
                ran.err
            );
            interrupted += usize::from(ran.code != 0);
        }
        if sandbox.path("out.carat-model").exists() {
            sandbox.good(&["model", "inspect", "out.carat-model"]);
            fs::remove_file(sandbox.path("out.carat-model")).expect("remove");
        }
        if sandbox.path("out.carat").exists() {
            // The receipt comes last, so its opening is there.
            sandbox.ends(&["verify", "out.carat", "--open", "out.carat-open"], 4);
            fs::remove_file(sandbox.path("out.carat")).expect("remove");
        }
        let _ = fs::remove_file(sandbox.path("out.carat-open"));
        assert_eq!(
            sandbox.names(),
            ["tumor.carat-model", "tumor.json"],
            "after {millis} ms"
        );
    }
    assert!(
        interrupted > 0,
        "every command had ended before it was interrupted"
    );
    // The log is in order after all that.
    if sandbox.path("home/log/checkpoint").exists() {
        sandbox.good(&["log", "audit"]);
    }
    sandbox.good(&run);
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let sandbox = Sandbox::new();
    let mut child = sandbox
        .command(&["help", "errors"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start carat");
    drop(child.stdout.take());
    let ran = Ran::from(child.wait_with_output().expect("the end"), &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    // A full standard output is one.
    #[cfg(target_os = "linux")]
    {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full");
        let output = sandbox
            .command(&["help", "errors"])
            .stdout(full)
            .output()
            .expect("run");
        assert_eq!(output.status.code(), Some(13));
    }
}

#[test]
fn two_first_runs_at_once_agree_on_one_key_and_one_log() {
    let sandbox = Sandbox::with_model();
    let run = |out: &str| {
        sandbox
            .command(&[
                "run",
                "tumor.carat-model",
                "--input",
                "tumor.json",
                "-o",
                out,
                "--json",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start carat")
    };
    let children: Vec<_> = (0..4).map(|i| run(&format!("{i}.carat"))).collect();
    for child in children {
        let ran = Ran::from(child.wait_with_output().expect("the end"), &["run"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    assert_eq!(sandbox.json(&["log", "show"], 0)["entries"], 4);
    let issuers: std::collections::BTreeSet<String> = (0..4)
        .map(|i| {
            let json = sandbox.json(&["verify", &format!("{i}.carat")], 4);
            json["receipt"]["issuer_key"]
                .as_str()
                .expect("a key")
                .to_string()
        })
        .collect();
    assert_eq!(issuers.len(), 1);
}

#[test]
fn a_damaged_data_directory_says_so() {
    let sandbox = Sandbox::with_receipt();
    let run = [
        "run",
        "tumor.carat-model",
        "--input",
        "tumor.json",
        "-o",
        "o.carat",
    ];
    fs::write(sandbox.path("home/log/checkpoint"), "nonsense").expect("write");
    let ran = sandbox.ends(&run, 15);
    assert!(ran.err.contains("audit"), "{}", ran.err);
    fs::write(sandbox.path("home/key"), "nonsense").expect("write");
    sandbox.ends(&run, 15);
    assert!(!sandbox.path("o.carat").exists());
}
