//! A medium in memory: a tier that is larger or cheaper than DRAM, and forgotten with the process.

use super::memory::MemoryRange;
use super::touched::Touched;
use super::words::{load, store};
use super::{Block, MediaError, Medium, check};

/// A medium on a range of memory.
#[derive(Debug)]
pub struct Volatile {
    range: MemoryRange,
    touched: Touched,
}

impl Volatile {
    /// A zeroed medium, whose memory is taken on first touch.
    ///
    /// # Errors
    /// [`MediaError::Memory`].
    pub fn new(bytes: u64) -> Result<Volatile, MediaError> {
        let memory = |source| MediaError::Memory { bytes, source };
        let len = usize::try_from(bytes).map_err(|_| memory(std::io::ErrorKind::OutOfMemory.into()))?;
        Ok(Volatile { range: MemoryRange::reserve(len).map_err(memory)?, touched: Touched::new(bytes) })
    }
}

impl Medium for Volatile {
    fn describe(&self) -> String {
        format!("memory ({})", self.range.backing().name())
    }

    fn bytes(&self) -> u64 {
        self.range.len() as u64
    }

    fn is_persistent(&self) -> bool {
        false
    }

    fn is_byte_addressable(&self) -> bool {
        true
    }

    fn resident_bytes(&self) -> u64 {
        self.touched.bytes()
    }

    fn write(&self, at: u64, blocks: &[Block]) -> Result<(), MediaError> {
        check(at, blocks.len(), self.bytes())?;
        self.touched.note(at, size_of_val(blocks) as u64);
        // SAFETY: the target lies inside the range (checked), which lives as long as `self`, is aligned, and is accessed
        // by `store` and `load` alone.
        unsafe { store(self.range.as_ptr().add(at as usize), blocks) };
        Ok(())
    }

    fn drain(&self) -> Result<(), MediaError> {
        Ok(())
    }

    fn read(&self, at: u64, out: &mut [Block]) -> Result<(), MediaError> {
        check(at, out.len(), self.bytes())?;
        self.touched.note(at, size_of_val(out) as u64);
        // SAFETY: as in `write`.
        unsafe { load(self.range.as_ptr().add(at as usize), out) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{bytes, bytes_mut, zeroed};
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_outside() {
        let medium = Volatile::new(64 << 10).unwrap();
        let mut blocks = zeroed(2);
        bytes_mut(&mut blocks).fill(5);
        medium.write(8192, &blocks).unwrap();
        let mut out = zeroed(4);
        medium.read(4096, &mut out).unwrap();
        assert_eq!(bytes(&out)[4096..12288], [5; 8192]);
        assert_eq!(bytes(&out)[..4096], [0; 4096]);
        for at in [60 << 10, 100, u64::MAX - 4095] {
            assert!(matches!(medium.write(at, &blocks), Err(MediaError::Outside { .. })), "{at}");
            assert!(matches!(medium.read(at, &mut out), Err(MediaError::Outside { .. })), "{at}");
        }
    }
}
