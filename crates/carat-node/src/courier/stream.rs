//! A streamed answer: each event is looked at, passed on as it is, and counted among the chunks of the receipt.
//!
//! The event that ends the stream is held back until the receipt is durable. Whatever cuts the stream before that, what was passed
//! on gets a receipt that says so.

use std::sync::Arc;

use carat_receipt::Label;
use carat_receipt::courier::{Ending, MAX_CHUNKS, Tokens};
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::fault::CourierFault;
use super::passed;
use super::sse::{self, Event, Splitter};
use super::upstream::{Offer, Upstream};
use super::whole::said_error;
use crate::outbound::{Exchange, Fault};

/// What was received, and what of it was passed on.
#[derive(Debug, Default)]
pub struct Tape {
    /// Bytes from the upstream, up to the end of the last event that was looked at.
    pub received: Vec<u8>,
    /// Bytes for the caller.
    pub output: Vec<u8>,
    /// Lengths of the events for the caller.
    pub chunks: Vec<u64>,
    /// The model that the events named.
    pub reported: Option<Label>,
    /// What the upstream claims to have used.
    pub tokens: Option<Tokens>,
}

/// An upstream's stream.
pub struct Stream {
    upstream: Arc<Upstream>,
    offer: Offer,
    exchange: Exchange,
    splitter: Splitter,
    tape: Tape,
    /// A name was accepted, or marked: later events need not repeat it.
    named: bool,
}

/// An event that may be passed on.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// One of many.
    Event(Vec<u8>),
    /// The last.
    Done(Vec<u8>),
}

impl Stream {
    /// A stream whose head is there.
    pub fn new(upstream: Arc<Upstream>, offer: Offer, exchange: Exchange) -> Self {
        Self {
            upstream,
            offer,
            exchange,
            splitter: Splitter::default(),
            tape: Tape::default(),
            named: false,
        }
    }

    /// The next event, looked at and not passed on yet.
    ///
    /// # Errors
    /// Whatever ends the stream early.
    pub async fn next(&mut self) -> Result<Next, CourierFault> {
        loop {
            if let Some(event) = self.splitter.next_event() {
                return self.look(event);
            }
            if self.splitter.held() > self.upstream.event_bytes {
                let fault = Fault::TooLarge(self.upstream.event_bytes);
                return Err(self.upstream.outbound(fault));
            }
            let piece = self.exchange.next().await;
            match piece.map_err(|fault| self.upstream.outbound(fault))? {
                Some(piece) => {
                    self.tape.received.extend_from_slice(&piece);
                    self.splitter.push(&piece);
                }
                // Without `[DONE]` nobody knows whether this is all.
                None => return Err(self.upstream.outbound(Fault::Cut)),
            }
        }
    }

    fn look(&mut self, event: Vec<u8>) -> Result<Next, CourierFault> {
        if event.len() > self.upstream.event_bytes {
            return Err(self
                .upstream
                .outbound(Fault::TooLarge(self.upstream.event_bytes)));
        }
        if self.tape.chunks.len() >= MAX_CHUNKS {
            return Err(self.upstream.outbound(Fault::TooLarge(MAX_CHUNKS)));
        }
        self.upstream.withhold(&event)?;
        match sse::read(&event).map_err(|why| self.upstream.garbled(why))? {
            Event::Quiet => Ok(Next::Event(event)),
            Event::Done if self.named => {
                // What comes after its end is no part of it.
                let rest = self.splitter.held();
                let all = self.tape.received.len();
                self.tape.received.truncate(all.saturating_sub(rest));
                Ok(Next::Done(event))
            }
            Event::Done => Err(self.upstream.garbled("it ended without an answer")),
            Event::Data(data) => {
                if let Some(error) = data.get("error").filter(|error| !error.is_null()) {
                    return Err(said_error(&self.upstream, error));
                }
                let named = data.get("model").and_then(|model| model.as_str());
                if named.is_some() || !self.named {
                    let reported = self.upstream.named(&self.offer, named)?;
                    self.report(reported);
                    self.named = true;
                }
                if let Some(tokens) = data.get("usage").and_then(passed::tokens) {
                    self.tape.tokens = Some(tokens);
                }
                Ok(Next::Event(event))
            }
        }
    }

    /// The name that the receipt gives: one that is not the model's stays, whatever later events say.
    fn report(&mut self, reported: Option<Label>) {
        let suspect = |name: &Option<Label>| {
            name.as_ref()
                .is_some_and(|name| !self.offer.accepts(name.as_str()))
        };
        if self.tape.reported.is_none() || (suspect(&reported) && !suspect(&self.tape.reported)) {
            self.tape.reported = reported;
        }
    }

    /// Counts an event among those that were passed on.
    pub fn passed(&mut self, event: &[u8]) {
        self.tape.output.extend_from_slice(event);
        self.tape.chunks.push(event.len() as u64);
    }

    /// Passes events on until the last, which is given back, or until the stream is cut.
    pub async fn pump(
        &mut self,
        first: Next,
        caller: &mpsc::Sender<Vec<u8>>,
    ) -> (Ending, Option<Vec<u8>>) {
        let mut next = first;
        loop {
            let event = match next {
                Next::Done(event) => return (Ending::Complete, Some(event)),
                Next::Event(event) => event,
            };
            let deadline = self.exchange.deadline();
            match timeout_at(deadline, caller.send(event.clone())).await {
                Ok(Ok(())) => self.passed(&event),
                Ok(Err(_)) | Err(_) => return (Ending::CallerLeft, None),
            }
            // A caller that left is noticed while the upstream is slow, so that the upstream can stop too.
            let found = tokio::select! {
                found = self.next() => found,
                () = caller.closed() => return (Ending::CallerLeft, None),
            };
            match found {
                Ok(found) => next = found,
                Err(fault) => {
                    tracing::warn!(upstream = %self.upstream.name, code = fault.code(), "a stream was cut: {fault}");
                    return (fault.ending(), None);
                }
            }
        }
    }

    /// What was received and passed on. The connection to the upstream ends.
    pub fn tape(self) -> Tape {
        self.tape
    }
}
