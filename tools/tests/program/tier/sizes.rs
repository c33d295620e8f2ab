//! A tier that is too small for all: the oldest goes, what is in memory stays, and writers wait for a slow medium.

use super::redis::Redis;
use super::{count_all, kill, set_all, start, stop, tier_file, wait_until_saved};

#[test]
fn values_that_come_faster_than_they_are_saved_are_not_evicted_before() {
    const VALUES: usize = 3000;
    let (_folder, path) = tier_file();
    // They are saved four times in an interval, so what comes in between is more than there is memory.
    let arguments = ["--memory=24m", "--tier-size=128m", "--durability=interval:4s"];
    let server = start(&path, &arguments);
    let mut redis = Redis::connect(&server);
    let long = |number: usize| [super::value(number), vec![b'x'; 12_000]].concat();
    for first in (0..VALUES).step_by(50) {
        let sets: Vec<_> = (first..first + 50)
            .map(|number| vec![b"SET".to_vec(), super::key(number).into(), long(number)])
            .collect();
        redis.ask_all(&sets);
    }
    wait_until_saved(&server);
    let there =
        |number: &usize| redis.run(&["GET", &super::key(*number)]) == super::Answer::Bulk(long(*number));
    let found = (0..VALUES).filter(there).count();
    assert!(found > VALUES * 99 / 100, "{found} of {VALUES}");
}

#[test]
fn a_full_tier_drops_its_oldest_batches_and_goes_on_for_laps() {
    const LAP: usize = 40_000;
    let (_folder, path) = tier_file();
    let arguments = ["--shards=2", "--memory=32m", "--tier-size=16m"];
    let server = start(&path, &arguments);
    let mut redis = Redis::connect(&server);
    for lap in 0..4 {
        set_all(&mut redis, lap * LAP..(lap + 1) * LAP);
    }
    wait_until_saved(&server);
    assert!(server.metric("torc_tier_freed_batches_total", "") > 20.0);
    let newest = 4 * LAP - 5000..4 * LAP;
    let found = count_all(&mut redis, newest.clone());
    assert!(found > 4900, "{found} of the newest 5000");
    let all = count_all(&mut redis, 0..4 * LAP);
    assert!(all < 3 * LAP, "{all} in 16m of tier and 32m of memory");
    wait_until_saved(&server);
    kill(server);
    let server = start(&path, &arguments);
    let mut redis = Redis::connect(&server);
    let found = count_all(&mut redis, newest);
    assert!(found > 4500, "{found} of the newest 5000 after a kill");
    assert!(count_all(&mut redis, 0..4 * LAP) <= all + 5000, "nothing comes back that was gone");
    stop(server);
}
