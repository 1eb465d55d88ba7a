//! Past decisions as they are kept (`decisions.jsonl`), the latest of them made again from their records: what was at stake,
//! what was bought for it, and for how much. Nothing is estimated.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::sync::{Mutex, PoisonError};

use carat_policy::plan::Rung;
use carat_policy::policy_file::{Mode, Policy};
use carat_policy::{Micros, Price};
use carat_receipt::Currency;

use crate::exit::Failure;
use crate::files;
use crate::home::Home;
use crate::planning::{self, Past};
use crate::store::seal::Keys;

/// Most decisions that are shown.
pub(super) const MOST: usize = 2000;
/// Where reading begins, from the end of the file.
const TAIL: u64 = 16 << 20;
/// Longest line.
const MAX_LINE: u64 = 1 << 20;

/// A plan that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bought {
    pub(super) rung: Rung,
    pub(super) price: Price,
    pub(super) good_for: Micros,
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decision {
    /// Unix seconds.
    pub(super) time: u64,
    pub(super) currency: Currency,
    /// What was at stake.
    pub(super) value: Micros,
    /// `None`: nothing that is supplied covered it, or the policy is in shadow mode.
    pub(super) bought: Option<Bought>,
    /// Whether there was an answer.
    pub(super) served: bool,
}

/// What was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    /// The latest decisions, in order.
    pub(super) decisions: Vec<Decision>,
    /// Whether there are older ones.
    pub(super) older: bool,
    /// Lines that could not be made again: of another key, or of a policy that this software reads differently.
    pub(super) unread: u64,
}

#[derive(Default)]
struct Reading {
    /// Which file, and up to where.
    file: u64,
    at: u64,
    decisions: VecDeque<Decision>,
    older: bool,
    unread: u64,
    /// The last policy, and whether its plans are carried out.
    policy: Option<(String, bool)>,
}

/// Decisions that were read so far. Each is made once.
#[derive(Default)]
pub(crate) struct History(Mutex<Reading>);

impl History {
    /// Reads what was added since, and gives the latest.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub(super) fn look(&self, home: &Home, keys: Option<&Keys>) -> Result<Shown, Failure> {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if planning::kept(home) {
            reading.more(home, keys)?;
        } else {
            *reading = Reading::default();
        }
        Ok(Shown {
            decisions: reading.decisions.iter().copied().collect(),
            older: reading.older,
            unread: reading.unread,
        })
    }
}

/// What tells one file of a name from the next.
fn identity(file: &File) -> std::io::Result<(u64, u64)> {
    let about = file.metadata()?;
    #[cfg(unix)]
    let id = std::os::unix::fs::MetadataExt::ino(&about);
    #[cfg(not(unix))]
    let id = 0;
    Ok((id, about.len()))
}

impl Reading {
    fn more(&mut self, home: &Home, keys: Option<&Keys>) -> Result<(), Failure> {
        let path = home.path(planning::RECORDS);
        let failed = |error| files::io_failure("reading", &path, &error);
        let file = File::open(&path).map_err(failed)?;
        let (id, length) = identity(&file).map_err(failed)?;
        let mut reader = BufReader::new(file);
        if id != self.file || length < self.at {
            // Another file took its place: old decisions were dropped, or sealed.
            let start = length.saturating_sub(TAIL);
            *self = Self {
                file: id,
                at: start,
                older: start > 0,
                ..Self::default()
            };
            if start > 0 {
                reader.seek(SeekFrom::Start(start)).map_err(failed)?;
                let mut rest = Vec::new();
                let skipped = reader
                    .by_ref()
                    .take(MAX_LINE)
                    .read_until(b'\n', &mut rest)
                    .map_err(failed)?;
                self.at += skipped as u64;
            }
        }
        reader.seek(SeekFrom::Start(self.at)).map_err(failed)?;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader
                .by_ref()
                .take(MAX_LINE)
                .read_until(b'\n', &mut line)
                .map_err(failed)?;
            // A last line without its end is being written now.
            if read == 0 || (line.last() != Some(&b'\n') && (read as u64) < MAX_LINE) {
                return Ok(());
            }
            self.at += read as u64;
            match self.made_again(&line, keys) {
                Some(decision) => self.decisions.push_back(decision),
                None => self.unread += 1,
            }
            if self.decisions.len() > MOST {
                self.decisions.pop_front();
                self.older = true;
            }
        }
    }

    fn made_again(&mut self, line: &[u8], keys: Option<&Keys>) -> Option<Decision> {
        let past: Past = serde_json::from_slice(line).ok()?;
        let (time, served) = (past.time, past.served);
        let record = past.opened(keys).ok()?.decision()?;
        let carried_out = match &self.policy {
            Some((text, carried_out)) if *text == record.policy => *carried_out,
            _ => {
                let carried_out = Policy::parse(&record.policy).ok()?.mode != Mode::Shadow;
                self.policy = Some((record.policy.clone(), carried_out));
                carried_out
            }
        };
        let decided = record.make().ok()?;
        let consequence = &decided.judged.consequence;
        let plan = decided.plan.as_ref().ok().filter(|_| carried_out);
        Some(Decision {
            time,
            currency: consequence.currency,
            value: consequence.value,
            bought: plan.map(|plan| Bought {
                rung: plan.rung,
                price: plan.price,
                good_for: plan.good_for,
            }),
            served,
        })
    }
}

#[cfg(test)]
mod tests {
    use carat_policy::Environment;
    use carat_policy::decision::Decision as Record;
    use carat_policy::facts::Facts;
    use carat_policy::policy_file::DEFAULT_POLICY;

    use super::*;

    fn past(time: u64, micros: u64) -> Past {
        let mut facts = Facts::new();
        facts.at_stake = Some(Micros(micros));
        let currency = Currency::new("USD").expect("a currency");
        let bare = Environment::bare(currency, Price::ZERO, 0);
        let record = Record::new(DEFAULT_POLICY, &facts, &bare);
        let decided = record.make().expect("judged");
        Past {
            time,
            receipt_id: None,
            served: decided.plan.is_ok(),
            decision: hex::encode(record.encode()),
            rung: None,
            tau: None,
        }
    }

    #[test]
    fn decisions_are_read_once_and_a_new_file_from_its_beginning() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = Home::at(dir.path().to_path_buf());
        let history = History::default();
        assert!(
            history
                .look(&home, None)
                .expect("none")
                .decisions
                .is_empty()
        );
        planning::remember(&home, &past(1, 0)).expect("kept");
        planning::remember(&home, &past(2, 5_000_000)).expect("kept");
        let shown = history.look(&home, None).expect("two");
        assert_eq!((shown.decisions.len(), shown.unread), (2, 0));
        assert_eq!(shown.decisions[1].value, Micros(5_000_000));
        // Nothing is supplied in an empty environment.
        assert_eq!(shown.decisions[1].bought, None);
        assert!(
            shown.decisions[0]
                .bought
                .is_some_and(|plan| plan.price == Price::ZERO)
        );
        planning::remember(&home, &past(3, 0)).expect("kept");
        assert_eq!(history.look(&home, None).expect("three").decisions.len(), 3);
        // A line that is being written is not counted as damage.
        let path = home.path(planning::RECORDS);
        let mut text = std::fs::read_to_string(&path).expect("read");
        text.push_str("{\"time\":");
        std::fs::write(&path, &text).expect("written");
        assert_eq!(history.look(&home, None).expect("three").unread, 0);
        text.push_str("}\n");
        std::fs::write(&path, &text).expect("written");
        assert_eq!(history.look(&home, None).expect("three").unread, 1);
        planning::forget(&home, 3).expect_err("a damaged line is not passed over");
        std::fs::remove_file(&path).expect("removed");
        planning::remember(&home, &past(9, 0)).expect("kept");
        let shown = history.look(&home, None).expect("one");
        assert_eq!(shown.decisions.len(), 1);
        assert_eq!((shown.decisions[0].time, shown.unread), (9, 0));
    }
}
