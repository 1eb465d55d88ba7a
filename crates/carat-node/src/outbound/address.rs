//! Which addresses may be connected to. A name is resolved once for a connection, and every address that it gives is looked at
//! before any of them is used: a name that changes its mind between the two looks changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses under which clouds serve credentials to whoever asks from the machine itself, outside the link-local ranges.
const METADATA: [IpAddr; 3] = [
    // Alibaba Cloud.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Oracle Cloud.
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // Amazon EC2.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// What an address is that nothing is sent to unless it is named; `None`: an address like others.
pub fn forbidden(address: IpAddr) -> Option<&'static str> {
    if METADATA.contains(&address) {
        return Some("a cloud's metadata service");
    }
    match address {
        IpAddr::V4(v4) => forbidden_v4(v4),
        IpAddr::V6(v6) => forbidden_v6(v6),
    }
}

fn forbidden_v4(v4: Ipv4Addr) -> Option<&'static str> {
    if v4.octets()[0] == 0 {
        Some("this machine, by no address")
    } else if v4.is_link_local() {
        Some("link-local, where clouds serve credentials")
    } else if v4.is_multicast() || v4.is_broadcast() {
        Some("no single machine")
    } else {
        None
    }
}

fn forbidden_v6(v6: Ipv6Addr) -> Option<&'static str> {
    // An IPv4 address may be written inside an IPv6 one; what counts is where the packets go.
    if let Some(v4) = embedded(v6) {
        return forbidden(IpAddr::V4(v4));
    }
    let first = v6.segments()[0];
    if v6.is_unspecified() {
        Some("this machine, by no address")
    } else if first & 0xffc0 == 0xfe80 {
        Some("link-local")
    } else if v6.is_multicast() {
        Some("no single machine")
    } else {
        None
    }
}

/// The IPv4 address inside a mapped, compatible, NAT64 (RFC 6052) or 6to4 (RFC 3056) address.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] => Some(v4(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// Whether what is sent there stays on this machine or in a private network.
pub fn near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.segments()[0] & 0xfe00 == 0xfc00,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_link_local_addresses_are_forbidden_however_they_are_written() {
        for text in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "::169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "::ffff:100.100.100.200",
            "192.0.0.192",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "255.255.255.255",
            "224.0.0.1",
            "ff02::1",
        ] {
            let address: IpAddr = text.parse().expect("an address");
            assert!(forbidden(address).is_some(), "{text}");
        }
        for text in [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "192.168.1.1",
            "fd00::1",
            "93.184.216.34",
            "2606:4700::1",
        ] {
            let address: IpAddr = text.parse().expect("an address");
            assert_eq!(forbidden(address), None, "{text}");
        }
    }

    #[test]
    fn near_is_this_machine_and_private_networks() {
        let near = |text: &str| super::near(text.parse().expect("an address"));
        for text in [
            "127.0.0.1",
            "::1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "fd12::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(near(text), "{text}");
        }
        for text in ["93.184.216.34", "172.32.0.1", "2606:4700::1", "100.64.0.1"] {
            assert!(!near(text), "{text}");
        }
    }
}
