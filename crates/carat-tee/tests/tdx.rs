//! Intel TDX: recorded quotes, and quotes that must be refused.

mod common;

use carat_tee::tdx::Quote;
use carat_tee::{
    Binding, Endorsements, Hardware, Kind, Outcome, PlatformId, Policy, Reason, Rejected, Request,
    Value, verify,
};

const QUOTE_AT: u64 = 1_750_372_347;
const OUTDATED_AT: u64 = 1_771_455_531;
const DEBUG_AT: u64 = 1_688_083_200;
/// The last second of the platform CA's revocation list, some minutes before that of TCB information (1752920163).
const CRL_UNTIL: u64 = 1_752_919_234;
/// Inside the window of the collateral of 7 October to 6 November 2026.
const EX_AT: u64 = 1_791_800_000;

/// A recorded quote, Intel's collateral of its time, and the time.
#[derive(Clone)]
struct Sample {
    quote: Vec<u8>,
    collateral: Vec<u8>,
    at: u64,
}

impl Sample {
    fn read(quote: &str, collateral: &str, at: u64) -> Option<Self> {
        Some(Self {
            quote: common::evidence::read(quote)?,
            collateral: common::evidence::read(collateral)?,
            at,
        })
    }

    /// Version 4, up to date.
    fn good() -> Option<Self> {
        Self::read("tdx/tdx_quote", "tdx/tdx_quote_collateral.json", QUOTE_AT)
    }

    /// Version 5, below every level that Intel lists.
    fn outdated() -> Option<Self> {
        let collateral = "tdx/tdx_quote_outdated_collateral.json";
        Self::read("tdx/tdx_quote_outdated", collateral, OUTDATED_AT)
    }

    /// Version 4 with debugging on; everything else is in order.
    fn debug() -> Option<Self> {
        let collateral = "tdx/assembled-gotdx-50806f-collateral-v3.json";
        Self::read("tdx/trustee-tdx_quote_4.dat", collateral, DEBUG_AT)
    }

    /// Version 5, TDX 1.5 extended. Part of the repository.
    fn extended() -> Self {
        Self {
            quote: include_bytes!("data/dcap-qvl/tdx_quote_td15ex").to_vec(),
            collateral: include_bytes!("data/dcap-qvl/tdx_quote_td15ex_collateral.json").to_vec(),
            at: EX_AT,
        }
    }

    fn at(&self, at: u64) -> Self {
        Self { at, ..self.clone() }
    }

    fn ask(&self, policy: &Policy, nonce: Option<&[u8]>) -> Result<Hardware, Rejected> {
        verify(
            Kind::Tdx,
            &Request {
                evidence: &self.quote,
                endorsements: Endorsements {
                    collateral: Some(&self.collateral),
                    ..Endorsements::default()
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

    fn failed(&self, policy: &Policy) -> Vec<&'static str> {
        let rejected = self.ask(policy, None).expect_err("refused");
        let failed = |check: &carat_tee::Check| check.outcome == Outcome::Fail;
        let checks = rejected.checks.iter().filter(|check| failed(check));
        checks.map(|check| check.name).collect()
    }

    /// The collateral with a field changed.
    fn with(&self, field: &str, change: impl Fn(&str) -> String) -> Self {
        let mut json: serde_json::Value = serde_json::from_slice(&self.collateral).unwrap();
        let old = json[field].as_str().unwrap();
        json[field] = change(old).into();
        Self {
            collateral: serde_json::to_vec(&json).unwrap(),
            ..self.clone()
        }
    }
}

macro_rules! sample {
    ($sample:expr) => {
        match $sample {
            Some(sample) => sample,
            None => return,
        }
    };
}

fn policies() -> [Policy; 3] {
    [Policy::strict(), Policy::production(), Policy::dev()]
}

fn bytes(accepted: &Hardware, claim: &str) -> String {
    match accepted.claims().get(claim) {
        Some(Value::Bytes(bytes)) => hex::encode(bytes),
        other => panic!("{claim}: {other:?}"),
    }
}

/// Collateral as different clients of Intel's service write it: the same values, so the same verdict.
#[test]
fn collateral_in_other_spellings() {
    let good = sample!(Sample::good());
    let json: serde_json::Value = serde_json::from_slice(&good.collateral).unwrap();
    let text = |field: &str| json[field].as_str().unwrap().to_string();
    let with = |change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
        let mut changed = json.as_object().unwrap().clone();
        change(&mut changed);
        Sample {
            collateral: serde_json::to_vec(&changed).unwrap(),
            ..good.clone()
        }
    };
    let numbers = |field: &str| serde_json::Value::from(hex::decode(text(field)).unwrap());
    let answer = |key: &str, field: &str| {
        let signature = text(&format!("{field}_signature"));
        format!(r#"{{"{key}":{},"signature":"{signature}"}}"#, text(field))
    };
    let camel = |name: &str| {
        let mut parts = name.split('_');
        let first = parts.next().unwrap().to_string();
        parts.fold(first, |name, part| {
            let (head, tail) = part.split_at(1);
            format!("{name}{}{tail}", head.to_uppercase())
        })
    };
    let spellings = [
        // camelCase
        with(&|map| {
            *map = map
                .iter()
                .map(|(name, value)| (camel(name), value.clone()))
                .collect()
        }),
        // lists of numbers
        with(&|map| {
            for field in [
                "root_ca_crl",
                "pck_crl",
                "tcb_info_signature",
                "qe_identity_signature",
            ] {
                map.insert(field.into(), numbers(field));
            }
        }),
        // the service's whole answers, their signatures inside
        with(&|map| {
            map.insert("tcb_info".into(), answer("tcbInfo", "tcb_info").into());
            map.insert(
                "qe_identity".into(),
                answer("enclaveIdentity", "qe_identity").into(),
            );
            map.remove("tcb_info_signature");
            map.remove("qe_identity_signature");
        }),
    ];
    for sample in &spellings {
        sample.accepted(&Policy::strict());
    }
    // JSON in place of text, byte for byte: a JSON library would order the names anew.
    let quoted = serde_json::to_string(&text("tcb_info")).unwrap();
    let whole = String::from_utf8(good.collateral.clone()).unwrap();
    assert!(whole.contains(&quoted));
    let in_place = Sample {
        collateral: whole.replace(&quoted, &text("tcb_info")).into_bytes(),
        ..good.clone()
    };
    in_place.accepted(&Policy::strict());
    let spaced = text("tcb_info").replacen(':', ": ", 1);
    let reworded = Sample {
        collateral: whole.replace(&quoted, &spaced).into_bytes(),
        ..good.clone()
    };
    assert_eq!(
        reworded.reason(&Policy::strict()),
        Reason::CollateralInvalid
    );
    // Something left out.
    for field in [
        "pck_crl",
        "root_ca_crl",
        "tcb_info",
        "tcb_info_signature",
        "qe_identity_issuer_chain",
    ] {
        let without = with(&|map| drop(map.remove(field)));
        assert_eq!(
            without.reason(&Policy::strict()),
            Reason::CollateralInvalid,
            "{field}"
        );
    }
}

#[test]
fn recorded_quotes_have_their_verdicts() {
    let (good, outdated) = (sample!(Sample::good()), sample!(Sample::outdated()));
    for policy in policies() {
        for at in [1_750_329_147, QUOTE_AT, CRL_UNTIL] {
            let accepted = good.at(at).accepted(&policy);
            let claims = accepted.claims();
            assert_eq!(claims.get("tcb_status"), Some(&"UpToDate".into()));
            assert_eq!(claims.get("advisories"), Some(&Value::List(vec![])));
            assert_eq!(claims.get("tcb_evaluation_data_number"), Some(&17.into()));
            assert_eq!(bytes(&accepted, "fmspc"), "b0c06f000000");
            assert_eq!(bytes(&accepted, "ppid"), "811dca2a26b952e85bb6448b097ba4fd");
            assert_eq!(accepted.facts().valid_until, Some(CRL_UNTIL));
        }
        assert_eq!(outdated.reason(&policy), Reason::TcbOutOfDate);
        let extended = Sample::extended().accepted(&policy);
        assert_eq!(extended.claims().get("quote_version"), Some(&5.into()));
        assert_eq!(
            extended.claims().get("tcb_status"),
            Some(&"UpToDate".into())
        );
    }
}

#[test]
fn row_02_tdx_debug_mode() {
    let debug = sample!(Sample::debug());
    for policy in [Policy::strict(), Policy::production()] {
        assert_eq!(debug.reason(&policy), Reason::Debug);
        // It is the only thing wrong with it.
        assert_eq!(debug.failed(&policy), ["debug"]);
    }
    let accepted = debug.accepted(&Policy::dev());
    assert!(accepted.facts().debug);
    assert_eq!(accepted.claims().get("debug"), Some(&true.into()));
    assert_eq!(
        accepted.claims().get("tcb_status"),
        Some(&"UpToDate".into())
    );
}

#[test]
fn row_08_nonce_and_binding_in_report_data() {
    let good = sample!(Sample::good());
    let data = hex::decode(bytes(&good.accepted(&Policy::strict()), "report_data")).unwrap();
    good.ask(&Policy::strict(), Some(&data)).unwrap();
    let wrong = good.ask(&Policy::strict(), Some(&[1; 64])).unwrap_err();
    assert_eq!(wrong.reason, Reason::NonceMismatch);
    let mut demanding = Policy::strict();
    demanding.require_nonce = true;
    assert_eq!(good.reason(&demanding), Reason::NonceMissing);
    let bound = |value: &[u8]| {
        let request = Request {
            evidence: &good.quote,
            endorsements: Endorsements {
                collateral: Some(&good.collateral),
                ..Endorsements::default()
            },
            policy: &demanding,
            now: good.at,
            nonce: None,
            binding: Some(Binding {
                value,
                key: &[0; 32],
            }),
        };
        verify(Kind::Tdx, &request)
    };
    bound(&data).unwrap();
    for other in [&data[..63], &[0; 64], &[]] {
        assert_eq!(bound(other).unwrap_err().reason, Reason::BindingMismatch);
    }
}

#[test]
fn row_13_level_out_of_date() {
    let outdated = sample!(Sample::outdated());
    let mut lenient = Policy::strict();
    lenient.intel.tcb_status = ["UpToDate", "OutOfDate", "Revoked", "TDRelaunchAdvised"]
        .map(String::from)
        .into();
    // Below every level that Intel lists there is no status to accept.
    assert_eq!(outdated.reason(&lenient), Reason::TcbOutOfDate);
    let good = sample!(Sample::good());
    let mut none = Policy::strict();
    none.intel.tcb_status = vec!["SWHardeningNeeded".into()];
    assert_eq!(good.reason(&none), Reason::TcbStatus);
}

#[test]
fn row_14_collateral_expired_or_old() {
    let good = sample!(Sample::good());
    let strict = Policy::strict();
    assert_eq!(
        good.at(1_752_920_163 + 3600).reason(&strict),
        Reason::CollateralExpired
    );
    assert_eq!(
        good.at(CRL_UNTIL + 1).reason(&strict),
        Reason::CollateralExpired
    );
    assert_eq!(
        good.at(1_750_329_146).reason(&strict),
        Reason::CollateralNotYetValid
    );
    assert_eq!(good.at(0).reason(&strict), Reason::CollateralNotYetValid);
    assert_eq!(good.at(u64::MAX).reason(&strict), Reason::CollateralExpired);
    let mut newer = Policy::strict();
    newer.intel.min_tcb_evaluation_data_number = 18;
    assert_eq!(good.reason(&newer), Reason::CollateralTooOld);
    newer.intel.min_tcb_evaluation_data_number = 17;
    good.accepted(&newer);
    let none = verify(
        Kind::Tdx,
        &Request {
            evidence: &good.quote,
            endorsements: Endorsements::default(),
            policy: &strict,
            now: good.at,
            nonce: None,
            binding: None,
        },
    );
    assert_eq!(none.unwrap_err().reason, Reason::CollateralMissing);
}

/// CVE-2026-22696: parts of the collateral were taken unverified. Each part here is changed where only its own
/// verification can notice.
#[test]
fn row_15_every_part_of_the_collateral_is_verified() {
    let good = sample!(Sample::good());
    let strict = Policy::strict();
    let swap = |from: &'static str, to: &'static str| {
        move |old: &str| {
            assert!(old.contains(from), "{from}");
            old.replacen(from, to, 1)
        }
    };
    let changed: [(&str, &str, &str); 6] = [
        ("tcb_info", "UpToDate", "OutOfDate"),
        ("tcb_info", "\"pcesvn\":11", "\"pcesvn\":1"),
        ("qe_identity", "UpToDate", "OutOfDate"),
        ("qe_identity", "\"isvprodid\":2", "\"isvprodid\":1"),
        ("qe_identity", "\"mrsigner\":\"D", "\"mrsigner\":\"C"),
        ("qe_identity", "\"isvsvn\":4", "\"isvsvn\":0"),
    ];
    for (field, from, to) in changed {
        let mut mutant = good.clone();
        let json: serde_json::Value = serde_json::from_slice(&good.collateral).unwrap();
        if json[field].as_str().unwrap().contains(from) {
            mutant = mutant.with(field, swap(from, to));
            assert_eq!(
                mutant.reason(&strict),
                Reason::CollateralInvalid,
                "{field} {from}"
            );
        } else {
            panic!("{field} does not contain {from}: {}", json[field]);
        }
    }
    for field in ["tcb_info_signature", "qe_identity_signature"] {
        let mutant = good.with(field, |old| format!("00{}", &old[2..]));
        assert_eq!(mutant.reason(&strict), Reason::CollateralInvalid, "{field}");
    }
    for field in ["root_ca_crl", "pck_crl"] {
        let last = |old: &str| {
            let (start, end) = old.split_at(old.len() - 2);
            let byte = u8::from_str_radix(end, 16).unwrap() ^ 1;
            format!("{start}{byte:02x}")
        };
        assert_eq!(
            good.with(field, last).reason(&strict),
            Reason::CollateralInvalid,
            "{field}"
        );
    }
    // The collateral of another platform or another kind.
    let (outdated, extended) = (sample!(Sample::outdated()), Sample::extended());
    let other = Sample {
        collateral: outdated.collateral.clone(),
        at: outdated.at,
        ..good.clone()
    };
    assert_eq!(other.reason(&strict), Reason::CollateralInvalid);
    let sgx = Sample {
        collateral: corpus!("tdx/sgx_quote_collateral.json"),
        ..good.clone()
    };
    assert_eq!(sgx.reason(&strict), Reason::CollateralInvalid);
    assert_eq!(
        Sample {
            quote: outdated.quote,
            ..extended
        }
        .reason(&strict),
        Reason::CollateralInvalid
    );
    for broken in ["", "{}", "null", "[", "{\"tcb_info\":1}"] {
        let mutant = Sample {
            collateral: broken.as_bytes().to_vec(),
            ..good.clone()
        };
        assert_eq!(
            mutant.reason(&strict),
            Reason::CollateralInvalid,
            "{broken}"
        );
    }
}

#[test]
fn row_22_lists_of_platforms() {
    let good = sample!(Sample::good());
    for name in [
        "tdx-ppid:811dca2a26b952e85bb6448b097ba4fd",
        "intel-ppid:811dca2a26b952e85bb6448b097ba4fd",
        "tdx-ppid:811dca2a26b9*",
        "intel-fmspc:b0c06f000000",
    ] {
        let name = PlatformId::new(name).unwrap();
        let mut policy = Policy::strict();
        policy.deny_platforms = vec![name.clone()];
        assert_eq!(good.reason(&policy), Reason::PlatformDenied, "{name}");
        policy.deny_platforms.clear();
        policy.allow_platforms = vec![name];
        good.accepted(&policy);
    }
    let mut policy = Policy::strict();
    policy.allow_platforms = vec![PlatformId::new("tdx-ppid:00").unwrap()];
    assert_eq!(good.reason(&policy), Reason::PlatformNotAllowed);
}

#[test]
fn measurements_of_the_policy() {
    let good = sample!(Sample::good());
    let accepted = good.accepted(&Policy::strict());
    let mut policy = Policy::strict();
    policy.intel.mr_td = vec![bytes(&accepted, "mr_td").to_uppercase()];
    policy.measurements = vec![accepted.facts().measurement];
    good.accepted(&policy);
    policy.intel.mr_td = vec!["00".repeat(48)];
    assert_eq!(good.reason(&policy), Reason::Measurement);
    let mut policy = Policy::strict();
    policy.measurements = vec![Sample::extended().accepted(&policy).facts().measurement];
    assert_eq!(good.reason(&policy), Reason::Measurement);
}

#[test]
fn other_forms_of_collateral() {
    let good = sample!(Sample::good());
    let strict = Policy::strict();
    let json: serde_json::Value = serde_json::from_slice(&good.collateral).unwrap();
    let text = |field: &str| json[field].as_str().unwrap().to_string();
    let beside = |field: &'static str, key: &'static str| {
        let signature = text(&format!("{field}_signature"));
        move |object: &str| format!("{{\"{key}\":{object},\"signature\":\"{signature}\"}}")
    };
    good.with("tcb_info", beside("tcb_info", "tcbInfo"))
        .accepted(&strict);
    good.with("qe_identity", beside("qe_identity", "enclaveIdentity"))
        .accepted(&strict);
    good.with("pck_crl", str::to_uppercase).accepted(&strict);
    good.with("root_ca_crl", |hex| format!("{hex}\0"))
        .accepted(&strict);
    good.with("tcb_info_issuer_chain", |pem| {
        pem.replace(' ', "%20")
            .replace('\n', "%0A")
            .replace('+', "%2B")
    })
    .accepted(&strict);
}

#[test]
fn quotes_of_the_other_kind_and_no_quotes() {
    let good = sample!(Sample::good());
    let sgx = Sample {
        quote: corpus!("tdx/sgx_quote"),
        ..good.clone()
    };
    assert_eq!(sgx.reason(&Policy::strict()), Reason::Malformed);
    let with = |quote: &[u8]| Sample {
        quote: quote.to_vec(),
        ..good.clone()
    };
    assert_eq!(with(&[]).reason(&Policy::strict()), Reason::Malformed);
    assert_eq!(
        with(&good.quote[..4000]).reason(&Policy::strict()),
        Reason::Malformed
    );
    // Padding is no part of a quote: without it, and with more of it, the same is verified.
    let quote = Quote::parse(&good.quote).unwrap();
    assert_eq!((quote.whole.len(), good.quote.len()), (4936, 5006));
    let short = with(quote.whole).accepted(&Policy::strict());
    let long = with(&[&good.quote[..], &[0; 3000]].concat()).accepted(&Policy::strict());
    assert_eq!(short.facts(), long.facts());
    assert_eq!(
        with(&[&good.quote[..], &[1]].concat()).reason(&Policy::strict()),
        Reason::Padding
    );
}

/// None of the flips of `flips(at)` bits of the bytes of a quote from `from` on verifies.
fn no_flip_verifies(sample: &Sample, from: usize, flips: impl Fn(usize) -> usize + Sync) {
    let policy = Policy::dev();
    sample.accepted(&policy);
    let survives = |at: usize, bit: usize| {
        let at = from + at;
        let mut mutant = sample.clone();
        mutant.quote[at] ^= 1 << ((at + bit) % 8);
        bit < flips(at) && mutant.ask(&policy, None).is_ok()
    };
    let survivors = common::survivors(sample.quote.len() - from, 8, survives);
    assert_eq!(survivors, []);
}

/// Flips of a quote: what nobody signed is pinned by the parser, so none verifies. All flips outside the text of the
/// certificates, one of each byte there and in what the attestation key signed; of a quote of version 5, one of each
/// byte after what its key signed.
#[test]
fn mutations_of_a_quote() {
    let extended = Sample::extended();
    let signed = Quote::parse(&extended.quote).unwrap().signed.len();
    no_flip_verifies(&extended, signed, |_| 1);
    let good = sample!(Sample::good());
    let signed = Quote::parse(&good.quote).unwrap().signed.len();
    let text = good
        .quote
        .windows(5)
        .position(|part| part == b"-----")
        .unwrap();
    no_flip_verifies(
        &good,
        0,
        |at| if (signed..text).contains(&at) { 8 } else { 1 },
    );
}

/// All flips.
#[test]
#[ignore = "minutes in a debug build; run with --release -- --ignored"]
fn all_mutations_of_a_quote() {
    no_flip_verifies(&sample!(Sample::good()), 0, |_| 8);
}

/// One flip of each byte of the collateral's file. What survives: the case of hexadecimal digits, and the chain of the
/// revocation list's issuer, which is not read (the platform's own chain is).
#[test]
fn mutations_of_collateral() {
    let good = sample!(Sample::good());
    let policy = Policy::dev();
    good.with("pck_crl_issuer_chain", |_| "not read".into())
        .accepted(&policy);
    let text = String::from_utf8(good.collateral.clone()).unwrap();
    // Where the value of a field is, without its quotation marks.
    let value = |field: &str| {
        let start = text.find(&format!("\"{field}\": \"")).unwrap() + field.len() + 5;
        let end = text[start..]
            .find("\",")
            .or_else(|| text[start..].find("\"\n"));
        start..start + end.unwrap()
    };
    let unread = value("pck_crl_issuer_chain");
    let unread = unread.start - "pck_crl_issuer_chain".len() - 5..unread.end + 1;
    let hex = [
        "root_ca_crl",
        "pck_crl",
        "tcb_info_signature",
        "qe_identity_signature",
    ]
    .map(value);
    let chains = ["tcb_info_issuer_chain", "qe_identity_issuer_chain"].map(value);
    let inside =
        |ranges: &[std::ops::Range<usize>], at: usize| ranges.iter().any(|r| r.contains(&at));
    let flip = |at: usize| match good.collateral[at] {
        // The case of a letter.
        _ if inside(&hex, at) => 1 << 5,
        // `\n` to `\f`.
        b'n' if inside(&chains, at) => 1 << 3,
        _ => 1 << (at % 8),
    };
    let survives = |at: usize, _: usize| {
        if unread.contains(&at) {
            return false;
        }
        let mut mutant = good.clone();
        mutant.collateral[at] ^= flip(at);
        mutant.ask(&policy, None).is_ok()
    };
    let documented = |at: usize| inside(&hex, at) && good.collateral[at].is_ascii_alphabetic();
    let survivors = common::survivors(good.collateral.len(), 1, survives);
    let found: Vec<usize> = survivors.into_iter().map(|(at, _)| at).collect();
    let expected: Vec<usize> = (0..good.collateral.len())
        .filter(|at| documented(*at))
        .collect();
    assert_eq!(found, expected);
}
