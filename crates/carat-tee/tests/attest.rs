//! Attesters against fakes of the kernel's interfaces.
#![cfg(feature = "attester")]

mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use carat_receipt::{Digest, SigningKey};
use carat_tee::attest::{
    Ask, AttestError, Attester, ConfigFs, FileSystem, Nitro, NsmDevice, doctor, offer,
};
use carat_tee::{Kind, Policy};

/// configfs-tsm as the kernel behaves: a new directory has its files, a write makes a report and counts, others interfere.
#[derive(Default)]
struct Kernel {
    provider: &'static str,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<PathBuf, Entry>,
    /// How often another process writes between our write and our read.
    intruders: usize,
    /// How often a write is answered with EBUSY.
    busy: usize,
    removed: usize,
}

#[derive(Default, Clone)]
struct Entry {
    generation: u64,
    blob: Vec<u8>,
}

impl FileSystem for &Kernel {
    fn create_dir(&self, path: &Path) -> Result<()> {
        if self.provider.is_empty() {
            return Err(ErrorKind::NotFound.into());
        }
        self.state
            .borrow_mut()
            .entries
            .insert(path.to_path_buf(), Entry::default());
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let mut state = self.state.borrow_mut();
        let intruded = state.intruders > 0;
        let entry = state
            .entries
            .get_mut(path.parent().unwrap())
            .ok_or(ErrorKind::NotFound)?;
        match path.file_name().unwrap().to_str().unwrap() {
            "provider" => Ok(format!("{}\n", self.provider).into_bytes()),
            "generation" => Ok(format!("{}\n", entry.generation).into_bytes()),
            "outblob" => {
                if intruded {
                    entry.generation += 1;
                    entry.blob = vec![0xee; 64];
                }
                let blob = [b"report:".as_slice(), &entry.blob].concat();
                state.intruders = state.intruders.saturating_sub(1);
                Ok(blob)
            }
            "auxblob" if self.provider == "sev_guest" => Ok(aux()),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        assert!(path.ends_with("inblob"));
        let mut state = self.state.borrow_mut();
        if state.busy > 0 {
            state.busy -= 1;
            return Err(ErrorKind::ResourceBusy.into());
        }
        if bytes.len() != 64 {
            return Err(ErrorKind::InvalidInput.into());
        }
        let entry = state
            .entries
            .get_mut(path.parent().unwrap())
            .ok_or(ErrorKind::NotFound)?;
        entry.generation += 1;
        entry.blob = bytes.to_vec();
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        let mut state = self.state.borrow_mut();
        state.removed += 1;
        state
            .entries
            .remove(path)
            .map(drop)
            .ok_or(Error::from(ErrorKind::NotFound))
    }
}

/// A host's table with a VCEK and an ASK, then the certificates.
fn aux() -> Vec<u8> {
    let mut table = Vec::new();
    for (guid, offset, len) in [
        ("63da758de6644564adc5f4b93be8accd", 72u32, 4u32),
        ("4ab7b379bbac4fe4a02f05aef327c782", 76, 3),
        ("00000000000000000000000000000000", 0, 0),
    ] {
        table.extend(
            (0..32)
                .step_by(2)
                .map(|at| u8::from_str_radix(&guid[at..at + 2], 16).unwrap()),
        );
        table.extend(offset.to_le_bytes());
        table.extend(len.to_le_bytes());
    }
    table.extend(b"vcekask");
    table
}

const ASK: Ask<'static> = Ask {
    binding: &[5; 64],
    key: &[6; 32],
    nonce: b"nonce",
};

fn tsm(kernel: &Kernel) -> std::result::Result<ConfigFs<&Kernel>, AttestError> {
    ConfigFs::open(
        kernel,
        Path::new("/sys/kernel/config/tsm/report"),
        "carat-1",
    )
}

#[test]
fn configfs_gives_a_report_over_the_binding() {
    for (provider, kind) in [("tdx_guest", Kind::Tdx), ("sev_guest", Kind::Snp)] {
        let kernel = Kernel {
            provider,
            ..Kernel::default()
        };
        let attester = tsm(&kernel).unwrap();
        assert_eq!(attester.kind(), kind);
        let produced = attester.evidence(&ASK).unwrap();
        assert_eq!(
            produced.evidence,
            [b"report:".as_slice(), &[5; 64]].concat()
        );
        let expected: &[&[u8]] = if kind == Kind::Snp { &[b"vcek"] } else { &[] };
        assert_eq!(produced.certs, expected);
        assert_eq!(produced.chain.len(), expected.len());
        // Nothing is left behind.
        assert!(kernel.state.borrow().entries.is_empty());
        assert_eq!(kernel.state.borrow().removed, 2);
    }
}

#[test]
fn configfs_tries_again_when_others_interfere() {
    let kernel = Kernel {
        provider: "tdx_guest",
        ..Kernel::default()
    };
    let attester = tsm(&kernel).unwrap();
    (
        kernel.state.borrow_mut().intruders,
        kernel.state.borrow_mut().busy,
    ) = (2, 1);
    let produced = attester.evidence(&ASK).unwrap();
    assert!(
        produced.evidence.ends_with(&[5; 64]),
        "never somebody else's report"
    );
    kernel.state.borrow_mut().intruders = 100;
    assert!(matches!(attester.evidence(&ASK), Err(AttestError::Busy(_))));
    assert!(kernel.state.borrow().entries.is_empty());
}

#[test]
fn configfs_refuses_what_it_does_not_know() {
    let unknown = Kernel {
        provider: "arm_cca_guest",
        ..Kernel::default()
    };
    assert!(matches!(tsm(&unknown), Err(AttestError::Provider(_))));
    let none = Kernel::default();
    assert!(matches!(tsm(&none), Err(AttestError::Io { .. })));
}

/// A module that answers with a recorded document, or an error.
struct Module {
    answer: Vec<u8>,
    requests: RefCell<Vec<Vec<u8>>>,
}

impl NsmDevice for &Module {
    fn exchange(&self, request: &[u8]) -> std::result::Result<Vec<u8>, AttestError> {
        self.requests.borrow_mut().push(request.to_vec());
        Ok(self.answer.clone())
    }
}

#[test]
fn nsm_requests_and_answers() {
    // {"Attestation": {"document": h'0102'}}, as ciborium writes it.
    let mut answer = b"\xa1\x6bAttestation\xa1\x68document".to_vec();
    let error = b"\xa1\x65Error\x70InvalidOperation".to_vec();
    answer.extend([0x42, 1, 2]);
    let module = Module {
        answer,
        requests: RefCell::default(),
    };
    let produced = Nitro(&module).evidence(&ASK).unwrap();
    assert_eq!(
        (produced.kind, produced.evidence),
        (Kind::Nitro, vec![1, 2])
    );
    let request = &module.requests.borrow()[0];
    let expected = [
        b"\xa1\x6bAttestation\xa3\x69user_data\x58\x40".as_slice(),
        &[5; 64],
        b"\x65nonce\x45nonce\x6apublic_key\x58\x20",
        &[6; 32],
    ]
    .concat();
    assert_eq!(*request, expected);
    for answer in [error, vec![], vec![0xa1], b"\xa1\x65Other\x00".to_vec()] {
        let module = Module {
            answer,
            requests: RefCell::default(),
        };
        assert!(matches!(
            Nitro(&module).evidence(&ASK),
            Err(AttestError::Device(_))
        ));
    }
    let long = Ask {
        nonce: &[0; 513],
        ..ASK
    };
    assert!(matches!(
        Nitro(&module).evidence(&long),
        Err(AttestError::TooLong { .. })
    ));
}

/// A node offers nothing unless its own evidence verifies like a stranger's.
#[test]
fn row_30_nothing_is_offered_over_evidence_that_does_not_verify() {
    let key = SigningKey::from_secret(&[1; 32]).public();
    let configuration = Digest::sha256(b"configuration");
    let offered = |attester: &dyn Attester| {
        offer(
            attester,
            &key,
            b"nonce",
            &configuration,
            None,
            &Policy::production(),
            1_665_651_482,
        )
    };
    let document = corpus!("nitro/evervault-beta-valid.cbor");
    // A perfect document that is not about this key.
    let mut answer = b"\xa1\x6bAttestation\xa1\x68document\x59".to_vec();
    answer.extend((document.len() as u16).to_be_bytes());
    answer.extend(&document);
    let module = Module {
        answer,
        requests: RefCell::default(),
    };
    match offered(&Nitro(&module)) {
        Err(AttestError::Refused(rejected)) => {
            assert_eq!(rejected.reason.code(), "binding-mismatch")
        }
        other => panic!("{other:?}"),
    }
    let kernel = Kernel {
        provider: "tdx_guest",
        ..Kernel::default()
    };
    assert!(matches!(
        offered(&tsm(&kernel).unwrap()),
        Err(AttestError::Refused(_))
    ));
}

#[test]
fn doctor_finds_devices() {
    let root = std::env::temp_dir().join(format!("carat-doctor-{}", std::process::id()));
    std::fs::create_dir_all(root.join("dev")).unwrap();
    assert!(doctor(&root).iter().all(|finding| !finding.able));
    std::fs::write(root.join("dev/nsm"), b"").unwrap();
    std::fs::write(root.join("dev/tpmrm0"), b"").unwrap();
    let able: Vec<_> = doctor(&root)
        .into_iter()
        .filter(|finding| finding.able)
        .map(|finding| finding.what)
        .collect();
    assert_eq!(able, ["nitro"]);
    std::fs::remove_dir_all(root).unwrap();
}
