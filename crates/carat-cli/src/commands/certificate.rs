//! `carat certificate`: what a node's audits let one say about all its answers.

use std::fmt::Write as _;

use carat_policy::certificate::{Alpha, Certificate, Ledger, Needed, clean_audits_for};
use carat_policy::draw::tau_of_leaf;
use carat_policy::probability::{Fraction, Probability};
use serde_json::{Value, json};

use super::audit::{Audit, Finding, Place, SELF_AUDIT};
use super::{Context, Outcome, parse};
use crate::exit::{Exit, Failure};
use crate::output::Answer;
use crate::render::Table;

/// Say how many of a node's answers can have been wrong, with confidence, from the audits of its log.
///
/// It may be asked for at any time and as often as you like: the confidence covers all times together. It assumes that
/// audits find wrong answers (exact replay does), and that whoever gave the answers could not foresee the beacons. Exit status 4
/// if --target was given and the audits do not support it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat certificate\n  carat certificate --log /srv/log --key \"log.example/receipts+f2d0b1a9+AZ...\" --target 0.01 --json"
)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// The claim: fewer than this share of the answers were wrong [default: 0.001].
    #[arg(long, value_name = "SHARE", value_parser = parse::<Fraction>)]
    target: Option<Fraction>,
    /// Chance that the certificate holds.
    #[arg(long, value_name = "SHARE", default_value = "0.95", value_parser = confidence)]
    confidence: Alpha,
}

fn confidence(text: &str) -> Result<Alpha, String> {
    let fraction: Fraction = text.parse().map_err(|_| "a share like 0.95".to_string())?;
    let millionths = 1_000_000 - fraction.billionths() / 1000;
    Alpha::from_millionths(millionths)
        .filter(|_| fraction.billionths().is_multiple_of(1000))
        .ok_or_else(|| "a share above 0 and below 1 with at most six places, like 0.95".to_string())
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let home = context.home()?;
    let audit = args.place.read(&home)?;
    let target = match args.target {
        Some(target) => target,
        None => Fraction::from_billionths(1_000_000)
            .ok_or_else(|| Failure::new(Exit::Internal, "a thousandth is a share"))?,
    };
    let share = target.down();
    if share == Probability::ZERO {
        let message = "no number of audits shows that no answer was ever wrong; give --target a share above 0, like 0.001";
        return Err(Failure::new(Exit::Usage, message));
    }
    let ledger = ledger(&audit);
    let certificate = ledger.certificate(args.confidence);
    let shown = Shown {
        audit: &audit,
        certificate,
        needed: ledger.needed(args.confidence, share),
        from_scratch: clean_audits_for(args.confidence, share),
        target,
        holds: certificate.says_fewer_than(share),
    };
    let exit = if args.target.is_some() && !shown.holds {
        Exit::Insufficient
    } else {
        Exit::Good
    };
    let answer = Answer {
        text: shown.text(),
        json: shown.json(),
    };
    Ok((answer, exit))
}

/// Everything that was drawn from, and what audits found. A threshold is the hazard: exact replay finds every wrong
/// answer, and an audit of one's own is colluded with by nobody.
fn ledger(audit: &Audit) -> Ledger {
    let mut ledger = Ledger::new();
    let covered = audit.records.next() as usize;
    for leaf in audit.entries.leaves.iter().take(covered) {
        let hazard = tau_of_leaf(leaf).map_or(Probability::ZERO, |tau| tau.probability());
        ledger.serve(hazard, 0);
    }
    for record in &audit.records.all {
        for audited in &record.audited {
            ledger.audit(audited.finding != Finding::Clean);
        }
    }
    ledger
}

struct Shown<'a> {
    audit: &'a Audit,
    certificate: Certificate,
    needed: Needed,
    from_scratch: u64,
    target: Fraction,
    holds: bool,
}

impl Shown<'_> {
    fn confidence(&self) -> String {
        percent(
            1_000_000 - u64::from(self.certificate.alpha.millionths()),
            1_000_000,
        )
    }

    fn counts(&self) -> [u64; 3] {
        let mut counts = [0; 3];
        for audited in self
            .audit
            .records
            .all
            .iter()
            .flat_map(|record| &record.audited)
        {
            counts[match audited.finding {
                Finding::Clean => 0,
                Finding::Wrong => 1,
                Finding::Unanswered => 2,
            }] += 1;
        }
        counts
    }

    /// The sentence.
    fn statement(&self) -> String {
        let c = &self.certificate;
        let target = percent(u64::from(self.target.billionths()), 1_000_000_000);
        let with = format!("With {} confidence", self.confidence());
        if self.holds {
            return format!("{with} fewer than {target} of this node's answers were wrong.");
        }
        let more = match self.needed {
            Needed::More { answers, audits } => format!(
                "{audits} more clean audits are needed (at the thresholds so far, about {answers} more answers)"
            ),
            Needed::Never if c.answers == 0 => {
                format!(
                    "about {} clean audits are needed, and none was made",
                    self.from_scratch
                )
            }
            Needed::Never => format!(
                "no number of audits is enough, because {} of {} answers had no threshold and could not be drawn: run with a policy or --at-stake",
                c.uncovered, c.answers
            ),
            Needed::Nothing => String::new(),
        };
        if c.answers == 0 {
            return format!(
                "Nothing can be said yet. To say \"{} fewer than {target} of this node's answers were wrong\", {more}.",
                lower(&with)
            );
        }
        format!(
            "{with} at most {} of {} answers were wrong ({}). To say \"fewer than {target}\", {more}.",
            c.wrong_at_most,
            c.answers,
            percent(c.wrong_at_most, c.answers)
        )
    }

    fn json(&self) -> Value {
        let c = &self.certificate;
        let [clean, wrong, unanswered] = self.counts();
        let checkpoint = self.audit.entries.checkpoint.unverified();
        let size = checkpoint.size();
        json!({
            "statement": self.statement(),
            "confidence": 1.0 - f64::from(c.alpha.millionths()) / 1e6,
            "target": self.target.to_string(),
            "holds": self.holds,
            "answers": c.answers,
            "uncovered": c.uncovered,
            "not_drawn_yet": size - c.answers,
            "audits": c.audits,
            "clean": clean,
            "wrong": wrong,
            "unanswered": unanswered,
            "wrong_at_most": c.wrong_at_most,
            "wrong_share_at_most": c.wrong_share_at_most().to_f64(),
            "needed": match self.needed {
                Needed::Nothing => json!({ "audits": 0, "answers": 0 }),
                Needed::More { answers, audits } => json!({ "audits": audits, "answers": answers }),
                Needed::Never if c.answers == 0 => json!({ "audits": self.from_scratch }),
                Needed::Never => Value::Null,
            },
            "log": { "origin": checkpoint.origin(), "size": size, "root": checkpoint.root().to_base64() },
            "epochs": self.audit.records.all.len(),
            "self_audit": true,
            "worth_to_third_parties": "0",
        })
    }

    fn text(&self) -> String {
        let c = &self.certificate;
        let [clean, wrong, unanswered] = self.counts();
        let checkpoint = self.audit.entries.checkpoint.unverified();
        let mut text = format!("{}\n\n", self.statement());
        let mut rows = Table::new(2);
        rows.row(["Log", checkpoint.origin()]);
        rows.row([
            "Answers",
            &format!(
                "{} drawn from, {} newer ones not yet",
                c.answers,
                checkpoint.size() - c.answers
            ),
        ]);
        let epochs = self.audit.records.all.len();
        rows.row([
            "Audits",
            &format!(
                "{}: {clean} clean, {wrong} wrong, {unanswered} unanswered; {epochs} draws",
                c.audits
            ),
        ]);
        if c.uncovered > 0 {
            rows.row([
                "Not covered",
                &format!(
                    "{} answers had no threshold: all are taken for wrong",
                    c.uncovered
                ),
            ]);
        }
        text.push_str(&rows.render(""));
        if unanswered > 0 {
            text.push_str("\nWhat nobody could open counts as wrong until somebody does: carat audit sample\n");
        }
        let _ = writeln!(
            text,
            "\nIt rests on: a log that holds every answer; thresholds that were signed before the beacon; a beacon that the node\ncould not foresee; exact replay. It says nothing about whether the model is right.\n{SELF_AUDIT}"
        );
        text
    }
}

fn lower(sentence: &str) -> String {
    let mut chars = sentence.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

/// A share in percent, rounded up at three digits, so that the sentence never claims too much.
fn percent(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return "0%".to_string();
    }
    // Thousandths of a percent.
    let units = (u128::from(part) * 100_000).div_ceil(u128::from(whole));
    let text = format!("{}.{:03}", units / 1000, units % 1000);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}
