//! The models that are served, ready to run.

use std::sync::{Arc, OnceLock};

use carat_nn::exec::Executable;
use carat_zk::{Profile, ProvingKey};

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::home::{Home, Place};
use crate::hub::service::Service;
use crate::model::{self, Model};
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
    pub model: Model,
    /// Ready to run.
    pub executable: Executable,
    /// What measuring its proofs gave; `None`: it cannot be proven within the limits here.
    pub proving: Option<Record>,
    key: OnceLock<Result<ProvingKey, String>>,
}

impl Served {
    /// The commitment to its weights, made when first asked for.
    pub fn key(&self) -> Result<&ProvingKey, Failure> {
        let made = self.key.get_or_init(|| {
            ProvingKey::new(self.model.program(), &self.model.file.weights, PROFILE)
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
        let model = match entry.in_hub().zip(hub) {
            Some((reference, hub)) => hub.model(reference)?,
            None => Model::load(&entry.path, place)?,
        };
        let zeros = model::zeros(model.program())?;
        if supply::record(home, &model.digest, "execute")?.is_none() {
            supply::calibrate(home, &model, &zeros)?;
        }
        // What does not fit is no supply; it is not measured either.
        let provable = prover::fits(
            &model,
            1,
            &How::succinct(PROFILE, config.limits.proof_bytes),
        )
        .is_ok();
        let proving = match supply::record(home, &model.digest, "prove")? {
            found @ Some(_) if provable => found,
            None if provable => supply::calibrate_proof(home, &model, &zeros, &Silent)?,
            _ => None,
        };
        tracing::info!(
            model = entry.name,
            program = %model.digest,
            provable = proving.is_some(),
            "model loaded"
        );
        found.push(Arc::new(Served {
            name: entry.name.clone(),
            executable: model.executable(config.run_threads)?,
            model,
            proving,
            key: OnceLock::new(),
        }));
    }
    Ok(found)
}
