use carat_receipt::statement::{Clock, Optional};
use carat_receipt::{
    Engine, Execution, Label, Opened, Parameters, Role, Salt, SignedStatement, SigningKey,
    Statement,
};

use super::*;

fn label(text: &str) -> Label {
    Label::new(text).expect("a name")
}

/// A receipt of nothing in particular.
pub(crate) fn entry(i: u8) -> Entry {
    let key = SigningKey::from_secret(&[9; 32]);
    let input = Opened::new(Salt::from_bytes([i; 32]), vec![i]);
    let output = Opened::new(Salt::from_bytes([i ^ 1; 32]), vec![i, i]);
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
        input: input.commitment(Role::Input),
        output: output.commitment(Role::Output),
        parameters: Parameters::default(),
        optional: Optional::default(),
    };
    let signed = SignedStatement::sign(statement, &key).expect("signs");
    let id = signed.receipt_id();
    let opening = Opening {
        receipt_id: id,
        program: Digest::sha256(b"program"),
        input,
        output,
        facts: None,
        trace_salt: None,
        carried: None,
    };
    Entry {
        id,
        opening: opening.encode(),
        record: ReceiptRecord {
            tenant: "acme".into(),
            model: "m".into(),
            created: 1000,
            blind: Salt::from_bytes([7; 32]),
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

pub(super) fn open(path: &Path) -> Store {
    Store::open(path, StoreOptions::default()).expect("opens")
}

#[test]
fn a_group_is_there_after_a_restart_and_pending_until_it_is_placed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let entries: Vec<Entry> = (0..5).map(entry).collect();
    let ids: Vec<Digest> = entries.iter().map(|entry| entry.id).collect();
    let group = {
        let store = open(dir.path());
        store.put_group(&entries).expect("written")
    };
    let store = open(dir.path());
    assert_eq!(store.pending().expect("read"), [(group, ids.clone())]);
    assert_eq!(store.last_place().expect("read"), None);
    for entry in &entries {
        let record = store.receipt(&entry.id).expect("read").expect("there");
        assert_eq!(record, entry.record);
        let opening = store.opening(&entry.id).expect("read").expect("there");
        assert_eq!(*opening.encode(), *entry.opening);
        assert_eq!(store.place(&entry.id).expect("read"), None);
    }
    store
        .put_places(ids.iter().copied().zip(10..), &[group])
        .expect("written");
    assert!(store.pending().expect("read").is_empty());
    assert_eq!(store.last_place().expect("read"), Some((14, ids[4])));
    assert_eq!(store.receipt_at(11).expect("read"), Some(ids[1]));
    assert!(store.next() > group, "numbers go on");
}

#[test]
fn erasing_an_opening_leaves_the_receipt() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(dir.path());
    let entry = entry(1);
    store
        .put_group(std::slice::from_ref(&entry))
        .expect("written");
    store.erase_opening(&entry.id, 1).expect("erased");
    assert!(store.opening(&entry.id).expect("read").is_none());
    assert!(store.receipt(&entry.id).expect("read").is_some());
}

#[test]
fn old_keys_are_forgotten_and_young_ones_stay() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(dir.path());
    for i in 0..10u8 {
        let mut entry = entry(i);
        let remembered = Remembered {
            request: Digest::sha256(&[i]),
            created: 100 + u64::from(i),
            target: Target::Receipt(entry.id),
        };
        entry.key = Some((Digest::sha256(&[i, i]), remembered));
        store.put_group(&[entry]).expect("written");
    }
    assert_eq!(store.forget_keys(105, 3).expect("swept"), 3);
    assert_eq!(store.forget_keys(105, 100).expect("swept"), 2);
    assert_eq!(store.forget_keys(105, 100).expect("swept"), 0);
    // Used again after it was forgotten, or before it is swept: the younger use counts.
    let mut again = entry(20);
    for created in [106, 200] {
        let remembered = Remembered {
            request: Digest::sha256(b"again"),
            created,
            target: Target::Receipt(again.id),
        };
        again.key = Some((Digest::sha256(b"key"), remembered));
        store
            .put_group(std::slice::from_ref(&again))
            .expect("written");
    }
    assert_eq!(store.forget_keys(107, 100).expect("swept"), 3);
    let known = store.remembered(&Digest::sha256(b"key")).expect("read");
    assert_eq!(known.map(|known| known.created), Some(200));
    for i in 0..10u8 {
        let known = store.remembered(&Digest::sha256(&[i, i])).expect("read");
        assert_eq!(known.is_some(), i >= 7, "{i}");
    }
}

#[test]
fn jobs_wait_by_urgency_then_age_also_after_a_restart() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let job = |store: &Store, priority| JobRecord {
        kind: JobKind::Infer,
        tenant: "acme".into(),
        created: 1,
        deadline: 0,
        priority,
        sequence: store.next(),
        request: vec![priority],
        state: JobState::Queued,
    };
    {
        let store = open(dir.path());
        for (id, priority) in [(1, 5), (2, 1), (3, 5), (4, 9)] {
            let job = job(&store, priority);
            store
                .put_job(&[id; 16], &job, &With::default())
                .expect("accepted");
        }
    }
    let store = open(dir.path());
    let order = |store: &Store| -> Vec<u8> {
        let waiting = store.waiting().expect("read");
        waiting.iter().map(|(id, _)| id[0]).collect()
    };
    assert_eq!(order(&store), [2, 1, 3, 4]);
    let done = store.job(&[1; 16]).expect("read").expect("there");
    let done = JobRecord {
        state: JobState::Failed("{}".into()),
        ..done
    };
    store.end_job(&[1; 16], &done, None).expect("ended");
    let late = job(&store, 5);
    store
        .put_job(&[5; 16], &late, &With::default())
        .expect("accepted");
    assert_eq!(order(&store), [2, 3, 5, 4]);
    assert_eq!(store.job(&[1; 16]).expect("read"), Some(done));
}

#[test]
fn a_newer_schema_is_refused_and_a_second_process_too() {
    let dir = tempfile::tempdir().expect("temporary directory");
    {
        let store = open(dir.path());
        store
            .meta
            .insert("schema", (SCHEMA + 1).to_be_bytes())
            .expect("written");
        store.sync().expect("synced");
        let again = Store::open(dir.path(), StoreOptions::default());
        assert!(matches!(again, Err(StoreFault::Locked { .. })), "{again:?}");
    }
    let refused = Store::open(dir.path(), StoreOptions::default());
    let Err(StoreFault::Schema { found, known, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((found, known), (SCHEMA + 1, SCHEMA));
}

#[test]
fn batches_that_were_synced_and_are_gone_are_noticed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let saved = tempfile::tempdir().expect("temporary directory");
    let mark = dir.path().join("mark");
    {
        let store = open(dir.path());
        store.put_group(&[entry(1)]).expect("written");
        std::fs::copy(&mark, saved.path().join("mark")).expect("copied");
        store.put_group(&[entry(2)]).expect("written");
    }
    // A mark that is behind is what a power cut leaves.
    let newest = std::fs::read(&mark).expect("read");
    std::fs::copy(saved.path().join("mark"), &mark).expect("copied");
    drop(open(dir.path()));
    assert_eq!(std::fs::read(&mark).expect("read"), newest);
    // The engine cuts a journal where it cannot read on, and says nothing.
    let journal = dir.path().join("0.jnl");
    let bytes = std::fs::read(&journal).expect("read");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("bytes");
    std::fs::write(&journal, &bytes[..end - 20]).expect("written");
    let refused = Store::open(dir.path(), StoreOptions::default());
    let Err(StoreFault::Damaged { what, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(what.contains("the last 1 of"), "{what}");
    // A mark that cannot be read is no mark.
    std::fs::write(&mark, [0; 16]).expect("written");
    let refused = Store::open(dir.path(), StoreOptions::default());
    assert!(
        matches!(refused, Err(StoreFault::Damaged { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_journal_that_is_cut_and_is_not_the_last_is_noticed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(dir.path().join(name), bytes).expect("written");
    };
    let padded = |length: usize| [vec![7; length], vec![0; 200_000 - length]].concat();
    for name in ["8.jnl", "9.jnl", "10.jnl"] {
        write(name, &padded(100_000));
    }
    let journals = Journals::look(dir.path()).expect("read");
    assert_eq!(journals.damage().expect("read"), None);
    // Zeros at an end are nobody's; and the last may have a torn end.
    write("9.jnl", &padded(100_000)[..100_000]);
    write("10.jnl", &padded(100_000)[..50]);
    assert_eq!(journals.damage().expect("read"), None);
    write("9.jnl", &padded(100_000)[..99_999]);
    let what = journals.damage().expect("read").expect("damage");
    assert!(what.contains("9.jnl") && what.contains("99999"), "{what}");
}

#[test]
fn starts_of_a_job_are_counted_until_it_ends() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let job = JobRecord {
        kind: JobKind::Upgrade,
        tenant: "acme".into(),
        created: 1,
        deadline: 0,
        priority: 5,
        sequence: 1,
        request: Vec::new(),
        state: JobState::Queued,
    };
    {
        let store = open(dir.path());
        store
            .put_job(&[1; 16], &job, &With::default())
            .expect("accepted");
        assert_eq!(store.start_job(&[1; 16]).expect("counted"), 1);
        assert_eq!(store.start_job(&[1; 16]).expect("counted"), 2);
    }
    let store = open(dir.path());
    assert_eq!(store.starts(&[1; 16]).expect("read"), 2);
    assert_eq!(store.starts(&[2; 16]).expect("read"), 0);
    store.end_job(&[1; 16], &job, None).expect("ended");
    assert_eq!(store.starts(&[1; 16]).expect("read"), 0);
}
