//! Attestation evidence of the key that signs receipts: fetched at the start and on a timer, verified here like a stranger's,
//! attached to the receipts whose plans ask for it.
//!
//! Where it comes from is the configuration's `[attestation]`: this machine's hardware, a command, a file, or the simulator,
//! which is worth nothing and says so.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use carat_policy::environment::{Calibration, Environment};
use carat_receipt::evidence::{Attestation, Body};
use carat_receipt::{Digest, Evidence, Label, PublicKey};
use carat_tee::attest::{self, ConfigFs, StdFiles};
use carat_tee::package::Verdict;
use carat_tee::sim::Simulator;
use carat_tee::{Kind, Package, Policy, binding};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::from_base64;
use crate::exit::{Exit, Failure};
use crate::files;

/// Where configfs-tsm is.
const TSM: &str = "/sys/kernel/config/tsm/report";
/// Largest file of evidence, and largest output of a command.
const MAX_SOURCE: u64 = 1 << 20;
/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Seconds between two verifications of evidence that is offered.
const LOOK: u64 = 10;
/// Seconds after which evidence that could not be had is asked for again.
const AGAIN: u64 = 30;

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where evidence comes from; without one none is offered.
    pub source: Option<Source>,
    /// Program and arguments of a source that is a command. It gets the question as JSON on standard input.
    pub command: Vec<String>,
    /// The file of a source that is a file.
    pub file: Option<PathBuf>,
    /// Seconds after which fresh evidence is fetched.
    pub refresh_seconds: u64,
    /// Which receipts carry it.
    pub attach: Attach,
    /// The policy that the own evidence must pass: `production`, `strict`, or a file.
    pub policy: String,
}

/// Where evidence comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// This machine's own (TDX or SEV-SNP, by configfs-tsm).
    Hardware,
    /// A command that prints it.
    Command,
    /// A file that somebody else renews.
    File,
    /// A simulator. Worth nothing, for tests.
    Simulated,
}

/// Which receipts carry the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// Those whose plan is `tee+audit`.
    Plan,
    /// All of them.
    All,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source: None,
            command: Vec::new(),
            file: None,
            refresh_seconds: 3600,
            attach: Attach::Plan,
            policy: "production".into(),
        }
    }
}

impl Config {
    /// Paths start at the configuration file.
    pub(crate) fn place(&mut self, base: &Path) {
        if let Some(file) = &mut self.file {
            *file = base.join(&*file);
        }
    }

    /// The rules that span keys.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let refuse = |message: &str| Err(Failure::new(Exit::Usage, message));
        let (command, file) = (!self.command.is_empty(), self.file.is_some());
        match self.source {
            Some(Source::Command) if !command => {
                refuse("attestation.source = \"command\" needs attestation.command")
            }
            Some(Source::File) if !file => {
                refuse("attestation.source = \"file\" needs attestation.file")
            }
            source if command && source != Some(Source::Command) => {
                refuse("attestation.command goes with attestation.source = \"command\"")
            }
            source if file && source != Some(Source::File) => {
                refuse("attestation.file goes with attestation.source = \"file\"")
            }
            None if self.attach == Attach::All => {
                refuse("attestation.attach = \"all\" needs attestation.source")
            }
            _ if self.refresh_seconds == 0 => {
                refuse("attestation.refresh_seconds is 0; it is at least 1")
            }
            _ => Ok(()),
        }
    }

    /// The policy that the own evidence must pass.
    pub(crate) fn policy(&self) -> Result<Policy, Failure> {
        if let Ok(preset) = Policy::preset(&self.policy) {
            return Ok(preset);
        }
        let path = Path::new(&self.policy);
        let limit = carat_tee::policy::MAX_POLICY_BYTES as u64;
        let text = files::read_text(path, "a policy for attestation", limit)?;
        Policy::from_toml(&text)
            .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))
    }
}

/// What the measured code was started with: this release and its numerics.
pub fn configuration() -> Digest {
    Digest::of(
        "carat/tee-configuration/v1",
        &[
            env!("CARGO_PKG_VERSION").as_bytes(),
            crate::issue::NUMERICS.as_bytes(),
        ],
    )
}

/// Evidence of a simulator that is made for it.
pub fn simulated(key: &PublicKey, nonce: &[u8], now: u64) -> Result<Package, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|_| Failure::new(Exit::Io, "the operating system gave no randomness"))?;
    let devices = attest::devices(Path::new("/"));
    let simulator = Simulator::start(&seed, now, &devices).map_err(Failure::of(Exit::Usage))?;
    let configuration = configuration();
    let bound = binding::bind(&binding::bind0(key, nonce, &configuration), &[]);
    let evidence = simulator
        .nitro(&bound, key.as_bytes(), nonce, now)
        .ok_or_else(|| Failure::new(Exit::Internal, "the simulator made no document"))?;
    Ok(Package {
        kind: Kind::Nitro,
        simulated: true,
        evidence,
        nonce: nonce.to_vec(),
        configuration,
        certs: Vec::new(),
        chain: Vec::new(),
        collateral: None,
        gpus: Vec::new(),
    })
}

/// Evidence of this machine's hardware, which passed the verifier here.
pub fn hardware(
    key: &PublicKey,
    nonce: &[u8],
    policy: &Policy,
    now: u64,
) -> Result<Package, Failure> {
    let unable = |error: &dyn std::fmt::Display| {
        let message = format!("{error}; `carat tee doctor` says what this machine could attest");
        Failure::new(Exit::NotAvailable, message)
    };
    let name = format!("carat-{}", std::process::id());
    let attester =
        ConfigFs::open(StdFiles, Path::new(TSM), &name).map_err(|error| unable(&error))?;
    attest::offer(&attester, key, nonce, &configuration(), None, policy, now)
        .map_err(|error| unable(&error))
}

/// What a command prints, or a file holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    kind: String,
    /// Base64, like all bytes here.
    evidence: String,
    /// Hexadecimal; the one that was asked for where it is left out.
    nonce: Option<String>,
    #[serde(default)]
    certs: Vec<String>,
    #[serde(default)]
    chain: Vec<String>,
    collateral: Option<String>,
}

fn given(text: &[u8], asked: &[u8]) -> Result<Package, String> {
    let given: Given = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let bytes =
        |name: &str, text: &String| from_base64(text).ok_or_else(|| format!("{name} is no base64"));
    let all = |name: &str, texts: &[String]| {
        texts
            .iter()
            .map(|text| bytes(name, text))
            .collect::<Result<Vec<_>, _>>()
    };
    let nonce = match &given.nonce {
        None => asked.to_vec(),
        Some(text) => hex::decode(text)
            .ok()
            .filter(|nonce| nonce.len() <= carat_tee::package::MAX_NONCE)
            .ok_or("its nonce is not 0 to 64 bytes in hexadecimal")?,
    };
    Ok(Package {
        kind: given.kind.parse().map_err(|error| format!("{error}"))?,
        simulated: false,
        evidence: bytes("evidence", &given.evidence)?,
        nonce,
        configuration: configuration(),
        certs: all("a certificate", &given.certs)?,
        chain: all("a certificate of the chain", &given.chain)?,
        collateral: given
            .collateral
            .as_ref()
            .map(|text| bytes("the collateral", text))
            .transpose()?,
        gpus: Vec::new(),
    })
}

/// Runs the command with the question on its standard input.
fn run(command: &[String], question: &str) -> Result<Vec<u8>, String> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        // A command that does not read its question is free not to.
        let _ = input.write_all(question.as_bytes());
    }
    let output = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        match output.map(|output| output.take(MAX_SOURCE + 1).read_to_end(&mut bytes)) {
            Some(Ok(_)) => Ok(bytes),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("it has no output".to_string()),
        }
    });
    let until = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
            other => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(match other {
                    Err(error) => format!("{program}: {error}"),
                    _ => format!("{program} took more than {} s", PATIENCE.as_secs()),
                });
            }
        }
    };
    let bytes = reader
        .join()
        .map_err(|_| format!("{program}: its output could not be read"))??;
    // It may have ended because nobody read on.
    if bytes.len() as u64 > MAX_SOURCE {
        return Err(format!("{program} printed more than {MAX_SOURCE} bytes"));
    }
    if !status.success() {
        return Err(format!("{program} ended with {status}"));
    }
    Ok(bytes)
}

/// Evidence that is offered.
#[derive(Debug, Clone)]
struct Offered {
    package: Package,
    attestation: Attestation,
    fetched_at: u64,
    verified_at: u64,
    /// What fetching it took, for the planner.
    cost: Calibration,
}

/// The evidence of this node's key.
#[derive(Debug)]
pub struct Attesting {
    config: Config,
    policy: Policy,
    key: PublicKey,
    offered: RwLock<Option<Offered>>,
    /// When evidence was last asked for in vain.
    failed_at: Mutex<Option<u64>>,
}

impl Attesting {
    /// Fetches the first evidence.
    ///
    /// # Errors
    /// A source is configured and gives nothing that verifies.
    pub fn start(config: Config, key: PublicKey, now: u64) -> Result<Self, Failure> {
        let attesting = Self {
            policy: config.policy()?,
            config,
            key,
            offered: RwLock::new(None),
            failed_at: Mutex::new(None),
        };
        if attesting.config.source.is_some() {
            attesting.fetch(now)?;
        }
        Ok(attesting)
    }

    fn read(&self) -> Option<Offered> {
        let offered = self.offered.read();
        offered.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, offered: Option<Offered>) {
        *self.offered.write().unwrap_or_else(PoisonError::into_inner) = offered;
    }

    /// Whether evidence passes the verifier now.
    fn verify(&self, package: &Package, now: u64) -> Result<(), Failure> {
        let refused = |message: String| {
            let message =
                format!("this node's own evidence does not verify, so none is offered: {message}");
            Failure::new(Exit::NotAvailable, message)
        };
        match package.verify(&self.key, &self.policy, now) {
            Ok(Verdict::Hardware { .. }) => Ok(()),
            Ok(Verdict::Simulated(_)) if self.config.source == Some(Source::Simulated) => Ok(()),
            Ok(Verdict::Simulated(_)) => Err(refused("it is simulated".into())),
            Err(rejected) => Err(refused(rejected.to_string())),
        }
    }

    /// Fetches evidence over a fresh nonce, verifies it, and offers it.
    fn fetch(&self, now: u64) -> Result<(), Failure> {
        let started = Instant::now();
        let nonce = carat_receipt::commit::random_id().map_err(Failure::of(Exit::Io))?;
        let unable =
            |message: String| Failure::new(Exit::NotAvailable, format!("attestation: {message}"));
        let package = match self.config.source {
            None => return Ok(()),
            Some(Source::Hardware) => hardware(&self.key, &nonce, &self.policy, now)?,
            Some(Source::Simulated) => simulated(&self.key, &nonce, now)?,
            Some(Source::File) => {
                let path = self.config.file.as_deref().unwrap_or(Path::new(""));
                let bytes = files::read_capped(path, "evidence", MAX_SOURCE)?;
                given(&bytes, &[])
                    .map_err(|error| unable(format!("{}: {error}", path.display())))?
            }
            Some(Source::Command) => {
                let configuration = configuration();
                let bound = binding::bind(&binding::bind0(&self.key, &nonce, &configuration), &[]);
                let question = json!({
                    "binding": hex::encode(bound),
                    "key": hex::encode(self.key.as_bytes()),
                    "nonce": hex::encode(nonce),
                    "configuration": configuration,
                });
                run(&self.config.command, &question.to_string())
                    .and_then(|output| given(&output, &nonce))
                    .map_err(unable)?
            }
        };
        self.verify(&package, now)?;
        let micros = u64::try_from(started.elapsed().as_micros())
            .unwrap_or(u64::MAX)
            .max(1);
        let offered = Offered {
            attestation: package.write().map_err(Failure::of(Exit::NotAvailable))?,
            fetched_at: now,
            verified_at: now,
            cost: Calibration {
                backend: Label::new(format!("tee/{}", package.kind))
                    .map_err(Failure::of(Exit::Internal))?,
                mean_cpu_micros: micros,
                p50_micros: micros,
                p99_micros: micros,
                count: 1,
                measured_at: now,
            },
            package,
        };
        self.replace(Some(offered));
        Ok(())
    }

    /// Renews what is old, and withdraws what does not verify any more. Called every second.
    pub(crate) fn look(&self, now: u64) -> Result<(), Failure> {
        if self.config.source.is_none() {
            return Ok(());
        }
        let mut old = true;
        if let Some(mut offered) = self.read() {
            // A clock that went back makes it old as well.
            old = now.abs_diff(offered.fetched_at) >= self.config.refresh_seconds;
            if now.abs_diff(offered.verified_at) >= LOOK {
                match self.verify(&offered.package, now) {
                    Ok(()) => {
                        offered.verified_at = now;
                        self.replace(Some(offered));
                    }
                    Err(failure) => {
                        tracing::error!(error = failure.message, "attestation is withdrawn");
                        self.replace(None);
                        old = true;
                    }
                }
            }
        }
        let mut failed_at = self
            .failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !old || failed_at.is_some_and(|at| now.abs_diff(at) < AGAIN) {
            return Ok(());
        }
        let fetched = self.fetch(now);
        *failed_at = fetched.is_err().then_some(now);
        fetched
    }

    /// Whether evidence is configured at all.
    pub(crate) fn has_source(&self) -> bool {
        self.config.source.is_some()
    }

    /// Whether all receipts carry it.
    pub(crate) fn on_all(&self) -> bool {
        self.config.attach == Attach::All
    }

    /// The evidence for a receipt. `None`: there is none now.
    pub(crate) fn evidence(&self, receipt: Digest) -> Option<Evidence> {
        Some(Evidence {
            statement: receipt,
            body: Body::Attestation(self.read()?.attestation),
        })
    }

    /// What the planner may buy: the enclave of the environment file, if its vendor's evidence is offered now. A simulated one
    /// is never supply.
    pub(crate) fn supply(&self, environment: &mut Environment) {
        let Some(enclave) = &mut environment.enclave else {
            return;
        };
        let offered = self
            .read()
            .filter(|offered| offered.package.kind.vendor() == enclave.vendor.as_str());
        match offered {
            Some(offered) => {
                enclave.simulated |= offered.package.simulated;
                enclave.attest.get_or_insert(offered.cost);
            }
            None => environment.enclave = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use carat_policy::environment::{Audits, Bond, Enclave};
    use carat_policy::plan::Obstacle;
    use carat_policy::policy_file::Policy as RulesFile;
    use carat_policy::{Detection, Fraction, Micros, Price, Rung};
    use carat_receipt::{Currency, SigningKey};

    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn key() -> PublicKey {
        SigningKey::from_secret(&[5; 32]).public()
    }

    fn config(source: Source) -> Config {
        Config {
            source: Some(source),
            ..Config::default()
        }
    }

    #[test]
    fn evidence_is_renewed_before_it_expires_and_withdrawn_when_it_does() {
        let attesting = Attesting::start(config(Source::Simulated), key(), NOW).expect("starts");
        let id = Digest::sha256(b"receipt");
        let first = attesting.evidence(id).expect("offered");
        assert_eq!(first.statement, id);
        attesting.look(NOW + 20).expect("nothing to do");
        assert_eq!(attesting.evidence(id).as_ref(), Some(&first));
        attesting.look(NOW + 3600).expect("renewed");
        let second = attesting.evidence(id).expect("offered");
        assert_ne!(second, first);
        // Certificates of the simulator live for three hours: after a pause of five it is withdrawn, and made anew.
        let later = NOW + 5 * 3600;
        let package = attesting.read().expect("offered").package;
        assert!(attesting.verify(&package, later).is_err());
        attesting.look(later).expect("made anew");
        let third = attesting.read().expect("offered").package;
        attesting.verify(&third, later).expect("verifies");
        // A clock that goes back does not leave evidence from the future.
        attesting.look(NOW).expect("made anew");
        let back = attesting.read().expect("offered").package;
        attesting.verify(&back, NOW).expect("verifies");
    }

    fn shell(script: &str) -> Config {
        Config {
            command: ["/bin/sh", "-c", script].map(String::from).into(),
            ..config(Source::Command)
        }
    }

    #[test]
    fn what_a_source_gives_must_verify_as_hardware() {
        let refused = |config: Config| {
            let failure = Attesting::start(config, key(), NOW).expect_err("refused");
            assert_eq!(failure.exit, Exit::NotAvailable, "{}", failure.message);
            failure.message
        };
        assert!(refused(shell("exit 3")).contains("exit status: 3"));
        assert!(refused(shell("echo nonsense")).contains("attestation"));
        assert!(refused(shell("yes | head -c 2000000")).contains("more than"));
        let missing = Config {
            command: vec!["/no/such/program".into()],
            ..config(Source::Command)
        };
        assert!(refused(missing).contains("/no/such/program"));
        // Evidence of the simulator, as a command would pass it off for a machine's own.
        let package = simulated(&key(), &[1; 16], NOW).expect("simulated");
        let json = json!({
            "kind": "nitro",
            "nonce": hex::encode([1; 16]),
            "evidence": crate::call::base64(&package.evidence),
        });
        let said = refused(shell(&format!("cat > /dev/null; echo '{json}'")));
        assert!(said.contains("does not verify"), "{said}");
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("evidence.json");
        std::fs::write(&path, json.to_string()).expect("written");
        let file = Config {
            file: Some(path),
            ..config(Source::File)
        };
        assert!(refused(file).contains("does not verify"));
        // The question reaches the command.
        let asked = dir.path().join("asked");
        let _ = refused(shell(&format!("cat > {}", asked.display())));
        let asked = std::fs::read_to_string(asked).expect("asked");
        assert!(asked.contains(&hex::encode(key().as_bytes())), "{asked}");
    }

    fn environment(vendor: &str) -> Environment {
        let usd = Currency::new("USD").expect("a currency");
        let measured = |micros| Calibration {
            backend: Label::new("cpu").expect("a name"),
            mean_cpu_micros: micros,
            p50_micros: micros,
            p99_micros: micros,
            count: 1,
            measured_at: 1,
        };
        Environment {
            execute: Some(measured(100)),
            audits: Some(Audits {
                independent: 1,
                fee: Price::ZERO,
                detection: Detection::PERFECT,
                window_secs: 60,
            }),
            bond: Some(Bond {
                name: Label::new("b").expect("a name"),
                allocated: Micros(1_000_000_000),
                withheld: Micros::ZERO,
                open: Micros::ZERO,
                clawback: true,
                joint_forfeiture: true,
            }),
            enclave: Some(Enclave {
                vendor: Label::new(vendor).expect("a name"),
                break_cost: Micros(1_000_000_000),
                simulated: false,
                attest: None,
            }),
            kappa: Fraction::from_billionths(800_000_000).expect("below one"),
            ..Environment::bare(usd, Price(1), 1)
        }
    }

    /// A plan that needs an enclave is bought where evidence of its vendor is offered, and refused where it is not. The evidence
    /// here is a stand-in that was never verified: nothing on this machine can give a real one.
    #[test]
    fn a_plan_that_needs_an_enclave_is_refused_where_nothing_attests() {
        let text = "currency = \"USD\"\n[[consequence]]\nname = \"a\"\nwhen = 'true'\nvalue = '5.0'\ntiming = \"before_settle\"\n[[require]]\nrung = \"tee\"\nwhen = 'true'\n";
        let rules = RulesFile::parse(text).expect("a policy");
        let facts = carat_policy::facts::Facts::new();
        let planned = |attesting: &Attesting, vendor: &str| {
            let mut environment = environment(vendor);
            attesting.supply(&mut environment);
            crate::planned::weigh(&rules, &facts, &environment)
        };
        let silent = Attesting::start(Config::default(), key(), NOW).expect("starts");
        let refused = planned(&silent, "aws");
        let refusal = refused.refusal().expect("refused");
        let why = refusal
            .dropped
            .iter()
            .find(|(rung, _)| *rung == Rung::TeeAudit);
        assert!(matches!(why, Some((_, Obstacle::NoSupply(_)))), "{why:?}");
        // Simulated evidence is evidence of nothing.
        let simulating = Attesting::start(config(Source::Simulated), key(), NOW).expect("starts");
        assert!(planned(&simulating, "aws").refused().is_some());
        let stand_in = simulating.read().expect("offered");
        simulating.replace(Some(Offered {
            package: Package {
                simulated: false,
                ..stand_in.package.clone()
            },
            ..stand_in
        }));
        assert!(planned(&simulating, "aws").buys(Rung::TeeAudit));
        assert!(
            planned(&simulating, "amd").refused().is_some(),
            "another vendor"
        );
        // The next look withdraws what does not verify.
        simulating.replace(simulating.read().map(|offered| Offered {
            verified_at: 0,
            package: Package {
                evidence: vec![0],
                ..offered.package
            },
            ..offered
        }));
        simulating.look(NOW).expect("made anew");
        assert!(simulating.read().expect("offered").package.simulated);
    }

    #[test]
    fn keys_that_do_not_go_together_are_refused() {
        let check = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check()
        };
        assert!(check(|_| {}).is_ok());
        for change in [
            |config: &mut Config| config.source = Some(Source::Command),
            |config: &mut Config| config.source = Some(Source::File),
            |config: &mut Config| config.command = vec!["x".into()],
            |config: &mut Config| config.file = Some("x".into()),
            |config: &mut Config| config.attach = Attach::All,
            |config: &mut Config| config.refresh_seconds = 0,
        ] {
            assert_eq!(check(change).expect_err("refused").exit, Exit::Usage);
        }
    }
}
