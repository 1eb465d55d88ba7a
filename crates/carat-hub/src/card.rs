//! The model card: what the publisher says, what this hub measured, and what nobody checked, each under its own name.

use std::collections::BTreeMap;

use carat_receipt::Digest;
use serde::{Deserialize, Serialize};

use crate::catalogue::{Record, Tombstone};
use crate::manifest::{About, FileEntry, commit};
use crate::name::{RepoId, Tag, Version};
use crate::signing::{self, SignatureReport};
use crate::snippet::{self, Snippets};

/// What examining a version found. Everything in it was computed or measured by the hub itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Examination {
    /// When, in Unix seconds.
    pub at: u64,
    /// On what.
    pub machine: Machine,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// Most memory of the process that did it, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Whether it runs here.
    pub execution: Execution,
    /// What was read from the files.
    pub facts: Facts,
    /// What an answer's receipt can rest on.
    pub rungs: Vec<Rung>,
    /// How close the integer program is to its float source; `None`: not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<Fidelity>,
    /// Whether compiling the published source again gave the published program; `None`: not tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproduced: Option<bool>,
    /// Things a reader should know.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Where something was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor.
    pub cpu: String,
    /// How many.
    pub processors: usize,
    /// Architecture and operating system.
    pub platform: String,
    /// Load average over the last minute before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
}

/// Whether a version runs here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Execution {
    /// As an exact integer program.
    Runs,
    /// It is kept, and does not run.
    Refused {
        /// The reason without names and numbers of this model, for counting.
        group: String,
        /// The reason.
        reason: String,
    },
    /// Its files hold no model that this software reads.
    NoModel,
}

/// What was read from the files of a version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Digest of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<Digest>,
    /// SHA-256 of the ONNX file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_sha256: Option<Digest>,
    /// Version of the default operator set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opset: Option<i64>,
    /// Uses of each operator.
    pub operators: BTreeMap<String, usize>,
    /// Elements of all initializers.
    pub parameters: u64,
    /// Inputs, in order.
    pub inputs: Vec<Port>,
    /// Outputs, in order.
    pub outputs: Vec<Port>,
    /// Where the scales come from: `samples` or `synthetic`, and how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<(String, usize)>,
    /// What the metadata in the files says.
    pub about: About,
}

/// An input or an output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Element type, the NumPy name; empty where the file does not say one that is known.
    pub dtype: String,
    /// Lengths of its axes; `None`: open.
    pub shape: Vec<Option<u64>>,
    /// Names of the classes along the last axis.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// What a receipt can rest on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    /// `signature`, `replay`, `tee` or `zk`.
    pub name: String,
    /// Whether it can be had for this program.
    pub available: bool,
    /// Why not, or under which condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What it cost here; `None`: not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// What proofs are checked against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_key: Option<Digest>,
}

/// A cost that was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// Median time from input to evidence, in microseconds.
    pub p50_micros: u64,
    /// 99th percentile, in microseconds.
    pub p99_micros: u64,
    /// Times it was measured.
    pub runs: u64,
    /// Threads used.
    pub threads: u64,
    /// Of a proof: once for each model, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup_micros: Option<u64>,
    /// Of a proof: verifying it, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_micros: Option<u64>,
    /// Of a proof: its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof_bytes: Option<u64>,
}

/// How close an integer program is to its float source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// Samples measured.
    pub samples: usize,
    /// Whose outputs are the reference, in the publisher's words.
    pub reference: Option<String>,
    /// Share of samples with the same largest output.
    pub top1_agreement: f64,
    /// Largest absolute difference.
    pub max_abs_error: f64,
    /// Mean absolute difference.
    pub mean_abs_error: f64,
    /// Smallest cosine between outputs of a sample.
    pub min_cosine: f64,
    /// Accuracy of the reference, with labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub float_accuracy: Option<f64>,
    /// Accuracy of the program, with labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integer_accuracy: Option<f64>,
}

impl Examination {
    /// The rung of a name, if it can be had.
    pub fn rung(&self, name: &str) -> Option<&Rung> {
        self.rungs
            .iter()
            .find(|rung| rung.available && rung.name == name)
    }

    /// Whether it runs here.
    pub fn runs(&self) -> bool {
        self.execution == Execution::Runs
    }
}

/// A card, as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// The model.
    pub repo: RepoId,
    /// The version.
    pub version: Version,
    /// Digest of its manifest.
    pub digest: Digest,
    /// The same, as clients that know Git call it.
    pub commit: String,
    /// When it was published, in Unix seconds.
    pub published: u64,
    /// Files never leave.
    pub private: bool,
    /// Not in search and lists.
    pub unlisted: bool,
    /// Tags that stand at it.
    pub tags: Vec<Tag>,
    /// The publisher's words.
    pub about: About,
    /// Bytes of all files.
    pub size: u64,
    /// The files; `None`: private.
    pub files: Option<Vec<FileEntry>>,
    /// Why and when it was taken down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tombstone: Option<Tombstone>,
    /// What this hub found; `None`: not examined yet.
    pub examination: Option<Examination>,
    /// The signature of the files.
    pub signature: SignatureReport,
    /// How to call it; `None`: it does not run here.
    pub snippets: Option<Snippets>,
    /// What nobody checked.
    pub not_verified: Vec<String>,
}

impl Card {
    /// The card of a version. `served`: address and name under which a node serves its program.
    pub fn new(record: &Record, tags: Vec<Tag>, served: Option<(&str, &str)>) -> Self {
        let manifest = &record.manifest;
        let mut examination = record.examination.clone();
        let mut about = manifest.about.clone();
        if let Some(found) = &mut examination {
            let theirs = std::mem::take(&mut found.facts.about);
            for (field, other) in [
                (&mut about.description, theirs.description),
                (&mut about.licence, theirs.licence),
                (&mut about.task, theirs.task),
                (&mut about.origin, theirs.origin),
            ] {
                if field.is_empty() {
                    *field = other;
                }
            }
            if manifest.private {
                // Whoever has a guess of the file could confirm it.
                found.facts.source_sha256 = None;
            }
        }
        let snippets = examination
            .as_ref()
            .filter(|found| found.runs() && record.tombstone.is_none())
            .map(|found| snippet::snippets(&found.facts.inputs, manifest.repo.name(), served));
        let mut signature = record.signature.clone();
        if manifest.private {
            signature.uncovered.clear();
        }
        Self {
            repo: manifest.repo.clone(),
            version: manifest.version.clone(),
            digest: record.digest,
            commit: commit(&record.digest),
            published: record.published,
            private: manifest.private,
            unlisted: manifest.unlisted,
            tags,
            size: manifest.size(),
            files: (!manifest.private).then(|| manifest.files.clone()),
            tombstone: record.tombstone.clone(),
            not_verified: not_verified(record, &about),
            about,
            examination,
            signature,
            snippets,
        }
    }
}

fn not_verified(record: &Record, about: &About) -> Vec<String> {
    let mut list = vec!["that the model is right, safe or fit for a purpose".to_string()];
    if !about.licence.is_empty() {
        list.push("the licence: it is the publisher's word".into());
    }
    match &record.examination {
        None => list.push("everything that is measured: this version is not examined yet".into()),
        Some(found) if found.runs() => {
            if found.fidelity.is_none() {
                list.push(
                    "fidelity: no reference outputs (data/reference.npy) were published with it"
                        .into(),
                );
            } else {
                list.push("that the reference outputs are those of the float model".into());
            }
            match found.reproduced {
                Some(true) => {}
                Some(false) => list.push(
                    "that the program comes from the published source: compiling it here gave another program".into(),
                ),
                None => list.push("that the program comes from a published source".into()),
            }
            if found.rung("zk").is_some_and(|rung| rung.cost.is_none()) {
                list.push("what a proof costs: it was not measured within the time allowed".into());
            }
        }
        Some(_) => {}
    }
    match record.signature.state {
        signing::State::Absent => list.push("who made the files: they are not signed".into()),
        _ => list.extend(record.signature.not_checked.iter().cloned()),
    }
    list
}
