//! Who plays against the audits.

use std::string::{String, ToString};
use std::vec::Vec;

use super::auditing::Offer;
use super::play::{self, Facts, Game};
use super::rng::Rng;
use super::search;

/// What an adversary sees when it decides about a window: everything but the coins.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// Number of the window, from 0.
    pub index: usize,
    /// Index of its first request.
    pub first: usize,
    /// Values of its requests, in units.
    pub values: &'a [f64],
    /// Chances that wrong answers to them are found.
    pub hazards: &'a [f64],
    /// Which of them are proved before use.
    pub proved: &'a [Offer],
    /// What happened before.
    pub state: State,
    /// What never changes.
    pub facts: &'a Facts,
}

/// An uncaught adversary's past.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct State {
    /// Gains of earlier windows, in units.
    pub settled: f64,
    /// Wrong answers in earlier windows.
    pub wrong: u64,
}

/// Decides which answers are wrong.
pub trait Adversary {
    /// Looks at the whole game before it begins.
    fn prepare(&mut self, _game: &Game<'_>) {}

    /// Marks the wrong answers of a window; all are right at first.
    fn decide(&mut self, window: &Window<'_>, wrong: &mut [bool]);

    /// Share of audits that come to nothing, because auditors collude or do no work.
    fn evasion(&self) -> f64 {
        0.0
    }

    /// Whether it knows the coins before it decides: the beacon is no secret, or it may choose among several.
    fn foresees(&self) -> bool {
        false
    }
}

/// The adversaries that are built in.
#[derive(Debug, Clone)]
pub enum Agent {
    /// Never wrong.
    Honest,
    /// Always wrong: saves all the work.
    Lazy,
    /// Wrong where the value is in the top percent.
    ValueHunter,
    /// Honest until the middle, then wrong until one bond is at stake, in one window.
    Burst,
    /// Honest until the last window, then always wrong.
    ExitScam,
    /// Wrong once in a hundred requests, at random.
    Sneaky,
    /// The best response of a node that shares with some auditors, who then find nothing.
    ColludingAuditor(f64),
    /// The best response where some auditors copy the answer instead of computing it.
    CopyCatAuditor(f64),
    /// Knows the coins, and is wrong exactly where none falls. This breaks an assumption, and must succeed.
    RootGrinding,
    /// Tries many roots before a beacon that it cannot foresee: no better than the best response.
    RootGrindingBlind,
    /// Learns from repeated games which values, which windows and how much at a time pay.
    Learning,
    /// The best response that the search finds.
    BestResponse,
}

/// Share of auditors that collude or copy, unless told otherwise.
pub const DEFAULT_EVASION: f64 = 0.2;

impl Agent {
    /// All of them, in the order in which tables show them.
    pub const NAMES: [&'static str; 12] = [
        "honest",
        "lazy",
        "value-hunter",
        "burst",
        "exit-scam",
        "sneaky",
        "colluding-auditor",
        "copy-cat-auditor",
        "root-grinding",
        "root-grinding-blind",
        "learning",
        "best-response",
    ];

    /// The agent of a name; `evasion` is for those that evade audits.
    pub fn named(name: &str, evasion: f64) -> Option<Self> {
        Some(match name {
            "honest" => Self::Honest,
            "lazy" => Self::Lazy,
            "value-hunter" => Self::ValueHunter,
            "burst" => Self::Burst,
            "exit-scam" | "exit" => Self::ExitScam,
            "sneaky" => Self::Sneaky,
            "colluding-auditor" => Self::ColludingAuditor(evasion),
            "copy-cat-auditor" | "copy-cat" => Self::CopyCatAuditor(evasion),
            "root-grinding" => Self::RootGrinding,
            "root-grinding-blind" => Self::RootGrindingBlind,
            "learning" => Self::Learning,
            "best-response" => Self::BestResponse,
            _ => return None,
        })
    }

    /// A player with that character; `seed` is for its own dice.
    pub fn player(self, seed: u64) -> Player {
        Player {
            agent: self,
            rng: Rng::new(seed, 5),
            planned: Vec::new(),
        }
    }

    /// The assumption that it breaks, if it breaks one that no audit rate can make good.
    pub fn breaks(&self) -> Option<String> {
        matches!(self, Self::RootGrinding).then(|| {
            "the coins can be foreseen (pi = 1): no audit rate helps, only a beacon that comes after a witnessed checkpoint"
                .to_string()
        })
    }
}

/// A built-in adversary at work.
#[derive(Debug, Clone)]
pub struct Player {
    agent: Agent,
    rng: Rng,
    /// Decisions that were made when the game was looked at.
    planned: Vec<bool>,
}

impl Adversary for Player {
    fn prepare(&mut self, game: &Game<'_>) {
        self.planned = match self.agent {
            Agent::ColludingAuditor(_)
            | Agent::CopyCatAuditor(_)
            | Agent::RootGrinding
            | Agent::RootGrindingBlind
            | Agent::BestResponse => search::best_response(game),
            Agent::Learning => learn(game, &mut self.rng),
            _ => Vec::new(),
        };
    }

    fn decide(&mut self, window: &Window<'_>, wrong: &mut [bool]) {
        let facts = window.facts;
        let windows = facts.requests.div_ceil(facts.window);
        match self.agent {
            Agent::Honest => {}
            Agent::Lazy => wrong.fill(true),
            Agent::ValueHunter => {
                let least = facts.percentiles[2];
                wrong
                    .iter_mut()
                    .zip(window.values)
                    .for_each(|(wrong, value)| *wrong = *value >= least);
            }
            Agent::Burst => {
                if window.index == windows / 2 {
                    let mut pending = 0.0;
                    for ((wrong, value), offer) in
                        wrong.iter_mut().zip(window.values).zip(window.proved)
                    {
                        if pending < facts.bond && !offer.proved {
                            *wrong = true;
                            pending += value;
                        }
                    }
                }
            }
            Agent::ExitScam => wrong.fill(window.index + 1 == windows),
            Agent::Sneaky => wrong
                .iter_mut()
                .for_each(|wrong| *wrong = self.rng.below(100) == 0),
            Agent::ColludingAuditor(_)
            | Agent::CopyCatAuditor(_)
            | Agent::RootGrinding
            | Agent::RootGrindingBlind
            | Agent::Learning
            | Agent::BestResponse => {
                let planned = &self.planned[window.first..window.first + wrong.len()];
                wrong.copy_from_slice(planned);
            }
        }
    }

    fn evasion(&self) -> f64 {
        match self.agent {
            Agent::ColludingAuditor(share) | Agent::CopyCatAuditor(share) => share,
            _ => 0.0,
        }
    }

    fn foresees(&self) -> bool {
        matches!(self.agent, Agent::RootGrinding)
    }
}

/// One thing that the learning adversary can try: from which value on, from which window on, how much at a time.
#[derive(Debug, Clone, Copy)]
struct Arm {
    least: f64,
    from: Start,
    at_a_time: f64,
}

#[derive(Debug, Clone, Copy)]
enum Start {
    First,
    Middle,
    Last,
}

impl Adversary for Arm {
    fn decide(&mut self, window: &Window<'_>, wrong: &mut [bool]) {
        let windows = window.facts.requests.div_ceil(window.facts.window);
        let from = match self.from {
            Start::First => 0,
            Start::Middle => windows / 2,
            Start::Last => windows - 1,
        };
        if window.index < from {
            return;
        }
        let mut pending = 0.0;
        for (i, wrong) in wrong.iter_mut().enumerate() {
            let value = window.values[i];
            if value >= self.least && pending + value <= self.at_a_time && !window.proved[i].proved
            {
                *wrong = true;
                pending += value;
            }
        }
    }
}

/// A bandit (upper confidence bounds, Auer et al. 2002) over values, windows and amounts: it plays many games, sees only
/// what it earned in each, and keeps what paid best. Staying honest is one of the choices.
fn learn(game: &Game<'_>, rng: &mut Rng) -> Vec<bool> {
    const GAMES: u32 = 20_000;
    // It learns on the beginning of the traffic and then plays all of it.
    const LESSON: usize = 20_000;
    let requests = game.values.len().min(LESSON);
    let lesson = Game {
        setting: game.setting,
        offers: &game.offers[..requests],
        values: game.values[..requests].to_vec(),
        hazards: game.hazards[..requests].to_vec(),
        facts: Facts {
            requests,
            ..game.facts
        },
    };
    let mut values = std::vec![0.0];
    values.extend(&game.facts.percentiles[..4]);
    let mut arms = Vec::new();
    for least in values {
        for from in [Start::First, Start::Middle, Start::Last] {
            for share in [0.1, 0.5, 1.0, f64::INFINITY] {
                arms.push(Arm {
                    least,
                    from,
                    at_a_time: share * game.facts.bond,
                });
            }
        }
    }
    let honest = std::vec![false; requests];
    // What an arm decides is fixed; what it earns is drawn anew in each game.
    let games: Vec<play::Outcome> = arms
        .iter_mut()
        .map(|arm| lesson.evaluate(lesson.decide(arm)))
        .chain([lesson.evaluate(honest)])
        .collect();
    let scale = game.facts.bond.max(1e-9);
    let mut tries = std::vec![(0.0_f64, 0.0_f64); games.len()];
    for played in 0..GAMES {
        let total = libm::log(f64::from(played + 2));
        let next = (0..games.len()).map(|arm| {
            let (count, sum) = tries[arm];
            let hope = if count == 0.0 {
                f64::INFINITY
            } else {
                sum / count + libm::sqrt(2.0 * total / count)
            };
            (hope, arm)
        });
        let arm = next
            .fold((f64::NEG_INFINITY, 0), |a, b| if b.0 > a.0 { b } else { a })
            .1;
        let earned = play::sample(&games[arm], game.setting, 1, rng.bits())
            .profit
            .0;
        tries[arm].0 += 1.0;
        tries[arm].1 += earned / scale;
    }
    let mean = |arm: usize| tries[arm].1 / tries[arm].0.max(1.0);
    let best = (0..games.len()).fold(
        games.len() - 1,
        |a, b| if mean(b) > mean(a) { b } else { a },
    );
    match arms.get_mut(best) {
        Some(arm) => game.decide(arm),
        None => std::vec![false; game.values.len()],
    }
}
