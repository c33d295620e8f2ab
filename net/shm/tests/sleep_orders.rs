//! The memory orders of sleeping and waking: all interleavings, and all stale values that weak memory may show. What is left out or
//! weakened must be missed.
#![allow(dead_code, unreachable_pub, reason = "the files that are compiled here are parts of another crate")]

use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use sleep::{Ringer, Sleeper, full_fence};
use sync::{AtomicU64, Ordering, fence};
use words::{Line, Words};

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
}

#[path = "../src/sleep.rs"]
mod sleep;
#[path = "../src/words.rs"]
mod words;

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
