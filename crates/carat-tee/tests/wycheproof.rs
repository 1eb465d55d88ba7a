//! Signatures that others made to be accepted or refused: the vectors of Project Wycheproof for every algorithm that
//! vendors' evidence uses.

use carat_tee::crypto::{Algorithm, Backend, Form, PublicKey, verify, verify_by};
use carat_tee::der::Reader;
use wycheproof::TestResult;

/// Compares one verdict; returns whether the vector was one to accept.
fn compare(result: TestResult, accepted: bool, what: &str) -> bool {
    match result {
        TestResult::Valid => assert!(accepted, "{what} must verify"),
        TestResult::Invalid => assert!(!accepted, "{what} must not verify"),
        // Valid by some readings, such as a missing NULL: both are fine, and here the strict one is taken.
        TestResult::Acceptable => {}
    }
    result == TestResult::Valid
}

/// Whether a signature verifies: every backend must say the same.
fn accepts(
    key: PublicKey<'_>,
    algorithm: Algorithm,
    form: Form,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let verdict = verify(key, algorithm, form, message, signature);
    for backend in Backend::ALL {
        assert_eq!(
            verify_by(*backend, key, algorithm, form, message, signature),
            verdict,
            "{backend:?}"
        );
    }
    verdict.is_ok()
}

fn rsa_key(asn: &[u8]) -> PublicKey<'_> {
    let mut key = Reader::new(asn).sequence().unwrap();
    PublicKey::Rsa {
        modulus: key.unsigned().unwrap(),
        exponent: key.unsigned().unwrap(),
    }
}

#[test]
fn rsa_pkcs1_sha256() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    let mut valid = 0;
    for name in [
        TestName::Rsa2048Sha256,
        TestName::Rsa3072Sha256,
        TestName::Rsa4096Sha256,
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let key = rsa_key(&group.asn_key);
                let verdict = accepts(
                    key,
                    Algorithm::RsaPkcs1Sha256,
                    Form::Raw,
                    &test.msg,
                    &test.sig,
                );
                // Exponents of more than 32 bits are refused before anything is computed; Wycheproof has none here.
                valid += usize::from(compare(
                    test.result,
                    verdict,
                    &format!("{name:?} {}", test.tc_id),
                ));
            }
        }
    }
    assert!(valid > 20);
}

#[test]
fn rsa_pss_sha384() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    let mut valid = 0;
    for name in [
        TestName::RsaPss2048Sha384Mgf1SaltLen48,
        TestName::RsaPss4096Sha384Mgf1SaltLen48,
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let key = rsa_key(&group.asn_key);
                let verdict = accepts(
                    key,
                    Algorithm::RsaPssSha384,
                    Form::Raw,
                    &test.msg,
                    &test.sig,
                );
                valid += usize::from(compare(
                    test.result,
                    verdict,
                    &format!("{name:?} {}", test.tc_id),
                ));
            }
        }
    }
    assert!(valid > 20);
}

#[test]
fn ecdsa() {
    use wycheproof::ecdsa::{TestName, TestSet};
    let mut valid = 0;
    for (name, algorithm, form) in [
        (
            TestName::EcdsaSecp256r1Sha256,
            Algorithm::EcdsaSha256,
            Form::Der,
        ),
        (
            TestName::EcdsaSecp256r1Sha256P1363,
            Algorithm::EcdsaSha256,
            Form::Raw,
        ),
        (
            TestName::EcdsaSecp384r1Sha384,
            Algorithm::EcdsaSha384,
            Form::Der,
        ),
        (
            TestName::EcdsaSecp384r1Sha384P1363,
            Algorithm::EcdsaSha384,
            Form::Raw,
        ),
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            let mut spki = Reader::new(&group.der).sequence().unwrap();
            spki.any().unwrap();
            let point = spki.bits().unwrap();
            let key = match algorithm {
                Algorithm::EcdsaSha256 => PublicKey::P256(point),
                _ => PublicKey::P384(point),
            };
            for test in &group.tests {
                let verdict = accepts(key, algorithm, form, &test.msg, &test.sig);
                valid += usize::from(compare(
                    test.result,
                    verdict,
                    &format!("{name:?} {}", test.tc_id),
                ));
            }
        }
    }
    assert!(valid > 500);
}

/// A key of one kind verifies no signature of another, and weak keys verify nothing.
#[test]
fn keys_and_algorithms_must_agree() {
    let rsa = PublicKey::Rsa {
        modulus: &[0xff; 256],
        exponent: &[1, 0, 1],
    };
    let weak = [
        PublicKey::Rsa {
            modulus: &[0xff; 128],
            exponent: &[1, 0, 1],
        },
        PublicKey::Rsa {
            modulus: &[0xff; 1024],
            exponent: &[1, 0, 1],
        },
        PublicKey::Rsa {
            modulus: &[0xff; 256],
            exponent: &[1],
        },
        PublicKey::Rsa {
            modulus: &[0xff; 256],
            exponent: &[2],
        },
        PublicKey::Rsa {
            modulus: &[0xff; 256],
            exponent: &[],
        },
        PublicKey::Rsa {
            modulus: &[],
            exponent: &[],
        },
        PublicKey::P384(&[4; 97]),
        PublicKey::P256(&[]),
    ];
    for algorithm in [
        Algorithm::EcdsaSha256,
        Algorithm::EcdsaSha384,
        Algorithm::RsaPkcs1Sha256,
        Algorithm::RsaPssSha384,
    ] {
        for key in weak.into_iter().chain([rsa]) {
            for len in [0, 64, 96, 128, 256, 1024] {
                for form in [Form::Raw, Form::Der] {
                    assert!(!accepts(key, algorithm, form, b"message", &vec![1; len]));
                }
            }
        }
    }
}
