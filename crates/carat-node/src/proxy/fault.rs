//! Why the proxy gives no answer, in OpenAI's form.

use carat_receipt::Amount;
use carat_verify::{Appraisal, Outcome, Verdict};
use serde_json::{Value, json};

use crate::courier::CourierFault;
use crate::courier::fault::error_json;
use crate::outbound::Fault;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum ProxyFault {
    /// The caller is not one that this proxy is for.
    #[error("{0}")]
    Stranger(&'static str),
    /// The caller's request cannot be passed on.
    #[error("{0}")]
    Request(String),
    /// Too large a body.
    #[error("the body is larger than --body-bytes = {0} bytes")]
    TooLarge(usize),
    /// The node refused, in its own words.
    #[error("the node answered {status}: {message}")]
    Refused {
        /// Its status.
        status: u16,
        /// Its words.
        message: String,
        /// When to try again, in seconds.
        retry_after: Option<u64>,
    },
    /// The node gave no answer.
    #[error("the node: {0}")]
    Outbound(#[from] Fault),
    /// The node's answer cannot be checked.
    #[error("the node's answer cannot be checked, so it is withheld: {0}")]
    Uncheckable(String),
    /// It was checked, and it is not what was asked for, or not good for enough.
    #[error("{}", withheld(.0, .1))]
    NotGood(Amount, Box<Appraisal>),
    /// A fault of this machine.
    #[error("{0}")]
    Internal(String),
}

fn withheld(asked: &Amount, appraisal: &Appraisal) -> String {
    let enough = match appraisal.enough.as_slice() {
        [] => String::new(),
        enough => format!(" Enough would be: {}.", enough.join("; or ")),
    };
    match appraisal.verdict {
        Verdict::Invalid => format!(
            "the answer is withheld: its receipt is not about your question and this answer: {}.",
            appraisal.reason
        ),
        _ => {
            let best = appraisal
                .best
                .map_or_else(|| "nothing".to_string(), |best| best.to_string());
            // The largest set says why it is not larger.
            let why = appraisal
                .good_for
                .iter()
                .max_by_key(|set| set.amount.map_or(0, |amount| amount.micros()))
                .map_or(String::new(), |set| {
                    format!(" ({}: {})", set.rung, set.reason)
                });
            format!(
                "the answer is withheld: it is good for {best} and {asked} was asked for{why}.{enough}"
            )
        }
    }
}

impl From<CourierFault> for ProxyFault {
    fn from(fault: CourierFault) -> Self {
        Self::Request(fault.to_string())
    }
}

impl ProxyFault {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Stranger(_) => 403,
            Self::Request(_) => 400,
            Self::TooLarge(_) => 413,
            Self::Refused { status, .. } if (400..500).contains(status) => *status,
            Self::Refused { .. } | Self::Uncheckable(_) => 502,
            Self::Outbound(Fault::TimedOut { .. }) => 504,
            Self::Outbound(_) => 502,
            Self::NotGood(_, appraisal) if appraisal.verdict == Verdict::Invalid => 502,
            Self::NotGood(..) => 422,
            Self::Internal(_) => 500,
        }
    }

    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Stranger(_) => "stranger",
            Self::Request(_) => "bad_request",
            Self::TooLarge(_) => "too_large",
            Self::Refused { .. } => "node_refused",
            Self::Outbound(Fault::TimedOut { .. }) => "node_timeout",
            Self::Outbound(_) => "node_unreachable",
            Self::Uncheckable(_) => "receipt_unreadable",
            Self::NotGood(_, appraisal) if appraisal.verdict == Verdict::Invalid => {
                "receipt_invalid"
            }
            Self::NotGood(..) => "not_good_enough",
            Self::Internal(_) => "internal",
        }
    }

    fn kind(&self) -> &'static str {
        match self.status() {
            401 | 403 => "authentication_error",
            429 => "rate_limit_error",
            status if status < 500 => "invalid_request_error",
            _ => "server_error",
        }
    }

    pub(super) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether another try would most likely end in the same way.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(self, Self::Uncheckable(_) | Self::NotGood(..))
    }

    /// The error; what was checked stands beside it for programs.
    pub(super) fn json(&self) -> Value {
        let mut json = error_json(&self.to_string(), self.kind(), self.code());
        if let Self::NotGood(asked, appraisal) = self {
            let failed = appraisal
                .checks
                .iter()
                .filter(|check| check.outcome == Outcome::Fail);
            json["error"]["carat"] = json!({
                "verdict": appraisal.verdict,
                "good_for": appraisal.best,
                "asked": asked,
                "sets": appraisal.good_for,
                "enough": appraisal.enough,
                "failed": failed.collect::<Vec<_>>(),
                "receipt_id": appraisal.receipt.as_ref().map(|receipt| receipt.receipt_id),
            });
        }
        json
    }
}
