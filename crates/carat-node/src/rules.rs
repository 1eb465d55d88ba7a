//! The policy in force, and what is supplied for it. Replaced as a whole or not at all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use carat_policy::environment::Environment;
use carat_policy::policy_file::{DEFAULT_POLICY, Policy, Severity};
use carat_receipt::Digest;

use crate::exit::{Exit, Failure};
use crate::home::Home;
use crate::planning;
use crate::served::Served;
use crate::supply;

/// A policy with the environment of each model.
pub struct Rules {
    /// The policy.
    pub policy: Policy,
    /// Whether it is the operator's; the one that ships judges only requests that state something.
    pub own: bool,
    environments: HashMap<Digest, Environment>,
    texts: Texts,
}

/// What rules were made from: they are made again when this changes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Texts {
    policy: Option<String>,
    environment: Option<String>,
}

impl Rules {
    /// The environment of a Program.
    pub fn environment(&self, program: &Digest) -> Option<&Environment> {
        self.environments.get(program)
    }
}

/// Holds the rules in force.
pub struct InForce {
    home: Home,
    path: PathBuf,
    named: bool,
    /// Seconds for which openings are kept, where they are not kept until somebody erases them.
    kept: Option<u64>,
    rules: RwLock<Arc<Rules>>,
}

impl InForce {
    /// Reads policy and environment. A policy that was named must be there, and audits need openings for as long as the
    /// environment says that they take: `kept` are the seconds for which there are openings.
    pub fn load(
        home: &Home,
        named: Option<&Path>,
        kept: Option<u64>,
        models: &[Arc<Served>],
    ) -> Result<Self, Failure> {
        let path = named.map_or_else(|| home.path("policy.toml"), Path::to_path_buf);
        let texts = read(home, &path, named.is_some())?;
        let rules = make(home, &path, texts, kept, models)?;
        announce(&rules, "policy in force");
        Ok(Self {
            home: home.clone(),
            named: named.is_some(),
            kept,
            path,
            rules: RwLock::new(Arc::new(rules)),
        })
    }

    /// The rules in force now.
    pub fn now(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again where they changed. New rules replace the old ones at once; what cannot be used replaces nothing.
    ///
    /// # Errors
    /// Why the files on disk are not in force.
    /// `fits` may refuse a policy that can be read.
    pub fn refresh(
        &self,
        models: &[Arc<Served>],
        fits: impl FnOnce(&Policy) -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        let texts = read(&self.home, &self.path, self.named)?;
        if texts == self.now().texts {
            return Ok(false);
        }
        let rules = make(&self.home, &self.path, texts, self.kept, models)?;
        fits(&rules.policy)?;
        announce(&rules, "policy replaced");
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Ok(true)
    }
}

fn announce(rules: &Rules, what: &str) {
    tracing::info!(
        digest = %rules.policy.digest(),
        mode = ?rules.policy.mode,
        own = rules.own,
        "{what}"
    );
}

fn read(home: &Home, path: &Path, named: bool) -> Result<Texts, Failure> {
    let policy = if named || path.is_file() {
        Some(planning::read_policy(path)?)
    } else {
        None
    };
    let environment = home.path("environment.toml");
    let environment = if environment.is_file() {
        Some(supply::read_text(&environment)?)
    } else {
        None
    };
    Ok(Texts {
        policy,
        environment,
    })
}

fn make(
    home: &Home,
    path: &Path,
    texts: Texts,
    kept: Option<u64>,
    models: &[Arc<Served>],
) -> Result<Rules, Failure> {
    let text = texts.policy.as_deref().unwrap_or(DEFAULT_POLICY);
    let refused = |message: String| {
        Failure::new(Exit::Usage, format!("policy {}: {message}", path.display()))
    };
    let policy = Policy::parse(text).map_err(|error| refused(error.to_string()))?;
    let mut environments = HashMap::new();
    for served in models {
        let digest = served.model.digest;
        let environment = supply::environment(None, Some(home), Some(&digest), policy.currency)?;
        let environment = supply::of_a_server(environment, served.proving.as_ref());
        let window = environment
            .audits
            .as_ref()
            .map_or(0, |audits| audits.window_secs);
        if kept.is_some_and(|kept| kept < window) {
            let message = format!(
                "retention.openings is shorter than the {window} s in which audits come ([audits] window_seconds in environment.toml): \
                 what was erased could not be audited, and silence counts as wrong"
            );
            return Err(Failure::new(Exit::Usage, message));
        }
        if texts.policy.is_some() {
            for finding in policy.check(Some(&environment)) {
                if finding.severity == Severity::Error {
                    return Err(refused(finding.to_string()));
                }
            }
        }
        environments.insert(digest, environment);
    }
    Ok(Rules {
        policy,
        own: texts.policy.is_some(),
        environments,
        texts,
    })
}
