//! Azure confidential VMs on SEV-SNP: recorded evidence, and evidence that must be refused.

mod common;

use carat_tee::{
    Endorsements, Hardware, Kind, Outcome, PlatformId, Policy, Reason, Rejected, Request, input,
    verify,
};
use serde_json::{Value, json};

const AT: u64 = 1_748_736_000;
const HARDWARE: std::ops::Range<usize> = 32..32 + 1184;

/// Evidence, decoded, so that tests change bytes and not their text.
#[derive(Clone)]
struct Sample {
    hcl: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
    pcrs: Vec<Vec<u8>>,
    vcek: Vec<u8>,
    at: u64,
}

impl Sample {
    fn read() -> Option<Self> {
        let json = common::evidence::read("azure/trustee-az-snp-vtpm-evidence-v1.json")?;
        let json: Value = serde_json::from_slice(&json).unwrap();
        let bytes = |value: &Value| {
            let text = value.as_str().unwrap();
            input::decode(text.as_bytes()).unwrap().into_owned()
        };
        let quote = &json["tpm_quote"];
        Some(Self {
            hcl: bytes(&json["hcl_report"]),
            message: bytes(&quote["message"]),
            signature: bytes(&quote["signature"]),
            pcrs: quote["pcrs"]
                .as_array()
                .unwrap()
                .iter()
                .map(bytes)
                .collect(),
            vcek: bytes(&json["vcek"]),
            at: AT,
        })
    }

    fn json(&self) -> Value {
        let pcrs: Vec<_> = self.pcrs.iter().map(hex::encode).collect();
        json!({
            "version": 1,
            "hcl_report": hex::encode(&self.hcl),
            "tpm_quote": {
                "message": hex::encode(&self.message),
                "signature": hex::encode(&self.signature),
                "pcrs": pcrs,
            },
            "vcek": hex::encode(&self.vcek),
        })
    }

    fn ask(&self, policy: &Policy, nonce: Option<&[u8]>) -> Result<Hardware, Rejected> {
        ask(
            &self.json().to_string().into_bytes(),
            policy,
            self.at,
            nonce,
        )
    }

    fn reason(&self, policy: &Policy) -> Reason {
        self.ask(policy, None).expect_err("refused").reason
    }

    fn failed(&self, policy: &Policy) -> Vec<&'static str> {
        let rejected = self.ask(policy, None).expect_err("refused");
        let failed = |check: &carat_tee::Check| check.outcome == Outcome::Fail;
        let checks = rejected.checks.iter().filter(|check| failed(check));
        checks.map(|check| check.name).collect()
    }
}

fn ask(
    evidence: &[u8],
    policy: &Policy,
    now: u64,
    nonce: Option<&[u8]>,
) -> Result<Hardware, Rejected> {
    verify(
        Kind::AzureSnp,
        &Request {
            evidence,
            endorsements: Endorsements::default(),
            policy,
            now,
            nonce,
            binding: None,
        },
    )
}

macro_rules! sample {
    () => {
        match Sample::read() {
            Some(sample) => sample,
            None => return,
        }
    };
}

#[test]
fn recorded_evidence_has_its_verdicts() {
    let file = corpus!("azure/trustee-az-snp-vtpm-evidence-v1.json");
    for (policy, at) in [
        (Policy::strict(), 1_738_081_615),
        (Policy::strict(), AT),
        (Policy::dev(), 1_958_920_015),
    ] {
        let accepted = ask(&file, &policy, at, Some(b"challenge")).unwrap();
        assert_eq!(accepted.facts().bound, b"challenge");
        assert_eq!(accepted.facts().product.as_deref(), Some("milan"));
        assert_eq!(accepted.facts().valid_until, Some(1_958_920_015));
    }
    let reason = |policy: &Policy, at| ask(&file, policy, at, None).unwrap_err().reason;
    assert_eq!(reason(&Policy::production(), AT), Reason::ProductDenied);
    assert_eq!(
        reason(&Policy::strict(), 1_738_081_614),
        Reason::CertificateNotYetValid
    );
    assert_eq!(
        reason(&Policy::strict(), 1_958_920_016),
        Reason::CertificateExpired
    );
}

#[test]
fn row_08_nonce_in_the_quote() {
    let sample = sample!();
    let strict = Policy::strict();
    sample.ask(&strict, Some(b"challenge")).unwrap();
    for wrong in [&b"challeng"[..], b"challenge\0", b"other", b""] {
        let rejected = sample.ask(&strict, Some(wrong)).unwrap_err();
        assert_eq!(rejected.reason, Reason::NonceMismatch);
    }
    let mut demanding = Policy::strict();
    demanding.require_nonce = true;
    assert_eq!(sample.reason(&demanding), Reason::NonceMissing);
}

#[test]
fn row_21_milan_is_refused_in_production() {
    assert_eq!(sample!().failed(&Policy::production()), ["product_denied"]);
}

#[test]
fn row_22_lists_of_machines() {
    let sample = sample!();
    for name in [
        "azure-vm:26f8bc30-774e-4290-8e7a-535f3b672aee".to_string(),
        format!("snp-chip:{}", hex::encode(&sample.hcl[32 + 0x1a0..][..64])),
    ] {
        let mut policy = Policy::strict();
        policy.deny_platforms = vec![PlatformId::new(name).unwrap()];
        assert_eq!(sample.reason(&policy), Reason::PlatformDenied);
    }
}

/// A TPM's quote is worth what names its key. Each case is a quote that verifies under some key.
#[test]
fn row_25_tpm_quote_without_its_key_bound() {
    let sample = sample!();
    let strict = Policy::strict();
    // The key in the runtime data replaced by another (the TPM's second key).
    let find = |part: &str| {
        let wanted = part.as_bytes();
        sample
            .hcl
            .windows(wanted.len())
            .position(|window| window == wanted)
            .unwrap()
    };
    let (ak, ek) = (find("HCLAkPub"), find("HCLEkPub"));
    let mut swapped = sample.clone();
    swapped.hcl[ak..ak + 8].copy_from_slice(b"HCLEkPub");
    swapped.hcl[ek..ek + 8].copy_from_slice(b"HCLAkPub");
    assert_eq!(swapped.reason(&strict), Reason::BindingMismatch);
    assert_eq!(swapped.failed(&strict), ["runtime_data", "tpm_signature"]);
    // Whoever asks for a report below the paravisor's privilege names what key it likes, whatever the policy lets pass of other
    // guests. (No chip signed this one, so it is refused for that too.)
    let mut lax = Policy::strict();
    lax.snp.max_vmpl = 3;
    let mut guests = sample.clone();
    guests.hcl[HARDWARE.start + 0x30] = 2;
    assert_eq!(guests.failed(&lax), ["signature", "paravisor"]);
    // Where nothing names the paravisor, the verdict says what that leaves open.
    let open = |policy: &Policy| {
        let accepted = sample.ask(policy, None).unwrap();
        let mut lines = accepted.still_trusted().iter();
        lines.any(|line| line.contains("names none"))
    };
    assert!(open(&strict));
    let mut named = Policy::strict();
    let digest = &sample.hcl[HARDWARE.start + 0xe0..][..48];
    named.snp.id_key_digests = vec![hex::encode(digest)];
    assert!(!open(&named));
    named.snp.id_key_digests = vec!["00".repeat(48)];
    assert_eq!(sample.failed(&named), ["id_key"]);
    // One letter of the configuration: the key is still the right one, and the report does not name it any more.
    let mut configured = sample.clone();
    let at = find("console-enabled");
    configured.hcl[at] = b'k';
    assert_eq!(configured.failed(&strict), ["runtime_data"]);
    // Another message under the same key's signature.
    let mut other = sample.clone();
    let extra = other
        .message
        .windows(9)
        .position(|window| window == b"challenge")
        .unwrap();
    other.message[extra..extra + 9].copy_from_slice(b"CHALLENGE");
    let rejected = other.ask(&strict, Some(b"CHALLENGE")).unwrap_err();
    assert_eq!(rejected.reason, Reason::Signature);
    // PCRs that the quote is not over.
    let mut pcrs = sample.clone();
    pcrs.pcrs[4][0] ^= 1;
    assert_eq!(pcrs.failed(&strict), ["pcrs"]);
    pcrs.pcrs.clear();
    assert_eq!(pcrs.failed(&strict), ["pcrs"]);
    // Evidence of a TPM without hardware below it.
    let mut json = sample.json();
    json.as_object_mut().unwrap().remove("hcl_report");
    let rejected = ask(json.to_string().as_bytes(), &strict, AT, None).unwrap_err();
    assert_eq!(rejected.reason, Reason::Malformed);
    let mut json = sample.json();
    json.as_object_mut().unwrap().remove("vcek");
    let rejected = ask(json.to_string().as_bytes(), &strict, AT, None).unwrap_err();
    assert_eq!(rejected.reason, Reason::EndorsementMissing);
}

#[test]
fn other_forms_of_the_same_evidence() {
    let sample = sample!();
    let strict = Policy::strict();
    // Lists of numbers, older names, PEM, and the VCEK beside the evidence.
    let json = json!({
        "report": sample.hcl,
        "quote": { "message": sample.message, "signature": sample.signature, "pcrs": sample.pcrs },
    });
    let (json, certs) = (json.to_string(), [sample.vcek.clone()]);
    let request = Request {
        evidence: json.as_bytes(),
        endorsements: Endorsements {
            certs: &certs,
            ..Endorsements::default()
        },
        policy: &strict,
        now: AT,
        nonce: Some(b"challenge"),
        binding: None,
    };
    let accepted = verify(Kind::AzureSnp, &request).unwrap();
    assert_eq!(accepted.facts(), sample.ask(&strict, None).unwrap().facts());
    for (field, value) in [
        ("version", json!(2)),
        ("vcek", json!("zz")),
        ("hcl_report", json!("?")),
    ] {
        let mut json = sample.json();
        json[field] = value;
        assert!(
            ask(json.to_string().as_bytes(), &strict, AT, None).is_err(),
            "{field}"
        );
    }
    for text in ["", "[]", "{}", "\u{0}", "{\"hcl_report\":[[[[[[[[[["] {
        let rejected = ask(text.as_bytes(), &strict, AT, None).unwrap_err();
        assert_eq!(rejected.reason, Reason::Malformed);
    }
    let large = format!("{{\"x\":\"{}\"}}", "a".repeat(70_000));
    assert_eq!(
        ask(large.as_bytes(), &strict, AT, None).unwrap_err().reason,
        Reason::TooLarge
    );
}

/// Of all one-bit flips of the decoded evidence none verifies. (Some of the hardware's report, whose flips are a test
/// of `snp`.)
#[test]
fn mutations_of_evidence() {
    let sample = sample!();
    let strict = Policy::strict();
    sample.ask(&strict, None).unwrap();
    let check = |name: &str, of: &(dyn Fn(&mut Sample) -> &mut Vec<u8> + Sync)| {
        let len = of(&mut sample.clone()).len();
        let survives = |at: usize, bit: usize| {
            if name == "hcl"
                && HARDWARE.contains(&at)
                && (!at.is_multiple_of(8) || bit != at / 8 % 8)
            {
                return false;
            }
            let mut mutant = sample.clone();
            of(&mut mutant)[at] ^= 1 << bit;
            mutant.ask(&strict, None).is_ok()
        };
        assert_eq!(common::survivors(len, 8, survives), [], "{name}");
    };
    check("hcl", &|sample| &mut sample.hcl);
    check("message", &|sample| &mut sample.message);
    check("signature", &|sample| &mut sample.signature);
    check("pcr", &|sample| &mut sample.pcrs[23]);
}
