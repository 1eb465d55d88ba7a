//! What the tests of whole proofs share. Programs come from the generator that tests the executor.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

#[path = "../../../carat-nn/tests/exec_support/mod.rs"]
pub mod programs;

use carat_nn::exec::reference;
use carat_program::{Program, Tensor, Weights};
use carat_receipt::Salt;
use carat_zk::{
    Error, Hidden, HidingRoots, Instance, Mode, ModelKey, Options, Profile, Proof, ProvingKey, Run,
    Values, WeightsSecret, io, prove, verify,
};
use programs::{Rng, inputs};

pub const PROFILE: Profile = Profile::Proven100;

/// A proof and all that its verifier needs.
#[derive(Debug, Clone)]
pub struct Proven {
    pub program: Program,
    pub weights: Weights,
    pub key: ModelKey,
    pub inputs: Vec<Vec<Tensor>>,
    pub outputs: Vec<Vec<Tensor>>,
    pub proof: Proof,
    /// The same statements, proven in zero knowledge.
    pub hidden: Vec<(Hidden, ModelKey, Proof)>,
}

/// What the zero-knowledge proofs of the tests hide.
pub const HIDDEN: [Hidden; 4] = [
    hidden(false, false),
    hidden(true, false),
    hidden(false, true),
    hidden(true, true),
];

const fn hidden(values: bool, weights: bool) -> Hidden {
    Hidden { values, weights }
}

/// The secret of hiding keys.
pub fn secret() -> WeightsSecret {
    WeightsSecret::from_bytes([5; 32])
}

/// Keys that hide constants with a secret: for each number of a proof the one that it is made under.
pub fn hiding_keys(
    program: &Program,
    weights: &Weights,
) -> Result<impl Fn(u32) -> Result<ProvingKey, Error>, Error> {
    let (key, roots) = HidingRoots::new(program, weights, PROFILE, &secret())?;
    Ok(move |before| ProvingKey::hiding(program, weights, &key, &secret(), &roots, before))
}

/// What a statement's `io/v1` commitment is made from.
pub fn seed(slot: usize) -> io::Seed {
    let salt = Salt::from_bytes([slot as u8; 32]);
    io::Seed::from_salts(&salt, &salt)
}

impl Proven {
    pub fn instances(&self) -> Vec<Instance<'_>> {
        self.inputs
            .iter()
            .zip(&self.outputs)
            .map(|(x, y)| Instance::of_values(x, y))
            .collect()
    }

    pub fn verify(&self, instances: &[Instance<'_>]) -> Result<(), Error> {
        let verdict = |key, mode, instances: &[Instance<'_>], proof| {
            verify(&self.program, key, PROFILE, mode, instances, proof)
        };
        let plain = verdict(&self.key, Mode::Succinct, instances, &self.proof);
        for (hidden, key, proof) in &self.hidden {
            let mut own = instances.to_vec();
            if hidden.values {
                // The commitments hold what this verifier was told, or else the truth.
                for ((slot, instance), truth) in own.iter_mut().enumerate().zip(self.instances()) {
                    let values = instance.values.or(truth.values).unwrap();
                    // Values that cannot be committed to are refused before anything else.
                    instance.io = io::commit(&self.program, &values, &seed(slot)).ok();
                    instance.values = None;
                }
            }
            let verdict = verdict(key, Mode::Zk(*hidden), &own, proof);
            assert_eq!(plain.is_ok(), verdict.is_ok(), "{plain:?}, {verdict:?}");
        }
        plain
    }

    /// Every statement is checked by a verifier that sees the values of that one only, and once by one that sees all.
    /// A verifier that is told another output or another input refuses.
    pub fn accept(&self, rng: &mut Rng) -> Result<(), Error> {
        let all = self.instances();
        self.verify(&all)?;
        for slot in 0..all.len() {
            let mut own = all.clone();
            for (i, instance) in own.iter_mut().enumerate() {
                if i != slot {
                    instance.values = None;
                }
            }
            self.verify(&own)?;
            let outputs = altered(&self.outputs[slot], rng);
            own[slot].values = Some(Values {
                inputs: &self.inputs[slot],
                outputs: &outputs,
            });
            assert!(self.verify(&own).is_err(), "another output is accepted");
            if self.inputs[slot].is_empty() {
                continue;
            }
            let inputs = altered(&self.inputs[slot], rng);
            own[slot].values = Some(Values {
                inputs: &inputs,
                outputs: &self.outputs[slot],
            });
            assert!(self.verify(&own).is_err(), "another input is accepted");
        }
        Ok(())
    }
}

/// One element of one tensor is another one.
pub fn altered(tensors: &[Tensor], rng: &mut Rng) -> Vec<Tensor> {
    let mut out = tensors.to_vec();
    let which = rng.below(out.len());
    let mut data = out[which].data().to_vec();
    let at = rng.below(data.len());
    data[at] += if data[at] > 0 { -1 } else { 1 };
    out[which] = Tensor::new(out[which].shape().clone(), data).unwrap();
    out
}

/// The trace of the plain executor.
pub fn run(program: &Program, weights: &Weights, inputs: &[Tensor]) -> (Run, Vec<Tensor>) {
    let nodes = reference::trace(program, weights, inputs).unwrap();
    let outputs = reference::run(program, weights, inputs).unwrap();
    (
        Run {
            inputs: inputs.to_vec(),
            nodes,
        },
        outputs,
    )
}

/// One proof of `count` statements.
pub fn proven(
    program: &Program,
    weights: &Weights,
    count: usize,
    rng: &mut Rng,
) -> Result<Proven, Error> {
    let all: Vec<Vec<Tensor>> = (0..count).map(|_| inputs(program, rng)).collect();
    proven_on(program, weights, all)
}

/// As [`proven`], on these inputs.
pub fn proven_on(
    program: &Program,
    weights: &Weights,
    all: Vec<Vec<Tensor>>,
) -> Result<Proven, Error> {
    // Zero knowledge for every fourth program: the argument is the same.
    let hidden: &[Hidden] = match program.digest().as_bytes()[0] % 4 {
        0 => &HIDDEN,
        _ => &[],
    };
    proven_in(program, weights, all, hidden)
}

/// As [`proven_on`], hiding these things.
pub fn proven_in(
    program: &Program,
    weights: &Weights,
    all: Vec<Vec<Tensor>>,
    hidden: &[Hidden],
) -> Result<Proven, Error> {
    let (runs, outputs): (Vec<Run>, Vec<Vec<Tensor>>) =
        all.iter().map(|x| run(program, weights, x)).unzip();
    let public = ProvingKey::new(program, weights, PROFILE)?;
    let hiding = if hidden.iter().any(|h| h.weights) && !program.constants.is_empty() {
        Some(hiding_keys(program, weights)?)
    } else {
        None
    };
    let instances: Vec<Instance<'_>> = all
        .iter()
        .zip(&outputs)
        .map(|(x, y)| Instance::of_values(x, y))
        .collect();
    let prove = |mode, key: &ProvingKey| {
        let mut instances = instances.clone();
        for (slot, instance) in instances.iter_mut().enumerate() {
            if let Some(values) = &instance.values {
                instance.io = Some(io::commit(program, values, &seed(slot))?);
            }
        }
        let seeds: Vec<io::Seed> = (0..instances.len()).map(seed).collect();
        let options = Options {
            mode,
            seeds: &seeds,
            ..Options::default()
        };
        prove(program, weights, key, &instances, &runs, &options)
    };
    let proof = prove(Mode::Succinct, &public)?;
    let mut proofs = Vec::new();
    for (&hidden, before) in hidden.iter().zip(0..) {
        let own;
        let key = match (&hiding, hidden.weights) {
            (_, false) => &public,
            // Constants that there are not cannot be hidden.
            (None, true) => continue,
            (Some(keys), true) => {
                own = keys(before)?;
                &own
            }
        };
        proofs.push((hidden, *key.key(), prove(Mode::Zk(hidden), key)?));
    }
    Ok(Proven {
        program: program.clone(),
        weights: weights.clone(),
        key: *public.key(),
        inputs: all,
        outputs,
        proof,
        hidden: proofs,
    })
}
