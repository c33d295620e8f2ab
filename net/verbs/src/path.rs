//! The other end of a queue pair, and how packets get there.

use crate::gid::Gid;

/// Sequence numbers of packets and numbers of queue pairs have 24 bits.
pub const BITS_24: u32 = 0x00ff_ffff;

/// Payload of a packet, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mtu {
    Bytes256 = 1,
    Bytes512,
    Bytes1024,
    Bytes2048,
    Bytes4096,
}

impl Mtu {
    const ALL: [Mtu; 5] = [Mtu::Bytes256, Mtu::Bytes512, Mtu::Bytes1024, Mtu::Bytes2048, Mtu::Bytes4096];

    pub fn bytes(self) -> u32 {
        128 << self as u32
    }

    /// By its number in verbs.
    pub fn of_code(code: u32) -> Option<Mtu> {
        Mtu::ALL.into_iter().find(|mtu| *mtu as u32 == code)
    }

    pub fn of_bytes(bytes: u32) -> Option<Mtu> {
        Mtu::ALL.into_iter().find(|mtu| mtu.bytes() == bytes)
    }
}

/// What one end tells the other, over another connection, before packets can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The number of the queue pair, 24 bits.
    pub number: u32,
    /// The sequence number of the first packet that it sends, 24 bits.
    pub first: u32,
    pub gid: Gid,
}

/// How a queue pair reaches its peer, and how long it tries. Both ends need the same [`Path::mtu`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    pub port: u8,
    /// The index of our GID.
    pub gid: u8,
    pub mtu: Mtu,
    /// The sequence number of the first packet that we send, 24 bits.
    pub first: u32,
    /// DSCP and ECN bits of the packets: what priority flow control and congestion control go by.
    pub traffic_class: u8,
    pub hop_limit: u8,
    /// READs of ours that may be under way, and READs of the peer that we answer at a time.
    pub reads_out: u8,
    pub reads_in: u8,
    /// A packet that is not acknowledged is sent again after 4.096 us times two to this power (1 to 31; 0 waits for ever).
    pub timeout: u8,
    /// So many times (0 to 7), then the queue pair fails.
    pub retries: u8,
    /// And so many times when the peer has no receive posted; 7 tries for ever.
    pub not_ready_retries: u8,
    /// How long we tell a peer to wait when we have no receive posted, by its code in verbs (1: 10 us, 12: 0.64 ms, 31: 491 ms).
    pub not_ready_delay: u8,
}

impl Path {
    /// Gives up after some half a second in which nothing came through.
    pub fn new(port: u8, gid: u8, mtu: Mtu) -> Path {
        Path {
            port,
            gid,
            mtu,
            first: 0,
            traffic_class: 0,
            hop_limit: 64,
            reads_out: 4,
            reads_in: 4,
            timeout: 14,
            retries: 7,
            not_ready_retries: 7,
            not_ready_delay: 12,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mtu_is_found_by_its_code_and_its_bytes() {
        assert_eq!(Mtu::of_code(5), Some(Mtu::Bytes4096));
        assert_eq!(Mtu::of_code(1).map(Mtu::bytes), Some(256));
        assert_eq!(Mtu::of_bytes(1024), Some(Mtu::Bytes1024));
        for code in [0, 6, u32::MAX] {
            assert_eq!(Mtu::of_code(code), None);
        }
    }
}
