//! A process of its own for examining what strangers published, with bounds on time and memory.
//!
//! The worker reads one order a line and writes reports, one a line, the last one marked. Whoever waits for it stops it when
//! the time is over or it dies, keeps what was reported until then, and starts another one for the next order.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use carat_hub::card::Execution;
use serde::{Deserialize, Serialize};

use super::examine::{Order, Report, examine};
use crate::exit::{Exit, Failure};

/// How often whoever waits looks whether it should go on.
const LOOK: Duration = Duration::from_millis(100);

/// What one examination may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Seconds.
    pub seconds: u64,
    /// Memory, in bytes.
    pub bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            seconds: 60,
            bytes: 4 << 30,
        }
    }
}

/// How to start a worker: a program and its arguments; those of the bounds are added.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<String>,
    /// The bounds.
    pub bounds: Bounds,
}

impl Launch {
    /// This program again, as `carat hub worker`.
    pub fn own(bounds: Bounds) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|error| {
            Failure::new(Exit::Io, format!("finding this program failed: {error}"))
        })?;
        Ok(Self {
            program,
            arguments: vec!["hub".into(), "worker".into()],
            bounds,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    last: bool,
    report: Report,
}

struct Process {
    child: Child,
    orders: ChildStdin,
    lines: Receiver<String>,
    errors: ChildStderr,
}

/// Whoever waits for a worker.
pub struct Worker {
    launch: Launch,
    process: Option<Process>,
}

impl Worker {
    /// Starts nothing yet.
    pub fn new(launch: Launch) -> Self {
        Self {
            launch,
            process: None,
        }
    }

    fn start(&self) -> io::Result<Process> {
        let mut child = Command::new(&self.launch.program)
            .args(&self.launch.arguments)
            .args(["--memory", &self.launch.bounds.bytes.to_string()])
            // Keys of the caller are nothing for it.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("a process without its pipes");
        let orders = child.stdin.take().ok_or_else(missing)?;
        let out = child.stdout.take().ok_or_else(missing)?;
        let errors = child.stderr.take().ok_or_else(missing)?;
        let (send, lines) = channel();
        // Ends with the process.
        std::thread::Builder::new()
            .name("carat-hub-reader".into())
            .spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    if send.send(line).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Process {
            child,
            orders,
            lines,
            errors,
        })
    }

    /// Examines, within the bounds. Whatever the subject does, there is a report; none where `stop` says so meanwhile.
    pub fn examine(&mut self, order: &Order, stop: &dyn Fn() -> bool) -> Result<Report, Failure> {
        let io = |error: io::Error| {
            Failure::new(
                Exit::Io,
                format!("starting a process to examine models failed: {error}"),
            )
        };
        let mut process = match self.process.take() {
            Some(process) => process,
            None => self.start().map_err(io)?,
        };
        let text = serde_json::to_string(order).map_err(Failure::of(Exit::Internal))?;
        let sent = process.orders.write_all(format!("{text}\n").as_bytes());
        let until = Instant::now() + Duration::from_secs(self.launch.bounds.seconds);
        let mut so_far: Option<Report> = None;
        let ended = match sent {
            Err(_) => RecvTimeoutError::Disconnected,
            Ok(()) => loop {
                let left = until.saturating_duration_since(Instant::now());
                match process.lines.recv_timeout(left.min(LOOK)) {
                    Ok(line) => {
                        let Ok(line) = serde_json::from_str::<Line>(&line) else {
                            // What is no report is no worker of this release.
                            break RecvTimeoutError::Disconnected;
                        };
                        if line.last {
                            self.process = Some(process);
                            return Ok(line.report);
                        }
                        so_far = Some(line.report);
                    }
                    Err(RecvTimeoutError::Timeout) if stop() => {
                        self.end(process, RecvTimeoutError::Timeout);
                        return Err(Failure::new(
                            Exit::Interrupted,
                            "the examination was stopped",
                        ));
                    }
                    Err(RecvTimeoutError::Timeout) if left > LOOK => {}
                    Err(ended) => break ended,
                }
            },
        };
        let reason = self.end(process, ended);
        let mut report = so_far.unwrap_or_else(Report::of_nothing);
        let found = &mut report.examination;
        match found.execution {
            Execution::Runs => found.warnings.push(format!(
                "the examination {reason}; what is not shown was not measured"
            )),
            _ => {
                found.execution = Execution::Refused {
                    group: reason.clone(),
                    reason,
                };
            }
        }
        Ok(report)
    }

    /// Ends a process and says in which way it failed.
    fn end(&self, mut process: Process, ended: RecvTimeoutError) -> String {
        let Bounds { seconds, bytes } = self.launch.bounds;
        let _ = process.child.kill();
        let status = process.child.wait();
        if ended == RecvTimeoutError::Timeout {
            return format!("took longer than {seconds} s");
        }
        let mut errors = Vec::new();
        let _ = process.errors.take(64 << 10).read_to_end(&mut errors);
        let errors = String::from_utf8_lossy(&errors);
        if errors.contains("memory allocation of") {
            return format!("needed more than {} MiB of memory", bytes >> 20);
        }
        if errors.contains("overflowed its stack") {
            return "needed more stack than there is".into();
        }
        match status {
            Ok(status) => format!("ended its process ({status})"),
            Err(error) => format!("ended its process ({error})"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

/// The worker's side: takes orders from standard input until it ends. `bytes`: memory that it may take from now on.
pub fn serve(bytes: u64) -> Result<(), Failure> {
    carat_float::protocol::confine(bytes).map_err(|error| {
        Failure::new(Exit::Io, format!("limiting this process failed: {error}"))
    })?;
    let io = |error: io::Error| Failure::new(Exit::Io, error);
    for order in io::stdin().lock().lines() {
        let order = order.map_err(io)?;
        let order: Order = serde_json::from_str(&order).map_err(Failure::of(Exit::Usage))?;
        let say = |report: &Report, last: bool| {
            let line = Line {
                last,
                report: report.clone(),
            };
            // Whoever asked has gone: there is nobody to tell.
            if let Ok(text) = serde_json::to_string(&line) {
                let mut out = io::stdout().lock();
                let _ = out
                    .write_all(format!("{text}\n").as_bytes())
                    .and_then(|()| out.flush());
            }
        };
        let mut so_far = None;
        let mut tell = |report: &Report| {
            so_far = Some(report.clone());
            say(report, false);
        };
        let ended = catch_unwind(AssertUnwindSafe(|| examine(&order, &mut tell)));
        let report = ended.unwrap_or_else(|_| {
            let mut report = so_far.unwrap_or_else(Report::of_nothing);
            let reason =
                "the compiler, the executor or the prover panicked: a fault of carat".to_string();
            match report.examination.execution {
                Execution::Runs => report.examination.warnings.push(reason),
                _ => {
                    report.examination.execution = Execution::Refused {
                        group: reason.clone(),
                        reason,
                    };
                }
            }
            report
        });
        say(&report, true);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::examine::Subjects;
    use super::*;

    /// What became of an order by a process that runs this script instead.
    fn by(script: &str) -> Execution {
        let launch = Launch {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            bounds: Bounds {
                seconds: 1,
                bytes: 1 << 20,
            },
        };
        let order = Order {
            subject: Subjects::Folder("/nowhere".into()),
            compile_to: None,
            proof_bytes: 0,
        };
        let mut worker = Worker::new(launch);
        let report = worker.examine(&order, &|| false).expect("a report");
        // The next order is answered as well.
        worker.examine(&order, &|| false).expect("another one");
        report.examination.execution
    }

    #[test]
    fn whatever_the_process_does_there_is_a_report() {
        for (script, words) in [
            ("exec sleep 60", "took longer than 1 s"),
            ("exit 7", "ended its process"),
            (
                "read order; echo nonsense; exec sleep 60",
                "ended its process",
            ),
            (
                "echo 'memory allocation of 9 bytes failed' >&2; exit 1",
                "needed more than 1 MiB",
            ),
            (
                "echo 'thread has overflowed its stack' >&2; kill -ABRT $$",
                "stack",
            ),
        ] {
            match by(script) {
                Execution::Refused { reason, .. } => {
                    assert!(reason.contains(words), "{script}: {reason}")
                }
                other => panic!("{script}: {other:?}"),
            }
        }
    }

    #[test]
    fn whoever_stops_waiting_gets_no_report() {
        let launch = Launch {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), "exec sleep 60".into()],
            bounds: Bounds::default(),
        };
        let order = Order {
            subject: Subjects::Folder("/nowhere".into()),
            compile_to: None,
            proof_bytes: 0,
        };
        let stopped = Worker::new(launch).examine(&order, &|| true);
        assert_eq!(stopped.expect_err("stopped").exit, Exit::Interrupted);
    }
}
