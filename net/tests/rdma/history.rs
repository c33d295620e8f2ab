//! Reads of a client's own while others change what it reads: what each key has been, one state after the other, and a reader whose every
//! answer is one that its key had while it was read.

use crate::reads::{get, versioned};
use crate::wire::{Devices, PATIENCE, Wire, address, local};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use torc_net::server::Server;
use torc_proto::native::{Op, Status};
use torc_proto::resp::compose;
use torc_proto::resp::reply::{Parsed, parse};
use torc_rdma::Local;
use torc_rdma::connect::first;
use torc_rdma::reads::{ReadCounts, ReadEnd};
use torc_rdma::verbs::device::Device;

/// The versions that keys had, `None` while there was nothing under one.
pub(crate) struct History {
    states: Vec<Mutex<Vec<Option<u64>>>>,
    /// Of each key, the last state that was answered.
    done: Vec<AtomicUsize>,
    version: AtomicUsize,
}

impl History {
    /// Of so many keys, under which there is nothing.
    pub(crate) fn new(keys: usize) -> History {
        History {
            states: (0..keys).map(|_| Mutex::new(vec![None])).collect(),
            done: (0..keys).map(|_| AtomicUsize::new(0)).collect(),
            version: AtomicUsize::new(0),
        }
    }

    pub(crate) fn keys(&self) -> usize {
        self.states.len()
    }

    pub(crate) fn name(key: usize) -> String {
        format!("key:{key}")
    }

    /// A version that no key had.
    pub(crate) fn draw(&self) -> u64 {
        self.version.fetch_add(1, Ordering::Relaxed) as u64
    }

    /// Does what changes these keys; `change` returns when it was answered.
    pub(crate) fn change<R>(
        &self,
        keys: impl Iterator<Item = (usize, Option<u64>)>,
        change: impl FnOnce() -> R,
    ) -> R {
        let begun: Vec<(usize, usize)> = keys
            .map(|(key, state)| {
                let mut states = self.states[key].lock().expect("nobody has panicked");
                states.push(state);
                (key, states.len() - 1)
            })
            .collect();
        let result = change();
        begun.iter().for_each(|(key, state)| self.done[*key].store(*state, Ordering::SeqCst));
        result
    }

    /// Those that are there are gone.
    pub(crate) fn clear<R>(&self, change: impl FnOnce() -> R) -> R {
        self.change((0..self.keys()).map(|key| (key, None)), change)
    }

    /// A read of a key begins: what is answered from now on is seen by it.
    fn begin(&self, key: usize) -> usize {
        self.done[key].load(Ordering::SeqCst)
    }

    /// What was found by a read that began then.
    #[track_caller]
    fn check(&self, key: usize, begun: usize, found: Option<&[u8]>, may_be_missing: bool) {
        let version = found.map(|value| {
            let version = u64::from_le_bytes(value[..8].try_into().expect("8 bytes"));
            assert!(value == versioned(version), "key {key}: torn");
            version
        });
        let states = &self.states[key].lock().expect("nobody has panicked")[begun..];
        let may_be = states.contains(&version) || may_be_missing && version.is_none();
        assert!(may_be, "key {key}: {version:?} is none of {states:?}");
    }
}

/// A connection of a client over TCP.
pub(crate) struct Redis(TcpStream, Vec<u8>);

impl Redis {
    pub(crate) fn new(server: &Server) -> Redis {
        let socket = TcpStream::connect(address(server)).expect("it accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("it can");
        socket.set_nodelay(true).expect("it can");
        Redis(socket, Vec::new())
    }

    /// Sends requests together, and waits for their answers; none may be an error but for want of memory.
    pub(crate) fn all(&mut self, requests: &[Vec<Vec<u8>>]) {
        let mut bytes = Vec::new();
        requests.iter().for_each(|words| compose::request(&mut bytes, words));
        self.0.write_all(&bytes).expect("sent");
        for _ in requests {
            let taken = loop {
                match parse(&self.1) {
                    Parsed::Complete { consumed, .. } => break consumed,
                    Parsed::Incomplete => {}
                    Parsed::Invalid(invalid) => panic!("no answer: {invalid:?}"),
                }
                let mut more = [0; 16 << 10];
                let count = crate::wire::read(&mut self.0, &mut more).expect("an answer");
                assert!(count > 0, "closed");
                self.1.extend_from_slice(&more[..count]);
            };
            let answer = &self.1[..taken];
            assert!(!answer.starts_with(b"-"), "{}", String::from_utf8_lossy(answer));
            self.1.drain(..taken);
        }
    }

    pub(crate) fn ask(&mut self, words: &[&str]) {
        self.all(&[words.iter().map(|word| word.as_bytes().to_vec()).collect()]);
    }

    /// As memcached's clients do: a line, which is done.
    pub(crate) fn line(&mut self, line: &str) {
        self.0.write_all(format!("{line}\r\n").as_bytes()).expect("sent");
        let mut answer = [0; 4];
        self.0.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"OK\r\n");
    }

    pub(crate) fn set(&mut self, key: usize, version: u64) {
        self.all(&[vec![b"SET".to_vec(), History::name(key).into_bytes(), versioned(version)]]);
    }
}

/// A client that reads by itself, and asks in doubt.
pub(crate) struct Reader<'l> {
    local: &'l Local,
    pub(crate) wire: Wire,
    pub(crate) end: ReadEnd<Device>,
    past: ReadCounts,
    /// Queue pairs that were of no use any more.
    pub(crate) broken: usize,
}

impl<'l> Reader<'l> {
    pub(crate) fn new(server: &Server, local: &'l Local) -> Reader<'l> {
        let mut wire = Wire::new(server, local);
        let mut end = new_end(local);
        wire.ask_reads(&mut end);
        Reader { local, wire, end, past: ReadCounts::default(), broken: 0 }
    }

    /// Asks for a lease when it is time for it, by another queue pair if this one is of no use.
    pub(crate) fn look_after(&mut self) {
        if self.end.is_broken() {
            self.past = self.past.plus(&self.end.counts());
            self.end = new_end(self.local);
            self.broken += 1;
        }
        if Instant::now() >= self.end.asks_at() {
            self.wire.ask_reads(&mut self.end);
        }
    }

    /// What is under a key: read, or asked for in doubt.
    pub(crate) fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.look_after();
        if let Ok(found) = get(&mut self.end, key) {
            return found;
        }
        self.wire.ask(Op::Get, key, b"");
        let (_, status, value) = self.wire.answer();
        match status {
            status if status == Status::Ok as u8 => Some(value),
            status => {
                assert_eq!(status, Status::Miss as u8);
                None
            }
        }
    }

    /// What its reads came to.
    pub(crate) fn counts(&self) -> ReadCounts {
        self.past.plus(&self.end.counts())
    }
}

fn new_end(local: &Local) -> ReadEnd<Device> {
    ReadEnd::new(&local.device, &local.domain, &local.place, first()).expect("an end")
}

/// Reads all keys again and again while `write` changes them on a thread of its own, round by round.
pub(crate) fn read_while(
    (server, devices): (&Server, &Devices),
    lasts: Duration,
    (history, may_be_missing): (&History, bool),
    mut write: impl FnMut(usize) + Send,
) -> (ReadCounts, usize) {
    let local = local(devices);
    let mut reader = Reader::new(server, &local);
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = crate::link::StopAtEnd(&ends);
        let writer = scope.spawn(|| {
            let mut round = 0;
            while !ends.load(Ordering::Relaxed) {
                write(round);
                round += 1;
            }
            round
        });
        let until = Instant::now() + lasts;
        let mut reads = 0;
        while Instant::now() < until && !writer.is_finished() {
            let key = reads % history.keys();
            let begun = history.begin(key);
            let found = reader.get(History::name(key).as_bytes());
            history.check(key, begun, found.as_deref(), may_be_missing);
            reads += 1;
        }
        ends.store(true, Ordering::Relaxed);
        let rounds = writer.join().expect("the writer goes on");
        let counts = reader.counts();
        let causes: Vec<_> = counts.causes().collect();
        let ReadCounts { hits, misses, .. } = counts;
        println!(
            "{reads} reads, {hits} hits, {misses} misses, {causes:?}, {rounds} rounds, {} broken",
            reader.broken
        );
    });
    (reader.counts(), reader.broken)
}
