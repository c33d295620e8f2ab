//! A client that sends what it must not: its connection ends, and others do not notice ([N-RDMA-11]).

use super::raw::Raw;
use super::streams::Run;
use super::world::{Random, Wanted, under_seeds};
use crate::Broken;
use crate::link::PINGS_MAX;
use crate::note::{CREDITS_MAX, Kind, UNITS_MAX};
use crate::setup::Refused;
use torc_proto::native::pair::{PairEnd, Window};
use torc_verbs::completion::Failure;
use torc_verbs::work::Remote;

/// Of the client that is driven by hand; number 1 at the server.
const LENDING_BYTES: u32 = 1024;
const RECEIVES: u16 = 5;

struct Case {
    run: Run,
    raw: Raw,
}

fn case(seed: u64, answers: u64, change: impl Fn(&mut Raw)) -> Case {
    let wanted = Wanted { shared: seed.is_multiple_of(2), receives: RECEIVES, ..Wanted::default() };
    let mut run = Run::new(seed, &wanted, 1, [50_000, 50_000]);
    let mut raw = Raw::new(&run.network);
    (raw.own.landing, raw.own.lending) = (raw.window(2048, 1024), raw.window(1024, LENDING_BYTES));
    change(&mut raw);
    let answer = run.hub.accept(&raw.own, answers).expect("an answer");
    raw.join(&answer);
    run.hub.pauses = false;
    Case { run, raw }
}

impl Case {
    /// Lets all come that was sent, and then the server look at it.
    fn arrive(&mut self) {
        (0..20_000).for_each(|_| _ = self.run.network.step());
        (0..20).for_each(|_| self.run.hub.turn(0));
    }

    fn broken(&mut self) -> Option<Broken> {
        self.run.hub.connection(1).broken
    }

    /// The connection has ended so; the other client's goes on.
    #[track_caller]
    fn ends(mut self, why: Broken) {
        for _ in 0..20 {
            self.arrive();
        }
        assert_eq!(self.broken(), Some(why));
        self.run.hub.connections[1] = None;
        self.goes_on();
    }

    #[track_caller]
    fn goes_on(mut self) {
        self.run.finish();
        self.run.quieten();
        self.run.check_rest();
    }
}

#[track_caller]
fn ends(why: Broken, act: impl Fn(&mut Raw)) {
    for seed in 0..4 {
        let mut case = case(seed, 0, |_| ());
        act(&mut case.raw);
        case.ends(why);
    }
}

#[test]
fn what_is_no_message_ends_the_connection() {
    ends(Broken::Message, |raw| raw.send(None, b"bytes"));
    for kind in [6, 7] {
        ends(Broken::Message, |raw| raw.send(Some(kind << 29), b"bytes"));
    }
    ends(Broken::Message, |raw| raw.say(Kind::Landed, b"bytes"));
    for kind in [Kind::Return, Kind::Ping, Kind::Pong] {
        ends(Broken::Message, |raw| raw.say(kind, b"bytes"));
    }
    for kind in [Kind::Bytes, Kind::Lent, Kind::Landed, Kind::Return, Kind::Pong] {
        ends(Broken::Message, |raw| raw.say(kind, b""));
    }
    for bytes in [&[1, 0, 0][..], &[1, 0, 0, 0, 0], &[0; 4]] {
        ends(Broken::Message, |raw| raw.say(Kind::Lent, bytes));
    }
}

#[test]
fn a_message_that_is_missing_or_comes_twice_ends_the_connection() {
    for number in [1, 7, 15] {
        ends(Broken::Lost, |raw| {
            raw.say(Kind::Bytes, &[super::world::byte(2, 0)]);
            raw.number = (raw.number + number) % 16;
            raw.say(Kind::Bytes, b"x");
        });
    }
}

#[test]
fn what_was_not_taken_cannot_be_given_back() {
    for credits in [1, CREDITS_MAX] {
        ends(Broken::Credits, |raw| raw.give(Kind::Return, credits, 0));
    }
    for units in [1, UNITS_MAX] {
        ends(Broken::Room, |raw| raw.give(Kind::Return, 0, units));
    }
}

#[test]
fn lending_is_read_inside_of_the_window_alone() {
    for len in [LENDING_BYTES + 1, u32::MAX, i32::MAX as u32] {
        ends(Broken::Room, |raw| raw.say(Kind::Lent, &len.to_le_bytes()));
    }
    // Together longer than the window.
    ends(Broken::Room, |raw| {
        (0..2).for_each(|_| raw.say(Kind::Lent, &(LENDING_BYTES / 2 + 1).to_le_bytes()))
    });
}

/// Parts that lie over each other are found when they are told of, however late they are read.
#[test]
fn more_than_the_lending_is_not_lent_at_a_time() {
    for seed in 0..4 {
        let mut case = case(seed, 0, |_| ());
        case.run.hub.connection(1).pause();
        (0..3).for_each(|_| case.raw.say(Kind::Lent, &(LENDING_BYTES / 2).to_le_bytes()));
        case.ends(Broken::Room);
    }
}

#[test]
fn a_part_does_not_reach_over_the_end_of_the_lending() {
    for seed in 0..4 {
        let mut case = case(seed, 0, |_| ());
        let stream = super::world::bytes(2, 0, 704);
        case.raw.memory.memory.write(1024, &stream);
        case.raw.say(Kind::Lent, &704u32.to_le_bytes());
        case.arrive();
        case.arrive();
        let server = case.run.hub.connection(1);
        assert_eq!((server.broken, server.incoming.at), (None, 704));
        case.raw.say(Kind::Lent, &704u32.to_le_bytes());
        case.ends(Broken::Room);
    }
}

#[test]
fn who_sends_beyond_its_credits_is_found_before_much_is_queued() {
    for seed in 0..10 {
        let mut case = case(seed, 0, |_| ());
        case.run.hub.connection(1).pause();
        (0..500).for_each(|_| case.raw.say(Kind::Bytes, b"x"));
        for _ in 0..200 {
            case.arrive();
            let queued = case.run.hub.connection(1).incoming.count();
            assert!(queued <= RECEIVES.into(), "{queued}");
        }
        case.ends(Broken::Flooded);
    }
}

#[test]
fn pings_are_answered_but_not_without_end() {
    let case_of = |pings: u8| {
        let mut case = case(0, 0, |_| ());
        (0..pings).for_each(|_| case.raw.give(Kind::Ping, 0, 0));
        case
    };
    case_of(PINGS_MAX).goes_on();
    case_of(PINGS_MAX + 1).ends(Broken::Flooded);
    case_of(255).ends(Broken::Flooded);
}

#[test]
fn what_the_device_refuses_ends_the_connection() {
    let nowhere = Remote { address: 4096, key: 99 };
    ends(Failure::Remote.into(), |raw| raw.say(Kind::Bytes, &[0; 5000]));
    ends(Failure::Remote.into(), |raw| raw.write(Some(0), nowhere, 100));
    ends(Failure::Remote.into(), |raw| raw.write(Some(0), nowhere, 0));
    ends(Failure::Remote.into(), |raw| raw.write(None, nowhere, 100));
    ends(Failure::Remote.into(), |raw| raw.read(nowhere, 100));
}

#[test]
fn windows_without_rights_end_the_connection() {
    for seed in 0..4 {
        let wrong = |window: &mut Window| window.key ^= 1;
        let mut case = case(seed, 10_000, |raw| wrong(&mut raw.own.landing));
        case.run.hub.connection(1).outgoing.only_long();
        case.ends(Failure::Access.into());
        let mut case = self::case(seed, 0, |raw| wrong(&mut raw.own.lending));
        case.raw.say(Kind::Lent, &100u32.to_le_bytes());
        case.ends(Failure::Access.into());
    }
    // At the end of all addresses.
    let high = |raw: &mut Raw| raw.own.landing = Window { address: u64::MAX - 5, key: 1, bytes: u32::MAX };
    let mut case = case(0, 10_000, high);
    case.run.hub.connection(1).outgoing.only_long();
    case.ends(Failure::Access.into());
}

#[test]
fn an_end_that_cannot_be_is_refused() {
    let wanted = Wanted::default();
    let mut run = Run::new(0, &wanted, 1, [10, 10]);
    let raw = Raw::new(&run.network);
    let own = PairEnd { lending: raw.window(0, 64), ..raw.own };
    let with = |change: fn(&mut PairEnd)| {
        let mut end = own;
        change(&mut end);
        end
    };
    let wrong = [
        with(|end| end.number = 1 << 24),
        with(|end| end.first = u32::MAX),
        with(|end| end.mtu = 1500),
        with(|end| end.receives = 0),
        with(|end| end.reads = 0),
        with(|end| end.receive_bytes = 255),
        with(|end| end.receive_bytes = u32::MAX),
        with(|end| end.gid = [0; 16]),
    ];
    for end in wrong {
        assert_eq!(run.hub.accept(&end, 0).expect_err("refused"), Refused::Impossible, "{end:?}");
    }
    for versions in [(0, 0), (2, 9)] {
        let end = PairEnd { version_min: versions.0, version_max: versions.1, ..own };
        assert_eq!(run.hub.accept(&end, 0).expect_err("refused"), Refused::Version);
    }
    assert!(run.hub.accept(&own, 0).is_ok());
    let without = PairEnd { reads: 0, lending: Window::default(), ..own };
    assert!(run.hub.accept(&without, 0).is_ok());
}

/// Whatever it sends: no panic, no queue that grows, and the other client's streams are as they were.
#[test]
fn nonsense_harms_nobody_else() {
    under_seeds(100, |seed| {
        let mut random = Random::new(seed ^ 0x6e6f_6e73);
        let mut case = case(seed, 100_000, |_| ());
        case.run.hub.connection(1).incoming.ignore();
        for _ in 0..random.between(1, 60) {
            let kinds = [Kind::Bytes, Kind::Lent, Kind::Return, Kind::Ping, Kind::Pong, Kind::Landed];
            let kind = if random.percent(90) { random.pick(&kinds[..4]) } else { random.pick(&kinds) };
            let few = |random: &mut Random| if random.percent(80) { 0 } else { random.between(1, 3) as u32 };
            let immediate = case.raw.note(kind, few(&mut random), few(&mut random));
            let immediate = if random.percent(3) { Some(random.next() as u32) } else { immediate };
            let len = random.between(1, 200);
            match kind {
                Kind::Lent if random.percent(90) => {
                    case.raw.send(immediate, &(random.between(0, 300) as u32).to_le_bytes());
                }
                Kind::Bytes => case.raw.send(immediate, &vec![7; len]),
                _ => case.raw.send(immediate, if random.percent(5) { b"x" } else { b"" }),
            }
            if random.percent(50) {
                (0..random.between(1, 200)).for_each(|_| case.run.turn());
            }
            let connection = case.run.hub.connection(1);
            let most = usize::from(RECEIVES) + LENDING_BYTES as usize / 64;
            assert!(connection.incoming.count() <= most, "it queues");
        }
        case.arrive();
        case.run.hub.connections[1] = None;
        case.goes_on();
    });
}
