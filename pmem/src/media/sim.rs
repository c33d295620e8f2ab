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

/// What was drained, and what was written since: a crash keeps the one, and any part of the other.
#[derive(Debug, Clone, Default)]
pub struct CrashPoint {
    durable: Vec<u8>,
    undrained: Vec<Piece>,
}

#[derive(Debug, Default)]
struct State {
    /// What survives a crash.
    durable: Vec<u8>,
    /// What reads see.
    current: Vec<u8>,
    undrained: Vec<Piece>,
    crash_points: Option<Vec<CrashPoint>>,
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

    /// What a crash at this moment would find.
    pub fn crash_point(&self) -> CrashPoint {
        self.state().crash_point()
    }

    /// Keeps a crash point at the begin of every drain from here on, for [`Sim::take_crash_points`].
    pub fn keep_crash_points(&self) {
        self.state().crash_points = Some(Vec::new());
    }

    /// The crash points that were kept since they were last taken.
    pub fn take_crash_points(&self) -> Vec<CrashPoint> {
        self.state().crash_points.as_mut().map(std::mem::take).unwrap_or_default()
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

impl CrashPoint {
    /// Pieces that a crash may lose.
    pub fn undrained(&self) -> usize {
        self.undrained.len()
    }

    /// What is left of a crash that keeps the undrained pieces that `keep` says yes to, by their number in the order of
    /// writing.
    pub fn image(&self, mut keep: impl FnMut(usize) -> bool) -> Vec<u8> {
        let kept = self.undrained.iter().enumerate().filter(|(number, _)| keep(*number));
        self.with(kept.map(|(_, piece)| piece))
    }

    /// What is left of a crash that keeps pieces by chance, in an order that is chance, too.
    pub fn random_image(&self, seed: u64) -> Vec<u8> {
        let mut random = Random(seed);
        // Some crashes keep nearly all, some nearly nothing.
        let odds = random.below(101);
        let mut order: Vec<&Piece> = self.undrained.iter().collect();
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last as u64 + 1) as usize);
        }
        self.with(order.into_iter().filter(|_| random.below(100) < odds))
    }

    fn with<'p>(&self, pieces: impl Iterator<Item = &'p Piece>) -> Vec<u8> {
        let mut image = self.durable.clone();
        pieces.for_each(|piece| piece.lay(&mut image));
        image
    }
}

impl Piece {
    fn lay(&self, image: &mut [u8]) {
        image[self.at..][..self.bytes.len()].copy_from_slice(&self.bytes);
    }
}

impl State {
    fn crash_point(&self) -> CrashPoint {
        CrashPoint { durable: self.durable.clone(), undrained: self.undrained.clone() }
    }

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
        let point = state.crash_points.is_some().then(|| state.crash_point());
        state.crash_points.iter_mut().zip(point).for_each(|(points, point)| points.push(point));
        if let Some(source) = state.called(Call::Drain) {
            return Err(MediaError::Drain(source));
        }
        let State { durable, undrained, .. } = &mut *state;
        undrained.drain(..).for_each(|piece| piece.lay(durable));
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

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
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
        assert_eq!(medium.crash_point().undrained(), 8);
        let image = medium.crash_point().image(|piece| piece == 3);
        assert_eq!((image[0], image[3 * 512], image[4 * 512]), (1, 2, 1));
        assert_eq!(medium.image()[..BLOCK_BYTES], [2; BLOCK_BYTES]);
        let torn = (0..20).map(|seed| medium.crash_point().random_image(seed));
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
        assert_eq!(medium.crash_point().image(|_| false)[0], 0);
        medium.drain().unwrap();
        assert_eq!(medium.crash_point().image(|_| false)[0], 3);
    }
}
