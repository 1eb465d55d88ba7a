//! From a calibrated graph to an exact integer program.
//!
//! Every scale is a power of two: a value with exponent `e` stands for `q * 2^-e`. So sums only align by exact
//! multiplication, products add exponents, and the one rounding step is the program's `shift`. A value is narrowed as
//! late as possible and as little as its consumer's overflow bound demands, once per distinct width.

mod builder;
mod hoist;
mod lookups;
mod lower;
mod scale;

use crate::{
    calibrate::{Calibration, calibrate},
    edge,
    exec::{Executable, Options},
    graph::{EvalError, Graph, GraphError, GraphOp, Id, dtype_range, simplify},
};
pub use hoist::hoist;
pub use lookups::{Lookups, TABLE_VALUES};

use builder::{Builder, Q, fixed};
use carat_program::{
    Dtype, F64Bits, HALF, InputEncoding, InputSpec, Op, OutputEncoding, OutputSpec, Program,
    ProgramError, Range, ValueId, Weights,
};
use std::collections::HashMap;
use thiserror::Error;

/// What may be widened where the program does not answer like the float model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Widen {
    /// Nothing.
    Nothing,
    /// The weights: to 12, then 16 bits.
    Weights,
    /// The activations: bit by bit to [`PROVABLE_BITS`]' upper end.
    Activations,
}

/// Bits of an activation beside its sign that a program for proofs begins with and ends at. Fewer than 8 lose answers;
/// more than 11 leave no layer a shift of at most [`TABLE_VALUES`] values, because a static range exceeds what values
/// reach in practice by 4 bits and more.
pub const PROVABLE_BITS: std::ops::RangeInclusive<u8> = 8..=11;

/// How precise the program shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct CompileOptions {
    /// Bits of a weight, sign included, 2 to 16.
    pub weight_bits: u8,
    /// Bits of an activation beside its sign, at most 15; fewer where an overflow bound demands it.
    pub activation_bits: u8,
    /// Bits of a table index, at most 16.
    pub index_bits: u8,
    /// Bits of a real output beside its sign.
    pub output_bits: u8,
    /// Choose widths for what a proof costs: the result of every shift takes at most [`TABLE_VALUES`] values over its
    /// static range, if need be with fewer bits than `activation_bits`; maxima compare narrow values.
    pub provable: bool,
    /// Refuse the program if it differs from the graph by more than this many units of the output's last place on any
    /// calibration sample.
    pub max_units: Option<f64>,
    /// Choose the width of each layer's weights for precision instead of taking `weight_bits`.
    pub precise: bool,
    /// What [`crate::model::compile_model`] widens until the program answers like the float model on the calibration
    /// samples.
    pub widen: Widen,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self {
            weight_bits: 8,
            activation_bits: 15,
            index_bits: 14,
            output_bits: 15,
            provable: false,
            max_units: None,
            precise: false,
            widen: Widen::Weights,
        }
    }
}

impl CompileOptions {
    /// For proofs: as narrow as the answers allow, so that each activation is one look-up in small tables. Weights keep
    /// 8 bits, and outputs are the last accumulators as they are, which costs nothing and loses nothing.
    #[must_use]
    pub fn provable() -> Self {
        Self {
            activation_bits: *PROVABLE_BITS.start(),
            index_bits: 12,
            output_bits: 30,
            provable: true,
            widen: Widen::Activations,
            ..Self::default()
        }
    }

    /// As precise as the field allows: what conformance runs with.
    #[must_use]
    pub fn precise() -> Self {
        Self {
            weight_bits: 16,
            activation_bits: 15,
            index_bits: 16,
            output_bits: 13,
            provable: false,
            max_units: Some(1.9),
            precise: true,
            widen: Widen::Nothing,
        }
    }
}

/// Why a graph has no program.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum CompileError {
    /// The graph itself is at fault.
    #[error("{0}")]
    Graph(#[from] GraphError),
    /// A sample cannot be evaluated.
    #[error("calibration: {0}")]
    Calibration(#[from] EvalError),
    /// There is nothing to calibrate on.
    #[error("there are no calibration samples")]
    NoSamples,
    /// A primitive's rule or bound is violated.
    #[error("`{origin}`: {error}")]
    Bound {
        /// The ONNX node.
        origin: String,
        /// The rule.
        error: ProgramError,
    },
    /// An operation cannot be done on integers with useful precision.
    #[error("`{origin}` {reason}")]
    Unsupported {
        /// The ONNX node.
        origin: String,
        /// Why, as the rest of a sentence.
        reason: String,
    },
    /// The program does not follow the graph closely enough.
    #[error(
        "output `{output}` differs from the model by {units:.1} units of its last place on a calibration sample (allowed: {allowed})"
    )]
    Precision {
        /// Output name.
        output: String,
        /// The largest difference found, in units.
        units: f64,
        /// The limit.
        allowed: f64,
    },
    /// A fault of this compiler: the program it made does not run.
    #[error("internal error: the compiled program does not run: {0}")]
    Internal(String),
}

/// Where a value's scale comes from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ScaleNote {
    /// The ONNX node.
    pub origin: String,
    /// One unit is `2^-exponent`.
    pub exponent: i32,
}

/// A compiled graph.
#[derive(Debug, Clone)]
pub struct CompiledGraph {
    /// The program.
    pub program: Program,
    /// Its constants.
    pub weights: Weights,
    /// One note per program node.
    pub notes: Vec<ScaleNote>,
    /// Largest difference from the graph on the calibration samples, in units of the last place, per output.
    pub deviation: Vec<f64>,
    /// Share of calibration samples on which the largest element of the first output has the same place.
    pub agreement: f64,
}

/// A graph with the ranges of its values: ready to be compiled, at several precisions if need be.
#[derive(Debug, Clone)]
pub struct Prepared {
    graph: Graph,
    samples: Vec<Vec<Vec<f64>>>,
    calibration: Calibration,
}

/// Simplifies a graph and evaluates it on the samples: for each, one vector per graph input.
///
/// # Errors
/// [`CompileError`].
pub fn prepare(graph: Graph, samples: Vec<Vec<Vec<f64>>>) -> Result<Prepared, CompileError> {
    if samples.is_empty() {
        return Err(CompileError::NoSamples);
    }
    let graph = simplify(graph)?;
    let calibration = calibrate(&graph, &samples)?;
    Ok(Prepared {
        graph,
        samples,
        calibration,
    })
}

impl Prepared {
    /// The graph's own outputs, per sample and output: what a program is measured against.
    #[must_use]
    pub fn reference(&self) -> &[Vec<Vec<f64>>] {
        &self.calibration.outputs
    }

    /// The samples.
    #[must_use]
    pub fn samples(&self) -> &[Vec<Vec<f64>>] {
        &self.samples
    }

    /// Compiles. Pure: the same graph, samples and options give the same program, bit for bit, on any machine.
    ///
    /// # Errors
    /// [`CompileError`].
    pub fn compile(&self, options: &CompileOptions) -> Result<CompiledGraph, CompileError> {
        let graph = &self.graph;
        if options.max_units.is_some() {
            refuse_half_precision(graph)?;
        }
        let mut c = Compiler {
            edges: scale::edge_maps(graph),
            values: vec![None; graph.nodes.len()],
            users: scale::users(graph),
            graph,
            calibration: &self.calibration,
            options,
            b: Builder::default(),
            fitted: HashMap::new(),
        };
        c.inputs()?;
        for (id, node) in graph.nodes.iter().enumerate() {
            let given = matches!(node.op, GraphOp::Const(_) | GraphOp::Input(_))
                || c.edges.inner.contains(&id);
            if c.values[id].is_none() && !given {
                c.b.origin = node.origin.clone();
                let q = c.lower(id)?;
                c.values[id] = Some(c.wrap(id, q)?);
            }
        }
        let units = c.outputs()?;
        let (program, weights, origins) = c.b.finish();
        let notes = origins
            .into_iter()
            .map(|(o, exponent)| ScaleNote {
                origin: o.to_string(),
                exponent,
            })
            .collect();
        let (program, notes) =
            hoist(program, notes).map_err(|e| CompileError::Internal(e.to_string()))?;
        program
            .validate()
            .map_err(|e| CompileError::Internal(e.to_string()))?;
        weights
            .check(&program)
            .map_err(|e| CompileError::Internal(e.to_string()))?;
        let (deviation, agreement) =
            measure(&program, &weights, &self.samples, &self.calibration, &units)?;
        if let Some(allowed) = options.max_units {
            for (out, &units) in program.outputs.iter().zip(&deviation) {
                let exact = out.encoding == OutputEncoding::Exact;
                if units > if exact { 0.0 } else { allowed } {
                    return Err(CompileError::Precision {
                        output: out.name.clone(),
                        units,
                        allowed,
                    });
                }
            }
        }
        Ok(CompiledGraph {
            program,
            weights,
            notes,
            deviation,
            agreement,
        })
    }
}

/// A model that computes in 16-bit floats rounds at every step, and its own rounding reaches the output's last place:
/// following it within a stated number of units is only possible for a single step.
fn refuse_half_precision(graph: &Graph) -> Result<(), CompileError> {
    let half = |t: Dtype| matches!(t, Dtype::F16 | Dtype::BF16);
    let rounding = |op: &GraphOp| {
        matches!(op, GraphOp::Func(_) | GraphOp::Div | GraphOp::Linear { .. })
            || matches!(
                op,
                GraphOp::Prim(Op::Mul | Op::Sum { .. } | Op::Contract { .. } | Op::Conv { .. })
            )
    };
    let mut steps = graph
        .nodes
        .iter()
        .filter(|n| half(n.dtype) && rounding(&n.op));
    let _ = steps.next();
    match steps.next() {
        None => Ok(()),
        Some(n) => Err(CompileError::Unsupported {
            origin: n.origin.to_string(),
            reason: "computes in 16-bit floats in several steps, each with a rounding of its own; convert the model to float32".into(),
        }),
    }
}

/// Largest difference per output, in units, and the share of samples with the same arg-max of the first output.
fn measure(
    program: &Program,
    weights: &Weights,
    samples: &[Vec<Vec<f64>>],
    calibration: &Calibration,
    units: &[f64],
) -> Result<(Vec<f64>, f64), CompileError> {
    use rayon::prelude::*;
    let fail = |e: String| CompileError::Internal(e);
    let one_thread = Options {
        threads: 1,
        ..Options::default()
    };
    let executable =
        Executable::new(program, weights, one_thread).map_err(|e| fail(e.to_string()))?;
    let each: Vec<Result<(Vec<f64>, bool), CompileError>> = samples
        .par_iter()
        .zip(&calibration.outputs)
        .map(|(inputs, expected)| {
            let tensors = edge::encode(program, inputs).map_err(|e| fail(e.to_string()))?;
            let got = executable.run(&tensors).map_err(|e| fail(e.to_string()))?;
            let same = got
                .iter()
                .zip(expected)
                .next()
                .is_none_or(|(g, w)| edge::arg_max(g.data()) == edge::arg_max(w));
            let worst = program
                .outputs
                .iter()
                .zip(got.iter().zip(expected))
                .zip(units)
                .map(|((spec, (got, want)), unit)| {
                    let exponent = match spec.encoding {
                        OutputEncoding::Exact => 0,
                        OutputEncoding::Fixed { exponent } => exponent,
                    };
                    got.data()
                        .iter()
                        .zip(want)
                        .map(|(&q, w)| (libm::ldexp(q.into(), -exponent) - w).abs() / unit)
                        .fold(0.0, f64::max)
                })
                .collect();
            Ok((worst, same))
        })
        .collect();
    let mut worst = vec![0.0f64; program.outputs.len()];
    let mut agreed = 0usize;
    for sample in each {
        let (deviation, same) = sample?;
        agreed += usize::from(same);
        for (w, d) in worst.iter_mut().zip(deviation) {
            *w = w.max(d);
        }
    }
    Ok((worst, agreed as f64 / samples.len() as f64))
}

struct Compiler<'a> {
    graph: &'a Graph,
    calibration: &'a Calibration,
    options: &'a CompileOptions,
    edges: scale::EdgeMaps,
    b: Builder,
    values: Vec<Option<Q>>,
    /// Which nodes use each node.
    users: Vec<Vec<Id>>,
    fitted: HashMap<(Q, i32, Range), Q>,
}

impl Compiler<'_> {
    fn refuse<T>(&self, reason: impl Into<String>) -> Result<T, CompileError> {
        Err(CompileError::Unsupported {
            origin: self.b.origin.to_string(),
            reason: reason.into(),
        })
    }

    fn is_real(&self, id: Id) -> bool {
        self.graph.nodes[id].dtype.is_float()
    }

    /// The finest exponent at which values up to `largest` fit `bits` bits beside the sign.
    fn finest(&self, largest: f64, bits: u8) -> i32 {
        if self.options.provable {
            // Where bits are few, the largest value may as well saturate by one unit: pixels up to 1.0 then have units of
            // 2^-8 in 8 bits, not of 2^-7.
            scale::exponent_saturating(largest, bits)
        } else {
            scale::exponent_for(largest, bits)
        }
    }

    fn inputs(&mut self) -> Result<(), CompileError> {
        for (i, input) in self.graph.inputs.iter().enumerate() {
            let node = &self.graph.nodes[input.node];
            let map = self.edges.maps.get(&input.node);
            let at = map.map_or(input.node, |m| m.node);
            let (lo, hi) = self.calibration.ranges[at];
            let (range, encoding, exponent) = if node.dtype.is_float() {
                let bits = self.options.activation_bits;
                let exponent = self.finest(lo.abs().max(hi.abs()), bits);
                let top = (1i64 << bits) - 1;
                let encoding = match map {
                    None => InputEncoding::Fixed { exponent },
                    Some(m) => InputEncoding::Affine {
                        exponent,
                        offset: m.offset.iter().map(|&v| F64Bits::from(v)).collect(),
                        scale: m.scale.iter().map(|&v| F64Bits::from(v)).collect(),
                    },
                };
                (Range::new(-top, top), encoding, exponent)
            } else {
                (
                    scale::integer_range(node.dtype, lo, hi),
                    InputEncoding::Exact,
                    0,
                )
            };
            if !range.is_valid() {
                self.b.origin = format!("input {}", input.name).into();
                return self.refuse(format!(
                    "holds integers beyond ±{HALF}, where arithmetic is not exact"
                ));
            }
            self.b.inputs.push(InputSpec {
                name: input.name.clone(),
                dtype: node.dtype,
                shape: node.shape.clone(),
                range,
                encoding,
                image: None,
            });
            self.values[at] = Some(Q {
                v: builder::V::Input(i),
                exponent,
            });
        }
        Ok(())
    }

    /// Applies the wrap-around of the node's integer type, where the static range can leave it.
    fn wrap(&mut self, id: Id, q: Q) -> Result<Q, CompileError> {
        let node = &self.graph.nodes[id];
        let Some((lo, hi)) = dtype_range(node.dtype) else {
            return Ok(q);
        };
        let r = self.b.range(q);
        if r.lo as f64 >= lo && r.hi as f64 <= hi {
            return Ok(q);
        }
        if r.hi - r.lo >= 1 << 16 {
            return self.refuse(format!(
                "could leave its element type {} and wrap around",
                node.dtype.name()
            ));
        }
        let wrapped = |x: f64| crate::graph::unary(crate::graph::Unary::Wrap(node.dtype), x);
        self.table(q, 0, r, &wrapped)
    }

    /// Fits the outputs; returns the size of one unit for each.
    fn outputs(&mut self) -> Result<Vec<f64>, CompileError> {
        let mut units = Vec::new();
        for out in &self.graph.outputs {
            self.b.origin = format!("output {}", out.name).into();
            let dtype = self.graph.nodes[out.node].dtype;
            let q = if dtype.is_float() {
                self.fit(out.node, self.options.output_bits)?
            } else {
                let q = self.value(out.node, 30)?;
                if q.exponent != 0 {
                    return self.refuse("is an integer that was not kept exact");
                }
                q
            };
            let encoding = if dtype.is_float() {
                fixed(q.exponent)
            } else {
                OutputEncoding::Exact
            };
            let (lo, hi) = self.calibration.ranges[out.node];
            let largest = match self.graph.constant(out.node) {
                Some(c) => c.data.iter().fold(0.0f64, |m, v| m.max(v.abs())),
                None => lo.abs().max(hi.abs()),
            };
            units.push(output_unit(&encoding, largest));
            let spec = OutputSpec {
                name: out.name.clone(),
                dtype,
                value: ValueId(0),
                encoding,
                labels: Vec::new(),
            };
            self.b.output(spec, q);
        }
        Ok(units)
    }
}

/// The unit in which an output is compared: `2^-exponent`, and never more than a 4096th of the largest value.
#[must_use]
pub fn output_unit(encoding: &OutputEncoding, largest: f64) -> f64 {
    match encoding {
        OutputEncoding::Exact => 1.0,
        OutputEncoding::Fixed { exponent } => {
            libm::ldexp(1.0, -exponent).min(if largest > 0.0 { largest / 4096.0 } else { 1.0 })
        }
    }
}
