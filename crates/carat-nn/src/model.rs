//! A model as its publisher hands it over: ONNX, calibration samples, metadata; and what becomes of it.

use crate::{
    compile::{CompileError, CompileOptions, PROVABLE_BITS, ScaleNote, Widen, prepare},
    edge::{EdgeError, Values, read_array},
    import::{ImportError, ImportOptions, import},
};
use carat_program::{F64Bits, ImageMap, ImageMode, ModelFile, Program};
use carat_receipt::Digest;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, path::Path};
use thiserror::Error;

/// Most samples that calibration uses.
pub const MAX_SAMPLES: usize = 512;

/// Agreement with the float model, on the calibration samples, at which weights are wide enough.
const ENOUGH_AGREEMENT: f64 = 0.995;

/// Why a model is not compiled.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The ONNX model is refused.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The integer program is refused.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A file of samples is refused.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// The metadata is refused.
    #[error("the model metadata: {0}")]
    Metadata(String),
    /// The samples do not fit the model.
    #[error("calibration folder: {0}")]
    Samples(String),
}

/// What the publisher says about a model (`model.toml`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Short name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SPDX licence expression.
    pub licence: String,
    /// One line on what it does.
    pub description: String,
    /// Task, as in `image-classification`.
    pub task: String,
    /// Names of the classes along the last axis of the (first) output.
    pub labels: Vec<String>,
    /// Inputs by name.
    pub input: BTreeMap<String, InputMetadata>,
    /// How to compile.
    #[serde(skip_serializing_if = "CompileMetadata::is_empty")]
    pub compile: CompileMetadata,
}

/// What a program is mainly for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Running and replaying: activations as wide as bounds allow ([`CompileOptions::default`]).
    Run,
    /// Proofs: activations as narrow as the answers allow ([`CompileOptions::provable`]).
    Proof,
}

/// What the publisher says about how to compile (`[compile]` in `model.toml`). What is left out is the purpose's own
/// choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompileMetadata {
    /// What for.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// Bits of a weight, sign included, 2 to 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_bits: Option<u8>,
    /// Bits of an activation beside its sign, 2 to 15.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation_bits: Option<u8>,
}

impl CompileMetadata {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These choices, and another's where these are silent.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            purpose: self.purpose.or(other.purpose),
            weight_bits: self.weight_bits.or(other.weight_bits),
            activation_bits: self.activation_bits.or(other.activation_bits),
        }
    }

    /// The compiler's options for these choices. A width that is stated is not widened.
    ///
    /// # Errors
    /// [`ModelError::Metadata`] for a width that the compiler does not have.
    pub fn options(&self) -> Result<CompileOptions, ModelError> {
        let within = |name: &str, bits: Option<u8>, most: u8| match bits {
            Some(bits) if !(2..=most).contains(&bits) => Err(ModelError::Metadata(format!(
                "{name} is {bits}; 2 to {most} are possible"
            ))),
            bits => Ok(bits),
        };
        let mut options = match self.purpose {
            None | Some(Purpose::Run) => CompileOptions::default(),
            Some(Purpose::Proof) => CompileOptions::provable(),
        };
        if let Some(bits) = within("weight_bits", self.weight_bits, 16)? {
            options.weight_bits = bits;
            if options.widen == Widen::Weights {
                options.widen = Widen::Nothing;
            }
        }
        if let Some(bits) = within("activation_bits", self.activation_bits, 15)? {
            options.activation_bits = bits;
            if options.widen == Widen::Activations {
                options.widen = Widen::Nothing;
            }
        }
        Ok(options)
    }
}

/// What the publisher says about an input.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InputMetadata {
    /// `image`, `table` or `tensor`.
    pub kind: String,
    /// Images: `gray`, `rgb` or `bgr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Images: width in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Images: height in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Images: value of a pixel of 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub black: Option<f64>,
    /// Images: value of a pixel of 255.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub white: Option<f64>,
    /// Images: exchange black and white.
    pub invert: bool,
    /// Tables: names of the columns.
    pub names: Vec<String>,
}

impl InputMetadata {
    /// How an image becomes the values of this input; `None` where it takes none.
    ///
    /// # Errors
    /// [`ModelError::Metadata`] where the mapping is incomplete.
    pub fn image_map(&self, name: &str) -> Result<Option<ImageMap>, ModelError> {
        let fail = |text: &str| ModelError::Metadata(format!("input `{name}`: {text}"));
        if self.kind != "image" {
            return Ok(None);
        }
        let mode = match self.mode.as_deref() {
            Some("gray") => ImageMode::Gray,
            Some("rgb") => ImageMode::Rgb,
            Some("bgr") => ImageMode::Bgr,
            _ => return Err(fail("mode must be gray, rgb or bgr")),
        };
        let (Some(width), Some(height)) = (self.width, self.height) else {
            return Err(fail("an image needs width and height"));
        };
        let (mut black, mut white) = (self.black.unwrap_or(0.0), self.white.unwrap_or(1.0));
        if self.invert {
            (black, white) = (white, black);
        }
        let scale: F64Bits = ((white - black) / 255.0).into();
        Ok(Some(ImageMap {
            mode,
            width,
            height,
            scale,
            offset: black.into(),
        }))
    }
}

/// What compilation found; becomes the model card in the model file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// The publisher's words.
    pub metadata: Metadata,
    /// SHA-256 of the ONNX file.
    pub source_sha256: String,
    /// Operator set of the source.
    pub opset: i64,
    /// Uses of each ONNX operator.
    pub operators: BTreeMap<String, usize>,
    /// Elements of the source's initializers.
    pub parameters: u64,
    /// Where the scales come from.
    pub calibration: CalibrationNote,
    /// Origin and exponent of each program node.
    pub scales: Vec<ScaleNote>,
    /// Largest difference from the float model on the calibration samples, per output, in units of its last place.
    pub deviation: Vec<f64>,
    /// Share of calibration samples on which program and float model name the same class (first output).
    pub agreement: f64,
    /// Options of the compiler.
    pub options: OptionsNote,
    /// Things a reader should know.
    pub warnings: Vec<String>,
}

/// Where the scales come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationNote {
    /// `samples` or `synthetic`.
    pub source: String,
    /// Number of samples.
    pub samples: usize,
    /// SHA-256 over the samples (little-endian binary64, inputs in order).
    pub sha256: String,
}

/// The compiler's options, as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionsNote {
    /// Bits of a weight.
    pub weight_bits: u8,
    /// Bits of an activation beside its sign.
    pub activation_bits: u8,
    /// Bits of a table index.
    pub index_bits: u8,
    /// Bits of an output beside its sign.
    pub output_bits: u8,
}

/// Everything that compilation needs.
#[derive(Debug, Clone, Default)]
pub struct CompileRequest<'a> {
    /// The ONNX file.
    pub onnx: &'a [u8],
    /// The publisher's words.
    pub metadata: Metadata,
    /// Calibration folder; without one, synthetic samples are used and the card says so.
    pub calibration: Option<&'a Path>,
    /// Shapes of inputs that the model leaves open.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Compiler options.
    pub options: CompileOptions,
}

/// A compiled model.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The file to write.
    pub file: ModelFile,
    /// The card inside it.
    pub card: Card,
}

/// Compiles a model. Pure: the same bytes, samples and options give the same program digest on any machine.
///
/// # Errors
/// [`ModelError`].
pub fn compile_model(request: &CompileRequest<'_>) -> Result<Compiled, ModelError> {
    let imported = import(
        request.onnx,
        &ImportOptions {
            shapes: request.shapes.clone(),
            bind: BTreeMap::new(),
        },
    )?;
    let inputs: Vec<(String, Vec<usize>, bool)> = imported
        .graph
        .inputs
        .iter()
        .map(|i| {
            let node = &imported.graph.nodes[i.node];
            (i.name.clone(), node.shape.dims(), node.dtype.is_float())
        })
        .collect();
    let mut warnings = Vec::new();
    let (samples, source) = match request.calibration {
        Some(dir) => (load_samples(dir, &inputs)?, "samples"),
        None => {
            warnings.push(
                "calibrated on synthetic inputs (uniform in -1..1): give real samples, or expect poor fidelity".to_string(),
            );
            (synthetic_samples(&inputs, 8), "synthetic")
        }
    };
    if request.calibration.is_some() && samples.len() < 16 {
        warnings.push(format!("calibrated on {} samples only", samples.len()));
    }
    let count = samples.len();
    let sha256 = digest_samples(&samples);
    let prepared = prepare(imported.graph, samples)?;
    let mut options = request.options.clone();
    let mut compiled = prepared.compile(&options)?;
    for wider in wider(&request.options) {
        if compiled.agreement >= ENOUGH_AGREEMENT {
            break;
        }
        // A layer without room for wider weights keeps the narrower program.
        let Ok(next) = prepared.compile(&wider) else {
            break;
        };
        if next.agreement > compiled.agreement {
            (compiled, options) = (next, wider);
        }
    }
    if compiled.agreement < ENOUGH_AGREEMENT {
        warnings.push(format!(
            "the largest output is another one than the float model's on {} of {count} calibration samples",
            (count as f64 * (1.0 - compiled.agreement)).round()
        ));
    }
    apply_metadata(&mut compiled.program, &request.metadata)?;
    compiled
        .program
        .validate()
        .map_err(|e| ModelError::Metadata(e.to_string()))?;
    let card = Card {
        metadata: request.metadata.clone(),
        source_sha256: Digest::sha256(request.onnx).to_string(),
        opset: imported.opset,
        operators: imported.operators,
        parameters: imported.parameters,
        calibration: CalibrationNote {
            source: source.into(),
            samples: count,
            sha256,
        },
        scales: compiled.notes,
        deviation: compiled.deviation,
        agreement: compiled.agreement,
        options: OptionsNote {
            weight_bits: options.weight_bits,
            activation_bits: options.activation_bits,
            index_bits: options.index_bits,
            output_bits: options.output_bits,
        },
        warnings,
    };
    let text = serde_json::to_string(&card).map_err(|e| ModelError::Metadata(e.to_string()))?;
    Ok(Compiled {
        file: ModelFile {
            program: compiled.program,
            weights: compiled.weights,
            card: text,
        },
        card,
    })
}

/// What to try next where the answers differ from the float model's.
fn wider(options: &CompileOptions) -> Vec<CompileOptions> {
    let own = options.clone();
    match options.widen {
        Widen::Nothing => Vec::new(),
        Widen::Weights => [12, 16]
            .into_iter()
            .filter(|&bits| bits > own.weight_bits)
            .map(|weight_bits| CompileOptions {
                weight_bits,
                index_bits: 16,
                ..own.clone()
            })
            .collect(),
        Widen::Activations => (own.activation_bits + 1..=*PROVABLE_BITS.end())
            .map(|activation_bits| CompileOptions {
                activation_bits,
                ..own.clone()
            })
            .collect(),
    }
}

impl Metadata {
    /// Reads `model.toml`.
    ///
    /// # Errors
    /// [`ModelError::Metadata`] with the place of the mistake.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        toml::from_str(text).map_err(|e| ModelError::Metadata(e.to_string()))
    }
}

/// Labels and image mappings become part of the program, and so of its digest.
fn apply_metadata(program: &mut Program, metadata: &Metadata) -> Result<(), ModelError> {
    let fail = |text: String| Err(ModelError::Metadata(text));
    if !metadata.labels.is_empty() {
        let Some(out) = program.outputs.first() else {
            return fail("the model has no output".into());
        };
        let classes = program
            .value(out.value)
            .and_then(|v| v.shape.dims().last().copied());
        if classes != Some(metadata.labels.len()) {
            return fail(format!(
                "{} labels for an output of {} classes",
                metadata.labels.len(),
                classes.unwrap_or(0)
            ));
        }
        program.outputs[0].labels = metadata.labels.clone();
    }
    for (name, about) in &metadata.input {
        let Some(spec) = program.inputs.iter_mut().find(|i| i.name == *name) else {
            return fail(format!("the model has no input `{name}`"));
        };
        if let Some(map) = about.image_map(name)? {
            spec.image = Some(map);
        }
    }
    Ok(())
}

fn digest_samples(samples: &[Vec<Vec<f64>>]) -> String {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    for value in samples.iter().flatten() {
        hash.update((value.len() as u64).to_le_bytes());
        value.iter().for_each(|v| hash.update(v.to_le_bytes()));
    }
    Digest::from_bytes(hash.finalize().into()).to_string()
}

/// Pseudo-random inputs from a fixed seed: uniform in -1..1 for real inputs, zero or one for integers.
fn synthetic_samples(inputs: &[(String, Vec<usize>, bool)], count: usize) -> Vec<Vec<Vec<f64>>> {
    let mut state = 0x5eed_u64;
    // SplitMix64 (Steele, Lea, Flood 2014).
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 11
    };
    (0..count)
        .map(|_| {
            inputs
                .iter()
                .map(|(_, dims, real)| {
                    (0..dims.iter().product::<usize>())
                        .map(|_| {
                            let v = next() as f64 / (1u64 << 53) as f64;
                            if *real {
                                2.0 * v - 1.0
                            } else {
                                libm::floor(2.0 * v)
                            }
                        })
                        .collect()
                })
                .collect()
        })
        .collect()
}

/// Reads samples for each input from a folder: one file per input, named after it (`image.npy`), with samples along the
/// first axis; for a model with one input, any `.npy` files; or ONNX test data (`input_0.pb` or `test_data_set_*`).
///
/// # Errors
/// [`ModelError::Samples`] or the file's own error.
pub fn load_samples(
    dir: &Path,
    inputs: &[(String, Vec<usize>, bool)],
) -> Result<Vec<Vec<Vec<f64>>>, ModelError> {
    let fail = |text: String| ModelError::Samples(format!("{}: {text}", dir.display()));
    let mut files: Vec<_> = fs::read_dir(dir)
        .map_err(|e| fail(e.to_string()))?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(|e| fail(e.to_string()))?;
    files.sort();
    let sets: Vec<_> = files
        .iter()
        .filter(|p| {
            p.is_dir()
                && p.file_name()
                    .is_some_and(|n| n.to_string_lossy().starts_with("test_data_set_"))
        })
        .collect();
    if !sets.is_empty() {
        let mut all = Vec::new();
        for set in sets {
            all.extend(load_samples(set, inputs)?);
        }
        return Ok(all);
    }
    let by_name = |name: &str| -> Option<&std::path::PathBuf> {
        files
            .iter()
            .find(|p| p.is_file() && p.file_stem().is_some_and(|s| s.to_string_lossy() == *name))
    };
    let mut columns: Vec<Vec<Vec<f64>>> = Vec::new();
    for (i, (name, dims, _)) in inputs.iter().enumerate() {
        let mut samples = Vec::new();
        let named = by_name(name).or_else(|| by_name(&format!("input_{i}")));
        let own: Vec<_> = match named {
            Some(p) => vec![p],
            None if inputs.len() == 1 => files
                .iter()
                .filter(|p| p.extension().is_some_and(|e| e == "npy" || e == "json"))
                .collect(),
            None => Vec::new(),
        };
        for path in own {
            samples.extend(
                split_samples(&read_array(path)?, dims)
                    .map_err(|e| fail(format!("{}: {e}", path.display())))?,
            );
            if samples.len() > MAX_SAMPLES {
                break;
            }
        }
        samples.truncate(MAX_SAMPLES);
        if samples.is_empty() {
            return Err(fail(format!(
                "no samples for input `{name}`; expected {name}.npy with samples along the first axis"
            )));
        }
        columns.push(samples);
    }
    let count = columns[0].len();
    if columns.iter().any(|c| c.len() != count) {
        return Err(fail("the inputs have different numbers of samples".into()));
    }
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    Ok((0..count)
        .map(|_| columns.iter_mut().filter_map(Iterator::next).collect())
        .collect())
}

/// Cuts an array into samples of the given shape: the array is one sample, or has samples along its first axis (in
/// place of, or before, the shape's own leading axis of length one).
///
/// # Errors
/// A sentence when the shapes do not fit.
pub fn split_samples(values: &Values, dims: &[usize]) -> Result<Vec<Vec<f64>>, String> {
    let size: usize = dims.iter().product();
    let tail = |d: &[usize]| d.strip_prefix(&[1]).map(<[usize]>::to_vec);
    let one = values.dims == dims || tail(dims).is_some_and(|t| values.dims == t);
    let many = values
        .dims
        .get(1..)
        .is_some_and(|rest| rest == dims || tail(dims).is_some_and(|t| rest == t));
    if (one || many) && size > 0 {
        Ok(values
            .data
            .chunks_exact(size)
            .map(<[f64]>::to_vec)
            .collect())
    } else {
        Err(format!(
            "has shape {:?}; the model takes {dims:?}, with samples along one more leading axis",
            values.dims
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Result<CompileOptions, ModelError> {
        Metadata::parse(text)?.compile.options()
    }

    #[test]
    fn widths_of_the_metadata() {
        assert_eq!(options("").expect("nothing"), CompileOptions::default());
        let run = options("[compile]\nfor = \"run\"").expect("run");
        assert_eq!(run, CompileOptions::default());
        let proof = options("[compile]\nfor = \"proof\"").expect("proof");
        assert_eq!(proof, CompileOptions::provable());
        // A stated width is not widened.
        let stated = options("[compile]\nfor = \"proof\"\nactivation_bits = 9").expect("a width");
        assert_eq!((stated.activation_bits, stated.widen), (9, Widen::Nothing));
        assert!(wider(&stated).is_empty());
        let weights: Vec<u8> = wider(&run).iter().map(|o| o.weight_bits).collect();
        assert_eq!(weights, [12, 16]);
        let activations: Vec<u8> = wider(&proof).iter().map(|o| o.activation_bits).collect();
        assert_eq!(activations, [9, 10, 11]);
        for wrong in [
            "for = \"speed\"",
            "weight_bits = 1",
            "weight_bits = 17",
            "activation_bits = 16",
            "activation_bits = -1",
            "bits = 8",
        ] {
            let text = format!("[compile]\n{wrong}");
            assert!(
                matches!(options(&text), Err(ModelError::Metadata(_))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn the_command_line_comes_first() {
        let file =
            Metadata::parse("[compile]\nfor = \"proof\"\nactivation_bits = 9").expect("metadata");
        let flags = CompileMetadata {
            activation_bits: Some(10),
            ..CompileMetadata::default()
        };
        let both = flags.or(file.compile);
        assert_eq!(
            (both.purpose, both.activation_bits),
            (Some(Purpose::Proof), Some(10))
        );
    }
}
