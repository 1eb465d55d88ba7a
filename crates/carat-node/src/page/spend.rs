//! What was spent on verification, against what it covers: totals that everybody may read (`/metrics` has them), and for the
//! operator the decisions one by one.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use carat_policy::simulate::frontier::frontier;
use carat_policy::simulate::values::Values;
use carat_policy::{Micros, Price, Rung, explain};
use carat_receipt::Currency;
use maud::{Markup, html};
use serde_json::Value;
use tokio::task::block_in_place;

use super::charts::{Axis, Chart, Line, short};
use super::frame::{Here, Page, html_response, many, name, plain, table, time};
use super::history::{Decision, MOST, Shown};
use super::outcome::bought;
use super::session::{Visitor, with};
use crate::access::Scope;
use crate::api::Shared;
use crate::exit::Failure;
use crate::node::{Node, now};
use crate::problem::Problem;

/// Without JavaScript the page is loaded again after so many seconds.
const AGAIN: u32 = 15;
/// Fewer values than this are no traffic to compare rules on.
const LEAST: usize = 10;
/// Most points of a line.
const MAX_POINTS: usize = 400;

/// `GET /spend`.
pub(super) async fn spend(State(node): Shared, headers: HeaderMap) -> Response {
    with(&node, &headers, |visitor| {
        let shown = block_in_place(|| content(&node, visitor))?;
        let body = html! {
            h1 { "Spend against guarantee" }
            p.lead { "Checking costs money. This is what was spent on it here, and what that covers." }
            div #live data-from="/spend/live" { (shown) }
        };
        let page = Page {
            script: Some("live.js"),
            again: Some(AGAIN),
            ..Page::new("Spend against guarantee", Here::Spend)
        };
        Ok(page.with(visitor, body))
    })
}

/// `GET /spend/live`: what changes, for the script that puts it in place.
pub(super) async fn live(State(node): Shared, headers: HeaderMap) -> Response {
    with(&node, &headers, |visitor| {
        Ok(html_response(block_in_place(|| content(&node, visitor))?))
    })
}

fn content(node: &Node, visitor: &Visitor) -> Result<Markup, Problem> {
    let operator = visitor.can(Scope::Admin);
    let shown = match operator {
        true => Some(node.page.history.look(&node.home, node.store_keys())?),
        false => None,
    };
    Ok(html! {
        @match &shown {
            Some(shown) => (decisions(shown)),
            None => div.note {
                p { "The decisions one by one are for the operator: a key with the scope " code { "admin" } ". The totals are for everybody." }
            },
        }
        (totals(node, operator)?)
        p.small.quiet role="status" { "As of " (time(now()?)) "." }
    })
}

/// Totals by day and month: for everybody as `/metrics` has them, for the operator with limits and tenants.
fn totals(node: &Node, operator: bool) -> Result<Markup, Failure> {
    let now = crate::home::clock()?;
    let body = match operator {
        true => by_tenant(&node.spending.json(now)),
        false => {
            let totals = node.spending.totals(now);
            let row = |head: &str, (spent, left): (f64, Option<f64>)| {
                html! {
                    tr {
                        th scope="row" { (head) }
                        td.number { (spent) }
                        td.number { @match left { Some(left) => (left), None => "no limit" } }
                    }
                }
            };
            html! {
                (table("Spent and left", &["", "Spent", "Left"], html! {
                    (row("Today (UTC)", totals.day))
                    (row("This month", totals.month))
                }))
                p.small.quiet { "In units of the policy's currency." }
            }
        }
    };
    Ok(html! { h2 { "Spent and left" } (body) })
}

fn by_tenant(json: &Value) -> Markup {
    let text = |value: &Value| value.as_str().map_or_else(|| "no limit".to_string(), plain);
    let row = |head: Markup, value: &Value| {
        html! {
            tr {
                th scope="row" { (head) }
                td.number { (text(&value["spent"])) }
                td.number { (text(&value["left"])) }
                td.number { (text(&value["allowed"])) }
            }
        }
    };
    table(
        "Spent and left",
        &["", "Spent", "Left", "Limit"],
        html! {
            (row(html! { "Today (UTC)" }, &json["day"]))
            (row(html! { "This month" }, &json["month"]))
            @for (tenant, of) in json["tenants"].as_object().into_iter().flatten() {
                (row(html! { (name(tenant)) ", today" }, &of["day"]))
                (row(html! { (name(tenant)) ", this month" }, &of["month"]))
            }
        },
    )
}

/// Sums over decisions of one currency.
#[derive(Default)]
struct Sums {
    answers: u64,
    covered: u128,
    spent: u128,
    refused: u64,
    refused_value: u128,
    bare: u64,
    bare_value: u128,
}

impl Sums {
    fn of<'a>(decisions: impl Iterator<Item = &'a Decision>) -> Self {
        let mut sums = Self::default();
        for decision in decisions {
            let value = u128::from(decision.value.0);
            match (decision.bought, decision.served) {
                (Some(plan), true) => {
                    sums.answers += 1;
                    sums.covered += value;
                    sums.spent += u128::from(plan.price.0);
                }
                (None, true) => {
                    sums.bare += 1;
                    sums.bare_value += value;
                }
                (_, false) => {
                    sums.refused += 1;
                    sums.refused_value += value;
                }
            }
        }
        sums
    }
}

fn money(wide: u128, currency: Currency) -> String {
    explain::amount(Micros(u64::try_from(wide).unwrap_or(u64::MAX)), currency)
}

fn price(wide: u128, currency: Currency) -> String {
    Price(u64::try_from(wide).unwrap_or(u64::MAX))
        .show(currency)
        .to_string()
}

fn decisions(shown: &Shown) -> Markup {
    let Some(last) = shown.decisions.last() else {
        return html! {
            div.verdict { p.amount { "Nothing yet" }
                p { "No decision of the planner is kept here: there is one once somebody says what hangs on an answer, or a policy is in force." } }
        };
    };
    // Another currency is another account.
    let currency = last.currency;
    let of: Vec<&Decision> = shown
        .decisions
        .iter()
        .filter(|decision| decision.currency == currency)
        .collect();
    let sums = Sums::of(of.iter().copied());
    let first = of.first().map_or(last.time, |decision| decision.time);
    html! {
        div.verdict {
            p.amount { (money(sums.covered, currency)) }
            p { "at stake is covered, in " (many(sums.answers, "answer", "answers")) " since " (time(first)) ", for "
                strong { (price(sums.spent, currency)) } " spent on checking."
                @if sums.refused > 0 { " " (many(sums.refused, "request", "requests")) " with " (money(sums.refused_value, currency))
                    " at stake " @if sums.refused == 1 { "was" } @else { "were" } " refused: nothing that is supplied covers them." }
                @if sums.bare > 0 { " " (many(sums.bare, "answer", "answers")) " with " (money(sums.bare_value, currency))
                    " at stake left with nothing bought: the policy only warns, or only records." }
            }
        }
        figure {
            div.scroll.chart role="region" aria-label="Chart" tabindex="0" { (over_time(&of, currency)) }
            figcaption { "Summed up over time, in " (currency.as_str()) ". The distance between the lines is what checking by consequence saves: what "
                "is covered grows by the value of each answer, what is spent by the price of the evidence that is just enough for it." }
        }
        (by_rung(&of, currency))
        (compared(&of))
        @if shown.older { p.small.quiet { "The latest " (MOST) " decisions at most; there are older ones in " code { "decisions.jsonl" } "." } }
        @if shown.decisions.len() > of.len() { p.small.quiet { (many((shown.decisions.len() - of.len()) as u64, "decision", "decisions")) " in another currency left out." } }
        @if shown.unread > 0 { p.small.quiet { (many(shown.unread, "record", "records")) " could not be made again." } }
    }
}

fn units(micros: u128) -> f64 {
    micros as f64 / 1e6
}

fn over_time(of: &[&Decision], currency: Currency) -> Markup {
    let (mut covered, mut spent) = (0u128, 0u128);
    let mut lines = [Vec::new(), Vec::new()];
    for decision in of {
        if let (Some(plan), true) = (decision.bought, decision.served) {
            covered += u128::from(decision.value.0);
            spent += u128::from(plan.price.0);
        }
        let at = decision.time as f64;
        for (line, value) in lines
            .iter_mut()
            .zip([units(covered), spent as f64 / Price::PICOS as f64])
        {
            // What is nothing yet has no place on a logarithmic axis.
            if value > 0.0 {
                line.push((at, value));
            }
        }
    }
    let [covered, spent] = lines.map(thinned);
    let (first, last) = (
        of.first().map_or(0, |decision| decision.time),
        of.last().map_or(0, |decision| decision.time),
    );
    let clock = |unix: u64| {
        let text = carat_verify::time::to_text(unix);
        // One day: the time of it; else the day.
        let same = first / 86_400 == last / 86_400;
        text.get(if same { 11..16 } else { 0..10 })
            .unwrap_or_default()
            .to_string()
    };
    let mut ticks = vec![(first as f64, clock(first))];
    if last > first {
        ticks.push((last as f64, clock(last)));
    }
    let title =
        format!("Spent on verification and value covered, summed up over time, in {currency}");
    Chart {
        title: &title,
        lines: vec![
            Line {
                name: "covered",
                class: "covered",
                points: covered,
                steps: true,
            },
            Line {
                name: "spent",
                class: "spent",
                points: spent,
                steps: true,
            },
        ],
        across: Axis::Plain(ticks, "time (UTC)"),
        up: currency.as_str(),
        show: short,
    }
    .svg()
}

/// A line with few points: what sums up is true wherever it is looked at.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(MAX_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points
        .into_iter()
        .enumerate()
        .filter(|(i, _)| i % step == 0 || *i == last)
        .map(|(_, point)| point)
        .collect()
}

fn by_rung(of: &[&Decision], currency: Currency) -> Markup {
    let rungs = Rung::ALL.into_iter().filter_map(|rung| {
        let those = of.iter().copied().filter(|decision| {
            decision.served && decision.bought.is_some_and(|plan| plan.rung == rung)
        });
        let sums = Sums::of(those.clone());
        let most = those
            .filter_map(|decision| decision.bought)
            .map(|plan| plan.good_for)
            .max();
        (sums.answers > 0).then_some((rung, sums, most))
    });
    html! {
        h2 { "By evidence" }
        (table("By evidence", &["Evidence", "Answers", "At stake", "Spent", "Each good for, at most"], html! {
            @for (rung, sums, most) in rungs {
                tr {
                    th scope="row" { (bought(rung.as_str())) }
                    td.number { (sums.answers) }
                    td.number { (money(sums.covered, currency)) }
                    td.number { (price(sums.spent, currency)) }
                    td.number { (most.map_or_else(String::new, |most| explain::amount(most, currency))) }
                }
            }
        }))
    }
}

/// What the same guarantee costs by other rules, for the values that were asked about here.
fn compared(of: &[&Decision]) -> Markup {
    let values: Vec<Micros> = of
        .iter()
        .map(|decision| decision.value)
        .filter(|value| *value > Micros::ZERO)
        .collect();
    let count = values.len();
    if count < LEAST {
        return html! {
            h2 { "The same guarantee by other rules" }
            p.quiet { "After " (LEAST) " answers with something at stake this shows what auditing everything alike would cost. There "
                @if count == 1 { "is 1" } @else { "are " (count) } " so far." }
        };
    }
    let points = frontier(&Values::Given(values).traffic("here", count, 0, true));
    let line = |name, class, of: fn(&carat_policy::simulate::frontier::Point) -> f64| Line {
        name,
        class,
        points: points
            .iter()
            .map(|point| (point.multiple, 100.0 * of(point)))
            .collect(),
        steps: false,
    };
    let svg = Chart {
        title: "Share of answers that have to be audited for the same guarantee, by three rules",
        lines: vec![
            line("uniform", "uniform", |point| point.uniform),
            line("two tiers", "tiers", |point| point.two_tier),
            line("matched", "covered", |point| point.matched),
        ],
        across: Axis::Decades(
            "guarantee: most that is lost on average before detection, in 99.9th percentiles of the values",
        ),
        up: "audited, %",
        show: short,
    }
    .svg();
    html! {
        h2 { "The same guarantee by other rules" }
        figure {
            div.scroll.chart role="region" aria-label="Chart" tabindex="0" { (svg) }
            figcaption { "For the " (count) " values that were at stake here: the share of answers that has to be run again so that no more than the guarantee is "
                "lost before a cheat is caught. Uniform auditing protects every answer as if it were the largest; matched auditing follows each value, "
                "as the planner does. Computed by the simulator (" code { "carat simulate" } ")." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thin_lines_keep_their_ends() {
        let points: Vec<(f64, f64)> = (0..5000).map(|i| (f64::from(i), 1.0)).collect();
        let thin = thinned(points);
        assert!(thin.len() <= MAX_POINTS + 1, "{}", thin.len());
        assert_eq!((thin[0].0, thin[thin.len() - 1].0), (0.0, 4999.0));
        assert!(thinned(Vec::new()).is_empty());
    }
}
