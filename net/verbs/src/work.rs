//! Work requests.

use crate::error::VerbsError;
use crate::region::Region;

/// A part of registered memory.
#[derive(Debug)]
pub struct Piece<'r, R> {
    pub region: &'r R,
    pub at: usize,
    pub len: usize,
}

impl<R> Clone for Piece<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Piece<'_, R> {}

impl<'r, R: Region> Piece<'r, R> {
    /// # Errors
    /// EINVAL: it does not lie in the region, or is longer than a request can say.
    #[inline]
    pub(crate) fn address(&self) -> Result<u64, VerbsError> {
        let inside = self.at <= self.region.len() && self.len <= self.region.len() - self.at;
        match inside && u32::try_from(self.len).is_ok() {
            true => Ok(self.region.address() + self.at as u64),
            false => Err(VerbsError::new("a piece", libc::EINVAL)),
        }
    }
}

/// What is sent.
#[derive(Debug)]
pub enum Payload<'r, R> {
    /// From registered memory, which must stay as it is until the completion is seen. At most [`PIECES_MAX`].
    Pieces(&'r [Piece<'r, R>]),
    /// Copied when it is posted; at most what the queue pair was made for.
    Inline(&'r [u8]),
}

/// Memory of the peer, as the peer told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    pub address: u64,
    pub key: u32,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action<'r, R> {
    /// Takes a receive of the peer.
    Send { payload: Payload<'r, R>, immediate: Option<u32> },
    /// With an immediate it takes a receive of the peer, which learns of it so.
    Write { payload: Payload<'r, R>, to: Remote, immediate: Option<u32> },
    /// Into our memory. READs of one queue pair are done in their order, so a READ behind another sees what was later. A SEND or
    /// WRITE behind a READ may be done before it has ended.
    Read { into: &'r [Piece<'r, R>], from: Remote },
}

/// A request to send.
#[derive(Debug)]
pub struct Work<'r, R> {
    /// Comes back with the completion.
    pub id: u64,
    pub action: Action<'r, R>,
    /// Whether there is a completion if it succeeds. The queue gets room again only by a completion: of this request, or of one
    /// that was posted after it.
    pub signaled: bool,
    /// Wakes a peer that sleeps until something solicited comes.
    pub solicited: bool,
}

/// Pieces of one request, at most.
pub const PIECES_MAX: usize = 4;
/// Requests that are handed over with one doorbell, at most; longer batches take several.
pub const DOORBELL_MAX: usize = 16;
