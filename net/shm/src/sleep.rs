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
//! passes it. W2 is a release and S3 an acquire because the bytes of W1 must be there for who sees the position. All else may be
//! relaxed: a writer that sees an old *asleep* rings once too often, nothing worse.
//!
//! The same goes for room: who takes bytes out of a ring does W2 to W4 with `taken`, and rings only if the sleeper has said that
//! it waits for room.
//!
//! Each sleep that the bell may have rung for has a number of its own, and a writer rings once for a number. The bell is a byte
//! on a socket, so it is never lost: either the socket takes it, or it is full of bells that nobody has heard. Whoever hears a
//! bell does S5 before it looks, so that its next sleep has another number. A side that wakes for another reason may leave its
//! word as it is: what it says is still true of the next sleep, and a bell that was rung for it is still under way.

use crate::words::{Ordering, Words, fence};

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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::words::{AtomicU64, Line};

    fn words() -> Words {
        let line = || Line(AtomicU64::new(0));
        Words { written: line(), taken: line(), sleep: line() }
    }

    /// [N-SHM-9]
    #[test]
    fn a_sleep_is_rung_for_once_and_the_next_one_again() {
        let (words, mut sleeper, mut ringer) = (words(), Sleeper::default(), Ringer::default());
        let writes = |ringer: &mut Ringer| {
            ringer.has_written = true;
            ringer.must_ring(&words)
        };
        assert!(!writes(&mut ringer), "it is awake");
        sleeper.announce(&words, false);
        assert!(!ringer.must_ring(&words), "there is nothing to tell");
        assert!(writes(&mut ringer) && !writes(&mut ringer));
        sleeper.announce(&words, false);
        assert!(!writes(&mut ringer), "the same sleep: the bell is still under way");
        sleeper.wake(&words);
        assert!(!writes(&mut ringer));
        sleeper.announce(&words, false);
        assert!(writes(&mut ringer));
    }

    #[test]
    fn room_wakes_only_who_waits_for_it() {
        let (words, mut sleeper, mut ringer) = (words(), Sleeper::default(), Ringer::default());
        let takes = |ringer: &mut Ringer| {
            ringer.has_taken = true;
            ringer.must_ring(&words)
        };
        sleeper.announce(&words, false);
        assert!(!takes(&mut ringer));
        sleeper.announce(&words, true);
        assert!(takes(&mut ringer) && !takes(&mut ringer));
        sleeper.announce(&words, false);
        assert!(!takes(&mut ringer));
    }
}

/// `RUSTFLAGS="--cfg loom" cargo test -p torc-shm --lib --release`: all interleavings, and all old values that weak memory allows.
#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::words::{AtomicU64, Line};
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;

    fn words() -> Words {
        let line = || Line(AtomicU64::new(0));
        Words { written: line(), taken: line(), sleep: line() }
    }

    /// What is left out or weakened in one run.
    #[derive(Clone, Copy, PartialEq)]
    enum Without {
        Nothing,
        WritersFence,
        SleepersFence,
        SecondLook,
        NewNumber,
    }

    fn fence_unless(weak: bool) {
        if weak { fence(Ordering::AcqRel) } else { full_fence() }
    }

    /// A writer tells of two things, one after the other; a sleeper takes what it finds, and sleeps when it finds nothing. The bell
    /// is what a socket is: so many bytes were sent, so many were heard.
    fn nothing_is_slept_over(without: Without) {
        loom::model(move || {
            let (sleepers, writers) = (Arc::new(words()), Arc::new(words()));
            let bell = Arc::new(AtomicUsize::new(0));
            let writer = {
                let (sleepers, writers, bell) = (sleepers.clone(), writers.clone(), bell.clone());
                loom::thread::spawn(move || {
                    let mut ringer = Ringer::default();
                    for position in 1..=2 {
                        writers.written.0.store(position, Ordering::Release);
                        ringer.has_written = true;
                        fence_unless(without == Without::WritersFence);
                        if ringer.must_ring(&sleepers) {
                            bell.fetch_add(1, Ordering::AcqRel);
                        }
                    }
                })
            };
            let mut sleeper = Sleeper::default();
            let (mut seen, mut heard, mut sleeps) = (0, 0, false);
            for _ in 0..3 {
                let rung = bell.load(Ordering::Acquire);
                if rung > heard && without != Without::NewNumber {
                    sleeper.wake(&sleepers);
                }
                heard = rung;
                sleeper.announce(&sleepers, false);
                fence_unless(without == Without::SleepersFence);
                let before = seen;
                if without != Without::SecondLook {
                    seen = writers.written.0.load(Ordering::Acquire);
                }
                sleeps = seen == before;
                if sleeps && bell.load(Ordering::Acquire) == heard {
                    break;
                }
            }
            writer.join().unwrap();
            // Everything that the writer told was seen, or the bell has rung for it and is still to be heard.
            let told = writers.written.0.load(Ordering::Acquire);
            let is_rung = bell.load(Ordering::Acquire) > heard;
            assert!(!sleeps || seen == told || is_rung, "{seen} of {told} seen, asleep");
        });
    }

    #[test]
    fn nothing_is_slept_over_by_the_protocol() {
        nothing_is_slept_over(Without::Nothing);
    }

    #[test]
    #[should_panic(expected = "asleep")]
    fn the_writers_fence_is_needed() {
        nothing_is_slept_over(Without::WritersFence);
    }

    #[test]
    #[should_panic(expected = "asleep")]
    fn the_sleepers_fence_is_needed() {
        nothing_is_slept_over(Without::SleepersFence);
    }

    #[test]
    #[should_panic(expected = "asleep")]
    fn the_second_look_is_needed() {
        nothing_is_slept_over(Without::SecondLook);
    }

    #[test]
    #[should_panic(expected = "asleep")]
    fn a_number_for_each_sleep_that_was_rung_for_is_needed() {
        nothing_is_slept_over(Without::NewNumber);
    }
}
