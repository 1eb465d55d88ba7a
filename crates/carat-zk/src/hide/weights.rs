//! A commitment to a model's constants that shows nothing of them, opened in many proofs.
//!
//! It has the form of the witness's (`witness.rs`), and lives longer: rows get random tails for as many places as all proofs
//! together may show of it (the budget), and the mask is made anew for each proof, with a tree of its own. A fold that is too
//! long to be shown is committed to; under its mask it is uniform, so that commitment need not hide.
//!
//! At its distance a commitment may stand for any of a short list of polynomials, and a proof is about one of them. So that all
//! proofs under one key are about the same one, the key holds the polynomial's value at a point that follows from the tree's
//! root ([`Pin`]): two of the list hardly ever agree there. Five random constants that the Program does not know make the
//! value uniform.

use super::{
    code::{Code, evaluate},
    masks,
    tape::Tape,
};
use crate::{
    Error,
    checks::Checks,
    field::{DEGREE, E, E_BYTES, F},
    key::ModelKey,
    layout::{eq_table, scaled_eq},
    pcs::{
        Profile, Refused, Root, Security, Term,
        fold::{Conditions, Fold},
        leaves::Leaves,
    },
    store::Store,
    transcript::{Source, Transcript},
    verify::read_root,
};
use alloc::{string::ToString, vec, vec::Vec};
use carat_program::Program;
use carat_receipt::Digest;
use p3_field::PrimeCharacteristicRing;

#[cfg(feature = "prover")]
use super::random::{Purpose, Random};
#[cfg(feature = "prover")]
use crate::{
    kernels::{
        Vector,
        compact::{Compact, Values, combine_rows},
    },
    pcs::leaves::{self, Tree},
    transcript::Sink,
};
#[cfg(feature = "prover")]
use p3_field::Field;
#[cfg(feature = "prover")]
use p3_matrix::dense::RowMajorMatrix;
#[cfg(feature = "prover")]
use std::{borrow::Cow, sync::Arc};

/// Constants besides the Program's: as many random elements of F as an element of E has coefficients.
pub(crate) const BLIND: usize = DEGREE;

/// Proofs that one commitment is good for, the registration included.
pub(crate) const BUDGET: usize = 32;
// Tails then fill registers.
const _: () = assert!(BUDGET.is_multiple_of(32));

/// From so many variables on a fold is committed to rather than shown.
const COMMITTED: usize = 20;

/// Leaves that one proof shows, by number of variables of the polynomial: the fewest with which the queries' term has 104 and
/// 125 bits, and 110 and 131 where the fold is committed, work included. A test derives them anew.
const QUERIES: [[u8; 27]; 2] = [
    [
        41, 41, 41, 41, 42, 42, 42, 43, 43, 43, 43, 43, 43, 43, 45, 45, 48, 48, 40, 40, 54, 54, 72,
        72, 110, 110, 106,
    ],
    [
        56, 56, 56, 56, 56, 57, 57, 58, 58, 58, 58, 58, 58, 58, 60, 60, 64, 64, 51, 51, 67, 67, 90,
        90, 138, 138, 130,
    ],
];

/// Where constants lie in a hiding commitment: one polynomial, however many they are.
pub(crate) fn store(program: &Program) -> Result<Store, Error> {
    if program.constants.is_empty() {
        return Err(Error::Unsupported("it has no weights to hide".into()));
    }
    let constants = program.constants.iter().map(|c| c.shape.dims());
    let dims: Vec<Vec<usize>> = constants.chain([vec![BLIND]]).collect();
    Store::one(&dims)
}

/// The commitment for one size.
#[derive(Debug)]
pub(crate) struct Scheme {
    code: Code,
    queries: usize,
    /// Variables of the polynomial.
    vars: usize,
    /// Rows that hold constants; the others are zero, and not in the tree.
    rows: usize,
    /// How a fold is committed to, unless it is shown.
    fold: Option<Fold>,
}

/// Which polynomial of those that a root may stand for: the one with this value at a point that follows from the root.
#[derive(Debug, Clone)]
pub(crate) struct Pin {
    pub(crate) root: Root,
    pub(crate) point: Vec<E>,
    pub(crate) value: E,
}

impl Pin {
    /// One that says nothing, for the shape of an argument.
    pub(crate) fn nothing(vars: usize) -> Self {
        Self {
            root: Root([0; 32]),
            point: vec![E::ZERO; vars],
            value: E::ZERO,
        }
    }

    fn point(program: &Digest, profile: Profile, root: &Root, vars: usize) -> Vec<E> {
        let mut t = Transcript::new("carat/zk/v1 hidden weights");
        t.bytes("profile", profile.name().as_bytes());
        t.bytes("program", program.as_bytes());
        t.bytes("weights root", &root.0);
        t.derived(vars)
    }

    /// What a ModelKey holds of it.
    pub(crate) fn joint_root(&self) -> Root {
        let mut value = Vec::with_capacity(E_BYTES);
        crate::field::write(&[self.value], &mut value);
        let digest = Digest::of("carat/zk-hidden-weights/v1", &[&self.root.0, &value]);
        Root(*digest.as_bytes())
    }

    /// Reads it from a proof, and checks that it is the key's.
    pub(crate) fn read(
        source: &mut Source<'_>,
        key: &ModelKey,
        vars: usize,
    ) -> Result<Self, Error> {
        let root = read_root(source, "weights root")?;
        let value = source.receive("weights value", 1)?[0];
        let pin = Self {
            root,
            point: Self::point(&key.program, key.profile, &root, vars),
            value,
        };
        if pin.joint_root() == key.root {
            Ok(pin)
        } else {
            Err(Error::Check("the root of the hidden constants"))
        }
    }

    /// Sends what [`Pin::read`] reads.
    #[cfg(feature = "prover")]
    pub(crate) fn send(&self, sink: &mut Sink) {
        sink.send_bytes("weights root", &self.root.0);
        sink.send("weights value", &[self.value]);
    }
}

/// What the committer keeps.
#[cfg(feature = "prover")]
#[derive(Clone)]
pub(crate) struct Data {
    values: Arc<Compact>,
    /// Row by row.
    tails: Arc<Vec<F>>,
    tree: Arc<Tree>,
    pub(crate) pin: Pin,
}

#[cfg(feature = "prover")]
impl core::fmt::Debug for Data {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Data").finish_non_exhaustive()
    }
}

#[cfg(feature = "prover")]
impl Data {
    /// The committed values.
    pub(crate) fn values(&self) -> Values<'_> {
        Values::Compact(&self.values)
    }
}

#[cfg(all(test, feature = "prover"))]
impl Data {
    /// What a dishonest committer has: a tree that stands for these constants and for others at once, whose code words are in
    /// it at some places. It goes on with the others; the key's value is theirs, or that of these.
    pub(crate) fn grafted(
        &self,
        others: &Self,
        places: &[usize],
        key: &ModelKey,
        value_of_others: bool,
    ) -> Self {
        let mut matrix = leaves::matrix(&self.tree).clone();
        let width = matrix.width;
        for place in places {
            let range = place * width..(place + 1) * width;
            let leaf = &leaves::matrix(&others.tree).values[range.clone()];
            matrix.values[range].copy_from_slice(leaf);
        }
        let (root, tree) = leaves::commit(matrix);
        let point = Pin::point(&key.program, key.profile, &root, self.pin.point.len());
        let of = if value_of_others { others } else { self };
        let values = of.values().field(0..of.values().len());
        let at = eq_table(&point);
        let value = at.iter().zip(&*values).map(|(&e, &v)| e * v).sum();
        Self {
            tree: Arc::new(tree),
            pin: Pin { root, point, value },
            ..others.clone()
        }
    }
}

impl Scheme {
    /// The scheme for the constants of a store.
    pub(crate) fn new(profile: Profile, store: &Store) -> Result<Self, Error> {
        let n = store.vars;
        let Some(&queries) = QUERIES[profile as usize].get(n) else {
            return Err(Error::Unsupported(
                "it has more weights than one hiding commitment holds".into(),
            ));
        };
        let (columns, levels, work) = match n {
            ..=13 => (n.min(7), 15, 12),
            14..=15 => (8, 15, 12),
            16..=17 => (9, 15, 12),
            18..=19 => (10, 16, 12),
            20..=21 => (13, 17, 14),
            22..=23 => (14, 17, 14),
            24..=25 => (15, 17, 16),
            _ => (16, 18, 16),
        };
        let queries = usize::from(queries);
        let code = Code {
            message: 1 << columns,
            tail: BUDGET * queries,
            levels,
            work,
        };
        let fold = (n >= COMMITTED).then(|| {
            let variables = code.length().next_power_of_two().ilog2() as usize;
            Fold::new(profile, variables)
        });
        Ok(Self {
            code,
            queries,
            vars: n,
            rows: store.used().div_ceil(code.message),
            fold: fold.transpose()?,
        })
    }

    /// Variables of a row.
    fn columns(&self) -> usize {
        self.code.message.ilog2() as usize
    }

    fn leaves(&self) -> Leaves {
        Leaves {
            // Rows, the salt.
            width: self.rows + DEGREE,
            levels: self.code.levels,
            queries: self.queries,
            work: self.code.work,
        }
    }

    /// The error terms of an opening. What the messages in it are depends on which pads are meant, of `2^pads` that their
    /// commitment may stand for.
    pub(crate) fn security(&self, pads: f64) -> Security {
        // One combination for each variable of the rows, and one with the mask.
        let folds = self.vars - self.columns() + 1;
        let candidates = self.code.candidates(self.code.length());
        // Two conditions beside the places: the value, and that nothing lies beyond the end.
        let fold = (self.fold.as_ref()).map(|fold| fold.security(self.queries + 2, 1));
        let folded = fold.as_ref().map_or(0.0, |s| s.candidates_bits);
        let shown = Code {
            tail: self.queries,
            ..self.code
        };
        let mut queries = shown.queries("queries", self.code.length());
        queries.bits -= folded;
        let mut terms = vec![
            Term {
                name: "one polynomial for the key",
                count: 1,
                bits: super::field_bits() as f64
                    - (2.0 * candidates - 1.0)
                    - libm::log2(self.vars.max(1) as f64),
                grinding: 0,
            },
            self.code
                .agreement("correlated agreement", self.code.length(), folds),
            Term {
                name: "value under the mask",
                count: 1,
                bits: super::field_bits() as f64 - candidates - folded - pads,
                grinding: 0,
            },
            queries,
        ];
        terms.extend(fold.into_iter().flat_map(|fold| fold.terms));
        Security {
            terms,
            candidates_bits: candidates,
        }
    }

    /// Checks an opening of `value` at a point.
    pub(crate) fn verify(
        &self,
        root: &Root,
        point: &[E],
        value: u32,
        tape: &mut Tape<'_>,
    ) -> Result<(), Error> {
        let (row, column) = point.split_at(self.vars - self.columns());
        let mask = tape.root("weights mask")?;
        let masked = tape.hear("mask", 1)?[0];
        let beta = tape.challenge();
        enum Sent<'a> {
            Shown(Vec<E>),
            Committed(&'a Fold, Root),
        }
        let (fold, at_column) = match &self.fold {
            None => {
                let fold = tape.clear("fold", self.code.length())?;
                let at = fold.iter().zip(eq_table(column)).map(|(&f, e)| f * e).sum();
                (Sent::Shown(fold), at)
            }
            Some(fold) => {
                let root = tape.root("fold root")?;
                (Sent::Committed(fold, root), tape.clear("fold value", 1)?[0])
            }
        };
        let difference = tape.sum(-at_column, &[(E::ONE, masked), (beta, value)]);
        tape.zero(difference, "the opening of the weights")?;
        let Some(source) = tape.source() else {
            return Ok(());
        };
        let refused = |reason: &str| Error::Opening("weights", reason.to_string());
        let reading = |r: Refused| r.of("weights");
        let leaves = self.leaves();
        let positions = leaves.redraw(source).map_err(reading)?;
        let columns = leaves.read_at(&positions, root, source).map_err(reading)?;
        let masks = masks::leaves(self.code.levels, self.queries, self.code.work)
            .read_at(&positions, &mask, source)
            .map_err(reading)?;
        let places = self.places(&positions, &columns, &masks, &scaled_eq(row, beta));
        match fold {
            Sent::Shown(fold) => {
                let at: Vec<F> = places.iter().map(|p| p.0).collect();
                let values = places.iter().map(|p| p.1);
                if !evaluate(&fold, &at).into_iter().eq(values) {
                    return Err(refused("the fold is not that of the committed rows"));
                }
            }
            Sent::Committed(fold, root) => {
                let ends = (0..fold.variables()).map(|_| source.transcript.challenge());
                let ends = ends.collect();
                let conditions = self.conditions(fold, column, at_column, places, ends);
                fold.verify(&root, &conditions, source).map_err(reading)?;
            }
        }
        Ok(())
    }

    /// What the code word of the fold is at the shown places, of rows with these weights.
    fn places(&self, positions: &[usize], leaves: &[F], masks: &[F], weights: &[E]) -> Vec<(F, E)> {
        positions
            .iter()
            .zip(leaves.chunks_exact(self.leaves().width))
            .zip(masks::shown(masks))
            .map(|((&position, leaf), mask)| {
                let rows = &leaf[..self.rows];
                let sum: E = weights.iter().zip(rows).map(|(&w, &v)| w * v).sum();
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

    /// The integers that say how rows are encoded: under others, one secret must not stand behind the same constants.
    #[cfg(feature = "prover")]
    pub(crate) fn shape(&self) -> [u8; 24] {
        let Code {
            message,
            tail,
            levels,
            ..
        } = self.code;
        let mut out = [0; 24];
        for (out, v) in out.chunks_exact_mut(8).zip([message, tail, levels]) {
            out.copy_from_slice(&(v as u64).to_le_bytes());
        }
        out
    }

    /// Bytes that a committer keeps: values, tails, code words and tree.
    #[cfg(feature = "prover")]
    pub(crate) fn kept_bytes(&self) -> u64 {
        let element = crate::field::F_BYTES as u64;
        let word = (self.code.length() + self.code.size()) as u64;
        element * (word * self.rows as u64 + (DEGREE * self.code.size()) as u64)
            + (64 << self.code.levels)
    }

    /// Commits to the constants, `blind` lying where the store has its last tensor.
    #[cfg(feature = "prover")]
    pub(crate) fn commit(
        &self,
        program: &Digest,
        profile: Profile,
        store: &Store,
        compact: Compact,
        random: &mut Random,
    ) -> Result<Data, Error> {
        let (message, tail, length) = (self.code.message, self.code.tail, self.code.length());
        let mut tails = F::zero_vec(self.rows * tail);
        random.fill(Purpose::WeightsTail, &mut tails);
        let words = |rows: core::ops::Range<usize>| {
            let values = Values::Compact(&compact).field(rows.start * message..rows.end * message);
            let mut out = Vec::with_capacity(rows.len() * length);
            for (row, values) in rows.zip(values.chunks_exact(message)) {
                out.extend_from_slice(values);
                out.extend_from_slice(&tails[row * tail..][..tail]);
            }
            Cow::Owned(out)
        };
        let mut matrix: RowMajorMatrix<F> =
            leaves::encode(self.rows, length, self.code.levels, DEGREE, words);
        for leaf in matrix.values.chunks_exact_mut(self.rows + DEGREE) {
            random.fill(Purpose::WeightsSalt, &mut leaf[self.rows..]);
        }
        let (root, tree) = leaves::commit(matrix);
        let point = Pin::point(program, profile, &root, self.vars);
        if !blinds(store, &point) {
            return Err(Error::Randomness(
                "the random constants do not hide the key's value, which happens once in 2^31 times: take another secret"
                    .into(),
            ));
        }
        let values = Values::Compact(&compact);
        let (row, column) = point.split_at(self.vars - self.columns());
        let combined = combine_rows(values, 0, message, &eq_table(row)).unpack();
        let value = crate::layout::dot_eq(&combined, column);
        Ok(Data {
            values: Arc::new(compact),
            tails: Arc::new(tails),
            tree: Arc::new(tree),
            pin: Pin { root, point, value },
        })
    }

    /// Opens at a point. The value that is opened is none of its business: equations about it are the verifier's.
    #[cfg(feature = "prover")]
    pub(crate) fn open(
        &self,
        data: &Data,
        point: &[E],
        random: &mut Random,
        sink: &mut Sink,
    ) -> Result<(), Error> {
        let (row, column) = point.split_at(self.vars - self.columns());
        let purposes = [Purpose::WeightsMask, Purpose::WeightsMaskSalt];
        let (root, mask) = masks::Mask::new(self.code.length(), self.code.levels, purposes, random);
        sink.send_bytes("weights mask", &root.0);
        let at_column = eq_table(column);
        let masked: E = (mask.coefficients.iter().zip(&at_column))
            .map(|(&m, &e)| m * e)
            .sum();
        sink.send("mask", &[masked]);
        let beta = sink.transcript.challenge();
        let mut weights = scaled_eq(row, beta);
        weights.truncate(self.rows);
        let mut fold = combine_rows(data.values(), 0, self.code.message, &weights).unpack();
        let tails = Values::Plain(&data.tails);
        fold.extend(combine_rows(tails, 0, self.code.tail, &weights).unpack());
        for (f, m) in fold.iter_mut().zip(&mask.coefficients) {
            *f += *m;
        }
        let leaves = self.leaves();
        let masks = masks::leaves(self.code.levels, self.queries, self.code.work);
        let Some(committed) = &self.fold else {
            sink.send_clear("fold", &fold);
            sink.aside(|sink| {
                let positions = leaves.draw(sink);
                let _ = leaves.show_at(&positions, &data.tree, sink);
                let _ = masks.show_at(&positions, &mask.tree, sink);
            });
            return Ok(());
        };
        let value: E = fold.iter().zip(&at_column).map(|(&f, &e)| f * e).sum();
        fold.resize(1 << committed.variables(), E::ZERO);
        let fold = Vector::new(fold);
        let (root, inner) = committed.commit(&fold)?;
        sink.send_bytes("fold root", &root.0);
        sink.send_clear("fold value", &[value]);
        sink.aside(|sink| {
            let positions = leaves.draw(sink);
            let columns = leaves.show_at(&positions, &data.tree, sink);
            let masks = masks.show_at(&positions, &mask.tree, sink);
            let places = self.places(&positions, &columns, &masks, &weights);
            let ends = sink.transcript.point(committed.variables());
            let conditions = self.conditions(committed, column, value, places, ends);
            committed.prove(fold, inner, &conditions, sink)
        })
    }
}

/// Whether the random constants make the value at a point uniform: what they count there, five elements of E, are
/// independent over F.
#[cfg(feature = "prover")]
fn blinds(store: &Store, point: &[E]) -> bool {
    let Some(blind) = store.pieces.iter().map(|p| p.tensor).max() else {
        return false;
    };
    let mut matrix: Vec<Vec<F>> = store
        .slots_of(blind)
        .map(|slot| super::code::slices(&crate::layout::eq_index(point, slot)).to_vec())
        .collect();
    debug_assert_eq!(matrix.len(), BLIND);
    // Elimination, row by row.
    for column in 0..DEGREE {
        let Some(pivot) = (column..matrix.len()).find(|&r| !matrix[r][column].is_zero()) else {
            return false;
        };
        matrix.swap(column, pivot);
        let scale = matrix[column][column].inverse();
        let own = matrix[column].clone();
        for row in &mut matrix[column + 1..] {
            let factor = row[column] * scale;
            for (r, &o) in row.iter_mut().zip(&own) {
                *r -= factor * o;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_the_fewest_that_are_enough() {
        for (profile, wanted) in [(Profile::Proven100, 104.0), (Profile::Proven120, 125.0)] {
            for n in 3..QUERIES[0].len() {
                let store = Store::one(&[vec![1 << (n - 1)], vec![(1 << (n - 1)) - 3]]).unwrap();
                assert_eq!(store.vars, n);
                let scheme = Scheme::new(profile, &store).unwrap();
                let wanted = wanted + if scheme.fold.is_some() { 6.0 } else { 0.0 };
                let bits = |queries: usize| {
                    let code = Code {
                        tail: BUDGET * queries,
                        ..scheme.code
                    };
                    let shown = Code {
                        tail: queries,
                        ..code
                    };
                    let term = shown.queries("", code.length());
                    term.bits + f64::from(term.grinding)
                };
                assert!(bits(scheme.queries) >= wanted, "n = {n}");
                assert!(bits(scheme.queries - 1) < wanted, "n = {n}");
                assert!(scheme.code.length() < scheme.code.size());
                // A committed fold is at most twice as long as what is committed to.
                assert!(scheme.fold.is_none() || scheme.code.tail <= scheme.code.message);
            }
        }
    }
}
