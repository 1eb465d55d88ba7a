//! The program itself and its static rules.

use crate::{HALF, InputSpec, Op, OutputSpec, ProgramError, Range, Shape, bounds, infer};
use alloc::{string::ToString, vec::Vec};
use carat_receipt::Digest;
use minicbor::{Decode, Encode};

/// Most nodes of a program.
pub(crate) const MAX_NODES: usize = 1 << 16;
/// Most constants of a program.
pub(crate) const MAX_CONSTANTS: usize = 1 << 16;
/// Most inputs, and most outputs.
pub(crate) const MAX_EDGES: usize = 256;
/// Most operands of a node.
const MAX_OPERANDS: usize = 1 << 16;
/// Most bytes of a name or a class label.
pub(crate) const MAX_NAME: usize = 1024;
pub(crate) const MAX_LABELS: usize = 1 << 16;

/// Names a value: inputs come first, then constants, then one value per node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct ValueId(#[n(0)] pub u32);

impl ValueId {
    /// The position in the list of all values.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A constant tensor: weights, a bias, a table, or indices. The data travels separately ([`crate::Weights`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct Constant {
    /// Shape.
    #[n(0)]
    pub shape: Shape,
    /// Smallest and largest value.
    #[n(1)]
    pub range: Range,
    /// Root of the hash tree over the data ([`crate::constant_root`]).
    #[n(2)]
    pub root: Digest,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct Node {
    /// What to compute.
    #[n(0)]
    pub op: Op,
    /// From which values.
    #[n(1)]
    pub inputs: Vec<ValueId>,
    /// Shape of the result; follows from the operands.
    #[n(2)]
    pub shape: Shape,
    /// Range of the result; follows from the operands.
    #[n(3)]
    pub range: Range,
}

/// Shape and range of a value, and whether it is a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueInfo<'a> {
    /// Which value.
    pub id: ValueId,
    /// Shape.
    pub shape: &'a Shape,
    /// Range.
    pub range: Range,
    /// Whether the value is a [`Constant`].
    pub constant: bool,
}

/// An exact integer program without the data of its constants.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct Program {
    /// Inputs, in the order in which tensors are given.
    #[n(0)]
    pub inputs: Vec<InputSpec>,
    /// Constants.
    #[n(1)]
    pub constants: Vec<Constant>,
    /// Steps in execution order.
    #[n(2)]
    pub nodes: Vec<Node>,
    /// Outputs.
    #[n(3)]
    pub outputs: Vec<OutputSpec>,
}

impl Program {
    /// Number of values: inputs, constants and node results.
    #[must_use]
    pub fn value_count(&self) -> usize {
        self.inputs.len() + self.constants.len() + self.nodes.len()
    }

    /// Shape and range of a value, or `None` if there is no such value.
    #[must_use]
    pub fn value(&self, id: ValueId) -> Option<ValueInfo<'_>> {
        let i = id.index();
        if let Some(x) = self.inputs.get(i) {
            return Some(ValueInfo {
                id,
                shape: &x.shape,
                range: x.range,
                constant: false,
            });
        }
        let i = i - self.inputs.len();
        if let Some(c) = self.constants.get(i) {
            return Some(ValueInfo {
                id,
                shape: &c.shape,
                range: c.range,
                constant: true,
            });
        }
        let n = self.nodes.get(i - self.constants.len())?;
        Some(ValueInfo {
            id,
            shape: &n.shape,
            range: n.range,
            constant: false,
        })
    }

    /// The value of an input.
    #[must_use]
    pub fn input_value(&self, index: usize) -> ValueId {
        ValueId(index as u32)
    }

    /// The value of a constant.
    #[must_use]
    pub fn constant_value(&self, index: usize) -> ValueId {
        ValueId((self.inputs.len() + index) as u32)
    }

    /// The value that a node defines.
    #[must_use]
    pub fn node_value(&self, index: usize) -> ValueId {
        ValueId((self.inputs.len() + self.constants.len() + index) as u32)
    }

    /// The index of the constant behind a value, if it is one.
    #[must_use]
    pub fn constant_index(&self, id: ValueId) -> Option<usize> {
        id.index()
            .checked_sub(self.inputs.len())
            .filter(|&i| i < self.constants.len())
    }

    /// Shape and range that a node with these operands must record.
    ///
    /// # Errors
    /// [`ProgramError::Operand`] when the operands do not fit, [`ProgramError::Overflow`] when the result could leave
    /// ±[`HALF`]. `node` is only used in messages.
    pub fn derive(
        node: usize,
        op: &Op,
        operands: &[ValueInfo<'_>],
    ) -> Result<(Shape, Range), ProgramError> {
        let fail = |reason| ProgramError::Operand {
            node,
            op: op.name(),
            reason,
        };
        let shape = infer::shape(op, operands).map_err(fail)?;
        let range = bounds::range(op, operands).map_err(fail)?;
        let widest = range.max_abs();
        if widest > HALF {
            return Err(ProgramError::Overflow {
                node,
                op: op.name(),
                bound: widest,
            });
        }
        Ok((shape, range))
    }

    /// Re-derives every shape and range and checks every rule that can be checked without the weights.
    ///
    /// # Errors
    /// The first [`ProgramError`] found. A program that passes can be executed on any inputs within their ranges
    /// without overflow, division by zero or an index out of bounds, provided its constants are what it says.
    pub fn validate(&self) -> Result<(), ProgramError> {
        let cap = |what, found: usize, limit: usize| {
            if found > limit {
                Err(ProgramError::TooMany { what, found, limit })
            } else {
                Ok(())
            }
        };
        cap("nodes", self.nodes.len(), MAX_NODES)?;
        cap("constants", self.constants.len(), MAX_CONSTANTS)?;
        cap("inputs", self.inputs.len(), MAX_EDGES)?;
        cap("outputs", self.outputs.len(), MAX_EDGES)?;
        for x in &self.inputs {
            readable(&x.name, &x.name)?;
            x.check()?;
        }
        for (index, c) in self.constants.iter().enumerate() {
            if !c.range.is_valid() {
                return Err(ProgramError::Constant {
                    index,
                    reason: "its range is empty or too wide".to_string(),
                });
            }
        }
        for (i, node) in self.nodes.iter().enumerate() {
            let defined = self.inputs.len() + self.constants.len() + i;
            cap("operands", node.inputs.len(), MAX_OPERANDS)?;
            let mut operands = Vec::with_capacity(node.inputs.len());
            for &id in &node.inputs {
                let info = self.value(id).filter(|_| id.index() < defined);
                operands.push(info.ok_or(ProgramError::UndefinedValue {
                    node: i,
                    value: id.0,
                })?);
            }
            let (shape, range) = Self::derive(i, &node.op, &operands)?;
            let wrong = |what| {
                Err(ProgramError::WrongRecord {
                    node: i,
                    op: node.op.name(),
                    what,
                })
            };
            if shape != node.shape {
                return wrong("shape");
            }
            if range != node.range {
                return wrong("range");
            }
        }
        for out in &self.outputs {
            readable(&out.name, &out.name)?;
            cap("labels", out.labels.len(), MAX_LABELS)?;
            for label in &out.labels {
                readable(&out.name, label)?;
            }
            out.check()?;
            if self.value(out.value).is_none() {
                return Err(ProgramError::UndefinedOutput {
                    name: out.name.clone(),
                    value: out.value.0,
                });
            }
        }
        Ok(())
    }
}

/// Names and class labels are printed beside answers and verdicts: a program may not write those itself, by line breaks
/// or by driving the terminal.
fn readable(name: &str, text: &str) -> Result<(), ProgramError> {
    if text.len() > MAX_NAME {
        return Err(ProgramError::TooMany {
            what: "bytes in a name",
            found: text.len(),
            limit: MAX_NAME,
        });
    }
    match text.chars().find(|c| carat_receipt::label::misleads(*c)) {
        None => Ok(()),
        Some(c) => Err(ProgramError::Spec {
            name: name.chars().flat_map(char::escape_default).collect(),
            reason: alloc::format!(
                "a name or label holds the character U+{:04X}, which is invisible or moves text; remove it from the model",
                u32::from(c)
            ),
        }),
    }
}
