//! A proof without a receipt around it.

use carat_program::{Program, decode_tensors};
use carat_zk::pcs::Root;
use carat_zk::{Instance, Mode, ModelKey, Profile, Proof};
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Kind};
use crate::parts::{Part, Parts};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    program: Part,
    profile: String,
    root: Part,
    inputs: Part,
    outputs: Part,
    proof: Part,
}

/// Whether the proof shows the outputs.
#[derive(Serialize)]
pub(crate) struct Shown {
    ok: bool,
    reason: String,
}

/// Verifies a proof about a Program and values under a model key. Its digests are over the values themselves
/// (`Instance::of_values`); such files are made by the example `shipped` of `carat-zk`.
pub(crate) fn verify(parts: &Parts<'_>) -> Result<Shown, Fault> {
    let asked: Asked = parts.asked()?;
    let program = Program::decode(parts.bytes(asked.program)?).map_err(Kind::Invalid.of())?;
    let profile = profile(&asked.profile)?;
    let root = parts.bytes(asked.root)?.try_into();
    let root = root.map_err(|_| Kind::Usage.because("a root has 32 bytes"))?;
    let key = ModelKey {
        program: program.digest(),
        profile,
        root: Root(root),
    };
    let tensors = |part| decode_tensors(parts.bytes(part)?).map_err(Kind::BadInput.of());
    let (inputs, outputs) = (tensors(asked.inputs)?, tensors(asked.outputs)?);
    let instances = [Instance::of_values(&inputs, &outputs)];
    let proof = Proof {
        bytes: parts.bytes(asked.proof)?.to_vec(),
    };
    let result = carat_zk::verify(&program, &key, profile, Mode::Succinct, &instances, &proof);
    Ok(Shown {
        ok: result.is_ok(),
        reason: match result {
            Ok(()) => "the proof shows that the Program gives these outputs".into(),
            Err(error) => error.to_string(),
        },
    })
}

/// A security profile by its name.
pub(crate) fn profile(name: &str) -> Result<Profile, Fault> {
    Profile::named(name).ok_or_else(|| {
        Kind::Usage.because(format!(
            "there is no profile \"{name}\"; give {}",
            Profile::ALL.map(Profile::name).join(" or ")
        ))
    })
}
