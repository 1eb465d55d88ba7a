//! What goes wrong with an upstream's answer, as callers of OpenAI's interface are told.

use carat_receipt::courier::Ending;
use serde_json::{Value, json};

use crate::outbound::Fault;
use crate::problem::Problem;

/// Why there is no answer. Upstreams are named by the operator's names; nothing says where they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CourierFault {
    /// The node itself refuses: no key, a flood, a full disk.
    #[error("{}", .0.detail)]
    Node(Box<Problem>),
    /// The caller's request cannot be passed on.
    #[error("{0}")]
    Request(String),
    /// The upstream refused, in its own words.
    #[error("the upstream {upstream} answered {status}: {message}")]
    Refused {
        /// The upstream.
        upstream: String,
        /// Its status.
        status: u16,
        /// Its words.
        message: String,
        /// When to try again, in seconds.
        retry_after: Option<u64>,
    },
    /// No answer, or none within the limits.
    #[error("the upstream {upstream}: {fault}")]
    Outbound {
        /// The upstream.
        upstream: String,
        /// What happened.
        fault: Fault,
    },
    /// The answer is not what the interface says.
    #[error("the upstream {upstream} sent what cannot be read: {why}")]
    Garbled {
        /// The upstream.
        upstream: String,
        /// What is wrong.
        why: String,
    },
    /// The answer names another model.
    #[error(
        "the upstream {upstream} was asked for {asked} and its answer names {named}; nothing of it is passed on (the operator can accept that name in \
         answers_as, or set model_mismatch = \"mark\")"
    )]
    OtherModel {
        /// The upstream.
        upstream: String,
        /// The model asked for.
        asked: String,
        /// The model named.
        named: String,
    },
    /// The answer holds the operator's key.
    #[error(
        "the upstream {upstream} sent back the key that it is called with; the answer is withheld"
    )]
    KeyInAnswer {
        /// The upstream.
        upstream: String,
    },
    /// Too many requests at a time.
    #[error("{limit} requests to the upstream {upstream} are on their way; try again")]
    Busy {
        /// The upstream.
        upstream: String,
        /// How many may be.
        limit: usize,
    },
}

impl From<Problem> for CourierFault {
    fn from(problem: Problem) -> Self {
        Self::Node(Box::new(problem))
    }
}

impl CourierFault {
    /// HTTP status for the caller.
    pub fn status(&self) -> u16 {
        match self {
            Self::Node(problem) => problem.status,
            Self::Request(_) => 400,
            Self::Refused { status, .. } => match status {
                400 | 404 | 413 | 422 | 429 => *status,
                // That the operator's key is refused is not the caller's doing.
                _ => 502,
            },
            Self::Outbound {
                fault: Fault::TimedOut { .. },
                ..
            } => 504,
            Self::Busy { .. } => 429,
            _ => 502,
        }
    }

    /// Its kind: stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Node(problem) => problem.kind,
            Self::Request(_) => "bad_request",
            Self::Refused { .. } => "upstream_refused",
            Self::Outbound { fault, .. } => match fault {
                Fault::Address { .. } | Fault::PlainHttp(_) => "upstream_address_refused",
                Fault::Unreachable(_) => "upstream_unreachable",
                Fault::TimedOut { .. } => "upstream_timeout",
                Fault::Cut => "upstream_cut",
                Fault::Redirect(_) => "upstream_redirect",
                Fault::Encoding(_) => "upstream_encoding",
                Fault::TooLarge(_) => "upstream_too_large",
                Fault::Http(_) => "upstream_garbled",
            },
            Self::Garbled { .. } => "upstream_garbled",
            Self::OtherModel { .. } => "upstream_model_mismatch",
            Self::KeyInAnswer { .. } => "upstream_key_in_answer",
            Self::Busy { .. } => "upstream_busy",
        }
    }

    /// What kind of error OpenAI's clients take it for.
    fn kind(&self) -> &'static str {
        match self.status() {
            401 | 403 => "authentication_error",
            429 => "rate_limit_error",
            status if status < 500 => "invalid_request_error",
            _ => "server_error",
        }
    }

    /// After how many seconds to try again.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Node(problem) => problem.retry_after,
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Busy { .. } => Some(1),
            _ => None,
        }
    }

    /// Whether another try would end in the same way: clients retry what is a server's fault unless they are told.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::OtherModel { .. } | Self::KeyInAnswer { .. } | Self::Garbled { .. } => true,
            Self::Outbound { fault, .. } => matches!(
                fault,
                Fault::Address { .. }
                    | Fault::PlainHttp(_)
                    | Fault::Redirect(_)
                    | Fault::Encoding(_)
                    | Fault::TooLarge(_)
            ),
            _ => false,
        }
    }

    /// How a stream ends that this befalls.
    pub fn ending(&self) -> Ending {
        match self {
            Self::Outbound { fault, .. } => match fault {
                Fault::TimedOut { .. } => Ending::TimedOut,
                Fault::TooLarge(_) => Ending::TooLarge,
                Fault::Http(_) => Ending::Garbled,
                _ => Ending::UpstreamCut,
            },
            Self::OtherModel { .. } => Ending::OtherModel,
            Self::Refused { .. } => Ending::UpstreamCut,
            _ => Ending::Garbled,
        }
    }

    /// The error in OpenAI's form.
    pub fn json(&self) -> Value {
        error_json(&self.to_string(), self.kind(), self.code())
    }
}

/// An error in OpenAI's form.
pub fn error_json(message: &str, kind: &str, code: &str) -> Value {
    json!({ "error": { "message": message, "type": kind, "param": null, "code": code } })
}

/// The event that tells a caller that its stream was cut. It follows from the ending alone, so that a repeated request gets the same.
pub fn cut_event(ending: Ending) -> String {
    let message = format!(
        "the answer {}; what came before is as the receipt says",
        ending.as_str()
    );
    let error = error_json(&message, "server_error", "upstream_cut");
    format!("data: {error}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_key_of_the_operator_is_no_fault_of_the_caller() {
        let refused = |status| CourierFault::Refused {
            upstream: "up".into(),
            status,
            message: "no".into(),
            retry_after: None,
        };
        for (status, told) in [
            (400, 400),
            (404, 404),
            (429, 429),
            (401, 502),
            (403, 502),
            (500, 502),
            (402, 502),
        ] {
            assert_eq!(refused(status).status(), told);
        }
    }

    #[test]
    fn errors_have_openais_form() {
        let error = CourierFault::Request("no model".into()).json();
        assert_eq!(error["error"]["code"], "bad_request");
        assert_eq!(error["error"]["type"], "invalid_request_error");
        assert!(error["error"]["param"].is_null());
        let event = cut_event(Ending::TimedOut);
        let json = event.strip_prefix("data: ").expect("an event");
        let json: Value = serde_json::from_str(json.trim_end()).expect("JSON");
        assert_eq!(json["error"]["code"], "upstream_cut");
    }
}
