//! What a node holds, counted kind by kind, for `carat stats`: from the directory of a server that is down, or by the server
//! itself while it runs.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};

use carat_receipt::Currency;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::{Exit, Failure};
use crate::files;
use crate::home::{self, Home};
use crate::node::Node;
use crate::planning::{self, Past};
use crate::spending::{Limits, Spending};
use crate::store::{Store, StoreOptions, Tally};

/// Longest line of a record of decisions that is read, in bytes.
const MAX_LINE: u64 = 1 << 20;

/// What was counted. The kinds are different things and are never added up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Census {
    /// What the store holds; absent where there never was a server.
    pub store: Option<Tally>,
    /// Entries of the log; absent where there is none.
    pub log_entries: Option<u64>,
    /// Decisions of the planner.
    pub decisions: Decisions,
    /// What was spent on verification, and what is left of each budget where the budgets are known.
    pub spending: Option<Value>,
}

/// Decisions that were kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decisions {
    /// Requests that nothing covered and that were not served.
    pub refusals: u64,
    /// Requests that nothing covered and that were served all the same (modes warn and shadow).
    pub served_uncovered: u64,
    /// Plans, by rung.
    pub planned: BTreeMap<String, u64>,
}

impl Decisions {
    fn count(&mut self, past: &Past) {
        match (&past.rung, past.served) {
            (Some(rung), _) => *self.planned.entry(rung.clone()).or_default() += 1,
            (None, true) => self.served_uncovered += 1,
            (None, false) => self.refusals += 1,
        }
    }

    /// Counts the record of a directory, line by line. A last line that was cut off is passed over.
    pub fn of(home: &Home) -> Result<Self, Failure> {
        let mut found = Self::default();
        if !planning::kept(home) {
            return Ok(found);
        }
        let path = home.path(planning::RECORDS);
        let failed = |error| files::io_failure("reading", &path, &error);
        let mut lines = BufReader::new(std::fs::File::open(&path).map_err(failed)?);
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let read = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
            if read.map_err(failed)? == 0 {
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(past) => found.count(&past),
                Err(_) if line.last() != Some(&b'\n') && (line.len() as u64) < MAX_LINE => break,
                Err(error) => {
                    let message = format!("{}, line {number}: {error}", path.display());
                    return Err(Failure::new(Exit::Store, message));
                }
            }
        }
        Ok(found)
    }
}

/// Counts what a directory holds; `options` has the keys of a sealed store. The store belongs to one process, so no server may run on it.
pub fn take(home: &Home, options: StoreOptions) -> Result<Census, Failure> {
    let path = home.path("store");
    let now = home::clock()?;
    let (mut tally, mut spending) = (None, None);
    if path.is_dir() {
        let store = Store::open(&path, options)?;
        tally = Some(store.tally(now)?);
        let mut last: Option<Currency> = None;
        store.charges(0, |charge| last = Some(charge.currency))?;
        if let Some(currency) = last {
            // Its budgets stand in the server's configuration, which is not looked for.
            let spent = Spending::load(Limits::default(), currency, &store, now)?;
            spending = Some(spent.json(now));
        }
    }
    let log_entries = if home.has_log() {
        Some(home.log()?.len())
    } else {
        None
    };
    Ok(Census {
        store: tally,
        log_entries,
        decisions: Decisions::of(home)?,
        spending,
    })
}

impl Node {
    /// Counts what this node holds, while it runs.
    pub(crate) fn census(&self) -> Result<Census, Failure> {
        let now = home::clock()?;
        Ok(Census {
            store: Some(self.store.tally(now)?),
            log_entries: Some(self.log.stats().entries),
            decisions: Decisions::of(&self.home)?,
            spending: Some(self.spending.json(now)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_counted_and_a_cut_line_is_not() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = Home::at(dir.path().to_path_buf());
        assert_eq!(Decisions::of(&home).expect("none"), Decisions::default());
        let line = |rung: &str, served: bool| {
            format!(
                "{{\"time\":1,\"receipt_id\":null,\"served\":{served},\"decision\":\"\",\"rung\":{rung},\"tau\":null}}\n"
            )
        };
        let mut text = line("\"zk\"", true) + &line("null", true) + &line("null", false);
        text.push_str(&line("\"zk\"", true));
        text.push_str("{\"time\":");
        std::fs::write(dir.path().join("decisions.jsonl"), &text).expect("written");
        let found = Decisions::of(&home).expect("counts");
        assert_eq!((found.refusals, found.served_uncovered), (1, 1));
        assert_eq!(found.planned, [("zk".to_string(), 2)].into());
        text.push_str("}\n");
        std::fs::write(dir.path().join("decisions.jsonl"), &text).expect("written");
        assert!(Decisions::of(&home).is_err());
    }
}
