//! Base64 of binary keys (RFC 4648, standard alphabet, padded), by the crate of that name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Decodes into `buffer`; `None` if the text is empty, no base64, or longer than the buffer takes.
pub fn decode<'b>(text: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let length = STANDARD.decode_slice(text, buffer).ok()?;
    buffer.get(..length).filter(|key| !key.is_empty())
}

/// Appends the text of `bytes`.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    // 4 characters for each 3 bytes begun.
    let length = bytes.len().div_ceil(3).saturating_mul(4);
    out.resize(start.saturating_add(length), 0);
    if let Some(place) = out.get_mut(start..) {
        let written = STANDARD.encode_slice(bytes, place).unwrap_or(0);
        out.truncate(start + written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_whole_padded_text_is_a_key() {
        let mut buffer = [0; 250];
        assert_eq!(decode(b"Zm9v", &mut buffer), Some(&b"foo"[..]));
        assert_eq!(decode(b"AA==", &mut buffer), Some(&b"\0"[..]));
        for text in [&b""[..], b"Zm9", b"!!!", b"Zm9v=", b"===="] {
            assert_eq!(decode(text, &mut buffer), None);
        }
        assert_eq!(decode(b"Zm9vZm9v", &mut [0; 3]), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(bytes in proptest::collection::vec(any::<u8>(), 1..180)) {
            let mut text = b"k".to_vec();
            encode(&bytes, &mut text);
            let mut buffer = [0; 250];
            prop_assert_eq!(decode(&text[1..], &mut buffer), Some(&bytes[..]));
        }
    }
}
