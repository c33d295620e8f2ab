//! Words one behind the other, each behind its length, which is a `u32` (little endian): how a scan gives its keys.

/// Puts the length of the word that comes next behind the words in `to`.
pub fn begin(word_bytes: u32, to: &mut Vec<u8>) {
    to.extend_from_slice(&word_bytes.to_le_bytes());
}

/// The words in their order; a last one that is cut short is left out.
pub fn each(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    std::iter::from_fn(move || {
        let (len, behind) = bytes.split_first_chunk::<4>()?;
        let (word, behind) = behind.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        bytes = behind;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_out_as_they_went_in() {
        let words: [&[u8]; 3] = [b"message", b"", b"\0\r\n"];
        let mut bytes = Vec::new();
        for word in words {
            begin(word.len() as u32, &mut bytes);
            bytes.extend_from_slice(word);
        }
        assert!(each(&bytes).eq(words));
        assert_eq!(each(&bytes[..bytes.len() - 1]).count(), 2);
    }
}
