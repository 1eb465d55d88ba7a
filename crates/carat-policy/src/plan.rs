//! A plan, or a refusal, with its reasons.
