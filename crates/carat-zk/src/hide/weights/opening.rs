//! How a commitment to hidden constants is opened: what is sent of the fold of its rows, and how that is checked.

use super::Scheme;
use crate::{
    Error,
    checks::Checks,
    field::{E, F},
    hide::{masks, tape::Tape},
    layout::{eq_table, scaled_eq},
    pcs::{
        Refused, Root,
        fold::{Conditions, Fold},
        leaves::Shown,
    },
};
use alloc::{vec, vec::Vec};
use p3_field::PrimeCharacteristicRing;

#[cfg(feature = "prover")]
use crate::{
    hide::{
        pin::{HidingRoots, Pin},
        random::{Purpose, Random},
    },
    kernels::{
        Vector,
        compact::{Compact, Values, combine_rows},
    },
    pcs::leaves::Tree,
    transcript::Sink,
};
#[cfg(feature = "prover")]
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What the committer keeps of the commitment that it opens next.
#[cfg(feature = "prover")]
#[derive(Clone)]
pub(crate) struct Data {
    values: Arc<Compact>,
    /// Row by row, with zeros after each.
    tails: Arc<Vec<F>>,
    tree: Arc<Tree>,
    /// Which of the key's commitments it is.
    number: usize,
    roots: HidingRoots,
    pub(crate) pin: Pin,
    /// Whether it was made use of, here or in a clone.
    spent: Arc<AtomicBool>,
}

#[cfg(feature = "prover")]
impl core::fmt::Debug for Data {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Data").finish_non_exhaustive()
    }
}

#[cfg(feature = "prover")]
impl Data {
    /// The commitment of this number: its tree, and the tails of its rows.
    pub(crate) fn new(
        compact: Compact,
        (tree, tails): (Tree, Vec<F>),
        (number, roots): (usize, &HidingRoots),
        pin: Pin,
    ) -> Self {
        Self {
            values: Arc::new(compact),
            tails: Arc::new(tails),
            tree: Arc::new(tree),
            number,
            roots: roots.clone(),
            pin,
            spent: Arc::default(),
        }
    }

    /// Takes it for one proof, if there was none. Few places of a commitment may be shown.
    pub(crate) fn spend(&self) -> Result<(), Error> {
        if self.spent.swap(true, Ordering::Relaxed) {
            let message =
                "a key that hides constants was used for a proof: it is made anew for each";
            return Err(Error::Values(message.into()));
        }
        Ok(())
    }

    /// The committed values.
    pub(crate) fn values(&self) -> Values<'_> {
        Values::Compact(&self.values)
    }

    /// Sends which polynomial a proof is about, and which commitment to it it opens.
    pub(crate) fn send(&self, sink: &mut Sink) {
        self.roots.send(&self.pin, self.number, sink);
    }
}

#[cfg(all(test, feature = "prover"))]
impl Data {
    /// This key with a commitment of another one in its place: as it is, under the other's path, and under this one's.
    pub(crate) fn exchanged(&self, other: &Self) -> [Self; 3] {
        let pin = Pin {
            opened: other.pin.opened,
            ..self.pin.clone()
        };
        let theirs = Self {
            pin,
            ..other.clone()
        };
        let own = Self {
            number: self.number,
            roots: self.roots.clone(),
            ..theirs.clone()
        };
        [other.clone(), theirs, own]
    }

    /// What a dishonest committer has: a tree that stands for these constants and for others at once, whose code words are in
    /// it at some places. It goes on with the others; the key's value is theirs, or that of these.
    pub(crate) fn grafted(
        &self,
        others: &Self,
        places: &[usize],
        key: &crate::ModelKey,
        value_of_others: bool,
    ) -> Self {
        assert_eq!(self.number, others.number);
        let mut matrix = crate::pcs::leaves::matrix(&self.tree).clone();
        let width = matrix.width;
        for place in places {
            let range = place * width..(place + 1) * width;
            let leaf = &crate::pcs::leaves::matrix(&others.tree).values[range.clone()];
            matrix.values[range].copy_from_slice(leaf);
        }
        let (opened, tree) = crate::pcs::leaves::commit(matrix);
        let mut roots = self.roots.clone();
        roots.0[self.number] = opened;
        let of = if value_of_others { others } else { self };
        Self {
            tree: Arc::new(tree),
            pin: Pin::of(
                &roots,
                self.number,
                (&key.program, key.profile),
                of.values(),
                self.pin.point.len(),
            ),
            roots,
            ..others.clone()
        }
    }
}

impl Scheme {
    /// Checks an opening of `value` at a point.
    pub(crate) fn verify(
        &self,
        root: &Root,
        point: &[E],
        value: u32,
        tape: &mut Tape<'_>,
    ) -> Result<(), Error> {
        let (row, column) = point.split_at(self.vars - self.columns());
        let opening = "the opening of the weights";
        let reading = |r: Refused| r.of("weights");
        let leaves = self.leaves();
        let Some(committed) = &self.fold else {
            let fold = tape.hear("weights fold", self.code.length())?;
            let mut terms = vec![(-E::ONE, value)];
            terms.extend(eq_table(column).into_iter().zip(fold.iter().copied()));
            let difference = tape.sum(E::ZERO, &terms);
            tape.zero(difference, opening)?;
            let shown = tape.shown((self.queries, leaves.width), |source| {
                leaves.read(root, source).map_err(reading)
            })?;
            let fold = tape.polynomial(fold);
            let weights = eq_table(row);
            let shown_leaves = shown.elements.chunks_exact(leaves.width);
            for (&position, leaf) in shown.positions.iter().zip(shown_leaves) {
                let sum = self.combined(&weights, leaf);
                tape.value_at(fold, self.code.place(position), sum);
            }
            return Ok(());
        };
        let mask = tape.root("weights mask")?;
        let masked = tape.hear("mask", 1)?[0];
        let beta = tape.challenge();
        let fold = tape.root("fold root")?;
        let at_column = tape.clear("fold value", 1)?[0];
        let difference = tape.sum(-at_column, &[(E::ONE, masked), (beta, value)]);
        tape.zero(difference, opening)?;
        let Some(source) = tape.source() else {
            return Ok(());
        };
        let shown = leaves.read(root, source).map_err(reading)?;
        let masks = masks::leaves(self.code.levels, self.queries, self.code.work)
            .read_at(&shown.positions, &mask, source)
            .map_err(reading)?;
        let places = self.places(&shown, &masks, &scaled_eq(row, beta));
        let ends = (0..committed.variables()).map(|_| source.transcript.challenge());
        let ends = ends.collect();
        let conditions = self.conditions(committed, column, at_column, places, ends);
        committed
            .verify(&fold, &conditions, source)
            .map_err(reading)
    }

    /// What the rows of a leaf add up to, with these weights.
    fn combined(&self, weights: &[E], leaf: &[F]) -> E {
        let rows = &leaf[..self.rows];
        weights.iter().zip(rows).map(|(&w, &v)| w * v).sum()
    }

    /// What the code word of a committed fold is at the shown places, of rows with these weights.
    fn places(&self, shown: &Shown, masks: &[F], weights: &[E]) -> Vec<(F, E)> {
        (shown.positions.iter())
            .zip(shown.elements.chunks_exact(self.leaves().width))
            .zip(masks::shown(masks))
            .map(|((&position, leaf), mask)| {
                let sum = self.combined(weights, leaf);
                (self.code.place(position), mask + sum)
            })
            .collect()
    }

    /// What a committed fold must give: at the point's column, at the places, and that it ends where words end.
    fn conditions(
        &self,
        fold: &Fold,
        column: &[E],
        value: E,
        places: Vec<(F, E)>,
        ends: Vec<E>,
    ) -> Conditions {
        let mut claim = vec![E::ZERO; fold.variables() - column.len()];
        claim.extend_from_slice(column);
        Conditions {
            claim: (claim, value),
            places,
            ends: Some((self.code.length(), ends)),
        }
    }
}

#[cfg(feature = "prover")]
impl Scheme {
    /// Opens at a point. The value that is opened is none of its business: equations about it are the verifier's.
    pub(crate) fn open(
        &self,
        data: &Data,
        point: &[E],
        random: &mut Random,
        sink: &mut Sink,
    ) -> Result<(), Error> {
        let (row, column) = point.split_at(self.vars - self.columns());
        let leaves = self.leaves();
        let Some(committed) = &self.fold else {
            sink.send("weights fold", &self.combine(data, eq_table(row)));
            let shown = sink.aside(|sink| leaves.show(&data.tree, sink));
            sink.note(shown);
            return Ok(());
        };
        let purposes = [Purpose::WeightsMask, Purpose::WeightsMaskSalt];
        let (root, mask) = masks::Mask::new(self.code.length(), self.code.levels, purposes, random);
        sink.send_bytes("weights mask", &root.0);
        let at_column = eq_table(column);
        let masked: E = (mask.coefficients.iter().zip(&at_column))
            .map(|(&m, &e)| m * e)
            .sum();
        sink.send("mask", &[masked]);
        let beta = sink.transcript.challenge();
        let weights = scaled_eq(row, beta);
        let mut fold = self.combine(data, weights.clone());
        for (f, m) in fold.iter_mut().zip(&mask.coefficients) {
            *f += *m;
        }
        let value: E = fold.iter().zip(&at_column).map(|(&f, &e)| f * e).sum();
        fold.resize(1 << committed.variables(), E::ZERO);
        let fold = Vector::new(fold);
        let (root, inner) = committed.commit(&fold)?;
        sink.send_bytes("fold root", &root.0);
        sink.send_clear("fold value", &[value]);
        sink.aside(|sink| {
            let shown = leaves.show(&data.tree, sink);
            let masks = masks::leaves(self.code.levels, self.queries, self.code.work).show_at(
                &shown.positions,
                &mask.tree,
                sink,
            );
            let places = self.places(&shown, &masks, &weights);
            let ends = sink.transcript.point(committed.variables());
            let conditions = self.conditions(committed, column, value, places, ends);
            committed.prove(fold, inner, &conditions, sink)
        })
    }

    /// What rows and their tails add up to with these weights.
    fn combine(&self, data: &Data, mut weights: Vec<E>) -> Vec<E> {
        weights.truncate(self.rows);
        let mut fold = combine_rows(data.values(), 0, self.code.message, &weights).unpack();
        let tails = combine_rows(Values::Plain(&data.tails), 0, self.stride(), &weights).unpack();
        fold.extend_from_slice(&tails[..self.code.tail]);
        fold
    }
}
