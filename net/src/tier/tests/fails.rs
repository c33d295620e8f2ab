//! A medium that fails.

use super::*;

#[test]
fn a_call_that_fails_latches_the_tier_and_lets_all_go_on() {
    for call in [Call::Write, Call::Drain] {
        let medium = Gated::new();
        let mut running = start(medium.clone(), 2);
        running.set(b"key", b"value");
        medium.sim.fail(call, 0, libc::EIO);
        running.hand_over();
        for shard in 0..2 {
            let Reply::Saved(batch) = running.next(shard) else { panic!("the batch comes back") };
            assert!(batch.entries.is_empty(), "nothing is known to be saved");
        }
        assert!(running.figures.is_latched());
        assert!(matches!(running.ports[0].fetch(1, 1), Fetched::Gone));
        running.stop();
        assert!(Tier::open(medium).is_err(), "nothing of it may come back");
    }
}

/// Sets keys in rounds until a call has failed, or there were enough of them.
fn save_rounds(running: &mut Running) {
    for round in 0..6 {
        (0..20).for_each(|number| running.set(&key(round * 20 + number), b"value"));
        running.hand_over();
        for shard in 0..2 {
            assert!(matches!(running.next(shard), Reply::Saved(_)), "nobody waits for ever");
        }
    }
}

#[test]
fn each_call_that_fails_once_latches_the_tier_and_nothing_of_it_comes_back() {
    for call in [Call::Write, Call::Drain] {
        let mut failed = 0;
        loop {
            let medium = Gated::new();
            let mut running = start(medium.clone(), 2);
            medium.sim.fail(call, failed, libc::ENOSPC);
            save_rounds(&mut running);
            if !running.figures.is_latched() {
                break;
            }
            assert!(running.figures.is_void());
            running.stop();
            assert!(Tier::open(medium).is_err(), "{call:?} {failed}");
            failed += 1;
        }
        assert!(failed >= 6, "{call:?}: {failed}");
    }
}

#[test]
fn a_tier_that_cannot_be_made_void_says_so() {
    let medium = Gated::new();
    let mut running = start(medium.clone(), 2);
    medium.is_broken.store(true, Relaxed);
    save_rounds(&mut running);
    assert!(running.figures.is_latched() && !running.figures.is_void());
    running.stop();
}
