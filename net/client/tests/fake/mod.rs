//! A server in a few threads, over the codec: a map, a record of what it was asked, and misbehaviour on demand.
#![allow(dead_code, reason = "every test binary uses another part")]

use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use torc_proto::native::frame::ANSWER_BIT;
use torc_proto::native::topology::WrongOwner;
use torc_proto::native::{
    Answer, AnswerHeader, Change, FrameLimits, Hello, HelloAnswer, Keys, Op, Options, Request, ShardAddress,
    SlotRange, Status, Topology,
};
use torc_proto::slot::slot_of;

const LIMITS: FrameLimits = FrameLimits { value_bytes_max: 64 << 20 };

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Action {
    Serve,
    /// Executed, and the connection closed without the answer.
    CloseAfter,
    /// Not executed, and the connection closed.
    CloseBefore,
    /// Neither executed nor answered.
    Ignore,
    /// Executed; the answer is sent behind that of the next request.
    Later,
    /// Not executed; this status is answered.
    Say(Status),
    /// The slot is another shard's, by the map of this epoch.
    WrongOwner {
        shard: u16,
        epoch: u64,
    },
    /// Bytes that are no frame.
    Garbage,
}

/// One request as it was seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) shard: u16,
    pub(crate) op: Op,
    pub(crate) key: Vec<u8>,
    pub(crate) change: Option<Change>,
    pub(crate) deadline_us: Option<u32>,
    pub(crate) keys: usize,
}

type Behaviour = Box<dyn FnMut(&Seen) -> Action + Send>;

pub(crate) struct State {
    pub(crate) store: HashMap<Vec<u8>, Vec<u8>>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) hellos: Vec<Hello>,
    pub(crate) boot_id: u64,
    pub(crate) epoch: u64,
    pub(crate) credit: u32,
    /// What its hello says that it can.
    pub(crate) features: u32,
    /// How often each key was changed.
    pub(crate) changes: HashMap<Vec<u8>, usize>,
    /// Session and number of the changes done.
    done: HashSet<(u64, u64)>,
    behaviour: Behaviour,
    shards: Vec<SocketAddr>,
    connections: Vec<TcpStream>,
}

/// A server of one or more shards; shard 0's port is the common one.
#[derive(Clone)]
pub(crate) struct Fake(Arc<Mutex<State>>);

impl Fake {
    pub(crate) fn start(shards: usize) -> Fake {
        let listeners: Vec<_> =
            (0..shards.max(1)).map(|_| TcpListener::bind("127.0.0.1:0").expect("a loopback port")).collect();
        let fake = Fake(Arc::new(Mutex::new(State {
            store: HashMap::new(),
            seen: Vec::new(),
            hellos: Vec::new(),
            boot_id: 1,
            epoch: 1,
            credit: 256,
            features: 0,
            changes: HashMap::new(),
            done: HashSet::new(),
            behaviour: Box::new(|_| Action::Serve),
            shards: listeners.iter().map(|listener| listener.local_addr().expect("bound")).collect(),
            connections: Vec::new(),
        })));
        for (shard, listener) in listeners.into_iter().enumerate() {
            let fake = fake.clone();
            std::thread::spawn(move || fake.accept(shard as u16, &listener));
        }
        fake
    }

    pub(crate) fn address(&self) -> String {
        self.lock().shards[0].to_string()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test thread panics under the lock")
    }

    /// Replaces what becomes of requests that are about items.
    pub(crate) fn behave(&self, behaviour: impl FnMut(&Seen) -> Action + Send + 'static) {
        self.lock().behaviour = Box::new(behaviour);
    }

    /// Tells clients of a port for the last shard on which nobody listens.
    pub(crate) fn hide_last_shard(&self) {
        let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        if let (Some(last), Ok(closed)) = (self.lock().shards.last_mut(), closed) {
            *last = closed;
        }
    }

    /// Like a restart: everything forgotten, all connections closed, another boot id.
    pub(crate) fn restart(&self) {
        let mut state = self.lock();
        state.boot_id += 1;
        state.done.clear();
        state.store.clear();
        for connection in state.connections.drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }

    pub(crate) fn seen(&self, op: Op) -> Vec<Seen> {
        self.lock().seen.iter().filter(|seen| seen.op == op).cloned().collect()
    }

    fn accept(&self, shard: u16, listener: &TcpListener) {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            // Answers are written one by one.
            let _ = stream.set_nodelay(true);
            self.lock().connections.push(stream.try_clone().expect("a descriptor"));
            let fake = self.clone();
            std::thread::spawn(move || {
                fake.serve(shard, &stream);
                // A clone of it is kept for `restart`, so dropping it alone would not close it.
                let _ = stream.shutdown(std::net::Shutdown::Both);
            });
        }
    }

    fn serve(&self, shard: u16, mut stream: &TcpStream) {
        let mut input = Vec::new();
        let mut buffer = [0; 4096];
        let mut session = 0;
        let mut later = Vec::new();
        loop {
            while let Ok((request, consumed)) = Request::parse(&input, &LIMITS) {
                let Some(bytes) = self.lock().answer(shard, &request, &mut session, &mut later) else {
                    return;
                };
                input.drain(..consumed);
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
            match stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
                Ok(count) => input.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

impl State {
    /// The bytes to send; `None` closes the connection.
    fn answer(
        &mut self,
        shard: u16,
        request: &Request<'_>,
        session: &mut u64,
        later: &mut Vec<u8>,
    ) -> Option<Vec<u8>> {
        let op = Op::from_wire(request.header.op).expect("a client sends what it knows");
        let mut value = Vec::new();
        match op {
            Op::Hello => {
                let hello = Hello::parse(request.value).expect("a hello");
                self.hellos.push(hello);
                *session = hello.session;
                HelloAnswer {
                    version: 1,
                    shard,
                    shard_count: self.shards.len() as u16,
                    credit: self.credit,
                    features: self.features,
                    session: hello.session,
                    boot_id: self.boot_id,
                    epoch: self.epoch,
                    key_bytes_max: 250,
                    frame_bytes_max: 65_536,
                    value_bytes_max: 64 << 20,
                    ..HelloAnswer::default()
                }
                .compose(&mut value);
                return Some(frame(request, Status::Ok, &value));
            }
            Op::Topology => {
                self.map().compose(&mut value);
                return Some(frame(request, Status::Ok, &value));
            }
            Op::Pair => return Some(frame(request, Status::Busy, b"rdma-clients")),
            Op::MultiGet => return Some(self.multi_get(shard, request)),
            _ => {}
        }
        let options = Options::parse(request.extensions).expect("extensions of ours");
        let seen = Seen {
            shard,
            op,
            key: request.key.to_vec(),
            change: options.change,
            deadline_us: options.deadline_us,
            keys: 1,
        };
        self.seen.push(seen.clone());
        let action = (self.behaviour)(&seen);
        let first = options.change.is_none_or(|change| self.done.insert((*session, change.number)));
        match action {
            Action::Ignore | Action::CloseBefore | Action::WrongOwner { .. } | Action::Say(_) => {
                if let (true, Some(change)) = (first, options.change) {
                    self.done.remove(&(*session, change.number));
                }
            }
            _ => {}
        }
        let mut bytes = match action {
            Action::Serve => frame_of(request, self.execute(op, request, first)),
            Action::CloseAfter => {
                self.execute(op, request, first);
                return None;
            }
            Action::CloseBefore => return None,
            Action::Ignore => Vec::new(),
            Action::Later => {
                let answer = frame_of(request, self.execute(op, request, first));
                later.extend(answer);
                return Some(Vec::new());
            }
            Action::Say(status) => frame(request, status, b"words"),
            Action::WrongOwner { shard, epoch } => {
                WrongOwner { slot: slot_of(request.key), shard, epoch }.compose(&mut value);
                frame(request, Status::WrongOwner, &value)
            }
            Action::Garbage => b"-ERR this is not the native protocol\r\n".to_vec(),
        };
        bytes.append(later);
        Some(bytes)
    }

    fn multi_get(&mut self, shard: u16, request: &Request<'_>) -> Vec<u8> {
        let (keys, count) = Keys::parse(request.value, 1024).expect("keys");
        self.seen.push(Seen {
            shard,
            op: Op::MultiGet,
            key: Vec::new(),
            change: None,
            deadline_us: None,
            keys: count,
        });
        let mut bytes = Vec::new();
        for (index, key) in keys.enumerate() {
            let id = request.header.id.wrapping_add(index as u32);
            let (status, value) = match self.store.get(key) {
                Some(value) => (Status::Ok, value.clone()),
                None => (Status::Miss, Vec::new()),
            };
            bytes.extend(with_id(request, id, status, &value));
        }
        bytes
    }

    fn execute(&mut self, op: Op, request: &Request<'_>, first: bool) -> (Status, Vec<u8>) {
        let key = request.key.to_vec();
        if op.is_change() && !first {
            return (Status::Ok, self.counter(&key));
        }
        if op.is_change() {
            *self.changes.entry(key.clone()).or_default() += 1;
        }
        match op {
            Op::Get => match self.store.get(&key) {
                Some(value) => (Status::Ok, value.clone()),
                None => (Status::Miss, Vec::new()),
            },
            Op::Set => {
                self.store.insert(key, request.value.to_vec());
                (Status::Ok, Vec::new())
            }
            Op::Delete if self.store.remove(&key).is_none() => (Status::Miss, Vec::new()),
            Op::Increment => (Status::Ok, self.counter(&key)),
            Op::Statistics => (Status::Ok, b"items 3\nversion 0.1.0\n".to_vec()),
            _ => (Status::Ok, Vec::new()),
        }
    }

    /// A counter is how often its key was changed.
    fn counter(&self, key: &[u8]) -> Vec<u8> {
        (self.changes.get(key).copied().unwrap_or(0) as u64).to_le_bytes().to_vec()
    }

    fn map(&self) -> Topology {
        let count = self.shards.len() as u16;
        let width = 16_384 / count;
        let last = |shard: u16| if shard + 1 == count { 16_383 } else { (shard + 1) * width - 1 };
        let ranges = (0..count)
            .map(|shard| SlotRange {
                first: shard * width,
                last: last(shard),
                // Each epoch moves every slot on by one shard.
                shard: ((u64::from(shard) + self.epoch - 1) % u64::from(count)) as u16,
            })
            .collect();
        let shards = self
            .shards
            .iter()
            .enumerate()
            .map(|(shard, address)| ShardAddress {
                shard: shard as u16,
                port: address.port(),
                host: if shard == 0 { String::new() } else { "127.0.0.1".into() },
            })
            .collect();
        Topology { epoch: self.epoch, boot_id: self.boot_id, ranges, shards }
    }
}

fn frame(request: &Request<'_>, status: Status, value: &[u8]) -> Vec<u8> {
    with_id(request, request.header.id, status, value)
}

fn frame_of(request: &Request<'_>, (status, value): (Status, Vec<u8>)) -> Vec<u8> {
    frame(request, status, &value)
}

fn with_id(request: &Request<'_>, id: u32, status: Status, value: &[u8]) -> Vec<u8> {
    let header = AnswerHeader {
        op: request.header.op & !ANSWER_BIT,
        status: status as u8,
        id,
        token: u64::from(id),
        ..AnswerHeader::default()
    };
    let mut bytes = Vec::new();
    Answer { header, extensions: &[], key: &[], value }.compose(&mut bytes).expect("short");
    bytes
}
