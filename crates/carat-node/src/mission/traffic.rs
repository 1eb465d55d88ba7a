//! Requests by a seed: which model, what rides on the answer, and when a wrong one would hurt.

use carat_policy::Micros;
use carat_policy::facts::Facts;
use carat_policy::simulate::rng::Rng;
use carat_policy::simulate::values::Values;

use crate::exit::{Exit, Failure};

/// Streams of the seed.
const MODELS: u64 = 2;
const KINDS: u64 = 3;

/// How long somebody waits who waits, in microseconds: `deadline_ms` of the policy.
pub(super) const PATIENCE_MICROS: u64 = 1000;

/// When a wrong answer would hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Gains can be taken back until it settles.
    Settles,
    /// The answer is used at once.
    Used,
    /// What is done with the answer cannot be undone.
    Final,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Settles => "settles",
            Self::Used => "used",
            Self::Final => "final",
        }
    }
}

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) model: usize,
    pub(super) value: Micros,
    pub(super) kind: Kind,
    /// Somebody waits for it.
    pub(super) urgent: bool,
}

impl Request {
    /// Whether the policy gives it a deadline.
    pub(super) fn must_not_wait(&self) -> bool {
        self.kind == Kind::Final && self.urgent
    }

    /// What the caller says.
    pub(super) fn facts(&self) -> Result<Facts, Failure> {
        let amount = format!(
            "{}.{:06}",
            self.value.0 / 1_000_000,
            self.value.0 % 1_000_000
        );
        let json = serde_json::json!({
            "request": { "kind": self.kind.as_str(), "amount": amount, "urgent": self.urgent },
        });
        Facts::from_json(&json.to_string()).map_err(Failure::of(Exit::Internal))
    }
}

/// Draws requests: models by Zipf's law (the k-th is asked for in proportion to 1/k: the `named` first ones in
/// their order, then the others in an order of the seed), values from
/// the distribution with `unit` as its unit, six in ten settle later, three are used at once, one cannot be undone, and for
/// one in ten of those somebody waits.
pub(super) fn requests(
    models: usize,
    named: usize,
    count: usize,
    values: &Values,
    unit: Micros,
    seed: u64,
) -> Vec<Request> {
    let stakes = values.traffic("mission", count, seed, false).values;
    let mut rng = Rng::new(seed, MODELS);
    let mut order: Vec<usize> = (0..models).collect();
    let others = order.get_mut(named..).unwrap_or_default();
    for i in (1..others.len()).rev() {
        others.swap(i, rng.below(i as u64 + 1) as usize);
    }
    // Weights in whole numbers, so that every machine draws the same.
    let mut ends = Vec::with_capacity(models);
    let mut sum = 0_u64;
    for rank in 1..=models as u64 {
        sum += (1 << 32) / rank;
        ends.push(sum);
    }
    let mut kinds = Rng::new(seed, KINDS);
    stakes
        .into_iter()
        .map(|stake| {
            let at = rng.below(sum);
            let rank = ends.partition_point(|end| *end <= at);
            let kind = match kinds.below(10) {
                0..6 => Kind::Settles,
                6..9 => Kind::Used,
                _ => Kind::Final,
            };
            let wide = u128::from(stake.0) * u128::from(unit.0) / 1_000_000;
            Request {
                model: order[rank],
                value: Micros(u64::try_from(wide).unwrap_or(u64::MAX).max(1)),
                kind,
                urgent: kinds.below(10) == 0,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_repeatable_heavy_tailed_and_reaches_every_model() {
        let values = Values::parse("lognormal:3").unwrap();
        let unit = Micros(20_000);
        let some = requests(20, 2, 5000, &values, unit, 1);
        assert_eq!(some, requests(20, 2, 5000, &values, unit, 1));
        assert_ne!(some, requests(20, 2, 5000, &values, unit, 2));
        let mut asked = [0_u32; 20];
        some.iter().for_each(|request| asked[request.model] += 1);
        assert!(asked.iter().all(|count| *count > 0), "{asked:?}");
        let most = asked.iter().max().copied().unwrap_or_default();
        assert!(most > 5000 / 20 * 3, "{asked:?}");
        // The named ones come first.
        assert!(asked[0] == most && asked[2..].iter().all(|count| *count < asked[1]));
        // A hundredth of the requests carries more than half of what is at stake.
        let mut stakes: Vec<u64> = some.iter().map(|request| request.value.0).collect();
        stakes.sort_unstable();
        let all: u64 = stakes.iter().sum();
        let top: u64 = stakes.iter().rev().take(50).sum();
        assert!(top * 2 > all, "{top} of {all}");
    }

    #[test]
    fn facts_say_the_amount_exactly() {
        let request = Request {
            model: 0,
            value: Micros(1_000_001),
            kind: Kind::Final,
            urgent: true,
        };
        let facts = request.facts().unwrap().canonical();
        assert!(
            facts.contains("1.000001") && facts.contains("final"),
            "{facts}"
        );
    }
}
