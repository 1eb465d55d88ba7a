//! The models that are served, ready to run.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use carat_nn::exec::Executable;
use carat_zk::{Profile, ProvingKey};

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::home::{Home, Place};
use crate::hub::service::Service;
use crate::model::{self, AnyModel, Kind, Model, Tensors};
use crate::prover::{self, How};
use crate::supply::{self, Record};
use crate::tell::Silent;

/// The security profile of the server's proofs.
pub const PROFILE: Profile = Profile::ALL[0];

/// A model that is served.
pub struct Served {
    /// Its name in addresses.
    pub name: String,
    /// Program, weights, card.
    pub model: AnyModel,
    /// An integer program, ready to run; float programs run in processes of their own.
    executable: Option<Executable>,
    /// What measuring its proofs gave; `None`: it cannot be proven within the limits here.
    pub proving: Option<Record>,
    key: OnceLock<Result<ProvingKey, String>>,
}

impl Served {
    /// Runs one input.
    pub fn run(&self, inputs: &Tensors) -> Result<Tensors, Failure> {
        match (&self.model.kind, &self.executable, inputs) {
            (Kind::Integer(_), Some(executable), Tensors::Integers(inputs)) => executable
                .run(inputs)
                .map(Tensors::Integers)
                .map_err(model::exec_failure),
            (Kind::Pinned(pinned), None, Tensors::Bits(inputs)) => {
                pinned.run(inputs).map(Tensors::Bits)
            }
            _ => Err(model::other_kind()),
        }
    }

    /// What proving needs: the integer model, ready to run.
    pub fn provable(&self) -> Result<(&Model, &Executable), Failure> {
        let model = self.model.integer()?;
        let executable = self.executable.as_ref();
        Ok((model, executable.ok_or_else(model::other_kind)?))
    }

    /// The commitment to its weights, made when first asked for.
    pub fn key(&self) -> Result<&ProvingKey, Failure> {
        let model = self.model.integer()?;
        let made = self.key.get_or_init(|| {
            ProvingKey::new(model.program(), &model.file.weights, PROFILE)
                .map_err(|error| prover::failure(error).message)
        });
        made.as_ref()
            .map_err(|message| Failure::new(Exit::Model, message))
    }
}

/// Loads the models of a configuration, and measures those that were not measured yet.
pub fn load(
    config: &Config,
    home: &Home,
    place: &Place,
    hub: Option<&Service>,
) -> Result<Vec<Arc<Served>>, Failure> {
    let mut found = Vec::with_capacity(config.model.len());
    for entry in &config.model {
        let mut model = match entry.in_hub().zip(hub) {
            Some((reference, hub)) => hub.model(reference)?,
            None => AnyModel::load(&entry.path, place)?,
        };
        if let Kind::Pinned(pinned) = &mut model.kind {
            pinned.bounds = carat_float::Bounds {
                time: Duration::from_secs(config.limits.float_seconds),
                bytes: config.limits.float_bytes,
            };
        }
        let zeros = model.program().zeros()?;
        if supply::record(home, &model.digest, "execute")?.is_none() {
            supply::calibrate(home, &model, &zeros)?;
        }
        // What does not fit is no supply; it is not measured either.
        let how = How::succinct(PROFILE, config.limits.proof_bytes);
        let provable = model.integer().and_then(|model| {
            prover::fits(model, 1, &how)?;
            Ok(model)
        });
        let proving = match (supply::record(home, &model.digest, "prove")?, provable) {
            (found @ Some(_), Ok(_)) => found,
            (None, Ok(model)) => supply::calibrate_proof(home, model, zeros.integers()?, &Silent)?,
            (_, Err(_)) => None,
        };
        let executable = match &model.kind {
            Kind::Integer(model) => Some(model.executable(config.run_threads)?),
            Kind::Pinned(_) => None,
        };
        tracing::info!(
            model = entry.name,
            program = %model.digest,
            provable = proving.is_some(),
            "model loaded"
        );
        found.push(Arc::new(Served {
            name: entry.name.clone(),
            executable,
            model,
            proving,
            key: OnceLock::new(),
        }));
    }
    Ok(found)
}
