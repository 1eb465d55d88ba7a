//! What can be bought here, at what cost: auditors, replicas, provers, enclaves, the bond, and calibration records.
//!
//! What is not in the environment is not supplied. A simulated enclave is never supply, an auditor that the operator
//! controls is never an auditor, and a cost that was never measured here is no cost.

use alloc::vec::Vec;

use carat_receipt::cbor::{DecodeError, MapWriter, Reader, Writer};
use carat_receipt::{Currency, Digest, Label};

use crate::hazard::Detection;
use crate::money::{Micros, Price};
use crate::probability::Fraction;

/// Domain of environment digests.
pub const ENVIRONMENT_DOMAIN: &str = "carat/environment/v1";
/// Largest encoded environment.
pub const MAX_ENVIRONMENT_BYTES: usize = 64 * 1024;

/// Everything that the planner knows about the place where a request is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The one currency of all prices and amounts.
    pub currency: Currency,
    /// Price of a CPU second: configuration, stated and dated.
    pub cpu_second: Price,
    /// When that price was stated, Unix seconds.
    pub cpu_second_as_of: u64,
    /// What running the Program once costs here.
    pub execute: Option<Calibration>,
    /// Auditors.
    pub audits: Option<Audits>,
    /// The bond.
    pub bond: Option<Bond>,
    /// The part of the stake that may be open at a time without clawback (T3).
    pub kappa: Fraction,
    /// Re-executors before use.
    pub replicas: Option<Replicas>,
    /// The prover.
    pub prover: Option<Prover>,
    /// The enclave.
    pub enclave: Option<Enclave>,
    /// What may still be spent on this answer, where somebody limits it beyond the policy's own budgets: what a tenant's
    /// budget has left. It only ever refuses a plan, so it is stated where it does and nowhere else.
    pub spendable: Option<Price>,
}

/// What was measured here for one Program, method and backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calibration {
    /// The backend that was measured, for example `cpu/avx512`.
    pub backend: Label,
    /// Mean CPU time in microseconds.
    pub mean_cpu_micros: u64,
    /// Median elapsed time in microseconds.
    pub p50_micros: u64,
    /// 99th percentile of elapsed time in microseconds; the largest where fewer than 100 were measured.
    pub p99_micros: u64,
    /// How many runs.
    pub count: u64,
    /// When, Unix seconds.
    pub measured_at: u64,
}

/// Auditors who re-execute what is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audits {
    /// How many auditors the operator does not control. None: the audits are self-audits, and worth nothing to others.
    pub independent: u64,
    /// What an audit costs beside the CPU time of a replay.
    pub fee: Price,
    /// Power, collusion, predictability.
    pub detection: Detection,
    /// Within how many seconds an audit is drawn and resolved: the exposure window.
    pub window_secs: u64,
}

/// What conviction takes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bond {
    /// Its name, as Statements refer to it.
    pub name: Label,
    /// S: allocated to this exposure and to no other.
    pub allocated: Micros,
    /// R: earnings withheld until audits are resolved.
    pub withheld: Micros,
    /// Gains of requests whose audits are not resolved yet.
    pub open: Micros,
    /// Gains can be taken back before settlement.
    pub clawback: bool,
    /// One conviction forfeits the bond and every pending gain (T2).
    pub joint_forfeiture: bool,
}

/// Re-executors who are drawn at random before the answer is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicas {
    /// How many can be drawn.
    pub available: u64,
    /// What a replay costs beside CPU time.
    pub fee: Price,
    /// f: probability that a drawn re-executor is corrupt.
    pub corrupt: Fraction,
    /// rho: probability of a fault that all share.
    pub shared_fault: Fraction,
    /// What reaching them adds to the time of a replay, in microseconds.
    pub round_trip_micros: u64,
}

/// A prover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prover {
    /// What proving costs here; `None` until it was measured.
    pub prove: Option<Calibration>,
    /// The most that relying parties rest on this software being right (`implementation`).
    pub cap: Option<Micros>,
    /// Within how many seconds a deferred proof is due, where such promises are made.
    pub deferred_secs: Option<u64>,
    /// Proofs shared between requests.
    pub batch: Option<Batch>,
}

/// Proofs shared between the requests of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// How many requests share a proof.
    pub size: u64,
    /// How long a batch is collected, in microseconds.
    pub window_micros: u64,
    /// What proving a whole batch costs.
    pub prove: Calibration,
}

/// An enclave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enclave {
    /// The vendor, as in the atom `vendor:NAME`.
    pub vendor: Label,
    /// B: the marginal cost of breaking this machine, which is counted once for each machine and window.
    pub break_cost: Micros,
    /// It is a simulator. Never supply.
    pub simulated: bool,
    /// What attesting adds; `None` until it was measured.
    pub attest: Option<Calibration>,
}

impl Environment {
    /// A place where nothing is supplied but a signature.
    pub fn bare(currency: Currency, cpu_second: Price, as_of: u64) -> Self {
        Self {
            currency,
            cpu_second,
            cpu_second_as_of: as_of,
            execute: None,
            audits: None,
            bond: None,
            #[allow(clippy::unwrap_used)] // a constant below one
            kappa: Fraction::from_billionths(800_000_000).unwrap(),
            replicas: None,
            prover: None,
            enclave: None,
            spendable: None,
        }
    }

    /// Names the environment: the digest that Statements carry.
    pub fn digest(&self) -> Digest {
        Digest::of(ENVIRONMENT_DOMAIN, &[&self.encode()])
    }

    /// Deterministic CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.put(0, |w| {
            w.text(ENVIRONMENT_DOMAIN);
        });
        map.put(1, |w| {
            w.text(self.currency.as_str());
        });
        uint(&mut map, 2, self.cpu_second.0);
        uint(&mut map, 3, self.cpu_second_as_of);
        uint(&mut map, 4, u64::from(self.kappa.billionths()));
        map.put_some(5, self.execute.as_ref(), |w, c| c.write(w));
        map.put_some(6, self.audits.as_ref(), |w, audits| {
            let mut m = MapWriter::new();
            uint(&mut m, 1, audits.independent);
            uint(&mut m, 2, audits.fee.0);
            uint(&mut m, 3, u64::from(audits.detection.power.billionths()));
            uint(
                &mut m,
                4,
                u64::from(audits.detection.colluding.billionths()),
            );
            uint(
                &mut m,
                5,
                u64::from(audits.detection.predictable.billionths()),
            );
            uint(&mut m, 6, audits.window_secs);
            m.finish(w);
        });
        map.put_some(7, self.bond.as_ref(), |w, bond| {
            let mut m = MapWriter::new();
            m.put(1, |w| {
                w.text(bond.name.as_str());
            });
            uint(&mut m, 2, bond.allocated.0);
            uint(&mut m, 3, bond.withheld.0);
            uint(&mut m, 4, bond.open.0);
            m.put(5, |w| {
                w.bool(bond.clawback);
            });
            m.put(6, |w| {
                w.bool(bond.joint_forfeiture);
            });
            m.finish(w);
        });
        map.put_some(8, self.replicas.as_ref(), |w, replicas| {
            let mut m = MapWriter::new();
            uint(&mut m, 1, replicas.available);
            uint(&mut m, 2, replicas.fee.0);
            uint(&mut m, 3, u64::from(replicas.corrupt.billionths()));
            uint(&mut m, 4, u64::from(replicas.shared_fault.billionths()));
            uint(&mut m, 5, replicas.round_trip_micros);
            m.finish(w);
        });
        map.put_some(9, self.prover.as_ref(), |w, prover| {
            let mut m = MapWriter::new();
            m.put_some(1, prover.prove.as_ref(), |w, c| c.write(w));
            m.put_some(2, prover.cap, |w, cap| {
                w.uint(cap.0);
            });
            m.put_some(3, prover.deferred_secs, |w, secs| {
                w.uint(secs);
            });
            m.put_some(4, prover.batch.as_ref(), |w, batch| {
                let mut m = MapWriter::new();
                uint(&mut m, 1, batch.size);
                uint(&mut m, 2, batch.window_micros);
                m.put(3, |w| batch.prove.write(w));
                m.finish(w);
            });
            m.finish(w);
        });
        map.put_some(10, self.enclave.as_ref(), |w, enclave| {
            let mut m = MapWriter::new();
            m.put(1, |w| {
                w.text(enclave.vendor.as_str());
            });
            uint(&mut m, 2, enclave.break_cost.0);
            m.put(3, |w| {
                w.bool(enclave.simulated);
            });
            m.put_some(4, enclave.attest.as_ref(), |w, c| c.write(w));
            m.finish(w);
        });
        map.put_some(11, self.spendable, |w, price| {
            w.uint(price.0);
        });
        let mut w = Writer::new();
        map.finish(&mut w);
        w.into_bytes()
    }

    /// Strict decoding: what this accepts encodes to the same bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_ENVIRONMENT_BYTES {
            let (len, max) = (bytes.len() as u64, MAX_ENVIRONMENT_BYTES as u64);
            return Err(DecodeError::Length {
                what: WHAT,
                len,
                min: 1,
                max,
            });
        }
        let r = &mut Reader::new(bytes);
        let mut map = r.int_map(WHAT, 12)?;
        let (mut kind, mut currency, mut cpu_second, mut as_of, mut kappa) =
            (None, None, None, None, None);
        let (mut execute, mut audits, mut bond, mut replicas, mut prover, mut enclave) =
            (None, None, None, None, None, None);
        let mut spendable = None;
        while let Some(key) = map.next_key(r)? {
            match key {
                0 => kind = Some(r.text(WHAT, 1, 64)?),
                1 => {
                    currency = Some(
                        Currency::new(r.text(WHAT, 3, 3)?)
                            .map_err(|_| bad("a currency is three capital letters"))?,
                    )
                }
                2 => cpu_second = Some(Price(r.uint(WHAT)?)),
                3 => as_of = Some(r.uint(WHAT)?),
                4 => kappa = Some(fraction(r)?),
                5 => execute = Some(Calibration::read(r)?),
                6 => audits = Some(read_audits(r)?),
                7 => bond = Some(read_bond(r)?),
                8 => replicas = Some(read_replicas(r)?),
                9 => prover = Some(read_prover(r)?),
                10 => enclave = Some(read_enclave(r)?),
                11 => spendable = Some(Price(r.uint(WHAT)?)),
                other => return Err(map.unknown(other)),
            }
        }
        r.finish(WHAT)?;
        if map.require(0, kind)? != ENVIRONMENT_DOMAIN {
            return Err(bad("not an environment of version 1"));
        }
        Ok(Self {
            currency: map.require(1, currency)?,
            cpu_second: map.require(2, cpu_second)?,
            cpu_second_as_of: map.require(3, as_of)?,
            kappa: map.require(4, kappa)?,
            execute,
            audits,
            bond,
            replicas,
            prover,
            enclave,
            spendable,
        })
    }
}

const WHAT: &str = "environment";

fn bad(reason: &'static str) -> DecodeError {
    DecodeError::Value { what: WHAT, reason }
}

fn uint(map: &mut MapWriter, key: i64, value: u64) {
    map.put(key, |w| {
        w.uint(value);
    });
}

fn fraction(r: &mut Reader<'_>) -> Result<Fraction, DecodeError> {
    u32::try_from(r.uint(WHAT)?)
        .ok()
        .and_then(Fraction::from_billionths)
        .ok_or(bad("a fraction lies between 0 and 1"))
}

fn label(r: &mut Reader<'_>) -> Result<Label, DecodeError> {
    Label::new(r.text(WHAT, 1, Label::MAX)?).map_err(|_| bad("not a name"))
}

impl Calibration {
    /// What a run costs, at a price of a CPU second.
    pub fn price(&self, cpu_second: Price) -> Price {
        cpu_second.of_micros_of_time(self.mean_cpu_micros)
    }

    fn write(&self, w: &mut Writer) {
        let mut m = MapWriter::new();
        m.put(1, |w| {
            w.text(self.backend.as_str());
        });
        for (key, value) in (2..).zip([
            self.mean_cpu_micros,
            self.p50_micros,
            self.p99_micros,
            self.count,
            self.measured_at,
        ]) {
            uint(&mut m, key, value);
        }
        m.finish(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut map = r.int_map(WHAT, 6)?;
        let mut backend = None;
        let mut numbers = [None; 5];
        while let Some(key) = map.next_key(r)? {
            match key {
                1 => backend = Some(label(r)?),
                2..=6 => numbers[(key - 2) as usize] = Some(r.uint(WHAT)?),
                other => return Err(map.unknown(other)),
            }
        }
        Ok(Self {
            backend: map.require(1, backend)?,
            mean_cpu_micros: map.require(2, numbers[0])?,
            p50_micros: map.require(3, numbers[1])?,
            p99_micros: map.require(4, numbers[2])?,
            count: map.require(5, numbers[3])?,
            measured_at: map.require(6, numbers[4])?,
        })
    }
}

fn read_audits(r: &mut Reader<'_>) -> Result<Audits, DecodeError> {
    let mut map = r.int_map(WHAT, 6)?;
    let (mut independent, mut fee, mut window) = (None, None, None);
    let (mut power, mut colluding, mut predictable) = (None, None, None);
    while let Some(key) = map.next_key(r)? {
        match key {
            1 => independent = Some(r.uint(WHAT)?),
            2 => fee = Some(Price(r.uint(WHAT)?)),
            3 => power = Some(fraction(r)?),
            4 => colluding = Some(fraction(r)?),
            5 => predictable = Some(fraction(r)?),
            6 => window = Some(r.uint(WHAT)?),
            other => return Err(map.unknown(other)),
        }
    }
    Ok(Audits {
        independent: map.require(1, independent)?,
        fee: map.require(2, fee)?,
        detection: Detection {
            power: map.require(3, power)?,
            colluding: map.require(4, colluding)?,
            predictable: map.require(5, predictable)?,
        },
        window_secs: map.require(6, window)?,
    })
}

fn read_bond(r: &mut Reader<'_>) -> Result<Bond, DecodeError> {
    let mut map = r.int_map(WHAT, 6)?;
    let (mut name, mut clawback, mut joint) = (None, None, None);
    let mut amounts = [None; 3];
    while let Some(key) = map.next_key(r)? {
        match key {
            1 => name = Some(label(r)?),
            2..=4 => amounts[(key - 2) as usize] = Some(Micros(r.uint(WHAT)?)),
            5 => clawback = Some(r.bool(WHAT)?),
            6 => joint = Some(r.bool(WHAT)?),
            other => return Err(map.unknown(other)),
        }
    }
    Ok(Bond {
        name: map.require(1, name)?,
        allocated: map.require(2, amounts[0])?,
        withheld: map.require(3, amounts[1])?,
        open: map.require(4, amounts[2])?,
        clawback: map.require(5, clawback)?,
        joint_forfeiture: map.require(6, joint)?,
    })
}

fn read_replicas(r: &mut Reader<'_>) -> Result<Replicas, DecodeError> {
    let mut map = r.int_map(WHAT, 5)?;
    let (mut available, mut fee, mut round_trip) = (None, None, None);
    let (mut corrupt, mut shared_fault) = (None, None);
    while let Some(key) = map.next_key(r)? {
        match key {
            1 => available = Some(r.uint(WHAT)?),
            2 => fee = Some(Price(r.uint(WHAT)?)),
            3 => corrupt = Some(fraction(r)?),
            4 => shared_fault = Some(fraction(r)?),
            5 => round_trip = Some(r.uint(WHAT)?),
            other => return Err(map.unknown(other)),
        }
    }
    Ok(Replicas {
        available: map.require(1, available)?,
        fee: map.require(2, fee)?,
        corrupt: map.require(3, corrupt)?,
        shared_fault: map.require(4, shared_fault)?,
        round_trip_micros: map.require(5, round_trip)?,
    })
}

fn read_prover(r: &mut Reader<'_>) -> Result<Prover, DecodeError> {
    let mut map = r.int_map(WHAT, 4)?;
    let mut prover = Prover {
        prove: None,
        cap: None,
        deferred_secs: None,
        batch: None,
    };
    while let Some(key) = map.next_key(r)? {
        match key {
            1 => prover.prove = Some(Calibration::read(r)?),
            2 => prover.cap = Some(Micros(r.uint(WHAT)?)),
            3 => prover.deferred_secs = Some(r.uint(WHAT)?),
            4 => prover.batch = Some(read_batch(r)?),
            other => return Err(map.unknown(other)),
        }
    }
    Ok(prover)
}

fn read_batch(r: &mut Reader<'_>) -> Result<Batch, DecodeError> {
    let mut map = r.int_map(WHAT, 3)?;
    let (mut size, mut window, mut prove) = (None, None, None);
    while let Some(key) = map.next_key(r)? {
        match key {
            1 => size = Some(r.uint(WHAT)?),
            2 => window = Some(r.uint(WHAT)?),
            3 => prove = Some(Calibration::read(r)?),
            other => return Err(map.unknown(other)),
        }
    }
    Ok(Batch {
        size: map.require(1, size)?,
        window_micros: map.require(2, window)?,
        prove: map.require(3, prove)?,
    })
}

fn read_enclave(r: &mut Reader<'_>) -> Result<Enclave, DecodeError> {
    let mut map = r.int_map(WHAT, 4)?;
    let (mut vendor, mut break_cost, mut simulated, mut attest) = (None, None, None, None);
    while let Some(key) = map.next_key(r)? {
        match key {
            1 => vendor = Some(label(r)?),
            2 => break_cost = Some(Micros(r.uint(WHAT)?)),
            3 => simulated = Some(r.bool(WHAT)?),
            4 => attest = Some(Calibration::read(r)?),
            other => return Err(map.unknown(other)),
        }
    }
    Ok(Enclave {
        vendor: map.require(1, vendor)?,
        break_cost: map.require(2, break_cost)?,
        simulated: map.require(3, simulated)?,
        attest,
    })
}
