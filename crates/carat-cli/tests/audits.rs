//! `carat audit sample` and `carat certificate`, through the binary, against honest and dishonest logs.

mod common;

use std::fs;
use std::path::Path;

use carat_log::NoteSigner;
use carat_log::store::{Log, Options};
use carat_receipt::statement::{Plan, Timing};
use carat_receipt::{
    Label, LogPart, Opened, Opening, ReceiptFile, Role, Salt, SignedStatement, SigningKey, leaf,
};
use common::Sandbox;

const BEACON: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER_BEACON: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Puts receipts with thresholds into the local log and into the folder `served-elsewhere`. `lies` says which answers are not what
/// the model computes.
fn serve(sandbox: &Sandbox, count: usize, tau: Option<u64>, lies: impl Fn(usize) -> bool) {
    let home = sandbox.path("home");
    let text = fs::read_to_string(home.join("key")).expect("the key");
    let key = SigningKey::from_key_file(&text).expect("a key file");
    let template = fs::read(sandbox.path("receipt.carat")).expect("the receipt");
    let template = ReceiptFile::decode(&template).expect("a receipt");
    let opening = fs::read(sandbox.path("receipt.carat-open")).expect("the opening");
    let opening = Opening::decode(&opening).expect("an opening");
    let log = local_log(&home);
    let folder = sandbox.path("elsewhere");
    fs::create_dir_all(&folder).expect("a folder");
    let already = fs::read_dir(&folder).expect("list it").count();
    for i in 0..count {
        let mut statement = template.signed.statement().clone();
        statement.random = [i as u8; 16];
        statement.random[8..].copy_from_slice(&(already as u64).to_be_bytes());
        let mut output = opening.output.bytes.to_vec();
        if lies(i) {
            *output.last_mut().expect("an output") ^= 1;
        }
        let output = Opened::new(Salt::from_bytes([7; 32]), output);
        statement.output = output.commitment(Role::Output);
        statement.optional.plan = tau.map(|tau| Plan {
            rung: Label::new("signature+audit").expect("a label"),
            tau,
            timing: Timing::BeforeSettle,
            window: None,
            bond: None,
            replicas: None,
            proof_deadline: None,
        });
        let signed = SignedStatement::sign(statement, &key).expect("sign");
        let receipt_id = signed.receipt_id();
        let mut file = ReceiptFile::new(signed);
        let mut blind = [i as u8; 32];
        blind[0] = already as u8;
        let blind = Salt::from_bytes(blind);
        log.append(&leaf(&blind, &receipt_id, tau)).expect("append");
        file.log = Some(LogPart {
            blind,
            items: vec![],
        });
        let opening = Opening {
            receipt_id,
            output,
            ..opening.clone()
        };
        let name = |extension: &str| folder.join(format!("{already}-{i}.{extension}"));
        fs::write(name("carat"), file.encode()).expect("write");
        fs::write(name("carat-open"), opening.encode()).expect("write");
    }
    log.publish().expect("publish");
}

fn local_log(home: &Path) -> Log {
    let text = fs::read_to_string(home.join("log.key")).expect("the log's key");
    let key = SigningKey::from_key_file(&text).expect("a key file");
    let secret = text
        .lines()
        .find_map(|line| line.strip_prefix("secret "))
        .expect("the secret");
    let seed: [u8; 32] = hex::decode(secret)
        .expect("digits")
        .try_into()
        .expect("32 bytes");
    let origin = format!("carat.local/{}", key.public().id().short());
    let signer = NoteSigner::new(&origin, &seed).expect("a signer");
    Log::open(&home.join("log"), signer, Options::default()).expect("open the log")
}

const SAMPLE: [&str; 8] = [
    "audit",
    "sample",
    "--beacon",
    BEACON,
    "--receipts",
    "elsewhere",
    "--model",
    "tumor.carat-model",
];

#[test]
fn clean_audits_and_their_certificate() {
    let sandbox = Sandbox::with_receipt();
    serve(&sandbox, 200, Some(u64::MAX / 2), |_| false);
    let before = sandbox.json(&["certificate"], 0);
    assert_eq!(
        (&before["audits"], &before["answers"]),
        (&0.into(), &0.into())
    );
    assert!(
        before["statement"]
            .as_str()
            .unwrap()
            .contains("3334 clean audits"),
        "{before}"
    );

    let found = sandbox.json(&SAMPLE, 0);
    let drawn = found["drawn"].as_u64().unwrap();
    assert!((65..135).contains(&drawn), "half of 200: {drawn}");
    assert_eq!(found["clean"], drawn);
    assert_eq!(found["self_audit"], true);
    assert_eq!(found["worth_to_third_parties"], "0");

    let after = sandbox.json(&["certificate"], 0);
    // The first entry is of the plain run and has no threshold.
    assert_eq!(
        (&after["answers"], &after["uncovered"]),
        (&201.into(), &1.into())
    );
    assert_eq!(after["audits"], drawn);
    let wrong = after["wrong_at_most"].as_u64().unwrap();
    assert!(
        (4..8).contains(&wrong),
        "ln 20 / ln 2 and the uncovered one: {wrong}"
    );
    assert_eq!(after["holds"], false);
    sandbox.ends(&["certificate", "--target", "0.001"], 4);
    sandbox.good(&["certificate", "--target", "0.05"]);
    let text = sandbox.good(&["certificate"]).out;
    assert!(text.contains("worth 0 to third parties"), "{text}");

    // A second draw over the same entries is not to be had, with whatever beacon.
    let again = sandbox.json(&["audit", "sample", "--beacon", OTHER_BEACON], 0);
    assert_eq!((&again["drawn"], &again["retried"]), (&0.into(), &0.into()));
    // New entries are drawn from on their own.
    serve(&sandbox, 20, Some(u64::MAX), |_| false);
    let next = sandbox.json(&SAMPLE, 0);
    assert_eq!(
        (&next["drawn"], &next["drawn_from"]["first"]),
        (&20.into(), &201.into())
    );
    // A data directory stands for its log, and so does the log's own folder.
    let by_path = sandbox.json(&["certificate", "--log", "home/log"], 0);
    assert_eq!(by_path["answers"], 221);
    assert_eq!(sandbox.json(&["certificate", "--log", "home"], 0), by_path);
}

#[test]
fn enough_audits_support_the_sentence() {
    let sandbox = Sandbox::with_receipt();
    serve(&sandbox, 120, Some(u64::MAX), |_| false);
    // The plain run's own entry has no threshold: one of 121 can always be wrong.
    let found = sandbox.json(&SAMPLE, 0);
    assert_eq!(found["drawn"], 120);
    let ran = sandbox.good(&["certificate", "--target", "0.01"]);
    let sentence = "With 95% confidence fewer than 1% of this node's answers were wrong.";
    assert!(ran.out.starts_with(sentence), "{}", ran.out);
    let never = sandbox.ends(&["certificate", "--target", "0.001"], 4);
    assert!(
        never.out.contains("no number of audits is enough"),
        "{}",
        never.out
    );
}

#[test]
fn a_wrong_answer_is_found_and_counts() {
    let sandbox = Sandbox::with_receipt();
    serve(&sandbox, 60, Some(u64::MAX), |i| i == 17);
    let found = sandbox.json(&SAMPLE, 19);
    assert_eq!((&found["wrong"], &found["clean"]), (&1.into(), &59.into()));
    let wrong = found["audited"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["finding"] == "wrong");
    assert_eq!(wrong.unwrap()["index"], 18);
    let certificate = sandbox.json(&["certificate"], 0);
    assert_eq!(certificate["wrong"], 1);
    assert!(certificate["wrong_at_most"].as_u64().unwrap() >= 2);
    // What was found is found: nothing is tried again.
    assert_eq!(sandbox.json(&SAMPLE, 0)["retried"], 0);
}

#[test]
fn silence_counts_until_it_is_broken() {
    let sandbox = Sandbox::with_receipt();
    serve(&sandbox, 30, Some(u64::MAX), |_| false);
    let silent = sandbox.json(&["audit", "sample", "--beacon", BEACON], 19);
    assert_eq!(silent["unanswered"], 30);
    let certificate = sandbox.json(&["certificate"], 0);
    assert_eq!(
        (&certificate["unanswered"], &certificate["wrong_at_most"]),
        (&30.into(), &31.into())
    );
    // An opening of another receipt is no answer.
    fs::copy(
        sandbox.path("elsewhere/0-1.carat-open"),
        sandbox.path("elsewhere/0-0.carat-open"),
    )
    .unwrap();
    let partly = sandbox.json(&SAMPLE, 19);
    assert_eq!(
        (&partly["clean"], &partly["unanswered"]),
        (&29.into(), &1.into())
    );
    assert_eq!(sandbox.json(&["certificate"], 0)["unanswered"], 1);
}

#[test]
fn records_cannot_be_improved() {
    let sandbox = Sandbox::with_receipt();
    serve(&sandbox, 30, Some(u64::MAX / 2), |_| true);
    sandbox.ends(&SAMPLE, 19);
    let audits = sandbox.path("home/audits");
    let dir = fs::read_dir(&audits)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let path = dir.join("000000000000.json");
    let good = fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("\"wrong\"", "\"clean\""),
        (&BEACON[..32], &OTHER_BEACON[..32]),
        ("\"own_log\":true", "\"own_log\":false"),
        ("\"first\":0", "\"first\":1"),
    ] {
        assert!(good.contains(from), "{from} in {good:.300}");
        fs::write(&path, good.replacen(from, to, 1)).unwrap();
        sandbox.ends(&["certificate"], 15);
    }
    // A missing record is a gap.
    fs::write(&path, &good).unwrap();
    serve(&sandbox, 5, Some(u64::MAX), |_| false);
    sandbox.good(&SAMPLE);
    sandbox.good(&["certificate"]);
    fs::remove_file(&path).unwrap();
    sandbox.ends(&["certificate"], 15);
}

#[test]
fn a_log_that_changed_is_not_certified() {
    let sandbox = Sandbox::with_receipt();
    serve(&sandbox, 10, Some(u64::MAX), |_| false);
    sandbox.good(&SAMPLE);
    let bundle = sandbox.path("home/log/tile/entries/000.p/11");
    let mut bytes = fs::read(&bundle).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&bundle, &bytes).unwrap();
    sandbox.ends(&["certificate"], 15);
    *bytes.last_mut().unwrap() ^= 1;
    // One entry less than the checkpoint says.
    fs::write(&bundle, &bytes[..bytes.len() - 42]).unwrap();
    sandbox.ends(&["certificate"], 15);
}

#[test]
fn what_makes_no_sense() {
    let sandbox = Sandbox::with_receipt();
    sandbox.ends(&["audit", "sample", "--beacon", "00ff"], 2);
    sandbox.ends(&["audit", "sample", "--beacon", "zz"], 2);
    sandbox.ends(&["audit", "sample"], 2);
    sandbox.ends(&["certificate", "--confidence", "1"], 2);
    sandbox.ends(&["certificate", "--target", "0"], 2);
    sandbox.ends(&["certificate", "--target", "5%"], 2);
    // Somebody else's log needs its key.
    let copy = sandbox.path("copy");
    fs::create_dir_all(copy.join("tile/entries/000.p")).unwrap();
    fs::copy(sandbox.path("home/log/checkpoint"), copy.join("checkpoint")).unwrap();
    fs::copy(
        sandbox.path("home/log/tile/entries/000.p/1"),
        copy.join("tile/entries/000.p/1"),
    )
    .unwrap();
    sandbox.ends(&["certificate", "--log", "copy"], 2);
    let key = sandbox.good(&["log", "show", "--key"]).out;
    sandbox.good(&["certificate", "--log", "copy", "--key", key.trim()]);
    let other = key.trim().replacen("carat.local", "carat.other", 1);
    assert_ne!(
        sandbox
            .run(&["certificate", "--log", "copy", "--key", &other])
            .code,
        0
    );
    let empty = Sandbox::new();
    empty.ends(&["certificate"], 12);
}
