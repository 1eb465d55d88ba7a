//! The benchmark function measures what it says; how fast is another question.
#![cfg(all(feature = "store", unix))]

use carat_log::NoteSigner;
use carat_log::bench::{BenchError, BenchOptions, bench_appends};
use carat_log::store::audit;
use std::time::Duration;

#[test]
fn the_log_it_leaves_is_whole() {
    for (threads, batch, publish_every) in [(1, 1, None), (3, 7, Some(Duration::from_millis(5)))] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let options = BenchOptions {
            entries: 300,
            leaf_bytes: 40,
            threads,
            batch,
            publish_every,
        };
        let report = bench_appends(dir.path(), &options).expect("measures");
        assert_eq!(report.entries, 300);
        assert!(
            report.append_seconds > 0.0 && report.call_p50_us <= report.call_p99_us,
            "{report:?}"
        );
        // One thread and batches of one: nothing to group, a sync for each.
        assert!(
            report.syncs >= if threads == 1 { 300 } else { 10 },
            "{report:?}"
        );
        serde_json::to_string(&report).expect("serialises");
        let key = NoteSigner::new("bench.example/log", &[0; 32])
            .expect("good name")
            .verifier();
        let found = audit(dir.path(), &key, None).expect("reads");
        assert!(found.ok && found.size == 300, "{found:#?}");
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let nothing = BenchOptions {
        entries: 0,
        ..BenchOptions::default()
    };
    assert!(matches!(
        bench_appends(dir.path(), &nothing),
        Err(BenchError::Zero)
    ));
}
