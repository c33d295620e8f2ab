//! Who is rung for, one step after the other; all interleavings: `tests/sleep_orders.rs`.

use crate::sleep::{Ringer, Sleeper};
use crate::sync::AtomicU64;
use crate::words::{Line, Words};

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
