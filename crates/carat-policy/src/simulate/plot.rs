//! The plot of spend against guarantee, as SVG.

use core::fmt::Write as _;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::frontier::Point;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 74.0;
const BOTTOM: f64 = 72.0;

/// Name, colour, and what it shows of a point.
type Curve = (&'static str, &'static str, fn(&Point) -> f64);

struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    /// Whole decades around the values.
    fn around(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| *value > 0.0) {
            low = low.min(value);
            high = high.max(value);
        }
        let from = libm::floor(libm::log10(low) + 1e-9);
        Self {
            from,
            to: libm::ceil(libm::log10(high) - 1e-9).max(from + 1.0),
        }
    }

    /// From 0 to 1.
    fn place(&self, value: f64) -> f64 {
        (libm::log10(value) - self.from) / (self.to - self.from)
    }

    fn decades(&self) -> impl Iterator<Item = f64> + use<> {
        (self.from as i32..=self.to as i32).map(|exponent| libm::pow(10.0, f64::from(exponent)))
    }
}

/// Draws the curves; `title` says whose traffic it is. Characters that mean something in SVG are escaped.
pub fn svg(title: &str, points: &[Point]) -> String {
    let curves: [Curve; 3] = [
        ("uniform", "#b3402a", |point| point.uniform),
        ("two tiers", "#c98a1b", |point| point.two_tier),
        ("matched", "#1c6e8c", |point| point.matched),
    ];
    let x = Scale::around(points.iter().map(|point| point.multiple));
    let y = Scale::around(
        points
            .iter()
            .flat_map(|point| curves.map(|(_, _, of)| of(point)))
            .chain([1.0]),
    );
    let px = |value: f64| LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
    let py = |value: f64| HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM);
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"#222\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>"
    );
    let mut text = |x: f64, y: f64, anchor: &str, extra: &str, content: &str| {
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{extra}>{}</text>",
            escape(content)
        );
    };
    text(
        LEFT,
        26.0,
        "start",
        " font-size=\"16\" font-weight=\"bold\"",
        "What the same guarantee costs",
    );
    text(
        LEFT,
        46.0,
        "start",
        " fill=\"#555\"",
        &format!(
            "Values: {title}. All three rules promise the same at each point of the horizontal axis."
        ),
    );
    let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
    text(
        middle,
        HEIGHT - 14.0,
        "middle",
        "",
        "guarantee: most that is lost on average before detection, in 99.9th percentiles",
    );
    let side = format!(
        " transform=\"rotate(-90 20 {:.1})\"",
        (TOP + HEIGHT - BOTTOM) / 2.0
    );
    text(
        20.0,
        (TOP + HEIGHT - BOTTOM) / 2.0,
        "middle",
        &side,
        "spend: share of answers audited",
    );
    for tick in x.decades() {
        text(px(tick), HEIGHT - BOTTOM + 20.0, "middle", "", &plain(tick));
    }
    for tick in y.decades() {
        text(
            LEFT - 8.0,
            py(tick) + 4.0,
            "end",
            "",
            &format!("{}%", plain(tick * 100.0)),
        );
    }
    text(
        px(x_first(&x)),
        HEIGHT - BOTTOM + 36.0,
        "middle",
        " fill=\"#555\" font-size=\"11\"",
        "stricter",
    );
    text(
        px(x_last(&x)),
        HEIGHT - BOTTOM + 36.0,
        "middle",
        " fill=\"#555\" font-size=\"11\"",
        "looser",
    );

    for tick in x.decades() {
        line(&mut svg, px(tick), TOP, px(tick), HEIGHT - BOTTOM);
    }
    for tick in y.decades() {
        line(&mut svg, LEFT, py(tick), WIDTH - RIGHT, py(tick));
    }
    let mut labels: Vec<(f64, &str, &str)> = Vec::new();
    for (i, (name, colour, of)) in curves.iter().enumerate() {
        let path: Vec<String> = points
            .iter()
            .filter(|point| of(point) > 0.0)
            .map(|point| format!("{:.1},{:.1}", px(point.multiple), py(of(point))))
            .collect();
        // Where curves lie on each other each stays visible.
        let dash = ["", " stroke-dasharray=\"9 5\"", " stroke-dasharray=\"3 4\""][i];
        let dash = if same(points) { dash } else { "" };
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\"{dash}/>",
            path.join(" ")
        );
        if let Some(last) = points.last() {
            labels.push((py(of(last).max(1e-300)) + 4.0, *name, *colour));
        }
    }
    // Labels that would touch are moved apart.
    for i in 1..labels.len() {
        labels[i].0 = labels[i].0.max(labels[i - 1].0 + 16.0);
    }
    for (y, name, colour) in labels {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{y:.1}\" fill=\"{colour}\" font-weight=\"bold\">{name}</text>",
            WIDTH - RIGHT + 10.0
        );
    }
    if let Some(point) = points.iter().find(|point| point.multiple == 3.0) {
        quarter(&mut svg, point, px(3.0), py);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Marks the point where a uniform rule audits a quarter.
fn quarter(svg: &mut String, point: &Point, x: f64, py: impl Fn(f64) -> f64) {
    // Above the upper curve on the right, below the lower one on the left: there nothing is in the way.
    let note = |svg: &mut String, y: f64, colour: &str, side: f64, content: &str| {
        let anchor = if side > 0.0 { "start" } else { "end" };
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"{colour}\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"12\" text-anchor=\"{anchor}\">{content}</text>",
            x + 9.0 * side,
            y - 2.0 - 8.0 * side
        );
    };
    let (uniform, gain) = (
        share(point.uniform),
        point.uniform / point.matched.max(1e-300),
    );
    if gain > 1.001 {
        let times = if gain < 10.0 {
            format!("{gain:.1}")
        } else {
            format!("{gain:.0}")
        };
        note(svg, py(point.uniform), "#b3402a", 1.0, &uniform);
        let content = format!("{}: {times} times fewer", share(point.matched));
        note(svg, py(point.matched), "#1c6e8c", -1.0, &content);
    } else {
        let content = format!("{uniform}. No gain: every request is worth the same");
        note(svg, py(point.uniform), "#b3402a", 1.0, &content);
    }
}

fn share(value: f64) -> String {
    let percent = value * 100.0;
    if percent < 1.0 {
        format!("{percent:.2}%")
    } else {
        format!("{percent:.1}%")
    }
}

fn same(points: &[Point]) -> bool {
    points
        .iter()
        .all(|point| point.matched >= point.uniform * 0.999)
}

fn x_first(scale: &Scale) -> f64 {
    libm::pow(10.0, scale.from)
}

fn x_last(scale: &Scale) -> f64 {
    libm::pow(10.0, scale.to)
}

/// A power of ten without rounding noise.
fn plain(value: f64) -> String {
    if value >= 1.0 {
        return format!("{:.0}", value);
    }
    format!("{value:.7}").trim_end_matches('0').to_string()
}

fn line(svg: &mut String, x1: f64, y1: f64, x2: f64, y2: f64) {
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#ddd\"/>"
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
