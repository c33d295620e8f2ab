//! One client: its session, what it sent that is not parsed, and the answers that wait.
//!
//! ```text
//!   bytes --> [input: an incomplete tail] --> session --> parts
//!   parts that cannot be answered at once --> [queue: Deferred | Asked | Ready] --> output --> transport
//! ```
//!
//! The queue keeps the order of the answers. Everything behind something that waits waits too; nothing waits,
//! and the queue is not touched, as long as keys are this shard's own and the client takes its answers.
//! Deferred parts are begun in their order, so commands of one connection on one key take effect in theirs.

use super::mail::Address;
use super::owned::{Options, OwnedPart, OwnedReply, OwnedWork};
use crate::session::{Once, Output, ReplyKind, Session};
use crate::transport::ConnId;
use std::collections::VecDeque;
use torc_engine::command::{Millis, Op, Refusal, UploadId};

/// A part in the queue.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) part: OwnedPart,
    pub(crate) state: WaitState,
    /// The turn that read it, nanoseconds.
    pub(crate) read_ns: u64,
}

#[derive(Debug)]
pub(crate) enum WaitState {
    /// Not begun: the client does not take its answers, or another shard has no place.
    Deferred,
    /// Begun at so many shards, in the turn that began then.
    Asked { shards: u16, asked_ns: u64 },
    /// Answered, but something before it is not.
    Ready(OwnedReply),
    /// It gets no answer (a slice of a value).
    Silent,
}

/// What became of another shard's answer.
#[derive(Debug)]
pub(crate) enum Delivered {
    /// The part has its answer; the turn that asked for it began then.
    Kept { asked_ns: u64 },
    /// More shards are to answer, or nobody waits for it.
    NotNeeded(OwnedReply),
}

/// A long value that is being received.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) place: UploadPlace,
    pub(crate) op: Op<'static>,
    pub(crate) key: Vec<u8>,
    pub(crate) echo: Vec<u8>,
    pub(crate) once: Option<Once>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum UploadPlace {
    Here(UploadId),
    /// At another shard.
    There(u16),
    /// Its slices are dropped; the answer is this.
    Refused(Refusal),
    Moved {
        slot: u16,
        shard: u16,
        epoch: u64,
    },
}

/// How far a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// Nothing more is parsed; it closes when the answers are sent.
    Finishing(crate::metrics::CloseReason),
    /// The transport has been told.
    Closing,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    /// Counts connections, as CLIENT ID gives it.
    pub(crate) number: u64,
    pub(crate) peer: Box<str>,
    pub(crate) local: Box<str>,
    /// It came by the shard's own port: foreign keys are refused, not forwarded.
    pub(crate) on_shard_port: bool,
    pub(crate) session: Session,
    pub(crate) phase: Phase,
    /// The client will send no more.
    pub(crate) ended: bool,
    /// Received, and not parsed yet.
    pub(crate) input: Vec<u8>,
    /// `input` is not worth parsing before it is this long.
    pub(crate) input_needed: usize,
    pub(crate) output: Output,
    /// A piece is with the transport.
    pub(crate) sending: bool,
    /// In the worker's list of connections to look after at the end of the turn.
    pub(crate) dirty: bool,
    /// The round that parsed it last.
    pub(crate) round: u64,
    pub(crate) queue: VecDeque<Waiting>,
    /// Sequence number of the front of `queue`.
    pub(crate) queue_base: u32,
    /// Entries of `queue` before this place are begun.
    pub(crate) begun: usize,
    /// Entries of `queue` that other shards have been asked for.
    asked: usize,
    /// What the ready answers in `queue` cost.
    ready_bytes: usize,
    /// What another shard's answer cost at most of late.
    answer_bytes_high: usize,
    pub(crate) upload: Option<Upload>,
    /// Slices of a value at another shard that have not come back.
    pub(crate) slices_under_way: usize,
    pub(crate) parked: bool,
    pub(crate) received_at: Millis,
    /// When the transport last took or finished a piece.
    pub(crate) sent_at: Millis,
}

impl Connection {
    pub(crate) fn new(id: ConnId, number: u64, session: Session, now: Millis) -> Connection {
        Connection {
            id,
            number,
            peer: "".into(),
            local: "".into(),
            on_shard_port: false,
            session,
            phase: Phase::Open,
            ended: false,
            input: Vec::new(),
            input_needed: 0,
            output: Output::default(),
            sending: false,
            dirty: false,
            round: 0,
            queue: VecDeque::new(),
            queue_base: 0,
            begun: 0,
            asked: 0,
            ready_bytes: 0,
            answer_bytes_high: 0,
            upload: None,
            slices_under_way: 0,
            parked: false,
            received_at: now,
            sent_at: now,
        }
    }

    /// Whether its bytes may be parsed.
    pub(crate) fn is_parsed(&self) -> bool {
        self.phase == Phase::Open && !self.parked
    }

    /// Puts a part behind all that waits.
    pub(crate) fn enqueue(&mut self, part: OwnedPart, read_ns: u64) {
        self.queue.push_back(Waiting { part, state: WaitState::Deferred, read_ns });
    }

    /// The first part that is not begun, and where its answer goes.
    pub(crate) fn next_deferred(&mut self) -> Option<(Address, &mut Waiting)> {
        let sequence = self.queue_base.wrapping_add(self.begun as u32);
        let address = Address { conn: self.id, sequence };
        self.queue.get_mut(self.begun).map(|waiting| (address, waiting))
    }

    /// Whether another part may be begun: what waits, and what may come of the parts under way, keeps the limit
    /// of waiting answers.
    pub(crate) fn has_room(&self, output_bytes_max: usize) -> bool {
        let expected = self.answer_bytes_high.max(output_bytes_max / ASKED_MAX);
        let waiting = self.output.bytes() + self.ready_bytes + self.asked.saturating_mul(expected);
        waiting <= output_bytes_max
    }

    /// The first part that was not begun is, and this came of it.
    pub(crate) fn begin(&mut self, state: WaitState) {
        match &state {
            WaitState::Ready(reply) => self.ready_bytes += reply.cost(),
            WaitState::Asked { .. } => self.asked += 1,
            WaitState::Deferred | WaitState::Silent => {}
        }
        self.queue[self.begun].state = state;
        self.begun += 1;
    }

    /// Takes another shard's answer to a part.
    pub(crate) fn answered(&mut self, sequence: u32, reply: OwnedReply) -> Delivered {
        let cost = reply.cost();
        let Some(waiting) = self.waiting(sequence) else { return Delivered::NotNeeded(reply) };
        match &mut waiting.state {
            WaitState::Asked { shards, .. } if *shards > 1 => {
                *shards -= 1;
                Delivered::NotNeeded(reply)
            }
            WaitState::Asked { asked_ns, .. } => {
                let asked_ns = *asked_ns;
                waiting.state = WaitState::Ready(reply);
                self.asked -= 1;
                self.ready_bytes += cost;
                let fading = self.answer_bytes_high - self.answer_bytes_high / 8;
                self.answer_bytes_high = cost.max(fading);
                Delivered::Kept { asked_ns }
            }
            WaitState::Deferred | WaitState::Ready(_) | WaitState::Silent => Delivered::NotNeeded(reply),
        }
    }

    /// The part that an answer is for.
    pub(crate) fn waiting(&mut self, sequence: u32) -> Option<&mut Waiting> {
        self.queue.get_mut(sequence.wrapping_sub(self.queue_base) as usize)
    }

    /// Takes the front of the queue if it needs no more waiting.
    pub(crate) fn pop_ready(&mut self) -> Option<Waiting> {
        match &self.queue.front()?.state {
            WaitState::Ready(reply) => self.ready_bytes -= reply.cost(),
            WaitState::Silent => {}
            WaitState::Deferred | WaitState::Asked { .. } => return None,
        }
        self.queue_base = self.queue_base.wrapping_add(1);
        self.begun = self.begun.saturating_sub(1);
        self.queue.pop_front()
    }

    /// What [`super::core::Bug::SwappedAnswers`] does.
    #[cfg(test)]
    pub(crate) fn swap_two_answers(&mut self) {
        let ready = |place: &usize| matches!(self.queue[*place].state, WaitState::Ready(_));
        let places: Vec<usize> = (0..self.queue.len()).filter(ready).take(2).collect();
        if let [first, second] = places[..] {
            let state = std::mem::replace(&mut self.queue[first].state, WaitState::Silent);
            let state = std::mem::replace(&mut self.queue[second].state, state);
            self.queue[first].state = state;
        }
    }

    /// Nothing waits, neither in nor out.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.output.is_empty() && !self.sending && self.slices_under_way == 0
    }
}

/// As many parts of a connection are asked for at most while the limit of waiting answers allows no more: each
/// may be answered with a value as long as an item may be, or lend a longer one.
const ASKED_MAX: usize = 256;

/// Whether the worker has to close after this part.
pub(crate) fn closes(part: &OwnedPart) -> bool {
    matches!(part.work, OwnedWork::Close)
}

/// What the end of a value is: with options behind it or without.
pub(crate) fn end_options(work: OwnedWork) -> Option<Options> {
    match work {
        OwnedWork::ValueEnd(options) => options,
        _ => None,
    }
}

/// Refused protocols are counted.
pub(crate) fn is_protocol_refusal(reply: &ReplyKind) -> bool {
    matches!(reply, ReplyKind::Refused(_))
}

/// The connections of a worker by place.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    // Boxed: a connection is large, and most places of a long table may be empty.
    places: Vec<Option<Box<Connection>>>,
    count: usize,
}

impl Connections {
    pub(crate) fn insert(&mut self, connection: Connection) {
        let index = connection.id.index as usize;
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        let former = self.places[index].replace(Box::new(connection));
        assert!(former.is_none(), "a place is used again only after Closed");
        self.count += 1;
    }

    pub(crate) fn find(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.places.get_mut(id.index as usize)?.as_deref_mut().filter(|connection| connection.id == id)
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Box<Connection>> {
        self.find(id)?;
        self.count -= 1;
        self.places[id.index as usize].take()
    }

    /// Takes a connection out for a while, so that it and the worker can be changed side by side; nothing may
    /// look for it meanwhile, and [`Connections::put`] must follow.
    #[inline]
    pub(crate) fn take(&mut self, id: ConnId) -> Option<Box<Connection>> {
        self.places.get_mut(id.index as usize)?.take_if(|connection| connection.id == id)
    }

    #[inline]
    pub(crate) fn put(&mut self, connection: Box<Connection>) {
        let index = connection.id.index as usize;
        self.places[index] = Some(connection);
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Places, used or not.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn at(&mut self, place: usize) -> Option<&mut Connection> {
        self.places.get_mut(place)?.as_deref_mut()
    }
}
