//! Reads of the server's shards by READs.

use std::{
    net::SocketAddr,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use torc_proto::native::{Op, ReadCounts, ReadsGiven, Topology};
use torc_proto::slot::slot_of;
use torc_rdma::reads::{Look, ReadEnd, Value};
use torc_rdma::verbs::device::Device as Verbs;
use torc_rdma::{Local, client::Sizes, connect};

use super::{Asking, Found, LOOKS, PATIENCE, PIECE_BYTES, Reading, broken, request, tell, topology};
use crate::{error::BenchError, generator::address::Device};

/// A queue pair that has failed is replaced so long after the last one was made.
const PAUSE: Duration = Duration::from_millis(100);

/// A shard: a connection to ask it, and a queue pair to read it.
struct Shard {
    asking: Connection,
    end: ReadEnd<Verbs>,
    made_at: Instant,
    /// Of ends before.
    past: (ReadCounts, u64),
}

pub(super) struct Client {
    local: Device,
    /// By number, or one of them alone.
    shards: Vec<Shard>,
    topology: Topology,
    remembers: bool,
}

impl Client {
    /// `remembers`: a key is read at once where it was found before.
    pub(super) fn connect(
        address: SocketAddr,
        local: &Device,
        remembers: bool,
    ) -> Result<Client, BenchError> {
        let mut first = Connection::new(address, &local.0)?;
        let topology = topology(&mut first)?;
        let ports: Vec<u16> = topology.shards.iter().map(|shard| shard.port).collect();
        let connections = match &ports[..] {
            // Without ports of their own, the shard that took the connection is read, and it passes on what is others'.
            [_] => vec![first],
            ports if ports.contains(&0) => vec![first],
            ports => {
                let of = |port: &u16| Connection::new(SocketAddr::new(address.ip(), *port), &local.0);
                ports.iter().map(of).collect::<Result<_, _>>()?
            }
        };
        let end = || end(&local.0, remembers);
        let shard =
            |asking| Ok(Shard { asking, end: end()?, made_at: Instant::now(), past: Default::default() });
        let mut shards: Vec<Shard> = connections.into_iter().map(shard).collect::<Result<_, BenchError>>()?;
        shards.iter_mut().try_for_each(Shard::renew)?;
        Ok(Client { local: local.clone(), shards, topology, remembers })
    }

    /// The place of the shard that is asked about a key; whether it has it.
    fn of(&self, key: &[u8]) -> (usize, bool) {
        let owner = self.topology.owner(slot_of(key)).unwrap_or_default();
        let found = self.shards.iter().position(|shard| shard.end.shard() == owner);
        (found.unwrap_or(0), found.is_some())
    }
}

fn end(local: &Local, remembers: bool) -> Result<ReadEnd<Verbs>, BenchError> {
    let end = ReadEnd::new(&local.device, &local.domain, &local.place, connect::first()).map_err(broken)?;
    Ok(if remembers { end } else { end.with_places(0) })
}

impl Shard {
    /// Asks what may be read, and until when.
    fn renew(&mut self) -> Result<(), BenchError> {
        let (mut value, asked_at) = (Vec::new(), Instant::now());
        self.end.asked().compose(&mut value);
        let given =
            request(&mut self.asking, Op::Reads, &value, |value| ReadsGiven::parse(value).map_err(broken))?;
        self.end.given(&given, asked_at).map_err(broken)
    }

    fn counts(&self) -> ReadCounts {
        self.past.0.plus(&self.end.counts())
    }

    fn remembered(&self) -> u64 {
        self.past.1 + self.end.remembered()
    }

    fn tell(&mut self) -> Result<(), BenchError> {
        let mut told = Vec::new();
        self.end.tell(|op, value| told.push((op, value)));
        tell(&mut self.asking, &told)
    }
}

impl Reading for Client {
    type Asking = Connection;

    fn get(&mut self, key: &[u8]) -> Result<Found, BenchError> {
        let (place, is_there) = self.of(key);
        if !is_there {
            return Ok(Found::Doubt);
        }
        let shard = &mut self.shards[place];
        let now = Instant::now();
        if shard.end.is_broken() && now > shard.made_at + PAUSE {
            // It may have been destroyed for the memory that it read.
            shard.tell()?;
            shard.past = (shard.counts(), shard.remembered());
            (shard.end, shard.made_at) = (end(&self.local.0, self.remembers)?, now);
            shard.renew()?;
        } else if now >= shard.end.asks_at() {
            shard.renew()?;
        }
        let found = shard.end.get(0, key, |look| match look {
            Look::Hit { found, .. } => Found::Hit(match found.value {
                Value::Inline(value) => value.len() as u64,
                Value::Chained(_) => 0,
            }),
            _ => Found::Miss,
        });
        Ok(found.unwrap_or(Found::Doubt))
    }

    fn asking(&mut self, key: &[u8]) -> &mut Connection {
        let (place, _) = self.of(key);
        &mut self.shards[place].asking
    }

    fn has_much_to_tell(&self) -> bool {
        self.shards.iter().any(|shard| shard.end.has_much_to_tell())
    }

    fn tell(&mut self) -> Result<(), BenchError> {
        self.shards.iter_mut().try_for_each(Shard::tell)
    }

    fn counts(&self) -> ReadCounts {
        let all = self.shards.iter().map(Shard::counts);
        all.fold(ReadCounts::default(), |all, of| all.plus(&of))
    }

    fn remembered(&self) -> Option<u64> {
        Some(self.shards.iter().map(Shard::remembered).sum())
    }
}

/// A connection over RDMA.
pub(super) struct Connection(connect::Connected);

impl Connection {
    fn new(address: SocketAddr, local: &Local) -> Result<Connection, BenchError> {
        let connected = connect::connect(address, local, Sizes::default(), PATIENCE);
        Ok(Connection(connected.map_err(|why| broken(format!("{address}: {why}")))?))
    }

    /// Sleeps until there is something to read, or room to write if that is waited for.
    fn sleep(&mut self, blocked: bool) -> Result<(), BenchError> {
        if self.0.end.may_sleep(blocked) {
            let mut descriptors = vec![PollFd::from_borrowed_fd(self.0.socket.as_fd(), PollFlags::IN)];
            let notices = self.0.end.notices();
            descriptors.extend(notices.map(|notices| PollFd::from_borrowed_fd(notices, PollFlags::IN)));
            let second = Timespec { tv_sec: 1, tv_nsec: 0 };
            // Interrupted or not, the connection is looked at again.
            let _ = poll(&mut descriptors, Some(&second));
        }
        self.0.hear().map_err(broken)
    }
}

impl Asking for Connection {
    fn send(&mut self, mut bytes: &[u8]) -> Result<(), BenchError> {
        let began = Instant::now();
        while !bytes.is_empty() {
            let sent = self.0.end.write(bytes).map_err(broken)?;
            bytes = &bytes[sent..];
            if sent == 0 {
                if began.elapsed() > PATIENCE {
                    return Err(broken("it takes nothing"));
                }
                self.sleep(true)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, input: &mut Vec<u8>) -> Result<(), BenchError> {
        let began = Instant::now();
        let before = input.len();
        for looks in 1.. {
            input.resize(before + PIECE_BYTES, 0);
            let count = self.0.end.read(&mut input[before..]).map_err(broken)?;
            input.truncate(before + count);
            if count > 0 {
                break;
            }
            if looks < LOOKS {
                std::hint::spin_loop();
                continue;
            }
            if began.elapsed() > PATIENCE {
                return Err(broken("it does not answer"));
            }
            self.sleep(false)?;
        }
        Ok(())
    }
}
