//! What the commands say about proofs, and how `carat run` is asked for one. Proving itself is in `carat-node`.

pub(crate) use carat_node::prover::*;

use carat_program::Program;
use carat_receipt::ReceiptFile;
use carat_zk::{Error, Ledger, Profile, Values};

use crate::exit::{Exit, Failure};
use crate::model::{AnyModel, Tensors};
use crate::output::Progress;

/// The ledger for people: every term, grinding apart.
pub(crate) fn ledger_text(ledger: &Ledger) -> String {
    let mut rows = crate::render::Table::new(3);
    rows.row(["term", "bits", "and proof of work"]);
    for term in &ledger.terms {
        let grinding = match term.grinding {
            0 => String::new(),
            bits => format!("{bits}"),
        };
        rows.row([term.name.as_str(), &format!("{:.1}", term.bits), &grinding]);
    }
    format!(
        "Soundness, term by term (bits are -log2 of the probability that it fails, by proven bounds)\n{}\n{:.1} bits for \
         all terms together with their proof of work, by profile {}, which asks for {}\n",
        rows.render("  "),
        ledger.bits,
        ledger.profile.name(),
        ledger.profile.bits(),
    )
}

/// How `carat run` proves.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Prove the answer, and put the proof into the receipt.
    #[arg(long)]
    prove: bool,
    /// Security profile of the proof: proven-100 or proven-120.
    #[arg(long, value_name = "PROFILE", default_value = "proven-100", value_parser = profile)]
    profile: Profile,
    /// Memory that the proof may take. A proof that would take more is refused before anything is run.
    #[arg(long, value_name = "SIZE", default_value = MEMORY, value_parser = size)]
    memory_limit: u64,
    /// Add a hiding commitment to input and output (io/v1), which a later private proof can be tied to.
    #[arg(long)]
    io_commitment: bool,
}

impl RunArgs {
    /// Proves although nobody asked for it by name: the plan bought it.
    pub(crate) fn buy(&mut self) {
        self.prove = true;
    }

    /// Refuses before any work what cannot be proven, or not within the limits.
    pub(crate) fn check(&self, model: &AnyModel) -> Result<(), Failure> {
        if !self.prove && !self.io_commitment {
            return Ok(());
        }
        let model = model.integer()?;
        if !self.prove {
            return Ok(());
        }
        Ledger::new(model.program(), self.profile, 1).map_err(failure)?;
        let needed = carat_zk::estimate_memory(model.program(), 1).map_err(failure)?;
        if needed > self.memory_limit {
            let allowed = self.memory_limit;
            return Err(failure(Error::Memory { needed, allowed }));
        }
        Ok(())
    }

    /// What the hiding commitment is made of, where it was asked for.
    pub(crate) fn io_commitment<'a>(
        &self,
        model: &'a AnyModel,
        (inputs, outputs): (&'a Tensors, &'a Tensors),
    ) -> Result<Option<(&'a Program, Values<'a>)>, Failure> {
        if !self.io_commitment {
            return Ok(None);
        }
        let values = Values {
            inputs: inputs.integers()?,
            outputs: outputs.integers()?,
        };
        Ok(Some((model.integer()?.program(), values)))
    }

    /// Proves what a receipt says and attaches the proof, where it was asked for.
    pub(crate) fn prove(
        &self,
        model: &AnyModel,
        file: &mut ReceiptFile,
        (inputs, outputs): (&Tensors, &Tensors),
        progress: &Progress,
    ) -> Result<Option<Proved>, Failure> {
        if !self.prove {
            return Ok(None);
        }
        let subject = Subject {
            statement: file.receipt_id(),
            inputs: inputs.integers()?.to_vec(),
            outputs: outputs.integers()?.to_vec(),
        };
        let proved = proof_of(
            model.integer()?,
            &[subject],
            self.profile,
            self.memory_limit,
            progress,
        )?;
        for evidence in &proved.evidence {
            file.add_evidence(evidence.clone())
                .map_err(Failure::of(Exit::Internal))?;
        }
        Ok(Some(proved))
    }
}
