//! A full disk: a typed error, nothing acknowledged is lost, and the log goes
//! on once there is room.
#![cfg(all(feature = "store", unix))]
#![allow(clippy::print_stdout)] // the pipe to the parent

use carat_log::NoteSigner;
use carat_log::store::{Log, Options, StoreError, audit};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const CHILD: &str = "CARAT_LOG_LIMIT_DIR";

fn signer() -> NoteSigner {
    NoteSigner::new("log.example/full", &[1; 32]).expect("good name")
}

fn leaf(i: u64) -> Vec<u8> {
    let mut leaf = i.to_be_bytes().to_vec();
    leaf.resize(3000, i as u8);
    leaf
}

/// A small file system that is gone at the end of the test.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).expect("makes");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(at)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        mounted.then(|| Self(at.to_path_buf()))
    }
}

impl Small {
    fn grow(&self) {
        let grown = Command::new("mount")
            .args(["-o", "remount,size=4m"])
            .arg(&self.0)
            .status();
        assert!(grown.expect("runs").success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn full_file_system() {
    let scratch = tempfile::tempdir().expect("temporary directory");
    let Some(small) = Small::mount(&scratch.path().join("small")) else {
        eprintln!(
            "SKIPPED: this test needs the right to mount a tmpfs (run as root); see the next test"
        );
        return;
    };
    let dir = small.0.join("log");
    let mut acknowledged = 0;
    for round in 0..2 {
        let log = Log::open_or_create(&dir, signer(), Options::default()).expect("opens");
        // Round 0 meets the end while appending, round 1 while publishing.
        let error = loop {
            match log.append(&leaf(acknowledged)) {
                Ok(index) => {
                    assert_eq!(index, acknowledged);
                    acknowledged += 1;
                    if round == 1
                        && let Err(error) = log.publish()
                    {
                        break error;
                    }
                }
                Err(error) => break error,
            }
            assert!(acknowledged < 1000, "the disk never filled");
        };
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        assert!(error.to_string().contains("free space"), "{error}");
        // Still full: still the same answer, and everything can be read.
        assert!(matches!(
            log.append_batch(&vec![leaf(0); 1500]),
            Err(StoreError::DiskFull { .. })
        ));
        for index in 0..acknowledged {
            assert_eq!(log.leaf(index).expect("acknowledged"), leaf(index));
        }
        // Room again: the same log goes on, without being opened anew.
        if round == 0 {
            // (Opening it would need room for a second copy of what is pending.)
            small.grow();
            assert_eq!(
                log.append(&leaf(acknowledged)).expect("room again"),
                acknowledged
            );
            acknowledged += 1;
        }
    }
    assert!(
        fs::read_dir(dir.join("tmp"))
            .expect("there")
            .next()
            .is_none(),
        "no debris"
    );
    // As after a power cut on a full disk: all there, in a copy with room.
    let copy = scratch.path().join("copy");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(&dir)
        .arg(&copy)
        .status()
        .expect("runs");
    assert!(copied.success());
    check(&copy, acknowledged);
}

fn check(dir: &Path, acknowledged: u64) {
    let log = Log::open(dir, signer(), Options::default()).expect("opens");
    assert!(
        log.len() >= acknowledged,
        "{acknowledged} acknowledged, {} there",
        log.len()
    );
    for index in 0..acknowledged {
        assert_eq!(log.leaf(index).expect("acknowledged"), leaf(index));
    }
    log.publish().expect("publishes");
    let report = audit(dir, &log.verifier(), None).expect("audits");
    assert!(report.ok, "{report:#?}");
}

/// Not a test of its own: appends under a limit on the size of files.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD) else {
        return;
    };
    let log =
        Log::open_or_create(&PathBuf::from(dir), signer(), Options::default()).expect("opens");
    for i in 0..1000 {
        match log.append(&leaf(i)) {
            Ok(index) => assert_eq!(index, i),
            Err(StoreError::DiskFull { .. }) => {
                // A smaller one may still fit; then the disk is full again.
                let again = log.append(&leaf(i));
                assert!(
                    matches!(again, Err(StoreError::DiskFull { .. })),
                    "{again:?}"
                );
                println!("\nfull after {i}");
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the limit was never met");
}

/// Where nothing can be mounted: a limit on the size of one file makes the
/// system refuse the write that passes it.
#[test]
fn file_size_limit() {
    let scratch = tempfile::tempdir().expect("temporary directory");
    // 1024 blocks of 512 bytes; the signal that would kill the child is ignored.
    let output = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 1024; exec \"$0\" child --exact --nocapture",
        ])
        .arg(std::env::current_exe().expect("own path"))
        .env(CHILD, scratch.path())
        .output()
        .expect("runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{printed}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let count = printed
        .lines()
        .find_map(|line| line.strip_prefix("full after "))
        .expect("met the limit");
    let count: u64 = count.parse().expect("a number");
    assert!(count > 50, "the limit was met after {count}");
    check(scratch.path(), count);
}
