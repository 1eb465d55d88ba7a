//! Attestation evidence: what trusted hardware says of the key that signed the Statement.
//!
//! The evidence is bound to the Statement's key through `B0` and `B` (`docs/binding.md`), and that key signs D. It is verified
//! at a time at which the receipt is known to have existed: when enough witnesses cosigned the log, otherwise now. The
//! issuer's own clock is not taken: whoever gets hold of an old key could date a receipt back to when its evidence was good.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use carat_receipt::evidence::{Attestation, Body};
use carat_receipt::{Amount, Label};
use carat_tee::package::{PackageError, Verdict};
use carat_tee::{Hardware, Package, Rejected};

use super::Work;
use crate::appraisal::{AssumptionSet, Outcome};
use crate::time;
use crate::trust::{self, DeniedPlatform, GpuFirmware, Platform, PolicyName, Trust};

/// Evidence of hardware whose code the Trust file names.
pub(super) struct Accepted<'a> {
    platform: &'a Platform,
    /// Whose word that is, as assumptions: vendors, and any firmware of GPUs where the entry asks for none in particular.
    believed: Vec<String>,
}

/// What it costs to break the machine that attested, and what has to be believed for that.
pub(crate) struct BreakCost<'w> {
    pub(crate) platform: &'w Label,
    pub(crate) cost: Amount,
    pub(crate) believed: &'w [String],
}

/// Evidence that adds nothing, and why.
const SIMULATED: &str = "simulated hardware: worth nothing";

impl<'a> Work<'a> {
    pub(super) fn attestation(&mut self, name: String, attestation: &Attestation) {
        let package = match Package::read(attestation) {
            Ok(package) => package,
            Err(PackageError::MediaType(_)) => {
                return self.not_made(name, "not appraised by this version: it adds nothing");
            }
            Err(error) => return self.fail(name, format!("it adds nothing: {error}")),
        };
        let content = self.trust.map(Trust::content);
        let of_kind = || {
            content
                .map_or(&[][..], |content| &content.platforms)
                .iter()
                .filter(|platform| platform.kind == package.kind)
        };
        // Nothing is asked of GPUs where there are none.
        let demand = |platform: &Platform| match package.gpus.is_empty() {
            true => (platform.policy, GpuFirmware::Any),
            false => (platform.policy, platform.gpu_firmware),
        };
        let mut demands: Vec<(PolicyName, GpuFirmware)> = Vec::new();
        for platform in of_kind() {
            if !demands.contains(&demand(platform)) {
                demands.push(demand(platform));
            }
        }
        if demands.is_empty() {
            demands.push((PolicyName::default(), GpuFirmware::Any));
        }
        let key = self.file.signed.statement().issuer_key;
        let (at, when) = self.attested_at(package.simulated);
        let mut refused: Option<Rejected> = None;
        let mut verified: Option<(Hardware, Vec<Hardware>)> = None;
        let mut passed: Vec<(PolicyName, GpuFirmware)> = Vec::new();
        for (policy, firmware) in demands {
            let asked = match content {
                Some(content) => trust::platform_policy(content, policy, firmware),
                None => policy.policy(),
            };
            match package.verify(&key, &asked, at) {
                Ok(Verdict::Simulated(_)) => {
                    self.simulated = true;
                    return self.fail(
                        name,
                        format!("{SIMULATED}; everything else about it verifies, {when}"),
                    );
                }
                Ok(Verdict::Hardware { cpu, gpus }) => {
                    passed.push((policy, firmware));
                    verified.get_or_insert((cpu, gpus));
                }
                Err(rejected) => {
                    refused.get_or_insert(rejected);
                }
            }
        }
        if let Some((cpu, gpus)) = verified {
            let entries: Vec<&Platform> = of_kind()
                .filter(|platform| passed.contains(&demand(platform)))
                .collect();
            return self.hardware(name, &when, &cpu, &gpus, &entries);
        }
        if let Some(rejected) = refused {
            self.fail(
                name,
                format!(
                    "it adds nothing: {} ({}), {when}",
                    rejected.message, rejected.reason
                ),
            );
        }
    }

    /// The time to verify at, and how it is known.
    fn attested_at(&self, simulated: bool) -> (u64, String) {
        let issued_at = self.file.signed.statement().issued_at;
        match self.witnessed_at {
            _ if simulated => (issued_at, "at the time that the issuer states".into()),
            Some(at) if at <= self.question.now => (
                at,
                format!("at {}, when witnesses saw the receipt", time::to_text(at)),
            ),
            _ => (
                self.question.now,
                "now; no witness says when the receipt was made".into(),
            ),
        }
    }

    fn hardware(
        &mut self,
        name: String,
        when: &str,
        cpu: &Hardware,
        gpus: &[Hardware],
        entries: &[&'a Platform],
    ) {
        let parts = core::iter::once(cpu).chain(gpus);
        let denied = self
            .trust
            .map_or(&[][..], |trust: &Trust| &trust.content().denied_platforms);
        let refusal = parts
            .clone()
            .find_map(|part| denied.iter().find(|entry| entry.covers(part)));
        if let Some(DeniedPlatform { vendor, id, reason }) = refusal {
            return self.fail(
                name,
                format!("the Trust file refuses {vendor} {id}: {reason}"),
            );
        }
        let mut vendors: Vec<String> = parts
            .flat_map(|part| part.kind().vendor().split('+'))
            .map(|vendor| format!("vendor:{vendor}"))
            .collect();
        vendors.dedup();
        let any_firmware =
            |platform: &Platform| !gpus.is_empty() && platform.gpu_firmware == GpuFirmware::Any;
        let (kind, measurement) = (cpu.kind(), cpu.facts().measurement);
        let fitting: Vec<&Platform> = entries
            .iter()
            .copied()
            .filter(|platform| platform.covers(cpu))
            .collect();
        let Some(first) = fitting.first() else {
            return self.pass(
                name,
                format!("{kind} evidence of the Statement's key, {when}; its code {measurement} is not in a usable Trust file"),
            );
        };
        self.pass(
            name,
            format!(
                "{kind} evidence of the Statement's key, code {}, {when}",
                first.name
            ),
        );
        for platform in fitting {
            let mut believed = vendors.clone();
            if any_firmware(platform) {
                believed.push("any-gpu-firmware".into());
            }
            self.attested.push(Accepted { platform, believed });
        }
    }

    /// Sets for the evidence that counts; a set of nothing for evidence that does not.
    pub(super) fn attestation_sets(&self, zero: Option<Amount>) -> Vec<AssumptionSet> {
        let set = |amount, under: Vec<String>, reason: String| AssumptionSet {
            rung: "attestation".into(),
            amount,
            under,
            reason,
        };
        if self.attested.is_empty() {
            let names = || {
                self.checks
                    .iter()
                    .filter(|check| is_attestation(&check.name))
            };
            let reason = match names().next() {
                None => return Vec::new(),
                Some(_) if self.simulated => SIMULATED.into(),
                Some(_) if names().all(|check| check.outcome == Outcome::NotMade) => {
                    "not appraised by this version".into()
                }
                Some(check) => check.reason.clone(),
            };
            return alloc::vec![set(zero, Vec::new(), reason)];
        }
        let block = self
            .block()
            .or_else(|| self.blocks_others.first().cloned())
            .or_else(|| {
                self.simulated
                    .then(|| "simulated evidence is attached too".into())
            })
            .or_else(|| self.key_fault());
        let mut sets: Vec<AssumptionSet> = Vec::new();
        for Accepted { platform, believed } in &self.attested {
            let mut under = believed.clone();
            under.push(format!("measured-code:{}", platform.name));
            under.push("no-physical-attack".into());
            under.push(format!("input:{}", self.input_from));
            let made = match &block {
                Some(block) => set(zero, under, block.clone()),
                None => set(
                    Some(platform.cap),
                    under,
                    format!("the Trust file's cap for the platform {}", platform.name),
                ),
            };
            if !sets.contains(&made) {
                sets.push(made);
            }
        }
        sets
    }

    /// The key is what hardware vouches for: one that was revoked or had run out is nobody's.
    pub(super) fn key_fault(&self) -> Option<String> {
        let faults = ["issuer_key", "issuer_revocation"];
        let failed = |check: &&crate::appraisal::Check| {
            faults.contains(&check.name.as_str()) && check.outcome == Outcome::Fail
        };
        self.checks
            .iter()
            .find(failed)
            .map(|check| check.reason.clone())
    }

    /// What it costs to break the machine that attested, for rules about rational operators: once per receipt, the least
    /// over its evidence, and nothing where the evidence does not count.
    pub(crate) fn break_cost(&self) -> Option<BreakCost<'_>> {
        if self.simulated || self.key_fault().is_some() {
            return None;
        }
        let costs = self
            .attested
            .iter()
            .filter_map(|Accepted { platform, believed }| {
                Some(BreakCost {
                    platform: &platform.name,
                    cost: platform.break_cost?,
                    believed,
                })
            });
        costs.min_by_key(|broken| broken.cost.micros())
    }
}

/// How a summary names a kind of evidence: a simulation is never shown as the real thing.
pub(super) fn shown(body: &Body) -> &'static str {
    match body {
        Body::Attestation(attestation) if Package::is_simulated(attestation) => {
            "attestation (simulated)"
        }
        other => other.kind().as_str(),
    }
}

fn is_attestation(name: &str) -> bool {
    name.starts_with("evidence.") && name.ends_with(".attestation")
}

#[cfg(test)]
mod tests;
