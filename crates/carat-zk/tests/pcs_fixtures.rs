//! Openings that were made once and must verify for ever, here and in `tools/python/test_whir.py`.
//!
//! `CARAT_WRITE_FIXTURES=1` makes them anew, which is right only when the protocol has changed on purpose.
#![cfg(feature = "prover")]

use carat_zk::{
    field::{DEGREE, E, F},
    pcs::{MAX_VARIABLES, Profile, Root, Use, Whir},
    transcript::{Sink, Source, Transcript},
};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, PrimeField32};
use std::{fmt::Write as _, fs, path::PathBuf};

/// The transcript before an opening: this domain string, then the root.
const DOMAIN: &str = "carat/zk/pcs-fixture";

const FIXTURES: [(Profile, Use, usize); 7] = [
    (Profile::Proven100, Use::Witness, 2),
    (Profile::Proven100, Use::Witness, 10),
    (Profile::Proven100, Use::Witness, 14),
    (Profile::Proven120, Use::Witness, 15),
    (Profile::Proven100, Use::Fold, 17),
    // A fold that is shown, and one that is committed.
    (Profile::Proven120, Use::Weights, 14),
    (Profile::Proven100, Use::Weights, 21),
];

fn path(profile: Profile, purpose: Use, n: usize, ending: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/pcs")
        .join(format!(
            "{}-{}-{n}.{ending}",
            profile.name(),
            purpose.name()
        ))
}

fn transcript(root: &Root) -> Transcript {
    let mut transcript = Transcript::new(DOMAIN);
    transcript.bytes("root", &root.0);
    transcript
}

/// Values that any language can repeat: `i^3 + 5 i + 1`.
fn values(n: usize) -> Vec<F> {
    (0..1_u64 << n)
        .map(|i| F::from_u64(i * i * i + 5 * i + 1))
        .collect()
}

fn write(profile: Profile, purpose: Use, n: usize) {
    let scheme = Whir::new(profile, n, purpose).unwrap();
    let (root, data) = scheme.commit(values(n)).unwrap();
    let mut sink = Sink::new(transcript(&root));
    let point = sink.transcript.point(n);
    let value = scheme.open(&data, &point, &mut sink).unwrap();
    let mut text = format!(
        "profile {}\nuse {}\nn {n}\nroot ",
        profile.name(),
        purpose.name()
    );
    for byte in root.0 {
        write!(text, "{byte:02x}").unwrap();
    }
    text.push_str("\nvalue");
    let coefficients: &[F] = value.as_basis_coefficients_slice();
    for c in coefficients {
        write!(text, " {}", c.as_canonical_u32()).unwrap();
    }
    text.push('\n');
    fs::create_dir_all(path(profile, purpose, n, "txt").parent().unwrap()).unwrap();
    fs::write(path(profile, purpose, n, "txt"), text).unwrap();
    fs::write(path(profile, purpose, n, "proof"), sink.finish()).unwrap();
}

#[test]
fn old_openings_still_verify() {
    for (profile, purpose, n) in FIXTURES {
        if std::env::var_os("CARAT_WRITE_FIXTURES").is_some() {
            write(profile, purpose, n);
        }
        let text = fs::read_to_string(path(profile, purpose, n, "txt")).unwrap();
        let proof = fs::read(path(profile, purpose, n, "proof")).unwrap();
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap()
                .trim()
        };
        let hex = field("root ");
        let root = Root(std::array::from_fn(|i| {
            u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()
        }));
        let value: Vec<u32> = field("value ")
            .split(' ')
            .map(|v| v.parse().unwrap())
            .collect();
        assert_eq!(value.len(), DEGREE);
        let value = E::from_basis_coefficients_fn(|i| F::from_u32(value[i]));

        let scheme = Whir::new(profile, n, purpose).unwrap();
        let mut source = Source::new(transcript(&root), &proof);
        let point = source.transcript.point(n);
        scheme.verify(&root, &point, value, &mut source).unwrap();
        source.finish().unwrap();
        // The commitment is a function of the values.
        assert_eq!(scheme.commit(values(n)).unwrap().0, root);
    }
}

#[test]
fn the_page_prints_every_schedule() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol-whir.md");
    let page = fs::read_to_string(page).unwrap();
    let printed: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| proven-"))
        .collect();
    let mut schedules = Vec::new();
    for purpose in Use::ALL {
        for profile in Profile::ALL {
            for n in 14..=MAX_VARIABLES {
                schedules.push(Whir::new(profile, n, purpose).unwrap().describe());
            }
            assert!(
                Whir::new(profile, 13, purpose)
                    .unwrap()
                    .describe()
                    .ends_with("| direct |")
            );
        }
    }
    assert_eq!(printed, schedules);
}
