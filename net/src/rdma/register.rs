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
/// After a failure nothing is registered for so long: each try pins pages.
const PAUSE: Duration = Duration::from_secs(10);

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
pub(crate) struct Registrar<V: Verbs> {
    /// By shard; empty if their memory is no file.
    memory: Vec<RemoteMemory>,
    /// What readers may do with it.
    access: Access,
    pub(super) keys_for: Option<Duration>,
    keys_since: Instant,
    /// Keys that are not told any more, and since when.
    old: Option<(Arc<Arenas<V>>, Instant)>,
    pub(super) old_for: Duration,
    /// When registering failed last.
    failed_at: Option<Instant>,
    /// It was said that a piece could not be registered.
    is_told: bool,
}

impl<V: Verbs> Registrar<V> {
    pub(crate) fn new(memory: Vec<RemoteMemory>, is_read: bool, keys_for: Option<Duration>) -> Registrar<V> {
        let access = if is_read { Access::RemoteRead } else { Access::Local };
        Registrar {
            memory,
            access,
            keys_for,
            keys_since: Instant::now(),
            old: None,
            old_for: OLD_KEYS_FOR,
            failed_at: None,
            is_told: false,
        }
    }

    /// A device was opened: nothing is registered with it.
    pub(super) fn begin(&mut self) {
        (self.old, self.failed_at) = (None, None);
        (self.keys_since, self.is_told) = (Instant::now(), false);
    }

    /// Registers what has been committed since; replaces keys that are old. True: the shards have to look, for old keys are about to end.
    pub(crate) fn go_on(&mut self, opened: &Opened<V>) -> bool {
        self.end_old();
        if self.failed_at.is_some_and(|at| at.elapsed() < PAUSE) {
            return self.has_old();
        }
        let is_old = self.keys_for.is_some_and(|keys_for| self.keys_since.elapsed() >= keys_for);
        let now = opened.arenas();
        if is_old && self.old.is_none() && self.access == Access::RemoteRead {
            self.replace(opened, &now);
        } else {
            let (arenas, failure) = self.register(opened, now.with_none());
            if arenas.version() != now.version() {
                opened.set_arenas(arenas);
            }
            self.note(failure);
        }
        self.has_old()
    }

    fn has_old(&self) -> bool {
        self.old.is_some()
    }

    /// Drops old keys when that is due: whoever names one from here on fails. Not as long as a shard holds them, which has not turned
    /// since: it might use them.
    fn end_old(&mut self) {
        let is_due = |since: &Instant| since.elapsed() >= self.old_for;
        let is_held = |arenas: &Arc<Arenas<V>>| Arc::strong_count(arenas) > 1 || !arenas.are_held_alone();
        self.old.take_if(|(arenas, since)| is_due(since) && !is_held(arenas));
    }

    /// Registers everything anew, under other keys.
    fn replace(&mut self, opened: &Opened<V>, now: &Arenas<V>) {
        let (arenas, failure) = self.register(opened, Arenas::new(now.version() + 1, now.epoch() + 1));
        if failure.is_none() {
            self.old = Some((opened.set_arenas(arenas), Instant::now()));
            self.keys_since = Instant::now();
        }
        self.note(failure);
    }

    /// Adds the pieces that are missing, up to one that cannot be registered.
    fn register(&self, opened: &Opened<V>, mut arenas: Arenas<V>) -> (Arenas<V>, Option<VerbsError>) {
        for (shard, memory) in (0u16..).zip(&self.memory) {
            for piece in memory.pieces(arenas.bytes_of(shard), PIECE_BYTES) {
                let at = piece.range().start;
                let registered =
                    opened.device.register(&opened.domain, Arc::new(Registrable(piece)), self.access);
                match registered {
                    Ok(region) => arenas = arenas.with(shard, at, region),
                    Err(error) => return (arenas, Some(error)),
                }
            }
        }
        (arenas, None)
    }

    fn note(&mut self, failure: Option<VerbsError>) {
        self.failed_at = failure.map(|_| Instant::now());
        failure.iter().for_each(|error| self.tell(error));
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
