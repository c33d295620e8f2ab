//! THE LOOP of a core. One worker is one shard: one thread, one store, one transport.
//!
//! ```text
//!   transport.turn            one system call: hands over what is queued, waits, reports
//!     |
//!   events                    accepted, sent, ended, closed; received bytes become arrivals
//!   deliver, serve            answers from other shards; their requests, executed in batches
//!   rounds of arrivals        parse all -> hash, prefetch buckets -> prefetch items -> execute in order, compose
//!   send                      one send for each connection with answers; park, resume, close
//!   mail.publish              one store for each shard that gets something; wakes those that sleep
//!   maintain                  expiry, eviction ahead, compaction: a little, more when idle
//! ```
//!
//! Bytes are parsed where the transport received them; only an incomplete tail is copied. In the steady state
//! a turn allocates nothing, takes no lock and makes no other system call.
//!
//! Everything is bounded. The transport bounds the events of a turn; [`rounds`] bounds the parts and bytes of a round and
//! of a turn, for each connection and for all; a connection bounds the requests and answers that wait in it. A client that
//! does not take its answers is parked: it is neither parsed nor read, and it is closed after a while. Who waits for a script of its own,
//! or for another command that is done in steps, is not parsed, and read on up to a bound.
//!
//! [`WorkerState::execute`] answers a part at once where that is possible. All other parts (keys of another shard, clients
//! that are slow) go the long way over the connection's queue: see [`connection`], [`mail`] and [`WorkerState::advance`].

mod attach;
mod attaching;
mod budget;
#[cfg(test)]
mod bug;
mod clients;
mod compose;
pub(crate) mod connection;
#[cfg(test)]
mod crowd;
mod databases;
mod deliver;
mod drain;
mod durations;
mod ending;
mod enter;
mod events;
mod execute;
mod forward;
mod gate;
mod holds;
mod input;
mod joint;
#[cfg(test)]
mod left_over;
pub(crate) mod mail;
mod memory;
mod messages;
mod monitor;
mod monitoring;
mod note;
mod notices;
mod outcomes;
mod overdue;
mod owned;
mod pair;
mod parse;
mod paused;
mod perform;
mod pool;
mod push;
mod queue;
mod read_there;
mod reads;
mod room;
mod rounds;
mod scan;
mod script;
mod send;
mod serve;
mod siblings;
mod sleep;
mod slow;
mod spin;
mod state;
mod step;
mod sweep;
#[cfg(test)]
mod testing;
mod tier;
mod tracking;
mod transaction;
mod upload;
mod uploads;
pub(crate) mod view;
mod walk;
mod walking;
mod watches;

use self::budget::round_parts;
pub(crate) use self::budget::{BudgetConfig, FLOOR_SHARE, round_bytes};
#[cfg(test)]
pub(crate) use self::bug::Bug;
pub(crate) use self::room::ROOM_BYTES_MIN;
pub(crate) use self::siblings::Siblings;
pub(crate) use self::state::{ListenerKind, Settings, WorkerParts, WorkerState};
pub(crate) use self::tier::state::Tier;
pub(crate) use self::tier::tier_bytes;

use crate::clock::Clock;
use crate::session::{Part, Scratch, Work};
use crate::transport::{BufferId, ConnId, Event, Transport};
use execute::Prepared;
use input::Input;
use parse::{Arrived, Span};
use rounds::{ROUND_CONNECTIONS, ROUND_READY};
use spin::Spin;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

/// Parts and parsed bytes after which a turn begins no other round.
const TURN_PARTS: usize = 512;
const TURN_BYTES: usize = 1 << 20;
/// What a source takes beside its bytes, for its answers and their places, which are short as a rule.
const SOURCE_BYTES: usize = 8 << 10;
/// Parts whose buckets and items are fetched ahead together: few enough that they are still in the cache.
const BATCH_PARTS: usize = 64;
/// Items of background work in a busy turn, and in an idle one.
const MAINTAIN_BUSY: u32 = 32;
const MAINTAIN_IDLE: u32 = 512;
/// An idle worker looks after its shard and its clients this often.
const TICK: Duration = Duration::from_millis(1000);
/// A worker that drains, or whose clients wait for memory, looks whether they can go on this often.
const SHORT_TICK: Duration = Duration::from_millis(10);

/// Received bytes that nobody has looked at.
#[derive(Debug)]
struct Arrival {
    conn: ConnId,
    buffer: BufferId,
    len: u32,
}

/// What a connection parses in a round.
#[derive(Debug)]
struct Source {
    conn: ConnId,
    bytes: SourceBytes,
}

#[derive(Debug)]
enum SourceBytes {
    Buffer(BufferId, u32),
    /// The connection's input, taken from it for the round.
    Own(Input),
}

/// A shard's loop over a transport.
pub(crate) struct Worker<T: Transport, C: Clock> {
    transport: T,
    clock: C,
    state: WorkerState,
    events: Vec<Event>,
    arrivals: VecDeque<Arrival>,
    /// Bytes that the turn may still put behind the inputs of connections.
    behind_room: usize,
    sources: Vec<Source>,
    spans: Vec<Span>,
    prepared: Vec<Prepared>,
    /// Empty between rounds; kept for its room.
    parts: Vec<Part<'static>>,
    scratch: Scratch,
    /// Background work was left over.
    more_to_maintain: bool,
    spin: Spin,
    /// Parts after which a turn begins no other round.
    turn_parts: usize,
    /// Parts and bytes that the turn had taken when its last round began, and how many bytes it might take.
    #[cfg(test)]
    taken: (usize, usize, usize),
}

impl<T: Transport, C: Clock> Worker<T, C> {
    pub(crate) fn new(transport: T, clock: C, state: WorkerState) -> Self {
        let parts = Vec::with_capacity(round_parts(state.settings.budget.memory));
        let scratch = Scratch::counting(state.calls.clone());
        Worker {
            spin: Spin::new(state.settings.spin_ns),
            transport,
            clock,
            state,
            events: Vec::new(),
            arrivals: VecDeque::new(),
            behind_room: TURN_BYTES,
            sources: Vec::new(),
            spans: Vec::new(),
            prepared: vec![Prepared::default(); BATCH_PARTS],
            parts,
            scratch,
            more_to_maintain: false,
            turn_parts: TURN_PARTS,
            #[cfg(test)]
            taken: (0, 0, TURN_BYTES),
        }
    }

    /// Lowers [`TURN_PARTS`], so that few clients come to it.
    #[cfg(test)]
    pub(crate) fn limit_turns(&mut self, parts: usize) {
        self.turn_parts = parts;
    }

    /// Whether the last turn has ended when it had to.
    ///
    /// # Errors
    /// What it had taken when it went on, in words.
    #[cfg(test)]
    pub(crate) fn turn_has_ended(&self) -> Result<(), String> {
        let (parts, bytes, bytes_max) = self.taken;
        match parts < self.turn_parts && bytes < bytes_max {
            true => Ok(()),
            false => Err(format!("a turn of {} parts went on after {parts}, {bytes} bytes", self.turn_parts)),
        }
    }

    /// Turns until the server is drained.
    ///
    /// # Errors
    /// The transport failed as a whole.
    pub(crate) fn run(mut self) -> io::Result<()> {
        while !self.state.may_end() {
            let wait = self.patience();
            self.turn(wait)?;
        }
        self.state.end_tier();
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn may_end(&self) -> bool {
        self.state.may_end()
    }

    #[cfg(test)]
    pub(crate) fn transport(&mut self) -> &mut T {
        &mut self.transport
    }

    #[cfg(test)]
    pub(crate) fn state(&mut self) -> &mut WorkerState {
        &mut self.state
    }

    /// One turn of the loop, waiting at most `wait` for something to do.
    pub(crate) fn turn(&mut self, wait: Duration) -> io::Result<()> {
        self.transport.set_receive_window(self.state.receive_window());
        if self.spin.is_on() {
            if !self.look(wait)? {
                return Ok(());
            }
        } else {
            self.transport.turn(Some(wait), &mut self.events)?;
        }
        let began_ns = self.clock.nanos();
        self.state.begin_turn(began_ns, self.clock.millis_at(began_ns));
        let busy = !self.events.is_empty();
        self.take_events();
        self.state.hear_tier();
        self.state.read_mail();
        self.state.go_on_draining(&mut self.transport);
        self.state.sweep_on(&mut self.transport);
        self.state.close_hoarders(&mut self.transport);
        self.rounds();
        self.state.go_on_with_transactions();
        self.state.tell_monitors();
        self.state.give_notices();
        self.state.tell_news(None);
        self.state.settle(&mut self.transport);
        self.state.tell_news(None);
        self.state.publish_mail();
        let budget = if busy { MAINTAIN_BUSY } else { MAINTAIN_IDLE };
        self.more_to_maintain =
            self.state.maintain(budget) | self.state.go_on_leaving() | self.state.go_on_untracking();
        self.state.tell_news(None);
        self.state.save();
        self.state.balance();
        self.state.end_turn(self.clock.nanos() - began_ns);
        Ok(())
    }

    /// Turns the transport for a worker that may spin. False: it spins, and there is nothing that is worth a turn.
    fn look(&mut self, wait: Duration) -> io::Result<bool> {
        if self.spin.is_looking() && !self.state.has_mail() && !self.transport.may_have_news() {
            std::hint::spin_loop();
            return Ok(false);
        }
        self.transport.turn(Some(wait), &mut self.events)?;
        let found = !self.events.is_empty() || self.state.has_mail();
        if found {
            self.spin.found();
        }
        Ok(found || !self.spin.is_looking())
    }

    /// How long the next turn may wait.
    pub(crate) fn patience(&mut self) -> Duration {
        let may_wait = self.arrivals.is_empty() && !self.more_to_maintain && self.state.may_wait();
        // Before the sleep is announced: a worker that spins sees mail by itself, so nobody has to wake it.
        if self.spin.is_on() && self.spin.goes_on(may_wait, self.clock.nanos()) {
            return Duration::ZERO;
        }
        #[cfg(test)]
        if may_wait && self.spin.is_on() && self.state.has(Bug::SilentSleep) {
            return TICK;
        }
        if !may_wait || !self.state.announce_sleep() {
            return Duration::ZERO;
        }
        let is_watched = self.state.is_draining()
            || self.state.is_watched()
            || self.state.watches_deadlines()
            || self.state.waits_for_keys()
            || self.state.has_monitors();
        let tick = if is_watched { SHORT_TICK } else { TICK };
        let tick = self.state.until_tracked_end().map_or(tick, |end| tick.min(end.max(SHORT_TICK)));
        tick.min(self.state.until_save().max(SHORT_TICK))
    }

    fn take_events(&mut self) {
        for event in self.events.drain(..) {
            match event {
                Event::Received { conn, buffer, len } => {
                    self.state.received(conn, len);
                    self.arrivals.push_back(Arrival { conn, buffer, len });
                }
                Event::Filled { conn, room, len } => self.state.filled(conn, room, len),
                Event::Sent { conn, pieces } => self.state.sent(conn, pieces),
                Event::Accepted { conn, listener } => {
                    let accepted = self.state.accepted(conn, listener, || self.transport.addresses(conn));
                    if let Err(words) = accepted {
                        self.transport.refuse(conn, words);
                    }
                }
                Event::Ended { conn } => self.state.ended(conn),
                Event::Closed { conn, pieces } => self.state.closed(conn, pieces),
                Event::AcceptFailed { error } => self.state.accept_failed(error),
                Event::Woken => {}
            }
        }
    }

    /// Parses and executes until nothing is left, or the turn has had its share.
    fn rounds(&mut self) {
        let (mut parts, mut bytes) = (0, 0);
        self.behind_room = self.state.turn_bytes(TURN_BYTES);
        while self.goes_on(parts, bytes) && !(self.arrivals.is_empty() && self.state.rounds.is_done()) {
            #[cfg(test)]
            {
                self.taken = (parts, bytes, self.state.turn_bytes(TURN_BYTES));
            }
            let (round_parts, round_bytes) = self.round();
            parts += round_parts;
            bytes += round_bytes;
        }
    }

    /// Whether a turn that has taken so much begins another round.
    fn goes_on(&self, parts: usize, bytes: usize) -> bool {
        #[cfg(test)]
        if self.state.has(Bug::EndlessTurn) {
            return !self.state.takes_nothing();
        }
        parts < self.turn_parts
            && bytes < self.state.turn_bytes(TURN_BYTES)
            && self.behind_room > 0
            && !self.state.takes_nothing()
    }

    /// Parses what up to [`ROUND_CONNECTIONS`] connections sent, then executes all of it. Returns how many parts and bytes
    /// that were.
    fn round(&mut self) -> (usize, usize) {
        self.gather();
        let mut parts = recycled(std::mem::take(&mut self.parts));
        let mut parsed_bytes = 0;
        for source in &self.sources {
            let bytes = match &source.bytes {
                SourceBytes::Buffer(buffer, len) => self.transport.received(*buffer, *len),
                SourceBytes::Own(input) => input.unparsed(),
            };
            let before = parts.len();
            let (parsed, cut) = self.state.parse(source.conn, bytes, &self.scratch, &mut parts);
            parsed_bytes += parsed.consumed;
            let is_empty = parts.len() == before;
            self.spans.push(Span { conn: source.conn, parsed, parts_end: parts.len(), is_empty, cut });
        }
        execute(&mut self.state, &self.clock, &parts, &self.spans, &mut self.prepared);
        let parsed_parts = parts.len();
        self.parts = recycled(parts);
        self.scratch.reset();
        self.put_back();
        (parsed_parts, parsed_bytes)
    }

    /// Chooses the sources of a round: each connection once, so that its bytes are parsed in their order. Those that
    /// have waited with input of earlier rounds have half of the places, so that nobody can keep the others out.
    fn gather(&mut self) {
        self.state.begin_round();
        #[cfg(test)]
        if self.state.has(Bug::FirstForEver) {
            return self.gather_first();
        }
        let mut room = self.state.turn_bytes(TURN_BYTES);
        self.gather_arrivals(ROUND_CONNECTIONS - ROUND_READY, &mut room);
        self.gather_ready(&mut room);
        self.gather_arrivals(ROUND_CONNECTIONS, &mut room);
    }

    /// What [`Bug::FirstForEver`] does: the first in the queue is parsed alone.
    #[cfg(test)]
    fn gather_first(&mut self) {
        for Arrival { conn, buffer, len } in self.arrivals.drain(..) {
            self.state.take_arrival(conn, len, 0);
            self.state.append_input(conn, self.transport.received(buffer, len));
            self.transport.recycle(buffer);
        }
        if let Some((conn, input)) = self.state.next_ready(0) {
            self.sources.push(Source { conn, bytes: SourceBytes::Own(input) });
        }
    }

    /// Adds sources until there are `count`, or no `room` for more of their bytes. Received bytes are parsed where they are;
    /// only bytes that other input of their connection waits before are copied.
    fn gather_arrivals(&mut self, count: usize, room: &mut usize) {
        while self.sources.len() < count
            && *room > 0
            && self.behind_room > 0
            && let Some(&Arrival { conn, buffer, len }) = self.arrivals.front()
        {
            match self.state.take_arrival(conn, len, self.sources.len()) {
                Arrived::NextRound => return,
                Arrived::InPlace => {
                    *room = room.saturating_sub(SOURCE_BYTES + len as usize);
                    self.sources.push(Source { conn, bytes: SourceBytes::Buffer(buffer, len) });
                }
                Arrived::Behind => {
                    self.behind_room = self.behind_room.saturating_sub(len as usize);
                    self.state.append_input(conn, self.transport.received(buffer, len));
                    self.transport.recycle(buffer);
                }
            }
            self.arrivals.pop_front();
        }
    }

    fn gather_ready(&mut self, room: &mut usize) {
        while self.sources.len() < ROUND_CONNECTIONS
            && *room > 0
            && let Some((conn, input)) = self.state.next_ready(self.sources.len())
        {
            *room = room.saturating_sub(SOURCE_BYTES + input.len());
            self.sources.push(Source { conn, bytes: SourceBytes::Own(input) });
        }
    }

    /// Gives buffers back; what is not parsed yet becomes the connections' input.
    fn put_back(&mut self) {
        for (source, span) in self.sources.drain(..).zip(self.spans.drain(..)) {
            match source.bytes {
                SourceBytes::Buffer(buffer, len) => {
                    self.state
                        .keep_rest(&span, &self.transport.received(buffer, len)[span.parsed.consumed..]);
                    self.transport.recycle(buffer);
                }
                SourceBytes::Own(input) => self.state.keep_input(&span, input),
            }
        }
    }
}

/// Executes a round's parts in order, batch by batch: all hashes and buckets first, then the items, then the
/// commands, so that the cache misses of a batch overlap.
fn execute(
    state: &mut WorkerState,
    clock: &impl Clock,
    parts: &[Part<'_>],
    spans: &[Span],
    prepared: &mut [Prepared],
) {
    let mut span = 0;
    for (number, batch) in parts.chunks(BATCH_PARTS).enumerate() {
        let mut values_end = false;
        for (part, prepared) in batch.iter().zip(&mut *prepared) {
            *prepared = match &part.work {
                Work::Keyed(command) => state.prepare(command),
                work => {
                    values_end |= work.ends_value();
                    Prepared::default()
                }
            };
        }
        batch.iter().zip(&*prepared).for_each(|(part, prepared)| {
            if let Work::Keyed(command) = &part.work {
                state.prefetch_item(command, *prepared);
            }
        });
        let (mut at, end) = (number * BATCH_PARTS, number * BATCH_PARTS + batch.len());
        if values_end {
            prefetch_replaced(state, (at, batch), spans, prepared);
        }
        while at < end {
            while spans[span].parts_end <= at {
                span += 1;
            }
            let stop = end.min(spans[span].parts_end);
            let within = at - number * BATCH_PARTS..stop - number * BATCH_PARTS;
            if state.times_each() {
                execute_timed(state, clock, spans[span].conn, (&batch[within.clone()], &prepared[within]));
            } else {
                state.execute(spans[span].conn, &batch[within.clone()], &prepared[within]);
            }
            at = stop;
        }
    }
}

/// Executes parts of a connection one by one, and notes those that take long.
#[cold]
fn execute_timed(
    state: &mut WorkerState,
    clock: &impl Clock,
    conn: ConnId,
    (parts, prepared): (&[Part<'_>], &[Prepared]),
) {
    for (part, prepared) in parts.iter().zip(prepared) {
        let (began_ns, answered) = (clock.nanos(), state.answered_of(conn));
        state.execute(conn, std::slice::from_ref(part), std::slice::from_ref(prepared));
        if state.answered_of(conn) > answered {
            state.note_part(conn, part, clock.nanos() - began_ns);
        }
    }
}

/// Fetches what the long values of a batch replace that end in it: the batch begins at place `first` of the round's parts.
/// The key of such a value came with its beginning, so it is its connection that knows it.
#[cold]
fn prefetch_replaced(
    state: &mut WorkerState,
    (first, batch): (usize, &[Part<'_>]),
    spans: &[Span],
    prepared: &mut [Prepared],
) {
    let ends = || batch.iter().enumerate().filter(|(_, part)| part.work.ends_value()).map(|(place, _)| place);
    for place in ends() {
        let span = spans.partition_point(|span| span.parts_end <= first + place);
        prepared[place] = state.prepare_end(spans[span].conn);
    }
    let of = |place: usize| (prepared[place].database, prepared[place].hash);
    ends().map(of).for_each(|(database, hash)| state.shard.prefetch_item(database, hash));
    ends().map(of).for_each(|(database, hash)| state.shard.prefetch_chunks(database, hash));
}

/// The same allocation for parts of another lifetime: the vector is empty, so no part changes its type.
fn recycled<'a>(mut parts: Vec<Part<'_>>) -> Vec<Part<'a>> {
    parts.clear();
    parts.into_iter().map(|_| unreachable!("the vector is empty")).collect()
}
