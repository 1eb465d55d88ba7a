//! What rides on each request: distributions by name, or anybody's own traffic.

use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use super::rng::Rng;
use crate::money::Micros;

/// Most requests of one simulation.
pub const MAX_REQUESTS: usize = 20_000_000;
/// The 99.9th percentile of the standard normal distribution.
const Z999: f64 = 3.090_232_306_167_813;

/// Where values come from. The unit is the median for a lognormal, the smallest value for a Pareto.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Every request is worth 1.
    Constant,
    /// The exponential of a normal variable with this standard deviation.
    Lognormal(f64),
    /// A power law with this tail exponent; smallest value 1.
    Pareto(f64),
    /// Values that somebody brought, in their order.
    Given(Vec<Micros>),
}

/// The requests of one simulation.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// What the values are called.
    pub name: String,
    /// Value of each request.
    pub values: Vec<Micros>,
    /// The 99.9th percentile: of the distribution where it has a name, else of the given values.
    pub v999: Micros,
}

/// Values cannot be read. Whoever wrote them is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValuesError(pub String);

fn micros(value: f64) -> Micros {
    // Saturates at both ends; nothing is worth less than a millionth.
    Micros(libm::ceil(value * 1e6).max(1.0) as u64)
}

impl Values {
    /// Reads `constant`, `lognormal:SIGMA` or `pareto:ALPHA`.
    ///
    /// # Errors
    /// Any other name, or a parameter out of bounds.
    pub fn parse(text: &str) -> Result<Self, ValuesError> {
        let (name, parameter) = match text.split_once(':') {
            Some((name, parameter)) => (name, Some(parameter)),
            None => (text, None),
        };
        let number = |least: f64, most: f64| {
            let number = parameter.and_then(|text| text.parse::<f64>().ok());
            number
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| {
                    ValuesError(format!(
                        "{text}: {name} takes a number from {least} to {most}, like {name}:2"
                    ))
                })
        };
        match (name, parameter) {
            ("constant", None) => Ok(Self::Constant),
            ("lognormal", _) => Ok(Self::Lognormal(number(0.01, 6.0)?)),
            // Steeper tails differ from a constant only in name; heavier ones leave the range of money.
            ("pareto", _) => Ok(Self::Pareto(number(0.8, 100.0)?)),
            _ => Err(ValuesError(format!(
                "{text}: values are constant, lognormal:SIGMA, pareto:ALPHA or csv:FILE"
            ))),
        }
    }

    /// Reads values from CSV: the column `value` or `amount` if the first line names columns, else the first column.
    /// Empty lines and lines that begin with `#` are skipped; zero is a value.
    ///
    /// # Errors
    /// Names the line that is no number, negative or too large.
    pub fn from_csv(text: &str) -> Result<Self, ValuesError> {
        let (column, lines) =
            csv_column(text, &["value", "amount", "values"], 0).map_err(ValuesError)?;
        let mut values = Vec::new();
        for (number, cells) in lines {
            let cell = cells.get(column).copied().unwrap_or_default();
            let value = cell
                .parse::<f64>()
                .ok()
                .filter(|value| (0.0..=1e12).contains(value));
            let Some(value) = value else {
                return Err(ValuesError(format!(
                    "line {number}: {cell:?} is no value; give numbers from 0 to 1e12 with a decimal point"
                )));
            };
            if values.len() >= MAX_REQUESTS {
                return Err(ValuesError(format!(
                    "more than {MAX_REQUESTS} values; give a sample"
                )));
            }
            values.push(Micros(libm::ceil(value * 1e6) as u64));
        }
        if values.is_empty() {
            return Err(ValuesError(
                "there are no values below its first line, which names the column".to_string(),
            ));
        }
        if values.iter().all(|value| *value == Micros::ZERO) {
            return Err(ValuesError(
                "no request is worth anything; there is nothing to protect".to_string(),
            ));
        }
        Ok(Self::Given(values))
    }

    /// The 99.9th percentile.
    pub fn v999(&self) -> Micros {
        match self {
            Self::Constant => Micros(1_000_000),
            Self::Lognormal(sigma) => micros(libm::exp(sigma * Z999)),
            Self::Pareto(alpha) => micros(libm::pow(1000.0, 1.0 / alpha)),
            Self::Given(values) => {
                let mut sorted = values.clone();
                sorted.sort_unstable();
                percentile(&sorted, 0.999)
            }
        }
    }

    /// Draws the traffic. Given values are taken in their order if their number is the one asked for, and drawn from at
    /// random otherwise. `capped`: values above the 99.9th percentile count as that.
    pub fn traffic(&self, name: &str, requests: usize, seed: u64, capped: bool) -> Traffic {
        let mut rng = Rng::new(seed, 1);
        let v999 = self.v999();
        let mut values = match self {
            Self::Given(given) if given.len() == requests => given.clone(),
            Self::Given(given) => (0..requests)
                .map(|_| given[rng.below(given.len() as u64) as usize])
                .collect(),
            Self::Constant => vec![Micros(1_000_000); requests],
            Self::Lognormal(sigma) => (0..requests)
                .map(|_| micros(libm::exp(sigma * rng.normal())))
                .collect(),
            Self::Pareto(alpha) => (0..requests)
                .map(|_| micros(libm::pow(rng.unit(), -1.0 / alpha)))
                .collect(),
        };
        if capped {
            for value in &mut values {
                *value = (*value).min(v999);
            }
        }
        Traffic {
            name: name.to_string(),
            values,
            v999,
        }
    }
}

impl Traffic {
    /// The value that a share `p` of the requests does not exceed.
    pub fn percentile(&self, p: f64) -> Micros {
        let mut sorted = self.values.clone();
        sorted.sort_unstable();
        percentile(&sorted, p)
    }
}

/// The nearest-rank percentile of sorted values; nothing for none.
pub(super) fn percentile(sorted: &[Micros], p: f64) -> Micros {
    let rank = libm::ceil(p * sorted.len() as f64) as usize;
    sorted
        .get(rank.clamp(1, sorted.len().max(1)) - 1)
        .copied()
        .unwrap_or_default()
}

/// Lines of a CSV with their numbers.
pub(super) type Lines<'a> = Vec<(usize, Vec<&'a str>)>;

/// Cells of a CSV, and the column that has one of the names if the first line is a header. A first line is a header iff
/// its cell in that column is no number. Separators: comma, semicolon or tab.
pub(super) fn csv_column<'a>(
    text: &'a str,
    names: &[&str],
    otherwise: usize,
) -> Result<(usize, Lines<'a>), String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines: Lines<'a> = text
        .lines()
        .enumerate()
        .map(|(i, line)| (i + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            let cells = line.split([',', ';', '\t']);
            (
                number,
                cells
                    .map(|cell| cell.trim().trim_matches('"').trim())
                    .collect(),
            )
        })
        .collect();
    let Some((_, first)) = lines.first() else {
        return Err("there is no line in it".to_string());
    };
    let named = first
        .iter()
        .position(|cell| names.iter().any(|name| cell.eq_ignore_ascii_case(name)));
    let column = named.unwrap_or(otherwise);
    let is_number = |cell: &str| cell.parse::<f64>().is_ok();
    let is_name =
        |cell: &str| cell.starts_with(|c: char| c.is_alphabetic() || c == '_') || cell.is_empty();
    if named.is_some() {
        lines.remove(0);
    } else if !first.iter().any(|cell| is_number(cell)) {
        // A value in another notation is no name: it would be left out in silence.
        if let Some(cell) = first.iter().find(|cell| !is_name(cell)) {
            return Err(format!(
                "line {}: {cell:?} is neither a number nor the name of a column",
                lines[0].0
            ));
        }
        if first.len() > 1 {
            return Err(format!(
                "line {}: none of its columns is called {}",
                lines[0].0,
                names.join(" or ")
            ));
        }
        lines.remove(0);
    }
    Ok((column, lines))
}
