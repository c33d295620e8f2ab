//! What shards say to each other, in batches.
//!
//! ```text
//!   asker                                             owner
//!   ask, ask, ask -> [ batch ] ------ asks ---------> executed in the same stages as a client's requests
//!   composed      <- [ batch ] <----- answers ------- each answer written beside its request
//! ```
//!
//! A [`Batch`] travels to the owner of the keys and comes back with the answers in it: what the asker needs to compose
//! an answer (the key, what the client wants repeated) is still in there, and no memory flows from one shard to another.
//!
//! A shard has at most [`Lane::batches_max`] batches on the way to another one, and both rings between the two are that
//! long. So neither a batch nor an answer ever waits for room in a ring, and two shards that flood each other cannot
//! deadlock. A connection that finds no place waits in the lane's line; as many of them go on, in their order, as there
//! are places again. So the cost of a request is the same however many wait.
//!
//! Notes (lent bytes that go home, uploads whose client is gone) need no answer. They travel with the next batch in
//! either direction.

use super::owned::{Options, OwnedAnswer, strip_op};
use crate::session::{Deadline, FreeReply, Once};
use crate::transport::{ConnId, Waker};
use std::collections::VecDeque;
use std::sync::Arc;
use torc_engine::command::{Millis, Op};
use torc_engine::runtime::mailbox::{self, Doorbell, Receiver, Sender};
use torc_engine::segments::{Lent, LentChain};

/// Requests in a batch, at most.
pub(crate) const BATCH_ASKS: usize = 256;
/// Bytes of keys and values in a batch; one request may be longer.
const BATCH_BYTES: usize = 64 << 10;
/// Bytes that the answers of a batch may take together; one may take more.
const BATCH_ROOM: usize = 256 << 10;
/// Batches of one shard that may be on the way to all others together, at the most and at the least to each of them.
const BATCHES: usize = 64;
const BATCHES_PER_LANE: std::ops::RangeInclusive<usize> = 2..=16;
/// Places that must be there for a connection to go on, which may use more or fewer of them.
pub(crate) const RESUME_PLACES: usize = 64;
/// A batch that comes home with more memory than this gives it back.
const BATCH_BYTES_KEPT: usize = 512 << 10;

/// Where an answer goes: a place in a connection's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) conn: ConnId,
    pub(crate) sequence: u32,
}

/// A request; its bytes lie in its [`Batch`].
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) from: Address,
    pub(crate) what: AskWhat<'a>,
    pub(crate) once: Option<Once>,
    /// How the owner writes the answer.
    pub(crate) reply: Option<FreeReply>,
    /// Of the answer's words.
    pub(crate) tag: u32,
    /// Of the key, if it is a keyed command.
    pub(crate) hash: u64,
    /// Not begun after it.
    pub(crate) deadline: Deadline,
    /// Bytes that were set aside for the value of its answer.
    pub(crate) room: u32,
}

/// What is asked, where it is.
#[derive(Debug)]
pub(crate) enum AskWhat<'a> {
    Keyed(&'a Op<'a>),
    Other(What),
}

impl Ask<'_> {
    /// A request without number and deadline, whose answer has no value.
    pub(crate) fn plain(from: Address, what: What) -> Ask<'static> {
        let what = AskWhat::Other(what);
        Ask { from, what, once: None, reply: None, tag: 0, hash: 0, deadline: Deadline::NONE, room: 0 }
    }
}

/// What is asked, apart from key and value: the same for most requests of a client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Kind {
    pub(crate) what: What,
    pub(crate) once: Option<Once>,
    /// How the owner writes the answer. Without it the asker does, or if the answer has lent bytes.
    pub(crate) reply: Option<FreeReply>,
}

impl Kind {
    fn of(ask: &Ask<'_>) -> Kind {
        let what = match ask.what {
            AskWhat::Keyed(op) => What::Keyed(strip_op(*op)),
            AskWhat::Other(what) => what,
        };
        Kind { what, once: ask.once, reply: ask.reply }
    }

    fn is_of(&self, ask: &Ask<'_>) -> bool {
        let same = match (&self.what, &ask.what) {
            // Reads, which are most, are compared where they are.
            (What::Keyed(Op::Read(own)), AskWhat::Keyed(Op::Read(read))) => own == read,
            (What::Keyed(own), AskWhat::Keyed(op)) => *own == strip_op(**op),
            (own, AskWhat::Other(what)) => own == what,
            _ => false,
        };
        same && self.once == ask.once && self.reply == ask.reply
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum What {
    Keyed(Op<'static>),
    UploadBegin { op: Op<'static>, bytes: u64 },
    UploadData,
    UploadEnd(Option<Options>),
    UploadAbort,
    Flush { at: Option<Millis> },
    Scan { cursor: u64, count: u32 },
}

/// Something that needs no answer.
#[derive(Debug)]
pub(crate) enum Note {
    /// Lent bytes come home.
    Release(Lent),
    /// The client is gone; a value that it was sending is not to be waited for.
    Forget(ConnId),
}

/// The bytes of a request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AskBytes<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    /// What the answer repeats: only the asker looks at it.
    pub(crate) echo: &'a [u8],
}

/// A request in its batch. Small, as it goes from one core's cache to another's and back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posted {
    pub(crate) hash: u64,
    pub(crate) from: Address,
    pub(crate) deadline: Deadline,
    pub(crate) tag: u32,
    /// Number of its kind.
    kind: u32,
    /// Where its bytes end, from the start of the batch's.
    key_end: u32,
    value_end: u32,
    echo_end: u32,
}

/// The answer to a request, in the same batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) with: AnsweredWith,
    /// Where its bytes end in the batch's answer bytes.
    pub(crate) end: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnsweredWith {
    /// No answer (to a slice of a value).
    Nothing,
    /// The bytes are the answer as the client gets it.
    Words,
    /// The next of the batch's owned answers; the bytes are its value.
    Owned,
}

/// An answer that the asker writes, and its value if that is lent, in place of bytes.
pub(crate) type OwnedAnswered = (OwnedAnswer, Option<Box<LentChain>>);

/// Requests of one shard to another, and then their answers.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) asks: Vec<Posted>,
    /// Of the requests; neighbours of one kind share it.
    kinds: Vec<Kind>,
    bytes: Vec<u8>,
    room: usize,
    pub(crate) answers: Vec<Answered>,
    /// In the order of the answers that are not words.
    pub(crate) owned: Vec<OwnedAnswered>,
    pub(crate) answer_bytes: Vec<u8>,
    pub(crate) notes: Vec<Note>,
    /// Memory that it took when it was sent. What answers add is charged to those who asked.
    sent_bytes: usize,
}

impl Batch {
    /// Whether one more request may be added; the first one always may.
    fn takes(&self, bytes: usize, room: usize) -> bool {
        self.asks.is_empty()
            || (self.asks.len() < BATCH_ASKS
                && self.bytes.len() + bytes <= BATCH_BYTES
                && self.room + room <= BATCH_ROOM)
    }

    fn add(&mut self, ask: &Ask<'_>, bytes: AskBytes<'_>) {
        self.room += ask.room as usize;
        // Two are looked at, as many clients read and write in turn.
        let near = self.kinds.iter().rev().take(2).position(|kind| kind.is_of(ask));
        let kind = match near {
            Some(back) => self.kinds.len() - 1 - back,
            None => {
                self.kinds.push(Kind::of(ask));
                self.kinds.len() - 1
            }
        };
        let AskBytes { key, value, echo } = bytes;
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(echo);
        let echo_end = self.bytes.len() as u32;
        let value_end = echo_end - echo.len() as u32;
        self.asks.push(Posted {
            hash: ask.hash,
            from: ask.from,
            deadline: ask.deadline,
            tag: ask.tag,
            kind: kind as u32,
            key_end: value_end - value.len() as u32,
            value_end,
            echo_end,
        });
    }

    /// What a request is, by its number.
    #[inline]
    pub(crate) fn kind_of(&self, number: usize) -> &Kind {
        &self.kinds[self.asks[number].kind as usize]
    }

    /// The bytes of a request by its number.
    #[inline]
    pub(crate) fn bytes_of(&self, number: usize) -> AskBytes<'_> {
        let start = number.checked_sub(1).map_or(0, |before| self.asks[before].echo_end) as usize;
        let Posted { key_end, value_end, echo_end, .. } = self.asks[number];
        let (key_end, value_end, echo_end) = (key_end as usize, value_end as usize, echo_end as usize);
        AskBytes {
            key: &self.bytes[start..key_end],
            value: &self.bytes[key_end..value_end],
            echo: &self.bytes[value_end..echo_end],
        }
    }

    /// A batch of one request.
    #[cfg(test)]
    pub(crate) fn of(ask: Ask<'_>, bytes: AskBytes<'_>) -> Batch {
        let mut batch = Batch::default();
        batch.add(&ask, bytes);
        batch
    }

    /// Answers the next request; of what is not words, `owned`.
    pub(crate) fn answered(&mut self, with: AnsweredWith, owned: Option<OwnedAnswered>) {
        self.owned.extend(owned);
        self.answers.push(Answered { with, end: self.answer_bytes.len() as u32 });
    }

    fn is_empty(&self) -> bool {
        self.asks.is_empty() && self.notes.is_empty()
    }

    /// Memory that it takes.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
            + self.answer_bytes.capacity()
            + self.asks.capacity() * size_of::<Posted>()
            + self.kinds.capacity() * size_of::<Kind>()
            + self.answers.capacity() * size_of::<Answered>()
            + self.owned.capacity() * size_of::<OwnedAnswered>()
            + self.notes.capacity() * size_of::<Note>()
    }

    fn clear(&mut self) {
        if self.capacity() > BATCH_BYTES_KEPT {
            *self = Batch::default();
            return;
        }
        self.asks.clear();
        self.kinds.clear();
        self.bytes.clear();
        self.room = 0;
        self.answers.clear();
        self.owned.clear();
        self.answer_bytes.clear();
        self.notes.clear();
    }
}

/// One shard's way to another.
pub(crate) struct Lane {
    asks_out: Sender<Box<Batch>>,
    asks_in: Receiver<Box<Batch>>,
    answers_out: Sender<Box<Batch>>,
    answers_in: Receiver<Box<Batch>>,
    batches_max: usize,
    /// Batches that the other shard has, and their memory.
    under_way: usize,
    bytes_under_way: usize,
    /// Requests in them.
    asks_under_way: usize,
    /// The batch that is being filled.
    open: Box<Batch>,
    // Boxed as they travel: a batch is taken out and sent without being moved.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Batch>>,
    /// Notes for the next batch, in either direction.
    notes: Vec<Note>,
    /// Connections that wait for a place, in their order.
    line: VecDeque<ConnId>,
    bell: Arc<Doorbell>,
}

impl Lane {
    /// Sends a request with the next batch. False: there is no place for it now.
    pub(crate) fn ask(&mut self, ask: &Ask<'_>, bytes: AskBytes<'_>) -> bool {
        let length = bytes.key.len() + bytes.value.len() + bytes.echo.len();
        if !self.open.takes(length, ask.room as usize) {
            self.send();
        }
        if self.under_way >= self.batches_max || !self.open.takes(length, ask.room as usize) {
            return false;
        }
        self.open.add(ask, bytes);
        true
    }

    /// Requests that can be taken now, if they are short.
    pub(crate) fn places(&self) -> usize {
        let left = self.batches_max - self.under_way;
        (left * BATCH_ASKS).saturating_sub(self.open.asks.len())
    }

    /// Hands the open batch to the ring, if it may go.
    fn send(&mut self) {
        if self.under_way >= self.batches_max {
            return;
        }
        self.open.notes.append(&mut self.notes);
        if self.open.is_empty() {
            return;
        }
        let next = self.spare.pop().unwrap_or_default();
        let mut batch = std::mem::replace(&mut self.open, next);
        batch.sent_bytes = batch.capacity();
        let (asks, bytes) = (batch.asks.len(), batch.sent_bytes);
        match self.asks_out.send(batch) {
            Ok(()) => {
                self.under_way += 1;
                self.bytes_under_way += bytes;
                self.asks_under_way += asks;
            }
            // As many fit as may be under way; if not, the batch goes with the next call.
            Err(batch) => self.spare.push(std::mem::replace(&mut self.open, batch)),
        }
    }

    /// Lets a connection wait for a place.
    pub(crate) fn wait(&mut self, conn: ConnId) {
        self.line.push_back(conn);
    }

    /// Whether somebody waits for whom there are places.
    pub(crate) fn has_resumable(&self) -> bool {
        !self.line.is_empty() && self.places() >= RESUME_PLACES
    }

    /// Takes those out of the line, in their order, for whom there are places.
    pub(crate) fn take_resumable(&mut self, resumed: &mut Vec<ConnId>) {
        let count = (self.places() / RESUME_PLACES).min(self.line.len());
        resumed.extend(self.line.drain(..count));
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// The next batch of requests from the other shard.
    pub(crate) fn next_asked(&mut self) -> Option<Box<Batch>> {
        self.asks_in.receive()
    }

    /// Sends the other shard's batch home, with its answers.
    pub(crate) fn answer(&mut self, mut batch: Box<Batch>) {
        batch.notes.append(&mut self.notes);
        // The ring is as long as the other shard may have batches under way, so there is room.
        let sent = self.answers_out.send(batch);
        debug_assert!(sent.is_ok(), "every batch under way has a place for its answers");
    }

    /// The next own batch that has come home.
    pub(crate) fn next_answered(&mut self) -> Option<Box<Batch>> {
        let batch = self.answers_in.receive()?;
        self.under_way -= 1;
        self.bytes_under_way -= batch.sent_bytes;
        self.asks_under_way -= batch.asks.len();
        Some(batch)
    }

    /// Keeps an own batch for later use.
    pub(crate) fn recycle(&mut self, mut batch: Box<Batch>) {
        batch.clear();
        self.spare.push(batch);
    }

    fn is_quiet(&mut self) -> bool {
        self.asks_in.is_empty() && self.answers_in.is_empty()
    }

    /// Shows the other side all that was written. True if it must be woken.
    fn publish(&mut self) -> bool {
        self.send();
        let asked = self.asks_out.publish();
        let answered = self.answers_out.publish();
        (asked || answered) && self.bell.ring()
    }

    /// Whether everything that was written has gone.
    fn has_sent_all(&self) -> bool {
        self.notes.is_empty() && self.open.is_empty()
    }

    /// Memory of its batches, of those that the other shard has as well.
    fn bytes_held(&self) -> usize {
        let here = self.open.capacity() + self.spare.iter().map(|batch| batch.capacity()).sum::<usize>();
        here + self.bytes_under_way
    }
}

/// A shard's lanes to all others.
pub(crate) struct Mail {
    /// By shard; `None` at the shard's own place.
    lanes: Vec<Option<Lane>>,
    /// Rung by the others when this shard sleeps.
    bell: Arc<Doorbell>,
    wakers: Vec<Option<Arc<dyn Waker>>>,
}

impl Mail {
    /// Lanes among `shards` shards, one set for each, whose batches fit into `bytes` a shard if two for each lane do.
    pub(crate) fn among(shards: u16, bytes: u64) -> Vec<Mail> {
        let others = usize::from(shards).saturating_sub(1).max(1);
        let fitting = usize::try_from(bytes).unwrap_or(usize::MAX) / BATCH_BYTES_KEPT;
        let batches_max =
            (BATCHES.min(fitting) / others).clamp(*BATCHES_PER_LANE.start(), *BATCHES_PER_LANE.end());
        let bells: Vec<Arc<Doorbell>> = (0..shards).map(|_| Arc::default()).collect();
        let mut sets: Vec<Vec<Option<Lane>>> =
            (0..shards).map(|_| (0..shards).map(|_| None).collect()).collect();
        for low in 0..shards {
            for high in low + 1..shards {
                let (low_asks, high_asked) = mailbox::ring(batches_max);
                let (high_asks, low_asked) = mailbox::ring(batches_max);
                let (low_answers, high_answered) = mailbox::ring(batches_max);
                let (high_answers, low_answered) = mailbox::ring(batches_max);
                let lane = |other: u16, asks_out, asks_in, answers_out, answers_in| {
                    Some(Lane {
                        asks_out,
                        asks_in,
                        answers_out,
                        answers_in,
                        batches_max,
                        under_way: 0,
                        bytes_under_way: 0,
                        asks_under_way: 0,
                        open: Box::default(),
                        spare: Vec::new(),
                        notes: Vec::new(),
                        line: VecDeque::new(),
                        bell: bells[other as usize].clone(),
                    })
                };
                sets[low as usize][high as usize] =
                    lane(high, low_asks, low_asked, low_answers, low_answered);
                sets[high as usize][low as usize] =
                    lane(low, high_asks, high_asked, high_answers, high_answered);
            }
        }
        let mail = |(lanes, bell)| Mail { lanes, bell, wakers: vec![None; shards as usize] };
        sets.into_iter().zip(bells).map(mail).collect()
    }

    /// How to wake the other shards' loops.
    pub(crate) fn connect(&mut self, wakers: &[Arc<dyn Waker>]) {
        self.wakers = wakers.iter().cloned().map(Some).collect();
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.lanes.len() == 1
    }

    pub(crate) fn shards(&self) -> u16 {
        self.lanes.len() as u16
    }

    /// The lane to another shard; `None` for the own one.
    pub(crate) fn lane(&mut self, shard: u16) -> Option<&mut Lane> {
        self.lanes.get_mut(shard as usize)?.as_mut()
    }

    /// The first shard to which fewer than `count` short requests can be sent now.
    pub(crate) fn shard_without_places(&self, count: usize) -> Option<u16> {
        let full = |lane: &Option<Lane>| lane.as_ref().is_some_and(|lane| lane.places() < count);
        self.lanes.iter().position(full).map(|shard| shard as u16)
    }

    /// Whether a connection waits in a line though there are places for it.
    pub(crate) fn has_resumable(&self) -> bool {
        self.lanes.iter().flatten().any(Lane::has_resumable)
    }

    /// Takes all connections out of their lines for which there are places now.
    pub(crate) fn take_resumable(&mut self, resumed: &mut Vec<ConnId>) {
        self.lanes.iter_mut().flatten().for_each(|lane| lane.take_resumable(resumed));
    }

    /// Publishes to all and wakes those who sleep.
    pub(crate) fn publish(&mut self) {
        for (lane, waker) in self.lanes.iter_mut().zip(&self.wakers) {
            let wake = lane.as_mut().is_some_and(Lane::publish);
            waker.iter().filter(|_| wake).for_each(|waker| waker.wake());
        }
    }

    /// Says that this shard is about to sleep. False: something came, do not.
    pub(crate) fn announce_sleep(&mut self) -> bool {
        self.bell.announce_sleep();
        self.lanes.iter_mut().flatten().all(Lane::is_quiet)
    }

    pub(crate) fn awake(&self) {
        self.bell.awake();
    }

    /// Whether every request and every note has gone.
    pub(crate) fn has_sent_all(&self) -> bool {
        self.lanes.iter().flatten().all(Lane::has_sent_all)
    }

    /// Memory of this shard's batches.
    pub(crate) fn bytes_held(&self) -> usize {
        self.lanes.iter().flatten().map(Lane::bytes_held).sum()
    }

    /// Requests at other shards.
    pub(crate) fn under_way(&self) -> usize {
        self.lanes.iter().flatten().map(|lane| lane.asks_under_way).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(sequence: u32) -> Ask<'static> {
        let from = Address { conn: ConnId { index: 1, generation: 2 }, sequence };
        Ask::plain(from, What::Flush { at: None })
    }

    fn fill(lane: &mut Lane) -> u32 {
        (0..).take_while(|sequence| lane.ask(&ask(*sequence), AskBytes::default())).count() as u32
    }

    #[test]
    fn two_shards_that_flood_each_other_still_answer() {
        let mut mail = Mail::among(2, u64::MAX);
        let (left, right) = mail.split_at_mut(1);
        let (left, right) = (&mut left[0], &mut right[0]);
        let count = fill(left.lane(1).unwrap());
        assert_eq!(count as usize, BATCHES_PER_LANE.end() * BATCH_ASKS);
        assert_eq!(fill(right.lane(0).unwrap()), count);
        assert_eq!(left.shard_without_places(1), Some(1));
        left.publish();
        right.publish();
        for (side, other) in [(&mut *left, 1), (&mut *right, 0)] {
            let lane = side.lane(other).unwrap();
            while let Some(batch) = lane.next_asked() {
                lane.answer(batch);
            }
            side.publish();
        }
        let lane = left.lane(1).unwrap();
        let batches: Vec<_> = std::iter::from_fn(|| lane.next_answered()).collect();
        let answered = batches.iter().flat_map(|batch| batch.asks.iter().map(|ask| ask.from.sequence));
        assert!(answered.eq(0..count));
        assert_eq!((lane.places(), left.under_way()), (count as usize, 0));
    }

    #[test]
    fn who_waits_goes_on_in_order_as_places_come_back() {
        let mut mail = Mail::among(2, u64::MAX);
        let (left, right) = mail.split_at_mut(1);
        let (lane, other) = (left[0].lane(1).unwrap(), right[0].lane(0).unwrap());
        fill(lane);
        let conn = |index| ConnId { index, generation: 0 };
        (0..3).for_each(|index| lane.wait(conn(index)));
        assert!(!lane.has_resumable());
        lane.publish();
        let batch = other.next_asked().unwrap();
        other.answer(batch);
        other.publish();
        assert!(lane.next_answered().is_some());
        let mut resumed = Vec::new();
        lane.take_resumable(&mut resumed);
        assert_eq!(resumed, [conn(0), conn(1), conn(2)]);
    }

    #[test]
    fn notes_travel_both_ways_though_no_batch_has_room() {
        let mut mail = Mail::among(2, u64::MAX);
        let (left, right) = mail.split_at_mut(1);
        let (lane, other) = (left[0].lane(1).unwrap(), right[0].lane(0).unwrap());
        fill(lane);
        lane.publish();
        let conn = ConnId { index: 7, generation: 0 };
        lane.note(Note::Forget(conn));
        other.note(Note::Forget(conn));
        lane.publish();
        assert!(!lane.has_sent_all());
        let batch = other.next_asked().unwrap();
        other.answer(batch);
        other.publish();
        let home = lane.next_answered().unwrap();
        assert!(matches!(home.notes[..], [Note::Forget(_)]), "the other's note came with the answers");
        lane.recycle(home);
        lane.publish();
        assert!(lane.has_sent_all());
        let notes: usize = std::iter::from_fn(|| other.next_asked()).map(|batch| batch.notes.len()).sum();
        assert_eq!(notes, 1);
    }

    #[test]
    fn requests_keep_their_bytes_apart() {
        let mut batch = Batch::default();
        let bytes = [("key", "value", "echo"), ("", "", ""), ("k", "", "e")];
        for (key, value, echo) in bytes {
            let bytes = AskBytes { key: key.as_bytes(), value: value.as_bytes(), echo: echo.as_bytes() };
            batch.add(&ask(0), bytes);
        }
        for (number, (key, value, echo)) in bytes.into_iter().enumerate() {
            let read = batch.bytes_of(number);
            assert_eq!(
                (read.key, read.value, read.echo),
                (key.as_bytes(), value.as_bytes(), echo.as_bytes())
            );
        }
    }

    #[test]
    fn nobody_sleeps_over_a_batch() {
        let mut mail = Mail::among(3, u64::MAX);
        assert!(mail[2].announce_sleep());
        assert!(mail[0].lane(2).unwrap().ask(&ask(0), AskBytes::default()));
        assert!(mail[0].lane(2).unwrap().publish(), "the sleeper must be woken");
        mail[2].awake();
        assert!(!mail[2].announce_sleep());
    }
}
