//! What the commands say about proofs, and how `carat run` is asked for one. Proving itself is in `carat-node`.

pub(crate) use carat_node::prover::*;

use std::path::Path;

use carat_node::{private, private_weights};
use carat_program::{Program, decode_tensors};
use carat_receipt::evidence::Body;
use carat_receipt::registration::MAX_REGISTRATION_BYTES;
use carat_receipt::{Opening, ReceiptFile, Registration};
use carat_verify::{Registered, check_registration};
use carat_zk::io::{self, Seed};
use carat_zk::{Hidden, Ledger, Mode, Profile, Values};

use crate::exit::{Exit, Failure};
use crate::files;
use crate::home::Home;
use crate::model::{AnyModel, Model, Tensors};
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

/// What a proof lets be seen, as a command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ModeName {
    /// Short; parts of input, weights and what lies between are shown.
    Succinct,
    /// Zero-knowledge: nothing between input and output is shown, nor what --private names.
    Zk,
}

/// What is hidden besides what lies between input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Private {
    /// Input and output, both: one commitment holds them together.
    #[value(aliases = ["values", "output"])]
    Input,
    /// The weights. Such proofs are under a key that hides them, made by `carat model key MODEL --private`.
    Weights,
}

/// The mode that a command line asks for.
pub(crate) fn mode(name: ModeName, private: &[Private]) -> Result<Mode, Failure> {
    let hidden = Hidden {
        values: private.contains(&Private::Input),
        weights: private.contains(&Private::Weights),
    };
    match name {
        ModeName::Zk => Ok(Mode::Zk(hidden)),
        ModeName::Succinct if private.is_empty() => Ok(Mode::Succinct),
        ModeName::Succinct => {
            let message = "a succinct proof hides nothing: --private needs the mode zk";
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

/// Refuses before any work a proof that hides the weights where no key is there to make it under.
pub(crate) fn check_weights(how: &How, model: &Model, home: &Home) -> Result<(), Failure> {
    if how.mode.hidden().weights {
        private_weights::usable(home, model, how.profile)?;
    }
    Ok(())
}

/// Takes a key that hides the weights, where `how` hides them, and counts the proof, which is made next. Gives how many more
/// may be made under it.
pub(crate) fn hide(how: &mut How, model: &Model, home: &Home) -> Result<Option<u32>, Failure> {
    if !how.mode.hidden().weights {
        return Ok(None);
    }
    let key = private_weights::count_one(home, model, how.profile)?;
    let left = key.left();
    how.hiding = Some(key.hiding);
    Ok(Some(left))
}

/// Reads the registration of a key that hides weights, and checks it.
pub(crate) fn read_registration(path: &Path) -> Result<Registered, Failure> {
    let limit = MAX_REGISTRATION_BYTES as u64;
    let bytes = files::read_capped(path, "a registration", limit)?;
    let refused = |error: &dyn ToString| {
        let message = format!("{}: {}", path.display(), error.to_string());
        Failure::new(Exit::Invalid, message)
    };
    let registration = Registration::decode(&bytes).map_err(|error| refused(&error))?;
    check_registration(&registration).map_err(|error| refused(&error))
}

/// Makes a proof of one receipt be about its values without showing them, where `how` hides values: finds the commitment,
/// checks that it holds them, and counts the proof.
pub(crate) fn tie(
    how: &mut How,
    model: &Model,
    receipt: &ReceiptFile,
    opening: &Opening,
    home: &Home,
) -> Result<(), Failure> {
    if !how.mode.hidden().values {
        return Ok(());
    }
    let statement = receipt.signed.statement();
    let Some(commitment) = (statement.optional.io_commitment.as_ref())
        .filter(|commitment| commitment.scheme.as_str() == io::SCHEME)
    else {
        let message = "the receipt has no io/v1 commitment, so a proof could not say which values it hides; run the model \
                       again with --io-commitment, or with --prove zk --private input";
        return Err(Failure::new(Exit::Mismatch, message));
    };
    let seed = Seed::from_salts(&opening.input.salt, &opening.output.salt);
    let tensors = |bytes: &[u8]| decode_tensors(bytes).map_err(Failure::of(Exit::Mismatch));
    let (inputs, outputs) = (
        tensors(&opening.input.bytes)?,
        tensors(&opening.output.bytes)?,
    );
    let values = Values {
        inputs: &inputs,
        outputs: &outputs,
    };
    io::check(model.program(), &values, &seed, &commitment.root)
        .map_err(Failure::of(Exit::Mismatch))?;
    private::count_one(home, &commitment.root, receipt)?;
    how.ties.push(Tie {
        root: commitment.root,
        seed,
    });
    Ok(())
}

/// Remembers the proof that was counted, where one was.
pub(crate) fn counted(how: &How, proved: &Proved, home: &Home) -> Result<(), Failure> {
    for (tie, evidence) in how.ties.iter().zip(&proved.evidence) {
        if let Body::Proof(body) = &evidence.body {
            private::made(home, &tie.root, &body.proof)?;
        }
    }
    Ok(())
}

/// How `carat run` proves.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Prove the answer, and put the proof into the receipt. Without a mode it is succinct, which is shorter and hides nothing.
    #[arg(long, value_enum, value_name = "MODE", num_args = 0..=1, default_missing_value = "succinct")]
    prove: Option<ModeName>,
    /// With --prove zk, what the proof hides besides what lies between input and output, separated by commas.
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    private: Vec<Private>,
    /// Security profile of the proof: proven-100 or proven-120.
    #[arg(long, value_name = "PROFILE", default_value = "proven-100", value_parser = profile)]
    profile: Profile,
    /// Memory that the proof may take. A proof that would take more is refused before anything is run.
    #[arg(long, value_name = "SIZE", default_value = MEMORY, value_parser = size)]
    memory_limit: u64,
    /// Add a hiding commitment to input and output (io/v1), which a later private proof can be tied to. --private input adds
    /// it too.
    #[arg(long)]
    io_commitment: bool,
}

impl RunArgs {
    /// Proves although nobody asked for it by name: the plan bought it.
    pub(crate) fn buy(&mut self) {
        self.prove.get_or_insert(ModeName::Succinct);
    }

    /// How to prove, where it was asked for.
    fn how(&self) -> Result<Option<How>, Failure> {
        let Some(name) = self.prove else {
            if self.private.is_empty() {
                return Ok(None);
            }
            let message = "--private says what a proof hides: it needs --prove zk";
            return Err(Failure::new(Exit::Usage, message));
        };
        Ok(Some(How {
            mode: mode(name, &self.private)?,
            ..How::succinct(self.profile, self.memory_limit)
        }))
    }

    /// Refuses before any work what cannot be proven, or not within the limits.
    pub(crate) fn check(&self, model: &AnyModel, home: &Home) -> Result<(), Failure> {
        let how = self.how()?;
        if how.is_none() && !self.io_commitment {
            return Ok(());
        }
        let model = model.integer()?;
        match how {
            Some(how) => {
                fits(model, 1, &how)?;
                check_weights(&how, model, home)
            }
            None => Ok(()),
        }
    }

    /// What the hiding commitment is made of, where it was asked for.
    pub(crate) fn io_commitment<'a>(
        &self,
        model: &'a AnyModel,
        (inputs, outputs): (&'a Tensors, &'a Tensors),
    ) -> Result<Option<(&'a Program, Values<'a>)>, Failure> {
        if !self.io_commitment && !self.private.contains(&Private::Input) {
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
        opening: &Opening,
        (inputs, outputs): (&Tensors, &Tensors),
        home: &Home,
        progress: &Progress,
    ) -> Result<Option<Proved>, Failure> {
        let Some(mut how) = self.how()? else {
            return Ok(None);
        };
        let subject = Subject {
            statement: file.receipt_id(),
            inputs: inputs.integers()?.to_vec(),
            outputs: outputs.integers()?.to_vec(),
        };
        let model = model.integer()?;
        tie(&mut how, model, file, opening, home)?;
        let left = hide(&mut how, model, home)?;
        let proved = proof_of(model, &[subject], &how, progress)?;
        let proved = Proved { left, ..proved };
        counted(&how, &proved, home)?;
        for evidence in &proved.evidence {
            file.add_evidence(evidence.clone())
                .map_err(Failure::of(Exit::Internal))?;
        }
        Ok(Some(proved))
    }
}
