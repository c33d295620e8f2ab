//! The slot: the only unit of partition. Which shard owns which slot a slot map says.
//!
//! Keys map to 16,384 slots as in Redis Cluster: CRC16/XMODEM of the key, or of its `{hash tag}`. See "Key distribution
//! model" in the Redis Cluster specification, and [N-TOPO-1].

/// Number of slots.
pub const SLOTS: u16 = 16_384;

/// CRC16/XMODEM: polynomial 0x1021, nothing reflected, starts at 0. Eight tables, eight bytes a step.
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let first = (chunk[0] ^ (crc >> 8) as u8) as usize;
        let second = (chunk[1] ^ crc as u8) as usize;
        crc = TABLES[7][first]
            ^ TABLES[6][second]
            ^ TABLES[5][chunk[2] as usize]
            ^ TABLES[4][chunk[3] as usize]
            ^ TABLES[3][chunk[4] as usize]
            ^ TABLES[2][chunk[5] as usize]
            ^ TABLES[1][chunk[6] as usize]
            ^ TABLES[0][chunk[7] as usize];
    }
    for &byte in chunks.remainder() {
        crc = (crc << 8) ^ TABLES[0][((crc >> 8) as u8 ^ byte) as usize];
    }
    crc
}

/// `TABLES[n][b]`: what byte `b` adds to the CRC when `n` bytes follow it.
static TABLES: [[u16; 256]; 8] = tables();

const fn tables() -> [[u16; 256]; 8] {
    let mut tables = [[0u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut after = 1;
    while after < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[after - 1][byte];
            tables[after][byte] = (before << 8) ^ tables[0][(before >> 8) as usize];
            byte += 1;
        }
        after += 1;
    }
    tables
}

/// The slot of a key: of the part between the first `{` and the next `}` if that part is not empty.
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % SLOTS
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else { return key };
    let rest = &key[open + 1..];
    match rest.iter().position(|&byte| byte == b'}') {
        Some(close) if close > 0 => &rest[..close],
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc16_is_xmodem() {
        // The check value in the catalogue of CRCs.
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b""), 0);
        let bytewise = |bytes: &[u8]| {
            bytes.iter().fold(0u16, |crc, &byte| (crc << 8) ^ TABLES[0][((crc >> 8) as u8 ^ byte) as usize])
        };
        let bytes: Vec<u8> = (0..100u32).map(|i| (i * 37) as u8).collect();
        for len in 0..bytes.len() {
            assert_eq!(crc16(&bytes[..len]), bytewise(&bytes[..len]));
        }
    }

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"somekey"), 11058);
        assert_eq!(slot_of(b"foo{hash_tag}"), 2515);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
    }

    #[test]
    fn a_tag_counts_only_if_it_is_whole_and_not_empty() {
        assert_eq!(hash_tag(b"{a}b"), b"a");
        assert_eq!(hash_tag(b"x{}y"), b"x{}y");
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hash_tag(b"x{y"), b"x{y");
        assert_eq!(hash_tag(b"x}y{z}"), b"z");
        assert_eq!(hash_tag(b"{{a}}"), b"{a");
    }
}
