//! AMD's certification authorities, pinned by digest, and what an endorsement certificate says about its chip.

use alloc::string::String;

use crate::anchors::digest;
use crate::der::{Reader, tag};
use crate::x509::Certificate;

use super::report::Product;

/// What an authority signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The root of a product; signs the two others.
    Ark,
    /// Signs keys of single chips (VCEK).
    Ask,
    /// Signs keys of cloud providers (VLEK).
    Asvk,
}

/// A pinned authority.
#[derive(Debug, Clone, Copy)]
pub struct Authority {
    /// Its product.
    pub product: Product,
    /// What it signs.
    pub role: Role,
    /// Its certificate.
    pub der: &'static [u8],
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
}

macro_rules! authorities {
    ($(($product:ident, $role:ident, $file:literal, $digest:literal),)+) => {
        /// All of them: the root, ASK and ASVK of each product, as AMD's key distribution service gives them.
        pub static AUTHORITIES: &[Authority] = &[$(Authority {
            product: Product::$product,
            role: Role::$role,
            der: include_bytes!(concat!("../../roots/amd/", $file)),
            sha256: digest($digest),
        },)+];
    };
}

authorities! {
    (Milan, Ark, "milan-ark.der", "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"),
    (Milan, Ask, "milan-ask.der", "67d303bd3905fd38db8b20e0793699870e7fa612eaad5dec358293fd8c0bac1b"),
    (Milan, Asvk, "milan-asvk.der", "c5e081f59b7efab1fe2f8b505e159704e72f29cab7ef7cf628a05a42439082f5"),
    (Genoa, Ark, "genoa-ark.der", "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1"),
    (Genoa, Ask, "genoa-ask.der", "5464738c1546aed5f2cecf1dc98c5c960a92e8913238a61711bc90ec6e828521"),
    (Genoa, Asvk, "genoa-asvk.der", "197e610743a917d6b9bb982a5a9226ccc0a15b611be0619e626aca9151457372"),
    (Turin, Ark, "turin-ark.der", "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a"),
    (Turin, Ask, "turin-ask.der", "5b77ef5fe7a7a004fd9032668fba9d0fda22f88c4442069a479636a6ae3b3185"),
    (Turin, Asvk, "turin-asvk.der", "104e10a8bd060a3c20a434261a57d0588fd65a88915b4f65b08bdecaf8df1a3c"),
}

/// AMD's extensions, 1.3.6.1.4.1.3704.1, as DER content of the object identifier: AMD, "Versioned Chip Endorsement Key
/// (VCEK) Certificate and KDS Interface Specification" (publication 57230).
const ARC: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01];

/// What an endorsement certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorsement<'a> {
    /// Product and stepping, such as `Milan-B0`.
    pub product_name: String,
    /// Boot loader.
    pub bootloader: u8,
    /// TEE.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
    /// FMC, from Turin on.
    pub fmc: Option<u8>,
    /// The chip; VCEK only. 64 bytes, or 8 from Turin on.
    pub hwid: Option<&'a [u8]>,
    /// The cloud provider; VLEK only.
    pub csp_id: Option<String>,
}

/// A certificate is not AMD's for a chip or a cloud provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the endorsement certificate's {0} is missing or malformed")]
pub struct EndorsementError(pub &'static str);

/// The extension with this number below AMD's arc.
fn extension<'a>(certificate: &Certificate<'a>, tail: &[u8]) -> Option<&'a [u8]> {
    certificate
        .extensions
        .iter()
        .find(|extension| extension.oid.strip_prefix(ARC) == Some(tail))
        .map(|extension| extension.value)
}

/// Whether a certificate has AMD's extensions for a chip or provider; authorities have none.
pub fn is_endorsement(certificate: &Certificate<'_>) -> bool {
    certificate
        .extensions
        .iter()
        .any(|extension| extension.oid.starts_with(ARC))
}

impl<'a> Endorsement<'a> {
    /// Reads the extensions.
    pub fn parse(certificate: &Certificate<'a>) -> Result<Self, EndorsementError> {
        let level = |tail: &[u8], name: &'static str| {
            let value = extension(certificate, tail).ok_or(EndorsementError(name))?;
            small(value).ok_or(EndorsementError(name))
        };
        let name = extension(certificate, &[2])
            .and_then(text)
            .ok_or(EndorsementError("product name"))?;
        let fmc = extension(certificate, &[3, 9])
            .map(|value| small(value).ok_or(EndorsementError("FMC level")))
            .transpose()?;
        Ok(Self {
            product_name: name,
            bootloader: level(&[3, 1], "boot loader level")?,
            tee: level(&[3, 2], "TEE level")?,
            snp: level(&[3, 3], "SNP level")?,
            microcode: level(&[3, 8], "microcode level")?,
            fmc,
            hwid: extension(certificate, &[4]).map(octets),
            csp_id: extension(certificate, &[5])
                .map(|value| text(value).ok_or(EndorsementError("provider")))
                .transpose()?,
        })
    }

    /// The product that the name starts with. Steppings follow a hyphen (`Milan-B0`), or nothing does.
    pub fn product(&self) -> Option<Product> {
        match self.product_name.split('-').next() {
            Some("Milan") => Some(Product::Milan),
            // Chips of Genoa's generation are all signed under Genoa's root.
            Some("Genoa" | "Bergamo" | "Siena") => Some(Product::Genoa),
            Some("Turin") => Some(Product::Turin),
            _ => None,
        }
    }
}

/// A DER INTEGER below 256.
fn small(value: &[u8]) -> Option<u8> {
    let mut reader = Reader::new(value);
    let number = reader.small().ok()?;
    reader.finish().ok()?;
    u8::try_from(number).ok()
}

/// An IA5String or UTF8String.
fn text(value: &[u8]) -> Option<String> {
    let mut reader = Reader::new(value);
    let string = reader.any().ok()?;
    reader.finish().ok()?;
    if !matches!(
        string.tag,
        tag::IA5_STRING | tag::UTF8_STRING | tag::PRINTABLE_STRING
    ) {
        return None;
    }
    core::str::from_utf8(string.value).ok().map(String::from)
}

/// The chip's bytes: AMD has written them bare and as an OCTET STRING.
fn octets(value: &[u8]) -> &[u8] {
    if matches!(value.len(), 8 | 64) {
        return value;
    }
    let mut reader = Reader::new(value);
    match (reader.expect(tag::OCTET_STRING), reader.finish()) {
        (Ok(inner), Ok(())) => inner,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each file has its pinned digest, and each product's root signed its ASK, its ASVK and itself.
    #[test]
    fn authorities_are_what_is_pinned() {
        assert_eq!(AUTHORITIES.len(), 9);
        for authority in AUTHORITIES {
            let certificate = Certificate::parse(authority.der).expect("an authority parses");
            assert_eq!(certificate.digest(), authority.sha256);
            let root = AUTHORITIES
                .iter()
                .find(|root| root.product == authority.product && root.role == Role::Ark)
                .expect("every product has a root");
            let root = Certificate::parse(root.der).expect("a root parses");
            certificate.signed_by(root.key).expect("signed by its root");
            assert_eq!(certificate.issuer, root.subject);
            assert!(!is_endorsement(&certificate));
            let name = certificate.common_name().expect("a name").to_lowercase();
            assert!(name.ends_with(authority.product.as_str()), "{name}");
            let role = match authority.role {
                Role::Ark => "ark-",
                Role::Ask => "sev-",
                Role::Asvk => "sev-vlek-",
            };
            assert!(name.starts_with(role), "{name}");
        }
    }

    #[test]
    fn chip_ids_come_bare_or_wrapped() {
        let chip = [7; 64];
        assert_eq!(octets(&chip), chip);
        let mut wrapped = alloc::vec![4, 64];
        wrapped.extend_from_slice(&chip);
        assert_eq!(octets(&wrapped), chip);
        assert_eq!(
            octets(&[4, 8, 1, 2, 3, 4, 5, 6, 7, 8]),
            [1, 2, 3, 4, 5, 6, 7, 8]
        );
        assert_eq!(octets(&[1, 2, 3, 4, 5, 6, 7, 8]), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(octets(&[4, 9, 1]), [4, 9, 1]);
    }
}
