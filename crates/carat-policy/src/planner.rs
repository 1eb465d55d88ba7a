//! The cheapest sufficient verification for a consequence in an environment.
//!
//! Enumeration: every way to buy evidence is a `lines::Line`, which knows the price at which it covers a value and the
//! value that it covers at a price. Lines without supply, with a forbidden assumption, below a required level or too slow
//! are dropped; of the rest the cheapest that covers the value is the plan. Pure and total: the same consequence and
//! environment give the same plan on every machine, in microseconds.

use alloc::vec::Vec;

use crate::consequence::Consequence;
use crate::environment::Environment;
use crate::money::{Micros, Price};
use crate::plan::{Alternative, Binding, Obstacle, Plan, Refusal, Rung};

mod lines;
mod switch;

use lines::{Line, Offer};

/// Plans one answer.
///
/// # Errors
/// A [`Refusal`] where nothing that is supplied here covers the value: it says why, what would be sufficient, and what is
/// covered. Nothing is ever degraded silently.
pub fn plan(consequence: &Consequence, environment: &Environment) -> Result<Plan, Refusal> {
    let mut dropped: Vec<(Rung, Obstacle)> = Vec::new();
    if consequence.currency != environment.currency {
        let obstacle = Obstacle::NoSupply("prices in the currency of the policy");
        return Err(Refusal {
            value: consequence.value,
            sufficient: None,
            covered: None,
            dropped: Rung::ALL
                .iter()
                .map(|rung| (*rung, obstacle.clone()))
                .collect(),
        });
    }
    // What is left when only time and money stand in the way, for the refusal.
    let mut slow: Vec<(Line<'_>, Obstacle)> = Vec::new();
    let mut usable: Vec<Line<'_>> = Vec::new();
    for line in lines::all(consequence, environment) {
        match line {
            Err((rung, obstacle)) => note(&mut dropped, rung, obstacle),
            Ok(line) => match line.obstacle() {
                None => usable.push(line),
                Some(obstacle @ Obstacle::TooSlow { .. }) => {
                    note(&mut dropped, line.rung, obstacle.clone());
                    slow.push((line, obstacle));
                }
                Some(obstacle) => note(&mut dropped, line.rung, obstacle),
            },
        }
    }
    let value = consequence.value;
    let mut offers: Vec<(usize, Offer)> = Vec::new();
    let mut unaffordable: Vec<(Rung, Price)> = Vec::new();
    let limit = limit(consequence, environment);
    for (at, line) in usable.iter().enumerate() {
        match line.offer(value) {
            Ok(offer) if offer.price > limit => {
                let price = offer.price;
                note(&mut dropped, line.rung, Obstacle::Budget { price });
                unaffordable.push((line.rung, price));
            }
            Ok(offer) => offers.push((at, offer)),
            Err(obstacle) => note(&mut dropped, line.rung, obstacle),
        }
    }
    // The first of equals: `Rung::ALL` is the order in which lines are made.
    let Some((best_at, best)) = offers.iter().min_by_key(|(at, offer)| (offer.price, *at)) else {
        return Err(refuse(
            consequence,
            limit,
            &usable,
            &slow,
            unaffordable,
            dropped,
        ));
    };
    let line = &usable[*best_at];
    // A rung that was kept out in one way may have been bought in another.
    dropped.retain(|(rung, _)| !offers.iter().any(|(at, _)| usable[*at].rung == *rung));
    let runner_up = offers
        .iter()
        .filter(|(at, _)| usable[*at].rung != line.rung)
        .min_by_key(|(at, offer)| (offer.price, *at))
        .map(|(at, offer)| Alternative {
            rung: usable[*at].rung,
            price: offer.price,
        });
    Ok(Plan {
        rung: line.rung,
        tau: best.tau,
        hazard: best.hazard,
        replicas: best.replicas,
        timing: consequence.timing,
        window_secs: line.window_secs(),
        bond: line.bond(),
        proof_within_secs: line.proof_within_secs(),
        price: best.price,
        latency_micros: line.latency_micros,
        good_for: best.covers,
        under: line.under.clone(),
        binding: binding(line, best, &dropped),
        runner_up,
        switch_points: switch::points(consequence, limit, &usable, *best_at, best, &slow),
        dropped,
    })
}

/// One reason for each rung: the first that was met.
fn note(dropped: &mut Vec<(Rung, Obstacle)>, rung: Rung, obstacle: Obstacle) {
    if !dropped.iter().any(|(other, _)| *other == rung) {
        dropped.push((rung, obstacle));
    }
}

fn binding(line: &Line<'_>, offer: &Offer, dropped: &[(Rung, Obstacle)]) -> Binding {
    match (line.rung, offer.rule) {
        (Rung::Signature, _) => return Binding::NothingAtStake,
        (Rung::SignatureAudit, _) if offer.floor => return Binding::Floor,
        (Rung::SignatureAudit, Some(rule)) => return Binding::Rule(rule),
        _ => {}
    }
    // Something dearer than sampling was bought: what kept sampling out, if anything did.
    match dropped
        .iter()
        .find(|(rung, _)| *rung == Rung::SignatureAudit)
    {
        Some((rung, obstacle)) => Binding::Instead(*rung, obstacle.clone()),
        None if line.rung == Rung::Replay => Binding::Replicas,
        None => Binding::Price,
    }
}

/// The smaller of the policy's budget for the answer and what may still be spent.
fn limit(consequence: &Consequence, environment: &Environment) -> Price {
    let most = Price(u64::MAX);
    let budget = consequence.budget.unwrap_or(most);
    budget.min(environment.spendable.unwrap_or(most))
}

fn refuse(
    consequence: &Consequence,
    limit: Price,
    usable: &[Line<'_>],
    slow: &[(Line<'_>, Obstacle)],
    unaffordable: Vec<(Rung, Price)>,
    dropped: Vec<(Rung, Obstacle)>,
) -> Refusal {
    let too_slow = slow.iter().filter_map(|(line, _)| {
        line.offer(consequence.value)
            .ok()
            .map(|offer| (line.rung, offer.price))
    });
    let sufficient = unaffordable
        .into_iter()
        .chain(too_slow)
        .min_by_key(|(_, price)| *price)
        .map(|(rung, price)| Alternative { rung, price });
    let covered = usable
        .iter()
        .map(|line| (line.covers(limit), line.rung))
        .filter(|(value, _)| *value > Micros::ZERO)
        // The first of equals.
        .fold(None, |best: Option<(Micros, Rung)>, next| match best {
            Some(best) if best.0 >= next.0 => Some(best),
            _ => Some(next),
        });
    Refusal {
        value: consequence.value,
        sufficient,
        covered,
        dropped,
    }
}
