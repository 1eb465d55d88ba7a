//! Adversaries against auditing: what cheating pays, and what checking costs.
