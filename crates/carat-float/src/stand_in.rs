//! A shell script in place of a worker, for tests of what happens when a worker fails.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use carat_program::Dtype;
use carat_program::pinned::{
    Bits, PinnedBody, PinnedInput, PinnedOutput, PinnedProgram, encode_bits,
};
use carat_receipt::Digest;

use crate::FloatModel;
use crate::profile::X86_64_V3;
use crate::protocol::{Reply, Request, frame};

/// A model that only a stand-in runs: one number in, one number out.
#[must_use]
pub fn model() -> FloatModel {
    let onnx = b"read by nobody".to_vec();
    let program = PinnedProgram {
        profile: X86_64_V3.name.into(),
        body: PinnedBody {
            source: Digest::sha256(&onnx),
            inputs: vec![PinnedInput {
                name: "x".into(),
                dtype: Dtype::F32,
                dims: vec![1],
                image: None,
            }],
            bound: Vec::new(),
            outputs: vec![PinnedOutput {
                name: "y".into(),
                dtype: Dtype::F32,
                dims: Some(vec![1]),
                labels: Vec::new(),
            }],
        },
    };
    FloatModel {
        digest: program.digest(),
        program,
        onnx,
        card: String::new(),
    }
}

/// The input or output of that model.
#[must_use]
pub fn number(value: f32) -> Vec<Bits> {
    Bits::new(Dtype::F32, &[1], value.to_le_bytes().to_vec())
        .into_iter()
        .collect()
}

/// Writes a worker that greets, loads the model and answers every input with `answer`; before each answer it runs `before`, a
/// line of shell in its folder. Gives the path of the program.
///
/// # Errors
/// Those of the file system.
pub fn write(folder: &Path, answer: &Reply, before: &str) -> io::Result<PathBuf> {
    let model = model();
    let hello = Reply::Hello {
        profile: X86_64_V3.name.into(),
        answers: X86_64_V3.answers.into(),
    };
    let load = Request::Load {
        program: model.program.encode(),
        onnx: model.onnx.clone(),
    };
    let run = Request::Run {
        inputs: encode_bits(&number(0.0)),
    };
    let (load, run) = (frame(&load)?.len(), frame(&run)?.len());
    for (name, reply) in [
        ("hello", &hello),
        ("ready", &Reply::Ready),
        ("answer", answer),
    ] {
        fs::write(folder.join(name), frame(reply)?)?;
    }
    let path = folder.join("stand-in");
    let script = format!(
        "#!/bin/sh\nPATH=/usr/bin:/bin\ncd '{}' || exit 9\ncat hello\nhead -c {load} >/dev/null\ncat ready\nwhile [ \"$(head -c {run} | wc -c)\" = {run} ]; do\n{before}\ncat answer\ndone\n",
        folder.display()
    );
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// The answer `y`.
#[must_use]
pub fn answer(y: f32) -> Reply {
    Reply::Outputs {
        tensors: encode_bits(&number(y)),
    }
}
