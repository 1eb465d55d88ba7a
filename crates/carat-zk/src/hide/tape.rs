//! Equations about messages under pads, written down in the order in which the verifier of the succinct mode would look at
//! them.
//!
//! A message m is sent as m + pad. So every element of the argument is an affine function of pads, and of products of two
//! pads where the argument multiplies two messages. The tape keeps how each follows from earlier ones; [`Tape::compile`]
//! combines all equations with powers of one challenge and runs the tape backwards, so that what each pad counts for takes
//! time linear in the length of the argument.
//!
//! Beside the pads, secrets may be committed to: elements of F that equations are about directly. And a polynomial whose
//! coefficients are elements of the tape may be compared with public values at many places ([`Tape::polynomial`]).

use super::code::power_sums;
use crate::{
    Error,
    checks::Checks,
    field::{E, F},
    pcs::{Root, leaves::Shown},
    transcript::Source,
    verify::read_root,
};
use alloc::{format, vec, vec::Vec};
use core::ops::Range;
use p3_field::PrimeCharacteristicRing;

#[cfg(feature = "prover")]
use crate::transcript::Script;

/// Most messages and secrets of one proof. What a verifier keeps of each is some hundred times what a Program pays for it, so that a
/// small Program could ask for more memory than there is; and a proof with more would be longer than a receipt can hold.
const MAX_PADS: usize = 1 << 20;

/// Where messages come from.
#[derive(Debug)]
pub(crate) enum From<'p> {
    /// Nowhere: only the shape of the argument is of interest.
    Nothing,
    /// A proof.
    Proof(Source<'p>),
    /// What a prover has just said.
    #[cfg(feature = "prover")]
    Script(Script, usize, usize),
}

/// A polynomial over F, or E, whose coefficients are elements of a tape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Polynomial(u32);

/// What an element follows from.
#[derive(Debug, Clone, Copy)]
enum Part {
    Element(u32),
    Pad(u32),
    Secret(u32),
    Product(u32),
    /// A polynomial at a place.
    Value(Polynomial, F),
}

/// An element: a constant and a sum.
#[derive(Debug)]
struct Element {
    constant: E,
    parts: Range<usize>,
}

/// Equations about messages under pads.
#[derive(Debug)]
pub(crate) struct Tape<'p> {
    from: From<'p>,
    elements: Vec<Element>,
    parts: Vec<(E, Part)>,
    pads: usize,
    secrets: usize,
    /// Pairs of pads whose products are needed.
    products: Vec<[usize; 2]>,
    polynomials: Vec<Coefficients>,
    /// Elements that are zero.
    zeros: Vec<u32>,
}

/// The coefficients of a polynomial, constant first.
#[derive(Debug)]
struct Coefficients {
    elements: Vec<u32>,
    /// How many elements there were before its values.
    before: usize,
}

/// All equations in one: `constant + sum pads_i pad_i + sum products_j product_j + sum secrets_k secret_k = 0`.
#[derive(Debug)]
pub(crate) struct Combined {
    pub(crate) constant: E,
    pub(crate) pads: Vec<E>,
    pub(crate) products: Vec<E>,
    pub(crate) secrets: Vec<E>,
}

impl<'p> Tape<'p> {
    pub(crate) fn new(from: From<'p>) -> Self {
        Self {
            from,
            elements: Vec::new(),
            parts: Vec::new(),
            pads: 0,
            secrets: 0,
            products: Vec::new(),
            polynomials: Vec::new(),
            zeros: Vec::new(),
        }
    }

    /// Pads: one for each element heard, and one for each that is not zero.
    pub(crate) fn pads(&self) -> usize {
        self.pads
    }

    /// Secrets: elements of F that are committed to with the pads, and hide nothing.
    pub(crate) fn secrets(&self) -> usize {
        self.secrets
    }

    /// Pairs of pads whose products are needed.
    pub(crate) fn products(&self) -> &[[usize; 2]] {
        &self.products
    }

    /// How many equations there are.
    pub(crate) fn equations(&self) -> usize {
        self.zeros.len()
    }

    /// The next message, a root.
    pub(crate) fn root(&mut self, label: &str) -> Result<Root, Error> {
        match &mut self.from {
            From::Proof(source) => read_root(source, label),
            _ => Ok(Root([0; 32])),
        }
    }

    /// The proof that is read.
    pub(crate) fn source(&mut self) -> Option<&mut Source<'p>> {
        match &mut self.from {
            From::Proof(source) => Some(source),
            _ => None,
        }
    }

    /// The proof, after its last equation.
    pub(crate) fn into_source(self) -> Option<Source<'p>> {
        match self.from {
            From::Proof(source) => Some(source),
            _ => None,
        }
    }

    /// Makes sure that there is room for more messages or secrets.
    fn room(&self, n: usize) -> Result<(), Error> {
        if (self.pads + self.secrets).saturating_add(n) > MAX_PADS {
            return Err(Error::Unsupported(format!(
                "hiding takes more than {MAX_PADS} messages, which is the most that one proof has"
            )));
        }
        Ok(())
    }

    /// The next `rows.len() * width` secrets, a matrix row by row: of each row the sum with these weights, whose number is
    /// its width.
    pub(crate) fn secret_rows(&mut self, rows: usize, weights: &[E]) -> Result<Vec<u32>, Error> {
        let n = rows.saturating_mul(weights.len());
        self.room(n)?;
        let first = self.secrets as u32;
        self.secrets += n;
        let width = weights.len() as u32;
        Ok((0..rows as u32)
            .map(|row| {
                let start = first + row * width;
                let secrets = (start..start + width).map(Part::Secret);
                self.push(E::ZERO, weights.iter().copied().zip(secrets))
            })
            .collect())
    }

    /// The polynomial with these coefficients, constant first.
    pub(crate) fn polynomial(&mut self, coefficients: Vec<u32>) -> Polynomial {
        self.polynomials.push(Coefficients {
            elements: coefficients,
            before: self.elements.len(),
        });
        Polynomial((self.polynomials.len() - 1) as u32)
    }

    /// Claims that a polynomial has this value at a place.
    pub(crate) fn value_at(&mut self, polynomial: Polynomial, place: F, value: E) {
        let difference = self.push(-value, [(E::ONE, Part::Value(polynomial, place))]);
        self.zeros.push(difference);
    }

    /// What is shown in the clear next: read from a proof, taken from a script, or `count` positions with `width` elements
    /// each, where nothing is known.
    pub(crate) fn shown(
        &mut self,
        (count, width): (usize, usize),
        read: impl FnOnce(&mut Source<'p>) -> Result<Shown, Error>,
    ) -> Result<Shown, Error> {
        match &mut self.from {
            From::Nothing => Ok(Shown {
                positions: vec![0; count],
                elements: vec![F::ZERO; count * width],
            }),
            From::Proof(source) => read(source),
            #[cfg(feature = "prover")]
            From::Script(script, ..) => Ok(script.shown.pop_front().unwrap_or_default()),
        }
    }

    /// All equations, the i-th times `tau^(i + 1)`, in terms of pads and products.
    pub(crate) fn compile(&self, tau: E) -> Combined {
        let mut weights = vec![E::ZERO; self.elements.len()];
        let mut power = E::ONE;
        for &zero in &self.zeros {
            power *= tau;
            weights[zero as usize] += power;
        }
        let mut combined = Combined {
            constant: E::ZERO,
            pads: vec![E::ZERO; self.pads],
            products: vec![E::ZERO; self.products.len()],
            secrets: vec![E::ZERO; self.secrets],
        };
        // What each polynomial's values count. Once all of them are known, so is what its coefficients do.
        let mut values: Vec<Vec<(F, E)>> = vec![Vec::new(); self.polynomials.len()];
        let mut ends = (0..self.polynomials.len()).rev().peekable();
        // Each element follows from earlier ones only.
        for (i, element) in self.elements.iter().enumerate().rev() {
            while let Some(p) = ends.next_if(|&p| i < self.polynomials[p].before) {
                let elements = &self.polynomials[p].elements;
                for (&j, sum) in elements.iter().zip(power_sums(&values[p], elements.len())) {
                    weights[j as usize] += sum;
                }
            }
            let weight = weights[i];
            if weight == E::ZERO {
                continue;
            }
            combined.constant += weight * element.constant;
            for &(c, part) in &self.parts[element.parts.clone()] {
                let to = match part {
                    Part::Element(j) => &mut weights[j as usize],
                    Part::Pad(j) => &mut combined.pads[j as usize],
                    Part::Product(j) => &mut combined.products[j as usize],
                    Part::Secret(j) => &mut combined.secrets[j as usize],
                    Part::Value(polynomial, place) => {
                        values[polynomial.0 as usize].push((place, weight * c));
                        continue;
                    }
                };
                *to += weight * c;
            }
        }
        combined
    }

    fn push(&mut self, constant: E, parts: impl IntoIterator<Item = (E, Part)>) -> u32 {
        let start = self.parts.len();
        self.parts.extend(parts);
        self.elements.push(Element {
            constant,
            parts: start..self.parts.len(),
        });
        (self.elements.len() - 1) as u32
    }

    /// An element as it was heard: a constant, and a pad with a sign.
    fn heard(&self, v: u32) -> (E, E, u32) {
        let element = &self.elements[v as usize];
        match self.parts[element.parts.clone()] {
            [(sign, Part::Pad(pad))] => (element.constant, sign, pad),
            _ => unreachable!("only elements that were heard are multiplied"),
        }
    }
}

impl Checks for Tape<'_> {
    type V = u32;

    fn hear(&mut self, label: &str, n: usize) -> Result<Vec<u32>, Error> {
        self.room(n)?;
        let padded = self.clear(label, n)?;
        Ok(padded
            .into_iter()
            .map(|e| {
                let pad = self.pads as u32;
                self.pads += 1;
                self.push(e, [(-E::ONE, Part::Pad(pad))])
            })
            .collect())
    }

    fn clear(&mut self, label: &str, n: usize) -> Result<Vec<E>, Error> {
        match &mut self.from {
            From::Nothing => Ok(vec![E::ZERO; n]),
            From::Proof(source) => source.receive(label, n),
            #[cfg(feature = "prover")]
            From::Script(script, at, _) => {
                *at += n;
                Ok(script.sent[*at - n..*at].to_vec())
            }
        }
    }

    fn challenge(&mut self) -> E {
        match &mut self.from {
            From::Nothing => E::ONE,
            From::Proof(source) => source.transcript.challenge(),
            #[cfg(feature = "prover")]
            From::Script(script, _, at) => {
                *at += 1;
                script.drawn[*at - 1]
            }
        }
    }

    fn known(&mut self, value: E) -> u32 {
        self.push(value, [])
    }

    fn sum(&mut self, constant: E, terms: &[(E, u32)]) -> u32 {
        let parts = terms.iter().map(|&(c, v)| (c, Part::Element(v)));
        self.push(constant, parts)
    }

    fn product(&mut self, a: u32, b: u32) -> u32 {
        let ((ka, sa, pa), (kb, sb, pb)) = (self.heard(a), self.heard(b));
        let product = self.products.len() as u32;
        self.products.push([pa as usize, pb as usize]);
        self.push(
            ka * kb,
            [
                (ka * sb, Part::Pad(pb)),
                (kb * sa, Part::Pad(pa)),
                (sa * sb, Part::Product(product)),
            ],
        )
    }

    fn zero(&mut self, v: u32, _: &'static str) -> Result<(), Error> {
        self.zeros.push(v);
        Ok(())
    }

    fn nonzero(&mut self, v: u32, what: &'static str) -> Result<(), Error> {
        // A pad that hides no message scales the element; the product is shown.
        let pad = self.pads as u32;
        self.pads += 1;
        let scale = self.push(E::ZERO, [(E::ONE, Part::Pad(pad))]);
        let scaled = self.clear("scaled", 1)?[0];
        if scaled == E::ZERO && matches!(self.from, From::Proof(_)) {
            return Err(Error::Check(what));
        }
        let product = self.product(v, scale);
        let difference = self.sum(-scaled, &[(E::ONE, product)]);
        self.zero(difference, what)
    }
}
