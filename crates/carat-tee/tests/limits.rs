//! Hostile sizes and shapes: refused quickly, with little memory, without a panic.

mod common;

use std::time::{Duration, Instant};

use carat_tee::input::{self, InputError, MAX_ITEM_BYTES};
use carat_tee::nitro::Document;
use carat_tee::nvidia::spdm::Report;
use carat_tee::x509::Certificate;
use carat_tee::{Endorsements, Kind, Policy, PolicyError, Reason, Request, verify};

fn refused(kind: Kind, evidence: &[u8]) -> Reason {
    let policy = Policy::strict();
    let endorsements = Endorsements::default();
    let request = Request {
        evidence,
        endorsements,
        policy: &policy,
        now: 1_800_000_000,
        nonce: None,
        binding: None,
    };
    let started = Instant::now();
    let rejected = verify(kind, &request).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(2), "{kind}");
    rejected.reason
}

#[test]
fn row_27_sizes() {
    for kind in Kind::ALL {
        let large = vec![0x30; MAX_ITEM_BYTES + 1];
        assert_eq!(
            input::evidence(kind, &[0xff; MAX_ITEM_BYTES + 1]),
            Err(InputError::TooLarge(MAX_ITEM_BYTES + 1))
        );
        refused(kind, &large);
        assert_eq!(input::evidence(kind, &[]), Err(InputError::Empty));
        refused(kind, &[]);
    }
    // Hexadecimal of too much, and text without end.
    assert!(matches!(
        input::evidence(Kind::Snp, &vec![b'0'; 2 * MAX_ITEM_BYTES + 2]),
        Err(InputError::TooLarge(_))
    ));
    assert!(matches!(
        input::evidence(Kind::Snp, &vec![b' '; 1 << 20]),
        Err(InputError::TooLarge(_))
    ));
    assert!(matches!(
        input::certificates(&vec![b'-'; 1 << 20]),
        Err(InputError::TooLarge(_))
    ));
    assert!(matches!(
        Policy::from_toml(&" ".repeat(1 << 20)),
        Err(PolicyError::TooLarge(_))
    ));
}

#[test]
fn row_27_nesting_and_lengths() {
    // COSE_Sign1 whose payload has an unknown field of many nested arrays, definite and not.
    for open in [0x81, 0x9f, 0xd8] {
        let mut payload = vec![0xa1, 0x61, b'x'];
        for _ in 0..20_000 {
            payload.push(open);
            if open == 0xd8 {
                payload.push(42);
            }
        }
        let mut document = vec![0x84, 0x41, 0xa0, 0xa0, 0x5a];
        document.extend((payload.len() as u32).to_be_bytes());
        document.extend(&payload);
        document.extend([0x58, 96]);
        document.extend([0; 96]);
        assert!(Document::parse(&document).is_err());
        assert!(matches!(
            refused(Kind::Nitro, &document),
            Reason::Malformed | Reason::TooLarge
        ));
    }
    // Lengths far beyond the input.
    for head in [
        &[0x84, 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..],
        &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[
            0x84, 0x40, 0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ],
    ] {
        assert_eq!(refused(Kind::Nitro, head), Reason::Malformed);
    }
    let mut report = vec![0x11, 0xe0, 0x01, 0xff];
    report.extend([0; 33]);
    report.extend([0x11, 0x60, 0, 0, 255, 0xff, 0xff, 0xff]);
    assert!(Report::parse(&report).is_err());
    for der in [
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..],
        &[0x30, 0x80],
        &[0x30, 0x83, 0xff, 0xff, 0xff],
    ] {
        assert!(Certificate::parse(der).is_err());
    }
    // JSON of many levels, in a token: {"a":{"a":...
    let deep = "{\"a\":".repeat(5_000);
    let header = base64url(b"{\"alg\":\"RS256\"}");
    let token = format!("{header}.{}.AAAA", base64url(deep.as_bytes()));
    assert_eq!(refused(Kind::Gcp, token.as_bytes()), Reason::Malformed);
    refused(Kind::AzureSnp, deep.as_bytes());
}

#[test]
fn every_truncation_is_refused() {
    for (kind, file) in [
        (Kind::Nitro, "nitro/evervault-beta-valid.cbor"),
        (Kind::Nvidia, "nvidia/nvsdk-hopperAttestationReport.txt"),
    ] {
        let bytes = corpus!(file);
        let evidence = input::evidence(kind, &bytes).unwrap();
        for len in 0..evidence.len() {
            let parsed = match kind {
                Kind::Nitro => Document::parse(&evidence[..len]).is_ok(),
                _ => Report::parse(&evidence[..len]).is_ok(),
            };
            assert!(!parsed, "{kind} cut at {len}");
        }
    }
}

#[test]
fn forms_of_input_mean_the_same() {
    let raw = corpus!("nitro/evervault-beta-valid.cbor");
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    let url = base64url(&raw);
    let standard = url.replace('-', "+").replace('_', "/");
    let padded = format!("{standard}{}", "=".repeat((4 - standard.len() % 4) % 4));
    let lines: String = padded
        .as_bytes()
        .chunks(76)
        .map(|line| format!("{}\r\n", std::str::from_utf8(line).unwrap()))
        .collect();
    for text in [
        hex.clone(),
        hex.to_uppercase(),
        format!("0x{hex}\n"),
        format!("\u{feff}{hex}"),
        format!("\"{hex}\"\n"),
        url,
        standard,
        padded,
        lines,
    ] {
        assert_eq!(
            input::evidence(Kind::Nitro, text.as_bytes())
                .unwrap()
                .as_ref(),
            raw,
            "{}",
            &text[..20]
        );
    }
    for text in ["hello", "12:34:56", "0x123", "\"", "{}"] {
        assert_eq!(
            input::evidence(Kind::Snp, text.as_bytes()),
            Err(InputError::Text),
            "{text}"
        );
    }
    let pem = corpus!("nvidia/nvsdk-hopperCertChain.txt");
    let list = input::certificates(&pem).unwrap();
    assert_eq!(list.len(), 5);
    assert_eq!(input::certificates(&list.concat()).unwrap(), list);
    assert_eq!(
        input::certificates(base64url(&list.concat()).as_bytes()).unwrap(),
        list
    );
}

#[test]
fn policies_are_read_strictly() {
    assert_eq!(Policy::from_toml("").unwrap().snp, Policy::production().snp);
    let strict = Policy::from_toml("preset = \"strict\"\nname = \"strict\"").unwrap();
    assert_eq!(strict, Policy::strict());
    let lax = Policy::from_toml(
        "preset = \"strict\"\n[snp]\nmax_vmpl = 3\n[snp.min_tcb.genoa]\nsnp = 23",
    )
    .unwrap();
    assert_eq!((lax.snp.max_vmpl, lax.snp.min_tcb["genoa"].snp), (3, 23));
    for bad in [
        "preset = \"lenient\"",
        "allow_debugs = true",
        "[snp]\nmax_vmpls = 3",
        "[snp]\ndeny_products = [\"rome\"]",
        "[nitro]\npcrs = [{}]",
        "[nitro]\npcrs = [{ 32 = \"00\" }]",
        "[nitro]\npcrs = [{ 0 = \"00\" }]",
        "[intel]\nmr_td = [\"00\"]",
        "deny_platforms = [\"0123\"]",
        "max_skew = 1000000",
        "max_age = -1",
        "preset = 1",
        "x",
    ] {
        assert!(Policy::from_toml(bad).is_err(), "{bad}");
    }
    for policy in [Policy::strict(), Policy::production(), Policy::dev()] {
        assert_eq!(
            Policy::from_toml(&policy.to_toml().unwrap()).unwrap(),
            policy
        );
    }
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0u32, |word, &byte| word << 8 | u32::from(byte))
            << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(word >> (18 - 6 * at)) as usize & 63]));
        }
    }
    out
}

/// `docs/tee.md` lists every reason code with its meaning, in the order of the code, and no other.
#[test]
fn reason_codes_are_documented() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tee.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once("## Reason codes").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let expected: Vec<String> = Reason::ALL
        .iter()
        .map(|reason| format!("| `{}` | {} |", reason.code(), reason.meaning().trim()))
        .collect();
    assert_eq!(rows, expected);
}
