//! What a dishonest prover of the tests can change, and what is seen of a proof while it is made. All of it belongs to
//! the thread of one test.

use crate::{
    field::{DEGREE, E, F},
    hide::random::Purpose,
};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};
use std::cell::RefCell;

/// What happened in a proof, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// A message, with how many elements or bytes it has.
    Sent(String, usize),
    /// A challenge.
    Drawn(E),
}

/// A lie: element (or byte) `at` of message number `message` is another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lie {
    pub(crate) message: usize,
    pub(crate) at: usize,
    pub(crate) by: E,
    /// Another element of the message that moves too.
    pub(crate) also: Option<(usize, E)>,
}

/// Changes the committed polynomial.
pub(crate) type Spoil = Box<dyn Fn(&mut [F])>;

/// What makes proofs repeatable, and what spoils them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stage {
    /// Challenges, and positions, are drawn from this seed instead of the transcript.
    pub(crate) challenges: Option<u64>,
    /// The operating system's randomness.
    pub(crate) seed: Option<[u8; 32]>,
    /// Randomness that is not there: zeros instead.
    pub(crate) silent: Option<Purpose>,
    /// What the mask of the sum of equations adds up to (over every 128th coefficient), instead of zero.
    pub(crate) offset: Option<E>,
    /// Few constants are hidden as many would be: with a fold that is committed to.
    pub(crate) committed: bool,
    /// Of a key's commitments only the one for its first proof is made; the other roots are made up.
    pub(crate) few: bool,
}

#[derive(Default)]
struct State {
    stage: Stage,
    /// State of the generator of challenges.
    drawn: u64,
    /// Every element that was sent, and every element of a leaf, message by message.
    said: Vec<(String, Vec<F>)>,
    missing: E,
    /// How many elements were drawn for what.
    taken: Vec<(Purpose, usize)>,
    events: Vec<Event>,
    messages: usize,
    lie: Option<Lie>,
    /// The lie was told: its message was that long.
    told: bool,
    spoil: Option<Spoil>,
    spoil_rows: Option<Spoil>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// Forgets what was seen, and sets the lies of the next proof.
pub(crate) fn start(lie: Option<Lie>, spoil: Option<Spoil>) {
    STATE.with_borrow_mut(|s| {
        *s = State {
            lie,
            spoil,
            stage: s.stage,
            drawn: s.drawn,
            ..State::default()
        }
    });
}

/// Sets the stage of the next proof or verification.
pub(crate) fn set(stage: Stage) {
    STATE.with_borrow_mut(|s| {
        s.stage = stage;
        s.drawn = stage.challenges.unwrap_or_default();
        s.said.clear();
        s.taken.clear();
    });
}

pub(crate) fn stage() -> Stage {
    STATE.with_borrow(|s| s.stage)
}

/// The next word of the programmed challenges, if they are programmed (SplitMix64).
pub(crate) fn programmed() -> Option<u64> {
    STATE.with_borrow_mut(|s| {
        s.stage.challenges?;
        s.drawn = s.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (s.drawn ^ (s.drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(z ^ (z >> 31))
    })
}

/// The next programmed challenge.
pub(crate) fn challenge() -> Option<E> {
    let mut words = [0; DEGREE];
    for word in &mut words {
        *word = programmed()?;
    }
    // Off by less than 2^-32 from uniform.
    Some(E::from_basis_coefficients_fn(|i| {
        F::from_u64(words[i] >> 1)
    }))
}

/// Notes elements that were sent.
pub(crate) fn said(label: &str, elements: impl FnOnce() -> Vec<F>) {
    STATE.with_borrow_mut(|s| {
        if s.stage.challenges.is_some() {
            s.said.push((label.into(), elements()));
        }
    });
}

/// Notes elements that a prover drew.
pub(crate) fn took(purpose: Purpose, elements: usize) {
    STATE.with_borrow_mut(|s| match s.taken.iter_mut().find(|t| t.0 == purpose) {
        Some((_, taken)) => *taken += elements,
        None => s.taken.push((purpose, elements)),
    });
}

/// How many elements were drawn for a purpose since the stage was set.
pub(crate) fn taken(purpose: Purpose) -> usize {
    STATE.with_borrow(|s| (s.taken.iter().find(|t| t.0 == purpose)).map_or(0, |t| t.1))
}

/// What was said since the stage was set.
pub(crate) fn heard() -> Vec<(String, Vec<F>)> {
    STATE.with_borrow_mut(|s| std::mem::take(&mut s.said))
}

/// Ends the lies. Returns what was seen.
pub(crate) fn finish() -> Vec<Event> {
    STATE.with_borrow_mut(|s| {
        (s.lie, s.spoil) = (None, None);
        std::mem::take(&mut s.events)
    })
}

pub(crate) fn drawn(challenge: E) {
    STATE.with_borrow_mut(|s| s.events.push(Event::Drawn(challenge)));
}

/// Notes a message; says what is changed in it.
fn note(state: &mut State, label: &str, len: usize) -> Option<Lie> {
    state.events.push(Event::Sent(label.into(), len));
    state.messages += 1;
    let lie = (state.lie).filter(|l| l.message + 1 == state.messages && l.at < len);
    state.told |= lie.is_some();
    lie
}

/// Whether the last proof had its lie in it.
pub(crate) fn told() -> bool {
    STATE.with_borrow(|s| s.told)
}

pub(crate) fn sent(label: &str, elements: &[E]) -> Vec<E> {
    STATE.with_borrow_mut(|s| {
        let mut out = elements.to_vec();
        if let Some(lie) = note(s, label, out.len()) {
            out[lie.at] += lie.by;
            if let Some((at, by)) = lie.also {
                out[at] += by;
            }
        }
        out
    })
}

pub(crate) fn sent_bytes(label: &str, data: &[u8]) -> Vec<u8> {
    STATE.with_borrow_mut(|s| {
        let mut out = data.to_vec();
        if let Some(lie) = note(s, label, out.len()) {
            out[lie.at] ^= if lie.by == E::ONE { 1 } else { 128 };
        }
        out
    })
}

pub(crate) fn committed(mut polynomial: Vec<F>) -> Vec<F> {
    STATE.with_borrow(|s| {
        if let Some(spoil) = &s.spoil {
            spoil(&mut polynomial);
        }
    });
    polynomial
}

/// Changes the rows of every table of inputs and outputs from now on, but not the leaves of its commitment.
pub(crate) fn spoil_rows(spoil: Option<Spoil>) {
    STATE.with_borrow_mut(|s| s.spoil_rows = spoil);
}

pub(crate) fn rows(mut rows: Vec<F>) -> Vec<F> {
    STATE.with_borrow(|s| {
        if let Some(spoil) = &s.spoil_rows {
            spoil(&mut rows);
        }
    });
    rows
}

/// What the sum of all equations lacks to be what it should be, in units of its mask's first coefficient.
pub(crate) fn note_missing(missing: E) {
    STATE.with_borrow_mut(|s| s.missing = missing);
}

pub(crate) fn missing() -> E {
    STATE.with_borrow(|s| s.missing)
}
