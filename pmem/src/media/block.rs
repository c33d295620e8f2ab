//! What media are written and read in: blocks of 4096 bytes at addresses that direct I/O takes.

/// Size and alignment of a block, bytes. No device that is sold wants more of direct I/O.
pub const BLOCK_BYTES: usize = 4096;

/// A block. As a slice of blocks is aligned and whole by its type, no medium has to check that of its caller.
#[repr(C, align(4096))]
#[derive(Clone, Copy)]
pub struct Block([u8; BLOCK_BYTES]);

impl Block {
    pub const ZERO: Block = Block([0; BLOCK_BYTES]);
}

impl std::fmt::Debug for Block {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Block")
    }
}

/// So many zeroed blocks.
pub fn zeroed(blocks: usize) -> Vec<Block> {
    vec![Block::ZERO; blocks]
}

pub fn bytes(blocks: &[Block]) -> &[u8] {
    // SAFETY: a block is an array of bytes without padding (its size is its alignment), and bytes have no alignment.
    unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), size_of_val(blocks)) }
}

pub fn bytes_mut(blocks: &mut [Block]) -> &mut [u8] {
    // SAFETY: as in `bytes`; any bytes are a block, and the borrow is passed on.
    unsafe { std::slice::from_raw_parts_mut(blocks.as_mut_ptr().cast(), size_of_val(blocks)) }
}

/// Blocks that so many bytes take.
pub fn blocks_of(bytes: usize) -> usize {
    bytes.div_ceil(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_their_bytes_and_aligned() {
        let mut blocks = zeroed(3);
        bytes_mut(&mut blocks)[5000] = 7;
        assert_eq!((bytes(&blocks).len(), bytes(&blocks)[5000]), (3 * BLOCK_BYTES, 7));
        assert_eq!(blocks.as_ptr() as usize % BLOCK_BYTES, 0);
        assert_eq!((blocks_of(0), blocks_of(1), blocks_of(4096), blocks_of(4097)), (0, 1, 1, 2));
    }
}
