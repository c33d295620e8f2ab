//! The slot map on the wire, and the small values of refusals that carry fields.

use super::Invalid;

/// Who owns which slot, and where they listen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    pub epoch: u64,
    pub boot_id: u64,
    pub ranges: Vec<SlotRange>,
    pub shards: Vec<ShardAddress>,
}

/// Slots `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotRange {
    pub first: u16,
    pub last: u16,
    pub shard: u16,
}

/// Where a shard listens ([N-TOPO-4]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardAddress {
    pub shard: u16,
    /// 0: no port of its own.
    pub port: u16,
    /// Empty: the host that the client is connected to.
    pub host: String,
}

impl Topology {
    /// Reads the answer's value. The counts are bounded by the value's own length before anything is allocated.
    pub fn parse(value: &[u8]) -> Result<Topology, Invalid> {
        let mut reader = Reader(value);
        let (epoch, boot_id) = (reader.u64()?, reader.u64()?);
        let (shard_count, range_count) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
        reader.u32()?;
        if reader.0.len() < (shard_count + range_count) * 8 {
            return Err(Invalid::Layout);
        }
        let mut ranges = Vec::with_capacity(range_count);
        for _ in 0..range_count {
            let (first, last, shard) = (reader.u16()?, reader.u16()?, reader.u16()?);
            reader.u16()?;
            if first > last {
                return Err(Invalid::Layout);
            }
            ranges.push(SlotRange { first, last, shard });
        }
        let mut shards = Vec::with_capacity(shard_count);
        for _ in 0..shard_count {
            let (shard, port, host_bytes) = (reader.u16()?, reader.u16()?, usize::from(reader.u16()?));
            reader.u16()?;
            let host = reader.bytes(host_bytes)?;
            reader.bytes(host_bytes.next_multiple_of(8) - host_bytes)?;
            let host = std::str::from_utf8(host).map_err(|_| Invalid::Layout)?.to_owned();
            shards.push(ShardAddress { shard, port, host });
        }
        Ok(Topology { epoch, boot_id, ranges, shards })
    }

    /// Appends the answer's value; shards and ranges over 65,535 and hosts over 65,535 bytes are left out.
    pub fn compose(&self, out: &mut Vec<u8>) {
        let ranges = &self.ranges[..self.ranges.len().min(usize::from(u16::MAX))];
        let shards = &self.shards[..self.shards.len().min(usize::from(u16::MAX))];
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.boot_id.to_le_bytes());
        put_shorts(out, &[shards.len() as u16, ranges.len() as u16, 0, 0]);
        for range in ranges {
            put_shorts(out, &[range.first, range.last, range.shard, 0]);
        }
        for shard in shards {
            let host = if shard.host.len() <= usize::from(u16::MAX) { shard.host.as_bytes() } else { b"" };
            put_shorts(out, &[shard.shard, shard.port, host.len() as u16, 0]);
            out.extend_from_slice(host);
            out.resize(out.len() + host.len().next_multiple_of(8) - host.len(), 0);
        }
    }

    /// The owner of a slot.
    pub fn owner(&self, slot: u16) -> Option<u16> {
        let index = self.ranges.partition_point(|range| range.last < slot);
        self.ranges.get(index).filter(|range| range.first <= slot).map(|range| range.shard)
    }
}

/// The value of a `wrong-owner` answer ([N-TOPO-3]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongOwner {
    pub slot: u16,
    pub shard: u16,
    pub epoch: u64,
}

impl WrongOwner {
    pub const BYTES: usize = 16;

    pub fn parse(value: &[u8]) -> Result<WrongOwner, Invalid> {
        let mut reader = Reader(value);
        let (slot, shard) = (reader.u16()?, reader.u16()?);
        reader.u32()?;
        Ok(WrongOwner { slot, shard, epoch: reader.u64()? })
    }

    pub fn compose(&self, out: &mut Vec<u8>) {
        put_shorts(out, &[self.slot, self.shard, 0, 0]);
        out.extend_from_slice(&self.epoch.to_le_bytes());
    }
}

fn put_shorts(out: &mut Vec<u8>, shorts: &[u16]) {
    for short in shorts {
        out.extend_from_slice(&short.to_le_bytes());
    }
}

/// Takes fields off the front of a value with a layout.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Invalid> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Invalid::Layout)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Invalid> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Invalid::Layout)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Invalid> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Invalid> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Invalid> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_shards() -> Topology {
        Topology {
            epoch: 3,
            boot_id: 9,
            ranges: vec![
                SlotRange { first: 0, last: 8191, shard: 0 },
                SlotRange { first: 8192, last: 16383, shard: 1 },
            ],
            shards: vec![
                ShardAddress { shard: 0, port: 7200, host: "127.0.0.1".into() },
                ShardAddress { shard: 1, port: 7201, host: String::new() },
            ],
        }
    }

    #[test]
    fn a_map_survives_the_wire_and_no_prefix_of_it_does() {
        let mut bytes = Vec::new();
        two_shards().compose(&mut bytes);
        assert_eq!(Topology::parse(&bytes), Ok(two_shards()));
        for end in 0..bytes.len() {
            assert_eq!(Topology::parse(&bytes[..end]), Err(Invalid::Layout), "{end}");
        }
    }

    /// [N-TOPO-2]
    #[test]
    fn the_owner_is_found_at_both_ends_of_a_range() {
        let mut map = two_shards();
        assert_eq!([0, 8191, 8192, 16383].map(|slot| map.owner(slot)), [Some(0), Some(0), Some(1), Some(1)]);
        map.ranges.remove(0);
        assert_eq!(map.owner(8191), None);
    }

    #[test]
    fn counts_that_the_value_cannot_hold_are_refused() {
        let mut bytes = Vec::new();
        Topology::default().compose(&mut bytes);
        bytes[16] = 0xFF;
        bytes[17] = 0xFF;
        assert_eq!(Topology::parse(&bytes), Err(Invalid::Layout));
    }
}
