//! Spend against guarantee: what uniform, two-tier and matched auditing cost where they promise the same.
//!
//! The promise is T4's: at most K is lost before the first detection, whatever the adversary does; before settlement the same
//! audits deter a node whose bond is K (T2). It takes a hazard of V/(V+K) for each value V: matched auditing gives each
//! request its own, two tiers give each request the largest of its tier, a uniform rule gives every request the largest of
//! all.

use std::vec::Vec;

use super::auditing::{Auditing, Setting, Timing};
use super::play::rates;
use super::values::Traffic;
use crate::hazard::Detection;
use crate::money::Micros;
use crate::probability::{Fraction, Probability};
use crate::rules;

/// One promise, and what it costs as a share of requests audited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// K: the most that is lost on average before the first detection.
    pub cap: Micros,
    /// K as a multiple of the 99.9th percentile of the values.
    pub multiple: f64,
    /// Share audited by a uniform rule.
    pub uniform: f64,
    /// Share audited by the best two tiers.
    pub two_tier: f64,
    /// Share audited by matched auditing.
    pub matched: f64,
}

/// Multiples of the 99.9th percentile that the curve goes through: 3 is where a uniform rule audits a quarter.
pub const MULTIPLES: [f64; 13] = [
    0.1, 0.2, 0.4, 0.7, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0,
];

/// The curve.
pub fn frontier(traffic: &Traffic) -> Vec<Point> {
    MULTIPLES
        .iter()
        .map(|multiple| point(traffic, *multiple))
        .collect()
}

/// One point of it.
pub fn point(traffic: &Traffic, multiple: f64) -> Point {
    let cap = Micros((traffic.v999.0 as f64 * multiple).max(1.0) as u64);
    let largest = traffic.values.iter().copied().max().unwrap_or_default();
    let share = |auditing| {
        let setting = Setting {
            auditing,
            timing: Timing::BeforeSettle,
            bond: cap,
            kappa: Fraction::ZERO,
            window: traffic.values.len().max(1),
            assumed: Detection::PERFECT,
            joint_forfeiture: true,
        };
        rates(&setting.offers(&traffic.values)).0
    };
    let uniform: Probability = rules::t4_loss_cap(largest, cap);
    Point {
        cap,
        multiple,
        uniform: uniform.to_f64(),
        two_tier: share(Auditing::TwoTier),
        matched: share(Auditing::Matched),
    }
}
