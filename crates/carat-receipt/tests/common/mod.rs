//! Statements for tests: one with everything, one with nothing optional.
#![allow(
    dead_code,
    reason = "each test binary uses its own part of this module"
)]

use carat_receipt::courier::{self, Courier, Ending, Tokens};
use carat_receipt::statement::{Clock, IoCommitment, Optional, Reliance, Stream, Timing, Usage};
use carat_receipt::{
    Digest, Engine, Execution, Label, Nonce, Parameter, Parameters, Plan, Role, Salt,
    SignedStatement, SigningKey, Statement, commit,
};

pub(crate) fn key() -> SigningKey {
    SigningKey::from_secret(&[42; 32])
}

pub(crate) fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

pub(crate) fn minimal() -> Statement {
    Statement {
        issuer: label("Example Issuer"),
        issuer_key: key().public(),
        issued_at: 1_767_225_600,
        clock: Clock::System,
        random: [1; 16],
        program: Digest::sha256(b"program"),
        model_name: label("digits"),
        model_version: label("1.0.0"),
        execution: Execution::Local,
        engine: Engine {
            numerics: label("integer/v1"),
            semantics: 1,
        },
        input: commit(Role::Input, &Salt::from_bytes([2; 32]), b"input"),
        output: commit(Role::Output, &Salt::from_bytes([3; 32]), b"output"),
        parameters: Parameters::default(),
        optional: Optional::default(),
    }
}

pub(crate) fn full() -> Statement {
    let mut parameters = Parameters::default();
    parameters.set(label("top_k"), Parameter::Int(-3)).unwrap();
    parameters.set(label("a"), Parameter::Bool(true)).unwrap();
    parameters
        .set(label("temperature"), Parameter::Text("0.7".into()))
        .unwrap();
    parameters
        .set(label("bytes"), Parameter::Bytes(vec![0, 255]))
        .unwrap();
    Statement {
        execution: Execution::Courier {
            upstream: label("upstream.example"),
        },
        clock: Clock::Ntp,
        parameters,
        optional: Optional {
            audience: Some(label("Relying Party")),
            nonce: Some(Nonce::new([7; 32]).unwrap()),
            model_card: Some(Digest::sha256(b"card")),
            seed: Some([9; 32]),
            usage: Some(Usage {
                input_elements: Some(64),
                wall_micros: Some(300),
                ..Usage::default()
            }),
            io_commitment: Some(IoCommitment {
                scheme: label("io/v1"),
                root: Digest::sha256(b"io"),
            }),
            trace_root: Some(Digest::sha256(b"trace")),
            plan: Some(Plan {
                rung: label("signature+audit"),
                tau: u64::MAX,
                timing: Timing::AfterUse,
                window: Some(3600),
                bond: Some(label("bond-1")),
                replicas: Some(2),
                proof_deadline: Some(1_767_229_200),
            }),
            policy: Some(Digest::sha256(b"policy")),
            facts: Some(commit(Role::Facts, &Salt::from_bytes([4; 32]), b"facts")),
            environment: Some(Digest::sha256(b"environment")),
            planner: Some(label("planner/1")),
            option_expiry: Some(1_769_817_600),
            relies_on: vec![Reliance {
                receipt: Digest::sha256(b"upstream"),
                stake: "12.50 USD".parse().unwrap(),
            }],
            previous: Some(Digest::sha256(b"previous")),
            stream: Some(Stream {
                root: Digest::sha256(b"stream"),
                chunks: 3,
                complete: false,
            }),
            courier: None,
        },
        ..minimal()
    }
}

/// A courier's: everything that goes with those claims.
pub(crate) fn carried() -> Statement {
    let salt = |byte| Salt::from_bytes([byte; 32]);
    let (upstream, model) = (label("upstream.example"), label("gpt-example"));
    Statement {
        program: courier::identity(&upstream, &model),
        execution: Execution::Courier { upstream },
        engine: Engine {
            numerics: label(courier::NUMERICS),
            semantics: 1,
        },
        optional: Optional {
            stream: Some(Stream {
                root: Digest::sha256(b"stream"),
                chunks: 3,
                complete: false,
            }),
            courier: Some(Courier {
                endpoint: label("/v1/chat/completions"),
                model,
                reported: Some(label("gpt-example-0613")),
                sent: commit(Role::Sent, &salt(5), b"sent"),
                received: commit(Role::Received, &salt(6), b"received"),
                ending: Ending::UpstreamCut,
                tokens: Some(Tokens {
                    input: Some(7),
                    output: Some(8),
                    total: Some(15),
                }),
            }),
            ..Optional::default()
        },
        ..minimal()
    }
}

pub(crate) fn signed(statement: Statement) -> SignedStatement {
    SignedStatement::sign(statement, &key()).unwrap()
}
