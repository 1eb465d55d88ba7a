//! Anytime certificates (T5): how many wrong answers were ever served, with confidence, at every point in time at once.
