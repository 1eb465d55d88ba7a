//! The cheapest sufficient verification for a consequence in an environment.
