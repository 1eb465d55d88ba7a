//! Group commit: whoever finds nobody writing writes for all who wait.
//!
//! No thread of its own: the first caller becomes the leader, takes everything
//! that is queued, commits it with one write and one sync, hands out the
//! results and wakes the others, one of whom leads next.

use super::error::StoreError;
use super::tail::Entry;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Where a waiting caller finds its answer.
type Answer = Arc<Mutex<Option<Result<Range<u64>, StoreError>>>>;

/// A batch of one caller.
#[derive(Debug)]
struct Waiting {
    entries: Vec<Entry>,
    bytes: u64,
    answer: Answer,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    leading: bool,
}

/// Callers that wait for their entries to be durable.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

/// Most bytes of leaves in one group, unless one batch alone is larger.
const GROUP_BYTES: u64 = 4 << 20;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The state is only ever changed by whole assignments.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the leadership even when the commit panics, so that nobody waits for
/// a leader that is gone.
struct Leadership<'a> {
    queue: &'a Queue,
    group: Vec<Waiting>,
}

impl Drop for Leadership<'_> {
    fn drop(&mut self) {
        for waiting in &self.group {
            lock(&waiting.answer).get_or_insert_with(|| {
                Err(StoreError::Stopped {
                    reason: "the thread that wrote the journal panicked".into(),
                })
            });
        }
        lock(&self.queue.state).leading = false;
        self.queue.changed.notify_all();
    }
}

impl Queue {
    /// Waits until `entries` are committed, by this thread or another.
    /// `commit` takes the entries of a group, in order, and returns the index
    /// of the first.
    pub(super) fn submit(
        &self,
        entries: Vec<Entry>,
        commit: impl Fn(&[Entry]) -> Result<u64, StoreError>,
    ) -> Result<Range<u64>, StoreError> {
        let bytes = entries.iter().map(|entry| entry.leaf.len() as u64).sum();
        let answer = Answer::default();
        let mut state = lock(&self.state);
        state.waiting.push_back(Waiting {
            entries,
            bytes,
            answer: Arc::clone(&answer),
        });
        loop {
            if let Some(answer) = lock(&answer).take() {
                return answer;
            }
            if state.leading {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.leading = true;
            let group = take_group(&mut state.waiting);
            drop(state);
            self.lead(group, &commit);
            state = lock(&self.state);
        }
    }

    fn lead(&self, group: Vec<Waiting>, commit: &impl Fn(&[Entry]) -> Result<u64, StoreError>) {
        let mut leadership = Leadership { queue: self, group };
        let entries: Vec<Entry> = leadership
            .group
            .iter_mut()
            .flat_map(|waiting| waiting.entries.iter().cloned())
            .collect();
        let committed = commit(&entries);
        let mut counted = 0;
        for waiting in &leadership.group {
            let count = waiting.entries.len() as u64;
            let answer = committed
                .clone()
                .map(|first| first + counted..first + counted + count);
            *lock(&waiting.answer) = Some(answer);
            counted += count;
        }
    }
}

fn take_group(waiting: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut group = Vec::new();
    let mut bytes = 0;
    while let Some(next) = waiting.front() {
        if !group.is_empty() && bytes + next.bytes > GROUP_BYTES {
            break;
        }
        bytes += next.bytes;
        group.extend(waiting.pop_front());
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf_hash;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn entry(i: u64) -> Entry {
        let leaf = i.to_be_bytes();
        Entry {
            leaf: leaf.as_slice().into(),
            hash: leaf_hash(&leaf),
        }
    }

    #[test]
    fn indices_are_dense_and_groups_form() {
        let (queue, next, commits) = (Queue::default(), AtomicU64::new(0), AtomicU64::new(0));
        let commit = |entries: &[Entry]| {
            commits.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(1));
            Ok(next.fetch_add(entries.len() as u64, Ordering::SeqCst))
        };
        let seen = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let (queue, commit, seen) = (&queue, &commit, &seen);
                scope.spawn(move || {
                    for i in 0..20 {
                        let entries = (0..=thread % 3)
                            .map(|k| entry(thread * 100 + i + k))
                            .collect();
                        let range = queue.submit(entries, commit).expect("commits");
                        assert_eq!(range.end - range.start, thread % 3 + 1);
                        lock(seen).extend(range);
                    }
                });
            }
        });
        let mut seen = seen.into_inner().expect("no panic");
        seen.sort_unstable();
        assert_eq!(seen, (0..next.load(Ordering::SeqCst)).collect::<Vec<_>>());
        assert!(
            commits.load(Ordering::SeqCst) < 160,
            "no two callers ever shared a commit"
        );
    }

    #[test]
    fn a_panicking_leader_leaves_nobody_waiting() {
        let queue = Queue::default();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = queue.submit(vec![entry(1)], |_| panic!("on purpose"));
        }));
        assert!(outcome.is_err());
        assert_eq!(
            queue
                .submit(vec![entry(2)], |_| Ok(7))
                .expect("a new leader"),
            7..8
        );
    }
}
