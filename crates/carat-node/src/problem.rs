//! Errors of the interface, as problem documents (RFC 9457).

use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::store::StoreFault;

/// What went wrong with a request, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Its kind: stable, for programs.
    pub kind: &'static str,
    /// One sentence for people.
    pub detail: String,
    /// After how many seconds to try again.
    pub retry_after: Option<u64>,
    /// More for programs: the decision behind a refusal.
    pub extra: Option<Box<Value>>,
    /// The signed refusal of an upgrade, in base64.
    pub refusal: Option<Box<str>>,
}

impl Problem {
    /// A problem.
    pub fn new(status: u16, kind: &'static str, detail: impl ToString) -> Self {
        Self {
            status,
            kind,
            detail: detail.to_string(),
            retry_after: None,
            extra: None,
            refusal: None,
        }
    }

    /// The caller sent what cannot be read.
    pub fn bad_request(detail: impl ToString) -> Self {
        Self::new(400, "bad-request", detail)
    }

    /// There is no such thing, or it is another tenant's: the two are not told apart.
    pub fn not_found(what: &str) -> Self {
        Self::new(404, "not-found", format!("there is no such {what}"))
    }

    /// With a time to wait.
    #[must_use]
    pub fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// With a signed notice that says it, in base64.
    #[must_use]
    pub fn with_notice(mut self, notice: String) -> Self {
        self.refusal = Some(notice.into());
        self
    }

    /// Too much was asked for at once.
    pub fn overloaded(what: &str, seconds: u64) -> Self {
        Self::new(
            429,
            "overloaded",
            format!("{what}; nothing was accepted, try again after {seconds} s"),
        )
        .after(seconds)
    }

    /// The server goes down, or cannot write.
    pub fn stopping(detail: impl ToString) -> Self {
        Self::new(503, "unavailable", detail).after(5)
    }

    /// The document.
    pub fn json(&self) -> Value {
        let mut json = json!({
            "type": format!("urn:carat:problem:{}", self.kind),
            "status": self.status,
            "kind": self.kind,
            "detail": self.detail,
        });
        if let Some(extra) = &self.extra {
            json["decision"] = Value::clone(extra);
        }
        if let Some(refusal) = &self.refusal {
            json["refusal"] = json!(refusal);
        }
        json
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let (status, kind) = match failure.exit {
            Exit::Usage => (400, "bad-request"),
            Exit::Input => (422, "bad-input"),
            Exit::Refused => (422, "refused"),
            Exit::Memory => (422, "needs-memory"),
            Exit::TooLarge => (413, "too-large"),
            Exit::DiskFull => (507, "disk-full"),
            Exit::Store | Exit::Busy | Exit::Io => (503, "unavailable"),
            _ => (500, "internal"),
        };
        Self::new(status, kind, failure.message)
    }
}

impl From<StoreFault> for Problem {
    fn from(fault: StoreFault) -> Self {
        Failure::from(fault).into()
    }
}
