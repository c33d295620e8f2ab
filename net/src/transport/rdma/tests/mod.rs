//! What a connection over RDMA keeps to, beside what [every transport](crate::transport::tests) keeps to: queue pairs of simulated
//! devices, under seeds, beside sockets of this machine.

mod ends;
mod rooms;
mod stays;
mod steps;

use super::*;
use crate::rdma::Opened;
use crate::session::Piece;
use crate::transport::epoll::Epoll;
use crate::transport::sockets::SocketsConfig;
use std::net::{SocketAddr, TcpListener, TcpStream};
use steps::Steps;
pub(in crate::transport) use steps::{Client, SEEDS};
use torc_rdma::Place;
use torc_rdma::client::{Sizes, Unjoined};
use torc_rdma::verbs::path::Mtu;
use torc_rdma::verbs::sim::{Device, Network, Weather};

pub(super) const TURNS_MAX: usize = 20_000;

fn place(device: &Device) -> Place {
    Place {
        port: 1,
        gid_index: 1,
        gid: device.gid(1, 1).expect("a GID"),
        mtu: Mtu::Bytes1024,
        reads_in: 4,
        reads_out: 4,
        traffic_class: 0,
    }
}

/// A transport with a simulated device, and another device for clients.
pub(in crate::transport) struct World<T> {
    pub(in crate::transport) rdma: Rdma<Steps<T>, Device>,
    network: Network,
    device: Device,
    clients: Device,
    address: SocketAddr,
}

impl<T: Transport> World<T> {
    pub(in crate::transport) fn new(seed: u64, make: impl Fn(SocketsConfig) -> T) -> World<T> {
        let network = Network::new(seed, Weather::default());
        let (device, clients) = (network.add_device(), network.add_device());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (buffers, buffer_bytes, min_wait) = (16, 1024, Duration::ZERO);
        let listeners = vec![listener.into()];
        let sockets = make(SocketsConfig { listeners, buffers, buffer_bytes, spins: true, min_wait });
        let config = RdmaConfig {
            device: Arc::default(),
            connections_max: 3,
            shard: 0,
            keepalive: None,
            answer_timeout: Duration::from_secs(30),
            stats: Arc::default(),
        };
        let rdma = Rdma::new(Steps { sockets, network: network.clone() }, config);
        let world = World { rdma, network, device, clients, address };
        world.open();
        world
    }

    /// Publishes the device, as its watcher would.
    #[expect(clippy::arc_with_non_send_sync, reason = "a simulated device is its thread's")]
    fn open(&self) {
        let device = self.device.clone();
        let domain = device.domain().expect("a domain");
        let place = place(&device);
        self.rdma.config.device.replace(Some(Arc::new(Opened::new(device, domain, place, 0))));
    }

    pub(super) fn turn(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.rdma.turn(Some(Duration::ZERO), &mut events).unwrap();
        events
    }

    /// Turns until `look` finds what it looks for among the events.
    #[track_caller]
    pub(super) fn until<F>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut World<T>, Event) -> Option<F>,
    ) -> F {
        for _ in 0..TURNS_MAX {
            let mut found = None;
            for event in self.turn() {
                found = look(self, event).or(found);
            }
            if let Some(found) = found {
                return found;
            }
        }
        panic!("still waiting: {what}")
    }

    /// A client that has paired.
    pub(in crate::transport) fn paired(&mut self) -> (ConnId, Client) {
        let socket = TcpStream::connect(self.address).unwrap();
        let conn = self.until("a client", |_, event| match event {
            Event::Accepted { conn, .. } => Some(conn),
            event => panic!("{event:?}"),
        });
        let domain = self.clients.domain().unwrap();
        let unjoined =
            Unjoined::new(&self.clients, &domain, &place(&self.clients), Sizes::default(), 7).unwrap();
        let (answer, _) = self.rdma.pair(conn, &unjoined.offer).expect("there is a queue pair");
        self.rdma.send(conn, Piece::Bytes(b"answer".to_vec()).into(), Notice::Soon);
        self.until("the answer's end", |_, event| matches!(event, Event::Sent { .. }).then_some(()));
        std::io::Read::read_exact(&mut &socket, &mut [0; 6]).unwrap();
        socket.set_nonblocking(true).unwrap();
        let end = unjoined.join(&answer).unwrap();
        (conn, Client { end, socket, network: self.network.clone() })
    }

    pub(super) fn send(&mut self, conn: ConnId, bytes: Vec<u8>) {
        self.rdma.send(conn, Piece::Bytes(bytes).into(), Notice::Soon);
    }

    /// Nothing of connections that are gone is left, and all receives are where they should be.
    #[track_caller]
    pub(super) fn nothing_is_left(&mut self) {
        let since = Instant::now();
        while self.rdma.has_ending() {
            assert!(self.turn().is_empty());
            assert!(since.elapsed() < Duration::from_secs(10), "something ends for ever");
        }
        // And what completed last is taken.
        self.turn();
        assert_eq!((self.rdma.conns.count(), self.rdma.config.stats.pairs.read()), (0, 0));
        let Some(hub) = &self.rdma.hub else { return };
        assert!(hub.memory.is_all_back() && hub.memory.is_whole());
    }
}

pub(super) fn under_seeds(case: impl Fn(World<Epoll>, u64)) {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        case(World::new(seed, |config| Epoll::new(config).unwrap()), seed);
    }
}
