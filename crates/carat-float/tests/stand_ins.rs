//! Workers that fail in every way: whoever asks gets an error that says how, and the next question is answered.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use carat_float::profile::X86_64_V3;
use carat_float::protocol::{Reply, frame};
use carat_float::stand_in::{answer, model, number, write};
use carat_float::{Bounds, Launch, Worker, WorkerError};

fn launch(program: &Path) -> Launch {
    Launch {
        program: program.to_path_buf(),
        arguments: Vec::new(),
        profile: X86_64_V3,
        bounds: Bounds {
            time: Duration::from_secs(20),
            bytes: 1 << 30,
        },
    }
}

/// A worker that answers, and before that does `before` while the file `once` is there, which it takes away.
fn failing_once(before: &str, reply: &Reply) -> (tempfile::TempDir, Worker) {
    let folder = tempfile::tempdir().expect("a folder");
    let before = format!("if [ -e once ]; then rm once; {before}; fi");
    let program = write(folder.path(), reply, &before).expect("written");
    (folder, Worker::new(launch(&program)))
}

#[test]
fn a_worker_that_fails_is_replaced() {
    type Check = fn(&WorkerError) -> bool;
    let cases: [(&str, Check); 7] = [
        (
            "kill -ABRT $$",
            |e| matches!(e, WorkerError::Died(why) if why.contains("signal")),
        ),
        ("exit 3", |e| matches!(e, WorkerError::Died(_))),
        (
            "printf 'nonsense, and more than a length'; exec sleep 60",
            |e| matches!(e, WorkerError::Protocol(_)),
        ),
        // A frame that claims four gigabytes.
        ("printf '\\377\\377\\377\\377'; exec sleep 60", |e| {
            matches!(e, WorkerError::Protocol(_))
        }),
        (
            "cat hello; exec sleep 60",
            |e| matches!(e, WorkerError::Protocol(what) if what.contains("greeting")),
        ),
        (
            "echo 'memory allocation of 9 bytes failed' >&2; kill -ABRT $$",
            |e| matches!(e, WorkerError::Memory(_)),
        ),
        (
            "cat panicked; exit 1",
            |e| matches!(e, WorkerError::Panicked(text) if text == "index out of bounds"),
        ),
    ];
    for (before, check) in cases {
        let (folder, mut worker) = failing_once(before, &answer(2.5));
        let panicked = Reply::Panicked {
            text: "index out of bounds".into(),
        };
        fs::write(
            folder.path().join("panicked"),
            frame(&panicked).expect("a frame"),
        )
        .expect("written");
        let first = worker.run(&model(), &number(1.0)).expect("an answer");
        assert_eq!(first, number(2.5));
        let process = worker.process_id().expect("it waits");
        // The same process answers again.
        worker.run(&model(), &number(1.0)).expect("an answer");
        assert_eq!(worker.process_id(), Some(process));

        fs::write(folder.path().join("once"), "").expect("written");
        let error = worker.run(&model(), &number(1.0)).expect_err(before);
        assert!(check(&error), "{before}: {error:?}");
        assert_eq!(worker.process_id(), None, "{before}: nothing waits");
        let again = worker.run(&model(), &number(1.0)).expect("an answer");
        assert_eq!(again, number(2.5), "{before}");
        assert_ne!(worker.process_id(), Some(process), "{before}");
    }
}

#[test]
fn a_worker_that_ends_while_it_waits_is_replaced_unseen() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = write(folder.path(), &answer(2.5), "").expect("written");
    let mut worker = Worker::new(launch(&program));
    worker.run(&model(), &number(1.0)).expect("an answer");
    let process = worker.process_id().expect("it waits").to_string();
    let killed = std::process::Command::new("kill")
        .args(["-KILL", &process])
        .status();
    assert!(killed.expect("kill").success());
    // The signal arrives when it arrives.
    std::thread::sleep(Duration::from_millis(300));
    let again = worker.run(&model(), &number(1.0)).expect("an answer");
    assert_eq!(again, number(2.5));
}

#[test]
fn a_worker_that_hangs_is_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    // In the run, before the greeting, and without ever reading what it is asked.
    let run = write(folder.path(), &answer(1.0), "exec sleep 60").expect("written");
    let mut launch = launch(&run);
    launch.bounds.time = Duration::from_secs(2);
    let hangs = |launch: &Launch| {
        let mut worker = Worker::new(launch.clone());
        let error = worker.run(&model(), &number(1.0)).expect_err("it hangs");
        assert!(matches!(error, WorkerError::TookTooLong(_)), "{error:?}");
        assert_eq!(worker.process_id(), None);
    };
    hangs(&launch);
    for script in ["exec sleep 60", "cat hello; exec sleep 60"] {
        let path = folder.path().join("stand-in");
        let text = format!(
            "#!/bin/sh\nPATH=/usr/bin:/bin\ncd '{}'\n{script}\n",
            folder.path().display()
        );
        fs::write(&path, text).expect("written");
        hangs(&launch);
    }
    // A model far larger than a pipe holds, to a worker that does not read.
    let mut large = model();
    large.onnx = vec![0; 8 << 20];
    large.program.body.source = carat_receipt::Digest::sha256(&large.onnx);
    large.digest = large.program.digest();
    let error = Worker::new(launch).run(&large, &number(1.0));
    assert!(
        matches!(error, Err(WorkerError::TookTooLong(_))),
        "{error:?}"
    );
}

#[test]
fn a_worker_with_other_bits_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = write(folder.path(), &answer(1.0), "").expect("written");
    for (profile, answers) in [
        (X86_64_V3.name, "00".repeat(32)),
        ("tract/0.23.8/x86-64-v3", X86_64_V3.answers.to_string()),
    ] {
        let hello = Reply::Hello {
            profile: profile.into(),
            answers,
        };
        fs::write(folder.path().join("hello"), frame(&hello).expect("a frame")).expect("written");
        let error = Worker::new(launch(&program)).run(&model(), &number(1.0));
        assert!(
            matches!(error, Err(WorkerError::OtherBits { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn what_a_worker_says_is_held_against_the_program() {
    use carat_program::Dtype;
    use carat_program::pinned::{Bits, encode_bits};
    let folder = tempfile::tempdir().expect("a folder");
    let tensor =
        |dtype, dims: &[usize], bytes| Bits::new(dtype, dims, vec![0; bytes]).expect("fits");
    for outputs in [
        vec![],
        vec![tensor(Dtype::F32, &[2], 8)],
        vec![tensor(Dtype::I32, &[1], 4)],
        vec![tensor(Dtype::F32, &[1], 4), tensor(Dtype::F32, &[1], 4)],
    ] {
        let reply = Reply::Outputs {
            tensors: encode_bits(&outputs),
        };
        let program = write(folder.path(), &reply, "").expect("written");
        let error = Worker::new(launch(&program)).run(&model(), &number(1.0));
        assert!(matches!(error, Err(WorkerError::Protocol(_))), "{error:?}");
    }
    // Inputs too, before anything is started.
    let nowhere = Path::new("/nowhere/worker");
    let wrong = [tensor(Dtype::F32, &[2], 8)];
    let error = Worker::new(launch(nowhere)).run(&model(), &wrong);
    assert!(matches!(error, Err(WorkerError::Input(_))), "{error:?}");
    let error = Worker::new(launch(nowhere)).run(&model(), &number(1.0));
    assert!(matches!(error, Err(WorkerError::Start { .. })), "{error:?}");
}
