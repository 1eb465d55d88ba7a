//! `carat simulate`: adversaries against auditing rules, on anybody's traffic.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use carat_policy::certificate::Alpha;
use carat_policy::hazard::Detection;
use carat_policy::money::Micros;
use carat_policy::probability::Fraction;
use carat_policy::simulate::script::{Decisions, MAX_SCRIPT_BYTES, Script};
use carat_policy::simulate::values::MAX_REQUESTS;
use carat_policy::simulate::{
    Adversary, Agent, Auditing, Offer, Outcome as Game, Setting, Timing, Traffic, Values, agents,
    frontier, play, plot,
};
use serde_json::{Value, json};

use super::{Context, Outcome, parse};
use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::output::{Answer, Progress};
use crate::render::Table;

/// Largest CSV of values or decisions.
const MAX_CSV_BYTES: u64 = 512 << 20;
/// Requests that the curve of spend against guarantee is computed from.
const CURVE: usize = 200_000;

/// Let adversaries play against auditing rules: what does cheating pay, and what does checking cost?
///
/// The rule `matched` is the planner's own. Profits are expectations over the coins; a certificate comes from one game with
/// every coin. One unit of spend is one inference: that is what auditing an answer by replay costs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat simulate\n  carat simulate --values pareto:1.5 --auditing uniform:0.01 --adversary value-hunter\n  carat simulate --values csv:payments.csv --adversary all\n  carat simulate --adversary thief.txt --timing after-use --json\n  carat simulate --values lognormal:2 --svg spend.svg\n\nAdversaries: honest, lazy, value-hunter, burst, exit-scam, sneaky, colluding-auditor, copy-cat-auditor,\nroot-grinding, root-grinding-blind, learning, best-response, all; or a file: a script, or a CSV of decisions.\ndocs/simulate.md describes both formats."
)]
pub(super) struct Args {
    /// What rides on the requests: lognormal:SIGMA, pareto:ALPHA, constant, or csv:FILE.
    #[arg(long, default_value = "lognormal:2")]
    values: String,
    /// The rule: matched, uniform:SHARE, two-tier, none, or naive (broken on purpose).
    #[arg(long, default_value = "matched", value_parser = Auditing::parse)]
    auditing: Auditing,
    /// Who plays: a name, `all`, or a file.
    #[arg(long, value_name = "NAME|FILE", default_value = "best-response")]
    adversary: String,
    /// Number of requests [default: 100000, or as many as the CSV has].
    #[arg(long, value_name = "N")]
    requests: Option<usize>,
    /// Seed of all dice. The same seed gives the same output on every machine.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// When gains are final: before-settle (a conviction takes back the window's gains) or after-use (it takes the bond alone).
    #[arg(long, default_value = "before-settle", value_parser = timing)]
    timing: Timing,
    /// What a conviction forfeits, in units of value [default: 3 times the 99.9th percentile of the values].
    #[arg(long, value_name = "UNITS", value_parser = units)]
    bond: Option<Micros>,
    /// After use: the share of the bond that may be at risk at a time.
    #[arg(long, default_value = "0.8", value_parser = parse::<Fraction>)]
    kappa: Fraction,
    /// Requests whose audits are resolved together.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// For colluding-auditor and copy-cat-auditor: the share of audits that come to nothing.
    #[arg(long, default_value_t = agents::DEFAULT_EVASION, value_parser = share)]
    evasion: f64,
    /// The share of audits that the rule believes to come to nothing [default: the adversary's true share].
    #[arg(long, value_name = "SHARE", value_parser = parse::<Fraction>)]
    assume_evasion: Option<Fraction>,
    /// Break the rule: a conviction leaves the other gains of the window.
    #[arg(long)]
    no_joint_forfeiture: bool,
    /// Do not cap values at their 99.9th percentile.
    #[arg(long)]
    uncapped: bool,
    /// Price of a proof before use, in inferences.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    proof_cost: u32,
    /// Games with coins for the sampled averages.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    runs: u32,
    /// Write the plot of spend against guarantee for uniform, two-tier and matched auditing.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn timing(text: &str) -> Result<Timing, String> {
    match text {
        "before-settle" => Ok(Timing::BeforeSettle),
        "after-use" => Ok(Timing::AfterUse),
        _ => Err("timing is before-settle or after-use".to_string()),
    }
}

fn units(text: &str) -> Result<Micros, String> {
    let units = text
        .parse::<f64>()
        .ok()
        .filter(|units| (1e-6..=1e12).contains(units));
    match units {
        Some(units) => Ok(Micros((units * 1e6) as u64)),
        None => Err("a number from 0.000001 to 1e12".to_string()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "a share from 0 to 1".to_string())
}

/// Who plays, ready for a game.
struct Player {
    name: String,
    adversary: Box<dyn Adversary>,
    breaks: Option<String>,
}

/// One game and what came of it.
struct Played {
    name: String,
    breaks: Option<String>,
    setting: Setting,
    offers: Vec<Offer>,
    game: Game,
    adversary: Box<dyn Adversary>,
}

pub(super) fn run(args: Args, _context: &Context) -> Outcome {
    if let Some(path) = &args.svg {
        files::check_writable(path)?;
    }
    let (name, values) = read_values(&args.values)?;
    let requests = match (args.requests, &values) {
        (Some(requests), _) => requests,
        (None, Values::Given(given)) => given.len(),
        (None, _) => 100_000,
    };
    if !(1..=MAX_REQUESTS).contains(&requests) {
        let message = format!("--requests {requests}: from 1 to {MAX_REQUESTS}");
        return Err(Failure::new(Exit::Usage, message));
    }
    let progress = Progress::start("drawing the traffic");
    let traffic = values.traffic(&name, requests, args.seed, !args.uncapped);
    if traffic.v999 == Micros::ZERO && (!args.uncapped || args.bond.is_none()) {
        return Err(Failure::new(
            Exit::Input,
            format!(
                "{name}: of a thousand requests less than one is worth anything, so the 99.9th percentile, which caps values and gives the bond, is nothing; leave out requests that are worth nothing, or use --uncapped with --bond"
            ),
        ));
    }
    let bond = match args.bond {
        Some(bond) => bond,
        None => Micros(traffic.v999.0.max(1).saturating_mul(3)),
    };
    let names: Vec<&str> = if args.adversary == "all" {
        Agent::NAMES.to_vec()
    } else {
        vec![&args.adversary]
    };
    let mut played: Vec<Played> = Vec::new();
    for name in names {
        progress.say(format!("playing {name}"));
        let player = player(name, &args)?;
        let one = play_one(player, &args, &traffic, bond)?;
        // A game is as large as its traffic: of all, only the figures are kept and the best game.
        played.push(one);
        if played.len() > 1 && args.adversary == "all" {
            trim(&mut played);
        }
    }
    progress.say("letting coins fall");
    let best = best_of(&played);
    let report = Report::new(&args, &traffic, bond, &played[best]);
    let curve = match &args.svg {
        Some(_) => {
            progress.say("drawing the curve");
            let sample = values.traffic(&name, requests.min(CURVE), args.seed, !args.uncapped);
            Some(frontier::frontier(&sample))
        }
        None => None,
    };
    if let (Some(path), Some(curve)) = (&args.svg, &curve) {
        files::write_atomic(path, plot::svg(&name, curve).as_bytes(), Mode::Shared)?;
    }
    drop(progress);
    let mut json = report.json();
    if args.adversary == "all" {
        json["agents"] = played.iter().map(|one| agent_json(one, bond)).collect();
    }
    if let (Some(path), Some(curve)) = (&args.svg, &curve) {
        json["svg"] = json!(path);
        json["frontier"] = curve.iter().map(point_json).collect();
    }
    let mut text = report.text();
    if args.adversary == "all" {
        text.push_str(&agents_text(&played, bond));
    }
    if let Some(path) = &args.svg {
        let _ = writeln!(
            text,
            "\nPlot of spend against guarantee: {}",
            path.display()
        );
    }
    Ok((Answer { text, json }, Exit::Good))
}

fn read_values(text: &str) -> Result<(String, Values), Failure> {
    let Some(file) = text.strip_prefix("csv:") else {
        let values = Values::parse(text).map_err(Failure::of(Exit::Usage))?;
        return Ok((text.to_string(), values));
    };
    let path = Path::new(file);
    let content = files::read_text(path, "a CSV of values", MAX_CSV_BYTES)?;
    let values = Values::from_csv(&content)
        .map_err(|error| Failure::new(Exit::Input, format!("{file}: {error}")))?;
    let name = path
        .file_name()
        .map_or(file.into(), |name| name.to_string_lossy());
    Ok((name.into_owned(), values))
}

fn player(name: &str, args: &Args) -> Result<Player, Failure> {
    if let Some(agent) = Agent::named(name, args.evasion) {
        return Ok(Player {
            name: name.to_string(),
            breaks: agent.breaks(),
            adversary: Box::new(agent.player(args.seed)),
        });
    }
    let path = Path::new(name);
    if !path.exists() {
        let message = format!(
            "{name} is neither a file nor an adversary; the built-in ones are all, {}",
            Agent::NAMES.join(", ")
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    let wrong =
        |error: &dyn ToString| Failure::new(Exit::Input, format!("{name}: {}", error.to_string()));
    let csv = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let limit = if csv {
        MAX_CSV_BYTES
    } else {
        MAX_SCRIPT_BYTES as u64
    };
    let text = files::read_text(path, "an adversary", limit)?;
    let adversary: Box<dyn Adversary> = if csv {
        Box::new(Decisions::from_csv(&text, args.seed).map_err(|error| wrong(&error))?)
    } else {
        Box::new(Script::parse(&text, args.seed).map_err(|error| wrong(&error))?)
    };
    Ok(Player {
        name: name.to_string(),
        adversary,
        breaks: None,
    })
}

fn play_one(
    mut player: Player,
    args: &Args,
    traffic: &Traffic,
    bond: Micros,
) -> Result<Played, Failure> {
    let assumed = match args.assume_evasion {
        Some(assumed) => assumed,
        None => Fraction::from_billionths((player.adversary.evasion() * 1e9).ceil() as u32)
            .ok_or_else(|| Failure::new(Exit::Usage, "a share from 0 to 1"))?,
    };
    let setting = Setting {
        auditing: args.auditing.clone(),
        timing: args.timing,
        bond,
        kappa: args.kappa,
        window: args.window as usize,
        assumed: Detection {
            colluding: assumed,
            ..Detection::PERFECT
        },
        joint_forfeiture: !args.no_joint_forfeiture,
    };
    let offers = setting.offers(&traffic.values);
    let game = play(
        traffic,
        &setting,
        &offers,
        player.adversary.as_mut(),
        args.seed,
    );
    Ok(Played {
        name: player.name,
        breaks: player.breaks,
        setting,
        offers,
        game,
        adversary: player.adversary,
    })
}

/// The most profitable game among those that break no assumption; the first of equals.
fn best_of(played: &[Played]) -> usize {
    let allowed = |i: &usize| played.len() == 1 || played[*i].breaks.is_none();
    (0..played.len())
        .filter(allowed)
        .reduce(|a, b| {
            if played[b].game.profit > played[a].game.profit {
                b
            } else {
                a
            }
        })
        .unwrap_or(0)
}

/// Drops the bulk of all games but the best one.
fn trim(played: &mut [Played]) {
    let best = best_of(played);
    for (i, one) in played.iter_mut().enumerate() {
        if i != best {
            one.game.wrong = Vec::new();
            one.game.forget_path();
            one.offers = Vec::new();
        }
    }
}

struct Report<'a> {
    args: &'a Args,
    traffic: &'a Traffic,
    bond: f64,
    played: &'a Played,
    audit_rate: f64,
    proof_rate: f64,
    spend: f64,
    sampled: play::Sampled,
    served: play::Served,
    same: frontier::Point,
}

fn in_units(micros: Micros) -> f64 {
    micros.0 as f64 / 1e6
}

impl<'a> Report<'a> {
    fn new(args: &'a Args, traffic: &'a Traffic, bond: Micros, played: &'a Played) -> Self {
        let (audit_rate, proof_rate) = play::rates(&played.offers);
        let per_request = audit_rate + proof_rate * f64::from(args.proof_cost);
        let multiple = bond.0 as f64 / traffic.v999.0.max(1) as f64;
        Self {
            args,
            traffic,
            bond: in_units(bond),
            audit_rate,
            proof_rate,
            spend: per_request * traffic.values.len() as f64,
            sampled: play::sample(&played.game, &played.setting, args.runs, args.seed),
            served: play::serve(
                traffic,
                &played.setting,
                &played.offers,
                &played.game.wrong,
                played.adversary.as_ref(),
                Alpha::FIVE_PERCENT,
                args.seed,
            ),
            same: frontier::point(traffic, multiple),
            played,
        }
    }

    fn json(&self) -> Value {
        let game = &self.played.game;
        let certificate = &self.served.certificate;
        let average = |(mean, error): (f64, f64)| json!({ "mean": mean, "standard_error": error });
        json!({
            "values": self.traffic.name,
            "requests": self.traffic.values.len(),
            "seed": self.args.seed,
            "auditing": self.args.auditing_name(),
            "adversary": self.played.name,
            "timing": if self.args.timing == Timing::BeforeSettle { "before-settle" } else { "after-use" },
            "window": self.args.window,
            "bond": self.bond,
            "p999": in_units(self.traffic.v999),
            "audit_rate": self.audit_rate,
            "proof_rate": self.proof_rate,
            "spend": self.spend,
            "spend_per_request": self.spend / self.traffic.values.len() as f64,
            "same_guarantee": { "uniform": self.same.uniform, "two_tier": self.same.two_tier, "matched": self.same.matched },
            "adversary_profit": game.profit,
            "adversary_profit_over_bond": game.profit / self.bond,
            "chance_never_caught": game.survival,
            "k": self.bond,
            "realised_loss_over_k": game.loss / self.bond,
            "assumption_broken": self.played.breaks,
            "sampled": {
                "runs": self.sampled.runs,
                "adversary_profit": average(self.sampled.profit),
                "loss": average(self.sampled.loss),
            },
            "served": {
                "answers": self.served.answers,
                "audits": self.served.audits,
                "proofs": self.served.proofs,
                "wrong": self.served.wrong,
                "wrong_money": self.served.wrong_money,
                "convicted": self.served.convicted,
            },
            "certificate": {
                "confidence": 1.0 - f64::from(certificate.alpha.millionths()) / 1e6,
                "answers": certificate.answers,
                "uncovered": certificate.uncovered,
                "audits": certificate.audits,
                "detections": certificate.detections,
                "wrong_at_most": certificate.wrong_at_most,
                "wrong_share_at_most": certificate.wrong_share_at_most().to_f64(),
                "wrong_money_at_most": certificate.wrong_money_at_most as f64 / 1e6,
                "wrong_money_share_at_most": certificate.wrong_money_at_most as f64 / (certificate.money.max(1)) as f64,
                "statement": self.statement(),
            },
        })
    }

    fn statement(&self) -> String {
        let certificate = &self.served.certificate;
        format!(
            "with 95% confidence at most {} of {} answers were wrong, and at most {} of {} in value; {} audits, {} of them found something",
            certificate.wrong_at_most,
            certificate.answers,
            figure(certificate.wrong_money_at_most as f64 / 1e6),
            figure(certificate.money as f64 / 1e6),
            certificate.audits,
            certificate.detections,
        )
    }

    fn text(&self) -> String {
        let game = &self.played.game;
        let mut text = String::new();
        let mut rows = Table::new(2);
        rows.row([
            "Traffic",
            &format!(
                "{} requests, {}; 99.9th percentile {}",
                self.traffic.values.len(),
                self.traffic.name,
                figure(in_units(self.traffic.v999))
            ),
        ]);
        rows.row([
            "Rule",
            &format!("{}, bond {}", self.args.auditing_name(), figure(self.bond)),
        ]);
        rows.row([
            "Audited",
            &format!("{} of all answers", percent(self.audit_rate)),
        ]);
        if self.proof_rate > 0.0 {
            rows.row([
                "Proved",
                &format!("{} of all answers, before use", percent(self.proof_rate)),
            ]);
        }
        rows.row(["Spend", &format!("{} inferences", figure(self.spend))]);
        let paid = if game.profit > 1e-9 * self.bond {
            "CHEATING PAYS"
        } else if game.wrong.iter().any(|wrong| *wrong) {
            "cheating does not pay"
        } else {
            "it stays honest: nothing that it found pays"
        };
        rows.row([
            "Adversary",
            &format!(
                "{}: expects {} ({} bonds); {paid}",
                self.played.name,
                figure(game.profit),
                figure(game.profit / self.bond)
            ),
        ]);
        rows.row([
            "Loss",
            &format!(
                "{} of K = bond passes on average before the first detection",
                figure(game.loss / self.bond)
            ),
        ]);
        rows.row(["Certificate", &self.statement()]);
        text.push_str(&rows.render(""));
        if let Some(breaks) = &self.played.breaks {
            let _ = writeln!(text, "\nThis adversary breaks an assumption: {breaks}");
        }
        let same = &self.same;
        let gain = same.uniform / same.matched.max(1e-300);
        let verdict = if gain < 1.001 {
            "no gain: every request is worth the same".to_string()
        } else {
            format!(
                "matched needs {} times fewer audits than uniform",
                figure(gain)
            )
        };
        let _ = writeln!(
            text,
            "\nThe same guarantee costs: uniform {}, two tiers {}, matched {} ({verdict})",
            percent(same.uniform),
            percent(same.two_tier),
            percent(same.matched)
        );
        text
    }
}

impl Args {
    fn auditing_name(&self) -> String {
        let name = match &self.auditing {
            Auditing::None => "none".to_string(),
            Auditing::Uniform(share) => format!("uniform:{}", figure(share.to_f64())),
            Auditing::TwoTier => "two-tier".to_string(),
            Auditing::Matched => "matched".to_string(),
            Auditing::Naive => "naive".to_string(),
        };
        if self.no_joint_forfeiture {
            format!("{name} without joint forfeiture")
        } else {
            name
        }
    }
}

fn agent_json(one: &Played, bond: Micros) -> Value {
    json!({
        "adversary": one.name,
        "adversary_profit": one.game.profit,
        "adversary_profit_over_bond": one.game.profit / in_units(bond),
        "realised_loss_over_k": one.game.loss / in_units(bond),
        "chance_never_caught": one.game.survival,
        "assumption_broken": one.breaks,
    })
}

fn agents_text(played: &[Played], bond: Micros) -> String {
    let mut rows = Table::new(4);
    rows.row(["Adversary", "profit / bond", "loss / K", "never caught"]);
    for one in played {
        rows.row([
            one.name.clone(),
            figure(one.game.profit / in_units(bond)),
            figure(one.game.loss / in_units(bond)),
            percent(one.game.survival),
        ]);
    }
    let mut text = format!("\n{}", rows.render(""));
    for one in played {
        if let Some(breaks) = &one.breaks {
            let _ = writeln!(text, "\n{}: {breaks}", one.name);
        }
    }
    text
}

fn point_json(point: &frontier::Point) -> Value {
    json!({
        "cap": in_units(point.cap),
        "cap_over_p999": point.multiple,
        "uniform": point.uniform,
        "two_tier": point.two_tier,
        "matched": point.matched,
    })
}

/// A number with three significant digits.
fn figure(value: f64) -> String {
    if value == 0.0 {
        return "0".to_string();
    }
    let digits = value.abs().log10().floor() as i32;
    if digits >= 2 {
        format!("{value:.0}")
    } else {
        format!("{value:.*}", (2 - digits).clamp(0, 12) as usize)
    }
}

fn percent(share: f64) -> String {
    format!("{}%", figure(share * 100.0))
}
