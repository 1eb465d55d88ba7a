use std::fs;

use super::*;
use crate::manifest::FileEntry;
use crate::search::Query;

const NOW: u64 = 1_800_000_000;

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a folder"),
        }
    }

    fn hub(&self) -> Hub {
        self.hub_at(NOW)
    }

    fn hub_at(&self, now: u64) -> Hub {
        Hub::open(&self.dir.path().join("hub"), Limits::default(), now).expect("opened")
    }
}

fn acme() -> Publisher {
    Publisher::Tenant("acme".into())
}

fn entry(path: &str, bytes: &[u8]) -> FileEntry {
    FileEntry {
        path: path.parse().expect("a path"),
        size: bytes.len() as u64,
        sha256: Digest::sha256(bytes),
    }
}

fn manifest(repo: &str, version: &str, files: &[(&str, &[u8])]) -> Manifest {
    let files = files
        .iter()
        .map(|(path, bytes)| entry(path, bytes))
        .collect();
    Manifest::new(
        repo.parse().expect("a name"),
        version.parse().expect("a version"),
        files,
    )
}

fn send(hub: &Hub, bytes: &[u8], by: &Publisher) -> Result<(), HubError> {
    let mut upload = hub.begin_upload(NOW)?;
    upload.write(bytes)?;
    hub.finish_upload(upload, &Digest::sha256(bytes), by, NOW)
}

fn publish(hub: &Hub, version: &str, bytes: &[u8]) -> Result<Record, HubError> {
    send(hub, bytes, &acme())?;
    let manifest = manifest("acme/m", version, &[("m.bin", bytes)]);
    hub.publish(manifest, Vec::new(), &[Tag::latest()], &acme(), None, NOW)
}

fn read(hub: &Hub, revision: &str) -> Result<Vec<u8>, HubError> {
    let record = hub.live(&"acme/m".parse().expect("a name"), revision)?;
    hub.open_file(&record, "m.bin")?.read_all()
}

#[test]
fn versions_never_change_and_tags_move_with_their_history() {
    let world = World::new();
    let hub = world.hub();
    let repo: RepoId = "acme/m".parse().expect("a name");
    let one = publish(&hub, "1", b"one").expect("published");
    let again = publish(&hub, "1", b"one").expect("the same again");
    assert_eq!(one, again);
    assert!(matches!(
        publish(&hub, "1", b"other"),
        Err(HubError::Exists { .. })
    ));
    let two = publish(&hub, "2", b"two").expect("published");
    for revision in [
        "main",
        "latest",
        "2",
        &two.digest.to_string(),
        &crate::manifest::commit(&two.digest),
    ] {
        assert_eq!(read(&hub, revision).expect(revision), b"two");
    }
    assert_eq!(read(&hub, "1").expect("the first"), b"one");
    let stable: Tag = "stable".parse().expect("a tag");
    hub.move_tag(&repo, &stable, "1", &acme(), NOW + 1)
        .expect("put");
    hub.move_tag(&repo, &stable, "latest", &acme(), NOW + 2)
        .expect("moved");
    hub.move_tag(&repo, &stable, "2", &acme(), NOW + 3)
        .expect("is there");
    let history = hub.history(&repo, &stable).expect("read");
    let steps: Vec<_> = history
        .iter()
        .map(|step| (step.version.as_str(), step.at))
        .collect();
    assert_eq!(steps, [("1", NOW + 1), ("2", NOW + 2)]);
    // One namespace: a tag that shadows a version would make it movable.
    let shadow: Tag = "1".parse().expect("a tag");
    assert!(matches!(
        hub.move_tag(&repo, &shadow, "2", &acme(), NOW),
        Err(HubError::Name { .. })
    ));
    assert!(matches!(
        publish(&hub, "stable", b"x"),
        Err(HubError::Name { .. })
    ));
    drop(hub);
    let hub = world.hub();
    assert_eq!(read(&hub, "stable").expect("after a restart"), b"two");
    assert_eq!(hub.search(&Query::default()).hits[0].version.as_str(), "2");
    assert!(hub.check(|_, _| {}).expect("checked").faults.is_empty());
}

#[test]
fn a_tenant_writes_in_its_own_namespace_only() {
    let world = World::new();
    let hub = world.hub();
    let mallory = Publisher::Tenant("mallory".into());
    publish(&hub, "1", b"one").expect("published");
    let repo: RepoId = "acme/m".parse().expect("a name");
    send(&hub, b"evil", &mallory).expect("sent");
    let evil = manifest("acme/m", "2", &[("m.bin", b"evil")]);
    let refused = hub.publish(evil, Vec::new(), &[], &mallory, None, NOW);
    assert!(matches!(refused, Err(HubError::NotYours { .. })));
    assert!(matches!(
        hub.move_tag(&repo, &Tag::latest(), "1", &mallory, NOW),
        Err(HubError::NotYours { .. })
    ));
    let version = "1".parse().expect("a version");
    assert!(matches!(
        hub.take_down(&repo, &version, "x", &mallory, NOW),
        Err(HubError::NotYours { .. })
    ));
}

/// Whoever knows the digest of a private file gets neither the file nor the news that it is here.
#[test]
fn a_private_file_does_not_come_out_by_its_digest() {
    let world = World::new();
    let hub = world.hub();
    let weights = b"secret weights";
    send(&hub, weights, &acme()).expect("sent");
    let mut private = manifest("acme/m", "1", &[("m.bin", weights)]);
    private.private = true;
    let record = hub
        .publish(private, Vec::new(), &[], &acme(), None, NOW)
        .expect("published");
    assert!(matches!(
        hub.open_file(&record, "m.bin"),
        Err(HubError::Private(_))
    ));
    let digest = Digest::sha256(weights);
    for by in [Publisher::Tenant("mallory".into()), acme()] {
        assert_eq!(hub.missing(&by, &[digest]).expect("asked"), [digest]);
        let name = format!("{}/copy", by.name());
        let copy = manifest(&name, "1", &[("m.bin", weights)]);
        let refused = hub.publish(copy, Vec::new(), &[], &by, None, NOW);
        assert!(matches!(refused, Err(HubError::Missing { .. })), "{name}");
    }
    assert!(hub.with_file(&digest).expect("asked").is_empty());
    let card = hub.card(&record, None).expect("a card");
    assert!(card.files.is_none());
    let text = serde_json::to_string(&card).expect("JSON");
    assert!(!text.contains(&digest.to_string()), "{text}");
    // Here it can be run.
    assert_eq!(
        hub.open_inside(&record, "m.bin")
            .expect("inside")
            .read_all()
            .expect("read"),
        weights
    );
}

#[test]
fn a_version_that_is_taken_down_keeps_name_digest_and_reason() {
    let world = World::new();
    let hub = world.hub();
    let repo: RepoId = "acme/m".parse().expect("a name");
    let one = publish(&hub, "1", b"one").expect("published");
    // The same bytes in another version stay.
    publish(&hub, "2", b"two").expect("published");
    let both = manifest("acme/m", "3", &[("a", b"one"), ("b", b"three")]);
    send(&hub, b"three", &acme()).expect("sent");
    hub.publish(both, Vec::new(), &[], &acme(), None, NOW)
        .expect("published");
    let file = |bytes: &[u8]| hub.folder.path(&Digest::sha256(bytes));
    let down = |version: &str| {
        let version = version.parse().expect("a version");
        hub.take_down(
            &repo,
            &version,
            "trained on what it must not",
            &acme(),
            NOW + 5,
        )
    };
    let gone = down("1").expect("taken down");
    assert_eq!(gone.digest, one.digest);
    assert!(file(b"one").exists(), "another version has it");
    let asked = read(&hub, &one.digest.to_string());
    assert!(
        matches!(&asked, Err(HubError::Gone { reason, at, .. }) if reason.contains("trained") && *at == NOW + 5),
        "{asked:?}"
    );
    assert!(matches!(down("1"), Err(HubError::Gone { .. })));
    down("3").expect("taken down");
    assert!(!file(b"one").exists() && !file(b"three").exists() && file(b"two").exists());
    assert!(
        matches!(publish(&hub, "1", b"one"), Err(HubError::Gone { .. })),
        "the name stays taken"
    );
    assert_eq!(hub.search(&Query::default()).hits[0].version.as_str(), "2");
    drop(hub);
    let hub = world.hub();
    let kept = hub.resolve(&repo, "1").expect("kept");
    assert_eq!((kept.digest, kept.tombstone.is_some()), (one.digest, true));
    let report = hub.check(|_, _| {}).expect("checked");
    assert_eq!(
        (report.versions, report.taken_down, report.files),
        (3, 2, 1)
    );
    assert!(report.faults.is_empty(), "{report:?}");
}

/// The states that a crash can leave: whatever can be seen is whole, and the rest is gone after the next start.
#[test]
fn a_crash_in_the_middle_of_a_publication_leaves_nothing_half_visible() {
    let world = World::new();
    let hub = world.hub();
    publish(&hub, "1", b"one").expect("published");
    let root = hub.root().to_path_buf();
    // In the middle of an upload.
    let mut upload = hub.begin_upload(NOW).expect("begun");
    upload.write(b"half of it").expect("written");
    let incoming = || {
        fs::read_dir(root.join("incoming"))
            .expect("a folder")
            .count()
    };
    assert_eq!(incoming(), 1);
    std::mem::forget(upload);
    // A file under its name, and no word of it in the catalogue.
    let staged = {
        let path = world.dir.path().join("two");
        fs::write(&path, b"two").expect("written");
        hub.stage(&path).expect("staged")
    };
    hub.folder.place(&staged.0).expect("placed");
    // A file that was sent, and no version.
    send(&hub, b"three", &acme()).expect("sent");
    drop((staged, hub));
    let hub = world.hub();
    assert_eq!(incoming(), 0);
    let digests = |hub: &Hub| {
        let mut list = hub.folder.list().expect("listed");
        list.sort();
        list
    };
    let mut want = [Digest::sha256(b"one"), Digest::sha256(b"three")];
    want.sort();
    assert_eq!(digests(&hub), want, "what was sent waits for a day");
    assert_eq!(
        hub.versions(&"acme/m".parse().expect("a name"))
            .expect("read")
            .len(),
        1
    );
    assert!(hub.check(|_, _| {}).expect("checked").faults.is_empty());
    // It is published without being sent again.
    let three = manifest("acme/m", "3", &[("m.bin", b"three")]);
    hub.publish(three, Vec::new(), &[], &acme(), None, NOW)
        .expect("published");
    send(&hub, b"four", &acme()).expect("sent");
    drop(hub);
    let hub = world.hub_at(NOW + PENDING_SECONDS + 1);
    assert_eq!(digests(&hub), want);
    assert_eq!(hub.writer().waiting["acme"], 0);
}

#[test]
fn limits_hold_and_are_named() {
    let world = World::new();
    let limits = Limits {
        file_bytes: 10,
        version_bytes: 15,
        tenant_bytes: 25,
    };
    let root = world.dir.path().join("small");
    let hub = Hub::open(&root, limits, NOW).expect("opened");
    let key = |result: Result<(), HubError>| match result {
        Err(HubError::TooLarge { key, .. }) => key,
        other => panic!("{other:?}"),
    };
    assert_eq!(key(send(&hub, &[0; 11], &acme())), "hub.file_bytes");
    let (a, b, c) = ([1u8; 10], [2u8; 10], [3u8; 5]);
    for bytes in [&a[..], &b] {
        send(&hub, bytes, &acme()).expect("sent");
    }
    assert_eq!(key(send(&hub, &[4; 10], &acme())), "hub.tenant_bytes");
    send(&hub, &[4; 10], &Publisher::Tenant("other".into())).expect("each has its own");
    let publish = |version: &str, files: &[(&str, &[u8])]| {
        let manifest = manifest("acme/m", version, files);
        hub.publish(manifest, Vec::new(), &[], &acme(), None, NOW)
            .map(drop)
    };
    assert_eq!(
        key(publish("1", &[("a", &a), ("b", &b)])),
        "hub.version_bytes"
    );
    publish("1", &[("a", &a)]).expect("published");
    send(&hub, &c, &acme()).expect("sent");
    publish("2", &[("a", &a), ("c", &c)]).expect("published");
    assert_eq!(key(publish("3", &[("b", &b)])), "hub.tenant_bytes");
    // A manifest that lies about the size of a file that everybody can read.
    let other = Publisher::Tenant("other".into());
    let mut lie = manifest("other/n", "1", &[("c", &c)]);
    lie.files[0].size = 1;
    assert!(matches!(
        hub.publish(lie, Vec::new(), &[], &other, None, NOW),
        Err(HubError::Manifest(_))
    ));
    let mut wrong = hub.begin_upload(NOW).expect("begun");
    wrong.write(b"x").expect("written");
    let refused = hub.finish_upload(wrong, &Digest::sha256(b"y"), &acme(), NOW);
    assert!(matches!(refused, Err(HubError::Mismatch { .. })));
    assert!(matches!(
        Hub::open(&root, limits, NOW),
        Err(HubError::Locked(_))
    ));
}

#[test]
fn damage_on_disk_is_found_by_every_reader() {
    let world = World::new();
    let hub = world.hub();
    publish(&hub, "1", b"one").expect("published");
    let path = hub.folder.path(&Digest::sha256(b"one"));
    fs::write(&path, b"onE").expect("changed");
    assert!(matches!(read(&hub, "1"), Err(HubError::Damaged { .. })));
    let record = hub
        .live(&"acme/m".parse().expect("a name"), "1")
        .expect("there");
    let out = world.dir.path().join("out");
    assert!(matches!(
        hub.lay_out(&record, &out),
        Err(HubError::Damaged { .. })
    ));
    assert_eq!(hub.check(|_, _| {}).expect("checked").faults.len(), 1);
    fs::remove_file(&path).expect("removed");
    assert!(matches!(read(&hub, "1"), Err(HubError::Damaged { .. })));
    // Sending it again heals it.
    send(&hub, b"one", &acme()).expect("sent");
    assert_eq!(read(&hub, "1").expect("whole"), b"one");
}
