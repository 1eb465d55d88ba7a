//! What a crash between store and log leaves behind, made by hand, and what a start makes of it.

use std::path::Path;

use carat_log::NoteSigner;
use carat_log::store::{Log, Options};
use carat_node::exit::Exit;
use carat_node::issue::leaf_of;
use carat_node::keeper::{Recovered, recover};
use carat_node::store::{Entry, NoticeRecord, ReceiptRecord, Store, StoreOptions};
use carat_receipt::notice::is_miss;
use carat_receipt::statement::{Clock, Optional};
use carat_receipt::{
    Digest, Engine, Execution, Label, Notice, Parameters, Said, Salt, SignedNotice,
    SignedStatement, SigningKey, Statement,
};

fn open(dir: &Path) -> (Store, Log) {
    let store = Store::open(&dir.join("store"), StoreOptions::default()).expect("store");
    let signer = NoteSigner::new("log.example/node", &[1; 32]).expect("good name");
    let log = Log::open_or_create(&dir.join("log"), signer, Options::default()).expect("log");
    (store, log)
}

fn entry(i: u8) -> Entry {
    let label = |text: &str| Label::new(text).expect("a name");
    let key = SigningKey::from_secret(&[9; 32]);
    let statement = Statement {
        issuer: label("issuer"),
        issuer_key: key.public(),
        issued_at: 1000,
        clock: Clock::System,
        random: [i; 16],
        program: Digest::sha256(b"program"),
        model_name: label("model"),
        model_version: label("1"),
        execution: Execution::Local,
        engine: Engine {
            numerics: label("integer/v1"),
            semantics: 1,
        },
        input: Digest::sha256(&[i]),
        output: Digest::sha256(&[i, i]),
        parameters: Parameters::default(),
        optional: Optional::default(),
    };
    let signed = SignedStatement::sign(statement, &key).expect("signs");
    Entry {
        id: signed.receipt_id(),
        opening: Vec::new().into(),
        record: ReceiptRecord {
            tenant: "acme".into(),
            model: "m".into(),
            created: 1000,
            blind: Salt::from_bytes([i; 32]),
            signed,
        },
        evidence: Vec::new(),
        key: None,
        job: None,
        ends: None,
        promised: None,
        charge: None,
    }
}

fn leaf(entry: &Entry) -> Vec<u8> {
    leaf_of(&entry.record.signed, &entry.record.blind)
}

/// Every receipt has one place, its leaf stands there, and no leaf stands in the log twice.
fn consistent(store: &Store, log: &Log, entries: &[Entry], foreign: u64) {
    let mut places: Vec<u64> = entries
        .iter()
        .map(|entry| {
            let place = store.place(&entry.id).expect("read").expect("a place");
            assert_eq!(log.leaf(place).expect("leaf"), leaf(entry));
            assert_eq!(store.receipt_at(place).expect("read"), Some(entry.id));
            place
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), entries.len());
    assert_eq!(log.len(), entries.len() as u64 + foreign);
    assert!(store.pending().expect("read").is_empty());
}

#[test]
fn a_crash_before_between_and_after_the_log_loses_and_doubles_nothing() {
    // How many of five receipts reached the log, in which order, before the crash.
    for reached in [
        vec![],
        vec![0],
        vec![2, 1],
        vec![0, 1, 2, 3, 4],
        vec![4, 0, 3],
    ] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let entries: Vec<Entry> = (0..5).map(entry).collect();
        {
            let (store, log) = open(dir.path());
            store.put_group(&entries[..2]).expect("written");
            store.put_group(&entries[2..]).expect("written");
            for i in &reached {
                log.append(&leaf(&entries[*i])).expect("appended");
            }
        }
        let (store, log) = open(dir.path());
        let recovered = recover(&store, &log, false).expect("recovers");
        let found = reached.len() as u64;
        let want = Recovered {
            found,
            logged: 5 - found,
            foreign: 0,
        };
        assert_eq!(recovered, want, "{reached:?}");
        consistent(&store, &log, &entries, 0);
        // And once more: there is nothing left to do.
        let again = recover(&store, &log, false).expect("recovers");
        assert_eq!(again, Recovered::default());
        consistent(&store, &log, &entries, 0);
    }
}

#[test]
fn places_that_were_not_synced_are_found_in_the_log_again() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let entries: Vec<Entry> = (0..6).map(entry).collect();
    {
        let (store, log) = open(dir.path());
        let group = store.put_group(&entries[..3]).expect("written");
        let range = log
            .append_batch(&entries[..3].iter().map(leaf).collect::<Vec<_>>())
            .expect("appended");
        let places = entries.iter().map(|entry| entry.id).zip(range);
        store.put_places(places, &[group]).expect("placed");
        store.put_group(&entries[3..]).expect("written");
        log.append_batch(&entries[3..].iter().map(leaf).collect::<Vec<_>>())
            .expect("appended");
    }
    let (store, log) = open(dir.path());
    let recovered = recover(&store, &log, false).expect("recovers");
    assert_eq!((recovered.found, recovered.logged), (3, 0));
    consistent(&store, &log, &entries, 0);
}

#[test]
fn a_store_that_lost_receipts_is_noticed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let entries: Vec<Entry> = (0..2).map(entry).collect();
    {
        let (store, log) = open(dir.path());
        let group = store.put_group(&entries[..1]).expect("written");
        let index = log.append(&leaf(&entries[0])).expect("appended");
        store
            .put_places([(entries[0].id, index)].into_iter(), &[group])
            .expect("placed");
        // In the log and not in the store, as if an old copy of the store had been restored.
        log.append(&leaf(&entries[1])).expect("appended");
    }
    let (store, log) = open(dir.path());
    let refused = recover(&store, &log, false).expect_err("noticed");
    assert_eq!(refused.exit, Exit::Store);
    assert!(
        refused.message.contains("--accept-foreign-entries"),
        "{}",
        refused.message
    );
    assert_eq!(recover(&store, &log, true).expect("let pass").foreign, 1);
    consistent(&store, &log, &entries[..1], 1);
}

#[test]
fn a_log_that_is_shorter_or_another_is_noticed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let entries: Vec<Entry> = (0..2).map(entry).collect();
    let (store, log) = open(dir.path());
    let group = store.put_group(&entries).expect("written");
    let places = entries.iter().map(|entry| entry.id).zip(0..);
    store.put_places(places, &[group]).expect("placed");
    // The log has none of it.
    let refused = recover(&store, &log, true).expect_err("noticed");
    assert_eq!(refused.exit, Exit::Store);
    log.append(&leaf(&entries[1])).expect("appended");
    log.append(&leaf(&entries[0])).expect("appended");
    let refused = recover(&store, &log, true).expect_err("noticed");
    assert!(
        refused.message.contains("another receipt"),
        "{}",
        refused.message
    );
}

/// A promise that was missed is an entry of the log like a receipt: a crash between store and log loses and doubles none.
#[test]
fn a_crash_while_a_miss_is_logged_loses_and_doubles_nothing() {
    let key = SigningKey::from_secret(&[9; 32]);
    let notice = |receipt: Digest| NoticeRecord {
        job: [3; 16],
        blind: Some(Salt::from_bytes([8; 32])),
        signed: SignedNotice::sign(
            Notice {
                issuer: Label::new("issuer").expect("a name"),
                issuer_key: key.public(),
                said_at: 2000,
                receipt,
                nonce: None,
                said: Said::Miss {
                    by: 1500,
                    promise: None,
                },
            },
            &key,
        )
        .expect("signs"),
    };
    // Whether the miss reached the log, and whether its place was noted.
    for (reached, noted) in [(false, false), (true, false), (true, true)] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let entries: Vec<Entry> = (0..2).map(entry).collect();
        let miss = notice(entries[0].id);
        {
            let (store, log) = open(dir.path());
            let group = store.put_group(&entries[..1]).expect("written");
            let index = log.append(&leaf(&entries[0])).expect("appended");
            let places = [(entries[0].id, index)].into_iter();
            store.put_places(places, &[group]).expect("placed");
            let group = store.put_miss(&miss).expect("written");
            if reached {
                let index = log.append(&miss.leaf().expect("a leaf")).expect("appended");
                if noted {
                    let places = [(miss.signed.id(), index)].into_iter();
                    store.put_places(places, &[group]).expect("placed");
                }
            }
            store.put_group(&entries[1..]).expect("written");
        }
        let (store, log) = open(dir.path());
        let recovered = recover(&store, &log, false).expect("recovers");
        assert_eq!(recovered.foreign, 0);
        assert_eq!(log.len(), 3, "{reached} {noted}");
        let place = store.place(&miss.signed.id()).expect("read");
        let leaf_there = log.leaf(place.expect("a place")).expect("leaf");
        assert!(is_miss(&leaf_there));
        assert_eq!(Some(leaf_there), miss.leaf());
        let found = store.notice_of(&[3; 16], "miss").expect("read");
        assert_eq!(found.as_ref(), Some(&miss));
        let again = recover(&store, &log, false).expect("recovers");
        assert_eq!(again, Recovered::default());
        let tally = store.tally(3000).expect("counts");
        assert_eq!((tally.missed, tally.in_log), (1, 2));
    }
}
