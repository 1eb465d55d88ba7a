//! A small world: an issuer, a relying party with a Trust file, an auditor, a log, a witness, one program and one run.
//! Everything is derived from fixed seeds, so that fixtures are the same on every machine.
#![allow(
    dead_code,
    reason = "each test binary uses its own part of this module"
)]

use carat_log::{
    Checkpoint, KeyKind, MemoryTree, NoteSigner, Promise, SignedCheckpoint, SignedPromise,
    TlogProof, leaf_hash,
};
use carat_program::{
    Dtype, InputEncoding, InputSpec, Node, Op, OutputEncoding, OutputSpec, Program, Range, Shape,
    Tensor, ValueId, encode_tensors,
};
use carat_receipt::evidence::{Attestation, Body, Cosignature, Hides, Proof, Replay};
use carat_receipt::file::{LOG_PROMISE, LOG_PROOF};
use carat_receipt::statement::{Clock, Optional, Timing};
use carat_receipt::{
    Amount, Digest, Engine, Evidence, Execution, Label, LogItem, LogPart, Nonce, Opened, Opening,
    Parameters, Plan, ReceiptFile, Salt, SignedStatement, SigningKey, Statement, leaf,
};
use carat_verify::trust::{Auditor, Content, Issuer, IssuerKey, LogKey, Model, WitnessKey};
use carat_verify::{Appraisal, OwnReplay, Question, Trust, appraise};

pub(crate) const ISSUED_AT: u64 = 1_767_225_600; // 2026-01-01
pub(crate) const NOW: u64 = ISSUED_AT + 3600;
pub(crate) const NONCE: &[u8] = &[0x4e; 16];
pub(crate) const ORIGIN: &str = "log.example/receipts";
pub(crate) const LEAF_INDEX: u64 = 2;

pub(crate) fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

pub(crate) fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

pub(crate) fn issuer_key() -> SigningKey {
    SigningKey::from_secret(&[1; 32])
}

pub(crate) fn owner_key() -> SigningKey {
    SigningKey::from_secret(&[2; 32])
}

pub(crate) fn auditor_key() -> SigningKey {
    SigningKey::from_secret(&[3; 32])
}

pub(crate) fn stranger_key() -> SigningKey {
    SigningKey::from_secret(&[4; 32])
}

pub(crate) fn log_signer() -> NoteSigner {
    NoteSigner::new(ORIGIN, &[5; 32]).unwrap()
}

pub(crate) fn witness_signer() -> NoteSigner {
    NoteSigner::new("witness.example", &[6; 32]).unwrap()
}

/// y = 2x + 1 on four integers.
pub(crate) fn program() -> Program {
    let shape = Shape::new(&[4]).unwrap();
    Program {
        inputs: vec![InputSpec {
            name: "x".into(),
            dtype: Dtype::I8,
            shape: shape.clone(),
            range: Range::new(-128, 127),
            encoding: InputEncoding::Exact,
            image: None,
        }],
        constants: vec![],
        nodes: vec![Node {
            op: Op::Linear {
                coefficients: vec![2],
                bias: 1,
            },
            inputs: vec![ValueId(0)],
            shape,
            range: Range::new(-255, 255),
        }],
        outputs: vec![OutputSpec {
            name: "y".into(),
            dtype: Dtype::I32,
            value: ValueId(1),
            encoding: OutputEncoding::Exact,
            labels: vec![],
        }],
    }
}

pub(crate) fn tensor(values: [i32; 4]) -> Vec<u8> {
    encode_tensors(&[Tensor::new(Shape::new(&[4]).unwrap(), values.to_vec()).unwrap()])
}

pub(crate) fn input() -> Vec<u8> {
    tensor([1, -2, 3, 4])
}

pub(crate) fn output() -> Vec<u8> {
    tensor([3, -3, 7, 9])
}

fn opened() -> (Opened, Opened) {
    (
        Opened::new(Salt::from_bytes([0x11; 32]), input()),
        Opened::new(Salt::from_bytes([0x22; 32]), output()),
    )
}

pub(crate) fn statement() -> Statement {
    let (input, output) = opened();
    Statement {
        issuer: label("Example Issuer"),
        issuer_key: issuer_key().public(),
        issued_at: ISSUED_AT,
        clock: Clock::System,
        random: [0x33; 16],
        program: program().digest(),
        model_name: label("double"),
        model_version: label("1.0.0"),
        execution: Execution::Local,
        engine: Engine {
            numerics: label("integer/v1"),
            semantics: 1,
        },
        input: input.commitment(carat_receipt::Role::Input),
        output: output.commitment(carat_receipt::Role::Output),
        parameters: Parameters::default(),
        optional: Optional {
            audience: Some(label("Example Bank")),
            nonce: Some(Nonce::new(NONCE).unwrap()),
            ..Optional::default()
        },
    }
}

/// Signature and Program.
pub(crate) fn file_of(statement: Statement) -> ReceiptFile {
    let mut file = ReceiptFile::new(SignedStatement::sign(statement, &issuer_key()).unwrap());
    file.program = Some(program().encode());
    file
}

pub(crate) fn file() -> ReceiptFile {
    file_of(statement())
}

pub(crate) fn opening(file: &ReceiptFile) -> Opening {
    let (input, output) = opened();
    Opening {
        receipt_id: file.receipt_id(),
        program: program().digest(),
        input,
        output,
        facts: None,
        trace_salt: None,
        carried: None,
    }
}

pub(crate) fn replay_body(file: &ReceiptFile, key: &SigningKey, name: &str) -> Replay {
    let statement = file.signed.statement();
    Replay {
        key: key.public(),
        name: label(name),
        program: statement.program,
        output: statement.output,
        replayed_at: ISSUED_AT + 60,
        engine: statement.engine.clone(),
        software: label("carat 0.1.0"),
        trace_root: None,
    }
}

pub(crate) fn add_replay(file: &mut ReceiptFile, body: Replay, key: &SigningKey) {
    let item = Evidence::replay(file.receipt_id(), body, key).unwrap();
    file.add_evidence(item).unwrap();
}

pub(crate) fn audited(mut file: ReceiptFile) -> ReceiptFile {
    let body = replay_body(&file, &auditor_key(), "Example Auditor");
    add_replay(&mut file, body, &auditor_key());
    file
}

/// Puts the receipt at [`LEAF_INDEX`] of a log of five leaves: promise and cosigned inclusion proof.
pub(crate) fn logged(mut file: ReceiptFile) -> ReceiptFile {
    let blind = Salt::from_bytes([0x44; 32]);
    let tau = file
        .signed
        .statement()
        .optional
        .plan
        .as_ref()
        .map(|plan| plan.tau);
    let leaf = leaf(&blind, &file.receipt_id(), tau);
    let tree = MemoryTree::from_leaves([b"a".as_slice(), b"b", &leaf, b"c", b"d"]);
    let signer = log_signer();
    let promise = Promise {
        origin: signer.name().clone(),
        index: LEAF_INDEX,
        leaf: leaf_hash(&leaf),
        time: ISSUED_AT,
        include_by: ISSUED_AT + 60,
    };
    let promise = SignedPromise::sign(promise, &signer).unwrap();
    let proof = TlogProof {
        extra: None,
        index: LEAF_INDEX,
        path: tree.prove_inclusion(LEAF_INDEX, 5).unwrap().path,
        checkpoint: signed_checkpoint(checkpoint_of(&tree)),
    };
    file.log = Some(LogPart {
        blind,
        items: vec![
            LogItem {
                media_type: label(LOG_PROMISE),
                bytes: promise.to_text().into_bytes(),
            },
            LogItem {
                media_type: label(LOG_PROOF),
                bytes: proof.to_text().into_bytes(),
            },
        ],
    });
    file
}

pub(crate) fn checkpoint_of(tree: &MemoryTree) -> Checkpoint {
    Checkpoint::new(ORIGIN, tree.size(), tree.root(tree.size()).unwrap()).unwrap()
}

pub(crate) fn signed_checkpoint(checkpoint: Checkpoint) -> SignedCheckpoint {
    let mut signed = SignedCheckpoint::sign(checkpoint, &log_signer()).unwrap();
    signed.cosign(&witness_signer(), ISSUED_AT + 30).unwrap();
    signed
}

/// A receipt with everything that a file can hold.
pub(crate) fn everything() -> ReceiptFile {
    let mut statement = statement();
    statement.optional.plan = Some(Plan {
        rung: label("signature+audit"),
        tau: 1 << 60,
        timing: Timing::AfterUse,
        window: Some(86_400),
        bond: None,
        replicas: None,
        proof_deadline: None,
    });
    let mut file = audited(file_of(statement));
    let id = file.receipt_id();
    let key = stranger_key();
    let cosignature = Cosignature {
        key: key.public(),
        name: label("Cosigner"),
        signed_at: ISSUED_AT,
    };
    let items = [
        Evidence::cosign(id, cosignature, &key).unwrap(),
        Evidence {
            statement: id,
            body: Body::Attestation(Attestation {
                media_type: label("application/vnd.example.attestation"),
                evidence: vec![0xa1; 24],
                endorsements: vec![(label("application/vnd.example.collateral"), vec![0xa2; 8])],
            }),
        },
        Evidence {
            statement: id,
            body: Body::Proof(Proof {
                protocol: label("example/v1"),
                mode: label("succinct"),
                hides: Hides::default(),
                profile: label("example"),
                weights_root: Digest::sha256(b"root"),
                statements: vec![id],
                bits: 100,
                proof: vec![0xa4; 24],
            }),
        },
    ];
    for item in items {
        file.add_evidence(item).unwrap();
    }
    logged(file)
}

pub(crate) fn content() -> Content {
    let mut content = Content::new(
        label("Example Bank"),
        owner_key().public(),
        "USD".parse().unwrap(),
        ISSUED_AT - 86_400,
    );
    content.audience = Some(label("Example Bank"));
    content.witness_quorum = 1;
    content.issuers.push(Issuer {
        name: label("Example Issuer"),
        keys: vec![IssuerKey {
            key: issuer_key().public(),
            not_before: Some(ISSUED_AT - 1000),
            not_after: Some(ISSUED_AT + 1000),
            revoked: None,
        }],
    });
    content.models.push(Model {
        name: label("double"),
        program: program().digest(),
        proof_keys: vec![],
    });
    content.logs.push(LogKey {
        key: log_signer().verifier(),
        controller: label("Log Operator"),
    });
    content.witnesses.push(WitnessKey {
        key: witness_signer()
            .verifier()
            .with_kind(KeyKind::CosignatureV1),
        controller: label("Witness Operator"),
    });
    content.auditors.push(Auditor {
        name: label("Example Auditor"),
        key: auditor_key().public(),
        controller: label("Auditors Ltd"),
        cap: amount("500 USD"),
    });
    content
}

pub(crate) fn trust_of(content: Content) -> Trust {
    let mut trust = Trust::new(content).unwrap();
    trust.sign(&owner_key()).unwrap();
    trust
}

pub(crate) fn trust() -> Trust {
    trust_of(content())
}

pub(crate) fn ask(trust: &Trust) -> Question<'_> {
    Question {
        now: NOW,
        trust: Some(trust),
        nonce: Some(NONCE),
        ..Question::default()
    }
}

pub(crate) fn own<'a>(input: &'a [u8], output: &'a [u8]) -> OwnReplay<'a> {
    OwnReplay {
        program: program().digest(),
        input,
        output,
    }
}

pub(crate) fn run(file: &ReceiptFile, question: &Question<'_>) -> Appraisal {
    let appraisal = appraise(file, question).unwrap();
    // What holds of every appraisal.
    assert_eq!(appraisal.exit_code, appraisal.verdict.exit_code());
    assert!(!appraisal.not_proven.is_empty());
    assert!(
        appraisal
            .checks
            .iter()
            .all(|check| !check.reason.is_empty())
    );
    if appraisal.verdict == carat_verify::Verdict::Invalid {
        assert!(
            appraisal
                .good_for
                .iter()
                .all(|set| set.amount.is_none_or(|amount| amount.is_zero()))
        );
    }
    appraisal
}

pub(crate) fn set_amount(appraisal: &Appraisal, rung: &str) -> Option<String> {
    let set = appraisal.good_for.iter().find(|set| set.rung == rung)?;
    set.amount.map(|amount| amount.to_string())
}
