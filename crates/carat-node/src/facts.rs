//! Facts that the operator states about tenants and models, for the policy. Callers state facts of the request alone.

use carat_policy::cel::Value as Fact;
use carat_policy::facts::Facts;
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::served::Served;

/// What the server states itself, so that no file can say otherwise.
const OWN: [(&str, &[&str]); 2] = [
    ("tenant", &["name"]),
    ("model", &["name", "version", "program"]),
];

/// Refuses facts that are none, or that the server states itself.
pub(crate) fn check(config: &Config) -> Result<(), Failure> {
    let tenants = config
        .tenants
        .iter()
        .map(|(name, tenant)| (format!("tenants.{name}.facts"), "tenant", &tenant.facts));
    let models = config.model.iter().map(|entry| {
        (
            format!("the facts of model {}", entry.name),
            "model",
            &entry.facts,
        )
    });
    for (place, root, facts) in tenants.chain(models) {
        let refuse = |why: String| Failure::new(Exit::Usage, format!("{place}: {why}"));
        let own = OWN.iter().find(|(of, _)| *of == root);
        let own = own.map_or(&[][..], |(_, names)| names);
        if let Some(name) = facts.keys().find(|name| own.contains(&name.as_str())) {
            return Err(refuse(format!(
                "the server states {root}.{name} itself; leave it out"
            )));
        }
        read(root, facts).map_err(|error| refuse(error.to_string()))?;
    }
    Ok(())
}

fn read(root: &str, facts: &Map<String, Value>) -> Result<Facts, carat_policy::facts::FactsError> {
    Facts::from_json(&json!({ root: facts }).to_string())
}

fn state(facts: &mut Facts, root: &str, stated: &Map<String, Value>) {
    if stated.is_empty() {
        return;
    }
    // They were read at the start.
    let Ok(read) = read(root, stated) else { return };
    if let Some(Fact::Map(found)) = read.get(&[root]) {
        for (name, value) in found {
            facts.set(&[root, name], value.clone());
        }
    }
}

impl Config {
    /// Adds what is stated about whoever asks, and about the model.
    pub(crate) fn state_facts(&self, facts: &mut Facts, tenant: &str, served: &Served) {
        let own = self.tenants.get(tenant);
        let own = own.or_else(|| self.tenants.get(crate::spending::EVERYBODY));
        if let Some(own) = own {
            state(facts, "tenant", &own.facts);
        }
        let entry = self.model.iter().find(|entry| entry.name == served.name);
        if let Some(entry) = entry {
            state(facts, "model", &entry.facts);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read_config(text: &str) -> Result<Config, String> {
        Config::read(text, Path::new(""), []).map_err(|failure| failure.message)
    }

    #[test]
    fn the_server_states_names_itself() {
        let model = "[[model]]\nname = \"m\"\npath = \"m\"\n";
        let good = format!(
            "{model}facts = {{ group = \"fraud\", limits = {{ daily = 5 }} }}\n[tenants.acme.facts]\nregion = \"eu\"\ntags = [\"a\", \"b\"]\n"
        );
        let config = read_config(&good).expect("good");
        let mut facts = Facts::from_json(r#"{"request": {"route": "/x"}}"#).expect("facts");
        state(&mut facts, "tenant", &config.tenants["acme"].facts);
        state(&mut facts, "model", &config.model[0].facts);
        assert_eq!(
            facts.canonical(),
            r#"{"model":{"group":"fraud","limits":{"daily":5}},"request":{"route":"/x"},"tenant":{"region":"eu","tags":["a","b"]}}"#
        );
        for (text, part) in [
            (
                format!("{model}facts = {{ program = \"x\" }}"),
                "model.program",
            ),
            (
                format!("{model}[tenants.acme.facts]\nname = \"other\""),
                "tenants.acme.facts",
            ),
            (
                format!("{model}[tenants.acme.facts]\nx = [[1], [2]]"),
                "tenants.acme.facts",
            ),
        ] {
            let error = read_config(&text).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
    }
}
