//! Attacks that need the inside of the crate: a prover that accepts any columns and tells any lie, and re-derives
//! everything after them.

mod forged;
mod frozen;
pub(crate) mod hooks;
mod keys;
mod leaks;
mod lies;
mod peers;
mod weights;

#[path = "../../../carat-nn/tests/exec_support/mod.rs"]
mod programs;

use crate::{
    Error, Hidden, HidingRoots, Instance, Mode, Options, Profile, Proof, ProvingKey, Run,
    Values as Edges, WeightsSecret,
    graph::Fill,
    io,
    plan::Plan,
    prove::{Values, prove_with},
    verify,
};
use carat_nn::exec::reference;
use carat_program::{
    Contraction, ConvGeometry, Op, PoolKind, Program, Rounding, Tensor, Weights, Window,
};
use carat_receipt::Salt;
use hooks::{Event, Lie};
use programs::{Builder, Rng, inputs};
use std::cell::{Cell, OnceCell};

const PROFILE: Profile = Profile::Proven100;

/// Columns of a dishonest prover: index and honest values to other values.
type Forger<'a> = &'a (dyn Fn(usize, &[i32]) -> Option<Vec<i32>> + Sync);

/// A model and some honest runs of it.
struct Case {
    program: Program,
    weights: Weights,
    key: ProvingKey,
    plan: Plan,
    /// Both, where constants are hidden.
    hiding: OnceCell<(ProvingKey, Plan)>,
    runs: Vec<Run>,
    outputs: Vec<Vec<Tensor>>,
    /// What proofs of this case let be seen.
    mode: Cell<Mode>,
}

/// The mode in which inputs and outputs are hidden.
const VALUES_HIDDEN: Mode = Mode::Zk(Hidden {
    values: true,
    weights: false,
});

/// The mode in which nothing but what is public is shown.
const ALL_HIDDEN: Mode = Mode::Zk(Hidden {
    values: true,
    weights: true,
});

/// The modes that differ most.
const MODES: [Mode; 3] = [Mode::Succinct, VALUES_HIDDEN, ALL_HIDDEN];

/// The secret of hiding keys.
fn secret() -> WeightsSecret {
    WeightsSecret::from_bytes([5; 32])
}

/// The key that hides constants with a secret, for its proof number `before`.
fn hiding_key(
    program: &Program,
    weights: &Weights,
    secret: &WeightsSecret,
    before: u32,
) -> Result<ProvingKey, Error> {
    let (key, roots) = HidingRoots::new(program, weights, PROFILE, secret)?;
    ProvingKey::hiding(program, weights, &key, secret, &roots, before)
}

/// What the `io/v1` commitment of a statement is made from.
fn seeds(count: usize) -> Vec<io::Seed> {
    let salt = |slot: usize| Salt::from_bytes([slot as u8; 32]);
    (0..count)
        .map(|slot| io::Seed::from_salts(&salt(slot), &salt(slot)))
        .collect()
}

impl Case {
    fn new((program, weights): (Program, Weights), count: usize) -> Self {
        let mut rng = Rng(11);
        let mut all: Vec<Vec<Tensor>> = Vec::new();
        while all.len() < count {
            let next = inputs(&program, &mut rng);
            if !all.contains(&next) {
                all.push(next);
            }
        }
        Self::on((program, weights), all)
    }

    fn on((program, weights): (Program, Weights), all: Vec<Vec<Tensor>>) -> Self {
        let key = ProvingKey::new(&program, &weights, PROFILE).unwrap();
        let plan = Plan::new(&program, all.len()).unwrap();
        let outputs = all
            .iter()
            .map(|x| reference::run(&program, &weights, x).unwrap())
            .collect();
        let runs = all
            .into_iter()
            .map(|inputs| Run {
                nodes: reference::trace(&program, &weights, &inputs).unwrap(),
                inputs,
            })
            .collect();
        Self {
            program,
            weights,
            key,
            plan,
            hiding: OnceCell::new(),
            runs,
            outputs,
            mode: Cell::new(Mode::Succinct),
        }
    }

    /// The modes that it has: constants that there are not cannot be hidden.
    fn modes(&self) -> impl Iterator<Item = Mode> + use<> {
        let constants = !self.program.constants.is_empty();
        MODES
            .into_iter()
            .filter(move |&m| constants || m != ALL_HIDDEN)
    }

    /// The key and the layout of proofs in the mode of this case.
    fn setup(&self) -> (&ProvingKey, &Plan) {
        if self.mode.get() != ALL_HIDDEN {
            return (&self.key, &self.plan);
        }
        let (key, plan) = self.hiding.get_or_init(|| {
            let key = hiding_key(&self.program, &self.weights, &secret(), 0);
            let plan = Plan::of(&self.program, self.runs.len(), ALL_HIDDEN);
            (key.unwrap(), plan.unwrap())
        });
        (key, plan)
    }

    /// The values of the honest runs.
    fn values(&self) -> Values<'_> {
        let graph = &self.setup().1.graph;
        Values::new(&self.program, &self.weights, graph, &self.runs)
    }

    fn prove(&self, instances: &[Instance<'_>], values: &Values<'_>) -> Result<Proof, Error> {
        let options = Options {
            mode: self.mode.get(),
            seeds: &seeds(instances.len()),
            ..Options::default()
        };
        let (key, plan) = self.setup();
        prove_with(plan, key, instances, values, &options)
    }

    fn instances<'a>(&'a self, outputs: &'a [Vec<Tensor>]) -> Vec<Instance<'a>> {
        self.runs
            .iter()
            .zip(outputs)
            .map(|(r, y)| Instance::of_values(&r.inputs, y))
            .zip(seeds(self.runs.len()))
            .map(|(instance, seed)| Instance {
                io: (instance
                    .values
                    .filter(|_| self.mode.get() != Mode::Succinct))
                .and_then(|values| io::commit(&self.program, &values, &seed).ok()),
                ..instance
            })
            .collect()
    }

    fn verify(&self, instances: &[Instance<'_>], proof: &Proof) -> Result<(), Error> {
        verify(
            &self.program,
            self.setup().0.key(),
            PROFILE,
            self.mode.get(),
            instances,
            proof,
        )
    }

    /// The honest proof, and what was seen of it.
    fn honest(&self) -> (Proof, Vec<Event>) {
        let instances = self.instances(&self.outputs);
        let values = self.values();
        hooks::start(None, None);
        let proof = self.prove(&instances, &values).unwrap();
        let events = hooks::finish();
        self.verify(&instances, &proof).unwrap();
        (proof, events)
    }

    /// A proof of the true statement with one lie in it.
    fn lie(&self, lie: Lie) -> (Proof, Vec<Event>) {
        let instances = self.instances(&self.outputs);
        let values = self.values();
        hooks::start(Some(lie), None);
        let proof = self.prove(&instances, &values).unwrap();
        (proof, hooks::finish())
    }

    /// What the verifier says to a proof from forged columns, of the outputs that follow from them. It says the same where
    /// everything is hidden.
    fn forge(&self, forger: Forger<'_>) -> Result<(), Error> {
        let verdicts: Vec<_> = self
            .modes()
            .map(|mode| {
                self.mode.set(mode);
                self.forge_in_mode(forger)
            })
            .collect();
        self.mode.set(Mode::Succinct);
        let [plain, hidden @ ..] = &verdicts[..] else {
            panic!("no mode");
        };
        for hidden in hidden {
            // Values that are no integers of the Program are refused where they would be committed to.
            if !matches!(hidden, Err(Error::Values(_))) {
                assert_eq!(plain.is_ok(), hidden.is_ok(), "{plain:?}, {hidden:?}");
            }
        }
        plain.clone()
    }

    fn forge_in_mode(&self, forger: Forger<'_>) -> Result<(), Error> {
        let graph = &self.plan.graph;
        let values = self.values().forge(forger);
        let outputs: Vec<Vec<Tensor>> = (0..self.runs.len())
            .map(|slot| {
                self.program
                    .outputs
                    .iter()
                    .zip(&graph.outputs)
                    .map(|(spec, &id)| {
                        let shape = self.program.value(spec.value).unwrap().shape.clone();
                        let n = shape.elements();
                        let data = values.get(id);
                        let from = if data.len() > n { slot * n } else { 0 };
                        Tensor::new(shape, data[from..from + n].to_vec()).unwrap()
                    })
                    .collect()
            })
            .collect();
        let instances = self.instances(&outputs);
        let proof = self.prove(&instances, &values)?;
        self.verify(&instances, &proof)
    }

    /// Forges the only column of a kind.
    fn forge_fill(
        &self,
        kind: impl Fn(&Fill) -> bool,
        change: impl Fn(&mut Vec<i32>) + Sync,
    ) -> Result<(), Error> {
        let columns = &self.plan.graph.columns;
        let index = columns
            .iter()
            .position(|c| kind(&c.fill))
            .expect("such a column");
        self.forge(&|c, honest| {
            (c == index).then(|| {
                let mut values = honest.to_vec();
                change(&mut values);
                values
            })
        })
    }
}

#[track_caller]
fn refused(result: Result<(), Error>) {
    match result {
        Err(Error::Check(_) | Error::Opening(..)) => {}
        other => panic!("not refused for the reason it should be: {other:?}"),
    }
}

fn tensors(program: &Program, data: &[&[i32]]) -> Vec<Tensor> {
    program
        .inputs
        .iter()
        .zip(data)
        .map(|(x, d)| Tensor::new(x.shape.clone(), d.to_vec()).unwrap())
        .collect()
}

fn contraction(spec: &str) -> Op {
    let (operands, out) = spec.split_once("->").unwrap();
    let (a, b) = operands.split_once(',').unwrap();
    Op::Contract {
        spec: Contraction {
            a: a.into(),
            b: b.into(),
            out: out.into(),
        },
        l1: None,
    }
}

/// A program of one step on one input.
fn step(op: Op, dims: &[usize], lo: i64, hi: i64) -> (Program, Weights) {
    let mut b = Builder::new(5);
    let x = b.input(dims, lo, hi);
    let y = b.push(op, &[x]);
    b.finish(&[y])
}

fn window(kernel: &[u32], pad: u32) -> Window {
    let of = |n: u32| vec![n; kernel.len()];
    Window {
        kernel: kernel.into(),
        stride: of(1),
        dilation: of(1),
        before: of(pad),
        after: of(pad),
    }
}

/// A small network with every kind of step that commits or looks something up.
fn network(seed: u64) -> (Program, Weights) {
    let mut b = Builder::new(seed);
    let x = b.input(&[1, 1, 5, 5], -128, 127);
    let w = b.random(&[3, 1, 3, 3], -128, 127);
    let geometry = ConvGeometry {
        window: window(&[3, 3], 1),
        groups: 1,
    };
    let v = b.push(Op::Conv { geometry, l1: None }, &[x, w]);
    let bias = b.random(&[3, 1, 1], -3000, 3000);
    let linear = |c: &[i64], bias| Op::Linear {
        coefficients: c.into(),
        bias,
    };
    let v = b.push(linear(&[1, 1], 5), &[v, bias]);
    let v = b.push(Op::Shift { bits: 7 }, &[v]);
    let v = b.push(Op::Clamp { lo: 0, hi: 127 }, &[v]);
    let op = Op::Pool {
        kind: PoolKind::Max,
        window: window(&[2, 2], 0),
    };
    let v = b.push(op, &[v]);
    let shape = carat_program::Shape::new(&[1, 48]).unwrap();
    let v = b.push(Op::Reshape { shape }, &[v]);
    let w = b.random(&[48, 3], -128, 127);
    let v = b.push(contraction("ij,jk->ik"), &[v, w]);
    let v = b.push(Op::Shift { bits: 9 }, &[v]);
    let v = b.push(Op::Clamp { lo: -128, hi: 127 }, &[v]);
    let table = b.random(&[256], -1000, 1000);
    let y = b.push(Op::Lut { offset: -128 }, &[v, table]);
    let z = b.push(Op::Mul, &[v, y]);
    b.finish(&[y, z])
}
