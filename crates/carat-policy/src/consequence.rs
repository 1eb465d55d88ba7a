//! What happens if an answer is wrong: value, gain to a cheat, timing, reversibility.
