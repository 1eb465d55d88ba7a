//! What the prover of one model keeps, and how tensors lie in committed polynomials.

use crate::{
    Error, Profile,
    aside::on_pool,
    field::F,
    hide,
    kernels::{compact::Values, filled},
    key::{Mode, ModelKey},
    layout,
    pcs::{ProverData, Root, Use, Whir},
    plan::{Plan, weights_stores},
    share,
    store::{Piece, Store},
    verify::joint_root,
};
use carat_program::{Ints, Program, Weights};
use core::ops::Range;
use p3_field::PrimeCharacteristicRing;
use std::sync::{Arc, Mutex, PoisonError};

/// What the prover of one model keeps: the commitment to the constants. Made once, used for every proof.
#[derive(Clone)]
pub struct ProvingKey {
    pub(super) key: ModelKey,
    pub(super) data: Vec<ProverData>,
    /// Where the constants are hidden, instead.
    pub(crate) hidden: Option<hide::weights::Data>,
    pub(super) last_plan: LastPlan,
}

/// The layout of the last proof that was asked for, and of what it was: most proofs of a model are of as many statements as the one before.
#[derive(Default)]
pub(super) struct LastPlan(Mutex<Option<Planned>>);

struct Planned {
    program: Program,
    statements: usize,
    mode: Mode,
    plan: Arc<Plan>,
    memory: u64,
}

impl Clone for LastPlan {
    /// Without what is kept.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl LastPlan {
    /// The layout of a proof, and about how many bytes one needs.
    pub(super) fn of(
        &self,
        program: &Program,
        statements: usize,
        mode: Mode,
    ) -> Result<(Arc<Plan>, u64), Error> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same =
            |p: &&Planned| (p.statements, p.mode) == (statements, mode) && p.program == *program;
        if let Some(planned) = kept().as_ref().filter(same) {
            return Ok((Arc::clone(&planned.plan), planned.memory));
        }
        let plan = Arc::new(Plan::of(program, statements, mode)?);
        let memory = super::memory(&plan, mode)?;
        *kept() = Some(Planned {
            program: program.clone(),
            statements,
            mode,
            plan: Arc::clone(&plan),
            memory,
        });
        Ok((plan, memory))
    }
}

impl core::fmt::Debug for ProvingKey {
    /// Nothing of the constants, which may be hidden.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        (f.debug_struct("ProvingKey").field("key", &self.key))
            .field("hides", &self.hides())
            .finish_non_exhaustive()
    }
}

impl ProvingKey {
    /// Commits to a model's constants. That they are the Program's is not looked at again: `weights` must have passed
    /// [`Weights::check`], above all where a relying party makes the key that it checks proofs under.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a Program that has no proof.
    pub fn new(program: &Program, weights: &Weights, profile: Profile) -> Result<Self, Error> {
        // A proof that is made meanwhile must not take this for a part of itself.
        on_pool(|| Self::of(program, weights, profile))
    }

    fn of(program: &Program, weights: &Weights, profile: Profile) -> Result<Self, Error> {
        let dims = shapes(program);
        let tensors = tensors(&dims, weights);
        let mut data = Vec::new();
        for store in &weights_stores(program)? {
            let whir = Whir::new(profile, store.vars, Use::Weights)?;
            // Not at once: the whole, as field elements, would be four times what is kept of it.
            let part = placed(store);
            let values = |range| place(store, &tensors, range);
            data.push(whir.commit_parts(part, values)?.1);
        }
        let roots: Vec<Root> = data.iter().map(ProverData::root).collect();
        Ok(Self {
            key: ModelKey {
                program: program.digest(),
                profile,
                root: joint_root(&roots),
            },
            data,
            hidden: None,
            last_plan: LastPlan::default(),
        })
    }

    /// A polynomial of the constants.
    pub(super) fn polynomial(&self, part: usize) -> Values<'_> {
        match &self.hidden {
            Some(data) => data.values(),
            None => self.data[part].values(),
        }
    }

    /// Takes the key for one proof. One that hides is for no second.
    pub(super) fn spend(&self) -> Result<(), Error> {
        self.hidden.as_ref().map_or(Ok(()), |data| data.spend())
    }

    /// Whether proofs under this key hide the constants.
    #[must_use]
    pub fn hides(&self) -> bool {
        self.hidden.is_some()
    }

    /// The public part.
    #[must_use]
    pub fn key(&self) -> &ModelKey {
        &self.key
    }

    /// The commitment of this key under the name of another, as a dishonest prover of the tests has it.
    #[cfg(test)]
    pub(crate) fn named(mut self, key: ModelKey) -> Self {
        self.key = key;
        self
    }
}

pub(super) fn shapes(program: &Program) -> Vec<Vec<usize>> {
    program.constants.iter().map(|c| c.shape.dims()).collect()
}

pub(super) fn tensors<'a>(
    dims: &'a [Vec<usize>],
    weights: &'a Weights,
) -> Vec<(&'a [usize], Ints<'a>)> {
    let data = weights.data.iter().map(|v| v.ints());
    dims.iter().map(|d| &d[..]).zip(data).collect()
}

/// Constants that are placed at once.
const PLACED: usize = 1 << 21;

/// Slots of a store that are filled at once: so many that no box is cut.
pub(super) fn placed(store: &Store) -> usize {
    PLACED.max(store.largest()).min(1 << store.vars)
}

/// A stretch of the polynomial of a store, which cuts no box: each tensor's elements in its boxes.
pub(super) fn place(
    store: &Store,
    tensors: &[(&[usize], Ints<'_>)],
    range: Range<usize>,
) -> Vec<F> {
    let mut out = filled(F::ZERO, range.len());
    // Boxes do not overlap, so each has a stretch of its own.
    let within = |piece: &&Piece| range.contains(&piece.block.offset);
    let mut pieces: Vec<&Piece> = store.pieces.iter().filter(within).collect();
    pieces.sort_by_key(|piece| piece.block.offset);
    let (mut rest, mut at) = (&mut out[..], range.start);
    let mut parts = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let range = piece.block.range();
        let (own, after) = core::mem::take(&mut rest)[range.start - at..].split_at_mut(range.len());
        parts.push((piece, own));
        (rest, at) = (after, range.end);
    }
    share::each(&mut parts[..], 1, &|parts| {
        for (piece, out) in parts {
            let (dims, data) = tensors[piece.tensor];
            match data {
                Ints::Bytes(data) => place_box(piece, dims, data, F::from_i8, out),
                Ints::Wide(data) => place_box(piece, dims, data, F::from_i32, out),
            }
        }
    });
    out
}

fn place_box<T: Copy + Sync>(
    piece: &Piece,
    dims: &[usize],
    data: &[T],
    residue: impl Fn(T) -> F + Sync,
    out: &mut [F],
) {
    /// Elements that one task converts.
    const RUN: usize = 1 << 14;
    let put = |out: &mut [F], data: &[T]| {
        for (o, &v) in out.iter_mut().zip(data) {
            *o = residue(v);
        }
    };
    let lengths = piece.dims();
    if lengths == dims && piece.is_full() {
        share::each((out, data), RUN, &|(out, data)| put(out, data));
        return;
    }
    // Row-major over the box: where each row lies in the tensor, and in the box.
    let (Some(&width), Some(&side)) = (lengths.last(), piece.sides.last()) else {
        out[0] = residue(data[0]);
        return;
    };
    let outer = lengths.len() - 1;
    let starts: Vec<usize> = piece.sides.iter().map(|s| s.start).collect();
    // Without a table of where rows lie: it would be larger than the box.
    for row in 0..lengths[..outer].iter().product() {
        let at = layout::unflatten(&lengths[..outer], row);
        let slot = (at.iter().zip(&piece.sides)).fold(0, |slot, (i, side)| slot << side.vars | i);
        let from = at
            .iter()
            .zip(&starts)
            .zip(dims)
            .fold(0, |f, ((i, s), d)| f * d + i + s)
            * dims[outer]
            + side.start;
        let to = slot << side.vars;
        put(&mut out[to..to + width], &data[from..]);
    }
}
