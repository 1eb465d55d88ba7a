//! Openings of constants by a prover that lies, and that learns from every attempt.

use super::*;
use crate::{
    field::DEGREE,
    kernels::Vector,
    pcs::{
        ProverData, ProverForm, Use, Whir,
        fold::{SLICES, join},
        leaves::Tree,
        whir,
    },
    steps::powers,
    transcript::Transcript,
};
use p3_commit::Mmcs as _;
use p3_field::{BasedVectorSpace, Field};
use p3_matrix::dense::RowMajorMatrix;

fn values(n: usize) -> Vec<F> {
    (0..1u64 << n)
        .map(|i| F::from_u64(i * i + 3 * i + 1))
        .collect()
}

/// Opens with other values than those under the tree, and verifies.
fn dishonest(n: usize, change: impl Fn(&mut Vec<F>)) -> Result<(), Error> {
    let scheme = Whir::new(Profile::Proven100, n, Use::Weights).unwrap();
    let (root, data) = scheme.commit(values(n)).unwrap();
    let ProverForm::Rows(Data { tree, .. }) = data.form else {
        panic!("constants of this size have another form");
    };
    let mut changed = values(n);
    change(&mut changed);
    let data = ProverData {
        root,
        form: ProverForm::Rows(Data {
            values: alloc::sync::Arc::new(Compact::new(&changed)),
            tree,
        }),
    };
    let transcript = || {
        let mut t = Transcript::new("a dishonest opening");
        t.bytes("root", &root.0);
        t
    };
    let mut sink = Sink::new(transcript());
    let point = sink.transcript.point(n);
    let value = scheme.open(&data, &point, &mut sink).unwrap();
    let proof = sink.finish();
    let mut source = Source::new(transcript(), &proof);
    let point = source.transcript.point(n);
    scheme.verify(&root, &point, value, &mut source)?;
    source.finish()
}

#[test]
fn a_fold_of_other_rows_is_refused() {
    // Shown and committed folds.
    for n in [14, 21] {
        dishonest(n, |_| {}).unwrap();
        let last = (1 << n) - 1;
        for at in [0, 77, last] {
            assert!(matches!(
                dishonest(n, |v| v[at] += F::ONE),
                Err(Error::Opening("weights", _))
            ));
        }
        // Two rows in each other's place, and all of them doubled.
        let width = 1 << (n - 5);
        assert!(dishonest(n, |v| (0..width).for_each(|i| v.swap(i, width + i))).is_err());
        assert!(dishonest(n, |v| v.iter_mut().for_each(|v| *v = v.double())).is_err());
    }
}

#[test]
fn the_code_word_of_a_fold_is_the_fold_of_the_code_words() {
    let n = 14;
    let parameters = crate::pcs::schedule::rows(Profile::Proven100, n);
    let scheme = Scheme::new(Profile::Proven100, n, parameters).unwrap();
    let (_, data) = scheme.commit(Compact::new(&values(n)));
    let weights: Vec<E> = (0..1u64 << scheme.parameters.rows)
        .map(|i| E::from_basis_coefficients_fn(|d| F::from_u64(i * 7 + d as u64)))
        .collect();
    let width = 1 << scheme.columns;
    let fold = combine_rows(data.values(), 0, width, &weights).unpack();
    let committed = data.values().field(0..1 << n);
    for (i, u) in fold.iter().enumerate() {
        let sum: E = (0..weights.len())
            .map(|r| weights[r] * committed[r * width + i])
            .sum();
        assert_eq!(*u, sum);
    }
    for position in [0, 1, 5, (1 << scheme.levels()) - 1] {
        let (opened, _) = whir::mmcs().open_multi_batch(&[position], &data.tree);
        let shown = Shown {
            positions: vec![position],
            elements: opened[0][0].clone(),
        };
        let (place, value) = scheme.conditions(&shown, &weights)[0];
        let at = fold.iter().rev().fold(E::ZERO, |s, &u| s * place + u);
        assert_eq!(at, value);
    }
}

/// A prover that knows the rows and follows the protocol, but claims a value, sends a fold and says of its slices what it
/// likes.
struct Liar<'a> {
    scheme: &'a Scheme,
    tree: &'a Tree,
    value: E,
    fold: Vec<E>,
    /// What lies past the last coefficient of a committed fold.
    rest: F,
    /// From the honest slices, and the fold's value that the verifier will want, to those that are sent.
    slices: &'a dyn Fn(&[E], E) -> Vec<E>,
}

/// What a dishonest prover learns from an attempt.
struct Attempt {
    proof: Vec<u8>,
    positions: Vec<usize>,
    /// Where the slices are opened.
    slice: Vec<E>,
}

impl Liar<'_> {
    fn open(&self, point: &[E], mut sink: Sink) -> Attempt {
        let (row, column) = point.split_at(self.scheme.parameters.rows);
        sink.transcript.elements("pcs value", &[self.value]);
        let committed = self.scheme.fold.as_ref().map(|inner| {
            let fold = Vector::new(self.fold.clone());
            let mut values = fold.coefficients(self.fold.len() << SLICES);
            values[DEGREE << self.scheme.columns..].fill(self.rest);
            let (root, data) = inner.inner.commit(values).unwrap();
            sink.send_bytes("pcs fold root", &root.0);
            (inner, data)
        });
        if committed.is_none() {
            sink.send("pcs fold", &self.fold);
        }
        let shown = self.scheme.leaves().show(self.tree, &mut sink);
        let mut slice = Vec::new();
        if let Some((inner, data)) = committed {
            let conditions = Conditions {
                claim: (column.to_vec(), self.value),
                places: self.scheme.conditions(&shown, &eq_table(row)),
                ends: None,
            };
            let powers = powers(sink.transcript.challenge(), conditions.len());
            let claim = conditions.sum(&powers);
            let weight = conditions.kernel(&powers);
            let pair = (Vector::new(self.fold.clone()), weight.clone());
            let rounds = self.scheme.columns;
            let (at, left) = crate::kernels::products(&mut sink, claim, vec![pair], rounds);
            let honest: Vec<E> = (data
                .values()
                .field(0..data.values().len())
                .chunks_exact(1 << rounds))
            .map(|s| crate::kernels::evaluate_base(s, &at))
            .collect();
            let wanted = left * dot_eq(&weight.unpack(), &at).inverse();
            sink.send("pcs slices", &(self.slices)(&honest, wanted));
            slice = sink.transcript.point(SLICES);
            let _ = inner
                .inner
                .open(&data, &[&slice[..], &at].concat(), &mut sink);
        }
        Attempt {
            proof: sink.finish(),
            positions: shown.positions,
            slice,
        }
    }
}

/// A small scheme, and an opening of it at a random point.
struct Small {
    scheme: Scheme,
    root: Root,
    data: Data,
    seed: usize,
}

impl Small {
    fn new(n: usize, parameters: Parameters) -> Self {
        let scheme = Scheme::new(Profile::Proven100, n, parameters).unwrap();
        let (root, data) = scheme.commit(Compact::new(&values(n)));
        Self {
            scheme,
            root,
            data,
            seed: 0,
        }
    }

    /// Both forms, with 32 positions of a row in 128 places.
    fn both() -> [Self; 2] {
        [true, false].map(|shown| {
            Self::new(
                9,
                Parameters {
                    rows: 4,
                    rate: 2,
                    queries: 10,
                    work: 3,
                    shown,
                },
            )
        })
    }

    fn transcript(&self) -> Transcript {
        let mut t = Transcript::new("a small opening");
        t.bytes("root", &self.root.0);
        t.bytes("seed", &[self.seed as u8]);
        t
    }

    fn point(&self) -> Vec<E> {
        let n = self.scheme.parameters.rows + self.scheme.columns;
        self.transcript().point(n)
    }

    /// The fold of the committed rows, and its value.
    fn honest(&self) -> (Vec<E>, E) {
        let point = self.point();
        let (row, column) = point.split_at(self.scheme.parameters.rows);
        let width = 1 << self.scheme.columns;
        let fold = combine_rows(self.data.values(), 0, width, &eq_table(row)).unpack();
        let value = dot_eq(&fold, column);
        (fold, value)
    }

    fn attempt(
        &self,
        value: E,
        fold: &[E],
        rest: F,
        slices: &dyn Fn(&[E], E) -> Vec<E>,
    ) -> (Attempt, Result<(), Refused>) {
        let liar = Liar {
            scheme: &self.scheme,
            tree: &self.data.tree,
            value,
            fold: fold.to_vec(),
            rest,
            slices,
        };
        let mut transcript = self.transcript();
        let point = transcript.point(self.point().len());
        let attempt = liar.open(&point, Sink::new(transcript.clone()));
        let mut source = Source::new(transcript, &attempt.proof);
        let verdict = (self.scheme)
            .verify(&self.root, &point, value, &mut source)
            .and_then(|()| Ok(source.finish()?));
        (attempt, verdict)
    }

    /// A code word's coefficients that is zero at these places and no others that matter, and has this value at the
    /// claim's point.
    fn zero_at(&self, places: &[usize], value: E) -> Vec<E> {
        let mut out = vec![E::ZERO; 1 << self.scheme.columns];
        assert!(places.len() < out.len());
        out[0] = E::ONE;
        for &place in places {
            let z = self.scheme.place(place);
            for i in (0..out.len()).rev() {
                out[i] = if i > 0 { out[i - 1] } else { E::ZERO } - out[i] * z;
            }
        }
        let at = dot_eq(&out, &self.point()[self.scheme.parameters.rows..]);
        let scale = value * at.inverse();
        out.iter().map(|&v| v * scale).collect()
    }
}

/// By a check of this opening or of the one inside it.
fn refused(verdict: Result<(), Refused>) -> bool {
    matches!(
        verdict,
        Err(Refused::Opening(_) | Refused::Reading(Error::Opening(..)))
    )
}

fn honest_slices(honest: &[E], _: E) -> Vec<E> {
    honest.to_vec()
}

/// What lies past the coefficients is nobody's concern.
#[test]
fn slices_past_the_coefficients_are_free() {
    for small in Small::both() {
        let (fold, value) = small.honest();
        for rest in [F::ZERO, F::from_u32(77)] {
            let (_, verdict) = small.attempt(value, &fold, rest, &honest_slices);
            assert!(verdict.is_ok());
            let (_, verdict) = small.attempt(value + E::ONE, &fold, rest, &honest_slices);
            assert!(refused(verdict));
        }
    }
}

/// A false fold passes exactly where all positions are places at which both code words agree. Of those there are at most
/// one fewer than coefficients, which is what the bound on columns counts.
#[test]
fn a_false_fold_passes_where_code_words_agree() {
    for shown in [true, false] {
        for queries in 1..=3 {
            let mut small = Small::new(
                5,
                Parameters {
                    rows: 2,
                    rate: 1,
                    queries,
                    work: 1,
                    shown,
                },
            );
            let agreed: Vec<usize> = (0..7).map(|i| (i * 5 + 2) % 16).collect();
            let mut passed = 0;
            for seed in 0..64 {
                small.seed = seed;
                let (fold, value) = small.honest();
                let change = small.zero_at(&agreed, E::ONE);
                let fold: Vec<E> = fold.iter().zip(change).map(|(&u, e)| u + e).collect();
                let (attempt, verdict) =
                    small.attempt(value + E::ONE, &fold, F::ZERO, &honest_slices);
                let expected = attempt.positions.iter().all(|p| agreed.contains(p));
                assert_eq!(verdict.is_ok(), expected, "{shown} {queries} {seed}");
                passed += u32::from(expected);
            }
            // 28, 12 and 5 are expected.
            assert!(passed > 0 && passed < 48 >> (queries - 1), "{passed}");
        }
    }
}

/// The fold that would pass at the positions of an attempt meets other positions.
#[test]
fn a_fold_made_for_known_positions_comes_too_late() {
    for small in Small::both() {
        let (fold, value) = small.honest();
        let (first, verdict) = small.attempt(value + E::ONE, &fold, F::ZERO, &honest_slices);
        assert!(refused(verdict));
        let change = small.zero_at(&first.positions, E::ONE);
        let made: Vec<E> = fold.iter().zip(change).map(|(&u, e)| u + e).collect();
        let (second, verdict) = small.attempt(value + E::ONE, &made, F::ZERO, &honest_slices);
        assert_ne!(first.positions, second.positions);
        assert!(refused(verdict));
    }
}

/// Slices that add up to what the sumcheck leaves of a false claim, and even keep their value at the point at which an
/// earlier attempt opened them.
#[test]
fn slices_made_to_fit_are_refused() {
    let [_, small] = Small::both();
    let (fold, value) = small.honest();
    let gap = |honest: &[E], wanted: E| wanted - join(honest);
    let (first, verdict) = small.attempt(value + E::ONE, &fold, F::ZERO, &|honest, wanted| {
        let mut out = honest.to_vec();
        out[0] += gap(honest, wanted);
        out
    });
    assert!(refused(verdict));
    let weights = eq_table(&first.slice);
    let (second, verdict) = small.attempt(value + E::ONE, &fold, F::ZERO, &|honest, wanted| {
        let mut out = honest.to_vec();
        let gap = gap(honest, wanted);
        out[0] += gap;
        // Nothing but the opening at a random point reads this one.
        out[DEGREE] -= gap * weights[0] * weights[DEGREE].inverse();
        assert_eq!(dot_eq(&out, &first.slice), dot_eq(honest, &first.slice));
        out
    });
    assert_ne!(first.slice, second.slice);
    assert!(refused(verdict));
    // Of a true claim, other slices that add up to the same.
    let x = E::from_basis_coefficients_fn(|i| F::from_bool(i == 1));
    let (_, verdict) = small.attempt(value, &fold, F::ZERO, &|honest, _| {
        let mut out = honest.to_vec();
        (out[0], out[1]) = (out[0] + x, out[1] - E::ONE);
        assert_eq!(join(&out), join(honest));
        out
    });
    assert!(refused(verdict));
}

/// Why a root is worth nothing unless somebody on the relying party's side computed it: under one that nobody did, half of
/// the leaves may be those of another matrix, and then both have their openings.
#[test]
fn a_root_that_nobody_computed_may_hold_two_matrices() {
    for shown in [true, false] {
        let parameters = Parameters {
            rows: 2,
            rate: 2,
            queries: 2,
            work: 1,
            shown,
        };
        let one = Small::new(5, parameters);
        let other: Vec<F> = values(5).iter().map(|v| v.square() + F::ONE).collect();
        let (_, other) = one.scheme.commit(Compact::new(&other));
        let leaves: Vec<usize> = (0..1 << one.scheme.levels()).collect();
        let columns = |data: &Data| whir::mmcs().open_multi_batch(&leaves, &data.tree).0;
        let mixed = (columns(&one.data).into_iter().flatten().flatten())
            .zip(columns(&other).into_iter().flatten().flatten())
            .enumerate()
            .map(|(i, (a, b))| if i >> 2 & 1 == 0 { a } else { b });
        let (cap, tree) = whir::mmcs().commit_matrix(RowMajorMatrix::new(mixed.collect(), 4));
        let tree = alloc::sync::Arc::new(tree);
        let passed = [one.data.values.clone(), other.values].map(|values| {
            let mut small = Small::new(5, parameters);
            small.root = Root(cap.roots()[0]);
            small.data = Data {
                values,
                tree: tree.clone(),
            };
            (0..32)
                .filter(|&seed| {
                    small.seed = seed;
                    let (fold, value) = small.honest();
                    let (_, verdict) = small.attempt(value, &fold, F::ZERO, &honest_slices);
                    verdict.is_ok()
                })
                .count()
        });
        // 8 are expected of each.
        assert!(passed.iter().all(|n| (1..20).contains(n)), "{passed:?}");
    }
}
