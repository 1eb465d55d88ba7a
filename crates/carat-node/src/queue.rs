//! A bounded queue between threads: whoever finds it full is told at once, or waits for room.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The queue. Items leave in the order in which they came.
#[derive(Debug)]
pub struct Queue<T> {
    capacity: usize,
    state: Mutex<State<T>>,
    filled: Condvar,
    room: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

/// Why an item was not taken; it comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<T> {
    /// There is no room.
    Full(T),
    /// Nothing is taken any more.
    Closed(T),
}

impl<T> Queue<T> {
    /// A queue of at most that many items.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            state: Mutex::new(State {
                items: VecDeque::new(),
                closed: false,
            }),
            filled: Condvar::new(),
            room: Condvar::new(),
        }
    }

    /// State is changed by single steps, so a panic elsewhere leaves it usable.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item if there is room.
    pub fn try_push(&self, item: T) -> Result<(), Refused<T>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed(item));
        }
        if state.items.len() >= self.capacity {
            return Err(Refused::Full(item));
        }
        state.items.push_back(item);
        self.filled.notify_one();
        Ok(())
    }

    /// Adds an item, waiting for room. Gives it back where the queue is closed.
    pub fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.lock();
        while state.items.len() >= self.capacity && !state.closed {
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(item);
        }
        state.items.push_back(item);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for items and takes up to `most`. `None`: the queue is closed and empty.
    pub fn take(&self, most: usize) -> Option<Vec<T>> {
        let mut state = self.lock();
        while state.items.is_empty() {
            if state.closed {
                return None;
            }
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let count = state.items.len().min(most.max(1));
        let taken = state.items.drain(..count).collect();
        self.room.notify_all();
        Some(taken)
    }

    /// Waits for an item and takes it with up to `most` in all that are like it; the others keep their order. `None`: the queue
    /// is closed and empty.
    pub fn take_like(&self, most: usize, like: impl Fn(&T, &T) -> bool) -> Option<Vec<T>> {
        let mut state = self.lock();
        let first = loop {
            if let Some(first) = state.items.pop_front() {
                break first;
            }
            if state.closed {
                return None;
            }
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        let mut taken = vec![first];
        let mut at = 0;
        while taken.len() < most && at < state.items.len() {
            if like(&taken[0], &state.items[at]) {
                taken.extend(state.items.remove(at));
            } else {
                at += 1;
            }
        }
        self.room.notify_all();
        Some(taken)
    }

    /// Takes no more items. What is in the queue can still be taken out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.room.notify_all();
    }

    /// Items in it.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_gives_back_what_it_refuses() {
        let queue = Queue::new(2);
        assert_eq!(queue.try_push(1), Ok(()));
        assert_eq!(queue.try_push(2), Ok(()));
        assert_eq!(queue.try_push(3), Err(Refused::Full(3)));
        assert_eq!(queue.take(1), Some(vec![1]));
        assert_eq!(queue.try_push(3), Ok(()));
        queue.close();
        assert_eq!(queue.try_push(4), Err(Refused::Closed(4)));
        assert_eq!(queue.push(5), Err(5));
        assert_eq!(queue.take(9), Some(vec![2, 3]));
        assert_eq!(queue.take(9), None);
    }

    #[test]
    fn items_that_are_alike_leave_together() {
        let queue = Queue::new(9);
        for item in [10, 21, 11, 20, 12, 13] {
            assert_eq!(queue.try_push(item), Ok(()));
        }
        let like = |a: &i32, b: &i32| a / 10 == b / 10;
        assert_eq!(queue.take_like(3, like), Some(vec![10, 11, 12]));
        assert_eq!(queue.take_like(3, like), Some(vec![21, 20]));
        queue.close();
        assert_eq!(queue.take_like(3, like), Some(vec![13]));
        assert_eq!(queue.take_like(3, like), None);
    }

    #[test]
    fn whoever_waits_for_room_gets_it_and_nothing_is_lost() {
        let queue = Queue::new(3);
        let mut seen = std::thread::scope(|scope| {
            for base in 0..4 {
                let queue = &queue;
                scope.spawn(move || {
                    (0..100).for_each(|i| queue.push(base * 100 + i).expect("open"));
                });
            }
            let mut seen = Vec::new();
            while seen.len() < 400 {
                seen.extend(queue.take(7).expect("open"));
            }
            seen
        });
        seen.sort_unstable();
        assert_eq!(seen, (0..400).collect::<Vec<_>>());
    }
}
