//! The value of a multi-get: each key as u16 length and its bytes ([N-MGET-3]).

use super::Invalid;

/// The keys of a multi-get, checked.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a>(&'a [u8]);

impl<'a> Keys<'a> {
    /// Walks once over the value, so that iterating cannot fail. At least one key, at most `keys_max`. Says how many there are.
    pub fn parse(value: &'a [u8], keys_max: usize) -> Result<(Keys<'a>, usize), Invalid> {
        let mut rest = value;
        let mut count = 0;
        while !rest.is_empty() {
            let (_, behind) = split_key(rest).ok_or(Invalid::Layout)?;
            rest = behind;
            count += 1;
            if count > keys_max {
                return Err(Invalid::TooManyKeys { limit: keys_max });
            }
        }
        if count == 0 { Err(Invalid::Layout) } else { Ok((Keys(value), count)) }
    }

    /// Goes on with what [`Keys::rest`] was.
    pub fn resume(rest: &'a [u8]) -> Keys<'a> {
        Keys(rest)
    }

    /// The keys that were not iterated over yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Keys<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (key, rest) = split_key(self.0)?;
        self.0 = rest;
        Some(key)
    }
}

/// Appends one key to a multi-get's value. A key over 65,535 bytes is refused and nothing appended.
pub fn push_key(out: &mut Vec<u8>, key: &[u8]) -> Result<(), Invalid> {
    let key_bytes = u16::try_from(key.len())
        .map_err(|_| Invalid::KeyTooLong { key_bytes: key.len(), limit: usize::from(u16::MAX) })?;
    out.extend_from_slice(&key_bytes.to_le_bytes());
    out.extend_from_slice(key);
    Ok(())
}

#[inline]
fn split_key(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [N-MGET-3]
    #[test]
    fn keys_are_counted_bounded_and_checked() {
        let mut value = Vec::new();
        for key in [&b"a"[..], b"", b"ccc"] {
            push_key(&mut value, key).unwrap();
        }
        let (keys, count) = Keys::parse(&value, 3).unwrap();
        assert_eq!(count, 3);
        assert_eq!(keys.collect::<Vec<_>>(), [&b"a"[..], b"", b"ccc"]);
        assert_eq!(Keys::parse(&value, 2).err(), Some(Invalid::TooManyKeys { limit: 2 }));
        assert_eq!(Keys::parse(&value[..value.len() - 1], 3).err(), Some(Invalid::Layout));
        assert_eq!(Keys::parse(b"", 3).err(), Some(Invalid::Layout));
    }
}
