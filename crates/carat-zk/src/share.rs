//! Work that threads share in halves, without falling asleep in between.
//!
//! Rayon's own calls wait asleep for what another thread has taken, and to be woken takes as long as a round of a sumcheck
//! or ten. A proof waits hundreds of times.

use crate::aside::Idle;
use core::{
    ops::Range,
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
};

/// Rounds of looking for other work after which a thread that waits may fall asleep: about a quarter of a millisecond.
const PATIENCE: u32 = 1 << 11;

/// Says that a half is over when dropped, so that a panic says it, too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

/// As [`rayon::join`]: does both, on two threads where one is idle.
pub(crate) fn join<A: Send, B: Send>(
    a: impl FnOnce() -> A + Send,
    b: impl FnOnce() -> B + Send,
) -> (A, B) {
    // Whether another thread is at the second.
    let taken = AtomicBool::new(false);
    rayon::join(
        || {
            let a = a();
            wait_awake(|| !taken.load(Acquire));
            a
        },
        || {
            taken.store(true, Release);
            let _over = Over(&taken);
            b()
        },
    )
}

/// Looks for other work until something is done, or for so long that it may fall asleep.
pub(crate) fn wait_awake(done: impl Fn() -> bool) {
    let mut idle = Idle::default();
    while !done() && idle.rounds() < PATIENCE {
        idle.look();
    }
}

/// Work that can be done in halves.
pub(crate) trait Halves: Sized {
    fn len(&self) -> usize;

    /// The first half, and the rest.
    fn halves(self) -> (Self, Self);
}

impl Halves for Range<usize> {
    fn len(&self) -> usize {
        ExactSizeIterator::len(self)
    }

    fn halves(self) -> (Self, Self) {
        let middle = self.start + Halves::len(&self) / 2;
        (self.start..middle, middle..self.end)
    }
}

impl<T> Halves for &[T] {
    fn len(&self) -> usize {
        <[T]>::len(self)
    }

    fn halves(self) -> (Self, Self) {
        self.split_at(self.len() / 2)
    }
}

impl<T> Halves for &mut [T] {
    fn len(&self) -> usize {
        <[T]>::len(self)
    }

    fn halves(self) -> (Self, Self) {
        let middle = <[T]>::len(self) / 2;
        self.split_at_mut(middle)
    }
}

/// Of one length.
impl<A: Halves, B: Halves> Halves for (A, B) {
    fn len(&self) -> usize {
        assert_eq!(self.0.len(), self.1.len(), "both are of one length");
        self.0.len()
    }

    fn halves(self) -> (Self, Self) {
        let ((a, c), (b, d)) = (self.0.halves(), self.1.halves());
        ((a, b), (c, d))
    }
}

/// Does work of which at most so much is one task, and sums what the tasks give. They are added in the order of the work.
pub(crate) fn sum<W: Halves + Send, T: Send>(
    work: W,
    most: usize,
    task: &(impl Fn(W) -> T + Sync),
    add: &(impl Fn(T, T) -> T + Sync),
) -> T {
    if work.len() <= most.max(1) {
        return task(work);
    }
    let (a, b) = work.halves();
    let (a, b) = (|| sum(a, most, task, add), || sum(b, most, task, add));
    let (a, b) = if rayon::current_num_threads() == 1 {
        (a(), b())
    } else {
        join(a, b)
    };
    add(a, b)
}

/// Does work of which at most so much is one task.
pub(crate) fn each<W: Halves + Send>(work: W, most: usize, task: &(impl Fn(W) + Sync)) {
    sum(work, most, task, &|(), ()| ());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn tasks_do_all_of_the_work_once_and_are_not_too_large() {
        let check = |len: usize, most: usize| {
            let mut out = vec![0; len];
            each((0..len, &mut out[..]), most, &|(range, out)| {
                assert!(out.len() <= most.max(1));
                for (i, o) in range.zip(out) {
                    *o += i + 1;
                }
            });
            assert!(out.iter().copied().eq(1..=len));
            let part = |part: &[usize]| part.iter().sum();
            let all: usize = sum(&out[..], most, &part, &|a, b| a + b);
            assert_eq!(all, len * (len + 1) / 2);
        };
        for threads in 1..=3 {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            for len in [0, 1, 2, 3, 64, 1000] {
                for most in [0, 1, 3, 7, 2000] {
                    pool.install(|| check(len, most));
                }
            }
        }
    }

    #[test]
    fn a_panic_of_either_half_is_passed_on() {
        for which in [0, 1] {
            let half = |i: usize| move || assert_ne!(i, which, "this half fails");
            let both = || join(half(0), half(1));
            assert!(catch_unwind(AssertUnwindSafe(both)).is_err());
        }
    }
}
