//! The slot of a key ([N-TOPO-1]): CRC16/XMODEM of the key or of its `{hash tag}`, as Redis Cluster defines it.

/// Number of slots.
pub const SLOT_COUNT: u16 = 16_384;

/// The slot of a key.
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(hash_part(key)) % SLOT_COUNT
}

/// The bytes between the first `{` and the first `}` behind it, if there are any; else the key.
pub fn hash_part(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else { return key };
    let behind = &key[open + 1..];
    match behind.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(close) => &behind[..close],
    }
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

/// Remainders of all bytes by the polynomial 0x1021.
static TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of CRC16/XMODEM in the catalogue of CRCs, and slots that CLUSTER KEYSLOT gives.
    #[test]
    fn published_values_hold() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"somekey"), 11058);
        assert_eq!(slot_of(b"foo{hash_tag}"), slot_of(b"hash_tag"));
        assert_eq!(slot_of(b"foo{hash_tag}"), 2515);
    }

    #[test]
    fn a_tag_counts_only_if_it_is_whole_and_not_empty() {
        assert_eq!(hash_part(b"{a}b"), b"a");
        assert_eq!(hash_part(b"x{}y"), b"x{}y");
        assert_eq!(hash_part(b"x{y"), b"x{y");
        assert_eq!(hash_part(b"x}y{z}"), b"z");
        assert_eq!(hash_part(b"{{a}}"), b"{a");
    }
}
