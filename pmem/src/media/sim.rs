//! A simulated medium, which is as unkind as media may be.
//!
//! It keeps what was drained. Of what was written since, a crash keeps any part: the pieces (cache lines or sectors) that
//! whoever crashes it picks, in any order. A call can be told to fail, and a byte to rot.

use std::io;
use std::sync::Mutex;

use super::{Block, MediaError, Medium, bytes, bytes_mut, check};

/// Which call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Write,
    Drain,
    Read,
}

/// A piece that was written and not drained.
#[derive(Debug, Clone)]
struct Piece {
    at: usize,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    /// What survives a crash.
    durable: Vec<u8>,
    /// What reads see.
    current: Vec<u8>,
    undrained: Vec<Piece>,
    writes: u64,
    drains: u64,
    reads: u64,
    fail: Option<(Call, u64, i32)>,
}

/// A medium in memory that can crash and fail.
#[derive(Debug)]
pub struct Sim {
    state: Mutex<State>,
    size: u64,
    piece_bytes: usize,
}

impl Sim {
    /// A zeroed medium that tears writes into pieces of so many bytes: 64 for memory, 512 for a disk.
    ///
    /// # Panics
    /// If `piece_bytes` does not divide a block.
    pub fn new(bytes: u64, piece_bytes: usize) -> Sim {
        Sim::of_image(vec![0; bytes as usize], piece_bytes)
    }

    /// As [`Sim::new`], with these bytes.
    pub fn of_image(image: Vec<u8>, piece_bytes: usize) -> Sim {
        assert!(super::BLOCK_BYTES.is_multiple_of(piece_bytes), "pieces of a block");
        let size = image.len() as u64;
        let state = State { current: image.clone(), durable: image, ..State::default() };
        Sim { state: Mutex::new(state), size, piece_bytes }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Pieces that a crash could lose.
    pub fn undrained(&self) -> usize {
        self.state().undrained.len()
    }

    /// What would be left after a crash that keeps the undrained pieces that `keep` says, by their number in the order of
    /// writing. The medium goes on as it was.
    pub fn image_after_crash(&self, mut keep: impl FnMut(usize) -> bool) -> Vec<u8> {
        let state = self.state();
        let mut image = state.durable.clone();
        for (_, piece) in state.undrained.iter().enumerate().filter(|(number, _)| keep(*number)) {
            image[piece.at..][..piece.bytes.len()].copy_from_slice(&piece.bytes);
        }
        image
    }

    /// As [`Sim::image_after_crash`], with pieces kept by chance, in an order that is chance, too.
    pub fn image_after_random_crash(&self, seed: u64) -> Vec<u8> {
        let state = self.state();
        let mut image = state.durable.clone();
        let mut random = Random(seed);
        // Some crashes keep nearly all, some nearly nothing.
        let odds = random.next() % 101;
        let mut order: Vec<usize> = (0..state.undrained.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, (random.next() % (last as u64 + 1)) as usize);
        }
        for piece in order.into_iter().map(|number| &state.undrained[number]) {
            if random.next() % 100 < odds {
                image[piece.at..][..piece.bytes.len()].copy_from_slice(&piece.bytes);
            }
        }
        image
    }

    /// What reads see.
    pub fn image(&self) -> Vec<u8> {
        self.state().current.clone()
    }

    /// Changes a byte behind everybody's back.
    pub fn rot(&self, at: usize, change: impl FnOnce(u8) -> u8) {
        let mut state = self.state();
        state.current[at] = change(state.current[at]);
        state.durable[at] = state.current[at];
    }

    /// Lets the `number`th call of a kind from here (0 is the next) fail once with an error of the kernel's, such as
    /// `libc::EIO` or `libc::ENOSPC`. A write that fails has written a part, a drain that fails has drained nothing.
    pub fn fail(&self, call: Call, number: u64, errno: i32) {
        let mut state = self.state();
        let calls = *state.count(call);
        state.fail = Some((call, calls + number, errno));
    }

    /// How many calls of a kind there were.
    pub fn calls(&self, call: Call) -> u64 {
        *self.state().count(call)
    }
}

impl State {
    fn count(&mut self, call: Call) -> &mut u64 {
        match call {
            Call::Write => &mut self.writes,
            Call::Drain => &mut self.drains,
            Call::Read => &mut self.reads,
        }
    }

    /// Counts a call, and says how it fails if it is the one that shall.
    fn called(&mut self, call: Call) -> Option<io::Error> {
        let number = *self.count(call);
        *self.count(call) += 1;
        match self.fail {
            Some((fails, at, errno)) if fails == call && at == number => {
                Some(io::Error::from_raw_os_error(errno))
            }
            _ => None,
        }
    }

    fn write(&mut self, at: usize, bytes: &[u8], piece_bytes: usize) {
        self.current[at..][..bytes.len()].copy_from_slice(bytes);
        for (number, piece) in bytes.chunks(piece_bytes).enumerate() {
            self.undrained.push(Piece { at: at + number * piece_bytes, bytes: piece.to_vec() });
        }
    }
}

impl Medium for Sim {
    fn describe(&self) -> String {
        format!("simulated, in pieces of {} bytes", self.piece_bytes)
    }

    fn bytes(&self) -> u64 {
        self.size
    }

    fn is_persistent(&self) -> bool {
        true
    }

    fn is_byte_addressable(&self) -> bool {
        self.piece_bytes < 512
    }

    fn write(&self, at: u64, blocks: &[Block]) -> Result<(), MediaError> {
        check(at, blocks.len(), self.size)?;
        let (mut state, bytes) = (self.state(), bytes(blocks));
        if let Some(source) = state.called(Call::Write) {
            state.write(at as usize, &bytes[..bytes.len() / 2], self.piece_bytes);
            return Err(MediaError::Io { what: "write", at, bytes: bytes.len() as u64, source });
        }
        state.write(at as usize, bytes, self.piece_bytes);
        Ok(())
    }

    fn drain(&self) -> Result<(), MediaError> {
        let mut state = self.state();
        if let Some(source) = state.called(Call::Drain) {
            return Err(MediaError::Drain(source));
        }
        let state = &mut *state;
        for piece in state.undrained.drain(..) {
            state.durable[piece.at..][..piece.bytes.len()].copy_from_slice(&piece.bytes);
        }
        Ok(())
    }

    fn read(&self, at: u64, out: &mut [Block]) -> Result<(), MediaError> {
        check(at, out.len(), self.size)?;
        let (mut state, out) = (self.state(), bytes_mut(out));
        if let Some(source) = state.called(Call::Read) {
            return Err(MediaError::Io { what: "read", at, bytes: out.len() as u64, source });
        }
        out.copy_from_slice(&state.current[at as usize..][..out.len()]);
        Ok(())
    }
}

/// The generator splitmix64 (Steele, Lea, Flood, 2014).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    #[expect(clippy::should_implement_trait, reason = "it has no end, so it is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BLOCK_BYTES, zeroed};
    use super::*;

    fn filled(byte: u8) -> Vec<Block> {
        let mut blocks = zeroed(1);
        bytes_mut(&mut blocks).fill(byte);
        blocks
    }

    #[test]
    fn a_crash_keeps_what_was_drained_and_what_is_picked_of_the_rest() {
        let medium = Sim::new(16 << 10, 512);
        medium.write(0, &filled(1)).unwrap();
        medium.drain().unwrap();
        medium.write(0, &filled(2)).unwrap();
        assert_eq!(medium.undrained(), 8);
        let image = medium.image_after_crash(|piece| piece == 3);
        assert_eq!((image[0], image[3 * 512], image[4 * 512]), (1, 2, 1));
        assert_eq!(medium.image()[..BLOCK_BYTES], [2; BLOCK_BYTES]);
        let torn = (0..20).map(|seed| medium.image_after_random_crash(seed));
        assert!(torn.into_iter().any(|image| image[..4096].contains(&1) && image[..4096].contains(&2)));
    }

    #[test]
    fn the_call_that_shall_fail_fails_once() {
        let medium = Sim::new(16 << 10, 64);
        medium.fail(Call::Write, 1, libc::ENOSPC);
        medium.write(0, &filled(1)).unwrap();
        assert!(medium.write(0, &filled(2)).is_err());
        medium.write(0, &filled(3)).unwrap();
        medium.fail(Call::Drain, 0, libc::EIO);
        assert!(matches!(medium.drain(), Err(MediaError::Drain(_))));
        assert_eq!(medium.image_after_crash(|_| false)[0], 0);
        medium.drain().unwrap();
        assert_eq!(medium.image_after_crash(|_| false)[0], 3);
    }
}
