//! Whoever does the arithmetic, the verdict is the same: over every signature of the recorded evidence, and over one-bit
//! changes of key, message and signature. (`wycheproof.rs` compares the backends over its vectors.)

mod common;

use carat_tee::crypto::{Algorithm, Backend, Form, PublicKey, SignatureError, verify_by};
use carat_tee::nitro::Document;
use carat_tee::nvidia::spdm::Report as GpuReport;
use carat_tee::snp::{AUTHORITIES, Report};
use carat_tee::x509::Certificate;
use carat_tee::{Kind, gcp, input};
use common::survivors;

/// A signature of the evidence, with everything that it depends on.
struct Case {
    name: String,
    key: Key,
    algorithm: Algorithm,
    form: Form,
    message: Vec<u8>,
    signature: Vec<u8>,
}

/// [`PublicKey`] with its own bytes.
#[derive(Clone)]
enum Key {
    P256(Vec<u8>),
    P384(Vec<u8>),
    Rsa(Vec<u8>, Vec<u8>),
}

impl Key {
    fn of(key: PublicKey<'_>) -> Self {
        match key {
            PublicKey::P256(point) => Self::P256(point.to_vec()),
            PublicKey::P384(point) => Self::P384(point.to_vec()),
            PublicKey::Rsa { modulus, exponent } => Self::Rsa(modulus.to_vec(), exponent.to_vec()),
        }
    }

    fn key(&self) -> PublicKey<'_> {
        match self {
            Self::P256(point) => PublicKey::P256(point),
            Self::P384(point) => PublicKey::P384(point),
            Self::Rsa(modulus, exponent) => PublicKey::Rsa { modulus, exponent },
        }
    }

    fn bytes(&mut self) -> &mut Vec<u8> {
        match self {
            Self::P256(bytes) | Self::P384(bytes) | Self::Rsa(bytes, _) => bytes,
        }
    }
}

impl Case {
    fn ask(
        &self,
        key: PublicKey<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let mut verdicts = Backend::ALL
            .iter()
            .map(|backend| verify_by(*backend, key, self.algorithm, self.form, message, signature));
        let first = verdicts.next().expect("a backend");
        assert!(verdicts.all(|other| other == first), "{}", self.name);
        first
    }
}

/// Each certificate of a chain that is signed by the next one.
fn chain(cases: &mut Vec<Case>, name: &str, ders: &[Vec<u8>]) {
    let parsed: Vec<_> = ders
        .iter()
        .map(|der| Certificate::parse(der).expect("a certificate"))
        .collect();
    for pair in parsed.windows(2) {
        let (algorithm, message, signature) = pair[0].signed();
        cases.push(Case {
            name: format!("{name}, certificate {:?}", pair[0].common_name()),
            key: Key::of(pair[1].key),
            algorithm,
            form: Form::Der,
            message: message.to_vec(),
            signature: signature.to_vec(),
        });
    }
}

/// A signature by the key of a certificate over a message, both numbers in full length.
fn by(cases: &mut Vec<Case>, name: &str, leaf: &[u8], message: &[u8], signature: &[u8]) {
    let key = Key::of(Certificate::parse(leaf).expect("a certificate").key);
    let algorithm = match key {
        Key::P256(_) => Algorithm::EcdsaSha256,
        Key::P384(_) => Algorithm::EcdsaSha384,
        Key::Rsa(..) => Algorithm::RsaPkcs1Sha256,
    };
    cases.push(Case {
        name: name.into(),
        key,
        algorithm,
        form: Form::Raw,
        message: message.to_vec(),
        signature: signature.to_vec(),
    });
}

/// Every signature that the recorded evidence holds, and AMD's authorities.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let read = common::evidence::read;
    for authority in AUTHORITIES {
        let root = AUTHORITIES
            .iter()
            .find(|root| {
                root.product == authority.product && root.role == carat_tee::snp::Role::Ark
            })
            .expect("every product has a root");
        chain(
            &mut cases,
            "authorities",
            &[authority.der.to_vec(), root.der.to_vec()],
        );
    }
    for file in [
        "nitro/evervault-beta-valid.cbor",
        "nitro/evervault-beta-debug.cbor",
    ] {
        let Some(bytes) = read(file) else { continue };
        let document = Document::parse(&bytes).expect("a document");
        let mut ders = vec![document.certificate.to_vec()];
        ders.extend(document.cabundle.iter().rev().map(|der| der.to_vec()));
        by(
            &mut cases,
            file,
            &ders[0],
            &document.sig_structure(),
            document.signature,
        );
        chain(&mut cases, file, &ders);
    }
    for (file, certificate) in [
        ("snp/report_milan.hex", "snp/vcek_milan.der"),
        ("snp/ms-genoa_report.bin", "snp/ms-genoa_vcek.pem"),
        ("snp/gosev-attestation.bin", "snp/gosev-vcek.der"),
        (
            "snp/trustee-test-vlek-report.bin",
            "snp/trustee-test-vlek.der",
        ),
    ] {
        let (Some(bytes), Some(certificate)) = (read(file), read(certificate)) else {
            continue;
        };
        let bytes = input::evidence(Kind::Snp, &bytes).expect("a report");
        let report = Report::parse(&bytes).expect("a report");
        let ders = input::certificates(&certificate).expect("a certificate");
        let signature = report.signature().expect("a signature");
        by(&mut cases, file, &ders[0], report.signed(), &signature);
        let leaf = Certificate::parse(&ders[0]).expect("a certificate");
        let issuer = AUTHORITIES
            .iter()
            .find(|authority| {
                Certificate::parse(authority.der).is_ok_and(|above| above.subject == leaf.issuer)
            })
            .expect("an authority of AMD's");
        chain(&mut cases, file, &[ders[0].clone(), issuer.der.to_vec()]);
    }
    if let (Some(text), Some(pem)) = (
        read("nvidia/nvsdk-hopperAttestationReport.txt"),
        read("nvidia/nvsdk-hopperCertChain.txt"),
    ) {
        let bytes = input::evidence(Kind::Nvidia, &text).expect("a report");
        let report = GpuReport::parse(&bytes).expect("a report");
        let ders = input::certificates(&pem).expect("certificates");
        by(
            &mut cases,
            "nvidia",
            &ders[0],
            report.signed,
            report.signature,
        );
        chain(&mut cases, "nvidia", &ders);
    }
    if let Some(bytes) = read("gcp/oak-confidential-space-sample.jwt") {
        let token = gcp::Token::parse(&bytes).expect("a token");
        by(
            &mut cases,
            "gcp",
            &token.x5c[0],
            token.signed,
            &token.signature,
        );
        chain(&mut cases, "gcp", &token.x5c);
    }
    if let Some(root) = read("tdx/Intel_SGX_Root_CA.der") {
        chain(&mut cases, "intel", &[root.clone(), root]);
    }
    cases
}

#[test]
fn backends_agree_on_every_recorded_signature() {
    let cases = cases();
    assert!(cases.len() >= 9);
    for case in &cases {
        assert_eq!(
            case.ask(case.key.key(), &case.message, &case.signature),
            Ok(()),
            "{}",
            case.name
        );
        // Another message, and another length.
        let mut message = case.message.clone();
        message[0] ^= 1;
        case.ask(case.key.key(), &message, &case.signature)
            .expect_err("another message");
        let shorter = &case.signature[..case.signature.len() - 1];
        case.ask(case.key.key(), &case.message, shorter)
            .expect_err("a shorter signature");
    }
}

/// Every bit of the signature and one bit of each byte of the key, for one signature of each algorithm and form.
#[test]
fn backends_agree_on_changed_signatures_and_keys() {
    let mut seen = Vec::new();
    for case in cases() {
        if seen.contains(&(case.algorithm, case.form)) {
            continue;
        }
        seen.push((case.algorithm, case.form));
        let changed = survivors(case.signature.len(), 8, |at, bit| {
            let mut signature = case.signature.clone();
            signature[at] ^= 1 << bit;
            case.ask(case.key.key(), &case.message, &signature).is_ok()
        });
        assert_eq!(changed, [], "{}", case.name);
        let len = case.key.clone().bytes().len();
        let changed = survivors(len, 1, |at, _| {
            let mut key = case.key.clone();
            key.bytes()[at] ^= 1 << (at % 8);
            case.ask(key.key(), &case.message, &case.signature).is_ok()
        });
        assert_eq!(changed, [], "{}", case.name);
    }
    assert!(!seen.is_empty());
}
