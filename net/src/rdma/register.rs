//! Registers the shards' memory as it is committed, off their threads, and anew when its keys are old.

use super::{Arenas, Opened};
use std::sync::Arc;
use std::time::{Duration, Instant};
use torc_engine::remote::{MemoryPiece, RemoteMemory};
use torc_rdma::verbs::error::VerbsError;
use torc_rdma::verbs::memory::Memory;
use torc_rdma::verbs::seam::{Access, Verbs};

/// Bytes that are registered at a time.
const PIECE_BYTES: u64 = 32 << 20;
/// Keys that are replaced are valid for so long afterwards: leases end, and readers are told of the new ones.
const OLD_KEYS_FOR: Duration = Duration::from_secs(5);

/// A piece as a device sees it.
struct Registrable(MemoryPiece);

// SAFETY: its bytes are mapped, readable and writable, as long as the piece lives, and no reference but to atomics covers them: the
// piece's own promise.
unsafe impl Memory for Registrable {
    fn start(&self) -> *mut u8 {
        self.0.start()
    }

    fn len(&self) -> usize {
        (self.0.range().end - self.0.range().start) as usize
    }
}

/// What is to be registered, and until when keys are good.
#[derive(Debug)]
pub(super) struct Registrar<V: Verbs> {
    /// By shard; empty if their memory is no file.
    memory: Vec<RemoteMemory>,
    /// What readers may do with it.
    access: Access,
    keys_for: Option<Duration>,
    keys_since: Instant,
    /// Keys that are not told any more, and since when.
    old: Option<(Arc<Arenas<V>>, Instant)>,
    /// It was said that a piece could not be registered.
    is_told: bool,
}

impl<V: Verbs> Registrar<V> {
    pub(super) fn new(memory: Vec<RemoteMemory>, is_read: bool, keys_for: Option<Duration>) -> Registrar<V> {
        let access = if is_read { Access::RemoteRead } else { Access::Local };
        Registrar { memory, access, keys_for, keys_since: Instant::now(), old: None, is_told: false }
    }

    /// A device was opened: nothing is registered with it.
    pub(super) fn begin(&mut self) {
        (self.old, self.keys_since, self.is_told) = (None, Instant::now(), false);
    }

    /// Registers what has been committed since; replaces keys that are old.
    pub(super) fn go_on(&mut self, opened: &Opened<V>) {
        if self.old.as_ref().is_some_and(|(_, since)| since.elapsed() >= OLD_KEYS_FOR) {
            // Whoever still names them fails: nobody here does, as all shards have turned since.
            self.old = None;
        }
        let is_old = self.keys_for.is_some_and(|keys_for| self.keys_since.elapsed() >= keys_for);
        let now = opened.arenas();
        let registered = match is_old && self.old.is_none() && self.access == Access::RemoteRead {
            true => self.register(opened, Arenas::new(now.version() + 1, now.epoch() + 1), true),
            false => self.register(opened, now.with_none(), false),
        };
        match registered {
            Ok(Some(arenas)) => {
                let is_anew = arenas.epoch() != now.epoch();
                let before = opened.set_arenas(arenas);
                if is_anew {
                    (self.old, self.keys_since) = (Some((before, Instant::now())), Instant::now());
                }
            }
            Ok(None) => {}
            Err(error) => self.tell(&error),
        }
    }

    /// Adds the pieces that are missing; `None`: none is.
    fn register(
        &self,
        opened: &Opened<V>,
        mut arenas: Arenas<V>,
        mut is_new: bool,
    ) -> Result<Option<Arenas<V>>, VerbsError> {
        for (shard, memory) in (0u16..).zip(&self.memory) {
            for piece in memory.pieces(arenas.bytes_of(shard), PIECE_BYTES) {
                let at = piece.range().start;
                let region =
                    opened.device.register(&opened.domain, Arc::new(Registrable(piece)), self.access)?;
                arenas = arenas.with(shard, at, region);
                is_new = true;
            }
        }
        Ok(is_new.then_some(arenas))
    }

    fn tell(&mut self, error: &VerbsError) {
        if !std::mem::replace(&mut self.is_told, true) {
            let cure = error.cure().map_or(String::new(), |cure| format!("; {cure}"));
            tracing::warn!(
                "--rdma: memory cannot be registered, long values are copied, and not all is read one-sidedly: {error}{cure}"
            );
        }
    }
}
