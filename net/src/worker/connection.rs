//! One client: its session, what it sent that is not parsed, and the answers that wait.
//!
//! ```text
//!   bytes --> [input] --> session --> parts --> begun: here, or asked of another shard
//!                                       |          |
//!              cannot be begun yet: [deferred]     +--> [queue] --> output --> transport
//! ```
//!
//! The queue keeps the order of the answers: what is behind a question to another shard waits for its answer. As long as
//! keys are this shard's own nothing waits, and the queue is not touched. Parts are begun in their order, so commands
//! of one connection on one key take effect in theirs: behind a deferred part everything is deferred.

use super::attaching::Attaching;
use super::input::Input;
use super::joint::JointRun;
use super::mail::Address;
use super::messages::shares::Shares;
use super::owned::OwnedPart;
use super::queue::{PLACE_BYTES, Queue};
use super::rounds::RoundMarks;
use super::script::{Fetched, ScriptRun};
use super::step::Step;
use super::tracking::Tracking;
use super::transaction::Running;
use super::upload::Upload;
use super::walking::Walk;
use super::watches::Watched;
use crate::observed::Monitor;
use crate::rdma::{Admitted, Pairings};
use crate::session::{Answer, Output, Session};
use crate::transport::{ConnId, Pieces};
use std::collections::VecDeque;
use std::sync::Arc;
use torc_engine::command::{Millis, UploadId};
use torc_engine::segments::Lent;

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
    pub(crate) input: Input,
    /// `input` is not worth parsing before it is this long.
    pub(crate) input_needed: usize,
    pub(crate) output: Output,
    /// Pieces are with the transport.
    pub(crate) sending: bool,
    /// Empty; kept for its room while nothing is sent.
    pub(crate) pieces: Pieces,
    /// In the worker's list of connections to look after at the end of the turn.
    pub(crate) dirty: bool,
    /// What the rounds have noted of it.
    pub(crate) marks: RoundMarks,
    /// Begun, and not answered.
    pub(crate) queue: Queue,
    /// Composed answers are held back until the queue has come to this sequence number.
    held_until: Option<u32>,
    /// Not begun.
    pub(crate) deferred: VecDeque<OwnedPart>,
    /// So many of those at the front had their items fetched from the tier, should they need any.
    pub(crate) ahead: usize,
    pub(crate) upload: Option<Upload>,
    /// What shards are to answer together.
    pub(crate) shares: Shares,
    /// All that other shards are asked for it is to give messages to their clients.
    pub(crate) only_publishes: bool,
    /// Memory of what it is subscribed to, bytes.
    pub(crate) subscription_bytes: usize,
    /// How it is told of keys that it keeps copies of.
    pub(crate) tracking: Option<Box<Tracking>>,
    /// It was told before, or is.
    pub(crate) has_tracked: bool,
    /// It did not take the messages that were for it, and is to be closed.
    pub(crate) lags: bool,
    /// The value whose next bytes the transport receives where they will stay.
    pub(crate) receives_into: Option<UploadId>,
    /// Buffers with bytes of it that nobody has looked at.
    pub(crate) arrivals: usize,
    /// Slices of a value at another shard that have not come back.
    pub(crate) slices_under_way: usize,
    /// Nothing of it is parsed: too much of it waits.
    pub(crate) parked: bool,
    /// The transport does not read from it.
    pub(crate) paused: bool,
    /// The EXEC of the transaction under way, as monitors are to be shown it: its database and words.
    pub(crate) noted_exec: Option<Box<(u16, Vec<u8>)>>,
    /// It waits for the end of a pause (CLIENT PAUSE).
    pub(crate) is_blocked: bool,
    /// What it asks for cannot be lent now, or is not known yet, so its deferred parts are not begun.
    pub(crate) asks_later: bool,
    /// What it has asked last may have to be asked again, so nothing is begun behind it.
    pub(crate) asks_alone: bool,
    /// What it needs is being fetched from the tier, or its changes are held, so its deferred parts are not begun.
    pub(crate) waits_for_tier: bool,
    /// Its answers wait until the shard's changes up to this are saved; and never will be, so they are not true.
    pub(crate) answers_after: u64,
    pub(crate) is_untrue: bool,
    /// It has asked for shared memory or a queue pair, and is not answered.
    pub(crate) attaching: Option<Box<Attaching>>,
    /// What its queue pair counts as.
    pub(crate) paired: Option<Admitted>,
    pub(crate) pairings: Pairings,
    /// Memory of its rings, or for its queue pair, bytes; 0: it has none.
    pub(crate) ring_bytes: usize,
    /// The first of its deferred parts is a step of a scan that has begun.
    pub(crate) scans: Option<Box<Step>>,
    /// The first of its deferred parts is a walk that has begun.
    pub(crate) walk: Option<Box<Walk>>,
    /// It has closed itself, and is answered that.
    pub(crate) ends_behind_answer: bool,
    /// Its transaction, from EXEC on.
    pub(crate) transaction: Option<Box<Running>>,
    /// The command about several keys that it goes on with.
    pub(crate) joint: Option<Box<JointRun>>,
    /// The script that it goes on with, and the answers to what was asked for it.
    pub(crate) script: Option<Box<ScriptRun>>,
    pub(crate) fetched: Option<Box<Fetched>>,
    /// The first of its deferred parts is a script that the shard of its keys has sent back: it is run here.
    pub(crate) keeps_script: bool,
    /// All keys of its transaction are held, and its commands are run.
    pub(crate) in_transaction: bool,
    /// The client is gone, but not its transaction.
    pub(crate) is_ghost: bool,
    /// Counts its transactions.
    pub(crate) attempts: u32,
    /// The keys that it watches.
    pub(crate) watched: Option<Box<Watched>>,
    /// In the line of those that are not read for want of memory.
    pub(crate) waits_for_memory: bool,
    /// What it was charged with last, bytes.
    pub(crate) charged: usize,
    /// Bytes that the transport sends.
    pub(crate) sending_content: usize,
    /// The transport sends lent bytes.
    pub(crate) sends_lent: bool,
    /// Memory of the pieces that the transport sends.
    pub(crate) sending_bytes: usize,
    /// When hoarders were last looked for, it had long taken nothing of the bytes lent to it.
    pub(crate) lends: bool,
    /// Bytes received and sent since the last look for hoarders.
    pub(crate) moved: usize,
    pub(crate) received_at: Millis,
    pub(crate) received_bytes: u64,
    /// When it came.
    pub(crate) accepted_at: Millis,
    /// When its wrong password is answered, or it has slept; 0: it waits for neither.
    pub(crate) waits_until: Millis,
    /// It is shown what all clients ask for.
    pub(crate) monitor: Option<Arc<Monitor>>,
    /// Requests answered.
    pub(crate) answered: u64,
    /// When a send last began, was over or was seen to go on.
    pub(crate) sent_at: Millis,
    /// The transport's figure of what the client took when it was last asked.
    pub(crate) taken: u64,
    /// A request that was there in part when the worker last looked.
    pub(crate) unfinished: Option<Unfinished>,
}

/// A request that has begun and is not whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unfinished {
    pub(crate) since: Millis,
    /// Bytes received and requests answered until then.
    pub(crate) received_bytes: u64,
    pub(crate) answered: u64,
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
            input: Input::default(),
            input_needed: 0,
            output: Output::default(),
            sending: false,
            pieces: Pieces::default(),
            dirty: false,
            marks: RoundMarks::default(),
            queue: Queue::default(),
            held_until: None,
            deferred: VecDeque::new(),
            ahead: 0,
            upload: None,
            shares: Shares::default(),
            only_publishes: false,
            subscription_bytes: 0,
            tracking: None,
            has_tracked: false,
            lags: false,
            receives_into: None,
            arrivals: 0,
            slices_under_way: 0,
            parked: false,
            paused: false,
            noted_exec: None,
            is_blocked: false,
            asks_later: false,
            asks_alone: false,
            waits_for_tier: false,
            answers_after: 0,
            is_untrue: false,
            attaching: None,
            paired: None,
            pairings: Pairings::default(),
            ring_bytes: 0,
            scans: None,
            walk: None,
            ends_behind_answer: false,
            transaction: None,
            joint: None,
            script: None,
            fetched: None,
            keeps_script: false,
            in_transaction: false,
            is_ghost: false,
            attempts: 0,
            watched: None,
            waits_for_memory: false,
            charged: 0,
            sending_content: 0,
            sends_lent: false,
            sending_bytes: 0,
            lends: false,
            moved: 0,
            received_at: now,
            received_bytes: 0,
            accepted_at: now,
            waits_until: 0,
            monitor: None,
            answered: 0,
            sent_at: now,
            taken: 0,
            unfinished: None,
        }
    }

    #[inline]
    pub(crate) fn count_received(&mut self, len: u32, now: Millis) {
        self.received_at = now;
        self.received_bytes += u64::from(len);
        self.moved += len as usize;
    }

    /// Whether it is told of the keys of this shard alone: at a shard's own port, where its protocol knows of shards.
    pub(crate) fn is_of_one_shard(&self) -> bool {
        self.on_shard_port && !matches!(self.session, Session::Memcache(_))
    }

    /// Whether its bytes may be parsed.
    pub(crate) fn is_parsed(&self) -> bool {
        self.phase == Phase::Open && !self.parked
    }

    /// Whether all that is not begun waits for one command that is done in steps: a script, a command about several keys, a transaction.
    pub(crate) fn waits_for_steps(&self) -> bool {
        self.deferred.front().is_some_and(OwnedPart::is_in_steps)
    }

    /// Memory that it holds.
    #[inline]
    pub(crate) fn bytes_held(&self) -> usize {
        let bytes = self.input.bytes_held() + self.output.bytes_held() + self.sending_bytes;
        let most = CONNECTION_BYTES + bytes + self.queue.bytes_held() + self.session.bytes_held();
        if self.is_plain() { most } else { most + self.bytes_besides() }
    }

    /// Whether it has nothing but requests that are answered at once, as most have: it is charged several times a turn.
    #[inline]
    fn is_plain(&self) -> bool {
        self.deferred.is_empty()
            && self.subscription_bytes == 0
            && !self.shares.has_memory()
            && self.tracking.is_none()
            && self.watched.is_none()
            && self.transaction.is_none()
            && self.joint.is_none()
            && self.script.is_none()
            && self.scans.is_none()
            && self.walk.is_none()
    }

    /// Memory of what waits, of its messages and of its commands about several keys.
    #[cold]
    fn bytes_besides(&self) -> usize {
        // Each will need a place in the queue, too, and many clients may go on at once.
        let deferred = self.deferred.iter().map(|part| PLACE_BYTES + part.bytes_held()).sum::<usize>();
        let scanned = self.scans.as_ref().map_or(0, |step| step.keys.capacity());
        let walked = self.walk.as_ref().map_or(0, |walk| walk.found.capacity());
        let tracking = self.tracking.as_ref().map_or(0, |tracking| tracking.bytes_held());
        let messages = self.subscription_bytes + self.shares.bytes_held() + tracking;
        deferred + scanned + walked + messages + self.transaction_bytes()
    }

    /// Memory of its transaction, and of what it watches.
    fn transaction_bytes(&self) -> usize {
        let watched = self.watched.as_ref().map_or(0, |watched| watched.bytes_held());
        let joint = self.joint.as_ref().map_or(0, |run| run.bytes_held());
        let fetched = self.fetched.as_ref().map_or(0, |fetched| fetched.bytes_held());
        let script = fetched + self.script.as_ref().map_or(0, |run| run.bytes_held());
        watched + joint + script + self.transaction.as_ref().map_or(0, |running| running.bytes_held())
    }

    /// Takes the answer to a step of the command about several keys. What was lent for it is to be released.
    pub(crate) fn take_step(&mut self, answer: &Answer<'_>) -> Vec<Lent> {
        match (&mut self.fetched, &mut self.joint) {
            (Some(fetched), _) => fetched.take(answer),
            (None, Some(run)) => run.take(answer),
            (None, None) => Vec::new(),
        }
    }

    /// Bytes that it has waiting, in and out, without the buffers around them: those are the worker's choice.
    pub(crate) fn content_bytes(&self) -> usize {
        let deferred = self.deferred.iter().map(OwnedPart::bytes_held).sum::<usize>();
        let sending = if self.sending { self.sending_content } else { 0 };
        let answers = self.output.bytes() + sending + self.queue.content_bytes();
        self.input.len() + answers + deferred + self.subscription_bytes
    }

    /// Whether its input is worth parsing.
    pub(crate) fn has_input(&self) -> bool {
        !self.input.is_empty() && self.input.len() >= self.input_needed
    }

    /// Where the answer of the next part that is begun goes.
    pub(crate) fn next_address(&self) -> Address {
        Address { conn: self.id, sequence: self.queue.end() }
    }

    /// Whether another part may be begun: the answers that wait, and those that parts under way may bring, are within the
    /// limit.
    pub(crate) fn has_room(&self, output_bytes_max: usize) -> bool {
        self.output.bytes() + self.queue.content_bytes() <= output_bytes_max
    }

    /// Whether its composed answers wait for answers that other shards already owe it. Sent together, they cost one send and
    /// wake the client once. They do not wait for requests that come meanwhile, so the wait is no longer than what is under
    /// way now.
    pub(crate) fn holds_answers(&mut self) -> bool {
        let end = self.queue.end();
        let small = self.output.bytes() <= HELD_BYTES_MAX && !self.output.has_lent();
        // What was under way may have been taken back, to be asked for later.
        if self.output.is_empty() || !small || self.phase != Phase::Open || self.queue.is_empty() {
            self.held_until = None;
            return false;
        }
        let until = *self.held_until.get_or_insert(end);
        // Sequence numbers wrap around.
        if until.wrapping_sub(self.queue.first()) as i32 > 0 {
            return true;
        }
        self.held_until = None;
        false
    }

    /// Whether bytes that a shard lent wait for the client, or are on their way to it.
    pub(crate) fn has_lent(&self) -> bool {
        self.output.has_lent() || self.sends_lent
    }

    /// Nothing waits, neither in nor out.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.deferred.is_empty()
            && self.output.is_empty()
            && !self.sending
            && self.slices_under_way == 0
    }
}

/// Memory of a connection that is idle: its own, its place, its socket at the transport.
pub(super) const CONNECTION_BYTES: usize = size_of::<Connection>() + 512;
/// Answers of more bytes wait for no others.
const HELD_BYTES_MAX: usize = 16 << 10;

/// The connections of a worker by place.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    // Boxed: a connection is large, and most places of a long table may be empty.
    places: Vec<Option<Box<Connection>>>,
    /// Those whose clients are gone, and whose transactions are not over.
    // Boxed as in their places.
    #[allow(clippy::vec_box)]
    ghosts: Vec<Box<Connection>>,
    count: usize,
    /// Connections that there have been.
    total: u64,
    /// Looks at a connection, or for one.
    #[cfg(test)]
    looks: u64,
}

impl Connections {
    /// Counts one more client.
    pub(crate) fn count_accepted(&mut self) -> u64 {
        self.total += 1;
        self.total
    }

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
        #[cfg(test)]
        self.count_look();
        match self.places.get_mut(id.index as usize) {
            Some(Some(connection)) if connection.id == id => Some(connection),
            _ => self.ghosts.iter_mut().find(|ghost| ghost.id == id).map(|ghost| &mut **ghost),
        }
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
        #[cfg(test)]
        self.count_look();
        let there = self.places.get_mut(id.index as usize)?.take_if(|connection| connection.id == id);
        if there.is_some() { there } else { self.take_ghost(id) }
    }

    #[cold]
    fn take_ghost(&mut self, id: ConnId) -> Option<Box<Connection>> {
        let place = self.ghosts.iter().position(|ghost| ghost.id == id)?;
        Some(self.ghosts.swap_remove(place))
    }

    #[cfg(test)]
    fn count_look(&mut self) {
        self.looks += 1;
    }

    /// What of a turn depends on how many connections there are goes through one of these.
    #[cfg(test)]
    pub(crate) fn looks(&self) -> u64 {
        self.looks
    }

    #[cfg(test)]
    pub(crate) fn ghosts(&self) -> &[Box<Connection>] {
        &self.ghosts
    }

    #[inline]
    pub(crate) fn put(&mut self, connection: Box<Connection>) {
        if connection.is_ghost {
            return self.ghosts.push(connection);
        }
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
        #[cfg(test)]
        self.count_look();
        self.places.get_mut(place)?.as_deref_mut()
    }
}
