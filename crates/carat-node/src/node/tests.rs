use std::path::Path;

use carat_nn::edge::Values;

use super::*;
use crate::call::Asked;
use crate::config::Config;
use crate::store::{JobKind, With};

fn start(home: &Path) -> Running {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tumor");
    let text = format!("access = \"open\"\n[[model]]\nname = \"tumor\"\npath = {model:?}\n");
    let config = Config::read(&text, Path::new("/"), []).expect("good");
    let parts = Parts::read(config, &Home::at(home.to_path_buf())).expect("good");
    let prepared = Prepared::open(parts, Start::default()).expect("opens");
    prepared.start().expect("starts")
}

fn ask(node: &Node, at_stake: Option<&str>) -> Result<Kept<Answer>, Problem> {
    let zeros = Values {
        dims: vec![1, 30],
        data: vec![0.0; 30],
    };
    let asked = Asked {
        at_stake: at_stake.map(|amount| amount.parse().expect("an amount")),
        ..Asked::default()
    };
    let model = node.model("tumor")?.clone();
    let call = Call::new("local", model, vec![zeros], asked)?;
    node.accept(call, None, None)?
        .blocking_recv()
        .expect("answered")
}

fn upgrade(node: &Node, receipt: &Digest) -> JobState {
    let request = receipt.as_bytes().to_vec();
    let asked = jobs::Asked {
        tenant: "local",
        kind: JobKind::Upgrade,
        priority: 5,
        deadline: now().expect("the time") + 3600,
        request,
        key: None,
    };
    let put = node.put_job(&asked, |_| Ok(With::default()));
    let (job, _) = put.expect("accepted");
    for _ in 0..6000 {
        let state = node.job("local", &job).expect("there").state;
        if state != JobState::Queued {
            return state;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the job did not end");
}

#[test]
fn a_proof_that_panics_fails_its_job_and_nothing_else() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let running = start(dir.path());
    let node = &running.node;
    let ids = [(); 2].map(|()| ask(node, None).expect("kept").answer.id);
    node.panics.store(true, Ordering::Release);
    let JobState::Failed(why) = upgrade(node, &ids[0]) else {
        panic!("it failed")
    };
    assert!(why.contains("a fault of the server in a proof"), "{why}");
    assert!(node.fault().is_none());
    node.ready().expect("takes requests");
    // The next one works, also for the same receipt.
    for id in ids.iter().rev() {
        assert_eq!(upgrade(node, id), JobState::Done(*id));
    }
    // One that was to leave with the answer: no answer, and no receipt that promises what it has not.
    let before = node.levels().entries;
    node.panics.store(true, Ordering::Release);
    let refused = ask(node, Some("50USD"))
        .map(|kept| kept.index)
        .expect_err("no proof");
    assert_eq!(refused.status, 500);
    assert_eq!(node.levels().entries, before);
    ask(node, Some("50USD")).expect("kept");
    running.finish().expect("ends well");
}

#[test]
fn a_thread_that_dies_takes_the_node_down_and_says_so() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let running = start(dir.path());
    let node = &running.node;
    let id = ask(node, None).expect("kept").answer.id;
    let thread = watched(node, "carat-test".into(), |_| {
        panic!("as a fault of ours would")
    });
    thread.expect("starts").join().expect("caught");
    assert_eq!(node.ready().expect_err("down").status, 503);
    let ended = running.finish().expect_err("with a fault");
    assert_eq!(ended.exit, Exit::Internal);
    assert!(ended.message.contains("carat-test"), "{}", ended.message);
    // Nothing is lost.
    let running = start(dir.path());
    assert!(running.node.record("local", &id).is_ok());
    running.finish().expect("ends well");
}
