//! What goes on beside the requests: checkpoints, changed files, room on the disk, old keys.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Node, now};
use crate::access::{self, KEYS_FILE};
use crate::config::Access;
use crate::exit::{Exit, Failure};
use crate::home::{self, log_failure};

/// How often files are looked at for changes, and the disk for room.
const TICK: Duration = Duration::from_secs(1);
/// How often past decisions are looked through: their file is written anew.
const DECISIONS: Duration = Duration::from_secs(600);
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
        let mut decisions = next;
        let mut refused = [String::new(), String::new(), String::new()];
        while !self.ending.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(50));
            if Instant::now() < next {
                continue;
            }
            next = Instant::now() + TICK;
            self.look_at_disk();
            // One file that cannot be used keeps no other from its place.
            let looked = [
                self.refresh_keys(),
                self.refresh_policy(),
                self.refresh_certificate(),
            ];
            for (result, refused) in looked.into_iter().zip(&mut refused) {
                self.note_refused(result, refused);
            }
            if let Err(failure) = self.sweep() {
                tracing::error!(error = failure.message, "old records stay");
            }
            if let Err(failure) = self.sweep_openings() {
                tracing::error!(error = failure.message, "openings stay whose time is over");
            }
            if Instant::now() >= decisions {
                decisions = Instant::now() + DECISIONS;
                if let Err(failure) = self.sweep_decisions() {
                    tracing::error!(error = failure.message, "old decisions stay");
                }
            }
            let missed = now().and_then(|now| self.look_for_misses(now));
            if let Err(problem) = missed {
                tracing::error!(error = problem.detail, "missed promises are not logged");
            }
        }
    }

    /// Renews the attestation until the end: in a thread of its own, because a source may take its time.
    pub(super) fn attest(&self) {
        let mut next = Instant::now();
        while !self.ending.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(50));
            if Instant::now() < next {
                continue;
            }
            next = Instant::now() + TICK;
            // Said when it is tried, which is not every second.
            if let Err(failure) = home::clock().and_then(|now| self.attesting.look(now)) {
                self.metrics.unattested();
                tracing::error!(error = failure.message, "no attestation could be had");
            }
        }
    }

    /// Says why a changed file is not in force: once for each reason, not every second.
    fn note_refused(&self, result: Result<(), Failure>, refused: &mut String) {
        match result.err().map(|failure| failure.message) {
            Some(message) if message != *refused => {
                self.metrics.bad_policy();
                tracing::error!(
                    error = message,
                    "a changed file is not in force; the old one stays"
                );
                *refused = message;
            }
            Some(_) => {}
            None => refused.clear(),
        }
    }

    fn refresh_keys(&self) -> Result<(), Failure> {
        if self.config.access == Access::Keys {
            self.gate
                .replace(access::read_keys(&self.home.path(KEYS_FILE))?);
        }
        Ok(())
    }

    fn refresh_policy(&self) -> Result<(), Failure> {
        // Budgets are stated once; a policy in another currency would leave them without meaning.
        let limits = self.spending.limits();
        let replaced = self
            .rules
            .refresh(&self.models, |policy| limits.check(policy.currency))?;
        if replaced {
            let currency = self.rules.now().policy.currency;
            self.spending
                .counted_in(currency, &self.store, home::clock()?)?;
        }
        Ok(())
    }

    fn refresh_certificate(&self) -> Result<(), Failure> {
        if let Some(tls) = &self.tls
            && tls.refresh(home::clock()?)?
        {
            tracing::info!(not_after = tls.not_after(), "TLS certificate replaced");
        }
        Ok(())
    }

    fn sweep(&self) -> Result<(), Failure> {
        let now = self.expiry()?;
        let oldest = now.saturating_sub(self.config.idempotency_hours.saturating_mul(3600));
        self.store.forget_keys(oldest, FORGET)?;
        self.spending.forget(&self.store, now, FORGET)?;
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
