//! The table of certificates that follows a report when a guest asks for an "extended report": AMD, "Guest Hypervisor
//! Communication Block Standardization" (publication 56421), section "SNP Extended Guest Request". Entries of 24 bytes
//! (GUID, offset and length from the start of the table) end with an entry of zeros.

use alloc::vec::Vec;

use crate::der::Reader;

/// Most entries.
const MAX_ENTRIES: usize = 16;
/// Length of an entry.
const ENTRY_BYTES: usize = 24;

/// GUIDs of VCEK, VLEK, ASK and ARK, in their mixed-endian form; other entries are skipped.
const KNOWN: [[u8; 16]; 4] = [
    [
        0x8d, 0x75, 0xda, 0x63, 0x64, 0xe6, 0x64, 0x45, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac,
        0xcd,
    ],
    [
        0xa0, 0x4b, 0x07, 0xa8, 0x5a, 0xa2, 0x3e, 0x48, 0xaa, 0xe6, 0x39, 0xc0, 0x45, 0xa0, 0xb8,
        0xa1,
    ],
    [
        0x79, 0xb3, 0xb7, 0x4a, 0xac, 0xbb, 0xe4, 0x4f, 0xa0, 0x2f, 0x05, 0xae, 0xf3, 0x27, 0xc7,
        0x82,
    ],
    [
        0xa4, 0x06, 0xb4, 0xc0, 0x03, 0xa8, 0x52, 0x49, 0x97, 0x43, 0x3f, 0xb6, 0x01, 0x4c, 0xd0,
        0xae,
    ],
];

/// The certificates of a table; none where nothing follows the report.
pub(super) fn certificates(table: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    let mut found = Vec::new();
    if table.is_empty() {
        return Ok(found);
    }
    let entries = || table.chunks(ENTRY_BYTES).take(MAX_ENTRIES);
    // Certificates stand behind the table; whatever points into it is another thing.
    let end = match entries().position(|entry| entry == [0; ENTRY_BYTES]) {
        Some(last) => (last + 1) * ENTRY_BYTES,
        None => {
            return Err(
                "what follows the report is no table of certificates: it has no last entry",
            );
        }
    };
    for entry in table[..end - ENTRY_BYTES].chunks(ENTRY_BYTES) {
        let (guid, place) = entry.split_at(16);
        let number = |at: usize| {
            u32::from_le_bytes([place[at], place[at + 1], place[at + 2], place[at + 3]]) as usize
        };
        let bytes = table
            .get(number(0)..)
            .filter(|_| number(0) >= end)
            .and_then(|rest| rest.get(..number(4)))
            .ok_or("an entry lies outside the table of certificates")?;
        if KNOWN.iter().any(|known| known == guid) {
            // Hosts pad certificates to whole pages.
            let certificate = Reader::new(bytes)
                .any()
                .map_err(|_| "an entry of the table of certificates is no certificate")?;
            found.push(certificate.whole);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[([u8; 16], &[u8])]) -> Vec<u8> {
        let mut bytes = alloc::vec![0; ENTRY_BYTES * (entries.len() + 1)];
        for (index, (guid, certificate)) in entries.iter().enumerate() {
            let offset = bytes.len() as u32;
            let entry = &mut bytes[index * ENTRY_BYTES..][..ENTRY_BYTES];
            entry[..16].copy_from_slice(guid);
            entry[16..20].copy_from_slice(&offset.to_le_bytes());
            entry[20..].copy_from_slice(&(certificate.len() as u32).to_le_bytes());
            bytes.extend_from_slice(certificate);
        }
        bytes
    }

    #[test]
    fn reads_known_entries() {
        let bytes = table(&[
            (KNOWN[0], &[4, 1, 7, 0, 0]),
            ([9; 16], &[1, 2]),
            (KNOWN[3], &[5, 0]),
        ]);
        assert_eq!(
            certificates(&bytes),
            Ok(alloc::vec![&[4u8, 1, 7][..], &[5, 0]])
        );
        assert_eq!(certificates(&[]), Ok(Vec::new()));
    }

    #[test]
    fn refuses_what_points_into_the_table() {
        let mut bytes = table(&[([9; 16], &[1, 2])]);
        bytes[16..20].copy_from_slice(&24u32.to_le_bytes());
        assert!(certificates(&bytes).is_err());
    }

    #[test]
    fn refuses_what_lies_outside() {
        let mut bytes = table(&[(KNOWN[0], &[4, 1, 7])]);
        bytes[20] = 200;
        assert!(certificates(&bytes).is_err());
        assert!(certificates(&[1; 30]).is_err());
        assert!(certificates(&[0; 10]).is_err());
        bytes[16..24].fill(0xff);
        assert!(certificates(&bytes).is_err());
    }
}
