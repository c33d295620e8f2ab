//! By what scripts are named.

use sha1::Digest as _;

/// SHA-1 of a script's text.
pub type Digest = [u8; 20];

pub fn digest(text: &[u8]) -> Digest {
    sha1::Sha1::digest(text).into()
}

/// Its 40 digits.
pub fn digits(digest: &Digest) -> [u8; 40] {
    let mut digits = [0; 40];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(digest) {
        let digit = |four: u8| b"0123456789abcdef"[usize::from(four & 15)];
        pair.copy_from_slice(&[digit(byte >> 4), digit(*byte)]);
    }
    digits
}

/// The digest of 40 digits, in either case.
pub fn from_digits(digits: &[u8]) -> Option<Digest> {
    let digits: &[u8; 40] = digits.try_into().ok()?;
    let mut digest = [0; 20];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = (high? << 4 | low?) as u8;
    }
    Some(digest)
}
