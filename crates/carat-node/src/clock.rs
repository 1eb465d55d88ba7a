//! The wall clock, watched: what it says dates receipts, and what expires by it does not expire because it jumped.
//!
//! Time that passes is measured by the system's monotonic clock. Where the wall clock has moved by more than that between two
//! looks, somebody set it, or the machine slept. Dates follow it at once, since nothing here knows better. Expiry does not: for
//! [`HOLD`] after a jump forward it is judged as if the clock had gone on from where it was, so that whoever notices can set it
//! right before anything that is kept for a time is forgotten.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::exit::Failure;
use crate::home;

/// Seconds between the two clocks that are no jump: what NTP slews, and the rounding of both.
const TOLERANCE: u64 = 30;
/// How long a jump forward is not believed for expiry.
pub const HOLD: Duration = Duration::from_secs(3600);

/// The wall clock with its past.
#[derive(Debug)]
pub struct Clock(Mutex<Past>);

/// What was seen last.
#[derive(Debug)]
struct Past {
    wall: u64,
    at: Instant,
    /// Seconds ahead that are not believed yet, and since when.
    ahead: Option<(u64, Instant)>,
}

/// What the clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Unix seconds by the wall clock.
    pub wall: u64,
    /// Unix seconds that expiry is judged by.
    pub expiry: u64,
    /// Seconds that the wall clock moved since the last look, beyond the time that passed; 0: it did not jump.
    pub jumped: i64,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Result<Self, Failure> {
        Ok(Self::from(home::clock()?, Instant::now()))
    }

    fn from(wall: u64, at: Instant) -> Self {
        let ahead = None;
        Self(Mutex::new(Past { wall, at, ahead }))
    }

    /// Looks at it.
    ///
    /// # Errors
    /// Where it stands before 1970.
    pub fn look(&self) -> Result<Seen, Failure> {
        Ok(self.see(home::clock()?, Instant::now()))
    }

    fn see(&self, wall: u64, at: Instant) -> Seen {
        // The past is replaced whole, so a panic elsewhere leaves it usable.
        let mut past = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = past
            .wall
            .saturating_add(at.saturating_duration_since(past.at).as_secs());
        let off = wall.abs_diff(expected);
        let mut jumped = 0;
        if off > TOLERANCE {
            let signed = i64::try_from(off).unwrap_or(i64::MAX);
            jumped = if wall > expected { signed } else { -signed };
            let ahead = past.ahead.map_or(0, |(ahead, _)| ahead);
            let ahead = if wall > expected {
                ahead.saturating_add(off)
            } else {
                // Set back: by as much as it was ahead, or further, in which case nothing expires early anyhow.
                ahead.saturating_sub(off)
            };
            past.ahead = (ahead > 0).then_some((ahead, at));
        }
        // Seconds are rounded: the pair is renewed only when it is needed, so that roundings do not add up.
        if jumped != 0 || at.saturating_duration_since(past.at) > Duration::from_secs(60) {
            (past.wall, past.at) = (wall, at);
        }
        if past
            .ahead
            .is_some_and(|(_, since)| at.saturating_duration_since(since) >= HOLD)
        {
            past.ahead = None;
        }
        let ahead = past.ahead.map_or(0, |(ahead, _)| ahead);
        Seen {
            wall,
            expiry: wall.saturating_sub(ahead),
            jumped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    /// A clock at `wall`, and what it shows when `passed` seconds later the wall clock is set to something.
    fn clock() -> (Clock, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        let at = move |passed| start + Duration::from_secs(passed);
        (Clock::from(1_000_000_000, start), at)
    }

    #[test]
    fn a_steady_clock_is_believed() {
        let (clock, at) = clock();
        for passed in (0..20_000).step_by(7) {
            // Slewed by up to ten seconds either way.
            let wall = 1_000_000_000 + passed + passed % 21 - 10;
            let seen = clock.see(wall, at(passed));
            assert_eq!((seen.wall, seen.expiry, seen.jumped), (wall, wall, 0));
        }
    }

    #[test]
    fn nothing_expires_by_a_jump_until_it_has_stood_for_a_while() {
        let (clock, at) = clock();
        let ahead = clock.see(1_000_000_000 + 5 + 2 * DAY, at(5));
        assert_eq!(ahead.jumped, 2 * DAY as i64);
        assert_eq!(ahead.expiry, 1_000_000_005);
        let later = clock.see(1_000_000_000 + 1000 + 2 * DAY, at(1000));
        assert_eq!((later.jumped, later.expiry), (0, 1_000_001_000));
        // It stays: after the hold it is what expiry goes by.
        let passed = 5 + HOLD.as_secs();
        let wall = 1_000_000_000 + passed + 2 * DAY;
        assert_eq!(clock.see(wall, at(passed)).expiry, wall);
    }

    #[test]
    fn a_clock_that_was_set_right_leaves_no_trace() {
        let (clock, at) = clock();
        clock.see(1_000_000_000 + 5 + 2 * DAY, at(5));
        clock.see(1_000_000_000 + 6 + 3 * DAY, at(6));
        let back = clock.see(1_000_000_010, at(10));
        assert_eq!(back.jumped, -3 * DAY as i64);
        assert_eq!(back.expiry, 1_000_000_010);
    }

    #[test]
    fn a_jump_back_is_followed_and_told() {
        let (clock, at) = clock();
        let seen = clock.see(1_000_000_000 - DAY, at(0));
        assert_eq!((seen.jumped, seen.expiry), (-(DAY as i64), seen.wall));
        let forward = clock.see(1_000_000_001, at(1));
        assert_eq!(forward.jumped, DAY as i64);
    }
}
