//! The proof that what is under the pads meets all equations (Ames, Hazay, Ishai, Venkitasubramaniam, "Ligero", 2017, over a
//! smaller witness: only the pads).
//!
//! Pads are committed before anything is sent under them: rows of 128 elements of E, each row the values of a polynomial on a
//! subgroup H, with a random tail beside. Pads that are multiplied have copies in the first rows, factor under factor under
//! product; pads begin where these end. Secrets lie in rows of elements of F, which come last. After the last message all
//! equations are combined into one sum over H ([`Tape::compile`]); the prover shows the polynomial whose sum it is, under a
//! random one that adds up to zero, and one random combination of all rows, under another. Both are compared with the rows at
//! places that are drawn last.

use super::{
    code::{Code, element, evaluate, inner_products},
    tape::{Combined, Tape},
};
use crate::{
    Error,
    checks::Checks,
    field::{DEGREE, E, F},
    pcs::{Profile, Root, Security, Term, leaves::Leaves},
    steps::powers,
};
use alloc::{string::ToString, vec, vec::Vec};
use p3_field::{Field, PrimeCharacteristicRing, TwoAdicField, batch_multiplicative_inverse};

#[cfg(feature = "prover")]
use super::{
    code::slices,
    random::{Purpose, Random},
};
#[cfg(feature = "prover")]
use crate::{
    pcs::leaves::{self, Tree},
    transcript::Sink,
};
#[cfg(feature = "prover")]
use p3_dft::{Radix2DFTSmallBatch, TwoAdicSubgroupDft};
#[cfg(feature = "prover")]
use p3_matrix::{Matrix, dense::RowMajorMatrix};

/// How many pads and products there are, and where they lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pads: usize,
    products: Vec<[usize; 2]>,
    secrets: usize,
    equations: usize,
    code: Code,
}

/// What the prover keeps of the pads.
#[cfg(feature = "prover")]
pub(crate) struct Data {
    /// Coefficients of each row of elements of E.
    rows: Vec<Vec<E>>,
    /// And of each row of secrets.
    secrets: Vec<Vec<F>>,
    combination_mask: Vec<E>,
    sum_mask: Vec<E>,
    tree: Tree,
}

/// What each element of each row counts for the sum, and the factor of each product.
struct Weights {
    /// Row by row, zero after the last element.
    linear: Vec<Vec<E>>,
    /// For each block of products.
    products: Vec<Vec<E>>,
    constant: E,
}

impl Shape {
    /// The shape of an argument that has been written on a tape.
    pub(crate) fn of(tape: &Tape<'_>, profile: Profile) -> Self {
        Self {
            pads: tape.pads(),
            products: tape.products().to_vec(),
            secrets: tape.secrets(),
            equations: tape.equations(),
            code: Code::pads(profile),
        }
    }

    /// How many pads there are.
    #[cfg(feature = "prover")]
    pub(crate) fn pads(&self) -> usize {
        self.pads
    }

    /// Blocks of three rows with products in them: first factors, second factors, products.
    fn blocks(&self) -> usize {
        self.products.len().div_ceil(self.code.message)
    }

    /// Where a product lies, or (`part` 0 or 1) one of its factors.
    fn product_slot(&self, product: usize, part: usize) -> usize {
        let ell = self.code.message;
        (3 * (product / ell) + part) * ell + product % ell
    }

    /// Where a pad lies: what products leave free of the last three of their rows is filled first.
    pub(crate) fn pad_slot(&self, pad: usize) -> usize {
        let (ell, blocks) = (self.code.message, self.blocks());
        let free = blocks * ell - self.products.len();
        if pad < 3 * free {
            (3 * (blocks - 1) + pad / free) * ell + ell - free + pad % free
        } else {
            3 * blocks * ell + pad - 3 * free
        }
    }

    /// Rows of elements of E.
    fn wide_rows(&self) -> usize {
        let last = self
            .pads
            .checked_sub(1)
            .map_or(0, |last| self.pad_slot(last) + 1);
        last.div_ceil(self.code.message).max(3 * self.blocks())
    }

    fn secret_rows(&self) -> usize {
        self.secrets.div_ceil(self.code.message)
    }

    fn rows(&self) -> usize {
        self.wide_rows() + self.secret_rows()
    }

    fn leaves(&self) -> Leaves {
        Leaves {
            // Rows, two masks, the salt.
            width: (self.wide_rows() + 3) * DEGREE + self.secret_rows(),
            levels: self.code.levels,
            queries: self.code.tail,
            work: self.code.work,
        }
    }

    /// The error terms. Pads under a commitment at the Johnson bound may be any of a short list; the surrounding argument is
    /// charged for that (`candidates_bits`).
    pub(crate) fn security(&self) -> Security {
        let candidates = self.code.candidates(self.code.length());
        // A list for the rows, and one for the mask of the sum.
        let lists = candidates + self.code.candidates(self.code.triple());
        let powers = self.equations + 3 * self.products.len();
        Security {
            terms: vec![
                (self.code).agreement("correlated agreement", self.code.length(), self.rows()),
                Term {
                    name: "combination of equations",
                    count: 1,
                    bits: super::field_bits() as f64 - libm::log2(powers.max(1) as f64) - lists,
                    grinding: 0,
                },
                self.code.queries("queries", self.code.triple()),
            ],
            candidates_bits: candidates,
        }
    }

    /// All equations as weights of the elements: those of the tape, then that copies are copies, then the products.
    fn weights(&self, combined: &Combined, tau: E) -> Weights {
        let ell = self.code.message;
        let mut flat = vec![E::ZERO; self.rows() * ell];
        for (pad, &weight) in combined.pads.iter().enumerate() {
            flat[self.pad_slot(pad)] = weight;
        }
        for (i, &weight) in combined.products.iter().enumerate() {
            flat[self.product_slot(i, 2)] = weight;
        }
        flat[self.wide_rows() * ell..][..self.secrets].copy_from_slice(&combined.secrets);
        let mut power = tau.exp_u64(self.equations as u64);
        let mut next = || {
            power *= tau;
            power
        };
        for (i, pair) in self.products.iter().enumerate() {
            for (side, &pad) in pair.iter().enumerate() {
                let weight = next();
                flat[self.product_slot(i, side)] += weight;
                flat[self.pad_slot(pad)] -= weight;
            }
        }
        let mut factor = vec![E::ZERO; self.blocks() * ell];
        for f in &mut factor[..self.products.len()] {
            *f = next();
        }
        let rows = |flat: &[E]| flat.chunks_exact(ell).map(<[E]>::to_vec).collect();
        Weights {
            linear: rows(&flat),
            products: rows(&factor),
            constant: combined.constant,
        }
    }

    /// The place of a position: a coset that H is not on.
    pub(crate) fn place(&self, position: usize) -> F {
        F::GENERATOR * self.code.place(position)
    }

    /// Commits to pads, the products that are needed, and secrets.
    #[cfg(feature = "prover")]
    pub(crate) fn commit(&self, pads: &[E], secrets: &[F], random: &mut Random) -> (Root, Data) {
        debug_assert_eq!((pads.len(), secrets.len()), (self.pads, self.secrets));
        let Code { message, tail, .. } = self.code;
        let dft = Radix2DFTSmallBatch::<F>::default();
        let mut flat = vec![E::ZERO; self.wide_rows() * message];
        for (i, &pad) in pads.iter().enumerate() {
            flat[self.pad_slot(i)] = pad;
        }
        for (i, &[a, b]) in self.products.iter().enumerate() {
            let (a, b) = (pads[a], pads[b]);
            for (part, v) in [a, b, a * b].into_iter().enumerate() {
                flat[self.product_slot(i, part)] = v;
            }
        }
        let rows: Vec<Vec<E>> = flat
            .chunks_exact(message)
            .map(|values| {
                // Plus a random multiple of X^message - 1, which is zero on H.
                let mut row = dft.idft_algebra(values.to_vec());
                row.resize(message + tail, E::ZERO);
                for j in 0..tail {
                    let r = random.e(Purpose::PadTail);
                    row[j] -= r;
                    row[message + j] += r;
                }
                row
            })
            .collect();
        let secrets: Vec<Vec<F>> = secrets
            .chunks(message)
            .map(|values| {
                let mut row = values.to_vec();
                row.resize(message, F::ZERO);
                let mut row = dft.idft(row);
                row.resize(message + tail, F::ZERO);
                let mut random_part = F::zero_vec(tail);
                random.fill(Purpose::SecretTail, &mut random_part);
                for (j, r) in random_part.into_iter().enumerate() {
                    row[j] -= r;
                    row[message + j] += r;
                }
                row
            })
            .collect();
        let combination_mask: Vec<E> = (0..self.code.length())
            .map(|_| random.e(Purpose::CombinationMask))
            .collect();
        let mut sum_mask: Vec<E> = (0..self.code.triple())
            .map(|_| random.e(Purpose::SumMask))
            .collect();
        let total = every(&sum_mask, message);
        sum_mask[0] -= total;
        #[cfg(test)]
        if let Some(offset) = crate::tests::hooks::stage().offset {
            sum_mask[0] += offset;
        }
        let width = self.leaves().width;
        let mut matrix = F::zero_vec(self.code.size() * width);
        let masks = [&combination_mask, &sum_mask];
        let wide = (rows.iter().zip((0..).step_by(DEGREE))).chain(
            masks
                .into_iter()
                .zip((width - 3 * DEGREE..).step_by(DEGREE)),
        );
        for (word, at) in wide {
            for (e, row) in word.iter().zip(matrix.chunks_exact_mut(width)) {
                row[at..at + DEGREE].copy_from_slice(slices(e));
            }
        }
        for (word, at) in secrets.iter().zip(self.wide_rows() * DEGREE..) {
            for (&v, row) in word.iter().zip(matrix.chunks_exact_mut(width)) {
                row[at] = v;
            }
        }
        // Random at every place, so as well random before the transform.
        for row in matrix.chunks_exact_mut(width) {
            random.fill(Purpose::PadSalt, &mut row[width - DEGREE..]);
        }
        let encoded = dft.coset_dft_batch(RowMajorMatrix::new(matrix, width), F::GENERATOR);
        let (root, tree) = leaves::commit(encoded);
        let data = Data {
            rows,
            secrets,
            combination_mask,
            sum_mask,
            tree,
        };
        (root, data)
    }

    /// Proves all equations of a tape.
    #[cfg(feature = "prover")]
    pub(crate) fn prove(&self, data: Data, tape: &Tape<'_>, sink: &mut Sink) {
        let (tau, rho) = (sink.transcript.challenge(), sink.transcript.challenge());
        let weights = self.weights(&tape.compile(tau), tau);
        let mut combination = data.combination_mask;
        let powers = powers(rho, self.rows() + 1);
        let (wide, narrow) = powers[1..].split_at(self.wide_rows());
        for (row, &power) in data.rows.iter().zip(wide) {
            for (c, &r) in combination.iter_mut().zip(row) {
                *c += power * r;
            }
        }
        for (row, &power) in data.secrets.iter().zip(narrow) {
            for (c, &r) in combination.iter_mut().zip(row) {
                *c += power * r;
            }
        }
        sink.send_clear("combination", &combination);
        let sum = self.sum(&weights, &data.rows, &data.secrets, data.sum_mask);
        #[cfg(test)]
        crate::tests::hooks::note_missing(
            -weights.constant * F::from_usize(self.code.message).inverse()
                - every(&sum, self.code.message),
        );
        sink.send_clear("sum", &sum);
        self.leaves().show(&data.tree, sink);
    }

    /// The polynomial of the sum, under its mask.
    #[cfg(feature = "prover")]
    fn sum(
        &self,
        weights: &Weights,
        rows: &[Vec<E>],
        secrets: &[Vec<F>],
        mut mask: Vec<E>,
    ) -> Vec<E> {
        // Everything on a subgroup that determines it: one column for each coefficient of an element.
        let size = self.code.triple().next_power_of_two();
        let dft = Radix2DFTSmallBatch::<F>::default();
        let on_subgroup = |mut coefficients: Vec<F>, width: usize| {
            coefficients.resize(size * width, F::ZERO);
            dft.dft_batch(RowMajorMatrix::new(coefficients, width))
                .to_row_major_matrix()
                .values
        };
        let all: Vec<&Vec<E>> = weights.linear.iter().chain(&weights.products).collect();
        let columns = all.len() * DEGREE;
        let mut matrix = F::zero_vec(self.code.message * columns);
        for (i, row) in matrix.chunks_exact_mut(columns).enumerate() {
            for (to, weights) in row.chunks_exact_mut(DEGREE).zip(&all) {
                to.copy_from_slice(slices(&weights[i]));
            }
        }
        let coefficients = dft.idft_batch(RowMajorMatrix::new(matrix, columns));
        let weights_at = on_subgroup(coefficients.values, columns);
        let wide = rows.len() * DEGREE;
        let width = wide + secrets.len();
        let mut matrix = F::zero_vec(self.code.length() * width);
        for (j, to) in matrix.chunks_exact_mut(width).enumerate() {
            for (to, row) in to.chunks_exact_mut(DEGREE).zip(rows) {
                to.copy_from_slice(slices(&row[j]));
            }
            for (to, row) in to[wide..].iter_mut().zip(secrets) {
                *to = row[j];
            }
        }
        let rows_at = on_subgroup(matrix, width);
        let elements = |flat: &[F]| -> Vec<E> {
            let all = flat.chunks_exact(DEGREE);
            all.map(|c| element(|d| c[d])).collect()
        };
        let sum = (weights_at.chunks_exact(columns))
            .zip(rows_at.chunks_exact(width))
            .map(|(weights, row)| {
                let weights = elements(weights);
                let (linear, products) = weights.split_at(self.rows());
                let (own, secrets) = linear.split_at(rows.len());
                let row_secrets = &row[wide..];
                let row = elements(&row[..wide]);
                let mut sum: E = own.iter().zip(&row).map(|(&w, &r)| w * r).sum();
                sum += secrets
                    .iter()
                    .zip(row_secrets)
                    .map(|(&w, &r)| w * r)
                    .sum::<E>();
                for (&w, block) in products.iter().zip(row.chunks_exact(3)) {
                    sum += w * (block[0] * block[1] - block[2]);
                }
                sum
            })
            .collect();
        for (m, s) in mask.iter_mut().zip(dft.idft_algebra(sum)) {
            *m += s;
        }
        mask
    }

    /// Checks the proof of all equations of a tape, which comes next in the proof that the tape reads.
    pub(crate) fn verify(&self, root: &Root, tape: &mut Tape<'_>) -> Result<(), Error> {
        let (tau, rho) = (tape.challenge(), tape.challenge());
        let weights = self.weights(&tape.compile(tau), tau);
        let Some(source) = tape.source() else {
            return Ok(());
        };
        let combination = source.receive("combination", self.code.length())?;
        let sum = source.receive("sum", self.code.triple())?;
        let message = F::from_usize(self.code.message);
        if every(&sum, self.code.message) * message != -weights.constant {
            return Err(Error::Check("the equations under the pads"));
        }
        let refused = |reason: &str| Error::Opening("pads", reason.to_string());
        let shown = (self.leaves().read(root, source)).map_err(|r| r.of("pads"))?;
        let places: Vec<F> = shown.positions.iter().map(|&p| self.place(p)).collect();
        let combinations = evaluate(&combination, &places);
        let sums = evaluate(&sum, &places);
        let powers = powers(rho, self.rows() + 1);
        let lagrange: Vec<Vec<F>> = places.iter().map(|&z| self.lagrange(z)).collect();
        let linear = inner_products(&weights.linear, &lagrange);
        let products = inner_products(&weights.products, &lagrange);
        for (i, leaf) in shown.elements.chunks_exact(self.leaves().width).enumerate() {
            let (wide, rest) = leaf.split_at(self.wide_rows() * DEGREE);
            let (secrets, masks) = rest.split_at(self.secret_rows());
            let elements = |flat: &[F]| -> Vec<E> {
                let all = flat.chunks_exact(DEGREE);
                all.map(|c| element(|d| c[d])).collect()
            };
            let (mut rows, masks) = (elements(wide), elements(masks));
            rows.extend(secrets.iter().map(|&s| E::from(s)));
            let combination: E = rows.iter().zip(&powers[1..]).map(|(&r, &p)| r * p).sum();
            if combinations[i] != masks[0] + combination {
                return Err(refused("the combination is not that of the committed rows"));
            }
            let mut sum = masks[1];
            for (w, &row) in linear.iter().zip(&rows) {
                sum += w[i] * row;
            }
            for (w, block) in products.iter().zip(rows.chunks_exact(3)) {
                sum += w[i] * (block[0] * block[1] - block[2]);
            }
            if sums[i] != sum {
                return Err(refused("the sum is not that of the committed rows"));
            }
        }
        Ok(())
    }

    /// What the values on H of a polynomial with `message` coefficients count for its value at a place.
    pub(crate) fn lagrange(&self, place: F) -> Vec<F> {
        let ell = self.code.message;
        let generator = F::two_adic_generator(ell.ilog2() as usize);
        let on_h: Vec<F> = generator.powers().take(ell).collect();
        let inverses =
            batch_multiplicative_inverse(&on_h.iter().map(|&h| place - h).collect::<Vec<_>>());
        let scale = (place.exp_u64(ell as u64) - F::ONE) * F::from_usize(ell).inverse();
        on_h.iter()
            .zip(inverses)
            .map(|(&h, inverse)| scale * h * inverse)
            .collect()
    }
}

/// The sum of every `step`-th coefficient, from the first: the sum over a subgroup of that order, divided by the order.
fn every(coefficients: &[E], step: usize) -> E {
    coefficients.iter().step_by(step).copied().sum()
}
