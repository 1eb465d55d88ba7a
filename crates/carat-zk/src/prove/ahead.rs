//! The opening of the constants, made while other parts of a proof leave a thread idle.
//!
//! Between the claims on the last layer and the end of a proof lie thousands of rounds too short to share. What the opening
//! sums of the constants for a claim depends on the claim's point alone, and once all claims are made it depends on
//! nothing else at all. So threads that have nothing else to do make the sums, and then the rest of it. They look for
//! other work between tiles of the sums and at each challenge, for the rounds must not wait.

use super::Prover;
use crate::{
    Error,
    aside::{aside, give_way},
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
use rayon::{Scope, prelude::*};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

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
        let sum = aside(|| sums.by_one(give_way));
        let _ = self.rows.set(Rows { weights, sum });
    }
}

/// What is done after everything else.
type Last<'a> = Box<dyn FnOnce() + Send + 'a>;

/// What is to be done.
#[derive(Default)]
struct Queue<'a> {
    tasks: VecDeque<Task<'a>>,
    last: Option<Last<'a>>,
    /// Threads that are at it.
    helpers: usize,
}

fn lock<'q, 'a>(queue: &'q Mutex<Queue<'a>>) -> MutexGuard<'q, Queue<'a>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Threads that can help the one of the proof. A proof that is made elsewhere than on the pool, as tests make them, has all
/// of it made where it is.
fn others() -> usize {
    rayon::current_thread_index().map_or(0, |_| rayon::current_num_threads() - 1)
}

/// Works until nothing is left. The thread of the proof itself has better things to do.
fn help(queue: &Mutex<Queue<'_>>, proof: Option<usize>) {
    loop {
        let mut all = lock(queue);
        let able = rayon::current_thread_index() != proof;
        if able && let Some(task) = all.tasks.pop_front() {
            drop(all);
            task.run_aside();
        } else if able
            && all.helpers == 1
            && let Some(last) = all.last.take()
        {
            // No other thread is at a task, so all are done.
            drop(all);
            aside(last);
        } else {
            all.helpers -= 1;
            return;
        }
    }
}

/// Where the bytes of an opening will be.
#[derive(Default)]
pub(super) struct Opening(Arc<OnceLock<Result<Vec<u8>, Error>>>);

/// What has been begun.
pub(super) struct Ahead<'a> {
    large: Vec<Large>,
    begun: Vec<(Key, Arc<OnceLock<Rows>>)>,
    queue: Arc<Mutex<Queue<'a>>>,
}

/// Ends what a proof has begun and that has ended itself, by an error or by a panic.
pub(super) struct Abandoned<'a>(Option<Arc<Mutex<Queue<'a>>>>);

impl Abandoned<'_> {
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(queue) = &self.0 {
            let mut queue = lock(queue);
            let abandoned = (core::mem::take(&mut queue.tasks), queue.last.take());
            drop(queue);
            drop(abandoned);
        }
    }
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

impl<'a> Ahead<'a> {
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

    /// What the opening of the constants needs of this.
    fn done(&mut self) -> Self {
        Self {
            large: Vec::new(),
            begun: core::mem::take(&mut self.begun),
            queue: Arc::default(),
        }
    }

    /// Has other threads begin, as many as can be used.
    fn call(&self, scope: &Scope<'a>, useful: usize) {
        let proof = rayon::current_thread_index();
        let mut queue = lock(&self.queue);
        for _ in queue.helpers..others().min(useful) {
            queue.helpers += 1;
            let queue = Arc::clone(&self.queue);
            scope.spawn(move |_| help(&queue, proof));
        }
    }

    /// Does what nobody has begun, by all threads. What others have begun is done when the scope ends.
    pub(super) fn finish(&self) {
        let mut queue = lock(&self.queue);
        let tasks = core::mem::take(&mut queue.tasks);
        // What comes last waits for these, too.
        queue.helpers += 1;
        drop(queue);
        tasks.into_par_iter().with_max_len(1).for_each(Task::run);
        lock(&self.queue).helpers -= 1;
    }

    /// Nothing of what nobody has begun is to be done any more when this is dropped, unless it is told to keep it.
    pub(super) fn abandoned(&self) -> Abandoned<'a> {
        Abandoned(Some(Arc::clone(&self.queue)))
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
        if others() == 0 {
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
                        lock(&self.ahead.queue).tasks.push_back(Task {
                            key,
                            polynomial: self.key.polynomial(part),
                            columns,
                            rows,
                        });
                    }
                }
            }
        }
        let queue = lock(&self.ahead.queue);
        let useful = queue.helpers + queue.tasks.len();
        drop(queue);
        self.ahead.call(scope, useful);
    }

    /// Begins the opening of the constants, if there are any; nothing that is still to be sent matters to it.
    pub(super) fn begin_constants(&mut self, scope: &Scope<'a>) -> Option<Opening> {
        if !self.plan.has_constants() {
            return None;
        }
        let mut prover = Prover {
            key: self.key,
            sink: self.sink.fork("constants"),
            claims: self.claims.constants(&self.plan.graph),
            plan: self.plan,
            values: self.values,
            ties: None,
            ahead: self.ahead.done(),
        };
        let opening = Opening::default();
        let out = Arc::clone(&opening.0);
        lock(&self.ahead.queue).last = Some(Box::new(move || {
            let opened = prover.open_constants();
            debug_assert!(prover.claims.is_empty());
            let _ = out.set(opened.map(|()| prover.sink.finish()));
        }));
        self.ahead.call(scope, 1);
        Some(opening)
    }

    /// The bytes of the opening, after the scope in which it was begun.
    pub(super) fn end_constants(&self, opening: Opening) -> Result<Vec<u8>, Error> {
        let last = lock(&self.ahead.queue).last.take();
        if let Some(last) = last {
            last();
        }
        let opened = Arc::into_inner(opening.0).and_then(OnceLock::into_inner);
        opened.expect("it is done, by others or here")
    }
}
