//! Sleeping without sleeping over anything, and waking without a call that is not needed ([N-SHM-9]).
//!
//! ```text
//!   who writes                                   who sleeps
//!   W1 copy the bytes into the ring              S1 sleep := number, asleep        (relaxed)
//!   W2 written := position      (release)        S2 full fence
//!   W3 full fence                                S3 written?                       (acquire)
//!   W4 sleep?                   (relaxed)           news: do not sleep
//!      asleep, and not rung for that number:     S4 sleep until the bell rings
//!      ring the bell                             S5 sleep := next number, awake    (relaxed); look again
//! ```
//!
//! This is Dekker's protocol: W2 and S1 are stores, W4 and S3 loads of what the other side stores, and between store and load
//! either side has a full fence. So it cannot be that both loads miss the other's store: either W4 sees the sleeper, or S3 sees
//! the bytes. Relaxing either fence lets both be missed, which x86 does too: a store waits in the store buffer while the load
//! passes it (`tests/sleep_orders.rs` tries). W2 is a release and S3 an acquire because the bytes of W1 must be there for who sees the position. All else may be
//! relaxed: a writer that sees an old *asleep* rings once too often, nothing worse.
//!
//! The same goes for room: who takes bytes out of a ring does W2 to W4 with `taken`, and rings only if the sleeper has said that
//! it waits for room.
//!
//! Each sleep that the bell may have rung for has a number of its own, and a writer rings once for a number. The bell is a byte
//! on a socket, so it is never lost: either the socket takes it, or it is full of bells that nobody has heard. Whoever hears a
//! bell does S5 before it looks, so that its next sleep has another number. A side that wakes for another reason may leave its
//! word as it is: what it says is still true of the next sleep, and a bell that was rung for it is still under way.

use crate::sync::{Ordering, fence};
use crate::words::Words;

const ASLEEP: u64 = 1 << 0;
/// It waits for room in its own ring, too.
const FOR_ROOM: u64 = 1 << 1;
const NUMBER: u64 = 1 << 2;

/// W3 and S2: nothing before it is seen later than anything behind it, by all. One does for any number of rings.
#[inline]
pub fn full_fence() {
    fence(Ordering::SeqCst);
}

/// One side's own sleep word.
#[derive(Debug, Default)]
pub(crate) struct Sleeper {
    word: u64,
}

impl Sleeper {
    #[inline]
    pub(crate) fn is_asleep(&self) -> bool {
        self.word & ASLEEP != 0
    }

    /// S1. A full fence and a look must follow before it sleeps.
    #[inline]
    pub(crate) fn announce(&mut self, words: &Words, for_room: bool) {
        let flags = if for_room { ASLEEP | FOR_ROOM } else { ASLEEP };
        if self.word & (ASLEEP | FOR_ROOM) != flags {
            self.word = (self.word & !(ASLEEP | FOR_ROOM)).wrapping_add(NUMBER) | flags;
            words.sleep.0.store(self.word, Ordering::Relaxed);
        }
    }

    /// S5.
    #[inline]
    pub(crate) fn wake(&mut self, words: &Words) {
        if self.is_asleep() {
            self.word &= !(ASLEEP | FOR_ROOM);
            words.sleep.0.store(self.word, Ordering::Relaxed);
        }
    }
}

/// Whether the owner of these words sleeps, as far as it has told.
#[inline]
pub(crate) fn is_asleep(others: &Words) -> bool {
    others.sleep.0.load(Ordering::Relaxed) & ASLEEP != 0
}

/// What one side knows of the other's sleep.
#[derive(Debug, Default)]
pub(crate) struct Ringer {
    /// The sleep that it has rung for last.
    rung_for: u64,
    /// It has written, and taken bytes, since it looked last.
    pub(crate) has_written: bool,
    pub(crate) has_taken: bool,
}

impl Ringer {
    /// W4: whether the other side has to be woken. A full fence must lie between what was stored and this.
    #[inline]
    pub(crate) fn must_ring(&mut self, others: &Words) -> bool {
        let (written, taken) = (std::mem::take(&mut self.has_written), std::mem::take(&mut self.has_taken));
        let word = others.sleep.0.load(Ordering::Relaxed);
        let concerns = word & ASLEEP != 0 && (written || (taken && word & FOR_ROOM != 0));
        if !concerns || word == self.rung_for {
            return false;
        }
        self.rung_for = word;
        true
    }
}
