//! A plan or a refusal in sentences, with the numbers that a reader can check.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use carat_receipt::{Amount, Currency};

use crate::consequence::{Consequence, timing_name};
use crate::environment::Environment;
use crate::money::{Micros, Price};
use crate::plan::{Binding, Obstacle, Plan, Refusal, Rule, Rung, SwitchPoint};
use crate::probability::Probability;

/// A plan in sentences, the most important first.
pub fn plan(plan: &Plan, consequence: &Consequence, environment: &Environment) -> Vec<String> {
    let currency = consequence.currency;
    let money = |micros: Micros| amount(micros, currency);
    let mut lines = Vec::new();
    let under = match plan.under.is_empty() {
        true => String::new(),
        false => format!(" under {{{}}}", plan.under.join(", ")),
    };
    if plan.rung == Rung::Signature {
        lines.push(
            "V = 0: nothing is at stake, so the signature alone is enough; it is good for 0".into(),
        );
    } else {
        lines.push(format!(
            "V = {} <= good for {}{under}",
            money(consequence.value),
            money(plan.good_for)
        ));
    }
    let mut bought = format!("bought: {}", plan.rung.as_str());
    if plan.replicas > 0 {
        bought.push_str(&format!(", {} replicas before use", plan.replicas));
    }
    if plan.tau.0 > 0 {
        bought.push_str(&format!(
            ", audited with p = {} (a wrong answer is caught with h = {})",
            percent(plan.tau.probability()),
            percent(plan.hazard)
        ));
    }
    bought.push_str(&format!(
        ", timing {}, for {} expected",
        timing_name(plan.timing),
        plan.price.show(currency)
    ));
    lines.push(bought);
    lines.push(format!(
        "binding: {}",
        binding(&plan.binding, consequence, environment)
    ));
    if let Some(runner_up) = &plan.runner_up {
        lines.push(format!(
            "runner-up: {} would cost {}{}",
            runner_up.rung.as_str(),
            runner_up.price.show(currency),
            times(runner_up.price, plan.price)
        ));
    }
    lines.extend(
        plan.switch_points
            .iter()
            .map(|point| switch_point(point, currency)),
    );
    lines
}

/// A refusal in sentences, the most important first.
pub fn refusal(refusal: &Refusal, currency: Currency) -> Vec<String> {
    let money = |micros: Micros| amount(micros, currency);
    let mut lines = Vec::new();
    lines.push(format!(
        "refused: nothing that is supplied here covers V = {}",
        money(refusal.value)
    ));
    if let Some(sufficient) = &refusal.sufficient {
        lines.push(format!(
            "the cheapest sufficient plan is {} and costs {}, more than budget or deadline allow",
            sufficient.rung.as_str(),
            sufficient.price.show(currency)
        ));
    }
    lines.push(match &refusal.covered {
        Some((value, rung)) => format!(
            "what is supplied here covers up to {}, by {}",
            money(*value),
            rung.as_str()
        ),
        None => "what is supplied here covers nothing".into(),
    });
    lines.extend(refusal.dropped.iter().map(|(rung, obstacle)| {
        format!("{}: {}", rung.as_str(), self::obstacle(obstacle, currency))
    }));
    lines
}

/// What made a plan as strong as it is.
pub fn binding(binding: &Binding, consequence: &Consequence, environment: &Environment) -> String {
    let currency = consequence.currency;
    let stake = environment
        .bond
        .as_ref()
        .map_or(Micros::ZERO, |bond| bond.allocated.plus(bond.withheld));
    match binding {
        Binding::NothingAtStake => "nothing is at stake".into(),
        Binding::Floor => format!(
            "the policy's floor on audits, p_min = {}",
            consequence.p_min
        ),
        Binding::Rule(Rule::T2) => format!(
            "T2: gains can be clawed back before settlement and one conviction forfeits the stake of {} and all pending \
             gains, so h = G/(G+S)",
            amount(stake, currency)
        ),
        Binding::Rule(Rule::T3) => format!(
            "T3: gains are kept, so h = 1 - exp(-eta G/S), with at most {} of the stake {} open at a time",
            environment.kappa,
            amount(stake, currency)
        ),
        Binding::Rule(Rule::T4) => format!(
            "T4: no bond is relied on; expected undetected loss at most {}",
            amount(consequence.loss_cap.unwrap_or_default(), currency)
        ),
        Binding::Replicas => format!(
            "T7: the expected loss to corrupt replicas and shared faults stays within epsilon = {}",
            amount(consequence.epsilon, currency)
        ),
        Binding::Price => "price: it is the cheapest that is sufficient".into(),
        Binding::Instead(rung, why) => format!(
            "{} would not do: {}",
            rung.as_str(),
            obstacle(why, currency)
        ),
    }
}

/// Why a rung was not taken.
pub fn obstacle(obstacle: &Obstacle, currency: Currency) -> String {
    let money = |micros: Micros| amount(micros, currency);
    match obstacle {
        Obstacle::NoSupply(what) => format!("there is no supply here of {what}"),
        Obstacle::NotCalibrated(what) => format!("its cost was never measured here: {what}"),
        Obstacle::Forbidden { atom, by } => format!("it rests on `{atom}`, which {by} forbids"),
        Obstacle::Required { level, by } => format!("{by} requires {}", level.as_str()),
        Obstacle::TooSlow { micros, deadline } => {
            format!(
                "it takes {} (99th percentile), the deadline is {}",
                millis(*micros),
                millis(*deadline)
            )
        }
        Obstacle::Exposure { left, gain } => format!(
            "without clawback {} of the exposure cap kappa * S is left, and a cheat could gain {}",
            money(*left),
            money(*gain)
        ),
        Obstacle::PreUseOnly { cap, gain } => format!(
            "the consequence is irreversible and a cheat could gain {}, more than kappa * S = {}: only evidence before \
             use will do",
            money(*gain),
            money(*cap)
        ),
        Obstacle::TooWeak { needed, ceiling } => format!(
            "even an audit of every answer catches only {}, and {} is needed",
            percent(*ceiling),
            percent(*needed)
        ),
        Obstacle::Covers(Micros::ZERO) => "it is good for nothing".into(),
        Obstacle::Covers(most) => format!("it covers {} at most", money(*most)),
        Obstacle::Budget { price } => {
            format!("it costs {}, more than the budget", price.show(currency))
        }
    }
}

/// Where another plan wins.
pub fn switch_point(point: &SwitchPoint, currency: Currency) -> String {
    let money = |micros: Micros| amount(micros, currency);
    match point {
        SwitchPoint::Above {
            value,
            rung: Some(rung),
            price,
        } => {
            let price = price
                .map(|price| format!(", at {}", price.show(currency)))
                .unwrap_or_default();
            format!(
                "switch: {} starts paying above {}{price}",
                rung.as_str(),
                money(*value)
            )
        }
        SwitchPoint::Above {
            value, rung: None, ..
        } => {
            format!(
                "limit: nothing that is supplied here covers more than {}",
                money(*value)
            )
        }
        SwitchPoint::UpTo { value, rung } => {
            format!(
                "switch: up to {} {} would be cheaper",
                money(*value),
                rung.as_str()
            )
        }
        SwitchPoint::WithBond { bond, tau } => {
            format!(
                "with a bond of {}: p = {}",
                money(*bond),
                percent(tau.probability())
            )
        }
        SwitchPoint::WithDeadline {
            micros,
            rung,
            price,
        } => format!(
            "with a deadline of {} or more: {} for {}",
            millis(*micros),
            rung.as_str(),
            price.show(currency)
        ),
    }
}

/// An amount with its currency.
pub fn amount(micros: Micros, currency: Currency) -> String {
    match micros {
        Micros::MAX => "any amount".into(),
        micros => Amount::from_micros(micros.0, currency).to_string(),
    }
}

/// A probability in percent with three significant digits or so, rounded down. For people: nothing reads it back.
pub fn percent(p: Probability) -> String {
    // Millionths of a percent fit every threshold that a plan shows.
    let scaled = (p.bits().saturating_mul(100_000_000)) >> 64;
    if scaled == 0 && p > Probability::ZERO {
        return "less than 0.000001%".into();
    }
    let (whole, mut rest, mut width) = (scaled / 1_000_000, scaled % 1_000_000, 6);
    // Three significant digits.
    let keep = if whole >= 100 {
        0
    } else if whole >= 10 {
        1
    } else if whole >= 1 {
        2
    } else {
        rest_digits(rest)
    };
    while width > keep {
        rest /= 10;
        width -= 1;
    }
    while width > 0 && rest.is_multiple_of(10) {
        rest /= 10;
        width -= 1;
    }
    if width == 0 {
        format!("{whole}%")
    } else {
        format!("{whole}.{rest:0width$}%")
    }
}

fn rest_digits(rest: u128) -> usize {
    let zeros = (0..6)
        .take_while(|place| rest < 10_u128.pow(5 - place))
        .count();
    (zeros + 3).min(6)
}

fn times(price: Price, base: Price) -> String {
    match price.0.checked_div(base.0) {
        Some(times) if times >= 2 => format!(", {times}x more"),
        _ => String::new(),
    }
}

fn millis(micros: u64) -> String {
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fraction;

    #[test]
    fn percentages_have_three_digits_and_round_down() {
        for (text, shown) in [
            ("0.1", "10%"),
            ("0.25", "25%"),
            ("0.004975124", "0.497%"),
            ("1", "100%"),
            ("0.285714286", "28.5%"),
            ("0.000001", "0.0001%"),
            ("0.000000001", "less than 0.000001%"),
            ("0", "0%"),
        ] {
            let fraction: Fraction = text.parse().unwrap();
            assert_eq!(percent(fraction.up()), shown, "{text}");
        }
    }
}
