//! How a connection gets its rings, and who may.

use super::peer;
use crate::metrics::WorkerStats;
use crate::readable::Readable;
use crate::transport::NotAttached;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use torc_shm::{End, Pair, send_with_descriptors};

/// What rings are made of.
#[derive(Debug, Clone)]
pub(crate) struct RingsConfig {
    /// Length of the ring of each direction, bytes, a power of two.
    pub(crate) ring_bytes: usize,
    /// Who may attach.
    pub(crate) users: Vec<u32>,
    pub(crate) stats: Arc<WorkerStats>,
    /// What they may read.
    pub(crate) readable: Arc<Readable>,
}

impl RingsConfig {
    /// Makes a pair of rings and passes it to the client: the last that goes over its socket is `answer`, and descriptors. `reads`: it
    /// gets the shards' files, too, if there are any, which is told.
    ///
    /// # Errors
    /// Why it gets none.
    pub(super) fn pass(
        &self,
        socket: BorrowedFd<'_>,
        answer: &[u8],
        reads: bool,
    ) -> Result<(End, bool), NotAttached> {
        match peer::user(socket) {
            Ok(Some(user)) if self.users.contains(&user) => {}
            Ok(Some(_)) => return Err(NotAttached::Forbidden),
            Ok(None) => return Err(NotAttached::NotLocal),
            Err(error) => return Err(NotAttached::Failed(error)),
        }
        let pair = Pair::new(self.ring_bytes, self.ring_bytes).map_err(NotAttached::Failed)?;
        let readable = reads.then(|| self.readable.files()).into_iter().flatten();
        let files: Vec<BorrowedFd<'_>> = pair.files.iter().map(AsFd::as_fd).chain(readable).collect();
        let reads_shards = files.len() > pair.files.len();
        send_with_descriptors(socket, answer, &files).map_err(NotAttached::Broken)?;
        Ok((pair.end, reads_shards))
    }
}
