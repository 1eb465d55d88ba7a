//! Adversaries against auditing: what cheating pays, and what checking costs.
//!
//! A node serves a traffic of requests, each with a value (what a wrong answer earns and costs). An [`Auditing`] rule
//! offers each request an audit probability; an adversary, who knows the rule and the values of a whole window but not
//! the coins, decides which answers are wrong; coins fall at the end of the window; a conviction ends the game.
//! [`play()`](play::play) computes the adversary's expected profit exactly: until it is caught it learns nothing that
//! matters, so its path is known and only the coins are averaged over. [`sample`](play::sample) and
//! [`serve`](play::serve) then let coins fall.
//!
//! `matched` auditing is the production rule of [`crate::rules`], not a copy: whoever attacks the simulator attacks what
//! the planner uses. Floating point appears only on the adversary's side of the table and in averages; it is `libm`'s and
//! the generator is our own, so a seed gives the same bits everywhere. `docs/simulate.md` is the manual.

pub mod agents;
pub mod auditing;
pub mod frontier;
pub mod play;
pub mod plot;
pub mod rng;
pub mod script;
pub mod search;
pub mod values;

#[cfg(test)]
mod tests;

pub use agents::{Adversary, Agent, Window};
pub use auditing::{Auditing, Offer, Setting, Timing};
pub use play::{Outcome, Sampled, Served, play};
pub use values::{Traffic, Values};
