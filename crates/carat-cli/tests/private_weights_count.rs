//! How often a key that hides weights was used: counted whatever happens to the process, refused when used up, and refused where
//! the count is in doubt. No two proofs share their randomness, whatever ended the first.

mod common;

use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use carat_node::home::Home;
use carat_node::model::Model;
use carat_node::prover::proof_of;
use carat_node::{private_weights, tell::Silent};
use carat_receipt::Evidence;
use carat_receipt::evidence::Body;
use common::Sandbox;
use common::weights::{
    KEY, MODEL, OPEN, PROFILE, PROVE, RUN, WEIGHTS, body, check, hiding, home, judged, keyed,
    model, read, subject, trusting,
};

#[test]
fn a_key_is_used_up_and_another_goes_on() {
    let (sandbox, key) = keyed();
    sandbox.good(&RUN);
    let (model, home) = (model(&sandbox), home(&sandbox));
    let left = key["left"].as_u64().expect("left");
    for n in 1..left {
        let key = private_weights::count_one(&home, &model, PROFILE).expect("counted");
        assert_eq!(u64::from(key.left()), left - n);
    }
    assert_eq!(sandbox.json(&PROVE, 0)["left"], 0);
    let names = sandbox.names();
    for args in [&PROVE[..], &[&RUN[..], &WEIGHTS].concat()] {
        let refused = sandbox.json(args, 21);
        let message = refused["error"]["message"].as_str().expect("a message");
        assert!(message.contains("--private --new"), "{message}");
    }
    assert_eq!(sandbox.names(), names);
    assert_eq!(sandbox.json(&KEY, 0)["left"], 0);
    assert!(sandbox.good(&KEY).out.contains("--private --new"));
    let new = sandbox.json(&[&KEY[..], &["--new"]].concat(), 0);
    assert_eq!(sandbox.json(&PROVE, 0)["model_key"], new["model_key"]);
}

#[test]
fn a_damaged_or_restored_record_is_refused() {
    let (sandbox, key) = keyed();
    sandbox.good(&RUN);
    let record = files(&sandbox)
        .into_iter()
        .find(|path| path.ends_with("record"));
    let record = record.expect("a record");
    let older = fs::read(&record).expect("a record");
    sandbox.good(&PROVE);
    let whole = fs::read(&record).expect("a record");
    let mut changed = whole.clone();
    changed[60] ^= 1;
    for bytes in [
        &older,
        &whole[..whole.len() / 2].to_vec(),
        &changed,
        &Vec::new(),
    ] {
        fs::write(&record, bytes).expect("write");
        for args in [&PROVE[..], &KEY] {
            let refused = sandbox.json(args, 15);
            let message = refused["error"]["message"].as_str().expect("a message");
            assert!(message.contains("--private --new"), "{message}");
        }
    }
    fs::write(&record, &whole).expect("write");
    // Roots of commitments that are damaged or gone are made again.
    let commitments = record.with_file_name("commitments");
    let roots = fs::read(&commitments).expect("roots");
    let mut changed = roots.clone();
    changed.iter_mut().for_each(|byte| *byte ^= 1);
    for bytes in [&changed, &roots[..32].to_vec(), &vec![7; 5000]] {
        fs::write(&commitments, bytes).expect("write");
        assert_eq!(sandbox.json(&PROVE, 0)["model_key"], key["model_key"]);
        assert_eq!(fs::read(&commitments).expect("roots"), roots);
    }
    fs::remove_file(&commitments).expect("removed");
    sandbox.good(&PROVE);
    assert_eq!(fs::read(&commitments).expect("roots"), roots);
    // The whole directory put back from a copy, and a key that goes on.
    let copied = Command::new("cp")
        .arg("-a")
        .arg(sandbox.path("home"))
        .arg(sandbox.path("copy"))
        .status();
    assert!(copied.expect("cp").success());
    fs::remove_dir_all(sandbox.path("home")).expect("removed");
    fs::rename(sandbox.path("copy"), sandbox.path("home")).expect("put back");
    let refused = sandbox.json(&PROVE, 15);
    let message = refused["error"]["message"].as_str().expect("a message");
    assert!(message.contains("a copy"), "{message}");
    let new = sandbox.json(&[&KEY[..], &["--new"]].concat(), 0);
    assert_ne!(new["model_key"], key["model_key"]);
    assert_eq!(sandbox.json(&PROVE, 0)["model_key"], new["model_key"]);
}

/// Files below `private-weights`.
fn files(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![sandbox.path("home/private-weights")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files
}

/// How many proofs the record of the newest key says were begun.
fn counted(sandbox: &Sandbox) -> u32 {
    let key = private_weights::newest(&home(sandbox), &model(sandbox), PROFILE);
    key.expect("a record in good order").expect("a key").proofs
}

#[test]
fn the_count_is_never_below_what_came_out_whenever_the_process_is_killed() {
    let (sandbox, _) = keyed();
    sandbox.good(&RUN);
    let started = Instant::now();
    sandbox.good(&[&PROVE[..], &["-o", "0.carat"]].concat());
    let whole = started.elapsed();
    let (mut out, mut killed) = (2, 0);
    const ROUNDS: u32 = 14;
    for round in 1..=ROUNDS {
        let name = format!("{round}.carat");
        let before = counted(&sandbox);
        let mut child = sandbox
            .command(&[&PROVE[..], &["-o", &name]].concat())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("start carat");
        std::thread::sleep(whole * round / ROUNDS);
        child.kill().expect("killed");
        killed += u32::from(!child.wait().expect("ended").success());
        out += u32::from(sandbox.path(&name).exists());
        let after = counted(&sandbox);
        assert!(after >= out, "{after} counted, {out} came out");
        assert!((before..=before + 1).contains(&after));
    }
    assert!(killed > 0, "no kill met a process");
    // It goes on, from the count that is there.
    let before = counted(&sandbox);
    sandbox.good(&[&PROVE[..], &["-o", "last.carat"]].concat());
    assert_eq!(counted(&sandbox), before + 1);
    // The registration, too, is counted before it is made.
    let sandbox = Sandbox::with_model();
    let mut child = sandbox
        .command(&[&KEY[..], &["-o", "k"]].concat())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("start carat");
    let patience = Instant::now() + Duration::from_secs(60);
    let there = || {
        let key = private_weights::newest(&home(&sandbox), &model(&sandbox), PROFILE);
        key.expect("in good order").map(|key| key.proofs)
    };
    while there().unwrap_or_default() == 0 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    child.wait().expect("ended");
    let counted = there().expect("a key");
    assert_eq!(counted, 1);
    // Another try is another proof, unless the first got to its end.
    let key = sandbox.json(&[&KEY[..], &["-o", "k"]].concat(), 0);
    let made = key["made"] == true;
    assert_eq!(key["proofs"], if made { 2 } else { 1 });
    sandbox.good(&["model", "key", "--check", "k"]);
}

const CHILD: &str = "CARAT_TEST_PRIVATE_WEIGHTS_CHILD";

/// Not a test of its own: what another one starts, and kills once its proof is there and nothing has been written of it.
#[test]
fn a_prover_to_be_killed() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let folder = Path::new(&folder);
    let model = Model::read(&folder.join(MODEL)).expect("the model");
    let home = Home::at(folder.join("home"));
    let key = private_weights::count_one(&home, &model, PROFILE).expect("counted");
    let proved =
        proof_of(&model, &[subject(folder)], &hiding(key.hiding), &Silent).expect("a proof");
    fs::write(folder.join("seen.tmp"), proved.evidence[0].encode()).expect("write");
    fs::rename(folder.join("seen.tmp"), folder.join("seen")).expect("rename");
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_proof_after_a_crash_shares_no_randomness_with_the_one_before() {
    let (sandbox, key) = keyed();
    sandbox.good(&RUN);
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "a_prover_to_be_killed"])
        .env(CHILD, sandbox.path(""))
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("start the prover");
    let patience = Instant::now() + Duration::from_secs(120);
    while !sandbox.path("seen").exists() && Instant::now() < patience {
        assert_eq!(
            child.try_wait().expect("its state"),
            None,
            "it ended by itself"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(counted(&sandbox), 2);
    let bytes = fs::read(sandbox.path("seen")).expect("a proof");
    let Body::Proof(first) = Evidence::decode(&bytes).expect("evidence").body else {
        panic!("a proof")
    };
    // After the restart: about the same receipt, under the same key.
    let json = sandbox.json(&PROVE, 0);
    assert_eq!(json["model_key"], key["model_key"]);
    assert_eq!(counted(&sandbox), 3);
    let second = body(&read(&sandbox, "receipt.carat"), 0);
    assert_eq!(first.weights_root, second.weights_root);
    // Both hold.
    let trust = trusting(&sandbox);
    let json = judged(
        &sandbox,
        &[first.clone(), second.clone()],
        &[&OPEN[..], &trust].concat(),
        4,
    );
    assert_eq!(check(&json, "evidence.0.proof"), true);
    assert_eq!(check(&json, "evidence.1.proof"), true);
    // What both say of the key: its root and one value, and some of the way from the commitment that each opens to that root.
    // The commitments are two, so there is nothing else; but where they are neighbours, each is the first step of the other's way.
    let stretches = shared(&first.proof, &second.proof);
    let (head, path) = stretches.split_first().expect("the key");
    assert_eq!(*head, 0..32 + ELEMENT, "{stretches:?}");
    let commitment = head.end + 4 + 32;
    let number = |proof: &[u8]| {
        let bytes = proof[head.end..][..4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes)
    };
    let neighbours = number(&first.proof) ^ number(&second.proof) == 1;
    for stretch in path {
        if neighbours && *stretch == (commitment - 32..commitment) {
            continue;
        }
        assert!(stretch.start + ELEMENT > commitment, "{stretches:?}");
        assert!(stretch.end <= commitment + 6 * 32, "{stretches:?}");
    }
    // It is the comparison that would see it.
    let same = shared(&first.proof, &first.proof);
    assert_eq!(same, std::slice::from_ref(&(0..first.proof.len())));
}

/// Bytes of an element of the challenge field.
const ELEMENT: usize = 20;

/// Stretches of a proof that stand anywhere in another one, at least as long as an element.
fn shared(first: &[u8], second: &[u8]) -> Vec<Range<usize>> {
    let there: HashSet<&[u8]> = second.windows(ELEMENT).collect();
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for (at, window) in first.windows(ELEMENT).enumerate() {
        if !there.contains(window) {
            continue;
        }
        match stretches.last_mut() {
            Some(last) if at < last.end => last.end = at + ELEMENT,
            _ => stretches.push(at..at + ELEMENT),
        }
    }
    stretches
}
