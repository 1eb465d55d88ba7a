//! One game: decisions, exact expectations over the coins, and games with real coins.

use std::vec::Vec;

use super::agents::{Adversary, State, Window};
use super::auditing::{Offer, Setting, Timing};
use super::rng::Rng;
use super::values::{Traffic, percentile};
use crate::certificate::{Alpha, Certificate, Ledger};
use crate::money::Micros;
use crate::probability::Probability;

/// Everything that is fixed before the adversary decides. Money is in units from here on, on the adversary's side.
#[derive(Debug)]
pub struct Game<'a> {
    /// The rules.
    pub setting: &'a Setting,
    /// What each request is offered.
    pub offers: &'a [Offer],
    /// What each is worth: the gain of a cheat and the loss of whoever relies on it.
    pub values: Vec<f64>,
    /// Chance that a wrong answer is found. For an adversary that foresees the coins: 0 or 1.
    pub hazards: Vec<f64>,
    /// What the adversary knows about the whole.
    pub facts: Facts,
}

/// What does not change during a game, in units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts {
    /// Number of requests.
    pub requests: usize,
    /// Requests in a window.
    pub window: usize,
    /// What a conviction forfeits.
    pub bond: f64,
    /// Exposure cap after use: kappa times the bond.
    pub cap: f64,
    /// Mean value.
    pub mean: f64,
    /// Values that 50%, 90%, 99%, 99.9% and 100% of the requests do not exceed.
    pub percentiles: [f64; 5],
}

/// What an adversary's decisions come to. Everything is an expectation over the coins, exact up to rounding.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which answers are wrong, as long as it is not caught.
    pub wrong: Vec<bool>,
    /// Gains less forfeited bond, in units.
    pub profit: f64,
    /// Wrong value that passes before the first detection, in units. T4 bounds it.
    pub loss: f64,
    /// Chance that it is never caught.
    pub survival: f64,
    /// The path, for [`sample`]: index, sum of `-ln(1-h)`, sum of values up to and with each wrong answer.
    path: Vec<(usize, f64, f64)>,
    windows: Vec<Pot>,
}

/// The money of one window.
#[derive(Debug, Clone, Copy)]
struct Pot {
    /// Gains of all windows before.
    settled: f64,
    /// Gains of the window if nothing is found.
    gains: f64,
    /// What is left on average of the window's gains if something is found.
    kept: f64,
}

/// Averages of games with coins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampled {
    /// Games.
    pub runs: u32,
    /// Mean profit, and its standard error, in units.
    pub profit: (f64, f64),
    /// Mean loss before the first detection, and its standard error, in units.
    pub loss: (f64, f64),
}

/// One game with every coin.
#[derive(Debug, Clone)]
pub struct Served {
    /// Answers until the end, or until the end of the window of the conviction.
    pub answers: u64,
    /// Audits made.
    pub audits: u64,
    /// Answers that were proved before use.
    pub proofs: u64,
    /// Answers that were wrong.
    pub wrong: u64,
    /// What they were worth, in units.
    pub wrong_money: f64,
    /// Whether it was caught.
    pub convicted: bool,
    /// What can be said about this node at the end.
    pub certificate: Certificate,
}

fn units(value: Micros) -> f64 {
    value.0 as f64 / 1e6
}

impl<'a> Game<'a> {
    /// A game against that adversary; `seed` is for coins that it foresees.
    pub fn new(
        traffic: &Traffic,
        setting: &'a Setting,
        offers: &'a [Offer],
        adversary: &dyn Adversary,
        seed: u64,
    ) -> Self {
        let mut coins = Rng::new(seed, 2);
        let works = 1.0 - adversary.evasion();
        let hazards = offers
            .iter()
            .map(|offer| {
                let draw = coins.bits();
                if offer.proved {
                    1.0
                } else if adversary.foresees() {
                    f64::from(u8::from(offer.tau.selects(draw)))
                } else {
                    offer.tau.probability().to_f64() * works
                }
            })
            .collect();
        let values: Vec<f64> = traffic.values.iter().copied().map(units).collect();
        let mut sorted = traffic.values.clone();
        sorted.sort_unstable();
        let facts = Facts {
            requests: values.len(),
            window: setting.window,
            bond: units(setting.bond),
            cap: units(crate::rules::exposure_cap(setting.bond, setting.kappa)),
            mean: values.iter().sum::<f64>() / values.len().max(1) as f64,
            percentiles: [0.5, 0.9, 0.99, 0.999, 1.0].map(|p| units(percentile(&sorted, p))),
        };
        Self {
            setting,
            offers,
            values,
            hazards,
            facts,
        }
    }

    /// Asks the adversary, window by window. What is proved before use cannot be wrong.
    pub fn decide(&self, adversary: &mut dyn Adversary) -> Vec<bool> {
        adversary.prepare(self);
        let mut wrong = std::vec![false; self.values.len()];
        let mut state = State::default();
        let size = self.setting.window;
        for index in 0..self.values.len().div_ceil(size) {
            let range = index * size..self.values.len().min((index + 1) * size);
            let window = Window {
                index,
                first: range.start,
                values: &self.values[range.clone()],
                hazards: &self.hazards[range.clone()],
                proved: &self.offers[range.clone()],
                state,
                facts: &self.facts,
            };
            let decided = &mut wrong[range];
            adversary.decide(&window, decided);
            for (i, wrong) in decided.iter_mut().enumerate() {
                *wrong &= !window.proved[i].proved;
                if *wrong {
                    state.wrong += 1;
                    state.settled += window.values[i];
                }
            }
        }
        wrong
    }

    /// The expectations of decisions.
    pub fn evaluate(&self, wrong: Vec<bool>) -> Outcome {
        let size = self.setting.window;
        let bond = self.facts.bond;
        let (mut alive, mut profit, mut settled) = (1.0, 0.0, 0.0);
        let (mut unseen, mut loss, mut logs, mut passed) = (1.0, 0.0, 0.0, 0.0);
        let (mut path, mut windows) = (Vec::new(), Vec::new());
        for (index, decided) in wrong.chunks(size).enumerate() {
            let (mut survival, mut gains, mut each) = (1.0, 0.0, 0.0);
            for (i, _) in decided.iter().enumerate().filter(|(_, wrong)| **wrong) {
                let i = index * size + i;
                let (value, missed) = (self.values[i], 1.0 - self.hazards[i]);
                survival *= missed;
                gains += value;
                each += value * missed;
                unseen *= missed;
                loss += value * unseen;
                logs -= libm::log(missed);
                passed += value;
                path.push((i, logs, passed));
            }
            // What a cheat has left when something was found.
            let kept = match (self.setting.timing, self.setting.joint_forfeiture) {
                (Timing::BeforeSettle, true) => 0.0,
                (Timing::BeforeSettle, false) if survival < 1.0 => {
                    (each - survival * gains) / (1.0 - survival)
                }
                (Timing::BeforeSettle, false) => 0.0,
                (Timing::AfterUse, _) => gains,
            };
            profit += alive * (survival * gains + (1.0 - survival) * (kept - bond));
            alive *= survival;
            windows.push(Pot {
                settled,
                gains,
                kept,
            });
            settled += gains;
        }
        Outcome {
            wrong,
            profit,
            loss,
            survival: alive,
            path,
            windows,
        }
    }
}

impl Outcome {
    /// Frees what only [`sample`] needs.
    pub fn forget_path(&mut self) {
        self.path = Vec::new();
        self.windows = Vec::new();
    }
}

/// The adversary's decisions against an offer, and what they come to.
pub fn play(
    traffic: &Traffic,
    setting: &Setting,
    offers: &[Offer],
    adversary: &mut dyn Adversary,
    seed: u64,
) -> Outcome {
    let game = Game::new(traffic, setting, offers, adversary, seed);
    let wrong = game.decide(adversary);
    game.evaluate(wrong)
}

/// Plays the same decisions many times. The place of the first detection is drawn at once, from its distribution.
pub fn sample(outcome: &Outcome, setting: &Setting, runs: u32, seed: u64) -> Sampled {
    let mut rng = Rng::new(seed, 3);
    let bond = units(setting.bond);
    let everything = outcome
        .windows
        .last()
        .map_or(0.0, |last| last.settled + last.gains);
    let (mut profit, mut loss) = (Mean::default(), Mean::default());
    for _ in 0..runs {
        let fate = -libm::log(rng.unit());
        let found = outcome.path.partition_point(|(_, logs, _)| *logs < fate);
        let passed = match found.checked_sub(1) {
            Some(before) => outcome.path[before].2,
            None => 0.0,
        };
        loss.add(passed);
        profit.add(match outcome.path.get(found) {
            Some((index, _, _)) => {
                let pot = outcome.windows[index / setting.window];
                pot.settled + pot.kept - bond
            }
            None => everything,
        });
    }
    Sampled {
        runs,
        profit: profit.result(),
        loss: loss.result(),
    }
}

/// Plays once with every coin, and writes the certificate.
pub fn serve(
    traffic: &Traffic,
    setting: &Setting,
    offers: &[Offer],
    wrong: &[bool],
    adversary: &dyn Adversary,
    alpha: Alpha,
    seed: u64,
) -> Served {
    let (mut coins, mut luck) = (Rng::new(seed, 2), Rng::new(seed, 4));
    let mut ledger = Ledger::new();
    let (mut audits, mut proofs, mut count, mut wrong_money) = (0, 0, 0, 0.0);
    let mut convicted = false;
    for (i, offer) in offers.iter().enumerate() {
        if i % setting.window == 0 && convicted {
            break;
        }
        let value = traffic.values[i];
        let audited = offer.tau.selects(coins.bits()) && !offer.proved;
        let evaded = luck.unit() < adversary.evasion();
        let hazard = if offer.proved {
            Probability::ONE
        } else {
            setting.assumed.hazard(offer.tau)
        };
        ledger.serve(hazard, value.0);
        proofs += u64::from(offer.proved);
        audits += u64::from(audited);
        if wrong[i] {
            count += 1;
            wrong_money += units(value);
        }
        if audited {
            let found = wrong[i] && !evaded;
            ledger.audit(found);
            convicted |= found;
        }
    }
    Served {
        answers: ledger.answers(),
        audits,
        proofs,
        wrong: count,
        wrong_money,
        convicted,
        certificate: ledger.certificate(alpha),
    }
}

/// Share of requests that are audited, on average over the coins; and share that is proved before use.
pub fn rates(offers: &[Offer]) -> (f64, f64) {
    let n = offers.len().max(1) as f64;
    let audited: f64 = offers
        .iter()
        .filter(|offer| !offer.proved)
        .map(|offer| offer.tau.probability().to_f64())
        .sum();
    let proved = offers.iter().filter(|offer| offer.proved).count() as f64;
    (audited / n, proved / n)
}

#[derive(Default)]
struct Mean {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let away = value - self.mean;
        self.mean += away / self.count;
        self.squares += away * (value - self.mean);
    }

    /// Mean and standard error.
    fn result(&self) -> (f64, f64) {
        let variance = self.squares / (self.count - 1.0).max(1.0);
        (self.mean, libm::sqrt(variance / self.count.max(1.0)))
    }
}
