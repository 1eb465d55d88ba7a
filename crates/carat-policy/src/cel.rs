//! A small typed subset of CEL: expressions over request facts.
