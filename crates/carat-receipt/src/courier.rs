//! What a courier says of an answer that it passed on: the claims, and the leaves of a streamed answer.
//!
//! A courier ran nothing. Its Statement names no Program but the model of an upstream service, by [`identity`], and commits to
//! four byte strings: what the caller sent (`input`), what went to the upstream (`sent`), what came back (`received`) and what
//! the caller was given (`output`).

use alloc::format;
use alloc::vec::Vec;

use crate::cbor::{DecodeError, MapWriter, Reader, Writer};
use crate::statement::{Execution, Optional};
use crate::{Digest, Label, Opened, Salt, domain};

/// Numerics profile of a courier's Statements: it computes nothing.
pub const NUMERICS: &str = "courier/v1";
/// Model version of a courier's Statements: an upstream's name for a model is all that is known.
pub const UNVERSIONED: &str = "unversioned";
/// Most chunks of a stream.
pub const MAX_CHUNKS: usize = 1 << 20;

/// What a courier says of an answer that it passed on. Present only where the execution is `courier`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Courier {
    /// The interface that was asked, such as `/v1/chat/completions`.
    pub endpoint: Label,
    /// The model that the upstream was asked for, by the upstream's name for it.
    pub model: Label,
    /// The model that the upstream's answer names, where it names one.
    pub reported: Option<Label>,
    /// Salted commitment to the bytes sent to the upstream.
    pub sent: Digest,
    /// Salted commitment to the bytes received from the upstream.
    pub received: Digest,
    /// How the answer ended.
    pub ending: Ending,
    /// What the upstream claims to have used.
    pub tokens: Option<Tokens>,
}

/// How an answer ended. Anything but [`Ending::Complete`] is a stream that was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The upstream said that it was done, and everything was passed on.
    Complete,
    /// The upstream's connection ended before the stream said that it was done.
    UpstreamCut,
    /// A time limit passed.
    TimedOut,
    /// A limit on size was reached.
    TooLarge,
    /// What came was not a stream of the interface.
    Garbled,
    /// The upstream named another model than the one asked for.
    OtherModel,
    /// The caller went away.
    CallerLeft,
}

/// Tokens, as the upstream claims them. At least one field is present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tokens {
    /// Of the input.
    pub input: Option<u64>,
    /// Of the output.
    pub output: Option<u64>,
    /// Of both.
    pub total: Option<u64>,
}

/// What opens a courier's further commitments, in an [`crate::Opening`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Bytes sent to the upstream.
    pub sent: Opened,
    /// Bytes received from the upstream.
    pub received: Opened,
    /// Lengths of the chunks of a streamed output, in order. `None`: it was not streamed.
    pub chunks: Option<Vec<u64>>,
}

/// Names the model of an upstream service, where a Statement otherwise names a Program. The domain keeps the two apart.
pub fn identity(upstream: &Label, model: &Label) -> Digest {
    Digest::of(
        domain::UPSTREAM_MODEL,
        &[upstream.as_str().as_bytes(), model.as_str().as_bytes()],
    )
}

/// The salt of a chunk. It follows from the output's salt, so that whoever has the opening can show one chunk without
/// giving away what opens the others.
pub fn chunk_salt(output_salt: &Salt, index: u64) -> Salt {
    let salt = Digest::of(
        domain::STREAM_SALT,
        &[output_salt.as_bytes(), &index.to_be_bytes()],
    );
    Salt::from_bytes(*salt.as_bytes())
}

/// The leaf of a chunk in the tree of a stream (RFC 9162 section 2.1.1, over these 32 bytes).
pub fn chunk_leaf(chunk_salt: &Salt, chunk: &[u8]) -> Digest {
    Digest::of(domain::STREAM_CHUNK, &[chunk_salt.as_bytes(), chunk])
}

/// Cuts a streamed output where its chunks end. `None`: the lengths do not add up to it, or one is 0.
pub fn split<'a>(output: &'a [u8], lengths: &[u64]) -> Option<Vec<&'a [u8]>> {
    let mut rest = output;
    let mut chunks = Vec::with_capacity(lengths.len());
    for length in lengths {
        let length = usize::try_from(*length).ok().filter(|length| *length > 0)?;
        let (chunk, after) = rest.split_at_checked(length)?;
        chunks.push(chunk);
        rest = after;
    }
    rest.is_empty().then_some(chunks)
}

/// Whether `sent` is `input`, with the model's name replaced where JSON gives it: `"model": "from"` became `"model": "to"`, and
/// nothing else changed. Names stand for themselves, without escapes.
pub fn renamed(input: &[u8], sent: &[u8], (from, to): (&str, &str)) -> bool {
    if from == to {
        return input == sent;
    }
    let (from, to) = (format!("\"{from}\""), format!("\"{to}\""));
    // Everything but the names has the same length.
    let rest = input.len().checked_sub(from.len());
    if rest.is_none() || rest != sent.len().checked_sub(to.len()) {
        return false;
    }
    let same = |a: &u8, b: &u8| a == b;
    let ahead = (input.iter().zip(sent))
        .take_while(|(a, b)| same(a, b))
        .count();
    let behind = (input.iter().rev().zip(sent.iter().rev()))
        .take_while(|(a, b)| same(a, b))
        .count();
    // The names differ, so the one that is replaced begins within its own length before the first difference.
    let first = ahead.saturating_sub(from.len().max(to.len()));
    (first..=ahead).any(|at| {
        let (after, sent_after) = (at + from.len(), at + to.len());
        input.get(at..after) == Some(from.as_bytes())
            && sent.get(at..sent_after) == Some(to.as_bytes())
            && input.len() - after <= behind
            && follows_model_key(&input[..at])
    })
}

/// Whether bytes end with `"model"`, a colon, and spaces around it as JSON allows them.
fn follows_model_key(before: &[u8]) -> bool {
    let trim = |bytes: &[u8]| {
        let spaces = bytes
            .iter()
            .rev()
            .take_while(|byte| b" \t\r\n".contains(byte));
        bytes.len() - spaces.count()
    };
    let before = &before[..trim(before)];
    let Some(before) = before.strip_suffix(b":") else {
        return false;
    };
    before[..trim(before)].ends_with(b"\"model\"")
}

impl Ending {
    const ALL: [Self; 7] = [
        Self::Complete,
        Self::UpstreamCut,
        Self::TimedOut,
        Self::TooLarge,
        Self::Garbled,
        Self::OtherModel,
        Self::CallerLeft,
    ];

    fn code(self) -> u64 {
        match self {
            Self::Complete => 0,
            Self::UpstreamCut => 1,
            Self::TimedOut => 2,
            Self::TooLarge => 3,
            Self::Garbled => 4,
            Self::OtherModel => 5,
            Self::CallerLeft => 6,
        }
    }

    /// A name for programs.
    pub const fn code_name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::UpstreamCut => "upstream_cut",
            Self::TimedOut => "upstream_timeout",
            Self::TooLarge => "upstream_too_large",
            Self::Garbled => "upstream_garbled",
            Self::OtherModel => "upstream_model_mismatch",
            Self::CallerLeft => "caller_left",
        }
    }

    /// In words, to go after "the answer".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "is complete",
            Self::UpstreamCut => "was cut by the upstream",
            Self::TimedOut => "was cut at a time limit",
            Self::TooLarge => "was cut at a limit on size",
            Self::Garbled => "was cut where the upstream's stream could not be read",
            Self::OtherModel => "was cut where the upstream named another model",
            Self::CallerLeft => "was cut when the caller left",
        }
    }
}

impl Tokens {
    fn fields(&self) -> [Option<u64>; 3] {
        [self.input, self.output, self.total]
    }

    /// Whether nothing is claimed.
    pub fn is_empty(&self) -> bool {
        self.fields().iter().all(Option::is_none)
    }
}

impl Courier {
    /// The rules between these claims and the others of a Statement.
    pub(crate) fn fits(&self, program: &Digest, execution: &Execution, others: &Optional) -> bool {
        let Execution::Courier { upstream } = execution else {
            return false;
        };
        let complete = self.ending == Ending::Complete;
        let ended = match &others.stream {
            Some(stream) => stream.complete == complete,
            // An answer that was not streamed is passed on whole or not at all.
            None => complete,
        };
        // Nothing of the rungs that rest on a Program.
        let computed = others.io_commitment.is_some()
            || others.trace_root.is_some()
            || others.option_expiry.is_some();
        *program == identity(upstream, &self.model)
            && ended
            && !computed
            && self.tokens.is_none_or(|tokens| !tokens.is_empty())
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        let mut map = MapWriter::new();
        map.put(1, |w| {
            w.text(self.endpoint.as_str());
        });
        map.put(2, |w| {
            w.text(self.model.as_str());
        });
        map.put_some(3, self.reported.as_ref(), |w, reported| {
            w.text(reported.as_str());
        });
        map.put(4, |w| {
            w.bytes(self.sent.as_bytes());
        });
        map.put(5, |w| {
            w.bytes(self.received.as_bytes());
        });
        map.put(6, |w| {
            w.uint(self.ending.code());
        });
        map.put_some(7, self.tokens, |w, tokens| {
            let mut map = MapWriter::new();
            for (key, value) in (1..).zip(tokens.fields()) {
                map.put_some(key, value, |w, value| {
                    w.uint(value);
                });
            }
            map.finish(w);
        });
        map.finish(w);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "courier";
        let mut map = r.int_map(WHAT, 7)?;
        let (mut endpoint, mut model, mut reported) = (None, None, None);
        let (mut sent, mut received, mut ending, mut tokens) = (None, None, None, None);
        while let Some(key) = map.next_key(r)? {
            match key {
                1 => endpoint = Some(Label::read(r, WHAT)?),
                2 => model = Some(Label::read(r, WHAT)?),
                3 => reported = Some(Label::read(r, WHAT)?),
                4 => sent = Some(r.digest(WHAT)?),
                5 => received = Some(r.digest(WHAT)?),
                6 => {
                    let code = r.uint(WHAT)?;
                    let known = Ending::ALL.into_iter().find(|ending| ending.code() == code);
                    ending = Some(known.ok_or(DecodeError::Value {
                        what: WHAT,
                        reason: "an ending that this version does not know",
                    })?);
                }
                7 => tokens = Some(read_tokens(r)?),
                other => return Err(map.unknown(other)),
            }
        }
        Ok(Self {
            endpoint: map.require(1, endpoint)?,
            model: map.require(2, model)?,
            reported,
            sent: map.require(4, sent)?,
            received: map.require(5, received)?,
            ending: map.require(6, ending)?,
            tokens,
        })
    }
}

fn read_tokens(r: &mut Reader<'_>) -> Result<Tokens, DecodeError> {
    const WHAT: &str = "tokens";
    let mut map = r.int_map(WHAT, 3)?;
    let mut tokens = Tokens::default();
    while let Some(key) = map.next_key(r)? {
        let field = match key {
            1 => &mut tokens.input,
            2 => &mut tokens.output,
            3 => &mut tokens.total,
            other => return Err(map.unknown(other)),
        };
        *field = Some(r.uint(WHAT)?);
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_cut_an_output_and_wrong_ones_do_not() {
        let output = b"one two";
        assert_eq!(
            split(output, &[4, 3]),
            Some(alloc::vec![b"one ".as_slice(), b"two"])
        );
        assert_eq!(split(b"", &[]), Some(Vec::new()));
        for wrong in [&[4, 2][..], &[4, 4], &[7, 0], &[u64::MAX], &[]] {
            assert_eq!(split(output, wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_chunk_is_bound_to_its_place_and_its_salt() {
        let salt = Salt::from_bytes([1; 32]);
        let leaf = |index, chunk: &[u8]| chunk_leaf(&chunk_salt(&salt, index), chunk);
        assert_ne!(leaf(0, b"x"), leaf(1, b"x"));
        assert_ne!(leaf(0, b"x"), leaf(0, b"y"));
        let other = chunk_salt(&Salt::from_bytes([2; 32]), 0);
        assert_ne!(leaf(0, b"x"), chunk_leaf(&other, b"x"));
    }

    #[test]
    fn every_ending_has_a_code_of_its_own() {
        for (i, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ending.code(), i as u64);
        }
    }

    #[test]
    fn only_the_models_name_may_be_replaced() {
        let input = br#"{"model" : "mini", "messages":[{"content":"mini"}]}"#;
        let good = br#"{"model" : "gpt-4o-mini", "messages":[{"content":"mini"}]}"#;
        let names = ("mini", "gpt-4o-mini");
        assert!(renamed(input, good, names));
        assert!(renamed(input, input, ("mini", "mini")));
        assert!(!renamed(input, good, ("mini", "mini")));
        assert!(!renamed(input, input, names));
        let elsewhere = br#"{"model" : "mini", "messages":[{"content":"gpt-4o-mini"}]}"#;
        assert!(!renamed(input, elsewhere, names));
        let both = br#"{"model" : "gpt-4o-mini", "messages":[{"content":"gpt-4o-mini"}]}"#;
        assert!(!renamed(input, both, names));
        let mut more = good.to_vec();
        more[40] ^= 1;
        assert!(!renamed(input, &more, names));
        // Names that begin or end alike, and a name of the same length.
        for (a, b) in [
            ("m", "mm"),
            ("mm", "m"),
            ("am", "bm"),
            ("ma", "mb"),
            ("a", "b"),
        ] {
            let of = |name: &str| format!("{{\"n\":1,\"model\":\"{name}\",\"x\":2}}").into_bytes();
            assert!(renamed(&of(a), &of(b), (a, b)), "{a} {b}");
            assert!(!renamed(&of(a), &of("other"), (a, b)));
        }
        assert!(!renamed(b"", b"", names));
    }
}
