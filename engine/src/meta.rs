//! What is known of an item beside its key and its value.

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// What an item is, apart from key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meta {
    /// The server's own order of changes (hybrid logical clock, see [`crate::version`]).
    pub version: u64,
    /// What clients see as CAS.
    pub token: u64,
    pub flags: u32,
    /// `None`: never expires.
    pub expiry: Option<Millis>,
    pub value_bytes: u64,
    pub stale: bool,
    /// It had been read before this command.
    pub fetched: bool,
    pub lease: Lease,
}

impl Meta {
    /// Length of [`Meta::to_bytes`].
    pub const BYTES: usize = 4 * size_of::<u64>() + size_of::<u32>() + 1;
    const STALE: u8 = 1;
    const FETCHED: u8 = 1 << 1;

    /// All but the lease, little endian: version, token, expiry (all ones: never) and length of the value in eight bytes each, four bytes of
    /// flags, one of marks.
    pub fn to_bytes(&self) -> [u8; Meta::BYTES] {
        let mut bytes = [0; Meta::BYTES];
        let words = [self.version, self.token, self.expiry.unwrap_or(Millis::MAX), self.value_bytes];
        for (place, word) in bytes.chunks_exact_mut(size_of::<u64>()).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes[32..36].copy_from_slice(&self.flags.to_le_bytes());
        let mark = |is: bool, mark: u8| if is { mark } else { 0 };
        bytes[36] = mark(self.stale, Meta::STALE) | mark(self.fetched, Meta::FETCHED);
        bytes
    }

    /// What [`Meta::to_bytes`] has written; `None` if the length is another one.
    pub fn of_bytes(bytes: &[u8]) -> Option<Meta> {
        let bytes: &[u8; Meta::BYTES] = bytes.try_into().ok()?;
        let mut words = bytes.chunks_exact(size_of::<u64>()).map(|word| {
            let mut number = [0; size_of::<u64>()];
            number.copy_from_slice(word);
            u64::from_le_bytes(number)
        });
        let (version, token) = (words.next()?, words.next()?);
        let (expiry, value_bytes) = (Some(words.next()?).filter(|end| *end != Millis::MAX), words.next()?);
        let flags = u32::from_le_bytes([bytes[32], bytes[33], bytes[34], bytes[35]]);
        let (stale, fetched) = (bytes[36] & Meta::STALE != 0, bytes[36] & Meta::FETCHED != 0);
        Some(Meta { version, token, flags, expiry, value_bytes, stale, fetched, lease: Lease::None })
    }
}

/// The lease as this reader finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lease {
    #[default]
    None,
    /// This reader shall fetch the new value (meta `W`).
    Won,
    /// Another reader has been asked to (meta `Z`).
    Given,
}

/// A value under way into the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let meta = Meta {
            version: 1 << 63,
            token: 2,
            flags: u32::MAX,
            expiry: Some(3),
            value_bytes: 4 << 40,
            stale: true,
            fetched: false,
            lease: Lease::None,
        };
        for meta in [meta, Meta { expiry: None, stale: false, fetched: true, ..meta }, Meta::default()] {
            assert_eq!(Meta::of_bytes(&meta.to_bytes()), Some(meta));
        }
        assert_eq!(Meta::of_bytes(&[0; Meta::BYTES - 1]), None);
    }
}
