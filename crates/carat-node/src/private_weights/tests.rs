//! What is kept of a key, and what is refused of it.

use std::fs;
use std::path::Path;

use super::*;

/// A key as it is after it was made: nothing counted.
fn fresh(dir: &Path) -> WeightsKey {
    fs::create_dir_all(dir).unwrap();
    let key = WeightsKey {
        hiding: Hiding {
            key: ModelKey {
                program: Digest::sha256(b"program"),
                profile: Profile::Proven100,
                root: Root([7; 32]),
            },
            secret: WeightsSecret::from_bytes([0xa5; 32]),
            roots: None,
            before: 0,
        },
        proofs: 0,
        budget: 4,
        registration: None,
        dir: dir.to_path_buf(),
    };
    key.write(dir).unwrap();
    key
}

fn load(dir: &Path) -> Result<WeightsKey, Failure> {
    WeightsKey::load(dir, 4)
}

/// A refusal that says what to do, and never that nothing was proven.
fn doubted(dir: &Path, why: &str) {
    let failure = load(dir).unwrap_err();
    assert_eq!(failure.exit, Exit::Store, "{}", failure.message);
    assert!(failure.message.contains(why), "{}", failure.message);
    assert!(failure.message.contains("--private --new"));
}

#[test]
fn what_is_written_is_read_and_counted_to_the_end() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("1");
    let made = fresh(&dir);
    let mut key = load(&dir).unwrap();
    assert_eq!(key.key(), made.key());
    assert_eq!(key.hiding.secret.as_bytes(), &[0xa5; 32]);
    for n in 1..=4 {
        key.count().unwrap();
        // The number of the proof that was counted, from 0; of the next one, once read again.
        assert_eq!(key.hiding.before, n - 1);
        let again = load(&dir).unwrap();
        assert_eq!((again.proofs, again.left()), (n, 4 - n));
        assert_eq!(again.hiding.before, n);
    }
    let refused = key.count().unwrap_err();
    assert_eq!(refused.exit, Exit::Refused);
    assert!(refused.message.contains("4 proofs"), "{}", refused.message);
    assert_eq!(load(&dir).unwrap().proofs, 4);
    // With a budget that a later version makes smaller, nothing is left and nothing wraps.
    assert_eq!(WeightsKey::load(&dir, 2).unwrap().left(), 0);
}

/// A key whose commitment had another form gives no proofs any more, and says so before anything is counted.
#[test]
fn a_key_of_an_earlier_version_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("1");
    fresh(&dir);
    let path = dir.join(RECORD);
    let text = fs::read_to_string(&path).unwrap();
    let older = text.replace(RECORD_HEAD, OLD_HEAD.trim_end());
    assert_ne!(text, older);
    fs::write(&path, older).unwrap();
    doubted(&dir, "an earlier version made this key");
}

#[test]
fn only_its_owner_reads_the_secret() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("1");
    let key = fresh(&dir);
    let path = dir.join(RECORD);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = "a5".repeat(32);
    assert!(fs::read_to_string(&path).unwrap().contains(&secret));
    assert!(!format!("{key:?}").contains("165"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = load(&dir).unwrap_err();
    assert_eq!(refused.exit, Exit::Store);
    assert!(refused.message.contains("others may read"));
}

#[test]
fn no_change_to_the_files_lowers_the_count() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("1");
    fresh(&dir);
    let mut key = load(&dir).unwrap();
    key.count().unwrap();
    key.count().unwrap();
    for name in [RECORD, MARK] {
        let path = dir.join(name);
        let whole = fs::read(&path).unwrap();
        let tried = |bytes: &[u8]| {
            // In place, as a disk that errs or a hand would: the file stays the same one.
            fs::write(&path, bytes).unwrap();
            let failure = load(&dir).unwrap_err();
            assert_eq!(failure.exit, Exit::Store, "{}", failure.message);
        };
        for cut in 0..whole.len() {
            tried(&whole[..cut]);
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                tried(&changed);
            }
        }
        tried(&[&whole[..], b"\n"].concat());
        fs::write(&path, &whole).unwrap();
        assert_eq!(load(&dir).unwrap().proofs, 2);
    }
    fs::remove_file(dir.join(MARK)).unwrap();
    doubted(&dir, "the mark is gone");
    fs::remove_file(dir.join(RECORD)).unwrap();
    doubted(&dir, "the record is gone");
}

#[test]
fn what_was_put_back_from_a_copy_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("1");
    let copy = home.path().join("copy");
    fresh(&dir);
    let mut key = load(&dir).unwrap();
    key.count().unwrap();
    fs::create_dir(&copy).unwrap();
    for name in [RECORD, MARK] {
        fs::copy(dir.join(name), copy.join(name)).unwrap();
    }
    // The copy by itself, as it would be after a move to another machine.
    doubted(&copy, "a copy");
    key.count().unwrap();
    let now: Vec<Vec<u8>> = [RECORD, MARK]
        .map(|n| fs::read(dir.join(n)).unwrap())
        .into();
    // The record put back, written over or exchanged; the mark put back; both.
    fs::copy(copy.join(RECORD), dir.join(RECORD)).unwrap();
    doubted(&dir, "a copy");
    fs::write(dir.join(RECORD), &now[0]).unwrap();
    fs::copy(copy.join(MARK), dir.join(MARK)).unwrap();
    // A mark that is behind is what a crash leaves, and the record has the count.
    assert_eq!(load(&dir).unwrap().proofs, 2);
    load(&dir).unwrap().count().unwrap();
    fs::copy(copy.join(MARK), dir.join(MARK)).unwrap();
    assert_eq!(load(&dir).unwrap().proofs, 3);
    fs::rename(copy.join(RECORD), dir.join(RECORD)).unwrap();
    doubted(&dir, "a copy");
}

/// Written in place, a record keeps its file, and the mark tells.
#[test]
fn a_record_that_names_the_right_file_is_still_told_from_an_older_one() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("1");
    fresh(&dir);
    load(&dir).unwrap().count().unwrap();
    load(&dir).unwrap().count().unwrap();
    let mut older = load(&dir).unwrap();
    older.proofs = 0;
    let metadata = fs::metadata(dir.join(RECORD)).unwrap();
    fs::write(dir.join(RECORD), older.record(&metadata).as_bytes()).unwrap();
    doubted(&dir, "ahead of the record");
}

/// Crashes between record and mark: what is there is the higher count, and it goes on from it.
#[test]
fn crashes_between_the_two_files_count() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("1");
    fresh(&dir);
    let mark = fs::read(dir.join(MARK)).unwrap();
    for n in 1..=3 {
        load(&dir).unwrap().count().unwrap();
        fs::write(dir.join(MARK), &mark).unwrap();
        assert_eq!(load(&dir).unwrap().proofs, n);
    }
    load(&dir).unwrap().count().unwrap();
    assert_eq!(load(&dir).unwrap().left(), 0);
}
