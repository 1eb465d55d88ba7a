//! Server-sent events, by bytes: where each event of a stream ends, and what its data is.
//!
//! Lines end with LF or CRLF. The carriage return alone, which the standard allows too, is used by nobody and is not taken for an end.

use serde_json::Value;

use super::TRAILER;

/// Cuts a stream into events, each with the blank line that ends it.
#[derive(Debug, Default)]
pub struct Splitter {
    held: Vec<u8>,
    /// How far `held` was searched already.
    searched: usize,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Nothing: comments, which keep a connection open.
    Quiet,
    /// `[DONE]`: the stream reached its own end.
    Done,
    /// A JSON object.
    Data(Value),
}

impl Splitter {
    /// Takes bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next event that is whole.
    pub fn next_event(&mut self) -> Option<Vec<u8>> {
        // A line break that the last search ended before, or in.
        let mut at = self.searched.saturating_sub(2);
        while let Some(found) = self.held[at..].iter().position(|byte| *byte == b'\n') {
            let after = at + found + 1;
            let rest = &self.held[after..];
            let blank = if rest.starts_with(b"\n") {
                Some(after + 1)
            } else if rest.starts_with(b"\r\n") {
                Some(after + 2)
            } else {
                None
            };
            if let Some(end) = blank {
                let rest = self.held.split_off(end);
                self.searched = 0;
                return Some(std::mem::replace(&mut self.held, rest));
            }
            at = after;
        }
        self.searched = self.held.len();
        None
    }

    /// Bytes that are held because no event ends in them yet.
    pub fn held(&self) -> usize {
        self.held.len()
    }
}

/// Reads an event.
///
/// # Errors
/// What is wrong with it.
pub fn read(event: &[u8]) -> Result<Event, String> {
    let text = std::str::from_utf8(event).map_err(|_| "an event that is not UTF-8".to_string())?;
    let mut data: Option<String> = None;
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.contains('\r') {
            return Err("a carriage return inside a line".into());
        }
        if line.starts_with(TRAILER.trim_end()) {
            return Err("a comment that only the courier itself may write".into());
        }
        let Some(value) = line.strip_prefix("data:") else {
            let known = ["", ":", "event", "id", "retry"];
            let field = match line.split_once(':') {
                Some(("", _)) => ":",
                Some((field, _)) => field,
                None => line,
            };
            if !known.contains(&field) {
                return Err("a line that is none of server-sent events".into());
            }
            continue;
        };
        let value = value.strip_prefix(' ').unwrap_or(value);
        match &mut data {
            None => data = Some(value.to_string()),
            Some(data) => {
                data.push('\n');
                data.push_str(value);
            }
        }
    }
    match data.as_deref() {
        None => Ok(Event::Quiet),
        Some("[DONE]") => Ok(Event::Done),
        Some(data) => match serde_json::from_str(data) {
            Ok(value @ Value::Object(_)) => Ok(Event::Data(value)),
            Ok(_) => Err("data that is no JSON object".into()),
            Err(error) => Err(format!("data that is no JSON: {error}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] =
        b": hello\n\ndata: {\"a\":1}\r\n\r\ndata: {\ndata: \"b\":2}\n\nid: 7\ndata: [DONE]\n\nrest";

    fn events(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, usize) {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for piece in pieces {
            splitter.push(piece);
            while let Some(event) = splitter.next_event() {
                found.push(event);
            }
        }
        (found, splitter.held())
    }

    /// Wherever the network cuts it.
    #[test]
    fn events_end_where_the_stream_says_and_not_where_the_network_does() {
        let (whole, held) = events(&[STREAM]);
        assert_eq!(whole.len(), 4);
        assert_eq!(held, 4);
        assert_eq!([whole.concat().as_slice(), b"rest"].concat(), STREAM);
        for cut in 0..STREAM.len() {
            assert_eq!(events(&[&STREAM[..cut], &STREAM[cut..]]).0, whole, "{cut}");
        }
        let single: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(events(&single).0, whole);
        let read: Vec<Event> = whole
            .iter()
            .map(|event| read(event).expect("good"))
            .collect();
        assert_eq!(read[0], Event::Quiet);
        assert_eq!(read[1], Event::Data(serde_json::json!({"a": 1})));
        assert_eq!(read[2], Event::Data(serde_json::json!({"b": 2})));
        assert_eq!(read[3], Event::Done);
    }

    #[test]
    fn what_is_no_event_of_the_interface_is_said() {
        for bad in [
            &b"data: {\"a\":\n\n"[..],
            b"data: 7\n\n",
            b"<html>\n\n",
            b"data: \xff\n\n",
            b"data: {}\rdata: {}\n\n",
            b": carat-receipt 00\n\n",
            b":carat\n: carat-receipt\n\n",
        ] {
            assert!(read(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
