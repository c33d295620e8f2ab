//! Who may read and write which memory, and copies of it.

use super::state::{Bytes, RawPiece, State};
use crate::copy::{copy_in, copy_out};
use crate::seam::Access;
use crate::work::Remote;

/// What a pair may do with the memory of its peer.
pub(super) enum Wanted {
    Read,
    Write,
}

impl Wanted {
    fn is_granted_by(&self, access: Access) -> bool {
        match self {
            Wanted::Read => access.reads(),
            Wanted::Write => access.writes(),
        }
    }
}

impl State {
    /// The memory at `address`, if this key is of a region of this domain that has all of it.
    fn memory(&self, domain: u32, piece: RawPiece) -> Option<*mut u8> {
        let region = self.regions.get(&piece.key).filter(|region| region.domain == domain)?;
        let start = region.memory.start();
        let at = usize::try_from(piece.address).ok()?.checked_sub(start.addr())?;
        let is_inside = at <= region.memory.len() && piece.len <= region.memory.len() - at;
        is_inside.then(|| start.wrapping_add(at))
    }

    /// Whether a pair grants its peer access to memory, by a key that the peer named.
    pub(super) fn grants(&self, pair: u32, remote: Remote, len: usize, wanted: &Wanted) -> bool {
        let Some(pair) = self.pairs.get(&pair) else { return false };
        let piece = RawPiece { key: remote.key, address: remote.address, len };
        let by_region =
            self.regions.get(&remote.key).is_some_and(|region| wanted.is_granted_by(region.access));
        let is_there = len == 0 || by_region && self.memory(pair.domain, piece).is_some();
        wanted.is_granted_by(pair.access) && is_there
    }

    /// Bytes `from..from + to.len()` of what was posted; `None`: not ours to read.
    pub(super) fn gather(&self, domain: u32, bytes: &Bytes, from: usize, to: &mut [u8]) -> Option<()> {
        let pieces = match bytes {
            Bytes::Inline(bytes) => {
                to.copy_from_slice(bytes.get(from..from + to.len())?);
                return Some(());
            }
            Bytes::Pieces(pieces) => pieces,
        };
        let mut done = 0;
        for piece in cut(pieces, from, to.len()) {
            let memory = self.memory(domain, piece)?;
            // SAFETY: these bytes are inside of a region, whose memory is mapped while it is registered.
            unsafe { copy_out(memory, piece.len, to[done..][..piece.len].as_mut_ptr()) };
            done += piece.len;
        }
        (done == to.len()).then_some(())
    }

    /// Writes to the pieces, from byte `at` of them on; `None`: not ours to write.
    pub(super) fn scatter(&self, domain: u32, pieces: &[RawPiece], at: usize, bytes: &[u8]) -> Option<()> {
        let mut done = 0;
        for piece in cut(pieces, at, bytes.len()) {
            let memory = self.memory(domain, piece)?;
            // SAFETY: these bytes are inside of a region, whose memory is mapped and writable while it is registered.
            unsafe { copy_in(bytes[done..][..piece.len].as_ptr(), piece.len, memory) };
            done += piece.len;
        }
        (done == bytes.len()).then_some(())
    }
}

pub(super) fn len(pieces: &[RawPiece]) -> usize {
    pieces.iter().map(|piece| piece.len).sum()
}

/// What of the pieces the bytes `from..from + len` of all of them are.
fn cut(pieces: &[RawPiece], from: usize, len: usize) -> impl Iterator<Item = RawPiece> {
    let (mut skip, mut left) = (from, len);
    pieces.iter().filter_map(move |piece| {
        let skipped = skip.min(piece.len);
        skip -= skipped;
        let taken = left.min(piece.len - skipped);
        left -= taken;
        let address = piece.address + skipped as u64;
        (taken > 0).then_some(RawPiece { key: piece.key, address, len: taken })
    })
}
