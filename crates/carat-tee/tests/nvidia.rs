//! NVIDIA: recorded Hopper reports, and reports that must be refused.

mod common;

use carat_receipt::SigningKey;
use carat_tee::nvidia::reference::{Bundle, Manifest, Part};
use carat_tee::nvidia::verify_all;
use carat_tee::{Endorsements, Hardware, Kind, Policy, Reason, Rejected, Request, input, verify};

const AT: u64 = 1_735_689_600;
const NONCE: &str = "27a328247bf7935c993341cf587be6f05986ccce4fe7ba2c54100bd616a58f66";

struct Sample {
    report: Vec<u8>,
    chain: Vec<Vec<u8>>,
}

fn hopper(name: &str) -> Option<Sample> {
    let text = common::evidence::read(&format!("nvidia/{name}"))?;
    let chain = common::evidence::read("nvidia/nvsdk-hopperCertChain.txt")?;
    Some(Sample {
        report: input::evidence(Kind::Nvidia, &text).unwrap().into_owned(),
        chain: input::certificates(&chain).unwrap(),
    })
}

fn valid() -> Option<Sample> {
    hopper("nvsdk-hopperAttestationReport.txt")
}

impl Sample {
    fn request<'a>(&'a self, policy: &'a Policy) -> Request<'a> {
        Request {
            evidence: &self.report,
            endorsements: Endorsements {
                collateral: None,
                certs: &[],
                chain: &self.chain,
            },
            policy,
            now: AT,
            nonce: None,
            binding: None,
        }
    }

    fn run(&self) -> Result<Hardware, Rejected> {
        verify(Kind::Nvidia, &self.request(&Policy::strict()))
    }

    fn reason(&self) -> Reason {
        self.run().expect_err("refused").reason
    }
}

#[test]
fn recorded_report_is_accepted() {
    let Some(sample) = valid() else { return };
    for policy in [Policy::strict(), Policy::production(), Policy::dev()] {
        let accepted = verify(Kind::Nvidia, &sample.request(&policy)).unwrap();
        assert_eq!(accepted.facts().product.as_deref(), Some("hopper"));
        assert_eq!(
            accepted.claims().get("driver_version"),
            Some(&"535.86.09".into())
        );
        assert_eq!(
            accepted.claims().get("vbios_version"),
            Some(&"96.00.5E.00.01".into())
        );
    }
    // Root first, root left out: the same chain.
    let mut other = valid().unwrap();
    other.chain.reverse();
    other.run().unwrap();
    other.chain.reverse();
    other.chain.pop();
    other.run().unwrap();
    other.chain.pop();
    assert_eq!(other.reason(), Reason::Chain);
    other.chain.clear();
    assert_eq!(other.reason(), Reason::EndorsementMissing);
}

#[test]
fn row_09_gpu_report_for_another_binding() {
    let Some(sample) = valid() else { return };
    let policy = Policy::strict();
    let ask = |nonce: &[u8]| {
        verify(
            Kind::Nvidia,
            &Request {
                nonce: Some(nonce),
                ..sample.request(&policy)
            },
        )
    };
    ask(&hex(NONCE)).unwrap();
    assert_eq!(ask(&[0; 32]).unwrap_err().reason, Reason::NonceMismatch);
    assert_eq!(
        ask(&hex(NONCE)[..31]).unwrap_err().reason,
        Reason::NonceMismatch
    );
    let binding = carat_tee::Binding {
        value: &[1; 32],
        key: &[2; 32],
    };
    let bound = Request {
        binding: Some(binding),
        ..sample.request(&policy)
    };
    assert_eq!(
        verify(Kind::Nvidia, &bound).unwrap_err().reason,
        Reason::BindingMismatch
    );
}

#[test]
fn row_10_one_gpu_counted_twice() {
    let Some(sample) = valid() else { return };
    let policy = Policy::strict();
    let one = sample.request(&policy);
    assert_eq!(verify_all(&[one]).unwrap().len(), 1);
    assert_eq!(
        verify_all(&[one, one]).unwrap_err().reason,
        Reason::Duplicate
    );
}

#[test]
fn row_11_bad_signature_and_trailing_byte() {
    let Some(bad) = hopper("nvsdk-hopperAttestationReportInvalidSignature.txt") else {
        return;
    };
    assert_eq!(bad.reason(), Reason::Signature);
    for byte in [0, 1, 0xff] {
        let mut longer = valid().unwrap();
        longer.report.push(byte);
        assert_eq!(longer.reason(), Reason::Padding);
        let mut lenient = Policy::strict();
        lenient.nvidia.allow_trailing_bytes = true;
        verify(Kind::Nvidia, &longer.request(&lenient)).unwrap();
    }
    let mut shorter = valid().unwrap();
    shorter.report.pop();
    assert_eq!(shorter.reason(), Reason::Malformed);
}

/// The reference values that `tools/python/nvidia_rim.py` took from NVIDIA's signed manifest of this VBIOS
/// (`nvidia/nvtrust-1010_0200_882_96005E0001_PROD.swidtag` at 1717200000), signed by the key of `[5; 32]`.
const BUNDLE: &[u8] = include_bytes!("fixtures/nvidia-96005E0001.cbor");

fn manifest() -> Manifest {
    let bundle = Bundle::decode(BUNDLE).unwrap();
    assert_eq!((bundle.made_at, bundle.manifests.len()), (1_717_200_000, 1));
    let manifest = bundle.manifests[0].clone();
    assert_eq!((manifest.part, manifest.values.len()), (Part::Vbios, 12));
    assert_eq!(
        (manifest.version.as_str(), manifest.not_after),
        ("96.00.5E.00.01", 1_750_584_633)
    );
    manifest
}

#[test]
fn row_12_vbios_measurements() {
    let Some(sample) = valid() else { return };
    let key = SigningKey::from_secret(&[5; 32]);
    let mut policy = Policy::strict();
    policy.nvidia.reference_keys = vec![
        key.public()
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    ];
    let run = |bundle: &[u8], policy: &Policy, now: u64| {
        let endorsements = Endorsements {
            collateral: Some(bundle),
            certs: &[],
            chain: &sample.chain,
        };
        verify(
            Kind::Nvidia,
            &Request {
                endorsements,
                now,
                ..sample.request(policy)
            },
        )
        .map_err(|rejected| rejected.reason)
    };
    // Python and Rust write the same bundle.
    assert_eq!(Bundle::sign(1_717_200_000, &[manifest()], &key), BUNDLE);
    let good = BUNDLE.to_vec();
    let accepted = run(&good, &policy, AT).unwrap();
    let line = &accepted
        .checks()
        .iter()
        .find(|check| check.name == "reference_values")
        .unwrap()
        .reason;
    assert!(line.contains("12 of 12"), "{line}");

    // One value changed: 11 of 12.
    let mut wrong = manifest();
    wrong.values[3].1[0][0] ^= 1;
    assert_eq!(
        run(&Bundle::sign(AT, &[wrong], &key), &policy, AT).unwrap_err(),
        Reason::Measurement
    );
    // Of another firmware; signed by a certificate that has run out; made tomorrow; by an unknown key; altered.
    let mut other = manifest();
    other.version = "96.00.5E.00.03".into();
    assert_eq!(
        run(&Bundle::sign(AT, &[other], &key), &policy, AT).unwrap_err(),
        Reason::ReferenceInvalid
    );
    assert_eq!(
        run(&good, &policy, 1_750_584_634).unwrap_err(),
        Reason::ReferenceInvalid
    );
    let future = Bundle::sign(AT + 1000, &[manifest()], &key);
    assert_eq!(
        run(&future, &policy, AT).unwrap_err(),
        Reason::ReferenceInvalid
    );
    assert_eq!(
        run(&good, &Policy::strict(), AT).unwrap_err(),
        Reason::ReferenceInvalid
    );
    for at in 0..good.len() {
        let mut altered = good.clone();
        altered[at] ^= 1;
        Bundle::decode(&altered).unwrap_err();
    }
    policy.nvidia.require_reference = true;
    assert_eq!(
        run(&good, &policy, AT).unwrap_err(),
        Reason::ReferenceMissing
    );
    let none = verify(Kind::Nvidia, &sample.request(&policy)).unwrap_err();
    assert_eq!(none.reason, Reason::ReferenceMissing);
}

#[test]
fn a_chip_can_be_denied() {
    let Some(sample) = valid() else { return };
    let mut policy = Policy::strict();
    policy.deny_platforms = sample.run().unwrap().facts().platforms.clone();
    assert!(!policy.deny_platforms.is_empty());
    assert_eq!(
        verify(Kind::Nvidia, &sample.request(&policy))
            .unwrap_err()
            .reason,
        Reason::PlatformDenied
    );
}

/// NVIDIA's tools write report and chain into one JSON, in several forms.
#[test]
fn evidence_as_the_sdk_writes_it() {
    use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
    let (Some(sample), Some(pem)) = (
        valid(),
        common::evidence::read("nvidia/nvsdk-hopperCertChain.txt"),
    ) else {
        return;
    };
    let (report, chain) = (
        Base64::encode_string(&sample.report),
        Base64::encode_string(&pem),
    );
    let item = format!(
        r#"{{"arch":"HOPPER","certificate":"{chain}","evidence":"{report}","nonce":"{NONCE}"}}"#
    );
    let wrapped = format!(
        r#"{{"__cmwc_t":"tag:nvidia.com,2026:x","gpu_0":{{"__cmwc_t":"y","evidence":["application/vnd.nvidia.spdm-measurement-transcript","{}"],"certificate":["application/vnd.nvidia.pem-cert-chain","{}"]}}}}"#,
        Base64UrlUnpadded::encode_string(&sample.report),
        Base64UrlUnpadded::encode_string(&pem),
    );
    for json in [
        item.clone(),
        format!("[{item}]"),
        format!(r#" {{"nonce":"{NONCE}","evidence_list":[{item}],"arch":"HOPPER"}}"#),
        wrapped,
    ] {
        let file = input::file(Kind::Nvidia, json.as_bytes()).unwrap();
        assert_eq!(
            (file.evidence.as_ref(), &file.chain),
            (&sample.report[..], &sample.chain)
        );
    }
    // A bare report holds no chain.
    let text = common::evidence::read("nvidia/nvsdk-hopperAttestationReport.txt").unwrap();
    let file = input::file(Kind::Nvidia, &text).unwrap();
    assert_eq!(
        (file.evidence.as_ref(), file.chain.len()),
        (&sample.report[..], 0)
    );

    for (json, expected) in [
        (format!("[{item},{item}]"), "2 GPUs"),
        ("{}".into(), "no object"),
        ("[".into(), "JSON"),
        (item.replace("evidence", "evidences"), "no object"),
        (format!("[[[[[{item}]]]]]"), "no object"),
        (item.replace(&chain, ""), "empty"),
        (item.replace(&chain, "AAAA"), "no certificate"),
    ] {
        let error = input::file(Kind::Nvidia, json.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
