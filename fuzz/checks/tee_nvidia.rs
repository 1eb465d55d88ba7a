//! NVIDIA reports and bundles of reference values: any bytes parse or are refused; what was parsed lies within the input.

use carat_tee::nvidia::reference::Bundle;
use carat_tee::nvidia::spdm::Report;

pub(crate) fn check(data: &[u8]) {
    if let Ok(report) = Report::parse(data) {
        assert_eq!(
            report.signed.len() + report.signature.len() + report.trailing.len(),
            data.len()
        );
        assert_eq!(
            [report.signed, report.signature, report.trailing].concat(),
            data
        );
        assert!(
            report
                .blocks
                .windows(2)
                .all(|pair| pair[0].index < pair[1].index)
        );
    }
    if let Ok(bundle) = Bundle::decode(data) {
        assert!(!bundle.manifests.is_empty());
    }
}
