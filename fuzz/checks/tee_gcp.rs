//! Tokens: any bytes parse or are refused, and nothing but Google's own tokens is accepted.

use std::sync::LazyLock;

use carat_tee::gcp::Token;
use carat_tee::{Endorsements, Kind, Policy, Request, verify};

static POLICY: LazyLock<Policy> = LazyLock::new(Policy::dev);

pub(crate) fn check(data: &[u8]) {
    if let Ok(token) = Token::parse(data) {
        assert!(token.signed.iter().filter(|&&byte| byte == b'.').count() == 1);
    }
    let endorsements = Endorsements::default();
    let request = Request {
        evidence: data,
        endorsements,
        policy: &POLICY,
        now: 1_800_000_000,
        nonce: None,
        binding: None,
    };
    assert!(verify(Kind::Gcp, &request).is_err(), "a forged token");
}
