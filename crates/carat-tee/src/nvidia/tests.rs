//! Blackwell reports of a vendor of our own: no genuine one is shipped. The chain and the report have the form of a genuine one
//! (GB100), the root is the test's, so what comes of them is never hardware; the pinned path refuses all of them.

use alloc::vec::Vec;

use carat_receipt::SigningKey;

use super::*;
use crate::forge::{Key, Spec, extension, int, name, seq, tlv};
use crate::nvidia::reference::{Bundle, Manifest, Part};
use crate::x509::oid::SIMULATED;
use crate::{Endorsements, Policy};

const AT: u64 = 1_767_225_600;
const DATES: [&str; 2] = ["20230620000000Z", "99991231235959Z"];
const FIRMWARE: [u8; 48] = [0x77; 48];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];

struct Gpu {
    /// Common names, leaf first.
    names: [&'static str; 5],
    /// The last byte of the extension's object identifier, which NVIDIA leaves out or sets to one.
    oid: &'static [u8],
    /// First byte of the operational flags.
    flags: Option<u8>,
    certified: [u8; 48],
    /// A CompositeDeviceID, as Hopper has it, in place of the DiceTcbInfo.
    composite: bool,
    opaque: Vec<(u16, Vec<u8>)>,
    blocks: Vec<(u8, Vec<u8>)>,
    policy: Policy,
    collateral: Option<Vec<u8>>,
    marked: bool,
}

impl Default for Gpu {
    fn default() -> Self {
        let mut blocks = alloc::vec![(0x83, alloc::vec![0, 0, 0, 1]), (0x82, alloc::vec![0xff])];
        blocks.extend((3..=52u8).map(|index| (0x01, alloc::vec![index; 48])));
        Self {
            names: [
                "GB100 A01 GSP FMC LF",
                "GB100 A01 GSP BROM",
                "NVIDIA GB100 Provisioner ICA 000000",
                "NVIDIA GB100 Identity",
                "NVIDIA Device Identity CA",
            ],
            oid: &[1],
            flags: Some(0x80),
            certified: FIRMWARE,
            composite: false,
            opaque: alloc::vec![
                (3, b"580.65.06\0".to_vec()),
                (6, alloc::vec![0, 0x5e, 0, 0x97, 1, 0, 0, 0]),
                (11, alloc::vec![0x55]),
                (20, FIRMWARE.to_vec()),
                // Types that this version does not read.
                (21, alloc::vec![1, 2, 3]),
                (32, Vec::new()),
                (0x7fff, alloc::vec![0; 300]),
                (0x7fff, Vec::new()),
            ],
            blocks,
            policy: Policy::strict(),
            collateral: None,
            marked: true,
        }
    }
}

impl Gpu {
    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut gpu = Self::default();
        change(&mut gpu);
        gpu
    }

    fn tcb_info(&self) -> Vec<u8> {
        let fwid = |digest: &[u8]| seq(&[&tlv(6, SHA384), &tlv(4, digest)]);
        if self.composite {
            let spki = seq(&[&tlv(6, SHA384), &tlv(3, &[0; 98])]);
            return seq(&[&int(1), &spki, &fwid(&self.certified)]);
        }
        let fwids = [fwid(&self.certified), fwid(&[0; 48])].concat();
        let mut fields = alloc::vec![
            tlv(0x80, b"NVIDIA"),
            tlv(0x81, b"GB100 A01 GSP"),
            tlv(0x82, b"03"),
            tlv(0x83, &[3]),
            tlv(0xa6, &fwids),
        ];
        fields.extend(self.flags.map(|flags| tlv(0x87, &[0, flags, 0, 0, 1])));
        fields.push(tlv(0x88, &[0xc0]));
        tlv(0x30, &fields.concat())
    }

    /// Leaf first.
    fn chain(&self) -> Vec<Vec<u8>> {
        let keys: Vec<Key> = (1..=5).map(Key::p384).collect();
        let subjects = self.names.map(name);
        (0..5)
            .map(|at| {
                let above = (at + 1).min(4);
                let mut extensions = Vec::new();
                if self.marked {
                    extensions.push(extension(SIMULATED, true, &[5, 0]));
                }
                if at == 0 {
                    let oid = [&[0x67, 0x81, 0x05, 0x05, 0x04, 0x01], self.oid].concat();
                    extensions.push(extension(&oid, false, &self.tcb_info()));
                }
                Spec {
                    subject: &subjects[at],
                    issuer: &subjects[above],
                    key: &keys[at],
                    signer: &keys[above],
                    authority: at > 0,
                    serial: at as u8 + 1,
                    dates: DATES,
                    extensions,
                }
                .build()
            })
            .collect()
    }

    fn report(&self) -> Vec<u8> {
        let mut record = Vec::new();
        for (index, (kind, value)) in self.blocks.iter().enumerate() {
            let size = value.len() as u16;
            record.extend([index as u8 + 1, 1]);
            record.extend((size + 3).to_le_bytes());
            record.push(*kind);
            record.extend(size.to_le_bytes());
            record.extend(value);
        }
        let mut report = alloc::vec![0x11, 0xe0, 0x01, 0xff];
        report.extend([9; 32]);
        report.push(0);
        report.extend([0x11, 0x60, 0, 0, self.blocks.len() as u8]);
        report.extend(&(record.len() as u32).to_le_bytes()[..3]);
        report.extend(record);
        report.extend([7; 32]);
        let opaque: Vec<u8> = self
            .opaque
            .iter()
            .flat_map(|(kind, value)| {
                let size = value.len() as u16;
                [&kind.to_le_bytes()[..], &size.to_le_bytes(), value].concat()
            })
            .collect();
        report.extend((opaque.len() as u16).to_le_bytes());
        report.extend(opaque);
        let signature = Key::p384(1).raw(&report);
        report.extend(signature);
        report
    }

    fn run(&self) -> Result<Attested, Rejected> {
        let (report, chain) = (self.report(), self.chain());
        let root: [u8; 32] = Sha256::digest(&chain[4]).into();
        let request = Request {
            evidence: &report,
            endorsements: Endorsements {
                collateral: self.collateral.as_deref(),
                certs: &[],
                chain: &chain,
            },
            policy: &self.policy,
            now: AT,
            nonce: Some(&[9; 32]),
            binding: None,
        };
        // The vendor's root is pinned: whatever a test accepts, the real path refuses.
        verify_with(&request, Anchors::Vendor).expect_err("no hardware");
        verify_with(&request, Anchors::Simulated(&root))
    }

    fn reason(&self) -> Reason {
        self.run().expect_err("refused").reason
    }
}

#[test]
fn blackwell_is_accepted() {
    let accepted = Gpu::default().run().unwrap();
    let facts = accepted.facts();
    assert_eq!(
        (facts.product.as_deref(), facts.debug),
        (Some("blackwell"), false)
    );
    assert_eq!(
        accepted.claims().get("driver_version"),
        Some(&"580.65.06".into())
    );
    assert_eq!(
        accepted.claims().get("vbios_version"),
        Some(&"97.00.5E.00.01".into())
    );
    assert_eq!(accepted.claims().get("measurements"), Some(&52u64.into()));
    assert_eq!(facts.platforms.len(), 1);
    // Under TCG's own object identifier; without flags; with a CompositeDeviceID; without a firmware digest in the report;
    // without any opaque data, as the security processor (FSP) of such a GPU reports.
    for change in [
        (|gpu: &mut Gpu| gpu.oid = &[]) as fn(&mut Gpu),
        |gpu| gpu.flags = None,
        |gpu| (gpu.composite, gpu.oid) = (true, &[]),
        |gpu| gpu.opaque.retain(|(kind, _)| *kind != 20),
        |gpu| gpu.opaque.clear(),
        |gpu| gpu.names[0] = "GB202 A01 GSP FMC LF",
    ] {
        Gpu::with(change).run().unwrap();
    }
}

#[test]
fn blackwell_that_is_refused() {
    for (change, reason) in [
        (
            (|gpu: &mut Gpu| gpu.certified = [0x78; 48]) as fn(&mut Gpu),
            Reason::TcbMismatch,
        ),
        // The zeros that stand for layers that are not there.
        (
            |gpu| gpu.opaque[3].1 = alloc::vec![0; 48],
            Reason::TcbMismatch,
        ),
        (|gpu| gpu.oid = &[2], Reason::TcbMismatch),
        (|gpu| gpu.flags = Some(0x90), Reason::Debug),
        (|gpu| gpu.flags = Some(0xc0), Reason::PlatformInfo),
        (|gpu| gpu.flags = Some(0xa0), Reason::PlatformInfo),
        (|gpu| gpu.marked = false, Reason::Chain),
        (
            |gpu| gpu.names[1] = "GX100 A01 GSP BROM",
            Reason::Unsupported,
        ),
        (
            |gpu| gpu.names[1] = "GH100 A01 GSP BROM",
            Reason::Unsupported,
        ),
        (
            |gpu| gpu.opaque.push((3, b"1\0".to_vec())),
            Reason::Malformed,
        ),
    ] {
        let mut gpu = Gpu::with(change);
        if reason == Reason::Unsupported {
            gpu.names[2] = "NVIDIA GB100 Provisioner ICA 000000";
            gpu.names[3] = if gpu.names[1].starts_with("GX") {
                gpu.names[2] = "NVIDIA GX100 Provisioner ICA 000000";
                "NVIDIA GX100 Identity"
            } else {
                "NVIDIA GB100 Identity"
            };
        }
        assert_eq!(gpu.reason(), reason, "{:?}", gpu.names);
    }
    // `dev` accepts debug evidence and says so.
    let accepted = Gpu::with(|gpu| (gpu.flags, gpu.policy) = (Some(0x90), Policy::dev()))
        .run()
        .unwrap();
    assert!(accepted.facts().debug);
}

fn manifest(part: Part) -> Manifest {
    let (version, indices) = match part {
        Part::Driver => ("580.65.06", [2u8, 5]),
        Part::Vbios => ("97.00.5E.00.01", [7, 9]),
    };
    Manifest {
        id: alloc::format!("NV_GPU_{part:?}"),
        part,
        version: version.into(),
        source: Digest::sha256(b"xml"),
        not_after: AT,
        // Index i speaks about block i + 1, whose bytes here are its number. Either of two values may stand there.
        values: indices
            .iter()
            .map(|&index| {
                (
                    index,
                    alloc::vec![alloc::vec![0; 48], alloc::vec![index + 1; 48]],
                )
            })
            .collect(),
    }
}

fn bundle(manifests: &[Manifest]) -> alloc::string::String {
    // Made tomorrow by somebody whom no policy names: the policy that carries it vouches for it.
    let key = SigningKey::from_secret(&[8; 32]);
    hex::encode(Bundle::sign(AT + 86_400, manifests, &key))
}

/// Reference values that a policy brings itself, as the appraisal of a receipt does from the Trust file.
#[test]
fn row_12_reference_values_of_the_policy() {
    let with = |references: &[&[Manifest]]| {
        Gpu::with(|gpu| {
            gpu.policy.nvidia.require_reference = true;
            gpu.policy.nvidia.references = references.iter().map(|list| bundle(list)).collect();
        })
    };
    let only = core::slice::from_ref;
    let (driver, vbios) = (manifest(Part::Driver), manifest(Part::Vbios));
    let both = [driver.clone(), vbios.clone()];
    let accepted = with(&[&both]).run().unwrap();
    let check = accepted
        .checks()
        .iter()
        .find(|check| check.name == "reference_values");
    assert!(
        check.is_some_and(|check| check.reason.contains("2 of 2")),
        "{check:?}"
    );
    // What is remembered of it ends with the manifests.
    assert_eq!(accepted.facts().valid_until, Some(AT));
    with(&[only(&driver), only(&vbios)]).run().unwrap();

    // Other versions, and other boards of the same version, may stand beside the right one.
    let mut older = driver.clone();
    older.version = "535.86.09".into();
    let mut board = vbios.clone();
    board.values[0].1 = alloc::vec![alloc::vec![0xee; 48]];
    with(&[&[older.clone(), board.clone()], &both])
        .run()
        .unwrap();

    for (references, reason) in [
        (&[][..], Reason::ReferenceMissing),
        (&[only(&driver)], Reason::ReferenceMissing),
        (&[only(&vbios)], Reason::ReferenceMissing),
        (&[&[older, vbios.clone()]], Reason::ReferenceInvalid),
        (&[&[driver.clone(), board]], Reason::Measurement),
    ] {
        assert_eq!(with(references).reason(), reason);
    }
    let mut expired = both.clone();
    expired[1].not_after = AT - 1;
    assert_eq!(with(&[&expired]).reason(), Reason::ReferenceInvalid);
    // A block that the report lacks.
    let mut absent = both.clone();
    absent[0].values.push((60, alloc::vec![alloc::vec![1; 48]]));
    assert_eq!(with(&[&absent]).reason(), Reason::Measurement);

    // What comes with the evidence counts only under a key that the policy names, and never in place of it.
    let mut gpu = with(&[]);
    gpu.collateral = hex::decode(bundle(&both)).ok();
    assert_eq!(gpu.reason(), Reason::ReferenceInvalid);
    let mut broken = with(&[&both]);
    broken.policy.nvidia.references[0].replace_range(20..22, "00");
    assert_eq!(broken.reason(), Reason::ReferenceInvalid);
    let toml = broken.policy.to_toml().unwrap();
    assert!(
        Policy::from_toml(&toml)
            .unwrap_err()
            .to_string()
            .contains("nvidia.references")
    );
    let good = with(&[&both]).policy;
    assert_eq!(
        Policy::from_toml(&good.to_toml().unwrap()).as_ref(),
        Ok(&good)
    );
}
