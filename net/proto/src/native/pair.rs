//! The value of a pair and of its answer (`docs/protocol.md`, section 6): what each side tells the other of its queue pair.

use super::Invalid;
use super::topology::Reader;

/// Features of a hello: the client can go on over RDMA, and is told whether the server can ([N-RDMA-1]).
pub const FEATURE_RDMA: u32 = 1 << 1;

/// The version of the messages that this crate speaks ([N-RDMA-4]).
pub const MESSAGES: u16 = 1;

/// Memory of one side that the other writes, or reads; all zeros: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    pub address: u64,
    pub key: u32,
    pub bytes: u32,
}

/// One side's end of a connection over RDMA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PairEnd {
    /// Of the messages; an answer has the same twice.
    pub version_min: u16,
    pub version_max: u16,
    /// None is defined.
    pub features: u32,
    /// The port's address.
    pub gid: [u8; 16],
    /// The queue pair's, 24 bits.
    pub number: u32,
    /// The sequence number of the first packet that it sends, 24 bits.
    pub first: u32,
    /// Payload of a packet that it can take, bytes; an answer has what is used.
    pub mtu: u32,
    /// Messages that it takes before it gives credits back.
    pub receives: u16,
    /// READs of the other side that it answers at a time.
    pub reads: u16,
    /// Bytes of such a message, at most.
    pub receive_bytes: u32,
    /// In an answer, the shard that has the queue pair.
    pub shard: u16,
    /// Where the server writes long parts of answers.
    pub landing: Window,
    /// Where the server reads long parts of requests.
    pub lending: Window,
}

impl PairEnd {
    /// Bytes that are read and written; a longer value is of a later version.
    pub const BYTES: usize = 80;

    pub fn parse(value: &[u8]) -> Result<PairEnd, Invalid> {
        let mut reader = Reader(value);
        let (version_min, version_max, features) = (reader.u16()?, reader.u16()?, reader.u32()?);
        let gid = reader.bytes(16)?.try_into().map_err(|_| Invalid::Layout)?;
        let (number, first, mtu) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (receives, reads, receive_bytes) = (reader.u16()?, reader.u16()?, reader.u32()?);
        let shard = reader.u16()?;
        reader.u16()?;
        let (landing, lending) = (window(&mut reader)?, window(&mut reader)?);
        Ok(PairEnd {
            version_min,
            version_max,
            features,
            gid,
            number,
            first,
            mtu,
            receives,
            reads,
            receive_bytes,
            shard,
            landing,
            lending,
        })
    }

    pub fn compose(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version_min.to_le_bytes());
        out.extend_from_slice(&self.version_max.to_le_bytes());
        out.extend_from_slice(&self.features.to_le_bytes());
        out.extend_from_slice(&self.gid);
        for word in [self.number, self.first, self.mtu] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.receives.to_le_bytes());
        out.extend_from_slice(&self.reads.to_le_bytes());
        out.extend_from_slice(&self.receive_bytes.to_le_bytes());
        out.extend_from_slice(&self.shard.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        for Window { address, key, bytes } in [self.landing, self.lending] {
            out.extend_from_slice(&address.to_le_bytes());
            out.extend_from_slice(&key.to_le_bytes());
            out.extend_from_slice(&bytes.to_le_bytes());
        }
    }
}

fn window(reader: &mut Reader<'_>) -> Result<Window, Invalid> {
    Ok(Window { address: reader.u64()?, key: reader.u32()?, bytes: reader.u32()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_survives_the_wire_and_no_prefix_of_it_does() {
        let end = PairEnd {
            version_min: 1,
            version_max: 2,
            features: 3,
            gid: *b"0123456789abcdef",
            number: 0xabcdef,
            first: 0x123456,
            mtu: 4096,
            receives: 16,
            reads: 4,
            receive_bytes: 8192,
            shard: 7,
            landing: Window { address: u64::MAX - 1, key: 9, bytes: 1 << 22 },
            lending: Window { address: 1 << 40, key: 10, bytes: 1 << 20 },
        };
        let mut bytes = Vec::new();
        end.compose(&mut bytes);
        assert_eq!(bytes.len(), PairEnd::BYTES);
        assert_eq!(PairEnd::parse(&bytes), Ok(end));
        for short in 0..bytes.len() {
            assert_eq!(PairEnd::parse(&bytes[..short]), Err(Invalid::Layout), "{short}");
        }
        bytes.extend_from_slice(b"of a later version");
        assert_eq!(PairEnd::parse(&bytes), Ok(end));
    }
}
