//! How proofs share the threads of the pool: one is kept awake for a proof, and work that can wait gives way to work that
//! others wait for.

use rayon::Yield;
use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::LocalKey,
};

/// Proofs that this process is making, from what leads to them on, and keys. A thread that looks for other work may find a whole
/// proof, and then this one would wait for that one: where there are several, no thread is idle anyway.
static PROOFS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread is at something that can wait.
    static ASIDE: Cell<bool> = const { Cell::new(false) };
    /// Whether this thread is within [`on_pool`].
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

/// Sets something on this thread until it is dropped.
struct Set(&'static LocalKey<Cell<bool>>, bool);

impl Set {
    fn new(of: &'static LocalKey<Cell<bool>>, to: bool) -> Self {
        Self(of, of.replace(to))
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// Counts a proof until it is dropped.
struct Counted;

impl Counted {
    fn new() -> Self {
        PROOFS.fetch_add(1, Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        PROOFS.fetch_sub(1, Relaxed);
    }
}

/// Does something on one of the threads that make proofs: what leads to a proof, and the proof. Each time that work comes
/// from elsewhere, these threads have to be woken first.
pub fn on_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    if WITHIN.get() {
        return work();
    }
    // Before anyone can find it.
    let _counted = Counted::new();
    rayon::scope(|_| {
        let _within = Set::new(&WITHIN, true);
        let _awake = Awake::new();
        work()
    })
}

/// A thread that has nothing to do, and stays awake.
#[derive(Default)]
pub(crate) struct Idle {
    rounds: u32,
}

impl Idle {
    /// Rounds in which the processor is not offered to others: that takes several times as long as to look for work.
    const ROUNDS: u32 = 1 << 6;

    /// How often nothing was found.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Does something that others wait for, if there is something.
    pub(crate) fn look(&mut self) {
        if found() {
            return;
        }
        self.rounds = self.rounds.wrapping_add(1);
        if self.rounds.is_multiple_of(Self::ROUNDS) {
            std::thread::yield_now();
        } else {
            core::hint::spin_loop();
        }
    }
}

/// Does something that others wait for. Whether there was something.
fn found() -> bool {
    // What is found is not to wait.
    let _urgent = Set::new(&ASIDE, false);
    rayon::yield_now() == Some(Yield::Executed)
}

/// Keeps one of the pool's other threads awake until this is dropped or several proofs are made. A proof shares its work
/// many times in each millisecond, with stretches in between that are too short to share. A thread that fell asleep in
/// one of them would be back only after what it was woken for.
struct Awake(Arc<AtomicBool>);

impl Awake {
    /// Of the threads that do not call this.
    fn new() -> Self {
        let done = Arc::new(AtomicBool::new(false));
        if rayon::current_num_threads() > 1 {
            let caller = rayon::current_thread_index();
            let done = Arc::clone(&done);
            // Not in the caller's scope: what this thread finds may be a whole proof, for which the caller must not wait.
            rayon::spawn(move || {
                let wanted = || !done.load(Relaxed) && PROOFS.load(Relaxed) == 1;
                let mut idle = Idle::default();
                while wanted() && rayon::current_thread_index() != caller {
                    idle.look();
                }
            });
        }
        Self(done)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Does something that can wait: at each [`give_way`] in it, what others wait for is done first.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    let _aside = Set::new(&ASIDE, true);
    work()
}

/// Does what others wait for, if this thread is at something that can wait.
pub(crate) fn give_way() {
    if ASIDE.get() {
        while PROOFS.load(Relaxed) == 1 && found() {}
    }
}
