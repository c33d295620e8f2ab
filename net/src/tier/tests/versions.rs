//! Versions and their ceiling over starts.

use super::*;
use crate::clock::Clock;

#[test]
fn versions_start_above_all_that_a_run_before_could_give_out() {
    let medium = Gated::new();
    start(medium.clone(), 1).stop();
    let ceiling = Tier::open(medium.clone()).unwrap().ceiling();
    assert!(ceiling > version::at(MachineClock::new().millis()), "versions were ahead of the clock");
    let mut running = start(medium, 1);
    running.set(b"key", b"value");
    let mut versions = Vec::new();
    running.shards[0].take_unsaved(|unsaved| {
        versions.push(unsaved.version);
        true
    });
    assert!(versions[0] > ceiling, "{versions:?} {ceiling}");
}

#[test]
fn the_ceiling_rises_durably_with_the_versions_that_are_given_out() {
    let medium = Gated::new();
    let mut running = start(medium.clone(), 1);
    let ahead = version::at(MachineClock::new().millis() + 3_600_000);
    assert!(running.figures.ceiling() < ahead);
    let mut batch = Box::<SaveBatch>::default();
    batch.push(item(1, ahead, 0), b"an item");
    running.ports[0].save(batch);
    assert!(matches!(running.next(0), Reply::Saved(_)));
    let end = Instant::now() + PATIENCE;
    while running.figures.ceiling() <= ahead {
        assert!(Instant::now() < end, "it rises");
        std::thread::sleep(Duration::from_millis(1));
    }
    let image = medium.sim.crash_point().image(|_| false);
    assert!(Tier::open(Arc::new(Sim::of_image(image, 512))).unwrap().ceiling() > ahead);
}
