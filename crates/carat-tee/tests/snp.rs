//! AMD SEV-SNP: recorded reports, and reports that must be refused.

mod common;

use carat_tee::{
    Endorsements, Hardware, Kind, PlatformId, Policy, Reason, Rejected, Request, input, verify,
};

const MILAN_AT: u64 = 1_735_689_600;
const GENOA_AT: u64 = 1_780_272_000;
const DEBUG_AT: u64 = 1_717_200_000;
const VLEK_AT: u64 = 1_748_736_000;

/// A recorded report, its key's certificate, and a time.
#[derive(Clone)]
struct Sample {
    report: Vec<u8>,
    certs: Vec<Vec<u8>>,
    chain: Vec<Vec<u8>>,
    at: u64,
}

impl Sample {
    fn read(report: &str, cert: &str, at: u64) -> Option<Self> {
        let report = common::evidence::read(report)?;
        let cert = common::evidence::read(cert)?;
        Some(Self {
            report: input::decode(&report).unwrap().into_owned(),
            certs: input::certificates(&cert).unwrap(),
            chain: Vec::new(),
            at,
        })
    }

    fn milan() -> Option<Self> {
        Self::read("snp/report_milan.hex", "snp/vcek_milan.der", MILAN_AT)
    }

    fn genoa() -> Option<Self> {
        Self::read("snp/ms-genoa_report.bin", "snp/ms-genoa_vcek.pem", GENOA_AT)
    }

    fn debug() -> Option<Self> {
        Self::read("snp/gosev-attestation.bin", "snp/gosev-vcek.der", DEBUG_AT)
    }

    fn vlek() -> Option<Self> {
        Self::read(
            "snp/trustee-test-vlek-report.bin",
            "snp/trustee-test-vlek.der",
            VLEK_AT,
        )
    }

    fn all() -> Option<[Self; 4]> {
        Some([
            Self::milan()?,
            Self::genoa()?,
            Self::debug()?,
            Self::vlek()?,
        ])
    }

    fn under(&self, chain: &str) -> Option<Self> {
        let chain = common::evidence::read(chain)?;
        Some(Self {
            chain: input::certificates(&chain).unwrap(),
            ..self.clone()
        })
    }

    fn ask(&self, policy: &Policy, nonce: Option<&[u8]>) -> Result<Hardware, Rejected> {
        verify(
            Kind::Snp,
            &Request {
                evidence: &self.report,
                endorsements: Endorsements {
                    collateral: None,
                    certs: &self.certs,
                    chain: &self.chain,
                },
                policy,
                now: self.at,
                nonce,
                binding: None,
            },
        )
    }

    fn accepted(&self, policy: &Policy) -> Hardware {
        self.ask(policy, None)
            .unwrap_or_else(|rejected| panic!("{rejected}"))
    }

    fn reason(&self, policy: &Policy) -> Reason {
        self.ask(policy, None).expect_err("refused").reason
    }

    /// Every reason to refuse.
    fn failed(&self, policy: &Policy) -> Vec<&'static str> {
        let rejected = self.ask(policy, None).expect_err("refused");
        rejected
            .checks
            .iter()
            .filter(|check| check.outcome == carat_tee::Outcome::Fail)
            .map(|check| check.name)
            .collect()
    }
}

/// `strict` that takes any privilege level: what the manifest calls `signature`.
fn signature() -> Policy {
    let mut policy = Policy::dev();
    policy.snp.max_vmpl = 3;
    policy
}

macro_rules! sample {
    ($sample:expr) => {
        match $sample {
            Some(sample) => sample,
            None => return,
        }
    };
}

#[test]
fn recorded_reports_have_their_verdicts() {
    let [milan, genoa, debug, vlek] = sample!(Sample::all());
    let (strict, production, dev) = (Policy::strict(), Policy::production(), Policy::dev());

    milan.accepted(&signature());
    milan.accepted(&strict);
    milan.accepted(&dev);
    assert_eq!(milan.reason(&production), Reason::ProductDenied);

    for policy in [&strict, &production, &dev] {
        let accepted = genoa.accepted(policy);
        assert_eq!(accepted.facts().product.as_deref(), Some("genoa"));
        assert_eq!(accepted.facts().valid_until, Some(1_991_181_907));
    }

    assert!(debug.accepted(&dev).facts().debug);
    debug.accepted(&signature());
    assert_eq!(debug.reason(&strict), Reason::Debug);
    assert_eq!(debug.failed(&production), ["product_denied", "debug"]);

    vlek.accepted(&signature());
    assert_eq!(vlek.reason(&strict), Reason::Vmpl);
    assert_eq!(vlek.failed(&production), ["product_denied", "vmpl"]);
}

/// The ranges of the manifest are the certificates' validity, to the second.
#[test]
fn dates_bound_the_verdicts() {
    let [milan, genoa, debug, vlek] = sample!(Sample::all());
    for (sample, from, until) in [
        (milan, 1_680_549_823, 1_901_474_623),
        (genoa, 1_770_257_107, 1_991_181_907),
        (debug, 1_663_980_928, 1_884_905_728),
        (vlek, 1_733_868_861, 1_765_404_861),
    ] {
        let at = |at| Sample {
            at,
            ..sample.clone()
        };
        at(from).accepted(&signature());
        at(until).accepted(&signature());
        assert_eq!(
            at(from - 1).reason(&signature()),
            Reason::CertificateNotYetValid
        );
        assert_eq!(
            at(until + 1).reason(&signature()),
            Reason::CertificateExpired
        );
    }
}

#[test]
fn row_03_snp_policy_allows_debug() {
    let debug = sample!(Sample::debug());
    assert_eq!(debug.reason(&Policy::strict()), Reason::Debug);
    let accepted = debug.accepted(&Policy::dev());
    assert_eq!(accepted.claims().get("debug"), Some(&true.into()));
    assert!(
        accepted
            .still_trusted()
            .iter()
            .any(|sentence| sentence.contains("debug mode"))
    );
}

#[test]
fn row_08_nonce_in_report_data() {
    let debug = sample!(Sample::debug());
    let genoa = sample!(Sample::genoa());
    let dev = Policy::dev();
    let data: [u8; 64] = debug.report[0x50..0x90].try_into().unwrap();
    assert!(debug.ask(&dev, Some(&data)).is_ok());
    let end = data.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let outcome = debug.ask(&dev, Some(&data[..end]));
    assert!(outcome.is_ok(), "{outcome:?}");
    for wrong in [
        &data[..end - 1],
        &data[1..],
        &[0; 32][..],
        &[9; 32],
        &[],
        &[1; 65],
    ] {
        let rejected = debug.ask(&dev, Some(wrong)).expect_err("refused");
        assert_eq!(rejected.reason, Reason::NonceMismatch, "{wrong:?}");
    }
    let mut demanding = Policy::strict();
    demanding.require_nonce = true;
    assert_eq!(genoa.reason(&demanding), Reason::NonceMissing);
}

#[test]
fn row_17_vcek_of_another_chip_or_level() {
    let [milan, genoa, debug, vlek] = sample!(Sample::all());
    let strict = signature();
    for (sample, other) in [(&milan, &debug), (&debug, &milan)] {
        let swapped = Sample {
            certs: other.certs.clone(),
            at: 1_700_000_000,
            ..sample.clone()
        };
        let failed = swapped.failed(&strict);
        assert!(failed.contains(&"signature"), "{failed:?}");
        assert!(failed.contains(&"chip"), "{failed:?}");
        assert!(failed.contains(&"tcb"), "{failed:?}");
    }
    let across = Sample {
        certs: milan.certs.clone(),
        ..genoa.clone()
    };
    assert!(across.failed(&strict).contains(&"product"));
    // A report of one kind of key with the other kind's certificate.
    let other_key = Sample {
        certs: vlek.certs.clone(),
        ..milan.clone()
    };
    assert_eq!(other_key.reason(&strict), Reason::EndorsementMissing);
    let none = Sample {
        certs: Vec::new(),
        ..milan.clone()
    };
    assert_eq!(none.reason(&strict), Reason::EndorsementMissing);
    let both = Sample {
        certs: [milan.certs.clone(), debug.certs].concat(),
        ..milan
    };
    assert_eq!(both.reason(&strict), Reason::Malformed);
}

#[test]
fn row_18_expired_vlek() {
    let vlek = sample!(Sample::vlek());
    let late = Sample {
        at: 1_795_000_000,
        ..vlek
    };
    assert_eq!(late.reason(&signature()), Reason::CertificateExpired);
}

#[test]
fn row_19_root_of_another_product() {
    let [milan, genoa, _, vlek] = sample!(Sample::all());
    let policy = signature();
    for (sample, right, wrong) in [
        (&milan, "milan", "genoa"),
        (&milan, "milan", "turin"),
        (&genoa, "genoa", "milan"),
        (&vlek, "milan", "genoa"),
    ] {
        let chain = |name: &str| sample.under(&format!("snp/{name}_ask_ark_asvk.pem"));
        sample!(chain(right)).accepted(&policy);
        assert_eq!(sample!(chain(wrong)).reason(&policy), Reason::Chain);
    }
    sample!(milan.under("snp/cert_chain_milan")).accepted(&policy);
    sample!(genoa.under("snp/ms-genoa_ark.pem")).accepted(&policy);
    // An authority that is none of AMD's, whoever else is beside it.
    let stranger = sample!(milan.under("nvidia/nvidia_device_root.pem"));
    assert_eq!(stranger.reason(&policy), Reason::WrongRoot);
}

#[test]
fn row_20_privilege_level() {
    let vlek = sample!(Sample::vlek());
    assert_eq!(vlek.reason(&Policy::strict()), Reason::Vmpl);
    let mut policy = Policy::strict();
    policy.snp.max_vmpl = 1;
    let accepted = vlek.accepted(&policy);
    assert_eq!(
        accepted.claims().get("csp_id"),
        Some(&"CN=cc-us-east-2.amazonaws.com".into())
    );
}

#[test]
fn row_21_milan_is_refused_in_production() {
    let [milan, genoa, debug, vlek] = sample!(Sample::all());
    for sample in [milan, debug, vlek] {
        assert!(
            sample
                .failed(&Policy::production())
                .contains(&"product_denied")
        );
    }
    genoa.accepted(&Policy::production());
}

#[test]
fn row_22_lists_of_chips() {
    let [milan, genoa, _, vlek] = sample!(Sample::all());
    let chip = |sample: &Sample| PlatformId::of_bytes("snp-chip", &sample.report[0x1a0..0x1e0]);
    let mut policy = signature();
    policy.deny_platforms = vec![chip(&genoa)];
    assert_eq!(genoa.reason(&policy), Reason::PlatformDenied);
    milan.accepted(&policy);
    policy.deny_platforms.clear();
    policy.allow_platforms = vec![chip(&genoa)];
    genoa.accepted(&policy);
    assert_eq!(milan.reason(&policy), Reason::PlatformNotAllowed);
    // A masked chip has no name, so no list of chips lets it in.
    assert_eq!(vlek.reason(&policy), Reason::PlatformNotAllowed);
    policy.allow_platforms =
        vec![PlatformId::new("snp-csp:cn=cc-us-east-2.amazonaws.com").unwrap()];
    vlek.accepted(&policy);
}

#[test]
fn minimum_levels_and_platform_protections() {
    let [milan, genoa, ..] = sample!(Sample::all());
    let policy = |text: &str| Policy::from_toml(&format!("preset = \"strict\"\n{text}")).unwrap();
    let level = |snp: u8, microcode: u8| {
        policy(&format!(
            "[snp.min_tcb.genoa]\nbootloader = 10\nsnp = {snp}\nmicrocode = {microcode}"
        ))
    };
    genoa.accepted(&level(23, 84));
    assert_eq!(genoa.reason(&level(24, 84)), Reason::TcbMinimum);
    assert_eq!(genoa.reason(&level(23, 85)), Reason::TcbMinimum);
    // Another product's minimum says nothing about this one.
    milan.accepted(&level(255, 255));
    let alias = policy("[snp]\nrequire_alias_check = true");
    genoa.accepted(&alias);
    assert_eq!(milan.reason(&alias), Reason::PlatformInfo);
    let hiding = policy("[snp]\nrequire_ciphertext_hiding = true");
    assert_eq!(genoa.reason(&hiding), Reason::PlatformInfo);
    let digest = hex::encode(&genoa.report[0x90..0xc0]);
    genoa.accepted(&policy(&format!("[snp]\nmeasurements = [\"{digest}\"]")));
    assert_eq!(
        genoa.reason(&policy(&format!(
            "[snp]\nmeasurements = [\"{}\"]",
            "00".repeat(48)
        ))),
        Reason::Measurement
    );
}

/// Of all one-bit flips of a report, none verifies: everything is signed, or must be zero. All flips of one sample, one
/// of each byte of the others.
#[test]
fn mutations_of_a_report() {
    let policy = signature();
    for (index, sample) in sample!(Sample::all()).into_iter().enumerate() {
        sample.accepted(&policy);
        let flips = if index == 1 { 8 } else { 1 };
        let bytes = |at: usize, bit: usize| {
            let mut mutant = sample.clone();
            mutant.report[at] ^= 1 << ((at + bit) % 8);
            mutant.ask(&policy, None).is_ok()
        };
        let survivors = common::survivors(sample.report.len(), flips, bytes);
        assert_eq!(survivors, [], "bits of the report that nothing protects");
    }
}

/// The same for the certificate of the report's key.
#[test]
fn mutations_of_a_vcek() {
    let sample = sample!(Sample::genoa());
    let policy = signature();
    let survives = |at: usize, bit: usize| {
        let mut mutant = sample.clone();
        mutant.certs[0][at] ^= 1 << bit;
        mutant.ask(&policy, None).is_ok()
    };
    assert_eq!(common::survivors(sample.certs[0].len(), 8, survives), []);
}

/// A genuine certificate of a Turin chip. No report of that chip is recorded, so reports of Turin are made under a root of the
/// tests' own (`snp::tests`); here the certificate goes through AMD's pinned authorities with a report of another chip.
#[test]
fn a_genuine_turin_certificate() {
    use carat_tee::snp::{AUTHORITIES, Endorsement, Product};
    use carat_tee::x509::Certificate;

    const VCEK: &[u8] = include_bytes!("data/sev/vcek_turin.der");
    let certificate = Certificate::parse(VCEK).unwrap();
    let endorsement = Endorsement::parse(&certificate).unwrap();
    assert_eq!(endorsement.product(), Some(Product::Turin));
    assert_eq!(endorsement.hwid.map(<[u8]>::len), Some(8));
    assert!(endorsement.fmc.is_some() && endorsement.csp_id.is_none());
    let authorities = AUTHORITIES.iter().filter(|authority| {
        let issuer = Certificate::parse(authority.der).unwrap();
        certificate.signed_by(issuer.key).is_ok()
    });
    let signers: Vec<_> = authorities.map(|authority| authority.product).collect();
    assert_eq!(signers, [Product::Turin]);

    let Some(genoa) = Sample::genoa() else { return };
    let other = Sample {
        certs: vec![VCEK.to_vec()],
        ..genoa
    };
    let rejected = other.ask(&Policy::strict(), None).unwrap_err();
    let outcome = |name: &str| {
        let mut checks = rejected.checks.iter().filter(|check| check.name == name);
        checks.next().map(|check| check.outcome)
    };
    use carat_tee::Outcome::{Fail, Pass};
    for (name, expected) in [
        ("root", Pass),
        ("chain", Pass),
        ("certificate_dates", Pass),
        ("signature", Fail),
        ("product", Fail),
        ("chip", Fail),
        ("tcb", Fail),
    ] {
        assert_eq!(outcome(name), Some(expected), "{name}");
    }
}
