//! Reports of a chip of our own, perfect but for one thing. The root is the test's, so what comes of them is never
//! hardware; the pinned path refuses all of them.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;
use crate::Endorsements;
use crate::forge::{Key, Spec, extension, int, name, tlv};
use crate::x509::oid::SIMULATED;

const AT: u64 = 1_767_225_600;
const DATES: [&str; 2] = ["20250101000000Z", "20320101000000Z"];

/// A Turin chip.
struct Chip {
    report: [u8; REPORT_BYTES],
    /// Bytes of the HWID extension.
    hwid: Vec<u8>,
    product: &'static str,
    /// Boot loader, TEE, SNP, microcode, FMC.
    levels: [u8; 5],
    provider: Option<&'static str>,
    dates: [&'static str; 2],
    /// Whether certificates say that they are simulated.
    marked: bool,
    issuer: Vec<u8>,
    policy: Policy,
}

impl Default for Chip {
    fn default() -> Self {
        let mut report = [0; REPORT_BYTES];
        let mut put = |at: usize, bytes: &[u8]| report[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &5u32.to_le_bytes());
        put(0x08, &0x3_0000u64.to_le_bytes());
        put(0x34, &1u32.to_le_bytes());
        put(0x50, &[0x44; 64]);
        put(0x90, &[0x55; 48]);
        // FMC 1, boot loader 2, TEE 3, SNP 4, microcode 9.
        for at in [0x38, 0x180, 0x1e0, 0x1f0] {
            put(at, &[1, 2, 3, 4, 0, 0, 0, 9]);
        }
        put(0x188, &[0x1a, 0x02, 0x01]);
        put(0x1a0, &[1, 2, 3, 4, 5, 6, 7, 8]);
        Self {
            report,
            hwid: alloc::vec![1, 2, 3, 4, 5, 6, 7, 8],
            product: "Turin-B1",
            levels: [2, 3, 4, 9, 1],
            provider: None,
            dates: DATES,
            marked: true,
            issuer: name("ARK-Turin"),
            policy: Policy::strict(),
        }
    }
}

impl Chip {
    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut chip = Self::default();
        change(&mut chip);
        chip
    }

    fn bytes(at: usize, bytes: &[u8]) -> Self {
        Self::with(|chip| chip.report[at..at + bytes.len()].copy_from_slice(bytes))
    }

    fn mark(&self) -> Vec<Vec<u8>> {
        if self.marked {
            alloc::vec![extension(SIMULATED, true, &[5, 0])]
        } else {
            Vec::new()
        }
    }

    /// The signed report, the certificate of its key, and the root.
    fn build(&self) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let (root, key) = (Key::p384(1), Key::p384(2));
        let arc = |tail: &[u8]| [&[0x2b, 6, 1, 4, 1, 0x9c, 0x78, 1], tail].concat();
        let [bootloader, tee, snp, microcode, fmc] = self.levels;
        let mut extensions = self.mark();
        extensions.push(extension(
            &arc(&[2]),
            false,
            &tlv(0x16, self.product.as_bytes()),
        ));
        for (tail, level) in [
            ([3, 1], bootloader),
            ([3, 2], tee),
            ([3, 3], snp),
            ([3, 8], microcode),
            ([3, 9], fmc),
        ] {
            extensions.push(extension(&arc(&tail), false, &int(level)));
        }
        match self.provider {
            Some(provider) => {
                extensions.push(extension(
                    &arc(&[5]),
                    false,
                    &tlv(0x16, provider.as_bytes()),
                ));
            }
            None => extensions.push(extension(&arc(&[4]), false, &self.hwid)),
        }
        let leaf = Spec {
            subject: &name("SEV-VCEK"),
            issuer: &self.issuer,
            key: &key,
            signer: &root,
            authority: false,
            serial: 0,
            dates: self.dates,
            extensions,
        };
        let authority = Spec {
            subject: &self.issuer,
            issuer: &self.issuer,
            key: &root,
            signer: &root,
            authority: true,
            serial: 0,
            dates: DATES,
            extensions: self.mark(),
        };
        let mut report = self.report;
        let signature = key.raw(&report[..SIGNED_BYTES]);
        for index in 0..48 {
            report[0x2a0 + index] = signature[47 - index];
            report[0x2e8 + index] = signature[95 - index];
        }
        (report.to_vec(), leaf.build(), authority.build())
    }

    fn ask(&self) -> Result<Attested, Rejected> {
        let (report, leaf, root) = self.build();
        let digest = Certificate::parse(&root).unwrap().digest();
        self.verify(&report, &[leaf], &[root], Anchors::Simulated(&digest))
    }

    fn verify(
        &self,
        evidence: &[u8],
        certs: &[Vec<u8>],
        chain: &[Vec<u8>],
        anchors: Anchors<'_>,
    ) -> Result<Attested, Rejected> {
        verify_with(
            &Request {
                evidence,
                endorsements: Endorsements {
                    collateral: None,
                    certs,
                    chain,
                },
                policy: &self.policy,
                now: AT,
                nonce: None,
                binding: None,
            },
            anchors,
        )
    }

    fn reason(&self) -> Reason {
        self.ask().expect_err("refused").reason
    }
}

#[test]
fn turin_has_a_layout_of_its_own() {
    let accepted = Chip::default()
        .ask()
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(accepted.facts().product.as_deref(), Some("turin"));
    assert_eq!(
        accepted.facts().platforms,
        [PlatformId::new(alloc::format!(
            "snp-chip:0102030405060708{}",
            "00".repeat(56)
        ))
        .unwrap()]
    );
    assert_eq!(
        accepted.claims().get("launch_mitigation_vector"),
        Some(&0.into())
    );
    // The chip's bytes as an OCTET STRING.
    Chip::with(|chip| chip.hwid = tlv(4, &[1, 2, 3, 4, 5, 6, 7, 8]))
        .ask()
        .unwrap();
    // Read in Milan's layout the same bytes would be other levels.
    let milan = Chip::with(|chip| chip.levels = [1, 2, 0, 9, 0]);
    assert_eq!(milan.reason(), Reason::TcbMismatch);
}

#[test]
fn row_17_endorsement_of_another_chip_or_level() {
    for hwid in [
        alloc::vec![9; 8],
        alloc::vec![0; 8],
        alloc::vec![1, 2, 3, 4, 5, 6, 7],
        Vec::new(),
    ] {
        let other = Chip::with(|chip| chip.hwid = hwid);
        assert_eq!(other.reason(), Reason::ChipMismatch);
    }
    // Bytes after the eight, and a chip that is left out.
    assert_eq!(Chip::bytes(0x1a8, &[1]).reason(), Reason::ChipMismatch);
    assert_eq!(Chip::bytes(0x1a0, &[0; 8]).reason(), Reason::ChipMismatch);
    for index in 0..5 {
        for level in [0, 200] {
            let other = Chip::with(|chip| chip.levels[index] = level);
            assert_eq!(other.reason(), Reason::TcbMismatch, "{index}");
        }
    }
    // Reserved bytes of the reported level.
    assert_eq!(Chip::bytes(0x184, &[1]).reason(), Reason::TcbMismatch);
}

#[test]
fn products_must_agree() {
    assert_eq!(
        Chip::bytes(0x188, &[0x19, 0x01]).reason(),
        Reason::ProductMismatch
    );
    assert_eq!(
        Chip::bytes(0x188, &[0x1b, 0x01]).reason(),
        Reason::ProductMismatch
    );
    for product in ["Genoa-B1", "turin", "TurinX", "", "Venice"] {
        let reason = Chip::with(|chip| chip.product = product).reason();
        assert!(
            matches!(reason, Reason::ProductMismatch),
            "{product}: {reason}"
        );
    }
    let denied =
        Chip::with(|chip| chip.policy.snp.deny_products = alloc::vec!["TURIN".to_string()]);
    assert_eq!(denied.reason(), Reason::ProductDenied);
}

#[test]
fn launch_policies_and_levels() {
    let policy = |bits: u64| Chip::bytes(0x08, &bits.to_le_bytes());
    policy(0x3_001f).ask().unwrap();
    assert_eq!(policy(0x1_0000).reason(), Reason::GuestPolicy);
    assert_eq!(policy(0x7_0000).reason(), Reason::GuestPolicy);
    assert_eq!(policy(0xb_0000).reason(), Reason::Debug);
    let mut migrating = policy(0x7_0000);
    migrating.policy.snp.allow_migration = true;
    migrating.ask().unwrap();
    for vmpl in [1u32, 3, u32::MAX] {
        assert_eq!(
            Chip::bytes(0x30, &vmpl.to_le_bytes()).reason(),
            Reason::Vmpl
        );
    }
    let minimum = |snp, fmc| {
        Chip::with(|chip| {
            let minimum = SnpTcb {
                bootloader: 2,
                tee: 3,
                snp,
                microcode: 9,
                fmc,
            };
            chip.policy.snp.min_tcb.insert("turin".to_string(), minimum);
        })
    };
    minimum(4, 1).ask().unwrap();
    assert_eq!(minimum(5, 1).reason(), Reason::TcbMinimum);
    assert_eq!(minimum(4, 2).reason(), Reason::TcbMinimum);
    // Launched on weaker firmware than runs now.
    let mut launched = minimum(4, 1);
    launched.report[0x1f3] = 3;
    assert_eq!(launched.reason(), Reason::TcbMinimum);
}

#[test]
fn keys_and_algorithms() {
    assert_eq!(Chip::bytes(0x34, &[2]).reason(), Reason::Algorithm);
    assert_eq!(Chip::bytes(0x34, &[0]).reason(), Reason::Algorithm);
    // No key, and a reserved one.
    assert_eq!(Chip::bytes(0x48, &[7 << 2]).reason(), Reason::Signature);
    assert_eq!(Chip::bytes(0x48, &[2 << 2]).reason(), Reason::Unsupported);
    // A VLEK's report with a VCEK, and the other way round.
    assert_eq!(
        Chip::bytes(0x48, &[1 << 2]).reason(),
        Reason::EndorsementMissing
    );
    let vlek = |selector: u8| {
        Chip::with(|chip| {
            chip.report[0x48] = selector << 2;
            chip.provider = Some("CN=cloud");
        })
    };
    assert_eq!(vlek(0).reason(), Reason::EndorsementMissing);
    let accepted = vlek(1).ask().unwrap();
    assert!(
        accepted
            .still_trusted()
            .iter()
            .any(|text| text.contains("CN=cloud"))
    );
    for version in [1, 6, 255] {
        assert_eq!(Chip::bytes(0, &[version]).reason(), Reason::Unsupported);
    }
    let late = Chip::with(|chip| chip.dates = ["20240101000000Z", "20251231235959Z"]);
    assert_eq!(late.reason(), Reason::CertificateExpired);
    let early = Chip::with(|chip| chip.dates = ["20260101000001Z", "20320101000000Z"]);
    assert_eq!(early.reason(), Reason::CertificateNotYetValid);
}

/// A self-made chain: every signature is right, names are AMD's, and the root is not.
#[test]
fn row_05_chain_of_an_attacker() {
    for role in [Role::Ask, Role::Ark] {
        let pinned = AUTHORITIES
            .iter()
            .find(|pinned| pinned.product == Product::Turin && pinned.role == role)
            .unwrap();
        let pinned = Certificate::parse(pinned.der).unwrap();
        let chip = Chip::with(|chip| {
            chip.issuer = pinned.subject.to_vec();
            chip.marked = false;
        });
        let (report, leaf, root) = chip.build();
        let certs = [leaf];
        let alone = chip
            .verify(&report, &certs, &[], Anchors::Vendor)
            .unwrap_err();
        // Named after AMD's signing key it fails under that key; named after anything else it has no authority.
        let expected = match role {
            Role::Ask => Reason::Chain,
            _ => Reason::WrongRoot,
        };
        assert_eq!(alone.reason, expected);
        let with = chip
            .verify(&report, &certs, &[root], Anchors::Vendor)
            .unwrap_err();
        assert_eq!(with.reason, Reason::WrongRoot);
    }
}

/// Simulated evidence under AMD's roots, and the simulated path for a chain that does not say so.
#[test]
fn row_29_simulation_is_not_hardware() {
    let chip = Chip::default();
    let (report, leaf, root) = chip.build();
    let chain = [root.clone()];
    let vendor = chip
        .verify(&report, &[leaf], &chain, Anchors::Vendor)
        .unwrap_err();
    assert_eq!(vendor.reason, Reason::WrongRoot);
    assert_eq!(
        Chip::with(|chip| chip.marked = false).reason(),
        Reason::Chain
    );
}

#[test]
fn extended_reports_carry_their_certificates() {
    let chip = Chip::default();
    let (report, leaf, root) = chip.build();
    let digest = Certificate::parse(&root).unwrap().digest();
    let anchors = Anchors::Simulated(&digest);
    let entry = |guid: &str, offset: usize, len: usize| {
        let mut entry = hex::decode(guid).unwrap();
        entry.extend((offset as u32).to_le_bytes());
        entry.extend((len as u32).to_le_bytes());
        entry
    };
    let mut evidence = report.clone();
    evidence.extend(entry("8d75da6364e66445adc5f4b93be8accd", 72, leaf.len()));
    evidence.extend(entry(
        "a406b4c003a8524997433fb6014cd0ae",
        72 + leaf.len(),
        root.len(),
    ));
    evidence.extend([0; 24]);
    evidence.extend(&leaf);
    evidence.extend(&root);
    chip.verify(&evidence, &[], &[], anchors).unwrap();
    // What the caller gives counts instead.
    let given = chip.verify(&evidence, &[], &[root], anchors).unwrap_err();
    assert_eq!(given.reason, Reason::EndorsementMissing);
    let mut long = report;
    long.push(0);
    assert_eq!(
        chip.verify(&long, &[leaf], &[], anchors)
            .unwrap_err()
            .reason,
        Reason::Malformed
    );
}
