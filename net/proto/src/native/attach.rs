//! The values of an attach and of its answer (`docs/protocol.md`, section 6): what lies in shared memory, and in which
//! descriptor.

use super::Invalid;
use super::topology::Reader;

/// Features of a hello: the client can attach to shared memory, and is told where ([N-SHM-8]).
pub const FEATURE_SHARED_MEMORY: u32 = 1 << 0;

/// Features of an attach: the client can read shards itself ([N-SHM-11]).
pub const FEATURE_READS: u32 = 1 << 0;

/// The version of the layout that this crate speaks: of the words at the front of a ring's file ([N-SHM-4]).
pub const LAYOUT: u16 = 1;

/// Most descriptors that an answer may name; more is no answer of a server.
pub const DESCRIPTORS_MAX: usize = 4096;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attach {
    pub layout_min: u16,
    pub layout_max: u16,
    /// What it knows beyond rings: [`FEATURE_READS`].
    pub features: u32,
}

impl Attach {
    /// Bytes that are read and written; a longer value is of a later version.
    pub const BYTES: usize = 8;

    /// What this crate speaks, for a client that wants rings alone.
    pub const OURS: Attach = Attach { layout_min: LAYOUT, layout_max: LAYOUT, features: 0 };
    /// The same for one that reads shards, too.
    pub const READS: Attach = Attach { features: FEATURE_READS, ..Attach::OURS };

    pub fn parse(value: &[u8]) -> Result<Attach, Invalid> {
        let mut reader = Reader(value);
        Ok(Attach { layout_min: reader.u16()?, layout_max: reader.u16()?, features: reader.u32()? })
    }

    pub fn compose(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.layout_min.to_le_bytes());
        out.extend_from_slice(&self.layout_max.to_le_bytes());
        out.extend_from_slice(&self.features.to_le_bytes());
    }
}

/// What a descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum DescriptorKind {
    /// The server's words and the ring of answers; the server alone writes it.
    ServerRing = 1,
    /// The client's words and the ring of requests; the client writes it.
    ClientRing = 2,
    /// The memory of a shard, to be read.
    Shard = 3,
    /// The server's clock, to be read.
    Clock = 4,
}

/// One descriptor, in the order in which they are passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// A [`DescriptorKind`], or one of a later version: such a descriptor is closed by who does not know it ([N-SHM-3]).
    pub kind: u16,
    /// The shard that it belongs to.
    pub shard: u16,
    /// Length of the file, bytes.
    pub bytes: u64,
}

/// Bytes of a descriptor's entry; the answer says how long entries are, so that they can grow.
const ENTRY_BYTES: usize = 16;
/// Bytes before the entries.
const HEAD_BYTES: usize = 40;

/// What the server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub layout: u16,
    pub boot_id: u64,
    /// Length of the words at the front of each ring's file, bytes; the ring follows.
    pub words_bytes: u32,
    pub request_ring_bytes: u64,
    pub answer_ring_bytes: u64,
    pub descriptors: Vec<Descriptor>,
}

impl Attached {
    pub fn parse(value: &[u8]) -> Result<Attached, Invalid> {
        let mut reader = Reader(value);
        let (layout, count) = (reader.u16()?, usize::from(reader.u16()?));
        let (entry_bytes, entries_at) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
        let boot_id = reader.u64()?;
        let words_bytes = reader.u32()?;
        reader.u32()?;
        let (request_ring_bytes, answer_ring_bytes) = (reader.u64()?, reader.u64()?);
        if count > DESCRIPTORS_MAX || entry_bytes < ENTRY_BYTES || entries_at < HEAD_BYTES {
            return Err(Invalid::Layout);
        }
        let mut entries = Reader(value.get(entries_at..).ok_or(Invalid::Layout)?);
        let mut descriptors = Vec::new();
        for _ in 0..count {
            let mut entry = Reader(entries.bytes(entry_bytes)?);
            let (kind, shard) = (entry.u16()?, entry.u16()?);
            entry.u32()?;
            descriptors.push(Descriptor { kind, shard, bytes: entry.u64()? });
        }
        Ok(Attached { layout, boot_id, words_bytes, request_ring_bytes, answer_ring_bytes, descriptors })
    }

    /// Appends the answer's value.
    pub fn compose(&self, out: &mut Vec<u8>) {
        let count = self.descriptors.len().min(DESCRIPTORS_MAX);
        for short in [self.layout, count as u16, ENTRY_BYTES as u16, HEAD_BYTES as u16] {
            out.extend_from_slice(&short.to_le_bytes());
        }
        out.extend_from_slice(&self.boot_id.to_le_bytes());
        out.extend_from_slice(&self.words_bytes.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.request_ring_bytes.to_le_bytes());
        out.extend_from_slice(&self.answer_ring_bytes.to_le_bytes());
        for descriptor in &self.descriptors[..count] {
            out.extend_from_slice(&descriptor.kind.to_le_bytes());
            out.extend_from_slice(&descriptor.shard.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&descriptor.bytes.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached() -> Attached {
        let ring = |kind: DescriptorKind| Descriptor { kind: kind as u16, shard: 1, bytes: 69_632 };
        Attached {
            layout: LAYOUT,
            boot_id: 9,
            words_bytes: 4096,
            request_ring_bytes: 65_536,
            answer_ring_bytes: 65_536,
            descriptors: vec![ring(DescriptorKind::ServerRing), ring(DescriptorKind::ClientRing)],
        }
    }

    #[test]
    fn an_answer_survives_the_wire_and_no_prefix_of_it_does() {
        let mut bytes = Vec::new();
        attached().compose(&mut bytes);
        assert_eq!(Attached::parse(&bytes), Ok(attached()));
        for end in 0..bytes.len() {
            assert_eq!(Attached::parse(&bytes[..end]), Err(Invalid::Layout), "{end}");
        }
    }

    /// [N-SHM-3]: a later version may have longer entries, a longer head, and more behind all.
    #[test]
    fn longer_entries_and_a_longer_head_are_read() {
        let mut ours = Vec::new();
        attached().compose(&mut ours);
        let (head, entries) = ours.split_at(HEAD_BYTES);
        let mut later = head.to_vec();
        later[4..8].copy_from_slice(&[24, 0, 48, 0]);
        later.extend_from_slice(&[7; 8]);
        for entry in entries.chunks(ENTRY_BYTES) {
            later.extend_from_slice(entry);
            later.extend_from_slice(&[7; 8]);
        }
        later.extend_from_slice(b"and more");
        assert_eq!(Attached::parse(&later), Ok(attached()));
    }

    #[test]
    fn counts_that_the_value_cannot_hold_are_refused() {
        let mut bytes = Vec::new();
        attached().compose(&mut bytes);
        bytes[2..4].copy_from_slice(&[0xFF, 0xFF]);
        assert_eq!(Attached::parse(&bytes), Err(Invalid::Layout));
    }

    #[test]
    fn an_attach_survives_the_wire_and_may_be_longer() {
        let mut bytes = Vec::new();
        Attach::OURS.compose(&mut bytes);
        assert_eq!(Attach::parse(&bytes[..Attach::BYTES - 1]), Err(Invalid::Layout));
        bytes.extend_from_slice(b"later");
        assert_eq!(Attach::parse(&bytes), Ok(Attach::OURS));
    }
}
