//! A server for tests: one completion queue, receives in common or not, connections that read what comes and write what they
//! are to.

use super::hub_parts::{Incoming, Outgoing};
use super::world::{Random, Wanted, place};
use crate::Broken;
use crate::link::{SPARE_RECEIVES, Slots};
use crate::server::{Common, Heard, ServerEnd};
use crate::setup::{Place, Refused};
use std::sync::Arc;
use torc_proto::native::pair::PairEnd;
use torc_verbs::completion::{Completion, Done, Event, Failure};
use torc_verbs::error::VerbsError;
use torc_verbs::memory::Buffer;
use torc_verbs::seam::{Access, CompletionQueue, QueuePair, SharedReceives, Verbs};
use torc_verbs::sim::{Device, Domain, Network, Pair, Queue, Receives, Registered};
use torc_verbs::work::Piece;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 4;
const RECEIVE: u64 = 1 << 63;

/// Memory, and its registration.
pub(super) struct Registration {
    pub(super) memory: Arc<Buffer>,
    pub(super) region: Registered,
}

impl Registration {
    pub(super) fn new(device: &Device, domain: &Domain, len: usize, access: Access) -> Registration {
        let memory = Buffer::new(len).expect("memory");
        let region = device.register(domain, memory.clone(), access).expect("a region");
        Registration { memory, region }
    }

    pub(super) fn both(&self) -> (&Buffer, &Registered) {
        (&self.memory, &self.region)
    }
}

pub(super) struct Connection {
    pub(super) end: ServerEnd<Device>,
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
    /// Does not look at what has come until then, steps.
    paused_until: u64,
    pub(super) broken: Option<Broken>,
}

pub(super) struct Hub {
    // In the order in which they are dropped.
    pub(super) connections: Vec<Option<Connection>>,
    pub(super) device: Device,
    domain: Domain,
    queue: Queue,
    shared: Option<Receives>,
    memory: Registration,
    place: Place,
    wanted: Wanted,
    random: Random,
    /// Pauses happen.
    pub(super) pauses: bool,
}

impl Hub {
    pub(super) fn new(network: &Network, wanted: &Wanted, seed: u64) -> Hub {
        let device = network.add_device();
        let domain = device.domain().expect("a domain");
        let queue = device.completion_queue(4096).expect("a queue");
        let receives = CONNECTIONS_MAX * Hub::receives(wanted);
        let shared =
            wanted.shared.then(|| device.shared_receives(&domain, receives as u32).expect("receives"));
        let slots_bytes = CONNECTIONS_MAX * wanted.slots * wanted.slot_bytes;
        let bytes = slots_bytes + receives * wanted.receive_bytes as usize;
        let memory = Registration::new(&device, &domain, bytes, Access::Local);
        let (place, random) = (place(&device), Random::new(seed ^ 0x4855_4220));
        let (connections, wanted, pauses) = (Vec::new(), *wanted, true);
        let hub = Hub { connections, device, domain, queue, shared, memory, place, wanted, random, pauses };
        if hub.shared.is_some() {
            (0..receives).for_each(|number| hub.post_receive(None, number).expect("posted"));
        }
        hub
    }

    /// Of one connection.
    fn receives(wanted: &Wanted) -> usize {
        usize::from(wanted.receives) + usize::from(SPARE_RECEIVES)
    }

    fn post_receive(&self, pair: Option<&Pair>, number: usize) -> Result<(), VerbsError> {
        let at = receive_at(&self.wanted, number);
        let piece = Piece { region: &self.memory.region, at, len: self.wanted.receive_bytes as usize };
        let id = RECEIVE | number as u64;
        match (&self.shared, pair) {
            (Some(shared), _) => shared.post(id, &[piece]),
            (None, Some(pair)) => pair.post_receive(id, &[piece]),
            (None, None) => panic!("whose receive is it"),
        }
    }

    /// A new connection, which is to write so many bytes.
    pub(super) fn accept(&mut self, client: &PairEnd, bytes: u64) -> Result<PairEnd, Refused> {
        let number = self.connections.len();
        assert!(number < CONNECTIONS_MAX);
        let first = self.random.next() as u32;
        let common = Common {
            device: &self.device,
            domain: &self.domain,
            place: &self.place,
            queue: &self.queue,
            shared: self.shared.as_ref(),
            receives: self.wanted.receives,
            receive_bytes: self.wanted.receive_bytes,
            shard: 3,
        };
        let (count, bytes_each) = (self.wanted.slots, self.wanted.slot_bytes);
        let slots = Slots { at: number * count * bytes_each, count, bytes: bytes_each };
        let receives = Hub::receives(&self.wanted);
        let post_own = |pair: &Pair| match self.shared {
            Some(_) => Ok(()),
            None => (0..receives)
                .try_for_each(|at| self.post_receive(Some(pair), number * receives + at))
                .map_err(Refused::from),
        };
        let (mut end, answer) = ServerEnd::new(&common, &slots, first, client, post_own)?;
        if !self.wanted.inline {
            end.link().forgo_inline();
        }
        let stream = 2 * number as u64;
        let incoming = Incoming::new(&self.device, &self.domain, stream);
        let outgoing = Outgoing::new(&self.device, &self.domain, stream + 1, bytes);
        self.connections.push(Some(Connection { end, incoming, outgoing, paused_until: 0, broken: None }));
        Ok(answer)
    }

    pub(super) fn connection(&mut self, number: usize) -> &mut Connection {
        self.connections[number].as_mut().expect("it is there")
    }

    /// Does what there is to do.
    pub(super) fn turn(&mut self, now: u64) {
        while let Ok(Some(event)) = self.device.next_event() {
            self.told(event);
        }
        self.poll();
        for number in 0..self.connections.len() {
            let Some(mut connection) = self.connections[number].take() else { continue };
            if connection.broken.is_none() {
                self.work(&mut connection, now);
            }
            self.connections[number] = Some(connection);
        }
    }

    fn told(&mut self, event: Event) {
        for number in 0..self.connections.len() {
            let Some(mut connection) = self.connections[number].take() else { continue };
            let is_hit = match event {
                Event::PairFailed { pair } => pair == connection.end.number(),
                Event::DeviceFailed => true,
                _ => false,
            };
            if is_hit {
                self.break_off(&mut connection, Failure::Remote.into());
            }
            self.connections[number] = Some(connection);
        }
    }

    fn poll(&mut self) {
        let mut completions = [Completion::NONE; 16];
        let most = if self.pauses { self.random.between(1, completions.len()) } else { completions.len() };
        let count = self.queue.poll(&mut completions[..most]).expect("a queue");
        for completion in &completions[..count] {
            let is_it = |connection: &Option<Connection>| {
                connection.as_ref().is_some_and(|connection| connection.end.number() == completion.pair)
            };
            let number = self.connections.iter().position(is_it);
            let taken =
                number.and_then(|number| self.connections[number].take().map(|taken| (number, taken)));
            let Some((number, mut connection)) = taken else { continue };
            if let Err(broken) = self.completed(&mut connection, completion) {
                self.break_off(&mut connection, broken);
            }
            self.connections[number] = Some(connection);
        }
    }

    fn completed(&self, connection: &mut Connection, completion: &Completion) -> Result<(), Broken> {
        if completion.id & RECEIVE != 0 {
            return self.received(connection, completion);
        }
        let over = connection.end.complete(completion.id)?;
        connection.outgoing.over(over.writes);
        completion.result?;
        (0..connection.incoming.over(over.reads)).for_each(|_| connection.end.owe());
        Ok(())
    }

    fn received(&self, connection: &mut Connection, completion: &Completion) -> Result<(), Broken> {
        let number = (completion.id & !RECEIVE) as usize;
        let at = receive_at(&self.wanted, number);
        let word = || self.memory.memory.bytes(at, 4).try_into().expect("four");
        let heard = match (completion.result, connection.broken) {
            (_, Some(broken)) => Err(broken),
            (Ok(Done::Received { len, immediate }), _) => {
                connection.end.heard(immediate, len, word).map(|heard| (heard, len as usize))
            }
            (Ok(_), _) => Err(Broken::Message),
            (Err(failure), _) => Err(failure.into()),
        };
        match heard {
            Ok((Heard::Bytes, len)) => connection.incoming.bytes(number, len),
            Ok((Heard::Lent(len), _)) => {
                connection.incoming.lent(len);
                self.post_receive(Some(connection.end.pair()), number)?;
            }
            Ok((Heard::Nothing, _)) => self.post_receive(Some(connection.end.pair()), number)?,
            Err(broken) => {
                self.give_up(connection, number);
                return Err(broken);
            }
        }
        Ok(())
    }

    /// A receive of a connection that is broken is for the others.
    fn give_up(&self, connection: &Connection, number: usize) {
        // Without a device nobody has a use for it.
        let _ = self.post_receive(Some(connection.end.pair()), number);
    }

    fn work(&mut self, connection: &mut Connection, now: u64) {
        let worked = self.try_work(connection, now);
        if let Err(broken) = worked.and_then(|()| connection.end.settle(&self.memory.region)) {
            self.break_off(connection, broken);
        }
    }

    pub(super) fn break_off(&self, connection: &mut Connection, broken: Broken) {
        connection.fail(broken);
        connection.incoming.held().into_iter().for_each(|number| self.give_up(connection, number));
    }

    fn try_work(&mut self, connection: &mut Connection, now: u64) -> Result<(), Broken> {
        if self.pauses && self.random.percent(3) {
            connection.paused_until = now + self.random.between(1, 3000) as u64;
        }
        let Hub { wanted, memory, random, .. } = self;
        let Connection { end, incoming, outgoing, .. } = connection;
        outgoing.write(end, memory.both(), random)?;
        let copy = |number, from, to: &mut [u8]| memory.memory.read(receive_at(wanted, number) + from, to);
        let mut worked_off = Vec::new();
        if connection.paused_until <= now {
            for _ in 0..random.between(1, 8) {
                worked_off.extend(incoming.work(end, &memory.region, random, copy)?);
            }
        }
        for number in worked_off {
            self.post_receive(Some(connection.end.pair()), number)?;
            connection.end.owe();
        }
        Ok(())
    }

    pub(super) fn ping(&mut self, number: usize) {
        let region = &self.memory.region;
        if let Some(connection) = &mut self.connections[number]
            && connection.broken.is_none()
            && let Err(broken) = connection.end.ping(region)
        {
            connection.fail(broken);
        }
    }
}

/// Where a receive lies.
fn receive_at(wanted: &Wanted, number: usize) -> usize {
    CONNECTIONS_MAX * wanted.slots * wanted.slot_bytes + number * wanted.receive_bytes as usize
}

impl Connection {
    pub(super) fn fail(&mut self, broken: Broken) {
        if self.broken.is_none() {
            self.broken = Some(broken);
            self.end.fail();
        }
    }

    /// Looks at nothing that comes from here on.
    pub(super) fn pause(&mut self) {
        self.paused_until = u64::MAX;
    }

    /// Both streams are through.
    pub(super) fn is_done(&self, expected: u64) -> bool {
        self.incoming.at == expected && self.outgoing.is_done()
    }
}
