//! Making simulated evidence.

use alloc::string::String;
use alloc::vec::Vec;

use p384::ecdsa::signature::hazmat::PrehashSigner as _;
use p384::ecdsa::{Signature, SigningKey};
use sha2::{Digest as _, Sha384, Sha512};

use super::der::{Spec, certificate, name, time_text};
use super::{CHIP, COMMON_NAME};

const HOUR: u64 = 3600;

/// Plays the vendor for one run. Its root exists nowhere else.
pub struct Simulator {
    root: SigningKey,
    device: SigningKey,
    leaf: SigningKey,
    /// DER, root first.
    certificates: [Vec<u8>; 3],
}

/// The simulator does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimulationError {
    /// There is real hardware: simulating beside it invites confusion.
    #[error("this machine has a real device, {0}; the simulator does not start beside one")]
    RealDevice(String),
    /// The seed gives no keys. One in 2^190 does that: take another.
    #[error("the seed gives no keys; take another one")]
    Seed,
}

impl core::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Simulator")
    }
}

impl Simulator {
    /// Starts a run: fresh randomness makes a fresh root. Certificates are valid for three hours from `now`.
    ///
    /// `devices` are the real devices of this machine, which `attest::devices` lists; any of them stops the simulator.
    pub fn start(seed: &[u8; 32], now: u64, devices: &[String]) -> Result<Self, SimulationError> {
        match devices.first() {
            Some(device) => Err(SimulationError::RealDevice(device.clone())),
            None => Self::build(seed, now, true),
        }
    }

    fn build(seed: &[u8; 32], now: u64, marked: bool) -> Result<Self, SimulationError> {
        let key = |role: &str| {
            let wide = Sha512::new()
                .chain_update("carat/simulator/v1")
                .chain_update(role)
                .chain_update(seed)
                .finalize();
            SigningKey::from_slice(&wide[..48]).map_err(|_| SimulationError::Seed)
        };
        let (root, device, leaf) = (key("root")?, key("device")?, key("leaf")?);
        let (from, until) = (time_text(now.saturating_sub(60)), time_text(now + 3 * HOUR));
        let names =
            ["root", CHIP, "leaf"].map(|role| name(&alloc::format!("{COMMON_NAME} ({role})")));
        let make =
            |subject: usize, key: &SigningKey, issuer: usize, signer: &SigningKey, ca: bool| {
                let spec = Spec {
                    subject: &names[subject],
                    key,
                    issuer: &names[issuer],
                    signer,
                    ca,
                    validity: (&from, &until),
                    marked,
                };
                certificate(&spec).ok_or(SimulationError::Seed)
            };
        let certificates = [
            make(0, &root, 0, &root, true)?,
            make(1, &device, 0, &root, true)?,
            make(2, &leaf, 1, &device, false)?,
        ];
        Ok(Self {
            root,
            device,
            leaf,
            certificates,
        })
    }

    /// A Nitro document: measurements of debug mode, the given fields, made at `now`.
    pub fn nitro(
        &self,
        user_data: &[u8],
        public_key: &[u8],
        nonce: &[u8],
        now: u64,
    ) -> Option<Vec<u8>> {
        use minicbor::encode::Encoder;
        let mut payload = Vec::new();
        let e = &mut Encoder::new(&mut payload);
        let field = |e: &mut Encoder<&mut Vec<u8>>, name: &str, value: &[u8]| {
            e.str(name).ok()?;
            if value.is_empty() {
                e.null().ok()?
            } else {
                e.bytes(value).ok()?
            };
            Some(())
        };
        e.map(9).ok()?;
        e.str("module_id").ok()?.str("simulated-enc0").ok()?;
        e.str("digest").ok()?.str("SHA384").ok()?;
        e.str("timestamp").ok()?.u64(now * 1000).ok()?;
        e.str("pcrs").ok()?.map(3).ok()?;
        for number in 0..3u8 {
            e.u8(number).ok()?.bytes(&[0; 48]).ok()?;
        }
        let [root, device, leaf] = &self.certificates;
        e.str("certificate").ok()?.bytes(leaf).ok()?;
        e.str("cabundle")
            .ok()?
            .array(2)
            .ok()?
            .bytes(root)
            .ok()?
            .bytes(device)
            .ok()?;
        field(e, "public_key", public_key)?;
        field(e, "user_data", user_data)?;
        field(e, "nonce", nonce)?;
        let protected = [0xa1, 0x01, 0x38, 0x22];
        let mut signed = carat_receipt::cbor::Writer::new();
        signed
            .array(4)
            .text("Signature1")
            .bytes(&protected)
            .bytes(&[])
            .bytes(&payload);
        let signature = sign(&self.leaf, &signed.into_bytes())?;
        let mut document = Vec::new();
        let e = &mut Encoder::new(&mut document);
        e.array(4).ok()?.bytes(&protected).ok()?.map(0).ok()?;
        e.bytes(&payload).ok()?.bytes(&signature).ok()?;
        Some(document)
    }

    /// A GPU report that answers a nonce, and its chain, leaf first. The chip is named `GX000`, which is no product.
    pub fn gpu(&self, nonce: &[u8; 32]) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
        let mut report = alloc::vec![0x11, 0xe0, 0x01, 0xff];
        report.extend_from_slice(nonce);
        report.push(0);
        report.extend([0x11, 0x60, 0, 0, 64]);
        report.extend_from_slice(&(64u32 * 55).to_le_bytes()[..3]);
        for index in 1..=64u8 {
            report.extend([index, 1, 51, 0, 1, 48, 0]);
            report.extend([0; 48]);
        }
        report.extend([0; 32]);
        let driver = b"simulated\0";
        report.extend_from_slice(&(driver.len() as u16 + 4).to_le_bytes());
        report.extend_from_slice(&[3, 0, driver.len() as u8, 0]);
        report.extend_from_slice(driver);
        let signature = sign(&self.leaf, &report)?;
        report.extend_from_slice(&signature);
        let chain = self.certificates.iter().rev().cloned().collect();
        Some((report, chain))
    }

    /// Keys of this run, so that tests can tell runs apart.
    pub fn root_digest(&self) -> [u8; 32] {
        use sha2::Sha256;
        debug_assert!(self.root.verifying_key() != self.device.verifying_key());
        Sha256::digest(&self.certificates[0]).into()
    }
}

fn sign(key: &SigningKey, message: &[u8]) -> Option<[u8; 96]> {
    let signature: Signature = key.sign_prehash(&Sha384::digest(message)).ok()?;
    signature.to_bytes().as_slice().try_into().ok()
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::Simulator;
    use crate::x509::{Certificate, check_links};
    use crate::{
        Checks, Endorsements, Kind, Outcome, Policy, Reason, Rejected, Request, verify,
        verify_simulated,
    };

    const NOW: u64 = 1_800_000_000;

    fn failed(rejected: &Rejected) -> Vec<&'static str> {
        let failed = rejected
            .checks
            .iter()
            .filter(|check| check.outcome == Outcome::Fail);
        failed.map(|check| check.name).collect()
    }

    /// A complete document under an attacker's own root, without any mark of the simulator: only the pinned root is in its
    /// way, and it is enough under every policy.
    #[test]
    fn row_05_attackers_root() {
        let attacker = Simulator::build(&[9; 32], NOW, false).unwrap();
        let document = attacker.nitro(b"data", b"key", b"nonce", NOW).unwrap();
        for policy in [Policy::strict(), Policy::production(), Policy::dev()] {
            let endorsements = Endorsements::default();
            let request = Request {
                evidence: &document,
                endorsements,
                policy: &policy,
                now: NOW,
                nonce: None,
                binding: None,
            };
            let rejected = verify(Kind::Nitro, &request).unwrap_err();
            assert_eq!(rejected.reason, Reason::WrongRoot);
            let expected: &[&str] = if policy.allow_debug {
                &["root"]
            } else {
                &["root", "debug"]
            };
            assert_eq!(failed(&rejected), expected);
            // It does not pass for a simulation either.
            verify_simulated(Kind::Nitro, &request).unwrap_err();
        }
    }

    /// Had somebody pinned a simulator's root by mistake, its certificates would still be refused.
    #[test]
    fn row_29_a_pinned_simulated_root_is_refused() {
        let simulator = Simulator::build(&[9; 32], NOW, true).unwrap();
        let chain: Vec<_> = simulator
            .certificates
            .iter()
            .rev()
            .map(|der| Certificate::parse(der).unwrap())
            .collect();
        let mut checks = Checks::new(Kind::Nitro);
        check_links(&mut checks, &chain, &[simulator.root_digest()], &[]);
        let rejected = checks.stop(Reason::Malformed, "end", "");
        assert_eq!(rejected.reason, Reason::Chain);
        assert_eq!(failed(&rejected), ["chain", "end"]);
        assert!(rejected.message.contains("simulator"));
    }
}
