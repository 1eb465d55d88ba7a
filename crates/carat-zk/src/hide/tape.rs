//! Equations about messages under pads, written down in the order in which the verifier of the succinct mode would look at
//! them.
//!
//! A message m is sent as m + pad. So every element of the argument is an affine function of pads, and of products of two
//! pads where the argument multiplies two messages. The tape keeps how each follows from earlier ones; [`Tape::compile`]
//! combines all equations with powers of one challenge and runs the tape backwards, so that what each pad counts for takes
//! time linear in the length of the argument.

use crate::{Error, checks::Checks, field::E, pcs::Root, transcript::Source, verify::read_root};
use alloc::{format, vec, vec::Vec};
use core::ops::Range;
use p3_field::PrimeCharacteristicRing;

#[cfg(feature = "prover")]
use crate::transcript::Script;

/// Most messages of one proof. What a verifier keeps of each is some hundred times what a Program pays for it, so that a
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

/// What an element follows from.
#[derive(Debug, Clone, Copy)]
enum Part {
    Element(u32),
    Pad(u32),
    Product(u32),
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
    /// Pairs of pads whose products are needed.
    products: Vec<[usize; 2]>,
    /// Elements that are zero.
    zeros: Vec<u32>,
}

/// All equations in one: `constant + sum pads_i pad_i + sum products_j product_j = 0`.
#[derive(Debug)]
pub(crate) struct Combined {
    pub(crate) constant: E,
    pub(crate) pads: Vec<E>,
    pub(crate) products: Vec<E>,
}

impl<'p> Tape<'p> {
    pub(crate) fn new(from: From<'p>) -> Self {
        Self {
            from,
            elements: Vec::new(),
            parts: Vec::new(),
            pads: 0,
            products: Vec::new(),
            zeros: Vec::new(),
        }
    }

    /// Pads: one for each element heard, and one for each that is not zero.
    pub(crate) fn pads(&self) -> usize {
        self.pads
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
        };
        // Each element follows from earlier ones only.
        for (i, element) in self.elements.iter().enumerate().rev() {
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
        if self.pads.saturating_add(n) > MAX_PADS {
            return Err(Error::Unsupported(format!(
                "hiding takes more than {MAX_PADS} messages, which is the most that one proof has"
            )));
        }
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
