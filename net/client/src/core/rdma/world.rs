//! A server, its wires and a device, all in memory under a seed, and the driver's part for [`Core`].

use crate::call::{Call, Progress, Reply};
use crate::completion::{self, Answered};
use crate::core::Core;
use crate::core::peer::{Over, State};
use crate::core::rdma::Offer;
use crate::{Config, Error, RdmaUse};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use torc_proto::native::frame::ANSWER_BIT;
use torc_proto::native::pair::{FEATURE_RDMA, PairEnd};
use torc_proto::native::{
    Answer, AnswerHeader, FrameLimits, Hello, HelloAnswer, Op, Options, Request, ShardAddress, SlotRange,
    Status, Topology,
};
use torc_rdma::Cause;

/// How long a queue pair tries to get something through.
const PAIR_PATIENCE: Duration = Duration::from_millis(500);

/// What the server says to a pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Says {
    Yes,
    No,
    Nothing,
    /// Yes, with an end that is none.
    Nonsense,
    /// It ends the connection.
    End,
}

#[derive(Default)]
struct Wire {
    session: u64,
    over_rdma: bool,
    /// In their order; they come when the seed says so.
    answers: VecDeque<Vec<u8>>,
    /// Something was sent since then that does not come through.
    stuck: Option<Instant>,
    /// It was a request: those behind it do not come through, either.
    deaf: bool,
    /// It was sent to in this turn.
    busy: bool,
}

pub(super) struct World {
    pub(super) core: Core,
    pub(super) now: Instant,
    random: u64,
    wires: Vec<Option<Wire>>,
    pub(super) says: Says,
    pub(super) server_has_rdma: bool,
    /// Packets of RDMA come through.
    pub(super) path: bool,
    /// The last answer of a connection comes only when nothing was sent since.
    pub(super) lazy: bool,
    /// What is asked of this key is never answered.
    pub(super) mute: Option<&'static str>,
    pub(super) credit: u32,
    /// Why the device cannot be used.
    pub(super) device: Option<Cause>,
    counters: HashMap<Vec<u8>, u64>,
    done: HashMap<(u64, u64), u64>,
    pub(super) hellos: usize,
    /// By key and number of the call.
    calls: Vec<((Vec<u8>, usize), Answered)>,
    /// By key, in the order in which they were asked for.
    pub(super) answers: HashMap<Vec<u8>, Vec<u64>>,
    pub(super) errors: Vec<Error>,
}

impl World {
    pub(super) fn new(seed: u64, change: impl FnOnce(&mut Config)) -> World {
        let mut config = Config::new("seed:1");
        config.timeout = Duration::from_secs(3600);
        change(&mut config);
        let now = Instant::now();
        World {
            core: Core::new(config, seed, now),
            now,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            wires: Vec::new(),
            says: Says::Yes,
            server_has_rdma: true,
            path: true,
            lazy: false,
            mute: None,
            credit: 16,
            device: None,
            counters: HashMap::new(),
            done: HashMap::new(),
            hellos: 0,
            calls: Vec::new(),
            answers: HashMap::new(),
            errors: Vec::new(),
        }
    }

    /// Below `bound`; Marsaglia's xorshift.
    pub(super) fn random(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 20) % bound
    }

    /// Lets less than so many milliseconds go by.
    pub(super) fn pass(&mut self, milliseconds: u64) {
        let passed = 1 + self.random(milliseconds);
        self.now += Duration::from_millis(passed);
    }

    /// Asks to count `key` up.
    pub(super) fn count(&mut self, key: &str) {
        let (completion, answered) = completion::pair();
        let allowed = Duration::from_secs(3600);
        let call = Call {
            op: Op::Increment,
            flags: 0,
            options: Options::NONE,
            key: key.into(),
            value: 1u64.to_le_bytes().to_vec(),
            due: self.now + allowed,
            allowed,
            tell_deadline: false,
            completion,
            ticket: None,
            progress: Progress::default(),
        };
        let answers = self.answers.entry(key.into()).or_default();
        answers.push(0);
        self.calls.push(((key.into(), answers.len() - 1), answered));
        self.core.submit(vec![Box::new(call)], self.now);
    }

    pub(super) fn open_calls(&self) -> usize {
        self.calls.len()
    }

    /// How often a key was counted up.
    pub(super) fn counted(&self, key: &str) -> u64 {
        self.counters.get(key.as_bytes()).copied().unwrap_or(0)
    }

    pub(super) fn told(&mut self) -> RdmaUse {
        self.core.rdma.has_news = true;
        self.core.rdma_news().expect("there is news")
    }

    pub(super) fn carries(&mut self, index: usize) -> Over {
        self.core.peer_mut(index).over
    }

    /// Runs for so long, a turn each few milliseconds.
    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.turn();
            self.pass(20);
        }
    }

    /// What the driver does in a turn.
    pub(super) fn turn(&mut self) {
        self.core.tick(self.now);
        if self.core.is_rdma_due(self.now) {
            match self.device {
                None => self.core.scout(self.now),
                Some(cause) => self.core.rdma_unavailable(cause, "no device", false, self.now),
            }
        }
        self.wires.resize_with(self.core.peer_count(), || None);
        while let Some((main, scout)) = self.core.next_move(self.now) {
            self.wires.swap(main, scout);
            self.wires[scout] = None;
        }
        for index in 0..self.core.peer_count() {
            self.look_after(index);
        }
        for index in 0..self.wires.len() {
            self.send(index);
        }
        for index in 0..self.wires.len() {
            self.deliver(index);
        }
        self.take_answers();
    }

    fn look_after(&mut self, index: usize) {
        let stuck = self.wires[index].as_ref().and_then(|wire| wire.stuck);
        if stuck.is_some_and(|since| self.now - since > PAIR_PATIENCE) {
            return self.close(index, Some(Cause::NoAnswer));
        }
        let state = self.core.peer_mut(index).state;
        match state {
            State::Wanted => {
                self.wires[index] = Some(Wire::default());
                self.core.connected(index, self.now);
            }
            State::Ready if self.core.is_in_vain(index, self.now) => self.close(index, None),
            _ if self.core.gives_up_at(index).is_some_and(|at| at < self.now) => self.close(index, None),
            _ => {}
        }
    }

    /// Ends a connection; `cause`: why, as far as the client can tell.
    pub(super) fn close(&mut self, index: usize, cause: Option<Cause>) {
        if self.wires.get_mut(index).and_then(Option::take).is_some() {
            self.core.lost(index, "closed", cause, self.now);
        }
    }

    fn send(&mut self, index: usize) {
        let bytes = std::mem::take(&mut self.core.peer_mut(index).out);
        let Some(mut wire) = self.wires[index].take() else { return };
        wire.busy = !bytes.is_empty();
        if bytes.is_empty() {
            self.wires[index] = Some(wire);
            return;
        }
        // If nothing comes through, either the requests do not, or their answers.
        let lost = wire.over_rdma && (!self.path || wire.stuck.is_some());
        wire.deaf |= lost && self.random(2) == 0;
        if !wire.deaf {
            self.serve(&mut wire, index, &bytes);
        }
        if lost {
            wire.answers.clear();
            wire.stuck = wire.stuck.or(Some(self.now));
        }
        self.wires[index] = Some(wire);
    }

    fn serve(&mut self, wire: &mut Wire, index: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (request, consumed) =
                Request::parse(bytes, &FrameLimits { value_bytes_max: 4096 }).expect("whole frames");
            bytes = &bytes[consumed..];
            if let Some((status, value)) = self.answer(wire, index, &request) {
                wire.answers.push_back(frame(&request, status, &value));
            }
        }
    }

    fn answer(&mut self, wire: &mut Wire, index: usize, request: &Request<'_>) -> Option<(Status, Vec<u8>)> {
        let mut value = Vec::new();
        match Op::from_wire(request.header.op).expect("a client sends what it knows") {
            Op::Hello => {
                let hello = Hello::parse(request.value).expect("a hello");
                (wire.session, self.hellos) = (hello.session, self.hellos + 1);
                let has_rdma = self.server_has_rdma && hello.features & FEATURE_RDMA != 0;
                let features = if has_rdma { FEATURE_RDMA } else { 0 };
                let answer = HelloAnswer {
                    version: 1,
                    features,
                    credit: self.credit,
                    boot_id: 7,
                    key_bytes_max: 250,
                    ..HelloAnswer::default()
                };
                answer.compose(&mut value);
            }
            Op::Topology => topology().compose(&mut value),
            // [N-RDMA-2]
            Op::Pair if !wire.answers.is_empty() => panic!("something before it is unanswered"),
            Op::Pair => match self.says {
                Says::Yes => PairEnd { number: index as u32, ..PairEnd::default() }.compose(&mut value),
                Says::No => return Some((Status::Busy, b"rdma_pairs".to_vec())),
                Says::Nothing => return None,
                Says::Nonsense => value = b"?".to_vec(),
                Says::End => wire.stuck = Some(self.now - 2 * PAIR_PATIENCE),
            },
            Op::Increment if self.mute.is_some_and(|key| key.as_bytes() == request.key) => return None,
            Op::Increment => {
                let options = Options::parse(request.extensions).expect("ours");
                let number = options.change.expect("a session").number;
                let counter = self.counters.entry(request.key.to_vec()).or_default();
                let count = *self.done.entry((wire.session, number)).or_insert_with(|| {
                    *counter += 1;
                    *counter
                });
                value = count.to_le_bytes().to_vec();
            }
            other => panic!("{other:?} was not expected"),
        }
        Some((Status::Ok, value))
    }

    fn deliver(&mut self, index: usize) {
        while self.random(3) > 0 {
            let Some(Some(wire)) = self.wires.get_mut(index) else { return };
            if wire.stuck.is_some() || (self.lazy && wire.busy && wire.answers.len() < 2) {
                return;
            }
            let Some(bytes) = wire.answers.pop_front() else { return };
            if self.core.received(index, &bytes, self.now).is_err() {
                return self.close(index, None);
            }
            self.follow(index);
        }
    }

    fn follow(&mut self, index: usize) {
        while let Some(offer) = self.core.offer(index) {
            assert_eq!(offer, Offer::Rdma);
            match self.device {
                None => self.core.pair(index, &PairEnd::default(), self.now),
                Some(cause) => {
                    if self.core.not_paired(index, (cause, "no device"), self.now).is_err() {
                        return self.close(index, None);
                    }
                }
            }
        }
        if self.core.take_pair(index).is_some() {
            let wire = self.wires[index].as_mut().expect("it has just answered");
            wire.over_rdma = true;
            wire.answers.clear();
            self.core.moved(index, Over::Rdma, self.now);
        }
    }

    fn take_answers(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        for ((key, number), mut answered) in std::mem::take(&mut self.calls) {
            match Pin::new(&mut answered).poll(&mut context) {
                Poll::Pending => self.calls.push(((key, number), answered)),
                Poll::Ready(Ok(Reply { value, .. })) => {
                    let count = u64::from_le_bytes(value.try_into().expect("8 bytes"));
                    self.answers.entry(key).or_default()[number] = count;
                }
                Poll::Ready(Err(error)) => self.errors.push(error),
            }
        }
    }
}

/// Two shards with ports of their own.
fn topology() -> Topology {
    let range = |shard: u16| SlotRange { first: shard * 8192, last: shard * 8192 + 8191, shard };
    let address = |shard: u16| ShardAddress { shard, port: 2 + shard, host: "shard".into() };
    Topology { epoch: 1, boot_id: 7, ranges: vec![range(0), range(1)], shards: vec![address(0), address(1)] }
}

fn frame(request: &Request<'_>, status: Status, value: &[u8]) -> Vec<u8> {
    let header = AnswerHeader {
        op: request.header.op & !ANSWER_BIT,
        status: status as u8,
        id: request.header.id,
        ..AnswerHeader::default()
    };
    let mut bytes = Vec::new();
    Answer { header, extensions: &[], key: &[], value }.compose(&mut bytes).expect("short");
    bytes
}
