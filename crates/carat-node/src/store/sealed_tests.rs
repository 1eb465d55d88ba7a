use std::collections::HashSet;
use std::fs;

use super::seal::Keys;
use super::tests::{entry, open};
use super::*;

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];
const SECRET: &[u8] = b"what the caller sent and nobody else may read";

fn keys(current: [u8; 32], previous: &[[u8; 32]]) -> StoreOptions {
    StoreOptions {
        keys: Some(Arc::new(Keys::new(&current, previous))),
        ..StoreOptions::default()
    }
}

fn job(store: &Store) -> JobRecord {
    JobRecord {
        kind: JobKind::Infer,
        tenant: "acme".into(),
        created: 1,
        deadline: 0,
        priority: 5,
        sequence: store.next(),
        request: SECRET.to_vec(),
        state: JobState::Queued,
    }
}

/// An entry whose opening, salts, key and job are all recognisable.
fn secret_entry(i: u8) -> Entry {
    let mut entry = entry(i);
    let opening = Opening::decode(&entry.opening).expect("an opening");
    let opening = Opening {
        input: carat_receipt::Opened::new(opening.input.salt, SECRET.to_vec()),
        ..opening
    };
    entry.opening = opening.encode();
    let remembered = Remembered {
        request: Digest::sha256(SECRET),
        created: 5,
        target: Target::Receipt(entry.id),
    };
    entry.key = Some((Digest::sha256(&[i]), remembered));
    entry
}

/// Whether bytes stand in any file below a directory.
fn on_disk(dir: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(dir).expect("a directory").any(|found| {
        let path = found.expect("an entry").path();
        if path.is_dir() {
            return on_disk(&path, bytes);
        }
        let file = fs::read(&path).expect("a file");
        // Journals are made with room, which is zeros.
        let end = file
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        file[..end].windows(bytes.len()).any(|part| part == bytes)
    })
}

/// Everything that must not lie in the clear.
fn secrets(entry: &Entry) -> Vec<Vec<u8>> {
    let opening = Opening::decode(&entry.opening).expect("an opening");
    vec![
        SECRET.to_vec(),
        opening.input.salt.as_bytes().to_vec(),
        opening.output.salt.as_bytes().to_vec(),
        // A digest of the request is enough to try inputs against.
        Digest::sha256(SECRET).as_bytes().to_vec(),
    ]
}

fn fill(store: &Store, entries: &[Entry]) {
    store.put_group(entries).expect("written");
    store
        .put_job(&[7; 16], &job(store), &With::default())
        .expect("accepted");
    store.sync().expect("synced");
}

fn reads(store: &Store, entries: &[Entry]) {
    for entry in entries {
        let opening = store.opening(&entry.id).expect("read").expect("there");
        assert_eq!(*opening.encode(), *entry.opening);
        assert_eq!(
            store.receipt(&entry.id).expect("read").as_ref(),
            Some(&entry.record)
        );
        let (key, remembered) = entry.key.as_ref().expect("a key");
        assert_eq!(
            store.remembered(key).expect("read").as_ref(),
            Some(remembered)
        );
    }
    let job = store.job(&[7; 16]).expect("read").expect("there");
    assert_eq!(job.request, SECRET);
    assert_eq!(store.waiting().expect("read").len(), 1);
    assert_eq!(store.pending().expect("read").len(), 1);
}

#[test]
fn nothing_that_callers_sent_lies_in_the_clear() {
    let entries: Vec<Entry> = (4..7).map(secret_entry).collect();
    // The check finds what is there.
    let plain = tempfile::tempdir().expect("temporary directory");
    fill(&open(plain.path()), &entries);
    for secret in secrets(&entries[1]) {
        assert!(on_disk(plain.path(), &secret));
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    {
        let store = Store::open(dir.path(), keys(OLD, &[])).expect("opens");
        fill(&store, &entries);
        reads(&store, &entries);
    }
    for secret in entries.iter().flat_map(secrets) {
        assert!(!on_disk(dir.path(), &secret));
    }
    // After a restart, from its tables.
    reads(
        &Store::open(dir.path(), keys(OLD, &[])).expect("opens"),
        &entries,
    );
}

#[test]
fn changed_moved_and_plain_records_are_refused() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let entries: Vec<Entry> = (4..6).map(secret_entry).collect();
    let store = Store::open(dir.path(), keys(OLD, &[])).expect("opens");
    fill(&store, &entries);
    let [a, b] = [0, 1].map(|i: usize| *entries[i].id.as_bytes());
    let damaged = |result: Result<Option<Opening>, StoreFault>| {
        matches!(result, Err(StoreFault::Damaged { .. }))
    };
    let kept = store.openings.get(a).expect("read").expect("there");
    let other = store.openings.get(b).expect("read").expect("there");
    let mut flipped = kept.to_vec();
    let last = flipped.len() - 20;
    flipped[last] ^= 1;
    let plain = entries[0].opening.to_vec();
    for wrong in [
        other.to_vec(),
        flipped,
        plain,
        kept[..30].to_vec(),
        Vec::new(),
    ] {
        store.openings.insert(a, wrong).expect("written");
        assert!(damaged(store.opening(&entries[0].id)));
    }
    // A record of another kind under the same name.
    let record = store.receipts.get(a).expect("read").expect("there");
    store.openings.insert(a, record).expect("written");
    assert!(damaged(store.opening(&entries[0].id)));
    store.openings.insert(a, kept).expect("written");
    assert!(store.opening(&entries[0].id).expect("read").is_some());
}

#[test]
fn a_store_opens_with_its_key_alone() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let entries = [secret_entry(1)];
    fill(
        &Store::open(dir.path(), keys(OLD, &[])).expect("opens"),
        &entries,
    );
    let id = hex::encode(Keys::new(&OLD, &[]).current());
    for options in [StoreOptions::default(), keys(NEW, &[])] {
        let Err(StoreFault::Key { wanted, .. }) = Store::open(dir.path(), options) else {
            panic!("it opened");
        };
        assert_eq!(wanted, id);
    }
    // Rotation: the old key reads what it sealed, the new one seals, and both are needed.
    {
        let store = Store::open(dir.path(), keys(NEW, &[OLD])).expect("opens");
        reads(&store, &entries);
        store.put_group(&[secret_entry(2)]).expect("written");
    }
    for alone in [OLD, NEW] {
        assert!(matches!(
            Store::open(dir.path(), keys(alone, &[])),
            Err(StoreFault::Key { .. })
        ));
    }
    // Written anew, the new key is enough, and the old one opens nothing.
    let path = dir.path();
    let rotated = keys(NEW, &[OLD]);
    let (store, count) = Store::open_or_rewrite(path, &rotated, true).expect("rewritten");
    assert!(count.is_some_and(|count| count >= 7));
    drop(store);
    let store = Store::open(path, keys(NEW, &[])).expect("opens");
    assert!(store.opening(&entries[0].id).expect("read").is_some());
    drop(store);
    assert!(matches!(
        Store::open(path, keys(OLD, &[])),
        Err(StoreFault::Key { .. })
    ));
}

#[test]
fn turning_it_on_rewrites_what_was_in_the_clear_whenever_it_is_interrupted() {
    let home = tempfile::tempdir().expect("temporary directory");
    let path = home.path().join("store");
    let entries: Vec<Entry> = (4..7).map(secret_entry).collect();
    fill(&open(&path), &entries);
    assert!(matches!(
        Store::open(&path, keys(OLD, &[])),
        Err(StoreFault::InTheClear { .. })
    ));
    // A half of a new one, from a start that was cut off.
    let half = home.path().join("store.rewriting");
    fill(
        &Store::open(&half, keys(NEW, &[])).expect("opens"),
        &entries[..1],
    );
    let (store, count) = Store::open_or_rewrite(&path, &keys(OLD, &[]), false).expect("rewritten");
    assert_eq!(count, Some(3 * 3 + 1), "receipts, openings, keys and a job");
    reads(&store, &entries);
    assert!(
        store.next() > store.pending().expect("read")[0].0,
        "numbers go on"
    );
    drop(store);
    let names = || -> Vec<String> {
        let found = fs::read_dir(home.path()).expect("read");
        found
            .map(|at| {
                at.expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    };
    assert_eq!(names(), ["store"]);
    for secret in entries.iter().flat_map(secrets) {
        assert!(!on_disk(home.path(), &secret));
    }
    // Cut off between the two renames: the old one has another name, and the new one is whole.
    fs::rename(&path, &half).expect("rename");
    fill(&open(&home.path().join("store.replaced")), &entries);
    let (store, count) = Store::open_or_rewrite(&path, &keys(OLD, &[]), false).expect("opens");
    assert_eq!(count, None);
    reads(&store, &entries);
    assert_eq!(names(), ["store"]);
    // A second start has nothing to do.
    drop(store);
    let (_, count) = Store::open_or_rewrite(&path, &keys(OLD, &[]), false).expect("opens");
    assert_eq!(count, None);
}

#[test]
fn openings_are_erased_when_their_time_is_over_and_receipts_stay() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(dir.path());
    // Made at 1000; the third asked for an earlier end, the fourth for a later one.
    let mut entries: Vec<Entry> = (0..4).map(entry).collect();
    entries[2].ends = Some(1010);
    entries[3].ends = Some(5000);
    store.put_group(&entries).expect("written");
    let there = |store: &Store| -> Vec<bool> {
        entries
            .iter()
            .map(|entry| store.opening(&entry.id).expect("read").is_some())
            .collect()
    };
    let none = HashSet::new();
    assert!(!store.is_due(Some(1000), 1010).expect("read"));
    assert_eq!(
        store
            .erase_due(Some(1000), 1010, &none, 100)
            .expect("swept"),
        0
    );
    // Where the server keeps openings for ever, callers' times still end.
    assert!(store.is_due(None, 1011).expect("read"));
    assert_eq!(store.erase_due(None, 1011, &none, 100).expect("swept"), 1);
    assert_eq!(there(&store), [true, true, false, true]);
    // One was erased by request before; another is needed by an upgrade that was accepted.
    store.erase_opening(&entries[0].id, 1500).expect("erased");
    let needed = HashSet::from([entries[1].id]);
    assert!(store.is_due(Some(2000), 3000).expect("read"));
    assert_eq!(
        store
            .erase_due(Some(2000), 3000, &needed, 100)
            .expect("swept"),
        1
    );
    assert_eq!(there(&store), [false, true, false, false]);
    assert_eq!(
        store
            .erase_due(Some(2000), 3000, &none, 100)
            .expect("swept"),
        1
    );
    assert!(!store.is_due(Some(2000), 3000).expect("read"));
    let why = |i: usize| store.erased(&entries[i].id).expect("read").expect("noted");
    assert_eq!(
        (why(0).reason, why(0).at, why(1).reason, why(2).at),
        (Reason::Asked, 1500, Reason::Retention, 1011)
    );
    for entry in &entries {
        assert!(store.receipt(&entry.id).expect("read").is_some());
    }
}

#[test]
fn no_more_are_erased_at_once_than_is_said() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(dir.path());
    let entries: Vec<Entry> = (0..10).map(entry).collect();
    store.put_group(&entries).expect("written");
    let none = HashSet::new();
    let swept: Vec<usize> = (0..4)
        .map(|_| store.erase_due(Some(2000), 2000, &none, 4).expect("swept"))
        .collect();
    assert_eq!(swept, [4, 4, 2, 0]);
}

#[test]
fn a_store_of_schema_1_learns_ages_and_forgets_requests_that_ended() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let entries: Vec<Entry> = (0..3).map(entry).collect();
    {
        let store = open(dir.path());
        store.put_group(&entries).expect("written");
        store.opening_ages.clear().expect("cleared");
        let ended = JobRecord {
            state: JobState::Done(entries[0].id),
            ..job(&store)
        };
        store.jobs.insert([1; 16], ended.encode()).expect("written");
        store
            .put_job(&[2; 16], &job(&store), &With::default())
            .expect("accepted");
        store
            .meta
            .insert("schema", 1_u32.to_be_bytes())
            .expect("written");
        store.sync().expect("synced");
    }
    let store = open(dir.path());
    let request = |id: u8| store.job(&[id; 16]).expect("read").expect("there").request;
    assert_eq!(request(1), b"");
    assert_eq!(request(2), SECRET, "it waits");
    assert_eq!(
        store
            .erase_due(Some(2000), 2000, &HashSet::new(), 10)
            .expect("swept"),
        3
    );
}

#[test]
fn a_store_is_made_under_another_name_and_takes_its_own_when_it_is_whole() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("store");
    // What a process of the same number left when it was killed.
    let left = dir
        .path()
        .join(format!("store.making-{}", std::process::id()));
    fs::create_dir(&left).expect("made");
    fs::write(left.join("0.jnl"), "half of something").expect("written");
    let options = StoreOptions::default();
    let (store, rewritten) = Store::open_or_rewrite(&path, &options, false).expect("made");
    assert_eq!(rewritten, None);
    store.put_group(&[entry(1)]).expect("kept");
    drop(store);
    let names: Vec<_> = fs::read_dir(dir.path())
        .expect("read")
        .map(|found| found.expect("read").file_name())
        .collect();
    assert_eq!(names, ["store"]);
    let (store, _) = Store::open_or_rewrite(&path, &options, false).expect("opens");
    assert!(store.receipt(&entry(1).id).expect("read").is_some());
}
