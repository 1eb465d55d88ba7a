//! Polynomial commitments.
