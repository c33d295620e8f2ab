//! Addresses of ports: a GID has 16 bytes, and an index in the table of its port.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address of a port. Over RoCEv2 it is the IP address, of IPv4 in its mapped form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gid(pub [u8; 16]);

impl Gid {
    pub fn address(self) -> Ipv6Addr {
        Ipv6Addr::from(self.0)
    }

    pub fn ipv4(self) -> Option<Ipv4Addr> {
        self.address().to_ipv4_mapped()
    }

    /// Of an entry that is not used.
    pub fn is_zero(self) -> bool {
        self.0 == [0; 16]
    }

    /// Reaches no further than the network that the port is in: `fe80::/10`.
    pub fn is_link_local(self) -> bool {
        self.0[0] == 0xfe && self.0[1] & 0xc0 == 0x80
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ipv4() {
            Some(address) => address.fmt(f),
            None => self.address().fmt(f),
        }
    }
}

impl fmt::Debug for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As the kernel writes one: eight groups of four hexadecimal digits.
impl FromStr for Gid {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Gid, Self::Err> {
        text.parse::<Ipv6Addr>().map(|address| Gid(address.octets()))
    }
}

/// How packets from a GID look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GidKind {
    /// Over InfiniBand, or RoCEv1: both are written `IB/RoCE v1`. No IP, so no routers.
    V1,
    /// UDP, port 4791.
    V2,
}

impl FromStr for GidKind {
    type Err = ();

    fn from_str(text: &str) -> Result<GidKind, ()> {
        match text.trim() {
            "RoCE v2" => Ok(GidKind::V2),
            "IB/RoCE v1" => Ok(GidKind::V1),
            _ => Err(()),
        }
    }
}

impl fmt::Display for GidKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GidKind::V1 => "IB/RoCE v1",
            GidKind::V2 => "RoCE v2",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gids_are_read_as_the_kernel_writes_them() {
        let gid: Gid = "0000:0000:0000:0000:0000:ffff:0a00:0001".parse().expect("a GID");
        assert_eq!((gid.to_string().as_str(), gid.ipv4()), ("10.0.0.1", Some(Ipv4Addr::new(10, 0, 0, 1))));
        let local: Gid = "fe80:0000:0000:0000:5054:00ff:fe12:3456".parse().expect("a GID");
        assert!(local.is_link_local() && !gid.is_link_local() && local.ipv4().is_none());
        assert_eq!(local.to_string(), "fe80::5054:ff:fe12:3456");
        assert!("0000:0000:0000:0000:0000:0000:0000:0000".parse::<Gid>().is_ok_and(Gid::is_zero));
        assert!("".parse::<Gid>().is_err());
    }

    #[test]
    fn kinds_are_read_as_the_kernel_writes_them() {
        for kind in [GidKind::V1, GidKind::V2] {
            assert_eq!(format!("{kind}\n").parse(), Ok(kind));
        }
        assert!("RoCE v3".parse::<GidKind>().is_err());
    }
}
