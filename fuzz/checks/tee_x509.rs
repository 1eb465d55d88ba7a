//! Certificates, one or many, in any form: parsed within their own bytes or refused; signatures of any kind never panic.

use carat_tee::input;
use carat_tee::x509::Certificate;

pub(crate) fn check(data: &[u8]) {
    let Ok(list) = input::certificates(data) else {
        return;
    };
    let parsed: Vec<_> = list
        .iter()
        .filter_map(|der| Certificate::parse(der).ok())
        .collect();
    for certificate in &parsed {
        assert!(
            list.iter().any(|der| der == certificate.der()),
            "a certificate is what was given"
        );
        let _ = certificate.common_name();
        let _ = certificate.signed_by(certificate.key);
    }
}
