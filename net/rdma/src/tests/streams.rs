//! Streams both ways come as they were, and in the end all is given back: credits ([N-RDMA-7]), room ([N-RDMA-8]), in the order of the
//! messages ([N-RDMA-9]).

use super::caller::{Caller, unjoined};
use super::hub::Hub;
use super::world::{Random, Wanted, under_seeds};
use crate::client::Sizes;
use std::sync::Arc;
use torc_verbs::memory::Buffer;
use torc_verbs::sim::{Device, Network, Weather};

const SEEDS: u64 = 100;
/// Turns after which nothing is expected to come any more.
const TURNS_MAX: usize = 3_000_000;

/// A server with its clients.
pub(super) struct Run {
    // In the order in which they are dropped.
    pub(super) callers: Vec<Caller>,
    pub(super) hub: Hub,
    pub(super) network: Network,
    /// Of the callers, and where the first's READs go to at the server.
    pub(super) devices: Vec<Device>,
    pub(super) rooms: Arc<Buffer>,
    random: Random,
    wanted: Wanted,
    /// Bytes of each stream.
    bytes: [u64; 2],
}

impl Run {
    pub(super) fn new(seed: u64, wanted: &Wanted, clients: usize, bytes: [u64; 2]) -> Run {
        Run::under(Weather::default(), seed, wanted, clients, bytes)
    }

    pub(super) fn under(
        weather: Weather,
        seed: u64,
        wanted: &Wanted,
        clients: usize,
        bytes: [u64; 2],
    ) -> Run {
        let network = Network::new(seed, weather);
        let hub = Hub::new(&network, wanted, seed);
        let (random, callers, devices) = (Random::new(seed ^ 0x0052_756e), Vec::new(), Vec::new());
        let rooms = Buffer::new(1).expect("memory");
        let mut run = Run { callers, hub, network, devices, rooms, random, wanted: *wanted, bytes };
        (0..clients).for_each(|_| run.call(seed));
        run.rooms = run.hub.connection(0).incoming.rooms().clone();
        run
    }

    /// A client more, on a device of its own.
    fn call(&mut self, seed: u64) {
        let (device, first) = (self.network.add_device(), self.random.next() as u32);
        let unjoined = unjoined(&device, &self.wanted, first);
        let answer = self.hub.accept(&unjoined.offer, self.bytes[1]).expect("an answer");
        let mut end = unjoined.join(&answer).expect("joined");
        if !self.wanted.inline {
            end.link().forgo_inline();
        }
        let number = self.callers.len() as u64;
        self.callers.push(Caller::new(end, number, self.bytes[0], seed));
        self.devices.push(device);
    }

    /// Lets some of them do something.
    pub(super) fn turn(&mut self) {
        let now = self.network.steps();
        match self.random.between(0, 3 + self.callers.len()) {
            0..=2 => (0..self.random.between(1, 60)).for_each(|_| _ = self.network.step()),
            3 => self.hub.turn(now),
            caller => self.callers[caller - 4].turn(now),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        let [to_server, to_client] = self.bytes;
        self.callers.iter().zip(&self.hub.connections).all(|(caller, connection)| {
            let is_done = connection.as_ref().is_none_or(|server| server.is_done(to_server));
            caller.is_done(to_client) && is_done
        })
    }

    pub(super) fn is_broken(&self) -> bool {
        self.breaks().iter().any(Option::is_some)
    }

    /// Until all has come.
    #[track_caller]
    pub(super) fn finish(&mut self) {
        for _ in 0..TURNS_MAX {
            self.turn();
            assert!(!self.is_broken(), "{:?}", self.breaks());
            if self.is_done() {
                return;
            }
        }
        panic!("nothing moves: {}", self.stand());
    }

    pub(super) fn breaks(&self) -> Vec<Option<crate::Broken>> {
        let servers = self.hub.connections.iter().take(self.callers.len());
        let servers = servers.map(|connection| connection.as_ref().and_then(|there| there.broken));
        self.callers.iter().map(|caller| caller.broken).chain(servers).collect()
    }

    pub(super) fn stand(&mut self) -> String {
        let mut stand = format!("{:?}", self.wanted);
        for (number, caller) in self.callers.iter_mut().enumerate() {
            let server = self.hub.connection(number);
            stand += &format!(
                "\nclient {:?} {:?} read {}\nserver {:?} {:?} taken {}",
                caller.end.used_units(),
                caller.end.link().rest(),
                caller.read,
                server.end.used_units(),
                server.end.link().rest(),
                server.incoming.at,
            );
        }
        stand
    }

    /// Lets all that is under way end: each side asks the other whether it is there.
    pub(super) fn quieten(&mut self) {
        self.hub.pauses = false;
        for caller in &mut self.callers {
            caller.pauses = false;
        }
        for round in 0..4 {
            for number in 0..self.callers.len() {
                if round % 2 == 0 {
                    self.hub.ping(number);
                } else {
                    self.callers[number].end.ping().expect("not broken");
                }
            }
            for _ in 0..500 {
                (0..20).for_each(|_| _ = self.network.step());
                self.hub.turn(u64::MAX / 2);
                for caller in &mut self.callers {
                    assert!(!caller.end.has_news(false), "nothing comes");
                    caller.end.hear_notices();
                }
            }
        }
    }

    /// Both sides are as at the start.
    #[track_caller]
    pub(super) fn check_rest(&mut self) {
        let Wanted { receives, slots, client, .. } = self.wanted;
        for (number, caller) in self.callers.iter_mut().enumerate() {
            let server = &mut self.hub.connection(number).end;
            assert_eq!([caller.end.used_units(), server.used_units()], [[0; 2]; 2], "rooms");
            let rests = [(caller.end.link().rest(), 16), (server.link().rest(), slots)];
            let takes = [(client.receives, receives), (receives, client.receives)];
            for ((rest, slots), (given, credits)) in rests.into_iter().zip(takes) {
                assert_eq!((rest.credits, rest.given), (credits.into(), given.into()), "{rest:?}");
                assert_eq!((rest.owed, rest.owed_units, rest.pings), (0, 0, [0; 2]), "{rest:?}");
                // Of the last few nobody has told that they are over.
                assert!(rest.posted < 8 && rest.free_slots + rest.posted >= slots, "{rest:?}");
            }
            assert!(server.is_quiet() && caller.end.parts() == 0);
        }
    }
}

fn streams_of(seed: u64, wanted: &Wanted, clients: usize, bytes: [u64; 2]) {
    let mut run = Run::new(seed, wanted, clients, bytes);
    run.finish();
    run.quieten();
    run.check_rest();
}

#[test]
fn streams_of_any_sizes_come_as_they_were() {
    under_seeds(SEEDS, |seed| {
        let mut random = Random::new(seed);
        let wanted = Wanted::any(&mut random);
        let most = wanted.stream_bytes();
        let bytes = [random.size(most) as u64, random.size(most) as u64];
        streams_of(seed, &wanted, random.between(1, 4), bytes);
    });
}

#[test]
fn megabytes_both_ways_come_as_they_were() {
    under_seeds(6, |seed| {
        let wanted = Wanted { shared: seed.is_multiple_of(2), ..Wanted::default() };
        streams_of(seed, &wanted, 2, [5 << 20, 6 << 20]);
    });
}

#[test]
fn one_credit_one_slot_and_one_unit_are_enough() {
    under_seeds(SEEDS, |seed| {
        let shared = seed.is_multiple_of(2);
        streams_of(seed, &Wanted { shared, ..Wanted::least() }, 2, [20_000, 20_000]);
    });
}

#[test]
fn without_landing_and_lending_all_goes_by_messages() {
    under_seeds(SEEDS, |seed| {
        let client = Sizes { landing_bytes: 0, lending_bytes: 0, ..Sizes::default() };
        let wanted = Wanted { client, inline: seed.is_multiple_of(2), ..Wanted::default() };
        streams_of(seed, &wanted, 2, [100_000, 100_000]);
    });
}

/// What is lent beyond the lending waits for it, and does not go by messages meanwhile.
#[test]
fn long_parts_of_requests_are_lent_to_their_end() {
    under_seeds(20, |seed| {
        let client = Sizes { lending_bytes: 64 << 10, ..Sizes::default() };
        let wanted = Wanted { client, ..Wanted::default() };
        let mut run = Run::new(seed, &wanted, 1, [1 << 20, 0]);
        run.callers[0].in_one();
        run.finish();
        let copied = run.hub.connection(0).incoming.copied;
        assert!(copied <= 2 * u64::from(wanted.receive_bytes), "{copied} bytes by messages");
    });
}

/// Who waits for room to lend sleeps, though it has credits.
#[test]
fn a_writer_that_waits_for_room_may_sleep() {
    let client = Sizes { lending_bytes: 64 << 10, ..Sizes::default() };
    let mut run = Run::new(0, &Wanted { client, ..Wanted::default() }, 1, [1 << 20, 0]);
    let end = &mut run.callers[0].end;
    let mut written = 0;
    loop {
        match end.write(&vec![0; (1 << 20) - written]).expect("written") {
            0 => break,
            count => written += count,
        }
    }
    while run.network.step() {}
    assert!(!end.has_news(true) && end.may_sleep(true), "it would look again and again");
}
