//! Charts as SVG inside a page: the style sheet gives colours, so they follow light and dark. Axes of money are logarithmic.

use maud::{Markup, html};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 132.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 52.0;

/// One line.
pub(super) struct Line {
    pub(super) name: &'static str,
    /// Class of the style sheet that gives its colour.
    pub(super) class: &'static str,
    pub(super) points: Vec<(f64, f64)>,
    /// Whether it goes in steps: what is summed up changes at once.
    pub(super) steps: bool,
}

/// A chart.
pub(super) struct Chart<'a> {
    /// What it shows, for whoever cannot see it.
    pub(super) title: &'a str,
    pub(super) lines: Vec<Line>,
    pub(super) across: Axis,
    pub(super) up: &'a str,
    /// How a number of the vertical axis is written.
    pub(super) show: fn(f64) -> String,
}

/// The horizontal axis.
pub(super) enum Axis {
    /// Ticks at these places, with these words.
    Plain(Vec<(f64, String)>, &'static str),
    /// Decades.
    Decades(&'static str),
}

struct Scale {
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    fn decades(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (1.0, 1.0);
        }
        let from = (low.log10() + 1e-9).floor();
        Self {
            from,
            to: (high.log10() - 1e-9).ceil().max(from + 1.0),
            log: true,
        }
    }

    fn plain(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        Self {
            from: low,
            to: if high > low { high } else { low + 1.0 },
            log: false,
        }
    }

    /// From 0 to 1; what a logarithm cannot show stands at the edge.
    fn place(&self, value: f64) -> f64 {
        let value = match self.log {
            true if value > 0.0 => value.log10(),
            true => self.from,
            false => value,
        };
        ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }

    /// Ticks: not more than seven.
    fn ticks(&self) -> Vec<f64> {
        let (from, to) = (self.from as i32, self.to as i32);
        let step = ((to - from) / 6 + 1).max(1);
        (from..=to)
            .step_by(step as usize)
            .map(|exponent| 10_f64.powi(exponent))
            .collect()
    }
}

impl Chart<'_> {
    /// The picture.
    pub(super) fn svg(&self) -> Markup {
        let all = || self.lines.iter().flat_map(|line| line.points.iter());
        let across = match &self.across {
            Axis::Plain(..) => Scale::plain(all().map(|point| point.0)),
            Axis::Decades(_) => Scale::decades(all().map(|point| point.0)),
        };
        let up = Scale::decades(all().map(|point| point.1));
        let x = |value: f64| LEFT + across.place(value) * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - up.place(value) * (HEIGHT - TOP - BOTTOM);
        let (ticks, below) = match &self.across {
            Axis::Plain(ticks, below) => (ticks.clone(), *below),
            Axis::Decades(below) => (
                across
                    .ticks()
                    .into_iter()
                    .map(|tick| (tick, short(tick)))
                    .collect(),
                *below,
            ),
        };
        let names = self.names(&y);
        html! {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.title) {
                @for tick in up.ticks() {
                    line.grid x1=(px(LEFT)) x2=(px(WIDTH - RIGHT)) y1=(px(y(tick))) y2=(px(y(tick))) {}
                    text.tick x=(px(LEFT - 8.0)) y=(px(y(tick) + 4.0)) text-anchor="end" { ((self.show)(tick)) }
                }
                @for (at, text) in &ticks {
                    line.grid x1=(px(x(*at))) x2=(px(x(*at))) y1=(px(HEIGHT - BOTTOM)) y2=(px(HEIGHT - BOTTOM + 5.0)) {}
                    text.tick x=(px(x(*at))) y=(px(HEIGHT - BOTTOM + 20.0)) text-anchor="middle" { (text) }
                }
                text.axis x=(px((LEFT + WIDTH - RIGHT) / 2.0)) y=(px(HEIGHT - 8.0)) text-anchor="middle" { (below) }
                text.axis x=(px(LEFT)) y="10" text-anchor="start" { (self.up) }
                @for (line, name_at) in self.lines.iter().zip(&names) {
                    path class={ "line " (line.class) } d=(path(line, &x, &y)) {}
                    @if let Some(last) = line.points.last() {
                        circle class={ "dot " (line.class) } cx=(px(x(last.0))) cy=(px(y(last.1))) r="3.5" {}
                        text class={ "name " (line.class) } x=(px(x(last.0) + 9.0)) y=(px(name_at + 4.0)) { (line.name) }
                    }
                }
            }
        }
    }

    /// Where the names of the lines stand: beside their ends, and not over each other.
    fn names(&self, y: &impl Fn(f64) -> f64) -> Vec<f64> {
        const APART: f64 = 16.0;
        let mut order: Vec<(usize, f64)> = self
            .lines
            .iter()
            .enumerate()
            .map(|(i, line)| (i, line.points.last().map_or(0.0, |point| y(point.1))))
            .collect();
        order.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut last = f64::NEG_INFINITY;
        let mut places = vec![0.0; order.len()];
        for (i, at) in order {
            last = at.max(last + APART);
            places[i] = last;
        }
        places
    }
}

fn path(line: &Line, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) -> String {
    let mut text = String::new();
    for (i, (at, value)) in line.points.iter().enumerate() {
        let (at, value) = (px(x(*at)), px(y(*value)));
        text.push_str(&match i {
            0 => format!("M{at} {value}"),
            _ if line.steps => format!("H{at}V{value}"),
            _ => format!("L{at} {value}"),
        });
    }
    text
}

/// A place in the picture.
fn px(value: f64) -> String {
    format!("{value:.1}")
}

/// A number with few digits.
pub(super) fn short(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        1e9.. => format!("{}G", value / 1e9),
        1e6.. => format!("{}M", value / 1e6),
        1e4.. => format!("{}k", value / 1e3),
        0.001.. => format!("{}", (value * 1e6).round() / 1e6),
        _ => format!("{value:.0e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_drawn_stays_inside() {
        for points in [
            vec![],
            vec![(0.0, 0.0)],
            vec![(5.0, 1e-12), (5.0, 1e9)],
            vec![(0.0, f64::INFINITY), (1.0, f64::NAN)],
        ] {
            let chart = Chart {
                title: "a <test>",
                lines: vec![Line {
                    name: "one",
                    class: "one",
                    points,
                    steps: true,
                }],
                across: Axis::Plain(vec![(0.0, "begin".into())], "time"),
                up: "money",
                show: short,
            };
            let svg = chart.svg().into_string();
            assert!(svg.contains("a &lt;test&gt;"));
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn names_stand_apart() {
        let line = |value| Line {
            name: "x",
            class: "x",
            points: vec![(0.0, value)],
            steps: false,
        };
        let chart = Chart {
            title: "",
            lines: vec![line(1.0), line(1.01), line(1.02)],
            across: Axis::Decades(""),
            up: "",
            show: short,
        };
        let mut places = chart.names(&|value| 100.0 * value);
        places.sort_by(f64::total_cmp);
        assert!(places.windows(2).all(|two| two[1] - two[0] >= 16.0));
    }
}
