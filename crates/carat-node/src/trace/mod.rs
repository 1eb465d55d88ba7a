//! Traces: what a request spent its time on, for an OpenTelemetry collector.
//!
//! A caller's `traceparent` (W3C Trace Context) is taken up, so that the server's spans stand under the caller's. Spans say which
//! model, which rung, how long and how it ended. They never hold inputs, outputs, headers, addresses, tenants or keys.
//!
//! The exporter is our own: OTLP over HTTP as JSON is one POST of one document, and the client for it is in the tree. The
//! crates of the OpenTelemetry project would bring a second HTTP client and Protobuf for the same bytes.

mod export;

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub use export::{Endpoint, Tracer};

tokio::task_local! {
    /// The span that whatever is done now belongs to; of a task, or of a thread inside [`within`].
    static CURRENT: Option<Context>;
}

/// A span as others refer to it. Only spans that are recorded have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    trace: [u8; 16],
    span: [u8; 8],
}

/// What a caller's `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parent {
    context: Context,
    sampled: bool,
}

/// Reads a `traceparent` (W3C Trace Context, section 3.2). What does not follow it is as if there were none.
fn parse(text: &str) -> Option<Parent> {
    let hex = |text: &str, out: &mut [u8]| {
        // Capitals are not allowed.
        let plain = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        plain
            .then(|| hex::decode_to_slice(text, out).ok())
            .flatten()
    };
    let mut parts = text.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (mut v, mut f) = ([0; 1], [0; 1]);
    let mut context = Context {
        trace: [0; 16],
        span: [0; 8],
    };
    hex(version, &mut v)?;
    hex(trace, &mut context.trace)?;
    hex(span, &mut context.span)?;
    hex(flags, &mut f)?;
    // Later versions may have more parts, this one has not.
    let fits = v[0] != 0xff && (v[0] != 0 || parts.next().is_none());
    (fits && context.trace != [0; 16] && context.span != [0; 8]).then_some(Parent {
        context,
        sampled: f[0] & 1 == 1,
    })
}

/// What an attribute says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A number.
    Int(i64),
    /// Yes or no.
    Bool(bool),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_string())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

/// What a span is between: the numbers are OTLP's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Internal = 1,
    Server = 2,
    Consumer = 5,
}

/// A span that ended, or goes on.
#[derive(Debug, Clone)]
struct Record {
    context: Context,
    parent: Option<[u8; 8]>,
    name: String,
    role: Role,
    /// Nanoseconds since 1970, by the clock when it began; the end is reckoned by a clock that does not jump.
    start: u64,
    end: u64,
    attributes: Vec<(&'static str, Value)>,
    failed: bool,
}

/// A span. It ends when it is dropped. One that is not recorded costs nothing.
#[derive(Default)]
pub struct Span(Option<Box<Open>>);

struct Open {
    tracer: Arc<Tracer>,
    began: Instant,
    record: Record,
}

impl Span {
    /// Nothing is recorded.
    pub const fn none() -> Self {
        Self(None)
    }

    fn begin(
        tracer: &Arc<Tracer>,
        trace: [u8; 16],
        parent: Option<[u8; 8]>,
        name: String,
        role: Role,
    ) -> Self {
        let mut span = [0; 8];
        if getrandom::fill(&mut span).is_err() {
            return Self(None);
        }
        let start = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|time| u64::try_from(time.as_nanos()).ok())
            .unwrap_or(0);
        Self(Some(Box::new(Open {
            tracer: tracer.clone(),
            began: Instant::now(),
            record: Record {
                context: Context { trace, span },
                parent,
                name,
                role,
                start,
                end: start,
                attributes: Vec::new(),
                failed: false,
            },
        })))
    }

    /// What spans below it refer to.
    pub fn context(&self) -> Option<Context> {
        self.0.as_ref().map(|open| open.record.context)
    }

    /// Adds an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(open) = &mut self.0 {
            open.record.attributes.push((name, value.into()));
        }
    }

    /// Says that it failed.
    pub fn fail(&mut self, kind: &str) {
        if let Some(open) = &mut self.0 {
            open.record.failed = true;
            open.record.attributes.push(("error.type", kind.into()));
        }
    }

    /// Ends it, if it has not ended yet.
    pub fn end(&mut self) {
        if let Some(open) = self.0.take() {
            let mut record = open.record;
            let taken = u64::try_from(open.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            record.end = record.start.saturating_add(taken);
            open.tracer.take(record);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.end();
    }
}

/// The span that whatever is done now belongs to.
pub fn current() -> Option<Context> {
    CURRENT.try_with(|context| *context).ok().flatten()
}

/// Does something under a span.
pub fn within<T>(context: Option<Context>, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(context, work)
}

/// Does something asynchronous under a span.
pub async fn within_async<F: Future>(context: Option<Context>, work: F) -> F::Output {
    CURRENT.scope(context, work).await
}

impl Tracer {
    /// The span of a request, under what its caller's `traceparent` names. Recorded where that says so, or without one by chance.
    pub(crate) fn request(self: &Arc<Self>, traceparent: Option<&str>, name: String) -> Span {
        match traceparent.and_then(parse) {
            Some(parent) if parent.sampled => Span::begin(
                self,
                parent.context.trace,
                Some(parent.context.span),
                name,
                Role::Server,
            ),
            Some(_) => Span::none(),
            None => self.root(name, Role::Server),
        }
    }

    /// The span of a job, which no caller waits for.
    pub(crate) fn job(self: &Arc<Self>, name: &str) -> Span {
        self.root(name.to_string(), Role::Consumer)
    }

    fn root(self: &Arc<Self>, name: String, role: Role) -> Span {
        let mut random = [0; 17];
        if getrandom::fill(&mut random).is_err() {
            return Span::none();
        }
        let (trace, chance) = random.split_at(16);
        let mut id = [0; 16];
        id.copy_from_slice(trace);
        // One byte decides: to within half a percent.
        if u64::from(chance[0]) * 100 >= self.sample_percent() * 256 {
            return Span::none();
        }
        Span::begin(self, id, None, name, role)
    }

    /// A span below the current one; nothing where nothing is recorded now.
    pub(crate) fn span(self: &Arc<Self>, name: impl Into<String>) -> Span {
        match current() {
            Some(context) => Span::begin(
                self,
                context.trace,
                Some(context.span),
                name.into(),
                Role::Internal,
            ),
            None => Span::none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of W3C Trace Context, and what it forbids.
    #[test]
    fn a_traceparent_is_read_as_its_specification_says() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = parse(good).expect("the specification's example");
        assert!(parent.sampled);
        assert_eq!(
            hex::encode(parent.context.trace),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert_eq!(hex::encode(parent.context.span), "b7ad6b7169203331");
        assert!(
            !parse(&good.replace("-01", "-00"))
                .expect("not sampled")
                .sampled
        );
        // A later version, with more behind.
        assert!(parse(&format!("cc{}-what-the-future-will-be-like", &good[2..])).is_some());
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_current_span_is_that_of_the_work() {
        let context = Context {
            trace: [1; 16],
            span: [2; 8],
        };
        assert_eq!(current(), None);
        within(Some(context), || {
            assert_eq!(current(), Some(context));
            within(None, || assert_eq!(current(), None));
        });
        assert_eq!(current(), None);
    }
}
