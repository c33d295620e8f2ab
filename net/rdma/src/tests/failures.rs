//! What breaks is found by both sides, lost messages ([N-RDMA-6]) and silent peers ([N-RDMA-10]) among it, and memory comes back when the
//! device has no use for it any more.

use super::streams::Run;
use super::world::{Random, Wanted, under_seeds};
use torc_verbs::memory::Memory;
use torc_verbs::sim::Weather;

const SEEDS: u64 = 60;
/// Turns after which nothing is expected to come any more.
const TURNS_MAX: usize = 1_000_000;
/// Turns after which each side asks whether the other is there.
const PING_TURNS: usize = 2000;

/// A run in the midst of its streams.
fn under_way(seed: u64, random: &mut Random) -> Run {
    let wanted = Wanted { shared: seed.is_multiple_of(2), ..Wanted::default() };
    let mut run = Run::new(seed, &wanted, 1, [2 << 20, 2 << 20]);
    (0..random.between(10, 2000)).for_each(|_| run.turn());
    assert!(!run.is_done() && !run.is_broken());
    run
}

/// Goes on, with pings, until both sides have found out or all has come.
#[track_caller]
fn until_known(run: &mut Run) {
    for turn in 0..TURNS_MAX {
        run.turn();
        if turn % PING_TURNS == 0 {
            run.hub.ping(0);
            run.callers[0].ping();
        }
        if run.is_done() || run.breaks().iter().all(Option::is_some) {
            return;
        }
    }
    panic!("nobody finds out: {}", run.stand());
}

/// Ends what is under way, and looks whether memory is left alone that is said to be free.
fn check_quiet(run: &mut Run) {
    for _ in 0..200 {
        (0..200).for_each(|_| _ = run.network.step());
        run.hub.turn(u64::MAX);
    }
    assert!(run.hub.connection(0).end.is_quiet(), "what is flushed is told");
    left_alone(run);
}

fn left_alone(run: &mut Run) {
    let rooms = run.rooms.clone();
    rooms.write(0, &vec![0xaa; rooms.len()]);
    (0..20_000).for_each(|_| _ = run.network.step());
    assert!(
        rooms.bytes(0, rooms.len()).iter().all(|&byte| byte == 0xaa),
        "the device writes to memory of others"
    );
}

#[test]
fn a_link_that_is_mended_in_time_loses_nothing() {
    under_seeds(SEEDS, |seed| {
        let mut random = Random::new(seed);
        let wanted = Wanted { shared: seed.is_multiple_of(2), ..Wanted::default() };
        let mut run = Run::new(seed, &wanted, 2, [300_000, 300_000]);
        for _ in 0..5 {
            (0..random.between(10, 1000)).for_each(|_| run.turn());
            let device = run.hub.device.clone();
            run.network.set_link(&device, false);
            (0..random.between(1, 200)).for_each(|_| _ = run.network.step());
            run.network.set_link(&device, true);
        }
        run.finish();
        run.quieten();
        run.check_rest();
    });
}

#[test]
fn a_link_that_stays_cut_is_found_by_both_sides() {
    under_seeds(SEEDS, |seed| {
        let mut random = Random::new(seed);
        let mut run = under_way(seed, &mut random);
        let device = if random.percent(50) { run.hub.device.clone() } else { run.devices[0].clone() };
        run.network.set_link(&device, false);
        until_known(&mut run);
        assert!(run.is_broken());
        check_quiet(&mut run);
    });
}

#[test]
fn a_queue_pair_that_fails_is_found_by_both_sides() {
    let mut reading = 0;
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let mut run = under_way(seed, &mut random);
        let connection = run.hub.connection(0);
        reading += usize::from(!connection.end.is_quiet());
        match seed % 3 {
            0 => connection.end.fail(),
            1 => run.callers[0].end.link().fail(),
            // As when a protocol error is found.
            _ => connection.fail(crate::Broken::Message),
        }
        until_known(&mut run);
        assert!(run.is_broken());
        check_quiet(&mut run);
    }
    assert!(reading > SEEDS as usize / 4, "nothing was under way: {reading}");
}

#[test]
fn a_device_that_is_removed_is_found_by_both_sides() {
    under_seeds(SEEDS, |seed| {
        let mut random = Random::new(seed);
        let mut run = under_way(seed, &mut random);
        let device = if seed % 4 < 2 { run.hub.device.clone() } else { run.devices[0].clone() };
        run.network.remove(&device);
        until_known(&mut run);
        assert!(run.is_broken());
        check_quiet(&mut run);
    });
}

#[test]
fn a_peer_that_is_gone_is_found_by_the_other_side() {
    under_seeds(SEEDS, |seed| {
        let mut random = Random::new(seed);
        let mut run = under_way(seed, &mut random);
        let is_server = random.percent(50);
        if is_server {
            // Without a word, and with all that is under way: the end of the queue pair ends what the device does.
            run.hub.connections[0] = None;
            left_alone(&mut run);
        } else {
            run.callers.clear();
            assert_eq!(run.devices[0].values(), 1, "all is given back");
        }
        for turn in 0..TURNS_MAX {
            run.turn();
            if turn % PING_TURNS == 0 {
                run.hub.ping(0);
                run.callers.iter_mut().for_each(super::caller::Caller::ping);
            }
            let server = run.hub.connections[0].as_ref();
            if server.is_none_or(|server| server.broken.is_some())
                && run.callers.iter().all(|caller| caller.broken.is_some())
            {
                return;
            }
        }
        panic!("nobody finds out");
    });
}

/// Lost completions cost time, or the connection, but never bytes.
#[test]
fn completions_that_are_lost_cost_no_bytes() {
    let (mut done, mut broken) = (0, 0);
    for seed in 0..4 * SEEDS {
        let lost = [1, 3, 10, 50][seed as usize % 4];
        let weather = Weather { lost, ..Weather::default() };
        let wanted = Wanted { shared: seed.is_multiple_of(3), ..Wanted::default() };
        let mut run = Run::under(weather, seed, &wanted, 1, [200_000, 200_000]);
        until_known(&mut run);
        done += u64::from(run.is_done());
        broken += u64::from(run.is_broken());
    }
    assert!(done > 10 && broken > 10, "{done} {broken}");
}

/// Whose completion is lost is found again by that of a ping: the only slot, or a WRITE behind which nothing is sent.
#[test]
fn a_ping_finds_again_what_was_lost() {
    let (mut slots, mut writes) = (0, 0);
    for seed in 0..2 * SEEDS {
        let (count, len) = if seed.is_multiple_of(2) { (1, 200) } else { (16, 9000) };
        let wanted = Wanted { slots: count, inline: false, ..Wanted::default() };
        let mut run = Run::under(Weather { lost: 500, ..Weather::default() }, seed, &wanted, 1, [0, len]);
        run.hub.pauses = false;
        run.hub.connection(0).outgoing.only_long();
        let pass = |run: &mut Run| {
            for _ in 0..300 {
                (0..20).for_each(|_| _ = run.network.step());
                run.hub.turn(0);
                run.callers[0].turn(u64::MAX / 2);
            }
            let end = &mut run.hub.connection(0).end;
            [usize::from(end.link().rest().free_slots == 0), end.writes_out()]
        };
        let lost = pass(&mut run);
        if !run.is_broken() {
            (slots, writes) = (slots + lost[0], writes + lost[1]);
            run.network.set_weather(Weather::default());
            run.hub.ping(0);
            assert_eq!(pass(&mut run), [0; 2]);
        }
    }
    assert!(slots > 0 && writes > 0, "{slots} {writes}");
}
