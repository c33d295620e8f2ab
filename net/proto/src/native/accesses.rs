//! The value of an accesses request (`docs/protocol.md`, [N-SHM-15]): what a client has read without asking.

use super::Invalid;
use super::topology::Reader;

/// Bytes before the entries, and of each.
const HEAD_BYTES: usize = 16;
const ENTRY_BYTES: usize = 24;

/// An access to an item, which its owner may count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accessed {
    pub shard: u16,
    pub hash: u64,
    /// Where the item lay.
    pub location: u64,
}

/// What a client tells of its reads since it told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accesses<'a> {
    pub hits: u64,
    pub misses: u64,
    entries: &'a [u8],
}

impl<'a> Accesses<'a> {
    pub fn parse(value: &'a [u8]) -> Result<Accesses<'a>, Invalid> {
        let mut reader = Reader(value);
        let (hits, misses) = (reader.u64()?, reader.u64()?);
        let entries = &value[HEAD_BYTES..];
        let is_whole = entries.len().is_multiple_of(ENTRY_BYTES);
        is_whole.then_some(Accesses { hits, misses, entries }).ok_or(Invalid::Layout)
    }

    /// The accesses that count.
    pub fn entries(&self) -> impl Iterator<Item = Accessed> + 'a {
        self.entries.chunks_exact(ENTRY_BYTES).filter_map(|entry| {
            let mut reader = Reader(entry);
            let shard = reader.u16().ok()?;
            reader.bytes(6).ok()?;
            Some(Accessed { shard, hash: reader.u64().ok()?, location: reader.u64().ok()? })
        })
    }

    /// Appends a value.
    pub fn compose((hits, misses): (u64, u64), entries: &[Accessed], out: &mut Vec<u8>) {
        out.extend_from_slice(&hits.to_le_bytes());
        out.extend_from_slice(&misses.to_le_bytes());
        for entry in entries {
            out.extend_from_slice(&entry.shard.to_le_bytes());
            out.extend_from_slice(&[0; 6]);
            out.extend_from_slice(&entry.hash.to_le_bytes());
            out.extend_from_slice(&entry.location.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_survive_the_wire_and_must_be_whole() {
        let entries = [
            Accessed { shard: 3, hash: u64::MAX, location: 8 },
            Accessed { shard: 0, hash: 1, location: u64::MAX },
        ];
        let mut bytes = Vec::new();
        Accesses::compose((7, 9), &entries, &mut bytes);
        let accesses = Accesses::parse(&bytes).unwrap();
        assert_eq!((accesses.hits, accesses.misses), (7, 9));
        assert_eq!(accesses.entries().collect::<Vec<_>>(), entries);
        for end in 0..bytes.len() {
            let is_whole = end >= HEAD_BYTES && (end - HEAD_BYTES).is_multiple_of(ENTRY_BYTES);
            assert_eq!(Accesses::parse(&bytes[..end]).is_ok(), is_whole, "{end}");
        }
    }
}
