//! An Intel of our own: platforms, enclaves and collateral that are perfect but for one thing. Its root is the test's;
//! under the pinned root all of it is refused.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::intel;
use crate::forge::{Key, Spec, crl, extension, int, name, seq, tlv};
use crate::{Attested, Endorsements, Kind, Policy, Reason, Rejected, Request};

const AT: u64 = 1_767_225_600;
const DATES: [&str; 2] = ["250101000000Z", "320101000000Z"];
const FRESH: [&str; 2] = ["251215000000Z", "260115000000Z"];
const QE_SIGNER: [u8; 32] = [0x8c; 32];

/// A platform with an SGX enclave on it.
struct Platform {
    /// Attributes of the enclave.
    attributes: u8,
    /// Attributes of the quoting enclave, and its signer.
    qe_attributes: u8,
    qe_signer: [u8; 32],
    /// Statuses of the platform's level and of the quoting enclave's.
    status: &'static str,
    qe_status: &'static str,
    advisories: Vec<&'static str>,
    fmspc: &'static str,
    qe_id: &'static str,
    /// Serial numbers that the platform CA revoked.
    revoked: Vec<u8>,
    pck_dates: [&'static str; 2],
    crl_dates: [&'static str; 2],
    /// Who signs what, where it is not who should.
    qe_report_signer: Option<Key>,
    quote_signer: Option<Key>,
    identity_signer: Option<Key>,
    /// Whether the TCB information's signer is certified by the platform CA instead of the root.
    low_signer: bool,
    policy: Policy,
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            attributes: 0x05,
            qe_attributes: 0x11,
            qe_signer: QE_SIGNER,
            status: "UpToDate",
            qe_status: "UpToDate",
            advisories: Vec::new(),
            fmspc: "00A067110000",
            qe_id: "QE",
            revoked: Vec::new(),
            pck_dates: DATES,
            crl_dates: FRESH,
            qe_report_signer: None,
            quote_signer: None,
            identity_signer: None,
            low_signer: false,
            policy: Policy::strict(),
        }
    }
}

/// What a platform hands out.
struct Built {
    quote: Vec<u8>,
    collateral: Vec<u8>,
    root: Vec<u8>,
}

impl Platform {
    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut platform = Self::default();
        change(&mut platform);
        platform
    }

    fn build(&self) -> Built {
        let [root_key, ca_key, pck_key, tcb_key, attestation_key] = [1, 2, 3, 4, 5].map(Key::p256);
        let (root_name, ca_name) = (name("Test SGX Root CA"), name("Test SGX PCK Platform CA"));
        let (pck_name, tcb_name) = (name("Test PCK"), name("Test TCB Signing"));
        let certificate = |subject: &[u8], issuer: &[u8], key: &Key, signer: &Key, serial: u8| {
            Spec {
                subject,
                issuer,
                key,
                signer,
                authority: serial < 3,
                serial,
                dates: if serial == 7 { self.pck_dates } else { DATES },
                extensions: if serial == 7 {
                    alloc::vec![self.sgx()]
                } else {
                    Vec::new()
                },
            }
            .build()
        };
        let root = certificate(&root_name, &root_name, &root_key, &root_key, 1);
        let ca = certificate(&ca_name, &root_name, &ca_key, &root_key, 2);
        let pck = certificate(&pck_name, &ca_name, &pck_key, &ca_key, 7);
        let (above, above_key) = if self.low_signer {
            (&ca_name, &ca_key)
        } else {
            (&root_name, &root_key)
        };
        let signer = certificate(&tcb_name, above, &tcb_key, above_key, 8);
        let pem = |ders: &[&Vec<u8>]| -> String {
            ders.iter().map(|der| super::quote::encode(der)).collect()
        };

        let components: Vec<_> = (0..16).map(|_| json!({ "svn": 1 })).collect();
        let tcb_info = json!({
            "id": "SGX", "version": 3,
            "issueDate": "2025-12-15T00:00:00Z", "nextUpdate": "2026-01-15T00:00:00Z",
            "fmspc": self.fmspc, "pceId": "0000", "tcbType": 0, "tcbEvaluationDataNumber": 20,
            "tcbLevels": [{
                "tcb": { "sgxtcbcomponents": components, "pcesvn": 1 },
                "tcbDate": "2025-11-01T00:00:00Z", "tcbStatus": self.status, "advisoryIDs": self.advisories,
            }],
        })
        .to_string();
        let qe_identity = json!({
            "id": self.qe_id, "version": 2,
            "issueDate": "2025-12-15T00:00:00Z", "nextUpdate": "2026-01-15T00:00:00Z",
            "tcbEvaluationDataNumber": 20,
            "miscselect": "00000000", "miscselectMask": "FFFFFFFF",
            "attributes": "11000000000000000000000000000000",
            "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
            "mrsigner": hex::encode_upper(QE_SIGNER), "isvprodid": 1,
            "tcbLevels": [{ "tcb": { "isvsvn": 6 }, "tcbDate": "2025-11-01T00:00:00Z", "tcbStatus": self.qe_status }],
        })
        .to_string();
        let sign = |key: &Key, text: &str| hex::encode(key.raw(text.as_bytes()));
        let identity_key = self.identity_signer.as_ref().unwrap_or(&tcb_key);
        let chain = if self.low_signer {
            pem(&[&signer, &ca])
        } else {
            pem(&[&signer, &root])
        };
        let collateral = json!({
            "pck_crl_issuer_chain": pem(&[&ca, &root]),
            "root_ca_crl": hex::encode(crl(&root_name, &root_key, self.crl_dates, &[])),
            "pck_crl": hex::encode(crl(&ca_name, &ca_key, self.crl_dates, &self.revoked)),
            "tcb_info_issuer_chain": chain, "tcb_info": tcb_info,
            "tcb_info_signature": sign(&tcb_key, &tcb_info),
            "qe_identity_issuer_chain": chain, "qe_identity": qe_identity,
            "qe_identity_signature": sign(identity_key, &qe_identity),
        })
        .to_string();

        let mut header = alloc::vec![3, 0, 2, 0, 0, 0, 0, 0, 6, 0, 1, 0];
        header.extend(hex::decode("939a7233f79c4ca9940a0db3957f0607").unwrap());
        header.extend([0; 20]);
        let mut signed = header;
        signed.extend(report(self.attributes, &[0x22; 32], &[0x33; 64]));
        let point = attestation_key.point()[1..].to_vec();
        let auth = [7; 32];
        let mut data = [0; 64];
        data[..32].copy_from_slice(
            &Sha256::new()
                .chain_update(&point)
                .chain_update(auth)
                .finalize(),
        );
        let qe_report = report(self.qe_attributes, &self.qe_signer, &data);
        let mut auth_data = self
            .quote_signer
            .as_ref()
            .unwrap_or(&attestation_key)
            .raw(&signed);
        auth_data.extend(&point);
        auth_data.extend(&qe_report);
        auth_data.extend(
            self.qe_report_signer
                .as_ref()
                .unwrap_or(&pck_key)
                .raw(&qe_report),
        );
        auth_data.extend([32, 0]);
        auth_data.extend(auth);
        let chain = pem(&[&pck, &ca, &root]);
        auth_data.extend([5, 0]);
        auth_data.extend((chain.len() as u32).to_le_bytes());
        auth_data.extend(chain.bytes());
        let mut quote = signed;
        quote.extend((auth_data.len() as u32).to_le_bytes());
        quote.extend(auth_data);
        Built {
            quote,
            collateral: collateral.into_bytes(),
            root,
        }
    }

    /// The extension of a platform's certificate.
    fn sgx(&self) -> Vec<u8> {
        let oid = |tail: &[u8]| {
            tlv(
                6,
                &[&[0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 1, 0x0d, 1], tail].concat(),
            )
        };
        let field = |tail: &[u8], value: &[u8]| seq(&[&oid(tail), value]);
        let mut levels: Vec<u8> = (1..=16)
            .flat_map(|index| field(&[2, index], &int(1)))
            .collect();
        levels.extend(field(&[2, 17], &int(1)));
        levels.extend(field(&[2, 18], &tlv(4, &[1; 16])));
        let all = [
            field(&[1], &tlv(4, &[0xaa; 16])),
            field(&[2], &tlv(0x30, &levels)),
            field(&[3], &tlv(4, &[0; 2])),
            field(&[4], &tlv(4, &hex::decode("00a067110000").unwrap())),
            field(&[5], &tlv(0x0a, &[0])),
        ]
        .concat();
        extension(
            &[0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 1, 0x0d, 1],
            false,
            &tlv(0x30, &all),
        )
    }

    fn ask_under(&self, built: &Built, root: &[u8]) -> Result<Attested, Rejected> {
        crate::sgx::verify_under(
            &Request {
                evidence: &built.quote,
                endorsements: Endorsements {
                    collateral: Some(&built.collateral),
                    ..Endorsements::default()
                },
                policy: &self.policy,
                now: AT,
                nonce: None,
                binding: None,
            },
            root,
        )
    }

    fn ask(&self) -> Result<Attested, Rejected> {
        let built = self.build();
        self.ask_under(&built, &built.root)
    }

    #[track_caller]
    fn reason(&self) -> Reason {
        self.ask().expect_err("refused").reason
    }
}

/// An enclave's report.
fn report(attributes: u8, signer: &[u8; 32], data: &[u8; 64]) -> Vec<u8> {
    let mut report = alloc::vec![0; 384];
    report[..16].fill(1);
    report[48] = attributes;
    report[64..96].fill(0x11);
    report[128..160].copy_from_slice(signer);
    report[256] = 1;
    report[258] = 6;
    report[320..].copy_from_slice(data);
    report
}

#[test]
fn the_platform_of_our_own_is_in_order() {
    let accepted = Platform::default()
        .ask()
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(accepted.kind(), Kind::Sgx);
    assert!(!accepted.facts().debug);
    // The revocation lists end first.
    assert_eq!(accepted.facts().valid_until, Some(1_768_435_199));
}

#[test]
fn row_04_sgx_debug_mode() {
    let debug = Platform::with(|platform| platform.attributes = 0x07);
    assert_eq!(debug.reason(), Reason::Debug);
    let allowed = Platform::with(|platform| {
        platform.attributes = 0x07;
        platform.policy = Policy::dev();
    });
    assert!(allowed.ask().unwrap().facts().debug);
    // A quoting enclave in debug mode signs anything; no policy allows that.
    let quoting = Platform::with(|platform| {
        platform.qe_attributes = 0x13;
        platform.policy = Policy::dev();
    });
    assert_eq!(quoting.reason(), Reason::Software);
}

/// A whole vendor of an attacker's: every signature is right, and the root is not the pinned one.
#[test]
fn row_05_root_of_an_attacker() {
    let platform = Platform::default();
    let built = platform.build();
    let rejected = platform.ask_under(&built, intel::ROOT_DER).unwrap_err();
    assert_eq!(rejected.reason, Reason::WrongRoot);
    // The same with its own root left out of every chain.
    let mut hidden = built;
    let text = String::from_utf8(hidden.collateral.clone()).unwrap();
    let root = serde_json::Value::from(super::quote::encode(&hidden.root)).to_string();
    let text = text.replace(root.trim_matches('"'), "");
    hidden.collateral = text.into_bytes();
    let rejected = platform.ask_under(&hidden, intel::ROOT_DER).unwrap_err();
    assert_ne!(rejected.reason, Reason::Malformed);
    assert!(matches!(
        rejected.reason,
        Reason::WrongRoot | Reason::CollateralInvalid
    ));
}

#[test]
fn row_13_levels_that_intel_calls_out_of_date() {
    for (status, reason) in [
        ("OutOfDate", Reason::TcbOutOfDate),
        ("OutOfDateConfigurationNeeded", Reason::TcbOutOfDate),
        ("SWHardeningNeeded", Reason::TcbStatus),
        ("ConfigurationNeeded", Reason::TcbStatus),
        ("ConfigurationAndSWHardeningNeeded", Reason::TcbStatus),
    ] {
        let platform = Platform::with(|platform| platform.status = status);
        assert_eq!(platform.reason(), reason, "{status}");
        let named = Platform::with(|platform| {
            platform.status = status;
            platform.policy.intel.tcb_status = alloc::vec![status.to_string()];
        });
        named.ask().unwrap();
    }
    let quoting = Platform::with(|platform| platform.qe_status = "OutOfDate");
    assert_eq!(quoting.reason(), Reason::TcbOutOfDate);
}

/// CVE-2026-22696: a forged identity of the quoting enclave lets any enclave sign quotes.
#[test]
fn row_15_forged_identity_of_the_quoting_enclave() {
    let own = Platform::with(|platform| platform.qe_signer = [0x66; 32]);
    assert_eq!(own.reason(), Reason::Software);
    for key in [6, 2, 3, 1] {
        let forged = Platform::with(|platform| platform.identity_signer = Some(Key::p256(key)));
        assert_eq!(forged.reason(), Reason::CollateralInvalid, "key {key}");
    }
    let other = Platform::with(|platform| platform.qe_id = "TD_QE");
    assert_eq!(other.reason(), Reason::CollateralInvalid);
    // A signer below the platform CA may not speak for Intel.
    let low = Platform::with(|platform| platform.low_signer = true);
    assert_eq!(low.reason(), Reason::WrongRoot);
}

#[test]
fn row_16_revoked_is_no_success() {
    let named = |change: &dyn Fn(&mut Platform)| {
        Platform::with(|platform| {
            platform.policy = Policy::dev();
            platform.policy.intel.tcb_status = ["UpToDate", "Revoked"].map(String::from).into();
            change(platform);
        })
    };
    assert_eq!(
        named(&|platform| platform.status = "Revoked").reason(),
        Reason::TcbRevoked
    );
    assert_eq!(
        named(&|platform| platform.qe_status = "Revoked").reason(),
        Reason::TcbRevoked
    );
    // The platform's certificate (serial 7) on the revocation list.
    let certificate = named(&|platform| platform.revoked = alloc::vec![9, 7]);
    assert_eq!(certificate.reason(), Reason::Revoked);
    named(&|platform| platform.revoked = alloc::vec![9])
        .ask()
        .unwrap();
}

#[test]
fn row_28_up_to_date_with_an_advisory() {
    let advised = |deny: &[&str]| {
        Platform::with(|platform| {
            platform.advisories = alloc::vec!["INTEL-SA-01234"];
            platform.policy.intel.deny_advisories = deny.iter().map(ToString::to_string).collect();
        })
    };
    let accepted = advised(&["INTEL-SA-00001"]).ask().unwrap();
    assert_eq!(
        accepted.claims().get("advisories"),
        Some(&alloc::vec!["INTEL-SA-01234".to_string()].into())
    );
    assert!(
        accepted
            .still_trusted()
            .iter()
            .any(|text| text.contains("INTEL-SA-01234"))
    );
    assert_eq!(
        advised(&["intel-sa-01234"]).reason(),
        Reason::AdvisoryDenied
    );
}

#[test]
fn every_link_is_checked() {
    let other =
        |change: &dyn Fn(&mut Platform)| Platform::with(|platform| change(platform)).reason();
    assert_eq!(
        other(&|platform| platform.qe_report_signer = Some(Key::p256(9))),
        Reason::Signature
    );
    assert_eq!(
        other(&|platform| platform.quote_signer = Some(Key::p256(9))),
        Reason::Signature
    );
    assert_eq!(
        other(&|platform| platform.fmspc = "00A067110001"),
        Reason::CollateralInvalid
    );
    assert_eq!(
        other(&|platform| platform.pck_dates = ["240101000000Z", "251231000000Z"]),
        Reason::CertificateExpired
    );
    assert_eq!(
        other(&|platform| platform.pck_dates = ["260201000000Z", "320101000000Z"]),
        Reason::CertificateNotYetValid
    );
    assert_eq!(
        other(&|platform| platform.crl_dates = ["251101000000Z", "251215000000Z"]),
        Reason::CollateralExpired
    );
    let unknown = format!("{:?}", other(&|platform| platform.status = "Fine"));
    assert_eq!(unknown, "CollateralInvalid");
}
