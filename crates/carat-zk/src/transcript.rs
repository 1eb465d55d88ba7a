//! The Fiat-Shamir transcript, and the two ends of a proof: [`Sink`] for the prover, [`Source`] for the verifier.
//!
//! Every message of the prover passes through one sink, which absorbs it before anything else can be drawn; the
//! verifier's source absorbs exactly what it reads. Neither knows shapes: the caller says how much comes next, from the
//! Program, so a proof is a plain sequence of values without lengths of its own.

use crate::{
    Error,
    chain::Chain,
    field::{DEGREE, E, E_BYTES, F, F_BYTES, read_f, write},
};
use alloc::vec::Vec;
use p3_challenger::{CanObserve, CanSample, SerializingChallenger32};
use p3_field::{BasedVectorSpace, PrimeField32};

#[cfg(feature = "prover")]
use crate::pcs::leaves::Shown;
#[cfg(feature = "prover")]
use alloc::collections::VecDeque;

/// The hash chain under the transcript: BLAKE3 over everything absorbed since the last draw, chained.
pub type Challenger = SerializingChallenger32<F, Chain>;

/// A transcript. Challenges depend on everything absorbed before them, with the label under which it was absorbed.
#[derive(Clone, Debug)]
pub struct Transcript {
    challenger: Challenger,
    /// Challenges drawn so far, where a prover keeps them.
    #[cfg(feature = "prover")]
    drawn: Option<Vec<E>>,
}

impl Transcript {
    /// A transcript for one protocol, named by `domain`.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        let mut t = Self {
            challenger: Challenger::new(Chain::new()),
            #[cfg(feature = "prover")]
            drawn: None,
        };
        t.bytes("protocol", domain.as_bytes());
        t
    }

    /// Absorbs bytes: label length, label, data length (8 bytes, little-endian), data.
    pub fn bytes(&mut self, label: &str, data: &[u8]) {
        let mut framed = Vec::with_capacity(label.len() + data.len() + 9);
        framed.push(label.len() as u8);
        framed.extend_from_slice(label.as_bytes());
        framed.extend_from_slice(&(data.len() as u64).to_le_bytes());
        framed.extend_from_slice(data);
        let (pieces, rest) = framed.as_chunks::<PIECE>();
        for piece in pieces {
            self.challenger.observe_piece(*piece);
        }
        for &byte in rest {
            self.challenger.observe_piece([byte]);
        }
    }

    /// Absorbs elements in their wire form.
    pub fn elements(&mut self, label: &str, elements: &[E]) {
        let mut bytes = Vec::with_capacity(elements.len() * E_BYTES);
        write(elements, &mut bytes);
        self.bytes(label, &bytes);
    }

    /// A transcript that goes on by itself from here, for a part that nothing else depends on.
    #[must_use]
    pub(crate) fn fork(&self, part: &str) -> Self {
        let mut fork = self.clone();
        fork.bytes("part", part.as_bytes());
        fork
    }

    /// Elements that follow from what was absorbed, and that no verifier draws.
    pub(crate) fn derived(mut self, n: usize) -> Vec<E> {
        (0..n).map(|_| self.challenger.sample()).collect()
    }

    /// Draws an element of [`E`], uniform.
    pub fn challenge(&mut self) -> E {
        #[cfg(feature = "prover")]
        crate::aside::give_way();
        let drawn = self.challenger.sample();
        #[cfg(all(test, feature = "prover"))]
        let drawn = crate::tests::hooks::challenge().unwrap_or(drawn);
        #[cfg(feature = "prover")]
        if let Some(all) = &mut self.drawn {
            all.push(drawn);
        }
        #[cfg(all(test, feature = "prover"))]
        crate::tests::hooks::drawn(drawn);
        drawn
    }

    /// Draws `n` elements.
    pub fn point(&mut self, n: usize) -> Vec<E> {
        (0..n).map(|_| self.challenge()).collect()
    }

    /// The hash chain itself, for the polynomial commitment, which frames its own messages.
    pub fn challenger(&mut self) -> &mut Challenger {
        &mut self.challenger
    }
}

/// Bytes that enter the chain at once where there are many.
const PIECE: usize = 64;

/// Bytes enter the chain as they are.
trait ObservePiece {
    fn observe_piece<const N: usize>(&mut self, piece: [u8; N]);
}

impl ObservePiece for Challenger {
    fn observe_piece<const N: usize>(&mut self, piece: [u8; N]) {
        // The chain takes bytes through digests of any length, and adds no framing; the framing is ours.
        let digest: p3_symmetric::Hash<F, u8, N> = piece.into();
        self.observe(digest);
    }
}

/// The wire form of base field elements.
fn bytes_of(elements: &[F]) -> Vec<u8> {
    elements
        .iter()
        .flat_map(|v| v.as_canonical_u32().to_le_bytes())
        .collect()
}

/// Where every message of the prover goes.
#[derive(Debug)]
pub struct Sink {
    /// The transcript.
    pub transcript: Transcript,
    proof: Vec<u8>,
    #[cfg(feature = "prover")]
    pads: Option<Pads>,
}

/// What hides the elements that a prover sends: one pad for each, in their order.
#[cfg(feature = "prover")]
#[derive(Debug)]
struct Pads {
    all: Vec<E>,
    used: usize,
    /// What was sent, under pads and in the clear.
    sent: Vec<E>,
    /// Leaves that equations are about.
    shown: VecDeque<Shown>,
}

#[cfg(feature = "prover")]
impl Pads {
    /// The next pad, which is not used again.
    fn next(&mut self) -> E {
        let pad = self.all[self.used];
        self.used += 1;
        pad
    }
}

/// What was said in the part of a proof whose messages are hidden.
#[cfg(feature = "prover")]
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Elements, as they were sent.
    pub(crate) sent: Vec<E>,
    /// Challenges.
    pub(crate) drawn: Vec<E>,
    /// Leaves that were shown, and which equations are about.
    pub(crate) shown: VecDeque<Shown>,
}

impl Sink {
    /// A sink that starts from a transcript which holds the statement.
    #[must_use]
    pub fn new(transcript: Transcript) -> Self {
        Self {
            transcript,
            proof: Vec::new(),
            #[cfg(feature = "prover")]
            pads: None,
        }
    }

    /// A sink for a part that nothing else depends on, whose bytes are [`Sink::append`]ed.
    #[cfg(feature = "prover")]
    pub(crate) fn fork(&self, part: &str) -> Self {
        Self::new(self.transcript.fork(part))
    }

    /// From now on elements are sent under these pads.
    #[cfg(feature = "prover")]
    pub(crate) fn hide(&mut self, pads: Vec<E>) {
        self.transcript.drawn = Some(Vec::new());
        self.pads = Some(Pads {
            all: pads,
            used: 0,
            sent: Vec::new(),
            shown: VecDeque::new(),
        });
    }

    /// Ends the part in which messages are hidden: what was said in it, and the pads that were used.
    #[cfg(feature = "prover")]
    pub(crate) fn unhide(&mut self) -> (Script, Vec<E>) {
        let script = |pads: &mut Pads, drawn| Script {
            sent: core::mem::take(&mut pads.sent),
            drawn,
            shown: core::mem::take(&mut pads.shown),
        };
        let drawn = self.transcript.drawn.take().unwrap_or_default();
        match self.pads.take() {
            Some(mut pads) => {
                debug_assert_eq!(pads.used, pads.all.len());
                (script(&mut pads, drawn), pads.all)
            }
            None => (Script::default(), Vec::new()),
        }
    }

    /// A part whose messages say nothing that has to be hidden, and which no equation is about.
    #[cfg(feature = "prover")]
    pub(crate) fn aside<T>(&mut self, part: impl FnOnce(&mut Self) -> T) -> T {
        let (pads, drawn) = (self.pads.take(), self.transcript.drawn.take());
        let result = part(self);
        (self.pads, self.transcript.drawn) = (pads, drawn);
        result
    }

    /// Keeps leaves that were shown aside, for the equations about them.
    #[cfg(feature = "prover")]
    pub(crate) fn note(&mut self, shown: Shown) {
        if let Some(pads) = &mut self.pads {
            pads.shown.push_back(shown);
        }
    }

    /// Sends field elements, under pads where messages are hidden.
    pub fn send(&mut self, label: &str, elements: &[E]) {
        #[cfg(all(test, feature = "prover"))]
        let elements = &crate::tests::hooks::sent(label, elements)[..];
        #[cfg(feature = "prover")]
        let padded: Vec<E>;
        #[cfg(feature = "prover")]
        let elements = match &mut self.pads {
            None => elements,
            Some(pads) => {
                padded = elements.iter().map(|&e| e + pads.next()).collect();
                pads.sent.extend_from_slice(&padded);
                &padded[..]
            }
        };
        self.put(label, elements);
    }

    /// Sends field elements that may be known in every mode.
    pub fn send_clear(&mut self, label: &str, elements: &[E]) {
        #[cfg(all(test, feature = "prover"))]
        let elements = &crate::tests::hooks::sent(label, elements)[..];
        #[cfg(feature = "prover")]
        if let Some(pads) = &mut self.pads {
            pads.sent.extend_from_slice(elements);
        }
        self.put(label, elements);
    }

    /// Sends an element that must not be zero. Where messages are hidden, its product with a pad shows that.
    #[cfg(feature = "prover")]
    pub(crate) fn send_nonzero(&mut self, label: &str, element: E) {
        self.send(label, &[element]);
        if let Some(pads) = &mut self.pads {
            let scale = pads.next();
            self.send_clear("scaled", &[element * scale]);
        }
    }

    fn put(&mut self, label: &str, elements: &[E]) {
        #[cfg(all(test, feature = "prover"))]
        crate::tests::hooks::said(label, || {
            let slices = |e: &E| crate::hide::code::slices(e).to_vec();
            elements.iter().flat_map(slices).collect()
        });
        self.transcript.elements(label, elements);
        write(elements, &mut self.proof);
    }

    /// Sends bytes, such as a root.
    pub fn send_bytes(&mut self, label: &str, data: &[u8]) {
        #[cfg(all(test, feature = "prover"))]
        let data = &crate::tests::hooks::sent_bytes(label, data)[..];
        self.transcript.bytes(label, data);
        self.proof.extend_from_slice(data);
    }

    /// Sends base field elements.
    pub fn send_f(&mut self, label: &str, elements: &[F]) {
        #[cfg(all(test, feature = "prover"))]
        crate::tests::hooks::said(label, || elements.to_vec());
        self.send_bytes(label, &bytes_of(elements));
    }

    /// Appends base field elements that the polynomial commitment has already absorbed in its own framing.
    #[cfg(feature = "prover")]
    pub(crate) fn append_f(&mut self, elements: &[F]) {
        self.proof.extend_from_slice(&bytes_of(elements));
    }

    /// Appends bytes that the polynomial commitment has already absorbed in its own framing.
    pub fn append(&mut self, data: &[u8]) {
        self.proof.extend_from_slice(data);
    }

    /// The proof.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.proof
    }
}

/// Where the verifier reads the prover's messages from.
#[derive(Debug)]
pub struct Source<'a> {
    /// The transcript.
    pub transcript: Transcript,
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    /// A source over a whole proof.
    #[must_use]
    pub fn new(transcript: Transcript, proof: &'a [u8]) -> Self {
        Self {
            transcript,
            rest: proof,
        }
    }

    /// The next bytes, not absorbed.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// The next base field elements, not absorbed.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::NotCanonical`].
    pub fn take_f(&mut self, n: usize) -> Result<Vec<F>, Error> {
        let bytes = self.take(n.checked_mul(F_BYTES).ok_or(Error::Truncated)?)?;
        bytes
            .chunks_exact(F_BYTES)
            .map(|b| read_f([b[0], b[1], b[2], b[3]]).ok_or(Error::NotCanonical))
            .collect()
    }

    /// The next elements, not absorbed.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::NotCanonical`].
    pub fn take_e(&mut self, n: usize) -> Result<Vec<E>, Error> {
        let flat = self.take_f(n.checked_mul(DEGREE).ok_or(Error::Truncated)?)?;
        Ok(flat
            .chunks_exact(DEGREE)
            .map(|c| E::from_basis_coefficients_fn(|i| c[i]))
            .collect())
    }

    /// The next elements, absorbed.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::NotCanonical`].
    pub fn receive(&mut self, label: &str, n: usize) -> Result<Vec<E>, Error> {
        let elements = self.take_e(n)?;
        self.transcript.elements(label, &elements);
        Ok(elements)
    }

    /// The next bytes, absorbed.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn receive_bytes(&mut self, label: &str, n: usize) -> Result<&'a [u8], Error> {
        let data = self.take(n)?;
        self.transcript.bytes(label, data);
        Ok(data)
    }

    /// The next base field elements, absorbed.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::NotCanonical`].
    pub fn receive_f(&mut self, label: &str, n: usize) -> Result<Vec<F>, Error> {
        let elements = self.take_f(n)?;
        self.transcript.bytes(label, &bytes_of(&elements));
        Ok(elements)
    }

    /// The next bytes, neither read nor absorbed.
    pub(crate) fn peek(&self, n: usize) -> Result<&'a [u8], Error> {
        self.rest.get(..n).ok_or(Error::Truncated)
    }

    /// Bytes left to read.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Ends the proof.
    ///
    /// # Errors
    /// [`Error::Trailing`] if anything is left.
    pub fn finish(self) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::Trailing)
        }
    }
}
