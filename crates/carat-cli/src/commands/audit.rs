//! `carat audit`: draw answers by the thresholds that were signed, run them again, write down what was found.

pub(super) mod served;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use carat_log::VerifierKey;
use carat_node::client::Client;
use carat_receipt::evidence::Replay;
use carat_receipt::{Digest, Evidence, Label, Role, SigningKey};
use clap::Subcommand;
use serde_json::json;

use super::upgrade::api_key;
use super::{Context, Outcome, StoreKeys};
use crate::exit::{Exit, Failure};
use crate::home::{self, Home};
use crate::output::{Answer, Progress};
use crate::render::Table;
pub(super) use carat_node::audits::Finding;
use carat_node::audits::{Audited, Entries, Record, Records, record};
use served::{Served, Shelf};

/// Draw logged answers by their signed thresholds and run them again.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Draw from the entries that no earlier draw covered, run what was drawn again, write down what was found.
    ///
    /// An entry is drawn with the chance that its Plan promised in the log. The draw is on disk before the first replay.
    /// What was drawn and cannot be opened counts as wrong until it is: run the command again when it can. The beacon is
    /// your own choice, so this is a self-audit: it tells you something, and is worth 0 to third parties. Exit status 19
    /// if an answer was wrong or nobody answered.
    #[command(
        after_help = "Examples:\n  carat audit sample --beacon $(openssl rand -hex 32)\n  carat audit sample --log /srv/log --key \"log.example/receipts+f2d0b1a9+AZ...\" --receipts /srv/receipts --model models/digits --beacon 5f6a...\n  carat audit sample --data-dir /var/lib/carat/node --url http://127.0.0.1:8321 --api-key-file admin.txt --model models/digits --beacon 5f6a..."
    )]
    Sample {
        #[command(flatten)]
        place: Place,
        /// Randomness that nobody could foresee when the answers were given, 16 to 1024 bytes in hexadecimal.
        #[arg(long, value_name = "HEX", value_parser = beacon)]
        beacon: Beacon,
        /// A folder of receipts with their openings. May be given several times. What this data directory served is known.
        #[arg(long, value_name = "DIR")]
        receipts: Vec<PathBuf>,
        /// A model that receipts may name. May be given several times.
        #[arg(long, value_name = "MODEL")]
        model: Vec<PathBuf>,
        #[command(flatten)]
        keys: StoreKeys,
        /// The server that runs on this data directory: http://HOST:PORT. Its store is its own while it runs, so receipts and
        /// openings come from it, with an API key that has the scope admin.
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// A file with the API key [default: the variable CARAT_API_KEY].
        #[arg(long, value_name = "FILE", requires = "url")]
        api_key_file: Option<PathBuf>,
        /// Authorities that may have issued the server's certificate, in PEM [default: those that this system trusts].
        #[arg(long, value_name = "FILE", requires = "url")]
        ca: Option<PathBuf>,
    },
}

/// Which log, and where the records of its audits are.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// Directory of the log [default: the local log].
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// The log's verifier key [default: the local log's].
    #[arg(long, value_name = "VKEY")]
    key: Option<String>,
    /// Directory of the records of audits [default: one for each log in the data directory].
    #[arg(long, value_name = "DIR")]
    records: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct Beacon(Vec<u8>);

fn beacon(text: &str) -> Result<Beacon, String> {
    use carat_policy::draw::{MAX_BEACON_BYTES, MIN_BEACON_BYTES};
    match hex::decode(text) {
        Ok(bytes) if (MIN_BEACON_BYTES..=MAX_BEACON_BYTES).contains(&bytes.len()) => {
            Ok(Beacon(bytes))
        }
        _ => Err(format!(
            "a beacon is {MIN_BEACON_BYTES} to {MAX_BEACON_BYTES} bytes in hexadecimal: {} to {} digits",
            2 * MIN_BEACON_BYTES,
            2 * MAX_BEACON_BYTES
        )),
    }
}

/// A log that was read and checked, with the records of its audits.
pub(super) struct Audit {
    /// The log's key.
    pub(super) key: VerifierKey,
    /// Its entries.
    pub(super) entries: Entries,
    /// Its audits so far.
    pub(super) records: Records,
    /// Whether it is the log of this data directory.
    pub(super) own: bool,
}

impl Place {
    /// The local log with the records in the data directory.
    pub(super) fn local() -> Self {
        Self {
            log: None,
            key: None,
            records: None,
        }
    }

    /// Reads the log and the records.
    pub(super) fn read(&self, home: &Home) -> Result<Audit, Failure> {
        let local = home.path("log");
        let given = self.log.clone().unwrap_or_else(|| local.clone());
        // A data directory stands for its log.
        let dir = if !given.join("checkpoint").exists() && given.join("log/checkpoint").exists() {
            given.join("log")
        } else {
            given
        };
        let own = same(&dir, &local);
        if own && !home.has_log() {
            let message = format!(
                "there is no log in {} yet; the first `carat run` makes it",
                home.root().display()
            );
            return Err(Failure::new(Exit::Io, message));
        }
        let key = match &self.key {
            Some(text) => VerifierKey::from_vkey(text).map_err(Failure::of(Exit::Usage))?,
            None if own => home.log_verifier()?,
            None => {
                let message = "another log needs its key: give --key VKEY, which its operator publishes (carat log show --key)";
                return Err(Failure::new(Exit::Usage, message));
            }
        };
        let entries = Entries::read(&dir, &key)?;
        let records = match &self.records {
            Some(dir) => dir.clone(),
            None => record::place(home, &key),
        };
        let records = Records::read(&records, &entries, &key)?;
        Ok(Audit {
            key,
            entries,
            records,
            own,
        })
    }

    fn make_records_dir(&self, home: &Home, audit: &Audit) -> Result<(), Failure> {
        match &self.records {
            Some(dir) => std::fs::create_dir_all(dir)
                .map_err(|error| crate::files::io_failure("making the directory", dir, &error)),
            None => record::make_place(home, &audit.key).map(drop),
        }
    }
}

fn same(a: &Path, b: &Path) -> bool {
    match (std::fs::canonicalize(a), std::fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let Command::Sample {
        place,
        beacon,
        receipts,
        model,
        url,
        api_key_file,
        ca,
        keys,
    } = args.command;
    let home = context.home()?;
    let mut audit = place.read(&home)?;
    let server = match url {
        Some(url) => Some(Client::new(
            &url,
            api_key(api_key_file.as_deref())?,
            ca.as_deref(),
        )?),
        None => None,
    };
    let mut shelf = Shelf::open(context, &home, &receipts, &model, server, keys.options()?)?;
    let (key, _) = home.key_or_new()?;
    let name = home.issuer_name(&key)?;
    place.make_records_dir(&home, &audit)?;
    // One at a time: of two draws over the same entries one could be dropped.
    let _held = audit.records.hold()?;
    audit.records = audit.records.read_again(&audit.entries, &audit.key)?;

    let first = audit.records.next();
    let size = audit.entries.checkpoint.unverified().size();
    let new = first < size;
    if new {
        let mut record = Record::draw(
            &audit.entries,
            &audit.key,
            &audit.records,
            &beacon.0,
            (name.clone(), &key),
            audit.own,
        )?;
        // On disk before the first replay: whoever stops here cannot draw again.
        audit.records.write(&mut record, &key)?;
        audit.records.all.push(record);
    }
    let progress = Progress::start("running what was drawn");
    let mut round = Round::default();
    let auditor = Auditor {
        home: &home,
        key: &key,
        name: &name,
    };
    let mut all = std::mem::take(&mut audit.records.all);
    let last = all.len();
    for (number, record) in all.iter_mut().enumerate() {
        let drawn_now = new && number + 1 == last;
        let mut changed = false;
        for audited in &mut record.audited {
            if audited.finding != Finding::Unanswered {
                continue;
            }
            progress.say(format!("running entry {} again", audited.index));
            let leaf = &audit.entries.leaves[audited.index as usize];
            auditor.audit(&mut shelf, leaf, audited);
            changed = true;
            round.count(audited, drawn_now);
        }
        if changed {
            audit.records.write(record, &key)?;
        }
    }
    drop(progress);
    let shown = Shown {
        audit: &audit,
        round: &round,
        new,
        first,
        size,
        auditor: &auditor,
    };
    let exit = if round.wrong == 0 && round.unanswered == 0 {
        Exit::Good
    } else {
        Exit::CheckFailed
    };
    Ok((shown.answer(), exit))
}

/// What this run found.
#[derive(Default)]
struct Round {
    drawn: u64,
    retried: u64,
    clean: u64,
    wrong: u64,
    unanswered: u64,
    listed: Vec<Audited>,
}

impl Round {
    fn count(&mut self, audited: &Audited, drawn_now: bool) {
        *(if drawn_now {
            &mut self.drawn
        } else {
            &mut self.retried
        }) += 1;
        *(match audited.finding {
            Finding::Clean => &mut self.clean,
            Finding::Wrong => &mut self.wrong,
            Finding::Unanswered => &mut self.unanswered,
        }) += 1;
        self.listed.push(audited.clone());
    }
}

/// Whoever audits.
struct Auditor<'a> {
    home: &'a Home,
    key: &'a SigningKey,
    name: &'a Label,
}

impl Auditor<'_> {
    /// Runs one entry again and writes into `audited` what came of it.
    fn audit(&self, shelf: &mut Shelf<'_>, leaf: &[u8], audited: &mut Audited) {
        match self.replay(shelf, audited.index, leaf) {
            Ok((receipt_id, finding, evidence)) => {
                audited.finding = finding;
                audited.reason = None;
                audited.receipt_id = Some(receipt_id);
                audited.replay = Some(hex::encode(evidence.encode()));
            }
            Err(reason) => audited.reason = Some(reason),
        }
    }

    fn replay(
        &self,
        shelf: &mut Shelf<'_>,
        index: u64,
        leaf: &[u8],
    ) -> Result<(Digest, Finding, Evidence), String> {
        let Served { file, opening } = shelf.answer(index, leaf)?;
        let statement = file.signed.statement();
        file.signed
            .verify_signature()
            .map_err(|error| format!("its receipt is not signed: {error}"))?;
        let opens = opening.receipt_id == file.receipt_id()
            && opening.program == statement.program
            && opening.input.commitment(Role::Input) == statement.input
            && opening.output.commitment(Role::Output) == statement.output;
        if !opens {
            return Err("its opening does not open it".into());
        }
        let program = statement.program;
        let Some(model) = shelf.model(self.home, program) else {
            return Err(format!(
                "there is no model with its program {program}; give it: --model MODEL"
            ));
        };
        let engine = model.engine().map_err(|failure| failure.message)?;
        if statement.engine != engine {
            return Err("it ran with another engine than its program's".into());
        }
        // From here on silence is no excuse: the Program and the input are committed to, and decide the answer.
        let inputs = model
            .program()
            .decode(&opening.input.bytes)
            .map_err(|error| format!("its input: {error}"))?;
        let outputs = model.answer(&inputs).map_err(|failure| failure.message)?;
        let output =
            carat_receipt::commit(Role::Output, &opening.output.salt, &outputs.canonical());
        let finding = if output == statement.output {
            Finding::Clean
        } else {
            Finding::Wrong
        };
        let internal = |error: &dyn ToString| error.to_string();
        let body = Replay {
            key: self.key.public(),
            name: self.name.clone(),
            program,
            output,
            replayed_at: home::clock().map_err(|failure| failure.message)?,
            engine,
            software: Label::new(concat!("carat ", env!("CARGO_PKG_VERSION")))
                .map_err(|error| internal(&error))?,
            trace_root: None,
        };
        let receipt_id = file.receipt_id();
        let evidence =
            Evidence::replay(receipt_id, body, self.key).map_err(|error| internal(&error))?;
        Ok((receipt_id, finding, evidence))
    }
}

/// What a self-audit is worth, said wherever one is shown.
pub(super) const SELF_AUDIT: &str = "Self-audit: whoever ran it chose the beacon, and nobody else can tell that it was not tried until it suited. It is worth 0 to third parties.";

struct Shown<'a> {
    audit: &'a Audit,
    round: &'a Round,
    new: bool,
    first: u64,
    size: u64,
    auditor: &'a Auditor<'a>,
}

impl Shown<'_> {
    fn answer(&self) -> Answer {
        let round = self.round;
        let origin = self.audit.entries.checkpoint.unverified().origin();
        let json = json!({
            "log": { "origin": origin, "size": self.size, "own": self.audit.own },
            "drawn_from": { "first": self.first, "entries": self.size - self.first },
            "drawn": round.drawn,
            "retried": round.retried,
            "clean": round.clean,
            "wrong": round.wrong,
            "unanswered": round.unanswered,
            "audited": round.listed,
            "auditor": { "name": self.auditor.name, "public_key": self.auditor.key.public() },
            "self_audit": true,
            "worth_to_third_parties": "0",
        });
        let mut text = if self.new {
            format!(
                "Drew {} of {} new entries ({} to {}) of {origin}.\n",
                round.drawn,
                self.size - self.first,
                self.first,
                self.size - 1
            )
        } else {
            format!("No entry of {origin} is new since the last draw; the beacon was not used.\n")
        };
        if round.retried > 0 {
            let _ = writeln!(text, "Tried {} that were unanswered again.", round.retried);
        }
        let mut rows = Table::new(2);
        rows.row(["Clean", &round.clean.to_string()]);
        rows.row(["Wrong", &round.wrong.to_string()]);
        rows.row(["Unanswered", &round.unanswered.to_string()]);
        let _ = write!(text, "\n{}", rows.render(""));
        let bad = round
            .listed
            .iter()
            .filter(|audited| audited.finding != Finding::Clean);
        for audited in bad.take(20) {
            let what = match (&audited.finding, &audited.reason) {
                (Finding::Wrong, _) => "WRONG: this machine computes another answer",
                (_, Some(reason)) => reason,
                _ => "unanswered",
            };
            let _ = writeln!(
                text,
                "  - entry {}: {}",
                audited.index,
                crate::render::plain(what)
            );
        }
        if round.unanswered > 0 {
            text.push_str("\nUnanswered counts as wrong. Run the command again when they can be opened; the draw stays.\n");
        }
        let _ = write!(
            text,
            "\n{SELF_AUDIT}\nWhat it supports: carat certificate\n"
        );
        Answer { text, json }
    }
}
