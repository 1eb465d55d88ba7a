//! Anytime certificates (T5): how many wrong answers were ever served, with confidence, at every point in time at once.
//!
//! **Theorem.** Answer `i` is wrong (`w_i = 1`) or not, which is fixed before its coin falls, and a wrong one is found
//! with a chance of at least its hazard `h_i`, whatever happened before. `X_i` says that it was found. Then for every
//! `theta > 0`
//!
//! ```text
//! M_n = prod (1 - h_i (1 - e^-theta))^(-w_i) * e^(-theta X_i)
//! ```
//!
//! is a nonnegative supermartingale that starts at 1, and so is a mixture of them over several `theta`. By Ville's
//! inequality it reaches `1/alpha` with a chance of at most `alpha`, ever. So with confidence `1 - alpha`, and at every `n`
//! at once (one may look as often as one likes, and stop when one likes), no set of wrong answers is possible that would
//! have taken it there.
//!
//! **Assumes** a complete log, thresholds that were fixed before the coins, coins that whoever chose the answers could not
//! foresee, and that a check of a wrong answer finds it (exact replay does). It does not assume independence of the
//! answers, nor that anybody is rational.
//!
//! **Source.** Ville (1939); mixtures as in Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic
//! confidence sequences" (2021). That the weights `w_i` may be chosen adaptively is the setting of risk-limiting audits with
//! betting martingales (Stark, "ALPHA", 2022).
//!
//! **Unanswered audits** (nobody opened what was drawn) count as found wrong: missing is wrong. **Answers that could not be
//! drawn** (hazard 0) are all taken for wrong.
//!
//! Floating point decides nothing that is signed; it is `libm`'s, so that everybody gets the same certificate.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::probability::Probability;

mod money;
#[cfg(test)]
mod tests;

/// The mixture: `theta`, weight. Half the weight is where nothing was found; the rest is shared equally.
const GRID: [(f64, f64); 10] = [
    (0.1, 1.0 / 18.0),
    (0.2, 1.0 / 18.0),
    (0.4, 1.0 / 18.0),
    (0.7, 1.0 / 18.0),
    (1.0, 1.0 / 18.0),
    (1.5, 1.0 / 18.0),
    (2.0, 1.0 / 18.0),
    (3.0, 1.0 / 18.0),
    (5.0, 1.0 / 18.0),
    (50.0, 0.5),
];

/// One logarithm for each `theta`.
type Logs = [f64; GRID.len()];

/// The chance that a certificate is wrong: more than 0 and less than 1, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alpha(u32);

impl Alpha {
    /// 95% confidence.
    pub const FIVE_PERCENT: Self = Self(50_000);

    /// `None` unless it is above 0 and below 1.
    pub const fn from_millionths(millionths: u32) -> Option<Self> {
        if millionths == 0 || millionths >= 1_000_000 {
            None
        } else {
            Some(Self(millionths))
        }
    }

    /// Millionths.
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// `ln(1/alpha)`: where the logarithm of the process must not arrive.
    fn limit(self) -> f64 {
        -libm::log(f64::from(self.0) / 1e6)
    }
}

/// What was served and what audits found, so far.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Answers by hazard.
    classes: BTreeMap<Probability, u64>,
    /// Hazard and value of each answer that has a value, in millionths.
    valued: Vec<(Probability, u64)>,
    audits: u64,
    detections: u64,
}

/// What can be said with confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    /// The chance that it is wrong.
    pub alpha: Alpha,
    /// Answers served.
    pub answers: u64,
    /// Answers among them that no audit could have drawn: all taken for wrong.
    pub uncovered: u64,
    /// Audits that it rests on.
    pub audits: u64,
    /// Audits among them that found a wrong answer, or no answer.
    pub detections: u64,
    /// At most so many answers were wrong, ever, those found included.
    pub wrong_at_most: u64,
    /// The values of all answers, where they are known, in millionths.
    pub money: u128,
    /// Wrong answers carried at most so much of it, in millionths.
    pub wrong_money_at_most: u128,
}

/// How far it is to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// The claim holds already.
    Nothing,
    /// With traffic and thresholds like those so far, after so many more answers and clean audits.
    More {
        /// Answers to serve.
        answers: u64,
        /// Audits among them, all clean.
        audits: u64,
    },
    /// Never with thresholds like those so far: too many answers cannot be drawn at all.
    Never,
}

impl Ledger {
    /// Nothing served.
    pub fn new() -> Self {
        Self::default()
    }

    /// An answer was served whose wrongness would be found with a chance of at least `hazard`. `value` is what rides on
    /// it, in millionths of any unit, or 0 where that is unknown.
    pub fn serve(&mut self, hazard: Probability, value: u64) {
        *self.classes.entry(hazard).or_insert(0) += 1;
        if value > 0 {
            self.valued.push((hazard, value));
        }
    }

    /// An audit was made. `found`: the answer was wrong, or nobody opened it.
    pub fn audit(&mut self, found: bool) {
        self.audits += 1;
        self.detections += u64::from(found);
    }

    /// Answers served.
    pub fn answers(&self) -> u64 {
        self.classes.values().sum()
    }

    /// The certificate now. It may be asked for at any time.
    pub fn certificate(&self, alpha: Alpha) -> Certificate {
        Certificate {
            alpha,
            answers: self.answers(),
            uncovered: self.classes.get(&Probability::ZERO).copied().unwrap_or(0),
            audits: self.audits,
            detections: self.detections,
            wrong_at_most: self.wrong_at_most(alpha, 1.0) as u64,
            money: self
                .valued
                .iter()
                .map(|(_, value)| u128::from(*value))
                .sum(),
            wrong_money_at_most: money::at_most(&self.valued, self.detections, alpha),
        }
    }

    /// The most wrong answers that the process allows, if there were `scale` times as many answers and no more were
    /// found: the point where it arrives, rounded to the nearest whole number, and so never below the largest whole
    /// number that it allows.
    fn wrong_at_most(&self, alpha: Alpha, scale: f64) -> f64 {
        libm::floor(self.crossing(alpha, scale) + 0.5)
    }

    /// Where the process arrives at its limit. Sets of answers with the smallest hazards are the largest that it allows,
    /// so they are taken first.
    fn crossing(&self, alpha: Alpha, scale: f64) -> f64 {
        let limit = alpha.limit();
        let mut logs = start(self.detections);
        let mut taken = 0.0;
        for (hazard, answers) in &self.classes {
            let step = steps(*hazard);
            let answers = *answers as f64 * scale;
            if mixture(&after(&logs, &step, answers)) < limit {
                logs = after(&logs, &step, answers);
                taken += answers;
                continue;
            }
            let (mut low, mut high) = (0.0, answers);
            for _ in 0..100 {
                let middle = (low + high) / 2.0;
                if mixture(&after(&logs, &step, middle)) < limit {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            return taken + low;
        }
        taken
    }

    /// How much more it takes to say "fewer than `rate` of the answers were wrong", if all further audits are clean.
    pub fn needed(&self, alpha: Alpha, rate: Probability) -> Needed {
        let answers = self.answers() as f64;
        let expected: f64 = self
            .classes
            .iter()
            .map(|(hazard, answers)| hazard.to_f64() * *answers as f64)
            .sum();
        let holds = |scale: f64| self.wrong_at_most(alpha, scale) < rate.to_f64() * answers * scale;
        if answers > 0.0 && holds(1.0) {
            return Needed::Nothing;
        }
        let mut high = 2.0;
        while !holds(high) {
            high *= 2.0;
            if high > 1e15 {
                return Needed::Never;
            }
        }
        let mut low = high / 2.0;
        // To a part in a million: the figure is for people.
        while high - low > high * 1e-6 {
            let middle = (low + high) / 2.0;
            if holds(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Needed::More {
            answers: libm::ceil(answers * (high - 1.0)) as u64,
            audits: libm::ceil(expected * (high - 1.0)) as u64,
        }
    }
}

impl Certificate {
    /// The share of answers that were wrong, at most, rounded up.
    pub fn wrong_share_at_most(&self) -> Probability {
        Probability::ratio_up(self.wrong_at_most, u128::from(self.answers))
    }

    /// Whether it says "fewer than `rate` of the answers were wrong".
    pub fn says_fewer_than(&self, rate: Probability) -> bool {
        self.answers > 0 && self.wrong_share_at_most() < rate
    }
}

/// About how many clean audits it takes to say "fewer than `rate` of the answers were wrong", where each answer is audited
/// with a small chance: about 3,334 for 0.1% with 95% confidence.
pub fn clean_audits_for(alpha: Alpha, rate: Probability) -> u64 {
    let chance = Probability::ratio_down(1, 100);
    let mut ledger = Ledger::new();
    ledger.classes.insert(chance, 1 << 50);
    libm::ceil(ledger.crossing(alpha, 1.0) * chance.to_f64() / rate.to_f64()) as u64
}

/// The logarithms before any wrong answer: weight, and `-theta` for each that was found.
fn start(detections: u64) -> Logs {
    GRID.map(|(theta, weight)| libm::log(weight) - theta * detections as f64)
}

/// What one wrong answer of that hazard adds to each logarithm: `-ln(1 - h (1 - e^-theta))`, at least 0.
fn steps(hazard: Probability) -> Logs {
    let (missed, hazard) = (hazard.complement().to_f64(), hazard.to_f64());
    GRID.map(|(theta, _)| {
        // Two forms, because each loses its digits at the other end.
        if hazard < 0.5 {
            -libm::log1p(hazard * libm::expm1(-theta))
        } else {
            -libm::log(missed + hazard * libm::exp(-theta))
        }
    })
}

fn after(logs: &Logs, step: &Logs, times: f64) -> Logs {
    let mut sum = *logs;
    for (sum, step) in sum.iter_mut().zip(step) {
        *sum += step * times;
    }
    sum
}

/// Logarithm of the sum of exponentials: of the mixture.
fn mixture(logs: &Logs) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logs.iter().map(|log| libm::exp(log - most)).sum();
    most + libm::log(sum)
}
