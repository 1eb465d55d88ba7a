//! Many models: those that were named, and small generated networks, each with weights of its own.
//!
//! Models of one shape cost the same to run and to prove, whatever their weights, so costs are measured once for each shape.

use std::path::PathBuf;

use carat_nn::exec::Executable;
use carat_policy::simulate::rng::Rng;
use carat_program::{
    Constant, ConstantWidth, Contraction, Dtype, InputEncoding, InputSpec, ModelFile, Node, Op,
    OutputEncoding, OutputSpec, Program, Range, Shape, Tensor, ValueId, ValueInfo, Weights,
    constant_root,
};
use carat_zk::{Profile, ProvingKey};

use crate::exit::{Exit, Failure};
use crate::model::Model;
use crate::prover;

/// Widths of the generated networks: inputs, hidden, outputs.
pub(super) const SHAPES: [[usize; 3]; 4] = [[8, 16, 2], [16, 32, 4], [32, 32, 8], [64, 64, 10]];

/// A model that serves, with what is kept of it between requests.
pub(super) struct Served {
    pub(super) model: Model,
    /// Which costs are its own.
    pub(super) shape: usize,
    executable: Option<Executable>,
    key: Option<ProvingKey>,
}

impl Served {
    pub(super) fn new(model: Model, shape: usize) -> Self {
        Self {
            model,
            shape,
            executable: None,
            key: None,
        }
    }

    /// Runs one input on one thread.
    pub(super) fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Failure> {
        let executable = match self.executable.take() {
            Some(executable) => executable,
            None => self.model.executable(1)?,
        };
        let outputs = executable.run(inputs).map_err(crate::model::exec_failure);
        self.executable = Some(executable);
        outputs
    }

    /// The next proof commits to the weights anew.
    pub(super) fn forget_key(&mut self) {
        self.key = None;
    }

    /// What is needed to prove: the model, its key, committed to on first use and kept, and its executable.
    pub(super) fn proving(
        &mut self,
        profile: Profile,
    ) -> Result<(&Model, &ProvingKey, &Executable), Failure> {
        if self.key.is_none() {
            let (program, weights) = (self.model.program(), &self.model.file.weights);
            self.key = Some(ProvingKey::new(program, weights, profile).map_err(prover::failure)?);
        }
        if self.executable.is_none() {
            self.executable = Some(self.model.executable(1)?);
        }
        match (&self.key, &self.executable) {
            (Some(key), Some(executable)) => Ok((&self.model, key, executable)),
            _ => Err(Failure::new(Exit::Internal, "a key that was made is gone")),
        }
    }
}

/// An input at random within the ranges that the Program takes.
pub(super) fn random_input(program: &Program, rng: &mut Rng) -> Result<Vec<Tensor>, Failure> {
    let tensor = |input: &InputSpec| {
        let values = random(rng, input.shape.elements(), input.range.lo, input.range.hi);
        Tensor::new(input.shape.clone(), values).map_err(Failure::of(Exit::Internal))
    };
    program.inputs.iter().map(tensor).collect()
}

fn random(rng: &mut Rng, count: usize, lo: i64, hi: i64) -> Vec<i32> {
    let span = hi.abs_diff(lo).saturating_add(1);
    let mut value = || lo.saturating_add_unsigned(rng.below(span));
    (0..count)
        .map(|_| i32::try_from(value()).unwrap_or_default())
        .collect()
}

/// A network of two dense layers: `clamp(x * w >> s)` and `x * w >> s`.
pub(super) fn generated(number: usize, shape: usize, rng: &mut Rng) -> Result<Model, Failure> {
    let [inputs, hidden, outputs] = SHAPES[shape % SHAPES.len()];
    let file = network([inputs, hidden, outputs], rng)?;
    Ok(Model::new(
        file,
        PathBuf::from(format!("generated-{number}")),
    ))
}

fn network([inputs, hidden, outputs]: [usize; 3], rng: &mut Rng) -> Result<ModelFile, Failure> {
    let internal = |error: &dyn ToString| Failure::new(Exit::Internal, error.to_string());
    let shape = |dims: &[usize]| Shape::new(dims).map_err(|error| internal(&error));
    let mut constants = Vec::new();
    let mut data = Vec::new();
    let mut weights = |dims: [usize; 2]| -> Result<u64, Failure> {
        let values = random(rng, dims[0] * dims[1], -127, 127);
        let range = Range::of(&values).ok_or_else(|| internal(&"a constant without values"))?;
        let root = constant_root(&ConstantWidth::of(range).encode(&values), None);
        let column = |j: usize| -> u64 {
            let column = values.iter().skip(j).step_by(dims[1]);
            column.map(|value| u64::from(value.unsigned_abs())).sum()
        };
        let l1 = (0..dims[1]).map(column).max().unwrap_or_default();
        constants.push(Constant {
            shape: shape(&dims)?,
            range,
            root,
        });
        data.push(values.into());
        Ok(l1)
    };
    let l1 = [weights([inputs, hidden])?, weights([hidden, outputs])?];
    let mut program = Program {
        inputs: vec![InputSpec {
            name: "x".into(),
            dtype: Dtype::I32,
            shape: shape(&[1, inputs])?,
            range: Range::new(-128, 127),
            encoding: InputEncoding::Exact,
            image: None,
        }],
        constants,
        nodes: Vec::new(),
        outputs: Vec::new(),
    };
    let contract = |l1| Op::Contract {
        spec: Contraction {
            a: vec![0, 1],
            b: vec![1, 2],
            out: vec![0, 2],
        },
        l1: Some(l1),
    };
    let mut value = program.input_value(0);
    let mut push = |program: &mut Program, op: Op, operands: Vec<ValueId>| {
        let infos: Vec<ValueInfo<'_>> = operands
            .iter()
            .filter_map(|id| program.value(*id))
            .collect();
        let at = program.nodes.len();
        let (shape, range) = Program::derive(at, &op, &infos).map_err(|error| internal(&error))?;
        program.nodes.push(Node {
            op,
            inputs: operands,
            shape,
            range,
        });
        value = program.node_value(at);
        Ok::<ValueId, Failure>(value)
    };
    let (first, second) = (program.constant_value(0), program.constant_value(1));
    let x = program.input_value(0);
    let x = push(&mut program, contract(l1[0]), vec![x, first])?;
    let x = push(&mut program, Op::Shift { bits: 8 }, vec![x])?;
    let x = push(&mut program, Op::Clamp { lo: 0, hi: 127 }, vec![x])?;
    let x = push(&mut program, contract(l1[1]), vec![x, second])?;
    let x = push(&mut program, Op::Shift { bits: 8 }, vec![x])?;
    program.outputs.push(OutputSpec {
        name: "y".into(),
        dtype: Dtype::I32,
        value: x,
        encoding: OutputEncoding::Exact,
        labels: Vec::new(),
    });
    program.validate().map_err(|error| internal(&error))?;
    let weights = Weights { data, salt: None };
    weights.check(&program).map_err(|error| internal(&error))?;
    Ok(ModelFile {
        program,
        weights,
        card: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn generated_models_are_distinct_valid_and_run() {
        let mut rng = Rng::new(1, 2);
        let mut digests = BTreeSet::new();
        for number in 0..12 {
            let model = generated(number, number, &mut rng).unwrap();
            digests.insert(model.digest.to_string());
            // What a reader of model files accepts.
            let bytes = model.file.encode();
            assert_eq!(ModelFile::decode(&bytes).unwrap(), model.file);
            let mut served = Served::new(model, number % SHAPES.len());
            let program = served.model.program().clone();
            let one = random_input(&program, &mut rng).unwrap();
            let two = random_input(&program, &mut rng).unwrap();
            assert_ne!(served.run(&one).unwrap(), served.run(&two).unwrap());
        }
        assert_eq!(digests.len(), 12);
    }
}
