//! Strict DER, as much as certificates need.
