//! A shard whose memory is registered with a simulated device, and a client that reads it from another one.

mod cases;
mod seeds;

use super::readers::{Asker, Readers, ReadersBy, ReadersLimits};
use super::register::Registrar;
use super::{DeviceState, Opened};
use crate::session::PairRefusal;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};
use torc_engine::command::{Command, Delete, Expiry, Op, Outcome, Read, Value, Write};
use torc_engine::segments::LeaseLimits;
use torc_engine::stats::Counter;
use torc_engine::{Shard, ShardConfig};
use torc_proto::native::{ReadsAsked, ReadsGiven};
use torc_rdma::Place;
use torc_rdma::reads::{Doubt, Look, ReadEnd};
use torc_rdma::verbs::path::Mtu;
use torc_rdma::verbs::seam::Verbs;
use torc_rdma::verbs::sim::{Device, Network, Weather};

/// When the server began, milliseconds.
const NOW: u64 = 1_000_000;
/// Of the connection by which the client asks.
const CONN: u64 = 7;
const ASKER: Asker = Asker { conn: CONN, client: 70 };

/// splitmix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

fn place(device: &Device) -> Place {
    let gid = device.gid(1, 1).expect("a GID");
    Place { port: 1, gid_index: 1, gid, mtu: Mtu::Bytes1024, reads_in: 4, reads_out: 4, traffic_class: 0 }
}

/// The server's side.
struct Owner {
    began: Instant,
    shard: Shard,
    readers: ReadersBy<Device>,
    registrar: Registrar<Device>,
    state: Arc<DeviceState<Device>>,
    pairs: Arc<Counter>,
}

impl Owner {
    fn new(device: &Device, memory_bytes: u64) -> Owner {
        let config = ShardConfig {
            now: NOW,
            segment_bytes: 64 << 10,
            shared_memory: true,
            seed: 7,
            ..ShardConfig::new(memory_bytes)
        };
        let mut shard = Shard::new(config).expect("memory");
        let (state, pairs) = (Arc::<DeviceState<Device>>::default(), Arc::<Counter>::default());
        let limits = ReadersLimits { pairs_max: 4, of_client_max: 2, clients: Arc::default() };
        let readers = ReadersBy::new(state.clone(), 0, limits, pairs.clone());
        shard.let_read_leases(LeaseLimits::default(), readers.revoker());
        let memory = shard.remote_memory().expect("it is a file's");
        let registrar = Registrar::new(vec![memory], true, None);
        let mut owner = Owner { began: Instant::now(), shard, readers, registrar, state, pairs };
        owner.open(device);
        owner
    }

    /// The device is used, or another one.
    fn open(&mut self, device: &Device) {
        let domain = device.domain().expect("a domain");
        let epoch = (self.state.generation() + 1) << 32;
        let opened = Opened::new(device.clone(), domain, place(device), epoch);
        self.registrar.begin();
        self.registrar.go_on(&opened);
        #[expect(
            clippy::arc_with_non_send_sync,
            reason = "as real devices are; this one stays in its thread"
        )]
        let opened = Arc::new(opened);
        self.state.replace(Some(opened));
    }

    /// What the watcher's thread does once in a while.
    fn register(&mut self) {
        if let (_, Some(opened)) = self.state.opened() {
            self.registrar.go_on(&opened);
        }
    }

    /// Keys are replaced now; `true`: those before end at once, if no shard holds them.
    fn replace_keys(&mut self, at_once: bool) {
        self.registrar.old_for = if at_once { Duration::ZERO } else { Duration::from_secs(3600) };
        self.registrar.keys_for = Some(Duration::ZERO);
        self.register();
        self.registrar.keys_for = None;
    }

    /// How long the clock has run that the server's time is of, nanoseconds.
    fn passed_ns(&self) -> u64 {
        NOW * 1_000_000 + self.began.elapsed().as_nanos() as u64
    }

    fn now(&self) -> u64 {
        self.passed_ns() / 1_000_000
    }

    /// A turn of the shard begins.
    fn turn(&mut self) {
        let now = self.now();
        self.shard.pass_read_leases(now);
        self.readers.follow(&mut self.shard);
    }

    fn execute(&mut self, database: u16, key: &[u8], op: Op<'_>) -> Option<Vec<u8>> {
        let (hash, now) = (self.shard.key_hash(key), self.now());
        let found = match self.shard.execute(&Command { database, key, op }, hash, now) {
            Outcome::Item(found) => match found.value {
                Value::Inline(bytes) => Some(bytes.to_vec()),
                Value::Chained(_) => panic!("no value is that long"),
            },
            Outcome::Stored { .. } | Outcome::Deleted { .. } | Outcome::Miss => None,
            other => panic!("{other:?}"),
        };
        self.shard.maintain(now, 16);
        found
    }

    fn set(&mut self, key: &[u8], value: &[u8]) {
        self.execute(0, key, Op::Write(Write::set(value)));
    }

    /// As a client asks for it; whoever does first makes it one that others may read.
    fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.execute(0, key, Op::Read(Read { leases: true, ..Read::default() }))
    }

    fn delete(&mut self, key: &[u8]) {
        self.execute(0, key, Op::Delete(Delete::default()));
    }

    /// Databases 0 and 1 change places.
    fn swap(&mut self) {
        let now = self.now();
        let version = self.shard.draw_version(now);
        let table = self.shard.spaces().swapped(0, 1, version);
        self.shard.set_spaces(&table, now);
    }

    fn answer(&mut self, asked: &ReadsAsked) -> Result<ReadsGiven, PairRefusal> {
        self.turn();
        let passed_ns = self.passed_ns();
        self.readers.give(ASKER, asked, &mut self.shard, passed_ns / 1_000_000, passed_ns)
    }

    /// The client asks what it may read.
    fn give(&mut self, end: &mut ReadEnd<Device>) -> Result<(), PairRefusal> {
        let (asked, asked_at) = (end.asked(), Instant::now());
        let given = self.answer(&asked)?;
        end.given(&given, asked_at).expect("it can be read");
        Ok(())
    }
}

type Get = Result<Option<Vec<u8>>, Doubt>;

fn get(end: &mut ReadEnd<Device>, key: &[u8]) -> Get {
    end.get(0, key, |look| match look {
        Look::Hit { found, .. } => match found.value {
            Value::Inline(bytes) => Some(bytes.to_vec()),
            Value::Chained(_) => panic!("a reader copies no chain"),
        },
        Look::Miss | Look::Expired | Look::Flushed => None,
    })
}

thread_local! {
    static NETWORK: RefCell<Option<Network>> = const { RefCell::new(None) };
}

/// Lets the network go on while a READ is under way.
fn step() {
    NETWORK.with_borrow(|network| network.as_ref().expect("a network").step());
}

/// A network, an owner, and the client's device.
fn world(seed: u64, weather: Weather, memory_bytes: u64) -> (Network, Owner, Device, [Device; 2]) {
    let network = Network::new(seed, weather);
    NETWORK.set(Some(network.clone()));
    let devices = [network.add_device(), network.add_device()];
    let owner = Owner::new(&devices[0], memory_bytes);
    (network, owner, devices[1].clone(), devices)
}

fn end(client: &Device, idle: fn()) -> ReadEnd<Device> {
    let domain = client.domain().expect("a domain");
    ReadEnd::new(client, &domain, &place(client), 77).expect("an end").with_idle(idle)
}
