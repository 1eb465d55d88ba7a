//! Tests only: a vendor of our own. Certificates, revocation lists and keys, so that tests can make evidence that is
//! perfect but for one thing.

use alloc::vec::Vec;

use p256::ecdsa::signature::Signer as _;

/// DER of a value.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let mut der = alloc::vec![tag];
    match len {
        0..0x80 => der.push(len as u8),
        0x80..0x100 => der.extend([0x81, len as u8]),
        _ => der.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    der.extend(content);
    der
}

/// DER of a SEQUENCE.
pub(crate) fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// DER of a small INTEGER.
pub(crate) fn int(value: u8) -> Vec<u8> {
    match value {
        0..0x80 => tlv(2, &[value]),
        _ => tlv(2, &[0, value]),
    }
}

/// DER of a Name with a common name.
pub(crate) fn name(common_name: &str) -> Vec<u8> {
    let attribute = seq(&[&tlv(6, &[0x55, 4, 3]), &tlv(0x0c, common_name.as_bytes())]);
    seq(&[&tlv(0x31, &attribute)])
}

/// A key pair.
pub(crate) enum Key {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
}

impl Key {
    pub(crate) fn p256(seed: u8) -> Self {
        Self::P256(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap())
    }

    pub(crate) fn p384(seed: u8) -> Self {
        Self::P384(p384::ecdsa::SigningKey::from_slice(&[seed; 48]).unwrap())
    }

    /// The public key, SEC 1, uncompressed.
    pub(crate) fn point(&self) -> Vec<u8> {
        match self {
            Self::P256(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Self::P384(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
        }
    }

    /// r and s, big-endian.
    pub(crate) fn raw(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
        }
    }

    fn der(&self, message: &[u8]) -> Vec<u8> {
        let raw = self.raw(message);
        let (r, s) = raw.split_at(raw.len() / 2);
        let number = |bytes: &[u8]| {
            let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(0);
            let mut content = Vec::new();
            if bytes[start] & 0x80 != 0 {
                content.push(0);
            }
            content.extend(&bytes[start..]);
            tlv(2, &content)
        };
        seq(&[&number(r), &number(s)])
    }

    fn algorithm(&self) -> Vec<u8> {
        let last = match self {
            Self::P256(_) => 2,
            Self::P384(_) => 3,
        };
        seq(&[&tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last])])
    }

    fn spki(&self) -> Vec<u8> {
        let curve: &[u8] = match self {
            Self::P256(_) => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
            Self::P384(_) => &[0x2b, 0x81, 4, 0, 0x22],
        };
        let algorithm = seq(&[
            &tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]),
            &tlv(6, curve),
        ]);
        let mut bits = alloc::vec![0];
        bits.extend(self.point());
        seq(&[&algorithm, &tlv(3, &bits)])
    }

    fn signed(&self, tbs: &[u8]) -> Vec<u8> {
        let mut bits = alloc::vec![0];
        bits.extend(self.der(tbs));
        seq(&[tbs, &self.algorithm(), &tlv(3, &bits)])
    }
}

/// An extension: object identifier, critical, content.
pub(crate) fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    seq(&[&tlv(6, oid), flag, &tlv(4, value)])
}

/// What a certificate says.
pub(crate) struct Spec<'a> {
    pub(crate) subject: &'a [u8],
    pub(crate) issuer: &'a [u8],
    pub(crate) key: &'a Key,
    pub(crate) signer: &'a Key,
    pub(crate) authority: bool,
    pub(crate) serial: u8,
    /// GeneralizedTime or UTCTime text.
    pub(crate) dates: [&'a str; 2],
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl Spec<'_> {
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut extensions = self.extensions.clone();
        let (constraints, usage): (&[u8], u8) = if self.authority {
            (&[0x30, 3, 1, 1, 0xff], 0x06)
        } else {
            (&[0x30, 0], 0xc0)
        };
        extensions.push(extension(&[0x55, 0x1d, 0x13], true, constraints));
        let unused = usage.trailing_zeros() as u8;
        extensions.push(extension(&[0x55, 0x1d, 0x0f], true, &[3, 2, unused, usage]));
        let tbs = seq(&[
            &tlv(0xa0, &int(2)),
            &int(self.serial),
            &self.signer.algorithm(),
            self.issuer,
            &seq(&self.dates.map(time).each_ref().map(Vec::as_slice)),
            self.subject,
            &self.key.spki(),
            &tlv(0xa3, &tlv(0x30, &extensions.concat())),
        ]);
        self.signer.signed(&tbs)
    }
}

fn time(text: &str) -> Vec<u8> {
    tlv(if text.len() == 13 { 0x17 } else { 0x18 }, text.as_bytes())
}

/// A revocation list.
pub(crate) fn crl(issuer: &[u8], signer: &Key, dates: [&str; 2], revoked: &[u8]) -> Vec<u8> {
    let entries: Vec<u8> = revoked
        .iter()
        .flat_map(|serial| seq(&[&int(*serial), &time(dates[0])]))
        .collect();
    let list = if entries.is_empty() {
        Vec::new()
    } else {
        tlv(0x30, &entries)
    };
    let key_id = seq(&[&tlv(0x80, &[1; 20])]);
    let extensions = [
        extension(&[0x55, 0x1d, 0x14], false, &int(1)),
        extension(&[0x55, 0x1d, 0x23], false, &key_id),
    ]
    .concat();
    let tbs = seq(&[
        &int(1),
        &signer.algorithm(),
        issuer,
        &time(dates[0]),
        &time(dates[1]),
        &list,
        &tlv(0xa0, &tlv(0x30, &extensions)),
    ]);
    signer.signed(&tbs)
}
