//! What `carat verify` and the verifiers in other languages print: the appraisal, and the answer that it is about.

use alloc::vec::Vec;

use carat_program::edge::{self, OutputValues};
use carat_program::pinned::decode_bits;
use carat_program::{AnyProgram, decode_tensors};
use carat_receipt::{Opening, ReceiptFile};
use serde::Serialize;

use crate::appraisal::{Appraisal, Outcome};

/// An appraisal with the answer that the receipt commits to. Serialises to the JSON of `carat verify --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What the receipt is good for.
    #[serde(flatten)]
    pub appraisal: Appraisal,
    /// The answer as numbers and labels. Absent unless the signature, the Program and the opening were checked: a verdict
    /// about an answer that is not shown invites another answer beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Vec<OutputValues>>,
}

impl Report {
    /// The report of an appraisal of `receipt`, made with `opening`.
    pub fn new(
        appraisal: Appraisal,
        receipt: Option<&ReceiptFile>,
        opening: Option<&Opening>,
    ) -> Self {
        let output = committed_answer(receipt, opening, &appraisal);
        Self { appraisal, output }
    }
}

/// The answer that the receipt commits to, read by its own Program, where the opening was checked to be its own.
fn committed_answer(
    receipt: Option<&ReceiptFile>,
    opening: Option<&Opening>,
    appraisal: &Appraisal,
) -> Option<Vec<OutputValues>> {
    let passed = |name| {
        appraisal
            .check(name)
            .is_some_and(|check| check.outcome == Outcome::Pass)
    };
    if !(passed("signature") && passed("program") && passed("opening")) {
        return None;
    }
    let bytes = &opening?.output.bytes;
    match carried_program(receipt?)? {
        AnyProgram::Integer(program) => {
            let outputs = decode_tensors(bytes).ok()?;
            (outputs.len() == program.outputs.len()).then(|| edge::decode(&program, &outputs))
        }
        AnyProgram::Pinned(program) => {
            let outputs = decode_bits(bytes).ok()?;
            let all = outputs.len() == program.body.outputs.len();
            all.then(|| edge::show_bits(&program, &outputs))
        }
    }
}

/// The Program that a receipt carries, where it is the one that the Statement names. Another one has no say in how values are
/// read: a receipt with such a Program is invalid.
pub fn carried_program(receipt: &ReceiptFile) -> Option<AnyProgram> {
    let program = AnyProgram::decode(receipt.program.as_deref()?).ok()?;
    (program.digest() == receipt.signed.statement().program).then_some(program)
}
