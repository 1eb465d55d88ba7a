//! The attestation report: AMD, "SEV Secure Nested Paging Firmware ABI Specification" (publication 56860), table
//! ATTESTATION_REPORT. Fixed offsets; what is signed is exactly the first 672 bytes, as received.

use crate::appraise::zero;

/// Length of a report in bytes.
pub const REPORT_BYTES: usize = 0x4a0;
/// Length of its signed region.
pub const SIGNED_BYTES: usize = 0x2a0;

/// A line of AMD processors with roots of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// EPYC 7003, family 0x19, models 0x00 to 0x0f.
    Milan,
    /// EPYC 9004, 8004 and their kin, family 0x19, models 0x10 to 0x1f and 0xa0 to 0xaf.
    Genoa,
    /// EPYC 9005, family 0x1a, models 0x00 to 0x1f.
    Turin,
}

impl Product {
    /// The name in policies and claims.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Milan => "milan",
            Self::Genoa => "genoa",
            Self::Turin => "turin",
        }
    }

    /// The product of a processor, from CPUID as the report has it since version 3.
    pub const fn of_cpuid(family: u8, model: u8) -> Option<Self> {
        match (family, model) {
            (0x19, 0x00..=0x0f) => Some(Self::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(Self::Genoa),
            (0x1a, 0x00..=0x1f) => Some(Self::Turin),
            _ => None,
        }
    }
}

/// Parts of TCB_VERSION.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcb {
    /// Boot loader.
    pub bootloader: u8,
    /// TEE.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
    /// FMC; Turin and later.
    pub fmc: Option<u8>,
    /// Bytes that the layout reserves are zero.
    pub reserved_zero: bool,
}

impl Tcb {
    /// Reads the eight bytes in the product's layout.
    pub fn parse(bytes: [u8; 8], product: Product) -> Self {
        match product {
            Product::Milan | Product::Genoa => {
                let [bootloader, tee, r0, r1, r2, r3, snp, microcode] = bytes;
                Self {
                    bootloader,
                    tee,
                    snp,
                    microcode,
                    fmc: None,
                    reserved_zero: zero(&[r0, r1, r2, r3]),
                }
            }
            Product::Turin => {
                let [fmc, bootloader, tee, snp, r0, r1, r2, microcode] = bytes;
                Self {
                    bootloader,
                    tee,
                    snp,
                    microcode,
                    fmc: Some(fmc),
                    reserved_zero: zero(&[r0, r1, r2]),
                }
            }
        }
    }
}

/// Which key signed a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKey {
    /// The chip's key at one firmware level.
    Vcek,
    /// A cloud provider's key, loaded into many chips.
    Vlek,
    /// None: the report is not signed.
    None,
    /// A number that the specification reserves.
    Reserved(u8),
}

/// A report, as slices of its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a>(&'a [u8; REPORT_BYTES]);

/// Bytes are no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Another length.
    #[error("a report has {REPORT_BYTES} bytes, these are {0}")]
    Length(usize),
    /// Another version.
    #[error("the report has version {0}; versions 2 to 5 are supported")]
    Version(u32),
}

impl<'a> Report<'a> {
    /// Reads a report.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ReportError> {
        let report = Self(
            bytes
                .try_into()
                .map_err(|_| ReportError::Length(bytes.len()))?,
        );
        match report.version() {
            2..=5 => Ok(report),
            other => Err(ReportError::Version(other)),
        }
    }

    fn at<const N: usize>(&self, offset: usize) -> [u8; N] {
        // Offsets are constants below `REPORT_BYTES`, as the tests of this module read every one.
        core::array::from_fn(|index| self.0[offset + index])
    }

    fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.at(offset))
    }

    fn u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.at(offset))
    }

    /// What the key signed.
    pub fn signed(&self) -> &'a [u8] {
        &self.0[..SIGNED_BYTES]
    }

    /// Version of the report.
    pub fn version(&self) -> u32 {
        self.u32(0)
    }

    /// Security version of the guest.
    pub fn guest_svn(&self) -> u32 {
        self.u32(0x04)
    }

    /// The guest's launch policy.
    pub fn policy(&self) -> u64 {
        self.u64(0x08)
    }

    /// Family of the guest, chosen by its owner.
    pub fn family_id(&self) -> [u8; 16] {
        self.at(0x10)
    }

    /// Image of the guest, chosen by its owner.
    pub fn image_id(&self) -> [u8; 16] {
        self.at(0x20)
    }

    /// Privilege level at which the report was asked for; all ones for the host.
    pub fn vmpl(&self) -> u32 {
        self.u32(0x30)
    }

    /// Algorithm of the signature: 1 is ECDSA on P-384 with SHA-384.
    pub fn signature_algo(&self) -> u32 {
        self.u32(0x34)
    }

    /// Firmware level that runs.
    pub fn current_tcb(&self) -> [u8; 8] {
        self.at(0x38)
    }

    /// What the platform has switched on.
    pub fn platform_info(&self) -> u64 {
        self.u64(0x40)
    }

    /// Whether the chip's identity is left out of reports.
    pub fn mask_chip_key(&self) -> bool {
        self.u32(0x48) & 2 != 0
    }

    /// Which key signed.
    pub fn signing_key(&self) -> SigningKey {
        match (self.u32(0x48) >> 2) & 7 {
            0 => SigningKey::Vcek,
            1 => SigningKey::Vlek,
            7 => SigningKey::None,
            other => SigningKey::Reserved(other as u8),
        }
    }

    /// 64 bytes from the guest.
    pub fn report_data(&self) -> [u8; 64] {
        self.at(0x50)
    }

    /// Launch digest of the guest.
    pub fn measurement(&self) -> [u8; 48] {
        self.at(0x90)
    }

    /// 32 bytes from the host at launch.
    pub fn host_data(&self) -> [u8; 32] {
        self.at(0xc0)
    }

    /// SHA-384 of the key that signed the guest's ID block, or zero.
    pub fn id_key_digest(&self) -> [u8; 48] {
        self.at(0xe0)
    }

    /// SHA-384 of the author's key, or zero.
    pub fn author_key_digest(&self) -> [u8; 48] {
        self.at(0x110)
    }

    /// Identity of this guest.
    pub fn report_id(&self) -> [u8; 32] {
        self.at(0x140)
    }

    /// Identity of its migration agent; all ones for none.
    pub fn report_id_ma(&self) -> [u8; 32] {
        self.at(0x160)
    }

    /// Firmware level that the signing key was derived for.
    pub fn reported_tcb(&self) -> [u8; 8] {
        self.at(0x180)
    }

    /// CPUID family, model and stepping; since version 3.
    pub fn cpuid(&self) -> Option<[u8; 3]> {
        (self.version() >= 3).then(|| self.at(0x188))
    }

    /// The chip, or zero where it is masked. Turin fills the first eight bytes.
    pub fn chip_id(&self) -> [u8; 64] {
        self.at(0x1a0)
    }

    /// Firmware level below which the platform cannot go back.
    pub fn committed_tcb(&self) -> [u8; 8] {
        self.at(0x1e0)
    }

    /// Build, minor and major version of the firmware that runs.
    pub fn current_version(&self) -> [u8; 3] {
        self.at(0x1e8)
    }

    /// Build, minor and major version of the committed firmware.
    pub fn committed_version(&self) -> [u8; 3] {
        self.at(0x1ec)
    }

    /// Firmware level at which the guest was launched or imported.
    pub fn launch_tcb(&self) -> [u8; 8] {
        self.at(0x1f0)
    }

    /// Mitigation vectors at launch and now; since version 5.
    pub fn mitigation_vectors(&self) -> Option<[u64; 2]> {
        (self.version() >= 5).then(|| [self.u64(0x1f8), self.u64(0x200)])
    }

    /// The signature, r and s big-endian, 96 bytes; `None` if either exceeds 48 bytes.
    pub fn signature(&self) -> Option<[u8; 96]> {
        let (r, s): ([u8; 72], [u8; 72]) = (self.at(0x2a0), self.at(0x2e8));
        if !zero(&r[48..]) || !zero(&s[48..]) {
            return None;
        }
        Some(core::array::from_fn(|index| {
            if index < 48 {
                r[47 - index]
            } else {
                s[95 - index]
            }
        }))
    }

    /// Whether everything after the signature is zero; nobody signed it.
    pub fn padding_is_zero(&self) -> bool {
        zero(&self.0[0x2a0 + 144..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_inside() {
        let mut bytes = [0xff; REPORT_BYTES];
        bytes[..4].copy_from_slice(&5u32.to_le_bytes());
        let report = Report::parse(&bytes).expect("version 5");
        assert_eq!(report.policy(), u64::MAX);
        assert_eq!(report.vmpl(), u32::MAX);
        assert_eq!(report.signing_key(), SigningKey::None);
        assert_eq!(report.mitigation_vectors(), Some([u64::MAX; 2]));
        assert_eq!(report.chip_id(), [0xff; 64]);
        assert_eq!(report.launch_tcb(), [0xff; 8]);
        assert_eq!(report.signature(), None);
        assert!(!report.padding_is_zero());
        assert_eq!(report.signed().len(), 672);
    }

    #[test]
    fn lengths_and_versions() {
        assert_eq!(Report::parse(&[0; 10]).err(), Some(ReportError::Length(10)));
        for (version, good) in [
            (0, false),
            (1, false),
            (2, true),
            (3, true),
            (5, true),
            (6, false),
        ] {
            let mut bytes = [0; REPORT_BYTES];
            bytes[0] = version;
            assert_eq!(Report::parse(&bytes).is_ok(), good, "version {version}");
        }
    }

    #[test]
    fn turin_orders_its_tcb_otherwise() {
        let bytes = [1, 2, 3, 4, 0, 0, 0, 8];
        let turin = Tcb::parse(bytes, Product::Turin);
        assert_eq!(
            (
                turin.fmc,
                turin.bootloader,
                turin.tee,
                turin.snp,
                turin.microcode
            ),
            (Some(1), 2, 3, 4, 8)
        );
        let genoa = Tcb::parse(bytes, Product::Genoa);
        assert_eq!(
            (
                genoa.fmc,
                genoa.bootloader,
                genoa.tee,
                genoa.snp,
                genoa.microcode
            ),
            (None, 1, 2, 0, 8)
        );
        assert!(turin.reserved_zero && !genoa.reserved_zero);
    }

    #[test]
    fn signature_is_reversed() {
        let mut bytes = [0; REPORT_BYTES];
        bytes[0] = 2;
        bytes[0x2a0] = 1;
        bytes[0x2e8] = 2;
        let signature = Report::parse(&bytes).unwrap().signature().unwrap();
        assert_eq!((signature[47], signature[95]), (1, 2));
        bytes[0x2a0 + 48] = 1;
        assert_eq!(Report::parse(&bytes).unwrap().signature(), None);
    }
}
