//! What a file says, for people who look at one. Nothing of it is verified, and nothing of it is an appraisal.

use carat_log::{SignedPromise, TlogProof};
use carat_program::{InputEncoding, OutputEncoding, Program};
use carat_receipt::courier::{Courier, Ending};
use carat_receipt::evidence::Body;
use carat_receipt::file::{LOG_PROMISE, LogItem, LogPart};
use carat_receipt::statement::{Clock, Parameter, Parameters, Plan, Usage};
use carat_receipt::{Evidence, Execution, NoticeFile, Opening, ReceiptFile, Said, Statement};
use carat_tee::Package;
use carat_verify::Trust;
use carat_verify::time::to_text;
use carat_verify::trust::Standing;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::fault::{Fault, Kind};
use crate::parts::{Part, Parts};
use crate::question::trust;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    file: Part,
}

/// What the start of a file tells about its kind.
const SIGN1: u8 = 0xd2;

/// What a receipt, an opening, a notice or a Trust file says.
pub(crate) fn describe(parts: &Parts<'_>) -> Result<Value, Fault> {
    let asked: Asked = parts.asked()?;
    let bytes = parts.bytes(asked.file)?;
    // Receipts and notices begin with the same tag; openings are maps, and Trust files are text.
    let mut said = match bytes.first() {
        None => return Err(Kind::Invalid.because("the file is empty")),
        Some(&SIGN1) => match ReceiptFile::decode(bytes) {
            Ok(file) => receipt(&file),
            Err(error) => match NoticeFile::decode(bytes) {
                Ok(file) => notice(&file),
                Err(_) => return Err(Kind::Invalid.because(format!("not a receipt: {error}"))),
            },
        },
        Some(first) if first >> 5 == 5 => match Opening::decode(bytes) {
            Ok(file) => opening(&file),
            Err(error) => return Err(Kind::Invalid.because(format!("not an opening: {error}"))),
        },
        Some(_) if looks_like_trust(bytes) => trust_file(&trust(bytes)?),
        Some(_) => {
            let why = "neither a receipt, nor an opening, a notice or a Trust file";
            return Err(Kind::Invalid.because(why));
        }
    };
    said["bytes"] = json!(bytes.len());
    Ok(said)
}

fn looks_like_trust(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.contains("carat-trust/"))
}

fn time(seconds: u64) -> Value {
    json!({ "unix": seconds, "text": to_text(seconds) })
}

/// Leaves out what is absent: an absent claim is absent.
fn present(fields: Value) -> Value {
    match fields {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.collect())
        }
        other => other,
    }
}

fn receipt(file: &ReceiptFile) -> Value {
    json!({
        "what": "receipt",
        "receipt_id": file.receipt_id(),
        "key_id": file.signed.key_id(),
        "statement": statement(file.signed.statement()),
        "transparency_receipts": file.signed.transparency_receipts().len(),
        "evidence": file.evidence().iter().map(evidence).collect::<Vec<_>>(),
        "program": file.program.as_deref().map(program),
        "log": file.log.as_ref().map(log),
    })
}

fn statement(said: &Statement) -> Value {
    let optional = &said.optional;
    let relies_on = optional.relies_on.iter();
    let relies_on = relies_on.map(|edge| json!({ "receipt": edge.receipt, "stake": edge.stake }));
    let relies_on: Vec<Value> = relies_on.collect();
    let stream = optional.stream.as_ref().map(|stream| {
        json!({ "root": stream.root, "chunks": stream.chunks, "complete": stream.complete })
    });
    let io = optional.io_commitment.as_ref();
    present(json!({
        "issuer": said.issuer,
        "issuer_key": said.issuer_key,
        "issued_at": time(said.issued_at),
        "clock": match said.clock {
            Clock::System => "system",
            Clock::Ntp => "ntp",
            Clock::Signed => "signed",
            _ => "unknown",
        },
        "random": hex::encode(said.random),
        "program": said.program,
        "model_name": said.model_name,
        "model_version": said.model_version,
        "execution": match &said.execution {
            Execution::Local => json!({ "kind": "local" }),
            Execution::Courier { upstream } => json!({ "kind": "courier", "upstream": upstream }),
        },
        "engine": { "numerics": said.engine.numerics, "semantics": said.engine.semantics },
        "input": said.input,
        "output": said.output,
        "parameters": parameters(&said.parameters),
        "audience": optional.audience,
        "nonce": optional.nonce.as_ref().map(|nonce| hex::encode(nonce.as_bytes())),
        "model_card": optional.model_card,
        "seed": optional.seed.map(hex::encode),
        "usage": optional.usage.as_ref().map(usage),
        "io_commitment": io.map(|io| json!({ "scheme": io.scheme, "root": io.root })),
        "trace_root": optional.trace_root,
        "plan": optional.plan.as_ref().map(plan),
        "policy": optional.policy,
        "facts": optional.facts,
        "environment": optional.environment,
        "planner": optional.planner,
        "option_expiry": optional.option_expiry.map(time),
        "relies_on": (!relies_on.is_empty()).then_some(relies_on),
        "previous": optional.previous,
        "stream": stream,
        "courier": optional.courier.as_ref().map(courier),
    }))
}

fn parameters(parameters: &Parameters) -> Value {
    let one = |value: &Parameter| match value {
        // Integers go up to 64 bits, which numbers in JavaScript do not hold.
        Parameter::Int(value) => json!({ "int": value.to_string() }),
        Parameter::Bool(value) => json!({ "bool": value }),
        Parameter::Text(value) => json!({ "text": value }),
        Parameter::Bytes(value) => json!({ "bytes": hex::encode(value) }),
    };
    let all = parameters.iter();
    let all = all.map(|(name, value)| (name.as_str().to_string(), one(value)));
    Value::Object(all.collect::<Map<_, _>>())
}

fn usage(usage: &Usage) -> Value {
    present(json!({
        "input_elements": usage.input_elements,
        "output_elements": usage.output_elements,
        "cpu_micros": usage.cpu_micros,
        "wall_micros": usage.wall_micros,
        "multiply_adds": usage.multiply_adds,
    }))
}

fn plan(plan: &Plan) -> Value {
    present(json!({
        "rung": plan.rung,
        "tau": plan.tau.to_string(),
        "audited": carat_policy::explain::percent(carat_policy::Tau(plan.tau).probability()),
        "timing": carat_policy::consequence::timing_name(plan.timing),
        "window_seconds": plan.window,
        "bond": plan.bond,
        "replicas": plan.replicas,
        "proof_deadline": plan.proof_deadline.map(time),
    }))
}

fn courier(said: &Courier) -> Value {
    let tokens = said.tokens.as_ref().map(|tokens| {
        present(json!({ "input": tokens.input, "output": tokens.output, "total": tokens.total }))
    });
    present(json!({
        "endpoint": said.endpoint,
        "model": said.model,
        "reported": said.reported,
        "sent": said.sent,
        "received": said.received,
        "ending": match said.ending {
            Ending::Complete => "complete",
            Ending::UpstreamCut => "upstream-cut",
            Ending::TimedOut => "timed-out",
            Ending::TooLarge => "too-large",
            Ending::Garbled => "garbled",
            Ending::OtherModel => "other-model",
            Ending::CallerLeft => "caller-left",
        },
        "tokens": tokens,
    }))
}

fn evidence(item: &Evidence) -> Value {
    match &item.body {
        Body::Signature(signed) => {
            let said = signed.body();
            json!({
                "kind": "signature", "name": said.name, "key": said.key,
                "signed_at": time(said.signed_at),
            })
        }
        Body::Replay(signed) => {
            let said = signed.body();
            present(json!({
                "kind": "replay", "name": said.name, "key": said.key, "program": said.program,
                "output": said.output, "replayed_at": time(said.replayed_at),
                "engine": { "numerics": said.engine.numerics, "semantics": said.engine.semantics },
                "software": said.software, "trace_root": said.trace_root,
            }))
        }
        Body::Attestation(said) => {
            let package = Package::read(said).ok();
            let endorsements = said.endorsements.iter();
            let endorsements = endorsements.map(
                |(media_type, bytes)| json!({ "media_type": media_type, "bytes": bytes.len() }),
            );
            json!({
                "kind": "attestation",
                "media_type": said.media_type,
                "bytes": said.evidence.len(),
                "simulated": Package::is_simulated(said),
                "hardware": package.as_ref().map(|package| package.kind.as_str()),
                "vendor": package.as_ref().map(|package| package.kind.vendor()),
                "gpus": package.as_ref().map(|package| package.gpus.len()),
                "endorsements": endorsements.collect::<Vec<_>>(),
            })
        }
        Body::Proof(said) => json!({
            "kind": "proof", "protocol": said.protocol, "mode": said.mode, "profile": said.profile,
            "weights_root": said.weights_root, "statements": said.statements, "bits": said.bits,
            "bytes": said.proof.len(),
        }),
        _ => json!({ "kind": "unknown" }),
    }
}

fn program(bytes: &[u8]) -> Value {
    let program = match Program::decode(bytes) {
        Ok(program) => program,
        Err(error) => return json!({ "bytes": bytes.len(), "unreadable": error.to_string() }),
    };
    let inputs = program.inputs.iter().map(|input| {
        let image = input.image.as_ref();
        json!({
            "name": input.name,
            "dtype": input.dtype.name(),
            "shape": input.shape.dims(),
            "range": [input.range.lo, input.range.hi],
            "encoding": match input.encoding {
                InputEncoding::Exact => "exact",
                InputEncoding::Fixed { .. } => "fixed",
                InputEncoding::Affine { .. } => "affine",
            },
            "image": image.map(|image| json!({ "width": image.width, "height": image.height })),
        })
    });
    let outputs = program.outputs.iter().map(|output| {
        json!({
            "name": output.name,
            "dtype": output.dtype.name(),
            "shape": program.value(output.value).map(|value| value.shape.dims()),
            "exponent": match output.encoding {
                OutputEncoding::Exact => 0,
                OutputEncoding::Fixed { exponent } => exponent,
            },
            "labels": output.labels,
        })
    });
    let mut operations = Map::new();
    for node in &program.nodes {
        let count = operations.get(node.op.name()).and_then(Value::as_u64);
        operations.insert(node.op.name().into(), json!(count.unwrap_or(0) + 1));
    }
    json!({
        "bytes": bytes.len(),
        "digest": program.digest(),
        "inputs": inputs.collect::<Vec<_>>(),
        "outputs": outputs.collect::<Vec<_>>(),
        "constants": program.constants.len(),
        "operations": operations,
    })
}

fn log(part: &LogPart) -> Value {
    json!({ "items": part.items.iter().map(log_item).collect::<Vec<_>>() })
}

fn log_item(item: &LogItem) -> Value {
    let unreadable =
        |kind: &str, error: &dyn ToString| json!({ "kind": kind, "unreadable": error.to_string() });
    if item.media_type.as_str() == LOG_PROMISE {
        return match SignedPromise::parse(&item.bytes) {
            Ok(promise) => {
                let said = promise.unverified();
                json!({
                    "kind": "promise", "origin": said.origin.to_string(), "index": said.index,
                    "promised_at": time(said.time), "include_by": time(said.include_by),
                })
            }
            Err(error) => unreadable("promise", &error),
        };
    }
    match TlogProof::parse(&item.bytes) {
        Ok(proof) => {
            let checkpoint = proof.checkpoint.unverified();
            json!({
                "kind": "inclusion", "origin": checkpoint.origin(), "index": proof.index,
                "size": checkpoint.size(), "checkpoint": proof.checkpoint.to_text(),
            })
        }
        Err(error) => unreadable("inclusion", &error),
    }
}

fn opening(file: &Opening) -> Value {
    let carried = file.carried.as_ref();
    json!({
        "what": "opening",
        "receipt_id": file.receipt_id,
        "program": file.program,
        "input_bytes": file.input.bytes.len(),
        "output_bytes": file.output.bytes.len(),
        "facts_bytes": file.facts.as_ref().map(|facts| facts.bytes.len()),
        "sent_bytes": carried.map(|carried| carried.sent.bytes.len()),
        "received_bytes": carried.map(|carried| carried.received.bytes.len()),
        "chunks": carried.and_then(|carried| carried.chunks.as_ref()).map(Vec::len),
    })
}

fn notice(file: &NoticeFile) -> Value {
    let said = file.signed.notice();
    let (rung, by, reason, detail, promise) = match &said.said {
        Said::Promise { rung, by } => (Some(rung), Some(*by), None, None, None),
        Said::Refusal { reason, detail } => (None, None, Some(reason), Some(detail), None),
        Said::Miss { by, promise } => (None, Some(*by), None, None, promise.as_ref()),
    };
    present(json!({
        "what": "notice",
        "notice_id": file.signed.id(),
        "kind": said.said.kind(),
        "issuer": said.issuer,
        "issuer_key": said.issuer_key,
        "said_at": time(said.said_at),
        "receipt_id": said.receipt,
        "nonce": said.nonce.as_ref().map(|nonce| hex::encode(nonce.as_bytes())),
        "rung": rung,
        "by": by.map(time),
        "reason": reason,
        "detail": detail,
        "promise": promise,
        "log": file.log.as_ref().map(log),
    }))
}

fn trust_file(file: &Trust) -> Value {
    let content = file.content();
    json!({
        "what": "trust",
        "name": content.name,
        "owner": content.owner,
        "audience": content.audience,
        "currency": content.currency,
        "version": content.version,
        "digest": file.digest(),
        "signature": match file.standing() {
            Standing::Signed => "holds",
            Standing::Broken => "broken",
            _ => "absent",
        },
        "as_of": time(content.as_of),
        "max_age_days": content.max_age_days,
        "issuers": content.issuers.iter().map(|issuer| &issuer.name).collect::<Vec<_>>(),
        "models": content.models.iter().map(|model| &model.name).collect::<Vec<_>>(),
        "auditors": content.auditors.iter().map(|auditor| &auditor.name).collect::<Vec<_>>(),
        "platforms": content.platforms.iter().map(|platform| &platform.name).collect::<Vec<_>>(),
        "upstreams": content.upstreams.iter().map(|upstream| &upstream.name).collect::<Vec<_>>(),
        "text": file.render(),
    })
}
