//! Sums of rows of the constants, made while other parts of a proof leave a thread idle.
//!
//! Between the claims on the last layer and the opening of the constants lie thousands of rounds too short to share. What
//! that opening sums of the constants for a claim depends on the claim's point alone, so threads that have nothing else
//! to do make it meanwhile. They look for other work after every few thousand values, for the rounds must not wait.

use super::Prover;
use crate::{
    field::E,
    graph::{Id, Kind},
    kernels::{
        Vector,
        compact::{RowSums, Values},
    },
    layout::eq_table,
    plan::{Block, Plan, row_vars},
    store::Piece,
};
use rayon::{Scope, Yield, prelude::*};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

/// Proofs that this process is making. A thread that looks for other work may find a whole proof, and then this one
/// would wait for that one: where there are several, no thread is idle anyway.
static PROOFS: AtomicUsize = AtomicUsize::new(0);

/// Counts a proof while it is made, and keeps a thread awake for it.
pub(super) struct Counted {
    done: Arc<AtomicBool>,
}

impl Counted {
    pub(super) fn new() -> Self {
        PROOFS.fetch_add(1, Relaxed);
        Self {
            done: Arc::default(),
        }
    }

    /// Keeps one of the pool's other threads awake until the proof is done or another one begins. A proof shares its work
    /// many times in each millisecond, with stretches in between that are too short to share. A thread that fell asleep
    /// in one of them would be back only after what it was woken for.
    pub(super) fn keep_awake(&self) {
        if rayon::current_num_threads() == 1 {
            return;
        }
        let proof = rayon::current_thread_index();
        let done = Arc::clone(&self.done);
        // Not in the proof's scope: what this thread finds may be a whole proof, for which this one must not wait.
        rayon::spawn(move || {
            let wanted = || !done.load(Relaxed) && PROOFS.load(Relaxed) == 1;
            while wanted() && rayon::current_thread_index() != proof {
                if rayon::yield_now() != Some(Yield::Executed) {
                    std::thread::yield_now();
                }
            }
        });
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.done.store(true, Relaxed);
        PROOFS.fetch_sub(1, Relaxed);
    }
}

/// The rows of a box, weighed by the row coordinates of a claim's point.
pub(super) struct Rows {
    pub(super) weights: Vec<E>,
    pub(super) sum: Vector,
}

impl Rows {
    /// Of the rows of `2^columns` values that begin at `offset`.
    pub(super) fn new(polynomial: Values<'_>, offset: usize, columns: usize, point: &[E]) -> Self {
        let weights = eq_table(point);
        let sum = RowSums::new(polynomial, offset, 1 << columns, &weights).by_all();
        Self { weights, sum }
    }
}

/// Of which polynomial, where in it, and for which row coordinates.
#[derive(Clone)]
struct Key {
    part: usize,
    offset: usize,
    point: Vec<E>,
}

struct Task<'a> {
    key: Key,
    polynomial: Values<'a>,
    columns: usize,
    rows: Arc<OnceLock<Rows>>,
}

impl Task<'_> {
    /// By all threads.
    fn run(self) {
        let Key { offset, point, .. } = self.key;
        let rows = Rows::new(self.polynomial, offset, self.columns, &point);
        let _ = self.rows.set(rows);
    }

    /// By this thread, unless there is something else to do.
    fn run_aside(self) {
        let Key { offset, point, .. } = self.key;
        let weights = eq_table(&point);
        let sums = RowSums::new(self.polynomial, offset, 1 << self.columns, &weights);
        let sum = sums.by_one(|| {
            while PROOFS.load(Relaxed) == 1 && rayon::yield_now() == Some(Yield::Executed) {}
        });
        let _ = self.rows.set(Rows { weights, sum });
    }
}

/// What is to be done.
#[derive(Default)]
struct Queue<'a> {
    tasks: Mutex<VecDeque<Task<'a>>>,
    /// Threads that are at it.
    helpers: AtomicUsize,
}

impl<'a> Queue<'a> {
    fn tasks(&self) -> MutexGuard<'_, VecDeque<Task<'a>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until nothing is left. The thread of the proof itself has better things to do.
    fn help(&self, proof: Option<usize>) {
        while rayon::current_thread_index() != proof {
            let task = self.tasks().pop_front();
            let Some(task) = task else { break };
            task.run_aside();
        }
        self.helpers.fetch_sub(1, Relaxed);
    }
}

/// What has been begun.
pub(super) struct Ahead<'a> {
    large: Vec<Large>,
    begun: Vec<(Key, Arc<OnceLock<Rows>>)>,
    queue: Arc<Queue<'a>>,
}

/// A constant that fills rows.
struct Large {
    id: Id,
    index: usize,
    /// Claims that have been looked at.
    seen: usize,
}

/// Whether a box consists of whole rows without padding.
fn fills_rows(piece: &Piece, columns: usize) -> bool {
    piece.block.vars >= columns && piece.is_full()
}

impl Ahead<'_> {
    pub(super) fn new(plan: &Plan) -> Self {
        let fills = |index: usize| {
            plan.weights.iter().any(|store| {
                let mut pieces = store.of_tensor(index);
                pieces.any(|piece| fills_rows(piece, row_vars(store.vars)))
            })
        };
        let nodes = plan.graph.nodes.iter().enumerate();
        let large = nodes.filter_map(|(id, node)| match node.kind {
            Kind::Constant(index) if fills(index) => Some(Large { id, index, seen: 0 }),
            _ => None,
        });
        Self {
            large: large.collect(),
            begun: Vec::new(),
            queue: Arc::default(),
        }
    }

    /// Does what nobody has begun, by all threads. What others have begun is done when the scope ends.
    pub(super) fn finish(&self) {
        let tasks = core::mem::take(&mut *self.queue.tasks());
        tasks.into_par_iter().with_max_len(1).for_each(Task::run);
    }

    /// What was done for a box and the row coordinates of a point.
    pub(super) fn take(&mut self, part: usize, block: Block, point: &[E]) -> Option<Rows> {
        let same = |k: &Key| k.part == part && k.offset == block.offset && k.point == point;
        let at = self.begun.iter().position(|(key, _)| same(key))?;
        Arc::into_inner(self.begun.swap_remove(at).1)?.into_inner()
    }
}

impl<'a> Prover<'a, '_> {
    /// Gives other threads the sums for all claims on constants that are new.
    pub(super) fn begin_rows(&mut self, scope: &Scope<'a>) {
        let others = rayon::current_num_threads() - 1;
        if others == 0 {
            return;
        }
        let plan = self.plan;
        for large in &mut self.ahead.large {
            let claims = self.claims.open(large.id);
            let new = &claims[large.seen..];
            large.seen = claims.len();
            let dims = &plan.graph.nodes[large.id].dims;
            for claim in new {
                for (part, store) in plan.weights.iter().enumerate() {
                    let columns = row_vars(store.vars);
                    let pieces = store.of_tensor(large.index);
                    for piece in pieces.filter(|piece| fills_rows(piece, columns)) {
                        let (_, mut point) = piece.restrict(dims, &claim.point);
                        point.truncate(piece.block.vars - columns);
                        let key = Key {
                            part,
                            offset: piece.block.offset,
                            point,
                        };
                        let rows = Arc::default();
                        self.ahead.begun.push((key.clone(), Arc::clone(&rows)));
                        self.ahead.queue.tasks().push_back(Task {
                            key,
                            polynomial: self.key.polynomial(part),
                            columns,
                            rows,
                        });
                    }
                }
            }
        }
        if self.ahead.begun.is_empty() {
            return;
        }
        let queue = &self.ahead.queue;
        let proof = rayon::current_thread_index();
        let wanted = others.min(queue.tasks().len());
        for _ in queue.helpers.load(Relaxed)..wanted {
            queue.helpers.fetch_add(1, Relaxed);
            let queue = Arc::clone(queue);
            scope.spawn(move |_| queue.help(proof));
        }
    }
}
