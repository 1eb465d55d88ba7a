//! What goes on beside the requests: checkpoints, changed files, room on the disk, old keys.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Node;
use crate::access::{self, KEYS_FILE};
use crate::config::Access;
use crate::exit::{Exit, Failure};
use crate::home::{self, log_failure};

/// How often files are looked at for changes, and the disk for room.
const TICK: Duration = Duration::from_secs(1);
/// Most keys that are forgotten in one tick.
const FORGET: usize = 20_000;

impl Node {
    /// Makes checkpoints until the end.
    pub(super) fn publish(&self) {
        let pause = Duration::from_millis(self.config.checkpoint_ms);
        let mut next = Instant::now() + pause;
        while !self.ending.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(20).min(pause));
            if Instant::now() < next {
                continue;
            }
            next = Instant::now() + pause;
            if let Err(error) = self.log.publish() {
                let failure = log_failure(error);
                tracing::error!(error = %failure.message, "no checkpoint could be made");
                // A full disk passes; anything else stops the log, and appends will say so.
                if failure.exit != Exit::DiskFull {
                    let _ = self.fault.set(failure);
                }
            }
        }
    }

    /// Looks at files and disk until the end.
    pub(super) fn tick(&self) {
        let mut next = Instant::now();
        let mut refused = String::new();
        while !self.ending.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(50));
            if Instant::now() < next {
                continue;
            }
            next = Instant::now() + TICK;
            self.look_at_disk();
            // Said once for each reason, not every second.
            let failed = self.refresh().err().map(|failure| failure.message);
            match failed {
                Some(message) if message != refused => {
                    self.metrics.bad_policy();
                    tracing::error!(
                        error = message,
                        "a changed file is not in force; the old one stays"
                    );
                    refused = message;
                }
                Some(_) => {}
                None => refused.clear(),
            }
            if let Err(failure) = self.sweep() {
                tracing::error!(error = failure.message, "old idempotency keys stay");
            }
        }
    }

    fn refresh(&self) -> Result<(), Failure> {
        if self.config.access == Access::Keys {
            self.gate
                .replace(access::read_keys(&self.home.path(KEYS_FILE))?);
        }
        self.rules.refresh(&self.models).map(drop)
    }

    fn sweep(&self) -> Result<(), Failure> {
        let oldest = self
            .expiry()?
            .saturating_sub(self.config.idempotency_hours.saturating_mul(3600));
        self.store.forget_keys(oldest, FORGET)?;
        Ok(())
    }

    /// Says so where the newest receipt is dated after this machine's clock: the log's order does not depend on dates, but
    /// whoever reads them will wonder.
    pub(super) fn look_at_dates(&self) -> Result<(), Failure> {
        let Some((_, id)) = self.store.last_place()? else {
            return Ok(());
        };
        let newest = self.store.receipt(&id)?.map_or(0, |record| record.created);
        let ahead = newest.saturating_sub(home::clock()?);
        if ahead > 0 {
            tracing::warn!(
                seconds = ahead,
                "the newest receipt is dated after this machine's clock: one of the two dates is wrong"
            );
        }
        Ok(())
    }

    pub(super) fn look_at_disk(&self) {
        let free = rustix::fs::statvfs(self.home.root())
            .map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        let full = free < self.config.limits.free_bytes;
        if full != self.disk_full.swap(full, Ordering::AcqRel) {
            tracing::warn!(free_bytes = free, full, "room on the disk");
        }
    }
}
