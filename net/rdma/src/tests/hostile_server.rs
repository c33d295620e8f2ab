//! A server that sends what it must not: the client ends the connection, and holds no more than its receives and its landing.

use super::caller::unjoined;
use super::raw::Raw;
use super::world::{Random, Wanted, under_seeds};
use crate::Broken;
use crate::client::{ClientEnd, Sizes};
use crate::link::{PINGS_MAX, remote};
use crate::note::{CREDITS_MAX, Kind, UNIT, UNITS_MAX};
use crate::setup::Refused;
use torc_proto::native::pair::PairEnd;
use torc_verbs::completion::Failure;
use torc_verbs::sim::{Device, Network, Weather};
use torc_verbs::work::Remote;

const SIZES: Sizes = Sizes { receives: 6, receive_bytes: 512, landing_bytes: 1024, lending_bytes: 64 << 10 };

struct Case {
    // In the order in which they are dropped.
    end: ClientEnd<Device>,
    /// What the client has told.
    offer: PairEnd,
    raw: Raw,
    device: Device,
    network: Network,
}

fn case(seed: u64) -> Case {
    let network = Network::new(seed, Weather::default());
    let device = network.add_device();
    let unjoined = unjoined(&device, &Wanted { client: SIZES, ..Wanted::default() }, 9);
    let offer = unjoined.offer;
    let raw = Raw::new(&network);
    let end = unjoined.join(&raw.own).expect("joined");
    raw.join(&offer);
    Case { end, offer, raw, device, network }
}

impl Case {
    /// Lets all come that was sent.
    fn arrive(&mut self) {
        (0..5000).for_each(|_| _ = self.network.step());
    }

    /// In the landing.
    fn landing(&self, at: usize) -> Remote {
        remote(self.offer.landing, at)
    }

    fn land(&mut self, at: usize, len: usize) {
        let immediate = self.raw.note(Kind::Landed, 0, 0);
        self.raw.write(immediate, self.landing(at), len);
    }

    #[track_caller]
    fn ends(mut self, why: Broken) {
        for _ in 0..5 {
            self.arrive();
            self.end.has_news(false);
        }
        assert_eq!(self.end.broken(), Some(why));
        assert_eq!((self.end.write(b"x"), self.end.ping()), (Err(why), Err(why)));
        // What had come before can be read.
        let mut to = [0; 100];
        while self.end.read(&mut to).is_ok_and(|count| count > 0) {}
        assert_eq!((self.end.read(&mut to), self.end.parts()), (Err(why), 0));
        drop(self.end);
        assert_eq!(self.device.values(), 1, "all is given back");
    }
}

#[track_caller]
fn ends(why: Broken, act: impl Fn(&mut Case)) {
    for seed in 0..4 {
        let mut case = case(seed);
        act(&mut case);
        case.ends(why);
    }
}

#[test]
fn what_is_no_message_ends_the_connection() {
    ends(Broken::Message, |case| case.raw.send(None, b"bytes"));
    for kind in [6, 7] {
        ends(Broken::Message, |case| case.raw.send(Some(kind << 29), b"bytes"));
    }
    for kind in [Kind::Landed, Kind::Lent, Kind::Return, Kind::Ping, Kind::Pong] {
        ends(Broken::Message, |case| case.raw.say(kind, b"four"));
    }
    for kind in [Kind::Bytes, Kind::Lent, Kind::Landed, Kind::Return, Kind::Pong] {
        ends(Broken::Message, |case| case.raw.say(kind, b""));
    }
    for kind in [Kind::Bytes, Kind::Lent, Kind::Return, Kind::Ping] {
        ends(Broken::Message, |case| {
            let immediate = case.raw.note(kind, 0, 0);
            case.raw.write(immediate, case.landing(0), 100);
        });
    }
    ends(Broken::Message, |case| case.land(0, 0));
    ends(Broken::Lost, |case| {
        case.raw.number = 3;
        case.raw.say(Kind::Bytes, b"bytes");
    });
}

#[test]
fn what_was_not_taken_cannot_be_given_back() {
    for credits in [1, CREDITS_MAX] {
        ends(Broken::Credits, |case| case.raw.give(Kind::Return, credits, 0));
    }
    for units in [1, UNITS_MAX] {
        ends(Broken::Room, |case| case.raw.give(Kind::Return, 0, units));
    }
    // More than is lent.
    ends(Broken::Room, |case| {
        let written = case.end.write(&[1; 20_000]).expect("written");
        let lent = (written - 256) / UNIT;
        case.raw.give(Kind::Return, 0, lent as u32 + 2);
    });
}

#[test]
fn landing_is_written_in_its_order_and_not_beyond_it() {
    // Twice more than there is together.
    ends(Broken::Room, |case| (0..2).for_each(|_| case.land(0, 700)));
    // Of what its key does not grant the device takes nothing, and flushes what was posted.
    for (at, len) in [(0, 1025), (1000, 100), (1 << 40, 1)] {
        ends(Failure::Flushed.into(), |case| case.land(at, len));
    }
    ends(Failure::Flushed.into(), |case| case.raw.write(Some(0), remote(case.offer.lending, 0), 100));
    ends(Failure::Flushed.into(), |case| case.raw.read(case.landing(0), 100));
}

#[test]
fn floods_end_the_connection_before_much_is_held() {
    for seed in 0..8 {
        let mut case = case(seed);
        for _ in 0..100 {
            match seed % 2 {
                0 => case.raw.say(Kind::Bytes, b"x"),
                _ => case.land(0, 1),
            }
        }
        for _ in 0..20 {
            case.arrive();
            case.end.has_news(false);
            assert!(case.end.parts() <= usize::from(SIZES.receives) + SIZES.landing_bytes / UNIT);
        }
        case.ends(Broken::Flooded);
    }
    ends(Broken::Flooded, |case| (0..=PINGS_MAX).for_each(|_| case.raw.give(Kind::Ping, 0, 0)));
}

#[test]
fn an_answer_that_cannot_be_is_refused() {
    let wrong: [fn(&mut PairEnd); 5] = [
        |end| end.number = u32::MAX,
        |end| end.mtu = 0,
        |end| end.receives = 0,
        |end| end.receive_bytes = 0,
        |end| end.gid = [0; 16],
    ];
    for change in wrong {
        let network = Network::new(0, Weather::default());
        let (device, raw) = (network.add_device(), Raw::new(&network));
        let mut answer = raw.own;
        change(&mut answer);
        let refused = unjoined(&device, &Wanted::default(), 1).join(&answer).expect_err("refused");
        assert_eq!(refused, Refused::Impossible);
        assert_eq!(device.values(), 1);
    }
}

#[test]
fn nonsense_makes_no_panic_and_no_queue_that_grows() {
    under_seeds(200, |seed| {
        let mut random = Random::new(seed ^ 0x7365_7276);
        let mut case = case(seed);
        let mut landed = 0;
        for _ in 0..random.between(1, 80) {
            let kinds = [Kind::Bytes, Kind::Landed, Kind::Return, Kind::Ping, Kind::Pong, Kind::Lent];
            let kind = if random.percent(95) { random.pick(&kinds[..4]) } else { random.pick(&kinds) };
            let few = |random: &mut Random| if random.percent(80) { 0 } else { random.between(1, 3) as u32 };
            let immediate = case.raw.note(kind, few(&mut random), few(&mut random));
            let immediate = if random.percent(2) { Some(random.next() as u32) } else { immediate };
            let len = random.between(1, 200);
            match kind {
                Kind::Landed => {
                    case.raw.write(immediate, case.landing(landed % 800), len);
                    landed += len;
                }
                Kind::Bytes => case.raw.send(immediate, &vec![7; len]),
                _ => case.raw.send(immediate, if random.percent(3) { b"x" } else { b"" }),
            }
            (0..random.between(0, 500)).for_each(|_| _ = case.network.step());
            let mut to = vec![0; random.size(300)];
            match random.between(0, 3) {
                0 => _ = case.end.write(&vec![3; random.size(50_000)]),
                1 => _ = case.end.may_sleep(true),
                2 => case.end.hear_notices(),
                _ => _ = case.end.read(&mut to),
            }
            assert!(case.end.parts() <= usize::from(SIZES.receives) + SIZES.landing_bytes / UNIT);
        }
    });
}
