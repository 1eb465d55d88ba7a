//! Standard output and progress.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use carat_node::tell::{Doing, Tell};
use carat_receipt::label::misleads;
use indicatif::{ProgressBar, ProgressStyle};

/// What a command has to say: for people and for programs. Both are built from the same data.
pub(crate) struct Answer {
    /// For people.
    pub(crate) text: String,
    /// For programs (`--json`).
    pub(crate) json: serde_json::Value,
}

/// Prints to standard output. A reader that went away (`carat ... | head`) is no error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| {
            if text.ends_with('\n') {
                Ok(())
            } else {
                out.write_all(b"\n")
            }
        })
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints one line to standard error.
pub(crate) fn complain(line: &str) {
    // Messages quote names out of files that strangers made.
    let shown = |c: char| {
        if c != '\n' && misleads(c) {
            '\u{fffd}'
        } else {
            c
        }
    };
    let line: String = line.chars().map(shown).collect();
    // There is nobody left to tell if this fails.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A line on the terminal that says what is being done; nothing where standard error is no terminal. It disappears
/// when dropped.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Starts saying it.
    pub(crate) fn start(message: impl Into<String>) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message(message.into());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some(bar))
    }

    /// Starts a bar over so many steps.
    pub(crate) fn bar(message: impl Into<String>, steps: usize) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new(steps as u64);
        let template = "{msg} {wide_bar} {pos} of {len} ({elapsed}, {eta} left)";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(message.into());
        Self(Some(bar))
    }

    /// So many steps of a bar are done, of so many.
    pub(crate) fn at(&self, done: usize, steps: usize) {
        if let Some(bar) = &self.0 {
            bar.set_length(steps as u64);
            bar.set_position(done as u64);
        }
    }

    /// Says something else.
    pub(crate) fn say(&self, message: impl Into<String>) {
        if let Some(bar) = &self.0 {
            bar.set_message(message.into());
        }
    }
}

impl Doing for Progress {
    fn say(&self, what: &str) {
        Progress::say(self, what.to_string());
    }
}

/// Shows on standard error what goes on.
pub(crate) struct Terminal;

impl Tell for Terminal {
    fn begin(&self, what: String) -> Box<dyn Doing> {
        Box::new(Progress::start(what))
    }

    fn note(&self, line: &str) {
        complain(line);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
