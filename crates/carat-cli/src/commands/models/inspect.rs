//! `carat model inspect`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use carat_nn::compile::{Lookups, TABLE_VALUES};
use carat_nn::model::Card;
use carat_program::pinned::PinnedProgram;
use carat_program::{InputEncoding, OutputEncoding, Program, Range};
use serde_json::{Value, json};

use super::super::{Context, Outcome};
use crate::exit::Exit;
use crate::model::{AnyModel, Computation, Described};
use crate::output::Answer;
use crate::render::{self, Table};

/// Show what a compiled model is: inputs, graph, widths, where each scale came from.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat model inspect models/digits\n  carat model inspect digits.carat-model --json"
)]
pub(in super::super) struct Args {
    /// A compiled model or a folder.
    model: PathBuf,
}

/// How often each primitive is used.
pub(super) fn primitives(program: &Program) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for node in &program.nodes {
        *counts.entry(node.op.name()).or_default() += 1;
    }
    counts
}

/// What a proof of the program has to look up.
pub(super) fn lookups(found: &Lookups) -> String {
    let mut text = format!(
        "{} elements in one look-up each, {} in several (shift {}, clamp {}, table {}), {} comparisons of maxima",
        found.single, found.wide, found.shift, found.clamp, found.lut, found.max
    );
    if found.quotient > 0 {
        text.push_str(&format!(", {} quotients and roots", found.quotient));
    }
    if found.largest_shift > 0 {
        let fits = if found.largest_shift <= TABLE_VALUES {
            "one table holds them"
        } else {
            "more than one table holds"
        };
        text.push_str(&format!(
            "; the widest shift takes {} values ({fits})",
            found.largest_shift
        ));
    }
    text
}

/// The widths that the compiler chose, and how well the program answers with them.
pub(super) fn widths(card: &Card) -> String {
    format!(
        "weights {} bits, activations {} beside the sign; same answer as the float model on {:.1}% of the calibration inputs",
        card.options.weight_bits,
        card.options.activation_bits,
        100.0 * card.agreement
    )
}

/// Bits of a two's complement integer that holds every value of a range.
fn bits(range: Range) -> u32 {
    let magnitude = |value: i64| 64 - (if value < 0 { !value } else { value }).leading_zeros();
    1 + magnitude(range.lo).max(magnitude(range.hi))
}

/// A float model: what it is, what it takes and gives.
fn float(model: &AnyModel, program: &PinnedProgram) -> Outcome {
    let dims = |dims: Option<Vec<usize>>| match dims {
        Some(dims) => format!("{dims:?}"),
        None => "of a shape that depends on the input".to_string(),
    };
    let mut rows = Table::new(2);
    rows.row(["Model", &format!("{} {}", model.name, model.version)]);
    rows.row(["File", &model.path.display().to_string()]);
    rows.row(["Program", &model.digest.to_string()]);
    rows.row(["Profile", &program.profile]);
    rows.row(["Source", &format!("ONNX, SHA-256 {}", program.body.source)]);
    rows.row(["Evidence", super::compile::FLOAT_EVIDENCE]);
    let mut text = rows.render("");
    text.push_str("\nInputs\n");
    let (inputs, outputs) = (model.program().inputs(), model.program().outputs());
    for (input, spec) in inputs.iter().zip(&program.body.inputs) {
        let image = match &spec.image {
            Some(image) => format!(", or an image of {} x {} pixels", image.width, image.height),
            None => String::new(),
        };
        let shape = dims(input.dims.clone());
        text.push_str(&format!(
            "  {}: {} {shape}{image}\n",
            input.name,
            input.dtype.name()
        ));
    }
    for bound in &program.body.bound {
        text.push_str(&format!("  {}: bound to a value\n", bound.name));
    }
    text.push_str("\nOutputs\n");
    for (output, spec) in outputs.iter().zip(&program.body.outputs) {
        let classes = match spec.labels.len() {
            0 => String::new(),
            count => format!(", {count} classes: {}", spec.labels.join(", ")),
        };
        let shape = dims(output.dims.clone());
        text.push_str(&format!(
            "  {}: {} {shape}{classes}\n",
            output.name,
            output.dtype.name()
        ));
    }
    let port = |port: &Described| json!({ "name": port.name, "dtype": port.dtype.name(), "shape": port.dims });
    let json = json!({
        "name": model.name,
        "version": model.version,
        "path": model.path,
        "program_digest": model.digest,
        "profile": program.profile,
        "source_sha256": program.body.source,
        "inputs": inputs.iter().map(port).collect::<Vec<_>>(),
        "outputs": outputs.iter().map(port).collect::<Vec<_>>(),
        "card": serde_json::from_str::<Value>(model.card()).ok(),
    });
    Ok((Answer { text, json }, Exit::Good))
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let model = AnyModel::load(&args.model, context)?;
    if let Computation::Pinned(program) = model.program() {
        return float(&model, program);
    }
    let model = model.into_integer()?;
    let program = model.program();
    // The card is descriptive: a model without a readable one is inspected all the same.
    let card: Option<Card> = serde_json::from_str(&model.file.card).ok();
    let scale = |node: usize| card.as_ref().and_then(|card| card.scales.get(node));

    let constants: usize = program
        .constants
        .iter()
        .map(|constant| constant.shape.elements())
        .sum();
    let mut rows = Table::new(2);
    rows.row(["Model", &format!("{} {}", model.name, model.version)]);
    rows.row(["File", &model.path.display().to_string()]);
    rows.row(["Program", &model.digest.to_string()]);
    if let Some(card) = &card {
        let about = &card.metadata;
        if !about.description.is_empty() {
            rows.row(["About", &about.description]);
        }
        if !about.licence.is_empty() {
            rows.row(["Licence", &about.licence]);
        }
        rows.row([
            "Source",
            &format!(
                "ONNX, operator set {}, SHA-256 {}",
                card.opset, card.source_sha256
            ),
        ]);
        let operators: Vec<String> = card
            .operators
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        rows.row(["Operators", &operators.join(", ")]);
        rows.row(["Parameters", &card.parameters.to_string()]);
        rows.row([
            "Scales from",
            &format!(
                "{} {} (SHA-256 {})",
                card.calibration.samples, card.calibration.source, card.calibration.sha256
            ),
        ]);
    }
    rows.row([
        "Integers",
        &format!("{constants} in {} constants", program.constants.len()),
    ]);
    if let Some(card) = &card {
        rows.row(["Widths", &widths(card)]);
    }
    rows.row(["Look-ups", &lookups(&Lookups::of(program))]);
    let mut text = rows.render("");

    text.push_str("\nInputs\n");
    for input in &program.inputs {
        let encoding = match &input.encoding {
            InputEncoding::Exact => "exact".to_string(),
            InputEncoding::Fixed { exponent } => format!("one unit is 2^{}", -exponent),
            InputEncoding::Affine { exponent, .. } => {
                format!("offset and scale, then one unit is 2^{}", -exponent)
            }
        };
        let image = match &input.image {
            Some(image) => format!(
                ", or an image of {} x {} pixels, value = {} * pixel + {}",
                image.width,
                image.height,
                f64::from(image.scale),
                f64::from(image.offset)
            ),
            None => String::new(),
        };
        text.push_str(&format!(
            "  {}: {} {}, {}..={} ({} bits), {encoding}{image}\n",
            input.name,
            input.dtype.name(),
            input.shape,
            input.range.lo,
            input.range.hi,
            bits(input.range)
        ));
    }

    text.push_str("\nGraph (iN inputs, cN constants, nN results)\n");
    let name = |id: carat_program::ValueId| {
        let (inputs, index) = (program.inputs.len(), id.index());
        match (index.checked_sub(inputs), program.constant_index(id)) {
            (None, _) => format!("i{index}"),
            (_, Some(constant)) => format!("c{constant}"),
            (Some(rest), None) => format!("n{}", rest - program.constants.len()),
        }
    };
    let mut graph = Table::new(6);
    graph.row(["", "primitive", "shape", "bits", "unit", "from"]);
    let mut nodes: Vec<Value> = Vec::new();
    for (index, node) in program.nodes.iter().enumerate() {
        let operands: Vec<String> = node.inputs.iter().map(|id| name(*id)).collect();
        let note = scale(index);
        graph.row([
            format!("n{index}"),
            format!("{}({})", node.op.name(), operands.join(", ")),
            node.shape.to_string(),
            bits(node.range).to_string(),
            note.map_or(String::new(), |note| format!("2^{}", -note.exponent)),
            note.map_or(String::new(), |note| note.origin.clone()),
        ]);
        nodes.push(json!({
            "primitive": node.op.name(),
            "operands": operands,
            "shape": node.shape.dims(),
            "range": [node.range.lo, node.range.hi],
            "bits": bits(node.range),
            "exponent": note.map(|note| note.exponent),
            "origin": note.map(|note| &note.origin),
        }));
    }
    text.push_str(&graph.render("  "));

    text.push_str("\nOutputs\n");
    let mut outputs = Vec::new();
    for output in &program.outputs {
        let unit = match output.encoding {
            OutputEncoding::Exact => "exact".to_string(),
            OutputEncoding::Fixed { exponent } => format!("one unit is 2^{}", -exponent),
        };
        let shape = program.value(output.value).map(|value| value.shape.clone());
        let classes = match output.labels.len() {
            0 => String::new(),
            count => format!(", {count} classes: {}", output.labels.join(", ")),
        };
        let shown = shape.as_ref().map_or(String::new(), ToString::to_string);
        text.push_str(&format!(
            "  {} = {}: {} {shown}, {unit}{classes}\n",
            output.name,
            name(output.value),
            output.dtype.name(),
        ));
        outputs.push(json!({
            "name": output.name,
            "dtype": output.dtype.name(),
            "shape": shape.map(|shape| shape.dims()),
            "labels": output.labels,
        }));
    }
    if let Some(card) = &card {
        render::list(&mut text, "Warnings", &card.warnings);
    }
    let inputs: Vec<Value> = program
        .inputs
        .iter()
        .map(|input| {
            json!({
                "name": input.name,
                "dtype": input.dtype.name(),
                "shape": input.shape.dims(),
                "range": [input.range.lo, input.range.hi],
                "bits": bits(input.range),
                "image": input.image.is_some(),
            })
        })
        .collect();
    let json = json!({
        "name": model.name,
        "version": model.version,
        "path": model.path,
        "program_digest": model.digest,
        "parameters": card.as_ref().map(|card| card.parameters),
        "integers": constants,
        "primitives": primitives(program),
        "lookups": Lookups::of(program),
        "inputs": inputs,
        "outputs": outputs,
        "nodes": nodes,
        "card": card,
    });
    Ok((Answer { text, json }, Exit::Good))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_hold_their_range() {
        let range = |lo, hi| Range { lo, hi };
        for (range, expected) in [
            (range(0, 0), 1),
            (range(0, 1), 2),
            (range(-1, 0), 1),
            (range(-128, 127), 8),
            (range(-129, 127), 9),
            (range(0, 255), 9),
        ] {
            assert_eq!(bits(range), expected, "{range:?}");
        }
    }
}
