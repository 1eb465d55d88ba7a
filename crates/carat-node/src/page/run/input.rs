//! What the form of a model holds: numbers and files in, the example at first, and what is asked.

use std::path::Path;

use carat_nn::edge::{self, Values};
use carat_program::Dtype;

use super::super::form::Fields;
use crate::call::Asked;
use crate::model::Described;
use crate::node::Node;
use crate::problem::Problem;
use crate::served::Served;

/// Most numbers of an input that stand in a form; larger inputs come as files.
pub(super) const MAX_NUMBERS: usize = 4096;
/// Largest file that an example is looked for in.
const MAX_EXAMPLE: u64 = 16 << 20;

/// What a form holds: what was typed, or the example.
#[derive(Default)]
pub(super) struct Filled {
    pub(super) inputs: Vec<String>,
    /// Where the example comes from.
    pub(super) example: Option<&'static str>,
    pub(super) at_stake: String,
    pub(super) impact: String,
    pub(super) audience: String,
    pub(super) nonce: String,
    pub(super) retain: String,
    pub(super) facts: String,
    pub(super) once: String,
}

/// Numbers as they stand in a form: a line for each row.
fn numbers(input: &Described, values: &[f64]) -> String {
    let row = input.axes().last().copied().unwrap_or(1).max(1);
    let shown = |value: &f64| match input.dtype {
        // The shortest text that gives the same number in the model's own type.
        Dtype::F32 => (*value as f32).to_string(),
        _ => value.to_string(),
    };
    let lines: Vec<String> = values
        .chunks(row)
        .map(|row| row.iter().map(shown).collect::<Vec<_>>().join(" "))
        .collect();
    lines.join("\n")
}

/// What stands in the form at first: the first sample that was published with the model, else zeros.
pub(super) fn examples(node: &Node, served: &Served) -> (Vec<String>, &'static str) {
    let entry = node
        .config
        .model
        .iter()
        .find(|entry| entry.name == served.name);
    let folder = entry
        .filter(|entry| entry.in_hub().is_none())
        .map(|entry| entry.path.join("data"));
    let specs = served.model.program().inputs();
    let samples: Option<Vec<String>> = folder.and_then(|folder| {
        specs
            .iter()
            .map(|input| Some(numbers(input, &first_sample(&folder, input)?)))
            .collect()
    });
    match samples {
        Some(samples) => (
            samples,
            "Filled in: the first sample in the model's folder.",
        ),
        None => {
            let zeros = |input: &Described| match input.elements() {
                count if count <= MAX_NUMBERS => numbers(input, &vec![0.0; count]),
                _ => String::new(),
            };
            (specs.iter().map(zeros).collect(), "Filled in: zeros.")
        }
    }
}

fn first_sample(folder: &Path, input: &Described) -> Option<Vec<f64>> {
    // A name of a file and nothing else: names of inputs are a publisher's words.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !input.name.chars().all(plain) || input.name.starts_with('.') {
        return None;
    }
    let count = input.elements();
    let path = folder.join(format!("{}.npy", input.name));
    let small = std::fs::metadata(&path).is_ok_and(|about| about.len() <= MAX_EXAMPLE);
    if !small || count > MAX_NUMBERS {
        return None;
    }
    let mut values = edge::read_array(&path).ok()?;
    let same = values.dims.get(1..) == input.axes().get(1..) && values.data.len() >= count;
    same.then(|| {
        values.data.truncate(count);
        values.data
    })
}

/// A form that was sent, read: its inputs, and what is asked.
pub(super) struct Sent {
    pub(super) inputs: Vec<Values>,
    pub(super) asked: Asked,
}

/// Reads what was typed; the second part is what is wrong with it.
pub(super) fn read(served: &Served, fields: &Fields) -> (Filled, Result<Sent, Problem>) {
    let program = served.model.program();
    let specs = program.inputs();
    let of = |field: &str| fields.text(field).unwrap_or_default().trim().to_string();
    let mut filled = Filled {
        inputs: (0..specs.len())
            .map(|i| of(&format!("input-{i}")))
            .collect(),
        example: None,
        at_stake: of("at_stake"),
        impact: of("impact"),
        audience: of("audience"),
        nonce: of("nonce"),
        retain: of("retain"),
        facts: of("facts"),
        once: of("once"),
    };
    let inputs = match fields.file("file") {
        Some(file) => (program.values_from_file(Path::new(&file.name), &file.bytes))
            .map_err(|error| bad_input(&error)),
        None => specs
            .iter()
            .zip(&filled.inputs)
            .map(|(input, text)| typed(input, text))
            .collect(),
    };
    let inputs = inputs.and_then(|values| match program.encode_values(&values) {
        Ok(_) => Ok(values),
        Err(error) => Err(bad_input(&error)),
    });
    // What a file held stands in the form from here on.
    if let (Some(_), Ok(inputs)) = (fields.file("file"), &inputs) {
        for (place, (input, values)) in filled.inputs.iter_mut().zip(specs.iter().zip(inputs)) {
            if values.data.len() <= MAX_NUMBERS {
                *place = numbers(input, &values.data);
            }
        }
    }
    let sent = inputs.and_then(|inputs| {
        let asked = asked(fields)?;
        Ok(Sent { inputs, asked })
    });
    (filled, sent)
}

fn bad_input(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(422, "bad-input", error)
}

/// The numbers of an input: white space, commas and brackets stand between them.
fn typed(input: &Described, text: &str) -> Result<Values, Problem> {
    let bad = |why: String| {
        let why = format!("input `{}`: {why}", input.name);
        Problem::new(422, "bad-input", why)
    };
    let words = text
        .split(|c: char| c.is_whitespace() || ",;[]".contains(c))
        .filter(|word| !word.is_empty());
    let data = words
        .map(|word| {
            word.parse::<f64>()
                .ok()
                .filter(|value| value.is_finite())
                .ok_or_else(|| {
                    bad(format!(
                        "{:?} is no number",
                        word.chars().take(40).collect::<String>()
                    ))
                })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if data.len() != input.elements() {
        return Err(bad(format!(
            "needs {} values, not {}",
            input.elements(),
            data.len()
        )));
    }
    Ok(Values {
        dims: input.axes().to_vec(),
        data,
    })
}

fn asked(fields: &Fields) -> Result<Asked, Problem> {
    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        fields: &Fields,
        field: &str,
        what: &str,
    ) -> Result<Option<T>, Problem> {
        // People write "50 USD".
        let text = fields.filled(field);
        text.map(|text| text.split_whitespace().collect::<String>())
            .map(|text| {
                text.parse()
                    .map_err(|error| Problem::bad_request(format!("{what}: {error}")))
            })
            .transpose()
    }
    let facts = fields
        .filled("facts")
        .map(|text| {
            serde_json::from_str(text)
                .map_err(|error| Problem::bad_request(format!("the facts: {error}")))
        })
        .transpose()?;
    let audience = fields
        .filled("audience")
        .map(|text| {
            carat_receipt::Label::new(text)
                .map_err(|error| Problem::bad_request(format!("for whom the receipt is: {error}")))
        })
        .transpose()?;
    Ok(Asked {
        nonce: fields.filled("nonce").map(str::to_string),
        audience,
        at_stake: parsed(fields, "at_stake", "what a wrong answer could cost")?,
        impact: fields.filled("impact").map(str::to_string),
        facts,
        retain: parsed(fields, "retain", "how long input and output are kept")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> Described {
        Described {
            name: "x".into(),
            dtype: Dtype::F32,
            dims: Some(vec![1, 4]),
            image: None,
        }
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        let spec = input();
        let good = typed(&spec, "[[0.1, -2],\n [3e0; 4]]").expect("numbers");
        assert_eq!(good.data, [0.1, -2.0, 3.0, 4.0]);
        assert_eq!(numbers(&spec, &good.data), "0.1 -2 3 4");
        for bad in ["1 2 3", "1 2 3 x", "1 2 3 NaN", "1 2 3 inf", ""] {
            assert_eq!(typed(&spec, bad).expect_err(bad).status, 422);
        }
    }

    #[test]
    fn a_single_gets_its_shortest_text() {
        let value = f64::from(17.99_f32);
        assert_eq!(numbers(&input(), &[value; 4]), "17.99 17.99 17.99 17.99");
    }
}
