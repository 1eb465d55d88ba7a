//! A relying party's question in files and text, as `carat verify` takes it on the command line, and its answer.

use std::str::FromStr;

use carat_log::{SignedCheckpoint, VerifierKey};
use carat_program::edge::{
    InputEdge, Values, array_from_npy, bits_of, encode_image, encode_values, inputs_from_json,
};
use carat_program::pinned::encode_bits;
use carat_program::{AnyProgram, encode_tensors};
use carat_receipt::statement::Nonce;
use carat_receipt::{Amount, Digest, Label, NoticeFile, Opening, PublicKey, ReceiptFile};
use carat_verify::{
    CourierAsked, ModelKey, NoticeQuestion, NoticeReport, OpenExposure, Question, Remembered,
    Report, Trust, Upstream, UseAt, carried_program, judge_notice,
};
use carat_zk::pcs::Root;
use serde::Deserialize;

use crate::fault::{Fault, Kind};
use crate::parts::{Part, Parts};
use crate::proof::profile;

/// The interface that a courier is asked where none is named.
const ENDPOINT: &str = "/v1/chat/completions";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    receipt: Part,
    now: u64,
    trust: Option<Part>,
    trust_owner: Option<String>,
    amount: Option<String>,
    nonce: Option<String>,
    audience: Option<String>,
    opening: Option<Part>,
    input: Option<Input>,
    answer: Option<Part>,
    asked: Option<String>,
    endpoint: Option<String>,
    use_at: Option<When>,
    already_relied: Option<String>,
    #[serde(default)]
    open_exposure: Vec<String>,
    #[serde(default)]
    upstream: Vec<RestsOn>,
    model: Option<Named>,
    remembered: Option<Seen>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum When {
    AfterUse,
    BeforeSettle,
}

/// The relying party's own input, in one of three forms.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Input {
    /// The body of a request to a courier; else a `.json` or `.npy` file.
    Bytes(Part),
    /// JSON as such: arrays of numbers, by name where there are several inputs.
    Json(Part),
    /// Rows of interleaved 8-bit channels.
    Pixels {
        pixels: Part,
        width: usize,
        height: usize,
        channels: usize,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RestsOn {
    receipt: Part,
    opening: Option<Part>,
}

/// The model that is meant, and the keys that the relying party computed from its weights.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Named {
    program: String,
    #[serde(default)]
    keys: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Key {
    profile: String,
    root: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Seen {
    trust_version: Option<u64>,
    checkpoint: Option<String>,
}

/// A value that stands in the question as text.
fn parse<T: FromStr>(name: &str, text: Option<&str>) -> Result<Option<T>, Fault>
where
    T::Err: ToString,
{
    let wrong = |error: T::Err| Kind::Usage.because(format!("{name}: {}", error.to_string()));
    text.map(|text| text.parse().map_err(wrong)).transpose()
}

fn nonce(text: Option<&str>) -> Result<Option<Vec<u8>>, Fault> {
    let wrong = || {
        let what = "a nonce is 8 to 64 bytes in hexadecimal: 16 to 128 digits";
        Kind::Usage.because(what)
    };
    text.map(|text| {
        let bytes = hex::decode(text).map_err(|_| wrong())?;
        let nonce = Nonce::new(bytes).map_err(|_| wrong())?;
        Ok(nonce.as_bytes().to_vec())
    })
    .transpose()
}

pub(crate) fn trust(bytes: &[u8]) -> Result<Trust, Fault> {
    let text = std::str::from_utf8(bytes).map_err(Kind::TrustRefused.of())?;
    Trust::parse(text).map_err(Kind::TrustRefused.of())
}

fn opening(bytes: &[u8]) -> Result<Opening, Fault> {
    Opening::decode(bytes).map_err(|e| Kind::Mismatch.because(format!("the opening: {e}")))
}

/// What a receipt is good for.
pub(crate) fn verify(parts: &Parts<'_>) -> Result<Report, Fault> {
    let asked: Asked = parts.asked()?;
    check_together(&asked)?;
    let bytes = parts.bytes(asked.receipt)?;
    // Bytes that are no receipt are for the appraisal to judge; without one there is nothing to gather.
    let receipt = ReceiptFile::decode(bytes).ok();
    let amount: Option<Amount> = parse("amount", asked.amount.as_deref())?;
    let given = parts.optional(asked.trust)?.map(trust).transpose()?;
    let opened = parts.optional(asked.opening)?.map(opening).transpose()?;
    let input = match (&asked.input, &receipt) {
        (Some(input), Some(receipt)) => own_input(input, receipt, parts)?,
        _ => None,
    };
    let (model, model_keys) = keys(asked.model.as_ref(), receipt.as_ref())?;
    // A key that you computed is a reason to rely on a proof even where nobody is trusted.
    let default = match (&given, &model) {
        (None, Some(_)) => {
            Some(Trust::built_in_for(amount.as_ref(), asked.now).map_err(Kind::Internal.of())?)
        }
        _ => None,
    };
    let mut rests_on = Vec::new();
    for one in &asked.upstream {
        let file = ReceiptFile::decode(parts.bytes(one.receipt)?);
        let file =
            file.map_err(|e| Kind::Invalid.because(format!("a receipt that it rests on: {e}")))?;
        let opened = parts.optional(one.opening)?.map(opening).transpose()?;
        rests_on.push((file, opened));
    }
    let upstream: Vec<Upstream<'_>> = rests_on
        .iter()
        .map(|(file, opening)| Upstream {
            file,
            opening: opening.as_ref(),
            own_replay: None,
            open_edges: None,
        })
        .collect();
    let entries = asked.open_exposure.iter();
    let entries: Result<Vec<_>, _> = entries
        .map(|text| OpenExposure::parse_entry(text))
        .collect();
    let entries = entries.map_err(|e| Kind::Usage.because(format!("openExposure: {e}")))?;
    let exposure = OpenExposure::gather(entries).map_err(Kind::Usage.of())?;
    let nonce = nonce(asked.nonce.as_deref())?;
    let audience: Option<Label> = parse("audience", asked.audience.as_deref())?;
    let remembered = asked.remembered.as_ref();
    let checkpoint = remembered.and_then(|seen| seen.checkpoint.as_deref());
    let checkpoint = checkpoint.map(|text| SignedCheckpoint::parse(text.as_bytes()));
    let checkpoint = checkpoint
        .transpose()
        .map_err(|e| Kind::Usage.because(format!("remembered.checkpoint: {e}")))?;
    let question = Question {
        now: asked.now,
        trust: given.as_ref().or(default.as_ref()),
        trust_owner: parse::<PublicKey>("trustOwner", asked.trust_owner.as_deref())?,
        nonce: nonce.as_deref(),
        audience: audience.as_ref(),
        amount,
        opening: opened.as_ref(),
        input: input.as_deref(),
        output: parts.optional(asked.answer)?,
        courier: asked.asked.as_deref().map(|model| CourierAsked {
            endpoint: asked.endpoint.as_deref().unwrap_or(ENDPOINT),
            model,
        }),
        model,
        model_keys: &model_keys,
        own_replay: None,
        remembered: Remembered {
            trust_version: remembered.and_then(|seen| seen.trust_version),
            checkpoint: checkpoint.as_ref().map(SignedCheckpoint::unverified),
            consistency: None,
        },
        use_at: match asked.use_at {
            None | Some(When::AfterUse) => UseAt::AfterUse,
            Some(When::BeforeSettle) => UseAt::BeforeSettle,
        },
        relied: parse("alreadyRelied", asked.already_relied.as_deref())?,
        open_exposure: exposure.own,
        open_exposures: &exposure.by_issuer,
        upstream: &upstream,
    };
    let appraisal = carat_verify::appraise_bytes(bytes, &question).map_err(Kind::Usage.of())?;
    Ok(Report::new(appraisal, receipt.as_ref(), opened.as_ref()))
}

/// What makes no sense together, as on the command line.
fn check_together(asked: &Asked) -> Result<(), Fault> {
    let usage = |why: &str| Err(Kind::Usage.because(why));
    if asked.trust_owner.is_some() && asked.trust.is_none() {
        return usage("trustOwner says whose the Trust file must be; give trust");
    }
    if asked.asked.is_some() && asked.model.is_some() {
        return usage(
            "asked is for a courier's receipt, and model for one about a model that ran; give one of them",
        );
    }
    if asked.endpoint.is_some() && asked.asked.is_none() {
        return usage("endpoint is the interface that the model was asked for through; give asked");
    }
    Ok(())
}

/// The model that is meant, and its keys. Those of another model than the receipt's say nothing about it.
fn keys(
    named: Option<&Named>,
    receipt: Option<&ReceiptFile>,
) -> Result<(Option<Digest>, Vec<ModelKey>), Fault> {
    let Some(named) = named else {
        return Ok((None, Vec::new()));
    };
    let program: Digest = named
        .program
        .parse()
        .map_err(|e| Kind::Usage.because(format!("model.program: {e}")))?;
    let mut keys = Vec::new();
    for key in &named.keys {
        let root: Digest = key
            .root
            .parse()
            .map_err(|e| Kind::Usage.because(format!("model.keys: {e}")))?;
        keys.push(ModelKey {
            program,
            profile: profile(&key.profile)?,
            root: Root(*root.as_bytes()),
        });
    }
    if receipt.is_some_and(|receipt| receipt.signed.statement().program != program) {
        keys.clear();
    }
    Ok((Some(program), keys))
}

/// Canonical bytes of the relying party's own input, by the Program that the receipt carries.
fn own_input(
    input: &Input,
    receipt: &ReceiptFile,
    parts: &Parts<'_>,
) -> Result<Option<Vec<u8>>, Fault> {
    if receipt.signed.statement().optional.courier.is_some() {
        return match input {
            Input::Bytes(part) => Ok(Some(parts.bytes(*part)?.to_vec())),
            _ => Err(Kind::BadInput.because(
                "a courier's receipt is about bytes: give the body of the request as it was sent, as a Uint8Array",
            )),
        };
    }
    if receipt.program.is_none() {
        let why =
            "the receipt carries no Program, which says how an input is read; ask without input";
        return Err(Kind::Mismatch.because(why));
    }
    // Another Program than the one named is invalid in any case: the appraisal says why.
    let Some(program) = carried_program(receipt) else {
        return Ok(None);
    };
    match &program {
        AnyProgram::Integer(program) => {
            let values = values_of(&program.inputs, input, parts)?;
            let tensors = encode_values(program, &values).map_err(|e| bad(&e))?;
            Ok(Some(encode_tensors(&tensors)))
        }
        AnyProgram::Pinned(program) => {
            let values = values_of(&program.body.inputs, input, parts)?;
            let tensors = bits_of(&program.body.inputs, &values).map_err(|e| bad(&e))?;
            Ok(Some(encode_bits(&tensors)))
        }
    }
}

fn bad(error: &dyn ToString) -> Fault {
    Kind::BadInput.because(format!("input: {}", error.to_string()))
}

/// The arrays that an input is given as.
fn values_of<I: InputEdge>(
    inputs: &[I],
    input: &Input,
    parts: &Parts<'_>,
) -> Result<Vec<Values>, Fault> {
    let json = |bytes: &[u8]| {
        let json = serde_json::from_slice(bytes).map_err(|e| bad(&e))?;
        inputs_from_json(inputs, &json).map_err(|e| bad(&e))
    };
    Ok(match input {
        Input::Json(part) => json(parts.bytes(*part)?)?,
        Input::Bytes(part) => match parts.bytes(*part)? {
            bytes if bytes.starts_with(b"\x93NUMPY") => {
                vec![array_from_npy(bytes).map_err(|e| bad(&e))?]
            }
            bytes if bytes.starts_with(b"\x89PNG") => {
                let why = "images are not unpacked here; give { width, height, channels, pixels }";
                return Err(bad(&why));
            }
            bytes => json(bytes)?,
        },
        Input::Pixels {
            pixels,
            width,
            height,
            channels,
        } => {
            let [spec] = inputs else {
                return Err(bad(&"the model takes several inputs; give them by name"));
            };
            let pixels = parts.bytes(*pixels)?;
            let data =
                encode_image(spec, *width, *height, *channels, pixels).map_err(|e| bad(&e))?;
            vec![Values {
                dims: spec.dims(),
                data,
            }]
        }
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AskedNotice {
    notice: Part,
    receipt: Part,
    now: u64,
    nonce: Option<String>,
    log_key: Option<String>,
}

/// What a notice is worth as a document.
pub(crate) fn verify_notice(parts: &Parts<'_>) -> Result<NoticeReport, Fault> {
    let asked: AskedNotice = parts.asked()?;
    let receipt = ReceiptFile::decode(parts.bytes(asked.receipt)?);
    let receipt = receipt.map_err(|e| Kind::Invalid.because(format!("the receipt: {e}")))?;
    let notice = NoticeFile::decode(parts.bytes(asked.notice)?);
    let notice = notice.map_err(|e| Kind::Invalid.because(format!("the notice: {e}")))?;
    let nonce = nonce(asked.nonce.as_deref())?;
    let log = asked.log_key.as_deref().map(VerifierKey::from_vkey);
    let log = log
        .transpose()
        .map_err(|e| Kind::Usage.because(format!("logKey: {e}")))?;
    let question = NoticeQuestion {
        receipt: &receipt,
        now: asked.now,
        nonce: nonce.as_deref(),
        log: log.as_ref(),
    };
    Ok(judge_notice(&notice, &question))
}
