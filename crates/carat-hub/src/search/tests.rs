use std::collections::BTreeMap;

use super::*;
use crate::card::{Cost, Examination, Facts, Machine, Rung};
use crate::manifest::{FileEntry, Manifest};
use crate::signing::SignatureReport;

struct Made<'a> {
    name: &'a str,
    about: &'a str,
    task: &'a str,
    operators: &'a [&'a str],
    opset: i64,
    size: u64,
    zk: Option<u64>,
}

fn record(made: &Made<'_>, sequence: u64) -> Record {
    let file = FileEntry {
        path: "model.onnx".parse().expect("a path"),
        size: made.size,
        sha256: Digest::sha256(made.name.as_bytes()),
    };
    let repo = made.name.parse().expect("a name");
    let mut manifest = Manifest::new(repo, "1".parse().expect("a version"), vec![file]);
    manifest.about.description = made.about.into();
    manifest.about.task = made.task.into();
    let rung = |name: &str, cost: Option<u64>| Rung {
        name: name.into(),
        available: name != "zk" || cost.is_some(),
        note: None,
        cost: cost.map(|p50_micros| Cost {
            p50_micros,
            ..Cost::default()
        }),
        model_key: None,
    };
    Record {
        digest: manifest.digest(),
        published: sequence,
        sequence,
        by: "t".into(),
        signature: SignatureReport::default(),
        tombstone: None,
        examination: Some(Examination {
            at: 0,
            machine: Machine::default(),
            micros: 0,
            peak_bytes: None,
            execution: Execution::Runs,
            facts: Facts {
                opset: Some(made.opset),
                operators: made
                    .operators
                    .iter()
                    .map(|op| (op.to_string(), 1))
                    .collect(),
                ..Facts::default()
            },
            rungs: vec![rung("signature", Some(10)), rung("zk", made.zk)],
            fidelity: None,
            reproduced: None,
            warnings: Vec::new(),
        }),
        manifest,
    }
}

const MODELS: [Made<'_>; 4] = [
    Made {
        name: "acme/digits",
        about: "Which digit is it?",
        task: "image-classification",
        operators: &["Conv", "Relu"],
        opset: 17,
        size: 300,
        zk: Some(5000),
    },
    Made {
        name: "acme/digits-large",
        about: "A larger network for digits",
        task: "image-classification",
        operators: &["Conv"],
        opset: 20,
        size: 3000,
        zk: Some(90_000),
    },
    Made {
        name: "other/tumor",
        about: "Benign or not",
        task: "tabular-classification",
        operators: &["Gemm", "Relu"],
        opset: 17,
        size: 20,
        zk: None,
    },
    Made {
        name: "other/speech",
        about: "Words for digits of sound",
        task: "speech",
        operators: &["LSTM"],
        opset: 9,
        size: 900,
        zk: None,
    },
];

fn index() -> Index {
    let mut index = Index::default();
    MODELS
        .iter()
        .enumerate()
        .for_each(|(i, made)| index.put(&record(made, i as u64)));
    index
}

fn names(index: &Index, query: Query) -> Vec<String> {
    index
        .search(&query)
        .hits
        .iter()
        .map(|hit| hit.repo.to_string())
        .collect()
}

#[test]
fn words_rank_and_conditions_hold_together() {
    let index = index();
    let of = |query: Query| names(&index, query);
    let q = |q: &str| Query {
        q: q.into(),
        ..Query::default()
    };
    // In the name counts more than in the text, and in both more than in one.
    let order = ["acme/digits-large", "acme/digits", "other/speech"];
    assert_eq!(of(q("digits")), order);
    assert_eq!(of(q("DIGI larg")), ["acme/digits-large"]);
    // Equally good: the newest first.
    assert_eq!(of(q("conv")).len(), 2);
    assert!(of(q("digits absent")).is_empty());
    // Without words: the newest first.
    assert_eq!(of(Query::default())[0], "other/speech");
    assert_eq!(
        of(Query {
            operators: Some("Relu, Conv".into()),
            ..Query::default()
        }),
        ["acme/digits"]
    );
    assert_eq!(
        of(Query {
            rung: Some("zk".into()),
            sort: Some("cost".into()),
            ..Query::default()
        }),
        ["acme/digits", "acme/digits-large"]
    );
    assert_eq!(
        of(Query {
            max_cost_micros: Some(6000),
            ..Query::default()
        }),
        ["acme/digits"]
    );
    assert_eq!(
        of(Query {
            opset_min: Some(10),
            opset_max: Some(17),
            max_bytes: Some(100),
            ..Query::default()
        }),
        ["other/tumor"]
    );
    assert_eq!(
        of(Query {
            owner: Some("other".into()),
            sort: Some("size".into()),
            ..Query::default()
        }),
        ["other/tumor", "other/speech"]
    );
    assert!(
        of(Query {
            task: Some("nothing".into()),
            ..Query::default()
        })
        .is_empty()
    );
    let page = index.search(&Query {
        limit: Some(1),
        offset: 1,
        sort: Some("name".into()),
        ..Query::default()
    });
    assert_eq!(
        (page.total, page.hits[0].repo.to_string().as_str()),
        (4, "acme/digits-large")
    );
    let facets = index.search(&q("digits")).facets;
    assert_eq!(
        facets["task"],
        [
            ("image-classification".to_string(), 2),
            ("speech".to_string(), 1)
        ]
    );
    assert_eq!(
        facets["operator"],
        [
            ("Conv".to_string(), 2),
            ("LSTM".to_string(), 1),
            ("Relu".to_string(), 1)
        ]
    );
}

/// What was taken out or replaced is not found, and an index that was changed answers as one made anew.
#[test]
fn a_changed_index_is_as_a_new_one() {
    let mut changed = index();
    changed.remove(&"acme/digits".parse().expect("a name"));
    changed.put(&record(
        &Made {
            about: "quite different",
            ..MODELS[3]
        },
        9,
    ));
    changed.put(&record(&MODELS[0], 10));
    changed.remove(&"acme/digits-large".parse().expect("a name"));
    let mut new = Index::default();
    for made in [
        &MODELS[2],
        &Made {
            about: "quite different",
            ..MODELS[3]
        },
        &MODELS[0],
    ] {
        new.put(&record(made, 9));
    }
    for q in ["digits", "different", "sound", "a", "conv", ""] {
        let query = Query {
            q: q.into(),
            sort: Some("name".into()),
            ..Query::default()
        };
        let by_name = |index: &Index| names(index, query.clone());
        assert_eq!(by_name(&changed), by_name(&new), "{q}");
        let facets = |index: &Index| -> BTreeMap<String, Vec<(String, usize)>> {
            index.search(&query).facets
        };
        assert_eq!(facets(&changed), facets(&new), "{q}");
    }
    assert_eq!((changed.len(), changed.is_empty()), (3, false));
}
