//! What a dishonest prover of the tests can change, and what is seen of a proof while it is made. All of it belongs to
//! the thread of one test.

use crate::field::{E, F};
use p3_field::PrimeCharacteristicRing;
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

#[derive(Default)]
struct State {
    events: Vec<Event>,
    messages: usize,
    lie: Option<Lie>,
    spoil: Option<Spoil>,
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
            ..State::default()
        }
    });
}

/// Ends the lies. Returns what was seen.
pub(crate) fn finish() -> Vec<Event> {
    STATE.with_borrow_mut(|s| std::mem::take(s).events)
}

pub(crate) fn drawn(challenge: E) {
    STATE.with_borrow_mut(|s| s.events.push(Event::Drawn(challenge)));
}

/// Notes a message; says what is changed in it.
fn note(state: &mut State, label: &str, len: usize) -> Option<Lie> {
    state.events.push(Event::Sent(label.into(), len));
    state.messages += 1;
    state
        .lie
        .filter(|l| l.message + 1 == state.messages && l.at < len)
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
