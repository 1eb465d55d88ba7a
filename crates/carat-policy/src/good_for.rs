//! The rules inverted: the largest amount that evidence supports, per set of assumptions.
